"""OpenFlamingo's checkpoints (Awadalla et al. 2023, arXiv 2308.01390) in our Flamingo: which of their parameters is which.

Such a file holds what was trained: the resampler ("perceiver"), the gated blocks, and the language model's word vectors, which
have rows for <image> and <|endofchunk|>. CLIP and the language model are loaded from where they always are:

    clip = CLIP.from_pretrained("openai/clip-vit-large-patch14")
    lm, words = language.load("togethercomputer/RedPajama-INCITE-Base-3B-v1")   # of OpenFlamingo-4B; a decoder of transformers
    words.add_special_tokens({"additional_special_tokens": ["<|endofchunk|>", "<image>"]})
    model = from_open_flamingo("checkpoint.pt", PatchTower(clip.vision), lm, words.convert_tokens_to_ids("<image>"))
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlmcourse.papers.flamingo import Flamingo, FlamingoConfig
from vlmcourse.parts.language import decoder_layers, freeze, width
from vlmcourse.parts.vision import ViT

HEAD_WIDTH = (
    64  # of all heads, in resampler and blocks: their code's default, which no checkpoint changes
)
RESAMPLER = {
    "norm_features": "0.norm_media",
    "norm_latents": "0.norm_latents",
    "attention.query": "0.to_q",
    "attention.key_value": "0.to_kv",
    "attention.out": "0.to_out",
    "norm": "1.0",
    "feedforward.0": "1.1",
    "feedforward.2": "1.3",
}
BLOCK = {
    "norm": "attn.norm",
    "attention.query": "attn.to_q",
    "attention.key_value": "attn.to_kv",
    "attention.out": "attn.to_out",
    "norm_feedforward": "ff.0",
    "feedforward.0": "ff.1",
    "feedforward.2": "ff.3",
}
GATES = {"gate.alpha": "attn_gate", "gate_feedforward.alpha": "ff_gate"}
WORDS = re.compile(r"lang_encoder\.(?:.*\.)?(embed_tokens|wte|embed_in|lm_head|embed_out)\.weight$")
IN_LAYER = re.compile(
    r"lang_encoder\.(?:gated_cross_attn_layers\.(\d+)|.*\.(\d+)\.gated_cross_attn_layer)\.(.+)$"
)


class PatchTower(nn.Module):
    """CLIP's image tower as OpenFlamingo reads it: patches without the class token, before the last LayerNorm.

    (That is what open_clip's `output_tokens` gave when these checkpoints were trained. Later versions normalise the patches
    first: with them the very same checkpoint sees something else.)
    """

    def __init__(self, vit: ViT):
        super().__init__()
        self.vit, self.width = deepcopy(vit), vit.width
        self.vit.norm_out = nn.Identity()

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(M, 3, S, S) -> (M, P, D)."""
        return self.vit.tokens(pixel_values)[:, 1:]


def read(source: str | Path | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint file, or of what was loaded from one. Raises ValueError for something else."""
    if isinstance(source, (str, Path)):
        if not Path(source).is_file():
            raise ValueError(
                f"there is no file {source}; expected OpenFlamingo's checkpoint.pt, downloaded once where there is "
                "a network: huggingface_hub.hf_hub_download('openflamingo/OpenFlamingo-4B-vitl-rpj3b', "
                "'checkpoint.pt')."
            )
        source = torch.load(source, map_location="cpu", weights_only=True)
    loaded: Any = source
    tensors = {
        name.removeprefix("module."): value
        for name, value in loaded.get("model_state_dict", loaded).items()
    }
    if "perceiver.latents" not in tensors:
        raise ValueError(
            f"no checkpoint of OpenFlamingo: it holds {', '.join(list(tensors)[:3]) or 'nothing'}, ...; expected "
            "names that begin with perceiver. and lang_encoder."
        )
    return tensors


def _blocks(tensors: Mapping[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """{number of the layer: the block before it}. A file may hold every block under two names."""
    found: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if match := IN_LAYER.match(name):
            found.setdefault(int(match[1] or match[2]), {})[match[3]] = value
    return found


def _numbered(blocks: Mapping[int, object], depth: int) -> int:
    """Every how many layers there is a block. Raises ValueError if that doesn't fit a language model of this depth."""
    if not blocks:
        raise ValueError(
            "the checkpoint has no gated blocks; expected names with gated_cross_attn_layer."
        )
    cross_attention_every = min(blocks) + 1
    if set(blocks) != {
        number for number in range(depth) if (number + 1) % cross_attention_every == 0
    }:
        raise ValueError(
            f"the checkpoint has blocks before layers {sorted(blocks)}, this language model {depth} layers; "
            f"expected a block before every {cross_attention_every}. of them. Is it the language model that the checkpoint was "
            "trained with?"
        )
    return cross_attention_every


def _with_words(lm: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A copy of the language model, as many words long as the checkpoint's, with its rows."""
    lm = deepcopy(lm).requires_grad_(False)
    for name, value in tensors.items():
        if match := WORDS.match(name):
            if value.shape[1] != width(lm):
                raise ValueError(
                    f"the checkpoint's words are {value.shape[1]} wide, this language model's {width(lm)}; "
                    "expected the language model that the checkpoint was trained with."
                )
            if lm.get_input_embeddings().num_embeddings != len(value):
                lm.resize_token_embeddings(len(value), mean_resizing=False)
            says = match[1] in ("lm_head", "embed_out")
            with torch.no_grad():
                (lm.get_output_embeddings() if says else lm.get_input_embeddings()).weight.copy_(
                    value
                )
    return freeze(lm)


def from_open_flamingo(
    source: str | Path | Mapping[str, Tensor], vision: nn.Module, lm: nn.Module, image_token_id: int
) -> Flamingo:
    """A Flamingo that computes what OpenFlamingo does, with the weights of a checkpoint (copied).

    source  checkpoint.pt, or the tensors in it;  vision: pixels -> features, such as a PatchTower
    lm      a decoder of transformers, the one the checkpoint was trained with;  tag: id of <image> among the checkpoint's words
    """
    tensors = read(source)
    lm, blocks = _with_words(lm, tensors), _blocks(tensors)
    (latents, vision_width), inner = (
        tensors["perceiver.latents"].shape,
        tensors["perceiver.layers.0.0.to_q.weight"].shape[0],
    )
    if getattr(vision, "width", vision_width) != vision_width:
        raise ValueError(
            f"the checkpoint reads features {vision_width} wide, this image tower gives {vision.width}; expected "
            "CLIP ViT-L/14 for the published ones."
        )
    if not 0 <= image_token_id < lm.get_input_embeddings().num_embeddings:
        raise ValueError(
            f"id {image_token_id} of <image> is beyond the {lm.get_input_embeddings().num_embeddings} words; give the "
            "tokenizer <|endofchunk|> and <image>, in this order, before you ask it."
        )
    frames = tensors.get(
        "perceiver.frame_embs", torch.zeros(1, vision_width)
    )  # the published ones know no films
    config = FlamingoConfig(
        image_token_id=image_token_id,
        vision_width=vision_width,
        latents=latents,
        frames=len(frames),
        activation=nn.GELU,
        head_width=HEAD_WIDTH,
        resampler_depth=1
        + max(int(name.split(".")[2]) for name in tensors if name.startswith("perceiver.layers.")),
        resampler_heads=inner // HEAD_WIDTH,
        resampler_head_width=HEAD_WIDTH,
        cross_attention_every=_numbered(blocks, len(decoder_layers(lm))),
        heads=next(iter(blocks.values()))["attn.to_q.weight"].shape[0] // HEAD_WIDTH,
    )
    model = Flamingo(config, freeze(vision), lm)
    own = {"resampler.latents": tensors["perceiver.latents"], "resampler.time_embeddings": frames}
    names = {"resampler.norm": "perceiver.norm"}
    for number in range(config.resampler_depth):
        names |= {
            f"resampler.layers.{number}.{ours}": f"perceiver.layers.{number}.{theirs}"
            for ours, theirs in RESAMPLER.items()
        }
    for ours, theirs in names.items():
        own |= {
            f"{ours}.{kind}": tensors[f"{theirs}.{kind}"]
            for kind in ("weight", "bias")
            if f"{theirs}.{kind}" in tensors
        }
    for number, block in blocks.items():
        own |= {
            f"blocks.{number}.{ours}": block[theirs].reshape(()) for ours, theirs in GATES.items()
        }
        own |= {
            f"blocks.{number}.{ours}.{kind}": block[f"{theirs}.{kind}"]
            for ours, theirs in BLOCK.items()
            for kind in ("weight", "bias")
            if f"{theirs}.{kind}" in block
        }
    wanted = {
        name: value
        for name, value in model.state_dict().items()
        if name.startswith(("resampler.", "blocks."))
    }
    if set(own) != set(wanted):
        raise ValueError(
            f"the checkpoint lacks {sorted(set(wanted) - set(own))[:3]} or has {sorted(set(own) - set(wanted))[:3]} "
            "beyond what is known; expected a checkpoint of OpenFlamingo 2."
        )
    model.load_state_dict(own, strict=False)
    return model.eval()
