"""Lesson 05's exercises: each plausible mistake is called by its name; what is taught is what the package does."""

import pytest
import torch
from exercise_answers import displayed, each, message, solution
from torch import nn
from torch.nn.functional import cross_entropy, gelu, relu

from teaching import language_model
from vlmcourse.parts import generation
from vlmcourse.parts.language import LanguageModel, tiny
from vlmcourse.parts.tuning import Adapter


def test_what_is_taught_is_what_the_package_does():
    torch.manual_seed(0)
    model = LanguageModel(tiny(20, width=16, depth=1, heads=2)).eval()
    ids, loss_mask = torch.randint(20, (3, 9)), torch.rand(3, 9) > 0.4
    loss_mask[:, 0] = False
    taught = solution("language_model.next_word_loss")
    torch.testing.assert_close(
        taught(model(ids), ids, loss_mask),
        model.losses({"ids": ids, "loss_mask": loss_mask})["lm"],
    )

    kept, probabilities = solution("language_model.kept"), torch.randn(1, 6).softmax(-1)
    drawn = generation.nucleus(0.7)(probabilities.log().expand(5000, -1))
    stays = kept(probabilities, 0.7)[0]
    assert set(drawn.tolist()) == set(stays.nonzero()[:, 0].tolist()) and 0 < stays.sum() < 6

    mine, theirs, x = (
        solution("language_model.adapter")(8, 2),
        Adapter(8, 2),
        torch.randn(4, 8),
    )
    assert torch.equal(mine(x), x) and torch.equal(theirs(x), x)
    theirs.up.weight.data.normal_()
    mine.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(mine(x), theirs(x))


def losses_of(logits, ids):
    return cross_entropy(logits.transpose(1, 2), ids, reduction="none")


def shifted(logits, ids):
    return losses_of(logits[:, :-1], ids[:, 1:])


def order_of(probabilities):
    ordered, order = probabilities.sort(-1, descending=True)
    return ordered, order, ordered.cumsum(-1)


def put_back(order, stay):
    return torch.zeros_like(stay).scatter(-1, order, stay)


def top(count):
    def answer(probabilities, p):
        order = probabilities.argsort(-1, descending=True)
        return put_back(
            order, (torch.arange(probabilities.shape[-1]) < count).expand(probabilities.shape)
        )

    return answer


def rising(probabilities, p):
    ordered, order = probabilities.sort(-1)
    return put_back(order, ordered.cumsum(-1) - ordered < p)


def strict(probabilities, p):
    ordered, order, sums = order_of(probabilities)
    return put_back(order, sums < p)


def one_too_many(probabilities, p):
    ordered, order, sums = order_of(probabilities)
    return put_back(order, sums - ordered <= p)


def right_mask(probabilities, p):
    ordered, order, sums = order_of(probabilities)
    return put_back(order, sums - ordered < p)


def in_sorted_order(probabilities, p):
    ordered, _, sums = order_of(probabilities)
    return sums - ordered < p


def put_back_wrongly(probabilities, p):
    ordered, order, sums = order_of(probabilities)
    return (sums - ordered < p).gather(-1, order)


def adapter(forward, zero=("up",), shapes=lambda width, inner: ((width, inner), (inner, width))):
    """A class like the exercise's, with this forward(self, x), and these layers starting at zero."""

    class Answer(nn.Module):
        def __init__(self, width, inner):
            super().__init__()
            (first, second) = shapes(width, inner)
            self.down, self.up = nn.Linear(*first), nn.Linear(*second)
            for name in zero:
                for parameter in getattr(self, name.split(".")[0]).parameters():
                    if "." not in name or parameter.dim() == 2:
                        nn.init.zeros_(parameter)

    Answer.forward = forward
    return Answer


def right_forward(self, x):
    return x + self.up(gelu(self.down(x)))


WRONG = {
    "language_model.next_word_loss": {
        "there is no shift": lambda logits, ids, loss_mask: losses_of(logits, ids)[
            loss_mask
        ].mean(),
        "goes the wrong way": lambda logits, ids, loss_mask: losses_of(logits[:, 1:], ids[:, :-1])[
            loss_mask[:, 1:]
        ].mean(),
        "padding is counted": lambda logits, ids, loss_mask: shifted(logits, ids).mean(),
        "that is a sum": lambda logits, ids, loss_mask: shifted(logits, ids)[
            loss_mask[:, 1:]
        ].sum(),
        "divided by the number of *all* words": lambda logits, ids, loss_mask: (
            shifted(logits, ids) * loss_mask[:, 1:]
        ).mean(),
        "was given probabilities": lambda logits, ids, loss_mask: shifted(logits.softmax(-1), ids)[
            loss_mask[:, 1:]
        ].mean(),
        "scored is not shifted": lambda logits, ids, loss_mask: shifted(logits, ids)[
            loss_mask[:, :-1]
        ].mean(),
        "each text is averaged first": lambda logits, ids, loss_mask: torch.stack(
            [
                row[padding_mask].mean()
                for row, padding_mask in zip(shifted(logits, ids), loss_mask[:, 1:])
            ]
        ).mean(),
        "not of their logarithms": lambda logits, ids, loss_mask: (
            1 - (-shifted(logits, ids)).exp()[loss_mask[:, 1:]].mean()
        ),
        "sign": lambda logits, ids, loss_mask: -shifted(logits, ids)[loss_mask[:, 1:]].mean(),
        "expected one number": lambda logits, ids, loss_mask: shifted(logits, ids)[
            loss_mask[:, 1:]
        ],
        "not the right value": lambda logits, ids, loss_mask: (
            shifted(logits, ids)[loss_mask[:, 1:]].mean() + 1
        ),
        "forget the return": lambda logits, ids, loss_mask: None,
        "found a text": lambda logits, ids, loss_mask: "1.0",
    },
    "language_model.kept": {
        "the word that crosses p is left out": strict,
        "one word too many": one_too_many,
        "rarest words": rising,
        "sorted order": in_sorted_order,
        "put back wrongly": put_back_wrongly,
        "were not sorted": lambda probabilities, p: probabilities.cumsum(-1) - probabilities < p,
        "fixed level": lambda probabilities, p: probabilities > 1 - p,
        "upside down": lambda probabilities, p: ~right_mask(probabilities, p),
        "that is top-k": top(3),
        "keeps equally many words": lambda probabilities, p: (
            probabilities == probabilities.amax(-1, keepdim=True)
        ),
        "A mask is booleans": lambda probabilities, p: right_mask(probabilities, p).float(),
        "found shape": lambda probabilities, p: right_mask(probabilities, p).nonzero(),
        "values are not right": lambda probabilities, p: right_mask(probabilities, p).roll(1, -1),
        "forget the return": lambda probabilities, p: None,
    },
    "language_model.adapter": {
        "no residual": adapter(lambda self, x: self.up(gelu(self.down(x)))),
        "start up at zero": adapter(right_forward, zero=()),
        "weight *and* bias": adapter(right_forward, zero=("up.weight",)),
        "down starts at zero, too": adapter(right_forward, zero=("up", "down")),
        "there is no nonlinearity": adapter(lambda self, x: x + self.up(self.down(x))),
        "comes after up": adapter(lambda self, x: x + gelu(self.up(self.down(x)))),
        "goes through the nonlinearity": adapter(lambda self, x: gelu(x + self.up(self.down(x)))),
        "second gelu": adapter(lambda self, x: x + gelu(self.up(gelu(self.down(x))))),
        "that is relu": adapter(lambda self, x: x + self.up(relu(self.down(x)))),
        "x is multiplied": adapter(lambda self, x: x * self.up(gelu(self.down(x)))),
        "the bottleneck is not used": adapter(lambda self, x: x),
        "down is not used": adapter(
            lambda self, x: x + self.up(gelu(x[..., : self.down.out_features]))
        ),
        "narrow in the middle": adapter(
            right_forward, shapes=lambda width, inner: ((width, width), (width, width))
        ),
        "two torch.nn.Linear layers": lambda width, inner: nn.Identity(),
        "values are not right": adapter(lambda self, x: 2 * x + self.up(gelu(self.down(x)))),
        "found shape": adapter(lambda self, x: gelu(self.down(x))),
        "forget the return": adapter(lambda self, x: None),
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


def test_other_ways_to_be_right():
    assert not message("language_model.kept", lambda q, p: right_mask(q.double(), p))
    assert not message(
        "language_model.next_word_loss",
        lambda logits, ids, loss_mask: cross_entropy(
            logits[:, :-1].flatten(0, 1), ids[:, 1:].masked_fill(~loss_mask[:, 1:], -100).flatten()
        ),
    )
    assert not message("language_model.adapter", Adapter)


def test_the_nucleus_player_keeps_what_it_shows(monkeypatch):
    shown = displayed(monkeypatch)
    probabilities = torch.tensor([0.1, 0.6, 0.3])
    language_model.nucleus_player(probabilities.log(), ["cat", "dog", "owl"], p=0.8)
    ((widget, static),) = shown
    assert static["image/png"].startswith(b"\x89PNG") and "2 words stay" in static["text/plain"]
    (share, temperature), text = widget.children[0].children, widget.children[-1]
    assert "dog: model 0.6, nucleus 0.667" in text.value
    assert "cat: model 0.1, nucleus 0." in text.value
    share.value = 0.5
    assert "1 words stay" in text.value
    share.value, temperature.value = 0.95, 3.0
    assert "temperature 3.0: 3 words stay" in text.value
