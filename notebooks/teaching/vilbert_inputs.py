"""Lesson 04: the checks of the exercises on inputs and masking."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import vilbert_reference as reference
from teaching.exercises import Exercise, normal, number, pure_rule, rule
from teaching.vilbert_reference import box_features, img_token, mean_where
from vlmgrader.checks import driver_source


def boxes(generator: torch.Generator) -> tuple[list, dict]:
    """Boxes (B, R, 4) inside the picture."""
    shape = number(generator, 2, 3), number(generator, 2, 4), 2
    start, side = (torch.rand(shape, generator=generator) for _ in range(2))
    return [torch.cat([0.5 * start, 0.5 * start + 0.1 + 0.4 * side], dim=-1)], {}


def with_fifth(fifth: Callable[[Tensor], Tensor]):
    """box_features with another fifth number: of (x1, y1, x2, y2) (B, 1 + R, 4), made of it."""
    return lambda b: torch.cat([(four := box_features(b)[..., :4]), fifth(four)[..., None]], -1)


BOX_MISTAKES = {
    "the whole picture's box is missing: it stands in front, so there is one row more than regions.": lambda b: (
        box_features(b)[:, 1:]
    ),
    "the whole picture's box stands last; it belongs in front.": lambda b: box_features(b).roll(
        -1, 1
    ),
    "the picture's own box is wrong: it reaches from 0, 0 to 1, 1.": lambda b: torch.cat(
        [torch.zeros(len(b), 1, 5), box_features(b)[:, 1:]], 1
    ),
    "the fifth number is x2 * y2: subtract the other corner first.": with_fifth(
        lambda b: b[..., 2] * b[..., 3]
    ),
    "the fifth number is the sum of the sides; the area is their product.": with_fifth(
        lambda b: (b[..., 2:] - b[..., :2]).sum(-1)
    ),
    "the fifth number is half of the area: a box is no triangle.": with_fifth(
        lambda b: (b[..., 2:] - b[..., :2]).prod(-1) / 2
    ),
    "the area has a minus sign: the second corner minus the first, in both directions.": with_fifth(
        lambda b: -(b[..., 2:] - b[..., :2]).prod(-1)
    ),
    "the fifth number is a ratio of the sides; the area is their product.": (
        with_fifth(lambda b: (b[..., 2] - b[..., 0]) / (b[..., 3] - b[..., 1])),
        with_fifth(lambda b: (b[..., 3] - b[..., 1]) / (b[..., 2] - b[..., 0])),
    ),
    "the corners became a centre and a size: the four corners stay as they are.": lambda b: (
        torch.cat(
            [
                ((five := box_features(b))[..., :2] + five[..., 2:4]) / 2,
                five[..., 2:4] - five[..., :2],
                five[..., 4:],
            ],
            -1,
        )
    ),
    "the area stands first; the order is x1, y1, x2, y2, area.": lambda b: box_features(b).roll(
        1, -1
    ),
    "the second corner became a width and a height: the four corners stay as they are.": lambda b: (
        torch.cat(
            [
                (five := box_features(b))[..., :2],
                five[..., 2:4] - five[..., :2],
                five[..., 4:],
            ],
            -1,
        )
    ),
}


def region_inputs(generator: torch.Generator, all_masked: bool = False) -> tuple[list, dict]:
    batch, regions = number(generator, 3, 4), number(generator, 5, 6)
    sizes = torch.tensor([regions] * (batch - 1) + [regions - 2])
    is_region = torch.arange(regions) < sizes[:, None]
    is_masked = torch.zeros(batch, regions, dtype=torch.bool)
    is_masked[:, [number(generator, 0, 1), 2]] = True
    is_masked[0] |= torch.tensor(all_masked)
    return [normal(generator, batch, regions, 4), is_region, is_masked & is_region], {}


TOKEN_MISTAKES = {
    "masked regions still count: the mean then gives away what was masked.": lambda f, r, m: (
        mean_where(f, r)
    ),
    "padding counts: those rows are no regions.": lambda f, r, m: mean_where(f, ~m),
    "all rows count, padding and masked ones.": lambda f, r, m: f.mean(1),
    "the right rows are summed, but divided by the number of all rows, padding too.": lambda f, r, m: (
        mean_where(f, r & ~m, torch.ones_like(r))
    ),
    "the right rows are summed, but divided by the number of all real regions.": lambda f, r, m: (
        mean_where(f, r & ~m, r)
    ),
    "the mean is over all pictures of the batch: each picture has its own.": lambda f, r, m: (
        f[r & ~m].mean(0).expand(len(f), -1)
    ),
    "that is the largest value, not the mean.": lambda f, r, m: (f * (r & ~m)[..., None]).amax(1),
    "masked regions became zeros, but all rows still count in the mean: leave them out.": (
        lambda f, r, m: (f * ~m[..., None]).mean(1)
    ),
    "that is the sum; divide by how many there are.": lambda f, r, m: (f * (r & ~m)[..., None]).sum(
        1
    ),
    "that is the mean of the masked ones: the mask is inverted.": (
        lambda f, r, m: mean_where(f, ~(r & ~m)),
        lambda f, r, m: mean_where(f, r & m),
    ),
}


def fill_empty(value: float, f: Tensor, r: Tensor, m: Tensor) -> Tensor:
    return img_token(f, r, m).masked_fill(~(r & ~m).any(1, keepdim=True), value)


EMPTY_MISTAKES = {
    "when every region is masked you divide by zero: let the count be at least 1.": partial(
        fill_empty, torch.nan
    ),
    "a picture of which nothing is visible gives ones; wanted are zeros.": partial(fill_empty, 1.0),
    "when every region is masked the mean of all regions comes out: that reveals them.": (
        lambda f, r, m: torch.where(
            (r & ~m).any(1, keepdim=True), img_token(f, r, m), mean_where(f, r)
        )
    ),
}


def run_masking(target, ids, selected, mask_id, vocabulary):
    """Driver: what happened to words: shares, and facts as 0 or 1."""
    import torch

    before = ids.clone()
    read, again = (
        target(ids, selected, mask_id, vocabulary),
        target(*[before.clone(), selected, mask_id, vocabulary]),
    )
    if not isinstance(read, torch.Tensor) or read.shape != before.shape:
        return read
    if read.dtype != before.dtype:
        raise TypeError(f"the result holds {read.dtype}; ids are whole numbers, {before.dtype}.")
    ours, old = read[selected], before[selected]
    other = ours[(ours != mask_id) & (ours != old)]
    masked = (read == mask_id) & selected
    in_rows = masked.sum(1)[:, None] / selected.sum(1, keepdim=True)
    in_columns = masked.sum(0) / selected.sum(0).clamp(min=1)
    return [
        (ours == mask_id).float().mean().item(),
        (ours == old).float().mean().item(),
        float((read != before)[~selected].any()),
        float(torch.equal(ids, before)),
        other.unique().numel() / (vocabulary - 2),  # all words but padding and [MASK]
        float((other == 0).any()),
        float((other == vocabulary - 1).any()),
        float((other == 1).any()),
        float(torch.equal(read, again)),
        float(in_rows.std() > 0.2 or in_columns[selected.any(0)].std() > 0.2),
    ]  # fmt: skip


def masking_inputs(generator: torch.Generator) -> tuple[list, dict]:
    vocabulary = number(generator, 60, 90)
    ids = torch.randint(4, vocabulary, (400, 400), generator=generator)
    ids[:, 300:] = 0
    selected = (torch.rand(ids.shape, generator=generator) < 0.5) & (ids != 0)
    return [ids, selected, 3, vocabulary], {}


def explain_masking(got: object, *_: object) -> str | None:
    """What the shares say about the code."""
    if not isinstance(got, list):
        return None
    masked, same, elsewhere, untouched, variety, padding, last, first, fixed, together = got
    near = lambda value, wanted: abs(value - wanted) < 0.01  # noqa: E731
    rules = (
        (
            untouched < 1,
            "the caller's ids were changed in place: they are the targets of the loss. Return a new tensor.",
        ),
        (elsewhere > 0, "words that were not selected changed, too."),
        (
            together,
            "whole rows or columns become [MASK] together: draw a number for each position.",
        ),
        (masked > 0.99, "every selected word became [MASK]; only 80 % of them should."),
        (
            masked < 0.01,
            "no selected word became [MASK]; 80 % of them should.",
        ),
        (
            near(masked, 0.8) and near(same, 0.2),
            "80 % became [MASK] and 20 % stay; half of those 20 % should become another word.",
        ),
        (
            near(masked, 0.8) and same < 0.02,
            "80 % became [MASK] and 20 % another word; half of those 20 % should stay.",
        ),
        (
            near(masked, 0.72) or (near(masked, 0.8) and near(same, 0.18)),
            "the choices are drawn independently, so they overlap. One draw per word decides among the three.",
        ),
        (near(same, 0.8), "80 % stay as they are; 80 % should become [MASK]."),
        (fixed, "two calls mask the very same words in the same way: draw anew in each call."),
        (
            variety < 0.5,
            "the random words are always the same ones: draw one for each position.",
        ),
        (padding > 0, "padding (id 0) was drawn as a random word: draw from 1 on."),
        (
            not last,
            "the last word of the vocabulary, id V - 1, is never drawn: randint leaves out its upper end.",
        ),
        (not first, "the word of id 1 is never drawn: only id 0 is no replacement."),
    )
    shares = f"{100 * masked:.0f} % of the selected words became [MASK] and {100 * same:.0f} % stay: wanted are 80 % and 10 %."
    rules += ((not (near(masked, 0.8) and abs(same - 0.1) < 0.01), shares),)
    return next((words for wrong, words in rules if wrong), None)


EXERCISES = {
    "box_features": Exercise(
        "The whole picture in front, corners as they are, the area at the end.",
        (pure_rule("box_features", boxes, box_features, BOX_MISTAKES, "the caller's boxes changed."),),
        reference=box_features,
    ),
    "img_token": Exercise(
        "Real and visible regions only, and zeros where there are none.",
        (
            rule("img_token", region_inputs, img_token, TOKEN_MISTAKES),
            rule("img_token", partial(region_inputs, all_masked=True), img_token, EMPTY_MISTAKES),
        ),
        reference=img_token,
    ),
    "mask_words": Exercise(
        "80 % [MASK], 10 % another word, 10 % as before, and nothing else changed.",
        (
            rule(
                "mask_words",
                masking_inputs,
                lambda *_: [0.8, 0.1, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0],
                driver=driver_source(run_masking),
                explain=explain_masking,
                tolerance=0.012,  # six standard errors of a share
            ),
        ),
        reference=reference.mask_words,
    ),
}  # fmt: skip
