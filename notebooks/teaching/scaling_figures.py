"""Lesson 06, its first half: figures and tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vlmcourse import plots
from vlmcourse.evaluation.published import published
from vlmcourse.plots.style import COLOURS, GREY, MARKERS, course_style, describe, figure

Rows = Sequence[Mapping[str, float]]
Valley = Callable[[Sequence[float], Sequence[float]], tuple[float, bool]]
UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


def short(value: float) -> str:
    """15271 -> '15k'."""
    for unit, name in UNITS:
        if value >= unit:
            return f"{value / unit:.2g}{name}" if value < 10 * unit else f"{value / unit:.0f}{name}"
    return f"{value:.0f}"


def power(flops: float) -> str:
    """1e11 -> '10^11' in matplotlib's mathematics."""
    exponent = int(np.floor(np.log10(flops)))
    factor = flops / 10**exponent
    return f"${factor:.0f} \\times 10^{{{exponent}}}$" if factor > 1.01 else f"$10^{{{exponent}}}$"


def budgets(rows: Rows) -> dict[float, list[list[Mapping[str, float]]]]:
    """{floating-point operations: the runs of each seed, by size}; left out: seeds that lack a size, budgets with fewer than 4."""
    found = {}
    for flops in sorted({row["flops"] for row in rows}):
        here = [row for row in rows if row["flops"] == flops]
        widths = sorted({row["width"] for row in here})
        runs = [
            sorted((row for row in here if row["seed"] == seed), key=lambda row: row["width"])
            for seed in sorted({row["seed"] for row in here})
        ]
        found[flops] = [run for run in runs if [row["width"] for row in run] == widths]
    return {flops: runs for flops, runs in found.items() if len(runs[0]) >= 4}


def best_sizes(
    rows: Rows, valley: Valley, key: str = "parameters"
) -> dict[float, list[tuple[float, bool]]]:
    """{budget: [(best size, is the minimum inside?) of each seed]}."""
    return {
        flops: [valley([row[key] for row in run], [row["loss"] for row in run]) for run in runs]
        for flops, runs in budgets(rows).items()
    }


@course_style()
def iso_flop(rows: Rows, valley: Valley):
    """Loss over size at each budget: means over seeds, a parabola through them, and its lowest point."""
    drawn, (axes,) = figure(7.2, 4.2)
    words = []
    for (flops, runs), colour, marker in zip(budgets(rows).items(), COLOURS, MARKERS):
        sizes = np.array([row["parameters"] for row in runs[0]])
        losses = np.array([[row["loss"] for row in run] for run in runs])
        mean, std = losses.mean(0), losses.std(0, ddof=1) if len(runs) > 1 else 0 * losses[0]
        axes.errorbar(sizes, mean, std, color=colour, marker=marker, linestyle="none", capsize=3)
        x = np.linspace(np.log(sizes[0]), np.log(sizes[-1]), 60)
        curve = np.polyval(np.polyfit(np.log(sizes), mean, 2), x)
        seeds = f"{len(runs)} seed" + "s" * (len(runs) > 1)
        label = f"C = {power(flops)} ({seeds})"
        axes.plot(np.exp(x), curve, "--", color=colour, linewidth=1.3, label=label)
        best, inside = valley(sizes.tolist(), mean.tolist())
        if inside:
            low = np.polyval(np.polyfit(np.log(sizes), mean, 2), np.log(best))
            axes.plot(best, low, "*", markersize=15, fillstyle="none", markeredgecolor="black")
            axes.annotate(
                short(best), (best, low), (0, -16), textcoords="offset points", ha="center"
            )
        words.append(f"C = {flops:.0e}: " + ", ".join(f"{n} {y:.3f}" for n, y in zip(sizes, mean)))
    axes.set(xscale="log", xlabel="parameters N (without embedding tables)",
             ylabel="loss on new texts (nats per character)")  # fmt: skip
    ticks = [2000, 5000, 10_000, 20_000, 50_000, 100_000]
    axes.set_xticks(ticks, [short(tick) for tick in ticks])
    axes.minorticks_off()
    axes.margins(y=0.12)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return describe(drawn, f"Loss over parameters at equal compute. {'; '.join(words)}.")


def true_costs(rows: Rows, share: Callable[[int, float], float]) -> str:
    """One line a budget: cost of its smallest model as a multiple of its largest, with attention's scores counted."""
    lines = []
    for flops, runs in budgets(rows).items():
        small, *_, large = [1 + share(row["width"], row["parameters"]) for row in runs[0]]
        lines.append(
            f"C = {flops:.0e}: the smallest model costs {small / large:.2f} times the largest"
        )
    return "\n".join(lines)


@course_style()
def law(
    best: Mapping[float, Sequence[tuple[float, bool]]],
    exponent: float,
    factor: float,
    limits: tuple[float, float],
):
    """Best size over compute with the fitted power law and other exponents that the data allow; beside it, growth by 0.5 and by
    Kaplan's 0.73 from the same middle.

    limits  the lowest and the highest of the exponents, see scaling_claims.exponent_range
    """
    drawn, (axes,) = figure(7.2, 3.8)
    for flops, found in best.items():
        axes.plot([flops] * len(found), [size for size, _ in found], "o", color=COLOURS[0])
    x = np.array([min(best) / 1.6, max(best) * 1.6])
    middle = np.exp(np.mean(np.log(list(best))))
    anchor = factor * middle**exponent
    kaplan = published("chinchilla-exponents").value("Kaplan", "a")
    shade = np.geomspace(*x, 41)
    fan = [anchor * (shade / middle) ** slope for slope in limits]
    span = f"ours, sizes or seeds left out: {limits[0]:.3f} to {limits[1]:.3f}"
    axes.fill_between(shade, *fan, color=COLOURS[0], alpha=0.18, linewidth=0, label=span)
    for slope, name, colour, style in (
        (exponent, f"ours: {exponent:.3f}", COLOURS[0], "-"),
        (0.5, "equal growth of N and D: 0.500", GREY, "--"),
        (kaplan, f"Kaplan et al.: {kaplan}", COLOURS[3], ":"),
    ):
        axes.plot(x, anchor * (x / middle) ** slope, style, color=colour, label=name)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="budget C (floating-point operations)",
        ylabel="best size N (parameters)",
    )
    axes.set_xticks(list(best), [power(flops) for flops in best])
    ticks = [5000, 10_000, 20_000, 50_000]
    axes.set_yticks(ticks, [short(tick) for tick in ticks])
    axes.minorticks_off()
    axes.legend(title="exponent")
    points = "; ".join(
        f"C = {c:.0e}: {', '.join(short(n) for n, _ in found)}" for c, found in best.items()
    )
    return describe(
        drawn, f"Best size over compute. {points}. Fitted exponent {exponent:.3f}; {span}."
    )


OFFSETS = {"GPT-3": (-8, 8), "Jurassic-1": (6, -12), "LaMDA": (-8, -13), "Gopher": (6, 6), "MT-NLG": (6, -4), "Chinchilla": (8, -4)}  # fmt: skip


@course_style()
def models():
    """Parameters and tokens of published models, and the compute-optimal line of Chinchilla's Table 3."""
    drawn, (axes,) = figure(7.2, 4.2)
    table = np.array(published("chinchilla-table-3").rows[2:7])
    axes.plot(
        table[:, 0], table[:, 2], "--", color=GREY, marker=".", label="compute-optimal (Table 3)"
    )
    words = []
    for model, size, tokens in published("chinchilla-models").rows:
        colour, marker = (COLOURS[3], "D") if model == "Chinchilla" else (COLOURS[0], "o")
        axes.plot(size, tokens, marker, color=colour)
        axes.annotate(model, (size, tokens), OFFSETS[model], textcoords="offset points",
                      ha="right" if OFFSETS[model][0] < 0 else "left")  # fmt: skip
        words.append(f"{model}: {size} billion parameters, {tokens} billion tokens")
    sizes, flops = np.array([50, 700]), published("chinchilla-table-3").rows[3][1]
    tokens = flops / 6 / (sizes * 1e9) / 1e9
    axes.plot(sizes, tokens, ":", color=COLOURS[2], label=f"equal compute, {flops:.1e} operations")
    axes.set(xscale="log", yscale="log", xlabel="parameters (billions)", ylabel="training tokens (billions)",
             xlim=(8, 800), ylim=(100, 15_000))  # fmt: skip
    axes.set_xticks(ticks := [10, 20, 50, 100, 200, 500], ticks)
    axes.set_yticks(ticks := [100, 300, 1000, 3000, 10_000], [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.legend(loc="upper left")
    return describe(drawn, f"Published models. {'; '.join(words)}.")


def mmlu():
    """The MMLU ladder of the lecture, as bars."""
    rows = {who: {"accuracy": value} for who, value in published("chinchilla-mmlu").rows}
    return plots.bars(rows, "MMLU accuracy (%)", sideways=True)


CONSTANTS: dict[str, dict[str, float]] = {
    "as printed in 2022": {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28},
    "refitted in 2024": {"E": 1.82, "A": 482.0, "B": 2085.0, "alpha": 0.348, "beta": 0.366},
}
"""Of the loss formula: Hoffmann et al. (Eq. 10) and Besiroglu et al. (arXiv 2404.10102)."""
CHINCHILLA_FLOPS = 6 * 70e9 * 1.4e12


def split_table(best_split: Callable) -> str:
    """The best size for Chinchilla's compute by each set of constants, as Markdown."""
    lines = [
        "| constants | best size | tokens | tokens per parameter | size grows as C to the power |",
        "|---|---|---|---|---|",
    ]
    for name, fit in CONSTANTS.items():
        size, tokens = best_split(CHINCHILLA_FLOPS, fit)
        more = best_split(10 * CHINCHILLA_FLOPS, fit)[0]
        lines.append(
            f"| {name} | {short(size)} | {short(tokens)} | {tokens / size:.0f} | {np.log10(more / size):.2f} |"
        )
    return "\n".join([*lines, "| *Chinchilla as it was trained* | 70B | 1.4T | 20 | |"])


def sizes_table(
    block_parameters: Callable,
    model_of: Callable,
    widths: Sequence[int],
    depth: int,
    share: Callable[[int, float], float],
) -> str:
    """12 L d^2 beside the true numbers of parameters of the character models, and attention's scores beside 2 N."""
    lines = [
        "| width d | 12 L d² | N: all but embedding tables | with embedding tables | share of the tables "
        "| attention's scores and sums, share of 2 N |",
        "|---|---|---|---|---|---|",
    ]
    for width in widths:
        model = model_of(width)
        whole = sum(parameter.numel() for parameter in model.parameters())
        size = model.parameters_that_multiply()
        lines.append(
            f"| {width} | {block_parameters(width, depth):,} | {size:,} | {whole:,} | {1 - size / whole:.0%} "
            f"| {share(width, size):.0%} |"
        )
    return "\n".join(lines)
