"""The bridges' recipe: the same pictures, banks that stay, one interface; the twins' rows resume."""

import json

import numpy as np
import pytest
import torch

from benchmarks import replicate_bridges
from teaching import connectors
from vlmcourse import recipes, world
from vlmcourse.evaluation import interface, prompting
from vlmcourse.parts.generation import sequence_log_prob
from vlmcourse.parts.language import freeze
from vlmcourse.training.scale import Scale
from vlmcourse.world import corruptions, few_shot, tokenizer
from vlmcourse.world.prompts import CaptionDataset

SMOKE = Scale.of("smoke")
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def banks():
    vision, lm = (
        recipes.clip.new_clip(recipes.clip.clip_config(SMOKE)).vision,
        recipes.language.new_language(SMOKE).lm,
    )
    return connectors.frozen_parts(SMOKE, vision=vision, lm=lm, steps=4)


@pytest.fixture(scope="module")
def five(banks):
    return {name: make(banks) for name, make in connectors.ALL.items()}


def test_everyone_learns_from_the_same_pictures_and_captions(banks):
    looks = "<image> <image> ."
    told, paired = (
        CaptionDataset(banks.pictures, looks),
        connectors.ContrastiveDataset(banks.pictures),
    )
    looked, aside = banks.looked(looks), connectors.GatedBridgeDataset(banks.looked("<image>"))
    numbers = [3, 7, 3, 60]
    said = [banks.pictures.text(number) for number in numbers]
    for data in (told, looked, aside):
        made = data.batch(numbers)
        assert [
            tokenizer.decode(ids[loss_mask][None])[0]
            for ids, loss_mask in zip(made["ids"], made["loss_mask"])
        ] == said
    made = paired.batch(numbers)
    assert tokenizer.decode(made["ids"]) == said and made["positive_groups"].tolist() == [
        0,
        1,
        0,
        3,
    ]
    torch.testing.assert_close(made["pixel_values"], told.batch(numbers)["pixel_values"])
    with torch.no_grad():
        seen = banks.tower(made["pixel_values"])
    torch.testing.assert_close(
        aside.batch(numbers)["features"][:, 0], seen, atol=5e-3, rtol=5e-3
    )  # kept in half precision
    torch.testing.assert_close(looked.batch(numbers)["features"], seen, atol=5e-3, rtol=5e-3)


def test_banks_stay_what_they_were_and_bridges_learn(banks, five):
    fresh = connectors.frozen_parts(
        SMOKE,
        vision=recipes.clip.new_clip(recipes.clip.clip_config(SMOKE)).vision,
        lm=recipes.language.new_language(SMOKE).lm,
    )
    for mine, other in ((banks.vision, fresh.vision), (banks.lm, fresh.lm)):
        assert all(
            torch.equal(value, other.state_dict()[name])
            for name, value in mine.state_dict().items()
        )
    for name in ("linear", "mapped", "frozen", "blip2", "flamingo"):
        lm = five[name].model.lm.state_dict()
        assert all(
            torch.equal(value, fresh.lm.state_dict()[key])
            for key, value in lm.items()
            if key in fresh.lm.state_dict()
        )
    learnt = {name: bridge.trained_parameters for name, bridge in five.items()}
    assert learnt["linear"] == 64 * 2 * 64 + 2 * 64  # one linear map with its bias
    assert all(
        learnt["linear"] < learnt[name] < learnt["blip"] for name in ("mapped", "blip2", "flamingo")
    )
    before = connectors.new_prefix(banks).language_projection.weight
    assert not torch.equal(before, five["linear"].model.language_projection.weight)
    moved = five["blip"].model.vision.state_dict()
    assert any(
        not torch.equal(value, banks.vision.state_dict()[name]) for name, value in moved.items()
    )  # its tower learns on
    assert (
        five["blip"].model.train().vision.training
        and not five["linear"].model.train().vision.training
    )


def test_the_prefix_is_the_explicit_formula(banks, five):
    model = five["linear"].model.eval()
    pixel_values = torch.randn(6, 3, 32, 32)
    with torch.no_grad():
        seen = banks.vision(pixel_values)
        seen = (seen - model.norm.running_mean) / (model.norm.running_var + model.norm.eps).sqrt()
        wanted = model.start + model.residual_scale * (
            seen @ model.language_projection.weight.T + model.language_projection.bias
        ).reshape(6, 2, -1)
        torch.testing.assert_close(model.encode_prefix(pixel_values), wanted.flatten(0, 1))


def test_stages_are_found_again_and_budget_is_the_same_for_all(banks, five):
    again = connectors.linear(banks)
    assert torch.equal(
        again.model.language_projection.weight, five["linear"].model.language_projection.weight
    )
    assert {name: len(bridge.steps) for name, bridge in five.items()} == dict.fromkeys(five, 4)
    assert [step.step for step in five["blip2"].steps] == [1, 2, 1, 2]  # half of them are stage 1


def test_every_bridge_chooses_among_the_choices_and_writes(five):
    scenes = [world.sample("test", index, 0, (1, 2)) for index in range(3)]
    asked, told = (
        corruptions.presence_questions(corruptions.random_noun, 4),
        corruptions.caption_questions(world.minimal_pairs.swap_positions, 4),
    )
    for bridge in (*five.values(), interface.matching_model(five["blip"])):
        for episodes in (asked, told):
            said = bridge.choose(episodes)
            assert len(said) == len(episodes) and all(
                word in one.choices for word, one in zip(said, episodes)
            )
        written = bridge.captions(scenes)
        assert len(written) == 3 and all(
            isinstance(text, str) and "." not in text for text in written
        )
    names = [few_shot.binding_episode("test", index, 3) for index in range(4)]
    for name in ("linear", "mapped", "frozen", "blip2", "flamingo"):
        assert all(word in one.choices for word, one in zip(five[name].choose(names), names))
        assert set(
            prompting.episode_accuracy(five[name].choose, made)
            for made in (corruptions.sums_as_text(corruptions.digit_sums(2)),)
        ) <= {0.0, 0.5, 1.0}


def test_answers_depend_on_the_picture_only_where_it_is_shown(five):
    """A model's likelihoods move with its picture; with grey for all they are those of the text."""
    one = corruptions.presence_questions(corruptions.random_noun, 8)
    for bridge in five.values():
        grey = bridge.prompts(
            [episode.prompt for episode in one], world.prompts.blank_images
        ).batch(range(len(one)))["pixel_values"]
        assert not grey.any()
        seen = bridge.prompts([episode.prompt for episode in one]).batch(range(len(one)))[
            "pixel_values"
        ]
        assert len(seen) == len(one) and seen.abs().max() > 0


def test_blip_takes_one_picture_and_scores_only_the_answer(five):
    blip = five["blip"]
    with pytest.raises(ValueError, match="2 pictures; BLIP reads one"):
        blip.choose([few_shot.binding_episode("test", 0, 1)])
    one = corruptions.caption_questions(world.minimal_pairs.swap_positions, 1)[0]
    asked = world.pages.Episode((one.prompt[0], "there is"), "a cat", ("a cat", "a dog on blue"))
    pixel_values = world.to_pixels(np.stack([world.render(one.prompt[0], 32)]))
    model = blip.model.eval()
    scores = []
    for choice in asked.choices:
        ids = tokenizer.encode([f"there is {choice}"])
        loss_mask = torch.zeros_like(ids, dtype=torch.bool)
        loss_mask[0, 3:-1] = True
        with torch.no_grad():
            scores.append(
                sequence_log_prob(
                    model, ids, loss_mask, **model.vision_context(pixel_values)
                ).item()
            )
    assert blip.choose([asked]) == [asked.choices[int(np.argmax(scores))]]


def test_a_match_answers_what_is_a_statement(five, banks):
    judge = interface.matching_model(five["blip"])
    one = corruptions.presence_questions(corruptions.random_noun, 2)
    with torch.no_grad():
        word = one[0].prompt[1].split(" ?")[0].split("there ")[1]
        seen = judge.model.vision_context(
            world.to_pixels(np.stack([world.render(one[0].prompt[0], 32)]))
        )["states"]
        yes = (
            judge.model.itm_logits(tokenizer.encode([f"there is {word} ."]), seen).diff(dim=1)[0, 0]
            > 0
        )
    assert judge.choose(one)[0] == ("yes" if yes else "no")
    tennis = world.pages.Episode(
        (one[0].prompt[0], "question : is there a tennis ? answer :"), "no", ("yes", "no")
    )
    assert judge.choose([tennis])[0] in ("yes", "no")  # 'is' is in many words
    with pytest.raises(ValueError, match="a match needs a statement"):
        judge.choose([world.pages.vqa_episode("test", 0, "position", 0)])


@pytest.mark.slow
def test_the_benchmark_keeps_rows_and_goes_on(five, tmp_path, monkeypatch, capsys):
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        replicate_bridges.connectors,
        "frozen_parts",
        lambda size, seed: connectors.FrozenParts(
            size, seed, *made, 4, connectors.BUDGETS["smoke"]
        ),
    )
    tower = connectors.FrozenTower(recipes.clip.new_clip(recipes.clip.clip_config(SMOKE)).vision)
    made = (
        freeze(recipes.clip.new_clip(recipes.clip.clip_config(SMOKE)).vision),
        freeze(tower),
        freeze(recipes.language.new_language(SMOKE).lm),
    )
    run = {"scale": "smoke", "seeds": 1, "count": 4, "fresh": False}
    replicate_bridges.main(only=["Frozen"], **run)
    path = tmp_path / "benchmarks" / "results" / "replicate_bridges_smoke.json"
    first = json.loads(path.read_text())["rows"]
    assert [one["row"] for one in first] == ["Frozen"]
    assert {
        "questions",
        "captions",
        "hallucination",
        "shots",
        "supports",
        "order",
        "examples",
        "sums",
    } <= set(first[0])
    assert first[0]["questions"]["how many"]["chance"] == 0.25 and first[0]["sums"]["chance"] == 0.1
    replicate_bridges.main(only=["Frozen", "BLIP", "BLIP, by match"], **run)
    rows = json.loads(path.read_text())["rows"]
    assert [one["row"] for one in rows] == ["Frozen", "BLIP", "BLIP, by match"] and rows[
        0
    ] == first[0]
    assert "shots" not in rows[1] and "hallucination" in rows[2]
    assert capsys.readouterr().out.count("Frozen, seed 0") == 1
    replicate_bridges.main(
        only=["Frozen"], **{**run, "count": 5}
    )  # other questions: what was measured is no longer comparable
    assert [one["row"] for one in json.loads(path.read_text())["rows"]] == ["Frozen"]
    with pytest.raises(ValueError, match="no row 'Nothing'"):
        replicate_bridges.main(only=["Nothing"], **run)
