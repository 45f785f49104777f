"""The stages that come with the course: each is found by its recipe, is small, and can do what the lessons show."""

import pytest
import torch

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


def test_blip_searches_checks_and_writes():
    report = recipes.blip.blip_report(shipped("blip", 4.5), LAPTOP, 64)
    for direction in ("image to text", "text to image"):
        assert report[f"{direction}, re-ranked R@1"] >= 0.6
    assert min(report[f"told apart, repainted, by {head}"] for head in ("match", "contrast")) >= 0.9
    assert report["CIDEr"] >= 4 and report["CIDEr, blind"] <= 0.5


def test_llava_answers_held_out_questions_by_looking():
    report = recipes.llava.llava_report(shipped("llava", 1.2), LAPTOP, 64)
    seen, exchanged = (report[name] for name in ("with the picture", "pictures exchanged"))
    assert seen["mean"] >= exchanged["mean"] + 0.15


def flat(report, before=""):
    """{"a": {"b": 1}} as {"a b": 1}; numbers only."""
    found = {}
    for name, value in report.items():
        if isinstance(value, dict):
            found |= flat(value, f"{before}{name} ")
        elif isinstance(value, float):
            found[f"{before}{name}"] = value
    return found


HALF = [name for name in recipes.names() if recipes.get(name).shipped_dtype == torch.float16]


@pytest.mark.parametrize("name", HALF)
def test_rounding_to_half_precision_changes_no_score_beyond_noise(name):
    """Even bfloat16, eight times coarser than what is stored, stays within two standard errors of a share of 64."""
    model, report = shipped(name, 4.5), recipes.get(name).report
    before = flat(report(model, LAPTOP, 64))
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.bfloat16())
    after = flat(report(model, LAPTOP, 64))
    assert before
    for score, value in before.items():
        assert after[score] == pytest.approx(value, abs=0.125 * max(1, abs(value))), score


def test_all_files_together_are_small():
    assert sum(path.stat().st_size for path in stages.SHIPPED.iterdir()) < 30e6
