"""The tiny language model: pretrained on the world's texts, so that it knows what no picture shows and binds new names."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vlmcourse import world
from vlmcourse.evaluation import exact_match, choose_next_token
from vlmcourse.parts.language import LanguageModel, tiny
from vlmcourse.training import stages
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import TrainedStage, seeded, train_or_load
from vlmcourse.world import tokenizer

LANGUAGE_OPTIMISATION = Optimisation(3e-3, weight_decay=0.05, betas=(0.9, 0.95))
"""Twice the learning rate that pictures take: with less, binding stays at chance for thousands of steps."""


def new_language(scale: Scale, seed: int = 0) -> LanguageModel:
    """An untrained tiny language model whose weights depend on the seed alone."""
    with seeded(seed):
        width = scale.language_width
        return LanguageModel(
            tiny(len(tokenizer.world_tokenizer()), width, scale.language_depth, width // 32)
        )


def language(
    scale: Scale | str | None = None,
    seed: int = 0,
    *,
    model: LanguageModel | None = None,
    steps: int | None = None,
    on_step: Callable[[Step], None] | None = None,
    retrain: bool = False,
) -> TrainedStage:
    """The tiny language model, pretrained on the world's texts: shipped with the course at laptop scale, else trained.

    model  the untrained one, new_language(scale, seed), for callers who look at it on the way (on_step); retrain: see stages
    """
    size = Scale.of(scale)
    model, documents = model or new_language(size, seed), world.documents.Documents(seed=seed)
    return train_or_load(
        "language",
        model,
        Batches(documents.batch, size.language_batch),
        steps or size.language_steps,
        LANGUAGE_OPTIMISATION,
        fingerprint={
            "length": documents.length,
            "batch": size.language_batch,
            "config": model.lm.config.to_json_string(),
        },
        seed=seed,
        on_step=on_step,
        retrain=retrain,
    )


def language_report(model: LanguageModel, count: int = 512) -> dict[str, float]:
    """What the language model binds (two invented names, in words, on held-out episodes) and what it knows (facts)."""
    texts, answers, episodes = zip(
        *(world.documents.binding_episode(index) for index in range(count))
    )
    bound = choose_next_token(model, text_prompts(texts), [episode.choices for episode in episodes])
    report = {"binding": exact_match(bound, answers), "binding, chance": 0.5}
    questions, facts, choices = zip(*world.documents.known_facts())
    known = choose_next_token(model, text_prompts(questions), choices)
    return report | {
        "facts": exact_match(known, facts),
        "facts, chance": sum(1 / len(options) for options in choices) / len(choices),
    }


def text_prompts(texts: Sequence[str]) -> world.prompts.Prompts:
    """Prompts without pictures."""
    return world.prompts.Prompts([(text,) for text in texts], size=1)


def train_language(
    scale: str | None = None,
    seed: int = 0,
    ship: bool = False,
    on_step: Callable[[Step], None] = lambda step: None,
) -> dict[str, float]:
    """The command `vlmcourse train language`: trains (or finds) the model, tests it.

    ship  train it anew and put it into the package
    """
    trained = language(scale, seed, on_step=on_step, retrain=ship)
    if ship:
        stages.ship("language", trained)
    return language_report(trained.model)
