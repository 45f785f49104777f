"""Lesson 03's exercises on class lists, shift, noisy data and overlap."""

from __future__ import annotations

import torch
from torch import Tensor

from teaching import clip_analysis_data_formulas as right
from teaching.exercises import Exercise, distinguishing, rule

ALARM_RATE = Exercise(
    "Each image goes to its nearest class; the rate counts those that go to an alarm class.",
    tuple(
        rule(
            "alarm_rate",
            inputs,
            right.alarm_rate,
            {
                "that is the share that is *not* an alarm.": lambda *a: 1 - right.alarm_rate(*a),
                "that is the number of alarms: divide by the number of images.": lambda i, c, a: (
                    right.alarm_rate(i, c, a) * len(i)
                ),
                "that is the share of alarm *classes*, whatever the images show.": lambda i, c, a: (
                    a.float().mean().item()
                ),
                "this chooses the class with the *lowest* similarity.": lambda i, c, a: (
                    right.alarm_rate(i, -c, a)
                ),
                "this finds the nearest image of each class: argmax over classes, dim 1.": (
                    lambda i, c, a: a[(i @ c.T).argmax(0) % len(a)].float().mean().item()
                ),
                "an image counts if *any* alarm class is similar: only its nearest class counts.": (
                    lambda i, c, a: ((i @ c.T)[:, a] > 0).any(1).float().mean().item()
                ),
            },
        )
        for inputs in (right.few_images, right.alarm_inputs)
    ),
    reference=right.alarm_rate,
)


def not_the_best(got: object, wanted: object, *_) -> str | None:
    """What to say of a candidate that is no named mistake's."""
    if isinstance(got, (Tensor, float)):
        return "return the number of the candidate, an int (.item() of a tensor)."
    if isinstance(got, int):
        return "that candidate is not the one with the lowest alarm rate."
    return None


BEST_CLASS = Exercise(
    "Each candidate is tried, one at a time, on the whole class list.",
    (
        rule(
            "best_class_to_add",
            right.add_inputs,
            right.best_class_to_add,
            {
                "that candidate makes the rate *highest*.": lambda *a: right.best_class_to_add(
                    *a, best=max
                ),
                "that is the candidate most similar to the images on average: measure the alarm rate "
                "with each.": right.most_similar,
                "that is the first candidate, whatever the images show.": lambda *a: 0,
                "the new class counts as an alarm, so it cannot help: it joins as a harmless one.": (
                    lambda *a: right.best_class_to_add(
                        *a, rate=lambda *b: right.rate_with(*b, alarm=True)
                    )
                ),
                "that is the last candidate.": lambda i, c, a, k: len(k) - 1,
                "that candidate is nearest to most images, but some of them raised no alarm: measure the rate.": (
                    right.wins_most
                ),
            },
            explain=not_the_best,
        ),
        rule(
            "best_class_to_add",
            right.tied_inputs,
            right.best_class_to_add,
            {
                "that is the last of several candidates that are equally good; the first one is wanted.": (
                    right.last_of_equal
                )
            },
            explain=not_the_best,
        ),
    ),
    reference=right.best_class_to_add,
)

GAP_CLOSED = Exercise(
    "One minus the ratio of the two losses of accuracy.",
    (
        rule(
            "gap_closed",
            right.gap_inputs,
            right.gap_closed,
            {
                "that is the share of the gap that is *left*: subtract it from 1.": lambda *a: (
                    1 - right.gap_closed(*a)
                ),
                "the two models are exchanged.": lambda m, r, s: right.gap_closed(r, m, s),
                "that is the difference of the gaps: it is compared with the reference's gap.": (
                    lambda m, r, s: (r[s] - right.mean_of(r, s)) - (m[s] - right.mean_of(m, s))
                ),
                "the gap is not relative to the model's own accuracy in the source style.": (
                    lambda m, r, s: 1 - (r[s] - right.mean_of(m, s)) / (r[s] - right.mean_of(r, s))
                ),
                "that is the ratio of the accuracies under shift: compare the *losses* of accuracy.": (
                    lambda m, r, s: right.mean_of(m, s) / right.mean_of(r, s)
                ),
            },
        ),
    ),
    reference=right.gap_closed,
)

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
            distinguishing(right.alike_inputs, right.keep_most_alike, ALIKE_MISTAKES),
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
}

CAP_CAPTIONS = Exercise(
    "The first pairs of each caption stay, and rare captions lose nothing.",
    (
        rule(
            "cap_captions",
            distinguishing(right.cap_inputs, right.cap_captions, CAP_MISTAKES),
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

OVERLAP = Exercise(
    "An item overlaps if any training item is that similar; the clean accuracy leaves those out.",
    (
        rule(
            "overlap_report",
            distinguishing(right.overlap_inputs, right.overlap_report, OVERLAP_MISTAKES),
            right.overlap_report,
            OVERLAP_MISTAKES,
        ),
    ),
    reference=right.overlap_report,
)

EXERCISES = {
    "alarm_rate": ALARM_RATE,
    "best_class_to_add": BEST_CLASS,
    "gap_closed": GAP_CLOSED,
    "keep_most_alike": KEEP_MOST_ALIKE,
    "cap_captions": CAP_CAPTIONS,
    "overlap_report": OVERLAP,
}
