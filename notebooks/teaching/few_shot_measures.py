"""Lesson 12: what models answer to prompts that the student's functions made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from teaching import few_shot_reference as reference
from teaching.few_shot_model import Prompt, TextPrompts, features_of, open_prompts
from vlmcourse import evaluation, world
from vlmcourse.papers.flamingo import Flamingo
from vlmcourse.recipes.features import FeatureCache
from vlmcourse.training.scale import Scale
from vlmcourse.world import few_shot, interleaved, tokenizer
from vlmcourse.world.pages import Episode
from vlmcourse.world.prompts import pad_left

PROMPT = reference.few_shot_prompt
"""The course's own, for what comes before the exercise."""
KNOWING = ("category", "place", "purpose")
TEST = interleaved.WebPages("test")


@lru_cache(4)
def seen_by(model: Flamingo, size: int) -> FeatureCache:
    """What the model's frozen vision encoder gives for pictures."""
    return FeatureCache(model.vision, size)


@torch.no_grad()
def next_log_probs(
    model: Flamingo, prompts: Sequence[tuple[str, list]], cache: FeatureCache, blank: bool = False
) -> Tensor:
    """Log-probabilities (N, V) of the word after each prompt. blank: every picture is the same grey."""
    found = []
    for start in range(0, len(prompts), 64):
        part = prompts[start : start + 64]
        batch = pad_left(tokenizer.encode([text for text, _ in part]))
        shown = [(picture,) for _, pictures in part for picture in pictures]
        features = cache(shown)["features"]
        if blank:
            grey = world.prompts.blank_images(world.render(shown[0][0], cache.size)[None])
            features = cache.encoder(grey)[None].expand_as(features)
        logits = model(
            batch["ids"], padding_mask=batch["padding_mask"], media=model.resample(features)
        )
        found.append(logits[:, -1].log_softmax(-1))
    return torch.cat(found)


def word_ids(words: Sequence[str]) -> Tensor:
    """Ids of single words."""
    return torch.tensor(tokenizer.world_tokenizer().convert_tokens_to_ids(list(words)))


def chosen(
    model: Flamingo,
    episodes: Sequence[Episode],
    prompt: Prompt,
    cache: FeatureCache,
    blank: bool = False,
) -> list[str]:
    """The likeliest of the choices of each episode."""
    scores = next_log_probs(model, open_prompts(episodes, prompt), cache, blank)
    return [
        episode.choices[int(row[word_ids(episode.choices)].argmax())]
        for row, episode in zip(scores, episodes)
    ]


def right(model, episodes: Sequence[Episode], prompt: Prompt, cache, blank: bool = False) -> float:
    """Share of episodes whose likeliest choice is the right one."""
    answers = chosen(model, episodes, prompt, cache, blank)
    return evaluation.exact_match(answers, [episode.answer for episode in episodes])


def shot_curve(
    model: Flamingo, prompt: Prompt, count: int, shots: Sequence[int]
) -> dict[int, float]:
    """Right new names of four, by number of examples."""
    cache = seen_by(model, model.vision.vit.image_size)
    return {
        k: right(
            model, [few_shot.binding_episode("test", i, k) for i in range(count)], prompt, cache
        )
        for k in shots
    }


def renamed(episode: Episode, rename: Callable) -> Episode:
    """The episode with the student's other names."""
    *parts, query, start = episode.prompt
    examples, answer = rename(
        list(zip(parts[0::2], parts[1::2])), episode.answer, list(episode.choices)
    )
    flat = [part for example in examples for part in example]
    return replace(episode, prompt=(*flat, query, start), answer=answer)


def controls(
    model: Flamingo, prompt: Prompt, rename: Callable, cache: FeatureCache, count: int, shots: int
) -> dict[str, float]:
    """Shares of answers to the same questions: as they are, and with three changes of the prompt."""
    asked = [few_shot.binding_episode("test", index, shots) for index in range(count)]
    other = [renamed(episode, rename) for episode in asked]
    answers = chosen(model, other, prompt, cache)
    return {
        "as it is: right name": right(model, asked, prompt, cache),
        "pictures of another prompt: right name": right(
            model, few_shot.other_pictures(asked), prompt, cache
        ),
        "all pictures grey: right name": right(model, asked, prompt, cache, blank=True),
        "renamed: the new name": evaluation.exact_match(answers, [e.answer for e in other]),
        "renamed: the old name": evaluation.exact_match(answers, [e.answer for e in asked]),
    }


def written(model: Flamingo, prompts: Sequence[tuple[str, list]], size: int) -> list[str]:
    """What the model writes after each prompt, greedily: at most four tokens."""
    return evaluation.generate_texts(model, TextPrompts(prompts, size), max_new_tokens=4, batch=64)


def last_examples(episode: Episode, count: int) -> Episode:
    """The same question after the last `count` of its examples."""
    return replace(episode, prompt=episode.prompt[-2 * count - 2 :])


def open_and_closed(
    model: Flamingo,
    prompt: Prompt,
    open_score: Callable,
    size: int,
    count: int,
    shots: Sequence[int],
) -> dict[str, dict[str, float]]:
    """Questions about facts: share of right answers written freely, chosen among those of their kind, and by a rule.

    The questions of a kind are the same after each number of examples.
    """
    found = {}
    for kind in KNOWING:
        longest = [few_shot.question_episode(TEST, i, kind, max(shots)) for i in range(count)]
        for k in shots:
            asked = [last_examples(episode, k) for episode in longest]
            texts = written(model, open_prompts(asked, prompt), size)
            found[f"{kind}, {k} examples"] = {
                "written freely": open_score(texts, [episode.answer for episode in asked]),
                "chosen among options": right(model, asked, prompt, seen_by(model, size)),
                "rule: always the commonest answer": commonest(asked),
            }
    return found


def commonest(asked: Sequence[Episode]) -> float:
    """Share of the questions whose answer is the one that is right most often."""
    answers = [episode.answer for episode in asked]
    return max(map(answers.count, answers)) / len(answers)


def samples(model: Flamingo, prompt: Prompt, size: int, kinds: Sequence[str]) -> list[str]:
    """What the model writes after one question of each kind, beside the right answer."""
    lines = []
    for kind in kinds:
        episode = few_shot.question_episode(TEST, 3, kind, 0)
        (text,) = written(model, open_prompts([episode], prompt), size)
        scene, question = episode.prompt
        lines.append(f"({scene.words[0]}) {question} -> {text.strip()!r} (right: {episode.answer})")
    return lines


@torch.no_grad()
def option_logits(
    model: Flamingo, text: str, pictures: Sequence, options: Sequence[str], cache: FeatureCache
) -> tuple[Tensor, Tensor, int, int]:
    """One row for each option: logits (O, T, V), ids (O, T), the position where options begin, the id of padding."""
    ids = tokenizer.encode([f"{text} {option}" for option in options])
    ids = ids.masked_fill(ids == tokenizer.EOS, tokenizer.PAD)
    features = cache([(picture,) for picture in pictures])["features"]
    media = model.resample(features).repeat(len(options), 1, 1)
    first = len(tokenizer.split_words(text)) + 1  # after <bos>
    return model(ids, media=media), ids, first, tokenizer.PAD


def descriptions(scene) -> dict[str, str]:
    """Four descriptions of a picture of one thing: two are true, two are short."""
    (word,) = scene.words
    nouns = world.known_nouns()
    other = nouns[(nouns.index(word) + 7) % len(nouns)]
    return {
        "true, long": f"{world.article(word)} on {scene.background} .",
        "true, short": f"{world.article(word)} .",
        "another thing, long": f"{world.article(other)} on {scene.background} .",
        "another thing, short": f"{world.article(other)} .",
    }


def description_probabilities(
    model: Flamingo, option_probabilities: Callable, prompt: Prompt, cache: FeatureCache, count: int
) -> dict[str, float]:
    """Mean probability of each kind of description among the four, over held-out pictures."""
    found: dict[str, list[float]] = {}
    for index in range(count):
        scene = TEST.single_thing(index)
        options = descriptions(scene)
        text, pictures = prompt([], scene, "a picture of")
        inputs = option_logits(model, text, pictures, list(options.values()), cache)
        for kind, share in zip(options, option_probabilities(*inputs).tolist()):
            found.setdefault(kind, []).append(share)
    return {kind: sum(values) / len(values) for kind, values in found.items()}


WAYS, EACH = 8, 4
"""Things with new names, and pictures of each, in a pool from which examples are chosen."""


def pool_of(index: int) -> tuple[list, list[str], object, str, list[str]]:
    """A pool of labelled pictures: pictures, their names; a query, its name; all names."""
    draws = world.SeededRandom("retrieval", index)
    words = draws.sample(world.pages.nouns_of_split("test"), WAYS)
    names = draws.sample(tokenizer.INVENTED, WAYS)
    pictures, labels = [], []
    for word, name in zip(words, names):
        scenes = interleaved.single_thing_scenes("train", word, 0)
        pictures += draws.sample(scenes, EACH)
        labels += [name] * EACH
    target = int(draws.random() * WAYS)
    return (
        pictures,
        labels,
        world.pages.single_thing(words[target], "test", draws),
        names[target],
        names,
    )


def retrieved(scale: Scale, choose: Callable | None, count: int, shots: int) -> list[Episode]:
    """Prompts whose examples were chosen from a pool: by `choose` (queries, pool, k), or at random."""
    cache, found = features_of(scale), []
    for index in range(count):
        pictures, labels, query, answer, names = pool_of(index)
        if choose is None:
            picked = world.SeededRandom("at random", index).sample(range(len(pictures)), shots)
        else:
            vectors = cache.pictures([query, *pictures])[:, 0]
            picked = choose(vectors[:1], vectors[1:], shots)[0].tolist()
        parts: list = []
        for number in picked:
            parts += [pictures[number], f"this is {world.article(labels[number])} ."]
        found.append(Episode((*parts, query, "this is a"), answer, tuple(names)))
    return found


def names_shown(episodes: Sequence[Episode]) -> tuple[list[list[str]], list[str]]:
    """The names in each prompt, in their order, and the right answers."""
    texts = [
        [part for part in episode.prompt[:-1] if isinstance(part, str)] for episode in episodes
    ]
    return [[text.split()[-2] for text in row] for row in texts], [e.answer for e in episodes]


def some_orders(count: int, orders: int, seed: int = 0) -> list[list[int]]:
    """Random permutations of `count` examples; the first leaves them as they are."""
    draws = world.SeededRandom("orders", seed)
    return [list(range(count)), *(draws.sample(range(count), count) for _ in range(orders - 1))]


def over_orders(
    model: Flamingo, episodes: Sequence[Episode], prompt: Prompt, ensemble: Callable, cache, orders
) -> tuple[list[float], float, float]:
    """Share right in each order; of the ensemble; and how many questions are answered differently in different orders."""

    def score_of(query, start, choices):
        def score(examples):
            text = [prompt(examples, query, start)]
            return next_log_probs(model, text, cache)[0, word_ids(choices)]

        return score

    each, together, flips = [0.0] * len(orders), 0, 0
    for episode in episodes:
        *parts, query, start = episode.prompt
        examples = [(p, t.removesuffix(" .")) for p, t in zip(parts[0::2], parts[1::2])]
        score = lru_cache(None)(score_of(query, start, episode.choices))
        reordered = [tuple(examples[i] for i in order) for order in orders]
        picks = [int(score(one).argmax()) for one in reordered]
        target = episode.choices.index(episode.answer)
        each = [total + (pick == target) for total, pick in zip(each, picks)]
        joint = ensemble(lambda chosen, score=score: score(tuple(chosen)), examples, orders)
        together += int(joint.argmax()) == target
        flips += len(set(picks)) > 1
    count = len(episodes)
    return [total / count for total in each], together / count, flips / count
