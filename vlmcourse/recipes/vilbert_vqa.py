"""ViLBERT fine-tuned to answer questions about scenes: a classifier over a fixed list of answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from vlmcourse import world
from vlmcourse.evaluation import masked
from vlmcourse.evaluation.controls import eval_mode
from vlmcourse.papers.vilbert import ViLBERT
from vlmcourse.papers.vilbert_tasks import ViLBERTForVQA
from vlmcourse.parts.language import freeze
from vlmcourse.recipes import recipe as registry
from vlmcourse.recipes import vilbert as pretraining
from vlmcourse.recipes.recipe import Recipe, Run, Stage
from vlmcourse.training.in_memory import InMemory
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world.region_questions import RegionQuestions

OPTIMISATION = Optimisation(1e-3, weight_decay=0.01, warmup=0.1)


@dataclass(frozen=True)
class Sizes(registry.Sizes):
    """Beside batch and steps: how many different questions the training set has."""

    questions: int


SIZES = {
    "smoke": Sizes(16, 20, 64),
    "laptop": Sizes(64, 1000, 4096),
    "gpu": Sizes(512, 2000, 100_000),
}


def region_questions(
    scale: Scale, split: str = "train", seed: int = 0, classifier=None
) -> RegionQuestions:
    """Questions about a split's scenes. classifier: of regions; default: the trained one."""
    data = pretraining.region_pairs(scale, seed, split=split, classifier=classifier)
    return RegionQuestions(data, world.known_nouns()[:: pretraining.EVERY])


def setup(
    scale: Scale, sizes: Sizes, seed: int, stage: Stage, *, vilbert: ViLBERT | None = None
) -> Run:
    """vilbert: what is fine-tuned; default: the pre-trained one."""
    start = vilbert or cast(ViLBERT, stage("vilbert", seed))
    data = region_questions(scale, seed=seed, classifier=freeze(stage("region_classifier")))
    with seeded(seed):
        model = ViLBERTForVQA(start, len(data.vocabulary))
    return Run(model, InMemory(data, sizes.questions), start.config, (start,), sizes.questions)


def accuracy_by_kind(
    model: nn.Module, batch: dict, view: masked.BatchChange = masked.unchanged
) -> dict[str, float]:
    """How often the likeliest of all answers is right, by kind of question, and the mean over kinds.

    batch  of RegionQuestions;  view: makes the control of it, without a picture or with another's
    """
    right = answer(model, view(batch)) == batch["answer"]
    scores = {}
    for kind in sorted(set(batch["kind"])):
        at = torch.tensor([name == kind for name in batch["kind"]])
        scores[kind] = right[at].float().mean().item()
    return scores | {"mean": sum(scores.values()) / len(scores)}


def answer(model: nn.Module, batch: dict) -> torch.Tensor:
    """The number of the likeliest answer to each question (B,)."""
    device = next(model.parameters()).device
    inputs = masked.select_rows(batch, torch.arange(len(batch["ids"])))
    with eval_mode(model):
        logits = model({name: value.to(device) for name, value in inputs.items()})
    return logits.argmax(-1).cpu()


def report(model: nn.Module, scale: Scale, count: int) -> dict[str, float]:
    """Accuracy on held-out scenes by kind of question, with the picture, without, and with another's; and chance."""
    data = region_questions(scale, "test")
    batch, scores = data.batch(range(count)), dict[str, float]()
    for name, view in pretraining.VIEWS.items():
        by_kind = accuracy_by_kind(model, batch, view)
        scores |= {f"{kind}{name}": score for kind, score in by_kind.items()}
    return scores | {f"{kind}, chance": 1 / len(data.answers(kind)) for kind in data.kinds}


vilbert_vqa = Recipe("vilbert_vqa", SIZES, setup, OPTIMISATION, report, shipped_dtype=torch.float16)
