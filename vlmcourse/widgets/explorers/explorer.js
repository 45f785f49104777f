// What all explorers share: elements, controls, colours, keys, and words for those who don't see. It stands before each module.

const make = (space) => (tag, attributes = {}, ...children) => {
  const made = space ? document.createElementNS(space, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return made;
};
const html = make(null);
const svg = make("http://www.w3.org/2000/svg");

// Okabe and Ito's palette, lighter where the page is dark.
const CSS = `
.explorer { --ink: #1c1c1c; --soft: #5c5c5c; --line: #b9b9b9; --pale: #e9e9e9; --ground: #e9e9e9; --paper: #ffffff; --blue: #0072B2; --orange: #D98A00;
  --green: #008060; --red: #C24A00; --sky: #bfe0f5; --pink: #B0508A; --crimson: #A8123E; --onblue: #ffffff; color: var(--ink); background: var(--paper);
  font: 14px/1.45 system-ui, sans-serif; position: relative; max-width: 60rem; padding: 4px 2px; }
.explorer.dark { --ink: #ececec; --soft: #b4b4b4; --line: #666666; --pale: #333a40; --ground: #0a0f14; --paper: transparent; --blue: #56B4E9; --orange: #F0B030;
  --green: #35C79A; --red: #FF8F52; --sky: #17455f; --pink: #E69AC6; --crimson: #FF6F7D; --onblue: #10202a; }
.explorer * { box-sizing: border-box; }
.explorer svg { display: block; max-width: 100%; overflow: visible; user-select: none; }
.explorer svg text { fill: var(--ink); font-size: 13px; }
.explorer svg text.soft, .explorer .soft { fill: var(--soft); color: var(--soft); }
.explorer svg text.small, .explorer .small { font-size: 12px; }
.explorer .controls { display: flex; flex-wrap: wrap; gap: 8px 18px; align-items: center; margin-bottom: 10px; }
.explorer .control { display: inline-flex; gap: 7px; align-items: center; flex-wrap: wrap; margin: 0; color: var(--ink); font-weight: normal; }
.explorer .control > span { color: var(--soft); }
.explorer fieldset { border: 0; padding: 0; margin: 0; min-width: 0; }
.explorer legend { float: left; padding: 0; margin: 2px 7px 0 0; font-size: inherit; color: var(--soft); width: auto; }
.explorer input[type=text], .explorer select, .explorer button { font: inherit; color: var(--ink); background: transparent;
  border: 1px solid var(--line); border-radius: 6px; padding: 3px 9px; min-height: 30px; margin: 0; max-width: 100%; }
.explorer select option { color: #1c1c1c; background: #ffffff; }
.explorer button { cursor: pointer; background: var(--pale); }
.explorer button:hover { border-color: var(--blue); }
.explorer button[aria-pressed=true] { background: var(--blue); border-color: var(--blue); color: var(--onblue); }
.explorer button:disabled { opacity: .45; cursor: default; }
.explorer input[type=range] { accent-color: var(--blue); width: 11rem; margin: 0; }
.explorer output { min-width: 3em; font-variant-numeric: tabular-nums; }
.explorer :focus-visible { outline: 3px solid var(--orange); outline-offset: 2px; border-radius: 4px; }
.explorer .columns { display: flex; flex-wrap: wrap; gap: 14px 28px; align-items: flex-start; }
.explorer p { margin: 6px 0; max-width: 46rem; }
.explorer mark { background: var(--sky); color: inherit; border-radius: 3px; padding: 0 2px; }
.explorer .message { font-weight: 600; color: var(--red); }
.explorer .good { font-weight: 600; color: var(--green); }
.explorer img { display: block; border-radius: 4px; margin: 0; padding: 0 !important; background: none !important; filter: none !important; }
.explorer .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.explorer .tip { position: absolute; pointer-events: none; z-index: 5; background: var(--ink); color: #ffffff; border-radius: 6px;
  padding: 4px 8px; font-size: 12px; max-width: 240px; }
.explorer.dark .tip { color: #10202a; }
@media (prefers-reduced-motion: no-preference) { .explorer .smooth { transition: all .18s ease-out; } }
@media (max-width: 480px) { .explorer .control:has(input[type=range]) { width: 100%; } .explorer input[type=range] { flex: 1; width: 8rem; } }
`;

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const percent = (value) => (value >= 0.9995 ? "1.00" : value.toFixed(2).replace(/^0/, ""));

// The frame: { root, controls, stage, say(description), width(), redraw(draw) }.
function frame(el, module, label) {
  const controls = html("div", { class: "controls" });
  const stage = html("div", { class: "stage" });
  const status = html("div", { class: "unseen", role: "status" });
  // JupyterLab leaves keys alone below this attribute.
  const root = html("section", { class: "explorer", "data-module": module, "aria-label": label, "data-lm-suppress-shortcuts": "true" },
    html("style", {}, CSS), controls, stage, status);
  el.replaceChildren(root);
  const recolour = () => {
    const colour = getComputedStyle(root.parentElement).color.match(/[\d.]+/g);
    if (!colour) return; // not on the page yet
    const [red, green, blue] = colour.map(Number);
    root.classList.toggle("dark", 0.3 * red + 0.59 * green + 0.11 * blue > 128);
  };
  recolour();
  const watch = new MutationObserver(recolour);
  for (const page of [document.documentElement, document.body]) watch.observe(page, { attributes: true });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTimeout(recolour));
  let later;
  const say = (text) => {
    clearTimeout(later);
    later = setTimeout(() => { status.textContent = text; }, 400);
  };
  const width = () => stage.clientWidth || 640;
  const redraw = (draw) => {
    let before = 0;
    new ResizeObserver(() => {
      recolour();
      if (Math.abs(width() - before) > 1) { before = width(); draw(); }
    }).observe(stage);
    draw();
  };
  return { root, controls, stage, say, width, redraw };
}

// A label, a range, and what its value is called. `.set(value)` moves it without an event.
function slider(label, { min, max, step = 1, value, show = String }, changed) {
  const said = html("output", {});
  const input = html("input", { type: "range", min, max, step, "aria-label": label, oninput: () => { told(); changed(+input.value); } });
  const told = () => { said.textContent = show(+input.value); input.setAttribute("aria-valuetext", said.textContent); };
  // By hand, because JupyterLab takes arrow keys for itself.
  const to = (value) => { input.value = value; input.dispatchEvent(new Event("input")); };
  arrows(input, (dx, dy) => to(+input.value + (dx - dy) * step));
  const made = html("label", { class: "control" }, html("span", {}, label), input, said);
  made.set = (given, top = max) => { input.max = top; input.value = given; told(); };
  made.set(value);
  return made;
}

// A choice from a list: options are [value, name].
function choice(label, options, value, changed) {
  const made = html("select", { "aria-label": label, onchange: () => changed(made.value) },
    options.map(([key, name]) => html("option", { value: key, selected: key === value }, name)));
  const control = html("label", { class: "control" }, html("span", {}, label), made);
  control.set = (given) => { made.value = given; };
  return control;
}

// Buttons of which one is pressed: options are [value, name].
function buttons(label, options, value, changed) {
  const made = options.map(([key, name]) => html("button", { type: "button", "data-value": key, onclick: () => { set(key); changed(key); } }, name));
  const set = (key) => made.forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.value === String(key))));
  set(value);
  const control = html("div", { class: "control", role: "group", "aria-label": label }, label && html("span", {}, label), made);
  control.set = set;
  return control;
}

const button = (name, act, attributes = {}) => html("button", { type: "button", onclick: act, ...attributes }, name);

function field(label, value, changed, attributes = {}) {
  const input = html("input", { type: "text", value, "aria-label": label, spellcheck: "false", autocomplete: "off", ...attributes,
    oninput: () => changed(input.value) });
  const control = html("label", { class: "control" }, html("span", {}, label), input);
  control.input = input;
  return control;
}

// Arrow keys on a focusable element: moved(dx, dy); Enter or space: pressed().
function arrows(element, moved, pressed = () => {}) {
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  element.addEventListener("keydown", (event) => {
    if (event.key in steps) moved(...steps[event.key]);
    else if (event.key === "Enter" || event.key === " ") pressed();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

// What is under the pointer, as the data of the nearest element with data-`name`: found(dataset or null).
function hovering(element, name, found) {
  const at = (event) => event.target.closest(`[data-${name}]`);
  for (const kind of ["pointermove", "pointerover"]) // over: what is drawn anew under a pointer that rests
    element.addEventListener(kind, (event) => { const hit = at(event); if (hit) found(hit.dataset, event); });
  element.addEventListener("pointerleave", () => found(null));
}

// A drag with the pointer: moved(x, y) in the element's own pixels, from the press on; `touch`: how a finger still scrolls. One that
// may scroll must go sideways first, or lift where it pressed.
function dragging(element, moved, ended = () => {}, touch = "none") {
  element.style.touchAction = touch;
  element.addEventListener("pointerdown", (event) => {
    const inside = (one) => { const box = element.getBoundingClientRect(); return [one.clientX - box.left, one.clientY - box.top]; };
    const ends = ["pointerup", "pointercancel"], far = (one) => [Math.abs(one.clientX - event.clientX), Math.abs(one.clientY - event.clientY)];
    let waits = event.pointerType === "touch" && touch !== "none";
    const go = (one) => {
      const [dx, dy] = far(one);
      if (waits && one !== event && dx > 6 && dx > dy) { waits = false; moved(...inside(event)); }
      if (!waits) moved(...inside(one));
    };
    const stop = (one) => { if (waits && one.type === "pointerup" && Math.max(...far(one)) <= 6) moved(...inside(event)); removeEventListener("pointermove", go); ends.forEach((kind) => removeEventListener(kind, stop)); ended(); };
    addEventListener("pointermove", go);
    ends.forEach((kind) => addEventListener(kind, stop));
    go(event);
    event.preventDefault();
  });
}

// Fades the edge of an element behind which it can be scrolled; call what is returned when its content has changed.
function fading(element) {
  const fade = () => {
    const left = element.scrollLeft > 4 ? 36 : 0, right = element.scrollLeft + element.clientWidth < element.scrollWidth - 4 ? 36 : 0;
    element.style.maskImage = left || right ? `linear-gradient(to right, transparent, black ${left}px calc(100% - ${right}px), transparent)` : "";
  };
  element.addEventListener("scroll", fade);
  return fade;
}

// Horizontal bars: rows of { name, value (0 to 1), colour, mark (of a second value), upto (an unknown value's bound), data, said (in place of the value) }.
function bars(width, rows, { label, chance, show = percent, height = 22, room = 0, right = 44 } = {}) {
  const left = clamp(room || 8 * Math.max(...rows.map((row) => row.name.length)) + 12, 50, width / 2), wide = width - left - right;
  return svg("svg", { width, height: rows.length * height + 4, role: "img", "aria-label": label },
    rows.map((row, index) => svg("g", { transform: `translate(0 ${index * height})`, ...row.data },
      svg("text", { x: left - 8, y: height / 2 + 4, "text-anchor": "end" }, row.name),
      svg("rect", { x: left, y: 3, width: wide, height: height - 6, fill: "var(--pale)" }),
      svg("rect", { class: "smooth", x: left, y: 3, width: wide * row.value, height: height - 6, fill: row.colour || "var(--blue)" }),
      row.upto != null && svg("rect", { x: left + 0.5, y: 3.5, width: wide * row.upto, height: height - 7, fill: "none", stroke: row.colour, "stroke-dasharray": "3 2" }),
      row.mark != null && svg("path", { d: `M${left + wide * row.mark} 1v${height - 2}`, stroke: "var(--ink)", "stroke-width": 2 }),
      svg("text", { class: "small", x: left + wide + 6, y: height / 2 + 4 }, row.said ?? show(row.value)))),
    chance != null && svg("path", { d: `M${left + wide * chance} 0v${rows.length * height}`, stroke: "var(--ink)", "stroke-dasharray": "3 3" }));
}

// Asks the kernel: ask({...}) gives a promise of its value; null where there is no kernel.
function kernel(model) {
  if (!model.get("kernel")) return null;
  const waiting = new Map();
  let number = 0;
  model.on("change:answer", () => {
    const { number: which, value, error } = model.get("answer"), [done, failed] = waiting.get(which) || [];
    waiting.delete(which);
    if (error) failed?.(new Error(error));
    else done?.(value);
  });
  return (question) => new Promise((done, failed) => {
    number += 1;
    waiting.set(number, [done, failed]);
    model.set("question", { ...question, number });
    model.save_changes();
  });
}
