"""Lesson 04: a small ViLBERT, and one for questions, put together from the functions that the student writes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from teaching.built_models import Parts
from vlmcourse import recipes, world
from vlmcourse.papers.vilbert import CoAttention, ViLBERT, ViLBERTConfig, sample_zeroed_regions
from vlmcourse.papers.vilbert_tasks import ViLBERTForVQA
from vlmcourse.parts.bert import maskable, masked_cross_entropy, sample_mask
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step, fit
from vlmcourse.training.in_memory import InMemory
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import regions
from vlmcourse.world.noise import Noise, mismatched


class BuiltCoAttention(CoAttention):
    """A co-attention layer computed by `co_attention` and `post_norm_update` of `parts`."""

    def __init__(self, config: ViLBERTConfig, parts: Parts):
        super().__init__(config)
        self.parts = parts

    def forward(
        self, image: Tensor, text: Tensor, text_mask: Tensor, image_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As CoAttention's. The keys and values of a stream belong to the weights of the other direction."""
        q = self.image.attention.split_heads(self.image.attention.query(image))
        image_qkv = q, *self.text.attention.project_kv(image)
        q = self.text.attention.split_heads(self.text.attention.query(text))
        text_qkv = q, *self.image.attention.project_kv(text)
        to_image, to_text = self.parts["co_attention"](
            image_qkv, text_qkv, image_mask[:, 0, 0], text_mask[:, 0, 0]
        )
        update = self.parts["post_norm_update"]
        return update(image, to_image, self.image), update(text, to_text, self.text)


class BuiltViLBERT(ViLBERT):
    """ViLBERT whose inputs, masking, co-attention, region loss and alignment are functions of `parts`."""

    def __init__(self, config: ViLBERTConfig, parts: Parts):
        super().__init__(config)
        self.parts = parts
        layers = (BuiltCoAttention(config, parts) for _ in range(config.num_co_attention_layers))
        self.encoder.co_attention = nn.ModuleList(layers)

    def forward(
        self,
        batch: dict[str, Tensor],
        masked_regions: Tensor | None = None,
        co_attention_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As ViLBERT's."""
        is_region, features = batch["region_mask"], batch["features"]
        hidden = torch.zeros_like(is_region) if masked_regions is None else masked_regions
        token = self.parts["img_token"](features, is_region, hidden)
        features = torch.cat([token[:, None], features.masked_fill(hidden[..., None], 0)], dim=1)
        boxes = self.parts["box_features"](batch["boxes"])
        image = self.norm_image(self.embed_features(features) + self.embed_box(boxes))
        is_region = torch.cat([is_region.new_ones(len(is_region), 1), is_region], dim=1)
        text, is_word = self.embed_text(batch["ids"]), batch["ids"] != 0
        return self.encoder(image, text, is_region, is_word, co_attention_mask)

    def alignment_logits(self, batch: dict[str, Tensor], **masks) -> Tensor:
        """As ViLBERT's."""
        layers = self.pool_image, self.pool_text, self.alignment_head
        return self.parts["alignment_logits"](*self(batch, **masks), *layers)

    def counted(self, aligned: Tensor) -> Tensor:
        """The pairs (B,) whose masked words and regions count: the aligned ones."""
        return aligned

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """As ViLBERT's."""
        c, ids, counted = self.config, batch["ids"], self.counted(batch["aligned"])[:, None]
        words = sample_mask(maskable(ids), c.mask_prob)
        selected = sample_mask(batch["region_mask"], c.mask_prob)
        read = self.parts["mask_words"](ids, words, c.mask_token_id, c.vocabulary)
        image, text = self({**batch, "ids": read}, masked_regions=sample_zeroed_regions(selected))
        words, selected = words & counted, selected & counted
        word_logits = self.mlm_head(text[words], self.embed_word.weight)
        layers = self.pool_image, self.pool_text, self.alignment_head
        aligned = self.parts["alignment_logits"](image, text, *layers).float()
        return {
            "mlm": masked_cross_entropy(word_logits, ids[words]),
            "mrc": self.parts["region_loss"](
                self.region_head(image[:, 1:]), batch["classes"], selected
            ),
            "alignment": binary_cross_entropy_with_logits(aligned, batch["aligned"].float()),
        }


def single_things(scale: Scale, split: str, size: int, classifier, false: float = 0.5) -> InMemory:
    """Pictures of one thing each, with captions of which a share `false` belongs to other pictures."""
    pairs = regions.SubsetOfNouns(
        split,
        scale.image_size,
        0,
        (1, 1),
        world.captions.detailed,
        Noise(false, mismatched) if false else None,
        world.known_nouns()[:: recipes.vilbert.EVERY][:12],
    )
    return InMemory(regions.RegionDataset(pairs, region_classifier=classifier), size)


def small_config(scale: Scale) -> ViLBERTConfig:
    """One text-only block, and one pair of co-attention and self-attention; width as the shipped model's."""
    return recipes.vilbert.vilbert_config(scale, num_text_only_layers=1, num_co_attention_layers=1)


def build(
    config: ViLBERTConfig, parts: Parts, kind: type[BuiltViLBERT] = BuiltViLBERT
) -> BuiltViLBERT:
    """An untrained one, always with the same weights."""
    with seeded(0):
        return kind(config, parts)


def with_weights_of(model: ViLBERT, parts: Parts) -> BuiltViLBERT:
    """The functions of `parts` with the weights of a trained ViLBERT."""
    built = build(model.config, parts)
    built.load_state_dict(model.state_dict())
    return built.eval()


class BuiltVQA(ViLBERTForVQA):
    """ViLBERTForVQA whose loss is `answer_loss` (logits, answer) -> scalar."""

    def __init__(self, vilbert: ViLBERT, answers: int, head: nn.Module, answer_loss: Callable):
        super().__init__(vilbert, answers, head)
        self.answer_loss = answer_loss

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """As ViLBERTForVQA's."""
        return {"vqa": self.answer_loss(self(batch), batch["answer"])}


def train(
    model: nn.Module,
    data: InMemory,
    steps: int,
    on_step: Callable[[Step], None] = lambda step: None,
    learning_rate: float = 3e-3,
) -> list[Step]:
    """Trains in place on batches of 32; the history. on_step: called with each Step."""
    history = []
    optimisation = Optimisation(learning_rate, weight_decay=0.05)
    batches = Batches(data.batch, 32)
    for step in fit(model, batches, steps, optimisation, precision=torch.float32):
        history.append(step)
        on_step(step)
    return history
