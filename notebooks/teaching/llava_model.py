"""Lesson 14: a small LLaVA put together from what the student writes, its data, and its tests."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vlmcourse import recipes, world
from vlmcourse.evaluation.generation import generate_sentences
from vlmcourse.parts.attention import cached_length
from vlmcourse.parts.language import embed, freeze, logits, width
from vlmcourse.parts.vision import ViT
from vlmcourse.recipes.llava import TUNING_OPTIMISATION
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step, fit
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import prompts, tokenizer
from vlmcourse.world.regions import SubsetOfNouns

Parts = Mapping[str, Callable]
"""What the student writes, by name: see teaching.llava_reference.PARTS."""
NOUNS = world.known_nouns()[:96:8]
"""Twelve nouns: few enough to learn where they are in less than a minute."""
IMAGE = "<image> ."
ASK = "question : {} answer :"
DESCRIBE = "what is on the picture ?"
KINDS = {"how many": "how many", "what is the thing": "what", "what colour": "background"}
"""How questions begin, and what their kind is called."""


def kind_of(question: str) -> str:
    return next(kind for start, kind in KINDS.items() if question.startswith(start))


@torch.no_grad()
def block_states(vit: ViT, pixel_values: Tensor) -> list[Tensor]:
    """The input of the first block, and the output of each: L + 1 times (B, 1 + P, C)."""
    states, keep = [], lambda module, inputs, output: states.append(output)
    handles = [block.register_forward_hook(keep) for block in vit.transformer.blocks]
    first = vit.embed(pixel_values)
    vit.transformer(first)
    for handle in handles:
        handle.remove()
    return [first, *states]


class BuiltLLaVA(nn.Module):
    """LLaVA put together from `parts`, between CLIP's image tower and a copy of the shipped language model."""

    def __init__(self, scale: Scale, parts: Parts, seed: int = 0):
        super().__init__()
        self.parts, self.size = parts, scale.image_size
        self.vision = freeze(deepcopy(recipes.get("clip").train_or_load(scale).model.vision))
        self.skip_blocks = int(len(self.vision.transformer.blocks) > 1)
        self.lm = deepcopy(recipes.get("language").train_or_load(scale).model.lm)
        self.image_id = tokenizer.world_tokenizer().convert_tokens_to_ids("<image>")
        with seeded(seed):
            self.projector = parts["Projector"](self.vision.width, width(self.lm))

    def features(self, pixel_values: Tensor) -> Tensor:
        """Images (B, 3, S, S) -> features of their patches (B, P, C)."""
        states = block_states(self.vision, pixel_values)
        return self.parts["select_features"](states, self.skip_blocks, False)

    def vision_context(self, pixel_values: Tensor) -> dict[str, Tensor]:
        return {"features": self.features(pixel_values)}

    def forward(
        self, ids: Tensor, cache=None, padding_mask: Tensor | None = None, features=None
    ) -> Tensor:
        """Logits of texts with one picture each: ids (B, T), features (B, P, C) -> (B, T - 1 + P, V), without the cached ones."""
        vectors = self.projector(features)
        rows = [
            self.parts["insert_patches"](words, row, self.image_id, [picture])
            for words, row, picture in zip(embed(self.lm, ids), ids, vectors)
        ]
        x = torch.stack(rows)
        if padding_mask is not None:  # padding stands on the left
            padding = (~padding_mask).sum(1, keepdim=True)
            padding_mask = torch.arange(x.shape[1]) >= padding
        return logits(self.lm, x[:, cached_length(cache) :], padding_mask, cache)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `features` (B, P, C); `ids` and `loss_mask` (B, T), where the second token is the placeholder."""
        found = self(batch["ids"], features=batch["features"])
        found = found[:, batch["features"].shape[1] : -1]  # those that predict tokens 2, 3, ...
        ids, scored = batch["ids"][:, 2:], batch["loss_mask"][:, 2:]
        return {"lm": cross_entropy(found[scored], ids[scored])}


def scenes_of(size: int, count: int, split: str = "train") -> list[world.Scene]:
    """Scenes of two or three of the twelve nouns. size: of the pictures, in pixels."""
    pairs = SubsetOfNouns(split, size, 0, (2, 3), noun_subset=NOUNS)
    return pairs.scenes(range(count))


def symbols_of(scene: world.Scene) -> tuple[list[tuple[str, float, float]], str]:
    """What the writer of dialogues gets to know of a scene: words with places, and the background."""
    return [(thing.word, thing.x, thing.y) for thing in scene.things], scene.background


def captions(scene: world.Scene) -> list[tuple[str, str]]:
    """The one turn of feature alignment: a description."""
    rng = world.SeededRandom("caption", scene)
    return [(DESCRIBE, world.captions.detailed(scene, rng))]


@dataclass(frozen=True)
class Talks:
    """Dialogues about the first `size` scenes, made once. view: how pictures become pixels."""

    model: BuiltLLaVA
    scenes: Sequence[world.Scene]
    turns_of: Callable[[world.Scene], list[tuple[str, str]]]
    view: prompts.View = world.to_pixels

    @cached_property
    def whole(self) -> dict[str, Tensor]:
        images = np.stack([world.render(scene, self.model.size) for scene in self.scenes])
        features = torch.cat(
            [
                self.model.features(self.view(images[i : i + 128]))
                for i in range(0, len(images), 128)
            ]
        )
        known = tokenizer.world_tokenizer().get_vocab()
        rows, masks = [], []
        for scene in self.scenes:
            said = [f"{ASK.format(q)} {a} ." for q, a in self.turns_of(scene)]
            words = " ".join(["<bos>", IMAGE, *said]).split()
            rows.append(torch.tensor([known[word] for word in words]))
            masks.append(torch.tensor(self.model.parts["answer_mask"](words)))
        pad = nn.utils.rnn.pad_sequence
        return {
            "features": features,
            "ids": pad(rows, batch_first=True, padding_value=tokenizer.PAD),
            "loss_mask": pad(masks, batch_first=True),
        }

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        chosen = {name: value[list(indices)] for name, value in self.whole.items()}
        last = int(chosen["ids"].ne(tokenizer.PAD).sum(1).max())
        return chosen | {name: chosen[name][:, :last] for name in ("ids", "loss_mask")}


def train(
    model: BuiltLLaVA,
    stage: int,
    data: Talks,
    steps: int,
    on_step: Callable[[Step], None] = lambda step: None,
) -> list[Step]:
    """Trains one stage in place, with batches of 16."""
    model.parts["choose_trained"](model.vision, model.projector, model.lm, stage)
    history = []
    batches = Batches(data.batch, min(16, len(data.scenes)), len(data.scenes))
    for step in fit(model, batches, steps, TUNING_OPTIMISATION, precision=torch.float32):
        on_step(step)
        history.append(step)
    model.eval()
    return history


def questions(parts: Parts, scenes: Sequence[world.Scene]) -> list[tuple[world.Scene, str, str]]:
    """Every question about these scenes with its answer."""
    return [
        (scene, question, answer)
        for scene in scenes
        for question, answer in parts["write_dialogue"](*symbols_of(scene))
    ]


def answers(
    model: nn.Module, asked: Sequence[tuple[world.Scene, str, str]], exchanged: bool = False
) -> list[str]:
    """What the model writes. exchanged: each question with the picture of the next scene."""
    pages = [(scene, ASK.format(question)) for scene, question, _ in asked]
    if exchanged:
        scenes = list(dict.fromkeys(scene for scene, *_ in asked))
        following = dict(zip(scenes, [*scenes[1:], scenes[0]]))
        pages = [(following[scene], text) for scene, text in pages]
    return generate_sentences(model, prompts.Prompts(pages, model.size, IMAGE), max_new_tokens=4)


def same_number(size: int, count: int) -> float:
    """Share of held-out scenes whose next one has as many things."""
    numbers = [len(scene.things) for scene in scenes_of(size, count, "test")]
    return sum(map(operator.eq, numbers, [*numbers[1:], numbers[0]])) / count


def _scores(asked: Sequence[tuple], said: Sequence[str], score: Callable) -> dict[str, float]:
    return score([kind_of(q) for _, q, _ in asked], said, [answer for *_, answer in asked])


def report(
    model: BuiltLLaVA, count: int, score: Callable, exchanged: bool = False
) -> dict[str, float]:
    """Share of right answers about `count` held-out scenes by kind of question. score: accuracy_by_kind."""
    asked = questions(model.parts, scenes_of(model.size, count, "test"))
    return _scores(asked, answers(model, asked, exchanged), score)


def report_of_guessing(size: int, parts: Parts, count: int, score: Callable) -> dict[str, float]:
    """The same for an answerer that always gives the most frequent answer of a kind."""
    asked = questions(parts, scenes_of(size, count, "test"))
    given: dict[str, list[str]] = {}
    for _, question, answer in asked:
        given.setdefault(kind_of(question), []).append(answer)
    frequent = {kind: max(every, key=every.count) for kind, every in given.items()}
    return _scores(asked, [frequent[kind_of(question)] for _, question, _ in asked], score)
