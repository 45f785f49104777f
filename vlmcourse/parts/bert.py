"""BERT, with cross-attention in every block: words into vectors, blocks, vectors into words."""

import torch
from torch import Tensor, nn

from vlmcourse.parts.layers import PostNormBlock

Seen = Tensor | list[tuple[Tensor, Tensor]]
"""What a text looks at: states (B, K, C), or what `TextTransformer.read` made of them."""


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


def rows(seen: Seen) -> int:
    """How many sequences of states there are."""
    return len(seen if isinstance(seen, Tensor) else seen[0][0])


class TextTransformer(nn.Module):
    """An encoder or a decoder, as the mask says; it looks at `states` of width `context_width` where they are given."""

    def __init__(self, vocabulary: int, context: int, width: int, depth: int, heads: int, hidden: int | None, eps: float,
                 context_width: int):
        super().__init__()
        self.embeddings = Embeddings(vocabulary, context, width, eps)
        self.blocks = nn.ModuleList(PostNormBlock(width, heads, hidden, eps=eps, context_width=context_width)
                                    for _ in range(depth))

    def read(self, states: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of states (B, K, C), for each block: to look at them several times."""
        return [block.cross.read(states) for block in self.blocks]

    def _each(self, states: Seen | None) -> list:
        return states if isinstance(states, list) else [states] * len(self.blocks)

    def forward(self, ids: Tensor, mask, states: Seen | None = None, seen=None, cache: dict | None = None,
                start: int = 0) -> Tensor:
        """ids (B, T), states to look at and the mask `seen` on them -> (B, T, D)."""
        x = self.embeddings(ids, start)
        for block, context in zip(self.blocks, self._each(states)):
            x = block(x, mask, context, seen, cache)
        return x

    def first(self, ids: Tensor, mask: Tensor, states: Seen | None = None, seen=None) -> Tensor:
        """The state of the first token alone: (B, T) ids -> (B, D)."""
        x, contexts = self.embeddings(ids), self._each(states)
        for block, context in zip(self.blocks[:-1], contexts):
            x = block(x, mask, context, seen)
        return self.blocks[-1].first(x, mask, contexts[-1], seen)


class WordHead(nn.Module):
    """From states to words: a dense layer, then the word embeddings themselves (tied) and a bias, as in BERT."""

    def __init__(self, width: int, vocabulary: int, eps: float):
        super().__init__()
        self.dense, self.activation, self.norm = nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        return self.norm(self.activation(self.dense(x))) @ words.T + self.bias
