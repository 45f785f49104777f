"""BLIP-2. Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large Language Models
(Li et al. 2023, arXiv 2301.12597).

Between an image encoder and a language model, both frozen, stands the Q-Former (qformer.py). Stage 1 teaches its queries what
to fetch from an image, by three objectives that differ in who may look at whom (Fig. 2); stage 2 teaches them to say it to
the language model (Fig. 3).

Scaled down here: see qformer.py; and any image encoder, any language model. Kept: the features of the second-last layer, with
a LayerNorm that learns; contrast by the best query, matching by all of them; smoothed labels; the whole Q-Former trains in
stage 2, without its text side.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from vlmcourse.papers.qformer import Image, QFormer, patch_features
from vlmcourse.parts.bert import MLMHead
from vlmcourse.parts.language import SoftPromptModel, check_decoder, freeze, next_token_loss, width
from vlmcourse.parts.losses import clip_loss, hard_negatives, itm_loss, similarity

SMOOTHING = 0.1  # of labels in contrast and generation (the paper's code)


def _check_width(qformer: QFormer, vision: nn.Module) -> nn.Module:
    found = vision.width if hasattr(vision, "tokens") else vision.config.hidden_size
    if found != qformer.config.vision_width:
        raise ValueError(
            f"the image encoder's features are {found} wide; this Q-Former expects {qformer.config.vision_width}. "
            f"Make it with QFormerConfig(vision_width={found}, ...)."
        )
    return vision


def _seen(vision: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """An encoder that is frozen says the same at every step: a batch may bring its `features` in the place of `pixel_values`."""
    return (
        batch["features"] if "features" in batch else patch_features(vision, batch["pixel_values"])
    )


class Stage1(nn.Module):
    """Representation learning (Sec. 3.2): three losses on the same pairs, each with its mask.

    former  a QFormer with a text side
    vision  of `ImageFeatures`, or any image encoder; pass it through parts.language.freeze, or it learns too
    """

    def __init__(self, qformer: QFormer, vision: nn.Module, embedding: int = 64):  # paper: 256
        super().__init__()
        self.qformer, self.vision, D = qformer, _check_width(qformer, vision), qformer.config.width
        if qformer.config.vocabulary is None:
            raise ValueError(
                "this Q-Former has no text side (vocabulary=None), so there is nothing to compare images with."
            )
        self.image_projection, self.text_projection = (
            nn.Linear(D, embedding),
            nn.Linear(D, embedding),
        )
        self.itm_head = nn.Linear(D, 2)
        self.temperature = nn.Parameter(torch.tensor(0.07))
        self.head = MLMHead(D, qformer.config.vocabulary, qformer.config.eps)

    def cls_ids(self, ids: Tensor) -> Tensor:
        """The same texts with [CLS] as first token."""
        return torch.cat(
            [torch.full_like(ids[:, :1], self.qformer.config.cls_token_id), ids[:, 1:]], dim=1
        )

    def dec_ids(self, ids: Tensor) -> Tensor:
        """The same texts with [DEC] as first token: "to signal the decoding task"."""
        return torch.cat(
            [torch.full_like(ids[:, :1], self.qformer.config.dec_token_id), ids[:, 1:]], dim=1
        )

    def encode_image(self, image: Tensor) -> Tensor:
        """Features (B, P, C) -> one unit vector per query (B, R, E)."""
        return normalize(self.image_projection(self.qformer.query_states(image)), dim=-1)

    def encode_text(self, ids: Tensor) -> Tensor:
        """(B, T) ids -> unit vectors (B, E)."""
        ids = self.cls_ids(ids)
        mask = (ids != self.qformer.config.pad_token_id)[:, None, None].expand(
            -1, -1, ids.shape[1], -1
        )
        return normalize(
            self.text_projection(self.qformer.text_states(ids, mask, first=1)[:, 0]), dim=-1
        )

    similarity = staticmethod(similarity)

    def itm_logits(self, image: Image, ids: Tensor) -> Tensor:
        """Do they belong together? Every query votes, (B, P, C) or its `project_kv`, (B, T) -> (B, 2)."""
        ids = self.cls_ids(ids)
        queries, _ = self.qformer(
            image, ids, self.qformer.mask("itm", ids), first=self.qformer.config.queries
        )
        return self.itm_head(queries).mean(1)

    def forward(self, ids: Tensor, cache=None, image: Tensor | None = None) -> Tensor:
        """What the Q-Former itself would write next: ids (B, T), features (B, P, C) -> logits (B, T, V). No cache."""
        ids = self.dec_ids(ids)
        return self.head(
            self.qformer(image, ids, self.qformer.mask("itg", ids))[1],
            self.qformer.words.weight,
        )

    def _contrast(
        self, image: Tensor, text: Tensor, positive_groups: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Unit vectors (B, R, E) and (B, E) -> loss, and the logits (B, B) for hard negatives."""
        loss = clip_loss(image, text, 1 / self.temperature, positive_groups, SMOOTHING)
        return loss, similarity(image.detach(), text.detach()) / self.temperature.detach()

    def _match(
        self, image: Image, ids: Tensor, own: Tensor, positive_groups: Tensor | None
    ) -> Tensor:
        """Each image with its text, with a wrong text, and its text with a wrong image."""
        texts, images = hard_negatives(own, positive_groups)
        each = torch.arange(len(ids), device=ids.device)
        again = torch.cat([each, each, images])
        image = (
            image[again]
            if isinstance(image, Tensor)
            else [seen and (seen[0][again], seen[1][again]) for seen in image]
        )
        said = self.itm_logits(image, torch.cat([ids, ids[texts], ids]))
        return itm_loss(said[: len(ids)], said[len(ids) :])

    def _generate(self, text: Tensor, ids: Tensor) -> Tensor:
        """States (B, T, D) of a text to write -> the loss of every next word."""
        padding_mask = ids[:, 1:] != self.qformer.config.pad_token_id
        said = self.head(text[:, :-1][padding_mask], self.qformer.words.weight)  # (real words, V)
        return cross_entropy(said.float(), ids[:, 1:][padding_mask], label_smoothing=SMOOTHING)

    def losses_unfused(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The three losses as they are defined: each objective is one pass of queries and text under its mask (Fig. 2)."""
        image, ids, positive_groups = (
            _seen(self.vision, batch),
            batch["ids"],
            batch.get("positive_groups"),
        )
        read, write = self.cls_ids(ids), self.dec_ids(ids)
        queries, text = self.qformer(image, read, self.qformer.mask("itc", read))
        contrast, own = self._contrast(
            normalize(self.image_projection(queries), dim=-1),
            normalize(self.text_projection(text[:, 0]), dim=-1),
            positive_groups,
        )
        _, text = self.qformer(image, write, self.qformer.mask("itg", write))
        return {
            "itc": contrast,
            "itm": self._match(image, ids, own, positive_groups),
            "itg": self._generate(text, write),
        }

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same, with the queries computed once: neither contrast nor generation shows them the text, so they come out
        alike, and the text to write needs only their keys. Each image is projected once, and looked at four times.

        batch: `pixel_values` (B, 3, S, S) or `features` (B, P, C); `ids` (B, T); `same` (B,), optional, see parts.losses.clip_loss.
        """
        image, ids, positive_groups = (
            _seen(self.vision, batch),
            batch["ids"],
            batch.get("positive_groups"),
        )
        self.qformer.check(image, ids)
        projected = self.qformer.project_kv(image)
        cache: dict = {}
        queries = self.qformer.query_states(projected, cache)
        contrast, own = self._contrast(
            normalize(self.image_projection(queries), dim=-1),
            self.encode_text(ids),
            positive_groups,
        )
        write = self.dec_ids(ids)
        text = self.qformer.text_states(
            write, self.qformer.mask("itg", write)[:, :, self.qformer.config.queries :], cache
        )
        return {
            "itc": contrast,
            "itm": self._match(projected, ids, own, positive_groups),
            "itg": self._generate(text, write),
        }

    @torch.no_grad()
    def after_step(self) -> None:
        """BLIP's bounds of the temperature. The authors' code needs none at its learning rates; ours are ten times as high."""
        self.temperature.clamp_(0.001, 0.5)

    @classmethod
    def from_hf(cls, model) -> Stage1:
        """A `transformers.Blip2ForImageTextRetrieval` (contrast and matching; it has no head to write with, ours is fresh)."""
        qformer = _hf_former(model)
        stage = cls(qformer, _hf_vision(model), model.vision_projection.out_features)
        with torch.no_grad():
            qformer.words.weight.copy_(model.embeddings.word_embeddings.weight)
            qformer.positions.copy_(model.embeddings.position_embeddings.weight)
        for ours, theirs in (
            (stage.image_projection, model.vision_projection),
            (stage.text_projection, model.text_projection),
            (stage.itm_head, model.itm_head),
        ):
            ours.load_state_dict(theirs.state_dict())
        return stage.eval()


class BLIP2(SoftPromptModel):
    """Generative learning (Sec. 3.3): the queries, mapped linearly to words' width, stand in the text where its slots are.

    former    of stage 1 (or untrained): a copy without its text side is taken, and all of it learns
    vision    as in stage 1
    lm        a decoder of transformers; pass it through parts.language.freeze first, or it learns too
    slot      id of the token that keeps a place for one query
    to_words  the projection, if it is to start from somewhere
    """

    def __init__(
        self,
        qformer: QFormer,
        vision: nn.Module,
        lm: nn.Module,
        image_token_id: int,
        language_projection: nn.Linear | None = None,
    ):
        super().__init__()
        self.qformer, self.vision, self.lm, self.image_token_id = (
            qformer.without_text(),
            _check_width(qformer, vision),
            check_decoder(lm),
            image_token_id,
        )
        self.language_projection = language_projection or nn.Linear(qformer.config.width, width(lm))
        wanted, found = (
            (qformer.config.width, width(lm)),
            (self.language_projection.in_features, self.language_projection.out_features),
        )
        if found != wanted:
            raise ValueError(
                f"the projection maps {found[0]} to {found[1]} numbers; this Q-Former's queries are {wanted[0]} "
                f"wide and this language model's words {wanted[1]}. Expected nn.Linear{wanted}: another language "
                "model needs a projection of its own."
            )

    def encode_prefix(self, image: Tensor) -> Tensor:
        """Features (M, P, C) of pictures in the order of their slots -> (M * R, D)."""
        return self.language_projection(self.qformer.query_states(image)).flatten(0, 1)

    def vision_context(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """What `forward` needs to know of pictures (M, 3, S, S)."""
        return {"prefix": self.encode_prefix(patch_features(self.vision, pixel_values))}

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `pixel_values` or `features`, `ids` (B, T) with slots, `loss_mask` (B, T), True at words to say -> {"language": .}."""
        if (
            batch["loss_mask"][:, 0].any()
            or (batch["loss_mask"] & (batch["ids"] == self.image_token_id)).any()
        ):
            raise ValueError("scored holds a first token or a slot; expected words to say only.")
        said = self(batch["ids"], prefix=self.encode_prefix(_seen(self.vision, batch)))  # (B, T, V)
        return {"lm": next_token_loss(said, batch["ids"], batch["loss_mask"])}

    @classmethod
    def from_hf(cls, model) -> BLIP2:
        """A `transformers.Blip2ForConditionalGeneration`, before a decoder (OPT) or an encoder-decoder (T5)."""
        kind = BLIP2 if model.config.use_decoder_only_language_model else BLIP2EncoderDecoder
        language_projection = deepcopy(model.language_projection)
        return kind(
            _hf_former(model),
            _hf_vision(model),
            freeze(deepcopy(model.language_model)),
            model.config.image_token_id,
            language_projection,
        ).eval()


class BLIP2EncoderDecoder(BLIP2):
    """Before an encoder-decoder such as T5 (Fig. 3, below): its encoder reads queries and prefix, its decoder says the suffix."""

    def forward(
        self,
        ids: Tensor,
        cache=None,
        prefix: Tensor | None = None,
        padding_mask: Tensor | None = None,
        read: Tensor | None = None,
    ) -> Tensor:
        """ids (B, S) of the decoder, from its start token on; read (B, T), the encoder's, with slots, of which real (B, T) are no
        padding -> logits (B, S, V). Nothing is cached."""
        if read is None:
            raise ValueError(
                "an encoder-decoder reads a prompt: expected `read`, ids (B, T) with image tokens"
            )
        padding_mask = read.new_ones(read.shape) if padding_mask is None else padding_mask.long()
        return self.lm(
            inputs_embeds=self.embeddings(read, prefix),
            attention_mask=padding_mask,
            decoder_input_ids=ids,
        ).logits

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `pixel_values` or `features`, `read` (B, T) with slots, `padding_mask` (B, T), optional, `ids` (B, S) from the decoder's start
        token on, `loss_mask` (B, S) True at words to say -> {"language": scalar}."""
        said = self(
            batch["ids"][:, :-1],
            None,
            self.encode_prefix(_seen(self.vision, batch)),
            batch.get("padding_mask"),
            batch["read"],
        )
        return {"lm": next_token_loss(said, batch["ids"], batch["loss_mask"])}


def _hf_vision(model) -> nn.Module:
    """Their image encoder, already without its last block. Its last LayerNorm is the one that learns: see `_hf_former`."""
    vision = deepcopy(model.vision_model)
    vision.post_layernorm = nn.Identity()
    return freeze(vision)


def _hf_former(model) -> QFormer:
    qformer = QFormer.from_hf(model.qformer, model.query_tokens[0])
    qformer.norm_image = deepcopy(model.vision_model.post_layernorm)
    return qformer
