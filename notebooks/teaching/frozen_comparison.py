"""Lesson 07: the systems of the paper's Table 2, its numbers beside ours."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from teaching.frozen_model import most_frequent
from teaching.frozen_tables import KNOWING, few_shot, markdown, plain
from vlmcourse import evaluation, plots
from vlmcourse.evaluation.published import published
from vlmcourse.recipes.frozen import vqa_episodes

SYSTEMS = {
    "Frozen": "Frozen",
    "smaller LM": "Frozen 400mLM",
    "finetuned": "Frozen finetuned",
    "train-blind": "Frozen train-blind",
    "VQA": "Frozen VQA",
    "VQA-blind": "Frozen VQA-blind",
    "scratch": "–",
}
"""Our rows, and the paper's in Table 2."""


def said(shots: str) -> str:
    """'1 shot', '4 shots'."""
    return f"{shots} shot{'' if shots == '1' else 's'}"


def frozen_results() -> dict:
    """benchmarks/results/replicate_frozen.json."""
    return evaluation.load_results("replicate_frozen")


def knowledge(system: str, shots: str) -> evaluation.Spread:
    """Right answers about category, place and purpose of one row of the paper's table."""
    return evaluation.spread_over_seeds(
        frozen_results()["rows"], system, "questions", KNOWING, shots
    )


def measured_systems() -> list[str]:
    """The rows that were measured, in the order of the paper's table."""
    names = {run["row"] for run in frozen_results()["rows"]}
    return [name for name in SYSTEMS if name in names]


def captions_right(system: str) -> str:
    """The share of captions with the right noun: does this encoder see at all?"""
    rows = [run for run in frozen_results()["rows"] if run["row"] == system]
    if "captions" not in rows[0]:
        return "–"
    return plain(evaluation.spread([run["captions"]["noun"] for run in rows]))


def asked_what(system: str) -> evaluation.Spread:
    """Right answers to 'what is it?' without examples: does this system answer questions at all?"""
    return evaluation.spread_over_seeds(
        frozen_results()["rows"], system, "questions", ("what",), "0"
    )


def table_2(shots: Sequence[str] = ("0", "1", "4")) -> str:
    """The paper's Table 2 and our rows beside it; "–" where one of the two has none."""
    paper, lines = published("frozen-table-2"), []
    theirs = {
        row[0]: [f"{cell}" if cell is not None else "–" for cell in row[1:4]] for row in paper.rows
    }
    for system, label in SYSTEMS.items():
        rows = [run for run in frozen_results()["rows"] if run["row"] == system]
        ours = ["–"] * (len(shots) + 3)
        if rows:
            values = [*(plain(knowledge(system, n)) for n in shots), captions_right(system)]
            ours = [*values, plain(asked_what(system)), str(len(rows))]
        if rows or label in theirs:
            lines.append([system, *theirs.get(label, ["–"] * 3), *ours])
    lines.append(["MAVEx (trained on OKVQA)", *theirs["MAVEx"], "–", "–", "–", "–", "–", "–"])
    head = ["system", *(f"{who}, {said(n)}" for who in ("paper", "ours") for n in shots)]
    columns = ["ours: captions with the right noun", "ours: 'what', 0 shots", "seeds"]
    return markdown([*head, *columns], lines)


def systems_figure():
    """Knowledge without examples and with four, for all rows."""
    chance = frozen_results()["chance"]
    groups = {
        system: {f"{n} examples": knowledge(system, n) for n in ("0", "4")}
        for system in measured_systems()
    }
    level = sum(chance[kind] for kind in KNOWING) / len(KNOWING)
    label = "right answers about category, place, purpose (share)"
    return plots.bars(groups, label, level, True)


CLAIMS = (
    ("four examples help", ("Frozen", "4"), ("Frozen", "0"), "shots"),
    ("a finetuned language model answers worse", ("Frozen", "0"), ("finetuned", "0"), "finetuned"),
    ("a smaller language model answers worse", ("Frozen", "0"), ("smaller LM", "0"), "smaller"),
    ("training blind answers worse", ("Frozen", "0"), ("train-blind", "0"), "blind"),
    ("training on questions (VQA) answers better", ("VQA", "0"), ("Frozen", "0"), "VQA"),
    ("VQA needs the picture", ("VQA", "0"), ("VQA-blind", "0"), "VQA-blind"),
    ("even VQA-blind is above Frozen", ("VQA-blind", "0"), ("Frozen", "0"), "priors"),
)
"""What the paper's Table 2 says: (claim, what should be higher, what should be lower, name of the reason)."""


def published_cell(system: str, shots: str) -> str:
    """A cell of the paper's Table 2."""
    paper = published("frozen-table-2")
    (row,) = [one for one in paper.rows if one[0] == SYSTEMS[system]]
    return f"{row[paper.columns.index(f'{shots} shots')]}"


def by_seed(system: str, shots: str) -> dict[int, float]:
    """{seed: knowledge} of one row."""
    return {
        run["seed"]: statistics.fmean(run["questions"][kind][shots] for kind in KNOWING)
        for run in frozen_results()["rows"]
        if run["row"] == system
    }


REASONS = {
    "shots": "OKVQA's gain may be one of answer format, which our questions don't need",
    "finetuned": "captions and questions are close to each other in our small world, so less may be forgotten",
    "smaller": "our smaller model has read the same facts, and there are few of them",
    "blind": "the encoder named too few things (captions column of the table above)",
    "VQA": "our VQA row trains on nouns, colours and presence only, never on knowledge, and captions name "
    "nouns as well",
    "VQA-blind": "the encoder trained on questions named too few things",
    "priors": "our VQA-blind practised questions about nouns, colours and presence only, so it learnt none of "
    "these answers, nor how frequent they are; OKVQA's questions give more away",
}
"""One sentence for each claim, shown where our verdict isn't 'agrees'."""


def reason_for(name: str) -> str:
    """One of REASONS; of VQA-blind also what the most frequent answers would get."""
    if name == "priors":
        return f"{REASONS[name]} (the most frequent answer of each kind would get {constant_answer():.2f})"
    return REASONS[name]


def constant_answer() -> float:
    """Right answers about category, place and purpose for who always says the most frequent answer of each kind."""
    count = frozen_results()["count"]
    return statistics.fmean(most_frequent(vqa_episodes(kind, 0, count)) for kind in KNOWING)


def below_constant() -> str:
    """The measured systems that answer less, without examples, than the most frequent answers would get."""
    found = {system: knowledge(system, "0").mean for system in measured_systems()}
    below = [f"{name} ({mean:.2f})" for name, mean in found.items() if mean < constant_answer()]
    return " and ".join([", ".join(below[:-1]), below[-1]] if below[1:] else below or ["none"])


def finetuned_sentence() -> str:
    """Does the row 'finetuned' name things? Only then its answers say what a language model forgets."""
    return f"The row 'finetuned' answers 'what' in {asked_what('finetuned').mean:.2f}."


def claims_table() -> str:
    """Each claim of which both systems were measured, on their common seeds, with the verdict of evaluation.verdict."""
    lines = []
    for claim, first, second, reason in CLAIMS:
        one, other = by_seed(*first), by_seed(*second)
        if not (seeds := sorted(set(one) & set(other))):
            continue
        higher, lower = (
            evaluation.spread([values[seed] for seed in seeds]) for values in (one, other)
        )
        found = evaluation.verdict(higher.values, lower.values)
        part = "" if found == "agrees" else reason_for(reason)
        if second[0] == "train-blind":
            part = "its captions name nothing by design"
        lines.append(
            [
                claim,
                f"{published_cell(*first)} and {published_cell(*second)}",
                f"{first[0]}, {said(first[1])}: {plain(higher)}",
                f"{second[0]}, {said(second[1])}: {plain(lower)}",
                str(len(seeds)),
                f"**{found}**",
                part,
            ]
        )
    bound, swapped = few_shot("frozen", "shots", "8"), few_shot("frozen", "swapped", "8")
    lines.append(
        [
            "invented names are bound by examples",
            "above chance from one inner shot on (Table 3)",
            f"four names, 8 examples: {plain(bound)}",
            f"examples swapped: {plain(swapped)}",
            str(len(bound.values)),
            f"**{evaluation.verdict(bound.values, swapped.values)}**",
            "",
        ]
    )
    head = ["claim", "paper (%)", "ours, higher?", "ours, lower?", "seeds", "verdict", "reason"]
    return markdown(head, lines)


def in_words() -> tuple[float, float]:
    """What the language model of these rows answers with right words for pictures: without examples, with four."""
    words = frozen_results()["words"]["questions"]
    none, four = (statistics.fmean(words[kind][n] for kind in KNOWING) for n in ("0", "4"))
    return none, four


def chances() -> str:
    """Chance for each kind of question about a thing."""
    chance = frozen_results()["chance"]
    return ", ".join(f"{kind} {chance[kind]:.2f}" for kind in ("what", *KNOWING))
