"""Lesson 10: the checks of the exercise on one layer of the Q-Former."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from teaching import blip2_reference as reference
from teaching.exercises import Exercise, normal, number, rule
from vlmcourse.papers.qformer import QFormerConfig, QFormerLayer
from vlmgrader.checks import driver_source


def randomise(module: nn.Module, seed: int) -> nn.Module:
    """The module with weights, norms included, that depend on the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.5 + ("norm" in name))
    return module


def config_of(width: int) -> QFormerConfig:
    return QFormerConfig(vision_width=width, vocabulary=12, width=width, heads=2, hidden=width)


def new_layer(seed: int, width: int, cross: bool) -> nn.Module:
    """A layer with or without cross-attention."""
    return randomise(QFormerLayer(config_of(width), cross), seed)


def layer_inputs(generator: torch.Generator, cross: bool) -> tuple[list, dict]:
    """A seed for the weights, states of R queries and a text, R, features of pictures, ITG's mask, cross-attention or not."""
    B, R, T, width = (
        2,
        number(generator, 2, 4),
        number(generator, 5, 6),
        2 * number(generator, 3, 4),
    )
    x, features = normal(generator, B, R + T, width, scale=2), normal(generator, B, 5, width)
    mask = reference.qformer_mask("itg", R, torch.ones(B, T, dtype=torch.bool))
    return [number(generator, 0, 10_000), x, R, 2 * features, mask, cross], {}


def run_layer(target, seed, x, R, features, mask, cross):
    """Driver: target with a layer of these weights: [result, gradient of its sum by x]."""
    import torch

    from teaching.blip2_layers import new_layer

    x = x.clone().requires_grad_()
    result = target(new_layer(seed, x.shape[-1], cross), x, R, features, mask)
    if not isinstance(result, torch.Tensor) or not result.requires_grad:
        return [result, torch.zeros_like(x)]
    grad = torch.autograd.grad(result.sum() + (result**2).sum(), x, allow_unused=True)[0]
    return [result, torch.zeros_like(x) if grad is None else grad]


def changed_layer(layer, x, R, features, mask, change: str = "") -> Tensor:
    """qformer_layer, and what it becomes by one mistake."""
    ffn_q, ffn_t = layer.feedforward_queries, layer.feedforward_text
    norm_q, norm_t, start = layer.norm_queries, layer.norm_text, x
    if change == "pre-norm":
        return pre_norm(layer, x, R, features, mask)
    if change == "norm inside the sum":
        return norm_inside(layer, x, R, features, mask)
    ffn_q, ffn_t = {
        "exchanged": (ffn_t, ffn_q),
        "queries' for all": (ffn_q, ffn_q),
        "text's for all": (ffn_t, ffn_t),
        "queries' branch for all": (ffn_q, ffn_q),
        "text's branch for all": (ffn_t, ffn_t),
    }.get(change, (ffn_q, ffn_t))
    norm_q, norm_t = {
        "norms exchanged": (norm_t, norm_q),
        "queries' norm for all": (norm_q, norm_q),
        "text's norm for all": (norm_t, norm_t),
        "no norm of text": (norm_q, nn.Identity()),
        "no norm of queries": (nn.Identity(), norm_t),
        "queries' branch for all": (norm_q, norm_q),
        "text's branch for all": (norm_t, norm_t),
    }.get(change, (norm_q, norm_t))
    if change == "no last norm":
        norm_q = norm_t = nn.Identity()

    def cross(states: Tensor, context: Tensor) -> Tensor:
        if layer.cross_attention is None or change == "no cross":
            return states
        beside = {"no cross residual": 0, "old residual": start[:, :R]}.get(change, states)
        norm = {"norm": layer.norm, "no cross norm": nn.Identity()}.get(
            change, layer.norm_cross_attention
        )
        queries = start[:, :R] if change == "old queries" else states
        return norm(beside + layer.cross_attention(queries, context=context))

    if change == "cross first":
        x = torch.cat([cross(x[:, :R], features), x[:, R:]], dim=1)
    kept = 0 if change == "no residual" else x
    if change == "apart":
        sides = (x[:, :R], mask[..., :R, :R]), (x[:, R:], mask[..., R:, R:])
        attended = torch.cat([layer.attention(part, mask=one) for part, one in sides], dim=1)
    else:
        attended = layer.attention(x, mask=None if change == "no mask" else mask)
    x = layer.norm(kept + attended)
    if change == "text crosses, too":
        x = cross(x, features)
    queries, text = x[:, :R], x[:, R:]
    if change == "only text crosses":
        text = cross(text, features)
    elif change == "crosses to text":
        queries = cross(queries, text)
    elif change not in ("cross first", "cross last", "text crosses, too"):
        queries = cross(queries, features)
    kept_q, kept_t = (0, 0) if change == "no last residual" else (queries, text)
    kept_q = x[:, :R] if change == "residual passes cross" else kept_q
    queries = norm_q(kept_q + ffn_q(queries))
    text = text if change == "text stays" else norm_t(kept_t + ffn_t(text))
    if change == "cross last":
        queries = cross(queries, features)
    parts = [text, queries] if change == "text first" else [queries, text]
    return torch.cat(parts, dim=1)


def pre_norm(layer, x, R, features, mask) -> Tensor:
    x = x + layer.attention(layer.norm(x), mask=mask)
    queries, text = x[:, :R], x[:, R:]
    if layer.cross_attention is not None:
        queries = queries + layer.cross_attention(
            layer.norm_cross_attention(queries), context=features
        )
    queries = queries + layer.feedforward_queries(layer.norm_queries(queries))
    return torch.cat([queries, text + layer.feedforward_text(layer.norm_text(text))], dim=1)


def norm_inside(layer, x, R, features, mask) -> Tensor:
    x = x + layer.norm(layer.attention(x, mask=mask))
    queries, text = x[:, :R], x[:, R:]
    if layer.cross_attention is not None:
        found = layer.cross_attention(queries, context=features)
        queries = queries + layer.norm_cross_attention(found)
    queries = queries + layer.norm_queries(layer.feedforward_queries(queries))
    return torch.cat([queries, text + layer.norm_text(layer.feedforward_text(text))], dim=1)


def layer_mistake(change: str = "") -> Callable:
    """What `run_layer` gives for it."""
    return partial(run_layer, partial(changed_layer, change=change))


def detached(*args) -> list[Tensor]:
    result, gradient = layer_mistake()(*args)
    return [result.detach(), torch.zeros_like(gradient)]


LAYER_MISTAKES = {
    "that is pre-norm: in BERT each LayerNorm stands after a sum.": layer_mistake("pre-norm"),
    "each LayerNorm is taken of what is added; in BERT it is taken of the sum.": layer_mistake(
        "norm inside the sum"
    ),
    "self-attention's residual is missing.": layer_mistake("no residual"),
    "the residual of the feed-forward networks is missing.": layer_mistake("no last residual"),
    "the LayerNorms after the feed-forward networks are missing.": layer_mistake("no last norm"),
    "the mask is not used in self-attention.": layer_mistake("no mask"),
    "queries and text have exchanged their feed-forward networks.": layer_mistake("exchanged"),
    "the text goes through the queries' feed-forward network; it has one of its own.": (
        layer_mistake("queries' for all"),
        layer_mistake("queries' branch for all"),
    ),
    "the queries go through the text's feed-forward network; they have one of their own.": (
        layer_mistake("text's for all"),
        layer_mistake("text's branch for all"),
    ),
    "queries and text have exchanged their last LayerNorms.": layer_mistake("norms exchanged"),
    "the text's last LayerNorm is that of the queries; it has one of its own.": layer_mistake(
        "queries' norm for all"
    ),
    "the queries' last LayerNorm is that of the text; they have one of their own.": layer_mistake(
        "text's norm for all"
    ),
    "the LayerNorm after the text's feed-forward network is missing.": layer_mistake(
        "no norm of text"
    ),
    "the LayerNorm after the queries' feed-forward network is missing.": layer_mistake(
        "no norm of queries"
    ),
    "the text stays as self-attention left it; its feed-forward network is missing.": (
        layer_mistake("text stays")
    ),
    "queries and text attend apart: self-attention runs once, on all of x.": layer_mistake("apart"),
    "the text comes first in your result; queries come first.": layer_mistake("text first"),
    "no gradient arrives at x: a detach or no_grad cuts it.": detached,
}
CROSS_MISTAKES = {
    "this layer has cross-attention, and it is not used: the queries never read the picture.": (
        layer_mistake("no cross")
    ),
    "the text reads the picture, too: cross-attention is for queries only.": layer_mistake(
        "text crosses, too"
    ),
    "the text reads the picture, and the queries don't: it is the other way round.": layer_mistake(
        "only text crosses"
    ),
    "cross-attention attends to the text; its context is the picture's features.": layer_mistake(
        "crosses to text"
    ),
    "cross-attention stands before self-attention; it stands behind it.": layer_mistake(
        "cross first"
    ),
    "cross-attention stands behind the feed-forward network; it stands before it.": layer_mistake(
        "cross last"
    ),
    "cross-attention's residual is missing.": layer_mistake("no cross residual"),
    "the residual of cross-attention is the layer's input: add the states after self-attention.": (
        layer_mistake("old residual")
    ),
    "the residual of the queries' feed-forward network leaves out what cross-attention found.": (
        layer_mistake("residual passes cross")
    ),
    "the queries of cross-attention are the layer's input: take their states after self-attention.": (
        layer_mistake("old queries")
    ),
    "the LayerNorm of self-attention is used after cross-attention, too.": layer_mistake("norm"),
    "there is no LayerNorm after cross-attention.": layer_mistake("no cross norm"),
}


def explain_layer(got: object, wanted: list, seed, x, R, *_) -> str | None:
    if isinstance(got, list) and isinstance(got[0], Tensor) and got[0].dim() == 3:
        length, T = got[0].shape[1], x.shape[1] - R
        if length == R:
            return "the text is missing in your result: (B, R + T, D)."
        if length == T:
            return "the queries are missing in your result: (B, R + T, D)."
    return None


def layer_check(cross: bool, mistakes: dict):
    inputs = partial(layer_inputs, cross=cross)
    return rule(
        "qformer_layer",
        inputs,
        layer_mistake(),
        mistakes,
        driver=driver_source(run_layer),
        explain=explain_layer,
        tolerance=1e-3,
        rounds=1,
    )


EXERCISES = {
    "qformer_layer": Exercise(
        "Shared self-attention, cross-attention for queries only, two feed-forward networks.",
        (layer_check(True, LAYER_MISTAKES | CROSS_MISTAKES), layer_check(False, LAYER_MISTAKES)),
        reference=reference.qformer_layer,
    ),
}
