"""Questions made to find out what a model can't do, and what its prompts are good for: presence of what is not there, captions
with two things exchanged, sums on signs, and prompts whose examples are spoilt in one way.

All are Episodes (see pages.py): a prompt, the right answer, and the answers to choose among. A picture may be a Sign.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from math import factorial

import numpy as np
import torch
from torch import Tensor

from vlmcourse.world import tokenizer
from vlmcourse.world.co_occurrence import Picture, companion, popular_nouns, render_picture
from vlmcourse.world.digits import Sign, sign
from vlmcourse.world.few_shot import other_pictures
from vlmcourse.world.minimal_pairs import SceneChange, caption_choices
from vlmcourse.world.nouns import article
from vlmcourse.world.pages import Episode
from vlmcourse.world.prompts import View, pad_left
from vlmcourse.world.rendering import to_pixels
from vlmcourse.world.scenes import Scene, SeededRandom, known_nouns, sample

Part = str | Picture
BLANK = Scene((), "grey")
"""A grey card: in the place of a picture, so that the text keeps its places."""


@dataclass(frozen=True)
class OpenPrompts:
    """Prompts for a model to go on with: `batch(indices)` has `ids` (B, T) padded on the left, `padding_mask` (B, T), `pixel_values`.

    place  what stands in the text for a picture;  end  what closes the text before a picture, such as Flamingo's <EOC>
    """

    pages: Sequence[Sequence[Part]]
    size: int
    image_prefix: str = "<image>"
    view: View = to_pixels
    end: str = ""

    def __len__(self) -> int:
        return len(self.pages)

    def written(self, page: Sequence[Part]) -> str:
        told: list[str] = []
        for part in page:
            told += (
                [part]
                if isinstance(part, str)
                else [*([self.end] if told else []), self.image_prefix]
            )
        return " ".join(filter(None, told))

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        pages = [self.pages[index] for index in indices]
        images = [
            render_picture(part, self.size)
            for page in pages
            for part in page
            if not isinstance(part, str)
        ]
        return {
            **pad_left(tokenizer.encode([self.written(page) for page in pages])),
            "pixel_values": self.view(np.stack(images))
            if images
            else torch.empty(0, 3, self.size, self.size),
        }


# Is it there? After POPE (Li et al. 2023, arXiv 2305.10355): as many questions with yes as with no, and three ways to find what
# is not there. Each way is a function (scene, draws) -> absent word.


def random_noun(scene: Scene, draws: SeededRandom) -> str:
    """Anything that is not there."""
    return draws.choice([word for word in known_nouns() if word not in scene.words])


def popular_noun(scene: Scene, draws: SeededRandom) -> str:
    """Something that training showed often."""
    return draws.choice([word for word in popular_nouns() if word not in scene.words])


def adversarial_noun(scene: Scene, draws: SeededRandom) -> str:
    """What training showed beside one of the things that are there."""
    return draws.choice(
        [companion(word) for word in scene.words if companion(word) not in scene.words]
        or [popular_noun(scene, draws)]
    )


ABSENT: dict[str, Callable[[Scene, SeededRandom], str]] = {
    "random": random_noun,
    "popular": popular_noun,
    "adversarial": adversarial_noun,
}


def presence_questions(
    absent: Callable[[Scene, SeededRandom], str], count: int, things: tuple[int, int] = (1, 2)
) -> list[Episode]:
    """Two questions about each of `count` held-out scenes: is there something that is there, and something that is not?

    The first questions are the same whatever `absent` is.
    """
    made = []
    for index in range(count):
        scene = sample("test", index, 0, things)
        asked = {
            "yes": SeededRandom("there", index).choice(scene.words),
            "no": absent(scene, SeededRandom("absent", index)),
        }
        made += [
            Episode(
                (scene, f"question : is there {article(word)} ? answer :"), answer, ("yes", "no")
            )
            for answer, word in asked.items()
        ]
    return made


# What is where? And what is written there?


def caption_questions(
    change: SceneChange, count: int, things: tuple[int, int] = (2, 2)
) -> list[Episode]:
    """Which caption fits: the scene's, or the one of the scene after `swap`? Same words in both, if swap exchanges things."""
    found = caption_choices(change, count=count, things=things)
    return [
        Episode((scene,), right, tuple(SeededRandom("which", index).sample((right, wrong), 2)))
        for index, (scene, right, wrong) in enumerate(found)
    ]


def digit_sums(count: int, shots: int = 2) -> list[Episode]:
    """Signs of two digits to be added, after solved ones ('= 3 .'): numbers of the test split, examples of the training split."""
    digits = tuple(map(str, range(10)))

    def small(split: str, start: int) -> Sign:
        """The first sign from number `start` on whose digits' sum is one digit."""
        return next(
            one
            for number in range(start, start + 1000)
            if _sum(one := sign(split, number, 0, (2, 2))) <= 9
        )

    made = []
    for index in range(count):
        parts: list[Part] = []
        for shot in range(shots):
            solved = small("train", 1000 * (index * shots + shot))
            parts += [solved, f"= {_sum(solved)} ."]
        asked = small("test", 1000 * index)
        made.append(Episode((*parts, asked, "="), str(_sum(asked)), digits))
    return made


def _sum(one: Sign) -> int:
    return sum(map(int, one.number.split()))


def sums_as_text(episodes: Sequence[Episode]) -> list[Episode]:
    """The same sums, written: '2 + 1' in the place of the sign. Whoever fails here can't add, whatever it sees."""
    return [
        replace(
            one,
            prompt=(
                " ".join(
                    " + ".join(part.number.split()) if isinstance(part, Sign) else part
                    for part in one.prompt
                ),
            ),
        )
        for one in episodes
    ]


# Prompts with examples, spoilt.


def split_prompt(episode: Episode) -> tuple[list[tuple[Picture, str]], tuple[Picture, str]]:
    """The solved examples, and what is asked. Raises ValueError unless pictures and texts take turns."""
    parts = episode.prompt
    if len(parts) % 2 or any(
        isinstance(part, str) != bool(place % 2) for place, part in enumerate(parts)
    ):
        raise ValueError(
            "a prompt in which pictures and texts don't take turns; expected picture, text, picture, text, ... as "
            "pages.few_shot and shots.binding make them."
        )
    pairs = list(zip(parts[::2], parts[1::2]))
    return pairs[:-1], pairs[-1]


def _with(
    episode: Episode,
    examples: Sequence[tuple[Picture, str]],
    asked: tuple[Picture, str] | None = None,
) -> Episode:
    asked = asked or split_prompt(episode)[1]
    return replace(episode, prompt=tuple(part for pair in (*examples, asked) for part in pair))


def rotated(episodes: Sequence[Episode]) -> list[Episode]:
    """Each example's text with the picture of the example before it (the first with the last's): the same parts, mismatched."""
    made = []
    for one in episodes:
        examples, _ = split_prompt(one)
        pictures = [picture for picture, _ in examples]
        made.append(
            _with(one, list(zip(pictures[-1:] + pictures[:-1], (text for _, text in examples))))
        )
    return made


def blank_examples(episodes: Sequence[Episode]) -> list[Episode]:
    """The examples' pictures are grey cards; the question keeps its picture."""
    return [_with(one, [(BLANK, text) for _, text in split_prompt(one)[0]]) for one in episodes]


def wrong_labels(episodes: Sequence[Episode]) -> list[Episode]:
    """The examples' answers are others of the possible ones, at random (Min et al. 2022, arXiv 2202.12837).

    Raises ValueError if an example doesn't end with one of the choices and a full stop.
    """
    made = []
    for index, one in enumerate(episodes):
        draws, examples = SeededRandom("relabelled", index), []
        for picture, text in split_prompt(one)[0]:
            *before, answer, stop = text.split()
            if answer not in one.choices or stop != ".":
                raise ValueError(
                    f"the example {text!r} ends with none of the answers {', '.join(one.choices[:4])}, ..."
                )
            wrong = draws.choice([choice for choice in one.choices if choice != answer])
            article_first = (
                before and before[-1] in ("a", "an") and before[:-1][-2:] == ["this", "is"]
            )
            examples.append(
                (
                    picture,
                    " ".join(
                        [
                            *(before[:-1] if article_first else before),
                            article(wrong) if article_first else wrong,
                            stop,
                        ]
                    ),
                )
            )
        made.append(_with(one, examples))
    return made


def blank_query(episodes: Sequence[Episode]) -> list[Episode]:
    """What is asked about is a grey card; the examples keep their pictures."""
    return [_with(one, split_prompt(one)[0], (BLANK, split_prompt(one)[1][1])) for one in episodes]


def no_examples(episodes: Sequence[Episode]) -> list[Episode]:
    """No examples."""
    return [_with(one, ()) for one in episodes]


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
recognises which task it is will not mind wrong answers and swapped pictures."""


def example_orders(episodes: Sequence[Episode], most: int = 24) -> list[list[Episode]]:
    """The same episodes with their examples in other orders, at most `most` different ones, the given order first."""
    if len(counts := {len(split_prompt(one)[0]) for one in episodes}) != 1:
        raise ValueError(
            f"prompts with {sorted(counts)} examples; expected the same number in all."
        )
    (number,) = counts
    if factorial(number) <= most:
        chosen = list(permutations(range(number)))
    else:
        draws = SeededRandom("orders", number)
        chosen = list(
            dict.fromkeys(
                [
                    tuple(range(number)),
                    *(tuple(draws.sample(range(number), number)) for _ in range(4 * most)),
                ]
            )
        )[:most]
    return [
        [_with(one, [split_prompt(one)[0][place] for place in order]) for one in episodes]
        for order in chosen
    ]


def other_examples(episodes: Sequence[Episode], draws: int) -> list[list[Episode]]:
    """The same questions with the examples of other episodes, `draws` times. For tasks whose answers don't hang on a context."""
    if draws >= len(episodes):
        raise ValueError(
            f"{draws} choices of examples from {len(episodes)} episodes; expected fewer choices than episodes."
        )
    return [
        [
            _with(one, split_prompt(episodes[(number + away) % len(episodes)])[0])
            for number, one in enumerate(episodes)
        ]
        for away in range(draws)
    ]
