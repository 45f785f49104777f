"""Rankings: ranks, MRR, NDCG, and re-ranking the best candidates with a slower model. Ties count against the model, so
constant scores never look like knowledge."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

PairScorer = Callable[[Tensor, Tensor], Tensor]
"""(row numbers, column numbers), both (K,) -> scores (K,)."""


def ranks(scores: Tensor, right: Tensor) -> Tensor:
    """The rank, from 1, of each row's right candidate: (N, C) scores, (N,) its number -> (N,). ValueError for others."""
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
    """Share of rows whose right candidate ranks first, see `ranks`."""
    return (ranks(scores, right) <= 1).float().mean().item()


def mrr(ranks: Tensor) -> float:
    """Mean reciprocal rank."""
    return (1 / ranks.double()).mean().item()


def ndcg(scores: Tensor, relevance: Tensor) -> float:
    """Normalised discounted cumulative gain of the first k candidates, k = how many are relevant (VisDial's), mean over rows.

    scores, relevance  (N, C). scikit-learn's `ndcg_score`: gain is the relevance, discount log2(rank + 1), equal scores share
                       their gain. Raises ValueError for other shapes and for rows without anything relevant.
    """
    from sklearn.metrics import ndcg_score

    if scores.shape != relevance.shape or scores.dim() != 2:
        raise ValueError(
            f"scores {tuple(scores.shape)} and relevance {tuple(relevance.shape)}; "
            "expected the same (rows, candidates)."
        )
    if not (relevance > 0).any(1).all():
        raise ValueError(
            "a row of relevance is all zero; expected at least one relevant candidate."
        )
    rows = zip(scores.double().cpu().numpy(), relevance.double().cpu().numpy())
    values = [ndcg_score(gain[None], row[None], k=int((gain > 0).sum())) for row, gain in rows]
    return sum(values) / len(values)


def ranking_metrics(
    scores: Tensor, right: Tensor, relevance: Tensor | None = None, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, float]:
    """VisDial's numbers: MRR, R@k, mean rank, and, with relevance (N, C), NDCG."""
    places = ranks(scores, right).double()
    report = {
        "MRR": mrr(places),
        **{f"R@{k}": (places <= k).double().mean().item() for k in ks},
        "mean rank": places.mean().item(),
    }
    return report if relevance is None else report | {"NDCG": ndcg(scores, relevance)}


def rerank(similarity: Tensor, pair_scores: PairScorer, k: int) -> Tensor:
    """Scores (N, M) in which each row's k best candidates come before all others, in the order of a slower judge.

    similarity   (N, M), fast: cosines
    pair_scores  slow: log-odds of a match. BLIP adds the two (its code's retrieval), so does this.
    Raises ValueError unless 1 <= k <= M.
    """
    if k < 1 or similarity.numel() == 0:
        raise ValueError(
            f"{k} candidates out of {similarity.shape[-1]}; expected at least one candidate."
        )
    if k > similarity.shape[1]:
        raise ValueError(
            f"k = {k} candidates, but the gallery holds {similarity.shape[1]}; expected k of at most that."
        )
    best, columns = similarity.topk(k, dim=1)  # (N, k)
    rows = torch.arange(len(similarity))[:, None].expand_as(columns)
    judged = pair_scores(rows.flatten(), columns.flatten()).reshape(columns.shape) + best
    # the rest keeps its order, below the worst of those that were judged
    below = similarity - similarity.amax(1, keepdim=True) + judged.amin(1, keepdim=True) - 1
    return below.scatter(1, columns, judged)


def bidirectional_retrieval(
    similarity: Tensor, pair_scores: PairScorer, k: int
) -> dict[str, float]:
    """R@1 from images to texts and back, as they are and with the k best re-ranked, for N pairs in the same order.

    similarity (N images, N texts); pair_scores: of (image numbers, text numbers), see `rerank`
    """
    right, report = torch.arange(len(similarity)), {}
    for direction, scores, judge in (
        ("image to text", similarity, pair_scores),
        ("text to image", similarity.T, lambda texts, images: pair_scores(images, texts)),
    ):
        report[f"{direction} R@1"] = recall_at_1(scores, right)
        report[f"{direction}, re-ranked R@1"] = recall_at_1(rerank(scores, judge, k), right)
    return report
