"""Questions that show what a model cannot do, and prompts whose examples are corrupted in one way, to see what they are good for.

All are Episodes (see pages.py): a prompt, the right answer, and the answers to choose among. A picture may be a Sign.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations
from math import factorial

from vlmcourse.world.co_occurrence import companion, popular_nouns
from vlmcourse.world.digits import Picture, Sign, sign
from vlmcourse.world.few_shot import other_pictures
from vlmcourse.world.minimal_pairs import SceneChange, caption_choices
from vlmcourse.world.nouns import article
from vlmcourse.world.pages import Episode, Part
from vlmcourse.world.scenes import Scene, SeededRandom, known_nouns, sample

BLANK = Scene((), "grey")
"""A grey card in the place of a picture, so that the text keeps its positions."""
Example = tuple[Picture, str]


# Presence, after POPE (Li et al. 2023, arXiv 2305.10355): as many questions with yes as with no, and three ways to choose what is
# absent, each a function (scene, rng) -> absent word.


def random_noun(scene: Scene, rng: SeededRandom) -> str:
    """Any noun that is absent."""
    return rng.choice([word for word in known_nouns() if word not in scene.words])


def popular_noun(scene: Scene, rng: SeededRandom) -> str:
    """An absent noun that training showed often."""
    return rng.choice([word for word in popular_nouns() if word not in scene.words])


def adversarial_noun(scene: Scene, rng: SeededRandom) -> str:
    """An absent noun that training showed beside one that is present."""
    companions = [companion(word) for word in scene.words if companion(word) not in scene.words]
    return rng.choice(companions or [popular_noun(scene, rng)])


ABSENT: dict[str, Callable[[Scene, SeededRandom], str]] = {
    "random": random_noun,
    "popular": popular_noun,
    "adversarial": adversarial_noun,
}


def presence_questions(
    absent: Callable[[Scene, SeededRandom], str], count: int, things: tuple[int, int] = (1, 2)
) -> list[Episode]:
    """Two questions about each of `count` held-out scenes: one about something present, one about something absent.

    The questions about present things are the same whatever `absent` is.
    """
    episodes = []
    for index in range(count):
        scene = sample("test", index, 0, things)
        present = SeededRandom("there", index).choice(scene.words)
        for answer, word in (
            ("yes", present),
            ("no", absent(scene, SeededRandom("absent", index))),
        ):
            prompt = scene, f"question : is there {article(word)} ? answer :"
            episodes.append(Episode(prompt, answer, ("yes", "no")))
    return episodes


# Positions and digits.


def caption_questions(
    change: SceneChange, count: int, things: tuple[int, int] = (2, 2)
) -> list[Episode]:
    """Which caption fits: the scene's, or that of the changed scene? Both have the same words if `change` is swap_positions."""
    return [
        Episode((scene,), right, tuple(SeededRandom("which", index).sample((right, wrong), 2)))
        for index, (scene, right, wrong) in enumerate(
            caption_choices(change, count=count, things=things)
        )
    ]


def digit_sums(count: int, shots: int = 2) -> list[Episode]:
    """Signs of two digits to add, after solved ones ('= 3 .'): numbers of the test split, examples of the training split."""
    digits = tuple(map(str, range(10)))

    def small(split: str, start: int) -> Sign:
        """The first sign from number `start` on whose digits' sum is one digit."""
        signs = (sign(split, number, 0, (2, 2)) for number in range(start, start + 1000))
        return next(candidate for candidate in signs if _sum(candidate) <= 9)

    episodes = []
    for index in range(count):
        parts: list[Part] = []
        for shot in range(shots):
            example = small("train", 1000 * (index * shots + shot))
            parts += [example, f"= {_sum(example)} ."]
        question = small("test", 1000 * index)
        episodes.append(Episode((*parts, question, "="), str(_sum(question)), digits))
    return episodes


def _sum(picture: Sign) -> int:
    return sum(map(int, picture.number.split()))


def sums_as_text(episodes: Sequence[Episode]) -> list[Episode]:
    """The same sums as text, '2 + 1' instead of the sign: can the language model add at all?"""

    def as_text(part: Part) -> str:
        return " + ".join(part.number.split()) if isinstance(part, Sign) else part

    return [
        replace(episode, prompt=(" ".join(map(as_text, episode.prompt)),)) for episode in episodes
    ]


# Prompts with examples, corrupted.


def split_prompt(episode: Episode) -> tuple[list[Example], Example]:
    """The solved examples, and the question. Raises ValueError unless pictures and texts alternate."""
    parts = episode.prompt
    alternate = all(isinstance(part, str) == bool(index % 2) for index, part in enumerate(parts))
    if len(parts) % 2 or not alternate:
        raise ValueError(
            "a prompt in which pictures and texts don't take turns; expected picture, text, picture, text, ... as "
            "pages.vqa_episode and few_shot.binding_episode make them."
        )
    pairs = list(zip(parts[::2], parts[1::2]))
    return pairs[:-1], pairs[-1]


def _with(
    episode: Episode, examples: Sequence[Example], question: Example | None = None
) -> Episode:
    question = question or split_prompt(episode)[1]
    return replace(episode, prompt=tuple(part for pair in (*examples, question) for part in pair))


def rotated(episodes: Sequence[Episode]) -> list[Episode]:
    """Each example's text with the picture of the example before it (the first with the last's)."""
    corrupted = []
    for episode in episodes:
        examples, _ = split_prompt(episode)
        pictures, texts = [picture for picture, _ in examples], [text for _, text in examples]
        corrupted.append(_with(episode, list(zip(pictures[-1:] + pictures[:-1], texts))))
    return corrupted


def blank_examples(episodes: Sequence[Episode]) -> list[Episode]:
    """The examples' pictures are blank; the question keeps its picture."""
    return [
        _with(episode, [(BLANK, text) for _, text in split_prompt(episode)[0]])
        for episode in episodes
    ]


def wrong_labels(episodes: Sequence[Episode]) -> list[Episode]:
    """The examples' answers are replaced by other choices at random (Min et al. 2022, arXiv 2202.12837).

    Raises ValueError if an example doesn't end with one of the choices and a full stop.
    """
    corrupted = []
    for index, episode in enumerate(episodes):
        rng = SeededRandom("relabelled", index)
        examples = [
            (picture, _relabel(text, episode.choices, rng))
            for picture, text in split_prompt(episode)[0]
        ]
        corrupted.append(_with(episode, examples))
    return corrupted


def _relabel(text: str, choices: Sequence[str], rng: SeededRandom) -> str:
    *before, answer, stop = text.split()
    if answer not in choices or stop != ".":
        raise ValueError(
            f"the example {text!r} ends with none of the answers {', '.join(choices[:4])}, ..."
        )
    wrong = rng.choice([choice for choice in choices if choice != answer])
    if before[-3:] in (["this", "is", "a"], ["this", "is", "an"]):
        return " ".join([*before[:-1], article(wrong), stop])
    return " ".join([*before, wrong, stop])


def blank_query(episodes: Sequence[Episode]) -> list[Episode]:
    """The question's picture is blank; the examples keep their pictures."""
    split = [(episode, *split_prompt(episode)) for episode in episodes]
    return [_with(episode, examples, (BLANK, text)) for episode, examples, (_, text) in split]


def no_examples(episodes: Sequence[Episode]) -> list[Episode]:
    """The question alone."""
    return [_with(episode, ()) for episode in episodes]


CORRUPTIONS: dict[str, Callable[[Sequence[Episode]], list[Episode]]] = {
    "as they are": list,
    "no examples": no_examples,
    "another prompt's pictures": other_pictures,
    "pictures swapped": rotated,
    "grey pictures": blank_examples,
    "wrong answers": wrong_labels,
    "the question's picture grey": blank_query,
}
"""What may be done to the examples of a prompt. A model that learns the task from them needs all of it right; one that only
recognises which task it is does not mind wrong answers and swapped pictures."""


def example_orders(episodes: Sequence[Episode], max_orders: int = 24) -> list[list[Episode]]:
    """The same episodes with their examples in other orders, at most `max_orders` different ones, the given order first."""
    if len(counts := {len(split_prompt(episode)[0]) for episode in episodes}) != 1:
        raise ValueError(
            f"prompts with {sorted(counts)} examples; expected the same number in all."
        )
    (number,) = counts
    if factorial(number) <= max_orders:
        orders = list(permutations(range(number)))
    else:
        rng = SeededRandom("orders", number)
        shuffled = [tuple(rng.sample(range(number), number)) for _ in range(4 * max_orders)]
        orders = list(dict.fromkeys([tuple(range(number)), *shuffled]))[:max_orders]
    return [
        [
            _with(episode, [split_prompt(episode)[0][index] for index in order])
            for episode in episodes
        ]
        for order in orders
    ]


def other_examples(episodes: Sequence[Episode], count: int) -> list[list[Episode]]:
    """The same questions with the examples of other episodes, `count` times. For tasks whose answers don't depend on a context.

    Raises ValueError unless there are more episodes than `count`.
    """
    if count >= len(episodes):
        raise ValueError(
            f"{count} choices of examples from {len(episodes)} episodes; expected fewer choices than episodes."
        )
    return [
        [
            _with(episode, split_prompt(episodes[(number + away) % len(episodes)])[0])
            for number, episode in enumerate(episodes)
        ]
        for away in range(count)
    ]
