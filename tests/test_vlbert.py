"""VL-BERT: at the start it is BERT; then what the paper says of its row of words and regions; bad input."""

import pytest
import torch
from test_bert import tiny_bert
from torch import nn

from vlmcourse.papers import vlbert
from vlmcourse.papers.vlbert import VLBERT, VLBERTConfig, geometry_embedding, mask_pixels
from vlmcourse.parts.vision import crop_regions
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.optimisation import Optimisation

CONFIG = VLBERTConfig(
    vocabulary=50,
    mask_token_id=9,
    image=4,
    end=10,
    classes=6,
    image_size=16,
    side=4,
    wavelengths=2,
    appearance=16,
    context=12,
    width=32,
    depth=2,
    heads=4,
    hidden=64,
)
SEEING = VLBERTConfig(**{**vars(CONFIG), "visual_scale": 1.0})


def make(config):
    torch.manual_seed(0)
    return VLBERT(config).eval()


def batch(B=3, R=3, T=7, seed=0):
    """The last row has one region and four words; the others are full."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(11, 50, (B, T), generator=generator)
    ids[:, 0], ids[:, -1] = 1, 2
    ids[-1, 3], ids[-1, 4:] = 2, 0
    region_mask = torch.ones(B, R, dtype=torch.bool)
    region_mask[-1, 1:] = False
    boxes = torch.tensor(
        [[0.0, 0.0, 0.5, 0.5], [0.5, 0.0, 1.0, 0.5], [0.25, 0.5, 0.75, 1.0]]
    ).expand(B, R, 4)
    return {
        "ids": ids,
        "pixel_values": torch.rand(B, 3, 16, 16, generator=generator) * 2 - 1,
        "boxes": boxes,
        "region_mask": region_mask,
        "classes": torch.randn(B, R, 6, generator=generator).softmax(-1),
    }


def test_at_the_start_it_is_transformers_bert_on_the_words_then_img_then_end():
    bert = tiny_bert()
    model, one = make(CONFIG).load_bert(bert), batch()
    one["ids"][2, 3:] = torch.tensor([2, 0, 0, 0])
    ids = torch.cat([one["ids"], torch.full((3, 3), 4), torch.full((3, 1), 10)], 1)
    region_mask = torch.cat([one["ids"] != 0, one["region_mask"], torch.ones(3, 1).bool()], 1)
    lengths = (one["ids"] != 0).sum(1, keepdim=True)
    position = torch.cat([torch.arange(7).expand(3, 7), lengths.expand(3, 3), lengths + 1], 1)
    segment = torch.tensor([[0] * 7 + [2] * 4]).expand(3, 11)
    theirs = bert(
        ids, attention_mask=region_mask.long(), token_type_ids=segment, position_ids=position
    ).last_hidden_state
    words, regions = model(one)
    torch.testing.assert_close(
        words[region_mask[:, :7]], theirs[:, :7][region_mask[:, :7]], atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(
        regions[one["region_mask"]], theirs[:, 7:10][one["region_mask"]], atol=1e-5, rtol=1e-4
    )


def test_at_the_start_no_picture_changes_anything_and_once_the_norms_weigh_it_does():
    one = batch()
    other = {**one, "pixel_values": -one["pixel_values"]}
    model = make(CONFIG)
    assert torch.equal(model.mlm_logits(one), model.mlm_logits(other)) and torch.equal(
        model.region_logits(one), model.region_logits(other)
    )
    seeing = make(SEEING)
    assert not torch.allclose(seeing.mlm_logits(one), seeing.mlm_logits(other), atol=1e-3)


def test_the_zero_norms_alone_wake_first_then_what_is_behind_them():
    model, one = make(CONFIG), batch()
    torch.manual_seed(0)
    sum(model.losses(one).values()).backward()
    assert (
        model.norm_visual_text.weight.grad.abs().max() > 0
        and model.norm_visual_region.weight.grad.abs().max() > 0
    )
    assert model.embed_visual.weight.grad.abs().max() == 0
    with torch.no_grad():
        model.norm_visual_text.weight.add_(0.1)
    model.zero_grad()
    sum(model.losses(one).values()).backward()
    assert model.embed_visual.weight.grad.abs().max() > 0


def test_words_carry_the_whole_picture_and_see_it_without_any_region():
    model, one = make(SEEING), batch()
    lone = {**one, "region_mask": torch.zeros(3, 3, dtype=torch.bool)}
    assert not torch.allclose(
        model.mlm_logits(lone),
        model.mlm_logits({**lone, "pixel_values": -one["pixel_values"]}),
        atol=1e-3,
    )
    moved = {**lone, "boxes": one["boxes"][:, [2, 1, 0]]}
    assert torch.equal(model.mlm_logits(lone)[:, :4], model.mlm_logits(moved)[:, :4])


def test_permuted_regions_come_out_permuted_and_change_no_word():
    """All regions share one position."""
    model, one = make(SEEING), batch()
    order = torch.tensor([2, 0, 1])
    other = {**one, "boxes": one["boxes"][:, order], "region_mask": one["region_mask"][:, order]}
    torch.testing.assert_close(model.mlm_logits(other), model.mlm_logits(one), atol=1e-4, rtol=1e-4)
    kept = other["region_mask"]
    torch.testing.assert_close(
        model.region_logits(other)[kept],
        model.region_logits(one)[:, order][kept],
        atol=1e-4,
        rtol=1e-4,
    )


def test_padding_among_words_and_regions_changes_nothing():
    model, one = make(SEEING), batch()
    longer = {**one, "ids": torch.cat([one["ids"], torch.zeros(3, 2, dtype=torch.long)], 1)}
    torch.testing.assert_close(
        model.region_logits(longer)[one["region_mask"]],
        model.region_logits(one)[one["region_mask"]],
        atol=1e-4,
        rtol=1e-4,
    )
    other = {**one, "boxes": one["boxes"].clone()}
    other["boxes"][-1, 1:] = torch.tensor([0.3, 0.3, 0.6, 0.6])
    torch.testing.assert_close(model.mlm_logits(other), model.mlm_logits(one), atol=1e-5, rtol=1e-5)


def test_one_row_with_a_block_diagonal_mask_is_two_berts():
    model, one = make(SEEING), batch(R=3)
    x, _ = model.embed(one)
    apart = torch.block_diag(torch.ones(7, 7), torch.ones(4, 4)).bool()[None, None]
    together, words, rest = x, x[:, :7], x[:, 7:]
    for block in model.blocks:
        together, words, rest = block(together, apart), block(words), block(rest)
    torch.testing.assert_close(together, torch.cat([words, rest], 1), atol=1e-5, rtol=1e-5)


def test_a_hidden_region_is_gone_from_the_picture_itself():
    model, one = make(SEEING), batch()
    hidden = torch.tensor([[True, False, False]] * 3)
    other = {**one, "pixel_values": one["pixel_values"].clone()}
    other["pixel_values"][:, :, :8, :8] = 0.7  # whatever stood in the first box
    assert torch.equal(model.mlm_logits(one, hidden), model.mlm_logits(other, hidden))
    assert torch.equal(model.region_logits(one, hidden), model.region_logits(other, hidden))
    assert not torch.allclose(model.mlm_logits(one), model.mlm_logits(other), atol=1e-3)


def test_painting_out_covers_the_box_and_little_else():
    pixel_values, box = torch.ones(1, 3, 16, 16), torch.tensor([[[0.26, 0.0, 0.74, 0.49]]])
    gone = mask_pixels(pixel_values, box, torch.tensor([[True]]))[0, 0] == 0
    assert (
        gone[:8, 4:12].all()
        and not gone[9:].any()
        and not gone[:, :3].any()
        and not gone[:, 13:].any()
    )
    assert torch.equal(mask_pixels(pixel_values, box, torch.tensor([[False]])), pixel_values)


def test_losses_ask_at_masked_slots_alone_by_the_formula(monkeypatch):
    model, one = make(SEEING), batch()
    word, region = torch.zeros(3, 7, dtype=torch.bool), torch.zeros(3, 3, dtype=torch.bool)
    word[0, 2] = word[1, 4] = region[0, 1] = region[2, 0] = True
    choices = iter([word, region])
    monkeypatch.setattr(vlbert, "sample_mask", lambda may, share: next(choices))
    monkeypatch.setattr(
        vlbert, "mask_tokens", lambda ids, chosen, mask, vocabulary: ids.masked_fill(chosen, mask)
    )
    losses = model.losses(one)
    read = {**one, "ids": one["ids"].masked_fill(word, 9)}
    said, named = (
        part.log_softmax(-1)
        for part in (model.mlm_logits(read, region), model.region_logits(read, region))
    )
    torch.testing.assert_close(
        losses["mlm"], -(said[0, 2, one["ids"][0, 2]] + said[1, 4, one["ids"][1, 4]]) / 2
    )
    likeliest = one["classes"].argmax(-1)
    torch.testing.assert_close(
        losses["mrc"], -(named[0, 1, likeliest[0, 1]] + named[2, 0, likeliest[2, 0]]) / 2
    )
    assert set(losses) == {
        "mlm",
        "mrc",
    }  # no loss on whether picture and text belong together


def test_boxes_as_waves_tell_places_apart():
    found = geometry_embedding(torch.tensor([[[0.0, 0.0, 0.5, 0.5], [0.01, 0.0, 0.5, 0.5]]]), 4)
    assert found.shape == (1, 2, 32) and found.abs().max() <= 1
    torch.testing.assert_close(found[0, 0, :8], torch.tensor([0.0] * 4 + [1.0] * 4))
    assert (found[0, 0, :8] - found[0, 1, :8]).abs().max() > 0.3 and torch.equal(
        found[0, 0, 8:], found[0, 1, 8:]
    )


def test_crops_are_what_is_in_the_boxes():
    pixel_values = torch.zeros(1, 3, 16, 16)
    pixel_values[:, 0, :8, :8], pixel_values[:, 1, :8, 8:] = (
        1.0,
        1.0,
    )  # red top left, green top right
    boxes = torch.tensor([[[0.0, 0.0, 0.5, 0.5], [0.5, 0.0, 1.0, 0.5], [0.0, 0.0, 1.0, 1.0]]])
    red, green, whole = crop_regions(pixel_values, boxes, 4)[0]
    assert (
        red[0].min() > 0.85
        and red[1].max() < 0.15
        and green[1].min() > 0.85
        and green[0].max() < 0.15
    )
    torch.testing.assert_close(
        whole[0], nn.functional.avg_pool2d(pixel_values, 4)[0, 0], atol=1e-5, rtol=0
    )


def test_it_learns_a_word_that_only_the_picture_tells():
    def made(indices):
        bright = torch.tensor(indices) % 2
        return {
            "ids": torch.stack([torch.tensor([1, 20, 11 + b, 2]) for b in bright.tolist()]),
            "pixel_values": (bright.float() - 0.5)[:, None, None, None]
            .expand(-1, 3, 16, 16)
            .clone(),
            "region_mask": torch.ones(len(bright), 1).bool(),
            "boxes": torch.tensor([[[0.2, 0.2, 0.8, 0.8]]]).expand(len(bright), 1, 4),
            "classes": nn.functional.one_hot(bright, 6)[:, None].float(),
        }

    torch.manual_seed(0)
    model = VLBERT(VLBERTConfig(**{**vars(CONFIG), "mask_prob": 0.5}))
    for _ in fit(model, Batches(made, 16), 60, Optimisation(3e-3), precision=torch.float32):
        pass
    one = made(range(2))
    masked = {**one, "ids": one["ids"].masked_fill(torch.tensor([[False, False, True, False]]), 9)}
    assert model.mlm_logits(masked)[:, 2].argmax(-1).tolist() == [11, 12]
    assert (model.norm_visual_text.weight.abs() > 1e-3).any()


def test_other_sizes_than_berts_are_explained():
    with pytest.raises(ValueError, match=r"word_embeddings.weight \(50, 32\) for \(60, 32\)"):
        VLBERT(VLBERTConfig(**{**vars(CONFIG), "vocabulary": 60})).load_bert(tiny_bert())


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"boxes": torch.tensor([[[-0.1, 0.2, 0.6, 0.5]]]).expand(3, 3, 4)},
            "region 0 of picture 0 lies outside the picture",
        ),
        ({"pixel_values": torch.full((3, 3, 16, 16), 200.0)}, "seem to be 0..255"),
        ({"pixel_values": torch.zeros(3, 3, 8, 8)}, "pixels have shape"),
        ({"ids": torch.ones(2, 5, dtype=torch.long)}, "2 texts and 3 pictures"),
    ],
)
def test_bad_input_is_explained(change, message):
    with pytest.raises(ValueError, match=message):
        make(CONFIG)(batch() | change)
