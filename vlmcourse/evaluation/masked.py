"""What a model can fill in, and whether it notices a false caption: masked words, masked regions, alignment.

Models are anything with `mlm_logits(batch)`, `region_logits(batch, hidden)` and, for alignment, `alignment_logits(batch)`; data is world.Regions.
Each test takes a `view`, batch -> batch, so that the controls are the same test of another batch: `without_image` and `shuffled_images`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vlmcourse import world
from vlmcourse.evaluation.controls import eval_mode
from vlmcourse.evaluation.ranking import recall_at_1
from vlmcourse.world import tokenizer

View = Callable[[dict], dict]
PICTURE = ("pixel_values", "features", "boxes", "region_mask", "classes")
PLACES = ("left", "right", "above", "below")


def unchanged(batch: dict) -> dict:
    """Nothing is changed."""
    return batch


def without_image(batch: dict) -> dict:
    """The blind control: a grey picture without regions. Not even their number is left."""
    nothing = {
        name: torch.zeros_like(batch[name]) for name in ("pixel_values", "features", "region_mask")
    }
    return {**batch, **nothing}


def shuffled_images(batch: dict) -> dict:
    """Each text with the picture of the row before."""
    return {**batch, **{name: batch[name].roll(1, 0) for name in PICTURE}}


def select_rows(batch: dict, numbers: Tensor) -> dict[str, Tensor]:
    """These rows of a batch's tensors; a row may come more than once."""
    return {name: value[numbers] for name, value in batch.items() if isinstance(value, Tensor)}


def word_kinds() -> dict[str, Tensor]:
    """Ids of the words that only a picture can tell: things, places, backgrounds."""
    kinds = {
        "nouns": [one.word for one in world.nouns()],
        "places": list(PLACES),
        "backgrounds": list(world.BACKGROUNDS),
    }
    return {name: tokenizer.encode(words)[:, 1] for name, words in kinds.items()}


def masked_word_accuracy(
    model, data, indices: Sequence[int], view: View = unchanged, batch: int = 64
) -> dict[str, float]:
    """Masks each noun, place and background of these pairs' captions, one at a time: how often is the word found?

    A kind of word that none of the captions has is left out.
    """
    mask = tokenizer.world_tokenizer().mask_token_id
    right: dict[str, list[Tensor]] = {name: [] for name in word_kinds()}
    with eval_mode(model):
        for start in range(0, len(indices), batch):
            made = view(data.batch(indices[start : start + batch]))
            for name, ids in word_kinds().items():
                row, place = torch.isin(made["ids"], ids).nonzero(as_tuple=True)
                if not len(row):
                    continue
                one = select_rows(made, row)
                numbers = torch.arange(len(row))
                was = one["ids"][numbers, place]
                one["ids"] = one["ids"].clone()
                one["ids"][numbers, place] = mask
                right[name].append(
                    _on_device(model, model.mlm_logits, one)[numbers, place].argmax(-1) == was
                )
    return {name: torch.cat(found).float().mean().item() for name, found in right.items() if found}


def masked_region_accuracy(
    model, data, indices: Sequence[int], view: View = unchanged, batch: int = 64
) -> float:
    """Hides each region of these pairs, one at a time: how often is its likeliest class found? Shuffled: from a wrong text."""
    right = []
    with eval_mode(model):
        for start in range(0, len(indices), batch):
            made = view(data.batch(indices[start : start + batch]))
            row, region = made["region_mask"].nonzero(as_tuple=True)
            one, hidden = (
                select_rows(made, row),
                torch.zeros(len(row), made["region_mask"].shape[1], dtype=torch.bool),
            )
            hidden[torch.arange(len(row)), region] = True
            named = _on_device(model, model.region_logits, one, masked_regions=hidden)[
                torch.arange(len(row)), region
            ]
            right.append(
                named.argmax(-1) == one["classes"][torch.arange(len(row)), region].argmax(-1)
            )
    return torch.cat(right).float().mean().item()


def alignment_scores(model, batch: dict) -> Tensor:
    """model.alignment_logits of a batch, (B,)."""
    with eval_mode(model):
        return _on_device(model, model.alignment_logits, batch)


def pair_accuracy(
    model, data, indices: Sequence[int], false: Callable[[int], str | None], view: View = unchanged
) -> dict[str, float]:
    """True captions beside false ones, false(index), None where there is none.

    "of two": how often the true one scores higher; ties count as wrong. "yes or no": how often each is judged rightly by itself.
    """
    lies = {index: text for index in indices if (text := false(index)) is not None}
    made = view(data.batch(list(lies)))
    true = alignment_scores(model, select_rows(made, torch.arange(len(lies))))
    lie = alignment_scores(
        model,
        {
            **select_rows(made, torch.arange(len(lies))),
            "ids": tokenizer.encode(list(lies.values())),
        },
    )
    return {
        "of two": (true > lie).float().mean().item(),
        "yes or no": ((true > 0).float().mean().item() + (lie <= 0).float().mean().item()) / 2,
    }


def score_all_pairs(model, data, indices: Sequence[int], view: View = unchanged) -> Tensor:
    """The score of each picture with each text: (pictures, texts). As many forward passes as there are cells."""
    made = view(data.batch(indices))
    texts = made["ids"]
    return torch.stack(
        [
            alignment_scores(
                model, {**select_rows(made, torch.full((len(indices),), picture)), "ids": texts}
            )
            for picture in range(len(indices))
        ]
    )


def mean_recall_at_1(table: Tensor) -> float:
    """Mean R@1 of both directions of a square table of scores whose diagonal is right; ties count as wrong."""
    return sum(recall_at_1(way, torch.arange(len(table))) for way in (table.T, table)) / 2


def _on_device(model, function: Callable, batch: dict, **named: Tensor) -> Tensor:
    device = next(model.parameters()).device
    return (
        function(
            {name: value.to(device) for name, value in batch.items()},
            **{name: value.to(device) for name, value in named.items()},
        )
        .float()
        .cpu()
    )
