"""From pixels to vectors: patches, boxes, a Vision Transformer, a small ResNet, attention pooling.

Pixels are float (B, 3, S, S), normalised: the course's own are uint8 / 127.5 - 1, so within [-1, 1].
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, grid_sample

from vlmcourse.parts.attention import Attention
from vlmcourse.parts.layers import Transformer


def check_pixels(pixel_values: Tensor, size: int) -> None:
    """Raises ValueError, with what to do, unless pixels are float (B, 3, size, size) in a normalised range."""
    advice = (
        f"Expected normalised float pixels (batch, 3, {size}, {size}): images.float() / 127.5 - 1."
    )
    if not pixel_values.is_floating_point():
        raise ValueError(f"pixels are {str(pixel_values.dtype).removeprefix('torch.')}. {advice}")
    if pixel_values.dim() != 4 or pixel_values.shape[1:] != (3, size, size):
        raise ValueError(f"pixels have shape {tuple(pixel_values.shape)}. {advice}")
    if (
        not (largest := pixel_values.detach().amax().item()) <= 16
    ):  # written so that NaN, which compares false, is caught too
        raise ValueError(
            f"pixels reach {largest:.0f}, so they seem to be 0..255 or broken. {advice}"
        )


def check_boxes(boxes: Tensor) -> None:
    """Raises ValueError, with what to do, unless boxes (B, R, 4) are x1, y1, x2, y2 within the picture, as fractions of it."""
    if boxes.dim() != 3 or boxes.shape[-1] != 4 or not boxes.is_floating_point():
        raise ValueError(
            f"boxes are {tuple(boxes.shape)} of {boxes.dtype}; "
            "expected fractions (batch, regions, 4): x1, y1, x2, y2."
        )
    x1, y1, x2, y2 = boxes.unbind(-1)
    inside = (
        (x1 >= 0) & (y1 >= 0) & (x2 <= 1) & (y2 <= 1) & (x1 < x2) & (y1 < y2)
    )  # NaN compares false, so it is caught
    if not inside.all():
        row, region = (~inside).nonzero()[0].tolist()
        found = ", ".join(f"{value:.2f}" for value in boxes[row, region].tolist())
        raise ValueError(
            f"region {region} of picture {row} lies outside the picture, or is empty: x1, y1, x2, y2 = {found}. "
            "Expected 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1: divide pixels by the picture's width and height."
        )


def crop_regions(pixel_values: Tensor, boxes: Tensor, side: int) -> Tensor:
    """What is in each box, drawn at the same size: (B, 3, S, S), (B, R, 4) as fractions -> (B, R, 3, side, side).

    Each box is sampled twice as finely and averaged, so nothing small is lost. (RoIAlign, He et al. 2017, arXiv 1703.06870.)
    """
    check_boxes(boxes)
    steps = (torch.arange(2 * side, device=boxes.device) + 0.5) / (2 * side)
    x = boxes[..., 0, None] + (boxes[..., 2] - boxes[..., 0])[..., None] * steps  # (B, R, 2 side)
    y = boxes[..., 1, None] + (boxes[..., 3] - boxes[..., 1])[..., None] * steps
    shape = (*boxes.shape[:2], 2 * side, 2 * side)
    where = torch.stack(
        [x[:, :, None, :].expand(shape), y[:, :, :, None].expand(shape)], dim=-1
    )  # (B, R, row, column, 2)
    found = grid_sample(
        pixel_values, 2 * where.flatten(1, 2) - 1, padding_mode="border", align_corners=False
    )
    return (
        avg_pool2d(found, 2).unflatten(2, (boxes.shape[1], side)).transpose(1, 2)
    )  # (B, R, 3, side, side)


class RegionClassifier(nn.Module):
    """The half of a detector that says what is in a box; where to look it must be told. `losses` trains it.

    side        each box is drawn at side x side pixels
    features    numbers that describe a region: what a frozen namer hands on
    classes     that it tells apart
    attributes  such as colours, named beside the class so that the features hold them too (as the papers' detector was
                trained: Anderson et al. 2018, arXiv 1707.07998)
    """

    def __init__(self, side: int, features: int, classes: int, attributes: int = 1):
        super().__init__()
        self.side, self.features = side, features
        self.appearance = nn.Sequential(
            nn.Linear(3 * side**2, features),
            nn.ReLU(),
            nn.Linear(features, features),
            nn.ReLU(),
            nn.LayerNorm(features, elementwise_affine=False),
        )  # of size 1, so that a box added to them can be heard
        self.class_head = nn.Linear(features, classes)
        self.attribute_head = nn.Linear(features, attributes)

    def forward(self, pixel_values: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S), (B, R, 4) -> features (B, R, F), and logits of the classes (B, R, C)."""
        seen = self.appearance(crop_regions(pixel_values, boxes, self.side).flatten(2))
        return seen, self.class_head(seen)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `pixel_values`, `boxes`, `region_mask` (B, R), `classes` (B, R, C), rows that sum to 1, `attributes` (B, R), numbers
        -> {"classes", "attributes"}: scalars."""
        (seen, said), region_mask = (
            self(batch["pixel_values"], batch["boxes"]),
            batch["region_mask"],
        )
        return {
            "classes": cross_entropy(said[region_mask].float(), batch["classes"][region_mask]),
            "attributes": cross_entropy(
                self.attribute_head(seen[region_mask]).float(), batch["attributes"][region_mask]
            ),
        }


class PatchEmbedding(nn.Module):
    """Cuts an image into patches and projects each: (B, 3, S, S) -> (B, P, D), row by row.

    A strided convolution (ViT, Eq. 1), written as the matrix product it is: the fastest form on CPUs.
    """

    def __init__(self, patch: int, width: int, bias: bool = False):
        super().__init__()
        self.patch = patch
        self.project = nn.Linear(3 * patch * patch, width, bias)

    def forward(self, pixel_values: Tensor) -> Tensor:
        B, C, S, _ = pixel_values.shape
        grid, p = S // self.patch, self.patch
        squares = pixel_values.reshape(B, C, grid, p, grid, p).permute(
            0, 2, 4, 1, 3, 5
        )  # (B, row, column, 3, p, p)
        return self.project(squares.reshape(B, grid * grid, C * p * p))  # (B, P, D)


class ConvStem(nn.Module):
    """Halves the image by 3x3 convolutions until one position is left per patch: (B, 3, S, S) -> (B, P, D).

    Small ViTs learn faster through it than through one big patch projection (Xiao et al. 2021, arXiv 2106.14881). Its
    batch normalisation is not optional (without it this course's CLIP hardly learns), and makes a batch in two processes
    differ slightly from the same batch in one.
    """

    def __init__(self, patch: int, width: int):
        super().__init__()
        halvings = patch.bit_length() - 1
        if patch != 2**halvings or halvings < 1:
            raise ValueError(
                f"a convolutional stem halves the image, so the patch must be a power of two; found {patch}."
            )
        widths = [3] + [max(8, width >> (halvings - 1 - i)) for i in range(halvings)]
        layers: list[nn.Module] = []
        for before, after in zip(widths, widths[1:]):
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], width, 1))

    def forward(self, pixel_values: Tensor) -> Tensor:
        return (
            self.layers(pixel_values).flatten(2).transpose(1, 2)
        )  # (B, D, row, column) -> (B, P, D)


class AttentionPool(nn.Module):
    """One vector from many: the mean token asks, all tokens and the mean answer (CLIP, Sec. 2.4).

    (B, P, D) -> (B, out); positions are learned.
    """

    def __init__(self, tokens: int, width: int, heads: int, out: int | None = None):
        super().__init__()
        self.positions = nn.Parameter(torch.randn(tokens + 1, width) * width**-0.5)
        self.attention = Attention(width, heads)
        self.project = nn.Linear(width, out) if out else nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        mean = tokens.mean(1, keepdim=True)
        tokens = torch.cat([mean, tokens], dim=1) + self.positions  # (B, 1 + P, D)
        return self.project(self.attention(tokens[:, :1], tokens)[:, 0])  # (B, out)


class ViT(nn.Module):
    """Vision Transformer with pre-norm blocks (Dosovitskiy et al. 2021), as CLIP uses it: a LayerNorm before the blocks too.

    image_size, patch    pixels; image_size must be a multiple of patch
    width, depth, heads  of the transformer; hidden: width of the feed-forward (4 * width)
    stem                 module (B, 3, S, S) -> (B, P, D); default: one projection per patch, without bias
    pool                 module (B, P, D) -> (B, D) that sums an image up; default: a class token is put in front and does
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
        pool: nn.Module | None = None,
    ):
        super().__init__()
        if image_size % patch:
            raise ValueError(
                f"image size {image_size} is not a multiple of the patch size {patch}."
            )
        self.image_size, self.width, self.grid = image_size, width, image_size // patch
        self.stem = stem or PatchEmbedding(patch, width)
        if pool is None:
            self.class_token = nn.Parameter(torch.randn(width) * width**-0.5)
        self.pool = pool
        tokens = self.grid**2 + (pool is None)
        self.positions = nn.Parameter(torch.randn(tokens, width) * width**-0.5)
        self.norm_in = nn.LayerNorm(width, eps)
        self.transformer = Transformer(depth, width, heads, hidden, activation, eps)
        self.norm_out = nn.LayerNorm(width, eps)

    def _cut(self, pixel_values: Tensor) -> Tensor:
        """What the blocks read: (B, 3, S, S) -> (B, [1 +] P, D)."""
        x = self.stem(pixel_values)  # (B, P, D)
        if self.pool is None:
            x = torch.cat(
                [self.class_token.expand(len(x), 1, -1).to(x.dtype), x], dim=1
            )  # (B, 1 + P, D)
        return self.norm_in(x + self.positions)

    def tokens(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, [1 +] P, D): the class token's state first, if there is one, then the patches row by row."""
        return self.norm_out(self.transformer(self._cut(pixel_values)))

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, D), one vector an image."""
        if self.pool is not None:
            return self.pool(self.tokens(pixel_values))
        first = torch.zeros(len(pixel_values), dtype=torch.long, device=pixel_values.device)
        return self.norm_out(self.transformer.forward_at(self._cut(pixel_values), first))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a shortcut; a stride is an average pool, which does not alias (CLIP, Sec. 2.4)."""

    def __init__(self, before: int, inner: int, stride: int):
        super().__init__()
        after = 4 * inner
        pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.residual = nn.Sequential(
            nn.Conv2d(before, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            pool,
            nn.Conv2d(inner, after, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        nn.init.zeros_(self.residual[-1].weight)  # each block starts as its shortcut
        self.shortcut = (
            nn.Identity()
            if stride == 1 and before == after
            else nn.Sequential(pool, nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))
        )

    def forward(self, x: Tensor) -> Tensor:
        return (self.shortcut(x) + self.residual(x)).relu()


class ResNet(nn.Module):
    """CLIP's modified ResNet: a stem of three convolutions, average-pooled strides, attention pooling (CLIP, Sec. 2.4).

    image_size      pixels; must be a multiple of 4 * 2 ** (stages - 1)
    layers, inner   blocks in each stage; channels inside the first stage's blocks (they double at each stage)
    heads           of the attention pooling
    The summary has `width` = 4 * inner * 2 ** (stages - 1) channels.
    """

    def __init__(self, image_size: int, layers: Sequence[int], inner: int, heads: int):
        super().__init__()
        stride = 4 * 2 ** (len(layers) - 1)
        if image_size % stride:
            raise ValueError(
                f"image size {image_size} is not a multiple of this ResNet's stride, {stride}."
            )
        self.image_size, self.grid = image_size, image_size // stride
        half = inner // 2
        stem = ((3, half, 2), (half, half, 1), (half, inner, 1))
        self.stem = nn.Sequential(
            *(
                module
                for before, after, step in stem
                for module in (
                    nn.Conv2d(before, after, 3, stride=step, padding=1, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(),
                )
            ),
            nn.AvgPool2d(2),
        )
        stages, before = [], inner
        for stage, count in enumerate(layers):
            for block in range(count):
                stages.append(Bottleneck(before, inner << stage, 2 if stage and not block else 1))
                before = 4 * (inner << stage)
        self.stages = nn.Sequential(*stages)
        self.width = before
        self.pool = AttentionPool(self.grid**2, before, heads)

    def tokens(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, P, D): the last feature map, row by row."""
        return self.stages(self.stem(pixel_values)).flatten(2).transpose(1, 2)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, D), one vector an image."""
        return self.pool(self.tokens(pixel_values))
