"""The tiny language model: pretrained on the world's texts, so that it knows what no picture shows and binds new names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlmcourse import world
from vlmcourse.evaluation import choose_next_token, exact_match
from vlmcourse.parts.language import LanguageModel, tiny
from vlmcourse.recipes import recipe as registry
from vlmcourse.recipes.recipe import Recipe, Run
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import tokenizer

LANGUAGE_OPTIMISATION = Optimisation(3e-3, weight_decay=0.05, betas=(0.9, 0.95))
"""Twice the learning rate that pictures take: with less, binding stays at chance for thousands of steps."""


@dataclass(frozen=True)
class Sizes(registry.Sizes):
    """Beside batch (rows of documents) and steps: the model's width, in heads of 32, and depth."""

    width: int
    depth: int


SIZES = {
    "smoke": Sizes(16, 20, width=64, depth=1),
    "laptop": Sizes(32, 3000, width=96, depth=3),
    "gpu": Sizes(256, 20_000, width=512, depth=12),
}


def new_language(
    scale: Scale | str | None = None,
    seed: int = 0,
    width: int | None = None,
    depth: int | None = None,
) -> LanguageModel:
    """An untrained tiny language model whose weights depend on the seed alone. width, depth: default, the scale's"""
    sizes = SIZES[Scale.of(scale).name]
    width, depth = width or sizes.width, depth or sizes.depth
    with seeded(seed):
        vocabulary = len(tokenizer.world_tokenizer())
        return LanguageModel(tiny(vocabulary, width, depth, max(1, width // 32)))


def setup(
    scale: Scale,
    sizes: Sizes,
    seed: int,
    stage,
    *,
    model: LanguageModel | None = None,
    data=None,
    **changes,
) -> Run:
    """model    an untrained one to train in place, for those who look at it on the way
    data     other documents
    changes  width, depth of the model
    """
    model = model or new_language(scale, seed, **changes)
    data = data or world.documents.Documents(seed=seed)
    made = model.lm.config
    config = made.vocab_size, made.hidden_size, made.num_hidden_layers, made.num_attention_heads
    return Run(model, data, config)


def language_report(
    model: LanguageModel, scale: Scale | None = None, count: int = 512
) -> dict[str, float]:
    """What the language model binds (two invented names, in words, on held-out episodes) and what it knows (facts)."""
    texts, answers, episodes = zip(
        *(world.documents.binding_episode(index) for index in range(count))
    )
    bound = choose_next_token(model, text_prompts(texts), [one.choices for one in episodes])
    questions, facts, choices = zip(*world.documents.known_facts())
    known = choose_next_token(model, text_prompts(questions), choices)
    return {
        "binding": exact_match(bound, answers),
        "binding, chance": 0.5,
        "facts": exact_match(known, facts),
        "facts, chance": sum(1 / len(options) for options in choices) / len(choices),
    }


def text_prompts(texts: Sequence[str]) -> world.prompts.Prompts:
    """Prompts without pictures."""
    return world.prompts.Prompts([(text,) for text in texts], size=1)


recipe = Recipe("language", SIZES, setup, LANGUAGE_OPTIMISATION, language_report)
