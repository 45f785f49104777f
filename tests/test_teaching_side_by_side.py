"""Lesson 13's exercises: the folded solutions pass, and each plausible mistake is named; its systems, figures and failure lab."""

import random

import pytest
import torch
from exercise_answers import each, message, solution, taught
from torch import nn

from teaching import exercises, side_by_side_reference
from teaching import side_by_side as lab
from teaching import side_by_side_figures as figures
from teaching import side_by_side_measures as measures
from teaching import side_by_side_systems as systems
from teaching import side_by_side_tables as tables
from teaching.side_by_side import EXERCISES
from vlmcourse.training.scale import Scale
from vlmcourse.world import corruptions

SMOKE = Scale.of("smoke")
IDS = [f"side_by_side.{name}" for name in EXERCISES]
HIGHER, LOWER, OPEN = "higher", "lower", "no difference shown"


def names_of(systems):
    return list(dict.fromkeys(name for system in systems.values() for name in system))


def differ(systems, test, names=None):
    values = {name: [s.get(name) for s in systems.values()] for name in names or names_of(systems)}
    return [name for name in values if test(values[name])]


def unequal(values):
    return any(value != values[0] for value in values)


DIFFERING = {
    "settings that are equal": lambda s: differ(s, lambda v: not unequal(v)),
    "lacks counts as different": lambda s: differ(
        s, lambda v: len({value for value in v if value is not None}) > 1
    ),
    "the first system lacks is not": lambda s: differ(s, unequal, list(next(iter(s.values())))),
    "only a middle system": lambda s: differ(s, lambda v: v[0] != v[-1]),
    "only the last system": lambda s: differ(s, lambda v: v[0] != v[1]),
    "differ from each other": lambda s: differ(s, lambda v: len(set(v)) == len(v)),
    "that all systems have": lambda s: differ(s, lambda v: None not in v and unequal(v)),
    "the names are sorted": lambda s: sorted(differ(s, unequal)),
    "the names are right": lambda s: differ(s, unequal)[::-1],
    "a set has no order": lambda s: set(differ(s, unequal)),
    "all settings are listed": names_of,
    "found None": lambda s: None,
    "once for each system": lambda s: [
        n for system in s.values() for n in system if n in differ(s, unequal)
    ],
    "only settings that some system lacks": lambda s: differ(s, lambda v: None in v),
    "names of the last system": lambda s: differ(s, unequal, list([*s.values()][-1])),
}


def ridge(f, t, penalty, free=True, make=None, last=True):
    ones = torch.ones(len(f), 1)
    X = torch.cat([f, ones] if last else [ones, f], 1)
    matrix = make(X) if make else penalty * torch.eye(X.shape[1])
    if free:
        matrix[-1 if last else 0, -1 if last else 0] = 0
    return torch.linalg.inv(X.T @ X + matrix) @ X.T @ t


RIDGE = {
    "the bias is penalised": lambda f, t, p: ridge(f, t, p, free=False),
    "the penalty is missing": lambda f, t, p: ridge(f, t, 0.0),
    "column of ones is missing": lambda f, t, p: (
        torch.linalg.inv(f.T @ f + p * torch.eye(f.shape[1])) @ f.T @ t
    ),
    "the bias is the first row": lambda f, t, p: ridge(f, t, p, last=False),
    "number of pictures": lambda f, t, p: ridge(
        f, t, p, make=lambda X: len(X) * p * torch.eye(X.shape[1])
    ),
    "the penalty is squared": lambda f, t, p: ridge(f, t, p**2),
    "belongs on the diagonal": lambda f, t, p: ridge(
        f, t, p, free=False, make=lambda X: p * torch.ones(X.shape[1], X.shape[1])
    ),
    "the result is transposed": lambda f, t, p: ridge(f, t, p).T,
    "the targets that the map predicts": lambda f, t, p: (
        f @ ridge(f, t, p)[:-1] + ridge(f, t, p)[-1]
    ),
    "multiplied by the inverse": lambda f, t, p: torch.cat([f, torch.ones(len(f), 1)], 1).T @ t,
    "found None": lambda f, t, p: None,
    "divided by the number of pictures": lambda f, t, p: ridge(f, t, p / len(f)),
    "the penalty is doubled": lambda f, t, p: ridge(f, t, 2 * p),
    "is subtracted": lambda f, t, p: ridge(f, t, -p),
    "so its last one is": lambda f, t, p: ridge(
        f,
        t,
        p,
        free=False,
        make=lambda X: p * torch.diag(torch.tensor([0.0] + [1.0] * (X.shape[1] - 1))),
    ),
    "what the features' mean gives": lambda f, t, p: torch.cat(
        [ridge(f - f.mean(0), t, p)[:-1], t.mean(0)[None]]
    ),
}


def written(hidden=None, act=torch.tanh, bias=True, end=None, keep="buffer", layers=2, cut=False,
            alone=True, first=None):  # fmt: skip
    class Written(nn.Module):
        def __init__(self, width, start, size):
            super().__init__()
            n, D = start.shape
            middle = hidden(width, n, D) if hidden else n * D // 2
            sizes = [(width, middle), (middle, n * D)] if layers == 2 else [(width, n * D)]
            self.layers = nn.ModuleList(nn.Linear(*pair, bias=bias) for pair in sizes)
            self.size = size
            if keep == "parameter":
                self.start = nn.Parameter(start.clone())
            elif keep == "attribute":
                self.start = start
            else:
                self.register_buffer("start", start)

        def forward(self, features):
            x = features[:, 0] if alone else features.squeeze()
            x = self.layers[0](first(x) if first else x)
            x = self.layers[1](act(x)) if layers == 2 else x
            x = x.detach() if cut else x
            join = end or (lambda start, size, x: start + size * x.reshape(len(x), *start.shape))
            return join(self.start, self.size, x)

    return Written


PREFIX = {
    "the activation is missing": written(act=lambda x: x),
    "is a ReLU": written(act=torch.relu),
    "is a GELU": written(act=nn.functional.gelu),
    "there is one linear layer": written(layers=1),
    "half as many": written(hidden=lambda C, n, D: n * D),
    "is D wide": written(hidden=lambda C, n, D: D),
    "as wide as the features": written(hidden=lambda C, n, D: C),
    "has no bias": written(bias=False),
    "is not added": written(end=lambda s, size, x: size * x.reshape(len(x), *s.shape)),
    "is not used": written(end=lambda s, size, x: s + x.reshape(len(x), *s.shape)),
    "multiplies `start`": written(end=lambda s, size, x: size * (s + x.reshape(len(x), *s.shape))),
    "also stands at the end": written(
        end=lambda s, size, x: s + size * x.tanh().reshape(len(x), *s.shape)
    ),
    "`start` is trained": written(keep="parameter"),
    "nothing gets a gradient": written(cut=True),
    "in the wrong order": written(
        end=lambda s, size, x: s + size * x.reshape(len(x), *s.T.shape).transpose(1, 2)
    ),
    "register it as a buffer": written(keep="attribute"),
    "sign of what is added": written(end=lambda s, size, x: s - size * x.reshape(len(x), *s.shape)),
    "is a sigmoid": written(act=torch.sigmoid),
    "divides what is added": written(end=lambda s, size, x: s + x.reshape(len(x), *s.shape) / size),
    "batch of one picture": written(alone=False),
    "applied to the features": written(first=torch.tanh, act=lambda x: x),
}


def judge(first, second, factor=2.0, sd=None, pool=None, signs=True, gap=True, swap=False):
    if len(first) < 2:
        return OPEN
    sd = sd or (lambda v: torch.tensor(v, dtype=torch.double).std().item())
    pool = pool or (lambda a, b: ((a * a + b * b) / 2) ** 0.5)
    gaps = [a - b for a, b in zip(first, second)]
    mean = sum(gaps) / len(gaps)
    if gap and abs(mean) <= factor * pool(sd(first), sd(second)):
        return OPEN
    if signs and min(gaps) * max(gaps) <= 0:
        return OPEN
    return HIGHER if (mean > 0) != swap else LOWER


def population(values):
    return torch.tensor(values, dtype=torch.double).std(unbiased=False).item()


def every_gap(first, second):
    if len(first) < 2:
        return OPEN
    variances = torch.tensor([first, second]).double().var(1)
    most = 2 * variances.mean().sqrt().item()
    gaps = [a - b for a, b in zip(first, second)]
    return HIGHER if min(gaps) > most else LOWER if max(gaps) < -most else OPEN


COMPARE = {
    "are exchanged": lambda a, b: judge(a, b, swap=True),
    "signs of the gaps are not looked at": lambda a, b: judge(a, b, signs=False),
    "not compared with the spread": lambda a, b: judge(a, b, gap=False),
    "one pooled standard deviation": lambda a, b: judge(a, b, 1.0),
    "a population's": lambda a, b: judge(a, b, sd=population),
    "are added, not pooled": lambda a, b: judge(a, b, pool=lambda x, y: x + y),
    "but not halved": lambda a, b: judge(a, b, pool=lambda x, y: (x * x + y * y) ** 0.5),
    "the root is missing": lambda a, b: judge(a, b, pool=lambda x, y: (x * x + y * y) / 2),
    "that of the first alone": lambda a, b: judge(a, b, pool=lambda x, y: x),
    "that of the second alone": lambda a, b: judge(a, b, pool=lambda x, y: y),
    "has two directions": lambda a, b: judge(a, b).replace(LOWER, OPEN),
    "it always says the same": lambda a, b: OPEN,
    "with one seed": lambda a, b: judge(a, b) if len(a) > 1 else HIGHER if a > b else LOWER,
    "found None": lambda a, b: None,
    "compare seed with seed": lambda a, b: (
        judge(a, b, signs=False) if min(a) > max(b) or max(a) < min(b) else OPEN
    ),
    "three pooled standard deviations": lambda a, b: judge(a, b, 3.0),
    "are averaged": lambda a, b: judge(a, b, pool=lambda x, y: (x + y) / 2),
    "root of the number of seeds": lambda a, b: judge(a, b, 2 / max(1, len(a)) ** 0.5),
    "the sum of the gaps": lambda a, b: judge(a, b, 2 / max(1, len(a))),
    "every single gap": every_gap,
    "where not every seed is lower": lambda a, b: (
        LOWER if judge(a, b, signs=False) != OPEN and judge(a, b) != HIGHER else judge(a, b)
    ),
}


def mean_of(values):
    return sum(values) / len(values)


def lead(scores, compare, best=mean_of, keep=None):
    top = max(scores, key=lambda name: best(scores[name]))
    keep = keep or (lambda name, top: compare(scores[top], scores[name]) != HIGHER)
    return [name for name in scores if keep(name, top)]


LEADERS = {
    "only the system with the highest mean": lambda s, c: [max(s, key=lambda n: mean_of(s[n]))],
    "itself is missing": lambda s, c: lead(
        s, c, keep=lambda n, top: n != top and c(s[top], s[n]) != HIGHER
    ),
    "all systems are named": lambda s, c: list(s),
    "systems that are lower": lambda s, c: lead(
        s, c, keep=lambda n, top: c(s[top], s[n]) == HIGHER
    ),
    "highest single score": lambda s, c: lead(s, c, best=max),
    "by its first seed": lambda s, c: lead(s, c, best=lambda v: v[0]),
    "isn't used": lambda s, c: lead(
        s, c, keep=lambda n, top: mean_of(s[n]) > mean_of(s[top]) - 0.1
    ),
    "sorted by score": lambda s, c: sorted(lead(s, c), key=lambda n: -mean_of(s[n])),
    "by its last seed": lambda s, c: lead(s, c, best=lambda v: v[-1]),
    "highest median": lambda s, c: lead(s, c, best=lambda v: sorted(v)[len(v) // 2]),
    "another system than the one": lambda s, c: [
        n for n in s if all(c(s[one], s[n]) != HIGHER for one in s)
    ],
    "stands before the others": lambda s, c: sorted(
        lead(s, c), key=lambda n: n != max(s, key=lambda m: mean_of(s[m]))
    ),
}


def share(s, full, none, margin, formula=None, skip=None, small=False):
    gain = s[full] - s[none]
    if gain <= margin and not small:
        return None
    formula = formula or (lambda x: (x - s[none]) / gain)
    return {
        n: formula(x) for n, x in s.items() if n not in ((full, none) if skip is None else skip)
    }


SHARE = {
    "share that is lost": lambda s, f, n, m: share(
        s, f, n, m, lambda x: (s[f] - x) / (s[f] - s[n])
    ),
    "divided by the full one": lambda s, f, n, m: share(s, f, n, m, lambda x: x / s[f]),
    "first subtract": lambda s, f, n, m: share(s, f, n, m, lambda x: x / (s[f] - s[n])),
    "these are gains": lambda s, f, n, m: share(s, f, n, m, lambda x: x - s[n]),
    "not by the full gain": lambda s, f, n, m: share(s, f, n, m, lambda x: (x - s[n]) / s[f]),
    "was cut off": lambda s, f, n, m: share(
        s, f, n, m, lambda x: max(0.0, (x - s[n]) / (s[f] - s[n]))
    ),
    "leave them out": lambda s, f, n, m: share(s, f, n, m, skip=()),
    "None is for a gain": lambda *a: None,
    "the signs are exchanged": lambda s, f, n, m: share(
        s, f, n, m, lambda x: (x - s[n]) / (s[n] - s[f])
    ),
    "says nothing, so return None": lambda *a: share(*a, small=True),
    "above 1 was cut off": lambda s, f, n, m: share(
        s, f, n, m, lambda x: min(1.0, (x - s[n]) / (s[f] - s[n]))
    ),
    "cut off at 0 and 1": lambda s, f, n, m: share(
        s, f, n, m, lambda x: max(0.0, min(1.0, (x - s[n]) / (s[f] - s[n])))
    ),
    "how far each score": lambda s, f, n, m: share(
        s, f, n, m, lambda x: (x - s[f]) / (s[f] - s[n])
    ),
    "by the score without examples": lambda s, f, n, m: share(
        s, f, n, m, lambda x: (x - s[n]) / s[n]
    ),
    "by the one without examples": lambda s, f, n, m: share(s, f, n, m, lambda x: x / s[n]),
    "that equals the margin": lambda s, f, n, m: share(s, f, n, m, small=abs(s[f] - s[n]) >= m),
    "not an empty dict": lambda *a: share(*a) or {},
    "not shares of 0": lambda s, f, n, m: (
        share(s, f, n, m) or {name: 0.0 for name in s if name not in (f, n)}
    ),
    "KeyError": lambda s, f, n, m: share(s, "as they are", "no examples", m),
}


def invent(captions, present, nouns, named=None, first=None, second=None):
    named = named or (lambda text: [word for word in text.split() if word in nouns])
    words = [named(text) for text in captions]
    wrong = [[word for word in one if word not in there] for one, there in zip(words, present)]
    first = first or (lambda w, b: sum(map(len, b)) / max(1, sum(map(len, w))))
    second = second or (lambda w, b: sum(map(bool, b)) / len(b))
    return first(words, wrong), second(words, wrong)


CHAIR = {
    "are exchanged": lambda *a: invent(*a)[::-1],
    "shares of what is right": lambda c, p, n: invent(c, [set(n) - set(there) for there in p], n),
    "said twice counts twice": lambda c, p, n: invent(
        c, p, n, lambda t: {w for w in t.split() if w in n}
    ),
    "inside a longer word": lambda c, p, n: invent(c, p, n, lambda t: [w for w in n if w in t]),
    "all words of the captions": lambda c, p, n: invent(c, p, n, str.split),
    "a mean over captions": lambda *a: invent(
        *a, first=lambda w, b: mean_of([len(y) / max(1, len(x)) for x, y in zip(w, b)])
    ),
    "captions that name something": lambda *a: invent(
        *a, second=lambda w, b: sum(map(bool, b)) / max(1, sum(map(bool, w)))
    ),
    "counts invented nouns": lambda *a: invent(*a, second=lambda w, b: sum(map(len, b)) / len(b)),
    "divided by the number of captions": lambda *a: invent(
        *a, first=lambda w, b: sum(map(len, b)) / len(b)
    ),
    "these are counts": lambda *a: invent(
        *a, first=lambda w, b: sum(map(len, b)), second=lambda w, b: sum(map(bool, b))
    ),
    "ZeroDivisionError": lambda *a: invent(
        *a, first=lambda w, b: sum(map(len, b)) / sum(map(len, w))
    ),
    "inside a longer noun": lambda c, p, n: invent(c, [" ".join(there) for there in p], n),
    "captions that name something, right": lambda *a: invent(
        *a, second=lambda w, b: sum(map(bool, w)) / len(w)
    ),
    "that name nothing right": lambda *a: invent(
        *a, second=lambda w, b: sum(bool(y) and y == x for x, y in zip(w, b)) / len(b)
    ),
    "divided by what is there": lambda c, p, n: invent(
        c, p, n, first=lambda w, b: sum(map(len, b)) / sum(map(len, p))
    ),
    "on all pictures": lambda c, p, n: invent(c, [sum(p, [])] * len(p), n),
}


def absent(shown, present, k, adversarial, weight=None, key=None, among=None, end=list):
    weight = weight or (lambda here: sum(w in here for w in present) if adversarial else 1)
    nouns = {word for here in shown for word in here}
    counts = {word: sum(weight(here) for here in shown if word in here) for word in nouns}
    among = nouns if among == "all" else nouns - set(present)
    found = sorted(among, key=lambda word: key(counts, word) if key else (-counts[word], word))[:k]
    return end([counts[word] for word in found] if end is sum else found)


ABSENT = {
    "that are on the picture": lambda *a: absent(*a, among="all"),
    "least frequent": lambda *a: absent(*a, key=lambda c, w: (c[w], w)),
    "the alphabet decides": lambda *a: absent(
        *a, key=lambda c, w: (-c[w], [-ord(letter) for letter in w])
    ),
    "in the wrong order": lambda *a: absent(*a)[::-1],
    "count them": lambda *a: absent(*a, key=lambda c, w: w),
    "these are the popular ones": lambda s, p, k, adv: absent(s, p, k, False),
    "these are the adversarial ones": lambda s, p, k, adv: absent(s, p, k, True),
    "once for each": lambda s, p, k, adv: absent(
        s, p, k, adv, (lambda here: any(w in here for w in p)) if adv else None
    ),
    "one is enough": lambda s, p, k, adv: absent(
        s, p, k, adv, (lambda here: all(w in here for w in p)) if adv else None
    ),
    "only the first of the present": lambda s, p, k, adv: absent(
        s, p, k, adv, (lambda here: p[0] in here) if adv else None
    ),
    "without the present nouns": lambda s, p, k, adv: absent(
        s, p, k, adv, None if adv else (lambda here: not any(w in here for w in p))
    ),
    "found None": lambda *a: None,
    "then take k": lambda s, p, k, adv: [
        w for w in absent(s, p, k, adv, among="all") if w not in p
    ],
    "the first k are wanted": lambda s, p, k, adv: absent(s, p, 99, adv),
    "how often the noun is shown": lambda s, p, k, adv: absent(
        s, p, k, adv, key=lambda c, w: (-c[w] / (sum(w in h for h in s) if adv else 1), w)
    ),
    "only the best companion": lambda s, p, k, adv: absent(
        s,
        p,
        k,
        adv,
        key=lambda c, w: (
            -max(sum(w in h and q in h for h in s) for q in p) if adv else -c[w],
            w,
        ),
    ),
}


RAISED = {
    "the mean of the logarithms": lambda x: x > x.mean(0),
    "with the other nouns": lambda x: x > x.mean(1, keepdim=True),
    "a blind choice": lambda x: x > torch.tensor(1 / x.shape[1]).log(),
    "added but not divided": lambda x: x > x.exp().sum(0).log(),
    "turned round": lambda x: x < x.exp().mean(0).log(),
    "divided by the number of nouns": lambda x: x.exp() > x.exp().sum(0) / x.shape[1],
    "only the likeliest noun": lambda x: x == x.max(1, keepdim=True).values,
    "median": lambda x: x > x.median(0).values,
    "not booleans": lambda x: x - x.exp().mean(0).log(),
    "found None": lambda x: None,
    "with 1 / N": lambda x: x > torch.tensor(1 / len(x)).log(),
    "one mean for all nouns": lambda x: x > x.exp().mean().log(),
    "highest value of each noun": lambda x: x == x.max(0).values,
    "made to add up to 1": lambda x: x.softmax(1) > x.softmax(1).mean(0),
    "stay in logarithms": lambda x: x.exp() > x.exp().mean(0),
}


def pope(said, answers, positive="yes", safe=True, **changes):
    hits = sum(a == b == positive for a, b in zip(said, answers))
    claimed, true = said.count(positive), answers.count(positive)
    precision = hits / claimed if claimed or not safe else 0.0
    recall = hits / true
    f1 = 2 * precision * recall / (precision + recall) if precision + recall or not safe else 0.0
    made = {
        "accuracy": sum(a == b for a, b in zip(said, answers)) / len(said),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "yes": said.count("yes") / len(said),
    }
    return made | {name: change(made, hits) for name, change in changes.items()}


POPE = {
    "found None": lambda *given: None,
    "found keys ['accuracy']": lambda *given: {"accuracy": 0.5},
    "division by zero": lambda *given: pope(*given, safe=False),
    "precision and recall are exchanged": lambda *given: pope(
        *given, precision=lambda m, h: m["recall"], recall=lambda m, h: m["precision"]
    ),
    "'no' is taken for the positive class": lambda *given: pope(*given, positive="no"),
    "share of questions whose right answer": lambda said, answers: pope(
        said, answers, yes=lambda m, h: answers.count("yes") / len(answers)
    ),
    "recall is divided by the number of all": lambda said, answers: pope(
        said, answers, recall=lambda m, h: h / len(said)
    ),
    "counts only right yeses": lambda said, answers: pope(
        said, answers, accuracy=lambda m, h: h / len(said)
    ),
    "the plain mean": lambda *given: pope(
        *given, f1=lambda m, h: (m["precision"] + m["recall"]) / 2
    ),
    "`yes` is a count": lambda said, answers: pope(
        said, answers, yes=lambda m, h: said.count("yes")
    ),
    "accuracy should be": lambda *given: pope(*given, accuracy=lambda m, h: 0.123),
    "F1 is half": lambda *given: pope(*given, f1=lambda m, h: m["f1"] / 2),
    "the geometric mean": lambda *given: pope(
        *given, f1=lambda m, h: (m["precision"] * m["recall"]) ** 0.5
    ),
    "recall asks for yes": lambda said, answers: pope(
        said,
        answers,
        recall=lambda m, h: (
            sum(a == b == "no" for a, b in zip(said, answers)) / answers.count("no")
        ),
    ),
    "the share of no": lambda *given: pope(*given, yes=lambda m, h: 1 - m["yes"]),
    "counts only right yeses; all": lambda said, answers: pope(
        said, answers, yes=lambda m, h: h / len(said)
    ),
    "share of wrong answers": lambda *given: pope(*given, accuracy=lambda m, h: 1 - m["accuracy"]),
    "accuracy is a count": lambda said, answers: pope(
        said, answers, accuracy=lambda m, h: m["accuracy"] * len(said)
    ),
    "per cent": lambda *given: {name: 100 * value for name, value in pope(*given).items()},
    "claims nothing: its precision is 0": lambda said, answers: pope(
        said, answers, precision=lambda m, h: m["precision"] if "yes" in said else 1.0
    ),
}


def cover(score, picture, side, change=None, keep=False, value=None, order=None):
    whole, view = score(picture[None])[0], picture.clone()
    change = change or (lambda view, r, c: view[:, r, c].zero_())
    drops = torch.zeros(picture.shape[1] // side, picture.shape[2] // side)
    for r in range(drops.shape[0]):
        for c in range(drops.shape[1]):
            view = view if keep else picture.clone()
            change(view, slice(r * side, r * side + side), slice(c * side, c * side + side))
            drops[r, c] = (value or (lambda a, b: a - b))(whole, score(view[None])[0])
    return order(drops) if order else drops


def cover_itself(score, picture, side):
    drops = cover(score, picture, side, keep=True)
    picture.zero_()
    return drops


OCCLUSION = {
    "picture was changed": cover_itself,
    "the sign is turned round": lambda *a: cover(*a, value=lambda whole, part: part - whole),
    "scores of the covered pictures": lambda *a: cover(*a, value=lambda whole, part: part),
    "squares stay covered": lambda *a: cover(*a, keep=True),
    "is transposed": lambda *a: cover(*a, order=lambda drops: drops.T),
    "white (1)": lambda *a: cover(*a, change=lambda v, r, c: v[:, r, c].fill_(1)),
    "black (-1)": lambda *a: cover(*a, change=lambda v, r, c: v[:, r, c].fill_(-1)),
    "only the first colour": lambda *a: cover(*a, change=lambda v, r, c: v[0, r, c].zero_()),
    "below 0 were cut off": lambda *a: cover(*a, order=lambda drops: drops.clamp(min=0)),
    "sizes of drops": lambda *a: cover(*a, order=torch.abs),
    "found None": lambda *a: None,
    "the value 0.5": lambda *a: cover(*a, change=lambda v, r, c: v[:, r, c].fill_(0.5)),
    "divided by the largest": lambda *a: cover(*a, order=lambda drops: drops / drops.max()),
    "count pixels, not squares": lambda *a: cover(
        *a,
        change=lambda v, r, c: v[
            :,
            r.start // a[2] : r.start // a[2] + a[2],
            c.start // a[2] : c.start // a[2] + a[2],
        ].zero_(),
    ),
    "a single pixel": lambda *a: cover(*a, change=lambda v, r, c: v[:, r.start, c.start].zero_()),
}


def answered(examples, options, rng, draw=None, place=-2, pictures=None):
    draw = draw or (lambda answer: rng.choice([one for one in options if one != answer]))
    pictures = pictures or [picture for picture, _ in examples]
    changed = []
    for picture, (_, sentence) in zip(pictures, examples):
        words = sentence.split()
        words[place] = draw(words[-2])
        changed.append((picture, " ".join(words)))
    return changed


def renamed(examples, options, rng):
    moved = rng.choice(range(1, len(options)))
    new = {one: options[(place + moved) % len(options)] for place, one in enumerate(options)}
    return answered(examples, options, rng, new.get)


def in_place(examples, options, rng):
    examples[:] = answered(examples, options, rng)
    return examples


WRONG_ANSWERS = {
    "a pair (picture, sentence)": lambda e, o, rng: [text for _, text in answered(e, o, rng)],
    "were changed: make new ones": in_place,
    "pictures changed their places": lambda e, o, rng: answered(
        e, o, rng, pictures=[picture for picture, _ in e][::-1]
    ),
    "other words changed": lambda e, o, rng: answered(e, o, rng, place=0),
    "none of the options": lambda e, o, rng: answered(e, o, rng, lambda answer: "wrong"),
    "still has its right answer": lambda e, o, rng: answered(
        e, o, rng, lambda answer: rng.choice(o)
    ),
    "draw with `rng`": lambda e, o, rng: answered(
        e, o, rng, lambda answer: random.choice([one for one in o if one != answer])
    ),
    "only renames": renamed,
    "are never drawn": lambda e, o, rng: answered(
        e, o, rng, lambda answer: rng.choice([one for one in o if one != answer][:2])
    ),
    "found None": lambda e, o, rng: None,
    "even where the same word stands": lambda e, o, rng: [
        (picture, text.replace(text.split()[-2], other))
        for picture, text in e
        for other in [rng.choice([one for one in o if one != text.split()[-2]])]
    ],
}

WRONG = {
    "side_by_side.differing": DIFFERING,
    "side_by_side.ridge_map": RIDGE,
    "side_by_side.MappedPrefix": PREFIX,
    "side_by_side.compare": COMPARE,
    "side_by_side.leaders": LEADERS,
    "side_by_side.kept_share": SHARE,
    "side_by_side.chair": CHAIR,
    "side_by_side.absent_nouns": ABSENT,
    "side_by_side.raised": RAISED,
    "side_by_side.pope_scores": POPE,
    "side_by_side.occlusion": OCCLUSION,
    "side_by_side.wrong_answers": WRONG_ANSWERS,
}


@pytest.mark.parametrize("id", IDS)
def test_the_reference_passes_and_is_what_later_cells_use(id):
    assert message(id, exercises.exercise(id).reference) == ""


@pytest.mark.parametrize("id", IDS)
def test_folded_solution_passes_and_the_stub_is_answered_politely(id):
    stub, _ = taught()[id]
    assert message(id, solution(id)) == ""
    assert message(id, stub).startswith("not begun yet")


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    said = message(id, answer)
    assert words in said, said


def test_each_exercise_has_five_wrong_answers():
    assert set(WRONG) == set(IDS)
    assert all(len(answers) >= 5 for answers in WRONG.values())


# What the lesson runs.


@pytest.fixture(scope="module")
def ends():
    return systems.Ends(SMOKE)


def test_training_pictures_have_habits_and_held_out_ones_have_not():
    words = measures.training_words(1500)
    two = [one for one in words if len(one) == 2]
    beside = [systems.companion(a) == b or systems.companion(b) == a for a, b in two]
    assert sum(beside) / len(two) > 0.5
    popular = sum(bool(set(one) & set(systems.POPULAR)) for one in words) / len(words)
    assert popular > 1 / 3
    held = [scene.words for scene in measures.scenes(300, (2, 2))]
    assert sum(systems.companion(a) == b or systems.companion(b) == a for a, b in held) < 60
    pairs = {frozenset(one) for one in two}
    assert not pairs & {frozenset(one) for one in held}
    text = systems.Habits().text(0)
    assert text.startswith("a picture of a") and text.endswith(" .")


def test_a_bridge_trains_itself_alone(ends):
    model = systems.new_bridge(ends, side_by_side_reference.MappedPrefix)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    history = []
    systems.train(model, ends, history.append)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}  # fmt: skip
    assert moved == {f"bridge.{name}.{part}" for name in ("first", "second") for part in ("weight", "bias")}  # fmt: skip
    assert len(history) == systems.BUDGETS["smoke"].steps


def test_the_closed_form_map_writes_what_it_finds(ends):
    features, targets = systems.words_to_find(ends, 20)
    found = side_by_side_reference.ridge_map(features, targets, 1e-6)
    bridge = systems.solved_bridge(ends, found).bridge
    assert torch.allclose(bridge(features[:, None])[:, 0], features @ found[:-1] + found[-1])


def test_nouns_probabilities_are_the_captions(ends):
    model = systems.new_bridge(ends, side_by_side_reference.MappedPrefix)
    system = systems.prompted("untrained", model, ends)
    shown = measures.scenes(3, (1, 2))
    together = measures.noun_log_probs(system, shown)
    alone = torch.cat([measures.noun_log_probs(system, [scene]) for scene in shown])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert (together.exp().sum(1) < 1).all() and together.shape == (3, len(systems.NOUNS))


def test_absent_nouns_are_absent_and_adversarial_ones_are_companions():
    shown = measures.scenes(60, (1, 2))
    for sampler in measures.SAMPLERS:
        asked = measures.asked_nouns(shown, sampler)
        assert all(a in scene.words and b not in scene.words for scene, (a, b) in zip(shown, asked))
    beside = [
        any(b == systems.companion(word) or systems.companion(b) == word for word in scene.words)
        for scene, (_, b) in zip(shown, measures.asked_nouns(shown, "adversarial"))
    ]
    assert sum(beside) > 50


def test_prompts_are_spoiled_in_one_way_each():
    (episode,) = measures.binding(1, 4)
    spoiled = measures.spoiled([episode], side_by_side_reference.wrong_answers)
    whole = spoiled["as they are"][0].prompt
    wrong = spoiled["wrong answers"][0].prompt
    assert wrong[::2] == whole[::2] and wrong[-1] == whole[-1]
    assert all(a != b for a, b in zip(wrong[1:-2:2], whole[1:-2:2]))
    assert spoiled["no examples"][0].prompt == whole[-2:]
    assert set(spoiled["examples' pictures grey"][0].prompt[:-2:2]) == {corruptions.BLANK}
    assert spoiled["the question's picture grey"][0].prompt[-2] == corruptions.BLANK


def test_the_healthy_system_is_best_and_each_fault_leaves_its_trace():
    def accuracy(id, sampler, grey=False):
        return side_by_side_reference.pope_scores(*lab.ask(id, sampler, 96, grey))

    for sampler in measures.SAMPLERS:
        healthy = accuracy("healthy", sampler)["accuracy"]
        assert all(healthy > accuracy(id, sampler)["accuracy"] + 0.01 for id in "ABC")
    assert accuracy("A", "random")["yes"] > 0.75
    assert accuracy("B", "random")["accuracy"] > 0.85 > accuracy("B", "adversarial")["accuracy"]
    assert accuracy("C", "random", grey=True)["accuracy"] > 0.8
    for id in ("healthy", "A", "B"):
        assert accuracy(id, "random", grey=True)["accuracy"] < 0.6


def test_the_comparison_names_what_is_equal_and_what_is_not():
    settings = tables.comparison_settings()
    different = side_by_side_reference.differing(settings)
    assert {"image encoder", "trained numbers"} <= set(different)
    assert not {"steps", "batch", "pictures"} & set(different)


def test_the_course_and_the_student_judge_by_the_same_rule():
    from vlmcourse.evaluation import verdict

    names = {"agrees": HIGHER, "disagrees": LOWER, "within noise": OPEN}
    rng = random.Random(0)
    for _ in range(200):
        first, second = ([rng.gauss(m, 0.1) for _ in range(3)] for m in (0.5, 0.5 + rng.random()))
        assert side_by_side_reference.compare(first, second) == names[verdict(first, second)]


def test_systems_are_compared_on_the_seeds_that_all_have(monkeypatch):
    whole = tables.results()
    some = [row for row in whole["rows"] if row["row"] != "BLIP-2" or row["seed"] == 0]
    monkeypatch.setattr(tables, "results", lambda: {**whole, "rows": some})
    found = tables.scores("noun")
    assert {len(values) for values in found.values()} == {1} and "BLIP-2" in found


def test_covered_squares_at_the_thing_are_counted():
    shown = measures.scenes(6, (1, 1))
    chance = figures.touched_by_chance(shown)
    assert 0.1 < chance < 0.6
