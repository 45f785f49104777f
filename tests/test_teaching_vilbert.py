"""Lesson 04's exercises: right answers pass, and each plausible mistake is named."""

import math
from functools import partial

import pytest
import torch
from exercise_answers import each, message
from torch import nn
from torch.nn.functional import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    gelu,
    kl_div,
    layer_norm,
    linear,
    logsigmoid,
    one_hot,
)

from teaching import vilbert_effects as effects
from teaching import vilbert_figures as figures
from teaching.vilbert import EXERCISES
from vlmcourse import evaluation, recipes
from vlmcourse.training.scale import Scale


def boxes5(boxes, area=None, whole=(0.0, 0.0, 1.0, 1.0)):
    boxes = torch.cat([torch.tensor(whole).expand(len(boxes), 1, 4), boxes], dim=1)
    x1, y1, x2, y2 = boxes.unbind(-1)
    area = area or (lambda x1, y1, x2, y2: (x2 - x1) * (y2 - y1))
    return torch.cat([boxes, area(x1, y1, x2, y2)[..., None]], dim=-1)


def boxes_in_place(boxes):
    right = boxes5(boxes)
    boxes[..., 2:] -= boxes[..., :2]
    return right


BOXES = {
    "Did you forget the return?": lambda b: None,
    "box is missing": lambda b: boxes5(b)[:, 1:],
    "stands last": lambda b: torch.cat([boxes5(b)[:, 1:], boxes5(b)[:, :1]], 1),
    "x2 * y2": lambda b: boxes5(b, lambda x1, y1, x2, y2: x2 * y2),
    "sum of the sides": lambda b: boxes5(b, lambda x1, y1, x2, y2: x2 - x1 + y2 - y1),
    "no triangle": lambda b: boxes5(b, lambda x1, y1, x2, y2: (x2 - x1) * (y2 - y1) / 2),
    "minus sign": lambda b: boxes5(b, lambda x1, y1, x2, y2: (x1 - x2) * (y2 - y1)),
    "the picture's own box": lambda b: boxes5(b, whole=(0.0, 0.0, 0.0, 0.0)),
    "area stands first": lambda b: torch.cat([boxes5(b)[..., 4:], boxes5(b)[..., :4]], -1),
    "a width and a height": lambda b: torch.cat(
        [boxes5(b)[..., :2], boxes5(b)[..., 2:4] - boxes5(b)[..., :2], boxes5(b)[..., 4:]], -1
    ),
    "a ratio of the sides": lambda b: boxes5(b, lambda x1, y1, x2, y2: (x2 - x1) / (y2 - y1)),
    "a centre and a size": lambda b: torch.cat(
        [
            (boxes5(b)[..., :2] + boxes5(b)[..., 2:4]) / 2,
            boxes5(b)[..., 2:4] - boxes5(b)[..., :2],
            boxes5(b)[..., 4:],
        ],
        -1,
    ),
    "the caller's boxes changed": boxes_in_place,
}


def mean(features, which, by=None):
    count = (which if by is None else by).sum(1, keepdim=True).clamp(min=1)
    return (features * which[..., None]).sum(1) / count


def token(features, is_region, is_masked):
    return mean(features, is_region & ~is_masked)


TOKEN = {
    "Did you forget the return?": lambda f, r, m: None,
    "found shape": lambda f, r, m: f,
    "masked regions still count": lambda f, r, m: mean(f, r),
    "padding counts": lambda f, r, m: mean(f, ~m),
    "all rows count": lambda f, r, m: f.mean(1),
    "all rows, padding too": lambda f, r, m: mean(f, r & ~m, torch.ones_like(r)),
    "all real regions": lambda f, r, m: mean(f, r & ~m, r),
    "all pictures of the batch": lambda f, r, m: f[r & ~m].mean(0).expand(len(f), -1),
    "the largest value": lambda f, r, m: (f * (r & ~m)[..., None]).max(1).values,
    "became zeros": lambda f, r, m: (f * ~m[..., None]).mean(1),
    "the number of all real regions": lambda f, r, m: mean(f * ~m[..., None], r),
    "that is the sum": lambda f, r, m: (f * (r & ~m)[..., None]).sum(1),
    "inverted": lambda f, r, m: mean(f, ~(r & ~m)),
    "values are not right": lambda f, r, m: 2 * token(f, r, m),
    "gives ones": lambda f, r, m: token(f, r, m).masked_fill(~(r & ~m).any(1, keepdim=True), 1.0),
    "divide by zero": lambda f, r, m: (
        (f * (r & ~m)[..., None]).sum(1) / (r & ~m).sum(1, keepdim=True)
    ),
    "that reveals them": lambda f, r, m: torch.where(
        (r & ~m).any(1, keepdim=True), token(f, r, m), mean(f, r)
    ),
}


def masking(ids, selected, mask_id, vocabulary, mask=0.8, other=0.9, first=1, word=None):
    draw = torch.rand(ids.shape)
    word = torch.randint(first, vocabulary, ids.shape) if word is None else word
    out = torch.where(selected & (draw < mask), mask_id, ids)
    return torch.where(selected & (draw >= mask) & (draw < other), word, out)


def masking_in_place(ids, selected, mask_id, vocabulary):
    ids[:] = masking(ids, selected, mask_id, vocabulary)
    return ids


def masking_twice(ids, selected, mask_id, vocabulary):
    out = torch.where(selected & (torch.rand(ids.shape) < 0.8), mask_id, ids)
    other = selected & (torch.rand(ids.shape) < 0.1)
    return torch.where(other, torch.randint(1, vocabulary, ids.shape), out)


def masking_nested(ids, selected, mask_id, vocabulary):
    masked = selected & (torch.rand(ids.shape) < 0.8)
    other = selected & ~masked & (torch.rand(ids.shape) < 0.1)
    out = torch.where(masked, mask_id, ids)
    return torch.where(other, torch.randint(1, vocabulary, ids.shape), out)


def masking_seeded(*args):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return masking(*args)


def masking_together(ids, selected, mask_id, vocabulary, shape):
    draw = torch.rand(shape(ids))
    out = torch.where(selected & (draw < 0.8), mask_id, ids)
    other = torch.randint(1, vocabulary, ids.shape)
    return torch.where(selected & (draw >= 0.9), other, out)


MASKING = {
    "rows or columns": lambda *args: masking_together(*args, shape=lambda i: (len(i), 1)),
    "columns become [MASK]": lambda *args: masking_together(*args, shape=lambda i: i.shape[1:]),
    "leaves out its upper end": lambda i, s, m, v: masking(
        i, s, m, v, word=torch.randint(1, v - 1, i.shape)
    ),
    "only id 0 is no replacement": lambda *args: masking(*args, first=4),
    "Did you forget the return?": lambda *args: None,
    "90 % of the selected words became [MASK]": lambda *args: masking(*args, mask=0.9, other=1.0),
    "wanted are 80 % and 10 %": lambda *args: masking(*args, mask=0.15, other=0.3),
    "80 % of the selected words became [MASK] and 5 %": lambda *args: masking(*args, other=0.95),
    "82 % of the selected words": lambda *args: masking(*args, mask=0.82, other=0.91),
    "ids are whole numbers": lambda *args: masking(*args).float(),
    "changed in place": masking_in_place,
    "only 80 % of them": lambda *args: masking(*args, mask=1.0),
    "no selected word": lambda *args: masking(*args, mask=0.0, other=0.1),
    "that were not selected": lambda i, s, m, v: masking(i, torch.ones_like(s), m, v),
    "20 % stay": lambda *args: masking(*args, other=0.8),
    "20 % another word": lambda *args: masking(*args, other=1.0),
    "80 % stay": lambda *args: masking(*args, mask=0.1, other=0.2),
    "one draw per word": masking_twice,
    "One draw per word": masking_nested,
    "draw one for each position": lambda i, s, m, v: masking(i, s, m, v, word=torch.tensor(7)),
    "draw anew": masking_seeded,
    "padding (id 0)": lambda *args: masking(*args, first=0),
}
MASKING["drawn independently"] = MASKING.pop("one draw per word")


def divergence(p, q):
    return (torch.special.xlogy(p, p) - p * q.log()).sum(-1)


def region(logits, classes, selected, per_region=divergence):
    total = per_region(classes, logits.softmax(-1))[selected].sum()
    return total / max(1, int(selected.sum()))


REGION = {
    "expected one number": lambda g, c, a: g,
    "picture by picture": lambda g, c, a: (
        ((divergence(c, g.softmax(-1)) * a).sum(1) / a.sum(1).clamp(min=1)).mean()
    ),
    "base 2": lambda g, c, a: region(g, c, a) / math.log(2),
    "runs over regions": lambda g, c, a: divergence(c, g.softmax(1))[a].mean(),
    "over classes, the last axis": lambda g, c, a: divergence(c[a], g[a].softmax(0)).mean(),
    "squared difference": lambda g, c, a: ((c - g.softmax(-1)) ** 2).sum(-1)[a].mean(),
    "are not selected count, too": lambda g, c, a: region(g, c, torch.ones_like(a)),
    "over classes, too": lambda g, c, a: region(g, c, a) / g.shape[-1],
    "take their mean": lambda g, c, a: region(g, c, a) * a.sum(),
    "number of all regions": lambda g, c, a: (divergence(c, g.softmax(-1)) * a).mean(),
    "by the number of pictures": lambda g, c, a: divergence(c, g.softmax(-1))[a].sum() / len(g),
    "count instead": lambda g, c, a: region(g, c, ~a),
    "are exchanged": lambda g, c, a: divergence(g.softmax(-1), c)[a].mean(),
    "it lacks the entropy": lambda g, c, a: cross_entropy(g[a], c[a]),
    "as in VL-BERT": lambda g, c, a: cross_entropy(g[a], c[a].argmax(-1)),
    "was given logits": lambda g, c, a: kl_div(g, c, reduction="none").sum(-1)[a].mean(),
    "was given probabilities": lambda g, c, a: (
        kl_div(g.softmax(-1), c, reduction="none").sum(-1)[a].mean()
    ),
    "no gradient": lambda g, c, a: region(g, c, a).item(),
    "the sign": lambda g, c, a: -region(g, c, a),
    "0 * ln 0": lambda g, c, a: region(
        g, c, a, lambda p, q: (p * (p.log() - q.log())).sum(-1)
    ),
    "no region is selected": lambda g, c, a: divergence(c, g.softmax(-1))[a].mean(),
    "not the right value": lambda g, c, a: region(g, c, a) + 7,
}  # fmt: skip


def look(q, k, v, is_key, scale=True, dim=-1, fill=-torch.inf):
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale else 1)
    if is_key is not None:
        scores = scores.masked_fill(~is_key[:, None, None], fill)
    return scores.softmax(dim) @ v


def co(image, text, is_region, is_word, **how):
    (q, k, v), (Q, K, V) = image, text
    return look(q, K, V, is_word, **how), look(Q, k, v, is_region, **how)


def co_chained(image, text, is_region, is_word):
    to_image = look(image[0], *text[1:], is_word)
    return to_image, look(text[0], to_image, to_image, is_region)


def one_map(image, text, is_region, is_word):
    scores = image[0] @ text[1].mT * image[0].shape[-1] ** -0.5
    weights = scores.masked_fill(~is_word[:, None, None], -torch.inf).softmax(-1)
    return weights @ text[2], weights.mT @ image[2]


def one_table(image, text, is_region, is_word):
    scores = image[0] @ text[1].mT * image[0].shape[-1] ** -0.5
    to_image = scores.masked_fill(~is_word[:, None, None], -torch.inf).softmax(-1)
    to_text = scores.mT.masked_fill(~is_region[:, None, None], -torch.inf).softmax(-1)
    return to_image @ text[2], to_text @ image[2]


def look_at(image, text, is_region, is_word, weigh):
    """Co-attention whose weights are made by weigh(scores, mask of queries, mask of keys), each as it comes."""
    (q, k, v), (Q, K, V) = image, text
    scores = q @ K.mT / q.shape[-1] ** 0.5, Q @ k.mT / q.shape[-1] ** 0.5
    return (
        weigh(scores[0], is_region, is_word) @ V,
        weigh(scores[1], is_word, is_region) @ v,
    )


def inverted(scores, _, is_key, fill=-torch.inf):
    return scores.masked_fill(is_key[:, None, None], fill).softmax(-1)


CO = {
    "True means a real key": lambda *args: look_at(*args, weigh=inverted),
    "are inverted": lambda *args: look_at(*args, weigh=partial(inverted, fill=-1e9)),
    "masks are exchanged": lambda *args: look_at(
        *args, weigh=lambda s, mine, _: inverted(s, None, ~mine)
    ),
    "laid over the queries": lambda *args: look_at(
        *args,
        weigh=lambda s, mine, _: s.masked_fill(~mine[:, None, :, None], -torch.inf).softmax(-1),
    ),
    "after the softmax, so": lambda *args: look_at(
        *args, weigh=lambda s, _, is_key: s.softmax(-1) * is_key[:, None, None]
    ),
    "divide by its square root": lambda *args: look_at(
        *args,
        weigh=lambda s, _, is_key: inverted(s / args[0][0].shape[-1] ** 0.5, None, ~is_key),
    ),
    "one head's is wanted": lambda *args: look_at(
        *args, weigh=lambda s, _, is_key: inverted(s / s.shape[1] ** 0.5, None, ~is_key)
    ),
    "over the heads (dim 1)": lambda *args: look_at(
        *args,
        weigh=lambda s, _, is_key: s.masked_fill(~is_key[:, None, None], -1e9).softmax(1),
    ),
    "found None": lambda *args: None,
    "expected 2 values": lambda i, t, r, w: i[0],
    "self-attention": lambda i, t, r, w: (look(*i, r), look(*t, w)),
    "come": lambda *args: co(*args)[::-1],
    "square root": lambda *args: co(*args, scale=False),
    "exchanged, and the scores are not divided": lambda *args: co(*args, scale=False)[::-1],
    "padding is attended to: leave out": lambda i, t, r, w: co(i, t, None, None),
    "padding is attended to, and": lambda i, t, r, w: co(i, t, None, None, scale=False),
    "because exp(0) is 1": lambda *args: co(*args, fill=0.0),
    "use minus infinity. Also": lambda *args: co(*args, scale=False, fill=0.0),
    "reads the first's result": co_chained,
    "both read the states": lambda i, t, r, w: co_chained(t, i, w, r)[::-1],
    "no longer sum to 1": one_map,
    "queries of their own": one_table,
    "over the queries": lambda i, t, r, w: co(i, t, None, None, dim=-2),
    "values are not right": lambda *args: tuple(part + 1 for part in co(*args)),
}


def joined(attended):
    return attended.transpose(1, 2).flatten(2)


def update(x, attended, block):
    x = block.norm1(x + block.attention.out(joined(attended)))
    return block.norm2(x + block.feedforward(x))


def update_pre_norm(x, attended, block):
    x = x + block.attention.out(joined(attended))
    return x + block.feedforward(block.norm2(x))


def update_norm_first(x, attended, block):
    x = x + block.norm1(block.attention.out(joined(attended)))
    return x + block.norm2(block.feedforward(x))


def update_reshaped(x, attended, block):
    x = block.norm1(x + block.attention.out(attended.reshape(x.shape)))
    return block.norm2(x + block.feedforward(x))


BLOCK = {
    "Did you forget the return?": lambda *args: None,
    "pre-norm": update_pre_norm,
    "before the sum": update_norm_first,
    "joined in the wrong order": update_reshaped,
    "`block.attention.out` is missing": lambda x, a, b: (
        b.norm2((y := b.norm1(x + joined(a))) + b.feedforward(y))
    ),
    "residual of the attention": lambda x, a, b: (
        b.norm2((y := b.norm1(b.attention.out(joined(a)))) + b.feedforward(y))
    ),
    "residual of the feed-forward": lambda x, a, b: b.norm2(
        b.feedforward(b.norm1(x + b.attention.out(joined(a))))
    ),
    "the second residual is the block's input": lambda x, a, b: b.norm2(
        x + b.feedforward(b.norm1(x + b.attention.out(joined(a))))
    ),
    "feed-forward layer was given the block's input": lambda x, a, b: b.norm2(
        b.norm1(x + b.attention.out(joined(a))) + b.feedforward(x)
    ),
    "the first norm is missing": lambda x, a, b: b.norm2(
        (y := x + b.attention.out(joined(a))) + b.feedforward(y)
    ),
    "the second norm is missing": lambda x, a, b: (
        (y := b.norm1(x + b.attention.out(joined(a)))) + b.feedforward(y)
    ),
    "one norm is used twice": lambda x, a, b: b.norm1(
        (y := b.norm1(x + b.attention.out(joined(a)))) + b.feedforward(y)
    ),
    "norm2 after the feed-forward": lambda x, a, b: b.norm2(
        (y := b.norm2(x + b.attention.out(joined(a)))) + b.feedforward(y)
    ),
    "the feed-forward layer is missing": lambda x, a, b: b.norm2(
        b.norm1(x + b.attention.out(joined(a)))
    ),
    "both residuals": lambda x, a, b: b.norm2(
        b.feedforward(b.norm1(b.attention.out(joined(a))))
    ),
    "exchanged": lambda x, a, b: b.norm1(
        (y := b.norm2(x + b.attention.out(joined(a)))) + b.feedforward(y)
    ),
    "values are not right": lambda *args: update(*args) + 1,
}  # fmt: skip


def align(image, text, pool_image, pool_text, head, take=lambda s: s[:, 0], f=torch.tanh):
    return head(f(pool_image(take(image))) * f(pool_text(take(text))))[:, 0]


ALIGNMENT = {
    "Did you forget the return?": lambda *args: None,
    "are added": lambda i, t, p, q, h: h(p(i[:, 0]).tanh() + q(t[:, 0]).tanh())[:, 0],
    "subtracted": lambda i, t, p, q, h: h(p(i[:, 0]).tanh() - q(t[:, 0]).tanh())[:, 0],
    "mean over all positions": lambda *args: align(*args, take=lambda s: s.mean(1)),
    "last position": lambda *args: align(*args, take=lambda s: s[:, -1]),
    "applied to the product": lambda i, t, p, q, h: h((p(i[:, 0]) * q(t[:, 0])).tanh())[:, 0],
    "before the linear layer": lambda i, t, p, q, h: h(p(i[:, 0].tanh()) * q(t[:, 0].tanh()))[:, 0],
    "position 1 is pooled": lambda *args: align(*args, take=lambda s: s[:, 1]),
    "largest state": lambda *args: align(*args, take=lambda s: s.amax(1)),
    "one stream has no tanh": lambda i, t, p, q, h: h(p(i[:, 0]).tanh() * q(t[:, 0]))[:, 0],
    "head is missing": lambda i, t, p, q, h: (p(i[:, 0]).tanh() * q(t[:, 0]).tanh()).sum(-1),
    "a tanh at the end": lambda *args: align(*args).tanh(),
    "GELU": lambda *args: align(*args, f=gelu),
    "tanh is missing": lambda *args: align(*args, f=lambda x: x),
    "ReLU": lambda *args: align(*args, f=torch.relu),
    "that is a sigmoid": lambda *args: align(*args, f=torch.sigmoid),
    "return the logit": lambda *args: align(*args).sigmoid(),
    "return (B,)": lambda *args: align(*args)[:, None],
    "values are not right": lambda *args: align(*args) + 1,
}


def fill(predict, ids, positions, mask_id):
    rows = ids[None].repeat(len(positions), 1)
    for row, position in enumerate(positions):
        rows[row, position] = mask_id
    return predict(rows)[range(len(positions)), positions].argmax(-1)


def fill_together(predict, ids, positions, mask_id):
    row = ids.clone()
    row[positions] = mask_id
    return predict(row[None])[0, positions].argmax(-1)


def fill_in_place(predict, ids, positions, mask_id):
    right = fill(predict, ids, positions, mask_id)
    ids[positions] = mask_id
    return right


def fill_first(predict, ids, positions, mask_id):
    rows = ids.repeat(len(positions), 1)
    rows[torch.arange(len(positions)), positions] = mask_id
    return predict(rows)[0, positions].argmax(-1)


def fill_all(predict, ids, positions, mask_id):
    rows = ids.repeat(len(positions), 1)
    rows[torch.arange(len(positions)), positions] = mask_id
    return predict(rows)[:, positions].argmax(-1)


FILL = {
    "Did you forget the return?": lambda *args: None,
    "all positions are masked at once": fill_together,
    "nothing is masked": lambda f, i, p, m: f(i[None])[0, p].argmax(-1),
    "keep their order": lambda f, i, p, m: fill(f, i, p.sort().values, m),
    "reversed order": lambda f, i, p, m: fill(f, i, p.flip(0), m),
    "[MASK] has another id": lambda f, i, p, m: fill(f, i, p, 0),
    "*least* likely": lambda f, i, p, m: fill(lambda rows: -f(rows), i, p, m),
    "the first row's answer": fill_first,
    "every position of every row": fill_all,
    "those are the right tokens": lambda f, i, p, m: i[p],
    "ids were changed": fill_in_place,
    "each copy is a call of its own": lambda f, i, p, m: torch.cat(
        [fill(f, i, one[None], m) for one in p]
    ),
}


def blind(batch):
    features, regions = batch["features"], batch["region_mask"]
    return batch | {"features": 0 * features, "region_mask": regions & False}


def blind_in_place(batch):
    right = blind(batch)
    batch["features"] *= 0
    return right


BLIND = {
    "Did you forget the return?": lambda b: None,
    "the regions are still there": lambda b: b | {"features": 0 * b["features"]},
    "the features are still there": lambda b: b | {"region_mask": b["region_mask"] & False},
    "the shuffled control": lambda b: (
        b | {n: b[n].roll(1, 0) for n in ("features", "boxes", "region_mask")}
    ),
    "a blind model still reads": lambda b: blind(b) | {"ids": 0 * b["ids"]},
    "marked as real": lambda b: blind(b) | {"region_mask": b["region_mask"] | True},
    "neither zero nor": lambda b: blind(b) | {"features": torch.randn_like(b["features"])},
    "keys are missing": lambda b: {n: blind(b)[n] for n in ("features", "region_mask")},
    "batch was changed": blind_in_place,
}


def positions(is_word, regions, shift=0, step=0, end=1, length=None):
    n = is_word.sum(1, keepdim=True) if length is None else torch.full((len(is_word), 1), length)
    text = torch.arange(is_word.shape[1]).expand(is_word.shape)
    at = n + shift + step * torch.arange(regions)
    return torch.cat([text, at, at[:, -1:] + end], dim=1)


def words_apart(is_word, regions, change):
    found, T = positions(is_word, regions), is_word.shape[1]
    return torch.cat([change(found[:, :T], is_word), found[:, T:]], dim=1)


POSITIONS = {
    "stands at n + R": lambda w, r: positions(w, r, end=r),
    "padding has position 0": lambda w, r: words_apart(w, r, lambda at, real: at * real),
    "does not go on counting": lambda w, r: words_apart(w, r, lambda _, real: real.cumsum(1) - 1),
    "all columns of the text": lambda w, r: torch.cat(
        [positions(w, r)[:, :-1], torch.full((len(w), 1), w.shape[1] + 1)], 1
    ),
    "all positions are one too high": lambda w, r: positions(w, r) + 1,
    "Did you forget the return?": lambda w, r: None,
    "one by one": lambda w, r: positions(w, r, step=1),
    "padding is counted": lambda w, r: positions(w, r, length=w.shape[1]),
    "it has the next one": lambda w, r: positions(w, r, end=0),
    "the regions' position is one too high": lambda w, r: positions(w, r, shift=1),
    "one too low": lambda w, r: positions(w, r, shift=-1),
    "[END] is missing": lambda w, r: positions(w, r)[:, :-1],
    "start again at 0": lambda w, r: torch.cat(
        [positions(w, r)[:, : -r - 1], torch.tensor([0] * r + [1]).expand(len(w), -1)], 1
    ),
}


class Head(nn.Module):
    """Options of a head, right or wrong: how it joins, what stands between its layers, what at its end."""

    wide, biases = 2, True

    def __init__(self, width, answers):
        super().__init__()
        hidden = self.wide * width
        self.last = nn.Linear(hidden, answers, self.biases)
        self.between = nn.LayerNorm(hidden)
        self.first = nn.Linear(width, hidden, self.biases)

    def join(self, image, text):
        return image * text

    def middle(self, x):
        return self.between(gelu(x))

    def end(self, x):
        return x

    def forward(self, image, text):
        return self.end(self.last(self.middle(self.first(self.join(image, text)))))


def head(**changes):
    """A class like Head with other attributes."""
    return type("Changed", (Head,), changes)


class Concatenated(Head):
    def __init__(self, width, answers):
        super().__init__(width, answers)
        self.first = nn.Linear(2 * width, 2 * width)

    def join(self, image, text):
        return torch.cat([image, text], -1)


class OneLayer(nn.Module):
    def __init__(self, width, answers):
        super().__init__()
        self.only = nn.Linear(width, answers)

    def forward(self, image, text):
        return self.only(image * text)


class WithDropout(Head):
    def __init__(self, width, answers):
        super().__init__(width, answers)
        self.dropout = nn.Dropout(0.1)

    def forward(self, image, text):
        return super().forward(self.dropout(image), text)


class WithoutNorm(Head):
    def __init__(self, width, answers):
        super().__init__(width, answers)
        del self.between

    def middle(self, x):
        return gelu(x)


class WithoutBoth(WithoutNorm):
    def middle(self, x):
        return x


class Bare(nn.Module):
    """The right formula with parameters of its own, without torch's layers."""

    def __init__(self, width, answers):
        super().__init__()
        shapes = (2 * width, width), (2 * width,), (2 * width,), (2 * width,), (answers, 2 * width)
        self.p = nn.ParameterList(torch.randn(shape) for shape in (*shapes, (answers,)))

    def forward(self, image, text):
        hidden = gelu(linear(image * text, self.p[0], self.p[1]))
        return linear(layer_norm(hidden, hidden.shape[-1:], self.p[2], self.p[3]), *self.p[4:])


HEAD = {
    "there is no GELU": head(middle=lambda self, x: self.between(x)),
    "GELU stands after the LayerNorm": head(middle=lambda self, x: gelu(self.between(x))),
    "that is a ReLU": head(middle=lambda self, x: self.between(x.relu())),
    "a ReLU; our head": head(middle=lambda self, x: self.between(x).relu()),
    "that is a tanh": head(middle=lambda self, x: self.between(x.tanh())),
    "the LayerNorm between the two layers is missing": WithoutNorm,
    "neither a GELU nor a LayerNorm": WithoutBoth,
    "there is a dropout": WithDropout,
    "a second GELU": head(end=lambda self, x: gelu(x)),
    "a ReLU at the end": head(end=lambda self, x: x.relu()),
    "states are added": head(join=lambda self, image, text: image + text),
    "states are subtracted": head(join=lambda self, image, text: image - text),
    "only the image's": head(join=lambda self, image, text: image),
    "only the text's": head(join=lambda self, image, text: text),
    "without a softmax": head(end=lambda self, x: x.softmax(-1)),
    "logarithms of a softmax": head(end=lambda self, x: x.log_softmax(-1)),
    "without a sigmoid": head(end=lambda self, x: x.sigmoid()),
    "the logits have shape": head(end=lambda self, x: x[:, 0]),
    "concatenated": Concatenated,
    "a single layer": OneLayer,
    "hidden layer of 2 * width": head(wide=1),
    "is every bias there": head(biases=False),
    "torch.nn.Linear twice": Bare,
}


def answered(logits, answer):
    targets = one_hot(answer, logits.shape[-1]).float()
    return binary_cross_entropy_with_logits(logits, targets, reduction="none")


def naive(logits, targets):
    """Right while no sigmoid is exactly 1."""
    p = logits.sigmoid()
    return -(targets * p.log() + (1 - targets) * (1 - p).log()).sum(-1).mean()


ANSWERS = {
    "expected one number": lambda x, a: x,
    "over answers, too": lambda x, a: answered(x, a).mean(),
    "sum over questions": lambda x, a: answered(x, a).sum(),
    "the softmax's": lambda x, a: cross_entropy(x, a),
    "only the right answer": lambda x, a: -logsigmoid(x)[range(len(a)), a].mean(),
    "only the wrong answers": lambda x, a: (
        (-logsigmoid(-x) * (1 - one_hot(a, x.shape[-1]))).sum(-1).mean()
    ),
    "(1 - t) is missing": lambda x, a: (
        -((one_hot(a, x.shape[-1]) * logsigmoid(x) + logsigmoid(-x)).sum(-1).mean())
    ),
    "second term has the wrong sign": lambda x, a: (
        (answered(x, a) * (2 * one_hot(a, x.shape[-1]) - 1)).sum(-1).mean()
    ),
    "pass a softmax": lambda x, a: (
        binary_cross_entropy(x.softmax(-1), one_hot(a, x.shape[-1]).float(), reduction="none")
        .sum(-1)
        .mean()
    ),
    "squared error": lambda x, a: ((x.sigmoid() - one_hot(a, x.shape[-1])) ** 2).sum(-1).mean(),
    "applied twice": lambda x, a: answered(x.sigmoid(), a).sum(-1).mean(),
    "the sign": lambda x, a: -answered(x, a).sum(-1).mean(),
    "right and wrong are exchanged": lambda x, a: answered(-x, a).sum(-1).mean(),
    "no gradient": lambda x, a: answered(x, a).sum(-1).mean().item(),
    "infinite for large ones": lambda x, a: naive(x, one_hot(a, x.shape[-1])),
    "Use logsigmoid": lambda x, a: (
        binary_cross_entropy(x.sigmoid(), one_hot(a, x.shape[-1]).float(), reduction="none")
        .sum(-1)
        .mean()
    ),
}

WRONG = {
    "vilbert.box_features": BOXES,
    "vilbert.img_token": TOKEN,
    "vilbert.mask_words": MASKING,
    "vilbert.region_loss": REGION,
    "vilbert.co_attention": CO,
    "vilbert.post_norm_update": BLOCK,
    "vilbert.alignment_logits": ALIGNMENT,
    "vilbert.fill_in": FILL,
    "vilbert.without_picture": BLIND,
    "vilbert.vlbert_positions": POSITIONS,
    "vilbert.AnswerHead": HEAD,
    "vilbert.answer_loss": ANSWERS,
}
RIGHT = {
    "vilbert.box_features": boxes5,
    "vilbert.img_token": token,
    "vilbert.mask_words": masking,
    "vilbert.region_loss": region,
    "vilbert.co_attention": co,
    "vilbert.post_norm_update": update,
    "vilbert.alignment_logits": align,
    "vilbert.fill_in": fill,
    "vilbert.without_picture": blind,
    "vilbert.vlbert_positions": positions,
    "vilbert.AnswerHead": Head,
    "vilbert.answer_loss": lambda x, a: answered(x, a).sum(-1).mean(),
}


def test_the_word_loss_is_split_by_what_the_model_can_see():
    scale = Scale.of("smoke")
    model = recipes.vilbert.new_vilbert(recipes.vilbert.vilbert_config(scale)).eval()
    data = recipes.vilbert_vqa.region_questions(scale, "test").data
    found = effects.word_loss_parts(model, data, 24)
    assert len(found) == 4 and sum(found.values()) == pytest.approx(1, abs=1e-4)
    assert found["words of place"] > 0 and found["things and backgrounds, region hidden"] > 0
    assert found == effects.word_loss_parts(model, data, 24)  # the same words are masked again


def test_neither_kind_of_false_captions_teaches_places_and_controls_have_words_of_their_own():
    fusion = evaluation.load_results("replicate_fusion")
    for row in ("two streams", "easy negatives"):
        assert abs(figures.spread_of(fusion, row, "places swapped, of two").mean - 0.5) < 0.1
    for key in ("nouns", "another picture's, of two", "background changed, of two"):
        pair = [figures.spread_of(fusion, row, key) for row in ("two streams", "easy negatives")]
        assert evaluation.verdict(pair[0].values, pair[1].values) == "within noise"
    high, low = ("a", evaluation.spread([0.9, 0.91])), ("b", evaluation.spread([0.1, 0.11]))
    table = figures.controls([("it helps", "nouns", high, low), ("no", "nouns", low, high)])
    assert "**yes**" in table and "**no: it is lower**" in table and "agrees" not in table


def test_without_a_picture_backgrounds_are_below_guessing_and_nouns_are_not_in_every_seed():
    fusion = evaluation.load_results("replicate_fusion")
    backgrounds, nouns = (
        figures.spread_of(fusion, "two streams", f"{kind}, blind").values
        for kind in ("backgrounds", "nouns")
    )
    assert max(backgrounds) < 1 / 8
    assert min(nouns) < 1 / 12 < max(nouns)


def test_without_exchange_the_picture_changes_nothing_and_one_stream_has_fewer_weights():
    fusion = evaluation.load_results("replicate_fusion")
    apart = [figures.spread_of(fusion, "never meet", key) for key in ("nouns", "nouns, blind")]
    assert apart[0] == apart[1]
    one, two = (
        figures.spread_of(fusion, f"{n} stream{s}", "parameters").mean
        for n, s in (("one", ""), ("two", "s"))
    )
    assert one < 0.7 * two


def test_each_exercise_is_tried():
    assert {f"vilbert.{name}" for name in EXERCISES} == set(WRONG) == set(RIGHT)


@pytest.mark.parametrize("id", RIGHT)
def test_right_answers_and_the_reference_pass(id):
    assert [message(id, RIGHT[id]) for _ in range(3)] == [""] * 3
    assert message(id, EXERCISES[id.removeprefix("vilbert.")].reference) == ""


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)
