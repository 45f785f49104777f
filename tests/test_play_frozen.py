"""Lesson 05's exercises: right answers pass, and each plausible mistake is named."""

import pytest
import torch

from teaching import frozen as checks
from teaching.exercises import Mistake, attempt
from vlmcourse.parts import language


def interleave(words, slots, vectors):
    made = words.clone()
    made[slots] = vectors
    return made


def in_place(words, slots, vectors):
    words[slots] = vectors
    return words


def added(words, slots, vectors):
    made = words.clone()
    made[slots] += vectors
    return made


INTERLEAVE = {
    "returned None": lambda words, slots, vectors: None,
    "as many positions as before": lambda words, slots, vectors: torch.cat([words, words], 1),
    "into `words` itself": in_place,
    "nothing was filled in": lambda words, slots, vectors: words.clone(),
    "are added to what stood there": added,
    "the order is wrong": lambda words, slots, vectors: interleave(words, slots, vectors.flip(0)),
    "use each vector once": lambda words, slots, vectors: interleave(
        words, slots, vectors[:1].expand(len(vectors), -1)
    ),
    "neither their word nor their vector": lambda words, slots, vectors: (
        interleave(words, slots, vectors) * 2
    ),
}


def loss_mask(ids, image_token_id, end, pad):
    is_slot = ids == image_token_id
    caption = (
        (is_slot.cumsum(1) == is_slot.sum(1, keepdim=True)) & ~is_slot & (ids != pad) & (ids != end)
    )
    return caption & (torch.arange(ids.shape[1]) > caption.int().argmax(1, keepdim=True))


SCORED = {
    "expected booleans": lambda *given: loss_mask(*given).long(),
    "upside down": lambda *given: ~loss_mask(*given),
    "padding is asked for": lambda ids, image_token_id, end, pad: (
        torch.arange(ids.shape[1]) > 3
    ).expand(ids.shape),
    "the end token is asked for": lambda ids, image_token_id, end, pad: loss_mask(
        ids, image_token_id, -1, pad
    ),
    "the slots are asked for": lambda ids, image_token_id, end, pad: (
        (ids != pad) & (ids != end) & (ids != 1)
    ),
    "everything is asked for": lambda ids, image_token_id, end, pad: (ids != pad) & (ids != end),
    "full stop of the prompt is asked for": lambda ids, image_token_id, end, pad: (
        (ids != pad) & (ids != end) & (ids != image_token_id) & (ids != 1)
    ),
    "the first word of the caption is not asked for": lambda ids, *given: (
        loss_mask(ids, *given) & (torch.arange(ids.shape[1]) > 4)
    ),
    "expected True at": lambda ids, *given: torch.zeros_like(ids, dtype=torch.bool),
}


def only_eval(lm):
    lm.requires_grad_(False).eval()


def no_grad(lm):
    language.freeze(lm)
    forward = lm.forward
    lm.forward = lambda x: torch.no_grad()(forward)(x)


def only_train(lm):
    lm.eval()
    for part in lm.modules():
        part.train = lambda mode=True, part=part: part


def outermost(lm):
    """Freezes the module, and none of its parts against their own train()."""
    lm.requires_grad_(False).eval()
    lm.train = lambda mode=True: [part.train(mode) for part in lm.children()]


FROZEN = {
    "dropout is on again": only_eval,
    "runs without one": no_grad,
    "still collect gradients": only_train,
    "dropout is on": outermost,
}

CASES = [
    (checks.interleave, interleave, INTERLEAVE),
    (checks.loss_mask, loss_mask, SCORED),
    (checks.frozen, language.freeze, FROZEN),
]


@pytest.mark.parametrize("check, right, wrong", CASES, ids=["interleave", "loss_mask", "frozen"])
def test_right_answers_pass_and_each_mistake_is_named(check, right, wrong, capsys):
    assert attempt(check, right) and "Right." in capsys.readouterr().out
    for message, answer in wrong.items():
        with pytest.raises(Mistake) as caught:
            check(answer)
        assert message in str(caught.value)


def test_the_diagnosis_waits_hints_and_praises():
    right = {"A": "blind", "B": "thawed", "C": "prompt"}
    assert checks.diagnosis(right).startswith("Captions that ignore")
    with pytest.raises(NotImplementedError):
        checks.diagnosis({"A": None, "B": None, "C": None})
    for run in right:
        with pytest.raises(Mistake, match=f"run {run}:"):
            checks.diagnosis({**right, run: "thawed" if right[run] != "thawed" else "blind"})
    with pytest.raises(Mistake, match="with values 'blind'"):
        checks.diagnosis({"A": "blind"})


def test_the_player_redraws_and_explains_an_unknown_word(monkeypatch):
    import numpy as np

    from teaching import frozen
    from vlmcourse.widgets import interactive

    shown = []
    monkeypatch.setattr(
        interactive, "playable", lambda widget, still, metadata: shown.append((widget, still))
    )

    def after(number, text):
        if "zebrafish" in text:
            raise ValueError("unknown word 'zebrafish'")
        return {f"word {number}": 0.7, "dog": 0.2}

    frozen.ask_player(after, np.zeros((3, 8, 8, 3), np.uint8), ["a picture of"])
    widget, still = shown[0]
    number, text, picture, said = widget.children
    before = picture.value
    number.value = 2
    assert (
        picture.value != before
        and "word 2 0.70" in said.value
        and "word 0 0.70" in still["text/plain"]
    )
    text.value = "a zebrafish"
    assert "unknown word" in said.value
