"""Lesson 10: the checks of the exercises on stage 2: the prefix among the words, and its loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from teaching import blip2_reference as reference
from teaching.exercises import (
    Exercise,
    gradient_rule,
    normal,
    number,
    rule,
)
from vlmgrader.checks import driver_source


def projection_of(weight: Tensor) -> nn.Linear:
    """A stand-in for the projection: one linear layer with this weight (D_lm, D)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(weight.sum(1).sin())
    return layer.requires_grad_(False)


def run_insert(target, words, states, weight):
    """Driver: [result, gradient of its square sum by the states, are the words as they were?]"""
    import torch

    from teaching.blip2_prefix import projection_of

    states, before = states.clone().requires_grad_(), words.clone()
    found = target(words, states, projection_of(weight))
    kept = torch.equal(before, words)
    if not isinstance(found, torch.Tensor) or not found.requires_grad:
        return [found, torch.zeros_like(states), kept]
    return [found, torch.autograd.grad((found**2).sum(), states)[0], kept]


def insert_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Embeddings of texts, states of the queries, and the weight of the projection."""
    B, T, R = 2, number(generator, 5, 6), number(generator, 2, 3)
    D, E = number(generator, 4, 5), number(generator, 6, 7)
    shapes = (B, T, E), (B, R, D), (E, D)
    return [normal(generator, *shape) for shape in shapes], {}


def inserted(words: Tensor, states: Tensor, projection: Callable, change: str = "") -> Tensor:
    """insert_prefix, and what it becomes by one mistake."""
    prefix = projection(states)
    prefix = {
        "mean": prefix.mean(1, keepdim=True),
        "first only": prefix[:, :1],
        "first picture": prefix[:1].expand_as(prefix),
        "reversed": prefix.flip(1),
        "one for all": prefix[:, :1].expand_as(prefix),
    }.get(change, prefix)
    T = words.shape[1]
    at = {"front": 0, "second": 2, "before last": T - 1, "end": T}.get(change, 1)
    R = prefix.shape[1]
    rest = words[:, at + R if change == "replaced" else at + (change == "word lost") :]
    rest = words if change == "bos twice" else rest
    return torch.cat([words[:, : 0 if change == "no bos" else at], prefix, rest], dim=1)


def insert_mistake(change: str = "") -> Callable:
    """What `run_insert` gives for it."""
    return partial(run_insert, partial(inserted, change=change))


INSERT_MISTAKES = {
    "the prefix stands before <bos>; <bos> comes first.": insert_mistake("front"),
    "the prefix stands behind the text, which could never read it.": insert_mistake("end"),
    "the prefix stands after two tokens; it comes right after <bos>.": insert_mistake("second"),
    "the prefix replaced words of the text; the text must stay whole.": insert_mistake("replaced"),
    "the prefix stands before the last token; it comes right after <bos>.": insert_mistake(
        "before last"
    ),
    "<bos> is lost: it comes first, as the language model expects.": insert_mistake("no bos"),
    "<bos> stands twice: after the prefix comes the rest of the text.": insert_mistake("bos twice"),
    "the first word after the prefix is lost.": insert_mistake("word lost"),
    "the queries are averaged into one vector; each has a place of its own.": insert_mistake("mean"),
    "only the first query is there.": insert_mistake("first only"),
    "every text got the first picture's prefix.": insert_mistake("first picture"),
    "the queries stand in reverse order.": insert_mistake("reversed"),
    "all places of a prefix hold its first query.": insert_mistake("one for all"),
    "the values are right, but no gradient arrives at the states: is something detached?": (
        lambda words, states, weight: [
            insert_mistake()(words, states, weight)[0],
            torch.zeros_like(states),
            True,
        ]
    ),
}  # fmt: skip


def explain_insert(got: object, wanted: list, words: Tensor, states: Tensor, weight: Tensor):
    if not isinstance(got, list) or len(got) != 3:
        return None
    if got[2] is False:
        return "you wrote into `words` itself: those may be rows of the frozen language model."
    if isinstance(got[0], Tensor) and tuple(got[0].shape) == tuple(words.shape):
        return "the text has its old length: R places must be added."
    return None


def loss_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Logits of texts with R vectors after the first token, ids, which tokens are scored, R."""
    B, T, R, V = 3, number(generator, 6, 7), number(generator, 2, 3), number(generator, 9, 12)
    ids = torch.randint(0, V, (B, T), generator=generator)
    scored = torch.zeros(B, T, dtype=torch.bool)
    for row, count in zip(scored, (torch.randperm(3, generator=generator) + 1).tolist()):
        row[2 : 2 + count] = True
    return [normal(generator, B, R + T, V, scale=2), ids, scored, R], {}


def surprise(logits: Tensor, ids: Tensor) -> Tensor:
    return cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none").view(ids.shape)


def loss(
    logits: Tensor,
    ids: Tensor,
    scored: Tensor,
    R: int,
    start: int = 0,
    mask=lambda scored: scored[:, 1:],
    reduce=lambda values, use: values[use].mean(),
) -> float:
    """prefix_loss with other choices. start: how many positions too late the logits are taken."""
    T, first = ids.shape[1], R + start
    values = surprise(logits[:, first : first + T - 1], ids[:, 1:])
    return float(reduce(values, mask(scored)))


def without_prefix(logits: Tensor, ids: Tensor, scored: Tensor, R: int) -> float:
    return loss(logits, ids, scored, 0)


def own_tokens(logits: Tensor, ids: Tensor, scored: Tensor, R: int) -> float:
    return float(surprise(logits[:, R:], ids)[scored].mean())


def zeroed_logits(logits: Tensor, ids: Tensor, scored: Tensor, R: int) -> float:
    return float(surprise(logits[:, R:-1] * scored[:, 1:, None], ids[:, 1:]).mean())


def zeroed_ids(logits: Tensor, ids: Tensor, scored: Tensor, R: int) -> float:
    return float(surprise(logits[:, R:-1], ids[:, 1:] * scored[:, 1:]).mean())


LOSS_MISTAKES = {
    "the prefix is not counted: after <bos>, all tokens stand R positions later.": without_prefix,
    "the logits are compared with the token that they have read; they predict the next one.": own_tokens,
    "the logits are taken one position too early.": partial(loss, start=-1),
    "logits and ids are shifted, the mask is not: it belongs to the tokens, as ids do.": partial(
        loss, mask=lambda scored: scored[:, :-1]
    ),
    "all tokens are scored: use `scored`.": partial(
        loss, mask=lambda scored: torch.ones_like(scored[:, 1:])
    ),
    "the tokens that are not scored count instead.": partial(
        loss, mask=lambda scored: ~scored[:, 1:]
    ),
    "that is the sum over scored tokens; take their mean.": partial(
        loss, reduce=lambda values, use: values[use].sum()
    ),
    "the sum over scored tokens is divided by the number of all positions.": partial(
        loss, reduce=lambda values, use: (values * use).mean()
    ),
    "that is the mean over texts of each text's mean: every scored token has the same weight.": partial(
        loss, reduce=lambda values, use: ((values * use).sum(1) / use.sum(1)).mean()
    ),
    "that is the sum over scored tokens, divided by the number of texts.": partial(
        loss, reduce=lambda values, use: (values * use).sum() / len(values)
    ),
    "that is the perplexity: the loss has no exponential.": partial(
        loss, reduce=lambda values, use: values[use].mean().exp()
    ),
    "a softmax stands before the cross-entropy, which has one of its own.": (
        lambda logits, *rest: loss(logits.softmax(-1), *rest)
    ),
    "tokens that are not scored count with logits or ids of 0: leave them out.": (
        zeroed_logits,
        zeroed_ids,
    ),
    "the sign is wrong: a loss is never negative.": partial(
        loss, reduce=lambda values, use: -values[use].mean()
    ),
}


EXERCISES = {
    "insert_prefix": Exercise(
        "First <bos>, then R projected queries, then the text, whole and in order.",
        (
            rule(
                "insert_prefix",
                insert_inputs,
                insert_mistake(),
                INSERT_MISTAKES,
                driver=driver_source(run_insert),
                explain=explain_insert,
            ),
        ),
        reference=reference.insert_prefix,
    ),
    "prefix_loss": Exercise(
        "Each scored token is predicted at the position before it, R positions later than without a prefix.",
        (
            rule("prefix_loss", loss_inputs, loss, LOSS_MISTAKES),
            gradient_rule(
                "prefix_loss",
                loss_inputs,
                reference.prefix_loss,
                1,
                "the number is right, but it has no gradient with respect to the logits.",
            ),
        ),
        reference=reference.prefix_loss,
    ),
}
