"""Lesson 14: pictures as tokens of a codebook, and painted from them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import fold, unfold

from teaching.frozen_figures import rendered
from vlmcourse import plots, world
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

SIDE = 4
"""Of a patch, in pixels."""


def patches_of(images: np.ndarray) -> Tensor:
    """Images (M, S, S, 3), 0 to 255 -> their patches' pixels (M, P, 3 * SIDE * SIDE), 0 to 1."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    return unfold(pixels, SIDE, stride=SIDE).transpose(1, 2)


def painted(patches: Tensor, size: int) -> np.ndarray:
    """Patches' pixels (M, P, 3 * SIDE * SIDE) -> images (M, size, size, 3), 0 to 255."""
    pixels = fold(patches.transpose(1, 2), (size, size), SIDE, stride=SIDE)
    return (pixels.permute(0, 2, 3, 1) * 255).round().byte().numpy()


def codebook(patches: Tensor, codes: int, steps: int = 10) -> Tensor:
    """k-means: patches (N, C) -> codes (K, C), each the mean of the patches that are nearest to it."""
    generator = torch.Generator().manual_seed(0)
    book = patches[torch.randperm(len(patches), generator=generator)[:codes]].clone()
    for _ in range(steps):
        nearest = torch.cdist(patches, book).argmin(1)
        count = torch.bincount(nearest, minlength=codes)
        total = torch.zeros_like(book).index_add(0, nearest, patches)
        book = torch.where(count[:, None] > 0, total / count[:, None].clamp(min=1), book)
    return book


def written_and_painted(
    picture_tokens: Callable, scenes: Sequence[world.Scene], scale: Scale, codes: Sequence[int]
):
    """Pictures, each beside what its tokens keep of it, with codebooks of several sizes. picture_tokens: the student's"""
    size, first_id = scale.image_size, len(tokenizer.world_tokenizer())
    learnt = world.Pairs("train", size, 0).scenes(range(16 if scale.name == "smoke" else 96))
    training = patches_of(rendered(learnt, size)).flatten(0, 1)
    originals = rendered(scenes, size)
    patches = patches_of(originals)
    columns = [originals]
    captions = [["the picture"] * len(scenes)]
    for K in codes:
        book = codebook(training, K)
        ids = [picture_tokens(one, book, first_id) for one in patches]
        columns.append(painted(torch.stack([book[row - first_id] for row in ids]), size))
        errors = (columns[-1] / 255.0 - originals / 255.0) ** 2
        captions.append([f"K = {K}\nerror {error.mean():.4f}" for error in errors])
    images = np.stack(columns, 1).reshape(-1, size, size, 3)
    texts = [row[i] for i in range(len(scenes)) for row in captions]
    return plots.pictures(images, texts, columns=len(columns))
