"""Flamingo: a Visual Language Model for Few-Shot Learning (Alayrac et al. 2022, arXiv 2204.14198).

Images and videos of any size become the same small number of latents (Perceiver Resampler, Fig. 5). Before some layers of a
frozen language model, each token cross-attends to the latents of the last image before it, through a tanh gate that is zero
at first (GATED XATTN-DENSE, Fig. 4). Read with Figures 3 (the whole) and 7 (which image a token attends to).

Scaled down here: the sizes, the image encoder (CLIP's small ViT instead of an NFNet-F6), the language model (any decoder).
Kept: resampler with time embeddings, gates, phi, interleaving, frozen models on both sides.

The paper's ablations are this model with other parts: `Flamingo(..., block=..., resampler=...)`, `cross_attention_every`,
`media_rule`, a language model that is not frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vlmcourse.parts import language
from vlmcourse.parts.attention import Attention, cached_length
from vlmcourse.parts.grouped import GroupedAttention
from vlmcourse.parts.layers import TanhGate, init_weights
from vlmcourse.parts.masks import Mask, last_image, phi


class SquaredReLU(nn.Module):
    """max(x, 0) ** 2 (So et al. 2021, Primer), the paper's activation. Public code has GELU, Idefics ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu().square()


@dataclass(frozen=True)
class FlamingoConfig:
    """In the margin: the paper's Sec. A.1; where its three sizes differ, Flamingo-3B."""

    image_token_id: int  # of <image>, one per image or video
    vision_width: int  # of the image features. paper: 1536
    latents: int = 8  # R, per image or video. paper: 64
    resampler_depth: int = 2  # paper: 6
    resampler_heads: int = 4  # paper: 16
    resampler_head_width: int = 32  # paper: 96
    frames: int = 8  # time embeddings, interpolated for longer videos. paper: 8
    cross_attention_every: int = 1  # a block before each k-th layer. paper: 1 (9B: 4, 80B: 7)
    heads: int = 4  # paper: 16
    head_width: int = 32  # paper: 128
    feedforward_multiplier: int = 4  # paper: 4
    activation: type[nn.Module] = SquaredReLU
    media_rule: Callable[[Tensor, Tensor], Mask] = last_image  # paper's ablation: images_so_far
    image_token_attends: bool = True  # does <image> attend to its image? Yes in all public code
    trainable_token_ids: tuple[int, ...] = ()  # ids with trained word embeddings. paper: <EOC>
    gate_lr_scale: float = 1.0  # see TanhGate. paper: 1
    residual_scale: tuple[
        float, ...
    ] = ()  # of each block's output; not in the paper, where it is 1


def feedforward(width: int, multiplier: int, activation: type[nn.Module]) -> nn.Sequential:
    """Two linear layers without biases."""
    hidden = multiplier * width
    return nn.Sequential(
        nn.Linear(width, hidden, False), activation(), nn.Linear(hidden, width, False)
    )


class ResamplerLayer(nn.Module):
    """One layer of the resampler: the latents attend to features and latents, concatenated (Fig. 5)."""

    def __init__(self, config: FlamingoConfig):
        super().__init__()
        c, width = config, config.vision_width
        self.norm_features, self.norm_latents, self.norm = (nn.LayerNorm(width) for _ in range(3))
        self.attention = Attention(
            width, c.resampler_heads, head_width=c.resampler_head_width, bias=False
        )
        self.feedforward = feedforward(width, c.feedforward_multiplier, c.activation)

    def forward(self, latents: Tensor, features: Tensor) -> Tensor:
        """Latents (M, R, D) and features (M, K, D) -> (M, R, D)."""
        x = self.norm_latents(latents)
        latents = latents + self.attention(x, torch.cat([self.norm_features(features), x], dim=1))
        return latents + self.feedforward(self.norm(latents))


class PerceiverResampler(nn.Module):
    """Features of M images or videos (M, T, P, D) -> latents (M, R, D) (Sec. 3.1). Time has embeddings; positions are in the features."""

    def __init__(self, config: FlamingoConfig):
        super().__init__()
        c = config
        # Small: latents as large as the features mask what they attend to (public code has a standard deviation of 1).
        self.latents = nn.Parameter(0.02 * torch.randn(c.latents, c.vision_width))
        self.time_embeddings = nn.Parameter(0.1 * torch.randn(c.frames, c.vision_width))
        self.layers = nn.ModuleList(ResamplerLayer(c) for _ in range(c.resampler_depth))
        self.norm = nn.LayerNorm(c.vision_width)
        init_weights(self)

    def frame_embeddings(self, count: int) -> Tensor:
        """Time embeddings (T, D) of `count` frames: the first ones, or all, interpolated for a longer video."""
        if count <= len(self.time_embeddings):
            return self.time_embeddings[:count]
        table = self.time_embeddings.T[None]
        return interpolate(table, count, mode="linear", align_corners=True)[0].T

    def forward(self, features: Tensor) -> Tensor:
        """(M, T, P, D) -> (M, R, D). Raises ValueError for other shapes."""
        if features.dim() != 4 or not features.shape[1] or not features.shape[2]:
            raise ValueError(
                f"features are {tuple(features.shape)}; expected (pictures, frames, patches, width) with at least "
                "one frame and one patch. A picture is a film of one frame."
            )
        x = (features + self.frame_embeddings(features.shape[1])[:, None]).flatten(1, 2)
        latents = self.latents.expand(len(x), -1, -1)
        for layer in self.layers:
            latents = layer(latents, x)  # x (M, T * P, D)
        return self.norm(latents)


class GatedXattnDense(nn.Module):
    """GATED XATTN-DENSE (Fig. 4): y + tanh(a) attention(y, latents), then y + tanh(b) feed-forward(y); a = b = 0 at first.

    residual_scale  multiplies both outputs. The hidden states of a language model may grow thirty-fold from layer to layer;
                    set to their size, it lets all gates open alike
    """

    residual_scale = 1.0

    def __init__(self, width: int, config: FlamingoConfig):
        super().__init__()
        c = config
        self.norm, self.norm_feedforward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = GroupedAttention(width, c.heads, c.vision_width, c.head_width, bias=False)
        self.feedforward = feedforward(width, c.feedforward_multiplier, c.activation)
        self.gate, self.gate_feedforward = TanhGate(c.gate_lr_scale), TanhGate(c.gate_lr_scale)
        init_weights(self)

    def forward(self, y: Tensor, latents: Tensor, media_mask: Tensor) -> Tensor:
        """y (B, T, D), latents (B, N, R, C), media_mask (B, T, N) booleans: token attends to image -> (B, T, D).

        The attention adds exactly zero to a token that attends to no image; the feed-forward still applies.
        """
        if latents.shape[1]:
            attended = self.attention(self.norm(y), latents, media_mask)
            y = y + self.gate(self.residual_scale * attended)
        return y + self.gate_feedforward(
            self.residual_scale * self.feedforward(self.norm_feedforward(y))
        )


class Flamingo(nn.Module):
    """A language model with gated cross-attention to images and videos.

    vision     module, pixels (M, 3, S, S) -> features (M, P, vision_width)
    lm         a decoder of transformers. Both are trained, unless they are frozen (parts.language.freeze)
    block      (width of the language model, config) -> module like GatedXattnDense
    resampler  (config) -> module like PerceiverResampler
    Raises ValueError for a language model without room for a block.
    """

    def __init__(
        self,
        config: FlamingoConfig,
        vision: nn.Module,
        lm: nn.Module,
        block: Callable[[int, FlamingoConfig], nn.Module] = GatedXattnDense,
        resampler: Callable[[FlamingoConfig], nn.Module] = PerceiverResampler,
    ):
        super().__init__()
        self.config, self.vision, self.lm = config, vision, language.check_decoder(lm)
        depth, interval = len(language.decoder_layers(lm)), config.cross_attention_every
        if not (layers := [layer for layer in range(depth) if (layer + 1) % interval == 0]):
            raise ValueError(
                f"a block before every {interval}th layer of {depth} is none; expected `cross_attention_every` from 1 "
                f"to {depth}."
            )
        self.resampler = resampler(config)
        width = language.width(lm)
        self.blocks = nn.ModuleDict({str(layer): block(width, config) for layer in layers})
        for module, scale in zip(self.blocks.values(), config.residual_scale):
            module.residual_scale = scale  # type: ignore[assignment]
        self.new_embeddings = None  # initialised from the language model's
        if config.trainable_token_ids:
            words = lm.get_input_embeddings().weight[list(config.trainable_token_ids)]
            self.new_embeddings = nn.Parameter(words.detach().clone())
        self.handles = language.insert_cross_attention(
            lm, {int(layer): module for layer, module in self.blocks.items()}
        )

    def encode_images(self, media: Tensor | Sequence[Tensor]) -> list[Tensor]:
        """Images (3, S, S) and videos (T, 3, S, S), mixed -> features (T, P, D) of each, T = 1 for an image.

        Raises ValueError for a video without frames.
        """
        videos = [medium if medium.dim() == 4 else medium[None] for medium in media]
        if empty := [number for number, video in enumerate(videos) if not len(video)]:
            raise ValueError(
                f"film {empty[0]} has no frames; expected at least one. A picture is a film of one frame."
            )
        if not videos:
            return []
        return list(self.vision(torch.cat(videos)).split([len(video) for video in videos]))

    def resample(self, features: Tensor | Sequence[Tensor]) -> Tensor:
        """Features (M, T, P, D), or a list of (T, P, D) of any T and P -> latents (M, R, D). Equal shapes are batched."""
        if isinstance(features, Tensor):
            return self.resampler(features)
        by_shape: dict[torch.Size, list[int]] = {}
        for number, frames in enumerate(features):
            by_shape.setdefault(frames.shape, []).append(number)
        batches = by_shape.values()
        latents = [self.resampler(torch.stack([features[n] for n in batch])) for batch in batches]
        order = torch.tensor([n for batch in batches for n in batch], device=latents[0].device)
        return torch.cat(latents)[order.argsort()]

    def vision_context(self, media: Tensor | Sequence[Tensor]) -> dict[str, Tensor]:
        """Context of `forward`, of images (M, 3, S, S) or a list of images and videos: {"media": (M, R, D)}, {} without any."""
        return {"media": self.resample(self.encode_images(media))} if len(media) else {}

    def text_time(self, ids: Tensor) -> Tensor:
        """phi, the number of the image that each token of ids (B, T) belongs to, from 1; 0 before the first (Sec. 3.2)."""
        is_image = ids == self.config.image_token_id
        return phi(is_image) if self.config.image_token_attends else phi(is_image) - is_image.long()

    def media_mask(self, ids: Tensor, media: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
        """Latents (B, N, R, D) of each page, and which of them tokens from `start` on attend to: (B, T - start, N) booleans.

        Pages with fewer images are padded. Images that none of these tokens attends to are left out, so generating a token
        costs one image.
        """
        is_image = ids == self.config.image_token_id
        counts = is_image.sum(1, keepdim=True)  # (B, 1)
        numbers = torch.arange(1, int(counts.max()) + 1, device=ids.device)  # of images, from 1
        latents = media.new_zeros(len(ids), len(numbers), *media.shape[1:])
        latents[numbers <= counts] = media  # (B, N, R, D)
        rule = self.config.media_rule(self.text_time(ids), numbers)
        mask = rule.query_slice(start).to_bool()[:, 0]  # (B, T - start, N)
        used = mask.any(dim=(0, 1)).nonzero()[:, 0].tolist()
        window = slice(used[0], used[-1] + 1) if used else slice(0, 0)
        return latents[:, window], mask[..., window]

    def validate(self, ids: Tensor, media: int) -> None:
        """Raises ValueError unless ids (B, T) have one image token per image and no more positions than the language model."""
        if (tokens := int((ids == self.config.image_token_id).sum())) != media:
            raise ValueError(
                f"{tokens} image tags in the text for {media} pictures; expected one picture (or film) for each "
                "tag, in reading order. A tag without a picture would have nothing to attend to."
            )
        positions = getattr(self.lm.config, "max_position_embeddings", None)
        if positions is not None and ids.shape[1] > positions:
            raise ValueError(
                f"pages of {ids.shape[1]} tokens; this language model has positions for {positions}. "
                "Use fewer or shorter examples."
            )

    def forward(
        self,
        ids: Tensor,
        cache=None,
        padding_mask: Tensor | None = None,
        media: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, new, V) of the tokens of ids (B, T) that the cache lacks.

        padding_mask  (B, T) booleans, False at padding (on the left when generating)
        media         (M, R, D) of `vision_context`, for all image tokens of ids in reading order
        """
        if media is None:
            media = torch.empty(0, 1, self.config.vision_width, device=ids.device)
        self.validate(ids, len(media))
        start = cached_length(cache)
        return language.logits(
            self.lm,
            self.embed(ids[:, start:]),
            language.extend_padding_mask(padding_mask, ids),
            cache,
            media=self.media_mask(ids, media, start),
        )

    def embed(self, ids: Tensor) -> Tensor:
        """Word embeddings of ids (B, T), those of `trainable_token_ids` our own: (B, T, D)."""
        words = language.embed(self.lm, ids)
        if self.new_embeddings is not None:
            for token, vector in zip(self.config.trainable_token_ids, self.new_embeddings):
                words = torch.where((ids == token)[..., None], vector, words)
        return words

    def losses(self, batch: dict) -> dict[str, Tensor]:
        """batch: `ids` and `loss_mask` (B, T), True at tokens to predict; `pixel_values` (see `vision_context`) or `features`
        (see `resample`) -> {"lm": scalar} (Eq. 1). Raises ValueError for pages that `validate` refuses."""
        ids, media = batch["ids"], batch["features" if "features" in batch else "pixel_values"]
        self.validate(ids, len(media))
        language.check_loss_mask(ids, batch["loss_mask"], self.config.image_token_id)
        cached = "features" in batch
        context = {"media": self.resample(media)} if cached else self.vision_context(media)
        return {"lm": language.next_token_loss(self(ids, **context), ids, batch["loss_mask"])}
