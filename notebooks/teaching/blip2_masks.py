"""Lesson 10: the checks of the exercise on the three masks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import blip2_reference as reference
from teaching.exercises import Exercise, number, rule


def mask_inputs(objective: str, generator: torch.Generator) -> tuple[list, dict]:
    """An objective, a number of queries, and texts of which one has padding."""
    B, R, T = 2, number(generator, 2, 4), number(generator, 4, 6)
    is_token = torch.ones(B, T, dtype=torch.bool)
    is_token[number(generator, 0, 1), -number(generator, 1, 2) :] = False
    return [objective, R, is_token], {}


def blocks(
    R: int,
    is_token: Tensor,
    queries_text: bool,
    text_queries: bool,
    text: Callable | bool,
    queries: bool | Callable = True,
    padding: str = "keys",
) -> Tensor:
    """A mask by its four blocks: may queries attend to text, text to queries, text to text; and how padding is closed."""
    B, T = is_token.shape
    square = torch.zeros(R + T, R + T, dtype=torch.bool)
    square[:R, :R] = queries(torch.ones(R, R)).bool() if callable(queries) else queries
    square[:R, R:], square[R:, :R] = queries_text, text_queries
    square[R:, R:] = text(torch.ones(T, T)).bool() if callable(text) else text
    real = torch.cat([is_token.new_ones(B, R), is_token], dim=1)
    closed = {
        "keys": real[:, None, None, :],
        "queries": real[:, None, :, None],
        "both": real[:, None, None, :] & real[:, None, :, None],
        "open": torch.ones(B, 1, 1, 1, dtype=torch.bool),
        "pads": ~real[:, None, None, :],
        "joined": torch.cat([is_token, is_token.new_ones(B, R)], dim=1)[:, None, None, :],
        "shared": real.all(0)[None, None, None, :],
    }[padding]
    return (square & closed).expand(B, 1, R + T, R + T)


UNIMODAL = {"queries_text": False, "text_queries": False, "text": True}
EVERYTHING = {"queries_text": True, "text_queries": True, "text": True}
CAUSAL = {"queries_text": False, "text_queries": True, "text": torch.tril}
RIGHT = {"itc": UNIMODAL, "itm": EVERYTHING, "itg": CAUSAL}


def changed(objective: str, **changes) -> dict:
    return RIGHT[objective] | changes


MISTAKES: dict[str, dict[str, dict]] = {
    "itc": {
        "queries and text attend to each other: each side would know what it is compared with.": EVERYTHING,
        "the queries attend to the text: each picture's vector would depend on the caption.": changed(
            "itc", queries_text=True
        ),
        "the text attends to the queries: the caption's vector would depend on the picture.": changed(
            "itc", text_queries=True
        ),
        "the text is causal: its vector is that of the first token, which would have read nothing.": changed(
            "itc", text=torch.tril
        ),
        "the text can't attend to itself.": changed("itc", text=False),
        "that is the mask of ITG.": CAUSAL,
        "queries attend to earlier queries only: they have no order.": changed(
            "itc", queries=torch.tril
        ),
        "each query attends to itself alone; queries attend to all queries.": changed(
            "itc", queries=lambda x: x.tril().triu()
        ),
    },
    "itm": {
        "queries and text don't attend to each other, so nothing is compared.": UNIMODAL,
        "the queries don't attend to the text, but it is their states that are judged.": changed(
            "itm", queries_text=False
        ),
        "the text doesn't attend to the queries; in this objective all attend to all.": changed(
            "itm", text_queries=False
        ),
        "that is the mask of ITG.": CAUSAL,
        "the text is causal; nothing is predicted in this objective.": changed(
            "itm", text=torch.tril
        ),
        "that is causal everywhere; nothing is predicted in this objective.": changed(
            "itm", queries=torch.tril, text=torch.tril, queries_text=False
        ),
    },
    "itg": {
        "the queries attend to the text: each word could read, through them, the words that it must predict.": (
            changed("itg", queries_text=True)
        ),
        "the text attends to its future: it could copy the word that it must predict.": changed(
            "itg", text=True
        ),
        "the text doesn't attend to the queries, so it can't know the picture.": changed(
            "itg", text_queries=False
        ),
        "queries attend to earlier queries only: they have no order.": changed(
            "itg", queries=torch.tril
        ),
        "the text attends to later tokens in place of earlier ones: rows are queries, columns keys.": changed(
            "itg", text=torch.triu
        ),
        "a token must attend to itself, too: the diagonal is missing.": changed(
            "itg", text=lambda x: x.tril(-1)
        ),
        "no position attends to itself, and no query to any query: `<` in place of `<=`.": changed(
            "itg", queries=False, text=lambda x: x.tril(-1)
        ),
        "that is the mask of ITM: here the text predicts its next words.": EVERYTHING,
        "that is the mask of ITC: the text would not know the picture.": UNIMODAL,
    },
}
PADDING = {
    "padding is attended to: close its columns.": "open",
    "padding is closed in its rows; close it in its columns, where it would be attended to.": "queries",
    "the rows of padding are closed, too: close its columns only, since a row without keys has no softmax.": "both",
    "the wrong columns are closed: R times True must stand before `is_token`, not behind it.": "joined",
    "the padding of one text closes columns in every text: each has its own.": "shared",
    "only padding may be attended to: True means a token in `is_token`, and 'may attend' in a mask.": "pads",
}


def right(objective: str, R: int, is_token: Tensor, **changes) -> Tensor:
    return blocks(R, is_token, **(RIGHT[objective] | changes))


def shifted(objective: str, R: int, is_token: Tensor, by: int) -> Tensor:
    """The mask as if there were more queries, or fewer; by: 1 or -1."""
    text = (
        is_token[:, 1:] if by > 0 else torch.cat([is_token.new_ones(len(is_token), 1), is_token], 1)
    )
    return right(objective, R + by, text)


def mistakes_of(objective: str) -> dict[str, Callable | tuple[Callable, ...]]:
    """{message: formula, or formulas}, each message with the objective's name before it."""

    def formula(how: dict) -> Callable:
        return lambda _, R, is_token: blocks(R, is_token, **how)

    found = {message: formula(how) for message, how in MISTAKES[objective].items()}
    found |= {
        message: partial(right, padding=how)
        for message, how in PADDING.items()
        if (objective, how) != ("itg", "queries")  # padding is last: there it is the same as "both"
    }
    if objective != "itm":  # there all attend to all
        found["the text's first token counts as a query: the text begins at position R."] = partial(
            shifted, by=1
        )
        found["the last query counts as a token: the text begins at position R."] = partial(
            shifted, by=-1
        )
    if objective != "itm":  # there it is the same as exchanging tokens and padding
        found["it is upside down: True must mean 'may attend'."] = lambda *args: ~right(*args)
    if objective == "itg":  # elsewhere only padding's rows and columns would be exchanged
        exchanged = changed("itg", queries_text=True, text_queries=False, text=torch.triu)
        found["rows and columns are exchanged: rows are queries, columns are keys."] = (
            lambda *args: right(*args).mT,
            formula(exchanged),
        )
    return {f"{objective}: {message}": one for message, one in found.items()}


def explain_mask(got: object, wanted: Tensor, objective: str, R: int, is_token: Tensor):
    if not isinstance(got, Tensor):
        return None
    B, T = is_token.shape
    shapes = {
        (R + T, R + T): "there is one mask for all texts; their padding differs.",
        (B, R + T, R + T): "the axis of the heads is missing: (B, 1, R + T, R + T).",
        (B, 1, T, T): "that is a mask of the text alone; the queries stand before it.",
        (B, 1, R, R): "that is a mask of the queries alone; the text stands after them.",
    }
    return shapes.get(tuple(got.shape))


def mask_check(objective: str):
    """The Check of one objective."""
    mistakes = mistakes_of(objective)
    inputs = partial(mask_inputs, objective)
    return rule("qformer_mask", inputs, right, mistakes, explain=explain_mask)


EXERCISES = {
    "qformer_mask": Exercise(
        "One model, three objectives, and only the mask differs.",
        tuple(map(mask_check, RIGHT)),
        reference=reference.qformer_mask,
    ),
}
