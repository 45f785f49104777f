"""Lesson 11's stage: found again only where it is the same, and the twins' own rows are what they say."""

import pytest
import torch

from benchmarks import replicate_ablations, replicate_shots
from benchmarks.replicate_flamingo import WORDS, Early, EarlyAndOpen
from vlmcourse import recipes
from vlmcourse.parts.language import freeze
from vlmcourse.recipes import in_context
from vlmcourse.recipes.flamingo import FrozenTower, PixelSource, page_datasets
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer
from vlmcourse.world.interleaved import PageDataset, WebPages
from vlmcourse.world.nouns import noun

SMOKE = Scale.of("smoke")
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def banks():
    return freeze(
        FrozenTower(recipes.clip.new_clip(recipes.clip.clip_config(SMOKE)).vision)
    ), freeze(recipes.language.new_language(SMOKE).lm)


def test_a_stage_is_found_again_and_another_world_is_another_stage(banks, tmp_path, monkeypatch):
    monkeypatch.setenv("VLMCOURSE_CACHE", str(tmp_path))
    tower, lm = banks

    def trained(**world):
        data = {"pairs": (PageDataset(WebPages(**world).pairs, PixelSource(SMOKE.image_size)), 2)}
        return recipes.get("flamingo").train_or_load(SMOKE, lm=lm, tower=tower, data=data, steps=2)

    assert not trained(pool=64).loaded and trained(pool=64).loaded
    for other in ({"pool": 32}, {"pool": 64, "noun_subset": WORDS}, {"pool": 64, "seed": 1}):
        assert not trained(**other).loaded, other


def test_the_lesson_s_pages_come_from_many_scenes():
    assert len({WebPages(pool=8192).single_thing(index) for index in range(4096)}) == 4096
    assert page_datasets(SMOKE, PixelSource(SMOKE.image_size))["videos"][0].page.__self__.pool == 64


@pytest.mark.parametrize("kind, opening", [(Early, 0.0), (EarlyAndOpen, 0.7616)])
def test_a_block_before_the_first_layer_alone(banks, kind, opening):
    tower, lm = banks
    ids = tokenizer.encode(["<image> a cat ."])
    model = kind(
        recipes.flamingo.flamingo_config(SMOKE), tower, recipes.language.new_language(SMOKE).lm
    ).eval()
    assert list(model.blocks) == ["0"] and model.blocks["0"].gate.value.item() == pytest.approx(
        opening, abs=1e-4
    )
    with torch.no_grad():
        as_ever = torch.equal(
            model(ids, media=torch.randn(1, model.config.latents, SMOKE.width)),
            model.lm(ids).logits,
        )
    assert as_ever == (kind is Early)


def test_the_small_world_has_many_categories():
    kinds = [noun(word).category for word in WORDS]
    assert max(map(kinds.count, kinds)) <= len(kinds) // 4


def test_language_models_of_three_sizes_are_asked_the_same(banks):
    small, medium, large = (
        replicate_shots.sized(Scale.of("laptop"), name) for name in replicate_shots.MODELS
    )
    assert [(one["width"], one["depth"]) for one in (small, medium, large)] == [
        (32, 2),
        (64, 3),
        (96, 3),
    ]
    found = replicate_shots.run("small", SMOKE, banks[0], seed=0, count=4)
    assert found["fine-tuned"].keys() == replicate_shots.TASKS.keys() < found["curves"].keys()
    assert all(
        list(curve) == [str(n) for n in replicate_shots.SHOTS] for curve in found["curves"].values()
    )


def test_noisy_captions_belong_to_other_pictures_four_times_in_ten():
    clean, noisy = in_context.NamedThings(), replicate_ablations.NoisyThings()
    pages = [(clean.captions(index), noisy.captions(index)) for index in range(300)]
    assert all(scene == own for (own, _), (scene, _) in pages)
    assert 0.3 < sum(text != own for (_, own), (_, text) in pages) / 300 < 0.5


def test_a_row_of_the_ablations_changes_what_it_says(banks, monkeypatch):
    trained = {}

    def keep(size, seed, data, **options):
        trained.update(data=set(data), **options)
        raise StopIteration

    monkeypatch.setattr(in_context, "flamingo", keep)
    rows = {row.name: row for row in replicate_ablations.ROWS}
    for name, data in (
        ("w/o pages", {"captions"}),
        ("w/o image-text pairs", {"names", "questions"}),
    ):
        with pytest.raises(StopIteration):
            replicate_ablations.run(rows[name], SMOKE, banks[0], 0, 4)
        assert trained.pop("data") == data and "lm" not in trained
    with pytest.raises(StopIteration):
        replicate_ablations.run(rows["from scratch"], SMOKE, banks[0], 0, 4)
    assert all(weight.requires_grad for weight in trained["lm"].parameters())
