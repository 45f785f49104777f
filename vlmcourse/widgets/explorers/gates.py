"""The gate explorer: how Flamingo's gates opened over training, what each opening lets through, and which parameters learn.

`gates.js` draws; what the model says at a grid of openings comes from here, saved for some pictures, or from the kernel.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vlmcourse import introspection, world
from vlmcourse.widgets.explorer import picture_address, show_explorer
from vlmcourse.world import tokenizer

Ask = Callable[[Tensor, Sequence[int], str], tuple[Tensor, Sequence[str]]]
"""(gates (B, G), numbers of B pictures, text) -> probabilities (B, V) of the next word, and what the model writes."""
WIDEST = 0.999
"""A gate that is open all the way would take an infinite parameter."""
TEXT = "a picture of a"
CUT = " …"
"""Ends what a model would go on with."""
WORDS, GRID, FACTORS = 6, 21, 21
"""Words shown of a distribution; values of one gate, and factors of all gates that are saved."""


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
def gates_set(model: nn.Module, values: Mapping[str, Tensor]) -> Iterator[None]:
    """Gates of these names have these values in here, from -1 to 1: a scalar, or (B,), one for each row of a batch.
    Afterwards each is as it was."""
    gates = {name: model.get_submodule(name) for name in values}
    before = {name: gate.alpha.data for name, gate in gates.items()}
    try:
        for name, gate in gates.items():
            alpha = values[name].clamp(-WIDEST, WIDEST).atanh() / gate.gate_lr_scale
            gate.alpha.data = alpha if alpha.dim() == 0 else alpha[:, None, None]
        yield
    finally:
        for name, gate in gates.items():
            gate.alpha.data = before[name]


@contextmanager
def gates_at(model: nn.Module, value: float, name: str = "") -> Iterator[None]:
    """Every tanh gate, or the one of this name, is open by `value` in here, 0 to 1; afterwards each is as it was.

    Raises ValueError for another value, or a model without such gates.
    """
    names = [gate for gate in introspection.gate_values(model) if name in ("", gate)]
    if not 0 <= value <= 1 or not names:
        raise ValueError(
            f"gates at {value} of a model that has {len(names)} of them; expected 0 to 1, and a model with gates, "
            "such as Flamingo."
        )
    with gates_set(model, dict.fromkeys(names, torch.tensor(float(value)))):
        yield


PARTS = {
    "gates": ("gate",),
    "resampler": ("resampler",),
    "gated attention": ("blocks", "attention"),
    "gated feed-forward": ("blocks", "feedforward"),
    "norms before them": ("blocks", "norm"),
    "new words": ("new_embeddings",),
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


def settings(trained: Tensor, by_step: Tensor, grid: Tensor, factors: Tensor) -> Tensor:
    """The openings (K, G) whose answers are saved, in this order: those of the steps (S, G); the trained ones (G,) times each
    factor; each gate alone at each value of the grid, while the others are as trained; the same with the others at 0; and each
    gate alone where training put it."""
    alone = torch.eye(len(trained)).repeat_interleave(len(grid), 0)  # (G * V, G)
    values = grid.repeat(len(trained))[:, None] * alone
    return torch.cat(
        [
            by_step,
            factors[:, None] * trained,
            values + (1 - alone) * trained,
            values,
            trained.diag(),
        ]
    )


def saved_answers(ask: Ask, openings: Tensor, usual: int, count: int) -> dict:
    """What a model says of each of `count` pictures at each opening (K, G).

    words          of each picture the WORDS that are ever likeliest at the first `usual` openings
    probabilities  base64 of one byte each, 255 for 1: openings, pictures, words
    texts, written what it writes, each text once, and base64 of their numbers, two bytes each: openings, pictures
    first          base64 of one byte each: the probability of the word that it writes first: openings, pictures
    """
    numbers = [number for _ in openings for number in range(count)]
    rows, written = ask(openings.repeat_interleave(count, 0), numbers, TEXT)
    rows = rows.reshape(len(openings), count, -1)
    best = rows[:usual].amax(0).topk(WORDS).indices  # (count, WORDS)
    shown = rows.gather(2, best.expand(len(openings), -1, -1))
    begun = [sentence.removesuffix(CUT) or "." for sentence in written]  # nothing: it ends at once
    opening_words = tokenizer.encode(begun)[:, 1].reshape(len(openings), count, 1)
    whole, first = (
        (255 * values).round().to(torch.uint8) for values in (shown, rows.gather(2, opening_words))
    )
    texts = list(dict.fromkeys(written))
    chosen = np.array([texts.index(sentence) for sentence in written], "<u2")
    convert = tokenizer.world_tokenizer().convert_ids_to_tokens
    return {
        "text": TEXT,
        "words": [convert(ids) for ids in best.tolist()],
        "probabilities": base64.b64encode(whole.numpy().tobytes()).decode(),
        "texts": texts,
        "written": base64.b64encode(chosen.tobytes()).decode(),
        "first": base64.b64encode(first.numpy().tobytes()).decode(),
    }


def learning(model: nn.Module, batch: dict) -> dict[str, dict[str, float]]:
    """`gradients` with all gates closed, as trained, and with each gate alone open as far as it was trained."""
    trained = {
        name: torch.tensor(value) for name, value in introspection.gate_values(model).items()
    }
    closed = {name: torch.zeros(()) for name in trained}
    openings = {"all gates closed": closed, "all gates as trained": trained}
    openings |= {
        f"only {short_name(name)} open": closed | {name: trained[name]} for name in trained
    }
    norms = {}
    for label, values in openings.items():
        with gates_set(model, values):
            norms[label] = gradients(model, batch)
    return norms


def describe(replay: Replay, written: str) -> str:
    """The gates at the end of training, the loss, and what the model writes first."""
    now = ", ".join(f"{short_name(name)} {values[-1]:.3f}" for name, values in replay.gates.items())
    return (
        f"Step {replay.steps[-1]} of {replay.steps[-1]}. Gates: {now}. Loss {replay.loss[-1]:.3f}; with all gates closed "
        f"{replay.blind:.3f}. Of the first picture the model writes '{TEXT} {written}'."
    )


def gate_explorer(
    model: nn.Module,
    replay: Replay,
    ask: Ask,
    scenes: Sequence[world.Scene],
    batch: dict,
) -> None:
    """Displays the explorer.

    ask     such as teaching.explorer_flamingo.continuation_function()
    scenes  of the pictures;  batch: for the gradients
    """
    values = introspection.gate_values(model)
    trained, by_step = (
        torch.tensor(list(values.values())),
        torch.tensor(list(replay.gates.values())).T,
    )
    limit = min(1.0, max(0.5, math.ceil(12 * by_step.abs().max().item()) / 10))
    grid, factors = torch.linspace(-limit, limit, GRID), torch.linspace(0, 2, FACTORS)
    openings = settings(trained, by_step, grid, factors)
    saved = saved_answers(ask, openings, len(by_step) + len(factors), len(scenes))

    def reply(question: dict) -> list[dict]:
        gates = torch.tensor([question["gates"]]).expand(len(scenes), -1)
        rows, written = ask(gates, range(len(scenes)), question["text"])
        likely, ids = rows.topk(WORDS)
        words = [tokenizer.world_tokenizer().convert_ids_to_tokens(row) for row in ids.tolist()]
        return [
            {"words": some, "probabilities": values, "written": sentence}
            for some, values, sentence in zip(words, likely.tolist(), written)
        ]

    data = {
        "pictures": [picture_address(world.render(scene, 96)) for scene in scenes],
        "nouns": [list(scene.words) for scene in scenes],
        "backgrounds": [scene.background for scene in scenes],
        "names": [short_name(name) for name in values],
        "trained": [round(value, 4) for value in values.values()],
        "steps": list(replay.steps),
        "gates": [[round(value, 4) for value in line] for line in replay.gates.values()],
        "loss": [round(value, 4) for value in replay.loss],
        "blind": round(replay.blind, 4),
        "grid": [round(value, 4) for value in grid.tolist()],
        "factors": [round(value, 4) for value in factors.tolist()],
        "gradients": learning(model, batch),
        **saved,
    }
    now = reply({"gates": trained.tolist(), "text": TEXT})[0]
    show_explorer("gates", data, describe(replay, now["written"]), reply)
