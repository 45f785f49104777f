"""Lesson 14: what the course's own answers to the exercises are, and what a small LLaVA is put together from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from vlmcourse.papers.llava import Projector

Turns = Sequence[tuple[str, str]]
NUMBERS = ("zero", "one", "two", "three", "four")


def select_features(states: Sequence[Tensor], skip_blocks: int, class_token: bool) -> Tensor:
    features = states[len(states) - 1 - skip_blocks]
    return features if class_token else features[:, 1:]


def insert_patches(words: Tensor, ids: Tensor, image_id: int, pictures: Sequence[Tensor]) -> Tensor:
    pieces, start = [], 0
    for place, patches in zip((ids == image_id).nonzero().flatten().tolist(), pictures):
        pieces += [words[start:place], patches]
        start = place + 1
    return torch.cat([*pieces, words[start:]])


def chat_text(turns: Turns, question: str) -> str:
    said = [f"question : {asked} answer : {answer} ." for asked, answer in turns]
    return " ".join(["<image> .", *said, f"question : {question} answer :"])


def answer_mask(words: Sequence[str]) -> list[bool]:
    mask, inside = [], False
    for i, word in enumerate(words):
        mask.append(inside)
        if inside and word == ".":
            inside = False
        elif word == ":" and words[i - 1] == "answer":
            inside = True
    return mask


def choose_trained(vision: nn.Module, projector: nn.Module, lm: nn.Module, stage: int) -> int:
    trained = [projector] if stage == 1 else [projector, lm]
    for part in (vision, projector, lm):
        part.requires_grad_(part in trained)
    return sum(parameter.numel() for part in trained for parameter in part.parameters())


def write_dialogue(things: Sequence[tuple[str, float, float]], background: str) -> list:
    turns = [("how many things are there ?", NUMBERS[len(things)])]
    for word, x, y in things:
        place = f"{'top' if y < 0.5 else 'bottom'} {'left' if x < 0.5 else 'right'}"
        turns.append((f"what is the thing in the {place} ?", word))
    return [*turns, ("what colour is the background ?", background)]


def accuracy_by_kind(
    kinds: Sequence[str], answers: Sequence[str], right: Sequence[str]
) -> dict[str, float]:
    found = defaultdict(list)
    for kind, answer, wanted in zip(kinds, answers, right):
        found[kind].append(answer == wanted)
    scores = {kind: sum(hits) / len(hits) for kind, hits in found.items()}
    return scores | {"mean": sum(scores.values()) / len(scores)}


def sigmoid_loss(images: Tensor, texts: Tensor, t: float, b: float) -> Tensor:
    logits = t * images @ texts.T + b
    signs = 2 * torch.eye(len(images)) - 1
    return -logsigmoid(signs * logits).sum() / len(images)


def visual_tokens(
    height: int, width: int, tile: int, patch: int, latents: int | None = None
) -> int:
    tiles = -(-height // tile) * -(-width // tile)
    if tiles > 1:
        tiles += 1
    return tiles * (latents or (tile // patch) ** 2)


def picture_tokens(features: Tensor, codebook: Tensor, first_id: int) -> Tensor:
    distances = (features[:, None] - codebook[None]).square().sum(-1)
    return distances.argmin(1) + first_id


PARTS = {
    "select_features": select_features,
    "Projector": Projector,
    "insert_patches": insert_patches,
    "answer_mask": answer_mask,
    "choose_trained": choose_trained,
    "write_dialogue": write_dialogue,
}
"""What a small LLaVA is put together from (teaching.llava_model)."""
