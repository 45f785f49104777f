"""Your own pictures: a folder with captions, a Hugging Face dataset, or a stream too large to hold.

`Folder` and `Rows` have the protocol of world.Pairs (`batch(indices)`), and a length; `Stream` is read in order. All of
them turn any picture PIL can open (grey, RGBA, palette, CMYK, 16 bit, turned by EXIF) into the models' pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

LARGEST = 100_000_000  # pixels; more is a mistake or an attack


def load_picture(source, size: int) -> np.ndarray:
    """Any picture -> (size, size, 3) uint8: turned upright, on white where transparent, shorter side fitted, centre kept.

    source: a path, a PIL image, or a uint8 array (H, W), (H, W, 3) or (H, W, 4). Raises ValueError saying what is wrong.
    """
    from PIL import Image, ImageOps

    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8:
            raise ValueError(
                f"the picture's numbers are {source.dtype}, from {source.min():g} to {source.max():g}; "
                "expected uint8, 0 to 255."
            )
        if source.ndim not in (2, 3) or (source.ndim == 3 and source.shape[2] not in (3, 4)):
            raise ValueError(
                f"the picture has shape {source.shape}; expected (height, width) or (height, width, 3 or 4)."
            )
        opened = Image.fromarray(source)
    elif isinstance(source, (str, Path)):
        with Image.open(source) as opened:
            return load_picture(opened, size)
    else:
        opened = source
    if opened.width * opened.height > LARGEST:
        raise ValueError(
            f"{opened.width} x {opened.height} pixels; at most {LARGEST:,} are read. Make it smaller."
        )
    opened.draft("RGB", (2 * size, 2 * size))  # JPEGs: decode no more than needed
    upright = ImageOps.exif_transpose(opened)
    if upright.mode.startswith("I"):  # 16 bit: keep the upper byte; PIL would clip
        upright = Image.fromarray((np.asarray(upright).clip(0, 65535) // 257).astype(np.uint8))
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        seen = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
    return np.asarray(ImageOps.fit(upright.convert("RGB"), (size, size), Image.Resampling.BICUBIC))


def _readable(read: Callable[[], np.ndarray]) -> np.ndarray | str:
    """The picture, or the reason why there is none."""
    from PIL import Image, UnidentifiedImageError

    try:
        return read()
    except UnidentifiedImageError:
        return "not a picture"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return str(error)
