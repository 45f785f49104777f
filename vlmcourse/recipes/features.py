"""Features of a frozen image encoder, computed once for each picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor, nn

from vlmcourse import world
from vlmcourse.parts.image_features import patch_features
from vlmcourse.world import prompts, tokenizer
from vlmcourse.world.digits import Picture
from vlmcourse.world.prompts import Frames, frame_pixels


@dataclass(frozen=True)
class FeatureCache:
    """Scenes -> features of an encoder that does not learn, kept in half precision.

    encoder  a module (B, 3, size, size) -> (B, P, D), or one that `patch_features` knows
    size     of the pictures, in pixels
    """

    encoder: nn.Module
    size: int
    features: dict[Picture, Tensor] = field(default_factory=dict, repr=False, compare=False)

    @torch.no_grad()
    def pictures(self, pictures: Sequence[Picture]) -> Tensor:
        """(N, P, D)"""
        new = [picture for picture in dict.fromkeys(pictures) if picture not in self.features]
        device = next((parameter.device for parameter in self.encoder.parameters()), None)
        for start in range(0, len(new), 256):
            part = new[start : start + 256]
            pixel_values = frame_pixels([(picture,) for picture in part], self.size)
            encoded = _encode(self.encoder, pixel_values.to(device)).half().cpu()
            self.features.update(zip(part, encoded))
        return torch.stack([self.features[picture] for picture in pictures]).float()

    def __call__(self, videos: Sequence[Frames]) -> dict:
        """{"features": (M, T, P, D)} of pictures (T = 1) and videos; a list of (T, P, D) if they differ in length."""
        features = self.pictures([picture for frames in videos for picture in frames])
        per_video = features.split([len(frames) for frames in videos])
        alike = len({video_features.shape for video_features in per_video}) == 1
        return {"features": torch.stack(per_video) if alike else per_video}


def _encode(encoder: nn.Module, pixel_values: Tensor) -> Tensor:
    known = hasattr(encoder, "tokens") or hasattr(encoder, "config")
    return patch_features(encoder, pixel_values) if known else encoder(pixel_values)


@dataclass(frozen=True)
class PixelSource:
    """Instead of FeatureCache, for an encoder that learns: videos -> {"pixel_values": ...}. size: in pixels"""

    size: int

    def __call__(self, videos: Sequence[Frames]) -> dict:
        return {"pixel_values": frame_pixels(videos, self.size)}


@lru_cache(4)
def feature_cache(encoder: nn.Module, size: int) -> FeatureCache:
    """One cache for each encoder, so that several runs on the same pictures encode them once."""
    return FeatureCache(encoder, size)


@dataclass(frozen=True)
class CachedFeatures:
    """The first `count` of `pairs` as batches, with features instead of pixels.

    pairs         world.Pairs, or anything with `text(index)`, `size` and `scene(index)` or `picture(index)`
    image_prefix  what stands for a picture in a text to continue; None: pairs for a contrastive loss
    """

    pairs: world.Pairs
    encoder: nn.Module
    count: int
    image_prefix: str | None = None

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """`features` (B, P, D), `ids` (B, T), and `positive_groups` (B,), or with an image prefix `loss_mask` (B, T)."""
        texts = [self.pairs.text(index) for index in indices]
        picture: Callable = getattr(self.pairs, "picture", None) or self.pairs.scene
        features = feature_cache(self.encoder, self.pairs.size).pictures(
            [picture(index) for index in indices]
        )
        if self.image_prefix is None:
            positive_groups = torch.tensor([texts.index(text) for text in texts])
            return {
                "features": features,
                "ids": tokenizer.encode(texts),
                "positive_groups": positive_groups,
            }
        batch = prompts.training_batch([(self.image_prefix,)] * len(texts), texts, self.pairs.size)
        del batch["pixel_values"]
        return {"features": features, **batch}
