"""transformers' BLIP checkpoints in our BLIP: which of their parameters is which of ours."""

from __future__ import annotations

import torch
from torch import Tensor

from vlmcourse.papers.blip import BLIP, PARAMETER_SHARING, BLIPConfig

ROLES = {"encoder": "text_encoder", "decoder": "text_decoder.bert"}
LAYER = {
    "attention.query": ["attention.self.query"],
    "attention.key_value": ["attention.self.key", "attention.self.value"],
    "attention.out": ["attention.output.dense"],
    "norm1": ["attention.output.LayerNorm"],
    "cross.query": ["crossattention.self.query"],
    "cross.out": ["crossattention.output.dense"],
    "cross.key_value": ["crossattention.self.key", "crossattention.self.value"],
    "norm_cross": ["crossattention.output.LayerNorm"],
    "feedforward.0": ["intermediate.dense"],
    "feedforward.2": ["output.dense"],
    "norm2": ["output.LayerNorm"],
}


def roles(model) -> list[str]:
    """What a transformers model has of "encoder" and "decoder". Raises ValueError for a model that is no BLIP."""
    found = [role for role, prefix in ROLES.items() if hasattr(model, prefix.split(".")[0])]
    if not found:
        raise ValueError(
            f"{type(model).__name__} has neither text_encoder nor text_decoder; expected one of "
            "BlipForImageTextRetrieval, BlipForConditionalGeneration, BlipForQuestionAnswering."
        )
    return found


def config_of(model, first: int, enc: int | None) -> BLIPConfig:
    """Sizes of a transformers model. One with encoder and decoder shares nothing, another needs only one."""
    unshared = PARAMETER_SHARING["none" if len(roles(model)) == 2 else "all"]
    vision, text = model.config.vision_config, model.config.text_config
    if {vision.hidden_act, text.hidden_act} != {"gelu"}:
        raise ValueError(
            f"activations '{vision.hidden_act}' and '{text.hidden_act}'; expected gelu in both."
        )
    return BLIPConfig(
        vocabulary=text.vocab_size,
        cls=first,
        enc=first if enc is None else enc,
        dec=text.bos_token_id,
        end=text.sep_token_id,
        pad=text.pad_token_id,
        context=text.max_position_embeddings,
        embedding=model.config.image_text_hidden_size,
        image_size=vision.image_size,
        patch=vision.patch_size,
        vision_width=vision.hidden_size,
        vision_depth=vision.num_hidden_layers,
        vision_heads=vision.num_attention_heads,
        vision_hidden=vision.intermediate_size,
        vision_eps=vision.layer_norm_eps,
        text_width=text.hidden_size,
        text_depth=text.num_hidden_layers,
        text_heads=text.num_attention_heads,
        text_hidden=text.intermediate_size,
        text_eps=text.layer_norm_eps,
        unshared=unshared,
        label_smoothing=text.label_smoothing,
    )


def weights_of(model, blip: BLIP) -> dict[str, Tensor]:
    """All weights of `blip`, with those that the transformers model has."""
    theirs, mine = model.state_dict(), blip.state_dict()
    one_role = len(roles(model)) == 1
    prefix = {
        role: ROLES[roles(model)[0] if one_role else role] for role in ROLES
    }  # all is shared: both names, one module
    for layer in range(blip.config.vision_depth):  # query, key and value are one matrix there
        for kind in ("weight", "bias"):
            fused = theirs[f"vision_model.encoder.layers.{layer}.self_attn.qkv.{kind}"]
            attention = f"vision.transformer.blocks.{layer}.attention"
            mine[f"{attention}.query.{kind}"], mine[f"{attention}.key_value.{kind}"] = (
                fused.tensor_split([len(fused) // 3])
            )
    for ours, names in _names(blip, prefix).items():
        if names[0] in theirs:
            mine[ours] = torch.cat([theirs[name] for name in names]).reshape(mine[ours].shape)
    return mine


def _names(blip: BLIP, prefix: dict[str, str]) -> dict[str, list[str]]:
    """Our parameter -> transformers' (several where ours holds them as one matrix)."""
    names = {
        "vision.class_token": ["vision_model.embeddings.class_embedding"],
        "vision.positions": ["vision_model.embeddings.position_embedding"],
        "head.bias": ["text_decoder.cls.predictions.bias"],
    }
    modules = {
        "vision.stem.project": ["vision_model.embeddings.patch_embedding"],
        "vision.norm_out": ["vision_model.post_layernorm"],
        "itm_head": ["itm_head"],
        "image_projection": ["vision_proj"],
        "text_projection": ["text_proj"],
        "head.dense": ["text_decoder.cls.predictions.transform.dense"],
        "head.norm": ["text_decoder.cls.predictions.transform.LayerNorm"],
    }
    block = {
        "norm1": "layer_norm1",
        "norm2": "layer_norm2",
        "attention.out": "self_attn.projection",
        "feedforward.0": "mlp.fc1",
        "feedforward.2": "mlp.fc2",
    }
    for layer in range(blip.config.vision_depth):
        ours, theirs = f"vision.transformer.blocks.{layer}", f"vision_model.encoder.layers.{layer}"
        modules |= {f"{ours}.{name}": [f"{theirs}.{other}"] for name, other in block.items()}
    for role, theirs in prefix.items():
        names[f"{role}.embeddings.words.weight"] = [f"{theirs}.embeddings.word_embeddings.weight"]
        names[f"{role}.embeddings.positions"] = [f"{theirs}.embeddings.position_embeddings.weight"]
        modules[f"{role}.embeddings.norm"] = [f"{theirs}.embeddings.LayerNorm"]
        for layer in range(blip.config.text_depth):
            modules |= {
                f"{role}.blocks.{layer}.{name}": [
                    f"{theirs}.encoder.layer.{layer}.{other}" for other in others
                ]
                for name, others in LAYER.items()
            }
    for ours, others in modules.items():
        for kind in ("weight", "bias"):
            names[f"{ours}.{kind}"] = [f"{name}.{kind}" for name in others]
    return names
