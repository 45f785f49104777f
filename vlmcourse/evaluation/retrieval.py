"""What an image-text model sees: retrieval, zero-shot classification, probes, distribution shift, overlap.

Models are anything with `encode_image(pixel_values)` and `encode_text(ids)` -> unit vectors; data is anything with
`batch(indices)`, like world.Pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vlmcourse.evaluation.controls import eval_mode


def embed(model, data, indices: Sequence[int], batch: int = 256) -> tuple[Tensor, Tensor]:
    """Embeddings of images and texts of these pairs: (N, E) and (N, E)."""
    device = next(model.parameters()).device
    images, texts = [], []
    with eval_mode(model):
        for start in range(0, len(indices), batch):
            made = data.batch(indices[start : start + batch])
            images.append(model.encode_image(made["pixel_values"].to(device)).cpu())
            texts.append(model.encode_text(made["ids"].to(device)).cpu())
    return torch.cat(images), torch.cat(texts)


def retrieval_recall(
    images: Tensor, texts: Tensor, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """R@k both ways of N pairs of unit vectors: is the right one among the k nearest?

    Ties count against the model, so constant embeddings score 0, not 1. Keys: 'image to text R@1', 'text to image R@1', ...
    """
    similarity = images @ texts.T  # (images, texts)
    right = similarity.diagonal()
    found = {}
    # "not less", rather than "at least": so that NaN counts against the model too
    for way, ranks in (
        ("image to text", (~(similarity < right[:, None])).sum(1)),
        ("text to image", (~(similarity < right[None, :])).sum(0)),
    ):
        for k in ks:
            found[f"{way} R@{k}"] = (ranks <= k).float().mean().item()
    return found


def near_duplicates(test: Tensor, train: Tensor, threshold: float = 0.98) -> Tensor:
    """Which test items have a near-duplicate in training? Unit vectors (N, E), (M, E) -> booleans (N,) (CLIP, Sec. 5)."""
    return torch.cat([(part @ train.T).amax(1) >= threshold for part in test.split(256)])
