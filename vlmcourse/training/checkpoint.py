"""Tensors on disk that are either whole or not there.

One safetensors file holds the tensors, what made them, and a checksum of both. It is written beside its place and moved
there in one step, so a killed process leaves the old file or the new one, never half of one.
"""

import hashlib
import json
import os
from pathlib import Path

import torch
from torch import Tensor


class DamagedCheckpoint(Exception):
    """A checkpoint that cannot be trusted: truncated, altered, or not a checkpoint at all."""


def checksum(tensors: dict[str, Tensor], notes: str = "") -> str:
    """Changes if a single byte, name or shape of the tensors, or the notes, change."""
    digest = hashlib.sha256(notes.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()


def save(path: Path, tensors: dict[str, Tensor], notes: dict) -> None:
    """Writes tensors and `notes` (anything JSON can hold) to `path`, atomically."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(notes, sort_keys=True)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    save_file(tensors, unfinished, metadata={"notes": text, "checksum": checksum(tensors, text)})
    with open(unfinished, "rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)


def load(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and notes of `path`. Raises FileNotFoundError, or Damaged if a single byte is not what was written."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged ({error}).") from error
    if metadata.get("checksum") != checksum(tensors, metadata.get("notes", "")):
        raise DamagedCheckpoint(
            f"checkpoint {path} is damaged: its checksum does not match its content."
        )
    return tensors, json.loads(metadata["notes"])
