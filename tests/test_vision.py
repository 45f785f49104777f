"""Image towers: patches are a convolution, order and place matter as they should, bad pixels are named."""

import pytest
import torch
from torch import nn

from vlmcourse.parts.vision import (
    AttentionPool,
    ConvStem,
    PatchEmbedding,
    RegionClassifier,
    ResNet,
    ViT,
    check_boxes,
    check_pixels,
    crop_regions,
)


def test_patches_are_a_strided_convolution():
    torch.manual_seed(0)
    patches = PatchEmbedding(8, 16)
    pixel_values = torch.randn(2, 3, 24, 24)
    convolved = nn.functional.conv2d(
        pixel_values, patches.project.weight.view(16, 3, 8, 8), stride=8
    )
    torch.testing.assert_close(
        patches(pixel_values), convolved.flatten(2).transpose(1, 2), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("stem", [None, lambda: ConvStem(8, 16)], ids=["patches", "conv stem"])
def test_vit_summarises_all_of_the_picture(stem):
    torch.manual_seed(0)
    vit = ViT(24, 8, 16, 1, 2, stem=stem and stem()).eval()
    pixel_values = torch.randn(1, 3, 24, 24, requires_grad=True)
    assert vit.tokens(pixel_values).shape[1] == 10
    (gradient,) = torch.autograd.grad(vit(pixel_values).square().sum(), pixel_values)
    per_patch = gradient.abs().reshape(3, 3, 8, 3, 8).sum((0, 2, 4))
    assert (per_patch > 0).all()


def test_vit_without_positions_sees_a_bag_of_patches():
    """Positions are all that tells patches apart: with them zeroed, moving a patch changes nothing."""
    torch.manual_seed(0)
    vit = ViT(16, 8, 16, 2, 2).eval()
    pixel_values = torch.randn(1, 3, 16, 16)
    moved = pixel_values.roll(8, dims=3)  # swaps left and right patches
    assert (vit(pixel_values) - vit(moved)).abs().max() > 1e-3
    nn.init.zeros_(vit.positions)
    torch.testing.assert_close(vit(pixel_values), vit(moved), atol=1e-5, rtol=1e-4)


def test_resnet_blocks_start_as_their_shortcut():
    torch.manual_seed(0)
    resnet = ResNet(32, (1, 1), channels=8, heads=2).eval()
    pixel_values = torch.randn(2, 3, 32, 32)
    x = resnet.stem(pixel_values)
    for block in resnet.stages:
        x = block.shortcut(x).relu()
    torch.testing.assert_close(resnet.tokens(pixel_values), x.flatten(2).transpose(1, 2))


def test_attention_pool_asks_with_the_mean():
    torch.manual_seed(0)
    pool = AttentionPool(4, 8, 2)
    nn.init.zeros_(pool.positions)
    tokens = torch.randn(2, 4, 8)
    torch.testing.assert_close(
        pool(tokens), pool(tokens[:, [2, 0, 3, 1]])
    )  # the mean and the set are unchanged
    assert (pool(tokens) - pool(tokens.flip(-1))).abs().max() > 1e-3


@pytest.mark.parametrize(
    "pixel_values, words",
    [
        (torch.zeros(2, 3, 16, 16, dtype=torch.uint8), ["uint8", "/ 127.5 - 1"]),
        (torch.zeros(2, 1, 16, 16), ["(2, 1, 16, 16)", "(batch, 3, 16, 16)"]),
        (torch.zeros(2, 3, 20, 16), ["(2, 3, 20, 16)"]),
        (torch.zeros(3, 16, 16), ["(3, 16, 16)"]),
        (torch.full((2, 3, 16, 16), 200.0), ["200", "0..255"]),
        (torch.full((2, 3, 16, 16), torch.nan), ["nan"]),
    ],
)
def test_bad_pixels_are_named(pixel_values, words):
    with pytest.raises(ValueError) as error:
        check_pixels(pixel_values, 16)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: ViT(30, 8, 16, 1, 2), "30 is not a multiple of the patch size 8"),
        (lambda: ConvStem(12, 16), "power of two; found 12"),
        (lambda: ResNet(36, (1, 1), 8, 2), "36 is not a multiple of this ResNet's stride, 8"),
    ],
)
def test_impossible_sizes_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_the_vector_of_a_vit_is_its_class_token_s_state():
    torch.manual_seed(0)
    vit, pixel_values = ViT(24, 8, 16, 2, 2).eval(), torch.randn(2, 3, 24, 24)
    torch.testing.assert_close(
        vit(pixel_values), vit.tokens(pixel_values)[:, 0], atol=1e-5, rtol=1e-4
    )


def test_a_conv_stem_halves_down_to_one_position_per_patch():
    stem = ConvStem(16, 32)
    assert stem(torch.randn(2, 3, 64, 64)).shape == (2, 16, 32)
    widths = [layer.out_channels for layer in stem.layers if isinstance(layer, nn.Conv2d)]
    assert widths == [8, 8, 16, 32, 32]


def test_a_resnet_s_sizes_are_those_that_it_says():
    resnet = ResNet(64, (2, 1, 1), channels=4, heads=2).eval()
    pixel_values = torch.randn(2, 3, 64, 64)
    assert (resnet.grid, resnet.width) == (4, 64)
    assert resnet.tokens(pixel_values).shape == (2, 16, 64) and resnet(pixel_values).shape == (
        2,
        64,
    )


def test_pixels_at_the_bound_and_no_pixels_at_all_are_accepted():
    check_pixels(torch.full((1, 3, 8, 8), 16.0), 8)
    check_pixels(torch.zeros(0, 3, 8, 8), 8)
    with pytest.raises(ValueError, match="reach 17"):
        check_pixels(torch.full((1, 3, 8, 8), 17.0), 8)


def test_crops_average_what_lies_between_their_samples():
    """Stripes one pixel wide are grey in a crop at half the size: sampled without averaging they would be black or white."""
    stripes = (torch.arange(8) % 2).float().expand(1, 3, 8, 8)
    whole = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])
    for pixel_values in (stripes, stripes.mT):
        crop = crop_regions(pixel_values, whole, 4)
        torch.testing.assert_close(crop, torch.full((1, 1, 3, 4, 4), 0.5))


def test_crops_keep_rows_and_columns_in_their_order():
    pixel_values = torch.arange(64.0).reshape(1, 1, 8, 8).expand(1, 3, 8, 8)
    boxes = torch.tensor([[[0.0, 0.0, 1.0, 1.0], [0.5, 0.0, 1.0, 0.5], [0.0, 0.5, 0.5, 1.0]]])
    whole, right_top, left_bottom = crop_regions(pixel_values, boxes, 2)[0, :, 0]
    assert whole[0, 0] < whole[0, 1] < whole[1, 0] < whole[1, 1]
    torch.testing.assert_close(right_top.mean(), pixel_values[0, 0, :4, 4:].mean())
    torch.testing.assert_close(left_bottom.mean(), pixel_values[0, 0, 4:, :4].mean())


@pytest.mark.parametrize(
    "box",
    [
        [0.5, 0.1, 0.5, 0.9],  # no width
        [0.1, 0.5, 0.9, 0.5],  # no height
        [0.6, 0.1, 0.5, 0.9],
        [0.1, 0.6, 0.9, 0.5],
        [-0.1, 0.1, 0.5, 0.9],
        [0.1, -0.1, 0.5, 0.9],
        [0.1, 0.1, 1.1, 0.9],
        [0.1, 0.1, 0.5, 1.1],
        [0.1, float("nan"), 0.5, 0.9],
    ],
)
def test_boxes_that_are_empty_or_outside_are_named(box):
    boxes = torch.tensor([[[0.0, 0.0, 1.0, 1.0]] * 2, [[0.2, 0.2, 0.4, 0.4], box]])
    with pytest.raises(
        ValueError, match="region 1 of picture 1 lies outside the picture, or is empty"
    ):
        check_boxes(boxes)
    check_boxes(boxes[:1])


@pytest.mark.parametrize(
    "boxes", [torch.zeros(2, 4), torch.zeros(2, 3, 5), torch.zeros(2, 3, 4).long()]
)
def test_boxes_of_another_shape_or_type_are_refused(boxes):
    with pytest.raises(ValueError, match="expected fractions \\(batch, regions, 4\\)"):
        check_boxes(boxes)


def test_a_region_classifier_learns_from_regions_and_not_from_padding():
    torch.manual_seed(0)
    model = RegionClassifier(4, 8, classes=3, attributes=5)
    batch = {
        "pixel_values": torch.randn(2, 3, 16, 16),
        "boxes": torch.tensor([[[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]] * 2),
        "region_mask": torch.tensor([[True, True], [True, False]]),
        "classes": torch.softmax(torch.randn(2, 2, 3), -1),
        "attributes": torch.tensor([[0, 4], [2, 1]]),
    }
    features, class_logits = model(batch["pixel_values"], batch["boxes"])
    mask, log_probs = batch["region_mask"], class_logits.log_softmax(-1)
    classes = -(batch["classes"] * log_probs).sum(-1)[mask].mean()
    attributes = model.attribute_head(features).log_softmax(-1)
    attributes = -attributes.gather(-1, batch["attributes"][..., None])[..., 0][mask].mean()
    losses = model.losses(batch)
    torch.testing.assert_close(losses["classes"], classes)
    torch.testing.assert_close(losses["attributes"], attributes)
