"""Lesson 11's exercises on the Perceiver: right answers pass, and each plausible mistake is named."""

import math
from functools import partial

import pytest
import torch
from exercise_answers import each, message, solution, taught

from teaching import perceiver_figures, perceiver_model
from teaching.perceiver import EXERCISES
from teaching.perceiver_reference import PARTS


def pairs(M, R, K, L):
    return K * (M * R + L * R * R), K * (1 + L) * M * M


PAIRS = {
    "Did you forget the return?": lambda *args: None,
    "that is one number": lambda *args: pairs(*args)[0],
    "are exchanged": lambda *args: pairs(*args)[::-1],
    "self-attends are counted once": lambda M, R, K, L: (
        K * M * R + L * R * R,
        K * (1 + L) * M * M,
    ),
    "cross-attends are counted once": lambda M, R, K, L: (
        M * R + K * L * R * R,
        K * (1 + L) * M * M,
    ),
    "yours has one": lambda M, R, K, L: (K * (M * R + R * R), K * (1 + L) * M * M),
    "run among the latents": lambda M, R, K, L: (K * (1 + L) * M * R, K * (1 + L) * M * M),
    "not among the inputs": lambda M, R, K, L: (K * (M * R + L * M * M), K * (1 + L) * M * M),
    "only the cross-attends": lambda M, R, K, L: (K * M * R, K * (1 + L) * M * M),
    "not their sum": lambda M, R, K, L: (K * (M + R + L * R * R), K * (1 + L) * M * M),
    "the first repeat alone": lambda M, R, K, L: (M * R + L * R * R, K * (1 + L) * M * M),
    "one layer for each cross-attend, too": lambda M, R, K, L: (
        pairs(M, R, K, L)[0],
        K * L * M * M,
    ),
    "yours has fewer": lambda M, R, K, L: (pairs(M, R, K, L)[0], (1 + L) * M * M),
    "there are no latents": lambda M, R, K, L: (pairs(M, R, K, L)[0], K * (1 + L) * M * R),
    "whole numbers": lambda M, R, K, L: (K * (M * R + L * R * R) / 1, K * (1 + L) * M * M),
}


def waves(x, b, r, f=None, scale=math.pi):
    f = torch.linspace(1, r / 2, b) if f is None else f(b, r)
    angles = scale * x[..., None] * f
    return angles.sin(), angles.cos()


def features(x, b, r, **change):
    s, c = waves(x, b, r, **change)
    return torch.cat([s.flatten(-2), c.flatten(-2), x], -1)


FOURIER = {
    "Did you forget the return?": lambda *args: None,
    "positions themselves are missing": lambda x, b, r: features(x, b, r)[..., : -x.shape[-1]],
    "cosines are missing": lambda x, b, r: torch.cat([waves(x, b, r)[0].flatten(-2), x], -1),
    "order of the parts": lambda x, b, r: torch.cat(
        [x, features(x, b, r)[..., : -x.shape[-1]]], -1
    ),
    "come band by band": lambda x, b, r: torch.cat(
        [*(part.mT.flatten(-2) for part in waves(x, b, r)), x], -1
    ),
    "factor pi is missing": partial(features, scale=1.0),
    "not 2 pi": partial(features, scale=2 * math.pi),
    "not the resolution": partial(features, f=lambda b, r: torch.linspace(1, r, b)),
    "is 1, not 0": partial(features, f=lambda b, r: torch.linspace(0, r / 2, b)),
    "powers of 2": partial(features, f=lambda b, r: 2.0 ** torch.arange(b)),
    "are 1, 2, 3": partial(features, f=lambda b, r: torch.arange(1, b + 1).float()),
    "last frequency is missing": partial(
        features, f=lambda b, r: torch.linspace(1, r / 2, b + 1)[:b]
    ),
    "values are not right": lambda *args: features(*args) + 0.5,
}


def cross(layer, x, z, q=None, kv=None, first=True, second=True, dense=None):
    q = layer.norm_x(x) if q is None else q(layer, x, z)
    kv = layer.norm_inputs(z) if kv is None else kv(layer, x, z)
    y = layer.attention(q, kv)
    y = x + y if first else y
    found = layer.feedforward(layer.norm(y) if dense is None else dense(layer, x, y))
    return y + found if second else found


CROSS = {
    "Did you forget the return?": lambda *args: None,
    "the first residual is missing": partial(cross, first=False),
    "the second residual is missing": partial(cross, second=False),
    "don't go through `norm_x`": partial(cross, q=lambda layer, x, z: x),
    "don't go through `norm_inputs`": partial(cross, kv=lambda layer, x, z: z),
    "reads without `norm`": partial(cross, dense=lambda layer, x, y: y),
    "`norm_x` is used before": partial(cross, dense=lambda layer, x, y: layer.norm_x(y)),
    "are exchanged": partial(
        cross, q=lambda layer, x, z: layer.norm_inputs(x), kv=lambda layer, x, z: layer.norm_x(z)
    ),
    "from before the attention": partial(cross, dense=lambda layer, x, y: layer.norm(x)),
    "network is missing": lambda layer, x, z: x + layer.attention(layer.norm_x(x), layer.norm_inputs(z)),
    "attend to themselves": partial(cross, kv=lambda layer, x, z: layer.norm_x(x)),
    "not of both": partial(
        cross, kv=lambda layer, x, z: torch.cat([layer.norm_inputs(z), layer.norm_x(x)], 1)
    ),
    "it is the other way round": lambda layer, x, z: cross(
        layer, z, x, q=lambda layer, a, b: layer.norm_inputs(a), kv=lambda layer, a, b: layer.norm_x(b)
    ),
    "no gradient arrives": lambda layer, x, z: cross(layer, x, z.detach()),
}  # fmt: skip
DECODE = {
    "Did you forget the return?": lambda *args: None,
    "here there is no residual from the queries": cross,
    "the second residual is missing": partial(cross, first=False, second=False),
    "queries don't go through `norm_x`": partial(cross, first=False, q=lambda layer, x, z: x),
    "latents don't go through `norm_inputs`": partial(cross, first=False, kv=lambda layer, x, z: z),
    "reads without `norm`": partial(cross, first=False, dense=lambda layer, x, y: y),
    "network is missing": lambda layer, x, z: layer.attention(
        layer.norm_x(x), layer.norm_inputs(z)
    ),
    "attend to themselves": partial(cross, first=False, kv=lambda layer, x, z: layer.norm_x(x)),
    "no gradient arrives": lambda layer, x, z: cross(layer, x, z.detach(), first=False),
}


def perceive(model, z, first=None, again=None, times=0, think=True, start=False):
    first = model.cross_attend if first is None else first(model)
    again = model.cross_attend_again if again is None else again(model)
    x0 = model.latents.expand(len(z), -1, -1)
    x = model.self_attends(first(x0, z))
    for _ in range(model.config.num_cross_attends - 1 + times):
        x = again(x0 if start else x, z)
        x = model.self_attends(x) if think else x
    return x


def think_at_the_end(model, z):
    x = model.cross_attend(model.latents.expand(len(z), -1, -1), z)
    for _ in range(model.config.num_cross_attends - 1):
        x = model.cross_attend_again(x, z)
    return model.self_attends(x)


def think_between(model, z):
    x = model.cross_attend(model.latents.expand(len(z), -1, -1), z)
    for _ in range(model.config.num_cross_attends - 1):
        x = model.cross_attend_again(model.self_attends(x), z)
    return x


def think_later(model, z):
    x = model.cross_attend(model.latents.expand(len(z), -1, -1), z)
    for _ in range(model.config.num_cross_attends - 1):
        x = model.self_attends(model.cross_attend_again(x, z))
    return x


PERCEIVE = {
    "Did you forget the return?": lambda *args: None,
    "has weights of its own": partial(perceive, again=lambda model: model.cross_attend),
    "the first cross-attend is": partial(perceive, first=lambda model: model.cross_attend_again),
    "one cross-attend too many": partial(perceive, times=1),
    "one cross-attend too few": partial(perceive, times=-1),
    "the inputs are read once": partial(perceive, times=-9),
    "follow only the first": partial(perceive, think=False),
    "come once, at the end": think_at_the_end,
    "follow the last cross-attend": think_between,
    "follow the first cross-attend": think_later,
    "begins with the learned latents again": partial(perceive, start=True),
    "that is the mean": lambda *args: perceive(*args).mean(1),
    "one row": lambda model, z: perceive(model, z[:1]),
}
WRONG = {
    "perceiver.attention_pairs": PAIRS,
    "perceiver.fourier_features": FOURIER,
    "perceiver.cross_attend": CROSS,
    "perceiver.perceive": PERCEIVE,
    "perceiver.decode": DECODE,
}


def test_every_exercise_has_wrong_answers():
    assert set(WRONG) == {f"perceiver.{name}" for name in EXERCISES}


@pytest.mark.parametrize("id", WRONG)
def test_right_answers_pass(id):
    stub, answer = taught()[id]
    assert [message(id, answer) for _ in range(3)] == [""] * 3
    assert message(id, EXERCISES[id.removeprefix("perceiver.")].reference) == ""
    assert message(id, stub).startswith("not begun yet")


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


def test_solutions_are_used_and_a_small_reader_answers_each_query_alone():
    parts = {name: solution(f"perceiver.{name}") for name in PARTS}
    reader = perceiver_model.build(perceiver_model.PlaceReader, parts)
    own = perceiver_model.build(perceiver_model.PlaceReader, PARTS)
    points, *_ = perceiver_model.test_clouds(3, 24)
    places = torch.rand(3, 4, 2)
    with torch.no_grad():
        assert torch.allclose(reader(points, places), own(points, places), atol=1e-5)
    assert perceiver_figures.who_moves(reader, 2) == [2]
    broken = dict(parts, cross_attend=lambda layer, x, inputs: x)
    blind = perceiver_model.build(perceiver_model.PlaceReader, broken)
    assert torch.equal(blind.encode(points), blind.encode(points.flip(0)))


def test_shapes_are_what_their_points_lie_on():
    generator = torch.Generator().manual_seed(0)
    points, kind, size = perceiver_model.clouds(60, 50, generator)
    assert perceiver_model.on_shape(points, kind, size).float().mean() > 0.98
    assert set(kind.tolist()) == {0, 1, 2}
    far = perceiver_model.on_shape(0.45 * points, kind, size)
    assert not far[kind < 2].any()


def test_operations_grow_with_the_square_only_where_inputs_attend_to_inputs():
    flops = perceiver_figures.measured_flops()
    assert perceiver_figures.slope(flops["Transformer"]) > 1.5
    assert perceiver_figures.slope(flops["Perceiver"]) < 1.1
