"""Lesson 10: both stages of BLIP-2 put together from what the student writes, and their training on a small world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from teaching.blip2_reference import PARTS
from teaching.built_models import Parts
from vlmcourse import world
from vlmcourse.evaluation import eval_mode
from vlmcourse.papers.blip2 import LABEL_SMOOTHING, Stage1
from vlmcourse.papers.qformer import QFormer, QFormerConfig, QFormerLayer
from vlmcourse.parts.bert import MLMHead, with_first_token
from vlmcourse.parts.language import embed, freeze, logits
from vlmcourse.parts.losses import hard_negatives
from vlmcourse.recipes.blip2 import mean_word_embedding, projection_near, qformer_config
from vlmcourse.recipes.features import CachedFeatures
from vlmcourse.recipes.frozen import ONE_THING
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step, fit
from vlmcourse.training.in_memory import InMemory
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import tokenizer
from vlmcourse.world.minimal_pairs import MinimalPairs, change_background

BATCH = 32
NOUNS = world.known_nouns()[::10][:12]
STAGE1 = Optimisation(4e-3, weight_decay=0.05, warmup=0.1)
STAGE2 = Optimisation(2e-3, weight_decay=0.05, betas=(0.9, 0.95))


class BuiltLayer(QFormerLayer):
    """A layer that is computed by `qformer_layer` of `parts`."""

    parts: Parts = PARTS

    def forward(self, x, queries, image=None, mask=None, cache=None, first=None) -> Tensor:  # type: ignore[override]
        return self.parts["qformer_layer"](self, x, queries, image, mask)


class BuiltQFormer(nn.Module):
    """The package's Q-Former, with the queries, layers and forward pass of `parts`."""

    def __init__(self, config: QFormerConfig, parts: Parts):
        super().__init__()
        self.config, self.parts = config, parts
        package = QFormer(config)
        self.queries = parts["LearnedQueries"](config.queries, config.width)
        self.words, self.positions = package.words, package.positions
        self.norm, self.norm_image, self.layers = package.norm, package.norm_image, package.layers
        for layer in self.layers:
            layer.__class__, layer.parts = BuiltLayer, parts

    def embed(self, ids: Tensor) -> Tensor:
        """Words plus positions: (B, T) -> (B, T, D)."""
        return self.words(ids) + self.positions[: ids.shape[1]]

    def read(self, objective: str, features: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """States of queries and text under the mask of an objective."""
        is_token = ids != self.config.pad_token_id
        mask = self.parts["qformer_mask"](objective, self.config.queries, is_token)
        return self.parts["run_qformer"](self, features, ids, mask)

    def query_states(self, features: Tensor) -> Tensor:
        """The queries without text: (B, P, C) -> (B, R, D)."""
        nothing = torch.empty(len(features), 0, dtype=torch.long)
        return self.read("itc", features, nothing)[0]


class BuiltStage1(nn.Module):
    """Stage 1 whose Q-Former and losses are functions of `parts`."""

    def __init__(self, config: QFormerConfig, parts: Parts, embedding: int = 64):
        super().__init__()
        self.parts, self.qformer, D = parts, BuiltQFormer(config, parts), config.width
        self.image_projection, self.text_projection = (nn.Linear(D, embedding) for _ in range(2))
        self.itm_head, self.head = nn.Linear(D, 2), MLMHead(D, config.vocabulary, config.eps)
        self.temperature = nn.Parameter(torch.tensor(0.07))

    def cls_ids(self, ids: Tensor) -> Tensor:
        """ids (B, T) with [CLS] as first token."""
        return with_first_token(ids, self.qformer.config.cls_token_id)

    def encode(self, features: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """What ITC compares: vectors of the queries (B, R, E), and of the texts (B, E)."""
        queries, text = self.qformer.read("itc", features, self.cls_ids(ids))
        return self.image_projection(queries), self.text_projection(text[:, 0])

    def write(self, features: Tensor, ids: Tensor) -> Tensor:
        """Logits (B, T, V) of the next tokens, under ITG's mask."""
        _, text = self.qformer.read("itg", features, ids)
        return self.head(text, self.qformer.words.weight)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `features` (B, P, C), `ids` (B, T), `positive_groups` (B,) -> {"itc", "itm", "itg"}."""
        p, features, ids = self.parts, batch["features"], batch["ids"]
        groups, c = batch["positive_groups"], self.qformer.config
        similarities = p["image_text_similarity"](*self.encode(features, ids))
        itc = p["itc_loss"](similarities, self.temperature, groups, LABEL_SMOOTHING)
        wrong = hard_negatives((similarities / self.temperature).detach(), groups)

        def read(features: Tensor, ids: Tensor) -> Tensor:
            return self.qformer.read("itm", features, ids)[0]

        itm = p["itm_loss"](read, self.itm_head, features, self.cls_ids(ids), *wrong)
        itg = p["itg_loss"](
            lambda ids: self.write(features, ids),
            ids,
            c.dec_token_id,
            c.pad_token_id,
            LABEL_SMOOTHING,
        )
        return {"itc": itc, "itm": itm, "itg": itg}

    @torch.no_grad()
    def after_step(self) -> None:
        """As in the package's Stage1."""
        self.temperature.clamp_(0.001, 0.5)


class BuiltBLIP2(nn.Module):
    """Stage 2: a built Q-Former, a projection that starts near the words, and a frozen language model."""

    def __init__(self, qformer: BuiltQFormer, lm: nn.Module, parts: Parts):
        super().__init__()
        self.qformer, self.lm, self.parts = qformer, freeze(lm), parts
        self.language_projection = projection_near(
            mean_word_embedding(lm), qformer.config.width, lm
        )

    def logits(self, features: Tensor, ids: Tensor) -> Tensor:
        """(B, R + T, V), of ids (B, T) with a prefix after <bos>."""
        states = self.qformer.query_states(features)
        x = self.parts["insert_prefix"](embed(self.lm, ids), states, self.language_projection)
        return logits(self.lm, x)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `features`, `ids`, `loss_mask` -> {"lm": scalar}."""
        found, R = self.logits(batch["features"], batch["ids"]), self.qformer.config.queries
        return {"lm": self.parts["prefix_loss"](found, batch["ids"], batch["loss_mask"], R)}


@dataclass(frozen=True)
class Captions:
    """Pictures of one of twelve things, their features, and "thing background ." behind a full stop, to be predicted."""

    split: str
    vision: nn.Module
    size: int

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """`features` (B, P, C), `ids` (B, T), `loss_mask` (B, T)."""
        data = pairs_of(self.split, self.size)
        features = CachedFeatures(data, self.vision, len(indices)).batch(indices)["features"]
        scenes = data.scenes(indices)
        ids = tokenizer.encode([f". {one.words[0]} {one.background} ." for one in scenes])
        scored = (ids != tokenizer.PAD) & (ids != tokenizer.EOS)
        scored[:, :2] = False  # <bos> and the full stop after the prefix
        return {"features": features, "ids": ids, "loss_mask": scored}


def pairs_of(split: str, size: int) -> MinimalPairs:
    """Scenes of one of twelve things, in twos that differ in the background."""
    return MinimalPairs(
        split,
        size,
        things=ONE_THING,
        caption=world.captions.annotated,
        change=change_background,
        noun_subset=NOUNS,
    )


def small_world(scale: Scale, split: str, vision: nn.Module, count: int) -> InMemory:
    """Features of pictures of one of twelve things with captions, in memory."""
    return InMemory(CachedFeatures(pairs_of(split, scale.image_size), vision, count), count)


def small_captions(scale: Scale, split: str, vision: nn.Module, count: int) -> InMemory:
    """The same pictures for stage 2."""
    return InMemory(Captions(split, vision, scale.image_size), count)


def small_config(scale: Scale, **changes) -> QFormerConfig:
    """Four queries, two layers, width 64; `changes` replace fields."""
    return qformer_config(scale, **{"queries": 4, "width": 64, "depth": 2, "heads": 2, **changes})


def build(config: QFormerConfig, parts: Parts, seed: int = 0) -> BuiltStage1:
    """An untrained stage 1, always with the same weights for a seed."""
    with seeded(seed):
        return BuiltStage1(config, parts)


def build_stage2(
    config: QFormerConfig, lm: nn.Module, parts: Parts, first: BuiltStage1 | None, seed: int = 0
) -> BuiltBLIP2:
    """Stage 2 from a copy of stage 1's Q-Former, or from an untrained one (first=None)."""
    with seeded(seed):
        qformer = BuiltQFormer(config, parts)
        model = BuiltBLIP2(qformer, lm, parts)
    if first is not None:
        qformer.load_state_dict(first.qformer.state_dict())
    return model


def train(
    model: nn.Module,
    data: InMemory,
    steps: int,
    optimisation: Optimisation = STAGE1,
    on_step: Callable[[Step], None] = lambda step: None,
    seed: int = 0,
) -> list[Step]:
    """Trains in place on batches of 32; the history. on_step: called with each Step."""
    history = []
    batches = Batches(data.batch, BATCH, data.size, seed)
    for step in fit(model, batches, steps, optimisation, seed=seed, precision=torch.float32):
        history.append(step)
        on_step(step)
    return history


def with_weights_of(model: Stage1, parts: Parts) -> BuiltStage1:
    """The functions of `parts` with the weights of a trained stage 1."""
    c = model.qformer.config
    embedding = model.text_projection.out_features
    with seeded(0):
        built = BuiltStage1(c, parts, embedding)
    weights = {
        name: value for name, value in model.state_dict().items() if not name.startswith("vision.")
    }
    (name, queries), *_ = built.qformer.queries.named_parameters()
    learned = weights.pop("qformer.queries").reshape(queries.shape)  # (R, D), or as written
    built.load_state_dict(weights | {f"qformer.queries.{name}": learned})
    return built.eval()


def right_words(model: BuiltBLIP2, data: InMemory) -> dict[str, float]:
    """Share of held-out pictures whose thing, and whose background after the right thing, is the likeliest word."""
    batch = data.whole
    with eval_mode(model):
        found = model.logits(batch["features"], batch["ids"])[:, model.qformer.config.queries :]
    right = (found[:, :-1].argmax(-1) == batch["ids"][:, 1:]).float().mean(0)
    return {"thing": right[1].item(), "background": right[2].item()}


def written(model: BuiltStage1, features: Tensor, tokens: int = 10) -> list[str]:
    """What stage 1 writes of pictures by itself, greedily."""
    c = model.qformer.config
    ids = torch.full((len(features), 1), c.dec_token_id)
    with eval_mode(model):
        for _ in range(tokens):
            ids = torch.cat([ids, model.write(features, ids)[:, -1:].argmax(-1)], dim=1)
    ids[:, 0] = tokenizer.BOS
    ended = (ids == tokenizer.EOS).cumsum(1).bool()
    return tokenizer.decode(ids.masked_fill(ended, tokenizer.PAD))


def stage1_scores(model: BuiltStage1, data: InMemory) -> dict[str, float]:
    """On held-out minimal pairs: right caption preferred to that of another background, by ITC and ITM; nouns it writes."""
    batch, p = data.whole, model.parts
    features, ids = batch["features"], batch["ids"]
    other = ids[torch.arange(len(ids)) ^ 1]
    differ = (ids != other).any(1)  # a background that can't change leaves both captions equal
    with eval_mode(model):
        itc, itm = [], []
        for texts in (ids, other):
            queries, text = model.encode(features, texts)
            itc.append(p["image_text_similarity"](queries, text).diagonal())
            states = model.qformer.read("itm", features, model.cls_ids(texts))[0]
            itm.append(model.itm_head(states).mean(1).diff(dim=1)[:, 0])
    captions, scenes = written(model, features), data.data.pairs.scenes(range(len(ids)))
    nouns = [scene.words[0] in caption.split() for scene, caption in zip(scenes, captions)]
    return {
        "right caption, by ITC": (itc[0] > itc[1])[differ].float().mean().item(),
        "right caption, by ITM": (itm[0] > itm[1])[differ].float().mean().item(),
        "nouns of its captions": sum(nouns) / len(nouns),
    }


def own_cosines(model: BuiltStage1, data: InMemory) -> Tensor:
    """Cosine (N, R) of each query with its picture's own caption."""
    batch = data.whole
    with eval_mode(model):
        queries, text = model.encode(batch["features"], batch["ids"])
    return torch.nn.functional.cosine_similarity(queries, text[:, None], dim=-1)
