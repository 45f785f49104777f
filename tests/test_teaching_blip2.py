"""Lesson 10's exercises: right answers pass, and each plausible mistake is named."""

from functools import partial

import numpy as np
import pytest
import torch
from exercise_answers import each, message, solution, taught
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from teaching import (
    blip2_figures,
    blip2_lab,
    blip2_measures,
    blip2_model,
    blip2_study,
    built_models,
)
from teaching.blip2 import EXERCISES
from teaching.blip2_reference import PARTS
from vlmcourse.training.scale import Scale


class Queries(nn.Module):
    """The right answer, with switches."""

    def __init__(self, R, D, start=lambda *shape: 0.02 * torch.randn(*shape), learn=True):
        super().__init__()
        self.vectors = nn.Parameter(start(R, D), requires_grad=learn)

    def forward(self, B):
        return self.vectors.expand(B, -1, -1)


class Anew(nn.Module):
    def __init__(self, R, D):
        super().__init__()
        self.R, self.D = R, D

    def forward(self, B):
        return 0.02 * torch.randn(self.R, self.D).expand(B, -1, -1)


def with_forward(forward):
    """Queries with another forward."""

    class Other(Queries):
        pass

    Other.forward = forward
    return Other


class Extra(Queries):
    def __init__(self, R, D):
        super().__init__(R, D)
        self.layer = nn.Linear(D, D)
        nn.init.eye_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, B):
        return self.layer(super().forward(B))


class PerPlace(nn.Module):
    def __init__(self, R, D):
        super().__init__()
        self.vectors = nn.Parameter(0.02 * torch.randn(4, R, D))

    def forward(self, B):
        return self.vectors[:B]


def with_detach(self, B):
    return self.vectors.detach().expand(B, -1, -1)


LEARNED = {
    "Did you forget the return?": with_forward(lambda self, B: None),
    "no axis for the batch": with_forward(lambda self, B: self.vectors),
    "one row, whatever B is": with_forward(lambda self, B: self.vectors[None]),
    "last two axes are exchanged": with_forward(lambda self, B: self.vectors.T.expand(B, -1, -1)),
    "first two axes are exchanged": with_forward(
        lambda self, B: self.vectors[:, None].expand(-1, B, -1)
    ),
    "in one list": with_forward(lambda self, B: self.vectors.repeat(B, 1)),
    "two calls give different": Anew,
    "all queries are equal": partial(Queries, start=torch.zeros),
    "all queries are equal. They get": partial(
        Queries, start=lambda R, D: 0.02 * torch.randn(1, D).expand(R, -1).clone()
    ),
    "pictures of a batch get different": PerPlace,
    "nothing is trained": partial(Queries, learn=False),
    "another standard deviation": partial(Queries, start=torch.randn),
    "not centred": partial(Queries, start=lambda R, D: 0.06 * torch.rand(R, D)),
    "not a uniform one": partial(
        Queries, start=lambda R, D: 0.02 * 12**0.5 * (torch.rand(R, D) - 0.5)
    ),
    "the module trains": Extra,
    "don't all arrive": with_forward(with_detach),
}


def square(objective, R, T):
    is_text = torch.arange(R + T) >= R
    same = is_text[:, None] == is_text[None, :]
    if objective == "itc":
        return same
    if objective == "itm":
        return torch.ones_like(same)
    return ~is_text[None, :] | (is_text[:, None] & torch.ones_like(same).tril())


def mask(objective, R, is_token, change=None, of=None, padding=True):
    """The right answer, or one with another square for the objective `of`."""
    B, T = is_token.shape
    found = square(objective, R, T)
    if change is not None and (of is None or of == objective):
        found = change(found, R, T)
    real = torch.cat([is_token.new_ones(B, R), is_token], 1)[:, None, None]
    return (found & (real if padding else real | True)).expand(B, 1, R + T, R + T)


def other(of, change):
    return partial(mask, of=of, change=change)


def rows_of_text(R, T):
    return (torch.arange(R + T) >= R)[:, None]


def tril(R, T):
    return torch.ones(R + T, R + T).tril().bool()


def strictly_earlier(R, T):
    order = (torch.arange(R + T) - R + 1).clamp(min=0)
    return order[None, :] < order[:, None]


def closed_rows(objective, R, is_token, both=False):
    found = mask(objective, R, is_token, padding=False)
    real = torch.cat([is_token.new_ones(len(is_token), R), is_token], 1)
    found = found & real[:, None, :, None]
    return found & real[:, None, None] if both else found


MASKS = {
    "Did you forget the return?": lambda *args: None,
    "A mask is booleans": lambda *args: mask(*args).float(),
    "itc: it is upside down": lambda *args: ~mask(*args),
    "one mask for all texts": lambda o, R, real: square(o, R, real.shape[1]),
    "axis of the heads": lambda *args: mask(*args)[:, 0],
    "mask of the text alone": lambda o, R, real: mask(o, R, real)[:, :, R:, R:],
    "itc: padding is attended to": partial(mask, padding=False),
    "padding is closed in its rows": closed_rows,
    "rows of padding are closed, too": partial(closed_rows, both=True),
    "only padding may be attended to": lambda o, R, real: mask(o, R, ~real)
    & ~torch.cat([real.new_ones(len(real), R), real], 1)[:, None, None],
    "itg: rows and columns are exchanged": lambda o, R, real: (
        mask(o, R, real).mT if o == "itg" else mask(o, R, real)
    ),
    "itg: the queries attend to the text": other("itg", lambda x, R, T: x | ~rows_of_text(R, T)),
    "itg: queries attend to earlier queries only": other("itg", lambda x, R, T: tril(R, T)),
    "to its future": other("itg", lambda x, R, T: x | rows_of_text(R, T)),
    "can't know the picture": other("itg", lambda x, R, T: x & square("itc", R, T)),
    "later tokens in place of earlier": other(
        "itg", lambda x, R, T: ~rows_of_text(R, T).T | rows_of_text(R, T) & ~tril(R, T).mT.logical_not()
    ),
    "the diagonal is missing": other(
        "itg", lambda x, R, T: x & ~(torch.eye(R + T).bool() & rows_of_text(R, T))
    ),
    "`<` in place of `<=`": lambda o, R, real: mask(
        o, R, real, of="itg", change=lambda x, R, T: strictly_earlier(R, T)
    ),
    "R times True must stand before": lambda o, R, real: (
        square(o, R, real.shape[1])
        & torch.cat([real, real.new_ones(len(real), R)], 1)[:, None, None]
    ),
    "itg: the text's first token counts as a query": lambda o, R, real: (
        mask(o, R + 1, real[:, 1:]) if o == "itg" else mask(o, R, real)
    ),
    "itc: the text's first token counts as a query": lambda o, R, real: mask(o, R + 1, real[:, 1:]),
    "itc: the last query counts as a token": lambda o, R, real: mask(
        o, R - 1, torch.cat([real.new_ones(len(real), 1), real], 1)
    ),
    "padding of one text closes columns": lambda o, R, real: mask(
        o, R, real.all(0, keepdim=True).expand_as(real)
    ),
    "itg: that is the mask of ITM": other("itg", lambda x, R, T: square("itm", R, T)),
    "itg: that is the mask of ITC": other("itg", lambda x, R, T: square("itc", R, T)),
    "would know what it is compared with": other("itc", lambda x, R, T: square("itm", R, T)),
    "itc: the queries attend to the text": other("itc", lambda x, R, T: x | ~rows_of_text(R, T)),
    "itc: the text attends to the queries": other("itc", lambda x, R, T: x | rows_of_text(R, T)),
    "itc: the text is causal": other(
        "itc", lambda x, R, T: x & (tril(R, T) | ~rows_of_text(R, T))
    ),
    "itc: that is the mask of ITG": other("itc", lambda x, R, T: square("itg", R, T)),
    "attends to itself alone": other(
        "itc", lambda x, R, T: x & (torch.eye(R + T).bool() | rows_of_text(R, T))
    ),
    "nothing is compared": other("itm", lambda x, R, T: square("itc", R, T)),
    "states that are judged": other("itm", lambda x, R, T: square("itg", R, T) | rows_of_text(R, T)),
    "text doesn't attend to the queries": other(
        "itm", lambda x, R, T: square("itc", R, T) | ~rows_of_text(R, T)
    ),
    "itm: that is the mask of ITG": other("itm", lambda x, R, T: square("itg", R, T)),
    "itm: that is causal everywhere": other("itm", lambda x, R, T: tril(R, T)),
}  # fmt: skip


def layer(block, x, R, features, mask, keep=1, last=1, cross=True, text_too=False, ffn="own"):
    x = block.norm(keep * x + block.attention(x, mask=mask))
    if text_too and block.cross_attention is not None:
        x = block.norm_cross_attention(x + block.cross_attention(x, context=features))
    q, t = x[:, :R], x[:, R:]
    if cross and not text_too and block.cross_attention is not None:
        q = block.norm_cross_attention(q + block.cross_attention(q, context=features))
    first = block.feedforward_text if ffn in ("text's", "exchanged") else block.feedforward_queries
    other = (
        block.feedforward_queries if ffn in ("queries'", "exchanged") else block.feedforward_text
    )
    return torch.cat(
        [block.norm_queries(last * q + first(q)), block.norm_text(last * t + other(t))], 1
    )


def pre_norm(block, x, R, features, mask):
    x = x + block.attention(block.norm(x), mask=mask)
    q, t = x[:, :R], x[:, R:]
    if block.cross_attention is not None:
        q = q + block.cross_attention(block.norm_cross_attention(q), context=features)
    q = q + block.feedforward_queries(block.norm_queries(q))
    return torch.cat([q, t + block.feedforward_text(block.norm_text(t))], 1)


def norm_inside(block, x, R, features, mask):
    x = x + block.norm(block.attention(x, mask=mask))
    q, t = x[:, :R], x[:, R:]
    if block.cross_attention is not None:
        q = q + block.norm_cross_attention(block.cross_attention(q, context=features))
    q = q + block.norm_queries(block.feedforward_queries(q))
    return torch.cat([q, t + block.norm_text(block.feedforward_text(t))], 1)


def without_last_norm(block, x, R, features, mask):
    q = block.norm(x + block.attention(x, mask=mask))[:, :R]
    if block.cross_attention is not None:
        q = block.norm_cross_attention(q + block.cross_attention(q, context=features))
    return q + block.feedforward_queries(q)


def cross_at(block, x, R, features, mask, where):
    def cross(q, context):
        if block.cross_attention is None:
            return q
        beside = 0 if where == "no residual" else q
        norm = block.norm if where == "other norm" else block.norm_cross_attention
        norm = nn.Identity() if where == "no norm" else norm
        return norm(beside + block.cross_attention(q, context=context))

    if where == "first":
        x = torch.cat([cross(x[:, :R], features), x[:, R:]], 1)
    x = block.norm(x + block.attention(x, mask=mask))
    q, t = x[:, :R], x[:, R:]
    if where == "text":
        t = cross(t, features)
    elif where not in ("first", "last"):
        q = cross(q, t if where == "to text" else features)
    q, t = (
        block.norm_queries(q + block.feedforward_queries(q)),
        block.norm_text(t + block.feedforward_text(t)),
    )
    return torch.cat([cross(q, features) if where == "last" else q, t], 1)


def ending(block, x, R, features, mask, how):
    """A layer with another last step, or with two self-attentions in place of one."""
    start = x
    if how == "apart":
        sides = (x[:, :R], mask[..., :R, :R]), (x[:, R:], mask[..., R:, R:])
        x = torch.cat([block.norm(s + block.attention(s, mask=m)) for s, m in sides], 1)
    else:
        x = block.norm(x + block.attention(x, mask=mask))
    before, t = x[:, :R], x[:, R:]
    q = before
    if block.cross_attention is not None:
        beside = start[:, :R] if how == "old residual" else q
        q = block.norm_cross_attention(beside + block.cross_attention(q, context=features))
    norm_q = block.norm_text if how == "text's norm" else block.norm_queries
    norm_t = block.norm_queries if how == "queries' norm" else block.norm_text
    q = norm_q((before if how == "passes cross" else q) + block.feedforward_queries(q))
    if how == "text stays":
        return torch.cat([q, t], 1)
    t = t + block.feedforward_text(t)
    return torch.cat([q, t if how == "no norm" else norm_t(t)], 1)


LAYER = {
    "attend apart": partial(ending, how="apart"),
    "residual of cross-attention is the layer's input": partial(ending, how="old residual"),
    "leaves out what cross-attention found": partial(ending, how="passes cross"),
    "the text's last LayerNorm is that of the queries": partial(ending, how="queries' norm"),
    "the queries' last LayerNorm is that of the text": partial(ending, how="text's norm"),
    "as self-attention left it": partial(ending, how="text stays"),
    "LayerNorm after the text's feed-forward network": partial(ending, how="no norm"),
    "Did you forget the return?": lambda *args: None,
    "that is pre-norm": pre_norm,
    "taken of what is added": norm_inside,
    "LayerNorm after the queries' feed-forward network": lambda block, x, R, f, mask: torch.cat(
        [without_last_norm(block, x, R, f, mask), layer(block, x, R, f, mask)[:, R:]], 1
    ),
    "self-attention's residual": partial(layer, keep=0),
    "residual of the feed-forward": partial(layer, last=0),
    "mask is not used": lambda block, x, R, f, mask: layer(block, x, R, f, None),
    "have exchanged their feed-forward": partial(layer, ffn="exchanged"),
    "the text goes through the queries'": partial(layer, ffn="queries'"),
    "the queries go through the text's": partial(layer, ffn="text's"),
    "it is not used": partial(layer, cross=False),
    "the text reads the picture, too": partial(layer, text_too=True),
    "and the queries don't": partial(cross_at, where="text"),
    "cross-attention attends to the text": partial(cross_at, where="to text"),
    "stands before self-attention": partial(cross_at, where="first"),
    "stands behind the feed-forward": partial(cross_at, where="last"),
    "cross-attention's residual": partial(cross_at, where="no residual"),
    "of self-attention is used after": partial(cross_at, where="other norm"),
    "no LayerNorm after cross-attention": partial(cross_at, where="no norm"),
    "text is missing": lambda block, x, R, f, m: layer(block, x, R, f, m)[:, :R],
    "queries are missing": lambda block, x, R, f, m: layer(block, x, R, f, m)[:, R:],
    "text comes first": lambda block, x, R, f, m: layer(block, x, R, f, m).roll(x.shape[1] - R, 1),
    "no gradient arrives": lambda block, x, *rest: layer(block, x.detach(), *rest),
}


def run(model, features, ids, mask, start=None, image=None, layers=None, end=lambda x: x, R=None):
    queries, text = model.queries(len(ids)), model.embed(ids)
    count = queries.shape[1]
    x = torch.cat([queries, text], 1)
    x = model.norm(x) if start is None else start(model, queries, text)
    features = model.norm_image(features) if image is None else image(model, features)
    for one in model.layers if layers is None else layers(list(model.layers)):
        x = one(x, count if R is None else R(ids), features, mask)
    x = end(x)
    return x[:, :count], x[:, count:]


def cut_at(x, T):
    return x[:, :-T], x[:, -T:]


def norm_in_each(model, features, ids, mask):
    queries = model.queries(len(ids))
    x, R = model.norm(torch.cat([queries, model.embed(ids)], 1)), queries.shape[1]
    for one in model.layers:
        features = model.norm_image(features)
        x = one(x, R, features, mask)
    return x[:, :R], x[:, R:]


def not_chained(model, features, ids, mask):
    queries = model.queries(len(ids))
    x, R = model.norm(torch.cat([queries, model.embed(ids)], 1)), queries.shape[1]
    for one in model.layers:
        out = one(x, R, model.norm_image(features), mask)
    return out[:, :R], out[:, R:]


RUN = {
    "Did you forget the return?": lambda *args: None,
    "one tensor": lambda *args: torch.cat(run(*args), 1),
    "exchanged in your result": lambda *args: run(*args)[::-1],
    "`norm` is missing": partial(run, start=lambda m, q, t: torch.cat([q, t], 1)),
    "leaves out the queries": partial(run, start=lambda m, q, t: torch.cat([q, m.norm(t)], 1)),
    "leaves out the text": partial(run, start=lambda m, q, t: torch.cat([m.norm(q), t], 1)),
    "text stands before": partial(run, start=lambda m, q, t: m.norm(torch.cat([t, q], 1))),
    "don't go through `norm_image`": partial(run, image=lambda m, f: f),
    "again in each layer": norm_in_each,
    "only the first layer": partial(run, layers=lambda all: all[:1]),
    "only the last layer": partial(run, layers=lambda all: all[-1:]),
    "only the last layer counts: each": not_chained,
    "reverse order": partial(run, layers=lambda all: all[::-1]),
    "mask is not given": lambda m, f, ids, mask: run(m, f, ids, None),
    "length of the text": partial(run, R=lambda ids: ids.shape[1]),
    "size of the batch": partial(run, R=len),
    "their LayerNorm is `norm_image`": partial(run, image=lambda m, f: m.norm(f)),
    "has its residuals inside": partial(
        run, layers=lambda all: [lambda x, *rest, one=one: x + one(x, *rest) for one in all]
    ),
    "no gradient arrives": lambda m, f, *rest: run(m, f.detach(), *rest),
    "cut at R, not at -T": lambda m, f, ids, mask: cut_at(
        torch.cat(run(m, f, ids, mask), 1), ids.shape[1]
    ),
}


def cosines(q, t):
    return normalize(q, dim=-1) @ normalize(t, dim=-1).T


def similarity(q, t):
    return cosines(q, t).amax(1)


SIMILARITY = {
    "Did you forget the return?": lambda *args: None,
    "rows and columns are exchanged": lambda q, t: similarity(q, t).T,
    "over another axis": lambda q, t: cosines(q, t).amax(2),
    "that is the mean over queries": lambda q, t: cosines(q, t).mean(1),
    "the vectors are not normalised": lambda q, t: (q @ t.T).amax(1),
    "the queries are not normalised": lambda q, t: (q @ normalize(t, dim=-1).T).amax(1),
    "the texts are not normalised": lambda q, t: (normalize(q, dim=-1) @ t.T).amax(1),
    "averaged before they are compared": lambda q, t: (
        normalize(normalize(q, dim=-1).mean(1), dim=-1) @ normalize(t, dim=-1).T
    ),
    "wanted are the values": lambda q, t: cosines(q, t).max(1),
    "numbers of the best queries": lambda q, t: cosines(q, t).argmax(1),
    "signs are lost": lambda q, t: cosines(q, t).abs().amax(1),
    "that is a soft maximum": lambda q, t: cosines(q, t).logsumexp(1),
    "chosen by dot products": lambda q, t: cosines(q, t).gather(
        1, (q @ t.T).argmax(1, keepdim=True)
    )[:, 0],
    "the worst query": lambda q, t: cosines(q, t).amin(1),
    "the queries are summed": lambda q, t: cosines(q, t).sum(1),
    "only the first query": lambda q, t: cosines(q, t)[:, 0],
    "another axis than their own": lambda q, t: (normalize(q, dim=1) @ normalize(t, dim=-1).T).amax(
        1
    ),
    "values are not right": lambda q, t: similarity(q, t) * 0.5,
    "no gradient arrives": lambda q, t: similarity(q, t).detach(),
}


def itc(s, temperature, groups, smoothing, share=None, scale=None, smooth=None):
    same = (groups[:, None] == groups[None, :]).float()
    y = same / same.sum(1, keepdim=True) if share is None else share(same)
    logits = s / temperature if scale is None else scale(s, temperature)
    y = (1 - smoothing) * y + smoothing / len(y) if smooth is None else smooth(y, smoothing)
    rows = -(y * logits.log_softmax(1)).sum(1).mean(), -(y * logits.T.log_softmax(1)).sum(1).mean()
    return sum(rows) / 2


def one_way(s, temperature, groups, smoothing, transposed):
    same = (groups[:, None] == groups[None, :]).float()
    logits = (s.T if transposed else s) / temperature
    return cross_entropy(logits, same / same.sum(1, keepdim=True), label_smoothing=smoothing)


def sides(s, temperature, groups, smoothing, to_texts=None, to_images=None, own=False):
    """Both directions by cross_entropy, each with (temperature, smoothing) of its own."""
    same = (groups[:, None] == groups[None, :]).float()
    y = same.argmax(1) if own else same / same.sum(1, keepdim=True)
    usual = (temperature, smoothing)
    found = [
        cross_entropy(x / tau, y, label_smoothing=share)
        for x, (tau, share) in ((s, to_texts or usual), (s.T, to_images or usual))
    ]
    return sum(found) / 2


ITC = {
    "argument 2 gets no gradient": lambda s, t, g, e: itc(s, float(t), g, e),
    "smoothing is used in one direction": lambda s, t, g, e: sides(s, t, g, e, to_images=(t, 0.0)),
    "temperature is used in one direction": lambda s, t, g, e: sides(s, t, g, e, to_images=(1, e)),
    "smoothed twice": lambda s, t, g, e: itc(
        s, t, g, e, smooth=lambda y, e: (1 - e) * ((1 - e) * y + e / len(y)) + e / len(y)
    ),
    "a softmax stands before": partial(itc, scale=lambda s, t: (s / t).softmax(1)),
    "B times too small": lambda s, *rest: itc(s, *rest) / len(s),
    "gets the whole target": partial(sides, own=True),
    "Did you forget the return?": lambda *args: None,
    "multiplied by the temperature": partial(itc, scale=lambda s, t: s * t),
    "temperature is not used": partial(itc, scale=lambda s, t: s),
    "only the pair itself": partial(itc, share=lambda same: torch.eye(len(same))),
    "sums to more than 1": partial(itc, share=lambda same: same),
    "no label smoothing": partial(itc, smooth=lambda y, s: y),
    "wrong captions alone": partial(
        itc,
        smooth=lambda y, s: (1 - s) * y + s * (y == 0).float() / (y == 0).sum(1, keepdim=True),
    ),
    "two shares are exchanged": partial(itc, smooth=lambda y, s: s * y + (1 - s) / len(y)),
    "spread part is missing": partial(itc, smooth=lambda y, s: (1 - s) * y),
    "only images are compared": partial(one_way, transposed=False),
    "only texts are compared": partial(one_way, transposed=True),
    "sum of both directions": lambda *args: 2 * itc(*args),
    "sum over the batch": lambda s, *rest: len(s) * itc(s, *rest),
    "sign is wrong": lambda *args: -itc(*args),
    "not the right value": lambda *args: itc(*args) + 0.7,
    "no gradient arrives": lambda *args: itc(*args).detach(),
}


def itm(read, head, f, ids, texts, images, order=(0, 1, 2), right=1, judge=None):
    pairs = (
        (f, ids),
        (f, ids[texts]),
        (f[images], ids),
        (f[images], ids[texts]),
        (f, ids[images]),
        (f[texts], ids),
    )
    logits = torch.cat([head(read(*pairs[number])) for number in order])
    logits = logits.mean(1) if judge is None else judge(logits)
    labels = torch.full((len(logits),), 1 - right)
    labels[: len(ids)] = right
    return cross_entropy(logits, labels)


def itm_weighted(read, head, f, ids, texts, images, combine):
    logits = [head(read(*pair)).mean(1) for pair in ((f, ids), (f, ids[texts]), (f[images], ids))]
    labels = [torch.full((len(ids),), one) for one in (1, 0, 0)]
    return combine(*(cross_entropy(x, y) for x, y in zip(logits, labels)))


def each_query(read, head, f, ids, texts, images):
    logits = head(read(torch.cat([f, f, f[images]]), torch.cat([ids, ids[texts], ids])))
    labels = torch.tensor([1] * len(ids) + [0] * 2 * len(ids))
    return cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(logits.shape[1]))


def alternating(read, head, f, ids, texts, images):
    logits = head(read(torch.cat([f, f, f[images]]), torch.cat([ids, ids[texts], ids]))).mean(1)
    return cross_entropy(logits, torch.tensor([1, 0, 0] * len(ids)))


def with_own(read, head, f, ids, texts, images):
    """The third group is right pairs in another order."""
    pairs = torch.cat([f, f, f[images]]), torch.cat([ids, ids[texts], ids[images]])
    labels = torch.tensor([1] * len(ids) + [0] * 2 * len(ids))
    return cross_entropy(head(read(*pairs)).mean(1), labels)


ITM = {
    "only right pairs have a 1": alternating,
    "a group of wrong pairs is right": with_own,
    "a softmax stands before": partial(itm, judge=lambda x: x.mean(1).softmax(-1)),
    "Did you forget the return?": lambda *args: None,
    "no wrong picture": partial(itm, order=(0, 1)),
    "no wrong text": partial(itm, order=(0, 2)),
    "meets the wrong picture": partial(itm, order=(0, 3)),
    "one of the two at a time": partial(itm, order=(0, 1, 2, 3)),
    "are exchanged: texts holds": partial(itm, order=(0, 4, 5)),
    "used for the pictures, too": partial(itm, order=(0, 1, 5)),
    "used for the texts, too": partial(itm, order=(0, 4, 2)),
    "the wrong text meets the wrong picture": partial(itm, order=(0, 3, 0)),
    "in another order than the pairs": partial(itm, order=(1, 0, 2)),
    "order than the pairs: only": partial(itm, order=(2, 1, 0)),
    "labels are exchanged": partial(itm, right=0),
    "only the first query": partial(itm, judge=lambda x: x[:, 0]),
    "only the last query": partial(itm, judge=lambda x: x[:, -1]),
    "largest logits": partial(itm, judge=lambda x: x.amax(1)),
    "logits are summed": partial(itm, judge=lambda x: x.sum(1)),
    "probabilities are averaged": partial(itm, judge=lambda x: x.softmax(-1).mean(1).log()),
    "loss of its own": each_query,
    "right pairs are missing": partial(itm_weighted, combine=lambda a, b, c: (b + c) / 2),
    "same weight": partial(itm_weighted, combine=lambda a, b, c: a / 2 + (b + c) / 4),
    "that is the sum": partial(itm_weighted, combine=lambda a, b, c: a + b + c),
    "not the right value": lambda *args: 3 + itm(*args),
    "no gradient arrives": lambda *args: itm(*args).detach(),
}


def itg(write, ids, dec, pad, s, begun=None, shift=True, use=None, smooth=None, reduce=None):
    first = torch.full_like(ids[:, :1], dec)
    read = torch.cat([first, ids[:, 1:]], 1) if begun is None else begun(ids, first)
    logits, targets = write(read), ids
    if shift:
        logits, targets = logits[:, :-1], ids[:, 1:]
    log_p = logits.log_softmax(-1)
    nll = -log_p.gather(-1, targets[..., None])[..., 0]
    values = (1 - s) * nll - s * log_p.mean(-1) if smooth is None else smooth(nll, log_p, s)
    real = targets != pad if use is None else use(targets != pad)
    return values[real].mean() if reduce is None else reduce(values, real)


def in_place(write, ids, dec, pad, s):
    ids[:, 0] = dec
    return itg(write, ids, dec, pad, s)


def wrong_words(nll, log_p, s):
    return (1 - s) * nll + s * (-log_p.sum(-1) - nll) / (log_p.shape[-1] - 1)


def standard(write, ids, dec, pad, s, how):
    first = torch.full_like(ids[:, :1], dec)
    begun = torch.cat([first, ids if how == "before" else ids[:, 1:]], 1)
    logits, targets = write(begun)[:, :-1], ids if how == "before" else ids[:, 1:]
    targets = targets.masked_fill(targets == pad, -100)
    if how == "rolled":
        logits, targets = write(begun), ids.roll(-1, 1)
        targets = targets.masked_fill(targets == pad, -100)
    if how == "by input":
        targets = ids[:, 1:].masked_fill(ids[:, :-1] == pad, -100)
    if how == "from the second":
        logits, targets = logits[:, 1:], targets[:, 1:]
    return cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=s)


ITG = {
    "so T stays as it is": partial(standard, how="before"),
    "nothing to predict": partial(standard, how="rolled"),
    "first padding of each text": partial(standard, how="by input"),
    "first token after [DEC] is left out": partial(standard, how="from the second"),
    "Did you forget the return?": lambda *args: None,
    "still begins with its old": partial(itg, begun=lambda ids, first: ids),
    "last token fell off": partial(itg, begun=lambda ids, f: torch.cat([f, ids[:, :-1]], 1)),
    "every token became": partial(itg, begun=lambda ids, f: f.expand_as(ids)),
    "that they have read": partial(itg, shift=False),
    "padding is counted: the model": partial(itg, use=lambda real: real | True),
    "and nothing else": partial(itg, use=lambda real: ~real),
    "no label smoothing": partial(itg, smooth=lambda n, p, s: n),
    "wrong words alone": partial(itg, smooth=wrong_words),
    "two shares are exchanged": partial(itg, smooth=lambda n, p, s: s * n - (1 - s) * p.mean(-1)),
    "spread part is missing": partial(itg, smooth=lambda n, p, s: (1 - s) * n),
    "sum over tokens": partial(itg, reduce=lambda v, use: v[use].sum()),
    "number of all positions": partial(itg, reduce=lambda v, use: (v * use).mean()),
    "texts' means": partial(itg, reduce=lambda v, u: ((v * u).sum(1) / u.sum(1)).mean()),
    "sign is wrong": lambda *args: -itg(*args),
    "ids were changed": in_place,
    "not the right value": lambda *args: itg(*args) + 1,
    "no gradient": lambda *args: itg(*args).detach(),
}


def wins(s, best=None):
    best = s.argmax(1) if best is None else best
    return torch.bincount(best, minlength=s.shape[1]) / len(s)


def effective(p):
    return torch.special.entr(p).sum().exp().item()


USED = {
    "Did you forget the return?": lambda s: None,
    "divided by the number of queries": lambda s: (
        wins(s) * len(s) / s.shape[1],
        effective(wins(s) * len(s) / s.shape[1]),
    ),
    "signs are lost": lambda s: (
        wins(s, s.abs().argmax(1)),
        effective(wins(s, s.abs().argmax(1))),
    ),
    "these are counts": lambda s: (wins(s) * len(s), effective(wins(s))),
    "fit *worst*": lambda s: (wins(s, s.argmin(1)), effective(wins(s, s.argmin(1)))),
    "mean of softmaxes": lambda s: (s.softmax(1).mean(0), effective(s.softmax(1).mean(0))),
    "mean cosines": lambda s: (s.mean(0), effective(s.mean(0))),
    "win at least once": lambda s: (wins(s), float((wins(s) > 0).sum())),
    "that is the entropy": lambda s: (wins(s), torch.special.entr(wins(s)).sum().item()),
    "sign of the entropy": lambda s: (wins(s), 1 / effective(wins(s))),
    "different bases": lambda s: (wins(s), 2 ** torch.special.entr(wins(s)).sum().item()),
    "1 / sum of p²": lambda s: (wins(s), 1 / (wins(s) ** 2).sum().item()),
    "largest share": lambda s: (wins(s), 1 / wins(s).max().item()),
    "not a number": lambda s: (wins(s), (-(wins(s) * wins(s).log()).sum()).exp().item()),
    "must appear, too": lambda s: (
        s.argmax(1).unique(return_counts=True)[1] / len(s),
        effective(wins(s)),
    ),
    "that never wins must appear": lambda s: (
        torch.bincount(s.argmax(1)) / len(s),
        effective(wins(s)),
    ),
}


def kept(weights):
    of_text = (".words", ".positions", "feedforward_text", "norm_text")
    return {
        name: value
        for name, value in weights.items()
        if name.startswith("qformer.") and not any(part in name for part in of_text)
    }


def without(part):
    return lambda weights: {name: v for name, v in kept(weights).items() if part not in name}


def and_also(part):
    return lambda weights: kept(weights) | {n: v for n, v in weights.items() if part in n}


WEIGHTS = {
    "wanted is a dict": lambda weights: list(kept(weights)),
    "keep the names as they are": lambda weights: {
        name.removeprefix("qformer."): v for name, v in kept(weights).items()
    },
    "of no use to queries": and_also("feedforward_text"),
    "words of its own": and_also("words"),
    "only text has positions": and_also("positions"),
    "no contrastive loss": and_also("image_projection"),
    "no matching loss": and_also("itm_head"),
    "writes the text": and_also("head.dense"),
    "belongs to the contrastive": and_also("temperature"),
    "stays where it is, frozen": and_also("vision"),
    "goes with it": and_also("norm_text"),
    "network was trained in stage 1": without("feedforward_queries"),
    "read no picture": without(".cross_attention"),
    "queries themselves": without("qformer.queries"),
    "queries and text share it": without(".attention"),
    "its LayerNorm of features": without("norm_image"),
    "but not the tensors": lambda weights: {name: 2 * v for name, v in kept(weights).items()},
}


def insert(words, states, projection, at=1, change=lambda prefix: prefix, skip=0):
    prefix = change(projection(states))
    return torch.cat([words[:, :at], prefix, words[:, at + skip :]], 1)


def overwrite(words, states, projection):
    found = words.clone()
    found[:, 1 : 1 + states.shape[1]] = projection(states)
    return found


def in_words(words, states, projection):
    words *= 2
    return insert(words / 2, states, projection)


INSERT = {
    "Did you forget the return?": lambda *args: None,
    "before <bos>": partial(insert, at=0),
    "behind the text": lambda w, s, p: insert(w, s, p, at=w.shape[1]),
    "after two tokens": partial(insert, at=2),
    "before the last token": lambda w, s, p: insert(w, s, p, at=w.shape[1] - 1),
    "<bos> is lost": lambda w, s, p: insert(w, s, p)[:, 1:],
    "<bos> stands twice": lambda w, s, p: torch.cat([w[:, :1], p(s), w], 1),
    "replaced words": overwrite,
    "first word after the prefix": partial(insert, skip=1),
    "averaged into one": partial(insert, change=lambda x: x.mean(1, keepdim=True)),
    "only the first query": partial(insert, change=lambda x: x[:, :1]),
    "first picture's prefix": partial(insert, change=lambda x: x[:1].expand_as(x)),
    "reverse order": partial(insert, change=lambda x: x.flip(1)),
    "hold its first query": partial(insert, change=lambda x: x[:, :1].expand_as(x)),
    "no gradient arrives": lambda w, s, p: insert(w, s.detach(), p),
    "wrote into `words`": in_words,
}


def loss(logits, ids, scored, R, first=0, use=None, reduce=None):
    T = ids.shape[1]
    found = logits[:, R + first : R + first + T - 1]
    values = cross_entropy(found.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    values = values.view(len(ids), -1)
    use = scored[:, 1:] if use is None else use(scored)
    return values[use].mean() if reduce is None else reduce(values, use)


LOSS = {
    "that is the perplexity": lambda *args: loss(*args).exp(),
    "a softmax stands before": lambda x, *rest: loss(x.softmax(-1), *rest),
    "with logits or ids of 0": lambda x, i, m, R: cross_entropy(
        x[:, R:-1].flatten(0, 1), (i * m)[:, 1:].flatten()
    ),
    "Did you forget the return?": lambda *args: None,
    "the prefix is not counted": lambda x, ids, scored, R: loss(x, ids, scored, 0),
    "that they have read": lambda x, i, m, R: cross_entropy(x[:, R:][m], i[m]),
    "one position too early": partial(loss, first=-1),
    "the mask is not": partial(loss, use=lambda m: m[:, :-1]),
    "all tokens are scored": partial(loss, use=lambda m: m[:, 1:] | True),
    "not scored count instead": partial(loss, use=lambda m: ~m[:, 1:]),
    "that is the sum over scored tokens; take": partial(loss, reduce=lambda v, u: v[u].sum()),
    "number of all positions": partial(loss, reduce=lambda v, u: (v * u).mean()),
    "mean over texts": partial(loss, reduce=lambda v, u: ((v * u).sum(1) / u.sum(1)).mean()),
    "divided by the number of texts": partial(loss, reduce=lambda v, u: v[u].sum() / len(v)),
    "sign is wrong": lambda *args: -loss(*args),
    "not the right value": lambda *args: loss(*args) + 1,
    "no gradient": lambda *args: loss(*args).detach(),
}

WRONG = {
    "blip2.LearnedQueries": LEARNED,
    "blip2.qformer_mask": MASKS,
    "blip2.qformer_layer": LAYER,
    "blip2.run_qformer": RUN,
    "blip2.image_text_similarity": SIMILARITY,
    "blip2.itc_loss": ITC,
    "blip2.itm_loss": ITM,
    "blip2.itg_loss": ITG,
    "blip2.queries_used": USED,
    "blip2.stage2_weights": WEIGHTS,
    "blip2.insert_prefix": INSERT,
    "blip2.prefix_loss": LOSS,
}


@pytest.mark.parametrize("id", WRONG)
def test_right_answers_pass(id):
    stub, answer = taught()[id]
    assert [message(id, answer) for _ in range(3)] == [""] * 3
    assert message(id, EXERCISES[id.removeprefix("blip2.")].reference) == ""
    assert message(id, stub).startswith("not begun yet")


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


def test_the_failure_lab_runs_and_the_kept_runs_are_its_own():
    assert set(blip2_lab.runs(Scale.of("smoke"))) == set(blip2_lab.RUNS)
    kept = blip2_lab.runs(Scale.of("laptop"))
    assert set(kept) == set(blip2_lab.RUNS)
    for score in blip2_lab.SCORES:
        best = max(run[score] for run in kept.values())
        assert kept["healthy"][score] >= best - 0.01  # of 128 pictures, one


def test_the_study_runs_and_the_kept_runs_are_its_own():
    for scale in ("smoke", "laptop"):
        rows = blip2_study.runs(Scale.of(scale))
        assert {row["row"] for row in rows} == set(blip2_study.ROWS)


def test_faults_and_variants_replace_parts_of_the_model():
    for faults in (*blip2_lab.RUNS.values(), *blip2_study.ROWS.values()):
        assert set(faults) <= set(PARTS)


class QueriesOfOnePicture(torch.nn.Module):
    """The queries with an axis for the batch, as a class token often has it."""

    def __init__(self, R, D):
        super().__init__()
        self.q = torch.nn.Parameter(0.02 * torch.randn(1, R, D))

    def forward(self, B):
        return self.q.expand(B, -1, -1)


def test_solutions_make_the_package_s_model():
    """The folded solutions, put together, have the package's losses with the package's weights."""
    from vlmcourse import recipes

    scale = Scale.of("smoke")
    first = recipes.get("blip2_stage1").train_or_load(scale).model
    parts = {name: solution(f"blip2.{name}") for name in PARTS}
    parts["LearnedQueries"] = QueriesOfOnePicture  # (1, R, D) is right, too
    built = blip2_model.with_weights_of(first, parts)
    batch = blip2_measures.training_batch(scale, first.vision, 8)
    gaps = built_models.loss_differences(first, built, batch)
    assert max(gaps.values()) < 1e-3
    assert built_models.count_own(parts, PARTS) == len(PARTS)


def test_the_player_leaves_a_picture_and_asks_for_a_query(monkeypatch):
    shown, asked = [], []
    monkeypatch.setattr("IPython.display.display", lambda bundle, **_: shown.append(bundle))

    def after(number, chosen):
        asked.append((number, chosen))
        return {"cat": 0.7, "dog": 0.2}

    blip2_figures.queries_player(after, np.zeros((3, 8, 8, 3), np.uint8), 4, (1, 2))
    assert asked[0] == (0, (1, 2)) and shown[0]["image/png"] and "cat" in shown[0]["text/plain"]
