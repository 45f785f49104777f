"""Lesson 08: the check of the exercise on the language modelling loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import blip_reference as reference
from teaching.exercises import Exercise, gradient_rule, normal, number, rule


def lm_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Logits, ids, a loss mask that leaves out a prompt and padding, and a smoothing."""
    B, T, V = number(generator, 2, 3), number(generator, 6, 8), number(generator, 5, 8)
    ids = torch.randint(0, V, (B, T), generator=generator)
    loss_mask = torch.ones(B, T, dtype=torch.bool)
    loss_mask[:, : number(generator, 1, 2)] = False
    loss_mask[0, -number(generator, 1, 2) :] = False
    smoothing = (0.1, 0.2, 0.3)[number(generator, 0, 2)]
    return [normal(generator, B, T, V, scale=2), ids, loss_mask, smoothing], {}


def lm(
    logits: Tensor,
    ids: Tensor,
    loss_mask: Tensor,
    smoothing: float,
    shift: bool = True,
    mask: str = "targets",
    smooth: Callable | None = None,
    reduce: Callable = lambda values, counted: values[counted].mean(),
) -> float:
    """lm_loss with other choices. mask: which of the shifted positions count."""
    smooth = smooth or (lambda nll, log_p, s: (1 - s) * nll - s * log_p.mean(-1))
    pred, targets, counted = logits[:, :-1], ids[:, 1:], loss_mask[:, 1:]
    counted = {"targets": counted, "inputs": loss_mask[:, :-1], "all": torch.ones_like(counted)}[
        mask
    ]
    if not shift:
        pred, targets, counted = logits, ids, loss_mask
    log_p = pred.log_softmax(-1)
    nll = -log_p.gather(-1, targets[..., None])[..., 0]
    return reduce(smooth(nll, log_p, smoothing), counted).item()


LM_MISTAKES = {
    "position t is compared with token t, which it has read: its target is token t + 1.": partial(
        lm, shift=False
    ),
    "loss_mask is not shifted: it says which targets count.": partial(lm, mask="inputs"),
    "prompt and padding count, too: loss_mask is not used.": partial(lm, mask="all"),
    "there is no label smoothing.": partial(lm, smooth=lambda nll, log_p, s: nll),
    "the two shares are exchanged: the right token's is 1 - s, and a little more.": partial(
        lm, smooth=lambda nll, log_p, s: s * nll - (1 - s) * log_p.mean(-1)
    ),
    "s is spread over the wrong tokens alone: in the formula the right one gets s / V, too.": (
        partial(
            lm,
            smooth=lambda nll, log_p, s: (
                (1 - s) * nll + s * (-log_p.sum(-1) - nll) / (log_p.shape[-1] - 1)
            ),
        )
    ),
    "each wrong token gets s instead of s / V: the targets don't sum to 1.": partial(
        lm, smooth=lambda nll, log_p, s: (1 - s) * nll - s * log_p.sum(-1)
    ),
    "the right token keeps 1 instead of 1 - s.": partial(
        lm, smooth=lambda nll, log_p, s: nll - s * log_p.mean(-1)
    ),
    "the spread part is missing: only (1 - s) of the usual loss is left.": partial(
        lm, smooth=lambda nll, log_p, s: (1 - s) * nll
    ),
    "that is the sum over tokens; take their mean.": partial(
        lm, reduce=lambda values, counted: values[counted].sum()
    ),
    "the sum is divided by the number of all positions; divide by the number of targets that count.": (
        partial(lm, reduce=lambda values, counted: (values * counted).mean())
    ),
    "that is a mean of the texts' means: each token counts the same, in long texts and in short ones.": (
        partial(
            lm, reduce=lambda values, counted: ((values * counted).sum(1) / counted.sum(1)).mean()
        )
    ),
    "the sign is wrong: a cross-entropy is never negative.": lambda *args: -lm(*args),
}

EXERCISES = {
    "lm_loss": Exercise(
        "Each position predicts the next token, and no token is quite certain.",
        (
            rule("lm_loss", lm_inputs, lm, LM_MISTAKES),
            gradient_rule(
                "lm_loss",
                lm_inputs,
                reference.lm_loss,
                1,
                "the number is right, but no gradient arrives at the logits.",
            ),
        ),
        reference=reference.lm_loss,
    ),
}
