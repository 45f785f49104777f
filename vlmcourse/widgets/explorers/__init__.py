"""Explorers: one widget each to play with, and the pure functions behind it: JSON for an ES module.

masks      every row of the mask table on your own words; change a hidden value; find the cell that lies
gates      Flamingo's gates over training and by hand, the caption that each opening gives; which parameters get a gradient
attention  for a word or a query, a layer and a head: the patches that were used
clip       classes, prompts, temperature, a matrix of similarities, the gap between the modalities
sampling   a tree of next words, walked by greedy, beam and nucleus decoding, or by hand
few_shot   a prompt of pictures and names, phi, the answer with and without the examples' pictures
capfilt    a filter's threshold, with exact precision and recall
scene      things put where one likes, and any model asked about the picture

What the models are comes from `teaching.explorer_models` and `explorer_flamingo`; here they are functions, so that any other model can be given instead.
"""

from vlmcourse.widgets.explorers.attention import attention_explorer
from vlmcourse.widgets.explorers.capfilt import threshold_explorer
from vlmcourse.widgets.explorers.clip import clip_playground
from vlmcourse.widgets.explorers.few_shot import few_shot_builder
from vlmcourse.widgets.explorers.gates import gate_explorer
from vlmcourse.widgets.explorers.masks import mask_explorer
from vlmcourse.widgets.explorers.sampling import sampling_explorer
from vlmcourse.widgets.explorers.scene import scene_maker

__all__ = [
    "attention_explorer",
    "clip_playground",
    "few_shot_builder",
    "gate_explorer",
    "mask_explorer",
    "sampling_explorer",
    "scene_maker",
    "threshold_explorer",
]
