"""Numbers over time and over other numbers."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vlmcourse.evaluation import Spread
from vlmcourse.plots.style import (
    COLOURS,
    MARKERS,
    bundle,
    chance_line,
    course_style,
    describe,
    figure,
    stack_figures,
    subtitle,
)

Score = Spread | float


def _running_mean(values: Sequence[float], share: float = 0.03) -> np.ndarray:
    """Over a share of the run, to see the trend through the noise."""
    width = max(1, int(share * len(values)))
    return np.convolve(values, np.ones(width) / width, mode="valid")


@course_style()
def loss(
    histories: Mapping[str, Sequence] | Sequence,
    chance: float | None = None,
    chance_name: str = "chance",
    logarithmic: bool = False,
):
    """Loss over steps. `histories`: the Steps of one run, or {name: Steps} of several; `chance`: a line to compare with."""
    runs = histories if isinstance(histories, Mapping) else {"loss": histories}
    drawn, (axes,) = figure(7.2, 3.4)
    ends = []
    for (name, steps), colour, dash in zip(
        runs.items(), COLOURS, itertools.cycle(("-", "--", ":"))
    ):
        numbers, values = [step.step for step in steps], [step.loss for step in steps]
        smooth = _running_mean(values) if values else []
        axes.plot(numbers, values, color=colour, alpha=0.25, linewidth=1)
        axes.plot(numbers[len(values) - len(smooth) :], smooth, dash, color=colour, label=name)
        if values:
            ends.append(
                f"{name}: running mean from {smooth[0]:.2f} to {smooth[-1]:.2f}, {len(values)} steps"
            )
    words = "" if chance is None else f" Dashed line: {chance_name}, {chance:.2f}."
    chance_line(axes, chance, f"{chance_name} = {chance or 0:.2f}")
    label = "loss (nats), running mean\n(pale: each step)"
    axes.set(xlabel="step", ylabel=label, yscale="log" if logarithmic else "linear")
    axes.legend()
    return describe(drawn, f"Training loss over steps: {'; '.join(ends)}.{words}")


def interval_means(history: Sequence, name: str, parts: int = 30) -> dict[int, float]:
    """One loss of a run's Steps, to draw with `curves`: {step: mean since the point before}, at about `parts` points."""
    size = max(1, len(history) // parts)
    pieces = [history[start : start + size] for start in range(0, len(history), size)]
    return {
        piece[-1].step: sum(step.losses[name] for step in piece) / len(piece) for piece in pieces
    }


def _in_notebook() -> bool:
    from IPython import get_ipython

    return get_ipython() is not None


class LiveCurve:
    """A training curve that grows in the notebook, with the time left; give it to `on_step=`, or call it with each Step.

    Redrawn every `redraw_seconds` seconds, and at the end, so that the last picture stays. In a terminal it is a progress bar.

    samples  () -> Figure of what the model makes of something just now, drawn below the curve
    """

    def __init__(
        self,
        chance: float | None = None,
        chance_name: str = "chance",
        redraw_seconds: float = 1.5,
        samples: Callable[[], object] | None = None,
    ):
        self.history: list = []
        self.chance, self.chance_name = chance, chance_name
        self.redraw_seconds, self.samples = redraw_seconds, samples
        self._display, self._bar, self._drawn_at = None, None, -math.inf

    def __call__(self, step) -> None:
        self.history.append(step)
        if not _in_notebook():
            self._progress(step)
        elif step.step == step.steps or time.perf_counter() - self._drawn_at > self.redraw_seconds:
            self._draw()
            self._drawn_at = time.perf_counter()

    def figure(self):
        """The figure as it stands."""
        step = self.history[-1]
        drawn = loss(self.history, self.chance, self.chance_name)
        smooth = _running_mean([step.loss for step in self.history])[-1]
        time_left = "done" if step.step == step.steps else f"about {step.seconds_left:.0f} s left"
        subtitle(
            drawn.axes[0],
            f"step {step.step} of {step.steps}   loss {smooth:.3f}   "
            f"learning rate {step.learning_rate:.1e}   {time_left}",
        )
        return drawn if self.samples is None else stack_figures(drawn, self.samples())

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

        data, metadata = bundle(self.figure())
        if self._display is None:
            self._display = display(data, raw=True, metadata=metadata, display_id=True)
        else:
            self._display.update(data, raw=True, metadata=metadata)


def _parts(value: Score) -> tuple[float, float, tuple[float, ...]]:
    """Mean, standard deviation, single runs."""
    return (value.mean, value.std, value.values) if isinstance(value, Spread) else (value, 0.0, ())


def _in_words(value: Score, form: str = "") -> str:
    mean, std, runs = _parts(value)
    mean_in_words = f"{mean:{form or '.3g'}}"
    return f"{mean_in_words} ± {std:{form or '.2g'}}" if len(runs) > 1 else mean_in_words


def _ticks(values: Sequence[float]) -> list[float]:
    """Those of the increasing values that leave room for their labels on a logarithmic axis."""
    ticks: list[float] = []
    ratio = (values[-1] / values[0]) ** (1 / 14)
    for value in values:
        if not ticks or value >= ticks[-1] * ratio:
            ticks.append(value)
    return ticks


def _short(value: float) -> str:
    """26114 -> '26.1k', 0.447488 -> '0.447'."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 10 * unit or value >= unit > 1e3:
            return f"{value / unit:.3g}{name}"
    return f"{value:g}" if value == int(value) else f"{value:.3g}"


def _covers(legend) -> bool:
    """Does a legend lie over a curve or a band of its axes?"""
    axes = legend.axes
    axes.figure.draw_without_rendering()
    box = legend.get_window_extent()
    drawn = [(line, line.get_path()) for line in axes.lines]
    drawn += [(band, path) for band in axes.collections for path in band.get_paths()]
    return any(
        line.get_transform()
        .transform_path(path)
        .intersects_bbox(box, filled=line in axes.collections)
        for line, path in drawn
    )


@course_style()
def curves(
    series: Mapping[str, Mapping[float, Score]],
    xlabel: str,
    ylabel: str,
    chance: float | None = None,
    lines: Mapping[str, float] | None = None,
    xlog: bool = False,
    ylog: bool = False,
):
    """Scores over a number: {name: {x: Spread or number}}, bands of one standard deviation, and level lines."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    lines = lines or {}
    drawn, (axes,) = figure(7.2, 3.6)
    styles = zip(series.items(), COLOURS, MARKERS)
    for index, ((name, points), colour, marker) in enumerate(styles):
        x = np.array(list(points))
        mean, std = np.array([_parts(point)[:2] for point in points.values()]).reshape(-1, 2).T
        style = {"linestyle": ("-", "--", ":")[index % 3], "markersize": max(3, 8 - 1.5 * index)}
        axes.plot(
            x, mean, color=colour, marker=marker, label=name, **style
        )  # seen if they coincide
        if std.any():
            axes.fill_between(x, mean - std, mean + std, color=colour, alpha=0.2, linewidth=0)
    dashes = itertools.cycle(("-.", (0, (1, 1)), (0, (9, 3))))
    for (name, level), colour, dash in zip(lines.items(), COLOURS[len(series) :], dashes):
        axes.axhline(level, color=colour, linestyle=dash, linewidth=1.5, label=name)
    chance_line(axes, chance)
    scale = {True: "log", False: "linear"}
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale=scale[xlog], yscale=scale[ylog])
    if xlog:
        ticks = _ticks(sorted({x for points in series.values() for x in points}))
        axes.set_xticks(ticks, [_short(tick) for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
    if ylog:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    if len(series) + len(lines) > 4 or _covers(axes.legend()):
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    values = "; ".join(
        f"{name}: " + ", ".join(f"{x:g} → {_parts(point)[0]:.3g}" for x, point in points.items())
        for name, points in series.items()
    )
    line_values = "".join(f" Line {name}: {level:.3g}." for name, level in lines.items())
    return describe(drawn, f"{ylabel} over {xlabel}. {values}.{line_values}", chance)


@course_style()
def bars(
    groups: Mapping[str, Mapping[str, Score]],
    ylabel: str,
    chance: float | None = None,
    sideways: bool = False,
    highest: float = math.inf,
    form: str = "",
):
    """Bars of {group: {name: Spread or number}} with their means; whiskers are one standard deviation, dots the single runs.

    sideways: bars lie, which leaves room for long names of groups;  highest: no whisker goes beyond, 1 for shares
    form: of the numbers, such as ".2f"; default three digits
    """
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    width, count = 0.8 / len(names), len(groups) * len(names)
    lines = sum(group.count("\n") + 1 for group in groups)
    size = (7.2, 1 + max(0.14 * len(groups) + 0.2 * count, 0.22 * lines))
    size = size if sideways else (max(5, 1.2 + 0.5 * count + 0.6 * len(groups)), 3.6)
    drawn, (axes,) = figure(*size)
    for position, name in enumerate(names):
        centres = [
            index + (position - (len(names) - 1) / 2) * width
            for index, group in enumerate(groups.values())
            if name in group
        ]
        means, stds, runs = zip(
            *(_parts(group[name]) for group in groups.values() if name in group)
        )
        above = [min(std, highest - mean) for mean, std in zip(means, stds)]
        whiskers = np.array([stds, above])
        whiskers[:, [len(values) < 2 for values in runs]] = np.nan  # a single run has none
        (axes.barh if sideways else axes.bar)(
            centres,
            means,
            width * 0.92,
            label=name if len(names) > 1 else None,
            color=COLOURS[position],
            alpha=0.85,
            capsize=3,
            **{"xerr" if sideways else "yerr": whiskers if any(stds) else None},
        )
        for centre, mean, std, values in zip(centres, means, above, runs):
            across = [centre] * len(values)
            dots = (values, across) if sideways else (across, values)
            axes.plot(*dots, "o", color="white", markeredgecolor="black", markersize=3.5, zorder=3)
            end, align = max(mean + std, 0, *values), {"ha": "center", "va": "bottom"}
            if sideways:
                align = {"ha": "left", "va": "center"}
            where = (end, centre) if sideways else (centre, end)
            room = (7, 0) if sideways else (0, 2)
            text = f"{mean:{form or '.3g'}}"
            axes.annotate(text, where, room, textcoords="offset points", fontsize=8, **align)
    axes.margins(**{"x" if sideways else "y": 0.12})  # room for the numbers
    chance_line(axes, chance, vertical=sideways)
    (axes.set_yticks if sideways else axes.set_xticks)(range(len(groups)), list(groups))
    (axes.set_xlabel if sideways else axes.set_ylabel)(ylabel)
    if sideways:
        axes.invert_yaxis()
        axes.axvline(0, color="black", linewidth=0.8)
    if len(names) > 1 or chance is not None:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    words = "; ".join(
        f"{group}: " + ", ".join(f"{name} {_in_words(bar, form)}" for name, bar in values.items())
        for group, values in groups.items()
    )
    return describe(drawn, f"{ylabel}. {words}.", chance)
