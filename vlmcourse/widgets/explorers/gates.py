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
    course_style,
    describe,
    figure,
    set_margins,
    subtitle,
)
from vlmcourse.widgets.interactive import (
    buttons,
    dropdown,
    interactive,
    option_slider,
    row,
    show_only,
    slider,
    text_field,
)

VIEWS = ("over training", "by hand", "gradients")
WIDEST = 0.999
"""A gate that is open all the way would take an infinite parameter."""


@dataclass(frozen=True)
class Replay:
    """What was noted while a model trained, at K steps.

    gates  {name: K values};  loss (K,) with pictures;  blind  the trained model's loss when its gates are closed: the language
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
        grads = torch.autograd.grad(loss, [parameter for _, parameter in learns], allow_unused=True)
    squares = dict.fromkeys(PARTS, 0.0)
    for (name, _), gradient in zip(learns, grads):
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


def short_name(name: str) -> str:
    """'blocks.0.gate_feedforward' -> 'layer 0, feed-forward'."""
    layer = next((piece for piece in name.split(".") if piece.isdigit()), "?")
    return f"layer {layer}, {'feed-forward' if name.endswith('feedforward') else 'attention'}"


def training_figure(replay: Replay, number: int):
    """Gates and losses over training up to record `number`, counted from 0; what is to come is pale."""
    shown = slice(number + 1)
    with course_style():
        drawn, (gates, loss) = figure(7.6, 5, 2, 1, sharex=True)
        for axes, lines in (
            (gates, {short_name(name): values for name, values in replay.gates.items()}),
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
            label="gates closed:\nlanguage model alone",
        )
        gates.set(ylabel="gate, tanh(α)", xlim=(0, replay.steps[-1] + 1))
        loss.set(ylabel="loss", xlabel="step")
        for axes in (gates, loss):
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
            axes.locator_params(nbins=5)
    now = ", ".join(
        f"{short_name(name)} {values[number]:.3f}" for name, values in replay.gates.items()
    )
    return describe(
        set_margins(drawn, left=0.95, right=2.2, top=0.1),
        f"Step {replay.steps[number]} of {replay.steps[-1]}. Gates: {now}. Loss {replay.loss[number]:.3f}; with all "
        f"gates closed the trained model's loss is {replay.blind:.3f}.",
    )


@contextmanager
def _gates_set(model: nn.Module, value: float | None, name: str) -> Iterator[str]:
    """Gates set for a figure, and that in words."""
    if value is None:
        yield "gates as trained"
    else:
        with gates_at(model, value, name):
            yield (
                f"all gates at {value:.2f}"
                if not name
                else f"gate of {short_name(name)} at {value:.2f}, the others as trained"
            )


def answer_figure(
    model: nn.Module,
    image: np.ndarray,
    ask: Callable[[], tuple[Mapping[str, float], str]],
    value: float | None,
    name: str = "",
):
    """The next word's probabilities and what the model writes, with all gates at `value` (None: as they were trained).

    name  of the only gate that is moved
    """
    with _gates_set(model, value, name) as where:
        probabilities, text = ask()
    text = text or "(nothing: it stops at once)"
    drawn = picture_and_bars(
        image, probabilities, "probability of the next word", title=f"{where}\nit writes: {text}"
    )
    drawn.description = f"{where}; the model writes '{text}'. {drawn.description}"
    return drawn


def gradient_figure(model: nn.Module, batch: dict, value: float | None, name: str = ""):
    """Which parameters get a gradient, with all gates, or the one of this name, at `value` (None: as they were trained)."""
    with _gates_set(model, value, name) as where:
        norms = gradients(model, batch)
    drawn = bars(
        {
            f"{part}{'' if norm else ': none'}": {"norm of the gradient": norm}
            for part, norm in norms.items()
        },
        "norm of the gradient",
        sideways=True,
    )
    silent = ", ".join(part for part, norm in norms.items() if norm == 0) or "nobody"
    subtitle(
        set_margins(drawn, left=2.6, top=0.5).axes[0], f"{where}; no gradient at all:\n{silent}"
    )
    listed = ", ".join(f"{part} {norm:.3g}" for part, norm in norms.items())
    drawn.description = f"Norm of the gradient by group of parameters, {where}: {listed}. Without any gradient: {silent}."
    return drawn


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
    view = buttons("show", VIEWS)
    step = option_slider(
        "step", [(str(training_step), i) for i, training_step in enumerate(replay.steps)], last
    )
    player = ipywidgets.Play(min=0, max=last, value=0, interval=400)
    by_hand = ipywidgets.Checkbox(value=False, description="set them by hand")
    names = [(short_name(name), name) for name in introspection.gate_values(model)]
    which = dropdown("which", [("all gates", ""), *names], layout={})
    value, number = slider("open by", 0, 0, 1, 0.05), slider("picture", 0, 0, len(images) - 1)
    typed = text_field("text", texts[0], texts)
    gates = [by_hand, which, value]
    wanted = {VIEWS[0]: [player, step], VIEWS[1]: [*gates, number, typed], VIEWS[2]: gates}

    def draw():
        at = value.value if by_hand.value else None
        if view.value == VIEWS[0]:
            return training_figure(replay, step.value)
        if view.value == VIEWS[2]:
            return gradient_figure(model, batch, at, which.value)
        image = images[number.value]
        return answer_figure(model, image, lambda: ask(number.value, typed.value), at, which.value)

    ipywidgets.jslink((player, "value"), (step, "index"))
    for field in (value, which):  # who moves a gate wants it by hand
        field.observe(lambda change: setattr(by_hand, "value", True), "value")
    interactive(
        [view, row(step, player), by_hand, row(which, value), row(number, typed)],
        draw,
        lambda: show_only([player, step, *gates, number, typed], wanted[view.value]),
    )
