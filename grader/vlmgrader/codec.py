"""What may cross between the grader and a student's kernel: plain tensors and JSON values, nothing that can act.

One message is one safetensors file: the tensors, and in its metadata a tree that says where they go. Both sides write it;
only the reader's strictness protects, because a student can change everything on the other side.
"""

import json
import struct

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

BYTES = 16 * 2**20
HEADER_BYTES = 2**20
NODES = 10_000
DEPTH = 16
SCALARS = (bool, int, float, str, type(None))


class Unreadable(ValueError):
    """Bytes from a kernel that are no answer."""


class Unsendable(TypeError):
    """A value that is neither a tensor nor made of JSON values; the message names its type."""


def from_numpy(value):
    """An array or a number of one of numpy's own types as a tensor or a number; anything else as it is."""
    import numpy

    kind = type(value)
    if kind is numpy.ndarray and value.dtype.kind in "biufc":
        return torch.from_numpy(numpy.ascontiguousarray(value)).clone().reshape(value.shape)
    if (
        isinstance(value, numpy.generic)
        and kind.__module__ == "numpy"
        and value.dtype.kind in "biuf"
    ):
        return value.item()
    return value


def _plain(value):
    """numpy's exact types as tensors and numbers; a Parameter as the tensor it is."""
    kind = type(value)
    if kind is torch.nn.Parameter or kind is torch.Tensor:
        if value.layout is not torch.strided:
            raise Unsendable("sparse Tensor")
        return torch.Tensor.contiguous(torch.Tensor.detach(value).to("cpu")).resolve_conj().clone()
    return from_numpy(value)


def _tree(value, tensors: dict[str, torch.Tensor], depth: int = 0):
    value = _plain(value)
    kind = type(value)
    if depth > DEPTH:
        raise Unsendable(f"{kind.__name__} nested more than {DEPTH} deep")
    if kind in SCALARS:
        return value
    if kind is torch.Tensor:
        tensors[str(len(tensors))] = value
        return {"tensor": str(len(tensors) - 1)}
    if kind in (list, tuple):
        return {kind.__name__: [_tree(part, tensors, depth + 1) for part in value]}
    if kind is dict and all(type(key) is str for key in value):
        return {"dict": [[key, _tree(part, tensors, depth + 1)] for key, part in value.items()]}
    raise Unsendable(kind.__name__)


def encode(value) -> bytes:
    """One message. Raises Unsendable, naming the type, for anything but exact tensors and JSON values (and tuples)."""
    tensors: dict[str, torch.Tensor] = {}
    tree = json.dumps(_tree(value, tensors))
    return save(tensors, metadata={"tree": tree})


def decode(message: bytes):
    """The value again, made of fresh plain tensors. Raises Unreadable for whatever isn't exactly such a message."""
    if len(message) > BYTES:
        raise Unreadable(
            f"an answer of {len(message) / 2**20:.0f} MB; at most {BYTES // 2**20} MB are read"
        )
    try:
        size = struct.unpack("<Q", message[:8])[0]
        if size > HEADER_BYTES:
            raise Unreadable("an answer with too many parts")
        tree = json.loads(json.loads(message[8 : 8 + size])["__metadata__"]["tree"])
        return _value(tree, load(message), [0])
    except Unreadable:
        raise
    except (
        SafetensorError,
        struct.error,
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
        RuntimeError,
    ) as error:
        raise Unreadable(f"no readable answer ({type(error).__name__})") from None


def _value(tree, tensors: dict[str, torch.Tensor], nodes: list[int], depth: int = 0):
    nodes[0] += 1
    if nodes[0] > NODES or depth > DEPTH:
        raise Unreadable("an answer with too many parts")
    if type(tree) in SCALARS:
        return tree
    if type(tree) is not dict or len(tree) != 1:
        raise Unreadable("no readable answer (tree)")
    [(kind, content)] = tree.items()
    if kind == "tensor":
        return tensors[content]
    if kind in ("list", "tuple") and type(content) is list:
        parts = [_value(part, tensors, nodes, depth + 1) for part in content]
        return parts if kind == "list" else tuple(parts)
    if kind == "dict" and type(content) is list:
        values = {}
        for key, part in content:
            if type(key) is not str:
                raise Unreadable("no readable answer (key)")
            values[key] = _value(part, tensors, nodes, depth + 1)
        return values
    raise Unreadable("no readable answer (kind)")
