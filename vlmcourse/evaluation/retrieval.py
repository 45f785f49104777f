"""Image-text retrieval, and near-duplicates between training and test.

Models are anything with `encode_image(pixel_values)` and `encode_text(ids)` -> unit vectors; data is anything with
`batch(indices)`, like world.Pairs and data.folders.CaptionedPictures.
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
            pairs = data.batch(indices[start : start + batch])
            images.append(model.encode_image(pairs["pixel_values"].to(device)).cpu())
            texts.append(model.encode_text(pairs["ids"].to(device)).cpu())
    return torch.cat(images), torch.cat(texts)


def relevance(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Which texts of a batch are right for which of its distinct pictures: (N,) first row of each picture, (N, B) booleans.

    `positive_groups` says which rows show the same picture (default: none do). A text is right for a picture if it is one
    of its captions, or the same words as one of them.
    """
    positive_groups = batch.get("positive_groups", torch.arange(len(batch["ids"])))
    same_picture = positive_groups[:, None] == positive_groups
    same_words = (batch["ids"][:, None] == batch["ids"]).all(-1)
    first = same_picture.int().argmax(1).unique()
    return first, (same_picture[first].int() @ same_words.int()).bool()


def retrieval_recall(
    images: Tensor, texts: Tensor, ks: Sequence[int] = (1, 5, 10), relevant: Tensor | None = None
) -> dict[str, float]:
    """R@k both ways: is a right one among the k nearest? Over distinct pictures; any of a picture's captions is right.

    images    (N, E) unit vectors; texts: (M, E)
    relevant  (N, M) booleans, see `relevance`; default: N = M pairs in the same order
    Keys: 'image to text R@1', 'text to image R@1', ... Ties with wrong ones count against the model, so constant (or NaN)
    embeddings score 0.
    """
    similarity = images @ texts.T
    if relevant is None:
        relevant = torch.eye(len(images), dtype=torch.bool)
    if relevant.shape != similarity.shape:
        raise ValueError(
            f"relevant is {tuple(relevant.shape)}; expected {tuple(similarity.shape)}, (images, texts)."
        )
    report = {}
    for direction, scores, right in (
        ("image to text", similarity, relevant),
        ("text to image", similarity.T, relevant.T),
    ):
        best = scores.masked_fill(~right, -torch.inf).amax(1, keepdim=True)
        # "not less", rather than "at least": so that NaN counts against the model too
        ranks = 1 + (~(scores < best) & ~right).sum(1) + best.isnan()[:, 0] * scores.shape[1]
        for k in ks:
            report[f"{direction} R@{k}"] = (ranks <= k).float().mean().item()
    return report


def near_duplicates(test: Tensor, train: Tensor, threshold: float = 0.98) -> Tensor:
    """Which test items have a near-duplicate in training? Unit vectors (N, E), (M, E) -> booleans (N,) (CLIP, Sec. 5)."""
    return torch.cat([(part @ train.T).amax(1) >= threshold for part in test.split(256)])
