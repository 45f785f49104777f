"""Lesson 09: BLIP's downstream models, put together from the student's functions, on a small world of twelve nouns.

The image encoder stays as it is, so each picture is encoded once; in batches, `states` (B, P, D) are a picture's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from teaching.blip_reference import lm_loss, role_inputs
from teaching.built_models import Parts
from vlmcourse import world
from vlmcourse.papers.blip import BLIP
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step, fit
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.stages import seeded
from vlmcourse.world import tokenizer

OPTIMISATION = Optimisation(7e-4, weight_decay=0.05, warmup=0.1)
BATCH = 32
NOUNS = world.known_nouns()[::10][:12]
THINGS = (1, 2)


def small_scenes(split: str, count: int, seed: int = 0) -> list[world.Scene]:
    """Scenes of one or two of twelve things."""
    return [world.sample(split, index, seed, THINGS, NOUNS) for index in range(count)]


def states_of(blip: BLIP, scenes: Sequence[world.Scene], blank: bool = False) -> Tensor:
    """The image encoder's states (N, P, D) of these scenes, or of as many grey pictures."""
    found = []
    with torch.no_grad():
        for start in range(0, len(scenes), 128):
            part = scenes[start : start + 128]
            pixels = world.to_pixels(
                np.stack([world.render(one, blip.config.image_size) for one in part])
            )
            states = blip.vision_context(0 * pixels if blank else pixels)["states"]
            found.append(states)
    return torch.cat(found)


class Table:
    """Examples as one dictionary of tensors with N rows each."""

    def __init__(self, **columns: Tensor):
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """These rows, modulo their number."""
        numbers = torch.tensor(list(rows)) % len(self)
        return {name: column[numbers] for name, column in self.columns.items()}


def train(
    model: nn.Module,
    data: Table,
    steps: int,
    on_step: Callable[[Step], None] = lambda step: None,
    optimisation: Optimisation = OPTIMISATION,
    seed: int = 0,
) -> list[Step]:
    """Trains in place, in float32; the history."""
    batch = min(BATCH, len(data))
    batches = Batches(data.batch, batch, len(data), seed)
    history = []
    for step in fit(model, batches, steps, optimisation, seed=seed, precision=torch.float32):
        history.append(step)
        on_step(step)
    model.eval()
    return history


class Downstream(nn.Module):
    """A copy of a BLIP whose image encoder isn't trained. parts: the student's functions."""

    def __init__(self, blip: BLIP, parts: Parts):
        super().__init__()
        self.blip, self.parts = deepcopy(blip), parts
        self.blip.vision.requires_grad_(False)


class SmallVQA(Downstream):
    """Questions: the encoder reads question and picture, the decoder writes the answer."""

    def logits(self, states: Tensor, question: Tensor, answer: Tensor) -> Tensor:
        """(B, P, D), (B, T), (B, A) -> (B, A, V)."""
        c, blip = self.blip.config, self.blip

        def decode(ids, mask, context, context_mask):
            x = blip.decoder(ids, mask, context, context_mask)
            return blip.head(x, blip.decoder.embeddings.words.weight)

        return self.parts["answer_logits"](
            blip.encoder, decode, states, question, answer, (c.enc, c.dec), c.pad
        )

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `states`, `question` (B, T), `answer` (B, A) -> {"lm": scalar}."""
        answer, c = batch["answer"], self.blip.config
        mask = (answer != c.pad) & (torch.arange(answer.shape[1]) > 0)
        logits = self.logits(batch["states"], batch["question"], answer)
        return {"lm": lm_loss(logits, answer, mask, c.label_smoothing)}

    @torch.no_grad()
    def write(self, states: Tensor, question: Tensor, longest: int = 3) -> list[str]:
        """Answers, greedily, up to the end token."""
        ids = torch.full((len(states), 1), tokenizer.BOS)
        for _ in range(longest):
            ids = torch.cat([ids, self.logits(states, question, ids)[:, -1:].argmax(-1)], 1)
        ended = (ids == tokenizer.EOS).int().cumsum(1) > 0
        return tokenizer.decode(ids.masked_fill(ended, tokenizer.PAD))


class SmallNLVR2(Downstream):
    """Statements about two pictures: two cross-attentions in each block."""

    def __init__(self, blip: BLIP, parts: Parts):
        super().__init__(blip, parts)
        width, blocks = blip.config.text_width, self.blip.encoder.blocks
        self.right = nn.ModuleList(deepcopy(block.cross) for block in blocks)
        self.merge = nn.ModuleList(nn.Linear(2 * width, width) for _ in blocks)
        for linear in self.merge:
            linear.weight.data = torch.eye(width).repeat(1, 2) / 2
            nn.init.zeros_(linear.bias)
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, left: Tensor, right: Tensor, ids: Tensor) -> Tensor:
        """States (B, P, D) of both pictures, ids (B, T) -> logits (B, 2): false, true."""
        c, blocks = self.blip.config, self.blip.encoder.blocks
        text, mask = role_inputs(ids, c.enc, False, c.pad)
        x = self.blip.encoder.embeddings(text)
        for layer, block in enumerate(blocks):
            merge = self.merge[layer] if layer >= len(blocks) // 2 else None
            x = self.parts["two_picture_block"](
                block, self.right[layer], merge, x, mask, left, right
            )
        return self.head(x[:, 0])

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `left`, `right`, `ids`, `true` (B,) -> {"nlvr2": scalar}."""
        logits = self(batch["left"], batch["right"], batch["ids"])
        return {"nlvr2": cross_entropy(logits, batch["true"])}


class SmallVisDial(Downstream):
    """Answers in a dialogue: [ENC] reads the text, its context is picture and caption."""

    def forward(self, states: Tensor, caption: Tensor, ids: Tensor) -> Tensor:
        """(B, P, D), captions (B, T'), dialogues with an answer (B, T) -> logits (B, 2)."""
        c, blip = self.blip.config, self.blip
        read = blip.encoder(*role_inputs(caption, c.cls, False, c.pad))
        context = self.parts["dialogue_context"](states, read, caption, c.pad)
        return blip.itm_logits(ids, *context)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `states`, `caption`, `right` and `wrong` (B, T) -> {"itm": scalar}."""
        both = [self(batch["states"], batch["caption"], batch[side]) for side in ("wrong", "right")]
        labels = torch.arange(2).repeat_interleave(len(both[0]))
        return {"itm": cross_entropy(torch.cat(both), labels)}


def build(kind: type[Downstream], blip: BLIP, parts: Parts) -> Downstream:
    """A downstream model, always with the same new weights."""
    with seeded(0):
        return kind(blip, parts)


@torch.no_grad()
def equal_pictures_are_one(model: SmallNLVR2, stated) -> bool:
    """Before any training: does the model say of one picture, shown twice, what the encoder says of it once?"""
    left, ids = stated.left[:8], stated.table().columns["ids"][:8]
    c, encoder = model.blip.config, model.blip.encoder
    once = encoder(*role_inputs(ids, c.enc, False, c.pad), left)[:, 0]
    return torch.allclose(model(left, left, ids), model.head(once), atol=1e-4)
