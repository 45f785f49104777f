"""Lesson 02: what the temperature does, as a figure and as a player."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from vlmcourse import plots
from vlmcourse.parts.losses import clip_loss
from vlmcourse.widgets.interactive import interactive, log_slider, row


def temperature_figure(images: Tensor, texts: Tensor, learned: float):
    """The loss of held-out pairs (N, E), (N, E), and of the same texts in a wrong order, over the scale."""
    scales = (1, 2, 5, 10, 14.3, 20, 30, 50, 70, 100)
    series = {
        name: {scale: clip_loss(images, given, float(scale)).item() for scale in scales}
        for name, given in (("right pairs", texts), ("wrong pairs", texts.roll(1, 0)))
    }
    drawn = plots.curves(
        series,
        "scale exp(s) = 1 / temperature",
        "loss (nats)",
        xlog=True,
        ylog=True,
    )
    axes, count = drawn.axes[0], len(images)
    equal = {"color": "grey", "linestyle": (0, (5, 3)), "linewidth": 1}
    axes.axhline(
        math.log(count), label=f"equal vectors, ln {count} = {math.log(count):.1f}", **equal
    )
    axes.lines[1].set_linestyle("-")  # dashes are for the line of equal vectors
    axes.axvline(learned, color="black", linestyle=":", label=f"learned scale {learned:.1f}")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    drawn.set_size_inches(8.2, 3.6)
    drawn.description += (
        f" Dashed: equal vectors, {math.log(count):.1f}. Dotted: the learned scale, {learned:.1f}."
    )
    return drawn


def loss_of_pairs(images: Tensor, texts: Tensor, scale: float) -> Tensor:
    """CLIP's loss of each pair of a batch (B, E), (B, E), whose mean is `clip_loss`: (B,)."""
    logits = scale * images @ texts.T
    return -(logits.log_softmax(0) + logits.log_softmax(1)).diagonal() / 2


def share_things(things: Sequence[frozenset]) -> Tensor:
    """Booleans (B,): pairs whose set of things another pair of the batch has, too."""
    counts = Counter(things)
    return torch.tensor([counts[one] > 1 for one in things])


@torch.no_grad()
def training_losses(model, pairs, batches: int, learned: float) -> str:
    """In words: the mean loss of the first batches of 64 training pairs over the scale, in two parts.

    The parts are the sums over pairs that share their set of things with another of the batch and over all others,
    each divided by the number of all pairs.
    """
    embedded, shared = [], []
    for first in range(0, 64 * batches, 64):
        indices = range(first, first + 64)
        batch = pairs.batch(indices)
        embedded.append(
            (model.encode_image(batch["pixel_values"]), model.encode_text(batch["ids"]))
        )
        shared.append(share_things([frozenset(scene.words) for scene in pairs.scenes(indices)]))
    is_shared = torch.cat(shared)
    lines = [
        f"{batches} batches of 64; {is_shared.float().mean():.0%} of the pairs share their set of "
        "things with another pair of their batch"
    ]
    for scale in sorted((20.0, 30.0, learned, 60.0, 70.0, 85.0, 100.0)):
        losses = torch.cat([loss_of_pairs(*vectors, scale) for vectors in embedded])
        theirs, others = (losses.where(part, 0).mean() for part in (is_shared, ~is_shared))
        lines.append(
            f"scale {scale:5.1f}: loss {losses.mean():.4f} = {theirs:.4f} (these) + {others:.4f} (others)"
        )
    return "\n".join(lines)


def in_digits(share: float) -> str:
    """Three digits of a positive number; one that would be 0.000 is named as smaller than 0.001."""
    return "<0.001" if share < 0.0005 else f"{share:.3f}"


def at_scales(case: str, cosines: Tensor, names: Sequence[str], scales: Sequence[float]) -> str:
    """In words: probabilities of texts at some scales. cosines (texts,) and names, the right text first."""
    lines = [case, f"  {names[0]}", f"  most similar {names[1 + int(cosines[1:].argmax())]}"]
    for scale in scales:
        right, *wrong = (scale * cosines).softmax(0).tolist()
        low, high = in_digits(min(wrong)), in_digits(max(wrong))
        texts = f"each {low}" if low == high else f"{low} to {high}"
        lines.append(f"  scale {scale:5.1f}: right text {in_digits(right)}, wrong texts {texts}")
    return "\n".join(lines)


def ranked_wrongly(images: Tensor, texts: Tensor, words: Sequence[str]) -> tuple | None:
    """Of pairs (N, E), (N, E), the image whose own text is furthest behind the most similar one; None if all are first.

    Returns its number, cosines (6,) and names of its own text and of the five most similar wrong ones.
    """
    table = images @ texts.T
    behind = table.amax(1) - table.diagonal()
    if not behind.any():
        return None
    number = int(behind.argmax())
    order = [n for n in table[number].argsort(descending=True).tolist() if n != number][:5]
    names = [f"right: {words[number]}", *(f"wrong: {words[n]}" for n in order)]
    return number, table[number, [number, *order]], names


def at_scale(case: str, cosines: Tensor, names: Sequence[str], scale: float, learned: float):
    """Softmax of the cosines (texts,) of one picture, at a chosen scale and at the learned one, as bars.

    case  name of the picture;  names  of the texts, the right one first
    """
    bars: dict[str, dict[str, float]] = {name: {} for name in names}
    losses, words = [], [f"chance {1 / len(names):.3f}"]
    for word, factor in (("scale", scale), ("learned", learned)):
        logits = factor * cosines
        for name, share in zip(names, logits.softmax(-1).tolist()):
            bars[name][f"{word} {factor:.1f}"] = share
        loss = cross_entropy(logits[None], torch.tensor([0])).item()
        losses.append(f"loss {in_digits(loss)} at {factor:.1f}")
    drawn = plots.probability_bars(
        {"\n".join(textwrap.wrap(name, 38)): shares for name, shares in bars.items()},
        "probability",
        chance=1 / len(names),
        title=f"{case}\n{', '.join(losses)}",
    )
    for name, shares in bars.items():
        words.append(f"{name}, {', '.join(f'{key} {p:.3f}' for key, p in shares.items())}")
    drawn.description = f"Probabilities, {case}: {'; '.join((*losses, *words))}."
    return drawn


def temperature_player(
    cases: Mapping[str, tuple[np.ndarray, Tensor, Sequence[str]]],
    learned: float,
    start: float | None = None,
) -> None:
    """Displays images with their texts' probabilities, a slider for the scale, and a button for the learned one.

    cases  {name: (image (S, S, 3), cosines (texts,), names of the texts)}, the right text first
    start  where the slider stands at first; default: at the learned scale
    """
    import ipywidgets

    scale = log_slider("scale", learned if start is None else start)
    reset = ipywidgets.Button(description=f"learned: {learned:.1f}")
    rounded = min(100.0, max(1.0, math.floor(learned * 100) / 100))
    reset.on_click(lambda _: setattr(scale, "value", rounded))
    images = plots.pictures(np.stack([image for image, *_ in cases.values()]), list(cases))
    interactive(
        [row(scale, reset)],
        lambda: plots.stack_figures(
            images,
            *(at_scale(name, *rest, scale.value, learned) for name, (_, *rest) in cases.items()),
        ),
    )
