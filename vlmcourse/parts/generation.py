"""Text generation: greedy, nucleus and beam search, with or without a cache; log-probability of given tokens.

A model here is any `model(ids, cache=None, **context) -> logits`: ids is the whole sequence (B, T); with a cache the model
computes the tokens that the cache lacks and returns their logits only. Images travel in `context`. Prompts of different
lengths are padded on the left (`padding_mask` in the context).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

Sampler = Callable[[Tensor], Tensor]
"""Chooses the next tokens: logits (B, V) -> (B,)."""


def greedy(logits: Tensor) -> Tensor:
    """The most probable token: (B, V) -> (B,)."""
    return logits.argmax(-1)


def greedy_without(token_id: int) -> Sampler:
    """Sampler of the most probable token that isn't `token_id`, such as an image's, which would need an image of its own.

    A token beyond the logits (B, V), as of a placeholder that a language model doesn't know, can't be chosen anyway.
    """

    def sample(logits: Tensor) -> Tensor:
        never = torch.arange(logits.shape[-1], device=logits.device) == token_id
        return greedy(logits.masked_fill(never, -torch.inf))

    return sample


def nucleus(
    p: float = 0.9, temperature: float = 1.0, generator: torch.Generator | None = None
) -> Sampler:
    """Sampler from the fewest tokens with a total probability of at least p (Holtzman et al. 2019, arXiv 1904.09751).

    Raises ValueError unless 0 < p <= 1 and temperature > 0.
    """
    if not 0 < p <= 1 or temperature <= 0:
        raise ValueError(
            f"p = {p}, temperature = {temperature}; expected 0 < p <= 1 and a positive temperature."
        )

    def sample(logits: Tensor) -> Tensor:
        probabilities, order = (logits.float() / temperature).softmax(-1).sort(-1, descending=True)
        more_probable = probabilities.cumsum(-1) - probabilities
        in_nucleus = probabilities.where(more_probable < p, 0)
        rank = torch.multinomial(in_nucleus, 1, generator=generator)
        return order.gather(1, rank)[:, 0]

    return sample


def _check(ids: Tensor, max_new_tokens: int) -> None:
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {max_new_tokens}; expected at least 1.")
    if ids.dim() != 2 or ids.shape[1] == 0 or ids.is_floating_point():
        raise ValueError(
            f"the prompt is {tuple(ids.shape)} of {ids.dtype}; expected integers (batch, tokens), at least one "
            "token: start with the beginning-of-sequence token."
        )


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
    """Yields the next token of each sequence, (B,), until all have ended: prompts ids (B, T).

    end    id of the end token; a sequence that has ended repeats it
    cache  an empty cache of the model's kind; None: everything is recomputed at each step
    Raises ValueError for an empty prompt, or no new tokens.
    """
    _check(ids, max_new_tokens)
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
    """The tokens of `stream_tokens` as one tensor (B, at most max_new_tokens)."""
    tokens = stream_tokens(model, ids, max_new_tokens, sampler, end, cache, **context)
    return torch.stack(list(tokens), dim=1)


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
    """The best continuation of one prompt (1, T) by beam search: (at most max_new_tokens,), with its end token.

    Finished sequences are ranked by log-probability / length ** length_penalty; a negative penalty prefers short ones (BLIP-2's
    answers). Tensors in `context` have one row per beam; the cache needs `reorder_cache(order)`. Raises ValueError for several
    prompts, no beam or no new tokens.
    """
    _check(ids, max_new_tokens)
    if len(ids) != 1 or beams < 1:
        raise ValueError(
            f"{len(ids)} prompts and {beams} beams; expected one prompt and at least one beam."
        )
    start, ids = ids.shape[1], ids.repeat(beams, 1)
    log_probs = torch.full((beams,), -torch.inf, device=ids.device)
    log_probs[0] = 0  # all beams hold the same prompt: only the first is continued
    finished: list[tuple[float, Tensor]] = []  # scores and tokens, best first

    def finish(tokens: Tensor, log_prob: Tensor) -> None:
        finished.append((float(log_prob) / len(tokens) ** length_penalty, tokens))
        finished.sort(key=lambda hypothesis: -hypothesis[0])
        del finished[beams:]

    for length in range(1, max_new_tokens + 1):
        next_log_probs = log_softmax(
            model(ids, cache=cache, **context)[:, -1].float(), -1
        )  # (beams, V)
        candidates = (log_probs[:, None] + next_log_probs).flatten()
        best, index = candidates.topk(2 * beams)  # enough even if half of them end
        beam_of, token = index // next_log_probs.shape[1], index % next_log_probs.shape[1]
        ends = token == end
        for rank in ends[:beams].nonzero()[:, 0].tolist():
            finish(torch.cat([ids[beam_of[rank], start:], token[rank : rank + 1]]), best[rank])
        going = (~ends).nonzero()[:beams, 0]
        log_probs, order = best[going], beam_of[going]
        ids = torch.cat([ids[order], token[going, None]], dim=1)
        if cache is not None:
            cache.reorder_cache(order)
        if (
            len(finished) == beams
            and finished[-1][0] >= float(log_probs[0]) / length**length_penalty
        ):
            return finished[0][1]
    finish(ids[0, start:], log_probs[0])
    return finished[0][1]


@torch.no_grad()
def sequence_log_prob(model, ids: Tensor, loss_mask: Tensor, **context) -> Tensor:
    """Sum of log p(token | tokens before it) over loss_mask (B, T), True: ids (B, T) -> (B,).

    To choose among answers, put each after the same prompt and mark its tokens. Raises ValueError if the shapes differ, or the first
    token is marked.
    """
    if loss_mask.shape != ids.shape or loss_mask[:, 0].any():
        raise ValueError(
            f"loss_mask is {tuple(loss_mask.shape)} for ids {tuple(ids.shape)}; expected the same shape, and False for "
            "the first token, which nothing precedes."
        )
    logits, is_answer = model(ids, **context)[:, :-1].float(), loss_mask[:, 1:]
    targets = ids[:, 1:].where(is_answer, 0)  # elsewhere may stand image tokens that have no logit
    log_probs = -cross_entropy(logits.transpose(1, 2), targets, reduction="none")  # (B, T - 1)
    return log_probs.where(is_answer, 0).sum(1)
