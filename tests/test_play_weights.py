"""Lesson 10's exercises: right answers pass, and each plausible mistake is named; its stand-ins load as real checkpoints do."""

import pytest
import torch
import transformers

from teaching import real_weights as checks
from teaching import tiny_checkpoints
from teaching.exercises import Mistake, attempt
from vlmcourse.papers.blip import BLIP
from vlmcourse.papers.blip2 import BLIP2
from vlmcourse.papers.clip import CLIP
from vlmcourse.papers.flamingo_weights import PatchTower, from_open_flamingo
from vlmcourse.parts import language
from vlmcourse.parts.language import tiny
from vlmcourse.parts.vision import ViT


def renamed(name):
    for theirs, mine in {"_model.encoder.layers": ".transformer.blocks", **checks.PARTS}.items():
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
}


def parted(qkv):
    return qkv[:4], qkv[4:]


PARTED = {
    "found 3": lambda qkv: qkv.chunk(3),
    "found Tensor": lambda qkv: qkv,
    "transposed": lambda qkv: (qkv[:4].T, qkv[4:].T),
    "the query is the last third": lambda qkv: (qkv[8:], qkv[:8]),
    "value and key are exchanged": lambda qkv: (qkv[:4], torch.cat([qkv[8:], qkv[4:8]])),
    "in turns": lambda qkv: (qkv[::3], torch.cat([qkv[1::3], qkv[2::3]])),
    "below each other": lambda qkv: (qkv[:4], torch.cat([qkv[4:8], qkv[8:]], 1)),
    "two thirds": lambda qkv: (qkv[:8], qkv[8:]),
    "expected (4, 4) and (8, 4)": lambda qkv: (qkv[:5], qkv[5:]),
}


def prepared(picture, mean, std):
    return (picture.permute(2, 0, 1) / 255 - mean[:, None, None]) / std[:, None, None]


def first(picture):
    return picture.permute(2, 0, 1)


PREPARED = {
    "found torch.uint8": lambda picture, mean, std: picture,
    "channels come first": lambda picture, mean, std: (picture / 255 - mean) / std,
    "divide by 255 first": lambda picture, mean, std: prepared(picture * 255.0, mean, std),
    "the course's way": lambda picture, mean, std: first(picture) / 127.5 - 1,
    "nothing is divided": lambda picture, mean, std: first(picture) / 255 - mean[:, None, None],
    "without taking the mean away": lambda picture, mean, std: prepared(picture, mean * 0, std),
    "multiplied by the deviation": lambda picture, mean, std: prepared(picture, mean, 1 / std),
    "red and blue": lambda picture, mean, std: prepared(picture, mean, std).flip(0),
    "each other's mean": lambda picture, mean, std: prepared(picture, mean.flip(0), std.flip(0)),
    "scrambled": lambda picture, mean, std: (
        (picture.reshape(3, 5, 6) / 255 - mean[:, None, None]) / std[:, None, None]
    ),
    "expected (picture / 255": lambda picture, mean, std: first(picture) * 0.0,
}
CASES = {
    "renamed": (checks.renamed, renamed, RENAMED),
    "parted": (checks.parted, parted, PARTED),
    "prepared": (checks.prepared, prepared, PREPARED),
}


@pytest.mark.parametrize("name", CASES)
def test_right_answers_pass_and_each_mistake_is_named(name, capsys):
    check, right, wrong = CASES[name]
    for _ in range(3):
        assert attempt(check, right), capsys.readouterr().out
    for message, answer in wrong.items():
        with pytest.raises(Mistake) as caught:
            check(answer)
        assert message in str(caught.value), (message, str(caught.value))


def test_the_diagnosis_waits_hints_and_praises():
    right = {"A": "activation", "B": "end", "C": "pixel_values"}
    assert checks.diagnosis(right).startswith("Nothing was raised")
    with pytest.raises(NotImplementedError):
        checks.diagnosis({"A": None, "B": None, "C": None})
    for run in right:
        with pytest.raises(Mistake, match=f"run {run}:"):
            checks.diagnosis({**right, run: "end" if right[run] != "end" else "pixel_values"})


def test_names_taught_are_the_names_that_load(tmp_path):
    theirs = transformers.CLIPModel.from_pretrained(tiny_checkpoints.clip(tmp_path))
    mine = CLIP.from_pretrained(str(tmp_path)).state_dict()
    for name, value in theirs.state_dict().items():
        if "encoder.layers" in name and "k_proj" not in name and "v_proj" not in name:
            assert torch.equal(mine[checks.ours(name)], value) and checks.ours(name) == renamed(
                name
            )


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
    model = from_open_flamingo(file, PatchTower(vit), lm, 5)
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
