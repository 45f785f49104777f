"""Lesson 08's exercises: right answers pass, and each plausible mistake is named."""

import copy
import math
from functools import partial

import pytest
import torch
from exercise_answers import each, message
from torch.nn.functional import cross_entropy, kl_div

from teaching import blip_figures, blip_lab
from teaching.blip import EXERCISES
from teaching.blip_reference import PARTS
from vlmcourse.evaluation import load_results
from vlmcourse.training.scale import Scale


def inputs(ids, token, causal, pad, mask=None, new=None):
    B, T = ids.shape
    found = (ids != pad)[:, None, None, :].expand(B, 1, T, T) if mask is None else mask(ids != pad)
    if causal and mask is None:
        found = found & torch.ones(T, T).tril().bool()
    first = torch.full((B, 1), token)
    return torch.cat([first, ids[:, 1:]], 1) if new is None else new(ids, first), found


def in_place(ids, token, causal, pad):
    found = inputs(ids, token, causal, pad)
    ids[:, 0] = token
    return ids, found[1]


def with_square(square):
    def answer(ids, token, causal, pad):
        new, keys = inputs(ids, token, False, pad)
        T = ids.shape[1]
        return new, keys & square(torch.ones(T, T)).bool() if causal else keys

    return answer


def upside_down_where_causal(ids, token, causal, pad):
    new, mask = inputs(ids, token, causal, pad)
    return new, ~mask if causal else mask


def one_of_both(ids, token, causal, pad):
    new, keys = inputs(ids, token, False, pad)
    T = ids.shape[1]
    return new, keys | torch.ones(T, T).tril().bool() if causal else keys


def queries(real):
    B, T = real.shape
    return real[:, None, :, None].expand(B, 1, T, T)


def keys(real):
    B, T = real.shape
    return real[:, None, None, :].expand(B, 1, T, T)


def where_causal(closed, ids, token, causal, pad):
    new, mask = inputs(ids, token, causal, pad)
    T = ids.shape[1]
    return new, closed(ids != pad) & torch.ones(T, T).tril().bool() if causal else mask


ROLE = {
    "Did you forget the return?": lambda *args: None,
    "first token is as it was": lambda *args: inputs(*args, new=lambda ids, first: ids),
    "the last one fell off": lambda *args: inputs(
        *args, new=lambda ids, first: torch.cat([first, ids[:, :-1]], 1)
    ),
    "last token was replaced": lambda *args: inputs(
        *args, new=lambda ids, first: torch.cat([ids[:, :-1], first], 1)
    ),
    "padding is still attended to": lambda *args: inputs(*args, mask=lambda r: keys(r | True)),
    "padding is closed as a query": lambda *args: inputs(*args, mask=queries),
    "rows of padding are closed, too": lambda *args: inputs(
        *args, mask=lambda real: queries(real) & keys(real)
    ),
    "padding is what must not be attended to": lambda *args: inputs(
        *args, mask=lambda real: ~keys(real)
    ),
    "upside down where it is causal": upside_down_where_causal,
    "an encoder reads both ways": lambda ids, token, causal, pad: inputs(ids, token, True, pad),
    "still attend to later ones": with_square(lambda x: x),
    "later tokens instead of earlier": with_square(torch.triu),
    "the diagonal is missing": with_square(lambda x: x.tril(-1)),
    "must hold together": one_of_both,
    "ids were changed": in_place,
    "one row for all queries": lambda ids, *args: (
        inputs(ids, *args)[0],
        (ids != args[-1])[:, None, None, :],
    ),
    "all tokens were replaced": lambda ids, token, causal, pad: (
        ids.masked_fill(ids != pad, token),
        inputs(ids, token, causal, pad)[1],
    ),
    "return the text first": lambda *args: inputs(*args)[::-1],
    "same for all texts": lambda ids, token, causal, pad: (
        inputs(ids, token, causal, pad)[0],
        torch.ones(1, 1, ids.shape[1], ids.shape[1]).bool(),
    ),
    "which tokens are real": lambda ids, *args: (inputs(ids, *args)[0], ids != args[-1]),
    "and padding is attended to": lambda ids, token, causal, pad: (
        inputs(ids, token, False, pad)[0],
        torch.ones(len(ids), 1, ids.shape[1], ids.shape[1]).tril().bool()
        if causal
        else inputs(ids, token, False, pad)[1],
    ),
    "rows of padding are closed: close": lambda *args: where_causal(queries, *args),
    "its columns, and leave its rows": lambda *args: where_causal(
        lambda real: queries(real) & keys(real), *args
    ),
    "padding is still attended to:": lambda ids, token, causal, pad: inputs(ids, token, causal, 0),
    "axis of the heads": lambda *args: (inputs(*args)[0], inputs(*args)[1][:, 0]),
}


def norm_always(b, x, mask, states=None):
    x = b.norm1(x + b.attention(x, mask=mask))
    x = b.norm_cross(x if states is None else x + b.cross(x, context=states))
    return b.norm2(x + b.feedforward(x))


def block(b, x, mask, states=None, cross=True, keep=1.0, last=1.0, norm=None, context=None):
    x = b.norm1(keep * x + b.attention(x, mask=mask))
    if states is not None and cross:
        x = (norm or b.norm_cross)(x + b.cross(x, context=x if context else states))
    return b.norm2(last * x + b.feedforward(x))


def pre_norm(b, x, mask, states=None):
    x = x + b.attention(b.norm1(x), mask=mask)
    if states is not None:
        x = x + b.cross(b.norm_cross(x), context=states)
    return x + b.feedforward(b.norm2(x))


def cross_first(b, x, mask, states=None):
    if states is not None:
        x = b.norm_cross(x + b.cross(x, context=states))
    x = b.norm1(x + b.attention(x, mask=mask))
    return b.norm2(x + b.feedforward(x))


def cross_last(b, x, mask, states=None):
    x = b.norm1(x + b.attention(x, mask=mask))
    x = b.norm2(x + b.feedforward(x))
    return x if states is None else b.norm_cross(x + b.cross(x, context=states))


def no_cross_residual(b, x, mask, states=None, old=None):
    before, x = x, b.norm1(x + b.attention(x, mask=mask))
    if states is not None:
        beside = {"residual": before, "queries": x, None: 0}[old]
        x = b.norm_cross(beside + b.cross(before if old == "queries" else x, context=states))
    return b.norm2(x + b.feedforward(x))


BLOCK = {
    "Did you forget the return?": lambda *args: None,
    "pre-norm block": pre_norm,
    "image's states are not used": partial(block, cross=False),
    "stands before self-attention": cross_first,
    "behind the feed-forward network": cross_last,
    "self-attention's residual": partial(block, keep=0.0),
    "feed-forward network's residual": partial(block, last=0.0),
    "cross-attention's residual is missing": no_cross_residual,
    "residual is the block's input": partial(no_cross_residual, old="residual"),
    "queries of cross-attention are": partial(no_cross_residual, old="queries"),
    "attends to the text itself": partial(block, context=True),
    "norm1 is used after": lambda b, x, mask, states=None: block(b, x, mask, states, norm=b.norm1),
    "no LayerNorm after cross-attention": partial(block, norm=lambda x: x),
    "applied although no image is read": norm_always,
    "mask is not used": lambda b, x, mask, states=None: block(b, x, None, states),
    "last LayerNorm": lambda b, x, mask, states=None: (
        lambda y: y + b.feedforward(y)
    )(no_norm2(b, x, mask, states)),
    "no gradient arrives": lambda b, x, *rest: block(b, x.detach(), *rest),
    "leave cross-attention out": lambda b, x, mask, states=None: block(
        b, x, mask, b.norm1(x + b.attention(x, mask=mask)) if states is None else states
    ),
}  # fmt: skip


def no_norm2(b, x, mask, states):
    x = b.norm1(x + b.attention(x, mask=mask))
    return x if states is None else b.norm_cross(x + b.cross(x, context=states))


NAMES = ("cross", "norm_cross", "feedforward", "norm2")


def share(encoder, decoder, names=NAMES):
    for target, source in zip(decoder, encoder):
        for name in names:
            setattr(target, name, getattr(source, name))


def copied(encoder, decoder):
    for target, source in zip(decoder, encoder):
        for name in NAMES:
            setattr(target, name, copy.deepcopy(getattr(source, name)))


def loaded(encoder, decoder):
    for target, source in zip(decoder, encoder):
        target.load_state_dict(source.state_dict())


def first_block(encoder, decoder):
    share(encoder[:1], decoder[:1])


def overwritten(name):
    def answer(encoder, decoder):
        share(encoder, decoder)
        for target, source in zip(decoder, encoder):
            getattr(target, name).load_state_dict(getattr(source, name).state_dict())

    return answer


def encoder_overwritten(encoder, decoder):
    for target, source in zip(encoder, decoder):
        target.load_state_dict(source.state_dict())


SHARE = {
    "encoder was changed": lambda encoder, decoder: share(decoder, encoder),
    "encoder was changed: it is": encoder_overwritten,
    "cross is not shared": lambda encoder, decoder: None,
    "norm2 is not shared": partial(share, names=NAMES[:3]),
    "feedforward is not shared": partial(share, names=("cross", "norm_cross", "norm2")),
    "cross is a copy": copied,
    "cross is a copy:": loaded,
    "not treated alike": first_block,
    "self-attention is shared, too": partial(share, names=(*NAMES, "attention", "norm1")),
    "self-attention is shared": partial(share, names=(*NAMES, "attention")),
    "norm1 is shared": partial(share, names=(*NAMES, "norm1")),
    "was changed: leave both": overwritten("attention"),
    "or the LayerNorm after it": overwritten("norm1"),
}


def targets(s, g, alpha, hard=None, soft=None):
    same = (g[:, None] == g).float()
    positive = torch.zeros_like(s)
    positive[:, : len(g)] = (same / same.sum(1, keepdim=True)) if hard is None else hard(same)
    return (1 - alpha) * positive + alpha * (s.softmax(-1) if soft is None else soft(s))


def zero_queue(s):
    half = torch.zeros_like(s)
    half[:, : len(s)] = s[:, : len(s)].softmax(-1)
    return half


TARGETS = {
    "Did you forget the return?": lambda *args: None,
    "queue's columns are missing": lambda s, g, a: targets(s, g, a)[:, : len(g)],
    "softmax comes last": lambda s, g, a: targets(s, g, a, soft=lambda s: s).softmax(-1),
    "a sigmoid of its own": partial(targets, soft=torch.sigmoid),
    "1 for the most similar": partial(targets, soft=lambda s: torch.eye(s.shape[1])[s.argmax(1)]),
    "stand in the last columns": lambda s, g, a: targets(s.roll(len(g), 1), g, a).roll(-len(g), 1),
    "over the whole table": partial(targets, soft=lambda s: s.exp() / s.exp().sum()),
    "have equal weights": lambda s, g, a: targets(s, g, 0.5),
    "only the pair itself": partial(targets, hard=lambda same: torch.eye(len(same))),
    "sums to more than 1": partial(targets, hard=lambda same: same),
    "gives it to the positives": lambda s, g, a: targets(s, g, 1 - a),
    "over the rows' images": partial(targets, soft=lambda s: s.softmax(0)),
    "leaves out the queue": partial(targets, soft=zero_queue),
    "no soft targets": lambda s, g, a: targets(s, g, 0.0),
    "positives are missing": lambda s, g, a: s.softmax(-1),
    "without a softmax": partial(targets, soft=lambda s: s),
    "log_softmax": partial(targets, soft=lambda s: s.log_softmax(-1)),
    "are added": lambda s, g, a: targets(s, g, 0.0) + s.softmax(-1),
    "one of the two parts": lambda s, g, a: targets(s, g, 0.0) + a * s.softmax(-1),
    "values are not right": lambda s, g, a: targets(2 * s, g, a),
}


def itc(image, text, image_keys, text_keys, both, t, scale=None, mean=True):
    scale = scale or (lambda s: s / t)
    rows = scale(image @ text_keys.T), scale(text @ image_keys.T)
    found = [-(p * s.log_softmax(-1)).sum(-1) for s, p in zip(rows, both)]
    return sum(one.mean() if mean else one.sum() for one in found) / 2


def itc_one_table(image, text, image_keys, text_keys, both, t, turned=False):
    rows = image @ text_keys.T / t
    other = (rows.T, both[1].T) if turned else (rows, both[1])
    return (cross_entropy(rows, both[0]) + cross_entropy(*other)) / 2


def itc_columns(image, text, image_keys, text_keys, both, t):
    rows = image @ text_keys.T / t, text @ image_keys.T / t
    return sum(-(p * s.log_softmax(0)).sum(-1).mean() for s, p in zip(rows, both)) / 2


def kl(image, text, image_keys, text_keys, both, t):
    rows = image @ text_keys.T / t, text @ image_keys.T / t
    return sum(kl_div(s.log_softmax(-1), p, reduction="batchmean") for s, p in zip(rows, both)) / 2


def hard_itc(image, text, image_keys, text_keys, both, t):
    rows = image @ text_keys.T / t, text @ image_keys.T / t
    return sum(cross_entropy(s, p.argmax(1)) for s, p in zip(rows, both)) / 2


ITC = {
    "Did you forget the return?": lambda *args: None,
    "expected one number": lambda i, *args: i.sum(1),
    "compared with images": lambda i, x, ik, tk, both, t: itc(i, x, tk, ik, both, t),
    "multiplied by the temperature": lambda *args: itc(*args, scale=lambda s: s * args[-1]),
    "temperature is not used": lambda *args: itc(*args, scale=lambda s: s),
    "over the batch (dim 0)": itc_columns,
    "two targets are exchanged": lambda i, x, ik, tk, both, t: itc(i, x, ik, tk, both[::-1], t),
    "sum over the batch": partial(itc, mean=False),
    "only images are compared": lambda i, x, ik, tk, both, t: cross_entropy(i @ tk.T / t, both[0]),
    "only texts are compared": lambda i, x, ik, tk, both, t: cross_entropy(x @ ik.T / t, both[1]),
    "texts have the images' logits": itc_one_table,
    "logits of their own": partial(itc_one_table, turned=True),
    "sum of both directions": lambda *args: 2 * itc(*args),
    "sign is wrong": lambda *args: -itc(*args),
    "mean over the keys": lambda *args: itc(*args) / len(args[2]),
    "not the right value": lambda *args: itc(*args) + 0.7,
    "no gradient arrives": lambda *args: itc(*args).detach(),
    "KL divergence": kl,
    "numbers of classes": hard_itc,
    "targets are not used": lambda i, x, ik, tk, both, t: (
        (
            cross_entropy(i @ tk.T / t, torch.arange(len(i)))
            + cross_entropy(x @ ik.T / t, torch.arange(len(i)))
        )
        / 2
    ),
    "both directions use the targets": lambda i, x, ik, tk, both, t: itc(
        i, x, ik, tk, [both[0]] * 2, t
    ),
    "logarithm is missing": lambda i, x, ik, tk, both, t: sum(
        -(p * (a @ b.T / t).softmax(-1)).sum(-1).mean() / 2
        for a, b, p in ((i, tk, both[0]), (x, ik, both[1]))
    ),
    "is no logarithm": lambda *args: itc(*args, scale=lambda s: s * math.exp(args[-1])),
    "keys are left out": lambda i, x, ik, tk, both, t: itc(
        i, x, ik[: len(i)], tk[: len(i)], [one[:, : len(i)] for one in both], t
    ),
}


@torch.no_grad()
def update(copies, weights, m, keep=None, share=None):
    for c, w in zip(copies, weights):
        c.copy_((m if keep is None else keep(m)) * c + ((1 - m) if share is None else share(m)) * w)


@torch.no_grad()
def update_weights(copies, weights, m):
    update(weights, copies, 1 - m)


def new_tensors(copies, weights, m):
    with torch.no_grad():
        for i, weight in enumerate(weights):
            copies[i] = m * copies[i] + (1 - m) * weight


UPDATE = {
    "copies are as they were": lambda c, w, m: [m * a + (1 - m) * b for a, b in zip(c, w)],
    "a new tensor, in the list": new_tensors,
    "gives it to the new weights": lambda c, w, m: update(c, w, 1 - m),
    "keeps all of its value": partial(update, keep=lambda m: 1),
    "enter whole": partial(update, share=lambda m: 1),
    "equal the weights now": lambda c, w, m: update(c, w, 0.0),
    "only the first tensor": lambda c, w, m: update(c[:1], w[:1], m),
    "the other way round": update_weights,
    "values are not right": partial(update, share=lambda m: -(1 - m)),
}


@torch.no_grad()
def enqueue(queue, start, new, rows=None, after=None):
    Q, B = len(queue), len(new)
    places = (start + torch.arange(B)) % Q if rows is None else rows(start, B, Q)
    queue[places] = new[: len(places)]
    return (start + B) % Q if after is None else after(start, B, Q)


def keeps_gradient(queue, start, new):
    rows = (start + torch.arange(len(new))) % len(queue)
    queue[rows] = new
    return (start + len(new)) % len(queue)


@torch.no_grad()
def moved(queue, start, new):
    queue[:] = torch.cat([queue[len(new) :], new])
    return (start + len(new)) % len(queue)


@torch.no_grad()
def whole_at_front(queue, start, new):
    start = start if start + len(new) <= len(queue) else 0
    return enqueue(queue, start, new)


@torch.no_grad()
def pushed_back(queue, start, new):
    return enqueue(queue, min(start, len(queue) - len(new)), new)


@torch.no_grad()
def front_first(queue, start, new):
    over = max(0, start + len(new) - len(queue))
    return enqueue(queue, start, torch.cat([new[over:], new[:over]]))


QUEUE = {
    "found None": lambda *args: enqueue(*args) and None,
    "lost": partial(enqueue, rows=lambda s, B, Q: torch.arange(s, min(s + B, Q))),
    "lies beyond": partial(enqueue, after=lambda s, B, Q: s + B),
    "is the old one": partial(enqueue, after=lambda s, B, Q: s),
    "moves on by one;": partial(enqueue, after=lambda s, B, Q: (s + 1) % Q),
    "at the front of the queue, whatever": partial(enqueue, rows=lambda s, B, Q: torch.arange(B)),
    "reverse order": lambda q, s, new: enqueue(q, s, new.flip(0)),
    "is 0 whenever": partial(enqueue, after=lambda s, B, Q: 0),
    "one too far": partial(enqueue, rows=lambda s, B, Q: (s + 1 + torch.arange(B)) % Q),
    "queue is as it was": lambda q, s, new: (s + len(new)) % len(q),
    "gradients would flow": keeps_gradient,
    "one too early": partial(enqueue, rows=lambda s, B, Q: (s - 1 + torch.arange(B)) % Q),
    "all rows of the queue are moved": moved,
    "yours begin at row 0": whole_at_front,
    "pushed back until they fit": pushed_back,
    "first new rows stand at the front": front_first,
    "one too far: behind": partial(enqueue, after=lambda s, B, Q: (s + B + 1) % Q),
    "a number; the queue is changed": lambda *args: args[0] if enqueue(*args) + 1 else None,
    "so the next start is start plus": partial(
        enqueue, after=lambda s, B, Q: s + B - Q if s + B != Q else 0
    ),
    "no row beyond the end": partial(
        enqueue, after=lambda s, B, Q: s + B if s + B <= Q else s + B - Q
    ),
    "fit exactly, and the last one": partial(
        enqueue,
        rows=lambda s, B, Q: (s + torch.arange(B - (s + B == Q))) % Q,
    ),
}


def weights(similarity, same):
    return (similarity.softmax(-1) + 1e-4).masked_fill(same[:, None] == same[None, :], 0)


def own(same):
    return torch.eye(len(same)).bool()


WEIGHTS = {
    "Did you forget the return?": lambda s, same: None,
    "found shape": lambda s, same: weights(s, same)[0],
    "own text can be drawn": lambda s, same: s.softmax(-1) + 1e-4,
    "equal to it are not": lambda s, same: (s.softmax(-1) + 1e-4).masked_fill(own(same), 0),
    "added last": lambda s, same: s.softmax(-1).masked_fill(same[:, None] == same, 0) + 1e-4,
    "nothing is left to draw": lambda s, same: s.softmax(-1).masked_fill(same[:, None] == same, 0),
    "over images": lambda s, same: (s.softmax(0) + 1e-4).masked_fill(same[:, None] == same, 0),
    "equally likely": lambda s, same: (same[:, None] != same).float(),
    "softmax alone": lambda s, same: s.softmax(-1),
    "not added, and": lambda s, same: s.softmax(-1).masked_fill(own(same), 0),
    "condition is upside down": lambda s, same: (s.softmax(-1) + 1e-4).masked_fill(
        same[:, None] != same, 0
    ),
    "0 is not a weight": lambda s, same: s.masked_fill(same[:, None] == same, 0).softmax(-1),
    "0 isn't a weight": lambda s, same: s.masked_fill(same[:, None] == same, 0).softmax(-1) + 1e-4,
    "before the softmax": lambda s, same: s.masked_fill(same[:, None] == same, -torch.inf).softmax(
        -1
    ),
    "least similar": lambda s, same: weights(-s, same),
    "values are not right": lambda s, same: weights(s * 3, same),
    "clamp_min": lambda s, same: (
        s.softmax(-1).clamp_min(1e-4).masked_fill(same[:, None] == same, 0)
    ),
    "or a maximum": lambda s, same: torch.maximum(
        s.softmax(-1), torch.tensor(1e-4, dtype=s.dtype)
    ).masked_fill(same[:, None] == same, 0),
}


def itm(match, ids, states, texts, images, order=(0, 1, 2), right=1):
    parts = (
        match(ids, states),
        match(ids[texts], states),
        match(ids, states[images]),
        match(ids[texts], states[images]),
        match(ids[images], states),
        match(ids, states[texts]),
        match(ids[images], states[images]),
        match(ids[texts], states[texts]),
    )
    logits = torch.cat([parts[number] for number in order])
    labels = torch.full((len(logits),), 1 - right)
    labels[: len(ids)] = right
    return cross_entropy(logits, labels)


def each_kind(match, ids, states, texts, images, combine):
    right = torch.ones(len(ids)).long()
    return combine(
        cross_entropy(match(ids, states), right),
        cross_entropy(match(ids[texts], states), 1 - right),
        cross_entropy(match(ids, states[images]), 1 - right),
    )


ITM = {
    "Did you forget the return?": lambda *args: None,
    "no wrong image": partial(itm, order=(0, 1)),
    "no wrong text": partial(itm, order=(0, 2)),
    "meets the wrong image": partial(itm, order=(0, 3)),
    "one of the two at a time": partial(itm, order=(0, 1, 2, 3)),
    "are exchanged: texts holds": partial(itm, order=(0, 4, 5)),
    "used for the images, too": partial(itm, order=(0, 1, 5)),
    "no pair has a wrong image": partial(itm, order=(0, 1, 4)),
    "a group of wrong pairs holds right ones": partial(itm, order=(0, 1, 6)),
    "taken by the same numbers": partial(itm, order=(0, 7, 2)),
    "labels are exchanged": partial(itm, right=0),
    "right pairs are missing": partial(each_kind, combine=lambda a, b, c: (b + c) / 2),
    "same weight": partial(each_kind, combine=lambda a, b, c: a / 2 + (b + c) / 4),
    "that is the sum": partial(each_kind, combine=lambda a, b, c: a + b + c),
    "not the right value": lambda *args: 3 + itm(*args),
    "no gradient arrives": lambda *args: itm(*args).detach(),
}


def lm(logits, ids, mask, s, shift=True, counted=None, smooth=None, reduce=None):
    pred, target, use = (logits[:, :-1], ids[:, 1:], mask[:, 1:]) if shift else (logits, ids, mask)
    use = use if counted is None else counted(mask)
    log_p = pred.log_softmax(-1)
    nll = -log_p.gather(-1, target[..., None])[..., 0]
    values = (smooth or (lambda n, p, s: (1 - s) * n - s * p.mean(-1)))(nll, log_p, s)
    return values[use].mean() if reduce is None else reduce(values, use)


def wrong_tokens(nll, log_p, s):
    return (1 - s) * nll + s * (-log_p.sum(-1) - nll) / (log_p.shape[-1] - 1)


LM = {
    "Did you forget the return?": lambda *args: None,
    "which it has read": partial(lm, shift=False),
    "loss_mask is not shifted": partial(lm, counted=lambda mask: mask[:, :-1]),
    "prompt and padding count": partial(lm, counted=lambda mask: torch.ones_like(mask[:, 1:])),
    "no label smoothing": partial(lm, smooth=lambda n, p, s: n),
    "two shares are exchanged": partial(lm, smooth=lambda n, p, s: s * n - (1 - s) * p.mean(-1)),
    "wrong tokens alone": partial(lm, smooth=wrong_tokens),
    "s instead of s / V": partial(lm, smooth=lambda n, p, s: (1 - s) * n - s * p.sum(-1)),
    "keeps 1 instead of": partial(lm, smooth=lambda n, p, s: n - s * p.mean(-1)),
    "spread part is missing": partial(lm, smooth=lambda n, p, s: (1 - s) * n),
    "sum over tokens": partial(lm, reduce=lambda v, use: v[use].sum()),
    "number of all positions": partial(lm, reduce=lambda v, use: (v * use).mean()),
    "texts' means": partial(lm, reduce=lambda v, use: ((v * use).sum(1) / use.sum(1)).mean()),
    "sign is wrong": lambda *args: -lm(*args),
    "not the right value": lambda *args: lm(*args) + 1,
    "no gradient arrives": lambda *args: lm(*args).detach(),
}


def texts(s):
    return torch.stack([s[:, 0, 0] > s[:, 0, 1], s[:, 1, 1] > s[:, 1, 0]], 1)


def images(s):
    return torch.stack([s[:, 0, 0] > s[:, 1, 0], s[:, 1, 1] > s[:, 0, 1]], 1)


def shares(*found):
    return tuple(one.float().mean().item() for one in found)


def three(s, text=None, image=None, group=None):
    text = texts(s).all(1) if text is None else text(s)
    image = images(s).all(1) if image is None else image(s)
    return shares(text, image, text & image if group is None else group(text, image))


def sums(s):
    right = s[:, 0, 0] + s[:, 1, 1] > s[:, 0, 1] + s[:, 1, 0]
    return shares(right, right, right)


def with_ties(s):
    text = (s[:, 0, 0] >= s[:, 0, 1]) & (s[:, 1, 1] >= s[:, 1, 0])
    image = (s[:, 0, 0] >= s[:, 1, 0]) & (s[:, 1, 1] >= s[:, 0, 1])
    return shares(text, image, text & image)


PAIRS = {
    "expected 3 values": lambda s: three(s)[0],
    "are exchanged: the text score": lambda s: (three(s)[1], three(s)[0], three(s)[2]),
    "pictures one by one": lambda s: shares(
        texts(s), images(s), texts(s).all(1) & images(s).all(1)
    ),
    "only the first picture": lambda s: shares(
        texts(s)[:, 0], images(s)[:, 0], texts(s)[:, 0] & images(s)[:, 0]
    ),
    "one of the two is enough": lambda s: three(
        s, lambda s: texts(s).any(1), lambda s: images(s).any(1)
    ),
    "you count either": partial(three, group=lambda a, b: a | b),
    "no product of shares": lambda s: (*three(s)[:2], three(s)[0] * three(s)[1]),
    "comparisons are upside down": lambda s: three(-s),
    "sum of the diagonal": sums,
    "equal scores count": with_ties,
    "not the right value": lambda s: (0.123, 0.456, 0.0789),
}


def rerank(s, match, k, combine=None, choose=None, descending=True):
    best, chosen = s.topk(k, dim=1) if choose is None else choose(s, k)
    rows = torch.arange(len(s))[:, None].expand_as(chosen)
    judged = match(rows.flatten(), chosen.flatten()).reshape(chosen.shape)
    total = judged + best if combine is None else combine(judged, best)
    return chosen.gather(1, total.argsort(1, descending=descending))


def all_pairs(s, match, k):
    N, M = s.shape
    rows, columns = torch.arange(N).repeat_interleave(M), torch.arange(M).repeat(N)
    return (match(rows, columns).reshape(N, M) + s).topk(k, dim=1).indices


def all_but_candidates(s, match, k):
    N, M = s.shape
    rows, columns = torch.arange(N).repeat_interleave(M), torch.arange(M).repeat(N)
    scores, chosen = match(rows, columns).reshape(N, M) + s, s.topk(k, dim=1).indices
    return chosen.gather(1, scores.gather(1, chosen).argsort(1, descending=True))


def places(s, match, k):
    best, chosen = s.topk(k, dim=1)
    rows = torch.arange(len(s))[:, None].expand_as(chosen)
    return (match(rows.flatten(), chosen.flatten()).reshape(chosen.shape) + best).argsort(
        1, descending=True
    )


def judged_candidates(s, match, k):
    best, chosen = s.topk(k, dim=1)
    rows = torch.arange(len(s))[:, None].expand_as(chosen)
    return best, chosen, match(rows.flatten(), chosen.flatten()).reshape(chosen.shape)


def ranks(s, match, k):
    best, chosen, judged = judged_candidates(s, match, k)
    return chosen.gather(1, (judged + best).argsort(1, descending=True).argsort(1))


def scores(s, match, k):
    best, _, judged = judged_candidates(s, match, k)
    return (judged + best).sort(1, descending=True).values


def first_columns(s, match, k):
    _, chosen, judged = judged_candidates(s, match, k)
    return chosen.gather(1, (judged + s[:, :k]).argsort(1, descending=True))


def repeated(s, match, k):
    best, chosen = s.topk(k, dim=1)
    judged = match(torch.arange(len(s)).repeat(k), chosen.flatten()).reshape(chosen.shape)
    return chosen.gather(1, (judged + best).argsort(1, descending=True))


RERANK = {
    "Did you forget the return?": lambda *args: None,
    "called with every pair": all_pairs,
    "only the k candidates": all_but_candidates,
    "match scores alone": partial(rerank, combine=lambda judged, best: judged),
    "similarities alone": partial(rerank, combine=lambda judged, best: best),
    "worst candidate comes first": partial(rerank, descending=False),
    "places among the candidates": places,
    "least similar": partial(rerank, choose=lambda s, k: s.topk(k, 1, False)),
    "first k columns": partial(
        rerank, choose=lambda s, k: (s[:, :k], torch.arange(k).expand(len(s), k))
    ),
    "too many or too few": lambda s, match, k: rerank(s, match, k + 1),
    "are multiplied": partial(rerank, combine=lambda judged, best: judged * best),
    "is subtracted": partial(rerank, combine=lambda judged, best: judged - best),
    "order is turned round": ranks,
    "these are scores": scores,
    "enter as probabilities": partial(rerank, combine=lambda judged, best: judged.sigmoid() + best),
    "similarities are those of the first": first_columns,
    "pairs don't belong together": repeated,
    "all candidates are returned": lambda s, match, k: torch.cat(
        [rerank(s, match, k), (-s).topk(s.shape[1] - k, 1).indices], 1
    ),
    "queries of each candidate": lambda s, match, k: s.topk(k - 1, 0).indices[[0] * k],
    "only the best candidate": lambda s, match, k: rerank(s, match, k)[:, 0],
    "the result is flat": lambda s, match, k: rerank(s, match, k).flatten(),
}

WRONG = {
    "blip.role_inputs": ROLE,
    "blip.med_block": BLOCK,
    "blip.share": SHARE,
    "blip.itc_targets": TARGETS,
    "blip.itc_loss": ITC,
    "blip.update_momentum": UPDATE,
    "blip.enqueue": QUEUE,
    "blip.negative_weights": WEIGHTS,
    "blip.itm_loss": ITM,
    "blip.lm_loss": LM,
    "blip.pair_scores": PAIRS,
    "blip.rerank": RERANK,
}
RIGHT = {
    "blip.role_inputs": inputs,
    "blip.med_block": block,
    "blip.share": share,
    "blip.itc_targets": targets,
    "blip.itc_loss": itc,
    "blip.update_momentum": update,
    "blip.enqueue": enqueue,
    "blip.negative_weights": weights,
    "blip.itm_loss": itm,
    "blip.lm_loss": lm,
    "blip.pair_scores": three,
    "blip.rerank": rerank,
}


@pytest.mark.parametrize("id", RIGHT)
def test_right_answers_pass(id):
    assert [message(id, RIGHT[id]) for _ in range(3)] == [""] * 3
    assert message(id, EXERCISES[id.removeprefix("blip.")].reference) == ""


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


def test_the_failure_lab_runs_and_the_kept_runs_are_its_own():
    assert set(blip_lab.runs(Scale.of("smoke"))) == set(blip_lab.RUNS)
    kept = blip_lab.runs(Scale.of("laptop"))
    assert set(kept) == set(blip_lab.RUNS)
    for score in blip_lab.SCORES:
        assert kept["healthy"][score] == max(run[score] for run in kept.values())


def test_a_fault_replaces_a_part_of_the_model():
    for faults in blip_lab.RUNS.values():
        assert set(faults) <= set(PARTS)


def test_the_failure_labs_figures_tell_what_guessing_gives():
    runs = blip_lab.runs(Scale.of("laptop"))
    drawn = blip_lab.show(runs, blip_lab.LOSSES, "loss")
    assert drawn.description.endswith("guessing, ITC: 3.47; guessing, ITM: 0.637.")
    drawn = blip_lab.show(runs, blip_lab.SCORES, "share")
    assert "by either: 0.5; guessing, nouns: 0.0833" in drawn.description


def test_first_places_are_right_by_pair_or_by_truth():
    firsts = torch.tensor([0, 0]), torch.tensor([1, 1])
    assert blip_figures.share_right(firsts, torch.eye(2).bool()) == 0.5
    assert blip_figures.share_right(firsts, torch.tensor([[True, False], [True, True]])) == 1
    gallery = blip_figures.galleries(Scale.of("smoke"))["ordinary pictures"]
    true = blip_figures.true_captions(gallery, 64)
    assert true.diagonal().all() and 64 < true.sum() < 128


def test_the_fourth_control_rests_on_one_picture_as_the_lesson_says():
    runs = [run for run in load_results("replicate_blip")["rows"] if run["row"] == "all except SA"]
    missed = [
        [256 * (1 - run[f"told apart, repainted, by {head}"]) for head in ("match", "contrast")]
        for run in runs
    ]
    assert missed == [[0, 1]] * 3
