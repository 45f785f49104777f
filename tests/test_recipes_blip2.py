"""BLIP-2's recipe: features looked at once are the encoder's, both stages are found again, controls are at chance."""

import pytest
import torch

from vlmcourse import recipes, world
from vlmcourse.parts.image_features import patch_features
from vlmcourse.parts.language import freeze
from vlmcourse.recipes import blip2
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

SMOKE = Scale.of("smoke")
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def vision():
    return freeze(recipes.clip.new_clip(recipes.clip.clip_config(SMOKE)).vision)


@pytest.fixture(scope="module")
def lm():
    return freeze(recipes.language.new_language(SMOKE).lm)


@pytest.fixture(scope="module")
def first(vision):
    return recipes.get("blip2_stage1").train_or_load(SMOKE, vision=vision, steps=3)


def test_kept_features_are_the_encoder_s_and_texts_go_with_their_pictures(vision):
    pairs = world.Pairs("train", 32, caption=lambda scene, draws: scene.words[0])
    made = blip2.CachedFeatures(pairs, vision, 20).batch([3, 7, 3, 19])
    with torch.no_grad():
        fresh = patch_features(vision, world.to_pixels(pairs.images([3, 7, 3, 19])))
    torch.testing.assert_close(
        made["features"], fresh, atol=5e-3, rtol=5e-3
    )  # kept in half precision
    assert made["positive_groups"].tolist()[2] == made["positive_groups"].tolist()[0]
    assert tokenizer.decode(made["ids"]) == [pairs.text(index) for index in (3, 7, 3, 19)]
    told = blip2.CachedFeatures(pairs, vision, 20, blip2.image_prefix(3)).batch([3, 7])
    image_token_id = tokenizer.world_tokenizer().convert_tokens_to_ids("<image>")
    assert (told["ids"] == image_token_id).sum(1).tolist() == [3, 3] and "pixel_values" not in told
    said = [
        tokenizer.decode(ids[loss_mask][None])[0]
        for ids, loss_mask in zip(told["ids"], told["loss_mask"])
    ]
    assert said == [pairs.text(3), pairs.text(7)]


def test_both_stages_are_found_again_and_depend_on_what_made_them(vision, lm, first):
    again = recipes.get("blip2_stage1").train_or_load(SMOKE, vision=vision, steps=3)
    assert not first.loaded and again.loaded
    assert torch.equal(again.model.qformer.queries, first.model.qformer.queries)
    assert (
        not recipes.get("blip2_stage1")
        .train_or_load(SMOKE, vision=vision, steps=3, queries=2)
        .loaded
    )
    made = recipes.get("blip2").train_or_load(
        SMOKE, vision=vision, qformer=first.model.qformer, lm=lm, steps=2
    )
    found = recipes.get("blip2").train_or_load(
        SMOKE, vision=vision, qformer=again.model.qformer, lm=lm, steps=2
    )
    assert (
        not made.loaded
        and found.loaded
        and torch.equal(
            found.model.language_projection.weight, made.model.language_projection.weight
        )
    )
    fresh = blip2.new_qformer(blip2.qformer_config(SMOKE))
    assert (
        not recipes.get("blip2")
        .train_or_load(SMOKE, vision=vision, qformer=fresh, lm=lm, steps=2)
        .loaded
    )
    assert not torch.equal(made.model.qformer.queries, first.model.qformer.queries)  # a copy learnt


def test_what_queries_say_starts_near_an_average_word(vision, lm, first):
    model = blip2.new_blip2(first.model.qformer, vision, lm)
    start = blip2.mean_word_embedding(lm)
    said = model.vision_context(torch.randn(16, 3, 32, 32))["prefix"]
    word = lm.get_input_embeddings().weight.square().mean().sqrt().item()
    assert (said - start).square().mean().sqrt().item() == pytest.approx(0.15 * word, rel=0.5)
    words = tokenizer.encode(
        [" ".join([*(one.word for one in world.nouns()), *world.BACKGROUNDS])]
    )[0, 1:-1]
    torch.testing.assert_close(start, lm.get_input_embeddings().weight[words].mean(0))


def test_reports_of_untrained_models_are_near_chance(vision, lm, first):
    model = first.model
    report = blip2.stage1_report(model, 32, count=24, k=4)
    assert set(report) == {
        "image to text R@1",
        "image to text, re-ranked R@1",
        "text to image R@1",
        "text to image, re-ranked R@1",
        "image to text R@1, blind",
        "chance",
    }
    assert report["image to text R@1"] < 0.4 and report["image to text R@1, blind"] <= 1 / 24 + 1e-6
    apart = blip2.caption_pair_accuracy(model, 32, world.minimal_pairs.swap_positions, count=32)
    assert all(0.1 <= value <= 0.9 for value in apart.values())
    second = blip2.new_blip2(model.qformer, vision, lm)
    scores = blip2.caption_scores(second, 32, 16)
    assert (
        scores["noun"] < 0.3
        and scores["noun, chance"] == pytest.approx(1 / 113, rel=0.05)
        and scores["CIDEr"] < 5
    )
    for options in ({}, {"view": world.prompts.blank_images}, {"shuffled": True}):
        assert 0.2 <= blip2.question_accuracy(second, 32, "presence", 32, **options) <= 0.8


def test_the_matcher_s_log_odds_are_the_model_s(vision, first):
    """The log-odds of a pair are those of its votes, whichever pairs are asked for with it."""
    model = first.model
    pairs, texts = (
        world.Pairs("test", 32),
        world.Pairs("test", 32).batch(world.Pairs("test", 32).distinct(12))["ids"],
    )
    log_odds = blip2.match_scorer(
        model, patch_features(vision, world.to_pixels(pairs.images(pairs.distinct(12)))), texts
    )
    numbers = torch.arange(12)
    with torch.no_grad():
        alone = model.itm_logits(
            patch_features(vision, world.to_pixels(pairs.images(pairs.distinct(12)))), texts
        )
    torch.testing.assert_close(
        log_odds(numbers, numbers), alone[:, 1] - alone[:, 0], atol=1e-5, rtol=1e-5
    )
