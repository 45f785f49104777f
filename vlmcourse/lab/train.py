"""Training: a loop that yields.

    for step in fit(model, batches, steps=1000):
        plot(step.losses)                       # the notebook is the consumer: it plots, evaluates, breaks

A model is anything with `losses(batch) -> dict of scalars`, summed here; `after_step()` is called if it has one.
Accelerate underneath brings device and data parallelism: `accelerate launch` runs the same code in many processes.
Step n draws its data and its randomness from (seed, n) alone, so a run that was killed resumes to the very same weights.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

import torch
from torch import Tensor, nn

from vlmcourse.lab import checkpoint
from vlmcourse.lab.precision import fast_precision, faster


@dataclass(frozen=True)
class Scale:
    """The one dial: widths, depths, batch and steps together."""

    name: str
    width: int
    vision_depth: int
    text_depth: int
    heads: int
    image_size: int
    batch: int
    steps: int
    seeds: int  # how many runs a claim with a spread takes
    language_width: int  # of the language model, whose heads are 32 wide
    language_depth: int
    language_batch: int
    language_steps: int
    frozen_batch: int  # pictures with captions, into a frozen language model
    frozen_steps: int
    blip_batch: int  # pairs, half of them siblings of the others
    blip_steps: int
    vilbert_width: int  # heads 32 wide
    vilbert_batch: int  # pairs of regions and captions
    vilbert_steps: int

    @classmethod
    def named(cls, name: str | None = None) -> Scale:
        """smoke (seconds, for tests), laptop (2 cores, minutes) or gpu; default: VLMCOURSE_SCALE, else laptop."""
        name = name or os.environ.get("VLMCOURSE_SCALE", "laptop")
        if name not in (known := {scale.name: scale for scale in SCALES}):
            raise ValueError(f"scale '{name}' is unknown; expected one of {', '.join(known)}.")
        return known[name]


SCALES = (
    Scale("smoke", width=64, vision_depth=1, text_depth=1, heads=2, image_size=32, batch=32, steps=20, seeds=2,
          language_width=64, language_depth=1, language_batch=16, language_steps=20, frozen_batch=16, frozen_steps=20,
          blip_batch=16, blip_steps=20, vilbert_width=32, vilbert_batch=16, vilbert_steps=20),
    Scale("laptop", width=128, vision_depth=4, text_depth=1, heads=4, image_size=64, batch=64, steps=3000, seeds=3,
          language_width=96, language_depth=3, language_batch=32, language_steps=3000, frozen_batch=64, frozen_steps=2400,
          blip_batch=64, blip_steps=1500, vilbert_width=64, vilbert_batch=64, vilbert_steps=2000),
    Scale("gpu", width=512, vision_depth=12, text_depth=6, heads=8, image_size=128, batch=1024, steps=10_000, seeds=3,
          language_width=512, language_depth=12, language_batch=256, language_steps=20_000, frozen_batch=512, frozen_steps=10_000,
          blip_batch=1024, blip_steps=10_000, vilbert_width=512, vilbert_batch=512, vilbert_steps=20_000),
)


@dataclass(frozen=True)
class Batches:
    """Batch n, made from the indices n*size ... (n+1)*size - 1.

    make       indices -> batch (a dict of tensors and lists)
    size       examples in a batch, over all processes
    examples   how many there are; None: endless. With a number, each epoch visits them in another order.
    """

    make: Callable[[list[int]], dict]
    size: int
    examples: int | None = None
    seed: int = 0

    def __post_init__(self):
        if self.examples is not None and self.examples < self.size:
            raise ValueError(f"a batch of {self.size} from {self.examples} examples: "
                             f"expected at least one full batch. Add data or use a batch of at most {self.examples}.")

    def indices(self, step: int) -> list[int]:
        if self.examples is None:
            return list(range(step * self.size, (step + 1) * self.size))
        per_epoch = self.examples // self.size
        epoch, place = divmod(step, per_epoch)
        order = torch.randperm(self.examples, generator=torch.Generator().manual_seed(self.seed * 1_000_003 + epoch))
        return order[place * self.size:(place + 1) * self.size].tolist()

    def __getitem__(self, step: int) -> dict:
        return self.make(self.indices(step))

    def since(self, step: int, part: tuple[int, int] = (0, 1)) -> Iterator[dict]:
        """Batches from `step` on; process `part[0]` of `part[1]` gets its slice of each."""
        rank, processes = part
        if self.size % processes:
            raise ValueError(f"a batch of {self.size} cannot be shared by {processes} processes: expected a multiple.")
        mine = self.size // processes
        for number in count(step):
            yield self.make(self.indices(number)[rank * mine:(rank + 1) * mine])


def ahead(batches: Iterator[dict]) -> Iterator[dict]:
    """The same batches, each made while the one before is used. For GPUs: on a CPU the thread would compete for the cores
    that train (measured on two: 118 ms a step instead of 78)."""
    with ThreadPoolExecutor(1, "batches") as worker:
        coming = worker.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = worker.submit(next, batches, None)
            yield batch


@dataclass(frozen=True)
class Step:
    """What one step of training did. `step` counts from 1; seconds are since the start of this run."""

    step: int
    steps: int
    losses: dict[str, float]
    learning_rate: float
    gradient_norm: float
    seconds: float
    left: float  # seconds still to go, at the speed so far

    @property
    def loss(self) -> float:
        return sum(self.losses.values())


@dataclass(frozen=True)
class Optimisation:
    """AdamW with decoupled weight decay on matrices only, linear warm-up, cosine to zero."""

    learning_rate: float = 2e-3  # CLIP: 5e-4 at batch 32,768
    weight_decay: float = 0.1  # CLIP: 0.2
    betas: tuple[float, float] = (0.9, 0.98)
    warmup: float = 0.05  # part of all steps. CLIP: 2,000 of about 400,000
    max_norm: float = 1.0  # of the gradient

    def at(self, step: int, steps: int) -> float:
        """Learning rate of step 0 ... steps - 1."""
        warm = max(1, round(self.warmup * steps))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return self.learning_rate * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))) / 2

    def optimiser(self, model: nn.Module, device: torch.device) -> torch.optim.AdamW:
        trainable = [p for p in model.parameters() if p.requires_grad]
        return torch.optim.AdamW(
            [{"params": [p for p in trainable if p.dim() >= 2], "weight_decay": self.weight_decay},
             {"params": [p for p in trainable if p.dim() < 2], "weight_decay": 0.0}],
            lr=self.learning_rate, betas=self.betas, fused=device.type in ("cpu", "cuda"))


def processes():
    """accelerate's PartialState: which of how many processes is this, on which device?

    On a machine without GPU accelerate must be told so, or processes that torchrun started would not join.
    """
    from accelerate import PartialState

    gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    return PartialState(cpu=not gpu or os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true")


class _Losses(nn.Module):
    """Data parallelism wraps a forward; this one is `model.losses`."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, batch: dict) -> dict[str, Tensor]:
        return self.model.losses(batch)


def fit(model: nn.Module, batches, steps: int, optimisation: Optimisation = Optimisation(), *, seed: int = 0,
        precision: torch.dtype | None = None, keep: Path | None = None, every: int = 100,
        made_of: dict | None = None) -> Iterator[Step]:
    """Trains `model` in place, yielding a `Step` after each step; at the end it is back on the device it came from.

    batches     has `since(step, part)`: see Batches
    precision   torch.float32 or torch.bfloat16 (autocast); None: that in which this model's first step takes less time here
    keep        a file: training is saved there every `every` steps and at the end; if it exists, training goes on from it.
                `made_of` (anything JSON can hold) must be what the file was made of, else ValueError.
    Raises FloatingPointError, naming the step, if the loss is no longer finite.
    """
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=processes().device.type == "cpu")
    home, device = next(model.parameters()).device, accelerator.device
    model.to(device)
    optimiser = optimisation.optimiser(model, device)
    first, made_of = 0, json.loads(json.dumps({"steps": steps, **(made_of or {})}))
    if keep and keep.exists():
        first, precision = _restore(keep, model, optimiser, made_of)
    precision = precision or _precision(model, batches, steps, accelerator)
    prepared = accelerator.prepare(_Losses(model)) if accelerator.num_processes > 1 else _Losses(model)
    parameters = [p for p in model.parameters() if p.requires_grad]
    model.train()
    start = time.perf_counter()
    upcoming = batches.since(first, (accelerator.process_index, accelerator.num_processes))
    for step, batch in zip(range(first, steps), ahead(upcoming) if device.type == "cuda" else upcoming):
        for group in optimiser.param_groups:
            group["lr"] = optimisation.at(step, steps)
        with _randomness(device, seed, step, accelerator.process_index):
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
                losses = prepared(_on(device, batch))
            shown = {name: float(accelerator.reduce(value.detach(), "mean")) for name, value in losses.items()}
            if not math.isfinite(sum(shown.values())):
                raise FloatingPointError(f"the loss is {sum(shown.values())} at step {step + 1}. Lower the learning rate "
                                         f"({optimisation.learning_rate:g}) or look at that batch: batches[{step}].")
            sum(losses.values()).backward()
        norm = nn.utils.clip_grad_norm_(parameters, optimisation.max_norm, foreach=device.type == "cuda")
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if hasattr(model, "after_step"):
            model.after_step()
        done, seconds = step + 1, time.perf_counter() - start
        if keep and accelerator.is_main_process and (done % every == 0 or done == steps):
            _keep(keep, model, optimiser, {"step": done, "precision": str(precision), "made_of": made_of})
        yield Step(done, steps, shown, optimiser.param_groups[0]["lr"], float(norm), seconds,
                   seconds / (done - first) * (steps - done))
    model.eval().to(home)


@contextmanager
def _randomness(device: torch.device, *of: int) -> Iterator[None]:
    """Random numbers that depend on nothing but `of`; the notebook's own are left alone."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int.from_bytes(hashlib.sha256(repr(of).encode()).digest()[:6], "big"))
        yield


def _on(device: torch.device, batch: dict) -> dict:
    return {name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value for name, value in batch.items()}


def _precision(model: nn.Module, batches, steps: int, accelerator) -> torch.dtype:
    """What this model trains faster in. Not measured in short runs, which don't pay for it, nor in several processes, whose
    losses wait for each other: these take what the first one's products are faster in."""
    device = accelerator.device
    if accelerator.num_processes > 1:
        vote = torch.tensor(float(accelerator.is_main_process and fast_precision(device) == torch.bfloat16), device=device)
        return torch.bfloat16 if accelerator.reduce(vote, "sum") > 0 else torch.float32
    if steps < 100 and not os.environ.get("VLMCOURSE_PRECISION"):
        return torch.float32

    @cache  # made when it is first asked for: where nothing is measured, nothing is copied
    def trial() -> tuple[nn.Module, dict]:
        return deepcopy(model).train(), _on(device, next(iter(batches.since(0))))  # losses may keep something, such as a queue

    def step() -> Tensor:
        copy, batch = trial()
        return sum(copy.losses(batch).values())

    with _randomness(device):
        return faster(step, device)


def _keep(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, notes: dict) -> None:
    state = optimiser.state_dict()["state"]
    checkpoint.save(path, {**{f"model.{name}": value for name, value in model.state_dict().items()},
                           **{f"optimiser.{index}.{name}": value for index, values in state.items()
                              for name, value in values.items()}}, notes)


def _restore(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, made_of: dict) -> tuple[int, torch.dtype]:
    tensors, notes = checkpoint.load(path)
    if differing := [name for name in {**made_of, **notes["made_of"]} if made_of.get(name) != notes["made_of"].get(name)]:
        was, now = ({name: side.get(name) for name in sorted(differing)} for side in (notes["made_of"], made_of))
        raise ValueError(f"{path} holds another run: it was made with {was}, this run asks for {now}. "
                         "Use the same settings, or another place for the new run.")
    model.load_state_dict({name.removeprefix("model."): value for name, value in tensors.items()
                           if name.startswith("model.")})
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, index, entry = name.split(".")
            state.setdefault(int(index), {})[entry] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return notes["step"], getattr(torch, notes["precision"].removeprefix("torch."))
