"""Lesson 11: the checks of the exercise on the resampler."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from teaching import flamingo_reference as reference
from teaching.blip2_layers import randomise
from teaching.exercises import Exercise, normal, number, rule
from vlmcourse.papers.flamingo import FlamingoConfig, PerceiverResampler
from vlmgrader.checks import driver_source


def new_resampler(seed: int, width: int, latents: int) -> nn.Module:
    """A resampler of two layers and six time embeddings, whose weights depend on the seed alone."""
    sizes = {"latents": latents, "resampler_depth": 2, "resampler_heads": 2, "frames": 6}
    config = FlamingoConfig(0, width, resampler_head_width=4, **sizes)
    return randomise(PerceiverResampler(config), seed)


def resample_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """A seed, a number of latents, features (M, T, S, D) of three short videos; M, T and S differ."""
    width, T = 2 * number(generator, 3, 4), number(generator, 4, 5)
    features = normal(generator, 3, T, number(generator, 6, 7), width, scale=2) + 0.5
    return [number(generator, 0, 10_000), number(generator, 2, 3), features], {}


def run_resample(target, seed, latents, features):
    """Driver: target(a resampler of these weights, features), and the gradient by the features."""
    import torch

    from teaching.flamingo_resampler import new_resampler

    features = features.clone().requires_grad_()
    result = target(new_resampler(seed, features.shape[-1], latents), features)
    if not isinstance(result, torch.Tensor) or not result.requires_grad:
        return [result, torch.zeros_like(features)]
    (gradient,) = torch.autograd.grad((result**3).sum(), features, allow_unused=True)
    return [result.detach(), torch.zeros_like(features) if gradient is None else gradient]


def changed_resample(resampler, features, change: str = "") -> Tensor:
    """resample, and what it becomes by one mistake."""
    M, T, S, D = features.shape
    frames = resampler.time_embeddings[:T]
    timed = {
        "no time": lambda: features,
        "first time": lambda: features + frames[:1, None],
        "last times": lambda: features + resampler.time_embeddings[-T:, None],
        "time of images": lambda: features + resampler.time_embeddings[:M, None, None],
        "late time": lambda: features,
    }.get(change, lambda: features + frames[:, None])()
    x_f = timed.mean(1) if change == "mean of frames" else timed.flatten(1, 2)
    x_f = timed[:, 0] if change == "first frame" else x_f
    if change == "late time":
        extra = (0 * features + frames[:, None]).flatten(1, 2)
    x = resampler.latents.expand(M, -1, -1)
    layers = list(resampler.layers)
    layers = {"first": layers[:1], "last": layers[-1:], "reversed": layers[::-1]}.get(
        change, layers
    )
    for layer in layers:
        q = x if change == "no norm_latents" else layer.norm_latents(x)
        read = x_f if change == "no norm_features" else layer.norm_features(x_f)
        read = layers[0].norm_features(x_f) if change == "norm once" else read
        if change == "late time":
            read = read + extra
        both = torch.cat([read, x if change == "raw latents" else q], dim=1)
        both = {"features only": read, "latents only": q}.get(change, both)
        if change == "one norm":
            both = layer.norm_features(torch.cat([x_f, x], dim=1))
        if change == "mixed":
            found = layer.attention(q.flatten(0, 1)[None], both.flatten(0, 1)[None])
            found = found.reshape(x.shape)
        else:
            found = layer.attention(q, both)
        y = found if change == "no residual" else x + found
        dense = layer.feedforward(y if change == "no norm" else layer.norm(y))
        x = {"no dense": y, "no last residual": dense}.get(change, y + dense)
    return x if change == "no last norm" else resampler.norm(x)


def resampled(change: str = "") -> Callable:
    """What run_resample gives for it."""
    return partial(run_resample, partial(changed_resample, change=change))


def detached(*args) -> list[Tensor]:
    value, gradient = resampled()(*args)
    return [value, torch.zeros_like(gradient)]


MISTAKES = {
    "the time embeddings are missing: a video's frames could stand in any order.": resampled(
        "no time"
    ),
    "every frame gets the first time embedding; each frame has its own.": resampled("first time"),
    "each image or video of the batch gets another time embedding; they belong to frames.": resampled(
        "time of images"
    ),
    "these are the last time embeddings; the first T are used.": resampled("last times"),
    "the time embeddings are added after `norm_features`; add them before the layers.": resampled(
        "late time"
    ),
    "the frames are averaged; all their features are keys, one after the other.": resampled(
        "mean of frames"
    ),
    "only the first frame is read.": resampled("first frame"),
    "keys and values are of the features alone; here the latents are keys, too.": resampled(
        "features only"
    ),
    "keys and values are of the latents alone: nothing of the picture comes in.": resampled(
        "latents only"
    ),
    "the latents among the keys must have gone through `norm_latents`, too.": resampled(
        "raw latents"
    ),
    "latents among the keys go through `norm_latents`, not `norm_features`.": resampled("one norm"),
    "the features don't go through `norm_features`.": resampled("no norm_features"),
    "the first layer's `norm_features` is used in all layers; each layer has its own.": resampled(
        "norm once"
    ),
    "the latents don't go through `norm_latents` before the attention.": resampled(
        "no norm_latents"
    ),
    "the attention's residual is missing.": resampled("no residual"),
    "the feed-forward network is missing.": resampled("no dense"),
    "the feed-forward network's residual is missing.": resampled("no last residual"),
    "the feed-forward network reads without `norm`.": resampled("no norm"),
    "the last LayerNorm, `resampler.norm`, is missing.": resampled("no last norm"),
    "only the first layer is used.": resampled("first"),
    "only the last layer counts: each layer must go on with the latents of the one before.": resampled(
        "last"
    ),
    "the layers are used in reverse order.": resampled("reversed"),
    "images of a batch are mixed: each has latents of its own.": resampled("mixed"),
    "the values are right, but no gradient arrives at the features.": detached,
}


def explain(got: object, wanted: list, seed, latents, features) -> str | None:
    shape = tuple(got[0].shape) if isinstance(got, list) and isinstance(got[0], Tensor) else None
    M, T, S, D = features.shape
    if shape is None or shape == (M, latents, D):
        return None
    known = {
        (1, latents, D): "there is one row, whatever the batch is: expand the latents first.",
        (latents, D): "there is no axis for the batch: expand the latents first.",
        (M, T * S + latents, D): "the features are still there: only latents are queries.",
        (M, T, latents, D): "each frame has latents of its own; all frames of a video share them.",
        (M * T, latents, D): "each frame has latents of its own; all frames of a video share them.",
    }
    return known.get(shape)


EXERCISES = {
    "resample": Exercise(
        "However many features come in, R latents go out.",
        (
            rule(
                "resample",
                resample_inputs,
                resampled(),
                MISTAKES,
                driver=driver_source(run_resample),
                explain=explain,
                tolerance=1e-3,
                rounds=2,
            ),
        ),
        reference=reference.resample,
    ),
}
