"""What a language model says, with or without pictures: the next word among choices, open answers, and their scores.

Models are anything with `model(ids, cache=None, **context) -> logits`; a model that looks at pictures says with
`vision_context(pixel_values)` which context they become. Prompts are anything like world.prompts.Prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import eq

from vlmcourse.world import tokenizer


def exact_match(said: Sequence[str], answers: Sequence[str]) -> float:
    """Share of answers that are, to the letter, the right ones."""
    return sum(map(eq, said, answers)) / len(answers)


def vqa_accuracy(said: str, given: Sequence[str]) -> float:
    """Accuracy of one answer among those of ten people: the mean over all sets of nine of min(agreeing / 3, 1).

    So an answer that three of ten gave counts 0.9, and one that nobody gave 0 (Antol et al. 2015, arXiv 1505.00468).
    Articles, upper case and punctuation don't count.
    """
    said, given = _plain(said), [_plain(answer) for answer in given]
    agree = [answer == said for answer in given]
    return sum(min(1.0, (sum(agree) - one) / 3) for one in agree) / len(agree)


def _plain(answer: str) -> str:
    return " ".join(
        word
        for word in tokenizer.split_words(answer)
        if word.isalnum() and word not in ("a", "an", "the")
    )
