// The scene maker: drag things over a picture, resize them, recolour it, and ask a model. Without a kernel two things have five places.

const SMALL = 0.15, LARGE = 0.8;

export default {
  render({ model, el }) {
    const data = model.get("data"), { words, positions, size, sprites, splits, nouns, start } = data, ask = kernel(model);
    const backgrounds = Object.fromEntries(data.backgrounds), models = Object.fromEntries(data.models);
    const { controls, stage, say, width, redraw } = frame(el, "scene", "Scene maker");
    const names = Object.keys(models), colours = Object.keys(backgrounds), drawn = { ...sprites };
    const begin = () => words.map((word, index) => ({ word, x: start[index][0], y: start[index][1], size }));
    const state = { things: begin(), chosen: 0, background: data.background, model: names[0], texts: Object.fromEntries(names.map((name) => [name, models[name].text])), answers: [], before: {}, now: {}, split: "", waiting: false, message: "" };
    const text = () => state.texts[state.model], thing = () => state.things[state.chosen];
    const tables = Object.fromEntries(names.map((name) => [name, Uint8Array.from(atob(models[name].table), (one) => one.charCodeAt(0))]));
    const placeOf = ({ x, y }) => positions.findIndex((place) => Math.abs(place[0] - x) + Math.abs(place[1] - y) < 1e-6);

    // A model's saved answers with the two things at places a and b.
    function answersAt(name, a, b) {
      const { words: all, count } = models[name], table = tables[name], two = (at) => table[2 * at] + 256 * table[2 * at + 1];
      const scene = (a * (positions.length - 1) + (b < a ? b : b - 1)) * colours.length + colours.indexOf(state.background);
      return Array.from({ length: count }, (_, index) => { const at = 2 * (scene * count + index); return [all[two(at)], two(at + 1) / 65535]; });
    }
    // A model's answers that are saved for the scene of now, or null.
    function saved(name = state.model) {
      const [first, second] = state.things, { text: asked } = models[name];
      if (state.things.length !== 2 || state.texts[name] !== asked || first.word !== words[0] || second.word !== words[1] || first.size !== size || second.size !== size) return null;
      const [a, b] = [first, second].map(placeOf);
      if (a < 0 || b < 0) return null;
      return { split: splits[colours.indexOf(state.background)], answers: answersAt(name, a, b) };
    }
    // How often each model says each thing first on this background, and something else, with the two at each pair of places.
    const COLOURS = ["var(--green)", "var(--orange)", "var(--pink)"], colourOf = (answer) => COLOURS[[...new Set(state.things.map((one) => one.word))].findIndex((word) => answer.split(" ").includes(word)) % COLOURS.length] ?? "var(--blue)";
    const pairs = positions.flatMap((_, a) => positions.flatMap((_, b) => (a === b ? [] : [[a, b]])));
    function tally() {
      const counts = names.map((name) => { const firsts = pairs.map(([a, b]) => answersAt(name, a, b)[0][0].split(" ")), of = words.map((word) => firsts.filter((said) => said.includes(word)).length); return [...of, firsts.length - of.reduce((sum, one) => sum + one, 0)]; });
      const heads = [...words, "else"], fills = [COLOURS[0], COLOURS[1], "var(--line)"], wide = 90;
      return html("table", { class: "small", style: "border-collapse:collapse;margin:10px 0 0;text-align:right;border:0" }, html("caption", { style: "text-align:left;caption-side:top;padding:0 0 4px;color:var(--ink);font-size:12px" }, `What each says first at all ${pairs.length} placements on ${state.background}`),
        html("tr", {}, html("td", {}), heads.map((head) => html("th", { scope: "col", style: "padding:0 0 0 10px;font-weight:normal" }, head)), html("td", {})),
        names.map((name, row) => html("tr", { "data-tally": name }, html("th", { scope: "row", style: "text-align:left;font-weight:normal;padding:0" }, name), counts[row].map((count) => html("td", { style: "padding:0 0 0 10px" }, count)),
          html("td", { style: "padding:0 0 0 10px" }, svg("svg", { width: wide, height: 10, "aria-hidden": "true" }, counts[row].map((count, at) => svg("rect", { x: (wide * counts[row].slice(0, at).reduce((sum, one) => sum + one, 0)) / pairs.length, y: 0, width: (wide * count) / pairs.length, height: 10, fill: fills[at] })))))));
    }
    // What each model answers now, as far as it is known.
    const all = () => Object.fromEntries(names.map((name) => [name, name === state.model ? state.answers : saved(name)?.answers ?? []]));
    // What is held: a thing or its corner, where it was taken, and how things stood and what was said before.
    let held = null;
    // The kernel answers one question at a time; of those that wait only the last one is asked.
    let busy = false, again = false;
    async function changed(changes = {}) {
      Object.assign(state, { message: "", before: held?.before ?? ("model" in changes ? state.before : state.now) }, changes);
      const known = saved();
      Object.assign(state, known ?? {}, { waiting: !known });
      if (known) state.now = all();
      draw();
      if (known || !ask) return;
      if (busy) { again = true; return; }
      busy = true;
      do {
        again = false;
        try {
          const { things, background } = state, found = await ask({ things: things.map(({ word, x, y, size: wide }) => ({ word, x, y, size: wide })), background, model: state.model, text: text() });
          if (!again) Object.assign(state, found, { waiting: false });
        } catch (error) { if (!again) Object.assign(state, { message: error.message, answers: [], waiting: false }); }
      } while (again);
      busy = false;
      state.now = all();
      draw();
    }

    // Anywhere with a kernel; else to the nearest place, and what is there goes to where the thing came from.
    function move(x, y) {
      const one = thing();
      if (!one) return;
      if (ask) Object.assign(one, { x: clamp(x, 0, 1), y: clamp(y, 0, 1) });
      else {
        const [px, py] = near(x, y), from = held?.from ?? state.things.map(({ x, y }) => ({ x, y }));
        if (one.x === px && one.y === py) return;
        state.things.forEach((other, index) => Object.assign(other, from[index].x === px && from[index].y === py ? from[state.chosen] : from[index]));
        Object.assign(one, { x: px, y: py });
      }
      changed();
    }
    const near = (x, y) => positions.reduce((best, place) => (Math.hypot(place[0] - x, place[1] - y) < Math.hypot(best[0] - x, best[1] - y) ? place : best));
    function step(dx, dy) {
      const one = thing();
      if (!one) return;
      if (ask) return move(one.x + 0.04 * dx, one.y + 0.04 * dy);
      // The nearest place in that direction; one straight on comes before one to the side, and an empty one before the other.
      const cost = ([x, y]) => (x - one.x) * dx + (y - one.y) * dy + 2 * Math.abs((x - one.x) * dy + (y - one.y) * dx) + (state.things.some((other) => other.x === x && other.y === y) ? 0.01 : 0);
      const [best] = positions.filter(([x, y]) => (x - one.x) * dx + (y - one.y) * dy > 1e-6).sort((a, b) => cost(a) - cost(b));
      if (best) move(...best);
    }
    function exchange() {
      const from = state.things.map(({ x, y }) => ({ x, y }));
      state.things.forEach((one, index) => Object.assign(one, from[(index + 1) % from.length]));
      changed();
    }
    function resize(wide) {
      if (!ask || !thing()) return;
      thing().size = clamp(Math.round(50 * wide) / 50, SMALL, LARGE);
      changed();
    }
    function remove() {
      if (!ask) return;
      state.things.splice(state.chosen, 1);
      changed({ chosen: Math.max(0, state.chosen - 1) });
    }
    const where = ({ x, y }) => [["top", "", "bottom"][Math.min(2, Math.floor(3 * y))], ["left", "", "right"][Math.min(2, Math.floor(3 * x))]].filter(Boolean).join(" ") || "in the middle";

    // The picture, and beside it, or below it on a phone, what models say.
    const side = () => Math.min(width() - 8, 280), beside = () => width() >= 600, column = () => Math.min(372, beside() ? width() - side() - 28 : width());
    function draw() {
      const wide = side(), here = thing();
      canvas.replaceChildren(svg("svg", { width: wide, height: wide, "aria-hidden": "true", style: "overflow:hidden;border-radius:6px;box-shadow:0 0 0 1px var(--line);cursor:grab" },
        svg("rect", { width: wide, height: wide, fill: `rgb(${backgrounds[state.background].join()})` }),
        !ask && positions.map(([x, y]) => svg("circle", { cx: x * wide, cy: y * wide, r: 5, fill: "#00000090", stroke: "#ffffffb0" })),
        state.things.map((one, index) => svg("image", { "data-thing": index, href: drawn[one.word], x: (one.x - one.size / 2) * wide, y: (one.y - one.size / 2) * wide, width: one.size * wide, height: one.size * wide })),
        here && svg("rect", { x: (here.x - here.size / 2) * wide, y: (here.y - here.size / 2) * wide, width: here.size * wide, height: here.size * wide, fill: "none", stroke: "#1c1c1c", "stroke-dasharray": "5 4", "stroke-width": 1.5, "pointer-events": "none" }),
        here && ask && svg("circle", { "data-handle": true, cx: clamp((here.x + here.size / 2) * wide, 8, wide - 8), cy: clamp((here.y + here.size / 2) * wide, 8, wide - 8), r: 8, fill: "#D98A00", stroke: "#1c1c1c", style: "cursor:nwse-resize" })));
      things.replaceChildren(html("span", {}, "move:"), ...state.things.map((one, index) => html("button", { type: "button", "aria-pressed": String(index === state.chosen), "data-key": `thing-${index}`, onclick: () => { state.chosen = index; draw(); things.querySelectorAll("button")[index]?.focus(); } }, one.word)));
      swatches.replaceChildren(html("span", { style: width() < 480 ? "flex-basis:100%" : "" }, "background:"), ...colours.map((name) => html("button", { type: "button", title: name, "aria-label": `background ${name}`, "data-background": name, "aria-pressed": String(name === state.background),
        onclick: () => { changed({ background: name }); swatches.querySelector(`[data-background=${name}]`)?.focus(); },
        style: `width:30px;padding:0;background:rgb(${backgrounds[name].join()});${name === state.background ? "outline:3px solid var(--ink);outline-offset:1px" : ""}` })));
      const list = state.things.map((one) => `${one.word} ${where(one)}`).join(", ") || "nothing", scene = `${list}, on ${state.background}`;
      const answers = state.answers, told = answers.map(([word, value]) => `${word} ${percent(value)}`).join(", ");
      result.style.opacity = state.waiting ? 0.4 : 1;
      const shown = state.things.map((one) => one.word), right = (answer) => shown.some((word) => answer.split(" ").includes(word)), choosing = text().includes(",");
      // What is in the picture keeps its row; where it isn't among the saved answers it is below the last of them.
      const least = answers.length ? answers.at(-1)[1] : 0, of = (word) => answers.find(([answer]) => answer.split(" ").includes(word));
      const rows = [...(choosing || !answers.length ? [] : [...new Set(shown)].map((word) => of(word) ?? [word, null])), ...answers.filter(([answer]) => choosing || !right(answer))];
      const earlier = Object.fromEntries(state.before[state.model] ?? []);
      const seen = [...new Set(shown)].slice(0, 2);
      for (const one of chooser) {
        const found = one.dataset.model === state.model ? state.answers : saved(one.dataset.model)?.answers, [word, value] = found?.[0] ?? ["…", null], past = value === null ? word : state.before[one.dataset.model]?.[0]?.[0] ?? word;
        const chosen = one.dataset.model === state.model;
        one.setAttribute("aria-pressed", String(chosen));
        one.style.cssText = row + (chosen ? "background:var(--pale);color:var(--ink);border-color:var(--blue);box-shadow:inset 0 0 0 2px var(--blue)" : ""); // not filled: coloured bars lie on it
        const named = value !== null && right(word), share = (thing) => found?.find(([answer]) => answer.split(" ").includes(thing))?.[1] ?? 0, title = seen.map((thing) => `${thing} ${percent(share(thing))}`).join(", ");
        one.replaceChildren(html("span", {}, one.dataset.model), html("span", {}, past === word ? "" : `${past} → `, html("strong", {}, word), value !== null && !named && html("span", { role: "img", "aria-label": "not in the picture" }, " ✗")), html("span", {}, value === null ? "" : percent(value)),
          svg("svg", { width: 84, height: 9 * seen.length, role: "img", "aria-label": title }, value !== null && seen.map((thing, at) => [svg("rect", { x: 0, y: 9 * at + 1, width: 84, height: 7, fill: "var(--paper)", stroke: "var(--line)", "stroke-width": 0.5 }), svg("rect", { "data-share": thing, x: 0, y: 9 * at + 1, width: 84 * share(thing), height: 7, fill: COLOURS[at] })])));
      }
      if (apart) apart.textContent = `Of ${state.texts[names[listed]].split(",").length} texts, whose probabilities sum to 1:`;
      heads.replaceChildren(html("span", {}, "model"), html("span", { style: "grid-column:span 2" }, "says first, probability"), html("span", {}, seen.flatMap((thing, row) => [row ? " " : "", html("span", { style: `color:${COLOURS[row]}` }, "■"), ` ${thing}`])));
      result.replaceChildren(html("p", {}, `${state.model} ${choosing ? "chooses among" : "goes on"}: `, html("strong", {}, text()), choosing ? "" : " …"),
        bars(column(), rows.map(([name, value]) => ({ name, value: value ?? 0, mark: earlier[name], said: value === null ? `< ${percent(Math.max(least, 0.01))}` : percent(value), colour: colourOf(name), data: { "data-answer": name } })), { label: `Answers of ${state.model}: ${told}`, room: answers.length ? 0 : 90 }),
        html("p", { class: "small soft" }, `${choosing ? "Probability of each text. They share 1: two texts that both fit compete." : "Probability of the next word (0 to 1)."} Green, orange: the things of the picture. ✗: not in the picture. →: changed.${rows.some(([, value]) => value === null) ? ` < ${percent(Math.max(least, 0.01))}: not among its ${answers.length} likeliest.` : ""}${Object.keys(earlier).length ? " Tick: before the last change." : ""}`),
        ...(ask ? [html("p", { class: "small" }, `This scene: ${state.split}.`)] : []));
      counted.replaceChildren(...(saved() ? [tally()] : []));
      const home = beside() ? left_ : right_; // on a phone they come last
      right_.style.width = `${column()}px`;
      if (counted.parentElement !== home) home.append(counted);
      message.textContent = state.message;
      for (const one of [bigger, taken]) if (one) one.style.display = here ? "" : "none";
      if (here) bigger?.set(here.size);
      canvas.setAttribute("aria-label", `Picture: ${scene}. Chosen: ${here?.word ?? "nothing"}. Arrow keys move it${ask ? "" : " from place to place, Home to the middle"}, Enter chooses the next thing${ask ? ", plus and minus resize it, Delete removes it" : ""}.`);
      say(`${scene}. ${state.model}, ${text()}: ${told || state.message}.`);
    }

    const canvas = html("div", { tabindex: 0, role: "application" }), result = html("div", { style: "max-width:100%" }), counted = html("div", {}), message = html("p", { class: "message", role: "alert" });
    const things = html("span", { class: "control", role: "group", "aria-label": "things" }), swatches = html("span", { class: "control", role: "group", "aria-label": "background" });
    const bigger = ask && slider("size", { min: SMALL, max: LARGE, step: 0.02, value: size, show: (value) => value.toFixed(2) }, resize);
    const taken = ask && button("Remove", remove);
    const typed = ask && field("ask", text(), (value) => { state.texts[state.model] = value; changed(); }, { size: 26 });
    const noun = ask && field("add a thing", "", () => {}, { size: 10, placeholder: "owl", list: "scene-nouns", onkeydown: (event) => { if (event.key === "Enter") add(); } });
    async function add() {
      const word = noun.input.value.trim().toLowerCase();
      try {
        drawn[word] ??= (await ask({ word })).sprite;
        state.things.push({ word, x: 0.5, y: 0.5, size });
        noun.input.value = "";
        changed({ chosen: state.things.length - 1 });
      } catch (error) { state.message = error.message; draw(); }
    }
    const row = "display:grid;grid-template-columns:4.3rem 1fr 2.2rem 84px;align-items:center;gap:8px;text-align:left;width:100%;padding-left:9px;padding-right:9px;";
    const chooser = names.map((name) => html("button", { type: "button", "data-model": name, style: row, onclick: () => { if (typed) typed.input.value = state.texts[name]; changed({ model: name }); } }));
    const heads = html("div", { class: "small soft", "aria-hidden": "true", style: row }), listed = names.findIndex((name) => models[name].text.includes(","));
    const apart = listed >= 0 && html("div", { class: "small soft", style: "border-top:1px solid var(--line);padding:4px 9px 0" });
    const compared = html("div", { role: "group", "aria-label": "model, and what it says first", style: "display:grid;gap:4px;align-content:start" }, heads, chooser.flatMap((one, at) => (at === listed ? [apart, one] : [one])));
    const left_ = html("div", {}, canvas), right_ = html("div", { style: "display:grid;gap:10px;max-width:100%" }, compared, result);
    if (typed) controls.append(typed);
    stage.append(html("p", { class: "small soft" }, ask ? "Drag a thing, or its orange corner to resize it. Arrow keys move what is chosen."
      : `Drag the ${words.join(" or the ")}: it goes to the nearest dot; where the other one stands, they exchange. The ${words[1]} always lies in front. Choose a model for its bars. By keyboard in the picture: arrows, Home, Enter for the other thing.`),
    html("div", { class: "controls" }, things, ...(ask ? [noun, button("Add", add), taken, bigger] : []), swatches, button("Change places", exchange), button("Start again", () => { changed({ things: begin(), chosen: 0, background: data.background }); state.before = {}; draw(); })),
    message, html("div", { class: "columns", style: "gap:14px 24px" }, left_, right_), ...(ask ? [html("datalist", { id: "scene-nouns" }, nouns.map((name) => html("option", { value: name })))] : []));

    canvas.addEventListener("pointerdown", (event) => {
      const hit = event.target.closest("[data-thing]"), box = canvas.getBoundingClientRect(), x = (event.clientX - box.left) / side(), y = (event.clientY - box.top) / side();
      if (hit) state.chosen = +hit.dataset.thing;
      const corner = event.target.closest("[data-handle]"), [px, py] = near(x, y);
      if (hit || corner) held = { corner, shift: hit && [thing().x - x, thing().y - y], from: state.things.map(({ x, y }) => ({ x, y })), before: state.now };
      else if (!ask && Math.hypot(px - x, py - y) * side() < 24) move(px, py);
    });
    let first = true;
    dragging(canvas, (x, y) => {
      if (first) { first = false; return draw(); }
      if (held?.corner) resize(2 * Math.max(Math.abs(x / side() - thing().x), Math.abs(y / side() - thing().y)));
      else if (held) move(x / side() + held.shift[0], y / side() + held.shift[1]);
    }, () => { held = null; first = true; });
    arrows(canvas, step, () => { state.chosen = (state.chosen + 1) % Math.max(1, state.things.length); draw(); });
    canvas.addEventListener("keydown", (event) => {
      const act = { "+": () => resize(thing().size + 0.04), "-": () => resize(thing().size - 0.04), Delete: remove, Backspace: remove, Home: () => move(0.5, 0.5) }[event.key];
      if (act && thing()) { act(); event.preventDefault(); }
    });
    Object.assign(state, saved());
    state.now = all();
    redraw(draw);
  },
};
