"""OpenFlamingo's checkpoints (Awadalla et al. 2023, arXiv 2308.01390) as a Flamingo.

Such a file holds what was trained: the resampler ("perceiver"), the gated blocks, and the language model's word embeddings,
which have rows for <image> and <|endofchunk|>. CLIP and the language model are loaded from where they always are:

    clip = CLIP.from_pretrained("openai/clip-vit-large-patch14")
    lm, words = language.load("togethercomputer/RedPajama-INCITE-Base-3B-v1")   # of OpenFlamingo-4B
    words.add_special_tokens({"additional_special_tokens": ["<|endofchunk|>", "<image>"]})
    model = from_open_flamingo("checkpoint.pt", open_flamingo_vision(clip.vision), lm, words.convert_tokens_to_ids("<image>"))
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlmcourse.papers.checkpoint_formats import OPEN_FLAMINGO
from vlmcourse.papers.checkpoints import copy_weights, read_tensors
from vlmcourse.papers.flamingo import Flamingo, FlamingoConfig
from vlmcourse.parts.image_features import ImageFeatures
from vlmcourse.parts.language import decoder_layers, freeze, width

HEAD_WIDTH = 64  # of all attention heads: their code's default, which no checkpoint changes
WORDS = re.compile(r"lang_encoder\.(?:.*\.)?(embed_tokens|wte|embed_in|lm_head|embed_out)\.weight$")
IN_LAYER = re.compile(
    r"lang_encoder\.(?:gated_cross_attn_layers\.(\d+)|.*\.(\d+)\.gated_cross_attn_layer)\.(.+)$"
)


def open_flamingo_vision(vision: nn.Module) -> ImageFeatures:
    """CLIP's image encoder as OpenFlamingo reads it: patches without the class token, before the last LayerNorm.

    That is open_clip's `output_tokens` when these checkpoints were trained; later versions apply the LayerNorm first.
    """
    return ImageFeatures(vision, skip_blocks=0, class_token=False)


def read(source: str | Path | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint file, or of its contents. Raises ValueError for something else."""
    if isinstance(source, (str, Path)):
        if not Path(source).is_file():
            raise ValueError(
                f"there is no file {source}; expected OpenFlamingo's checkpoint.pt, downloaded once where there is "
                "a network: huggingface_hub.hf_hub_download('openflamingo/OpenFlamingo-4B-vitl-rpj3b', "
                "'checkpoint.pt')."
            )
        source = read_tensors(Path(source))  # type: ignore[assignment]
    loaded: Any = source
    loaded = loaded.get("model_state_dict", loaded)
    tensors = {name.removeprefix("module."): value for name, value in loaded.items()}
    if "perceiver.latents" not in tensors:
        raise ValueError(
            f"no checkpoint of OpenFlamingo: it holds {', '.join(list(tensors)[:3]) or 'nothing'}, ...; expected "
            "names that begin with perceiver. and lang_encoder."
        )
    return tensors


def _interval(layers: set[int], depth: int) -> int:
    """k, if there is a block before each k-th of `depth` layers. Raises ValueError otherwise."""
    if not layers:
        raise ValueError(
            "the checkpoint has no gated blocks; expected names with gated_cross_attn_layer."
        )
    interval = min(layers) + 1
    if layers != {layer for layer in range(depth) if (layer + 1) % interval == 0}:
        raise ValueError(
            f"the checkpoint has blocks before layers {sorted(layers)}, this language model {depth} layers; "
            f"expected a block before every {interval}. of them. Is it the language model that the checkpoint was "
            "trained with?"
        )
    return interval


def _with_words(lm: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A frozen copy of the language model with the checkpoint's word embeddings. Raises ValueError for another width."""
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
            is_output = match[1] in ("lm_head", "embed_out")
            table = lm.get_output_embeddings() if is_output else lm.get_input_embeddings()
            with torch.no_grad():
                table.weight.copy_(value)
    return freeze(lm)


def from_open_flamingo(
    source: str | Path | Mapping[str, Tensor],
    vision: nn.Module,
    lm: nn.Module,
    image_token_id: int,
) -> Flamingo:
    """The same function as OpenFlamingo, with the weights of a checkpoint (copied).

    source  checkpoint.pt, or the tensors in it;  vision: pixels -> features, such as `open_flamingo_vision`
    lm      the decoder of transformers that the checkpoint was trained with
    Raises ValueError for parts that do not fit, and missing or unexpected weights.
    """
    tensors = read(source)
    lm = _with_words(lm, tensors)
    weights = {name: value for name, value in tensors.items() if name.startswith("perceiver.")}
    for name, value in tensors.items():  # a file may hold every block under two names
        if match := IN_LAYER.match(name):
            weights[f"blocks.{match[1] or match[2]}.{match[3]}"] = value
    (latents, vision_width) = tensors["perceiver.latents"].shape
    if getattr(vision, "width", vision_width) != vision_width:
        raise ValueError(
            f"the checkpoint reads features {vision_width} wide, this image tower gives {vision.width}; expected "
            "CLIP ViT-L/14 for the published ones."
        )
    if not 0 <= image_token_id < (words := lm.get_input_embeddings().num_embeddings):
        raise ValueError(
            f"id {image_token_id} of <image> is beyond the {words} words; give the "
            "tokenizer <|endofchunk|> and <image>, in this order, before you ask it."
        )
    # The published ones know no videos: a single frame, with an embedding of zero.
    frames = weights.setdefault("perceiver.frame_embs", torch.zeros(1, vision_width))
    layers = {int(name.split(".")[1]) for name in weights if name.startswith("blocks.")}
    depth = {int(name.split(".")[2]) for name in weights if name.startswith("perceiver.layers.")}
    interval = _interval(layers, len(decoder_layers(lm)))
    config = FlamingoConfig(
        image_token_id=image_token_id,
        vision_width=vision_width,
        latents=latents,
        frames=len(frames),
        activation=nn.GELU,
        head_width=HEAD_WIDTH,
        resampler_depth=len(depth),
        resampler_heads=len(weights["perceiver.layers.0.0.to_q.weight"]) // HEAD_WIDTH,
        resampler_head_width=HEAD_WIDTH,
        cross_attention_every=interval,
        heads=len(weights[f"blocks.{interval - 1}.attn.to_q.weight"]) // HEAD_WIDTH,
    )
    model = Flamingo(config, freeze(vision), lm)
    return copy_weights(model, weights, OPEN_FLAMINGO, fresh=("vision.", "lm.")).eval()
