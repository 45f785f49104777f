"""Explicit formula == SDPA == FlexAttention, for every mask of the course; empty rows; caching; measured == declared."""

import pytest
import torch

from vlmcourse.doctor import compiler_trouble
from vlmcourse.parts import attention as attention_module
from vlmcourse.parts import masks
from vlmcourse.parts.attention import Attention, KVCache, attend, cached_length
from vlmcourse.parts.layers import Transformer

GALLERY = masks.gallery()
TROUBLE = compiler_trouble()


def explicit(q, k, v, mask):
    """softmax(q k^T / sqrt(d)) v, with the forbidden scores left out and empty rows zero by definition."""
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / q.shape[-1] ** 0.5
    allowed = mask.expand_as(scores)
    exponentials = torch.where(allowed, (scores - scores.amax(-1, keepdim=True)).exp(), 0)
    return exponentials / exponentials.sum(-1, keepdim=True).clamp(min=1e-30) @ v


def projections(mask, width=16, batch=2, seed=0):
    torch.manual_seed(seed)
    batch = mask.batch or batch
    return [
        torch.randn(batch, 2, length, width, dtype=torch.float32, requires_grad=True)
        for length in (mask.queries, mask.keys, mask.keys)
    ]


@pytest.mark.parametrize("name", GALLERY)
def test_sdpa_is_the_formula_forward_and_backward(name):
    mask = GALLERY[name]
    q, k, v = projections(mask)
    ours, formula = attend(q, k, v, mask.to_bool()), explicit(q, k, v, mask.to_bool())
    torch.testing.assert_close(ours, formula, atol=1e-6, rtol=1e-5)
    weight = torch.randn_like(ours)
    for mine, theirs in zip(
        torch.autograd.grad((ours * weight).sum(), (q, k, v)),
        torch.autograd.grad((formula * weight).sum(), (q, k, v)),
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(bool(TROUBLE), reason=f"FlexAttention compiles with C++: {TROUBLE}")
@pytest.mark.parametrize("name", GALLERY)
def test_flex_is_sdpa(name):
    mask = GALLERY[name]
    q, k, v = (x.detach() for x in projections(mask))
    torch.testing.assert_close(
        attend(q, k, v, mask.to_block_mask()), attend(q, k, v, mask.to_bool()), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize(
    "name", ["Flamingo: last image only", "Flamingo, ablation: all images so far"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_that_sees_nothing_is_exactly_zero_with_zero_gradient(name, dtype):
    mask = GALLERY[name]
    q, k, v = (x.detach().to(dtype).requires_grad_() for x in projections(mask))
    out = attend(q, k, v, mask.to_bool())
    empty = ~mask.to_bool()[0, 0].any(-1)
    assert empty.any() and not empty.all()
    assert (out[:, :, empty] == 0).all() and (out[:, :, ~empty] != 0).any()
    gradients = torch.autograd.grad(out[:, :, empty].sum(), (q, k, v), allow_unused=True)
    assert all((gradient == 0).all() for gradient in gradients)


def test_additive_masks_are_refused():
    q, k, v = projections(masks.causal(4))
    with pytest.raises(ValueError, match="booleans"):
        attend(q, k, v, torch.zeros(4, 4))


@pytest.mark.parametrize("name", GALLERY)
def test_weights_are_the_ones_the_fused_kernel_used(name):
    mask = GALLERY[name]
    torch.manual_seed(1)
    attention = Attention(16, heads=4)
    x, context = (
        torch.randn(mask.batch or 2, mask.queries, 16),
        torch.randn(mask.batch or 2, mask.keys, 16),
    )
    weights = attention.weights(x, context, mask.to_bool())
    values = attention.split_heads(attention.key_value(context).chunk(2, -1)[1])
    rebuilt = attention.out((weights @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(rebuilt, attention(x, context, mask.to_bool()), atol=1e-6, rtol=1e-5)
    sums = weights.sum(-1)
    assert torch.allclose(sums, mask.to_bool().any(-1).float().expand_as(sums), atol=1e-6)


@pytest.mark.parametrize("name", GALLERY)
def test_declared_is_measured(name):
    """Replace one key by another random vector: exactly the queries allowed to see it move. (Adding a constant would
    not do: a LayerNorm erases it.)"""
    mask = GALLERY[name]
    torch.manual_seed(2)
    attention = Attention(16, heads=2)
    x, context = (
        torch.randn(mask.batch or 1, mask.queries, 16),
        torch.randn(mask.batch or 1, mask.keys, 16),
    )
    before = attention(x, context, mask.to_bool())
    for key in range(mask.keys):
        changed = context.clone()
        changed[:, key] = torch.randn(16)
        moved = (attention(x, changed, mask.to_bool()) != before).any(-1)
        assert torch.equal(moved, mask.to_bool()[:, 0, :, key].expand_as(moved)), f"key {key}"


@pytest.mark.parametrize(
    "mask", [masks.causal(7), masks.prefix(3, 7), masks.packed(torch.tensor([1, 1, 1, 2, 2, 2, 2]))]
)
@pytest.mark.parametrize("pieces", [[3, 1, 1, 1, 1], [3, 4], [4, 2, 1]])
def test_cached_is_uncached(mask, pieces):
    torch.manual_seed(3)
    transformer = Transformer(depth=2, width=16, heads=2)
    x = torch.randn(2, 7, 16)
    whole, cache, start, got = transformer(x, mask.to_bool()), {}, 0, []
    for length in pieces:
        rows = mask.query_slice(start).to_bool()[:, :, :length, : start + length]
        got.append(transformer(x[:, start : start + length], rows, cache))
        start += length
    torch.testing.assert_close(torch.cat(got, 1), whole, atol=1e-5, rtol=1e-4)


def test_bfloat16_on_cpu_agrees_with_float32():
    q, k, v = projections(masks.causal(6))
    half = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), masks.causal(6).to_bool())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(
        half.float(), attend(q, k, v, masks.causal(6).to_bool()), atol=0.03, rtol=0.03
    )


def test_it_is_pytorchs_multi_head_attention():
    torch.manual_seed(4)
    theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True)
    torch.nn.init.normal_(theirs.in_proj_bias)
    ours = Attention(16, 4)
    query, key, value = theirs.in_proj_weight.chunk(3)
    ours.load_state_dict(
        {
            "query.weight": query,
            "key_value.weight": torch.cat([key, value]),
            "query.bias": theirs.in_proj_bias[:16],
            "key_value.bias": theirs.in_proj_bias[16:],
            "out.weight": theirs.out_proj.weight,
            "out.bias": theirs.out_proj.bias,
        }
    )
    x, context = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    expected, maps = theirs(x, context, context, average_attn_weights=False)
    torch.testing.assert_close(ours(x, context), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(ours.weights(x, context), maps, atol=1e-6, rtol=1e-5)


def test_a_width_that_does_not_split_is_named():
    with pytest.raises(ValueError, match="width 10 cannot be split into 4 heads"):
        Attention(10, 4)


def leaky_attention(q, k, v, attn_mask):
    """A fused kernel that gives the mean of the values where nothing may be attended to, as some backends do."""
    everywhere = attn_mask | ~attn_mask.any(-1, keepdim=True)
    return explicit(q, k, v, everywhere)


def test_rows_without_a_key_are_zero_whatever_the_kernel_gives_there(monkeypatch):
    monkeypatch.setattr(attention_module, "scaled_dot_product_attention", leaky_attention)
    mask = GALLERY["Flamingo: last image only"].to_bool()
    q, k, v = projections(GALLERY["Flamingo: last image only"])
    out, empty = attend(q, k, v, mask), ~mask[0, 0].any(-1)
    assert (out[:, :, empty] == 0).all() and (out[:, :, ~empty] != 0).any()
    gradients = torch.autograd.grad(out[:, :, empty].sum(), (q, k, v))
    assert all((gradient == 0).all() for gradient in gradients)


def test_a_context_is_not_cached():
    """Cross-attention gets its context anew at each call: with a cache it neither reads nor writes it."""
    torch.manual_seed(5)
    attention, cache = Attention(16, 4), KVCache()
    x, context = torch.randn(2, 3, 16), torch.randn(2, 5, 16)
    for _ in range(2):
        assert torch.equal(attention(x, context, cache=cache), attention(x, context))
    assert not cache and cache.get_seq_length() == 0


def test_a_context_projected_once_is_attended_to_alike():
    torch.manual_seed(6)
    attention, mask = Attention(16, 4, context_width=8), masks.causal(5).to_bool()[:, :, :3]
    x, context = torch.randn(2, 3, 16), torch.randn(2, 5, 8)
    projected = attention.project_kv(context)
    assert torch.equal(attention(x, projected, mask), attention(x, context, mask))
    assert torch.equal(attention.weights(x, projected, mask), attention.weights(x, context, mask))


def test_a_cache_knows_its_length_and_can_be_reordered():
    attention, cache, x = Attention(16, 4), KVCache(), torch.randn(3, 4, 16)
    assert cached_length(None) == cached_length(cache) == 0
    attention(x, cache=cache)
    assert cached_length(cache) == 4
    order = torch.tensor([2, 2, 0])
    cache.reorder_cache(order)
    for found, expected in zip(cache[attention], attention.project_kv(x)):
        assert torch.equal(found, expected[order])


def test_heads_can_have_another_width_and_no_biases():
    attention = Attention(10, 4, context_width=6, head_width=3, bias=False)
    assert attention(torch.randn(2, 5, 10), torch.randn(2, 7, 6)).shape == (2, 5, 10)
    assert not [name for name, _ in attention.named_parameters() if name.endswith("bias")]
    assert attention.weights(torch.randn(2, 5, 10), torch.randn(2, 7, 6)).shape == (2, 4, 5, 7)
