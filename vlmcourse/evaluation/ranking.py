"""Putting candidates in order: ranks, MRR, NDCG, and a second, closer look at the best of them.

Ties count against the model everywhere: constant scores never look like knowledge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def ranks(scores: Tensor, right: Tensor) -> Tensor:
    """The rank, from 1, of each row's right candidate: (N, C) scores, (N,) its number -> (N,)."""
    if scores.dim() != 2 or scores.shape[1] == 0:
        raise ValueError(
            f"scores are {tuple(scores.shape)}; expected (questions, candidates) with at least one candidate."
        )
    right = torch.as_tensor(right)
    if len(right) != len(scores) or int(right.min()) < 0 or int(right.max()) >= scores.shape[1]:
        raise ValueError(
            f"right holds {len(right)} numbers from {int(right.min())} to {int(right.max())}; expected one for "
            f"each of {len(scores)} rows, below {scores.shape[1]}."
        )
    # "not less", rather than "at least": so that NaN counts against the model too
    return (~(scores < scores.gather(1, right[:, None]))).sum(1)


def recall_at_1(scores: Tensor, right: Tensor) -> float:
    """R@1: share of rows whose right candidate stands first, see `ranks`."""
    return (ranks(scores, right) <= 1).float().mean().item()


def mrr(found: Tensor) -> float:
    """Mean of 1 / rank."""
    return (1 / found.double()).mean().item()


def ndcg(scores: Tensor, relevance: Tensor) -> float:
    """Normalised discounted gain of the first k candidates, k = how many are relevant (VisDial's), mean over rows.

    scores, relevance  (N, C). Gain is the relevance itself, discount log2(rank + 1). Equal scores share their gain evenly.
    Rows without anything relevant are an error.
    """
    if scores.shape != relevance.shape or scores.dim() != 2:
        raise ValueError(
            f"scores {tuple(scores.shape)} and relevance {tuple(relevance.shape)}; "
            "expected the same (rows, candidates)."
        )
    found = []
    for row, worth in zip(scores.double(), relevance.double()):
        if not (k := int((worth > 0).sum())):
            raise ValueError(
                "a row of relevance is all zero; expected at least one relevant candidate."
            )
        discount = torch.zeros_like(worth)
        discount[:k] = 1 / torch.arange(2, k + 2, dtype=torch.float64).log2()
        levels, group = row.unique(return_inverse=True)
        order = group.argsort(descending=True)
        shared = torch.zeros(len(levels), dtype=torch.float64).index_add(0, group[order], discount)
        shared = shared / torch.bincount(
            group, minlength=len(levels)
        )  # the mean discount of a group of equals
        found.append(
            (worth * shared[group]).sum() / (worth.sort(descending=True).values * discount).sum()
        )
    return torch.stack(found).mean().item()


def ranking_metrics(
    scores: Tensor, right: Tensor, relevance: Tensor | None = None, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """VisDial's numbers: MRR, R@k, mean rank, and, with relevance, NDCG."""
    found = ranks(scores, right)
    report = {
        "MRR": mrr(found),
        **{f"R@{k}": (found <= k).double().mean().item() for k in ks},
        "mean rank": found.double().mean().item(),
    }
    return report if relevance is None else report | {"NDCG": ndcg(scores, relevance)}


def rerank(similarity: Tensor, closer: Callable[[Tensor, Tensor], Tensor], k: int) -> Tensor:
    """Scores (N, M) in which each row's k best candidates stand before all others, in the order of a closer look.

    similarity  (N, M), fast and coarse: cosines
    closer      (row numbers, column numbers) -> scores, slow and fine: log-odds of a match. BLIP adds the two (its
                code's retrieval), so does this.
    """
    if k < 1 or similarity.numel() == 0:
        raise ValueError(
            f"{k} candidates out of {similarity.shape[-1]}; expected at least one candidate."
        )
    if k > similarity.shape[1]:
        raise ValueError(
            f"k = {k} candidates, but the gallery holds {similarity.shape[1]}; expected k of at most that."
        )
    best, places = similarity.topk(k, dim=1)  # (N, k)
    rows = torch.arange(len(similarity))[:, None].expand_as(places)
    looked = closer(rows.flatten(), places.flatten()).reshape(places.shape) + best
    # the rest keeps its order, below the worst of those that were looked at
    below = similarity - similarity.amax(1, keepdim=True) + looked.amin(1, keepdim=True) - 1
    return below.scatter(1, places, looked)


def bidirectional_retrieval(
    similarity: Tensor, closer: Callable[[Tensor, Tensor], Tensor], k: int
) -> dict[str, float]:
    """R@1 from images to texts and back, as they are and with the k best re-ranked, for N pairs in the same order.

    similarity, closer  (images, texts), see `rerank`
    """
    right, report = torch.arange(len(similarity)), {}
    for way, scores, look in (
        ("image to text", similarity, closer),
        ("text to image", similarity.T, lambda rows, columns: closer(columns, rows)),
    ):
        report[f"{way} R@1"] = recall_at_1(scores, right)
        report[f"{way}, re-ranked R@1"] = recall_at_1(rerank(scores, look, k), right)
    return report
