"""What the models are trained to do: contrast, with negatives from every process; match, with the hardest of them."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax


class _Gather(torch.autograd.Function):
    """all_gather whose gradient flows back to every process: the sum of what each process sends for my rows."""

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
    """Rows of all processes, in rank order: (B, ...) -> (processes * B, ...). Alone, x itself.

    Gradients cross the processes, so a loss over all pairs, averaged over processes as data parallelism does, has the
    gradient it would have in one process. Every process must bring the same number of rows.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return x
    return _Gather.apply(x) if x.is_floating_point() else _Gather.forward(None, x)


def caption_groups(ids: Tensor, pad: int) -> Tensor:
    """Numbers (B,) that are equal where texts (B, T) are, the first token and padding aside: for `same`.

    They hang on the text alone, so they agree between processes, and between batches that are padded to other lengths.
    """
    numbers = ids.new_zeros(len(ids))
    for column in ids[:, 1:].T:
        numbers = torch.where(
            column == pad, numbers, numbers * 1_000_003 + column + 1
        )  # integers wrap around
    return numbers


def clip_loss(
    image: Tensor, text: Tensor, scale: Tensor | float, positive_groups: Tensor | None = None
) -> Tensor:
    """Symmetric cross-entropy of matching each image to its text and back (CLIP, Fig. 3). A scalar.

    image, text   (B, D) unit vectors; row i of one belongs to row i of the other
    scale         what cosines are multiplied by: exp of the learned log-temperature
    same          (B,) integers, optional: rows with equal numbers are all right answers for each other. Use it where
                  captions repeat; without it a second 'a dog' in the batch counts as wrong.

    All-equal embeddings give ln(batch) exactly, a batch of one gives 0. With several processes the negatives come from
    all of them: average the losses (and gradients) of the processes to get those of one.
    """
    if image.shape != text.shape or image.dim() != 2:
        raise ValueError(
            f"contrast needs as many images as texts, both (batch, width); "
            f"found {tuple(image.shape)} and {tuple(text.shape)}."
        )
    B, images, texts = len(image), gather(image), gather(text)
    first = dist.get_rank() * B if len(images) > B else 0
    mine = torch.arange(first, first + B, device=image.device)
    numbers = (
        torch.arange(len(images), device=image.device)
        if positive_groups is None
        else gather(positive_groups)
    )
    right = (numbers[mine, None] == numbers[None, :]).float()  # (B, all)
    right = right / right.sum(1, keepdim=True)
    # Cosines times a scale of up to 100: in bfloat16 they would be off by whole nats.
    with torch.autocast(image.device.type, enabled=False):
        image_logits = scale * image.float() @ texts.float().T  # (B, all)
        text_logits = scale * text.float() @ images.float().T
    image_loss = -(right * log_softmax(image_logits, dim=-1)).sum(1).mean()
    text_loss = -(right * log_softmax(text_logits, dim=-1)).sum(1).mean()
    return (image_loss + text_loss) / 2


FLOOR = 1e-4  # added to every weight: where the softmax has saturated on the right pair, all others would have none


@torch.no_grad()
def hard_negatives(
    similarity: Tensor,
    positive_groups: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """A wrong text for each image and a wrong image for each text, likelier the more alike they seem (ALBEF, Sec. 3.2).

    similarity  (B, B), images x texts, as large as the contrastive logits: cosines times their scale
    same        (B,) integers, optional: rows with equal numbers are never each other's negative; see `clip_loss`
    generator   on any device; default: torch's own
    Returns (B,) numbers of texts and (B,) numbers of images. Drawn with probability softmax(similarity) + 1e-4, among all
    but the right ones. Raises ValueError where nothing wrong is left to draw.
    """
    B = len(similarity)
    if similarity.shape != (B, B):
        raise ValueError(
            f"similarities are {tuple(similarity.shape)}; expected as many images as texts, (batch, batch)."
        )
    numbers = (
        torch.arange(B, device=similarity.device) if positive_groups is None else positive_groups
    )
    if len(numbers) != B:
        raise ValueError(
            f"same has {len(numbers)} numbers for {B} pairs; expected one for each pair."
        )
    right = numbers[:, None] == numbers[None, :]
    if alone := right.all(1).nonzero()[:, 0].tolist():
        raise ValueError(
            f"pair {alone[0]} of the batch of {B} has no negative: every other pair counts as the same. "
            "Match needs at least two different pairs in a batch."
        )
    place = similarity.device if generator is None else generator.device

    def draw(rows: Tensor) -> Tensor:
        weights = (rows.float().softmax(-1) + FLOOR).masked_fill(right, 0)
        return torch.multinomial(weights.to(place), 1, generator=generator)[:, 0].to(
            similarity.device
        )

    return draw(similarity), draw(similarity.T)


def itm_loss(right: Tensor, wrong: Tensor) -> Tensor:
    """Cross-entropy of "do this image and this text belong together?": logits (M, 2) of right pairs, (N, 2) of wrong ones.

    Class 1 is yes. With twice as many wrong as right pairs, answering 1/3 to all scores 0.637, a coin ln 2 = 0.693.
    """
    labels = torch.cat(
        [
            right.new_ones(len(right), dtype=torch.long),
            wrong.new_zeros(len(wrong), dtype=torch.long),
        ]
    )
    return cross_entropy(torch.cat([right, wrong]).float(), labels)
