"""The stages that come with the course: each is found by its recipe, is small, and can do what the lessons show."""

import pytest

from vlmcourse import recipes
from vlmcourse.recipes import frozen
from vlmcourse.recipes.few_shot_report import binding, knowledge_report
from vlmcourse.training import stages
from vlmcourse.training.scale import Scale
from vlmcourse.world import few_shot, prompts

LAPTOP = Scale.of("laptop")
pytestmark = pytest.mark.slow


def shipped(name, megabytes):
    """The model of a shipped stage, whose file is at most so large."""
    trained = recipes.get(name).train_or_load(LAPTOP)
    assert trained.loaded and trained.path == stages.SHIPPED / f"{name}.safetensors"
    assert trained.path.stat().st_size < megabytes * 1e6
    assert len(trained.history) == recipes.get(name).sizes["laptop"].steps
    return trained.model


@pytest.mark.parametrize("name, knowledge", (("frozen", 0.6), ("frozen_word_hull", 0.85)))
def test_frozen_names_things_and_more_examples_help(name, knowledge):
    model = shipped(name, 3)
    captions = frozen.caption_report(model, 64)
    assert captions["noun"] >= 0.9 and captions["background"] >= 0.9
    score, blind = frozen.score(model), frozen.score(model, prompts.blank_images)
    episodes = binding(64, 8)
    assert score(binding(64, 0)) < 0.4 and score(episodes) >= 0.85
    assert score(few_shot.other_pictures(episodes)) < 0.45 and blind(episodes) < 0.45
    known = knowledge_report(score, 64, (0,))
    assert min(known[kind]["0"] for kind in ("category", "place", "purpose")) >= knowledge


def test_blip2_s_first_stage_finds_pictures_and_captions():
    report = recipes.blip2.stage1_report(shipped("blip2_stage1", 4), LAPTOP.image_size, 64)
    assert report["image to text R@1"] >= 0.7 and report["image to text R@1, blind"] <= 0.1


def test_blip2_names_what_is_on_a_picture():
    report = recipes.blip2.caption_scores(shipped("blip2", 4), LAPTOP.image_size, 64)
    assert report["noun"] >= 0.8
