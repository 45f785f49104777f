"""Losses on pairs of images and texts: contrastive (ITC) and matching (ITM), with negatives from all processes."""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import cross_entropy, pad


class _Gather(torch.autograd.Function):
    """all_gather with a gradient: each process receives the sum of all processes' gradients for its own rows."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


def gather(x: Tensor) -> Tensor:
    """Rows of all processes, in rank order: (B, ...) -> (processes * B, ...); x itself in a single process.

    Gradients cross processes: a loss over all pairs, averaged over processes as data parallelism does, has the gradient
    that it would have in one process. Every process must bring the same number of rows.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return x
    return _Gather.apply(x) if x.is_floating_point() else _Gather.forward(None, x)


def similarity(image: Tensor, text: Tensor) -> Tensor:
    """Dot products of N images and M texts: image (N, D) or (N, R, D), text (M, D) -> (N, M), in float32.

    Of an image with R vectors the most similar one counts (BLIP-2, Sec. 3.1). Autocast is off: cosines times a scale of
    up to 100 would be wrong by whole units in bfloat16.
    """
    with torch.autocast(image.device.type, enabled=False):
        scores = image.float() @ text.float().T
    return scores if image.dim() == 2 else scores.amax(1)


def caption_groups(ids: Tensor, pad: int) -> Tensor:
    """One integer per text that is equal for equal texts: ids (B, T) -> (B,). First token and padding are ignored.

    It depends on the text alone (a polynomial hash, integers wrap around), so processes and batches of other lengths agree.
    """
    hashes = ids.new_zeros(len(ids))
    for column in ids[:, 1:].T:
        hashes = torch.where(column == pad, hashes, hashes * 1_000_003 + column + 1)
    return hashes


def _positive_targets(
    batch: int, total: int, positive_groups: Tensor | None, like: Tensor
) -> Tensor:
    """Target probabilities (batch, total): uniform over the positives of each of this process's rows."""
    if positive_groups is None:
        group_ids = torch.arange(total, device=like.device)
    else:
        group_ids = gather(positive_groups)
    first = dist.get_rank() * batch if total > batch else 0
    positives = (group_ids[first : first + batch, None] == group_ids[None, :]).float()
    return positives / positives.sum(1, keepdim=True)


@dataclass(frozen=True)
class MomentumTargets:
    """What momentum encoders add to `clip_loss` (ALBEF, Li et al. 2021, arXiv 2107.07651, Eq. 6).

    image, text               (B, D) unit vectors of the batch by the momentum encoders
    image_queue, text_queue   (Q, D) their vectors of earlier batches: more negatives; Q may be 0
    alpha                     share of the targets that is the momentum encoders' own softmax; paper: 0.4
    """

    image: Tensor
    text: Tensor
    image_queue: Tensor
    text_queue: Tensor
    alpha: float


def clip_loss(
    image: Tensor,
    text: Tensor,
    scale: Tensor | float,
    positive_groups: Tensor | None = None,
    label_smoothing: float = 0.0,
    momentum: MomentumTargets | None = None,
) -> Tensor:
    """Image-text contrastive loss: symmetric cross-entropy over scaled cosines (CLIP, Fig. 3) -> scalar.

    image            (B, D) unit vectors, or (B, R, D) of which the most similar counts (BLIP-2)
    text             (B, D) unit vectors; row i belongs to row i of image
    scale            1 / temperature
    positive_groups  (B,) integers: rows with equal integers are positives of each other, for repeated captions
    label_smoothing  share of the targets spread evenly over all candidates (BLIP-2: 0.1)
    momentum         momentum encoders' vectors as candidates and as soft targets (ALBEF, BLIP)

    Equal embeddings give ln(B); a batch of one gives 0. With several processes the candidates come from all of them: the
    mean of the processes' losses (and gradients) is that of one process. Raises ValueError unless there is one text per image.
    """
    if len(image) != len(text) or image.shape[-1] != text.shape[-1] or text.dim() != 2:
        raise ValueError(
            f"clip_loss needs one text for each image, both (batch, width); "
            f"found {tuple(image.shape)} and {tuple(text.shape)}."
        )
    images, texts = (image, text) if momentum is None else (momentum.image, momentum.text)
    images, texts = gather(images), gather(texts)
    targets = _positive_targets(len(image), len(texts), positive_groups, text)
    if momentum is not None:
        images = torch.cat([images, momentum.image_queue])
        texts = torch.cat([texts, momentum.text_queue])
        targets = pad(targets, (0, len(momentum.text_queue)))
    logits = scale * similarity(image, texts), scale * similarity(images, text).T  # (B, all + Q)
    target_pair = [targets, targets]
    if momentum is not None:
        with torch.no_grad():
            soft = similarity(momentum.image, texts), similarity(momentum.text, images)
            target_pair = [
                torch.lerp(targets, (scale * s).softmax(-1), momentum.alpha) for s in soft
            ]
    image_loss, text_loss = (
        cross_entropy(rows, target, label_smoothing=label_smoothing)
        for rows, target in zip(logits, target_pair)
    )
    return (image_loss + text_loss) / 2


MINIMUM_WEIGHT = (
    1e-4  # without it nothing is left to draw where the softmax is 1 on the positive pair
)


@torch.no_grad()
def hard_negatives(
    similarities: Tensor,
    positive_groups: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Samples a negative text per image and a negative image per text, similar ones more often (ALBEF, Sec. 3.2).

    similarities     (B, B), images x texts, scaled as the contrastive logits
    positive_groups  (B,) integers: rows with equal integers are never negatives of each other
    generator        on any device; default: torch's own
    Returns indices of texts (B,) and of images (B,), drawn with probability softmax(similarities) + 1e-4 among the negatives.
    Raises ValueError for other shapes, and where a pair has no negative.
    """
    B = len(similarities)
    if similarities.shape != (B, B):
        raise ValueError(
            f"similarities are {tuple(similarities.shape)}; expected as many images as texts, (batch, batch)."
        )
    group_ids = positive_groups
    group_ids = torch.arange(B, device=similarities.device) if group_ids is None else group_ids
    if len(group_ids) != B:
        raise ValueError(
            f"positive_groups has {len(group_ids)} numbers for {B} pairs; expected one for each pair."
        )
    positive = group_ids[:, None] == group_ids[None, :]
    if alone := positive.all(1).nonzero()[:, 0].tolist():
        raise ValueError(
            f"pair {alone[0]} of the batch of {B} has no negative: all other pairs are in its positive group. "
            "Image-text matching needs at least two different pairs in a batch."
        )
    device = similarities.device if generator is None else generator.device

    def sample(rows: Tensor) -> Tensor:
        weights = (rows.float().softmax(-1) + MINIMUM_WEIGHT).masked_fill(positive, 0)
        return torch.multinomial(weights.to(device), 1, generator=generator)[:, 0].to(rows.device)

    return sample(similarities), sample(similarities.T)


def itm_loss(positive_logits: Tensor, negative_logits: Tensor) -> Tensor:
    """Image-text matching loss: cross-entropy of logits (M, 2) of positive and (N, 2) of negative pairs -> scalar.

    Class 1 is "match". With twice as many negatives as positives, a constant 1/3 gives 0.637, a constant 1/2 gives ln 2 = 0.693.
    """
    labels = torch.tensor(
        [1] * len(positive_logits) + [0] * len(negative_logits), device=positive_logits.device
    )
    return cross_entropy(torch.cat([positive_logits, negative_logits]).float(), labels)
