// The scene maker: drag things over a picture, resize them, recolour it, and ask a model. Without a kernel two things have five places, and what is said
// first at all of them is one picture.

const SMALL = 0.15, LARGE = 0.8;

export default {
  render({ model, el }) {
    const data = model.get("data"), { words, positions, size, sprites, splits, nouns, start } = data, ask = kernel(model);
    const backgrounds = Object.fromEntries(data.backgrounds), models = Object.fromEntries(data.models);
    const { controls, stage, say, width, redraw } = frame(el, "scene", "Scene maker");
    const names = Object.keys(models), colours = Object.keys(backgrounds), drawn = { ...sprites };
    const begin = () => words.map((word, index) => ({ word, x: start[index][0], y: start[index][1], size }));
    const state = { things: begin(), chosen: 0, background: data.background, model: names[0], texts: Object.fromEntries(names.map((name) => [name, models[name].text])), answers: [], before: {}, now: {}, slots: {}, split: "", waiting: false, message: "" };
    const text = () => state.texts[state.model], thing = () => state.things[state.chosen];
    const tables = Object.fromEntries(names.map((name) => [name, Uint8Array.from(atob(models[name].table), (one) => one.charCodeAt(0))]));
    const placeOf = ({ x, y }) => positions.findIndex((place) => Math.abs(place[0] - x) + Math.abs(place[1] - y) < 1e-6);

    // A model's saved answers with the two things at places a and b.
    function answersAt(name, a, b, background = state.background) {
      const { words: all, count } = models[name], table = tables[name], two = (at) => table[2 * at] + 256 * table[2 * at + 1];
      const scene = (a * (positions.length - 1) + (b < a ? b : b - 1)) * colours.length + colours.indexOf(background);
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
    // A word has its colour everywhere; grey is what is not in the picture.
    const COLOURS = ["var(--orange)", "var(--crimson)", "var(--pink)", "var(--green)"], names_ = (answer, word) => answer.split(" ").includes(word);
    const colourOf = (answer) => COLOURS[[...new Set([...words, ...state.things.map((one) => one.word)])].findIndex((word) => names_(answer, word)) % COLOURS.length] ?? "var(--soft)";
    const where = ({ x, y }) => [["top", "", "bottom"][Math.min(2, Math.floor(3 * y))], ["left", "", "right"][Math.min(2, Math.floor(3 * x))]].filter(Boolean).join(" ") || "in the middle";
    // What each model says first at all placements: counts on every background, and of that of now a square for each placement, the
    // first thing's place downwards, the second's to the right.
    const places = positions.map(([x, y]) => where({ x, y })), signs = positions.map(([x, y]) => ({ "-1 -1": "↖", "1 -1": "↗", "-1 1": "↙", "1 1": "↘" })[`${Math.sign(x - 0.5)} ${Math.sign(y - 0.5)}`] ?? "•");
    const pairs = positions.flatMap((_, a) => positions.flatMap((_, b) => (a === b ? [] : [[a, b]]))), COUNT = 30, NAME = 62;
    const firstAt = (name, a, b, background) => answersAt(name, a, b, background)[0];
    const counts = Object.fromEntries(names.map((name) => [name, Object.fromEntries(colours.map((background) => { const first = pairs.map(([a, b]) => firstAt(name, a, b, background)[0]); return [background, words.map((word) => first.filter((one) => names_(one, word)).length)]; }))]));
    const go = (changes, name) => { if (name) state.model = name; if (typed) typed.input.value = text(); changed(changes); };
    // The counts: each a bar, split by colours.
    function drawCounts(wide) {
      const per = (wide - NAME) / colours.length, bar = per - 8, at = (row) => 16 + row * COUNT;
      const drawn = svg("svg", { width: wide, height: at(names.length), role: "img", style: "cursor:pointer" },
        svg("rect", { x: NAME + colours.indexOf(state.background) * per, y: 0, width: per, height: at(names.length), rx: 4, fill: "var(--pale)" }),
        colours.map((background, column) => svg("rect", { x: NAME + column * per + 4, y: 3, width: bar, height: 9, rx: 2, fill: `rgb(${backgrounds[background].join()})`, stroke: "var(--line)" })),
        names.map((name, row) => [svg("text", { class: "small", x: 0, y: at(row) + 16 }, name), colours.map((background, column) => {
          const [first, second] = counts[name][background], x = NAME + column * per + 4, unit = bar / pairs.length;
          return svg("g", { "data-count": name, "data-on": background }, svg("rect", { x: x - 4, y: at(row), width: per, height: COUNT, fill: "transparent" }),
            [[0, first, colourOf(words[0])], [first, pairs.length - first - second, "var(--soft)"], [pairs.length - second, second, colourOf(words[1])]].map(([from, many, fill]) => many > 0 && svg("rect", { x: x + unit * from, y: at(row) + 3, width: unit * many, height: 8, fill })),
            svg("text", { class: "small", "data-tally": name, "data-on": background, x: x + bar / 2, y: at(row) + 24, "text-anchor": "middle", style: second > first ? "font-weight:700" : "" }, `${first}:${second}`));
        })]));
      drawn.setAttribute("aria-label", `Said first at the ${pairs.length} placements, ${words.join(" to ")}. ${names.map((name) => `${name}: ${colours.map((background) => `${background} ${counts[name][background].join(" to ")}`).join(", ")}`).join(". ")}.`);
      const hit = (event) => event.target.closest("[data-count]")?.dataset;
      drawn.addEventListener("pointermove", (event) => { const one = hit(event); if (one) { const [first, second] = counts[one.count][one.on]; tell(`${one.count} on ${one.on}: ${words[0]} ${first}, ${words[1]} ${second}, neither ${pairs.length - first - second} of ${pairs.length}`); } });
      drawn.addEventListener("pointerleave", () => tell());
      drawn.addEventListener("click", (event) => { const one = hit(event); if (one) go({ background: one.on }, one.count); });
      return drawn;
    }
    // The squares: larger where a finger must hit them.
    function drawSquares(wide) {
      const rough = matchMedia("(pointer: coarse)").matches || wide < 380, columns = Math.min(names.length, rough ? 3 : names.length), per = wide / columns, square = clamp(Math.floor((per - 18) / positions.length), 8, rough ? 21 : 14), grid = square * positions.length, high = grid + 40;
      const corner = (number) => [(number % columns) * per + 14, Math.floor(number / columns) * high + 32], [na, nb] = state.things.map(placeOf);
      const drawn = svg("svg", { width: wide, height: high * Math.ceil(names.length / columns), role: "img", style: "cursor:pointer" }, names.map((name, number) => {
        const [x, y] = corner(number);
        return svg("g", { "data-map": name }, svg("text", { class: "small", x, y: y - 20, style: name === state.model ? "font-weight:700" : "" }, name), signs.map((sign, at) => [[x + (at + 0.5) * square, y - 4], [x - 8, y + (at + 0.5) * square + 4]].map(([left, top]) => svg("text", { class: "small soft", x: left, y: top, "text-anchor": "middle" }, sign))),
          pairs.map(([a, b]) => svg("rect", { "data-first": firstAt(name, a, b)[0], x: x + b * square, y: y + a * square, width: square - 1, height: square - 1, rx: 1, fill: colourOf(firstAt(name, a, b)[0]) })),
          svg("rect", { "data-now": name, x: x + nb * square - 1, y: y + na * square - 1, width: square + 1, height: square + 1, fill: "none", stroke: "var(--ink)", "stroke-width": 2 }));
      }));
      drawn.setAttribute("aria-label", `On ${state.background}: ${names.map((name) => `${name} says ${words[0]} first${pairs.map(([a, b]) => [a, b, firstAt(name, a, b)[0]]).filter(([, , first]) => !names_(first, words[0])).map(([a, b, first], at) => `${at ? "; " : ", but "}${first} with ${words[0]} ${places[a]} and ${words[1]} ${places[b]}`).join("") || " everywhere"}`).join(". ")}.`);
      const hit = (event) => {
        const box = drawn.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top, number = Math.min(Math.floor(py / high) * columns + clamp(Math.floor(px / per), 0, columns - 1), names.length - 1), [x, y] = corner(number), [a, b] = [py - y, px - x].map((one) => Math.floor(one / square));
        return { name: names[number], a, b, on: a !== b && [a, b].every((one) => one >= 0 && one < positions.length) };
      };
      drawn.addEventListener("pointermove", (event) => { const { name, a, b, on } = hit(event); tell(on ? `${words[0]} ${places[a]}, ${words[1]} ${places[b]}: ${name} says ${firstAt(name, a, b)[0]} ${percent(firstAt(name, a, b)[1])}` : undefined); });
      drawn.addEventListener("pointerleave", () => tell());
      drawn.addEventListener("click", (event) => {
        const { name, a, b, on } = hit(event);
        go(on ? { things: begin().map((one, index) => { const [px, py] = positions[[a, b][index]]; return { ...one, x: px, y: py }; }) } : {}, name);
      });
      return drawn;
    }
    // Below both, in words, what is pointed at, else what is framed.
    function tell(words_) {
      const [[word, value]] = state.answers.length ? state.answers : [["", null]], [a, b] = state.things.map(placeOf);
      told_.textContent = words_ ?? (a >= 0 && b >= 0 && value !== null ? `Framed: ${words[0]} ${places[a]}, ${words[1]} ${places[b]}: ${state.model} says ${word} ${percent(value)}` : "");
    }
    function drawMap(wide) {
      counted.replaceChildren(html("p", { class: "small", style: "margin:0 0 4px" }, `Said first, ${words.join(" : ")}, of ${pairs.length} placements (click one):`), drawCounts(wide),
        html("p", { class: "small", style: "margin:10px 0 2px" }, `On ${state.background}: ↓ the ${words[0]}'s place, → the ${words[1]}'s (click a square):`), drawSquares(wide), told_);
      tell();
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
    // What is held is drawn where the hand is; the answers are those of the place that is nearest.
    function follow() {
      const image = held?.at && canvas.querySelector(`[data-thing="${state.chosen}"]`);
      if (!image) return;
      const [x, y] = held.at.map((one) => (clamp(one, 0, 1) - thing().size / 2) * side());
      for (const one of [image, canvas.querySelector("[data-frame]")]) { one.setAttribute("x", x); one.setAttribute("y", y); }
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
    // The picture, and beside it, or below it on a phone, what models say.
    const side = () => Math.min(width() - 8, 280), beside = () => width() >= 600, column = () => Math.min(480, beside() ? width() - side() - 24 : width());
    function draw() {
      const wide = side(), here = thing();
      canvas.replaceChildren(svg("svg", { width: wide, height: wide, "aria-hidden": "true", style: "overflow:hidden;border-radius:6px;box-shadow:0 0 0 1px var(--line);cursor:grab" },
        svg("rect", { width: wide, height: wide, fill: `rgb(${backgrounds[state.background].join()})` }),
        !ask && positions.map(([x, y]) => svg("circle", { cx: x * wide, cy: y * wide, r: 5, fill: "#00000090", stroke: "#ffffffb0" })),
        state.things.map((one, index) => svg("image", { "data-thing": index, style: "touch-action:none", href: drawn[one.word], x: (one.x - one.size / 2) * wide, y: (one.y - one.size / 2) * wide, width: one.size * wide, height: one.size * wide })),
        here && svg("rect", { "data-frame": true, x: (here.x - here.size / 2) * wide, y: (here.y - here.size / 2) * wide, width: here.size * wide, height: here.size * wide, fill: "none", stroke: "#1c1c1c", "stroke-dasharray": "5 4", "stroke-width": 1.5, "pointer-events": "none" }),
        here && ask && svg("circle", { "data-handle": true, cx: clamp((here.x + here.size / 2) * wide, 8, wide - 8), cy: clamp((here.y + here.size / 2) * wide, 8, wide - 8), r: 8, fill: "#D98A00", stroke: "#1c1c1c", style: "cursor:nwse-resize;touch-action:none" })));
      follow();
      swatches.replaceChildren(html("span", { style: width() < 480 ? "flex-basis:100%" : "" }, "background:"), ...colours.map((name) => html("button", { type: "button", title: name, "aria-label": `background ${name}`, "data-background": name, "aria-pressed": String(name === state.background),
        onclick: () => { changed({ background: name }); swatches.querySelector(`[data-background=${name}]`)?.focus(); },
        style: `width:30px;padding:0;background:rgb(${backgrounds[name].join()});${name === state.background ? "outline:3px solid var(--ink);outline-offset:1px" : ""}` })));
      const list = state.things.map((one) => `${one.word} ${where(one)}`).join(", ") || "nothing", scene = `${list}, on ${state.background}`;
      const answers = state.answers, told = answers.map(([word, value]) => `${word} ${percent(value)}`).join(", ");
      result.style.opacity = state.waiting ? 0.4 : 1;
      const shown = state.things.map((one) => one.word), right = (answer) => shown.some((word) => names_(answer, word)), choosing = text().includes(",");
      // Each keeps its row: texts to choose among, what is in the picture, and a word as long as it is among the likeliest. What isn't among the saved answers is below the last of them.
      const least = answers.length ? answers.at(-1)[1] : 0, below = `<\u00a0${percent(Math.max(least, 0.01))}`, of = (word) => answers.find(([answer]) => names_(answer, word));
      const order = text().split(",").map((one) => one.trim()), others = answers.filter(([answer]) => !right(answer)), kept = (state.slots[state.model] ?? []).slice(0, others.length), fresh = others.filter(([word]) => !kept.includes(word));
      const placed = others.map((_, at) => others.find(([word]) => word === kept[at]) ?? fresh.shift());
      if (!choosing) state.slots[state.model] = placed.map(([word]) => word);
      const rows = choosing ? [...answers].sort(([a], [b]) => order.indexOf(a) - order.indexOf(b)) : [...(answers.length ? [...new Set(shown)].map((word) => of(word) ?? [word, null]) : []), ...placed];
      const earlier = Object.fromEntries(state.before[state.model] ?? []);
      const seen = [...new Set(shown)].slice(0, 2);
      for (const one of chooser) {
        const found = one.dataset.model === state.model ? state.answers : saved(one.dataset.model)?.answers, [word, value] = found?.[0] ?? ["…", null], past = value === null ? word : state.before[one.dataset.model]?.[0]?.[0] ?? word;
        const chosen = one.dataset.model === state.model;
        one.setAttribute("aria-pressed", String(chosen));
        one.style.cssText = row() + (chosen ? "background:var(--pale);color:var(--ink);border-color:var(--blue);box-shadow:inset 0 0 0 2px var(--blue)" : ""); // not filled: coloured bars lie on it
        const named = value !== null && right(word), last = found?.at(-1)?.[1] ?? 0, other = found?.find(([answer]) => !right(answer)), wide = bar();
        const shares = [...seen.map((thing) => [thing, found?.find(([answer]) => names_(answer, thing))?.[1] ?? null]), ...(other ? [other] : [])];
        one.replaceChildren(html("span", {}, one.dataset.model), html("span", { style: "white-space:nowrap;overflow:hidden;text-overflow:ellipsis" }, past === word ? "" : `${past} → `, html("strong", {}, word), value !== null && !named && html("span", { role: "img", "aria-label": "not in the picture" }, " ✗")), html("span", {}, value === null ? "" : percent(value)),
          svg("svg", { width: wide, height: 9 * (seen.length + 1), role: "img", "aria-label": value === null ? "not known" : shares.map(([thing, share]) => `${thing} ${share === null ? `< ${percent(Math.max(last, 0.01))}` : percent(share)}`).join(", ") }, value !== null && shares.map(([thing, share], at) => [svg("rect", { x: 0, y: 9 * at + 1, width: wide, height: 7, fill: "var(--paper)", stroke: "var(--line)", "stroke-width": 0.5 }),
            share === null ? svg("rect", { "data-below": thing, x: 0.5, y: 9 * at + 1.5, width: wide * Math.max(last, 0.02), height: 6, fill: "none", stroke: colourOf(thing), "stroke-dasharray": "2 1.5" }) : svg("rect", { "data-share": thing, x: 0, y: 9 * at + 1, width: wide * share, height: 7, fill: colourOf(thing) })])));
      }
      if (apart) apart.textContent = `Of ${state.texts[names[listed]].split(",").length} texts, whose probabilities sum to 1:`;
      heads.style.cssText = row();
      heads.replaceChildren(html("span", {}, "model"), html("span", {}, "says first"), html("span", { style: "grid-column:span 2" }, "probability, 0 to 1"));
      key.replaceChildren(...seen.map((thing) => html("span", { style: "display:inline-flex;align-items:center;gap:4px" }, html("img", { src: drawn[thing], width: 22, height: 22, alt: "" }), html("span", { style: `color:${colourOf(thing)}` }, "■"), thing)), html("span", {}, html("span", { style: "color:var(--soft)" }, "■"), " ✗ not in the picture"), html("span", { style: "display:inline-flex;align-items:center;gap:4px" }, svg("svg", { width: 12, height: 9, "aria-hidden": "true", style: "flex:none" }, svg("rect", { x: 0.5, y: 0.5, width: 11, height: 8, fill: "none", stroke: "var(--ink)", "stroke-dasharray": "2 1.5" })), "at most"));
      result.replaceChildren(html("p", { style: "margin-top:0" }, `${state.model} ${choosing ? "chooses among" : "goes on"}: `, html("strong", {}, text()), choosing ? "" : " …"),
        bars(beside() ? wide : Math.min(column(), 372), rows.map(([name, value]) => ({ name, value: value ?? 0, upto: value === null ? least : null, mark: earlier[name], said: value === null ? below : percent(value), colour: colourOf(name), data: { "data-answer": name } })), { label: `Answers of ${state.model}: ${told}`, room: answers.length ? 0 : 90 }),
        html("p", { class: "small soft" }, [rows.some(([, value]) => value === null) && `Outlined: not among its ${answers.length} likeliest.`, Object.keys(earlier).length && "Tick: before the last change."].filter(Boolean).join(" ")),
        ...(ask ? [html("p", { class: "small" }, `This scene: ${state.split}.`)] : []));
      const mapped = saved() !== null, room = Math.min(column(), 480);
      counted.style.display = mapped ? "" : "none";
      if (mapped) drawMap(room);
      columns.style.gridTemplate = beside() ? `"picture models" auto "answers map" 1fr / ${wide}px minmax(0, 1fr)` : `"picture" "models" "answers" "map" / minmax(0, 1fr)`;
      compared.style.width = `${column()}px`;
      message.textContent = state.message;
      for (const one of [bigger, taken]) if (one) one.style.display = here ? "" : "none";
      if (here) bigger?.set(here.size);
      canvas.style.justifySelf = beside() ? "start" : "center";
      canvas.setAttribute("aria-label", `Picture: ${scene}. Chosen: ${here?.word ?? "nothing"}. Arrow keys move it${ask ? "" : " from place to place, Home to the middle"}, Enter chooses the next thing${ask ? ", plus and minus resize it, Delete removes it" : ""}.`);
      say(`${scene}. ${state.model}, ${text()}: ${told || state.message}.`);
    }

    const canvas = html("div", { tabindex: 0, role: "application", style: "grid-area:picture" }), result = html("div", { style: "grid-area:answers;min-width:0" }), counted = html("div", { style: "grid-area:map;min-width:0" }), message = html("p", { class: "message", role: "alert" }), told_ = html("p", { class: "small", "data-told": true, "aria-hidden": "true", style: "margin:4px 0 0;min-height:1.5em" });
    const swatches = html("span", { class: "control", role: "group", "aria-label": "background" });
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
    const bar = () => (beside() ? 110 : 76), row = () => `display:grid;grid-template-columns:4.3rem minmax(0, 1fr) 2rem ${bar()}px;align-items:center;gap:8px;text-align:left;width:100%;padding:2px 9px;`;
    const chooser = names.map((name) => html("button", { type: "button", "data-model": name, onclick: () => { if (typed) typed.input.value = state.texts[name]; changed({ model: name }); } }));
    const heads = html("div", { class: "small soft", "aria-hidden": "true" }), key = html("div", { class: "small", style: "display:flex;flex-wrap:wrap;gap:4px 10px;align-items:center" }), listed = names.findIndex((name) => models[name].text.includes(","));
    const apart = listed >= 0 && html("div", { class: "small soft", style: "border-top:1px solid var(--line);padding:4px 9px 0" });
    const compared = html("div", { role: "group", "aria-label": "model, and what it says first", style: "grid-area:models;display:grid;gap:4px;align-content:start;max-width:100%" }, key, heads, chooser.flatMap((one, at) => (at === listed ? [apart, one] : [one])));
    const columns = html("div", { style: "display:grid;gap:14px 24px;align-items:start" }, canvas, compared, counted, result);
    if (typed) controls.append(typed);
    stage.append(html("p", { class: "small soft" }, ask ? "Drag a thing, or its orange corner to resize it. Arrow keys move what is chosen."
      : `Drag the ${words.join(" or the ")} to a dot, or onto the other: they exchange. A click on a dot moves the framed one there. Keys: arrows and Home move it, Enter frames the other. Click a model for its likeliest words.`),
    html("div", { class: "controls" }, ...(ask ? [noun, button("Add", add), taken, bigger] : []), swatches, button("Change places", exchange), button("Start again", () => { changed({ things: begin(), chosen: 0, background: data.background }); state.before = {}; draw(); })),
    message, columns, ...(ask ? [html("datalist", { id: "scene-nouns" }, nouns.map((name) => html("option", { value: name })))] : []));

    canvas.addEventListener("pointerdown", (event) => {
      const hit = event.target.closest("[data-thing]"), box = canvas.getBoundingClientRect(), x = (event.clientX - box.left) / side(), y = (event.clientY - box.top) / side();
      if (hit) state.chosen = +hit.dataset.thing;
      const corner = event.target.closest("[data-handle]");
      if (hit || corner) held = { corner, shift: hit && [thing().x - x, thing().y - y], from: state.things.map(({ x, y }) => ({ x, y })), before: state.now };
      pressed = hit || corner || ask ? null : [x, y];
    });
    let pressed = null; // where nothing stands: a finger may scroll from there
    canvas.addEventListener("pointerup", (event) => {
      if (!pressed) return;
      const box = canvas.getBoundingClientRect(), [x, y] = pressed, [px, py] = near(x, y);
      pressed = null;
      if (Math.hypot((event.clientX - box.left) / side() - x, (event.clientY - box.top) / side() - y) * side() < 10 && Math.hypot(px - x, py - y) * side() < 24) move(px, py);
    });
    let first = true;
    dragging(canvas, (x, y) => {
      if (first) { first = false; if (held) setTimeout(draw); return; } // not before the touch has begun on what is there
      if (held?.corner) resize(2 * Math.max(Math.abs(x / side() - thing().x), Math.abs(y / side() - thing().y)));
      else if (held) {
        const at = [x / side() + held.shift[0], y / side() + held.shift[1]];
        if (!ask) held.at = at;
        move(...at);
        follow();
      }
    }, () => { const settles = held?.at; held = null; first = true; if (settles) draw(); });
    canvas.style.touchAction = "pan-y"; // but on a thing
    // A finger on a thing drags it, and scrolls from elsewhere.
    canvas.addEventListener("touchstart", (event) => { if (event.target.closest("[data-thing], [data-handle]")) event.preventDefault(); }, { passive: false });
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
