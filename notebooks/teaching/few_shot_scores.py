"""Lesson 12: the checks of the exercises on scores: of options, and the one that is missing in a table."""

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


def of_chances(combine: Callable, end: Callable) -> Callable:
    """The tokens' probabilities, not their logarithms, put together. combine: (chances, is it a token?)."""

    def answer(logits, ids, first, pad_id):
        chances = token_scores(logits, ids, first).exp()
        return end(combine(chances, ids[:, first:] != pad_id))

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
    "the mask is turned round: it keeps padding, and leaves the words out.": (
        lambda logits, ids, first, pad_id: (
            (token_scores(logits, ids, first) * (ids[:, first:] == pad_id)).sum(1).softmax(0)
        )
    ),
    "the sign is wrong: the likeliest option gets the least.": lambda logits, ids, first, pad_id: (
        (-token_scores(logits, ids, first) * (ids[:, first:] != pad_id)).sum(1).softmax(0)
    ),
    "probabilities of tokens were added; they are multiplied, so their logarithms are added.": (
        of_chances(lambda chances, real: (chances * real).sum(1), lambda x: x.softmax(0)),
        of_chances(lambda chances, real: (chances * real).sum(1), lambda x: x / x.sum()),
    ),
    "padding counts as probability 0, and makes the product of a short option 0.": of_chances(
        lambda chances, real: (chances * real).prod(1), lambda x: x / x.sum()
    ),
    "the product of probabilities is right, but a softmax follows; divide by their sum.": of_chances(
        lambda chances, real: chances.where(real, 1.0).prod(1), lambda x: x.softmax(0)
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
    "shares are score / best; yours are best / score.": other_missing(share=lambda s, b: b / s),
    "the overall score is the mean of the shares, not the sum of scores by the sum of best ones.": (
        lambda o, k, b: o / 100 * sum(b.values()) - sum(k.values())
    ),
    "the known shares were added; take them away.": other_missing(share=lambda s, b: -s / b),
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
    "missing_score": Exercise(
        "The mean of shares, solved for the one score that isn't there.",
        (rule("missing_score", missing_inputs, reference.missing_score, MISSING_MISTAKES),),
        reference.missing_score,
    ),
}
