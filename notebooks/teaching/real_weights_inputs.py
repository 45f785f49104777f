"""Lesson 15: the checks of the exercise on pixels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from teaching import real_weights_reference as reference
from teaching.exercises import Exercise, number, rule, rule_on
from vlmgrader.checks import driver_source


def run_on_picture(target, pixels, size, mean, std):
    """Driver: the student's function of an RGB picture of PIL."""
    from PIL import Image

    return target(Image.fromarray(pixels.numpy()), size, mean, std)


def smooth_picture(generator: torch.Generator, height: int, width: int) -> Tensor:
    """Random colours, not only noise: (height, width, 3) bytes."""
    coarse = torch.rand(1, 3, 4, 5, generator=generator)
    image = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    image = 0.7 * image + 0.3 * torch.rand(image.shape, generator=generator)
    return (255 * image[0].permute(1, 2, 0)).to(torch.uint8)


def picture_inputs(generator: torch.Generator, short: int = 0, size: int = 0) -> tuple[list, dict]:
    """A wide or a tall picture, the size wanted, and mean and deviation of each colour. short: its shorter side"""
    short, long = short or number(generator, 19, 23), number(generator, 31, 41)
    shape = (short, long) if number(generator, 0, 1) else (long, short)
    size = size or number(generator, 9, 13)
    mean = torch.tensor([0.48, 0.43, 0.38]) + 0.02 * torch.rand(3, generator=generator)
    std = torch.tensor([0.23, 0.27, 0.31]) + 0.02 * torch.rand(3, generator=generator)
    return [smooth_picture(generator, *shape), size, mean, std], {}


BICUBIC = Image.Resampling.BICUBIC


def fitted(picture: Image.Image, size: int, how=BICUBIC, crop: str = "centre") -> Image.Image:
    """The shorter side resized to `size`, then a square."""
    width, height = picture.size
    short = min(width, height)
    picture = picture.resize((size * width // short, size * height // short), how)
    width, height = picture.size
    left, top = {
        "centre": ((width - size) // 2, (height - size) // 2),
        "first": (0, 0),
        "last": (width - size, height - size),
    }[crop]
    return picture.crop((left, top, left + size, top + size))


def by_factor(picture: Image.Image, size: int) -> Image.Image:
    """Both sides times a factor that is rounded before it is used."""
    factor = size / min(picture.size)
    picture = picture.resize(tuple(int(side * factor) for side in picture.size), BICUBIC)
    left, top = ((side - size) // 2 for side in picture.size)
    return picture.crop((left, top, left + size, top + size))


def rounded(picture: Image.Image, size: int) -> Image.Image:
    """The longer side rounded to the nearest whole number."""
    width, height = picture.size
    short = min(width, height)
    picture = picture.resize((round(size * width / short), round(size * height / short)), BICUBIC)
    return cropped_first(picture, size)


def off_centre(picture: Image.Image, size: int) -> Image.Image:
    """An odd margin is divided the other way round."""
    width, height = picture.size
    short = min(width, height)
    picture = picture.resize((size * width // short, size * height // short), BICUBIC)
    left, top = (picture.size[0] - size + 1) // 2, (picture.size[1] - size + 1) // 2
    return picture.crop((left, top, left + size, top + size))


def squashed(picture: Image.Image, size: int) -> Image.Image:
    return picture.resize((size, size), BICUBIC)


def padded(picture: Image.Image, size: int) -> Image.Image:
    """The longer side resized to `size`, on black."""
    width, height = picture.size
    long = max(width, height)
    picture = picture.resize((size * width // long, size * height // long), BICUBIC)
    square = Image.new("RGB", (size, size))
    square.paste(picture, ((size - picture.size[0]) // 2, (size - picture.size[1]) // 2))
    return square


def longer_side(picture: Image.Image, size: int) -> Image.Image:
    """The longer side resized to `size`; the square reaches beyond the picture."""
    width, height = picture.size
    long = max(width, height)
    picture = picture.resize((size * width // long, size * height // long), BICUBIC)
    return cropped_first(picture, size)


def turned_sizes(picture: Image.Image, size: int) -> Image.Image:
    """Width and height are exchanged when the picture is resized."""
    width, height = picture.size
    short = min(width, height)
    picture = picture.resize((size * height // short, size * width // short), BICUBIC)
    return cropped_first(picture, size)


def turned_corner(picture: Image.Image, size: int) -> Image.Image:
    """Left and top are exchanged when the square is cut."""
    width, height = picture.size
    short = min(width, height)
    picture = picture.resize((size * width // short, size * height // short), BICUBIC)
    left, top = (picture.size[1] - size) // 2, (picture.size[0] - size) // 2
    return picture.crop((left, top, left + size, top + size))


def largest_square(picture: Image.Image, size: int) -> Image.Image:
    """The largest square from the middle, then resized."""
    return squashed(cropped_first(picture, min(picture.size)), size)


def cropped_first(picture: Image.Image, size: int) -> Image.Image:
    """A square of `size` from the middle of the large picture."""
    left, top = (picture.size[0] - size) // 2, (picture.size[1] - size) // 2
    return picture.crop((left, top, left + size, top + size))


def prepared(
    pixels: Tensor,
    size: int,
    mean: Tensor,
    std: Tensor,
    fit: Callable = fitted,
    largest: float = 255,
    finish=lambda values, mean, std: (values - mean) / std,
) -> Tensor:
    """preprocess with other choices; finish works on channels last."""
    picture = fit(Image.fromarray(pixels.numpy()), size)
    values = torch.from_numpy(np.array(picture)) / largest
    return finish(values, mean, std).permute(2, 0, 1).contiguous()


def scrambled(*args) -> Tensor:
    """Reshaped instead of permuted."""
    pixels, size, mean, std = args
    picture = fitted(Image.fromarray(pixels.numpy()), size)
    values = torch.from_numpy(np.array(picture)).reshape(3, size, size) / 255
    return (values - mean[:, None, None]) / std[:, None, None]


def interpolated(pixels: Tensor, size: int, mean: Tensor, std: Tensor, antialias: bool) -> Tensor:
    """The shorter side resized as a tensor, by torch."""
    height, width = (size * side // min(pixels.shape[:2]) for side in pixels.shape[:2])
    values = torch.nn.functional.interpolate(
        pixels.permute(2, 0, 1)[None].float(),
        (height, width),
        mode="bicubic",
        align_corners=False,
        antialias=antialias,
    )[0]
    left, top = (width - size) // 2, (height - size) // 2
    values = values[:, top : top + size, left : left + size] / 255
    return (values - mean[:, None, None]) / std[:, None, None]


PICTURE_MISTAKES = {
    "the picture is squashed: a wide one becomes narrow. Resize both sides by one factor.": partial(
        prepared, fit=squashed
    ),
    "the longer side has the wanted size, the rest is black: resize the shorter side.": partial(
        prepared, fit=padded
    ),
    "the longer side has the wanted size, so the square reaches beyond the picture: resize the shorter side.": (
        partial(prepared, fit=longer_side)
    ),
    "a tensor is resized in place of the picture: torch's filter gives other values than Pillow's.": (
        partial(interpolated, antialias=False),
        partial(interpolated, antialias=True),
    ),
    "the pixels are divided by 256; the largest byte is 255.": partial(prepared, largest=256),
    "divided by the squared deviation; divide by the deviation.": partial(
        prepared, finish=lambda values, mean, std: (values - mean) / std**2
    ),
    "left and right are exchanged.": partial(
        prepared, finish=lambda values, mean, std: (values.flip(1) - mean) / std
    ),
    "the square is cut from the large picture: resize first.": partial(prepared, fit=cropped_first),
    "the largest square is cut, then resized: cut after resizing, not before.": partial(
        prepared, fit=largest_square
    ),
    "width and height are exchanged in `resize`: picture.size is (width, height).": partial(
        prepared, fit=turned_sizes
    ),
    "left and top are exchanged in `crop`.": partial(prepared, fit=turned_corner),
    "rows and columns are exchanged: the array is (height, width, 3), the result (3, height, width).": (
        lambda *args: prepared(*args).transpose(1, 2).contiguous()
    ),
    "the square is the upper or left end; wanted is the middle.": partial(
        prepared, fit=partial(fitted, crop="first")
    ),
    "the square is the lower or right end; wanted is the middle.": partial(
        prepared, fit=partial(fitted, crop="last")
    ),
    "the longer side is rounded to the nearest number; CLIP's processor rounds it down.": partial(
        prepared, fit=rounded
    ),
    "an odd margin is divided the wrong way: the left or upper side has one pixel less.": partial(
        prepared, fit=off_centre
    ),
    "the picture is resized bilinearly; wanted is bicubic.": partial(
        prepared, fit=partial(fitted, how=Image.Resampling.BILINEAR)
    ),
    "the picture is resized without a filter (nearest); wanted is bicubic.": partial(
        prepared, fit=partial(fitted, how=Image.Resampling.NEAREST)
    ),
    "the picture is resized with Lanczos' filter; wanted is bicubic.": partial(
        prepared, fit=partial(fitted, how=Image.Resampling.LANCZOS)
    ),
    "the pixels are still 0 to 255 when the mean is subtracted: divide by 255 first.": partial(
        prepared, largest=1
    ),
    "the pixels are from 0 to 1: mean and deviation are not used.": partial(
        prepared, finish=lambda values, *_: values
    ),
    "the pixels are from -1 to 1, the course's own range; this checkpoint has its own numbers.": partial(
        prepared, finish=lambda values, *_: 2 * values - 1
    ),
    "nothing is divided by the deviation.": partial(
        prepared, finish=lambda values, mean, std: values - mean
    ),
    "the mean is not subtracted.": partial(prepared, finish=lambda values, mean, std: values / std),
    "multiplied by the deviation; divide by it.": partial(
        prepared, finish=lambda values, mean, std: (values - mean) * std
    ),
    "red and blue are exchanged: PIL gives RGB.": partial(
        prepared, finish=lambda values, mean, std: (values.flip(-1) - mean) / std
    ),
    "the channels have each other's mean and deviation.": partial(
        prepared, finish=lambda values, mean, std: (values - mean.flip(0)) / std.flip(0)
    ),
    "the picture is scrambled: reshape moves no axes; permute(2, 0, 1) does.": scrambled,
}


def explain_picture(got: object, wanted: Tensor, *_) -> str | None:
    if isinstance(got, Tensor) and got.dim() == 3 and got.shape[-1] == 3 != got.shape[0]:
        return f"found shape {tuple(got.shape)}: channels come first, {tuple(wanted.shape)}."
    return None


EXERCISES = {
    "preprocess": Exercise(
        "The same pixels as CLIP's own processor gives.",
        (
            rule(
                "preprocess",
                picture_inputs,
                prepared,
                PICTURE_MISTAKES,
                driver=driver_source(run_on_picture),
                explain=explain_picture,
                tolerance=2e-3,
            ),
            rule_on(
                "preprocess",
                partial(picture_inputs, short=23, size=13),
                prepared,
                {
                    "the shorter side lost a pixel: int(23 * (13 / 23)) is 12. Multiply before you divide.": partial(
                        prepared, fit=by_factor
                    )
                },
                driver=driver_source(run_on_picture),
                explain=explain_picture,
                tolerance=2e-3,
            ),
        ),
        reference=reference.preprocess,
    ),
}
