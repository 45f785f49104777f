"""The gate explorer: how Flamingo's gates open over training, what each opening lets through, and who hears of the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from vlmcourse import introspection
from vlmcourse.plots import bars, picture_and_bars
from vlmcourse.plots.style import (
    COLOURS,
    MARKERS,
    describe,
    figure,
    subtitle,
    course_style,
    set_margins,
)
from vlmcourse.widgets.interactive import only, play, row

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
def gates_at(model: nn.Module, value: float, name: str = "") -> Iterator[None]:
    """Every tanh gate, or the one of this name, is open by `value` in here, 0 to 1; afterwards each is as it was.

    Raises ValueError for another value, or a model without such gates.
    """
    gates = [
        model.get_submodule(called)
        for called in introspection.gate_values(model)
        if name in ("", called)
    ]
    if not 0 <= value <= 1 or not gates:
        raise ValueError(
            f"gates at {value} of a model that has {len(gates)} of them; expected 0 to 1, and a model with gates, "
            "such as Flamingo."
        )
    before = [gate.alpha.detach().clone() for gate in gates]
    try:
        for gate in gates:
            gate.alpha.data.fill_(math.atanh(min(value, WIDEST)) / gate.gate_lr_scale)
        yield
    finally:
        for gate, alpha in zip(gates, before):
            gate.alpha.data.copy_(alpha)


@torch.no_grad()
def loss_of(model: nn.Module, batch: dict) -> float:
    """The model's loss on a batch."""
    return sum(value.item() for value in model.losses(batch).values())


PARTS = {
    "gates": ("gate",),
    "resampler": ("resampler",),
    "attention behind the gates": ("blocks", "attention"),
    "feed-forward behind the gates": ("blocks", "feedforward"),
    "norms behind the gates": ("blocks", "norm"),
    "new words": ("rows",),
    "language model": ("lm",),
    "vision tower": ("vision",),
}
"""Names of groups, and what a parameter's name holds that belongs to it; the first that fits counts."""


def gradients(model: nn.Module, batch: dict) -> dict[str, float]:
    """The norm of the loss's gradient for each group of parameters, 0 for those that are frozen or that it doesn't reach."""
    learns = [
        (name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad
    ]
    with torch.enable_grad():
        loss = sum(model.losses(batch).values())
        found = torch.autograd.grad(loss, [parameter for _, parameter in learns], allow_unused=True)
    squares = dict.fromkeys(PARTS, 0.0)
    for (name, _), gradient in zip(learns, found):
        pieces = name.replace("_feedforward.alpha", ".alpha").split(".")
        group = next(
            (
                group
                for group, words in PARTS.items()
                if all(any(piece.startswith(word) for piece in pieces) for word in words)
            ),
            None,
        )
        if group and gradient is not None:
            squares[group] += gradient.square().sum().item()
    return {group: square**0.5 for group, square in squares.items()}


def _short(name: str) -> str:
    """'blocks.0.gate_feedforward' -> 'layer 0, feed-forward'."""
    layer = next((piece for piece in name.split(".") if piece.isdigit()), "?")
    return f"layer {layer}, {'feed-forward' if name.endswith('feedforward') else 'attention'}"


def replayed(replay: Replay, number: int):
    """Gates and losses over training up to record `number`, counted from 0; what is to come is pale."""
    shown = slice(number + 1)
    with course_style():
        made, (gates, loss) = figure(7.6, 5, 2, 1, sharex=True)
        for axes, lines in (
            (gates, {_short(name): values for name, values in replay.gates.items()}),
            (loss, {"with pictures": replay.loss}),
        ):
            for (name, values), colour, marker in zip(lines.items(), COLOURS, MARKERS):
                axes.plot(
                    replay.steps[shown],
                    values[shown],
                    color=colour,
                    label=name,
                    marker=marker,
                    markersize=4,
                    markevery=[-1],
                )
                axes.plot(replay.steps, values, color=colour, alpha=0.2, linewidth=1)
        gates.axhline(0, color="black", linewidth=0.8)
        loss.axhline(
            replay.blind,
            color=COLOURS[3],
            linestyle="-.",
            linewidth=1.5,
            label="gates shut:\nlanguage model alone",
        )
        gates.set(ylabel="gate, tanh(α)", xlim=(0, replay.steps[-1] + 1))
        loss.set(ylabel="loss", xlabel="step")
        for axes in (gates, loss):
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
            axes.locator_params(nbins=5)
    now = ", ".join(f"{_short(name)} {values[number]:.3f}" for name, values in replay.gates.items())
    return describe(
        set_margins(made, left=0.95, right=2.2, top=0.1),
        f"Step {replay.steps[number]} of {replay.steps[-1]}. Gates: {now}. Loss {replay.loss[number]:.3f}; with all "
        f"gates shut the trained model's loss is {replay.blind:.3f}.",
    )


@contextmanager
def _opened(model: nn.Module, value: float | None, name: str) -> Iterator[str]:
    """Gates as `by_hand` and `heard` want them, and how one says that."""
    if value is None:
        yield "gates as trained"
    else:
        with gates_at(model, value, name):
            yield (
                f"all gates at {value:.2f}"
                if not name
                else f"gate of {_short(name)} at {value:.2f}, the others as trained"
            )


def by_hand(
    model: nn.Module,
    image: np.ndarray,
    ask: Callable[[], tuple[Mapping[str, float], str]],
    value: float | None,
    name: str = "",
):
    """The next word's probabilities and what the model writes, with all gates at `value` (None: as they were trained).

    name  of the only gate that is moved
    """
    with _opened(model, value, name) as where:
        found, said = ask()
    said = said or "(nothing: it stops at once)"
    made = picture_and_bars(
        image, found, "probability of the next word", title=f"{where}\nit writes: {said}"
    )
    made.description = f"{where}; the model writes '{said}'. {made.description}"
    return made


def heard(model: nn.Module, batch: dict, value: float | None, name: str = ""):
    """Which parameters get a gradient, with all gates, or the one of this name, at `value` (None: as they were trained)."""
    with _opened(model, value, name) as where:
        found = gradients(model, batch)
    made = bars(
        {
            f"{part}{'' if norm else ': none'}": {"norm of the gradient": norm}
            for part, norm in found.items()
        },
        "norm of the gradient",
        sideways=True,
    )
    silent = ", ".join(part for part, norm in found.items() if norm == 0) or "nobody"
    subtitle(
        set_margins(made, left=2.6, top=0.5).axes[0], f"{where}; no gradient at all:\n{silent}"
    )
    told = ", ".join(f"{part} {norm:.3g}" for part, norm in found.items())
    made.description = f"Norm of the gradient by group of parameters, {where}: {told}. Without any gradient: {silent}."
    return made


def gate_explorer(
    model: nn.Module,
    replay: Replay,
    ask: Callable[[int, str], tuple[Mapping[str, float], str]],
    images: np.ndarray,
    texts: Sequence[str],
    batch: dict,
) -> None:
    """Displays the explorer.

    ask     (picture number, text) -> ({word: probability}, what the model writes)
    images  (N, S, S, 3) uint8; texts: prompts to begin with; batch: for the gradients
    """
    import ipywidgets

    last = len(replay.steps) - 1
    view = ipywidgets.ToggleButtons(
        options=VIEWS, description="show", style={"button_width": "9em"}
    )
    when = ipywidgets.SelectionSlider(
        options=[(str(step), place) for place, step in enumerate(replay.steps)],
        value=last,
        description="step",
        continuous_update=False,
    )
    again = ipywidgets.Play(min=0, max=last, value=0, interval=400)
    hand = ipywidgets.Checkbox(value=False, description="set them by hand")
    which = ipywidgets.Dropdown(
        options=[
            ("all gates", ""),
            *((_short(name), name) for name in introspection.gate_values(model)),
        ],
        description="which",
    )
    value = ipywidgets.FloatSlider(
        value=0, min=0, max=1, step=0.05, description="open by", continuous_update=False
    )
    number = ipywidgets.IntSlider(
        value=0, min=0, max=len(images) - 1, description="picture", continuous_update=False
    )
    typed = ipywidgets.Combobox(
        value=texts[0],
        options=list(texts),
        description="text",
        continuous_update=False,
        layout={"width": "min(34em, 100%)"},
    )

    def prepared() -> None:
        only(
            [again, when, hand, which, value, number, typed],
            {
                VIEWS[0]: [again, when],
                VIEWS[1]: [hand, which, value, number, typed],
                VIEWS[2]: [hand, which, value],
            }[view.value],
        )

    def drawn():
        at = value.value if hand.value else None
        if view.value == "over training":
            return replayed(replay, when.value)
        if view.value == "gradients":
            return heard(model, batch, at, which.value)
        return by_hand(
            model, images[number.value], lambda: ask(number.value, typed.value), at, which.value
        )

    ipywidgets.jslink((again, "value"), (when, "index"))
    for field in (value, which):  # who moves a gate wants it by hand
        field.observe(lambda change: setattr(hand, "value", True), "value")
    play([view, row(when, again), hand, row(which, value), row(number, typed)], drawn, prepared)
