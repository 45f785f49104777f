"""The tiny language model: pretrained on the world's texts, so that it knows what no picture shows and binds new names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import torch
from torch import nn

from vlmcourse import world
from vlmcourse.evaluation import choose_next_token, exact_match, next_token_probabilities
from vlmcourse.parts.language import LanguageModel, tiny
from vlmcourse.recipes import recipe as registry
from vlmcourse.recipes.recipe import Recipe, Run, Stage
from vlmcourse.training.optimisation import HeldOptimisation, Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import tokenizer, word_tests
from vlmcourse.world.document_kinds import CLOSE, TAG
from vlmcourse.world.documents import PAGE_KINDS, Documents, repeated

SHORT_OPTIMISATION = Optimisation(3e-3, weight_decay=0.05, betas=(0.9, 0.95))
"""Of short texts. With half of this learning rate, binding stays at chance for thousands of steps."""
PAGE_OPTIMISATION = HeldOptimisation(2e-3, weight_decay=0.05, betas=(0.9, 0.95), hold=0.4)
"""Of long texts with image tags: a constant learning rate, then a cosine."""
PAGE_LENGTH = 256


@dataclass(frozen=True)
class Sizes(registry.Sizes):
    """Beside batch (rows of documents) and steps: the model's width, in heads of 32, and depth."""

    width: int
    depth: int


SHORT_SIZES = {
    "smoke": Sizes(16, 20, width=64, depth=1),
    "laptop": Sizes(32, 3000, width=96, depth=3),
    "gpu": Sizes(256, 20_000, width=512, depth=12),
}
SIZES = {
    "smoke": Sizes(4, 20, width=64, depth=1),
    "laptop": Sizes(8, 1400, width=96, depth=3),
    "gpu": Sizes(64, 20_000, width=512, depth=12),
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


def _config(model: LanguageModel) -> tuple[int, ...]:
    made = model.lm.config
    return made.vocab_size, made.hidden_size, made.num_hidden_layers, made.num_attention_heads


def setup_short(
    scale: Scale,
    sizes: Sizes,
    seed: int,
    stage: Stage,
    *,
    model: LanguageModel | None = None,
    **changes,
) -> Run:
    """Short texts without image tags: names are bound at the end. See `setup`."""
    model = model or new_language(scale, seed, **changes)
    return Run(model, Documents(seed=seed), _config(model))


def setup(
    scale: Scale,
    sizes: Sizes,
    seed: int,
    stage: Stage,
    *,
    model: LanguageModel | None = None,
    **changes,
) -> Run:
    """Long texts in the form of pages with image tags, with series of questions, after the stage "language_short".

    model    an untrained one to train in place, for those who look at it on the way
    changes  width, depth of the model
    """
    model = model or new_language(scale, seed, **changes)
    documents = Documents(length=PAGE_LENGTH, seed=seed, kinds=repeated(PAGE_KINDS))
    short = SHORT_SIZES[scale.name]

    def before(**options) -> None:
        stage("language_short", seed, model=model, **options)
        start_tags(model.lm)

    parts = short.steps, short.batch, astuple(SHORT_OPTIMISATION)
    return Run(model, documents, _config(model), parts, before=before)


@torch.no_grad()
def start_tags(lm: nn.Module) -> None:
    """The image tag and <EOC>, which no short text holds, start at the mean of all words' rows."""
    rows = lm.get_input_embeddings().weight
    tags = tokenizer.world_tokenizer().convert_tokens_to_ids([TAG, CLOSE])
    rows[tags] = rows[len(tokenizer.SPECIAL) :].mean(0)


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


def word_report(model: LanguageModel, count: int = 128, batch: int = 64) -> dict[str, float]:
    """Share of right answers of each test of world.word_tests. An answer is the likeliest of all words."""
    report = {}
    for name, test in word_tests.all_tests(count).items():
        # prompts of like length stand together, so that little is padded
        test = sorted(test, key=lambda one: len(one[0]))
        prompts = text_prompts([prompt for prompt, _ in test])
        found = next_token_probabilities(model, prompts, 1, batch)
        answers = [next(iter(one)) for one in found]
        report[name] = exact_match(answers, [answer for _, answer in test])
    return report


def text_prompts(texts: Sequence[str]) -> world.prompts.Prompts:
    """Prompts without pictures."""
    return world.prompts.Prompts([(text,) for text in texts], size=1)


short = Recipe("language_short", SHORT_SIZES, setup_short, SHORT_OPTIMISATION, language_report)
recipe = Recipe("language", SIZES, setup, PAGE_OPTIMISATION, language_report)
