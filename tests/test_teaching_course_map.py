"""Lesson 00's exercises: each plausible mistake is called by its name; and the table of systems is whole."""

import pytest
import torch
from exercise_answers import each, message
from torch.nn.functional import normalize

from teaching.course_map import EXERCISES
from teaching.course_map_answers import FLAVOURS, flavour_of, systems


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def cosines(a, b):
    return unit(a) @ unit(b).T


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


def numbers(tensors):
    return sum(tensor.numel() for tensor in tensors)


def split(model):
    own = list(model.parameters())
    return [p for p in own if p.requires_grad], [p for p in own if not p.requires_grad]


def counts(trained, frozen):
    return {"trained": trained, "frozen": frozen}


def fitting(fits, key="name"):
    return lambda systems, inputs, outputs: [
        s if key is None else s[key]
        for s in systems
        if fits(inputs, set(s["inputs"])) and fits(outputs, set(s["outputs"]))
    ]


def subset(wanted, has):
    return wanted <= has


def flavour_but(**changed):
    return lambda name: changed.get(name.replace("-", "_"), flavour_of(name))


WRONG = {
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
        "Did you forget the return?": lambda a, b: None,
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
        "exp overflows": lambda c, t: (c / t).exp() / (c / t).exp().sum(-1, keepdim=True),
    },
    "course_map.zero_shot": {
        "long class vectors win": named(lambda i, c: (i @ c.T).argmax(-1)),
        "least similar": named(lambda i, c: cosines(i, c).argmin(-1)),
        "not the numbers": lambda i, c, n: cosines(i, c).argmax(-1),
        "not a list of numbers": lambda i, c, n: cosines(i, c).argmax(-1).tolist(),
        "an image for each class": lambda i, c, n: cosines(i, c).argmax(0).tolist(),
        "smallest distance": named(lambda i, c: torch.cdist(i, c).argmin(-1)),
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
        "along the columns": lambda s: 1 + (s > s.diagonal()).sum(dim=1),
        "less similar": lambda s: (s < s.diagonal()[:, None]).sum(dim=1),
    },
    "course_map.recall": {
        "not <": lambda r, ks: {k: (r < k).float().mean().item() for k in ks},
        "exactly rank k": lambda r, ks: {k: (r == k).float().mean().item() for k in ks},
        "failures": lambda r, ks: {k: (r > k).float().mean().item() for k in ks},
        "percentages": lambda r, ks: {k: 100 * (r <= k).float().mean().item() for k in ks},
        "counts": lambda r, ks: {k: int((r <= k).sum()) for k in ks},
        "not by k": lambda r, ks: {k: int((r <= k).sum()) / k for k in ks},
        "an entry for each k": lambda r, ks: [(r <= k).float().mean().item() for k in ks],
    },
    "course_map.controls": {
        "nothing is moved": lambda f, x: controls(f, x, shuffled=lambda x: x),
        "wrong direction": lambda f, x: controls(f, x, shuffled=lambda x: x.roll(-1, 0)),
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
        "are exchanged": lambda f, x: controls(
            f, x, blank=lambda x: x.roll(1, 0), shuffled=torch.zeros_like
        ),
        "images as they are": lambda f, x: controls(f, x) | {"model": f(0 * x)},
        "expected a dict with keys": lambda f, x: {"model": f(x)},
    },
    "course_map.count": {
        "tensors are counted": lambda m: counts(*map(len, split(m))),
        "are exchanged": lambda m: counts(*map(numbers, reversed(split(m)))),
        "all parameters are counted as trained": lambda m: counts(numbers(m.parameters()), 0),
        "counted twice": lambda m: counts(
            numbers(p for _, p in m.named_parameters(remove_duplicate=False) if p.requires_grad),
            numbers(split(m)[1]),
        ),
        "buffers": lambda m: counts(
            numbers(split(m)[0]), numbers(split(m)[1]) + numbers(m.buffers())
        ),
        "the trained ones included": lambda m: counts(
            numbers(split(m)[0]), numbers(m.parameters())
        ),
        "only the first axis": lambda m: counts(
            *(sum(len(p) if p.dim() else 1 for p in part) for part in split(m))
        ),
    },
    "course_map.query": {
        "not for equality": fitting(lambda wanted, has: wanted == has),
        "one common kind": fitting(lambda wanted, has: bool(wanted & has)),
        "wrong way round": fitting(lambda wanted, has: wanted >= has),
        "only the inputs": lambda systems, i, o: fitting(subset)(systems, i, set()),
        "only the outputs": lambda systems, i, o: fitting(subset)(systems, set(), o),
        "are exchanged": lambda systems, i, o: fitting(subset)(systems, o, i),
        "not the whole entries": fitting(subset, key=None),
        "keep the order": lambda *args: sorted(fitting(subset)(*args)),
    },
    "course_map.flavour": {
        "CLIP is not 'any to any'": flavour_but(CLIP="any to any"),
        "ViLBERT is not": flavour_but(ViLBERT="aligned encoders"),
        "Flamingo is not": flavour_but(Flamingo="image-conditioned text"),
        "BLIP-2 is not": flavour_but(BLIP_2="any input to text"),
        "is no flavour": flavour_but(LLaVA="chat"),
        "Chameleon is not": flavour_but(Chameleon="image generation"),
    },
}


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    assert any(words in message(id, answer) for _ in range(4))
    assert message(id, answer)


def test_every_system_has_every_column_and_a_flavour():
    assert len(systems()) >= 12
    for system in systems():
        assert flavour_of(system["name"]) in FLAVOURS
        assert all(system[key] for key in ("frozen", "trained", "meet", "data", "objective"))
        assert set(system["inputs"] + system["outputs"]) <= {
            "image",
            "text",
            "video",
            "class",
            "similarity",
        }
    assert {flavour_of(system["name"]) for system in systems()} == set(FLAVOURS)
    assert len(EXERCISES) == 9
