"""What a person does with each explorer, and how long the answer takes: python -m benchmarks.gestures [--jupyterlab]

Each gesture of GESTURES is made on a page without a kernel, with the data that the notebook keeps; measured is the time from the
event to the next frame after the explorer has changed. With --jupyterlab also those of KERNEL_GESTURES, which ask a model, in the
notebook in JupyterLab: from the event to the last change of the explorer. Kept in benchmarks/results/gestures.json.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import browser
from benchmarks.browser import CHROMIUM, ROOT
from vlmcourse.evaluation import save_results
from vlmcourse.widgets.explorer import MIME, static_html

LIMIT, KERNEL_LIMIT, QUIET = 50, 300, 1500
"""Milliseconds that an answer may take without a kernel, and with one; and after which nothing more is expected of a kernel."""
WATCH = """(explorer, [patience, quiet]) => {
  let start = 0;
  const begun = () => { start = performance.now(); };
  const kinds = ['keydown', 'pointermove', 'pointerover', 'pointerout', 'pointerdown', 'click', 'input', 'change'];
  for (const kind of kinds) addEventListener(kind, begun, true);
  window.answer = new Promise(done => {
    const end = value => { watch.disconnect(); kinds.forEach(kind => removeEventListener(kind, begun, true)); done(value); };
    let last;
    const watch = new MutationObserver(() => {
      const at = start;
      if (!at) return;
      if (!quiet) { watch.disconnect(); requestAnimationFrame(() => end(performance.now() - at)); return; }
      const changed = performance.now() - at;
      clearTimeout(last);
      last = setTimeout(() => end(changed), quiet);
    });
    watch.observe(explorer.querySelector('.stage'), {subtree: true, childList: true, attributes: true, characterData: true});
    setTimeout(() => end(null), patience);
  });
}"""
"""`window.answer` will be the milliseconds from the event that changes the explorer to the next frame, or, if it shall be `quiet`
for some milliseconds, to its last change; null if it never changes."""
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>explorer</title><style>@media (prefers-color-scheme: dark) {{ body {{ background: #14181e; color: #dddddd; }} }}</style></head>
<body><main><h1>explorer</h1>{}</main></body></html>"""
Gesture = Callable[[object], object]
"""What is done to an explorer, given as a locator."""


def _scroll_to(element) -> None:
    """Where it scrolls under the pointer an explorer is drawn anew, and a notebook lays itself out: neither is an answer."""
    element.evaluate("one => one.scrollIntoView({block: 'nearest'})")
    element.page.wait_for_timeout(100)


def hover(selector: str) -> Gesture:
    def act(explorer) -> None:
        _scroll_to(explorer.locator(selector).first)
        explorer.locator(selector).first.hover(force=True)

    return act


def click(selector: str) -> Gesture:
    return lambda explorer: explorer.locator(selector).first.click()


def key(selector: str, name: str) -> Gesture:
    return lambda explorer: explorer.locator(selector).first.press(name)


def write(label: str, text: str) -> Gesture:
    def act(explorer) -> None:
        _scroll_to(explorer.get_by_label(label, exact=True))
        explorer.get_by_label(label, exact=True).fill(text)

    return act


def choose(label: str, value: str) -> Gesture:
    return lambda explorer: explorer.get_by_label(label, exact=True).select_option(value)


def press(name: str) -> Gesture:
    return lambda explorer: explorer.get_by_role("button", name=name, exact=True).click()


def drag(selector: str, right: float, down: float = 0) -> Gesture:
    """From the middle of an element, by so many pixels."""

    def act(explorer) -> None:
        element, mouse = explorer.locator(selector).first, explorer.page.mouse
        element.scroll_into_view_if_needed()
        box = element.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        mouse.move(x, y)
        mouse.down()
        mouse.move(x + right, y + down, steps=4)
        mouse.up()

    return act


def drop(selector: str, target: str) -> Gesture:
    """Drags an element to the middle of another one."""

    def act(explorer) -> None:
        mouse, places = explorer.page.mouse, []
        explorer.locator(target).first.scroll_into_view_if_needed()
        for one in (selector, target):
            box = explorer.locator(one).first.bounding_box()
            places.append((box["x"] + box["width"] / 2, box["y"] + box["height"] / 2))
        mouse.move(*places[0])
        mouse.down()
        mouse.move(*places[1], steps=4)
        mouse.up()

    return act


def press_at(selector: str, right: float, down: float = 0) -> Gesture:
    """A press so many pixels from the middle of an element."""

    def act(explorer) -> None:
        explorer.locator(selector).first.scroll_into_view_if_needed()
        box = explorer.locator(selector).first.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        explorer.page.mouse.click(x + right, y + down)

    return act


GESTURES: dict[str, dict[str, Gesture]] = {
    "masks": {
        "hover a row": hover('[data-query="5"][data-at="2"]'),
        "click a column": click('[data-query="3"][data-at="1"]'),
        "arrow key": key(".grid", "ArrowUp"),
        "Enter on a cell": key(".grid", "Enter"),
        "type": write("text", "a <image> b <image> c d"),
        "choose a mask": choose("mask", "Flamingo: last image only"),
        "slider by keyboard": key("input[type=range]", "ArrowRight"),
        "choose packed documents": choose("mask", "packed documents"),
        "hover a block": hover("[data-block]"),
        "hide a lie": press("Hide a lie in the computation"),
        "another mask in the game": choose("mask", "ViLBERT, VL-BERT: padding only"),
    },
    "sampling": {
        "hover a word": hover("[data-node='0 2']"),
        "take a word": press("Take word"),
        "click a word": click("[data-path]:nth-of-type(3)"),
        "arrow back": key(".tree", "ArrowLeft"),
        "nucleus": press("nucleus"),
        "draw a word": press("Draw word"),
        "slide p by keyboard": key("input[type=range]", "ArrowRight"),
        "slide p by dragging": drag("input[type=range]", 60),
        "temperature": write("temperature", "3"),
        "a hot walk to the end": press("To the end"),
        "beam search": press("beam search"),
        "Enter": key(".tree", "Enter"),
        "beams to the end": press("To the end"),
        "hover a beam": hover("[data-node='1 3']"),
        "beams a step back": key(".tree", "ArrowLeft"),
        "beam by arrow key": key(".tree", "ArrowDown"),
        "another prompt": choose("prompt", "a photo of a"),
    },
    "clip": {
        "click a picture": click("[data-picture='5']"),
        "arrow key": key("[role=application]", "ArrowRight"),
        "slide the scale by dragging": drag("input[type=range]", -50),
        "another template": choose("prompt", "{}"),
        "type classes": lambda explorer: (
            explorer.get_by_label("add classes").fill("owl, pear"),
            explorer.get_by_label("add classes").press("Enter"),
        ),
        "remove a class": press("remove owl"),
        "matrix": press("similarity matrix"),
        "hover a cell": hover("[data-row='3'][data-column='2']"),
        "gap": press("modality gap"),
        "hover a point": hover("[data-point='7']"),
        "close the gap": write("gap", "0"),
        "widen the gap": key("input[type=range] >> visible=true", "ArrowRight"),
    },
    "gates": {
        "scrub over training": drag("svg", -120),
        "step by arrow key": key("[role=application]", "ArrowLeft"),
        "first step by Home": key("[role=application]", "Home"),
        "step by slider": key("input[type=range]", "ArrowRight"),
        "close all gates": press("Close all gates"),
        "drag a gate": drag("[data-gate='1'] circle", -40),
        "gate by arrow key": key("[role=application] >> nth=2", "ArrowRight"),
        "a closed gate by arrow key": lambda explorer: (
            press("Close all gates")(explorer),
            key("[role=application] >> nth=2", "ArrowRight")(explorer),
        ),
        "all gates by slider": write("all gates times", "15"),
        "click a picture": click("[data-picture='2']"),
        "last picture by End": key("[role=application] >> nth=1", "End"),
        "a gate to its end by End": key("[role=application] >> nth=2", "End"),
        "play": press("▶ Play"),
        "who learns": press("who learns"),
        "another opening": choose("gates", "all gates as trained"),
        "its sentences": press("what it says"),
    },
    "few_shot": {
        "drag a picture to a place": drop("[data-picture='4']", "[data-place='0']"),
        "click a picture": click("[data-picture='5']"),
        "Enter on a picture": key("[data-picture='0']", "Enter"),
        "choose a name": choose("name in example 1", "blicket"),
        "hover a word": hover("[data-word='4']"),
        "word by arrow key": key("[role=application]", "ArrowRight"),
        "exchange the names": press("Exchange the names"),
        "exchange the name of the only example": lambda explorer: (
            press("take example 2 away")(explorer),
            press("Exchange the names")(explorer),
        ),
        "fill the empty place": click("[data-picture='3']"),
        "exchange two pictures by dragging": drop("[data-place='0']", "[data-place='1']"),
        "take one away by Delete": key("[data-place='0']", "Delete"),
        "no examples": press("No examples"),
    },
    "scene": {
        "drag a thing": drag("[data-thing='0']", 120),
        "move by arrow key": key("[role=application]", "ArrowDown"),
        "next thing by Enter": key("[role=application]", "Enter"),
        "to the middle by Home": key("[role=application]", "Home"),
        "click a dot": click("svg circle"),
        "click a square": click("[data-first] >> nth=31"),
        "change places": press("Change places"),
        "another background": click("[data-background=pink]"),
        "another model": click("[data-model][aria-pressed=false]"),
        "start again": press("Start again"),
    },
    "attention": {
        "hover a word": hover("[data-row='1']"),
        "word by arrow key": key("[role=application]:has(.word)", "ArrowRight"),
        "hover a patch": hover("[data-patch='3']"),
        "click a patch": click("[data-patch='6']"),
        "let go by Escape": key("[role=application]:has([data-patch])", "Escape"),
        "patch by arrow key": key("[role=application]:has([data-patch])", "ArrowRight"),
        "hover a head": hover("[data-layer='0'][data-head='0']"),
        "click a picture": click("[data-picture='3']"),
        "another model": click("button[aria-pressed=false]"),
        "covering": press("covering"),
        "guess first": press("Guess first"),
        "guess a patch": click("[data-patch='6']"),
        "attention": press("attention"),
        "queries": press("BLIP-2"),
        "a query": key("[role=application]:has(.word)", "ArrowRight"),
    },
    "capfilt": {
        "hover a dot": hover("[data-dot='3']"),
        "drag the line": drag("svg", 90),
        "slide by keyboard": key("input[type=range]", "ArrowLeft"),
        "dot by arrow key": key("[role=application]", "ArrowRight"),
        "last dot by End": key("[role=application]", "End"),
        "press beside a dot": press_at("[data-dot='7']", 6, 6),
        "click where nothing stands": press_at("[role=application] svg", 60, -100),
    },
}
"""{module: {what is done: how}}, in this order."""

KERNEL_GESTURES: dict[str, dict[str, Gesture]] = {
    "sampling": {"another prompt": write("or your own", "a picture of a dog")},
    "clip": {
        "a class that is no noun": lambda explorer: (
            press("classes")(explorer),
            explorer.get_by_label("add classes").fill("animal"),
            explorer.get_by_label("add classes").press("Enter"),
        )
    },
    "attention": {"another text": write("text", "a picture of a dog")},
    "gates": {
        "drag a gate": drag("[data-gate='0'] circle", 60),
        "drag another gate": drag("[data-gate='1'] circle", -60),
        "another text": write("text", "this is a"),
    },
    "few_shot": {
        "a third example": drop("[data-picture='4']", "[data-place='2']"),
        "add a thing": lambda explorer: (
            explorer.get_by_label("another picture of").fill("owl"),
            explorer.get_by_label("another picture of").press("Enter"),
        ),
        "ask about it": drop("[data-picture='6']", "[data-place='4']"),
        "another name": choose("name in example 3", "wug"),
    },
    "scene": {
        "drag a thing": drag("[data-thing='0']", 30, 30),
        "drag a corner": drag("[data-handle]", 20, 20),
        "add a thing": lambda explorer: (
            explorer.get_by_label("add a thing").fill("owl"),
            explorer.get_by_label("add a thing").press("Enter"),
        ),
        "another text": write("ask", "this is a"),
    },
}
"""The same of what needs a kernel, made after all GESTURES."""


def kept() -> dict[str, dict]:
    """What the explorers' notebook keeps of each: {module: {"module", "data", "description"}}."""
    cells = json.loads((ROOT / "notebooks" / "explorers.ipynb").read_text(encoding="utf-8"))[
        "cells"
    ]
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    return {data[MIME]["module"]: data[MIME] for data in outputs if MIME in data}


@contextmanager
def explorer_page(chromium, module: str, data: dict | None = None, **context) -> Iterator:
    """One explorer alone on a page. `page.said`: errors on the console; `page.asked`: addresses other than its own.

    data  as a notebook keeps it, with sorted keys. Default: what the explorers' notebook keeps
    """
    with TemporaryDirectory() as folder:
        path = Path(folder, "page.html")
        ordered = json.loads(json.dumps(data, sort_keys=True))
        given = {"module": module, "data": ordered, "description": ""} if data else kept()[module]
        path.write_text(PAGE.format(static_html(**given)), encoding="utf-8")
        opened = chromium.new_context(**context)
        page = opened.new_page()
        page.said, page.asked = [], []
        page.on("console", lambda one: page.said.append(one.text) if one.type == "error" else None)
        page.on("pageerror", lambda one: page.said.append(str(one)))
        own = path.as_uri()
        page.on(
            "request", lambda one: page.asked.append(one.url) if one.url.split("#")[0] != own else 0
        )
        page.goto(own)
        page.wait_for_selector(".explorer")
        try:
            yield page
        finally:
            opened.close()


def reaction(explorer, act: Gesture, patience: float = 3000, quiet: float = 0) -> float | None:
    """Milliseconds from the event of `act` that changes the explorer to the next frame; None if nothing changes.

    quiet  to the last change before so many milliseconds without any
    """
    explorer.page.wait_for_timeout(100)  # what the gesture before it drew is not counted
    explorer.evaluate(WATCH, [patience + quiet, quiet])
    act(explorer)
    return explorer.page.evaluate("() => window.answer")


def measured(rounds: int = 5) -> dict[str, dict[str, list[float]]]:
    """{explorer: {gesture: milliseconds of each round}}; a first round isn't counted."""
    from playwright.sync_api import sync_playwright

    found: dict[str, dict[str, list[float]]] = {}
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for module in kept():
            for number in range(rounds + 1):
                with explorer_page(chromium, module) as page:
                    for name, act in GESTURES[module].items():
                        ms = reaction(page.locator(".explorer"), act)
                        if number and ms is not None:
                            found.setdefault(module, {}).setdefault(name, []).append(ms)
        chromium.close()
    return found


def measured_in_jupyterlab() -> dict[str, dict[str, list[float]]]:
    """{explorer: {gesture: milliseconds}} of what asks the kernel."""
    found: dict[str, dict[str, list[float]]] = {}
    with browser.opened() as page:
        for module, gestures in KERNEL_GESTURES.items():
            explorer = page.locator(f".explorer[data-module={module}]")
            for name, act in gestures.items():
                ms = reaction(explorer, act, quiet=QUIET)
                if ms is not None:
                    found.setdefault(module, {})[name] = [ms]
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--jupyterlab", action="store_true", help="what asks a model, too")
    given = options.parse_args()
    load = os.getloadavg()[0]  # what else runs
    places = {"page": measured(), "kernel": measured_in_jupyterlab() if given.jupyterlab else {}}
    rows = []
    for where, explorers in places.items():
        for module, gestures in explorers.items():
            for name, times in gestures.items():
                rows.append(
                    {
                        "explorer": module,
                        "where": where,
                        "gesture": name,
                        "median ms": median(times),
                        "largest ms": max(times),
                        "times": len(times),
                    }
                )
                print(
                    f"{module:12} {where:7} {name:32} median {median(times):5.0f} ms, largest {max(times):5.0f}"
                )
    print(
        save_results(
            "gestures",
            rows,
            limit_ms=LIMIT,
            kernel_limit_ms=KERNEL_LIMIT,
            cores=os.cpu_count(),
            load=round(load, 1),
        )
    )


if __name__ == "__main__":
    main()
