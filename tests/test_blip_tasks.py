"""BLIP rewired for its tasks, and CapFilt, on a model small enough to see through."""

from dataclasses import replace

import pytest
import torch

from teaching import capfilt_recipe as recipe
from teaching import minimal_pairs
from teaching.blip_tasks import (
    Dialogues,
    Questions,
    Statements,
    generate_answers,
    rank_answers,
    talk_report,
    video_report,
)
from teaching.minimal_pairs import MinimalPairsBLIP, close_report, nouns, train_on_minimal_pairs
from vlmcourse import world
from vlmcourse.papers.blip_tasks import (
    BLIPForNLVR2,
    BLIPForVisDial,
    BLIPForVQA,
    Captioner,
    Filter,
    encode_video,
    video_context,
)
from vlmcourse.parts.generation import nucleus
from vlmcourse.recipes.blip import (
    PROMPT,
    blip_config,
    caption_pair_accuracy,
    generate_captions,
    match_scorer,
    new_blip,
    references,
)
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

SMALL = replace(Scale.of("smoke"), width=32)


@pytest.fixture(scope="module")
def blip():
    return new_blip(blip_config(SMALL)).eval()


def test_captioner_and_filter_tune_copies_by_their_own_losses(blip):
    batch = recipe.annotated_pairs(SMALL, 8).batch(range(8))
    before = {name: value.clone() for name, value in blip.state_dict().items()}
    assert set(Captioner(blip).losses(batch)) == {"lm"} and set(Filter(blip).losses(batch)) == {
        "itc",
        "itm",
    }
    captioner, filter = Captioner(blip), Filter(blip)
    for model, learns, rests in (
        (captioner, "decoder", "itm_head"),
        (filter, "itm_head", "decoder"),
    ):
        optimiser = torch.optim.SGD(model.parameters(), 0.1)
        sum(model.losses(batch).values()).backward()
        optimiser.step()
        own = model.blip.get_submodule(rests)
        assert (
            own.weight.grad is None
            if rests == "itm_head"
            else own.blocks[0].attention.query.weight.grad is None
        )
        assert any(
            p.grad is not None and p.grad.abs().sum() > 0
            for p in model.blip.get_submodule(learns).parameters()
        )
    assert all(torch.equal(value, before[name]) for name, value in blip.state_dict().items())


def test_the_prompt_is_not_learnt():
    batch = recipe.annotated_pairs(SMALL, 8).batch(range(8))
    learnt = [
        tokenizer.decode(ids[loss_mask][None])[0]
        for ids, loss_mask in zip(batch["ids"], batch["loss_mask"])
    ]
    assert learnt == [text.removeprefix(PROMPT).strip() for text in batch["text"]]


def test_a_filter_is_idempotent_and_its_threshold_is_on_the_probability(blip):
    filter, data = Filter(blip).eval(), recipe.web_pairs(SMALL, 24)
    keep = recipe.keep_mask(filter, data)
    made = data.batch(range(24))
    with torch.no_grad():
        probability = blip.itm_logits(
            made["ids"], **blip.vision_context(made["pixel_values"])
        ).softmax(-1)[:, 1]
    middle = probability.median().item()
    keep = recipe.keep_mask(filter, data, middle)
    assert 0 < keep.sum() < 24 and torch.equal(keep, probability >= middle)
    assert recipe.keep_mask(filter, recipe.select_rows(data, keep), middle).all()
    assert (
        recipe.keep_mask(filter, data, 0.0).all() and not recipe.keep_mask(filter, data, 1.0).any()
    )


def test_what_filtering_found_is_exact():
    noisy, keep = torch.tensor([1, 1, 0, 0, 0]).bool(), torch.tensor([0, 1, 1, 1, 0]).bool()
    found = recipe.filter_report(keep, noisy)
    assert found == {
        "thrown out": pytest.approx(0.4),
        "precision": 0.5,
        "recall": 0.5,
        "noise before": pytest.approx(0.4),
        "noise after": pytest.approx(1 / 3),
    }


def test_planted_noise_is_what_captions_wrongly_state():
    """The truth by construction (whose caption was replaced) and by content (what the scene shows) agree."""
    data = recipe.web_pairs(SMALL, 300)
    planted = torch.tensor(
        [data.pairs.noise.is_noisy(number, data.pairs.seed) for number, _ in data.rows]
    )
    assert 0.22 < planted.float().mean() < 0.38
    assert (recipe.false_captions(data) == planted).float().mean() > 0.99
    assert not recipe.false_captions(recipe.annotated_pairs(SMALL, 40)).any()


@pytest.mark.slow
def test_capfilt_end_to_end_keeps_a_subset(blip):
    found = recipe.capfilt(SMALL, images=48, steps=4, batch=8)
    noisy, synthetic = set(found.web.rows), set(found.synthetic.rows)
    assert [number for number, _ in found.synthetic.rows] == list(range(48))
    assert all(text.startswith(PROMPT) for _, text in found.synthetic.rows)
    clean = found.rows["noisy"].parts[1]
    assert found.rows["noisy"].parts[0] is found.web and len(clean) == 8
    for row in found.rows.values():
        assert clean in row.parts  # people's pairs are never filtered
    kept_web, _, kept_synthetic = found.rows["C and F"].parts
    assert set(kept_web.rows) <= noisy and set(kept_synthetic.rows) <= synthetic
    assert found.report["web"]["thrown out"] == pytest.approx(1 - len(kept_web) / 48)
    assert not torch.equal(found.captioner.blip.head.bias, found.base.head.bias)
    assert torch.equal(found.captioner.blip.itm_head.weight, found.base.itm_head.weight)
    model, report = recipe.train_on(found.rows["C"], SMALL, steps=2)
    assert len(found.rows["C"]) == 104 and 0 <= report["CIDEr"] <= 10


def test_the_same_seed_writes_the_same_captions_and_beams_another_way(blip):
    data = recipe.web_pairs(SMALL, 4)
    one, again, other = (
        recipe.synthetic_captions(blip, data, seed=seed).rows for seed in (1, 1, 2)
    )
    assert one == again != other
    beams = recipe.synthetic_captions(blip, data, beams=2).rows
    assert [number for number, _ in beams] == [0, 1, 2, 3]


def test_captions_go_on_after_the_prompt(blip):
    pixel_values = world.to_pixels(world.Pairs("test", 32).images(range(3)))
    said = generate_captions(blip, pixel_values, max_new_tokens=5)
    assert len(said) == 3 and all(len(tokenizer.split_words(text)) <= 5 for text in said)
    assert generate_captions(blip, pixel_values, nucleus(1e-6), max_new_tokens=5) == said
    assert all(generate_captions(blip, pixel_values, prompt="", max_new_tokens=5))
    scene = world.sample("test", 1)
    assert references(scene) and all(text.endswith(scene.background) for text in references(scene))


def test_a_stage_that_has_learnt_nothing_cannot_tell_swaps_apart(blip):
    found = caption_pair_accuracy(blip, world.minimal_pairs.swap_positions, count=64)
    assert set(found) == {"match", "contrast"} and all(
        0.2 < value < 0.8 for value in found.values()
    )


def test_siblings_differ_in_one_attribute():
    pairs = world.minimal_pairs.MinimalPairs("train", 32, caption=world.captions.detailed)
    for index in range(0, 60, 2):
        one, other = pairs.scene(index), pairs.scene(index + 1)
        moved = sum(a.word != b.word for a, b in zip(one.things, other.things))
        assert sorted(one.words) == sorted(other.words)
        assert (moved, one.background == other.background) in ((2, True), (0, False), (0, True))
        assert (pairs.text(index) == pairs.text(index + 1)) == (one == other)
        assert world.split_of(other.words, other.background) == "train"
    for _, right, wrong in world.minimal_pairs.caption_choices(
        world.minimal_pairs.swap_positions, count=20
    ):
        assert (
            sorted(tokenizer.split_words(right)) == sorted(tokenizer.split_words(wrong))
            or "some" in right
            or " an " in f" {right} "
        )


def test_matcher_is_the_model_pair_by_pair(blip):
    made = world.Pairs("test", 32).batch(range(4))
    found = match_scorer(blip, made["pixel_values"], made["ids"])(
        torch.tensor([0, 3]), torch.tensor([2, 1])
    )
    with torch.no_grad():
        logits = blip.itm_logits(
            made["ids"][[2, 1]], **blip.vision_context(made["pixel_values"][[0, 3]])
        )
    torch.testing.assert_close(found, logits[:, 1] - logits[:, 0])


@torch.no_grad()
def test_two_equal_pictures_are_one_at_the_start(blip):
    """Both cross-attentions start as copies and the merge as a mean, so two equal pictures give what one gives."""
    made = Statements("train", 32).batch(range(4))
    model = BLIPForNLVR2(blip).eval()
    text, mask = blip.role_inputs(made["ids"], blip.config.enc)
    one = blip.encoder(text, mask, blip.vision_context(made["left"])["states"])[:, 0]
    torch.testing.assert_close(
        model(made["left"], made["left"], made["ids"]), model.head(one), atol=1e-5, rtol=1e-4
    )
    assert (model(made["left"], made["right"], made["ids"]) - model.head(one)).abs().max() > 1e-4
    assert not torch.equal(
        model(made["left"], made["right"], made["ids"]),
        blip.itm_logits(made["ids"], **blip.vision_context(made["left"])),
    )


def test_both_pictures_teach_their_own_attention(blip):
    model = BLIPForNLVR2(blip)
    model.losses(Statements("train", 32).batch(range(6)))["nlvr2"].backward()
    for block in model.blocks:
        assert block.right_cross.query.weight is not block.block.cross.query.weight
        assert (
            block.right_cross.query.weight.grad.abs().sum() > 0
            and block.block.cross.query.weight.grad.abs().sum() > 0
        )


@pytest.mark.slow
def test_answers_are_written_and_ranked(blip):
    data, model = Questions("train", 32, kinds=("colour",)), BLIPForVQA(blip)
    batch = data.batch(range(8))
    assert set(batch["answer"]) <= set(world.questions.answers("colour"))
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
    for _ in range(160):  # eight answers by heart
        optimiser.zero_grad()
        model.losses(batch)["lm"].backward()
        optimiser.step()
    options = [world.questions.answers("colour")] * 8
    assert generate_answers(model, batch["pixel_values"], batch["question"]) == batch["answer"]
    assert rank_answers(model, batch["pixel_values"], batch["question"], options) == batch["answer"]
    with pytest.raises(ValueError, match="question 1 has no candidate answers"):
        rank_answers(model, batch["pixel_values"], batch["question"], [["red"], []])


@torch.no_grad()
def test_dialogues_look_at_picture_and_caption(blip):
    model, batch = BLIPForVisDial(blip).eval(), Dialogues("train", 32).batch(range(6))
    seen = model.vision_context(batch["pixel_values"], batch["caption"])
    length = batch["caption"].shape[1]
    assert torch.equal(seen["context_mask"][:, -length:], batch["caption"] != tokenizer.PAD)
    logits = model(batch["right"], **seen)
    longer = model.vision_context(
        batch["pixel_values"], torch.nn.functional.pad(batch["caption"], (0, 3))
    )
    torch.testing.assert_close(model(batch["right"], **longer), logits, atol=1e-5, rtol=1e-4)
    other = model.vision_context(batch["pixel_values"], batch["caption"].roll(1, 0))
    assert (model(batch["right"], **other) - logits).abs().max() > 1e-4
    with pytest.raises(ValueError, match="width 32, texts of 64"):
        BLIPForVisDial(new_blip(blip_config(SMALL, text_width=64)))


def test_a_dialogue_is_told_once():
    data = Dialogues("train", 32)
    scene, talk, spoken = data.made(5)
    texts = data.texts(talk, spoken, ("yes", "no"))
    assert spoken == 2 and texts[0].endswith(f"{talk.rounds[2].question.text} answer : yes")
    assert texts[0].count(talk.rounds[0].question.text) >= 1 and not texts[0].startswith(
        talk.caption
    )


def test_talk_report_of_an_untrained_model_is_near_chance(blip):
    found = talk_report(BLIPForVisDial(blip).eval(), count=6)
    assert 10 < found["mean rank"] < 90 and found["NDCG"] == found["R@1"]
    assert found["mean rank, blind"] != found["mean rank"], (
        "the control sees the picture, or the model doesn't"
    )


@torch.no_grad()
def test_films_are_sets_of_frames(blip):
    frames = torch.randn(3, 4, 3, 32, 32).clamp(-1, 1)
    ids = world.Pairs("test", 32).batch(range(3))["ids"]
    seen, turned = video_context(blip, frames), video_context(blip, frames.flip(1))
    assert seen["states"].shape[1] == 4 * blip.vision_context(frames[:, 0])["states"].shape[1]
    torch.testing.assert_close(
        blip.itm_logits(ids, **seen), blip.itm_logits(ids, **turned), atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(encode_video(blip, frames[:, :1]), blip.encode_image(frames[:, 0]))
    report = video_report(blip, BLIPForVQA(blip), count=8, frames=2)
    assert report["R@1, chance"] == 1 / 8 and "which way, films" in report


def test_a_closer_look_has_each_sibling_s_text_as_the_wrong_one():
    made = train_on_minimal_pairs("smoke")
    model, pairs = (
        made.model,
        world.minimal_pairs.MinimalPairs(
            "train",
            32,
            0,
            (2, 2),
            world.captions.detailed,
            change=world.minimal_pairs.swap_positions,
            noun_subset=nouns(),
        ),
    )
    batch = pairs.batch(range(8))
    assert all(set(scene.words) <= set(nouns()) for scene in pairs.scenes(range(8)))
    with torch.no_grad():
        found, states = (
            model.losses(batch),
            model.blip.vision_context(batch["pixel_values"])["states"],
        )
        right, wrong = (
            model.blip.itm_logits(ids, states)
            for ids in (batch["ids"], batch["ids"][[1, 0, 3, 2, 5, 4, 7, 6]])
        )
        said = torch.cat([right, wrong]).log_softmax(-1)
    assert found.keys() == {"itm", "lm"}
    assert found["itm"].item() == pytest.approx(
        -torch.cat([said[:8, 1], said[8:, 0]]).mean().item(), abs=1e-5
    )
    repainted = {**batch, "pixel_values": batch["pixel_values"].clone()}
    repainted["pixel_values"][1::2] = 0
    with torch.no_grad():
        beside, alone = (
            [MinimalPairsBLIP(model.blip, rows).losses(one) for one in (batch, repainted)]
            for rows in (minimal_pairs.siblings, minimal_pairs.ordinary)
        )
    assert beside[0].keys() == alone[0].keys() == {"itm", "lm", "itc"}
    assert beside[0]["itc"].item() != pytest.approx(beside[1]["itc"].item(), abs=1e-4)
    assert alone[0]["itc"].item() == pytest.approx(alone[1]["itc"].item(), abs=1e-6)
    report = close_report(model, 16)
    assert report.keys() == {"match", "contrast", "match, above or below", "match, left or right"}
    assert all(0 <= value <= 1 for value in report.values())


def test_batches_of_unequal_parts_are_refused_before_anything_is_computed(blip, monkeypatch):
    monkeypatch.setattr(
        type(blip), "vision_context", lambda *given: pytest.fail("a picture was looked at")
    )
    pixel_values, ids = torch.zeros(1, 3, 32, 32), torch.ones(3, 4, dtype=torch.long)
    for model, batch in (
        (Captioner(blip), {"pixel_values": pixel_values, "ids": ids}),
        (Filter(blip), {"pixel_values": pixel_values, "ids": ids}),
        (BLIPForVQA(blip), {"pixel_values": pixel_values, "question": ids, "ids": ids}),
        (
            BLIPForNLVR2(blip),
            {"left": pixel_values, "right": pixel_values, "ids": ids, "true": torch.zeros(3)},
        ),
        (
            BLIPForVisDial(blip),
            {"pixel_values": pixel_values, "caption": ids, "right": ids, "wrong": ids},
        ),
    ):
        with pytest.raises(ValueError, match="a batch of 1 .*3 .*; expected as many of each"):
            model.losses(batch)


def test_a_film_without_frames_is_refused(blip):
    for look in (video_context, encode_video):
        with pytest.raises(ValueError, match="at least one frame"):
            look(blip, torch.zeros(2, 0, 3, 32, 32))
