"""ViLBERT: the paper's invariants (co-attention, masking, the alignment head), parity of its parts, bad input."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vlmcourse.papers import vilbert
from vlmcourse.papers.vilbert import (
    CoAttention,
    TwoStreams,
    ViLBERT,
    ViLBERTConfig,
    sample_zeroed_regions,
)
from vlmcourse.parts.layers import PostNormBlock
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.optimisation import Optimisation

CONFIG = ViLBERTConfig(
    vocabulary=40,
    mask_token_id=9,
    features=12,
    classes=6,
    context=12,
    text_width=16,
    text_heads=2,
    image_width=24,
    image_heads=3,
    co_attention_width=12,
    co_attention_heads=2,
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ViLBERT(CONFIG).eval()


def batch(B=3, R=4, T=8, seed=0):
    """The last row has two regions and five tokens; the others are full."""
    generator = torch.Generator().manual_seed(seed)
    corner, size = (torch.rand(B, R, 2, generator=generator) * share for share in (0.5, 0.4))
    ids = torch.randint(10, 40, (B, T), generator=generator)
    ids[:, 0], ids[:, -1] = 1, 2
    ids[-1, 4], ids[-1, 5:] = 2, 0
    region_mask = torch.ones(B, R, dtype=torch.bool)
    region_mask[-1, 2:] = False
    return {
        "ids": ids,
        "features": torch.randn(B, R, 12, generator=generator),
        "region_mask": region_mask,
        "boxes": torch.cat([corner, corner + size + 0.05], -1),
        "aligned": torch.tensor([True] * (B - 1) + [False]),
        "classes": torch.randn(B, R, 6, generator=generator).softmax(-1),
    }


def states(B=2, R=5, T=7):
    return (
        torch.randn(B, R, 24),
        torch.randn(B, T, 16),
        torch.ones(1, 1, 1, T).bool(),
        torch.ones(1, 1, 1, R).bool(),
    )


def test_co_attention_swaps_keys_and_values_by_the_formula_of_multi_head_attention():
    layer, (image, text, to_text, to_image) = CoAttention(CONFIG), states()
    for block, asks, answers, out in zip(
        (layer.image, layer.text),
        (image, text),
        (text, image),
        layer(image, text, to_text, to_image),
    ):
        wide, other = asks.shape[-1], answers.shape[-1]
        theirs = nn.MultiheadAttention(
            12, 2, kdim=other, vdim=other, batch_first=True
        )  # its queries come ready, 12 wide
        with torch.no_grad():
            theirs.q_proj_weight.copy_(torch.eye(12))
            theirs.k_proj_weight.copy_(block.attention.key_value.weight[:12])
            theirs.v_proj_weight.copy_(block.attention.key_value.weight[12:])
            theirs.in_proj_bias.copy_(torch.cat([torch.zeros(12), block.attention.key_value.bias]))
            theirs.out_proj.weight.copy_(torch.eye(12))
            theirs.out_proj.bias.zero_()
        looked = block.attention.out(theirs(block.attention.query(asks), answers, answers)[0])
        middle = block.norm1(asks + looked)
        torch.testing.assert_close(
            out, block.norm2(middle + block.feedforward(middle)), atol=1e-5, rtol=1e-4
        )
        assert out.shape[-1] == wide


def test_without_a_streams_values_the_other_gets_nothing_and_the_first_is_as_before():
    layer, given = CoAttention(CONFIG), states()
    image, text = layer(*given)
    with torch.no_grad():  # the words' values: what regions would hear
        layer.image.attention.key_value.weight[12:] = 0
        layer.image.attention.key_value.bias[12:] = 0
    deaf, same = layer(*given)
    assert torch.equal(same, text) and not torch.allclose(deaf, image, atol=1e-3)
    block, alone = layer.image, given[0]
    middle = block.norm1(alone + block.attention.out.bias)
    torch.testing.assert_close(
        deaf, block.norm2(middle + block.feedforward(middle)), atol=1e-5, rtol=1e-4
    )


def test_the_two_maps_are_words_by_regions_and_regions_by_words_and_not_transposes():
    layer, (image, text, *_) = CoAttention(CONFIG), states()
    looks = layer.image.attention.weights(image, text)
    heard = layer.text.attention.weights(text, image)
    assert looks.shape == (2, 2, 5, 7) and heard.shape == (2, 2, 7, 5)
    assert not torch.allclose(looks, heard.mT, atol=1e-2)
    shared = {id(p) for p in layer.image.parameters()} & {id(p) for p in layer.text.parameters()}
    assert not shared


def test_both_directions_read_the_states_from_before():
    """Taken one after the other, the second stream would already hear itself."""
    layer, (image, text, to_text, to_image) = CoAttention(CONFIG), states()
    after_image, after_text = layer(image, text, to_text, to_image)
    torch.testing.assert_close(after_text, layer.text(text, image, to_image))
    assert not torch.allclose(
        after_text, layer.text(text, after_image[..., :24], to_image), atol=1e-3
    )


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(4)))
def test_permuted_regions_come_out_permuted_and_change_no_word(order):
    torch.manual_seed(0)
    model, one = ViLBERT(CONFIG).eval(), batch()
    order = torch.tensor(order)
    other = {**one, **{name: one[name][:, order] for name in ("features", "boxes", "region_mask")}}
    torch.testing.assert_close(model.mlm_logits(other), model.mlm_logits(one), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        model.alignment_logits(other), model.alignment_logits(one), atol=1e-4, rtol=1e-4
    )
    kept = other["region_mask"]
    torch.testing.assert_close(
        model.region_logits(other)[kept],
        model.region_logits(one)[:, order][kept],
        atol=1e-4,
        rtol=1e-4,
    )


def test_a_box_moved_without_its_region_changes_the_picture(model):
    one = batch()
    swapped = {**one, "boxes": one["boxes"][:, [1, 0, 2, 3]]}
    assert not torch.allclose(model.mlm_logits(swapped), model.mlm_logits(one), atol=1e-3)


def test_what_is_padding_changes_nothing(model):
    one, other = batch(), batch()
    other["features"] = other["features"].masked_fill(~one["region_mask"][..., None], 7.0)
    longer = {**other, "ids": torch.cat([other["ids"], torch.zeros(3, 2, dtype=torch.long)], 1)}
    torch.testing.assert_close(
        model.alignment_logits(longer), model.alignment_logits(one), atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(
        model.mlm_logits(longer)[:, :8], model.mlm_logits(one), atol=1e-4, rtol=1e-4
    )


def test_a_picture_without_regions_and_without_padding_trouble(model):
    blind = {**batch(), "region_mask": torch.zeros(3, 4, dtype=torch.bool)}
    assert (
        torch.isfinite(model.mlm_logits(blind)).all()
        and torch.isfinite(model.alignment_logits(blind)).all()
    )


def test_the_pictures_own_token_is_the_mean_of_what_is_visible_with_the_whole_box(model):
    one = batch()
    seen = []
    handles = [
        layer.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        for layer in (model.embed_features, model.embed_box)
    ]
    hidden = torch.zeros(3, 4, dtype=torch.bool)
    hidden[0, 1] = True
    model(one, masked_regions=hidden)
    for handle in handles:
        handle.remove()
    features, boxes = seen
    assert torch.equal(boxes[:, 0], torch.tensor([[0.0, 0, 1, 1, 1]]).expand(3, 5))
    torch.testing.assert_close(
        boxes[1, 1, 4], (one["boxes"][1, 0, 2:] - one["boxes"][1, 0, :2]).prod()
    )
    torch.testing.assert_close(features[0, 0], one["features"][0, [0, 2, 3]].mean(0))
    torch.testing.assert_close(features[-1, 0], one["features"][-1, :2].mean(0))
    assert (features[0, 2] == 0).all()


def test_a_hidden_region_cannot_be_told_from_what_it_showed(model):
    """If the mean still counted it, it could."""
    one, hidden = batch(), torch.zeros(3, 4, dtype=torch.bool)
    hidden[0, 1] = True
    other = {**one, "features": one["features"].clone()}
    other["features"][0, 1] = 5.0
    assert torch.equal(
        model.region_logits(one, masked_regions=hidden),
        model.region_logits(other, masked_regions=hidden),
    )
    assert not torch.allclose(model.region_logits(one), model.region_logits(other), atol=1e-3)


def test_masked_regions_are_empty_nine_times_in_ten():
    torch.manual_seed(0)
    chosen = torch.rand(300, 100) < 0.15
    gone = sample_zeroed_regions(chosen)
    assert not gone[~chosen].any() and gone[chosen].float().mean().item() == pytest.approx(
        0.9, abs=0.015
    )


def test_losses_ask_at_masked_slots_of_true_pairs_alone_by_the_formulas(model, monkeypatch):
    one = batch()
    word, region = torch.zeros(3, 8, dtype=torch.bool), torch.zeros(3, 4, dtype=torch.bool)
    word[0, 2] = word[1, 5] = word[2, 1] = region[0, 3] = region[1, 0] = region[2, 1] = True
    choices = iter([word, region])
    monkeypatch.setattr(vilbert, "sample_mask", lambda may, share: next(choices))
    monkeypatch.setattr(vilbert, "sample_zeroed_regions", lambda chosen: chosen)
    monkeypatch.setattr(
        vilbert, "mask_tokens", lambda ids, chosen, mask, vocabulary: ids.masked_fill(chosen, mask)
    )
    losses = model.losses(one)
    read = {**one, "ids": one["ids"].masked_fill(word, 9)}
    said, named = (
        part.log_softmax(-1)
        for part in (
            model.mlm_logits(read, masked_regions=region),
            model.region_logits(read, masked_regions=region),
        )
    )
    torch.testing.assert_close(
        losses["mlm"], -(said[0, 2, one["ids"][0, 2]] + said[1, 5, one["ids"][1, 5]]) / 2
    )
    truth = one["classes"]
    divergence = (
        sum((truth[b, r] * (truth[b, r].log() - named[b, r])).sum() for b, r in ((0, 3), (1, 0)))
        / 2
    )
    torch.testing.assert_close(losses["mrc"], divergence)
    p = model.alignment_logits(read, masked_regions=region).sigmoid()
    torch.testing.assert_close(
        losses["alignment"], -(p[0].log() + p[1].log() + (1 - p[2]).log()) / 3
    )


def test_no_word_and_no_region_chosen_costs_nothing():
    torch.manual_seed(0)
    model = ViLBERT(CONFIG.__class__(**{**vars(CONFIG), "mask_prob": 0.0}))
    losses = model.losses(batch())
    assert losses["mlm"] == losses["mrc"] == 0
    sum(losses.values()).backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_the_judge_sees_a_product(model):
    image, text = torch.randn(5, 12), torch.randn(5, 12)
    torch.testing.assert_close(
        model.alignment_head_logits(-image, -text), model.alignment_head_logits(image, text)
    )
    assert not torch.allclose(
        model.alignment_head_logits(-image, text),
        model.alignment_head_logits(image, text),
        atol=1e-3,
    )
    torch.testing.assert_close(
        model.alignment_head_logits(image, text * 0), model.alignment_head.bias.expand(5)
    )


def test_flow_across_can_be_blocked_and_then_pictures_change_no_word(model):
    never = torch.zeros(1, 1, 5, 8, dtype=torch.bool)
    one, other = batch(), batch(seed=1)
    other = {**other, "ids": one["ids"]}
    assert torch.equal(
        model.mlm_logits(one, co_attention_mask=never),
        model.mlm_logits(other, co_attention_mask=never),
    )
    assert not torch.allclose(model.mlm_logits(one), model.mlm_logits(other), atol=1e-3)
    assert not torch.allclose(
        model.mlm_logits(one, co_attention_mask=never), model.mlm_logits(one), atol=1e-3
    )


def test_one_word_that_no_region_may_meet_reaches_none(model):
    one, other = batch(), batch()
    other["ids"] = one["ids"].clone()
    other["ids"][0, 3] = 11 if one["ids"][0, 3] != 11 else 12
    encoder = copy.deepcopy(model.encoder)
    encoder.text_only, encoder.text, encoder.co_attention = (
        nn.ModuleList(),
        encoder.text[:1],
        encoder.co_attention[:1],
    )
    co_attention_mask = torch.ones(1, 1, 5, 8, dtype=torch.bool)
    co_attention_mask[..., 3] = False
    image = model.embed_regions(one["features"], one["boxes"], one["region_mask"])
    is_region, is_word = torch.ones(3, 5).bool(), one["ids"] != 0
    first, second = (
        encoder(image, model.embed_text(ids), is_region, is_word, co_attention_mask)[0]
        for ids in (one["ids"], other["ids"])
    )
    assert torch.equal(first, second)


def test_one_stream_with_a_block_diagonal_mask_is_two_berts():
    block, image, text = PostNormBlock(16, 2), torch.randn(2, 3, 16), torch.randn(2, 4, 16)
    apart = torch.block_diag(torch.ones(3, 3), torch.ones(4, 4)).bool()[None, None]
    together = block(torch.cat([image, text], 1), apart)
    torch.testing.assert_close(
        together, torch.cat([block(image), block(text)], 1), atol=1e-5, rtol=1e-5
    )


def test_another_encoder_takes_the_streams_place():
    class Apart(nn.Module):
        def forward(self, image, text, is_region, is_word, co_attention_mask=None):
            return image, text

    model = ViLBERT(CONFIG, Apart())
    assert torch.equal(model(batch())[1], model.embed_text(batch()["ids"])) and isinstance(
        ViLBERT(CONFIG).encoder, TwoStreams
    )


@pytest.mark.slow
def test_it_learns_what_is_in_a_hidden_region_from_the_words():
    """A word names the class of the only region; nothing else does."""

    def made(indices):
        kind = torch.tensor(indices) % 6
        ids = torch.stack([torch.tensor([1, 10 + k, 2]) for k in kind.tolist()])
        return {
            "ids": ids,
            "features": nn.functional.one_hot(kind, 12)[:, None].float(),
            "region_mask": torch.ones(len(kind), 1).bool(),
            "boxes": torch.tensor([[[0.1, 0.1, 0.6, 0.6]]]).expand(len(kind), 1, 4),
            "aligned": torch.ones(len(kind)).bool(),
            "classes": nn.functional.one_hot(kind, 6)[:, None].float(),
        }

    torch.manual_seed(0)
    model = ViLBERT(ViLBERTConfig(**{**vars(CONFIG), "mask_prob": 0.5}))
    for _ in fit(model, Batches(made, 24), 120, Optimisation(5e-3), precision=torch.float32):
        pass
    one = made(range(6))
    hidden = torch.ones(6, 1, dtype=torch.bool)
    assert model.region_logits(one, masked_regions=hidden)[:, 0].argmax(-1).tolist() == list(
        range(6)
    )
    masked = {**one, "ids": one["ids"].masked_fill(torch.tensor([[False, True, False]]), 9)}
    assert model.mlm_logits(masked)[:, 1].argmax(-1).tolist() == [10, 11, 12, 13, 14, 15]


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"boxes": torch.tensor([[[0.1, 0.2, 1.2, 0.5]]]).expand(3, 4, 4)},
            r"region 0 of picture 0 lies outside the picture.*0\.10, 0\.20, 1\.20, 0\.50.*divide pixels",
        ),
        ({"boxes": torch.tensor([[[0.5, 0.2, 0.4, 0.5]]]).expand(3, 4, 4)}, "or is empty"),
        ({"boxes": torch.full((3, 4, 4), float("nan"))}, "lies outside the picture"),
        ({"boxes": torch.zeros(3, 4, 5)}, r"boxes are \(3, 4, 5\).*expected fractions"),
        (
            {"features": torch.zeros(3, 4, 7)},
            r"features are \(3, 4, 7\).*\(3, 4, 12\): one row of numbers for each box",
        ),
        ({"features": torch.zeros(3, 2, 12)}, "one row of numbers for each box"),
        ({"ids": torch.ones(2, 5, dtype=torch.long)}, "2 texts and 3 pictures; expected as many"),
        (
            {"ids": torch.ones(3, 20, dtype=torch.long)},
            "texts of 20 tokens; this model reads at most 12",
        ),
    ],
)
def test_bad_input_is_explained(model, change, message):
    with pytest.raises(ValueError, match=message):
        model(batch() | change)
