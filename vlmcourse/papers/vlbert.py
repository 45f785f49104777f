"""VL-BERT: Pre-training of Generic Visual-Linguistic Representations (Su et al. 2020, arXiv 1908.08530).

A single BERT reads words and regions in one sequence; each element is the sum of four embeddings. Read with Figure 1.

Scaled down here: the sizes (the paper's are in the margin); regions have their true boxes; the detector, which the paper
trains along, is two layers on each box's pixels (parts.vision.RegionClassifier); <bos> serves as [CLS], <eos> as [SEP]. Kept:
text elements have the visual feature of the whole image; all regions share one position, [END] has the next; segments;
LayerNorms of visual features start with weight zero, so that training starts from plain BERT; masked words, and masked
regions whose *pixels* are removed. There is no alignment loss: the paper found it of no use.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vlmcourse.papers import checkpoint_formats, checkpoints
from vlmcourse.parts.bert import (
    MLMHead,
    WordEmbedding,
    mask_tokens,
    maskable,
    masked_cross_entropy,
    sample_mask,
)
from vlmcourse.parts.layers import PostNormBlock, check_batch_sizes, init_weights
from vlmcourse.parts.masks import padding_mask
from vlmcourse.parts.vision import RegionClassifier, check_boxes, check_pixels, crop_regions

TEXT, REGION = 0, 2  # segments; 1 is for a second text, such as an answer


@dataclass(frozen=True)
class VLBERTConfig:
    """In the margin: VL-BERT-base, the paper's Sec. 3.2 and the configuration its authors released."""

    vocabulary: int  # paper: 30,522 (WordPiece)
    mask_token_id: int  # id of [MASK]
    image: int  # id of [IMG], the word of every region
    end: int  # id of [END], after the regions
    classes: int  # of regions. paper: 1,601
    image_size: int = 64  # paper: the shorter side 600
    side: int = 12  # regions are resized to side x side pixels. paper: 14, of a feature map
    wavelengths: int = 8  # for each coordinate of a box. paper: 2,048 numbers in all
    appearance: int = 128  # width of a region's appearance feature. paper: 2,048
    context: int = 32  # tokens. paper: 64
    width: int = 128  # paper: 768
    depth: int = 4  # paper: 12
    heads: int = 4  # paper: 12
    hidden: int | None = None  # paper: 4 * width
    mask_prob: float = 0.15  # of words, and of regions
    visual_scale: float = 0.0  # initial weight of the visual LayerNorms. paper's code: 0
    eps: float = 1e-12


def geometry_embedding(boxes: Tensor, wavelengths: int) -> Tensor:
    """Boxes (B, R, 4) as sines and cosines of growing wavelengths: (B, R, 8 * wavelengths) (Sec. 3.2, "visual geometry")."""
    steps = torch.arange(wavelengths, device=boxes.device) / wavelengths
    angles = (
        100 * boxes[..., None] / 100**steps
    )  # (B, R, 4, n); lengths of 1 to 100 hundredths of the image
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(2)


def mask_pixels(pixel_values: Tensor, boxes: Tensor, masked: Tensor) -> Tensor:
    """Images (B, 3, S, S) with zeros inside boxes (B, R, 4) that are masked (B, R), and in pixels that they touch."""
    S = pixel_values.shape[-1]
    centres, margin = (torch.arange(S, device=pixel_values.device) + 0.5) / S, 1 / S
    x1, y1, x2, y2 = (side[..., None] for side in boxes.unbind(-1))  # (B, R, 1)
    columns = (centres > x1 - margin) & (centres < x2 + margin)  # (B, R, S)
    rows = (centres > y1 - margin) & (centres < y2 + margin)
    inside = rows[..., :, None] & columns[..., None, :] & masked[..., None, None]
    return pixel_values.masked_fill(inside.any(1)[:, None], 0)


class VLBERT(nn.Module):
    """Logits of masked words and regions; `losses` trains both.

    A batch: `ids` (B, T), 0 at padding; `pixel_values` (B, 3, S, S); `boxes` (B, R, 4) and `region_mask` (B, R), False at padding.
    region_classifier  whose appearance features are the initial ones (copied, then trained), as the paper's detector; default: untrained
    """

    def __init__(self, config: VLBERTConfig, region_classifier: RegionClassifier | None = None):
        super().__init__()
        self.config = c = config
        self.embed_word = WordEmbedding(c.vocabulary, c.width, c.context)
        self.embed_position = nn.Embedding(c.context + 2, c.width)
        self.embed_segment = nn.Embedding(3, c.width)
        self.embed_visual = nn.Linear(c.appearance + 8 * c.wavelengths, c.width)
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
        self.appearance = RegionClassifier(c.side, c.appearance, c.classes).appearance
        if region_classifier is not None:
            self.appearance.load_state_dict(region_classifier.appearance.state_dict())
        for norm in (self.norm_visual_text, self.norm_visual_region):
            nn.init.constant_(norm.weight, c.visual_scale)

    def embed_visual_features(self, pixel_values: Tensor, boxes: Tensor) -> Tensor:
        """Visual feature of each box, from appearance and geometry: (B, 3, S, S), (B, R, 4) -> (B, R, D)."""
        crops = crop_regions(pixel_values, boxes, self.config.side).flatten(2)
        geometry = geometry_embedding(boxes, self.config.wavelengths)
        return self.embed_visual(torch.cat([self.appearance(crops), geometry], dim=-1))

    def embed(
        self, batch: dict[str, Tensor], masked_regions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Input of the blocks: words, regions, [END], (B, T + R + 1, D), and which are not padding (B, T + R + 1) (Sec. 3.2).

        masked_regions  (B, R) booleans: their pixels are removed from the image, so that neither the whole image's feature
                        nor another box shows them
        Raises ValueError for other pixels or boxes, and unless there is one text per image.
        """
        c, ids, boxes, pixel_values = (
            self.config,
            batch["ids"],
            batch["boxes"],
            batch["pixel_values"],
        )
        check_pixels(pixel_values, c.image_size)
        check_boxes(boxes)
        check_batch_sizes(texts=ids, pictures=boxes)
        (B, T), R = ids.shape, boxes.shape[1]
        if masked_regions is not None:
            pixel_values = mask_pixels(pixel_values, boxes, masked_regions)
        whole = boxes.new_tensor([0, 0, 1, 1]).expand(B, 1, 4)
        whole = self.norm_visual_text(self.embed_visual_features(pixel_values, whole))  # (B, 1, D)
        regions = self.norm_visual_region(self.embed_visual_features(pixel_values, boxes))
        visual = torch.cat([whole.expand(B, T, -1), regions, whole], dim=1)  # (B, T + R + 1, D)
        img, end = (self.embed_word.weight[token] for token in (c.image, c.end))
        words = [self.embed_word(ids), img.expand(B, R, -1), end.expand(B, 1, -1)]
        is_token = ids != 0
        after = is_token.sum(1, keepdim=True)  # (B, 1), the position of all regions
        text_position = torch.arange(T, device=ids.device).expand(B, T)
        position = torch.cat([text_position, after.expand(B, R), after + 1], dim=1)
        segment = torch.tensor([TEXT] * T + [REGION] * (R + 1), device=ids.device)
        x = torch.cat(words, dim=1) + visual
        x = self.norm(x + self.embed_segment(segment) + self.embed_position(position))
        return x, torch.cat([is_token, batch["region_mask"], is_token.new_ones(B, 1)], dim=1)

    def forward(
        self, batch: dict[str, Tensor], masked_regions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """States of the words (B, T, D) and of the regions (B, R, D). masked_regions: see `embed`."""
        x, is_key = self.embed(batch, masked_regions)
        mask, T = padding_mask(is_key, 1).to_bool(), batch["ids"].shape[1]
        for block in self.blocks:
            x = block(x, mask)
        return x[:, :T], x[:, T:-1]

    def mlm_logits(self, batch: dict[str, Tensor], masked_regions: Tensor | None = None) -> Tensor:
        """Logits (B, T, V) over words at each position."""
        return self.mlm_head(self(batch, masked_regions)[0], self.embed_word.weight)

    def region_logits(
        self, batch: dict[str, Tensor], masked_regions: Tensor | None = None
    ) -> Tensor:
        """Logits (B, R, C) over classes of each region."""
        return self.region_head(self(batch, masked_regions)[1])

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """{"mlm", "mrc"}: masked words, and masked regions' most likely class in `classes` (B, R, C) of the batch (Sec. 3.3)."""
        c, ids = self.config, batch["ids"]
        words = sample_mask(maskable(ids), c.mask_prob)
        masked = sample_mask(batch["region_mask"], c.mask_prob)
        inputs = {**batch, "ids": mask_tokens(ids, words, c.mask_token_id, c.vocabulary)}
        text, regions = self(inputs, masked_regions=masked)
        word_logits = self.mlm_head(text[words], self.embed_word.weight)
        region_logits, classes = self.region_head(regions[masked]), batch["classes"][masked]
        return {
            "mlm": masked_cross_entropy(word_logits, ids[words]),
            "mrc": masked_cross_entropy(region_logits, classes.argmax(-1)),
        }

    def load_bert(self, bert: nn.Module) -> VLBERT:
        """Copies the weights of a `transformers.BertModel` of the same sizes, as the paper starts from BERT. Returns self.

        [IMG], [MASK] and [END] are words of its vocabulary; the third segment is a copy of its last. Raises ValueError for
        other sizes.
        """
        source = {name: value for name, value in bert.state_dict().items() if "pooler" not in name}
        names = {
            name: f"embeddings.{name}_embeddings.weight" for name in ("position", "token_type")
        }
        source[names["position"]] = source[names["position"]][: len(self.embed_position.weight)]
        segments = source[names["token_type"]]
        source[names["token_type"]] = segments[[0, 1, min(2, len(segments) - 1)]]
        fresh = ("embed_visual", "norm_visual", "mlm_head", "region_head", "appearance")
        return checkpoints.copy_weights(self, source, checkpoint_formats.BERT, fresh=fresh)
