"""Checkpoints of the papers' kinds, tiny and random, in a folder as the hub would give them: lesson 15 practises with them.

`real` asks for the real ones, and says what to do where there is no network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from vlmcourse.papers.checkpoint_formats import OPEN_FLAMINGO
from vlmcourse.papers.checkpoints import source_names
from vlmcourse.papers.flamingo import Flamingo, FlamingoConfig
from vlmcourse.papers.flamingo_weights import HEAD_WIDTH, open_flamingo_vision
from vlmcourse.world import tokenizer

Model = TypeVar("Model")
PLACES, WORDS, END = 16, 99, 98  # longest text, words, the end token's id
SIZE, PATCH = 32, 8  # of pictures, in pixels


def _shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights large enough that everything counts: transformers begins with zeros and near-zeros here and there."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def clip(folder: Path) -> Path:
    """A `transformers.CLIPModel`, as 'openai/clip-vit-base-patch32' is one."""
    from transformers import CLIPConfig, CLIPModel

    sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    config = CLIPConfig(
        text_config=dict(
            vocab_size=WORDS,
            max_position_embeddings=PLACES,
            eos_token_id=END,
            bos_token_id=97,
            pad_token_id=0,
            **sizes,
        ),
        vision_config=dict(image_size=SIZE, patch_size=PATCH, **sizes),
        projection_dim=24,
    )
    _shaken(CLIPModel(config)).save_pretrained(folder)
    return folder


def blip(folder: Path) -> Path:
    """A `transformers.BlipForConditionalGeneration`, as 'Salesforce/blip-image-captioning-base' is one."""
    from transformers import BlipConfig, BlipForConditionalGeneration

    sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    config = BlipConfig(
        text_config=dict(
            vocab_size=WORDS,
            encoder_hidden_size=32,
            max_position_embeddings=PLACES,
            bos_token_id=96,
            eos_token_id=END,
            sep_token_id=END,
            pad_token_id=0,
            **sizes,
        ),
        vision_config=dict(image_size=SIZE, patch_size=PATCH, initializer_range=0.02, **sizes),
        image_text_hidden_size=16,
    )
    _shaken(BlipForConditionalGeneration(config)).save_pretrained(folder)
    return folder


def blip2(folder: Path, queries: int = 3, image_token_id: int = 4) -> Path:
    """A `transformers.Blip2ForConditionalGeneration` before a small OPT, as 'Salesforce/blip2-opt-2.7b' is one."""
    from transformers import Blip2Config, Blip2ForConditionalGeneration

    text = dict(
        model_type="opt",
        hidden_size=32,
        ffn_dim=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        vocab_size=WORDS,
        word_embed_proj_dim=32,
        max_position_embeddings=32,
        pad_token_id=1,
    )
    config = Blip2Config(
        vision_config=dict(
            hidden_size=24,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=SIZE,
            patch_size=PATCH,
            initializer_range=0.02,
        ),
        qformer_config=dict(
            vocab_size=WORDS,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            cross_attention_frequency=2,
            encoder_hidden_size=24,
            use_qformer_text_input=False,
        ),
        text_config=text,
        num_query_tokens=queries,
        image_token_index=image_token_id,
    )
    _shaken(Blip2ForConditionalGeneration(config)).save_pretrained(folder)
    return folder


def llava(folder: Path, image_token_id: int = 3) -> Path:
    """A `transformers.LlavaForConditionalGeneration` before a small Llama, as 'llava-hf/llava-1.5-7b-hf' is one."""
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    sizes = dict(hidden_size=32, intermediate_size=64, num_attention_heads=2)
    vision = CLIPVisionConfig(image_size=SIZE, patch_size=2 * PATCH, num_hidden_layers=3, **sizes)
    text = LlamaConfig(vocab_size=WORDS, num_hidden_layers=2, num_key_value_heads=2, **sizes)
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_id=image_token_id)
    _shaken(LlavaForConditionalGeneration(config)).save_pretrained(folder)
    return folder


def clip_with_processors(folder: Path, texts: Sequence[str]) -> Path:
    """`clip` with an image processor and a byte-pair tokenizer trained on these texts: all that a folder of the hub holds."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import CLIPImageProcessor, PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=END - 1, special_tokens=["<pad>", "<unk>"], show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    backend.add_special_tokens([f"<spare{n}>" for n in range(END - 1 - backend.get_vocab_size())])
    backend.add_special_tokens(["<start>", "<end>"])
    backend.post_processor = processors.TemplateProcessing(
        "<start> $A <end>", None, [("<start>", END - 1), ("<end>", END)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<start>",
        eos_token="<end>",
    ).save_pretrained(folder)
    CLIPImageProcessor(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}
    ).save_pretrained(folder)
    return clip(folder)


def language(folder: Path, lm: nn.Module) -> Path:
    """A language model with the world's tokenizer, for `parts.language.load(folder)`."""
    lm.save_pretrained(folder)
    tokenizer.world_tokenizer().save_pretrained(folder)
    return folder


def as_open_flamingo(
    model: Flamingo, layers: str = "model.layers", words: str = "model.embed_tokens"
) -> dict[str, Tensor]:
    """What a checkpoint of OpenFlamingo would hold of this model, under its names: papers.flamingo_weights read backwards.

    layers, words  where its language model has them
    """
    made = {}
    for name, value in model.state_dict().items():
        if name.startswith(("resampler.", "blocks.")):
            (theirs,) = source_names(OPEN_FLAMINGO, name)
            number, _, rest = theirs.removeprefix("blocks.").partition(".")
            if theirs.startswith("blocks."):
                theirs = f"lang_encoder.{layers}.{number}.gated_cross_attn_layer.{rest}"
            made[theirs] = value.reshape(1) if theirs.endswith("_gate") else value
    made[f"lang_encoder.{words}.weight"] = model.lm.get_input_embeddings().weight
    return {name: value.detach().clone() for name, value in made.items()}


def open_flamingo(file: Path, vision: nn.Module, lm: nn.Module, image_token_id: int) -> Path:
    """checkpoint.pt of an OpenFlamingo between this image tower and language model, random, with open gates."""
    config = FlamingoConfig(
        image_token_id=image_token_id,
        vision_width=vision.width,
        latents=5,
        resampler_depth=2,
        resampler_heads=1,
        heads=1,
        frames=1,
        resampler_head_width=HEAD_WIDTH,
        head_width=HEAD_WIDTH,
        activation=nn.GELU,
    )
    torch.manual_seed(0)
    model = Flamingo(config, open_flamingo_vision(vision), lm)
    with torch.no_grad():
        for block in model.blocks.values():
            block.gate.alpha.fill_(0.5)
            block.gate_feedforward.alpha.fill_(0.3)
    tensors = as_open_flamingo(model)
    for handle in model.handles:
        handle.remove()
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            "epoch": 0,
            "model_state_dict": {f"module.{name}": value for name, value in tensors.items()},
        },
        file,
    )
    return file


def real(
    load: Callable[[str], Model],
    name: str,
    download: bool = False,
    say: Callable[[str], None] = print,
) -> Model | None:
    """load(name) if that checkpoint is on this machine, or `download` allows the network; else None, and says what to do."""
    from huggingface_hub import try_to_load_from_cache

    there = Path(name).exists() or isinstance(try_to_load_from_cache(name, "config.json"), str)
    if not there and not download:
        say(
            f"'{name}' is not on this machine. With a network: set DOWNLOAD = True once; then it stays in the hub's cache. "
            "Without: copy its folder here and give that folder's path."
        )
        return None
    try:
        return load(name)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        say(f"'{name}' could not be loaded: {reason}")
        return None
