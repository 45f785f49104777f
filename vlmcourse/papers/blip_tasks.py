"""BLIP's downstream models (Li et al. 2022, Sec. 4 and 5, Fig. 5): the same blocks, rewired, with the pre-trained weights.

    Captioner, Filter   the two halves of CapFilt (Sec. 3.3), tuned apart from the same start
    Answering           a question read with the picture; the decoder writes the answer (Sec. 5.3)
    Comparing           a statement about two pictures: two cross-attentions in each block (Sec. 5.4)
    Talking             a dialogue's answers, ranked by match (Sec. 5.5)
    look_at_film        frames, one after the other, as if they were one picture (Sec. 5.6)

Each takes a BLIP, copies it, and learns by `losses(batch)`.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from vlmcourse.papers.blip import BLIP
from vlmcourse.parts.layers import PostNormBlock
from vlmcourse.parts.losses import itm_loss


def check_batch_sizes(**batch: Tensor) -> None:
    """Raises ValueError, before anything is computed, unless all of a batch have as many rows: one picture would be shown to all."""
    if len({len(rows) for rows in batch.values()}) > 1:
        found = ", ".join(f"{len(rows)} {name}" for name, rows in batch.items())
        raise ValueError(f"a batch of {found}; expected as many of each.")


class Captioner(nn.Module):
    """Image-grounded decoder, tuned by the caption loss alone."""

    def __init__(self, blip: BLIP):
        super().__init__()
        self.blip = deepcopy(blip)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch as BLIP's; `loss_mask` leaves out the prompt."""
        check_batch_sizes(pictures=batch["pixel_values"], texts=batch["ids"])
        return {
            "lm": self.blip.lm_loss(
                batch["ids"],
                self.blip.loss_mask(batch),
                **self.blip.vision_context(batch["pixel_values"]),
            )
        }


class Filter(nn.Module):
    """Image-grounded encoder, tuned by contrast and match: does a caption belong to its picture?"""

    def __init__(self, blip: BLIP):
        super().__init__()
        self.blip = deepcopy(blip)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        check_batch_sizes(pictures=batch["pixel_values"], texts=batch["ids"])
        return self.blip.itc_itm_losses(
            batch, self.blip.vision_context(batch["pixel_values"])["states"]
        )

    def after_step(self) -> None:
        self.blip.after_step()

    def keeps(self, pixel_values: Tensor, ids: Tensor, threshold: float = 0.5) -> Tensor:
        """(B,) booleans: the probability of a match is at least `threshold`. paper's code: 0.5"""
        return (
            self.blip.itm_logits(ids, **self.blip.vision_context(pixel_values)).softmax(-1)[:, 1]
            >= threshold
        )


class BLIPForVQA(nn.Module):
    """Visual question answering as writing: `blip.encode_question` takes question and picture in, the decoder answers."""

    def __init__(self, blip: BLIP):
        super().__init__()
        self.blip = deepcopy(blip)

    def forward(self, ids: Tensor, cache=None, **read: Tensor) -> Tensor:
        """Logits of the answer's next words, as BLIP's forward; `read` from `ask`."""
        return self.blip(ids, cache, **read)

    def question_context(self, pixel_values: Tensor, question: Tensor) -> dict[str, Tensor]:
        """Pictures (B, 3, S, S) and questions (B, T) -> what answers look at."""
        return self.blip.encode_question(question, **self.blip.vision_context(pixel_values))

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `pixel_values`, `question` (B, T), `ids` (B, A) the answer."""
        check_batch_sizes(
            pictures=batch["pixel_values"], questions=batch["question"], answers=batch["ids"]
        )
        read = self.question_context(batch["pixel_values"], batch["question"])
        return {"lm": self.blip.lm_loss(batch["ids"], self.blip.loss_mask(batch), **read)}


class TwoImageBlock(nn.Module):
    """A block that looks at two pictures, each by its own cross-attention from the same weights, and merges what it saw.

    merge  a learned map of both, which starts as their mean; False: the mean itself
    """

    def __init__(self, block: PostNormBlock, merge: bool):
        super().__init__()
        self.block, self.other = block, deepcopy(block.cross)
        self.merge = None
        if merge:
            width = block.norm1.normalized_shape[0]
            self.merge = nn.Linear(2 * width, width)
            self.merge.weight.data = torch.eye(width).repeat(1, 2) / 2
            nn.init.zeros_(self.merge.bias)

    def forward(self, x: Tensor, mask: Tensor, left: Tensor, right: Tensor) -> Tensor:
        x = self.block.norm1(x + self.block.attention(x, mask=mask))
        seen = self.block.cross(x, left), self.other(x, right)
        x = self.block.norm_cross(
            x + (sum(seen) / 2 if self.merge is None else self.merge(torch.cat(seen, dim=-1)))
        )
        return self.block.norm2(x + self.block.feedforward(x))


class BLIPForNLVR2(nn.Module):
    """Is a statement true of two pictures? The upper half of the blocks merges by a learned map, the lower by the mean."""

    def __init__(self, blip: BLIP):
        super().__init__()
        self.blip, width = deepcopy(blip), blip.config.text_width
        blocks = self.blip.encoder.blocks
        self.blocks = nn.ModuleList(
            TwoImageBlock(block, merge=layer >= len(blocks) // 2)
            for layer, block in enumerate(blocks)
        )
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, left: Tensor, right: Tensor, ids: Tensor) -> Tensor:
        """Pictures (B, 3, S, S) and (B, 3, S, S), statements (B, T) -> (B, 2) logits: false, true."""
        check_batch_sizes(left=left, right=right, statements=ids)
        text, mask = self.blip.role_inputs(ids, self.blip.config.enc)
        one, other = (
            self.blip.vision_context(left)["states"],
            self.blip.vision_context(right)["states"],
        )
        x = self.blip.encoder.embeddings(text)
        for block in self.blocks:
            x = block(x, mask, one, other)
        return self.head(x[:, 0])

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `left`, `right`, `ids`, `true` (B,) integers 0 or 1."""
        return {
            "nlvr2": cross_entropy(
                self(batch["left"], batch["right"], batch["ids"]).float(), batch["true"]
            )
        }


class BLIPForVisDial(nn.Module):
    """Does this answer belong to this dialogue? The encoder reads history, question and answer, and looks at the picture and
    at its caption, side by side."""

    def __init__(self, blip: BLIP):
        super().__init__()
        if blip.config.vision_width != blip.config.text_width:
            raise ValueError(
                f"pictures of width {blip.config.vision_width}, texts of {blip.config.text_width}; expected "
                "the same: both are looked at by one attention."
            )
        self.blip = deepcopy(blip)

    def vision_context(self, pixel_values: Tensor, caption: Tensor) -> dict[str, Tensor]:
        """{"states": (B, P + T, D), "real": (B, P + T)}: the picture, then the caption's words."""
        check_batch_sizes(pictures=pixel_values, captions=caption)
        states = self.blip.vision_context(pixel_values)["states"]
        text, mask = self.blip.role_inputs(caption, self.blip.config.cls)
        context_mask = torch.cat(
            [states.new_ones(states.shape[:2], dtype=torch.bool), caption != self.blip.config.pad],
            dim=1,
        )
        return {
            "states": torch.cat([states, self.blip.encoder(text, mask)], dim=1),
            "context_mask": context_mask,
        }

    def forward(self, ids: Tensor, states: Tensor, context_mask: Tensor) -> Tensor:
        """Dialogues with an answer (B, T) -> (B, 2) logits: the answer is wrong, it is right."""
        return self.blip.itm_logits(ids, states, context_mask)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `pixel_values`, `caption`, `right` (B, T) and `wrong` (B, T): the same dialogues with a right and a wrong answer."""
        check_batch_sizes(
            **{
                "pictures": batch["pixel_values"],
                "right answers": batch["right"],
                "wrong answers": batch["wrong"],
            }
        )
        seen = self.vision_context(batch["pixel_values"], batch["caption"])
        return {"itm": itm_loss(self(batch["right"], **seen), self(batch["wrong"], **seen))}


def check_video(frames: Tensor) -> None:
    """Raises ValueError unless frames are (B, F, 3, S, S) with at least one frame."""
    if frames.dim() != 5 or not frames.shape[1]:
        raise ValueError(
            f"films are {tuple(frames.shape)}; expected (films, frames, 3, size, size) with at least one frame."
        )


def video_context(blip: BLIP, frames: Tensor) -> dict[str, Tensor]:
    """Frames (B, F, 3, S, S) -> {"states": (B, F * P, C)}, for `itm_logits`, `read` and writing. Their order leaves no trace."""
    check_video(frames)
    return {
        "states": blip.vision_context(frames.flatten(0, 1))["states"]
        .unflatten(0, frames.shape[:2])
        .flatten(1, 2)
    }


def encode_video(blip: BLIP, frames: Tensor) -> Tensor:
    """(B, F, 3, S, S) -> (B, E) unit vectors: the mean of the frames'."""
    check_video(frames)
    return normalize(
        blip.encode_image(frames.flatten(0, 1)).unflatten(0, frames.shape[:2]).mean(1), dim=-1
    )
