"""Instant checks of lesson 09's exercises, simulated patients for its failure lab, and a player that asks all bridges at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from teaching.exercises import Mistake, diagnosed
from vlmcourse import world
from vlmcourse.evaluation.hallucination import yes_no_scores
from vlmcourse.evaluation.prompting import Answer
from vlmcourse.plots import picture_and_bars
from vlmcourse.widgets.interactive import play
from vlmcourse.world import corruptions, pages
from vlmcourse.world.co_occurrence import companion
from vlmcourse.world.pages import Episode

SCORES = ("accuracy", "precision", "recall", "f1", "yes")


def pope(answer: Callable[[list[str], list[str]], dict[str, float]]) -> str:
    """Exercise 1: pope(said, answers) -> {"accuracy", "precision", "recall", "f1", "yes"}."""
    draws = world.SeededRandom("pope", torch.seed())
    answers = ["yes"] * 14 + ["no"] * 6
    said = [
        "yes" if draws.random() < (0.65 if truth == "yes" else 0.45) else "no" for truth in answers
    ]
    said[0], said[1], said[14], said[15], said[16] = (
        "yes",
        "no",
        "yes",
        "no",
        "no",
    )  # all four cases, unequal
    for given in (said, ["yes"] * 20, ["no"] * 20):
        wanted = vars(yes_no_scores(given, answers))
        try:
            got = answer(list(given), list(answers))
        except ZeroDivisionError:
            raise Mistake(
                "a division by zero, for a model that always says no: nothing was claimed, so call its precision (and "
                "F1) 0. Such models exist; the probe's public code breaks on them."
            ) from None
        if not isinstance(got, dict) or set(got) != set(SCORES):
            found = sorted(got) if isinstance(got, dict) else type(got).__name__
            raise Mistake(f"found {found}; expected a dictionary with {', '.join(SCORES)}.")
        if wrong := [name for name in SCORES if abs(float(got[name]) - wanted[name]) > 1e-6]:
            raise Mistake(_why(wrong, got, wanted, given, answers))
    return "And you know the number to beat: always saying yes gets an F1 above 0.6 on balanced questions."


def _why(wrong: list[str], got: dict, wanted: dict, said: list[str], answers: list[str]) -> str:
    flipped = vars(
        yes_no_scores(
            *(["no" if word == "yes" else "yes" for word in words] for words in (said, answers))
        )
    )
    hits = sum(mine == truth == "yes" for mine, truth in zip(said, answers))
    likely = {
        "precision and recall are exchanged: precision divides by what was claimed, recall by what is there.": {
            "precision": wanted["recall"],
            "recall": wanted["precision"],
        },
        "'no' is taken for the thing to find: here 'yes' is, a claim that something is there.": {
            "precision": flipped["precision"],
            "recall": flipped["recall"],
        },
        "`yes` is the share of questions whose right answer is yes; it should be the share of answers the model gives.": {
            "yes": answers.count("yes") / len(answers)
        },
        "recall is divided by the number of all questions; divide by those whose answer is yes.": {
            "recall": hits / len(answers)
        },
        "accuracy counts only right yeses; a right no is right, too.": {
            "accuracy": hits / len(answers)
        },
        "F1 is the plain mean of precision and recall; it is their harmonic mean, 2 P R / (P + R), which is small if either is.": {
            "f1": (wanted["precision"] + wanted["recall"]) / 2
        },
    }
    for message, values in likely.items():
        if set(values) & set(wrong) and all(
            abs(float(got[name]) - value) < 1e-6 for name, value in values.items()
        ):
            return message
    name = wrong[0]
    return (
        f"{name} should be {wanted[name]:.3f} for {said.count('yes')} yeses in {len(said)} answers; yours is "
        f"{float(got[name]):.3f}."
    )


def spoil(answer: Callable[[list], list]) -> str:
    """Exercise 2: spoil(prompt) -> prompt in which every example shows the picture of the example before it."""
    made = pages.vqa_episode("test", int(torch.seed() % 10**6), "what", 3, things=(1, 1))
    before, wanted = list(made.prompt), list(corruptions.rotated([made])[0].prompt)
    given = list(before)
    got = answer(given)
    if got is None:
        raise Mistake("spoil() returned None. Did you forget the return?")
    if given != before:
        raise Mistake(
            "you changed the prompt you were given: other controls need it as it was. Work on a copy, list(prompt)."
        )
    got = list(got)
    if len(got) != len(before) or [isinstance(part, str) for part in got] != [
        isinstance(part, str) for part in before
    ]:
        raise Mistake(
            f"{len(got)} parts, in another order of pictures and texts; expected {len(before)}: picture, text, "
            "picture, ..."
        )
    if got == wanted:
        return "The same pictures, the same texts, the same question: only what belongs together is torn apart."
    pictures = before[::2]
    if got == before:
        raise Mistake("nothing changed: the examples still show what they say.")
    if got[-2] != before[-2]:
        raise Mistake(
            "the question's own picture moved. Then a wrong answer says nothing about the examples: only they may "
            "change."
        )
    if got[1::2] != before[1::2]:
        raise Mistake(
            "the texts moved, too (or instead): if picture and text move together, only the order changes, and every "
            "example is still right."
        )
    if got[:-2:2] == pictures[1:-1] + pictures[:1]:
        raise Mistake(
            "nearly: every example shows the picture of the example after it; asked for was the one before it."
        )
    if any(part not in pictures for part in got[::2]):
        raise Mistake(
            "there are new pictures in the prompt: this control keeps all pictures and tears them from their texts."
        )
    raise Mistake(
        "some examples still show what they say; each should show the picture of the one before, the first that of "
        "the last."
    )


def calibrated(answer: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Exercise 3: calibrated(seen (N, C), blind (N, C)) -> (N,): the choice whose log-likelihood the picture raised most."""
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    blind = torch.randn(40, 4, generator=generator).mul(2).log_softmax(-1)
    seen = (blind + 1.5 * torch.randn(40, 4, generator=generator)).log_softmax(-1)
    got, wanted = answer(seen.clone(), blind.clone()), (seen - blind).argmax(-1)
    if not isinstance(got, Tensor) or got.shape != wanted.shape:
        found = tuple(got.shape) if isinstance(got, Tensor) else type(got).__name__
        raise Mistake(
            f"found {found}; expected {tuple(wanted.shape)}: the number of one choice for each question."
        )
    if torch.equal(got, wanted):
        return "What the picture adds, not what the words expect: log p(answer | picture) - log p(answer | grey)."
    likely = {
        "that is the likeliest answer as it is: what the words alone expect is still in it.": seen.argmax(
            -1
        ),
        "that is what the model says without the picture.": blind.argmax(-1),
        "the sign is wrong: the blind log-likelihood is taken away, not added.": (
            seen + blind
        ).argmax(-1),
        "that is the answer the picture lowers most: blind - seen. Turn it round.": (
            blind - seen
        ).argmax(-1),
        "logarithms are divided; a ratio of probabilities is a difference of logarithms.": (
            seen / blind
        ).argmax(-1),
        "probabilities are subtracted; then a likely answer can still win by a small relative rise. Subtract logarithms.": (
            seen.exp() - blind.exp()
        ).argmax(-1),
        "the choices are the columns: argmax over the last axis.": (seen - blind).argmax(0),
    }
    raise Mistake(
        next(
            (
                name
                for name, made in likely.items()
                if made.shape == got.shape and torch.equal(got, made)
            ),
            "expected, for each question, the choice with the largest difference of log-likelihoods.",
        )
    )


# The failure lab's patients know the world's truth and get it wrong in one way each.


def _word(episode: Episode) -> str:
    return episode.prompt[-1].split(" ?")[0].split()[-1]


def _noisy(error: float, says: Callable[[Episode], str], name: str) -> Answer:
    def answer(episodes: Sequence[Episode]) -> list[str]:
        wrong = {"yes": "no", "no": "yes"}
        return [
            wrong[said] if world.SeededRandom(name, number).random() < error else said
            for number, said in enumerate(map(says, episodes))
        ]

    return answer


def faulty_systems() -> dict[str, Answer]:
    """A healthy system and three sick ones, for questions of presence (probes.presence)."""

    def sees(one: Episode) -> str:
        return "yes" if _word(one) in one.prompt[-2].words else "no"

    def agrees(one: Episode) -> str:
        return (
            "yes"
            if sees(one) == "yes"
            or world.SeededRandom("agrees", one.prompt[-1], one.prompt[-2]).random() < 0.8
            else "no"
        )

    def expects(one: Episode) -> str:
        there = one.prompt[-2].words
        return "yes" if _word(one) in {*there, *map(companion, there)} else "no"

    return {
        "healthy": _noisy(0.1, sees, "healthy"),
        "A": _noisy(0.03, expects, "A"),
        "B": _noisy(0.08, lambda one: one.answer, "B"),
        "C": _noisy(0.05, agrees, "C"),
    }


def diagnosis(answer: dict[str, str]) -> str:
    """Failure lab: {'A': cause, 'B': ..., 'C': ...} for three systems."""
    truth = {"A": "habit", "B": "leak", "C": "yes"}
    hints = {
        "A": "it is good at two of the three kinds of questions. What is special about the things it invents?",
        "B": "look at its score when every picture is grey. Where else could it know the answers from?",
        "C": "how often does it say yes? Which of its scores suffers from that, and which doesn't?",
    }
    return diagnosed(
        answer,
        truth,
        hints,
        "A system that expects companions, a test that gives its answers away, and one that "
        "agrees with whoever asks. Accuracy on random questions alone told none of them.",
    )


def presence_player(
    ask: Mapping[str, Callable[[world.Scene, str], float]],
    scenes: Sequence[world.Scene],
    size: int = 128,
) -> None:
    """Displays a picture and a noun to ask for; bars: each model's probability of yes, between yes and no.

    ask  {model: (scene, noun) -> probability of "yes"}
    """
    import ipywidgets

    number = ipywidgets.IntSlider(
        value=0, min=0, max=len(scenes) - 1, description="picture", continuous_update=False
    )
    word = ipywidgets.Dropdown(
        options=sorted(world.known_nouns()), value=scenes[0].words[0], description="is there a"
    )

    def drawn():
        scene = scenes[number.value]
        made = picture_and_bars(
            world.render(scene, size),
            {name: one(scene, word.value) for name, one in ask.items()},
            "probability of yes",
            chance=0.5,
        )
        kind = (
            "is there"
            if word.value in scene.words
            else "is not there, but a companion of what is"
            if word.value in {companion(one) for one in scene.words}
            else "is not there"
        )
        made.description = f"{world.article(word.value)} {kind}. {made.description}"
        return made

    play([number, word], drawn)
