"""Lesson 15: the checks of the exercises on texts: pieces of words, a conversation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from teaching import real_weights_reference as reference
from teaching.exercises import (
    Exercise,
    number,
    rule,
    rule_on,
    run_and_watch_inputs,
)
from teaching.real_weights_reference import SYSTEM
from vlmgrader.checks import driver_source


def run_bpe(target, word, merges):
    """Driver: merges as tuples; the pieces as a list."""
    found = target(word, [tuple(pair) for pair in merges])
    return list(found) if isinstance(found, (list, tuple)) else found


def bpe_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """A word of few letters, and merges as training gives them: of pieces that exist by then."""
    letters = "ab" if number(generator, 0, 1) else "abc"
    pieces, merges = list(letters), []
    while len(merges) < 10:
        pair = [pieces[number(generator, 0, len(pieces) - 1)] for _ in range(2)]
        if pair not in merges and len("".join(pair)) < 7 and "".join(pair) not in pieces:
            merges.append(pair)
            pieces.append("".join(pair))
    word = "".join(letters[number(generator, 0, len(letters) - 1)] for _ in range(24))
    return [word, merges], {}


def disordered_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """The same, but a merge may stand before those that make its pieces."""
    (word, merges), _ = bpe_inputs(generator)
    order = torch.randperm(len(merges), generator=generator).tolist()
    return [word, [merges[place] for place in order]], {}


def one_pass(word: str, merges: list) -> list[str]:
    """Each merge once, in order of rank, wherever its pair stands."""
    pieces = list(word)
    for one, other in merges:
        at = 0
        while at < len(pieces) - 1:
            if pieces[at : at + 2] == [one, other]:
                pieces[at : at + 2] = [one + other]
            at += 1
    return pieces


def cut(
    word: str, merges: list, choose: Callable[[list[int], list[int]], int], most: int = 99
) -> list[str]:
    """bpe with another choice among the pairs that have a merge: choose(their places, their ranks) -> a place."""
    pieces = list(word)
    for _ in range(most):
        pairs = [list(pair) for pair in zip(pieces, pieces[1:])]
        places = [place for place, pair in enumerate(pairs) if pair in merges]
        if not places:
            break
        at = choose(places, [merges.index(pairs[place]) for place in places])
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
    return pieces


def best_first(places: list[int], ranks: list[int]) -> int:
    return places[ranks.index(min(ranks))]


def longest_match(word: str, merges: list) -> list[str]:
    """The longest known piece from the left, again and again."""
    known, found = {"".join(pair) for pair in merges}, []
    while word:
        length = max((n for n in range(2, len(word) + 1) if word[:n] in known), default=1)
        found.append(word[:length])
        word = word[length:]
    return found


BPE_MISTAKES = {
    "that is the longest known piece from the left; byte-pair encoding applies merges by rank.": longest_match,
    "merges are applied from left to right, whatever their rank: the earliest merge comes first.": partial(
        cut, choose=lambda places, ranks: places[0]
    ),
    "the last merge of the list is taken first; the first one has precedence.": partial(
        cut, choose=lambda places, ranks: places[ranks.index(max(ranks))]
    ),
    "among equal pairs the rightmost is merged first; go from the left.": partial(
        cut,
        choose=lambda places, ranks: max(
            place for place, rank in zip(places, ranks) if rank == min(ranks)
        ),
    ),
    "only one merge was made: go on until no pair has one.": partial(
        cut, choose=best_first, most=1
    ),
    "only two merges were made: go on until no pair has one.": partial(
        cut, choose=best_first, most=2
    ),
    "nothing was merged: these are the characters.": lambda word, merges: list(word),
    "that is the whole word: only pairs in the list are merged.": lambda word, merges: [word],
}
ORDER_MISTAKES = {
    "that is one pass over the merges: after each merge begin again from the lowest rank.": one_pass
}


def explain_pieces(got: object, wanted: list, word: str, merges: list) -> str | None:
    if not isinstance(got, list):
        return None
    names = ", ".join("+".join(pair) for pair in merges)
    return f"{word!r} became {got}; expected {wanted} with merges {names}."


CHATS = (
    ("What is in the picture?",),
    ("Name a cat.", "Tom.", "Another one?"),
    ("Count to three.", "One, two, three.", "And on?", "Four.", "Stop."),
)


def chat_inputs(generator: torch.Generator, system: bool | None = None) -> tuple[list, dict]:
    """A conversation of one, three or five turns, with a system message (then not of one) or without."""
    said = CHATS[number(generator, 1 if system else 0, 2)]
    roles = ("user", "assistant") * len(said)
    messages = [{"role": role, "content": text} for role, text in zip(roles, said)]
    if number(generator, 0, 1) if system is None else system:
        messages.insert(0, {"role": "system", "content": "You answer briefly."})
    return [messages], {}


def ended_inputs(_: torch.Generator) -> tuple[list, dict]:
    """A conversation that ends with the assistant's turn, and a content that ends with a space."""
    said = {"user": "Write on, please: ", "assistant": "Once upon a time"}
    return [[{"role": role, "content": text} for role, text in said.items()]], {}


def chat(
    messages: list,
    system: str | None = SYSTEM,
    turn: str = "<|im_start|>{role}\n{content}<|im_end|>\n",
    end: str = "<|im_start|>assistant\n",
    always: bool = False,
) -> str:
    """chat_prompt with other choices; system None: no message is added."""
    if system is not None and (always or messages[0]["role"] != "system"):
        messages = [{"role": "system", "content": system}, *messages]
    return "".join(turn.format(**message) for message in messages) + end


TURN_MISTAKES = {
    "the line break after <|im_end|> is missing.": partial(
        chat, turn="<|im_start|>{role}\n{content}<|im_end|>"
    ),
    "between role and content stands a space; expected a line break.": partial(
        chat, turn="<|im_start|>{role} {content}<|im_end|>\n"
    ),
    "before <|im_end|> stands a line break; expected none.": partial(
        chat, turn="<|im_start|>{role}\n{content}\n<|im_end|>\n"
    ),
    "the turns don't end with <|im_end|>.": partial(chat, turn="<|im_start|>{role}\n{content}\n"),
    "the roles are missing.": partial(chat, turn="<|im_start|>{content}<|im_end|>\n"),
    "the assistant's turn is not opened, so the model may go on with the user's words.": partial(
        chat, end=""
    ),
    "the assistant's turn is opened without a line break after the role.": partial(
        chat, end="<|im_start|>assistant"
    ),
    "the assistant's turn is closed again; its answer is still to come.": partial(
        chat, end="<|im_start|>assistant\n<|im_end|>\n"
    ),
    "only the last message is there; the model reads the whole conversation.": lambda messages: (
        chat(messages[-1:])
    ),
}
SYSTEM_MISTAKES = {
    "a conversation without a system message gets SYSTEM first.": partial(chat, system=None),
    "the system message is empty; it is SYSTEM.": partial(chat, system=""),
    "a full stop was added to SYSTEM.": partial(chat, system=SYSTEM + "."),
}
SECOND_SYSTEM = {
    "there is a system message already: SYSTEM is for conversations without one.": partial(
        chat, always=True
    ),
    "the conversation's own system message is replaced by SYSTEM; keep it.": lambda messages: chat(
        messages[1:]
    ),
}
ENDED_MISTAKES = {
    "the assistant's turn is opened only after a user's message; open it after any.": partial(
        chat, end=""
    ),
    "the contents are stripped of spaces; they stay as they are.": lambda messages: chat(
        [{**message, "content": message["content"].strip()} for message in messages]
    ),
}


def explain_chat(got: object, wanted: str, *_) -> str | None:
    """Where the text departs from the right one."""
    if not isinstance(got, str):
        return None
    at = next((n for n, (one, other) in enumerate(zip(got, wanted)) if one != other), None)
    at = min(len(got), len(wanted)) if at is None else at
    return f"after {wanted[max(0, at - 25) : at]!r} comes {got[at : at + 12]!r}; expected {wanted[at : at + 12]!r}."


EXERCISES = {
    "bpe": Exercise(
        "Merges by rank, until none is left: this is how CLIP's, OPT's and SmolLM2's tokenizers cut words.",
        (
            rule(
                "bpe",
                bpe_inputs,
                partial(cut, choose=best_first),
                BPE_MISTAKES,
                driver=driver_source(run_bpe),
                explain=explain_pieces,
            ),
            rule("bpe", disordered_inputs, partial(cut, choose=best_first), ORDER_MISTAKES,
                 driver=driver_source(run_bpe), explain=explain_pieces),
            rule_on("bpe", lambda _: (["a", [["a", "b"]]], {}), lambda *_: ["a"],
                    driver=driver_source(run_bpe), rounds=1),
        ),
        reference=reference.bpe,
    ),
    "chat_prompt": Exercise(
        "Each turn has its marks, and the assistant's turn is open.",
        (
            rule_on(
                "chat_prompt",
                partial(chat_inputs, system=True),
                chat,
                SECOND_SYSTEM | TURN_MISTAKES,
                explain=explain_chat,
                rounds=4,
            ),
            rule_on(
                "chat_prompt",
                partial(chat_inputs, system=False),
                chat,
                SYSTEM_MISTAKES | TURN_MISTAKES,
                explain=explain_chat,
                rounds=4,
            ),
            rule_on(
                "chat_prompt", ended_inputs, chat, ENDED_MISTAKES, explain=explain_chat, rounds=1
            ),
            rule_on(
                "chat_prompt",
                chat_inputs,
                lambda messages: [chat(messages), True],
                {
                    "the prompt is right, but the caller's messages were changed: make a new list.": (
                        lambda messages: [chat(messages), False]
                    )
                },
                driver=driver_source(run_and_watch_inputs),
                rounds=6,
            ),
        ),
        reference=reference.chat_prompt,
    ),
}  # fmt: skip
