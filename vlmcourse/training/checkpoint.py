"""Tensors on disk that are either whole or not there.

One safetensors file holds the tensors, notes about them, and a checksum of both. It is written under another
name and renamed in one step, so a killed process leaves the old file or the new one, never half of one.
"""

import hashlib
import json
import os
from pathlib import Path

import torch
from torch import Tensor


class DamagedCheckpoint(ValueError):
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
    """Writes tensors and `notes` (anything JSON can hold) to `path`, atomically.

    Raises OSError, in one sentence, if they cannot be written (a full disk, no permission); what was there stays.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    text = json.dumps(notes, sort_keys=True)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(
            tensors, unfinished, metadata={"notes": text, "checksum": checksum(tensors, text)}
        )
        with open(unfinished, "rb+") as file:  # Windows flushes only what it may write
            os.fsync(file.fileno())
        unfinished.replace(path)
    except (OSError, SafetensorError) as error:
        unfinished.unlink(missing_ok=True)
        raise OSError(
            f"{path} cannot be written ({error}). What was there before is unchanged. Is the disk full?"
        ) from error


def remove_unfinished(path: Path) -> None:
    """Deletes what killed processes left half-written beside `path`. Call it only where no other process writes."""
    for part in path.parent.glob(f"{path.name}.*.part"):
        part.unlink(missing_ok=True)


def load(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and notes of `path`. Raises FileNotFoundError; DamagedCheckpoint if a byte is not what was written."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # copies: a tensor that maps the file would keep Windows from replacing it
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged ({error}).") from error
    if metadata.get("checksum") != checksum(tensors, metadata.get("notes", "")):
        raise DamagedCheckpoint(
            f"checkpoint {path} is damaged: its checksum does not match its content."
        )
    return tensors, json.loads(metadata["notes"])
