"""What the course trains, one file a paper.

    recipes.get("clip").train_or_load("laptop").model       trained now, found in the cache, or shipped with the course

<<<<<<< HEAD
A recipe is one object: name, sizes at each scale, data, optimisation, report. A new file here with a `Recipe` in it is found by
`recipes.get`, by the command line and by the tests.
"""

from importlib import import_module
from types import ModuleType

from vlmcourse.recipes.recipe import Recipe, Run, Sizes, get, names
from vlmcourse.recipes.runs import train

__all__ = ["get", "names", "Recipe", "Run", "Sizes", "train"]


def __getattr__(name: str) -> ModuleType:
    """Files of this folder as attributes: recipes.clip.noun_classes."""
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError:
        raise AttributeError(f"module {__name__} has no attribute '{name}'") from None
=======
clip      the stage of lesson 02, and the command `vlmcourse train clip`
language  the tiny language model of lesson 04, and what it binds and knows
vilbert   ViLBERT and VL-BERT, the stages of lesson 03, and what names their regions
frozen    the stage of lesson 05, its rows and its tests; smollm2, a module of its own, does the same with real weights
blip2     both stages of lesson 07 and what they are tested on: `from vlmcourse.recipes import blip2`, then blip2.stage1()
blip      the stage of lesson 06 and its tests; capfilt, blip_tasks and closely, modules of their own, go on from there
flamingo  the stage of lesson 08, its data and its tests
in_context  names bound by examples in the prompt, by Flamingo and Frozen, a module of its own
bridges   lesson 09: all ways from pictures to words side by side, a module of its own; answering asks them in one way
stand_ins  lesson 10: checkpoints to practise with, offline, a module of its own
explored  all of them as plain functions for widgets.explorers, a module of its own
"""

from vlmcourse.recipes.blip import (
    blip,
    blip_config,
    blip_report,
    generate_captions,
    minimal_pairs_data,
    new_blip,
)
from vlmcourse.recipes.clip import (
    clip,
    clip_config,
    clip_report,
    new_clip,
    noun_classes,
    singles,
    train_clip,
    training_pairs,
)
from vlmcourse.recipes.flamingo import flamingo, flamingo_config, flamingo_report, new_flamingo
from vlmcourse.recipes.frozen import (
    IMAGE_PREFIX,
    caption_data,
    caption_report,
    episode_accuracy,
    frozen,
    frozen_config,
    mean_noun_and_background,
    naming_episodes,
    new_frozen,
    text_only_accuracy,
    vqa_data,
)
from vlmcourse.recipes.language import (
    language,
    language_report,
    new_language,
    train_language,
    word_report,
)
from vlmcourse.recipes.vilbert import (
    FALSE_CAPTIONS,
    alignment_report,
    masked_report,
    new_vilbert,
    new_vlbert,
    region_classifier,
    region_pairs,
    retrieval_report,
    train_masked,
    vilbert,
    vilbert_config,
    vilbert_report,
    vlbert,
    vlbert_config,
)

__all__ = [
    "FALSE_CAPTIONS",
    "IMAGE_PREFIX",
    "alignment_report",
    "vqa_data",
    "mean_noun_and_background",
    "blip",
    "blip_config",
    "blip_report",
    "caption_report",
    "caption_data",
    "generate_captions",
    "clip",
    "clip_config",
    "clip_report",
    "train_masked",
    "masked_report",
    "flamingo",
    "flamingo_config",
    "flamingo_report",
    "frozen",
    "frozen_config",
    "language",
    "language_report",
    "naming_episodes",
    "region_classifier",
    "new_blip",
    "new_clip",
    "new_flamingo",
    "new_frozen",
    "new_language",
    "new_vilbert",
    "new_vlbert",
    "noun_classes",
    "region_pairs",
    "retrieval_report",
    "minimal_pairs_data",
    "singles",
    "episode_accuracy",
    "text_only_accuracy",
    "train_clip",
    "train_language",
    "training_pairs",
    "vilbert",
    "vilbert_config",
    "vilbert_report",
    "vlbert",
    "vlbert_config",
    "word_report",
]
>>>>>>> main
