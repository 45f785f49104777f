"""Lesson 04's exercises: right answers pass, and each plausible mistake is named."""

import numpy as np
import pytest
import torch
from exercise_answers import displayed, each, message

from teaching.vilbert import hiding_player


def mean(features, which, by=None):
    count = (which if by is None else by).sum(1, keepdim=True).clamp(min=1)
    return (features * which[..., None]).sum(1) / count


def token(features, region_mask, hidden):
    return mean(features, region_mask & ~hidden)


TOKEN = {
    "Did you forget the return?": lambda f, r, h: None,
    "found shape": lambda f, r, h: f,
    "hidden regions still count": lambda f, r, h: mean(f, r),
    "padding counts": lambda f, r, h: mean(f, ~h),
    "all rows count": lambda f, r, h: f.mean(1),
    "all rows, padding too": lambda f, r, h: mean(f, r & ~h, torch.ones_like(r)),
    "all real regions": lambda f, r, h: mean(f, r & ~h, r),
    "that is the sum": lambda f, r, h: (f * (r & ~h)[..., None]).sum(1),
    "upside down": lambda f, r, h: mean(f, ~(r & ~h)),
    "values are not right": lambda f, r, h: 2 * token(f, r, h),
    "gives ones": lambda f, r, h: token(f, r, h).masked_fill(~(r & ~h).any(1, keepdim=True), 1.0),
    "divide by zero": lambda f, r, h: (
        (f * (r & ~h)[..., None]).sum(1) / (r & ~h).sum(1, keepdim=True)
    ),
}


def look(q, k, v, scale=True, dim=-1):
    return (q @ k.mT * (q.shape[-1] ** -0.5 if scale else 1)).softmax(dim) @ v


def co(image, text):
    (q, k, v), (Q, K, V) = image, text
    return look(q, K, V), look(Q, k, v)


def one_map(image, text):
    weights = (image[0] @ text[1].mT * image[0].shape[-1] ** -0.5).softmax(-1)
    return weights @ text[2], weights.mT @ image[2]


def one_table(image, text):
    scores = image[0] @ text[1].mT * image[0].shape[-1] ** -0.5
    return scores.softmax(-1) @ text[2], scores.mT.softmax(-1) @ image[2]


CO = {
    "found None": lambda i, t: None,
    "expected 2 values": lambda i, t: i[0],
    "self-attention": lambda i, t: (look(*i), look(*t)),
    "exchanged": lambda i, t: co(i, t)[::-1],
    "square root": lambda i, t: (look(i[0], *t[1:], scale=False), look(t[0], *i[1:], scale=False)),
    "exchanged, and the scores are not divided": lambda i, t: (
        look(t[0], *i[1:], scale=False),
        look(i[0], *t[1:], scale=False),
    ),
    "and unscaled": lambda i, t: (look(*i, scale=False), look(*t, scale=False)),
    "no longer sum to one": one_map,
    "before its softmax": one_table,
    "over the queries": lambda i, t: (look(i[0], *t[1:], dim=-2), look(t[0], *i[1:], dim=-2)),
    "values are not right": lambda i, t: tuple(part + 1 for part in co(i, t)),
}


def divergence(p, q):
    return (p * (p.log() - q.log())).sum(-1)


def region(logits, classes, hidden):
    return divergence(classes, logits.softmax(-1))[hidden].mean()


REGION = {
    "expected one number": lambda g, c, h: g,
    "visible regions count too": lambda g, c, h: region(g, c, torch.ones_like(h)),
    "over classes too": lambda g, c, h: region(g, c, h) / g.shape[-1],
    "take their mean": lambda g, c, h: region(g, c, h) * h.sum(),
    "instead of the hidden": lambda g, c, h: region(g, c, ~h),
    "are exchanged": lambda g, c, h: divergence(g.softmax(-1), c)[h].mean(),
    "it lacks the detector's own entropy": lambda g, c, h: torch.nn.functional.cross_entropy(
        g[h], c[h]
    ),
    "VL-BERT's loss": lambda g, c, h: torch.nn.functional.cross_entropy(g[h], c[h].argmax(-1)),
    "raw logits": lambda g, c, h: (
        torch.nn.functional.kl_div(g, c, reduction="none").sum(-1)[h].mean()
    ),
    "*log*-probabilities": lambda g, c, h: (
        torch.nn.functional.kl_div(g.softmax(-1), c, reduction="none").sum(-1)[h].mean()
    ),
    "no gradient": lambda g, c, h: region(g, c, h).item(),
    "sign": lambda g, c, h: -region(g, c, h),
    "not the right value": lambda g, c, h: region(g, c, h) + 7,
}


WRONG = {
    "vilbert.picture_token": TOKEN,
    "vilbert.co_attention": CO,
    "vilbert.region_loss": REGION,
}
RIGHT = {
    "vilbert.picture_token": token,
    "vilbert.co_attention": co,
    "vilbert.region_loss": region,
}


@pytest.mark.parametrize("id", RIGHT)
def test_right_answers_pass(id):
    assert [message(id, RIGHT[id]) for _ in range(3)] == [""] * 3


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


def test_the_player_hides_another_word_and_another_picture(monkeypatch):
    shown = displayed(monkeypatch)
    hiding_player(
        lambda number, place: ({f"word {place} of {number}": 0.6}, "cat"),
        np.zeros((2, 8, 8, 3), np.uint8),
        [["a", "cat", "on", "blue"], ["a", "dog"]],
    )
    widget, static = shown[0]
    number, place, picture, said = widget.children
    assert (
        "'a ____ on blue', hidden word 'cat'" in static["text/plain"]
        and "word 1 of 0 0.60" in static["text/plain"]
    )
    before = picture.value
    place.value = 3
    assert picture.value != before and "word 3 of 0" in said.value
    number.value = 1
    assert "word 1 of 1" in said.value  # the second caption is shorter
