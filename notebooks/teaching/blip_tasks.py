"""BLIP's downstream tasks on the world: data, training from the pre-trained stage, and held-out scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vlmcourse import recipes, world
from vlmcourse.evaluation import (
    Controls,
    eval_mode,
    exact_match,
    measure_controls,
    ranking_metrics,
    recall_at_1,
)
from vlmcourse.papers.blip import BLIP
from vlmcourse.papers.blip_tasks import (
    BLIPForNLVR2,
    BLIPForVisDial,
    BLIPForVQA,
    encode_video,
    video_context,
)
from vlmcourse.parts.attention import KVCache
from vlmcourse.parts.generation import generate, sequence_log_prob
from vlmcourse.recipes.recipe import describe
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import train_or_load
from vlmcourse.world import tokenizer

FINETUNING_OPTIMISATION = Optimisation(7e-4, weight_decay=0.05, warmup=0.1)  # paper: 2e-5 to 3e-5
TWO_PICTURES_OPTIMISATION = Optimisation(5e-4, weight_decay=0.05, warmup=0.1)


def finetune(
    name: str,
    model: nn.Module,
    data,
    scale: Scale | str | None = None,
    seed: int = 0,
    steps: int | None = None,
    on_step: Callable[[Step], None] | None = None,
    batch: int | None = None,
    optimisation: Optimisation = FINETUNING_OPTIMISATION,
) -> nn.Module:
    """A downstream model, which holds its own copy of the pretrained weights, trained or loaded.

    data  has `batch(indices)`;  steps, batch: default, half of BLIP's steps at this scale, and its batch
    """
    sizes = recipes.get("blip").sizes[Scale.of(scale).name]
    batch = batch or sizes.batch
    return train_or_load(
        name,
        model,
        Batches(data.batch, batch),
        steps or sizes.steps // 2,
        optimisation,
        fingerprint={"start": describe(model), "data": describe(data), "batch": batch},
        seed=seed,
        on_step=on_step,
    ).model


@dataclass(frozen=True)
class Questions:
    """Questions about scenes, for Answering. kinds: see world.questions.KINDS"""

    split: str = "train"
    size: int = 64
    seed: int = 0
    kinds: tuple[str, ...] = tuple(world.questions.KINDS)

    def batch(self, indices: Sequence[int]) -> dict:
        asked = world.questions.VQAPairs(
            world.Pairs(self.split, self.size, self.seed), self.kinds
        ).batch(indices)
        return {
            "pixel_values": asked["pixel_values"],
            "question": tokenizer.encode(asked["question"]),
            "ids": tokenizer.encode(asked["answer"]),
            "answer": asked["answer"],
            "kind": asked["kind"],
        }


def generate_answers(
    model: BLIPForVQA, pixel_values: Tensor, question: Tensor, most: int = 4
) -> list[str]:
    """Answers as the decoder writes them, greedily."""
    with eval_mode(model):
        start = torch.full((len(pixel_values), 1), tokenizer.BOS, device=pixel_values.device)
        return tokenizer.decode(
            generate(
                model,
                start,
                most,
                end=tokenizer.EOS,
                cache=KVCache(),
                **model.question_context(pixel_values, question),
            )
        )


def rank_answers(
    model: BLIPForVQA, pixel_values: Tensor, question: Tensor, choices: Sequence[Sequence[str]]
) -> list[str]:
    """The likeliest of each question's choices, with its end: VQA as the paper evaluates it, by ranking (Sec. 5.3).

    Raises ValueError for a question without choices.
    """
    if empty := [row for row, options in enumerate(choices) if not options]:
        raise ValueError(
            f"question {empty[0]} has no candidate answers; expected at least one to rank."
        )
    with eval_mode(model):
        return _likeliest(model, model.question_context(pixel_values, question), choices)


def _likeliest(
    model: BLIPForVQA, read: dict[str, Tensor], choices: Sequence[Sequence[str]]
) -> list[str]:
    """Row by row of the questions as `ask` reads them, the choice with the highest likelihood."""
    said = []
    for row, options in enumerate(choices):
        ids = tokenizer.encode(options)
        loss_mask = (ids != tokenizer.PAD) & (torch.arange(ids.shape[1]) > 0)
        mine = {
            name: value[row : row + 1].expand(len(options), *value.shape[1:])
            for name, value in read.items()
        }
        said.append(options[int(sequence_log_prob(model, ids, loss_mask, **mine).argmax())])
    return said


def answer_report(
    model: BLIPForVQA, kinds: Sequence[str] = tuple(world.questions.KINDS), count: int = 128
) -> dict[str, Controls]:
    """Accuracy on held-out scenes, exact words, beside the blind controls: written, and ranked among the kind's answers."""
    report = {}
    for kind in kinds:
        made = Questions("test", model.blip.config.image_size, kinds=(kind,)).batch(range(count))
        options = [world.questions.answers(kind)] * count

        def right(say: Callable[[Tensor], list[str]]) -> Callable[[Tensor], float]:
            return lambda pixel_values: exact_match(say(pixel_values), made["answer"])

        chance = 1 / len(options[0])
        ways = {
            "written": lambda pixel_values: generate_answers(model, pixel_values, made["question"]),
            "ranked": lambda pixel_values: rank_answers(
                model, pixel_values, made["question"], options
            ),
        }
        report |= {
            f"{kind}, {way}": measure_controls(right(say), made["pixel_values"], chance)
            for way, say in ways.items()
        }
    return report


@dataclass(frozen=True)
class Statements:
    """Statements about two pictures, for Comparing."""

    split: str = "train"
    size: int = 64
    seed: int = 0

    def batch(self, indices: Sequence[int]) -> dict:
        made = [world.statements.statement(self.split, index, self.seed) for index in indices]
        left, right = (
            world.to_pixels(np.stack([world.render(getattr(one, side), self.size) for one in made]))
            for side in ("left", "right")
        )
        return {
            "left": left,
            "right": right,
            "ids": tokenizer.encode([one.text for one in made]),
            "true": torch.tensor([int(one.true) for one in made]),
        }


def compare_report(model: BLIPForNLVR2, count: int = 256) -> dict[str, float]:
    """Accuracy on held-out pairs of pictures; blind: both grey; swapped: left and right exchanged, which "left" notices."""
    made = Statements("test", model.blip.config.image_size).batch(range(count))
    views = {
        "model": (made["left"], made["right"]),
        "blind": (made["left"] * 0, made["right"] * 0),
        "swapped": (made["right"], made["left"]),
    }
    with eval_mode(model):
        return {
            name: (model(*pictures, made["ids"]).argmax(1) == made["true"]).float().mean().item()
            for name, pictures in views.items()
        }


@dataclass(frozen=True)
class Dialogues:
    """Dialogues about scenes, for Talking: round number i % rounds of dialogue i // rounds, with a wrong answer beside."""

    split: str = "train"
    size: int = 64
    seed: int = 0
    rounds: int = 3

    def made(self, index: int) -> tuple[world.Scene, world.dialogues.Dialogue, int]:
        number, spoken = divmod(index, self.rounds)
        scene = world.sample(self.split, number, self.seed)
        return (
            scene,
            world.dialogues.dialogue(
                scene, world.SeededRandom("talk", self.seed, self.split, number), self.rounds
            ),
            spoken,
        )

    def texts(
        self, talk: world.dialogues.Dialogue, spoken: int, answers: Sequence[str]
    ) -> list[str]:
        """What was said, the question, and each of the answers. The caption is not in it: Talking looks at that."""
        before = talk.history(spoken).removeprefix(talk.caption).strip(" .")
        asked = (
            f"{before} . {talk.rounds[spoken].question.text}"
            if before
            else talk.rounds[spoken].question.text
        )
        return [f"{asked} answer : {answer}" for answer in answers]

    def batch(self, indices: Sequence[int]) -> dict:
        made = [self.made(index) for index in indices]
        pairs = []
        for index, (_, talk, spoken) in zip(indices, made):
            one = talk.rounds[spoken]
            other = world.SeededRandom("wrong", index).choice(
                [text for text in one.candidates if text != one.question.answer]
            )
            pairs.append(self.texts(talk, spoken, (one.question.answer, other)))
        right, wrong = (tokenizer.encode([pair[side] for pair in pairs]) for side in (0, 1))
        return {
            "pixel_values": world.to_pixels(
                np.stack([world.render(scene, self.size) for scene, _, _ in made])
            ),
            "caption": tokenizer.encode([talk.caption for _, talk, _ in made]),
            "right": right,
            "wrong": wrong,
        }


def talk_report(model: BLIPForVisDial, count: int = 48) -> dict[str, float]:
    """VisDial's numbers on `count` held-out rounds of 100 candidates, and the same shown grey pictures: caption and question
    alone tell much. NDCG: relevant is the true answer alone."""
    found = {
        how: _talked(model, count, view)
        for how, view in (("", world.to_pixels), (", blind", world.prompts.blank_images))
    }
    return {
        f"{name}{how}": value for how, scores in found.items() for name, value in scores.items()
    }


def _talked(model: BLIPForVisDial, count: int, view: world.prompts.View) -> dict[str, float]:
    data, scores, right = Dialogues("test", model.blip.config.image_size), [], []
    with eval_mode(model):
        for index in range(count):
            scene, talk, spoken = data.made(index)
            one = talk.rounds[spoken]
            seen = model.vision_context(
                view(world.render(scene, data.size)[None]), tokenizer.encode([talk.caption])
            )
            ids = tokenizer.encode(data.texts(talk, spoken, one.candidates))
            seen = {name: value.expand(len(ids), *value.shape[1:]) for name, value in seen.items()}
            scores.append(model(ids, **seen).diff(dim=1)[:, 0])
            right.append(one.right)
    scores, numbers = torch.stack(scores), torch.tensor(right)
    return ranking_metrics(scores, numbers, nn.functional.one_hot(numbers, scores.shape[1]))


def video_report(
    blip: BLIP, model: BLIPForVQA | None = None, count: int = 64, frames: int = 4
) -> dict[str, float]:
    """Zero-shot on short films, by concatenated frames (Sec. 5.6): text-to-film R@1, by contrast and by match, of captions
    that leave the motion out; and, with a model that answers, how many things there are, the background, which way one moves.

    Frames are a set to BLIP: the way of a motion is beyond it, and should stay at chance.
    """
    size = blip.config.image_size
    scenes = [world.sample("test", index, things=(1, 3)) for index in range(count)]
    films = [
        world.videos.make_video(scene, world.SeededRandom("film", index), frames)
        for index, scene in enumerate(scenes)
    ]
    shown = torch.stack([world.to_pixels(one.render(size)) for one in films])  # (B, F, 3, S, S)
    ids = tokenizer.encode([" and ".join(map(world.article, scene.words)) for scene in scenes])
    with eval_mode(blip):
        states, numbers = video_context(blip, shown)["states"], torch.arange(count)
        cosines = blip.encode_text(ids) @ encode_video(blip, shown).T
        match = torch.stack(
            [
                blip.itm_logits(one.expand(count, -1), states).diff(dim=1)[:, 0]
                for one in ids.split(1)
            ]
        )
    report = {
        "text to film R@1, contrast": recall_at_1(cosines, numbers),
        "text to film R@1, match": recall_at_1(match, numbers),
        "R@1, chance": 1 / count,
    }
    if model is None:
        return report
    with eval_mode(model):
        seen = video_context(model.blip, shown)["states"]
        for name, question, answers, options in (
            (
                "how many",
                ["how many things are there ?"] * count,
                [world.questions.NUMBERS[len(scene.things)] for scene in scenes],
                world.questions.answers("how many"),
            ),
            (
                "background",
                ["what colour is the background ?"] * count,
                [scene.background for scene in scenes],
                tuple(world.BACKGROUNDS),
            ),
            (
                "which way",
                [one.questions()[0].text for one in films],
                [one.direction for one in films],
                tuple(world.videos.DIRECTIONS),
            ),
        ):
            read = model.blip.encode_question(tokenizer.encode(question), seen)
            report[f"{name}, films"] = exact_match(
                _likeliest(model, read, [options] * count), answers
            )
            report[f"{name}, chance"] = 1 / len(options)
    return report
