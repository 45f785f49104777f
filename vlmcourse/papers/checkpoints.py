"""Public weights in this course's models, in float32: loading that refuses what does not fit (formats: checkpoint_formats.py)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from vlmcourse.papers import checkpoint_formats as formats
from vlmcourse.papers.checkpoint_formats import Names
from vlmcourse.parts.image_features import ImageFeatures

CLASS_FOR = {
    "clip": "CLIP (of transformers.CLIPModel)",
    "blip": "BLIP (of BlipForImageTextRetrieval, BlipForConditionalGeneration or BlipForQuestionAnswering)",
    "blip-2": "BLIP2 (of Blip2ForConditionalGeneration) or Stage1 (of Blip2ForImageTextRetrieval)",
    "llava": "LLaVA (of LlavaForConditionalGeneration)",
    "bert": "VLBERT.load_bert (of BertModel)",
}
"""Who takes checkpoints of a model type of transformers."""

UNREADABLE = (OSError, EOFError, KeyError, RuntimeError, UnpicklingError, SafetensorError)
"""What torch and transformers raise for missing and damaged files."""


def _listed(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _refuse(
    where: str, missing: Iterable[str], unexpected: Iterable[str], mismatched: Iterable[str]
) -> None:
    """Raises ValueError with the list, if anything is in it."""
    kinds = {"missing": missing, "unexpected": unexpected, "of another size": mismatched}
    if problems := [f"{kind}: {_listed(names)}" for kind, names in kinds.items() if names]:
        raise ValueError(f"{where} does not fit: weights {'; '.join(problems)}.")


def check_pointer(file: Path) -> None:
    """Raises ValueError for a pointer of Git LFS, which stands where the weights were not downloaded."""
    if file.open("rb").read(30).startswith(b"version https://git-lfs"):
        raise ValueError(f"{file} is a pointer of Git LFS, not the weights: run `git lfs pull`.")


def read_tensors(file: Path) -> Mapping[str, object]:
    """What is in a file of torch.save, on the CPU. Raises ValueError, in one sentence, for a damaged or missing file."""
    try:
        check_pointer(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise ValueError(
            f"{file} can't be read as weights of torch.save ({type(error).__name__}): it is damaged, cut off or "
            "something else. Download it again."
        ) from error


def load_transformers(name_or_folder: str, ours: str, model_type: str, classes: tuple[str, ...]):
    """A model of transformers in float32, of one of `classes`, from the hub or a folder, for our class named `ours`.

    Raises ValueError for another model type, unreadable files, and missing, unexpected or mismatched weights.
    """
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(name_or_folder)
        kinds = [kind for kind in config.architectures or classes if kind in classes]
        if config.model_type != model_type or not kinds:
            architectures = ", ".join(config.architectures or [f"model type {config.model_type}"])
            advice = CLASS_FOR.get(config.model_type, "none of the papers' classes")
            raise ValueError(
                f"it holds {architectures}; {ours} takes {', '.join(classes)}. The class for it: {advice}"
            )
        model, report = getattr(transformers, kinds[0]).from_pretrained(
            name_or_folder,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except (*UNREADABLE, ValueError) as error:
        for file in [
            *Path(name_or_folder).glob("*.safetensors"),
            *Path(name_or_folder).glob("*.bin"),
        ]:
            check_pointer(file)
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"'{name_or_folder}' could not be loaded: {reason}.") from error
    mismatched = [name if isinstance(name, str) else name[0] for name in report["mismatched_keys"]]
    _refuse(
        f"'{name_or_folder}'",
        report["missing_keys"],
        [name for name in report["unexpected_keys"] if not name.endswith("position_ids")],
        mismatched,
    )
    return model


class FromTransformers:
    """Mixin of models whose class has `from_hf`: adds `from_pretrained`."""

    hf_model_type: ClassVar[str]
    hf_classes: ClassVar[tuple[str, ...]]

    @classmethod
    def from_pretrained(cls, name_or_folder: str):
        """A checkpoint of the Hugging Face hub, or of a folder, in this class, in float32. Raises ValueError for what does not fit.

        Pixels are normalised by its own processor: `transformers.AutoImageProcessor.from_pretrained(name_or_folder)`.
        """
        return cls.from_hf(  # type: ignore[attr-defined]
            load_transformers(name_or_folder, cls.__name__, cls.hf_model_type, cls.hf_classes)
        )


def source_names(names: Names, ours: str) -> tuple[str, ...]:
    """Their names for our parameter, in the order in which they are stacked; () where the map has none."""
    number = re.search(r"(?<=blocks\.|layers\.)\d+(?=\.)", ours)
    pattern = ours if number is None else f"{ours[: number.start()]}*{ours[number.end() :]}"
    module, _, kind = pattern.rpartition(".")
    sources = names.get(pattern) or names.get(module) or ()
    sources = (sources,) if isinstance(sources, str) else sources
    if pattern not in names:
        sources = tuple(f"{name}.{kind}" for name in sources)
    return tuple(name.replace("*", number[0]) if number else name for name in sources)


@torch.no_grad()
def copy_weights(
    model: nn.Module,
    source: Mapping[str, Tensor],
    names: Names,
    *,
    fresh: tuple[str, ...] = (),
    tied: Mapping[str, str] | None = None,
) -> Any:
    """Copies the tensors of `source` into `model`, as float32; returns the model.

    names   our parameter or module -> theirs
    fresh   beginnings of our names that may keep their values if the source lacks them
    tied    their parameters that must equal another of theirs, because ours are one
    Raises ValueError with the list of missing, unexpected and mismatched weights, and for untied ones.
    """
    values = model.state_dict()
    used: set[str] = set()
    missing: set[str] = set()
    mismatched: set[str] = set()
    for ours, value in values.items():
        sources = source_names(names, ours)
        absent = [name for name in sources if name not in source] if sources else [ours]
        if absent:
            missing |= set() if ours.startswith(fresh) else set(absent)
            continue
        used |= set(sources)
        tensor = (
            torch.cat([source[name] for name in sources]) if sources[1:] else source[sources[0]]
        )
        if tensor.numel() != value.numel():
            mismatched.add(f"{sources[0]} {tuple(tensor.shape)} for {tuple(value.shape)}")
            continue
        values[ours] = tensor.detach().reshape(value.shape)
    for name, partner in (tied or {}).items():
        if name in source and not torch.equal(source[name], source[partner]):
            raise ValueError(f"{name} is not tied to {partner}; expected equal weights, as here.")
    left_over = {name for name in source if name not in used and name not in (tied or {})}
    _refuse("the checkpoint", missing, left_over, mismatched)
    model.load_state_dict(values)
    return model


def split_qkv(source: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fused matrices `...qkv.weight` (3 D, D) and biases as those of q_proj, k_proj and v_proj."""
    result = {}
    for name, tensor in source.items():
        if re.search(r"\.qkv\.(weight|bias)$", name):
            for part, value in zip("qkv", tensor.chunk(3)):
                result[name.replace(".qkv.", f".{part}_proj.")] = value
        else:
            result[name] = tensor
    return result


BLIP_CLASSES = (
    "BlipForImageTextRetrieval",
    "BlipForConditionalGeneration",
    "BlipForQuestionAnswering",
)


def blip_roles(model: nn.Module) -> list[str]:
    """Which of text_encoder and text_decoder a model of transformers has. Raises ValueError if it has neither."""
    roles = [role for role in ("text_encoder", "text_decoder") if hasattr(model, role)]
    if not roles:
        raise ValueError(
            f"{type(model).__name__} has neither text_encoder nor text_decoder; "
            f"expected one of {', '.join(BLIP_CLASSES)}."
        )
    return roles


def copy_blip(blip: Any, model: nn.Module) -> Any:
    """The weights of one of BLIP_CLASSES into our BLIP of the same sizes; a single text transformer serves as encoder and decoder."""
    roles = blip_roles(model)
    encoder = "text_encoder." if "text_encoder" in roles else "text_decoder.bert."
    decoder = "text_decoder.bert." if "text_decoder" in roles else "text_encoder."
    head = "text_decoder.cls.predictions."
    return copy_weights(
        blip,
        split_qkv(model.state_dict()),
        {
            **formats.BLIP_HEADS,
            **formats.under("vision.", "vision_model.", formats.BLIP_VISION),
            **formats.under("encoder.", encoder, formats.BLIP_TEXT),
            **formats.under("decoder.", decoder, formats.BLIP_TEXT),
        },
        fresh=("head.", "itm_head.", "image_projection.", "text_projection.", "temperature"),
        tied={
            f"{head}decoder.weight": "text_decoder.bert.embeddings.word_embeddings.weight",
            f"{head}decoder.bias": f"{head}bias",
        },
    )


def blip2_vision(model: nn.Module) -> ImageFeatures:
    """The image encoder of a BLIP-2 model of transformers, which lacks its last block already."""
    return ImageFeatures(model.vision_model, skip_blocks=0).float()


def copy_blip2(ours: nn.Module, model: nn.Module, fresh: tuple[str, ...] = ()) -> Any:
    """The weights of a BLIP-2 model of transformers, except those of image encoder and language model, into ours.

    The last LayerNorm of its image encoder is the trained LayerNorm of our Q-Former.
    """
    norm = "vision_model.post_layernorm."
    source = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name.startswith(norm) or not name.startswith(("vision_model.", "language_model."))
    }
    return copy_weights(ours, source, formats.BLIP2, fresh=("vision.", "lm.", *fresh))


def llava_language_model(model: nn.Module) -> nn.Module:
    """The language model of a LLaVA of transformers, with its head, as a decoder by itself (weights copied)."""
    import transformers

    inner: Any = model.model
    decoder = transformers.AutoModelForCausalLM.from_config(model.config.text_config).float()
    decoder.base_model.load_state_dict(inner.language_model.state_dict())
    decoder.get_output_embeddings().load_state_dict(model.lm_head.state_dict())
    return decoder
