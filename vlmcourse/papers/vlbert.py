"""VL-BERT: Pre-training of Generic Visual-Linguistic Representations (Su et al. 2020, arXiv 1908.08530).

One BERT reads words and regions in one row. What makes a slot a word or a region is only what it is made of: four embeddings,
added up. Read with Figure 1 of the paper.

Scaled down here: the sizes (the paper's are in the margin); regions come with their true boxes; the detector, which the paper
trains along, is two layers on the pixels of each box (parts/vision.RegionClassifier); <bos> serves as [CLS], <eos> as [SEP]. Kept: text
slots carry the visual feature of the whole picture; all regions share one position, [END] has the next; segments; the
LayerNorms of the visual features start with weight zero, so that training starts from plain BERT; masked words, and masked
regions whose *pixels* are gone before anything looks at them. No loss on whether picture and text belong together: the paper
found it of no use.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vlmcourse.parts.bert import (
    MLMHead,
    WordEmbedding,
    copy_bert_layer,
    mask_tokens,
    maskable,
    masked_cross_entropy,
    sample_mask,
)
from vlmcourse.parts.layers import PostNormBlock, init_weights
from vlmcourse.parts.masks import padding_mask
from vlmcourse.parts.vision import RegionClassifier, check_boxes, check_pixels, crop_regions

TEXT, REGION = 0, 2  # segments; 1 is for a second text, such as an answer


@dataclass(frozen=True)
class VLBERTConfig:
    """Sizes. In the margin: VL-BERT-base, the paper's Sec. 3.2 and the configuration its authors released."""

    vocabulary: int  # paper: 30,522 (WordPiece)
    mask_token_id: int  # id of [MASK]
    image: int  # id of [IMG], the word that stands at every region
    end: int  # id of [END], after the regions
    classes: int  # that a masked region may have. paper: 1,601
    image_size: int = 64  # paper: the shorter side 600
    side: int = 12  # pixels of a region, each way. paper: 14, of a feature map
    waves: int = 8  # sines and cosines for each coordinate of a box. paper: 2,048 numbers in all
    visual: int = 128  # width of a region's appearance. paper: 2,048
    context: int = 32  # words. paper: 64
    width: int = 128  # paper: 768
    depth: int = 4  # paper: 12
    heads: int = 4  # paper: 12
    hidden: int | None = None  # paper: 4 * width
    mask_prob: float = 0.15  # part of the words, and of the regions, that is to be filled in
    visual_scale: float = 0.0  # weight that the visual LayerNorms start with. paper's code: 0
    eps: float = 1e-12


def waves(boxes: Tensor, count: int) -> Tensor:
    """Boxes (B, R, 4) as sines and cosines of growing wavelengths: (B, R, 8 * count) (Sec. 3.2, "visual geometry")."""
    lengths = 100 ** (
        torch.arange(count, device=boxes.device) / count
    )  # from 1 to 100 hundredths of the picture
    angles = 100 * boxes[..., None] / lengths  # (B, R, 4, count)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(2)


def mask_pixels(pixel_values: Tensor, boxes: Tensor, chosen: Tensor) -> Tensor:
    """The pictures with grey in the place of the chosen boxes: (B, 3, S, S), (B, R, 4), (B, R) booleans."""
    S = pixel_values.shape[-1]
    middle = (torch.arange(S, device=pixel_values.device) + 0.5) / S
    x1, y1, x2, y2 = (side[..., None] for side in boxes.unbind(-1))  # (B, R, 1)
    margin = 1 / S  # a pixel that the box only touches belongs to it
    across = (middle > x1 - margin) & (middle < x2 + margin)  # (B, R, S)
    down = (middle > y1 - margin) & (middle < y2 + margin)
    inside = (down[..., :, None] & across[..., None, :] & chosen[..., None, None]).any(
        1
    )  # (B, S, S)
    return pixel_values.masked_fill(inside[:, None], 0)


class VLBERT(nn.Module):
    """`words` and `regions` fill in; `losses` trains both.

    A batch: `ids` (B, T), 0 at padding; `pixel_values` (B, 3, S, S); `boxes` (B, R, 4) and `region_mask` (B, R), False at padding.
    namer  of whose eyes it takes a copy, and trains them on; default: untrained ones. The paper starts from a detector's
    """

    def __init__(self, config: VLBERTConfig, region_classifier: RegionClassifier | None = None):
        super().__init__()
        self.config = c = config
        self.embed_word = WordEmbedding(c.vocabulary, c.width, c.context)
        self.embed_position = nn.Embedding(c.context + 2, c.width)
        self.embed_segment = nn.Embedding(3, c.width)
        self.embed_visual = nn.Linear(c.visual + 8 * c.waves, c.width)
        self.norm_visual_text = nn.LayerNorm(c.width, c.eps)
        self.norm_visual_region = nn.LayerNorm(c.width, c.eps)
        self.norm = nn.LayerNorm(c.width, c.eps)
        self.blocks = nn.ModuleList(
            PostNormBlock(c.width, c.heads, c.hidden, eps=c.eps) for _ in range(c.depth)
        )
        self.mlm_head = MLMHead(c.width, c.vocabulary, c.eps)
        self.region_head = nn.Sequential(
            nn.Linear(c.width, c.width),
            nn.GELU(),
            nn.LayerNorm(c.width, c.eps),
            nn.Linear(c.width, c.classes),
        )
        init_weights(self)
        self.appearance = RegionClassifier(c.side, c.visual, c.classes).appearance
        if region_classifier is not None:
            self.appearance.load_state_dict(region_classifier.appearance.state_dict())
        for norm in (self.norm_visual_text, self.norm_visual_region):
            nn.init.constant_(norm.weight, c.visual_scale)

    def embed_visual_features(self, pixel_values: Tensor, boxes: Tensor) -> Tensor:
        """The visual feature of each box, from its pixels and its place: (B, 3, S, S), (B, R, 4) -> (B, R, D)."""
        look = self.appearance(
            crop_regions(pixel_values, boxes, self.config.side).flatten(2)
        )  # (B, R, visual)
        return self.embed_visual(torch.cat([look, waves(boxes, self.config.waves)], dim=-1))

    def embed(
        self, batch: dict[str, Tensor], masked_regions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the blocks read: words, then regions, then [END], (B, T + R + 1, D), and which of them are real (Sec. 3.2).

        masked_regions  (B, R) booleans, optional: regions that are masked. They are painted out of the picture itself, so that neither
                the whole picture's feature nor another box shows them.
        """
        c, ids, boxes, pixel_values = (
            self.config,
            batch["ids"],
            batch["boxes"],
            batch["pixel_values"],
        )
        check_pixels(pixel_values, c.image_size)
        check_boxes(boxes)
        if len(ids) != len(boxes):
            raise ValueError(
                f"{len(ids)} texts for {len(boxes)} pictures; expected as many of one as of the other, row by row."
            )
        (B, T), R = ids.shape, boxes.shape[1]
        if masked_regions is not None:
            pixel_values = mask_pixels(pixel_values, boxes, masked_regions)
        whole = self.embed_visual_features(
            pixel_values, boxes.new_tensor([0, 0, 1, 1]).expand(B, 1, 4)
        )  # (B, 1, D)
        visual = torch.cat(
            [
                self.norm_visual_text(whole).expand(B, T, -1),
                self.norm_visual_region(self.embed_visual_features(pixel_values, boxes)),
                self.norm_visual_text(whole),
            ],
            dim=1,
        )  # (B, T + R + 1, D)
        token = torch.cat(
            [
                self.embed_word(ids),
                self.embed_word.weight[c.image].expand(B, R, -1),
                self.embed_word.weight[c.end].expand(B, 1, -1),
            ],
            dim=1,
        )
        region_mask = ids != 0
        after = region_mask.sum(
            1, keepdim=True
        )  # (B, 1): the position after the text, which all regions share
        position = torch.cat(
            [torch.arange(T, device=ids.device).expand(B, T), after.expand(B, R), after + 1], dim=1
        )
        segment = torch.tensor([TEXT] * T + [REGION] * (R + 1), device=ids.device)
        x = self.norm(token + visual + self.embed_segment(segment) + self.embed_position(position))
        return x, torch.cat([region_mask, batch["region_mask"], region_mask.new_ones(B, 1)], dim=1)

    def forward(
        self, batch: dict[str, Tensor], masked_regions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """States of the words (B, T, D) and of the regions (B, R, D). hidden: see `embed`."""
        x, region_mask = self.embed(batch, masked_regions)
        mask, T = (
            padding_mask(region_mask, 1).to_bool(),
            batch["ids"].shape[1],
        )  # (B, 1, 1, T + R + 1)
        for block in self.blocks:
            x = block(x, mask)
        return x[:, :T], x[:, T:-1]

    def mlm_logits(self, batch: dict[str, Tensor], masked_regions: Tensor | None = None) -> Tensor:
        """Which word stands at each place? (B, T, V) logits."""
        return self.mlm_head(self(batch, masked_regions)[0], self.embed_word.weight)

    def region_logits(
        self, batch: dict[str, Tensor], masked_regions: Tensor | None = None
    ) -> Tensor:
        """What is in each region? (B, R, C) logits."""
        return self.region_head(self(batch, masked_regions)[1])

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A batch with `classes` (B, R, C), of which the likeliest is asked for -> {"words", "regions"}: scalars (Sec. 3.3)."""
        ids = batch["ids"]
        word, region = (
            sample_mask(maskable(ids), self.config.mask_prob),
            sample_mask(batch["region_mask"], self.config.mask_prob),
        )
        read = {
            **batch,
            "ids": mask_tokens(ids, word, self.config.mask_token_id, self.config.vocabulary),
        }
        text, regions = self(read, masked_regions=region)
        return {
            "mlm": masked_cross_entropy(
                self.mlm_head(text[word], self.embed_word.weight), ids[word]
            ),
            "mrc": masked_cross_entropy(
                self.region_head(regions[region]), batch["classes"][region].argmax(-1)
            ),
        }

    @torch.no_grad()
    def load_bert(self, bert: nn.Module) -> VLBERT:
        """Takes the weights of a transformers.BertModel of the same sizes, as the paper starts from BERT. Returns self.

        [IMG], [MASK] and [END] are words of its vocabulary; its segments are two or more, the third is a copy of the second.
        """
        theirs = bert.embeddings
        if (wanted := tuple(self.embed_word.weight.shape)) != (
            found := tuple(theirs.word_embeddings.weight.shape)
        ):
            raise ValueError(
                f"this BERT has {found} word embeddings, this model {wanted}; "
                "expected the same vocabulary and width."
            )
        self.embed_word.weight.copy_(theirs.word_embeddings.weight)
        self.embed_position.weight.copy_(
            theirs.position_embeddings.weight[: len(self.embed_position.weight)]
        )
        segments = theirs.token_type_embeddings.weight
        self.embed_segment.weight.copy_(segments[[0, 1, min(2, len(segments) - 1)]])
        self.norm.load_state_dict(theirs.LayerNorm.state_dict())
        for block, layer in zip(self.blocks, bert.encoder.layer, strict=True):
            copy_bert_layer(block, layer)
        return self
