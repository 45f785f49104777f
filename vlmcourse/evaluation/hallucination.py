"""Hallucination: POPE's yes-or-no questions, and nouns in captions that the picture doesn't show.

A model is a function from episodes to answers (`Answer`), so models of any kind get the same questions; the questions are
in world.corruptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlmcourse.evaluation.captioning import caption_facts
from vlmcourse.evaluation.prompting import Answer
from vlmcourse.evaluation.vqa import exact_match
from vlmcourse.world import corruptions
from vlmcourse.world.scenes import Scene


@dataclass(frozen=True)
class YesNoScores:
    """Scores of yes-or-no answers, "yes" being the positive class; `yes` is the share of answers that say so."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    yes: float


def yes_no_scores(answers: Sequence[str], targets: Sequence[str]) -> YesNoScores:
    """POPE's scores. Where nothing was answered with yes, precision is 0 (upstream divides by zero there).

    Raises ValueError unless there is one answer for each target, and targets are yes or no.
    """
    from sklearn.metrics import precision_recall_fscore_support

    if len(answers) != len(targets) or not answers or not set(targets) <= {"yes", "no"}:
        raise ValueError(
            f"{len(answers)} answers to {len(targets)} questions, whose answers are {sorted(set(targets))[:4]}; "
            "expected as many, at least one, and yes or no as right answers."
        )
    claimed = [answer == "yes" for answer in answers]
    true = [target == "yes" for target in targets]
    precision, recall, f1, _ = precision_recall_fscore_support(
        true, claimed, average="binary", zero_division=0
    )
    share = sum(claimed) / len(answers)
    return YesNoScores(
        exact_match(answers, targets), float(precision), float(recall), float(f1), share
    )


def hallucination_scores(answer: Answer, count: int = 128) -> dict[str, YesNoScores]:
    """POPE on held-out scenes of one or two things, for each way of choosing what is not there."""
    scores = {}
    for name, absent in corruptions.ABSENT.items():
        episodes = corruptions.presence_questions(absent, count)
        targets = [episode.answer for episode in episodes]
        scores[name] = yes_no_scores(answer(episodes), targets)
    return scores


def hallucinated_nouns(captions: Sequence[str], scenes: Sequence[Scene]) -> dict[str, float]:
    """Nouns in captions that the picture doesn't show: their share of all nouns, and the share of captions with one.

    As CHAIR (Rohrbach et al. 2018, arXiv 1809.02156), but exact: no list of synonyms is needed.
    """
    named = [[fact[1] for fact in caption_facts(text) if fact[0] == "thing"] for text in captions]
    wrong = [sum(word not in scene.words for word in words) for words, scene in zip(named, scenes)]
    return {
        "of things named": sum(wrong) / max(1, sum(map(len, named))),
        "of captions": sum(map(bool, wrong)) / len(scenes),
    }
