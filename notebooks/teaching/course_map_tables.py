"""Lesson 00's tables: the systems, and BLIP-2's claim beside this course's bridges."""

from __future__ import annotations

import itertools
import math

from IPython.display import Markdown

from teaching.course_map_answers import systems
from vlmcourse.evaluation import Spread, spread_over_seeds, verdict
from vlmcourse.evaluation.published import PublishedTable

KINDS = {
    "what": "what is the thing?",
    "colour": "what colour is the cat?",
    "presence": "is there a cat?",
    "category": "what kind of thing is the thing?",
    "place": "where can you find the thing?",
    "purpose": "what is the thing for?",
    "how many": "how many things are there?",
    "left or right": "is the cat left of (or right of, above, below) the tree?",
}
"""Kinds of questions, with an example of each."""


def systems_table() -> Markdown:
    """What is frozen, what is trained, how modalities meet, which data, which objective; the flavours are Exercise 7's."""
    lines = [
        "| system | frozen | trained | how modalities meet | data | objective | lesson |",
        "|---|---|---|---|---|---|---|",
    ]
    for system in systems():
        link = f"[{system['name']}](https://arxiv.org/abs/{system['arxiv']}) {system['year']}"
        cells = ("frozen", "trained", "meet", "data", "objective")
        words = " | ".join(system[cell] for cell in cells)
        lines.append(f"| {link} | {words} | {system['lesson'] or '–'} |")
    return Markdown("\n".join(lines))


def _number(words: str) -> float:
    """'10.2 billion' -> 10.2e9."""
    figure, unit = words.split()
    return float(figure) * {"million": 1e6, "billion": 1e9}[unit]


def beside_ours(paper: PublishedTable, results: dict) -> Markdown:
    """BLIP-2's claim (its Table 1) beside this course's bridges, our controls of these questions, and all kinds of questions."""

    def ours(row: str, *path: str) -> Spread:
        return spread_over_seeds(results["rows"], row, *path)

    def of_paper(row: str) -> str:
        size = paper.value(row, "trainable parameters")
        return size.replace("M", " million").replace("B", " billion")

    def percent(score: Spread) -> str:
        return f"{100 * score.mean:.0f} ± {100 * score.std:.0f}"

    small, large = "BLIP-2", "Flamingo"
    sizes = {row: ours(row, "learnt") for row in (small, large)}
    own = f"1 to {sizes[large].mean / sizes[small].mean:.1f}"
    published = f"1 to {_number(of_paper(large)) / _number(of_paper(small)):.0f}"
    kinds = {
        kind: [ours(row, "questions", kind, "model") for row in (small, large)] for kind in KINDS
    }
    right = dict(zip((small, large), kinds["what"]))
    vqa = {row: paper.value(row, "VQAv2 test-dev accuracy") for row in (small, large)}
    questions, seeds = results["count"], len(right[small].values)
    scores = itertools.chain.from_iterable(kinds.values())
    error = max(math.sqrt(score.mean * (1 - score.mean) / questions) for score in scores)
    lines = [
        "| | paper | ours | verdict |",
        "|---|---|---|---|",
        "| trained parameters: BLIP-2 has fewer than Flamingo | "
        f"{of_paper(small)} against {of_paper(large)} ({published}) | "
        f"{sizes[small].mean:,.0f} against {sizes[large].mean:,.0f} ({own}) | by design |",
        "| answers without examples: BLIP-2 is better than Flamingo | VQAv2 accuracy "
        f"{vqa[small]} against {vqa[large]} % (Flamingo's prompt holds two examples without images) | {percent(right[small])} against "
        f"{percent(right[large])} % of {questions} 'what' questions ({seeds} seeds) | "
        f"{verdict(right[small].values, right[large].values)} |",
        "",
        "| our controls: right 'what' answers, % | BLIP-2 | Flamingo |",
        "|---|---|---|",
    ]
    names = {
        "model": "right images",
        "blind": "blank images",
        "commonest answer": "always the most frequent answer",
        "chance": "chance",
    }
    for key, name in names.items():
        shares = (percent(ours(row, "questions", "what", key)) for row in (small, large))
        lines.append(f"| {name} | {' | '.join(shares)} |")
    lines += [
        "",
        "| our right answers by kind of question, % | an example | BLIP-2 | Flamingo | "
        "always the most frequent answer | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for kind, (one, other) in kinds.items():
        commonest = ours(small, "questions", kind, "commonest answer")
        lines.append(
            f"| {kind} | {KINDS[kind]} | {percent(one)} | {percent(other)} | {100 * commonest.mean:.0f} | "
            f"{verdict(one.values, other.values)} |"
        )
    lines += [
        "",
        f"± is the standard deviation over the {seeds} seeds only, on the same {questions} questions of a kind. The choice of the "
        f"questions adds a standard error of up to {100 * error:.1f} points: with other questions of the same kind a share would "
        "typically move by that much. The verdict doesn't count it.",
    ]
    return Markdown("\n".join(lines))
