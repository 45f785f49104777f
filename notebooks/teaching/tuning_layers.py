"""Lesson 06: the checks of the exercises on adapters and how they are inserted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import gelu

from teaching.exercises import Exercise, normal, number, rule
from vlmcourse.parts.tuning import Adapter
from vlmgrader.checks import driver_source

# Exercise 7


def run_layers(target, width, bottleneck, *_):
    """Driver: shapes of an adapter's two layers."""
    from torch import nn

    adapter = target(width, bottleneck)
    layers = [getattr(adapter, name, None) for name in ("down", "up")]
    if not isinstance(adapter, nn.Module) or not all(isinstance(one, nn.Linear) for one in layers):
        return "no layers"
    if any(one.bias is None for one in layers):
        return "no bias"
    if len(list(adapter.parameters())) > 4:
        return "more parameters"
    return [list(one.weight.shape) for one in layers]


def run_adapter(target, width, bottleneck, x, down, up, bias_down, bias_up):
    """Driver: what an adapter with these weights makes of x."""
    import torch

    adapter = target(width, bottleneck)
    values = (down, bias_down, up, bias_up)
    with torch.no_grad():
        parameters = (*adapter.down.parameters(), *adapter.up.parameters())
        for parameter, value in zip(parameters, values):
            parameter.copy_(value)
        return adapter(x)


def run_new_adapter(target, width, bottleneck, x, *_):
    """Driver: how a new adapter starts, in words."""
    adapter = target(width, bottleneck)
    out = adapter(x)
    out.square().sum().backward()
    if bool((out == x).all()):
        matrices = (adapter.down.weight, adapter.up.weight)
        learns = any(one.grad is not None and bool(one.grad.any()) for one in matrices)
        return "unchanged" if learns else "no gradient"
    zero = [name for name, value in adapter.named_parameters() if not bool(value.detach().any())]
    return next((name for name in ("up.weight", "down.weight") if name in zero), "changed")


def adapter_inputs(generator: torch.Generator) -> tuple[list, dict]:
    width, bottleneck = number(generator, 5, 8), number(generator, 2, 4)
    shapes = (2, 5, width), (bottleneck, width), (width, bottleneck), (bottleneck,), (width,)
    return [width, bottleneck, *(normal(generator, *shape) for shape in shapes)], {}


def formula(of: Callable) -> Callable:
    """of(x, down, up) on an adapter's inputs, with down and up as functions."""
    return lambda width, bottleneck, x, d, u, bd, bu: of(
        x, lambda y: y @ d.T + bd, lambda y: y @ u.T + bu
    )


ADAPTER_MISTAKES = {
    "x itself is lost: there is no residual. Return x *plus* what the bottleneck makes of it.": (
        formula(lambda x, down, up: up(gelu(down(x)))),
        formula(lambda x, down, up: up(down(x))),
    ),
    "there is no nonlinearity: two linear layers in a row are one linear layer. GELU stands between them.": formula(
        lambda x, down, up: x + up(down(x))
    ),
    "the nonlinearity comes after up: it stands between down and up.": formula(
        lambda x, down, up: x + gelu(up(down(x)))
    ),
    "the sum goes through the nonlinearity, so x can't pass unchanged: add x last.": formula(
        lambda x, down, up: gelu(x + up(down(x)))
    ),
    "there is a second GELU, after up: what is added to x must be free to be negative.": formula(
        lambda x, down, up: x + gelu(up(gelu(down(x))))
    ),
    "that is ReLU; this bottleneck uses GELU.": formula(lambda x, down, up: x + up(down(x).relu())),
    "that is tanh; this bottleneck uses GELU.": formula(lambda x, down, up: x + up(down(x).tanh())),
    "that is GELU's approximation by tanh: use GELU itself, gelu(x) without options.": formula(
        lambda x, down, up: x + up(gelu(down(x), approximate="tanh"))
    ),
    "x is multiplied; it should be added.": formula(lambda x, down, up: x * up(gelu(down(x)))),
    "the bottleneck is not used: x comes out as it went in, even when up is no longer zero.": formula(
        lambda x, down, up: x
    ),
    "down is not used.": lambda width, bottleneck, x, d, u, bd, bu: (
        x + gelu(x[..., :bottleneck]) @ u.T + bu
    ),
}  # fmt: skip


NEW_MISTAKES = {
    "what is added is zero, but which layer then still gets a gradient? Here neither of the two weights does.": (
        lambda *_: "no gradient"
    ),
    "a weight starts at zero, and yet something is added to x: a layer has a second part.": (
        lambda *_: "up.weight"
    ),
    "the first layer's weight starts at zero, and yet something is added to x: follow the zeros through GELU and "
    "the second layer.": lambda *_: "down.weight",
    "a new adapter changes its input: what it adds to x must be zero at first. Which starting values do that?": (
        lambda *_: "changed"
    ),
}

# Exercise 8


def insert_adapters(sublayers: list, adapters: list) -> list:
    def hook_of(adapter):
        def hook(module, inputs, output):
            if isinstance(output, tuple):
                return (adapter(output[0]), *output[1:])
            return adapter(output)

        return hook

    return [
        sublayer.register_forward_hook(hook_of(adapter))
        for sublayer, adapter in zip(sublayers, adapters)
    ]


def run_insert(target, x, first, second):
    """Driver: [number of handles, entries of the attention's output, the feed-forward's output, the same after removal]."""
    import torch
    from torch import nn

    class Attention(nn.Module):
        def forward(self, x):
            return x + 1, x - 1, 2 * x

    class FeedForward(nn.Module):
        def forward(self, x):
            return x - 2

    class Times(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, x):
            return x * self.factor

    attention, feedforward = Attention(), FeedForward()
    handles = target([attention, feedforward], [Times(first), Times(second)])
    with torch.no_grad():
        pair, one = attention(x), feedforward(x)
        found = [*pair] if isinstance(pair, tuple) else [pair]
        count = len(handles) if isinstance(handles, (list, tuple)) else -1
        if count > 0 and all(hasattr(handle, "remove") for handle in handles):
            for handle in handles:
                handle.remove()
        return [count, found, one, feedforward(x)]


def insert_inputs(generator: torch.Generator) -> tuple[list, dict]:
    return [normal(generator, 2, 3, 4), number(generator, 2, 3), number(generator, 6, 9)], {}


def inserted(x: Tensor, first: int, second: int) -> list:
    return [2, [(x + 1) * first, x - 1, 2 * x], (x - 2) * second, x - 2]


def explain_insert(got: object, wanted: list, x: Tensor, first: int, second: int) -> str | None:
    """What the outputs say about the hooks."""
    if not isinstance(got, list) or len(got) != 4:
        return None
    count, pair, one, after = got
    same = torch.equal
    if not isinstance(one, Tensor) or not all(isinstance(part, Tensor) for part in pair):
        return (
            "an output is no tensor any more: the adapter gets a tensor, not a tuple or a module."
        )
    output = x - 2  # of the feed-forward as it is
    if same(pair[0], x * first) or same(one, x * second):
        return "the adapter gets the input of the sub-layer; it should get what the sub-layer returns, `output`."
    if same(one, x * second - 2):
        return "the adapter works on the input, before the sub-layer: a forward hook runs after it."
    if same(one, output) and same(pair[0], x + 1):
        return "nothing changes: register a forward hook on each sublayer, and let the hook *return* its output."
    if len(pair) == 1:
        return "the attention returned a tuple, and now returns one tensor: keep the entries behind the first."
    if len(pair) != 3:
        return f"the attention returned a tuple of 3 entries, and now returns {len(pair)}: keep all behind the first, however many."
    if same(pair[0], x + 1):
        return "the attention's output is unchanged: it returns a tuple, whose first entry goes through the adapter."
    if not same(pair[1], x - 1) or not same(pair[2], 2 * x):
        return "every entry of the attention's tuple goes through the adapter: only the first one should."
    if same(one, output * first) and same(pair[0], (x + 1) * second):
        return "the adapters are exchanged: sublayer i gets adapter i."
    if same(pair[0], (x + 1) * second) or same(pair[0], (x + 1) * first * second):
        return (
            "the last adapter works everywhere: all hooks share one variable of the loop. Make each hook in a "
            "function of its own."
        )
    if same(one, output * first):
        return "the first adapter works everywhere: sublayer i gets adapter i."
    if same(one, output + output * second):
        return "the output is added once more: the adapter has its own residual."
    if count != 2 or not same(after, output):
        return "the outputs are right; return the handles, one for each sublayer, so that the hooks can be removed."
    return None


EXERCISES = {
    "Adapter": Exercise(
        "A new adapter changes nothing, and yet it can learn: the layer of zeros gets a gradient first, then the other.",
        (
            rule(
                "Adapter",
                adapter_inputs,
                lambda width, bottleneck, *_: [[bottleneck, width], [width, bottleneck]],
                {"expected a torch.nn.Module with two torch.nn.Linear layers, self.down and self.up.":
                     lambda *_: "no layers",
                 "down and up have biases, too: see the formula.": lambda *_: "no bias",
                 "there are further parameters besides those of down and up, such as a factor that starts at zero: the "
                 "formula has none, and zeros in one of the two layers do the same.": lambda *_: "more parameters"},
                driver=driver_source(run_layers),
                explain=lambda got, wanted, *_: (
                    f"down.weight and up.weight have shapes {got[0]} and {got[1]}; expected {wanted[0]} and "
                    f"{wanted[1]}: narrow in the middle."
                ),
            ),
            rule(
                "Adapter",
                adapter_inputs,
                formula(lambda x, down, up: x + up(gelu(down(x)))),
                ADAPTER_MISTAKES,
                driver=driver_source(run_adapter),
            ),
            rule(
                "Adapter",
                adapter_inputs,
                lambda *_: "unchanged",
                NEW_MISTAKES,
                driver=driver_source(run_new_adapter),
            ),
        ),
        reference=Adapter,
    ),
    "insert_adapters": Exercise(
        "Each sublayer's output passes through its own adapter, until the handles are removed.",
        (
            rule(
                "insert_adapters",
                insert_inputs,
                inserted,
                driver=driver_source(run_insert),
                explain=explain_insert,
            ),
        ),
        reference=insert_adapters,
    ),
}  # fmt: skip
