"""Lesson 08: the checks of the exercises on minimal pairs and on re-ranking."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import blip_reference as reference
from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source


def pair_inputs(generator: torch.Generator, ties: bool = False) -> tuple[list, dict]:
    """Scores of twelve to twenty pairs of pictures and captions; ties: of all equal numbers in places."""
    N = number(generator, 12, 20)
    scores = normal(generator, N, 2, 2) + 0.7 * torch.eye(2)
    if ties:
        scores[::2] = scores[::2, :1, :1].expand(-1, 2, 2)
    return [scores], {}


def columns(scores: Tensor) -> Tensor:
    """(N, 2): is picture 0's (1's) right caption preferred to its wrong one?"""
    return torch.stack(
        [scores[:, 0, 0] > scores[:, 0, 1], scores[:, 1, 1] > scores[:, 1, 0]], dim=1
    )


def rows(scores: Tensor) -> Tensor:
    """(N, 2): is caption 0's (1's) right picture preferred to its wrong one?"""
    return columns(scores.mT)


def shares(*found: Tensor) -> list[float]:
    return [one.float().mean().item() for one in found]


def three(scores: Tensor, text=None, image=None, group=None) -> list[float]:
    text = columns(scores).all(1) if text is None else text(scores)
    image = rows(scores).all(1) if image is None else image(scores)
    return shares(text, image, text & image if group is None else group(text, image))


def mean_product(scores: Tensor) -> list[float]:
    text, image, _ = three(scores)
    return [text, image, text * image]


PAIR_MISTAKES = {
    "text and image score are exchanged: the text score chooses among captions, for each picture.": (
        lambda s: [three(s)[1], three(s)[0], three(s)[2]]
    ),
    "both pictures must get their right caption; you count pictures one by one.": (
        lambda s: shares(columns(s), rows(s), columns(s).all(1) & rows(s).all(1)),
        lambda s: shares(columns(s), rows(s), columns(s) & rows(s)),
        lambda s: shares(columns(s), rows(s), torch.cat([columns(s), rows(s)], 1)),
    ),
    "only the first picture and the first caption are tried: both pictures of a pair count.": (
        lambda s: shares(columns(s)[:, 0], rows(s)[:, 0], columns(s)[:, 0] & rows(s)[:, 0])
    ),
    "one of the two is enough in your code: both must be right.": lambda s: three(
        s, lambda s: columns(s).any(1), lambda s: rows(s).any(1)
    ),
    "the group score needs text and image right; you count either.": partial(
        three, group=lambda text, image: text | image
    ),
    "the group score is no product of shares: count the pairs for which both are right.": mean_product,
    "the comparisons are upside down: the right combinations are on the diagonal.": lambda s: (
        three(-s)
    ),
    "the sum of the diagonal is compared with the sum of the rest: each choice must be right by itself.": (
        lambda s: shares(*[s.diagonal(dim1=1, dim2=2).sum(1) > s.flip(2).diagonal(dim1=1, dim2=2).sum(1)] * 3)
    ),
}  # fmt: skip


def pairs_check(ties: bool, mistakes: dict):
    return rule("pair_scores", partial(pair_inputs, ties=ties), three, mistakes)


def run_rerank(target, similarity, match, k):
    """Driver: [the order, which pairs were scored (N, M), how many calls' worth of pairs]."""
    import torch

    scored = torch.zeros(similarity.shape)

    def match_scores(rows, columns):
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            scored[row, column] += 1
        return match[rows, columns]

    order = target(similarity, match_scores, k)
    return [order, scored]


def rerank_inputs(generator: torch.Generator) -> tuple[list, dict]:
    N, M = number(generator, 5, 6), number(generator, 7, 9)
    similarity = normal(generator, N, M)
    return [similarity, normal(generator, N, M), number(generator, 3, 4)], {}


def reranked(
    similarity: Tensor,
    match: Tensor,
    k: int,
    combine: Callable = lambda s, m: s + m,
    candidates: Callable = lambda s, m, k: s.topk(k, dim=1).indices,
    descending: bool = True,
    names: str = "columns",
    scored: str = "candidates",
    beside: Callable = lambda s, chosen: s.gather(1, chosen),
) -> list[Tensor]:
    """What `run_rerank` gives, with other choices. names: what is returned; scored: which pairs the slow scorer is called with;
    beside: the similarities that are combined with the match scores."""
    chosen = candidates(similarity, match, k)
    rows = torch.arange(len(similarity))[:, None]
    total = combine(beside(similarity, chosen), match[rows, chosen])
    order = total.argsort(1, descending=descending)
    count = torch.ones_like(similarity)
    if scored == "candidates":
        count = torch.zeros_like(similarity).scatter(1, chosen, 1.0)
    returned = {
        "columns": chosen.gather(1, order),
        "places": order,
        "ranks": chosen.gather(1, order.argsort(1)),
        "scores": total.gather(1, order),
    }
    return [returned[names], count]


def unpaired(similarity: Tensor, match: Tensor, k: int) -> list[Tensor]:
    """What `run_rerank` gives if row numbers repeat as a block: pairs of other rows are scored."""
    best, chosen = similarity.topk(k, dim=1)
    rows = torch.arange(len(similarity)).repeat(k)
    count = torch.zeros_like(similarity)
    count.index_put_((rows, chosen.flatten()), torch.ones(len(rows)), accumulate=True)
    order = (match[rows, chosen.flatten()].view(-1, k) + best).argsort(1, descending=True)
    return [chosen.gather(1, order), count]


def explain_rerank(
    got: object, wanted: list, similarity: Tensor, match: Tensor, k: int
) -> str | None:
    """What the shape says."""
    if not isinstance(got, list) or not isinstance(got[0], Tensor):
        return None
    N, M = similarity.shape
    return {
        (N, M): f"all candidates are returned; only the first k are wanted, here {(N, k)}.",
        (
            k,
            M,
        ): "the best queries of each candidate are taken; take the best candidates of each query.",
        (N,): "only the best candidate is returned; k are wanted, best first.",
        (N * k,): f"the result is flat; a row for each query is wanted, here {(N, k)}.",
    }.get(tuple(got[0].shape))


def best_of_all(similarity: Tensor, match: Tensor, k: int) -> Tensor:
    return (similarity + match).topk(k, dim=1).indices


RERANK_MISTAKES = {
    "the slow scorer was called with every pair: only the k candidates of each row need it.": (
        partial(reranked, scored="all"),
        partial(reranked, scored="all", candidates=best_of_all),
        partial(reranked, scored="all", combine=lambda s, m: m),
        partial(reranked, scored="all", candidates=lambda s, m, k: m.topk(k, dim=1).indices, combine=lambda s, m: m),
    ),
    "the order is that of the match scores alone; add the similarities.": partial(
        reranked, combine=lambda s, m: m
    ),
    "the order is that of the similarities alone: the candidates are not re-ranked.": partial(
        reranked, combine=lambda s, m: s
    ),
    "the worst candidate comes first.": partial(reranked, descending=False),
    "the order is turned round: argsort of argsort gives ranks; gather needs the order itself.": (
        partial(reranked, names="ranks")
    ),
    "these are scores; return the numbers of the candidates.": partial(reranked, names="scores"),
    "the match scores enter as probabilities; add the log-odds as they are.": (
        partial(reranked, combine=lambda s, m: s + m.sigmoid()),
        partial(reranked, combine=lambda s, m: s + m.softmax(1)),
    ),
    "the added similarities are those of the first k columns, not of the candidates.": partial(
        reranked, beside=lambda s, chosen: s[:, : chosen.shape[1]]
    ),
    "the pairs don't belong together: each row's number must stand k times in succession.": unpaired,
    "these are places among the candidates; return the numbers of their columns.": partial(
        reranked, names="places"
    ),
    "the candidates are the least similar: topk takes the largest, largest=False the smallest.": (
        partial(reranked, candidates=lambda s, m, k: (-s).topk(k, dim=1).indices)
    ),
    "the candidates are the first k columns: take the k most similar.": partial(
        reranked, candidates=lambda s, m, k: torch.arange(k).expand(len(s), k)
    ),
    "there is one candidate too many or too few: k are wanted.": (
        partial(reranked, candidates=lambda s, m, k: s.topk(k + 1, dim=1).indices),
        partial(reranked, candidates=lambda s, m, k: s.topk(k - 1, dim=1).indices),
    ),
    "match score and similarity are multiplied; add them.": partial(
        reranked, combine=lambda s, m: s * m
    ),
    "the similarity is subtracted; add it.": partial(reranked, combine=lambda s, m: m - s),
}  # fmt: skip

EXERCISES = {
    "pair_scores": Exercise(
        "Both pictures and both captions of a pair must be right.",
        (
            pairs_check(False, PAIR_MISTAKES),
            pairs_check(
                True,
                {
                    "equal scores count as right: a model that says the same of everything would be perfect.": (
                        lambda s: three(
                            s + 1e-3 * torch.eye(2) * (s == s[:, :1, :1]).all((1, 2), keepdim=True)
                        )
                    )
                },
            ),
        ),
        reference=reference.pair_scores,
    ),
    "rerank": Exercise(
        "Fast first, slow on a few.",
        (
            rule(
                "rerank",
                rerank_inputs,
                reranked,
                RERANK_MISTAKES,
                driver=driver_source(run_rerank),
                explain=explain_rerank,
            ),
        ),
        reference=reference.rerank,
    ),
}
