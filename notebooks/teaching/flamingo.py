"""Instant checks of lesson 08's exercises, and a player for the ribbon of pictures under a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from teaching.exercises import Mistake, diagnosed
from vlmcourse.parts.attention import attend
from vlmcourse.parts.masks import images_so_far, last_image, phi
from vlmcourse.plots import compare_masks, image_index_strip
from vlmcourse.widgets.interactive import play


def _tensor(got: object, shape: tuple[int, ...], dtype: torch.dtype, what: str) -> Tensor:
    if got is None:
        raise Mistake("your function returned None. Did you forget the return?")
    if not isinstance(got, Tensor) or got.shape != shape or got.dtype != dtype:
        found = (
            f"{tuple(got.shape)} of {got.dtype}" if isinstance(got, Tensor) else type(got).__name__
        )
        raise Mistake(f"found {found}; expected {tuple(shape)} of {dtype}: {what}")
    return got


def sees(answer: Callable[[Tensor, int], Tensor]) -> str:
    """Exercise 1: sees(tags (B, T) booleans, pictures N) -> (B, T, N) booleans: may this token look at that picture?"""
    tags = torch.tensor([[0, 0, 1, 0, 0, 1, 0, 1, 0], [1, 0, 0, 0, 1, 0, 0, 0, 0]]).bool()
    numbers, count = phi(tags), torch.arange(1, 4)
    wanted = last_image(numbers, count).to_bool()[:, 0]
    got = _tensor(
        answer(tags.clone(), 3), (2, 9, 3), torch.bool, "one answer for each token and picture."
    )
    if torch.equal(got, wanted):
        return "Each token sees the last picture before it, and text before the first picture sees nothing."
    likely = {
        "that is the ablation: every picture so far. Flamingo's words see the last one alone: == in the place of <= or >=.": images_so_far(
            numbers, count
        ).to_bool()[:, 0],
        "it is upside down: True must mean 'may look'.": ~wanted,
        "text before the first picture looks at the first picture: pictures are numbered from 1, and phi = 0 means none.": last_image(
            numbers.clamp(min=1), count
        ).to_bool()[:, 0],
        "every word sees the next picture, and text before the first one sees it: do you number pictures from 0, or count tags "
        "after a token?": last_image(numbers, count - 1).to_bool()[:, 0],
        "the tag itself does not see its picture: a cumulative sum counts the tag, too (here the tag may look).": last_image(
            numbers - tags.long(), count
        ).to_bool()[:, 0],
        "only the tags look; the words after a tag must, too: count tags, cumulatively.": wanted
        & tags[..., None],
        "the count runs over the whole batch: count along the text, dim=-1.": last_image(
            phi(tags.flatten()).reshape(2, 9), count
        ).to_bool()[:, 0],
    }
    raise Mistake(
        next(
            (name for name, made in likely.items() if torch.equal(got, made)),
            f"for tags at {tags[0].nonzero()[:, 0].tolist()} phi is {numbers[0].tolist()}.",
        ),
        compare_masks(got[:1], wanted[:1]),
    )


def gated(answer: Callable[[Tensor, Callable, Callable, Tensor, Tensor], Tensor]) -> str:
    """Exercise 2: gated(y (B, T, D), attention, feedforward, a, b) -> (B, T, D); attention and feedforward map y to (B, T, D)."""
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    y, one, other = (
        torch.randn(2, 3, 4, generator=generator, dtype=torch.float64) for _ in range(3)
    )
    one, other = one[0, 0], other[0, 0]
    a, b = torch.tensor(0.8, dtype=torch.float64), torch.tensor(-0.5, dtype=torch.float64)

    def attention(x: Tensor) -> Tensor:
        return (x * one).cumsum(-1)

    def feedforward(x: Tensor) -> Tensor:
        return (x * other).square()

    def block(y: Tensor, gate=torch.tanh, after=None) -> Tensor:
        looked = y + gate(a) * attention(y)
        return looked + gate(b) * feedforward(looked if after is None else after)

    before = y.clone()
    got = _tensor(
        answer(y, attention, feedforward, a, b),
        (2, 3, 4),
        torch.float64,
        "what goes in comes out in its shape.",
    )
    if not torch.equal(y, before):
        raise Mistake(
            "you changed y itself: y += ... writes into what the language model still needs. Write y = y + ..."
        )
    if torch.allclose(got, block(y)):
        if not torch.equal(answer(y, attention, feedforward, a * 0, b * 0), y):
            raise Mistake("with a = b = 0 the result must be y, bit for bit.")
        return "Two residuals, two gates. At a = b = 0 the block is not there."
    half, looked = torch.tanh(a) * attention(y), y + torch.tanh(a) * attention(y)
    likely = {
        "the gates are a and b themselves: take tanh, which keeps them within -1 and 1.": block(
            y, lambda x: x
        ),
        "a sigmoid gate is half open at 0: the language model would be disturbed from the first step on. Take tanh.": block(
            y, torch.sigmoid
        ),
        "no gates: at the first step the frozen model would read noise.": block(y, torch.ones_like),
        "the feed-forward reads the y from before the attention: it must see what the attention brought.": block(
            y, after=y
        ),
        "the first residual is missing: y + ... before the feed-forward.": half
        + torch.tanh(b) * feedforward(half),
        "the second residual is missing.": torch.tanh(b) * feedforward(looked),
        "the gate closes the residual, too: only what is added is multiplied.": (
            lambda x: torch.tanh(b) * (x + feedforward(x))
        )(torch.tanh(a) * (y + attention(y))),
        "a and b are exchanged: a belongs to the attention.": (
            lambda x: x + torch.tanh(a) * feedforward(x)
        )(y + torch.tanh(b) * attention(y)),
        "only the attention is added; the gated feed-forward is the other half of the block.": looked,
    }
    raise Mistake(
        next(
            (name for name, made in likely.items() if torch.allclose(got, made)),
            "that is not y + tanh(a) attention(y), and then the same with tanh(b) and the feed-forward.",
        )
    )


def resampled(answer: Callable[[Tensor, Tensor, Callable, Callable, Callable], Tensor]) -> str:
    """Exercise 3: resampled(latents (M, R, D), features (M, K, D), query, key, value) -> (M, R, D): one head, no norms."""
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    latents, features = (
        torch.randn(2, 3, 4, generator=generator),
        torch.randn(2, 6, 4, generator=generator),
    )
    maps = [torch.randn(4, 4, generator=generator) for _ in range(3)]
    query, key, value = (lambda x, w=w: x @ w for w in maps)

    def read(queries: Tensor, keys: Tensor, scale: float = 1.0) -> Tensor:
        return attend((query(queries) * scale)[:, None], key(keys)[:, None], value(keys)[:, None])[
            :, 0
        ]

    both = torch.cat([features, latents], dim=1)
    got = _tensor(
        answer(latents, features, query, key, value),
        (2, 3, 4),
        torch.float32,
        "as many latents as before, whatever the number of features.",
    )
    if torch.allclose(got, latents + read(latents, both), atol=1e-4):
        return (
            "Latents ask features and each other in one attention, and are added to what they find."
        )
    likely = {
        "keys and values are of the features alone; in Flamingo they are of features and latents, joined.": latents
        + read(latents, features),
        "the residual is missing: latents + what they found.": read(latents, both),
        "the scale is missing: divide the scores by the square root of the width.": latents
        + read(latents, both, 4**0.5),
        "keys and values are of the latents alone: nothing of the picture comes in.": latents
        + read(latents, latents),
        "the latents of all pictures are mixed: keep the first axis apart.": latents
        + read(latents.flatten(0, 1)[None], both.flatten(0, 1)[None]).reshape(2, 3, 4),
    }
    raise Mistake(
        next(
            (name for name, made in likely.items() if torch.allclose(got, made, atol=1e-4)),
            "expected latents + softmax(q k' / sqrt(D)) v, with q of the latents, k and v of features and latents joined.",
        )
    )


def diagnosis(answer: dict[str, str]) -> str:
    """Failure lab: {'A': cause, 'B': ..., 'C': ...} for three systems."""
    truth = {"A": "ungated", "B": "stuck", "C": "shifted"}
    hints = {
        "A": "its first loss is far above that of the others, before anything was learnt. What did the frozen model read?",
        "B": "its loss is that of the language model that sees nothing, and it stays there. Which gradients are zero while "
        "the gates are closed?",
        "C": "its gates open, its loss falls late, and the words after the first picture move with another "
        "picture. With which?",
    }
    return diagnosed(
        answer,
        truth,
        hints,
        "A frozen model shocked by what was new, gates that could never open, and words that look "
        "at somebody else's picture.",
    )


def ribbon_player(texts: Sequence[str]) -> None:
    """Displays a text to change, and which picture each of its words sees; `texts` to begin with."""
    import ipywidgets

    text = ipywidgets.Combobox(
        value=texts[0],
        options=list(texts),
        description="text",
        continuous_update=False,
        layout={"width": "46em"},
    )
    rule = ipywidgets.ToggleButtons(
        options=["last picture", "all pictures so far"], description="sees"
    )
    tag = ipywidgets.Checkbox(value=True, description="the tag sees its own picture")

    def drawn():
        words = text.value.replace("<EOC>", " <EOC> ").replace("<image>", " <image> ").split()
        if not words:
            raise ValueError("an empty text; expected words and tags <image>.")
        tags = torch.tensor([word == "<image>" for word in words])
        numbers = phi(tags) - (0 if tag.value else tags.long())
        return image_index_strip(words, numbers.tolist(), so_far=rule.value != "last picture")

    play([text, rule, tag], drawn)
