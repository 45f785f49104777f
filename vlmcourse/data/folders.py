"""Your own pictures with captions: a folder, or a Hugging Face data set. For one too large to hold see streams."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vlmcourse.data.images import content_hash, load_picture, readable
from vlmcourse.data.metadata import read_metadata
from vlmcourse.world import tokenizer as words
from vlmcourse.world.rendering import to_pixels


@dataclass(frozen=True)
class CaptionedPictures:
    """Pictures with one caption or more; a row is a caption with its picture. Made by `read_folder` and `read_dataset`.

    pictures    uint8 (N, size, size, 3)
    hashes      of each picture's content: equal pictures are one picture, under whatever names
    names       of each picture, for messages
    texts       of each row, its caption
    picture_of  of each row, the number of its picture
    tokenizer   word-level, of these captions' own words
    encoder     texts -> ids (B, T), if not `tokenizer`'s
    """

    pictures: np.ndarray
    hashes: tuple[str, ...]
    names: tuple[str, ...]
    texts: tuple[str, ...]
    picture_of: tuple[int, ...]
    tokenizer: object
    encoder: Callable[[Sequence[str]], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """(B, T) ids; ValueError for an unknown word."""
        return self.encoder(texts) if self.encoder else words.encode(texts, using=self.tokenizer)

    def text(self, row: int) -> str:
        return self.texts[row]

    def images(self, rows: Sequence[int]) -> np.ndarray:
        """uint8 (B, size, size, 3)."""
        return self.pictures[[self.picture_of[row] for row in rows]]

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor | list[str]]:
        """`pixel_values` (B, 3, size, size) in [-1, 1], `ids` (B, T), `text`, and `positive_groups` (B,): the pictures' numbers,
        so that captions of one picture are not negatives of each other."""
        text = [self.texts[row] for row in rows]
        return {
            "pixel_values": to_pixels(self.images(rows)),
            "ids": self.encode(text),
            "text": text,
            "positive_groups": torch.tensor([self.picture_of[row] for row in rows]),
        }

    def select(self, numbers: Sequence[int]) -> CaptionedPictures:
        """Only these pictures, in this order, with all their captions; the same words stay known."""
        rows = [(row, n) for n, old in enumerate(numbers) for row in self._rows[old]]
        return replace(
            self,
            pictures=self.pictures[list(numbers)],
            hashes=tuple(self.hashes[n] for n in numbers),
            names=tuple(self.names[n] for n in numbers),
            texts=tuple(self.texts[row] for row, _ in rows),
            picture_of=tuple(n for _, n in rows),
        )

    @cached_property
    def _rows(self) -> list[list[int]]:
        rows: list[list[int]] = [[] for _ in self.hashes]
        for row, picture in enumerate(self.picture_of):
            rows[picture].append(row)
        return rows

    def split(self, held_out: float = 0.1) -> tuple[CaptionedPictures, CaptionedPictures]:
        """(training, held out), decided by each picture's content: neither new names nor new pictures move one across.

        Where that would leave one part empty, it gets one picture.
        """
        order = sorted(range(len(self.hashes)), key=lambda n: self.hashes[n])
        held_out_count = sum(int(self.hashes[n][:8], 16) < held_out * 16**8 for n in order)
        out = set(order[: min(max(1, held_out_count), len(order) - 1)])
        return tuple(
            self.select([n for n in range(len(order)) if (n in out) == side])
            for side in (False, True)
        )

    def distinct(self, number: int) -> list[int]:
        """All rows of the first `number` pictures."""
        return [row for rows in self._rows[:number] for row in rows]

    def fingerprint(self) -> str:
        """Changes if a picture, a caption or their order changes; names and folders do not count."""
        parts = [*self.hashes, *self.texts, *map(str, self.picture_of)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def read_folder(
    path: str | Path,
    size: int = 64,
    encode: Callable | None = None,
    strict: bool = False,
    image_column: str = "file_name",
    text_column: str = "text",
) -> CaptionedPictures:
    """Pictures in `path` with captions in its metadata.jsonl or metadata.csv.

    Pictures that are missing or broken, and empty captions, are left out, named in one warning; with strict=True the first
    is an error. Raises FileNotFoundError, and ValueError with file and line, as `read_metadata` does.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder {folder}. Expected a folder with pictures and metadata.jsonl or metadata.csv."
        )
    metadata, entries = read_metadata(folder, image_column, text_column)
    sources = (
        (name, folder / name, texts, f"{metadata.name}, line {line}")
        for line, name, texts in entries
    )
    return _collect(sources, str(folder), size, encode, strict)


def read_dataset(
    name: str,
    split: str = "train",
    size: int = 64,
    encode: Callable | None = None,
    strict: bool = False,
    image_column: str = "image",
    text_column: str = "text",
) -> CaptionedPictures:
    """A Hugging Face data set: saved on disk (a folder of `save_to_disk`) or named on the hub. Broken rows: see `read_folder`.

    Raises FileNotFoundError for a data set that isn't to be had, ValueError for a split or a column that isn't there.
    """
    import datasets

    try:
        loaded = (
            datasets.load_from_disk(name)
            if Path(name).is_dir()
            else datasets.load_dataset(name, split=split)
        )
    except (ConnectionError, OSError, datasets.exceptions.DatasetNotFoundError) as error:
        raise FileNotFoundError(
            f"no dataset '{name}': neither a folder of save_to_disk() nor to be had from the hub "
            f"({type(error).__name__}). Offline, save it once where there is a network."
        ) from error
    if isinstance(loaded, datasets.DatasetDict):
        if split not in loaded:
            raise ValueError(f"no split '{split}' in {name}; it has {', '.join(loaded)}.")
        loaded = loaded[split]
    check_columns(loaded.column_names, image_column, text_column)
    loaded = undecoded(loaded, image_column)
    sources = (
        (f"row {row}", values[image_column], values[text_column], f"row {row}")
        for row, values in enumerate(loaded)
    )
    return _collect(sources, name, size, encode, strict)


def check_columns(columns: Iterable[str], image: str, text: str) -> None:
    """Raises ValueError, naming the columns there are, unless both are among them."""
    if missing := {image, text} - set(columns):
        raise ValueError(
            f"no column {' or '.join(sorted(missing))} in the dataset; it has {', '.join(columns)}. Name them: "
            "--image-column, --text-column (image_column=..., text_column=...)."
        )


def undecoded(loaded, image_column: str):
    """The same data set with pictures as bytes: decoded one by one, a broken one can be passed over."""
    import datasets

    if isinstance((loaded.features or {}).get(image_column), datasets.Image):
        return loaded.cast_column(image_column, datasets.Image(decode=False))
    return loaded


def _collect(
    sources: Iterable[tuple[str, object, object, str]],
    where: str,
    size: int,
    encode: Callable | None,
    strict: bool,
) -> CaptionedPictures:
    """sources: (name, picture, caption or captions, origin for messages). Each picture is read once."""
    numbers: dict[str, int] = {}  # content -> number
    pictures, names, texts, picture_of, faults = [], [], [], [], []
    known: dict[str, int | str] = {}  # name -> number, or what is wrong with it
    total = 0
    for name, source, captions, origin in sources:
        total += 1
        captions = captions if isinstance(captions, (list, tuple)) else [captions]
        good = [text.strip() for text in captions if isinstance(text, str) and text.strip()]
        if len(good) < max(1, len(captions)):
            wrong = next((text for text in captions if not isinstance(text, str)), "")
            reason = (
                f"the caption is {wrong!r:.40}, not a text"
                if wrong != ""
                else "the caption is empty"
            )
            faults.append(f"{name} ({origin}): {reason}")
        if good and name not in known:
            picture = readable(lambda source=source: load_picture(source, size))
            if isinstance(picture, str):
                known[name] = picture
                faults.append(f"{name}: {picture}")
            else:
                digest = content_hash(source)
                if digest not in numbers:
                    numbers[digest] = len(pictures)
                    pictures.append(picture)
                    names.append(name)
                known[name] = numbers[digest]
        if strict and faults:
            raise ValueError(
                f"{where}: {faults[0]}. Mend or remove it, or read the rest with strict=False."
            )
        if good and isinstance(known[name], int):
            texts += good
            picture_of += [known[name]] * len(good)
    if faults:
        first = "; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
        warnings.warn(
            f"{len(faults)} of {total} pictures in {where} are left out: {first}", stacklevel=3
        )
    if not texts:
        raise ValueError(f"none of the {total} pictures of {where} can be read.")
    own = words.build_caption_tokenizer(texts)
    rows = CaptionedPictures(
        np.stack(pictures),
        tuple(numbers),
        tuple(names),
        tuple(texts),
        tuple(picture_of),
        own,
        encode,
    )
    rows.encode(
        texts
    )  # a caption that cannot be read is found now, not at some step of the training
    return rows
