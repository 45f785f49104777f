"""Who may look at whom: a mask is two comparisons.

Every attention pattern of the course is one of

    level(key) <= level(query)        levels
    group(key) == group(query)        groups

on one integer per position, plus padding (keys). Three examples, one integer per position:

    0 1 2 3      levels: causal, each token sees itself and the past
    0 0 1 2      levels: a prefix of two that sees itself, then causal text that sees the prefix
    1 1 2 2      groups: two packed documents that don't see each other

A `Mask` is that rule and nothing else. The same object is computed with (`to_bool` for SDPA, `to_block_mask` for FlexAttention),
drawn (plots.py) and tested. True means *may look*, always.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Rule = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Mask:
    """A rule on (batch, query, key) indices, with the sizes it is meant for.

    name    what pictures and messages call it
    rule    maps integer index tensors (b, q, k), broadcast against each other, to booleans: may q look at k?
    batch   number of sequences the rule tells apart, or None if it is the same for all
    queries, keys   lengths
    device  where the numbers live that the rule compares, and so what is made of it
    """

    name: str
    rule: Rule
    batch: int | None
    queries: int
    keys: int
    device: torch.device = torch.device("cpu")

    def __and__(self, other: "Mask") -> "Mask":
        return _combine(self, other, "and", lambda mine, theirs: mine & theirs)

    def __or__(self, other: "Mask") -> "Mask":
        return _combine(self, other, "or", lambda mine, theirs: mine | theirs)

    def __invert__(self) -> "Mask":
        return replace(self, name=f"not {self.name}", rule=lambda b, q, k: ~self.rule(b, q, k))

    def query_slice(self, start: int) -> "Mask":
        """The same rule for the queries from `start` on: what the new tokens need when the old ones are cached."""
        if not 0 <= start < self.queries:
            raise ValueError(
                f"mask '{self.name}' has {self.queries} queries; query_slice({start}) leaves none of them. "
                f"Expected 0 <= start < {self.queries}."
            )
        return replace(
            self, rule=lambda b, q, k: self.rule(b, q + start, k), queries=self.queries - start
        )

    def to_bool(self) -> Tensor:
        """Booleans (B or 1, 1, Q, K): True = may look. The 1 is for heads; it broadcasts."""
        b = torch.arange(self.batch or 1, device=self.device)[:, None, None]
        q = torch.arange(self.queries, device=self.device)[None, :, None]
        k = torch.arange(self.keys, device=self.device)[None, None, :]
        return self.rule(b, q, k).expand(self.batch or 1, self.queries, self.keys)[
            :, None
        ]  # (B|1, 1, Q, K)

    def to_block_mask(self, size: int = 128):
        """FlexAttention's BlockMask: the same rule, with the blocks (size x size) that are all False never computed.

        The kernels want the default size; a smaller one is for looking at short sequences.
        """
        from torch.nn.attention.flex_attention import create_block_mask

        def rule(b, h, q, k):
            return self.rule(b, q, k)

        return create_block_mask(
            rule,
            self.batch,
            None,
            self.queries,
            self.keys,
            device=str(self.device),
            BLOCK_SIZE=size,
        )


def _combine(
    mine: Mask, theirs: Mask, word: str, operation: Callable[[Tensor, Tensor], Tensor]
) -> Mask:
    if (mine.queries, mine.keys) != (theirs.queries, theirs.keys):
        raise ValueError(
            f"masks of different sizes: '{mine.name}' is {mine.queries} x {mine.keys} (queries x keys), "
            f"'{theirs.name}' is {theirs.queries} x {theirs.keys}. Build both for the same sequence."
        )
    if None not in (mine.batch, theirs.batch) and mine.batch != theirs.batch:
        raise ValueError(
            f"masks of different batches: '{mine.name}' is for {mine.batch} sequences, "
            f"'{theirs.name}' for {theirs.batch}."
        )
    if mine.device != theirs.device:
        raise ValueError(
            f"masks on different devices: '{mine.name}' is on {mine.device}, '{theirs.name}' on {theirs.device}. "
            "Build both where the tokens are: causal(length, ids.device)."
        )
    return Mask(
        f"{mine.name} {word} {theirs.name}",
        lambda b, q, k: operation(mine.rule(b, q, k), theirs.rule(b, q, k)),
        mine.batch or theirs.batch,
        mine.queries,
        mine.keys,
        mine.device,
    )


def _at(values: Tensor, b: Tensor, index: Tensor) -> Tensor:
    """values (L,) or (B, L), looked up at (b, index)."""
    return values[index] if values.dim() == 1 else values[b, index]


def _compare(
    name: str, query: Tensor, key: Tensor | None, comparison: Callable[[Tensor, Tensor], Tensor]
) -> Mask:
    """A mask that compares one integer of the key with one of the query; (L,) for all sequences alike, or (B, L)."""
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


# The three comparisons everything else is made of.


def less_equal_mask(query: Tensor, key: Tensor | None = None, name: str = "levels") -> Mask:
    """level(key) <= level(query). `key` defaults to `query` (self-attention); integers (L,) or (B, L)."""
    return _compare(name, query, key, torch.le)


def same_group_mask(query: Tensor, key: Tensor | None = None, name: str = "groups") -> Mask:
    """group(key) == group(query). `key` defaults to `query` (self-attention); integers (L,) or (B, L)."""
    return _compare(name, query, key, torch.eq)


def padding_mask(valid: Tensor, queries: int | None = None, name: str = "padding") -> Mask:
    """Only the keys that are real: `valid` (B, K) booleans, False at padding. `queries` defaults to K."""
    if valid.dtype != torch.bool or valid.dim() != 2:
        raise ValueError(
            f"mask '{name}' needs booleans (batch, keys), True where a token is real; "
            f"found {tuple(valid.shape)} of {valid.dtype}."
        )
    # `q == q` is all True; it gives the rule its query axis, so that it broadcasts like the others.
    return Mask(
        name,
        lambda b, q, k: valid[b, k] & (q == q),
        len(valid),
        queries or valid.shape[1],
        valid.shape[1],
        valid.device,
    )


# The papers' patterns. `device`: where the tokens are.


def causal(length: int, device: torch.device | str | None = None) -> Mask:
    """CLIP's text tower, BLIP's decoder, every language model."""
    return less_equal_mask(torch.arange(length, device=device), name="causal")


def prefix(seen: int, length: int, device: torch.device | str | None = None) -> Mask:
    """Prefix LM: the first `seen` positions see each other, the rest is causal."""
    return less_equal_mask(
        (torch.arange(length, device=device) - seen + 1).clamp(min=0), name="prefix"
    )


def bidirectional(length: int, device: torch.device | str | None = None) -> Mask:
    """Everybody sees everybody: BERT, and BLIP-2's image-text matching."""
    return less_equal_mask(
        torch.zeros(length, dtype=torch.long, device=device), name="bi-directional"
    )


def unimodal(queries: int, text: int, device: torch.device | str | None = None) -> Mask:
    """BLIP-2, image-text contrast: queries see queries, text sees text (Li et al. 2023, Fig. 2)."""
    return same_group_mask(
        torch.tensor([0] * queries + [1] * text, device=device), name="uni-modal"
    )


def multimodal_causal(queries: int, text: int, device: torch.device | str | None = None) -> Mask:
    """BLIP-2, image-grounded generation: queries see queries; text sees queries and its own past (Fig. 2)."""
    return less_equal_mask(
        torch.tensor([0] * queries + list(range(1, text + 1)), device=device),
        name="multimodal causal",
    )


def phi(is_tag: Tensor) -> Tensor:
    """Number of image tags up to and including each token: (B, T) or (T,) booleans -> integers (Flamingo, Sec. 2.3).

    A cumulative sum over the *whole* sequence; with a cache, compute it on the whole and take `Mask.query_slice`. The tag token
    itself already sees its image, as in all public code; the paper leaves it open.
    """
    return is_tag.long().cumsum(-1)


def last_image(image_of_token: Tensor, image_of_key: Tensor) -> Mask:
    """Flamingo: text sees the last image before it. `image_of_token` = phi; keys are numbered by their image, from 1.

    phi = 0 (text before the first image) equals no image number: such a row is empty, and attention gives exactly zero.
    """
    return same_group_mask(image_of_token, image_of_key, name="last image only")


def images_so_far(image_of_token: Tensor, image_of_key: Tensor) -> Mask:
    """Flamingo's ablation: text sees every image so far. Rows with phi = 0 are empty here too."""
    return less_equal_mask(image_of_token, image_of_key, name="all images so far")


def packed(document: Tensor) -> Mask:
    """Several documents in one sequence: the same document, and the past of it. `document` (T,) or (B, T) integers."""
    return same_group_mask(document, name="same document") & causal(
        document.shape[-1], document.device
    )


def gallery() -> dict[str, Mask]:
    """Every row of the course's mask table, on an example small enough to look at."""
    tags = torch.tensor(
        [0, 1, 0, 0, 1, 0, 0]
    ).bool()  # a word, <image> two words, <image> two words
    image_of_key = torch.tensor([1, 1, 2, 2])  # two images of two visual tokens each
    return {
        "CLIP text, BLIP decoder, every LM: causal": causal(6),
        "prefix LM": prefix(3, 7),
        "BLIP-2 ITM: bi-directional": bidirectional(7),
        "BLIP-2 ITC: uni-modal": unimodal(3, 4),
        "BLIP-2 ITG: multimodal causal": multimodal_causal(3, 4),
        "Flamingo: last image only": last_image(phi(tags), image_of_key),
        "Flamingo, ablation: all images so far": images_so_far(phi(tags), image_of_key),
        "packed documents": packed(torch.tensor([1, 1, 1, 2, 2, 2, 2])),
        "ViLBERT, VL-BERT: padding only": padding_mask(torch.tensor([[True] * 5 + [False] * 2])),
    }
