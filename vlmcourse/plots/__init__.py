"""Every figure of the course: matplotlib Figures whose `.description` says in words what they show.

style          one palette (Okabe-Ito, safe for colour-blind readers); show(figure) displays it with its description
masks          masks, blocks, actual beside expected, attention weights
curves         training, live too; scores over something, with spread; bars with a chance line
probabilities  probabilities as bars with their numbers, beside a picture or alone
diagrams       architecture diagrams as SVG: boxes, arrows, shapes, what is frozen and what is trained
images         pictures with captions, similarity, retrieval, attention over an image, confusions, embeddings
"""

from vlmcourse.plots.curves import LiveCurve, bars, curves, interval_means, loss
from vlmcourse.plots.diagrams import Diagram
from vlmcourse.plots.images import (
    attention_over_image,
    embeddings,
    image_text_table,
    nearest_images,
    pictures,
    pictures_with_boxes,
    similarity,
    top_confusions,
)
from vlmcourse.plots.masks import (
    attention_heads,
    compare_masks,
    compare_values,
    mask,
    mask_and_blocks,
    mask_gallery,
)
from vlmcourse.plots.probabilities import picture_and_bars, probability_bars
from vlmcourse.plots.style import COLOURS, show, stack_figures

__all__ = [
    "COLOURS",
    "Diagram",
    "LiveCurve",
    "attention_over_image",
    "bars",
    "pictures_with_boxes",
    "compare_masks",
    "compare_values",
    "top_confusions",
    "curves",
    "embeddings",
    "image_text_table",
    "mask_gallery",
    "loss",
    "mask",
    "mask_and_blocks",
    "nearest_images",
    "stack_figures",
    "picture_and_bars",
    "pictures",
    "probability_bars",
    "show",
    "similarity",
    "interval_means",
    "attention_heads",
]
