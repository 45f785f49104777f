"""Lesson 09's exercises: right answers pass, and each plausible mistake is named."""

import pytest
from exercise_answers import each, message


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


def data_set(annotated, web, synthetic, p, q, t, keep=None):
    keep = keep or (lambda chance: chance >= t)
    rows = [*zip(web, p.tolist()), *zip(synthetic, q.tolist())]
    return annotated + [text for text, chance in rows if keep(chance)]


DATA_SET = {
    "Did you forget the return?": lambda *args: None,
    "exactly the threshold": lambda *args: data_set(*args, keep=lambda c: c > args[-1]),
    "comparison is upside down": lambda *args: data_set(*args, keep=lambda c: c < args[-1]),
    "threshold is not used": lambda *args: data_set(*args, keep=lambda c: c >= 0.5),
    "nothing is thrown out": lambda *args: data_set(*args, keep=lambda c: True),
    "annotated captions are missing": lambda a, *rest: data_set([], *rest),
    "synthetic captions are missing": lambda a, w, s, *rest: data_set(a, w, [], *rest),
    "web captions are missing": lambda a, w, s, *rest: data_set(a, [], s, *rest),
    "are exchanged": lambda a, w, s, p, q, t: data_set(a, w, s, q, p, t),
}
WRONG = {"capfilt.filtering": FILTERING, "capfilt.data_set": DATA_SET}
RIGHT = {"capfilt.filtering": filtering, "capfilt.data_set": data_set}


@pytest.mark.parametrize("id", RIGHT)
def test_right_answers_pass(id):
    assert [message(id, RIGHT[id]) for _ in range(3)] == [""] * 3


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)
