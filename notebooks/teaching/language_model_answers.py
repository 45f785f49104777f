"""Lesson 05's own answers to its exercises: what later cells use until the student's has passed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def token_losses(logits: Tensor, ids: Tensor) -> Tensor:
    """-log p of each token but the first, given those before it: logits (B, T, V), ids (B, T) -> (B, T - 1)."""
    log_probs = logits[:, :-1].log_softmax(-1)
    return -log_probs.gather(-1, ids[:, 1:, None])[..., 0]


def next_word_loss(logits: Tensor, ids: Tensor, loss_mask: Tensor) -> Tensor:
    """Mean of `token_losses` where loss_mask (B, T) is True: a scalar."""
    return token_losses(logits, ids)[loss_mask[:, 1:]].mean()


def generate(
    model: Callable[[Tensor], Tensor], ids: Tensor, max_new_tokens: int, end: int
) -> Tensor:
    """Greedy continuation of prompts (B, T): (B, max_new_tokens), the end token repeated once it has come."""
    length, ended = ids.shape[1], torch.zeros(len(ids), dtype=torch.bool)
    for _ in range(max_new_tokens):
        token = model(ids)[:, -1].argmax(-1).masked_fill(ended, end)
        ended = ended | (token == end)
        ids = torch.cat([ids, token[:, None]], dim=1)
    return ids[:, length:]


def generate_with_cache(
    model: Callable[[Tensor, object], Tensor], cache: object, ids: Tensor, max_new_tokens: int
) -> Tensor:
    """Greedy continuation (B, max_new_tokens) where model(new ids, cache) computes new positions only."""
    new, tokens = ids, []
    for _ in range(max_new_tokens):
        new = model(new, cache)[:, -1:].argmax(-1)  # (B, 1)
        tokens.append(new)
    return torch.cat(tokens, dim=1)


def nucleus_mask(probabilities: Tensor, p: float) -> Tensor:
    """(B, V) booleans: the fewest words of each row that together have at least the probability p."""
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    stays = ordered.cumsum(-1) - ordered < p
    return torch.zeros_like(stays).scatter(-1, order, stays)


def beam_step(log_probs: Tensor, next_log_probs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The N best continuations of N beams: log_probs (N,), next_log_probs (N, V) -> log_probs, beams, words, (N,) each."""
    beams, words = next_log_probs.shape
    best, index = (log_probs[:, None] + next_log_probs).flatten().topk(beams)
    return best, index // words, index % words


def answer_log_prob(logits: Tensor, ids: Tensor, is_answer: Tensor) -> Tensor:
    """Sum of log p over the tokens where is_answer (B, T) is True: (B,)."""
    return (-token_losses(logits, ids) * is_answer[:, 1:]).sum(1)


def few_shot_prompt(examples: Sequence[tuple[str, str]], description: str) -> str:
    """'cat blue . this is a dax . apple red . this is a' of [("cat blue", "dax")] and "apple red"."""
    shown = "".join(f"{text} . this is a {name} . " for text, name in examples)
    return f"{shown}{description} . this is a"


def induction_rule(ids: Tensor) -> Tensor:
    """(T,): what came after the last earlier occurrence of each token, -1 if there is none."""
    predicted = torch.full_like(ids, -1)
    for t in range(len(ids)):
        for earlier in range(t):
            if ids[earlier] == ids[t]:
                predicted[t] = ids[earlier + 1]
    return predicted


def head_scores(weights: Tensor, is_own: Tensor, is_other: Tensor) -> tuple[Tensor, Tensor]:
    """Weight of the last position on the right name, and its mean on the others: weights (B, H, T, T), masks (B, T) -> (H,), (H,)."""
    last = weights[:, :, -1]
    own = (last * is_own[:, None]).sum(-1)
    other = (last * is_other[:, None]).sum(-1) / is_other.sum(-1)[:, None]
    return own.mean(0), other.mean(0)


def silence_head(x: Tensor, head: int, heads: int) -> Tensor:
    """x (B, T, D), the outputs of `heads` heads side by side, with those of one of them zero."""
    parts = x.unflatten(-1, (heads, -1)).clone()
    parts[:, :, head] = 0
    return parts.flatten(2)
