"""Lesson 09's exercises: right answers pass, and each plausible mistake is named."""

import math
from collections import Counter

import pytest
import torch
from exercise_answers import each, message, solution, taught
from torch.nn.functional import sigmoid, softmax

from teaching import capfilt_figures, capfilt_lab
from teaching.blip_reference import role_inputs
from teaching.capfilt import EXERCISES
from vlmcourse import evaluation
from vlmcourse.training.scale import Scale


def grams(words, n):
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def idf(refs, n, held=set, total=len, weight=lambda N, c: math.log(N / c), cut=grams):
    counts = Counter()
    for texts in refs:
        counts.update(held([g for words in texts for g in cut(words, n)]))
    return {g: weight(total(refs), c) for g, c in counts.items()}


def per_text(refs, n, total=len):
    counts = Counter(g for texts in refs for words in texts for g in set(grams(words, n)))
    return {g: math.log(total(refs) / c) for g, c in counts.items()}


def texts_in(refs):
    return sum(len(texts) for texts in refs)


WEIGHTS = {
    "Did you forget the return?": lambda refs, n: None,
    "occurrences are counted": lambda refs, n: idf(refs, n, held=list),
    "texts are counted": per_text,
    "both numbers are of texts": lambda refs, n: per_text(refs, n, texts_in),
    "the total is the number of texts": lambda refs, n: idf(refs, n, total=texts_in),
    "first reference": lambda refs, n: idf([texts[:1] for texts in refs], n),
    "logarithm is missing": lambda refs, n: idf(refs, n, weight=lambda N, c: N / c),
    "upside down": lambda refs, n: idf(refs, n, weight=lambda N, c: math.log(c / N)),
    "another base": lambda refs, n: idf(refs, n, weight=lambda N, c: math.log10(N / c)),
    "1 is added": lambda refs, n: idf(refs, n, weight=lambda N, c: math.log(N / (1 + c))),
    "these are counts": lambda refs, n: idf(refs, n, weight=lambda N, c: float(c)),
    "one word": lambda refs, n: idf(refs, n + 1),
    "last n-gram": lambda refs, n: idf(refs, n, cut=lambda words, n: grams(words, n)[:-1]),
    "added to the weight": lambda refs, n: idf(refs, n, weight=lambda N, c: 1 + math.log(N / c)),
    "logarithms of counts": lambda refs, n: idf(refs, n, weight=lambda N, c: math.log(c)),
    "strings; wanted": lambda refs, n: {g if n > 1 else g[0]: w for g, w in idf(refs, n).items()},
    "single strings": lambda refs, n: {" ".join(g): w for g, w in idf(refs, n).items()},
}


def vectors(caption, ref, weights, unseen, default=None):
    default = unseen if default is None else default
    return [{k: n * weights.get(k, default) for k, n in each.items()} for each in (caption, ref)]


def length(vector):
    return math.sqrt(sum(v * v for v in vector.values()))


def close(g, r, clip=min, lengths=None, second=None):
    both = [k for k in g if k in r]
    total = sum(clip(g[k], r[k]) * (second or (lambda a, b: b))(g[k], r[k]) for k in both)
    size = lengths(g, r) if lengths else length(g) * length(r)
    return total / size if size else 0.0


def cosine(*args, **choices):
    return close(*vectors(*args), **choices)


COSINE = {
    "Did you forget the return?": lambda *args: None,
    "nothing is clipped": lambda *args: cosine(*args, clip=lambda a, b: a),
    "the larger value": lambda *args: cosine(*args, clip=max),
    "clipped values also enter": lambda *args: cosine(
        *args,
        lengths=lambda g, r: (
            length({k: min(v, r.get(k, 0)) for k, v in g.items()}) * length(r)
            if g and r and length(g)
            else 0
        ),
    ),
    "clipped to 1": lambda c, r, w, u: close(
        *vectors(dict.fromkeys(c, 1), r, w, u),
        lengths=lambda g, r: length(vectors(c, {}, w, u)[0]) * length(r),
    ),
    "clipped value is squared": lambda *args: cosine(*args, second=min),
    "are left out": lambda c, r, w, u: close(*vectors(c, r, w, u, default=0.0)),
    "not weighted": lambda c, r, w, u: close(dict(c), dict(r)),
    "counts are not used": lambda c, r, w, u: close(
        *vectors(dict.fromkeys(c, 1), dict.fromkeys(r, 1), w, u)
    ),  # fmt: skip
    "reference's norm squared": lambda *args: cosine(*args, lengths=lambda g, r: length(r) ** 2),
    "caption's norm squared": lambda *args: cosine(*args, lengths=lambda g, r: length(g) ** 2),
    "divide by both norms": lambda *args: cosine(*args, lengths=lambda g, r: 1.0),
    "not the sum of its values": lambda *args: cosine(
        *args, lengths=lambda g, r: sum(g.values()) * sum(r.values())
    ),
    "shared n-grams alone": lambda *args: cosine(
        *args,
        lengths=lambda g, r: (
            length({k: g[k] for k in g if k in r}) * length({k: r[k] for k in g if k in r})
        ),
    ),
    "still squared": lambda *args: cosine(*args, lengths=lambda g, r: (length(g) * length(r)) ** 2),
    "the result is 0.": lambda *args: math.nan if not length(vectors(*args)[0]) else cosine(*args),
    "not 1": lambda *args: 1.0 if not length(vectors(*args)[0]) else cosine(*args),
    ".item()": lambda *args: torch.tensor(cosine(*args)),
}

KEEP = {
    "Did you forget the return?": lambda x, t: None,
    "thrown out": lambda x, t: softmax(x, -1)[:, 1] < t,
    "logits themselves": lambda x, t: x[:, 1] >= t,
    "sigmoid": lambda x, t: sigmoid(x[:, 1]) >= t,
    "column 0": lambda x, t: softmax(x, -1)[:, 0] >= t,
    "0.5 is only its usual value": lambda x, t: softmax(x, -1)[:, 1] > 0.5,
    "softmax is over captions": lambda x, t: softmax(x, 0)[:, 1] >= t,
    "exactly the threshold": lambda x, t: softmax(x, -1)[:, 1] > t,
    "two columns": lambda x, t: softmax(x, -1) >= t,
    "these are probabilities": lambda x, t: softmax(x, -1)[:, 1],
    "everything is kept": lambda x, t: torch.ones(len(x), dtype=torch.bool),
    "numbers of captions": lambda x, t: (softmax(x, -1)[:, 1] >= t).nonzero()[:, 0],
    "booleans": lambda x, t: (softmax(x, -1)[:, 1] >= t).long(),
}


def pairs(web, synthetic, annotated, kw, ks):
    return [p for p, k in [*zip(web, kw), *zip(synthetic, ks)] if k] + annotated


PAIRS = {
    "Did you forget the return?": lambda *args: None,
    "that the filter rejects": lambda w, s, a, kw, ks: pairs(w, s, a, ~kw, ~ks),
    "are exchanged": lambda w, s, a, kw, ks: pairs(w, s, a, ks, kw),
    "synthetic pairs' mask": lambda w, s, a, kw, ks: pairs(w, s, a, ks, ks),
    "first all pairs of the web": lambda w, s, a, kw, ks: (
        [p for each in zip(zip(w, kw), zip(s, ks)) for p, k in each if k] + a
    ),
    "one doesn't replace": lambda w, s, a, kw, ks: (
        [x if k else y for x, y, k, m in zip(w, s, kw, ks) if k or m] + a
    ),
    "may keep both": lambda w, s, a, kw, ks: (
        [y if m else x for x, y, k, m in zip(w, s, kw, ks) if k or m] + a
    ),
    "the picture's other one": lambda w, s, a, kw, ks: pairs(w, s, a, kw | ks, kw | ks),
    "web's mask": lambda w, s, a, kw, ks: pairs(w, s, a, kw, kw),
    "annotated pairs are missing": lambda w, s, a, kw, ks: pairs(w, s, [], kw, ks),
    "web, synthetic, annotated": lambda w, s, a, kw, ks: a + pairs(w, s, [], kw, ks),
    "web's pairs come first": lambda w, s, a, kw, ks: pairs(s, w, a, ks, kw),
    "synthetic pairs are missing": lambda w, s, a, kw, ks: pairs(w, [], a, kw, []),
    "web's pairs are missing": lambda w, s, a, kw, ks: pairs([], s, a, [], ks),
    "nothing is thrown out": lambda w, s, a, kw, ks: w + s + a,
    "aren't filtered": lambda w, s, a, kw, ks: w + pairs([], s, a, [], ks),
    "keep both captions": lambda w, s, a, kw, ks: pairs(w, s, a, kw, ks & ~kw),
    "its own mask": lambda w, s, a, kw, ks: pairs(w, s, a, kw & ks, kw & ks),
    "captions alone": lambda *args: [text for _, text in pairs(*args)],
}


def looped(
    w, a, pretrain, captioner, tuner, write, logits, t,
    first=lambda w, a: w + a, tune=lambda w, a: a, own=True, chain="", pics=lambda w, a: w,
    judge=("w", "s"), rest=lambda a: a, end="new", masks=lambda w, s: (w, s),
):  # fmt: skip
    base = pretrain(first(w, a))
    c = captioner(base, tune(w, a)) if own and chain != "filter" else base
    f = tuner(c if chain == "captioner" else base, tune(w, a)) if own != "captioner" else base
    if chain == "filter":
        c = captioner(f, tune(w, a))
    if own == "filter":
        c = base
    s = write(c, [n for n, _ in pics(w, a)])
    keeps = [
        softmax(logits(f, each), -1)[:, 1] >= t if name in judge else torch.ones(len(each)) > 0
        for name, each in (("w", w), ("s", s))
    ]
    cleaned = pairs(w, s, rest(a), *masks(*keeps))
    if end == "first":
        return base
    return captioner(base, cleaned) if end == "on" else pretrain(cleaned)


def loop(**choices):
    return lambda *args: looped(*args, **choices)


def only_base(w, a, pretrain, *rest):
    return pretrain(w + a)


def no_captioner(w, a, pretrain, captioner, tuner, *rest):
    return looped(w, a, pretrain, lambda model, _: model, tuner, *rest)


def no_filter(w, a, pretrain, captioner, tuner, *rest):
    return looped(w, a, pretrain, captioner, lambda model, _: model, *rest)


LOOP = {
    "return the new model": lambda *args: looped(*args) and None,
    "the web's pairs alone": loop(first=lambda w, a: w),
    "the annotated pairs alone": loop(first=lambda w, a: a),
    "only annotated ones are trusted": loop(tune=lambda w, a: w + a),
    "are tuned on the web's pairs.": loop(tune=lambda w, a: w),
    "filter starts from the captioner": loop(chain="captioner"),
    "captioner starts from the filter": loop(chain="filter"),
    "tune a captioner": no_captioner,
    "tune a filter": no_filter,
    "annotated pictures, too": loop(pics=lambda w, a: w + a),
    "web's captions aren't judged": loop(judge="s"),
    "synthetic captions aren't judged": loop(judge="w"),
    "nothing is judged": loop(judge=""),
    "masks are exchanged": loop(masks=lambda w, s: (s, w)),
    "turned round": loop(masks=lambda w, s: (~w, ~s)),
    "web's captions are thrown out altogether": loop(masks=lambda w, s: (w & ~w, s)),
    "synthetic captions are thrown out altogether": loop(masks=lambda w, s: (w, s & ~s)),
    "both masks together": loop(masks=lambda w, s: (w & s, w & s)),
    "the new model: on other pairs": loop(rest=lambda a: a[::-1]),
    "filter of model 1 judges: on other pairs": lambda w, a, *functions: looped(
        w, a, *functions[:4], lambda f, pairs: functions[4](f, pairs[::-1]).flip(0), functions[5]
    ),
    "lacks the annotated": loop(rest=lambda a: []),
    "threshold is not used": lambda *args: looped(*args[:-1], 0.5),
    "from scratch": loop(end="on"),
    "no new model": only_base,
    "not the new model": loop(end="first") and (lambda *args: looped(*args) and "model 1"),
}


def precision_recall(keep, noisy):
    out = ~keep
    both = (out & noisy).sum().item()
    return both / max(1, out.sum().item()), both / max(1, noisy.sum().item())


QUALITY = {
    "expected 2 values": lambda k, n: 0.5,
    "are exchanged": lambda k, n: precision_recall(k, n)[::-1],
    "*right* captions": lambda k, n: precision_recall(~k, ~n),
    "kept captions as found": lambda k, n: precision_recall(~k, n),
    "`noisy` is upside down": lambda k, n: precision_recall(k, ~n),
    "number of all captions": lambda k, n: ((~k & n).float().mean().item(),) * 2,
    "these are counts": lambda k, n: (float((~k & n).sum()), float((~k & n).sum())),
    "by 100": lambda k, n: tuple(100 * share for share in precision_recall(k, n)),
    "accuracy": lambda k, n: ((k != n).float().mean().item(),) * 2,
    "recall is right": lambda k, n: (0.31, precision_recall(k, n)[1]),
    "precision is right": lambda k, n: (precision_recall(k, n)[0], 0.31),
    "has precision 0 here": lambda k, n: (1.0, 0.0) if k.all() else precision_recall(k, n),
}


def at(values, index):
    return sorted(values.tolist(), reverse=True)[index]


THRESHOLD = {
    "Did you forget the return?": lambda p, n, s: None,
    "all captions are counted": lambda p, n, s: at(p, math.ceil(s * len(p)) - 1),
    "the noise is counted": lambda p, n, s: at(p[n], math.ceil(s * n.sum().item()) - 1),
    "thrown out, not kept": lambda p, n, s: at(p[~n], math.ceil((1 - s) * (~n).sum().item()) - 1),
    "one right caption too many": lambda p, n, s: at(p[~n], math.ceil(s * (~n).sum().item())),
    "whole number of captions": lambda p, n, s: at(p[~n], int(s * (~n).sum().item())),
    "quantile": lambda p, n, s: p[~n].quantile(1 - s).item(),
    "all right captions": lambda p, n, s: p[~n].min().item(),
    "largest probability": lambda p, n, s: (1 - s) * p[~n].max().item(),
    ".item()": lambda p, n, s: p[~n].sort().values.flip(0)[math.ceil(s * (~n).sum().item()) - 1],
}


def answered(encode, decode, states, q, a, first, pad, way=(False, True), tokens=(0, 1), context=None, mask=None):  # fmt: skip
    first = {None: 5, **dict(enumerate(first))}  # 5: what the checks' texts begin with
    ids, allowed = role_inputs(q, first[tokens[0]], way[0], pad)
    read = encode(ids, allowed, states)
    ids, allowed = role_inputs(a, first[tokens[1]], way[1], pad)
    if context:
        read, seen = context(states, read, q != pad)
    else:
        seen = mask(q != pad) if mask else q != pad
    return decode(ids, allowed, read, seen)


def joined(states, read, words):
    return torch.cat([states, read], 1), torch.cat([torch.ones(states.shape[:2]) > 0, words], 1)


def answer(**choices):
    return lambda *args: answered(*args, **choices)


ANSWER = {
    "Did you forget the return?": lambda *args: None,
    "the encoder is causal": answer(way=(True, True)),
    "decoder isn't causal": answer(way=(False, False)),
    "are exchanged": answer(tokens=(1, 0)),
    "the encoder's first token": answer(tokens=(0, 0)),
    "the decoder's first token": answer(tokens=(1, 1)),
    "question keeps its own": answer(tokens=(None, 1)),
    "answer keeps its own": answer(tokens=(0, None)),
    "both texts keep": answer(tokens=(None, None)),
    "decoder reads the picture;": answer(context=lambda s, r, w: (s, torch.ones(s.shape[:2]) > 0)),
    "picture and question": answer(context=joined),
    "first state alone": answer(context=lambda s, r, w: (r[:, :1], w[:, :1])),
    "mask is missing": answer(mask=torch.ones_like),
    "upside down": answer(mask=torch.logical_not),
}


def post(block, x, mask):
    return block.norm1(x + block.attention(x, mask=mask))


def two(block, other, merge, x, mask, left, right, read=None, norm=None, residual=True, first=post, early=False,
        last=lambda block, x: block.norm2(x + block.feedforward(x))):  # fmt: skip
    y = first(block, x, mask)
    x = x if early else y
    a, b = block.cross(x, context=left), other(x, context=right)
    joint = (read or usual)(block, other, merge, x, left, right, a, b)
    x = (norm or (lambda block: block.norm_cross))(block)(joint + y if residual else joint)
    return last(block, x)


def pre_norm(block, other, merge, x, mask, left, right):
    x = x + block.attention(block.norm1(x), mask=mask)
    y = block.norm_cross(x)
    a, b = block.cross(y, context=left), other(y, context=right)
    x = x + usual(block, other, merge, y, left, right, a, b)
    return x + block.feedforward(block.norm2(x))


def usual(block, other, merge, x, left, right, a, b):
    return (a + b) / 2 if merge is None else merge(torch.cat([a, b], -1))


def twice(block, other, merge, x, mask, left, right):
    x = block.norm1(x + block.attention(x, mask=mask))
    for cross, states in ((block.cross, left), (other, right)):
        x = block.norm_cross(x + cross(x, context=states))
    return block.norm2(x + block.feedforward(x))


def in_turn(way):
    """Reads the left picture first, then the right one with what it has read."""

    def read(block, other, merge, x, left, right, a, b):
        then = {
            "sum": lambda: x + a,
            "read": lambda: a,
            "norm": lambda: block.norm_cross(x + a),
        }[way]
        return usual(block, other, merge, x, left, right, a, other(then(), context=right))

    return lambda *args: two(*args, read=read)


def one_residual(block, other, merge, x, mask, left, right):
    x = block.norm1(x + block.attention(x, mask=mask))
    for cross, states in ((block.cross, left), (other, right)):
        x = x + cross(x, context=states)
    x = block.norm_cross(x)
    return block.norm2(x + block.feedforward(x))


def block(**choices):
    return lambda *args: two(*args, **choices)


TWO = {
    "Did you forget the return?": lambda *args: None,
    "same cross-attention": block(
        read=lambda b, o, m, x, l, r, p, q: usual(b, o, m, x, l, r, p, b.cross(x, context=r))  # noqa: E741
    ),
    "left and right are exchanged": lambda b, o, m, x, mask, left, right: two(
        b, o, m, x, mask, right, left
    ),
    "one after the other": twice,
    "read one after the other": one_residual,
    "after the other: both": in_turn("sum"),
    "the other: both cross-attentions": in_turn("read"),
    "pictures are read one after": in_turn("norm"),
    "one long context": block(
        read=lambda b, o, m, x, l, r, p, q: b.cross(x, context=torch.cat([l, r], 1))  # noqa: E741
    ),
    "self-attention is missing.": block(first=lambda block, x, mask: x),
    "mask of self-attention": block(first=lambda block, x, mask: post(block, x, None)),
    "round self-attention": block(
        first=lambda block, x, mask: block.norm1(block.attention(x, mask=mask))
    ),
    "LayerNorm after self-attention": block(
        first=lambda block, x, mask: x + block.attention(x, mask=mask)
    ),
    "before self-attention": block(early=True),
    "round the feed-forward": block(last=lambda block, x: block.norm2(block.feedforward(x))),
    "LayerNorm after the feed-forward": block(last=lambda block, x: x + block.feedforward(x)),
    "behind the residual connections": pre_norm,
    "round the two cross-attentions": block(residual=False),
    "LayerNorm after the cross-attentions is missing": block(norm=lambda block: lambda x: x),
    "it is `norm_cross`": block(norm=lambda block: block.norm2),
    "feed-forward network is missing": block(last=lambda block, x: x),
    "are added": block(
        read=lambda b, o, m, x, l, r, p, q: p + q if m is None else usual(b, o, m, x, l, r, p, q)  # noqa: E741
    ),
    "only the left": block(
        read=lambda b, o, m, x, l, r, p, q: p if m is None else usual(b, o, m, x, l, r, p, q)  # noqa: E741
    ),
    "`merge` is not used": block(read=lambda b, o, m, x, l, r, p, q: (p + q) / 2),  # noqa: E741
    "wrong order": block(
        read=lambda b, o, m, x, l, r, p, q: usual(b, o, m, x, l, r, q, p)  # noqa: E741
    ),
}


def talk(states, caption_states, caption, pad, seen=True, words=lambda ids, pad: ids != pad):
    mask = torch.cat([torch.full(states.shape[:2], seen), words(caption, pad)], 1)
    return torch.cat([states, caption_states], 1), mask


DIALOGUE = {
    "return two tensors": lambda s, c, ids, pad: torch.cat([s, c], 1),
    "picture, then caption": lambda s, c, ids, pad: (
        torch.cat([c, s], 1),
        torch.cat([ids != pad, torch.ones(s.shape[:2]) > 0], 1),
    ),
    "picture is closed": lambda *args: talk(*args, seen=False),
    "padding of the caption": lambda *args: talk(*args, words=lambda ids, pad: ids >= 0),
    "the id `pad`": lambda *args: talk(*args, words=lambda ids, pad: ids != 0),
    "upside down": lambda *args: talk(*args, words=lambda ids, pad: ids == pad),
    "the caption is missing": lambda s, c, ids, pad: (s, torch.ones(s.shape[:2]) > 0),
    "the picture is missing": lambda s, c, ids, pad: (c, ids != pad),
    "a mask is booleans": lambda *args: (talk(*args)[0], talk(*args)[1].float()),
    "the two are exchanged": lambda *args: talk(*args)[::-1],
    "another shape": lambda *args: (talk(*args)[0], talk(*args)[1][:, None]),
}


def metrics(scores, right, rank=None, mrr=lambda r: (1 / r).mean(), hit=lambda r, k: r <= k, mr=torch.mean, scale=1):  # fmt: skip
    own = scores[torch.arange(len(scores)), right]
    r = (rank or (lambda s, own, right: (s >= own[:, None]).sum(1)))(scores, own, right).double()
    hits = {f"R@{k}": scale * hit(r, k).double().mean().item() for k in (1, 5, 10)}
    return {"MRR": scale * mrr(r).item(), "MR": mr(r).item(), **hits}


RANKING = {
    "Did you forget the return?": lambda s, r: None,
    "lowest score": lambda s, r: metrics(-s, r),
    "begin at 0": lambda s, r: metrics(s, r, lambda s, own, right: (s > own[:, None]).sum(1)),
    "the best rank is 1": lambda s, r: metrics(
        s,
        r,
        lambda s, own, right: (s >= own[:, None]).sum(1) - 1,
        mrr=lambda r: (1 / (r + 1)).mean(),
        mr=lambda r: r.mean() + 1,
    ),
    "argsort": lambda s, r: metrics(
        s,
        r,
        lambda s, own, right: s.argsort(1, descending=True).gather(1, right[:, None])[:, 0] + 1,
    ),
    "reciprocal of the mean": lambda s, r: metrics(s, r, mrr=lambda r: 1 / r.mean()),
    "k included": lambda s, r: metrics(s, r, hit=lambda r, k: r < k),
    "beyond k": lambda s, r: metrics(s, r, hit=lambda r, k: r > k),
    "median": lambda s, r: metrics(s, r, mr=torch.median),
    "by 100": lambda s, r: metrics(s, r, scale=100),
    "is not its rank": lambda s, r: metrics(s, r, lambda s, own, right: right + 1),
    "too large by 1": lambda s, r: metrics(
        s, r, lambda s, own, right: (s >= own[:, None]).sum(1) + 1
    ),
    "R@1, R@5, R@10: wrong, the others are right": lambda s, r: metrics(
        s, r, hit=lambda r, k: (r <= k).sum() / 7
    ),
    "R@5, R@10: wrong": lambda s, r: metrics(s, r, hit=lambda r, k: r == k),
    "MR: wrong, the others": lambda s, r: metrics(s, r, mr=torch.sum),
    "so the ranks are": lambda s, r: metrics(s, r, lambda s, own, right: own + 20),
    "A sorted order": lambda s, r: metrics(
        s,
        r,
        lambda s, own, right: (
            s.argsort(dim=1, descending=True, stable=True)
            .argsort(1)
            .gather(1, right[:, None])[:, 0]
            + 1
        ),
    ),  # fmt: skip
    "where some are equal": lambda s, r: metrics(
        s,
        r,
        lambda s, own, right: (s.argsort(1, descending=True) == right[:, None]).nonzero()[:, 1] + 1,
    ),  # fmt: skip
    "an equal score": lambda s, r: metrics(
        s, r, lambda s, own, right: (s > own[:, None]).sum(1) + 1
    ),
}


def film(join):
    def answer(encode, frames):
        states = torch.stack([encode(one) for one in frames])
        return join(states)

    return answer


FILM = {
    "Did you forget the return?": lambda encode, frames: None,
    "averaged": film(lambda s: s.mean(1)),
    "added up": film(lambda s: s.sum(1)),
    "alternate": film(lambda s: s.permute(0, 2, 1, 3).reshape(len(s), -1, s.shape[-1])),
    "films and frames are exchanged": film(
        lambda s: s.reshape(s.shape[1], len(s), *s.shape[2:]).transpose(0, 1).flatten(1, 2)
    ),
    "mixed": film(lambda s: s.transpose(0, 1).reshape(len(s), -1, s.shape[-1])),
    "side by side": film(lambda s: s.transpose(1, 2).flatten(2)),
    "first frame": lambda encode, frames: encode(frames[:, 0]),
    "middle frame": lambda encode, frames: encode(frames[:, frames.shape[1] // 2]),
    "reversed": film(lambda s: s.flip(1).flatten(1, 2)),
    "axis of their own": film(lambda s: s),
    "first axis is B": lambda encode, frames: encode(frames.flatten(0, 1)),
    "class token alone": film(lambda s: s[:, :, 0]),
    "takes (N, 3, S, S)": lambda encode, frames: encode(frames),
}

WRONG = {
    "capfilt.ngram_weights": WEIGHTS,
    "capfilt.clipped_cosine": COSINE,
    "capfilt.keep_captions": KEEP,
    "capfilt.bootstrapped_pairs": PAIRS,
    "capfilt.bootstrap": LOOP,
    "capfilt.filter_quality": QUALITY,
    "capfilt.threshold_that_keeps": THRESHOLD,
    "capfilt.answer_logits": ANSWER,
    "capfilt.two_picture_block": TWO,
    "capfilt.dialogue_context": DIALOGUE,
    "capfilt.ranking_metrics": RANKING,
    "capfilt.video_states": FILM,
}
RIGHT = {
    "capfilt.ngram_weights": idf,
    "capfilt.clipped_cosine": cosine,
    "capfilt.keep_captions": lambda x, t: (x[:, 1] - x[:, 0]).sigmoid() >= t,
    "capfilt.bootstrapped_pairs": pairs,
    "capfilt.bootstrap": looped,
    "capfilt.filter_quality": precision_recall,
    "capfilt.threshold_that_keeps": lambda p, n, s: at(p[~n], math.ceil(s * (~n).sum().item()) - 1),
    "capfilt.answer_logits": answered,
    "capfilt.two_picture_block": two,
    "capfilt.dialogue_context": talk,
    "capfilt.ranking_metrics": metrics,
    "capfilt.video_states": film(lambda s: s.flatten(1, 2)),
}


def test_every_exercise_has_wrong_answers():
    ids = {f"capfilt.{name}" for name in EXERCISES}
    assert (
        ids == WRONG.keys() == RIGHT.keys() == {id for id in taught() if id.startswith("capfilt.")}
    )
    assert all(len(answers) >= 5 for answers in WRONG.values())


@pytest.mark.parametrize("id", RIGHT)
def test_right_answers_pass(id):
    for right in (RIGHT[id], solution(id), EXERCISES[id.split(".")[1]].reference):
        assert [message(id, right) for _ in range(2)] == ["", ""]


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


def test_the_student_s_cider_is_the_package_s():
    scenes = capfilt_figures.held_out_scenes(12)
    given = capfilt_figures.reference_words(scenes)
    captions = [" ".join(texts[0][:-1]) for texts in given]
    ours = capfilt_figures.cider_d(captions, given, idf, cosine)
    theirs = evaluation.cider(captions, [[" ".join(words) for words in texts] for texts in given])
    assert ours == pytest.approx(theirs) and len(set(ours)) > 3


def test_the_healthy_run_is_the_best_of_the_failure_lab():
    lab = capfilt_lab.runs(Scale.of("laptop"))
    healthy = lab.pop("healthy")["mean of both"]
    assert all(healthy > run["mean of both"] + 0.05 for run in lab.values()) and len(lab) == 3


def test_upside_down_is_the_complement_of_healthy():
    lab = capfilt_lab.runs(Scale.of("laptop"))
    assert all(
        lab["healthy"][name] + lab["C"][name] == pytest.approx(1) for name in capfilt_lab.SHARES
    )
