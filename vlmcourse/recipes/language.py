"""The tiny language model: pretrained on the world's texts, so that it knows what no picture shows and binds new names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

import torch
from torch import nn

from vlmcourse import world
from vlmcourse.evaluation import choose_next_token, exact_match, next_token_probabilities
from vlmcourse.parts.language import LanguageModel, tiny
from vlmcourse.training import checkpoint, stages
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step
from vlmcourse.training.optimisation import HeldOptimisation, Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import TrainedStage, seeded, train_or_load
from vlmcourse.world import tokenizer, word_tests
from vlmcourse.world.document_kinds import CLOSE, TAG
from vlmcourse.world.documents import PAGE_KINDS, repeated

LANGUAGE_OPTIMISATION = Optimisation(3e-3, weight_decay=0.05, betas=(0.9, 0.95))
"""Of short texts. With half of this learning rate, binding stays at chance for thousands of steps."""
PAGE_OPTIMISATION = HeldOptimisation(2e-3, weight_decay=0.05, betas=(0.9, 0.95), hold=0.4)
"""Of long texts with image tags: a constant learning rate, then a cosine."""
PAGE_LENGTH, PAGE_STEPS = 256, {"smoke": 20, "laptop": 1400, "gpu": 20_000}


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

    Two stages: short texts, from which it learns to bind names; then long ones, in the form of pages with image tags, with
    series of questions (`steps` counts these).

    model  the untrained one, new_language(scale, seed), for callers who look at it on the way (on_step); retrain: see stages
    """
    size = Scale.of(scale)
    model = model or new_language(size, seed)
    documents = world.documents.Documents(length=PAGE_LENGTH, seed=seed, kinds=repeated(PAGE_KINDS))
    rows = max(1, size.language_batch // 4)
    fingerprint = {
        "length": documents.length,
        "batch": rows,
        "texts": checkpoint.checksum(documents.batch(range(8))),
        "before": [size.language_steps, size.language_batch, asdict(LANGUAGE_OPTIMISATION)],
        "config": model.lm.config.to_json_string(),
    }

    def prepare() -> None:
        on_short_texts(size, seed, model, on_step, retrain)
        start_tags(model.lm)

    return train_or_load(
        "language",
        model,
        Batches(documents.batch, rows),
        steps or PAGE_STEPS[size.name],
        PAGE_OPTIMISATION,
        fingerprint=fingerprint,
        seed=seed,
        on_step=on_step,
        retrain=retrain,
        prepare=prepare,
    )


def on_short_texts(
    size: Scale,
    seed: int,
    model: LanguageModel,
    on_step: Callable[[Step], None] | None = None,
    retrain: bool = False,
) -> TrainedStage:
    """The first stage: short texts without image tags. Names are bound at its end."""
    documents = world.documents.Documents(seed=seed)
    return train_or_load(
        "language_short",
        model,
        Batches(documents.batch, size.language_batch),
        size.language_steps,
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


@torch.no_grad()
def start_tags(lm: nn.Module) -> None:
    """The image tag and <EOC>, which no short text holds, start at the mean of all words' rows."""
    rows = lm.get_input_embeddings().weight
    tags = tokenizer.world_tokenizer().convert_tokens_to_ids([TAG, CLOSE])
    rows[tags] = rows[len(tokenizer.SPECIAL) :].mean(0)


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


def word_report(model: LanguageModel, count: int = 128, batch: int = 64) -> dict[str, float]:
    """Share of right answers of each test of world.word_tests. An answer is the likeliest of all words."""
    report = {}
    for name, test in word_tests.all_tests(count).items():
        # Prompts of like length stand together, so that little is padded.
        test = sorted(test, key=lambda one: len(one[0]))
        found = next_token_probabilities(
            model, text_prompts([prompt for prompt, _ in test]), 1, batch
        )
        report[name] = exact_match(
            [next(iter(one)) for one in found], [answer for _, answer in test]
        )
    return report


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
