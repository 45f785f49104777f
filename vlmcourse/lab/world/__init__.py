"""The world: scenes of OpenMoji things, about which everything is known.

nouns      what there is, and what is known of it
scenes     Scene, sample(split, index, seed): train, test (held-out compositions), novel (held-out nouns)
render     pixels, and the styles of distribution shift
captions   what people write under a scene
pairs      Pairs: scenes with captions, as batches
swaps      scenes that differ in one attribute
noise      mismatched, generic and duplicated captions, with the truth
regions    boxes and what is in them, with captions that may be false
questions  what one may ask about a scene, what can be seen and what must be known; statements about two scenes; dialogues
motion     short films
pages      text and pictures interleaved; few-shot episodes
prompts    pages as a model reads them: ids with places for pictures, and pixels
interleaved  pages with pictures and films, as Flamingo trains on them; shots: few-shot prompts of that form
texts      documents without pictures, for the language model
signs      digits to read
"""

from vlmcourse.lab.world import (
    captions,
    dialogues,
    motion,
    noise,
    pages,
    prompts,
    questions,
    regions,
    signs,
    statements,
    swaps,
    texts,
)
from vlmcourse.lab.world.nouns import Noun, article, noun, nouns
from vlmcourse.lab.world.pairs import Pairs
from vlmcourse.lab.world.render import ATTRIBUTION, STYLES, render, restyle, to_images, to_pixels
from vlmcourse.lab.world.scenes import BACKGROUNDS, Draws, Scene, Thing, known_nouns, novel_nouns, sample, split_of

__all__ = ["ATTRIBUTION", "BACKGROUNDS", "Draws", "Noun", "Pairs", "STYLES", "Scene", "Thing", "article", "captions",
           "dialogues", "known_nouns", "motion", "noise", "noun", "nouns", "novel_nouns", "pages", "prompts", "questions",
           "regions", "render", "restyle", "sample", "signs", "split_of", "statements", "swaps", "texts", "to_images",
           "to_pixels"]
