"""Your own pictures: a folder with captions, a Hugging Face dataset, or a stream too large to hold.

`read_folder` and `CaptionedPictures` have the protocol of world.Pairs (`batch(indices)`), and a length; `Stream` is read in order. All of
them turn any picture PIL can open (grey, RGBA, palette, CMYK, 16 bit, turned by EXIF) into the models' pixels.
"""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from zlib import crc32

import numpy as np
from torch import Tensor

from vlmcourse.data.images import _readable, load_picture
from vlmcourse.world import tokenizer
from vlmcourse.world.rendering import to_pixels

METADATA = ("metadata.jsonl", "metadata.csv")


@dataclass(frozen=True)
class CaptionedPictures:
    """Pictures and captions, by number. See `read_folder` and `read_dataset`, which make them.

    read      number -> uint8 (size, size, 3)
    texts     one caption for each
    names     what messages call each
    encode    texts -> ids (B, T); default: a word-level tokenizer of these captions
    """

    read: Callable[[int], np.ndarray]
    texts: tuple[str, ...]
    names: tuple[str, ...]
    encoder: Callable[[Sequence[str]], Tensor] | None = None
    kept: dict[int, np.ndarray] = field(
        default_factory=dict, repr=False, compare=False
    )  # pictures already read

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def tokenizer(self):
        """A word-level tokenizer of the captions' own words."""
        return tokenizer.build_tokenizer(
            word for text in self.texts for word in tokenizer.split_words(text)
        )

    def encode(self, texts: Sequence[str]) -> Tensor:
        return (
            self.encoder(texts) if self.encoder else tokenizer.encode(texts, using=self.tokenizer)
        )

    def text(self, index: int) -> str:
        return self.texts[index]

    def images(self, indices: Sequence[int]) -> np.ndarray:
        """uint8 (B, size, size, 3); each picture is read once."""
        for index in indices:
            if index not in self.kept:
                self.kept[index] = self.read(index)
        return np.stack([self.kept[index] for index in indices])

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor | list[str]]:
        """`pixel_values` (B, 3, size, size) in [-1, 1], `ids` (B, T), `text`."""
        text = [self.texts[index] for index in indices]
        return {
            "pixel_values": to_pixels(self.images(indices)),
            "ids": self.encode(text),
            "text": text,
        }

    def choose(self, numbers: Sequence[int]) -> CaptionedPictures:
        """Only these, in this order, with the same words known."""
        read = self.read
        return replace(
            self,
            read=lambda index: read(numbers[index]),
            texts=tuple(self.texts[n] for n in numbers),
            names=tuple(self.names[n] for n in numbers),
            encoder=self.encode,
            kept={place: self.kept[n] for place, n in enumerate(numbers) if n in self.kept},
        )

    def split(self, held_out: float = 0.1) -> tuple[CaptionedPictures, CaptionedPictures]:
        """(training, held out), decided by each name alone, so that adding pictures moves none across."""
        out = [crc32(name.encode()) % 1000 < 1000 * held_out for name in self.names]
        return tuple(
            self.choose([n for n, is_out in enumerate(out) if is_out == wanted])
            for wanted in (False, True)
        )

    def distinct(self, number: int) -> list[int]:
        """Up to `number` indices whose captions all differ."""
        first = {text: index for index, text in reversed(list(enumerate(self.texts)))}
        return sorted(first.values())[:number]


def read_folder(
    path: str | Path, size: int = 64, encode: Callable | None = None, strict: bool = False
) -> CaptionedPictures:
    """Pictures in `path` with captions in its metadata.jsonl or metadata.csv: columns file_name and text.

    Pictures that are missing or broken are left out, named in one warning; with strict=True the first is an error.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder {folder}. Expected a folder with pictures and {' or '.join(METADATA)}."
        )
    rows, kept, bad = _metadata(folder), [], []
    for name, text in rows:
        found = (
            _readable(lambda: load_picture(folder / name, size))
            if (folder / name).is_file()
            else "there is no such file"
        )
        if isinstance(found, str):
            bad.append(f"{name}: {found}")
            if strict:
                raise ValueError(
                    f"{folder / name}: {found}. Mend or remove it, or read the folder with strict=False."
                )
        else:
            kept.append((name, text, found))
    if bad:
        shown = "; ".join(bad[:5]) + (f"; and {len(bad) - 5} more" if len(bad) > 5 else "")
        warnings.warn(
            f"{len(bad)} of {len(rows)} pictures in {folder} are left out: {shown}", stacklevel=2
        )
    if not kept:
        raise ValueError(
            f"none of the {len(rows)} pictures that {folder}'s metadata names can be read."
        )
    names, texts, pictures = zip(*kept)
    return CaptionedPictures(lambda index: pictures[index], texts, names, encode)


def _metadata(folder: Path) -> list[tuple[str, str]]:
    """(file name, caption) of each line of the folder's metadata."""
    path = next((folder / name for name in METADATA if (folder / name).is_file()), None)
    if path is None:
        there = sorted(entry.name for entry in folder.iterdir())
        found = (
            f"it holds {', '.join(there[:4])}{', ...' if len(there) > 4 else ''}"
            if there
            else "it is empty"
        )
        raise FileNotFoundError(
            f"{folder} has no {' or '.join(METADATA)}: {found}. Add one line for each picture: "
            '{"file_name": "cat.png", "text": "a cat on a sofa"}'
        )
    with path.open(encoding="utf-8-sig", newline="") as file:
        entries = list(csv.DictReader(file) if path.suffix == ".csv" else _json_lines(file, path))
    if not entries:
        raise ValueError(f"{path} has no lines; expected one for each picture.")
    rows = []
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict) or not {"file_name", "text"} <= set(entry):
            found = ", ".join(map(str, entry)) if isinstance(entry, dict) else type(entry).__name__
            raise ValueError(
                f"{path}, entry {number}: found {found}; expected the columns file_name and text."
            )
        texts = entry["text"] if isinstance(entry["text"], list) else [entry["text"]]
        for text in texts:
            if not isinstance(text, str) or not text.strip():
                raise ValueError(
                    f"{path}, entry {number} ({entry['file_name']}): the caption is empty."
                )
            rows.append((str(entry["file_name"]), text.strip()))
    return rows


def _json_lines(file: Iterable[str], path: Path) -> Iterator[dict]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(
                    f"{path}, line {number} is not JSON ({error.msg}): {line.strip()[:60]!r}."
                ) from error


def _columns(row: dict, image: str, text: str) -> None:
    if missing := {image, text} - set(row):
        raise ValueError(
            f"no column {' or '.join(sorted(missing))} in the dataset; it has {', '.join(row)}. "
            "Name them: image=..., text=..."
        )


def read_dataset(
    name: str,
    split: str = "train",
    size: int = 64,
    image: str = "image",
    text: str = "text",
    encode: Callable | None = None,
) -> CaptionedPictures:
    """A Hugging Face dataset: saved on disk (a folder of `save_to_disk`) or named on the hub."""
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
    _columns(dict.fromkeys(loaded.column_names), image, text)

    def read(index: int) -> np.ndarray:
        found = _readable(lambda: load_picture(loaded[index][image], size))
        if isinstance(found, str):
            raise ValueError(
                f"picture {index} of {name}: {found}. Leave it out: dataset.select(...), saved anew."
            )
        return found

    return CaptionedPictures(
        read, tuple(loaded[text]), tuple(f"{name}[{index}]" for index in range(len(loaded))), encode
    )
