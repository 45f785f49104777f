"""The same code on a GPU, tested without one: what a model makes on the way must be where its inputs are.

While a model works, tensors that are made without saying where go to the device `meta`, as they would stay behind on the CPU if
the model were on a GPU. Any of them that meets the others is an error.
"""

from contextlib import contextmanager

import pytest
import torch

from teaching.minimal_pairs import MinimalPairsBLIP, nouns
from vlmcourse import recipes
from vlmcourse.parts.generation import beam_search, greedy, generate
from vlmcourse.recipes import blip2
from vlmcourse.recipes.flamingo import PixelSource, FrozenTower, page_datasets
from vlmcourse.training.scale import Scale
from vlmcourse.world.minimal_pairs import MinimalPairs, swap_positions

SMOKE = Scale.of("smoke")


def clip():
    return recipes.clip.new_clip(recipes.clip.clip_config(SMOKE)), recipes.clip.training_pairs(SMOKE).batch(
        range(6)
    )


def resnet():
    model = recipes.clip.new_clip(recipes.clip.clip_config(SMOKE, resnet=(1, 1)))
    return model, recipes.clip.training_pairs(SMOKE).batch(range(6))


def vilbert():
    return recipes.vilbert.new_vilbert(recipes.vilbert.vilbert_config(SMOKE)), recipes.vilbert.region_pairs(SMOKE).batch(
        range(6)
    )


def vlbert():
    return recipes.vilbert.new_vlbert(recipes.vilbert.vlbert_config(SMOKE)), recipes.vilbert.region_pairs(SMOKE).batch(
        range(6)
    )


def frozen():
    lm = recipes.get("language").train_or_load(SMOKE).model.lm
    return recipes.frozen.new_frozen(recipes.frozen.frozen_config(SMOKE), lm), recipes.frozen.caption_data(SMOKE).batch(
        range(6)
    )


def blip():
    return recipes.blip.new_blip(recipes.blip.blip_config(SMOKE)), recipes.blip.minimal_pairs_data(SMOKE).batch(
        range(6)
    )


def blip_momentum():
    return recipes.blip.new_blip(
        recipes.blip.blip_config(SMOKE, momentum=0.9, queue_size=12, alpha=0.4)
    ), recipes.blip.minimal_pairs_data(SMOKE).batch(range(6))


def looking_closely():
    pairs = MinimalPairs(
        "train", SMOKE.image_size, things=(2, 2), change=swap_positions, noun_subset=nouns()
    )
    return MinimalPairsBLIP(
        recipes.blip.new_blip(recipes.blip.blip_config(SMOKE)), contrast=True
    ), pairs.batch(range(6))


def blip2_stage1():
    vision = recipes.clip.new_clip(recipes.clip.clip_config(SMOKE)).vision
    model = blip2.Stage1(blip2.new_qformer(blip2.qformer_config(SMOKE)), vision, 32)
    return model, blip2.CachedFeatures(recipes.clip.training_pairs(SMOKE), vision, 6).batch(range(6))


def blip2_stage2():
    vision, former = (
        recipes.clip.new_clip(recipes.clip.clip_config(SMOKE)).vision,
        blip2.new_qformer(blip2.qformer_config(SMOKE)),
    )
    model = blip2.new_blip2(former, vision, recipes.get("language").train_or_load(SMOKE).model.lm)
    return model, blip2.caption_data(SMOKE, vision, former.config.queries).batch(range(6))


def looking_aside():
    tower, lm = (
        FrozenTower(recipes.clip.new_clip(recipes.clip.clip_config(SMOKE)).vision),
        recipes.get("language").train_or_load(SMOKE).model.lm,
    )
    (data, per), *_ = page_datasets(SMOKE, PixelSource(SMOKE.image_size)).values()
    return recipes.flamingo.new_flamingo(recipes.flamingo.flamingo_config(SMOKE), tower, lm), data.batch(range(per))


MODELS = (
    clip,
    resnet,
    vilbert,
    vlbert,
    frozen,
    blip,
    blip_momentum,
    looking_closely,
    blip2_stage1,
    blip2_stage2,
    looking_aside,
)


@contextmanager
def nothing_left_to_chance():
    """Memory that nobody wrote to holds NaN: an index on the wrong device reads just that, and may look like numbers."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("made", MODELS, ids=lambda made: made.__name__)
def test_a_training_step_stays_on_its_device(made):
    model, batch = made()
    with torch.device("meta"), nothing_left_to_chance():
        losses = model.train().losses(batch)
        sum(losses.values()).backward()
        if hasattr(model, "after_step"):
            model.after_step()
    assert all(loss.device.type == "cpu" and loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize("how", ["greedy", "beam"])
def test_writing_stays_on_its_device(how):
    model, batch = blip()
    start = batch["ids"][:1, :2]
    with torch.device("meta"), torch.no_grad():
        states = model.eval().vision_context(batch["pixel_values"][:1])["states"]
        if how == "greedy":
            said = generate(model, start, 4, greedy, end=-1, states=states)
        else:
            said = beam_search(model, start, 4, 3, end=-1, states=states.expand(3, -1, -1))
    assert said.device.type == "cpu"
