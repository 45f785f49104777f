"""Text and pictures interleaved: pages like the web's (M3W of the Flamingo paper), and few-shot episodes like Frozen's.

Both are sequences of parts, each a text or a Scene; `tagged` writes them as the models read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from vlmcourse.world.captions import detailed
from vlmcourse.world.digits import Picture
from vlmcourse.world.nouns import article, noun, nouns
from vlmcourse.world.questions import Question, answers, ask
from vlmcourse.world.scenes import (
    BACKGROUNDS,
    Scene,
    SeededRandom,
    arrange,
    known_nouns,
    novel_nouns,
    sample,
    split_of,
)
from vlmcourse.world.tokenizer import INVENTED
from vlmcourse.world.videos import Video

Part = str | Picture | Video
Page = Sequence[Part]


def page_text(page: Page, image_prefix: str = "<image>", end_of_chunk: str = "") -> str:
    """One text: each picture becomes `image_prefix`; `end_of_chunk` closes what was said before each picture but a first one
    (Flamingo's <EOC>, Sec. A.3.1)."""
    words: list[str] = []
    for part in page:
        if isinstance(part, str):
            words.append(part)
        else:
            words += [*([end_of_chunk] if words and end_of_chunk else []), image_prefix]
    return " ".join(filter(None, words))


def pictures_of(page: Page) -> tuple[Picture | Video, ...]:
    """The pictures, in the order of their image tokens."""
    return tuple(part for part in page if not isinstance(part, str))


def page(
    split: str, index: int, seed: int = 0, pictures: tuple[int, int] = (1, 5)
) -> tuple[Part, ...]:
    """A page: facts before the first picture, too, and captions that stand before their picture on half of the pages.

    Which pages is not said anywhere, as on the web: a model must cope (Flamingo draws p_next = 1/2 for that).
    """
    rng = SeededRandom("page", seed, split, index)
    caption_first = rng.random() < 0.5
    parts: list[Part] = [_fact(rng)]
    for number in range(pictures[0] + int(rng.random() * (pictures[1] - pictures[0] + 1))):
        scene = sample(split, 1000 * index + number, seed)
        sentence = f"{detailed(scene, rng)} ."
        parts += [sentence, scene] if caption_first else [scene, sentence]
        if rng.random() < 0.3:
            parts.append(_fact(rng))
    return tuple(parts)


def _fact(rng: SeededRandom) -> str:
    """A sentence about a noun that need not be on any picture."""
    subject = noun(rng.choice(known_nouns()))
    return rng.choice(
        (
            f"{article(subject.word)} is {article(subject.category)} .",
            f"you can find {article(subject.word)} in the {subject.place} .",
            f"{article(subject.word)} is {subject.size} .",
        )
    )


@dataclass(frozen=True)
class Episode:
    """A prompt of parts that ends with an open sentence, the right answer, and the answers to choose among."""

    prompt: tuple[Part, ...]
    answer: str
    choices: tuple[str, ...]


def single_thing(word: str, split: str, rng: SeededRandom) -> Scene:
    """A scene of one thing that belongs to the split. Raises ValueError if there is none."""
    if not (fitting := _backgrounds(word, split)):
        raise ValueError(f"'{word}' alone is in no scene of split '{split}'.")
    return arrange((word,), rng.choice(fitting), rng)


def _backgrounds(word: str, split: str) -> list[str]:
    return [background for background in BACKGROUNDS if split_of((word,), background) == split]


@cache
def nouns_of_split(split: str, noun_subset: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The nouns (of a subset, or all) that can be alone in a scene of the split."""
    words = noun_subset or tuple(noun.word for noun in nouns())
    return tuple(word for word in words if _backgrounds(word, split))


def naming_episode(
    split: str,
    index: int,
    seed: int = 0,
    ways: int = 2,
    shots: int = 1,
    repeats: int = 0,
    induction: bool = True,
) -> Episode:
    """Fast binding of invented words (Frozen, Sec. 4.3, Open-Ended miniImageNet): 'this is a dax', ..., 'this is a' -> dax.

    ways       how many things get an invented name
    shots      different pictures of each thing ("inner shots")
    repeats    how often each of them is shown again ("repeats")
    induction  a sentence first that names the task ("task induction")
    split      the things' nouns are training's (train, test: on backgrounds training has not shown) or novel
    """
    if not 2 <= ways <= min(len(INVENTED), len(novel_nouns())) or shots < 1 or repeats < 0:
        raise ValueError(
            f"{ways} ways, {shots} shots, {repeats} repeats; expected 2 to "
            f"{min(len(INVENTED), len(novel_nouns()))} ways, at least 1 shot, and repeats from 0."
        )
    rng = SeededRandom("naming", seed, split, index, ways, shots, repeats)
    words = rng.sample(nouns_of_split(split), ways)
    names = rng.sample(INVENTED, ways)
    shown = [
        (single_thing(word, split, rng), name)
        for _ in range(shots)
        for word, name in zip(words, names)
    ]
    shown = [example for _ in range(1 + repeats) for example in rng.sample(shown, len(shown))]
    parts: list[Part] = [f"answer with {' or '.join(names)} ."] if induction else []
    for scene, name in shown:
        parts += [scene, f"this is {article(name)} ."]
    target = int(rng.random() * ways)
    parts += [
        single_thing(words[target], split, rng),
        "question : what is this ? answer : this is a",
    ]
    return Episode(tuple(parts), names[target], tuple(names))


def question_prompt(question: Question) -> str:
    """A question as text that waits for its answer: every model that answers reads it in this form."""
    return f"question : {question.text} answer :"


def vqa_episode(
    split: str, index: int, kind: str, shots: int, seed: int = 0, things: tuple[int, int] = (1, 4)
) -> Episode:
    """Visual question answering with solved examples of the same kind before it, about scenes of so many `things`.

    With more shots the question itself stays the same, and so do the examples that were there: scores of different
    numbers of shots are of the same questions.
    """
    rng = SeededRandom("few-shot", seed, split, index, kind)
    pairs = [
        (scene := sample(split, 1000 * index + number, seed, things), ask(scene, rng, (kind,)))
        for number in range(shots + 1)
    ]
    (scene, question), *examples = pairs
    parts: list[Part] = []
    for shown, solved in reversed(examples):
        parts += [shown, f"{question_prompt(solved)} {solved.answer} ."]
    return Episode((*parts, scene, question_prompt(question)), question.answer, answers(kind))
