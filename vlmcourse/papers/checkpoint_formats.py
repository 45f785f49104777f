"""Formats of public checkpoints: which of their parameters is which of ours (see `checkpoints.copy_weights`), and their sizes."""

from __future__ import annotations

from typing import Any

from torch import nn

from vlmcourse.parts.layers import QuickGELU

Names = dict[str, "str | tuple[str, ...]"]
"""Our parameter, or module, -> theirs; `*` is the number of a layer; several of theirs are stacked in one of ours."""


def under(prefix: str, source_prefix: str, names: Names) -> Names:
    """The same map with a prefix on both sides."""
    pairs = ((key, (value,) if isinstance(value, str) else value) for key, value in names.items())
    return {prefix + key: tuple(source_prefix + name for name in value) for key, value in pairs}


BERT_LAYER: Names = {
    "attention.query": "attention.self.query",
    "attention.key_value": ("attention.self.key", "attention.self.value"),
    "attention.out": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "feedforward.0": "intermediate.dense",
    "feedforward.2": "output.dense",
    "norm2": "output.LayerNorm",
}
PRE_NORM_LAYER: Names = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attention.query": "self_attn.q_proj",
    "attention.key_value": ("self_attn.k_proj", "self_attn.v_proj"),
    "attention.out": "self_attn.out_proj",
    "feedforward.0": "mlp.fc1",
    "feedforward.2": "mlp.fc2",
}
CLIP: Names = {
    "logit_scale": "logit_scale",
    "image_projection": "visual_projection",
    "text_projection": "text_projection",
    "vision.stem.project": "vision_model.embeddings.patch_embedding",
    "vision.class_token": "vision_model.embeddings.class_embedding",
    "vision.positions": "vision_model.embeddings.position_embedding.weight",
    "vision.norm_in": "vision_model.pre_layrnorm",  # sic
    "vision.norm_out": "vision_model.post_layernorm",
    **under("vision.transformer.blocks.*.", "vision_model.encoder.layers.*.", PRE_NORM_LAYER),
    "text.tokens": "text_model.embeddings.token_embedding",
    "text.positions": "text_model.embeddings.position_embedding.weight",
    "text.norm_out": "text_model.final_layer_norm",
    **under("text.transformer.blocks.*.", "text_model.encoder.layers.*.", PRE_NORM_LAYER),
}
BLIP_VISION: Names = {
    "class_token": "embeddings.class_embedding",
    "positions": "embeddings.position_embedding",
    "stem.project": "embeddings.patch_embedding",
    "norm_out": "post_layernorm",
    **under(
        "transformer.blocks.*.",
        "encoder.layers.*.",
        PRE_NORM_LAYER | {"attention.out": "self_attn.projection"},
    ),
}
BLIP_TEXT: Names = {
    "embeddings.words": "embeddings.word_embeddings",
    "embeddings.positions": "embeddings.position_embeddings.weight",
    "embeddings.norm": "embeddings.LayerNorm",
    **under(
        "blocks.*.",
        "encoder.layer.*.",
        BERT_LAYER
        | {
            "cross.query": "crossattention.self.query",
            "cross.key_value": ("crossattention.self.key", "crossattention.self.value"),
            "cross.out": "crossattention.output.dense",
            "norm_cross": "crossattention.output.LayerNorm",
        },
    ),
}
BLIP_HEADS: Names = {
    "itm_head": "itm_head",
    "image_projection": "vision_proj",
    "text_projection": "text_proj",
    "head.dense": "text_decoder.cls.predictions.transform.dense",
    "head.norm": "text_decoder.cls.predictions.transform.LayerNorm",
    "head.bias": "text_decoder.cls.predictions.bias",
}
QFORMER: Names = {
    "norm": "layernorm",
    "layers.*.attention.query": "encoder.layer.*.attention.attention.query",
    "layers.*.attention.key_value": tuple(
        f"encoder.layer.*.attention.attention.{name}" for name in ("key", "value")
    ),
    "layers.*.attention.out": "encoder.layer.*.attention.output.dense",
    "layers.*.norm": "encoder.layer.*.attention.output.LayerNorm",
    "layers.*.cross_attention.query": "encoder.layer.*.crossattention.attention.query",
    "layers.*.cross_attention.key_value": tuple(
        f"encoder.layer.*.crossattention.attention.{name}" for name in ("key", "value")
    ),
    "layers.*.cross_attention.out": "encoder.layer.*.crossattention.output.dense",
    "layers.*.norm_cross_attention": "encoder.layer.*.crossattention.output.LayerNorm",
    "layers.*.feedforward_queries.0": "encoder.layer.*.intermediate_query.dense",
    "layers.*.feedforward_queries.2": "encoder.layer.*.output_query.dense",
    "layers.*.norm_queries": "encoder.layer.*.output_query.LayerNorm",
    "layers.*.feedforward_text.0": "encoder.layer.*.intermediate.dense",
    "layers.*.feedforward_text.2": "encoder.layer.*.output.dense",
    "layers.*.norm_text": "encoder.layer.*.output.LayerNorm",
}
BLIP2: Names = {
    **under("qformer.", "qformer.", QFORMER),
    "qformer.queries": "query_tokens",
    "qformer.norm_image": "vision_model.post_layernorm",
    "qformer.words": "embeddings.word_embeddings",
    "qformer.positions": "embeddings.position_embeddings.weight",
    "image_projection": "vision_projection",
    "text_projection": "text_projection",
    "itm_head": "itm_head",
    "language_projection": "language_projection",
}
BERT: Names = {
    "embed_word": "embeddings.word_embeddings",
    "embed_position": "embeddings.position_embeddings",
    "embed_segment": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
    **under("blocks.*.", "encoder.layer.*.", BERT_LAYER),
}
OPEN_FLAMINGO: Names = {
    "resampler.latents": "perceiver.latents",
    "resampler.time_embeddings": "perceiver.frame_embs",
    "resampler.norm": "perceiver.norm",
    **under(
        "resampler.layers.*.",
        "perceiver.layers.*.",
        {
            "norm_features": "0.norm_media",
            "norm_latents": "0.norm_latents",
            "attention.query": "0.to_q",
            "attention.key_value": "0.to_kv",
            "attention.out": "0.to_out",
            "norm": "1.0",
            "feedforward.0": "1.1",
            "feedforward.2": "1.3",
        },
    ),
    **under(
        "blocks.*.",
        "blocks.*.",
        {
            "norm": "attn.norm",
            "attention.query": "attn.to_q",
            "attention.key_value": "attn.to_kv",
            "attention.out": "attn.to_out",
            "gate.alpha": "attn_gate",
            "norm_feedforward": "ff.0",
            "feedforward.0": "ff.1",
            "feedforward.2": "ff.3",
            "gate_feedforward.alpha": "ff_gate",
        },
    ),
}
"""The gated block before layer n is called blocks.n here; the files call it after the language model's modules."""


def same_setting(*values: Any, what: str, allowed: tuple) -> Any:
    """The value that all are equal to. Raises ValueError if they differ or it is not allowed."""
    if len(set(values)) > 1 or values[0] not in allowed:
        listed = " and ".join(f"'{value}'" for value in values)
        raise ValueError(
            f"{what} {listed}; expected the same everywhere, one of {', '.join(map(str, allowed))}."
        )
    return values[0]


def tower_sizes(config, prefix: str) -> dict[str, int]:
    """Width, depth, heads and feed-forward width, as our configs call them."""
    return {
        f"{prefix}width": config.hidden_size,
        f"{prefix}depth": config.num_hidden_layers,
        f"{prefix}heads": config.num_attention_heads,
        f"{prefix}hidden": config.intermediate_size,
    }


def clip_sizes(config) -> dict:
    """Fields of CLIPConfig of a transformers.CLIPConfig. Raises ValueError for what our CLIP has not."""
    vision, text = config.vision_config, config.text_config
    activations = {"quick_gelu": QuickGELU, "gelu": nn.GELU}
    eps = vision.layer_norm_eps, text.layer_norm_eps
    activation = same_setting(
        vision.hidden_act, text.hidden_act, what="activations", allowed=tuple(activations)
    )
    return {
        "vocabulary": text.vocab_size,
        "end": None if text.eos_token_id == 2 else text.eos_token_id,  # 2 marks old checkpoints
        "context": text.max_position_embeddings,
        "embedding": config.projection_dim,
        "image_size": vision.image_size,
        "patch": vision.patch_size,
        "activation": activations[activation],
        "eps": same_setting(*eps, what="LayerNorm eps", allowed=eps),
        **tower_sizes(vision, "vision_"),
        **tower_sizes(text, "text_"),
    }


def blip_sizes(config) -> dict:
    """Fields of BLIPConfig of a transformers.BlipConfig, without the ids of [CLS] and [ENC]. Raises ValueError for other activations than gelu."""
    vision, text = config.vision_config, config.text_config
    same_setting(vision.hidden_act, text.hidden_act, what="activations", allowed=("gelu",))
    return {
        "vocabulary": text.vocab_size,
        "dec": text.bos_token_id,
        "end": text.sep_token_id,
        "pad": text.pad_token_id,
        "context": text.max_position_embeddings,
        "embedding": config.image_text_hidden_size,
        "image_size": vision.image_size,
        "patch": vision.patch_size,
        "vision_eps": vision.layer_norm_eps,
        "text_eps": text.layer_norm_eps,
        "label_smoothing": text.label_smoothing,
        **tower_sizes(vision, "vision_"),
        **tower_sizes(text, "text_"),
    }


def qformer_sizes(config) -> dict:
    """Fields of QFormerConfig of a transformers.Blip2QFormerConfig, without the number of queries."""
    same_setting(config.hidden_act, what="activation", allowed=("gelu",))
    return {
        "vision_width": config.encoder_hidden_size,
        "vocabulary": config.vocab_size if config.use_qformer_text_input else None,
        "pad_token_id": config.pad_token_id or 0,
        "context": config.max_position_embeddings,
        "cross_attention_every": config.cross_attention_frequency,
        "eps": config.layer_norm_eps,
        **tower_sizes(config, ""),
    }


def blip2_sizes(model: nn.Module) -> dict:
    """Fields of QFormerConfig of a BLIP-2 model of transformers."""
    return qformer_sizes(model.config.qformer_config) | {"queries": model.query_tokens.shape[1]}


LLAVA_PROJECTOR: Names = {"0": "linear_1", "2": "linear_2"}


def llava_features(config) -> tuple[int, bool]:
    """Arguments skip_blocks and class_token of ImageFeatures, of a transformers.LlavaConfig.

    Raises ValueError for features of several layers, and for another activation of the projector.
    """
    same_setting(config.projector_hidden_act, what="activation", allowed=("gelu",))
    layer, depth = config.vision_feature_layer, config.vision_config.num_hidden_layers
    if not isinstance(layer, int):
        raise ValueError(f"features of the layers {layer}; expected those of one layer.")
    skip = -1 - layer if layer < 0 else depth - layer
    return skip, config.vision_feature_select_strategy == "full"
