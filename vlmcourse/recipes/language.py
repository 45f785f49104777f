"""The tiny language model: pretrained on the world's texts, so that it knows what no picture shows and binds new names.

Two recipes. "language_short" is the plain one: short texts, random layers; binding comes by itself after hundreds of steps,
at another time in each seed, and facts may not come at all. "language" is what the course ships. Three things make it learn
names, facts and who is where in a quarter of the steps, in each of three seeds (docs/DECISIONS.md):
  - layers that start as heads which attend backwards, match and copy (parts.induction_heads);
  - names before all else (world.curriculum): first close to their things, then on pages, then everything;
  - words that follow from the text before them count five times (LanguageModel.losses).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlmcourse import world
from vlmcourse.evaluation import choose_next_token, exact_match, next_token_probabilities
from vlmcourse.parts.induction_heads import init_induction_heads
from vlmcourse.parts.language import LanguageModel, tiny
from vlmcourse.recipes import recipe as registry
from vlmcourse.recipes.recipe import Recipe, Run, Stage
from vlmcourse.training.optimisation import HeldOptimisation, Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import tokenizer, word_tests
from vlmcourse.world.curriculum import Curriculum
from vlmcourse.world.documents import Documents

SHORT_OPTIMISATION = Optimisation(3e-3, weight_decay=0.05, betas=(0.9, 0.95))
"""Of short texts. With half of this learning rate, binding stays at chance for thousands of steps."""
OPTIMISATION = HeldOptimisation(2e-3, weight_decay=0.05, betas=(0.9, 0.95), hold=0.6)
"""Of the shipped model: a constant learning rate, then a cosine."""
NEAR_SHARE, NAMES_SHARE = 0.08, 0.10
"""Of the steps: names close to their things; names on pages."""


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
    "laptop": Sizes(16, 1500, width=96, depth=3),
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
    """Short texts without image tags. See `setup`."""
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
    """Names, then pages with image tags, facts and questions, in rows of 256.

    model    an untrained one to train in place, for those who look at it on the way
    changes  width, depth of the model
    """
    model = model or new_language(scale, seed, **changes)
    with seeded(seed):
        init_induction_heads(model.lm)
    rows = sizes.steps * sizes.batch
    near, names = (round(share * rows) for share in (NEAR_SHARE, NAMES_SHARE))
    return Run(model, Curriculum(near, names, seed=seed), _config(model), (init_induction_heads,))


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


def word_report(
    model: LanguageModel, count: int = 128, batch: int = 64, names: Sequence[str] = ()
) -> dict[str, float]:
    """Share of right answers of each test of world.word_tests, or of those with these names. An answer is the likeliest of
    all words."""
    report = {}
    tests = word_tests.all_tests(count)
    for name in names or tests:
        test = tests[name]
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
recipe = Recipe("language", SIZES, setup, OPTIMISATION, language_report)
