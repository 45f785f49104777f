"""Writing: pick a token, extend a sequence, with or without a cache; and scoring what was written.

A model here is anything with `model(ids, cache=None, **context) -> logits`: ids is always the whole sequence (B, T); with
a cache the model computes only what the cache doesn't hold yet, and returns logits of that part. Pictures and the like
travel in `context`. Prompts of different lengths are padded on the left; the model knows how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

Sampler = Callable[[Tensor], Tensor]


def greedy(logits: Tensor) -> Tensor:
    """The likeliest token: (B, V) -> (B,)."""
    return logits.argmax(-1)


def nucleus(
    p: float = 0.9, temperature: float = 1.0, generator: torch.Generator | None = None
) -> Sampler:
    """Draws from the fewest tokens that hold a share p of the probability (Holtzman et al. 2019, arXiv 1904.09751)."""
    if not 0 < p <= 1 or temperature <= 0:
        raise ValueError(
            f"p = {p}, temperature = {temperature}; expected 0 < p <= 1 and a positive temperature."
        )

    def sampler(logits: Tensor) -> Tensor:
        ordered, order = (logits.float() / temperature).softmax(-1).sort(-1, descending=True)
        before = ordered.cumsum(-1) - ordered  # probability of the likelier ones
        kept = ordered.where(before < p, 0)
        drawn = torch.multinomial(kept, 1, generator=generator)
        return order.gather(1, drawn)[:, 0]

    return sampler


def _prompt(ids: Tensor) -> Tensor:
    if ids.dim() != 2 or ids.shape[1] == 0 or ids.is_floating_point():
        raise ValueError(
            f"the prompt is {tuple(ids.shape)} of {ids.dtype}; expected integers (batch, tokens), at least one "
            "token: start with the beginning-of-sequence token."
        )
    return ids


@torch.no_grad()
def stream_tokens(
    model,
    ids: Tensor,
    max_new_tokens: int,
    sampler: Sampler = greedy,
    end: int | None = None,
    cache=None,
    **context,
) -> Iterator[Tensor]:
    """Yields the next token of every sequence, (B,), at most `max_new_tokens` times; stops when all have said `end`.

    cache  an empty cache that the model can use; None: everything is computed anew at each step
    A sequence that has ended goes on with `end`.
    """
    ids = _prompt(ids)
    ended = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    for _ in range(max_new_tokens):
        token = sampler(model(ids, cache=cache, **context)[:, -1])
        if end is not None:
            token = token.masked_fill(ended, end)
            ended = ended | (token == end)
        yield token
        if ended.all():
            return
        ids = torch.cat([ids, token[:, None]], dim=1)  # (B, T + 1)


def generate(
    model,
    ids: Tensor,
    max_new_tokens: int,
    sampler: Sampler = greedy,
    end: int | None = None,
    cache=None,
    **context,
) -> Tensor:
    """What `stream_tokens` yields, as one tensor: (B, at most `max_new_tokens`)."""
    return torch.stack(
        list(stream_tokens(model, ids, max_new_tokens, sampler, end, cache, **context)), dim=1
    )


@dataclass(frozen=True)
class _Finished:
    """A sequence that said its end, and its score."""

    ids: Tensor
    score: float


@torch.no_grad()
def beam_search(
    model,
    ids: Tensor,
    max_new_tokens: int,
    beams: int,
    end: int,
    length_penalty: float = 1.0,
    cache=None,
    **context,
) -> Tensor:
    """The best of `beams` sequences kept at each step, for one prompt (1, T): (at most `max_new_tokens`,), with its end token.

    Finished sequences are compared by log-probability / length ** length_penalty (so a negative penalty prefers short
    ones, as BLIP-2's answers do). Everything in `context` must have one row per beam or none at all; the cache needs
    `reorder_cache(order)`, as transformers' has.
    """
    ids = _prompt(ids)
    if len(ids) != 1 or beams < 1:
        raise ValueError(
            f"{len(ids)} prompts and {beams} beams; expected one prompt and at least one beam."
        )
    start, ids = ids.shape[1], ids.repeat(beams, 1)
    scores = torch.full((beams,), -torch.inf, device=ids.device)
    scores[0] = 0  # all beams are the same prompt: only the first may grow
    finished: list[_Finished] = []
    for length in range(1, max_new_tokens + 1):
        after = log_softmax(model(ids, cache=cache, **context)[:, -1].float(), -1)  # (beams, V)
        best, place = (
            (scores[:, None] + after).flatten().topk(2 * beams)
        )  # enough, should half of them end
        beam_of, token = place // after.shape[1], place % after.shape[1]
        ends = token == end
        for rank in ends[:beams].nonzero()[:, 0].tolist():
            whole = torch.cat([ids[beam_of[rank], start:], token[rank : rank + 1]])
            finished.append(_Finished(whole, float(best[rank]) / length**length_penalty))
        finished = sorted(finished, key=lambda one: -one.score)[:beams]
        going = (~ends).nonzero()[:beams, 0]
        scores, order = best[going], beam_of[going]
        ids = torch.cat([ids[order], token[going, None]], dim=1)
        if cache is not None:
            cache.reorder_cache(order)
        if (
            len(finished) == beams
            and finished[-1].score >= float(scores[0]) / length**length_penalty
        ):
            break
    else:
        finished.append(
            _Finished(ids[0, start:], float(scores[0]) / max_new_tokens**length_penalty)
        )
    return max(finished, key=lambda one: one.score).ids


@torch.no_grad()
def sequence_log_prob(model, ids: Tensor, loss_mask: Tensor, **context) -> Tensor:
    """Log-probability of the tokens at `loss_mask` (B, T), True, each given all before it: (B, T) ids -> (B,).

    To choose among answers, write each after the same prompt and score the answer's tokens alone.
    """
    if loss_mask.shape != ids.shape or loss_mask[:, 0].any():
        raise ValueError(
            f"scored is {tuple(loss_mask.shape)} for ids {tuple(ids.shape)}; expected the same shape, and False for "
            "the first token, which nothing precedes."
        )
    said = model(ids, **context)[:, :-1].float()  # (B, T - 1, V)
    wanted = ids[:, 1:].where(
        loss_mask[:, 1:], 0
    )  # elsewhere may stand a tag that was added to the words, and is never predicted
    each = -cross_entropy(said.transpose(1, 2), wanted, reduction="none")  # (B, T - 1)
    return each.where(loss_mask[:, 1:], 0).sum(1)
