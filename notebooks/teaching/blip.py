"""Instant checks of lesson 06's exercises, and a player that moves CapFilt's threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from teaching.exercises import Mistake, diagnosed
from vlmcourse.parts.layers import PostNormBlock
from vlmcourse.plots import pictures
from vlmcourse.widgets.interactive import play

FLOOR = 1e-4


def negative_weights(answer: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Exercise 1: weights(similarity (B, B), same (B,)) -> (B, B): row i, how likely each text becomes image i's negative."""
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    similarity, same = 2 * torch.randn(5, 5, generator=generator), torch.tensor([0, 1, 0, 2, 3])
    right, own = same[:, None] == same[None, :], torch.eye(5).bool()
    likely, got = similarity.softmax(-1), answer(similarity.clone(), same)
    if got is None:
        raise Mistake("weights() returned None. Did you forget the return?")
    if not isinstance(got, Tensor) or got.shape != (5, 5):
        shape = tuple(got.shape) if isinstance(got, Tensor) else type(got).__name__
        raise Mistake(
            f"found {shape}; expected (5, 5): for each image (row) a weight for each text (column)."
        )
    wanted = (likely + FLOOR).masked_fill(right, 0)

    def is_(values: Tensor) -> bool:
        """Up to a factor for each row: multinomial doesn't mind."""
        return torch.allclose(
            got / got.sum(1, keepdim=True), values / values.sum(1, keepdim=True), atol=1e-6
        )

    def stops() -> bool:
        """Where the right pair takes all the probability."""
        return not (answer(1000 * torch.eye(5), torch.arange(5)).sum(1) > 0).all()

    if is_(wanted):
        if stops():
            raise Mistake(
                "where the right pair takes all the probability nothing is left to draw: multinomial stops. Add a floor."
            )
        return (
            "Alike texts are drawn often, right ones never, and there is always something to draw."
        )
    if is_(likely.masked_fill(right, 0)) and not stops():
        raise Mistake(
            "right texts are taken out before the softmax, so that others share what they had: a good idea, and another "
            "one. Here it is softmax, plus 1e-4, then 0 where `same` is equal."
        )
    early = similarity.masked_fill(right, 0).softmax(-1)
    mistakes = {
        "this is the softmax alone: the floor of 1e-4 is missing, and right texts can be drawn (use `same`).": likely,
        "there is no floor, and texts that are equal to the own one are not excluded: use `same`.": likely.masked_fill(
            own, 0
        ),
        "the mask is upside down: right texts are kept, all others are 0.": (
            likely + FLOOR
        ).masked_fill(~right, 0),
        "a similarity of 0 is not a weight of 0: e to the 0 is 1. Take right texts out after the softmax.": early,
        "a similarity of 0 isn't a weight of 0: e to the 0 is 1. Take right texts out after the softmax, and the floor.": early
        + FLOOR,
        "the image's own text can be drawn: then a right pair is called wrong.": likely + FLOOR,
        "the own text is excluded, but texts that are equal to it are not: use `same`.": (
            likely + FLOOR
        ).masked_fill(own, 0),
        "there is no floor: once the softmax saturates, all other weights are 0 and multinomial stops.": likely.masked_fill(
            right, 0
        ),
        "the floor was added last, so the right texts have weight 1e-4: rare, but drawn.": likely.masked_fill(
            right, 0
        )
        + FLOOR,
        "the softmax runs over images (columns): each image's weights are a row.": (
            similarity.softmax(0) + FLOOR
        ).masked_fill(right, 0),
        "all wrong texts are equally likely: those are easy negatives. Where is the similarity?": (
            ~right
        ).float(),
        "the least similar are preferred: these are the easiest negatives.": (
            (-similarity).softmax(-1) + FLOOR
        ).masked_fill(right, 0),
    }
    positive = bool(torch.isfinite(got).all() and (got >= 0).all() and (got.sum(1) > 0).all())
    raise Mistake(
        next(
            (name for name, values in mistakes.items() if positive and is_(values)),
            "these are not the weights: softmax of each row, plus 1e-4, then 0 where `same` is equal.",
        )
    )


def sharing(answer: Callable[[nn.ModuleList, nn.ModuleList], None]) -> str:
    """Exercise 2: share(encoder blocks, decoder blocks) ties, in place, all but self-attention and its LayerNorm."""
    torch.manual_seed(torch.seed() % 2**31)
    encoder, decoder = (
        nn.ModuleList(PostNormBlock(8, 2, context_width=8) for _ in range(2)) for _ in range(2)
    )
    with (
        torch.no_grad()
    ):  # fresh LayerNorms are all alike: what is shared and what only looks like it
        for parameter in (*encoder.parameters(), *decoder.parameters()):
            parameter.normal_()
    encoders = list(map(id, encoder.parameters()))
    own = {name: value.clone() for name, value in decoder.state_dict().items()}
    answer(encoder, decoder)
    if list(map(id, encoder.parameters())) != encoders:
        raise Mistake(
            "the encoder's modules were replaced: it is the decoder that takes the encoder's."
        )
    for mine, theirs in zip(decoder, encoder):
        for name in ("cross", "norm_cross", "feedforward", "norm2"):
            for one, other in zip(
                getattr(mine, name).parameters(), getattr(theirs, name).parameters()
            ):
                if one is not other:
                    if torch.equal(one, other):
                        raise Mistake(
                            f"{name} is a copy: equal now, but each goes its own way at the first step. Both must hold "
                            "the same object."
                        )
                    raise Mistake(
                        f"{name} is not shared: all but self-attention and its LayerNorm is."
                    )
        if any(
            one is other
            for one, other in zip(mine.attention.parameters(), theirs.attention.parameters())
        ):
            raise Mistake(
                "self-attention is shared, too: that is the row 'all'. Looking both ways and looking back conflict there."
            )
        if mine.norm1.weight is theirs.norm1.weight:
            raise Mistake(
                "norm1 is shared: the LayerNorm after self-attention belongs to it, and stays apart."
            )
    if any(
        not torch.equal(value, own[name])
        for name, value in decoder.state_dict().items()
        if ".attention." in name or ".norm1." in name
    ):
        raise Mistake(
            "the decoder's self-attention, or the LayerNorm after it, was changed: leave both as they are."
        )
    return "One object in two places: whatever either learns, both know."


def filtering(answer: Callable[[Tensor, Tensor, float], tuple[float, float]]) -> str:
    """Exercise 3: filtering(probability (N,), noisy (N,) booleans, threshold) -> (precision, recall) of finding noise."""
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    noisy = torch.arange(40) < 12
    probability = torch.rand(40, generator=generator)
    probability[:5], probability[5:12] = (
        probability[:5] / 2,
        0.5 + probability[5:12] / 2,
    )  # of 12, 5 are found: recall 0.42
    probability[12:15], probability[15:] = (
        probability[12:15] / 2,
        0.5 + probability[15:] / 2,
    )  # 8 go out: precision 0.62
    order = torch.randperm(40, generator=generator)
    probability, noisy = probability[order], noisy[order]
    out = probability < 0.5

    def pair(found: Tensor, truth: Tensor) -> tuple[float, float]:
        both = (found & truth).sum().item()
        return both / found.sum().item(), both / truth.sum().item()

    wanted, got = pair(out, noisy), answer(probability, noisy, 0.5)
    if not isinstance(got, (tuple, list, Tensor)) or len(got) != 2:
        raise Mistake(f"found {type(got).__name__}; expected two numbers, precision and recall.")
    got = tuple(map(float, got))

    def near(values: tuple[float, float]) -> bool:
        return max(abs(one - other) for one, other in zip(got, values)) < 1e-5

    if near(wanted):
        return (
            "Precision: how much of what went out is noise. Recall: how much of the noise went out."
        )
    likely = {
        "precision and recall are exchanged.": wanted[::-1],
        "that is the precision and recall of *keeping clean* captions; noise is what the filter finds.": pair(
            ~out, ~noisy
        ),
        "a caption is thrown out where the match is improbable: the comparison is upside down.": pair(
            ~out, noisy
        ),
        "these are the right captions that are thrown out: `noisy` is upside down.": pair(
            out, ~noisy
        ),
        "both are divided by the number of all captions.": ((out & noisy).float().mean().item(),)
        * 2,
    }
    for place, name, by in ((0, "precision", "was thrown out"), (1, "recall", "is noise")):
        if abs(got[1 - place] - wanted[1 - place]) < 1e-5:
            other = ("recall", "precision")[place]
            likely[
                f"{other} is right, {name} isn't: divide noise that was thrown out by all that {by}."
            ] = got
    raise Mistake(
        next(
            (name for name, values in likely.items() if near(values)),
            f"expected precision {wanted[0]:.3f} and recall {wanted[1]:.3f}; yours: {got[0]:.3f} and {got[1]:.3f}.",
        )
    )


def diagnosis(answer: dict[str, str]) -> str:
    """Failure lab: {'A': cause, 'B': ..., 'C': ...} for three sick systems."""
    truth = {"A": "easy", "B": "blind", "C": "own"}
    hints = {
        "A": "its match loss is the lowest of all from the first steps on, but it tells backgrounds apart hardly better than "
        "the healthy one. What was it asked to tell apart?",
        "B": "its answer to a caption is the same whatever the picture. Which loss has somebody who only knows that one in "
        "three pairs is right?",
        "C": "it looks at pictures, but the better the contrast gets, the worse the match. Which pairs does it call wrong?",
    }
    return diagnosed(
        answer,
        truth,
        hints,
        "Easy negatives make a low loss, whatever is learnt; a blind encoder sits at 0.637; and a right pair must never be "
        "a negative.",
    )


def filter_player(
    images: np.ndarray,
    texts: Sequence[str],
    probability: Tensor,
    noisy: Tensor,
    threshold: float = 0.5,
) -> None:
    """Displays pictures with captions, a slider for the threshold, what is kept, and precision and recall.

    images (N, S, S, 3), texts N, probability (N,) of a match by the filter, noisy (N,) the truth
    """
    import ipywidgets

    slider = ipywidgets.FloatSlider(
        value=threshold, min=0, max=1, step=0.05, description="threshold", continuous_update=False
    )

    def drawn():
        keep = probability >= slider.value
        captions = [
            f"{'kept' if one else 'out'} ({value:.2f}): {text}"
            for one, value, text in zip(keep, probability, texts)
        ]
        made = pictures(images, captions, (keep == ~noisy).tolist())
        caught, out, all_noise = (keep.logical_not() & noisy).sum(), (~keep).sum(), noisy.sum()
        made.description += (
            f" At threshold {slider.value:.2f}, {int(out)} of {len(texts)} are thrown out; precision "
            f"{int(caught)}/{int(out)}, recall {int(caught)}/{int(all_noise)}."
        )
        return made

    play([slider], drawn)
