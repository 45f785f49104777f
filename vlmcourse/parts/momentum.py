"""Momentum encoders and their queue (MoCo, He et al. 2019, arXiv 1911.05722), as ALBEF and BLIP use them."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from vlmcourse.parts.losses import gather


class MomentumEncoders(nn.Module):
    """Exponential moving averages of modules, and a queue of the last vectors that they gave.

    modules     by name; each copy is an attribute of that name, without gradient
    width       D of the vectors
    queue_size  Q vectors of images and of texts are kept, the oldest is replaced first; 0: none
    momentum    copy = momentum * copy + (1 - momentum) * module at each `update`
    """

    image_queue: Tensor  # (Q, D)
    text_queue: Tensor  # (Q, D)
    queue_start: Tensor  # (), index of the oldest entry

    def __init__(
        self,
        modules: dict[str, nn.Module],
        width: int,
        queue_size: int = 0,
        momentum: float = 0.995,
    ):
        super().__init__()
        self.momentum, self.names = momentum, tuple(modules)
        for name, module in modules.items():
            setattr(self, name, deepcopy(module).requires_grad_(False))
        for name in ("image_queue", "text_queue"):
            vectors = nn.functional.normalize(torch.randn(queue_size, width), dim=-1)
            self.register_buffer(name, vectors)
        self.register_buffer("queue_start", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def update(self, modules: dict[str, nn.Module]) -> None:
        """Moves the copies one step towards the modules; call it after each step of the optimiser."""
        for name in self.names:
            copies, learnt = getattr(self, name).parameters(), modules[name].parameters()
            for copy, parameter in zip(copies, learnt, strict=True):
                copy.lerp_(parameter, 1 - self.momentum)

    @torch.no_grad()
    def enqueue(self, images: Tensor, texts: Tensor) -> None:
        """Replaces the oldest entries by the vectors (B, D) of all processes.

        Raises ValueError unless the queue's size is a multiple of their number.
        """
        images, texts = gather(images), gather(texts)
        size, count = len(self.image_queue), len(images)
        if not size:
            return
        if size % count:
            raise ValueError(
                f"a queue of {size} and {count} new pairs at a time; expected a multiple of the batch, "
                f"such as {max(1, size // count) * count} or {(size // count + 1) * count}."
            )
        rows = slice(int(self.queue_start), int(self.queue_start) + count)
        self.image_queue[rows], self.text_queue[rows] = images, texts
        self.queue_start.fill_(rows.stop % size)
