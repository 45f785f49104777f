"""Lesson 15's exercises: right answers pass, and each plausible mistake is named; its stand-ins load as real checkpoints do."""

import pytest
import torch
import transformers
from exercise_answers import each, message

from teaching import tiny_checkpoints
from teaching.real_weights import PARTS, our_name
from vlmcourse.papers.blip import BLIP
from vlmcourse.papers.blip2 import BLIP2
from vlmcourse.papers.clip import CLIP
from vlmcourse.papers.flamingo_weights import from_open_flamingo, open_flamingo_vision
from vlmcourse.parts import language
from vlmcourse.parts.language import tiny
from vlmcourse.parts.vision import ViT


def renamed(name):
    for theirs, mine in {"_model.encoder.layers": ".transformer.blocks", **PARTS}.items():
        name = name.replace(theirs, mine)
    return name


RENAMED = {
    "returned None": lambda name: None,
    "returned a list": lambda name: [name],
    "nothing was renamed": lambda name: name,
    "the ending is lost": lambda name: renamed(name).rsplit(".", 1)[0],
    "the ending changed": lambda name: renamed(name).replace("bias", "weight"),
    "still has '_model'": lambda name: "x" + renamed(name),
    "another block's number": lambda name: renamed(name).replace("10.", "1."),
    "the part in it is not": lambda name: renamed(name).replace("norm2", "norm1"),
    "the part between tower and block": lambda name: renamed(name).replace(
        "transformer", "encoder"
    ),
}


def parted(qkv):
    width = qkv.shape[1]
    return qkv[:width], qkv[width:]


PARTED = {
    "these are three matrices": lambda qkv: qkv.chunk(3),
    "expected 2 values": lambda qkv: qkv,
    "transposed": lambda qkv: tuple(part.T for part in parted(qkv)),
    "the query is the last third": lambda qkv: parted(qkv.roll(len(qkv) // 3, 0)),
    "value and key are exchanged": lambda qkv: parted(
        torch.cat([qkv.chunk(3)[part] for part in (0, 2, 1)])
    ),
    "in turns": lambda qkv: (qkv[::3], torch.cat([qkv[1::3], qkv[2::3]])),
    "below each other": lambda qkv: (qkv.chunk(3)[0], torch.cat(qkv.chunk(3)[1:], 1)),
    "two thirds": lambda qkv: qkv.split([2 * qkv.shape[1], qkv.shape[1]]),
    "these are key and value": lambda qkv: qkv.chunk(3)[1:],
    "at a fixed number": lambda qkv: (qkv[:4], qkv[4:]),
    "found shape": lambda qkv: (qkv[:1], qkv[1:]),
}


def prepared(picture, mean, std):
    return (picture.permute(2, 0, 1) / 255 - mean[:, None, None]) / std[:, None, None]


def first(picture):
    return picture.permute(2, 0, 1)


PREPARED = {
    "found shape": lambda picture, mean, std: picture,
    "channels come first": lambda picture, mean, std: (picture / 255 - mean) / std,
    "divide by 255 first": lambda picture, mean, std: prepared(picture * 255.0, mean, std),
    "the course's way": lambda picture, mean, std: first(picture) / 127.5 - 1,
    "nothing is divided": lambda picture, mean, std: first(picture) / 255 - mean[:, None, None],
    "without subtracting the mean": lambda picture, mean, std: prepared(picture, mean * 0, std),
    "multiplied by the deviation": lambda picture, mean, std: prepared(picture, mean, 1 / std),
    "red and blue": lambda picture, mean, std: prepared(picture, mean, std).flip(0),
    "each other's mean": lambda picture, mean, std: prepared(picture, mean.flip(0), std.flip(0)),
    "scrambled": lambda picture, mean, std: (
        (picture.reshape(3, *picture.shape[:2]) / 255 - mean[:, None, None]) / std[:, None, None]
    ),
    "values are not right": lambda picture, mean, std: first(picture) * 0.0,
}


WRONG = {
    "real_weights.renamed": RENAMED,
    "real_weights.split": PARTED,
    "real_weights.prepared": PREPARED,
}
RIGHT = {
    "real_weights.renamed": renamed,
    "real_weights.split": parted,
    "real_weights.prepared": prepared,
}


@pytest.mark.parametrize("id", RIGHT)
def test_right_answers_pass(id):
    assert [message(id, RIGHT[id]) for _ in range(3)] == [""] * 3


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


def test_names_taught_are_the_names_that_load(tmp_path):
    theirs = transformers.CLIPModel.from_pretrained(tiny_checkpoints.clip(tmp_path))
    mine = CLIP.from_pretrained(str(tmp_path)).state_dict()
    for name, value in theirs.state_dict().items():
        if "encoder.layers" in name and "k_proj" not in name and "v_proj" not in name:
            assert torch.equal(mine[our_name(name)], value) and our_name(name) == renamed(name)


@torch.no_grad()
def test_stand_ins_load_as_real_checkpoints_do(tmp_path):
    pixel_values, ids = torch.randn(2, 3, 32, 32), torch.tensor([[97, 5, 9, 98], [97, 7, 98, 0]])
    theirs = transformers.CLIPModel.from_pretrained(tiny_checkpoints.clip(tmp_path / "clip"))
    wanted = theirs(
        input_ids=ids, pixel_values=pixel_values, attention_mask=(ids != 0).long()
    ).logits_per_image
    torch.testing.assert_close(
        CLIP.from_pretrained(str(tmp_path / "clip")).logits(pixel_values, ids),
        wanted,
        atol=1e-4,
        rtol=1e-4,
    )
    caption = transformers.BlipForConditionalGeneration.from_pretrained(
        tiny_checkpoints.blip(tmp_path / "blip")
    )
    blip, said = (
        BLIP.from_pretrained(str(tmp_path / "blip")),
        torch.tensor([[96, 5, 9], [96, 7, 3]]),
    )
    wanted = caption(pixel_values=pixel_values, input_ids=said).logits
    torch.testing.assert_close(
        blip(said, **blip.vision_context(pixel_values)), wanted, atol=1e-4, rtol=1e-4
    )
    writer = transformers.Blip2ForConditionalGeneration.from_pretrained(
        tiny_checkpoints.blip2(tmp_path / "blip2")
    )
    blip2, text = BLIP2.from_hf(writer), torch.tensor([[4, 4, 4, 8, 9], [4, 4, 4, 10, 11]])
    torch.testing.assert_close(
        blip2(text, **blip2.vision_context(pixel_values)),
        writer(pixel_values, text).logits,
        atol=1e-4,
        rtol=1e-4,
    )
    assert wanted.std() > 0.01


def test_an_open_flamingo_and_a_language_model_stand_in_too(tmp_path):
    lm, vit = tiny(60, 32, 2, 2), ViT(16, 8, 24, 1, 2)
    file = tiny_checkpoints.open_flamingo(tmp_path / "checkpoint.pt", vit, lm, image_token_id=5)
    assert not any(
        layer._forward_pre_hooks for layer in language.decoder_layers(lm)
    )  # the language model is given back as it was
    model = from_open_flamingo(file, open_flamingo_vision(vit), lm, 5)
    pixel_values, ids = torch.randn(2, 3, 16, 16), torch.tensor([[1, 5, 9, 5, 7]])
    with torch.no_grad():
        one, other = (
            model(ids, **model.vision_context(each))
            for each in (pixel_values, pixel_values.flip(0))
        )
    assert (one - other).abs().max() > 1e-3
    from vlmcourse.world import tokenizer

    lm = tiny(len(tokenizer.world_tokenizer()), 32, 1, 2)
    again, read = language.load(str(tiny_checkpoints.language(tmp_path / "lm", lm)))
    assert read.convert_tokens_to_ids("cat") == tokenizer.world_tokenizer().convert_tokens_to_ids(
        "cat"
    )
    ids = tokenizer.encode(["a cat is an animal ."])
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, lm(ids).logits)


def test_what_is_not_here_is_said_not_raised(tmp_path):
    said = []
    assert (
        tiny_checkpoints.real(CLIP.from_pretrained, "nobody/has-this-model", say=said.append)
        is None
    )
    assert "not on this machine" in said[0] and "download=True" in said[0]
    there = str(tiny_checkpoints.clip(tmp_path / "clip"))
    assert isinstance(tiny_checkpoints.real(CLIP.from_pretrained, there, say=said.append), CLIP)
    (tmp_path / "empty").mkdir()
    assert (
        tiny_checkpoints.real(CLIP.from_pretrained, str(tmp_path / "empty"), say=said.append)
        is None
    )
    assert "could not be loaded" in said[1]
