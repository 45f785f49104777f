"""Flamingo: the invariants of the paper on every family of language models, and parity with what others published."""

import copy
import importlib.util
from dataclasses import replace

import pytest
import torch
from test_language import MODELS
from torch import nn

from vlmcourse.introspection import attention_weights, influence
from vlmcourse.papers.flamingo import Flamingo, FlamingoConfig, GatedXattnDense, PerceiverResampler
from vlmcourse.parts import generation, language
from vlmcourse.parts.attention import Attention
from vlmcourse.parts.grouped import GroupedAttention, expand_groups
from vlmcourse.parts.masks import images_so_far, last_image, phi
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.optimisation import Optimisation

TAG, END = 4, 5
CONFIG = FlamingoConfig(
    image_token_id=TAG,
    vision_width=24,
    latents=3,
    resampler_heads=2,
    resampler_head_width=8,
    frames=4,
    heads=2,
    head_width=8,
)


class Tower(nn.Module):
    """A vision tower: (M, 3, 8, 8) -> (M, 4, 24)."""

    def __init__(self):
        super().__init__()
        self.project = nn.Conv2d(3, 24, 4, 4)

    def forward(self, pixel_values):
        return self.project(pixel_values).flatten(2).transpose(1, 2)


def build(name="llama", config=CONFIG, **parts):
    torch.manual_seed(0)
    lm = MODELS[name]()
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.mul_(3)  # far from the start, where everything looks alike
    return Flamingo(config, language.freeze(Tower()), language.freeze(lm), **parts)


def opened(model, value=0.7):
    with torch.no_grad():
        for block in model.blocks.values():
            block.gate.alpha.fill_(value)
            block.gate_feedforward.alpha.fill_(value)
    return model


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.fixture
def model(name):
    return build(name)


def pictures(count=2, seed=0):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def page(*numbers):
    """Words before the first picture, then each picture with so many words."""
    words = iter(range(10, 50))
    parts = [
        [1, next(words), next(words)],
        *([TAG, *(next(words) for _ in range(number))] for number in numbers),
    ]
    return torch.tensor([[token for part in parts for token in part]])


def learnable(count=4):
    ids = page(3, 3).repeat(count, 1)
    ids[:, -1] = torch.arange(20, 20 + count)
    return {
        "ids": ids,
        "loss_mask": (ids != TAG) & (torch.arange(ids.shape[1]) > 0),
        "pixel_values": pictures(2 * count),
    }


# Closed gates, frozen models, and what is left when the handles are gone.


def test_closed_gates_give_the_language_model_bit_for_bit(model):
    ids = page(3, 4)
    bare = model.lm(ids).logits  # without media a fused model is what it was
    assert torch.equal(model(ids, **model.vision_context(pictures())), bare)
    assert not torch.equal(opened(model)(ids, **model.vision_context(pictures())), bare)
    assert torch.equal(model.lm(ids).logits, bare)
    for handle in model.handles:
        handle.remove()
    assert not any(layer._forward_pre_hooks for layer in language.decoder_layers(model.lm))
    with torch.no_grad():
        assert torch.equal(model.lm(ids).logits, bare)


def test_the_layers_themselves_never_hear_of_pictures(model):
    heard = []
    for layer in language.decoder_layers(model.lm):
        layer.register_forward_pre_hook(
            lambda module, given, named: heard.append("media" in named), with_kwargs=True
        )
    model(page(3, 4), **model.vision_context(pictures()))
    assert heard == [False, False]


def test_at_step_one_only_gates_get_a_gradient_and_at_step_two_the_rest(model):
    def moved():
        model.zero_grad()
        sum(model.losses(learnable()).values()).backward()
        return {
            name
            for name, parameter in model.named_parameters()
            if parameter.grad is not None and parameter.grad.any()
        }

    first = moved()
    assert (
        first == {name for name, _ in model.named_parameters() if name.endswith("alpha")}
        and len(first) == 4
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.sub_(0.1 * (parameter.grad if parameter.grad is not None else 0))
    second = moved()
    assert second > first and any(name.startswith("resampler.layers") for name in second)
    assert all(name.split(".")[0] in ("blocks", "resampler") for name in second)


def test_frozen_models_are_bit_identical_after_training_and_the_rest_has_moved(model):
    before = copy.deepcopy(model.state_dict())
    steps = list(
        fit(
            model,
            Batches(lambda indices: learnable(len(indices)), 4),
            12,
            Optimisation(1e-2),
            precision=torch.float32,
        )
    )
    assert steps[-1].loss < steps[0].loss
    frozen = [key for key in before if key.startswith(("lm.", "vision."))]
    assert frozen and all(torch.equal(model.state_dict()[key], before[key]) for key in frozen)
    assert not torch.equal(model.state_dict()["resampler.latents"], before["resampler.latents"])
    assert all(
        -1 < block.gate.value < 1 and block.gate.value != 0 for block in model.blocks.values()
    )
    model.train()
    assert not model.lm.training and not model.vision.training


def test_blocks_stand_before_every_kth_layer_and_an_explicit_loop_agrees():
    torch.manual_seed(0)
    config = MODELS["llama"]().config
    config.num_hidden_layers = 4
    lm = language.freeze(type(MODELS["llama"]())(config))
    model = opened(Flamingo(replace(CONFIG, cross_attention_every=2), Tower(), lm))
    assert list(model.blocks) == ["1", "3"]
    ids = page(3, 4)
    media = model.vision_context(pictures())["media"]
    x = model.embed(ids)
    turns = lm.model.rotary_emb(x, torch.arange(ids.shape[1])[None])
    causal = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril()[None, None]
    for number, layer in enumerate(lm.model.layers):
        if str(number) in model.blocks:
            x = model.blocks[str(number)](x, *model.media_mask(ids, media))
        x = layer(
            x, attention_mask=causal, position_embeddings=turns, media=None
        )  # the hook takes media out; none is there
        x = x[0] if isinstance(x, tuple) else x
    torch.testing.assert_close(
        lm.lm_head(lm.model.norm(x)), model(ids, media=media), atol=1e-5, rtol=1e-5
    )
    with pytest.raises(ValueError, match="every 5th layer of 4 is none"):
        Flamingo(replace(CONFIG, cross_attention_every=5), Tower(), type(lm)(config))


def test_a_copy_has_blocks_of_its_own_and_a_fused_model_is_not_fused_twice(model):
    twin, ids = copy.deepcopy(model), page(3, 4)
    before = model(ids, **model.vision_context(pictures()))
    opened(twin)
    assert torch.equal(model(ids, **model.vision_context(pictures())), before)
    assert not torch.equal(twin(ids, **twin.vision_context(pictures())), before)
    with pytest.raises(
        ValueError, match="has cross-attention blocks already; remove their handles first"
    ):
        Flamingo(CONFIG, Tower(), model.lm)


# phi: who sees which picture.


def test_phi_counts_tags_and_the_tag_may_or_may_not_see_its_picture():
    ids = page(2, 1)
    assert build().text_time(ids)[0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert build(config=replace(CONFIG, image_token_attends=False)).text_time(ids)[0].tolist() == [
        0,
        0,
        0,
        0,
        1,
        1,
        1,
        2,
    ]


@pytest.mark.parametrize("rule", [last_image, images_so_far])
@pytest.mark.parametrize("image_token_attends", [True, False])
def test_one_block_measured_is_the_mask_declared(rule, image_token_attends):
    model = opened(
        build(config=replace(CONFIG, media_rule=rule, image_token_attends=image_token_attends))
    )
    ids = page(2, 3, 1)
    media = model.vision_context(pictures(3))["media"]
    y = torch.randn(1, ids.shape[1], 32)

    def block(latents):  # (1, N * R, D) -> (1, T, D)
        return model.blocks["0"](y, *model.media_mask(ids, latents.reshape(3, 3, 24)))

    measured = influence(block, media.detach().reshape(1, 9, 24)) > 0
    declared = rule(model.text_time(ids), torch.arange(1, 4).repeat_interleave(3)).to_bool()[0, 0]
    assert torch.equal(measured, declared) and not declared[:3].any()


def test_before_the_first_picture_the_attention_is_exactly_zero_and_the_feed_forward_still_works(
    model,
):
    block, ids = opened(model).blocks["0"], page(3)
    y = torch.randn(1, ids.shape[1], 32, requires_grad=True)
    latents, sees = model.media_mask(ids, model.vision_context(pictures(1))["media"])
    term = block.attention(block.norm(y), latents, sees)
    assert not term[:, :3].any() and term[:, 3:].abs().amin() > 0
    assert not torch.autograd.grad(term[:, :3].sum(), y)[0].any()
    torch.testing.assert_close(
        block(y, latents, sees)[:, :3],
        (y + block.gate_feedforward(block.feedforward(block.norm_feedforward(y))))[:, :3],
    )
    assert not torch.equal(block(y, latents, sees)[:, :3], y[:, :3])


def test_a_picture_moves_its_own_tokens_directly_later_ones_through_the_language_model_and_earlier_ones_never(
    model,
):
    """Only in the last layer's block there is nothing behind that could carry a picture to later words."""
    ids, one, other = page(3, 3, 3), pictures(3), pictures(3)
    other[1] = pictures(1, seed=9)[0]
    own = model.text_time(ids)[0] == 2

    def moved(model):
        with torch.no_grad():
            return (
                model(ids, **model.vision_context(one)) - model(ids, **model.vision_context(other))
            ).abs().amax(-1)[0] > 0

    whole = moved(opened(model))
    assert (
        whole[own].all()
        and not whole[: int(own.nonzero()[0])].any()
        and whole.nonzero().max() > own.nonzero().max()
    )
    direct = []
    block = model.blocks["0"]
    hook = block.register_forward_hook(lambda module, given, out: direct.append(out))
    for seen in (one, other):
        with torch.no_grad():
            model(ids, **model.vision_context(seen))
    hook.remove()
    assert torch.equal((direct[0] - direct[1]).abs().amax(-1)[0] > 0, own)


def test_text_alone_and_text_in_a_batch_with_pictures_read_alike(model):
    opened(model)
    text, media = page()[:, :3].repeat(1, 2), model.vision_context(pictures(1))["media"]
    alone = model(text)
    both = model(torch.cat([text, page(2)]), media=media)
    torch.testing.assert_close(both[:1], alone, atol=1e-5, rtol=1e-5)


def test_pages_with_different_numbers_of_pictures_read_as_each_by_itself(model):
    opened(model)
    first, second, films = page(2, 2, 2), page(8), pictures(4)
    media = model.vision_context(films)["media"]
    assert first.shape == second.shape
    together = model(torch.cat([first, second]), media=media)
    torch.testing.assert_close(together[:1], model(first, media=media[:3]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together[1:], model(second, media=media[3:]), atol=1e-5, rtol=1e-5)


def test_a_gate_opened_by_hand_changes_the_output_little_by_little():
    model, ids = build(), page(3, 3)
    media = model.vision_context(pictures())["media"]
    closed = model(ids, media=media)
    distances = [
        (opened(model, value)(ids, media=media) - closed).norm().item()
        for value in (0, 1e-3, 1e-2, 1e-1, 1)
    ]
    assert (
        distances[0] == 0
        and distances == sorted(distances)
        and distances[2] == pytest.approx(10 * distances[1], rel=0.3)
    )


@pytest.mark.parametrize("case", ["one each", "all on one", "several", "none"])
def test_words_sorted_by_picture_are_attention_with_a_mask(case):
    """The same numbers and gradients, whether words are sorted, or a mask must do: all on one picture, several pictures a word."""
    torch.manual_seed(0)
    sees = torch.zeros(2, 12, 3, dtype=torch.bool)
    if case == "one each":
        sees[0, 2:5, 0] = sees[0, 5:9, 1] = sees[0, 9:, 2] = sees[1, 1:6, 0] = sees[1, 6:12, 1] = (
            True
        )
    elif case == "all on one":
        sees[:, :, 1] = True
    elif case == "several":
        sees = torch.rand(2, 12, 3) < 0.5
    attention = GroupedAttention(8, 2, 6, 4, bias=False)
    x, groups = (
        torch.randn(2, 12, 8, requires_grad=True),
        torch.randn(2, 3, 5, 6, requires_grad=True),
    )
    direction, inputs = torch.randn(2, 12, 8), [x, groups, *attention.parameters()]
    made = attention(x, groups, sees)
    wanted = Attention.forward(attention, x, groups.flatten(1, 2), expand_groups(sees, 5))
    torch.testing.assert_close(made, wanted)
    assert not made[~sees.any(-1)].any()
    for got, right in zip(
        *(torch.autograd.grad((out * direction).sum(), inputs) for out in (made, wanted))
    ):
        torch.testing.assert_close(got, right)
    shown = attention.weights(x, groups, sees)
    assert torch.equal(shown.any(1).reshape(2, 12, 3, 5).any(-1), sees)


# Resampler: any size, each by itself, time.


def test_latents_are_as_many_whatever_the_size_and_of_each_picture_by_itself():
    resampler = build().resampler
    for frames, patches in ((1, 4), (4, 9), (7, 2)):
        assert resampler(torch.randn(2, frames, patches, 24)).shape == (2, 3, 24)
    features = torch.randn(3, 2, 4, 24)
    changed = features.clone()
    changed[1] += 1
    moved = (resampler(features) - resampler(changed)).abs().amax((1, 2))
    assert moved[1] > 0 and moved[0] == moved[2] == 0


def test_patches_have_no_order_and_frames_have_one_by_their_embeddings_alone():
    resampler, features = build().resampler, torch.randn(1, 4, 5, 24)
    torch.testing.assert_close(
        resampler(features), resampler(features[:, :, torch.randperm(5)]), atol=1e-5, rtol=1e-5
    )
    assert not torch.allclose(resampler(features), resampler(features.flip(1)), atol=1e-3)
    with torch.no_grad():
        resampler.time_embeddings.copy_(
            resampler.time_embeddings[:1].expand_as(resampler.time_embeddings)
        )
    torch.testing.assert_close(
        resampler(features), resampler(features.flip(1)), atol=1e-5, rtol=1e-5
    )


def test_longer_films_stretch_the_time_embeddings():
    resampler = build().resampler
    assert torch.equal(resampler.frame_embeddings(3), resampler.time_embeddings[:3])
    seven = resampler.frame_embeddings(7)
    torch.testing.assert_close(seven[::2], resampler.time_embeddings)
    torch.testing.assert_close(
        seven[1], (resampler.time_embeddings[0] + resampler.time_embeddings[1]) / 2
    )


def test_pictures_and_films_stand_on_one_page_in_their_order(model):
    opened(model)
    mixed = [pictures(1)[0], pictures(3, 1), pictures(1, 2)[0], pictures(3, 3)]
    media = model.vision_context(mixed)["media"]
    for number, one in enumerate(mixed):
        torch.testing.assert_close(
            media[number : number + 1], model.vision_context([one])["media"], atol=1e-5, rtol=1e-5
        )
    ids = page(2, 2, 2, 2)
    backwards = [mixed[0], mixed[1].flip(0), *mixed[2:]]
    moved = (model(ids, media=media) - model(ids, **model.vision_context(backwards))).abs().amax(
        -1
    )[0] > 1e-4
    assert not moved[:6].any() and moved[6:9].any()


# Writing.


def test_written_alike_with_and_without_cache_and_padding(model):
    opened(model)
    ids, media = page(3, 4), model.vision_context(pictures())["media"]
    plain = generation.generate(model, ids, 6, media=media)
    assert torch.equal(
        generation.generate(model, ids, 6, cache=language.new_cache(model.lm), media=media), plain
    )
    padded = torch.cat([torch.zeros(1, 3, dtype=torch.long), ids], 1)
    padding_mask = torch.tensor([[False] * 3 + [True] * ids.shape[1]])
    for cache in (None, language.new_cache(model.lm)):
        assert torch.equal(
            generation.generate(
                model, padded, 6, cache=cache, media=media, padding_mask=padding_mask
            ),
            plain,
        )


def test_beams_each_bring_their_pictures():
    model = opened(build())
    ids, media = page(3, 4), model.vision_context(pictures())["media"]
    best = [
        generation.beam_search(model, ids, 4, 2, END, cache=cache, media=media.repeat(2, 1, 1))
        for cache in (None, language.new_cache(model.lm))
    ]
    assert torch.equal(*best)
    with pytest.raises(ValueError, match="4 image tags in the text for 2 pictures"):
        generation.beam_search(model, ids, 4, 2, END, media=media)


def test_the_gates_reach_is_a_factor_and_changes_nothing_while_they_are_shut():
    model, ids = build(config=replace(CONFIG, residual_scale=(2.0, 5.0))), page(3, 4)
    media = model.vision_context(pictures())["media"]
    assert torch.equal(model(ids, media=media), model.lm(ids).logits)
    block, y = opened(model).blocks["1"], torch.randn(1, ids.shape[1], 32)
    latents, sees = model.media_mask(ids, media)
    looked = y + 5 * block.gate(block.attention(block.norm(y), latents, sees))
    wanted = looked + 5 * block.gate_feedforward(block.feedforward(block.norm_feedforward(looked)))
    torch.testing.assert_close(block(y, latents, sees), wanted, atol=1e-4, rtol=1e-4)


def test_a_quicker_gate_starts_shut_and_opens_as_far_as_its_pace_says():
    ids, gates = page(3, 4), {}
    for gate_lr_scale in (1.0, 10.0):
        model = build(config=replace(CONFIG, gate_lr_scale=gate_lr_scale))
        said = model(ids, media=model.vision_context(pictures())["media"])
        assert torch.equal(said, model.lm(ids).logits)
        said.square().sum().backward()
        gates[gate_lr_scale] = model.blocks["1"].gate
    torch.testing.assert_close(gates[10.0].alpha.grad, 10 * gates[1.0].alpha.grad)
    with torch.no_grad():
        gates[10.0].alpha.fill_(0.05)
        gates[1.0].alpha.fill_(0.5)
    torch.testing.assert_close(gates[10.0].value, gates[1.0].value)


@pytest.mark.parametrize("rule", [last_image, images_so_far])
def test_a_cached_word_pays_for_the_pictures_it_sees(rule):
    model = opened(build(config=replace(CONFIG, media_rule=rule)))
    ids, media = page(3, 4, 2), model.vision_context(pictures(3))["media"]
    latents, sees = model.media_mask(ids, media, start=ids.shape[1] - 1)
    assert latents.shape[1] == sees.shape[-1] == (1 if rule is last_image else 3) and sees.all()
    cache = language.new_cache(model.lm)
    parts = [
        model(ids[:, :end], cache=cache, media=media[: int((ids[:, :end] == TAG).sum())])
        for end in (4, 9, 15)
    ]
    torch.testing.assert_close(
        torch.cat(parts, 1), model(ids[:, :15], media=media), atol=1e-4, rtol=1e-4
    )


def test_new_words_start_as_they_were_and_their_rows_alone_learn():
    model = build(config=replace(CONFIG, trainable_token_ids=(END,)))
    ids = page(3, 3)
    ids[0, 6] = END
    assert torch.equal(model(ids, **model.vision_context(pictures())), model.lm(ids).logits)
    model.losses({"ids": ids, "loss_mask": ids > 9, "pixel_values": pictures()})["lm"].backward()
    assert model.new_embeddings.grad.abs().sum() > 0 and all(
        p.grad is None for p in model.lm.parameters()
    )


def test_losses_take_kept_features_and_score_what_they_are_told():
    model, batch = opened(build()), learnable()
    loss = model.losses(batch)["lm"]
    features = torch.stack(model.encode_images(batch["pixel_values"]))
    torch.testing.assert_close(model.losses({**batch, "features": features})["lm"], loss)
    said = model(batch["ids"], **model.vision_context(batch["pixel_values"])).log_softmax(-1)
    chosen = batch["loss_mask"].nonzero().tolist()
    by_hand = -sum(said[row, place - 1, batch["ids"][row, place]] for row, place in chosen) / len(
        chosen
    )
    torch.testing.assert_close(loss, by_hand)


# Parity with published code.


def copy_resampler(ours, theirs):
    for layer, (attention, forward) in zip(ours.layers, theirs.layers):
        for mine, other in (
            (layer.norm_features, attention.norm_media),
            (layer.norm_latents, attention.norm_latents),
            (layer.attention.query, attention.to_q),
            (layer.attention.key_value, attention.to_kv),
            (layer.attention.out, attention.to_out),
            (layer.norm, forward[0]),
            (layer.feedforward[0], forward[1]),
            (layer.feedforward[2], forward[3]),
        ):
            mine.load_state_dict(other.state_dict())
    ours.norm.load_state_dict(theirs.norm.state_dict())
    with torch.no_grad():
        ours.latents.copy_(theirs.latents)


def copy_block(ours, theirs):
    for mine, other in (
        (ours.norm, theirs.attn.norm),
        (ours.attention.query, theirs.attn.to_q),
        (ours.attention.key_value, theirs.attn.to_kv),
        (ours.attention.out, theirs.attn.to_out),
        (ours.norm_feedforward, theirs.ff[0]),
        (ours.feedforward[0], theirs.ff[1]),
        (ours.feedforward[2], theirs.ff[3]),
    ):
        mine.load_state_dict(other.state_dict())
    with torch.no_grad():
        theirs.attn_gate.fill_(0.4)
        theirs.ff_gate.fill_(-0.6)
        ours.gate.alpha.fill_(0.4)
        ours.gate_feedforward.alpha.fill_(-0.6)


@pytest.mark.skipif(
    importlib.util.find_spec("flamingo_pytorch") is None,
    reason="needs flamingo-pytorch: make bench",
)
def test_parity_with_flamingo_pytorch():
    from flamingo_pytorch import GatedCrossAttentionBlock
    from flamingo_pytorch import PerceiverResampler as PeerResampler

    torch.manual_seed(0)
    config = replace(CONFIG, activation=nn.GELU)
    ours, theirs = (
        PerceiverResampler(config),
        PeerResampler(dim=24, depth=2, dim_head=8, heads=2, num_latents=3, num_media_embeds=5),
    )
    copy_resampler(ours, theirs)
    features = torch.randn(5, 1, 7, 24)
    with torch.no_grad():
        ours.time_embeddings[0] = 0  # theirs counts pictures where the paper counts frames
        theirs.media_pos_emb.zero_()
        torch.testing.assert_close(
            ours(features), theirs(features[:, 0][None])[0], atol=1e-4, rtol=1e-4
        )
    block, peer = GatedXattnDense(24, config), GatedCrossAttentionBlock(dim=24, dim_head=8, heads=2)
    copy_block(block, peer)
    tags = torch.tensor([[False, True, False, False, True, False]])
    latents, y = torch.randn(1, 2, 3, 24), torch.randn(1, 6, 24)
    sees = last_image(phi(tags), torch.tensor([1, 2])).to_bool()[:, 0].expand(1, 6, 2)
    torch.testing.assert_close(
        block(y, latents, sees), peer(y, latents, tags), atol=1e-4, rtol=1e-4
    )


def test_parity_of_the_resampler_with_idefics():
    from transformers import IdeficsConfig
    from transformers.models.idefics.perceiver import IdeficsPerceiverResampler

    torch.manual_seed(0)
    theirs = IdeficsPerceiverResampler(
        IdeficsConfig(vision_config={"embed_dim": 24}), 24, 2, 2, 8, 3
    )
    ours = PerceiverResampler(replace(CONFIG, activation=nn.ReLU))
    for layer, (attention, forward) in zip(ours.layers, theirs.blocks):
        for mine, other in (
            (layer.norm_features, attention.context_layer_norm),
            (layer.norm_latents, attention.latents_layer_norm),
            (layer.attention.query, attention.q_proj),
            (layer.attention.out, attention.output_proj),
            (layer.norm, forward.ln),
            (layer.feedforward[0], forward.fc),
            (layer.feedforward[2], forward.c_proj),
        ):
            mine.load_state_dict(other.state_dict())
        with torch.no_grad():
            layer.attention.key_value.weight.copy_(
                torch.cat([attention.k_proj.weight, attention.v_proj.weight])
            )
    ours.norm.load_state_dict(theirs.layer_norm.state_dict())
    features = torch.randn(4, 1, 7, 24)
    with torch.no_grad():
        ours.latents.copy_(theirs.latents)
        ours.time_embeddings.zero_()
        torch.testing.assert_close(ours(features), theirs(features[:, 0]), atol=1e-4, rtol=1e-4)


def test_parity_of_the_gated_block_with_idefics():
    """Its norms and feed-forward are Llama's, so these are put into ours: attention, gates, zero rows and order are compared."""
    from transformers import IdeficsConfig
    from transformers.models.idefics.modeling_idefics import IdeficsGatedCrossAttentionLayer

    torch.manual_seed(0)
    config = IdeficsConfig(
        hidden_size=24,
        intermediate_size=48,
        num_attention_heads=2,
        alpha_type="float",
        vision_config={"embed_dim": 24},
        dropout=0.0,
    )
    config._attn_implementation = "eager"
    theirs = IdeficsGatedCrossAttentionLayer(config, layer_idx=0).eval()
    ours = GatedXattnDense(24, replace(CONFIG, head_width=12))
    ours.norm, ours.norm_feedforward, ours.feedforward = (
        theirs.input_layernorm,
        theirs.post_attention_layernorm,
        theirs.mlp,
    )
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        ours.attention.query.weight.copy_(theirs.cross_attn.q_proj.weight)
        ours.attention.key_value.weight.copy_(
            torch.cat([theirs.cross_attn.k_proj.weight, theirs.cross_attn.v_proj.weight])
        )
        ours.attention.out.weight.copy_(theirs.cross_attn.o_proj.weight)
        ours.gate.alpha.copy_(theirs.alpha_cross_attn[0])
        ours.gate_feedforward.alpha.copy_(theirs.alpha_dense[0])
        tags = torch.tensor([[False, True, False, False, True, False]])
        sees = last_image(phi(tags), torch.tensor([1, 2])).to_bool()[:, 0]
        mask = expand_groups(sees, 3)
        y, latents = torch.randn(1, 6, 24), torch.randn(1, 2, 3, 24)
        added = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
        wanted = theirs(
            y,
            image_hidden_states=latents.flatten(1, 2),
            image_attention_mask=added,
            cross_attention_gate=mask.any(-1)[:, 0].float(),
        )
    torch.testing.assert_close(ours(y, latents, sees), wanted, atol=1e-4, rtol=1e-4)


def test_attention_can_be_looked_at_and_empty_rows_show_nothing():
    model, ids = opened(build()), page(2, 2)
    media = model.vision_context(pictures())["media"]
    seen = attention_weights(model, lambda: model(ids, media=media))["blocks.0.attention"][0]
    assert not seen[:, :3].any() and torch.allclose(seen[:, 3:].sum(-1), torch.ones(2, 6))


# Bad input: one message, before anything is computed.


@pytest.fixture
def untouchable():
    """A model that fails if anything of it computes."""
    model = build()

    def computed(*_):
        raise AssertionError("computed")

    for part in (model.vision, model.resampler, *language.decoder_layers(model.lm)):
        part.register_forward_pre_hook(computed)
    return model


@pytest.mark.parametrize("count", [1, 3])
def test_more_tags_than_pictures_or_fewer(untouchable, count):
    ids, message = (
        page(2, 2),
        f"2 image tags in the text for {count} pictures; expected one picture",
    )
    with pytest.raises(ValueError, match=message):
        untouchable(ids, media=torch.randn(count, 3, 24))
    with pytest.raises(ValueError, match=message):
        untouchable.losses({"ids": ids, "loss_mask": ids > 9, "pixel_values": pictures(count)})
    with pytest.raises(ValueError, match="2 image tags in the text for 0 pictures"):
        untouchable(ids)


def test_a_film_of_no_frames(untouchable):
    with pytest.raises(ValueError, match="film 1 has no frames; expected at least one"):
        untouchable.vision_context([pictures(2), pictures(0)])
    with pytest.raises(ValueError, match=r"features are \(2, 0, 4, 24\).*at least one frame"):
        build().resample(torch.randn(2, 0, 4, 24))


def test_a_page_longer_than_the_positions(untouchable):
    with pytest.raises(
        ValueError, match="pages of 65 tokens; this language model has positions for 64"
    ):
        untouchable(torch.full((1, 65), 9))


def test_scored_tags(untouchable):
    with pytest.raises(ValueError, match="loss_mask holds a first token or an image token"):
        untouchable.losses(
            {
                "ids": page(2),
                "loss_mask": torch.ones(1, 6, dtype=torch.bool),
                "pixel_values": pictures(1),
            }
        )


def test_a_language_model_whose_layers_cannot_be_found():
    class Odd(nn.Module):
        """Reads vectors, as a decoder does, but has its layers somewhere else."""

        def __init__(self):
            super().__init__()
            self.config, self.embedding = MODELS["llama"]().config, nn.Embedding(9, 32)

        def get_input_embeddings(self):
            return self.embedding

        def forward(self, inputs_embeds):
            return inputs_embeds

    with pytest.raises(ValueError, match="no list of 2 layers among the modules of Odd"):
        Flamingo(CONFIG, Tower(), Odd())
    with pytest.raises(ValueError, match=r"blocks before layers \[7\]; expected some of 0 to 1"):
        language.insert_cross_attention(MODELS["llama"](), {7: nn.Identity()})
