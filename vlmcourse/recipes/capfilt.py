"""CapFilt, end to end (BLIP, Sec. 3.3, Fig. 3), on noisy pairs about which the truth is known.

web pairs (3 in 10 mismatched) + annotators' pairs
    -> a model                                        trained on all of it
    -> captioner, filter                              that model, tuned twice, apart, on annotators' pairs
    -> synthetic captions of the web's pictures       by the captioner
    -> web and synthetic captions that fit            by the filter, at 0.5; annotators' pairs are never filtered
    -> a new model                                    from scratch on what is left
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from vlmcourse import world
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
from vlmcourse.recipes.clip import clip
from vlmcourse.training import checkpoint
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import train_or_load
from vlmcourse.world import tokenizer

FINETUNING_OPTIMISATION = Optimisation(5e-5, weight_decay=0.05, warmup=0.1)
"""A thirtieth of the first training's rate, as in the paper (3e-4 and 1e-5). With six times as much the filter takes to the
annotators' way of writing so much that it throws out most of what the web says rightly."""
WEB, PEOPLE = 100, 200  # seeds: no picture of one is in the other


@dataclass(frozen=True)
class CaptionTable:
    """A finite data set: pictures by their number in `pairs`, each with a text. The same picture may be there twice.

    prompt  of how many tokens the texts begin with, that nobody should learn to say (with <bos>)
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
    """Data sets one after the other."""

    parts: tuple[CaptionTable, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __add__(self, other: CaptionTable) -> ConcatDataset:
        return ConcatDataset((*self.parts, other))

    def _at(self, index: int) -> tuple[CaptionTable, int, str]:
        """Row `index`: whose it is, the number of its picture there, its text."""
        for part in self.parts:
            if index < len(part):
                return part, *part.rows[index]
            index -= len(part)
        raise IndexError(f"row {index + len(self)} of {len(self)}.")

    def batch(self, indices: Sequence[int]) -> dict:
        parts, numbers, texts = zip(*map(self._at, indices))
        ids, begin = tokenizer.encode(texts), torch.tensor([part.prompt for part in parts])[:, None]
        images = np.concatenate(
            [part.pairs.images([number]) for part, number in zip(parts, numbers)]
        )
        return {
            "pixel_values": world.to_pixels(images),
            "ids": ids,
            "text": list(texts),
            "loss_mask": (ids != tokenizer.PAD) & (torch.arange(ids.shape[1]) >= begin),
        }


def web_pairs(scale: Scale, count: int, seed: int = 0, share: float = 0.3) -> CaptionTable:
    """Alt-texts: `share` of them belong to another picture."""
    pairs = world.Pairs(
        "train",
        scale.image_size,
        WEB + seed,
        THINGS,
        world.captions.varied,
        world.noise.Noise(share),
    )
    return CaptionTable(pairs, tuple((index, pairs.text(index)) for index in range(count)))


def annotated_pairs(scale: Scale, count: int, seed: int = 0) -> CaptionTable:
    """What annotators wrote: 'a picture of ...', always right. The prompt is not learnt."""
    pairs = world.Pairs("train", scale.image_size, PEOPLE + seed, THINGS, world.captions.annotated)
    return CaptionTable(
        pairs,
        tuple((index, pairs.true_caption(index)) for index in range(count)),
        1 + len(PROMPT.split()),
    )


def false_captions(data: CaptionTable) -> Tensor:
    """The truth about captions: does one state anything that its picture doesn't show? (N,) booleans."""
    return torch.tensor(
        [
            not caption_facts(text)
            or not caption_facts(text) <= scene_facts(data.pairs.scene(number))
            for number, text in data.rows
        ]
    )


def synthetic_captions(
    model: BLIP,
    data: CaptionTable,
    sampler: Sampler | None = None,
    beams: int | None = None,
    seed: int = 0,
) -> CaptionTable:
    """The same pictures with synthetic captions: nucleus sampling with p = 0.9, as the paper's choice, or `sampler`, or beams."""
    sampler = sampler or nucleus(0.9, generator=torch.Generator().manual_seed(seed))
    said: list[str] = []
    for start in range(0, len(data), 256):
        pixel_values = world.to_pixels(
            data.pairs.images([number for number, _ in data.rows[start : start + 256]])
        )
        said += generate_captions(model, pixel_values, sampler, beams=beams)
    return CaptionTable(
        data.pairs,
        tuple((number, f"{PROMPT} {text}") for (number, _), text in zip(data.rows, said)),
    )


def keep_mask(model: Filter, data: CaptionTable, threshold: float = 0.5) -> Tensor:
    """Which captions the filter keeps: (N,) booleans. Filtering what was kept again changes nothing."""
    with eval_mode(model):
        parts = [
            data.batch(range(start, min(start + 256, len(data))))
            for start in range(0, len(data), 256)
        ]
        return torch.cat(
            [model.keeps(part["pixel_values"], part["ids"], threshold) for part in parts]
        )


def select_rows(data: CaptionTable, keep: Tensor) -> CaptionTable:
    """The rows where keep is True."""
    return CaptionTable(
        data.pairs, tuple(row for row, one in zip(data.rows, keep.tolist()) if one), data.prompt
    )


def filter_report(keep: Tensor, noisy: Tensor) -> dict[str, float]:
    """Precision and recall of finding noise: of what was thrown out, how much is noise; of the noise, how much went out."""
    out = ~keep
    caught = (out & noisy).sum().item()
    return {
        "thrown out": out.float().mean().item(),
        "precision": caught / max(1, out.sum().item()),
        "recall": caught / max(1, noisy.sum().item()),
        "noise before": noisy.float().mean().item(),
        "noise after": noisy[keep].float().mean().item() if keep.any() else 0.0,
    }


@dataclass(frozen=True)
class CapFilt:
    """All that one run made. `rows`: the data sets of the C/F table; `report` says how the filter did."""

    base: BLIP
    captioner: Captioner
    filter: Filter
    web: CaptionTable
    synthetic: CaptionTable
    rows: dict[str, CaptionTable | ConcatDataset]
    report: dict[str, dict[str, float]]


def rows_checksum(data: CaptionTable | ConcatDataset) -> int:
    """Of all rows: a stage depends on each caption."""
    parts = data.parts if isinstance(data, ConcatDataset) else (data,)
    rows = [
        (one.pairs.size, one.pairs.seed, one.pairs.things, one.rows, one.prompt) for one in parts
    ]
    return crc32(repr(rows).encode())


def train_stage(
    name: str,
    model: nn.Module,
    data: CaptionTable | ConcatDataset,
    scale: Scale,
    steps: int,
    seed: int,
    optimisation: Optimisation = BLIP_OPTIMISATION,
    on_step: Callable[[Step], None] | None = None,
) -> nn.Module:
    """A stage of its own: `model`, from the weights it has, on a finite data set."""
    what = {
        "data": str(rows_checksum(data)),
        "scale": str(scale),
        "start": checkpoint.checksum(model.state_dict()),
        "model": type(model).__name__,
    }
    batches = Batches(data.batch, scale.blip_batch, len(data), seed)
    return train_or_load(
        name, model, batches, steps, optimisation, fingerprint=what, seed=seed, on_step=on_step
    ).model


def new_start(scale: Scale, seed: int) -> BLIP:
    """BLIP whose text begins from nothing and whose image tower as the CLIP stage's, as the paper's begins with ImageNet's."""
    return new_blip(blip_config(scale), clip(scale).model.vision, seed)


def pretraining_steps(scale: Scale) -> int:
    """Of each training from scratch: 2 in 5 of BLIP's own, for there are several, and a web that small is soon read."""
    return max(2, 2 * scale.blip_steps // 5)


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
    on_step: Callable[[Step], None] | None = None,
) -> CapFilt:
    """Everything up to the cleaned data sets; `again` trains on one of them.

    share      of web pairs that are mismatched
    pick, beams  how captions are written; default: nucleus sampling
    images     on the web; a sixth as many have annotators' captions
    steps      of the first training, default `steps_of(scale)`; tuning takes a third as many
    """
    size = Scale.of(scale)
    images, steps = images or 60 * size.blip_batch, steps or pretraining_steps(size)
    noisy, clean = web_pairs(size, images, seed, share), annotated_pairs(size, images // 6, seed)
    base = train_stage(
        "capfilt", new_start(size, seed), noisy + clean, size, steps, seed, on_step=on_step
    )
    captioner, filter = (
        train_stage(
            name,
            kind(base),
            clean,
            size,
            max(1, steps // 3),
            seed,
            FINETUNING_OPTIMISATION,
            on_step,
        )
        for name, kind in (("captioner", Captioner), ("filter", Filter))
    )
    synthetic = synthetic_captions(captioner.blip, noisy, sampler, beams, seed)
    keep = {
        name: keep_mask(filter, data, threshold)
        for name, data in (("web", noisy), ("synthetic", synthetic))
    }
    planted = torch.tensor(
        [noisy.pairs.noise.is_noisy(number, noisy.pairs.seed) for number, _ in noisy.rows]
    )
    rows = {
        "noisy": noisy + clean,
        "F": select_rows(noisy, keep["web"]) + clean,
        "C": noisy + clean + synthetic,
        "C and F": select_rows(noisy, keep["web"])
        + clean
        + select_rows(synthetic, keep["synthetic"]),
    }
    report = {
        "web": filter_report(keep["web"], planted),
        "synthetic": filter_report(keep["synthetic"], false_captions(synthetic)),
    }
    return CapFilt(base, captioner, filter, noisy, synthetic, rows, report)


def train_on(
    data: CaptionTable | ConcatDataset,
    scale: Scale | str | None = None,
    seed: int = 0,
    steps: int | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> tuple[BLIP, dict[str, float]]:
    """A new model on a data set, as the first one began (continuing does not help, says Table 13), and what it is worth."""
    size = Scale.of(scale)
    model = train_stage(
        "capfilt",
        new_start(size, seed),
        data,
        size,
        steps or pretraining_steps(size),
        seed,
        on_step=on_step,
    )
    return model, blip_scores(model)


def blip_scores(model: BLIP, count: int = 256) -> dict[str, float]:
    """Retrieval and captions on held-out scenes."""
    pairs = world.Pairs("test", model.config.image_size, things=THINGS)
    return retrieval_report(model, pairs, count) | caption_report(model, count)
