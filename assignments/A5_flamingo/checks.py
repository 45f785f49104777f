"""Hidden checks of assignment 5: Flamingo. Formulas of their own, with loops where that is clearer."""

import torch

from vlmgrader.checks import Check, with_hidden


def number(generator, low, high):
    """An integer, low <= n <= high."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def normal(generator, *shape):
    return torch.randn(*shape, generator=generator)


def attention(q, k, v, scale=None):
    weights = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    weights = (weights - weights.amax(-1, keepdim=True)).exp()
    return weights / weights.sum(-1, keepdim=True) @ v


# 1. The gates.

BLOCK = """
import torch
def run(gated, y, look, think, alpha_look, alpha_think, what):
    inputs = [x.clone().requires_grad_() for x in (y, look, think, alpha_look, alpha_think)]
    y, look, think, alpha_look, alpha_think = inputs
    out = gated(y, lambda y: y.tanh() @ look, lambda y: y.square() @ think, alpha_look, alpha_think)
    if what == "value":
        return out
    out.square().sum().backward()
    return [torch.zeros_like(x) if x.grad is None else x.grad for x in inputs]
"""


def gated(y, look, think, a, b, gate=torch.tanh, late=False, residual=True, same=False):
    seen = gate(a) * (y.tanh() @ look)
    y = y + seen if residual else seen
    read = y - seen if same else y
    thought = gate(b) * (read.square() @ think)
    return y + thought if residual else thought


def block(generator, shut=False):
    D = number(generator, 4, 6)
    y, look, think = (
        normal(generator, 2, 4, D),
        normal(generator, D, D),
        normal(generator, D, D) / 4,
    )
    alphas = (
        [torch.zeros(()), torch.zeros(())]
        if shut
        else [0.5 + torch.rand((), generator=generator), -0.4 - torch.rand((), generator=generator)]
    )
    return [y, look, think, *alphas]


def gradients(*inputs, **options):
    inputs = [x.clone().requires_grad_() for x in inputs]
    return list(torch.autograd.grad(gated(*inputs, **options).square().sum(), inputs))


GATE_MISTAKES = [
    (dict(gate=lambda a: a), "the gate is alpha itself: it is tanh(alpha), between -1 and 1."),
    (dict(gate=torch.sigmoid), "the gate is a sigmoid: at alpha = 0 that is half open. tanh."),
    (dict(gate=lambda a: 1 + 0 * a), "there is no gate."),
    (dict(gate=lambda a: 1 - a.tanh()), "the gate is 1 - tanh: at alpha = 0 it must be shut."),
    (dict(residual=False), "what was there is lost: add to y."),
    (
        dict(same=True),
        "the feed-forward reads y as it was before the attention: it reads what came out of it.",
    ),
]


# 2. The resampler.


def resample(
    features,
    time,
    latents,
    query,
    key,
    value,
    own=True,
    residual=True,
    times=True,
    scale=None,
    swap=False,
    order=False,
):
    outs = []
    for picture in features:  # (T, S, D)
        x = torch.cat([frame + (time[t] if times else 0) for t, frame in enumerate(picture)])
        context = torch.cat([x, latents]) if own else x
        q, k, v = latents @ query.T, context @ key.T, context @ value.T
        mixed = attention(q, v, k, scale) if swap else attention(q, k, v, scale)
        outs.append(latents + mixed if residual else mixed)
    return torch.stack(outs)


def films(generator):
    B, T, S, R, D = 2, number(generator, 2, 3), number(generator, 2, 3), number(generator, 2, 4), 5
    return [
        normal(generator, B, T, S, D),
        normal(generator, T, D),
        normal(generator, R, D),
        *[normal(generator, D, D) / 2 for _ in range(3)],
    ], {}


def mixed_films(features, time, latents, *weights):
    """Pictures of the batch looked at together."""
    together = resample(
        features.flatten(0, 1)[None], time.repeat(len(features), 1), latents, *weights
    )
    return together.expand(len(features), -1, -1)


# 3. Counting images while writing.


def count(is_tag, seen=None, inclusive=True):
    rows, last = [], []
    for row, tags in enumerate(is_tag.tolist()):
        so_far, phi = 0 if seen is None else int(seen[row]), []
        for tag in tags:
            phi.append(so_far + tag if inclusive else so_far)
            so_far += tag
        rows.append(phi)
        last.append(so_far)
    return [torch.tensor(rows), torch.tensor(last)]


PIECES = """
import torch
def run(count, is_tag, first):
    seen = torch.zeros(len(is_tag), dtype=torch.long)
    found, before, after = [], [], []
    for part in (is_tag[:, :first], *is_tag[:, first:].split(1, dim=1)):
        given = seen.clone()
        before.append(given.clone())
        phi, seen = count(part, given)
        after.append(given)
        found.append(phi)
    return [torch.cat(found, dim=1), seen, torch.stack(before), torch.stack(after)]
"""
KEPT = """
def read(got, is_tag, first):
    phi, seen, before, after = got
    return [phi, seen] if bool((before == after).all()) else [phi, seen, "seen was changed"]
"""


def tags(generator):
    is_tag = torch.rand(3, number(generator, 6, 8), generator=generator) < 0.4
    is_tag[0, -1], is_tag[1, 0] = True, True
    return [is_tag, number(generator, 2, 3)], {}


def forgetful(is_tag, first):
    parts = [is_tag[:, :first], *is_tag[:, first:].split(1, dim=1)]
    return torch.cat([count(part)[0] for part in parts], 1), [count(part)[1] for part in parts]


# 4. Pages as training texts.


def page_text(page, image, chunk):
    ids, scored = [], []
    for kind, words in page:
        if kind == "image":
            if ids:
                ids.append(chunk)
                scored.append(True)
            ids.append(image)
            scored.append(False)
        else:
            ids += words
            scored += [True] * len(words)
    return [ids + [chunk], [False, *scored[1:], True]]


def pages(generator):
    def words():
        return [
            "text",
            torch.randint(5, 40, (number(generator, 2, 3),), generator=generator).tolist(),
        ]

    first = [words()] if number(generator, 0, 1) else []
    return [
        [
            *first,
            ["image", []],
            words(),
            ["image", []],
            words(),
            *([["image", []]] if number(generator, 0, 1) else []),
        ],
        3,
        4,
    ], {}


def without(page, image, chunk, drop):
    ids, scored = page_text(page, image, chunk)
    places = [i for i in range(len(ids)) if not drop(ids, i)]
    return [[ids[i] for i in places], [scored[i] for i in places]]


def scored_as(page, image, chunk, rule):
    ids, scored = page_text(page, image, chunk)
    return [ids, [rule(ids, scored, i) for i in range(len(ids))]]


# 5. What learns.


def learns(name):
    return name.startswith("resampler.") or ".gated." in name or name == "lm.new_rows"


NAMES = [
    "vision.stem.weight",
    "vision.blocks.0.attention.query.weight",
    "resampler.latents",
    "resampler.time",
    "resampler.layers.0.query.weight",
    "lm.embed.weight",
    "lm.new_rows",
    "lm.layers.0.attention.query.weight",
    "lm.layers.0.gated.attention.query.weight",
    "lm.layers.0.gated.alpha",
    "lm.layers.1.mlp.up.weight",
    "lm.layers.1.gated.alpha",
    "lm.layers.1.gated.mlp.up.weight",
    "lm.norm.weight",
    "lm.head.weight",
]


def names(generator):
    return [[NAMES[i] for i in torch.randperm(len(NAMES), generator=generator)]], {}


def chosen(rule):
    return lambda names: [name for name in names if rule(name)]


# 6. A mixture of data sets.

MIXTURE = """
import torch
def run(accumulate, start, targets, weights, before):
    x = torch.nn.Parameter(start.clone())
    x.grad = None if before is None else torch.full_like(start, before)
    done, at_each = [], []
    def loss(target):
        at_each.append(len(done))
        value = (x - target).square().mean() + (x * target).sin().mean()
        value.register_hook(lambda gradient: done.append(target))
        return value
    accumulate([x], [lambda t=t: loss(t) for t in targets], weights)
    return [torch.zeros_like(start) if x.grad is None else x.grad, x.detach().clone(), at_each]
"""
ONE_GRAPH = """
def read(got, *inputs):
    gradient, x, at_each = got
    one_by_one = at_each == list(range(len(at_each)))
    return [gradient, x] if one_by_one else [gradient, x, "all graphs at once"]
"""


def mixture(start, targets, weights, before, use=None, left=0.0):
    x = start.clone().requires_grad_()
    terms = [
        weight * ((x - t).square().mean() + (x * t).sin().mean())
        for t, weight in zip(targets, weights)
    ]
    total = sum(terms) if use is None else use(terms, weights)
    return [torch.autograd.grad(total, x)[0] + left, start]


def data_sets(generator):
    return [
        normal(generator, 4),
        normal(generator, 3, 4),
        [1.0, 0.2, 0.03 + 0.1 * number(generator, 1, 4)],
        0.5 + number(generator, 0, 3),
    ], {}


# 7. Similar examples.


def rices(query, support, k, best_last=True, cosine=True):
    def likeness(row):
        dot = float(row @ query)
        return dot / (float(row.norm()) * float(query.norm())) if cosine else dot

    found = sorted(range(len(support)), key=lambda i: -likeness(support[i]))[:k]
    return found[::-1] if best_last else found


def supports(generator):
    N = number(generator, 7, 9)
    return [
        normal(generator, 5),
        normal(generator, N, 5) * (0.2 + 4 * torch.rand(N, 1, generator=generator)),
        number(generator, 3, 4),
    ], {}


PLAIN = """
def read(got, query, support, k):
    return [int(place) for place in got]
"""


# 8. Who hears of which image.


def hears(sees, listens, layers, first="look", keep=True, back=False):
    """By sets: text looks at images, then listens to other text, layer by layer; what it knew, it keeps."""
    T, N = sees.shape
    known = [set() for _ in range(T)]
    for _ in range(layers):
        for way in ("look", "listen") if first == "look" else ("listen", "look"):
            if way == "look":
                known = [known[t] | {n for n in range(N) if sees[t, n]} for t in range(T)]
            else:
                told = [
                    set().union(
                        *(known[s] for s in range(T) if (listens[s, t] if back else listens[t, s]))
                    )
                    for t in range(T)
                ]
                known = [told[t] | known[t] if keep else told[t] for t in range(T)]
    return torch.tensor([[n in known[t] for n in range(N)] for t in range(T)])


def heard(generator):
    T = 9
    is_tag = torch.zeros(T, dtype=torch.bool)
    is_tag[[1 + number(generator, 0, 1), 4, 6]] = True
    sees = is_tag.long().cumsum(0)[:, None] == torch.arange(1, 4)
    place = torch.arange(T)
    listens = (place[None, :] == place[:, None] - 1) | (place[None, :] == place[:, None] - 2) & (
        torch.rand(T, T, generator=generator) < 0.5
    )
    return [sees, listens, 2], {}


CHECKS = {
    "a5-gates-test": [
        Check(
            "the block",
            2,
            "gated",
            lambda g: ([*block(g), "value"], {}),
            lambda *a: gated(*a[:-1]),
            [(lambda *a, o=o: gated(*a[:-1], **o), words) for o, words in GATE_MISTAKES]
            + [
                (lambda y, l, t, a, b, w: gated(y, l, t, b, a), "the two gates are exchanged."),
                (
                    lambda y, l, t, a, b, w: gated(y, l, t, a, a),
                    "one gate serves both parts: each has its own.",
                ),
                (
                    lambda y, l, t, a, b, w: y + b.tanh() * (y.square() @ t),
                    "the attention is missing.",
                ),
                (
                    lambda y, l, t, a, b, w: y + a.tanh() * (y.tanh() @ l),
                    "the feed-forward is missing.",
                ),
                (
                    lambda y, l, t, a, b, w: (
                        y + a.tanh() * (y.tanh() @ l) + (y + a.tanh() * (y.tanh() @ l)).square() @ t
                    ),
                    "the feed-forward is not gated.",
                ),
            ],
            driver=BLOCK,
        ),
        Check(
            "shut gates: nothing passes, only the gates learn",
            2,
            "gated",
            lambda g: ([*block(g, shut=True), "gradient"], {}),
            lambda *a: gradients(*a[:-1]),
            [
                (
                    lambda *a: [2 * a[0], *(torch.zeros_like(x) for x in a[1:-1])],
                    "no gradient reaches the gates: keep them tensors (no .item(), no float()), and add to y.",
                ),
                *[
                    (lambda *a, o=o: gradients(*a[:-1], **o), words)
                    for o, words in GATE_MISTAKES[1:]
                ],
            ],
            driver=BLOCK,
        ),
    ],
    "a5-resampler-test": [
        Check(
            "one layer",
            3,
            "resample",
            films,
            resample,
            [
                (
                    lambda *a: resample(*a, own=False),
                    "keys and values are made of the features alone: the latents belong to them, too (behind the features).",
                ),
                (lambda *a: resample(*a, residual=False), "what the latents were is lost: add."),
                (
                    lambda *a: resample(*a, times=False),
                    "the time embeddings are missing: frames would have no order.",
                ),
                (
                    lambda *a: resample(*a, scale=1.0),
                    "the scores are not divided by the square root of the width.",
                ),
                (lambda *a: resample(*a, swap=True), "keys and values are exchanged."),
                (mixed_films, "the films of the batch are mixed: each has latents of its own."),
                (
                    lambda f, time, *a: resample(f, time[:1].expand(len(time), -1), *a),
                    "the first time embedding serves all frames.",
                ),
                (
                    lambda f, time, latents, q, k, v: resample(f, time, latents, q.T, k.T, v.T),
                    "the matrices are applied the wrong way round: x @ W.T, as nn.Linear does.",
                ),
                (
                    lambda f, time, latents, q, k, v: (
                        resample(f, time, latents, q, k, v) - latents + latents @ q.T
                    ),
                    "the projected queries are added: add the latents themselves.",
                ),
            ],
        ),
        Check(
            "order within a frame doesn't matter, order of frames does",
            1,
            "resample",
            films,
            lambda *a: [True, False],
            [
                (
                    lambda *a: [True, True],
                    "the order of frames makes no difference: add each frame's time embedding before flattening.",
                ),
                (
                    lambda *a: [False, False],
                    "the order of places within a frame makes a difference: there are no spatial embeddings here.",
                ),
            ],
            driver="""
import torch
def run(resample, features, *rest):
    return [resample(x, *rest) for x in (features, features.flip(2), features.flip(1))]
""",
            reading="""
import torch
def read(got, *inputs):
    plain, places, frames = got
    return [bool(torch.allclose(plain, other, atol=1e-3)) for other in (places, frames)]
""",
        ),
    ],
    "a5-count-test": [
        Check(
            "piece by piece == all at once",
            3,
            "count",
            tags,
            lambda t, first: count(t),
            [
                (
                    lambda t, first: [*count(t), "seen was changed"],
                    "the numbers given were changed in place: another beam may still need them. Make new ones.",
                ),
                (
                    lambda t, first: [forgetful(t, first)[0], forgetful(t, first)[1][-1]],
                    "each piece counts from 0: begin at `seen`.",
                ),
                (
                    lambda t, first: [
                        forgetful(t, first)[0],
                        torch.zeros(len(t), dtype=torch.long),
                    ],
                    "the number seen isn't handed on.",
                ),
                (
                    lambda t, first: count(t, inclusive=False),
                    "a tag doesn't count itself: up to and including the token.",
                ),
                (
                    lambda t, first: [t.long().cumsum(0), count(t)[1]],
                    "the count runs down the batch: along the tokens, axis 1.",
                ),
                (lambda t, first: [x.float() for x in count(t)], "whole numbers are wanted."),
                (
                    lambda t, first: [t.long(), count(t)[1]],
                    "these are the tags themselves: their running count is wanted.",
                ),
                (
                    lambda t, first: [count(t)[0] + 1, count(t)[1]],
                    "text before the first image must have 0.",
                ),
            ],
            driver=PIECES,
            reading=KEPT,
        ),
    ],
    "a5-page-test": [
        Check(
            "ids",
            2,
            "page_text",
            pages,
            lambda *a: page_text(*a)[0],
            [
                (
                    lambda p, i, c: without(
                        p, i, c, lambda ids, at: ids[at] == c and at < len(ids) - 1
                    )[0],
                    "the end-of-chunk before each image is missing.",
                ),
                (
                    lambda p, i, c: page_text(p, i, c)[0][:-1],
                    "the end-of-chunk at the end of the page is missing.",
                ),
                (
                    lambda p, i, c: without(p, i, c, lambda ids, at: ids[at] == c)[0],
                    "there are no end-of-chunks: before each image (unless it comes first), and at the end.",
                ),
                (
                    lambda p, i, c: ([c] if p[0][0] == "image" else []) + page_text(p, i, c)[0],
                    "an end-of-chunk before an image with which the page begins: there is nothing to end.",
                ),
                (lambda p, i, c: page_text(p, c, i)[0], "the two ids are exchanged."),
                (
                    lambda p, i, c: without(p, i, c, lambda ids, at: ids[at] == i)[0],
                    "the image tags are missing.",
                ),
                (
                    lambda p, i, c: (
                        [x for kind, words in p for x in ([i, c] if kind == "image" else words)]
                        + [c]
                    ),
                    "the end-of-chunk comes after the image: before it.",
                ),
            ],
            driver="def run(page_text, page, image, chunk):\n    return page_text(page, image, chunk)[0]\n",
        ),
        Check(
            "which tokens are scored",
            2,
            "page_text",
            pages,
            lambda *a: page_text(*a)[1],
            [
                (
                    lambda p, i, c: scored_as(p, i, c, lambda ids, s, at: True)[1],
                    "image tags are scored, and the first token, which nothing precedes.",
                ),
                (
                    lambda p, i, c: scored_as(p, i, c, lambda ids, s, at: ids[at] != i)[1],
                    "the first token is scored, but nothing precedes it.",
                ),
                (
                    lambda p, i, c: scored_as(p, i, c, lambda ids, s, at: at > 0)[1],
                    "image tags are scored: nobody should learn to say them.",
                ),
                (
                    lambda p, i, c: scored_as(p, i, c, lambda ids, s, at: s[at] and ids[at] != c)[
                        1
                    ],
                    "ends of chunks are not scored: then the model never learns to stop.",
                ),
                (
                    lambda p, i, c: scored_as(p, i, c, lambda ids, s, at: not s[at])[1],
                    "upside down.",
                ),
                (
                    lambda p, i, c: scored_as(
                        p, i, c, lambda ids, s, at: s[at] and at < len(ids) - 1
                    )[1],
                    "the last end-of-chunk is not scored.",
                ),
            ],
            driver="def run(page_text, page, image, chunk):\n    return [bool(x) for x in page_text(page, image, chunk)[1]]\n",
        ),
    ],
    "a5-learns-test": [
        Check(
            "names of what learns",
            2,
            "learning",
            names,
            chosen(learns),
            [
                (
                    chosen(lambda n: learns(n) or n.startswith("vision.")),
                    "the vision encoder is frozen.",
                ),
                (
                    chosen(lambda n: learns(n) or n.startswith("lm.")),
                    "the language model itself is frozen.",
                ),
                (
                    chosen(lambda n: learns(n) or n == "lm.embed.weight"),
                    "the old word embeddings are frozen: only the new rows learn.",
                ),
                (
                    chosen(lambda n: learns(n) and n != "lm.new_rows"),
                    "the new rows are missing: the end-of-chunk is a new word.",
                ),
                (
                    chosen(lambda n: learns(n) and not n.startswith("resampler.")),
                    "the resampler is missing.",
                ),
                (
                    chosen(lambda n: learns(n) and ".gated." not in n),
                    "the gated layers are missing.",
                ),
                (
                    chosen(lambda n: learns(n) and not n.endswith("alpha")),
                    "the gates' alphas are missing: they could never open.",
                ),
                (chosen(lambda n: not learns(n)), "these are the frozen ones."),
                (
                    chosen(
                        lambda n: learns(n) and n not in ("resampler.latents", "resampler.time")
                    ),
                    "latents and time embeddings are missing: they have no `weight` in their names.",
                ),
                (
                    chosen(lambda n: True),
                    "everything learns: vision and language model are frozen.",
                ),
                (
                    chosen(lambda n: n.endswith("alpha")),
                    "only the alphas learn: so do the gated layers, resampler and new rows.",
                ),
            ],
        ),
    ],
    "a5-mixture-test": [
        Check(
            "accumulated gradients",
            3,
            "accumulate",
            data_sets,
            mixture,
            [
                (
                    lambda *a: [*mixture(*a), "all graphs at once"],
                    "one sum and one backward keep all graphs in memory: call backward for each loss, the gradients add up.",
                ),
                (
                    lambda *a: mixture(*a, left=a[3]),
                    "gradients of the step before are still in it: start from none.",
                ),
                (
                    lambda *a: mixture(*a, use=lambda t, w: t[-1]),
                    "only the last data set counts: gradients were cleared in between.",
                ),
                (lambda *a: mixture(*a, use=lambda t, w: t[0]), "only the first data set counts."),
                (
                    lambda *a: mixture(*a, use=lambda t, w: sum(x / y for x, y in zip(t, w))),
                    "the weights are not used.",
                ),
                (
                    lambda *a: mixture(*a, use=lambda t, w: sum(t) / len(t)),
                    "that is the mean: the weighted sum is wanted.",
                ),
                (
                    lambda *a: mixture(*a, use=lambda t, w: sum(t) / sum(w)),
                    "divided by the sum of the weights: the weighted sum is wanted.",
                ),
                (
                    lambda *a: mixture(
                        *a, use=lambda t, w: sum(x / y for x, y in zip(t, w)) / len(t)
                    ),
                    "that is the plain mean: use the weights.",
                ),
                (
                    lambda *a: [torch.zeros_like(a[0]), a[0]],
                    "there are no gradients: call backward().",
                ),
                (
                    lambda *a: [-x if n == 0 else x for n, x in enumerate(mixture(*a))],
                    "the sign is wrong.",
                ),
                (
                    lambda *a: mixture(*a, use=lambda t, w: sum(x * y for x, y in zip(t, w))),
                    "the weights are used twice.",
                ),
                (
                    lambda *a: [mixture(*a)[0], a[0] - 0.1 * mixture(*a)[0]],
                    "the parameters have changed: only gradients are wanted, no step.",
                ),
                (
                    lambda *a: [
                        mixture(*a, use=lambda t, w: max(t, key=lambda x: float(x.detach())))[0],
                        a[0],
                    ],
                    "only one data set counts.",
                ),
            ],
            driver=MIXTURE,
            reading=ONE_GRAPH,
        ),
    ],
    "a5-similar-test": [
        Check(
            "the k most similar, best last",
            3,
            "similar",
            supports,
            rices,
            [
                (
                    lambda *a: rices(*a, best_last=False),
                    "the most similar comes first: it should stand next to the question, last.",
                ),
                (
                    lambda *a: rices(*a, cosine=False),
                    "these are dot products: long vectors win. Cosines.",
                ),
                (
                    lambda *a: rices(*a, cosine=False, best_last=False),
                    "dot products, and the most similar first.",
                ),
                (lambda q, s, k: rices(-q, s, k), "these are the least similar."),
                (lambda q, s, k: rices(-q, s, k)[::-1], "these are the least similar."),
                (lambda q, s, k: rices(q, s, len(s)), "all examples: the k most similar."),
                (
                    lambda q, s, k: sorted(rices(q, s, k)),
                    "these are in the order of the support set: by similarity, the best last.",
                ),
                (lambda q, s, k: list(range(k)), "that is the first k, whatever they are."),
                (
                    lambda q, s, k: sorted(range(len(s)), key=lambda i: float((s[i] - q).norm()))[
                        :k
                    ][::-1],
                    "these are the nearest by distance: by cosine.",
                ),
                (lambda q, s, k: rices(q, s, 1) * k, "the best one k times."),
            ],
            reading=PLAIN,
        ),
    ],
    "a5-hears-test": [
        Check(
            "after two layers",
            2,
            "hears",
            heard,
            hears,
            [
                (
                    lambda s, l, n: s,
                    "only what text sees directly: it also hears from other text, layer by layer.",
                ),
                (
                    lambda s, l, n: hears(s, l, 1),
                    "one round of listening is missing: look first, then listen, and do both `layers` times.",
                ),
                (lambda s, l, n: hears(s, l, n + 1), "that is a layer too many."),
                (
                    lambda *a: hears(*a, keep=False),
                    "a token forgets what it knew: the residual stream keeps it.",
                ),
                (
                    lambda *a: hears(*a, back=True),
                    "listens[t, s] says that t listens to s, not the other way round.",
                ),
                (lambda *a: ~hears(*a), "upside down."),
                (lambda *a: hears(*a).T.contiguous(), "rows are tokens, columns are images."),
                (lambda *a: hears(*a).float(), "booleans are wanted."),
                (
                    lambda s, l, n: torch.ones_like(s),
                    "everybody hears of everything: text before an image can't.",
                ),
            ],
        ),
        Check(
            "after one layer",
            1,
            "hears",
            lambda g: ([*heard(g)[0][:2], 1], {}),
            hears,
            [
                (
                    lambda s, l, n: s,
                    "only what text sees directly: look first, then listen, both in one layer.",
                ),
                (lambda s, l, n: hears(s, l, 2), "that is two layers."),
            ],
        ),
    ],
}


def loud_films(generator):
    """Scores beyond 88, whose exponentials are infinite; one frame, one or two places."""
    B, T, S, R, D = number(generator, 1, 3), 1, number(generator, 1, 2), number(generator, 1, 5), 6
    features, latents = normal(generator, B, T, S, D), normal(generator, R, D)
    features[..., 0], latents[:, 0] = 18, 18  # 18 * 18 / sqrt(6) = 132, for all alike
    turns = [
        torch.eye(D)[[0, *(1 + torch.randperm(D - 1, generator=generator)).tolist()]] for _ in "qk"
    ]
    return [
        features,
        0.1 * normal(generator, T, D),
        latents,
        *turns,
        normal(generator, D, D) / 2,
    ], {}


def other_tags(generator):
    is_tag = torch.rand(number(generator, 1, 4), number(generator, 3, 9), generator=generator) < 0.6
    return [is_tag, number(generator, 1, 2)], {}


def other_pages(generator):
    """Other ids; images side by side; an image first, or no image at all."""

    def words():
        return [
            "text",
            torch.randint(60, 90, (number(generator, 1, 3),), generator=generator).tolist(),
        ]

    kinds = [
        [["image", []], ["image", []], words()],
        [words(), ["image", []], ["image", []], words()],
        [words(), words()],
    ]
    page = kinds[number(generator, 0, 2)]
    return [page, number(generator, 40, 49), number(generator, 50, 59)], {}


def other_names(generator):
    """Names of another model, some of them only nearly those that learn."""
    layer = number(generator, 2, 30)
    made = [
        f"lm.layers.{layer}.gated.attention.key.bias",
        f"lm.layers.{layer}.gated.alpha_mlp",
        f"lm.layers.{layer}.attention.key.bias",
        f"lm.layers.{layer}.ungated.weight",
        "lm.delegated.weight",
        f"resampler.layers.{layer}.norm.bias",
        "vision.resampled.weight",
        f"vision.blocks.{layer}.alpha",
        "lm.new_rows",
        "lm.rows",
    ]
    return [[made[i] for i in torch.randperm(len(made), generator=generator)]], {}


def first_step(generator):
    (start, _, _, _), _ = data_sets(generator)
    n = number(generator, 2, 4)
    weights = [0.1 + float(x) for x in torch.rand(n, generator=generator)]
    return [start, normal(generator, n, 4), weights, None], {}


def other_supports(generator):
    N = number(generator, 6, 9)
    return [
        100 * normal(generator, 3),
        normal(generator, N, 3),
        [1, N][number(generator, 0, 1)],
    ], {}


def heard_ahead(generator):
    """Text that also listens to what comes later, as a prefix does; other sizes."""
    T, N = number(generator, 4, 8), number(generator, 1, 4)
    sees = torch.rand(T, N, generator=generator) < 0.25
    listens = torch.rand(T, T, generator=generator) < 0.2
    listens[0, T - 1], sees[T - 1, 0] = True, True
    return [sees, listens, number(generator, 1, 3)], {}


HIDDEN = {
    "a5-gates-test": {
        "the block": [lambda g: ([*block(g, shut=True), "value"], {})],
        "shut gates: nothing passes, only the gates learn": [
            lambda g: ([*block(g), "gradient"], {}),
        ],
    },
    "a5-resampler-test": {"one layer": [loud_films, loud_films]},
    "a5-count-test": {"piece by piece == all at once": [other_tags]},
    "a5-page-test": {name: [other_pages] * 6 for name in ("ids", "which tokens are scored")},
    "a5-learns-test": {"names of what learns": [other_names]},
    "a5-mixture-test": {"accumulated gradients": [first_step, first_step]},
    "a5-similar-test": {"the k most similar, best last": [other_supports] * 5},
    "a5-hears-test": {
        "after two layers": [heard_ahead] * 3,
        "after one layer": [lambda g: ([*heard_ahead(g)[0][:2], 1], {})] * 3,
    },
}
CHECKS = with_hidden(CHECKS, HIDDEN)
