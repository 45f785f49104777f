// Attention: point at a word, a layer and a head, and the picture lights up where it looked; point at a patch, and the words do.

export default {
  render({ model, el }) {
    const { pictures, texts, maps } = model.get("data"), ask = kernel(model), names = Object.keys(maps);
    const { controls, stage, say, width, redraw } = frame(el, "attention", "Attention explorer");
    const state = { model: names[0], picture: 0, row: null, layer: null, head: null, patch: null, asked: null, message: "" };
    const opened = new Map();

    // The maps of now: { rows, what, layers, heads, patches, at(layer, head, row, patch) }; null for layer or head is the mean.
    function current() {
      const kept = state.asked ?? maps[state.model][state.picture];
      if (!opened.has(kept)) {
        const bytes = Uint8Array.from(atob(kept.maps), (one) => one.charCodeAt(0)), [layers, heads, rows, patches] = kept.shape;
        const at = (layer, head, row, patch) => (kept.most * bytes[((layer * heads + head) * rows + row) * patches + patch]) / 255;
        opened.set(kept, { rows: kept.rows, what: kept.what, layers, heads, patches, at });
      }
      return opened.get(kept);
    }
    function weights(now, row, layer, head) {
      const over = (which, count) => (which === null ? Array.from({ length: count }, (_, index) => index) : [Math.min(which, count - 1)]);
      const some = over(layer, now.layers).flatMap((l) => over(head, now.heads).map((h) => [l, h]));
      return Array.from({ length: now.patches }, (_, patch) => some.reduce((sum, [l, h]) => sum + now.at(l, h, row, patch), 0) / some.length);
    }
    // A line and column of the table of heads; the last ones, and where there is only one, stand for the mean: null.
    const means = (now, line, column) => [line < now.layers && now.layers > 1 ? line : null, column < now.heads && now.heads > 1 ? column : null];
    // At first the row that looks at the fewest patches: most often the noun.
    function sharpest(now) {
      const peak = now.rows.map((_, row) => { const all = weights(now, row, null, null), sum = all.reduce((a, b) => a + b, 0); return sum ? Math.max(...all) / sum : 0; });
      const noun = now.rows.findIndex((word) => texts[state.picture].split(" on ")[0].endsWith(` ${word}`));
      return noun >= 0 ? noun : peak.indexOf(Math.max(...peak));
    }

    function small(now, row, layer, head, size) {
      const values = weights(now, row, layer, head), side = Math.round(Math.sqrt(now.patches)), cell = size / side, most = Math.max(...values, 1e-9);
      const chosen = state.layer === layer && state.head === head;
      return svg("g", {}, svg("rect", { width: size, height: size, fill: "var(--pale)" }),
        values.map((value, index) => svg("rect", { x: (index % side) * cell, y: Math.floor(index / side) * cell, width: cell + 0.2, height: cell + 0.2, fill: "var(--blue)", opacity: value / most })),
        svg("rect", { x: -1, y: -1, width: size + 2, height: size + 2, fill: "none", stroke: chosen ? "var(--orange)" : "var(--line)", "stroke-width": chosen ? 3 : 1 }));
    }

    function draw() {
      const now = current(), row = state.row === null || state.row >= now.rows.length ? (state.row = sharpest(now)) : state.row;
      const values = weights(now, row, state.layer, state.head), side = Math.round(Math.sqrt(now.patches)), size = Math.min(width() - 8, 260), cell = size / side;
      const most = Math.max(...values, 1e-9), bright = values.indexOf(most), total = values.reduce((sum, one) => sum + one, 0);
      const place = (index) => `row ${1 + Math.floor(index / side)}, column ${1 + (index % side)}`;
      const where = [now.layers > 1 && (state.layer === null ? ", mean of layers" : `, layer ${state.layer + 1}`), now.heads > 1 && (state.head === null ? ", mean of heads" : `, head ${state.head + 1}`)].filter(Boolean).join("");
      picture.replaceChildren(svg("svg", { width: size, height: size, "aria-hidden": "true" },
        svg("image", { href: pictures[state.picture], width: size, height: size, preserveAspectRatio: "none" }),
        values.map((value, index) => svg("rect", { "data-patch": index, class: "smooth", x: (index % side) * cell, y: Math.floor(index / side) * cell, width: cell + 0.3, height: cell + 0.3, fill: "#05080c", opacity: 0.74 * (1 - value / most) })),
        [state.patch, bright].map((index, mark) => index !== null && svg("rect", { x: (index % side) * cell + 1, y: Math.floor(index / side) * cell + 1, width: cell - 2, height: cell - 2, fill: "none", stroke: mark ? "#F0B030" : "#ffffff", "stroke-width": 3, "pointer-events": "none" }))));
      const of = state.patch === null ? null : now.rows.map((_, other) => weights(now, other, state.layer, state.head)[state.patch]), top = of && Math.max(...of, 1e-9);
      words.replaceChildren(...now.rows.map((word, index) => html("span", { "data-row": index, class: "word", style: `cursor:pointer;display:inline-block;white-space:nowrap;line-height:1.5;padding:2px 7px;border-radius:6px;border:2px solid ${index === row ? "var(--orange)" : "transparent"};${of ? `box-shadow: inset 0 ${(-26 * of[index]) / top}px 0 var(--sky)` : ""}` }, word)));
      const many = now.layers * now.heads > 1, tiny = clamp((Math.min(width(), 360) - 70) / (now.heads + 1) - 6, 16, 40);
      heads.style.display = many ? "" : "none";
      const [lines, columns] = [now.layers, now.heads].map((count) => [...Array(count > 1 ? count + 1 : 1).keys()]); // with the mean
      heads.replaceChildren(svg("svg", { width: 62 + columns.length * (tiny + 6), height: lines.length * (tiny + 6) + 22, "aria-hidden": "true" },
        columns.map((column) => svg("text", { class: "small soft", x: 62 + column * (tiny + 6) + tiny / 2, y: 12, "text-anchor": "middle" }, column < now.heads ? column + 1 : "mean")),
        lines.map((line) => [svg("text", { class: "small soft", x: 0, y: 22 + line * (tiny + 6) + tiny / 2 }, line < now.layers ? `layer ${line + 1}` : "mean"),
          columns.map((column) => svg("g", { "data-layer": line, "data-head": column, style: "cursor:pointer", transform: `translate(${62 + column * (tiny + 6)} ${18 + line * (tiny + 6)})` },
            small(now, row, ...means(now, line, column), tiny)))])));
      const told = `'${now.rows[row]}'${where}: brightest patch ${place(bright)} with ${most.toFixed(2)} of ${total.toFixed(2)}.`;
      const over = state.patch === null ? "" : ` Patch ${place(state.patch)}: most by '${now.rows[of.indexOf(top)]}', ${top.toFixed(2)}.`;
      about.textContent = `${state.model}: ${now.what}. ${told}${over}`;
      message.textContent = state.message;
      words.setAttribute("aria-label", `Words or queries; arrow keys choose. ${told}`);
      heads.setAttribute("aria-label", `Layers and heads; arrow keys choose. ${told}`);
      picture.setAttribute("aria-label", `Picture of '${texts[state.picture]}', lit up where ${told} Arrow keys walk over its patches.${over}`);
      thumbs.replaceChildren(svg("svg", { width: pictures.length * 50, height: 50, "aria-hidden": "true" }, pictures.map((address, index) => svg("g", { "data-picture": index, style: "cursor:pointer", transform: `translate(${index * 50 + 2} 2)` },
        svg("image", { href: address, width: 44, height: 44 }), svg("rect", { width: 44, height: 44, fill: "none", stroke: index === state.picture ? "var(--orange)" : "var(--line)", "stroke-width": index === state.picture ? 4 : 1 })))));
      thumbs.setAttribute("aria-label", `Pictures; arrow keys choose. Chosen: '${texts[state.picture]}'.`);
      say(about.textContent);
    }

    const place = (style = "") => html("div", { tabindex: 0, role: "application", style });
    const thumbs = place("overflow-x:auto"), words = place("font-size:16px;line-height:2;margin:6px 0"), picture = place(), heads = place();
    const about = html("p", { class: "soft", "aria-hidden": "true" }), message = html("p", { class: "message", role: "alert" });
    const change = (changes) => { Object.assign(state, changes); draw(); };
    let latest = 0;
    const typed = ask && field("text", texts[0], async (text) => {
      const number = (latest += 1);
      try {
        const found = await ask({ model: state.model, picture: state.picture, text });
        if (number === latest) change({ asked: found, message: "", row: null });
      } catch (error) { if (number === latest) change({ message: error.message }); }
    }, { size: 34 });
    const renew = (changes) => { if (typed) typed.input.value = texts[changes.picture ?? state.picture]; change({ asked: null, row: null, patch: null, message: "", ...changes }); };
    controls.append(buttons("", names.map((name) => [name, name]), names[0], (name) => renew({ model: name, layer: null, head: null })), ...(typed ? [typed] : []));
    stage.append(thumbs, html("p", { class: "small soft" }, "Point at a word, or at a layer and head: the picture lights up. Point at a patch: the words that use it light up."), message, words, html("div", { class: "columns" }, picture, heads), about);

    const choose = (index) => renew({ picture: (index + pictures.length) % pictures.length });
    thumbs.addEventListener("click", (event) => { const hit = event.target.closest("[data-picture]"); if (hit) choose(+hit.dataset.picture); });
    arrows(thumbs, (dx, dy) => choose(state.picture + dx + dy));
    const to = (row) => { if (row !== state.row) change({ row: clamp(row, 0, current().rows.length - 1) }); };
    hovering(words, "row", (hit) => { if (hit) to(+hit.row); });
    arrows(words, (dx, dy) => to(clamp(state.row + dx + dy, 0, current().rows.length - 1)));
    const head = (line, column) => {
      const [layer, which] = means(current(), line, column);
      if (layer !== state.layer || which !== state.head) change({ layer, head: which });
    };
    hovering(heads, "layer", (hit) => { if (hit) head(+hit.layer, +hit.head); });
    arrows(heads, (dx, dy) => { const now = current(); head(clamp((state.layer ?? now.layers) + dy, 0, now.layers), clamp((state.head ?? now.heads) + dx, 0, now.heads)); });
    hovering(picture, "patch", (hit) => { const patch = hit ? +hit.patch : null; if (patch !== state.patch) change({ patch }); });
    arrows(picture, (dx, dy) => { const side = Math.round(Math.sqrt(current().patches)), at = state.patch ?? 0; change({ patch: clamp((at % side) + dx, 0, side - 1) + side * clamp(Math.floor(at / side) + dy, 0, side - 1) }); });
    redraw(draw);
  },
};
