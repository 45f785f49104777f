"""Parts of BERT (Devlin et al. 2019, arXiv 1810.04805) for ViLBERT, VL-BERT and BLIP: embeddings, MLM head, masking."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, linear

from vlmcourse.parts.attention import Attention, KeyValues, KVCache
from vlmcourse.parts.layers import FeedForward, PostNormBlock, check_ids
from vlmcourse.parts.masks import padding_mask

Context = Tensor | list[KeyValues]
"""States to attend to (B, K, C), or `TextTransformer.project_kv` of them."""


class CrossAttentionBlock(nn.Module):
    """Post-norm block with cross-attention only: norm(x + attention(x, context)), then norm(x + feed-forward(x)).

    context_width, head_width  of the context; of one head (default: width / heads)
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int | None,
        context_width: int,
        head_width: int | None = None,
        eps: float = 1e-12,
    ):
        super().__init__()
        self.attention = Attention(width, heads, context_width, head_width)
        self.norm1 = nn.LayerNorm(width, eps)
        self.feedforward = FeedForward(width, hidden or 4 * width)
        self.norm2 = nn.LayerNorm(width, eps)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, Q, D), context (B, K, C), mask of booleans (B or 1, 1, Q or 1, K) -> (B, Q, D)."""
        x = self.norm1(x + self.attention(x, context, mask))
        return self.norm2(x + self.feedforward(x))


class WordEmbedding(nn.Embedding):
    """Token embeddings that check their ids: (B, T) -> (B, T, D)."""

    def __init__(self, vocabulary: int, width: int, context_length: int):
        super().__init__(vocabulary, width)
        self.context_length = context_length

    def forward(self, ids: Tensor, start: int = 0) -> Tensor:
        check_ids(ids, self.num_embeddings, self.context_length, start)
        return super().forward(ids)


class TextEmbedding(nn.Module):
    """LayerNorm(word + position): ids (B, T), the first at position `start`, or all at position_ids (B, T) -> (B, T, D)."""

    def __init__(self, vocabulary: int, context_length: int, width: int, eps: float):
        super().__init__()
        self.words = WordEmbedding(vocabulary, width, context_length)
        self.positions = nn.Parameter(torch.empty(context_length, width))
        self.norm = nn.LayerNorm(width, eps)
        nn.init.normal_(self.words.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.02)

    def forward(self, ids: Tensor, start: int = 0, position_ids: Tensor | None = None) -> Tensor:
        words, rows = self.words(ids, start), slice(start, start + ids.shape[1])
        return self.norm(words + self.positions[rows if position_ids is None else position_ids])


def with_first_token(ids: Tensor, token: int, padding_mask: Tensor | None = None) -> Tensor:
    """ids (B, T) with the first token of each row, after padding on the left (False in padding_mask), replaced by `token`."""
    if padding_mask is None:
        first = torch.zeros_like(ids[:, :1])
    else:
        first = padding_mask.int().argmax(1, keepdim=True)
    return ids.scatter(1, first, token)


def context_batch_size(context: Context) -> int:
    """B of a context."""
    return len(context if isinstance(context, Tensor) else context[0][0])


def _key_mask(is_key: Tensor | None) -> Tensor | None:
    return None if is_key is None else padding_mask(is_key, queries=1).to_bool()


class TextTransformer(nn.Module):
    """BERT with cross-attention in each block: an encoder or a decoder, according to the mask.

    context_width  C of the states that it cross-attends to, where a context is given
    """

    def __init__(
        self,
        vocabulary: int,
        context_length: int,
        width: int,
        depth: int,
        heads: int,
        hidden: int | None,
        eps: float,
        context_width: int,
    ):
        super().__init__()
        self.embeddings = TextEmbedding(vocabulary, context_length, width, eps)
        self.blocks = nn.ModuleList(
            PostNormBlock(width, heads, hidden, eps=eps, context_width=context_width)
            for _ in range(depth)
        )

    def project_kv(self, states: Tensor) -> list[KeyValues]:
        """Keys and values of states (B, K, C) for each block, to attend to them several times."""
        return [block.cross.project_kv(states) for block in self.blocks]

    def _context_per_block(self, context: Context | None) -> list:
        return context if isinstance(context, list) else [context] * len(self.blocks)

    def forward(
        self,
        ids: Tensor,
        mask: Tensor,
        context: Context | None = None,
        context_mask: Tensor | None = None,
        cache: KVCache | None = None,
        start: int = 0,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """States (B, T, D) of ids (B, T), with positions as in `TextEmbedding`. Raises ValueError for ids that it can't read.

        mask          booleans (B or 1, 1, T or 1, tokens so far)
        context_mask  booleans (B, K), False at padding of the context
        """
        x, keys = self.embeddings(ids, start, position_ids), _key_mask(context_mask)
        for block, block_context in zip(self.blocks, self._context_per_block(context)):
            x = block(x, mask, block_context, keys, cache)
        return x

    def first_state(
        self,
        ids: Tensor,
        mask: Tensor,
        context: Context | None = None,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        """`forward` at the first token, such as [CLS], only: (B, D). The last block computes no other."""
        x, contexts = self.embeddings(ids), self._context_per_block(context)
        keys = _key_mask(context_mask)
        for block, block_context in zip(self.blocks[:-1], contexts):
            x = block(x, mask, block_context, keys)
        first = torch.zeros(len(x), dtype=torch.long, device=x.device)
        return self.blocks[-1].forward_at(x, first, mask, contexts[-1], keys)


class MLMHead(nn.Module):
    """Logits over the vocabulary (masked or causal language modelling), (..., D) -> (..., V), with tied word embeddings."""

    def __init__(self, width: int, vocabulary: int, eps: float = 1e-12):
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, x: Tensor, word_embeddings: Tensor) -> Tensor:
        """x (..., D), word_embeddings (V, D) -> (..., V)."""
        return linear(self.norm(gelu(self.dense(x))), word_embeddings, self.bias)


def maskable(ids: Tensor) -> Tensor:
    """Which tokens may be masked: ids (B, T) -> booleans (B, T), False at padding (0) and at each text's first and last token."""
    is_token = ids != 0
    has_next = torch.cat([is_token[:, 1:], torch.zeros_like(is_token[:, :1])], dim=1)
    return is_token & has_next & (torch.arange(ids.shape[1], device=ids.device) > 0)


def sample_mask(candidates: Tensor, probability: float) -> Tensor:
    """Selects each candidate (True) with the given probability, independently: booleans of the same shape."""
    return (torch.rand(candidates.shape, device=candidates.device) < probability) & candidates


def mask_tokens(ids: Tensor, selected: Tensor, mask_id: int, vocabulary: int) -> Tensor:
    """Replaces selected tokens by [MASK] (80 %), by a random token (10 %) or not at all (10 %) (Sec. 3.1).

    ids (B, T), selected (B, T) booleans -> (B, T). Padding (0) is never drawn.
    """
    draw = torch.rand(ids.shape, device=ids.device)
    random_ids = torch.randint(1, vocabulary, ids.shape, device=ids.device)
    masked = ids.masked_fill(selected & (draw < 0.8), mask_id)
    return masked.where(~(selected & (draw >= 0.9)), random_ids)


def masked_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of logits (M, V) and targets (M,) of the masked positions; 0 if there are none."""
    return cross_entropy(logits.float(), targets, reduction="sum") / max(1, len(targets))
