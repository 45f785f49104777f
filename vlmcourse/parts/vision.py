"""Image encoders (Vision Transformer, CLIP's ResNet), attention pooling, and features of regions.

Pixel values are normalised floats (B, 3, S, S): this course's own are uint8 / 127.5 - 1, within [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, grid_sample

from vlmcourse.parts.attention import Attention
from vlmcourse.parts.layers import Transformer


def check_pixels(pixel_values: Tensor, size: int) -> None:
    """Raises ValueError unless pixel_values are floats (B, 3, size, size) in a normalised range."""
    advice = (
        f"Expected normalised float pixels (batch, 3, {size}, {size}): images.float() / 127.5 - 1."
    )
    if not pixel_values.is_floating_point():
        raise ValueError(f"pixels are {str(pixel_values.dtype).removeprefix('torch.')}. {advice}")
    if pixel_values.dim() != 4 or pixel_values.shape[1:] != (3, size, size):
        raise ValueError(f"pixels have shape {tuple(pixel_values.shape)}. {advice}")
    largest = pixel_values.detach().amax().item() if len(pixel_values) else 0
    if not largest <= 16:  # True for NaN too
        raise ValueError(
            f"pixels reach {largest:.0f}, so they seem to be 0..255 or broken. {advice}"
        )


def check_boxes(boxes: Tensor) -> None:
    """Raises ValueError unless boxes are floats (B, R, 4): x1 < x2, y1 < y2 as fractions of the image, within it."""
    if boxes.dim() != 3 or boxes.shape[-1] != 4 or not boxes.is_floating_point():
        raise ValueError(
            f"boxes are {tuple(boxes.shape)} of {boxes.dtype}; "
            "expected fractions (batch, regions, 4): x1, y1, x2, y2."
        )
    x1, y1, x2, y2 = boxes.unbind(-1)
    valid = (x1 >= 0) & (y1 >= 0) & (x2 <= 1) & (y2 <= 1) & (x1 < x2) & (y1 < y2)  # False for NaN
    if not valid.all():
        row, region = (~valid).nonzero()[0].tolist()
        corners = ", ".join(f"{value:.2f}" for value in boxes[row, region].tolist())
        raise ValueError(
            f"region {region} of picture {row} lies outside the picture, or is empty: x1, y1, x2, y2 = {corners}. "
            "Expected 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1: divide pixels by the picture's width and height."
        )


def crop_regions(pixel_values: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Boxes of images, resized: (B, 3, S, S), boxes (B, R, 4) as fractions -> (B, R, 3, side, side).

    Bilinear samples on a grid twice as fine, averaged 2 x 2 (as RoIAlign, He et al. 2017, arXiv 1703.06870). Raises ValueError for
    boxes that `check_boxes` refuses.
    """
    check_boxes(boxes)
    R, fine = boxes.shape[1], 2 * side
    steps = (torch.arange(fine, device=boxes.device) + 0.5) / fine
    corner, size = boxes[..., :2], boxes[..., 2:] - boxes[..., :2]
    points = corner[..., None] + size[..., None] * steps  # (B, R, x or y, fine)
    x, y = points.unbind(2)
    grid = torch.stack(
        [x[:, :, None].expand(-1, -1, fine, -1), y[..., None].expand(-1, -1, -1, fine)], dim=-1
    )  # (B, R, row, column, 2)
    sampled = grid_sample(
        pixel_values, 2 * grid.flatten(1, 2) - 1, padding_mode="border", align_corners=False
    )  # (B, 3, R * fine, fine)
    return avg_pool2d(sampled, 2).unflatten(2, (R, side)).transpose(1, 2)


class RegionClassifier(nn.Module):
    """Features and classes of given boxes: a detector without its box regression.

    side        boxes are resized to side x side pixels
    features    width F of a region's features
    classes     number of object classes; attributes: of their attributes, such as colours, trained beside the classes so that
                the features hold them too (Anderson et al. 2018, arXiv 1707.07998)
    """

    def __init__(self, side: int, features: int, classes: int, attributes: int = 1):
        super().__init__()
        self.side, self.features = side, features
        self.appearance = nn.Sequential(
            nn.Linear(3 * side**2, features),
            nn.ReLU(),
            nn.Linear(features, features),
            nn.ReLU(),
            nn.LayerNorm(features, elementwise_affine=False),  # as large as what models add to it
        )
        self.class_head = nn.Linear(features, classes)
        self.attribute_head = nn.Linear(features, attributes)

    def forward(self, pixel_values: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S), (B, R, 4) -> features (B, R, F), logits of the classes (B, R, C)."""
        features = self.appearance(crop_regions(pixel_values, boxes, self.side).flatten(2))
        return features, self.class_head(features)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cross-entropies {"classes", "attributes"} of the regions that are no padding.

        batch: `pixel_values` (B, 3, S, S), `boxes` (B, R, 4), `region_mask` (B, R) booleans, `classes` (B, R, C) probabilities,
        `attributes` (B, R) integers
        """
        features, class_logits = self(batch["pixel_values"], batch["boxes"])
        attribute_logits, mask = self.attribute_head(features), batch["region_mask"]
        return {
            "classes": cross_entropy(class_logits[mask].float(), batch["classes"][mask]),
            "attributes": cross_entropy(attribute_logits[mask].float(), batch["attributes"][mask]),
        }


class PatchEmbedding(nn.Module):
    """Linear projection of each patch, row by row: (B, 3, S, S) -> (B, P, D) (Dosovitskiy et al. 2021, Eq. 1).

    A strided convolution, written as a matrix product, its fastest form on CPUs.
    """

    def __init__(self, patch: int, width: int, bias: bool = False):
        super().__init__()
        self.patch = patch
        self.project = nn.Linear(3 * patch * patch, width, bias)

    def forward(self, pixel_values: Tensor) -> Tensor:
        B, C, S, _ = pixel_values.shape
        grid, p = S // self.patch, self.patch
        patches = pixel_values.reshape(B, C, grid, p, grid, p).permute(0, 2, 4, 1, 3, 5)
        return self.project(patches.reshape(B, grid * grid, C * p * p))


def _conv_bn_relu(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1
) -> list[nn.Module]:
    convolution = nn.Conv2d(
        in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False
    )
    return [convolution, nn.BatchNorm2d(out_channels), nn.ReLU()]


class ConvStem(nn.Module):
    """3x3 convolutions with stride 2, down to one position per patch: (B, 3, S, S) -> (B, P, D).

    Small ViTs learn faster with it than with one large patch projection (Xiao et al. 2021, arXiv 2106.14881). Without its batch
    normalisation this course's CLIP hardly learns; it makes a batch in two processes differ slightly from the same batch in one.
    Raises ValueError unless the patch is a power of two.
    """

    def __init__(self, patch: int, width: int):
        super().__init__()
        halvings = patch.bit_length() - 1
        if patch != 2**halvings or halvings < 1:
            raise ValueError(
                f"a convolutional stem halves the image, so the patch must be a power of two; found {patch}."
            )
        channels = [3] + [max(8, width >> (halvings - 1 - i)) for i in range(halvings)]
        layers = [m for pair in zip(channels, channels[1:]) for m in _conv_bn_relu(*pair, 3, 2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels[-1], width, 1))

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.layers(pixel_values).flatten(2).transpose(1, 2)


class AttentionPool(nn.Module):
    """Attention pooling with the mean token as query, learned positions: (B, P, D) -> (B, out) (CLIP, Sec. 2.4)."""

    def __init__(self, tokens: int, width: int, heads: int, out: int | None = None):
        super().__init__()
        self.positions = nn.Parameter(torch.randn(tokens + 1, width) * width**-0.5)
        self.attention = Attention(width, heads)
        self.project = nn.Linear(width, out) if out else nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        mean = tokens.mean(1, keepdim=True)
        tokens = torch.cat([mean, tokens], dim=1) + self.positions  # (B, 1 + P, D)
        return self.project(self.attention(tokens[:, :1], tokens)[:, 0])


class ViT(nn.Module):
    """Vision Transformer (Dosovitskiy et al. 2021, arXiv 2010.11929), with a LayerNorm before the blocks as in CLIP.

    image_size, patch    pixels; raises ValueError unless image_size is a multiple of patch
    width, depth, heads  of the transformer; hidden: of the feed-forward (default: 4 * width)
    stem                 module (B, 3, S, S) -> (B, P, D); default: PatchEmbedding without bias
    """

    def __init__(
        self,
        image_size: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        hidden: int | None = None,
        activation: type[nn.Module] = nn.GELU,
        eps: float = 1e-5,
        stem: nn.Module | None = None,
    ):
        super().__init__()
        if image_size % patch:
            raise ValueError(
                f"image size {image_size} is not a multiple of the patch size {patch}."
            )
        self.image_size, self.width, self.grid = image_size, width, image_size // patch
        self.stem = stem or PatchEmbedding(patch, width)
        self.class_token = nn.Parameter(torch.randn(width) * width**-0.5)
        self.positions = nn.Parameter(torch.randn(1 + self.grid**2, width) * width**-0.5)
        self.norm_in: nn.Module = nn.LayerNorm(width, eps)
        self.transformer = Transformer(depth, width, heads, hidden, activation, eps)
        self.norm_out: nn.Module = nn.LayerNorm(width, eps)

    def embed(self, pixel_values: Tensor) -> Tensor:
        """Input of the blocks: (B, 3, S, S) -> (B, 1 + P, D)."""
        x = self.stem(pixel_values)
        class_token = self.class_token.expand(len(x), 1, -1).to(x.dtype)
        return self.norm_in(torch.cat([class_token, x], dim=1) + self.positions)

    def tokens(self, pixel_values: Tensor) -> Tensor:
        """States of the class token, then of the patches row by row: (B, 3, S, S) -> (B, 1 + P, D)."""
        return self.norm_out(self.transformer(self.embed(pixel_values)))

    def forward(self, pixel_values: Tensor) -> Tensor:
        """The class token's state: (B, 3, S, S) -> (B, D)."""
        first = torch.zeros(len(pixel_values), dtype=torch.long, device=pixel_values.device)
        return self.norm_out(self.transformer.forward_at(self.embed(pixel_values), first))


class Bottleneck(nn.Module):
    """ResNet block of 1x1, 3x3 and 1x1 convolutions; a stride is an average pooling, against aliasing (CLIP, Sec. 2.4)."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        out_channels = 4 * channels
        last_norm = nn.BatchNorm2d(out_channels)
        nn.init.zeros_(last_norm.weight)  # each block starts as its shortcut
        pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.residual = nn.Sequential(
            *_conv_bn_relu(in_channels, channels, 1),
            *_conv_bn_relu(channels, channels, 3),
            pool,
            nn.Conv2d(channels, out_channels, 1, bias=False),
            last_norm,
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            projection = nn.Conv2d(in_channels, out_channels, 1, bias=False)
            self.shortcut = nn.Sequential(pool, projection, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return (self.shortcut(x) + self.residual(x)).relu()


class ResNet(nn.Module):
    """CLIP's ResNet: a stem of three convolutions, average-pooled strides, attention pooling (CLIP, Sec. 2.4).

    image_size  pixels; raises ValueError unless it is a multiple of 4 * 2 ** (stages - 1)
    blocks      in each stage
    channels    inside the blocks of the first stage; they double at each stage
    heads       of the attention pooling. The vector has `width` = 4 * channels * 2 ** (stages - 1) entries
    """

    def __init__(self, image_size: int, blocks: Sequence[int], channels: int, heads: int):
        super().__init__()
        stride = 4 * 2 ** (len(blocks) - 1)
        if image_size % stride:
            raise ValueError(
                f"image size {image_size} is not a multiple of this ResNet's stride, {stride}."
            )
        self.image_size, self.grid = image_size, image_size // stride
        half = channels // 2
        self.stem = nn.Sequential(
            *_conv_bn_relu(3, half, 3, 2),
            *_conv_bn_relu(half, half, 3),
            *_conv_bn_relu(half, channels, 3),
            nn.AvgPool2d(2),
        )
        stages, width = [], channels
        for stage, count in enumerate(blocks):
            for block in range(count):
                stages.append(Bottleneck(width, channels << stage, 2 if stage and not block else 1))
                width = 4 * (channels << stage)
        self.stages = nn.Sequential(*stages)
        self.width = width
        self.pool = AttentionPool(self.grid**2, width, heads)

    def tokens(self, pixel_values: Tensor) -> Tensor:
        """The last feature map, row by row: (B, 3, S, S) -> (B, P, D)."""
        return self.stages(self.stem(pixel_values)).flatten(2).transpose(1, 2)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """One vector per image: (B, 3, S, S) -> (B, D)."""
        return self.pool(self.tokens(pixel_values))
