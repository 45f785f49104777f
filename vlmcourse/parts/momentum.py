"""More negatives than a batch holds: a slow copy of the encoders, and a queue of what it said (MoCo, He et al. 2019).

ALBEF and BLIP take the copy's opinion as soft targets, too: captions of other pictures may fit a little.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from vlmcourse.parts.losses import gather


class MomentumEncoders(nn.Module):
    """Copies of modules that follow them slowly, and the last `queue` vectors they gave, for images and for texts.

    modules   by name; each copy is an attribute of that name, without gradient
    width     of the vectors
    queue     how many of each are kept, oldest out first; 0: none
    rate      copy = rate * copy + (1 - rate) * module at each `update`
    """

    def __init__(
        self, modules: dict[str, nn.Module], width: int, queue: int = 0, rate: float = 0.995
    ):
        super().__init__()
        self.rate = rate
        self.names = tuple(modules)
        for name, module in modules.items():
            setattr(self, name, deepcopy(module).requires_grad_(False))
        self.register_buffer("images", nn.functional.normalize(torch.randn(queue, width), dim=-1))
        self.register_buffer("texts", nn.functional.normalize(torch.randn(queue, width), dim=-1))
        self.register_buffer("next", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def update(self, modules: dict[str, nn.Module]) -> None:
        """One step after the modules: call it after each step of the optimiser."""
        for name in self.names:
            for mine, theirs in zip(
                getattr(self, name).parameters(), modules[name].parameters(), strict=True
            ):
                mine.mul_(self.rate).add_(theirs.detach(), alpha=1 - self.rate)

    @torch.no_grad()
    def enqueue(self, images: Tensor, texts: Tensor) -> None:
        """Puts the vectors of all processes into the queue, in the place of the oldest: (B, E) and (B, E)."""
        images, texts = gather(images), gather(texts)
        size, new = len(self.images), len(images)
        if not size:
            return
        if size % new:
            raise ValueError(
                f"a queue of {size} and {new} new pairs at a time; expected a multiple of the batch, "
                f"such as {max(1, size // new) * new} or {(size // new + 1) * new}."
            )
        first = int(self.next)
        self.images[first : first + new], self.texts[first : first + new] = images, texts
        self.next.fill_((first + new) % size)


def momentum_itc_loss(
    image: Tensor,
    text: Tensor,
    slow_image: Tensor,
    slow_text: Tensor,
    kept_images: Tensor,
    kept_texts: Tensor,
    scale: Tensor | float,
    soft: float,
) -> Tensor:
    """Contrast with the slow copies' vectors and the queue's as candidates, and soft targets (ALBEF, Eq. 6). A scalar.

    image, text            (B, E) unit vectors of the model
    slow_image, slow_text  the same pairs' by the slow copies
    kept_images, kept_texts  (Q, E), of the queue; Q may be 0
    soft                   share of the targets that is the copies' own opinion, a softmax over the candidates; the rest is
                           on the right one. paper: 0.4
    """
    texts, images = (
        torch.cat([gather(slow_text), kept_texts]),
        torch.cat([gather(slow_image), kept_images]),
    )  # (all + Q, E)
    first = (
        torch.distributed.get_rank() * len(image)
        if len(texts) - len(kept_texts) > len(image)
        else 0
    )
    right = torch.zeros(len(image), len(texts), device=image.device)
    right[torch.arange(len(image)), first + torch.arange(len(image))] = 1
    loss = 0
    with torch.autocast(image.device.type, enabled=False):
        for mine, slow, others in ((image, slow_image, texts), (text, slow_text, images)):
            with torch.no_grad():
                targets = (
                    soft * (scale * slow.float() @ others.float().T).softmax(-1)
                    + (1 - soft) * right
                )
            loss = (
                loss
                - (targets * log_softmax(scale * mine.float() @ others.float().T, dim=-1))
                .sum(1)
                .mean()
                / 2
            )
    return loss
