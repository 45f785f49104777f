"""Lesson 03's exercises on compute: the operations of a ViT, and a scaling line."""

from __future__ import annotations

import math

from teaching import clip_analysis_formulas as right
from teaching.exercises import Exercise, rule


def counted(**changes):
    """The operations with some parts miscounted."""
    return lambda *args: right.vit_flops(*args, **changes)


FLOPS_MISTAKES = {
    "these are multiply-adds: each counts as two operations.": counted(mac=1),
    "the class token is missing: each block processes patches + 1 tokens.": counted(token=0),
    "the products inside attention are missing: queries with keys, weights with values.": (
        counted(attention=0)
    ),
    "only one of attention's two products is counted: queries with keys *and* weights with values.": (
        counted(attention=1)
    ),
    "only one of the MLP's two matrices is counted.": counted(mlp=4),
    "the MLP is missing.": counted(mlp=0),
    "the patch projection is missing.": counted(channels=0),
    "a patch has 3 colour channels.": counted(channels=1),
    "`patches` is squared: it is the number of all patches, not of those along a side.": (
        lambda width, depth, patches, patch: right.vit_flops(width, depth, patches**2, patch)
    ),
    "the class token is projected from pixels: it joins after the patch projection.": (
        counted(projected=1)
    ),
    "fewer than four projections a block are counted: query, key, value and output make four.": (
        counted(projections=1),
        counted(projections=2),
        counted(projections=3),
    ),
    "each of attention's two products takes T * T * D multiply-adds: T queries, T keys, D features.": (
        lambda w, d, n, p: right.vit_flops(w, d, n, p, attention=0) + 4 * d * (n + 1) ** 2,
        lambda w, d, n, p: right.vit_flops(w, d, n, p, attention=0) + 4 * d * (n + 1) * w,
    ),
    "a square patch has patch * patch pixels.": lambda w, d, n, p: (
        right.vit_flops(w, d, n, p, channels=0) + 6 * n * p * w
    ),
    "the patches are projected once, before the first block, not in each block.": (
        lambda w, d, n, p: d * right.vit_flops(w, 1, n, p)
    ),
    "each of the MLP's two matrices is D x 4D: 8 * D * D in all.": (
        counted(mlp=2),
        counted(mlp=16),
        counted(mlp=32),
    ),
    "one block is counted: there are `depth` of them.": lambda width, depth, *a: right.vit_flops(
        width, 1, *a
    ),
    "two things are missing: a multiply-add is two operations, and blocks process the class token, too.": (
        counted(mac=1, token=0)
    ),
    "two things are missing: a multiply-add is two operations, and the products inside attention.": (
        counted(mac=1, attention=0)
    ),
    "two things are missing: the class token in the blocks, and the products inside attention.": (
        counted(token=0, attention=0)
    ),
}

VIT_FLOPS = Exercise(
    "Patch projection, four projections, two attention products and the MLP; two operations a multiply-add.",
    (
        rule(
            "vit_flops",
            right.flops_inputs,
            right.vit_flops,
            FLOPS_MISTAKES,
        ),
    ),
    reference=right.vit_flops,
)


def followed(**changes):
    """The factor by another line."""
    return lambda *args: right.compute_factor(*args, **changes)


FACTOR_MISTAKES = {
    "that is the compute itself: divide by the largest compute measured.": lambda c, e, t: (
        right.compute_factor(c, e, t) * max(c)
    ),
    "divided by the last entry of the list: the largest one is wanted, in any order.": (
        lambda c, e, t: right.compute_factor(c, e, t) * max(c) / c[-1]
    ),
    "divided by the smallest compute: the largest one is wanted.": lambda c, e, t: (
        right.compute_factor(c, e, t) * max(c) / min(c)
    ),
    "the line is fitted to the raw values: take logarithms of compute and error.": (
        followed(axis=right.same, back=right.same)
    ),
    "only the error is in logarithms: take the logarithm of compute, too.": (
        followed(axis=right.same, back=right.same, error_axis=math.log)
    ),
    "only compute is in logarithms: take the logarithm of the error, too.": (
        followed(error_axis=right.same)
    ),
    "two kinds of logarithm are mixed: undo log10 by a power of 10, and log by exp.": (
        followed(axis=math.log10),
        followed(back=lambda x: 10**x),
    ),
    "this line predicts compute from error: fit the error as a function of compute, then solve for it.": (
        followed(inverse=True)
    ),
    "that is the logarithm of the answer.": (
        lambda *a: math.log(right.compute_factor(*a)),
        lambda *a: math.log10(right.compute_factor(*a)),
    ),
    "the line goes through the two extreme points: fit it to all of them.": right.two_points,
    "the line goes through the first and the last point of the list: fit it to all of them.": (
        lambda *args: right.two_points(*args, order=list)
    ),
    "the line is drawn through the point of the smallest error: the least-squares line passes through the means.": (
        right.from_the_best
    ),
    "the factor is upside down: more compute is needed, so it is above 1.": lambda *a: (
        1 / right.compute_factor(*a)
    ),
}

COMPUTE_FACTOR = Exercise(
    "A straight line in log-log, followed to the target, relative to the largest compute.",
    (
        rule(
            "compute_factor",
            right.factor_inputs,
            right.compute_factor,
            FACTOR_MISTAKES,
            tolerance=1e-3,
        ),
    ),
    reference=right.compute_factor,
)

EXERCISES = {"vit_flops": VIT_FLOPS, "compute_factor": COMPUTE_FACTOR}
