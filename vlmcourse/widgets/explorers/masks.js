// Masks: hover a row, change a hidden value, find the cell that lies. Each rule compares integers of a query and of a key.

const IMAGE = "<image>", PAD = "<pad>", DOCUMENT = "|", MOST_WORDS = 14, SIZE = 8;
const range = (count) => Array.from({ length: count }, (_, index) => index);
const running = (flags) => { let sum = 0; return flags.map((flag) => (sum += flag ? 1 : 0)); };

// A pattern: words, number -> { queries, keys: names; level and group: [of queries, of keys], integers }, or { real: of keys }.
const text = (rule) => (words, number) => ({ queries: words, keys: words, ...rule(words, number) });
const both = (values) => [values, values];
const joined = (rule) => (words, number) => {
  const names = [...range(number).map((index) => `q${index + 1}`), ...words];
  return { queries: names, keys: names, ...rule(number, words.length) };
};
const prefixed = (prefix, length) => both(range(length).map((index) => Math.max(0, index - prefix + 1)));
const flamingo = (kind) => (words, number) => {
  const phi = running(words.map((word) => word === IMAGE)), pictures = phi.at(-1);
  if (!pictures) throw new Error(`There is no ${IMAGE} in the text, so there is nothing to attend to. Press the button ${IMAGE}.`);
  const image = range(pictures * number).map((index) => 1 + Math.floor(index / number));
  return { queries: words, keys: image.map((which, index) => `image ${which}.${1 + (index % number)}`), [kind]: [phi, image] };
};
const PATTERNS = {
  "CLIP text, BLIP decoder, every LM: causal": text((words) => ({ level: both(range(words.length)) })),
  "prefix LM": text((words, number) => ({ level: prefixed(Math.min(number, words.length), words.length) })),
  "BLIP-2 ITM: bi-directional": joined((queries, length) => ({ level: both(range(queries + length).fill(0)) })),
  "BLIP-2 ITC: uni-modal": joined((queries, length) => ({ group: both([...range(queries).fill(0), ...range(length).fill(1)]) })),
  "BLIP-2 ITG: multimodal causal": joined((queries, length) => ({ level: prefixed(queries, queries + length) })),
  "Flamingo: last image only": flamingo("group"),
  "Flamingo, ablation: all images so far": flamingo("level"),
  "packed documents": text((words) => ({ group: both(running(words.map((word) => word === DOCUMENT))), level: both(range(words.length)) })),
  "ViLBERT, VL-BERT: padding only": text((words) => ({ real: words.map((word) => word !== PAD) })),
};
// What a mask is about: without it in the text, nothing would be seen of it.
const NEEDS = { "packed documents": DOCUMENT, "ViLBERT, VL-BERT: padding only": PAD };
function fitting(name, written) {
  const words = written.split(/\s+/).filter(Boolean), needed = NEEDS[name];
  if (!needed || words.includes(needed) || !words.length || words.length >= MOST_WORDS) return written;
  if (needed === PAD) return [...words, PAD, PAD].slice(0, MOST_WORDS).join(" ");
  const half = Math.ceil(words.length / 2);
  return [...words.slice(0, half), DOCUMENT, ...words.slice(half)].join(" ");
}
const numbered = (name) => (name === "prefix LM" ? "prefix" : name.startsWith("BLIP-2") ? "queries" : name.startsWith("Flamingo") ? "latents" : null);

function pattern(name, written, number) {
  const words = written.replaceAll(IMAGE, ` ${IMAGE} `).split(/\s+/).filter(Boolean);
  if (words.length < 1 || words.length > MOST_WORDS)
    throw new Error(`${words.length} words: write 1 to ${MOST_WORDS}, so that rows and columns can be read.`);
  const made = PATTERNS[name](words, number), { level, group, real } = made;
  made.table = made.queries.map((_, q) => made.keys.map((_, k) =>
    (!level || level[1][k] <= level[0][q]) && (!group || group[1][k] === group[0][q]) && (!real || real[k])));
  return made;
}

// Vectors that are always the same, and attention over them: what the cells decide is computed, not drawn.
function vectors(count, seed) {
  let state = seed;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  return range(count).map(() => range(SIZE).map(() => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform())));
}

function outputs(table, changed = -1) {
  const queries = vectors(table.length, 1);
  const [keys, values] = [2, 3].map((seed) => vectors(table[0].length, seed).map((row, at) => row.map((one) => one + (at === changed))));
  return table.map((allowed, q) => {
    const weights = allowed.map((may, k) => (may ? Math.exp(queries[q].reduce((sum, one, d) => sum + one * keys[k][d], 0) / Math.sqrt(SIZE)) : 0));
    const total = weights.reduce((sum, one) => sum + one, 0) || 1;
    return range(SIZE).map((d) => weights.reduce((sum, weight, k) => sum + (weight * values[k][d]) / total, 0));
  });
}

function moves(table, key) {
  const before = outputs(table), after = outputs(table, key);
  return before.map((row, q) => Math.hypot(...row.map((one, d) => after[q][d] - one)));
}

const broken = (table, [query, key]) => table.map((row, q) => row.map((may, k) => (q === query && k === key ? !may : may)));

function blocks(table, size) {
  const count = (length) => range(Math.ceil(length / size));
  return count(table.length).map((r) => count(table[0].length).map((c) => {
    const cells = table.slice(r * size, (r + 1) * size).flatMap((row) => row.slice(c * size, (c + 1) * size));
    return cells.every(Boolean) && cells.length === size * size ? "all" : cells.some(Boolean) ? "rule" : "skip";
  }));
}

export default {
  render({ model, el }) {
    const { controls, stage, say, width, redraw } = frame(el, "masks", "Mask explorer");
    const state = { ...model.get("data"), query: 3, key: 0, changed: null, hover: null, block: null, size: 2, lie: null, guessing: false, wrong: [], found: false, tried: [], written: false };
    let shown, problem = "";
    const cursor = html("div", { class: "grid", tabindex: 0, role: "application", style: "display:inline-block" });
    const block = html("div", {}), main = html("div", {}), beside = html("div", { class: "columns" }, main, block), legend = html("p", { class: "small soft" }), said = html("p", { "aria-hidden": "true" }), game = html("div", { class: "controls" }), note = html("p", { role: "alert" });
    const number = slider("number", { min: 1, max: 4, value: state.number }, (value) => { state.number = value; renew(); });
    const typed = field("text", state.text, (value) => { Object.assign(state, { text: value, written: true }); renew(); }, { style: "width:min(26rem, 80vw)" });
    const insert = (word) => button(word, () => { state.written = true; typed.input.value = state.text = `${state.text.trim()} ${word} `.trimStart(); typed.input.focus(); renew(); }, { "aria-label": `add ${word}` });
    controls.append(choice("mask", Object.keys(PATTERNS).map((name) => [name, name]), state.name, (name) => { Object.assign(state, { name, text: fitting(name, state.written ? state.text : model.get("data").text) }); if (name.startsWith("Flamingo")) state.query = MOST_WORDS; typed.input.value = state.text; renew(); }),
      typed, html("span", { class: "control" }, insert(IMAGE), insert(DOCUMENT), insert(PAD)), number,
      buttons("block size", [[2, "2"], [4, "4"]], state.size, (value) => { state.size = +value; state.block = null; draw(); }));
    main.append(cursor);
    const below = html("div", {}, said, game);
    beside.append(below);
    stage.append(note, html("p", {}, "Point at a row: which keys does it attend to? A click doesn't switch a cell; it changes what the key of its column (the word on top) holds: which outputs move? A second click undoes it."), legend, beside);

    const restart = () => Object.assign(state, { changed: null, wrong: [], found: false, guessing: false, tried: [], lie: null, again: false });
    // In the middle of a game another mask or text hides a new lie.
    function renew() {
      const playing = state.lie && state.found === false;
      restart();
      if (playing) {
        try { lie(pattern(state.name, state.text, state.number).table); state.again = true; } catch { /* draw says what is wrong */ }
      }
      draw();
    }
    function lie(table) {
      const cells = table.flatMap((row, q) => row.map((may, k) => [q, k, may])), closed = cells.filter(([, , may]) => !may);
      const among = closed.length ? closed : cells;
      state.lie = among[Math.floor(Math.random() * among.length)].slice(0, 2);
    }
    function hide() {
      restart();
      lie(shown.table);
      draw();
    }
    function press(query, key) {
      Object.assign(state, { query, key });
      if (!state.guessing) {
        state.changed = state.changed === key ? null : key;
        if (state.lie && !state.found && state.changed !== null) state.tried.push(key);
      } else if (query === state.lie[0] && key === state.lie[1]) Object.assign(state, { found: true, guessing: false, changed: key }); // its bar shows the proof
      else state.wrong.push(`${query},${key}`);
      draw();
    }

    function play() {
      const before = document.activeElement?.dataset?.act;
      const act = (name, what, attributes = {}) => button(name, what, { "data-act": name, ...attributes });
      const tools = [act("Hide a lie in the computation", hide)];
      let words = html("span", { class: "soft" }, "One cell will be computed wrongly; the drawing stays honest. Find it.");
      if (state.lie && !state.found) {
        tools.splice(0, 1, act("Change a key", () => { state.guessing = false; draw(); }, { "aria-pressed": String(!state.guessing) }),
          act("Accuse a cell", () => { state.guessing = true; draw(); }, { "aria-pressed": String(state.guessing) }), act("Give up", () => { Object.assign(state, { found: null, changed: state.lie[1] }); draw(); }));
        words = html("span", {}, state.again ? "The mask has changed, and a new lie is hidden in it. " : "", state.guessing ? "Click the cell that lies." : "Click columns to change their keys. Does an output move that must not, or stay still that must move?",
          state.wrong.length ? html("span", { class: "message" }, ` Not that one (${state.wrong.length} wrong): ${state.tried.includes(+state.wrong.at(-1).split(",")[1]) ? "with this key changed, its output did as the drawing says." : "you never changed this key."}`) : "");
        if (state.found === null) { tools.length = 0; tools.push(act("Hide another lie", hide)); words = told("Given up."); }
      } else if (state.found) {
        tools[0].textContent = "Hide another lie";
        const keys = `${state.tried.length} changed ${state.tried.length === 1 ? "key" : "keys"}`, wrong = state.wrong.length ? ` and ${state.wrong.length} wrong ${state.wrong.length === 1 ? "guess" : "guesses"}` : "";
        words = state.tried.length ? told(`Found after ${keys}${wrong}:`, "good")
          : told(`A lucky guess${wrong ? ` after ${state.wrong.length} wrong` : ""}: no key was changed.`);
      }
      game.replaceChildren(...tools, words);
      [...game.querySelectorAll("button")].find((one) => one.dataset.act === before)?.focus();
    }
    function told(start, kind = "") {
      const [query, key] = state.lie, may = shown.table[query][key];
      return html("span", { class: kind }, `${start} The lie: ${shown.queries[query]} (row ${query + 1}) ${may ? "doesn't" : "does"} attend to ${shown.keys[key]} (column ${key + 1}); the mask ${may ? "allows" : "forbids"} it.`);
    }

    function words(query, key) {
      const { level, group, real, queries, keys, table } = shown, seen = keys.filter((_, k) => table[query][k]);
      const rule = [level && `level ≤ ${level[0][query]}`, group && `group = ${group[0][query]}`, real && "a word that isn't padding"].filter(Boolean).join(" and ");
      const moved = state.changed === null ? "" : ` The key '${keys[state.changed]}' is changed; these outputs move (orange: distance from old to new output): ${queries.filter((_, q) => moves(computed(), state.changed)[q] > 1e-9).join(", ") || "none"}.`;
      const own = [level && `level ${level[0][query]}`, group && `group ${group[0][query]}`].filter(Boolean).join(" and ");
      return `'${queries[query]}'${own ? ` has ${own} and` : ""} may attend to keys with ${rule}: ${seen.join(", ") || "none"}.${moved}`;
    }
    const computed = () => (state.lie ? broken(shown.table, state.lie) : shown.table);

    function draw() {
      number.style.display = numbered(state.name) ? "" : "none";
      number.firstChild.textContent = numbered(state.name) || "number";
      try { shown = pattern(state.name, state.text, state.number); problem = ""; } catch (error) { problem = error.message; }
      note.textContent = problem; note.className = problem ? "message" : "";
      beside.style.cssText = problem ? "opacity:.35;pointer-events:none" : "";
      if (problem) { said.textContent = ""; say(problem); }
      if (problem || !shown) return;
      const { queries, keys, table, level, group, real } = shown;
      Object.assign(state, { query: clamp(state.query, 0, queries.length - 1), key: clamp(state.key, 0, keys.length - 1) });
      if (state.changed >= keys.length) state.changed = null;
      if (state.hover && !(state.hover.query < queries.length && (state.hover.key ?? 0) < keys.length)) state.hover = null; // the pointer rests where a longer text was
      const query = state.hover?.query ?? state.query, key = state.hover?.key ?? state.key;
      const of = (which, at) => [level && level[which][at], group && group[which][at]].filter((one) => one != null).join("·");
      const wide = width() > 620, left = 108, top = 92, space = (wide ? width() - 230 : width()) - left - 100, cell = clamp(space / keys.length, 13, 34), right = left + keys.length * cell;
      const shift = state.changed === null ? null : moves(computed(), state.changed), most = shift && Math.max(...keys.flatMap((_, k) => moves(computed(), k)), 1e-9); // one scale for all keys
      below.style.cssText = `flex-basis:100%;order:${wide ? 2 : 1}`; said.style.minHeight = wide ? "4.4em" : "7.3em"; main.style.cssText = wide ? "flex:1;min-width:0" : ""; block.style.cssText = wide ? "flex:none;width:200px;order:1" : "order:2";
      const plain = [IMAGE, DOCUMENT, PAD].filter((word) => queries.includes(word) && word !== NEEDS[state.name] && !(word === IMAGE && state.name.startsWith("Flamingo")));
      legend.textContent = [level && "Level: a query may attend to a key whose level is not above its own.", group && "Group: a query may attend only to keys of its own group.", real && "A query may attend to every word that isn't padding."].filter(Boolean).join(" ")
        + (plain.length ? ` For this mask ${plain.join(" and ")} ${plain.length > 1 ? "are words" : "is a word"} like any other.` : "");
      const short = (word, most = 9) => (word.length > most ? `${word.slice(0, most - 1)}…` : word);
      const header = (word, k) => svg("g", { "data-column": k, style: "cursor:pointer", transform: `translate(${left + (k + 0.5) * cell} ${top - 22})` },
        svg("text", { transform: "rotate(-50)", "font-weight": table[query][k] || k === state.changed ? 700 : 400, fill: "var(--ink)", opacity: table[query][k] || k === state.changed ? 1 : 0.62 },
          `${k === state.changed || k === state.hover?.key ? "✎ " : ""}${short(word)}`),
        svg("text", { class: "soft small", "text-anchor": "middle", y: 17 }, of(1, k)));
      const square = (q, k) => {
        const may = table[q][k], x = left + k * cell, y = top + q * cell;
        return svg("g", { "data-query": q, "data-at": k, "data-may": may ? 1 : 0, style: "cursor:pointer" },
          svg("rect", { x: x + 1, y: y + 1, width: cell - 2, height: cell - 2, rx: 3, fill: may ? "var(--blue)" : "var(--pale)", opacity: q === query || !may ? 1 : 0.55 }),
          q === query && may && cell > 16 && svg("circle", { cx: x + cell / 2, cy: y + cell / 2, r: cell / 7, fill: "var(--sky)" }),
          state.wrong.includes(`${q},${k}`) && svg("path", { d: `M${x + 5} ${y + 5}l${cell - 10} ${cell - 10}m0 ${10 - cell}l${10 - cell} ${cell - 10}`, stroke: "var(--red)", "stroke-width": 3 }));
      };
      const line = (name, q) => svg("g", { "data-query": q, "data-moved": shift ? shift[q] : "" },
        svg("rect", { x: 0, y: top + q * cell, width: right + 90, height: cell, fill: "transparent" }),
        svg("text", { x: left - (level && group ? 36 : 24), y: top + (q + 0.5) * cell + 4, "text-anchor": "end", "font-weight": q === query ? 700 : 400 }, short(name, level && group ? 7 : 9)),
        svg("text", { class: "soft small", x: left - 6, y: top + (q + 0.5) * cell + 4, "text-anchor": "end" }, of(0, q)),
        keys.map((_, k) => square(q, k)),
        shift && svg("rect", { class: "smooth", x: right + 10, y: top + q * cell + cell / 4, width: Math.max(shift[q] > 1e-9 ? 3 : 0, (48 * shift[q]) / most), height: cell / 2, fill: "var(--orange)" }),
        shift && svg("text", { class: "soft small", x: right + 14 + (shift[q] > 1e-9 ? Math.max(3, (48 * shift[q]) / most) : 0), y: top + (q + 0.5) * cell + 4 }, shift[q] > 1e-9 ? shift[q].toFixed(2) : "0"));
      const size = state.size, outlined = state.block && state.block.split(",").map(Number);
      cursor.replaceChildren(svg("svg", { width: right + 96, height: top + queries.length * cell + 6, "aria-hidden": "true" },
        keys.map(header), svg("text", { class: "soft small", x: right + 10, y: top - 6 }, shift ? "moved by" : ""),
        svg("text", { class: "soft small", x: 0, y: top - 6 }, level && group ? "level·group" : level ? "level" : group ? "group" : ""), queries.map(line),
        svg("rect", { x: left, y: top + query * cell, width: keys.length * cell, height: cell, rx: 4, fill: "none", stroke: "var(--ink)", "stroke-width": 2, "pointer-events": "none" }),
        svg("rect", { x: left + key * cell, y: top + query * cell, width: cell, height: cell, rx: 4, fill: "none", stroke: "var(--orange)", "stroke-width": 3, "pointer-events": "none" }),
        state.changed !== null && svg("rect", { x: left + state.changed * cell, y: top, width: cell, height: queries.length * cell, rx: 4, fill: "none", stroke: "var(--orange)", "stroke-width": 2, "stroke-dasharray": "5 3", "pointer-events": "none" }),
        state.lie && state.found !== false && svg("rect", { x: left + state.lie[1] * cell - 3, y: top + state.lie[0] * cell - 3, width: cell + 6, height: cell + 6, rx: 6, fill: "none", stroke: "var(--red)", "stroke-width": 4, "pointer-events": "none" }),
        outlined && svg("rect", { x: left + outlined[1] * size * cell, y: top + outlined[0] * size * cell, width: cell * Math.min(size, keys.length - outlined[1] * size), height: cell * Math.min(size, queries.length - outlined[0] * size), fill: "none", stroke: "var(--red)", "stroke-width": 3, "pointer-events": "none" })));
      const kinds = blocks(table, size), side = clamp(200 / kinds[0].length, 26, 44), name = { all: "full", rule: "rule", skip: "skip" };
      const counts = (kind) => kinds.flat().filter((one) => one === kind).length;
      const block_words = `In blocks of ${size} by ${size}: ${counts("skip")} skipped, ${counts("rule")} computed with the rule, ${counts("all")} in full.`;
      block.replaceChildren(html("p", {}, html("strong", {}, "In FlexAttention's blocks")),
        svg("svg", { width: kinds[0].length * side + 2, height: kinds.length * side + 4, role: "img", "aria-label": block_words }, kinds.map((row, r) => row.map((kind, c) =>
          svg("g", { "data-block": `${r},${c}`, "data-here": r === Math.floor(query / size) && c === Math.floor(key / size), transform: `translate(${c * side} ${r * side})` },
            svg("rect", { x: 1, y: 1, width: side - 3, height: side - 3, rx: 4, fill: { all: "var(--blue)", rule: "var(--sky)", skip: "var(--pale)" }[kind], stroke: "var(--line)" }),
            r === Math.floor(query / size) && c === Math.floor(key / size) && svg("rect", { x: 1, y: 1, width: side - 3, height: side - 3, rx: 4, fill: "none", stroke: "var(--orange)", "stroke-width": 3 }),
            svg("text", { class: "small", x: side / 2, y: side / 2 + 4, "text-anchor": "middle", style: kind === "all" ? "fill:var(--onblue)" : "" }, name[kind]))))),
        html("p", { class: "small soft" }, `${block_words} Skip: no cell is allowed. Full: all are, so the mask isn't asked. Rule: asked cell by cell, also where a block hangs over the edge.`));
      const sentence = words(query, key);
      said.textContent = sentence;
      cursor.setAttribute("aria-label", `Mask ${state.name}, ${queries.length} queries by ${keys.length} keys; arrow keys move, Enter changes a key. Query '${queries[query]}', key '${keys[key]}': ${table[query][key] ? "may attend" : "may not attend"}. ${words(query, key)}`);
      say(sentence);
      play();
    }

    hovering(cursor, "query", (hit) => {
      const next = hit && { query: +hit.query, key: hit.at === undefined ? undefined : +hit.at };
      if (next?.query !== state.hover?.query || next?.key !== state.hover?.key) { state.hover = next; draw(); }
    });
    cursor.addEventListener("click", (event) => {
      const hit = event.target.closest("[data-at]");
      const head = event.target.closest("[data-column]");
      if (hit) press(+hit.dataset.query, +hit.dataset.at);
      else if (head && !state.guessing) press(state.query, +head.dataset.column);
    });
    arrows(cursor, (dx, dy) => { Object.assign(state, { key: state.key + dx, query: state.query + dy, hover: null }); draw(); }, () => press(state.query, state.key));
    hovering(block, "block", (hit) => { if ((hit?.block ?? null) !== state.block) { state.block = hit?.block ?? null; draw(); } });
    redraw(draw);
  },
};
