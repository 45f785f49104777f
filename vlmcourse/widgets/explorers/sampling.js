// Sampling: a tree of next words that one walks by hand, or by greedy, beam and nucleus decoding.

const ROWS = 9, ROW = 27;
const METHODS = [["hand", "by hand"], ["greedy", "greedy"], ["beam", "beam search"], ["nucleus", "nucleus"]];

export default {
  render({ model, el }) {
    const { trees: packed, prompts, end, vocabulary, beams: mostBeams, length: DEPTH } = model.get("data"), ask = kernel(model);
    const unpacked = (texts) => texts.split(" ").filter(Boolean), mapped = (all, act) => Object.fromEntries(Object.entries(all).map(([key, one]) => [key, act(one)]));
    const trees = mapped(packed, (tree) => mapped(tree, (node) => { const [words, probabilities, tail] = node.split("\t").map(unpacked); return { words, probabilities: probabilities.map(Number), tail: tail.map(Number) }; }));
    const { root, controls, stage, say, width, redraw } = frame(el, "sampling", "Sampling explorer");
    const state = { prompt: prompts[0], method: "hand", p: 0.5, temperature: 1, beams: 3, path: [], steps: [], done: null, cursor: 0, message: "" };
    const text = (path) => path.join(" ");

    const name = (word) => (word === end ? `'${end}' end` : /^\W$/.test(word) ? `'${word}'` : word), quoted = (word) => (/^'/.test(name(word)) ? name(word) : `'${word}'`);
    const listed = (all) => all.map(quoted).join(" and ");
    const ruler = document.createElement("canvas").getContext("2d");
    const long = (word, size) => { ruler.font = `${size}px ${getComputedStyle(root).fontFamily}`; return ruler.measureText(word).width; };
    function short(word, room) {
      let count = word.length;
      while (count > 1 && long(count < word.length ? `${word.slice(0, count)}…` : word, 13) > room) count -= 1;
      return count < word.length ? `${word.slice(0, count)}…` : word;
    }
    const opened = new Map();

    // All words of a node, likeliest first, with the model's probabilities: [[word, probability], ...]; a word that isn't named is null.
    function distribution(node) {
      if (!opened.has(node)) {
        const named = node.words.map((word, index) => [word, node.probabilities[index]]), count = vocabulary - named.length, last = node.tail.length - 1;
        const places = node.tail.map((_, index) => Math.round(count ** (index / last)) - 1); // as tail_places in sampling.py
        const others = Array.from({ length: count }, (_, rank) => {
          const after = Math.max(1, places.findIndex((place) => place >= rank)), [low, high] = [places[after - 1], places[after]];
          return [null, Math.exp(-node.tail[after - 1] - ((node.tail[after] - node.tail[after - 1]) * (rank - low)) / (high - low || 1))];
        });
        const mass = others.reduce((sum, [, value]) => sum + value, 0) || 1, rest = Math.max(0, 1 - named.reduce((sum, [, value]) => sum + value, 0));
        others.forEach((one) => { one[1] *= rest / mass; });
        opened.set(node, [...named, ...others].sort((one, other) => other[1] - one[1]));
      }
      return opened.get(node);
    }
    // What the method makes of them: [{ word, p (after the temperature), kept }].
    function weighed(node) {
      const power = state.method === "nucleus" ? 1 / state.temperature : 1, all = distribution(node), raised = all.map(([, value]) => value ** power);
      const total = raised.reduce((sum, one) => sum + one, 0);
      let before = 0;
      return all.map(([word], index) => {
        const p = raised[index] / total, kept = state.method !== "nucleus" || state.p >= 1 || before < state.p - 1e-9;
        before += p;
        return { word, p, kept };
      });
    }

    // The distribution after a path: saved, or asked for; null where neither can be. To draw from all words a kernel names them all.
    async function fetched(path, all = state.method === "nucleus") {
      const tree = (trees[state.prompt] ??= {}), node = tree[text(path)];
      if (ask && (!node || (all && node.words.length < vocabulary))) tree[text(path)] = await ask({ prompt: state.prompt, path });
      return tree[text(path)] ?? null;
    }
    const saved = (path) => trees[state.prompt]?.[text(path)] ?? null;
    const goesOn = (path) => Boolean(ask) || over(path) || saved(path) !== null;
    // A word of those that the method keeps. Without a kernel only what goes on: all words that the page doesn't know count for the saved ones among the unlikely.
    function drawn(rows, path) {
      const kept = rows.filter((row) => row.kept), choices = kept.filter((row) => row.word !== null && goesOn([...path, row.word]));
      const few = rows.slice(0, ROWS), rare = choices.filter((row) => !few.includes(row));
      const lump = kept.filter((row) => !few.includes(row)).reduce((sum, row) => sum + row.p, 0);
      const weight = (row) => (ask || few.includes(row) ? row.p : lump / rare.length);
      let at = Math.random() * choices.reduce((sum, row) => sum + weight(row), 0);
      return choices.find((row) => (at -= weight(row)) <= 0) ?? choices.at(-1);
    }
    const over = (path) => path.at(-1) === end || path.length >= DEPTH;

    // Beam search as the course's: of 2 x beams candidates, ended ones are put aside, the rest go on; length penalty 1.
    const first = () => [{ kept: [{ path: [], score: 0 }], all: [], finished: [] }];
    function advanced(last) {
      const candidates = last.kept.flatMap((beam, parent) => {
        const node = saved(beam.path);
        return node ? node.words.map((word, index) => ({ path: [...beam.path, word], score: beam.score + Math.log(node.probabilities[index]), parent })) : [];
      }).sort((a, b) => b.score - a.score).slice(0, 2 * state.beams);
      const ended = candidates.filter((one, rank) => one.path.at(-1) === end && rank < state.beams);
      const finished = [...last.finished, ...ended].sort((a, b) => b.score / b.path.length - a.score / a.path.length).slice(0, state.beams);
      const kept = candidates.filter((one) => one.path.at(-1) !== end).slice(0, state.beams);
      return { kept, all: candidates, ended, finished };
    }
    function beamEnds() {
      const last = state.steps.at(-1), length = state.steps.length - 1;
      if (last.finished.length === state.beams && last.finished.at(-1).score / last.finished.at(-1).path.length >= (last.kept[0]?.score ?? -Infinity) / length) return last.finished[0];
      if (length >= DEPTH || !last.kept.length) return [...last.finished, last.kept[0]].filter(Boolean).sort((a, b) => b.score / b.path.length - a.score / a.path.length)[0];
      return null;
    }

    async function step() {
      state.message = "";
      if (ended()) return;
      if (state.method === "beam") {
        const last = state.steps.at(-1);
        const nodes = await Promise.all(last.kept.map((beam) => fetched(beam.path)));
        if (nodes.every(Boolean)) state.steps.push(advanced(last));
        state.done = beamEnds();
        return;
      }
      const node = await fetched(state.path);
      if (!node) return;
      const rows = weighed(node), row = { hand: () => columns().at(-1).nodes[state.cursor], nucleus: () => drawn(rows, state.path), greedy: () => rows[0] }[state.method]();
      await walk([...state.path, row.word]);
    }
    async function walk(path) {
      state.message = goesOn(path) ? "" : `What follows ${quoted(path.at(-1))} here is not saved on this page (its frame is dotted). Take another word; in Jupyter the model goes on.`;
      if (state.message) return;
      Object.assign(state, { path, cursor: 0 });
      try { if (!over(path)) await fetched(path, false); } catch (error) { state.message = error.message; }
    }
    const ended = () => (state.method === "beam" ? Boolean(state.done) : over(state.path));
    async function run() {
      for (let count = 0; count < DEPTH && !ended() && !state.message; count += 1) await step();
      draw();
    }
    async function restart() {
      Object.assign(state, { steps: first(), done: null });
      await walk([]);
      draw();
    }
    function set(changes) {
      Object.assign(state, changes);
      restart();
    }

    // Columns of nodes: { word, value, kind: taken, kept, cut, act }, joined to the column before. A beam search that hasn't begun shows what it chooses from.
    function columns() {
      if (state.method === "beam" && state.steps.length > 1) {
        return state.steps.slice(1).map((one, depth) => ({ depth, nodes: one.all.map((row) => {
          const at = one.kept.indexOf(row), best = state.done && text(state.done.path.slice(0, depth + 1)) === text(row.path);
          return { word: row.path.at(-1), show: row.score.toFixed(2), parent: state.steps[depth].all.indexOf(state.steps[depth].kept[row.parent]),
            kind: best ? "taken" : at >= 0 || one.ended.includes(row) ? "kept" : "cut", width: Math.exp(row.score), edge: 0.4 };
        }) }));
      }
      const found = [], hand = state.method === "hand";
      for (let depth = 0; depth <= state.path.length && depth < DEPTH; depth += 1) {
        const path = state.path.slice(0, depth), node = saved(path);
        if (!node || path.at(-1) === end) break;
        const rows = weighed(node), shown = rows.filter((row) => row.word !== null).slice(0, ROWS), taken = rows.find((row) => row.word === state.path[depth]), rare = taken && !shown.includes(taken);
        if (rare) shown.push(taken);
        const hidden = rows.filter((row) => !shown.includes(row)), kept = rows.filter((row) => row.kept).length, shownKept = shown.filter((row) => row.kept).length;
        found.push({ depth, last: depth === state.path.length, rest: `${hidden.length} others ${percent(hidden.reduce((sum, row) => sum + row.p, 0))}`, kept, total: rows.length, shownKept,
          rare: rare && taken.kept ? taken.word : null, late: taken && !taken.kept ? taken.word : null,
          nodes: shown.map((row, index) => ({ word: row.word, show: percent(row.p), width: row.p, kind: row === taken ? "taken" : row.kept ? "kept" : "cut", cut: !row.kept, unsaved: row !== taken && row.kept && (hand || state.method === "nucleus") && !goesOn([...path, row.word]),
            parent: found.at(-1)?.nodes.findIndex((one) => one.kind === "taken") ?? -1, path: hand ? [...path, row.word] : null, cursor: hand && depth === state.path.length && index === state.cursor })) });
      }
      return found;
    }

    function nucleusSays(all) {
      const { kept, total, shownKept } = all.at(-1), late = all.map((column) => column.late).filter(Boolean), rare = all.map((column) => column.rare).filter(Boolean);
      const stay = `${kept} of ${total} words ${kept === 1 ? "stays" : "stay"} in the nucleus`;
      const first = kept === total ? `All ${total} words stay in the nucleus.` : kept > shownKept ? `${stay}: these ${shownKept} and ${kept - shownKept} more.` : `${stay}; those struck through are cut off.`;
      const drawn = rare.length ? ` ${listed(rare)} ${rare.length > 1 ? "were" : "was"} drawn from the others (lowest in ${rare.length > 1 ? "their columns" : "its column"}).` : "";
      const before = late.length ? ` ${listed(late)} (orange, struck through) ${late.length > 1 ? "were" : "was"} drawn with other settings.` : "";
      return `${first}${drawn}${before}${ask || state.path.length ? "" : " On this page only some texts are saved (a dotted frame: this one isn't): draws repeat, and are tamer than p and temperature say. In Jupyter the model draws among all words."}`;
    }
    function beamsSay() {
      if (state.steps.length < 2) return `Before its first step. Numbers: probabilities. Each step keeps the ${state.beams} likeliest ${state.beams === 1 ? "text" : "texts"}; log-probabilities take the place of the probabilities: they can be added.`;
      const { all, kept, ended } = state.steps.at(-1), from = state.steps.at(-2)?.kept.length ?? 1, first = state.steps[1].all[0];
      const stay = all.length ? `Of ${from} × ${vocabulary} continuations the best ${all.length} are shown; ${kept.length} ${kept.length === 1 ? "beam stays" : "beams stay"}${ended.length ? `, ${ended.length} ended` : ""}. ` : "";
      const why = state.done && state.done.path.at(-1) !== end ? `Stopped after ${DEPTH} words. ` : "";
      return `${stay}Numbers: log-probability of all words so far (${quoted(first.path[0])}: ln ${percent(Math.exp(first.score))} = ${first.score.toFixed(2)}); bars: that probability. Struck through: not kept. ${why}${state.done ? "Orange: the beam with the best mean log-probability." : ""}`;
    }
    // Each beam, with the words marked that it shares, from the first on, with another one.
    function beamsWritten() {
      const { kept, finished } = state.steps.at(-1), all = [...finished, ...kept], best = state.done ?? all[0];
      const shared = (one, other) => { let count = 0; while (count < one.length && one[count] === other[count]) count += 1; return count; };
      const rows = all.sort((one, other) => other.score / other.path.length - one.score / one.path.length).map((beam) => {
        const count = Math.max(0, ...all.filter((other) => other !== beam).map((other) => shared(beam.path, other.path))), words = beam.path;
        return html("div", { class: "small", "data-beam": text(beam.path), style: "display:flex;gap:12px" },
          html("span", { class: "soft", style: "flex:none;width:8.5em;font-variant-numeric:tabular-nums" }, `${beam.score.toFixed(2)} / ${beam.path.length} = ${(beam.score / beam.path.length).toFixed(2)}`),
          html("span", {}, html("span", { style: beam === best && state.done ? "font-weight:600" : "" }, count > 0 && html("mark", {}, text(words.slice(0, count))), ` ${text(words.slice(count))}`)));
      });
      return [html("div", { class: "small soft" }, `Log-probability / words = mean. The best mean first; marked: a beginning that another beam shares; '${end}' ends a text.`), ...rows];
    }

    let before = 0;
    function draw() {
      const all = columns(), wide = clamp(Math.floor(width() / Math.max(4, all.length)), 116, 160);
      const rows = Math.max(3, ...all.map((column) => column.nodes.length));
      const x = (depth) => depth * wide, y = (index) => 22 + index * ROW;
      const edge = (column, node, index) => column.depth > 0 && node.parent >= 0 && svg("path", { d: `M${x(column.depth) - 12} ${y(node.parent) + 11}C${x(column.depth) + 4} ${y(node.parent) + 11} ${x(column.depth) - 12} ${y(index) + 11} ${x(column.depth) + 6} ${y(index) + 11}`,
        fill: "none", stroke: node.kind === "cut" ? "var(--line)" : node.kind === "taken" ? "var(--orange)" : "var(--blue)", "stroke-width": clamp(8 * (node.edge ?? node.width), 1, 7), opacity: node.kind === "cut" ? 0.5 : 0.8 });
      const box = (column, node, index) => svg("g", { transform: `translate(${x(column.depth) + 6} ${y(index)})`, "data-path": node.path ? text(node.path) : null, "data-kind": node.kind, style: node.path ? "cursor:pointer" : "" },
        svg("title", {}, name(node.word)),
        svg("rect", { y: (22 - ROW) / 2, width: wide - 18, height: ROW, fill: "transparent" }),
        svg("rect", { width: wide - 18, height: 22, rx: 5, fill: node.kind === "cut" ? "transparent" : "var(--pale)", stroke: node.cursor ? "var(--ink)" : node.kind === "taken" ? "var(--orange)" : node.unsaved ? "var(--soft)" : "transparent", "stroke-width": node.cursor || node.kind === "taken" ? 2 : 1, "stroke-dasharray": node.unsaved ? "2 3" : null }),
        svg("rect", { class: "smooth", width: Math.max(2, (wide - 18) * clamp(node.width, 0, 1)), height: 22, rx: 5, fill: node.kind === "taken" ? "var(--orange)" : node.kind === "kept" ? "var(--blue)" : "var(--line)", opacity: 0.45 }),
        svg("text", { x: 6, y: 16, class: node.kind === "cut" || node.cut ? "soft" : null, "text-decoration": node.kind === "cut" || node.cut ? "line-through" : null }, short(name(node.word), wide - 18 - 13 - long(node.show, 12))),
        svg("text", { class: "small", x: wide - 22, y: 16, "text-anchor": "end" }, node.show));
      const written = state.method === "beam" ? (state.done ?? state.steps.at(-1)?.kept[0])?.path ?? [] : state.path;
      const tail = all.at(-1), summary = { beam: beamsSay, nucleus: () => (tail ? nucleusSays(all) : ""), greedy: () => "Greedy takes the likeliest word, always.",
        hand: () => `Click a word, or go with the arrow keys: up and down choose, right takes, left goes back. Step takes the framed word of the last column.${ask ? "" : " A dotted frame: what follows is not saved on this page."}` }[state.method]() + (state.method === "beam" || !over(state.path) ? "" : written.at(-1) === end ? " The text has ended." : ` Stopped after ${DEPTH} words.`) + (all.length * wide > width() + 4 ? " Scroll the tree to the left for its beginning." : "");
      board.replaceChildren(svg("svg", { width: all.length * wide, height: y(rows) + 24, style: "max-width:none", "aria-hidden": "true" },
        all.map((column) => [column.nodes.map((node, index) => edge(column, node, index))]),
        all.map((column) => [column.nodes.map((node, index) => box(column, node, index)), column.rest && svg("text", { class: "soft small", "text-decoration": column.kept <= column.shownKept ? "line-through" : null, x: x(column.depth) + 10, y: y(column.nodes.length) + 14 }, column.rest)])));
      sentence.replaceChildren(html("span", { class: "soft" }, `${state.prompt} `), html("strong", {}, text(written.filter((word) => word !== end)) || (written.length ? "" : "…")), written.at(-1) === end ? html("strong", {}, ` ${end}`) : over(written) || !written.length ? "" : " …");
      if (all.length !== before) { board.scrollLeft = board.scrollWidth; before = all.length; }
      fade();
      sentences.replaceChildren(...(state.method === "beam" && state.steps.length > 1 ? beamsWritten() : []));
      about.textContent = summary;
      message.textContent = state.message;
      for (const one of [stepper, runner]) one.disabled = ended();
      const shownWords = tail ? tail.nodes.map((node) => `${name(node.word)} ${node.show}${node.kind === "cut" ? " (cut)" : ""}`).join(", ") : "none";
      const next = over(written) || (state.method === "beam" && state.steps.length > 1) ? "The last column" : "Next words";
      const described = `${METHODS.find(([key]) => key === state.method)[1]}: '${state.prompt} ${text(written)}'. ${next}: ${shownWords}. ${summary} ${state.message}`;
      board.setAttribute("aria-label", `Tree of next words. ${described}`);
      say(described);
    }

    const board = html("div", { class: "tree", tabindex: 0, role: "application", style: "min-height:9rem;overflow-x:auto" });
    const fade = fading(board);
    const sentences = html("div", { "aria-hidden": "true" });
    const sentence = html("p", { style: "font-size:16px" }), about = html("p", { class: "soft", "aria-hidden": "true" }), message = html("p", { class: "soft", role: "alert" });
    const stepper = button("Step", async () => { await step(); draw(); }), runner = button("To the end", run);
    const p = slider("p", { min: 0.05, max: 1, step: 0.05, value: state.p, show: percent }, (value) => { state.p = value; draw(); });
    const temperature = slider("temperature", { min: 0.2, max: 3, step: 0.2, value: 1, show: (value) => value.toFixed(1) }, (value) => { state.temperature = value; draw(); });
    const beams = slider("beams", { min: 1, max: mostBeams, value: state.beams }, (value) => set({ beams: value }));
    const chosen = choice("prompt", prompts.map((one) => [one, one]), state.prompt, (prompt) => set({ prompt }));
    const own = ask && field("or your own", "", (value) => set({ prompt: value.trim() || prompts[0] }), { size: 24 });
    const visible = () => {
      for (const one of [p, temperature]) one.style.display = state.method === "nucleus" ? "" : "none";
      beams.style.display = state.method === "beam" ? "" : "none";
    };
    controls.append(...[chosen, own].filter(Boolean), buttons("", METHODS, state.method, (method) => { state.method = method; visible(); restart(); }), p, temperature, beams);
    visible();
    stage.append(sentence, html("div", { class: "controls" }, stepper, runner, button("Start again", restart)), board, about, sentences, message);
    const choose = async (path) => { if (state.method === "beam") return; await walk(path); draw(); };
    board.addEventListener("click", (event) => { const hit = event.target.closest("[data-path]"); if (hit) choose(hit.dataset.path.split(" ")); });
    arrows(board, (dx, dy) => {
      const last = columns().at(-1);
      if (dx < 0 && state.method !== "beam") return choose(state.path.slice(0, -1));
      if (dx > 0) return state.method === "hand" && last?.last ? choose(last.nodes[state.cursor].path) : step().then(draw);
      state.cursor = clamp(state.cursor + dy, 0, (last?.nodes.length ?? 1) - 1);
      draw();
    }, () => step().then(draw));
    state.steps = first();
    redraw(draw);
  },
};
