"""Image towers: patches are a convolution, order and place matter as they should, bad pixels are named."""

import pytest
import torch
from torch import nn

from vlmcourse.parts.vision import (
    AttentionPool,
    ConvStem,
    PatchEmbedding,
    ResNet,
    ViT,
    check_pixels,
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
