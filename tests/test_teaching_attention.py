"""Lesson 01's exercises: each plausible mistake is called by its name; and its player."""

import pytest
import torch
from exercise_answers import displayed, each, message

from teaching.attention import mask_of, mask_player


def level(seen, length):
    return (torch.arange(length) - seen + 1).clamp(min=0)


def phi(is_tag):
    return is_tag.long().cumsum(0)


WRONG = {
    "attention.prefix": {
        "upside down": lambda seen, length: (
            level(seen, length)[None] > level(seen, length)[:, None]
        ),
        "transpose": lambda seen, length: level(seen, length)[None] >= level(seen, length)[:, None],
        "that is causal": lambda seen, length: torch.ones(length, length).tril().bool(),
        "no longer sees its own past": lambda seen, length: (torch.arange(length) < seen).expand(
            length, length
        ),
        "future included": lambda seen, length: torch.ones(length, length).bool(),
        "one position too many": lambda seen, length: (
            level(min(seen + 1, length), length)[None]
            <= level(min(seen + 1, length), length)[:, None]
        ),
        "one position too few": lambda seen, length: (
            level(max(seen - 1, 0), length)[None] <= level(max(seen - 1, 0), length)[:, None]
        ),
        "Did you forget the return?": lambda seen, length: None,
        "expected a tensor": lambda seen, length: [[True]],
        "found shape": lambda seen, length: torch.ones(length).bool(),
        "A mask is booleans": lambda seen, length: torch.ones(length, length),
    },
    "attention.last_image": {
        "upside down": lambda tag, image: phi(tag)[:, None] != image[None],
        "every image so far": lambda tag, image: image[None] <= phi(tag)[:, None],
        "still to come": lambda tag, image: image[None] >= phi(tag)[:, None],
        "its own image": lambda tag, image: (phi(tag) - tag.long())[:, None] == image[None],
        "text before the first image": lambda tag, image: (
            phi(tag).clamp(min=1)[:, None] == image[None]
        ),
        "that is the transpose": lambda tag, image: (phi(tag)[:, None] == image[None]).T,
        "A mask is booleans": lambda tag, image: (phi(tag)[:, None] == image[None]).float(),
        "every token sees the next image": lambda tag, image: (
            (phi(tag) + 1)[:, None] == image[None]
        ),
    },
}


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


def test_the_mask_player_draws_what_is_typed(monkeypatch):
    shown = displayed(monkeypatch)
    mask_player()
    ((widget, static),) = shown
    assert static["image/png"].startswith(b"\x89PNG") and "query 0 sees 0;" in static["text/plain"]
    example, _, integers, picture, text = widget.children
    before = picture.value
    integers.value = "0 0 0 0 0 0"
    assert picture.value != before and "query 0 sees 0, 1, 2, 3, 4, 5" in text.value
    integers.value = "0 one"
    assert "expected 1 to 16 whole numbers" in text.value
    example.value = "uni-modal"
    assert "query 0 sees 0, 1, 2;" in text.value
    mask = mask_of("level(key) <= level(query)", "-1, 0").to_bool()
    assert mask.flatten().tolist() == [True, False, True, True]
