"""Lesson 08's exercises: right answers pass, and each plausible mistake is named."""

import copy

import pytest
import torch
from exercise_answers import each, message


def weights(similarity, same):
    return (similarity.softmax(-1) + 1e-4).masked_fill(same[:, None] == same[None, :], 0)


def own(same):
    return torch.eye(len(same)).bool()


WEIGHTS = {
    "Did you forget the return?": lambda s, same: None,
    "found shape": lambda s, same: weights(s, same)[0],
    "own text can be drawn": lambda s, same: s.softmax(-1) + 1e-4,
    "equal to it are not": lambda s, same: (s.softmax(-1) + 1e-4).masked_fill(own(same), 0),
    "added last": lambda s, same: s.softmax(-1).masked_fill(same[:, None] == same, 0) + 1e-4,
    "no floor": lambda s, same: s.softmax(-1).masked_fill(same[:, None] == same, 0),
    "over images": lambda s, same: (s.softmax(0) + 1e-4).masked_fill(same[:, None] == same, 0),
    "equally likely": lambda s, same: (same[:, None] != same).float(),
    "softmax alone": lambda s, same: s.softmax(-1),
    "no floor, and": lambda s, same: s.softmax(-1).masked_fill(own(same), 0),
    "mask is upside down": lambda s, same: (s.softmax(-1) + 1e-4).masked_fill(
        same[:, None] != same, 0
    ),
    "0 is not a weight": lambda s, same: s.masked_fill(same[:, None] == same, 0).softmax(-1),
    "0 isn't a weight": lambda s, same: s.masked_fill(same[:, None] == same, 0).softmax(-1) + 1e-4,
    "before the softmax": lambda s, same: s.masked_fill(same[:, None] == same, -torch.inf).softmax(
        -1
    ),
    "least similar": lambda s, same: weights(-s, same),
    "values are not right": lambda s, same: weights(s * 3, same),
    "clamp_min": lambda s, same: (
        s.softmax(-1).clamp_min(1e-4).masked_fill(same[:, None] == same, 0)
    ),
}


def share(encoder, decoder):
    for mine, theirs in zip(decoder, encoder):
        for name in ("cross", "norm_cross", "feedforward", "norm2"):
            setattr(mine, name, getattr(theirs, name))


def copied(encoder, decoder):
    for mine, theirs in zip(decoder, encoder):
        for name in ("cross", "norm_cross", "feedforward", "norm2"):
            setattr(mine, name, copy.deepcopy(getattr(theirs, name)))


def all_of(encoder, decoder):
    share(encoder, decoder)
    for mine, theirs in zip(decoder, encoder):
        mine.attention = theirs.attention


def norm_too(encoder, decoder):
    share(encoder, decoder)
    for mine, theirs in zip(decoder, encoder):
        mine.norm1 = theirs.norm1


def reversed_(encoder, decoder):
    share(decoder, encoder)


def forgets_norm(encoder, decoder):
    share(encoder, decoder)
    for mine in decoder:
        mine.norm2 = torch.nn.LayerNorm(8)


def norm_overwritten(encoder, decoder):
    share(encoder, decoder)
    for mine, theirs in zip(decoder, encoder):
        mine.norm1.load_state_dict(theirs.norm1.state_dict())


def overwritten(encoder, decoder):
    share(encoder, decoder)
    for mine, theirs in zip(decoder, encoder):
        mine.attention.load_state_dict(theirs.attention.state_dict())


SHARING = {
    "encoder's modules were replaced": reversed_,
    "norm2 is not shared": forgets_norm,
    "LayerNorm after it, was changed": norm_overwritten,
    "is a copy": copied,
    "not shared": lambda encoder, decoder: None,
    "self-attention is shared": all_of,
    "norm1 is shared": norm_too,
    "was changed": overwritten,
}


def filtering(probability, noisy, threshold):
    out = probability < threshold
    hits = (out & noisy).sum().item()
    return hits / out.sum().item(), hits / noisy.sum().item()


FILTERING = {
    "expected 2 values": lambda p, noisy, t: 0.5,
    "are exchanged": lambda p, noisy, t: filtering(p, noisy, t)[::-1],
    "keeping clean": lambda p, noisy, t: filtering(-p, ~noisy, -t),
    "comparison is upside down": lambda p, noisy, t: filtering(-p, noisy, -t),
    "number of all captions": lambda p, noisy, t: (((p < t) & noisy).float().mean().item(),) * 2,
    "`noisy` is upside down": lambda p, noisy, t: filtering(p, ~noisy, t),
    "recall is right": lambda p, noisy, t: (0.3, filtering(p, noisy, t)[1]),
    "precision is right": lambda p, noisy, t: (filtering(p, noisy, t)[0], 0.3),
    "not the right value": lambda p, noisy, t: (0.123, 0.456),
    "0.5 is only its usual value": lambda p, noisy, t: filtering(p, noisy, 0.5),
}


WRONG = {
    "blip.negative_weights": WEIGHTS,
    "blip.sharing": SHARING,
    "blip.filtering": FILTERING,
}
RIGHT = {
    "blip.negative_weights": weights,
    "blip.sharing": share,
    "blip.filtering": filtering,
}


@pytest.mark.parametrize("id", RIGHT)
def test_right_answers_pass(id):
    assert [message(id, RIGHT[id]) for _ in range(3)] == [""] * 3


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)
