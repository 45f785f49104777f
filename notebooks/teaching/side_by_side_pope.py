"""Lesson 13: the checks of the exercises on claims: a prior that is taken out, and POPE's scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch

from teaching import side_by_side_reference as reference
from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source

# Exercise 8


def prob_inputs(tiny: float, generator: torch.Generator) -> tuple[list, dict]:
    """Log-probabilities. tiny: so much smaller those of the last noun are"""
    N, K = number(generator, 9, 12), number(generator, 5, 7)
    prior = normal(generator, 1, K, scale=2)
    whole = torch.cat([prior + normal(generator, N, K, scale=1.5), prior[:, :1].repeat(N, 1)], 1)
    found = whole.log_softmax(-1)[:, :-1]
    return [torch.cat([found[:, :-1], found[:, -1:] - tiny], 1)], {}


RAISED_MISTAKES: dict = {
    "that is the mean of the logarithms; take the mean of the probabilities, then its logarithm.": (
        lambda x: x > x.mean(0)
    ),
    "each noun is compared with the other nouns of its picture; compare it with itself on all pictures.": (
        lambda x: x > x.logsumexp(1, keepdim=True) - math.log(x.shape[1]),
        lambda x: x > x.mean(1, keepdim=True),
        lambda x: x.exp() > x.exp().mean(1, keepdim=True),
    ),
    "each noun is compared with a blind choice among all, 1 / K.": lambda x: (
        x > -math.log(x.shape[1])
    ),
    "each noun is compared with 1 / N; compare it with its own mean.": lambda x: (
        x > -math.log(len(x))
    ),
    "there is one mean for all nouns; each noun has its own.": lambda x: (
        x > x.logsumexp((0, 1)) - math.log(x.numel())
    ),
    "only the picture with the highest value of each noun is claimed; several may raise it.": (
        lambda x: x == x.max(0).values
    ),
    "the probabilities of a picture were made to add up to 1; take them as they are.": lambda x: (
        x.softmax(1) > x.softmax(1).mean(0)
    ),
    "the probabilities are added but not divided by the number of pictures.": lambda x: (
        x > x.logsumexp(0)
    ),
    "the comparison is turned round: these are the nouns that the picture lowers.": lambda x: (
        x < x.logsumexp(0) - math.log(len(x))
    ),
    "the sum is divided by the number of nouns; the mean is over pictures.": lambda x: (
        x > x.logsumexp(0) - math.log(x.shape[1])
    ),
    "only the likeliest noun of each picture is claimed; a picture may raise several.": lambda x: (
        x == x.max(1, keepdim=True).values
    ),
    "each noun is compared with its median.": lambda x: x > x.median(0).values,
    "these are the differences, not booleans: is it larger?": lambda x: (
        x - (x.logsumexp(0) - math.log(len(x)))
    ),
}

# Exercise 9

SCORES = ("accuracy", "precision", "recall", "f1", "yes")


def answer_inputs(generator: torch.Generator, never: bool = False) -> tuple[list, dict]:
    answers = ["yes"] * 14 + ["no"] * 6
    if never:
        return [["no"] * 20, answers], {}
    u = torch.rand(20, generator=generator).tolist()
    said = [
        "yes" if x < (0.65 if truth == "yes" else 0.45) else "no" for x, truth in zip(u, answers)
    ]
    said[0], said[1], said[14:17] = "yes", "no", ["yes", "no", "no"]  # all four cases, unequal
    order = torch.randperm(20, generator=generator).tolist()
    return [[said[i] for i in order], [answers[i] for i in order]], {}


def run_pope(target, said, answers):
    """Driver: a division by zero is an answer, too."""
    try:
        return target(list(said), list(answers))
    except ZeroDivisionError:
        return "ZeroDivisionError"


def scored(said: Sequence[str], answers: Sequence[str], positive: str = "yes") -> dict[str, float]:
    truth, claims = ([word == positive for word in words] for words in (answers, said))
    both, right = (sum(a and b for a, b in zip(claims, truth)), sum(map(str.__eq__, said, answers)))
    precision, recall = both / max(1, sum(claims)), both / sum(truth)
    f1 = 2 * precision * recall / (precision + recall) if both else 0.0
    yes = said.count("yes") / len(said)
    return dict(zip(SCORES, (right / len(said), precision, recall, f1, yes)))


def both_yes(said: Sequence[str], answers: Sequence[str]) -> int:
    return sum(a == b == "yes" for a, b in zip(said, answers))


WRONG_SCORES: dict[str, Callable[[dict, Sequence[str], Sequence[str]], dict[str, float]]] = {
    "precision and recall are exchanged: precision divides by what was claimed, recall by what is there.": lambda s, said, answers: {
        "precision": s["recall"],
        "recall": s["precision"],
    },
    "'no' is taken for the positive class: it is 'yes', a claim that something is there.": lambda s, said, answers: {
        key: scored(said, answers, "no")[key] for key in ("precision", "recall")
    },
    "`yes` is the share of questions whose right answer is yes; wanted is the share of answers that say yes.": (
        lambda s, said, answers: {"yes": answers.count("yes") / len(answers)}
    ),
    "recall is divided by the number of all questions; divide by those whose answer is yes.": lambda s, said, answers: {
        "recall": both_yes(said, answers) / len(answers)
    },
    "precision is divided by the number of all questions; divide by those where the model said yes.": (
        lambda s, said, answers: {"precision": both_yes(said, answers) / len(answers)}
    ),
    "accuracy counts only right yeses; a right no is right, too.": lambda s, said, answers: {
        "accuracy": both_yes(said, answers) / len(answers)
    },
    "F1 is the plain mean of precision and recall; it is their harmonic mean, 2 P R / (P + R).": (
        lambda s, said, answers: {"f1": (s["precision"] + s["recall"]) / 2}
    ),
    "F1 is half of what it should be: 2 P R / (P + R).": lambda s, said, answers: {
        "f1": s["f1"] / 2
    },
    "F1 is the geometric mean of precision and recall; it is their harmonic mean, 2 P R / (P + R).": (
        lambda s, said, answers: {"f1": (s["precision"] * s["recall"]) ** 0.5}
    ),
    "that is the share of questions with the answer no that are answered rightly; recall asks for yes.": (
        lambda s, said, answers: {
            "recall": sum(a == b == "no" for a, b in zip(said, answers)) / answers.count("no")
        }
    ),
    "`yes` is the share of no.": lambda s, said, answers: {"yes": 1 - s["yes"]},
    "`yes` counts only right yeses; all yeses count.": lambda s, said, answers: {
        "yes": both_yes(said, answers) / len(said)
    },
    "that is the share of wrong answers; accuracy is that of right ones.": lambda s, said, answers: {
        "accuracy": 1 - s["accuracy"]
    },
    "accuracy is a count; wanted is a share.": lambda s, said, answers: {
        "accuracy": s["accuracy"] * len(said)
    },
    "these are per cent; wanted are shares.": lambda s, said, answers: {
        name: 100 * value for name, value in s.items()
    },
    "a system that never says yes claims nothing: its precision is 0.": lambda s, said, answers: {
        "precision": float("nan") if said.count("yes") else 1.0
    },
    "`yes` is a count; wanted is a share.": lambda s, said, answers: {
        "yes": float(said.count("yes"))
    },
}


def explain_scores(got: object, wanted: dict, said: Sequence[str], answers: Sequence[str]):
    """The first wrong score by its cause; several may be wrong at once."""
    if not isinstance(got, dict) or set(got) != set(SCORES):
        return None
    wrong = [name for name in SCORES if abs(float(got[name]) - wanted[name]) > 1e-6]
    for message, formula in WRONG_SCORES.items():
        values = formula(wanted, said, answers)
        if set(values) & set(wrong) and all(
            abs(float(got[name]) - value) < 1e-6 for name, value in values.items()
        ):
            return message
    return (
        f"{wrong[0]} should be {wanted[wrong[0]]:.3f} for {said.count('yes')} yeses in {len(said)} answers; yours is "
        f"{float(got[wrong[0]]):.3f}."
    )


EXERCISES = {
    "raised": Exercise(
        "What the picture adds, not what is likely anyway.",
        (
            rule("raised", partial(prob_inputs, 0), reference.raised, RAISED_MISTAKES),
            rule(
                "raised",
                partial(prob_inputs, 300),
                reference.raised,
                {
                    "probabilities as small as e^-300 became 0: stay in logarithms.": lambda x: (
                        x.exp() > x.exp().mean(0)
                    )
                },
            ),
        ),
        reference=reference.raised,
    ),
    "pope_scores": Exercise(
        "Always saying yes has an F1 of 2/3 on balanced questions: that is the number to beat.",
        tuple(
            rule(
                "pope_scores",
                inputs,
                scored,
                {
                    "a division by zero, for a model that never says yes: nothing was claimed, so its precision and "
                    "its F1 are 0.": lambda *_: "ZeroDivisionError"
                },
                driver=driver_source(run_pope),
                explain=explain_scores,
                tolerance=1e-6,
                rounds=4,
            )
            for inputs in (answer_inputs, partial(answer_inputs, never=True))
        ),
        reference=reference.pope_scores,
    ),
}
