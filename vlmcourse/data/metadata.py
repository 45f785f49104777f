"""A folder's metadata.jsonl or metadata.csv: which file has which captions. Strict: nothing is cut off or swallowed."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator
from pathlib import Path

NAMES = ("metadata.jsonl", "metadata.csv")
SEPARATORS = (",", ";", "\t")
Entry = tuple[int, str, list[str]]  # line, file name, captions


def read_metadata(
    folder: Path, image_column: str = "file_name", text_column: str = "text"
) -> tuple[Path, list[Entry]]:
    """The metadata file of a folder, and its entries. Captions may be empty: who reads them decides.

    In JSON the text may be a list of captions. A CSV file's separator (comma, semicolon or tab) is recognised by its header.
    Encodings: UTF-8, and UTF-16 with a byte order mark.

    Raises FileNotFoundError if there is none, ValueError with file and line for anything that is not as it should be.
    """
    path = next((folder / name for name in NAMES if (folder / name).is_file()), None)
    if path is None:
        names = sorted(entry.name for entry in folder.iterdir())
        holds = f"it holds {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"
        raise FileNotFoundError(
            f"{folder} has no {' or '.join(NAMES)}: {holds if names else 'it is empty'}. Add one line for each "
            'picture: {"file_name": "cat.png", "text": "a cat on a sofa"}'
        )
    read = _csv if path.suffix == ".csv" else _json
    columns = (image_column, text_column)
    entries = [_entry(path, line, row, *columns) for line, row in read(path, _text(path), columns)]
    if not entries:
        raise ValueError(f"{path} has no lines; expected one for each picture.")
    return path, entries


def _text(path: Path) -> str:
    raw = path.read_bytes()
    encoding = (
        "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    )
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line}: a byte (0x{raw[error.start]:02x}) is not {encoding.removesuffix('-sig').upper()}. "
            "Save the file as UTF-8."
        ) from None


def _columns_missing(where: str, present: list[str], columns: tuple[str, str]) -> ValueError:
    return ValueError(
        f"{where}: found {', '.join(present) or 'nothing'}; expected the columns {' and '.join(columns)}. "
        "Other names: --image-column, --text-column (image_column=..., text_column=...)."
    )


def _csv(path: Path, text: str, columns: tuple[str, str]) -> Iterator[tuple[int, dict]]:
    lines = text.splitlines()
    if not lines:
        return
    headers = {
        separator: [name.strip() for name in next(csv.reader(lines[:1], delimiter=separator))]
        for separator in SEPARATORS
    }
    fitting = [sep for sep in SEPARATORS if set(columns) <= set(headers[sep])]
    if not fitting:
        fullest = max(headers.values(), key=len)
        raise _columns_missing(f"{path}, line 1", fullest, columns)
    separator = fitting[0]
    header = headers[separator]
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        try:  # line by line, so that a quotation mark that nobody closes cannot swallow the rows after it
            (fields,) = csv.reader([line], delimiter=separator, strict=True)
        except csv.Error as error:
            raise ValueError(
                f'{path}, line {number}: {error}. A quoted field begins and ends with " on one line; '
                f'a quotation mark in it is written "": {line[:60]!r}.'
            ) from None
        if len(fields) != len(header):
            raise ValueError(
                f"{path}, line {number}: {len(fields)} fields, but the header has {len(header)}. "
                f'Put " around a field that contains {separator!r}: {line[:60]!r}.'
            )
        yield number, dict(zip(header, fields))


def _json(path: Path, text: str, columns: tuple[str, str]) -> Iterator[tuple[int, dict]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            reason = getattr(error, "msg", "nested too deep")
            raise ValueError(
                f"{path}, line {number} is not JSON ({reason}): {line.strip()[:60]!r}."
            ) from None
        if not isinstance(row, dict):
            raise ValueError(
                f"{path}, line {number}: found {type(row).__name__}; expected an object "
                f'{{"{columns[0]}": ..., "{columns[1]}": ...}}.'
            )
        if not set(columns) <= set(row):
            raise _columns_missing(f"{path}, line {number}", list(row), columns)
        yield number, row


def _entry(path: Path, line: int, row: dict, image_column: str, text_column: str) -> Entry:
    name, texts = row[image_column], row[text_column]
    texts = texts if isinstance(texts, list) else [texts]
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise ValueError(
            f"{path}, line {line}: {image_column} is {name!r}; expected a file's name."
        )
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise ValueError(
            f"{path}, line {line} ({name}): {text_column} has {wrong[0]!r:.40}; expected a text or a list of texts."
        )
    return line, name, texts
