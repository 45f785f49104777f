"""Lesson 10: sizes, its comparisons with the paper and with controls, and the paper's Figure 5 with our runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from teaching import blip2_study
from teaching.frozen_tables import markdown, plain
from vlmcourse import evaluation, plots
from vlmcourse.evaluation.published import published
from vlmcourse.papers.blip2 import BLIP2, Stage1
from vlmcourse.parts.tuning import count_trainable

BOTH, ALONE = "both stages", "stage 2 alone"
SEEN, KNOWN = ("what", "colour", "presence"), ("category", "place", "purpose")


def size(module) -> int:
    return sum(p.numel() for p in module.parameters())


def sizes(first: Stage1, second: BLIP2) -> str:
    """What is frozen and what is trained in each stage, as Markdown."""
    vision, lm = size(second.vision), size(second.lm)
    rows = [
        ("image encoder", vision, "frozen", "frozen"),
        ("Q-Former with text side", size(first.qformer), "trained", "–"),
        ("heads of the three losses", count_trainable(first) - size(first.qformer), "trained", "–"),
        ("Q-Former without text side", size(second.qformer), "–", "trained"),
        ("projection", size(second.language_projection), "–", "trained"),
        ("language model", lm, "–", "frozen"),
    ]
    lines = [[name, f"{count:,}", *how] for name, count, *how in rows]
    lines.append(
        ["**trained in all**", "", f"**{count_trainable(first):,}**", f"**{count_trainable(second):,}**"]
    )  # fmt: skip
    return markdown(["part", "parameters", "stage 1", "stage 2"], lines)


def table_1(row: str, column: str):
    """A cell of the paper's Table 1."""
    return published("blip2-table-1").value(row, column)


def in_millions(text: str) -> float:
    """'188M' -> 188.0, '10.2B' -> 10200.0"""
    return float(text[:-1]) * {"M": 1, "B": 1000}[text[-1]]


def times_fewer() -> str:
    """Flamingo's trainable parameters by BLIP-2's, in words."""
    flamingo, ours = (
        in_millions(table_1(row, "trainable parameters")) for row in ("Flamingo", "BLIP-2")
    )
    return f"{flamingo / ours:.0f}"


def about_parameters() -> str:
    """What Table 1's column of parameters counts, in words; the numbers of stage 2 are the paper's Table 2."""
    vqa = [table_1(row, "VQAv2 test-dev accuracy") for row in ("BLIP-2", "Flamingo")]
    return (
        f"**What the numbers of parameters say.** Flamingo trains {times_fewer()} times as many parameters as BLIP-2, "
        f"and is {vqa[0] - vqa[1]:.1f} points lower on VQAv2. But 188M counts what stage 1 trains. Stage 2 trains 108M: "
        "the Q-Former without its text side, and the projection. The model that answers has 12.1 billion: FlanT5-XXL and "
        "ViT-g must run for each answer (the paper's Table 2). For captions and retrieval the image encoder was fine-tuned, too (Tables 3 and 5). And FlanT5 was "
        "trained to follow instructions; Flamingo's language model was not."
    )


def results() -> dict:
    """benchmarks/results/replicate_blip2.json."""
    return evaluation.load_results("replicate_blip2")


def measured(row: str, *path) -> evaluation.Spread:
    """A measurement of a row over seeds."""
    return evaluation.spread_over_seeds(results()["rows"], row, *path)


def common(first: evaluation.Spread, second: evaluation.Spread) -> str:
    """The verdict on seeds that both rows have."""
    count = min(len(first.values), len(second.values))
    return evaluation.verdict(first.values[:count], second.values[:count])


def early_step() -> str:
    """The number of a step in the first eighth of stage 2."""
    steps = list(results()["rows"][0]["curve"])
    return steps[len(steps) // 8]


def stage_curves():
    """The paper's Figure 5 with our runs: stage 2's loss after stage 1 and without it."""
    steps = [int(step) for step in results()["rows"][0]["curve"]]
    series = {
        words: {step: measured(name, "curve", str(step)) for step in steps}
        for words, name in (("with stage 1", BOTH), ("without stage 1", ALONE))
    }
    return plots.curves(series, "step of stage 2", "loss (nats per token)")


@dataclass(frozen=True)
class Claim:
    """One line of the comparison: what should be higher, what lower, the reason to give unless it agrees, and the two runs' names."""

    words: str
    paper: str
    measure: str
    higher: Callable[[], evaluation.Spread]
    lower: Callable[[], evaluation.Spread]
    reason: str
    runs: tuple[str, str] = ("with stage 1", "without")


def of_study(name: str) -> evaluation.Spread:
    """R@1 of a row of the study."""
    return evaluation.spread_over_seeds(blip2_study.kept(), name, "R@1")


ENOUGH = "our image encoder already tells the nouns of this world (lesson 02), so stage 2 finds them by itself"
CLAIMS = (
    Claim(
        "stage 1 helps: captions name the thing",
        "Fig. 5 has VQA alone",
        "right nouns (share)",
        lambda: measured(BOTH, "captions", "noun"),
        lambda: measured(ALONE, "captions", "noun"),
        ENOUGH,
    ),
    Claim(
        "stage 1 helps: answers that a picture can show",
        "Fig. 5: far better with stage 1",
        "right answers: what, colour (of things and of backgrounds), presence",
        lambda: measured(BOTH, "questions", SEEN),
        lambda: measured(ALONE, "questions", SEEN),
        "only *what* could differ: colours are all right in both, and *presence* the language model itself can't answer",
    ),
    Claim(
        "stage 1 helps: answers that need knowledge",
        "Fig. 5: far better with stage 1",
        "right answers: category, place, purpose",
        lambda: measured(BOTH, "questions", KNOWN),
        lambda: measured(ALONE, "questions", KNOWN),
        "unknown; an untested guess: vectors fitted to the words of captions are a worse start for what the language "
        "model knows about a thing",
    ),
    Claim(
        "stage 1 helps: stage 2 starts lower",
        "Fig. 5: higher scores from the start",
        "loss at step {step} of stage 2",
        lambda: measured(ALONE, "curve", early_step()),
        lambda: measured(BOTH, "curve", early_step()),
        "the first steps of stage 2 are spent on the form of captions, which stage 1 doesn't teach",
        ("without stage 1", "with"),
    ),
    Claim(
        "ITG helps retrieval",
        "Table 6: a little better with ITG",
        "R@1, small trainings of section 7",
        lambda: of_study("largest (paper)"),
        lambda: of_study(blip2_study.WITHOUT_ITG),
        "the small trainings are short, and three losses share the same few steps",
        ("with ITG", "without"),
    ),
)


def claims_table() -> str:
    """The paper's claims beside our measurements, with the verdict of evaluation.verdict, as Markdown."""
    lines = []
    for claim in CLAIMS:
        first, second = claim.higher(), claim.lower()
        found = common(first, second)
        seeds = min(len(first.values), len(second.values))
        lines.append(
            [
                claim.words,
                claim.paper,
                claim.measure.format(step=early_step()),
                *(f"{run}: {plain(one)}" for run, one in zip(claim.runs, (first, second))),
                str(seeds),
                f"**{found}**",
                "" if found == "agrees" else claim.reason,
            ]
        )
    head = ["claim", "paper", "we measure", "expected higher", "expected lower", "seeds"]
    return markdown([*head, "verdict", "a possible reason"], lines)


def controls_table() -> str:
    """Our own controls, which the paper doesn't claim, as Markdown."""
    ranked, plain_way = (
        (f"image to text{how} R@1", f"text to image{how} R@1") for how in (", re-ranked", "")
    )
    changes = {"exchanged": "exchanged things", "repainted": "another background"}
    rows = [
        ("answers need the picture", "right answers, all kinds", "its picture", "blank",
         measured(BOTH, "questions", SEEN + KNOWN), measured(BOTH, "questions, blind", SEEN + KNOWN)),
        ("answers need this picture", "right answers, all kinds", "its picture", "another's",
         measured(BOTH, "questions", SEEN + KNOWN), measured(BOTH, "questions, shuffled", SEEN + KNOWN)),
        ("re-ranking by ITM helps", "R@1, mean of both directions", "re-ranked", "by ITC alone",
         measured(BOTH, "stage 1", ranked), measured(BOTH, "stage 1", plain_way)),
        *(
            (f"ITM notices {words} more often than ITC", "right caption preferred, of two", "ITM", "ITC",
             measured(BOTH, "stage 1", f"told apart, {name}", "match"),
             measured(BOTH, "stage 1", f"told apart, {name}", "contrast"))
            for name, words in changes.items()
        ),
    ]  # fmt: skip
    lines = [
        [words, what, f"{one}: {plain(first)}", f"{other}: {plain(second)}", f"**{common(first, second)}**"]
        for words, what, one, other, first, second in rows
    ]  # fmt: skip
    return markdown(["control", "we measure", "first", "second", "first higher?"], lines)


def study_table() -> str:
    """The study of collapsed queries, as Markdown: mean and spread over seeds, and R@1 beside the paper's way."""
    rows, base = blip2_study.kept(), of_study("largest (paper)")
    words = {"agrees": "higher", "disagrees": "lower", "within noise": "within noise"}
    lines = []
    for name in blip2_study.VARIANTS:
        used, alike, recall = (
            blip2_study.over_seeds(rows, name, what) for what in blip2_study.MEASURES
        )
        beside = "–" if name == "largest (paper)" else words[common(recall, base)]
        lines.append(
            [name, plain(used), plain(alike), plain(recall), str(len(recall.values)), beside]
        )
    head = ["ITC compares by", *blip2_study.MEASURES, "seeds", "R@1 beside the first row"]
    return markdown(head, lines)
