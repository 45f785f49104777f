"""The CLIP playground: classes of one's own, prompts, the temperature, a matrix of similarities, the gap between the modalities.

`clip.js` computes with saved vectors: of pictures, of their captions, and of each noun in each template.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlmcourse import world
from vlmcourse.evaluation import class_embeddings, eval_mode
from vlmcourse.widgets.explorer import picture_address, show_explorer
from vlmcourse.world import tokenizer

TEMPLATES = ("a picture of {}", "{}", "this is {} .")
CLASSES = ("cat", "dog")


def packed(vectors: Tensor) -> str:
    """Unit vectors (N, E) as base64 of one byte a number; the browser makes them unit vectors again."""
    whole = (vectors / vectors.abs().max() * 127).round().to(torch.int8)
    return base64.b64encode(whole.cpu().numpy().tobytes()).decode()


def class_vectors(model, names: Sequence[str], template: str) -> Tensor:
    """(N, E): each name with its article in a template with {}. Raises ValueError for unknown words."""
    texts = [world.article(name) for name in names]
    return class_embeddings(model, texts, (template,), tokenizer.encode)


def gallery(model, pairs: world.Pairs, count: int = 32) -> dict:
    """The first pairs with different captions: pictures, captions, nouns of each, and the vectors of both."""
    chosen = pairs.distinct(count)
    batch = pairs.batch(chosen)
    with eval_mode(model):
        image, text = model.encode_image(batch["pixel_values"]), model.encode_text(batch["ids"])
    gap = normalize(
        image.mean(0) - text.mean(0), dim=0
    )  # one axis; the other: most of what is left
    centred = torch.cat([image - image.mean(0), text - text.mean(0)])
    rest = centred - (centred @ gap)[:, None] * gap
    axes = torch.stack([gap, torch.linalg.svd(rest, full_matrices=False).Vh[0]])
    return {
        "pictures": [picture_address(picture) for picture in pairs.images(chosen)],
        "captions": batch["text"],
        "nouns": [list(scene.words) for scene in pairs.scenes(chosen)],
        "image": packed(image),
        "text": packed(text),
        "axes": [[round(value, 4) for value in axis] for axis in axes.tolist()],
    }


def describe(shown: dict, classes: Sequence[str]) -> str:
    """What the playground shows first."""
    return (
        f"{len(shown['pictures'])} pictures to choose from, such as '{shown['captions'][0]}'. Bars: the probability that CLIP "
        f"gives to the picture's things, to {' and to '.join(classes)}. Two more views: similarities of pictures and captions, and the modality gap."
    )


def clip_playground(model, pairs: world.Pairs, classes: Sequence[str] = CLASSES) -> None:
    """Displays the playground. pairs: the pictures to choose from; classes: to begin with, beside the first picture's things."""
    nouns = [noun.word for noun in world.nouns()]
    shown = gallery(model, pairs)
    data = shown | {
        "vocabulary": nouns,
        "classes": list(classes),
        "templates": {
            template: packed(class_vectors(model, nouns, template)) for template in TEMPLATES
        },
        "scale": round(model.logit_scale.exp().item(), 2),
    }

    def answer(question: dict) -> list[float]:
        return class_vectors(model, [question["name"]], question["template"])[0].tolist()

    show_explorer("clip", data, describe(shown, classes), answer)
