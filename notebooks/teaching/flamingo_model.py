"""Lesson 11: a Flamingo put together from what the student writes, and its training on small pages of two pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from teaching.built_models import Parts
from vlmcourse import recipes, world
from vlmcourse.evaluation import eval_mode
from vlmcourse.papers.flamingo import (
    FlamingoConfig,
    PerceiverResampler,
    SquaredReLU,
    feedforward,
)
from vlmcourse.parts.attention import Attention
from vlmcourse.parts.language import decoder_layers, freeze, next_token_loss, width
from vlmcourse.parts.layers import init_weights
from vlmcourse.parts.masks import causal
from vlmcourse.recipes import features as cached_features
from vlmcourse.recipes.features import FeatureCache
from vlmcourse.recipes.flamingo import (
    RESIDUAL_SCALE,
    FrozenTower,
    flamingo_config,
    residual_rms,
)
from vlmcourse.recipes.frozen import mean_embedding
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step, fit
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import tokenizer
from vlmcourse.world.interleaved import END_OF_CHUNK, IMAGE_TEXT, IMAGE_TOKEN
from vlmcourse.world.pages import nouns_of_split, single_thing
from vlmcourse.world.prompts import frames_of
from vlmcourse.world.scenes import SeededRandom

BATCH = 16
STEPS, TESTED = 100, 128
"""Of a training, and pages that it is tested on."""
NOUNS = tuple(word for word in world.known_nouns()[::6] if word in set(nouns_of_split("test")))[:12]
CHANCE = len({world.article(word).split()[0] for word in NOUNS}) / len(NOUNS)
"""Share of right nouns for whoever guesses among those that fit the article, "a" or "an"."""
GATE_LEARNING_RATE = 10.0
"""Learning rate of the gates, in units of that of all other parameters."""


@dataclass(frozen=True)
class FastGates(Optimisation):
    """Optimisation whose gates, parameters named alpha_..., have `gate_rate` times its learning rate."""

    gate_rate: float = GATE_LEARNING_RATE

    def optimiser(self, model: nn.Module, device: torch.device) -> torch.optim.AdamW:
        gates = [p for name, p in model.named_parameters() if ".alpha_" in name and p.requires_grad]
        optimiser = super().optimiser(model, device)
        for group in optimiser.param_groups:
            group["params"] = [p for p in group["params"] if all(p is not gate for gate in gates)]
        if gates:
            options = optimiser.param_groups[0] | {"params": gates, "weight_decay": 0.0}
            optimiser.add_param_group(options | {"times": self.gate_rate})
        return optimiser

    def set_learning_rate(self, optimiser: torch.optim.Optimizer, step: int, steps: int) -> float:
        for group in optimiser.param_groups:
            group["lr"] = self.at(step, steps) * group.get("times", 1.0)
        return self.at(step, steps)


OPTIMISATION = FastGates(3e-3, weight_decay=0.05, betas=(0.9, 0.95), warmup=0.1)


class CrossAttention(nn.Module):
    """LayerNorm, and cross-attention to latents, times a fixed scale: (B, T, D), (B, K, C), (B, T, K) -> (B, T, D)."""

    def __init__(self, width: int, config: FlamingoConfig, scale: float = 1.0):
        super().__init__()
        self.norm, self.scale = nn.LayerNorm(width), scale
        c = config
        self.attention = Attention(width, c.heads, c.vision_width, c.head_width, bias=False)
        init_weights(self)

    def forward(self, y: Tensor, latents: Tensor, mask: Tensor) -> Tensor:
        return self.scale * self.attention(self.norm(y), latents, mask[:, None])


class Dense(nn.Module):
    """LayerNorm, and the feed-forward network, times a fixed scale: (B, T, D) -> (B, T, D)."""

    def __init__(self, width: int, config: FlamingoConfig, scale: float = 1.0):
        super().__init__()
        self.norm, self.scale = nn.LayerNorm(width), scale
        self.feedforward = feedforward(width, config.feedforward_multiplier, SquaredReLU)
        init_weights(self)

    def forward(self, y: Tensor) -> Tensor:
        return self.scale * self.feedforward(self.norm(y))


class BuiltFlamingo(nn.Module):
    """Resampler, gated blocks and embeddings by functions of `parts`, around a frozen language model (a Llama).

    scales  of the blocks' outputs, one for each layer: the size of the hidden states there
    """

    def __init__(
        self, config: FlamingoConfig, lm: nn.Module, parts: Parts, scales: Sequence[float]
    ):
        super().__init__()
        self.config, self.lm, self.parts, D = config, freeze(lm), parts, width(lm)
        self.resampler = PerceiverResampler(config)
        chosen = scales[:: config.cross_attention_every]
        self.blocks = nn.ModuleList(
            parts["GatedBlock"](CrossAttention(D, config, s), Dense(D, config, s)) for s in chosen
        )
        starts = ([END_OF_CHUNK, ["."]], [IMAGE_TOKEN, [noun.word for noun in world.nouns()]])
        ids = tokenizer.world_tokenizer().convert_tokens_to_ids([name for name, _ in starts])
        self.register_buffer("new_ids", torch.tensor(ids))
        self.new_rows = nn.Parameter(
            torch.stack([mean_embedding(lm, words) for _, words in starts])
        )

    def forward(self, ids: Tensor, features: Tensor) -> Tensor:
        """Logits (B, T, V) of pages with equally many pictures: ids (B, T), features (B * N, frames, P, C)."""
        latents = self.parts["resample"](self.resampler, features)
        (M, R, C), B, llama = latents.shape, len(ids), self.lm.model
        mask = self.parts["image_mask"](ids, self.config.image_token_id, M // B, R)
        table = self.lm.get_input_embeddings()
        y = self.parts["embed_tokens"](table, self.new_rows, self.new_ids, ids)
        turns = llama.rotary_emb(y, torch.arange(ids.shape[1])[None])
        options = {"attention_mask": causal(ids.shape[1]).to_bool(), "position_embeddings": turns}
        layers = [partial(layer, **options) for layer in decoder_layers(self.lm)]
        latents, every = latents.reshape(B, -1, C), self.config.cross_attention_every
        y = self.parts["run_layers"](layers, self.blocks, every, y, latents, mask)
        return self.lm.lm_head(llama.norm(y))

    def losses(self, batch: dict) -> dict[str, Tensor]:
        """batch: `ids`, `loss_mask` (B, T), `features` -> {"lm": scalar}."""
        logits = self(batch["ids"], batch["features"])
        return {"lm": next_token_loss(logits, batch["ids"], batch["loss_mask"])}

    def gates(self) -> dict[str, float]:
        """tanh of each gate, by its name in the figures."""
        return {
            f"before layer {number + 1}: {'attention' if 'xattn' in name else 'feed-forward'}": (
                value.tanh().item()
            )
            for number, block in enumerate(self.blocks)
            for name, value in block.named_parameters()
            if name.startswith("alpha_")
        }


@dataclass(frozen=True)
class TwoPictures:
    """Pages with two pictures of one thing each and a sentence after each: "a cat on blue ." """

    split: str
    features: FeatureCache
    interleave: Callable

    def page(self, index: int) -> tuple:
        """Picture, sentence, picture, sentence."""
        rng, parts = SeededRandom("two pictures", self.split, index), []
        for word in rng.sample(NOUNS, 2):
            scene = single_thing(word, self.split, rng)
            parts += [scene, f"{world.article(word)} on {scene.background} ."]
        return tuple(parts)

    def batch(self, indices: Sequence[int]) -> dict:
        """`ids`, `loss_mask` (B, T), True at the sentences' words, `features`, and `nouns` (B, T), True at nouns."""
        pages = [self.page(index) for index in indices]
        made = [self.interleave(page, IMAGE_TEXT, END_OF_CHUNK) for page in pages]
        ids = tokenizer.encode([text for text, _ in made])
        vocabulary = tokenizer.world_tokenizer().convert_tokens_to_ids
        given = [
            tokenizer.PAD,
            tokenizer.BOS,
            tokenizer.EOS,
            *vocabulary([IMAGE_TOKEN, END_OF_CHUNK]),
        ]
        loss_mask = ~torch.isin(ids, torch.tensor(given))
        loss_mask[:, 1:] &= ids[:, :-1] != vocabulary(IMAGE_TOKEN)
        nouns = torch.isin(ids, torch.tensor(vocabulary(list(NOUNS))))
        features = self.features(frames_of([pictures for _, pictures in made]))["features"]
        return {"ids": ids, "loss_mask": loss_mask, "nouns": nouns, "features": features}


@dataclass(frozen=True)
class Pages:
    """The first `size` pages, made once; batches of whole pages, whose two pictures stay together."""

    data: TwoPictures
    size: int

    def __post_init__(self):
        object.__setattr__(self, "whole", self.data.batch(range(self.size)))

    def batch(self, indices: Sequence[int]) -> dict:
        rows = torch.tensor([index % self.size for index in indices])
        features = self.whole["features"].unflatten(0, (self.size, -1))[rows].flatten(0, 1)
        return {name: value[rows] for name, value in self.whole.items() if name != "features"} | {
            "features": features
        }


def feature_cache(scale: Scale) -> FeatureCache:
    """Features of CLIP's frozen image tower, each picture's computed once."""
    return cached_features.feature_cache(frozen_tower(scale), scale.image_size)


@lru_cache(2)
def frozen_tower(scale: Scale) -> nn.Module:
    """CLIP's frozen image tower of a scale, always the same object."""
    return freeze(FrozenTower(recipes.get("clip").train_or_load(scale).model.vision))


def small_config(scale: Scale, **changes) -> FlamingoConfig:
    """Four latents, one layer of the resampler; `changes` replace fields."""
    sizes = {"latents": 4, "resampler_depth": 1, "gate_lr_scale": 1.0}
    return flamingo_config(scale, **{**sizes, **changes})


def build(
    config: FlamingoConfig, lm: nn.Module, parts: Parts, seed: int = 0, fitted: bool = True
) -> BuiltFlamingo:
    """An untrained Flamingo, always with the same weights for a seed. fitted: outputs are scaled to the states' size"""
    scales = [RESIDUAL_SCALE * value if fitted else 1.0 for value in residual_rms(lm)]
    with seeded(seed):
        return BuiltFlamingo(config, lm, parts, scales)


def train(
    model: BuiltFlamingo,
    pages: Pages,
    steps: int,
    on_step: Callable[[Step], None] = lambda step: None,
    seed: int = 0,
    optimisation: Optimisation = OPTIMISATION,
) -> tuple[list[Step], dict[str, dict[int, float]]]:
    """Trains in place on batches of 16 pages: the history, and the gates {name: {step: tanh}}."""
    history: list[Step] = []
    gates: dict[str, dict[int, float]] = {name: {0: value} for name, value in model.gates().items()}
    batches = Batches(pages.batch, BATCH, pages.size, seed)
    for step in fit(model, batches, steps, optimisation, seed=seed, precision=torch.float32):
        history.append(step)
        for name, value in model.gates().items():
            gates[name][step.step] = value
        on_step(step)
    return history, gates


def right_nouns(model: BuiltFlamingo, pages: Pages, features: Tensor | None = None) -> list[float]:
    """Share of pages whose first, and whose second noun is the likeliest word there. features: others than the pages' own"""
    batch = pages.whole
    with eval_mode(model):
        logits = model(batch["ids"], batch["features"] if features is None else features)
    right = logits[:, :-1].argmax(-1) == batch["ids"][:, 1:]
    return right[batch["nouns"][:, 1:]].unflatten(0, (len(right), 2)).float().mean(0).tolist()
