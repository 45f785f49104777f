"""BERT's pieces: equal to transformers, and the statistics of masking."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertModel

from vlmcourse.papers.checkpoint_formats import BERT_LAYER
from vlmcourse.papers.checkpoints import copy_weights
from vlmcourse.parts.attention import KVCache
from vlmcourse.parts.bert import (
    CrossAttentionBlock,
    MLMHead,
    TextTransformer,
    WordEmbedding,
    context_batch_size,
    mask_tokens,
    maskable,
    masked_cross_entropy,
    sample_mask,
    with_first_token,
)
from vlmcourse.parts.layers import PostNormBlock
from vlmcourse.parts.masks import causal, padding_mask


def tiny_bert(segments=3):
    torch.manual_seed(1)
    bert = BertModel(
        BertConfig(
            vocab_size=50,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=24,
            type_vocab_size=segments,
        ),
        add_pooling_layer=False,
    ).eval()
    with torch.no_grad():
        for parameter in bert.parameters():
            parameter.add_(
                0.1 * torch.randn_like(parameter)
            )  # LayerNorms and biases too: a test must see them
    return bert


def test_a_block_is_berts_layer_with_padding():
    bert = tiny_bert()
    layer, block = bert.encoder.layer[0], PostNormBlock(32, 4, 64)
    copy_weights(block, layer.state_dict(), BERT_LAYER)
    x, is_token = torch.randn(2, 5, 32), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    theirs = layer(x, attention_mask=padding_mask(is_token).to_bool())
    torch.testing.assert_close(
        block(x, padding_mask(is_token, 1).to_bool()),
        theirs if isinstance(theirs, torch.Tensor) else theirs[0],
        atol=1e-5,
        rtol=1e-4,
    )


def test_a_block_with_a_context_is_multi_head_attention_with_other_keys():
    block = CrossAttentionBlock(16, 2, None, context_width=24, head_width=6)
    x, context = torch.randn(2, 3, 16), torch.randn(2, 5, 24)
    q = block.attention.query(x).unflatten(-1, (2, 6)).transpose(1, 2)
    k, v = (
        part.unflatten(-1, (2, 6)).transpose(1, 2)
        for part in block.attention.key_value(context).chunk(2, -1)
    )
    looked = ((q @ k.mT / 6**0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
    middle = block.norm1(x + block.attention.out(looked))
    torch.testing.assert_close(
        block(x, context=context),
        block.norm2(middle + block.feedforward(middle)),
        atol=1e-5,
        rtol=1e-4,
    )


def test_what_comes_out_is_normalised_unlike_in_a_pre_norm_block():
    out = PostNormBlock(32, 4)(100 * torch.randn(2, 4, 32))
    torch.testing.assert_close(out.mean(-1), torch.zeros(2, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.var(-1, unbiased=False), torch.ones(2, 4), atol=1e-3, rtol=0)


def test_words_are_masked_in_the_papers_shares():
    torch.manual_seed(0)
    ids = torch.randint(10, 10_000, (400, 100))
    chosen = sample_mask(torch.ones_like(ids, dtype=torch.bool), 0.15)
    assert chosen.float().mean().item() == pytest.approx(0.15, abs=0.01)
    read = mask_tokens(ids, chosen, mask_id=9, vocabulary=10_000)
    assert torch.equal(read[~chosen], ids[~chosen])
    before, after = ids[chosen], read[chosen]
    unchanged, masked = after == before, after == 9
    assert masked.float().mean().item() == pytest.approx(0.8, abs=0.02)
    assert unchanged.float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert (~masked & ~unchanged).float().mean().item() == pytest.approx(0.1, abs=0.02)


def test_a_random_word_is_any_word_but_never_padding():
    torch.manual_seed(0)
    ids = torch.ones(400, 100, dtype=torch.long)
    read = mask_tokens(ids, torch.ones_like(ids, dtype=torch.bool), mask_id=3, vocabulary=3)
    assert set(read.unique().tolist()) == {1, 2, 3}
    assert (read == 2).float().mean().item() == pytest.approx(0.05, abs=0.005)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(3, 9), min_size=1, max_size=4))
def test_first_last_and_padding_are_never_masked(lengths):
    ids = torch.zeros(len(lengths), 10, dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.arange(1, length + 1)
    candidates = maskable(ids)
    assert candidates.sum(1).tolist() == [length - 2 for length in lengths]
    assert not candidates[:, 0].any() and not candidates[ids == 0].any()
    assert sample_mask(candidates, 1.0).equal(candidates) and not sample_mask(candidates, 0.0).any()


def test_the_loss_is_the_mean_over_masked_positions_and_zero_without_any():
    logits, targets = torch.randn(3, 7), torch.tensor([1, 4, 6])
    torch.testing.assert_close(
        masked_cross_entropy(logits, targets),
        -logits.log_softmax(-1)[torch.arange(3), targets].mean(),
    )
    assert masked_cross_entropy(logits[:0], targets[:0]) == 0


def test_the_word_head_reads_the_table_it_is_given():
    head, table = MLMHead(16, 30), torch.randn(30, 16, requires_grad=True)
    head(torch.randn(2, 16), table).sum().backward()
    assert (
        table.grad.abs().sum() > 0
        and sum(p.numel() for p in head.parameters()) == 16 * 16 + 16 + 32 + 30
    )


def decoder():
    torch.manual_seed(2)
    return TextTransformer(30, 8, 16, 2, 4, None, 1e-12, context_width=12)


def test_a_text_transformer_can_go_on_from_a_cache_and_from_projected_states():
    model, ids, states = decoder(), torch.randint(1, 30, (2, 6)), torch.randn(2, 5, 12)
    mask, cache = causal(6), KVCache()
    whole = model(ids, mask.to_bool(), states)
    pieces = [model(ids[:, :4], causal(4).to_bool(), states, cache=cache)]
    projected = model.project_kv(states)
    rest = mask.query_slice(4).to_bool()
    pieces.append(model(ids[:, 4:], rest, projected, cache=cache, start=4))
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-5, rtol=1e-4)
    assert context_batch_size(states) == context_batch_size(projected) == 2
    assert not torch.allclose(model(ids, mask.to_bool()), whole, atol=1e-2)


def test_the_first_state_is_that_of_the_whole_and_padding_of_the_context_is_hidden():
    model, ids, states = decoder(), torch.randint(1, 30, (2, 6)), torch.randn(2, 5, 12)
    is_token = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    mask = padding_mask(is_token).to_bool()
    context_mask = torch.tensor([[True] * 5, [True, True] + [False] * 3])
    first = model.first_state(ids, mask, states, context_mask)
    whole = model(ids, mask, states, context_mask)
    torch.testing.assert_close(first, whole[:, 0], atol=1e-5, rtol=1e-4)
    changed = states.clone()
    changed[1, 2:] += 1
    assert torch.equal(model.first_state(ids, mask, changed, context_mask), first)


def test_texts_longer_than_the_positions_are_refused_with_and_without_a_cache():
    model, ids = decoder(), torch.ones(1, 9, dtype=torch.long)
    for tokens, start in ((ids, 0), (ids[:, :1], 8)):
        with pytest.raises(ValueError, match="texts of 9 tokens; this model reads at most 8"):
            model(tokens, None, start=start)
    assert model(ids[:, :8], None).shape == (1, 8, 16)


@pytest.mark.parametrize("token", [-1, 30])
def test_ids_outside_the_vocabulary_are_refused(token):
    embedding = WordEmbedding(30, 16, context_length=8)
    with pytest.raises(ValueError, match=f"token id {token} is outside the vocabulary of 30"):
        embedding(torch.tensor([[1, token, 2]]))
    assert embedding(torch.tensor([[0, 29]])).shape == (1, 2, 16)


def test_a_first_token_is_replaced_after_padding_on_the_left():
    ids = torch.tensor([[0, 0, 5, 6], [5, 6, 7, 8]])
    assert with_first_token(ids, 9).tolist() == [[9, 0, 5, 6], [9, 6, 7, 8]]
    replaced = with_first_token(ids, 9, ids != 0)
    assert replaced.tolist() == [[0, 0, 9, 6], [9, 6, 7, 8]] and ids[1, 0] == 5


def test_positions_can_be_given_to_each_token():
    model, ids = decoder(), torch.tensor([[0, 0, 5, 6]])
    positions = torch.tensor([[0, 0, 0, 1]])
    is_token = padding_mask(ids != 0).to_bool()
    padded = model(ids, is_token, position_ids=positions)[:, 2:]
    torch.testing.assert_close(padded, model(ids[:, 2:], None), atol=1e-5, rtol=1e-4)
