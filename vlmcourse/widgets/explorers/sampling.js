// Sampling: a tree of next words that one walks by hand, or by greedy, beam and nucleus decoding.

const ROWS = 9, ROW = 27;
const TOUCH = matchMedia("(hover: none)").matches;
const MARKS = { "<image>": "the place of a picture", "<EOC>": "the end of a picture's text", "<eos>": "the end of all" };
const METHODS = [["hand", "by hand"], ["greedy", "greedy"], ["beam", "beam search"], ["nucleus", "nucleus"]];

export default {
  render({ model, el }) {
    const { trees: packed, prompts, end, vocabulary, beams: mostBeams, length: DEPTH } = model.get("data"), ask = kernel(model);
    const unpacked = (texts) => texts.split(" ").filter(Boolean), mapped = (all, act) => Object.fromEntries(Object.entries(all).map(([key, one]) => [key, act(one)]));
    const trees = mapped(packed, (tree) => mapped(tree, (node) => { const [words, probabilities, tail] = node.split("\t").map(unpacked); return { words, probabilities: probabilities.map(Number), tail: tail.map(Number) }; }));
    const { root, controls, stage, say, width, redraw } = frame(el, "sampling", "Sampling explorer");
    const state = { prompt: prompts[0], method: "hand", p: 0.5, temperature: 1, beams: 3, path: [], steps: [], done: null, cursor: 0, lit: null, message: "" }; // lit: { depth, index } of a node below the pointer or the keys
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
    const rounded = (value) => (value < 0.005 ? "<.01" : percent(value));

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
    const mean = (beam) => beam.score / beam.path.length;
    function beamEnds() {
      const last = state.steps.at(-1), length = state.steps.length - 1;
      if (last.finished.length === state.beams && last.finished.at(-1).score / last.finished.at(-1).path.length >= (last.kept[0]?.score ?? -Infinity) / length) return last.finished[0];
      if (length >= DEPTH || !last.kept.length) return [...last.finished, last.kept[0]].filter(Boolean).sort((a, b) => b.score / b.path.length - a.score / a.path.length)[0];
      return null;
    }

    async function step() {
      Object.assign(state, { message: "", lit: null });
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
      const rows = weighed(node), row = { hand: () => columns().findLast((column) => !column.preview).nodes[state.cursor], nucleus: () => drawn(rows, state.path), greedy: () => rows[0] }[state.method]();
      await walk([...state.path, row.word]);
    }
    async function walk(path) {
      state.message = goesOn(path) ? "" : `What follows ${quoted(path.at(-1))} here is not saved on this page (its frame is dotted). Take another word; in Jupyter the model goes on.`;
      if (state.message) return;
      Object.assign(state, { path, lit: null });
      try { if (!over(path)) await fetched(path, false); } catch (error) { state.message = error.message; }
      begin();
    }
    // The frame stands first on the likeliest word that goes on.
    const begin = () => { state.cursor = Math.max(0, saved(state.path)?.words.slice(0, ROWS).findIndex((word) => word !== end) ?? 0); };
    const ended = () => (state.method === "beam" ? Boolean(state.done) : over(state.path));
    async function run() {
      for (let count = 0; count < DEPTH && !ended() && !state.message; count += 1) await step();
      draw();
    }
    async function restart() {
      Object.assign(state, { steps: first(), done: null, lit: null });
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
          return { word: row.path.at(-1), show: row.score.toFixed(2), parent: state.steps[depth].all.indexOf(state.steps[depth].kept[row.parent]), beam: row,
            kind: best ? "taken" : at >= 0 || one.ended.includes(row) ? "kept" : "cut", width: Math.exp(row.score - one.all[0].score), edge: 0.4 };
        }) }));
      }
      const found = [], hand = state.method === "hand", next = hand && !over(state.path) ? ahead() : null, whole = next ? [...state.path, next] : state.path;
      for (let depth = 0; depth <= whole.length && depth < DEPTH; depth += 1) {
        const path = whole.slice(0, depth), node = saved(path), preview = depth > state.path.length;
        if (!node || path.at(-1) === end) break;
        const rows = weighed(node), shown = rows.filter((row) => row.word !== null).slice(0, ROWS), taken = !preview && depth < state.path.length && rows.find((row) => row.word === state.path[depth]), rare = taken && !shown.includes(taken);
        if (rare) shown.push(taken);
        const hidden = rows.filter((row) => !shown.includes(row)), kept = rows.filter((row) => row.kept).length, shownKept = shown.filter((row) => row.kept).length;
        found.push({ depth, last: depth === state.path.length, preview, rest: `and ${hidden.length} others ${rounded(hidden.reduce((sum, row) => sum + row.p, 0))}`, kept, total: rows.length, shownKept, sum: rows.filter((row) => row.kept).reduce((sum, row) => sum + row.p, 0),
          rare: rare && taken.kept ? taken.word : null, late: taken && !taken.kept ? taken.word : null,
          nodes: shown.map((row, index) => ({ word: row.word, show: rounded(row.p), width: row.p, kind: row === taken ? "taken" : row.kept ? "kept" : "cut", cut: !row.kept, unsaved: row !== taken && row.kept && (hand || state.method === "nucleus") && !goesOn([...path, row.word]),
            parent: found.at(-1)?.nodes.findIndex((one) => (preview ? one.word === next : one.kind === "taken")) ?? -1, path: hand ? [...path, row.word] : null, cursor: hand && depth === state.path.length && index === state.cursor })) });
      }
      return found;
    }

    // By hand: the next word in the frame or below the pointer, whose own next words stand pale in the column after.
    function ahead() {
      const node = saved(state.path), words = node ? node.words.slice(0, ROWS) : [], word = state.lit?.depth === state.path.length ? words[state.lit.index] : words[state.cursor];
      return word !== undefined && word !== end && saved([...state.path, word]) ? word : null;
    }

    function nucleusSays(all) {
      const { kept, total, shownKept, sum } = all.at(-1), late = all.map((column) => column.late).filter(Boolean), rare = all.map((column) => column.rare).filter(Boolean);
      const stay = `${kept} of ${total} words ${kept === 1 ? "stays" : "stay"} in the nucleus, ${kept === 1 ? "with" : "together"} ${rounded(sum)}`;
      const first = kept === total ? `All ${total} words stay in the nucleus.` : kept > shownKept ? `${stay}: these ${shownKept} and ${kept - shownKept} more.` : `${stay}.`;
      const drawn = rare.length ? ` ${listed(rare)} ${rare.length > 1 ? "were" : "was"} drawn from the others (lowest in ${rare.length > 1 ? "their columns" : "its column"}).` : "";
      const before = late.length ? ` ${listed(late)} (orange, struck through) ${late.length > 1 ? "were" : "was"} drawn with other settings.` : "";
      const dotted = all.some((column) => column.nodes.some((node) => node.unsaved)) ? " Dotted: not saved here, so never drawn; with a kernel the model draws from all words." : "";
      return `${first}${drawn}${before}${state.temperature === 1 ? "" : ` Numbers: at temperature ${state.temperature.toFixed(1)}.`}${dotted}`;
    }
    function beamsSay() {
      if (state.steps.length < 2) return `Before its first step. Numbers: probabilities. Each step keeps the ${state.beams} likeliest ${state.beams === 1 ? "text" : "texts"}; log-probabilities take the place of the probabilities: they can be added.`;
      const { all, kept, ended } = state.steps.at(-1), from = state.steps.at(-2)?.kept.length ?? 1, first = state.steps[1].all[0];
      const stay = all.length ? `Of ${from} × ${vocabulary} continuations the best ${all.length} are shown; ${kept.length} ${kept.length === 1 ? "goes" : "go"} on${ended.length ? `, ${ended.length} ended` : ""}. ` : "";
      const leaves = state.steps.some((one) => one.all.some((row) => row.path.at(-1) === end)) ? `A text that ends leaves its place to the next; it counts only if it was among the first ${state.beams}. ` : "";
      return `${state.done && state.done.path.at(-1) !== end ? `Stopped after ${DEPTH} words. ` : ""}${stay}${leaves}Numbers: log-probability of all words so far (${quoted(first.path[0])}: ln ${percent(Math.exp(first.score))} = ${first.score.toFixed(2)}); bars: share of the column's best.`;
    }
    // Each beam, with the words marked that it shares, from the first on, with another one.
    function beamsWritten() {
      const { kept, finished } = state.steps.at(-1), all = [...finished, ...kept].sort((one, other) => mean(other) - mean(one)), best = bestBeam();
      const shared = (one, other) => { let count = 0; while (count < one.length && one[count] === other[count]) count += 1; return count; };
      const digits = new Set(all.map((beam) => mean(beam).toFixed(2))).size < all.length ? 3 : 2; // of the mean: a tie needs one more
      const left = (beam) => state.done?.path.at(-1) === end && beam.path.at(-1) !== end; // unfinished when the search is over
      const rows = [...all.filter((beam) => !left(beam)), ...all.filter(left)].map((beam) => {
        const count = Math.max(0, ...all.filter((other) => other !== beam).map((other) => shared(beam.path, other.path))), words = beam.path;
        return html("div", { class: `small${left(beam) ? " soft" : ""}`, "data-beam": text(beam.path), style: "display:flex;gap:12px" },
          html("span", { class: "soft", style: "flex:none;width:9.5em;font-variant-numeric:tabular-nums" }, `${beam.score.toFixed(digits)} / ${beam.path.length} = ${mean(beam).toFixed(digits)}`),
          html("span", {}, html("span", { style: beam === best && state.done ? "font-weight:600" : "" }, count > 0 && html("mark", {}, text(words.slice(0, count))), ` ${text(words.slice(count))}`), left(beam) && " (not ended)"));
      });
      return [html("div", { class: "small soft" }, "Log-probability / words = mean, the best first; marked: a beginning that another beam shares."), ...rows];
    }
    // What beam search would give: the best mean of the texts so far.
    const bestBeam = () => state.done ?? [...state.steps.at(-1).finished, ...state.steps.at(-1).kept].filter((beam) => beam.path.length).sort((one, other) => mean(other) - mean(one))[0] ?? null;
    // The nodes from the first column to the lit one, as "depth index".
    function way(all) {
      const found = new Set();
      let { depth, index } = state.lit ?? {};
      while (depth >= 0 && all[depth]?.nodes[index]) { found.add(`${depth} ${index}`); index = all[depth].nodes[index].parent; depth -= 1; }
      return found;
    }

    let before = 0;
    function draw() {
      const all = columns(), hand = state.method === "hand", count = hand ? clamp(state.path.length + 2, all.length, DEPTH) : all.length; // room for what a pointer may show
      const wide = clamp(Math.floor(width() / Math.max(4, count)), 112, 160), gap = state.method === "beam" ? 24 : 18, path = way(all), isLit = (depth, index) => path.has(`${depth} ${index}`);
      const rows = Math.max(3, ...all.map((column) => column.nodes.length));
      const x = (depth) => depth * wide, y = (index) => 22 + index * ROW;
      const edge = (column, node, index) => column.depth > 0 && node.parent >= 0 && svg("path", { d: `M${x(column.depth) + 6 - gap} ${y(node.parent) + 11}C${x(column.depth) + 4} ${y(node.parent) + 11} ${x(column.depth) + 2 - gap} ${y(index) + 11} ${x(column.depth) + 6} ${y(index) + 11}`,
        fill: "none", stroke: isLit(column.depth, index) && node.beam ? "var(--ink)" : node.kind === "cut" ? "var(--line)" : node.kind === "taken" ? "var(--orange)" : "var(--blue)", "stroke-width": clamp(8 * (node.edge ?? node.width), 1, 7), opacity: column.preview ? 0.35 : isLit(column.depth, index) ? 1 : node.kind === "cut" || (node.beam && path.size) ? 0.35 : 0.8 });
      const box = (column, node, index) => svg("g", { transform: `translate(${x(column.depth) + 6} ${y(index)})`, "data-path": node.path ? text(node.path) : null, "data-kind": node.kind, "data-node": `${column.depth} ${index}`, style: node.path ? "cursor:pointer" : "", opacity: column.preview ? 0.6 : null },
        svg("title", {}, name(node.word)),
        svg("rect", { y: (22 - ROW) / 2, width: wide - gap, height: ROW, fill: "transparent" }),
        svg("rect", { width: wide - gap, height: 22, rx: 5, fill: node.kind === "cut" ? "transparent" : "var(--pale)", stroke: node.cursor || (node.beam && isLit(column.depth, index)) ? "var(--ink)" : node.kind === "taken" ? "var(--orange)" : node.unsaved ? "var(--soft)" : "transparent", "stroke-width": node.cursor || isLit(column.depth, index) || node.kind === "taken" ? 2 : 1, "stroke-dasharray": node.unsaved ? "2 3" : null }),
        svg("rect", { class: "smooth", width: Math.max(2, (wide - gap) * clamp(node.width, 0, 1)), height: 22, rx: 5, fill: node.kind === "taken" ? "var(--orange)" : node.kind === "kept" ? "var(--blue)" : "var(--line)", opacity: 0.45 }),
        svg("text", { x: 6, y: 16, class: node.kind === "cut" || node.cut ? "soft" : null, "text-decoration": node.kind === "cut" || node.cut ? "line-through" : null }, short(name(node.word), wide - gap - 13 - long(node.show, 12))),
        svg("text", { class: "small", x: wide - gap - 4, y: 16, "text-anchor": "end" }, node.show));
      const beam = state.method === "beam", aimed = beam && state.lit && all[state.lit.depth]?.nodes[state.lit.index]?.beam;
      const written = beam ? (aimed || bestBeam())?.path ?? [] : state.path, marks = Object.keys(MARKS).filter((mark) => all.some((column) => !column.preview && column.nodes.some((node) => node.word === mark)));
      const finished = beam || !over(state.path) ? "" : written.at(-1) === end ? "The text has ended." : `Stopped after ${DEPTH} words.`;
      const tail = all.findLast((column) => !column.preview), dotted = all.some((column) => column.nodes.some((node) => node.unsaved));
      const summary = `${{ beam: beamsSay, nucleus: () => (tail ? nucleusSays(all) : ""), greedy: () => "Greedy takes the likeliest word, always.",
        hand: () => (finished ? "" : TOUCH ? "Tap a word; pale: what would follow the framed one." : `Click a word, or use the arrow keys; pale: what would follow. Step takes the word in the ${root.classList.contains("dark") ? "white" : "black"} frame.`) + (dotted && !ask ? " Dotted: what follows isn't saved here." : "") }[state.method]()}${marks.length ? ` ${marks.map((mark) => `${mark}: ${MARKS[mark]}`).join("; ")}.` : ""}`.trim();
      board.replaceChildren(svg("svg", { width: count * wide, height: y(rows) + 24, style: "max-width:none", "aria-hidden": "true" },
        all.map((column) => [column.nodes.map((node, index) => edge(column, node, index))]),
        all.map((column) => [column.nodes.map((node, index) => box(column, node, index)), column.rest && svg("text", { class: "soft small", "text-decoration": column.kept <= column.shownKept ? "line-through" : null, x: x(column.depth) + 10, y: y(column.nodes.length) + 14 }, column.rest)])));
      sentence.replaceChildren(html("span", { class: "soft" }, `${state.prompt} `), html("strong", {}, text(written.filter((word) => word !== end)) || (written.length ? "" : "…")), written.at(-1) === end ? html("strong", {}, ` ${end}`) : over(written) || !written.length ? "" : " …", aimed ? html("span", { class: "soft" }, ` ${aimed.score.toFixed(2)}`) : "");
      if (count !== before) { board.scrollLeft = board.scrollWidth; before = count; }
      fade();
      sentences.replaceChildren(...(state.method === "beam" && state.steps.length > 1 ? beamsWritten() : []));
      about.replaceChildren(finished ? html("b", { style: "color:var(--ink)" }, `${finished} `) : "", summary);
      message.textContent = state.message;
      for (const one of [stepper, runner]) one.disabled = ended();
      const shownWords = tail ? tail.nodes.map((node) => `${name(node.word)} ${node.show}${node.kind === "cut" ? " (cut)" : ""}`).join(", ") : "none";
      const next = over(written) || (state.method === "beam" && state.steps.length > 1) ? "The last column" : "Next words";
      const described = `${METHODS.find(([key]) => key === state.method)[1]}: '${state.prompt} ${text(written)}'. ${next}: ${shownWords}. ${finished} ${summary} ${state.message}`;
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
    const light = (lit) => { if (JSON.stringify(lit) !== JSON.stringify(state.lit)) { state.lit = lit; draw(); } };
    hovering(board, "node", (hit) => { const [depth, index] = hit ? hit.node.split(" ").map(Number) : []; if (state.method === "beam" || state.method === "hand") light(hit && (state.method === "beam" || depth === state.path.length) ? { depth, index } : null); });
    const choose = async (path) => { if (state.method === "beam") return; await walk(path); draw(); };
    board.addEventListener("click", (event) => { const hit = event.target.closest("[data-path]"); if (hit) choose(hit.dataset.path.split(" ")); });
    arrows(board, (dx, dy) => {
      const last = columns().findLast((column) => !column.preview), count = last?.nodes.length ?? 1;
      if (state.method === "beam") {
        if (dx > 0) return step().then(draw);
        if (dx < 0) { if (state.steps.length > 1) state.steps.pop(); Object.assign(state, { done: null, lit: null }); return draw(); }
        return light(state.steps.length > 1 ? { depth: last.depth, index: clamp((state.lit?.depth === last.depth ? state.lit.index : -1) + dy, 0, count - 1) } : null);
      }
      if (dx < 0) return choose(state.path.slice(0, -1));
      if (dx > 0) return state.method === "hand" && last?.last ? choose(last.nodes[state.cursor].path) : step().then(draw);
      Object.assign(state, { cursor: clamp(state.cursor + dy, 0, count - 1), lit: null });
      draw();
    }, () => step().then(draw));
    state.steps = first();
    begin();
    redraw(draw);
  },
};
