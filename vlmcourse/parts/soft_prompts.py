"""A language model that reads vectors among its words: the pictures of Frozen and of BLIP-2."""

from __future__ import annotations

from torch import Tensor, nn

from vlmcourse.parts.attention import cached_length
from vlmcourse.parts.language import Decoder, embed, extend_padding_mask, logits


def insert_vectors(embeddings: Tensor, slots: Tensor, vectors: Tensor) -> Tensor:
    """Embeddings (B, T, D) with vectors (M, D) at the M slots (B, T) that are True, in reading order. Raises ValueError for another M."""
    if (expected := int(slots.sum())) != len(vectors):
        raise ValueError(
            f"{len(vectors)} vectors for {expected} slots in the text; expected one for each. "
            "Give as many pictures as the text has places for."
        )
    return embeddings.masked_scatter(slots[..., None], vectors.to(embeddings.dtype))


class SoftPromptModel(nn.Module):
    """A language model that reads a vector at each image token of a text (Frozen, BLIP-2); subclasses set both attributes."""

    lm: Decoder
    image_token_id: int

    def embeddings(self, ids: Tensor, prefix: Tensor | None = None) -> Tensor:
        """Word embeddings of ids (B, T) with the vectors of prefix (slots, D), if any, at image tokens -> (B, T, D)."""
        slots = ids == self.image_token_id
        words = embed(self.lm, ids.masked_fill(slots, 0))
        return insert_vectors(words, slots, words[:0, 0] if prefix is None else prefix)

    def forward(
        self,
        ids: Tensor,
        cache=None,
        padding_mask: Tensor | None = None,
        prefix: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, new, V) of the tokens of ids (B, T) that the cache lacks. padding_mask (B, T): False at padding.

        prefix (slots, D): a vector for each image token, in reading order. Raises ValueError for another number.
        """
        x = self.embeddings(ids, prefix)[:, cached_length(cache) :]
        return logits(self.lm, x, extend_padding_mask(padding_mask, ids), cache)
