"""BLIP-2. Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large Language Models
(Li et al. 2023, arXiv 2301.12597).

The Q-Former (qformer.py) connects a frozen image encoder with a frozen language model. Stage 1 trains its queries by three
objectives that differ in their attention masks (Fig. 2); stage 2 trains it to prompt the language model (Fig. 3).

Scaled down here: see qformer.py; any image encoder and any language model. Kept: features of the second-last layer, with a
LayerNorm that is trained; ITC by the most similar query, ITM by all; label smoothing; in stage 2 all of the Q-Former is
trained, without its text side.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from vlmcourse.papers import checkpoint_formats, checkpoints
from vlmcourse.papers.qformer import Image, QFormer, QFormerConfig
from vlmcourse.parts import language
from vlmcourse.parts.bert import MLMHead, with_first_token
from vlmcourse.parts.image_features import batch_features, patch_features
from vlmcourse.parts.losses import clip_loss, hard_negatives, itm_loss, similarity
from vlmcourse.parts.soft_prompts import SoftPromptModel

LABEL_SMOOTHING = 0.1  # of ITC and ITG (the paper's code)


def check_width(qformer: QFormer, vision: nn.Module) -> nn.Module:
    """Returns the image encoder. Raises ValueError unless its features are as wide as the Q-Former expects."""
    width = vision.width if hasattr(vision, "tokens") else vision.config.hidden_size
    if width != qformer.config.vision_width:
        raise ValueError(
            f"the image encoder's features are {width} wide; this Q-Former expects {qformer.config.vision_width}. "
            f"Make it with QFormerConfig(vision_width={width}, ...)."
        )
    return vision


class Stage1(nn.Module, checkpoints.FromTransformers):
    """Representation learning (Sec. 3.2): `losses` on image-text pairs, each with its mask.

    qformer  with a text side
    vision   image encoder, such as `ImageFeatures`; trained, unless it is frozen
    Raises ValueError for a Q-Former without a text side, or of another width.
    """

    hf_model_type, hf_classes = "blip-2", ("Blip2ForImageTextRetrieval",)

    def __init__(self, qformer: QFormer, vision: nn.Module, embedding: int = 64):  # paper: 256
        super().__init__()
        self.qformer, self.vision, D = qformer, check_width(qformer, vision), qformer.config.width
        if qformer.config.vocabulary is None:
            raise ValueError(
                "this Q-Former has no text side (vocabulary=None), so there is nothing to compare images with."
            )
        self.image_projection, self.text_projection = (nn.Linear(D, embedding) for _ in range(2))
        self.itm_head = nn.Linear(D, 2)
        self.temperature = nn.Parameter(torch.tensor(0.07))
        self.head = MLMHead(D, qformer.config.vocabulary, qformer.config.eps)

    def cls_ids(self, ids: Tensor) -> Tensor:
        """ids (B, T) with [CLS] as first token."""
        return with_first_token(ids, self.qformer.config.cls_token_id)

    def dec_ids(self, ids: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """ids (B, T) with [DEC] as first token, "to signal the decoding task"; padding_mask: see `with_first_token`."""
        return with_first_token(ids, self.qformer.config.dec_token_id, padding_mask)

    def vision_context(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """Context of `forward`: {"image": (B, P, C)}."""
        return {"image": patch_features(self.vision, pixel_values)}

    def encode_image(self, image: Image) -> Tensor:
        """Features (B, P, C) -> one unit vector per query (B, R, E)."""
        return normalize(self.image_projection(self.qformer.query_states(image)), dim=-1)

    def encode_text(self, ids: Tensor) -> Tensor:
        """(B, T) ids -> unit vectors (B, E), of [CLS]."""
        R, ids = self.qformer.config.queries, self.cls_ids(ids)
        mask = self.qformer.mask("itc", ids)[:, :, R:, R:]
        state = self.qformer.text_states(ids, mask, first=1)[:, 0]
        return normalize(self.text_projection(state), dim=-1)

    def itm_logits(self, image: Image, ids: Tensor) -> Tensor:
        """Logits (B, 2) of "no match" and "match", the mean over queries: image (B, P, C) or its `project_kv`, ids (B, T)."""
        ids, R = self.cls_ids(ids), self.qformer.config.queries
        queries, _ = self.qformer(image, ids, self.qformer.mask("itm", ids), first=R)
        return self.itm_head(queries).mean(1)

    def forward(
        self, ids: Tensor, cache=None, padding_mask: Tensor | None = None, *, image: Image
    ) -> Tensor:
        """Logits (B, T, V) of the next tokens of ids (B, T), by the Q-Former itself (ITG); image of `vision_context`.

        padding_mask (B, T): False at padding. Nothing is cached; all T logits are computed.
        """
        padding_mask, positions = language.extend_padding_mask(padding_mask, ids), None
        if padding_mask is not None:
            positions = language.position_ids(padding_mask)
        ids = self.dec_ids(ids, padding_mask)
        mask = self.qformer.mask("itg", ids, padding_mask)
        _, text = self.qformer(image, ids, mask, position_ids=positions)
        return self.head(text, self.qformer.words.weight)

    def _itc_loss(
        self, image: Tensor, text: Tensor, positive_groups: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Unit vectors (B, R, E) and (B, E) -> loss, and scaled similarities (B, B) without gradient."""
        loss = clip_loss(image, text, 1 / self.temperature, positive_groups, LABEL_SMOOTHING)
        return loss, (similarity(image, text) / self.temperature).detach()

    def _itm_loss(
        self, image: Image, ids: Tensor, similarities: Tensor, positive_groups: Tensor | None
    ) -> Tensor:
        """Pairs: each image with its text, each image with a wrong text, each text with a wrong image."""
        texts, images = hard_negatives(similarities, positive_groups)
        own = torch.arange(len(ids), device=ids.device)
        rows = torch.cat([own, own, images])
        if isinstance(image, Tensor):
            image = image[rows]
        else:
            image = [kv and (kv[0][rows], kv[1][rows]) for kv in image]
        logits = self.itm_logits(image, torch.cat([ids, ids[texts], ids]))
        return itm_loss(logits[: len(ids)], logits[len(ids) :])

    def _itg_loss(self, text: Tensor, ids: Tensor) -> Tensor:
        """States (B, T, D) of ids (B, T) -> cross-entropy of all next tokens that are not padding."""
        is_token = ids[:, 1:] != self.qformer.config.pad_token_id
        logits = self.head(text[:, :-1][is_token], self.qformer.words.weight)  # (tokens, V)
        return cross_entropy(logits.float(), ids[:, 1:][is_token], label_smoothing=LABEL_SMOOTHING)

    def losses_unfused(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The three losses as they are defined, one pass per objective under its mask (Fig. 2); batch as in `losses`."""
        image, ids = batch_features(self.vision, batch), batch["ids"]
        positives, cls_ids, dec_ids = (
            batch.get("positive_groups"),
            self.cls_ids(ids),
            self.dec_ids(ids),
        )
        queries, text = self.qformer(image, cls_ids, self.qformer.mask("itc", cls_ids))
        itc, similarities = self._itc_loss(
            normalize(self.image_projection(queries), dim=-1),
            normalize(self.text_projection(text[:, 0]), dim=-1),
            positives,
        )
        _, text = self.qformer(image, dec_ids, self.qformer.mask("itg", dec_ids))
        itm = self._itm_loss(image, ids, similarities, positives)
        return {"itc": itc, "itm": itm, "itg": self._itg_loss(text, dec_ids)}

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """{"itc", "itm", "itg"}: `losses_unfused` with the queries of ITC and ITG, which don't attend to text, computed once.

        batch: `pixel_values` (B, 3, S, S) or `features` (B, P, C); `ids` (B, T); optionally `positive_groups` (B,), see `clip_loss`.
        """
        image, ids = batch_features(self.vision, batch), batch["ids"]
        self.qformer.check(image, ids)
        positives, dec_ids = batch.get("positive_groups"), self.dec_ids(ids)
        projected = self.qformer.project_kv(image)
        cache: dict = {}
        queries = self.qformer.query_states(projected, cache)
        itc, similarities = self._itc_loss(
            normalize(self.image_projection(queries), dim=-1), self.encode_text(ids), positives
        )
        mask = self.qformer.mask("itg", dec_ids)[:, :, self.qformer.config.queries :]
        text = self.qformer.text_states(dec_ids, mask, cache)
        itm = self._itm_loss(projected, ids, similarities, positives)
        return {"itc": itc, "itm": itm, "itg": self._itg_loss(text, dec_ids)}

    @torch.no_grad()
    def after_step(self) -> None:
        """Clamps the temperature as BLIP does; the paper's code needs no bounds at a tenth of our learning rates."""
        self.temperature.clamp_(0.001, 0.5)

    @classmethod
    def from_hf(cls, model) -> Stage1:
        """A `transformers.Blip2ForImageTextRetrieval` (ITC and ITM), weights copied; it has no ITG head, ours is untrained."""
        vision, sizes = checkpoints.blip2_vision(model), checkpoint_formats.blip2_sizes(model)
        stage = cls(QFormer(QFormerConfig(**sizes)), vision, model.vision_projection.out_features)
        return checkpoints.copy_blip2(stage, model, fresh=("head.", "temperature")).eval()


class BLIP2(SoftPromptModel, checkpoints.FromTransformers):
    """Generative learning (Sec. 3.3): the queries, projected to the width of words, are the language model's soft prompt.

    qformer              of stage 1, or untrained; a copy without its text side is trained
    vision               as in stage 1
    lm                   a decoder of transformers; trained, unless it is frozen (parts.language.freeze)
    image_token_id       placeholder of one query in the text
    language_projection  its initial value, if any
    Raises ValueError for parts of other widths.
    """

    hf_model_type, hf_classes = "blip-2", ("Blip2ForConditionalGeneration",)

    def __init__(
        self,
        qformer: QFormer,
        vision: nn.Module,
        lm: nn.Module,
        image_token_id: int,
        language_projection: nn.Linear | None = None,
    ):
        super().__init__()
        self.qformer, self.vision = qformer.without_text(), check_width(qformer, vision)
        self.lm, self.image_token_id = language.check_decoder(lm), image_token_id
        sizes = qformer.config.width, language.width(lm)
        self.language_projection = language_projection or nn.Linear(*sizes)
        given = self.language_projection.in_features, self.language_projection.out_features
        if given != sizes:
            raise ValueError(
                f"the projection maps {given[0]} to {given[1]} numbers; this Q-Former's queries are {sizes[0]} "
                f"wide and this language model's words {sizes[1]}. Expected nn.Linear{sizes}: another language "
                "model needs a projection of its own."
            )

    def encode_prefix(self, image: Tensor) -> Tensor:
        """Features (M, P, C) of images in the order of their placeholders -> soft prompt (M * R, D)."""
        return self.language_projection(self.qformer.query_states(image)).flatten(0, 1)

    def vision_context(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """Context of `forward`, of images (M, 3, S, S): {"prefix": (M * R, D)}."""
        return {"prefix": self.encode_prefix(patch_features(self.vision, pixel_values))}

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `pixel_values` or `features`; `ids` and `loss_mask` (B, T), True at tokens to predict -> {"lm": scalar}."""
        language.check_loss_mask(batch["ids"], batch["loss_mask"], self.image_token_id)
        prefix = self.encode_prefix(batch_features(self.vision, batch))
        logits = self(batch["ids"], prefix=prefix)  # (B, T, V)
        return {"lm": language.next_token_loss(logits, batch["ids"], batch["loss_mask"])}

    @classmethod
    def from_hf(cls, model) -> BLIP2:
        """A `transformers.Blip2ForConditionalGeneration` with a decoder (OPT) or an encoder-decoder (T5), weights copied.

        Raises ValueError for a checkpoint without an image token.
        """
        decoder_only = model.config.use_decoder_only_language_model
        if (image_token_id := model.config.image_token_id) is None:
            raise ValueError(
                "this checkpoint names no image token (image_token_id is None), so there is no place for the queries; "
                "set model.config.image_token_id to the id of its <image>."
            )
        blip2 = (BLIP2 if decoder_only else BLIP2EncoderDecoder)(
            QFormer(QFormerConfig(**checkpoint_formats.blip2_sizes(model))),
            checkpoints.blip2_vision(model),
            language.freeze(deepcopy(model.language_model).float()),
            image_token_id,
        )
        return checkpoints.copy_blip2(blip2, model).eval()


class BLIP2EncoderDecoder(BLIP2):
    """With an encoder-decoder such as T5 (Fig. 3, bottom): its encoder reads soft prompt and prefix, its decoder generates."""

    def forward(  # type: ignore[override]  # it needs `encoder_ids`
        self,
        ids: Tensor,
        cache=None,
        padding_mask: Tensor | None = None,
        *,
        prefix: Tensor | None = None,
        encoder_ids: Tensor,
        encoder_padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, S, V) of the decoder's ids (B, S), from its start token on. Nothing is cached.

        padding_mask                       (B, S) booleans, about `ids`, False at padding
        encoder_ids, encoder_padding_mask  (B, T) of the encoder's text, with placeholders for prefix (slots, D)
        """
        if encoder_padding_mask is None:
            encoder_padding_mask = torch.ones_like(encoder_ids, dtype=torch.bool)
        padding_mask = language.extend_padding_mask(padding_mask, ids)
        return self.lm(
            inputs_embeds=self.embeddings(encoder_ids, prefix),
            attention_mask=encoder_padding_mask.long(),
            decoder_input_ids=ids,
            decoder_attention_mask=None if padding_mask is None else padding_mask.long(),
        ).logits

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `pixel_values` or `features`; `encoder_ids` (B, T), optionally `encoder_padding_mask`; `ids` and `loss_mask` (B, S)
        of the decoder, from its start token on -> {"lm": scalar}."""
        logits = self(
            batch["ids"][:, :-1],
            prefix=self.encode_prefix(batch_features(self.vision, batch)),
            encoder_ids=batch["encoder_ids"],
            encoder_padding_mask=batch.get("encoder_padding_mask"),
        )
        return {"lm": language.next_token_loss(logits, batch["ids"], batch["loss_mask"])}
