"""Blocks, the gate, and the initialisation that lets narrow models learn."""

import pytest
import torch
from torch import nn

from vlmcourse.parts.layers import (
    FeedForward,
    PostNormBlock,
    QuickGELU,
    TanhGate,
    Transformer,
    check_ids,
    init_weights,
)
from vlmcourse.parts.masks import causal, padding_mask


def test_a_closed_gate_lets_nothing_through_and_only_it_learns():
    inner, gate = nn.Linear(4, 4), TanhGate()
    x = torch.randn(2, 4)
    assert torch.equal(x + gate(inner(x)), x)
    (x + gate(inner(x))).square().sum().backward()
    assert gate.alpha.grad.abs() > 0
    assert (inner.weight.grad == 0).all()


def test_an_open_gate_is_bounded():
    gate = TanhGate()
    for alpha in (-50.0, -1.0, 0.5, 50.0):
        gate.alpha.data.fill_(alpha)
        assert gate.value.abs() <= 1 and gate.value.sign() == torch.tensor(alpha).sign()


def test_quick_gelu_is_not_gelu():
    x = torch.linspace(-4, 4, 101)
    torch.testing.assert_close(QuickGELU()(x), x * torch.sigmoid(1.702 * x))
    assert 0.01 < (QuickGELU()(x) - nn.GELU()(x)).abs().max() < 0.03


def test_blocks_are_pytorchs_pre_norm_encoder_layers():
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(
        16, 4, 32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).eval()
    ours = Transformer(1, 16, 4, 32)
    block = ours.blocks[0]
    query, rest = theirs.self_attn.in_proj_weight.split([16, 32])
    block.load_state_dict(
        {
            "norm1.weight": theirs.norm1.weight,
            "norm1.bias": theirs.norm1.bias,
            "norm2.weight": theirs.norm2.weight,
            "norm2.bias": theirs.norm2.bias,
            "attention.query.weight": query,
            "attention.query.bias": theirs.self_attn.in_proj_bias[:16],
            "attention.key_value.weight": rest,
            "attention.key_value.bias": theirs.self_attn.in_proj_bias[16:],
            "attention.out.weight": theirs.self_attn.out_proj.weight,
            "attention.out.bias": theirs.self_attn.out_proj.bias,
            "feedforward.0.weight": theirs.linear1.weight,
            "feedforward.0.bias": theirs.linear1.bias,
            "feedforward.2.weight": theirs.linear2.weight,
            "feedforward.2.bias": theirs.linear2.bias,
        }
    )
    x = torch.randn(2, 5, 16)
    with torch.no_grad():
        causal = torch.ones(5, 5).tril().bool()
        torch.testing.assert_close(
            ours(x, causal), theirs(x, src_mask=~causal), atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("width", [64, 256])
def test_initial_spread_follows_the_width(width):
    torch.manual_seed(0)
    block = Transformer(6, width, 4).blocks[0]
    assert block.attention.query.weight.std().item() == pytest.approx(width**-0.5, rel=0.1)
    assert block.attention.out.weight.std().item() == pytest.approx(width**-0.5 * 12**-0.5, rel=0.1)
    assert block.feedforward[0].weight.std().item() == pytest.approx((2 * width) ** -0.5, rel=0.1)


def test_feed_forward_acts_on_each_position_alone():
    layer = FeedForward(8, 16)
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(layer(x)[:, 2], layer(x[:, 2]))


@pytest.mark.parametrize(
    "mask",
    [
        None,
        causal(6).to_bool(),
        padding_mask(torch.tensor([[True] * 4 + [False] * 2] * 3)).to_bool(),
    ],
    ids=["none", "causal", "padding"],
)
def test_one_position_read_alone_is_that_of_the_whole_with_the_same_gradients(mask):
    torch.manual_seed(0)
    model, x = Transformer(2, 16, 4), torch.randn(3, 6, 16)
    positions, rows = torch.tensor([0, 3, 5]), torch.arange(3)
    gradients = []
    for read in (
        lambda: model(x, mask)[rows, positions],
        lambda: model.forward_at(x, positions, mask),
    ):
        model.zero_grad()
        out = read()
        out.square().sum().backward()
        gradients.append([out.detach(), *(parameter.grad for parameter in model.parameters())])
    for whole, alone in zip(*gradients):
        torch.testing.assert_close(alone, whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "mask", [None, padding_mask(torch.tensor([[True] * 4 + [False] * 2] * 3), 1).to_bool()]
)
@pytest.mark.parametrize("context", [None, torch.randn(3, 5, 8)], ids=["alone", "cross-attention"])
def test_one_position_of_a_post_norm_block_is_that_of_the_whole(mask, context):
    torch.manual_seed(0)
    block, x = PostNormBlock(16, 4, context_width=8), torch.randn(3, 6, 16)
    context_mask = padding_mask(torch.tensor([[True] * 3 + [False] * 2] * 3), 1).to_bool()
    positions, rows = torch.tensor([5, 0, 2]), torch.arange(3)
    whole = block(x, mask, context, context_mask)
    alone = block.forward_at(x, positions, mask, context, context_mask)
    torch.testing.assert_close(alone, whole[rows, positions], atol=1e-5, rtol=1e-4)
    if context is not None:
        unmasked = block.forward_at(x, positions, mask, context)
        assert not torch.allclose(alone, unmasked, atol=1e-3)


def test_a_gate_s_learning_rate_scale_multiplies_its_gradient_at_zero():
    gates = [TanhGate(), TanhGate(10.0)]
    for gate in gates:
        gate(torch.ones(3)).sum().backward()
    assert gates[1].alpha.grad == 10 * gates[0].alpha.grad == 30


@pytest.mark.parametrize(
    "ids",
    [torch.zeros(2, 8, dtype=torch.long), torch.tensor([[29, 0]]), torch.zeros(0, 3).long()],
    ids=["as long as allowed", "first and last id", "none"],
)
def test_ids_within_bounds_are_accepted(ids):
    check_ids(ids, vocabulary=30, context_length=8)
    check_ids(ids[:, :3], vocabulary=30, context_length=8, start=5)


@pytest.mark.parametrize(
    "ids, start, message",
    [
        (torch.zeros(2, 9).long(), 0, "texts of 9 tokens; this model reads at most 8"),
        (torch.zeros(2, 3).long(), 6, "texts of 9 tokens; this model reads at most 8"),
        (torch.tensor([[1, 30, 2]]), 0, "token id 30 is outside the vocabulary of 30"),
        (torch.tensor([[1, -3, 2]]), 0, "token id -3 is outside the vocabulary of 30"),
        (torch.zeros(2, 3), 0, r"\(2, 3\) of torch.float32; expected integers \(batch, tokens\)"),
        (torch.zeros(3).long(), 0, r"\(3,\) of torch.int64; expected integers \(batch, tokens\)"),
    ],
)
def test_ids_that_cannot_be_read_are_explained(ids, start, message):
    with pytest.raises(ValueError, match=message):
        check_ids(ids, vocabulary=30, context_length=8, start=start)


def test_weights_start_with_a_deviation_of_the_input_width_or_the_one_given():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(100, 400), nn.Embedding(500, 64), nn.Linear(100, 400, bias=False)
    )
    init_weights(module)
    for part, width in zip(module, (100, 64, 100)):
        assert part.weight.std().item() == pytest.approx(width**-0.5, rel=0.05)
    assert (module[0].bias == 0).all()
    init_weights(module, 0.5)
    assert all(part.weight.std().item() == pytest.approx(0.5, rel=0.05) for part in module)


def test_a_post_norm_block_starts_with_one_deviation_for_all_of_its_layers():
    torch.manual_seed(0)
    block = PostNormBlock(64, 4, context_width=32)
    linears = [module for module in block.modules() if isinstance(module, nn.Linear)]
    assert len(linears) == 8 and all((linear.bias == 0).all() for linear in linears)
    for linear in linears:
        assert linear.weight.std().item() == pytest.approx(1 / 8, rel=0.1)
