"""Attention masks as one comparison of two integers.

Every attention pattern of these papers is one of

    level(key) <= level(query)        less_equal_mask
    group(key) == group(query)        same_group_mask

on one integer per position, and `padding_mask`. Three examples, one integer per position:

    0 1 2 3      levels: causal, each token attends to itself and earlier tokens
    0 0 1 2      levels: a bidirectional prefix of two, then causal text that attends to the prefix
    1 1 2 2      groups: two packed documents that don't attend to each other

A `Mask` is such a rule, computed with (`to_bool` for SDPA, `to_block_mask` for FlexAttention), drawn and tested. True = may attend.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Rule = Callable[[Tensor, Tensor, Tensor], Tensor]
Device = torch.device | str | None


@dataclass(frozen=True, eq=False)
class Mask:
    """A rule on (batch, query, key) indices. `&`, `|` and `~` combine masks.

    name    for figures and messages
    rule    maps integer tensors (b, q, k), broadcast against each other, to booleans: may q attend to k?
    batch   number of sequences, or None if the rule is the same for all
    queries, keys   lengths Q and K
    device  of the integers that the rule compares, and of what is made from it
    """

    name: str
    rule: Rule
    batch: int | None
    queries: int
    keys: int
    device: torch.device = torch.device("cpu")

    def __and__(self, other: Mask) -> Mask:
        return self._combine(other, "and", operator.and_)

    def __or__(self, other: Mask) -> Mask:
        return self._combine(other, "or", operator.or_)

    def __invert__(self) -> Mask:
        return replace(self, name=f"not {self.name}", rule=lambda b, q, k: ~self.rule(b, q, k))

    def _combine(
        self, other: Mask, word: str, operation: Callable[[Tensor, Tensor], Tensor]
    ) -> Mask:
        """Raises ValueError for masks of different sizes, batches or devices."""
        if (self.queries, self.keys) != (other.queries, other.keys):
            raise ValueError(
                f"masks of different sizes: '{self.name}' is {self.queries} x {self.keys} (queries x keys), "
                f"'{other.name}' is {other.queries} x {other.keys}. Build both for the same sequence."
            )
        if None not in (self.batch, other.batch) and self.batch != other.batch:
            raise ValueError(
                f"masks of different batches: '{self.name}' is for {self.batch} sequences, "
                f"'{other.name}' for {other.batch}."
            )
        if self.device != other.device:
            raise ValueError(
                f"masks on different devices: '{self.name}' is on {self.device}, '{other.name}' on {other.device}. "
                "Build both where the tokens are: causal(length, ids.device)."
            )
        return replace(
            self,
            name=f"{self.name} {word} {other.name}",
            rule=lambda b, q, k: operation(self.rule(b, q, k), other.rule(b, q, k)),
            batch=self.batch or other.batch,
        )

    def query_slice(self, start: int) -> Mask:
        """The mask of the queries from `start` on, for new tokens after cached ones. Raises ValueError if none is left."""
        if not 0 <= start < self.queries:
            raise ValueError(
                f"mask '{self.name}' has {self.queries} queries; query_slice({start}) leaves none of them. "
                f"Expected 0 <= start < {self.queries}."
            )
        return replace(
            self, rule=lambda b, q, k: self.rule(b, q + start, k), queries=self.queries - start
        )

    def to_bool(self) -> Tensor:
        """Booleans (B or 1, 1, Q, K), True = may attend; they broadcast over heads."""
        b, q, k = (
            torch.arange(length, device=self.device)
            for length in (self.batch or 1, self.queries, self.keys)
        )
        allowed = self.rule(b[:, None, None], q[None, :, None], k[None, None, :])
        return allowed.expand(len(b), len(q), len(k))[:, None]

    def to_block_mask(self, size: int = 128):
        """FlexAttention's BlockMask of the same rule: blocks (size x size) without any True are never computed.

        The kernels need the default size; a smaller one is for looking at short sequences.
        """
        from torch.nn.attention.flex_attention import create_block_mask

        return create_block_mask(
            lambda b, h, q, k: self.rule(b, q, k),
            self.batch,
            None,
            self.queries,
            self.keys,
            device=str(self.device),
            BLOCK_SIZE=size,
        )


def _at(values: Tensor, b: Tensor, index: Tensor) -> Tensor:
    """values (L,) or (B, L), looked up at (b, index)."""
    return values[index] if values.dim() == 1 else values[b, index]


def _compare(
    name: str, query: Tensor, key: Tensor | None, comparison: Callable[[Tensor, Tensor], Tensor]
) -> Mask:
    """comparison(integer of the key, integer of the query). Raises ValueError for other shapes or dtypes."""
    key = query if key is None else key
    for values in (query, key):
        if values.dim() not in (1, 2) or values.is_floating_point():
            raise ValueError(
                f"mask '{name}' needs one integer per position, shape (length,) or (batch, length); "
                f"found {tuple(values.shape)} of {values.dtype}."
            )
    batches = {len(values) for values in (query, key) if values.dim() == 2}
    if len(batches) > 1:
        raise ValueError(
            f"mask '{name}': queries and keys come from batches of different sizes, {sorted(batches)}."
        )
    return Mask(
        name,
        lambda b, q, k: comparison(_at(key, b, k), _at(query, b, q)),
        batches.pop() if batches else None,
        query.shape[-1],
        key.shape[-1],
        query.device,
    )


def less_equal_mask(query: Tensor, key: Tensor | None = None, name: str = "levels") -> Mask:
    """level(key) <= level(query): integers (L,) or (B, L); key defaults to query. Raises ValueError for others."""
    return _compare(name, query, key, torch.le)


def same_group_mask(query: Tensor, key: Tensor | None = None, name: str = "groups") -> Mask:
    """group(key) == group(query): integers (L,) or (B, L); key defaults to query. Raises ValueError for others."""
    return _compare(name, query, key, torch.eq)


def padding_mask(is_token: Tensor, queries: int | None = None, name: str = "padding") -> Mask:
    """Keys that are not padding: is_token (B, K) booleans; queries defaults to K. Raises ValueError for others."""
    if is_token.dtype != torch.bool or is_token.dim() != 2:
        raise ValueError(
            f"mask '{name}' needs booleans (batch, keys), True where a token is real; "
            f"found {tuple(is_token.shape)} of {is_token.dtype}."
        )
    B, K = is_token.shape
    # `q == q` is True everywhere; it gives the rule its query axis.
    return Mask(
        name, lambda b, q, k: is_token[b, k] & (q == q), B, queries or K, K, is_token.device
    )


# The papers' masks. device: of the tokens.


def causal(length: int, device: Device = None) -> Mask:
    """Each token attends to itself and earlier ones: CLIP's text encoder, decoders."""
    return less_equal_mask(torch.arange(length, device=device), name="causal")


def prefix(prefix_length: int, length: int, device: Device = None) -> Mask:
    """Prefix LM: the first `prefix_length` positions attend to each other, the rest is causal."""
    order = (torch.arange(length, device=device) - prefix_length + 1).clamp(min=0)
    return less_equal_mask(order, name="prefix")


def bidirectional(length: int, device: Device = None) -> Mask:
    """Every position attends to every position: BERT, BLIP-2's image-text matching."""
    return less_equal_mask(
        torch.zeros(length, dtype=torch.long, device=device), name="bi-directional"
    )


def unimodal(queries: int, text: int, device: Device = None) -> Mask:
    """BLIP-2's image-text contrast: queries attend to queries, text to text (Li et al. 2023, Fig. 2)."""
    modality = torch.tensor([0] * queries + [1] * text, device=device)
    return same_group_mask(modality, name="uni-modal")


def multimodal_causal(queries: int, text: int, device: Device = None) -> Mask:
    """BLIP-2's image-grounded generation: queries attend to queries, text to queries and earlier text (Fig. 2)."""
    return replace(prefix(queries, queries + text, device), name="multimodal causal")


def phi(is_image_token: Tensor) -> Tensor:
    """Index of the last image at each token, 0 before the first: booleans (B, T) or (T,) -> integers (Flamingo, Sec. 2.3).

    A cumulative sum over the whole sequence; with a cache, compute it on the whole and take `Mask.query_slice`. An image token
    already belongs to its own image, as in all public code; the paper leaves this open.
    """
    return is_image_token.long().cumsum(-1)


def last_image(image_of_token: Tensor, image_of_key: Tensor) -> Mask:
    """Flamingo: a token attends to the last image before it. image_of_token: `phi`; image_of_key: 1, 2, ...

    phi = 0 equals no image: such a row is empty, and its attention exactly zero.
    """
    return same_group_mask(image_of_token, image_of_key, name="last image only")


def images_so_far(image_of_token: Tensor, image_of_key: Tensor) -> Mask:
    """Flamingo's ablation: a token attends to all images before it. Rows with phi = 0 are empty."""
    return less_equal_mask(image_of_token, image_of_key, name="all images so far")


def packed(document: Tensor) -> Mask:
    """Causal within each of several documents in one sequence: document numbers (T,) or (B, T)."""
    same_document = same_group_mask(document, name="same document")
    return same_document & causal(document.shape[-1], document.device)


def gallery() -> dict[str, Mask]:
    """An example of each mask of these papers, small enough to print."""
    is_image_token = torch.tensor([0, 1, 0, 0, 1, 0, 0]).bool()
    image_of_key = torch.tensor([1, 1, 2, 2])  # two images of two visual tokens each
    return {
        "CLIP text, BLIP decoder, every LM: causal": causal(6),
        "prefix LM": prefix(3, 7),
        "BLIP-2 ITM: bi-directional": bidirectional(7),
        "BLIP-2 ITC: uni-modal": unimodal(3, 4),
        "BLIP-2 ITG: multimodal causal": multimodal_causal(3, 4),
        "Flamingo: last image only": last_image(phi(is_image_token), image_of_key),
        "Flamingo, ablation: all images so far": images_so_far(phi(is_image_token), image_of_key),
        "packed documents": packed(torch.tensor([1, 1, 1, 2, 2, 2, 2])),
        "ViLBERT, VL-BERT: padding only": padding_mask(torch.tensor([[True] * 5 + [False] * 2])),
    }
