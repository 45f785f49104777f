"""Lesson 03's exercises on noisy data, duplicates and overlap."""

from __future__ import annotations

import torch
from torch import Tensor

from teaching import clip_analysis_pairs_formulas as right
from teaching.exercises import Exercise, rule

ALIKE_MISTAKES = {
    "the *least* similar pairs are kept.": lambda *a: right.keep_most_alike(*a, largest=False),
    "these are dot products: long vectors win. Normalise first.": lambda *a: right.keep_most_alike(
        *a, before=(right.as_it_is, right.as_it_is)
    ),
    "only one of the two vectors is normalised: a cosine needs both.": (
        lambda *a: right.keep_most_alike(*a, before=(right.unit, right.as_it_is)),
        lambda *a: right.keep_most_alike(*a, before=(right.as_it_is, right.unit)),
    ),
    "normalised over the pairs (dim 0): each vector has a length of its own, over its last axis.": (
        lambda *a: right.keep_most_alike(*a, before=(right.over_pairs, right.over_pairs))
    ),
    "each image is compared with *all* texts: a pair's score is the cosine with its own text.": (
        right.best_text
    ),
    "`share` is used as a threshold for the cosine: it is the share of pairs to keep.": (
        right.above_threshold
    ),
    "argsort's numbers are used as ranks: they are the pairs in order. Write True at the first of them.": (
        right.as_ranks
    ),
    "this compares distances of vectors of any length: the cosine is wanted.": right.nearest_pairs,
    "the number of pairs is not int(share * N): a quantile, or rounding up, keeps another number.": (
        right.above_quantile
    ),
    "the first pairs are kept, whatever their cosine.": lambda i, t, s: (
        torch.arange(len(i)) < int(s * len(i))
    ),
    "the kept and the dropped pairs are exchanged.": lambda *a: ~right.keep_most_alike(*a),
}

KEEP_MOST_ALIKE = Exercise(
    "Cosines of each pair, and exactly the wanted share of the pairs.",
    (
        rule(
            "keep_most_alike",
            right.alike_inputs,
            right.keep_most_alike,
            ALIKE_MISTAKES,
            explain=lambda got, wanted, *_: (
                "return booleans (N,), in the order of the pairs, not the numbers of the kept ones."
                if isinstance(got, Tensor) and got.dtype == torch.long
                else f"{int(got.sum())} pairs are kept; wanted {int(wanted.sum())}."
                if isinstance(got, Tensor) and got.dtype == torch.bool and got.sum() != wanted.sum()
                else None
            ),
        ),
    ),
    reference=right.keep_most_alike,
)

CAP_MISTAKES = {
    "that keeps one pair more of each caption than allowed.": lambda t, m: right.cap_captions(
        t, m + 1
    ),
    "that keeps one pair less of each caption than allowed.": lambda t, m: right.cap_captions(
        t, m - 1
    ),
    "that keeps a single pair of each caption: `most` are allowed.": lambda t, m: (
        right.cap_captions(t, 1)
    ),
    "captions that occur too often are dropped entirely: keep their first ones.": lambda t, m: (
        torch.tensor([t.count(one) <= m for one in t])
    ),
    "the *last* ones of each caption are kept: keep the first ones.": lambda t, m: (
        right.cap_captions(t[::-1], m).flip(0)
    ),
    "`most` is a limit for each caption, not for all pairs together.": lambda t, m: (
        torch.arange(len(t)) < m
    ),
    "the kept and the dropped pairs are exchanged.": lambda t, m: ~right.cap_captions(t, m),
    "only repeats that follow each other are counted: count each caption over all pairs so far.": (
        right.cap_neighbours
    ),
}

CAP_CAPTIONS = Exercise(
    "The first pairs of each caption stay, and rare captions lose nothing.",
    (
        rule(
            "cap_captions",
            right.cap_inputs,
            right.cap_captions,
            CAP_MISTAKES,
            explain=lambda got, wanted, *_: (
                "return a tensor of booleans, one for each pair: torch.tensor(list_of_booleans)."
                if not isinstance(got, Tensor)
                else None
            ),
        ),
    ),
    reference=right.cap_captions,
)

OVERLAP_MISTAKES = {
    "an item exactly at the threshold overlaps, too: compare with >=.": right.above_only,
    "the overlap is taken over training items: ask for each *test* item (dim 1) whether any "
    "training item is that similar.": right.overlap_changed(
        overlap=lambda s, t, c, o: (s.amax(0) >= t).float().mean().item()
    ),
    "the overlap is the share of similar *pairs*: count test items with at least one.": (
        right.overlap_changed(overlap=lambda s, t, c, o: (s >= t).float().mean().item())
    ),
    "'clean' is the accuracy on the overlapping items: take the others.": (
        right.overlap_changed(clean=lambda s, t, c, o: c[o].float().mean().item())
    ),
    "'clean' is the share of clean items: it is the *accuracy* on them.": (
        right.overlap_changed(clean=lambda s, t, c, o: (~o).float().mean().item())
    ),
    "'clean' leaves nothing out: take the items that do not overlap.": (
        right.overlap_changed(clean=lambda s, t, c, o: c.float().mean().item())
    ),
    "overlapping items count as right in 'clean': leave them out.": (
        right.overlap_changed(clean=lambda s, t, c, o: (c | o).float().mean().item())
    ),
    "'all' and 'clean' are exchanged.": right.overlap_changed(
        all=lambda s, t, c, o: c[~o].float().mean().item(),
        clean=lambda s, t, c, o: c.float().mean().item(),
    ),
    "'all' or 'clean' is a number of items: an accuracy is wanted.": (
        right.overlap_changed(all=lambda s, t, c, o: float(c.sum())),
        right.overlap_changed(clean=lambda s, t, c, o: float(c[~o].sum())),
        right.overlap_changed(
            all=lambda s, t, c, o: float(c.sum()), clean=lambda s, t, c, o: float(c[~o].sum())
        ),
    ),
    "'overlap' counts only the items that were classified correctly: correctness plays no part in it.": (
        right.overlap_changed(overlap=lambda s, t, c, o: (o & c).float().mean().item())
    ),
    "'overlap' is in percent: a share between 0 and 1 is wanted.": (
        right.overlap_changed(overlap=lambda s, t, c, o: 100 * o.float().mean().item())
    ),
    "'clean' divides by all items: divide by the number of clean ones.": (
        right.overlap_changed(clean=lambda s, t, c, o: (c & ~o).float().mean().item())
    ),
    "'all' leaves something out: it is the accuracy on all test items.": (
        right.overlap_changed(all=lambda s, t, c, o: c[~o].float().mean().item()),
        right.overlap_changed(all=lambda s, t, c, o: c[o].float().mean().item()),
    ),
    "'overlap' is a number of items: a share is wanted.": right.overlap_changed(
        overlap=lambda s, t, c, o: float(o.sum())
    ),
    "an item needs *one* similar training item, not similarity on average.": (
        lambda s, t, c: right.overlap_report(s.mean(1, keepdim=True), t, c)
    ),
    "these are the items *without* a similar training item.": right.overlap_changed(
        overlap=lambda s, t, c, o: (~o).float().mean().item()
    ),
}

WRONG_AXIS = {
    "this asks for each *training* item (dim 0): ask for each test item, over its training items (dim 1).": (
        lambda s, t, c: right.overlap_report(s.T, t, c)
    ),
}
"""Has a value only where test and training items are equally many; else it raises an IndexError."""

OVERLAP = Exercise(
    "An item overlaps if any training item is that similar; the clean accuracy leaves those out.",
    tuple(
        rule(
            "overlap_report",
            inputs,
            right.overlap_report,
            mistakes,
        )
        for inputs, mistakes in (
            (right.square_inputs, OVERLAP_MISTAKES | WRONG_AXIS),
            (right.overlap_inputs, OVERLAP_MISTAKES),
        )
    ),
    reference=right.overlap_report,
)

EXERCISES = {
    "keep_most_alike": KEEP_MOST_ALIKE,
    "cap_captions": CAP_CAPTIONS,
    "overlap_report": OVERLAP,
}
