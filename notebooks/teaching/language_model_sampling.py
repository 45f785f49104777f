"""Lesson 05's checks of choosing words: the nucleus, and a step of beam search."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import language_model_answers as answers
from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import differs


def nucleus(
    probabilities: Tensor, p: float, descending=True, inclusive=False, strict=True, back="scatter"
) -> Tensor:
    """(B, V) booleans: words whose likelier ones hold less than p together. The options are ways to get it wrong."""
    ordered, order = probabilities.sort(dim=-1, descending=descending, stable=True)
    sums = ordered.cumsum(-1) - (0 if inclusive else ordered)
    stays = sums < p if strict else sums <= p
    if back == "sorted":
        return stays
    if back == "gather":
        return stays.gather(-1, order)
    return torch.zeros_like(stays).scatter(-1, order, stays)


def top_k(probabilities: Tensor, p: float, k: int) -> Tensor:
    return torch.zeros_like(probabilities, dtype=torch.bool).scatter(
        -1, probabilities.topk(k).indices, True
    )


def fixed_share(probabilities: Tensor, p: float) -> Tensor:
    """True at the share p of all words that are the most likely."""
    return top_k(probabilities, p, max(1, int(p * probabilities.shape[1])))


def first_order(probabilities: Tensor, p: float, own: bool = True) -> Tensor:
    """The nucleus if the first row's order is used for all rows: to put back, and unless `own` to sort as well."""
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    order = order[:1].expand_as(order)
    ordered = ordered if own else probabilities.gather(-1, order)
    stays = ordered.cumsum(-1) - ordered < p
    return torch.zeros_like(stays).scatter(-1, order, stays)


def spread_inputs(generator: torch.Generator) -> tuple[list, dict]:
    sharpness = torch.tensor([0.3, 1, 2, 4])[:, None]
    words = number(generator, 8, 11)
    p = (0.6, 0.75, 0.9)[number(generator, 0, 2)]
    return [(sharpness * normal(generator, 4, words)).softmax(-1), p], {}


def exact_inputs(generator: torch.Generator) -> tuple[list, dict]:
    row = torch.tensor([0.25, 0.0625, 0.5, 0.0625, 0.125])  # sums that are exact in binary
    return [row[torch.randperm(5, generator=generator)][None], 0.75], {}


def tiny_inputs(generator: torch.Generator) -> tuple[list, dict]:
    return [spread_inputs(generator)[0][0], 0.03], {}


NUCLEUS_MISTAKES = {
    "it is upside down: True must mean that the word stays.": lambda q, p: ~nucleus(q, p),
    "the word that crosses p is left out, so what stays has less than p.": partial(
        nucleus, inclusive=True
    ),
    "you start from the least likely words.": (
        partial(nucleus, descending=False),
        partial(nucleus, descending=False, inclusive=True),
    ),
    "the answers are in sorted order: put each back where its word stands in the vocabulary.": partial(
        nucleus, back="sorted"
    ),
    "the answers are put back wrongly: `order` says where each word came *from*.": (
        partial(nucleus, back="gather")
    ),
    "the first row's order is used for all rows: each row has its own order.": (
        first_order,
        partial(first_order, own=False),
    ),
    "the words were not sorted: the sum must run from the most likely word down.": (
        lambda q, p: q.cumsum(-1) - q < p,
        lambda q, p: q.cumsum(-1) < p,
    ),
    "each word is compared with a fixed level: what counts is the sum of the more likely ones.": (
        lambda q, p: q > p,
        lambda q, p: q > 1 - p,
    ),
    "every row keeps equally many words: that is top-k.": (
        *(partial(top_k, k=k) for k in range(1, 6)),
        fixed_share,
    ),
}
EXACT_MISTAKES = {
    "one word too many: where the words before it have exactly p, nothing more is needed.": partial(
        nucleus, strict=False
    ),
}
TINY_MISTAKES = {
    "for a small p no word is left: the most likely word always stays.": partial(
        nucleus, inclusive=True
    ),
}


def beam_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Log-probabilities of N beams (N,), and of their next words (N, V); N and V are different."""
    beams, words = number(generator, 3, 4), number(generator, 6, 8)
    log_probs = (2 * normal(generator, beams)).log_softmax(0)
    return [log_probs, (2 * normal(generator, beams, words)).log_softmax(-1)], {}


def best(totals: Tensor, count: int, largest: bool = True) -> list[Tensor]:
    """The best entries of a table (N, V): their values, rows and columns."""
    values, index = totals.flatten().topk(count, largest=largest)
    return [values, index // totals.shape[1], index % totals.shape[1]]


def beam_step(log_probs: Tensor, next_log_probs: Tensor) -> list[Tensor]:
    return list(answers.beam_step(log_probs, next_log_probs))


def own_best(a: Tensor, b: Tensor) -> list[Tensor]:
    """Each beam goes on with its own most likely word."""
    values, words = (a[:, None] + b).max(-1)
    return [values, torch.arange(len(a)), words]


def own_best_sorted(a: Tensor, b: Tensor) -> list[Tensor]:
    found = own_best(a, b)
    return [part[found[0].argsort(descending=True)] for part in found]


def changed(how) -> Callable:
    """`beam_step`, with what it returns changed by how(values, beams, words)."""
    return lambda a, b: list(how(*beam_step(a, b)))


def divided_by_beams(a: Tensor, b: Tensor) -> list[Tensor]:
    values, index = (a[:, None] + b).flatten().topk(len(a))
    return [values, index // len(a), index % len(a)]


def without_total(a: Tensor, b: Tensor) -> list[Tensor]:
    values, beams, words = beam_step(a, b)
    return [values - a[beams], beams, words]


def in_order_of_the_table(a: Tensor, b: Tensor) -> list[Tensor]:
    values, beams, words = beam_step(a, b)
    order = (beams * b.shape[1] + words).argsort()
    return [values[order], beams[order], words[order]]


def wrong_part(got: object, wanted: list[Tensor], *_) -> str | None:
    """Which of the three values is wrong, by its name."""
    parts = ("log-probabilities", "numbers of the beams", "ids of the words")
    found = list(got) if isinstance(got, (list, tuple)) else []
    wrong = [part for part, one, right in zip(parts, found, wanted) if differs(one, right, 1e-4)]
    return (
        f"these are not right: the {' and the '.join(wrong)}."
        if len(found) == 3 and wrong
        else None
    )


BEAM_MISTAKES = {
    "each beam keeps its own best word. All continuations of all beams compete: one beam may give several.": (
        own_best,
        own_best_sorted,
    ),
    "what the beams have so far is left out: add their log-probabilities.": lambda a, b: best(
        b, len(a)
    ),
    "log-probabilities are multiplied: probabilities multiply, so their logarithms add.": (
        lambda a, b: best(a[:, None] * b, len(a)),
    ),
    "the probabilities are added: those of successive words multiply.": lambda a, b: best(
        a[:, None].exp() + b.exp(), len(a)
    ),
    "probabilities are returned; log-probabilities are wanted.": changed(
        lambda values, beams, words: (values.exp(), beams, words)
    ),
    "the right continuations, but the log-probability is that of the new word alone.": without_total,
    "the least likely continuations are kept.": lambda a, b: best(
        a[:, None] + b, len(a), largest=False
    ),
    "beam and word are exchanged: the flat index is beam * V + word.": changed(
        lambda values, beams, words: (values, words, beams)
    ),
    "the flat index was divided by the number of beams; each row of the table has V entries.": (
        divided_by_beams
    ),
    "the right continuations, but not in order: the best comes first.": (
        changed(lambda values, beams, words: (values.flip(0), beams.flip(0), words.flip(0))),
        in_order_of_the_table,
    ),
    "only one continuation is returned; as many as there are beams are wanted.": lambda a, b: best(
        a[:, None] + b, 1
    ),
}

NUCLEUS = Exercise(
    "A sharp distribution keeps few words, a flat one many, and what stays never has less than p.",
    (
        rule(
            "nucleus_mask",
            spread_inputs,
            nucleus,
            NUCLEUS_MISTAKES,
        ),
        rule("nucleus_mask", exact_inputs, nucleus, EXACT_MISTAKES),
        rule("nucleus_mask", tiny_inputs, nucleus, TINY_MISTAKES),
    ),
    reference=answers.nucleus_mask,
)
BEAM = Exercise(
    "The best continuations over all beams survive, whichever beam they come from.",
    (
        rule(
            "beam_step",
            beam_inputs,
            beam_step,
            BEAM_MISTAKES,
            explain=wrong_part,
        ),
    ),
    reference=answers.beam_step,
)
