"""Lesson 10, BLIP-2: exercises, quizzes, the failure lab, and a player that keeps some of the queries alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from teaching.exercises import Exercise, normal, number, rule, rule_on
from vlmcourse.papers.qformer import QFormer, QFormerConfig
from vlmcourse.plots import picture_and_bars
from vlmcourse.widgets.interactive import interactive, slider

unit = partial(normalize, dim=-1)


def blocks(R: int, T: int, queries_text: bool, text_queries: bool, causal: bool) -> Tensor:
    """(R + T, R + T): queries attend to queries; may queries and text attend to each other, is the text causal?"""
    mask = torch.zeros(R + T, R + T, dtype=torch.bool)
    mask[:R, :R], mask[:R, R:], mask[R:, :R] = True, queries_text, text_queries
    mask[R:, R:] = torch.ones(T, T).tril().bool() if causal else True
    return mask


MASKS = {
    "itc": partial(blocks, queries_text=False, text_queries=False, causal=False),
    "itm": partial(blocks, queries_text=True, text_queries=True, causal=False),
    "itg": partial(blocks, queries_text=False, text_queries=True, causal=True),
}


def three_masks(objective: str, R: int, T: int) -> Tensor:
    return MASKS[objective](R, T)


def causal_mask(R: int, T: int) -> Tensor:
    return torch.ones(R + T, R + T).tril().bool()


WRONG_MASKS = {
    "itg": {
        "the queries see the text: they would carry the words to be predicted to every position that attends to them. The "
        "loss would be perfect, and the model useless.": partial(
            blocks, queries_text=True, text_queries=True, causal=True
        ),
        "that is causal everywhere: the queries must see each other, too.": causal_mask,
        "the text sees its own future: it could copy the word it should predict.": partial(
            blocks, queries_text=False, text_queries=True, causal=False
        ),
        "the text no longer sees the queries: it would know nothing of the image.": partial(
            blocks, queries_text=False, text_queries=False, causal=True
        ),
    },
    "itc": {
        "queries and text see each other: each side would know the answer already.": MASKS["itm"],
        "the text is causal here; only generation needs that.": partial(
            blocks, queries_text=False, text_queries=False, causal=True
        ),
        "the queries see the text.": partial(
            blocks, queries_text=True, text_queries=False, causal=False
        ),
        "the text sees the queries.": partial(
            blocks, queries_text=False, text_queries=True, causal=False
        ),
    },
    "itm": {
        "image and text can't meet: for matching everybody sees everybody.": MASKS["itc"],
        "the queries don't see the text, but it is their votes that are counted.": partial(
            blocks, queries_text=False, text_queries=True, causal=False
        ),
        "that is the mask of generation.": MASKS["itg"],
        "only the diagonal is True: each position would see itself alone.": lambda R, T: torch.eye(
            R + T
        ).bool(),
    },
}


def mask_rule(objective: str):
    """The Check of one objective's mask."""

    def inputs(generator: torch.Generator) -> tuple[list, dict]:
        return [objective, number(generator, 2, 3), number(generator, 3, 5)], {}

    def of_sizes(formula):
        return lambda _, R, T: formula(R, T)

    right = MASKS[objective]
    common = {
        "it is upside down: True must mean 'may attend'.": lambda R, T: ~right(R, T),
        "that is the transpose: rows are queries, columns are keys.": lambda R, T: right(R, T).T,
    }
    wrong = {**WRONG_MASKS[objective], **common}
    named = {f"{objective}: {message}": of_sizes(formula) for message, formula in wrong.items()}
    return rule_on("my_masks", inputs, three_masks, named)


def similarity(image: Tensor, text: Tensor, units=(unit, unit), over_queries=None) -> Tensor:
    """(N, M): the largest cosine of an image's queries (N, R, E) with a text (M, E)."""
    over_queries = over_queries or (lambda cosines: cosines.amax(1))
    return over_queries(units[0](image) @ units[1](text).T)


def similarity_inputs(generator: torch.Generator) -> tuple[list, dict]:
    images, queries, texts = number(generator, 4, 5), number(generator, 2, 3), 6
    return [
        normal(generator, images, queries, 5, scale=2),
        normal(generator, texts, 5, scale=3),
    ], {}


def same(x: Tensor) -> Tensor:
    return x


STAYS_BEHIND = {
    "feedforward_text": "the text's feed-forward is of no use to queries",
    "norm_text": "the norm after the text's feed-forward goes with it",
    "words": "the language model has words of its own",
    "positions": "only text has positions here",
    "projection": "there is nothing to contrast in stage 2",
    "itm_head": "there is nothing to match in stage 2",
    "head": "the language model writes the text",
    "temperature": "the temperature belongs to the contrast",
    "vision": "the image encoder is no part of the Q-Former: it stays where it is, frozen",
}
NEEDED = {
    "feedforward_queries": "the queries' own feed-forward is what stage 1 trained",
    "cross_attention": "without cross-attention the queries see no image",
    "queries": "the queries themselves",
    "norm_image": "its LayerNorm of features learns, and is needed",
}


def parameter_inputs(generator: torch.Generator) -> tuple[list, dict]:
    sizes = {"vision_width": 4, "vocabulary": 9, "queries": 2, "width": 4, "depth": 2, "heads": 2}
    former = QFormer(QFormerConfig(**sizes)).state_dict()
    heads = "image_projection text_projection itm_head head.dense vision.stem".split()
    names = [*(f"qformer.{name}" for name in former), *(f"{name}.weight" for name in heads)]
    return [{name: normal(generator, 2) for name in [*names, "temperature"]}], {}


def taken_over(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """What stage 2 takes of stage 1: the Q-Former without what is the text's alone."""
    of_text = (".words", ".positions", "feedforward_text", "norm_text")
    return {
        name: value
        for name, value in parameters.items()
        if name.startswith("qformer.") and not any(part in name for part in of_text)
    }


def explain_names(got: object, wanted: dict, parameters: dict) -> str | None:
    if not isinstance(got, dict):
        return None
    if unknown := sorted(set(got) - set(parameters)):
        return f"'{unknown[0]}' is no name of the stage-1 model; keep the names as they are."
    for name in sorted(set(got) - set(wanted)):
        reason = next(why for part, why in STAYS_BEHIND.items() if part in name)
        return f"'{name}' should stay behind: {reason}."
    for name in sorted(set(wanted) - set(got)):
        default = "queries and text share it, and the queries still need it"
        return f"'{name}' is missing: {next((why for part, why in NEEDED.items() if part in name), default)}."
    return None


EXERCISES = {
    "masks": Exercise(
        "Three uses of one model, and nothing but the mask differs.",
        tuple(map(mask_rule, MASKS)),
    ),
    "similarity": Exercise(
        "Each image is represented by the query that fits the text best.",
        (
            rule(
                "my_similarity",
                similarity_inputs,
                similarity,
                {
                    "the queries are averaged: the best one should speak for the image, so that each may look for "
                    "something else.": partial(similarity, over_queries=lambda c: c.mean(1)),
                    "the vectors are not normalised: a long vector would win whatever its direction.": partial(
                        similarity, units=(same, same)
                    ),
                    "the queries are not normalised.": partial(similarity, units=(same, unit)),
                    "the texts are not normalised.": partial(similarity, units=(unit, same)),
                    "the queries are averaged before they are compared.": (
                        lambda i, t: unit(unit(i).mean(1)) @ unit(t).T,
                        lambda i, t: unit(i.mean(1)) @ unit(t).T,
                    ),
                    "that is the worst query, not the best.": partial(
                        similarity, over_queries=lambda c: c.amin(1)
                    ),
                    "the queries are summed.": partial(similarity, over_queries=lambda c: c.sum(1)),
                    "the maximum is over another axis: over the texts, not over an image's queries.": partial(
                        similarity, over_queries=lambda c: c.amax(2)
                    ),
                    "that is the transpose: a row for each image, a column for each text.": lambda i, t: (
                        similarity(i, t).T
                    ),
                    "torch.max over an axis returns two tensors, (values, indices): take .values, or use amax.": partial(
                        similarity, over_queries=lambda c: list(c.max(1))
                    ),
                    "these are the numbers of the best queries (argmax); wanted are their cosines.": partial(
                        similarity, over_queries=lambda c: c.argmax(1)
                    ),
                },
            ),
        ),
    ),
    "taken_over": Exercise(
        "Queries, shared attention, cross-attention and the queries' feed-forward go on; all that was the text's stays behind.",
        (rule("my_handed_over", parameter_inputs, taken_over, explain=explain_names),),
    ),
}


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

    picture = slider("picture", 0, 0, len(images) - 1)
    kept = ipywidgets.SelectMultiple(
        options=range(queries), value=tuple(first), description="queries", rows=min(queries, 8)
    )

    def draw():
        if not kept.value:
            raise ValueError(
                "no query is left, so the language model sees nothing. Choose at least one."
            )
        likely = after(picture.value, kept.value)
        return picture_and_bars(images[picture.value], likely, "probability of the first word")

    interactive([picture, kept], draw)
