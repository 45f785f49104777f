"""Instant checks of lesson 05's exercises, and a player that asks a model about pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from teaching.exercises import Mistake, diagnosed
from vlmcourse.plots import picture_and_bars
from vlmcourse.widgets.interactive import play
from vlmcourse.world import tokenizer


def interleave(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> str:
    """Exercise 1: interleave(words (B, T, D), slots (B, T) booleans, vectors (slots, D)) -> (B, T, D)."""
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    words = torch.randn(2, 5, 3, generator=generator)
    slots = torch.tensor([[False, True, True, False, False], [False, False, True, False, True]])
    vectors = torch.randn(4, 3, generator=generator)
    before, got = words.clone(), answer(words, slots, vectors)
    if got is None:
        raise Mistake("interleave() returned None. Did you forget the return?")
    if not isinstance(got, Tensor) or got.shape != words.shape:
        shape = tuple(got.shape) if isinstance(got, Tensor) else type(got).__name__
        raise Mistake(
            f"found {shape}; expected {tuple(words.shape)}: as many positions as before, only other vectors at slots."
        )

    def filled(with_: Tensor, where: Tensor = slots) -> Tensor:
        made = before.clone()
        made[where] = with_
        return made

    wanted = filled(vectors)
    if torch.equal(got, wanted):
        if not torch.equal(words, before):
            raise Mistake(
                "the right vectors, but you wrote them into `words` itself: those may be rows of the frozen language "
                "model. Work on a copy: words.clone(), or masked_scatter."
            )
        return "Words stay, and slots take the vectors in reading order."
    likely = {
        "nothing was filled in: did you work on a copy and return the original?": before,
        "the vectors are added to what stood there: the slot's own embedding must go.": filled(
            before[slots] + vectors
        ),
        "the order is wrong: slots are filled in reading order, first picture first.": filled(
            vectors.flip(0)
        ),
        "every slot has the first picture's vector: use each vector once.": filled(
            vectors[:1].expand(4, -1)
        ),
        "the words were replaced, and the slots stayed: the mask is upside down.": torch.where(
            slots[..., None], before, got
        ),
    }
    raise Mistake(
        next(
            (name for name, made in likely.items() if torch.equal(got, made)),
            "some positions hold neither their word nor their vector. Draw slots and result side by side.",
        )
    )


def loss_mask(answer: Callable[[Tensor, int, int, int], Tensor]) -> str:
    """Exercise 2: scored(ids (B, T), slot, end, pad) -> (B, T) booleans: which tokens does the caption loss ask for?"""
    image_token_id, pad = 4, 0
    ids = torch.tensor([[1, 4, 4, 9, 17, 23, 9, 2, 0, 0], [1, 4, 4, 9, 31, 12, 8, 6, 9, 2]])
    past = (torch.arange(10) > 3).expand(2, 10)  # after the full stop that closes the picture
    wanted = past & (ids != pad) & (ids != 2)
    got = answer(ids, image_token_id, 2, pad)
    if not isinstance(got, Tensor) or got.shape != ids.shape or got.dtype != torch.bool:
        found = (
            f"{tuple(got.shape)} of {got.dtype}" if isinstance(got, Tensor) else type(got).__name__
        )
        raise Mistake(
            f"found {found}; expected booleans of shape {tuple(ids.shape)}, True where a word is asked for."
        )
    if torch.equal(got, wanted):
        return "The caption, nothing else: no slot, no full stop of the prompt, no end, no padding."
    padding_mask = ids != pad
    likely = {
        "it is upside down: True must mean 'asked for'.": ~wanted,
        "padding is asked for: the model would learn to write <pad>, and short captions would count twice.": past,
        "the end token is asked for: a language model that has read on after many captions finds it unlikely, and the "
        "picture's vectors would have to make up for that.": past & padding_mask,
        "the slots are asked for: there is no word to say in the place of a picture.": (
            torch.arange(10) > 0
        )
        & padding_mask
        & (ids != 2),
        "everything is asked for, <bos> included, which nothing precedes.": padding_mask
        & (ids != 2),
        "the full stop of the prompt is asked for: it is the same for all pictures, and is given when the model is used.": (
            torch.arange(10) > 2
        )
        & padding_mask
        & (ids != 2),
        "the first word of the caption is not asked for: it may be the word that names the thing.": wanted
        & (torch.arange(10) > 4),
    }
    raise Mistake(
        next(
            (name for name, made in likely.items() if torch.equal(got, made.expand(2, 10))),
            f"for {ids[0].tolist()} (slot 4, pad 0) expected True at {wanted[0].nonzero()[:, 0].tolist()}; "
            f"yours: {got[0].nonzero()[:, 0].tolist()}.",
        )
    )


def frozen(answer: Callable[[nn.Module], object]) -> str:
    """Exercise 3: make(lm) -> whatever; afterwards lm is frozen, yet gradients pass through it to what it reads."""
    torch.manual_seed(torch.seed() % 2**31)
    lm = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    parent = nn.ModuleList([lm])
    answer(lm)
    parent.train()
    x = torch.randn(3, 4, requires_grad=True)
    out = lm(x)
    if not out.requires_grad:
        raise Mistake(
            "nothing behind the language model gets a gradient: it runs without one (no_grad, inference_mode, detach). "
            "Freeze its parameters, not its computation."
        )
    out.sum().backward()
    if any(parameter.grad is not None or parameter.requires_grad for parameter in lm.parameters()):
        raise Mistake(
            "its parameters still collect gradients: requires_grad must be False for each of them."
        )
    if any(part.training for part in lm.modules()):
        raise Mistake(
            "after `system.train()` its dropout is on again: eval() alone does not last. What does a parent's train() "
            "call on its children, and how could the child answer?"
        )
    return "Parameters frozen, gradients pass, and evaluation mode outlives the parent's train()."


def diagnosis(answer: dict[str, str]) -> str:
    """Failure lab: {'A': cause, 'B': ..., 'C': ...} for three systems."""
    truth = {"A": "blind", "B": "thawed", "C": "prompt"}
    hints = {
        "A": "its captions are fluent, and have nothing to do with what it is shown. What did it see in training?",
        "B": "its loss is the lowest. What of it was to stay as it was, and did not?",
        "C": "its loss is far above the others', from the first step on. Which words is it asked for that no picture can foretell?",
    }
    return diagnosed(
        answer,
        truth,
        hints,
        "Captions that ignore the picture, a language model that drifted, a loss that counts what is given.",
    )


def ask_player(
    after: Callable[[int, str], dict[str, float]], images: np.ndarray, texts: Sequence[str]
) -> None:
    """Displays pictures (N, S, S, 3) to choose from and a text to go on with, `texts` to begin with.

    after  (picture number, text) -> {word: probability}, the likeliest first
    """
    import ipywidgets

    number = ipywidgets.IntSlider(
        value=0, min=0, max=len(images) - 1, description="picture", continuous_update=False
    )
    text = ipywidgets.Combobox(
        value=texts[0],
        options=list(texts),
        description="text",
        continuous_update=False,
        layout={"width": "42em"},
    )

    def drawn():
        likely = after(number.value, " ".join(tokenizer.split_words(text.value)))
        return picture_and_bars(images[number.value], likely, "probability of the next word")

    play([number, text], drawn)
