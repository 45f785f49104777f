"""ViLBERT: Pretraining Task-Agnostic Visiolinguistic Representations (Lu et al. 2019, arXiv 1908.02265).

Two BERTs, one for image regions and one for words, joined by co-attention. They are trained on captioned images by masked
word and region modelling, and by alignment prediction. Read with Figures 1 to 3.

Scaled down here: the sizes (the paper's are in the margin). Regions have their true boxes, and their features come from a
small frozen network (parts.vision.RegionClassifier) instead of Faster R-CNN; <bos> serves as [CLS], <eos> as [SEP]. Kept:
post-norm blocks; text-only blocks, then pairs of co-attention and self-attention; separate weights for each direction;
regions are embedded by features and box, without position; the image token is the mean of the visible features; all losses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, kl_div

from vlmcourse.parts.bert import (
    CrossAttentionBlock,
    MLMHead,
    WordEmbedding,
    mask_tokens,
    maskable,
    masked_cross_entropy,
    sample_mask,
)
from vlmcourse.parts.layers import PostNormBlock, check_batch_sizes, init_weights
from vlmcourse.parts.masks import padding_mask
from vlmcourse.parts.vision import check_boxes


@dataclass(frozen=True)
class ViLBERTConfig:
    """In the margin: the paper's Sec. 3.1, and the configuration its authors released."""

    vocabulary: int  # paper: 30,522 (WordPiece)
    mask_token_id: int  # of [MASK]
    features: int  # width of a region's features. paper: 2,048, a detector's
    classes: int  # of regions. paper: 1,601
    context: int = 32  # paper: 36 tokens
    text_width: int = 128  # paper: 768
    text_heads: int = 4  # paper: 12
    text_hidden: int | None = None  # 4 * text_width. paper: 3,072
    num_text_only_layers: int = 1  # before co-attention. paper: 6
    image_width: int = 128  # paper: 1,024
    image_heads: int = 4  # paper: 8
    image_hidden: int | None = None  # 4 * image_width. paper: 1,024
    num_co_attention_layers: int = 2  # each followed by self-attention in both streams. paper: 6
    co_attention_width: int = 128  # of both directions, and of the pooled outputs. paper: 1,024
    co_attention_heads: int = 4  # paper: 8
    mask_prob: float = 0.15  # of words, and of regions
    eps: float = 1e-12


class CoAttention(nn.Module):
    """Each stream has queries, the other the keys and values (Fig. 2b); both directions have weights of their own."""

    def __init__(self, config: ViLBERTConfig):
        super().__init__()
        c, heads = config, config.co_attention_heads
        shared: dict[str, Any] = {"head_width": c.co_attention_width // heads, "eps": c.eps}
        image, text = (c.image_width, heads, c.image_hidden), (c.text_width, heads, c.text_hidden)
        self.image = CrossAttentionBlock(*image, context_width=c.text_width, **shared)
        self.text = CrossAttentionBlock(*text, context_width=c.image_width, **shared)

    def forward(
        self, image: Tensor, text: Tensor, text_mask: Tensor, image_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """image (B, R, D), text (B, T, E) -> the same shapes. Both directions read the states before this layer.

        text_mask   (B, 1, R or 1, T) booleans: region attends to word
        image_mask  (B, 1, T or 1, R) booleans: word attends to region
        """
        return self.image(image, text, text_mask), self.text(text, image, image_mask)


class TwoStreams(nn.Module):
    """Text-only blocks, then pairs of co-attention and self-attention in each stream (Fig. 1)."""

    def __init__(self, config: ViLBERTConfig):
        super().__init__()
        c, pairs = config, config.num_co_attention_layers

        def blocks(width: int, heads: int, hidden: int | None, count: int) -> nn.ModuleList:
            return nn.ModuleList(
                PostNormBlock(width, heads, hidden, eps=c.eps) for _ in range(count)
            )

        text, image = (
            (c.text_width, c.text_heads, c.text_hidden),
            (c.image_width, c.image_heads, c.image_hidden),
        )
        self.text_only = blocks(*text, c.num_text_only_layers)
        self.co_attention = nn.ModuleList(CoAttention(c) for _ in range(pairs))
        self.text, self.image = blocks(*text, pairs), blocks(*image, pairs)

    def forward(
        self,
        image: Tensor,
        text: Tensor,
        is_region: Tensor,
        is_word: Tensor,
        co_attention_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """image (B, R, D), text (B, T, E), booleans (B, R), (B, T), False at padding -> the same shapes.

        co_attention_mask  (B or 1, 1, R, T) booleans: region and word attend to each other; default: all do
        """
        regions = padding_mask(is_region, 1).to_bool()  # (B, 1, 1, R)
        words = padding_mask(is_word, 1).to_bool()  # (B, 1, 1, T)
        text_mask, image_mask = words, regions
        if co_attention_mask is not None:
            text_mask, image_mask = words & co_attention_mask, regions & co_attention_mask.mT
        for block in self.text_only:
            text = block(text, words)
        for co_attention, image_block, text_block in zip(self.co_attention, self.image, self.text):
            image, text = co_attention(image, text, text_mask, image_mask)
            image, text = image_block(image, regions), text_block(text, words)
        return image, text


def sample_zeroed_regions(masked: Tensor) -> Tensor:
    """Which of the masked regions (B, R) have their features set to zero: 90 %, the others keep them (Sec. 3.2)."""
    return sample_mask(masked, 0.9)


class ViLBERT(nn.Module):
    """Logits of masked words, masked regions and alignment; `losses` trains all three.

    A batch: `ids` (B, T), 0 at padding; `features` (B, R, F), `boxes` (B, R, 4) and `region_mask` (B, R), False at padding.
    encoder  module like TwoStreams; default: TwoStreams. The paper's baseline has a single stream
    """

    def __init__(self, config: ViLBERTConfig, encoder: nn.Module | None = None):
        super().__init__()
        self.config = c = config
        self.embed_word = WordEmbedding(c.vocabulary, c.text_width, c.context)
        self.embed_position = nn.Embedding(c.context, c.text_width)
        self.norm_text = nn.LayerNorm(c.text_width, c.eps)
        self.embed_features = nn.Linear(c.features, c.image_width)
        self.embed_box = nn.Linear(5, c.image_width)
        self.norm_image = nn.LayerNorm(c.image_width, c.eps)
        self.encoder = encoder or TwoStreams(c)
        self.mlm_head = MLMHead(c.text_width, c.vocabulary, c.eps)
        self.region_head = nn.Sequential(
            nn.Linear(c.image_width, c.image_width),
            nn.GELU(),
            nn.LayerNorm(c.image_width, c.eps),
            nn.Linear(c.image_width, c.classes),
        )
        self.pool_image = nn.Linear(c.image_width, c.co_attention_width)
        self.pool_text = nn.Linear(c.text_width, c.co_attention_width)
        self.alignment_head = nn.Linear(c.co_attention_width, 1)
        init_weights(self)
        # Boxes differ by tenths, features by ones: with smaller weights boxes would hardly count.
        nn.init.normal_(self.embed_box.weight)

    def embed_regions(self, features: Tensor, boxes: Tensor, unmasked: Tensor) -> Tensor:
        """Input of the image stream: the image token, then regions, (B, 1 + R, D) (Sec. 3.1).

        features (B, R, F), boxes (B, R, 4); unmasked (B, R): regions in the image token's mean, without masked ones, which
        it would reveal. Raises ValueError for other boxes or features.
        """
        check_boxes(boxes)
        if features.shape != (*boxes.shape[:2], self.config.features):
            raise ValueError(
                f"features are {tuple(features.shape)} for boxes {tuple(boxes.shape)}; expected "
                f"{(*boxes.shape[:2], self.config.features)}: one row of numbers for each box."
            )
        unmasked = unmasked[..., None].to(features.dtype)
        mean = (features * unmasked).sum(1, keepdim=True) / unmasked.sum(1, keepdim=True).clamp(
            min=1
        )
        whole = boxes.new_tensor([0, 0, 1, 1]).expand(len(boxes), 1, 4)
        features, boxes = torch.cat([mean, features], dim=1), torch.cat([whole, boxes], dim=1)
        area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
        boxes = torch.cat([boxes, area[..., None]], dim=-1)  # (B, 1 + R, 5)
        return self.norm_image(self.embed_features(features) + self.embed_box(boxes))

    def embed_text(self, ids: Tensor) -> Tensor:
        """Input of the text stream: (B, T) -> (B, T, E)."""
        return self.norm_text(self.embed_word(ids) + self.embed_position.weight[: ids.shape[1]])

    def forward(
        self,
        batch: dict[str, Tensor],
        masked_regions: Tensor | None = None,
        co_attention_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """States of the image token and regions (B, 1 + R, D), and of the words (B, T, E).

        masked_regions     (B, R) booleans: regions without features
        co_attention_mask  (B or 1, 1, 1 + R, T), see TwoStreams
        Raises ValueError unless there is one text per image.
        """
        check_batch_sizes(texts=batch["ids"], pictures=batch["features"])
        unmasked, features = batch["region_mask"], batch["features"]
        is_region = torch.cat([unmasked.new_ones(len(unmasked), 1), unmasked], dim=1)
        if masked_regions is not None:
            unmasked = unmasked & ~masked_regions
            features = features.masked_fill(masked_regions[..., None], 0)
        image = self.embed_regions(features, batch["boxes"], unmasked)
        text, is_word = self.embed_text(batch["ids"]), batch["ids"] != 0
        return self.encoder(image, text, is_region, is_word, co_attention_mask)

    def mlm_logits(self, batch: dict[str, Tensor], **masks) -> Tensor:
        """Logits (B, T, V) over words at each position; masks: see `forward`."""
        return self.mlm_head(self(batch, **masks)[1], self.embed_word.weight)

    def region_logits(self, batch: dict[str, Tensor], **masks) -> Tensor:
        """Logits (B, R, C) over classes of each region; masks: see `forward`."""
        return self.region_head(self(batch, **masks)[0][:, 1:])

    def alignment_head_logits(self, image: Tensor, text: Tensor) -> Tensor:
        """Logits (B,) of "aligned" from pooled states of image and text, (B, W) each: their product (Sec. 3.2)."""
        return self.alignment_head(image * text)[:, 0]

    def pool(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """States (B, 1 + R, D), (B, T, E) -> pooled states of the image token and of the text's first token, (B, W) each."""
        # BERT's tanh. With the ReLU of the authors' code nearly all pairs had the same score in our first runs.
        return self.pool_image(image[:, 0]).tanh(), self.pool_text(text[:, 0]).tanh()

    def _alignment_logits(self, image: Tensor, text: Tensor) -> Tensor:
        return self.alignment_head_logits(*self.pool(image, text))

    def alignment_logits(self, batch: dict[str, Tensor], **masks) -> Tensor:
        """Logits (B,) of "image and text are aligned", for retrieval; masks: see `forward`."""
        return self._alignment_logits(*self(batch, **masks))

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """{"mlm", "mrc", "alignment"}: masked words, masked regions' classes, alignment (Fig. 3).

        batch: as above, with `aligned` (B,) booleans, and `classes` (B, R, C), the detector's distribution for each region.
        Only aligned pairs count in "mlm" and "mrc".
        """
        c, ids, aligned = self.config, batch["ids"], batch["aligned"]
        words = sample_mask(maskable(ids), c.mask_prob)
        regions = sample_mask(batch["region_mask"], c.mask_prob)
        inputs = {**batch, "ids": mask_tokens(ids, words, c.mask_token_id, c.vocabulary)}
        image, text = self(inputs, masked_regions=sample_zeroed_regions(regions))
        words, regions = words & aligned[:, None], regions & aligned[:, None]
        word_logits = self.mlm_head(text[words], self.embed_word.weight)  # (masked words, V)
        log_probs = self.region_head(image[:, 1:][regions]).float().log_softmax(-1)
        divergence = kl_div(log_probs, batch["classes"][regions], reduction="sum")
        logits = self._alignment_logits(image, text).float()
        return {
            "mlm": masked_cross_entropy(word_logits, ids[words]),
            "mrc": divergence / max(1, len(log_probs)),
            "alignment": binary_cross_entropy_with_logits(logits, aligned.float()),
        }
