"""Lesson 06's exercises: right answers pass, and each plausible mistake is named."""

import copy

import numpy as np
import pytest
import torch

from teaching import blip as checks
from teaching.exercises import Mistake


def weights(similarity, same):
    return (similarity.softmax(-1) + 1e-4).masked_fill(same[:, None] == same[None, :], 0)


def own(same):
    return torch.eye(len(same)).bool()


WEIGHTS = {
    "returned None": lambda s, same: None,
    "expected \\(5, 5\\)": lambda s, same: weights(s, same)[0],
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
    "not the weights": lambda s, same: weights(s * 3, same),
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


PARAMETER_SHARING = {
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
    caught = (out & noisy).sum().item()
    return caught / out.sum().item(), caught / noisy.sum().item()


FILTERING = {
    "two numbers": lambda p, noisy, t: 0.5,
    "are exchanged": lambda p, noisy, t: filtering(p, noisy, t)[::-1],
    "keeping clean": lambda p, noisy, t: filtering(1 - p, ~noisy, 1 - t),
    "upside down": lambda p, noisy, t: filtering(1 - p, noisy, 1 - t),
    "number of all captions": lambda p, noisy, t: (((p < t) & noisy).float().mean().item(),) * 2,
    "`noisy` is upside down": lambda p, noisy, t: filtering(p, ~noisy, t),
    "recall is right": lambda p, noisy, t: (0.3, filtering(p, noisy, t)[1]),
    "precision is right": lambda p, noisy, t: (filtering(p, noisy, t)[0], 0.3),
    "expected precision": lambda p, noisy, t: (0.123, 0.456),
}


@pytest.mark.parametrize(
    "check, answer",
    [(checks.negative_weights, weights), (checks.sharing, share), (checks.filtering, filtering)],
)
def test_right_answers_pass(check, answer):
    for _ in range(5):
        assert check(answer)


def test_two_numbers_may_come_as_a_list():
    assert checks.filtering(lambda *given: list(filtering(*given)))


@pytest.mark.parametrize(
    "check, message, answer",
    [
        (check, message, answer)
        for check, wrong in (
            (checks.negative_weights, WEIGHTS),
            (checks.sharing, PARAMETER_SHARING),
            (checks.filtering, FILTERING),
        )
        for message, answer in wrong.items()
    ],
)
def test_each_mistake_is_named(check, message, answer):
    with pytest.raises(Mistake, match=message):
        check(answer)


def test_the_failure_lab():
    assert checks.diagnosis({"A": "easy", "B": "blind", "C": "own"})
    with pytest.raises(Mistake, match="run A: its match loss is the lowest"):
        checks.diagnosis({"A": "blind", "B": "easy", "C": "own"})
    with pytest.raises(NotImplementedError):
        checks.diagnosis({"A": None, "B": None, "C": None})


def test_the_player_leaves_a_described_picture(monkeypatch):
    drawn = []
    monkeypatch.setattr(checks, "play", lambda fields, make: drawn.append(make()))
    images = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    checks.filter_player(
        images,
        list("abcd"),
        torch.tensor([0.9, 0.2, 0.4, 0.8]),
        torch.tensor([False, True, False, True]),
    )
    assert (
        "At threshold 0.50, 2 of 4 are thrown out; precision 1/2, recall 1/2."
        in drawn[0].description
    )
