"""ViLBERT: Pretraining Task-Agnostic Visiolinguistic Representations (Lu et al. 2019, arXiv 1908.02265).

Two BERTs, one for regions of a picture and one for words, that look at each other in co-attention layers. They learn from
captioned pictures by filling in what was hidden (words and regions), and by telling whether picture and caption belong
together. Read with Figures 1 to 3 of the paper.

Scaled down here: the sizes (the paper's are in the margin). Regions come with their true boxes, and what is in them is said
by a small frozen network (parts/vision.RegionClassifier), in the place of Faster R-CNN; <bos> serves as [CLS], <eos> as [SEP]. Kept:
post-norm blocks; text blocks before the streams meet, then pairs of co-attention and self-attention; separate weights for each
direction; a region is its features plus its box, and has no position; the picture's own token is the mean of the visible
features; all three losses.
"""

from __future__ import annotations

from dataclasses import dataclass

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
from vlmcourse.parts.layers import PostNormBlock, init_weights
from vlmcourse.parts.masks import padding_mask
from vlmcourse.parts.vision import check_boxes


@dataclass(frozen=True)
class ViLBERTConfig:
    """Sizes. In the margin: the paper's Sec. 3.1, and the configuration its authors released."""

    vocabulary: int  # paper: 30,522 (WordPiece)
    mask_token_id: int  # id of [MASK]
    features: int  # numbers that describe a region. paper: 2,048, a detector's
    classes: int  # that a masked region may have. paper: 1,601
    context: int = 32  # paper: 36 words
    text_width: int = 128  # paper: 768
    text_heads: int = 4  # paper: 12
    text_hidden: int | None = None  # of the feed-forward; 4 * text_width. paper: 3,072
    num_text_only_layers: int = 1  # text blocks before the streams meet. paper: 6
    image_width: int = 128  # paper: 1,024
    image_heads: int = 4  # paper: 8
    image_hidden: int | None = None  # 4 * image_width. paper: 1,024
    num_co_attention_layers: int = (
        2  # co-attention layers, each with a block of self-attention per stream after it. paper: 6
    )
    co_attention_width: int = 128  # width of what is compared across streams. paper: 1,024
    co_attention_heads: int = 4  # paper: 8
    mask_prob: float = 0.15  # part of the words, and of the regions, that is to be filled in
    eps: float = 1e-12


class CoAttention(nn.Module):
    """Each stream asks, the other answers: queries from one, keys and values from the other (Fig. 2b).

    Two blocks with weights of their own, so what words look for in regions is learnt apart from what regions look for in words.
    """

    def __init__(self, config: ViLBERTConfig):
        super().__init__()
        c = config
        self.image = CrossAttentionBlock(
            c.image_width,
            c.co_attention_heads,
            c.image_hidden,
            c.text_width,
            c.co_attention_width // c.co_attention_heads,
            c.eps,
        )
        self.text = CrossAttentionBlock(
            c.text_width,
            c.co_attention_heads,
            c.text_hidden,
            c.image_width,
            c.co_attention_width // c.co_attention_heads,
            c.eps,
        )

    def forward(
        self, image: Tensor, text: Tensor, to_text: Tensor, to_image: Tensor
    ) -> tuple[Tensor, Tensor]:
        """image (B, R, D), text (B, T, E), masks of the regions' and the words' looks -> the same shapes.

        Both directions read the states from before this layer.
        """
        return self.image(image, text, to_text), self.text(text, image, to_image)


class TwoStreams(nn.Module):
    """Blocks for the text alone, then meetings: co-attention, and a block of self-attention for each stream (Fig. 1)."""

    def __init__(self, config: ViLBERTConfig):
        super().__init__()
        c = config

        def text_blocks(count: int) -> nn.ModuleList:
            return nn.ModuleList(
                PostNormBlock(c.text_width, c.text_heads, c.text_hidden, eps=c.eps)
                for _ in range(count)
            )

        self.text_only = text_blocks(c.num_text_only_layers)
        self.co_attention = nn.ModuleList(CoAttention(c) for _ in range(c.num_co_attention_layers))
        self.text = text_blocks(c.num_co_attention_layers)
        self.image = nn.ModuleList(
            PostNormBlock(c.image_width, c.image_heads, c.image_hidden, eps=c.eps)
            for _ in range(c.num_co_attention_layers)
        )

    def forward(
        self,
        image: Tensor,
        text: Tensor,
        is_region: Tensor,
        is_word: Tensor,
        co_attention_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """image (B, R, D), text (B, T, E), booleans (B, R), (B, T), False at padding -> the same shapes.

        meet  (B or 1, 1, R, T) booleans, optional: may this region and this word look at each other?
        """
        regions, words = (
            padding_mask(is_region, 1).to_bool(),
            padding_mask(is_word, 1).to_bool(),
        )  # (B, 1, 1, R), (B, 1, 1, T)
        to_text, to_image = (
            (words, regions)
            if co_attention_mask is None
            else (words & co_attention_mask, regions & co_attention_mask.mT)
        )
        for block in self.text_only:
            text = block(text, words)
        for co_attention, image_block, text_block in zip(self.co_attention, self.image, self.text):
            image, text = co_attention(image, text, to_text, to_image)
            image, text = image_block(image, regions), text_block(text, words)
        return image, text


def sample_zeroed_regions(chosen: Tensor) -> Tensor:
    """Which of the chosen regions lose their features: 9 in 10. The others keep them; none gets another's (Sec. 3.2)."""
    return chosen & (torch.rand(chosen.shape, device=chosen.device) < 0.9)


class ViLBERT(nn.Module):
    """`words`, `regions` and `score` fill in and judge; `losses` trains all three.

    A batch: `ids` (B, T), 0 at padding; `features` (B, R, F), `boxes` (B, R, 4) and `region_mask` (B, R), False at padding.
    encoder  anything with TwoStreams' forward, in its place: the paper's baseline has a single stream there
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
        nn.init.normal_(
            self.embed_box.weight
        )  # boxes differ by tenths, features by ones: a small weight would drown them

    def embed_regions(self, features: Tensor, boxes: Tensor, visible: Tensor) -> Tensor:
        """What the image stream reads: the picture's own token, then its regions, (B, 1 + R, D) (Sec. 3.1).

        visible  (B, R): regions that count in the mean. A masked region must not, or the mean would give it away.
        """
        check_boxes(boxes)
        if features.shape != (*boxes.shape[:2], self.config.features):
            raise ValueError(
                f"features are {tuple(features.shape)} for boxes {tuple(boxes.shape)}; expected "
                f"{(*boxes.shape[:2], self.config.features)}: one row of numbers for each box."
            )
        visible = visible[..., None].to(features.dtype)
        mean = (features * visible).sum(1, keepdim=True) / visible.sum(1, keepdim=True).clamp(min=1)
        whole = boxes.new_tensor([0, 0, 1, 1]).expand(len(boxes), 1, 4)
        features, boxes = torch.cat([mean, features], dim=1), torch.cat([whole, boxes], dim=1)
        area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
        return self.norm_image(
            self.embed_features(features)
            + self.embed_box(torch.cat([boxes, area[..., None]], dim=-1))
        )

    def embed_text(self, ids: Tensor) -> Tensor:
        """What the text stream reads: (B, T) -> (B, T, D)."""
        return self.norm_text(self.embed_word(ids) + self.embed_position.weight[: ids.shape[1]])

    def forward(
        self,
        batch: dict[str, Tensor],
        masked_regions: Tensor | None = None,
        co_attention_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """States of the picture and its regions (B, 1 + R, D), and of the words (B, T, E).

        masked_regions  (B, R) booleans, optional: regions that are masked
        meet    (B or 1, 1, 1 + R, T), optional: see TwoStreams
        """
        if len(batch["ids"]) != len(batch["features"]):
            raise ValueError(
                f"{len(batch['ids'])} texts for {len(batch['features'])} pictures; expected as many of one as of "
                "the other, row by row."
            )
        region_mask, features = batch["region_mask"], batch["features"]
        if masked_regions is not None:
            features = features.masked_fill(masked_regions[..., None], 0)
        image = self.embed_regions(
            features,
            batch["boxes"],
            region_mask if masked_regions is None else region_mask & ~masked_regions,
        )
        is_region = torch.cat([region_mask.new_ones(len(region_mask), 1), region_mask], dim=1)
        return self.encoder(
            image, self.embed_text(batch["ids"]), is_region, batch["ids"] != 0, co_attention_mask
        )

    def mlm_logits(self, batch: dict[str, Tensor], **looks) -> Tensor:
        """Which word stands at each place? (B, T, V) logits."""
        return self.mlm_head(self(batch, **looks)[1], self.embed_word.weight)

    def region_logits(self, batch: dict[str, Tensor], **looks) -> Tensor:
        """What is in each region? (B, R, C) logits."""
        return self.region_head(self(batch, **looks)[0][:, 1:])

    def alignment_head_logits(self, image: Tensor, text: Tensor) -> Tensor:
        """Do they belong together? From the pooled states of picture and text, (B, joint) each -> (B,) logits (Sec. 3.2)."""
        return self.alignment_head(image * text)[:, 0]

    def _alignment_logits(self, image: Tensor, text: Tensor) -> Tensor:
        # BERT's tanh. (The authors' code has a ReLU here; in our first runs nearly all pairs then had the same score.)
        return self.alignment_head_logits(
            self.pool_image(image[:, 0]).tanh(), self.pool_text(text[:, 0]).tanh()
        )

    def alignment_logits(self, batch: dict[str, Tensor], **looks) -> Tensor:
        """How well picture and text of each row go together: (B,) logits, to retrieve by."""
        return self._alignment_logits(*self(batch, **looks))

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A batch with `aligned` (B,), False where the text is not the picture's, and `classes` (B, R, C), what a detector
        would say of each region -> {"words", "regions", "alignment"}: scalars (Fig. 3).

        Only aligned pairs are filled in: of a picture that is not the text's own, nothing can be inferred.
        """
        ids, together = batch["ids"], batch["aligned"]
        word, region = (
            sample_mask(maskable(ids), self.config.mask_prob),
            sample_mask(batch["region_mask"], self.config.mask_prob),
        )
        read = {
            **batch,
            "ids": mask_tokens(ids, word, self.config.mask_token_id, self.config.vocabulary),
        }
        image, text = self(read, masked_regions=sample_zeroed_regions(region))
        word, region = word & together[:, None], region & together[:, None]
        said = self.mlm_head(text[word], self.embed_word.weight)  # (masked words, V)
        named = (
            self.region_head(image[:, 1:][region]).float().log_softmax(-1)
        )  # (masked regions, C)
        return {
            "mlm": masked_cross_entropy(said, ids[word]),
            "mrc": kl_div(named, batch["classes"][region], reduction="sum") / max(1, len(named)),
            "alignment": binary_cross_entropy_with_logits(
                self._alignment_logits(image, text).float(), together.float()
            ),
        }
