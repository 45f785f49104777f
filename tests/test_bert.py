"""BERT's pieces: equal to transformers, and the statistics of masking."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertModel

from vlmcourse.parts.bert import (
    CrossAttentionBlock,
    MLMHead,
    WordEmbedding,
    sample_mask,
    copy_bert_layer,
    maskable,
    mask_tokens,
    masked_cross_entropy,
)
from vlmcourse.parts.layers import PostNormBlock
from vlmcourse.parts.masks import padding_mask


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
    copy_bert_layer(block, layer)
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
    was, now = ids[chosen], read[chosen]
    assert (now == 9).float().mean().item() == pytest.approx(0.8, abs=0.02)
    assert (now == was).float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert ((now != 9) & (now != was)).float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert (now != 0).all()  # a word never turns into padding


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(3, 9), min_size=1, max_size=4))
def test_first_last_and_padding_are_never_masked(lengths):
    ids = torch.zeros(len(lengths), 10, dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.arange(1, length + 1)
    may = maskable(ids)
    assert may.sum(1).tolist() == [length - 2 for length in lengths]
    assert not may[:, 0].any() and not may[ids == 0].any()
    assert sample_mask(may, 1.0).equal(may) and not sample_mask(may, 0.0).any()


def test_surprise_is_the_mean_over_masked_slots_and_nothing_without_them():
    said, was = torch.randn(3, 7), torch.tensor([1, 4, 6])
    torch.testing.assert_close(
        masked_cross_entropy(said, was), -said.log_softmax(-1)[torch.arange(3), was].mean()
    )
    assert masked_cross_entropy(said[:0], was[:0]) == 0


def test_the_word_head_reads_the_table_it_is_given():
    head, table = MLMHead(16, 30), torch.randn(30, 16, requires_grad=True)
    head(torch.randn(2, 16), table).sum().backward()
    assert (
        table.grad.abs().sum() > 0
        and sum(p.numel() for p in head.parameters()) == 16 * 16 + 16 + 32 + 30
    )


@pytest.mark.parametrize(
    "ids, message",
    [
        (torch.zeros(2, 9, dtype=torch.long), "texts of 9 tokens; this model reads at most 8"),
        (torch.full((1, 4), 30), "token id 30 is outside the vocabulary of 30"),
        (torch.zeros(2, 3), "expected integers"),
    ],
)
def test_ids_that_cannot_be_read_are_explained(ids, message):
    with pytest.raises(ValueError, match=message):
        WordEmbedding(30, 16, context_length=8)(ids)
