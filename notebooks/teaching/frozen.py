"""Lesson 07, Frozen: exercises, quizzes, the failure lab, and a player that asks a model about pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from teaching.exercises import Exercise, normal, number, pure_rule, rule
from vlmcourse.plots import picture_and_bars
from vlmcourse.widgets.interactive import interactive, slider, text_field
from vlmcourse.world import tokenizer
from vlmgrader.checks import driver_source


def filled(words: Tensor, slots: Tensor, vectors: Tensor) -> Tensor:
    """words (B, T, D) with vectors (N, D) at slots (B, T), in reading order."""
    result = words.clone()
    result[slots] = vectors
    return result


def interleave_inputs(generator: torch.Generator) -> tuple[list, dict]:
    batch, length, width = 2, number(generator, 5, 7), number(generator, 3, 5)
    slots = torch.zeros(batch, length, dtype=torch.bool)
    for row in slots:  # as many slots as rows of vectors, another number in each text
        row[torch.randperm(length, generator=generator)[: number(generator, 1, 3)]] = True
    slots[0, 1:3] = True
    words = normal(generator, batch, length, width)
    return [words, slots, normal(generator, int(slots.sum()), width)], {}


def loss_mask(
    ids: Tensor,
    image_token_id: int,
    end: int,
    pad: int,
    stop=False,
    ends=False,
    pads=False,
    slots=False,
) -> Tensor:
    """(B, T): the caption, after the slots and the full stop behind them. The options also score other tokens."""
    result = torch.zeros_like(ids, dtype=torch.bool)
    for row, out in zip(ids.tolist(), result):
        last = max(place for place, token in enumerate(row) if token == image_token_id)
        for place, token in enumerate(row):
            out[place] = (
                (token not in (image_token_id, end, pad) and place > last + 1)
                or (stop and place == last + 1)
                or (ends and token == end)
                or (pads and token in (end, pad))
                or (slots and token == image_token_id)
            )
    return result


def scored_inputs(generator: torch.Generator) -> tuple[list, dict]:
    image_token_id, stop, end, pad = (torch.randperm(9, generator=generator) + 1)[:4].tolist()
    rows = []
    for slots in torch.randperm(4, generator=generator)[:3].tolist():
        caption = torch.randint(10, 40, (number(generator, 3, 5),), generator=generator)
        rows.append([50, *[image_token_id] * (slots + 1), stop, *caption.tolist(), stop, end])
    length = max(map(len, rows)) + 1
    return [
        torch.tensor([row + [pad] * (length - len(row)) for row in rows]),
        image_token_id,
        end,
        pad,
    ], {}


def first_word_left_out(ids: Tensor, image_token_id: int, end: int, pad: int) -> Tensor:
    found = loss_mask(ids, image_token_id, end, pad)
    return found & found.roll(1, 1)


def run_freeze(target, *_):
    """Driver: is a module that the student froze frozen, does it pass gradients on, and does it stay in eval mode?"""
    import torch
    from torch import nn

    lm = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2)))
    parent = nn.ModuleList([lm])
    target(lm)
    parent.train()
    x = torch.randn(3, 4, requires_grad=True)
    y = lm(x)
    if y.requires_grad:
        y.sum().backward()
    return {
        "passes gradients": bool(x.grad is not None and x.grad.abs().sum() > 0),
        "learns nothing": not any(p.requires_grad or p.grad is not None for p in lm.parameters()),
        "itself in eval mode": not lm.training,
        "parts in eval mode": not any(part.training for part in lm.modules()),
    }


FREEZING = {
    "passes gradients": "nothing behind the language model gets a gradient: it runs without one (no_grad, "
    "inference_mode, detach). Freeze its parameters, not its computation.",
    "learns nothing": "its parameters still collect gradients: requires_grad must be False for each of them.",
    "itself in eval mode": "after `system.train()` its dropout is on again: eval() alone does not last. What does a "
    "parent's train() call on its children, and how could the child answer?",
    "parts in eval mode": "after `system.train()` the module itself stays in eval mode, but a part of it does not: its "
    "dropout is on again. Every part must refuse train().",
}

EXERCISES = {
    "interleave": Exercise(
        "Words stay, and slots take the vectors in reading order.",
        (
            pure_rule(
                "my_interleave",
                interleave_inputs,
                filled,
                {
                    "nothing was filled in: did you work on a copy and return the original?": lambda w, s, v: (
                        w
                    ),
                    "the vectors are added to what stood there: the slot's own embedding must go.": lambda w, s, v: (
                        filled(w, s, w[s] + v)
                    ),
                    "the order is wrong: slots are filled in reading order, first picture first.": lambda w, s, v: (
                        filled(w, s, v.flip(0))
                    ),
                    "every slot has the first picture's vector: use each vector once.": lambda w, s, v: (
                        filled(w, s, v[:1].expand(len(v), -1))
                    ),
                    "the words were replaced, and the slots stayed: the mask is upside down.": lambda w, s, v: (
                        w.where(s[..., None], 0)
                    ),
                    "the slots are empty: fill them with the vectors.": lambda w, s, v: w.where(
                        ~s[..., None], 0
                    ),
                },
                "you wrote into `words` itself: those may be rows of the frozen language model. Work on a copy: "
                "words.clone(), or masked_scatter.",
            ),
        ),
    ),
    "loss_mask": Exercise(
        "The caption, nothing else: no slot, no full stop of the prompt, no end, no padding.",
        (
            rule(
                "my_scored",
                scored_inputs,
                loss_mask,
                {
                    "it is upside down: True must mean that the loss counts the token.": lambda *a: (
                        ~loss_mask(*a)
                    ),
                    "padding is counted: the model would learn to write <pad>, and short captions would count twice.": (
                        lambda *a: loss_mask(*a, pads=True),
                        lambda i, *a: loss_mask(i, *a, pads=True, stop=True),
                    ),
                    "the end token is counted: a language model that has read on after many captions finds it unlikely, "
                    "and the picture's vectors would have to make up for that.": lambda *a: (
                        loss_mask(*a, ends=True)
                    ),
                    "the slots are counted: there is no word to say in the place of a picture.": lambda *a: (
                        loss_mask(*a, slots=True, stop=True)
                    ),
                    "everything is counted, <bos> included, which nothing precedes.": lambda i, s, e, p: (
                        (i != p) & (i != e)
                    ),
                    "the full stop of the prompt is counted: it is the same for all pictures, and is given when the "
                    "model is used.": lambda *a: loss_mask(*a, stop=True),
                    "the full stop of the prompt and the end token are counted, as in the paper; here the loss counts "
                    "the caption alone.": lambda *a: loss_mask(*a, stop=True, ends=True),
                    "the first word of the caption is not counted: it may be the word that names the thing.": first_word_left_out,
                    "the caption is taken to begin at a fixed position: there can be one slot or many. Look for the last one.": tuple(
                        lambda i, s, e, p, n=n: (torch.arange(i.shape[1]) > n) & (i != p) & (i != e)
                        for n in range(2, 6)
                    ),
                },
                rounds=5,
            ),
        ),
    ),
    "freeze": Exercise(
        "Parameters frozen, gradients pass, and evaluation mode outlives the parent's train().",
        (
            rule(
                "my_freeze",
                lambda generator: ([], {}),
                lambda: dict.fromkeys(FREEZING, True),
                driver=driver_source(run_freeze),
                explain=lambda got, *_: next(FREEZING[name] for name in FREEZING if not got[name]),
            ),
        ),
    ),
}


def ask_player(
    after: Callable[[int, str], dict[str, float]], images: np.ndarray, texts: Sequence[str]
) -> None:
    """Displays pictures (N, S, S, 3) to choose from and a text to go on with, `texts` to begin with.

    after  (picture number, text) -> {word: probability}, the likeliest first
    """
    picture, text = slider("picture", 0, 0, len(images) - 1), text_field("text", texts[0], texts)

    def draw():
        likely = after(picture.value, " ".join(tokenizer.split_words(text.value)))
        return picture_and_bars(images[picture.value], likely, "probability of the next word")

    interactive([picture, text], draw)
