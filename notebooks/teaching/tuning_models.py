"""Lesson 06: language models tuned with the student's functions, and the failure lab's runs."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from teaching import tuning, tuning_layers, tuning_task
from vlmcourse import recipes
from vlmcourse.papers.frozen import Frozen, FrozenConfig
from vlmcourse.parts.language import Decoder, LanguageModel, embed, freeze, logits, width
from vlmcourse.parts.tuning import SUBLAYERS, Adapter, count_trainable
from vlmcourse.training.scale import Scale
from vlmcourse.world.documents import vocabulary

IMAGE = vocabulary()["<image>"]


class PromptedModel(LanguageModel):
    """A frozen language model with `length` trained vectors before every text, read by the function prompt_logits."""

    def __init__(self, lm: Decoder, length: int, prompt_logits: Callable):
        super().__init__(freeze(lm))
        self.prompt_logits = prompt_logits
        words = lm.get_input_embeddings().weight
        chosen = torch.randint(len(words), (length,), generator=torch.Generator().manual_seed(0))
        self.prompt = nn.Parameter(words[chosen].detach().clone())

    def forward(self, ids: Tensor, cache=None, padding_mask: Tensor | None = None) -> Tensor:
        """ids (B, T) -> logits (B, T, V). Nothing is cached; texts have no padding."""
        return self.prompt_logits(partial(logits, self.lm), self.prompt, embed(self.lm, ids))


class AdaptedModel(LanguageModel):
    """A frozen language model with an adapter behind each sub-layer, made and inserted by the functions given."""

    def __init__(self, lm: Decoder, bottleneck: int, adapter: Callable, insert_adapters: Callable):
        super().__init__(freeze(lm))
        places = sublayers(lm)
        self.adapters = nn.ModuleList(adapter(width(lm), bottleneck) for _ in places)
        self.handles = insert_adapters(places, list(self.adapters))


def sublayers(lm: Decoder) -> list[nn.Module]:
    """The attention and the feed-forward of each layer, in order."""
    return [part for name, part in lm.named_modules() if name.split(".")[-1] in SUBLAYERS]


def shipped(scale: Scale) -> LanguageModel:
    """A fresh copy of the course's language model."""
    return copy.deepcopy(recipes.get("language").train_or_load(scale).model)


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all parameters by name."""
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def parameters_now(model: nn.Module) -> dict[str, Tensor]:
    """All parameters by name, not copied."""
    return {name: value.detach() for name, value in model.named_parameters()}


def tune(
    model: nn.Module,
    task: tuning_task.Task,
    rate: float,
    steps: int,
    changed_parameters: Callable[[Mapping, Mapping], Sequence[str]],
) -> dict[str, object]:
    """Trains, and reports: numbers trained, learning rate, accuracies, facts still known, frozen parameters that changed, and seconds."""
    before = snapshot(model)
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    history = list(tuning_task.train(model, task, steps, rate))
    changed = changed_parameters(before, parameters_now(model))
    return {
        "trained": count_trainable(model),
        "learning rate": rate,
        "held-out nouns": tuning_task.accuracy(model, task.held_out),
        "training nouns": tuning_task.accuracy(model, task.train),
        "facts": tuning_task.facts(model),
        "changed": len(changed),
        "frozen but changed": sorted(frozen & set(changed)),
        "seconds": history[-1].seconds,
        "losses": [step.loss for step in history],
    }


def new_frozen(scale: Scale) -> Frozen:
    """An untrained Frozen around the course's language model: a small image encoder makes two vectors of a picture."""
    config = FrozenConfig(
        IMAGE, prefix_length=2, image_size=32, vision_width=32, vision_depth=1, vision_heads=2
    )
    return Frozen(config, freeze(shipped(scale).lm)).eval()


def read_with_picture(frozen: Frozen, pixel_values: Tensor, ids: Tensor) -> Tensor:
    """Logits (B, T, V) of ids (B, T) behind one picture (B, 3, 32, 32)."""
    tags = torch.full((len(ids), 2), IMAGE)
    context = frozen.vision_context(pixel_values)
    return frozen(torch.cat([tags, ids], dim=1), **context)[:, 2:]


# Failure lab


class NoResidual(Adapter):
    def forward(self, x: Tensor) -> Tensor:
        return self.up(nn.functional.gelu(self.down(x)))


class EarlierTarget(tuning_task.Task):
    """The task with its loss at the colon."""

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        batch = super().batch(indices)
        return batch | {"loss_mask": batch["loss_mask"].roll(-1, 1)}


CAUSES = ("healthy", "no residual", "not frozen", "wrong target")


def broken_run(cause: str, scale: Scale) -> dict[str, object]:
    """Adapters of width 8 trained on the task "place", with one fault (or none); see CAUSES."""
    torch.manual_seed(0)
    kind = NoResidual if cause == "no residual" else Adapter
    model = AdaptedModel(shipped(scale).lm, 8, kind, tuning_layers.insert_adapters)
    task = tuning_task.place_task(0)
    if cause == "wrong target":
        task = EarlierTarget(task.train, task.held_out)
    if cause == "not frozen":
        model.lm.requires_grad_(True)
    steps = 3 if scale.name == "smoke" else 100
    result = tune(model, task, tuning_task.RATES["adapters"], steps, tuning.changed_parameters)
    for handle in model.handles:
        handle.remove()
    return result | {"facts, adapters removed": tuning_task.facts(LanguageModel(model.lm))}


def lab(scale: Scale) -> dict[str, dict[str, object]]:
    """The healthy run and the broken ones, called A, B and C in a fixed shuffled order."""
    broken = list(CAUSES[1:])
    random.Random("tuning lab").shuffle(broken)
    names = {"healthy": "healthy"} | dict(zip("ABC", broken))
    return {name: broken_run(cause, scale) for name, cause in names.items()}
