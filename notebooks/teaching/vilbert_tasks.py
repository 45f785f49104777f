"""Lesson 04: the checks of the exercises on evaluation, VL-BERT's positions and the answer head."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import vilbert_reference as reference
from teaching.exercises import Exercise, normal, number, pure_rule, rule
from vlmgrader.checks import driver_source


class Predictor:
    """A toy masked language model: the logits at each position depend on all tokens."""

    def __init__(self, generator: torch.Generator, vocabulary: int, length: int):
        self.words = normal(generator, vocabulary, 8)
        self.places = normal(generator, length, 8, vocabulary)

    def __deepcopy__(self, memo: dict) -> Predictor:
        return self

    def __call__(self, ids: Tensor) -> Tensor:
        """(N, T) -> (N, T, V)."""
        states = self.words[ids]
        return torch.einsum("ntd,tdv->ntv", states.sum(1, keepdim=True) - 0.5 * states, self.places)


def fill_inputs(generator: torch.Generator) -> tuple[list, dict]:
    vocabulary, length = number(generator, 30, 40), number(generator, 8, 10)
    ids = torch.randint(4, vocabulary, (length,), generator=generator)
    positions = torch.randperm(length, generator=generator)[:5]
    return [Predictor(generator, vocabulary, length), ids, positions, 3], {}


def masked_together(predict: Callable, ids: Tensor, positions: Tensor, mask_id: int) -> Tensor:
    row = ids.clone()
    row[positions] = mask_id
    return predict(row[None])[0, positions].argmax(-1)


def rows_masked(predict: Callable, ids: Tensor, positions: Tensor, mask_id: int) -> Tensor:
    rows = ids.repeat(len(positions), 1)
    rows[torch.arange(len(positions)), positions] = mask_id
    return predict(rows)


def run_counted(target, predict, ids, positions, mask_id):
    """Driver: [what `target` fills in, how often it calls the model]."""
    calls = []

    def counted(rows):
        calls.append(len(rows))
        return predict(rows)

    return [target(counted, ids, positions, mask_id), len(calls)]


def filled(calls: Callable[[Tensor], int]) -> Callable:
    """[The right words, so many calls(positions) of the model]."""
    return lambda f, i, p, m: [reference.fill_in(f, i, p, m), calls(p)]


FILL_MISTAKES = {
    "all positions are masked at once: mask one at a time, in a row of its own.": masked_together,
    "nothing is masked: the answer is in the input.": lambda f, i, p, m: f(i[None])[0, p].argmax(
        -1
    ),
    "the positions are sorted: keep their order.": lambda f, i, p, m: reference.fill_in(
        f, i, p.sort().values, m
    ),
    "the answers are in reversed order: keep the order of `positions`.": lambda f, i, p, m: (
        reference.fill_in(f, i, p.flip(0), m)
    ),
    "[MASK] has another id: write `mask_id`.": lambda f, i, p, m: reference.fill_in(f, i, p, 0),
    "that is the *least* likely token: take the argmax.": lambda f, i, p, m: rows_masked(
        f, i, p, m
    )[torch.arange(len(p)), p].argmin(-1),
    "that is the first row's answer at each position: row n has position n masked.": lambda f, i, p, m: (
        rows_masked(f, i, p, m)[0, p].argmax(-1)
    ),
    "that is every position of every row: take row n at position n.": (
        lambda f, i, p, m: rows_masked(f, i, p, m).argmax(-1),
        lambda f, i, p, m: rows_masked(f, i, p, m)[:, p].argmax(-1),
    ),
    "those are logits: return the likeliest token's number.": lambda f, i, p, m: rows_masked(
        f, i, p, m
    )[torch.arange(len(p)), p],
    "those are the right tokens, not the predicted ones.": lambda f, i, p, m: i[p],
}


def batch_inputs(generator: torch.Generator) -> tuple[list, dict]:
    B, R, T = 3, number(generator, 2, 4), number(generator, 5, 7)
    batch = {
        "ids": torch.randint(1, 50, (B, T), generator=generator),
        "features": normal(generator, B, R, 4),
        "boxes": torch.rand(B, R, 4, generator=generator),
        "region_mask": torch.arange(R) < torch.tensor([[R], [1], [R]]),
    }
    return [batch], {}


def changed(**new: Callable[[dict], Tensor]) -> Callable[[dict], dict]:
    return lambda batch: batch | {name: make(batch) for name, make in new.items()}


no_features = {"features": lambda b: torch.zeros_like(b["features"])}
no_regions = {"region_mask": lambda b: torch.zeros_like(b["region_mask"])}
BLIND_MISTAKES = {
    "the regions are still there: their number and their boxes say something about the picture.": changed(
        **no_features
    ),
    "the features are still there: set them to zero, too.": changed(**no_regions),
    "the picture of another row came in: that is the shuffled control; here there is no picture.": (
        changed(
            **{n: (lambda b, n=n: b[n].roll(1, 0)) for n in ("features", "boxes", "region_mask")}
        ),
        changed(features=lambda b: b["features"].roll(1, 0)),
        changed(features=lambda b: b["features"].flip(0)),
    ),
    "the words are gone: a blind model still reads.": changed(
        ids=lambda b: torch.zeros_like(b["ids"]), **no_features, **no_regions
    ),
    "all regions are marked as real; none should be.": changed(
        region_mask=lambda b: torch.ones_like(b["region_mask"]), **no_features
    ),
    "keys are missing: everything else stays in the batch.": lambda b: {
        name: make(b) for name, make in (no_features | no_regions).items()
    },
}


def explain_blind(got: object, wanted: dict, *_: object) -> str | None:
    names = isinstance(got, dict) and set(got) == set(wanted)
    if names and isinstance(got["features"], Tensor) and got["features"].abs().sum() > 0:
        return "the features are neither zero nor as they were."
    return None


def words_inputs(generator: torch.Generator) -> tuple[list, dict]:
    T, regions = number(generator, 5, 7), number(generator, 2, 4)
    return [torch.arange(T) < torch.tensor([[T], [T - 2], [T - 1]]), regions], {}


def positions(is_word: Tensor, regions: int, after: Tensor | int = 0, end: int = 1, step: int = 0):
    """vlbert_positions with other choices: regions at `after` + step * n, [END] `end` later."""
    start = is_word.sum(1, keepdim=True) + after
    at = start + step * torch.arange(regions)
    last = start + step * (regions - 1)
    return torch.cat([torch.arange(is_word.shape[1]).expand(is_word.shape), at, last + end], dim=1)


def full_length(is_word: Tensor, regions: int) -> Tensor:
    return positions(torch.ones_like(is_word), regions)


POSITION_MISTAKES = {
    "the regions are numbered one by one: they have no order, so all share one position.": partial(
        positions, step=1
    ),
    "padding is counted: the regions' position is the number of real words.": full_length,
    "[END] stands at n + R: all regions share position n, so [END] has n + 1.": lambda w, r: (
        positions(w, r, end=r)
    ),
    "padding has position 0: it goes on counting after the words.": lambda w, r: torch.cat(
        [positions(w, r)[:, : w.shape[1]] * w, positions(w, r)[:, w.shape[1] :]], 1
    ),
    "padding does not go on counting: after n words come n, n + 1, ... in the padding, too.": (
        lambda w, r: torch.cat([w.cumsum(1) - 1, positions(w, r)[:, w.shape[1] :]], 1)
    ),
    "[END] stands after all columns of the text, padding too: it has n + 1.": lambda w, r: (
        torch.cat([positions(w, r)[:, :-1], torch.full((len(w), 1), w.shape[1] + 1)], 1)
    ),
    "all positions are one too high: the first word has position 0.": lambda w, r: (
        positions(w, r) + 1
    ),
    "[END] has the regions' position; it has the next one.": partial(positions, end=0),
    "the regions' position is one too high: the last of n words has position n - 1.": partial(
        positions, after=1
    ),
    "the regions' position is one too low: it is the last word's.": partial(positions, after=-1),
    "[END] is missing.": lambda w, r: positions(w, r)[:, :-1],
    "the regions start again at 0: they follow the words.": lambda w, r: torch.cat(
        [positions(w, r)[:, : -r - 1], torch.zeros(len(w), r), torch.ones(len(w), 1)], 1
    ).long(),
}


EXERCISES = {
    "fill_in": Exercise(
        "One word masked at a time, each in a row of its own, and the caller's ids as they were.",
        (
            pure_rule(
                "fill_in", fill_inputs, reference.fill_in, FILL_MISTAKES, "the caller's ids were changed: copy them first."
            ),
            rule(
                "fill_in",
                fill_inputs,
                filled(lambda positions: 1),
                {"the words are right, but each copy is a call of its own: give `word_logits` all of them in one.": filled(len)},
                driver=driver_source(run_counted),
                rounds=1,
            ),
        ),
        reference=reference.fill_in,
    ),
    "without_picture": Exercise(
        "No features and no regions, the words as they were.",
        (
            pure_rule(
                "without_picture",
                batch_inputs,
                reference.without_picture,
                BLIND_MISTAKES,
                "the caller's batch was changed: make a new dictionary.",
                explain_blind,
            ),
        ),
        reference=reference.without_picture,
    ),
    "vlbert_positions": Exercise(
        "Words in order, all regions at one position, [END] at the next.",
        (rule("vlbert_positions", words_inputs, reference.vlbert_positions, POSITION_MISTAKES),),
        reference=reference.vlbert_positions,
    ),
}  # fmt: skip
