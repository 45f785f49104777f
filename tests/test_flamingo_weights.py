"""OpenFlamingo's checkpoints in our Flamingo: number for number against their own modules, and by names alone without them."""

import importlib.util

import pytest
import torch
from torch import nn
from transformers import OPTConfig, OPTForCausalLM

from benchmarks.speed_flamingo import open_flamingo
from teaching.tiny_checkpoints import as_open_flamingo
from vlmcourse.papers import flamingo_weights as weights
from vlmcourse.papers.flamingo import Flamingo
from vlmcourse.parts.language import freeze
from vlmcourse.parts.vision import ViT

WORDS, TAG = 40, 39


def opt(words=WORDS - 3, tied=True):
    torch.manual_seed(1)
    return OPTForCausalLM(
        OPTConfig(
            vocab_size=words,
            hidden_size=32,
            ffn_dim=48,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=64,
            word_embed_proj_dim=32,
            pad_token_id=1,
            dropout=0.0,
            tie_word_embeddings=tied,
        )
    ).eval()


def tower():
    torch.manual_seed(2)
    return weights.open_flamingo_vision(ViT(16, 8, 24, 2, 2))


@pytest.fixture(scope="module")
def inputs():
    torch.manual_seed(3)
    ids = torch.randint(4, WORDS - 4, (2, 11))
    ids[:, [2, 6]] = TAG
    return torch.randn(4, 3, 16, 16), ids


def theirs(every=2):
    """Their model between the same tower and language model, with gates that are open; and its own way to save it."""
    helpers = open_flamingo()
    module = {
        name: importlib.import_module(f"open_flamingo.src.{name}")
        for name in ("flamingo", "flamingo_lm", "utils")
    }
    assert helpers is not None

    class Clip(nn.Module):
        def __init__(self, tower):
            super().__init__()
            self.tower = tower

        def forward(self, pixel_values):
            return None, self.tower(pixel_values)

    lm = opt()
    module["utils"].extend_instance(lm, module["flamingo_lm"].FlamingoLMMixin)
    lm.set_decoder_layers_attr_name("model.decoder.layers")
    lm.resize_token_embeddings(WORDS, mean_resizing=False)
    clip = nn.Module()
    clip.visual = Clip(tower())
    torch.manual_seed(4)
    model = module["flamingo"].Flamingo(
        clip, lm, eoc_token_id=38, media_token_id=TAG, vis_dim=24, cross_attn_every_n_layers=every
    )
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("_gate"):
                value.fill_(0.3 if name.endswith("attn_gate") else -0.4)
            elif ("perceiver" in name or "gated" in name) and (
                "norm" in name or name.endswith(("ff.0.weight", "1.0.weight"))
            ):
                value.add_(0.1 * torch.randn_like(value))
    kept = {
        name: value
        for name, value in model.state_dict().items()
        if not any(
            part in name
            for part in (
                "old_decoder_blocks",
                "lang_encoder.gated_cross_attn_layers",
                "vision_encoder",
            )
        )
        and ("gated_cross_attn" in name or "perceiver" in name or "embed" in name)
    }
    return model.eval(), kept


@pytest.mark.skipif(
    importlib.util.find_spec("open_flamingo") is None, reason="needs open-flamingo: make bench"
)
@pytest.mark.parametrize("every", (1, 2))
def test_their_checkpoint_says_the_same_in_ours(every, inputs, tmp_path):
    model, kept = theirs(every)
    pixel_values, ids = inputs
    saved = {
        "epoch": 3,
        "model_state_dict": {f"module.{name}": value for name, value in kept.items()},
    }
    torch.save(saved, tmp_path / "checkpoint.pt")
    ours = weights.from_open_flamingo(tmp_path / "checkpoint.pt", tower(), opt(), TAG)
    with torch.no_grad():
        wanted = model(pixel_values.reshape(2, 2, 1, 3, 16, 16), ids, torch.ones_like(ids)).logits
        found = ours(ids, **ours.vision_context(pixel_values))
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
        other = ours(ids, **ours.vision_context(pixel_values.flip(0)))
    assert (other - found).abs().max() > 1e-2  # the gates are open: pictures count
    assert list(ours.blocks) == ([str(n) for n in range(4)] if every == 1 else ["1", "3"])
    assert not any(p.requires_grad for part in (ours.vision, ours.lm) for p in part.parameters())


def as_theirs(model: Flamingo) -> dict[str, torch.Tensor]:
    return as_open_flamingo(model, "model.decoder.layers", "model.decoder.embed_tokens")


@pytest.fixture(scope="module")
def ours():
    lm = opt()
    lm.resize_token_embeddings(WORDS, mean_resizing=False)
    torch.manual_seed(5)
    config = weights.FlamingoConfig(
        image_token_id=TAG,
        vision_width=24,
        latents=5,
        resampler_depth=2,
        resampler_heads=1,
        cross_attention_every=2,
        resampler_head_width=64,
        frames=3,
        heads=2,
        head_width=64,
        activation=nn.GELU,
    )
    model = Flamingo(config, tower(), freeze(lm)).eval()
    with torch.no_grad():
        for block in model.blocks.values():
            block.gate.alpha.fill_(0.5)
            block.gate_feedforward.alpha.fill_(0.2)
    return model


def test_names_and_sizes_are_read_from_the_checkpoint(ours, inputs):
    pixel_values, ids = inputs
    again = weights.from_open_flamingo(as_theirs(ours), tower(), opt(), TAG)
    assert again.config == ours.config
    with torch.no_grad():
        torch.testing.assert_close(
            again(ids, **again.vision_context(pixel_values)),
            ours(ids, **ours.vision_context(pixel_values)),
        )
        film = pixel_values[:3]
        torch.testing.assert_close(
            again.vision_context([film])["media"], ours.vision_context([film])["media"]
        )
    assert (
        again.lm.get_input_embeddings().num_embeddings == WORDS
        and opt().get_input_embeddings().num_embeddings == WORDS - 3
    )


def test_the_tower_gives_patches_before_the_last_norm():
    one = tower()
    pixel_values = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        whole = ViT.tokens(one.vision, pixel_values)
        assert one(pixel_values).shape == (2, 4, 24)
        torch.testing.assert_close(one(pixel_values), whole[:, 1:])
    assert isinstance(one.vision.norm_out, nn.Identity)


@pytest.mark.parametrize(
    "message, change",
    [
        ("no checkpoint of OpenFlamingo: it holds x", lambda state: {"x": torch.zeros(1)}),
        ("features 24 wide, this image tower gives 20", lambda state: state),
        (
            "the checkpoint's words are 16 wide",
            lambda state: (
                state | {"lang_encoder.model.decoder.embed_tokens.weight": torch.zeros(WORDS, 16)}
            ),
        ),
        (
            "blocks before layers \\[1\\], this language model 4 layers",
            lambda state: {
                name: value for name, value in state.items() if "layers.3.gated" not in name
            },
        ),
        (
            "no gated blocks",
            lambda state: {name: value for name, value in state.items() if "gated" not in name},
        ),
        (
            "weights missing: perceiver.norm.bias",
            lambda state: {
                name: value for name, value in state.items() if name != "perceiver.norm.bias"
            },
        ),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_computed(ours, message, change):
    vision = tower()
    if "image tower" in message:
        vision.width = 20
    with pytest.raises(ValueError, match=message):
        weights.from_open_flamingo(change(as_theirs(ours)), vision, opt(), TAG)


def test_missing_files_and_tags_say_what_to_do(ours, tmp_path):
    with pytest.raises(ValueError, match="downloaded once where there is a network"):
        weights.from_open_flamingo(tmp_path / "nowhere.pt", tower(), opt(), TAG)
    with pytest.raises(ValueError, match="id 40 of <image> is beyond the 40 words"):
        weights.from_open_flamingo(as_theirs(ours), tower(), opt(), WORDS)
