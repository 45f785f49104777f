"""BLIP's downstream models (Li et al. 2022, Sec. 3.3 and 5, Fig. 5): the same blocks, rearranged, with the pre-trained weights.

    Captioner, Filter   the two models of CapFilt, finetuned separately from the same weights (Sec. 3.3)
    BLIPForVQA          the decoder generates the answer; its context is the question, encoded with the image (Sec. 5.3)
    BLIPForNLVR2        a statement about two images: two cross-attentions in each block (Sec. 5.4)
    BLIPForVisDial      answers of a dialogue, ranked by their matching score (Sec. 5.5)
    video_context       frames as one long image (Sec. 5.6)

Each takes a copy of a BLIP and learns by `losses(batch)`. In batches, images are `pixel_values` (B, 3, S, S) and texts (B, T).
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from vlmcourse.papers.blip import BLIP
from vlmcourse.parts.layers import check_batch_sizes
from vlmcourse.parts.losses import itm_loss


class Captioner(nn.Module):
    """Image-grounded decoder, finetuned by the LM loss (Sec. 3.3)."""

    def __init__(self, blip: BLIP):
        super().__init__()
        self.blip = deepcopy(blip)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch as BLIP's, with a `loss_mask` without the prompt -> {"lm": scalar}."""
        check_batch_sizes(pictures=batch["pixel_values"], texts=batch["ids"])
        context = self.blip.vision_context(batch["pixel_values"])
        return {"lm": self.blip.lm_loss(batch["ids"], self.blip.loss_mask(batch), **context)}


class Filter(nn.Module):
    """Image-grounded encoder, finetuned by ITC and ITM: does a caption match its image? (Sec. 3.3)"""

    def __init__(self, blip: BLIP):
        super().__init__()
        self.blip = deepcopy(blip)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch as BLIP's -> {"itc", "itm"}: scalars."""
        check_batch_sizes(pictures=batch["pixel_values"], texts=batch["ids"])
        states = self.blip.vision_context(batch["pixel_values"])["states"]
        return self.blip.itc_itm_losses(batch, states)

    def after_step(self) -> None:
        """As BLIP's."""
        self.blip.after_step()

    def keeps(self, pixel_values: Tensor, ids: Tensor, threshold: float = 0.5) -> Tensor:
        """Captions (B, T) whose probability of a match is at least `threshold`: (B,) booleans. paper's code: 0.5"""
        logits = self.blip.itm_logits(ids, **self.blip.vision_context(pixel_values))
        return logits.softmax(-1)[:, 1] >= threshold


class BLIPForVQA(nn.Module):
    """Visual question answering as generation (Sec. 5.3)."""

    def __init__(self, blip: BLIP):
        super().__init__()
        self.blip = deepcopy(blip)

    def forward(self, ids: Tensor, cache=None, padding_mask=None, **context: Tensor) -> Tensor:
        """As BLIP.forward, of answers; context from `question_context`."""
        return self.blip(ids, cache, padding_mask, **context)

    def question_context(self, pixel_values: Tensor, question: Tensor) -> dict[str, Tensor]:
        """Images (B, 3, S, S) and questions (B, T) -> context of their answers."""
        return self.blip.encode_question(question, **self.blip.vision_context(pixel_values))

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `pixel_values`, `question` (B, T), `ids` (B, A) the answer -> {"lm": scalar}."""
        check_batch_sizes(
            pictures=batch["pixel_values"], questions=batch["question"], answers=batch["ids"]
        )
        context = self.question_context(batch["pixel_values"], batch["question"])
        return {"lm": self.blip.lm_loss(batch["ids"], self.blip.loss_mask(batch), **context)}


class TwoImageBlock(nn.Module):
    """A block with one cross-attention per image, from the same weights; their outputs are merged (Fig. 5).

    learned_merge  a linear layer over both, which starts as their mean; False: the mean
    """

    def __init__(self, block: nn.Module, learned_merge: bool):
        super().__init__()
        self.block, self.right_cross = block, deepcopy(block.cross)
        self.merge = None
        if learned_merge:
            width = block.norm1.normalized_shape[0]
            self.merge = nn.Linear(2 * width, width)
            self.merge.weight.data = torch.eye(width).repeat(1, 2) / 2
            nn.init.zeros_(self.merge.bias)

    def forward(self, x: Tensor, mask: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """x (B, T, D), mask (B, 1, T, T), states of both images (B, P, C) -> (B, T, D)."""
        x = self.block.norm1(x + self.block.attention(x, mask=mask))
        both = self.block.cross(x, left), self.right_cross(x, right)
        merged = sum(both) / 2 if self.merge is None else self.merge(torch.cat(both, dim=-1))
        x = self.block.norm_cross(x + merged)
        return self.block.norm2(x + self.block.feedforward(x))


class BLIPForNLVR2(nn.Module):
    """Is a statement true of two images? The upper half of the blocks merges by a linear layer, the lower by the mean (Sec. 5.4)."""

    def __init__(self, blip: BLIP):
        super().__init__()
        self.blip, width = deepcopy(blip), blip.config.text_width
        blocks = self.blip.encoder.blocks
        self.blocks = nn.ModuleList(
            TwoImageBlock(block, learned_merge=layer >= len(blocks) // 2)
            for layer, block in enumerate(blocks)
        )
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, left: Tensor, right: Tensor, ids: Tensor) -> Tensor:
        """Images (B, 3, S, S) and (B, 3, S, S), statements (B, T) -> (B, 2) logits: false, true."""
        check_batch_sizes(left=left, right=right, statements=ids)
        text, mask = self.blip.role_inputs(ids, self.blip.config.enc)
        states = [self.blip.vision_context(pixels)["states"] for pixels in (left, right)]
        x = self.blip.encoder.embeddings(text)
        for block in self.blocks:
            x = block(x, mask, *states)
        return self.head(x[:, 0])

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `left`, `right`, `ids`, `true` (B,) integers 0 or 1 -> {"nlvr2": scalar}."""
        logits = self(batch["left"], batch["right"], batch["ids"])
        return {"nlvr2": cross_entropy(logits.float(), batch["true"])}


class BLIPForVisDial(nn.Module):
    """Is this the answer in a dialogue? [ENC] reads history, question and answer; its context is image and caption (Sec. 5.5).

    Raises ValueError unless image and text have the same width: one cross-attention reads both.
    """

    def __init__(self, blip: BLIP):
        super().__init__()
        if blip.config.vision_width != blip.config.text_width:
            raise ValueError(
                f"pictures of width {blip.config.vision_width}, texts of {blip.config.text_width}; expected "
                "the same: one cross-attention reads both."
            )
        self.blip = deepcopy(blip)

    def vision_context(self, pixel_values: Tensor, caption: Tensor) -> dict[str, Tensor]:
        """Images (B, 3, S, S) and captions (B, T) -> {"states": (B, P + T, D), "context_mask": (B, P + T)}."""
        check_batch_sizes(pictures=pixel_values, captions=caption)
        states = self.blip.vision_context(pixel_values)["states"]
        text = self.blip.encoder(*self.blip.role_inputs(caption, self.blip.config.cls))
        is_image = states.new_ones(states.shape[:2], dtype=torch.bool)
        mask = torch.cat([is_image, caption != self.blip.config.pad], dim=1)
        return {"states": torch.cat([states, text], dim=1), "context_mask": mask}

    def forward(self, ids: Tensor, states: Tensor, context_mask: Tensor) -> Tensor:
        """Dialogues with an answer (B, T) -> (B, 2) logits: the answer is wrong, it is right."""
        return self.blip.itm_logits(ids, states, context_mask)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `pixel_values`, `caption`, and dialogues with a `right` and a `wrong` answer -> {"itm": scalar}."""
        images, right, wrong = batch["pixel_values"], batch["right"], batch["wrong"]
        check_batch_sizes(**{"pictures": images, "right answers": right, "wrong answers": wrong})
        context = self.vision_context(images, batch["caption"])
        return {"itm": itm_loss(self(right, **context), self(wrong, **context))}


def check_video(frames: Tensor) -> None:
    """Raises ValueError unless frames are (B, F, 3, S, S) with at least one frame."""
    if frames.dim() != 5 or not frames.shape[1]:
        raise ValueError(
            f"films are {tuple(frames.shape)}; expected (films, frames, 3, size, size) with at least one frame."
        )


def video_context(blip: BLIP, frames: Tensor) -> dict[str, Tensor]:
    """Frames (B, F, 3, S, S) -> {"states": (B, F * P, C)}, context of BLIP without any notion of time (Sec. 5.6)."""
    check_video(frames)
    states = blip.vision_context(frames.flatten(0, 1))["states"]
    return {"states": states.unflatten(0, frames.shape[:2]).flatten(1, 2)}


def encode_video(blip: BLIP, frames: Tensor) -> Tensor:
    """(B, F, 3, S, S) -> (B, E) unit vectors: the mean of the frames' vectors."""
    check_video(frames)
    vectors = blip.encode_image(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
    return normalize(vectors.mean(1), dim=-1)
