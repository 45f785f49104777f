"""Flamingo's ablation table (its Table 3) at reduced scale, row by row. Writes benchmarks/results/replicate_flamingo.json.

    python -m benchmarks.replicate_flamingo [--scale smoke|laptop|gpu] [--seeds 1] [--only "w/o pages"] [--fresh]

Every row changes one thing of the first row, in a world of 24 nouns. All take the same number of steps with the same
pages in each step; rows that are measured already are kept. At laptop scale one core takes about two minutes a row. Our
language model has three layers, so 'every 2nd' and 'single in the middle' are the same model, before the second layer; and
'every 4th' is every 3rd here. Two rows are ours: which of the three blocks does it?
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
import typer
from torch import Tensor, nn

from vlmcourse import recipes, world
from vlmcourse.evaluation import load_matching_results, save_results
from vlmcourse.papers.flamingo import Flamingo, FlamingoConfig, GatedXattnDense, PerceiverResampler
from vlmcourse.parts.language import decoder_layers, freeze, insert_cross_attention
from vlmcourse.parts.layers import Transformer
from vlmcourse.parts.masks import causal
from vlmcourse.recipes.flamingo import (
    DATASET_WEIGHTS,
    FLAMINGO_OPTIMISATION,
    RESIDUAL_SCALE,
    FeatureCache,
    FrozenTower,
    caption_accuracy,
    episode_accuracy,
    flamingo_config,
    page_datasets,
    residual_rms,
)
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.mixture import JointDatasets, RoundRobinDatasets, WeightedLosses
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import captions, few_shot
from vlmcourse.world.interleaved import PageDataset, WebPages

app = typer.Typer(add_completion=False)
STEPS = {"smoke": 4, "laptop": 600, "gpu": 5000}
POOL = {"smoke": 32, "laptop": 4096, "gpu": 32_768}
"""Different scenes there are."""
WORDS = world.known_nouns()[::4][:24]
"""A smaller world. Nouns are listed by category: of the first 24, who says "animal" to every picture knows nine in ten."""
TEST = WebPages("test", noun_subset=WORDS)
TASKS = {"knowledge questions": ("category", "place"), "seeing questions": ("what", "colour")}
"""What the picture does not show, and what it does."""


# What other rows have in the place of Flamingo's parts.


class Ungated(GatedXattnDense):
    """Tanh gating: no. The same block with its gates taken out."""

    def __init__(self, width: int, config: FlamingoConfig):
        super().__init__(width, config)
        self.gate, self.gate_feedforward = nn.Identity(), nn.Identity()


class Vanilla(GatedXattnDense):
    """VANILLA XATTN: cross-attention as in the first Transformer's decoder; no gate, no feed-forward of its own."""

    def __init__(self, width: int, config: FlamingoConfig):
        super().__init__(width, config)
        del self.gate, self.gate_feedforward, self.feedforward, self.norm_feedforward

    def forward(self, y: Tensor, latents: Tensor, sees: Tensor) -> Tensor:
        return y + self.attention(self.norm(y), latents, sees) if latents.shape[1] else y


class Grafted(Flamingo):
    """GRAFTING: the frozen model runs as it is, and new layers, self-attention and cross-attention in turns, read its output."""

    def __init__(self, config: FlamingoConfig, vision: nn.Module, lm: nn.Module, **parts):
        super().__init__(config, vision, lm, **parts)
        for handle in self.handles:
            handle.remove()
        width = lm.get_input_embeddings().weight.shape[1]
        self.graft = Transformer(len(self.blocks), width, config.heads)
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        ids: Tensor,
        cache=None,
        media: Tensor | None = None,
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        media = torch.empty(0, 1, self.config.vision_width) if media is None else media
        self.validate(ids, len(media))
        padding_mask = (
            torch.ones_like(ids, dtype=torch.bool) if padding_mask is None else padding_mask
        )
        padding_mask = torch.cat(
            [padding_mask, padding_mask.new_ones(len(ids), ids.shape[1] - padding_mask.shape[1])],
            dim=1,
        )
        positions = (padding_mask.long().cumsum(1) - 1).clamp(min=0)
        x = self.lm.model(
            inputs_embeds=self.embed(ids),
            attention_mask=padding_mask.long(),
            position_ids=positions,
        ).last_hidden_state
        mask = causal(ids.shape[1]).to_bool() & padding_mask[:, None, None, :]
        for block, layer in zip(self.blocks.values(), self.graft.blocks):
            x = layer(block(x, *self.media_mask(ids, media)), mask)
        return self.lm.lm_head(self.norm(x))


class Early(Flamingo):
    """Ours: a block before the first layer alone, where a picture says what words would say in its place."""

    def __init__(self, config: FlamingoConfig, vision: nn.Module, lm: nn.Module, **parts):
        super().__init__(config, vision, lm, **parts)
        for handle in self.handles:
            handle.remove()
        self.blocks = nn.ModuleDict({"0": self.blocks["0"]})
        self.handles = insert_cross_attention(lm, {0: self.blocks["0"]})


class EarlyAndOpen(Early):
    """Ours: the same with its two gates at tanh(1) = 0.76 from the first step on."""

    def __init__(self, config: FlamingoConfig, vision: nn.Module, lm: nn.Module, **parts):
        super().__init__(config, vision, lm, **parts)
        for gate in (self.blocks["0"].gate, self.blocks["0"].gate_feedforward):
            nn.init.constant_(gate.alpha, 1 / gate.gate_lr_scale)


class MLPResampler(nn.Module):
    """Resampler: MLP. A picture's features, averaged over its frames, through one hidden layer, become R latents."""

    def __init__(self, config: FlamingoConfig):
        super().__init__()
        self.time_embeddings = nn.Parameter(0.1 * torch.randn(config.frames, config.vision_width))
        self.layers = nn.Sequential(
            nn.LazyLinear(4 * config.vision_width),
            nn.GELU(),
            nn.Linear(4 * config.vision_width, config.latents * config.vision_width),
        )
        self.norm = nn.LayerNorm(config.vision_width)

    def forward(self, features: Tensor) -> Tensor:
        M, T, P, D = features.shape
        flat = (
            (features + self.time_embeddings[:T, None]).mean(1).flatten(1)
        )  # the order of frames is lost with the mean
        return self.norm(self.layers(flat).reshape(M, -1, D))


class TransformerResampler(nn.Module):
    """Resampler: Transformer. Self-attention over latents and all features; the latents are kept."""

    def __init__(self, config: FlamingoConfig):
        super().__init__()
        self.start = PerceiverResampler(config)
        self.layers = Transformer(
            config.resampler_depth, config.vision_width, config.resampler_heads
        )
        self.norm, self.latents = nn.LayerNorm(config.vision_width), config.latents
        del self.start.layers, self.start.norm

    def forward(self, features: Tensor) -> Tensor:
        features = (features + self.start.frame_embeddings(features.shape[1])[:, None]).flatten(
            1, 2
        )
        x = torch.cat([self.start.latents.expand(len(features), -1, -1), features], dim=1)
        return self.norm(self.layers(x)[:, : self.latents])


class Remembered(nn.Module):
    """A frozen tower that computes no picture twice, in training or test."""

    def __init__(self, tower: nn.Module):
        super().__init__()
        self.tower, self.known = tower, {}

    @torch.no_grad()
    def forward(self, pixel_values: Tensor) -> Tensor:
        keys = [hash(one.numpy().tobytes()) for one in pixel_values]
        new = {key: number for number, key in enumerate(keys) if key not in self.known}
        for part in torch.tensor(list(new.values()), dtype=torch.long).split(256):
            self.known.update(
                zip([keys[number] for number in part.tolist()], self.tower(pixel_values[part]))
            )
        return torch.stack([self.known[key] for key in keys])


def noisy(web: WebPages) -> Callable[[int], tuple]:
    """Pairs -> LAION: short captions of which four in ten belong to another picture."""

    def page(index: int) -> tuple:
        draws = web.rng("noisy", index)
        said = web.several_things(index + 1) if draws.random() < 0.4 else web.several_things(index)
        return web.several_things(index), f"{captions.short(said, draws)} ."

    return page


@dataclass(frozen=True)
class Row:
    """One change. score: what the paper has for it (overall, Table 3; the first row has 70.7), None for rows of ours."""

    group: str
    name: str
    score: float | None
    without: tuple[str, ...] = ()
    noise: bool = False
    turns: bool = False
    changes: Mapping = field(default_factory=dict)
    parts: Mapping = field(default_factory=dict)
    model: type[Flamingo] = Flamingo
    tower: str = "CLIP"
    lm: str = "frozen"


ROWS = (
    Row("", "Flamingo", 70.7),
    Row("data", "w/o films", 67.3, without=("videos",)),
    Row("data", "w/o image-text pairs", 60.9, without=("pairs", "described")),
    Row("data", "pairs -> noisy pairs", 66.4, noise=True),
    Row("data", "w/o pages", 53.4, without=("pages",)),
    Row("optimisation", "round robin", 62.9, turns=True),
    Row("gating", "no tanh gates", 66.5, parts={"block": Ungated}),
    Row("cross-attention", "vanilla", 66.9, parts={"block": Vanilla}),
    Row("cross-attention", "grafting", 63.1, model=Grafted),
    Row(
        "frequency", "single in the middle (every 2nd)", 59.8, changes={"cross_attention_every": 2}
    ),
    Row("frequency", "every 3rd (paper: every 4th)", 68.8, changes={"cross_attention_every": 3}),
    Row("frequency", "first layer only", None, model=Early),
    Row("frequency", "first layer only, gates open", None, model=EarlyAndOpen),
    Row("resampler", "MLP", 66.6, parts={"resampler": MLPResampler}),
    Row("resampler", "Transformer", 66.7, parts={"resampler": TransformerResampler}),
    Row("encoder", "fewer layers of CLIP (paper: CLIP ViT-L/14)", 64.9, tower="first block"),
    Row("encoder", "untrained (paper: NFNet-F0)", 62.7, tower="untrained"),
    Row("language model", "finetuned", 62.7, lm="finetuned"),
    Row("language model", "from scratch", 57.8, lm="scratch"),
)


def towers(size: Scale) -> dict[str, nn.Module]:
    clip = recipes.get("clip").train_or_load(size).model
    early = FrozenTower(clip.vision)
    early.vit.transformer.blocks = early.vit.transformer.blocks[:1]
    untrained = FrozenTower(recipes.clip.new_clip(recipes.clip.clip_config(size)).vision)
    return {
        name: Remembered(freeze(tower))
        for name, tower in (
            ("CLIP", FrozenTower(clip.vision)),
            ("first block", early),
            ("untrained", untrained),
        )
    }


def asked(model: Flamingo, kinds: tuple[str, ...], examples: int, size: int, count: int) -> float:
    """Share of right answers to questions of these kinds, after so many solved ones."""
    return float(
        np.mean(
            [
                episode_accuracy(
                    model,
                    [
                        few_shot.question_episode(TEST, index, kind, examples)
                        for index in range(count)
                    ],
                    size,
                )
                for kind in kinds
            ]
        )
    )


def measured(model: Flamingo, size: int, count: int) -> dict[str, float]:
    """As the paper's five columns: captions, questions that need knowledge or not (after four examples), films, new names."""
    found = {
        "captions, noun": caption_accuracy(model, size, count, web=TEST)["noun"],
        **{task: asked(model, kinds, 4, size, count) for task, kinds in TASKS.items()},
        "films, which way": episode_accuracy(
            model, [one for _, one in few_shot.motion_episodes(TEST, count)], size
        ),
        "a new name, 8 shots": episode_accuracy(
            model,
            [
                few_shot.binding_episode("test", index, 8, noun_subset=WORDS)
                for index in range(count)
            ],
            size,
        ),
    }
    return found | {"overall": float(np.mean(list(found.values())))}


def run(row: Row, size: Scale, tower: nn.Module, seed: int, count: int) -> dict:
    """Trains and measures one row."""
    steps, web = STEPS[size.name], WebPages(seed=seed, pool=POOL[size.name], noun_subset=WORDS)
    see = FeatureCache(tower, size.image_size)
    data = {
        name: source
        for name, source in page_datasets(size, see, web, share=2).items()
        if name not in row.without
    }
    if row.noise:
        data["pairs"] = (PageDataset(noisy(web), see), data["pairs"][1])
    lm = (
        recipes.get("language").train_or_load(size).model.lm
        if row.lm != "scratch"
        else recipes.language.new_language(size, seed).lm
    )
    lm = freeze(deepcopy(lm)) if row.lm == "frozen" else deepcopy(lm).requires_grad_(True)
    residual_scale = tuple(RESIDUAL_SCALE * one for one in residual_rms(lm))[
        row.changes.get("cross_attention_every", 1) - 1 :: row.changes.get(
            "cross_attention_every", 1
        )
    ]
    with seeded(seed):
        model = row.model(
            flamingo_config(size, residual_scale=residual_scale, **row.changes),
            tower,
            lm,
            **row.parts,
        )
        model.resampler(
            see([(web.single_thing(0),)])["features"]
        )  # sizes that are known at the first use
    mixed = WeightedLosses(model, DATASET_WEIGHTS, steps)
    mixture = RoundRobinDatasets(data, 1) if row.turns else JointDatasets(data)
    taken, losses, before = [], [], time.perf_counter()
    for step in fit(
        mixed,
        Batches(mixture.batch, 1),
        steps,
        FLAMINGO_OPTIMISATION,
        seed=seed,
        precision=torch.float32,
    ):
        taken.append(time.perf_counter() - before)
        losses.append(step.losses)
        before = time.perf_counter()
    tail = losses[-50:]
    found = {
        "group": row.group,
        "row": row.name,
        "seed": seed,
        "steps": steps,
        "paper": row.score,
        "learns": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "step time": float(np.median(taken)),
        "first loss": losses[0],
        "last losses": {
            name: float(np.mean([one[name] for one in tail if name in one])) for name in data
        },
        **measured(model, size.image_size, count),
    }
    print(
        {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in found.items()
        },
        flush=True,
    )
    return found


@app.command()
def main(
    scale: str = "laptop",
    seeds: int = 1,
    only: list[str] = typer.Option([], help="Names of rows; default: all."),
    count: int = 128,
    fresh: bool = False,
) -> None:
    """Trains and measures what isn't measured yet; writes after each row."""
    torch.set_num_threads(1)
    size, name = Scale.of(scale), "replicate_flamingo" + ("_smoke" if scale == "smoke" else "")
    facts = {
        "scale": scale,
        "count": count,
        "steps": STEPS[scale],
        "weights": DATASET_WEIGHTS,
        "words": len(WORDS),
        "chance": {
            "captions, noun": 1 / len(WORDS),
            "films, which way": 1 / 4,
            "a new name, 8 shots": 1 / 4,
        },
    }
    kept = [] if fresh else load_matching_results(name, **facts).get("rows", [])
    seen, depth = (
        towers(size),
        len(decoder_layers(recipes.get("language").train_or_load(size).model.lm)),
    )
    for seed in range(seeds):
        for row in ROWS:
            if (only and row.name not in only) or any(
                one["row"] == row.name and one["seed"] == seed for one in kept
            ):
                continue
            if row.changes.get("cross_attention_every", 1) > depth:
                print(f"left out: {row.name}; this language model has {depth} layers.")
                continue
            kept.append(run(row, size, seen[row.tower], seed, count))
            save_results(name, kept, **facts)


if __name__ == "__main__":
    app()
