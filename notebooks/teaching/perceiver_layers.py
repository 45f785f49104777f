"""Lesson 11: the checks of the exercises on the Perceiver's layers, and on Perceiver IO's decoder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from teaching import perceiver_reference as reference
from teaching.blip2_layers import randomise
from teaching.exercises import Exercise, normal, number, rule
from vlmcourse.papers.perceiver import CrossAttend, Perceiver, PerceiverConfig
from vlmgrader.checks import driver_source

# 3. A cross-attend.


def new_layer(seed: int, width: int, input_width: int) -> nn.Module:
    """A CrossAttend whose weights, norms included, depend on the seed alone."""
    return randomise(CrossAttend(width, input_width, 1, 2 * width), seed)


def cross_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """A seed, x (B, R, D), inputs (B, M, C) with C = D, so that mistakes of roles can be computed, too."""
    D, R, M = 2 * number(generator, 3, 4), number(generator, 2, 3), number(generator, 5, 7)
    x, inputs = normal(generator, 2, R, D, scale=2), normal(generator, 2, M, D, scale=2) + 1
    return [number(generator, 0, 10_000), x, inputs], {}


def run_cross(target, seed, x, inputs):
    """Driver: target(layer of these weights, x, inputs), and the gradient of its sum of squares by the inputs."""
    import torch

    from teaching.perceiver_layers import new_layer

    inputs = inputs.clone().requires_grad_()
    result = target(new_layer(seed, x.shape[-1], inputs.shape[-1]), x, inputs)
    if not isinstance(result, torch.Tensor) or not result.requires_grad:
        return [result, torch.zeros_like(inputs)]
    grad = torch.autograd.grad((result**2).sum(), inputs, allow_unused=True)[0]
    return [result.detach(), torch.zeros_like(inputs) if grad is None else grad]


def changed_cross(layer, x, inputs, change: str = "", residual: bool = True) -> Tensor:
    """cross_attend (residual=True) or decode (False), and what it becomes by one mistake."""
    q = x if change == "no norm_x" else layer.norm_x(x)
    kv = inputs if change == "no norm_inputs" else layer.norm_inputs(inputs)
    q, kv = {
        "roles": (kv, q),
        "self": (q, q),
        "joined": (q, torch.cat([kv, q], 1)),
        "norms exchanged": (layer.norm_inputs(x), layer.norm_x(inputs)),
    }.get(change, (q, kv))
    beside = inputs if change == "roles" else q if change == "residual of the norm" else x
    keep = residual != (change == "residual")
    found = layer.attention(q, kv)
    y = beside + found if keep else found
    dense = y if change == "no norm" else layer.norm(y)
    dense = layer.norm_x(y) if change == "norm_x again" else dense
    if change == "dense of x":
        dense = layer.norm(x)
    if change == "no dense":
        return y
    after = layer.feedforward(dense)
    if change == "post-norm":
        return layer.norm(y + layer.feedforward(y))
    return after if change == "no last residual" else y + after


def cross(change: str = "", residual: bool = True) -> Callable:
    """What run_cross gives for it."""
    return partial(run_cross, partial(changed_cross, change=change, residual=residual))


def no_gradient(*args, residual: bool = True) -> list[Tensor]:
    value, gradient = cross(residual=residual)(*args)
    return [value, torch.zeros_like(gradient)]


def cross_mistakes(x: str, inputs: str, residual: bool) -> dict:
    """Messages and mistakes. x and inputs: what the two are called"""
    wrong = partial(cross, residual=residual)
    first = (
        f"the first residual is missing: what was found is added to the {x}."
        if residual
        else f"the {x} are added to what was found: here there is no residual from the {x}."
    )
    found = {
        first: wrong("residual"),
        "the second residual is missing: the feed-forward network's output is added.": wrong(
            "no last residual"
        ),
        f"the {x} don't go through `norm_x`.": wrong("no norm_x"),
        f"the {inputs} don't go through `norm_inputs`.": wrong("no norm_inputs"),
        "the feed-forward network reads without `norm`.": wrong("no norm"),
        "`norm_x` is used before the feed-forward network, too; `norm` belongs there.": wrong(
            "norm_x again"
        ),
        "`norm_x` and `norm_inputs` are exchanged.": wrong("norms exchanged"),
        "the feed-forward network is missing.": wrong("no dense"),
        f"the feed-forward network reads the {x} from before the attention.": wrong("dense of x"),
        "that is post-norm: `norm` stands before the feed-forward network.": wrong("post-norm"),
        f"the {inputs} attend to the {x}; it is the other way round.": wrong("roles"),
        f"the {x} attend to themselves: keys and values come from the {inputs}.": wrong("self"),
        f"keys and values are of the {inputs} alone here, not of both.": wrong("joined"),
        f"the values are right, but no gradient arrives at the {inputs}.": partial(
            no_gradient, residual=residual
        ),
    }
    if residual:
        found |= {
            f"the residual is the {x} as they came, not their LayerNorm.": wrong(
                "residual of the norm"
            )
        }
    return found


def cross_check(call: str, x: str, inputs: str, residual: bool):
    return rule(
        call,
        cross_inputs,
        cross(residual=residual),
        cross_mistakes(x, inputs, residual),
        driver=driver_source(run_cross),
        tolerance=1e-3,
        rounds=2,
    )


# 4. All cross-attends.


def new_perceiver(seed: int, width: int, input_width: int, repeats: int) -> nn.Module:
    """A Perceiver whose weights depend on the seed alone."""
    config = PerceiverConfig(input_width, 3, width, repeats, depth=1, heads=2, hidden=width)
    return randomise(Perceiver(config, 2), seed)


def perceive_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """A seed, width, repeats, inputs."""
    width = 2 * number(generator, 3, 4)
    inputs = normal(generator, 2, number(generator, 4, 6), 5, scale=2)
    return [number(generator, 0, 10_000), width, number(generator, 3, 4), inputs], {}


def run_perceive(target, seed, width, repeats, inputs):
    """Driver: target(a Perceiver of these weights, inputs)."""
    from teaching.perceiver_layers import new_perceiver

    result = target(new_perceiver(seed, width, inputs.shape[-1], repeats), inputs)
    return result.detach() if hasattr(result, "detach") else result


def changed_perceive(model, inputs, change: str = "") -> Tensor:
    """perceive, and what it becomes by one mistake."""
    first, again, think = model.cross_attend, model.cross_attend_again, model.self_attends
    first, again = {"first for all": (first, first), "again for all": (again, again)}.get(
        change, (first, again)
    )
    start = model.latents.expand(len(inputs), -1, -1)
    times = model.config.num_cross_attends
    x = first(start, inputs)
    if change not in ("think last", "not after first"):
        x = think(x)
    times += {"one more": 1, "one less": -1, "once": 1 - times}.get(change, 0)
    for repeat in range(1, times):
        x = again(start if change == "start again" else x, inputs)
        if change == "not after last" and repeat == times - 1:
            continue
        if change not in ("think first", "think last"):
            x = think(x)
    if change == "think last":
        x = think(x)
    return x.mean(1) if change == "mean" else x[:1] if change == "one row" else x


def perceived(change: str = "") -> Callable:
    return partial(run_perceive, partial(changed_perceive, change=change))


PERCEIVE_MISTAKES = {
    "the first cross-attend has weights of its own; the later ones share `cross_attend_again`.": (
        perceived("first for all")
    ),
    "the first cross-attend is `cross_attend`; only the later ones are `cross_attend_again`.": (
        perceived("again for all")
    ),
    "there is one cross-attend too many: `num_cross_attends` counts the first, too.": perceived(
        "one more"
    ),
    "there is one cross-attend too few: `num_cross_attends` in all, the first included.": perceived(
        "one less"
    ),
    "the inputs are read once; there are `num_cross_attends` cross-attends.": perceived("once"),
    "the self-attends follow only the first cross-attend; they follow each of them.": perceived(
        "think first"
    ),
    "the self-attends come once, at the end; they follow each cross-attend.": perceived(
        "think last"
    ),
    "no self-attends follow the last cross-attend; they follow each of them.": perceived(
        "not after last"
    ),
    "no self-attends follow the first cross-attend; they follow each of them.": perceived(
        "not after first"
    ),
    "each repeat begins with the learned latents again; it goes on with what the last one gave.": (
        perceived("start again")
    ),
    "that is the mean over latents; wanted are all latents, (B, R, D).": perceived("mean"),
}


def explain_perceive(got: object, wanted: Tensor, *_) -> str | None:
    if isinstance(got, Tensor) and got.dim() == 3 and got.shape[0] == 1:
        return "there is one row, whatever the batch is: expand the latents first."
    return None


EXERCISES = {
    "cross_attend": Exercise(
        "R queries, M keys: the result has as many vectors as there are latents.",
        (cross_check("cross_attend", "latents", "inputs", True),),
        reference=reference.cross_attend,
    ),
    "perceive": Exercise(
        "From the second cross-attend on, all repeats share their weights.",
        (
            rule(
                "perceive",
                perceive_inputs,
                perceived(),
                PERCEIVE_MISTAKES,
                driver=driver_source(run_perceive),
                explain=explain_perceive,
                tolerance=1e-3,
                rounds=2,
            ),
        ),
        reference=reference.perceive,
    ),
    "decode": Exercise(
        "One output for each query, and nothing of the query is added to it.",
        (cross_check("decode", "queries", "latents", False),),
        reference=reference.decode,
    ),
}
