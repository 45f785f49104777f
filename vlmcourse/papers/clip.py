"""CLIP. Learning Transferable Visual Models From Natural Language Supervision (Radford et al. 2021, arXiv 2103.00020).

Two towers, one for images and one for text, are trained so that a picture and its caption get the same direction:
the whole model is `encode_image`, `encode_text` and a cosine. Read with Figure 3 of the paper.

Scaled down here: the sizes (the paper's are in the margin), 64-pixel pictures, a word-level vocabulary. Kept: pre-norm
towers, the causal text tower read at its end token, linear projections without bias, the symmetric loss, the learned
temperature with its start and its bound, the initialisation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vlmcourse.parts.layers import QuickGELU, Transformer, check_ids
from vlmcourse.parts.losses import clip_loss
from vlmcourse.parts.masks import causal
from vlmcourse.parts.vision import ConvStem, ResNet, ViT, check_pixels

MAX_LOGIT_SCALE = math.log(
    100
)  # "clipped to prevent scaling the logits by more than 100" (Sec. 2.5)


@dataclass(frozen=True)
class CLIPConfig:
    """Sizes of both towers. In the margin: ViT-B/32, the paper's Table 20, except where it says otherwise."""

    vocabulary: int  # paper: 49,152 (byte-pair encoding)
    end: int | None  # id of the end token; None: the largest id of each text, OpenAI's convention
    context: int = 32  # paper: 76 (77 in its code)
    embedding: int = 128  # paper: 512
    image_size: int = 64  # paper: 224
    patch: int = 16  # paper: 32
    vision_width: int = 128  # paper: 768
    vision_depth: int = 4  # paper: 12
    vision_heads: int = 4  # paper: 12
    vision_hidden: int | None = None  # paper: 4 * width
    text_width: int = 128  # paper: 512
    text_depth: int = 2  # paper: 12
    text_heads: int = 4  # paper: 8
    text_hidden: int | None = None  # paper: 4 * width
    activation: type[nn.Module] = nn.GELU  # paper's code: QuickGELU
    eps: float = 1e-5
    conv_stem: bool = False  # as the paper: one linear projection per patch
    resnet: tuple[int, ...] | None = (
        None  # blocks per stage make the image tower a ResNet; paper's RN50: (3, 4, 6, 3)
    )


def image_tower(config: CLIPConfig) -> nn.Module:
    """The image encoder (Sec. 2.4): (B, 3, S, S) -> (B, vision_width)."""
    c = config
    if c.resnet:
        inner = c.vision_width // (4 * 2 ** (len(c.resnet) - 1))
        return ResNet(c.image_size, c.resnet, inner, c.vision_heads)
    return ViT(
        c.image_size,
        c.patch,
        c.vision_width,
        c.vision_depth,
        c.vision_heads,
        c.vision_hidden,
        c.activation,
        c.eps,
        stem=ConvStem(c.patch, c.vision_width) if c.conv_stem else None,
    )


class TextTower(nn.Module):
    """The text encoder (Sec. 2.4): a causal transformer; the text's vector is the state at its end token."""

    def __init__(self, config: CLIPConfig):
        super().__init__()
        c = config
        self.end, self.context, self.vocabulary = c.end, c.context, c.vocabulary
        self.tokens = nn.Embedding(c.vocabulary, c.text_width)
        self.positions = nn.Parameter(torch.empty(c.context, c.text_width))
        self.transformer = Transformer(
            c.text_depth, c.text_width, c.text_heads, c.text_hidden, c.activation, c.eps
        )
        self.norm_out = nn.LayerNorm(c.text_width, c.eps)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.01)

    def end_positions(self, ids: Tensor) -> Tensor:
        """Where each text ends: (B, T) ids -> (B,). Raises ValueError for a text without an end token."""
        if self.end is None:
            return ids.argmax(1)
        is_end = ids == self.end
        if not (ended := is_end.any(1)).all():
            row = int((~ended).nonzero()[0])
            raise ValueError(
                f"text {row} of the batch has no end token (id {self.end}), so there is no state to read. "
                "End every text with it; tokens.encode() does."
            )
        return is_end.int().argmax(1)  # the first one: padding after it may repeat it

    def embed(self, ids: Tensor) -> Tensor:
        """What the blocks read, (B, T) ids -> (B, T, D)."""
        check_ids(ids, self.vocabulary, self.context)
        return self.tokens(ids) + self.positions[: ids.shape[1]]

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) ids -> (B, D). Causal, so what follows the end token changes nothing and padding needs no mask."""
        x, mask = self.embed(ids), causal(ids.shape[1], ids.device).to_bool()  # (B, T, D)
        return self.norm_out(
            self.transformer.forward_at(x, self.end_positions(ids), mask)
        )  # (B, D)


class CLIP(nn.Module):
    """`encode_image` and `encode_text` give unit vectors in one space; `logits` compares them; `losses` trains them."""

    def __init__(self, config: CLIPConfig):
        super().__init__()
        self.config = config
        self.vision = image_tower(config)
        self.text = TextTower(config)
        self.image_projection = nn.Linear(self.vision.width, config.embedding, bias=False)
        self.text_projection = nn.Linear(config.text_width, config.embedding, bias=False)
        for projection in (self.image_projection, self.text_projection):
            nn.init.normal_(projection.weight, std=projection.in_features**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # Sec. 2.5

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, S, S) normalised float pixels -> (B, E) unit vectors."""
        check_pixels(pixel_values, self.config.image_size)
        return normalize(self.image_projection(self.vision(pixel_values)), dim=-1)  # (B, E)

    def encode_text(self, ids: Tensor) -> Tensor:
        """(B, T) token ids, each text with its end token -> (B, E) unit vectors."""
        return normalize(self.text_projection(self.text(ids)), dim=-1)  # (B, E)

    def logits(self, pixel_values: Tensor, ids: Tensor) -> Tensor:
        """Scaled cosines (images, texts)."""
        return self.logit_scale.exp() * self.encode_image(pixel_values) @ self.encode_text(ids).T

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `pixel_values` (B, 3, S, S), `ids` (B, T), optionally `same` (B,), see `clip_loss` -> {"contrast": scalar}.

        Fig. 3, lines 11-17.
        """
        image, text = self.encode_image(batch["pixel_values"]), self.encode_text(batch["ids"])
        return {
            "clip": clip_loss(image, text, self.logit_scale.exp(), batch.get("positive_groups"))
        }

    forward = losses  # data parallelism calls forward

    @torch.no_grad()
    def after_step(self) -> None:
        """Keeps the temperature in bounds. On the parameter, after the step: a clamp in the forward pass has no gradient
        beyond its bound, so the scale could never come back."""
        self.logit_scale.clamp_(0, MAX_LOGIT_SCALE)

    @classmethod
    def from_pretrained(cls, name_or_folder: str) -> CLIP:
        """A real checkpoint from the Hugging Face hub or a local folder, in our classes.

        Its pixels are normalised by its own processor: `transformers.CLIPImageProcessor.from_pretrained(name_or_folder)`.
        """
        from transformers import CLIPModel

        return cls.from_hf(CLIPModel.from_pretrained(name_or_folder))

    @classmethod
    def from_hf(cls, model) -> CLIP:
        """The same function as a `transformers.CLIPModel`, with the same weights (copied)."""
        vision, text = model.config.vision_config, model.config.text_config
        activations = {"quick_gelu": QuickGELU, "gelu": nn.GELU}
        if vision.hidden_act != text.hidden_act or vision.hidden_act not in activations:
            raise ValueError(
                f"activations '{vision.hidden_act}' (image) and '{text.hidden_act}' (text); "
                f"expected the same one in both towers, out of {', '.join(activations)}."
            )
        if vision.layer_norm_eps != text.layer_norm_eps:
            raise ValueError(
                f"LayerNorm eps {vision.layer_norm_eps} (image) and {text.layer_norm_eps} (text); "
                "expected the same in both towers."
            )
        clip = cls(
            CLIPConfig(
                vocabulary=text.vocab_size,
                end=None
                if text.eos_token_id == 2
                else text.eos_token_id,  # transformers' mark for old checkpoints
                context=text.max_position_embeddings,
                embedding=model.config.projection_dim,
                image_size=vision.image_size,
                patch=vision.patch_size,
                vision_width=vision.hidden_size,
                vision_depth=vision.num_hidden_layers,
                vision_heads=vision.num_attention_heads,
                vision_hidden=vision.intermediate_size,
                text_width=text.hidden_size,
                text_depth=text.num_hidden_layers,
                text_heads=text.num_attention_heads,
                text_hidden=text.intermediate_size,
                activation=activations[vision.hidden_act],
                eps=vision.layer_norm_eps,
                conv_stem=False,
            )
        )
        theirs = model.state_dict()
        clip.load_state_dict(
            {
                ours: torch.cat([theirs[name] for name in names])
                if len(names) > 1
                else theirs[names[0]].reshape(clip.state_dict()[ours].shape)
                for ours, names in _hf_names(clip).items()
            }
        )
        return clip.eval()


def _hf_names(clip: CLIP) -> dict[str, list[str]]:
    """Our parameter -> transformers' (several where ours holds them as one matrix)."""
    names = {
        "logit_scale": ["logit_scale"],
        "image_projection.weight": ["visual_projection.weight"],
        "text_projection.weight": ["text_projection.weight"],
        "vision.stem.project.weight": ["vision_model.embeddings.patch_embedding.weight"],
        "vision.class_token": ["vision_model.embeddings.class_embedding"],
        "vision.positions": ["vision_model.embeddings.position_embedding.weight"],
        "text.tokens.weight": ["text_model.embeddings.token_embedding.weight"],
        "text.positions": ["text_model.embeddings.position_embedding.weight"],
    }
    layers = {
        "norm1": ["layer_norm1"],
        "norm2": ["layer_norm2"],
        "attention.query": ["self_attn.q_proj"],
        "attention.key_value": ["self_attn.k_proj", "self_attn.v_proj"],
        "attention.out": ["self_attn.out_proj"],
        "feedforward.0": ["mlp.fc1"],
        "feedforward.2": ["mlp.fc2"],
    }
    modules = {
        "vision.norm_in": ["vision_model.pre_layrnorm"],  # sic
        "vision.norm_out": ["vision_model.post_layernorm"],
        "text.norm_out": ["text_model.final_layer_norm"],
    }
    for tower, depth in (("vision", clip.config.vision_depth), ("text", clip.config.text_depth)):
        for layer in range(depth):
            for ours, theirs in layers.items():
                modules[f"{tower}.transformer.blocks.{layer}.{ours}"] = [
                    f"{tower}_model.encoder.layers.{layer}.{name}" for name in theirs
                ]
    for ours, theirs in modules.items():
        for kind in ("weight", "bias"):
            names[f"{ours}.{kind}"] = [f"{name}.{kind}" for name in theirs]
    return names
