"""The gate explorer: how Flamingo's gates open over training, what each opening lets through, and who hears of the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from vlmcourse.lab.draw import bars, curves, picture_and_bars
from vlmcourse.lab.draw.style import Page
from vlmcourse.parts.layers import TanhGate
from vlmcourse.play.lesson import play, row

VIEWS = ("over training", "by hand", "gradients")
WIDEST = 0.999
"""A gate that is open all the way would take an infinite parameter."""


@dataclass(frozen=True)
class Replay:
    """What was noted while a model trained, at K steps.

    gates  {name: K values};  loss (K,) with pictures;  blind  the trained model's loss when its gates are shut: the language
           model alone
    """

    steps: tuple[int, ...]
    gates: dict[str, tuple[float, ...]]
    loss: tuple[float, ...]
    blind: float


@contextmanager
def gates_at(model: nn.Module, value: float) -> Iterator[None]:
    """Every tanh gate is open by `value` in here, 0 to 1; afterwards each is as it was.

    Raises ValueError for another value, or a model without gates.
    """
    gates = [module for module in model.modules() if isinstance(module, TanhGate)]
    if not 0 <= value <= 1 or not gates:
        raise ValueError(f"gates at {value} of a model that has {len(gates)} of them; expected 0 to 1, and a model with gates, "
                         "such as Flamingo.")
    before = [gate.alpha.detach().clone() for gate in gates]
    try:
        for gate in gates:
            gate.alpha.data.fill_(math.atanh(min(value, WIDEST)))
        yield
    finally:
        for gate, alpha in zip(gates, before):
            gate.alpha.data.copy_(alpha)


@torch.no_grad()
def loss_of(model: nn.Module, batch: dict) -> float:
    """The model's loss on a batch."""
    return sum(value.item() for value in model.losses(batch).values())


PARTS = {"gates": ("gate",), "resampler": ("resampler",), "attention behind the gates": ("blocks", "attention"),
         "feed-forward behind the gates": ("blocks", "feedforward"), "norms behind the gates": ("blocks", "norm"),
         "new words": ("rows",), "language model": ("lm",), "vision tower": ("vision",)}
"""Names of groups, and what a parameter's name holds that belongs to it; the first that fits counts."""


def gradients(model: nn.Module, batch: dict) -> dict[str, float]:
    """The norm of the loss's gradient for each group of parameters, 0 for those that are frozen or that it doesn't reach."""
    learns = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    with torch.enable_grad():
        loss = sum(model.losses(batch).values())
        found = torch.autograd.grad(loss, [parameter for _, parameter in learns], allow_unused=True)
    squares = dict.fromkeys(PARTS, 0.0)
    for (name, _), gradient in zip(learns, found):
        pieces = name.replace("_feedforward.alpha", ".alpha").split(".")
        group = next((group for group, words in PARTS.items() if all(any(piece.startswith(word) for piece in pieces)
                                                                     for word in words)), None)
        if group and gradient is not None:
            squares[group] += gradient.square().sum().item()
    return {group: square ** 0.5 for group, square in squares.items()}


def _short(name: str) -> str:
    """'blocks.0.gate_feedforward' -> 'layer 0, feed-forward'."""
    layer = next((piece for piece in name.split(".") if piece.isdigit()), "?")
    return f"layer {layer}, {'feed-forward' if name.endswith('feedforward') else 'attention'}"


def replayed(replay: Replay, number: int):
    """Gates and losses over training up to record `number`, counted from 0."""
    shown = replay.steps[:number + 1]
    opened = curves({_short(name): dict(zip(shown, values)) for name, values in replay.gates.items()}, "step",
                    "gate, tanh(alpha)")
    opened.axes[0].axhline(0, color="black", linewidth=0.8)
    losses = curves({"with pictures": dict(zip(shown, replay.loss))}, "step", "loss",
                    lines={"gates shut: language model alone": replay.blind})
    for made in (opened, losses):
        made.axes[0].set_xlim(0, replay.steps[-1] + 1)
        made.axes[0].legend(loc="upper left", bbox_to_anchor=(1, 1))
        for line in made.axes[0].lines:
            line.set_markersize(3)
    now = ", ".join(f"{_short(name)} {values[len(shown) - 1]:.3f}" for name, values in replay.gates.items())
    return Page((opened, losses), f"Step {shown[-1]} of {replay.steps[-1]}. Gates: {now}. Loss {replay.loss[len(shown) - 1]:.3f}"
                                  f"; with all gates shut the trained model's loss is {replay.blind:.3f}.")


def by_hand(model: nn.Module, image: np.ndarray, ask: Callable[[], tuple[Mapping[str, float], str]],
            value: float | None):
    """The next word's probabilities and what the model writes, with all gates at `value` (None: as they were trained)."""
    if value is None:
        (found, said), where = ask(), "gates as trained"
    else:
        with gates_at(model, value):
            (found, said), where = ask(), f"all gates at {value:.2f}"
    made = picture_and_bars(image, found, "probability of the next word")
    made.axes[1].set_title(f"{where}\nit writes: {said}", loc="left", fontsize=9)
    made.description = f"{where}; the model writes '{said}'. {made.description}"
    return made


def heard(model: nn.Module, batch: dict, value: float | None):
    """Which parameters get a gradient, with all gates at `value` (None: as they were trained)."""
    if value is None:
        found = gradients(model, batch)
    else:
        with gates_at(model, value):
            found = gradients(model, batch)
    made = bars({name: {"norm of the gradient": norm} for name, norm in found.items()}, "norm of the gradient", sideways=True)
    silent = [name for name, norm in found.items() if norm == 0]
    where = "as trained" if value is None else f"at {value:.2f}"
    made.axes[0].set_title(f"gates {where}; no gradient at all:\n{', '.join(silent) or 'nobody'}", loc="left", fontsize=9,
                           fontweight="normal")
    made.description = f"Gates {where}. Without any gradient: {', '.join(silent) or 'nobody'}. {made.description}"
    return made


def gate_explorer(model: nn.Module, replay: Replay, ask: Callable[[int, str], tuple[Mapping[str, float], str]],
                  images: np.ndarray, texts: Sequence[str], batch: dict) -> None:
    """Displays the explorer.

    ask     (picture number, text) -> ({word: probability}, what the model writes)
    images  (N, S, S, 3) uint8; texts: prompts to begin with; batch: for the gradients
    """
    import ipywidgets

    view = ipywidgets.ToggleButtons(options=VIEWS, description="show", style={"button_width": "9em"})
    when = ipywidgets.IntSlider(value=len(replay.steps) - 1, min=0, max=len(replay.steps) - 1, description="record",
                                continuous_update=False)
    hand = ipywidgets.Checkbox(value=False, description="set the gates by hand")
    value = ipywidgets.FloatSlider(value=0, min=0, max=1, step=0.05, description="gates", continuous_update=False)
    number = ipywidgets.IntSlider(value=0, min=0, max=len(images) - 1, description="picture", continuous_update=False)
    typed = ipywidgets.Combobox(value=texts[0], options=list(texts), description="text", continuous_update=False,
                                layout={"width": "min(34em, 100%)"})

    def drawn():
        at = value.value if hand.value else None
        if view.value == "over training":
            return replayed(replay, when.value)
        if view.value == "gradients":
            return heard(model, batch, at)
        return by_hand(model, images[number.value], lambda: ask(number.value, typed.value), at)

    play([view, when, row(hand, value), row(number, typed)], drawn)
