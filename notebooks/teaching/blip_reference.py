"""Lesson 08: the course's own answers to the exercises, which stand in where the student's don't pass yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vlmcourse.papers.blip import SELF_ATTENTION
from vlmcourse.parts import masks
from vlmcourse.parts.bert import with_first_token
from vlmcourse.parts.losses import MINIMUM_WEIGHT

SHARED = ("cross", "norm_cross", "feedforward", "norm2")
"""A block's modules without its self-attention and the LayerNorm after it."""


def role_inputs(ids: Tensor, first_token: int, causal: bool, pad: int) -> tuple[Tensor, Tensor]:
    """ids (B, T) with their first token replaced, and the mask (B, 1, T, T) of a role."""
    B, T = ids.shape
    mask = masks.padding_mask(ids != pad)
    mask = mask & masks.causal(T, ids.device) if causal else mask
    return with_first_token(ids, first_token), mask.to_bool().expand(B, 1, T, T)


def med_block(block: nn.Module, x: Tensor, mask: Tensor, states: Tensor | None = None) -> Tensor:
    """One post-norm block: x (B, T, D), states (B, P, D) or None -> (B, T, D)."""
    x = block.norm1(x + block.attention(x, mask=mask))
    if states is not None:
        x = block.norm_cross(x + block.cross(x, context=states))
    return block.norm2(x + block.feedforward(x))


def share(encoder: nn.ModuleList, decoder: nn.ModuleList) -> None:
    """The decoder's blocks hold the encoder's modules, except self-attention and its LayerNorm."""
    for target, source in zip(decoder, encoder):
        for name, module in source.named_children():
            if name not in SELF_ATTENTION:
                setattr(target, name, module)


def itc_targets(similarities: Tensor, groups: Tensor, alpha: float) -> Tensor:
    """Targets (B, B + Q): positives of the batch, mixed with the softmax of the momentum encoders' similarities."""
    same = (groups[:, None] == groups[None, :]).to(similarities.dtype)
    hard = torch.zeros_like(similarities)
    hard[:, : len(groups)] = same / same.sum(1, keepdim=True)
    return torch.lerp(hard, similarities.softmax(-1), alpha)


def itc_loss(
    image: Tensor,
    text: Tensor,
    image_keys: Tensor,
    text_keys: Tensor,
    targets: Sequence[Tensor],
    temperature: float | Tensor,
) -> Tensor:
    """Cross-entropy of images with all texts and of texts with all images, averaged."""
    to_text, to_image = image @ text_keys.T / temperature, text @ image_keys.T / temperature
    return (cross_entropy(to_text, targets[0]) + cross_entropy(to_image, targets[1])) / 2


@torch.no_grad()
def update_momentum(copies: Sequence[Tensor], weights: Sequence[Tensor], momentum: float) -> None:
    """Each copy becomes momentum * copy + (1 - momentum) * weight, in place."""
    for copy, weight in zip(copies, weights, strict=True):
        copy.lerp_(weight, 1 - momentum)


@torch.no_grad()
def enqueue(queue: Tensor, start: int, new: Tensor) -> int:
    """Overwrites the rows of queue (Q, E) from `start` on by new (B, E), round the end; the next start."""
    queue[(start + torch.arange(len(new))) % len(queue)] = new
    return (start + len(new)) % len(queue)


def negative_weights(similarities: Tensor, groups: Tensor) -> Tensor:
    """(B, B): softmax of each row plus 1e-4, and 0 where the groups are equal."""
    positive = groups[:, None] == groups[None, :]
    return (similarities.softmax(-1) + MINIMUM_WEIGHT).masked_fill(positive, 0)


def itm_loss(
    itm_logits: Callable[[Tensor, Tensor], Tensor],
    ids: Tensor,
    states: Tensor,
    texts: Tensor,
    images: Tensor,
) -> Tensor:
    """Matching loss of B right pairs, B with a wrong text and B with a wrong image."""
    logits = itm_logits(
        torch.cat([ids, ids[texts], ids]), torch.cat([states, states, states[images]])
    )
    labels = torch.arange(len(logits), device=logits.device) < len(ids)
    return cross_entropy(logits, labels.long())


def lm_loss(logits: Tensor, ids: Tensor, loss_mask: Tensor, smoothing: float) -> Tensor:
    """Label-smoothed cross-entropy of each token of loss_mask (B, T), from the logits (B, T, V) one position before."""
    targets = loss_mask[:, 1:]
    return cross_entropy(
        logits[:, :-1][targets].float(), ids[:, 1:][targets], label_smoothing=smoothing
    )


def pair_scores(scores: Tensor) -> list[float]:
    """Winoground's text, image and group score of (N, 2, 2): picture i with caption j."""
    right, text, image = scores.diagonal(dim1=1, dim2=2), scores.flip(2), scores.flip(1)
    text = (right > text.diagonal(dim1=1, dim2=2)).all(1)
    image = (right > image.diagonal(dim1=1, dim2=2)).all(1)
    return [found.float().mean().item() for found in (text, image, text & image)]


def rerank(similarity: Tensor, match_scores: Callable[[Tensor, Tensor], Tensor], k: int) -> Tensor:
    """(N, k): each row's k best columns by similarity, in the order of match score plus similarity."""
    best, columns = similarity.topk(k, dim=1)
    rows = torch.arange(len(similarity))[:, None].expand_as(columns)
    judged = match_scores(rows.flatten(), columns.flatten()).reshape(columns.shape) + best
    return columns.gather(1, judged.argsort(dim=1, descending=True))


PARTS: dict[str, Callable] = {
    function.__name__: function
    for function in (
        role_inputs,
        med_block,
        share,
        itc_targets,
        itc_loss,
        update_momentum,
        enqueue,
        negative_weights,
        itm_loss,
        lm_loss,
    )
}
"""What teaching.blip_model.BuiltBLIP is put together from."""
