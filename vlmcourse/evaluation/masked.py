"""Masked words, masked regions, and alignment: true captions beside false ones.

Models are anything with `mlm_logits(batch)`, `region_logits(batch, hidden)` and, for alignment, `alignment_logits(batch)`;
data is world.regions.Regions. Each test takes a `view`, batch -> batch, so that the controls are the same test of another batch:
`without_image` and `shuffled_images`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from vlmcourse import world
from vlmcourse.evaluation.controls import eval_mode
from vlmcourse.evaluation.ranking import recall_at_1
from vlmcourse.world import tokenizer

BatchChange = Callable[[dict], dict]
IMAGE_INPUTS = ("pixel_values", "features", "boxes", "region_mask", "classes")
PLACES = ("left", "right", "above", "below")


def unchanged(batch: dict) -> dict:
    """The batch as it is."""
    return batch


def without_image(batch: dict) -> dict:
    """The blind control: a grey picture without regions, whose number is hidden too."""
    blank = ("pixel_values", "features", "region_mask")
    return {**batch, **{name: torch.zeros_like(batch[name]) for name in blank}}


def shuffled_images(batch: dict) -> dict:
    """Each text with the picture of the row before."""
    return {**batch, **{name: batch[name].roll(1, 0) for name in IMAGE_INPUTS}}


def select_rows(batch: dict, numbers: Tensor) -> dict[str, Tensor]:
    """These rows of a batch's tensors; a row may come more than once."""
    return {name: value[numbers] for name, value in batch.items() if isinstance(value, Tensor)}


def word_kinds() -> dict[str, Tensor]:
    """Ids of the words that only a picture can tell: things, places, backgrounds."""
    kinds = {
        "nouns": [noun.word for noun in world.nouns()],
        "places": list(PLACES),
        "backgrounds": list(world.BACKGROUNDS),
    }
    return {name: tokenizer.encode(words)[:, 1] for name, words in kinds.items()}


def _batches(data, indices: Sequence[int], view: BatchChange, batch: int) -> Iterator[dict]:
    for start in range(0, len(indices), batch):
        yield view(data.batch(indices[start : start + batch]))


def masked_word_accuracy(
    model, data, indices: Sequence[int], view: BatchChange = unchanged, batch: int = 64
) -> dict[str, float]:
    """Masks each noun, place and background of these pairs' captions, one at a time: how often is the word predicted?

    A kind of word that none of the captions has is left out.
    """
    mask_id, kinds = tokenizer.world_tokenizer().mask_token_id, word_kinds()
    right: dict[str, list[Tensor]] = {name: [] for name in kinds}
    with eval_mode(model):
        for inputs in _batches(data, indices, view, batch):
            for name, ids in kinds.items():
                row, column = torch.isin(inputs["ids"], ids).nonzero(as_tuple=True)
                if not len(row):
                    continue
                masked, at = select_rows(inputs, row), (torch.arange(len(row)), column)
                targets = masked["ids"][at]
                masked["ids"] = masked["ids"].index_put(at, torch.tensor(mask_id))
                logits = _on_device(model, model.mlm_logits, masked)
                right[name].append(logits[at].argmax(-1) == targets)
    return {
        name: torch.cat(is_right).float().mean().item()
        for name, is_right in right.items()
        if is_right
    }


def masked_region_accuracy(
    model, data, indices: Sequence[int], view: BatchChange = unchanged, batch: int = 64
) -> float:
    """Masks each region of these pairs, one at a time: how often is its likeliest class predicted? With `shuffled_images`,
    from a wrong text."""
    right = []
    with eval_mode(model):
        for inputs in _batches(data, indices, view, batch):
            row, region = inputs["region_mask"].nonzero(as_tuple=True)
            repeated, at = select_rows(inputs, row), (torch.arange(len(row)), region)
            masked = torch.zeros_like(repeated["region_mask"], dtype=torch.bool)
            masked[at] = True
            logits = _on_device(model, model.region_logits, repeated, masked_regions=masked)
            right.append(logits[at].argmax(-1) == repeated["classes"][at].argmax(-1))
    return torch.cat(right).float().mean().item()


def alignment_scores(model, batch: dict) -> Tensor:
    """model.alignment_logits of a batch, (B,)."""
    with eval_mode(model):
        return _on_device(model, model.alignment_logits, batch)


def pair_accuracy(
    model,
    data,
    indices: Sequence[int],
    false: Callable[[int], str | None],
    view: BatchChange = unchanged,
) -> dict[str, float]:
    """True captions beside false ones, false(index); None where there is none.

    "of two": how often the true one scores higher; ties count as wrong. "yes or no": how often each is judged correctly by itself.
    """
    texts = {index: text for index in indices if (text := false(index)) is not None}
    batch = view(data.batch(list(texts)))
    inputs = select_rows(batch, torch.arange(len(texts)))
    true = alignment_scores(model, inputs)
    wrong = alignment_scores(model, {**inputs, "ids": tokenizer.encode(list(texts.values()))})
    judged = (true > 0).float().mean() + (wrong <= 0).float().mean()
    return {"of two": (true > wrong).float().mean().item(), "yes or no": judged.item() / 2}


def score_all_pairs(model, data, indices: Sequence[int], view: BatchChange = unchanged) -> Tensor:
    """The score of each picture with each text: (pictures, texts). A forward pass for each picture."""
    batch = view(data.batch(indices))

    def with_all_texts(picture: int) -> dict:
        return {**select_rows(batch, torch.full((len(indices),), picture)), "ids": batch["ids"]}

    return torch.stack(
        [alignment_scores(model, with_all_texts(picture)) for picture in range(len(indices))]
    )


def mean_recall_at_1(table: Tensor) -> float:
    """Mean R@1 of both directions of a square table of scores whose diagonal is right; ties count as wrong."""
    return sum(recall_at_1(scores, torch.arange(len(table))) for scores in (table.T, table)) / 2


def _on_device(model, function: Callable, batch: dict, **more: Tensor) -> Tensor:
    device = next(model.parameters()).device
    inputs = {name: value.to(device) for name, value in batch.items()}
    return (
        function(inputs, **{name: value.to(device) for name, value in more.items()}).float().cpu()
    )
