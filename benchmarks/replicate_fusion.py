"""How should words and regions be fused? ViLBERT's and VL-BERT's choices at reduced scale: three seeds, spread, controls.

    python -m benchmarks.replicate_fusion [--scale smoke|laptop|gpu]     about 40 minutes of one core at laptop scale

Writes benchmarks/results/replicate_fusion.json at the end; --workers 2 trains two rows at a time, each on one core. Trained stages are
cached: a run that was stopped goes on.

    two streams         ViLBERT as in lesson 04: co-attention, regions, false captions of both kinds
    never meet          the same weights and losses, but where streams would meet each looks at itself
    one stream          the paper's own baseline: one BERT as deep as the text stream, over regions and words in one row
    easy negatives      two streams that were only ever shown other pictures' captions as false ones, as in the paper
    grid                two streams over 16 equal squares instead of the things' boxes
    VL-BERT             with pictures from the first step, for as many steps as ViLBERT
    VL-BERT from 0, 1   half of the steps on captions alone, the other half with pictures; its visual LayerNorms start at 0, or at 1
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import product

import torch
import typer
from torch import Tensor, nn

from vlmcourse import recipes
from vlmcourse.evaluation import load_results, masked, save_results, spread
from vlmcourse.papers.vilbert import TwoStreams, ViLBERT
from vlmcourse.parts.layers import PostNormBlock
from vlmcourse.parts.masks import padding_mask
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world.noise import mismatched
from vlmcourse.world.regions import RegionDataset, grid_boxes, hard_or_mismatched, thing_boxes

app = typer.Typer(add_completion=False)
ROWS = (
    "two streams",
    "never meet",
    "one stream",
    "easy negatives",
    "grid",
    "VL-BERT",
    "VL-BERT from 0",
    "VL-BERT from 1",
)


class NeverMeet(TwoStreams):
    """The weights that would look across look at their own stream. (The streams must be equally wide.)"""

    def forward(
        self,
        image: Tensor,
        text: Tensor,
        is_region: Tensor,
        is_word: Tensor,
        co_attention_mask=None,
    ) -> tuple[Tensor, Tensor]:
        regions, words = padding_mask(is_region, 1).to_bool(), padding_mask(is_word, 1).to_bool()
        for block in self.text_only:
            text = block(text, words)
        for across, image_block, text_block in zip(self.co_attention, self.image, self.text):
            image, text = across.image(image, image, regions), across.text(text, text, words)
            image, text = image_block(image, regions), text_block(text, words)
        return image, text


class OneStream(nn.Module):
    """Regions and words in one row, through the same blocks (Lu et al. 2019, Sec. 4.1)."""

    def __init__(self, config):
        super().__init__()
        depth = (
            config.num_text_only_layers + 2 * config.num_co_attention_layers
        )  # as many as a word passes in two streams
        self.blocks = nn.ModuleList(
            PostNormBlock(config.text_width, config.text_heads, config.text_hidden, eps=config.eps)
            for _ in range(depth)
        )

    def forward(
        self,
        image: Tensor,
        text: Tensor,
        is_region: Tensor,
        is_word: Tensor,
        co_attention_mask=None,
    ) -> tuple[Tensor, Tensor]:
        x, mask = (
            torch.cat([image, text], dim=1),
            padding_mask(torch.cat([is_region, is_word], dim=1), 1).to_bool(),
        )
        for block in self.blocks:
            x = block(x, mask)
        return x[:, : image.shape[1]], x[:, image.shape[1] :]


ENCODERS = {"never meet": NeverMeet, "one stream": OneStream}


@dataclass(frozen=True)
class Captions(RegionDataset):
    """The same captions without their pictures."""

    def batch(self, indices: Sequence[int]) -> dict:
        return masked.without_image(super().batch(indices))


CACHE: dict[tuple, dict] = {}


@dataclass(frozen=True)
class CachedBatches(RegionDataset):
    """Batches without pixels, made once and used by all rows of a seed."""

    def batch(self, indices: Sequence[int]) -> dict:
        key = (self.pairs.noise.kind, self.pairs.seed, self.region_boxes, tuple(indices))
        if key not in CACHE:
            batch = super().batch(indices).items()
            CACHE[key] = {
                name: value for name, value in batch if name not in ("pixel_values", "text")
            }
        return CACHE[key]


def cached(data: RegionDataset) -> CachedBatches:
    return CachedBatches(data.pairs, data.region_boxes, data.region_classifier)


def trained(name: str, size: Scale, seed: int, steps: int):
    """The model of a row, trained, and its history."""
    if name == "VL-BERT":
        return recipes.get("vlbert").train_or_load(size, seed, steps=steps)
    if name.startswith("VL-BERT"):
        data, half = recipes.vilbert.region_pairs(size, seed), max(1, steps // 2)
        config, vlbert = (
            recipes.vilbert.vlbert_config(size, visual_scale=float(name[-1])),
            recipes.get("vlbert"),
        )
        start = recipes.vilbert.new_vlbert(
            replace(config, visual_scale=0.0), seed, data.region_classifier
        )
        captions = Captions(data.pairs, data.region_boxes, data.region_classifier)
        reader = vlbert.train_or_load(size, seed, data=captions, model=start, steps=half).model
        model = recipes.vilbert.new_vlbert(config, seed, data.region_classifier)
        new = {
            key: value
            for key, value in model.state_dict().items()
            if "visual" in key or "appearance" in key
        }
        model.load_state_dict(reader.state_dict() | new)
        return vlbert.train_or_load(size, seed, data=data, model=model, steps=half)
    false = mismatched if name == "easy negatives" else hard_or_mismatched
    data = recipes.vilbert.region_pairs(
        size, seed, false=false, region_boxes=grid_boxes if name == "grid" else thing_boxes
    )
    if name not in ENCODERS:
        return recipes.get("vilbert").train_or_load(size, seed, data=cached(data), steps=steps)
    config = recipes.vilbert.vilbert_config(size)
    with seeded(seed):
        model = ViLBERT(config, ENCODERS[name](config))
    return recipes.get("vilbert").train_or_load(
        size, seed, data=cached(data), model=model, steps=steps
    )


def row(name: str, size: Scale, seed: int, count: int, steps: int) -> dict[str, float]:
    """Everything that is measured of one row with one seed."""
    made = trained(name, size, seed, steps)
    model = made.model
    data = recipes.vilbert.region_pairs(
        size, split="test", region_boxes=grid_boxes if name == "grid" else thing_boxes
    )
    report = recipes.vilbert.masked_report(model, data, count)
    if isinstance(model, ViLBERT):
        report |= recipes.vilbert.alignment_report(
            model, data, count
        ) | recipes.vilbert.retrieval_report(model, data, min(48, count))
    first = made.history[: max(1, len(made.history) // 20)]
    return report | {
        "parameters": sum(p.numel() for p in model.parameters()),
        "words, first step": made.history[0].losses["mlm"],
        "words, first twentieth": sum(step.losses["mlm"] for step in first) / len(first),
    }


def together(rows: list[dict[str, float]]) -> dict[str, dict]:
    """Spread over seeds of each measurement."""
    return {name: asdict(spread([one[name] for one in rows])) for name in rows[0]}


def one(name: str, size: Scale, seed: int, count: int, steps: int) -> dict[str, float]:
    """A row in a worker of its own, on one core."""
    torch.set_num_threads(1)
    if any(key[1] != seed for key in CACHE):
        CACHE.clear()
    found = row(name, size, seed, count, steps)
    print(seed, name, {key: round(value, 3) for key, value in found.items()}, flush=True)
    return found


@app.command(help=__doc__)
def main(
    scale: str = "laptop",
    seeds: int = 0,
    steps: int = 0,
    only: list[str] = typer.Option(list(ROWS)),
    workers: int = 1,
) -> None:
    """seeds, steps: fewer of them than the scale has; 0: as many. only: which rows (the others stay as they were kept)."""
    size = Scale.of(scale)
    sizes = recipes.get("vilbert").sizes[size.name]
    size, steps = replace(size, seeds=seeds or size.seeds), steps or sizes.steps
    name, count = ("replicate_fusion", 128) if scale != "smoke" else ("replicate_fusion_smoke", 16)
    kept = {}
    if set(only) != set(ROWS):
        with suppress(FileNotFoundError):  # nothing was kept yet
            kept = load_results(name)["rows"][0]
    for region_boxes in (thing_boxes, grid_boxes):  # once, before the workers ask for them
        recipes.get("region_classifier").train_or_load(size, region_boxes=region_boxes)
    with ProcessPoolExecutor(workers) as pool:
        jobs = {row_name: [] for row_name in only}
        for seed, row_name in product(range(size.seeds), only):
            jobs[row_name].append(pool.submit(one, row_name, size, seed, count, steps))
        found = {
            row_name: together([job.result() for job in running])
            for row_name, running in jobs.items()
        }
    path = save_results(
        name,
        [kept | found],
        scale=scale,
        seeds=list(range(size.seeds)),
        steps=steps,
        width=sizes.width,
    )
    print(f"Kept {path}")


if __name__ == "__main__":
    app()
