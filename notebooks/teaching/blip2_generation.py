"""Lesson 10: the checks of the exercises on stage 1's loss of generation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from teaching import blip2_reference as reference
from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source


def writer(table: Tensor):
    """A stand-in for `write`: ids (B, T) -> logits (B, T, V), each from its token and those before it."""

    def write(ids: Tensor) -> Tensor:
        rows = table[ids]
        steps = torch.arange(1, ids.shape[1] + 1)[:, None]
        return rows + 0.5 * rows.cumsum(1) / steps

    return write


def run_itg(target, table, ids, dec, pad, smoothing):
    """Driver: [loss, its gradient by the stand-in's weights, are the ids as they were?]"""
    import torch

    from teaching.blip2_generation import writer

    table, before = table.clone().requires_grad_(), ids.clone()
    loss = target(writer(table), ids, dec, pad, smoothing)
    kept = torch.equal(before, ids)
    if not isinstance(loss, torch.Tensor) or not loss.requires_grad or loss.dim():
        return [loss, torch.zeros_like(table), kept]
    return [loss.item(), torch.autograd.grad(loss, table)[0], kept]


def itg_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """A table of the stand-in, texts with padding (0), the id of [DEC], the id of padding, a smoothing."""
    V, T = 14, number(generator, 6, 7)
    ids = torch.randint(3, 12, (3, T), generator=generator)
    ids[:, 0] = 1
    for row, count in enumerate(torch.randperm(3, generator=generator).tolist()):
        ids[row, T - count :] = 0
    smoothing = (0.1, 0.2, 0.3)[number(generator, 0, 2)]
    return [normal(generator, V, V, scale=2), ids, 12, 0, smoothing], {}


def itg(
    write,
    ids: Tensor,
    dec: int,
    pad: int,
    smoothing: float,
    begin: str = "replaced",
    shift: int = 1,
    counted=lambda real: real,
    smooth=lambda nll, log_p, s: (1 - s) * nll - s * log_p.mean(-1),
    reduce=lambda values, use: values[use].mean(),
) -> Tensor:
    """itg_loss with other choices. begin: what becomes of the first token; shift: 0 if logits meet their own token."""
    first = torch.full_like(ids[:, :1], dec)
    begun = {
        "replaced": torch.cat([first, ids[:, 1:]], 1),
        "inserted": torch.cat([first, ids[:, :-1]], 1),
        "kept": ids,
        "all": torch.full_like(ids, dec),
        "before": torch.cat([first, ids], 1),
        "before, all": torch.cat([first, ids], 1),
    }[begin]
    logits, targets = write(begun), ids
    if begin == "before":
        logits = logits[:, 1:]
    elif begin == "before, all":
        logits = logits[:, :-1]
    if shift == 1:
        logits, targets = logits[:, :-1], ids[:, 1:]
    elif shift == -1:
        logits, targets = logits[:, 1:], ids[:, :-1]
    log_p = logits.log_softmax(-1)
    nll = -log_p.gather(-1, targets[..., None])[..., 0]
    return reduce(smooth(nll, log_p, smoothing), counted(targets != pad))


def itg_mistake(**how) -> Callable:
    """What `run_itg` gives for it."""
    return partial(run_itg, partial(itg, **how))


def wrong_words(nll: Tensor, log_p: Tensor, s: float) -> Tensor:
    return (1 - s) * nll + s * (-log_p.sum(-1) - nll) / (log_p.shape[-1] - 1)


def smoothed(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    return cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=smoothing)


def begun(ids: Tensor, dec: int) -> Tensor:
    return torch.cat([torch.full_like(ids[:, :1], dec), ids[:, 1:]], 1)


def rolled(write, ids: Tensor, dec: int, pad: int, smoothing: float) -> Tensor:
    """The last position is to predict the text's first token."""
    targets = ids.roll(-1, 1)
    return smoothed(write(begun(ids, dec)), targets.masked_fill(targets == pad, -100), smoothing)


def counted_by_input(write, ids: Tensor, dec: int, pad: int, smoothing: float) -> Tensor:
    """Leaves out positions that have read padding."""
    targets = ids[:, 1:].masked_fill(ids[:, :-1] == pad, -100)
    return smoothed(write(begun(ids, dec))[:, :-1], targets, smoothing)


ITG_MISTAKES = {
    "the text still begins with its old first token, not with [DEC].": itg_mistake(begin="kept"),
    "[DEC] was put before the text, whose last token fell off; it replaces the first token.": itg_mistake(
        begin="inserted"
    ),
    "[DEC] was put before the text; it replaces the first token, so T stays as it is.": (
        itg_mistake(begin="before"),
        itg_mistake(begin="before, all", shift=0),
    ),
    "the last position has nothing to predict: its logits don't count.": partial(run_itg, rolled),
    "the first token after [DEC] is left out; it counts, too.": itg_mistake(
        reduce=lambda values, use: values[:, 1:][use[:, 1:]].mean()
    ),
    "the first padding of each text is counted: leave out where padding is the target.": partial(
        run_itg, counted_by_input
    ),
    "every token became [DEC].": itg_mistake(begin="all"),
    "the logits are compared with the token that they have read; they predict the next one.": itg_mistake(
        shift=0
    ),
    "the shift goes the wrong way: position t predicts token t + 1.": itg_mistake(shift=-1),
    "padding is counted: the model would learn to write it.": itg_mistake(
        counted=lambda real: torch.ones_like(real)
    ),
    "padding is counted, and nothing else.": itg_mistake(counted=lambda real: ~real),
    "there is no label smoothing.": itg_mistake(smooth=lambda n, p, s: n),
    "the smoothing's share goes to the wrong words alone; it is spread over all.": itg_mistake(
        smooth=wrong_words
    ),
    "the two shares are exchanged: the right word keeps 1 - smoothing.": itg_mistake(
        smooth=lambda n, p, s: s * n - (1 - s) * p.mean(-1)
    ),
    "the spread part is missing: the target sums to less than 1.": itg_mistake(
        smooth=lambda n, p, s: (1 - s) * n
    ),
    "that is the sum over tokens; take their mean.": itg_mistake(
        reduce=lambda values, use: values[use].sum()
    ),
    "the sum is divided by the number of all positions; only counted tokens count.": itg_mistake(
        reduce=lambda values, use: (values * use).mean()
    ),
    "that is the mean of the texts' means; each counted token has the same weight.": itg_mistake(
        reduce=lambda values, use: ((values * use).sum(1) / use.sum(1)).mean()
    ),
    "the sign is wrong: a cross-entropy is never negative.": itg_mistake(
        reduce=lambda values, use: -values[use].mean()
    ),
    "the value is right, but it has no gradient.": lambda table, *args: [
        itg_mistake()(table, *args)[0],
        torch.zeros_like(table),
        True,
    ],
}


def explain_itg(got: object, *_) -> str | None:
    if isinstance(got, list) and len(got) == 3 and got[2] is False:
        return "the caller's ids were changed: two other losses read them. Make a new tensor."
    return None


EXERCISES = {
    "itg_loss": Exercise(
        "The text begins with [DEC], each token is predicted before it is read, padding doesn't count.",
        (
            rule(
                "itg_loss",
                itg_inputs,
                itg_mistake(),
                ITG_MISTAKES,
                driver=driver_source(run_itg),
                explain=explain_itg,
            ),
        ),
        reference=reference.itg_loss,
    ),
}
