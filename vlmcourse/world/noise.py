"""What the web does to image-text pairs. The truth is known, so a filter's precision and recall are exact."""

from collections.abc import Callable
from dataclasses import dataclass

from vlmcourse.world.scenes import SeededRandom

GENERIC = ("a picture", "a photo", "a nice picture", "the best photo", "a picture of a thing")


def mismatched(index: int, pairs) -> str:
    """The caption of another picture."""
    other_index = index + 1 + int(SeededRandom("other", pairs.seed, index).random() * 10_000)
    return pairs.true_caption(other_index)


def generic(index: int, pairs) -> str:
    """A caption that says nothing."""
    return SeededRandom("generic", pairs.seed, index).choice(GENERIC)


def duplicated(index: int, pairs) -> str:
    """One of a hundred captions that are copied again and again."""
    return pairs.true_caption(int(SeededRandom("duplicated", pairs.seed, index).random() * 100))


@dataclass(frozen=True)
class Noise:
    """Noise for `Pairs`: a `share` of the pairs get a caption of that `kind`, the others keep theirs."""

    share: float
    kind: Callable[[int, object], str] = mismatched

    def __post_init__(self):
        if not 0 <= self.share <= 1:
            raise ValueError(f"a share of {self.share}; expected between 0 and 1.")

    def __call__(self, index: int, pairs) -> str:
        return (
            self.kind(index, pairs)
            if self.is_noisy(index, pairs.seed)
            else pairs.true_caption(index)
        )

    def is_noisy(self, index: int, seed: int) -> bool:
        """The truth about pair `index`: was its caption replaced?"""
        return SeededRandom("noisy", seed, index).random() < self.share
