"""LLaVA's recipe: what a dialogue is as tokens, which of them are scored, what each stage trains, and its report."""

import pytest
import torch

from vlmcourse import recipes, world
from vlmcourse.parts.image_features import patch_features
from vlmcourse.parts.language import freeze
from vlmcourse.recipes import llava
from vlmcourse.recipes.blip2 import mean_word_embedding
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

SMOKE = Scale.of("smoke")
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def vision():
    return llava.image_encoder(recipes.clip.new_clip(recipes.clip.clip_config(SMOKE)).vision)


@pytest.fixture(scope="module")
def lm():
    return freeze(recipes.language.new_language(SMOKE).lm)


@pytest.fixture(scope="module")
def data(vision):
    return llava.Dialogues(llava.scenes(SMOKE, 0), vision, 20)


def words(ids):
    return tokenizer.world_tokenizer().convert_ids_to_tokens(ids.tolist())


def test_a_dialogue_has_a_loss_at_answers_and_their_full_stops_only():
    turns = [("question : where is it ? answer :", "top left"), ("question : why", "no")]
    with pytest.raises(KeyError, match="why"):
        llava.dialogue_ids("<image> .", turns)
    ids, loss_mask = llava.dialogue_ids("<image> <image> .", turns[:1] * 2)
    said = words(ids)
    assert said[:4] == ["<bos>", "<image>", "<image>", "."] and said[-3:] == ["top", "left", "."]
    assert words(ids[loss_mask]) == ["top", "left", "."] * 2


def test_a_batch_has_the_features_of_its_pictures_and_their_true_answers(data, vision):
    batch = data.batch([3, 7, 23])
    pixel_values = world.to_pixels(data.pairs.images([3, 7, 3]))
    with torch.no_grad():
        fresh = patch_features(vision, pixel_values)
    torch.testing.assert_close(batch["features"], fresh, atol=5e-3, rtol=5e-3)
    image_token_id = tokenizer.world_tokenizer().convert_tokens_to_ids("<image>")
    slots = (batch["ids"] == image_token_id).sum(1).tolist()
    assert slots == [llava.patches(vision)] * 3 == [fresh.shape[1]] * 3
    for row, index in enumerate((3, 7, 23)):
        said = words(batch["ids"][row][batch["loss_mask"][row]])
        assert " ".join(said) == " ".join(f"{answer} ." for _, answer in data.turns(index))
    assert data.turns(3) != data.turns(23)  # the same scene, other questions


def test_dialogues_are_about_their_scenes(data):
    described, asked = 0, 0
    for index in range(60):
        scene, turns = data.scene(index), data.turns(index)
        assert 1 <= len(turns) <= data.rounds and set(scene.words) <= set(llava.NOUNS)
        assert not any("is there" in question for question, _ in turns)
        if turns[0][0] == llava.DESCRIBE:
            described += 1
            assert set(scene.words) <= set(turns[0][1].split())
            assert scene.background in turns[0][1].split()
        counts = [a for q, a in turns if q == "question : how many things are there ? answer :"]
        asked += len(counts)
        assert all(a == world.questions.NUMBERS[len(scene.things)] for a in counts)
    assert 5 <= described <= 25 and asked


def test_held_out_questions_show_what_training_never_did():
    for kind in llava.KINDS:
        for one in llava.held_out_questions(kind, SMOKE, 8):
            scene, text = one.prompt
            assert world.split_of(scene.words, scene.background) == "test"
            assert set(scene.words) <= set(llava.NOUNS) and text.endswith("answer :")


def test_a_new_projector_speaks_near_the_mean_word(vision, lm):
    said = llava.new_llava(vision, lm).encode_prefix(torch.randn(8, 4, vision.width))
    start = mean_word_embedding(lm)
    rms = lm.get_input_embeddings().weight.square().mean().sqrt().item()
    assert 0.02 * rms < (said - start).square().mean().sqrt().item() < 0.4 * rms


def test_alignment_trains_the_projector_alone_and_tuning_the_layers_too(vision, lm):
    first = recipes.get("llava_alignment")
    stage = first.train_or_load(SMOKE, vision=vision, lm=lm, steps=3)
    again = first.train_or_load(SMOKE, vision=vision, lm=lm, steps=3)
    assert not stage.loaded and again.loaded
    projector = stage.model.projector
    start = llava.new_llava(vision, lm).projector
    assert not torch.equal(projector[0].weight, start[0].weight)
    assert all(
        torch.equal(a, b) for a, b in zip(stage.model.lm.parameters(), lm.parameters(), strict=True)
    )
    before = projector[0].weight.clone()
    free = recipes.language.new_language(SMOKE).lm
    free.get_input_embeddings().requires_grad_(False)
    tuned = recipes.get("llava").train_or_load(
        SMOKE, vision=vision, lm=free, projector=projector, steps=2
    )
    moved = {
        name
        for (name, a), b in zip(tuned.model.lm.named_parameters(), free.parameters(), strict=True)
        if not torch.equal(a, b)
    }
    assert moved and not any("embed_tokens" in name for name in moved)
    assert not torch.equal(tuned.model.projector[0].weight, before)
    assert torch.equal(projector[0].weight, before)  # a copy learnt
    found = recipes.get("llava").train_or_load(
        SMOKE, vision=vision, lm=free, projector=projector, steps=2
    )
    assert found.loaded and torch.equal(found.model.projector[0].weight, tuned.model.projector[0].weight)  # fmt: skip


def test_the_report_has_each_kind_with_the_picture_and_with_another(vision, lm):
    model = llava.new_llava(vision, lm)
    report = llava.llava_report(model, SMOKE, 8)
    assert set(report) == {"with the picture", "pictures exchanged"}
    for scores in report.values():
        assert set(scores) == {*llava.KINDS, "mean"} and scores["mean"] <= 0.3
    captions = llava.caption_report(model, SMOKE, 8)
    assert captions["noun"] <= 0.3 and 0 <= captions["background"] <= 1


def test_it_never_writes_a_placeholder_which_would_want_a_picture(vision, lm, monkeypatch):
    model = llava.new_llava(vision, lm)
    forward, image = model.forward, torch.tensor(model.image_token_id)
    loud = lambda *args, **options: forward(*args, **options).index_fill(-1, image, 1e4)  # noqa: E731
    monkeypatch.setattr(model, "forward", loud)
    (scene,) = llava.scenes(SMOKE, 0).scenes([0])
    page = (scene, "question : where is it ? answer :")
    assert len(llava.generate_answers(model, [page] * 2, SMOKE.image_size)) == 2
