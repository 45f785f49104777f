"""Frozen. Multimodal Few-Shot Learning with Frozen Language Models (Tsimpoukelli et al. 2021, arXiv 2106.13884).

An image becomes n vectors that stand where words would (the visual prefix). The image encoder is trained by gradients through a
frozen language model. Read with Figures 2 and 3.

Scaled down here: a small Vision Transformer instead of an NF-ResNet-50; any decoder as language model (the paper's has 7
billion parameters). Kept: the encoder is trained from scratch, all of it; a linear map from its output to n vectors; a loss
on caption tokens only; several images at inference after training on one.

The paper's ablations are this model with other parts: *finetuned* is Frozen(config, lm) without `freeze(lm)`; *scratch* the
same with an untrained lm; *train-blind* trains on blank images (batch["pixel_values"] * 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vlmcourse.parts.language import (
    check_decoder,
    check_loss_mask,
    embedding_rms,
    next_token_loss,
    width,
)
from vlmcourse.parts.layers import init_weights
from vlmcourse.parts.soft_prompts import SoftPromptModel
from vlmcourse.parts.vision import ViT, check_pixels


@dataclass(frozen=True)
class FrozenConfig:
    """Sizes of the image encoder. In the margin: the paper's Sec. 3."""

    image_token_id: int  # id of the token that keeps a place for one prefix vector
    prefix_length: int = 2  # per picture. paper: 2, the best of 1, 2 and 4
    image_size: int = 64  # paper: 224
    patch: int = 16
    vision_width: int = 128  # paper: 2048, NF-ResNet-50's summary
    vision_depth: int = 4
    vision_heads: int = 4
    residual_scale: float = 0.15  # with `start`: what the untrained encoder adds to it, in lengths of a word. Not in the paper


class Frozen(SoftPromptModel):
    """A frozen language model with a trained image encoder.

    lm      a decoder of transformers; trained, unless it is frozen (parts.language.freeze)
    start   (n, D) initial prefix, such as a mean of word embeddings. The encoder then adds little at first, normalised over
            the batch so that images differ from the first step on. Default: no initial prefix, as in the paper
    ending  module applied to the prefix, such as parts.word_hull.WordHull; default: none, as in the paper
    """

    def __init__(
        self,
        config: FrozenConfig,
        lm: nn.Module,
        start: Tensor | None = None,
        ending: nn.Module | None = None,
    ):
        super().__init__()
        self.config = c = config
        self.image_token_id = c.image_token_id
        self.lm, self.ending = check_decoder(lm), ending or nn.Identity()
        sizes = (c.image_size, c.patch, c.vision_width, c.vision_depth, c.vision_heads)
        self.vision = ViT(*sizes)
        self.language_projection = nn.Linear(c.vision_width, c.prefix_length * width(lm))
        self.residual_scale = 1.0
        self.norm: nn.Module = nn.Identity()
        if start is not None:
            # The normalised output has a root mean square of 1: what is added to `start` is a fraction of a word.
            self.norm = nn.BatchNorm1d(c.vision_width, affine=False)
            self.residual_scale = c.residual_scale * embedding_rms(lm)
            init_weights(self.language_projection)
        start = torch.zeros(c.prefix_length, width(lm)) if start is None else start.detach().clone()
        self.register_buffer("start", start)

    def encode_prefix(self, pixel_values: Tensor) -> Tensor:
        """Images (M, 3, S, S) in the order of their placeholders -> prefix (M * n, D) (Sec. 3.1). Raises ValueError for other pixels."""
        check_pixels(pixel_values, self.config.image_size)
        output = self.language_projection(self.norm(self.vision(pixel_values)))  # (M, n * D)
        output = output.reshape(len(output), *self.start.shape)
        return self.ending((self.start + self.residual_scale * output).flatten(0, 1))

    def after_step(self) -> None:
        """As those of the ending's parts that have one."""
        for part in self.ending.modules():
            if hasattr(part, "after_step"):
                part.after_step()

    def vision_context(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """Context of `forward`, of images (M, 3, S, S): {"prefix": (M * n, D)}."""
        return {"prefix": self.encode_prefix(pixel_values)}

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `pixel_values` (M, 3, S, S), `ids` and `loss_mask` (B, T), True at caption tokens -> {"lm": scalar} (Eq. 1)."""
        check_loss_mask(batch["ids"], batch["loss_mask"], self.image_token_id)
        logits = self(batch["ids"], prefix=self.encode_prefix(batch["pixel_values"]))  # (B, T, V)
        return {"lm": next_token_loss(logits, batch["ids"], batch["loss_mask"])}
