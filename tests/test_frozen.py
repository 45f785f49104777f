"""Frozen: the invariants of the paper, on every family of language models."""

import copy

import pytest
import torch
from test_language import MODELS, RELATIVE
from torch import nn

from benchmarks import replicate_frozen
from vlmcourse import recipes, world
from vlmcourse.evaluation import generate_texts
from vlmcourse.papers.frozen import Frozen, FrozenConfig
from vlmcourse.parts import generation, language
from vlmcourse.recipes.frozen import IMAGE_PREFIX, ONE_THING
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.world import prompts

SLOT, END = 4, 2
CONFIG = FrozenConfig(
    image_token_id=SLOT, image_size=16, patch=8, vision_width=16, vision_depth=1, vision_heads=2
)


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.fixture
def model(name):
    torch.manual_seed(0)
    lm = MODELS[name]()
    with torch.no_grad():
        for parameter in lm.parameters():
            parameter.mul_(3)
    return Frozen(CONFIG, language.freeze(lm))


def pixel_values(count=2, seed=0):
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def batch(count=2):
    """<slot> <slot> and a caption of five words, of which the last is padding in the second text."""
    words = torch.randint(5, 50, (count, 5), generator=torch.Generator().manual_seed(count))
    ids = torch.cat([torch.tensor([[1, SLOT, SLOT]]).repeat(count, 1), words], dim=1)
    loss_mask = (ids != SLOT) & (torch.arange(8) > 2)
    loss_mask[1:, -1] = False
    return {"pixel_values": pixel_values(count), "ids": ids, "loss_mask": loss_mask}


def test_the_language_model_is_bit_identical_after_training(model):
    before = copy.deepcopy(model.lm.state_dict())
    encoder = copy.deepcopy(model.vision.state_dict())
    losses = [
        step.loss
        for step in fit(
            model,
            Batches(lambda indices: batch(len(indices)), 4),
            15,
            Optimisation(3e-3),
            precision=torch.float32,
        )
    ]
    assert losses[-1] < losses[0]
    assert all(torch.equal(value, before[key]) for key, value in model.lm.state_dict().items())
    assert any(
        not torch.equal(value, encoder[key]) for key, value in model.vision.state_dict().items()
    )
    model.train()
    assert not model.lm.training and model.vision.training


def test_gradients_cross_the_language_model_and_leave_nothing_there(model):
    prefix = model.encode_prefix(batch()["pixel_values"]).detach().requires_grad_()
    model(batch()["ids"], prefix=prefix)[:, 3:].logsumexp(-1).sum().backward()
    assert (prefix.grad.norm(dim=-1) > 0).all() and all(
        p.grad is None for p in model.lm.parameters()
    )


def test_what_learns_is_the_encoder_and_one_matrix(model):
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    encoder = sum(p.numel() for p in model.vision.parameters())
    assert trainable == encoder + 16 * 2 * 32 + 2 * 32


def test_text_without_pictures_is_the_bare_model_bit_for_bit(model):
    ids = batch()["ids"][:, 3:]
    assert torch.equal(model(ids), model.lm(ids).logits)


def test_another_picture_changes_the_caption_and_a_blind_model_has_none(model):
    ids = batch()["ids"]
    one, other = (
        model(ids, prefix=model.encode_prefix(pixel_values(2, seed)))[:, 3:] for seed in (0, 1)
    )
    assert not torch.allclose(one, other, atol=1e-3)
    grey = [model(ids, prefix=model.encode_prefix(pixel_values(2, seed) * 0)) for seed in (0, 1)]
    assert torch.equal(*grey)


def test_only_caption_tokens_are_scored(model):
    one = batch()
    loss = model.losses(one)["lm"]
    said = model(one["ids"], prefix=model.encode_prefix(one["pixel_values"])).log_softmax(-1)
    chosen = one["loss_mask"].nonzero().tolist()
    by_hand = -sum(said[row, place - 1, one["ids"][row, place]] for row, place in chosen) / len(
        chosen
    )
    torch.testing.assert_close(loss, by_hand)
    padded = {**one, "ids": one["ids"].clone()}
    padded["ids"][1, -1] = 9  # what stands in the padding
    torch.testing.assert_close(model.losses(padded)["lm"], loss)
    with pytest.raises(ValueError, match="expected words only"):
        model.losses({**one, "loss_mask": torch.ones(2, 8, dtype=torch.bool)})


def prompt(pictures):
    """Several pictures, each with two words after it."""
    parts = [torch.tensor([[SLOT, SLOT, 10 + number, 20 + number]]) for number in range(pictures)]
    return torch.cat([torch.tensor([[1]]), *parts], dim=1)


def test_several_pictures_in_their_order(model):
    ids, images = prompt(3), pixel_values(3)
    assert model.encode_prefix(images).shape == (6, 32)
    here = model(ids, prefix=model.encode_prefix(images))
    swapped = model(ids, prefix=model.encode_prefix(images[[1, 0, 2]]))
    assert torch.allclose(here[:, :1], swapped[:, :1], atol=1e-4) and not torch.allclose(
        here[:, -1], swapped[:, -1], atol=1e-3
    )


@pytest.mark.parametrize("pictures", [2, 4])
def test_more_pictures_than_places_or_fewer_are_explained(model, pictures):
    with pytest.raises(
        ValueError,
        match=f"{2 * pictures} vectors for 6 slots.*as many pictures as the text has places",
    ):
        model(prompt(3), prefix=model.encode_prefix(pixel_values(pictures)))
    with pytest.raises(ValueError, match="0 vectors for 6 slots"):
        model(prompt(3))


def test_captions_are_written_alike_with_and_without_cache_and_padding(model):
    ids, images = prompt(2), pixel_values(2)
    prefix = model.encode_prefix(images)
    plain = generation.generate(model, ids, 6, prefix=prefix)
    cached = generation.generate(model, ids, 6, cache=language.new_cache(model.lm), prefix=prefix)
    assert torch.equal(plain, cached)
    padded, padding_mask = (
        torch.cat([torch.zeros(1, 3, dtype=torch.long), ids], 1),
        torch.tensor([[False] * 3 + [True] * ids.shape[1]]),
    )
    assert torch.equal(
        generation.generate(model, padded, 6, prefix=prefix, padding_mask=padding_mask), plain
    )
    assert torch.equal(
        generation.generate(
            model,
            padded,
            6,
            cache=language.new_cache(model.lm),
            prefix=prefix,
            padding_mask=padding_mask,
        ),
        plain,
    )


def test_relative_positions_let_a_picture_stand_anywhere(model, name):
    """With relative positions a prompt reads the same wherever it starts; with learned ones position itself is a word."""
    x = model.embeddings(prompt(2), model.encode_prefix(pixel_values(2)))
    start, later = (
        model.lm(inputs_embeds=x, position_ids=torch.arange(at, at + x.shape[1])[None]).logits
        for at in (0, 9)
    )
    assert torch.allclose(start, later, atol=1e-4) == (name in RELATIVE)


def test_finetuned_is_the_same_model_without_the_freeze():
    torch.manual_seed(0)
    model = Frozen(CONFIG, MODELS["llama"]())
    before = copy.deepcopy(model.lm.state_dict())
    list(fit(model, Batches(lambda indices: batch(len(indices)), 4), 3, precision=torch.float32))
    assert any(not torch.equal(value, before[key]) for key, value in model.lm.state_dict().items())


def test_a_finetuned_language_model_learns_at_a_share_of_the_rate():
    model = nn.Module()
    model.lm, model.connector = nn.Linear(3, 3), nn.Linear(3, 3)
    optimisation = replicate_frozen.SlowLanguageModel(share=0.1)
    optimiser = optimisation.optimiser(model, torch.device("cpu"))
    rate = optimisation.set_learning_rate(optimiser, 50, 100)
    rates = {
        id(parameter): group["lr"]
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    assert all(rates[id(one)] == pytest.approx(rate / 10) for one in model.lm.parameters())
    assert all(rates[id(one)] == rate for one in model.connector.parameters())
    assert len(rates) == 4


def test_vectors_start_where_they_are_told_and_nowhere_by_default():
    torch.manual_seed(0)
    lm = language.freeze(MODELS["llama"]())
    start = lm.get_input_embeddings().weight[[7, 9]]
    near = Frozen(CONFIG, lm, start).encode_prefix(pixel_values(8)).reshape(8, 2, -1)
    word = lm.get_input_embeddings().weight.square().mean().sqrt().item()
    assert (near - start).square().mean().sqrt().item() == pytest.approx(
        CONFIG.residual_scale * word, rel=0.35
    )
    torch.manual_seed(0)
    torch.testing.assert_close(near.mean(0), start)  # pictures differ, on average nothing is added
    plain = Frozen(CONFIG, lm)
    torch.testing.assert_close(
        plain.encode_prefix(pixel_values()),
        plain.language_projection(plain.vision(pixel_values())).reshape(4, -1),
    )
    assert set(dict(Frozen(CONFIG, lm, start).named_parameters())) == set(
        dict(plain.named_parameters())
    )


def test_the_recipe_starts_at_average_words():
    from vlmcourse.world import tokenizer

    lm = recipes.language.new_language(Scale.of("smoke")).lm
    start = recipes.frozen.mean_noun_and_background(lm)
    backgrounds = tokenizer.encode([" ".join(world.BACKGROUNDS)])[0, 1:-1]
    torch.testing.assert_close(start[1], lm.get_input_embeddings().weight[backgrounds].mean(0))
    trained = recipes.get("frozen").train_or_load("smoke", lm=language.freeze(lm), steps=2)
    torch.testing.assert_close(trained.model.start, start)
    found = recipes.get("frozen").train_or_load("smoke", lm=language.freeze(lm), steps=2)
    assert (
        not trained.loaded
        and found.loaded
        and torch.equal(
            found.model.language_projection.weight, trained.model.language_projection.weight
        )
    )
    again = recipes.get("frozen").train_or_load("smoke", lm=lm.requires_grad_(True), steps=2)
    assert not again.loaded and not torch.equal(
        again.model.lm.lm_head.weight, lm.lm_head.weight
    )  # a copy learnt
    assert torch.equal(trained.model.lm.lm_head.weight, lm.lm_head.weight)


def test_reports_of_an_untrained_model_are_near_chance():
    from vlmcourse.world.prompts import blank_images

    model = (
        recipes.get("frozen")
        .train_or_load(
            "smoke",
            lm=language.freeze(recipes.language.new_language(Scale.of("smoke")).lm),
            steps=1,
        )
        .model
    )
    report = recipes.frozen.caption_report(model, 16)
    assert report["noun"] < 0.3 and report["noun, chance"] == pytest.approx(1 / 113, rel=0.05)
    for options in ({}, {"view": blank_images}, {"shuffled": True}):
        assert (
            0.2
            <= recipes.frozen.episode_accuracy(
                model, recipes.frozen.naming_episodes(1, 64), **options
            )
            <= 0.8
        )
    assert (
        recipes.frozen.episode_accuracy(model, recipes.frozen.naming_episodes(1, 4), written=True)
        <= 0.5
    )


def test_a_model_that_reads_pictures_never_writes_an_image_token():
    model = recipes.get("frozen").train_or_load("smoke").model
    page = world.sample("test", 0, 0, ONE_THING), "a picture of"
    data = prompts.Prompts([page], model.config.image_size, IMAGE_PREFIX)

    class FavoursImages(type(model)):
        def forward(self, ids, **context):
            logits = super().forward(ids, **context).clone()
            logits[..., self.image_token_id] = 1e4
            return logits

    model.__class__ = FavoursImages
    (text,) = generate_texts(model, data, max_new_tokens=3)
    assert len(text.split()) >= 1
    with pytest.raises(ValueError, match="slots in the text"):
        generate_texts(model, data, max_new_tokens=3, sampler=generation.greedy)
