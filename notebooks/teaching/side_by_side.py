"""Lesson 13, side by side: exercises, quizzes, the failure lab with its simulated systems, and a player that asks them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch

from teaching.exercises import Exercise, normal, number, pure_rule, rule
from vlmcourse import world
from vlmcourse.evaluation.prompting import Answer
from vlmcourse.plots import picture_and_bars
from vlmcourse.widgets.interactive import dropdown, interactive, slider
from vlmcourse.world import pages
from vlmcourse.world.co_occurrence import companion
from vlmcourse.world.pages import Episode
from vlmgrader.checks import driver_source

SCORES = ("accuracy", "precision", "recall", "f1", "yes")


def pope(said: Sequence[str], answers: Sequence[str], positive: str = "yes") -> dict[str, float]:
    """POPE's five scores of answers said; what is `positive` is found."""
    said, truth = (np.array([one == positive for one in words]) for words in (said, answers))
    hits = (said & truth).sum()
    precision, recall = hits / max(1, said.sum()), hits / truth.sum()
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    yes = said.mean() if positive == "yes" else 1 - said.mean()
    return dict(zip(SCORES, map(float, ((said == truth).mean(), precision, recall, f1, yes))))


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
        return target(said, answers)
    except ZeroDivisionError:
        return "ZeroDivisionError"


def hits(said: Sequence[str], answers: Sequence[str]) -> int:
    return sum(one == truth == "yes" for one, truth in zip(said, answers))


WRONG_SCORES: dict[str, Callable[[dict, Sequence[str], Sequence[str]], dict[str, float]]] = {
    "precision and recall are exchanged: precision divides by what was claimed, recall by what is there.": lambda s, said, answers: {
        "precision": s["recall"],
        "recall": s["precision"],
    },
    "'no' is taken for the thing to find: here 'yes' is, a claim that something is there.": lambda s, said, answers: {
        key: pope(said, answers, "no")[key] for key in ("precision", "recall")
    },
    "`yes` is the share of questions whose right answer is yes; it should be the share of answers the model gives.": (
        lambda s, said, answers: {"yes": answers.count("yes") / len(answers)}
    ),
    "recall is divided by the number of all questions; divide by those whose answer is yes.": lambda s, said, answers: {
        "recall": hits(said, answers) / len(answers)
    },
    "precision is divided by the number of all questions; divide by those where the model said yes.": (
        lambda s, said, answers: {"precision": hits(said, answers) / len(answers)}
    ),
    "accuracy counts only right yeses; a right no is right, too.": lambda s, said, answers: {
        "accuracy": hits(said, answers) / len(answers)
    },
    "F1 is the plain mean of precision and recall; it is their harmonic mean, 2 P R / (P + R), which is small if either is.": (
        lambda s, said, answers: {"f1": (s["precision"] + s["recall"]) / 2}
    ),
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


def rotate(prompt: list, by: int = 1, parts: int = 2, last: int = -2) -> list:
    """The examples' pictures (parts=1: with their texts) moved on by one example, the question left as it is."""
    result, moved = list(prompt), prompt[:last:parts]
    result[:last:parts] = moved[-by:] + moved[:-by]
    return result


def prompt_inputs(generator: torch.Generator) -> tuple[list, dict]:
    index = number(generator, 0, 10**6)
    return [list(pages.vqa_episode("test", index, "what", 3, things=(1, 1)).prompt)], {}


def explain_prompt(made: object, wanted: list, prompt: list) -> str | None:
    pictures = prompt[::2]
    if not isinstance(made, list):
        return None
    if list(map(type, made)) != list(map(type, prompt)):
        return (
            f"{len(made)} parts, in another order of pictures and texts; expected {len(prompt)}: picture, text, picture, "
            "..."
        )
    if made[-2] != prompt[-2]:
        return "the question's own picture moved. Then a wrong answer says nothing about the examples: only they may change."
    if made[1::2] != prompt[1::2]:
        return (
            "the texts moved, too (or instead): if picture and text move together, only the order changes, and every "
            "example is still right."
        )
    if any(part not in pictures for part in made[::2]):
        return "there are new pictures in the prompt: this control keeps all pictures and separates them from their texts."
    return (
        "some examples still show what they say; each should show the picture of the one before, the first that of the "
        "last."
    )


def choice_inputs(generator: torch.Generator) -> tuple[list, dict]:
    shape = number(generator, 30, 40), number(generator, 3, 5)
    blind = normal(generator, *shape, scale=2).log_softmax(-1)
    return [(blind + normal(generator, *shape, scale=1.5)).log_softmax(-1), blind], {}


EXERCISES = {
    "pope": Exercise(
        "And you know the number to beat: always saying yes gets an F1 above 0.6 on balanced questions.",
        tuple(
            rule(
                "my_pope",
                inputs,
                pope,
                {
                    "a division by zero, for a model that always says no: nothing was claimed, so call its precision "
                    "(and F1) 0. Such models exist; POPE's public code fails on them.": lambda *_: (
                        "ZeroDivisionError"
                    )
                },
                driver=driver_source(run_pope),
                explain=explain_scores,
                tolerance=1e-6,
                rounds=4,
            )
            for inputs in (answer_inputs, partial(answer_inputs, never=True))
        ),
    ),
    "mismatched_pictures": Exercise(
        "The same pictures, the same texts, the same question: only what belongs together is separated.",
        (
            pure_rule(
                "my_spoil",
                prompt_inputs,
                rotate,
                {
                    "nothing changed: the examples still show what they say.": list,
                    "nearly: every example shows the picture of the example after it; asked for was the one before it.": partial(
                        rotate, by=-1
                    ),
                },
                "you changed the prompt you were given: other controls need it as it was. Work on a copy, list(prompt).",
                explain_prompt,
            ),
        ),
    ),
    "calibrated": Exercise(
        "What the picture adds, not what the words expect: log p(answer | picture) - log p(answer | grey).",
        (
            rule(
                "my_calibrated",
                choice_inputs,
                lambda seen, blind: (seen - blind).argmax(-1),
                {
                    "that is the likeliest answer as it is: what the words alone expect is still in it.": lambda s, b: (
                        s.argmax(-1)
                    ),
                    "that is what the model says without the picture.": lambda s, b: b.argmax(-1),
                    "the sign is wrong: the blind log-likelihood is subtracted, not added.": lambda s, b: (
                        (s + b).argmax(-1)
                    ),
                    "that is the answer the picture lowers most: blind - seen. Turn it round.": lambda s, b: (
                        (b - s).argmax(-1)
                    ),
                    "logarithms are divided; a ratio of probabilities is a difference of logarithms.": lambda s, b: (
                        (s / b).argmax(-1)
                    ),
                    "probabilities are subtracted; then a likely answer can still win by a small relative rise. Subtract "
                    "logarithms.": lambda s, b: (s.exp() - b.exp()).argmax(-1),
                    "the choices are the columns: argmax over the last axis.": lambda s, b: (
                        s - b
                    ).argmax(0),
                    "these are the differences; wanted is the number of the largest in each row.": lambda s, b: (
                        s - b
                    ),
                },
            ),
        ),
    ),
}


def _word(episode: Episode) -> str:
    return episode.prompt[-1].split(" ?")[0].split()[-1]


def _with_errors(error: float, answer_of: Callable[[Episode], str], name: str) -> Answer:
    """A system that gives answer_of(episode), and the opposite in a share `error` of episodes."""

    def answer(episodes: Sequence[Episode]) -> list[str]:
        wrong = {"yes": "no", "no": "yes"}
        return [
            wrong[word] if world.SeededRandom(name, index).random() < error else word
            for index, word in enumerate(map(answer_of, episodes))
        ]

    return answer


def faulty_systems() -> dict[str, Answer]:
    """A healthy system and three with one fault each, for questions of presence. All know what is in the picture."""

    def sees(episode: Episode) -> str:
        return "yes" if _word(episode) in episode.prompt[-2].words else "no"

    def agrees(episode: Episode) -> str:
        draw = world.SeededRandom("agrees", episode.prompt[-1], episode.prompt[-2])
        return "yes" if sees(episode) == "yes" or draw.random() < 0.8 else "no"

    def expects(episode: Episode) -> str:
        there = episode.prompt[-2].words
        return "yes" if _word(episode) in {*there, *map(companion, there)} else "no"

    return {
        "healthy": _with_errors(0.1, sees, "healthy"),
        "A": _with_errors(0.03, expects, "A"),
        "B": _with_errors(0.08, lambda episode: episode.answer, "B"),
        "C": _with_errors(0.05, agrees, "C"),
    }


def presence_player(
    ask: Mapping[str, Callable[[world.Scene, str], float]],
    scenes: Sequence[world.Scene],
    size: int = 128,
) -> None:
    """Displays a picture and a noun to ask for; bars: each model's probability of yes, between yes and no.

    ask  {model: (scene, noun) -> probability of "yes"}
    """
    picture = slider("picture", 0, 0, len(scenes) - 1)
    word = dropdown("is there a", sorted(world.known_nouns()), scenes[0].words[0])

    def draw():
        scene = scenes[picture.value]
        figure = picture_and_bars(
            world.render(scene, size),
            {name: probability(scene, word.value) for name, probability in ask.items()},
            "probability of yes",
            chance=0.5,
        )
        companions = {companion(noun) for noun in scene.words}
        there = (
            "is there"
            if word.value in scene.words
            else "is not there, but a companion of what is"
            if word.value in companions
            else "is not there"
        )
        figure.description = f"{world.article(word.value)} {there}. {figure.description}"
        return figure

    interactive([picture, word], draw)
