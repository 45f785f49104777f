"""Lesson 15: the course's own answers to its exercises, which later cells use until the student's are right."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from copy import deepcopy

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

PARTS = {
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "self_attn.q_proj": "attention.query",
    "self_attn.out_proj": "attention.out",
    "mlp.fc1": "feedforward.0",
    "mlp.fc2": "feedforward.2",
}
"""Modules of a layer that have one counterpart: transformers' name -> ours."""
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
"""SmolLM2's system message, for conversations that begin without one."""


def convert_layers(source: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Layers of a CLIP under transformers' names -> the same under ours."""
    result = {}
    for name, tensor in source.items():
        if ".encoder.layers." not in name:
            continue
        tower, _, _, number, *module, kind = name.split(".")
        ours = f"{tower.removesuffix('_model')}.transformer.blocks.{number}."
        part = ".".join(module)
        if part == "self_attn.k_proj":
            value = source[name.replace("k_proj", "v_proj")]
            result[f"{ours}attention.key_value.{kind}"] = torch.cat([tensor, value])
        elif part != "self_attn.v_proj":
            result[f"{ours}{PARTS[part]}.{kind}"] = tensor
    return result


def compare_tensors(
    model: Mapping[str, Tensor], source: Mapping[str, Tensor]
) -> tuple[list[str], list[str], list[str]]:
    """Names that the source lacks, that the model lacks, and whose shapes differ; each list sorted."""
    missing = sorted(set(model) - set(source))
    unexpected = sorted(set(source) - set(model))
    both = set(model) & set(source)
    return missing, unexpected, sorted(n for n in both if model[n].shape != source[n].shape)


def preprocess(picture: Image.Image, size: int, mean: Tensor, std: Tensor) -> Tensor:
    """RGB picture -> pixel_values (3, size, size), as CLIP's image processor."""
    width, height = picture.size
    short = min(width, height)
    resized = (size * width // short, size * height // short)
    picture = picture.resize(resized, Image.Resampling.BICUBIC)
    left, top = (resized[0] - size) // 2, (resized[1] - size) // 2
    picture = picture.crop((left, top, left + size, top + size))
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
    return (pixels - mean[:, None, None]) / std[:, None, None]


def resize_positions(positions: Tensor, grid: int) -> Tensor:
    """Positions (1 + P, D) of a class token and a square of patches -> (1 + grid ** 2, D)."""
    first, patches = positions[:1], positions[1:]
    old = math.isqrt(len(patches))
    image = patches.T.reshape(1, -1, old, old)
    image = interpolate(image, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([first, image[0].flatten(1).T])


def bpe(word: str, merges: Sequence[tuple[str, str]]) -> list[str]:
    """The pieces into which byte-pair encoding cuts a word."""
    rank = {pair: number for number, pair in enumerate(merges)}
    pieces = list(word)
    while len(pieces) > 1:
        pairs = list(itertools.pairwise(pieces))
        best = min(pairs, key=lambda pair: rank.get(pair, math.inf))
        if best not in rank:
            break
        at = pairs.index(best)
        pieces[at : at + 2] = ["".join(best)]
    return pieces


def grow_embedding(table: nn.Embedding, related: Sequence[Sequence[int]]) -> nn.Embedding:
    """A copy with a new row for each entry: the mean of the rows named there, or of all rows."""
    old = table.weight.detach()
    rows = [old[list(ids)].mean(0) if ids else old.mean(0) for ids in related]
    return nn.Embedding.from_pretrained(torch.cat([old, torch.stack(rows)]), freeze=False)


def chat_prompt(messages: Sequence[Mapping[str, str]]) -> str:
    """A conversation in SmolLM2's format, up to where the assistant's answer begins."""
    if messages[0]["role"] != "system":
        messages = [{"role": "system", "content": SYSTEM}, *messages]
    turns = [f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages]
    return "".join(turns) + "<|im_start|>assistant\n"


def split_tiles(box: tuple[int, int, int, int], side: int, step: int) -> tuple[Tensor, Tensor]:
    """Corners (n, 2) of squares in the first half of a box, and of those in its second half."""
    left, top, right, bottom = box
    if right - left >= bottom - top:
        middle = (left + right) // 2
        halves = (left, top, middle, bottom), (middle, top, right, bottom)
    else:
        middle = (top + bottom) // 2
        halves = (left, top, right, middle), (left, middle, right, bottom)
    found = []
    for x1, y1, x2, y2 in halves:
        xs, ys = range(x1, x2 - side + 1, step), range(y1, y2 - side + 1, step)
        found.append(torch.tensor([(x, y) for y in ys for x in xs]).reshape(-1, 2))
    return found[0], found[1]


def parameter_groups(
    layers: Sequence[Sequence[nn.Parameter]], rate: float, decay: float, frozen: int
) -> list[dict]:
    """Groups for an optimiser: the last layer learns at `rate`, each one below `decay` times as fast."""
    groups = []
    for number, parameters in enumerate(layers):
        for parameter in parameters:
            parameter.requires_grad_(number >= frozen)
        if number >= frozen:
            above = len(layers) - 1 - number
            groups.append({"params": list(parameters), "lr": rate * decay**above})
    return groups


def mix_models(first: nn.Module, second: nn.Module, alpha: float) -> nn.Module:
    """A model of the same architecture with weights (1 - alpha) * first + alpha * second."""
    mixed, target = deepcopy(first), second.state_dict()
    values = {
        name: torch.lerp(tensor, target[name], alpha) for name, tensor in first.state_dict().items()
    }
    mixed.load_state_dict(values)
    return mixed


def bootstrap_interval(right: Tensor, groups: Tensor, draws: Tensor) -> tuple[float, float]:
    """Limits of the 95 % interval of the mean over groups of each group's accuracy."""
    means = torch.stack([right[groups == group].float().mean() for group in groups.unique()])
    low, high = torch.quantile(means[draws].mean(1), torch.tensor([0.025, 0.975]))
    return low.item(), high.item()


def sign_flip_test(differences: Tensor) -> float:
    """The share of all sign patterns whose mean is at least as far from zero as that of the differences."""
    signs = torch.tensor(list(itertools.product([1.0, -1.0], repeat=len(differences))))
    means = (signs * differences).mean(1).abs()
    return (means >= differences.mean().abs() - 1e-6).float().mean().item()
