"""Lesson 09: the checks of the exercises on BLIP's downstream models: questions and dialogues."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import capfilt_reference as reference
from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source

# Questions.


def question_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """States, questions and answers with padding, first tokens, and the id of padding."""
    B, P, D = number(generator, 2, 3), number(generator, 3, 4), 4
    T, A, pad = number(generator, 5, 6), number(generator, 3, 4), number(generator, 1, 3)
    question = torch.randint(8, 30, (B, T), generator=generator)
    answer = torch.randint(8, 30, (B, A), generator=generator)
    question[:, 0], answer[:, 0] = 5, 5  # all texts begin alike
    question[0, -2:], answer[1, -1:] = pad, pad
    first = [number(generator, 31, 34), number(generator, 35, 38)]
    tables = [normal(generator, 40, D), normal(generator, 20, D)]
    return [normal(generator, B, P, D), question, answer, first, pad, *tables], {}


def run_answer(target, states, question, answer, first, pad, words, places):
    """Driver: answer_logits with an encoder and a decoder whose outputs depend on all that they get."""
    import torch

    def attend(x, mask, context, context_mask):
        scores = (x @ x.transpose(1, 2)).masked_fill(~mask[:, 0], -9.0)
        x = x + scores.softmax(-1) @ x
        scores = x @ context.transpose(1, 2)
        if context_mask is not None:
            scores = scores.masked_fill(~context_mask[:, None, :], -9.0)
        return torch.tanh(x + 2 * scores.softmax(-1) @ context)

    def embed(ids):
        return words[ids] + places[: ids.shape[1]]

    def encode(ids, mask, states):
        return attend(embed(ids), mask, states, None)

    def decode(ids, mask, context, context_mask):
        return attend(embed(ids), mask, context, context_mask) @ words.T

    return target(encode, decode, states, question, answer, tuple(first), pad)


def answered(
    encode,
    decode,
    states,
    question,
    answer,
    first_tokens,
    pad,
    encoder_causal: bool = False,
    decoder_causal: bool = True,
    first: tuple[int | None, int | None] = (0, 1),
    context: str = "question",
    context_mask: str = "question",
):
    """answer_logits with other choices."""
    enc, dec = (None if i is None else first_tokens[i] for i in first)
    inputs = [
        reference.role_inputs(ids, int(ids[0, 0]) if token is None else token, causal, pad)
        for ids, token, causal in ((question, enc, encoder_causal), (answer, dec, decoder_causal))
    ]
    text, mask = inputs[0]
    read = encode(text, mask, states)
    is_word = question != pad
    both = torch.cat([states, read], 1)
    seen = torch.ones(states.shape[:2], dtype=torch.bool)
    contexts = {
        "question": (read, is_word),
        "first state": (read[:, :1], is_word[:, :1]),
        "picture": (states, None),
        "both": (both, torch.cat([seen, is_word], 1)),
    }
    context, allowed = contexts[context]
    allowed = {"question": allowed, "none": None, "upside down": ~is_word}[context_mask]
    return decode(*inputs[1], context, allowed)


def answer_mistake(**choices) -> Callable:
    return lambda *args: run_answer(partial(answered, **choices), *args)


ANSWER_MISTAKES = {
    "the encoder is causal: a question is read in both directions.": answer_mistake(
        encoder_causal=True
    ),
    "the decoder isn't causal: it could read the answer that it should write.": answer_mistake(
        decoder_causal=False
    ),
    "the two first tokens are exchanged.": answer_mistake(first=(1, 0)),
    "both texts get the encoder's first token.": answer_mistake(first=(0, 0)),
    "both texts get the decoder's first token.": answer_mistake(first=(1, 1)),
    "the question keeps its own first token: [ENC] takes its place.": answer_mistake(
        first=(None, 1)
    ),
    "the answer keeps its own first token: [DEC] takes its place.": answer_mistake(first=(0, None)),
    "both texts keep their own first tokens: [ENC] and [DEC] take their places.": answer_mistake(
        first=(None, None)
    ),
    "the decoder reads the picture; it reads the encoder's states of the question.": (
        answer_mistake(context="picture")
    ),
    "the decoder reads picture and question; the encoder has read the picture for it already.": (
        answer_mistake(context="both")
    ),
    "the decoder reads the first state alone; it reads the states of all the question's tokens.": (
        answer_mistake(context="first state")
    ),
    "the decoder may attend to padding of the question: its mask is missing.": answer_mistake(
        context_mask="none"
    ),
    "the decoder's mask of the question is upside down: True at tokens, False at padding.": (
        answer_mistake(context_mask="upside down")
    ),
}

# Dialogues.


def dialogue_inputs(generator: torch.Generator) -> tuple[list, dict]:
    B, P, T, D = number(generator, 2, 3), number(generator, 3, 5), number(generator, 6, 7), 4
    pad = number(generator, 1, 4)
    caption = torch.randint(5, 40, (B, T), generator=generator)
    caption[0, -2:] = pad
    return [normal(generator, B, P, D), normal(generator, B, T, D), caption, pad], {}


def joined(
    states: Tensor,
    caption_states: Tensor,
    caption: Tensor,
    pad: int,
    order: int = 1,
    picture: bool = True,
    is_word: Callable = lambda ids, pad: ids != pad,
    parts: str = "both",
) -> list[Tensor]:
    """dialogue_context with other choices."""
    seen = torch.full(states.shape[:2], picture)
    words = is_word(caption, pad)
    kept = {"both": slice(None), "picture": slice(0, 1), "caption": slice(1, 2)}[parts]
    return [
        torch.cat([states, caption_states][kept][::order], 1),
        torch.cat([seen, words][kept][::order], 1),
    ]


DIALOGUE_MISTAKES = {
    message: partial(joined, **choices)
    for message, choices in {
        "the caption stands first: picture, then caption.": {"order": -1},
        "the picture is closed to attention: all its positions are True.": {"picture": False},
        "padding of the caption may be attended to; padding has the id `pad`.": {
            "is_word": lambda ids, pad: torch.ones_like(ids).bool()
        },
        "the caption's mask is upside down: False at padding.": {
            "is_word": lambda ids, pad: ids == pad
        },
        "the caption is missing.": {"parts": "picture"},
        "the picture is missing.": {"parts": "caption"},
    }.items()
}


def explain_context(got: object, wanted: list, states: Tensor, *_) -> str | None:
    """What the shapes say."""
    if not isinstance(got, list) or len(got) != 2:
        return "return two tensors: the context, and its mask."
    context, mask = got
    if not isinstance(context, Tensor) or not isinstance(mask, Tensor):
        return None
    if context.dtype == torch.bool:
        return "the two are exchanged: first the context, then its mask."
    if mask.dtype != torch.bool:
        return "a mask is booleans."
    if context.shape[1] == wanted[0].shape[1] and torch.equal(context, wanted[0]):
        return (
            "the context is right; its mask has another shape: one boolean for each position, "
            "(B, P + T)."
        )
    return None


EXERCISES = {
    "answer_logits": Exercise(
        "The question is the decoder's picture.",
        (
            rule(
                "answer_logits",
                question_inputs,
                partial(run_answer, reference.answer_logits),
                ANSWER_MISTAKES,
                driver=driver_source(run_answer),
            ),
        ),
        reference=reference.answer_logits,
    ),
    "dialogue_context": Exercise(
        "Picture and caption are one context.",
        (
            rule(
                "dialogue_context",
                dialogue_inputs,
                lambda *args: list(reference.dialogue_context(*args)),
                DIALOGUE_MISTAKES,
                explain=explain_context,
            ),
        ),
        reference=reference.dialogue_context,
    ),
}
