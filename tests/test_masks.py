"""Masks: the table of DESIGN, row by row, and the rule lowered two ways."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmcourse.parts import masks

ROWS = {
    "CLIP text, BLIP decoder, every LM: causal": "100000 110000 111000 111100 111110 111111",
    "prefix LM": "1110000 1110000 1110000 1111000 1111100 1111110 1111111",
    "BLIP-2 ITM: bi-directional": " ".join(["1111111"] * 7),
    "BLIP-2 ITC: uni-modal": " ".join(["1110000"] * 3 + ["0001111"] * 4),
    "BLIP-2 ITG: multimodal causal": "1110000 1110000 1110000 1111000 1111100 1111110 1111111",
    "Flamingo: last image only": "0000 1100 1100 1100 0011 0011 0011",
    "Flamingo, ablation: all images so far": "0000 1100 1100 1100 1111 1111 1111",
    "packed documents": "1000000 1100000 1110000 0001000 0001100 0001110 0001111",
    "ViLBERT, VL-BERT: padding only": " ".join(["1111100"] * 7),
}


def written(dense: torch.Tensor) -> str:
    return " ".join("".join(str(int(cell)) for cell in row) for row in dense[0, 0])


@pytest.mark.parametrize("name", ROWS)
def test_the_mask_table(name):
    assert written(masks.gallery()[name].to_bool()) == ROWS[name]


def test_the_gallery_has_no_row_without_a_test():
    assert set(masks.gallery()) == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_blocks_and_dense_are_the_same_rule(name):
    mask = masks.gallery()[name]
    b, q, k = torch.meshgrid(
        torch.arange(mask.batch or 1),
        torch.arange(mask.queries),
        torch.arange(mask.keys),
        indexing="ij",
    )
    block_rule = mask.to_block_mask().mask_mod
    assert torch.equal(block_rule(b, torch.zeros_like(b), q, k), mask.to_bool()[:, 0])


integers = st.lists(st.integers(0, 3), min_size=5, max_size=5).map(torch.tensor)


@settings(max_examples=50, deadline=None)
@given(integers, integers)
def test_algebra(first, second):
    a, b = masks.less_equal_mask(first), masks.same_group_mask(second)
    assert torch.equal((a & b).to_bool(), a.to_bool() & b.to_bool())
    assert torch.equal((a | b).to_bool(), a.to_bool() | b.to_bool())
    assert torch.equal((~a).to_bool(), ~a.to_bool())
    assert torch.equal((~(a & b)).to_bool(), (~a | ~b).to_bool())  # De Morgan
    assert torch.equal(
        (masks.less_equal_mask(first) & ~masks.less_equal_mask(first, name="x")).to_bool(),
        torch.zeros(1, 1, 5, 5).bool(),
    )


@settings(max_examples=30, deadline=None)
@given(integers, st.integers(0, 4))
def test_rows_are_the_rows(values, start):
    mask = masks.less_equal_mask(values) & masks.causal(5)
    assert torch.equal(mask.query_slice(start).to_bool(), mask.to_bool()[:, :, start:])
    if start < 4:
        assert torch.equal(
            mask.query_slice(start).query_slice(1).to_bool(), mask.to_bool()[:, :, start + 1 :]
        )


def test_per_sequence_masks_broadcast_with_shared_ones():
    valid = torch.tensor([[True, True, False], [True, True, True]])
    padding, causal = masks.padding_mask(valid), masks.causal(3)
    for mask in (padding & causal, causal & padding):
        assert mask.to_bool().shape == (2, 1, 3, 3)
        assert torch.equal(mask.to_bool()[1], causal.to_bool()[0])
        assert not mask.to_bool()[0, 0, :, 2].any()
    assert torch.equal((padding | causal).to_bool(), padding.to_bool() | causal.to_bool())
    assert (padding & ~causal).name == "padding and not causal"
    assert (causal | padding).name == "causal or padding"


def test_a_mask_lives_where_its_numbers_live():
    there = torch.device(
        "meta"
    )  # stands for a GPU: what is made elsewhere cannot be combined with it
    valid, numbers = (
        torch.ones(2, 4, dtype=torch.bool, device=there),
        torch.ones(2, 4, dtype=torch.long, device=there),
    )
    made = [
        masks.causal(4, there),
        masks.prefix(2, 4, there),
        masks.bidirectional(4, there),
        masks.unimodal(1, 3, there),
        masks.multimodal_causal(1, 3, there),
        masks.padding_mask(valid),
        masks.packed(numbers),
        masks.last_image(numbers, numbers),
    ]
    for mask in [*made, ~made[0], made[0].query_slice(1), made[0] & made[5], made[1] | made[4]]:
        assert mask.device == mask.to_bool().device == there, mask.name


def test_phi_counts_the_tags_and_zero_matches_no_image():
    tags = torch.tensor([[0, 1, 0, 1, 0], [1, 0, 0, 0, 0]]).bool()
    assert masks.phi(tags).tolist() == [[0, 1, 1, 2, 2], [1, 1, 1, 1, 1]]
    images = torch.tensor([1, 2])
    for mask in (
        masks.last_image(masks.phi(tags), images),
        masks.images_so_far(masks.phi(tags), images),
    ):
        assert not mask.to_bool()[0, 0, 0].any()  # text before the first image
        assert mask.to_bool()[0, 0, 1:].any(-1).all()


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: masks.causal(3) & masks.causal(4), ["3 x 3", "4 x 4"]),
        (lambda: masks.less_equal_mask(torch.rand(3)), ["integer", "float32"]),
        (lambda: masks.less_equal_mask(torch.zeros(2, 2, 2).long()), ["(2, 2, 2)", "(length,)"]),
        (lambda: masks.padding_mask(torch.ones(2, 3)), ["booleans", "float32"]),
        (lambda: masks.padding_mask(torch.ones(3).bool()), ["(batch, keys)", "(3,)"]),
        (lambda: masks.causal(3).query_slice(3), ["query_slice(3)", "start < 3"]),
        (
            lambda: masks.less_equal_mask(torch.zeros(2, 3).long(), torch.zeros(4, 3).long()),
            ["[2, 4]"],
        ),
        (
            lambda: (
                masks.padding_mask(torch.ones(2, 3).bool())
                & masks.padding_mask(torch.ones(4, 3).bool())
            ),
            ["2 sequences", "for 4"],
        ),
        (
            lambda: masks.causal(3) & masks.causal(3, "meta"),
            ["cpu", "meta", "causal(length, ids.device)"],
        ),
    ],
)
def test_messages_say_what_was_found_and_expected(make, words):
    with pytest.raises(ValueError) as error:
        make()
    assert all(word in str(error.value) for word in words), str(error.value)


def test_integers_of_each_sequence_are_compared_with_integers_of_all():
    per_sequence, shared = torch.tensor([[0, 1, 2], [2, 1, 0]]), torch.tensor([0, 1, 2, 3])
    mask = masks.less_equal_mask(per_sequence, shared)
    assert torch.equal(mask.to_bool()[:, 0], shared[None, None] <= per_sequence[:, :, None])
    mask = masks.less_equal_mask(shared, per_sequence)
    assert torch.equal(mask.to_bool()[:, 0], per_sequence[:, None] <= shared[None, :, None])
    with pytest.raises(ValueError, match=r"query_slice\(-1\)"):
        mask.query_slice(-1)


def test_padding_can_have_another_number_of_queries():
    is_token = torch.tensor([[True, False, True]])
    assert masks.padding_mask(is_token, queries=2).to_bool().tolist() == [
        [[[True, False, True]] * 2]
    ]


def test_small_blocks_are_the_same_mask_in_blocks():
    mask = masks.packed(torch.tensor([1] * 4 + [2] * 4))
    blocks = mask.to_block_mask(4)
    computed = blocks.to_dense()[0, 0].bool()
    expected = mask.to_bool()[0, 0].unflatten(0, (2, 4)).unflatten(2, (2, 4)).any(3).any(1)
    assert torch.equal(computed, expected)
