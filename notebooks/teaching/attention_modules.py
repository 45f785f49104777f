"""Lesson 01's checks of layers: multi-head attention and the pre-norm block; inputs, and mistakes with a name."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from teaching import attention_answers as answers
from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import differs, driver_source

PARTS = ("query", "key", "value")


def heads_result(width, heads, weights, x, allowed, split="right", merge="right", **changes):
    """MultiHeadAttention by hand from a dictionary of weights; the arguments after `allowed` make mistakes."""

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    B, L, D = x.shape
    H = 1 if split == "one head" else heads

    def split_heads(x: Tensor) -> Tensor:
        if split == "view":
            return x.reshape(B, H, L, D // H)
        if split == "interleaved":
            return x.reshape(B, L, D // H, H).permute(0, 3, 1, 2)
        return x.reshape(B, L, H, D // H).transpose(1, 2)

    q, k, v = (split_heads(linear(name, x)) for name in changes.get("parts", PARTS))
    if changes.get("full_scale"):
        q = q / math.sqrt(H)
    if changes.get("no_mask"):
        allowed = torch.ones_like(allowed)
    attended = answers.masked_attention(q, k, v, allowed)
    if merge == "view":
        merged = attended.reshape(B, L, D)
    elif merge == "interleaved":
        merged = attended.permute(0, 2, 3, 1).reshape(B, L, D)
    else:
        merged = attended.transpose(1, 2).reshape(B, L, D)
    result = merged if changes.get("no_output") else linear("output", merged)
    return x + result if changes.get("residual") else result


def layer_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Width, heads, weights of a multi-head layer, x, and a mask in which every query has a key."""
    B, L, heads = number(generator, 1, 2), number(generator, 4, 6), number(generator, 2, 3)
    width = heads * number(generator, 2, 4)
    weights = {}
    for name in (*PARTS, "output"):
        weights[f"{name}.weight"] = normal(generator, width, width, scale=width**-0.5)
        weights[f"{name}.bias"] = normal(generator, width, scale=0.3)
    allowed = torch.ones(L, L).tril().bool().expand(B, 1, L, L).clone()
    return [width, heads, weights, 2 * normal(generator, B, L, width), allowed], {}


def named_parts(*names: str) -> Callable[..., str | None]:
    """For `explain`: what is wrong with the first wrong one of the values of a list, called by its name."""

    def explain(got: object, wanted: list, *_) -> str | None:
        pairs = zip(names, got if isinstance(got, list) else [], wanted)
        found = (differs(one, other, 1e-4, name) for name, one, other in pairs)
        return next((words for words in found if words), None)

    return explain


def run_layer(target, width, heads, weights, x, allowed):
    """Driver: target(width, heads) with these weights, on x: [result, gradient of the sum by the input]."""
    import torch

    layer = target(width, heads)
    names = {name for name, _ in layer.named_parameters()}
    if names != set(weights):
        raise TypeError(f"expected parameters {sorted(weights)}; your layer has {sorted(names)}")
    layer.load_state_dict(weights)
    x = x.clone().requires_grad_()
    result = layer(x, allowed)
    if not isinstance(result, torch.Tensor) or not result.requires_grad:
        return [result, torch.zeros_like(x)]
    return [result, torch.autograd.grad(result.sum(), x)[0]]


def with_gradient(formula, *args, **changes) -> list:
    """[formula(*args), gradient of its sum by the fourth argument, x], as `run_layer` gives them."""
    *before, x, allowed = args
    x = x.clone().requires_grad_()
    result = formula(*before, x, allowed, **changes)
    return [result.detach(), torch.autograd.grad(result.sum(), x)[0]]


heads_mistake = partial(partial, with_gradient, heads_result)
HEADS_MISTAKES = {
    "the heads are cut wrongly: `view` or `reshape` alone mixes positions with heads. Split the width first, "
    "then exchange the axes.": (
        heads_mistake(split="view", merge="view"),
        heads_mistake(split="view"),
    ),
    "the heads are merged wrongly: bring the axes back to (B, L, H, d) before you flatten.": (
        heads_mistake(merge="view")
    ),
    "each head must be a contiguous piece of the width; yours takes every H-th number.": heads_mistake(
        split="interleaved", merge="interleaved"
    ),
    "there is only one head: the width is not split.": heads_mistake(split="one head"),
    "the last linear layer, `output`, is missing.": heads_mistake(no_output=True),
    "the scores are divided by the square root of the whole width; a head has only d = D / H numbers.": (
        heads_mistake(full_scale=True)
    ),
    "the mask is not used.": heads_mistake(no_mask=True),
    "keys and values come from the same linear layer.": (
        heads_mistake(parts=("query", "key", "key")),
        heads_mistake(parts=("query", "value", "value")),
    ),
    "keys and values are exchanged.": heads_mistake(parts=("query", "value", "key")),
    "x is added to the result: the residual connection belongs to the block of section 7, not to this layer.": (
        heads_mistake(residual=True)
    ),
    "queries and keys are exchanged.": heads_mistake(parts=("key", "query", "value")),
    "no gradient arrives at the input: a detach or no_grad cuts it.": lambda *args: [
        heads_result(*args),
        torch.zeros_like(args[3]),
    ],
}


class MaskedMean(nn.Module):
    """A stand-in for attention in the check of the block: each query gets the mean of its allowed positions."""

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        weights = allowed[:, 0].float()
        return (weights / weights.sum(-1, keepdim=True)) @ x


def block_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Width, a module for attention, weights of the block, x, mask."""
    B, L, width = number(generator, 1, 2), number(generator, 3, 5), number(generator, 4, 7)
    weights = {
        name: normal(generator, *value.shape, scale=0.5) + (name.endswith("weight") and 0.3)
        for name, value in answers.PreNormBlock(width, MaskedMean()).state_dict().items()
    }
    allowed = torch.ones(L, L).tril().bool().expand(B, 1, L, L).clone()
    return [width, MaskedMean(), weights, 2 * normal(generator, B, L, width), allowed], {}


ACTIVATIONS = {"relu": nn.ReLU(), "tanh": nn.Tanh(), "none": nn.Identity()}


def block_result(width, attention, weights, x, allowed, change=None):
    """PreNormBlock from a dictionary of weights; `change` names a mistake."""
    block = answers.PreNormBlock(width, attention)
    if change in ACTIVATIONS:
        block.feedforward[1] = ACTIVATIONS[change]
    block.load_state_dict(weights)
    norm1, norm2, feedforward = block.norm1, block.norm2, block.feedforward
    if change == "post":
        x = norm1(x + attention(x, allowed))
        return norm2(x + feedforward(x))
    if change == "no mask":
        allowed = torch.ones_like(allowed)
    if change == "norm1 twice":
        norm2 = norm1
    if change == "residual of norm":
        x = norm1(x)
        x = x + attention(x, allowed)
        x = norm2(x)
        return x + feedforward(x)
    if change == "network first":
        x = x + feedforward(norm2(x))
        return x + attention(norm1(x), allowed)
    if change == "network first, norms in order":
        x = x + feedforward(norm1(x))
        return x + attention(norm2(x), allowed)
    mixed = attention(x if change == "first norm" else norm1(x), allowed)
    if change == "parallel":
        return x + mixed + feedforward(norm2(x))
    if change == "first residual":
        return mixed + feedforward(norm2(mixed))
    if change == "no residual":
        return feedforward(norm2(mixed))
    if change == "x twice":
        return x + x + mixed + feedforward(norm2(x + mixed))
    if change == "x twice, both read":
        return x + x + mixed + feedforward(norm2(x + x + mixed))
    if change == "old residual":
        return x + feedforward(norm2(x + mixed))
    x = x + mixed
    if change == "second residual":
        return feedforward(norm2(x))
    return x + feedforward(x if change == "second norm" else norm2(x))


block_mistake = partial(partial, with_gradient, block_result)
BLOCK_MISTAKES = {
    "that is a post-norm block: here the norms stand before attention and before the feed-forward network.": (
        block_mistake(change="post")
    ),
    "both residual connections are missing.": block_mistake(change="no residual"),
    "the residual connection around attention is missing.": block_mistake(change="first residual"),
    "the residual connection around the feed-forward network is missing.": block_mistake(
        change="second residual"
    ),
    "the normalised x is what you add to; the residual stream itself must stay as it is.": block_mistake(
        change="residual of norm"
    ),
    "the feed-forward network must read what attention has added; yours reads the block's input.": (
        block_mistake(change="parallel")
    ),
    "the second sum starts from the block's input, so what attention added is lost.": block_mistake(
        change="old residual"
    ),
    "attention comes first, then the feed-forward network; yours are in the opposite order.": (
        block_mistake(change="network first"),
        block_mistake(change="network first, norms in order"),
    ),
    "x is added twice: each sum adds one branch to the residual stream, which holds x already.": (
        block_mistake(change="x twice"),
        block_mistake(change="x twice, both read"),
    ),
    "the norm before attention is missing.": block_mistake(change="first norm"),
    "the norm before the feed-forward network is missing.": block_mistake(change="second norm"),
    "between the two linear layers of the feed-forward network stands a GELU, nn.GELU().": tuple(
        block_mistake(change=name) for name in ACTIVATIONS
    ),
    "norm1 is used twice; each place has a norm of its own.": block_mistake(change="norm1 twice"),
    "the mask is not given to attention.": block_mistake(change="no mask"),
}


HEADS = Exercise(
    "Every head attends with its own d = D / H numbers, and the output layer mixes what they bring.",
    (
        rule(
            "MultiHeadAttention",
            layer_inputs,
            partial(with_gradient, heads_result),
            HEADS_MISTAKES,
            driver=driver_source(run_layer),
            explain=named_parts("the result", "the gradient of the result by x"),
        ),
    ),
    reference=answers.MultiHeadAttention,
)
BLOCK = Exercise(
    "The residual stream passes through untouched, and both branches add to it.",
    (
        rule(
            "PreNormBlock",
            block_inputs,
            partial(with_gradient, block_result),
            BLOCK_MISTAKES,
            driver=driver_source(run_layer),
            explain=named_parts("the result", "the gradient of the result by x"),
        ),
    ),
    reference=answers.PreNormBlock,
)
