"""Lesson 06, its second half: what the measurements say in words, and the papers' claims beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from teaching import tuning_task
from teaching.tuning_figures import METHODS, WAYS, Rows, few_counts, spread_of
from vlmcourse import evaluation
from vlmcourse.evaluation.published import published

TaskOf = Callable[[int], tuning_task.Task]


def dots(rows: Rows) -> str:
    """What a caption says about dots and whiskers: whiskers are drawn from three seeds on."""
    many = len({row["seed"] for row in rows}) > 2
    return "Dots: seeds; whiskers: one standard deviation." if many else "Dots: seeds."


def guessing(rows: Rows, task: str, task_of: TaskOf) -> tuple[float, float]:
    """Share of held-out nouns that the most frequent answer gets, mean over seeds; and the least mean that is clearly above it.

    Clearly above: by two standard errors of a share that is counted on the held-out nouns of all seeds.
    """
    seeds = sorted({row["seed"] for row in rows if row["task"] == task})
    usual = evaluation.spread([tuning_task.most_frequent(task_of(seed)) for seed in seeds]).mean
    nouns = sum(len(task_of(seed).held_out) for seed in seeds)
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
            f"held-out nouns not clearly above the most frequent answer (below {usual:.2f} + two standard errors of "
            f"all seeds' nouns = {clear:.2f}): {listed([n for n in METHODS if held_out[n] <= clear], held_out)}",
            f"facts below 0.95: {listed([n for n in METHODS if facts[n] < 0.95], facts)}",
        ]
    )


def to_see(rows: Rows, task: str) -> str:
    """What a caption points out: the range of held-out nouns over the methods, and who loses most facts."""
    held_out, facts = (
        {name: spread_of(rows, name, task, key) for name in METHODS}
        for key in ("held-out nouns", "facts")
    )
    mean = {name: found.mean for name, found in held_out.items()}
    best, worst = max(mean, key=mean.get), min(mean, key=mean.get)
    least = min(facts, key=lambda name: facts[name].mean)
    share = "all" if mean[worst] == 1 else f"{mean[worst]:.2f} or more of the"
    near = f"every method answers {share} held-out nouns"
    far = f"held-out nouns reach from {mean[worst]:.2f} ({worst}) to {mean[best]:.2f} ({best})"
    left = facts[least].values
    return (
        f"{near if mean[worst] >= 0.9 else far}; fewest facts are left with {least} "
        f"({facts[least].mean:.2f}; seeds: {min(left):.2f} to {max(left):.2f})."
    )


def one_answer(rows: Rows, count: int) -> dict[int, str]:
    """{seed: the answer} of the seeds in which all of so many examples have the same answer."""
    seeds = sorted({one["seed"] for one in rows if one["row"] in tuning_task.FORMS})
    answers = {seed: set(tuning_task.place_task(seed, count).train.values()) for seed in seeds}
    return {seed: found.pop() for seed, found in answers.items() if len(found) == 1}


def means_of_ways(rows: Rows, count: int) -> dict[str, float]:
    """{way to use so many examples: held-out nouns, mean over the seeds in these rows}."""
    return {way: spread_of(rows, row, "place", examples=count).mean for way, row in WAYS.items()}


def few_to_see(rows: Rows) -> str:
    """What the caption on few examples points out: seeds whose examples can't show the task, and the best ways elsewhere."""
    parts = []
    for count in few_counts(rows):
        alike = one_answer(rows, count)
        for seed, answer in alike.items():
            reached = max(
                means_of_ways([row for row in rows if row["seed"] == seed], count).values()
            )
            parts.append(
                f"in seed {seed} all {count} examples have the answer '{answer}', so they can't tell the task "
                f"from 'always {answer}', and no way is above {reached:.2f}"
            )
        means = means_of_ways([row for row in rows if row["seed"] not in alike], count)
        best = [way for way in WAYS if means[way] > max(means.values()) - 0.005]
        where = "in the other seeds the best is" if alike else f"with {count} examples the best is"
        parts.append(f"{where}: {', and '.join(best)} ({max(means.values()):.2f})")
    return "; ".join(parts) + "."


def about_few_examples(rows: Rows) -> str:
    """In words: the order of the ways to use few examples; seeds whose examples all have one answer apart."""
    lines = []
    for count in few_counts(rows):
        alike = one_answer(rows, count)
        parts = {f", seed {seed} (one answer only)": {seed} for seed in alike}
        parts[", means of the other seeds" if alike else ", means"] = {
            row["seed"] for row in rows
        } - set(alike)
        for name, seeds in parts.items():
            means = means_of_ways([row for row in rows if row["seed"] in seeds], count)
            order = sorted(means, key=lambda way: -means[way])
            shares = "; ".join(f"{way} {means[way]:.2f}" for way in order)
            lines.append(f"{count} examples{name}: {shares}")
    return "\n".join(lines)


def unfinished(rows: Rows, names: Sequence[str], task: str) -> str:
    """A note on methods that don't fit their training nouns; empty if all do."""
    fit = {name: spread_of(rows, name, task, "training nouns").mean for name in names}
    short = ", ".join(f"{name} ({mean:.2f})" for name, mean in fit.items() if mean < 0.9)
    return f"Not trained to the end (training nouns below 0.9): {short}." if short else ""


def claims(rows: Rows) -> list[tuple]:
    """The papers' claims that replicate_tuning can repeat, and our controls, for `scaling_claims.comparison`."""
    whole, prompt, longest, shortest = (
        "all weights",
        "prompt, 5 vectors",
        "prompt, 20 vectors",
        "prompt, 1 vector",
    )
    glue = published("adapters-facts")
    glue_numbers = (
        f"GLUE {glue.value('GLUE, full', 'value')}; {glue.value('GLUE, adapters', 'value')}"
    )

    def measured(first: str, second: str, task: str, key="held-out nouns", examples=None) -> tuple:
        """Both numbers, and why they may be within noise."""
        pair = tuple((name, spread_of(rows, name, task, key, examples)) for name in (first, second))
        top = min(found.mean for _, found in pair) > 0.95
        reason = "The gap is below two pooled standard deviations; a seed has 37 held-out nouns."
        return *pair, "Both are right on all held-out nouns or nearly all." if top else reason

    usual, clear = guessing(rows, "new words", tuning_task.new_words_task)
    lengths = [spread_of(rows, name, "new words").mean for name in (longest, shortest)]
    count = ("neither is", "one of them is", "both are")[sum(mean > clear for mean in lengths)]
    baseline = (
        f"The most frequent answer reaches {usual:.2f}, and {count} clearly above it (Fig. 8)."
    )
    return [
        ("Full fine-tuning is a little better than adapters (Houlsby); ours: new words", glue_numbers,
         *measured(whole, "adapters, width 8", "new words"), unfinished(rows, (whole, "adapters, width 8"), "new words")),
        ("In small models prompt tuning stays behind full fine-tuning (Lester, Fig. 1); ours: new words", "yes, below about 10 billion",
         *measured(whole, prompt, "new words"), unfinished(rows, (whole, prompt), "new words")),
        ("... ours: place", "yes, below about 10 billion",
         *measured(whole, prompt, "place"), unfinished(rows, (whole, prompt), "place")),
        ("Longer prompts are better (Lester, Fig. 3a); ours: new words, 20 and 1 vectors", "yes, up to about 20",
         *measured(longest, shortest, "new words"), f"{unfinished(rows, (longest, shortest), 'new words')} {baseline}".strip()),
        ("A trained prompt beats examples in the prompt (Lester, Fig. 1); ours: place, 8 examples in a new form", "T5 beats GPT-3 on SuperGLUE",
         *measured(prompt, "noun : answer .", "place", examples=8), ""),
        ("... 8 examples in a form of the training texts", "T5 beats GPT-3 on SuperGLUE",
         *measured(prompt, "question : which ?", "place", examples=8), ""),
        ("*Control*: full fine-tuning needs the pre-trained model; ours: place", "–",
         *measured(whole, "all weights, not pre-trained", "place"), unfinished(rows, (whole, "all weights, not pre-trained"), "place")),
        ("*Control*: a prompt keeps more facts than full fine-tuning; ours: place, facts", "–",
         *measured(prompt, whole, "place", "facts"), ""),
    ]  # fmt: skip
