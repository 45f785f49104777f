"""Lesson 04's stages and reports, and the encoders its benchmark compares."""

import pytest
import torch

from benchmarks.replicate_fusion import NeverMeet, OneStream, trained
from vlmcourse import recipes
from vlmcourse.papers.vilbert import TwoStreams, ViLBERT
from vlmcourse.training.scale import Scale
from vlmcourse.world import regions

SMOKE = Scale.of("smoke")


def test_a_stage_is_found_again_and_depends_on_data_and_config():
    first, again = (
        recipes.get("vilbert").train_or_load("smoke", steps=2),
        recipes.get("vilbert").train_or_load("smoke", steps=2),
    )
    assert (
        not first.loaded
        and again.loaded
        and set(first.history[0].losses) == {"mlm", "mrc", "alignment"}
    )
    other = recipes.get("vilbert").train_or_load(
        "smoke", steps=2, data=recipes.vilbert.region_pairs(SMOKE, false=regions.mismatched)
    )
    assert (
        len(
            {
                first.path,
                other.path,
                recipes.get("vilbert").train_or_load("smoke", steps=2, mask_prob=0.2).path,
            }
        )
        == 3
    )
    assert set(recipes.get("vlbert").train_or_load("smoke", steps=2).history[0].losses) == {
        "mlm",
        "mrc",
    }


def test_the_namer_is_frozen_and_vlbert_trains_a_copy_of_its_eyes():
    data = recipes.vilbert.region_pairs(SMOKE)
    assert not any(p.requires_grad for p in data.region_classifier.parameters())
    model = recipes.vilbert.new_vlbert(
        recipes.vilbert.vlbert_config(SMOKE), 0, data.region_classifier
    )
    mine, theirs = model.appearance[0].weight, data.region_classifier.appearance[0].weight
    assert torch.equal(mine, theirs) and mine.requires_grad and mine.data_ptr() != theirs.data_ptr()


def test_training_and_test_share_no_composition():
    train, test = (
        recipes.vilbert.region_pairs(SMOKE, split=split).pairs for split in ("train", "test")
    )
    seen, asked = (
        {
            (frozenset(s.words), s.background if len(s.words) == 1 else "")
            for s in pairs.scenes(range(200))
        }
        for pairs in (train, test)
    )
    assert not seen & asked and all(
        set(words) <= set(train.noun_subset) for words, _ in seen | asked
    )


def test_a_report_has_every_score_beside_its_controls():
    model = recipes.vilbert.new_vilbert(recipes.vilbert.vilbert_config(SMOKE)).eval()
    report = recipes.vilbert.vilbert_report(
        model, recipes.vilbert.region_pairs(SMOKE, split="test"), 12
    )
    for kind in ("nouns", "places", "backgrounds"):
        assert {kind, f"{kind}, blind", f"{kind}, shuffled"} <= set(report)
    for kind in recipes.vilbert.FALSE_CAPTIONS:
        assert {f"{kind}, of two", f"{kind}, yes or no, blind", f"{kind}, of two, shuffled"} <= set(
            report
        )
    assert report["R@1, chance"] == 1 / 12 and all(0 <= value <= 1 for value in report.values())


def one_batch():
    return recipes.vilbert.region_pairs(SMOKE).batch(range(6))


def test_streams_that_never_meet_have_the_same_weights_and_no_picture_reaches_a_word():
    config, one = recipes.vilbert.vilbert_config(SMOKE), one_batch()
    torch.manual_seed(0)
    apart, together = ViLBERT(config, NeverMeet(config)).eval(), ViLBERT(config).eval()
    assert [p.shape for p in apart.parameters()] == [p.shape for p in together.parameters()]
    other = {**one, "features": one["features"] + 1}
    assert torch.equal(apart.mlm_logits(one), apart.mlm_logits(other))
    assert not torch.allclose(together.mlm_logits(one), together.mlm_logits(other), atol=1e-3)
    assert isinstance(apart.encoder, TwoStreams)


def test_one_stream_is_as_deep_as_the_texts_and_mixes():
    config, one = recipes.vilbert.vilbert_config(SMOKE), one_batch()
    torch.manual_seed(0)
    model = ViLBERT(config, OneStream(config)).eval()
    assert (
        len(model.encoder.blocks)
        == config.num_text_only_layers + 2 * config.num_co_attention_layers
    )
    assert not torch.allclose(
        model.mlm_logits(one), model.mlm_logits({**one, "features": one["features"] + 1}), atol=1e-3
    )
    longer = {**one, "ids": torch.cat([one["ids"], torch.zeros(6, 2, dtype=torch.long)], 1)}
    torch.testing.assert_close(
        model.region_logits(longer)[one["region_mask"]],
        model.region_logits(one)[one["region_mask"]],
        atol=1e-4,
        rtol=1e-4,
    )


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_vlbert_goes_on_from_captions_alone(start):

    made = trained(f"VL-BERT from {start:.0f}", SMOKE, 0, 4)
    assert len(made.history) == 2
    assert abs(made.model.norm_visual_text.weight.mean().item() - start) < 0.05
