"""The protocol of all models that generate: vision_context(pixel_values) -> kwargs; model(ids, cache, padding_mask, **context)."""

import inspect

import pytest
import torch
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration

from vlmcourse.papers.blip import BLIP, BLIPConfig
from vlmcourse.papers.blip2 import BLIP2, BLIP2EncoderDecoder, Stage1
from vlmcourse.papers.flamingo import Flamingo, FlamingoConfig
from vlmcourse.papers.frozen import Frozen, FrozenConfig
from vlmcourse.papers.llava import LLaVA
from vlmcourse.papers.qformer import QFormer, QFormerConfig
from vlmcourse.parts import language
from vlmcourse.parts.attention import KVCache
from vlmcourse.parts.generation import beam_search, generate
from vlmcourse.parts.image_features import ImageFeatures
from vlmcourse.parts.vision import ViT

IMAGE, PAD, START = 5, 0, 1


class Tokens(nn.Module):
    """An image encoder whose forward gives a feature for each patch, as Flamingo wants it."""

    def __init__(self):
        super().__init__()
        self.vit = ViT(16, 8, 24, 1, 2)

    def forward(self, pixel_values):
        return self.vit.tokens(pixel_values)


def blip():
    roles = {"cls": 6, "enc": 7, "dec": 8, "end": 2, "pad": PAD}
    sizes = {"vision_width": 24, "vision_depth": 1, "vision_heads": 2, "text_width": 32}
    config = BLIPConfig(40, **roles, context=16, image_size=16, patch=8, text_heads=2, **sizes)
    return BLIP(config), 0


def qformer():
    return QFormer(QFormerConfig(24, 40, queries=2, context=16, width=32, depth=2, heads=2))


def stage1():
    return Stage1(qformer(), ViT(16, 8, 24, 2, 2)), 0


def blip2():
    return BLIP2(qformer(), ViT(16, 8, 24, 2, 2), language.tiny(40, 32, 2, 2), IMAGE), 2


def frozen():
    config = FrozenConfig(IMAGE, 1, 16, 8, 24, 1, 2)
    return Frozen(config, language.tiny(40, 32, 2, 2)), 1


def flamingo():
    config = FlamingoConfig(IMAGE, 24, latents=2, resampler_depth=1, heads=2, head_width=8)
    model = Flamingo(config, Tokens(), language.tiny(40, 32, 2, 2))
    for block in model.blocks.values():
        block.gate.alpha.data.fill_(0.7)
    return model, 1


def llava():
    """On pictures of 16 pixels with patches of 16: a single vector each."""
    vision = ImageFeatures(ViT(16, 16, 24, 2, 2), class_token=False)
    return LLaVA(vision, language.tiny(40, 32, 2, 2), IMAGE), 1


MODELS = (blip, stage1, blip2, frozen, flamingo, llava)


def made(build):
    """The model, loud enough that everything counts, and prompts (2, 5) with as many image tokens as it wants."""
    torch.manual_seed(0)
    model, slots = build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    ids = torch.cat(
        [torch.full((2, slots), IMAGE), torch.tensor([[START, 11, 12], [START, 13, 14]])], dim=1
    )
    return model.eval(), ids, torch.randn(2, 3, 16, 16)


def no_image(logits):
    """The most likely token that is no placeholder: a text that goes on with one would want another image."""
    return logits.index_fill(-1, torch.tensor(IMAGE), -torch.inf).argmax(-1)


def cache_of(model):
    return KVCache() if isinstance(model, BLIP) else language.new_cache(model.lm)


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_left_padding_changes_no_logit(build):
    """ids of 5 tokens and images of 5 patches: a padding mask is about ids, never about patches."""
    model, ids, pixel_values = made(build)
    pad = 5 - ids.shape[1]
    padded = torch.cat([torch.full((2, pad), PAD), ids], dim=1)
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[:, :pad] = False
    with torch.no_grad():
        context = model.vision_context(pixel_values)
        wanted = model(ids, **context)
        found = model(padded, padding_mask=mask, **context)[:, pad:]
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
        if pad:
            unmasked = model(padded, **context)[:, pad:]
            assert not torch.allclose(unmasked, wanted, atol=1e-3)


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_all_generate_alike_with_padding_and_cache(build):
    """The prompts of a batch have different lengths; each row writes what it writes alone."""
    model, ids, pixel_values = made(build)
    start = ids.shape[1] - 3  # after the image tokens
    short = torch.cat([ids[:, :start], ids[:, start : start + 2]], dim=1)  # one token less
    rows = torch.stack([ids[0], torch.cat([torch.tensor([PAD]), short[1]])])
    mask = torch.ones_like(rows, dtype=torch.bool)
    mask[1, 0] = False
    caches = [None] if build is stage1 else [None, cache_of(model)]
    with torch.no_grad():
        alone = [
            generate(model, prompt[None], 4, no_image, **model.vision_context(image[None]))[0]
            for prompt, image in ((ids[0], pixel_values[0]), (short[1], pixel_values[1]))
        ]
        for cache in caches:
            together = generate(
                model,
                rows,
                4,
                no_image,
                cache=cache,
                padding_mask=mask,
                **model.vision_context(pixel_values),
            )
            assert torch.equal(together, torch.stack(alone))


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_the_image_counts_and_the_signature_is_the_protocol_s(build):
    model, ids, pixel_values = made(build)
    names = list(inspect.signature(model.forward).parameters)
    assert names[:3] == ["ids", "cache", "padding_mask"]
    with torch.no_grad():
        context, other = (model.vision_context(images) for images in (pixel_values, -pixel_values))
        assert set(context) <= set(names)
        assert (model(ids, **context) - model(ids, **other)).abs().max() > 1e-3


def test_beam_search_pads_too():
    model, ids, pixel_values = made(blip)
    prompt, mask = torch.tensor([[PAD, PAD, START, 11]]), torch.tensor([[False, False, True, True]])
    context = {"states": model.vision_context(pixel_values[:1])["states"].expand(3, -1, -1)}
    with torch.no_grad():
        wanted = beam_search(model, prompt[:, 2:], 4, 3, end=2, **context)
        found = beam_search(
            model,
            prompt,
            4,
            3,
            end=2,
            cache=KVCache(),
            padding_mask=mask.expand(3, -1),
            **context,
        )
    assert torch.equal(found, wanted)


def test_an_encoder_decoder_s_padding_mask_is_about_the_decoder():
    torch.manual_seed(0)
    sizes = dict(d_model=32, d_kv=16, d_ff=32, num_layers=1, num_heads=2, vocab_size=40)
    lm = T5ForConditionalGeneration(T5Config(**sizes, dropout_rate=0.0))
    model = BLIP2EncoderDecoder(qformer(), ViT(16, 8, 24, 2, 2), lm, IMAGE).eval()
    encoder_ids = torch.tensor([[IMAGE, IMAGE, 9, 10, 11]] * 2)
    ids, pixel_values = torch.tensor([[0, 3, 4], [0, 5, 6]]), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        context = model.vision_context(pixel_values) | {"encoder_ids": encoder_ids}
        wanted = model(ids, **context)
        mask = torch.ones(2, 3, dtype=torch.bool)
        torch.testing.assert_close(model(ids, padding_mask=mask, **context), wanted)
        mask[:, 1] = False  # the decoder's second token is hidden from its third
        hidden = model(ids, padding_mask=mask, **context)
        torch.testing.assert_close(hidden[:, 0], wanted[:, 0])
        assert not torch.allclose(hidden[:, 2], wanted[:, 2], atol=1e-4)
        encoder_mask = torch.tensor([[True, True, True, True, False]] * 2)
        assert not torch.allclose(
            model(ids, encoder_padding_mask=encoder_mask, **context), wanted, atol=1e-4
        )
