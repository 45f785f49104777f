"""Your own pictures: a folder with captions, a Hugging Face dataset, or a stream too large to hold.

`Folder` and `Rows` have the protocol of world.Pairs (`batch(indices)`), and a length; `PictureStream` is read in order. All of
them turn any picture PIL can open (grey, RGBA, palette, CMYK, 16 bit, turned by EXIF) into the models' pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from torch import Tensor

from vlmcourse.data.folders import _columns
from vlmcourse.data.images import _readable, load_picture
from vlmcourse.world.rendering import to_pixels


@dataclass(frozen=True)
class PictureStream:
    """A data set too large to hold: read in order, `size` pairs a batch. Give it to fit() in the place of Batches.

    rows      a Hugging Face IterableDataset: load_dataset(..., streaming=True), also of WebDataset shards
    encode    texts -> ids (B, T)
    """

    rows: Iterable[dict]
    size: int
    encode: Callable[[Sequence[str]], Tensor]
    pixel_values: int = 64
    image: str = "image"
    text: str = "text"

    def from_step(self, step: int, part: tuple[int, int] = (0, 1)) -> Iterator[dict]:
        """Batches from `step` on, for process part[0] of part[1]; broken pictures are passed over."""
        rank, processes = part
        if self.size % processes:
            raise ValueError(
                f"a batch of {self.size} cannot be shared by {processes} processes: expected a multiple."
            )
        good = self._good()
        for _ in islice(good, step * self.size):
            pass
        while len(batch := list(islice(good, self.size))) == self.size:
            images, texts = zip(*batch[rank::processes])
            yield {
                "pixel_values": to_pixels(images),
                "ids": self.encode(texts),
                "text": list(texts),
            }

    def _good(self) -> Iterator[tuple[np.ndarray, str]]:
        while True:  # epochs
            count = 0
            for row in self.rows:
                _columns(row, self.image, self.text)
                found = _readable(lambda: load_picture(row[self.image], self.pixel_values))
                if not isinstance(found, str):
                    count += 1
                    yield found, row[self.text]
            if count < self.size:
                raise ValueError(
                    f"the stream has {count} readable pairs; expected at least one batch of {self.size}."
                )
