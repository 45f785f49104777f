"""Lesson 04: the course's own answers to the exercises, which stand in where the student's don't pass yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div

from vlmcourse.papers.vilbert_tasks import VQAHead, vqa_loss
from vlmcourse.parts.attention import attend
from vlmcourse.parts.bert import mask_tokens


def box_features(boxes: Tensor) -> Tensor:
    """Boxes (B, R, 4) -> (B, 1 + R, 5): the whole picture's box in front, and each box's area at the end."""
    whole = boxes.new_tensor([0, 0, 1, 1]).expand(len(boxes), 1, 4)
    boxes = torch.cat([whole, boxes], dim=1)
    sides = boxes[..., 2:] - boxes[..., :2]
    return torch.cat([boxes, sides.prod(-1, keepdim=True)], dim=-1)


def mean_where(
    features: Tensor, which: Tensor, counted: Tensor | None = None, least: int = 1
) -> Tensor:
    """(B, F): the sum of the rows of features (B, R, F) at `which` (B, R), by the number of rows at `counted`."""
    count = (which if counted is None else counted).sum(1, keepdim=True).clamp(min=least)
    return (features * which[..., None]).sum(1) / count


def img_token(features: Tensor, is_region: Tensor, is_masked: Tensor) -> Tensor:
    """(B, F): mean of the features (B, R, F) of real regions that are not masked; zeros if there are none."""
    return mean_where(features, is_region & ~is_masked)


def kl_at_regions(logits: Tensor, classes: Tensor, selected: Tensor) -> Tensor:
    """Mean over the selected regions (B, R) of KL(classes || softmax(logits)), (B, R, C) each; 0 if there are none."""
    total = kl_div(logits[selected].log_softmax(-1), classes[selected], reduction="sum")
    return total / max(1, int(selected.sum()))


def co_attention(
    image: Sequence[Tensor], text: Sequence[Tensor], is_region: Tensor, is_word: Tensor
) -> tuple[Tensor, Tensor]:
    """What regions get from words (B, H, R, D), and what words get from regions (B, H, T, D)."""
    to_image = attend(image[0], *text[1:], is_word[:, None, None])
    return to_image, attend(text[0], *image[1:], is_region[:, None, None])


def post_norm_update(x: Tensor, attended: Tensor, block: nn.Module) -> Tensor:
    """The rest of a post-norm block: x (B, L, D), attended (B, H, L, D / H) -> (B, L, D)."""
    x = block.norm1(x + block.attention.out(attended.transpose(1, 2).flatten(2)))
    return block.norm2(x + block.feedforward(x))


def alignment_logits(
    image: Tensor, text: Tensor, pool_image: nn.Module, pool_text: nn.Module, head: nn.Module
) -> Tensor:
    """States (B, 1 + R, D), (B, T, E) -> (B,) logits of "aligned"."""
    return head(pool_image(image[:, 0]).tanh() * pool_text(text[:, 0]).tanh())[:, 0]


def fill_in(
    predict: Callable[[Tensor], Tensor], ids: Tensor, positions: Tensor, mask_id: int
) -> Tensor:
    """The likeliest token at each of `positions` (M,) of ids (T,), with that one alone masked: (M,)."""
    rows, row = ids.repeat(len(positions), 1), torch.arange(len(positions))
    rows[row, positions] = mask_id
    return predict(rows)[row, positions].argmax(-1)


def without_picture(batch: dict) -> dict:
    """The batch with features of zero and without regions."""
    names = ("features", "region_mask")
    return {**batch, **{name: torch.zeros_like(batch[name]) for name in names}}


def vlbert_positions(is_word: Tensor, regions: int) -> Tensor:
    """Positions (B, T + R + 1) of words, regions and [END], is_word (B, T)."""
    after, T = is_word.sum(1, keepdim=True), is_word.shape[1]
    text = torch.arange(T).expand(len(is_word), T)
    return torch.cat([text, after.expand(-1, regions), after + 1], dim=1)


class AnswerHead(VQAHead):
    """VQAHead(width, answers)."""


def answer_loss(logits: Tensor, answer: Tensor) -> Tensor:
    """vqa_loss of logits (B, A) with one right answer (B,) each."""
    return vqa_loss(logits, nn.functional.one_hot(answer, logits.shape[-1]).float())


mask_words = mask_tokens
region_loss = kl_at_regions

PARTS: dict[str, Callable] = {
    function.__name__: function
    for function in (box_features, img_token, co_attention, post_norm_update, alignment_logits)
} | {"mask_words": mask_words, "region_loss": region_loss}
"""What teaching.vilbert_model.BuiltViLBERT is put together from."""
