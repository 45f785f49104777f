"""BLIP. Bootstrapping Language-Image Pre-training for Unified Understanding and Generation (Li et al. 2022, arXiv 2201.12086).

One text transformer in three roles, selected by the first token and the attention mask (Sec. 3.1, Fig. 2):

    [CLS]  bidirectional, text only               encode_text   image-text contrastive loss (ITC)
    [ENC]  bidirectional, cross-attends to image  itm_logits    image-text matching loss (ITM)
    [DEC]  causal, cross-attends to image         forward       language modelling loss (LM)
Encoder ([CLS], [ENC]) and decoder share all modules except self-attention and its LayerNorm.
Scaled down here: sizes (the paper's in the margin), 64-pixel images, a word-level vocabulary. Kept: pre-norm image encoder,
post-norm text blocks with cross-attention, tied word embeddings, three losses of equal weight, hard negatives, label
smoothing, momentum encoders and queue as options.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from vlmcourse.papers import checkpoint_formats, checkpoints
from vlmcourse.parts import masks
from vlmcourse.parts.attention import KeyValues, KVCache, cached_length
from vlmcourse.parts.bert import (
    Context,
    MLMHead,
    TextTransformer,
    context_batch_size,
    with_first_token,
)
from vlmcourse.parts.language import extend_padding_mask, position_ids
from vlmcourse.parts.layers import check_batch_sizes, check_ids
from vlmcourse.parts.losses import (
    MomentumTargets,
    caption_groups,
    clip_loss,
    hard_negatives,
    itm_loss,
    similarity,
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
"""Modules that encoder and decoder do not share: the rows of Table 3."""


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
    unshared: tuple[str, ...] = SELF_ATTENTION  # modules that the decoder has of its own
    label_smoothing: float = 0.1  # of the LM loss
    momentum: float | None = None  # paper: 0.995. None: no momentum encoders
    queue_size: int = 0  # paper: 57,600
    alpha: float = 0.0  # share of soft targets. paper: 0.4, reached over the first two epochs


def share_parameters(
    decoder: TextTransformer, encoder: TextTransformer, unshared: tuple[str, ...]
) -> None:
    """Makes every module of the decoder except those named in `unshared` the encoder's module."""
    for target, source in ((decoder, encoder), *zip(decoder.blocks, encoder.blocks)):
        for name, module in source.named_children():
            if name not in (*unshared, "blocks"):
                setattr(target, name, module)


class BLIP(nn.Module, checkpoints.FromTransformers):
    """Three losses on image-text pairs (`losses`), and a captioning model (`forward`).

    vision  image encoder, (B, 3, S, S) -> .tokens (B, P, D); default: a new ViT. The paper's is pre-trained on ImageNet
    Raises ValueError for a queue or soft targets without momentum encoders.
    """

    hf_model_type, hf_classes = "blip", checkpoints.BLIP_CLASSES

    def __init__(self, config: BLIPConfig, vision: nn.Module | None = None):
        super().__init__()
        self.config = c = config
        if c.momentum is None and (c.queue_size or c.alpha):
            raise ValueError(
                f"queue {c.queue_size}, soft targets {c.alpha}, but no momentum encoders: expected momentum=0.995."
            )
        if vision is None:
            stem = PatchEmbedding(c.patch, c.vision_width, bias=True)
            image_sizes = (c.image_size, c.patch, c.vision_width, c.vision_depth, c.vision_heads)
            vision = ViT(*image_sizes, c.vision_hidden, eps=c.vision_eps, stem=stem)
            vision.norm_in = nn.Identity()  # only CLIP has it
        self.vision = vision
        text_sizes = (c.vocabulary, c.context, c.text_width, c.text_depth, c.text_heads)
        self.encoder = TextTransformer(*text_sizes, c.text_hidden, c.text_eps, c.vision_width)
        self.decoder = TextTransformer(*text_sizes, c.text_hidden, c.text_eps, c.vision_width)
        share_parameters(self.decoder, self.encoder, c.unshared)
        self.head = MLMHead(c.text_width, c.vocabulary, c.text_eps)
        self.image_projection = nn.Linear(c.vision_width, c.embedding)
        self.text_projection = nn.Linear(c.text_width, c.embedding)
        self.itm_head = nn.Linear(c.text_width, 2)
        self.temperature = nn.Parameter(torch.tensor(0.07))  # cosines are divided by it
        encoders, m = self._encoders(), c.momentum
        self.momentum_encoders = (
            None if m is None else MomentumEncoders(encoders, c.embedding, c.queue_size, m)
        )

    def _encoders(self) -> dict[str, nn.Module]:
        names = ("vision", "encoder", "image_projection", "text_projection")
        return {name: getattr(self, name) for name in names}

    def vision_context(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """Context of `itm_logits` and `forward`: {"states": (B, P, C)}."""
        check_pixels(pixel_values, self.config.image_size)
        return {"states": self.vision.tokens(pixel_values)}

    def role_inputs(self, ids: Tensor, first_token: int) -> tuple[Tensor, Tensor]:
        """ids (B, T) with their first token replaced, and the mask (B, 1, T, T) that hides padding. Raises ValueError for other ids."""
        check_ids(ids, self.config.vocabulary, self.config.context)
        mask = masks.padding_mask(ids != self.config.pad).to_bool()
        return with_first_token(ids, first_token), mask

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, E) unit vectors, of the class token."""
        states = self.vision_context(pixel_values)["states"]
        return normalize(self.image_projection(states[:, 0]), dim=-1)

    def encode_text(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, E) unit vectors, of [CLS]; without the image."""
        state = self.encoder.first_state(*self.role_inputs(ids, self.config.cls))
        return normalize(self.text_projection(state), dim=-1)

    def itm_logits(
        self, ids: Tensor, states: Context, context_mask: Tensor | None = None
    ) -> Tensor:
        """Logits (B, 2) of "no match" and "match" from [ENC].

        ids (B, T); states (B, P, C) of `vision_context`; context_mask (B, P) booleans, False at padding among the states.
        Raises ValueError unless there is one text per image.
        """
        if (images := context_batch_size(states)) != len(ids):
            raise ValueError(
                f"{images} pictures and {len(ids)} texts to match; expected one text for each picture. "
                "Repeat the pictures for several texts each."
            )
        inputs = self.role_inputs(ids, self.config.enc)
        return self.itm_head(self.encoder.first_state(*inputs, states, context_mask))

    def encode_question(self, ids: Tensor, states: Tensor) -> dict[str, Tensor]:
        """A question (B, T) about an image as context of its answer: {"states": (B, T, D), "context_mask": (B, T)} (Sec. 5.3)."""
        states = self.encoder(*self.role_inputs(ids, self.config.enc), states)
        return {"states": states, "context_mask": ids != self.config.pad}

    def decoder_states(
        self,
        ids: Tensor,
        states: Context,
        context_mask: Tensor | None = None,
        cache: KVCache | None = None,
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """As `forward`, but the states (B, new, D) of the last block."""
        start, mask = cached_length(cache), masks.causal(ids.shape[1], ids.device)
        padding_mask, positions = extend_padding_mask(padding_mask, ids), None
        if padding_mask is not None:
            mask = mask & masks.padding_mask(padding_mask)
            positions = position_ids(padding_mask)[:, start:]
        ids = with_first_token(ids, self.config.dec, padding_mask)[:, start:]
        allowed = mask.query_slice(start).to_bool()
        return self.decoder(ids, allowed, states, context_mask, cache, start, positions)

    def forward(
        self,
        ids: Tensor,
        cache: KVCache | None = None,
        padding_mask: Tensor | None = None,
        *,
        states: Context,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, new, V) of the next token after each token of ids (B, T) that the cache lacks.

        padding_mask          (B, T) booleans, False at padding (on the left when generating)
        states, context_mask  of `vision_context`, or of `encode_question`
        """
        x = self.decoder_states(ids, states, context_mask, cache, padding_mask)
        return self.head(x, self.decoder.embeddings.words.weight)

    def lm_loss(
        self, ids: Tensor, loss_mask: Tensor, states: Context, context_mask: Tensor | None = None
    ) -> Tensor:
        """Label-smoothed cross-entropy of the tokens of ids (B, T) where loss_mask (B, T) is True -> scalar."""
        x = self.decoder_states(ids[:, :-1], states, context_mask)[loss_mask[:, 1:]]  # (targets, D)
        logits = self.head(x, self.decoder.embeddings.words.weight).float()
        labels = ids[:, 1:][loss_mask[:, 1:]]
        return cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)

    def itc_loss(self, batch: dict[str, Tensor], states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """ITC loss, scaled similarities (B, B) without gradient, and positive groups (B,). While training, the batch joins the queue."""
        ids = batch["ids"]
        positive_groups = batch.get("positive_groups", caption_groups(ids, self.config.pad))
        image = normalize(self.image_projection(states[:, 0]), dim=-1)
        text = self.encode_text(ids)
        targets = self._momentum_targets(batch["pixel_values"], ids)
        loss = clip_loss(image, text, 1 / self.temperature, positive_groups, momentum=targets)
        if self.training and targets is not None and self.momentum_encoders is not None:
            self.momentum_encoders.enqueue(targets.image, targets.text)
        return loss, (similarity(image, text) / self.temperature).detach(), positive_groups

    @torch.no_grad()
    def _momentum_targets(self, pixel_values: Tensor, ids: Tensor) -> MomentumTargets | None:
        """The momentum encoders' vectors of the batch and of their queue; None without momentum encoders."""
        m = self.momentum_encoders
        if m is None:
            return None
        text = m.encoder.first_state(*self.role_inputs(ids, self.config.cls))
        text = normalize(m.text_projection(text), dim=-1)
        image = normalize(m.image_projection(m.vision(pixel_values)), dim=-1)
        return MomentumTargets(image, text, m.image_queue, m.text_queue, self.config.alpha)

    def itc_itm_losses(
        self, batch: dict[str, Tensor], states: Tensor, key_values: list[KeyValues] | None = None
    ) -> dict[str, Tensor]:
        """The losses of the encoder, "itc" and "itm"; batch as in `losses`. key_values: the encoder's, of the states."""
        ids = batch["ids"]
        itc, similarities, positive_groups = self.itc_loss(batch, states)
        texts, images = hard_negatives(similarities, positive_groups)
        # Projected once for three pairs: an image with its text and with a wrong text, a wrong image with the text.
        context = [
            (torch.cat([k, k, k[images]]), torch.cat([v, v, v[images]]))
            for k, v in key_values or self.encoder.project_kv(states)
        ]
        logits = self.itm_logits(torch.cat([ids, ids[texts], ids]), context)
        return {"itc": itc, "itm": itm_loss(logits[: len(ids)], logits[len(ids) :])}

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The three losses of Sec. 3.2, from one pass of the image and three of the text: {"itc", "itm", "lm"}.

        batch: `pixel_values` (B, 3, S, S), `ids` (B, T) with a first token to replace, optionally `positive_groups` (B,)
        (default: equal captions are positives) and `loss_mask` (B, T). Raises ValueError unless there is one text per image.
        """
        ids = batch["ids"]
        check_batch_sizes(pictures=batch["pixel_values"], texts=ids)
        states = self.vision_context(batch["pixel_values"])["states"]
        key_values = self.encoder.project_kv(states)
        shared = self.encoder.blocks[0].cross is self.decoder.blocks[0].cross
        losses = self.itc_itm_losses(batch, states, key_values)
        lm = self.lm_loss(ids, self.loss_mask(batch), key_values if shared else states)
        return {**losses, "lm": lm}

    def loss_mask(self, batch: dict[str, Tensor]) -> Tensor:
        """`loss_mask` of the batch, or every token except the first and padding: (B, T) booleans."""
        ids = batch["ids"]
        default = (ids != self.config.pad) & (torch.arange(ids.shape[1], device=ids.device) > 0)
        return batch.get("loss_mask", default)

    @torch.no_grad()
    def after_step(self) -> None:
        """Clamps the temperature, updates the momentum encoders."""
        self.temperature.clamp_(0.001, 0.5)
        if self.momentum_encoders is not None:
            self.momentum_encoders.update(self._encoders())

    @classmethod
    def from_hf(cls, model, cls_token_id: int = 101, enc_token_id: int | None = None) -> BLIP:
        """The same function as one of `hf_classes`, with its weights (copied); heads that it lacks are untrained.

        enc_token_id  default: cls_token_id, which transformers leaves where the paper has [ENC]
        Raises ValueError for another model, and for a language model head that is not tied to the word embeddings.
        """
        enc = cls_token_id if enc_token_id is None else enc_token_id
        unshared = PARAMETER_SHARING["none" if len(checkpoints.blip_roles(model)) == 2 else "all"]
        sizes = checkpoint_formats.blip_sizes(model.config)
        config = BLIPConfig(cls=cls_token_id, enc=enc, unshared=unshared, **sizes)
        return checkpoints.copy_blip(cls(config), model).eval()
