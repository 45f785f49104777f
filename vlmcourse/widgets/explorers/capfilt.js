// CapFilt: drag the threshold over all captions of the web; precision and recall follow, and each dot is a caption.

export default {
  render({ model, el }) {
    const { captions, threshold } = model.get("data"), noise = captions.filter((one) => one.noisy).length;
    const { controls, stage, say, width, redraw } = frame(el, "capfilt", "Threshold explorer");
    const state = { threshold, chosen: captions.map((one, index) => index).sort((a, b) => Math.abs(captions[a].probability - threshold) - Math.abs(captions[b].probability - threshold))[0] };
    const share = (part, of) => (of ? `${part} of ${of} (${percent(part / of)})` : "none to count");
    function counted(at) {
      const out = captions.filter((one) => one.probability < at);
      return { out: out.length, found: out.filter((one) => one.noisy).length };
    }

    // A dot stands where its probability is, on others that stand there: noise grows up from the axis, true captions down.
    function dots(wide, size) {
      const heights = {};
      return captions.map((one, index) => {
        const column = Math.min(Math.floor((one.probability * wide) / size), Math.ceil(wide / size) - 1), key = `${one.noisy}${column}`;
        heights[key] = (heights[key] ?? 0) + 1;
        return { index, x: (column + 0.5) * size, level: heights[key], noisy: one.noisy };
      });
    }

    const across = () => Math.min(width() - 24, 640);
    let marks = []; // where each stands: { index, x, y } in the plot's pixels
    const GAP = 7; // between the axis and the marks of either side
    function draw() {
      const wide = across(), size = 13, placed = dots(wide, size), count = (noisy) => Math.max(3, ...placed.filter((dot) => dot.noisy === noisy).map((dot) => dot.level));
      const side = (room) => Math.min(10, room - 2), fit = (levels) => Math.min(size, 150 / levels), up = fit(count(true)), down = fit(count(false)), axis = 24 + count(true) * up, high = axis + 2 * GAP + count(false) * down + 26, x = state.threshold * wide;
      const { out, found } = counted(state.threshold), chosen = captions[state.chosen];
      plot.replaceChildren(svg("svg", { width: wide + 16, height: high + 38, "aria-hidden": "true", style: "cursor:ew-resize" },
        svg("g", { transform: "translate(8 0)" },
          svg("rect", { x: 0, y: 14, width: x, height: high - 14, fill: "var(--pale)", opacity: 0.75 }), svg("rect", { x: -8, y: 0, width: wide + 16, height: high, fill: "transparent" }),
          svg("text", { class: "small soft", x: Math.max(4, x - 8), y: 11, "text-anchor": x > 60 ? "end" : "start" }, x > 60 ? "thrown out" : ""), svg("text", { class: "small soft", x: x + 8, y: 11 }, x < wide - 40 ? "kept" : ""),
          svg("path", { d: `M0 ${axis + GAP}H${wide}`, stroke: "var(--line)" }),
          placed.map(({ index, x: at, level, noisy }) => {
            const y = noisy ? axis - (level - 0.5) * up : axis + 2 * GAP + (level - 0.5) * down, wrong = (captions[index].probability < state.threshold) !== noisy, colour = noisy ? "var(--red)" : "var(--blue)";
            marks[index] = { index, x: at + 8, y };
            const common = { "data-dot": index, fill: wrong ? "transparent" : colour, stroke: colour, "stroke-width": 2 };
            return noisy ? svg("rect", { ...common, x: at - 4.5, y: y - Math.max(side(up), 8) / 2 + 0.5, width: 9, height: Math.max(side(up), 8) - 1 }) : svg("circle", { ...common, cx: at, cy: y, r: side(down) / 2 - 1 });
          }),
          svg("circle", { cx: marks[state.chosen].x - 8, cy: marks[state.chosen].y, r: 9, fill: "none", stroke: "var(--ink)", "stroke-width": 2.5, "pointer-events": "none" }),
          svg("path", { d: `M${x} 14V${high}`, stroke: "var(--orange)", "stroke-width": 4 }), svg("path", { d: `M${x - 9} ${high}h18l-9 -12z`, fill: "var(--orange)" }),
          [0, 0.25, 0.5, 0.75, 1].map((tick) => svg("text", { class: "small soft", x: tick * wide, y: high + 14, "text-anchor": "middle" }, tick)),
          svg("text", { class: "small soft", x: wide / 2, y: high + 34, "text-anchor": "middle" }, "the filter's probability that caption and picture fit"))));
      const precision = out ? found / out : 0, recall = noise ? found / noise : 0, chance = noise / captions.length;
      numbers.replaceChildren(bars(Math.min(width() >= 600 ? (width() - 28) / 2 : width(), 420), [{ name: "precision of ‘out’", value: precision, colour: "var(--green)", mark: chance, said: out ? percent(precision) : "–" }, { name: "recall of noise", value: recall, colour: "var(--blue)" }], { label: `precision ${share(found, out)}, recall ${share(found, noise)}` }),
        html("p", {}, `Kept: ${captions.length - out} of ${captions.length}, ${noise - found} of them noise. Lost: ${out - found} of ${captions.length - noise} true captions.`),
        html("p", { class: "small soft" }, `Precision: how much of what is thrown out is noise${out ? `, ${found} of ${out}` : ""}. The tick, ${noise} of ${captions.length}, is what chance would give. Recall: how much of the noise is thrown out, ${found} of ${noise}.`));
      const losses = captions.filter((one) => !one.noisy && one.probability < state.threshold).map((one) => one.text);
      lost.firstChild.textContent = `The ${losses.length} true captions that are lost`;
      lost.lastChild.textContent = losses.join(" · ") || "none";
      const right = (chosen.probability < state.threshold) === chosen.noisy;
      card.replaceChildren(html("img", { src: chosen.picture, width: 112, height: 112, style: "box-shadow:0 0 0 1px var(--line)", alt: chosen.noisy ? "a picture that its caption does not describe" : chosen.text }),
        html("div", {}, html("p", {}, html("strong", {}, chosen.text)), html("p", { class: "small" }, `${percent(chosen.probability)}: ${chosen.probability < state.threshold ? "out" : "kept"}, and it is ${chosen.noisy ? "another picture's caption (noise)" : "this picture's caption (true)"}. `, html("span", { class: right ? "good" : "soft" }, right ? "✓ counted as right" : "✗ counted as wrong"))));
      const words = `Threshold ${state.threshold.toFixed(2)}: ${out} of ${captions.length} captions out; precision ${share(found, out)}, recall ${share(found, noise)}. Caption '${chosen.text}': ${chosen.noisy ? "noise" : "true"}, ${chosen.probability < state.threshold ? "out" : "kept"}.`;
      plot.setAttribute("aria-label", `Captions by probability; left and right choose a caption, Home and End the first and the last. ${words}`);
      say(words);
    }

    const plot = html("div", { tabindex: 0, role: "application" }), lost = html("details", { class: "small" }, html("summary", {}), html("p", {})), numbers = html("div", { style: "flex:1 1 300px;max-width:420px" }), card = html("div", { style: "display:flex;gap:12px;align-items:flex-start;flex:1 1 300px;max-width:26rem" });
    const field = slider("threshold", { min: 0, max: 1, step: 0.01, value: threshold, show: (value) => value.toFixed(2) }, (value) => { state.threshold = value; draw(); });
    controls.append(field, html("span", { style: "white-space:pre-wrap" }, html("span", { style: "color:var(--red)" }, `■ noise: another picture's caption (${noise})`), "  ", html("span", { style: "color:var(--blue)" }, `● true (${captions.length - noise})`), "  ", html("span", { class: "soft" }, "hollow: a wrong decision")));
    stage.append(html("p", { class: "small soft" }, "Drag the line, or click where it shall stand. Point at a dot or square (or tap it) to see its caption and picture. By keyboard: the slider moves the line; in the plot left, right, Home and End choose a caption."), plot, html("div", { class: "columns", style: "margin-top:10px" }, card, numbers), lost);
    // A press chooses a mark within 20 pixels if the line is not nearer; after a click anywhere else the line comes.
    const choose = (index) => { if (index !== state.chosen) { state.chosen = index; draw(); } };
    const nearest = (x, y) => { const far = (mark) => Math.hypot(mark.x - x, mark.y - y), found = marks.reduce((best, mark) => (far(mark) < far(best) ? mark : best)); return [found, far(found)]; };
    const bring = (x) => { state.threshold = clamp(Math.round((100 * (x - 8)) / across()) / 100, 0, 1); field.set(state.threshold); draw(); };
    let held = null, empty = false;
    dragging(plot, (x, y) => {
      if (held === null) {
        const [mark, far] = nearest(x, y), off = Math.abs(8 + state.threshold * across() - x);
        held = Math.min(off, far) > 20 ? "nothing" : off <= far ? "line" : "mark";
        empty = held === "nothing";
        if (held === "mark") choose(mark.index);
      } else if (held === "line") bring(x);
    }, () => { held = null; }, "pan-y");
    for (const kind of ["pointermove", "pointerover"]) plot.addEventListener(kind, (event) => {
      if (held !== null || event.pointerType !== "mouse") return;
      const box = plot.getBoundingClientRect(), [mark, distance] = nearest(event.clientX - box.left, event.clientY - box.top);
      if (distance <= 15) choose(mark.index);
    });
    plot.addEventListener("click", (event) => { if (empty) bring(event.clientX - plot.getBoundingClientRect().left); });
    const order = captions.map((_, index) => index).sort((a, b) => captions[a].probability - captions[b].probability), last = order.length - 1;
    arrows(plot, (dx, dy) => choose(order[clamp(order.indexOf(state.chosen) + dx - dy, 0, last)]));
    plot.addEventListener("keydown", (event) => {
      if (!["Home", "End"].includes(event.key)) return;
      choose(order[event.key === "Home" ? 0 : last]);
      event.preventDefault();
    });
    redraw(draw);
  },
};
