"""CapFilt, end to end (BLIP, Sec. 3.3, Fig. 3), on noisy pairs whose noise is known.

web pairs (3 in 10 mismatched) + annotated pairs
    -> a model                                        trained on all of it
    -> captioner, filter                              that model, finetuned twice, separately, on annotated pairs
    -> synthetic captions of the web's pictures       by the captioner
    -> web and synthetic captions that match          by the filter, at 0.5; annotated pairs are never filtered
    -> a new model                                    from scratch on what remains
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vlmcourse import recipes, world
from vlmcourse.evaluation import caption_facts, eval_mode, scene_facts
from vlmcourse.papers.blip import BLIP
from vlmcourse.papers.blip_tasks import Captioner, Filter
from vlmcourse.parts.generation import Sampler, nucleus
from vlmcourse.recipes.blip import (
    BLIP_OPTIMISATION,
    PROMPT,
    THINGS,
    blip_config,
    caption_report,
    generate_captions,
    new_blip,
    retrieval_report,
)
from vlmcourse.recipes.recipe import describe
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import train_or_load
from vlmcourse.world import tokenizer

FINETUNING_OPTIMISATION = Optimisation(5e-5, weight_decay=0.05, warmup=0.1)
"""A thirtieth of the first training's rate, as in the paper (3e-4 and 1e-5). At six times as much the filter learns the
annotators' style so well that it rejects most of the web's true captions."""
WEB, ANNOTATED = 100, 200  # seeds: no picture of one is in the other


@dataclass(frozen=True)
class CaptionTable:
    """A finite data set: (number of a picture in `pairs`, its caption). A picture may have several rows.

    prompt  number of tokens (with <bos>) at the start of the captions that are not learnt
    """

    pairs: world.Pairs
    rows: tuple[tuple[int, str], ...]
    prompt: int = 1

    def __len__(self) -> int:
        return len(self.rows)

    def __add__(self, other: CaptionTable) -> ConcatDataset:
        return ConcatDataset((self, other))

    def batch(self, indices: Sequence[int]) -> dict:
        return ConcatDataset((self,)).batch(indices)


@dataclass(frozen=True)
class ConcatDataset:
    """Tables one after the other."""

    parts: tuple[CaptionTable, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __add__(self, other: CaptionTable) -> ConcatDataset:
        return ConcatDataset((*self.parts, other))

    def _row(self, index: int) -> tuple[CaptionTable, int, str]:
        """Row `index`: its table, the number of its picture there, its caption."""
        for part in self.parts:
            if index < len(part):
                return part, *part.rows[index]
            index -= len(part)
        raise IndexError(f"row {index + len(self)} of {len(self)}.")

    def batch(self, indices: Sequence[int]) -> dict:
        """`pixel_values` (B, 3, S, S), `ids` (B, T), `text`, `loss_mask` (B, T): no prompt, no padding."""
        parts, numbers, texts = zip(*map(self._row, indices))
        ids, begin = tokenizer.encode(texts), torch.tensor([part.prompt for part in parts])[:, None]
        images = [part.pairs.images([number]) for part, number in zip(parts, numbers)]
        return {
            "pixel_values": world.to_pixels(np.concatenate(images)),
            "ids": ids,
            "text": list(texts),
            "loss_mask": (ids != tokenizer.PAD) & (torch.arange(ids.shape[1]) >= begin),
        }


def web_pairs(scale: Scale, count: int, seed: int = 0, share: float = 0.3) -> CaptionTable:
    """Alternative texts of the web: `share` of them belong to another picture."""
    noise, caption = world.noise.Noise(share), world.captions.varied
    pairs = world.Pairs("train", scale.image_size, WEB + seed, THINGS, caption, noise)
    return CaptionTable(pairs, tuple((index, pairs.text(index)) for index in range(count)))


def annotated_pairs(scale: Scale, count: int, seed: int = 0) -> CaptionTable:
    """What annotators wrote: 'a picture of ...', always right. The prompt is not learnt."""
    caption = world.captions.annotated
    pairs = world.Pairs("train", scale.image_size, ANNOTATED + seed, THINGS, caption)
    rows = tuple((index, pairs.true_caption(index)) for index in range(count))
    return CaptionTable(pairs, rows, 1 + len(PROMPT.split()))


def false_captions(data: CaptionTable) -> Tensor:
    """(N,) booleans: does a caption state anything that its picture doesn't show?"""

    def is_false(number: int, text: str) -> bool:
        facts = caption_facts(text)
        return not facts or not facts <= scene_facts(data.pairs.scene(number))

    return torch.tensor([is_false(*row) for row in data.rows])


def synthetic_captions(
    model: BLIP,
    data: CaptionTable,
    sampler: Sampler | None = None,
    beams: int | None = None,
    seed: int = 0,
) -> CaptionTable:
    """The same pictures with the model's captions: by nucleus sampling with p = 0.9, as in the paper, or `sampler`, or beams."""
    sampler = sampler or nucleus(0.9, generator=torch.Generator().manual_seed(seed))
    numbers = [number for number, _ in data.rows]
    captions: list[str] = []
    for start in range(0, len(data), 256):
        pixel_values = world.to_pixels(data.pairs.images(numbers[start : start + 256]))
        captions += generate_captions(model, pixel_values, sampler, beams=beams)
    rows = tuple((number, f"{PROMPT} {text}") for number, text in zip(numbers, captions))
    return CaptionTable(data.pairs, rows)


def keep_mask(model: Filter, data: CaptionTable, threshold: float = 0.5) -> Tensor:
    """(N,) booleans: which captions the filter keeps. Filtering twice is filtering once."""
    kept = []
    with eval_mode(model):
        for start in range(0, len(data), 256):
            batch = data.batch(range(start, min(start + 256, len(data))))
            kept.append(model.keeps(batch["pixel_values"], batch["ids"], threshold))
    return torch.cat(kept)


def select_rows(data: CaptionTable, keep: Tensor) -> CaptionTable:
    """The rows where keep is True."""
    rows = tuple(row for row, kept in zip(data.rows, keep.tolist()) if kept)
    return CaptionTable(data.pairs, rows, data.prompt)


def filter_report(keep: Tensor, noisy: Tensor) -> dict[str, float]:
    """Precision (share of noise among what was removed) and recall (share of the noise that was removed)."""
    removed = ~keep
    found = (removed & noisy).sum().item()
    return {
        "thrown out": removed.float().mean().item(),
        "precision": found / max(1, removed.sum().item()),
        "recall": found / max(1, noisy.sum().item()),
        "noise before": noisy.float().mean().item(),
        "noise after": noisy[keep].float().mean().item() if keep.any() else 0.0,
    }


@dataclass(frozen=True)
class CapFilt:
    """All that one run made. `rows`: the data sets of the paper's C/F table; `report`: how well the filter did."""

    base: BLIP
    captioner: Captioner
    filter: Filter
    web: CaptionTable
    synthetic: CaptionTable
    rows: dict[str, CaptionTable | ConcatDataset]
    report: dict[str, dict[str, float]]


def train_stage(
    name: str,
    model: nn.Module,
    data: CaptionTable | ConcatDataset,
    scale: Scale,
    steps: int,
    seed: int,
    optimisation: Optimisation = BLIP_OPTIMISATION,
    on_step: Callable[[Step], None] | None = None,
    batch: int | None = None,
) -> nn.Module:
    """`model`, from the weights it has, trained on a finite data set, or loaded. batch: default, BLIP's at this scale"""
    batch = batch or recipes.get("blip").sizes[scale.name].batch
    return train_or_load(
        name,
        model,
        Batches(data.batch, batch, len(data), seed),
        steps,
        optimisation,
        fingerprint={"start": describe(model), "data": describe(data), "batch": batch},
        seed=seed,
        on_step=on_step,
    ).model


def new_start(scale: Scale, seed: int) -> BLIP:
    """BLIP with an untrained text side and CLIP's trained image tower, as the paper's begins with ImageNet's."""
    vision = recipes.get("clip").train_or_load(scale).model.vision
    return new_blip(blip_config(scale), vision, seed)


def pretraining_steps(scale: Scale) -> int:
    """Of each training from scratch: 2 in 5 of BLIP's own, because the web here is small."""
    return max(2, 2 * recipes.get("blip").sizes[scale.name].steps // 5)


def capfilt(
    scale: Scale | str | None = None,
    seed: int = 0,
    *,
    share: float = 0.3,
    sampler: Sampler | None = None,
    beams: int | None = None,
    threshold: float = 0.5,
    images: int | None = None,
    steps: int | None = None,
    batch: int | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> CapFilt:
    """Everything up to the cleaned data sets; `train_on` trains on one of them.

    share    of web pairs that are mismatched
    sampler, beams  how captions are written; default: nucleus sampling
    images   on the web; a sixth as many have annotated captions
    steps    of the first training, default `pretraining_steps(scale)`; finetuning takes a third as many
    """
    scale = Scale.of(scale)
    batch = batch or recipes.get("blip").sizes[scale.name].batch
    images, steps = images or 60 * batch, steps or pretraining_steps(scale)
    noisy, clean = web_pairs(scale, images, seed, share), annotated_pairs(scale, images // 6, seed)
    start, both = new_start(scale, seed), noisy + clean
    base = train_stage("capfilt", start, both, scale, steps, seed, on_step=on_step, batch=batch)
    few, finetuning = max(1, steps // 3), FINETUNING_OPTIMISATION
    captioner, filter = (
        train_stage(name, kind(base), clean, scale, few, seed, finetuning, on_step, batch)
        for name, kind in (("captioner", Captioner), ("filter", Filter))
    )
    synthetic = synthetic_captions(captioner.blip, noisy, sampler, beams, seed)
    keep_web, keep_synthetic = (keep_mask(filter, data, threshold) for data in (noisy, synthetic))
    noise, own = noisy.pairs.noise, noisy.pairs.seed
    mismatched = torch.tensor([noise.is_noisy(number, own) for number, _ in noisy.rows])
    good_web, good_synthetic = select_rows(noisy, keep_web), select_rows(synthetic, keep_synthetic)
    rows = {
        "noisy": noisy + clean,
        "F": good_web + clean,
        "C": noisy + clean + synthetic,
        "C and F": good_web + clean + good_synthetic,
    }
    report = {
        "web": filter_report(keep_web, mismatched),
        "synthetic": filter_report(keep_synthetic, false_captions(synthetic)),
    }
    return CapFilt(base, captioner, filter, noisy, synthetic, rows, report)


def train_on(
    data: CaptionTable | ConcatDataset,
    scale: Scale | str | None = None,
    seed: int = 0,
    steps: int | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> tuple[BLIP, dict[str, float]]:
    """A new model on a data set, from the first one's start (Table 13: continuing does not help), and its scores."""
    scale = Scale.of(scale)
    steps = steps or pretraining_steps(scale)
    model = train_stage(
        "capfilt", new_start(scale, seed), data, scale, steps, seed, on_step=on_step
    )
    return model, blip_scores(model)


def blip_scores(model: BLIP, count: int = 256) -> dict[str, float]:
    """Retrieval and captions on held-out scenes."""
    pairs = world.Pairs("test", model.config.image_size, things=THINGS)
    return retrieval_report(model, pairs, count) | caption_report(model, count)
