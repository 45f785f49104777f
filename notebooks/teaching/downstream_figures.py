"""Lesson 09: what the small downstream models do on held-out pictures, in numbers and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from teaching.downstream import SmallNLVR2, SmallVisDial, SmallVQA, states_of
from teaching.downstream_data import CANDIDATES, Asked, Stated, Talked
from vlmcourse import plots, world
from vlmcourse.evaluation import eval_mode
from vlmcourse.papers.blip import BLIP
from vlmcourse.papers.blip_tasks import encode_video
from vlmcourse.world import SeededRandom, tokenizer

VIEWS = {"with the picture": False, "with a blank picture": True}


def _render(scenes, size: int) -> np.ndarray:
    return np.stack([world.render(scene, size) for scene in scenes])


# Questions.


def answers(model: SmallVQA, asked: Asked, blank: bool = False) -> list[str]:
    """What it writes; blank: of grey pictures."""
    states = states_of(model.blip, asked.scenes, True) if blank else asked.states
    return model.write(states, asked.table().columns["question"])


def question_pictures(model: SmallVQA, asked: Asked, count: int = 6):
    """Pictures with a question and the answer that the model writes."""
    few = Asked(asked.states[:count], asked.scenes[:count], asked.questions[:count])
    written, lines, right = answers(model, few), [], []
    for question, answer in zip(few.questions, written):
        lines.append(f"{question.text}\n{answer}")
        right.append(answer == question.answer)
    return plots.pictures(_render(few.scenes, model.blip.config.image_size), lines, right)


def question_accuracy(model: SmallVQA, asked: Asked) -> dict[str, dict[str, float]]:
    """Share of right answers of each kind: with the picture, blind, and what guessing among its answers gives.

    Questions for a thing are two kinds: of pictures of one thing, and "in the top left" where there are two.
    """
    kinds: dict[str, list[int]] = {}
    for number, question in enumerate(asked.questions):
        name = tuple(CANDIDATES)[number % len(CANDIDATES)]
        if name == "what":
            name += ", at a place" if " in the " in question.text else ", one thing"
        kinds.setdefault(name, []).append(number)
    right = {
        view: [
            text == question.answer
            for text, question in zip(answers(model, asked, blank), asked.questions)
        ]
        for view, blank in VIEWS.items()
    }
    return {
        f"{name}\nn = {len(rows)}": {
            **{view: sum(each[row] for row in rows) / len(rows) for view, each in right.items()},
            "guessing": 1 / len(CANDIDATES[name.split(",")[0]]),
        }
        for name, rows in sorted(kinds.items(), reverse=True)
    }


# Two pictures.


@torch.no_grad()
def statement_accuracy(model: SmallNLVR2, stated: Stated) -> dict[str, dict[str, float]]:
    """Share of statements judged rightly: with both pictures, with one of them shown twice, and blind.

    The third is no model: it knows what the left picture has, and says "true" where that has the thing.
    """
    ids, true = (stated.table().columns[name] for name in ("ids", "true"))
    blank = states_of(model.blip, [left for left, _ in stated.scenes], True)
    views = {
        "both pictures": (stated.left, stated.right),
        "the left one twice": (stated.left, stated.left),
        "blank pictures": (blank, blank),
    }
    found = {
        name: (model(*pictures, ids).argmax(1) == true).float().mean().item()
        for name, pictures in views.items()
    }
    in_left = torch.tensor(
        [
            any(f"there is {world.article(word)} in" in text for word in left.words)
            for (left, _), text in zip(stated.scenes, stated.texts)
        ]
    )
    known = (in_left == stated.true).float().mean().item()
    blind = found.pop("blank pictures")
    found |= {"only the left one is known": known, "blank pictures": blind}
    return {name: {"share judged rightly": share} for name, share in found.items()}


# Dialogues.


@torch.no_grad()
def talk_scores(model: SmallVisDial, talked: Talked, blank: bool = False) -> Tensor:
    """(N, C) log-odds of each candidate; where a round has fewer, minus infinity."""
    states = states_of(model.blip, talked.scenes, True) if blank else talked.states
    captions = tokenizer.encode(talked.captions)
    scores = torch.full((len(states), max(map(len, talked.candidates))), -torch.inf)
    for row in range(len(states)):
        ids = talked.with_answers(row)
        each = [table[row : row + 1].expand(len(ids), *table.shape[1:]) for table in (states, captions)]  # fmt: skip
        scores[row, : len(ids)] = model(*each, ids).diff(dim=1)[:, 0]
    return scores


def example_round(talked: Talked, row: int) -> str:
    """One round in words, as Markdown."""
    options, right = talked.candidates[row], int(talked.right[row])
    return (
        f"- caption: {talked.captions[row]}\n- dialogue: {talked.texts[row]}\n"
        f"- candidates: {', '.join(options)}\n- right: {options[right]}"
    )


# Films.


def films(count: int, frames: int = 4) -> tuple[list, list[str]]:
    """Short held-out films in which one thing moves, and captions that leave the motion out."""
    scenes = [world.sample("test", index, things=(1, 2)) for index in range(count)]
    made = [
        world.videos.make_video(scene, SeededRandom("film", index), frames)
        for index, scene in enumerate(scenes)
    ]
    return made, [" and ".join(map(world.article, scene.words)) for scene in scenes]


def film_pixels(made: list, size: int) -> Tensor:
    """(B, F, 3, S, S)."""
    return torch.stack([world.to_pixels(one.render(size)) for one in made])


def film_strip(made: list, captions: list[str], size: int):
    """The frames of the first two films."""
    pictures = np.concatenate([one.render(size) for one in made[:2]])
    frames = len(made[0].frames)
    lines = [
        f"film {film + 1}, frame {frame + 1}" + (f"\n{captions[film]}" if frame == 0 else "")
        for film in range(2)
        for frame in range(frames)
    ]
    return plots.pictures(pictures, lines, columns=frames)


def film_scores(
    blip: BLIP, pixels: Tensor, captions: list[str], video_states: Callable
) -> dict[str, Tensor]:
    """(N, N) scores of texts and films: cosines with the mean of the frames' vectors, and ITM over all frames' states."""
    ids, count = tokenizer.encode(captions), len(captions)
    with eval_mode(blip):
        states = video_states(lambda pictures: blip.vision_context(pictures)["states"], pixels)
        cosines = blip.encode_text(ids) @ encode_video(blip, pixels).T
        match = [
            blip.itm_logits(each.expand(count, -1), states).diff(dim=1)[:, 0]
            for each in ids.split(1)
        ]
    return {"ITC, mean of the frames": cosines, "ITM, all frames' states": torch.stack(match)}


def same_words(captions: list[str]) -> Tensor:
    """(N, N) booleans: do two captions name the same things?"""
    keys = [tuple(sorted(caption.split(" and "))) for caption in captions]
    return torch.tensor([[one == other for other in keys] for one in keys])


def ranking_bars(reports: Mapping[str, Mapping[str, float]], chance: Mapping[str, float]):
    """Recall and MRR of several rankings, beside guessing."""
    names = [name for name in next(iter(reports.values())) if name != "MR"]
    groups = {title: {name: found[name] for name in names} for title, found in reports.items()}
    groups["guessing"] = {name: chance[name] for name in names}
    return plots.bars(groups, "share, or mean of 1 / rank", sideways=True, highest=1, form=".2f")


def guessing(talked_candidates: list, metrics: Callable, draws: int = 50) -> dict[str, float]:
    """What random scores give for as many candidates, mean of `draws` rankings."""
    generator = torch.Generator().manual_seed(0)
    widest, rows = max(map(len, talked_candidates)), len(talked_candidates)
    found: list[dict[str, float]] = []
    for _ in range(draws):
        scores = torch.rand(rows, widest, generator=generator)
        for row, options in enumerate(talked_candidates):
            scores[row, len(options) :] = -torch.inf
        found.append(metrics(scores, torch.zeros(rows, dtype=torch.long)))
    return {name: sum(one[name] for one in found) / draws for name in found[0]}
