"""Lesson 14: the checks of the exercises on the chat template, and on which words of a dialogue are scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from teaching import llava_reference as reference
from teaching.exercises import Exercise, number, rule, rule_on
from vlmgrader.checks import driver_source

WORDS = ("cat", "dog", "fox", "owl", "car", "hat", "key", "bus")


def shuffled(generator: torch.Generator, values) -> list:
    return [values[i] for i in torch.randperm(len(values), generator=generator).tolist()]


# Exercise 4


def chat_inputs(generator: torch.Generator) -> tuple[list, dict]:
    words, answers = shuffled(generator, WORDS), shuffled(generator, ("yes", "no", "one", "two"))
    asked = [f"is there a {word} ?" for word in words]
    turns = [[asked[i], answers[i]] for i in range(number(generator, 2, 3))]
    return [turns, asked[-1]], {}


def chat(turns, question, *, picture="<image> .", each=None, last=None) -> str:
    each = each or (lambda q, a: f"question : {q} answer : {a} .")
    said = [each(*turn) for turn in turns]
    end = last(question) if last else f"question : {question} answer :"
    return " ".join(filter(None, [picture, *said, end]))


def chatting(**options) -> Callable:
    return lambda turns, question: chat(turns, question, **options)


CHAT_MISTAKES = {
    "the placeholder of the picture is missing: the text begins with '<image> .'": chatting(
        picture=""
    ),
    "the full stop after the placeholder is missing: '<image> .'": chatting(picture="<image>"),
    "the picture is repeated in each turn: it stands once, at the beginning.": lambda t, q: (
        " ".join(
            [f"<image> . question : {a} answer : {b} ." for a, b in t]
            + [f"<image> . question : {q} answer :"]
        )
    ),
    "the picture stands right before the open question; it stands at the beginning.": lambda t, q: (
        " ".join(
            [f"question : {a} answer : {b} ." for a, b in t]
            + [f"<image> . question : {q} answer :"]
        )
    ),
    "the picture stands at the end; it stands at the beginning.": lambda t, q: (
        chat(t, q, picture="") + " <image> ."
    ),
    "the full stops after the answers are missing: they end the assistant's turns.": chatting(
        each=lambda q, a: f"question : {q} answer : {a}"
    ),
    "the full stops need a space before them: ' .' is a token of its own.": chatting(
        each=lambda q, a: f"question : {q} answer : {a}."
    ),
    "the colons need a space before them: ' :' is a token of its own.": chatting(
        each=lambda q, a: f"question: {q} answer: {a} .", last=lambda q: f"question: {q} answer:"
    ),
    "question and answer are exchanged in the turns before.": chatting(
        each=lambda q, a: f"question : {a} answer : {q} ."
    ),
    "the answers of the turns before are missing: the model needs to read what it said.": chatting(
        each=lambda q, a: f"question : {q} answer : ."
    ),
    "the questions of the turns before are missing.": chatting(each=lambda q, a: f"answer : {a} ."),
    "the turns before are missing: 'it' could not be understood.": lambda t, q: chat([], q),
    "only the last turn is kept: all turns before belong to the text.": lambda t, q: chat(
        t[-1:], q
    ),
    "the first turn is missing.": lambda t, q: chat(t[1:], q),
    "the turns are in reverse order.": lambda t, q: chat(t[::-1], q),
    "the open question is missing at the end.": lambda t, q: " ".join(
        ["<image> .", *(f"question : {a} answer : {b} ." for a, b in t)]
    ),
    "the open question lacks 'answer :' at its end: the model would go on asking.": chatting(
        last=lambda q: f"question : {q}"
    ),
    "the open question ends with a full stop: the answer is to follow.": chatting(
        last=lambda q: f"question : {q} answer : ."
    ),
    "the text ends with a space: end with 'answer :'.": lambda t, q: chat(t, q) + " ",
    "the pieces stand without a space between them.": lambda t, q: "".join(
        [
            "<image> .",
            *(f"question : {a} answer : {b} ." for a, b in t),
            f"question : {q} answer :",
        ]
    ),
    "the pieces are on lines of their own: join them with spaces.": lambda t, q: "\n".join(
        [
            "<image> .",
            *(f"question : {a} answer : {b} ." for a, b in t),
            f"question : {q} answer :",
        ]
    ),
    "that is a list of pieces: join them to one text.": lambda t, q: [
        "<image> .",
        *(f"question : {a} answer : {b} ." for a, b in t),
        f"question : {q} answer :",
    ],
}


def run_empty(target, question):
    """Driver: the text of a chat that has no earlier turns, or the name of the error."""
    try:
        return target([], question)
    except (IndexError, ValueError, TypeError) as error:
        return [type(error).__name__]


def explain_empty(got: object, wanted: str, question: str) -> str:
    start = "a new chat has no earlier turns:"
    if isinstance(got, list) and len(got) == 1:
        return f"{start} your code raises {got[0]} when the list of turns is empty."
    if isinstance(got, str) and "  " in got:
        return f"{start} then two spaces stand side by side. Join one list of all pieces."
    return f"{start} expected {wanted!r} when the list of turns is empty."


# Exercise 5


def mask_inputs(generator: torch.Generator) -> tuple[list, dict]:
    words = ["<bos>", *["<image>"] * number(generator, 2, 4), "."]
    for word in shuffled(generator, WORDS)[:3]:
        words += f"question : where is the {word} ? answer :".split()
        words += shuffled(generator, ("top", "left", "middle"))[: number(generator, 1, 2)] + ["."]
    return [[*words, *["<pad>"] * number(generator, 1, 3)]], {}


def kinds_of(words: Sequence[str]) -> list[str]:
    """For each word: 'first' or 'answer' (and its number), 'stop', 'colon' before it, 'question', 'prefix' or 'pad'."""
    kinds, inside, begun, turn = [], False, False, 0
    for i, word in enumerate(words):
        if word == "<pad>":
            kind = "pad"
        elif inside:
            kind = "stop" if word == "." else ("answer" if begun else "first")
            begun, inside = True, word != "."
        elif word == ":" and words[i - 1] == "answer":
            kind, inside, begun, turn = "colon", True, False, turn + 1
        else:
            kind = "question" if "question" in words[: i + 1] else "prefix"
        kinds.append(f"{kind} {turn}")
    return kinds


def marking(*kinds: str, turns: Sequence[int] = (1, 2, 3)) -> Callable:
    def formula(words: Sequence[str]) -> list[bool]:
        found = (one.split() for one in kinds_of(words))
        return [kind in kinds and (int(turn) in turns or not int(turn)) for kind, turn in found]

    return formula


ANSWER = ("first", "answer", "stop")
MASK_MISTAKES = {
    "it is upside down: True must mean that the word is scored.": lambda w: [
        not one for one in marking(*ANSWER)(w)
    ],
    "the questions are scored, too: the model would learn to ask instead of to answer.": (
        marking(*ANSWER, "question", "colon"),
        marking(*ANSWER, "question"),
    ),
    "everything is scored, even the placeholders of the picture.": (
        marking(*ANSWER, "question", "colon", "prefix"),
        marking(*ANSWER, "question", "colon", "prefix", "pad"),
        lambda w: [word not in ("<bos>", "<pad>") for word in w],
    ),
    "the full stops of the answers are not scored: without them the model never learns to end its turn.": (
        marking("first", "answer")
    ),
    "the colon before each answer is scored: it belongs to the question.": marking(
        *ANSWER, "colon"
    ),
    "the first word of each answer is not scored: it is the one that matters most.": (
        marking("answer", "stop")
    ),
    "only the first word of each answer is scored: an answer may have several, and a full stop.": (
        marking("first")
    ),
    "only full stops are scored.": (
        marking("stop"),
        lambda w: [one == "." for one in w],
    ),
    "only the first answer is scored: each turn of the assistant counts.": marking(
        *ANSWER, turns=(1,)
    ),
    "only the last answer is scored: each turn of the assistant counts.": marking(
        *ANSWER, turns=(3,)
    ),
    "everything after the first 'answer :' is scored, the next questions, too.": (
        lambda w: [i > kinds_of(w).index("colon 1") for i in range(len(w))],
        lambda w: [
            i > kinds_of(w).index("colon 1") and word != "<pad>" for i, word in enumerate(w)
        ],
    ),
    "padding is scored after the last answer.": marking(*ANSWER, "pad"),
    "the mask is shifted by one: True stands at the word itself; the loss does the shift.": (
        lambda w: [*marking(*ANSWER)(w)[1:], False],
        lambda w: [False, *marking(*ANSWER)(w)[:-1]],
    ),
    "what follows 'question :' is scored instead of what follows 'answer :'.": (
        lambda w: _after_question(w)
    ),
    "every ':' begins an answer for you: only the ':' after 'answer' does.": (
        lambda w: _after_any_colon(w, True),
        lambda w: _after_any_colon(w, False),
    ),
    "nothing is scored.": lambda w: [False] * len(w),
    "a mask is booleans, True or False, not numbers.": lambda w: [
        int(one) for one in marking(*ANSWER)(w)
    ],
}


def _after_question(words: Sequence[str]) -> list[bool]:
    mask, inside = [], False
    for i, word in enumerate(words):
        mask.append(inside)
        if inside and word == "?":
            inside = False
        elif word == ":" and words[i - 1] == "question":
            inside = True
    return mask


def _after_any_colon(words: Sequence[str], with_stop: bool) -> list[bool]:
    mask, inside = [], False
    for word in words:
        mask.append(inside and (with_stop or word != "."))
        inside = word == ":" or (inside and word != ".")
    return mask


def explain_mask(got: object, wanted: list, words: Sequence[str]) -> str | None:
    if isinstance(got, torch.Tensor):
        return "that is a tensor: a list is wanted, .tolist() makes one."
    if isinstance(got, list) and len(got) != len(words):
        return f"the mask has {len(got)} entries for {len(words)} words: one for each word."
    return None


EXERCISES = {
    "chat_text": Exercise(
        "The picture once, then what was said, then the open question.",
        (
            rule("chat_text", chat_inputs, chat, CHAT_MISTAKES),
            rule_on(
                "chat_text",
                lambda generator: (chat_inputs(generator)[0][1:], {}),
                lambda question: chat([], question),
                driver=driver_source(run_empty),
                explain=explain_empty,
                rounds=1,
            ),
        ),
        reference=reference.chat_text,
    ),
    "answer_mask": Exercise(
        "Every word of every answer, with the full stop that ends it, and nothing else.",
        (
            rule(
                "answer_mask",
                mask_inputs,
                reference.answer_mask,
                MASK_MISTAKES,
                explain=explain_mask,
            ),
        ),
        reference=reference.answer_mask,
    ),
}
