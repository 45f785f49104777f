"""Lesson 00's exercises on vectors and scores: each plausible mistake is called by its name; and its figures."""

import pytest
import torch
from exercise_answers import each, message
from test_teaching_course_map_table import WRONG as PARAMETERS_AND_SYSTEMS
from torch.nn.functional import normalize

from teaching import course_map_checks as checks
from teaching import course_map_figures as figures
from vlmcourse import plots


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def cosines(a, b):
    return unit(a) @ unit(b).T


def rows(x):
    return x / x.sum(dim=-1, keepdim=True)


def named(choose):
    return lambda images, classes, names: [names[i] for i in choose(images, classes).tolist()]


def ranks(similarity):
    order = similarity.argsort(dim=1, descending=True)
    return (order == torch.arange(len(order))[:, None]).float().argmax(1) + 1


def controls(accuracy, x, blank=None, shuffled=None):
    return {
        "model": accuracy(x),
        "blank": accuracy(0 * x if blank is None else blank(x)),
        "shuffled": accuracy(x.roll(1, 0) if shuffled is None else shuffled(x)),
    }


WRONG = PARAMETERS_AND_SYSTEMS | {
    "course_map.cosine": {
        "dot product": lambda a, b: a @ b.T,
        "only one side": lambda a, b: unit(a) @ b.T,
        "over the batch": lambda a, b: normalize(a, dim=0) @ normalize(b, dim=0).T,
        "squared length": lambda a, b: (
            (a / (a * a).sum(-1, keepdim=True)) @ (b / (b * b).sum(-1, keepdim=True)).T
        ),
        "transpose": lambda a, b: cosines(b, a),
        "absolute values": lambda a, b: (
            (a / a.abs().sum(-1, keepdim=True)) @ (b / b.abs().sum(-1, keepdim=True)).T
        ),
        "one norm of the whole table": lambda a, b: (a / a.norm()) @ (b / b.norm()).T,
        "these are angles": lambda a, b: torch.acos(cosines(a, b)),
        "1 minus the cosine": lambda a, b: 1 - cosines(a, b),
        "ends of the vectors": lambda a, b: torch.cdist(a, b),
        "negative cosines are lost": lambda a, b: cosines(a, b).abs(),
        "comes in Exercise 2": lambda a, b: cosines(a, b).softmax(-1),
        "lengths are added": lambda a, b: a @ b.T / (a.norm(dim=-1, keepdim=True) + b.norm(dim=-1)),
        "Did you forget the return?": lambda a, b: None,
        "changes a or b in place": lambda a, b: a.div_(a.norm(dim=-1, keepdim=True)) @ unit(b).T,
        "cuts the gradient": lambda a, b: torch.tensor(
            [[float(unit(x) @ unit(y)) for y in b] for x in a]
        ),
        "argument 2 gets no gradient": lambda a, b: cosines(a, b.detach()),
    },
    "course_map.probabilities": {
        "are multiplied": lambda c, t: (c * t).softmax(-1),
        "temperature is not used": lambda c, t: c.softmax(-1),
        "over the images": lambda c, t: (c / t).softmax(0),
        "after the softmax": lambda c, t: c.softmax(-1) / t,
        "divided by their sum": lambda c, t: (c / t) / (c / t).sum(-1, keepdim=True),
        "these are exponentials": lambda c, t: (c / t).exp(),
        "log probabilities": lambda c, t: (c / t).log_softmax(-1),
        "over the whole table": lambda c, t: (c / t).flatten().softmax(0).reshape(c.shape),
        "exp overflows": lambda c, t: rows((c / t).exp()),
        "NaN is replaced": lambda c, t: rows((c / t).exp()).nan_to_num(1.0),
        "are clamped": lambda c, t: (c / t).clamp(max=85).softmax(-1),
        "table's largest": lambda c, t: rows(((c - c.max()) / t).exp()),
        "these are the logits": lambda c, t: c / t,
        "a sigmoid of its own": lambda c, t: (c / t).sigmoid(),
        "the sign is wrong": lambda c, t: (-c / t).softmax(-1),
        "its exp or log": lambda c, t: (c * torch.tensor(t).exp()).softmax(-1),
        "squared temperature": lambda c, t: (c / t**2).softmax(-1),
        "each image has its own maximum": lambda c, t: rows(((c - c.amax(0)) / t).exp()),
        "changes the cosines in place": lambda c, t: c.div_(t).softmax(-1),
        "cuts the gradient": lambda c, t: torch.tensor((c / t).softmax(-1).tolist()),
        "1 for the best class": lambda c, t: torch.eye(c.shape[1])[c.argmax(-1)],
    },
    "course_map.zero_shot": {
        "long class vectors win": named(lambda i, c: (i @ c.T).argmax(-1)),
        "least similar": named(lambda i, c: cosines(i, c).argmin(-1)),
        "not the numbers": lambda i, c, n: cosines(i, c).argmax(-1),
        "not a list of numbers": lambda i, c, n: cosines(i, c).argmax(-1).tolist(),
        "an image for each class": lambda i, c, n: cosines(i, c).argmax(0).tolist(),
        "It must run over the classes": named(lambda i, c: cosines(i, c).argmax(0)),
        "argmax without an axis": lambda i, c, n: n[int(cosines(i, c).argmax())],
        "leave out the abs": named(lambda i, c: cosines(i, c).abs().argmax(-1)),
        "over the batch": named(
            lambda i, c: (normalize(i, dim=0) @ normalize(c, dim=0).T).argmax(-1)
        ),
        "smallest distance": named(lambda i, c: torch.cdist(i, c).argmin(-1)),
        "order of the images": lambda i, c, n: sorted(n[k] for k in cosines(i, c).argmax(1)),
        "first names of the list": lambda i, c, n: [n[k] for k in range(len(i))],
        "changes its inputs in place": named(
            lambda i, c: (i.div_(i.norm(dim=-1, keepdim=True)) @ unit(c).T).argmax(-1)
        ),
        "second-best": named(lambda i, c: cosines(i, c).topk(2).indices[:, 1]),
    },
    "course_map.ranks": {
        "start at 1": lambda s: ranks(s) - 1,
        "images for each text": lambda s: ranks(s.T),
        "upside down": lambda s: ranks(-s),
        "number of the best text": lambda s: s.argmax(1),
        "says whether": lambda s: s.argmax(1) == torch.arange(len(s)),
        "find the own text": lambda s: s.argsort(dim=1, descending=True).diagonal(),
        "whole numbers": lambda s: ranks(s).float(),
        "own text itself is counted": lambda s: 1 + (s >= s.diagonal()[:, None]).sum(dim=1),
        "runs over the images": lambda s: 1 + (s > s.diagonal()[:, None]).sum(dim=0),
        "largest entry is compared": lambda s: 1 + (s > s.amax(1, keepdim=True)).sum(dim=1),
        "the sum has no axis": lambda s: 1 + (s > s.diagonal()[:, None]).sum(),
        "rank of text 0": lambda s: s.argsort(dim=1, descending=True).argsort(dim=1)[:, 0] + 1,
        "along the columns": lambda s: 1 + (s > s.diagonal()).sum(dim=1),
        "changes similarity in place": lambda s: (
            1 + s.sub_(s.diagonal()[:, None].clone()).gt(0).sum(dim=1)
        ),
        "less similar": lambda s: (s < s.diagonal()[:, None]).sum(dim=1),
    },
    "course_map.recall": {
        "is a tensor": lambda r, ks: {k: (r <= k).float().mean() for k in ks},
        "rank k itself counts": lambda r, ks: {k: (r < k).float().mean().item() for k in ks},
        "number less 1": lambda r, ks: {k: int((r <= k).sum()) / (len(r) - 1) for k in ks},
        "largest rank": lambda r, ks: {k: int((r <= k).sum()) / int(r.max()) for k in ks},
        "exactly its own rank": lambda r, ks: dict(
            zip(ks, torch.stack([(r == k).float().mean() for k in ks]).cumsum(0).tolist())
        ),
        "means of 1 / rank": lambda r, ks: {k: float((1 / r).mean()) for k in ks},
        "keys are those of ks": lambda r, ks: {
            k: (r <= k).float().mean().item() for k in (1, 5, 10)
        },
        "exactly rank k": lambda r, ks: {k: (r == k).float().mean().item() for k in ks},
        "failures": lambda r, ks: {k: (r > k).float().mean().item() for k in ks},
        "percentages": lambda r, ks: {k: 100 * (r <= k).float().mean().item() for k in ks},
        "counts": lambda r, ks: {k: int((r <= k).sum()) for k in ks},
        "not by k": lambda r, ks: {k: int((r <= k).sum()) / k for k in ks},
        "don't subtract 1": lambda r, ks: {k: (r - 1 <= k).float().mean().item() for k in ks},
        "ranks up to k": lambda r, ks: {k: (r >= k).float().mean().item() for k in ks},
        "first k images": lambda r, ks: {k: (r[:k] <= k).float().mean().item() for k in ks},
        "any image": lambda r, ks: {k: float((r <= k).any()) for k in ks},
        "drops the fraction": lambda r, ks: {k: int((r <= k).sum()) // len(r) for k in ks},
        "mean of the good": lambda r, ks: {k: r[r <= k].float().mean().item() for k in ks},
        "don't round": lambda r, ks: {k: round((r <= k).float().mean().item(), 2) for k in ks},
        "an entry for each k": lambda r, ks: [(r <= k).float().mean().item() for k in ks],
    },
    "course_map.controls": {
        "nothing is moved": lambda f, x: controls(f, x, shuffled=lambda x: x),
        "wrong direction": lambda f, x: controls(f, x, shuffled=lambda x: x.roll(-1, 0)),
        "more than one place": lambda f, x: controls(f, x, shuffled=lambda x: x.roll(2, 0)),
        "stays at place 0": lambda f, x: controls(
            f, x, shuffled=lambda x: torch.cat([x[:1], x[:-1]])
        ),
        "place 0 is blank": lambda f, x: controls(
            f, x, shuffled=lambda x: torch.cat([0 * x[:1], x[:-1]])
        ),
        "is lost": lambda f, x: controls(f, x, shuffled=lambda x: x[1:]),
        "the same image": lambda f, x: controls(f, x, shuffled=lambda x: x[:1].expand_as(x)),
        "inside the images": lambda f, x: controls(f, x, shuffled=lambda x: x.roll(1)),
        "yours are ones": lambda f, x: controls(f, x, blank=torch.ones_like),
        "as they are": lambda f, x: controls(f, x, blank=lambda x: x),
        "is reversed": lambda f, x: controls(f, x, shuffled=lambda x: x.flip(0)),
        "single image": lambda f, x: controls(f, x, blank=lambda x: torch.zeros(1, *x.shape[1:])),
        "changes pixel_values": lambda f, x: controls(f, x) | {"blank": f(x.zero_())},
        "change places at random": lambda f, x: controls(
            f, x, shuffled=lambda x: x[[2, 0, 1, *range(3, len(x))]]
        ),
        "not all zeros": lambda f, x: controls(f, x, blank=torch.rand_like),
        "differences to the model's": lambda f, x: {
            name: score if name == "model" else f(x) - score
            for name, score in controls(f, x).items()
        },
        "is a fixed number": lambda f, x: controls(f, x) | {"blank": 1 / 113},
        "you change its result": lambda f, x: controls(f, x) | {"blank": f(0 * x) / 3},
        "are exchanged": lambda f, x: controls(
            f, x, blank=lambda x: x.roll(1, 0), shuffled=torch.zeros_like
        ),
        "images as they are": lambda f, x: controls(f, x) | {"model": f(0 * x)},
        "expected a dict with keys": lambda f, x: {"model": f(x)},
    },
}


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    assert all(words in message(id, answer) for _ in range(4))


def test_inputs_of_the_cold_softmax_need_the_maximum_of_each_row():
    for seed in range(20):
        (cosines, temperature), _ = checks.cold_inputs(torch.Generator().manual_seed(seed))
        logits = cosines / temperature
        assert (logits[0].exp().isinf().sum(), int(logits[1].max()) <= -90) == (2, True)
        for wrong in (logits.exp(), (logits - logits.max()).exp()):
            assert not rows(wrong).isfinite().all()


def test_nearest_share_noun_counts_neighbours_of_the_same_noun():
    vectors = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 3.0], [-1.0, 0.2]])
    assert figures.nearest_share_noun(vectors, ["a", "a", "b", "b", "c"]) == 4
    assert figures.nearest_share_noun(vectors, ["a", "b", "a", "b", "c"]) == 0


def test_guesses_share_noun_is_the_mean_over_all_neighbours():
    assert figures.guesses_share_noun(["a", "a", "b", "c", "a"]) == pytest.approx(6 / 4)


def test_figures_say_what_they_show():
    drawn = plots.image_text_table(torch.zeros(2, 4, 4, 3).numpy(), ["one", "two"], torch.eye(2))
    assert "The own text is the highest of its row for 2 images" in drawn.description
    shares = {"model": 0.75, "blank": 0.25}
    drawn = figures.scores_with_controls({"names": (shares, 4, 8)})
    assert "names: model 3 of 4, blank 1 of 4, chance 1/8" in drawn.description
