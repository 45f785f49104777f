"""Lesson 01's exercises: each plausible mistake is called by its name; and its interactive mask."""

import math
import re

import numpy as np
import pytest
import torch
from exercise_answers import displayed, each, message
from torch import nn

from benchmarks import replicate_attention
from teaching import attention_answers as answers
from teaching import attention_figures as figures
from teaching import attention_lab as lab
from teaching import attention_pictures as pictures
from teaching.attention import mask_of, mask_player
from teaching.exercises import question
from teaching.lookup import BASE, COLOURS, LookUpTask, table_beside_ours
from vlmcourse import recipes
from vlmcourse.evaluation import load_results
from vlmcourse.evaluation.published import published
from vlmcourse.parts import masks
from vlmcourse.parts.attention import Attention
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer


def level(prefix, length):
    return (torch.arange(length) - prefix + 1).clamp(min=0)


def phi(is_tag):
    return is_tag.long().cumsum(0)


def scores(q, k):
    return q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])


def attended(q, k, v, weights):
    return weights @ v, weights


def over_allowed(q, k, v, allowed):
    weights = scores(q, k).masked_fill(~allowed, -math.inf).softmax(-1)
    return torch.nan_to_num(weights) @ v


class Layer(nn.Module):
    """Multi-head attention with a place for each mistake."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.width = heads, width
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)

    def split(self, x):
        B, L, D = x.shape
        return x.reshape(B, L, self.heads, D // self.heads).transpose(1, 2)

    def merge(self, x):
        return x.transpose(1, 2).flatten(2)

    def attend(self, q, k, v, allowed):
        return over_allowed(q, k, v, allowed)

    def project(self, x):
        return self.query(x), self.key(x), self.value(x)

    def forward(self, x, allowed):
        q, k, v = (self.split(part) for part in self.project(x))
        return self.output(self.merge(self.attend(q, k, v, allowed)))


class SplitByView(Layer):
    def split(self, x):
        return x.view(len(x), self.heads, x.shape[1], -1)

    def merge(self, x):
        return x.reshape(len(x), -1, self.width)


class MergedByReshape(Layer):
    def merge(self, x):
        return x.reshape(len(x), x.shape[2], -1)


class Interleaved(Layer):
    def split(self, x):
        return x.unflatten(-1, (-1, self.heads)).permute(0, 3, 1, 2)

    def merge(self, x):
        return x.permute(0, 2, 3, 1).flatten(2)


class SingleHead(Layer):
    def split(self, x):
        return x[:, None]

    def merge(self, x):
        return x[:, 0]


class WithoutOutput(Layer):
    def forward(self, x, allowed):
        q, k, v = (self.split(part) for part in self.project(x))
        return self.merge(self.attend(q, k, v, allowed))


class FullScale(Layer):
    def attend(self, q, k, v, allowed):
        return over_allowed(q / math.sqrt(self.heads), k, v, allowed)


class Unmasked(Layer):
    def attend(self, q, k, v, allowed):
        return scores(q, k).softmax(-1) @ v


class KeysAsValues(Layer):
    def project(self, x):
        return self.query(x), self.key(x), self.key(x)


class ValuesAsKeys(Layer):
    def project(self, x):
        return self.query(x), self.value(x), self.key(x)


class WithResidual(Layer):
    def forward(self, x, allowed):
        return x + super().forward(x, allowed)


class Halved(Layer):
    def forward(self, x, allowed):
        return super().forward(x, allowed) / 2


class HalfDetached(Layer):
    def forward(self, x, allowed):
        result = super().forward(x, allowed)
        return (result + result.detach()) / 2


class Exchanged(Layer):
    def project(self, x):
        return self.key(x), self.query(x), self.value(x)


class Detached(Layer):
    def forward(self, x, allowed):
        return super().forward(x, allowed).detach()


class OtherNames(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.W_q = nn.Linear(width, width)

    def forward(self, x, allowed):
        return x


class Block(nn.Module):
    """A pre-norm block with a place for each mistake."""

    def __init__(self, width, attention):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = attention
        self.feedforward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )


class Rectified(Block):
    def __init__(self, width, attention):
        super().__init__(width, attention)
        self.feedforward[1] = nn.ReLU()

    def forward(self, x, allowed):
        x = x + self.attention(self.norm1(x), allowed)
        return x + self.feedforward(self.norm2(x))


def block(forward):
    return type("PreNormBlock", (Block,), {"forward": forward})


def angle(length, width):
    return torch.arange(length)[:, None] / 10_000 ** (torch.arange(0, width, 2) / width)


def filled(even, odd):
    table = torch.empty(even.shape[0], 2 * even.shape[1])
    table[:, 0::2], table[:, 1::2] = even, odd
    return table


def changed(function, x, amount, restore=True):
    before, work, columns = function(x), x.clone(), []
    for k in range(x.shape[1]):
        work = x.clone() if restore else work
        work[:, k] += amount(x[:, k])
        columns.append((function(work) - before).abs().sum(-1)[0] > 1e-5)
    return torch.stack(columns, dim=1)


def moves(function, x):
    """What changes in the outputs, (M, N, D), if each input is replaced by random numbers."""
    columns = []
    for k in range(x.shape[1]):
        work = x.clone()
        work[:, k] = torch.randn(x.shape[-1])
        columns.append((function(work) - function(x))[0])
    return torch.stack(columns, dim=1)


def in_place(function, x):
    before, columns = function(x), []
    for k in range(x.shape[1]):
        old = x[:, k].clone()
        x[:, k] = torch.randn_like(old)
        columns.append((function(x) - before).abs().amax(-1)[0] > 1e-6)
        x[:, k] = old if k else old + 1
    return torch.stack(columns, dim=1)


def noise(x):
    return torch.randn_like(x)


def paths(step, depth, start=None):
    reach = torch.eye(len(step)) if start is None else start
    for _ in range(depth):
        reach = step.float() @ reach
    return reach


def with_self(allowed):
    return allowed | torch.eye(len(allowed), dtype=torch.bool)


def squared(allowed, depth):
    reach = with_self(allowed).float()
    for _ in range(depth - 1):
        reach = ((reach @ reach) > 0).float()
    return reach > 0


def heads_of(layer, x):
    return [
        part(x).reshape(len(x), x.shape[1], layer.heads, -1).transpose(1, 2)
        for part in (layer.query, layer.key, layer.value)
    ]


def joined(layer, q, k, v, output=True):
    merged = (scores(q, k).softmax(-1) @ v).transpose(1, 2).flatten(2)
    return layer.output(merged) if output else merged


def extended(cache, k, v):
    """The cache as it should be after a step: keys and values of all tokens so far."""
    for name, new in (("k", k), ("v", v)):
        cache[name] = torch.cat([cache[name], new], dim=2) if name in cache else new
    return cache["k"], cache["v"]


def never_stored(layer, x, cache):
    return joined(layer, *heads_of(layer, x))


def replaced(layer, x, cache):
    q, k, v = heads_of(layer, x)
    cache["k"], cache["v"] = k, v
    return joined(layer, q, k, v)


def replaced_after_use(layer, x, cache):
    q, k, v = heads_of(layer, x)
    keys, values = extended(dict(cache), k, v)
    cache["k"], cache["v"] = k, v
    return joined(layer, q, keys, values)


def to_itself_only(layer, x, cache):
    q, k, v = heads_of(layer, x)
    extended(cache, k, v)
    return joined(layer, q, k, v)


def without_itself(layer, x, cache):
    q, k, v = heads_of(layer, x)
    old = cache.get("k", k[:, :, :0]), cache.get("v", v[:, :, :0])
    result = joined(layer, q, *old)
    extended(cache, k, v)
    return result


def without_output(layer, x, cache):
    q, k, v = heads_of(layer, x)
    return joined(layer, q, *extended(cache, k, v), output=False)


def keys_twice(layer, x, cache):
    q, k, _ = heads_of(layer, x)
    return joined(layer, q, *extended(cache, k, k))


def stored_crosswise(layer, x, cache):
    q, k, v = heads_of(layer, x)
    k, v = extended(cache, k, v)
    cache["k"], cache["v"] = v, k
    return joined(layer, q, k, v)


def single_head(layer, x, cache):
    q, k, v = (part(x)[:, None] for part in (layer.query, layer.key, layer.value))
    return joined(layer, q, *extended(cache, k, v))


WRONG = {
    "attention.attention": {
        "runs over the heads": lambda q, k, v: (
            (w := scores(q, k).softmax(1)) @ v,
            w,
        ),
        "the heads or the batch": lambda q, k, v: attended(q, k, v, scores(q, k).softmax(0)),
        "divide the scores, before": lambda q, k, v: attended(
            q, k, v, (q @ k.mT).softmax(-1) / q.shape[-1] ** 0.5
        ),
        "logarithms of the weights": lambda q, k, v: attended(
            q, k, v, scores(q, k).log_softmax(-1)
        ),
        "a sigmoid judges": lambda q, k, v: attended(q, k, v, scores(q, k).sigmoid()),
        "holds the scores": lambda q, k, v: (scores(q, k).softmax(-1) @ v, scores(q, k)),
        "are not scaled": lambda q, k, v: attended(q, k, v, (q @ k.mT).softmax(-1)),
        "has its square root": lambda q, k, v: attended(
            q, k, v, (q @ k.mT / q.shape[-1]).softmax(-1)
        ),
        "are multiplied by the square root": lambda q, k, v: attended(
            q, k, v, (q @ k.mT * q.shape[-1] ** 0.5).softmax(-1)
        ),
        "is a fixed number": lambda q, k, v: attended(q, k, v, (q @ k.mT / 8).softmax(-1)),
        "k is reshaped": lambda q, k, v: attended(
            q,
            k,
            v,
            (q @ k.reshape(q.shape[:2] + (q.shape[-1], -1)) / q.shape[-1] ** 0.5).softmax(-1),
        ),
        "heads or examples": lambda q, k, v: attended(
            q, k, v, (q @ k.mT / len(q) ** 0.5).softmax(-1)
        ),
        "made from another axis": lambda q, k, v: attended(
            q, k, v, (q @ k.mT / k.shape[-2] ** 0.5).softmax(-1)
        ),
        "runs over the queries": lambda q, k, v: attended(q, k, v, scores(q, k).softmax(-2)),
        "without a softmax": lambda q, k, v: attended(q, k, v, scores(q, k)),
        "order is exchanged": lambda q, k, v: attended(q, k, v, scores(q, k).softmax(-1))[::-1],
        "return both": lambda q, k, v: scores(q, k).softmax(-1) @ v,
        "applied to the keys": lambda q, k, v: attended(q, k, k, scores(q, k).softmax(-1)),
        "Did you forget the return?": lambda q, k, v: None,
    },
    "attention.prefix_mask": {
        "text does not attend to the prefix": lambda p, n: (
            (torch.ones(n, n).tril().bool() | (torch.arange(n) < p))
            & ((torch.arange(n) < p)[:, None] == (torch.arange(n) < p))
        ),
        "upside down": lambda prefix, n: level(prefix, n)[None] > level(prefix, n)[:, None],
        "transpose": lambda prefix, n: level(prefix, n)[None] >= level(prefix, n)[:, None],
        "by <=, not by <": lambda prefix, n: level(prefix, n)[None] < level(prefix, n)[:, None],
        "these are groups": lambda prefix, n: level(prefix, n)[None] == level(prefix, n)[:, None],
        "not its rows": lambda prefix, n: (
            torch.ones(n, n).tril().bool() | (torch.arange(n) < prefix)[:, None]
        ),
        "that is causal": lambda prefix, n: torch.ones(n, n).tril().bool(),
        "no longer to its own past": lambda prefix, n: (torch.arange(n) < prefix).expand(n, n),
        "future included": lambda prefix, n: torch.ones(n, n).bool(),
        "one position too many": lambda prefix, n: (
            level(min(prefix + 1, n), n)[None] <= level(min(prefix + 1, n), n)[:, None]
        ),
        "one position too few": lambda prefix, n: (
            level(max(prefix - 1, 0), n)[None] <= level(max(prefix - 1, 0), n)[:, None]
        ),
        "Did you forget the return?": lambda prefix, n: None,
        "expected a tensor": lambda prefix, n: [[True]],
        "found shape": lambda prefix, n: torch.ones(n).bool(),
        "A mask is booleans": lambda prefix, n: torch.ones(n, n),
    },
    "attention.packed_mask": {
        "columns of padding": lambda d, t: (
            (d[:, :, None] == d[:, None]) & torch.ones(d.shape[1], d.shape[1]).tril().bool()
        )[:, None],
        "not causal": lambda d, t: ((d[:, :, None] == d[:, None]) & t[:, None])[:, None],
        "must not see each other": lambda d, t: (
            torch.ones(d.shape[1], d.shape[1]).tril().bool() & t[:, None]
        )[:, None],
        "includes the query": lambda d, t: (
            (d[:, :, None] == d[:, None])
            & torch.ones(d.shape[1], d.shape[1]).tril(-1).bool()
            & t[:, None]
        )[:, None],
        "only the causal mask": lambda d, t: (
            torch.ones(d.shape[1], d.shape[1]).tril().bool().repeat(len(d), 1, 1, 1)
        ),
        "closes it as queries": lambda d, t: (
            (d[:, :, None] == d[:, None])
            & torch.ones(d.shape[1], d.shape[1]).tril().bool()
            & t[:, :, None]
        )[:, None],
        "the rows of padding are closed, too": lambda d, t: (
            (d[:, :, None] == d[:, None])
            & torch.ones(d.shape[1], d.shape[1]).tril().bool()
            & t[:, None]
            & t[:, :, None]
        )[:, None],
        "tokens of padding attend to each other": lambda d, t: (
            ((d * t)[:, :, None] == (d * t)[:, None])
            & torch.ones(d.shape[1], d.shape[1]).tril().bool()
        )[:, None],
        "no query may attend to padding": lambda d, t: (
            (d[:, :, None] == d[:, None])
            & torch.ones(d.shape[1], d.shape[1]).tril().bool()
            & (t[:, :, None] == t[:, None])
        )[:, None],
        "an empty row stays empty": lambda d, t: (
            (
                (d[:, :, None] == d[:, None])
                & torch.ones(d.shape[1], d.shape[1]).tril().bool()
                & t[:, None]
            )
            | torch.eye(d.shape[1]).bool()
        )[:, None],
        "asks for any of them": lambda d, t: (
            (d[:, :, None] == d[:, None])
            | torch.ones(d.shape[1], d.shape[1]).tril().bool()
            | t[:, None]
        )[:, None],
        "where a token is real": lambda d, t: (
            (d[:, :, None] == d[:, None])
            & torch.ones(d.shape[1], d.shape[1]).tril().bool()
            & ~t[:, None]
        )[:, None],
        "future instead of the past": lambda d, t: (
            (d[:, :, None] == d[:, None])
            & torch.ones(d.shape[1], d.shape[1]).triu().bool()
            & t[:, None]
        )[:, None],
        "axis of the heads": lambda d, t: (
            (d[:, :, None] == d[:, None])
            & torch.ones(d.shape[1], d.shape[1]).tril().bool()
            & t[:, None]
        ),
        "upside down": lambda d, t: (
            ~(
                (d[:, :, None] == d[:, None])
                & torch.ones(d.shape[1], d.shape[1]).tril().bool()
                & t[:, None]
            )[:, None]
        ),
    },
    "attention.masked_attention": {
        "mask is not used": lambda q, k, v, a: scores(q, k).softmax(-1) @ v,
        "used upside down": lambda q, k, v, a: over_allowed(q, k, v, ~a),
        "mask is transposed": lambda q, k, v, a: over_allowed(q, k, v, a.mT),
        "gives NaN": lambda q, k, v, a: scores(q, k).masked_fill(~a, -math.inf).softmax(-1) @ v,
        "mean of all values": lambda q, k, v, a: scores(q, k).masked_fill(~a, -1e9).softmax(-1) @ v,
        "after the softmax": lambda q, k, v, a: (scores(q, k).softmax(-1) * a) @ v,
        "exp(0) is 1": lambda q, k, v, a: (scores(q, k) * a).softmax(-1) @ v,
        "not scaled": lambda q, k, v, a: over_allowed(q * math.sqrt(q.shape[-1]), k, v, a),
        "the gradient of v is NaN": lambda q, k, v, a: (
            scores(q, k).masked_fill(~a, -torch.inf).softmax(-1) @ v
        ).nan_to_num(),
        "no gradient arrives": lambda q, k, v, a: over_allowed(q, k, v, a).detach(),
        "the gradient is NaN": lambda q, k, v, a: (
            torch.nan_to_num(
                (scores(q, k) + torch.zeros(a.shape).masked_fill(~a, -math.inf)).softmax(-1)
            )
            @ v
        ),
    },
    "attention.last_image_mask": {
        "upside down": lambda tag, image: phi(tag)[:, None] != image[None],
        "the image before its own": lambda tag, image: (phi(tag) - 1)[:, None] == image[None],
        "every image so far": lambda tag, image: image[None] <= phi(tag)[:, None],
        "still to come": lambda tag, image: image[None] >= phi(tag)[:, None],
        "its own image": lambda tag, image: (phi(tag) - tag.long())[:, None] == image[None],
        "text before the first image": lambda tag, image: (
            phi(tag).clamp(min=1)[:, None] == image[None]
        ),
        "a running count (cumsum)": lambda tag, image: tag.long()[:, None] == image[None],
        "that is the transpose": lambda tag, image: (phi(tag)[:, None] == image[None]).T,
        "A mask is booleans": lambda tag, image: (phi(tag)[:, None] == image[None]).float(),
        "attends to the next image": lambda tag, image: (phi(tag) + 1)[:, None] == image[None],
    },
    "attention.heads": {
        "cut wrongly": SplitByView,
        "merged wrongly": MergedByReshape,
        "every H-th number": Interleaved,
        "only one head": SingleHead,
        "`output`, is missing": WithoutOutput,
        "square root of the whole width": FullScale,
        "mask is not used": Unmasked,
        "from the same linear layer": KeysAsValues,
        "keys and values are exchanged": ValuesAsKeys,
        "x is added to the result": WithResidual,
        "the result: ": Halved,
        "the gradient of the result by x: ": HalfDetached,
        "are exchanged": Exchanged,
        "no gradient arrives": Detached,
        "expected parameters": OtherNames,
    },
    "attention.dependency": {
        "that is the transpose": lambda f, x: changed(f, x, noise).T,
        "upside down": lambda f, x: ~changed(f, x, noise),
        "removed by a LayerNorm": lambda f, x: changed(f, x, lambda token: 1.0),
        "stay changed": lambda f, x: changed(f, x, noise, restore=False),
        "change one position at a time": lambda f, x: torch.ones_like(changed(f, x, noise)),
        "not all at once": lambda f, x: (
            changed(f, x, noise).any(0, keepdim=True).repeat(f(x).shape[1], 1)
        ),
        "return booleans": lambda f, x: changed(f, x, noise) * 0.37,
        "a decrease is a change, too": lambda f, x: moves(f, x).amax(-1) > 1e-6,
        "take the absolute value": lambda f, x: (-moves(f, x)).amax(-1) > 1e-6,
        "not only one of them": lambda f, x: moves(f, x)[..., 0].abs() > 1e-6,
        "changes x itself": in_place,
        "found shape": lambda f, x: changed(f, x, noise)[None],
    },
    "attention.positions": {
        "alternate": lambda L, D: torch.cat([angle(L, D).sin(), angle(L, D).cos()], 1),
        "exchanged": lambda L, D: filled(angle(L, D).cos(), angle(L, D).sin()),
        "is 0, not 1": lambda L, D: filled(angle(L + 1, D).sin(), angle(L + 1, D).cos())[1:],
        "half as fast": lambda L, D: filled(
            *(
                f(torch.arange(L)[:, None] / 10_000 ** (torch.arange(D // 2) / D))
                for f in (torch.sin, torch.cos)
            )
        ),
        "two sines": lambda L, D: filled(angle(L, D).sin(), angle(L, D).sin()),
        "twice as fast": lambda L, D: filled(
            *(
                f(torch.arange(L)[:, None] / 10_000 ** (torch.arange(0, D, 2) / (D / 2)))
                for f in (torch.sin, torch.cos)
            )
        ),
        "yours differ": lambda L, D: filled(
            angle(L, D).sin(),
            (torch.arange(L)[:, None] / 10_000 ** (torch.arange(1, D, 2) / D)).cos(),
        ),
        "must be divided": lambda L, D: filled(
            *(
                f(torch.arange(L)[:, None] * 10_000 ** (torch.arange(0, D, 2) / D))
                for f in (torch.sin, torch.cos)
            )
        ),
        "transposed": lambda L, D: filled(angle(L, D).sin(), angle(L, D).cos()).T,
        "opposite order": lambda L, D: filled(angle(L, D).sin().flip(1), angle(L, D).cos().flip(1)),
    },
    "attention.block": {
        "post-norm": block(
            lambda self, x, a: self.norm2(
                (y := self.norm1(x + self.attention(x, a))) + self.feedforward(y)
            )
        ),
        "both residual": block(
            lambda self, x, a: self.feedforward(self.norm2(self.attention(self.norm1(x), a)))
        ),
        "around attention is missing": block(
            lambda self, x, a: (
                (y := self.attention(self.norm1(x), a)) + self.feedforward(self.norm2(y))
            )
        ),
        "around the feed-forward": block(
            lambda self, x, a: self.feedforward(self.norm2(x + self.attention(self.norm1(x), a)))
        ),
        "must stay as it is": block(
            lambda self, x, a: (
                (y := self.norm2((n := self.norm1(x)) + self.attention(n, a))) + self.feedforward(y)
            )
        ),
        "reads the block's input": block(
            lambda self, x, a: (
                x + self.attention(self.norm1(x), a) + self.feedforward(self.norm2(x))
            )
        ),
        "added is lost": block(
            lambda self, x, a: (
                x + self.feedforward(self.norm2(x + self.attention(self.norm1(x), a)))
            )
        ),
        "norm before attention": block(
            lambda self, x, a: (y := x + self.attention(x, a)) + self.feedforward(self.norm2(y))
        ),
        "norm before the feed-forward": block(
            lambda self, x, a: (y := x + self.attention(self.norm1(x), a)) + self.feedforward(y)
        ),
        "in the opposite order": block(
            lambda self, x, a: (
                (y := x + self.feedforward(self.norm2(x))) + self.attention(self.norm1(y), a)
            )
        ),
        "x is added twice": block(
            lambda self, x, a: (
                x + (y := x + self.attention(self.norm1(x), a)) + self.feedforward(self.norm2(y))
            )
        ),
        "stands a GELU": Rectified,
        "used twice": block(
            lambda self, x, a: (
                (y := x + self.attention(self.norm1(x), a)) + self.feedforward(self.norm1(y))
            )
        ),
        "not given to attention": block(
            lambda self, x, a: (
                (y := x + self.attention(self.norm1(x), torch.ones_like(a)))
                + self.feedforward(self.norm2(y))
            )
        ),
    },
    "attention.reachable": {
        "residual connections are missing": lambda a, depth: paths(a, depth) > 0,
        "one layer less": lambda a, depth: paths(with_self(a), depth - 1) > 0,
        "one layer more": lambda a, depth: paths(with_self(a), depth + 1) > 0,
        "that is the transpose": lambda a, depth: (paths(with_self(a), depth) > 0).T,
        "each step doubles the depth": squared,
        "to each block, not only in the end": lambda a, depth: with_self(paths(a, depth) > 0),
        "depth is not used": lambda a, depth: with_self(a),
        "any depth could reach": lambda a, depth: paths(with_self(a), 20) > 0,
        "return booleans": lambda a, depth: paths(with_self(a), depth),
        "upside down": lambda a, depth: paths(with_self(a), depth) == 0,
    },
    "attention.cache": {
        "nothing is stored": never_stored,
        "replaces the cache": replaced,
        "replaced after it was used": replaced_after_use,
        "attends to itself only": to_itself_only,
        "attend to itself as well": without_itself,
        "`output`, is missing": without_output,
        "keys and values are exchanged": stored_crosswise,
        "the results: ": lambda layer, x, cache: answers.attend_with_cache(layer, x, cache) / 2,
        "from the same linear layer": keys_twice,
        "not split": single_head,
    },
}


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


def test_the_mask_player_draws_what_is_typed(monkeypatch):
    shown = displayed(monkeypatch)
    mask_player()
    ((widget, static),) = shown
    assert static["image/png"].startswith(b"\x89PNG") and "query 0 sees 0;" in static["text/plain"]
    example, _, integers, picture, text = widget.children
    before = picture.value
    integers.value = "0 0 0 0 0 0"
    assert picture.value != before and "query 0 sees 0, 1, 2, 3, 4, 5" in text.value
    integers.value = "0 one"
    assert "expected 1 to 16 whole numbers" in text.value
    example.value = "uni-modal"
    assert "query 0 sees 0, 1, 2;" in text.value
    mask = mask_of("level(key) <= level(query)", "-1, 0").to_bool()
    assert mask.flatten().tolist() == [True, False, True, True]


def test_the_answer_of_a_look_up_stands_after_its_name():
    task = LookUpTask(pairs=3)
    batch = task.batch(range(64, 96))
    for ids, answer, asked in zip(batch["ids"], batch["answers"], batch["asked"]):
        words = task.words(ids)
        assert words.index(words[-1]) == 2 * asked and len(set(words)) == 6
        assert words[2 * asked + 1] == COLOURS[answer]
    assert torch.equal(task.batch(range(64, 96))["ids"], batch["ids"])


def test_without_a_compiler_the_kernels_are_compared_and_the_reason_is_said(monkeypatch):
    monkeypatch.setattr(figures, "compiler_trouble", lambda: "There is no C++ compiler.")
    gallery = masks.gallery()
    said = figures.kernels(answers.masked_attention, gallery, Scale.of("laptop")).data
    assert "FlexAttention was skipped" in said and "There is no C++ compiler." in said
    differences = re.findall(r"^\| .* \| (\d\S*) \| not run \|$", said, re.M)
    assert len(differences) == len(gallery) and max(map(float, differences)) < 1e-5


def test_in_the_failure_lab_the_healthy_layer_alone_keeps_its_mask():
    document = torch.tensor([[1, 1, 1, 1, 2, 2, 2, 2]])
    is_token = torch.tensor([[False, False] + [True] * 6])
    declared = answers.packed_mask(document, is_token)
    x, causes = torch.randn(1, 8, 16), question("failures", "attention.leaks")["causes"]
    for letter, layer in lab.runs("attention.leaks").items():
        measured = answers.dependency(lambda x: layer(x, declared), x)
        assert torch.equal(measured, declared[0, 0]) == (causes[letter] == "no fault")


def test_a_students_layer_can_replace_the_attention_of_a_clip():
    clip = recipes.clip.new_clip(recipes.clip.clip_config(Scale.of("smoke"))).eval()
    copied = figures.with_attention(clip, answers.MultiHeadAttention)
    pixel_values, ids = torch.rand(2, 3, 32, 32), tokenizer.encode(["a cat", "a dog on blue"])
    with torch.no_grad():
        wanted, got = clip.logits(pixel_values, ids), copied.logits(pixel_values, ids)
        assert torch.allclose(got, wanted, atol=1e-4)
        for layer in (part for part in copied.modules() if hasattr(part, "layer")):
            layer.layer.output.weight.zero_()
        assert not torch.allclose(copied.logits(pixel_values, ids), wanted, atol=1e-2)
    assert not any(isinstance(part, Attention) for part in copied.modules())


@pytest.mark.slow
def test_the_replication_measures_a_row():
    for row in ("1 head, not scaled", "learned positions", "blind"):
        measured = replicate_attention.measure(20, 0, **replicate_attention.ROWS[row])
        assert 0 <= measured["accuracy"] <= 1 and measured["steps to learn"] == 20


def test_the_table_beside_the_paper_has_a_verdict_for_each_claim():
    results = load_results("replicate_attention")
    assert {row["row"] for row in results["rows"]} == set(replicate_attention.ROWS)
    lines = table_beside_ours(published("transformer-table-3"), results).data.splitlines()
    last = [line.split("|")[-2].strip() for line in lines if line.startswith("|")]
    assert sum(word in ("agrees", "within noise", "disagrees") for word in last) == 5
    assert sum("not within 400" in line for line in lines) == 4
    assert any("25.8 against 24.9" in line for line in lines)


def test_settings_that_should_be_equal_are_judged_by_equality():
    results = load_results("replicate_attention")
    by_seed = {row["seed"]: row for row in results["rows"] if row["row"] == "learned positions"}
    for row in results["rows"]:
        if row["row"] == BASE:
            by_seed[row["seed"]]["steps to learn"] = row["steps to learn"]
    lines = table_beside_ours(published("transformer-table-3"), results).data.splitlines()
    (line,) = (line for line in lines if line.startswith("| sinusoids"))
    assert line.endswith("| agrees |")


def test_what_the_lesson_says_of_16_heads_and_of_no_positions_is_measured():
    results = load_results("replicate_attention")

    def of(row, what):
        return [one[what] for one in results["rows"] if one["row"] == row]

    for what, sign in (("steps to learn", 1), ("accuracy", -1)):
        pairs = zip(of("16 heads", what), of(BASE, what))
        assert all(sign * (first - second) > 0 for first, second in pairs)
    learned = zip(of("learned positions", "steps to learn"), of(BASE, "steps to learn"))
    assert sorted(first > second for first, second in learned) == [False, True, True]
    assert max(of("no positions", "accuracy")) < min(of(BASE, "accuracy"))


def test_intervals_of_shares_have_the_published_width_and_stay_within_0_and_1():
    low, high = pictures.wilson(0.5, 100)
    assert low == pytest.approx(0.4038, abs=1e-4) and high == pytest.approx(0.5962, abs=1e-4)
    low, high = pictures.wilson(1.0, 512)
    assert high == 1 and low == pytest.approx(512 / (512 + 1.96**2))
    drawn = pictures.shares({"a": 0.25, "b": 1.0}, 512, {"chance": 0.2}, "share")
    assert "a 0.25 (interval 0.21 to 0.29); b 1.00 (interval 0.99 to 1.00)" in drawn.description
    assert "Lines: chance 0.2." in drawn.description


def test_the_captions_of_costs_give_the_factors():
    times = {"explicit": {1: 2.0, 2: 4.0, 4: 12.0}, "fused": {1: 1.0, 2: 2.5, 4: 3.0}}
    assert figures.growth(times["explicit"]) == "2.0 to 3.0"
    assert figures.growth(times["explicit"] | {4: 8.0}) == "2.0"
    assert figures.ratios(times) == "1.6 to 4.0"


def test_the_weight_on_the_object_is_read_from_the_patches_that_it_fills():
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    image[4:, 4:7], image[0, 3] = 9, 9
    weights = torch.tensor([[0.5, 0.2, 0.2, 0.1], [0.3, 0.3, 0.36, 0.04]])
    assert figures.weight_on_object(image, weights) == pytest.approx(0.1)
