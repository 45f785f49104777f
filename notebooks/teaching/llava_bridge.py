"""Lesson 14: the checks of the exercises on patches among words, and on what each stage trains."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from teaching import llava_reference as reference
from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source

# Exercise 3


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


# Exercise 6


def run_stages(target, vision_width, width):
    """Driver: names of what is trained after stages 2, 1 and 2 again, and the numbers that were returned."""
    from torch import nn

    vision = nn.Sequential(nn.Linear(2, vision_width), nn.LayerNorm(vision_width))
    projector = nn.Sequential(nn.Linear(vision_width, width), nn.GELU(), nn.Linear(width, width))
    lm = nn.Sequential(nn.Embedding(5, width), nn.Linear(width, 5))
    found = []
    for stage in (2, 1, 2):
        said = target(vision, projector, lm, stage)
        parts = {"vision": vision, "projector": projector, "lm": lm}
        some = [
            name
            for name, part in parts.items()
            if any(parameter.requires_grad for parameter in part.parameters())
        ]
        whole = all(
            parameter.requires_grad for name in some for parameter in parts[name].parameters()
        )
        found.append([some if whole else ["a part of", *some], said])
    return found


def stage_sizes(vision_width: int, width: int) -> dict[str, int]:
    return {
        "vision": 2 * vision_width + 3 * vision_width,
        "projector": vision_width * width + width + width * width + width,
        "lm": 5 * width + 5 * width + 5,
    }


def staged(first, second, count=None) -> Callable:
    """What the driver gives where stage 1 trains `first` and stage 2 `second`. count: (sizes, trained) -> number."""

    def formula(vision_width: int, width: int) -> list:
        sizes = stage_sizes(vision_width, width)
        count_of = count or (lambda sizes, trained: sum(sizes[name] for name in trained))
        return [[list(one), count_of(sizes, one)] for one in (second, first, second)]

    return formula


FIRST, SECOND = ("projector",), ("projector", "lm")
STAGE_MISTAKES = {
    "the two stages are exchanged.": staged(SECOND, FIRST),
    "the image encoder is trained in stage 2; LLaVA keeps it frozen in both.": staged(
        FIRST, ("vision", "projector", "lm")
    ),
    "everything is trained in both stages.": staged(
        ("vision", "projector", "lm"), ("vision", "projector", "lm")
    ),
    "the projector is frozen in stage 2; it goes on learning.": staged(FIRST, ("lm",)),
    "both stages train the projector alone; stage 2 trains the language model, too.": staged(
        FIRST, FIRST
    ),
    "both stages train projector and language model; in stage 1 the language model is frozen.": staged(
        SECOND, SECOND
    ),
    "the right parts are trained; return how many numbers they hold, not None.": staged(
        FIRST, SECOND, lambda sizes, trained: None
    ),
    "the right parts are trained, but you count the numbers of all parts.": staged(
        FIRST, SECOND, lambda sizes, trained: sum(sizes.values())
    ),
    "the right parts are trained, but you count tensors: p.numel() is the number of numbers in one.": staged(
        FIRST, SECOND, lambda sizes, trained: 4 if len(trained) == 1 else 7
    ),
    "the right parts are trained, but you count what is frozen.": staged(
        FIRST,
        SECOND,
        lambda sizes, trained: sum(size for name, size in sizes.items() if name not in trained),
    ),
}


def explain_stages(got: object, *_: object) -> str | None:
    if not isinstance(got, list) or len(got) != 3:
        return None
    (second, _), (first, _), (again, _) = got
    if "a part of" in [*second, *first, *again]:
        return "only some tensors of a part are trained: use requires_grad_ on the whole module."
    if list(again) != list(second):
        return (
            "what is trained in stage 2 depends on the stage that came before: set requires_grad in both "
            "directions, True and False."
        )
    if list(first) == ["projector", "lm"] and list(second) == ["projector", "lm"]:
        return "both stages train projector and language model; in stage 1 the language model is frozen."
    if "vision" in [*first, *second]:
        return "the image encoder is trained: LLaVA keeps it frozen in both stages."
    if not first or not second:
        return "nothing is trained in a stage: set requires_grad back to True."
    if list(first) == list(FIRST) and list(second) == list(SECOND):
        return "the right parts are trained, but the number returned is not that of their numbers."
    return None


def stage_inputs(generator: torch.Generator) -> tuple[list, dict]:
    return [number(generator, 3, 4), number(generator, 5, 7)], {}


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
        ),
        reference=reference.insert_patches,
    ),
    "choose_trained": Exercise(
        "Stage 1 trains the projector, stage 2 projector and language model, in any order of calls.",
        (
            rule(
                "choose_trained",
                stage_inputs,
                staged(FIRST, SECOND),
                STAGE_MISTAKES,
                driver=driver_source(run_stages),
                explain=explain_stages,
            ),
        ),
        reference=reference.choose_trained,
    ),
}
