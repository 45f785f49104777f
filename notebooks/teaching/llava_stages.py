"""Lesson 14: the checks of the exercise on what each stage trains."""

from __future__ import annotations

from collections.abc import Callable

import torch

from teaching import llava_reference as reference
from teaching.exercises import Exercise, number, rule
from vlmgrader.checks import driver_source


def run_stages(target, vision_width, width):
    """Driver: names of what is trained after stages 2, 1 and 2 again, and the numbers that were returned.

    Twice: all modules are frozen at the start, then all are trained.
    """
    from torch import nn

    vision = nn.Sequential(nn.Linear(2, vision_width), nn.LayerNorm(vision_width))
    projector = nn.Sequential(nn.Linear(vision_width, width), nn.GELU(), nn.Linear(width, width))
    lm = nn.Sequential(nn.Embedding(5, width), nn.Linear(width, 5))
    parts, found = {"vision": vision, "projector": projector, "lm": lm}, []
    for call, stage in enumerate((2, 1, 2) * 2):
        if call % 3 == 0:
            for part in parts.values():
                part.requires_grad_(call > 0)
        said = target(vision, projector, lm, stage)
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
        return [[list(one), count_of(sizes, one)] for one in (second, first, second) * 2]

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


PARTS = {
    "vision": "the image encoder",
    "projector": "the projector",
    "lm": "the language model",
}


def explain_leftovers(calls: list[list[str]]) -> str | None:
    """calls: what is trained after each call of `run_stages`. Which modules keep what was set before a call, or None."""
    kept = [
        name
        for name in PARTS
        if len({name in calls[call] for call in (0, 2, 3, 5)}) > 1
        or (name in calls[1]) != (name in calls[4])
    ]
    if len(kept) == 1:
        return (
            f"{PARTS[kept[0]]} stays as it was before the call: set its requires_grad in each stage, "
            "to True or to False."
        )
    return (
        "what is trained depends on what was set before the call: set requires_grad in both directions, "
        "True and False."
        if kept
        else None
    )


def explain_stages(got: object, *_: object) -> str | None:
    if not isinstance(got, list) or len(got) != 6:
        return None
    calls = [list(trained) for trained, _ in got]
    if any("a part of" in trained for trained in calls):
        return "only some tensors of a part are trained: use requires_grad_ on the whole module."
    if reason := explain_leftovers(calls):
        return reason
    second, first = calls[:2]
    if first == second == list(SECOND):
        return "both stages train projector and language model; in stage 1 the language model is frozen."
    if "vision" in [*first, *second]:
        return "the image encoder is trained: LLaVA keeps it frozen in both stages."
    if not first or not second:
        return "nothing is trained in a stage: set requires_grad back to True."
    if first == list(FIRST) and second == list(SECOND):
        return "the right parts are trained, but the number returned is not that of their numbers."
    return None


def stage_inputs(generator: torch.Generator) -> tuple[list, dict]:
    return [number(generator, 3, 4), number(generator, 5, 7)], {}


EXERCISES = {
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
