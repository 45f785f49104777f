"""Scores of captions: BLEU-4, CIDEr-D, ROUGE-L and, since the world knows its scenes, an exact scene-graph F1.

Texts are cut into runs of letters, digits and their marks, in any script, in lower case, without punctuation; the official
scores use PTB's cutter. Scores are fractions: papers print BLEU x 100 and CIDEr x 100 (BLIP's 1.331 is their 133.1).
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vlmcourse.world import tokenizer
from vlmcourse.world.nouns import nouns
from vlmcourse.world.scenes import BACKGROUNDS, Scene, known_nouns

Ngrams = Counter[tuple[str, ...]]
Fact = tuple[str, ...]
JOINERS = "\u200c\u200d"  # they hold letters together, in Persian and in Indian scripts


def split_caption(text: str) -> list[str]:
    """Lower-case words of any script; vowel signs and accents stay with their letters, punctuation goes."""

    def belongs(letter: str) -> bool:
        return unicodedata.category(letter)[0] in "LMN" or letter in JOINERS

    return "".join(letter if belongs(letter) else " " for letter in text.lower()).split()


def _ngrams(words: Sequence[str], n: int) -> Ngrams:
    return Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))


def _check(captions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if len(captions) != len(references) or not captions:
        raise ValueError(
            f"{len(captions)} captions and references for {len(references)}; expected as many, and at least one."
        )
    for index, texts in enumerate(references):
        if not texts or isinstance(texts, str):
            raise ValueError(
                f"caption {index} has no list of references; expected at least one text in it."
            )


def bleu4(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU of n-grams up to 4 over the whole set (Papineni et al. 2002): counts are summed before they are divided.

    An n-gram counts at most as often as in the reference that has it most. The brevity penalty takes, of each caption, the
    nearest reference length, of two equally near the shorter. Raises ValueError for missing references.
    """
    _check(captions, references)
    matched, total = [0] * 4, [0] * 4
    length = reference_length = 0
    for caption, texts in zip(captions, references):
        words, given = split_caption(caption), [split_caption(text) for text in texts]
        length += len(words)
        reference_length += min((abs(len(text) - len(words)), len(text)) for text in given)[1]
        for n in range(4):
            counts, max_counts = _ngrams(words, n + 1), Counter[tuple[str, ...]]()
            for text in given:
                max_counts |= _ngrams(text, n + 1)
            matched[n] += (counts & max_counts).total()
            total[n] += counts.total()
    if min(matched) == 0:
        return 0.0
    precision = sum(math.log(hit / all_) for hit, all_ in zip(matched, total)) / 4
    return math.exp(min(0.0, 1 - reference_length / length) + precision)


def cider(captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of each caption, 0 to 10 (Vedantam et al. 2015, Sec. 3 and 6): their mean is the set's score.

    Cosine of n-gram counts, n = 1 to 4, weighted by how few pictures' references hold the n-gram; a caption's count is
    clipped to the reference's, and another length than the reference's is penalised. Of a single picture every weight is
    ln(1) = 0, and so is the score. Raises ValueError for missing references.
    """
    _check(captions, references)

    def counted(text: str) -> list[Ngrams]:
        words = split_caption(text)
        return [_ngrams(words, n) for n in range(1, 5)]

    given = [[counted(text) for text in texts] for texts in references]
    pictures_with = Counter(
        gram
        for texts in given
        for gram in {gram for counts in texts for ngrams in counts for gram in ngrams}
    )

    def weighted(counts: Ngrams) -> dict[tuple[str, ...], float]:
        return {
            gram: count * (math.log(len(captions)) - math.log(max(1, pictures_with[gram])))
            for gram, count in counts.items()
        }

    def similarity(caption: list[Ngrams], reference: list[Ngrams]) -> float:
        # the length is the number of bigrams, as in the official code
        difference = caption[1].total() - reference[1].total()
        cosines = 0.0
        for a, b in zip(map(weighted, caption), map(weighted, reference)):
            if norm := math.sqrt(sum(w * w for w in a.values()) * sum(w * w for w in b.values())):
                cosines += (
                    sum(min(w, b[gram]) * b[gram] for gram, w in a.items() if gram in b) / norm
                )
        return cosines / 4 * math.exp(-(difference**2) / (2 * 6**2))

    return [
        10 * sum(similarity(counted(caption), reference) for reference in texts) / len(texts)
        for caption, texts in zip(captions, given)
    ]


def rouge_l(captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """ROUGE-L of each caption, 0 to 1 (Lin 2004, Sec. 3): how long a sequence of words it shares, in order, with a reference.

    Best precision and best recall over the references, joined with recall counting 1.2 squared, as in COCO's official code.
    Raises ValueError for missing references.
    """
    _check(captions, references)

    def common(words: list[str], reference: list[str]) -> int:
        row = [0] * (len(reference) + 1)
        for word in words:
            row, above = [0], row
            for column, candidate in enumerate(reference):
                longer = max(row[column], above[column + 1])
                row.append(above[column] + 1 if word == candidate else longer)
        return row[-1]

    def score(words: list[str], texts: list[list[str]]) -> float:
        shared = [common(words, text) for text in texts]
        precision = max(shared) / max(1, len(words))
        recall = max(length / max(1, len(text)) for length, text in zip(shared, texts))
        weighted = recall + 1.2**2 * precision
        return (1 + 1.2**2) * precision * recall / weighted if weighted else 0.0

    return [
        score(split_caption(caption), [split_caption(text) for text in texts])
        for caption, texts in zip(captions, references)
    ]


@dataclass(frozen=True)
class F1:
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Their harmonic mean."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def scene_facts(scene: Scene) -> set[Fact]:
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
            ("left of", word, right)
            for position, word in enumerate(row)
            for right in row[position + 1 :]
        }
    things = {("thing", word) for word in scene.words}
    return things | {("background", scene.background)} | relations


def caption_facts(text: str) -> set[Fact]:
    """The same of a text, parsed by the grammar of world.captions. What the world doesn't know is left out."""
    known, relation = {noun.word for noun in nouns()}, None
    sides: tuple[list[str], list[str]] = ([], [])
    words, facts = tokenizer.split_words(text), set()
    for position, word in enumerate(words):
        side_of = word in ("left", "right") and words[position + 1 : position + 2] == ["of"]
        if word in ("above", "below") or side_of:
            relation = word
        elif word in known:
            sides[relation is not None].append(word)
            facts.add(("thing", word))
        elif word in BACKGROUNDS:
            facts.add(("background", word))
    first, second = sides if relation in ("above", "left") else sides[::-1]
    name = "above" if relation in ("above", "below") else "left of"
    return facts | {(name, a, b) for a in first for b in second if relation}


def noun_accuracy(captions: Sequence[str], scenes: Sequence[Scene]) -> float:
    """Share of captions whose nouns are exactly the scene's things, in any order."""
    known = {noun.word for noun in nouns()}
    named = ([word for word in tokenizer.split_words(text) if word in known] for text in captions)
    right = sum(sorted(words) == sorted(scene.words) for words, scene in zip(named, scenes))
    return right / len(scenes)


def noun_and_background_accuracy(
    captions: Sequence[str], scenes: Sequence[Scene]
) -> dict[str, float]:
    """Share of captions with the right nouns, and with the right background, beside chance."""
    pairs = zip(captions, scenes)
    right = sum(scene.background in tokenizer.split_words(text) for text, scene in pairs)
    return {
        "noun": noun_accuracy(captions, scenes),
        "noun, chance": 1 / len(known_nouns()),
        "background": right / len(scenes),
        "background, chance": 1 / len(BACKGROUNDS),
    }


def scene_graph_f1(captions: Sequence[str], scenes: Sequence[Scene]) -> F1:
    """Exact precision and recall of things, relations and backgrounds, over all captions.

    Like SPICE (Anderson et al. 2016) in what it counts, but not SPICE: it knows the scene and needs neither parser nor
    references. Raises ValueError unless there is one scene for each caption, and one caption at least.
    """
    if len(captions) != len(scenes) or not captions:
        raise ValueError(
            f"{len(captions)} captions for {len(scenes)} scenes; expected as many, and at least one."
        )
    pairs = [(caption_facts(text), scene_facts(scene)) for text, scene in zip(captions, scenes)]
    right = sum(len(claimed & true) for claimed, true in pairs)
    claimed, true = (sum(len(pair[side]) for pair in pairs) for side in (0, 1))
    return F1(right / claimed if claimed else 0.0, right / true)
