"""CLIP. Learning Transferable Visual Models From Natural Language Supervision (Radford et al. 2021, arXiv 2103.00020).

An image encoder and a text encoder, trained so that an image and its caption have similar unit vectors. Read with Figure 3.

Scaled down here: the sizes (the paper's are in the margin), 64-pixel images, a word-level vocabulary. Kept: pre-norm
encoders, the causal text encoder with its end token's state, linear projections without bias, the symmetric loss, the
learned temperature with its initial value and bound, the initialisation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vlmcourse.papers import checkpoint_formats, checkpoints
from vlmcourse.parts.layers import Transformer, check_ids
from vlmcourse.parts.losses import clip_loss
from vlmcourse.parts.masks import causal
from vlmcourse.parts.vision import ConvStem, ResNet, ViT, check_pixels

MAX_LOGIT_SCALE = math.log(
    100
)  # "clipped to prevent scaling the logits by more than 100" (Sec. 2.5)


@dataclass(frozen=True)
class CLIPConfig:
    """Sizes of both encoders. In the margin: ViT-B/32, the paper's Table 20, except where it says otherwise."""

    vocabulary: int  # paper: 49,152 (byte-pair encoding)
    end: int | None  # id of the end token; None: the largest id of each text, OpenAI's convention
    context: int = 32  # paper: 76 (77 in its code)
    embedding: int = 128  # paper: 512
    image_size: int = 64  # paper: 224
    patch: int = 16  # paper: 32
    vision_width: int = 128  # paper: 768
    vision_depth: int = 4  # paper: 12
    vision_heads: int = 4  # paper: 12
    vision_hidden: int | None = None  # paper: 4 * width
    text_width: int = 128  # paper: 512
    text_depth: int = 2  # paper: 12
    text_heads: int = 4  # paper: 8
    text_hidden: int | None = None  # paper: 4 * width
    activation: type[nn.Module] = nn.GELU  # paper's code: QuickGELU
    eps: float = 1e-5
    conv_stem: bool = False  # as the paper: one linear projection per patch
    resnet: tuple[int, ...] | None = None  # blocks per stage, instead of a ViT; RN50: (3, 4, 6, 3)


def image_tower(config: CLIPConfig) -> nn.Module:
    """The image encoder (Sec. 2.4): (B, 3, S, S) -> (B, vision_width)."""
    c = config
    if c.resnet:
        inner = c.vision_width // (4 * 2 ** (len(c.resnet) - 1))
        return ResNet(c.image_size, c.resnet, inner, c.vision_heads)
    return ViT(
        c.image_size,
        c.patch,
        c.vision_width,
        c.vision_depth,
        c.vision_heads,
        c.vision_hidden,
        c.activation,
        c.eps,
        stem=ConvStem(c.patch, c.vision_width) if c.conv_stem else None,
    )


class TextTower(nn.Module):
    """The text encoder (Sec. 2.4): a causal transformer, of which the end token's state represents the text."""

    def __init__(self, config: CLIPConfig):
        super().__init__()
        c = config
        self.end, self.context, self.vocabulary = c.end, c.context, c.vocabulary
        self.tokens = nn.Embedding(c.vocabulary, c.text_width)
        self.positions = nn.Parameter(torch.empty(c.context, c.text_width))
        self.transformer = Transformer(
            c.text_depth, c.text_width, c.text_heads, c.text_hidden, c.activation, c.eps
        )
        self.norm_out = nn.LayerNorm(c.text_width, c.eps)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.01)

    def end_positions(self, ids: Tensor) -> Tensor:
        """Index of each text's first end token: (B, T) ids -> (B,). Raises ValueError for a text without one."""
        if self.end is None:
            return ids.argmax(1)
        is_end = ids == self.end
        if not (ended := is_end.any(1)).all():
            row = int((~ended).nonzero()[0])
            raise ValueError(
                f"text {row} of the batch has no end token (id {self.end}), so there is no state to read. "
                "End every text with it; tokens.encode() does."
            )
        return is_end.int().argmax(1)  # the first one: padding after it may repeat it

    def embed(self, ids: Tensor) -> Tensor:
        """Input of the blocks: (B, T) ids -> (B, T, D). Raises ValueError for ids that this encoder can't read."""
        check_ids(ids, self.vocabulary, self.context)
        return self.tokens(ids) + self.positions[: ids.shape[1]]

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) ids -> (B, D). The mask is causal, so padding after the end token needs no mask of its own."""
        x, mask = self.embed(ids), causal(ids.shape[1], ids.device).to_bool()  # (B, T, D)
        return self.norm_out(
            self.transformer.forward_at(x, self.end_positions(ids), mask)
        )  # (B, D)


class CLIP(nn.Module, checkpoints.FromTransformers):
    """Two encoders with unit vectors in one space (`encode_image`, `encode_text`), trained by `losses`."""

    hf_model_type, hf_classes = "clip", ("CLIPModel",)

    def __init__(self, config: CLIPConfig):
        super().__init__()
        self.config = config
        self.vision = image_tower(config)
        self.text = TextTower(config)
        self.image_projection = nn.Linear(self.vision.width, config.embedding, bias=False)
        self.text_projection = nn.Linear(config.text_width, config.embedding, bias=False)
        for projection in (self.image_projection, self.text_projection):
            nn.init.normal_(projection.weight, std=projection.in_features**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # Sec. 2.5

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, S, S) normalised float pixels -> (B, E) unit vectors."""
        check_pixels(pixel_values, self.config.image_size)
        return normalize(self.image_projection(self.vision(pixel_values)), dim=-1)  # (B, E)

    def encode_text(self, ids: Tensor) -> Tensor:
        """(B, T) token ids, each text with its end token -> (B, E) unit vectors."""
        return normalize(self.text_projection(self.text(ids)), dim=-1)  # (B, E)

    def logits(self, pixel_values: Tensor, ids: Tensor) -> Tensor:
        """Scaled cosines (images, texts)."""
        return self.logit_scale.exp() * self.encode_image(pixel_values) @ self.encode_text(ids).T

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `pixel_values` (B, 3, S, S), `ids` (B, T), optionally `positive_groups` (B,) -> {"clip": scalar} (Fig. 3)."""
        image, text = self.encode_image(batch["pixel_values"]), self.encode_text(batch["ids"])
        return {
            "clip": clip_loss(image, text, self.logit_scale.exp(), batch.get("positive_groups"))
        }

    forward = losses  # data parallelism calls forward

    @torch.no_grad()
    def after_step(self) -> None:
        """Clamps the logit scale. Not in the forward pass: beyond the bound it would have no gradient and never return."""
        self.logit_scale.clamp_(0, MAX_LOGIT_SCALE)

    @classmethod
    def from_hf(cls, model) -> CLIP:
        """The same function as a `transformers.CLIPModel`, with its weights (copied). Raises ValueError for what CLIPConfig has not."""
        clip = cls(CLIPConfig(**checkpoint_formats.clip_sizes(model.config)))
        return checkpoints.copy_weights(clip, model.state_dict(), checkpoint_formats.CLIP).eval()
