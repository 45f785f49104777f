"""Pictures with captions in a stream, too many to hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from torch import Tensor

from vlmcourse.data.folders import check_columns, undecoded
from vlmcourse.data.images import load_picture, readable
from vlmcourse.world.rendering import to_pixels


@dataclass(frozen=True)
class PictureStream:
    """A data set too large to hold: read in order, `batch_size` pairs a batch. Give it to fit() instead of Batches.

    rows      a Hugging Face IterableDataset: load_dataset(..., streaming=True), also of WebDataset shards; or any dicts
    encode    texts -> ids (B, T)
    size      pixels of a side
    """

    rows: Iterable[dict]
    batch_size: int
    encode: Callable[[Sequence[str]], Tensor]
    size: int = 64
    image_column: str = "image"
    text_column: str = "text"

    def from_step(self, step: int, part: tuple[int, int] = (0, 1)) -> Iterator[dict]:
        """Batches from `step` on, for process part[0] of part[1]. Broken pictures and empty captions are passed over.

        Raises ValueError for a missing column, a batch that processes cannot share, and a stream shorter than one batch.
        """
        rank, processes = part
        if self.batch_size % processes:
            raise ValueError(
                f"a batch of {self.batch_size} cannot be shared by {processes} processes: expected a multiple."
            )
        pairs = self._pairs()
        for _ in islice(pairs, step * self.batch_size):
            pass
        while len(batch := list(islice(pairs, self.batch_size))) == self.batch_size:
            images, texts = zip(*batch[rank::processes])
            yield {
                "pixel_values": to_pixels(images),
                "ids": self.encode(texts),
                "text": list(texts),
            }

    def _pairs(self) -> Iterator[tuple[np.ndarray, str]]:
        rows = (
            undecoded(self.rows, self.image_column) if hasattr(self.rows, "features") else self.rows
        )
        while True:  # epochs
            count = 0
            for row in rows:
                check_columns(row, self.image_column, self.text_column)
                text, source = row[self.text_column], row[self.image_column]
                picture = readable(lambda source=source: load_picture(source, self.size))
                if isinstance(picture, np.ndarray) and isinstance(text, str) and text.strip():
                    count += 1
                    yield picture, text
            if count < self.batch_size:
                raise ValueError(
                    f"the stream has {count} readable pairs; expected at least one batch of {self.batch_size}."
                )
