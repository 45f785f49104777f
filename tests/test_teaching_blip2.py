"""Lesson 10's exercises: right answers pass, and each plausible mistake is named."""

import numpy as np
import pytest
import torch
from exercise_answers import each, message
from torch.nn.functional import normalize

from teaching.blip2 import queries_player


def three_masks(objective, queries, text):
    is_text = torch.arange(queries + text) >= queries
    same = is_text[:, None] == is_text[None, :]
    if objective == "itc":
        return same
    if objective == "itm":
        return torch.ones_like(same)
    return ~is_text[None, :] | (is_text[:, None] & torch.ones_like(same).tril())


def other(name, change):
    """Right but for one objective."""
    return lambda objective, R, T: (change if objective == name else three_masks)(objective, R, T)


def full(objective, R, T):
    return torch.ones(R + T, R + T).bool()


def where_text(R, T):
    return torch.arange(R + T) >= R


MASKS = {
    "A mask is booleans": lambda o, R, T: three_masks(o, R, T).float(),
    "itc: it is upside down": lambda o, R, T: ~three_masks(o, R, T),
    "itg: that is the transpose": other("itg", lambda o, R, T: three_masks(o, R, T).T),
    "itg: the queries see the text: they would carry": other(
        "itg", lambda o, R, T: three_masks(o, R, T) | ~where_text(R, T)[:, None]
    ),
    "causal everywhere": other("itg", lambda o, R, T: torch.ones(R + T, R + T).tril().bool()),
    "sees its own future": other(
        "itg", lambda o, R, T: three_masks(o, R, T) | where_text(R, T)[:, None]
    ),
    "no longer sees the queries": other(
        "itg", lambda o, R, T: three_masks(o, R, T) & three_masks("itc", R, T)
    ),
    "each side would know the answer already": other("itc", full),
    "the text is causal here": other(
        "itc",
        lambda o, R, T: (
            three_masks(o, R, T)
            & (torch.ones(R + T, R + T).tril().bool() | ~where_text(R, T)[:, None])
        ),
    ),
    "itc: the queries see the text.": other(
        "itc", lambda o, R, T: three_masks(o, R, T) | ~where_text(R, T)[:, None]
    ),
    "itc: the text sees the queries.": other(
        "itc", lambda o, R, T: three_masks(o, R, T) | where_text(R, T)[:, None]
    ),
    "can't meet": other("itm", lambda o, R, T: three_masks("itc", R, T)),
    "their votes": other(
        "itm", lambda o, R, T: three_masks("itg", R, T) | where_text(R, T)[:, None]
    ),
    "that is the mask of generation": other("itm", lambda o, R, T: three_masks("itg", R, T)),
    "the diagonal is True": other("itm", lambda o, R, T: torch.eye(R + T).bool()),
}


def similarity(image, text):
    return (normalize(image, dim=-1) @ normalize(text, dim=-1).T).amax(1)


SIMILARITY = {
    "that is the transpose": lambda image, text: similarity(image, text).T,
    "over another axis": lambda image, text: (
        normalize(image, dim=-1) @ normalize(text, dim=-1).T
    ).amax(2),
    "the queries are averaged: the best one": lambda image, text: (
        normalize(image, dim=-1) @ normalize(text, dim=-1).T
    ).mean(1),
    "the vectors are not normalised": lambda image, text: (image @ text.T).amax(1),
    "the queries are not normalised": lambda image, text: (image @ normalize(text, dim=-1).T).amax(
        1
    ),
    "the texts are not normalised": lambda image, text: (normalize(image, dim=-1) @ text.T).amax(1),
    "averaged before they are compared": lambda image, text: (
        normalize(normalize(image, dim=-1).mean(1), dim=-1) @ normalize(text, dim=-1).T
    ),
    "take .values": lambda image, text: (normalize(image, dim=-1) @ normalize(text, dim=-1).T).max(
        1
    ),
    "the worst query": lambda image, text: (
        normalize(image, dim=-1) @ normalize(text, dim=-1).T
    ).amin(1),
    "the queries are summed": lambda image, text: (
        normalize(image, dim=-1) @ normalize(text, dim=-1).T
    ).sum(1),
    "values are not right": lambda image, text: similarity(image, text) * 0.5,
}


def kept(parameters):
    return {
        name: value
        for name, value in parameters.items()
        if name.startswith("qformer.")
        and not any(
            part in name for part in (".words", ".positions", "feedforward_text", "norm_text")
        )
    }


def without(part):
    return lambda parameters: {
        name: value for name, value in kept(parameters).items() if part not in name
    }


def and_also(part):
    return lambda parameters: (
        kept(parameters) | {name: value for name, value in parameters.items() if part in name}
    )


KEPT = {
    "expected a dict": lambda parameters: list(kept(parameters)),
    "keep the names as they are": lambda parameters: {
        name.removeprefix("qformer."): v for name, v in kept(parameters).items()
    },
    "of no use to queries": and_also("feedforward_text"),
    "words of its own": and_also("words"),
    "only text has positions": and_also("positions"),
    "nothing to contrast": and_also("image_projection"),
    "nothing to match": and_also("itm_head"),
    "writes the text": and_also("head.dense"),
    "belongs to the contrast": and_also("temperature"),
    "stays where it is, frozen": and_also("vision"),
    "goes with it": and_also("norm_text"),
    "what stage 1 trained": without("feedforward_queries"),
    "see no image": without(".cross_attention"),
    "the queries themselves": without("qformer.queries"),
    "queries and text share it": without("attention"),
    "its LayerNorm of features": without("norm_image"),
}


WRONG = {
    "blip2.masks": MASKS,
    "blip2.similarity": SIMILARITY,
    "blip2.taken_over": KEPT,
}
RIGHT = {
    "blip2.masks": three_masks,
    "blip2.similarity": similarity,
    "blip2.taken_over": kept,
}


@pytest.mark.parametrize("id", RIGHT)
def test_right_answers_pass(id):
    assert [message(id, RIGHT[id]) for _ in range(3)] == [""] * 3


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


def test_the_player_leaves_a_picture_and_asks_for_a_query(monkeypatch):
    shown, asked = [], []
    monkeypatch.setattr("IPython.display.display", lambda bundle, **_: shown.append(bundle))

    def after(number, chosen):
        asked.append((number, chosen))
        return {"cat": 0.7, "dog": 0.2}

    queries_player(after, np.zeros((3, 8, 8, 3), np.uint8), 4, (1, 2))
    assert asked[0] == (0, (1, 2)) and shown[0]["image/png"] and "cat" in shown[0]["text/plain"]
