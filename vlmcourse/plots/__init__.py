"""Every picture of the course. Each function returns a matplotlib Figure whose `.description` says in words what it shows.

style   one palette (Okabe-Ito, safe for colour-blind readers), one look; show(figure) displays it with its description;
        page(figures) makes one of several
masks   who may look at whom: one mask, its blocks, the gallery, got beside wanted, attention weights
curves  training, live too; scores over something, with spread; bars with a chance line
probabilities  probabilities as bars with their numbers, beside a picture or alone
images  pictures with captions, similarity matrices, retrieval, attention over a picture, confusions, embeddings
"""

from vlmcourse.plots.curves import LiveCurve, bars, curves, loss, interval_means
from vlmcourse.plots.images import (
    attention_over_image,
    pictures_with_boxes,
    top_confusions,
    embeddings,
    nearest_images,
    pictures,
    similarity,
)
from vlmcourse.plots.masks import (
    compare_masks,
    compare_values,
    mask_gallery,
    mask,
    mask_and_blocks,
    image_index_strip,
    attention_heads,
)
from vlmcourse.plots.probabilities import picture_and_bars, probability_bars
from vlmcourse.plots.style import COLOURS, stack_figures, show

__all__ = [
    "COLOURS",
    "LiveCurve",
    "attention_over_image",
    "bars",
    "pictures_with_boxes",
    "compare_masks",
    "compare_values",
    "top_confusions",
    "curves",
    "embeddings",
    "mask_gallery",
    "loss",
    "mask",
    "mask_and_blocks",
    "nearest_images",
    "stack_figures",
    "picture_and_bars",
    "pictures",
    "image_index_strip",
    "probability_bars",
    "show",
    "similarity",
    "interval_means",
    "attention_heads",
]
