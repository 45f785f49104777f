"""How fast each explorer that is a form answers a slider (others: benchmarks.gestures): python -m benchmarks.explorers [--browser]

In the kernel: from setting a slider to the new picture's bytes, wall and processor time. With --browser, in JupyterLab: from an
arrow key pressed on a slider to the frame that shows the new picture, as a person waits for it; the median and the slowest of seven
moves. The first move in each view isn't counted: it loads fonts and warms the model up. Kept in benchmarks/results/explorers.json.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from statistics import median

import torch

from benchmarks import browser
from vlmcourse.evaluation import save_results
from vlmcourse.widgets import interactive

LIMIT = 300
"""Milliseconds that an answer may take."""


def notebook_cells() -> list[str]:
    """The code cells of the explorers' master: what is measured is what learners run."""
    from vlmcourse import lessons

    (master,) = (path for path in lessons.companions() if path.stem == "explorers")
    return [cell.source for cell in lessons.from_master(master).cells if cell.cell_type == "code"]


def explorers() -> dict[str, object]:
    """{name: widget} of every explorer, made by the notebook's own cells."""
    made, space, found = {}, {}, []
    display, interactive.display_widget = (
        interactive.display_widget,
        lambda widget, *_: found.append(widget) if hasattr(widget, "children") else None,
    )
    try:
        for source in notebook_cells():
            exec(source, space)
            if found:
                names = [part.split("(")[0] for part in source.split("explorers.")[1:]]
                made[
                    next(
                        name
                        for name in names
                        if name.endswith(("explorer", "playground", "builder", "maker"))
                    )
                ] = found.pop()
    finally:
        interactive.display_widget = display
    return made


def moves(slider) -> list[float]:
    """Two other values that a slider can have, and back."""
    import ipywidgets

    if isinstance(slider, ipywidgets.FloatLogSlider):
        return [
            slider.base**slider.min,
            slider.base ** ((slider.min + slider.max) / 2),
            slider.value,
        ]
    if isinstance(slider, ipywidgets.SelectionSlider):
        values = (
            [value for _, value in slider.options]
            if isinstance(slider.options[0], tuple)
            else list(slider.options)
        )
        return [values[len(values) // 2], values[-1], values[0], slider.value]
    near = (
        min(slider.max, slider.value + slider.step)
        if slider.value < slider.max
        else slider.value - slider.step
    )
    return [near, slider.min if slider.value != slider.min else slider.max, slider.value]


def timed(change: Callable[[], None]) -> tuple[float, float]:
    """Wall and processor milliseconds."""
    wall, processor = time.perf_counter(), time.process_time()
    change()
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - processor)


def measured(widget, repeats: int) -> dict[str, dict[str, float]]:
    """{slider: median and largest milliseconds} of an explorer's sliders, in each of its views."""
    import ipywidgets

    sliders = [
        field
        for field in interactive.controls([widget])
        if isinstance(
            field,
            (
                ipywidgets.IntSlider,
                ipywidgets.FloatSlider,
                ipywidgets.FloatLogSlider,
                ipywidgets.SelectionSlider,
            ),
        )
    ]
    views = [
        field
        for field in interactive.controls([widget])
        if isinstance(field, ipywidgets.ToggleButtons)
    ]
    found: dict[str, list[tuple[float, float]]] = {}
    for view in views[0].options if views else [None]:
        if views:
            views[0].value = view
        for slider in (one for one in sliders if one.layout.display != "none"):
            for value in repeats * moves(slider):
                if value != slider.value:
                    name = slider.description if view is None else f"{slider.description}, {view}"
                    found.setdefault(name, []).append(
                        timed(lambda: setattr(slider, "value", value))
                    )
    return {
        name: {
            "median ms": median(wall for wall, _ in values),
            "largest ms": max(wall for wall, _ in values),
            "processor ms": median(processor for _, processor in values),
        }
        for name, values in found.items()
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--browser",
        action="store_true",
        help="measure in JupyterLab, too (needs chromium and playwright)",
    )
    options.add_argument("--repeats", type=int, default=3)
    given = options.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
    load = os.getloadavg()[0]  # what else ran: wall times of a busy machine are not ours
    report = {name: measured(widget, given.repeats) for name, widget in explorers().items()}
    worst = {
        name: max(values.items(), key=lambda one: one[1]["median ms"])
        for name, values in report.items()
    }
    for name, (slider, values) in worst.items():
        print(
            f"{name:22} slowest slider {slider:28} median {values['median ms']:6.0f} ms, largest "
            f"{values['largest ms']:6.0f} ms, processor {values['processor ms']:6.0f} ms"
        )
    rows = [
        {"explorer": name, "where": "kernel", "slider": slider, **values}
        for name, sliders in report.items()
        for slider, values in sliders.items()
    ]
    for name, values in (browser.measured() if given.browser else {}).items():
        rows += [
            {
                "explorer": name,
                "where": "browser",
                "slider": slider,
                "median ms": median(times),
                "largest ms": max(times),
                "moves": len(times),
            }
            for slider, times in values.items()
        ]
        every = [ms for times in values.values() for ms in times]
        print(
            f"{name:22} in the browser: median of all {median(every):.0f} ms; "
            + ", ".join(f"{slider} {median(times):.0f} ms" for slider, times in values.items())
        )
    print(
        save_results(
            "explorers",
            rows,
            scale=os.environ.get("VLMCOURSE_SCALE", "laptop"),
            limit_ms=LIMIT,
            cores=os.cpu_count(),
            load=round(load, 1),
        )
    )


if __name__ == "__main__":
    main()
