"""Lesson 11: the checks of the exercises on the gated block, and on where blocks stand in the language model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from teaching import flamingo_reference as reference
from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source

# 7. The gated block.


class Read(nn.Module):
    """A cross-attention whose only weight is a vector: each row of the mask gives the sum of its latents."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())

    def forward(self, y, latents, mask):
        return self.weight * (mask.to(y.dtype) @ latents) * (1 + y.cos())


class Think(nn.Module):
    """A feed-forward network whose only weight is a vector."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight.clone())

    def forward(self, y):
        return (y * self.weight).sin().cumsum(-1)


def block_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """y, latents, mask, the two parts' weights, two openings."""
    B, T, K, D = 2, 3, 4, number(generator, 4, 6)
    kind = {"dtype": torch.float64}
    mask = torch.rand(B, T, K, generator=generator) < 0.5
    parts = [normal(generator, D, **kind) for _ in range(2)]
    a, b = (0.4 + torch.rand(2, generator=generator, **kind)).unbind()
    return [
        normal(generator, B, T, D, **kind),
        normal(generator, B, K, D, **kind),
        mask,
        *parts,
        a,
        -b,
    ], {}


def run_block(target, y, latents, mask, one, other, a, b):
    """Driver: what of the module can be compared, or a text that says what is missing.

    [trained numbers, y at the start, y with open gates, y is untouched, is a gate's gradient zero at the start?, others']
    """
    import torch

    from teaching.flamingo_blocks import Read, Think

    block = target(Read(one), Think(other)).double()
    gates = {name: value for name, value in block.named_parameters() if name.startswith("alpha")}
    if set(gates) != {"alpha_xattn", "alpha_dense"}:
        return "gates: " + ", ".join(sorted(gates))
    if any(value.numel() != 1 for value in gates.values()):
        return "size"
    before = y.clone()
    at_start = block(y, latents, mask)
    if not isinstance(at_start, torch.Tensor):
        return at_start
    trained = sum(value.numel() for value in block.parameters() if value.requires_grad)
    grads = [0.0, 0.0]
    if at_start.requires_grad:
        (at_start**2).sum().backward()
        for name, value in block.named_parameters():
            if value.grad is not None:
                grads[name not in gates] += float(value.grad.abs().sum())
    with torch.no_grad():
        for value, opening in ((gates["alpha_xattn"], a), (gates["alpha_dense"], b)):
            value.copy_(opening.reshape(value.shape))
        opened = block(y, latents, mask)
    return [
        trained,
        at_start.detach(),
        opened,
        bool(torch.equal(y, before)),
        *(float(g > 0) for g in grads),
    ]


def changed_block(read, think, change: str = "") -> nn.Module:
    """GatedBlock, and what it becomes by one mistake."""
    gate = {"plain": lambda x: x, "sigmoid": torch.sigmoid, "open": lambda x: 1 + 0 * x}.get(
        change, torch.tanh
    )

    class Block(reference.GatedBlock):
        def forward(self, y, latents, mask):
            a, b = gate(self.alpha_xattn), gate(self.alpha_dense)
            a, b = (b, a) if change == "exchanged" else (a, b)
            b = a if change == "one gate" else b
            read, think = self.cross_attention, self.feedforward
            if change == "no mask":
                mask = mask | True
            if change == "gated residual":
                y = a * (y + read(y, latents, mask))
                return b * (y + think(y))
            if change == "old y":
                return y + b * think(y + a * read(y, latents, mask))
            if change == "parallel":
                return y + a * read(y, latents, mask) + b * think(y)
            if change == "dense first":
                y = y + b * think(y)
                return y + a * read(y, latents, mask)
            if change == "gate inside":
                y = y + read(a * y, latents, mask)
                return y + think(b * y)
            found = a * read(y, latents, mask)
            y = {"no residual": found, "dense only": y}.get(change, y + found)
            if change == "attention only":
                return y
            return b * think(y) if change == "no last residual" else y + b * think(y)

    block = Block(read, think)
    if change in ("ones", "fixed"):
        for value in (block.alpha_xattn, block.alpha_dense):
            value.data.fill_(1.0 if change == "ones" else 0.0)
            value.requires_grad_(change == "ones")
    return block


def gated(change: str = "") -> Callable:
    return partial(run_block, partial(changed_block, change=change))


BLOCK_MISTAKES = {
    "the gates are the alphas themselves: take tanh, which keeps them between -1 and 1.": gated(
        "plain"
    ),
    "a sigmoid is 0.5 at 0: the gates would be half open at the start. Take tanh.": gated(
        "sigmoid"
    ),
    "the outputs are added without their gates.": gated("open"),
    "the alphas start at 1; at the start both gates must be closed.": gated("ones"),
    "the gates are not trained: they must be parameters with a gradient.": gated("fixed"),
    "alpha_xattn and alpha_dense are exchanged: alpha_xattn belongs to the attention.": gated(
        "exchanged"
    ),
    "both outputs have the same gate; each has one of its own.": gated("one gate"),
    "the feed-forward network reads the y from before the attention; it reads what came out of the first step.": (
        gated("parallel")
    ),
    "the second sum starts from the old y: what the attention added is lost in it.": gated("old y"),
    "the feed-forward network comes first; the attention does.": gated("dense first"),
    "the gate multiplies the residual, too: multiply only what is added.": gated("gated residual"),
    "the gates multiply what goes in; multiply what comes out.": gated("gate inside"),
    "the first residual is missing.": gated("no residual"),
    "the second residual is missing.": gated("no last residual"),
    "the gated feed-forward network is missing.": gated("attention only"),
    "the gated attention is missing.": gated("dense only"),
    "the mask is not given to the attention.": gated("no mask"),
}


def explain_block(got: object, wanted: object, *_) -> str | None:
    if isinstance(got, str) and got.startswith("gates: "):
        found = got.removeprefix("gates: ") or "none"
        return f"the module needs two parameters, alpha_xattn and alpha_dense; there is {found}."
    if got == "size":
        return "each gate is a single number; yours have more."
    if isinstance(got, list) and got[3] is False:
        return "y itself was changed: y += ... writes into what the language model still needs."
    if isinstance(got, list) and isinstance(wanted, list) and got[0] != wanted[0]:
        return f"the module trains {got[0]} numbers; with these two parts and two gates it has {wanted[0]}. Keep both parts as attributes."
    return None


EXERCISES = {
    "GatedBlock": Exercise(
        "Closed, the block is not there; tanh opens it as training wants.",
        (
            rule(
                "GatedBlock",
                block_inputs,
                gated(),
                BLOCK_MISTAKES,
                driver=driver_source(run_block),
                explain=explain_block,
            ),
        ),
        reference=reference.GatedBlock,
    ),
}
