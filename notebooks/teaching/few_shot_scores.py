"""Lesson 12: the checks of the exercises on scores: of options, of more examples, and the one that is missing in a table."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from teaching import few_shot_reference as reference
from teaching.exercises import Exercise, normal, number, rule


def option_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """One prompt with three or four options of different lengths, padded on the right with pad_id."""
    count, first, words, pad_id = number(generator, 3, 4), number(generator, 3, 5), 9, 0
    lengths = [1, *(number(generator, 1, 3) for _ in range(count - 2)), 3]
    prompt = torch.randint(1, words, (1, first), generator=generator).expand(count, -1)
    answers = torch.zeros(count, 3, dtype=torch.long)
    while len(answers.unique(dim=0)) < count:  # all options are different
        answers = torch.randint(1, words, (count, 3), generator=generator)
        answers[torch.arange(3) >= torch.tensor(lengths)[:, None]] = pad_id
    logits = normal(generator, count, first + 3, words, scale=1.5)
    logits[:, :first] = logits[:1, :first].clone()  # a causal model: the prompt is one and the same
    return [logits, torch.cat([prompt, answers], 1), first, pad_id], {}


def token_scores(logits: Tensor, ids: Tensor, first: int, shift: int = 1) -> Tensor:
    """Log-probabilities (O, n) of the tokens from `first` on."""
    log_probs = logits.log_softmax(-1)[:, first - shift : logits.shape[1] - shift]
    return log_probs.gather(2, ids[:, first:, None])[..., 0]


def options(
    logits, ids, first, pad_id, *, shift=1, start=0, pads=False, how="sum", end="softmax", early=0
):
    """option_probabilities with a mistake. early: so many positions before its token is an entry of the mask."""
    scores = token_scores(logits, ids, first + start, shift)
    real = (
        torch.ones_like(scores)
        if pads
        else (ids.roll(early, 1)[:, first + start :] != pad_id).float()
    )
    total = (scores * real).sum(1)
    if how == "mean":
        total = total / real.sum(1).clamp(min=1)
    elif how == "mean of all":
        total = total / real.shape[1]
    elif how == "first":
        total = scores[:, 0]
    elif how == "last":
        total = scores[torch.arange(len(ids)), real.sum(1).long() - 1]
    ends: dict[str, Callable] = {
        "softmax": lambda x: x.softmax(0),
        "log": lambda x: x,
        "exp": lambda x: x.exp(),
        "log softmax": lambda x: x.log_softmax(0),
        "share of logs": lambda x: x / x.sum(),
        "best": lambda x: torch.nn.functional.one_hot(x.argmax(), len(x)).float(),
    }
    return ends[end](total)


def raw(logits, ids, first, pad_id):
    chosen = logits[:, first - 1 : -1].gather(2, ids[:, first:, None])[..., 0]
    return (chosen * (ids[:, first:] != pad_id)).sum(1).softmax(0)


def over_another_dimension(dim: int, cut: bool) -> Callable:
    """log_softmax over options or positions, of the options' logits alone (cut) or of all."""

    def answer(logits, ids, first, pad_id):
        if cut:
            log_probs = logits[:, first - 1 : -1].log_softmax(dim)
        else:
            log_probs = logits.log_softmax(dim)[:, first - 1 : -1]
        chosen = log_probs.gather(2, ids[:, first:, None])[..., 0]
        return (chosen * (ids[:, first:] != pad_id)).sum(1).softmax(0)

    return answer


def with_mistake(**changes) -> Callable:
    return lambda *args: options(*args, **changes)


OPTION_MISTAKES: dict[str, Callable] = {
    "padding counts as a part of the option: short ones lose by it.": with_mistake(pads=True),
    "the logits of a token predict the next one: those for the option's first token stand one position earlier.": (
        with_mistake(shift=0)
    ),
    "the mask was shifted like the logits; it belongs to the tokens: ids[:, first:] != pad_id.": (
        with_mistake(early=1)
    ),
    "log_softmax runs over the wrong dimension; it runs over the vocabulary, the last one.": (
        over_another_dimension(0, True),
        over_another_dimension(1, True),
        over_another_dimension(1, False),
    ),
    "the option's first token isn't scored.": with_mistake(start=1),
    "only the option's first token is scored.": with_mistake(how="first"),
    "only the option's last token is scored.": with_mistake(how="last"),
    "the log-probabilities are averaged over the tokens; here they are summed.": (
        with_mistake(how="mean")
    ),
    "the sum was divided by the longest option's length; here it is a plain sum.": (
        with_mistake(how="mean of all")
    ),
    "logits are no log-probabilities: each position needs its own log_softmax.": raw,
    "these are log-probabilities of whole texts, not probabilities among the options.": (
        with_mistake(end="log")
    ),
    "these are the options' probabilities among all texts; among the options they sum to 1.": (
        with_mistake(end="exp")
    ),
    "these are logarithms of the right result.": with_mistake(end="log softmax"),
    "log-probabilities were divided by their sum; exp comes before the division.": (
        with_mistake(end="share of logs")
    ),
    "the best option gets 1 and the others 0; their probabilities are wanted.": (
        with_mistake(end="best")
    ),
}


def gain_inputs(generator: torch.Generator) -> tuple[list, dict]:
    tasks = ["OKVQA", "VQAv2", "COCO", "VATEX", "STAR", "RareAct", "VizWiz", "NextQA"]
    tasks = tasks[: number(generator, 6, 8)]
    scores: dict[str, dict[int, float | None]] = {
        task: {
            n: round(20 + 60 * torch.rand((), generator=generator).item(), 1) for n in (0, 4, 32)
        }
        for task in tasks
    }
    low, high = ((0, 4), (4, 32), (0, 32))[number(generator, 0, 2)]
    scores[tasks[1]][high] = scores[tasks[1]][low]  # neither rises nor falls
    scores[tasks[2]][high] = None
    scores[tasks[3]][low] = None
    scores[tasks[4]][high] = 0.0  # a score, not a gap
    (other,) = {0, 4, 32} - {low, high}
    scores[tasks[0]][other] = None  # a gap that doesn't matter here
    return [scores, low, high], {}


def gains(
    scores, low, high, *, value=lambda a, b: b - a, none=None, of_all=False, rises=lambda g: g > 0
):
    """gain with a mistake. none: what stands for a missing score; of_all: divided by the number of all tasks."""
    pairs = [(row[low], row[high]) for row in scores.values()]
    if none is not None:
        pairs = [tuple(none if x is None else x for x in pair) for pair in pairs]
    found = [value(a, b) for a, b in pairs if a is not None and b is not None]
    count = len(scores) if of_all else len(found)
    return [sum(found) / count, sum(map(rises, found)) / count]


def changed(**options) -> Callable:
    return lambda *args: gains(*args, **options)


GAIN_MISTAKES: dict[str, Callable] = {
    "a missing score counts as 0; a task without both scores is left out.": changed(none=0.0),
    "a score of 0 is a score; only None is missing.": lambda scores, low, high: gains(
        {task: row for task, row in scores.items() if row[low] and row[high]}, low, high
    ),
    "the sums are divided by the number of all tasks, those with a missing score too.": (
        changed(of_all=True)
    ),
    "only the share is divided by the number of all tasks; tasks with a gap don't count there, either.": (
        lambda *args: [gains(*args)[0], gains(*args, of_all=True)[1]]
    ),
    "a task was left out whose gap is at another number of examples; only `low` and `high` matter.": (
        lambda scores, low, high: gains(
            {task: row for task, row in scores.items() if None not in row.values()}, low, high
        )
    ),
    "the second number is a percentage, not a share.": lambda *args: [
        gains(*args)[0],
        100 * gains(*args)[1],
    ],
    "the sign is wrong: after minus before.": changed(value=lambda a, b: a - b),
    "a task that stays as it is counts as one that rises.": changed(rises=lambda g: g >= 0),
    "the second number counts the tasks; its share is wanted.": lambda *args: [
        gains(*args)[0],
        gains(*args)[1] * sum(None not in (r[args[1]], r[args[2]]) for r in args[0].values()),
    ],
    "these are relative gains; the plain difference is wanted.": changed(
        value=lambda a, b: (b - a) / a
    ),
    "these are sizes of gains without their signs.": changed(value=lambda a, b: abs(b - a)),
    "the first number is a sum; a mean is wanted.": lambda *args: [
        gains(*args)[0] * sum(None not in (r[args[1]], r[args[2]]) for r in args[0].values()),
        gains(*args)[1],
    ],
    "both numbers are exchanged.": lambda *args: gains(*args)[::-1],
    "the first number is the median.": lambda *args: [
        float(torch.tensor([b - a for a, b in kept(*args)]).double().quantile(0.5)),
        gains(*args)[1],
    ],
}


def kept(scores, low, high) -> list[tuple[float, float]]:
    """Both scores of the tasks that have them."""
    return [(r[low], r[high]) for r in scores.values() if None not in (r[low], r[high])]


def missing_inputs(generator: torch.Generator) -> tuple[list, dict]:
    names = ["COCO", "OKVQA", "VQAv2", "MSVDQA", "VATEX"][: number(generator, 4, 5)]
    best = {n: round(40 + 100 * torch.rand((), generator=generator).item(), 1) for n in names}
    known = {
        n: round(b * (0.5 + 0.4 * torch.rand((), generator=generator).item()), 1)
        for n, b in best.items()
    }
    absent = names[number(generator, 0, len(names) - 1)]
    overall = 100 * sum(known[n] / best[n] for n in names) / len(names)
    del known[absent]
    return [round(overall, 1), known, best], {}


def missing(overall, known, best, *, count=None, percent=100.0, share=lambda s, b: s / b, end=None):
    (name,) = set(best) - set(known)
    count = len(best) if count is None else count(best)
    rest = count * overall / percent - sum(share(s, best[n]) for n, s in known.items())
    return rest * best[name] if end is None else end(rest, best[name])


def other_missing(**options) -> Callable:
    return lambda *args: missing(*args, **options)


MISSING_MISTAKES: dict[str, Callable] = {
    "this is its share of the best score; multiply by the best score.": other_missing(
        end=lambda rest, b: rest
    ),
    "this is its share of the best score in %; its own score is wanted.": other_missing(
        end=lambda rest, b: 100 * rest
    ),
    "the overall score is a mean of all benchmarks, the missing one too: count it.": other_missing(
        count=lambda best: len(best) - 1
    ),
    "the overall score is a mean, not a sum: multiply by the number of benchmarks.": other_missing(
        count=lambda best: 1
    ),
    "the overall score is in %: divide by 100.": other_missing(percent=1.0),
    "the scores are used as they are: each is divided by the best score of its benchmark first.": (
        lambda o, k, b: len(b) * o - sum(k.values())
    ),
    "the known shares' mean was taken from the overall score; count benchmarks, and use sums.": (
        lambda o, k, b: (
            (o / 100 - sum(s / b[n] for n, s in k.items()) / len(k))
            * b[next(iter(set(b) - set(k)))]
        )
    ),
    "the last step divides by the best score; it multiplies.": other_missing(
        end=lambda rest, b: rest / b
    ),
    "the known scores are averaged; their sum is to be taken away.": lambda o, k, b: (
        (len(b) * o / 100 - sum(s / b[n] for n, s in k.items()) / len(k))
        * b[next(iter(set(b) - set(k)))]
    ),
}


EXERCISES = {
    "option_probabilities": Exercise(
        "The options' tokens are summed, padding is left out, and the result sums to 1.",
        (
            rule(
                "option_probabilities",
                option_inputs,
                reference.option_probabilities,
                OPTION_MISTAKES,
            ),
        ),
        reference.option_probabilities,
    ),
    "gain": Exercise(
        "The mean gain, and how many tasks rise, of those with both scores.",
        (rule("gain", gain_inputs, lambda *a: list(reference.gain(*a)), GAIN_MISTAKES),),
        reference.gain,
    ),
    "missing_score": Exercise(
        "The mean of shares, solved for the one score that isn't there.",
        (rule("missing_score", missing_inputs, reference.missing_score, MISSING_MISTAKES),),
        reference.missing_score,
    ),
}
