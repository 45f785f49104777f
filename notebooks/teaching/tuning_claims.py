"""Lesson 06, its second half: what the measurements say in words, and the papers' claims beside them."""

from __future__ import annotations

from collections.abc import Callable

from teaching import tuning_task
from teaching.tuning_figures import METHODS, Rows, spread_of
from vlmcourse import evaluation
from vlmcourse.evaluation.published import published


def about(rows: Rows, task: str, task_of: Callable[[int], tuning_task.Task]) -> str:
    """In words, from the means over seeds: which methods generalise, which learn by heart, and which lose facts."""

    def listed(key: str, chosen: Callable[[float], bool]) -> str:
        means = {name: spread_of(rows, name, task, key).mean for name in METHODS}
        return ", ".join(f"{n} ({mean:.2f})" for n, mean in means.items() if chosen(mean)) or "none"

    seeds = sorted({row["seed"] for row in rows if row["task"] == task})
    usual = evaluation.spread([tuning_task.most_frequent(task_of(seed)) for seed in seeds]).mean
    return "\n".join(
        [
            f"held-out nouns, 0.9 or better: {listed('held-out nouns', lambda mean: mean >= 0.9)}",
            f"held-out nouns, within 0.05 of the most frequent answer, or below it: "
            f"{listed('held-out nouns', lambda mean: mean <= usual + 0.05)}",
            f"training nouns, 0.9 or better: {listed('training nouns', lambda mean: mean >= 0.9)}",
            f"facts, below 0.95: {listed('facts', lambda mean: mean < 0.95)}",
        ]
    )


def about_few_examples(rows: Rows) -> str:
    """In words, from the means over seeds: the order of the ways to use few examples."""
    ways = {
        "in the prompt, 'noun : answer'": "noun : answer .",
        "in the prompt, a known form": "question : which ?",
        "prompt tuning, 5 vectors": "prompt, 5 vectors",
        "all weights": "all weights",
    }
    lines = []
    for count in sorted({one["examples"] for one in rows if one["row"] in tuning_task.FORMS}):
        means = {
            way: spread_of(rows, row, "place", examples=count).mean for way, row in ways.items()
        }
        order = sorted(means, key=lambda way: -means[way])
        lines.append(f"{count} examples: " + "; ".join(f"{way} {means[way]:.2f}" for way in order))
    return "\n".join(lines)


def claims(rows: Rows) -> list[tuple]:
    """The papers' claims that replicate_tuning can repeat, and our controls, for `scaling_figures.comparison`."""
    whole, prompt, longest = "all weights", "prompt, 5 vectors", "prompt, 20 vectors"
    glue = published("adapters-facts")
    glue_numbers = (
        f"GLUE {glue.value('GLUE, full', 'value')}; {glue.value('GLUE, adapters', 'value')}"
    )

    def pair(
        first: str, second: str, task: str, key: str = "held-out nouns", examples=None
    ) -> tuple:
        return tuple((name, spread_of(rows, name, task, key, examples)) for name in (first, second))

    spread_reason = "The gap is below two pooled standard deviations; a seed has 37 held-out nouns."
    return [
        ("Full fine-tuning is a little better than adapters (Houlsby); ours: new words", glue_numbers,
         *pair(whole, "adapters, width 8", "new words"), spread_reason),
        ("In small models prompt tuning stays behind full fine-tuning (Lester, Fig. 1); ours: *new words* only", "yes, below about 10 billion",
         *pair(whole, prompt, "new words"), spread_reason),
        ("... ours: place", "yes, below about 10 billion",
         *pair(whole, prompt, "place"), "Both are right on all held-out nouns or nearly all."),
        ("Longer prompts are better (Lester, Fig. 3a); ours: new words, 20 and 1 vectors", "yes, up to about 20",
         *pair(longest, "prompt, 1 vector", "new words"), spread_reason),
        ("A trained prompt beats examples in the prompt (Lester, Fig. 1); ours: place, 8 examples", "T5 beats GPT-3 on SuperGLUE",
         *pair(prompt, "noun : answer .", "place", examples=8), spread_reason),
        ("*Control*: full fine-tuning needs the pre-trained model; ours: place", "–",
         *pair(whole, "all weights, not pre-trained", "place"), spread_reason),
        ("*Control*: a prompt keeps more facts than full fine-tuning; ours: place, facts", "–",
         *pair(prompt, whole, "place", "facts"), spread_reason),
    ]  # fmt: skip
