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
prompts    pages as a model reads them: ids with image tokens, and pixels
interleaved  pages with pictures and films, as Flamingo trains on them; shots: few-shot prompts of that form
texts      documents without pictures, for the language model
signs      digits to read
"""

from vlmcourse.world import (
    captions,
    dialogues,
    digits,
    documents,
    minimal_pairs,
    noise,
    pages,
    prompts,
    questions,
    regions,
    statements,
    videos,
)
from vlmcourse.world.nouns import Noun, article, noun, nouns
from vlmcourse.world.pairs import Pairs
from vlmcourse.world.rendering import ATTRIBUTION, STYLES, render, restyle, to_images, to_pixels
from vlmcourse.world.scenes import (
    BACKGROUNDS,
    Scene,
    SeededRandom,
    Thing,
    known_nouns,
    novel_nouns,
    sample,
    split_of,
)

__all__ = [
    "article",
    "ATTRIBUTION",
    "BACKGROUNDS",
    "captions",
    "dialogues",
    "digits",
    "documents",
    "SeededRandom",
    "known_nouns",
    "minimal_pairs",
    "noise",
    "Noun",
    "noun",
    "nouns",
    "novel_nouns",
    "pages",
    "Pairs",
    "prompts",
    "questions",
    "regions",
    "render",
    "restyle",
    "sample",
    "Scene",
    "split_of",
    "statements",
    "STYLES",
    "Thing",
    "to_images",
    "to_pixels",
    "videos",
]
