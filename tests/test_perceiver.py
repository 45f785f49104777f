"""Perceiver and Perceiver IO: parity with transformers, inputs of any kind and length, what depends on what."""

import pytest
import torch
from torch import nn

from vlmcourse.introspection import count_flops
from vlmcourse.papers.perceiver import (
    CrossAttend,
    Perceiver,
    PerceiverConfig,
    PerceiverIO,
    TextInput,
    fourier_features,
    pixel_input,
    point_input,
)

CONFIG = PerceiverConfig(
    input_width=10, latents=6, width=16, num_cross_attends=3, depth=2, cross_attend_heads=2, heads=4
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def loud(model):
    """Latents start tiny; far from there, differences show."""
    with torch.no_grad():
        model.latents.mul_(50)
    return model.eval()


def copied(ours, theirs, cross):
    """A layer of transformers into one of ours (both are attention and feed-forward, pre-norm)."""
    attention, norms = (
        theirs.attention.self,
        {"norm": theirs.layernorm} if cross else {"norm2": theirs.layernorm},
    )
    norms |= (
        {"norm_x": attention.layernorm1, "norm_inputs": attention.layernorm2}
        if cross
        else {"norm1": attention.layernorm1}
    )
    pairs = [(getattr(ours, name), norm) for name, norm in norms.items()]
    pairs += [
        (ours.attention.query, attention.query),
        (ours.attention.out, theirs.attention.output.dense),
        (ours.feedforward[0], theirs.mlp.dense1),
        (ours.feedforward[2], theirs.mlp.dense2),
    ]
    for mine, other in pairs:
        mine.load_state_dict(other.state_dict())
    with torch.no_grad():
        ours.attention.key_value.weight.copy_(
            torch.cat([attention.key.weight, attention.value.weight])
        )
        ours.attention.key_value.bias.copy_(torch.cat([attention.key.bias, attention.value.bias]))


@pytest.mark.parametrize("repeats", [1, 3])
def test_parity_with_transformers(repeats):
    from transformers import PerceiverConfig as Config
    from transformers import PerceiverModel
    from transformers.models.perceiver.modeling_perceiver import PerceiverBasicDecoder

    config = Config(
        num_latents=6,
        d_latents=16,
        d_model=10,
        num_blocks=repeats,
        num_self_attends_per_block=2,
        num_self_attention_heads=4,
        num_cross_attention_heads=2,
        qk_channels=16,
        v_channels=16,
        cross_attention_widening_factor=4,
        self_attention_widening_factor=4,
        attention_probs_dropout_prob=0.0,
    )
    decoder = PerceiverBasicDecoder(
        config,
        output_num_channels=7,
        output_index_dims=5,
        num_channels=12,
        qk_channels=12,
        v_channels=12,
        num_heads=2,
        use_query_residual=False,
        widening_factor=4,
        trainable_position_encoding_kwargs={"num_channels": 12, "index_dims": 5},
    )
    theirs = PerceiverModel(config, decoder=decoder).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    ours = PerceiverIO(CONFIG, 12, 7, repeats).eval()
    with torch.no_grad():
        ours.latents.copy_(theirs.embeddings.latents)
    copied(ours.cross_attend, theirs.encoder.cross_attention, cross=True)
    for block, layer in zip(ours.self_attends.blocks, theirs.encoder.self_attends):
        copied(block, layer, cross=False)
    copied(ours.decoder, decoder.decoding_cross_attention, cross=True)
    ours.head.load_state_dict(decoder.final_layer.state_dict())
    inputs, input_mask = torch.randn(2, 9, 10), torch.ones(2, 9, dtype=torch.bool)
    input_mask[1, 5:] = False
    with torch.no_grad():
        wanted = theirs(inputs, attention_mask=input_mask.long())
        queries = decoder.output_position_encodings.position_embeddings.expand(2, -1, -1)
        torch.testing.assert_close(
            ours.encode(inputs, input_mask), wanted.last_hidden_state, atol=1e-4, rtol=1e-4
        )
        torch.testing.assert_close(
            ours(inputs, queries, input_mask), wanted.logits, atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize("make", [lambda: Perceiver(CONFIG, 5), lambda: PerceiverIO(CONFIG, 10, 5)])
def test_the_order_of_the_inputs_is_nothing_and_the_output_has_its_own_size(make):
    model, order = loud(make()), torch.randperm(9)
    for length in (1, 9, 40):
        assert model.encode(torch.randn(2, length, 10)).shape == (2, 6, 16)
    inputs = torch.randn(2, 9, 10)
    torch.testing.assert_close(
        model.encode(inputs), model.encode(inputs[:, order]), atol=1e-5, rtol=1e-5
    )
    changed = inputs.clone()
    changed[:, 3, 0] += 1
    assert not torch.allclose(model.encode(inputs), model.encode(changed), atol=1e-3)


def test_positions_make_order_matter():
    model, read = loud(Perceiver(PerceiverConfig(4 + 13, width=16), 5)), TextInput(30, 4, 8)
    ids = torch.randint(30, (2, 8))
    assert not torch.allclose(model(read(ids)), model(read(ids.flip(1))), atol=1e-3)
    without = read(ids).clone()
    without[..., 4:] = 0
    torch.testing.assert_close(model(without), model(without.flip(1)), atol=1e-5, rtol=1e-5)


def test_padding_changes_nothing():
    model, inputs = loud(Perceiver(CONFIG, 5)), torch.randn(1, 7, 10)
    padded, input_mask = (
        torch.cat([inputs, torch.randn(1, 4, 10)], 1),
        torch.tensor([[True] * 7 + [False] * 4]),
    )
    torch.testing.assert_close(model(padded, input_mask), model(inputs), atol=1e-5, rtol=1e-5)


def test_cost_grows_with_the_length_of_the_input_and_not_with_its_square():
    model = Perceiver(CONFIG, 5)
    one, two, four = (
        count_flops(lambda: model(torch.randn(1, length, 10))) for length in (64, 128, 256)
    )
    assert four - two == 2 * (two - one)  # linear, plus what the latents cost among themselves
    square = nn.MultiheadAttention(10, 1, batch_first=True)
    one, two, four = (
        count_flops(lambda: square(*[torch.randn(1, length, 10)] * 3)[0])
        for length in (64, 128, 256)
    )
    assert four - two > 3 * (two - one)


def test_repeats_share_their_weights_except_for_the_first_read():
    def count(reads):
        return sum(
            p.numel()
            for p in Perceiver(PerceiverConfig(10, num_cross_attends=reads), 5).parameters()
        )

    assert count(2) == count(8)
    model = Perceiver(CONFIG, 5)
    assert model.cross_attend is not model.cross_attend_again and not torch.equal(
        model.cross_attend.attention.query.weight, model.cross_attend_again.attention.query.weight
    )
    uses = []
    for read in (model.cross_attend, model.cross_attend_again):
        read.register_forward_hook(lambda module, *_: uses.append(module))
    model(torch.randn(1, 4, 10))
    assert uses == [model.cross_attend, model.cross_attend_again, model.cross_attend_again]


def test_one_latent_that_asks_evenly_gets_the_mean_of_the_values():
    read = CrossAttend(8, 10, 1)
    nn.init.zeros_(read.attention.query.weight)
    nn.init.zeros_(read.attention.query.bias)
    inputs = torch.randn(1, 7, 10)
    values = read.attention.key_value(read.norm_inputs(inputs))[..., 8:]
    got = read.attention(torch.randn(1, 1, 8), read.norm_inputs(inputs))
    torch.testing.assert_close(got, read.attention.out(values.mean(1, keepdim=True)))


def test_an_answer_depends_on_its_own_query_and_nothing_passes_the_query_through():
    model, queries = loud(PerceiverIO(CONFIG, 10, 5)), torch.randn(1, 4, 10)
    latents = model.encode(torch.randn(1, 9, 10))
    changed = queries.clone()
    changed[:, 2] = torch.randn(10)
    moved = (model.decode(latents, queries) - model.decode(latents, changed)).abs().amax(-1)[0]
    assert moved[2] > 0 and moved[[0, 1, 3]].max() == 0
    nn.init.zeros_(
        model.decoder.attention.key_value.weight
    )  # latents that say nothing: all queries get the same answer
    answers = model.decode(latents, queries)
    torch.testing.assert_close(answers, answers[:, :1].expand_as(answers))


@pytest.mark.slow
def test_one_model_learns_from_each_kind_of_input():
    """Which quarter is the bright pixel in, which word comes twice, is the point above the line? The same class for all."""
    generator = torch.Generator().manual_seed(1)
    pixel_values = torch.full((64, 3, 4, 4), -1.0)
    where = torch.randint(16, (64,), generator=generator)
    pixel_values.flatten(2)[torch.arange(64), :, where] = 1
    ids = torch.randint(2, 9, (64, 6), generator=generator)
    points = torch.rand(64, 1, 2, generator=generator) * 2 - 1
    text = TextInput(9, 8, 6)
    kinds = {
        "pixel_values": (lambda: pixel_input(pixel_values), where // 8),
        "text": (lambda: text(ids), (ids[:, 2] > 4).long()),
        "points": (lambda: point_input(points), (points[:, 0, 1] > points[:, 0, 0]).long()),
    }
    for name, (inputs, labels) in kinds.items():
        model = Perceiver(
            PerceiverConfig(inputs().shape[-1], 4, 16, num_cross_attends=2, depth=1, heads=2), 2
        )
        optimiser = torch.optim.AdamW([*model.parameters(), *text.parameters()], 1e-2)
        for _ in range(80):
            loss = nn.functional.cross_entropy(model(inputs()), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        assert (model(inputs()).argmax(-1) == labels).float().mean() > 0.95, name


def test_fourier_features_are_what_the_paper_says():
    x = torch.tensor([[0.5, -1.0]])
    made = fourier_features(x, 3, 8)
    assert made.shape == (1, 14) and torch.equal(made[:, -2:], x)
    frequencies = torch.tensor([1.0, 2.5, 4.0])
    torch.testing.assert_close(made[0, :3], (torch.pi * 0.5 * frequencies).sin())
    torch.testing.assert_close(made[0, 9:12], (torch.pi * -1.0 * frequencies).cos())


def test_inputs_of_the_wrong_width_and_none_at_all_are_explained():
    with pytest.raises(ValueError, match=r"\(2, 3, 9\).*one vector for each pixel, word or point"):
        Perceiver(CONFIG, 5)(torch.randn(2, 3, 9))
    with pytest.raises(ValueError, match="any number from 1"):
        Perceiver(CONFIG, 5)(torch.randn(2, 0, 10))
    with pytest.raises(ValueError, match="9 tokens.*at most 8"):
        TextInput(30, 4, 8)(torch.zeros(1, 9, dtype=torch.long))
