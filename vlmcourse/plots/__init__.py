"""Every picture of the course. Each function returns a matplotlib Figure whose `.description` says in words what it shows.

style   one palette (Okabe-Ito, safe for colour-blind readers), one look; show(figure) displays it with its description;
        page(figures) makes one of several
masks   who may look at whom: one mask, its blocks, the gallery, got beside wanted, attention weights
curves  training, live too; scores over something, with spread; bars with a chance line
probabilities  probabilities as bars with their numbers, beside a picture or alone
images  pictures with captions, similarity matrices, retrieval, attention over a picture, confusions, embeddings
"""

from vlmcourse.plots.curves import Live, bars, curves, loss, smoothed
from vlmcourse.plots.images import (
    attention_over_image,
    boxed,
    confusion,
    embeddings,
    matches,
    pictures,
    similarity,
)
from vlmcourse.plots.masks import (
    compare,
    compare_values,
    gallery,
    mask,
    mask_and_blocks,
    ribbon,
    weights,
)
from vlmcourse.plots.probabilities import picture_and_bars, probability_bars
from vlmcourse.plots.style import COLOURS, page, show

__all__ = [
    "COLOURS",
    "Live",
    "attention_over_image",
    "bars",
    "boxed",
    "compare",
    "compare_values",
    "confusion",
    "curves",
    "embeddings",
    "gallery",
    "loss",
    "mask",
    "mask_and_blocks",
    "matches",
    "page",
    "picture_and_bars",
    "pictures",
    "ribbon",
    "probability_bars",
    "show",
    "similarity",
    "smoothed",
    "weights",
]
