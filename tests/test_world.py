"""The world: the same everywhere, splits that cannot mix, captions that are true, noise whose truth is known."""

import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmcourse import world
from vlmcourse.world import tokenizer
from vlmcourse.world.captions import PROMPTS, short, synonyms, templated
from vlmcourse.world.noise import GENERIC, Noise, duplicated, generic
from vlmcourse.world.rendering import sprite
from vlmcourse.world.scenes import SPLITS, held_out

MANY = range(1500)


@pytest.mark.slow
@pytest.mark.parametrize("split", SPLITS)
def test_the_same_scene_in_another_process(split):
    """Python's hash() differs from process to process; nothing here may depend on it."""
    code = f"from vlmcourse import world; print([world.sample({split!r}, i, 3) for i in range(20)])"
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert other.strip() == str([world.sample(split, index, 3) for index in range(20)])


def test_seeds_and_splits_give_different_scenes():
    first = [world.sample("train", index) for index in range(50)]
    assert first != [world.sample("train", index, seed=1) for index in range(50)]
    assert len(set(first)) == 50


def test_training_never_contains_a_held_out_composition_or_a_novel_noun():
    seen_pairs, seen_alone = set(), set()
    for scene in world.Pairs("train").scenes(MANY):
        assert not world.novel_nouns() & set(scene.words)
        seen_pairs |= {frozenset(pair) for pair in combinations(scene.words, 2)}
        if len(scene.things) == 1:
            seen_alone.add((scene.words[0], scene.background))
    for scene in world.Pairs("test").scenes(MANY):
        assert not world.novel_nouns() & set(scene.words)
        if len(scene.things) == 1:
            assert (scene.words[0], scene.background) not in seen_alone
        else:
            assert any(frozenset(pair) not in seen_pairs for pair in combinations(scene.words, 2))
    assert all(
        world.novel_nouns() & set(scene.words) for scene in world.Pairs("novel").scenes(MANY)
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from([noun.word for noun in world.nouns()]), min_size=1, max_size=4, unique=True
    ),
    st.sampled_from(list(world.BACKGROUNDS)),
    st.randoms(),
)
def test_every_scene_belongs_to_one_split_whatever_the_order(words, background, random):
    shuffled = random.sample(words, len(words))
    assert world.split_of(tuple(words), background) == world.split_of(tuple(shuffled), background)
    if not world.novel_nouns() & set(words):
        assert (world.split_of(tuple(words), background) == "test") == held_out(
            tuple(words), background
        )


def test_how_much_is_held_out():
    pairs = list(combinations(world.known_nouns(), 2))
    assert 0.17 < sum(held_out(pair, "white") for pair in pairs) / len(pairs) < 0.23
    assert 8 <= len(world.novel_nouns()) <= 16 and len(world.nouns()) >= 100
    assert len({noun.category for noun in world.nouns()}) >= 10


def test_words_name_one_noun_each():
    words = [word for noun in world.nouns() for word in (noun.word, *noun.synonyms)]
    assert len(words) == len(set(words))
    assert all(
        getattr(noun, fact)
        for noun in world.nouns()
        for fact in ("category", "colour", "place", "purpose")
    )


def test_all_artwork_is_there_and_different():
    pictures = [sprite(noun.emoji, 24) for noun in world.nouns()]
    assert all(
        (255 - clear).mean() > 15 for _, clear in pictures
    )  # ink, not an empty or missing glyph
    flat = np.stack(
        [
            np.concatenate([colour.ravel() / 65025, clear.ravel() / 255])
            for colour, clear in pictures
        ]
    )
    distances = np.linalg.norm(flat[:, None] - flat[None], axis=-1) + 100 * np.eye(len(flat))
    assert distances.min() > 5, [
        world.nouns()[i].word for i in np.unravel_index(distances.argmin(), distances.shape)
    ]


def test_things_stand_where_the_caption_says():
    pairs = world.Pairs("train", things=(2, 2))
    checked = 0
    for index in range(200):
        scene, text = pairs.scene(index), pairs.text(index)
        for word, before in (
            (" above ", lambda a, b: a.y < b.y),
            (" below ", lambda a, b: a.y > b.y),
            (" left of ", lambda a, b: a.x < b.x),
            (" right of ", lambda a, b: a.x > b.x),
        ):
            if word in text:
                first, second = sorted(
                    scene.things,
                    key=lambda thing: text.index(
                        f" {thing.word}" if f" {thing.word}" in text else thing.word
                    ),
                )
                assert before(first, second), (text, scene)
                checked += 1
    assert checked == 200


def test_captions_name_everything_and_nothing_else():
    nouns = {noun.word for noun in world.nouns()}
    for index in range(300):
        scene, text = world.sample("train", index), world.Pairs("train").text(index)
        assert nouns & set(text.split()) == set(scene.words)
        assert scene.background in text.split()
        said = world.Pairs("train", caption=short).text(index)
        assert nouns & set(said.split()) <= set(scene.words)


def test_everything_the_world_says_has_a_token():
    for caption in (world.captions.detailed, synonyms, short, *map(templated, PROMPTS)):
        for split in SPLITS:
            pairs = world.Pairs(split, caption=caption)
            tokenizer.encode([pairs.text(index) for index in range(300)])
    tokenizer.encode(GENERIC)
    tokenizer.encode(
        [
            getattr(noun, fact)
            for noun in world.nouns()
            for fact in ("category", "colour", "place", "purpose")
        ]
    )


def test_a_picture_shows_its_things_and_clips_at_the_border():
    scene = world.Scene((world.Thing("apple", 0.25, 0.25, 0.4),), "white")
    image = world.render(scene, 64)
    assert (image[:32, :32] != 255).any() and (image[32:, 32:] == 255).all()
    red = image[12:20, 12:20].reshape(-1, 3).mean(0)
    assert red[0] > red[1] + 50 and red[0] > red[2] + 50
    corner = world.render(world.Scene((world.Thing("apple", 0.0, 1.0, 0.5),), "blue"), 64)
    assert (corner[:40] == world.BACKGROUNDS["blue"]).all() and (
        corner[60:, :8] != world.BACKGROUNDS["blue"]
    ).any()


def test_no_background_is_a_fainter_other():
    """A LayerNorm removes lengths: colours in one direction from zero look alike to a Vision Transformer."""
    colours = np.array(list(world.BACKGROUNDS.values()), np.uint8)[:, None, None]
    directions = torch.nn.functional.normalize(world.to_pixels(colours).flatten(1), dim=-1)
    cosines = directions @ directions.T - 2 * torch.eye(len(colours))
    assert cosines.max() < 0.993


def test_pixels_go_there_and_back():
    images = world.Pairs("train").images(range(4))
    pixel_values = world.to_pixels(images)
    assert (
        pixel_values.shape == (4, 3, 64, 64)
        and pixel_values.min() >= -1
        and pixel_values.max() <= 1
    )
    assert np.array_equal(world.to_images(pixel_values), images)
    assert torch.equal(
        pixel_values[2, :, 5, 7], torch.from_numpy(images[2, 5, 7]).float() / 127.5 - 1
    )


def test_styles_change_what_they_say():
    images = world.Pairs("train").images(range(6))
    changed = {style: world.restyle(images, style) for style in world.STYLES}
    assert all(
        image.shape == images.shape and image.dtype == np.uint8 for image in changed.values()
    )
    assert np.array_equal(changed["as trained"], images)
    assert np.array_equal(world.restyle(changed["inverted"], "inverted"), images)
    assert (changed["grey"][..., 0] == changed["grey"][..., 2]).all()
    assert np.array_equal(np.rot90(changed["rotated"], -1, axes=(1, 2)), images)
    dark = changed["sketch"].max(-1) < 255
    assert 0.005 < dark.mean() < 0.3 and (images[dark].max(-1) < 120).all()
    assert np.array_equal(changed["noise"], world.restyle(images, "noise")) and not np.array_equal(
        changed["noise"], images
    )


def test_noise_comes_in_the_share_asked_for_and_its_truth_is_known():
    clean, dirty = world.Pairs("train"), world.Pairs("train", noise=Noise(0.3))
    flags = [Noise(0.3).is_noisy(index, 0) for index in MANY]
    assert 0.26 < np.mean(flags) < 0.34
    for index, flag in enumerate(flags[:300]):
        assert flag or dirty.text(index) == clean.text(index)
    assert generic(5, clean) in GENERIC
    assert len({duplicated(index, clean) for index in range(1000)}) <= 100


def test_distinct_captions():
    pairs = world.Pairs("test")
    indices = pairs.distinct(256)
    assert len({pairs.text(index) for index in indices}) == len(set(indices)) == 256
    with pytest.raises(ValueError, match="different captions"):
        world.Pairs("train", things=(1, 1), caption=templated("{}")).distinct(200)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: world.Thing("zebrafish", 0, 0, 1), ["zebrafish", "124"]),
        (lambda: world.Thing("aple", 0, 0, 1), ["aple", "did you mean apple"]),
        (lambda: world.Scene((), "mauve"), ["mauve", "purple"]),
        (lambda: world.sample("validation", 0), ["validation", "train, test, novel"]),
        (lambda: world.sample("train", 0, things=(0, 9)), ["0 to 9", "between 1 and 4"]),
        (lambda: world.restyle(np.zeros((1, 8, 8, 3), np.uint8), "cubist"), ["cubist", "sketch"]),
        (lambda: world.to_pixels(np.zeros((2, 8, 8, 3))), ["float64", "uint8"]),
        (lambda: Noise(30), ["30", "between 0 and 1"]),
    ],
)
def test_messages_say_what_was_found_and_expected(make, words):
    with pytest.raises(ValueError) as error:
        make()
    assert all(word in str(error.value) for word in words), str(error.value)
