"""Lesson 13: what each system of the comparison is asked, with the exercises' functions as arguments where students write them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from teaching import side_by_side_reference as reference
from teaching.side_by_side_systems import CAPTION, NOUNS, POPULAR, Habits, companion
from vlmcourse import recipes, world
from vlmcourse.evaluation import choose_next_token, eval_mode
from vlmcourse.evaluation.interface import PromptedModel
from vlmcourse.evaluation.prompting import episode_accuracy
from vlmcourse.training.scale import Scale
from vlmcourse.world import corruptions, few_shot, tokenizer
from vlmcourse.world.interleaved import WebPages
from vlmcourse.world.pages import Episode
from vlmcourse.world.prompts import Prompts, View, to_pixels
from vlmcourse.world.scenes import SeededRandom, sample

SAMPLERS = ("random", "popular", "adversarial")


def scenes(count: int, things: tuple[int, int]) -> list[world.Scene]:
    """Held-out pictures: combinations that no training picture shows, without habits."""
    return [sample("test", index, 0, things, NOUNS) for index in range(count)]


@cache
def training_words(count: int = 1000) -> tuple[tuple[str, ...], ...]:
    """The things on each of the first training pictures."""
    return tuple(Habits().scene(index).words for index in range(count))


def habits_sentence(count: int = 4096) -> str:
    """What the habits give, counted in the first training pictures."""
    shown = training_words(count)
    two = [words for words in shown if len(words) == 2]
    beside = [companion(a) == b or companion(b) == a for a, b in two]
    popular = [any(word in POPULAR for word in words) for words in shown]
    return (
        f"Of {count:,} training pictures, {len(two) / count:.0%} show two things, and "
        f"{sum(beside) / len(two):.0%} of these show companions; {sum(popular) / count:.0%} show a popular noun."
    )


def order_loss(count: int = 1000) -> float:
    """What the random order of two nouns costs, in nats per word of a caption: ln 2 for each caption of two things."""
    texts = [Habits().text(index).split() for index in range(count)]
    return math.log(2) * sum("and" in text for text in texts) / sum(map(len, texts))


def next_sentence(shown: Sequence[world.Scene]) -> str:
    """How often the next picture shows the same thing, and how many combinations there are."""
    same = [a.words == b.words for a, b in zip(shown, [*shown[1:], shown[0]])]
    kinds = {(scene.words, scene.background) for scene in shown}
    return (
        f"It shows the same thing in {sum(same) / len(same):.2f} of cases, as there are only {len(kinds)} "
        "combinations of noun and background."
    )


def text_ids(words: Sequence[str]) -> list[int]:
    return tokenizer.encode(words)[:, 1].tolist()


def noun_log_probs(
    system: PromptedModel,
    shown: Sequence[world.Scene],
    view: View = to_pixels,
    nouns: Sequence[str] = NOUNS,
) -> Tensor:
    """Log-probability of each noun, with its article, as the first thing of the caption of each picture: (N, K)."""
    articles: dict[str, list[int]] = {}
    for number, word in enumerate(nouns):
        articles.setdefault(world.article(word).split()[0], []).append(number)
    found = torch.zeros(len(shown), len(nouns))
    rows = range(len(shown))

    def after(text: str, context: dict | None = None) -> tuple[Tensor, dict]:
        batch = system.prompts([(scene, text) for scene in shown], view).batch(rows)
        context = context or system.model.vision_context(batch["pixel_values"])
        logits = system.model(batch["ids"], padding_mask=batch["padding_mask"], **context)
        return logits[:, -1].log_softmax(-1), context

    with eval_mode(system.model):
        first, context = after(CAPTION)
        for (article, numbers), id in zip(articles.items(), text_ids(list(articles))):
            then, _ = after(f"{CAPTION} {article}", context)
            chosen = text_ids([nouns[number] for number in numbers])
            found[:, numbers] = first[:, [id]] + then[:, chosen]
    return found


def asked_nouns(
    shown: Sequence[world.Scene], sampler: str, absent_nouns: Callable = reference.absent_nouns
) -> list[tuple[str, str]]:
    """For each picture a noun that is there, and one that isn't, chosen in one of three ways."""
    pairs = []
    for index, scene in enumerate(shown):
        rng = SeededRandom("asked for", sampler, index)
        if sampler == "random":
            options = [word for word in NOUNS if word not in scene.words]
        elif sampler == "popular":
            options = absent_nouns(training_words(), scene.words, 4, False)
        else:
            options = absent_nouns(training_words(), scene.words, len(scene.words), True)
        pairs.append((SeededRandom("there", index).choice(scene.words), rng.choice(options)))
    return pairs


def pope(
    yes: Tensor,
    shown: Sequence[world.Scene],
    absent_nouns: Callable = reference.absent_nouns,
    scores: Callable = reference.pope_scores,
) -> dict[str, dict[str, float]]:
    """The scores for each sampler. yes (N, K): which nouns the system claims to be on each picture."""
    found = {}
    for sampler in SAMPLERS:
        said, answers = [], []
        for row, pair in zip(yes, asked_nouns(shown, sampler, absent_nouns)):
            said += ["yes" if row[NOUNS.index(word)] else "no" for word in pair]
            answers += ["yes", "no"]
        found[sampler] = scores(said, answers)
    return found


def likely(log_probs: Tensor) -> Tensor:
    """Yes to every noun that is likelier than a blind choice among all: (N, K) booleans."""
    return log_probs > -math.log(log_probs.shape[1])


def asked_in_words(
    system: PromptedModel,
    shown: Sequence[world.Scene],
    sampler: str,
    scores: Callable = reference.pope_scores,
) -> dict[str, float]:
    """The same pairs asked as questions: 'is there a cat ?', where the likelier of yes and no counts."""
    episodes = []
    for scene, pair in zip(shown, asked_nouns(shown, sampler)):
        for word, answer in zip(pair, ("yes", "no")):
            question = f"question : is there {world.article(word)} ? answer :"
            episodes.append(Episode((scene, question), answer, ("yes", "no")))
    return scores(system.choose(episodes), [episode.answer for episode in episodes])


def language_model_alone(
    scale: Scale,
    shown: Sequence[world.Scene],
    sampler: str,
    scores: Callable = reference.pope_scores,
) -> dict[str, float]:
    """The same questions to the language model, with a true caption in words in the picture's place."""
    pages, answers = [], []
    for scene, pair in zip(shown, asked_nouns(shown, sampler)):
        caption = f"{CAPTION} {' and '.join(map(world.article, scene.words))} ."
        for word, answer in zip(pair, ("yes", "no")):
            pages.append((f"{caption} question : is there {world.article(word)} ? answer :",))
            answers.append(answer)
    lm = recipes.get("language").train_or_load(scale).model
    choices = [("yes", "no")] * len(pages)
    return scores(choose_next_token(lm, Prompts(pages, size=1), choices), answers)


def named_share(captions: Sequence[str], shown: Sequence[world.Scene]) -> float:
    """Share of things on the pictures that their captions name."""
    found = [word in text.split() for text, scene in zip(captions, shown) for word in scene.words]
    return sum(found) / len(found)


def spoiled(episodes: Sequence[Episode], wrong_answers: Callable) -> dict[str, list[Episode]]:
    """The prompts as they are, and spoiled in five ways. wrong_answers: the student's"""

    def answered(episode: Episode, number: int) -> Episode:
        examples, question = corruptions.split_prompt(episode)
        made = wrong_answers(examples, list(episode.choices), SeededRandom("wrong", number))
        return replace(episode, prompt=tuple(part for pair in (*made, question) for part in pair))

    return {
        "as they are": list(episodes),
        "no examples": corruptions.no_examples(episodes),
        "wrong answers": [answered(one, number) for number, one in enumerate(episodes)],
        "another prompt's pictures": few_shot.other_pictures(episodes),
        "examples' pictures grey": corruptions.blank_examples(episodes),
        "the question's picture grey": corruptions.blank_query(episodes),
    }


def binding(count: int, examples: int) -> list[Episode]:
    """Four names that are drawn anew, each bound to a thing by examples."""
    return [few_shot.binding_episode("test", number, examples) for number in range(count)]


def kinds(count: int, examples: int) -> list[Episode]:
    """Which kind of thing is it? Training pages have asked this."""
    web = WebPages("test")
    return [few_shot.question_episode(web, number, "category", examples) for number in range(count)]


def by_task(
    system: PromptedModel, tasks: Mapping[str, Sequence[Episode]], wrong_answers: Callable
) -> dict[str, dict[str, float]]:
    """{task: {how its prompts are spoiled: share of right answers}}"""
    return {
        task: {
            way: episode_accuracy(system.choose, prompts)
            for way, prompts in spoiled(episodes, wrong_answers).items()
        }
        for task, episodes in tasks.items()
    }


def most_frequent(episodes: Sequence[Episode]) -> float:
    """Accuracy of always giving the most frequent answer."""
    given = [episode.answer for episode in episodes]
    return max(map(given.count, given)) / len(given)
