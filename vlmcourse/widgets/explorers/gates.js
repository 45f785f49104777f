// Gates: scrub over Flamingo's training, or drag a gate by hand, and watch the next word and the caption change; see which parameters learn.

// A colour for each kind of gate, a dash for each layer.
const KINDS = [["feed-forward", "var(--red)"], ["attention", "var(--blue)"]];
const DASHES = [null, "7 3", "2 3"];
const signed = (value) => (value <= -0.005 ? `−${(-value).toFixed(2)}` : Math.abs(value).toFixed(2));

export default {
  render({ model, el }) {
    const data = model.get("data"), ask = kernel(model);
    const { pictures, nouns, backgrounds, names, trained, steps, gates, loss, blind, grid, factors, gradients, words, texts, written } = data;
    const { controls, stage, say, width, redraw } = frame(el, "gates", "Gate explorer");
    const unpacked = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0)), bytes = unpacked(data.probabilities), pairs = unpacked(written), firsts = unpacked(data.first), last = steps.length - 1, limit = grid.at(-1);
    const rowOf = { step: 0, factor: steps.length, trained: steps.length + factors.length, closed: steps.length + factors.length + grid.length * names.length, alone: steps.length + factors.length + 2 * grid.length * names.length }, asTrained = factors.findIndex((one) => Math.abs(one - 1) < 1e-6);
    // `saved`: the number of the opening whose answers are saved; `factor`: that of all gates' factor; null where there is none.
    const state = { view: "says", picture: 0, gate: 0, step: last, factor: asTrained, values: [...trained], base: "trained", saved: last, what: "gates as trained", asked: null, text: data.text, tried: {}, ghost: null, previous: null, pointed: null, message: "" };
    const layers = [...new Set(names.map((one) => one.split(",")[0]))];
    const colour = (gate) => KINDS.find(([kind]) => names[gate].includes(kind))[1], dash = (gate) => DASHES[layers.indexOf(names[gate].split(",")[0]) % DASHES.length];

    // What the model says of a picture: { words, probabilities, written }, and of what is saved `first`, the probability of the first word written.
    function said(picture = state.picture) {
      if (state.asked) return state.asked[picture];
      const row = state.saved * pictures.length + picture, found = words[picture];
      return { words: found, probabilities: found.map((_, index) => bytes[row * found.length + index] / 255), first: firsts[row] / 255, written: writtenAt(state.saved, picture) };
    }
    const writtenAt = (opening, picture = state.picture, at = 2 * (opening * pictures.length + picture)) => texts[pairs[at] + 256 * pairs[at + 1]];
    // It may go on after a sentence has ended.
    const sentenceOf = (text) => text.split(/ (?=question\b)/)[0], namesThing = (text, picture) => nouns[picture].includes(text.split(" ")[0]), namesBackground = (text, picture) => text.split(" ").includes(backgrounds[picture]);
    const atStep = () => state.saved !== null && state.saved < rowOf.factor;
    let latest = 0;
    async function changed(changes) {
      const before = pictures.map((_, picture) => said(picture)); // is shown till the kernel has answered
      const previous = held === null && changes.values?.some((value, gate) => value !== state.values[gate]) ? before.map((one) => one.written) : state.previous;
      Object.assign(state, { message: "", ghost: null, previous }, changes);
      const number = (latest += 1), known = state.saved !== null && state.text === data.text;
      state.asked = known ? null : before;
      draw();
      if (known) return;
      try {
        const found = await ask({ gates: state.values, text: state.text });
        if (number === latest) state.asked = found;
      } catch (error) { if (number === latest) state.message = error.message; }
      if (number === latest) draw();
    }
    const differs = (picture) => state.previous !== null && state.previous[picture] !== said(picture).written;
    const toStep = (step) => changed({ step, factor: step === last ? asTrained : null, values: gates.map((line) => line[step]), saved: rowOf.step + step, base: "trained", what: step === last ? "gates as trained" : `gates of step ${steps[step]} in the trained model` });
    const toFactor = (index) => index === asTrained ? toStep(last) : changed({ factor: index, values: trained.map((value) => clamp(value * factors[index], -0.999, 0.999)), saved: rowOf.factor + index, base: factors[index] ? "trained" : "closed",
      what: factors[index] ? `all gates times ${factors[index].toFixed(1)}` : "all gates closed: the language model alone" });
    // One gate by hand: the others stay at their base where only one can differ, with a kernel wherever they are. No other stop is so near to the mark that it is hard to hit.
    const stops = (gate) => [...grid.filter((value) => !value || Math.abs(value - trained[gate]) > 0.035), trained[gate]].sort((a, b) => a - b);
    function toValue(gate, wanted) {
      const value = stops(gate).reduce((best, one) => (Math.abs(one - wanted) < Math.abs(best - wanted) ? one : best)), index = grid.indexOf(value), closed = state.base === "closed", base = closed ? trained.map(() => 0) : trained;
      const free = ask && !state.values.every((one, at) => at === gate || Math.abs(one - base[at]) < 1e-4), values = (free ? state.values : base).map((one, at) => (at === gate ? value : one));
      const jumped = values.some((one, at) => at !== gate && Math.abs(one - state.values[at]) > 1e-3);
      const row = index >= 0 ? rowOf[state.base] + gate * grid.length + index : closed ? rowOf.alone + gate : rowOf.step + last;
      changed({ gate, step: last, factor: null, values, ghost: jumped ? state.values : gate === state.gate ? state.ghost : null, saved: free ? null : row, what: `${names[gate]} at ${signed(value)}${index < 0 ? " (as trained)" : ""}, ${free ? "set by hand" : `the others ${closed ? "closed" : "as trained"}`}` });
    }
    const toNext = (gate, way) => { const all = stops(gate), at = all.findIndex((one) => Math.abs(one - state.values[gate]) < 1e-6); toValue(gate, at < 0 ? state.values[gate] + way * (grid[1] - grid[0]) : all[clamp(at + way, 0, all.length - 1)]); };

    // Beside each other what is moved and what is said, where there is room.
    const SAID = 272, beside = () => width() >= 600, space = () => (beside() ? width() - SAID - 24 : width()) - 8;

    // Steps lie on a logarithmic axis, since most happens early.
    const left = 80, across = () => Math.min(space(), 620) - left - 12, x = (step) => left + (across() * Math.log(steps[step])) / Math.log(steps[last]);
    const nearest = (at) => steps.reduce((best, _, step) => (Math.abs(x(step) - at) < Math.abs(x(best) - at) ? step : best), 0);
    const rightAt = (right, step) => right(sentenceOf(writtenAt(step)), state.picture);
    // The first step from which on something is right, or null.
    const rightFrom = (right) => steps.reduceRight((first, _, step) => (first === step + 1 && rightAt(right, step) ? step : first), steps.length);
    const RIGHT = 48; // the room of a title and two rows: where the thing is right, and where the background is
    const head = 18, high = 100, low = 68, floor = head + high + 22, top = Math.max(0.1, ...gates.flat().map(Math.abs)) * 1.1, y = (value) => head + (high * (top - value)) / (2 * top);
    // What the pointer is at: the gate whose curve is nearest, the loss, or what is said with the gates of a step.
    function pointedAt(px, py) {
      const step = nearest(px);
      if (px < left - 12) return null;
      if (py > floor + low + 8) return { step, strip: true };
      if (py > floor - 6) return { step, loss: true };
      const far = gates.map((line) => Math.abs(y(line[step]) - py)), gate = far.indexOf(Math.min(...far));
      return far[gate] < 14 ? { step, gate } : null;
    }
    const pointedWords = ({ step, gate, strip }) => (strip ? `step ${steps[step]}: ${sentenceOf(writtenAt(step)) || "nothing"}` : gate === undefined ? `step ${steps[step]}: ${loss[step].toFixed(2)} nats` : `${names[gate]}: ${signed(gates[gate][step])} at step ${steps[step]}`);
    function point(pointed) {
      if (JSON.stringify(pointed) === JSON.stringify(state.pointed)) return;
      state.pointed = pointed;
      plot.replaceChildren(chart());
    }
    // Words beside what the pointer is at, on ground of their own; never over the edge.
    function tip(end) {
      const { step, gate, strip } = state.pointed, words = pointedWords(state.pointed), wide = 6.6 * words.length + 14, at = strip ? floor + low - 12 : gate === undefined ? floor + 22 : y(gates[gate][step]) > head + high / 2 ? head + 10 : head + high - 10;
      const from = clamp(x(step) - wide / 2, 0, end + 12 - wide);
      return svg("g", { "data-pointed": gate ?? (strip ? "says" : "loss"), style: "pointer-events:none" }, gate !== undefined && svg("circle", { cx: x(step), cy: y(gates[gate][step]), r: 4, fill: colour(gate), stroke: "var(--ink)" }),
        svg("rect", { x: from, y: at - 12, width: wide, height: 20, rx: 5, fill: "var(--ground)", stroke: "var(--line)" }), svg("text", { class: "small", x: from + wide / 2, y: at + 2, "text-anchor": "middle" }, words));
    }
    function chart() {
      const tick = Math.floor(10 * top) / 10, most = Math.max(...loss, blind) * 1.05, down = (value) => floor + low * (1 - value / most), unit = most > 3 ? 2 : 1, at = x(state.step);
      const path = (values, to) => values.map((value, step) => `${step ? "L" : "M"}${x(step).toFixed(1)} ${to(value).toFixed(1)}`).join("");
      const ticks = [1, 10, 100, 1000, 10000].filter((tick) => tick <= steps[last]), end = left + across();
      return svg("svg", { width: end + 12, height: floor + low + 36 + RIGHT, "aria-hidden": "true", style: "cursor:ew-resize" },
        svg("rect", { x: 0, y: 0, width: end + 12, height: floor + low + 20 + RIGHT, fill: "transparent" }),
        // Between the two curves stand their names: the line leaves them out.
        svg("path", { d: `M${at} ${head - 4}V${head + high}M${at} ${floor}V${down(0)}`, stroke: "var(--orange)", "stroke-width": 3, opacity: atStep() ? 1 : 0.35 }), svg("path", { d: `M${at - 8} ${down(0)}h16l-8 -11z`, fill: "var(--orange)" }),
        [tick, 0, -tick].map((value, index) => [svg("path", { d: `M${left} ${y(value)}H${end}`, stroke: "var(--line)", "stroke-width": index === 1 ? 1.5 : 0.5 }), svg("text", { class: "small soft", x: left - 6, y: y(value) + 4, "text-anchor": "end" }, `${value < 0 ? "−" : ""}${Math.abs(value).toFixed(value ? 1 : 0)}`)]),
        svg("text", { class: "small soft", x: left + 4, y: 11 }, "gate = tanh α (α: the trained number)"),
        gates.map((line, gate) => svg("path", { d: path(line, y), fill: "none", stroke: colour(gate), "stroke-dasharray": dash(gate), "stroke-width": gate === (state.pointed?.gate ?? state.gate) ? 3.5 : 1.8 })),
        Array.from({ length: Math.floor(most / unit) + 1 }, (_, index) => svg("text", { class: "small soft", x: left - 6, y: down(unit * index) + 4, "text-anchor": "end" }, unit * index)),
        svg("path", { d: `M${left} ${down(0)}H${end}`, stroke: "var(--line)" }), svg("path", { d: path(loss, down), fill: "none", stroke: "var(--ink)", "stroke-width": 1.8 }),
        svg("path", { d: `M${left} ${down(blind)}H${end}`, stroke: "var(--soft)", "stroke-dasharray": "5 4" }), svg("text", { class: "small soft", x: end - 8, y: down(blind) + 14, "text-anchor": "end" }, `trained, but gates closed: ${blind.toFixed(1)}`),
        svg("text", { class: "small soft", x: left + 4, y: floor - 5 }, "training loss, nats a word"),
        ticks.map((tick) => { const at = left + (across() * Math.log(tick)) / Math.log(steps[last]); return svg("text", { class: "small soft", x: at, y: down(0) + 16 + RIGHT, "text-anchor": "middle" }, tick); }),
        svg("text", { class: "small soft", x: left + 4, y: down(0) + 15 }, across() < 350 ? "rightly said, with the step's gates" : "rightly said by the trained model, with the step's gates"),
        [["thing", nouns[state.picture].join(", "), namesThing], ["background", `on ${backgrounds[state.picture]}`, namesBackground]].map(([title, name, right], row) => [svg("text", { class: "small", x: left - 6, y: down(0) + 32 + 15 * row, "text-anchor": "end" }, name),
          // Early steps lie near to each other: no mark reaches the next.
          steps.map((_, step) => { const gap = Math.min(...[step - 1, step + 1].filter((one) => one >= 0 && one <= last).map((one) => Math.abs(x(one) - x(step)))), wide = clamp(gap - 2, 2, 6); return rightAt(right, step) && svg("rect", { "data-right": title, "data-holds": String(rightAt(right, Math.min(step + 1, last))), x: x(step) - wide / 2, y: down(0) + 23 + 15 * row, width: wide, height: 10, fill: rightAt(right, Math.min(step + 1, last)) ? "var(--green)" : "none", stroke: "var(--green)" }); })]),
        svg("text", { class: "small soft", x: left + across() / 2, y: down(0) + 32 + RIGHT, "text-anchor": "middle" }, "training step, logarithmic"), state.pointed && tip(end));
    }

    // The gates as tracks, of which each can be dragged.
    const ROW = matchMedia("(pointer: coarse)").matches ? 34 : 30, name = () => (width() < 460 ? 128 : 166), track = () => Math.min(space(), 520) - name() - 56, place = (value) => name() + (track() * (clamp(value, -limit, limit) + limit)) / (2 * limit);
    function tracks() {
      return svg("svg", { width: name() + track() + 56, height: names.length * ROW + 22, "aria-hidden": "true" }, names.map((label, gate) => {
        const value = state.values[gate], y = gate * ROW + ROW / 2, chosen = gate === state.gate, ghost = state.ghost && Math.abs(state.ghost[gate] - value) > 1e-3 && gate !== state.gate, things = state.tried[gate];
        return svg("g", { "data-gate": gate, "data-value": value, style: "cursor:ew-resize" }, svg("rect", { x: 0, y: y - ROW / 2, width: name() + track() + 56, height: ROW, rx: 6, fill: chosen ? "var(--pale)" : ghost ? "var(--sky)" : "transparent" }),
          svg("path", { d: `M6 ${y}h16`, stroke: colour(gate), "stroke-dasharray": dash(gate), "stroke-width": 4 }), svg("text", { class: "small", x: 28, y: y + (things ? -3 : 4) }, name() < 140 ? label.replace("attention", "attn.").replace("feed-forward", "feed-f.") : label), things && svg("text", { class: "small", x: 28, y: y + 12, "data-tried": gate, style: "font-weight:600;fill:var(--green)" }, svg("title", {}, things.join(", ")), `alone: ${things.length} of ${pictures.length}`),
          svg("path", { d: `M${place(-limit)} ${y}H${place(limit)}`, stroke: "var(--line)", "stroke-width": 4, "stroke-linecap": "round" }), svg("path", { d: `M${place(0)} ${y - 8}v16`, stroke: "var(--ink)" }),
          svg("path", { d: `M${place(0)} ${y}H${place(value)}`, stroke: colour(gate), "stroke-width": 6 }), svg("path", { d: `M${place(trained[gate])} ${y - 13}v26`, stroke: "var(--soft)", "stroke-dasharray": "2 2" }),
          ghost && svg("path", { "data-was": gate, d: `M${place(state.ghost[gate])} ${y}m-7 0a7 7 0 1 0 14 0a7 7 0 1 0 -14 0`, fill: "none", stroke: "var(--ink)", "stroke-dasharray": "3 2" }),
          svg("circle", { cx: place(value), cy: y, r: 8, fill: colour(gate), stroke: "var(--ink)", "stroke-width": chosen ? 2 : 0 }), svg("text", { class: "small", x: name() + track() + 14, y: y + 4 }, signed(value)));
      }), [-limit, 0, limit].map((value) => svg("text", { class: "small soft", x: place(value), y: names.length * ROW + 16, "text-anchor": "middle" }, signed(value))));
    }

    function says() {
      const found = said(), right = nouns[state.picture], first = found.written.split(" ")[0], own = first && !found.words.includes(first) && found.first !== undefined;
      const shown = found.words.map((word, index) => [word, found.probabilities[index]]).concat(own ? [[first, found.first]] : []), rest = Math.max(0, 1 - shown.reduce((sum, [, value]) => sum + value, 0));
      const [best, second] = shown.map(([, value]) => percent(value)).sort().reverse(), short = (value) => (best === second ? value.toFixed(3).replace(/^0(?=.)/, "") : percent(value)); // three digits for all where two leave it open which is likeliest
      const rows = [...shown.map(([word, value]) => ({ name: word === first ? `→ ${word}` : word, value, said: short(value), colour: right.includes(word) ? "var(--green)" : "var(--blue)", data: { "data-answer": word } })), { name: "all others", value: rest, said: short(rest), colour: "var(--line)" }];
      const told = `${state.what}. Next word: ${rows.map((row) => `${row.name} ${percent(row.value)}`).join(", ")}. It writes: ${state.text} ${found.written || "(nothing)"}. It names ${pictures.filter((_, index) => namesThing(said(index).written, index)).length} of ${pictures.length} things.`;
      plot.replaceChildren(chart());
      setting.textContent = `${state.what[0].toUpperCase()}${state.what.slice(1)}.`;
      asked.replaceChildren(`${state.text} …`, html("span", { class: "small soft", style: "float:right" }, html("span", { class: "good" }, "✓✓"), " thing, background"));
      const sentences = pictures.map((_, index) => said(index).written);
      if (!held && state.saved >= rowOf.alone && state.text === data.text) state.tried[state.saved - rowOf.alone] = nouns.filter((_, index) => namesThing(sentences[index], index)).map((wanted) => wanted.join(" and "));
      board.replaceChildren(tracks());
      answers.replaceChildren(...sentences.map((text, index) => { const sentence = sentenceOf(text), ends = !text.endsWith("…"), after = text.slice(sentence.length), chosen = index === state.picture;
        return html("div", { "data-picture": index, title: text, style: `display:flex;gap:8px;align-items:center;height:52px;padding:0 4px 0 8px;border-radius:6px;cursor:pointer;border:2px solid ${chosen ? "var(--orange)" : "transparent"}${differs(index) ? ";box-shadow:inset 4px 0 0 var(--blue)" : ""}`, ...(differs(index) && { "data-changed": "true" }) }, html("img", { src: pictures[index], width: 44, height: 44, alt: "" }),
          html("span", { style: "flex:1;line-height:1.2;overflow:hidden;display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:2" }, html("strong", { "data-written": index }, sentence), html("span", { class: "soft small" }, after, ends ? "\u00a0■" : "")),
          html("span", { class: "good", style: "width:1.8em;flex:none;display:flex" }, [namesThing(sentence, index), namesBackground(sentence, index)].map((holds) => html("span", { style: "flex:1;text-align:center" }, holds ? "✓" : html("span", { class: "soft" }, "·"))))); }));
      answers.setAttribute("aria-label", `Pictures and what is written of each; arrow keys, Home and End choose. ${sentences.map((text, index) => `${nouns[index].join(" and ")} on ${backgrounds[index]}: ${text || "nothing"}${namesThing(text, index) ? ", thing right" : ""}${namesBackground(sentenceOf(text), index) ? ", background right" : ""}`).join("; ")}. Chosen: ${right.join(" and ")}.`);
      likely.replaceChildren(bars(beside() ? SAID : Math.min(width(), 400), rows, { label: told, room: 96 }));
      const away = !ask && state.base === "trained" && state.values.filter((value, gate) => Math.abs(value - trained[gate]) > 1e-3).length > 1;
      board.style.opacity = away ? 0.6 : 1;
      const jumped = state.ghost && names.some((_, gate) => gate !== state.gate && Math.abs(state.ghost[gate] - state.values[gate]) > 1e-3), mark = "Dotted: as trained.";
      rule.textContent = jumped ? "Blue rows: these gates jumped back, from the dashed ring." : ask ? `Any gate by hand. ${mark}` : away ? "Move one gate by hand: the others jump to as trained." : `One gate by hand, others ${state.base === "closed" ? "closed" : "as trained"}. ${mark}`;
      plot.setAttribute("aria-label", `Gates and loss over training, at step ${steps[state.step]} of ${steps[last]}; left and right go through training, Home and End to its ends. Loss ${loss[state.step].toFixed(2)}; with all gates closed ${blind.toFixed(2)}. With the gates of the steps the trained model says ${[[right.join(" and "), namesThing], [`on ${backgrounds[state.picture]}`, namesBackground]].map(([name, test]) => { const from = rightFrom(test), when = steps.filter((_, step) => step < from && rightAt(test, step)); return `${name} ${when.length ? `at ${when.length === 1 ? "step" : "steps"} ${when.join(", ")}${from > last ? "" : " and "}` : ""}${from > last ? (when.length ? "" : "never") : `from step ${steps[from]} on`}`; }).join(", ")}.`);
      board.setAttribute("aria-label", `Gates; up and down choose one, left and right move it, Home and End to its ends. ${names.map((one, gate) => `${one} ${signed(state.values[gate])}`).join(", ")}. Chosen: ${names[state.gate]}.`);
      return told;
    }
    function learns() {
      const { opening: now, note } = opened(), norms = gradients[now], usual = gradients[AS_TRAINED], silent = Object.keys(norms).filter((part) => !norms[part]), all = Object.values(gradients).flatMap(Object.values).filter((value) => value > 0);
      const low = Math.floor(Math.log10(Math.min(...all)) - 0.01), high = Math.ceil(Math.log10(Math.max(...all))), number = (value) => (value === 0 ? "none" : value >= 10 ? value.toFixed(0) : value.toPrecision(2));
      const length = (value) => (value ? (Math.log10(value) - low) / (high - low) : 0);
      const rows = Object.entries(norms).map(([part, value]) => ({ name: part, value: length(value), mark: usual?.[part] ? length(usual[part]) : null, said: `${number(value)}${usual && norms !== usual && (value || usual[part]) ? ` (${number(usual[part])})` : ""}`, data: { "data-part": part } }));
      const told = `${now}: ${rows.map((row) => `${row.name} ${row.said}`).join(", ")}.`;
      opening.set(now);
      const wide = Math.min(width() - 4, 560), room = 146, right = 104, drawn = bars(wide, rows, { label: `Norm of the gradient. ${told}`, room, right }), from = Math.min(room, wide / 2), floor = rows.length * 22 + 2;
      const ticks = Array.from({ length: high - low + 1 }, (_, index) => low + index).filter((power) => power % 2 === 0);
      drawn.setAttribute("height", floor + 20);
      drawn.append(...ticks.flatMap((power) => { const at = from + (wide - from - right) * length(10 ** power); return [svg("path", { d: `M${at} 0V${floor}`, stroke: "var(--soft)", "stroke-width": 0.5, "stroke-dasharray": "2 3" }), svg("text", { class: "small soft", x: at, y: floor + 14, "text-anchor": "middle" }, 10 ** power)]; }));
      norm.replaceChildren(html("p", {}, note || `Measured: ${now}.`), html("p", { class: "small soft" }, `Norm of the loss's gradient, logarithmic${norms === usual ? "" : "; in brackets, and as a tick: all gates as trained"}.`), drawn, html("p", {}, `No gradient reaches: ${silent.join(", ")}.`),
        html("p", { class: "small soft" }, "'New words': the embeddings of <image> and <EOC>, the only words that are trained. 'Norms before them': the layer norms before gated attention and gated feed-forward."));
      return told;
    }

    function draw() {
      for (const one of says_) one.style.display = state.view !== "says" ? "none" : one === whole ? "grid" : "";
      for (const one of learns_) one.style.display = state.view === "learns" ? "" : "none";
      scrub.set(state.step);
      factor.set(state.factor ?? asTrained);
      scrub.querySelector("input").style.opacity = atStep() ? 1 : 0.5;
      factor.querySelector("input").style.opacity = state.factor === null ? 0.5 : 1;
      whole.style.gridTemplateColumns = beside() ? `minmax(0, 1fr) ${SAID}px` : "minmax(0, 1fr)";
      speech.style.gridArea = beside() ? "1 / 2 / span 3 / 3" : "";
      // On a phone the gates come right below what is said.
      if (beside() !== (likely.parentElement === speech)) beside() ? speech.append(likely) : whole.insertBefore(likely, notes);
      whole.style.gridTemplateRows = beside() ? "auto auto 1fr" : "";
      const told = state.view === "says" ? says() : learns();
      message.textContent = state.message;
      say(told);
    }

    const area = (style = "") => html("div", { tabindex: 0, role: "application", style });
    const plot = area(), board = area(), answers = area(), likely = html("div", { style: "min-height:180px;margin-top:6px" }), norm = html("div", {});
    const setting = html("p", { "aria-hidden": "true", style: "font-weight:600;font-size:13px;min-height:2.9em" }), asked = html("p", { "aria-hidden": "true", style: "margin:0 0 2px" }), message = html("p", { class: "message", role: "alert" });
    let held = null; // the gate that is dragged
    let playing = null;
    const stop = () => { clearTimeout(playing); playing = null; player.textContent = "▶ Play"; };
    const player = button("▶ Play", () => {
      if (playing) return stop();
      let step = state.step >= last ? 0 : state.step;
      toStep(step);
      player.textContent = "Pause";
      // Longer where a sentence has changed.
      const wait = () => { playing = setTimeout(() => { if (step >= last || !stage.isConnected) return stop(); toStep((step += 1)); wait(); }, pictures.some((_, picture) => differs(picture)) ? 700 : 200); };
      wait();
    });
    const byHand = (act) => (...given) => { stop(); act(...given); };
    const scrub = slider("training step", { min: 0, max: last, value: last, show: (step) => (atStep() ? `${steps[step]}` : "–") }, byHand(toStep));
    const all = html("span", { class: "control" }, button("Close all gates", byHand(() => toFactor(0))), button("As trained", byHand(() => toFactor(asTrained))));
    const factor = slider("all gates times", { min: 0, max: factors.length - 1, value: asTrained, show: (index) => (index === state.factor ? factors[index].toFixed(1) : "–") }, byHand(toFactor));
    // The opening that the gates stand at, or next to, among those whose gradients are saved.
    const CLOSED = "all gates closed", AS_TRAINED = "all gates as trained", only = (gate) => `only ${names[gate]} open`;
    const measured = [[CLOSED, trained.map(() => 0)], [AS_TRAINED, trained], ...names.map((_, gate) => [only(gate), trained.map((value, at) => (at === gate ? value : 0))])].filter(([name]) => name in gradients);
    function opened() {
      const far = ([, values]) => values.reduce((sum, value, gate) => sum + Math.abs(value - state.values[gate]), 0), [nearest] = [...measured].sort((a, b) => far(a) - far(b));
      return { opening: nearest[0], note: far(nearest) < 1e-3 ? "" : `Nearest measured: ${nearest[0]} (yours: ${state.what}).` };
    }
    function toOpening(wanted) {
      const gate = names.findIndex((_, at) => only(at) === wanted);
      if (gate < 0) return wanted === CLOSED ? toFactor(0) : toStep(last);
      Object.assign(state, { base: "closed", values: trained.map(() => 0) });
      toValue(gate, trained[gate]);
    }
    const opening = choice("gates", Object.keys(gradients).map((one) => [one, one]), null, toOpening);
    const typed = ask && field("text", data.text, (text) => changed({ text: text.trim() || data.text }), { size: 24 });
    const rule = html("p", { class: "small", "aria-hidden": "true", style: "margin:0;min-height:1.5em" });
    const notes = html("details", { class: "small soft", style: "grid-column:1 / -1" }, html("summary", { style: "cursor:pointer" }, "What the marks mean"), [
      `Curves: blue is attention, red feed-forward; solid, dashed, dotted: ${layers.join(", ")}. Point at one to name it, or at a mark below to read what is said there.`,
      "Under the loss, of the chosen picture: where the model says the right thing, and the right background. Hollow: wrong again at the next saved step, so perhaps chance.",
      "Sentences: ✓ or ·, first for the thing, then for the background. ■: the model ended here; …: stopped here, perhaps within a word. Blue edge: just changed. Bars: probability of the next word (0 to 1), in a fixed order; →: the word it writes; green: the thing of the picture.",
      `All but the gates is as of step ${steps[last]}: gates of an early step can suit it badly, and probabilities jump, though the loss was falling then.`,
      "Grey dashed line in the loss: the trained model with its gates closed, on held-out pages. The first losses lie above it: <image> and <EOC> are not yet learnt, and each step sees other pages.",
    ].map((text) => html("p", {}, text)));
    const speech = html("div", { style: "min-width:0" }, setting, asked, answers, likely);
    const whole = html("div", { style: "display:grid;gap:8px 24px" }, plot, speech, html("div", { class: "controls", style: "margin:0" }, all, factor), html("div", { style: "min-width:0" }, rule, board), notes);
    const hint = html("p", { class: "small soft" }, `Drag the orange line through training, or press Play. Or set gates below: ${ask ? "any of them" : "all, or one by hand"}.`);
    const says_ = [player, scrub, hint, whole, ...(typed ? [typed] : [])], learns_ = [opening, norm];
    controls.append(buttons("", [["says", "what it says"], ["learns", "who learns"]], state.view, (view) => { stop(); state.view = view; if (view === "learns" && state.saved === last) toFactor(0); else draw(); }), player, scrub, opening, ...(typed ? [typed] : []));
    stage.append(hint, message, whole, norm);

    dragging(plot, byHand((at) => { const step = nearest(at); if (step !== state.step || state.saved !== step) toStep(step); }), () => {}, "pan-y");
    const inside = (event) => { const box = plot.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    plot.addEventListener("pointermove", (event) => { if (event.pointerType === "mouse" && !event.buttons) point(pointedAt(...inside(event))); });
    for (const kind of ["pointerdown", "pointerleave"]) plot.addEventListener(kind, () => point(null));
    let pressed = [0, 0];
    plot.addEventListener("pointerdown", (event) => { pressed = inside(event); });
    plot.addEventListener("click", (event) => { const at = inside(event), hit = pointedAt(...at); if (hit?.gate !== undefined && Math.hypot(at[0] - pressed[0], at[1] - pressed[1]) < 6) { state.gate = hit.gate; draw(); } }); // its curve is thick from now on
    hovering(board, "gate", (row, event) => { if (!row) point(null); else if (event.pointerType === "mouse" && !event.buttons) point({ step: state.step, gate: +row.gate }); });
    const ends = (element, to) => element.addEventListener("keydown", (event) => { if (["Home", "End"].includes(event.key)) { event.preventDefault(); to(event.key === "End"); } });
    ends(plot, (end) => byHand(toStep)(end ? last : 0));
    arrows(plot, byHand((dx, dy) => toStep(clamp(state.step + dx - dy, 0, last))));
    dragging(board, byHand((at, y) => {
      if (held === null) Object.assign(state, { previous: pictures.map((_, picture) => said(picture).written) }); // marked is what changes since
      held ??= clamp(Math.floor(y / ROW), 0, names.length - 1);
      toValue(held, (2 * limit * (at - name())) / track() - limit);
    }), () => { held = null; draw(); }, "pan-y");
    arrows(board, byHand((dx, dy) => (dy ? changed({ gate: clamp(state.gate + dy, 0, names.length - 1) }) : toNext(state.gate, dx))));
    ends(board, (end) => byHand(toValue)(state.gate, end ? limit : -limit));
    const choose = (index) => { state.picture = (index + pictures.length) % pictures.length; draw(); };
    answers.addEventListener("click", (event) => { const hit = event.target.closest("[data-picture]"); if (hit) choose(+hit.dataset.picture); });
    arrows(answers, (dx, dy) => choose(state.picture + dx + dy));
    ends(answers, (end) => choose(end ? pictures.length - 1 : 0));
    redraw(draw);
  },
};
