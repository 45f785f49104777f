"""LLaVA. Visual Instruction Tuning (Liu et al. 2023, arXiv 2304.08485), with the projector of LLaVA-1.5 (arXiv 2310.03744).

Every patch of an image becomes a vector among the words: frozen image encoder, a small projector, a language model. Read with
Figure 1 of the first paper.

Two stages, both by `losses` (Sec. 4.2): feature alignment trains the projector alone, on captions, with the language model
frozen; instruction tuning trains projector and language model on dialogues, with a loss on the assistant's tokens only.
What is trained is what isn't frozen: pass `freeze(lm)` for the first stage, an unfrozen copy and the same projector for the
second.

Scaled down here: all sizes; the paper's image encoder is CLIP ViT-L/14 (336 pixels in 1.5), its language model Vicuna with 7
or 13 billion parameters.
"""

from __future__ import annotations

from torch import Tensor, nn

from vlmcourse.papers import checkpoint_formats, checkpoints
from vlmcourse.parts.image_features import ImageFeatures, batch_features, patch_features
from vlmcourse.parts.language import check_decoder, check_loss_mask, next_token_loss, width
from vlmcourse.parts.soft_prompts import SoftPromptModel


class Projector(nn.Sequential):
    """Patch features (..., C) -> vectors among words (..., D): two layers with a GELU (LLaVA-1.5, Sec. 3.2; LLaVA: one layer)."""

    def __init__(self, vision_width: int, language_width: int, bias: bool = True):
        super().__init__(
            nn.Linear(vision_width, language_width, bias),
            nn.GELU(),
            nn.Linear(language_width, language_width, bias),
        )


class LLaVA(SoftPromptModel, checkpoints.FromTransformers):
    """A language model that reads the projected patches of images at its image tokens.

    vision          frozen patch features; the paper takes the last block but one, without the class token (Sec. 4.1)
    lm              a decoder of transformers; trained, unless it is frozen (parts.language.freeze)
    image_token_id  placeholder of one patch in the text: P of them for an image
    projector       its initial value, such as that of the first stage; default: an untrained `Projector`
    """

    hf_model_type, hf_classes = "llava", ("LlavaForConditionalGeneration",)

    def __init__(
        self,
        vision: ImageFeatures,
        lm: nn.Module,
        image_token_id: int,
        projector: nn.Module | None = None,
    ):
        super().__init__()
        self.vision, self.lm = vision, check_decoder(lm)
        self.image_token_id = image_token_id
        self.projector = projector or Projector(vision.width, width(lm))

    def encode_prefix(self, features: Tensor) -> Tensor:
        """Features (M, P, C) of images in the order of their placeholders -> vectors among words (M * P, D)."""
        return self.projector(features).flatten(0, 1)

    def vision_context(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """Context of `forward`, of images (M, 3, S, S): {"prefix": (M * P, D)}."""
        return {"prefix": self.encode_prefix(patch_features(self.vision, pixel_values))}

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """batch: `pixel_values` or cached `features`; `ids` and `loss_mask` (B, T), True at tokens to predict -> {"lm": scalar}."""
        check_loss_mask(batch["ids"], batch["loss_mask"], self.image_token_id)
        logits = self(batch["ids"], prefix=self.encode_prefix(batch_features(self.vision, batch)))
        return {"lm": next_token_loss(logits, batch["ids"], batch["loss_mask"])}

    @classmethod
    def from_hf(cls, model) -> LLaVA:
        """The same function as a `transformers.LlavaForConditionalGeneration`, weights copied, the language model not frozen.

        Raises ValueError for features of several layers, and for another activation of the projector.
        """
        skip_blocks, class_token = checkpoint_formats.llava_features(model.config)
        encoder = model.model.vision_tower.float()
        llava = cls(
            ImageFeatures(encoder, skip_blocks, class_token),
            checkpoints.llava_language_model(model),
            model.config.image_token_id,
            Projector(
                model.config.vision_config.hidden_size,
                model.config.text_config.hidden_size,
                model.config.multimodal_projector_bias,
            ),
        )
        projector = model.model.multi_modal_projector.state_dict()
        checkpoints.copy_weights(llava.projector, projector, checkpoint_formats.LLAVA_PROJECTOR)
        return llava.eval()
