"""Lesson 06, its second half: what the measurements say in words, and the papers' claims beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from teaching import tuning_task
from teaching.tuning_figures import METHODS, WAYS, Rows, spread_of
from vlmcourse import evaluation
from vlmcourse.evaluation.published import published

TaskOf = Callable[[int], tuning_task.Task]


def dots(rows: Rows) -> str:
    """What a caption says about dots and whiskers: whiskers are drawn from three seeds on."""
    many = len({row["seed"] for row in rows}) > 2
    return "Dots: seeds; whiskers: one standard deviation." if many else "Dots: seeds."


def guessing(rows: Rows, task: str, task_of: TaskOf) -> tuple[float, float]:
    """Share of held-out nouns that the most frequent answer gets, mean over seeds; and what is clearly above it.

    Clearly above: by two standard errors of a share that is counted on the held-out nouns of one seed.
    """
    seeds = sorted({row["seed"] for row in rows if row["task"] == task})
    usual = evaluation.spread([tuning_task.most_frequent(task_of(seed)) for seed in seeds]).mean
    nouns = len(task_of(0).held_out)
    return usual, usual + 2 * (usual * (1 - usual) / nouns) ** 0.5


def about(rows: Rows, task: str, task_of: TaskOf) -> str:
    """In words, from the means over seeds: which methods are not trained to the end, which generalise, and which lose facts."""
    held_out, training, facts = (
        {name: spread_of(rows, name, task, key).mean for name in METHODS}
        for key in ("held-out nouns", "training nouns", "facts")
    )
    usual, clear = guessing(rows, task, task_of)
    fit = [name for name in METHODS if training[name] >= 0.9]

    def listed(names: Sequence[str], means: Mapping[str, float]) -> str:
        return ", ".join(f"{name} ({means[name]:.2f})" for name in names) or "none"

    return "\n".join(
        [
            f"training nouns below 0.9, so not trained to the end: {listed([n for n in METHODS if n not in fit], training)}",
            f"training nouns 0.9 or better, held-out nouns, too: {listed([n for n in fit if held_out[n] >= 0.9], held_out)}",
            f"training nouns 0.9 or better, held-out nouns below: {listed([n for n in fit if held_out[n] < 0.9], held_out)}",
            f"held-out nouns not clearly above the most frequent answer (below {usual:.2f} + two standard errors = "
            f"{clear:.2f}): {listed([n for n in METHODS if held_out[n] <= clear], held_out)}",
            f"facts below 0.95: {listed([n for n in METHODS if facts[n] < 0.95], facts)}",
        ]
    )


def to_see(rows: Rows, task: str) -> str:
    """What a caption points out: the range of held-out nouns over the methods, and who loses most facts."""
    held_out, facts = (
        {name: spread_of(rows, name, task, key).mean for name in METHODS}
        for key in ("held-out nouns", "facts")
    )
    best, worst = max(held_out, key=held_out.get), min(held_out, key=held_out.get)
    least = min(facts, key=facts.get)
    near = f"every method answers {held_out[worst]:.2f} of the held-out nouns or more"
    far = f"held-out nouns reach from {held_out[worst]:.2f} ({worst}) to {held_out[best]:.2f} ({best})"
    return f"{near if held_out[worst] >= 0.9 else far}; fewest facts are left with {least} ({facts[least]:.2f})."


def few_to_see(rows: Rows) -> str:
    """What the caption on few examples points out: the best way for each count, and where the seeds differ most."""
    found = {
        (count, way): spread_of(rows, row, "place", examples=count)
        for count in sorted({one["examples"] for one in rows if one["row"] in tuning_task.FORMS})
        for way, row in WAYS.items()
    }
    parts = []
    for count in sorted({count for count, _ in found}):
        best = max(WAYS, key=lambda way: found[count, way].mean)
        parts.append(
            f"with {count} examples the best way is: {best} ({found[count, best].mean:.2f})"
        )
    count, way = max(found, key=lambda key: found[key].std)
    low, high = min(found[count, way].values), max(found[count, way].values)
    parts.append(f"seeds differ most with {count} examples, {way}: {low:.2f} to {high:.2f}")
    return "; ".join(parts) + "."


def about_few_examples(rows: Rows) -> str:
    """In words, from the means over seeds: the order of the ways to use few examples."""
    lines = []
    for count in sorted({one["examples"] for one in rows if one["row"] in tuning_task.FORMS}):
        means = {
            way: spread_of(rows, row, "place", examples=count).mean for way, row in WAYS.items()
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

    usual, clear = guessing(rows, "new words", tuning_task.new_words_task)
    lengths = [spread_of(rows, name, "new words").mean for name in (longest, "prompt, 1 vector")]
    count = ("neither is", "one of them is", "both are")[sum(mean > clear for mean in lengths)]
    baseline = (
        f"the most frequent answer alone reaches {usual:.2f}, and {count} clearly above it (Fig. 8)"
    )
    spread_reason = "The gap is below two pooled standard deviations; a seed has 37 held-out nouns."
    at_the_top = "Both are right on all held-out nouns or nearly all."
    return [
        ("Full fine-tuning is a little better than adapters (Houlsby); ours: new words", glue_numbers,
         *pair(whole, "adapters, width 8", "new words"), spread_reason),
        ("In small models prompt tuning stays behind full fine-tuning (Lester, Fig. 1); ours: new words", "yes, below about 10 billion",
         *pair(whole, prompt, "new words"), spread_reason),
        ("... ours: place", "yes, below about 10 billion",
         *pair(whole, prompt, "place"), at_the_top if min(spread_of(rows, name, "place").mean for name in (whole, prompt)) > 0.95 else spread_reason),
        ("Longer prompts are better (Lester, Fig. 3a); ours: new words, 20 and 1 vectors; " + baseline, "yes, up to about 20",
         *pair(longest, "prompt, 1 vector", "new words"), spread_reason),
        ("A trained prompt beats examples in the prompt (Lester, Fig. 1); ours: place, 8 examples in a new form", "T5 beats GPT-3 on SuperGLUE",
         *pair(prompt, "noun : answer .", "place", examples=8), spread_reason),
        ("... 8 examples in a form of the training texts", "T5 beats GPT-3 on SuperGLUE",
         *pair(prompt, "question : which ?", "place", examples=8), spread_reason),
        ("*Control*: full fine-tuning needs the pre-trained model; ours: place", "–",
         *pair(whole, "all weights, not pre-trained", "place"), spread_reason),
        ("*Control*: a prompt keeps more facts than full fine-tuning; ours: place, facts", "–",
         *pair(prompt, whole, "place", "facts"), spread_reason),
    ]  # fmt: skip
