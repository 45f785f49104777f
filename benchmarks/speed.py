"""Speed and memory beside the peers, in one run.

    python -m benchmarks.speed clip        one training step: ours, transformers' CLIPModel, OpenAI's clip.model.CLIP
    python -m benchmarks.speed attention   explicit against fused attention, by length
    python -m benchmarks.speed blip        one step of BLIP's three losses: ours, and the same with transformers' modules
    python -m benchmarks.speed generate    writing: ours with and without a cache, transformers' lm.generate
    python -m benchmarks.speed flamingo    gated block and resampler beside flamingo-pytorch and OpenFlamingo; decoding
    python -m benchmarks.speed qformer     a step of BLIP-2's first stage: ours, and its losses on transformers' Q-Former

All models take the same batch, the same AdamW and the same threads, and take turns, so that a machine that slows down
slows them all. OpenAI's model is in the package clip-anytorch (`make bench` installs it without its dependencies).
"""

import importlib.util
import math
import multiprocessing
import re
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from vlmcourse import plots, recipes
from vlmcourse.evaluation import save_results
from vlmcourse.papers.clip import CLIP, CLIPConfig
from vlmcourse.parts.attention import attend
from vlmcourse.parts.generation import generate
from vlmcourse.parts.language import LanguageModel, new_cache, tiny
from vlmcourse.parts.layers import QuickGELU
from vlmcourse.plots.style import png
from vlmcourse.training.precision import device_precision
from vlmcourse.training.scale import Scale

VOCABULARY, LENGTH = 512, 16  # about the world's: words known, words in a caption
app = typer.Typer(add_completion=False, help=__doc__)
Loss = Callable[[], torch.Tensor]


def batch(scale: Scale, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    ids = torch.randint(1, VOCABULARY - 1, (count, LENGTH))
    ids[:, -1] = VOCABULARY - 1
    return torch.randn(count, 3, scale.image_size, scale.image_size), ids


def ours(scale: Scale, count: int) -> tuple[nn.Module, Loss]:
    model = CLIP(
        CLIPConfig(
            VOCABULARY,
            VOCABULARY - 1,
            LENGTH,
            scale.width,
            scale.image_size,
            16,
            scale.width,
            scale.vision_depth,
            scale.heads,
            text_width=scale.width,
            text_depth=scale.text_depth,
            text_heads=scale.heads,
            activation=QuickGELU,
            conv_stem=False,
        )
    )
    pixel_values, ids = batch(scale, count)
    return model, lambda: model.losses({"pixel_values": pixel_values, "ids": ids})["clip"]


def hugging_face(scale: Scale, count: int) -> tuple[nn.Module, Loss]:
    from transformers import CLIPConfig as Config
    from transformers import CLIPModel

    shared = dict(
        hidden_size=scale.width, intermediate_size=4 * scale.width, num_attention_heads=scale.heads
    )
    config = Config(
        text_config=dict(
            vocab_size=VOCABULARY,
            num_hidden_layers=scale.text_depth,
            max_position_embeddings=LENGTH,
            eos_token_id=VOCABULARY - 1,
            bos_token_id=1,
            pad_token_id=0,
            **shared,
        ),
        vision_config=dict(
            num_hidden_layers=scale.vision_depth,
            image_size=scale.image_size,
            patch_size=16,
            **shared,
        ),
        projection_dim=scale.width,
    )
    config._attn_implementation = "sdpa"
    model, (pixel_values, ids) = CLIPModel(config), batch(scale, count)
    return model, lambda: model(input_ids=ids, pixel_values=pixel_values, return_loss=True).loss


def openai(scale: Scale, count: int) -> tuple[nn.Module, Loss]:
    """OpenAI's own model file. The package around it needs torchvision, so only the module `clip.model` is loaded."""
    if "clip" not in sys.modules:
        spec = importlib.util.find_spec("clip")
        if spec is None:
            raise ModuleNotFoundError("clip-anytorch is not installed: run `make bench` once.")
        package = types.ModuleType("clip")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["clip"] = package
    from clip.model import CLIP as OpenAI

    model = OpenAI(
        scale.width,
        scale.image_size,
        scale.vision_depth,
        scale.width,
        16,
        LENGTH,
        VOCABULARY,
        scale.width,
        scale.heads,
        scale.text_depth,
    )
    (pixel_values, ids), labels = batch(scale, count), torch.arange(count)

    def loss() -> torch.Tensor:
        by_image, by_text = model(pixel_values, ids)
        return (cross_entropy(by_image, labels) + cross_entropy(by_text, labels)) / 2

    return model, loss


CONTENDERS = {"ours": ours, "transformers, sdpa": hugging_face, "OpenAI clip.model": openai}


def stepper(model: nn.Module, loss: Loss, precision: torch.dtype) -> Callable[[], None]:
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def matmul_rate(precision: torch.dtype) -> float:
    """Multiply-adds times two per second of one large matrix product: this machine's ceiling."""
    a, b = (torch.randn(2048, 2048).to(precision) for _ in range(2))
    times = []
    for _ in range(6):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(times)


def in_turns(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median seconds of each, taking turns."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn >= 2:  # the first two warm up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def _highest() -> float:
    """Peak memory of this process in MiB since it was last reset (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024


def _peak_in_child(work: Callable[..., None], arguments: tuple, answer) -> None:
    work(*arguments, warm=True)  # libraries loaded, kernels chosen
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak to what is in use now
    before = _highest()
    work(*arguments)
    answer.put(_highest() - before)


def peak_memory(work: Callable[..., None], *arguments) -> float:
    """MiB by which `work` raises the peak memory of a fresh process; not a number where there is no /proc."""
    if not Path("/proc/self/clear_refs").exists():
        return math.nan
    context = multiprocessing.get_context("spawn")
    answer = context.SimpleQueue()
    process = context.Process(target=_peak_in_child, args=(work, arguments, answer))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"measuring memory of {work.__name__}{arguments} failed in its process.")
    return answer.get()


def three_steps(name: str, scale: str, precision: torch.dtype, warm: bool = False) -> None:
    size = Scale.of(scale)
    count = 2 if warm else recipes.get("clip").sizes[size.name].batch
    step = stepper(*CONTENDERS[name](size, count), precision)
    for _ in range(3):
        step()


@app.command()
def clip(scale: str = "laptop", rounds: int = 15) -> None:
    """One training step of CLIP beside its peers, in float32 and, where it is fast here, in bfloat16."""
    size, console = Scale.of(scale), Console()
    count = recipes.get("clip").sizes[size.name].batch
    precisions = {"float32": torch.float32}
    if (
        device_precision() == torch.bfloat16
    ):  # a processor that only imitates it takes minutes for one step
        precisions["bfloat16"] = torch.bfloat16
    runs = {
        (name, word): CONTENDERS[name](size, count) for name in CONTENDERS for word in precisions
    }
    with FlopCounterMode(display=False) as flops:
        stepper(*ours(size, count), torch.float32)()
    seconds = in_turns(
        {run: stepper(*made, precisions[run[1]]) for run, made in runs.items()}, rounds
    )
    ceiling = {word: matmul_rate(dtype) for word, dtype in precisions.items()}
    chosen = str(device_precision()).removeprefix("torch.")
    fastest_peer = min(value for (name, _), value in seconds.items() if name != "ours")
    rows = [
        {
            "model": name,
            "precision": word,
            "ms": 1e3 * value,
            "pairs/s": count / value,
            "peak MiB": peak_memory(three_steps, name, scale, precisions[word]),
            "of matmul": flops.get_total_flops() / value / ceiling[word],
            "parameters": sum(p.numel() for p in runs[name, word][0].parameters()),
            "times fastest peer": fastest_peer / value,
        }
        for (name, word), value in seconds.items()
    ]
    table = Table(
        title=f"CLIP training step, scale {scale}: batch {count}, {torch.get_num_threads()} threads"
    )
    columns = {
        "model": ("model", ""),
        "precision": ("precision", ""),
        "ms": ("ms", ".1f"),
        "pairs/s": ("pairs/s", ",.0f"),
        "MiB": ("peak MiB", ".0f"),
        "matmul": ("of matmul", ".0%"),
        "speed-up": ("times fastest peer", ".2f"),
    }
    for heading, (_, form) in columns.items():
        table.add_column(heading, justify="right" if form else "left", no_wrap=True)
    for row in rows:
        table.add_row(
            *(format(row[key], form) for key, form in columns.values()),
            style="bold" if (row["model"], row["precision"]) == ("ours", chosen) else None,
        )
    console.print(table)
    console.print(
        "MiB: peak memory of three steps. matmul: share of this machine's own rate of multiplying matrices. "
        "speed-up: over the fastest peer at its best precision."
    )
    same = (
        min(seconds[name, "float32"] for name in CONTENDERS if name != "ours")
        / seconds["ours", "float32"]
    )
    console.print(
        f"fit() trains in {chosen} here: {fastest_peer / seconds['ours', chosen]:.2f} times as fast as the "
        f"fastest peer at its best precision; {same:.2f} times when all use float32."
    )
    save_results("speed_clip", rows, command="python -m benchmarks.speed clip")


def explicit(q, k, v):
    return (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v


def one_attention(kind: str, length: int, warm: bool = False) -> None:
    length = 16 if warm else length
    q, k, v = (torch.randn(1, 4, length, 32, requires_grad=True) for _ in range(3))
    (attend if kind == "fused" else explicit)(q, k, v).sum().backward()


@app.command()
def attention(longest: int = 4096, rounds: int = 5) -> None:
    """Time and memory of forward and backward against length; 4 heads of width 32, batch 1."""
    rows = []
    for length in (2**power for power in range(7, int(math.log2(longest)) + 1)):
        seconds = in_turns(
            {
                kind: (lambda kind=kind: one_attention(kind, length))
                for kind in ("explicit", "fused")
            },
            rounds,
        )
        rows += [
            {
                "kind": kind,
                "length": length,
                "ms": 1e3 * value,
                "peak MiB": peak_memory(one_attention, kind, length),
            }
            for kind, value in seconds.items()
        ]
        for row in rows[-2:]:
            print(
                f"length {length:5}  {row['kind']:8} {row['ms']:8.1f} ms {row['peak MiB']:8.1f} MiB",
                flush=True,
            )
    kept = save_results("speed_attention", rows, command="python -m benchmarks.speed attention")
    for measure in ("ms", "peak MiB"):
        series = {
            kind: {row["length"]: row[measure] for row in rows if row["kind"] == kind}
            for kind in ("explicit", "fused")
        }
        picture = kept.with_name(f"speed_attention_{measure.split()[-1].lower()}.png")
        picture.write_bytes(png(plots.curves(series, "length", measure, xlog=True, ylog=True)))
        print(f"Kept {picture}")


@app.command("generate")
def generation_speed(longest: int = 256, rounds: int = 5, scale: str = "laptop") -> None:
    """Time to write by number of tokens: ours with and without a cache, beside transformers' generate. Batch 1, greedy."""
    size = Scale.of(scale)
    torch.manual_seed(0)
    sizes = recipes.get("language").sizes[size.name]
    model = LanguageModel(tiny(VOCABULARY, sizes.width, sizes.depth, sizes.width // 32)).eval()
    prompt = torch.randint(1, VOCABULARY, (1, 8))
    rows = []
    for length in (2**power for power in range(4, int(math.log2(longest)) + 1)):

        def theirs() -> torch.Tensor:
            return model.lm.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=length,
                min_new_tokens=length,
                do_sample=False,
                pad_token_id=0,
            )[:, prompt.shape[1] :]

        contenders = {
            "ours, cache": lambda: generate(model, prompt, length, cache=new_cache(model.lm)),
            "ours, no cache": lambda: generate(model, prompt, length),
            "transformers' generate": theirs,
        }
        written = [
            contender() for contender in (contenders["ours, cache"], contenders["ours, no cache"])
        ]
        assert torch.equal(*written)
        seconds = in_turns(contenders, rounds)
        rows += [
            {
                "kind": kind,
                "tokens": length,
                "ms": 1e3 * value,
                "tokens/s": length / value,
                "times transformers": seconds["transformers' generate"] / value,
            }
            for kind, value in seconds.items()
        ]
        for row in rows[-3:]:
            print(
                f"{length:4} tokens  {row['kind']:24} {row['ms']:8.1f} ms {row['tokens/s']:7.0f} tokens/s  "
                f"{row['times transformers']:.2f} times as fast as transformers",
                flush=True,
            )
    kept = save_results("speed_generate", rows, command="python -m benchmarks.speed generate")
    series = {
        kind: {row["tokens"]: row["ms"] for row in rows if row["kind"] == kind} for kind in seconds
    }
    picture = kept.with_name("speed_generate_ms.png")
    picture.write_bytes(png(plots.curves(series, "tokens written", "ms", xlog=True, ylog=True)))
    print(f"Kept {picture}")


@app.command()
def qformer(scale: str = "laptop", rounds: int = 9) -> None:
    """One training step of BLIP-2's first stage beside the same losses on transformers' Q-Former, in one run."""
    from benchmarks.speed_qformer import measure

    measure(scale, rounds)


@app.command()
def blip(scale: str = "laptop", rounds: int = 15) -> None:
    """One training step of BLIP, contrast + match + caption, beside the same losses with transformers' modules."""
    from benchmarks.speed_blip import measure

    measure(scale, rounds)


@app.command()
def flamingo(widths: list[int] = [128, 256, 512], batch: int = 4, rounds: int = 20) -> None:  # noqa: B006 - typer copies it
    """Forward and backward at 256 words, 5 pictures, 64 latents, beside the peers; and writing with and without a cache."""
    from benchmarks.speed_flamingo import measure

    measure(tuple(widths), batch, rounds)


if __name__ == "__main__":
    app()
