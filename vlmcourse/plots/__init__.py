"""Every figure of the course: matplotlib Figures whose `.description` says in words what they show.

style          one palette (Okabe-Ito, safe for colour-blind readers); show(figure) displays it with its description
masks          masks, blocks, actual beside expected, attention weights
curves         training, live too; scores over something, with spread; bars with a chance line
probabilities  probabilities as bars with their numbers, beside a picture or alone
images         pictures with captions, similarity, retrieval, attention over an image, confusions, embeddings
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
