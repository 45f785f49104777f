"""The Querying Transformer of BLIP-2 (Li et al. 2023, arXiv 2301.12597, Sec. 3.1 and Fig. 2).

A few learnt queries look at an image and carry away what a text would say of it. Queries and text share one self-attention;
who may look at whom there is a mask, and the three masks are the three uses of the model: MASKS.

Scaled down here: the sizes (the paper's are in the margin), and weights that start untrained in the place of BERT's. Kept:
cross-attention of the queries alone, in every second layer; one feed-forward for queries and one for text.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vlmcourse.parts.attention import Attention
from vlmcourse.parts.language import freeze
from vlmcourse.parts.layers import FeedForward, check_ids, init_weights
from vlmcourse.parts.masks import Mask, bidirectional, multimodal_causal, padding_mask, unimodal
from vlmcourse.parts.vision import check_pixels


def matching(queries: int, text: int, device: torch.device | str | None = None) -> Mask:
    """Image-text matching: everybody sees everybody."""
    return bidirectional(queries + text, device)


Image = Tensor | list[tuple[Tensor, Tensor] | None]
"""What queries look at: features (B, P, C), or the keys and values that `QFormer.project_kv` made of them."""


def _number(image: Image) -> int:
    """How many images there are."""
    if isinstance(image, Tensor):
        return len(image)
    return next(len(projected[0]) for projected in image if projected is not None)


MASKS = {"itc": unimodal, "itm": matching, "itg": multimodal_causal}
"""Fig. 2, right: the rule (queries, text, device) -> Mask of each objective."""


def without_last_block(vision: nn.Module) -> nn.Module:
    """A frozen copy of an image encoder without its last block and what follows that: "the second last layer's output
    features", which the paper found slightly better (Sec. 3.4).

    vision  one of parts.vision, or a vision tower of transformers (CLIPVisionModel, ...)
    """
    vision = deepcopy(vision)
    blocks = max(
        (module for module in vision.modules() if isinstance(module, nn.ModuleList)),
        key=len,
        default=nn.ModuleList(),
    )
    if len(blocks) < 2:
        raise ValueError(
            f"{type(vision).__name__} has {len(blocks)} blocks, so none would be second-last; expected at least 2. "
            "Use freeze(vision) to read its last layer."
        )
    del blocks[-1]
    if hasattr(vision, "norm_out"):
        vision.norm_out = nn.Identity()
    return freeze(vision)


def patch_features(vision: nn.Module, pixel_values: Tensor) -> Tensor:
    """What an image encoder says of each patch: (B, 3, S, S) -> (B, P, C)."""
    if hasattr(vision, "tokens"):
        check_pixels(pixel_values, vision.image_size)
        return vision.tokens(pixel_values)
    return vision(pixel_values=pixel_values).last_hidden_state


@dataclass(frozen=True)
class QFormerConfig:
    """Sizes of the Q-Former. In the margin: the paper's Sec. 3.1 and 3.4, and its code."""

    vision_width: int  # width of the image encoder. paper: 1,408 (ViT-g), 1,024 (ViT-L)
    vocabulary: int | None  # paper: 30,523 (BERT's and [DEC]). None: no text side, as in stage 2
    cls_token_id: int = 6  # id that stands first in a text to be read, [CLS]
    dec_token_id: int = 8  # id that stands first in a text to be written, [DEC]
    pad_token_id: int = 0
    queries: int = 8  # paper: 32
    context: int = 32  # tokens a text may have. paper: 32 (BERT has positions for 512)
    width: int = 128  # paper: 768
    depth: int = 4  # paper: 12
    heads: int = 4  # paper: 12
    hidden: int | None = None  # paper: 4 * width
    cross_attention_every: int = 2  # paper: 2, cross-attention in layers 0, 2, 4, ...
    eps: float = 1e-12  # BERT's


class QFormerLayer(nn.Module):
    """One block of Fig. 2, in BERT's order: each sum is normalised after it is made."""

    def __init__(self, config: QFormerConfig, looks: bool):
        super().__init__()
        c = config
        self.attention, self.norm = Attention(c.width, c.heads), nn.LayerNorm(c.width, c.eps)
        self.cross_attention = Attention(c.width, c.heads, c.vision_width) if looks else None
        self.norm_cross_attention = nn.LayerNorm(c.width, c.eps) if looks else None
        self.feedforward_queries, self.norm_queries = (
            FeedForward(c.width, c.hidden or 4 * c.width),
            nn.LayerNorm(c.width, c.eps),
        )
        if c.vocabulary is not None:
            self.feedforward_text, self.norm_text = (
                FeedForward(c.width, c.hidden or 4 * c.width),
                nn.LayerNorm(c.width, c.eps),
            )

    def forward(
        self,
        x: Tensor,
        queries: int,
        image: Tensor | tuple[Tensor, Tensor] | None = None,
        mask: Tensor | None = None,
        cache: dict | None = None,
        first: int | None = None,
    ) -> Tensor:
        """x (B, L, D), of which the first `queries` are queries and the rest is text -> (B, L, D), or the `first` rows of it.

        image  features (B, P, C), or keys and values made of them by `vision_context.read`
        """
        rows = x[:, :first]
        if first is not None:  # the rows that nobody reads are only looked at
            mask = None if mask is None else mask[..., :first, :]
        x = self.norm(
            rows
            + self.attention(rows, context=None if first is None else x, mask=mask, cache=cache)
        )
        asking, text = x[:, :queries], x[:, queries:]
        parts = []
        if queries:
            if self.cross_attention is not None and self.norm_cross_attention is not None:
                asking = self.norm_cross_attention(
                    asking + self.cross_attention(asking, image)
                )  # queries alone look at the image
            parts.append(self.norm_queries(asking + self.feedforward_queries(asking)))
        if text.shape[1]:
            parts.append(self.norm_text(text + self.feedforward_text(text)))
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


class QFormer(nn.Module):
    """`forward` is the definition: queries and text in one pass under one mask. `see` and `read` compute parts of it:

    where the mask hides the text from the queries, `see` gives the queries alone; with the keys they leave in a cache, `read`
    gives the text that looks at them.
    """

    def __init__(self, config: QFormerConfig):
        super().__init__()
        c = self.config = config
        self.norm_image: nn.Module = nn.LayerNorm(
            c.vision_width
        )  # learns, though the image encoder doesn't
        self.queries = nn.Parameter(
            0.02 * torch.randn(c.queries, c.width)
        )  # all zero, they would stay alike for long
        self.norm = nn.LayerNorm(c.width, c.eps)
        self.layers = nn.ModuleList(
            QFormerLayer(c, layer % c.cross_attention_every == 0) for layer in range(c.depth)
        )
        init_weights(self)
        if c.vocabulary is not None:
            self.words = nn.Embedding(c.vocabulary, c.width)
            self.positions = nn.Parameter(0.02 * torch.randn(c.context, c.width))
            nn.init.normal_(self.words.weight, std=0.02)
            for layer in self.layers:  # alike at first, as both start from BERT's
                layer.feedforward_queries.load_state_dict(layer.feedforward_text.state_dict())

    def check(self, image: Image | None, ids: Tensor | None) -> None:
        """Raises ValueError, with what to do, for features or texts that this Q-Former can't take, or that don't pair up."""
        c = self.config
        if isinstance(image, Tensor) and (image.dim() != 3 or image.shape[-1] != c.vision_width):
            raise ValueError(
                f"image features are {tuple(image.shape)}; expected (batch, patches, {c.vision_width}). This Q-Former "
                f"was made for an image encoder of width {c.vision_width}: set QFormerConfig.vision_width to yours."
            )
        if ids is None:
            return
        if c.vocabulary is None:
            raise ValueError(
                "this Q-Former has no text side: stage 2 leaves it behind. Give texts to the language model."
            )
        check_ids(ids, c.vocabulary, c.context)
        if image is not None and (images := _number(image)) != len(ids):
            raise ValueError(
                f"{images} images and {len(ids)} texts; expected one text for each image, in the same order."
            )

    def project_kv(self, image: Tensor) -> list[tuple[Tensor, Tensor] | None]:
        """Keys and values of features (B, P, C) for each layer that looks at them, so that several passes share them."""
        self.check(image, None)
        image = self.norm_image(image)
        return [
            layer.cross_attention.project_kv(image) if layer.cross_attention is not None else None
            for layer in self.layers
        ]

    def _run(
        self,
        x: Tensor,
        queries: int,
        image: Image | None = None,
        mask: Tensor | None = None,
        cache: dict | None = None,
        first: int | None = None,
    ) -> Tensor:
        x = self.norm(x)
        image = (
            self.project_kv(image)
            if isinstance(image, Tensor)
            else image or [None] * len(self.layers)
        )
        for layer, seen in zip(self.layers[:-1], image):
            x = layer(x, queries, seen, mask, cache)
        return self.layers[-1](x, queries, image[-1], mask, cache, first)

    def embed(self, ids: Tensor) -> Tensor:
        """Words and their places: (B, T) ids -> (B, T, D)."""
        return self.words(ids) + self.positions[: ids.shape[1]]

    def mask(self, objective: str, ids: Tensor) -> Tensor:
        """Who may look at whom, of queries and these texts, padding left out: booleans (B, 1, R + T, R + T)."""
        R = self.config.queries
        is_token = torch.cat(
            [ids.new_ones(len(ids), R, dtype=torch.bool), ids != self.config.pad_token_id], dim=1
        )
        return (MASKS[objective](R, ids.shape[1], ids.device) & padding_mask(is_token)).to_bool()

    def forward(
        self, image: Image, ids: Tensor, mask: Tensor, first: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """image (B, P, C) or its `project_kv`, ids (B, T), mask of `mask` -> queries (B, R, D), text (B, T, D); or `first` rows."""
        self.check(image, ids)
        x = torch.cat(
            [self.queries.expand(len(ids), -1, -1), self.embed(ids)], dim=1
        )  # (B, R + T, D)
        x = self._run(x, R := self.config.queries, image, mask, first=first)
        return x[:, :R], x[:, R:]

    def query_states(self, image: Image, cache: dict | None = None) -> Tensor:
        """The queries alone: (B, P, C) or its `project_kv` -> (B, R, D). Their keys stay in `cache`, if there is one."""
        image = self.project_kv(image) if isinstance(image, Tensor) else image
        return self._run(
            self.queries.expand(_number(image), -1, -1), self.config.queries, image, cache=cache
        )

    def text_states(
        self, ids: Tensor, mask: Tensor, cache: dict | None = None, first: int | None = None
    ) -> Tensor:
        """Text alone, (B, T) -> (B, T, D); or after a cache of `see`, which it looks at, with a mask (B, 1, T, R + T)."""
        self.check(None, ids)
        return self._run(self.embed(ids), 0, None, mask, cache, first)

    def without_text(self) -> QFormer:
        """A copy for stage 2: the words, their positions and the feed-forward for text stay behind."""
        alone = QFormer(replace(self.config, vocabulary=None))
        alone.norm_image = deepcopy(self.norm_image)  # of a `from_hf` it may be an identity
        alone.load_state_dict(
            {name: value for name, value in self.state_dict().items() if name in alone.state_dict()}
        )
        return alone

    @classmethod
    def from_hf(cls, model, queries: Tensor | None = None) -> QFormer:
        """The same function as a `transformers.Blip2QFormerModel`, with the same weights.

        That model begins after the words, the queries and the LayerNorm of image features: this one has fresh words (if there
        is a text side), the queries (R, D) it is given, else fresh ones, and leaves image features as they come.
        """
        c = model.config
        named = {} if queries is None else {"queries": len(queries)}
        qformer = cls(
            QFormerConfig(
                c.encoder_hidden_size,
                c.vocab_size if c.use_qformer_text_input else None,
                pad_token_id=c.pad_token_id or 0,
                context=c.max_position_embeddings,
                width=c.hidden_size,
                depth=c.num_hidden_layers,
                heads=c.num_attention_heads,
                hidden=c.intermediate_size,
                cross_attention_every=c.cross_attention_frequency,
                eps=c.layer_norm_eps,
                **named,
            )
        )
        qformer.norm_image = nn.Identity()
        theirs, own = (
            model.state_dict(),
            qformer.state_dict() | ({} if queries is None else {"queries": queries.detach()}),
        )
        own |= {
            ours: torch.cat([theirs[name] for name in names])
            for ours, names in _hf_names(qformer).items()
        }
        qformer.load_state_dict(own)
        return qformer.eval()


def _hf_names(qformer: QFormer) -> dict[str, list[str]]:
    """Our parameter -> transformers' (several where ours holds them as one matrix)."""
    modules = {"norm": ["layernorm"]}
    parts = {
        "attention": ("attention", "norm"),
        "cross_attention": ("crossattention", "norm_cross_attention"),
        "feedforward_queries": ("_query", "norm_queries"),
        "feedforward_text": ("", "norm_text"),
    }
    for number, layer in enumerate(qformer.layers):
        here, there = f"layers.{number}", f"encoder.layer.{number}"
        for ours, (theirs, norm) in parts.items():
            if getattr(layer, ours, None) is None:
                continue
            if ours.startswith("feedforward"):
                modules |= {
                    f"{here}.{ours}.0": [f"{there}.intermediate{theirs}.dense"],
                    f"{here}.{ours}.2": [f"{there}.output{theirs}.dense"],
                    f"{here}.{norm}": [f"{there}.output{theirs}.LayerNorm"],
                }
            else:
                modules |= {
                    f"{here}.{ours}.query": [f"{there}.{theirs}.attention.query"],
                    f"{here}.{ours}.key_value": [
                        f"{there}.{theirs}.attention.{name}" for name in ("key", "value")
                    ],
                    f"{here}.{ours}.out": [f"{there}.{theirs}.output.dense"],
                    f"{here}.{norm}": [f"{there}.{theirs}.output.LayerNorm"],
                }
    return {
        f"{ours}.{kind}": [f"{name}.{kind}" for name in theirs]
        for ours, theirs in modules.items()
        for kind in ("weight", "bias")
    }
