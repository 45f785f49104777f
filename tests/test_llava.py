"""LLaVA: the same logits as transformers', what is frozen in each stage, and words for what can't be loaded."""

from copy import deepcopy

import pytest
import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from vlmcourse.papers.llava import LLaVA, Projector
from vlmcourse.parts.generation import generate
from vlmcourse.parts.image_features import ImageFeatures
from vlmcourse.parts.language import freeze, new_cache

IMAGE, PATCHES = 3, 4  # id of the image token; patches of an image of 32 pixels


def theirs(**changes):
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
    )
    text = LlamaConfig(
        vocab_size=50,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_id=IMAGE, **changes)
    return LlavaForConditionalGeneration(config).eval()


def inputs(patches=PATCHES):
    """Two texts with three images: ids (2, T) and pixel_values (3, 3, 32, 32)."""
    image = [IMAGE] * patches
    one = [5, *image, 6, *image, 7]
    two = [8, 9, *image, *range(10, 10 + len(one) - patches - 2)]
    generator = torch.Generator().manual_seed(1)
    return torch.tensor([one, two]), torch.randn(3, 3, 32, 32, generator=generator)


@pytest.mark.parametrize(
    "changes, patches",
    [
        ({}, PATCHES),
        ({"vision_feature_layer": -1}, PATCHES),
        ({"vision_feature_layer": 2}, PATCHES),
        ({"vision_feature_select_strategy": "full"}, PATCHES + 1),
        ({"multimodal_projector_bias": False}, PATCHES),
    ],
)
def test_logits_are_those_of_transformers(changes, patches):
    hf = theirs(**changes)
    ids, pixel_values = inputs(patches)
    model = LLaVA.from_hf(hf)
    with torch.no_grad():
        expected = hf(input_ids=ids, pixel_values=pixel_values).logits
        found = model(ids, **model.vision_context(pixel_values))
        cache, context = new_cache(model.lm), model.vision_context(pixel_values)
        steps = [model(part, cache=cache, **context) for part in (ids[:, :-1], ids)]
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found[0], found[0].roll(1, 0), atol=1e-2)  # it isn't constant
    assert torch.allclose(torch.cat(steps, 1), expected, atol=1e-5)


def test_a_checkpoint_of_a_folder_is_loaded(tmp_path):
    hf = theirs()
    hf.save_pretrained(tmp_path)
    ids, pixel_values = inputs()
    model = LLaVA.from_pretrained(str(tmp_path))
    with torch.no_grad():
        expected = hf(input_ids=ids, pixel_values=pixel_values).logits
        assert torch.allclose(model(ids, **model.vision_context(pixel_values)), expected, atol=1e-5)


def test_what_our_projector_has_not_is_refused():
    with pytest.raises(ValueError, match="activation 'relu'; expected"):
        LLaVA.from_hf(theirs(projector_hidden_act="relu"))
    with pytest.raises(ValueError, match="several|one layer"):
        LLaVA.from_hf(theirs(vision_feature_layer=[-2, -1]))


def learned(model, batch):
    """Names of the parameters that a step of gradient descent moves."""
    model.zero_grad()
    sum(model.losses(batch).values()).backward()
    return {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}


def test_alignment_trains_the_projector_and_instruction_tuning_the_language_model_too():
    hf = theirs()
    whole = LLaVA.from_hf(hf)
    lm = whole.lm
    ids, pixel_values = inputs()
    loss_mask = torch.zeros_like(ids, dtype=torch.bool)
    loss_mask[:, -1] = True
    batch = {"ids": ids, "pixel_values": pixel_values, "loss_mask": loss_mask}
    first = LLaVA(whole.vision, freeze(deepcopy(lm)), IMAGE)
    assert learned(first, batch) == {
        f"projector.{n}" for n, _ in first.projector.named_parameters()
    }
    second = LLaVA(whole.vision, lm, IMAGE, first.projector)
    moved = learned(second, batch)
    assert {n.split(".")[0] for n in moved} == {"projector", "lm"}
    assert second.projector is first.projector
    cached = {**batch, "features": whole.vision(pixel_values)}
    del cached["pixel_values"]
    assert torch.equal(first.losses(batch)["lm"], first.losses(cached)["lm"])


def test_the_loss_is_that_of_the_assistants_tokens():
    model = LLaVA.from_hf(theirs())
    ids, pixel_values = inputs()
    loss_mask = torch.zeros_like(ids, dtype=torch.bool)
    loss_mask[0, -1] = loss_mask[1, -3] = True
    logits = model(ids, **model.vision_context(pixel_values)).log_softmax(-1)
    expected = -(logits[0, -2, ids[0, -1]] + logits[1, -4, ids[1, -3]]) / 2
    batch = {"ids": ids, "pixel_values": pixel_values, "loss_mask": loss_mask}
    assert torch.allclose(model.losses(batch)["lm"], expected)


def test_it_generates_about_an_image_and_a_wrong_number_of_patches_is_named():
    model = LLaVA.from_hf(theirs())
    prompt = torch.tensor([[5, *[IMAGE] * PATCHES, 6]])
    pixel_values = inputs()[1][:1]
    context = model.vision_context(pixel_values)
    assert generate(model, prompt, 3, **context).shape == (1, 3)
    with pytest.raises(ValueError, match="4 vectors for 3 slots"):
        model(torch.tensor([[5, *[IMAGE] * (PATCHES - 1)]]), **context)


def test_the_projector_is_its_formula():
    torch.manual_seed(0)
    projector, x = Projector(6, 8), torch.randn(2, 5, 6)
    first, _, second = projector
    expected = second(torch.nn.functional.gelu(first(x)))
    assert torch.equal(projector(x), expected) and expected.shape == (2, 5, 8)
    features = ImageFeatures(theirs().model.vision_tower, 1, class_token=False)
    assert features(torch.randn(2, 3, 32, 32)).shape == (2, PATCHES, 32)
