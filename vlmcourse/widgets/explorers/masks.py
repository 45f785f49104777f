"""The mask explorer: every row of the mask table, on words of your own; declared, measured, and one faulty mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmcourse import introspection
from vlmcourse.parts import masks
from vlmcourse.parts.attention import attend
from vlmcourse.plots import compare_masks, mask_and_blocks, stack_figures
from vlmcourse.widgets.interactive import (
    WIDE,
    dropdown,
    interactive,
    option_slider,
    row,
    row_with_labels,
    set_options,
    show_only,
    slider,
    text_field,
)
from vlmcourse.world import SeededRandom

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
NUMBERED = {
    "prefix LM": "prefix",
    **dict.fromkeys(filter(lambda name: "BLIP-2" in name, PATTERNS), "queries"),
    **dict.fromkeys(filter(lambda name: "Flamingo" in name, PATTERNS), "latents"),
}
"""What the number is of: words that all may see, queries, or latents of a picture. Other rows of the table have none."""


def pattern(name: str, text: str, number: int) -> Pattern:
    """The mask of a row of the table (a key of PATTERNS) for a text. Raises ValueError for a text that it can't be drawn for."""
    words = tuple(text.replace(IMAGE, f" {IMAGE} ").split())
    if not 1 <= len(words) <= MAX_WORDS:
        raise ValueError(
            f"{len(words)} words; expected 1 to {MAX_WORDS}, so that rows and columns can be read."
        )
    return PATTERNS[name](words, number)


def broken(mask: masks.Mask, seed: int = 0) -> masks.Mask:
    """The same mask with a single cell turned round: one that may not look does, or, where all may, one no longer does."""
    table = mask.to_bool()[0, 0]
    cells = (~table if not table.all() else table).nonzero().tolist()
    query, key = SeededRandom("broken", mask.name, seed).choice(cells)
    return masks.Mask(
        mask.name,
        lambda b, q, k: mask.rule(b, q, k) ^ ((q == query) & (k == key)),
        mask.batch,
        mask.queries,
        mask.keys,
    )


def _vectors(mask: masks.Mask) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (1, 1, Q, 8), keys and values (1, 1, K, 8), always the same."""
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn(1, 1, length, 8, generator=generator)
        for length in (mask.queries, mask.keys, mask.keys)
    )


def moved(mask: masks.Mask, key: int) -> Tensor:
    """How far each output of attend() goes when key and value at one position are changed: (Q,), exactly 0 where it can't."""
    q, k, v = _vectors(mask)
    table = mask.to_bool()[:1]
    before = attend(q, k, v, table)
    k, v = k.clone(), v.clone()
    k[..., key, :] += 1
    v[..., key, :] += 1
    return (attend(q, k, v, table) - before)[0, 0].norm(dim=-1)


def measured(mask: masks.Mask) -> Tensor:
    """Who moves whom, by differentiating attend(): booleans (Q, K). No mask is read off, so this can find a faulty one."""
    q, k, v = _vectors(mask)
    return (
        introspection.influence(
            lambda values: attend(q, k, values[:, None], mask.to_bool()[:1])[:, 0], v[0]
        )
        > 0
    )


def mask_figure(
    shown: Pattern,
    query: int,
    key: int,
    changed: bool = False,
    faulty: bool = False,
    compared: bool = False,
):
    """The picture of a state. query, key: numbers, taken back into the range that this mask has.

    changed  what stands at `key` is changed, and what moves is drawn
    faulty  attend() is given another mask than the one that is drawn: broken(mask)
    compared declared beside measured, which shows the faulty cell
    """
    query, key = min(query, shown.mask.queries - 1), min(key, shown.mask.keys - 1)
    used = broken(shown.mask) if faulty else shown.mask
    first = mask_and_blocks(
        shown.mask,
        shown.queries,
        shown.keys,
        query,
        key=key,
        moved=moved(used, key) if changed else None,
    )
    if not compared:
        return first
    return stack_figures(
        first,
        compare_masks(
            measured(used),
            shown.mask.to_bool()[:1],
            ("measured", "declared"),
            shown.queries,
            shown.keys,
        ),
    )


def mask_explorer(text: str = TEXT, names: Sequence[str] = tuple(PATTERNS)) -> None:
    """Displays the explorer. names: the rows of the table to choose from."""
    import ipywidgets

    name, typed = dropdown("pattern", list(names), layout=WIDE), text_field("text", text)
    typed.placeholder = f"words; {IMAGE}, {PAD} and {DOCUMENT} have a meaning"
    number = slider("number", 2, 1, 4)
    positions = [(str(position), position) for position in range(MAX_WORDS)]
    query, key = option_slider("query", positions, 3), option_slider("key", positions, 4)
    changed, faulty, compared = (
        ipywidgets.ToggleButton(description=what, layout={"width": "16em"})
        for what in ("change what the key holds", "use a faulty mask", "declared = measured?")
    )
    now: list[Pattern] = []

    def prepare() -> None:
        now[:] = [pattern(name.value, typed.value, number.value)]
        for field, words in ((query, now[0].queries), (key, now[0].keys)):
            set_options(field, [(f"{i}: {word}", i) for i, word in enumerate(words)])
        show_only([number], [number] if name.value in NUMBERED else [])
        number.description = NUMBERED.get(name.value, "number")

    def draw():
        toggles = (field.value for field in (changed, faulty, compared))
        return mask_figure(now[0], query.value, key.value, *toggles)

    interactive(
        [name, typed, row_with_labels(query, key, number), row(changed, faulty, compared)],
        draw,
        prepare,
    )
