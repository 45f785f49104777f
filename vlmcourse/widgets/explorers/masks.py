"""The mask explorer: every row of the mask table on words of your own, what a changed key moves, and one cell that lies.

`masks.js` computes the same rules in the browser: each compares integers of a query with integers of a key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmcourse.parts import masks
from vlmcourse.widgets.explorer import show_explorer

IMAGE, PAD, DOCUMENT = "<image>", "<pad>", "|"
TEXT = "the <image> cat sat <image> a dog"
MAX_WORDS = 14
"""Words that fit into a picture one can read."""


@dataclass(frozen=True)
class Pattern:
    """A mask with the names of its rows and columns."""

    mask: masks.Mask
    queries: tuple[str, ...]
    keys: tuple[str, ...]


def _text(make: Callable[[int, int], masks.Mask]):
    """Text attends to text: make(words, the number) -> mask."""
    return lambda words, number: Pattern(make(len(words), number), words, words)


def _queries(make: Callable[[int, int], masks.Mask]):
    """Queries and text in one row, as in the Q-Former: make(queries, words) -> mask."""

    def drawn(words: tuple[str, ...], number: int) -> Pattern:
        names = (*(f"q{index + 1}" for index in range(number)), *words)
        return Pattern(make(number, len(words)), names, names)

    return drawn


def _flamingo(make: Callable[[Tensor, Tensor], masks.Mask]):
    """Text attends to `number` latents of each of its pictures."""

    def drawn(words: tuple[str, ...], number: int) -> Pattern:
        tags = torch.tensor([word == IMAGE for word in words])
        if not (pictures := int(tags.sum())):
            raise ValueError(
                f"no {IMAGE} in the text, so there is nothing to look at. Write {IMAGE} where a picture belongs."
            )
        keys = tuple(
            f"{IMAGE[1:-1]} {picture + 1}.{latent + 1}"
            for picture in range(pictures)
            for latent in range(number)
        )
        return Pattern(
            make(masks.phi(tags), torch.arange(1, pictures + 1).repeat_interleave(number)),
            words,
            keys,
        )

    return drawn


def _packed(words: tuple[str, ...], number: int) -> Pattern:
    documents = torch.tensor([word == DOCUMENT for word in words]).long().cumsum(0)
    return Pattern(masks.packed(documents), words, words)


def _padded(words: tuple[str, ...], number: int) -> Pattern:
    return Pattern(
        masks.padding_mask(torch.tensor([[word != PAD for word in words]])), words, words
    )


PATTERNS: dict[str, Callable[[tuple[str, ...], int], Pattern]] = {
    "CLIP text, BLIP decoder, every LM: causal": _text(lambda length, _: masks.causal(length)),
    "prefix LM": _text(lambda length, number: masks.prefix(min(number, length), length)),
    "BLIP-2 ITM: bi-directional": _queries(
        lambda queries, text: masks.bidirectional(queries + text)
    ),
    "BLIP-2 ITC: uni-modal": _queries(masks.unimodal),
    "BLIP-2 ITG: multimodal causal": _queries(masks.multimodal_causal),
    "Flamingo: last image only": _flamingo(masks.last_image),
    "Flamingo, ablation: all images so far": _flamingo(masks.images_so_far),
    "packed documents": _packed,
    "ViLBERT, VL-BERT: padding only": _padded,
}
"""Every row of the mask table: (words, number) -> Pattern."""


def pattern(name: str, text: str, number: int) -> Pattern:
    """The mask of a row of the table (a key of PATTERNS) for a text. Raises ValueError for a text that it can't be drawn for."""
    words = tuple(text.replace(IMAGE, f" {IMAGE} ").split())
    if not 1 <= len(words) <= MAX_WORDS:
        raise ValueError(
            f"{len(words)} words; expected 1 to {MAX_WORDS}, so that rows and columns can be read."
        )
    return PATTERNS[name](words, number)


def describe(name: str, text: str, number: int, query: int) -> str:
    """What the explorer shows of a row of the table: the keys of one query."""
    shown = pattern(name, text, number)
    allowed = shown.mask.to_bool()[0, 0, query].tolist()
    keys = ", ".join(key for key, may in zip(shown.keys, allowed) if may) or "none"
    return (
        f"Mask '{name}', {len(shown.queries)} queries by {len(shown.keys)} keys. "
        f"'{shown.queries[query]}' may attend to: {keys}."
    )


def mask_explorer(text: str = TEXT, name: str = next(iter(PATTERNS)), number: int = 2) -> None:
    """Displays the explorer. name: the row of the table to begin with."""
    data = {"text": text, "name": name, "number": number}
    show_explorer("masks", data, describe(name, text, number, min(3, len(text.split()) - 1)))
