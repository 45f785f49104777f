"""Lesson 14: the checks of the exercise on patches among words."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from teaching import llava_reference as reference
from teaching.exercises import Exercise, normal, number, rule, rule_on
from vlmgrader.checks import driver_source


def insert_inputs(generator: torch.Generator) -> tuple[list, dict]:
    P, D, image_id = number(generator, 3, 4), number(generator, 3, 5), 7
    ids = torch.randint(10, 40, (number(generator, 9, 11),), generator=generator)
    ids[torch.tensor([2, 6])] = image_id
    pictures = [normal(generator, P, D) for _ in range(2)]
    return [normal(generator, len(ids), D), ids, image_id, pictures], {}


def inserted(words, ids, image_id, pictures, *, keep=None, change=None) -> Tensor:
    """keep: 'before' or 'after' the patches, the placeholder's own row; change: patches (P, D) -> rows."""
    pieces, start = [], 0
    for place, patches in zip((ids == image_id).nonzero().flatten().tolist(), pictures):
        own = words[place : place + 1]
        patches = change(patches) if change else patches
        rows = {"before": [own, patches], "after": [patches, own]}.get(keep or "", [patches])
        pieces += [words[start:place], *rows]
        start = place + 1
    return torch.cat([*pieces, words[start:]])


def put_one_by_one(words, ids, image_id, pictures, places) -> Tensor:
    """places: where each picture is put into the text as it is then."""
    for place, patches in zip(places, pictures):
        words = torch.cat([words[:place], patches, words[place + 1 :]])
    return words


def places_of(ids: Tensor, image_id: int) -> list[int]:
    return (ids == image_id).nonzero().flatten().tolist()


def inserting(**options) -> Callable:
    return lambda *args: inserted(*args, **options)


INSERT_MISTAKES = {
    "the placeholder's own row is still there: the patches replace it.": (
        inserting(keep="before"),
        inserting(keep="after"),
    ),
    "the pictures are exchanged: the first placeholder gets the first picture.": lambda w, i, t, p: (
        inserted(w, i, t, p[::-1])
    ),
    "every placeholder gets the first picture.": lambda w, i, t, p: inserted(w, i, t, [p[0]] * 2),
    "every placeholder gets the last picture.": lambda w, i, t, p: inserted(w, i, t, [p[-1]] * 2),
    "once the first picture is in, the text is longer and the second placeholder stands further behind.": (
        lambda w, i, t, p: put_one_by_one(w, i, t, p, places_of(i, t)),
        lambda w, i, t, p: put_one_by_one(w, i, t, p, places_of(i, t)[:1] * 2),
        lambda w, i, t, p: put_one_by_one(
            w, i, t, p, [n + k * len(p[0]) for k, n in enumerate(places_of(i, t))]
        ),
    ),
    "only the first picture is put in.": lambda w, i, t, p: inserted(w, i, t, p[:1]),
    "only the last picture is in: put it into the text that has the first picture already.": (
        lambda w, i, t, p: put_one_by_one(w, i, t, p[1:], places_of(i, t)[1:])
    ),
    "the words after the last picture are missing.": lambda w, i, t, p: torch.cat(
        [w[:2], p[0], w[3:6], p[1]]
    ),
    "the words before the pictures are missing.": lambda w, i, t, p: torch.cat([p[0], p[1], w[7:]]),
    "the words between the pictures are missing.": lambda w, i, t, p: torch.cat(
        [w[:2], p[0], p[1], w[7:]]
    ),
    "the words before the first picture are repeated: go on where the last piece ended.": lambda w, i, t, p: (
        torch.cat([w[:2], p[0], w[:6], p[1], w[7:]])
    ),
    "the patches stand in reverse order: keep the order of reading.": inserting(
        change=lambda p: p.flip(0)
    ),
    "a picture is one averaged vector: all of its patches are put in.": inserting(
        change=lambda p: p.mean(0, keepdim=True)
    ),
    "a picture is its first patch alone: all of its patches are put in.": inserting(
        change=lambda p: p[:1]
    ),
    "the patches stand before the text; they stand where the placeholders were.": (
        lambda w, i, t, p: torch.cat([*p, w[i != t]]),
        lambda w, i, t, p: torch.cat([*p, w]),
    ),
    "the patches stand after the text; they stand where the placeholders were.": (
        lambda w, i, t, p: torch.cat([w[i != t], *p]),
        lambda w, i, t, p: torch.cat([w, *p]),
    ),
    "nothing was put in.": (lambda w, i, t, p: w, lambda w, i, t, p: w[i != t]),
}


def run_insert_gradients(target, words, ids, image_id, pictures):
    """Driver: the gradients of the summed squares with respect to words and pictures; zeros where there is none."""
    import torch

    words = words.detach().clone().requires_grad_()
    learns = [one.detach().clone().requires_grad_() for one in pictures]
    value = target(words, ids, image_id, learns)
    if not value.requires_grad:
        return [torch.zeros_like(one) for one in (words, *learns)]
    found = torch.autograd.grad(value.square().sum(), (words, *learns), allow_unused=True)
    return [
        torch.zeros_like(one) if grad is None else grad
        for one, grad in zip((words, *learns), found)
    ]


def insert_gradients(words, ids, image_id, pictures, of_words=1.0, of_pictures=1.0) -> list[Tensor]:
    own = 2 * words * (ids != image_id)[:, None] * of_words
    return [own, *(2 * one * of_pictures for one in pictures)]


def other_count(count: int) -> Callable:
    """Inputs of a text with so many pictures, 0 to 3."""

    def inputs(generator: torch.Generator) -> tuple[list, dict]:
        (words, ids, image_id, pictures), options = insert_inputs(generator)
        ids = torch.where(ids == image_id, 9, ids)
        ids[[1, 3, 5][:count]] = image_id
        pictures = [normal(generator, *pictures[0].shape) for _ in range(count)]
        return [words, ids, image_id, pictures], options

    return inputs


EXERCISES = {
    "insert_patches": Exercise(
        "Each placeholder gives way to all patches of its picture, and the text around it stays.",
        (
            rule("insert_patches", insert_inputs, reference.insert_patches, INSERT_MISTAKES),
            rule(
                "insert_patches",
                insert_inputs,
                insert_gradients,
                {
                    "the values are right, but the pictures get no gradient: a detach cuts it.": (
                        lambda *args: insert_gradients(*args, of_pictures=0.0)
                    ),
                    "the values are right, but the words get no gradient: a detach cuts it.": (
                        lambda *args: insert_gradients(*args, of_words=0.0)
                    ),
                    "the values are right, but nothing gets a gradient: a detach cuts it.": (
                        lambda *args: insert_gradients(*args, 0.0, 0.0)
                    ),
                },
                driver=driver_source(run_insert_gradients),
            ),
            rule_on(
                "insert_patches",
                other_count(1),
                reference.insert_patches,
                explain=lambda got, wanted, words, ids, image_id, pictures: (
                    f"right for two pictures, but not for {len(pictures)}: M may be any number."
                ),
                rounds=1,
                hidden=(other_count(3), other_count(0)),
            ),
        ),
        reference=reference.insert_patches,
    ),
}
