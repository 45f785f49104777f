"""What a model can't do, measured: hallucination, examples and their order, what the examples are good for.

A model is a function from episodes to answers (`Answer`), so models of any kind are asked the same questions; the questions are
in world.corruptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlmcourse.evaluation.captioning import caption_facts
from vlmcourse.evaluation.prompting import Answer
from vlmcourse.evaluation.vqa import exact_match
from vlmcourse.world import corruptions, tokenizer
from vlmcourse.world.scenes import Scene


@dataclass(frozen=True)
class YesNoScores:
    """Scores of yes-or-no answers, "yes" being what is looked for; `yes` is the share of answers that say so."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    yes: float


def yes_no_scores(said: Sequence[str], answers: Sequence[str]) -> YesNoScores:
    """POPE's scores. Where nothing was answered with yes, precision is 0 (upstream divides by zero there)."""
    if len(said) != len(answers) or not said or not set(answers) <= {"yes", "no"}:
        raise ValueError(
            f"{len(said)} answers to {len(answers)} questions, whose answers are {sorted(set(answers))[:4]}; "
            "expected as many, at least one, and yes or no as right answers."
        )
    both = sum(mine == truth == "yes" for mine, truth in zip(said, answers))
    claimed, true = sum(mine == "yes" for mine in said), sum(truth == "yes" for truth in answers)
    precision, recall = both / claimed if claimed else 0.0, both / true if true else 0.0
    f1 = 2 * precision * recall / (precision + recall) if both else 0.0
    return YesNoScores(exact_match(said, answers), precision, recall, f1, claimed / len(said))


def parse_yes_no(text: str) -> str:
    """POPE's reading of an open answer: no if its first sentence has a no or a not, else yes. So silence counts as yes."""
    first = text.split(".")[0]
    return "no" if {"no", "not"} & set(tokenizer.split_words(first)) else "yes"


def hallucination_scores(answer: Answer, count: int = 128) -> dict[str, YesNoScores]:
    """POPE on held-out scenes of one or two things, for each way of finding what is not there."""
    found = {}
    for name, absent in corruptions.ABSENT.items():
        asked = corruptions.presence_questions(absent, count)
        found[name] = yes_no_scores(answer(asked), [one.answer for one in asked])
    return found


def hallucinated_nouns(said: Sequence[str], scenes: Sequence[Scene]) -> dict[str, float]:
    """Things that captions name and pictures don't show, exactly (Rohrbach et al. 2018, CHAIR, arXiv 1809.02156, need a list of
    synonyms): the share of mentioned things, and the share of captions with one."""
    named = [[claim[1] for claim in caption_facts(text) if claim[0] == "thing"] for text in said]
    wrong = [sum(word not in scene.words for word in words) for words, scene in zip(named, scenes)]
    return {
        "of things named": sum(wrong) / max(1, sum(map(len, named))),
        "of captions": sum(map(bool, wrong)) / len(scenes),
    }
