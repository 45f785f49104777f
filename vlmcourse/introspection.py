"""Looking inside from outside: nothing in a model is changed, and no hook stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vlmcourse.parts.attention import Attention
from vlmcourse.parts.layers import TanhGate


@dataclass(frozen=True)
class AttentionMaps:
    """Maps (layers, heads, rows, P) over the patches of one picture.

    rows  names of the words or queries;  what: which quantity the maps are
    rest  what the rest of a row's weight is on;  unit: of maps that are no shares of a weight, such as "nats"
    probabilities  of maps of covering: each row's, with the whole picture
    instead  of maps of covering: for each row and covered patch, the word that is then the likeliest
    """

    rows: tuple[str, ...]
    maps: Tensor
    what: str
    rest: str = ""
    unit: str = ""
    probabilities: tuple[float, ...] = ()
    instead: tuple[tuple[str, ...], ...] = ()


def attention_weights(model: nn.Module, run: Callable[[], object]) -> dict[str, Tensor]:
    """The attention probabilities (B, H, Q, K) of every attention layer used while `run()` runs the model, by module name.

    The fused forward stays as it is: each layer's inputs are noted, and `Attention.attention_weights` recomputes from them. A layer
    that is used twice keeps its last use.
    """
    noted: dict[str, tuple[Attention, tuple, dict]] = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda module, given, named, name=name: noted.__setitem__(name, (module, given, named)),
            with_kwargs=True,
        )
        for name, module in model.named_modules()
        if isinstance(module, Attention)
    ]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    with torch.no_grad():
        return {
            name: module.weights(
                *given, **{key: value for key, value in named.items() if key != "cache"}
            )
            for name, (module, given, named) in noted.items()
        }


def count_flops(run: Callable[[], object]) -> int:
    """Floating-point operations of all matrix products and convolutions while `run()` runs; a multiply-add is two.

    PyTorch does not count the two products inside the fused attention of CPUs, so attention runs unfused here.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def gate_values(model: nn.Module) -> dict[str, float]:
    """How far each tanh gate is open, in (-1, 1), by module name."""
    return {
        name: module.value.item()
        for name, module in model.named_modules()
        if isinstance(module, TanhGate)
    }


def influence(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """How strongly each output position moves with each input position: (Q, K), zero where there is no way from k to q.

    function maps (1, K, C) to (1, Q, D). The norm of d out[q] / d x[k], measured along random output directions by
    automatic differentiation: no mask is read, so this measures what a mask only declares.
    """
    x = x.detach().requires_grad_()
    out = function(x)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(0), dtype=out.dtype)
    rows = []
    for q in range(out.shape[1]):
        (gradient,) = torch.autograd.grad((out[:, q] * direction[:, q]).sum(), x, retain_graph=True)
        rows.append(gradient[0].norm(dim=-1))
    return torch.stack(rows)  # (Q, K)


def occlusion(
    score: Callable[[Tensor], Tensor], pixel_values: Tensor, window: int, stride: int
) -> Tensor:
    """How much a score falls when a square of the picture is covered with grey: a square map, row by row, (G * G,).

    score maps (N, 3, S, S) to (N,), or to (N, T) for T scores at once, then (G * G, T); pixels (3, S, S).
    Unlike attention, this is a cause: the score was measured without it.
    """
    side = pixel_values.shape[-1]
    corners = range(0, side - window + 1, stride)
    covered = pixel_values.repeat(len(corners) ** 2, 1, 1, 1)
    for number, (top, left) in enumerate((top, left) for top in corners for left in corners):
        covered[number, :, top : top + window, left : left + window] = 0
    with torch.no_grad():
        return score(pixel_values[None]) - score(covered)
