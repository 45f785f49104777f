"""What a caption is worth: BLEU-4, CIDEr-D, and, since the world knows its scenes, an exact F1 of what is said.

Texts are cut into words by the course's tokenizer (lower case, no punctuation); official scores use PTB's. Scores are
fractions: papers print BLEU x 100 and CIDEr x 100 (BLIP's 1.331 is their 133.1).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vlmcourse.world import tokenizer
from vlmcourse.world.nouns import nouns
from vlmcourse.world.scenes import BACKGROUNDS, Scene, known_nouns

Grams = Counter[tuple[str, ...]]


def _words(text: str) -> list[str]:
    return [word for word in tokenizer.split_words(text) if word.isalnum()]


def _grams(words: Sequence[str], n: int) -> Grams:
    return Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))


def _check(said: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if len(said) != len(references) or not said:
        raise ValueError(
            f"{len(said)} captions and references for {len(references)}; expected as many, and at least one."
        )
    if missing := [
        index for index, given in enumerate(references) if not given or isinstance(given, str)
    ]:
        raise ValueError(
            f"caption {missing[0]} has no list of references; expected at least one text in it."
        )


def bleu4(said: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU of n-grams up to 4 over the whole set (Papineni et al. 2002): counts are summed before they are divided.

    A caption's n-gram counts at most as often as in the reference that has it most. Too short a set is punished; each
    caption's reference length is the nearest one's, of two equally near the shorter.
    """
    _check(said, references)
    right, all_of = [0] * 4, [0] * 4
    length = wanted = 0
    for text, given in zip(said, references):
        words, others = _words(text), [_words(one) for one in given]
        length += len(words)
        wanted += min((abs(len(other) - len(words)), len(other)) for other in others)[1]
        for n in range(4):
            mine = _grams(words, n + 1)
            most: Counter[tuple[str, ...]] = Counter()
            for other in others:
                most |= _grams(other, n + 1)
            right[n] += (mine & most).total()
            all_of[n] += mine.total()
    if min(right) == 0:
        return 0.0
    return math.exp(
        min(0.0, 1 - wanted / length) + sum(math.log(r / a) for r, a in zip(right, all_of)) / 4
    )


def cider(said: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of each caption, 0 to 10 (Vedantam et al. 2015, Sec. 3 and 6): their mean is the set's score.

    Cosine of n-gram counts, n = 1 to 4, weighted by how few pictures' references hold the n-gram; a caption's count is cut
    to the reference's, and another length than the reference's is punished. Of a single picture every weight is ln(1) = 0,
    and so is the score.
    """
    _check(said, references)
    given = [
        [[_grams(_words(one), n) for n in range(1, 5)] for one in texts] for texts in references
    ]
    rows = [[_grams(_words(text), n) for n in range(1, 5)] for text in said]
    pictures_with = Counter(
        gram
        for texts in given
        for gram in {gram for one in texts for grams in one for gram in grams}
    )

    def weighted(grams: Grams) -> dict[tuple[str, ...], float]:
        return {
            gram: count * (math.log(len(said)) - math.log(max(1, pictures_with[gram])))
            for gram, count in grams.items()
        }

    def similarity(mine: list[Grams], theirs: list[Grams]) -> float:
        apart = (
            mine[1].total() - theirs[1].total()
        )  # length is the number of bigrams, as in the official code
        score = 0.0
        for one, other in zip(map(weighted, mine), map(weighted, theirs)):
            norm = math.sqrt(sum(w * w for w in one.values()) * sum(w * w for w in other.values()))
            if norm:
                score += (
                    sum(
                        min(w, other[gram]) * other[gram]
                        for gram, w in one.items()
                        if gram in other
                    )
                    / norm
                    / 4
                )
        return score * math.exp(-(apart**2) / (2 * 6**2))

    return [
        10 * sum(similarity(row, one) for one in texts) / len(texts)
        for row, texts in zip(rows, given)
    ]


@dataclass(frozen=True)
class F1:
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def scene_facts(scene: Scene) -> set[tuple[str, ...]]:
    """What a full caption says of a scene: its things, its background, who is above whom, or, in one row, left of whom."""
    top, bottom = (
        [thing.word for thing in scene.things if (thing.y < 0.5) == upper]
        for upper in (True, False)
    )
    if top and bottom and len(scene.things) > 1:
        relations = {("above", upper, lower) for upper in top for lower in bottom}
    else:
        row = [thing.word for thing in sorted(scene.things, key=lambda thing: thing.x)]
        relations = {
            ("left of", row[one], row[other])
            for one in range(len(row))
            for other in range(one + 1, len(row))
        }
    return (
        {("thing", word) for word in scene.words} | {("background", scene.background)} | relations
    )


def caption_facts(text: str) -> set[tuple[str, ...]]:
    """The same of a text, read by the grammar of world.captions. What the world doesn't know is left out."""
    things, found, relation = {one.word for one in nouns()}, set(), None
    sides: tuple[list[str], list[str]] = ([], [])
    words = tokenizer.split_words(text)
    for place, word in enumerate(words):
        if word in ("above", "below") or (
            word in ("left", "right") and words[place + 1 : place + 2] == ["of"]
        ):
            relation = word
        elif word in things:
            sides[relation is not None].append(word)
            found.add(("thing", word))
        elif word in BACKGROUNDS:
            found.add(("background", word))
    first, second = sides if relation in ("above", "left") else sides[::-1]
    name = "above" if relation in ("above", "below") else "left of"
    return found | {(name, one, other) for one in first for other in second if relation}


def noun_accuracy(said: Sequence[str], scenes: Sequence[Scene]) -> float:
    """Share of captions whose nouns are exactly the scene's things, in any order: captions go from left to right, or down."""
    known = {one.word for one in nouns()}
    return sum(
        sorted(word for word in tokenizer.split_words(text) if word in known) == sorted(scene.words)
        for text, scene in zip(said, scenes)
    ) / len(scenes)


def noun_and_background_accuracy(said: Sequence[str], scenes: Sequence[Scene]) -> dict[str, float]:
    """Share of captions with the right nouns, and with the right background, beside chance."""
    background = sum(
        scene.background in tokenizer.split_words(text) for text, scene in zip(said, scenes)
    )
    return {
        "noun": noun_accuracy(said, scenes),
        "noun, chance": 1 / len(known_nouns()),
        "background": background / len(scenes),
        "background, chance": 1 / len(BACKGROUNDS),
    }


def scene_graph_f1(said: Sequence[str], scenes: Sequence[Scene]) -> F1:
    """Exact precision and recall of things, relations and backgrounds, over all captions. Like SPICE (Anderson et al. 2016)
    in what it counts, but it knows the scene and needs neither parser nor references."""
    if len(said) != len(scenes) or not said:
        raise ValueError(
            f"{len(said)} captions for {len(scenes)} scenes; expected as many, and at least one."
        )
    pairs = [(caption_facts(text), scene_facts(scene)) for text, scene in zip(said, scenes)]
    right = sum(len(mine & truth) for mine, truth in pairs)
    claimed, true = (sum(len(pair[side]) for pair in pairs) for side in (0, 1))
    return F1(right / claimed if claimed else 0.0, right / true)
