// Attention: point at a word, a layer and a head, and the picture lights up where it looked; point at a patch, and the words do.

const SIZE = 260, EDGE = 16, BAR = 24; // of the picture, of the numbers at its edges, of the bars below the words: pixels
const TOUCH = matchMedia("(hover: none)").matches, POINT = TOUCH ? "Tap" : "Point at";

export default {
  render({ model, el }) {
    const { pictures, texts, models: names, maps, covering = {} } = model.get("data"), ask = kernel(model);
    const { controls, stage, say, width, redraw } = frame(el, "attention", "Attention explorer");
    // place: of the chosen word, counted from the noun; as query, layer and head it stays for other models and pictures. pointed: a row, a layer and head, or a patch below the pointer.
    const state = { model: names[0], kind: "maps", picture: 0, place: null, query: 0, layer: null, head: null, patch: null, bare: false, pointed: {}, asked: null, message: "" };
    const opened = new Map();

    const kind = () => (state.kind === "covering" && covering[state.model] ? "covering" : "maps");
    // The maps of now: { rows, what, layers, heads, patches, queries, at(layer, head, row, patch), means: of all layers and heads, by row }.
    function current() {
      const kept = state.asked ?? { maps, covering }[kind()][state.model][state.picture];
      if (!opened.has(kept)) {
        const bytes = Uint8Array.from(atob(kept.maps), (one) => one.charCodeAt(0)), [layers, heads, rows, patches] = kept.shape;
        const at = (layer, head, row, patch) => (kept.most * bytes[((layer * heads + head) * rows + row) * patches + patch]) / 255;
        const now = { ...kept, layers, heads, patches, at, queries: kept.rows[0].startsWith("query") };
        opened.set(kept, { ...now, means: now.rows.map((_, row) => weights(now, row, null, null)) });
      }
      return opened.get(kept);
    }
    const real = (which, count) => (count > 1 && which < count ? which : null); // null: the mean of all
    function weights(now, row, layer, head) {
      const over = (which, count) => (real(which, count) === null ? Array.from({ length: count }, (_, index) => index) : [which]);
      const some = over(layer, now.layers).flatMap((l) => over(head, now.heads).map((h) => [l, h]));
      return Array.from({ length: now.patches }, (_, patch) => some.reduce((sum, [l, h]) => sum + now.at(l, h, row, patch), 0) / some.length);
    }
    // A line and column of the table of heads; the last ones stand for the mean.
    const means = (now, line, column) => [line < now.layers ? real(line, now.layers) : null, column < now.heads ? real(column, now.heads) : null];
    function noun(now) {
      const at = state.asked ? -1 : now.rows.findIndex((word) => texts[state.picture].split(" on ")[0].endsWith(` ${word}`));
      return at < 0 ? now.rows.length - 1 : at;
    }
    // At first the word before the noun where a row before the first word shows that maps are made on the way to the next word.
    function chosenRow(now) {
      return clamp(now.queries ? state.query : noun(now) + (state.place ?? (/^[[<]/.test(now.rows[0]) ? -1 : 0)), 0, now.rows.length - 1);
    }
    const toRow = (row, now = current()) => change({ ...(now.queries ? { query: row } : { place: row - noun(now) }), pointed: {} });

    const nothing = (total) => total < 0.005;
    function small(values, size, most, chosen = false) {
      const side = Math.round(Math.sqrt(values.length)), cell = size / side;
      return svg("g", {}, svg("rect", { width: size, height: size, fill: "var(--ground)" }),
        values.map((value, index) => svg("rect", { x: (index % side) * cell, y: Math.floor(index / side) * cell, width: cell + 0.2, height: cell + 0.2, fill: "var(--blue)", opacity: value / most })),
        svg("rect", { x: -1, y: -1, width: size + 2, height: size + 2, fill: "none", stroke: chosen ? "var(--orange)" : "var(--line)", "stroke-width": chosen ? 3 : 1 }));
    }

    function draw() {
      const now = current(), room = width(), start = chosenRow(now); // room: asked for before anything changes: after that it would lay out the whole page
      const { row, patch, ...kept } = { row: start, ...state, ...state.pointed }, [layer, head] = [real(kept.layer, now.layers), real(kept.head, now.heads)];
      const values = weights(now, row, layer, head), side = Math.round(Math.sqrt(now.patches)), size = Math.min(room - EDGE - 8, SIZE), cell = size / side;
      const most = Math.max(...values), least = Math.min(...values), total = values.reduce((sum, one) => sum + one, 0), equal = total / now.patches;
      // Full light: the largest value of these maps at any word, but at least 2.5 equal shares or half a nat: a flat map isn't bright anywhere.
      const mean = layer === null && head === null, largest = mean ? Math.max(...now.means.flat()) : now.most, floor = now.unit ? 0.5 : 2.5 / now.patches, full = Math.max(largest, floor);
      const none = nothing(total), flat = most < 1.5 * equal && least > equal / 1.5, bright = values.indexOf(most);
      const square = (index) => `row ${1 + Math.floor(index / side)}, column ${1 + (index % side)}`;
      const part = (count, name, index) => count > 1 && (index === null ? `mean of ${name}s` : `${name} ${index + 1}`);
      const where = [part(now.layers, "layer", layer), part(now.heads, "head", head)].filter(Boolean).map((one) => `, ${one}`).join("").replace("layers, mean of", "layers and");
      const bare = (value) => (now.unit ? (value < 0.005 ? "0" : value.toFixed(value < 0.095 ? 2 : 1)) : String(Math.round(100 * value))), unit = ` ${now.unit || "%"}`, short = (value) => bare(value) + unit;
      const written = (text, x, y) => svg("text", { x, y, "text-anchor": "middle", "pointer-events": "none", style: "fill:#ffffff;stroke:#05080c;stroke-width:3px;paint-order:stroke;font-weight:600" }, text);
      const [x, y] = [(index) => (index % side) * cell, (index) => Math.floor(index / side) * cell], marked = [...new Set([none || flat ? null : bright, patch])].filter((index) => index !== null);
      picture.replaceChildren(svg("svg", { width: size + EDGE, height: size + EDGE, style: "cursor:pointer", "aria-hidden": "true" },
        Array.from({ length: side }, (_, index) => [svg("text", { class: "small soft", x: EDGE + (index + 0.5) * cell, y: 11, "text-anchor": "middle" }, index + 1), svg("text", { class: "small soft", x: 2, y: EDGE + (index + 0.5) * cell + 4 }, index + 1)]),
        svg("g", { transform: `translate(${EDGE} ${EDGE})` }, svg("image", { href: pictures[state.picture], width: size, height: size, preserveAspectRatio: "none" }),
          values.map((value, index) => svg("rect", { "data-patch": index, class: "smooth", x: x(index), y: y(index), width: cell + 0.3, height: cell + 0.3, fill: "#05080c", opacity: state.bare ? 0 : 0.78 * (1 - value / full) })),
          patch !== null && svg("rect", { x: x(patch) + 1, y: y(patch) + 1, width: cell - 2, height: cell - 2, fill: "none", stroke: "#F0B030", "stroke-width": 3, "stroke-dasharray": patch === state.patch ? null : "6 4", "pointer-events": "none" }),
          !state.bare && (none ? written(now.unit ? "no square counts" : "at no square", size / 2, size / 2 + 5) : marked.map((index) => written(short(values[index]), x(index) + cell / 2, y(index) + cell / 2 + 5))))));
      const all = now.rows.map((_, other) => weights(now, other, layer, head)), of = patch === null ? null : all.map((map) => map[patch]), top = of && Math.max(...of), narrow = room < 480;
      words.replaceChildren(...now.rows.map((word, index) => html("span", { "data-row": index, class: "word", style: `cursor:pointer;display:inline-block;margin:0 ${narrow ? 0 : 2}px;text-align:center;vertical-align:top` },
        html("span", { style: `display:block;white-space:nowrap;line-height:1.5;min-width:${narrow ? 24 : 34}px;padding:2px ${narrow ? 3 : 6}px;border-radius:6px;border:2px ${index === start ? "solid var(--orange)" : index === row ? "dashed var(--orange)" : "solid transparent"}` },
          word, now.queries && svg("svg", { width: 44, height: 44, style: "margin:0 auto 3px" }, small(all[index], 44, full))),
        html("span", { style: `display:flex;align-items:flex-end;justify-content:center;height:${BAR}px;${of ? "border-bottom:1px solid var(--line)" : ""}` }, of && html("span", { class: "smooth", style: `width:14px;height:${(BAR * of[index]) / full}px;background:var(--blue)` })),
        html("span", { class: "soft", style: "display:block;height:18px;line-height:18px;font-size:13px" }, of && bare(of[index])))));
      const many = now.layers * now.heads > 1, tiny = clamp((Math.min(room, 360) - 70) / (now.heads + 1) - 6, 16, 40);
      heads.style.display = many ? "" : "none";
      const [lines, columns] = [now.layers, now.heads].map((count) => [...Array(count > 1 ? count + 1 : 1).keys()]); // with the mean
      heads.replaceChildren(svg("svg", { width: 62 + columns.length * (tiny + 6), height: lines.length * (tiny + 6) + 22, "aria-hidden": "true" },
        now.heads > 1 && svg("text", { class: "small soft", x: 0, y: 12 }, "head"),
        columns.map((column) => svg("text", { class: "small soft", x: 62 + column * (tiny + 6) + tiny / 2, y: 12, "text-anchor": "middle" }, column < now.heads ? column + 1 : "mean")),
        lines.map((line) => [svg("text", { class: "small soft", x: 0, y: 22 + line * (tiny + 6) + tiny / 2 }, line < now.layers ? `layer ${line + 1}` : "mean"),
          columns.map((column) => svg("g", { "data-layer": line, "data-head": column, style: "cursor:pointer", transform: `translate(${62 + column * (tiny + 6)} ${18 + line * (tiny + 6)})` },
            small(weights(now, row, ...means(now, line, column)), tiny, now.most, [layer, head].join() === means(now, line, column).join())))])), html("p", { class: "small soft" }, `Full blue: ${short(now.most)}, in all tiles at all ${now.queries ? "queries" : "words"}.`));
      const chance = now.probabilities?.[row], probable = (value) => (value < 0.005 ? "<.01" : percent(value));
      const rest = now.rest || "other keys";
      const told = `'${now.rows[row]}'${where}${chance === undefined ? "" : ` (probability ${probable(chance)})`}: ` + (none ? (now.unit ? "no square counts." : `it looks at no square: all of its weight is on ${rest}.`)
        : now.unit ? `covering ${square(bright)} costs most, ${most.toFixed(2)} ${now.unit}${chance === undefined ? "" : `: ${probable(chance * Math.exp(-most))} is left`}.`
          : `${flat ? "nearly flat; " : ""}most at ${square(bright)}: ${short(most)}, where an equal share would be ${short(equal)}.${total < 0.995 ? ` All squares together: ${short(total)}, the rest is on ${rest}.` : ""}`);
      const thing = now.queries ? "query" : "word", things = now.queries ? "queries" : "words";
      const near = of ? now.rows.filter((_, index) => bare(of[index]) === bare(top)) : []; // ties have no winner
      const by = near.length === now.rows.length ? `alike by all ${things}` : `most by ${near.length > 3 ? `${near.length} of ${now.rows.length} ${things}` : near.map((word) => `'${word}'`).join(" and ")}`;
      const over = !of ? "" : `Square ${square(patch)}${where}: ${+bare(top) === 0 ? `less than ${now.unit ? "0.01" : "0.5"}${unit} for every ${thing}` : `${now.unit ? "needed" : "used"} ${by}, ${short(top)}`}.`;
      hint.textContent = `${POINT} a ${thing}${many ? " or a head" : ""}: ${now.unit ? "which square does it need" : "where does it look"}? ${POINT} a square: which ${things} ${now.unit ? "need" : "use"} it? ${TOUCH ? "A second tap lets it go" : "A click keeps it; a second click or Escape lets go"}.`;
      scaled.textContent = `${short(full)}${full > largest ? (now.unit ? "" : " (2.5 equal shares)") : ""}: all ${things}${mean ? "" : " and heads"}`;
      only.setAttribute("aria-pressed", String(state.bare));
      kinds.style.display = covering[state.model] ? "" : "none";
      about.replaceChildren(html("p", {}, told), of ? html("p", {}, over) : "");
      const special = `${now.rows.includes("[DEC]") ? " [DEC] is the decoder's first token." : ""}${now.rows.includes("<image>") ? " <image> is the picture's place in the text." : ""}`;
      what.textContent = `${state.model}: ${now.what}.${special}`;
      message.textContent = state.message;
      words.setAttribute("aria-label", `Words or queries; arrow keys choose. ${told} ${over}`);
      heads.setAttribute("aria-label", `Layers and heads; arrow keys choose. ${told}`);
      picture.setAttribute("aria-label", `Picture of '${texts[state.picture]}', lit up where ${told} Arrow keys walk over its squares, Escape lets go. ${over}`);
      const across = room >= 50 * pictures.length ? pictures.length : Math.ceil(pictures.length / 2);
      thumbs.replaceChildren(svg("svg", { width: across * 50, height: 50 * Math.ceil(pictures.length / across), "aria-hidden": "true" }, pictures.map((address, index) => svg("g", { "data-picture": index, style: "cursor:pointer", transform: `translate(${(index % across) * 50 + 2} ${Math.floor(index / across) * 50 + 2})` },
        svg("image", { href: address, width: 44, height: 44 }), svg("rect", { width: 44, height: 44, fill: "none", stroke: index === state.picture ? "var(--orange)" : "var(--line)", "stroke-width": index === state.picture ? 4 : 1 })))));
      thumbs.setAttribute("aria-label", `Pictures; arrow keys choose. Chosen: '${texts[state.picture]}'.`);
      say(`${state.model}: ${now.what}. ${told} ${over}`);
    }

    const place = (style = "") => html("div", { tabindex: 0, role: "application", style });
    const thumbs = place(), words = place("font-size:16px;margin:6px 0"), picture = place(), heads = place();
    const hint = html("p", {}), scaled = html("span", { class: "small soft" });
    const light = html("div", { style: `display:flex;gap:6px;align-items:center;padding-left:${EDGE}px;margin:6px 0 8px;white-space:nowrap`, "aria-hidden": "true" },
      html("span", { class: "small soft" }, "0"), html("span", { style: "width:70px;height:12px;border:1px solid var(--line);background:linear-gradient(to right, #3a3d40, #ffffff)" }), scaled);
    const about = html("div", { style: "min-height:9.5em", "aria-hidden": "true" }), what = html("p", { class: "soft", "aria-hidden": "true" }), message = html("p", { class: "message", role: "alert" });
    const change = (changes) => { Object.assign(state, changes); draw(); };
    let latest = 0;
    const typed = ask && field("text", texts[0], async (text) => {
      const number = (latest += 1);
      try {
        const found = await ask({ kind: kind(), model: state.model, picture: state.picture, text });
        if (number === latest) change({ asked: found, message: "" });
      } catch (error) { if (number === latest) change({ message: error.message }); }
    }, { size: 34 });
    const renew = (changes) => { if (typed) typed.input.value = texts[changes.picture ?? state.picture]; change({ asked: null, pointed: {}, message: "", ...changes }); };
    const kinds = buttons("", [["maps", "attention"], ["covering", "covering"]], "maps", (kind) => renew({ kind }));
    const only = button("picture only", () => change({ bare: !state.bare }), { "aria-pressed": "false", style: `margin-left:${EDGE}px` });
    controls.append(buttons("", names.map((name) => [name, name]), names[0], (name) => renew({ model: name })), kinds, ...(typed ? [typed] : []));
    stage.append(thumbs, hint, message, words, html("div", { class: "columns" }, html("div", { style: `width:${SIZE + EDGE}px;flex:none` }, picture, light, only), html("div", { style: "flex:1;min-width:280px" }, heads, about)), what);

    const choose = (index) => renew({ picture: (index + pictures.length) % pictures.length });
    thumbs.addEventListener("click", (event) => { const hit = event.target.closest("[data-picture]"); if (hit) choose(+hit.dataset.picture); });
    arrows(thumbs, (dx, dy) => choose(state.picture + dx + dy));
    const point = (to) => { if (JSON.stringify(to) !== JSON.stringify(state.pointed)) change({ pointed: to }); };
    const chosen = ({ layer: line, head: column }) => { const [layer, head] = means(current(), +line, +column); return { layer, head }; };
    hovering(words, "row", (hit) => point(hit ? { row: +hit.row } : {}));
    words.addEventListener("click", (event) => { const hit = event.target.closest("[data-row]"); if (hit) toRow(+hit.dataset.row); });
    arrows(words, (dx, dy) => { const now = current(); toRow(clamp(chosenRow(now) + dx + dy, 0, now.rows.length - 1)); });
    hovering(heads, "layer", (hit) => point(hit ? chosen(hit) : {}));
    heads.addEventListener("click", (event) => { const hit = event.target.closest("[data-layer]"); if (hit) change({ ...chosen(hit.dataset), pointed: {} }); });
    arrows(heads, (dx, dy) => {
      const now = current(), moved = (which, count, step) => clamp((real(which, count) ?? count) + step, 0, count);
      change({ pointed: {}, ...chosen({ layer: moved(state.layer, now.layers, dy), head: moved(state.head, now.heads, dx) }) });
    });
    hovering(picture, "patch", (hit) => point(hit ? { patch: +hit.patch } : {}));
    const letGo = () => change({ patch: null, pointed: {} });
    picture.addEventListener("click", (event) => { const hit = event.target.closest("[data-patch]"), patch = hit && +hit.dataset.patch; if (hit) change({ patch: patch === state.patch ? null : patch, pointed: {} }); });
    stage.addEventListener("keydown", (event) => { if (event.key === "Escape" && (state.patch !== null || "patch" in state.pointed)) letGo(); });
    arrows(picture, (dx, dy) => {
      const side = Math.round(Math.sqrt(current().patches)), at = state.patch;
      change({ pointed: {}, patch: at === null ? 0 : clamp((at % side) + dx, 0, side - 1) + side * clamp(Math.floor(at / side) + dy, 0, side - 1) });
    }, letGo);
    redraw(draw);
  },
};
