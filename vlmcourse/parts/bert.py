"""BERT's two ends: words into vectors, and vectors into words. Between them: layers.PostNormBlock."""

import torch
from torch import Tensor, nn


class Embeddings(nn.Module):
    """Word + position, then LayerNorm: (B, T) ids from position `start` on -> (B, T, D)."""

    def __init__(self, vocabulary: int, context: int, width: int, eps: float):
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.empty(context, width))
        self.norm = nn.LayerNorm(width, eps)
        nn.init.normal_(self.words.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, ids: Tensor, start: int = 0) -> Tensor:
        end = start + ids.shape[1]
        if end > len(self.positions):
            raise ValueError(f"texts of {end} tokens; this model reads at most {len(self.positions)}. Shorten them.")
        return self.norm(self.words(ids) + self.positions[start:end])


class WordHead(nn.Module):
    """From states to words: a dense layer, then the word embeddings themselves (tied) and a bias, as in BERT."""

    def __init__(self, width: int, vocabulary: int, eps: float):
        super().__init__()
        self.dense, self.activation, self.norm = nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        return self.norm(self.activation(self.dense(x))) @ words.T + self.bias
