"""Any picture that Pillow opens -> uint8 RGB of one size."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

LARGEST = 100_000_000  # pixels; more is a mistake or an attack
ORIENTATION = 0x0112  # the EXIF tag


def load_picture(source, size: int) -> np.ndarray:
    """Any picture -> (size, size, 3) uint8: turned upright, on white where transparent, shorter side fitted, centre kept.

    source  a path, encoded bytes, {"bytes": ..., "path": ...} (as `datasets` stores pictures), a PIL image, or an array
            (H, W), (H, W, 3) or (H, W, 4)

    Depths other than 8 bits are scaled as `to_uint8` says. Raises ValueError (or an error of Pillow's) with the reason.
    """
    from PIL import Image, ImageOps

    if isinstance(source, (str, Path, bytes, dict)):
        with Image.open(io.BytesIO(content(source))) as opened:
            return load_picture(opened, size)
    if isinstance(source, list):
        source = np.asarray(source)
    if isinstance(source, np.ndarray):
        if source.ndim not in (2, 3) or (source.ndim == 3 and source.shape[2] not in (3, 4)):
            raise ValueError(
                f"the picture has shape {source.shape}; expected (height, width) or (height, width, 3 or 4)"
            )
        source = Image.fromarray(to_uint8(source))
    if not isinstance(source, Image.Image):
        raise ValueError(
            "there is no picture (null)"
            if source is None
            else f"found {source!r:.40} ({type(source).__name__}), not a picture"
        )
    if source.width * source.height > LARGEST:
        raise ValueError(
            f"{source.width} x {source.height} pixels; at most {LARGEST:,} are read. Make it smaller"
        )
    source.draft("RGB", (2 * size, 2 * size))  # JPEGs: decode no more than needed
    upright = _upright(source)
    if upright.mode.startswith(("I", "F")):
        upright = Image.fromarray(to_uint8(np.asarray(upright), sixteen=";16" in upright.mode))
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        layer = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return np.asarray(ImageOps.fit(upright.convert("RGB"), (size, size), Image.Resampling.BICUBIC))


def to_uint8(values: np.ndarray, sixteen: bool = False) -> np.ndarray:
    """Numbers of any depth -> uint8. Booleans: 0 or 255. 16-bit integers, and others up to 65,535: divided by 257. Floats
    from 0 to 1: times 255. What lies in 0 to 255: as it is. Anything else: linearly from its lowest to its highest.

    sixteen  the file says that these are 16 bits, also where all are below 256
    Raises ValueError for what isn't a finite number.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * 255
    if values.dtype.kind not in "iuf" or not values.size or not np.isfinite(values).all():
        raise ValueError(
            f"the picture's values are {values.dtype}, and not all finite numbers; expected brightness"
        )
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        scaled = values * 255.0
    elif sixteen or values.dtype == np.uint16 or (low >= 0 and 255 < high <= 65535):
        scaled = values.astype(float) / 257
    elif low >= 0 and high <= 255:
        scaled = values
    else:
        scaled = (values.astype(float) - low) * (255 / max(high - low, 1e-12))
    return np.asarray(scaled).round().clip(0, 255).astype(np.uint8)


def content(source) -> bytes:
    """The encoded bytes of a picture, or an array's numbers as bytes: what tells pictures apart, whatever their names."""
    if isinstance(source, dict):
        source = source.get("bytes") or source.get("path")
    if isinstance(source, (str, Path)):
        return Path(source).read_bytes()
    if isinstance(source, bytes):
        return source
    values = np.asarray(source)
    if values.dtype == object:
        raise ValueError("there is no picture (null)" if source is None else "not a picture")
    return f"{values.dtype} {values.shape}".encode() + values.tobytes()


def content_hash(source) -> str:
    """SHA-256 of `content`."""
    return hashlib.sha256(content(source)).hexdigest()


def _upright(opened):
    """Turned as its EXIF orientation says. Only that tag is read: the rest of the block is often damaged, or unwritable."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "Corrupt EXIF data": it is no concern of ours
            orientation = opened.getexif().get(ORIENTATION, 1)
    except Exception:  # a damaged block raises anything; the picture itself is fine
        orientation = 1
    turn = Image.Transpose
    turns = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_270,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_90,
    }
    return opened.transpose(turns[orientation]) if orientation in turns else opened


def readable(read: Callable[[], np.ndarray]) -> np.ndarray | str:
    """The picture, or the reason why there is none."""
    from PIL import UnidentifiedImageError

    try:
        return read()
    except FileNotFoundError:
        return "there is no such file"
    except UnidentifiedImageError:
        return "not a picture"
    except Exception as error:  # Pillow's readers raise anything on damaged files
        return f"{error}" or type(error).__name__
