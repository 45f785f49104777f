"""Lesson 07: tables and figures of the measured results, and the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from teaching.frozen_figures import with_chance
from teaching.frozen_model import by_background, most_frequent, questions
from vlmcourse import evaluation, plots, world
from vlmcourse.evaluation.published import published
from vlmcourse.recipes.few_shot_report import binding

PREFIXES = {
    "frozen": "linear (our variant)",
    "frozen_word_hull": "word hull (ours)",
}
"""Recipes, and what the lesson calls their prefix."""
KNOWING = ("category", "place", "purpose")


def plain(value: evaluation.Spread) -> str:
    """Mean and spread; of a single seed the value alone."""
    if len(value.values) == 1:
        return f"{value.mean:.2f} (one seed)"
    return f"{value.mean:.2f} ± {value.std:.2f}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def measured_prefixes() -> dict[str, str]:
    """Those of PREFIXES that were measured."""
    known = evaluation.load_results("in_context")
    return {recipe: name for recipe, name in PREFIXES.items() if recipe in known}


def few_shot_runs(recipe: str) -> list[dict]:
    """The runs of a recipe in benchmarks/results/in_context.json."""
    return evaluation.load_results("in_context")[recipe]


def few_shot(recipe: str, *path: str) -> evaluation.Spread:
    """A measurement of a recipe over its seeds, such as few_shot("frozen", "shots", "4")."""
    return evaluation.spread([_inside(run, path) for run in few_shot_runs(recipe)])


def _inside(values, path: Sequence[str]) -> float:
    for key in path:
        values = values[key]
    return values


def shots_figure():
    """Right names by number of examples, with swapped examples, and of a rule that sees backgrounds alone."""
    first = few_shot_runs("frozen")[0]
    series: dict = {
        name: {int(shots): few_shot("frozen", what, shots) for shots in first[what]}
        for what, name in (("shots", "Frozen"), ("swapped", "Frozen, examples swapped"))
    }
    series["rule: the name with the query's background"] = {
        int(shots): by_background(binding(first["questions"], int(shots)))
        for shots in first["shots"]
    }
    drawn = plots.curves(series, "examples in the prompt", "right names (share)", chance=0.25)
    (axes,) = drawn.axes
    axes.set_xticks([int(shots) for shots in first["shots"]])
    axes.set_ylim(0, 1.05)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, frameon=False)
    return drawn


def new_things_figure(shots: str = "8"):
    """Right names with names and things as in `shots_figure`, six other names, and nouns that no training picture showed; controls."""
    rows = {
        "names and things of Figure 11": ("shots",),
        "six other names": ("held_out_names",),
        "novel nouns": ("novel_nouns",),
        "examples swapped": ("swapped",),
        "all pictures grey": ("blind",),
    }
    groups = {row: {"Frozen": few_shot("frozen", *path, shots)} for row, path in rows.items()}
    return plots.bars(groups, f"right names (share), {shots} examples", 0.25, True, highest=1)


def knowledge_figure(shots: Sequence[str] = ("0", "4")):
    """Right answers about things on pictures, for both prefixes, without examples and with four."""
    kinds = few_shot_runs("frozen")[0]["knowledge"]
    groups = {
        f"{kind}, {n} examples": {
            name: few_shot(recipe, "knowledge", kind, n)
            for recipe, name in measured_prefixes().items()
        }
        for kind in kinds
        for n in shots
    }
    chance = evaluation.load_results("replicate_frozen")["chance"]
    names = measured_prefixes().values()
    marks = {
        f"{kind}, {n} examples": dict.fromkeys(names, chance[kind]) for kind in kinds for n in shots
    }
    drawn = plots.bars(groups, "right answers (share)", sideways=True, highest=1)
    return with_chance(drawn, marks)


def shots_sentence(shots: str = "8") -> str:
    """The numbers of `shots_figure` and `new_things_figure` in words."""
    a, b, c, d = (
        f"{few_shot('frozen', what, shots).mean:.2f}"
        for what in ("shots", "swapped", "held_out_names", "novel_nouns")
    )
    return (
        f"{a} of the names are right with {shots} examples, {b} with swapped examples, {c} with the six "
        f"other names, {d} for novel nouns ({len(few_shot_runs('frozen'))} seeds). Chance is 0.25."
    )


def constant_answers(shots: int = 0) -> str:
    """What always saying the most frequent answer gets right of the questions of `knowledge_figure`, in words."""
    facts = few_shot_runs("frozen")[0]
    said = [
        f"{kind} {most_frequent(questions(kind, shots, facts['questions'] // 4, world.known_nouns())):.2f}"
        for kind in ("what", *KNOWING)
    ]
    return ", ".join(said)


def prefixes_table() -> str:
    """Both prefixes side by side: mean and spread over seeds, and whether they differ by the course's rule."""
    rows = [
        ("names, 4 examples", ("shots", "4")),
        ("names, 8 examples", ("shots", "8")),
        ("six other names, 8 examples", ("held_out_names", "8")),
        ("novel nouns, 8 examples", ("novel_nouns", "8")),
        ("names, 8 swapped examples", ("swapped", "8")),
        *(
            (f"{kind}, {shots}", ("knowledge", kind, n))
            for n, shots in (("0", "no example"), ("4", "4 examples"))
            for kind in ("what", *KNOWING)
        ),
    ]
    lines = []
    for row, path in rows:
        found = [few_shot(recipe, *path) for recipe in measured_prefixes()]
        count = min(len(one.values) for one in found)
        difference = evaluation.verdict(found[-1].values[:count], found[0].values[:count])
        words = {"agrees": "hull is higher", "disagrees": "linear is higher"}
        difference = words.get(difference, difference)
        lines.append([row, *map(plain, found), str(count), f"**{difference}**"])
    return markdown(["measurement", *measured_prefixes().values(), "seeds", "difference"], lines)


def examples_sentence() -> str:
    """What four examples do to questions of knowledge, for both prefixes, in words; each change judged by the one rule."""
    words = {"agrees": "higher in every seed", "disagrees": "lower in every seed"}
    parts = []
    for recipe, name in measured_prefixes().items():
        changes = []
        for kind in KNOWING:
            none, four = (few_shot(recipe, "knowledge", kind, n) for n in ("0", "4"))
            verdict = evaluation.verdict(four.values, none.values)
            verdict = words.get(verdict, verdict)
            changes.append(f"{kind} {none.mean:.2f} to {four.mean:.2f} ({verdict})")
        parts.append(
            f"With the prefix **{name}**, from none to four examples: {', '.join(changes)}."
        )
    return " ".join(parts)


def sizes(model) -> str:
    """The paper's sizes beside those of the course's model."""
    facts = {row[0]: row[1:] for row in published("frozen-facts").rows}
    lm = sum(p.numel() for p in model.lm.parameters())
    vision = sum(p.numel() for p in model.parameters() if p.requires_grad)
    c = model.config
    rows = [
        [
            "language model (frozen)",
            f"{facts['language model'][0]} {facts['language model'][1]}, GPT-like",
            f"{lm:,} parameters, Llama-like",
        ],
        [
            "its texts",
            f"{facts['text the language model was trained on'][0]} (web pages)",
            "documents about our world",
        ],
        ["its positions", "relative", "relative (rotary)"],
        [
            "image encoder (trained from random weights)",
            f"{facts['image encoder'][0]}",
            f"ViT, {c.vision_depth} layers",
        ],
        ["vectors of a picture", f"{facts['vectors of a picture'][0]}", f"{c.prefix_length}"],
        ["trained parameters", "those of the encoder", f"{vision:,}"],
        ["captions", "Conceptual Captions, 3 million", "sampled"],
    ]
    return markdown(["", "paper", "ours"], rows)


def scores_table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """{column: {row: share}} as a Markdown table."""
    rows = list(next(iter(columns.values())))
    lines = [[row, *(f"{column[row]:.2f}" for column in columns.values())] for row in rows]
    return markdown(["", *columns], lines)
