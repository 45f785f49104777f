"""Flamingo's gated block and resampler beside flamingo-pytorch and OpenFlamingo's helpers; decoding with and without a cache.

`python -m benchmarks.speed flamingo` runs this. All modules take the same inputs, have the same number of parameters (time
embeddings aside), the peers' activation (GELU), and take turns. The peers write attention out as einsum and softmax, ours is
fused; what both compute in matrix products is the same.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.speed import in_turns, peak_memory
from vlmcourse import plots
from vlmcourse.evaluation import save_results
from vlmcourse.papers.flamingo import Flamingo, FlamingoConfig, GatedXattnDense, PerceiverResampler
from vlmcourse.parts.generation import generate
from vlmcourse.parts.language import freeze, new_cache, tiny
from vlmcourse.parts.masks import last_image, phi
from vlmcourse.plots.style import png

TOKENS, IMAGES, LATENTS, PATCHES = 256, 5, 64, 196
HEADS, HEAD_WIDTH, DEPTH = 8, 64, 2
Step = Callable[[], None]


def config(width: int) -> FlamingoConfig:
    return FlamingoConfig(
        image_token_id=1,
        vision_width=width,
        latents=LATENTS,
        resampler_depth=DEPTH,
        resampler_heads=HEADS,
        resampler_head_width=HEAD_WIDTH,
        heads=HEADS,
        head_width=HEAD_WIDTH,
        activation=nn.GELU,
    )


def inputs(width: int, batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Words, latents, where the tags are, features: a picture every 50 words."""
    torch.manual_seed(0)
    tags = torch.zeros(batch, TOKENS, dtype=torch.bool)
    tags[:, 3 : 3 + 50 * IMAGES : 50] = True
    return (
        torch.randn(batch, TOKENS, width),
        torch.randn(batch, IMAGES, LATENTS, width),
        tags,
        torch.randn(batch, IMAGES, PATCHES, width),
    )


def open_flamingo():
    """Only the module with the blocks: the package around it needs torchvision and an old torch."""
    if "open_flamingo" not in sys.modules:
        if (spec := importlib.util.find_spec("open_flamingo")) is None:
            return None
        (root,) = spec.submodule_search_locations
        for name, place in (("open_flamingo", root), ("open_flamingo.src", f"{root}/src")):
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__path__ = [place]
    return importlib.import_module("open_flamingo.src.helpers")


def trained(module: nn.Module, run: Callable[[], torch.Tensor]) -> Step:
    """Forward and backward; gradients of parameters and inputs."""

    def step() -> None:
        run().sum().backward()
        module.zero_grad(set_to_none=True)

    return step


def peers() -> dict[str, object]:
    there = importlib.util.find_spec("flamingo_pytorch")
    found = {
        "flamingo-pytorch": importlib.import_module("flamingo_pytorch") if there else None,
        "OpenFlamingo helpers": open_flamingo(),
    }
    if missing := [name for name, module in found.items() if module is None]:
        print(f"left out, not installed: {', '.join(missing)}. `make bench` installs them.")
    return {name: module for name, module in found.items() if module is not None}


def block_steps(width: int, batch: int) -> dict[str, Step]:
    y, latents, tags, _ = inputs(width, batch)
    y.requires_grad_()
    latents.requires_grad_()
    ours = GatedXattnDense(width, config(width))
    numbers = torch.arange(1, IMAGES + 1)

    def run() -> torch.Tensor:
        sees = last_image(phi(tags), numbers).to_bool()[
            :, 0
        ]  # made anew in each forward, as theirs
        return ours(y, latents, sees)

    steps = {"ours": trained(ours, run)}
    for name, module in peers().items():
        sizes = dict(dim=width, dim_head=HEAD_WIDTH, heads=HEADS) | (
            {"dim_visual": width} if name.startswith("Open") else {}
        )
        theirs = module.GatedCrossAttentionBlock(**sizes)
        steps[name] = trained(
            theirs, lambda theirs=theirs: theirs(y, latents, media_locations=tags)
        )
    return steps


def resampler_steps(width: int, batch: int) -> dict[str, Step]:
    *_, features = inputs(width, batch)
    features.requires_grad_()
    ours = PerceiverResampler(config(width))
    steps = {"ours": trained(ours, lambda: ours(features.flatten(0, 1)[:, None]))}
    for name, module in peers().items():
        theirs = module.PerceiverResampler(
            dim=width,
            depth=DEPTH,
            dim_head=HEAD_WIDTH,
            heads=HEADS,
            num_latents=LATENTS,
            **({} if name.startswith("Open") else {"num_media_embeds": IMAGES}),
        )
        given = (lambda: features[:, :, None]) if name.startswith("Open") else (lambda: features)
        steps[name] = trained(theirs, lambda theirs=theirs, given=given: theirs(given()))
    return steps


PARTS = {"gated block": block_steps, "resampler": resampler_steps}


def three_steps(part: str, name: str, width: int, batch: int, warm: bool = False) -> None:
    """For the measurement of memory."""
    step = PARTS[part](32 if warm else width, 1 if warm else batch)[name]
    for _ in range(3):
        step()


def decoding(lengths: tuple[int, ...], images: int, rounds: int) -> list[dict]:
    """Writing so many words after a page of pictures: with a cache a word pays for the one picture it sees."""
    torch.manual_seed(0)

    class Tower(nn.Module):
        def forward(self, pixel_values):
            return pixel_values.flatten(2).transpose(1, 2)

    lm = freeze(tiny(512, 96, 3, 3, context=1024))
    model = Flamingo(
        FlamingoConfig(image_token_id=4, vision_width=96, latents=LATENTS), Tower(), lm
    ).eval()
    with torch.no_grad():
        for block in model.blocks.values():
            block.gate.alpha.fill_(0.5)
            block.gate_feedforward.alpha.fill_(0.5)
    ids = torch.randint(5, 512, (1, 12 * images))
    ids[:, ::12] = 4
    media = torch.randn(images, LATENTS, 96)
    rows = []
    for length in lengths:
        runs = {
            "cache": lambda: generate(model, ids, length, cache=new_cache(lm), media=media),
            "no cache": lambda: generate(model, ids, length, media=media),
        }
        assert torch.equal(*(run() for run in runs.values()))
        seconds = in_turns(runs, rounds)
        rows += [
            {
                "part": "decoding",
                "model": f"ours, {kind}",
                "tokens": length,
                "images": images,
                "ms": 1e3 * value,
                "times": seconds["no cache"] / value,
            }
            for kind, value in seconds.items()
        ]
        print(
            f"{length:4} words after {images} pictures: "
            + ", ".join(f"{row['model']} {row['ms']:.0f} ms" for row in rows[-2:])
            + f": {rows[-2]['times']:.1f} times",
            flush=True,
        )
    return rows


def measure(widths: tuple[int, ...], batch: int, rounds: int) -> None:
    """Prints and keeps results/speed_flamingo.json."""
    rows = []
    for part, make in PARTS.items():
        for width in widths:
            seconds = in_turns(make(width, batch), rounds)
            fastest = min(
                (value for name, value in seconds.items() if name != "ours"), default=float("nan")
            )
            for name, value in seconds.items():
                rows.append(
                    {
                        "part": part,
                        "model": name,
                        "width": width,
                        "batch": batch,
                        "ms": 1e3 * value,
                        "peak MiB": peak_memory(three_steps, part, name, width, batch),
                        "times fastest peer": fastest / value,
                    }
                )
                print(
                    f"{part:12} width {width:5}  {name:22} {rows[-1]['ms']:8.1f} ms  {rows[-1]['peak MiB']:7.0f} MiB  "
                    f"{rows[-1]['times fastest peer']:.2f} times the fastest peer",
                    flush=True,
                )
    rows += decoding((16, 64, 256), IMAGES, max(3, rounds // 4))
    kept = save_results(
        "speed_flamingo",
        rows,
        command="python -m benchmarks.speed flamingo",
        tokens=TOKENS,
        images=IMAGES,
        latents=LATENTS,
        patches=PATCHES,
        heads=HEADS,
        head_width=HEAD_WIDTH,
        resampler_depth=DEPTH,
    )
    if {"flamingo-pytorch"} <= {row["model"] for row in rows}:
        names = list(dict.fromkeys(row["model"] for row in rows if row["part"] == "gated block"))
        series = {
            name: {
                row["width"]: row["ms"]
                for row in rows
                if row["part"] == "gated block" and row["model"] == name
            }
            for name in names
        }
        picture = plots.curves(series, "width", "ms, gated block", xlog=True, ylog=True)
        kept.with_name("speed_flamingo_ms.png").write_bytes(png(picture))
    print(f"Kept {kept}")
