"""Lesson 03's exercises: each plausible mistake is called by its name; and its tables and failure lab."""

import math

import numpy as np
import pytest
import torch
from exercise_answers import each, message, solution
from torch.nn.functional import cross_entropy, normalize

from teaching import clip_analysis as lab
from teaching import clip_analysis_claims as claims
from teaching import clip_analysis_scaling as scaling
from teaching import clip_analysis_styles as shifts
from teaching import clip_analysis_tables as measured
from vlmcourse import evaluation, recipes
from vlmcourse.evaluation import spread
from vlmcourse.introspection import count_flops
from vlmcourse.recipes import clip_studies as studies
from vlmcourse.training.fit import Step
from vlmcourse.training.scale import Scale


def by(part, statistics):
    std = statistics.std(0, correction=0)
    return (part - statistics.mean(0)) / torch.where(std > 0, std, 1.0)


def ce(w, b, x, y):
    return cross_entropy(x @ w.T + b, y)


def shots(pick, labels, k, generator):
    rows = []
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        rows.append(pick(members, k, generator))
    return torch.cat(rows)


def random_members(members, k, generator):
    return members[torch.randperm(len(members), generator=generator)[:k]]


def worth(shots, accuracy, zero_shot, axis=math.log2, back=lambda x: 2**x, beyond=math.inf):
    if zero_shot <= accuracy[0]:
        return float(shots[0])
    for i in range(len(shots) - 1):
        if accuracy[i] < zero_shot <= accuracy[i + 1]:
            share = (zero_shot - accuracy[i]) / (accuracy[i + 1] - accuracy[i])
            return back(axis(shots[i]) + share * (axis(shots[i + 1]) - axis(shots[i])))
    return beyond


def between(shots, accuracy, zero_shot, answer):
    """`answer(fewer, more, share of the way)` between the neighbours of zero_shot; right beyond the curve."""
    if not accuracy[0] < zero_shot <= accuracy[-1]:
        return worth(shots, accuracy, zero_shot)
    i = next(i for i, value in enumerate(accuracy) if value >= zero_shot)
    share = (zero_shot - accuracy[i - 1]) / (accuracy[i] - accuracy[i - 1])
    return float(answer(shots[i - 1], shots[i], share))


def flops(width, depth, patches, patch, tokens=None, products=2, mlp=8, mac=2):
    tokens = tokens or patches + 1
    block = (4 + mlp) * tokens * width**2 + products * tokens**2 * width
    return mac * (patches * 3 * patch**2 * width + depth * block)


def factor(compute, error, target, log=torch.log, exp=torch.exp, of_error=None):
    of_error = of_error or log
    x, y = log(torch.tensor(compute).double()), of_error(torch.tensor(error).double())
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    goal = of_error(torch.tensor(target).double())
    return exp(x.mean() + (goal - y.mean()) / slope).item()


def as_is(x):
    return x


def from_error(compute, error, target):
    slope, start = np.polyfit(np.log(error), np.log(compute), 1)
    return math.exp(slope * math.log(target) + start) / max(compute)


def rate(images, classes, is_alarm):
    return is_alarm[(images @ classes.T).argmax(1)].float().mean().item()


def rates(images, classes, is_alarm, candidates, alarm=False):
    longer = torch.cat([is_alarm, torch.tensor([alarm])])
    return [rate(images, torch.cat([classes, one[None]]), longer) for one in candidates]


def gap(scores, source):
    others = [value for style, value in scores.items() if style != source]
    return scores[source] - sum(others) / len(others)


def shifted(scores, source):
    return [value for style, value in scores.items() if style != source]


def by_gap(gap_of, model, reference):
    return 1 - gap_of(model) / gap_of(reference)


def top(scores, share):
    kept = torch.zeros(len(scores), dtype=torch.bool)
    kept[scores.topk(int(share * len(scores))).indices] = True
    return kept


def cosine(images, texts):
    return (normalize(images, dim=-1) * normalize(texts, dim=-1)).sum(-1)


def capped(texts, most, allowed=lambda count, most: count <= most):
    seen, kept = {}, []
    for text in texts:
        seen[text] = seen.get(text, 0) + 1
        kept.append(allowed(seen[text], most))
    return torch.tensor(kept)


def report(similarity, threshold, correct, **changes):
    overlaps = similarity.amax(1) >= threshold
    found = {
        "overlap": overlaps.float().mean().item(),
        "all": correct.float().mean().item(),
        "clean": correct[~overlaps].float().mean().item(),
    }
    return found | {key: value(overlaps) for key, value in changes.items()}


WRONG = {
    "clip_analysis.standardise": {
        "statistics of their own": lambda a, b: (by(a, a), by(b, b)),
        "training and test features together": lambda a, b: tuple(
            by(part, torch.cat([a, b])) for part in (a, b)
        ),
        "take those of the training features": lambda a, b: (by(a, b), by(b, b)),
        "nothing is divided": lambda a, b: (a - a.mean(0), b - a.mean(0)),
        "each *example* is standardised": lambda a, b: tuple(
            (part - part.mean(1, keepdim=True)) / part.std(1, correction=0, keepdim=True)
            for part in (a, b)
        ),
        "N - 1": lambda a, b: tuple(
            (part - a.mean(0)) / torch.where(a.std(0) > 0, a.std(0), 1.0) for part in (a, b)
        ),
        "test features are unchanged": lambda a, b: (by(a, a), b),
        "one mean and one standard deviation": lambda a, b: tuple(
            (part - a.mean()) / a.std(correction=0) for part in (a, b)
        ),
        "one mean of the whole table": lambda a, b: tuple(
            (part - a.mean()) / torch.where(a.std(0) > 0, a.std(0, correction=0), 1.0)
            for part in (a, b)
        ),
        "one standard deviation of the whole table": lambda a, b: tuple(
            (part - a.mean(0)) / a.std(correction=0) for part in (a, b)
        ),
        "its standard deviation is 0": lambda a, b: tuple(
            (part - a.mean(0)) / a.std(0, correction=0) for part in (a, b)
        ),
        "divided by a tiny number": lambda a, b: tuple(
            (part - a.mean(0)) / (a.std(0, correction=0) + 1e-8) for part in (a, b)
        ),
        "nan_to_num hides": lambda a, b: tuple(
            ((part - a.mean(0)) / a.std(0, correction=0)).nan_to_num() for part in (a, b)
        ),
        "set to 0 in the test part": lambda a, b: tuple(
            ((part - a.mean(0)) / a.std(0, correction=0)).nan_to_num(0.0, 0.0, 0.0)
            for part in (a, b)
        ),
        "divided by the variance": lambda a, b: tuple(
            (part - a.mean(0)) / torch.where(a.std(0) > 0, a.var(0, correction=0), 1.0)
            for part in (a, b)
        ),
        "mean is not subtracted": lambda a, b: tuple(
            part / torch.where(a.std(0) > 0, a.std(0, correction=0), 1.0) for part in (a, b)
        ),
        "only one that is 0": lambda a, b: tuple(
            (part - a.mean(0)) / a.std(0, correction=0).clamp(min=1) for part in (a, b)
        ),
        "has length 1": lambda a, b: (normalize(a, dim=1), normalize(b, dim=1)),
        "smallest and largest value": lambda a, b: tuple(
            (part - a.amin(0)) / torch.where(a.std(0) > 0, a.amax(0) - a.amin(0), 1.0)
            for part in (a, b)
        ),
        "expected 2 values": lambda a, b: (by(a, a),),
    },
    "clip_analysis.probe_loss": {
        "penalty is missing": lambda w, b, x, y, l2: ce(w, b, x, y),
        "also covers the bias": lambda w, b, x, y, l2: (
            ce(w, b, x, y) + l2 / 2 * ((w**2).sum() + (b**2).sum())
        ),
        "factor 1/2": lambda w, b, x, y, l2: ce(w, b, x, y) + l2 * (w**2).sum(),
        "mean of the squared weights": lambda w, b, x, y, l2: (
            ce(w, b, x, y) + l2 / 2 * (w**2).mean()
        ),
        "square it": lambda w, b, x, y, l2: ce(w, b, x, y) + l2 / 2 * w.norm(),
        "largest singular value": lambda w, b, x, y, l2: (
            ce(w, b, x, y) + l2 / 2 * torch.linalg.norm(w, 2) ** 2
        ),
        "*all* squared": lambda w, b, x, y, l2: ce(w, b, x, y) + l2 * torch.linalg.norm(w, 2),
        "(L1)": lambda w, b, x, y, l2: ce(w, b, x, y) + l2 * w.abs().sum(),
        "summed over examples": lambda w, b, x, y, l2: (
            cross_entropy(x @ w.T + b, y, reduction="sum") + l2 / 2 * (w**2).sum()
        ),
        "was given probabilities": lambda w, b, x, y, l2: (
            cross_entropy((x @ w.T + b).softmax(-1), y) + l2 / 2 * (w**2).sum()
        ),
        "is subtracted": lambda w, b, x, y, l2: ce(w, b, x, y) - l2 / 2 * (w**2).sum(),
        "only the cross-entropy is a mean": lambda w, b, x, y, l2: (
            ce(w, b, x, y) + l2 / 2 * (w**2).sum() / len(x)
        ),
        "l2 is squared": lambda w, b, x, y, l2: ce(w, b, x, y) + ((l2 * w) ** 2).sum() / 2,
        "but not the gradient": lambda w, b, x, y, l2: (
            ce(w, b, x, y) + l2 / 2 * (w.detach() ** 2).sum()
        ),
        "bias is missing": lambda w, b, x, y, l2: cross_entropy(x @ w.T, y) + l2 / 2 * (w**2).sum(),
        "no gradient": lambda w, b, x, y, l2: torch.tensor(
            (ce(w, b, x, y) + l2 / 2 * (w**2).sum()).item()
        ),
        "found None": lambda w, b, x, y, l2: None,
    },
    "clip_analysis.draw_shots": {
        "k rows in all": lambda y, k, g: torch.randperm(len(y), generator=g)[:k],
        "not the first ones": lambda y, k, g: shots(lambda m, k, g: m[:k], y, k, g),
        "give `generator`": lambda y, k, g: shots(
            lambda m, k, g: m[torch.randperm(len(m))[:k]], y, k, g
        ),
        "drawn twice": lambda y, k, g: shots(
            lambda m, k, g: m[torch.randint(2, (k,), generator=g)], y, k, g
        ),
        "each must have": lambda y, k, g: torch.randperm(len(y), generator=g)[
            : k * len(y.unique())
        ],
        "has no rows": lambda y, k, g: torch.cat(
            [random_members((y == one).nonzero()[:, 0], k, g) for one in y.unique()[:-1]]
        ),
        "members within each class": lambda y, k, g: torch.cat(
            [torch.randperm(int((y == one).sum()), generator=g)[:k] for one in y.unique()]
        ),
        "join the rows": lambda y, k, g: [
            random_members((y == one).nonzero()[:, 0], k, g) for one in y.unique()
        ],
        "these are booleans": lambda y, k, g: torch.rand(len(y), generator=g) < 0.5,
        "these are not numbers of rows": lambda y, k, g: -1 - torch.randperm(len(y), generator=g),
    },
    "clip_analysis.shots_worth": {
        "axis is logarithmic": lambda *a: worth(*a, axis=lambda x: x, back=lambda x: x),
        "that is the logarithm": lambda *a: worth(*a, back=lambda x: x),
        "the answer is math.inf": lambda s, a, z: worth(s, a, z, beyond=float(s[-1])),
        "smallest number of shots": lambda s, a, z: worth(s, a, z) if z > a[0] else 0.0,
        "kinds of logarithm": lambda *a: worth(*a, axis=math.log),
        "log10 by a power of 10": lambda *a: worth(*a, axis=math.log10),
        "accuracy is in logarithms": lambda s, a, z: worth(s, list(map(math.log, a)), math.log(z)),
        "neighbours are exchanged": lambda s, a, z: between(
            s, a, z, lambda k, m, share: k**share * m ** (1 - share)
        ),
        "half way between": lambda s, a, z: between(s, a, z, lambda k, m, share: (k + m) / 2),
        "wherever it lies": lambda s, a, z: between(s, a, z, lambda k, m, share: (k * m) ** 0.5),
        "taken as one doubling": lambda s, a, z: between(
            s, a, z, lambda k, m, share: 2 ** (math.log2(k) + share)
        ),
        "the share of the way is added": lambda s, a, z: between(
            s, a, z, lambda k, m, share: k + share
        ),
        "from the first to the last": lambda s, a, z: worth([s[0], s[-1]], [a[0], a[-1]], z),
        "rounded": lambda s, a, z: between(
            s, a, z, lambda k, m, share: float(round(k * (m / k) ** share))
        ),
        "next measured point": lambda s, a, z: next(
            (float(k) for k, v in zip(s, a) if v >= z), math.inf
        ),
        "last measured point": lambda s, a, z: float(
            max([k for k, v in zip(s, a) if v <= z], default=s[0])
        ),
        "found None": lambda s, a, z: None,
    },
    "clip_analysis.vit_flops": {
        "multiply-adds": lambda *a: flops(*a, mac=1),
        "class token is missing": lambda w, d, n, p: flops(w, d, n, p, tokens=n),
        "products inside attention are missing": lambda *a: flops(*a, products=0),
        "only one of attention's two": lambda *a: flops(*a, products=1),
        "one of the MLP's two": lambda *a: flops(*a, mlp=4),
        "MLP is missing": lambda *a: flops(*a, mlp=0),
        "output make four": lambda w, d, n, p: flops(w, d, n, p) - 2 * d * (n + 1) * w**2,
        "patch projection is missing": lambda w, d, n, p: flops(w, d, n, p) - 6 * n * p**2 * w,
        "3 colour channels": lambda w, d, n, p: flops(w, d, n, p) - 4 * n * p**2 * w,
        "one block is counted": lambda w, d, n, p: flops(w, 1, n, p),
        "projected from pixels": lambda w, d, n, p: flops(w, d, n, p) + 6 * p**2 * w,
        "process the class token, too": lambda w, d, n, p: flops(w, d, n, p, tokens=n, mac=1),
        "two operations, and the products": lambda *a: flops(*a, mac=1, products=0),
        "class token in the blocks, and": lambda w, d, n, p: flops(w, d, n, p, n, products=0),
        "D features": lambda w, d, n, p: flops(w, d, n, p, products=0) + 4 * d * (n + 1) * w,
        "T keys": lambda w, d, n, p: flops(w, d, n, p, products=0) + 4 * d * (n + 1) ** 2,
        "not of those along a side": lambda w, d, n, p: flops(w, d, n**2, p),
        "patch * patch": lambda w, d, n, p: flops(w, d, n, p) - 6 * n * w * (p**2 - p),
        "before the first block": lambda w, d, n, p: d * flops(w, 1, n, p),
        "D x 4D": lambda *a: flops(*a, mlp=16),
        "fewer than four": lambda w, d, n, p: flops(w, d, n, p) - 6 * d * (n + 1) * w**2,
        "expected an int": lambda *a: float(flops(*a)),
        "not the right value": lambda *a: flops(*a) + 1,
    },
    "clip_analysis.compute_factor": {
        "compute itself": factor,
        "last entry": lambda c, e, t: factor(c, e, t) / c[-1],
        "smallest compute": lambda c, e, t: factor(c, e, t) / min(c),
        "fitted to the raw values": lambda c, e, t: (
            factor(c, e, t, log=lambda x: x, exp=lambda x: x) / max(c)
        ),
        "logarithm of the answer": lambda c, e, t: math.log(factor(c, e, t) / max(c)),
        "only the error is in": lambda c, e, t: factor(c, e, t, as_is, as_is, torch.log) / max(c),
        "only compute is in": lambda c, e, t: factor(c, e, t, of_error=as_is) / max(c),
        "undo log10": lambda c, e, t: factor(c, e, t, log=torch.log10) / max(c),
        "and log by exp": lambda c, e, t: factor(c, e, t, exp=lambda x: 10**x) / max(c),
        "predicts compute from error": from_error,
        "two extreme points": lambda c, e, t: (
            factor([min(c), max(c)], [e[c.index(min(c))], e[c.index(max(c))]], t) / max(c)
        ),
        "first and the last point": lambda c, e, t: (
            factor([c[0], c[-1]], [e[0], e[-1]], t) / max(c)
        ),
        "through the means": lambda c, e, t: math.exp(
            math.log(t / min(e)) / np.polyfit(np.log(c), np.log(e), 1)[0]
        ),
        "upside down": lambda c, e, t: max(c) / factor(c, e, t),
    },
    "clip_analysis.alarm_rate": {
        "*not* an alarm": lambda i, c, a: 1 - rate(i, c, a),
        "number of alarms": lambda i, c, a: rate(i, c, a) * len(i),
        "alarm *classes*": lambda i, c, a: a.float().mean().item(),
        "*lowest* similarity": lambda i, c, a: a[(i @ c.T).argmin(1)].float().mean().item(),
        "*any* alarm class": lambda i, c, a: ((i @ c.T)[:, a] > 0).any(1).float().mean().item(),
        "nearest image of each class": lambda i, c, a: a[(i @ c.T).argmax(0)].float().mean().item(),
        "number of classes": lambda i, c, a: rate(i, c, a) * len(i) / len(c),
        "number of alarm classes": lambda i, c, a: rate(i, c, a) * len(i) / int(a.sum()),
        "multiply by 100": lambda i, c, a: 100 * rate(i, c, a),
        "second nearest": lambda i, c, a: a[(i @ c.T).topk(2).indices].any(1).float().mean().item(),
        "averaged over classes": lambda i, c, a: (
            ((i @ c.T)[:, a].mean(1) > (i @ c.T)[:, ~a].mean(1)).float().mean().item()
        ),
        "probabilities of the alarm": lambda i, c, a: (
            (i @ c.T).softmax(1)[:, a].sum(1).mean().item()
        ),
        "expected one number": lambda i, c, a: a[(i @ c.T).argmax(1)],
        "but it is a tensor": lambda i, c, a: torch.tensor(rate(i, c, a)),
    },
    "clip_analysis.best_class_to_add": {
        "*highest*": lambda *a: rates(*a).index(max(rates(*a))),
        "most similar to the images": lambda i, c, a, k: int((i @ k.T).mean(0).argmax()),
        "first candidate": lambda *a: 0,
        "last candidate": lambda i, c, a, k: len(k) - 1,
        "nearest to most images": lambda i, c, a, k: int(
            (i @ k.T > (i @ c.T).amax(1, keepdim=True)).sum(0).argmax()
        ),
        "some of them raised no alarm": lambda i, c, a, k: int(
            (i @ k.T).argmax(1).bincount().argmax()
        ),
        "no alarm: measure the rate": lambda i, c, a, k: int(
            (i @ torch.cat([c, k]).T).argmax(1).bincount(minlength=len(c) + 1)[len(c) :].argmax()
        ),
        "the first one is wanted": lambda *a: (
            len(rates(*a)) - 1 - rates(*a)[::-1].index(min(rates(*a)))
        ),
        "an int": lambda *a: torch.tensor(rates(*a)).argmin(),
        "not the one with the lowest": lambda i, c, a, k: 1,
        "found None": lambda *a: None,
        "found a list": rates,
    },
    "clip_analysis.gap_closed": {
        "is *left*": lambda m, r, s: gap(m, s) / gap(r, s),
        "exchanged": lambda m, r, s: 1 - gap(r, s) / gap(m, s),
        "difference of the gaps": lambda m, r, s: gap(r, s) - gap(m, s),
        "own accuracy in the source": lambda m, r, s: 1 - (r[s] - m[s] + gap(m, s)) / gap(r, s),
        "ratio of the accuracies": lambda m, r, s: (m[s] - gap(m, s)) / (r[s] - gap(r, s)),
        "sign is wrong": lambda m, r, s: gap(m, s) / gap(r, s) - 1,
        "upside down": lambda m, r, s: gap(r, s) / gap(m, s),
        "gap of one model": lambda m, r, s: gap(m, s),
        "divided by the model's gap": lambda m, r, s: (gap(r, s) - gap(m, s)) / gap(m, s),
        "ratio of the accuracies under": lambda m, r, s: (
            1 - (m[s] - gap(m, s)) / (r[s] - gap(r, s))
        ),
        "added up": lambda m, r, s: by_gap(lambda x: x[s] - sum(shifted(x, s)), m, r),
        "number of *all* styles": lambda m, r, s: by_gap(
            lambda x: x[s] - sum(shifted(x, s)) / len(x), m, r
        ),
        "worst style": lambda m, r, s: by_gap(lambda x: x[s] - min(shifted(x, s)), m, r),
        "best style": lambda m, r, s: by_gap(lambda x: x[s] - max(shifted(x, s)), m, r),
        "only one style": lambda m, r, s: by_gap(lambda x: x[s] - shifted(x, s)[0], m, r),
        "plain difference": lambda m, r, s: by_gap(lambda x: gap(x, s) / x[s], m, r),
        "style by style": lambda m, r, s: (
            1 - sum((m[s] - m[k]) / (r[s] - r[k]) for k in m if k != s) / (len(m) - 1)
        ),
        "absolute differences": lambda m, r, s: by_gap(
            lambda x: sum(abs(x[s] - one) for one in shifted(x, s)) / (len(x) - 1), m, r
        ),
        "gap below 0 is cut off": lambda m, r, s: 1 - max(gap(m, s), 0.0) / gap(r, s),
        "share below 0 is cut off": lambda m, r, s: max(1 - gap(m, s) / gap(r, s), 0.0),
        "multiply by 100": lambda m, r, s: 100 * (1 - gap(m, s) / gap(r, s)),
        "found None": lambda m, r, s: None,
    },
    "clip_analysis.keep_most_alike": {
        "*least* similar": lambda i, t, s: top(-cosine(i, t), s),
        "dot products": lambda i, t, s: top((i * t).sum(-1), s),
        "only one of the two": lambda i, t, s: top((normalize(i, dim=-1) * t).sum(-1), s),
        "(dim 0)": lambda i, t, s: top((normalize(i, dim=0) * normalize(t, dim=0)).sum(-1), s),
        "*all* texts": lambda i, t, s: top(
            (normalize(i, dim=-1) @ normalize(t, dim=-1).T).amax(1), s
        ),
        "used as a threshold": lambda i, t, s: cosine(i, t) > s,
        "first pairs are kept": lambda i, t, s: torch.arange(len(i)) < int(s * len(i)),
        "exchanged": lambda i, t, s: ~top(cosine(i, t), s),
        "not the numbers": lambda i, t, s: cosine(i, t).topk(int(s * len(i))).indices,
        "used as ranks": lambda i, t, s: cosine(i, t).argsort(descending=True) < int(s * len(i)),
        "compares distances": lambda i, t, s: top(-(i - t).norm(dim=-1), s),
        "a quantile": lambda i, t, s: cosine(i, t) >= cosine(i, t).quantile(1 - s),
        "pairs are kept; wanted": lambda i, t, s: torch.ones(len(i), dtype=torch.bool),
    },
    "clip_analysis.cap_captions": {
        "one pair more": lambda t, m: capped(t, m, lambda count, most: count <= most + 1),
        "one pair less": lambda t, m: capped(t, m, lambda count, most: count < most),
        "a single pair": lambda t, m: capped(t, 1),
        "dropped entirely": lambda t, m: torch.tensor([t.count(one) <= m for one in t]),
        "*last* ones": lambda t, m: capped(t[::-1], m).flip(0),
        "not for all pairs together": lambda t, m: torch.arange(len(t)) < m,
        "exchanged": lambda t, m: ~capped(t, m),
        "follow each other": lambda t, m: torch.tensor(
            [len(set(t[max(i - m, 0) : i + 1])) > 1 or i < m for i in range(len(t))]
        ),
        "one for each pair": lambda t, m: capped(t, m).tolist(),
    },
    "clip_analysis.overlap_report": {
        "compare with >=": lambda s, t, c: report(
            s,
            t,
            c,
            overlap=lambda o: (s.amax(1) > t).float().mean().item(),
            clean=lambda o: c[s.amax(1) <= t].float().mean().item(),
        ),
        "training items": lambda s, t, c: report(
            s, t, c, overlap=lambda o: (s.amax(0) >= t).float().mean().item()
        ),
        "over its training items": lambda s, t, c: report(s.T, t, c),
        "similar *pairs*": lambda s, t, c: report(
            s, t, c, overlap=lambda o: (s >= t).float().mean().item()
        ),
        "on the overlapping items": lambda s, t, c: report(
            s, t, c, clean=lambda o: c[o].float().mean().item()
        ),
        "divides by all items": lambda s, t, c: report(
            s, t, c, clean=lambda o: (c & ~o).float().mean().item()
        ),
        "leaves something out": lambda s, t, c: report(
            s, t, c, all=lambda o: c[~o].float().mean().item()
        ),
        "share of clean items": lambda s, t, c: report(
            s, t, c, clean=lambda o: (~o).float().mean().item()
        ),
        "leaves nothing out": lambda s, t, c: report(
            s, t, c, clean=lambda o: c.float().mean().item()
        ),
        "count as right": lambda s, t, c: report(
            s, t, c, clean=lambda o: (c | o).float().mean().item()
        ),
        "and 'clean' are exchanged": lambda s, t, c: report(
            s,
            t,
            c,
            all=lambda o: c[~o].float().mean().item(),
            clean=lambda o: c.float().mean().item(),
        ),
        "an accuracy is wanted": lambda s, t, c: report(s, t, c, all=lambda o: float(c.sum())),
        "classified correctly": lambda s, t, c: report(
            s, t, c, overlap=lambda o: (o & c).float().mean().item()
        ),
        "in percent": lambda s, t, c: report(
            s, t, c, overlap=lambda o: 100 * o.float().mean().item()
        ),
        "number of items": lambda s, t, c: report(s, t, c, overlap=lambda o: float(o.sum())),
        "*without* a similar": lambda s, t, c: report(
            s, t, c, overlap=lambda o: (~o).float().mean().item()
        ),
        "expected a dict": lambda s, t, c: list(report(s, t, c).values()),
    },
}


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


@pytest.mark.parametrize("id", WRONG)
def test_solutions_pass_and_there_are_five_mistakes_each(id):
    for _ in range(3):
        assert message(id, solution(id)) == ""
    assert len(WRONG[id]) >= 5


def test_numbers_of_numpy_are_numbers():
    def numpys(compute, error, target):
        slope, start = np.polyfit(np.log(compute), np.log(error), 1)
        return np.exp((np.log(target) - start) / slope) / max(compute)

    assert message("clip_analysis.compute_factor", numpys) == ""
    upside_down = message("clip_analysis.compute_factor", lambda *args: 1 / numpys(*args))
    assert "upside down" in upside_down


def test_a_tower_does_the_operations_that_the_formula_counts():
    model = recipes.clip.new_clip(recipes.clip.clip_config(Scale.of("smoke"))).eval()
    tower = model.config
    image = torch.zeros(1, 3, tower.image_size, tower.image_size)
    formula = flops(
        tower.vision_width,
        tower.vision_depth,
        (tower.image_size // tower.patch) ** 2,
        tower.patch,
    )
    assert count_flops(lambda: model.vision(image)) == formula - lab.skipped_flops(tower)


def test_a_probe_is_fitted_to_the_optimum_of_the_given_loss():
    torch.manual_seed(0)
    labels = torch.arange(60) % 3
    features = torch.eye(3)[labels] + 0.1 * torch.randn(60, 3)
    loss = lab.EXERCISES["probe_loss"].reference
    weight, bias = lab.fit_probe(loss, (features, labels), 3)
    assert lab.probe_accuracy((weight, bias), (features, labels)) == 1.0
    weight.requires_grad_(), bias.requires_grad_()
    value = loss(weight, bias, features, labels, 1e-3)
    assert all(g.abs().max() < 1e-3 for g in torch.autograd.grad(value, (weight, bias)))


def test_the_failure_lab_runs_one_healthy_and_three_broken_evaluations():
    model = recipes.clip.new_clip(recipes.clip.clip_config(Scale.of("smoke"))).eval()
    runs = lab.zero_shot_lab(model, 32)
    assert list(runs) == ["healthy", "A", "B", "C"]
    assert runs["C"]["share of the commonest answer"] == 1.0  # equal class vectors
    cosines = [runs[run]["mean cosine of the answer"] for run in ("healthy", "B")]
    assert cosines[0] == pytest.approx(cosines[1])  # only the order differs
    assert runs["A"] != runs["healthy"]


def test_verdicts_of_the_paper_table_follow_the_rule():
    higher, lower = spread([0.9, 0.91, 0.92]), spread([0.5, 0.52, 0.51])
    assert claims.Claim("a; b", "+1", higher, lower, "why").line()[-2:] == ["agrees", ""]
    assert claims.Claim("a; b", "+1", lower, higher, "why").line()[-2:] == ["disagrees", "why"]
    close = spread([0.89, 0.92, 0.91])
    assert claims.Claim("a; b", "+1", higher, close, "why").line()[-2] == "within noise"
    for second, found in ((close, "agrees"), (lower, "disagrees")):
        equal = claims.Claim(
            "a; b", "=", higher, second, "why", rule=evaluation.verdict_of_equality
        )
        assert equal.line()[-2] == found


def test_the_tables_show_what_was_measured():
    rows = evaluation.load_results("replicate_clip_studies")["rows"]
    large = evaluation.load_results("replicate_clip")["rows"][0]
    table = claims.paper_table(rows, large)
    for number in ("16 of 27", "+2.6 points", "32.3 %; 8.7 %", "3.2 % overlap"):
        assert number in table
    assert measured.short(evaluation.spread_over_seeds(rows, "shots", "zero-shot")) in table
    assert "counting" in measured.data_set_table(rows) and "untrained" in claims.control_table(rows)
    closed = shifts.gap_table(rows, lab.EXERCISES["gap_closed"].reference)
    assert "captions, varied" in closed and "| 0% |" in closed


def test_pictures_of_a_study_are_in_the_styles_they_should_be():
    plain = studies.study_pairs(things=(1, 1))
    grey = studies.study_pairs(things=(1, 1), styles=("grey",))
    images = grey.images(range(3))
    assert (images == images[..., :1]).all() and (plain.images(range(3)) != images).any()
    assert {word for scene in plain.scenes(range(200)) for word in scene.words} <= set(
        studies.NOUNS
    )


def test_a_pool_trains_on_its_rows_alone_and_shuffles_each_epoch():
    pool = studies.Pool(studies.study_pairs(), 32, rows=(3, 5, 8, 9))
    first, second = (pool.batch(range(start, start + 4))["text"] for start in (0, 4))
    wanted = sorted(pool.pairs.text(row) for row in pool.rows)
    assert sorted(first) == sorted(second) == wanted
    assert pool.batch([0])["pixel_values"].shape == (1, 3, 32, 32)


def test_the_planted_overlap_is_found():
    leak = lab.LeakyTest(Scale.of("laptop"), 128, 0.05)
    found = leak.similarity.amax(1) >= 0.995
    assert found[leak.planted].all() and found[~leak.planted].float().mean() < 0.1


def test_statements_of_the_lesson_about_the_measured_rows_hold():
    rows = evaluation.load_results("replicate_clip_studies")["rows"]
    one, four = (
        {
            who: shifts.kept(rows, f"{who}, {variety}", shifts.MIXED)
            for who in ("captions", "labels")
        }
        for variety in ("one style", "varied")
    )
    assert one["captions"] <= one["labels"]  # captions alone give no robustness
    assert all(four[who] > one[who] for who in one)  # variety does
    assert shifts.raised(rows, "sketch") == (6, 6)  # but not in each of its styles
    assert shifts.raised(rows, "noise") == shifts.raised(rows, "rotated") == (0, 6)
    assert 3 < shifts.raised(rows, "grey")[0] < 6
    for who in one:  # at a price
        original = [shifts.shift_scores(rows, f"{who}, {variety}", (shifts.ORIGINAL,)).mean
                    for variety in ("one style", "varied")]  # fmt: skip
        assert original[0] > original[1]
    assert all(shifts.shift_scores(rows, name, ("inverted",)).mean < 3 * measured.CHANCE
               for name in shifts.MODELS)  # fmt: skip
    noise = {name: evaluation.spread_over_seeds(rows, "noise", name, "zero-shot").mean
             for name in measured.NOISE}  # fmt: skip
    assert noise["all pairs"] < noise["filtered pairs"] < noise["no noise"]


def test_figures_of_scaling_show_each_seed_and_words_name_the_run_that_did_not_learn():
    rows = evaluation.load_results("replicate_clip_studies")["rows"]
    axes = scaling.scaling_figure(rows, "linear probe").axes[0]
    drawn = [sorted(line.get_ydata()) for line in axes.lines]
    for row in measured.rows_of(rows, "scaling"):
        for family in ("ViT", "ResNet"):
            found = [each["linear probe"] for name, each in row.items() if family in name]
            assert sorted(found) in drawn
    assert scaling.not_learned(rows, "linear probe") == ["seed 2 of the larger ResNet"]
    assert scaling.not_learned(rows, "linear probe", factor=0) == []


def test_what_an_untrained_tower_holds_is_what_the_lesson_says():
    rows = evaluation.load_results("replicate_clip_studies")["rows"]

    def probe(who, name):
        return evaluation.spread_over_seeds(rows, "data sets", name, f"probe on {who}").mean

    for name in ("place in the picture", "backgrounds"):
        assert probe("CLIP", name) - probe("untrained", name) < 0.05
    for name in ("counting", measured.NAMED):
        assert probe("CLIP", name) - probe("untrained", name) > 0.2
    assert probe("supervised", "backgrounds") < 0.2


def test_words_are_computed_from_the_rows():
    rows = evaluation.load_results("replicate_clip_studies")["rows"]
    for words in (
        measured.data_set_words(rows),
        scaling.scaling_words(rows),
        measured.class_list_words(rows),
        shifts.shift_words(rows),
        claims.remarks(rows),
    ):
        assert len(words) > 80 and "nan" not in words
    held_out = evaluation.spread_over_seeds(rows, "noise", "no noise", "loss, held out")
    assert measured.short(held_out) in measured.noise_table(rows)


def test_figures_show_what_random_answers_give_and_the_spread_of_zero_shot():
    rows = evaluation.load_results("replicate_clip_studies")["rows"]
    listed = [word for word in studies.NOUNS if word in lab.words_of("animal")]
    others = [word for word in studies.NOUNS if word not in lab.words_of("animal", "clothing")]
    count = len(listed) + len(others[::3])
    assert measured.alarm_share(0) == len(listed) / count
    assert measured.alarm_share(5) == len(listed) / (count + 5)
    seeds = measured.shots_by_seed(rows, "CLIP")
    zero_shot = spread([level for level, _ in seeds])
    curve = measured.shots_curve(rows, "CLIP")
    assert all(spread([found[k] for _, found in seeds]) == curve[k] for k in curve)
    (band,) = measured.shots_figure(rows).axes[0].patches
    assert band.get_y() == pytest.approx(zero_shot.mean - zero_shot.std)
    assert band.get_height() == pytest.approx(2 * zero_shot.std)


def test_a_training_is_reported_in_one_line(monkeypatch):
    shown = []
    handle = type("Handle", (), {"update": lambda self, text: shown.append(text.data)})()
    monkeypatch.setattr(lab, "display", lambda text, **_: shown.append(text.data) or handle)
    report = lab.Progress("run", seconds=0)
    for number in (1, 2):
        report(Step(number, 2, {"clip": 3.0}, 1e-3, 1.0, 0.0, 4.0))
    assert shown == [
        "run: step 1 of 2, loss 3.00, about 4 s left",
        "run: step 2 of 2, loss 3.00, done",
    ]
