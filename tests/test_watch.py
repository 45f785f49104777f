"""Measured from outside: probabilities, gates, and who moves whom."""

import pytest
import torch
from torch import nn

from vlmcourse import introspection
from vlmcourse.parts import masks
from vlmcourse.parts.attention import Attention
from vlmcourse.parts.layers import TanhGate, Transformer

GALLERY = masks.gallery()


def test_weights_are_recomputed_from_what_the_layer_got():
    torch.manual_seed(0)
    model = Transformer(2, 16, 2)
    x, mask = torch.randn(1, 5, 16), masks.causal(5).to_bool()
    found = introspection.attention_weights(model, lambda: model(x, mask))
    assert list(found) == ["blocks.0.attention", "blocks.1.attention"]
    block = model.blocks[0]
    torch.testing.assert_close(
        found["blocks.0.attention"], block.attention.weights(block.norm1(x), mask=mask)
    )
    assert (found["blocks.1.attention"][0, 0].triu(1) == 0).all()


def test_no_hook_stays_even_after_an_error():
    model = Transformer(1, 16, 2)
    with pytest.raises(RuntimeError):
        introspection.attention_weights(model, lambda: model(torch.randn(1, 5, 3)))
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_gates_by_name():
    model = nn.ModuleDict({"near": TanhGate(), "far": TanhGate()})
    model["far"].alpha.data.fill_(1.0)
    assert introspection.gate_values(model) == {"near": 0.0, "far": pytest.approx(0.7616, abs=1e-4)}


@pytest.mark.parametrize("name", GALLERY)
def test_declared_is_measured_by_the_jacobian(name):
    mask = GALLERY[name]
    torch.manual_seed(0)
    attention, x = Attention(16, 2), torch.randn(1, mask.queries, 16)
    context = torch.randn(1, mask.keys, 16)
    measured = introspection.influence(lambda keys: attention(x, keys, mask.to_bool()), context)
    assert torch.equal(measured > 0, mask.to_bool()[0, 0])


def test_a_wrong_mask_is_caught():
    torch.manual_seed(0)
    attention, x = Attention(16, 2), torch.randn(1, 6, 16)
    leaky = masks.causal(6).to_bool().clone()
    leaky[0, 0, 1, 4] = True
    measured = introspection.influence(lambda y: attention(y, y, leaky), x) > 0
    assert not torch.equal(measured, masks.causal(6).to_bool()[0, 0])


def test_influence_travels_through_layers():
    """Two layers that each see one step back see two steps back together."""
    torch.manual_seed(0)
    position = torch.arange(6)
    window = masks.less_equal_mask(position) & ~masks.less_equal_mask(
        position - 2, position, name="older"
    )
    assert window.to_bool()[0, 0, 4].tolist() == [False, False, False, True, True, False]
    model, x = Transformer(2, 16, 2), torch.randn(1, 6, 16)
    measured = introspection.influence(lambda y: model(y, window.to_bool()), x) > 0
    assert measured[4].tolist() == [False, False, True, True, True, False]


def test_occlusion_measures_the_square_that_the_score_reads():
    pixel_values = torch.rand(3, 8, 8) + 0.5
    found = introspection.occlusion(
        lambda x: x[:, :, 4:, :4].mean((1, 2, 3)), pixel_values, window=4, stride=4
    )
    assert found.shape == (4,) and found.argmax() == 2  # row 1, column 0
    torch.testing.assert_close(found[2], pixel_values[:, 4:, :4].mean())
    assert (found[[0, 1, 3]] == 0).all()
    assert introspection.occlusion(
        lambda x: x.mean((1, 2, 3)), pixel_values, window=4, stride=2
    ).shape == (9,)


def test_influence_is_a_norm_not_a_sum_that_cancels():
    function = lambda x: x @ torch.tensor([[1.0], [-1.0]])  # noqa: E731
    measured = introspection.influence(function, torch.randn(1, 3, 2))
    assert (measured.diagonal() > 0.01).all() and (measured - measured.diag().diag() == 0).all()
