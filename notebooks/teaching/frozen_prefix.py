"""Lesson 07: the checks of the exercises on the visual prefix, and on its place among words."""

from __future__ import annotations

import torch
from torch import Tensor

from teaching import frozen_reference as reference
from teaching.exercises import (
    Exercise,
    normal,
    number,
    pure_rule,
    rule,
    run_with_gradients,
)
from vlmgrader.checks import driver_source


def run_prefix(target, features, n, width):
    """Driver: facts about a prefix module, as numbers, or its output where the shape is wrong."""
    import torch

    torch.manual_seed(0)
    model = target(features.shape[1], n, width)
    out = model(features)
    if not isinstance(out, torch.Tensor) or tuple(out.shape) != (len(features), n, width):
        return out
    zero = model(torch.zeros_like(features))
    alone = torch.stack([model(row[None])[0] for row in features])

    def near(one, other):
        return float(torch.allclose(one, other, atol=1e-4))

    between = (out[:, 0] - out[:, 1]).abs().max().item()
    if out.requires_grad:
        out.sum().backward()
    learns = [p.grad is not None and bool(p.grad.any()) for p in model.parameters()]
    return [
        float(sum(p.numel() for p in model.parameters())),
        near(alone, out),
        near(model(2 * features) - zero, 2 * (out - zero)) * near(model(-features) - zero, zero - out),
        float(between > 1e-4),
        float((out - zero).abs().max().item() > 1e-4),
        float(all(learns)),
    ]  # fmt: skip


def prefix_inputs(generator: torch.Generator) -> tuple[list, dict]:
    M, F = number(generator, 4, 5), number(generator, 6, 9)
    return [normal(generator, M, F), number(generator, 2, 3), number(generator, 10, 12)], {}


def prefix_facts(features: Tensor, n: int, width: int) -> list[float]:
    return [float((features.shape[1] + 1) * n * width), 1.0, 1.0, 1.0, 1.0, 1.0]


def explain_prefix(got: object, wanted: list, features: Tensor, n: int, width: int) -> str | None:
    M, F = features.shape
    if isinstance(got, Tensor):
        known = {
            (
                M,
                n * width,
            ): "the n vectors of a picture are still one row: cut it into n vectors of width D.",
            (
                M * n,
                width,
            ): "the vectors of all pictures are in one list: keep an axis for the pictures, (M, n, D).",
            (M, width, n): "the last two axes are exchanged: (M, n, D), each vector is a row.",
            (n, M, width): "the first two axes are exchanged: pictures come first, (M, n, D).",
            (M, width): "that is one vector for a picture; wanted are n.",
        }
        return known.get(
            tuple(got.shape),
            f"the output has shape {tuple(got.shape)}; expected {(M, n, width)}.",
        )
    if not isinstance(got, list):
        return None
    count, alone, linear, different, used, learns = got
    rules = (
        (not count, "the module has no parameters: create the layer in __init__, so that training finds it."),
        (not used, "the output doesn't depend on the features."),
        (not alone, "a picture's vectors depend on the other pictures of the batch: which axis was cut?"),
        (not different, "all n vectors of a picture are equal: each needs weights of its own."),
        (not linear, "the map is not linear: there is an activation or a norm. The paper has none here."),
        (count == F * n * width, "the bias is missing."),
        (not learns, "the values are right, but the layer gets no gradient: no detach, no no_grad."),
        (count != wanted[0], f"the module has {count:.0f} parameters; one linear layer has {wanted[0]:.0f}."),
    )  # fmt: skip
    return next((words for wrong, words in rules if wrong), None)


def interleave_inputs(generator: torch.Generator) -> tuple[list, dict]:
    n, length, width = 2, number(generator, 7, 9), number(generator, 3, 5)
    is_slot = torch.zeros(3, length, dtype=torch.bool)
    is_slot[0, 1 : 1 + n] = True  # a text with one picture, one with two, one with none
    is_slot[1, :n] = is_slot[1, -n - 1 : -1] = True
    words = normal(generator, 3, length, width)
    return [words, normal(generator, 3, n, width), is_slot], {}


def filled(words: Tensor, vectors: Tensor, is_slot: Tensor) -> Tensor:
    result = words.clone()
    result[is_slot] = vectors
    return result


def at_fixed_places(words: Tensor, prefix: Tensor, is_slot: Tensor) -> Tensor:
    result = words.clone()
    result[:, 1 : 1 + prefix.shape[1]] = prefix
    return result


def explain_interleave(got: object, wanted: Tensor, words: Tensor, *_) -> str | None:
    if isinstance(got, Tensor) and got.ndim == 3 and got.shape[1] > words.shape[1]:
        return "the vectors were put beside the text, which grew: they replace the slots."
    return None


def first_pictures(words: Tensor, prefix: Tensor, is_slot: Tensor) -> Tensor:
    first = is_slot & (is_slot.cumsum(1) <= prefix.shape[1])
    return filled(words, prefix.flatten(0, 1)[first[is_slot]], first)


INTERLEAVE_MISTAKES = {
    "the vectors were put at fixed places: slots may stand anywhere, and some texts have none.": (
        at_fixed_places
    ),
    "nothing was filled in: did you return the copy that you changed?": lambda w, p, s: w,
    "the vectors are added to the embeddings that stood there: those of the slots must go.": lambda w, p, s: (
        filled(w, w[s] + p.flatten(0, 1), s)
    ),
    "the order is wrong: slots are filled in reading order, the first picture first.": (
        lambda w, p, s: filled(w, p.flip(0).flatten(0, 1), s),
        lambda w, p, s: filled(w, p.flatten(0, 1).flip(0), s),
    ),
    "the two vectors of each picture are exchanged.": lambda w, p, s: filled(
        w, p.flip(1).flatten(0, 1), s
    ),
    "the vectors are mixed between pictures: all first vectors come, then all second ones.": (
        lambda w, p, s: filled(w, p.transpose(0, 1).flatten(0, 1), s)
    ),
    "a text with several pictures: only its first got its vectors.": first_pictures,
    "every slot has the same vector.": lambda w, p, s: filled(w, p[0, 0], s),
    "all slots of a picture have the same vector: each has its own.": (
        lambda w, p, s: filled(w, p[:, :1].expand_as(p).flatten(0, 1), s)
    ),
    "every picture is the first one.": lambda w, p, s: filled(
        w, p[:1].expand(len(p), -1, -1).flatten(0, 1), s
    ),
    "the words are gone, and the slots kept what they had: the mask is upside down.": lambda w, p, s: (
        w.where(s[..., None], 0)
    ),
    "the words are gone: only slots may change.": lambda w, p, s: filled(
        torch.zeros_like(w), p.flatten(0, 1), s
    ),
    "the slots are empty.": lambda w, p, s: w.where(~s[..., None], 0),
}


def gradients_without(*cut: int):
    """Gradients of interleave with respect to words and prefix, zeros for those whose number is in `cut`."""

    def formula(*args) -> list[Tensor]:
        found = run_with_gradients(reference.interleave, *args)
        return [torch.zeros_like(one) if i in cut else one for i, one in enumerate(found)]

    return formula


def interleave_gradients(generator: torch.Generator) -> tuple[list, dict]:
    args, _ = interleave_inputs(generator)
    return [2, *args], {}


EXERCISES = {
    "VisualPrefix": Exercise(
        "One linear layer, cut into n vectors of the language model's width.",
        (
            rule(
                "VisualPrefix",
                prefix_inputs,
                prefix_facts,
                driver=driver_source(run_prefix),
                explain=explain_prefix,
            ),
        ),
        reference=reference.VisualPrefix,
    ),
    "interleave": Exercise(
        "Words stay, slots get the vectors in reading order, and gradients reach the prefix.",
        (
            pure_rule(
                "interleave",
                interleave_inputs,
                reference.interleave,
                INTERLEAVE_MISTAKES,
                "you wrote into `words` itself: those may be rows of the frozen language model. Work on a copy.",
                explain_interleave,
            ),
            rule(
                "interleave",
                interleave_gradients,
                gradients_without(),
                {
                    "the prefix gets no gradient, so no encoder could learn: is it detached?": (
                        gradients_without(1)
                    ),
                    "the words get no gradient: only slots may change.": gradients_without(0),
                    "the values are right, but nothing gets a gradient.": gradients_without(0, 1),
                },
                driver=driver_source(run_with_gradients),
            ),
        ),
        reference=reference.interleave,
    ),
}
