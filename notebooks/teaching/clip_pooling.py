"""Lesson 02: formulas of the exercise on attention pooling, and what each likely mistake would give."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching.clip_objective import unchanged
from teaching.exercises import normal, number


def attention_pool(
    tokens: Tensor,
    positions: Tensor,
    w_query: Tensor,
    w_key: Tensor,
    w_value: Tensor,
    w_out: Tensor,
    heads: int,
    query_of: Callable = lambda x: x[:, :1],
    keys_of: Callable = unchanged,
    softmax: Callable = lambda scores: scores.softmax(-1),
    scale: Callable = lambda width, heads: (width / heads) ** -0.5,
    split: Callable = lambda x, heads: x.unflatten(-1, (heads, -1)).transpose(1, 2),
    values_of: Callable | None = None,
    join: Callable = lambda heads: heads.transpose(1, 2).flatten(2),
) -> Tensor:
    """Mean token as query: (B, P, D), positions (1 + P, D), four (D, D) matrices -> (B, D)."""
    x = torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1) + positions
    queries, x = query_of(x), keys_of(x)
    values = x if values_of is None else values_of(x)
    pairs = (queries, w_query), (x, w_key), (values, w_value)
    q, k, v = (split(a @ w.T, heads) for a, w in pairs)
    weights = softmax(scale(tokens.shape[-1], heads) * q @ k.transpose(-2, -1))
    pooled = join(weights @ v).mean(1)
    return pooled @ w_out.T


def pool_inputs(generator: torch.Generator) -> tuple[list, dict]:
    heads, P = number(generator, 2, 3), number(generator, 4, 6)
    width = 4 * heads
    matrices = [normal(generator, width, width, scale=0.5) for _ in range(4)]
    tokens = normal(generator, 2, P, width)
    return [tokens, normal(generator, 1 + P, width), *matrices, heads], {}


def mean_after_positions(tokens, positions, *rest):
    later = tokens + positions[1:]
    first = later.mean(1, keepdim=True) - tokens.mean(1, keepdim=True)
    shifted = torch.cat([first.mean(0), positions[1:]])
    return attention_pool(tokens, shifted, *rest)


def mean_without_position(tokens, positions, *rest, keys_of=unchanged):
    """The mean token is the query as it is, without its position."""
    mean = tokens.mean(1, keepdim=True)
    return attention_pool(tokens, positions, *rest, query_of=lambda x: mean, keys_of=keys_of)


def values_without_positions(tokens, positions, *rest):
    return attention_pool(tokens, positions, *rest, values_of=lambda x: x - positions)


def mean_last(tokens, positions, *rest, **changes):
    """The mean stands after the tokens, so that it gets the last row of positions; it is still the query."""
    turned = torch.cat([positions[-1:], positions[:-1]])
    return attention_pool(tokens, turned, *rest, **changes)


def first_token_is_the_query(tokens, positions, *rest):
    """The mean stands after the tokens; the query is row 0 of that, the first token."""
    return mean_last(tokens, positions, *rest, query_of=lambda x: x[:, 1:2])


def query_of_tokens_with_positions(tokens, positions, *rest):
    """The query is the mean of the tokens after their positions were added; keys and values are right."""
    query = (tokens + positions[1:]).mean(1, keepdim=True)
    return attention_pool(tokens, positions, *rest, query_of=lambda x: query)


mean_without_position_not_a_key = partial(mean_without_position, keys_of=lambda x: x[:, 1:])

POOL = {
    "there are no positions: add them to the mean and to the tokens.": lambda t, p, *rest: (
        attention_pool(t, 0 * p, *rest)
    ),
    "the query is the first patch: it is the mean of all, at row 0.": partial(
        attention_pool, query_of=lambda x: x[:, 1:2]
    ),
    "the mean comes first, before the tokens: row 0 of positions is its own.": (
        mean_last,
        first_token_is_the_query,
    ),
    "the query is row 0 of the sequence with positions, not a mean taken after they were added.": (
        partial(attention_pool, query_of=lambda x: x.mean(1, keepdim=True)),
        query_of_tokens_with_positions,
    ),
    "every token is a query, and the results are averaged: the mean token alone is the query.": (
        partial(attention_pool, query_of=unchanged),
        partial(attention_pool, query_of=lambda x: x[:, 1:]),
    ),
    "the mean token is not among the keys: it attends to itself as well.": (
        partial(attention_pool, keys_of=lambda x: x[:, 1:]),
        mean_without_position_not_a_key,
    ),
    "the mean token has a position as well, the first row: add it to the query.": mean_without_position,
    "divided by the root of the whole width: each head has width / heads numbers.": partial(
        attention_pool, scale=lambda width, heads: width**-0.5
    ),
    "the scores are not divided by the root of a head's width.": partial(
        attention_pool, scale=lambda width, heads: 1.0
    ),
    "the scores are divided by a head's width, d: divide by its root.": partial(
        attention_pool, scale=lambda width, heads: heads / width
    ),
    "the scores are multiplied by the root of a head's width: divide by it.": partial(
        attention_pool, scale=lambda width, heads: (width / heads) ** 0.5
    ),
    "the softmax comes before the division by the root: divide the scores, then take the softmax.": (
        lambda t, *rest: (
            attention_pool(t, *rest, scale=lambda width, heads: 1.0)
            / (t.shape[-1] / rest[-1]) ** 0.5
        )
    ),
    "that is one head: split the width into `heads` parts.": lambda *a: attention_pool(*a[:-1], 1),
    "the heads are split wrongly: neighbouring numbers belong to one head.": partial(
        attention_pool, split=lambda x, heads: x.unflatten(-1, (-1, heads)).permute(0, 3, 1, 2)
    ),
    "the heads are joined with their numbers interleaved: put one head's d numbers after another's.": partial(
        attention_pool, join=lambda heads: heads.permute(0, 2, 3, 1).flatten(2)
    ),
    "reshape alone mixes tokens and heads: split the last axis, (B, L, heads, d), and then transpose to (B, heads, L, d).": (
        partial(attention_pool, split=lambda x, heads: x.reshape(len(x), heads, x.shape[1], -1))
    ),
    "the softmax runs over the wrong axis: over the keys, the last.": (
        partial(attention_pool, softmax=lambda scores: scores.softmax(1)),
        partial(attention_pool, softmax=lambda scores: scores.softmax(2)),
    ),
    "there is no softmax: the weights of a head sum to 1.": partial(
        attention_pool, softmax=unchanged
    ),
    "queries and keys are exchanged: w_query belongs to the mean token.": (
        lambda t, p, q, k, v, o, heads: attention_pool(t, p, k, q, v, o, heads)
    ),
    "keys and values are exchanged: w_key makes what the query is compared with.": (
        lambda t, p, q, k, v, o, heads: attention_pool(t, p, q, v, k, o, heads)
    ),
    "the value matrix is missing.": lambda t, p, q, k, v, o, heads: attention_pool(
        t, p, q, k, torch.eye(len(o)), o, heads
    ),
    "the output matrix is missing.": lambda t, p, q, k, v, o, heads: attention_pool(
        t, p, q, k, v, torch.eye(len(o)), heads
    ),
    "the mean is taken after the positions were added: first the mean, then positions for all.": (
        mean_after_positions
    ),
    "the matrices are stored as in nn.Linear: multiply by their transpose.": (
        lambda t, p, q, k, v, o, heads: attention_pool(t, p, q.T, k.T, v.T, o.T, heads)
    ),
    "w_query is stored as in nn.Linear, too: multiply by its transpose.": (
        lambda t, p, q, *rest: attention_pool(t, p, q.T, *rest)
    ),
    "w_key is stored as in nn.Linear, too: multiply by its transpose.": (
        lambda t, p, q, k, *rest: attention_pool(t, p, q, k.T, *rest)
    ),
    "w_value is stored as in nn.Linear, too: multiply by its transpose.": (
        lambda t, p, q, k, v, *rest: attention_pool(t, p, q, k, v.T, *rest)
    ),
    "w_out is stored as in nn.Linear, too: multiply by its transpose.": (
        lambda t, p, q, k, v, o, heads: attention_pool(t, p, q, k, v, o.T, heads)
    ),
    "the tokens have no positions as values: y = x + e goes into keys and values.": (
        values_without_positions
    ),
    "that is the mean of the tokens: nothing attends.": lambda t, *_: t.mean(1),
}
