"""BLIP-2: who sees whom, the same numbers as transformers' models, and what stage 2 leaves behind and leaves alone."""

import copy
from dataclasses import replace

import pytest
import torch
from test_language import MODELS
from torch import nn
from torch.nn.functional import cross_entropy, normalize
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2ForImageTextRetrieval,
    Blip2QFormerConfig,
    Blip2QFormerModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    T5Config,
    T5ForConditionalGeneration,
)

from vlmcourse import introspection
from vlmcourse.papers.blip2 import BLIP2, BLIP2EncoderDecoder, Stage1
from vlmcourse.papers.qformer import (
    MASKS,
    QFormer,
    QFormerConfig,
)
from vlmcourse.parts import generation, language
from vlmcourse.parts.attention import Attention
from vlmcourse.parts.image_features import ImageFeatures, patch_features
from vlmcourse.parts.losses import similarity
from vlmcourse.parts.vision import ResNet, ViT
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.optimisation import Optimisation

R, T, SLOT = 3, 5, 4
CONFIG = QFormerConfig(
    vision_width=24, vocabulary=50, queries=R, context=8, width=32, depth=2, heads=4
)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def texts(count=4, length=T, seed=0):
    """Texts of which the second ends in padding."""
    ids = torch.randint(9, 50, (count, length), generator=torch.Generator().manual_seed(seed))
    ids[:, 0] = 1
    ids[1:2, -1] = 0
    return ids


def louder(model):
    """Far from the start, where everything looks alike."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(0.1 * random(*parameter.shape, seed=len(name)))
    return model.eval()


@pytest.fixture
def former():
    torch.manual_seed(0)
    return louder(QFormer(CONFIG))


@pytest.fixture
def vision():
    torch.manual_seed(0)
    return ImageFeatures(ViT(image_size=16, patch=8, width=24, depth=2, heads=2))


@pytest.fixture
def stage1(former, vision):
    torch.manual_seed(1)
    return Stage1(former, vision, embedding=8)


def batch(count=4):
    return {"pixel_values": random(count, 3, 16, 16), "ids": texts(count)}


# Who sees whom.


def declared(objective):
    """The mask table of the paper, written out by hand: (R + T, R + T)."""
    may = torch.zeros(R + T, R + T, dtype=torch.bool)
    may[:R, :R] = True
    may[:R, R:] = objective == "itm"
    may[R:, :R] = objective != "itc"
    may[R:, R:] = torch.ones(T, T).tril().bool() if objective == "itg" else True
    return may


@pytest.mark.parametrize("objective", MASKS)
def test_the_mask_is_the_paper_s_and_moving_a_token_moves_exactly_who_may_see_it(former, objective):
    """Each position is replaced by a random vector (a constant added would vanish in LayerNorm)."""
    image, ids = random(1, 6, 24), texts(1)
    mask = former.mask(objective, ids)
    assert torch.equal(mask[0, 0], declared(objective))
    x = random(1, R + T, 32, seed=3)

    def run(x):
        return former._run(x, R, image, mask)[0]

    moved = torch.empty(R + T, R + T, dtype=torch.bool)
    for key in range(R + T):
        other = x.clone()
        other[0, key] = random(32, seed=100 + key)
        moved[:, key] = (run(other) - run(x)).abs().amax(-1) > 1e-5
    # two layers: what a seen token saw is seen too
    reach = declared(objective).float()
    assert torch.equal(moved, (reach @ reach) > 0) and torch.equal(moved, declared(objective))


@pytest.mark.parametrize("objective", MASKS)
def test_padding_is_seen_by_nobody(former, objective):
    image, ids = random(4, 6, 24), texts()
    mask = former.mask(objective, ids)
    assert not mask[1, ..., -1].any() and mask[0, ..., -1].any()
    longer = torch.cat([ids, ids.new_zeros(4, 2)], dim=1)
    for one, other in zip(
        former(image, ids, mask), former(image, longer, former.mask(objective, longer))
    ):
        torch.testing.assert_close(one[1, :4], other[1, :4], atol=1e-5, rtol=1e-5)


def test_queries_come_out_alike_for_contrast_and_generation_and_otherwise_for_match(former):
    image, ids = random(4, 6, 24), texts()
    contrast, match, generation = (
        former(image, ids, former.mask(objective, ids))[0] for objective in MASKS
    )
    torch.testing.assert_close(contrast, generation, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(contrast, former.query_states(image), atol=1e-5, rtol=1e-5)
    assert (contrast - match).abs().max() > 0.05


def test_text_that_reuses_the_queries_keys_is_text_of_one_masked_pass(former):
    image, ids = random(4, 6, 24), texts()
    mask = former.mask("itg", ids)
    former.query_states(image, cache := {})
    torch.testing.assert_close(
        former.text_states(ids, mask[:, :, R:], cache),
        former(image, ids, mask)[1],
        atol=1e-5,
        rtol=1e-5,
    )
    alone = former.text_states(ids, former.mask("itc", ids)[:, :, R:, R:])
    torch.testing.assert_close(
        alone, former(image, ids, former.mask("itc", ids))[1], atol=1e-5, rtol=1e-5
    )


def test_only_the_first_rows_are_computed_and_come_out_the_same(former):
    image, ids = random(4, 6, 24), texts()
    mask = former.mask("itm", ids)
    whole, (first, rest) = former(image, ids, mask)[0], former(image, ids, mask, first=R)
    torch.testing.assert_close(first, whole, atol=1e-5, rtol=1e-5)
    assert rest.shape[1] == 0


def test_an_image_projected_once_is_looked_at_alike(former):
    image, ids = random(4, 6, 24), texts()
    projected, mask = former.project_kv(image), former.mask("itm", ids)
    assert [seen is None for seen in projected] == [False, True]
    assert torch.equal(former.query_states(projected), former.query_states(image))
    assert torch.equal(former(projected, ids, mask)[0], former(image, ids, mask)[0])
    with pytest.raises(ValueError, match="4 images and 2 texts"):
        former(projected, texts(2), mask)


def test_queries_alone_look_at_the_image_in_every_second_layer(former):
    looks = [
        name
        for name, module in former.named_modules()
        if isinstance(module, Attention) and name.endswith("cross_attention")
    ]
    assert looks == ["layers.0.cross_attention"]
    assert (
        len(
            [
                1
                for layer in QFormer(replace(CONFIG, depth=5)).layers
                if layer.cross_attention is not None
            ]
        )
        == 3
    )
    assert (
        former.layers[0].cross_attention.key_value.in_features == 24
        and former.layers[0].attention.key_value.in_features == 32
    )
    seen = [former.query_states(random(1, 6, 24, seed=seed)) for seed in (0, 1)]
    assert (seen[0] - seen[1]).abs().max() > 0.01
    for parameter in former.layers[0].cross_attention.out.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(*(former.query_states(random(1, 6, 24, seed=seed)) for seed in (0, 1)))


def test_one_can_look_at_who_looks_where(former):
    """Attention weights from outside: queries over patches, and who looks at whom is what the mask says."""
    image, ids = random(1, 6, 24), texts(1)
    mask = former.mask("itg", ids)
    seen = introspection.attention_weights(former, lambda: former(image, ids, mask))
    assert set(seen) == {"layers.0.attention", "layers.0.cross_attention", "layers.1.attention"}
    assert seen["layers.0.cross_attention"].shape == (1, 4, R, 6)
    torch.testing.assert_close(seen["layers.0.cross_attention"].sum(-1), torch.ones(1, 4, R))
    assert torch.equal(seen["layers.1.attention"][0].amax(0) > 0, mask[0, 0])
    assert introspection.attention_weights(former, lambda: former.query_states(image, {}))[
        "layers.1.attention"
    ].shape == (1, 4, R, R)


def test_text_and_queries_have_feed_forwards_of_their_own_alike_at_first():
    torch.manual_seed(0)
    former = QFormer(CONFIG)
    layer = former.layers[1]
    assert (
        torch.equal(layer.feedforward_queries[0].weight, layer.feedforward_text[0].weight)
        and layer.feedforward_queries is not layer.feedforward_text
    )
    ids = texts()
    former.text_states(ids, former.mask("itc", ids)[:, :, R:, R:]).square().sum().backward()
    assert (
        layer.feedforward_queries[0].weight.grad is None
        and layer.feedforward_text[0].weight.grad.abs().sum() > 0
    )
    former.zero_grad()
    former.query_states(random(2, 6, 24)).square().sum().backward()
    assert (
        layer.feedforward_text[0].weight.grad is None
        and layer.feedforward_queries[0].weight.grad.abs().sum() > 0
    )
    assert not torch.allclose(*former.queries[:2], atol=1e-3) and 0.01 < former.queries.std() < 0.03


# The objectives.


def test_the_image_s_score_is_its_best_query_s_and_only_that_query_learns_from_it(stage1):
    image, ids = random(4, 6, 24), texts()
    queries, text = stage1.encode_image(image), stage1.encode_text(ids)
    assert queries.norm(dim=-1).allclose(torch.ones(4, R)) and text.norm(dim=-1).allclose(
        torch.ones(4)
    )
    scores = similarity(queries, text).detach()
    queries, text = queries.detach(), text.detach()
    for i in range(4):
        for j in range(4):
            assert scores[i, j].item() == pytest.approx(
                max(float(queries[i, r] @ text[j]) for r in range(R)), abs=1e-6
            )
    torch.testing.assert_close(similarity(queries[:, [2, 0, 1]], text), scores)
    queries.requires_grad_()
    similarity(queries, text)[2, 3].backward()
    best = (queries[2] @ text[3]).argmax()
    assert queries.grad.abs().sum(-1).nonzero().tolist() == [[2, int(best)]]


def test_every_query_votes_on_a_match(stage1):
    image, ids = random(4, 6, 24), texts()
    read = stage1.cls_ids(ids)
    queries, _ = stage1.qformer(image, read, stage1.qformer.mask("itm", read))
    votes = torch.stack([stage1.itm_head(queries[:, r]) for r in range(R)])
    torch.testing.assert_close(stage1.itm_logits(image, ids), votes.mean(0), atol=1e-5, rtol=1e-5)


def test_texts_start_with_the_token_of_their_use(stage1):
    ids = texts()
    assert (stage1.cls_ids(ids)[:, 0] == 6).all() and (stage1.dec_ids(ids)[:, 0] == 8).all()
    assert torch.equal(stage1.cls_ids(ids)[:, 1:], ids[:, 1:])
    torch.testing.assert_close(stage1.encode_text(ids), stage1.encode_text(stage1.dec_ids(ids)))


@pytest.mark.parametrize("positive_groups", [None, torch.tensor([7, 1, 7, 2])])
def test_keys_used_again_give_the_three_losses_and_gradients_of_three_masked_passes(
    stage1, positive_groups
):
    found = []
    for losses in (stage1.losses_unfused, stage1.losses):
        torch.manual_seed(5)  # the same negatives are drawn
        stage1.zero_grad()
        values = losses(
            {**batch(), "positive_groups": positive_groups}
            if positive_groups is not None
            else batch()
        )
        sum(values.values()).backward()
        found.append(
            (
                values,
                {
                    name: p.grad.clone()
                    for name, p in stage1.named_parameters()
                    if p.grad is not None
                },
            )
        )
    assert set(found[0][0]) == {"itc", "itm", "itg"}
    for (values, gradients), (others, theirs) in [found]:
        for name in values:
            torch.testing.assert_close(values[name], others[name], atol=1e-5, rtol=1e-5)
        assert set(gradients) == set(theirs)
        for name in gradients:
            torch.testing.assert_close(
                gradients[name], theirs[name], atol=1e-5, rtol=1e-3, msg=name
            )


def test_contrast_is_smoothed_cross_entropy_both_ways(stage1):
    image, text = normalize(random(4, R, 8), dim=-1), normalize(random(4, 8, seed=1), dim=-1)
    loss, own = stage1._itc_loss(image, text, None)
    scores = torch.stack([(image[i] @ text.T).amax(0) for i in range(4)]) / 0.07
    torch.testing.assert_close(own, scores)
    target = 0.9 * torch.eye(4) + 0.1 / 4
    by_hand = (
        -(target * scores.log_softmax(-1)).sum(1).mean() / 2
        - (target * scores.T.log_softmax(-1)).sum(1).mean() / 2
    )
    torch.testing.assert_close(loss, by_hand)
    repeated, _ = stage1._itc_loss(image, text, torch.tensor([1, 1, 2, 3]))
    assert not torch.allclose(repeated, loss)


def test_generation_scores_each_word_given_the_words_before_it_and_never_padding(stage1):
    one = batch()
    write = stage1.dec_ids(one["ids"])
    said = stage1(one["ids"], image=patch_features(stage1.vision, one["pixel_values"]))
    losses = [
        cross_entropy(said[row, place - 1], write[row, place], label_smoothing=0.1)
        for row in range(4)
        for place in range(1, T)
        if write[row, place]
    ]
    torch.testing.assert_close(
        stage1.losses(one)["itg"], torch.stack(losses).mean(), atol=1e-5, rtol=1e-5
    )
    assert len(losses) == 4 * (T - 1) - 1


def test_the_temperature_keeps_its_bounds(stage1):
    for wild, kept in ((-0.2, 0.001), (3.0, 0.5), (0.1, 0.1)):
        stage1.temperature.data.fill_(wild)
        stage1.after_step()
        assert stage1.temperature.item() == pytest.approx(kept)


def test_features_kept_are_as_good_as_pixels(stage1, vision):
    one, found = batch(), []
    for given in (
        one,
        {"features": patch_features(vision, one["pixel_values"]), "ids": one["ids"]},
    ):
        torch.manual_seed(5)
        found.append(sum(stage1.losses(given).values()))
    torch.testing.assert_close(*found)


# The same numbers as transformers'.

HF = dict(
    vocab_size=50,
    hidden_size=32,
    num_hidden_layers=4,
    num_attention_heads=4,
    intermediate_size=48,
    pad_token_id=0,
    cross_attention_frequency=2,
    encoder_hidden_size=24,
    max_position_embeddings=16,
    use_qformer_text_input=True,
)
VISION = dict(
    hidden_size=24,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=2,
    image_size=16,
    patch_size=8,
    initializer_range=0.02,
)  # the default, 1e-10, makes all images alike


def shaken(model):
    """Random weights everywhere: queries are zero at first, norms and biases trivial, and would hide mistakes."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("objective", MASKS)
def test_one_masked_pass_is_transformers_q_former(objective):
    theirs = shaken(Blip2QFormerModel(Blip2QFormerConfig(**HF)))
    ours, image, ids = QFormer.from_hf(theirs), random(4, 6, 24), texts()
    mask, R = ours.mask(objective, ids), ours.config.queries
    given = torch.cat([ours.queries.expand(4, -1, -1), ours.embed(ids)], dim=1)
    with torch.no_grad():
        expected = theirs(
            given, query_length=R, attention_mask=mask, encoder_hidden_states=image
        ).last_hidden_state
        found = torch.cat(ours(image, ids, mask), dim=1)
    padding_mask = torch.cat([torch.ones(4, R, dtype=torch.bool), ids != 0], dim=1)
    torch.testing.assert_close(found[padding_mask], expected[padding_mask], atol=1e-4, rtol=1e-4)
    assert [layer.cross_attention is not None for layer in ours.layers] == [
        True,
        False,
        True,
        False,
    ]


def test_contrast_and_match_are_transformers_image_text_retrieval():
    theirs = shaken(
        Blip2ForImageTextRetrieval(
            Blip2Config(
                vision_config=VISION,
                qformer_config=HF,
                num_query_tokens=R,
                image_text_hidden_size=8,
                image_token_index=None,
                text_config=dict(
                    model_type="opt",
                    hidden_size=32,
                    num_hidden_layers=1,
                    num_attention_heads=2,
                    vocab_size=50,
                ),
            )
        )
    )
    ours, pixel_values, ids = Stage1.from_hf(theirs), random(4, 3, 16, 16), texts()
    image, read = patch_features(ours.vision, pixel_values), ours.cls_ids(ids)
    options = dict(pixel_values=pixel_values, input_ids=read, attention_mask=(read != 0).long())
    with torch.no_grad():
        expected = theirs(**options).logits_per_image
        found = similarity(ours.encode_image(image), ours.encode_text(ids))
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        assert expected.std() > 0.01
        expected = theirs(**options, use_image_text_matching_head=True).logits_per_image
        torch.testing.assert_close(ours.itm_logits(image, ids), expected, atol=1e-4, rtol=1e-4)
        assert expected.std() > 0.01


OPT = dict(
    model_type="opt",
    hidden_size=32,
    ffn_dim=48,
    num_hidden_layers=2,
    num_attention_heads=2,
    vocab_size=50,
    word_embed_proj_dim=32,
    max_position_embeddings=32,
    pad_token_id=1,
)
T5 = dict(
    model_type="t5",
    d_model=32,
    d_ff=48,
    d_kv=16,
    num_layers=2,
    num_heads=2,
    vocab_size=50,
    decoder_start_token_id=0,
    pad_token_id=0,
)


@pytest.mark.parametrize("text", [OPT, T5], ids=["opt", "t5"])
def test_stage_2_is_transformers_conditional_generation(text):
    theirs = shaken(
        Blip2ForConditionalGeneration(
            Blip2Config(
                vision_config=VISION,
                qformer_config={**HF, "use_qformer_text_input": False},
                num_query_tokens=R,
                text_config=text,
                image_token_index=SLOT,
            )
        )
    )
    ours, pixel_values = BLIP2.from_hf(theirs), random(2, 3, 16, 16)
    ids = torch.cat([torch.full((2, R), SLOT), texts(2) + 5], dim=1)  # + 5: no padding, no slot
    with torch.no_grad():
        if text is T5:
            said = texts(2, 4, seed=9)
            expected = theirs(pixel_values, ids, decoder_input_ids=said).logits
            found = ours(said, encoder_ids=ids, **ours.vision_context(pixel_values))
        else:
            expected, found = (
                theirs(pixel_values, ids).logits,
                ours(ids, **ours.vision_context(pixel_values)),
            )
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert isinstance(ours, BLIP2EncoderDecoder) == (text is T5)
    assert (
        ours.vision_context(pixel_values)["prefix"][:R]
        - ours.vision_context(pixel_values)["prefix"][R:]
    ).abs().max() > 0.01


def test_from_hf_copies():
    theirs = shaken(
        Blip2ForConditionalGeneration(
            Blip2Config(
                vision_config=VISION,
                qformer_config={**HF, "use_qformer_text_input": False},
                num_query_tokens=R,
                text_config=OPT,
                image_token_index=SLOT,
            )
        )
    )
    before = copy.deepcopy(theirs.state_dict())
    ours = BLIP2.from_hf(theirs)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in theirs.state_dict().items())
    assert theirs.language_model.training == theirs.training and all(
        p.requires_grad for p in theirs.parameters()
    )


# Stage 2.


def prompt(count=2):
    words = torch.randint(9, 50, (count, 5), generator=torch.Generator().manual_seed(count))
    ids = torch.cat([torch.tensor([[1] + [SLOT] * R]).repeat(count, 1), words], dim=1)
    return {
        "pixel_values": random(count, 3, 16, 16),
        "ids": ids,
        "loss_mask": torch.arange(ids.shape[1])[None].expand(count, -1) > R,
    }


def frozen_lm(name="llama"):
    torch.manual_seed(2)
    return language.freeze(louder(MODELS[name]()))


@pytest.mark.parametrize("name", MODELS)
def test_tower_and_language_model_are_bit_identical_after_both_stages(stage1, name):
    lm = frozen_lm(name)
    before = copy.deepcopy((stage1.vision.state_dict(), lm.state_dict()))
    queries = stage1.qformer.queries.detach().clone()
    one = [
        step.losses
        for step in fit(
            stage1,
            Batches(lambda indices: batch(len(indices)), 4),
            12,
            Optimisation(2e-3),
            precision=torch.float32,
        )
    ]
    model = BLIP2(stage1.qformer, stage1.vision, lm, SLOT)
    learnt = stage1.qformer.queries.detach().clone()
    two = [
        step.loss
        for step in fit(
            model,
            Batches(lambda indices: prompt(len(indices)), 4),
            12,
            Optimisation(2e-3),
            precision=torch.float32,
        )
    ]
    assert one[-1]["itc"] < one[0]["itc"] and one[-1]["itg"] < one[0]["itg"] and two[-1] < two[0]
    assert not torch.equal(queries, learnt) and not torch.equal(model.qformer.queries, learnt)
    assert torch.equal(stage1.qformer.queries, learnt)  # stage 1's model stays as it was
    for module, kept in zip((model.vision, model.lm), before):
        assert all(torch.equal(value, kept[key]) for key, value in module.state_dict().items())
        assert not any(p.requires_grad for p in module.parameters())
    model.train()
    assert not model.vision.training and not model.lm.training and model.qformer.training


def test_stage_2_has_no_text_side_left_and_all_the_rest_of_the_q_former_learns(stage1):
    model = BLIP2(stage1.qformer, stage1.vision, frozen_lm(), SLOT)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    assert not [
        name
        for name in names
        if any(part in name for part in ("text", "qformer.words", "positions", "head", "itm"))
    ]
    kept = {
        name
        for name, _ in stage1.qformer.named_parameters()
        if not any(part in name for part in ("text", "words", "positions"))
    }
    assert set(names) == {f"qformer.{name}" for name in kept} | {
        "language_projection.weight",
        "language_projection.bias",
    }
    for name in kept:
        assert torch.equal(
            model.get_parameter(f"qformer.{name}"), stage1.qformer.get_parameter(name)
        )
    model.losses(prompt())["lm"].backward()
    assert all(model.get_parameter(name).grad is not None for name in names)
    assert all(p.grad is None for p in model.lm.parameters())
    with pytest.raises(ValueError, match="no text side: stage 2 leaves it behind"):
        model.qformer(random(2, 6, 24), texts(2), None)
    with pytest.raises(ValueError, match="nothing to compare images with"):
        Stage1(model.qformer, stage1.vision)


@pytest.mark.parametrize("size, patches", [(16, 5), (64, 65)])
def test_the_prefix_is_as_long_for_a_small_image_as_for_a_large_one(former, size, patches):
    vision = ImageFeatures(ViT(image_size=size, patch=8, width=24, depth=2, heads=2))
    model = BLIP2(former, vision, frozen_lm(), SLOT)
    pixel_values = random(2, 3, size, size)
    assert patch_features(vision, pixel_values).shape == (2, patches, 24)
    assert model.vision_context(pixel_values)["prefix"].shape == (2 * R, 32)


def test_text_without_pictures_is_the_bare_model_and_a_picture_changes_what_is_said(former, vision):
    model, ids = BLIP2(former, vision, frozen_lm(), SLOT), prompt()["ids"]
    assert torch.equal(model(ids[:, R + 1 :]), model.lm(ids[:, R + 1 :]).logits)
    one, other = (
        model(ids, **model.vision_context(random(2, 3, 16, 16, seed=seed)))[:, R:]
        for seed in (0, 1)
    )
    assert (one - other).abs().max() > 1e-3


def test_only_words_to_say_are_scored(former, vision):
    model, one = BLIP2(former, vision, frozen_lm(), SLOT), prompt()
    said = model(one["ids"], **model.vision_context(one["pixel_values"])).log_softmax(-1)
    chosen = one["loss_mask"].nonzero().tolist()
    by_hand = -sum(said[row, place - 1, one["ids"][row, place]] for row, place in chosen) / len(
        chosen
    )
    torch.testing.assert_close(model.losses(one)["lm"], by_hand)
    with pytest.raises(ValueError, match="expected words only"):
        model.losses({**one, "loss_mask": torch.ones_like(one["loss_mask"])})


def test_captions_are_written_alike_with_and_without_cache_and_padding(former, vision):
    model, one = BLIP2(former, vision, frozen_lm(), SLOT), prompt()
    seen = model.vision_context(one["pixel_values"])
    plain = generation.generate(model, one["ids"], 6, **seen)
    assert torch.equal(
        generation.generate(model, one["ids"], 6, cache=language.new_cache(model.lm), **seen), plain
    )
    padded = torch.cat([torch.zeros(2, 3, dtype=torch.long), one["ids"]], 1)
    padding_mask = torch.tensor([[False] * 3 + [True] * one["ids"].shape[1]] * 2)
    assert torch.equal(
        generation.generate(
            model, padded, 6, cache=language.new_cache(model.lm), padding_mask=padding_mask, **seen
        ),
        plain,
    )


def test_an_encoder_decoder_reads_prefix_and_queries_and_learns_the_suffix(former, vision):
    torch.manual_seed(3)
    lm = language.freeze(
        T5ForConditionalGeneration(T5Config(**{k: v for k, v in T5.items() if k != "model_type"}))
    )
    model, one, suffix = BLIP2EncoderDecoder(former, vision, lm, SLOT), prompt(), texts(2, 4)
    suffix[:, 0] = 0
    given = {
        "pixel_values": one["pixel_values"],
        "encoder_ids": one["ids"],
        "ids": suffix,
        "loss_mask": suffix != 0,
    }
    before = copy.deepcopy(lm.state_dict())
    said = model(
        suffix, encoder_ids=one["ids"], **model.vision_context(one["pixel_values"])
    ).log_softmax(-1)
    chosen = given["loss_mask"].nonzero().tolist()
    by_hand = -sum(said[row, place - 1, suffix[row, place]] for row, place in chosen) / len(chosen)
    torch.testing.assert_close(model.losses(given)["lm"], by_hand)
    losses = [
        step.loss
        for step in fit(
            model,
            Batches(lambda indices: given, 2),
            10,
            Optimisation(3e-3),
            precision=torch.float32,
        )
    ]
    assert losses[-1] < losses[0] and all(
        torch.equal(value, before[key]) for key, value in lm.state_dict().items()
    )
    other = model(
        suffix, encoder_ids=one["ids"], **model.vision_context(random(2, 3, 16, 16, seed=7))
    ).log_softmax(-1)
    assert (
        other
        - model(
            suffix, encoder_ids=one["ids"], **model.vision_context(one["pixel_values"])
        ).log_softmax(-1)
    ).abs().max() > 1e-4
    assert generation.generate(
        model, suffix[:, :1], 3, encoder_ids=one["ids"], **model.vision_context(one["pixel_values"])
    ).shape == (2, 3)


# Any image encoder.


def test_the_second_last_layer_s_features_are_read_and_the_original_stays():
    torch.manual_seed(0)
    vit = ViT(image_size=16, patch=8, width=24, depth=3, heads=2)
    cut, pixel_values = ImageFeatures(vit), random(2, 3, 16, 16)
    x = vit.embed(pixel_values)
    for block in vit.transformer.blocks[:2]:
        x = block(x)
    torch.testing.assert_close(patch_features(cut, pixel_values), x)
    assert len(vit.transformer.blocks) == 3 and all(p.requires_grad for p in vit.parameters())
    assert not any(p.requires_grad for p in cut.parameters())
    with pytest.raises(ValueError, match="has 1 blocks.*expected at least 2"):
        ImageFeatures(ViT(image_size=16, patch=8, width=24, depth=1, heads=2))


def test_towers_of_transformers_and_residual_networks_work_too(former):
    torch.manual_seed(0)
    theirs = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=24,
            intermediate_size=48,
            num_hidden_layers=3,
            num_attention_heads=2,
            image_size=16,
            patch_size=8,
        )
    ).eval()
    cut, pixel_values = ImageFeatures(theirs), random(2, 3, 16, 16)
    expected = theirs(pixel_values, output_hidden_states=True).hidden_states[-2]
    torch.testing.assert_close(patch_features(cut, pixel_values), expected)
    assert Stage1(former, cut).losses(batch())["itc"] > 0
    resnet = language.freeze(ResNet(16, (1,), 6, 2))
    assert resnet.width == 24 and Stage1(former, resnet).losses(batch())["itc"] > 0


# What goes wrong, and what is said about it.


@pytest.mark.parametrize(
    "image, ids, words",
    [
        (
            random(2, 6, 20),
            texts(2),
            r"\(2, 6, 20\); expected \(batch, patches, 24\).*encoder of width 24",
        ),
        (random(2, 6, 24), texts(2, 9), "texts of 9 tokens; this model reads at most 8"),
        (random(3, 6, 24), texts(2), "3 images and 2 texts; expected as many of each"),
        (random(2, 6, 24), texts(2) + 30, "outside the vocabulary of 50.*another tokenizer"),
        (random(2, 6, 24), texts(2).float(), "expected integers"),
    ],
)
def test_features_and_texts_that_do_not_fit_are_explained(stage1, image, ids, words):
    with pytest.raises(ValueError, match=words):
        stage1.losses({"features": image, "ids": ids})
    with pytest.raises(ValueError, match=words):
        stage1.qformer(image, ids, None)


def test_an_encoder_or_a_projection_of_another_width_is_explained(former, vision):
    with pytest.raises(
        ValueError, match=r"features are 16 wide; this Q-Former expects 24.*vision_width=16"
    ):
        Stage1(former, ViT(image_size=16, patch=8, width=16, depth=1, heads=2))
    with pytest.raises(
        ValueError,
        match=r"projection maps 32 to 48 numbers.*words 32. Expected nn.Linear\(32, 32\)",
    ):
        BLIP2(former, vision, frozen_lm(), SLOT, nn.Linear(32, 48))
    with pytest.raises(ValueError, match="3 vectors for 6 slots"):
        model = BLIP2(former, vision, frozen_lm(), SLOT)
        model(prompt()["ids"], **model.vision_context(random(1, 3, 16, 16)))
