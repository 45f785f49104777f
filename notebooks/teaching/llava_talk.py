"""Lesson 14: chats with a LLaVA, in the notebook's tables and as something to type into."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from teaching.frozen_figures import rendered
from vlmcourse import world
from vlmcourse.papers.llava import LLaVA
from vlmcourse.plots.style import blank_figure, course_style, describe
from vlmcourse.recipes import llava
from vlmcourse.widgets.interactive import interactive, slider, text_field
from vlmcourse.world import tokenizer

Turns = list[tuple[str, str]]
ABOUT_ONE_THING = {
    "what is the thing ?": lambda scene: scene.things[0].word,
    "what kind of thing is it ?": lambda scene: scene.things[0].noun.category,
    "where can you find it ?": lambda scene: scene.things[0].noun.place,
    "what colour is the background ?": lambda scene: scene.background,
    "how many things are there ?": lambda scene: world.questions.NUMBERS[len(scene.things)],
}
"""Questions of a chat about a picture of one thing, and what is right."""


def write(model: LLaVA, pages: Sequence[Sequence], tokens: int = 16) -> list[str]:
    """What LLaVA writes after pages of pictures and texts."""
    return llava.generate_answers(model, pages, model.vision.image_size, tokens)


def reply(model: LLaVA, scene: world.Scene, turns: Turns, question: str, text: Callable) -> str:
    """The answer to a question after what was said before. text: chat_text"""
    words = text(turns, question).removeprefix("<image> .").strip()
    return write(model, [(scene, words)])[0]


def talk(model: LLaVA, scene: world.Scene, questions: Sequence[str], text: Callable) -> Turns:
    """[(question, LLaVA's answer)]; each answer belongs to the text of the next question. text: chat_text"""
    turns: Turns = []
    for question in questions:
        turns.append((question, reply(model, scene, turns, question, text)))
    return turns


def chat_table(turns: Turns, scene: world.Scene) -> str:
    """A chat with the questions of ABOUT_ONE_THING beside the right answers, as Markdown."""
    rows = [f"| {q} | {answer} | {ABOUT_ONE_THING[q](scene)} |" for q, answer in turns]
    return "\n".join(["| question | LLaVA | right |", "|---|---|---|", *rows])


@course_style()
def conversation(image: np.ndarray, turns: Turns):
    """A picture (S, S, 3) beside the last five turns of a chat, answers in bold."""
    drawn, axes = blank_figure(7.2, 2.6)
    axes.imshow(image, extent=(0.02, 0.34, 0.06, 0.94), interpolation="nearest", aspect="auto")
    shown = turns[-5:]
    for turn, (question, answer) in enumerate(shown):
        y = 0.9 - 0.185 * turn
        axes.text(0.38, y, question, va="center", fontsize=10)
        axes.text(0.42, y - 0.085, answer, va="center", fontsize=10, weight="bold")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    words = "; ".join(f"{question} {answer}" for question, answer in shown)
    return describe(drawn, f"A picture, and a chat about it: {words}.")


def chat_player(
    model: LLaVA, scenes: Sequence[world.Scene], text: Callable, questions: Sequence[str]
) -> None:
    """A chat to type into: each question goes on with the chat; another picture begins a new one.

    text       chat_text
    questions  suggested ones; the first two are asked already
    """
    images = rendered(scenes, model.vision.image_size)
    picture = slider("picture", 0, 0, len(images) - 1)
    field = text_field("question", questions[2], questions)
    chats = {0: talk(model, scenes[0], questions[:2], text)}

    def draw():
        number, question = picture.value, " ".join(tokenizer.split_words(field.value))
        before = chats.get(number, [])
        answer = reply(model, scenes[number], before, question, text)
        chats.clear()
        chats[number] = [*before, (question, answer)]
        return conversation(images[number], chats[number])

    interactive([picture, field], draw)
