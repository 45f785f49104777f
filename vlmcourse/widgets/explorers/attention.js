// Attention: point at a word, a layer and a head, and the picture turns blue where it looked; point at a square, and the words that use it get bars.

const SIZE = 272, EDGE = 16, BAR = 20; // of the picture, of the numbers at its edges, of the bars below the words: pixels
const BLUE = "#0072B2", EMPTY = "#e6e7e9"; // the same in the dark: a picture stays as it is there, too
const TOUCH = matchMedia("(hover: none)").matches, POINT = TOUCH ? "Tap" : "Point at";
const LAYOUT = `
.explorer .looking { display: grid; grid-template: "picture heads" auto "picture about" 1fr / auto minmax(0, 1fr); gap: 8px 28px; align-items: start; }
@media (max-width: 600px) { .explorer .looking { grid-template: "heads" auto "picture" auto "about" auto / minmax(0, 1fr); } }
.explorer .looking .at { font-weight: 600; }`;

export default {
  render({ model, el }) {
    const { pictures, texts, models: names, maps, covering = {} } = model.get("data"), ask = kernel(model);
    const { controls, stage, say, width, redraw } = frame(el, "attention", "Attention explorer");
    // place: of the word that the map is made for, counted from the noun; it stays for other models and pictures; query, layer and head for other pictures. pointed: a row, a layer
    // and head, or a patch below the pointer. guessing: the map is hidden until a square is chosen; guess: the one that was.
    const state = { model: names[0], kind: "maps", picture: 0, place: 0, query: 0, layer: null, head: null, patch: null, guessing: false, guess: null, pointed: {}, asked: null, message: "" };
    const opened = new Map();

    const kind = () => (state.kind === "covering" && covering[state.model] ? "covering" : "maps");
    // The maps of now: { rows, what, layers, heads, patches, queries, onward (a word's map is made to choose the next one), at(layer, head, row, patch) }.
    function current() {
      const kept = state.asked ?? { maps, covering }[kind()][state.model][state.picture];
      if (!opened.has(kept)) {
        const bytes = Uint8Array.from(atob(kept.maps), (one) => one.charCodeAt(0)), [layers, heads, rows, patches] = kept.shape;
        const at = (layer, head, row, patch) => (kept.most * bytes[((layer * heads + head) * rows + row) * patches + patch]) / 255;
        opened.set(kept, { ...kept, layers, heads, patches, at, queries: kept.rows[0].startsWith("query"), onward: /^[[<]/.test(kept.rows[0]) });
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
    // Where maps are made on the way to the next word, the row is that of the word before the chosen one.
    const ahead = (now) => (now.onward ? 1 : 0);
    function chosenRow(now) {
      return clamp(now.queries ? state.query : noun(now) + state.place - ahead(now), 0, now.rows.length - 1);
    }
    const toRow = (row, now = current()) => change({ ...(now.queries ? { query: row } : { place: row - noun(now) + ahead(now) }), guess: null, pointed: {} });

    // One scale for the picture, the small maps and the legend: full blue is all of the weight, by roots, so that a head with 92 % differs from
    // one with 48 %, and both from weight that is spread evenly; or two nats.
    const fullOf = (now) => (now.unit ? 2 : 1);
    const shade = (value, full) => (full === 1 ? Math.sqrt(value) : Math.min(1, value / full));
    function small(values, size, full, chosen = false) {
      const side = Math.round(Math.sqrt(values.length)), cell = size / side;
      return svg("g", {}, svg("rect", { width: size, height: size, fill: EMPTY }),
        !state.guessing && values.map((value, index) => svg("rect", { x: (index % side) * cell, y: Math.floor(index / side) * cell, width: cell + 0.2, height: cell + 0.2, fill: BLUE, opacity: shade(value, full) })),
        svg("rect", { x: -1, y: -1, width: size + 2, height: size + 2, fill: "none", stroke: chosen ? "var(--orange)" : "var(--line)", "stroke-width": chosen ? 3 : 1 }));
    }

    // What a map is of: a question to look at.
    function asking(now, row) {
      const word = now.rows[row], before = now.rows.slice(now.onward ? 1 : 0, row + (now.onward ? 1 : 0)).join(" "), next = now.rows[row + 1];
      if (now.queries) return `${word[0].toUpperCase()}${word.slice(1)} reads the picture before there is any text: where does it look?`;
      if (now.unit) return `${before ? `After '${before}'` : "At the start"}: which squares does '${word}' need?`;
      if (!now.onward) return `Which squares are like the word '${word}'?`;
      const read = before ? `has read '${before}'` : `has read no word yet, only ${word}`;
      return next ? `${state.model} ${read}: where does it look for the next word, '${next}'?` : `${state.model} ${read}, all of it: where does it look now?`;
    }

    function draw() {
      const now = current(), room = width(), start = chosenRow(now), narrow = room < 560, tile = narrow ? 30 : 44; // room: asked for before anything changes: after that it would lay out the whole page
      const { row, patch, ...kept } = { row: start, ...state, ...state.pointed }, [layer, head] = [real(kept.layer, now.layers), real(kept.head, now.heads)];
      const values = weights(now, row, layer, head), side = Math.round(Math.sqrt(now.patches)), size = Math.min(room - EDGE - 8, SIZE), cell = size / side;
      const most = Math.max(...values), least = Math.min(...values), total = values.reduce((sum, one) => sum + one, 0), equal = total / now.patches, full = fullOf(now);
      const none = total < 0.005, flat = most < 1.5 * equal && least > equal / 1.5, bright = values.indexOf(most), hidden = state.guessing;
      const square = (index) => `row ${1 + Math.floor(index / side)}, column ${1 + (index % side)}`;
      const part = (count, name, index) => count > 1 && (index === null ? `mean of ${name}s` : `${name} ${index + 1}`);
      const where = [part(now.layers, "layer", layer), part(now.heads, "head", head)].filter(Boolean).map((one) => `, ${one}`).join("").replace("layers, mean of", "layers and");
      const bare = (value) => (now.unit ? (value < 0.005 ? "0" : value.toFixed(value < 0.095 ? 2 : 1)) : String(Math.round(100 * value))), unit = ` ${now.unit || "%"}`, short = (value) => bare(value) + unit;
      const written = (text, x, y) => svg("text", { x, y, "text-anchor": "middle", "pointer-events": "none", style: "fill:#ffffff;stroke:#05080c;stroke-width:3px;paint-order:stroke;font-weight:600" }, text);
      const [x, y] = [(index) => (index % side) * cell, (index) => Math.floor(index / side) * cell];
      const marked = [...new Set([none || flat ? null : bright, patch])].filter((index) => index !== null && (cell > 36 || index === (patch ?? bright)));
      picture.replaceChildren(svg("svg", { width: size + EDGE, height: size + EDGE, style: "cursor:pointer", "aria-hidden": "true" },
        Array.from({ length: side }, (_, index) => [svg("text", { class: "small soft", x: EDGE + (index + 0.5) * cell, y: 11, "text-anchor": "middle" }, index + 1), svg("text", { class: "small soft", x: 2, y: EDGE + (index + 0.5) * cell + 4 }, index + 1)]),
        svg("g", { transform: `translate(${EDGE} ${EDGE})`, style: "isolation:isolate" }, svg("image", { href: pictures[state.picture], width: size, height: size, preserveAspectRatio: "none", style: hidden ? null : "filter:grayscale(1) brightness(1.12)" }),
          values.map((value, index) => svg("rect", { "data-patch": index, class: "smooth", x: x(index), y: y(index), width: cell, height: cell, fill: BLUE, "fill-opacity": hidden ? 0 : 0.88 * shade(value, full), stroke: "#6b7480", "stroke-opacity": 0.4, "stroke-width": 0.8, style: "mix-blend-mode:multiply" })),
          now.unit && patch !== null && !hidden && svg("rect", { x: x(patch), y: y(patch), width: cell, height: cell, fill: "#8a8a8a", "pointer-events": "none" }), // covered, as the model saw it
          patch !== null && svg("rect", { x: x(patch) + 1, y: y(patch) + 1, width: cell - 2, height: cell - 2, fill: "none", stroke: "#F0B030", "stroke-width": 3, "stroke-dasharray": patch === state.patch ? null : "6 4", "pointer-events": "none" }),
          !hidden && (none ? written(now.unit ? "no square counts" : "at no square", size / 2, size / 2 + 5) : marked.map((index) => written(now.unit ? bare(values[index]) : short(values[index]), x(index) + cell / 2, y(index) + cell / 2 + 5))))));
      const all = now.rows.map((_, other) => weights(now, other, layer, head)), of = patch === null || hidden ? null : all.map((map) => map[patch]), top = of && Math.max(...of);
      const unread = (index) => !now.queries && (now.onward || now.unit) && index > row; // not read yet
      words.replaceChildren(...now.rows.map((word, index) => html("span", { "data-row": index, class: "word", style: `cursor:pointer;display:inline-block;margin:0 ${narrow ? 0 : 2}px;text-align:center;vertical-align:top` },
        html("span", { class: unread(index) ? "soft" : "", style: `display:block;white-space:nowrap;line-height:1.5;min-width:${narrow ? 22 : 34}px;padding:2px ${narrow ? 3 : 6}px;border-radius:6px;border:2px ${index === start ? "solid var(--orange)" : index === row ? "dashed var(--orange)" : "solid transparent"}` },
          now.onward && index === row + 1 ? html("span", { style: "border-bottom:2px dotted currentColor" }, word) : now.queries && narrow ? index + 1 : word, now.queries && svg("svg", { width: tile, height: tile, style: "margin:0 auto 3px" }, small(all[index], tile, full))),
        html("span", { style: `display:flex;align-items:flex-end;justify-content:center;height:${BAR}px;${of ? "border-bottom:1px solid var(--line)" : ""}` }, of && html("span", { class: "smooth", style: `width:14px;height:${(BAR * of[index]) / Math.max(now.unit ? full : Math.min(1, 4 / now.patches), top)}px;background:var(--blue)` })),
        html("span", { class: "soft", style: "display:block;height:18px;line-height:18px;font-size:13px" }, of && bare(of[index])))));
      const many = now.layers * now.heads > 1, tiny = clamp((Math.min(room, 360) - 70) / (now.heads + 1) - 6, 16, narrow ? 30 : 40);
      heads.style.display = many ? "" : "none";
      const [lines, columns] = [now.layers, now.heads].map((count) => [...Array(count > 1 ? count + 1 : 1).keys()]); // with the mean
      heads.replaceChildren(svg("svg", { width: 62 + columns.length * (tiny + 6), height: lines.length * (tiny + 6) + 20, "aria-hidden": "true" },
        now.heads > 1 && svg("text", { class: "small soft", x: 0, y: 12 }, "head"),
        columns.map((column) => svg("text", { class: "small soft", x: 62 + column * (tiny + 6) + tiny / 2, y: 12, "text-anchor": "middle" }, column < now.heads ? column + 1 : "mean")),
        lines.map((line) => [svg("text", { class: "small soft", x: 0, y: 22 + line * (tiny + 6) + tiny / 2 }, line < now.layers ? `layer ${line + 1}` : "mean"),
          columns.map((column) => svg("g", { "data-layer": line, "data-head": column, style: "cursor:pointer", transform: `translate(${62 + column * (tiny + 6)} ${18 + line * (tiny + 6)})` },
            small(weights(now, row, ...means(now, line, column)), tiny, full, [layer, head].join() === means(now, line, column).join())))])));
      const chance = now.probabilities?.[row], probable = (value) => (value < 0.005 ? "<.01" : percent(value)), name = `'${now.rows[row]}'`;
      const fall = (index) => { const [before, after] = [chance, chance * Math.exp(-values[index])].map(probable); return before === after ? `${name} stays at ${before}` : `${name} falls from ${before} to ${after}`; };
      const then = (index) => { const other = now.instead?.[row]?.split(" ")[index]; return !other ? "" : other === now.rows[row] ? ", still the likeliest word" : `; the likeliest word is then '${other}'`; };
      const covered = (index) => (values[index] < 0.005 ? `costs ${name} nothing` : `costs ${short(values[index])}${chance === undefined ? "" : `: the probability of ${fall(index)}${then(index)}`}`);
      const rest = now.rest || "other keys", told = none ? (now.unit ? `No square counts${chance === undefined ? "" : `: ${name} has probability ${probable(chance)} whichever is covered`}.` : `It looks at no square: all of its weight is on ${rest}.`)
        : now.unit ? `Covering ${square(bright)} costs most. It ${covered(bright)}.`
          : `${flat ? "Nearly flat. " : ""}Most at ${square(bright)}: ${short(most)}; spread evenly, each square would have ${short(equal)}. All squares together: ${short(total)}${total < 0.995 ? `; the rest is on ${rest}` : ""}.`;
      const thing = now.queries ? "query" : "word", things = now.queries ? "queries" : "words";
      const near = of ? now.rows.filter((_, index) => bare(of[index]) === bare(top)) : []; // ties have no winner
      const by = near.length === now.rows.length ? `alike by all ${things}` : `most by ${near.length > 3 ? `${near.length} of ${now.rows.length} ${things}` : near.map((word) => `'${word}'`).join(" and ")}`;
      const used = !of ? "" : +bare(top) === 0 ? `less than ${now.unit ? "0.01" : "0.5"}${unit} for every ${thing}` : `${now.unit ? "needed" : "used"} ${by}, ${short(top)}`;
      const over = !of ? "" : now.unit ? `Square ${square(patch)}: covering it ${covered(patch)}. ${+bare(top) === 0 ? "" : `It is ${used}.`}` : `Square ${square(patch)}: ${short(values[patch])} for '${now.rows[row]}'; ${used}.`;
      const asked = weights(now, start, real(state.layer, now.layers), real(state.head, now.heads)); // the map that was guessed, whatever is pointed at
      const better = state.guess === null ? 0 : asked.filter((value) => value > asked[state.guess]).length;
      const guessed = state.guess === null || asked.every((value) => value < 0.005) ? "" : better ? `It has ${short(asked[state.guess])}: number ${better + 1} of ${now.patches}.` : "Your guess is right.";
      const guide = now.unit ? "Guess: which square costs most when it is covered?" : "Guess: which square gets most?", choosing = TOUCH ? "Tap it." : "Click it, or go there by arrow keys and press Enter.";
      hint.textContent = `${POINT} a ${thing}${many ? ", a small map (one head)" : ""} or a square.${TOUCH ? "" : " A click keeps it; a second click or Escape lets a square go."}`;
      question.textContent = hidden ? `${guide} ${choosing}` : asking(now, row);
      verdict.textContent = guessed;
      verdict.className = better ? "at" : "good";
      Object.assign(question.style, narrow ? { minHeight: "2.9em", fontSize: "13px" } : { minHeight: "1.45em", fontSize: "" });
      words.style.fontSize = narrow ? "14px" : "16px";
      const above = now.unit && (most > full || now.most > full), even = !none && !now.unit && !hidden ? 150 * shade(equal, full) : null;
      light.replaceChildren(svg("svg", { width: SIZE + EDGE, height: 34, "aria-hidden": "true" },
        svg("g", { transform: `translate(${EDGE + 12} 0)` }, svg("defs", {}, svg("linearGradient", { id: `${id}-blue` }, svg("stop", { offset: 0, "stop-color": EMPTY }), svg("stop", { offset: 1, "stop-color": BLUE }))),
          svg("text", { class: "small soft", x: -5, y: 12, "text-anchor": "end" }, "0"), svg("rect", { x: 0, y: 2, width: 150, height: 12, fill: `url(#${id}-blue)`, stroke: "var(--line)" }), svg("text", { class: "small soft", x: 156, y: 12 }, `${now.unit ? full : 100}${unit}${above ? " or more" : ""}`), !now.unit && [svg("path", { d: "M75 2v12", stroke: "var(--line)" }), svg("text", { class: "small", x: 75, y: 12, "text-anchor": "middle", style: "fill:#ffffff;stroke:#05080c;stroke-width:2px;paint-order:stroke" }, "25")],
          even !== null && [svg("path", { d: `M${even} 0v18`, stroke: "var(--ink)", "stroke-width": 2 }), svg("text", { class: "small soft", x: Math.max(even, 0), y: 30 }, `${short(equal)}: spread evenly`)])));
      guess.setAttribute("aria-pressed", String(state.guessing));
      kinds.style.display = covering[state.model] ? "" : "none";
      about.replaceChildren(...(hidden ? [html("p", {}, asking(now, row))] : [html("p", {}, html("span", { class: "at" }, `${name}${where}. `), told), of && html("p", {}, over)].filter(Boolean)));
      const special = `${now.rows.includes("[DEC]") ? " [DEC] is the decoder's first token." : ""}${now.rows.includes("<image>") ? " <image> is the picture's place in the text." : ""}`;
      what.textContent = `${state.model}: ${now.what}. ${now.unit ? `One square of ${now.patches} is covered at a time; ${full} nats divide a probability by about ${Math.round(Math.exp(full))}.` : `A square is one of the ${now.patches} patches into which the model cuts the picture.${many ? " Picture and small maps have one scale of blue." : ""}`}${special}`;
      message.textContent = state.message;
      const heard = hidden ? `${asking(now, row)} ${patch === null ? "" : `At ${square(patch)}.`}` : `${guessed} ${name}${where}. ${told} ${over}`;
      words.setAttribute("aria-label", `Words or queries; arrow keys choose. ${question.textContent} ${heard}`);
      heads.setAttribute("aria-label", `Layers and heads; arrow keys choose. ${heard}`);
      picture.setAttribute("aria-label", `Picture of '${texts[state.picture]}'. Arrow keys walk over its squares, ${hidden ? "Enter guesses" : "Escape lets go"}. ${heard}`);
      const thumb = clamp(Math.floor(room / pictures.length) - 6, 34, 44), across = Math.min(pictures.length, Math.floor(room / (thumb + 6)));
      thumbs.replaceChildren(svg("svg", { width: across * (thumb + 6), height: (thumb + 6) * Math.ceil(pictures.length / across), "aria-hidden": "true" }, pictures.map((address, index) => svg("g", { "data-picture": index, style: "cursor:pointer", transform: `translate(${(index % across) * (thumb + 6) + 2} ${Math.floor(index / across) * (thumb + 6) + 2})` },
        svg("image", { href: address, width: thumb, height: thumb }), svg("rect", { width: thumb, height: thumb, fill: "none", stroke: index === state.picture ? "var(--orange)" : "var(--line)", "stroke-width": index === state.picture ? 4 : 1 })))));
      thumbs.setAttribute("aria-label", `Pictures; arrow keys choose. Chosen: '${texts[state.picture]}'.`);
      say(`${state.model}: ${question.textContent} ${heard}`);
    }

    const place = (style = "") => html("div", { tabindex: 0, role: "application", style });
    const thumbs = place(), words = place("margin:6px 0 0"), picture = place(), heads = place("grid-area:heads"), id = `attention-${Math.random().toString(36).slice(2)}`;
    const hint = html("p", { class: "soft small" }), question = html("p", { class: "at", style: "font-weight:600;margin:8px 0 0;max-width:none" }), light = html("div", { style: "margin:6px 0 2px" });
    const about = html("div", { style: "grid-area:about;min-height:9.5em", "aria-hidden": "true" }), what = html("p", { class: "soft", "aria-hidden": "true" }), message = html("p", { class: "message", role: "alert" });
    const change = (changes) => { Object.assign(state, changes); draw(); };
    let latest = 0;
    const typed = ask && field("text", texts[0], async (text) => {
      const number = (latest += 1);
      try {
        const found = await ask({ kind: kind(), model: state.model, picture: state.picture, text });
        if (number === latest) change({ asked: found, message: "" });
      } catch (error) { if (number === latest) change({ message: error.message }); }
    }, { size: 34 });
    const renew = (changes) => { if (typed) typed.input.value = texts[changes.picture ?? state.picture]; change({ asked: null, guess: null, pointed: {}, message: "", ...changes }); };
    const kinds = buttons("", [["maps", "attention"], ["covering", "covering"]], "maps", (kind) => renew({ kind }));
    const guess = button("Guess first", () => change({ guessing: !state.guessing, guess: null, patch: null, pointed: {} }), { "aria-pressed": "false", style: "flex:none" }), verdict = html("span", { "aria-hidden": "true" });
    controls.append(buttons("", names.map((name) => [name, name]), names[0], (name) => renew({ model: name, query: 0, layer: null, head: null })), kinds, ...(typed ? [typed] : []));
    stage.append(html("style", {}, LAYOUT), thumbs, hint, message, question, words, html("div", { class: "looking" }, heads, html("div", { style: `grid-area:picture;width:${SIZE + EDGE}px;max-width:100%` }, picture, light, html("div", { style: `display:flex;gap:10px;align-items:center;padding-left:${EDGE}px` }, guess, verdict)), about), what);

    const choose = (index) => renew({ picture: (index + pictures.length) % pictures.length });
    thumbs.addEventListener("click", (event) => { const hit = event.target.closest("[data-picture]"); if (hit) choose(+hit.dataset.picture); });
    arrows(thumbs, (dx, dy) => choose(state.picture + dx + dy));
    const point = (to) => { if (JSON.stringify(to) !== JSON.stringify(state.pointed)) change({ pointed: to }); };
    const chosen = ({ layer: line, head: column }) => { const [layer, head] = means(current(), +line, +column); return { layer, head }; };
    hovering(words, "row", (hit) => point(hit ? { row: +hit.row } : {}));
    words.addEventListener("click", (event) => { const hit = event.target.closest("[data-row]"); if (hit) toRow(+hit.dataset.row); });
    arrows(words, (dx, dy) => { const now = current(); toRow(clamp(chosenRow(now) + dx + dy, 0, now.rows.length - 1)); });
    hovering(heads, "layer", (hit) => point(hit ? chosen(hit) : {}));
    heads.addEventListener("click", (event) => { const hit = event.target.closest("[data-layer]"); if (hit) change({ ...chosen(hit.dataset), guess: null, pointed: {} }); });
    arrows(heads, (dx, dy) => {
      const now = current(), moved = (which, count, step) => clamp((real(which, count) ?? count) + step, 0, count);
      change({ pointed: {}, guess: null, ...chosen({ layer: moved(state.layer, now.layers, dy), head: moved(state.head, now.heads, dx) }) });
    });
    hovering(picture, "patch", (hit) => point(hit ? { patch: +hit.patch } : {}));
    const letGo = () => change({ patch: null, guess: null, pointed: {} });
    const guessAt = (patch) => change({ guessing: false, guess: patch, patch, pointed: {} });
    picture.addEventListener("click", (event) => {
      const hit = event.target.closest("[data-patch]"), patch = hit && +hit.dataset.patch;
      if (hit && state.guessing) guessAt(patch);
      else if (hit) change({ patch: patch === state.patch ? null : patch, pointed: {} });
    });
    stage.addEventListener("keydown", (event) => { if (event.key === "Escape" && (state.patch !== null || "patch" in state.pointed)) letGo(); });
    arrows(picture, (dx, dy) => {
      const side = Math.round(Math.sqrt(current().patches)), at = state.patch;
      change({ pointed: {}, patch: at === null ? 0 : clamp((at % side) + dx, 0, side - 1) + side * clamp(Math.floor(at / side) + dy, 0, side - 1) });
    }, () => (state.guessing && state.patch !== null ? guessAt(state.patch) : letGo()));
    redraw(draw);
  },
};
