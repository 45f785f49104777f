// Few shots: drag pictures into a prompt, name them, and see which picture each word attends to and what the pictures contribute.

const IMAGE = "<image>", END_OF_CHUNK = "<EOC>";
const SURE = 0.65; // below it a name is hardly preferred
const COLOURS = ["var(--blue)", "var(--red)", "var(--green)", "var(--pink)"], ASKED = "var(--soft)";

export default {
  render({ model, el }) {
    const { pictures, names, known, examples: [savedCount, most], answers } = model.get("data"), ask = kernel(model);
    const { root, controls, stage, say, width, redraw } = frame(el, "few_shot", "Few-shot builder");
    const count = ask ? most : savedCount, named = Object.fromEntries(known), tray = [...pictures];
    const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
    const saved = answers.map(({ given, blind }) => ({ given: bytes(given), blind: bytes(blind) }));
    // The places of a prompt: examples, of which some may be empty, and last the one that is asked about.
    const begin = () => [...Array.from({ length: count }, (_, index) => ({ picture: [0, 2][index] ?? null, name: names[index % 2] })), { picture: 1 }];
    const state = { places: begin(), target: count, word: null, found: null, waiting: false, message: "" };
    const query = () => state.places[count], used = () => state.places.filter((place, index) => index < count && place.picture !== null);
    const among = () => (used().every(({ name }) => names.includes(name)) ? names : [...new Set([...used().map(({ name }) => name), ...names])]);

    // The prompt as the model reads it: [word, phi], where phi is the number of images up to and including the word.
    function written() {
      const words = [];
      used().forEach(({ name }, index) => {
        const text = `${index ? `${END_OF_CHUNK} ` : ""}${IMAGE} . this is ${named[name]} .`;
        for (const word of text.split(" ")) words.push([word, index + (word === END_OF_CHUNK ? 0 : 1)]);
      });
      const last = used().length;
      if (last) words.push([END_OF_CHUNK, last]);
      return [...words, ...[IMAGE, ".", "this", "is", "a"].map((word) => [word, last + 1])];
    }

    // [with, without] the pictures of the examples `shown`: the probability of each name; null where it isn't saved.
    function looked(shown = used(), asked = query().picture) {
      const all = [...shown, { picture: asked }], short = saved[shown.length];
      if (!short || all.some(({ picture }) => picture >= pictures.length) || among() !== names) return null;
      const name = (one) => names.indexOf(one.name), total = pictures.length;
      const given = shown.reduce((sum, one) => 2 * (sum * total + one.picture) + name(one), 0) * total + asked;
      const blind = shown.reduce((sum, one) => 2 * sum + name(one), 0) * total + asked;
      return [short.given[given], short.blind[blind]].map((byte) => ({ [names[0]]: byte / 255, [names[1]]: 1 - byte / 255 }));
    }
    let latest = 0;
    async function changed(changes = {}) {
      Object.assign(state, { word: null, message: "", ...changes });
      const number = (latest += 1), at = looked();
      Object.assign(state, { found: at ?? state.found, waiting: !at });
      draw();
      if (at) return;
      try {
        const from = ({ picture }) => [tray[picture].word, tray[picture].number];
        const found = await ask({ examples: used().map((one) => [...from(one), one.name]), query: from(query()), names: among() });
        if (number === latest) Object.assign(state, { found, waiting: false });
      } catch (error) { if (number === latest) Object.assign(state, { message: error.message }); }
      if (number === latest) draw();
    }

    // A picture goes to a place; one that comes from another place exchanges with what is there. The frame goes on to the next
    // empty place once its own is filled, and stays at a place that had a picture.
    function put(place, picture, from = null) {
      const before = state.places[place].picture;
      if (from !== null && from !== place) state.places[from].picture = from === count ? before ?? picture : before;
      state.places[place].picture = picture;
      const empty = state.places.findIndex((one) => one.picture === null);
      changed({ target: place === state.target && before === null && empty >= 0 ? empty : state.target });
    }
    function take(place) {
      if (place === count) return;
      state.places[place].picture = null;
      changed({ target: place });
    }
    const placeAt = ({ clientX, clientY }) => document.elementFromPoint(clientX, clientY)?.closest("[data-place]");
    let carried = false;
    function carry(event, picture, from = null) {
      carried = false;
      const start = [event.clientX, event.clientY];
      let ghost = null;
      const move = (one) => {
        if (!ghost && Math.hypot(one.clientX - start[0], one.clientY - start[1]) < 6) return;
        const box = root.getBoundingClientRect();
        if (!ghost) {
          carried = true;
          ghost = html("img", { src: tray[picture].address, width: 72, height: 72, alt: "", style: "position:absolute;pointer-events:none;z-index:6;opacity:.85;box-shadow:0 3px 12px #0006" });
          root.append(ghost);
        }
        ghost.style.left = `${one.clientX - box.left - 36}px`;
        ghost.style.top = `${one.clientY - box.top - 36}px`;
        const over = placeAt(one);
        for (const place of root.querySelectorAll("[data-place]")) place.style.boxShadow = place === over ? "0 0 0 5px var(--orange)" : "";
      };
      const end = (one) => {
        for (const [kind, act] of [["pointermove", move], ["pointerup", end], ["pointercancel", end]]) removeEventListener(kind, act);
        ghost?.remove();
        if (!ghost || one.type === "pointercancel") return carried && draw();
        const over = placeAt(one);
        if (over) put(+over.dataset.place, picture, from);
        else if (from !== null && event.pointerType === "mouse") take(from); // a finger may only have meant to scroll
        draw();
      };
      for (const [kind, act] of [["pointermove", move], ["pointerup", end], ["pointercancel", end]]) addEventListener(kind, act);
    }
    const grip = (picture, from) => ({ onpointerdown: (event) => { if (event.button === 0) carry(event, picture, from); }, ondragstart: (event) => event.preventDefault() });
    const clicked = (act) => () => { if (!carried) act(); carried = false; };
    const image = (picture, size) => html("img", { src: tray[picture].address, width: size, height: size, alt: "", draggable: "false" });

    function card(place, index, size) {
      const { picture, name } = place, last = index === count, colour = last ? ASKED : COLOURS[index];
      const lit = state.word === null || (picture !== null && (last ? used().length : used().indexOf(place)) + 1 === written()[state.word][1]);
      const what = picture === null ? "empty" : tray[picture].seen, title = last ? "asked" : `example ${index + 1}`;
      const here = state.target === index;
      return html("div", { style: `width:${size + 12}px` },
        html("div", { class: "small soft", style: "display:flex;justify-content:space-between;min-height:30px;align-items:center" }, title,
          !last && picture !== null && button("×", () => take(index), { "aria-label": `take example ${index + 1} away`, "data-key": `take-${index}`, style: "padding:0 7px;min-height:24px" })),
        html("button", { type: "button", "data-place": index, "data-key": `place-${index}`, "aria-label": `${title}: ${what}${here ? ", chosen: the next picture goes here" : ""}`, "aria-pressed": String(here),
          ...(picture === null ? {} : grip(picture, index)), onclick: clicked(() => changed({ target: index })),
          onkeydown: (event) => { if (["Delete", "Backspace"].includes(event.key)) { take(index); event.preventDefault(); } },
          style: `padding:2px;width:${size + 12}px;height:${size + 12}px;touch-action:pan-y;background:transparent;color:var(--soft);border:${picture === null ? "2px solid var(--line)" : `4px solid ${colour}`};${here ? "outline:3px dashed var(--ink);outline-offset:3px;" : ""}opacity:${lit ? 1 : 0.3}` },
          picture === null ? html("span", { class: "small" }, here ? "drop a picture" : "empty") : image(picture, size)),
        last ? html("p", { style: "text-align:center" }, "this is a ", html("strong", {}, "?"))
          : html("label", { style: "display:flex;gap:5px;align-items:center;margin-top:4px;font-weight:normal" }, html("span", { class: "soft" }, "is a"),
            html("select", { "aria-label": `name in example ${index + 1}`, "data-key": `name-${index}`, disabled: picture === null, style: `flex:1;min-width:0;padding:2px;opacity:${picture === null ? 0.4 : 1}`, onchange: (event) => { place.name = event.target.value; changed(); } },
              (ask ? known.map(([one]) => one) : names).map((one) => html("option", { value: one, selected: one === name }, one)))));
    }

    // What is odd about a prompt, and what grey does once the names are exchanged.
    function remarks(listed, said, grey) {
      const shown = used(), all = shown.map(({ name }) => name), thing = tray[query().picture].word, unused = listed.filter((name) => !all.includes(name)), found = [], strange = shown.every(({ picture }) => tray[picture].word !== thing);
      if (!shown.length) return found;
      if (unused.length) found.push(`No example has the name ${unused.join(" or ")}${new Set(all).size > 1 || grey !== all[0] ? "." : state.found[1][grey] < SURE ? ", and grey is near chance." : `, and grey repeats the only one that occurs${strange ? "." : ": ask about another thing to see whether the picture counts."}`}`);
      if (strange) found.push(`No example shows the asked thing (${thing}), so nothing in the prompt says its name. Ask with another picture of it: is it ${said} again?`);
      if (shown.length === 1 && all[0] === said && state.found[0][said] > 0.5 && names.includes(said)) {
        const strangers = tray.map((one, picture) => ({ one, picture })).filter(({ one, picture }) => one.word !== tray[shown[0].picture].word && picture < pictures.length), called = strangers.filter(({ picture }) => looked(shown, picture)?.[0][said] > 0.5);
        if (called.length) found.push(`One example doesn't suffice: ${called.length === strangers.length ? "all" : `${called.length} of`} ${strangers.length} pictures of a ${[...new Set(strangers.map(({ one }) => one.word))].join(" or a ")}${called.some(({ picture }) => picture === query().picture) ? " (the asked one among them)" : ""} are called ${said}, too.`);
      }
      const same = shown.length > 1 && new Set(shown.map(({ picture }) => tray[picture].word)).size === 1 && new Set(all).size > 1;
      if (same) {
        const turned = looked(shown.map((one, index) => ({ ...one, name: all[(index + 1) % all.length] })))?.[0], again = turned && names.reduce((one, next) => (turned[next] > turned[one] ? next : one));
        found.push(`The examples contradict each other: ${tray[shown[0].picture].word} has two names.${again ? (again === said ? ` ${said} wins in both orders (${percent(state.found[0][said])}, exchanged ${percent(turned[again])}).` : ` With the names exchanged it says ${again}.`) : ""}`);
      }
      const other = !same && new Set(all).size > 1 && looked(shown.map((one, index) => ({ ...one, name: all[(index + 1) % all.length] })))?.[1];
      if (other && state.found) {
        const [before, after] = [state.found[1], other].map((row) => names.reduce((one, next) => (row[next] > row[one] ? next : one)));
        found.push(before === after ? `Without the pictures it leans to ${before} (${percent(state.found[1][before])}), also after exchanging the names (${percent(other[before])}). That's a habit of words.`
          : `Without the pictures it leans to ${before}; after exchanging the names, to ${after}: it goes by their order.`);
      }
      return found;
    }
    // Beside the prompt what it answers, where there is room.
    const cardWidth = () => clamp(Math.floor((width() - 14 * count - 12) / (count + 1)) - 14, 66, 96), promptWidth = () => (count + 1) * (cardWidth() + 12) + 14 * count + 16, beside = () => width() - promptWidth() >= 320;

    function draw() {
      const key = root.contains(document.activeElement) ? document.activeElement.dataset.key : null;
      const size = cardWidth(), words = written(), at = state.word;
      shelf.replaceChildren(...tray.map(({ seen }, index) => html("button", { type: "button", "data-picture": index, "data-key": `picture-${index}`, "aria-label": seen, title: seen,
        ...grip(index), onclick: clicked(() => put(state.target, index)), style: "padding:2px;touch-action:none;cursor:grab" }, image(index, 48))));
      prompt.replaceChildren(...state.places.map((place, index) => card(place, index, size)));
      ribbon.replaceChildren(...words.map(([word, phi], index) => html("span", { "data-word": index, "data-phi": phi, style: `display:inline-block;white-space:nowrap;cursor:pointer;padding:1px 4px;border-radius:4px;border-bottom:4px solid ${phi > used().length ? ASKED : COLOURS[state.places.indexOf(used()[phi - 1])]};${index === at ? "background:var(--sky);" : ""}` },
        word, html("sub", { class: "soft", style: "font-size:11px" }, phi))), html("span", { style: "padding:1px 4px" }, "…"));
      const reads = at === null ? "The small number (phi) counts the images so far, an <image> itself included. A word attends to the last of them only. Point at a word."
        : `'${words[at][0]}': phi = ${words[at][1]}, so by cross-attention it attends to picture ${words[at][1]} of the prompt (${words[at][1] > used().length ? "the asked one" : `example ${state.places.indexOf(used()[words[at][1] - 1]) + 1}`}) and to no other. What earlier words saw of earlier pictures reaches it by the language model's own self-attention.`;
      about.textContent = reads;
      const found = state.found, listed = Object.keys(found[0]), best = (row) => listed.reduce((one, other) => (row[other] > row[one] ? other : one)), a = best(found[0]);
      const difference = Math.max(...listed.map((name) => Math.abs(found[0][name] - found[1][name])));
      const verdict = !used().length ? "Without an example no name has a meaning: what is left is the language model's habit."
        : `${a}: ${percent(found[1][a])} without the examples' pictures, ${percent(found[0][a])} with them. ${difference < 0.005 ? "The pictures change nothing here." : difference < 0.1 ? `The pictures change little here: by ${percent(difference)}.` : ""}`;
      const rows = !used().length ? listed.map((name) => ({ name, value: found[1][name], colour: "var(--line)", data: { "data-answer": name, "data-blind": name } })) : listed.flatMap((name) => [{ name: `${name}, with pictures`, value: found[0][name], colour: "var(--blue)", data: { "data-answer": name } }, { name: `${name}, without them`, value: found[1][name], colour: "var(--line)", data: { "data-blind": name } }]);
      const told = listed.map((name) => `${name} ${percent(found[0][name])}, without the examples' pictures ${percent(found[1][name])}`).join("; ");
      result.style.width = beside() ? `${width() - promptWidth() - 28}px` : "100%";
      result.style.opacity = state.waiting ? 0.4 : 1;
      result.replaceChildren(html("p", {}, "It answers: this is a ", html("strong", { style: "font-size:17px" }, a), found[0][a] < SURE ? `, but barely (${percent(found[0][a])}).` : "."), bars(Math.min(beside() ? width() - promptWidth() - 28 : width(), 460), rows, { label: `Probability of each name: ${told}`, chance: 1 / listed.length, room: 150 }),
        html("p", { class: "small soft" }, "Probability of the next word among these names (0 to 1). Dashed: chance.", used().length ? " Grey: the same words and the asked picture; the examples' pictures are taken out." : ""), html("p", {}, verdict),
        ...remarks(listed, a, best(found[1])).map((one) => html("p", { class: "small" }, one)));
      message.textContent = state.message;
      exchange.disabled = !used().length;
      const summary = `Prompt: ${used().map(({ picture, name }) => `${tray[picture].word} is ${named[name]}`).join(", ") || "no examples"}; asked: ${tray[query().picture].word}. ${told}.`;
      ribbon.setAttribute("aria-label", `Words of the prompt; arrow keys choose. ${at === null ? "" : reads}`);
      say(at === null ? summary : reads);
      if (key) root.querySelector(`[data-key="${key}"]`)?.focus();
    }

    const shelf = html("div", { role: "group", "aria-label": "Pictures to choose from", style: "display:flex;flex-wrap:wrap;gap:6px" });
    const prompt = html("div", { role: "group", "aria-label": "The prompt", style: "display:flex;flex-wrap:wrap;gap:8px 14px;align-items:flex-start;margin:8px 0;padding:0 6px" });
    const ribbon = html("div", { tabindex: 0, role: "application", style: "line-height:2.1;max-width:46rem;margin:0 5px" }), about = html("p", { class: "small soft", "aria-hidden": "true", style: "min-height:4.4em" }); // as high for each word
    const result = html("div", {}), message = html("p", { class: "message", role: "alert" });
    // Each example takes the name of the next one; where all have the same, the other one.
    const exchange = button("Exchange the names", () => {
      const shown = used(), all = shown.map(({ name }) => name), same = new Set(all).size === 1, other = all[0] === names[0] ? names[1] : names[0];
      shown.forEach((place, index) => { place.name = same ? other : all[(index + 1) % all.length]; });
      changed();
    });
    controls.append(exchange, button("No examples", () => { state.places.slice(0, count).forEach((place) => { place.picture = null; }); changed({ target: 0 }); }),
      button("Start again", () => changed({ places: begin(), target: count })));
    if (ask) {
      const typed = field("another picture of", "", () => {}, { size: 10, placeholder: "owl", onkeydown: (event) => { if (event.key === "Enter") add(); } });
      const add = async () => {
        const word = typed.input.value.trim().toLowerCase();
        try {
          tray.push(await ask({ word, picture: tray.filter((one) => one.word === word).length }));
          typed.input.value = "";
          changed();
        } catch (error) { changed({ message: error.message }); }
      };
      controls.append(typed, button("Add", add));
    }
    stage.append(html("p", { class: "small soft" }, "Drag a picture to a place of the prompt, or click it: it goes where the dashed frame is (click a place to move that frame). Press ×, or drag it out with a mouse, to take it away; the asked place is never empty."),
      shelf, message, html("div", { class: "columns" }, prompt, result), html("p", {}, html("strong", {}, "What the model reads")), ribbon, about);
    const point = (word) => { if (word !== state.word) { state.word = word; draw(); } };
    hovering(ribbon, "word", (hit) => point(hit ? +hit.word : null));
    arrows(ribbon, (dx, dy) => point(clamp((state.word ?? -1) + dx + dy, 0, written().length - 1)));
    state.found = looked();
    redraw(draw);
  },
};
