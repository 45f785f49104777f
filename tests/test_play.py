"""Exercises: the folded solution passes, the stub is 'not begun', and each plausible mistake is called by its name."""

import re
from types import SimpleNamespace

import ipywidgets
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from teaching import (
    attention,
    blip,
    blip2,
    clip,
    flamingo,
    frozen,
    language_model,
    real_weights,
    side_by_side,
    vilbert,
)
from teaching.exercises import Mistake, attempt, predict
from vlmcourse import lessons, recipes, world
from vlmcourse.training.scale import Scale
from vlmcourse.widgets import zero_shot_player
from vlmcourse.widgets.interactive import playable
from vlmcourse.widgets.mask_player import mask_of, mask_player
from vlmcourse.widgets.temperature_player import at_scale, temperature_player

CHECKS = {
    "my_prefix": attention.prefix,
    "my_last_image": attention.last_image,
    "my_loss": clip.symmetric_loss,
    "my_ensemble": clip.ensemble,
    "my_next_word_loss": language_model.next_token_loss,
    "my_kept": language_model.kept,
    "MyAdapter": language_model.adapter,
    "my_interleave": frozen.interleave,
    "my_scored": frozen.loss_mask,
    "my_freeze": frozen.frozen,
    "picture_token": vilbert.picture_token,
    "co_attention": vilbert.co_attention,
    "region_loss": vilbert.region_loss,
    "my_weights": blip.negative_weights,
    "my_share": blip.sharing,
    "my_filtering": blip.filtering,
    "my_pope": side_by_side.pope,
    "my_spoil": side_by_side.spoil,
    "my_calibrated": side_by_side.calibrated,
    "my_masks": blip2.three_masks,
    "my_similarity": blip2.best_query,
    "my_handed_over": blip2.prefix_only,
    "my_sees": flamingo.sees,
    "my_gated": flamingo.gated,
    "my_resampled": flamingo.resampled,
    "my_renamed": real_weights.renamed,
    "my_parted": real_weights.parted,
    "my_prepared": real_weights.prepared,
}
NAME = re.compile(r"^(?:def|class) (\w+)", re.M)


def solutions() -> dict[str, str]:
    """{function or class: code} of every folded solution in the masters."""
    found = {}
    for master in lessons.masters():
        text = re.sub(r"^# ?", "", master.read_text(), flags=re.M)
        for code in re.findall(r"<summary>Solution</summary>\s*```python\n(.*?)```", text, re.S):
            found[NAME.search(code).group(1)] = code
    return found


def stubs() -> dict[str, str]:
    found = {}
    for master in lessons.masters():
        for cell in lessons.from_master(master).cells:
            if cell.cell_type == "code" and "raise NotImplementedError" in cell.source:
                code = cell.source.split("\n\n\n")[0]
                found[NAME.search(code).group(1)] = code
    return found


def defined(code: str, name: str):
    space = {"torch": torch, "normalize": normalize, "cross_entropy": cross_entropy}
    exec(code, space)
    return space[name]


def test_every_exercise_has_a_stub_and_a_solution():
    assert set(solutions()) == set(stubs()) == set(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_the_folded_solution_is_right_and_the_stub_not_begun(name, capsys):
    for _ in range(3):  # inputs are fresh each time
        assert attempt(CHECKS[name], defined(solutions()[name], name))
    assert capsys.readouterr().out.startswith("Right.")
    assert not attempt(CHECKS[name], defined(stubs()[name], name))
    assert capsys.readouterr().out.startswith("Not begun yet: ")


def level(seen, length):
    return (torch.arange(length) - seen + 1).clamp(min=0)


def phi(is_tag):
    return is_tag.long().cumsum(0)


def logits(image, text, logit_scale):
    return logit_scale.exp() * normalize(image, dim=-1) @ normalize(text, dim=-1).T


def labels(image):
    return torch.arange(len(image))


MUTANTS = {
    "my_prefix": {
        "upside down": lambda seen, length: (
            level(seen, length)[None] > level(seen, length)[:, None]
        ),
        "transpose": lambda seen, length: level(seen, length)[None] >= level(seen, length)[:, None],
        "that is causal": lambda seen, length: torch.ones(length, length).tril().bool(),
        "no longer sees its own past": lambda seen, length: (torch.arange(length) < seen).expand(
            length, length
        ),
        "future included": lambda seen, length: torch.ones(length, length).bool(),
        "One position|one position too many": lambda seen, length: (
            level(min(seen + 1, length), length)[None]
            <= level(min(seen + 1, length), length)[:, None]
        ),
        "forget the return": lambda seen, length: None,
        "expected a tensor": lambda seen, length: [[True]],
        "shape": lambda seen, length: torch.ones(length).bool(),
        "expected booleans": lambda seen, length: torch.ones(length, length),
    },
    "my_last_image": {
        "upside down": lambda tag, image: phi(tag)[:, None] != image[None],
        "every image so far": lambda tag, image: image[None] <= phi(tag)[:, None],
        "still to come": lambda tag, image: image[None] >= phi(tag)[:, None],
        "its own image": lambda tag, image: (phi(tag) - tag.long())[:, None] == image[None],
        "text before the first image": lambda tag, image: (
            phi(tag).clamp(min=1)[:, None] == image[None]
        ),
        "shape": lambda tag, image: (phi(tag)[:, None] == image[None]).T,
        "expected booleans": lambda tag, image: (phi(tag)[:, None] == image[None]).float(),
        "not the right ones": lambda tag, image: (phi(tag) + 1)[:, None] == image[None],
    },
    "my_loss": {
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
        "not normalised": lambda i, t, s: symmetric(s.exp() * i @ t.T),
        "summed": lambda i, t, s: len(i) * symmetric(logits(i, t, s)),
        "sign": lambda i, t, s: -symmetric(logits(i, t, s)),
        "for this batch the loss is": lambda i, t, s: symmetric(logits(i, t, s)) + 1,
        "forget the return": lambda i, t, s: None,
    },
    "my_ensemble": {
        "mean is not normalised": lambda e: normalize(e, dim=-1).mean(0),
        "before the mean": lambda e: normalize(e.mean(0), dim=-1),
        "nothing is normalised": lambda e: e.mean(0),
        "one template": lambda e: normalize(e, dim=-1)[0],
        "averaged over templates": lambda e: normalize(e, dim=-1).mean(1),
        "expected": lambda e: None,
    },
}


def symmetric(table):
    return (
        cross_entropy(table, torch.arange(len(table)))
        + cross_entropy(table.T, torch.arange(len(table)))
    ) / 2


@pytest.mark.parametrize(
    "name, mistake", [(name, mistake) for name, mutants in MUTANTS.items() for mistake in mutants]
)
def test_each_mistake_is_called_by_its_name(name, mistake):
    with pytest.raises(Mistake, match=mistake):
        CHECKS[name](MUTANTS[name][mistake])


def test_code_that_crashes_is_an_answer_too(capsys):
    assert not attempt(clip.ensemble, lambda e: e @ e)
    assert capsys.readouterr().out.startswith("Your code raised RuntimeError")


def test_diagnoses():
    assert attention.leak("c") and clip.diagnosis({"A": "pairs", "B": "one", "C": "end"})
    for letter in "abd":
        with pytest.raises(Mistake):
            attention.leak(letter)
    with pytest.raises(Mistake, match="expected one of the letters"):
        attention.leak("e")
    with pytest.raises(NotImplementedError, match="replace each None"):
        clip.diagnosis({"A": "pairs", "B": None, "C": None})
    with pytest.raises(Mistake, match="run A: .*unknowable"):
        clip.diagnosis({"A": "end", "B": "one", "C": "pairs"})
    with pytest.raises(Mistake, match="with values"):
        clip.diagnosis({"A": "no idea", "B": "one", "C": "end"})


@pytest.fixture
def displayed(monkeypatch):
    """What display() was given: (bundle, metadata), ..."""
    seen = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, **named: seen.append((data, named.get("metadata")))
    )
    return seen


def inside(bundle, kind, monkeypatch=None):
    """All widgets of a kind, of the widget that a bundle shows."""
    view = bundle["application/vnd.jupyter.widget-view+json"]["model_id"]
    root = ipywidgets.widgets.widget._instances[view]

    def walk(widget):
        yield widget
        for child in getattr(widget, "children", ()):
            yield from walk(child)

    return [widget for widget in walk(root) if isinstance(widget, kind)]


def test_a_prediction_answers_and_folds_without_a_kernel(displayed):
    predict("1 < 2 ?", ["no", "yes"], "yes", "because")
    ((bundle, _),) = displayed
    assert "<details>" in bundle["text/html"] and "1 &lt; 2" in bundle["text/html"]
    (choice,), said = inside(bundle, ipywidgets.RadioButtons), inside(bundle, ipywidgets.HTML)[-1]
    assert choice.value is None and said.value == ""
    choice.value = "no"
    assert "Not quite" in said.value and "because" not in said.value
    choice.value = "yes"
    assert "Yes." in said.value and "because" in said.value
    with pytest.raises(ValueError, match="not among the options"):
        predict("?", ["a"], "b", "")


def test_the_mask_player_draws_what_is_typed_and_keeps_a_still(displayed):
    mask_player()
    ((bundle, metadata),) = displayed
    assert (
        bundle["image/png"].startswith(b"\x89PNG")
        and "query 0 sees 0;" in metadata["image/png"]["alt"]
    )
    (text,), (picture, said) = inside(bundle, ipywidgets.Text), inside(bundle, ipywidgets.HTML)[-2:]
    before = picture.value
    text.value = "0 0 0 0 0 0"
    assert picture.value != before and "query 0 sees 0, 1, 2, 3, 4, 5" in said.value
    text.value = "0 one"
    assert "expected 1 to 16 whole numbers" in said.value
    example = inside(bundle, ipywidgets.Dropdown)[0]
    example.value = "uni-modal"
    assert "query 0 sees 0, 1, 2;" in said.value
    assert mask_of("level(key) <= level(query)", "-1, 0").to_bool().flatten().tolist() == [
        True,
        False,
        True,
        True,
    ]


def test_the_temperature_player_computes_the_softmax_it_shows(displayed):
    cosines = torch.tensor([0.5, 0.3, 0.1])
    wanted = (20 * cosines).softmax(0)
    assert f"{wanted[0]:.3g}" in at_scale(cosines, 20.0, ["a", "b", "c"]).description
    temperature_player(cosines, ["a", "b", "c"], 20.0)
    bundle = displayed[0][0]
    (slider,), said = inside(bundle, ipywidgets.FloatLogSlider), inside(bundle, ipywidgets.HTML)[-1]
    slider.value = 1.0
    assert "Scale 1.0" in said.value
    inside(bundle, ipywidgets.Button)[0].click()
    assert slider.value == pytest.approx(20.0) and "Scale 20.0" in said.value


def test_the_zero_shot_player_classifies_what_is_typed(displayed):
    model = recipes.clip.new_clip(recipes.clip.clip_config(Scale.of("smoke"))).eval()
    images = world.Pairs("test", 32).images(range(3))
    found = zero_shot_player.classify(model, images[0], ["cat", "apple"], "a picture of {}")
    assert sum(found.values()) == pytest.approx(1, abs=1e-5) and list(found) == ["cat", "apple"]
    zero_shot_player.zero_shot_player(model, images, ["cat", "apple"])
    bundle = displayed[0][0]
    classes, template = inside(bundle, ipywidgets.Text)
    said = inside(bundle, ipywidgets.HTML)[-1]
    assert "the class: cat 0." in said.value
    classes.value = "dog, banana, car"
    assert "the class: dog 0." in said.value and "car 0." in said.value
    classes.value = "dog, zebrafish"
    assert (
        "unknown word &#x27;zebrafish&#x27;" in said.value
        or "unknown word 'zebrafish'" in said.value
    )
    classes.value = "dog"
    assert "expected at least two different ones" in said.value
    classes.value, template.value = "dog, car", "no braces"
    assert "exactly one {}" in said.value


def test_a_still_stays_when_the_kernel_is_gone(displayed):
    playable(
        SimpleNamespace(_repr_mimebundle_=lambda: {"text/plain": "Widget()", "x/widget": 1}),
        {"text/plain": "still"},
    )
    assert displayed[0][0] == {"text/plain": "still", "x/widget": 1}
