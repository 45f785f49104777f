"""Lesson 05, a language model: exercises, quizzes, the failure lab, and a player for nucleus sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, gelu

from teaching.exercises import Exercise, gradient_rule, normal, number, rule
from vlmcourse.widgets.explorers.sampling import Decoding, next_word_bars
from vlmcourse.widgets.interactive import interactive, row, slider
from vlmgrader.checks import driver_source


def losses(logits: Tensor, ids: Tensor) -> Tensor:
    """-log p of ids (B, T) by logits (B, T, V) at the same position, (B, T)."""
    return cross_entropy(logits.transpose(1, 2), ids, reduction="none")


def shifted(logits: Tensor, ids: Tensor) -> Tensor:
    return losses(logits[:, :-1], ids[:, 1:])


def backwards(logits: Tensor, ids: Tensor) -> Tensor:
    return losses(logits[:, 1:], ids[:, :-1])


def next_word_loss(logits: Tensor, ids: Tensor, loss_mask: Tensor) -> Tensor:
    return shifted(logits, ids)[loss_mask[:, 1:]].mean()


def reduced(each, reduce):
    """A loss whose positions are `each`(logits, ids), reduced with the mask at the words that are predicted."""
    return lambda logits, ids, loss_mask: reduce(each(logits, ids), loss_mask[:, 1:]).item()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return values[mask].mean()


def whole_mean(values: Tensor, mask: Tensor) -> Tensor:
    return values.mean()


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    return values[mask].sum()


def probabilities_of(logits: Tensor, ids: Tensor) -> Tensor:
    return shifted(logits.softmax(-1), ids)


def loss_inputs(generator: torch.Generator) -> tuple[list, dict]:
    batch, length, words = 3, number(generator, 7, 9), number(generator, 9, 12)
    lengths = torch.tensor([length, 5, 3])[torch.randperm(batch, generator=generator)]
    position = torch.arange(length)
    loss_mask = (position >= 1) & (position < lengths[:, None])  # no word precedes the first
    ids = torch.randint(words, (batch, length), generator=generator)
    return [
        normal(generator, batch, length, words, scale=2, dtype=torch.float64),
        ids,
        loss_mask,
    ], {}


def nucleus(
    probabilities: Tensor, p: float, descending=True, inclusive=False, strict=True, back="scatter"
) -> Tensor:
    """(B, V) booleans: words whose likelier ones hold less than p together. The options are ways to get it wrong."""
    ordered, order = probabilities.sort(dim=-1, descending=descending, stable=True)
    sums = ordered.cumsum(-1) - (0 if inclusive else ordered)
    stays = sums < p if strict else sums <= p
    if back == "sorted":
        return stays
    if back == "gather":
        return stays.gather(-1, order)
    return torch.zeros_like(stays).scatter(-1, order, stays)


def top_k(probabilities: Tensor, p: float, k: int) -> Tensor:
    return torch.zeros_like(probabilities, dtype=torch.bool).scatter(
        -1, probabilities.topk(k).indices, True
    )


def spread_inputs(generator: torch.Generator) -> tuple[list, dict]:
    sharpness = torch.tensor([0.3, 1, 2, 4])[:, None]
    words = number(generator, 8, 11)
    return [
        (sharpness * normal(generator, 4, words)).softmax(-1),
        (0.6, 0.75, 0.9)[number(generator, 0, 2)],
    ], {}


def exact_inputs(generator: torch.Generator) -> tuple[list, dict]:
    row = torch.tensor([0.25, 0.0625, 0.5, 0.0625, 0.125])  # sums that are exact in binary
    return [row[torch.randperm(5, generator=generator)][None], 0.75], {}


def tiny_inputs(generator: torch.Generator) -> tuple[list, dict]:
    return [spread_inputs(generator)[0][0], 0.03], {}


KEPT_MISTAKES = {
    "it is upside down: True must mean 'stays'.": lambda q, p: ~nucleus(q, p),
    "the word that crosses p is left out, so what is kept holds less than p. Look at the sum *before* each word.": (
        partial(nucleus, inclusive=True),
        partial(nucleus, inclusive=True, strict=False),
    ),
    "one word too many: where the words before it hold exactly p, nothing more is needed. Compare with <, not <=.": partial(
        nucleus, strict=False
    ),
    "you start from the rarest words: sort with descending=True.": (
        partial(nucleus, descending=False),
        partial(nucleus, descending=False, inclusive=True),
        partial(nucleus, descending=False, inclusive=True, strict=False),
    ),
    "the answers are in sorted order, likeliest first: put each back where its word stands in the vocabulary.": partial(
        nucleus, back="sorted"
    ),
    "the answers are put back wrongly: `order` says where each word came *from*. Use scatter, or sort the order again.": (
        partial(nucleus, back="gather")
    ),
    "the words were not sorted: the sum must run from the likeliest word down.": (
        lambda q, p: q.cumsum(-1) - q < p,
        lambda q, p: q.cumsum(-1) <= p,
        lambda q, p: q.cumsum(-1) < p,
    ),
    "each word is compared with a fixed level: what counts is the *sum* of the likelier ones.": (
        lambda q, p: q > p,
        lambda q, p: q >= p,
        lambda q, p: q > 1 - p,
        lambda q, p: q >= 1 - p,
    ),
    "every row keeps equally many words: that is top-k. A confident model needs fewer words to reach p.": tuple(
        partial(top_k, k=k) for k in range(1, 6)
    ),
}


def run_layers(target, width, inner, *_):
    """Driver: shapes of an adapter's two layers."""
    from torch import nn

    adapter = target(width, inner)
    layers = [getattr(adapter, name, None) for name in ("down", "up")]
    if not isinstance(adapter, nn.Module) or not all(isinstance(one, nn.Linear) for one in layers):
        return "no layers"
    return [list(one.weight.shape) for one in layers]


def run_adapter(target, width, inner, x, down, up, bias_down, bias_up):
    """Driver: what an adapter with these weights makes of x."""
    import torch

    adapter = target(width, inner)
    values = (down, bias_down, up, bias_up)
    with torch.no_grad():
        parameters = (*adapter.down.parameters(), *adapter.up.parameters())
        for parameter, value in zip(parameters, values):
            parameter.copy_(value)
        return adapter(x)


def run_new_adapter(target, width, inner, x, *_):
    """Driver: which parts of a new adapter are zero."""
    import torch

    adapter = target(width, inner)
    named = dict(adapter.named_parameters())
    with torch.no_grad():
        zero = {name: bool((value == 0).all()) for name, value in named.items()}
        return {"up": zero["up.weight"] and zero["up.bias"], "down": zero["down.weight"]} | {
            "positive_groups": bool(torch.equal(adapter(x), x))
        }


def adapter_inputs(generator: torch.Generator) -> tuple[list, dict]:
    width, inner = number(generator, 5, 8), number(generator, 2, 4)
    shapes = (2, 5, width), (inner, width), (width, inner), (inner,), (width,)
    return [width, inner, *(normal(generator, *shape) for shape in shapes)], {}


def bottleneck(formula):
    """formula(x, down, up) of an adapter's inputs, with down and up as functions."""
    return lambda width, inner, x, d, u, bd, bu: formula(
        x, lambda y: y @ d.T + bd, lambda y: y @ u.T + bu
    )


ADAPTER_MISTAKES = {
    "x itself is lost: there is no residual. Return x *plus* what the bottleneck makes of it.": (
        bottleneck(lambda x, down, up: up(gelu(down(x)))),
        bottleneck(lambda x, down, up: up(down(x))),
    ),
    "there is no nonlinearity: two linear layers in a row are one linear layer. gelu stands between them.": bottleneck(
        lambda x, down, up: x + up(down(x))
    ),
    "the nonlinearity comes after up: it stands between down and up.": bottleneck(
        lambda x, down, up: x + gelu(up(down(x)))
    ),
    "the sum goes through the nonlinearity, so x can't pass unchanged: add x last.": bottleneck(
        lambda x, down, up: gelu(x + up(down(x)))
    ),
    "there is a second gelu, after up: what is added to x must be free to be negative.": bottleneck(
        lambda x, down, up: x + gelu(up(gelu(down(x))))
    ),
    "that is relu; the course's bottleneck uses gelu.": bottleneck(
        lambda x, down, up: x + up(down(x).relu())
    ),
    "x is multiplied where it should be added to.": bottleneck(
        lambda x, down, up: x * up(gelu(down(x)))
    ),
    "the bottleneck is not used: x comes out as it went in, even when up is no longer zero.": bottleneck(
        lambda x, down, up: x
    ),
    "down is not used.": lambda width, inner, x, d, u, bd, bu: x + gelu(x[..., :inner]) @ u.T + bu,
}


def not_new(got: Mapping, wanted: Mapping, *_) -> str | None:
    if not got["up"] or not got["positive_groups"]:
        return (
            "a new adapter changes its input: start up at zero, weight *and* bias, so that training begins with the "
            "language model as it is."
        )
    return (
        "down starts at zero, too. Then up's weight gets no gradient, because all it sees is zero, and down gets none, "
        "because up is zero: they would never learn. Only up starts at zero."
    )


EXERCISES = {
    "next_word_loss": Exercise(
        "Position t predicts word t + 1; only scored words count, and all of them count alike.",
        (
            rule(
                "my_next_word_loss",
                loss_inputs,
                lambda *args: next_word_loss(*args).item(),
                {
                    "each position is scored on its own word, which it has just read: there is no shift. logits[:, t] "
                    "speak of ids[:, t + 1].": (
                        lambda g, i, s: losses(g, i)[s].mean().item(),
                        lambda g, i, s: losses(g, i).mean().item(),
                        lambda g, i, s: losses(g, i)[s].sum().item(),
                    ),
                    "the shift goes the wrong way: position t is asked for the word *before* it. Drop the last logits "
                    "and the first id.": (
                        reduced(backwards, masked_mean),
                        reduced(backwards, whole_mean),
                        lambda g, i, s: backwards(g, i)[s[:, :-1]].mean().item(),
                    ),
                    "padding is counted: leave out the words where scored is False.": reduced(
                        shifted, whole_mean
                    ),
                    "padding is counted, and the words are summed: one mean over the scored words is wanted.": reduced(
                        shifted, lambda values, mask: values.sum()
                    ),
                    "that is a sum: divide by the number of scored words, or long texts seem harder.": reduced(
                        shifted, masked_sum
                    ),
                    "the sum over scored words is divided by the number of *all* words. Divide by the number of scored ones.": (
                        reduced(shifted, lambda values, mask: (values * mask).mean()),
                        lambda g, i, s: shifted(g, i)[s[:, 1:]].sum().item() / i.numel(),
                    ),
                    "cross_entropy was given probabilities: it takes logits, and does the softmax itself.": (
                        reduced(probabilities_of, masked_mean),
                        reduced(probabilities_of, whole_mean),
                    ),
                    "scored is not shifted with the words: ids[:, 1:] go with scored[:, 1:].": lambda g, i, s: (
                        shifted(g, i)[s[:, :-1]].mean().item()
                    ),
                    "each text is averaged first, so words of short texts count more. Take one mean over all scored words.": (
                        reduced(
                            shifted,
                            lambda values, mask: ((values * mask).sum(1) / mask.sum(1)).mean(),
                        )
                    ),
                    "the mean of the probabilities is taken, not of their logarithms.": (
                        reduced(lambda g, i: (-shifted(g, i)).exp(), masked_mean),
                        reduced(lambda g, i: -(-shifted(g, i)).exp(), masked_mean),
                        reduced(lambda g, i: 1 - (-shifted(g, i)).exp(), masked_mean),
                    ),
                    "the sign is wrong: a loss is *minus* the log-probability.": lambda *args: (
                        -next_word_loss(*args).item()
                    ),
                },
                tolerance=1e-5,
            ),
            gradient_rule(
                "my_next_word_loss",
                loss_inputs,
                next_word_loss,
                1,
                "the number is right, but it has no gradient: keep tensors, without .item() or torch.tensor(...).",
            ),
        ),
    ),
    "kept": Exercise(
        "Confident models keep few words, unsure ones many, and the kept share is never below p.",
        tuple(
            rule("my_kept", inputs, nucleus, KEPT_MISTAKES)
            for inputs in (spread_inputs, exact_inputs, tiny_inputs)
        ),
    ),
    "adapter": Exercise(
        "A new adapter changes nothing, and yet it can learn: up gets a gradient first, then down.",
        (
            rule(
                "MyAdapter",
                adapter_inputs,
                lambda width, inner, *_: [[inner, width], [width, inner]],
                {
                    "expected a torch.nn.Module with two torch.nn.Linear layers, self.down and self.up.": lambda *_: (
                        "no layers"
                    )
                },
                driver=driver_source(run_layers),
                explain=lambda got, wanted, *_: (
                    f"down.weight and up.weight have shapes {got[0]} and {got[1]}; expected {wanted[0]} and "
                    f"{wanted[1]}: narrow in the middle."
                ),
            ),
            rule(
                "MyAdapter",
                adapter_inputs,
                bottleneck(lambda x, down, up: x + up(gelu(down(x)))),
                ADAPTER_MISTAKES,
                driver=driver_source(run_adapter),
            ),
            rule(
                "MyAdapter",
                adapter_inputs,
                lambda *_: {"up": True, "down": False, "positive_groups": True},
                driver=driver_source(run_new_adapter),
                explain=not_new,
            ),
        ),
    ),
}


def nucleus_player(logits: Tensor, names: Sequence[str], p: float = 0.9) -> None:
    """Displays sliders for p and the temperature over the next word's logits (V,); `names` are the V words."""
    share, temperature = slider("p", p, 0.05, 1, 0.05), slider("temperature", 1, 0.2, 3, 0.2)
    interactive(
        [row(share, temperature)],
        lambda: next_word_bars(
            logits, names, Decoding("nucleus", share.value, temperature.value), max_words=8
        ),
    )
