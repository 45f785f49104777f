"""Public checkpoints: what is missing, left over, of another size, of another kind or damaged is refused in one sentence."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, Blip2ForConditionalGeneration

from teaching import tiny_checkpoints
from vlmcourse.papers.blip import BLIP
from vlmcourse.papers.blip2 import BLIP2, Stage1
from vlmcourse.papers.checkpoints import copy_weights, read_tensors, source_names
from vlmcourse.papers.clip import CLIP

CLASSES = {"clip": CLIP, "blip": BLIP, "blip2": BLIP2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    return {name: getattr(tiny_checkpoints, name)(root / name) for name in CLASSES}


def changed(folder, place, change):
    """A copy of a folder whose weights are `change(tensors)`."""
    copy = place / "changed"
    shutil.copytree(folder, copy)
    file = copy / "model.safetensors"
    save_file(change(load_file(file)), file, {"format": "pt"})
    return str(copy)


@pytest.mark.parametrize("name", CLASSES)
def test_what_is_missing_left_over_or_of_another_size_is_listed(folders, name, tmp_path):
    lost = {"clip": "vision_model.post_layernorm.bias", "blip": "vision_model.post_layernorm.bias"}
    lost = lost.get(name, "qformer.layernorm.bias")

    def without(tensors):
        return {key: value for key, value in tensors.items() if key != lost}

    def cut(tensors):
        return tensors | {lost: tensors[lost][:-1].clone()}

    cases = {
        f"missing: {lost}": without,
        "unexpected: from_elsewhere": lambda tensors: tensors | {"from_elsewhere": torch.ones(2)},
        f"of another size: {lost}": cut,
    }
    for number, (message, change) in enumerate(cases.items()):
        (tmp_path / str(number)).mkdir()
        folder = changed(folders[name], tmp_path / str(number), change)
        with pytest.raises(ValueError, match=message):
            CLASSES[name].from_pretrained(folder)


def test_another_kind_of_model_names_the_class_for_it(folders, tmp_path):
    BertModel(
        BertConfig(vocab_size=99, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    ).save_pretrained(tmp_path)
    for model, folder, advice in (
        (CLIP, tmp_path, "VLBERT.load_bert"),
        (CLIP, folders["blip"], "The class for it: BLIP"),
        (BLIP, folders["clip"], "The class for it: CLIP"),
        (
            Stage1,
            folders["blip2"],
            "it holds Blip2ForConditionalGeneration; Stage1 takes Blip2ForI",
        ),
    ):
        with pytest.raises(ValueError, match=advice):
            model.from_pretrained(str(folder))
    config = json.loads((tmp_path / "config.json").read_text())
    del config["architectures"]  # older checkpoints name only the model type
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="it holds model type bert; CLIP takes CLIPModel"):
        CLIP.from_pretrained(str(tmp_path))


@pytest.mark.parametrize(
    "content, message",
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS"),
        (b"", "could not be loaded"),
        (None, "could not be loaded"),
    ],
    ids=["pointer", "empty", "cut"],
)
def test_damaged_files_are_one_sentence(folders, content, message, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(folders["clip"], folder)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-50] if content is None else content)
    with pytest.raises(ValueError, match=message) as found:
        CLIP.from_pretrained(str(folder))
    assert "\n" not in str(found.value)
    with pytest.raises(ValueError, match="can't be read|pointer") as found:
        read_tensors(file)
    assert "\n" not in str(found.value)


def test_half_precision_becomes_float32_throughout(folders, tmp_path):
    half = Blip2ForConditionalGeneration.from_pretrained(folders["blip2"]).half()
    half.save_pretrained(tmp_path)
    for model in (BLIP2.from_hf(half), BLIP2.from_pretrained(str(tmp_path))):
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        ids = torch.tensor([[4, 4, 4, 8, 9]])
        assert model(ids, **model.vision_context(torch.randn(1, 3, 32, 32))).isfinite().all()
    assert {p.dtype for p in half.parameters()} == {torch.float16}  # theirs stays as it was


def test_a_language_model_head_of_its_own_is_refused(folders, tmp_path):
    from transformers import BlipForConditionalGeneration

    model = BlipForConditionalGeneration.from_pretrained(folders["blip"])
    head = model.text_decoder.cls.predictions.decoder
    head.weight = torch.nn.Parameter(head.weight + 1)
    with pytest.raises(ValueError, match="is not tied to text_decoder.bert.embeddings"):
        BLIP.from_hf(model)


def test_a_blip2_without_an_image_token_says_so(folders):
    model = Blip2ForConditionalGeneration.from_pretrained(folders["blip2"])
    model.config.image_token_id = None
    with pytest.raises(ValueError, match="names no image token"):
        BLIP2.from_hf(model)


def test_a_map_of_names_knows_layers_modules_and_stacks():
    names = {"blocks.*.a.0": ("x.*.q", "x.*.k"), "b": "y", "scale": "z.scale"}
    assert source_names(names, "blocks.12.a.0.weight") == ("x.12.q.weight", "x.12.k.weight")
    assert source_names(names, "b.bias") == ("y.bias",)
    assert source_names(names, "scale") == ("z.scale",)
    assert source_names(names, "c.bias") == ()
    target = torch.nn.Linear(2, 4)
    source = {"q.weight": torch.ones(2, 2), "k.weight": torch.zeros(2, 2)}
    with pytest.raises(ValueError, match="missing: k.bias, q.bias"):
        copy_weights(torch.nn.ModuleDict({"b": target}), source, {"b": ("q", "k")})
    source |= {"q.bias": torch.ones(2), "k.bias": torch.zeros(2)}
    copy_weights(torch.nn.ModuleDict({"b": target}), source, {"b": ("q", "k")})
    assert target.bias.tolist() == [1, 1, 0, 0] and target.weight[:2].eq(1).all()


def test_a_single_tower_is_refused(folders, tmp_path):
    folder = tmp_path / "tower"
    shutil.copytree(folders["clip"], folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["CLIPVisionModel"]}))
    with pytest.raises(ValueError, match="it holds CLIPVisionModel; CLIP takes CLIPModel"):
        CLIP.from_pretrained(str(folder))
