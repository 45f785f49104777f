"""Lesson 04: instant checks of its exercises, each of which names the likely mistake; and the nucleus player."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu

from teaching.exercises import Mistake, diagnosed, likeliest_mistake
from vlmcourse.plots import compare_masks, probability_bars
from vlmcourse.widgets.interactive import play, row


def _fresh() -> torch.Generator:
    """Random inputs that are new each time."""
    return torch.Generator().manual_seed(torch.seed() % 2**31)


def _returned(got: object, what: str) -> Tensor:
    if got is None:
        raise Mistake(f"{what} returned None. Did you forget the return?")
    if not isinstance(got, Tensor):
        raise Mistake(f"{what} returned a {type(got).__name__}; expected a tensor.")
    return got


def next_token_loss(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> str:
    """Exercise 1: loss(logits (B, T, V), ids (B, T), scored (B, T)) -> scalar."""
    generator = _fresh()
    logits = 2 * torch.randn(3, 8, 11, generator=generator, dtype=torch.float64)
    ids = torch.randint(11, (3, 8), generator=generator)
    lengths = torch.tensor([8, 5, 3])[torch.randperm(3, generator=generator)]
    at = torch.arange(8)
    loss_mask = (at >= 1) & (
        at < lengths[:, None]
    )  # no word precedes the first; padding follows the last

    def each(said: Tensor, meant: Tensor) -> Tensor:
        return cross_entropy(said.transpose(1, 2), meant, reduction="none")

    right, counted = each(logits[:, :-1], ids[:, 1:]), loss_mask[:, 1:]
    wanted = right[counted].mean()
    got = _returned(answer(logits, ids, loss_mask), "the loss")
    if got.dim() != 0:
        raise Mistake(
            f"the loss has shape {tuple(got.shape)}; expected one number: the mean over the scored words."
        )
    if torch.isclose(got.double(), wanted, rtol=2e-6):
        return (
            "Position t foretells word t + 1; only scored words count, and all of them count alike."
        )
    backwards = each(logits[:, 1:], ids[:, :-1])
    likely = {
        "each position is scored on its own word, which it has just read: there is no shift. logits[:, t] speak of "
        "ids[:, t + 1].": [each(logits, ids)[loss_mask].mean(), each(logits, ids).mean()],
        "the shift goes the wrong way: position t is asked for the word *before* it. Drop the last logits and the first id.": [
            backwards[loss_mask[:, :-1]].mean(),
            backwards[counted].mean(),
            backwards.mean(),
        ],
        "padding is counted: leave out the words where scored is False.": [right.mean()],
        "that is a sum: divide by the number of scored words, or long texts seem harder.": [
            right[counted].sum()
        ],
        "the sum over scored words is divided by the number of *all* words. Divide by the number of scored ones.": [
            right[counted].sum() / right.numel(),
            right[counted].sum() / ids.numel(),
        ],
        "cross_entropy was given probabilities: it takes logits, and does the softmax itself.": [
            each(logits[:, :-1].softmax(-1), ids[:, 1:])[counted].mean(),
            each(logits[:, :-1].softmax(-1), ids[:, 1:]).mean(),
        ],
        "scored is not shifted with the words: ids[:, 1:] go with scored[:, 1:].": [
            right[loss_mask[:, :-1]].mean()
        ],
        "each text is averaged first, so words of short texts count more. Take one mean over all scored words.": [
            ((right * counted).sum(1) / counted.sum(1)).mean()
        ],
        "the mean of the probabilities is taken, not of their logarithms.": [
            (-right).exp()[counted].mean(),
            -(-right).exp()[counted].mean(),
            1 - (-right).exp()[counted].mean(),
        ],
        "the sign is wrong: a loss is *minus* the log-probability.": [-wanted],
    }
    raise likeliest_mistake(
        got, likely, f"for this batch the loss is {wanted:.4f}; yours is {got:.4f}."
    )


def _kept(probabilities: Tensor, p: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The kept words in the order of the vocabulary; and the sorted probabilities, their order, and which of *those* stay."""
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    stay = ordered.cumsum(-1) - ordered < p
    return torch.zeros_like(stay).scatter(-1, order, stay), ordered, order, stay


def kept(answer: Callable[[Tensor, float], Tensor]) -> str:
    """Exercise 2: kept(probabilities (B, V), p) -> booleans (B, V), True for the fewest words that hold a share p."""
    generator = _fresh()
    uneven = torch.tensor([0.25, 0.0625, 0.5, 0.0625, 0.125])  # sums that are exact in binary
    spread = torch.stack(
        [
            (sharpness * torch.randn(9, generator=generator)).softmax(-1)
            for sharpness in (0.3, 1, 2, 4)
        ]
    )
    for probabilities, p in (
        (spread, 0.6),
        (spread, 0.9),
        (spread, 0.05),
        (uneven.roll(1)[None], 0.75),
    ):
        wanted, ordered, order, stay = _kept(probabilities, p)
        got = _returned(answer(probabilities.clone(), p), "kept()")
        if got.shape != wanted.shape:
            raise Mistake(
                f"kept() returned shape {tuple(got.shape)}; expected {tuple(wanted.shape)}: one yes or no for every "
                "word of the vocabulary, kept or not."
            )
        if got.dtype != torch.bool:
            raise Mistake(
                f"kept() returned {got.dtype}; expected booleans, True where a word stays."
            )
        if torch.equal(got, wanted):
            continue
        sums, numbers = ordered.cumsum(-1), got.sum(-1)
        places = torch.zeros_like(stay)
        rising, from_below = probabilities.sort(-1)
        likely = {
            "it is upside down: True must mean 'stays'.": [~wanted],
            "the word that crosses p is left out, so what is kept holds less than p. Look at the sum *before* each word.": [
                places.scatter(-1, order, sums < p),
                places.scatter(-1, order, sums <= p),
            ],
            "one word too many: where the words before it hold exactly p, nothing more is needed. Compare with <, not <=.": [
                places.scatter(-1, order, sums - ordered <= p)
            ],
            "you start from the rarest words: sort with descending=True.": [
                places.scatter(-1, from_below, rising.cumsum(-1) - rising < p),
                places.scatter(-1, from_below, rising.cumsum(-1) < p),
                places.scatter(-1, from_below, rising.cumsum(-1) <= p),
            ],
            "the answers are in sorted order, likeliest first: put each back where its word stands in the vocabulary.": [
                stay
            ],
            "the answers are put back wrongly: `order` says where each word came *from*. Use scatter, or sort the order again.": [
                stay.gather(-1, order)
            ],
            "the words were not sorted: the sum must run from the likeliest word down.": [
                probabilities.cumsum(-1) - probabilities < p,
                probabilities.cumsum(-1) <= p,
                probabilities.cumsum(-1) < p,
            ],
            "each word is compared with a fixed level: what counts is the *sum* of the likelier ones.": [
                probabilities > p,
                probabilities >= p,
                probabilities > 1 - p,
                probabilities >= 1 - p,
            ],
        }
        named = next(
            (
                name
                for name, masks in likely.items()
                if any(torch.equal(got, mask) for mask in masks)
            ),
            None,
        )
        in_order = got.gather(-1, order)
        likeliest = torch.equal(in_order, torch.arange(got.shape[1]) < numbers[:, None])
        if named is None and likeliest and len(set(numbers.tolist())) == 1:
            named = (
                f"every row keeps {int(numbers[0])} words: that is top-k. A sure model needs fewer words to reach p than "
                "an unsure one."
            )
        raise Mistake(
            named or f"for p = {p:g} these are not the fewest words that hold a share p.",
            compare_masks(got, wanted),
        )
    return "Sure models keep few words, unsure ones many, and the kept share is never below p."


def adapter(answer: type[nn.Module]) -> str:
    """Exercise 3: a class Adapter(width, inner), Linear layers `down` and `up` inside: x (..., D) -> (..., D)."""
    generator = _fresh()
    made, x = answer(6, 3), torch.randn(2, 5, 6, generator=generator)
    if not isinstance(made, nn.Module) or not all(
        isinstance(getattr(made, name, None), nn.Linear) for name in ("down", "up")
    ):
        raise Mistake(
            "expected a torch.nn.Module with two torch.nn.Linear layers, self.down and self.up."
        )
    shapes = tuple(tuple(layer.weight.shape) for layer in (made.down, made.up))
    if shapes != ((3, 6), (6, 3)):
        raise Mistake(
            f"for width 6 and inner 3, down.weight and up.weight have shapes {shapes[0]} and {shapes[1]}; expected "
            "(3, 6) and (6, 3): narrow in the middle."
        )
    with torch.no_grad():
        fresh = _returned(made(x), "forward()")
        if fresh.shape != x.shape:
            raise Mistake(
                f"forward() returned shape {tuple(fresh.shape)} for x {tuple(x.shape)}; expected the same shape."
            )
        starts = {
            name: any(bool((p != 0).any()) for p in getattr(made, name).parameters())
            for name in ("down", "up")
        }
        for parameter in (*made.down.parameters(), *made.up.parameters()):
            parameter.normal_(generator=generator)
        got, down, up = made(x), made.down, made.up
        wanted = x + up(gelu(down(x)))
        likely = {
            "x itself is lost: there is no residual. Return x *plus* what the bottleneck makes of it.": [
                up(gelu(down(x))),
                gelu(up(down(x))),
                up(down(x)),
            ],
            "there is no nonlinearity: two linear layers in a row are one linear layer. gelu stands between them.": [
                x + up(down(x))
            ],
            "the nonlinearity comes after up: it stands between down and up.": [
                x + gelu(up(down(x)))
            ],
            "the sum goes through the nonlinearity, so x can't pass unchanged: add x last.": [
                gelu(x + up(down(x)))
            ],
            "there is a second gelu, after up: what is added to x must be free to be negative.": [
                x + gelu(up(gelu(down(x))))
            ],
            "that is relu; the course's bottleneck uses gelu.": [x + up(down(x).relu())],
            "x is multiplied where it should be added to.": [x * up(gelu(down(x)))],
            "the bottleneck is not used: x comes out as it went in, even when up is no longer zero.": [
                x
            ],
            "down is not used.": [x + up(gelu(x[..., :3])), x + up(x[..., :3])],
        }
        if not torch.allclose(got, wanted, atol=1e-4):
            raise Mistake(
                next(
                    (
                        name
                        for name, values in likely.items()
                        if any(torch.allclose(got, value, atol=1e-4) for value in values)
                    ),
                    "with random weights this is not x + up(gelu(down(x))).",
                )
            )
    if starts["up"]:
        raise Mistake(
            "a new adapter changes its input: start up at zero, weight *and* bias, so that training begins with the "
            "language model as it is."
        )
    if not starts["down"]:
        raise Mistake(
            "down starts at zero, too. Then up's weight gets no gradient, because all it sees is zero, and down gets "
            "none, because up is zero: they would never learn. Only up starts at zero."
        )
    return (
        "A new adapter changes nothing, and yet it can learn: up gets a gradient first, then down."
    )


def diagnosis(answer: dict[str, str]) -> str:
    """The failure lab: {'A': cause, ...} for three broken runs."""
    truth = {"A": "padding", "B": "shift", "C": "rate"}
    hints = {
        "A": "its training loss is well below the healthy one's, yet on real words it is no better. What is easy to "
        "foretell, and fills most of a batch of texts of different lengths?",
        "B": "a loss near zero means that each answer was known beforehand. No text is so predictable. When is the answer "
        "lying in front of the model?",
        "C": "it does what the healthy run does, only hardly moves. Which fault changes neither the texts nor the question?",
    }
    return diagnosed(
        answer,
        truth,
        hints,
        "A loss is only as good as its question: too easy, already answered, or asked so softly that nobody hears it.",
    )


def at_share(
    logits: Tensor,
    names: Sequence[str],
    p: float,
    temperature: float,
    above: str = "",
    most: int = 8,
):
    """The likeliest next words, before and after all but the nucleus are left out.

    logits (V,), names of all V words; above: lines of a title; most: words that are drawn
    """
    found = (logits / temperature).softmax(-1)
    stays, _, order, _ = _kept(found[None], p)
    drawn = found.where(stays[0], 0) / found[stays[0]].sum()
    made = probability_bars(
        {
            names[index]: {"model": found[index].item(), "nucleus": drawn[index].item()}
            for index in order[0, :most].tolist()
        },
        "probability",
        title=f"{above}p {p:.2f}, temperature {temperature:.1f}: {int(stays.sum())} of {len(found)} words "
        f"stay, {found[stays[0]].sum():.2f} of the probability",
    )
    made.description = f"p {p:.2f}, temperature {temperature:.1f}: {int(stays.sum())} words stay. {made.description}"
    return made


def nucleus_player(logits: Tensor, names: Sequence[str], p: float = 0.9) -> None:
    """Displays sliders for p and the temperature over the next word's logits (V,); `names` are the V words."""
    import ipywidgets

    share = ipywidgets.FloatSlider(
        value=p, min=0.05, max=1, step=0.05, description="p", continuous_update=False
    )
    warmth = ipywidgets.FloatSlider(
        value=1, min=0.2, max=3, step=0.2, description="temperature", continuous_update=False
    )
    play([row(share, warmth)], lambda: at_share(logits, names, share.value, warmth.value))
