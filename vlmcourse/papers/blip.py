"""BLIP. Bootstrapping Language-Image Pre-training for Unified Understanding and Generation (Li et al. 2022, arXiv 2201.12086).

One text transformer in three roles, told by the first token and by who may look at whom (Sec. 3.1, Fig. 2):

    [CLS]  text alone, both ways                     encode_text   contrast: is this caption near that picture?
    [ENC]  text that looks at the picture, both ways  matches       match: do the two belong together?
    [DEC]  text that looks at the picture, forwards   forward       caption: which word comes next?

Encoder ([CLS], [ENC]) and decoder share every module but self-attention and its LayerNorm: the same objects, always.

Scaled down here: sizes (the paper's in the margin), 64-pixel pictures, a word-level vocabulary. Kept: pre-norm image tower,
post-norm text blocks with cross-attention in each, tied word embeddings, the three losses with equal weights, hard negatives,
label smoothing, momentum encoders and queue as options.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from vlmcourse.parts import masks
from vlmcourse.parts.attention import cached_length
from vlmcourse.parts.bert import Context, MLMHead, TextTransformer, context_batch_size
from vlmcourse.parts.layers import check_ids
from vlmcourse.parts.losses import (
    MomentumTargets,
    caption_groups,
    clip_loss,
    hard_negatives,
    itm_loss,
)
from vlmcourse.parts.momentum import MomentumEncoders
from vlmcourse.parts.vision import PatchEmbedding, ViT, check_pixels

SELF_ATTENTION, CROSS_ATTENTION = ("attention", "norm1"), ("cross", "norm_cross")
PARAMETER_SHARING = {
    "all": (),
    "all except CA": CROSS_ATTENTION,
    "all except SA": SELF_ATTENTION,
    "none": (*SELF_ATTENTION, *CROSS_ATTENTION, "feedforward", "norm2", "embeddings"),
}
"""What the decoder has of its own: the four rows of Table 3."""


@dataclass(frozen=True)
class BLIPConfig:
    """In the margin: BLIP with ViT-B/16 (Sec. 4.1 and the authors' code)."""

    vocabulary: int  # paper: 30,524 (BERT's, [DEC], [ENC])
    cls: int  # ids of the first tokens
    enc: int
    dec: int
    end: int  # paper: [SEP]
    pad: int
    context: int = 32  # paper: 512 positions
    embedding: int = 128  # paper: 256
    image_size: int = 64  # paper: 224
    patch: int = 16
    vision_width: int = 128  # paper: 768
    vision_depth: int = 4  # paper: 12
    vision_heads: int = 4  # paper: 12
    vision_hidden: int | None = None  # paper: 4 * width
    vision_eps: float = 1e-6
    text_width: int = 128  # paper: 768
    text_depth: int = 2  # paper: 12
    text_heads: int = 4  # paper: 12
    text_hidden: int | None = None  # paper: 4 * width
    text_eps: float = 1e-12
    unshared: tuple[str, ...] = (
        SELF_ATTENTION  # modules that the decoder does not share; see SHARING
    )
    label_smoothing: float = 0.1  # of the caption's targets
    momentum: float | None = None  # paper: 0.995. None: contrast with the batch alone
    queue_size: int = 0  # paper: 57,600
    alpha: float = 0.0  # paper: 0.4, reached over the first two epochs


def share_parameters(
    decoder: TextTransformer, encoder: TextTransformer, unshared: tuple[str, ...]
) -> None:
    """From now on every module of the decoder but those named in `unshared` *is* the encoder's."""
    for mine, theirs in ((decoder, encoder), *zip(decoder.blocks, encoder.blocks)):
        for name, module in theirs.named_children():
            if name not in (*unshared, "blocks"):
                setattr(mine, name, module)


class BLIP(nn.Module):
    """`encode_image`, `encode_text`: unit vectors in one space. `itm_logits`: do they belong together? `forward`: the next word.

    vision  an image tower that has already learnt, (B, 3, S, S) -> .tokens (B, P, D), the paper's comes from ImageNet;
            default: a new ViT
    """

    def __init__(self, config: BLIPConfig, vision: nn.Module | None = None):
        super().__init__()
        self.config = c = config
        if c.momentum is None and (c.queue_size or c.alpha):
            raise ValueError(
                f"queue {c.queue_size}, soft targets {c.alpha}, but no momentum encoders to give them; "
                "expected momentum=0.995 with these."
            )
        if vision is None:
            vision = ViT(
                c.image_size,
                c.patch,
                c.vision_width,
                c.vision_depth,
                c.vision_heads,
                c.vision_hidden,
                eps=c.vision_eps,
                stem=PatchEmbedding(c.patch, c.vision_width, bias=True),
            )
            vision.norm_in = nn.Identity()  # CLIP's alone
        self.vision = vision
        self.encoder, self.decoder = (
            TextTransformer(
                c.vocabulary,
                c.context,
                c.text_width,
                c.text_depth,
                c.text_heads,
                c.text_hidden,
                c.text_eps,
                c.vision_width,
            )
            for _ in range(2)
        )
        share_parameters(self.decoder, self.encoder, c.unshared)
        self.head = MLMHead(c.text_width, c.vocabulary, c.text_eps)
        self.image_projection = nn.Linear(c.vision_width, c.embedding)
        self.text_projection = nn.Linear(c.text_width, c.embedding)
        self.itm_head = nn.Linear(c.text_width, 2)
        self.temperature = nn.Parameter(torch.tensor(0.07))  # plain: cosines are divided by it
        self.momentum_encoders = (
            None
            if c.momentum is None
            else MomentumEncoders(self._followed(), c.embedding, c.queue_size, c.momentum)
        )

    def _followed(self) -> dict[str, nn.Module]:
        return {
            name: getattr(self, name)
            for name in ("vision", "encoder", "image_projection", "text_projection")
        }

    def vision_context(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """What `itm_logits` and `forward` look at: {"states": (B, P, C)}."""
        check_pixels(pixel_values, self.config.image_size)
        return {"states": self.vision.tokens(pixel_values)}

    def role_inputs(self, ids: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """ids with their first token replaced, and the mask that hides padding."""
        check_ids(ids, self.config.vocabulary, self.config.context)
        return self._as(ids, first), masks.padding_mask(ids != self.config.pad).to_bool()

    @staticmethod
    def _as(ids: Tensor, first: int) -> Tensor:
        return torch.cat([torch.full_like(ids[:, :1], first), ids[:, 1:]], dim=1)

    @staticmethod
    def _seen(context_mask: Tensor | None) -> Tensor | None:
        return (
            None if context_mask is None else masks.padding_mask(context_mask, queries=1).to_bool()
        )

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, E) unit vectors, of the class token."""
        return normalize(
            self.image_projection(self.vision_context(pixel_values)["states"][:, 0]), dim=-1
        )

    def encode_text(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, E) unit vectors, of [CLS]. No picture is looked at."""
        return normalize(
            self.text_projection(self.encoder.first_state(*self.role_inputs(ids, self.config.cls))),
            dim=-1,
        )

    def itm_logits(
        self, ids: Tensor, states: Context, context_mask: Tensor | None = None
    ) -> Tensor:
        """ids (B, T), states (B, P, C) of `vision_context`, real (B, P) where some are padding -> (B, 2) logits of [ENC]: no, yes."""
        if (pictures := context_batch_size(states)) != len(ids):
            raise ValueError(
                f"{pictures} pictures and {len(ids)} texts to match; expected one text for each picture. "
                "Repeat the pictures for several texts each."
            )
        return self.itm_head(
            self.encoder.first_state(
                *self.role_inputs(ids, self.config.enc), states, self._seen(context_mask)
            )
        )

    def encode_question(self, ids: Tensor, states: Tensor) -> dict[str, Tensor]:
        """A question about a picture, as what an answer looks at: {"states": (B, T, D), "real": (B, T)} (Sec. 5.3)."""
        question, mask = self.role_inputs(ids, self.config.enc)
        return {
            "states": self.encoder(question, mask, states),
            "context_mask": ids != self.config.pad,
        }

    def decoder_states(
        self,
        ids: Tensor,
        states: Context,
        context_mask: Tensor | None = None,
        cache: dict | None = None,
    ) -> Tensor:
        """As forward, but states of the last block: (B, new, D)."""
        start = cached_length(cache)
        mask = masks.causal(ids.shape[1], ids.device).query_slice(start).to_bool()
        return self.decoder(
            self._as(ids, self.config.dec)[:, start:],
            mask,
            states,
            self._seen(context_mask),
            cache,
            start,
        )

    def forward(
        self,
        ids: Tensor,
        cache: dict | None = None,
        *,
        states: Tensor,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits of the next words after ids (B, T): (B, new, V); with a cache (attention.Cache) only of what it lacks.

        states  (B, P, C) of `vision_context`, or of `read`, where `context_mask` (B, P) is False at padding
        """
        return self.head(
            self.decoder_states(ids, states, context_mask, cache),
            self.decoder.embeddings.words.weight,
        )

    def lm_loss(
        self, ids: Tensor, loss_mask: Tensor, states: Context, context_mask: Tensor | None = None
    ) -> Tensor:
        """Cross-entropy, with label smoothing, of the tokens at `loss_mask` (B, T), True. Only they are turned into words."""
        said = self.decoder_states(ids[:, :-1], states, context_mask)[
            loss_mask[:, 1:]
        ]  # (scored tokens, D)
        logits = self.head(said, self.decoder.embeddings.words.weight)
        return cross_entropy(
            logits.float(),
            ids[:, 1:][loss_mask[:, 1:]],
            label_smoothing=self.config.label_smoothing,
        )

    def itc_loss(self, batch: dict[str, Tensor], states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of whole pictures and texts (Sec. 3.2) -> the loss, similarities (B, B) of the two, and `same` (B,); see losses."""
        ids = batch["ids"]
        positive_groups = (
            batch["positive_groups"]
            if "positive_groups" in batch
            else caption_groups(ids, self.config.pad)
        )
        image, text = normalize(self.image_projection(states[:, 0]), dim=-1), self.encode_text(ids)
        targets = self._momentum_targets(batch["pixel_values"], ids)
        loss = clip_loss(image, text, 1 / self.temperature, positive_groups, momentum=targets)
        if self.training and targets is not None:
            self.momentum_encoders.enqueue(targets.image, targets.text)
        return loss, image.detach() @ text.detach().T / self.temperature.detach(), positive_groups

    def itc_itm_losses(
        self, batch: dict[str, Tensor], states: Tensor, read: list | None = None
    ) -> dict[str, Tensor]:
        """The encoder's two losses, "contrast" and "match" (Sec. 3.2); see losses. read: the encoder's of the states."""
        ids = batch["ids"]
        loss, similarities, positive_groups = self.itc_loss(batch, states)
        texts, images = hard_negatives(similarities, positive_groups)
        read = [
            (
                torch.cat([k, k, k[images]]),
                torch.cat([v, v, v[images]]),
            )  # projected once, looked at five times
            for k, v in read or self.encoder.project_kv(states)
        ]
        belongs = self.itm_logits(torch.cat([ids, ids[texts], ids]), read)
        return {"itc": loss, "itm": itm_loss(belongs[: len(ids)], belongs[len(ids) :])}

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `pixel_values` (B, 3, S, S), `ids` (B, T) with a first token to replace -> {"contrast", "match", "caption"}.

        same    (B,) integers, optional: see `clip_loss`; default: equal captions count as the same
        scored  (B, T), optional: tokens the decoder learns to say; default: all but the first and padding
        Sec. 3.2: one pass of the image, three of the text. While training with a queue, the batch joins the queue.
        """
        pixel_values, ids = batch["pixel_values"], batch["ids"]
        if len(pixel_values) != len(ids):
            raise ValueError(
                f"{len(pixel_values)} pictures and {len(ids)} texts in a batch; expected one text for each picture."
            )
        states = self.vision_context(pixel_values)["states"]
        read = self.encoder.project_kv(states)
        shared = self.encoder.blocks[0].cross is self.decoder.blocks[0].cross
        return {
            **self.itc_itm_losses(batch, states, read),
            "lm": self.lm_loss(ids, self.loss_mask(batch), read if shared else states),
        }

    def loss_mask(self, batch: dict[str, Tensor]) -> Tensor:
        """`loss_mask` of the batch, or every token but the first and padding."""
        ids = batch["ids"]
        return (
            batch["loss_mask"]
            if "loss_mask" in batch
            else (ids != self.config.pad) & (torch.arange(ids.shape[1], device=ids.device) > 0)
        )

    @torch.no_grad()
    def _momentum_targets(self, pixel_values: Tensor, ids: Tensor) -> MomentumTargets | None:
        """The momentum encoders' vectors of the batch and of their queue; None without momentum encoders."""
        m = self.momentum_encoders
        if m is None:
            return None
        image = normalize(m.image_projection(m.vision(pixel_values)), dim=-1)
        text = m.encoder.first_state(*self.role_inputs(ids, self.config.cls))
        text = normalize(m.text_projection(text), dim=-1)
        return MomentumTargets(image, text, m.image_queue, m.text_queue, self.config.alpha)

    @torch.no_grad()
    def after_step(self) -> None:
        """Keeps the temperature in bounds, and lets the slow copies follow."""
        self.temperature.clamp_(0.001, 0.5)
        if self.momentum_encoders is not None:
            self.momentum_encoders.update(self._followed())

    @classmethod
    def from_pretrained(cls, name_or_folder: str) -> BLIP:
        """A real checkpoint from the Hugging Face hub or a local folder, of one of the three kinds `from_hf` takes."""
        import transformers

        (kind,) = transformers.AutoConfig.from_pretrained(name_or_folder).architectures
        return cls.from_hf(getattr(transformers, kind).from_pretrained(name_or_folder))

    @classmethod
    def from_hf(cls, model, first: int = 101, enc: int | None = None) -> BLIP:
        """The same function as transformers' BlipForImageTextRetrieval, BlipForConditionalGeneration or
        BlipForQuestionAnswering, with the same weights (copied). What such a model lacks stays as it begins.

        first, enc  ids of [CLS] and [ENC]; transformers leaves [CLS] where the paper has [ENC], so that is the default
        """
        from vlmcourse.papers.blip_weights import config_of, weights_of

        blip = cls(config_of(model, first, enc))
        blip.load_state_dict(weights_of(model, blip))
        return blip.eval()
