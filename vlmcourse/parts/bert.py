"""BERT's pieces, of which ViLBERT, VL-BERT and BLIP are made (Devlin et al. 2019, arXiv 1810.04805).

Embeddings of words, the head that names a word, a block that asks another stream, and the masking: choose 15 % of the words;
of these, 80 % become [MASK], 10 % another word, 10 % stay as they are. The block itself is layers.PostNormBlock.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, linear

from vlmcourse.parts.attention import Attention
from vlmcourse.parts.layers import FeedForward, PostNormBlock, check_ids

Context = Tensor | list[tuple[Tensor, Tensor]]
"""What a text looks at: states (B, K, C), or what `TextTransformer.project_kv` made of them."""


class CrossAttentionBlock(nn.Module):
    """A post-norm block whose attention asks a context, never itself: norm(x + attention(x, context)), then the feed-forward.

    context_width, head_width  of the context; of a head (default: width / heads)
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
    """Word embeddings that check what they are given: (B, T) ids -> (B, T, D)."""

    def __init__(self, vocabulary: int, width: int, context: int):
        super().__init__(vocabulary, width)
        self.context = context

    def forward(self, ids: Tensor) -> Tensor:
        check_ids(ids, self.num_embeddings, self.context)
        return super().forward(ids)


class TextEmbedding(nn.Module):
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
            raise ValueError(
                f"texts of {end} tokens; this model reads at most {len(self.positions)}. Shorten them."
            )
        return self.norm(self.words(ids) + self.positions[start:end])


def rows(seen: Context) -> int:
    """How many sequences of states there are."""
    return len(seen if isinstance(seen, Tensor) else seen[0][0])


class TextTransformer(nn.Module):
    """An encoder or a decoder, as the mask says; it looks at `states` of width `context_width` where they are given."""

    def __init__(
        self,
        vocabulary: int,
        context: int,
        width: int,
        depth: int,
        heads: int,
        hidden: int | None,
        eps: float,
        context_width: int,
    ):
        super().__init__()
        self.embeddings = TextEmbedding(vocabulary, context, width, eps)
        self.blocks = nn.ModuleList(
            PostNormBlock(width, heads, hidden, eps=eps, context_width=context_width)
            for _ in range(depth)
        )

    def project_kv(self, states: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of states (B, K, C), for each block: to look at them several times."""
        return [block.cross.project_kv(states) for block in self.blocks]

    def _each(self, states: Context | None) -> list:
        return states if isinstance(states, list) else [states] * len(self.blocks)

    def forward(
        self,
        ids: Tensor,
        mask,
        states: Context | None = None,
        seen=None,
        cache: dict | None = None,
        start: int = 0,
    ) -> Tensor:
        """ids (B, T), states to look at and the mask `seen` on them -> (B, T, D)."""
        x = self.embeddings(ids, start)
        for block, context in zip(self.blocks, self._each(states)):
            x = block(x, mask, context, seen, cache)
        return x

    def first(self, ids: Tensor, mask: Tensor, states: Context | None = None, seen=None) -> Tensor:
        """The state of the first token alone: (B, T) ids -> (B, D)."""
        x, contexts = self.embeddings(ids), self._each(states)
        for block, context in zip(self.blocks[:-1], contexts):
            x = block(x, mask, context, seen)
        return self.blocks[-1].first(x, mask, contexts[-1], seen)


class MLMHead(nn.Module):
    """Which word stands here? (..., D) -> (..., V), through the very table that words are read with (tied weights)."""

    def __init__(self, width: int, vocabulary: int, eps: float = 1e-12):
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        return linear(self.norm(gelu(self.dense(x))), table, self.bias)


def sample_mask(may: Tensor, share: float) -> Tensor:
    """Each slot that may be chosen (True in `may`) is chosen with probability `share`: booleans of the same shape."""
    return (torch.rand(may.shape, device=may.device) < share) & may


def mask_tokens(ids: Tensor, chosen: Tensor, mask: int, vocabulary: int) -> Tensor:
    """What the model reads at chosen slots: [MASK] 8 times in 10, any word once, the word itself once (Sec. 3.1).

    ids (B, T), chosen (B, T) booleans, mask: id of [MASK], vocabulary: number of ids -> (B, T).
    """
    dice = torch.rand(ids.shape, device=ids.device)
    another = torch.randint(1, vocabulary, ids.shape, device=ids.device)  # any but 0, the padding
    return ids.masked_fill(chosen & (dice < 0.8), mask).where(~(chosen & (dice >= 0.9)), another)


def maskable(ids: Tensor) -> Tensor:
    """The words of each text, (B, T) booleans: neither padding (0), nor the first token, nor the last. These may be masked."""
    padding_mask = ids != 0
    goes_on = torch.cat([padding_mask[:, 1:], torch.zeros_like(padding_mask[:, :1])], dim=1)
    return padding_mask & goes_on & (torch.arange(ids.shape[1], device=ids.device) > 0)


def masked_cross_entropy(said: Tensor, was: Tensor) -> Tensor:
    """Mean of -ln p(what was there): logits (M, V) and numbers (M,) of the masked slots alone -> scalar, 0 if there are none."""
    return cross_entropy(said.float(), was, reduction="sum") / max(1, len(was))


def init_weights(model: nn.Module) -> None:
    """Matrices and embeddings with a standard deviation of width ** -0.5, biases zero.

    BERT takes 0.02, which is about that for its width of 768; at width 128 hardly anything is learnt from 0.02.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=module.weight.shape[1] ** -0.5)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


@torch.no_grad()
def copy_bert_layer(block: PostNormBlock, layer: nn.Module) -> None:
    """The weights of a transformers.BertLayer, into a block of the same sizes."""
    theirs = layer.attention.self
    pairs = (
        (block.attention.query, (theirs.query,)),
        (block.attention.key_value, (theirs.key, theirs.value)),
        (block.attention.out, (layer.attention.output.dense,)),
        (block.norm1, (layer.attention.output.LayerNorm,)),
        (block.feedforward[0], (layer.intermediate.dense,)),
        (block.feedforward[2], (layer.output.dense,)),
        (block.norm2, (layer.output.LayerNorm,)),
    )
    for ours, sources in pairs:
        ours.weight.copy_(torch.cat([source.weight for source in sources]))
        ours.bias.copy_(torch.cat([source.bias for source in sources]))
