"""The same code on a GPU, tested without one: what a model makes on the way must be where its inputs are.

While a model works, tensors that are made without saying where go to the device `meta`, as they would stay behind on the CPU if
the model were on a GPU. Any of them that meets the others is an error.
"""

from contextlib import contextmanager
from functools import partial

import pytest
import torch

from teaching.minimal_pairs import MinimalPairsBLIP, nouns, siblings
from vlmcourse import recipes
from vlmcourse.parts.generation import beam_search, generate, greedy
from vlmcourse.recipes.features import PixelSource
from vlmcourse.recipes.flamingo import page_datasets
from vlmcourse.training.scale import Scale
from vlmcourse.world.minimal_pairs import MinimalPairs, swap_positions

SMOKE = Scale.of("smoke")


def of_recipe(name, **options):
    run = recipes.get(name).prepare(SMOKE, trained=False, **options)
    return run.model, run.data.batch(range(6))


def minimal_pairs():
    pairs = MinimalPairs(
        "train", SMOKE.image_size, things=(2, 2), change=swap_positions, noun_subset=nouns()
    )
    blip = recipes.blip.new_blip(recipes.blip.blip_config(SMOKE))
    return MinimalPairsBLIP(blip, siblings), pairs.batch(range(6))


def flamingo_on_pixels():
    data = page_datasets(SMOKE, PixelSource(SMOKE.image_size))
    return of_recipe("flamingo", data=data)


MODELS = {
    **{name: partial(of_recipe, name) for name in recipes.names()},
    "clip, resnet": partial(of_recipe, "clip", resnet=(1, 1)),
    "blip, momentum": partial(of_recipe, "blip", momentum=0.9, queue_size=12, alpha=0.4),
    "blip, minimal pairs": minimal_pairs,
    "flamingo, pixels": flamingo_on_pixels,
}


@contextmanager
def nothing_left_to_chance():
    """Memory that nobody wrote to holds NaN: an index on the wrong device reads just that, and may look like numbers."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", MODELS)
def test_a_training_step_stays_on_its_device(name):
    model, batch = MODELS[name]()
    with torch.device("meta"), nothing_left_to_chance():
        losses = model.train().losses(batch)
        sum(losses.values()).backward()
        if hasattr(model, "after_step"):
            model.after_step()
    assert all(loss.device.type == "cpu" and loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize("how", ["greedy", "beam"])
def test_writing_stays_on_its_device(how):
    model, batch = of_recipe("blip")
    start = batch["ids"][:1, :2]
    with torch.device("meta"), torch.no_grad():
        states = model.eval().vision_context(batch["pixel_values"][:1])["states"]
        if how == "greedy":
            said = generate(model, start, 4, greedy, end=-1, states=states)
        else:
            said = beam_search(model, start, 4, 3, end=-1, states=states.expand(3, -1, -1))
    assert said.device.type == "cpu"
