"""What the web does to image-text pairs. The truth is known, so a filter's precision and recall are exact."""

from collections.abc import Callable

from vlmcourse.lab.world.scenes import Draws

GENERIC = ("a picture", "a photo", "a nice picture", "the best photo", "a picture of a thing")


def mismatched(index: int, pairs) -> str:
    """The caption of another picture."""
    other = index + 1 + int(Draws("other", pairs.seed, index).random() * 10_000)
    return pairs.truth(other)


def generic(index: int, pairs) -> str:
    """A caption that says nothing."""
    return Draws("generic", pairs.seed, index).pick(GENERIC)


def duplicated(index: int, pairs) -> str:
    """One of a hundred captions that are copied again and again."""
    return pairs.truth(int(Draws("duplicated", pairs.seed, index).random() * 100))


def noisy(share: float, kind: Callable = mismatched) -> Callable[[int, object], str]:
    """Noise for `Pairs`: a `share` of the pairs get a caption of that kind, the others keep theirs."""
    if not 0 <= share <= 1:
        raise ValueError(f"a share of {share}; expected between 0 and 1.")

    def text(index: int, pairs) -> str:
        return kind(index, pairs) if is_noisy(index, pairs.seed, share) else pairs.truth(index)

    return text


def is_noisy(index: int, seed: int, share: float) -> bool:
    """The truth about pair `index`: was its caption replaced?"""
    return Draws("noisy", seed, index).random() < share
