// Sampling: a tree of next words that one walks by hand, or by greedy, beam and nucleus decoding.

const ROWS = 9, ROW = 27, TOP = 22;
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
    // A probability of a whole text may be small: two digits of it.
    const precise = (value) => (value >= 0.0995 ? percent(value) : value >= 0.00005 ? value.toFixed(1 - Math.floor(Math.log10(value))).replace(/^0/, "") : value.toExponential(0));
    // A value with as many digits as it needs not to look like another one.
    const apart = (value, other) => { let digits = 2; while (digits < 6 && value !== other && Number(value.toFixed(digits)) === Number(other.toFixed(digits))) digits += 1; return value.toFixed(digits).replace(/^0/, ""); };
    const nth = (number) => `${number}${["th", "st", "nd", "rd"][number > 3 ? 0 : number]}`; // up to 20

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
        const p = raised[index] / total, kept = state.method === "greedy" ? index === 0 : state.method !== "nucleus" || state.p >= 1 || before < state.p - 1e-9;
        before += p;
        return { word, p, kept, before: before - p };
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
    // By hand: the likeliest words that can be taken; without a kernel those that go on.
    const offered = (path) => (saved(path)?.words ?? []).filter((word) => goesOn([...path, word])).slice(0, ROWS);
    // What nucleus decoding draws from here, of the words kept: those that go on.
    const drawable = (rows, path) => rows.filter((row) => row.kept && (ask || (row.word !== null && goesOn([...path, row.word]))));
    // A word of those that the method keeps. Without a kernel only what goes on: all words that the page doesn't know count for the saved ones among the unlikely.
    function drawn(rows, path) {
      const kept = rows.filter((row) => row.kept), choices = drawable(rows, path);
      const few = rows.slice(0, ROWS), rare = choices.filter((row) => !few.includes(row));
      const lump = kept.filter((row) => !few.includes(row)).reduce((sum, row) => sum + row.p, 0);
      const weight = (row) => (ask || few.includes(row) ? row.p : lump / rare.length);
      let at = Math.random() * choices.reduce((sum, row) => sum + weight(row), 0);
      return choices.find((row) => (at -= weight(row)) <= 0) ?? choices.at(-1);
    }
    const over = (path) => path.at(-1) === end || path.length >= DEPTH;

    // Beam search as the course's: of 2 x beams candidates, ended ones are put aside, the rest go on; length penalty 1.
    const first = () => [{ kept: [{ path: [], score: 0 }], all: [], finished: [], lost: [] }];
    function advanced(last, count = state.beams) {
      const candidates = last.kept.flatMap((beam, parent) => {
        const node = saved(beam.path);
        return node ? node.words.map((word, index) => ({ path: [...beam.path, word], p: node.probabilities[index], score: beam.score + Math.log(node.probabilities[index]), parent })) : [];
      }).sort((a, b) => b.score - a.score).slice(0, 2 * count);
      const ends = candidates.filter(closed), ended = ends.filter((one) => candidates.indexOf(one) < count);
      const pool = [...last.finished, ...ended].sort(better), finished = pool.slice(0, count), worst = finished.at(-1), at = last.number + 1 || 1;
      const pushed = pool.slice(count).map((beam) => ({ ...beam, why: `pushed out at word ${at}: ${count === 1 ? "an ended text has" : `${count} ended texts have`} a better mean (${count === 1 ? "" : "the worst of them "}${mean(worst).toFixed(2)})` }));
      const late = ends.filter((one) => !ended.includes(one)).map((beam) => ({ ...beam, why: `not taken: ${nth(candidates.indexOf(beam) + 1)} best at word ${beam.path.length}, and an end counts only among the first ${count}` }));
      return { number: at, kept: candidates.filter((one) => !closed(one)).slice(0, count), all: candidates, ended, finished, lost: [...last.lost, ...pushed, ...late] };
    }
    const mean = (beam) => beam.score / beam.path.length, better = (a, b) => mean(b) - mean(a), closed = (beam) => beam.path.at(-1) === end;
    function beamEnds(steps = state.steps, count = state.beams) {
      const last = steps.at(-1), { finished, kept } = last, length = steps.length - 1;
      if (finished.length === count && mean(finished.at(-1)) >= (kept[0]?.score ?? -Infinity) / length) return finished[0];
      if (length >= DEPTH || !kept.length) return [...finished, kept[0]].filter(Boolean).sort(better)[0];
      return null;
    }
    // What so many beams would find, and what greedy decoding would: { path, score }, or null where that isn't saved.
    function searched(count) {
      const steps = first();
      for (let best; ; ) {
        if (!steps.at(-1).kept.every((beam) => saved(beam.path))) return null;
        steps.push(advanced(steps.at(-1), count));
        if ((best = beamEnds(steps, count))) return { ...best, last: steps.at(-1) };
      }
    }
    function greedily() {
      const path = [];
      while (!over(path)) { const node = saved(path); if (!node) return null; path.push(node.words[0]); }
      return { path, score: scored(path) };
    }
    const factors = (path) => path.map((word, depth) => { const node = saved(path.slice(0, depth)); return node ? node.probabilities[node.words.indexOf(word)] : undefined; });
    const scored = (path) => factors(path).reduce((sum, p) => sum + Math.log(p), 0);

    async function step() {
      Object.assign(state, { message: "", lit: null });
      if (ended()) return;
      if (state.method === "beam") {
        const last = state.steps.at(-1);
        const nodes = await Promise.all(last.kept.map((beam) => fetched(beam.path)));
        if (nodes.every(Boolean)) state.steps.push(advanced(last));
        state.done = beamEnds();
        if (ask && state.done) for (let path = []; !over(path); path = [...path, saved(path).words[0]]) await fetched(path); // greedy's text, to compare
        return;
      }
      const node = await fetched(state.path);
      if (!node) return;
      const rows = weighed(node), row = { hand: () => ({ word: offered(state.path)[state.cursor] }), nucleus: () => drawn(rows, state.path), greedy: () => rows[0] }[state.method]();
      await walk([...state.path, row.word]);
    }
    async function walk(path) {
      state.message = goesOn(path) ? "" : `What follows ${quoted(path.at(-1))} here is not saved on this page. Take another word; in Jupyter the model goes on.`;
      if (state.message) return;
      Object.assign(state, { path, lit: null });
      try { if (!over(path)) await fetched(path, false); } catch (error) { state.message = error.message; }
      begin();
    }
    const begin = () => { state.cursor = 0; }; // the frame stands on the likeliest word
    const ended = () => (state.method === "beam" ? Boolean(state.done) : over(state.path));
    // To the end; what is drawn can be drawn again.
    async function run() {
      if (ended()) await restart();
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
            kind: best ? "taken" : one.ended.includes(row) ? "ended" : at >= 0 ? "kept" : "cut", width: Math.exp(row.score - one.all[0].score), edge: 0.4 };
        }) }));
      }
      const found = [], hand = state.method === "hand", next = hand && !over(state.path) ? ahead() : null, whole = next ? [...state.path, next] : state.path;
      for (let depth = 0; depth <= whole.length && depth < DEPTH; depth += 1) {
        const path = whole.slice(0, depth), node = saved(path), preview = depth > state.path.length;
        if (!node || path.at(-1) === end) break;
        const rows = weighed(node), offers = hand && offered(path), shown = rows.filter((row) => (hand ? offers.includes(row.word) : row.word !== null)).slice(0, ROWS), taken = !preview && depth < state.path.length && rows.find((row) => row.word === state.path[depth]), rare = taken && !shown.includes(taken);
        if (rare) shown.push(taken);
        const hidden = rows.filter((row) => !shown.includes(row)), kept = rows.filter((row) => row.kept).length, shownKept = shown.filter((row) => row.kept).length;
        found.push({ depth, last: depth === state.path.length, preview, draws: state.method === "nucleus" ? drawable(rows, path) : [], rest: hidden.length ? [`${hidden.length} others`, rounded(hidden.reduce((sum, row) => sum + row.p, 0))] : null, kept, total: rows.length, shownKept, sum: rows.filter((row) => row.kept).reduce((sum, row) => sum + row.p, 0),
          rare: rare && taken.kept ? taken.word : null, late: taken && !taken.kept ? taken.word : null,
          nodes: shown.map((row, index) => ({ word: row.word, show: rounded(row.p), width: row.p, before: row.before, taken: row === taken, p: row.p, ...kindOf(row, taken, path),
            parent: found.at(-1)?.nodes.findIndex((one) => (preview ? one.word === next : one.kind === "taken")) ?? -1, path: hand ? [...path, row.word] : null, cursor: hand && depth === state.path.length && index === state.cursor })) });
      }
      return found;
    }

    function kindOf(row, taken, path) {
      const unsaved = state.method === "nucleus" && row !== taken && row.kept && !goesOn([...path, row.word]);
      return { kind: row === taken ? "taken" : unsaved ? "unsaved" : row.kept ? "kept" : "cut", cut: !row.kept, unsaved };
    }
    // By hand: the next word in the frame or below the pointer, whose own next words stand pale in the column after.
    function ahead() {
      const words = offered(state.path), word = state.lit?.depth === state.path.length ? words[state.lit.index] : words[state.cursor];
      return word !== undefined && word !== end && saved([...state.path, word]) ? word : null;
    }

    function nucleusSays(all) {
      const { kept, total, shownKept, sum, draws } = all.at(-1), late = all.map((column) => column.late).filter(Boolean), rare = all.map((column) => column.rare).filter(Boolean);
      const stay = `${kept} of ${total} words ${kept === 1 ? "stays" : "stay"} in the nucleus, ${kept === 1 ? "with" : "together"} ${rounded(sum)}`;
      const first = kept === total ? `All ${total} words stay in the nucleus.` : kept > shownKept ? `${stay}: these ${shownKept} and ${kept - shownKept} more.` : `${stay}: from the top, the fewest that reach p = ${percent(state.p)}.`;
      const from = draws.length < kept ? ` This page can draw only ${draws.length === 1 ? "1 of them" : `${draws.length} of them`}, those saved; in Jupyter all can be drawn.` : kept === 1 ? " It is drawn with certainty." : " The next word is drawn from them.";
      const drawn = rare.length ? ` ${listed(rare)} ${rare.length > 1 ? "were" : "was"} drawn from the others (lowest in ${rare.length > 1 ? "their columns" : "its column"}).` : "";
      const before = late.length ? ` ${listed(late)} (orange, struck through) ${late.length > 1 ? "were" : "was"} drawn with other settings.` : "";
      return `${first}${from}${drawn}${before}`;
    }
    function beamsSay() {
      if (state.steps.length < 2) return `Each step continues every text by every word. The ${state.beams} likeliest that ${state.beams === 1 ? "hasn't" : "haven't"} ended ${state.beams === 1 ? "goes" : "go"} on; ended ones are put aside, the others are dropped. From the first step on the numbers are logarithms (ln), which can be added.`;
      const { all, kept, ended, finished, number } = state.steps.at(-1), from = state.steps.at(-2).kept.length, some = (count, one, more) => `${count} ${count === 1 ? one : more}`;
      if (!state.done) return `Word ${number}: of ${from} × ${vocabulary} continuations the best ${all.length} are shown. ${some(kept.length, "goes", "go")} on${ended.length ? `, ${ended.length} ended and ${ended.length === 1 ? "is" : "are"} put aside` : ""}; the others are dropped. An end counts only among the first ${state.beams}.`;
      if (number < DEPTH && kept.length) return `The search is over after ${some(number, "word", "words")}: ${state.beams === 1 ? "a text has" : `${state.beams} texts have`} ended, and no text that could go on has a better mean (its best: ${mean(kept[0]).toFixed(2)}) than ${state.beams === 1 ? "that" : "the worst of them"} (${mean(finished.at(-1)).toFixed(2)}).`;
      return kept.length ? `The search is over: it stops after ${DEPTH} words. The best mean wins, of texts that ended and texts that did not.` : "The search is over: no text is left that could go on.";
    }
    // Each text of the search, those it lost, too, with what became of it; marked: the words that it shares, from the first on, with another one.
    function beamsWritten() {
      const { kept, finished, lost } = state.steps.at(-1), best = bestBeam(), greedy = state.done && greedily(), alive = [...finished, ...kept].sort(better);
      const fate = (beam) => beam.why ?? `${closed(beam) ? "ended" : state.done ? `not ended (no '${end}')` : "goes on"}${state.done && beam === best ? "; the best mean: beam search's text" : ""}`;
      const rows = [...alive, ...[...lost].sort(better)], isGreedy = (beam) => greedy && text(greedy.path) === text(beam.path);
      if (greedy && !rows.some(isGreedy)) rows.push({ ...greedy, why: "", alien: true });
      const shared = (one, other) => { let count = 0; while (count < one.length && one[count] === other[count]) count += 1; return count; };
      const means = rows.map(mean).sort((a, b) => b - a), digits = means.some((value, index) => index > 0 && means[index - 1] - value < 0.01) ? 3 : 2; // of the mean: like ones need one more
      return [html("div", { class: "small soft" }, `Log-probability / words = mean, the best first${lost.length ? "; struck through, below: dropped on the way" : ""}. Marked: a beginning shared with another text.`), ...rows.map((beam) => {
        const count = beam.why != null ? 0 : Math.max(0, ...alive.filter((other) => other !== beam).map((other) => shared(beam.path, other.path))), words = beam.path;
        const also = isGreedy(beam) ? beam.alien ? "greedy's text, for comparison" : "greedy's text" : "";
        return html("div", { class: `small${beam.why != null ? " soft" : ""}`, "data-beam": text(words), "data-lost": beam.why ? "1" : null, style: "display:flex;flex-wrap:wrap;gap:0 12px;padding:2px 0;border-top:1px solid var(--line)" },
          html("span", { class: "soft", style: "flex:none;min-width:11.5em;white-space:nowrap;font-variant-numeric:tabular-nums" }, `${beam.score.toFixed(digits)} / ${words.length} = ${mean(beam).toFixed(digits)}`),
          html("span", { style: `flex:none;max-width:100%;${beam === best && state.done ? "font-weight:600" : beam.why ? "text-decoration:line-through" : ""}` }, count > 0 && html("mark", {}, text(words.slice(0, count))), words.length === 1 && closed(beam) ? `'${end}' alone` : ` ${text(words.slice(count))}`),
          html("span", { class: "soft" }, [fate(beam), also].filter(Boolean).join("; ")));
      })];
    }
    // What beam search would give: the best mean of the texts so far.
    const bestBeam = () => state.done ?? [...state.steps.at(-1).finished, ...state.steps.at(-1).kept].filter((beam) => beam.path.length).sort(better)[0] ?? null;
    // The nodes from the first column to the lit one, as "depth index".
    function way(all) {
      const found = new Set();
      let { depth, index } = state.lit ?? {};
      while (depth >= 0 && all[depth]?.nodes[index]) { found.add(`${depth} ${index}`); index = all[depth].nodes[index].parent; depth -= 1; }
      return found;
    }
    // Why the node below the pointer or the keys stays or goes.
    function whySays(all) {
      const lit = state.lit ?? (state.method === "hand" && !over(state.path) ? { depth: state.path.length, index: state.cursor } : null), column = lit && all[lit.depth], node = column?.nodes[lit.index];
      if (!node) return "";
      if (node.beam) return beamWhy(node.beam, lit.depth);
      const word = quoted(node.word), first = column.nodes[0], has = `${word} has probability ${node.show} after the words to its left${state.method === "nucleus" && state.temperature !== 1 ? `, at temperature ${state.temperature.toFixed(1)}` : ""}`;
      const share = node.unsaved ? " This page can't draw it: what follows isn't saved." : ` Kept words together: ${rounded(column.sum)}. So it is drawn with ${node.show} / ${rounded(column.sum)} = ${rounded(node.p / column.sum)}${column.draws.length < column.kept ? " by the model" : ""}.`;
      if (state.method === "greedy") return node === first ? `${has}: no word has more, so greedy takes it.` : `${has}. Greedy drops it: ${quoted(first.word)} has ${first.show}.`;
      if (state.method === "nucleus") return node === first ? `${has}. The likeliest word is always kept.${share}` : node.cut ? `${has}. Cut: the likelier words together have ${apart(node.before, state.p)}, so p = ${percent(state.p)} is reached without it.` : `${has}. Kept: the likelier words together have ${apart(node.before, state.p)}${state.p < 1 ? `, not yet p = ${percent(state.p)}` : ""}.${share}`;
      if (state.method === "beam") return `${has}. ${lit.index < state.beams ? (node.word === end ? "Among the best: the first step puts it aside as an ended text." : "Among the best: the first step keeps it.") : `The first step ${lit.index < 2 * state.beams ? "keeps likelier words and then ends" : "shows only likelier words"}.`}`;
      return `${has}.${!column.preview && node.word === end ? " It ends the text." : ""}`;
    }
    function beamWhy(row, depth) {
      const one = state.steps[depth + 1], next = state.steps[depth + 2], parent = state.steps[depth].kept[row.parent], lost = state.steps.at(-1).lost.find((beam) => text(beam.path) === text(row.path));
      const sum = depth ? `${parent.score.toFixed(2)} + ln ${precise(row.p)} = ${row.score.toFixed(2)}` : `ln ${precise(row.p)} = ${row.score.toFixed(2)}`;
      const dropped = () => `Dropped: ${one.kept.length === 1 ? "the text that goes on has" : `all ${one.kept.length} texts that go on have`} more (${one.kept.length === 1 ? "" : "the last of them, "}'${text(one.kept.at(-1).path)}': ${one.kept.at(-1).score.toFixed(2)}).`;
      const place = one.kept.indexOf(row), lives = next && [...next.kept, ...next.ended].some((heir) => heir.parent === place);
      const fate = lost ? `Ended; ${lost.why}.` : state.done && text(state.done.path.slice(0, depth + 1)) === text(row.path) ? "On the way to the best text." : one.ended.includes(row) ? `Ended with mean ${mean(row).toFixed(2)}, and put aside.` : place < 0 ? dropped()
        : lives ? "Kept; it went on." : next ? `Kept, but none of its continuations was among the best at word ${depth + 2}.` : state.done ? "Not ended when the search was over." : `Kept: ${nth(place + 1)} of ${one.kept.length} that go on.`;
      return `'${text(row.path)}': ${sum}. ${fate}`;
    }
    // The words so far as one number; of nucleus decoding at its temperature, as the columns.
    function chance(path) {
      const nucleus = state.method === "nucleus", each = nucleus ? path.map((word, depth) => { const node = saved(path.slice(0, depth)); return node ? weighed(node).find((row) => row.word === word)?.p : undefined; }) : factors(path);
      const score = each.reduce((sum, p) => sum + Math.log(p), 0), all = each.map(precise), count = path.length;
      if (!count || Number.isNaN(score)) return "";
      const product = `${all.join(" × ")}${count > 1 ? ` = ${precise(Math.exp(score))}` : ""}.`;
      if (nucleus) return `Probability of the new words at temperature ${state.temperature.toFixed(1)}, before the cut: ${product}`;
      return `Probability of the new words: ${product} Its ln: ${score.toFixed(2)}${count > 1 ? `, divided by ${count} words: ${(score / count).toFixed(2)} (mean)` : ""}.`;
    }
    // A question for each method, with what is found by playing: { question, answer }.
    function tried() {
      const greedy = greedily(), found = searched(mostBeams), of = (one) => `'${text(one.path)}'`, means = (one) => `mean ${mean(one).toFixed(2)}`, likely = (one) => `probability ${precise(Math.exp(one.score))}, ${means(one)}`;
      const node = saved([]);
      if (!node) return null;
      if (state.method === "nucleus") {
        const [one, two, three] = distribution(node), both = one[1] + two[1], stop = Math.min(1, (Math.floor(both * 20 + 1e-9) + 1) / 20);
        return { question: `From which p on can ${quoted(three[0])} be the first word, at temperature 1? And with a higher temperature?`, answer: `From the slider's p = ${percent(stop)} on: ${quoted(one[0])} and ${quoted(two[0])} together have ${apart(both, stop)}, enough for any p up to that. A higher temperature makes the likeliest words less likely, so the same p keeps more words.` };
      }
      if (!greedy || !found) return null;
      const same = text(greedy.path) === text(found.path), wins = mean(found) > mean(greedy) + 1e-9;
      if (state.method === "hand") return { question: `Greedy would write ${of(greedy)}, ${means(greedy)}. Can you write a text with a better mean?`, answer: wins ? `Yes: beam search with ${mostBeams} beams finds ${of(found)}, ${means(found)}.` : `Beam search with ${mostBeams} beams finds none.` };
      if (state.method === "greedy") return { question: `Do the likeliest words make the likeliest text? Compare with beam search.`, answer: same ? `For this prompt beam search with ${mostBeams} beams finds the same text: ${likely(found)}.` : `Greedy: ${of(greedy)}, ${likely(greedy)}. Beam search with ${mostBeams} beams: ${of(found)}, ${likely(found)}. ${wins ? found.score > greedy.score ? "Greedy missed a text that is likelier as a whole and in the mean." : "The longer text has the better mean, the shorter one is likelier as a whole." : ""}` };
      const each = Array.from({ length: mostBeams }, (_, index) => searched(index + 1)), { finished, lost, kept } = found.last, whole = [...finished, ...lost, ...kept].sort((a, b) => b.score - a.score)[0];
      return { question: `From how many beams on is the best text another than greedy's? And if its log-probability were not divided by its words?`, answer: `${each.map((one, index) => `${index + 1}: ${one ? `${of(one)}, ${means(one)}` : "not known"}`).join("; ")}. Greedy: ${of(greedy)}. Not divided, of all texts that ${mostBeams} beams end with, ${of(whole)} would be the best: ${whole.score.toFixed(2)}. Each word more makes the sum smaller.` };
    }
    function verdict() {
      const greedy = state.method === "hand" && over(state.path) && greedily(), mine = scored(state.path) / state.path.length;
      if (!greedy) return null;
      return mine > mean(greedy) + 1e-9 ? html("span", { class: "good" }, ` Yes: yours has ${mine.toFixed(2)}, greedy's ${mean(greedy).toFixed(2)}.`) : html("span", { class: "message" }, text(state.path) === text(greedy.path) ? " That is greedy's text." : ` Not yet: yours has ${mine.toFixed(2)}, greedy's ${mean(greedy).toFixed(2)}.`);
    }
    // What the colours mean, of those in sight.
    function legend(all) {
      const nodes = all.flatMap((column) => column.nodes), has = (kind) => nodes.some((node) => node.kind === kind), beam = state.method === "beam" && state.steps.length > 1, method = state.method;
      const swatch = (style, said, struck) => html("span", { style: "display:inline-flex;gap:5px;align-items:center;white-space:nowrap" }, html("span", { style: `width:18px;height:12px;border-radius:3px;${style}` }), html("span", { style: struck ? "text-decoration:line-through" : "" }, said));
      const tint = (colour) => `background:color-mix(in srgb, var(--${colour}) 45%, transparent);border:1px solid var(--${colour})`;
      return [html("span", {}, beam ? "Box: a text up to this word. Number: its log-probability; bar: its share of the column's likeliest." : `Box: a next word. Bar and number: its probability after all words to its left${method === "nucleus" ? `, at temperature ${state.temperature.toFixed(1)}` : ""}.`),
        has("taken") && swatch(tint("orange"), { beam: "the best text", nucleus: "drawn" }[method] ?? "taken"), has("kept") && swatch(tint("blue"), beam ? "goes on" : method === "nucleus" ? "may be drawn" : method === "greedy" ? "the likeliest" : "a choice"),
        has("ended") && swatch(tint("green"), "ended, put aside"), has("cut") && swatch("border:1px solid var(--line)", method === "nucleus" ? "cut off" : "dropped", true),
        method === "hand" && nodes.some((node) => node.cursor) && swatch("border:2px solid var(--ink)", "what 'Take word' takes"), all.some((column) => column.preview) && swatch("background:color-mix(in srgb, var(--blue) 18%, transparent)", "pale: what would follow it"),
        nodes.some((node) => node.unsaved) && swatch("border:1px dashed var(--soft)", "kept, but can't be drawn here: not saved")].filter(Boolean);
    }

    let before = 0, posed = null;
    function draw() {
      const all = columns(), hand = state.method === "hand", beam = state.method === "beam", count = hand ? clamp(state.path.length + 2, all.length, DEPTH) : all.length; // room for what a pointer may show
      const gap = beam ? 24 : 18, path = way(all), isLit = (depth, index) => path.has(`${depth} ${index}`), least = clamp(Math.floor(width() / Math.max(4, count)), 104, 160);
      // Each column is as wide as its longest word and number need.
      const need = (column) => Math.max(...column.nodes.map((node) => long(name(node.word), 13) + long(node.show, 12) + 20), column.rest ? long(column.rest[0], 12) + long(column.rest[1], 12) + 20 : 0) + gap;
      const wished = Array.from({ length: count }, (_, depth) => (all[depth] ? clamp(Math.ceil(need(all[depth])), least, 240) : least)), most = Math.floor((width() - 2) / count), fits = most < 104 || wished.reduce((sum, one) => sum + one, 0) <= width(); // on a phone they scroll
      const wides = wished.map((one) => (fits ? one : Math.min(one, most))), lefts = wides.map((_, depth) => wides.slice(0, depth).reduce((sum, one) => sum + one, 0)), whole = lefts.at(-1) + wides.at(-1);
      const rows = Math.max(3, ...all.map((column) => column.nodes.length + (column.rest ? 1 : 0)));
      const x = (depth) => lefts[depth], y = (index) => TOP + index * ROW, room = (column) => wides[column.depth] - gap;
      const edge = (column, node, index) => column.depth > 0 && node.parent >= 0 && svg("path", { d: `M${x(column.depth) + 6 - gap} ${y(node.parent) + 11}C${x(column.depth) + 4} ${y(node.parent) + 11} ${x(column.depth) + 2 - gap} ${y(index) + 11} ${x(column.depth) + 6} ${y(index) + 11}`,
        fill: "none", stroke: isLit(column.depth, index) && node.beam ? "var(--ink)" : colours[node.kind], "stroke-width": clamp(8 * (node.edge ?? node.width), 1, 7), opacity: column.preview ? 0.35 : isLit(column.depth, index) ? 1 : node.kind === "cut" || (node.beam && path.size) ? 0.35 : 0.8 });
      const box = (column, node, index) => {
        const aimedAt = state.lit && state.lit.depth === column.depth && state.lit.index === index, framed = node.cursor || aimedAt || (node.beam && isLit(column.depth, index)), wide = room(column);
        return svg("g", { transform: `translate(${x(column.depth) + 6} ${y(index)})`, "data-path": node.path ? text(node.path) : null, "data-kind": node.kind, "data-node": `${column.depth} ${index}`, style: node.path ? "cursor:pointer" : "", opacity: column.preview ? 0.6 : null },
          svg("title", {}, name(node.word)),
          svg("rect", { y: (22 - ROW) / 2, width: wide, height: ROW, fill: "transparent" }),
          svg("rect", { width: wide, height: 22, rx: 5, fill: node.kind === "cut" ? "none" : colours[node.kind], "fill-opacity": 0.12 }),
          svg("rect", { class: "smooth", width: Math.max(2, wide * clamp(node.width, 0, 1)), height: 22, rx: 5, fill: colours[node.kind], opacity: 0.45 }),
          svg("rect", { width: wide, height: 22, rx: 5, fill: "none", stroke: framed ? "var(--ink)" : node.kind === "taken" ? "var(--orange)" : node.unsaved ? "var(--soft)" : "none", "stroke-width": framed || node.kind === "taken" ? 2 : 1, "stroke-dasharray": node.unsaved && !framed ? "2 3" : null }),
          svg("text", { x: 6, y: 16, class: node.kind === "cut" || node.cut ? "soft" : null, "text-decoration": node.kind === "cut" || node.cut ? "line-through" : null }, short(name(node.word), wide - 13 - long(node.show, 12))),
          svg("text", { class: "small", x: wide - 4, y: 16, "text-anchor": "end" }, node.show));
      };
      const cutoff = (column) => { const at = column.nodes.findIndex((node) => node.cut); return state.method === "nucleus" && at > 0 && svg("path", { d: `M${x(column.depth) + 2} ${y(at) - 2.5}h${room(column) + 8}`, stroke: "var(--ink)", "stroke-width": 1.5, "stroke-dasharray": "4 3" }); };
      const others = (column) => column.rest && svg("g", { class: "soft" }, [[column.rest[0], x(column.depth) + 12, "start"], [column.rest[1], x(column.depth) + 2 + room(column), "end"]].map(([said, at, anchor]) =>
        svg("text", { class: "soft small", "text-anchor": anchor, "text-decoration": anchor === "start" && column.kept <= column.shownKept ? "line-through" : null, x: at, y: y(column.nodes.length) + 14 }, said)));
      const aimed = beam && state.lit && all[state.lit.depth]?.nodes[state.lit.index]?.beam;
      const written = beam ? (aimed || bestBeam())?.path ?? [] : state.path, marks = Object.keys(MARKS).filter((mark) => all.some((column) => !column.preview && column.nodes.some((node) => node.word === mark)));
      const finished = beam || !over(state.path) ? "" : written.at(-1) === end ? "The text has ended." : `Stopped after ${DEPTH} words.`;
      const tail = all.findLast((column) => !column.preview);
      const summary = `${{ beam: beamsSay, nucleus: () => (tail ? nucleusSays(all) : ""), greedy: () => "Greedy takes the likeliest word, always, whatever the others could lead to.",
        hand: () => (finished ? "" : TOUCH ? "Tap a word to take it." : "Click a word to take it, or use the arrow keys.") }[state.method]()}${marks.length ? ` ${marks.map((mark) => `${mark}: ${MARKS[mark]}`).join("; ")}.` : ""}`.trim();
      board.replaceChildren(svg("svg", { width: whole, height: y(rows) + 2, style: "max-width:none", "aria-hidden": "true" },
        all.map((column) => svg("text", { class: "soft small", x: x(column.depth) + 12, y: 12 }, column.preview ? "would follow" : `word ${column.depth + 1}`)),
        all.map((column) => [column.nodes.map((node, index) => edge(column, node, index))]),
        all.map((column) => [column.nodes.map((node, index) => box(column, node, index)), others(column), cutoff(column)])));
      sentence.replaceChildren(html("span", { class: "soft" }, `${state.prompt} `), html("strong", {}, text(written.filter((word) => word !== end)) || (written.length ? "" : "…")), written.at(-1) === end ? html("strong", {}, ` ${end}`) : over(written) || !written.length ? "" : " …");
      const odds = chance(written) || `Nothing is written yet. The model chooses from ${vocabulary} words${hand && !ask ? "; here you can take those in the boxes" : ""}.`, reason = whySays(all);
      product.textContent = odds;
      why.textContent = reason || `${TOUCH ? "Tap a box" : "Point at a box, or use ↑ and ↓"}: ${hand ? "what does it say?" : "why does it stay, why is it dropped?"}`;
      why.classList.toggle("soft", !reason);
      keys.replaceChildren(...legend(all));
      if (count !== before || all.length > 3) { if (count !== before) board.scrollLeft = board.scrollWidth; before = count; }
      fade();
      sentences.replaceChildren(...(beam && state.steps.length > 1 ? beamsWritten() : []));
      about.replaceChildren(finished ? html("b", { style: "color:var(--ink)" }, `${finished} `) : "", summary);
      message.textContent = state.message;
      stepper.textContent = { hand: "Take word", nucleus: "Draw word" }[state.method] ?? "Step";
      stepper.disabled = ended();
      runner.disabled = ended() && state.method !== "nucleus";
      backer.disabled = beam ? state.steps.length < 2 : !state.path.length;
      const task = tried(), judged = verdict();
      const posing = JSON.stringify([state.method, task]);
      if (posing !== posed) { posed = posing; solution.open = false; solution.style.display = task ? "" : "none"; answer.textContent = task?.answer ?? ""; }
      question.replaceChildren(...(task ? [html("b", {}, "Try: "), task.question, judged ?? ""] : []));
      const shownWords = tail ? tail.nodes.map((node) => `${name(node.word)} ${node.show}${node.kind === "cut" ? " (dropped)" : node.kind === "ended" ? " (ended)" : ""}`).join(", ") : "none";
      const next = over(written) || (beam && state.steps.length > 1) ? "The last column" : "Next words";
      const described = `${reason} ${METHODS.find(([key]) => key === state.method)[1]}: '${state.prompt} ${text(written)}'. ${odds} ${next}: ${shownWords}. ${finished} ${summary} ${judged?.textContent ?? ""} ${state.message}`.trim();
      board.setAttribute("aria-label", `Tree of next words. Up and down: a word and why it stays or is dropped; right or Enter: a step; left: back. ${described}`);
      say(described);
    }

    const colours = { taken: "var(--orange)", kept: "var(--blue)", unsaved: "var(--line)", ended: "var(--green)", cut: "var(--line)" };
    const board = html("div", { class: "tree", tabindex: 0, role: "application", style: "min-height:9rem;overflow-x:auto" });
    const fade = fading(board);
    const sentences = html("div", { style: "margin:8px 0;max-width:46rem" });
    const sentence = html("p", { style: "font-size:16px" }), product = html("p", { class: "small soft", style: "min-height:1.45em" }), why = html("p", { "data-why": "", "aria-hidden": "true", style: "min-height:2.9em" });
    const keys = html("div", { class: "small soft", "data-legend": "", style: "display:flex;flex-wrap:wrap;gap:2px 14px;margin:6px 0" });
    const about = html("p", { class: "soft", "aria-hidden": "true" }), message = html("p", { class: "soft", role: "alert" });
    const question = html("p", { "data-question": "" }), answer = html("p"), solution = html("details", {}, html("summary", {}, "What one finds"), answer);
    const stepper = button("Step", async () => { await step(); draw(); }), runner = button("To the end", run), backer = button("Back", () => back());
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
    stage.append(sentence, product, html("div", { class: "controls", style: "gap:6px" }, stepper, runner, backer, button("Start again", restart)), board, keys, why, about, sentences, message, question, solution);
    const light = (lit) => { if (JSON.stringify(lit) !== JSON.stringify(state.lit)) { state.lit = lit; draw(); } };
    const placed = (one) => { const [depth, index] = one.node.split(" ").map(Number); return { depth, index }; };
    hovering(board, "node", (hit) => light(hit && placed(hit)));
    const choose = async (path) => { if (state.method === "beam") return; await walk(path); draw(); };
    board.addEventListener("click", (event) => { // where words aren't taken, a tap asks why
      const taken = event.target.closest("[data-path]"), hit = event.target.closest("[data-node]");
      if (taken) choose(taken.dataset.path.split(" "));
      else if (hit) light(placed(hit.dataset));
    });
    function back() {
      if (state.method !== "beam") return choose(state.path.slice(0, -1));
      if (state.steps.length > 1) state.steps.pop();
      Object.assign(state, { done: null, lit: null });
      draw();
    }
    // One word up or down: from the last column's, on through the columns before it.
    function look(all, dy) {
      const places = all.flatMap((column, depth) => column.nodes.map((_, index) => ({ depth, index }))), at = places.findIndex((one) => JSON.stringify(one) === JSON.stringify(state.lit));
      light(places[at < 0 ? places.findIndex((one) => one.depth === all.length - 1) : clamp(at + dy, 0, places.length - 1)]);
    }
    arrows(board, (dx, dy) => {
      const all = columns(), last = all.findLast((column) => !column.preview), hand = state.method === "hand";
      if (dx < 0) return back();
      if (dx > 0) return hand && last?.last ? choose(last.nodes[state.cursor].path) : step().then(draw);
      if (!hand || over(state.path)) return look(all, dy);
      Object.assign(state, { cursor: clamp(state.cursor + dy, 0, (last?.nodes.length ?? 1) - 1), lit: null });
      draw();
    }, () => step().then(draw));
    state.steps = first();
    begin();
    redraw(draw);
  },
};
