"""Pictures show the tensors they were given, and say so in words."""

import math
import sys

import numpy as np
import pytest
import torch

from vlmcourse import plots, world
from vlmcourse.evaluation import spread
from vlmcourse.parts import masks
from vlmcourse.plots.style import COLOURS, png, text_colour
from vlmcourse.training.fit import Step

IMAGES = world.Pairs("test", 32).images(range(4))


def steps(losses):
    return [
        Step(n + 1, len(losses), {"loss": value}, 1e-3, 1.0, n, 0.0)
        for n, value in enumerate(losses)
    ]


FIGURES = {
    "mask": lambda: plots.mask(masks.causal(4), list("abcd"), list("abcd")),
    "gallery": lambda: plots.mask_gallery(masks.gallery()),
    "compare": lambda: plots.compare_masks(masks.causal(4), masks.prefix(2, 4)),
    "weights": lambda: plots.attention_heads(torch.rand(2, 3, 4).softmax(-1)),
    "curves": lambda: plots.curves(
        {"a": {1: 0.1, 10: spread([0.2, 0.4])}},
        "x",
        "y",
        chance=0.05,
        lines={"all": 0.9},
        xlog=True,
    ),
    "bars": lambda: plots.bars({"g": {"a": 0.1, "b": spread([0.2, 0.4])}}, "y", chance=0.05),
    "bars sideways": lambda: plots.bars(
        {"a very long name": {"a": spread([0.2, 0.4])}}, "y", sideways=True, chance=0.1
    ),
    "loss": lambda: plots.loss(
        {"one": steps([3, 2, 1]), "two": steps([3, 3, 3])}, chance=math.log(8)
    ),
    "pictures": lambda: plots.pictures(IMAGES, list("abcd"), [True, False, True, True]),
    "similarity": lambda: plots.similarity(IMAGES, list("abcd"), torch.eye(4)),
    "matches": lambda: plots.nearest_images(["a", "b"], IMAGES, torch.eye(4)[:2], [0, 1], k=3),
    "attention": lambda: plots.attention_over_image(IMAGES[0], {"cat": torch.eye(4).flatten()}),
    "confusion": lambda: plots.top_confusions(torch.tensor([[5, 1], [2, 4]]), ["cat", "dog"]),
    "embeddings": lambda: plots.embeddings(torch.randn(9, 4), torch.randn(9, 4)),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_renders_and_says_what_it_shows(name):
    made = FIGURES[name]()
    assert png(made).startswith(b"\x89PNG") and len(made.description) > 30


def test_masks_are_drawn_from_their_booleans():
    made = plots.mask(masks.prefix(2, 4))
    drawn = np.asarray(made.axes[0].collections[0].get_array()).reshape(4, 4).astype(bool)
    assert (drawn == masks.prefix(2, 4).to_bool()[0, 0].numpy()).all()
    assert "query 0 sees 0, 1; query 1 sees 0, 1; query 2 sees 0, 1, 2;" in made.description
    assert (
        "1 cells only in 'yours', 0 only in"
        in plots.compare_masks(masks.prefix(2, 4), masks.causal(4)).description
    )
    assert "no difference" in plots.compare_masks(masks.causal(4), masks.causal(4)).description
    with pytest.raises(ValueError, match="different shapes"):
        plots.compare_masks(masks.causal(4), masks.causal(5))


@pytest.mark.parametrize("sideways", [False, True])
def test_bars_are_as_long_as_the_means_and_whiskers_as_the_spread(sideways):
    made = plots.bars({"g": {"a": spread([0.2, 0.4]), "b": 0.5}}, "y", sideways=sideways)
    lengths = [bar.get_width() if sideways else bar.get_height() for bar in made.axes[0].patches]
    assert lengths == pytest.approx([0.3, 0.5]) and "a 0.3 ± 0.14" in made.description


def test_shares_are_as_long_as_they_say_and_stand_beside_their_picture():
    made = plots.probability_bars(
        {"cat": {"a": 0.25, "b": 1.0}, "dog": {"a": 0.5}},
        "probability",
        chance=0.1,
        image=IMAGES[0],
        title="two\nlines",
    )
    (axes,) = made.axes
    bars = {(bar.get_width(), round(bar.get_y() + bar.get_height() / 2, 3)) for bar in axes.patches}
    assert {width for width, _ in bars} == {0.25, 0.5, 1.0} and len({y for _, y in bars}) == 3
    left, right = axes.get_xlim()
    assert left < axes.images[0].get_extent()[0] < axes.images[0].get_extent()[1] < 0 and right > 1
    across, down = (
        axes.images[0].get_extent()[1] - axes.images[0].get_extent()[0],
        np.ptp(axes.images[0].get_extent()[2:]),
    )
    assert across / (right - left) * made.get_figwidth() == pytest.approx(down)  # square, in inches
    assert "cat: a 0.25, b 1; dog: a 0.5. Chance: 0.1." in made.description


def test_curves_pass_through_their_points():
    line = plots.curves({"a": {1: 0.1, 2: 0.7}}, "x", "y").axes[0].lines[0]
    assert line.get_xydata().tolist() == [[1, 0.1], [2, 0.7]]


def test_a_legend_never_covers_a_curve_and_levels_have_dashes_of_their_own():
    everywhere = {x: 0.1 + 0.8 * (x % 2) for x in range(40)}  # leaves no free corner
    drawn = {name: plots.curves({"a": points}, "x", "y", lines={"one": 0.5, "two": 0.6})
             for name, points in (("full", everywhere), ("free", {0: 0.9, 1: 0.9}))}  # fmt: skip
    axes = {name: made.axes[0] for name, made in drawn.items()}
    for name, one in axes.items():
        drawn[name].draw_without_rendering()
        outside = one.get_legend().get_window_extent().x0 >= one.get_window_extent().x1
        assert outside == (name == "full")
    one, two = (line for line in axes["full"].lines if len(line.get_xdata()) == 2)
    assert one._unscaled_dash_pattern != two._unscaled_dash_pattern


def test_ticks_at_measured_points_have_three_digits():
    made = plots.curves({"a": {0.447488: 0.1, 2.424832: 0.7, 26114: 0.8}}, "x", "y", xlog=True)
    labels = [tick.get_text() for tick in made.axes[0].get_xticklabels()]
    assert labels == ["0.447", "2.42", "26.1k"]


def test_a_single_run_has_no_standard_deviation_in_words():
    made = plots.bars({"g": {"a": spread([0.25]), "b": spread([0.2, 0.4])}}, "y")
    assert "a 0.25, b 0.3 ± 0.14" in made.description


def test_numbers_of_bars_have_the_form_that_was_asked_for():
    made = plots.bars({"g": {"a": spread([0.2, 0.4])}, "h": {"a": 0.0893}}, "y", form=".1f")
    assert [text.get_text() for text in made.axes[0].texts] == ["0.3", "0.1"]
    assert "g: a 0.3 ± 0.1; h: a 0.1" in made.description


@pytest.mark.parametrize("sideways", [False, True])
def test_a_single_run_has_no_whisker(sideways):
    groups = {"one": {"a": 0.5}, "two": {"a": spread([0.2, 0.4])}}
    (lines,) = plots.bars(groups, "y", sideways=sideways).axes[0].collections
    assert [len(whisker) for whisker in lines.get_segments()] == [0, 2]


def test_captions_keep_their_lines():
    made = plots.pictures(IMAGES[:1], ["one list: whale\nother list: hat"])
    assert made.axes[0].texts[0].get_text() == "one list: whale\nother list: hat"
    assert "one list: whale, other list: hat" in made.description


def test_a_smoothed_loss_goes_through_the_means_of_all_steps():
    run = steps([1.0, 2, 3, 4, 5, 6, 7])
    assert plots.interval_means(run, "loss", 3) == {2: 1.5, 4: 3.5, 6: 5.5, 7: 7}
    assert plots.interval_means(run[:1], "loss") == {1: 1}


def test_the_matrix_shows_the_cosines_it_was_given():
    values = torch.tensor([[0.9, 0.1], [0.3, 0.8]])  # (images, texts)
    made = plots.similarity(IMAGES[:2], ["a", "b"], values)
    assert (np.asarray(made.axes[0].images[0].get_array()) == values.T.numpy()).all()
    assert (
        "2 of 2 pictures" in made.description
        and "diagonal 0.85, elsewhere 0.20" in made.description
    )


def test_matches_rank_by_similarity():
    made = plots.nearest_images(["x"], IMAGES, torch.tensor([[0.1, 0.9, 0.5, 0.2]]), [2], k=2)
    assert (
        np.asarray(made.axes[0].images[0].get_array()) == IMAGES[1]
    ).all() and "'x': 2" in made.description


def test_a_live_curve_ends_with_what_happened(capsys):
    live = plots.LiveCurve(chance=math.log(8), redraw_seconds=0)
    for step in steps([2.0, 1.5, 1.0]):
        live(step)
    assert (
        "3/3" in (said := capsys.readouterr().err) and "loss=1.000" in said
    )  # no notebook here: a progress bar
    assert (
        "running mean from 2.00 to 1.00, 3 steps" in live.figure().description
        and "done" in live.figure().axes[0].get_title("left")
    )
    long = plots.LiveCurve(redraw_seconds=0)
    for step in steps([2.0] * 99 + [1.0]):  # the last value is no trend
        long(step)
    assert "loss 1.667" in long.figure().axes[0].get_title("left")
    assert "to 1.67, 100 steps" in long.figure().description


def test_in_a_notebook_the_curve_grows_with_time_left_and_samples(monkeypatch):
    import IPython.display

    shown, levels = [], iter(range(9))
    handle = type("Handle", (), {"update": lambda self, data, **_: shown.append(data)})()
    monkeypatch.setattr(sys.modules["vlmcourse.plots.curves"], "_in_notebook", lambda: True)
    monkeypatch.setattr(IPython.display, "display", lambda data, **_: shown.append(data) or handle)
    live = plots.LiveCurve(
        redraw_seconds=0,
        samples=lambda: plots.bars({"cat": {"a": next(levels)}}, "probability of cat"),
    )
    for step in steps([2.0, 1.0]):
        live(step)
    first, last = (one["text/plain"] for one in shown)
    assert "cat: a 0" in first and "cat: a 1" in last and "to 1.00, 2 steps" in last
    assert shown[-1]["image/png"].startswith(b"\x89PNG")


@pytest.mark.parametrize("colour", COLOURS)
def test_words_on_a_colour_can_be_read(colour):
    light = [
        ((int(one[place : place + 2], 16) / 255 + 0.055) / 1.055) ** 2.4
        for one in (colour,)
        for place in (1, 3, 5)
    ]
    light = sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), light))
    assert (
        1.05 / (light + 0.05) if text_colour(colour) == "white" else (light + 0.05) / 0.05
    ) >= 4.5


def test_pictures_stand_where_they_belong_with_frames_that_judge():
    made = plots.pictures(IMAGES, list("abcd"), [True, False, True, True], columns=3)
    (axes,) = made.axes
    assert all(
        (np.asarray(one.get_array()) == image).all() for one, image in zip(axes.images, IMAGES)
    )
    assert [text.get_text() for text in axes.texts] == ["✓ a", "✗ b", "✓ c", "✓ d"]
    assert (
        axes.images[3].get_extent()[0] == axes.images[0].get_extent()[0]
    )  # the second row begins at the left
    assert len({patch.get_edgecolor() for patch in axes.patches}) == 2


def test_colours_are_okabe_and_itos():
    assert len(set(COLOURS)) == 8 and "#0072B2" in COLOURS and "#D55E00" in COLOURS


def test_settings_stay_as_they_were():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    plots.mask(masks.causal(3))
    assert dict(mpl.rcParams) == before
