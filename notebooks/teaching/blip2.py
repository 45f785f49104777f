"""Instant checks of lesson 07's exercises, and a player that listens to some of the queries alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from teaching.exercises import Mistake, diagnosed
from vlmcourse.parts import masks
from vlmcourse.plots import compare_masks, picture_and_bars
from vlmcourse.widgets.interactive import play

OBJECTIVES = ("itc", "itm", "itg")


def three_masks(answer: Callable[[str, int, int], Tensor]) -> str:
    """Exercise 1: three_masks(objective, queries, text) -> booleans (queries + text, queries + text)."""
    for R, T in ((3, 4), (2, 5), (1, 1)):
        L = R + T
        is_text = torch.arange(L) >= R
        full, causal = torch.ones(L, L).bool(), torch.ones(L, L).tril().bool()
        wanted = {
            "itc": masks.unimodal(R, T).to_bool()[0, 0],
            "itm": full,
            "itg": masks.multimodal_causal(R, T).to_bool()[0, 0],
        }
        for objective in OBJECTIVES:
            got, right = answer(objective, R, T), wanted[objective]
            if not isinstance(got, Tensor) or got.shape != (L, L) or got.dtype != torch.bool:
                found = (
                    f"{tuple(got.shape)} of {got.dtype}"
                    if isinstance(got, Tensor)
                    else type(got).__name__
                )
                raise Mistake(
                    f"{objective}: found {found}; expected booleans ({L}, {L}), rows look at columns: {R} queries "
                    f"first, then {T} text tokens."
                )
            if torch.equal(got, right):
                continue
            likely = {
                "it is upside down: True must mean 'may look'.": ~right,
                "that is the transpose: rows are who looks, columns are who is looked at.": right.T,
                "itg": {
                    "the queries see the text: they would carry the words to be foretold to every place that looks at them. "
                    "The loss would be perfect, and the model useless.": right | ~is_text[:, None],
                    "that is causal everywhere: the queries must see each other, too.": causal,
                    "the text sees its own future: it could copy the word it should foretell.": right
                    | is_text[:, None],
                    "the text no longer sees the queries: it would know nothing of the image.": right
                    & (is_text[:, None] == is_text[None, :]),
                },
                "itc": {
                    "queries and text see each other: each side would know the answer already.": full,
                    "the text is causal here; only generation needs that.": right
                    & (causal | ~is_text[:, None]),
                    "the queries see the text.": right | ~is_text[:, None],
                    "the text sees the queries.": right | is_text[:, None],
                },
                "itm": {
                    "image and text can't meet: for matching everybody sees everybody.": wanted[
                        "itc"
                    ],
                    "the queries don't see the text, but it is their votes that are counted.": wanted[
                        "itg"
                    ]
                    | is_text[:, None],
                    "that is the mask of generation.": wanted["itg"],
                },
            }
            named = {
                key: value for key, value in likely.items() if isinstance(value, Tensor)
            } | likely[objective]
            message = next(
                (name for name, mask in named.items() if torch.equal(got, mask)),
                "the dark cells are not the right ones.",
            )
            raise Mistake(f"{objective}: {message}", compare_masks(got, right))
    return "Three uses of one model, and nothing but the mask differs."


def best_query(answer: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Exercise 2: similarity(image (N, R, E), text (M, E)), raw vectors of any length -> (N, M)."""
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    image, text = (
        torch.randn(4, 3, 5, generator=generator) * 2,
        torch.randn(6, 5, generator=generator) * 3,
    )
    q, t = normalize(image, dim=-1), normalize(text, dim=-1)
    wanted = (q @ t.T).amax(1)
    got = answer(image.clone(), text.clone())
    if not isinstance(got, Tensor) or got.shape != wanted.shape:
        found = tuple(got.shape) if isinstance(got, Tensor) else type(got).__name__
        hint = (
            " Did you take the maximum over another axis?"
            if isinstance(got, Tensor) and got.dim() == 2
            else ""
        )
        raise Mistake(
            f"found {found}; expected {tuple(wanted.shape)}, a number for each image and each text.{hint}"
        )
    likely = {
        "the queries are averaged: the best one should speak for the image, so that each may look for something else.": (
            q @ t.T
        ).mean(1),
        "the vectors are not normalised: a long vector would win whatever its direction.": (
            image @ text.T
        ).amax(1),
        "the queries are not normalised.": (image @ t.T).amax(1),
        "the texts are not normalised.": (q @ text.T).amax(1),
        "the queries are averaged before they are compared.": normalize(q.mean(1), dim=-1) @ t.T,
        "that is the worst query, not the best.": (q @ t.T).amin(1),
        "the queries are summed.": (q @ t.T).sum(1),
    }
    if torch.allclose(got, wanted, atol=1e-5):
        return "Each image speaks through the query that fits the text best."
    raise Mistake(
        next(
            (name for name, value in likely.items() if torch.allclose(got, value, atol=1e-5)),
            "these are other numbers. For one image and one text: three cosines, and the largest of them.",
        )
    )


def prefix_only(answer: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> str:
    """Exercise 3: kept(parameters {name: tensor} of a stage-1 model) -> those that stage 2 takes over."""
    layer = (
        "attention.query",
        "norm",
        "feedforward_queries.0",
        "norm_queries",
        "feedforward_text.0",
        "norm_text",
    )
    given = {
        name: torch.randn(2)
        for name in (
            "qformer.queries",
            "qformer.norm.weight",
            "qformer.norm_image.weight",
            "qformer.words.weight",
            "qformer.positions",
            *(f"qformer.layers.{number}.{part}.weight" for number in (0, 1) for part in layer),
            "qformer.layers.0.cross_attention.query.weight",
            "qformer.layers.0.norm_cross_attention.weight",
            "image_projection.weight",
            "text_projection.weight",
            "itm_head.weight",
            "head.dense.weight",
            "temperature",
            "vision.stem.weight",
        )
    }
    left = {
        name
        for name in given
        if not name.startswith("qformer.")
        or any(part in name for part in (".words", ".positions", "feedforward_text", "norm_text"))
    }
    got = answer(dict(given))
    if not isinstance(got, dict):
        raise Mistake(
            f"found {type(got).__name__}; expected a dictionary {{name: tensor}}, as state_dict() gives."
        )
    if unknown := set(got) - set(given):
        raise Mistake(
            f"'{sorted(unknown)[0]}' is no name of the stage-1 model; keep the names as they are."
        )
    reasons = {
        "feedforward_text": "the text's feed-forward is of no use to queries",
        "norm_text": "the norm after the text's feed-forward goes with it",
        "words": "the language model has words of its own",
        "positions": "only text has positions here",
        "projection": "there is nothing to contrast in stage 2",
        "itm_head": "there is nothing to match in stage 2",
        "head": "the language model does the talking",
        "temperature": "the temperature belongs to the contrast",
        "vision": "the image encoder is no part of the Q-Former: it stays where it is, frozen",
    }
    for name in sorted(left & set(got)):
        raise Mistake(
            f"'{name}' should stay behind: {next(why for part, why in reasons.items() if part in name)}."
        )
    needed = {
        "feedforward_queries": "the queries' own feed-forward is what stage 1 trained",
        "cross_attention": "without cross-attention the queries see no image",
        "queries": "the queries themselves",
        "norm_image": "its LayerNorm of features learns, and is needed",
    }
    for name in sorted(set(given) - left - set(got)):
        raise Mistake(
            f"'{name}' is missing: "
            + next(
                (why for part, why in needed.items() if part in name),
                "queries and text share it, and the queries still need it",
            )
            + "."
        )
    return "Queries, shared attention, cross-attention and the queries' feed-forward go on; all that was the text's stays behind."


def diagnosis(answer: dict[str, str]) -> str:
    """Failure lab: {'A': cause, 'B': ..., 'C': ...} for three runs."""
    truth = {"A": "leak", "B": "alike", "C": "easy"}
    hints = {
        "A": "its generation loss is below the others', yet what it writes is nonsense. How can a word be foretold "
        "better in training, and not at all when it isn't there yet?",
        "B": "look at how much its queries differ from each other.",
        "C": "its match loss is by far the lowest, and it tells captions apart no better than the others. Whom did it practise "
        "with?",
    }
    return diagnosed(
        answer,
        truth,
        hints,
        "A mask that leaks, queries that never part, negatives that teach nothing.",
    )


def queries_player(
    after: Callable[[int, tuple[int, ...]], dict[str, float]],
    images: np.ndarray,
    queries: int,
    first: Sequence[int] = (0,),
) -> None:
    """Displays pictures (N, S, S, 3) to choose from and queries to keep; the others are taken out of the prompt.

    after  (picture number, numbers of the queries kept) -> {word: probability}, the likeliest first
    """
    import ipywidgets

    number = ipywidgets.IntSlider(
        value=0, min=0, max=len(images) - 1, description="picture", continuous_update=False
    )
    kept = ipywidgets.SelectMultiple(
        options=range(queries), value=tuple(first), description="queries", rows=min(queries, 8)
    )

    def drawn():
        if not kept.value:
            raise ValueError(
                "no query is left, so the language model sees nothing. Choose at least one."
            )
        return picture_and_bars(
            images[number.value], after(number.value, kept.value), "probability of the first word"
        )

    play([number, kept], drawn)
