"""Numbers over time and over other numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vlmcourse.evaluation import Spread
from vlmcourse.plots.style import (
    COLOURS,
    GREY,
    MARKERS,
    describe,
    figure,
    subtitle,
    course_style,
    stack_figures,
    png,
)


def _smooth(values: Sequence[float], share: float = 0.03) -> np.ndarray:
    """Running mean over a share of the run, to see the trend through the noise."""
    width = max(1, int(share * len(values)))
    return np.convolve(values, np.ones(width) / width, mode="valid")


def loss(
    histories: Mapping[str, Sequence] | Sequence,
    chance: float | None = None,
    chance_name: str = "chance",
    logarithmic: bool = False,
):
    """Loss over steps. `histories`: the Steps of one run, or {name: Steps} of several; `chance`: a line to compare with."""
    runs = histories if isinstance(histories, Mapping) else {"loss": histories}
    with course_style():
        made, (axes,) = figure(7.2, 3.4)
        for (name, steps), colour in zip(runs.items(), COLOURS):
            values = [step.loss for step in steps]
            axes.plot([step.step for step in steps], values, color=colour, alpha=0.25, linewidth=1)
            smooth = _smooth(values)
            axes.plot(
                [step.step for step in steps][len(values) - len(smooth) :],
                smooth,
                color=colour,
                label=name,
            )
        if chance is not None:
            axes.axhline(
                chance,
                color=GREY,
                linestyle="--",
                linewidth=1.2,
                label=f"{chance_name} = {chance:.2f}",
            )
        axes.set(xlabel="step", ylabel="loss", yscale="log" if logarithmic else "linear")
        axes.legend()
    ends = "; ".join(
        f"{name} falls from {steps[0].loss:.2f} to {_smooth([s.loss for s in steps])[-1]:.2f} in "
        f"{len(steps)} steps"
        for name, steps in runs.items()
        if len(steps)
    )
    line = f" Dashed line: {chance_name}, {chance:.2f}." if chance else ""
    return describe(made, f"Training loss over steps: {ends}.{line}")


def interval_means(history: Sequence, name: str, parts: int = 30) -> dict[int, float]:
    """One loss of a run's Steps, to draw with `curves`: {step: mean since the point before}, at about `parts` points."""
    size = max(1, len(history) // parts)
    cut = [history[start : start + size] for start in range(0, len(history), size)]
    return {part[-1].step: sum(step.losses[name] for step in part) / len(part) for part in cut}


def _in_notebook() -> bool:
    from IPython import get_ipython

    return get_ipython() is not None


class LiveCurve:
    """A training curve that grows in the notebook, with time left; give it to `on_step=`, or call it with each Step.

    Redrawn about once a second, and at the end, so that the last picture stays. In a terminal it is a progress bar.

    samples  () -> Figure of what the model makes of something just now, drawn below the curve
    """

    def __init__(
        self,
        chance: float | None = None,
        chance_name: str = "chance",
        every: float = 1.5,
        samples: Callable[[], object] | None = None,
    ):
        self.history: list = []
        self.chance, self.chance_name, self.every, self.samples = (
            chance,
            chance_name,
            every,
            samples,
        )
        self._display, self._bar, self._last = None, None, -math.inf

    def __call__(self, step) -> None:
        self.history.append(step)
        if not _in_notebook():
            self._progress(step)
            return
        final = step.step == step.steps
        if final or time.perf_counter() - self._last > self.every:
            self._draw()
            self._last = time.perf_counter()

    def figure(self):
        """The picture as it stands."""
        step = self.history[-1]
        made = loss(self.history, self.chance, self.chance_name)
        left = "done" if step.step == step.steps else f"about {step.seconds_left:.0f} s left"
        subtitle(
            made.axes[0],
            f"step {step.step} of {step.steps}   loss {step.loss:.3f}   "
            f"learning rate {step.learning_rate:.1e}   {step.seconds:.0f} s, {left}",
        )
        return made if self.samples is None else stack_figures(made, self.samples())

    def _progress(self, step) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=step.steps, initial=step.step - 1, unit="step", mininterval=0.5)
        self._bar.set_postfix(loss=f"{step.loss:.3f}", refresh=step.step == step.steps)
        self._bar.update()
        if step.step == step.steps:
            self._bar.close()
            self._bar = None

    def _draw(self) -> None:
        from IPython.display import display

        made = self.figure()
        data = {"image/png": png(made), "text/plain": made.description}
        metadata = {"image/png": {"alt": made.description}}
        if self._display is None:
            self._display = display(data, raw=True, metadata=metadata, display_id=True)
        else:
            self._display.update(data, raw=True, metadata=metadata)


def _value(value: Spread | float) -> tuple[float, float, tuple[float, ...]]:
    return (value.mean, value.std, value.values) if isinstance(value, Spread) else (value, 0.0, ())


def _written(value: Spread | float) -> str:
    return f"{value.mean:.3g} ± {value.std:.2g}" if isinstance(value, Spread) else f"{value:.3g}"


def _apart(values: Sequence[float]) -> list[float]:
    """Those of the increasing values that leave room for their labels on a logarithmic axis."""
    kept: list[float] = []
    room = (values[-1] / values[0]) ** (1 / 14)
    for value in values:
        if not kept or value >= kept[-1] * room:
            kept.append(value)
    return kept


def _short(value: float) -> str:
    """26114 -> '26k'."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 10 * unit or value >= unit > 1e3:
            return f"{value / unit:.3g}{name}"
    return f"{value:g}"


def curves(
    series: Mapping[str, Mapping[float, Spread | float]],
    xlabel: str,
    ylabel: str,
    chance: float | None = None,
    lines: Mapping[str, float] | None = None,
    xlog: bool = False,
    ylog: bool = False,
):
    """Scores over a number: {name: {x: Spread or number}}, bands of one standard deviation, and level lines."""
    with course_style():
        made, (axes,) = figure(7.2, 3.6)
        for (name, points), colour, marker in zip(series.items(), COLOURS, MARKERS):
            x = np.array(list(points))
            mean, std = (
                np.array([_value(point)[part] for point in points.values()]) for part in (0, 1)
            )
            axes.plot(x, mean, color=colour, marker=marker, label=name)
            if std.any():
                axes.fill_between(x, mean - std, mean + std, color=colour, alpha=0.2, linewidth=0)
        for (name, level), colour in zip((lines or {}).items(), COLOURS[len(series) :]):
            axes.axhline(level, color=colour, linestyle="-.", linewidth=1.5, label=name)
        if chance is not None:
            axes.axhline(
                chance, color=GREY, linestyle="--", linewidth=1.2, label=f"chance = {chance:.3g}"
            )
        axes.set(
            xlabel=xlabel,
            ylabel=ylabel,
            xscale="log" if xlog else "linear",
            yscale="log" if ylog else "linear",
        )
        if xlog:
            ticks = _apart(sorted({x for points in series.values() for x in points}))
            axes.set_xticks(ticks, [_short(tick) for tick in ticks])
            axes.minorticks_off()
        many = len(series) + len(lines or {}) > 4  # they leave no room
        axes.legend(**({"loc": "upper left", "bbox_to_anchor": (1, 1)} if many else {}))
    told = "; ".join(
        f"{name}: " + ", ".join(f"{x:g} → {_value(point)[0]:.3g}" for x, point in points.items())
        for name, points in series.items()
    )
    levels = "".join(f" Line {name}: {level:.3g}." for name, level in (lines or {}).items())
    return describe(
        made,
        f"{ylabel} over {xlabel}. {told}.{levels}"
        + (f" Chance: {chance:.3g}." if chance is not None else ""),
    )


def bars(
    groups: Mapping[str, Mapping[str, Spread | float]],
    ylabel: str,
    chance: float | None = None,
    sideways: bool = False,
):
    """Bars of {group: {name: Spread or number}}; whiskers are one standard deviation, dots are the single runs.

    sideways: bars lie, which leaves room for long names of groups.
    """
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    width, bars_drawn = 0.8 / len(names), len(groups) * len(names)
    with course_style():
        lines = sum(group.count("\n") + 1 for group in groups)
        made, (axes,) = (
            figure(7.2, 1 + max(0.14 * len(groups) + 0.2 * bars_drawn, 0.22 * lines))
            if sideways
            else figure(max(5, 1.2 + 0.5 * bars_drawn + 0.6 * len(groups)), 3.6)
        )
        for place, name in enumerate(names):
            at = [
                index + (place - (len(names) - 1) / 2) * width
                for index, group in enumerate(groups.values())
                if name in group
            ]
            found = [_value(group[name]) for group in groups.values() if name in group]
            spreads = [std for _, std, _ in found] if any(std for _, std, _ in found) else None
            (axes.barh if sideways else axes.bar)(
                at,
                [mean for mean, _, _ in found],
                width * 0.92,
                label=name if len(names) > 1 else None,
                color=COLOURS[place],
                alpha=0.85,
                capsize=3,
                **{"xerr" if sideways else "yerr": spreads},
            )
            for centre, (_, _, values) in zip(at, found):
                runs = (
                    (values, [centre] * len(values))
                    if sideways
                    else ([centre] * len(values), values)
                )
                axes.plot(*runs, ".", color="black", markersize=4)
        if chance is not None:
            (axes.axvline if sideways else axes.axhline)(
                chance, color=GREY, linestyle="--", linewidth=1.2, label=f"chance = {chance:.3g}"
            )
        if sideways:
            axes.set_yticks(range(len(groups)), list(groups))
            axes.invert_yaxis()
            axes.set_xlabel(ylabel)
        else:
            axes.set_xticks(range(len(groups)), list(groups))
            axes.set_ylabel(ylabel)
        if len(names) > 1 or chance is not None:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    told = "; ".join(
        f"{group}: " + ", ".join(f"{name} {_written(value)}" for name, value in values.items())
        for group, values in groups.items()
    )
    return describe(
        made, f"{ylabel}. {told}." + (f" Chance: {chance:.3g}." if chance is not None else "")
    )
