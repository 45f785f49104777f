"""Lesson 13's exercises: right answers pass, and each plausible mistake is named; its patients have the faults they should."""

import html

import pytest
import torch
from exercise_answers import displayed, each, message

from teaching.side_by_side import faulty_systems, presence_player
from vlmcourse import world
from vlmcourse.evaluation import hallucination, prompting
from vlmcourse.world import corruptions


def pope(said, answers, positive="yes", safe=True, **changes):
    hits = sum(a == b == positive for a, b in zip(said, answers))
    claimed, true = said.count(positive), answers.count(positive)
    precision = hits / claimed if claimed or not safe else 0.0
    recall = hits / true
    f1 = 2 * precision * recall / (precision + recall) if precision + recall or not safe else 0.0
    made = {
        "accuracy": sum(a == b for a, b in zip(said, answers)) / len(said),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "yes": said.count("yes") / len(said),
    }
    return made | {name: change(made, hits) for name, change in changes.items()}


POPE = {
    "found None": lambda *given: None,
    "found keys ['accuracy']": lambda *given: {"accuracy": 0.5},
    "division by zero": lambda *given: pope(*given, safe=False),
    "precision and recall are exchanged": lambda *given: pope(
        *given, precision=lambda m, h: m["recall"], recall=lambda m, h: m["precision"]
    ),
    "'no' is taken for the thing to find": lambda *given: pope(*given, positive="no"),
    "share of questions whose right answer": lambda said, answers: pope(
        said, answers, yes=lambda m, h: answers.count("yes") / len(answers)
    ),
    "divided by the number of all questions": lambda said, answers: pope(
        said, answers, recall=lambda m, h: h / len(said)
    ),
    "counts only right yeses": lambda said, answers: pope(
        said, answers, accuracy=lambda m, h: h / len(said)
    ),
    "the plain mean": lambda *given: pope(
        *given, f1=lambda m, h: (m["precision"] + m["recall"]) / 2
    ),
    "accuracy should be": lambda *given: pope(*given, accuracy=lambda m, h: 0.123),
}


def spoil(prompt):
    pictures = prompt[:-2:2]
    turned = pictures[-1:] + pictures[:-1]
    return [part for pair in zip(turned, prompt[1:-2:2]) for part in pair] + list(prompt[-2:])


def in_place(prompt):
    prompt[0] = prompt[2]
    return prompt


def all_turned(prompt):
    pictures = prompt[::2]
    return [part for pair in zip(pictures[-1:] + pictures[:-1], prompt[1::2]) for part in pair]


SPOIL = {
    "Did you forget the return?": lambda prompt: None,
    "you changed the prompt": in_place,
    "4 parts": lambda prompt: prompt[:4],
    "nothing changed": lambda prompt: list(prompt),
    "the question's own picture moved": all_turned,
    "the texts moved": lambda prompt: [*prompt[2:4], *prompt[:2], *prompt[4:]],
    "nearly": lambda prompt: spoil(spoil(prompt)),
    "new pictures": lambda prompt: [corruptions.BLANK, *prompt[1:]],
    "some examples still show": lambda prompt: [prompt[2], prompt[1], prompt[0], *prompt[3:]],
}

CALIBRATED = {
    "these are the differences": lambda seen, blind: seen - blind,
    "what the words alone expect": lambda seen, blind: seen.argmax(-1),
    "without the picture": lambda seen, blind: blind.argmax(-1),
    "the sign is wrong": lambda seen, blind: (seen + blind).argmax(-1),
    "Turn it round": lambda seen, blind: (blind - seen).argmax(-1),
    "logarithms are divided": lambda seen, blind: (seen / blind).argmax(-1),
    "probabilities are subtracted": lambda seen, blind: (seen.exp() - blind.exp()).argmax(-1),
    "the choices are the columns": lambda seen, blind: (seen - blind).argmax(0),
    "values are not right": lambda seen, blind: torch.zeros(len(seen)).long(),
}


WRONG = {
    "side_by_side.pope": POPE,
    "side_by_side.mismatched_pictures": SPOIL,
    "side_by_side.calibrated": CALIBRATED,
}
RIGHT = {
    "side_by_side.pope": pope,
    "side_by_side.mismatched_pictures": spoil,
    "side_by_side.calibrated": lambda seen, blind: (seen - blind).argmax(-1),
}


@pytest.mark.parametrize("id", RIGHT)
def test_right_answers_pass(id):
    assert [message(id, RIGHT[id]) for _ in range(3)] == [""] * 3


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


def test_the_patients_have_the_faults_they_should():
    found = {
        name: hallucination.hallucination_scores(system, 60)
        for name, system in faulty_systems().items()
    }
    healthy, habit, leak, yes = (found[name] for name in ("healthy", "A", "B", "C"))
    assert all(0.8 < one.accuracy < 0.98 and 0.4 < one.yes < 0.6 for one in healthy.values())
    assert habit["random"].accuracy > 0.88 and habit["adversarial"].accuracy < 0.65
    assert all(one.yes > 0.8 and one.recall > 0.9 and one.precision < 0.65 for one in yes.values())
    asked = corruptions.presence_questions(corruptions.random_noun, 60)
    grey = {
        name: prompting.episode_accuracy(system, corruptions.blank_query(asked))
        for name, system in faulty_systems().items()
    }
    assert grey["B"] > 0.85 and all(0.4 < grey[name] < 0.6 for name in ("healthy", "A", "C"))
    assert all(one.accuracy > 0.85 for one in leak.values())


def test_the_player_asks_every_model_and_says_what_is_there(monkeypatch):
    shown, calls = displayed(monkeypatch), []
    scenes = [world.sample("test", index, 0, (1, 1)) for index in range(3)]

    def certain(scene, word):
        calls.append((scene, word))
        return float(word in scene.words)

    presence_player({"sure": certain, "unsure": lambda scene, word: 0.5}, scenes)
    widget, static = shown[0]
    number, word, picture, said = widget.children
    assert (
        f"{world.article(scenes[0].words[0])} is there." in static["text/plain"]
        and "sure 1" in static["text/plain"]
    )
    word.value = corruptions.companion(scenes[0].words[0])
    assert "is not there, but a companion" in html.unescape(said.value) and calls[-1] == (
        scenes[0],
        word.value,
    )
    number.value = 2
    assert calls[-1][0] == scenes[2]
