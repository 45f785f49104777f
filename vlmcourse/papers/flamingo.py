"""Flamingo: a Visual Language Model for Few-Shot Learning (Alayrac et al. 2022, arXiv 2204.14198).

A language model that stays as it is looks aside: before some of its layers every word may ask the last picture before it,
through a gate that starts closed. Pictures and films, however large, become the same small number of latents first.
Read with Figures 3 (the whole), 5 (resampler), 4 (gated cross-attention) and 7 (who sees which picture).

Scaled down here: the sizes, the vision tower (CLIP's small ViT in the place of an NFNet-F6), the language model, which is
whatever decoder one gives. Kept: resampler with time embeddings, gates, phi, the interleaving, frozen models left and right.

The rows of the paper's ablations are this model with other parts: `Flamingo(..., block=..., resampler=...)`, `cross_attention_every`, `media_rule`,
a language model that isn't frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vlmcourse.parts.attention import Attention, cached_length
from vlmcourse.parts.grouped import GroupedAttention
from vlmcourse.parts.language import (
    check_decoder,
    decoder_layers,
    embed,
    extend_padding_mask,
    insert_cross_attention,
    logits,
    next_token_loss,
    width,
)
from vlmcourse.parts.layers import TanhGate, init_weights
from vlmcourse.parts.masks import Mask, last_image, phi


class SquaredReLU(nn.Module):
    """max(x, 0) ** 2 (So et al. 2021, Primer): the paper's activation. Public code has GELU, Idefics ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu().square()


@dataclass(frozen=True)
class FlamingoConfig:
    """In the margin: the paper's Sec. A.1; where its three sizes differ, Flamingo-3B."""

    image_token_id: int  # id of <image>, the word that stands for a picture
    vision_width: int  # D of a feature. paper: 1536
    latents: int = 8  # R, per picture or film. paper: 64
    resampler_depth: int = 2  # paper: 6
    resampler_heads: int = 4  # paper: 16
    resampler_head_width: int = 32  # paper: 96
    frames: int = 8  # time embeddings; longer films stretch them. paper: 8
    cross_attention_every: int = 1  # a block before each k-th layer. paper: 1 (9B: 4, 80B: 7)
    heads: int = 4  # paper: 16
    head_width: int = 32  # paper: 128
    feedforward_multiplier: int = 4  # of the feed-forwards. paper: 4
    activation: type[nn.Module] = SquaredReLU  # paper: squared ReLU
    media_rule: Callable[[Tensor, Tensor], Mask] = last_image  # paper's ablation: images_so_far
    image_token_attends: bool = True  # may <image> itself look at its picture? The paper leaves it open; all public code says yes
    trainable_token_ids: tuple[int, ...] = ()  # ids whose input rows learn. paper: <EOC>
    gate_lr_scale: float = 1.0  # of the gates, see TanhGate. paper: 1
    residual_scale: tuple[
        float, ...
    ] = ()  # of each block: what an open gate adds is multiplied by this. Not in the paper, where it is 1


def feedforward(
    width: int, feedforward_multiplier: int, activation: type[nn.Module]
) -> nn.Sequential:
    """As all attention here, without biases."""
    return nn.Sequential(
        nn.Linear(width, feedforward_multiplier * width, False),
        activation(),
        nn.Linear(feedforward_multiplier * width, width, False),
    )


class ResamplerLayer(nn.Module):
    """One layer of the resampler: latents ask the features and each other, at once (Fig. 5)."""

    def __init__(
        self,
        width: int,
        heads: int,
        head_width: int,
        feedforward_multiplier: int,
        activation: type[nn.Module],
    ):
        super().__init__()
        self.norm_features, self.norm_latents, self.norm = (nn.LayerNorm(width) for _ in range(3))
        self.attention = Attention(width, heads, head_width=head_width, bias=False)
        self.feedforward = feedforward(width, feedforward_multiplier, activation)

    def forward(self, latents: Tensor, features: Tensor) -> Tensor:
        """(M, R, D), (M, K, D) -> (M, R, D). Keys and values of features *and* latents: no self-attention is needed."""
        x = self.norm_latents(latents)
        latents = latents + self.attention(x, torch.cat([self.norm_features(features), x], dim=1))
        return latents + self.feedforward(self.norm(latents))


class PerceiverResampler(nn.Module):
    """Features of a picture or a film, any number of them, become R latents: (M, T, P, D) -> (M, R, D) (Sec. 3.1).

    Each of the M by itself. Time has embeddings, space has none: the features know their places from the vision tower.
    """

    def __init__(self, config: FlamingoConfig):
        super().__init__()
        c = config
        # Small: latents that start as large as the features stay in the way of what they find (public code has a deviation of 1).
        self.latents = nn.Parameter(0.02 * torch.randn(c.latents, c.vision_width))
        self.time_embeddings = nn.Parameter(0.1 * torch.randn(c.frames, c.vision_width))
        self.layers = nn.ModuleList(
            ResamplerLayer(
                c.vision_width,
                c.resampler_heads,
                c.resampler_head_width,
                c.feedforward_multiplier,
                c.activation,
            )
            for _ in range(c.resampler_depth)
        )
        self.norm = nn.LayerNorm(c.vision_width)
        init_weights(self)

    def frame_embeddings(self, count: int) -> Tensor:
        """Embeddings of `count` frames: the first ones, or, for a longer film, all, stretched: (T, D)."""
        if count <= len(self.time_embeddings):
            return self.time_embeddings[:count]
        return interpolate(self.time_embeddings.T[None], count, mode="linear", align_corners=True)[
            0
        ].T

    def forward(self, features: Tensor) -> Tensor:
        if features.dim() != 4 or not features.shape[1] or not features.shape[2]:
            raise ValueError(
                f"features are {tuple(features.shape)}; expected (pictures, frames, patches, width) with at least "
                "one frame and one patch. A picture is a film of one frame."
            )
        features = (features + self.frame_embeddings(features.shape[1])[:, None]).flatten(
            1, 2
        )  # (M, T * P, D)
        latents = self.latents.expand(len(features), -1, -1)
        for layer in self.layers:
            latents = layer(latents, features)
        return self.norm(latents)


class GatedXattnDense(nn.Module):
    """GATED XATTN-DENSE (Fig. 4): y + tanh(a) attention(y, latents), then y + tanh(b) feed-forward(y); a = b = 0 at first.

    What runs through a language model may grow from layer to layer: thirty-fold in the course's tiny one. What a block adds is
    noise to an early layer then, and nothing to a late one. With `residual_scale`, set to the size of what is there, gates open alike.
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

    def forward(self, y: Tensor, latents: Tensor, sees: Tensor) -> Tensor:
        """y (B, T, D), latents (B, N, R, C), sees (B, T, N): may this word look at that picture? -> (B, T, D).

        A word that sees no picture gets exactly nothing from the attention; the feed-forward still works on it.
        """
        if latents.shape[1]:
            y = y + self.gate(self.residual_scale * self.attention(self.norm(y), latents, sees))
        return y + self.gate_feedforward(
            self.residual_scale * self.feedforward(self.norm_feedforward(y))
        )


class Flamingo(nn.Module):
    """`vision_context` makes latents of pictures and films; `forward` reads them where the text has tags; `losses` trains on pages.

    vision     module, pixels (M, 3, S, S) -> features (M, P, vision_width)
    lm         a decoder of transformers. Pass both through `parts.language.freeze` first, or they learn too
    block      (width of the language model, config) -> module like GatedBlock;  resampler  (config) -> module like Resampler
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
        self.config, self.vision, self.lm = config, vision, check_decoder(lm)
        numbers = [
            number
            for number in range(len(decoder_layers(lm)))
            if (number + 1) % config.cross_attention_every == 0
        ]
        if not numbers:
            raise ValueError(
                f"a block before every {config.cross_attention_every}th layer of {len(decoder_layers(lm))} is none; expected `cross_attention_every` from 1 "
                f"to {len(decoder_layers(lm))}."
            )
        self.resampler = resampler(config)
        self.blocks = nn.ModuleDict({str(number): block(width(lm), config) for number in numbers})
        for module, residual_scale in zip(self.blocks.values(), config.residual_scale):
            setattr(module, "residual_scale", residual_scale)  # noqa: B010 - declared by GatedXattnDense
        rows = lm.get_input_embeddings().weight[list(config.trainable_token_ids)]
        self.rows = (
            nn.Parameter(rows.detach().clone()) if config.trainable_token_ids else None
        )  # they start as the model has them
        self.handles = insert_cross_attention(
            lm, {int(number): module for number, module in self.blocks.items()}
        )

    def encode_images(self, pictures: Tensor | Sequence[Tensor]) -> list[Tensor]:
        """Pictures (3, S, S) and films (T, 3, S, S), in any mixture -> features (T, P, D) of each, T = 1 for a picture."""
        films = [picture if picture.dim() == 4 else picture[None] for picture in pictures]
        if empty := [number for number, film in enumerate(films) if not len(film)]:
            raise ValueError(
                f"film {empty[0]} has no frames; expected at least one. A picture is a film of one frame."
            )
        return (
            list(self.vision(torch.cat(films)).split([len(film) for film in films]))
            if films
            else []
        )

    def resample(self, features: Tensor | Sequence[Tensor]) -> Tensor:
        """Features (M, T, P, D), or a list of (T, P, D) of any T and P -> latents (M, R, D). Equal sizes go together."""
        if isinstance(features, Tensor):
            return self.resampler(features)
        alike: dict[torch.Size, list[int]] = {}
        for number, one in enumerate(features):
            alike.setdefault(one.shape, []).append(number)
        made = torch.cat(
            [
                self.resampler(torch.stack([features[number] for number in numbers]))
                for numbers in alike.values()
            ]
        )
        order = torch.tensor(
            [number for numbers in alike.values() for number in numbers], device=made.device
        )
        return made[order.argsort()]

    def vision_context(self, pictures: Tensor | Sequence[Tensor]) -> dict[str, Tensor]:
        """What `forward` needs to know of pictures (M, 3, S, S), or of a list of pictures and films."""
        return {"media": self.resample(self.encode_images(pictures))} if len(pictures) else {}

    def text_time(self, ids: Tensor) -> Tensor:
        """phi: which picture each token of ids (B, T) belongs to, counted from 1; 0 before the first (Sec. 3.2)."""
        tags = ids == self.config.image_token_id
        return phi(tags) if self.config.image_token_attends else phi(tags) - tags.long()

    def media_mask(self, ids: Tensor, media: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
        """Latents (B, N, R, D) of each page, and who may look: booleans (B, T - start, N), for the tokens from `start` on.

        Pages with fewer pictures are filled up with latents whose numbers no token has. Pictures that none of these tokens
        sees are left out: a word that is added to a page pays for one picture, not for all.
        """
        tags, (R, D) = ids == self.config.image_token_id, media.shape[1:]
        counts = tags.sum(1, keepdim=True)  # (B, 1)
        most = int(counts.max())
        latents = media.new_zeros(len(ids), most, R, D)
        latents[torch.arange(most, device=ids.device) < counts] = media  # (B, N, R, D)
        number = torch.arange(1, most + 1, device=ids.device)
        sees = (
            self.config.media_rule(self.text_time(ids), number).query_slice(start).to_bool()[:, 0]
        )  # (B, T - start, N)
        seen = sees.any(dim=(0, 1)).nonzero()[:, 0].tolist()
        kept = slice(seen[0], seen[-1] + 1) if seen else slice(0, 0)
        return latents[:, kept], sees[..., kept]

    def validate(self, ids: Tensor, pictures: int) -> None:
        """Raises ValueError, before anything is computed, unless pages and pictures fit each other and the language model."""
        if (tags := int((ids == self.config.image_token_id).sum())) != pictures:
            raise ValueError(
                f"{tags} image tags in the text for {pictures} pictures; expected one picture (or film) for each "
                "tag, in reading order. A tag without a picture would have nothing to look at."
            )
        most = getattr(self.lm.config, "max_position_embeddings", None)
        if most is not None and ids.shape[1] > most:
            raise ValueError(
                f"pages of {ids.shape[1]} tokens; this language model has positions for {most}. "
                "Use fewer or shorter examples."
            )

    def forward(
        self,
        ids: Tensor,
        cache=None,
        media: Tensor | None = None,
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits of the part of ids (B, T) that the cache doesn't hold yet: (B, new, V).

        media  of `vision_context`, for all tags of ids in reading order
        real   (B, T) booleans, False at padding (on the left, when writing)
        """
        media = (
            torch.empty(0, 1, self.config.vision_width, device=ids.device)
            if media is None
            else media
        )
        self.validate(ids, len(media))
        start = cached_length(cache)
        return logits(
            self.lm,
            self.embed(ids[:, start:]),
            extend_padding_mask(padding_mask, ids),
            cache,
            media=self.media_mask(ids, media, start),
        )

    def embed(self, ids: Tensor) -> Tensor:
        """Word embeddings: the language model's, but for `trainable_token_ids`: (B, T) -> (B, T, D)."""
        words = embed(self.lm, ids)
        for number, row in zip(
            self.config.trainable_token_ids, () if self.rows is None else self.rows
        ):
            words = torch.where((ids == number)[..., None], row, words)
        return words

    def losses(self, batch: dict) -> dict[str, Tensor]:
        """batch: `ids` (B, T), `loss_mask` (B, T) True at tokens to predict, and `pixel_values` (as for `vision_context`) or, where the tower's
        work is kept, `features` (as for `resample`) -> {"text": scalar}. Eq. 1: each word given the pictures before it."""
        pictures = batch["features"] if "features" in batch else batch["pixel_values"]
        self.validate(batch["ids"], len(pictures))
        if (
            batch["loss_mask"][:, 0].any()
            or (batch["loss_mask"] & (batch["ids"] == self.config.image_token_id)).any()
        ):
            raise ValueError(
                "scored holds a first token or an image tag; expected words only: where a picture stands is given."
            )
        media = (
            self.resample(pictures)
            if "features" in batch
            else self.vision_context(pictures).get("media")
        )
        return {
            "lm": next_token_loss(self(batch["ids"], media=media), batch["ids"], batch["loss_mask"])
        }
