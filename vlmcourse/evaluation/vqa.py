"""Scores of answers: exact match, and the VQA metric with its normalisation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import eq

NUMBERS = {"none": "0", "zero": "0"} | {
    word: str(number)
    for number, word in enumerate("one two three four five six seven eight nine ten".split(), 1)
}
ARTICLES = ("a", "an", "the")
PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
CONTRACTIONS = """ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd
he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've
o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's they'd
they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd where's
where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've
you'd you'd've you'll you're you've""".split()
"""What the official code mends: a word of these in which one apostrophe is left out."""

_MENDED = {
    form[:index] + form[index + 1 :]: form
    for form in CONTRACTIONS
    for index, letter in enumerate(form)
    if letter == "'"
} | {"somebody'd": "somebodyd"}  # as the official table has it


def exact_match(answers: Sequence[str], targets: Sequence[str]) -> float:
    """Share of answers that are, to the letter, the right ones."""
    return sum(map(eq, answers, targets)) / len(targets)


def vqa_accuracy(answer: str, human_answers: Sequence[str]) -> float:
    """Accuracy of one answer among those of (ten) people: the mean over all sets of nine of min(agreeing / 3, 1).

    So an answer that three of ten gave counts 0.9, and one that nobody gave 0 (Antol et al. 2015, arXiv 1505.00468). All
    answers are normalised, see `normalise_answer`; the official code takes people's number words, articles and case as
    they are, since its annotations have none. Raises ValueError without human answers.
    """
    if not human_answers or isinstance(human_answers, str):
        raise ValueError(f"human answers are {human_answers!r}; expected a list of at least one.")
    answer = normalise_answer(answer)
    agreements = [normalise_answer(human_answer) == answer for human_answer in human_answers]
    return sum(min(1.0, (sum(agreements) - agreement) / 3) for agreement in agreements) / len(
        agreements
    )


def normalise_answer(text: str) -> str:
    """The official VQA normalisation, rule by rule: punctuation, lower case, number words, articles, contractions.

    A punctuation mark becomes a space, or nothing where it stands beside a space anywhere in the text, or where a comma
    stands between digits (10,000). Points go, except before a digit. Signs such as % and letters of any script stay.
    """
    text = text.replace("\n", " ").replace("\t", " ").strip()
    thousands = re.search(r"\d,\d", text)
    cleaned = text
    for mark in PUNCTUATION:
        beside_space = f"{mark} " in text or f" {mark}" in text
        cleaned = cleaned.replace(mark, "" if beside_space or thousands else " ")
    cleaned = re.sub(r"\.(?!\d)", "", cleaned)
    words = [NUMBERS.get(word, word) for word in cleaned.lower().split()]
    return " ".join(_MENDED.get(word, word) for word in words if word not in ARTICLES)
