"""Explorers: one widget each to play with, and the pure functions (state -> figure) behind it.

masks      every row of the mask table on your own words; change a hidden value; find a faulty mask
gates      Flamingo's gates over training and by hand; which parameters get a gradient
attention  for a word or a query, a layer and a head: the patches that were used
clip       classes, prompts, temperature, neighbours, the gap between the modalities
sampling   greedy, beam and nucleus, and the probability each leaves to draw from
few_shot   a prompt of pictures and names, phi, the answer with and without the examples' pictures
capfilt    a filter's threshold, with exact precision and recall
scene      a picture of your own, and any model asked about it

What the models are comes from `teaching.explorer_models`; here they are functions, so that any other model can be given instead.
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
