"""Lesson 15: checkpoints in this course's classes beside the libraries that wrote them: largest differences of outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from copy import deepcopy
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

import torch
import transformers
from PIL import Image
from torch import Tensor, nn

from teaching import tiny_checkpoints
from vlmcourse.papers.blip import BLIP
from vlmcourse.papers.blip2 import BLIP2
from vlmcourse.papers.clip import CLIP
from vlmcourse.papers.llava import LLaVA
from vlmcourse.parts import language

SAME = 1e-4
"""Largest difference that counts as the same, of numbers around 1."""


@dataclass(frozen=True)
class Parity:
    """Our class, the reference's, and outputs of both for the same inputs."""

    ours: str
    reference: str
    found: Tensor
    wanted: Tensor

    @property
    def difference(self) -> float:
        """The largest difference of two numbers."""
        return (self.found - self.wanted).abs().max().item()

    def line(self) -> str:
        """A row of the table."""
        verdict = "yes" if self.difference < SAME else "**no**"
        spread = self.wanted.std().item()
        return f"| {self.ours} | `{self.reference}` | {self.difference:.0e} | {spread:.2g} | {verdict} |"


def _pixels(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    size = tiny_checkpoints.SIZE
    return torch.randn(count, 3, size, size, generator=generator)


def _clip(folder: Path) -> Parity:
    theirs = transformers.CLIPModel.from_pretrained(tiny_checkpoints.clip(folder)).eval()
    ids = torch.tensor([[97, 5, 9, 98], [97, 7, 98, 0], [97, 1, 2, 98]])
    inputs = {"pixel_values": _pixels(3), "input_ids": ids, "attention_mask": (ids != 0).long()}
    found = CLIP.from_pretrained(str(folder)).logits(_pixels(3), ids)
    return Parity("CLIP", "CLIPModel", found, theirs(**inputs).logits_per_image)


def _blip(folder: Path) -> Parity:
    name = "BlipForConditionalGeneration"
    theirs = getattr(transformers, name).from_pretrained(tiny_checkpoints.blip(folder)).eval()
    ours, ids = BLIP.from_pretrained(str(folder)), torch.tensor([[96, 5, 9, 4], [96, 7, 3, 8]])
    found = ours(ids, **ours.vision_context(_pixels(2)))
    return Parity("BLIP", name, found, theirs(pixel_values=_pixels(2), input_ids=ids).logits)


def _blip2(folder: Path) -> Parity:
    name = "Blip2ForConditionalGeneration"
    theirs = getattr(transformers, name).from_pretrained(tiny_checkpoints.blip2(folder)).eval()
    ours, ids = (
        BLIP2.from_pretrained(str(folder)),
        torch.tensor([[4, 4, 4, 8, 9], [4, 4, 4, 10, 1]]),
    )
    found = ours(ids, **ours.vision_context(_pixels(2)))
    return Parity("BLIP-2 with OPT", name, found, theirs(_pixels(2), ids).logits)


def _llava(folder: Path) -> Parity:
    name = "LlavaForConditionalGeneration"
    theirs = getattr(transformers, name).from_pretrained(tiny_checkpoints.llava(folder)).eval()
    ours, ids = LLaVA.from_pretrained(str(folder)), torch.tensor([[5, 3, 3, 3, 3, 8, 9]])
    found = ours(ids, **ours.vision_context(_pixels(1)))
    wanted = theirs(input_ids=ids, pixel_values=_pixels(1)).logits
    return Parity("LLaVA with Llama", name, found, wanted)


def _decoder(config: Callable, name: str) -> Callable[[Path], Parity]:
    """A language model read through vectors, as our bridges do, beside the same one read by ids."""

    def parity(folder: Path) -> Parity:
        sizes = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=50)
        torch.manual_seed(0)
        transformers.AutoModelForCausalLM.from_config(config(**sizes)).save_pretrained(folder)
        lm = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        ids = torch.tensor([[3, 8, 9, 4, 7]])
        found = language.logits(lm, language.embed(lm, ids))
        return Parity(f"`language.logits` of {name}", type(lm).__name__, found, lm(ids).logits)

    return parity


MODELS = (
    _clip,
    _blip,
    _blip2,
    _llava,
    _decoder(transformers.OPTConfig, "OPT"),
    _decoder(transformers.LlamaConfig, "Llama (SmolLM2's kind)"),
)


@torch.no_grad()
def parities(root: Path) -> list[Parity]:
    """Each model with random weights, saved in a folder below `root`, then loaded by both libraries."""
    with redirect_stderr(StringIO()):
        return [model(root / f"parity{number}") for number, model in enumerate(MODELS)]


def parity_table(found: Sequence[Parity]) -> str:
    """Parities as a Markdown table."""
    head = "| ours | transformers | largest difference | standard deviation of outputs | same? |"
    return "\n".join([head, "|---|---|---|---|---|", *(one.line() for one in found)])


@dataclass(frozen=True)
class OnPhotos:
    """A checkpoint on photographs, by our code and by transformers': differences, and our probabilities (images, texts)."""

    pixels: float
    logits: float
    probabilities: Tensor


@torch.no_grad()
def on_photos(
    folder: str | Path, photos: Sequence[Image.Image], texts: Sequence[str], preprocess: Callable
) -> OnPhotos:
    """A CLIP checkpoint with its processors, from a folder or the hub: everything once by us, once by transformers."""
    theirs = transformers.CLIPModel.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    tokens = transformers.AutoTokenizer.from_pretrained(folder)
    batch = tokens(list(texts), padding=True, return_tensors="pt")
    wanted_pixels = processor(images=list(photos), return_tensors="pt")["pixel_values"]
    mean, std = torch.tensor(processor.image_mean), torch.tensor(processor.image_std)
    size = wanted_pixels.shape[-1]
    pixels = torch.stack([preprocess(photo, size, mean, std) for photo in photos])
    found = CLIP.from_hf(theirs).logits(pixels, batch["input_ids"])
    wanted = theirs(
        pixel_values=wanted_pixels,
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
    ).logits_per_image
    return OnPhotos(
        (pixels - wanted_pixels).abs().max().item(),
        (found - wanted).abs().max().item(),
        found.softmax(-1),
    )


@torch.no_grad()
def load_layers(folder: Path, convert_layers: Callable) -> float:
    """The largest difference of logits between transformers' CLIP and ours whose layers were blank, then converted.

    Raises RuntimeError if a name has no place (strict loading).
    """
    theirs = transformers.CLIPModel.from_pretrained(folder).eval()
    ours = CLIP.from_hf(theirs)
    for tower in (ours.vision, ours.text):
        for parameter in tower.transformer.parameters():
            parameter.zero_()
    values = ours.state_dict() | convert_layers(theirs.state_dict())
    ours.load_state_dict(values)
    ids = torch.tensor([[97, 5, 9, 98], [97, 7, 98, 0]])
    inputs = {"pixel_values": _pixels(2), "input_ids": ids, "attention_mask": (ids != 0).long()}
    return (ours.logits(_pixels(2), ids) - theirs(**inputs).logits_per_image).abs().max().item()


@torch.no_grad()
def position_difference(folder: Path, resize_positions: Callable, size: int) -> float:
    """Image vectors of a larger picture: largest difference from transformers' with interpolate_pos_encoding=True."""
    theirs = transformers.CLIPModel.from_pretrained(folder).eval()
    ours = with_resolution(CLIP.from_hf(theirs), size, resize_positions)
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    wanted = theirs.vision_model(pixels, interpolate_pos_encoding=True).pooler_output
    return (ours.vision(pixels) - wanted).abs().max().item()


def with_resolution(clip: CLIP, size: int, resize_positions: Callable) -> CLIP:
    """The same CLIP for pictures of `size` pixels, with positions (1 + P, D) resized to the new grid."""
    model = deepcopy(clip)
    grid = size // model.config.patch
    positions = resize_positions(model.vision.positions.detach(), grid)
    model.vision.positions = nn.Parameter(positions)
    model.vision.image_size, model.vision.grid = size, grid
    model.config = replace(model.config, image_size=size)
    return model
