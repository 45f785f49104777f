// CLIP: classes of one's own for any picture, a matrix of similarities, and the gap between pictures and texts.

const VIEWS = [["classes", "classes"], ["matrix", "similarity matrix"], ["gap", "modality gap"]];
const dot = (one, other) => one.reduce((sum, value, index) => sum + value * other[index], 0);
const unit = (vector) => { const length = Math.sqrt(dot(vector, vector)); return vector.map((value) => value / length); };
const mean = (vectors) => vectors[0].map((_, index) => vectors.reduce((sum, vector) => sum + vector[index], 0) / vectors.length);
const softmax = (values) => {
  const most = Math.max(...values), raised = values.map((value) => Math.exp(value - most)), total = raised.reduce((sum, one) => sum + one, 0);
  return raised.map((one) => one / total);
};
// Base64 of one byte a number -> `count` unit vectors.
function unpacked(text, count) {
  const bytes = Int8Array.from(atob(text), (one) => one.charCodeAt(0)), size = bytes.length / count;
  return Array.from({ length: count }, (_, row) => unit(Array.from(bytes.subarray(row * size, (row + 1) * size))));
}

export default {
  render({ model, el }) {
    const data = model.get("data"), ask = kernel(model), count = data.pictures.length;
    const { controls, stage, say, width, redraw } = frame(el, "clip", "CLIP playground");
    const image = unpacked(data.image, count), caption = unpacked(data.text, count), own = {};
    const tables = Object.fromEntries(Object.entries(data.templates).map(([template, text]) => [template, unpacked(text, data.vocabulary.length)]));
    const templates = Object.keys(tables), centre = mean(caption), away = mean(image).map((value, index) => value - centre[index]);
    // The first picture is the one whose things share most evenly, with these things as classes.
    const begun = data.nouns.map((things) => [...new Set([...things, ...data.classes])]);
    const least = begun.map((names, index) => (data.nouns[index].length < 2 ? 0
      : Math.min(...softmax(names.map((name) => data.scale * dot(tables[templates[0]][data.vocabulary.indexOf(name)], image[index]))).slice(0, data.nouns[index].length))));
    const start = least.indexOf(Math.max(...least));
    const state = { view: "classes", picture: start, classes: begun[start], template: templates[0], scales: { classes: data.scale, matrix: data.scale / 10 }, gap: 1, hover: null, first: 0, message: "" };
    const temper = () => state.scales[state.view];
    const scaleName = (value) => `${value.toFixed(1)}${Math.abs(value - data.scale) < 1e-6 ? ", as trained" : ""} (temperature ${(1 / value).toFixed(3)})`;
    const gapName = (times) => (times === 0 ? "closed" : times === 1 ? "as trained" : `${times} times as wide`);
    const title = (index) => data.captions[index];

    const vector = (name) => {
      const at = data.vocabulary.indexOf(name);
      return at >= 0 ? tables[state.template][at] : own[`${state.template}|${name}`];
    };
    async function learn(name) {
      if (!vector(name) && ask) own[`${state.template}|${name}`] = unit(await ask({ name, template: state.template }));
      return vector(name);
    }
    async function add() {
      await include(typed.input.value.toLowerCase().split(",").map((one) => one.trim()).filter(Boolean));
      typed.input.value = "";
      draw();
    }
    async function include(names) {
      const unknown = [], again = [], failed = [], quoted = (list) => list.map((name) => `'${name}'`).join(", ");
      for (const name of new Set(names)) {
        if (state.classes.includes(name)) { again.push(name); continue; }
        try {
          if (await learn(name)) state.classes.push(name);
          else unknown.push(name);
        } catch (error) { failed.push(error.message); }
      }
      state.message = [!names.length && "Write a noun first.", unknown.length && `None of the ${data.vocabulary.length} saved nouns: ${quoted(unknown)}. In Jupyter any text can be a class.`,
        again.length && `A class already: ${quoted(again)}.`, ...failed].filter(Boolean).join(" ");
    }

    function choose(index) {
      state.picture = (index + count) % count;
      draw();
    }
    // Pictures in a row that one walks with arrow keys.
    function strip() {
      const size = 46, columns = width() < 480 ? Math.ceil(count / 2) : Math.max(4, Math.floor((width() + 6) / (size + 6)));
      return { columns, drawn: svg("svg", { width: columns * (size + 6), height: Math.ceil(count / columns) * (size + 6), style: "max-width:none", "aria-hidden": "true" },
        data.pictures.map((address, index) => svg("g", { "data-picture": index, style: "cursor:pointer", transform: `translate(${(index % columns) * (size + 6) + 2} ${Math.floor(index / columns) * (size + 6) + 2})` },
          svg("image", { href: address, width: size, height: size }),
          svg("rect", { width: size, height: size, fill: "none", stroke: index === state.picture ? "var(--orange)" : "var(--line)", "stroke-width": index === state.picture ? 4 : 1 })))) };
    }

    function classes() {
      const { drawn, columns } = strip();
      strips = columns;
      const names = state.classes.filter(vector), cosines = names.map((name) => dot(vector(name), image[state.picture])), found = softmax(cosines.map((cosine) => temper() * cosine));
      const rows = names.map((name, index) => ({ name, value: found[index], said: `${percent(found[index])}, cosine ${cosines[index].toFixed(2).replace("-", "−")}`, colour: data.nouns[state.picture].includes(name) ? "var(--green)" : "var(--blue)", data: { "data-class": name } }));
      const words = `Picture '${title(state.picture)}': ${rows.map((row) => `${row.name} ${row.said}`).join("; ")}. Template '${state.template}', scale ${scaleName(temper())}.`;
      const at = pictures.scrollLeft, things = data.nouns[state.picture], among = things.filter((name) => names.includes(name));
      pictures.replaceChildren(drawn);
      const x = (state.picture % columns) * 52;
      pictures.scrollLeft = x < at || x + 52 > at + pictures.clientWidth ? x - 104 : at;
      fade();
      const remark = names.length < 2 ? "" : !among.length ? "None of your classes is in this picture, but a softmax must still sum to 1. " + (Math.max(...cosines) > 0.5 ? `${names[cosines.indexOf(Math.max(...cosines))]} even has a cosine of ${Math.max(...cosines).toFixed(2)}: a large cosine is no proof. ` : "")
        : among.length > 1 ? `${among.join(" and ")} are both in the picture: change the scale. ` : "";
      const nearest = among.length ? Math.min(...among.map((name) => cosines[names.indexOf(name)])) : 0, lost = among.filter((name) => cosines[names.indexOf(name)] === nearest)[0];
      const ahead = names.filter((name, index) => among.length && !things.includes(name) && cosines[index] > nearest);
      const order = ahead.length ? `${ahead.join(" and ")}, not in the picture, ${ahead.length > 1 ? "have" : "has"} a larger cosine than ${lost}, so at every scale more probability: this CLIP misses ${lost}. ` : among.length > 1 ? "The scale sharpens or flattens, it never changes the order of the cosines. " : "";
      const likeliest = (template) => { const values = names.map((name) => { const at = data.vocabulary.indexOf(name); return dot(at >= 0 ? tables[template][at] : own[`${template}|${name}`] ?? [], image[state.picture]); }); return names[values.indexOf(Math.max(...values))]; };
      const plain = templates.find((one) => one !== state.template && names.length > 1 && names.every((name) => data.vocabulary.includes(name) || own[`${one}|${name}`]) && likeliest(one) !== likeliest(state.template));
      const template = plain ? `With the prompt '${plain}' ${likeliest(plain)} comes first: a prompt can change the order, the scale never does. ` : "";
      const missing = things.filter((name) => !names.includes(name));
      const adding = missing.length > 0 && button("Add its things", async () => { await include(missing); draw(); pictures.focus(); });
      pictures.setAttribute("aria-label", `Pictures; arrow keys choose. Chosen: '${title(state.picture)}'.`);
      body.replaceChildren(html("div", { class: "columns", style: "margin-top:12px" },
        html("div", {}, html("img", { src: data.pictures[state.picture], width: 128, height: 128, style: "border:1px solid var(--line)", alt: title(state.picture) }), html("p", { class: "small soft", style: "max-width:128px" }, title(state.picture))),
        html("div", { style: "flex:1;min-width:17rem" }, rows.length > 1 ? bars(Math.min(width(), 480), rows, { label: words, chance: 1 / rows.length, right: 118 }) : html("p", {}, "Add at least two classes."),
          html("p", { "data-remark": "" }, remark, order, template, adding || ""), html("p", { class: "small soft" }, "Green: a thing of the picture. Dashed: chance. Numbers: softmax of scale × cosine."))));
      return `${words} ${remark}${order}${template}`;
    }

    const recall = (texts) => {
      const right = (from, to) => from.filter((vector, index) => to.every((other, at) => at === index || dot(vector, other) < dot(vector, to[index]))).length;
      return [right(image, texts), right(texts, image)];
    };

    function matrix() {
      const size = Math.min(12, count), wide = width() > 620, side = clamp((wide ? width() - 280 : width() - 8) / (size + 1), 21, 36), top = 96, first = state.first;
      const rows = Array.from({ length: size }, (_, index) => (first + index) % count);
      const cosines = rows.map((row) => rows.map((column) => dot(image[row], caption[column])));
      const shares = cosines.map((row) => softmax(row.map((value) => temper() * value)));
      const own = shares.reduce((sum, row, index) => sum + row[index], 0) / size, said = `In the mean a picture gives ${percent(own)} to its own caption, ${percent(1 - own)} to the ${size - 1} wrong ones.`;
      const [r, c] = state.hover ?? [0, 0], most = Math.max(...shares[r]);
      const words = `Picture '${title(rows[r])}' and caption '${title(rows[c])}': cosine ${cosines[r][c].toFixed(2)}, probability of this caption among ${size} ${percent(shares[r][c])}${rows[r] === rows[c] ? "; they belong together" : ""}. ${said}`;
      grid.replaceChildren(svg("svg", { width: side * (size + 1) + 4, height: top + side * size + 4, "aria-hidden": "true" },
        rows.map((column, x) => svg("text", { class: "small", transform: `translate(${(x + 1.5) * side + 3} ${top - 6}) rotate(-55)`, "font-weight": x === c ? 700 : 400 }, data.nouns[column].join(", "))),
        svg("g", { transform: `translate(0 ${top})` }, rows.map((row, y) => [svg("image", { href: data.pictures[row], x: 0, y: y * side + 1, width: side - 3, height: side - 3 }),
          rows.map((column, x) => svg("g", { "data-row": y, "data-column": x },
            svg("rect", { x: (x + 1) * side, y: y * side, width: side - 2, height: side - 2, rx: 3, fill: "var(--pale)" }),
            svg("rect", { x: (x + 1) * side, y: y * side, width: side - 2, height: side - 2, rx: 3, fill: "var(--blue)", opacity: shares[y][x] }),
            x === y && svg("rect", { x: (x + 1) * side, y: y * side, width: side - 2, height: side - 2, rx: 3, fill: "none", stroke: "var(--green)", "stroke-width": 2 }),
            y === r && x === c && svg("rect", { x: (x + 1) * side - 2, y: y * side - 2, width: side + 2, height: side + 2, rx: 4, fill: "none", stroke: "var(--orange)", "stroke-width": 3 })))]))));
      layout(wide);
      grid.setAttribute("aria-label", `Matrix of ${size} pictures, rows, and captions, columns; arrow keys move. ${words}`);
      const order = rows.map((_, index) => index).sort((a, b) => shares[r][b] - shares[r][a]).slice(0, 4);
      beside.replaceChildren(html("img", { src: data.pictures[rows[r]], width: 96, height: 96, alt: title(rows[r]) }),
        html("p", {}, html("strong", {}, title(rows[c])), html("br"), `cosine ${cosines[r][c].toFixed(2)}, probability ${percent(shares[r][c])}`),
        html("p", { class: "small soft" }, "Rows: pictures, columns: captions; the pairs are framed. The scale begins low on purpose, so that wrong captions show: at which do they go out? ", html("span", { style: "color:var(--ink)" }, said)),
        html("p", { class: "small soft" }, "Likeliest of this picture:"),
        ...order.map((index) => html("div", { class: "small" }, `${percent(shares[r][index])} ${title(rows[index])}${index === r ? " ✓" : ""}`)));
      return `${words} Largest probability of the row: ${percent(most)}.`;
    }

    // Beside what it tells of, or below it.
    function layout(wide) {
      both.style.flexWrap = wide ? "nowrap" : "wrap";
      beside.style.cssText = wide ? "flex:1;min-width:0;padding-top:96px" : "flex-basis:100%";
    }

    function gap() {
      const moved = caption.map((text) => unit(text.map((value, index) => value + (1 - state.gap) * away[index]))), wide = Math.min(width(), 560), high = wide * 0.62;
      const place = (vector) => data.axes.map((axis) => dot(axis, vector));
      const points = [...image, ...moved].map(place), all = [...points, ...caption.map(place)], means = [image, moved].map((vectors) => place(mean(vectors)));
      const span = [0, 1].map((axis) => [Math.min(...all.map((one) => one[axis])), Math.max(...all.map((one) => one[axis]))]);
      const at = ([x, y]) => [30 + ((x - span[0][0]) / (span[0][1] - span[0][0])) * (wide - 44), 12 + ((y - span[1][0]) / (span[1][1] - span[1][0])) * (high - 46)].map((one) => clamp(one, 2, wide));
      const [toText, toImage] = recall(moved), number = state.hover?.[0] ?? 0;
      const both = (index) => [...moved.map((other, at) => [dot(image[index], other), at, true]), ...image.map((other, at) => [dot(image[index], other), at, false]).filter(([, at]) => at !== index)].sort((a, b) => b[0] - a[0]);
      const mixed = image.filter((_, index) => { const [[, first, isCaption]] = both(index); return isCaption && first === index; }).length;
      const words = `Gap ${gapName(state.gap)}. Among captions alone ${toText} of ${count} pictures find their own first, among pictures alone ${toImage} of ${count} captions theirs. But among captions and other pictures together ${mixed} of ${count} pictures still find their own caption first.`;
      plane.replaceChildren(svg("svg", { width: wide, height: high, "aria-hidden": "true" },
        image.map((_, index) => { const [a, b] = at(points[index]), [c, d] = at(points[count + index]); return svg("path", { d: `M${a} ${b}L${c} ${d}`, stroke: index === number ? "var(--orange)" : "var(--line)", "stroke-width": index === number ? 2.5 : 1, opacity: index === number ? 1 : 0.5 }); }),
        svg("text", { class: "soft small", x: wide / 2, y: high - 6, "text-anchor": "middle" }, "from the captions' mean to the pictures' mean"), svg("text", { class: "soft small", transform: `translate(11 ${high / 2}) rotate(-90)`, "text-anchor": "middle" }, "second direction: the largest spread left"),
        points.map((point, index) => {
          const [x, y] = at(point), chosen = index % count === number, radius = chosen ? 8 : 5;
          return svg("g", { "data-point": index % count, style: "cursor:pointer" }, svg("circle", { cx: x, cy: y, r: 11, fill: "transparent" }),
            index < count ? svg("circle", { cx: x, cy: y, r: radius, fill: "var(--blue)", stroke: chosen ? "var(--ink)" : "none" }) : svg("rect", { x: x - radius, y: y - radius, width: 2 * radius, height: 2 * radius, fill: "var(--red)", stroke: chosen ? "var(--ink)" : "none" }));
        }),
        means.map((point, kind) => { const [x, y] = at(point); return svg("path", { "data-mean": kind, "pointer-events": "none", d: `M${x - 13} ${y}h26M${x} ${y - 13}v26`, stroke: "var(--ink)", "stroke-width": kind ? 7 : 11 }, svg("title", {}, kind ? "captions' mean" : "pictures' mean")); }),
        means.map((point, kind) => { const [x, y] = at(point); return svg("path", { "pointer-events": "none", d: `M${x - 12} ${y}h24M${x} ${y - 12}v24`, stroke: kind ? "var(--red)" : "var(--blue)", "stroke-width": kind ? 3 : 6 }); })));
      layout(false);
      plane.setAttribute("aria-label", `Pictures and captions in a plane, with their means: across the gap, and, second direction, the largest spread left; arrow keys choose a pair. ${words} Pair: '${title(number)}'.`);
      beside.replaceChildren(html("p", {}, html("span", { style: "color:var(--blue)" }, "● pictures"), "  ", html("span", { style: "color:var(--red)" }, "■ captions"), html("span", { class: "soft" }, "  + their means; a line joins each pair")), html("p", { style: "margin-bottom:2px" }, html("strong", {}, `Gap ${gapName(state.gap)}: `), "how many find their own first?"),
        ...[["pictures among captions", toText], ["captions among pictures", toImage], ["pictures among captions and pictures", mixed]].map(([name, found]) => html("div", { class: "small", style: "display:grid;grid-template-columns:minmax(0, 15.5rem) 3.8rem minmax(40px, 1fr);gap:8px;align-items:center;max-width:34rem", "data-found": found }, name, html("strong", { style: "white-space:nowrap" }, `${found} of ${count}`), svg("svg", { width: "100%", height: 10, "aria-hidden": "true" }, svg("rect", { width: "100%", height: 10, fill: "var(--pale)" }), svg("rect", { width: `${(100 * found) / count}%`, height: 10, fill: "var(--blue)" })))),
        html("p", { class: "small soft" }, "The slider adds one and the same vector to every caption, which is then made a unit vector again. So the order among captions hardly changes; but pictures come closer than captions where the gap is wide."),
        html("div", { class: "columns" }, html("img", { src: data.pictures[number], width: 96, height: 96, alt: title(number) }), html("div", {}, html("p", { class: "small soft" }, "Nearest to this picture, of captions and other pictures:"),
          ...both(number).slice(0, 4).map(([value, index, isCaption]) => html("div", { class: "small" }, html("span", { style: `color:var(--${isCaption ? "red" : "blue"})` }, isCaption ? "■" : "●"), ` ${value.toFixed(2)} ${title(index)}${isCaption && index === number ? " ✓" : ""}`)))));
      return words;
    }

    let strips = 8;
    const pictures = html("div", { tabindex: 0, role: "application", style: "overflow-x:auto" }), fade = fading(pictures), body = html("div", {}), grid = html("div", { tabindex: 0, role: "application" });
    const plane = html("div", { tabindex: 0, role: "application" }), beside = html("div", {}), both = html("div", { class: "columns" }, grid, plane, beside), chips = html("div", { class: "controls" }), message = html("p", { class: "message", role: "alert" });
    const typed = field("add classes", "", () => {}, { list: "clip-nouns", size: 16, placeholder: "owl, pear", onkeydown: (event) => { if (event.key === "Enter") add(); } });
    const template = choice("prompt", templates.map((one) => [one, one]), templates[0], async (value) => { state.template = value; await Promise.all(state.classes.map((name) => learn(name).catch(() => null))); draw(); });
    const trained = Math.log10(data.scale), step = 0.05, low = trained - step * Math.floor(trained / step); // the trained scale is one of the steps
    const scaleOf = (value) => (Math.abs(value - trained) < step / 4 ? data.scale : 10 ** value);
    const range = slider("scale", { min: low, max: low + step * Math.floor((2.3 - low) / step), step, value: trained, show: (value) => scaleName(scaleOf(value)) }, (value) => { state.scales[state.view] = scaleOf(value); draw(); });
    range.querySelector("output").style.minWidth = "16.5em"; // what stands after it doesn't move
    const scale = html("div", { class: "control" }, range, button("As trained", () => { range.set(trained); state.scales[state.view] = data.scale; draw(); }));
    const wider = slider("gap", { min: 0, max: 7, step: 0.25, value: 1, show: gapName }, (value) => { state.gap = value; draw(); });
    const more = button("Other pairs", () => { state.first = (state.first + 12) % count; draw(); });
    const views = { classes, matrix, gap }, shown = { classes: [template, scale], matrix: [scale, more], gap: [wider] };
    controls.append(buttons("", VIEWS, state.view, (view) => { Object.assign(state, { view, hover: null, message: "" }); if (view in state.scales) range.set(Math.log10(temper())); draw(); }), template, scale, wider, more);
    stage.append(chips, message, pictures, body, both, html("datalist", { id: "clip-nouns" }, data.vocabulary.map((name) => html("option", { value: name }))));

    function draw() {
      for (const one of [template, scale, wider, more]) one.style.display = shown[state.view].includes(one) ? "" : "none";
      for (const [one, view] of [[chips, "classes"], [pictures, "classes"], [body, "classes"], [grid, "matrix"], [plane, "gap"]]) one.style.display = state.view === view ? "" : "none";
      beside.style.display = state.view === "classes" ? "none" : "";
      chips.replaceChildren(...state.classes.map((name) => button(`${name} ×`, () => { Object.assign(state, { classes: state.classes.filter((one) => one !== name), message: "" }); draw(); }, { "aria-label": `remove ${name}` })), html("span", { class: "control" }, typed, button("Add", add)));
      message.textContent = state.message;
      say(views[state.view]());
    }
    const pick = (event) => { const hit = event.target.closest("[data-picture]"); if (hit) choose(+hit.dataset.picture); };
    pictures.addEventListener("click", pick);
    arrows(pictures, (dx, dy) => choose(state.picture + dx + dy * strips));
    hovering(grid, "row", (hit) => { if (hit && String([hit.row, hit.column]) !== String(state.hover)) { state.hover = [+hit.row, +hit.column]; draw(); } });
    arrows(grid, (dx, dy) => { const [r, c] = state.hover ?? [0, 0], last = Math.min(12, count) - 1; state.hover = [clamp(r + dy, 0, last), clamp(c + dx, 0, last)]; draw(); });
    hovering(plane, "point", (hit) => { if (hit && +hit.point !== state.hover?.[0]) { state.hover = [+hit.point]; draw(); } });
    arrows(plane, (dx, dy) => { state.hover = [((state.hover?.[0] ?? 0) + dx + dy + count) % count]; draw(); });
    redraw(draw);
  },
};
