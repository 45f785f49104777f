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
    const state = { view: "classes", picture: 0, classes: [...data.classes], template: templates[0], scale: data.scale, share: 0, hover: null, first: 0, message: "" };
    const scaleName = (value) => `${value.toFixed(1)}${Math.abs(value - data.scale) < 1e-6 ? ", as trained" : ""} (temperature ${(1 / value).toFixed(3)})`;
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
      state.message = names.length ? "" : "Write a noun first.";
      for (const name of names) {
        try {
          if (!(await learn(name))) throw new Error(`'${name}' is none of the ${data.vocabulary.length} saved nouns. In Jupyter any text can be a class.`);
          if (state.classes.includes(name)) throw new Error(`'${name}' is a class already.`);
          state.classes.push(name);
        } catch (error) { state.message = error.message; }
      }
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
      const names = state.classes.filter(vector), found = softmax(names.map((name) => state.scale * dot(vector(name), image[state.picture])));
      const rows = names.map((name, index) => ({ name, value: found[index], colour: data.nouns[state.picture].includes(name) ? "var(--green)" : "var(--blue)", data: { "data-class": name } }));
      const words = `Picture '${title(state.picture)}': ${rows.map((row) => `${row.name} ${percent(row.value)}`).join(", ")}. Template '${state.template}', scale ${scaleName(state.scale)}.`;
      const at = pictures.scrollLeft, things = data.nouns[state.picture], among = things.filter((name) => names.includes(name));
      pictures.replaceChildren(drawn);
      pictures.scrollLeft = at;
      const remark = names.length < 2 ? "" : !among.length ? "None of your classes is in this picture, but a softmax must still sum to 1. "
        : among.length > 1 ? `${among.join(" and ")} are both in the picture: who gets how much? Change the scale. ` : "";
      const missing = things.filter((name) => !names.includes(name));
      const adding = missing.length > 0 && button("Add its things", async () => { await include(missing); draw(); pictures.focus(); });
      pictures.setAttribute("aria-label", `Pictures; arrow keys choose. Chosen: '${title(state.picture)}'.`);
      body.replaceChildren(html("div", { class: "columns" },
        html("div", {}, html("img", { src: data.pictures[state.picture], width: 128, height: 128, alt: title(state.picture) }), html("p", { class: "small soft", style: "max-width:128px" }, title(state.picture))),
        html("div", { style: "flex:1;min-width:17rem" }, rows.length > 1 ? bars(Math.min(width(), 400), rows, { label: words, chance: 1 / rows.length }) : html("p", {}, "Add at least two classes."),
          html("p", { "data-remark": "" }, remark, adding || ""), html("p", { class: "small soft" }, "Green: a thing of the picture. Dashed: chance. Numbers: softmax of scale × cosine."))));
      return `${words} ${remark}`;
    }

    const recall = (texts) => {
      const right = (from, to) => from.filter((vector, index) => to.every((other, at) => at === index || dot(vector, other) < dot(vector, to[index]))).length;
      return [right(image, texts), right(texts, image)];
    };

    function matrix() {
      const size = Math.min(12, count), wide = width() > 620, side = clamp((wide ? width() - 280 : width() - 8) / (size + 1), 21, 36), top = 96, first = state.first;
      const rows = Array.from({ length: size }, (_, index) => (first + index) % count);
      const cosines = rows.map((row) => rows.map((column) => dot(image[row], caption[column])));
      const shares = cosines.map((row) => softmax(row.map((value) => state.scale * value)));
      const [r, c] = state.hover ?? [0, 0], most = Math.max(...shares[r]);
      const words = `Picture '${title(rows[r])}' and caption '${title(rows[c])}': cosine ${cosines[r][c].toFixed(2)}, probability of this caption among ${size} ${percent(shares[r][c])}${rows[r] === rows[c] ? "; they belong together" : ""}.`;
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
        html("p", { class: "small soft" }, "Rows: pictures, columns: captions; the pairs are framed. At which scale do wrong captions light up? Likeliest of this picture:"),
        ...order.map((index) => html("div", { class: "small" }, `${percent(shares[r][index])} ${title(rows[index])}${index === r ? " ✓" : ""}`)));
      return `${words} Largest probability of the row: ${percent(most)}.`;
    }

    // Beside what it tells of, or below it.
    function layout(wide) {
      both.style.flexWrap = wide ? "nowrap" : "wrap";
      beside.style.cssText = wide ? "flex:1;min-width:0;padding-top:96px" : "flex-basis:100%";
    }

    function gap() {
      const moved = caption.map((text) => unit(text.map((value, index) => value + state.share * away[index]))), wide = Math.min(width(), 560), high = wide * 0.62;
      const place = (vector) => data.axes.map((axis) => dot(axis, vector));
      const points = [...image, ...moved].map(place), all = [...image, ...caption].map(place);
      const span = [0, 1].map((axis) => [Math.min(...all.map((one) => one[axis])), Math.max(...all.map((one) => one[axis]))]);
      const at = ([x, y]) => [12 + ((x - span[0][0]) / (span[0][1] - span[0][0])) * (wide - 24), 12 + ((y - span[1][0]) / (span[1][1] - span[1][0])) * (high - 24)].map((one) => clamp(one, 2, wide));
      const [toText, toImage] = recall(moved), number = state.hover?.[0] ?? 0;
      const near = (vector, among) => among.map((other, index) => [dot(vector, other), index]).sort((a, b) => b[0] - a[0]).slice(0, 4);
      const margins = image.map((vector, index) => dot(vector, moved[index]) - Math.max(...moved.filter((_, at) => at !== index).map((other) => dot(vector, other))));
      const margin = margins.reduce((sum, one) => sum + one, 0) / count, ceiling = toText === count && toImage === count ? " More than all cannot be found: this test is at its ceiling, so look at the margin." : "";
      const words = `Gap closed by ${Math.round(100 * state.share)} %: of ${count} pictures ${toText} find their caption first, of ${count} captions ${toImage} their picture.${ceiling} Mean margin of a picture's own caption over the best other one (cosines): ${margin.toFixed(3)}.`;
      plane.replaceChildren(svg("svg", { width: wide, height: high, "aria-hidden": "true" },
        image.map((_, index) => { const [a, b] = at(points[index]), [c, d] = at(points[count + index]); return svg("path", { d: `M${a} ${b}L${c} ${d}`, stroke: index === number ? "var(--orange)" : "var(--line)", "stroke-width": index === number ? 2.5 : 1, opacity: index === number ? 1 : 0.5 }); }),
        svg("text", { class: "soft small", x: wide / 2, y: high - 4, "text-anchor": "middle" }, "across the gap →"), svg("text", { class: "soft small", transform: `translate(10 ${high / 2}) rotate(-90)`, "text-anchor": "middle" }, "main axis of what is left →"),
        points.map((point, index) => {
          const [x, y] = at(point), chosen = index % count === number, radius = chosen ? 8 : 5;
          return svg("g", { "data-point": index % count, style: "cursor:pointer" }, svg("circle", { cx: x, cy: y, r: 11, fill: "transparent" }),
            index < count ? svg("circle", { cx: x, cy: y, r: radius, fill: "var(--blue)", stroke: chosen ? "var(--ink)" : "none" }) : svg("rect", { x: x - radius, y: y - radius, width: 2 * radius, height: 2 * radius, fill: "var(--red)", stroke: chosen ? "var(--ink)" : "none" }));
        })));
      layout(false);
      plane.setAttribute("aria-label", `Pictures and captions in a plane: across the gap, and along their main axis; arrow keys choose a pair. ${words} Pair: '${title(number)}'.`);
      beside.replaceChildren(html("p", {}, html("span", { style: "color:var(--blue)" }, "● pictures"), "  ", html("span", { style: "color:var(--red)" }, "■ captions")), html("p", {}, words),
        html("p", { class: "small soft" }, "Closing adds the difference between the pictures' mean and the captions' mean to every caption, which is then made a unit vector again. A line joins each pair: means may meet while pairs stay apart."),
        html("div", { class: "columns" }, html("img", { src: data.pictures[number], width: 96, height: 96, alt: title(number) }), html("div", {}, html("p", { class: "small soft" }, "Captions nearest to this picture:"),
          ...near(image[number], moved).map(([value, index]) => html("div", { class: "small" }, `${value.toFixed(2)} ${title(index)}${index === number ? " ✓" : ""}`)))));
      return words;
    }

    let strips = 8;
    const pictures = html("div", { tabindex: 0, role: "application", style: "overflow-x:auto" }), body = html("div", {}), grid = html("div", { tabindex: 0, role: "application" });
    const plane = html("div", { tabindex: 0, role: "application" }), beside = html("div", {}), both = html("div", { class: "columns" }, grid, plane, beside), chips = html("div", { class: "controls" }), message = html("p", { class: "message", role: "alert" });
    const typed = field("add classes", "", () => {}, { list: "clip-nouns", size: 16, placeholder: "owl, pear", onkeydown: (event) => { if (event.key === "Enter") add(); } });
    const template = choice("prompt", templates.map((one) => [one, one]), templates[0], async (value) => { state.template = value; await Promise.all(state.classes.map((name) => learn(name).catch(() => null))); draw(); });
    const start = Math.log10(data.scale), step = 0.05, low = start - step * Math.floor(start / step); // the trained scale is one of the steps
    const scaleOf = (value) => (Math.abs(value - start) < step / 4 ? data.scale : 10 ** value);
    const range = slider("scale", { min: low, max: low + step * Math.floor((2.3 - low) / step), step, value: start, show: (value) => scaleName(scaleOf(value)) }, (value) => { state.scale = scaleOf(value); draw(); });
    const scale = html("div", { class: "control" }, range, button("As trained", () => { range.set(start); state.scale = data.scale; draw(); }));
    const share = slider("close the gap", { min: 0, max: 1, step: 0.05, value: 0, show: (value) => `${Math.round(100 * value)} %` }, (value) => { state.share = value; draw(); });
    const more = button("Other pairs", () => { state.first = (state.first + 12) % count; draw(); });
    const views = { classes, matrix, gap }, shown = { classes: [template, scale], matrix: [scale, more], gap: [share] };
    controls.append(buttons("", VIEWS, state.view, (view) => { Object.assign(state, { view, hover: null }); draw(true); }), template, scale, share, more);
    stage.append(chips, message, pictures, body, both, html("datalist", { id: "clip-nouns" }, data.vocabulary.map((name) => html("option", { value: name }))));

    function draw() {
      for (const one of [template, scale, share, more]) one.style.display = shown[state.view].includes(one) ? "" : "none";
      for (const [one, view] of [[chips, "classes"], [pictures, "classes"], [body, "classes"], [grid, "matrix"], [plane, "gap"]]) one.style.display = state.view === view ? "" : "none";
      beside.style.display = state.view === "classes" ? "none" : "";
      chips.replaceChildren(...state.classes.map((name) => button(`${name} ×`, () => { state.classes = state.classes.filter((one) => one !== name); draw(); }, { "aria-label": `remove ${name}` })), html("span", { class: "control" }, typed, button("Add", add)));
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
