"""Lesson 08, BLIP: exercises, quizzes and the failure lab."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source

FLOOR = 1e-4


def negative_weights(similarity: Tensor, same: Tensor, floor=FLOOR, axis=-1, own=False) -> Tensor:
    """(B, B): softmax of each row, plus the floor, then 0 where the texts are the same (own: at the own text only)."""
    right = torch.eye(len(same)).bool() if own else same[:, None] == same[None, :]
    return (similarity.softmax(axis) + floor).masked_fill(right, 0)


def unmasked(similarity: Tensor, same: Tensor, floor: float) -> Tensor:
    return similarity.softmax(-1) + floor


def masked_before(similarity: Tensor, same: Tensor, value: float, floor: float) -> Tensor:
    right = same[:, None] == same[None, :]
    return similarity.masked_fill(right, value).softmax(-1) + floor


def weight_inputs(generator: torch.Generator) -> tuple[list, dict]:
    size = number(generator, 5, 7)
    same = torch.arange(size)
    same[2] = same[0]  # two equal texts
    return [normal(generator, size, size, scale=6, dtype=torch.float64), same], {}


def run_weights(target, similarity, same):
    """Driver: weights as shares of their rows, for torch.multinomial does not mind a factor; is there always one to draw?"""
    import torch

    size = len(same)
    got = target(similarity, same)
    if isinstance(got, torch.Tensor) and got.dim() == 2 and bool((got.sum(1) > 0).all()):
        got = got.double() / got.double().sum(1, keepdim=True)
    saturated = target(1000 * torch.eye(size, dtype=similarity.dtype), torch.arange(size))
    return [got, not isinstance(saturated, torch.Tensor) or bool((saturated.sum(-1) > 0).all())]


def shares(formula):
    """What run_weights makes of a formula."""
    return lambda *args: run_weights(formula, *args)


WEIGHT_MISTAKES = {
    "this is the softmax alone: the floor of 1e-4 is missing, and right texts can be drawn (use `same`).": partial(
        unmasked, floor=0
    ),
    "the image's own text can be drawn: then a right pair is called wrong.": partial(
        unmasked, floor=FLOOR
    ),
    "the own text is excluded, but texts that are equal to it are not: use `same`.": partial(
        negative_weights, own=True
    ),
    "there is no floor, and texts that are equal to the own one are not excluded: use `same`.": partial(
        negative_weights, own=True, floor=0
    ),
    "there is no floor: where the right pair takes all the probability, all other weights are 0 and multinomial stops.": partial(
        negative_weights, floor=0
    ),
    "that is clamp_min(1e-4); the paper's code *adds* 1e-4 to every weight, then sets right texts to 0.": lambda s, same: (
        s.softmax(-1).clamp_min(FLOOR).masked_fill(same[:, None] == same[None, :], 0)
    ),
    "the floor was added last, so the right texts have weight 1e-4: rare, but drawn.": lambda s, same: (
        negative_weights(s, same, floor=0) + FLOOR
    ),
    "the mask is upside down: right texts are kept, all others are 0.": lambda s, same: (
        s.softmax(-1) + FLOOR
    ).masked_fill(same[:, None] != same[None, :], 0),
    "a similarity of 0 is not a weight of 0: e to the 0 is 1. Take right texts out after the softmax.": partial(
        masked_before, value=0, floor=0
    ),
    "a similarity of 0 isn't a weight of 0: e to the 0 is 1. Take right texts out after the softmax, and the floor.": (
        partial(masked_before, value=0, floor=FLOOR)
    ),
    "right texts are taken out before the softmax, so that others share what they had: a good idea, and another one. "
    "Here it is softmax, plus 1e-4, then 0 where `same` is equal.": (
        partial(masked_before, value=-torch.inf, floor=0),
        partial(masked_before, value=-torch.inf, floor=FLOOR),
        lambda s, same: masked_before(s, same, -torch.inf, FLOOR).masked_fill(
            same[:, None] == same[None, :], 0
        ),
    ),
    "the softmax runs over images (columns): each image's weights are a row.": partial(
        negative_weights, axis=0
    ),
    "all wrong texts are equally likely: those are easy negatives. Where is the similarity?": lambda s, same: (
        same[:, None] != same[None, :]
    ),
    "the least similar are preferred: these are the easiest negatives.": lambda s, same: (
        negative_weights(-s, same)
    ),
}


def run_share(target, width):
    """Driver: how each part of the decoder's blocks stands to the encoder's after sharing."""
    import torch
    from torch import nn

    from vlmcourse.parts.layers import PostNormBlock

    encoder, decoder = (
        nn.ModuleList(PostNormBlock(width, 2, context_width=width) for _ in range(2))
        for _ in range(2)
    )
    with (
        torch.no_grad()
    ):  # new LayerNorms are all equal: what is shared must not be guessed from values
        for parameter in (*encoder.parameters(), *decoder.parameters()):
            parameter.normal_()
    encoders = list(map(id, encoder.parameters()))
    before = [{k: v.clone() for k, v in block.state_dict().items()} for block in decoder]
    target(encoder, decoder)
    found = {"encoder": "kept" if encoders == list(map(id, encoder.parameters())) else "replaced"}
    for one, other, old in zip(decoder, encoder, before):
        for name, part in one.named_children():
            theirs = list(other.get_submodule(name).parameters())
            pairs = list(zip(part.parameters(), theirs))
            if not pairs:
                continue
            state = {f"{name}.{key}": value for key, value in part.state_dict().items()}
            how = (
                "shared"
                if all(a is b for a, b in pairs)
                else "partly shared"
                if any(a is b for a, b in pairs)
                else "copied"
                if all(torch.equal(a, b) for a, b in pairs)
                else "own"
                if all(torch.equal(value, old[key]) for key, value in state.items())
                else "changed"
            )
            found[name] = how if found.get(name, how) == how else "partly shared"
    return found


SHARED = {"cross": "shared", "norm_cross": "shared", "feedforward": "shared", "norm2": "shared"}
SHARING = {"encoder": "kept", "attention": "own", "norm1": "own", **SHARED}


def explain_sharing(got: dict, wanted: dict, *_) -> str | None:
    if got.get("encoder") == "replaced":
        return "the encoder's modules were replaced: it is the decoder that takes the encoder's."
    for name in SHARED:
        if got.get(name) == "copied":
            return f"{name} is a copy: equal now, but each goes its own way at the first step. Both must hold the same object."
        if got.get(name) != "shared":
            return f"{name} is not shared (it is {got.get(name)}): all but self-attention and its LayerNorm is."
    if "shared" in got.get("attention", ""):
        return "self-attention is shared, too: that is the row 'all'. Attending both ways and attending back conflict there."
    if "shared" in got.get("norm1", ""):
        return (
            "norm1 is shared: the LayerNorm after self-attention belongs to it, and stays separate."
        )
    return "the decoder's self-attention, or the LayerNorm after it, was changed: leave both as they are."


def precision_recall(out: Tensor, noisy: Tensor) -> list[float]:
    both = (out & noisy).sum().item()
    return [both / out.sum().item(), both / noisy.sum().item()]


def filter_inputs(generator: torch.Generator) -> tuple[list, dict]:
    noisy = torch.arange(40) < 12
    threshold = (0.3, 0.4, 0.6, 0.7)[number(generator, 0, 3)]
    out = torch.zeros(40, dtype=torch.bool)
    found = number(generator, 4, 6)
    out[:found], out[12:15] = True, True  # of 12, a few are found; 3 right captions go out, too
    u = torch.rand(40, generator=generator)
    probability = torch.where(out, u * threshold, threshold + 1e-3 + u * (0.999 - threshold))
    order = torch.randperm(40, generator=generator)
    return [probability[order], noisy[order], threshold], {}


def half_right(got: object, wanted: list, *_) -> str | None:
    if not isinstance(got, list) or len(got) != 2 or not all(isinstance(x, float) for x in got):
        return None
    names, by = ("precision", "recall"), ("was thrown out", "is noise")
    for place in (0, 1):
        if abs(got[1 - place] - wanted[1 - place]) < 1e-5:
            return (
                f"{names[1 - place]} is right, {names[place]} isn't: divide noise that was thrown out by all that "
                f"{by[place]}."
            )
    return None


EXERCISES = {
    "negative_weights": Exercise(
        "Similar texts are drawn often, right ones never, and there is always something to draw.",
        (
            rule(
                "my_weights",
                weight_inputs,
                shares(negative_weights),
                {
                    message: tuple(map(shares, each if isinstance(each, tuple) else (each,)))
                    for message, each in WEIGHT_MISTAKES.items()
                },
                driver=driver_source(run_weights),
                tolerance=1e-6,
            ),
        ),
    ),
    "sharing": Exercise(
        "One object in two places: whatever either learns, both know.",
        (
            rule(
                "my_share",
                lambda generator: ([2 * number(generator, 3, 5)], {}),
                lambda width: SHARING,
                driver=driver_source(run_share),
                explain=explain_sharing,
            ),
        ),
    ),
    "filtering": Exercise(
        "Precision: how much of what went out is noise. Recall: how much of the noise went out.",
        (
            rule(
                "my_filtering",
                filter_inputs,
                lambda q, noisy, t: precision_recall(q < t, noisy),
                {
                    "precision and recall are exchanged.": lambda q, noisy, t: precision_recall(
                        q < t, noisy
                    )[::-1],
                    "the threshold is not used: 0.5 is only its usual value.": lambda q, noisy, t: (
                        precision_recall(q < 0.5, noisy)
                    ),
                    "that is the precision and recall of *keeping clean* captions; noise is what the filter finds.": (
                        lambda q, noisy, t: precision_recall(q >= t, ~noisy)
                    ),
                    "a caption is thrown out where the match is improbable: the comparison is upside down.": (
                        lambda q, noisy, t: precision_recall(q >= t, noisy)
                    ),
                    "these are the right captions that are thrown out: `noisy` is upside down.": lambda q, noisy, t: (
                        precision_recall(q < t, ~noisy)
                    ),
                    "both are divided by the number of all captions.": lambda q, noisy, t: (
                        [((q < t) & noisy).float().mean().item()] * 2
                    ),
                },
                explain=half_right,
            ),
        ),
    ),
}
