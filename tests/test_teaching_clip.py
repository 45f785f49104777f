"""Lesson 02's exercises: each plausible mistake is called by its name; and its players."""

import pytest
import torch
from exercise_answers import displayed, each, message
from torch.nn.functional import cross_entropy, normalize

from teaching.clip import at_scale, temperature_player, zero_shot_player
from vlmcourse import recipes, world
from vlmcourse.training.scale import Scale
from vlmcourse.widgets.explorers.clip import classify


def logits(image, text, logit_scale):
    return logit_scale.exp() * normalize(image, dim=-1) @ normalize(text, dim=-1).T


def labels(image):
    return torch.arange(len(image))


def symmetric(table):
    return (
        cross_entropy(table, torch.arange(len(table)))
        + cross_entropy(table.T, torch.arange(len(table)))
    ) / 2


WRONG = {
    "clip.loss": {
        "only image to text": lambda i, t, s: cross_entropy(logits(i, t, s), labels(i)),
        "only text to image": lambda i, t, s: cross_entropy(logits(i, t, s).T, labels(i)),
        "sum of both": lambda i, t, s: (
            cross_entropy(logits(i, t, s), labels(i)) + cross_entropy(logits(i, t, s).T, labels(i))
        ),
        "used as it is": lambda i, t, s: symmetric(
            s * normalize(i, dim=-1) @ normalize(t, dim=-1).T
        ),
        "divided": lambda i, t, s: symmetric(
            normalize(i, dim=-1) @ normalize(t, dim=-1).T / s.exp()
        ),
        "no temperature": lambda i, t, s: symmetric(normalize(i, dim=-1) @ normalize(t, dim=-1).T),
        "only the images are normalised": lambda i, t, s: symmetric(
            s.exp() * normalize(i, dim=-1) @ t.T
        ),
        "only the texts are normalised": lambda i, t, s: symmetric(
            s.exp() * i @ normalize(t, dim=-1).T
        ),
        "over the batch (dim 0)": lambda i, t, s: symmetric(
            s.exp() * normalize(i, dim=0) @ normalize(t, dim=0).T
        ),
        "was given probabilities": lambda i, t, s: symmetric(logits(i, t, s).softmax(-1)),
        "it has no gradient": lambda i, t, s: torch.tensor(symmetric(logits(i, t, s)).item()),
        "Expected input batch_size": lambda i, t, s: (
            cross_entropy(logits(i, t, s), torch.arange(3)) + symmetric(logits(i, t, s))
        ),
        "the vectors are not normalised": lambda i, t, s: symmetric(s.exp() * i @ t.T),
        "summed": lambda i, t, s: len(i) * symmetric(logits(i, t, s)),
        "sign": lambda i, t, s: -symmetric(logits(i, t, s)),
        "not the right value": lambda i, t, s: symmetric(logits(i, t, s)) + 1,
        "Did you forget the return?": lambda i, t, s: None,
    },
    "clip.ensemble": {
        "mean is not normalised": lambda e: normalize(e, dim=-1).mean(0),
        "before the mean": lambda e: normalize(e.mean(0), dim=-1),
        "nothing is normalised": lambda e: e.mean(0),
        "one template": lambda e: normalize(e, dim=-1)[0],
        "averaged over templates": lambda e: normalize(e, dim=-1).mean(1),
        "found None": lambda e: None,
    },
}


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


def test_the_temperature_player_computes_the_softmax_it_shows(monkeypatch):
    shown = displayed(monkeypatch)
    cosines = torch.tensor([0.5, 0.3, 0.1])
    wanted = (20 * cosines).softmax(0)
    assert f"{wanted[0]:.3g}" in at_scale(cosines, 20.0, ["a", "b", "c"]).description
    temperature_player(cosines, ["a", "b", "c"], 20.0)
    fields, _, text = shown[0][0].children
    slider, reset, *_ = fields.children
    slider.value = 1.0
    assert "Scale 1.0" in text.value
    reset.click()
    assert slider.value == pytest.approx(20.0) and "Scale 20.0" in text.value


def test_the_zero_shot_player_classifies_what_is_typed(monkeypatch):
    shown = displayed(monkeypatch)
    model = recipes.clip.new_clip(recipes.clip.clip_config(Scale.of("smoke"))).eval()
    images = world.Pairs("test", 32).images(range(3))
    found = classify(model, images[0], "cat, apple", "a picture of {}")
    assert sum(found.values()) == pytest.approx(1, abs=1e-5) and list(found) == ["cat", "apple"]
    zero_shot_player(model, images, ["cat", "apple"])
    _, classes, template, _, text = shown[0][0].children
    assert "the class: cat 0." in text.value
    classes.value = "dog, banana, car"
    assert "the class: dog 0." in text.value and "car 0." in text.value
    classes.value = "dog, zebrafish"
    assert "unknown word 'zebrafish'" in text.value.replace("&#x27;", "'")
    classes.value = "dog"
    assert "expected at least two different ones" in text.value
    classes.value, template.value = "dog, car", "no braces"
    assert "exactly one {}" in text.value
