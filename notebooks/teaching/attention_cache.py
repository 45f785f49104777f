"""Lesson 01's check of attention with a cache: inputs, and the mistakes that have a name."""

from __future__ import annotations

from functools import partial

import torch

from teaching import attention_answers as answers
from teaching.attention_modules import heads_result, layer_inputs, named_parts
from teaching.exercises import Exercise, rule
from vlmgrader.checks import driver_source


def cache_inputs(generator: torch.Generator) -> tuple[list, dict]:
    (width, heads, weights, x, _), _ = layer_inputs(generator)
    return [width, heads, weights, x], {}


def run_cached(target, width, heads, weights, x):
    """Driver: [results of one token after the other, how many keys are cached after each, and values]."""
    import torch

    from teaching.attention_answers import MultiHeadAttention

    layer, cache, results, lengths = MultiHeadAttention(width, heads), {}, [], []
    layer.load_state_dict(weights)
    for token in x.split(1, dim=1):
        results.append(target(layer, token, cache))
        lengths.append([cache[name].shape[2] if name in cache else 0 for name in ("k", "v")])
    return [torch.cat(results, dim=1), lengths]


def cached_result(width, heads, weights, x, reach="all", lengths=None, **changes) -> list:
    """What `run_cached` gives. reach: which keys each token attends to; lengths: what the cache holds after each step."""
    L = x.shape[1]
    allowed = {
        "all": torch.ones(L, L).tril(),
        "self": torch.eye(L),
        "two": torch.ones(L, L).tril() - torch.ones(L, L).tril(-2),
        "past": torch.ones(L, L).tril(-1),
    }[reach].bool()[None, None]
    lengths = lengths or [[step + 1] * 2 for step in range(L)]
    return [heads_result(width, heads, weights, x, allowed, **changes), lengths]


def crosswise(width, heads, weights, x) -> list:
    """What `run_cached` gives if keys are stored under "v" and values under "k"."""
    layer, cache, results = answers.MultiHeadAttention(width, heads), {}, []
    layer.load_state_dict(weights)
    for token in x.split(1, dim=1):
        q, k, v = (
            part(token).unflatten(-1, (heads, -1)).transpose(1, 2)
            for part in (layer.query, layer.key, layer.value)
        )
        if cache:
            k, v = torch.cat([cache["k"], k], dim=2), torch.cat([cache["v"], v], dim=2)
        cache["k"], cache["v"] = v, k
        merged = answers.attention(q, k, v)[0].transpose(1, 2).flatten(2)
        results.append(layer.output(merged).detach())
    return [torch.cat(results, dim=1), [[step + 1] * 2 for step in range(x.shape[1])]]


def _stays(length):
    return lambda *args: cached_result(
        *args, reach="self", lengths=[[length] * 2] * args[3].shape[1]
    )


CACHE_MISTAKES = {
    "nothing is stored in the cache: put keys and values into it at every step.": _stays(0),
    "each step replaces the cache: it must hold all tokens so far, not only the newest.": _stays(1),
    "the cache is extended, but the new token attends to itself only.": lambda *args: cached_result(
        *args, reach="self"
    ),
    "the cache is replaced after it was used: each token sees itself and one token before.": (
        lambda *args: cached_result(*args, reach="two", lengths=[[1, 1]] * args[3].shape[1])
    ),
    "the new token must attend to itself as well: extend the cache first, then attend.": (
        lambda *args: cached_result(*args, reach="past")
    ),
    "the last linear layer, `output`, is missing.": partial(cached_result, no_output=True),
    'keys and values are exchanged: keys belong under "k", values under "v", and queries meet the keys.': (
        crosswise,
        lambda *args: cached_result(*args, parts=("query", "value", "key")),
    ),
    "keys and values come from the same linear layer, or one is stored in the place of the other.": (
        lambda *args: cached_result(*args, parts=("query", "key", "key")),
        lambda *args: cached_result(*args, parts=("query", "value", "value")),
    ),
    "the heads are not split as in your multi-head attention.": (
        lambda *args: cached_result(*args, split="one head"),
        lambda *args: cached_result(*args, split="interleaved", merge="interleaved"),
    ),
}

CACHE = Exercise(
    "Each step computes one query, one key and one value, and equals the causal forward pass.",
    (
        rule(
            "attend_with_cache",
            cache_inputs,
            cached_result,
            CACHE_MISTAKES,
            driver=driver_source(run_cached),
            explain=named_parts("the results", "how many keys and values are in the cache"),
        ),
    ),
    reference=answers.attend_with_cache,
)
