"""Lesson 10: the course's own answers to the exercises, which stand in where the student's don't pass yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from vlmcourse.papers.qformer import MASKS
from vlmcourse.parts.language import next_token_loss
from vlmcourse.parts.losses import similarity
from vlmcourse.parts.masks import padding_mask


class LearnedQueries(nn.Module):
    """R trained vectors of width D, the same for each picture: batch size B -> (B, R, D)."""

    def __init__(self, R: int, D: int):
        super().__init__()
        self.vectors = nn.Parameter(0.02 * torch.randn(R, D))

    def forward(self, B: int) -> Tensor:
        return self.vectors.expand(B, -1, -1)


def qformer_mask(objective: str, R: int, is_token: Tensor) -> Tensor:
    """The mask (B, 1, R + T, R + T) of "itc", "itm" or "itg" for R queries and texts with is_token (B, T)."""
    is_key = torch.cat([is_token.new_ones(len(is_token), R), is_token], dim=1)
    mask = MASKS[objective](R, is_token.shape[1], is_token.device) & padding_mask(is_key)
    return mask.to_bool()


def qformer_layer(layer: nn.Module, x: Tensor, R: int, features: Tensor, mask: Tensor) -> Tensor:
    """One block: x (B, R + T, D), features (B, P, C) -> (B, R + T, D)."""
    x = layer.norm(x + layer.attention(x, mask=mask))
    queries, text = x[:, :R], x[:, R:]
    if layer.cross_attention is not None:
        queries = layer.norm_cross_attention(
            queries + layer.cross_attention(queries, context=features)
        )
    queries = layer.norm_queries(queries + layer.feedforward_queries(queries))
    text = layer.norm_text(text + layer.feedforward_text(text))
    return torch.cat([queries, text], dim=1)


def run_qformer(
    model: nn.Module, features: Tensor, ids: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """All layers: features (B, P, C), ids (B, T) -> states of the queries (B, R, D) and of the text (B, T, D)."""
    queries = model.queries(len(ids))
    R, features = queries.shape[1], model.norm_image(features)
    x = model.norm(torch.cat([queries, model.embed(ids)], dim=1))
    for layer in model.layers:
        x = layer(x, R, features, mask)
    return x[:, :R], x[:, R:]


def image_text_similarity(queries: Tensor, text: Tensor) -> Tensor:
    """(N, R, E) and (M, E) of any length -> (N, M): the largest cosine of an image's queries with a text."""
    return similarity(normalize(queries, dim=-1), normalize(text, dim=-1))


def itc_loss(
    similarities: Tensor, temperature: float | Tensor, groups: Tensor, smoothing: float
) -> Tensor:
    """Smoothed cross-entropy of images over texts and of texts over images, averaged; equal groups share the target."""
    same = (groups[:, None] == groups[None, :]).to(similarities.dtype)
    targets, logits = same / same.sum(1, keepdim=True), similarities / temperature
    rows, columns = (
        cross_entropy(one, targets, label_smoothing=smoothing) for one in (logits, logits.T)
    )
    return (rows + columns) / 2


def itm_loss(
    read: Callable[[Tensor, Tensor], Tensor],
    head: Callable[[Tensor], Tensor],
    features: Tensor,
    ids: Tensor,
    texts: Tensor,
    images: Tensor,
) -> Tensor:
    """Matching loss of B right pairs, B with a wrong text and B with a wrong image; logits are means over queries."""
    states = read(
        torch.cat([features, features, features[images]]), torch.cat([ids, ids[texts], ids])
    )
    labels = torch.arange(len(states), device=states.device) < len(ids)
    return cross_entropy(head(states).mean(1), labels.long())


def itg_loss(
    write: Callable[[Tensor], Tensor], ids: Tensor, dec: int, pad: int, smoothing: float
) -> Tensor:
    """Smoothed cross-entropy of all tokens after the first, padding left out; the text begins with [DEC]."""
    begun = torch.cat([torch.full_like(ids[:, :1], dec), ids[:, 1:]], dim=1)
    targets = ids[:, 1:].masked_fill(ids[:, 1:] == pad, -100)
    logits = write(begun)[:, :-1]
    return cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=smoothing)


def queries_used(similarities: Tensor) -> tuple[Tensor, float]:
    """(N, R) -> share of images for which each query is the best (R,), and the effective number of queries."""
    best = similarities.argmax(1)
    shares = torch.bincount(best, minlength=similarities.shape[1]) / len(best)
    return shares, torch.special.entr(shares).sum().exp().item()


def stage2_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The part of a stage-1 state_dict that stage 2 goes on with."""
    of_text = (".words", ".positions", "feedforward_text", "norm_text")
    return {
        name: value
        for name, value in weights.items()
        if name.startswith("qformer.") and not any(part in name for part in of_text)
    }


def insert_prefix(words: Tensor, states: Tensor, projection: Callable[[Tensor], Tensor]) -> Tensor:
    """words (B, T, D_lm), the first of them <bos>, and projected states (B, R, D) after it -> (B, R + T, D_lm)."""
    return torch.cat([words[:, :1], projection(states), words[:, 1:]], dim=1)


def prefix_loss(logits: Tensor, ids: Tensor, scored: Tensor, R: int) -> Tensor:
    """Loss of the scored tokens of ids (B, T), from logits (B, R + T, V) of a text with R vectors after its first token."""
    return next_token_loss(logits[:, R:], ids, scored)


PARTS: dict[str, Callable] = {
    part.__name__: part
    for part in (
        LearnedQueries,
        qformer_mask,
        qformer_layer,
        run_qformer,
        image_text_similarity,
        itc_loss,
        itm_loss,
        itg_loss,
        insert_prefix,
        prefix_loss,
    )
}
"""What teaching.blip2_model is put together from."""
