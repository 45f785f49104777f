"""Instant checks of the lessons' exercises. Each tries the answer on fresh random inputs and names the likely mistake."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from vlmcourse.lab.draw import compare
from vlmcourse.parts import masks
from vlmcourse.parts.objectives import contrast
from vlmcourse.play.lesson import Mistake, diagnosed, likeliest_mistake


def _matrix(got: object, wanted: Tensor, what: str) -> Tensor:
    """The answer as booleans of the wanted shape, or the mistake that prevents it."""
    if got is None:
        raise Mistake(f"{what} returned None. Did you forget the return?")
    if not isinstance(got, Tensor):
        raise Mistake(f"{what} returned a {type(got).__name__}; expected a tensor.")
    if got.shape != wanted.shape:
        raise Mistake(f"{what} returned shape {tuple(got.shape)}; expected {tuple(wanted.shape)}, (queries, keys).")
    if got.dtype != torch.bool:
        raise Mistake(f"{what} returned {got.dtype}; expected booleans: compare integers, and you get them.")
    return got


def _mask(got: Tensor, wanted: Tensor, likely: dict[str, Tensor]) -> None:
    """Raises the Mistake whose mask is the one we got, with a picture of the difference."""
    if torch.equal(got, wanted):
        return
    named = next((name for name, mask in likely.items() if torch.equal(got, mask)), "the dark cells are not the right ones.")
    raise Mistake(named, compare(got, wanted))


def prefix(answer: Callable[[int, int], Tensor]) -> str:
    """Lesson 01, exercise 1: prefix(seen, length) -> booleans (length, length)."""
    for seen, length in ((2, 5), (3, 7), (0, 4), (4, 4)):
        wanted = masks.prefix(seen, length).dense()[0, 0]
        causal, late = torch.ones(length, length).tril().bool(), torch.arange(length) < seen
        got = _matrix(answer(seen, length), wanted, "prefix()")
        _mask(got, wanted, {
            "it is upside down: True must mean 'may look'.": ~wanted,
            "that is the transpose: rows are queries, columns are keys.": wanted.T,
            "that is causal: the prefix must also see its own later tokens. Which level do they all share?": causal,
            "everybody sees the prefix, but the text no longer sees its own past.": late[None, :].expand(length, length),
            "the text sees the whole text, future included: its levels must grow.": torch.ones(length, length).bool(),
            "one position too many belongs to the prefix: the first text token has level 1, not 0.":
                masks.prefix(min(seen + 1, length), length).dense()[0, 0]})
    return "The first positions share level 0, then levels count up."


def last_image(answer: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Lesson 01, exercise 2: last_image(is_tag (T,), image_of_key (K,)) -> booleans (T, K)."""
    for tags, keys in (("0100100", "1122"), ("0010", "11"), ("10101", "112233")):
        is_tag = torch.tensor([int(tag) for tag in tags]).bool()
        image = torch.tensor([int(key) for key in keys])
        phi = masks.phi(is_tag)
        wanted = phi[:, None] == image[None, :]
        got = _matrix(answer(is_tag, image), wanted, "last_image()")
        before = phi - is_tag.long()
        _mask(got, wanted, {
            "it is upside down: True must mean 'may look'.": ~wanted,
            "tokens see every image so far: == is wanted where you have <= or >=.": image[None, :] <= phi[:, None],
            "tokens see the images still to come: compare for equality.": image[None, :] >= phi[:, None],
            "an image tag doesn't see its own image: count the tags up to *and including* the token.":
                before[:, None] == image[None, :],
            "text before the first image looks at image 1: with no image yet phi is 0, and 0 matches nothing.":
                phi.clamp(min=1)[:, None] == image[None, :]})
    return "phi is a running count of tags, and a token sees the keys of image number phi."


def leak(answer: str) -> str:
    """Lesson 01, failure lab: which queries got what they must not, and why."""
    reasons = {
        "a": "the scores are scaled correctly: look at the rows instead. Which row has no dark cell in the declared mask?",
        "b": "a NaN would show as a missing value everywhere after softmax. These numbers are finite: that is the danger.",
        "d": "the mask's polarity is right: rows 1 to 6 see exactly what they should."}
    if answer not in ("a", "b", "c", "d"):
        raise Mistake(f"{answer!r}: expected one of the letters 'a', 'b', 'c', 'd'.")
    if answer in reasons:
        raise Mistake(reasons[answer])
    return ("Adding the most negative number to *every* score of a row shifts them all alike, and softmax ignores a shift: "
            "the row that may look at nothing looks at everything, evenly.")


def symmetric_loss(answer: Callable[[Tensor, Tensor, float], Tensor]) -> str:
    """Lesson 02, exercise 1: loss(image (B, D) any length, text (B, D), log_scale) -> scalar."""
    generator = torch.Generator().manual_seed(torch.seed() % 2 ** 31)
    image, text = (3 * torch.randn(6, 8, generator=generator) for _ in range(2))
    log_scale = torch.tensor(1.3)
    a, b, scale, labels = normalize(image, dim=-1), normalize(text, dim=-1), log_scale.exp(), torch.arange(6)
    logits = scale * a @ b.T
    wanted = contrast(a, b, scale)
    got = answer(image, text, log_scale)
    if got is None:
        raise Mistake("loss() returned None. Did you forget the return?")
    if not isinstance(got, Tensor) or got.dim() != 0:
        raise Mistake(f"loss() returned {type(got).__name__} of shape {tuple(getattr(got, 'shape', ()))}; expected one number.")
    if torch.isclose(got, wanted, rtol=1e-5):
        return "Both directions, unit vectors, the exponential of the log-scale."
    likely = {
        "that is only image to text: add the loss of the columns (the transpose) and halve.": cross_entropy(logits, labels),
        "that is only text to image: add the loss of the rows and halve.": cross_entropy(logits.T, labels),
        "that is the sum of both directions: the paper takes their mean.": 2 * wanted,
        "the log-scale is used as it is: multiply by its exponential.": contrast(a, b, log_scale),
        "the cosines are divided by the scale: it multiplies.": contrast(a, b, 1 / scale),
        "there is no temperature: multiply the cosines by exp(log_scale).": contrast(a, b, 1.0),
        "the vectors are not normalised: these are dot products, not cosines.": contrast(image, text, scale),
        "the rows are summed: cross-entropy takes the mean over the batch.": 6 * wanted,
        "the sign is wrong: a loss is minus the log-probability.": -wanted}
    raise likeliest_mistake(got, {name: [value] for name, value in likely.items()},
                            f"for this batch the loss is {wanted:.4f}; yours is {got:.4f}.")


def ensemble(answer: Callable[[Tensor], Tensor]) -> str:
    """Lesson 02, exercise 2: ensemble(embeddings (templates, classes, E), not normalised) -> (classes, E)."""
    generator = torch.Generator().manual_seed(torch.seed() % 2 ** 31)
    found = torch.randn(5, 3, 8, generator=generator) * torch.rand(5, 3, 1, generator=generator) * 5
    unit = normalize(found, dim=-1)
    wanted = normalize(unit.mean(0), dim=-1)
    got = answer(found)
    if not isinstance(got, Tensor) or got.shape != wanted.shape:
        shape = tuple(got.shape) if isinstance(got, Tensor) else type(got).__name__
        raise Mistake(f"found {shape}; expected {tuple(wanted.shape)}: one vector per class, averaged over templates (axis 0).")
    if torch.allclose(got, wanted, atol=1e-5):
        return "Normalise, average, normalise again: each template has one vote, and cosines stay cosines."
    likely = {
        "the mean is not normalised: its length would depend on how much the templates agree.": unit.mean(0),
        "normalise each embedding before the mean, or long vectors outvote short ones.": normalize(found.mean(0), dim=-1),
        "nothing is normalised.": found.mean(0),
        "that is one template, not the mean over all.": unit[0]}
    raise Mistake(next((name for name, value in likely.items() if torch.allclose(got, value, atol=1e-5)),
                       "these are not the means of the unit vectors."))


def diagnosis(answer: dict[str, str]) -> str:
    """Lesson 02, failure lab: {'A': cause, ...} for three broken runs."""
    truth = {"A": "pairs", "B": "one", "C": "end"}
    hints = {"A": "which run stays at ln B and can do no better, however long it trains? Its right answers are unknowable.",
             "B": "what is the logarithm of one? With a single pair there is nothing to tell apart.",
             "C": "which fault leaves images and pairs intact, but makes many different texts look alike?"}
    return diagnosed(answer, truth, hints,
                     "ln B is the signature of wrong pairs, zero that of a batch of one, a plateau that of text that cannot be read.")
