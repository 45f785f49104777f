"""Vectors that end among words, or in directions in which words differ: additions of the course to Frozen's prefix."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class WordHull(nn.Module):
    """(1 - m) v + m softmax(sharpness * cosine(v, words)) words, for vectors v (..., D): m goes from 0 to 1 during training.

    A small language model answers well about its own words, and badly about vectors that are half of one word and half of
    their mean: what counts is the direction. At m = 1 every vector is a weighted mean of word embeddings. Not in the paper.

    words  (V, D) word embeddings;  steps: of the whole training;  first, last: where m starts to grow and is 1, in shares
    of `steps`. With m = 1 from the first step on, nothing is learnt.
    """

    def __init__(
        self,
        words: Tensor,
        steps: int,
        first: float = 0.35,
        last: float = 0.65,
        sharpness: float = 25.0,
    ):
        super().__init__()
        self.steps, self.first, self.last, self.sharpness = steps, first, last, sharpness
        self.register_buffer("words", words.detach().clone())
        self.register_buffer("done", torch.zeros((), dtype=torch.long))

    @property
    def share(self) -> float:
        """m, between 0 and 1."""
        gone = (int(self.done) / self.steps - self.first) / (self.last - self.first)
        return min(1.0, max(0.0, gone))

    def forward(self, vectors: Tensor) -> Tensor:
        if not self.share:
            return vectors
        cosine = normalize(vectors, dim=-1) @ normalize(self.words, dim=-1).T  # (..., V)
        return vectors.lerp((self.sharpness * cosine).softmax(-1) @ self.words, self.share)

    def after_step(self) -> None:
        self.done += 1


class WordDirections(nn.Module):
    """Of what vectors add to their start, the part in the directions in which words differ most: a fixed linear map.

    A language model can leave directions of its embeddings free of words, for what its own heads write. A linear prefix
    then learns to write there too, the background into the vector of the thing. Captions don't suffer, but names are found
    by comparing vectors. Not in the paper.

    words  (V, D) embeddings, each less the mean of its kind;  start: (n, D);  count: of directions
    """

    def __init__(self, words: Tensor, start: Tensor, count: int):
        super().__init__()
        directions = torch.linalg.svd(words.detach(), full_matrices=False)[2][:count]
        self.register_buffer("start", start.detach().clone())
        self.register_buffer("projection", directions.T @ directions)

    def forward(self, vectors: Tensor) -> Tensor:
        """(M * n, D) -> (M * n, D)."""
        added = vectors.unflatten(0, (-1, len(self.start))) - self.start
        return (self.start + added @ self.projection).flatten(0, 1)
