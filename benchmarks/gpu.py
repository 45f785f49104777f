"""What only a GPU shows: FlexAttention forward and backward, bfloat16, the gpu scale. Writes benchmarks/results/gpu.json.

    python -m benchmarks.gpu [--device cuda] [--longest 8192] [--scale gpu] [--steps 150]

attention   explicit, fused with a dense mask, and FlexAttention with the same rule: causal, and Flamingo's 'the last image only'
steps       CLIP's training step at scale gpu in float32 and bfloat16, on a batch that is there; and how long one core makes a batch
training    CLIP at laptop scale to the end, and `steps` steps of scale gpu: the code of lesson 02, on this device
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat

import torch
import typer
from torch import Tensor

from vlmcourse import recipes
from vlmcourse.evaluation import save_results
from vlmcourse.parts.attention import attend
from vlmcourse.parts.masks import Mask, causal, last_image, phi
from vlmcourse.recipes.clip import clip_config, clip_report, new_clip, training_pairs
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.scale import Scale

BATCH, HEADS, HEAD_WIDTH, LATENTS, BETWEEN = (
    4,
    8,
    64,
    64,
    256,
)  # a picture of 64 latents every 256 words
app = typer.Typer(add_completion=False)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def measured(
    work: Callable[[], object], device: torch.device, rounds: int = 10
) -> dict[str, float]:
    """Median milliseconds, and the most memory in MiB beyond what was held before (not a number without a GPU)."""
    for _ in range(3):  # compiles, and finds its memory
        work()
    wait(device)
    gpu, times = device.type == "cuda", []
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if gpu else 0
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - start)
    peak = (torch.cuda.max_memory_allocated() - before) / 2**20 if gpu else float("nan")
    return {"ms": 1e3 * statistics.median(times), "peak MiB": peak}


def ceilings(device: torch.device) -> dict[str, float]:
    """TFLOP/s of one large matrix product of random numbers, by precision."""
    side = 8192 if device.type == "cuda" else 512
    found = {}
    for precision in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(side, side, device=device).to(precision) for _ in range(2))
        found[str(precision)] = 2 * side**3 / measured(lambda: a @ b, device)["ms"] / 1e9
    return found


def explicit(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(~mask, -torch.inf)
    return scores.softmax(-1).where(mask.any(-1, keepdim=True), 0) @ v


def rules(length: int, device: torch.device) -> dict[str, Mask]:
    tags = torch.zeros(BATCH, length, dtype=torch.bool, device=device)
    tags[:, ::BETWEEN] = True
    pictures = torch.arange(1, length // BETWEEN + 1, device=device).repeat_interleave(LATENTS)
    return {"causal": causal(length, device), "last image": last_image(phi(tags), pictures)}


def attention(device: torch.device, longest: int) -> Iterator[dict]:
    length = min(1024, longest)
    while length <= longest:
        for rule, mask in rules(length, device).items():
            shape = (BATCH, HEADS, mask.queries, HEAD_WIDTH), (BATCH, HEADS, mask.keys, HEAD_WIDTH)
            torch.manual_seed(0)
            q, k, v = (
                torch.randn(one, device=device, dtype=torch.bfloat16).requires_grad_()
                for one in (shape[0], shape[1], shape[1])
            )
            way = torch.randn_like(q)
            dense = mask.to_bool()
            kinds = {"explicit": (explicit, dense), "fused, dense mask": (attend, dense)}
            if device.type == "cuda":  # no backward on CPU (torch 2.13)
                kinds["FlexAttention"] = (attend, mask.to_block_mask())
            exact = explicit(q.float(), k.float(), v.float(), dense)
            (gradient,) = torch.autograd.grad(exact, q, way.float())
            exact = exact.detach()
            for kind, (function, form) in kinds.items():

                def both(function=function, form=form) -> tuple[Tensor, Tensor]:
                    said = function(q, k, v, form)
                    return said, *torch.autograd.grad(said, (q, k, v), way)

                said, found = (one.detach() for one in both()[:2])
                yield {
                    "part": "attention",
                    "rule": rule,
                    "kind": kind,
                    "length": length,
                    "keys": mask.keys,
                    "may look": float(dense.float().mean()),
                    "error": float((said - exact).norm() / exact.norm()),
                    "gradient's error": float((found - gradient).norm() / gradient.norm()),
                    **measured(both, device),
                }
        length *= 2


@dataclass(frozen=True)
class Same:
    """One batch, again and again: what a step costs when no data has to be made."""

    batch: dict

    def from_step(self, step: int, part: tuple[int, int] = (0, 1)) -> Iterator[dict]:
        return repeat(self.batch)


def steps(device: torch.device, size: Scale) -> Iterator[dict]:
    """CLIP's step by precision. 'making a batch' is one core's time for the pictures."""
    start, count = time.perf_counter(), recipes.get("clip").sizes[size.name].batch
    batch = training_pairs(size).batch(range(count))
    making = time.perf_counter() - start
    for precision in (torch.float32, torch.bfloat16):
        model, times, losses = new_clip(clip_config(size)), [0.0], []
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        for step in fit(model, Same(batch), 20, precision=precision):
            times.append(step.seconds)
            losses.append(step.loss)
        taken = statistics.median(later - earlier for earlier, later in zip(times[5:], times[6:]))
        yield {
            "part": "steps",
            "scale": size.name,
            "precision": str(precision),
            "batch": count,
            "ms": 1e3 * taken,
            "parameters": sum(p.numel() for p in model.parameters()),
            "making a batch, ms": 1e3 * making,
            "first loss": losses[0],
            "last loss": losses[-1],
            "peak MiB": torch.cuda.max_memory_allocated() / 2**20
            if device.type == "cuda"
            else float("nan"),
        }


def training(size: Scale, count: int | None, precision: torch.dtype, note: str = "") -> dict:
    """A model from scratch on fresh pictures, and what lesson 02 measures of it. count: steps; default: the scale's"""
    sizes = recipes.get("clip").sizes[size.name]
    count = count or sizes.steps
    model, history = new_clip(clip_config(size)), []
    for step in fit(
        model, Batches(training_pairs(size).batch, sizes.batch), count, precision=precision
    ):
        history.append(step)
    return {
        "part": "training",
        "scale": size.name + note,
        "precision": str(precision),
        "steps": count,
        "batch": sizes.batch,
        "seconds": history[-1].seconds,
        "last loss": statistics.mean(step.loss for step in history[-20:]),
        **clip_report(model),
    }


@app.command(help=__doc__)
def main(
    device: str = "cuda",
    longest: int = 8192,
    scale: str = "gpu",
    steps_: int = typer.Option(150, "--steps"),
) -> None:
    where, size, rows = torch.device(device), Scale.of(scale), []
    name = torch.cuda.get_device_name() if where.type == "cuda" else "no GPU"
    small = Scale.of("laptop" if scale == "gpu" else scale)
    ceiling = ceilings(where)
    print(name, ceiling, flush=True)

    def keep(row: dict) -> None:
        print(row, flush=True)
        rows.append(row)
        save_results(
            "gpu" if where.type == "cuda" else "gpu_smoke", rows, device=name, tflops=ceiling
        )

    for row in steps(where, size):
        keep(row)
    for row in attention(where, longest):
        keep(row)
    for precision in (torch.float32, torch.bfloat16):
        keep(training(small, None, precision))
    keep(training(size, steps_, torch.bfloat16, ", short"))


if __name__ == "__main__":
    app()
