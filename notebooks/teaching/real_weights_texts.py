"""Lesson 15: the checks of the exercises on texts: pieces of words, rows for new words, a conversation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import real_weights_reference as reference
from teaching.exercises import Exercise, normal, number, rule, rule_on
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


CHATS = (
    ("What is in the picture?",),
    ("Name a cat.", "Tom.", "Another one?"),
    ("Count to three.", "One, two, three.", "And on?", "Four.", "Stop."),
)


def chat_inputs(generator: torch.Generator, system: bool | None = None) -> tuple[list, dict]:
    """A conversation of one, three or five turns, with a system message or without."""
    said = CHATS[number(generator, 0, 2)]
    roles = ("user", "assistant") * len(said)
    messages = [{"role": role, "content": text} for role, text in zip(roles, said)]
    if number(generator, 0, 1) if system is None else system:
        messages.insert(0, {"role": "system", "content": "You answer briefly."})
    return [messages], {}


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
    )
}


def explain_chat(got: object, wanted: str, *_) -> str | None:
    """Where the text departs from the right one."""
    if not isinstance(got, str):
        return None
    at = next((n for n, (one, other) in enumerate(zip(got, wanted)) if one != other), None)
    at = min(len(got), len(wanted)) if at is None else at
    return f"after {wanted[max(0, at - 25) : at]!r} comes {got[at : at + 12]!r}; expected {wanted[at : at + 12]!r}."


def run_grow(target, table, related):
    """Driver: [weights, does it learn, is it a module, is the old table as it was?]"""
    import torch

    old = torch.nn.Embedding.from_pretrained(table.clone(), freeze=False)
    found = target(old, related)
    kept = torch.equal(old.weight.detach(), table)
    if not isinstance(found, torch.nn.Embedding):
        return [found.detach() if isinstance(found, torch.Tensor) else found, False, False, kept]
    return [found.weight.detach(), found.weight.requires_grad, True, kept]


def grow_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """A table, and for each of four new words the rows of related ones, once none."""
    rows, width = number(generator, 6, 9), number(generator, 3, 5)
    chosen = torch.randperm(rows, generator=generator).tolist()
    return [normal(generator, rows, width), [chosen[:2], [], chosen[2:3], chosen[1:4]]], {}


def grown(table: Tensor, related: list, row: Callable, arrange=lambda old, new: [old, new]) -> list:
    """What run_grow gives for another rule for new rows: row(table, ids)."""
    new = torch.stack([row(table, ids) for ids in related])
    return [torch.cat(arrange(table, new)), True, True, True]


def mean_of(table: Tensor, ids: list) -> Tensor:
    return table[ids].mean(0) if ids else table.mean(0)


GROW_MISTAKES = {
    "a word without related ones starts at zero; wanted is the mean of all rows.": partial(
        grown, row=lambda table, ids: table[ids].mean(0) if ids else torch.zeros_like(table[0])
    ),
    "rows of related words are added; take their mean.": partial(
        grown, row=lambda table, ids: table[ids].sum(0) if ids else table.mean(0)
    ),
    "only the first related word counts.": partial(
        grown, row=lambda table, ids: table[ids[0]] if ids else table.mean(0)
    ),
    "every new row is the mean of all rows.": partial(grown, row=lambda table, _: table.mean(0)),
    "the new rows stand before the old ones, so every known word changes its number.": partial(
        grown, row=mean_of, arrange=lambda old, new: [new, old]
    ),
    "the new rows alone are returned; the old ones come first.": partial(
        grown, row=mean_of, arrange=lambda old, new: [new]
    ),
    "new rows are zero: read `related`.": partial(
        grown, row=lambda table, _: torch.zeros_like(table[0])
    ),
    "the values are right, but the new table doesn't learn: it is frozen.": (
        lambda *args: [grown(*args, row=mean_of)[0], False, True, True]
    ),
    "the values are right, but that is a tensor; wanted is an nn.Embedding.": (
        lambda *args: [grown(*args, row=mean_of)[0], False, False, True]
    ),
    "the old table was changed; leave it as it is.": (
        lambda *args: [*grown(*args, row=mean_of)[:3], False]
    ),
}


def explain_grow(got: object, wanted: list, table: Tensor, related: list) -> str | None:
    """Old rows that changed, and random new ones."""
    if not isinstance(got, list) or len(got) != 4 or not isinstance(got[0], Tensor):
        return None
    if got[0].shape != wanted[0].shape:
        return f"found {tuple(got[0].shape)}; expected {tuple(wanted[0].shape)}: one row per entry."
    if not torch.equal(got[0][: len(table)], table):
        return "the rows of known words changed; copy them."
    return (
        "the known words' rows are right, the new ones are not: the mean of the rows in each entry."
    )


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
                explain=lambda got, wanted, word, merges: (
                    f"{word!r} became {got}; expected {wanted} with merges "
                    + ", ".join("+".join(pair) for pair in merges)
                    + "."
                    if isinstance(got, list)
                    else None
                ),
            ),
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
        ),
        reference=reference.chat_prompt,
    ),
    "grow_embedding": Exercise(
        "Known words keep their rows, and new ones begin near words of their kind.",
        (
            rule(
                "grow_embedding",
                grow_inputs,
                partial(grown, row=mean_of),
                GROW_MISTAKES,
                driver=driver_source(run_grow),
                explain=explain_grow,
            ),
        ),
        reference=reference.grow_embedding,
    ),
}  # fmt: skip
