"""Lesson 07's exercises: right answers pass, and each plausible mistake is named."""

import pytest
import torch
from exercise_answers import displayed, each, message

from vlmcourse.parts import language


def interleave(words, slots, vectors):
    made = words.clone()
    made[slots] = vectors
    return made


def in_place(words, slots, vectors):
    words[slots] = vectors
    return words


def added(words, slots, vectors):
    made = words.clone()
    made[slots] += vectors
    return made


INTERLEAVE = {
    "Did you forget the return?": lambda words, slots, vectors: None,
    "found shape": lambda words, slots, vectors: torch.cat([words, words], 1),
    "you wrote into `words` itself": in_place,
    "nothing was filled in": lambda words, slots, vectors: words.clone(),
    "are added to what stood there": added,
    "the order is wrong": lambda words, slots, vectors: interleave(words, slots, vectors.flip(0)),
    "use each vector once": lambda words, slots, vectors: interleave(
        words, slots, vectors[:1].expand(len(vectors), -1)
    ),
    "values are not right": lambda words, slots, vectors: interleave(words, slots, vectors) * 2,
}


def loss_mask(ids, image_token_id, end, pad):
    is_slot = ids == image_token_id
    caption = (
        (is_slot.cumsum(1) == is_slot.sum(1, keepdim=True)) & ~is_slot & (ids != pad) & (ids != end)
    )
    return caption & (torch.arange(ids.shape[1]) > caption.int().argmax(1, keepdim=True))


BOS = 50


SCORED = {
    "A mask is booleans": lambda *given: loss_mask(*given).long(),
    "upside down": lambda *given: ~loss_mask(*given),
    "padding is counted": lambda ids, tag, end, pad: (
        loss_mask(ids, tag, end, pad) | (ids == end) | (ids == pad)
    ),
    "the end token is counted": lambda ids, tag, end, pad: loss_mask(ids, tag, -1, pad),
    "the slots are counted": lambda ids, tag, end, pad: (ids != pad) & (ids != end) & (ids != BOS),
    "everything is counted": lambda ids, tag, end, pad: (ids != pad) & (ids != end),
    "the full stop of the prompt is counted": lambda ids, tag, end, pad: (
        (ids != pad) & (ids != end) & (ids != tag) & (ids != BOS)
    ),
    "and the end token are counted, as in the paper": lambda ids, tag, end, pad: (
        (ids != pad) & (ids != tag) & (ids != BOS)
    ),
    "at a fixed position": lambda ids, tag, end, pad: (
        (torch.arange(ids.shape[1]) > 3) & (ids != pad) & (ids != end)
    ),
    "the first word of the caption is not counted": lambda *given: (
        loss_mask(*given) & loss_mask(*given).roll(1, 1)
    ),
    "values are not right": lambda ids, *given: torch.zeros_like(ids, dtype=torch.bool),
}


def only_eval(lm):
    lm.requires_grad_(False).eval()


def no_grad(lm):
    language.freeze(lm)
    forward = lm.forward
    lm.forward = lambda x: torch.no_grad()(forward)(x)


def only_train(lm):
    lm.eval()
    for part in lm.modules():
        part.train = lambda mode=True, part=part: part


def outermost(lm):
    """Freezes the module, and none of its parts against their own train()."""
    lm.requires_grad_(False).eval()
    lm.train = lambda mode=True: [part.train(mode) for part in lm.children()]


FROZEN = {
    "dropout is on again": only_eval,
    "runs without one": no_grad,
    "still collect gradients": only_train,
    "dropout is on": outermost,
}


WRONG = {
    "frozen.interleave": INTERLEAVE,
    "frozen.loss_mask": SCORED,
    "frozen.freeze": FROZEN,
}
RIGHT = {
    "frozen.interleave": interleave,
    "frozen.loss_mask": loss_mask,
    "frozen.freeze": language.freeze,
}


@pytest.mark.parametrize("id", RIGHT)
def test_right_answers_pass(id):
    assert [message(id, RIGHT[id]) for _ in range(3)] == [""] * 3


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


def test_the_player_redraws_and_explains_an_unknown_word(monkeypatch):
    import numpy as np

    from teaching import frozen

    shown = displayed(monkeypatch)

    def after(number, text):
        if "zebrafish" in text:
            raise ValueError("unknown word 'zebrafish'")
        return {f"word {number}": 0.7, "dog": 0.2}

    frozen.ask_player(after, np.zeros((3, 8, 8, 3), np.uint8), ["a picture of"])
    widget, static = shown[0]
    number, text, picture, said = widget.children
    before = picture.value
    number.value = 2
    assert (
        picture.value != before
        and "word 2 0.70" in said.value
        and "word 0 0.70" in static["text/plain"]
    )
    text.value = "a zebrafish"
    assert "unknown word" in said.value
