"""Patch features of a frozen image encoder, as BLIP-2, Flamingo, OpenFlamingo and LLaVA read them."""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor, nn

from vlmcourse.parts.language import freeze
from vlmcourse.parts.vision import check_pixels


def patch_features(vision: nn.Module, pixel_values: Tensor) -> Tensor:
    """Features (B, P, C) of images (B, 3, S, S) by an encoder of this course or of transformers. Raises ValueError for other pixels."""
    if hasattr(vision, "tokens"):
        check_pixels(pixel_values, vision.image_size)
        return vision.tokens(pixel_values)
    return vision(pixel_values=pixel_values).last_hidden_state


def batch_features(vision: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """`features` (B, P, C) of a batch, cached ones of a frozen encoder, or those of its `pixel_values`."""
    if "features" in batch:
        return batch["features"]
    return patch_features(vision, batch["pixel_values"])


class ImageFeatures(nn.Module):
    """A frozen copy of an image encoder without its last blocks and its last LayerNorm: (B, 3, S, S) -> (B, P, C).

    vision        a ViT or ResNet of parts.vision, or a vision model of transformers
    skip_blocks   last blocks that are left out. BLIP-2: 1, "the second last layer's output features" (Sec. 3.4). CLIP is
                  trained by its class token only, so what its last block computes for patches is untrained
    class_token   False: without the class token's state (OpenFlamingo)
    standardize   each feature vector to mean 0 and variance 1 (Flamingo here)
    Raises ValueError for an encoder with too few blocks.
    """

    def __init__(
        self,
        vision: nn.Module,
        skip_blocks: int = 1,
        class_token: bool = True,
        standardize: bool = False,
    ):
        super().__init__()
        self.vision, self.class_token = deepcopy(vision), class_token
        self.width = vision.width if hasattr(vision, "tokens") else vision.config.hidden_size
        self.image_size = (
            vision.image_size if hasattr(vision, "tokens") else vision.config.image_size
        )
        lists = [part for part in self.vision.modules() if isinstance(part, nn.ModuleList)]
        blocks = max(lists, key=len, default=nn.ModuleList())
        if skip_blocks and len(blocks) <= skip_blocks:
            raise ValueError(
                f"{type(vision).__name__} has {len(blocks)} blocks, so {skip_blocks} can't be left out; expected at "
                f"least {skip_blocks + 1}, or skip_blocks=0 for the features of its last block."
            )
        if skip_blocks:
            del blocks[-skip_blocks:]
        for name in ("norm_out", "post_layernorm"):  # of parts.vision, of transformers
            if hasattr(self.vision, name):
                setattr(self.vision, name, nn.Identity())
        self.norm = nn.LayerNorm(self.width, elementwise_affine=False) if standardize else None
        freeze(self)

    def tokens(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, P, C)."""
        features = patch_features(self.vision, pixel_values)
        features = features if self.class_token else features[:, 1:]
        return features if self.norm is None else self.norm(features)

    forward = tokens
