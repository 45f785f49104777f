"""Frozen. Multimodal Few-Shot Learning with Frozen Language Models (Tsimpoukelli et al. 2021, arXiv 2106.13884).

A picture becomes n vectors that stand in the text like words. An image encoder learns to write them, by gradients that
cross a language model which itself never changes. Read with Figures 2 and 3 of the paper.

Scaled down here: the encoder is a small Vision Transformer in the place of an NF-ResNet-50, and the language model is
whatever decoder one gives it (the paper's has 7 billion parameters). Kept: the encoder is trained from scratch, the whole of it; its
summary is mapped linearly to n vectors; the loss is on caption tokens only; several pictures at inference after training on one.

The rows of the paper's tables are this model with other parts, not other models: *finetuned* is Frozen(config, lm) without
`freeze(lm)`; *scratch* the same with an untrained lm; *train-blind* trains on grey pictures (batch["pixels"] * 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vlmcourse.parts.language import (
    SoftPromptModel,
    check_decoder,
    embedding_rms,
    next_token_loss,
    width,
)
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
    """`encode_prefix` writes prefix vectors; `forward` (Prefixed) reads them where the text has slots; `losses` trains on captions.

    lm     a decoder of transformers; pass it through `parts.language.freeze` first, or it learns too
    start  (n, D) where the vectors begin, such as the mean of words that might stand there. What the encoder adds is small at
           first, and normalised over the batch, so that pictures differ from the first step on. Default: nowhere, as in the
           paper. From an average word, captions alone lead to vectors that are like words; from nowhere they lead to others,
           to which the language model lends little (lesson 05 compares).
    ending what becomes of the vectors at last, such as parts.word_hull.WordHull. Default: nothing, as in the paper
    """

    def __init__(
        self,
        config: FrozenConfig,
        lm: nn.Module,
        start: Tensor | None = None,
        ending: nn.Module | None = None,
    ):
        super().__init__()
        self.config, self.image_token_id = config, config.image_token_id
        self.lm = check_decoder(lm)
        self.ending = ending or nn.Identity()
        self.vision = ViT(
            config.image_size,
            config.patch,
            config.vision_width,
            config.vision_depth,
            config.vision_heads,
        )
        self.language_projection = nn.Linear(
            config.vision_width, config.prefix_length * width(lm)
        )  # Sec. 3.1, "visual prefix"
        self.norm = (
            nn.Identity() if start is None else nn.BatchNorm1d(config.vision_width, affine=False)
        )
        self.register_buffer(
            "start",
            torch.zeros(config.prefix_length, width(lm))
            if start is None
            else start.detach().clone(),
        )
        if start is not None:
            # The normalised summary has a root mean square of 1, so what is added to `start` is a fraction of a word.
            self.residual_scale = config.residual_scale * embedding_rms(lm)
            nn.init.normal_(self.language_projection.weight, std=config.vision_width**-0.5)
            nn.init.zeros_(self.language_projection.bias)
        else:
            self.residual_scale = 1.0

    def encode_prefix(self, pixel_values: Tensor) -> Tensor:
        """Pictures (M, 3, S, S), normalised, in the order of their slots -> prefix vectors (M * n, D)."""
        check_pixels(pixel_values, self.config.image_size)
        written = self.language_projection(self.norm(self.vision(pixel_values))).reshape(
            len(pixel_values), *self.start.shape
        )  # (M, n, D)
        return self.ending((self.start + self.residual_scale * written).flatten(0, 1))

    def after_step(self) -> None:
        if hasattr(self.ending, "after_step"):
            self.ending.after_step()

    def vision_context(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """What `forward` needs to know of the pictures."""
        return {"prefix": self.encode_prefix(pixel_values)}

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `pixel_values` (M, 3, S, S), `ids` (B, T), `loss_mask` (B, T) True at caption tokens -> {"caption": scalar}.

        Eq. 1: the log-likelihood of the caption given the picture; slots, prompts and padding are not scored.
        """
        if (
            batch["loss_mask"][:, 0].any()
            or (batch["loss_mask"] & (batch["ids"] == self.image_token_id)).any()
        ):
            raise ValueError("scored holds a first token or a slot; expected caption tokens only.")
        said = self(batch["ids"], prefix=self.encode_prefix(batch["pixel_values"]))  # (B, T, V)
        return {"lm": next_token_loss(said, batch["ids"], batch["loss_mask"])}
