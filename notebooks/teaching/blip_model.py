"""Lesson 08: BLIP put together from the functions that the student writes, and its training on a small world."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from teaching.built_models import Parts
from vlmcourse import world
from vlmcourse.papers.blip import BLIP, BLIPConfig
from vlmcourse.parts.layers import PostNormBlock
from vlmcourse.parts.losses import caption_groups
from vlmcourse.recipes.blip import blip_config
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step, fit
from vlmcourse.training.in_memory import InMemory
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world.minimal_pairs import MinimalPairs, change_background

BATCH = 32
NOUNS = 12
OPTIMISATION = Optimisation(1.5e-3, weight_decay=0.05, betas=(0.9, 0.98), warmup=0.1)


class BuiltBlock(PostNormBlock):
    """A block computed by `med_block` of `parts`; with a cache, while generating, by the package."""

    def use(self, parts: Parts) -> BuiltBlock:
        """The block itself, computed by these functions from now on."""
        self.parts = parts
        return self

    def forward(self, x, mask=None, context=None, context_mask=None, cache=None) -> Tensor:
        """As PostNormBlock's."""
        if cache is not None or context_mask is not None:
            return super().forward(x, mask, context, context_mask, cache)
        return self.parts["med_block"](self, x, mask, context)

    def forward_at(self, x, positions, mask=None, context=None, context_mask=None) -> Tensor:
        """As PostNormBlock's."""
        return self(x, mask, context, context_mask)[torch.arange(len(x)), positions]


class BuiltBLIP(BLIP):
    """BLIP whose roles, blocks, sharing and losses are functions of `parts`."""

    def __init__(self, config: BLIPConfig, parts: Parts, vision: nn.Module | None = None):
        super().__init__(config, vision)
        self.parts, c = parts, config
        sizes = c.text_width, c.text_heads, c.text_hidden
        for transformer in (self.encoder, self.decoder):
            transformer.blocks = nn.ModuleList(
                BuiltBlock(*sizes, eps=c.text_eps, context_width=c.vision_width).use(parts)
                for _ in range(c.text_depth)
            )
        self.decoder.embeddings = self.encoder.embeddings
        parts["share"](self.encoder.blocks, self.decoder.blocks)
        if self.momentum_encoders is not None:
            self.momentum_encoders.encoder.load_state_dict(self.encoder.state_dict())

    def role_inputs(self, ids: Tensor, first_token: int) -> tuple[Tensor, Tensor]:
        """As BLIP's."""
        return self.parts["role_inputs"](ids, first_token, False, self.config.pad)

    def lm_loss(
        self, ids: Tensor, loss_mask: Tensor, states: Tensor, context_mask: Tensor | None = None
    ) -> Tensor:
        """As BLIP's."""
        c = self.config
        inputs = self.parts["role_inputs"](ids, c.dec, True, c.pad)
        logits = self.head(self.decoder(*inputs, states), self.decoder.embeddings.words.weight)
        return self.parts["lm_loss"](logits, ids, loss_mask, c.label_smoothing)

    def queues(self) -> tuple[Tensor, Tensor]:
        """Vectors of earlier images and texts, (Q, E) each."""
        m = self.momentum_encoders
        if m is None:
            nothing = torch.empty(0, self.config.embedding)
            return nothing, nothing
        return m.image_queue, m.text_queue

    def contrast(self, batch: dict[str, Tensor], states: Tensor, groups: Tensor) -> tuple:
        """The ITC loss, and similarities (B, B) divided by the temperature, without gradient."""
        p, t, alpha = self.parts, self.temperature, self.config.alpha
        image = normalize(self.image_projection(states[:, 0]), dim=-1)
        text = self.encode_text(batch["ids"])
        slow = self._momentum_targets(batch["pixel_values"], batch["ids"])
        slow_image, slow_text = (image, text) if slow is None else (slow.image, slow.text)
        keys = [torch.cat(both) for both in zip((slow_image, slow_text), self.queues())]
        with torch.no_grad():
            similarities = slow_image @ keys[1].T / t, slow_text @ keys[0].T / t
            targets = [p["itc_targets"](each, groups, alpha) for each in similarities]
        loss = p["itc_loss"](image, text, *keys, targets, t)
        if self.training and slow is not None:
            start = self.momentum_encoders.queue_start
            for queue, new in zip(self.queues(), (slow_image, slow_text)):
                after = p["enqueue"](queue, int(start), new)
            start.fill_(after)
        return loss, (image @ text.T / t).detach()

    def wrong_pairs(self, similarities: Tensor, groups: Tensor) -> list[Tensor]:
        """The number of a wrong text for each image, and of a wrong image for each text."""
        weights = self.parts["negative_weights"]
        return [
            torch.multinomial(weights(each, groups).float(), 1)[:, 0]
            for each in (similarities, similarities.T)
        ]

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """As BLIP's."""
        ids = batch["ids"]
        states = self.vision_context(batch["pixel_values"])["states"]
        groups = batch.get("positive_groups", caption_groups(ids, self.config.pad))
        itc, similarities = self.contrast(batch, states, groups)
        wrong = self.wrong_pairs(similarities, groups)
        itm = self.parts["itm_loss"](self.itm_logits, ids, states, *wrong)
        return {"itc": itc, "itm": itm, "lm": self.lm_loss(ids, self.loss_mask(batch), states)}

    @torch.no_grad()
    def after_step(self) -> None:
        """As BLIP's."""
        self.temperature.clamp_(0.001, 0.5)
        m = self.momentum_encoders
        for name, module in self._encoders().items() if m is not None else ():
            copies, weights = getattr(m, name).parameters(), module.parameters()
            self.parts["update_momentum"](list(copies), list(weights), m.momentum)


def small_config(scale: Scale, **changes) -> BLIPConfig:
    """Two text blocks, momentum encoders and a queue of four batches; `changes` replace fields."""
    return blip_config(
        scale,
        **{"text_depth": 2, "momentum": 0.9, "queue_size": 4 * BATCH, "alpha": 0.4, **changes},
    )


def small_world(scale: Scale, split: str, count: int) -> InMemory:
    """Pictures of one of twelve things, in twos that differ in the background; captions begin with 'a picture of'."""
    pairs = MinimalPairs(
        split,
        scale.image_size,
        things=(1, 1),
        caption=world.captions.annotated,
        change=change_background,
        noun_subset=world.known_nouns()[::10][:NOUNS],
    )
    return InMemory(pairs, count)


def build(config: BLIPConfig, parts: Parts, vision=None, kind: type[BuiltBLIP] = BuiltBLIP):
    """An untrained one, always with the same weights. vision: a trained image encoder, which is copied."""
    with seeded(0):
        return kind(config, parts, deepcopy(vision))


def with_weights_of(model: BLIP, parts: Parts) -> BuiltBLIP:
    """The functions of `parts` with the weights of a trained BLIP."""
    built = build(model.config, parts, model.vision)
    built.load_state_dict(model.state_dict())
    return built.eval()


def train(
    model: nn.Module,
    data: InMemory,
    steps: int,
    on_step: Callable[[Step], None] = lambda step: None,
) -> list[Step]:
    """Trains in place on batches of 32; the history. on_step: called with each Step."""
    history = []
    for step in fit(
        model, Batches(data.batch, BATCH), steps, OPTIMISATION, precision=torch.float32
    ):
        history.append(step)
        on_step(step)
    return history
