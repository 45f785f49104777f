"""The Querying Transformer of BLIP-2 (Li et al. 2023, arXiv 2301.12597, Sec. 3.1 and Fig. 2).

Learned queries cross-attend to an image and extract what a text would say about it. Queries and text share their
self-attention; its mask (MASKS) distinguishes the three objectives.

Scaled down here: the sizes (the paper's are in the margin), and random initial weights in place of BERT's. Kept:
cross-attention of the queries only, in every second layer; one feed-forward for queries and one for text.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vlmcourse.papers import checkpoint_formats, checkpoints
from vlmcourse.parts.attention import Attention, KeyValues
from vlmcourse.parts.layers import FeedForward, check_batch_sizes, check_ids, init_weights
from vlmcourse.parts.masks import Mask, bidirectional, multimodal_causal, padding_mask, unimodal

Image = Tensor | list[KeyValues | None]
"""Image features (B, P, C), or their keys and values for each layer (`QFormer.project_kv`)."""


def _first(image: Image) -> Tensor:
    """Something with a row for each image: the features, or the keys of the first layer that attends to them."""
    return image if isinstance(image, Tensor) else next(kv[0] for kv in image if kv is not None)


def matching(queries: int, text: int, device: torch.device | str | None = None) -> Mask:
    """Mask of image-text matching: all positions attend to all."""
    return bidirectional(queries + text, device)


MASKS = {"itc": unimodal, "itm": matching, "itg": multimodal_causal}
"""Fig. 2, right: the mask of each objective, (queries, text, device) -> Mask."""


@dataclass(frozen=True)
class QFormerConfig:
    """In the margin: the paper's Sec. 3.1 and 3.4, and its code."""

    vision_width: int  # of the image features. paper: 1,408 (ViT-g), 1,024 (ViT-L)
    vocabulary: int | None  # paper: 30,523 (BERT's and [DEC]). None: no text side, as in stage 2
    cls_token_id: int = 6  # first token for ITC and ITM
    dec_token_id: int = 8  # first token for ITG
    pad_token_id: int = 0
    queries: int = 8  # paper: 32
    context: int = 32  # tokens of a text. paper: 32 (BERT has positions for 512)
    width: int = 128  # paper: 768
    depth: int = 4  # paper: 12
    heads: int = 4  # paper: 12
    hidden: int | None = None  # paper: 4 * width
    cross_attention_every: int = 2  # layers. paper: 2, in layers 0, 2, 4, ...
    eps: float = 1e-12  # BERT's


class QFormerLayer(nn.Module):
    """One block of Fig. 2, post-norm as in BERT."""

    def __init__(self, config: QFormerConfig, has_cross_attention: bool):
        super().__init__()
        c = config
        self.attention, self.norm = Attention(c.width, c.heads), nn.LayerNorm(c.width, c.eps)
        self.cross_attention = self.norm_cross_attention = None
        if has_cross_attention:
            self.cross_attention = Attention(c.width, c.heads, c.vision_width)
            self.norm_cross_attention = nn.LayerNorm(c.width, c.eps)
        self.feedforward_queries = FeedForward(c.width, c.hidden or 4 * c.width)
        self.norm_queries = nn.LayerNorm(c.width, c.eps)
        if c.vocabulary is not None:
            self.feedforward_text = FeedForward(c.width, c.hidden or 4 * c.width)
            self.norm_text = nn.LayerNorm(c.width, c.eps)

    def forward(
        self,
        x: Tensor,
        queries: int,
        image: Tensor | KeyValues | None = None,
        mask: Tensor | None = None,
        cache: dict | None = None,
        first: int | None = None,
    ) -> Tensor:
        """x (B, L, D), `queries` queries followed by text -> (B, L, D), or only the `first` positions of it.

        image  features (B, P, C), or their keys and values
        """
        rows = x[:, :first]
        if first is not None and mask is not None:
            mask = mask[..., :first, :]
        context = None if first is None else x
        x = self.norm(rows + self.attention(rows, context=context, mask=mask, cache=cache))
        query_part, text_part, parts = x[:, :queries], x[:, queries:], []
        if queries:
            if self.cross_attention is not None and self.norm_cross_attention is not None:
                attended = self.cross_attention(query_part, image)
                query_part = self.norm_cross_attention(query_part + attended)
            parts.append(self.norm_queries(query_part + self.feedforward_queries(query_part)))
        if text_part.shape[1]:
            parts.append(self.norm_text(text_part + self.feedforward_text(text_part)))
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


class QFormer(nn.Module):
    """`forward` defines it: queries and text in one pass under one mask. `query_states` and `text_states` compute parts of that.

    Where the mask hides the text from the queries, `query_states` gives the queries alone; with the keys that they leave in
    a cache, `text_states` gives the text that attends to them.
    """

    def __init__(self, config: QFormerConfig):
        super().__init__()
        c = self.config = config
        self.norm_image: nn.Module = nn.LayerNorm(
            c.vision_width
        )  # trained, unlike the image encoder
        # All zero, as in transformers, queries would get equal gradients and stay equal.
        self.queries = nn.Parameter(0.02 * torch.randn(c.queries, c.width))
        self.norm = nn.LayerNorm(c.width, c.eps)
        self.layers = nn.ModuleList(
            QFormerLayer(c, layer % c.cross_attention_every == 0) for layer in range(c.depth)
        )
        init_weights(self)
        if c.vocabulary is not None:
            self.words = nn.Embedding(c.vocabulary, c.width)
            self.positions = nn.Parameter(0.02 * torch.randn(c.context, c.width))
            nn.init.normal_(self.words.weight, std=0.02)
            for layer in self.layers:  # equal at first: the paper initialises both from BERT's
                layer.feedforward_queries.load_state_dict(layer.feedforward_text.state_dict())

    def check(self, image: Image | None, ids: Tensor | None) -> None:
        """Raises ValueError for features or texts that don't fit this Q-Former or each other."""
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
        if image is not None:
            check_batch_sizes(images=_first(image), texts=ids)

    def project_kv(self, image: Tensor) -> list[KeyValues | None]:
        """Keys and values of features (B, P, C) for each layer with cross-attention, to share them between passes."""
        self.check(image, None)
        image, attentions = self.norm_image(image), [layer.cross_attention for layer in self.layers]
        return [
            None if attention is None else attention.project_kv(image) for attention in attentions
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
        image = self.project_kv(image) if isinstance(image, Tensor) else image
        image = image or [None] * len(self.layers)
        for layer, key_values in zip(self.layers[:-1], image):
            x = layer(x, queries, key_values, mask, cache)
        return self.layers[-1](x, queries, image[-1], mask, cache, first)

    def embed(self, ids: Tensor, position_ids: Tensor | None = None) -> Tensor:
        """Words plus positions: (B, T) ids -> (B, T, D). position_ids (B, T); default: 0 to T - 1."""
        if position_ids is None:
            return self.words(ids) + self.positions[: ids.shape[1]]
        return self.words(ids) + self.positions[position_ids]

    def mask(self, objective: str, ids: Tensor, is_token: Tensor | None = None) -> Tensor:
        """The mask of an objective for queries and texts (B, T): (B, 1, R + T, R + T) booleans.

        is_token  (B, T) booleans, False at padding; default: all but pad_token_id
        """
        R = self.config.queries
        is_token = ids != self.config.pad_token_id if is_token is None else is_token
        is_key = torch.cat([is_token.new_ones(len(ids), R), is_token], dim=1)
        return (MASKS[objective](R, ids.shape[1], ids.device) & padding_mask(is_key)).to_bool()

    def forward(
        self,
        image: Image,
        ids: Tensor,
        mask: Tensor,
        first: int | None = None,
        position_ids: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Queries (B, R, D) and text (B, T, D), or only the `first` positions of both, of an image and ids (B, T).

        mask  (B, 1, R + T, R + T) booleans, of `mask`
        """
        self.check(image, ids)
        queries, R = self.queries.expand(len(ids), -1, -1), self.config.queries
        x = torch.cat([queries, self.embed(ids, position_ids)], dim=1)  # (B, R + T, D)
        x = self._run(x, R, image, mask, first=first)
        return x[:, :R], x[:, R:]

    def query_states(self, image: Image, cache: dict | None = None) -> Tensor:
        """The queries without text: image -> (B, R, D). Their keys and values are put into `cache`, if any."""
        image = self.project_kv(image) if isinstance(image, Tensor) else image
        queries = self.queries.expand(len(_first(image)), -1, -1)
        return self._run(queries, self.config.queries, image, cache=cache)

    def text_states(
        self, ids: Tensor, mask: Tensor, cache: dict | None = None, first: int | None = None
    ) -> Tensor:
        """Text alone, (B, T) -> (B, T, D); after `query_states` with a cache, text that attends to the queries.

        mask  (B, 1, T, T), or (B, 1, T, R + T) with a cache
        """
        self.check(None, ids)
        return self._run(self.embed(ids), 0, None, mask, cache, first)

    def without_text(self) -> QFormer:
        """A copy without word embeddings, positions and the feed-forward for text, for stage 2."""
        copy = QFormer(replace(self.config, vocabulary=None))
        copy.norm_image = deepcopy(self.norm_image)  # after `from_hf` it may be an identity
        weights, own = self.state_dict(), copy.state_dict()
        copy.load_state_dict({name: weights[name] for name in own})
        return copy

    @classmethod
    def from_hf(cls, model, queries: Tensor | None = None) -> QFormer:
        """The same function as a `transformers.Blip2QFormerModel`, with its weights (copied).

        That model has neither words nor queries nor the LayerNorm of image features: words are untrained here, queries (R, D)
        as given or untrained, and features are used as they are.
        """
        count = {} if queries is None else {"queries": len(queries)}
        qformer = cls(QFormerConfig(**checkpoint_formats.qformer_sizes(model.config), **count))
        qformer.norm_image = nn.Identity()
        names, tensors = dict(checkpoint_formats.QFORMER), model.state_dict()
        if queries is not None:
            names, tensors = names | {"queries": "queries"}, tensors | {"queries": queries}
        fresh = ("queries", "words.", "positions")
        return checkpoints.copy_weights(qformer, tensors, names, fresh=fresh).eval()
