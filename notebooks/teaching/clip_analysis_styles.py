"""Lesson 03's figure, table and words about other styles of pictures (benchmarks/replicate_clip_studies.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from teaching.clip_analysis_tables import CHANCE, markdown
from vlmcourse import plots, world
from vlmcourse.evaluation import Spread, spread_over_seeds
from vlmcourse.recipes.clip_studies import VARIED

UNSEEN = tuple(style for style in world.STYLES if style not in VARIED)
"""Styles that no training picture has."""
MIXED = VARIED[1:]
"""Styles that only the varied training pictures have: grey, noise, sketch."""
MODELS = ("captions, one style", "captions, varied", "labels, one style", "labels, varied")
ORIGINAL = "as trained"
"""world.STYLES' name of pictures as they are drawn; for models of varied pictures four styles are as trained."""


def style_name(style: str) -> str:
    """What the lesson calls a style."""
    return "original" if style == ORIGINAL else style


def shift_scores(rows: Sequence[Mapping], name: str, styles: tuple[str, ...]) -> Spread:
    """Mean accuracy over some styles of one of MODELS."""
    return spread_over_seeds(rows, "shift", name, styles)


def shift_figure(rows: Sequence[Mapping]):
    """Accuracy of the four models in each style: the original, those of the varied pictures, those of no training picture."""
    return plots.bars(
        {
            style_name(style): {model: shift_scores(rows, model, (style,)) for model in MODELS}
            for style in (*VARIED, *UNSEEN)
        },
        "accuracy on 57 nouns",
        chance=CHANCE,
        sideways=True,
        form=".2f",
    )


def by_style(rows: Sequence[Mapping], model: str) -> dict[str, float]:
    """Mean accuracy over seeds in each style of one of MODELS."""
    return {style: spread_over_seeds(rows, "shift", model, style).mean for style in world.STYLES}


def gap_table(rows: Sequence[Mapping], gap_closed: Callable[..., float]) -> str:
    """Of each model: accuracy as trained, the share of it kept in each style, and how much of the gap it closes."""
    reference = by_style(rows, "labels, one style")
    lines = []
    for name in MODELS:
        scores = by_style(rows, name)
        shares = [f"{kept(rows, name, (style,)):.0%}" for style in (*MIXED, *UNSEEN)]
        closed = f"{gap_closed(scores, reference, ORIGINAL):.0%}"
        lines.append([name, f"{scores[ORIGINAL]:.2f}", *shares, closed])
    columns = [
        "model",
        "original",
        *(f"kept: {style}" for style in (*MIXED, *UNSEEN)),
        "gap closed",
    ]
    return markdown(columns, lines)


def kept(rows: Sequence[Mapping], model: str, styles: tuple[str, ...]) -> float:
    """Mean accuracy over some styles, as a share of that on original pictures."""
    original, shifted = (shift_scores(rows, model, names).mean for names in ((ORIGINAL,), styles))
    return shifted / original


def raised(rows: Sequence[Mapping], style: str) -> tuple[int, int]:
    """In how many comparisons, seed by seed, varied pictures raised the accuracy in a style: of captions and labels; of how many."""
    pairs = [
        pair
        for who in ("captions", "labels")
        for pair in zip(
            shift_scores(rows, f"{who}, one style", (style,)).values,
            shift_scores(rows, f"{who}, varied", (style,)).values,
        )
    ]
    return sum(varied > one for one, varied in pairs), len(pairs)


def shift_words(rows: Sequence[Mapping]) -> str:
    """What the varied pictures bring and cost, and what captions alone bring, in numbers."""
    share = {name: f"{kept(rows, name, MIXED):.0%}" for name in MODELS}
    score = {name: f"{shift_scores(rows, name, (ORIGINAL,)).mean:.2f}" for name in MODELS}
    inverted = max(shift_scores(rows, name, ("inverted",)).mean for name in MODELS)
    words = [
        f"{who.capitalize()}: {share[f'{who}, one style']} of grey, noise and sketch kept with one style, "
        f"{share[f'{who}, varied']} with four; accuracy on original pictures "
        f"{score[f'{who}, one style']} and {score[f'{who}, varied']}"
        for who in ("captions", "labels")
    ]
    counts = {style: raised(rows, style) for style in (*MIXED, *UNSEEN[:1])}
    rises = ", ".join(f"{style} in {count} of {of}" for style, (count, of) in counts.items())
    return (
        f"{'. '.join(words)}. Seed by seed, captions and labels together, varied pictures raised the accuracy on "
        f"{rises} comparisons. On inverted pictures the best of the four reaches {inverted:.3f} "
        f"(chance {CHANCE:.3f})."
    )
