"""Lesson 11: the course's own answers to the exercises on Flamingo, which stand in where the student's don't pass yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from vlmcourse.parts.grouped import expand_groups
from vlmcourse.parts.masks import last_image, phi


def resample(resampler: nn.Module, features: Tensor) -> Tensor:
    """Features (M, T, S, D) of M images or videos -> latents (M, R, D), by the modules of a PerceiverResampler."""
    frames = resampler.time_embeddings[: features.shape[1], None]
    x_f = (features + frames).flatten(1, 2)
    x = resampler.latents.expand(len(features), -1, -1)
    for layer in resampler.layers:
        queries = layer.norm_latents(x)
        x = x + layer.attention(queries, torch.cat([layer.norm_features(x_f), queries], dim=1))
        x = x + layer.feedforward(layer.norm(x))
    return resampler.norm(x)


class GatedBlock(nn.Module):
    """y + tanh(alpha_xattn) attention(y), then y + tanh(alpha_dense) feed-forward(y); both gates start at 0."""

    def __init__(self, cross_attention: nn.Module, feedforward: nn.Module):
        super().__init__()
        self.cross_attention, self.feedforward = cross_attention, feedforward
        self.alpha_xattn, self.alpha_dense = (nn.Parameter(torch.zeros(())) for _ in range(2))

    def forward(self, y: Tensor, latents: Tensor, mask: Tensor) -> Tensor:
        y = y + self.alpha_xattn.tanh() * self.cross_attention(y, latents, mask)
        return y + self.alpha_dense.tanh() * self.feedforward(y)


def run_layers(
    layers: Sequence[Callable],
    blocks: Sequence[Callable],
    every: int,
    y: Tensor,
    latents: Tensor,
    mask: Tensor,
) -> Tensor:
    """All layers of a language model, with the next of `blocks` before the first of each `every` layers."""
    for number, layer in enumerate(layers):
        if number % every == 0:
            y = blocks[number // every](y, latents, mask)
        y = layer(y)
    return y


def image_mask(ids: Tensor, image_token_id: int, N: int, R: int) -> Tensor:
    """Which of the N * R latents of a page each token attends to: ids (B, T) -> (B, T, N * R) booleans."""
    numbers = torch.arange(1, N + 1, device=ids.device)
    groups = last_image(phi(ids == image_token_id), numbers).to_bool()[:, 0]
    return expand_groups(groups, R)[:, 0]


def interleave(parts: Sequence, image_text: str, end_of_chunk: str) -> tuple[str, list]:
    """The text of a page with tags in the places of its pictures, and the pictures in their order."""
    words, pictures = [], []
    for part in parts:
        if isinstance(part, str):
            words.append(part)
            continue
        if words:
            words.append(end_of_chunk)
        words.append(image_text)
        pictures.append(part)
    return " ".join([*words, end_of_chunk]), pictures


def embed_tokens(table: nn.Module, rows: Tensor, new_ids: Tensor, ids: Tensor) -> Tensor:
    """Embeddings of a frozen table, except for the tokens new_ids (K,), which have trained rows (K, D)."""
    y = table(ids)
    for token, row in zip(new_ids, rows):
        y = torch.where((ids == token)[..., None], row, y)
    return y


PARTS: Mapping[str, Callable] = {
    part.__name__: part
    for part in (resample, GatedBlock, run_layers, image_mask, interleave, embed_tokens)
}
"""What teaching.flamingo_model is put together from."""
