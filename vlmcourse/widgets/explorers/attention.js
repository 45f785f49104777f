// Attention: point at a word, a layer and a head, and the picture lights up where it looked; point at a patch, and the words do.

const SIZE = 260; // of the picture, pixels

export default {
  render({ model, el }) {
    const { pictures, texts, models: names, maps } = model.get("data"), ask = kernel(model);
    const { controls, stage, say, width, redraw } = frame(el, "attention", "Attention explorer");
    const state = { model: names[0], picture: 0, row: null, layer: null, head: null, patch: null, pointed: {}, asked: null, message: "" }; // pointed: a row, a layer and head, or a patch below the pointer
    const opened = new Map();

    // The maps of now: { rows, what, layers, heads, patches, at(layer, head, row, patch) }; null for layer or head is the mean.
    function current() {
      const kept = state.asked ?? maps[state.model][state.picture];
      if (!opened.has(kept)) {
        const bytes = Uint8Array.from(atob(kept.maps), (one) => one.charCodeAt(0)), [layers, heads, rows, patches] = kept.shape;
        const at = (layer, head, row, patch) => (kept.most * bytes[((layer * heads + head) * rows + row) * patches + patch]) / 255;
        opened.set(kept, { ...kept, layers, heads, patches, at });
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
    // At first the noun or the word before it, whichever looks at fewer patches; of rows that are no words, any.
    function sharpest(now) {
      const peaks = now.rows.map((_, row) => { const all = weights(now, row, null, null), sum = all.reduce((a, b) => a + b, 0); return sum ? Math.max(...all) / sum : 0; });
      const noun = now.rows.findIndex((word) => texts[state.picture].split(" on ")[0].endsWith(` ${word}`));
      return peaks.indexOf(Math.max(...(noun > 0 ? peaks.slice(noun - 1, noun + 1) : peaks)));
    }

    // The value of full light: a map's largest, but at least 2.5 times an equal share, so that a flat map isn't bright anywhere.
    const brightest = (values) => Math.max(...values, (2.5 * values.reduce((sum, one) => sum + one, 0)) / values.length, 1e-9);
    const nothing = (total) => total < 0.005;
    function small(values, size, most, chosen = false) {
      const side = Math.round(Math.sqrt(values.length)), cell = size / side;
      return svg("g", {}, svg("rect", { width: size, height: size, fill: "var(--pale)" }),
        values.map((value, index) => svg("rect", { x: (index % side) * cell, y: Math.floor(index / side) * cell, width: cell + 0.2, height: cell + 0.2, fill: "var(--blue)", opacity: value / most })),
        svg("rect", { x: -1, y: -1, width: size + 2, height: size + 2, fill: "none", stroke: chosen ? "var(--orange)" : "var(--line)", "stroke-width": chosen ? 3 : 1 }));
    }

    function draw() {
      const now = current(), room = width(); // asked for before anything changes: after that it would lay out the whole page
      if (state.row === null || state.row >= now.rows.length) state.row = sharpest(now);
      const { row, layer, head, patch } = { ...state, ...state.pointed };
      const values = weights(now, row, layer, head), side = Math.round(Math.sqrt(now.patches)), size = Math.min(room - 8, SIZE), cell = size / side;
      const most = Math.max(...values), least = Math.min(...values), full = brightest(values), total = values.reduce((sum, one) => sum + one, 0), equal = total / now.patches;
      const flat = most < 1.5 * equal && least > equal / 1.5, [bright, dark] = [most, least].map((value) => values.indexOf(value));
      const square = (index) => `row ${1 + Math.floor(index / side)}, column ${1 + (index % side)}`;
      const part = (count, name, index) => count > 1 && (index === null ? `mean of ${name}s` : `${name} ${index + 1}`);
      const where = [part(now.layers, "layer", layer), part(now.heads, "head", head)].filter(Boolean).map((one) => `, ${one}`).join("").replace("layers, mean of", "layers and");
      picture.replaceChildren(svg("svg", { width: size, height: size, style: "cursor:pointer", "aria-hidden": "true" },
        svg("image", { href: pictures[state.picture], width: size, height: size, preserveAspectRatio: "none" }),
        values.map((value, index) => svg("rect", { "data-patch": index, class: "smooth", x: (index % side) * cell, y: Math.floor(index / side) * cell, width: cell + 0.3, height: cell + 0.3, fill: "#05080c", opacity: nothing(total) ? 0.2 : 0.78 * (1 - value / full) })),
        [patch, flat || nothing(total) ? null : bright].map((index, mark) => index !== null && svg("rect", { x: (index % side) * cell + 1, y: Math.floor(index / side) * cell + 1, width: cell - 2, height: cell - 2, fill: "none", stroke: mark ? "#F0B030" : "#ffffff", "stroke-width": 3, "stroke-dasharray": mark ? null : "6 4", "pointer-events": "none" }))));
      const bare = (value) => (now.unit ? value.toFixed(1) : String(Math.round(100 * value))), unit = ` ${now.unit || "%"}`, short = (value) => bare(value) + unit, queries = now.rows[0].startsWith("query");
      const maps = now.rows.map((_, other) => weights(now, other, layer, head)), largest = Math.max(...maps.flat(), 1e-9);
      const of = patch === null ? null : maps.map((map) => map[patch]), top = of && Math.max(...of);
      words.replaceChildren(...now.rows.map((word, index) => html("span", { "data-row": index, class: "word", style: `cursor:pointer;display:inline-block;position:relative;white-space:nowrap;line-height:1.5;min-width:34px;text-align:center;padding:2px 6px;margin-bottom:20px;vertical-align:top;border-radius:6px;border:2px solid ${index === state.row ? "var(--orange)" : "transparent"};${index === row && row !== state.row ? "outline:2px dashed var(--orange);" : ""}${of ? `background:linear-gradient(to top, color-mix(in srgb, var(--blue) 45%, transparent) ${(100 * of[index]) / largest}%, transparent 0) no-repeat border-box` : ""}` }, word, queries && svg("svg", { width: 44, height: 44, style: "margin:0 auto 3px" }, small(maps[index], 44, largest)),
        of && html("span", { class: "soft", style: "position:absolute;left:0;right:0;top:calc(100% + 2px);text-align:center;line-height:1.2;font-size:13px" }, bare(of[index])))));
      const many = now.layers * now.heads > 1, tiny = clamp((Math.min(room, 360) - 70) / (now.heads + 1) - 6, 16, 40);
      heads.style.display = many ? "" : "none";
      const [lines, columns] = [now.layers, now.heads].map((count) => [...Array(count > 1 ? count + 1 : 1).keys()]); // with the mean
      const all = lines.flatMap((line) => columns.map((column) => weights(now, row, ...means(now, line, column)))), fullest = Math.max(...all.flat(), 1e-9); // one scale for all tiles
      heads.replaceChildren(svg("svg", { width: 62 + columns.length * (tiny + 6), height: lines.length * (tiny + 6) + 22, "aria-hidden": "true" },
        now.heads > 1 && svg("text", { class: "small soft", x: 0, y: 12 }, "head"),
        columns.map((column) => svg("text", { class: "small soft", x: 62 + column * (tiny + 6) + tiny / 2, y: 12, "text-anchor": "middle" }, column < now.heads ? column + 1 : "mean")),
        lines.map((line) => [svg("text", { class: "small soft", x: 0, y: 22 + line * (tiny + 6) + tiny / 2 }, line < now.layers ? `layer ${line + 1}` : "mean"),
          columns.map((column) => svg("g", { "data-layer": line, "data-head": column, style: "cursor:pointer", transform: `translate(${62 + column * (tiny + 6)} ${18 + line * (tiny + 6)})` },
            small(weights(now, row, ...means(now, line, column)), tiny, fullest, [layer, head].join() === means(now, line, column).join())))])), html("p", { class: "small soft" }, `One scale for all: full blue is ${short(fullest)}.`));
      const times = (value) => (now.unit === "nats" ? `, so the word becomes e^${value.toFixed(2)} ≈ ${Number(Math.exp(value).toPrecision(2))} times less likely` : "");
      const rest = now.rest || "other keys";
      const told = `'${now.rows[row]}'${where}: ` + (nothing(total) ? (now.unit ? "no square counts." : `it looks at no square: all of its weight is on ${rest}.`)
        : now.unit ? `covering ${square(bright)} costs most: ${most.toFixed(2)} ${now.unit}${times(most)}.`
          : `${flat ? "nearly flat; " : ""}brightest ${square(bright)}, ${short(most)} of the weight; darkest ${square(dark)}, ${short(least)}; an equal share would be ${short(equal)}.${total < 0.995 ? ` All squares together: ${short(total)}, the rest is on ${rest}.` : ""}`);
      const thing = queries ? "query" : "word", things = queries ? "queries" : "words";
      const near = of ? now.rows.filter((_, index) => bare(of[index]) === bare(top)) : []; // ties have no winner
      const by = near.length === now.rows.length ? `alike by all ${things}` : `most by ${near.length > 3 ? `${near.length} of ${now.rows.length} ${things}` : near.map((word) => `'${word}'`).join(" and ")}`;
      const over = !of ? "" : `Square ${square(patch)}${where}: ${+bare(top) === 0 ? `less than ${now.unit ? "0.05" : "0.5"}${unit} for every ${thing}` : `used ${by}, ${short(top)}. Below the ${things}: ${now.unit || "percent"}; a full box would be ${short(largest)}, the largest of all ${things} and squares`}.`;
      hint.textContent = `Point at a ${thing}${many ? ", or at a layer and head" : ""}: the picture lights up; a click keeps ${many ? "them" : `the ${thing}`}. Point at a square: see which ${things} use it; a click keeps it until the next click.${queries ? " Which query finds the thing, which the background?" : ""}${now.rows.includes("[DEC]") ? " [DEC] is the decoder's first token." : ""}${now.rows.includes("<image>") ? " <image> is the picture's place in the text." : ""}`;
      light.textContent = nothing(total) ? "" : `Dark: ${now.unit ? "no fall, or a rise" : "0"}; full light: ${short(full)}. Orange: the brightest square${flat ? ", where a map isn't flat" : ""}.`;
      about.replaceChildren(html("span", { style: "color:var(--ink)" }, "row" in state.pointed ? told : over || told), html("br"), `${state.model}: ${now.what}.`);
      message.textContent = state.message;
      words.setAttribute("aria-label", `Words or queries; arrow keys choose. ${told}`);
      heads.setAttribute("aria-label", `Layers and heads; arrow keys choose. ${told}`);
      picture.setAttribute("aria-label", `Picture of '${texts[state.picture]}', lit up where ${told} Arrow keys walk over its squares. ${over}`);
      const across = room >= 50 * pictures.length ? pictures.length : Math.ceil(pictures.length / 2);
      thumbs.replaceChildren(svg("svg", { width: across * 50, height: 50 * Math.ceil(pictures.length / across), "aria-hidden": "true" }, pictures.map((address, index) => svg("g", { "data-picture": index, style: "cursor:pointer", transform: `translate(${(index % across) * 50 + 2} ${Math.floor(index / across) * 50 + 2})` },
        svg("image", { href: address, width: 44, height: 44 }), svg("rect", { width: 44, height: 44, fill: "none", stroke: index === state.picture ? "var(--orange)" : "var(--line)", "stroke-width": index === state.picture ? 4 : 1 })))));
      thumbs.setAttribute("aria-label", `Pictures; arrow keys choose. Chosen: '${texts[state.picture]}'.`);
      say(`${state.model}: ${now.what}. ${told} ${over}`);
    }

    const place = (style = "") => html("div", { tabindex: 0, role: "application", style });
    const thumbs = place(), words = place("font-size:16px;line-height:2;margin:6px 0"), picture = place(), heads = place();
    const hint = html("p", { class: "small soft", style: "min-height:3em" }), light = html("p", { class: "small soft", style: "min-height:3em", "aria-hidden": "true" });
    const about = html("p", { class: "soft", style: "min-height:8em", "aria-hidden": "true" }), message = html("p", { class: "message", role: "alert" });
    const change = (changes) => { Object.assign(state, changes); draw(); };
    let latest = 0;
    const typed = ask && field("text", texts[0], async (text) => {
      const number = (latest += 1);
      try {
        const found = await ask({ model: state.model, picture: state.picture, text });
        if (number === latest) change({ asked: found, message: "", row: null });
      } catch (error) { if (number === latest) change({ message: error.message }); }
    }, { size: 34 });
    const renew = (changes) => { if (typed) typed.input.value = texts[changes.picture ?? state.picture]; change({ asked: null, row: null, patch: null, pointed: {}, message: "", ...changes }); };
    controls.append(buttons("", names.map((name) => [name, name]), names[0], (name) => renew({ model: name, layer: null, head: null })), ...(typed ? [typed] : []));
    stage.append(thumbs, hint, message, words, html("div", { class: "columns" }, html("div", { style: `width:${SIZE}px;flex:none` }, picture, light), heads), about);

    const choose = (index) => renew({ picture: (index + pictures.length) % pictures.length });
    thumbs.addEventListener("click", (event) => { const hit = event.target.closest("[data-picture]"); if (hit) choose(+hit.dataset.picture); });
    arrows(thumbs, (dx, dy) => choose(state.picture + dx + dy));
    const to = (row) => change({ row: clamp(row, 0, current().rows.length - 1), pointed: {} });
    const point = (to) => { if (JSON.stringify(to) !== JSON.stringify(state.pointed)) change({ pointed: to }); };
    const chosen = ({ layer: line, head: column }) => { const [layer, head] = means(current(), +line, +column); return { layer, head }; };
    hovering(words, "row", (hit) => point(hit ? { row: +hit.row } : {}));
    words.addEventListener("click", (event) => { const hit = event.target.closest("[data-row]"); if (hit) change({ row: +hit.dataset.row, patch: null, pointed: {} }); });
    arrows(words, (dx, dy) => to(state.row + dx + dy));
    hovering(heads, "layer", (hit) => point(hit ? chosen(hit) : {}));
    heads.addEventListener("click", (event) => { const hit = event.target.closest("[data-layer]"); if (hit) change({ ...chosen(hit.dataset), pointed: {} }); });
    arrows(heads, (dx, dy) => { const now = current(); change({ pointed: {}, ...chosen({ layer: clamp((state.layer ?? now.layers) + dy, 0, now.layers), head: clamp((state.head ?? now.heads) + dx, 0, now.heads) }) }); });
    hovering(picture, "patch", (hit) => point(hit ? { patch: +hit.patch } : {}));
    picture.addEventListener("click", (event) => { const hit = event.target.closest("[data-patch]"), patch = hit && +hit.dataset.patch; if (hit) change({ patch: patch === state.patch ? null : patch, pointed: {} }); });
    arrows(picture, (dx, dy) => { const side = Math.round(Math.sqrt(current().patches)), at = state.patch ?? 0; change({ pointed: {}, patch: clamp((at % side) + dx, 0, side - 1) + side * clamp(Math.floor(at / side) + dy, 0, side - 1) }); });
    redraw(draw);
  },
};
