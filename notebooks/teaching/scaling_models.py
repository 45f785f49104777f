"""Lesson 06: language models of characters, small enough to train dozens of them at equal compute within minutes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vlmcourse.parts.layers import Transformer, init_weights
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.world import documents
from vlmcourse.world.documents import Documents

CHARACTERS = " abcdefghijklmnopqrstuvwxyz.?:\n"
CONTEXT, DEPTH = 64, 2
KINDS = (documents.facts, documents.question_answers, documents.paraphrases)


@cache
def text(split: str, characters: int) -> Tensor:
    """So many characters of the world's texts as numbers (characters,): facts, questions and paraphrases."""
    source, parts, length, index = Documents(split=split, kinds=KINDS), [], 0, 0
    while length < characters:
        parts.append(source.text(index).lower() + "\n")
        length, index = length + len(parts[-1]), index + 1
    number = {character: i for i, character in enumerate(CHARACTERS)}
    return torch.tensor([number[one] for one in "".join(parts)[:characters]], dtype=torch.uint8)


def windows(source: Tensor, starts: Tensor) -> dict[str, Tensor]:
    """`ids` (B, CONTEXT + 1): the characters from each start (B,) on."""
    return {"ids": source[starts[:, None] + torch.arange(CONTEXT + 1)].long()}


class CharacterModel(nn.Module):
    """A transformer that predicts the next character: ids (B, T) -> logits (B, T, V)."""

    def __init__(self, width: int, depth: int = DEPTH):
        super().__init__()
        self.words, self.positions = (
            nn.Embedding(len(CHARACTERS), width),
            nn.Embedding(CONTEXT, width),
        )
        self.transformer = Transformer(depth, width, max(1, width // 16))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, len(CHARACTERS))
        for part in (self.words, self.positions, self.head):
            init_weights(part, width**-0.5)
        self.register_buffer("causal", torch.ones(CONTEXT, CONTEXT).tril().bool()[None, None])

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.positions.weight
        return self.head(self.norm(self.transformer(x, self.causal)))

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `ids` (B, CONTEXT + 1) -> {"lm": mean cross-entropy in nats per character}."""
        ids = batch["ids"]
        return {"lm": cross_entropy(self(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())}

    def parameters_that_multiply(self) -> int:
        """Number of parameters without the two embedding tables, which are only looked up."""
        tables = self.words.weight.numel() + self.positions.weight.numel()
        return sum(parameter.numel() for parameter in self.parameters()) - tables


def attention_share(width: int, parameters: float) -> float:
    """Operations of attention's scores and sums in a forward pass, as a share of the 2 N of the parameters, a token."""
    return DEPTH * 4 * CONTEXT * width / (2 * parameters)


def learning_rate(width: int) -> float:
    """By width: found on one seed at the middle budget among 0.01 and 0.02."""
    return min(0.02, 0.64 / width)


def held_out_loss(model: CharacterModel) -> float:
    """Nats per character on 65,536 characters of documents that training never draws."""
    source = text("test", 65_537)
    with torch.no_grad():
        batches = torch.arange(0, 65_536, CONTEXT).split(256)
        losses = [model.losses(windows(source, starts))["lm"] for starts in batches]
    return float(torch.stack(losses).mean())


def train(
    width: int, tokens: float, batch: int = 8, seed: int = 0, corpus: int = 1_000_000
) -> dict[str, float]:
    """Trains a model of this width on so many tokens: its size, what it has read, its loss on new text.

    batch  windows of CONTEXT characters a step;  corpus  characters of the training text
    """
    torch.manual_seed(seed)
    model, source = CharacterModel(width), text("train", corpus)
    steps = max(1, round(tokens / (batch * CONTEXT)))

    def make(indices: Sequence[int]) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed * 10_000_019 + indices[0])
        return windows(source, torch.randint(corpus - CONTEXT, (batch,), generator=generator))

    optimisation = Optimisation(learning_rate(width), weight_decay=0.05, betas=(0.9, 0.95))
    history = fit(
        model, Batches(make, batch), steps, optimisation, seed=seed, precision=torch.float32
    )
    seconds = [step.seconds for step in history][-1]
    return {
        "width": width,
        "parameters": model.parameters_that_multiply(),
        "with embeddings": sum(parameter.numel() for parameter in model.parameters()),
        "tokens": steps * batch * CONTEXT,
        "loss": held_out_loss(model),
        "seconds": round(seconds, 1),
    }
