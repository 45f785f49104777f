"""The square that Flamingo's attention leaves out: what its pixels do, and what its vector does."""

from __future__ import annotations

import torch
from torch import Tensor

from teaching.explorer_models import flamingo_maps
from vlmcourse import world
from vlmcourse.evaluation import eval_mode
from vlmcourse.papers.flamingo import Flamingo
from vlmcourse.world import tokenizer


def left_out_table(model: Flamingo, scene: world.Scene, size: int) -> str:
    """A Markdown table: probabilities at the article and at the noun when the square with the least attention is changed.

    Its pixels are covered with grey, or its vector is taken from what the resampler reads; or the vectors of the covered picture
    are mixed with those of the whole one. Row by row of the picture, the vectors are a class token and one for each patch.
    """
    noun, word = scene.words[0], world.article(scene.words[0]).split()[0]
    text = f"a picture of {word} {noun}"
    whole = world.to_pixels([world.render(scene, size)])[0]
    ids = tokenizer.encode([f"<image> {text}"])[:, :-1]
    at = ids.shape[1] - 3  # the position that predicts the article
    with eval_mode(model):
        found = flamingo_maps(model)(whole, text)
    square = int(found.maps.mean((0, 1))[-2].argmin())
    side = round(found.maps.shape[-1] ** 0.5)
    (row, column), patch = divmod(square, side), size // side
    covered = whole.clone()
    covered[:, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch] = 0

    def probabilities(features: Tensor) -> list[float]:
        after = model(ids, media=model.resample([features])).softmax(-1)[0]
        number = {one: int(tokenizer.encode([one])[0, 1]) for one in (word, "some", noun)}
        return [after[at, number[one]].item() for one in (word, "some")] + [
            after[at + 1, number[noun]].item()
        ]

    with eval_mode(model), torch.no_grad():
        plain, grey = model.encode_images(torch.stack([whole, covered]))
        mixed = grey.clone()
        mixed[:, 1 + square] = plain[:, 1 + square]
        others = [index for index in range(plain.shape[1]) if index != 1 + square]
        rows = {
            "the whole picture": plain,
            "the square's pixels are grey": grey,
            "its vector is taken away": plain[:, others],
            "all other vectors are of the grey picture": mixed,
            "the class token is taken away": plain[:, 1:],
        }
        lines = [
            f"| {name} | " + " | ".join(f"{one:.2f}" for one in probabilities(features)) + " |"
            for name, features in rows.items()
        ]
    head = f"row {row + 1}, column {column + 1} | '{word}' | 'some' | '{noun}' after '{word}'"
    return "\n".join([f"| {head} |", "|---|---:|---:|---:|", *lines])
