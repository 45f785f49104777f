"""What the course trains: a paper at a scale, as a stage that every lesson can ask for.

    recipes.clip("laptop").model       trained now, found in the cache, or shipped with the course

clip      the stage of lesson 02, and the command `vlmcourse train clip`
language  the tiny language model of lesson 04, and what it binds and knows
frozen    the stage of lesson 05, its rows and its tests
flamingo  the stage of lesson 08, its data and its tests
"""

from vlmcourse.recipes.clip import clip, clip_config, clip_report, new_clip, noun_classes, singles, train_clip, training_pairs
from vlmcourse.recipes.flamingo import flamingo, flamingo_config, flamingo_report, new_flamingo
from vlmcourse.recipes.frozen import (
    PLACE,
    answered,
    average_words,
    caption_report,
    captioned,
    frozen,
    frozen_config,
    named,
    new_frozen,
    solved,
)
from vlmcourse.recipes.language import language, language_report, new_language, train_language

__all__ = ["PLACE", "answered", "average_words",
           "caption_report", "captioned", "clip", "clip_config", "clip_report", "flamingo", "flamingo_config",
           "flamingo_report", "frozen", "frozen_config",
           "language", "language_report", "named", "new_clip", "new_flamingo", "new_frozen", "new_language", "noun_classes", "singles", "solved",
           "train_clip", "train_language", "training_pairs"]
