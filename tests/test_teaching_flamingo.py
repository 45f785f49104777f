"""Lesson 11's exercises: right answers pass, and each plausible mistake is named."""

import html

import pytest
import torch
from exercise_answers import displayed, each, message

from teaching.flamingo import ribbon_player
from vlmcourse import plots


def sees(tags, pictures):
    return tags.long().cumsum(-1)[..., None] == torch.arange(1, pictures + 1)


SEES = {
    "Did you forget the return?": lambda tags, n: None,
    "axes are exchanged": lambda tags, n: sees(tags, n).transpose(1, 2),
    "A mask is booleans": lambda tags, n: sees(tags, n).long(),
    "upside down": lambda tags, n: ~sees(tags, n),
    "that is the ablation": lambda tags, n: (
        tags.long().cumsum(-1)[..., None] >= torch.arange(1, n + 1)
    ),
    "text before the first picture looks at the first": lambda tags, n: (
        tags.long().cumsum(-1).clamp(min=1)[..., None] == torch.arange(1, n + 1)
    ),
    "every word sees the next picture": lambda tags, n: (
        tags.long().cumsum(-1)[..., None] == torch.arange(n)
    ),
    "the tag itself does not see": lambda tags, n: (
        (tags.long().cumsum(-1) - tags.long())[..., None] == torch.arange(1, n + 1)
    ),
    "only the tags look": lambda tags, n: sees(tags, n) & tags[..., None],
    "over the whole batch": lambda tags, n: (
        tags.flatten().long().cumsum(-1).reshape(tags.shape)[..., None] == torch.arange(1, n + 1)
    ),
    "values are not right": lambda tags, n: torch.zeros(*tags.shape, n, dtype=torch.bool),
}


def gated(y, attention, feedforward, a, b):
    y = y + a.tanh() * attention(y)
    return y + b.tanh() * feedforward(y)


def in_place(y, attention, feedforward, a, b):
    y += a.tanh() * attention(y)
    return y + b.tanh() * feedforward(y)


GATED = {
    "Did you forget the return?": lambda *given: None,
    "changed y itself": in_place,
    "take tanh, which keeps them": lambda y, A, F, a, b: (lambda x: x + b * F(x))(y + a * A(y)),
    "a sigmoid gate is half open": lambda y, A, F, a, b: (lambda x: x + b.sigmoid() * F(x))(
        y + a.sigmoid() * A(y)
    ),
    "no gates": lambda y, A, F, a, b: (lambda x: x + F(x))(y + A(y)),
    "reads the y from before": lambda y, A, F, a, b: y + a.tanh() * A(y) + b.tanh() * F(y),
    "the first residual is missing": lambda y, A, F, a, b: gated(
        a.tanh() * A(y), lambda x: 0 * x, F, a, b
    ),
    "the second residual is missing": lambda y, A, F, a, b: b.tanh() * F(y + a.tanh() * A(y)),
    "closes the residual, too": lambda y, A, F, a, b: (lambda x: b.tanh() * (x + F(x)))(
        a.tanh() * (y + A(y))
    ),
    "a and b are exchanged": lambda y, A, F, a, b: gated(y, A, F, b, a),
    "only the attention is added": lambda y, A, F, a, b: y + a.tanh() * A(y),
    "comes out as it went in": lambda y, A, F, a, b: y,
}


def resampled(latents, features, query, key, value, scale=None, residual=True, join=True):
    both = torch.cat([features, latents], 1) if join else features
    scale = latents.shape[-1] ** -0.5 if scale is None else scale
    found = (query(latents) @ key(both).mT * scale).softmax(-1) @ value(both)
    return latents + found if residual else found


def mixed(latents, features, *maps):
    return resampled(
        latents.flatten(0, 1)[None],
        torch.cat([features, latents], 1).flatten(0, 1)[None],
        *maps,
        join=False,
    ).reshape(latents.shape)


RESAMPLED = {
    "found shape": lambda latents, *rest: resampled(latents, *rest)[:, :1],
    "of the features alone": lambda *given: resampled(*given, join=False),
    "the residual is missing": lambda *given: resampled(*given, residual=False),
    "the scale is missing": lambda *given: resampled(*given, scale=1.0),
    "of the latents alone": lambda latents, features, *maps: resampled(
        latents, latents, *maps, join=False
    ),
    "latents of all pictures are mixed": mixed,
    "come out as they went in": lambda latents, *rest: latents,
}


WRONG = {
    "flamingo.media_mask": SEES,
    "flamingo.gated": GATED,
    "flamingo.resampled": RESAMPLED,
}
RIGHT = {
    "flamingo.media_mask": sees,
    "flamingo.gated": gated,
    "flamingo.resampled": resampled,
}


@pytest.mark.parametrize("id", RIGHT)
def test_right_answers_pass(id):
    assert [message(id, RIGHT[id]) for _ in range(3)] == [""] * 3


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


def test_the_ribbon_says_what_each_word_sees_and_its_player_redraws(monkeypatch):
    made = plots.image_index_strip(["a", "<image>", "b", "<image>"], [0, 1, 1, 2])
    assert "a(0) <image>(1) b(1) <image>(2)" in made.description
    shown = displayed(monkeypatch)
    ribbon_player(["hello <image> a cat.<EOC><image> a"])
    widget, static = shown[0]
    text, rule, tag, picture, said = widget.children
    assert "hello(0) <image>(1)" in static["text/plain"] and "<image>(2) a(2)" in html.unescape(
        said.value
    )
    before = picture.value
    rule.value = "all pictures so far"
    assert picture.value != before and "with all before it" in said.value
    tag.value = False
    assert "<image>(0)" in html.unescape(said.value)
    text.value = ""
    assert "an empty text" in said.value
