"""Lesson 07: the checks of the exercises on the loss: which tokens are scored, and how."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from teaching import frozen_reference as reference
from teaching.exercises import Exercise, gradient_rule, normal, number, rule


def mask_inputs(generator: torch.Generator) -> tuple[list, dict]:
    image_id, stop, end, pad = (torch.randperm(9, generator=generator) + 1)[:4].tolist()
    rows = []
    for slots in (torch.randperm(4, generator=generator)[:3] + 1).tolist():
        caption = torch.randint(10, 40, (number(generator, 3, 5),), generator=generator).tolist()
        rows.append([50, *[image_id] * slots, stop, *caption, stop, end])
    length = max(map(len, rows)) + 1
    return [
        torch.tensor([row + [pad] * (length - len(row)) for row in rows]),
        image_id,
        end,
        pad,
    ], {}


def scored(
    ids: Tensor, image_id: int, end: int, pad: int, *also: str, without: tuple[str, ...] = ()
) -> Tensor:
    """The caption; with `also`: 'first' (<bos>), 'slots', 'stop' (of the prompt), 'end', 'pads'; without 'word', 'last'."""
    result = torch.zeros_like(ids, dtype=torch.bool)
    for row, out in zip(ids.tolist(), result):
        last = max(i for i, token in enumerate(row) if token == image_id)
        final = max(i for i, token in enumerate(row) if token not in (end, pad))
        kinds = {0: "first", last + 1: "stop", last + 2: "word", final: "last"}
        for i, token in enumerate(row):
            special = {image_id: "slots", end: "end", pad: "pads"}
            kind = special.get(token) or kinds.get(i, "caption")
            out[i] = kind in also or (kind in ("word", "caption", "last") and kind not in without)
    return result


def with_also(*also: str, **options):
    return lambda ids, image_id, end, pad: scored(ids, image_id, end, pad, *also, **options)


def at_fixed(start: int):
    return lambda i, s, e, p: (torch.arange(i.shape[1]) >= start) & (i != p) & (i != e)


def at_fixed_without_slots(start: int):
    return lambda i, s, e, p: at_fixed(start)(i, s, e, p) & (i != s)


def from_position(start: int):
    return lambda i, *_: (torch.arange(i.shape[1]) >= start).expand(len(i), -1)


MASK_MISTAKES = {
    "it is upside down: True must mean that the token is scored.": lambda *a: ~scored(*a),
    "everything is scored, even padding.": lambda i, *a: torch.ones_like(i).bool(),
    "padding is scored: the model would learn to write <pad>.": (
        with_also("pads", "end"),
        with_also("pads"),
        with_also("pads", "end", "stop"),
        with_also("pads", "stop"),
        with_also("pads", "end", "stop", "slots"),
    ),
    "the end token is scored. That is usual, and wrong here: see the rule above the exercise.": with_also(
        "end"
    ),
    "the end token and the full stop of the prompt are scored. Both belong to no caption here: see the rule "
    "above the exercise.": with_also("stop", "end"),
    "the full stop of the prompt is scored: it is the same for all pictures, and is given when the model is "
    "used.": with_also("stop"),
    "the slots are scored: no word is to be predicted in the place of a picture.": (
        with_also("slots", "stop"),
        with_also("slots", "stop", "end"),
        with_also("slots"),
    ),
    "every token of the text is scored, <bos> included, which nothing precedes.": (
        with_also("first", "slots", "stop"),
        with_also("first", "slots", "stop", "end"),
    ),
    "<bos> is scored: nothing precedes it, so nothing can predict it.": (
        with_also("first", "stop"),
        with_also("first", "stop", "end"),
        with_also("first"),
    ),
    "the first word of the caption is not scored: it may be the word that names the thing.": with_also(
        without=("word",)
    ),
    "the last full stop is not scored: it belongs to the caption.": with_also(without=("last",)),
    "the caption is taken to begin at a fixed position: a text may have more slots or fewer.": (
        *map(at_fixed, range(2, 7)),
        *map(at_fixed_without_slots, range(3, 7)),
    ),
    "the caption is taken to begin at a fixed position, and padding is scored, too.": tuple(
        map(from_position, range(2, 7))
    ),
    "the mask is shifted: True stands at the token that is scored itself; the loss does the shift.": (
        lambda *a: scored(*a).roll(-1, 1),
        lambda *a: scored(*a).roll(1, 1),
    ),
    "nothing is scored.": lambda i, *a: torch.zeros_like(i).bool(),
}


def loss_inputs(generator: torch.Generator) -> tuple[list, dict]:
    B, T, V = 3, number(generator, 6, 8), number(generator, 9, 12)
    ids = torch.randint(0, V, (B, T), generator=generator)
    mask = torch.zeros(B, T, dtype=torch.bool)
    for row, count in zip(mask, (2, 4, 3)):
        row[-count:] = True
    mask[0, -1] = False
    return [normal(generator, B, T, V, scale=2), ids, mask], {}


def surprise(logits: Tensor, ids: Tensor) -> Tensor:
    return cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none").view(ids.shape)


def shifted(reduce):
    """A loss of surprises (B, T - 1) of the tokens from the second on, and their mask."""
    return lambda x, i, m: reduce(surprise(x[:, :-1], i[:, 1:]), m[:, 1:]).item()


LOSS_MISTAKES = {
    "nothing was shifted: the logits at position t are about token t + 1.": lambda x, i, m: (
        surprise(x, i)[m].mean().item()
    ),
    "the shift goes the wrong way: the logits at position t are about token t + 1.": lambda x, i, m: (
        surprise(x[:, 1:], i[:, :-1])[m[:, :-1]].mean().item()
    ),
    "logits and ids are shifted, the mask is not: it belongs to the tokens, as ids do.": lambda x, i, m: (
        surprise(x[:, :-1], i[:, 1:])[m[:, :-1]].mean().item()
    ),
    "all tokens are scored: use the mask.": shifted(lambda s, m: s.mean()),
    "that is the sum over scored tokens; take their mean.": shifted(lambda s, m: s[m].sum()),
    "the tokens that are not scored count instead.": shifted(lambda s, m: s[~m].mean()),
    "the sum over scored tokens is divided by the number of all tokens.": shifted(
        lambda s, m: (s * m).mean()
    ),
    "that is the mean over texts of each text's mean: every scored token has the same weight.": shifted(
        lambda s, m: ((s * m).sum(1) / m.sum(1)).mean()
    ),
    "that is the sum over scored tokens, divided by the number of texts.": shifted(
        lambda s, m: (s * m).sum() / len(m)
    ),
    "that is in bits, with the logarithm to base 2; the loss is in nats, with the natural one.": shifted(
        lambda s, m: s[m].mean() / math.log(2)
    ),
    "that is the perplexity: the loss is its logarithm.": shifted(lambda s, m: s[m].mean().exp()),
    "the logits at position t + 1 are taken for token t: the shift goes the wrong way.": lambda x, i, m: (
        surprise(x[:, 1:], i[:, :-1])[m[:, 1:]].mean().item()
    ),
    "the sign is wrong: a loss is never negative.": shifted(lambda s, m: -s[m].mean()),
    "the softmax is applied twice: cross_entropy expects logits.": lambda x, i, m: (
        surprise(x.softmax(-1)[:, :-1], i[:, 1:])[m[:, 1:]].mean().item()
    ),
}


def loss_value(logits: Tensor, ids: Tensor, mask: Tensor) -> float:
    return reference.caption_loss(logits, ids, mask).item()


EXERCISES = {
    "caption_mask": Exercise(
        "The caption with its full stop: no slot, no full stop of the prompt, no end token, no padding.",
        (
            rule(
                "caption_mask",
                mask_inputs,
                reference.caption_mask,
                MASK_MISTAKES,
                rounds=5,
            ),
        ),
        reference=reference.caption_mask,
    ),
    "caption_loss": Exercise(
        "Each scored token is predicted at the position before it, and all count alike.",
        (
            rule(
                "caption_loss",
                loss_inputs,
                loss_value,
                LOSS_MISTAKES,
            ),
            gradient_rule(
                "caption_loss",
                loss_inputs,
                reference.caption_loss,
                1,
                "the number is right, but it has no gradient with respect to the logits.",
            ),
        ),
        reference=reference.caption_loss,
    ),
}
