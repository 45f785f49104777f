"""Frozen before a real language model: the recipe itself, with a small one in SmolLM2's place, which needs no download."""

import pytest
import torch

from teaching import smollm2
from vlmcourse import recipes, world
from vlmcourse.parts.language import freeze, tiny
from vlmcourse.recipes.frozen import naming_episodes
from vlmcourse.training import checkpoint, stages
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

SMOKE = Scale.of("smoke")


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """The same small language model each time it is asked for, and a place of its own for the encoder, with none that comes
    with the course."""

    def load():
        torch.manual_seed(0)
        return freeze(tiny(len(tokenizer.world_tokenizer()), 32, 1, 2)), tokenizer.world_tokenizer()

    monkeypatch.setattr(smollm2, "smollm2", load)
    monkeypatch.setenv("VLMCOURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(smollm2, "SHIPPED", tmp_path / "shipped")
    return load


def test_the_encoder_alone_is_kept_and_comes_back(stand_in):
    trained, (lm, read) = smollm2.train(SMOKE, steps=3), stand_in()
    model = smollm2.trained(lm, read, SMOKE)
    assert all(
        torch.equal(tensor, model.state_dict()[name])
        for name, tensor in trained.state_dict().items()
    )
    assert all(
        torch.equal(tensor, lm.state_dict()[name])
        for name, tensor in trained.lm.state_dict().items()
    )
    assert (
        smollm2.encoder_path().stat().st_size
        < 4 * sum(tensor.numel() for tensor in smollm2.trainable_tensors(trained).values()) + 20_000
    )


def test_the_first_matrix_writes_what_a_frozen_that_sees_would_call_it(stand_in):
    """Taught by an encoder that writes one noun's own embedding for every picture, it writes that noun, too."""
    seen, (lm, read) = recipes.get("frozen").train_or_load(SMOKE).model, stand_in()
    word, words = tokenizer.encode(["pizza"])[0, 1], lm.get_input_embeddings().weight
    torch.nn.init.zeros_(seen.language_projection.weight)
    seen.language_projection.bias.data.zero_()
    seen.start[0] = seen.lm.get_input_embeddings().weight[word]
    model = smollm2.initialise_from(
        smollm2.new_encoder(lm, read, SMOKE), seen, read, world.Pairs("train", 32, 0, (1, 1)), 64
    ).eval()
    assert all(
        torch.equal(tensor, model.vision.state_dict()[name])
        for name, tensor in seen.vision.state_dict().items()
    )
    written = model.encode_prefix(
        world.to_pixels(world.Pairs("test", 32, 0, (1, 1)).images(range(4)))
    )[::2]
    torch.testing.assert_close(written, words[word].expand(4, -1), atol=2e-2, rtol=0)


def test_only_the_caption_is_asked_for(stand_in):
    lm, read = stand_in()
    batch = smollm2.caption_batches(SMOKE, read)(range(2))
    asked = [
        tokenizer.decode(ids[loss_mask][None])[0]
        for ids, loss_mask in zip(batch["ids"], batch["loss_mask"])
    ]
    assert all(" on " in text and not text.startswith("it is") for text in asked), asked


def test_an_encoder_of_another_scale_is_refused(stand_in):
    smollm2.train(SMOKE, steps=1)
    with pytest.raises(ValueError, match="of scale 'smoke', not 'laptop'. Train one"):
        smollm2.trained(*stand_in(), Scale.of("laptop"))


def test_without_an_encoder_it_says_how_to_get_one(stand_in):
    with pytest.raises(ValueError, match="no encoder for SmolLM2 at .* Train one"):
        smollm2.trained(*stand_in(), SMOKE)


def test_the_course_brings_an_encoder_of_laptop_scale():
    """Small enough for a repository, and of the sizes that SmolLM2's encoder has today."""
    path = stages.SHIPPED / smollm2.ENCODER
    tensors, notes = checkpoint.load(path)
    lm, read = tiny(len(tokenizer.world_tokenizer()), 576, 1, 9), tokenizer.world_tokenizer()
    wanted = smollm2.trainable_tensors(smollm2.new_encoder(lm, read, Scale.of("laptop")))
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        name: tensor.shape for name, tensor in wanted.items()
    }
    assert (
        notes["scale"] == "laptop"
        and notes["losses"][-1] < notes["losses"][0]
        and path.stat().st_size < 3_000_000
    )


def test_names_in_plain_english_keep_pictures_and_names():
    episode = naming_episodes(2, 1)[0]
    plain = smollm2.in_plain_english(episode)
    pictures = [part for part in episode.prompt if not isinstance(part, str)]
    called = [
        part.split()[-2] for part in episode.prompt[2:-1:2]
    ]  # after the induction and each picture
    assert [part for part in plain.prompt if not isinstance(part, str)] == pictures and len(
        called
    ) == len(pictures) - 1
    assert list(plain.prompt[1::2]) == [*(f"is called {name} ." for name in called), "is called"]
    assert (plain.answer, plain.choices) == (episode.answer, episode.choices)


def test_answers_are_chosen_among_those_of_the_episode(stand_in):
    smollm2.train(SMOKE, steps=1)
    lm, read = stand_in()
    model = smollm2.trained(lm, read, SMOKE)
    episodes = naming_episodes(1, 4)
    found = [
        smollm2.episode_accuracy(model, read, episodes),
        smollm2.episode_accuracy(model, read, episodes, shuffled=True),
        smollm2.text_only_accuracy(model, read, episodes),
    ]
    assert all(score in (0, 0.25, 0.5, 0.75, 1) for score in found)
    scenes = [world.sample("test", index, 0, (1, 1)) for index in range(2)]
    assert all(
        isinstance(text, str) and "<image>" not in text
        for text in smollm2.generate_captions(model, read, scenes)
    )
