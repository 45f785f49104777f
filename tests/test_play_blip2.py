"""Lesson 07's exercises: right answers pass, and each plausible mistake is named."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from teaching import blip2 as checks
from teaching.exercises import Mistake, attempt
from vlmcourse.parts import masks


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
    "expected booleans": lambda o, R, T: three_masks(o, R, T).float(),
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
    "the dark cells are not the right ones": other("itm", lambda o, R, T: torch.eye(R + T).bool()),
}


def similarity(image, text):
    return (normalize(image, dim=-1) @ normalize(text, dim=-1).T).amax(1)


SIMILARITY = {
    "expected (4, 6)": lambda image, text: similarity(image, text).T,
    "another axis": lambda image, text: (normalize(image, dim=-1) @ normalize(text, dim=-1).T).amax(
        2
    ),
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
    "the worst query": lambda image, text: (
        normalize(image, dim=-1) @ normalize(text, dim=-1).T
    ).amin(1),
    "the queries are summed": lambda image, text: (
        normalize(image, dim=-1) @ normalize(text, dim=-1).T
    ).sum(1),
    "three cosines, and the largest": lambda image, text: similarity(image, text) * 0.5,
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
    "expected a dictionary": lambda parameters: list(kept(parameters)),
    "keep the names as they are": lambda parameters: {
        name.removeprefix("qformer."): v for name, v in kept(parameters).items()
    },
    "of no use to queries": and_also("feedforward_text"),
    "words of its own": and_also("words"),
    "only text has positions": and_also("positions"),
    "nothing to contrast": and_also("image_projection"),
    "nothing to match": and_also("itm_head"),
    "does the talking": and_also("head.dense"),
    "belongs to the contrast": and_also("temperature"),
    "stays where it is, frozen": and_also("vision"),
    "goes with it": and_also("norm_text"),
    "what stage 1 trained": without("feedforward_queries"),
    "see no image": without(".cross_attention"),
    "the queries themselves": without("qformer.queries"),
    "queries and text share it": without("attention"),
    "its LayerNorm of features": without("norm_image"),
}


@pytest.mark.parametrize(
    "check, right",
    [
        (checks.three_masks, three_masks),
        (checks.best_query, similarity),
        (checks.prefix_only, kept),
    ],
)
def test_right_answers_pass(check, right, capsys):
    for _ in range(5):
        assert attempt(check, right)
    assert capsys.readouterr().out.startswith("Right.")


@pytest.mark.parametrize(
    "check, wrong, words",
    [
        (check, answer, words)
        for check, answers in (
            (checks.three_masks, MASKS),
            (checks.best_query, SIMILARITY),
            (checks.prefix_only, KEPT),
        )
        for words, answer in answers.items()
    ],
)
def test_each_mistake_is_named(check, wrong, words):
    with pytest.raises(Mistake) as mistake:
        check(wrong)
    assert words in str(mistake.value)
    if check is checks.three_masks and "expected" not in words:
        assert mistake.value.picture is not None


def test_a_mask_of_the_package_passes():
    rules = {
        "itc": masks.unimodal,
        "itg": masks.multimodal_causal,
        "itm": lambda R, T: masks.bidirectional(R + T),
    }
    assert checks.three_masks(
        lambda objective, R, T: rules[objective](R, T).to_bool()[0, 0]
    ).startswith("Three uses")


def test_the_failure_lab_tells_right_from_wrong():
    assert checks.diagnosis({"A": "leak", "B": "alike", "C": "easy"}).startswith(
        "A mask that leaks"
    )
    with pytest.raises(Mistake, match="run B: look at how much its queries differ"):
        checks.diagnosis({"A": "leak", "B": "easy", "C": "alike"})
    with pytest.raises(NotImplementedError, match="replace each None"):
        checks.diagnosis({"A": None, "B": None, "C": None})


def test_the_player_leaves_a_picture_and_asks_for_a_query(monkeypatch):
    shown, asked = [], []
    monkeypatch.setattr("IPython.display.display", lambda bundle, **_: shown.append(bundle))

    def after(number, chosen):
        asked.append((number, chosen))
        return {"cat": 0.7, "dog": 0.2}

    checks.queries_player(after, np.zeros((3, 8, 8, 3), np.uint8), 4, (1, 2))
    assert asked[0] == (0, (1, 2)) and shown[0]["image/png"] and "cat" in shown[0]["text/plain"]
