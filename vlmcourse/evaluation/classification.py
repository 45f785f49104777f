"""Image classification: zero-shot, linear and few-shot probes, accuracy under distribution shift.

Models are anything with `encode_image(pixel_values)` and `encode_text(ids)` -> unit vectors.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vlmcourse.evaluation.controls import Spread, eval_mode, spread
from vlmcourse.world.rendering import restyle, to_pixels

Labelled = tuple[Tensor, Tensor]
"""Features (N, D) and classes (N,)."""


def features(
    encode: Callable[[Tensor], Tensor], model: nn.Module, pixel_values: Tensor, batch: int = 256
) -> Tensor:
    """encode(pixel_values), batch by batch, for probes: (N, 3, S, S) -> (N, D). CLIP's probes take `model.vision`, the
    features before the joint projection (Sec. 3.2)."""
    device = next(model.parameters()).device
    with eval_mode(model):
        parts = pixel_values.split(batch)
        return torch.cat([encode(part.to(device)).float().cpu() for part in parts])


def class_embeddings(
    model, names: Sequence[str], templates: Sequence[str], encode: Callable[[list[str]], Tensor]
) -> Tensor:
    """One unit vector per class name, (C, E): the mean over templates, taken in embedding space (CLIP, Sec. 3.1.4).

    templates hold one {} for the name, else ValueError; encode: texts -> ids. Each text is normalised, then averaged, then
    normalised again.
    """
    if bad := [template for template in templates if template.count("{}") != 1]:
        raise ValueError(
            f"template {bad[0]!r}; expected exactly one {{}} where the class name goes."
        )
    device = next(model.parameters()).device
    with eval_mode(model):
        per_template = [
            model.encode_text(encode([template.format(name) for name in names]).to(device)).cpu()
            for template in templates
        ]
    return normalize(torch.stack(per_template).mean(0), dim=-1)


def zero_shot(images: Tensor, classes: Tensor) -> Tensor:
    """The nearest class of each image: (N, E) and (C, E) -> (N,)."""
    return (images @ classes.T).argmax(1)


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Share of equal classes, (N,) and (N,)."""
    return (torch.as_tensor(predicted) == torch.as_tensor(labels)).float().mean().item()


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Counts (true class, predicted class): scikit-learn's confusion_matrix."""
    from sklearn.metrics import confusion_matrix

    return torch.from_numpy(confusion_matrix(labels, predicted, labels=range(classes)))


def linear_probe(
    train: Labelled,
    test: Labelled,
    strengths: Sequence[float] = (1e-3, 1e-2, 1e-1, 1, 10, 100, 1_000, 10_000),
) -> float:
    """Accuracy of logistic regression on features (CLIP, Sec. 3.2).

    L-BFGS, at most 1,000 iterations; the L2 strength is chosen on a fifth of the training part, then all of it is used.
    The paper sweeps 96 values; every tenfold step is enough here.
    """
    from sklearn.model_selection import train_test_split

    x, y = (np.asarray(part) for part in train)
    x_fit, x_choose, y_fit, y_choose = train_test_split(x, y, test_size=0.2, random_state=0)
    best = max(
        strengths, key=lambda strength: _probe(strength, x_fit, y_fit).score(x_choose, y_choose)
    )
    return _score(_probe(best, x, y), test)


def _probe(strength: float, x: np.ndarray, y: np.ndarray):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000)).fit(x, y)


def _score(probe, test: Labelled) -> float:
    return float(probe.score(*(np.asarray(part) for part in test)))


def k_shot_probe(
    train: Labelled, test: Labelled, k: int, draws: int = 3, strength: float = 1.0
) -> Spread:
    """Accuracy of logistic regression on k different examples of each class, drawn `draws` times.

    Raises ValueError if a class has fewer than k.
    """
    x, y = (np.asarray(part) for part in train)
    members = [np.flatnonzero(y == label) for label in np.unique(y)]
    if (fewest := min(map(len, members))) < k:
        raise ValueError(f"{k} shots, but a class has only {fewest} examples.")
    scores = []
    for draw in range(draws):
        generator = np.random.default_rng(draw)
        rows = np.concatenate([generator.choice(part, k, replace=False) for part in members])
        with warnings.catch_warnings():
            # scikit-learn suspects a regression where classes are many and examples few
            warnings.filterwarnings("ignore", "The number of unique classes")
            scores.append(_score(_probe(strength, x[rows], y[rows]), test))
    return spread(scores)


def shift_curve(
    predict: Callable[[Tensor], Tensor], images: np.ndarray, labels: Tensor, styles: Sequence[str]
) -> dict[str, float]:
    """Accuracy in each style of world.STYLES. images (N, S, S, 3) uint8; predict: pixels -> classes (N,)."""
    return {style: accuracy(predict(to_pixels(restyle(images, style))), labels) for style in styles}
