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


# 1. The first gradients of the gates.

BLOCK = """
import torch
def run(first_gradients, y, attend, feedforward, gradient):
    calls = []
    def attended(x):
        calls.append("attend")
        return x.tanh() @ attend
    def fed(x):
        calls.append("feedforward")
        return x.square() @ feedforward
    with torch.no_grad():
        found = first_gradients(y, attended, fed, gradient)
    found = [x.reshape(()) if torch.is_tensor(x) and x.numel() == 1 else x for x in found]
    return [found, [calls.count("attend"), calls.count("feedforward")]]
"""
VALUES = "def read(got, *inputs):\n    return got[0]\n"
CALLS = "def read(got, *inputs):\n    return got[1]\n"


def by_autograd(y, attend, feedforward, gradient, start=0.0, gate=torch.tanh):
    """The gradients of both alphas, of the whole block, at a value of the alphas."""
    alphas = [torch.tensor(float(start), requires_grad=True) for _ in range(2)]
    z = y + gate(alphas[0]) * (y.tanh() @ attend)
    z = z + gate(alphas[1]) * (z.square() @ feedforward)
    return list(torch.autograd.grad((gradient * z).sum(), alphas))


def scaled(y, attend, feedforward, gradient, factor=None):
    found = by_autograd(y, attend, feedforward, gradient)
    return [x * (1 / y.numel() if factor is None else factor) for x in found]


def without_first(y, attend, feedforward, gradient):
    """The feed-forward as if the first gate were open."""
    opened = y + y.tanh() @ attend
    first = by_autograd(y, attend, feedforward, gradient)[0]
    return [first, (gradient * (opened.square() @ feedforward)).sum()]


def on_attention(y, attend, feedforward, gradient):
    first = by_autograd(y, attend, feedforward, gradient)[0]
    return [first, (gradient * ((y.tanh() @ attend).square() @ feedforward)).sum()]


def blocks(generator):
    D = number(generator, 4, 6)
    y = normal(generator, 2, number(generator, 3, 4), D)
    attend, feedforward = normal(generator, D, D), normal(generator, D, D) / 4
    return [y, attend, feedforward, normal(generator, *y.shape)], {}


def one_token(generator):
    """One text of one token, and large values."""
    D = number(generator, 2, 7)
    return [
        10 * normal(generator, 1, 1, D),
        normal(generator, D, D),
        normal(generator, D, D),
        normal(generator, 1, 1, D) / 10,
    ], {}


# 2. Films of different lengths.


def resample(
    features,
    lengths,
    time,
    latents,
    query,
    key,
    value,
    own=True,
    residual=True,
    times=True,
    scale=None,
    real=True,
    zeros=False,
):
    """Film by film, each alone."""
    outs = []
    for film, length in zip(features, lengths.tolist()):  # (T, S, D)
        frames = [
            (torch.zeros_like(frame) if zeros and t >= length else frame)
            + (time[t] if times else 0)
            for t, frame in enumerate(film)
            if t < length or not real
        ]
        x = torch.cat(frames)
        context = torch.cat([x, latents]) if own else x
        mixed = attention(latents @ query.T, context @ key.T, context @ value.T, scale)
        outs.append(latents + mixed if residual else mixed)
    return torch.stack(outs)


def films(generator):
    B, T, S, R, D = 3, 4, number(generator, 2, 3), number(generator, 2, 4), 5
    lengths = torch.tensor([3, 4, 2])
    return [
        normal(generator, B, T, S, D),
        lengths,
        normal(generator, T, D),
        normal(generator, R, D),
        *[normal(generator, D, D) / 2 for _ in range(3)],
    ], {}


def torn_films(generator):
    """Missing frames hold NaN or infinity."""
    (features, lengths, *rest), _ = films(generator)
    for b, length in enumerate(lengths.tolist()):
        features[b, length:] = [torch.nan, torch.inf][number(generator, 0, 1)]
    return [features, lengths, *rest], {}


def loud_films(generator):
    """Scores beyond 88, whose exponentials are infinite; one frame of two, one or two positions."""
    B, T, S, R, D = number(generator, 1, 3), 2, number(generator, 1, 2), number(generator, 1, 5), 6
    features, latents = normal(generator, B, T, S, D), normal(generator, R, D)
    features[..., 0], latents[:, 0] = 18, 18  # 18 * 18 / sqrt(6) = 132, for all alike
    turns = [
        torch.eye(D)[[0, *(1 + torch.randperm(D - 1, generator=generator)).tolist()]] for _ in "qk"
    ]
    return [
        features,
        torch.randint(1, 3, (B,), generator=generator),
        0.1 * normal(generator, T, D),
        latents,
        *turns,
        normal(generator, D, D) / 2,
    ], {}


def quiet_films(generator):
    """All scores are far below 0, so that a forbidden key needs -inf: a finite number would be above them."""
    (features, lengths, time, latents, query, key, value), _ = loud_films(generator)
    lengths[0] = 1
    return [features, lengths, time, latents, query, -key, value], {}


def in_one_axis(
    features, lengths, time, latents, query, key, value, rule, before=False, zeros="", fill=-1e9
):
    """All films at once. rule: (booleans of real frames (B, T), S) -> booleans of keys (B, T * S).

    before: latents stand first, which the mask doesn't know; zeros: missing frames are 0 "before" or "after" time is
    added; fill: the score of a forbidden key
    """
    B, T, S, D = features.shape
    is_real = torch.arange(T)[None, :] < lengths[:, None]
    here = is_real[:, :, None, None]
    x = (features.where(here, torch.zeros(1)) if zeros == "before" else features) + time[:, None]
    x = x.where(here, torch.zeros(1)) if zeros == "after" else x
    x, own = x.flatten(1, 2), latents.expand(B, -1, -1)
    context = torch.cat([own, x] if before else [x, own], 1)
    is_key = torch.cat([rule(is_real, S), torch.ones(B, len(latents), dtype=torch.bool)], 1)
    scores = latents @ query.T @ (context @ key.T).transpose(1, 2) * D**-0.5
    return latents + softmax(scores.masked_fill(~is_key[:, None], fill)) @ (context @ value.T)


def each(is_real, S):
    """The right booleans: those of each frame, S times in place."""
    return is_real.repeat_interleave(S, 1)


def softmax(x):
    x = (x - x.amax(-1, keepdim=True)).exp()
    return x / x.sum(-1, keepdim=True)


FILM_MISTAKES = [
    *[
        ((lambda *a, zeros=zeros, options=options: in_one_axis(*a, zeros=zeros, **options)), words)
        for zeros in ("", "before", "after")
        for options, words in (
            *[
                (
                    {"rule": each, "fill": fill},
                    "missing frames have a finite score, which can be larger than those of real ones: -inf.",
                )
                for fill in (-10.0, -20.0, -50.0, -100.0)
            ],
            (
                {"rule": lambda is_real, S: is_real.repeat(1, S)},
                "the booleans of the frames stand in the wrong order: repeat each S times in place (repeat_interleave).",
            ),
            (
                {"rule": each, "before": True},
                "the latents stand before the features, but the mask says that they stand behind them.",
            ),
            (
                {"rule": lambda is_real, S: each(is_real.flip(1), S)},
                "the last frames are taken for the real ones: the first `lengths[b]`.",
            ),
        )
    ],
    (
        lambda *a: in_one_axis(*a, rule=lambda is_real, S: each(is_real | True, S), zeros="after"),
        "missing frames are set to zero, but still attended to: take their keys out of the softmax.",
    ),
    (
        lambda f, *a: resample(f, *a, scale=1 / f.shape[-1]),
        "the scores are divided by the width: by its square root.",
    ),
    (
        lambda f, n, time, latents, q, k, v: resample(f, n, time, latents, k, q, v),
        "queries and keys are exchanged.",
    ),
    (
        lambda f, n, time, latents, q, k, v: resample(f, n, time, latents, q, k, v.T),
        "the value matrix is applied the wrong way round: x @ W.T.",
    ),
    (
        lambda f, *a: resample(f.mean(2, keepdim=True), *a),
        "each frame is a mean over its positions: all positions are keys.",
    ),
    (
        lambda *a: resample(*a, real=False),
        "frames that are missing are attended to.",
    ),
    (
        lambda *a: resample(*a, real=False, zeros=True),
        "missing frames are set to zero, but still attended to: take their keys out of the softmax.",
    ),
    (
        lambda f, n, *a: resample(f, n.min().expand(len(n)), *a),
        "all films are cut to the shortest.",
    ),
    (
        lambda f, n, *a: resample(f, n[:1].expand(len(n)), *a),
        "the length of the first film serves all.",
    ),
    (
        lambda f, n, *a: resample(f, (n + 1).clamp(max=f.shape[1]), *a),
        "one frame too many is attended to: the first `lengths[b]`.",
    ),
    (
        lambda f, n, *a: resample(f, (n - 1).clamp(min=1), *a),
        "the last real frame isn't attended to.",
    ),
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
    (
        lambda f, n, time, latents, q, k, v: resample(f, n, time, latents, q, v, k),
        "keys and values are exchanged.",
    ),
    (
        lambda f, n, time, latents, q, k, v: resample(f, n, time, latents, q.T, k.T, v.T),
        "the matrices are applied the wrong way round: x @ W.T, as nn.Linear does.",
    ),
    (
        lambda f, n, time, *a: resample(f, n, time[:1].expand(len(time), -1), *a),
        "the first time embedding serves all frames.",
    ),
    (
        lambda f, n, time, latents, q, k, v: (
            resample(f, n, time, latents, q, k, v) - latents + latents @ q.T
        ),
        "the projected queries are added: add the latents themselves.",
    ),
]


# 3. Counting images while generating.


def count(is_tag, counted=None, inclusive=True):
    rows, last = [], []
    for row, tags in enumerate(is_tag.tolist()):
        so_far, phi = 0 if counted is None else int(counted[row]), []
        for tag in tags:
            phi.append(so_far + tag if inclusive else so_far)
            so_far += tag
        rows.append(phi)
        last.append(so_far)
    return [torch.tensor(rows), torch.tensor(last)]


PIECES = """
import torch
def run(count, is_tag, first):
    counted = torch.zeros(len(is_tag), dtype=torch.long)
    found, before, after = [], [], []
    for part in (is_tag[:, :first], *is_tag[:, first:].split(1, dim=1)):
        given = counted.clone()
        before.append(given.clone())
        phi, counted = count(part, given)
        after.append(given)
        found.append(phi)
    return [torch.cat(found, dim=1), counted, torch.stack(before), torch.stack(after)]
"""
KEPT = """
def read(got, is_tag, first):
    phi, counted, before, after = got
    same = bool((before == after).all())
    return [phi, counted] if same else [phi, counted, "counted was changed"]
"""


def stepwise(rule):
    """rule: (tags of a piece, counted) -> phi, counted; what it gives piece by piece."""

    def run(is_tag, first):
        counted, found = torch.zeros(len(is_tag), dtype=torch.long), []
        for part in (is_tag[:, :first], *is_tag[:, first:].split(1, dim=1)):
            phi, counted = rule(part.long(), counted)
            found.append(phi)
        return [torch.cat(found, 1), counted]

    return run


def tags(generator):
    is_tag = torch.rand(3, number(generator, 6, 8), generator=generator) < 0.4
    is_tag[0, -1], is_tag[1, 0] = True, True
    return [is_tag, number(generator, 2, 3)], {}


def forgetful(is_tag, first):
    parts = [is_tag[:, :first], *is_tag[:, first:].split(1, dim=1)]
    return torch.cat([count(part)[0] for part in parts], 1), [count(part)[1] for part in parts]


# 4. A window of a page.


def window(ids, image, start, length, most, offset=None, text_first=True):
    """All ids of the window, cut before the tag that is one too many; then pictures and scores by place."""
    tags = [place for place, token in enumerate(ids) if token == image]
    end = min(start + length, len(ids))
    inside = [place for place in tags if start <= place < end]
    if len(inside) > most:
        end = inside[most]
        inside = inside[:most]
    pictures = [
        tags.index(place) if offset is None else offset + n for n, place in enumerate(inside)
    ]
    first_tag = inside[0] if inside else end
    scored = [
        place > start and ids[place] != image and (text_first or place > first_tag)
        for place in range(start, end)
    ]
    return [pictures, scored]


def uncut(ids, image, start, length, most):
    """The pictures are cut, the text isn't."""
    pictures, _ = window(ids, image, start, length, most)
    return [pictures, window(ids, image, start, length, len(ids))[1]]


def scored_by(ids, image, start, length, most, rule):
    pictures, scored = window(ids, image, start, length, most)
    return [pictures, [rule(n, ids[start + n]) for n in range(len(scored))]]


def long_page(generator):
    def words():
        return torch.randint(5, 40, (number(generator, 2, 3),), generator=generator).tolist()

    image = number(generator, 2, 4)
    ids = words()
    for _ in range(6):
        ids += [image, *words()]
    start = number(generator, 4, 6)
    return [ids, image, start, number(generator, 18, 20), number(generator, 1, 2)], {}


def by_length(generator):
    """A window that ends by its length, and begins with text."""
    (ids, image, *_), _ = long_page(generator)
    return [ids, image, 1, number(generator, 7, 9), 5], {}


def without_tags(ids, image, start, length, most):
    """Tags that are too many are dropped, their text is kept."""
    pictures, scored = uncut(ids, image, start, length, most)
    seen, kept = 0, []
    for token, one in zip(ids[start : start + length], scored):
        seen += token == image
        if token != image or seen <= most:
            kept.append(one)
    return [pictures, kept]


def at_tag(ids, image, start, length, most, last):
    """The window ends with the tag that is one too many, or with the last one that fits."""
    pictures, scored = window(ids, image, start, length, most)
    if start + len(scored) == min(start + length, len(ids)):
        raise ValueError("no tag is too many")
    if last:
        return [pictures, [*scored, False]]
    tags = [n for n in range(len(scored)) if ids[start + n] == image]
    return [pictures, scored[: tags[-1] + 1]]


def words_alone(ids, image, start, length, most):
    """`length` words, tags not counted."""
    seen, end = 0, start
    while end < len(ids) and (ids[end] == image or seen < length):
        seen += ids[end] != image
        end += 1
    return window(ids, image, start, end - start, most)


def page_end(kind):
    """A window that begins with a tag, or runs over the page's end; images side by side; none."""

    def inputs(generator):
        image = number(generator, 50, 60)
        ids = [image, 5, image, image, 6, 7, image, 8, 9, 10]
        start, length, most = [(2, 4, 5), (7, 9, 1), (0, 3, 1), (2, 8, 1), (3, 100, 4)][kind]
        return [ids, image, start, length, most], {}

    return inputs


WINDOWS = [
    (
        lambda i, t, s, n, m: window(i, t, s, len(i), m),
        "the window is longer than `length`.",
    ),
    (words_alone, "tags are tokens of the window, too: they count in its length."),
    (
        without_tags,
        "tags that are too many are dropped, but their text is kept: the window ends before the first of them.",
    ),
    (
        lambda *a: at_tag(*a, last=True),
        "the tag that is one too many is in the window: it ends before.",
    ),
    (
        lambda *a: at_tag(*a, last=False),
        "the window ends at its last image: the text behind this image belongs to it.",
    ),
    (
        lambda i, t, s, n, m: [
            [i[:s].count(t) - 1, *window(i, t, s, n, m)[0]],
            window(i, t, s, n, m)[1],
        ],
        "the image before the window is among the pictures: only images whose tag is in it.",
    ),
    (
        lambda i, t, s, n, m: scored_by(
            i, t, s, n, m, lambda j, token: j > 0 and token != t and i[s + j - 1] != t
        ),
        "the word behind a tag isn't scored: it is a word like the others.",
    ),
    (
        lambda i, t, s, n, m: [
            window(i, t, s, n, m)[0],
            (window(i, t, s, n, m)[1] + [False] * n)[:n],
        ],
        "`scored` is padded to `length`: one boolean for each token of the window.",
    ),
    (
        lambda *a: window(*a, offset=0),
        "the pictures are counted from the window's start: from the page's start, so that the right ones are loaded.",
    ),
    (
        lambda *a: window(*a, offset=1 + a[0][: a[2]].count(a[1])),
        "the pictures are counted from 1: from 0.",
    ),
    (
        lambda i, t, s, n, m: window(i, t, s, n, len(i)),
        "the window has more than `most` images.",
    ),
    (
        uncut,
        "the text behind the last picture's chunk is still there: the window ends before the tag that is one too many.",
    ),
    (
        lambda i, t, s, n, m: window(i, t, s, n, m + 1),
        "one image too many: at most `most`.",
    ),
    (
        lambda i, t, s, n, m: window(i, t, s, n, m - 1),
        "the window ends before the last image that fits.",
    ),
    (
        lambda i, t, s, n, m: window(i, t, s, n - s, m),
        "`length` is taken as the window's end: it begins at `start`.",
    ),
    (
        lambda i, t, s, n, m: window(i, t, 0, n, m),
        "the window begins at the page's start: at `start`.",
    ),
    (
        lambda *a: window(*a, text_first=False),
        "text before the first tag isn't scored: it is ordinary text.",
    ),
    (
        lambda *a: scored_by(*a, lambda n, token: token != a[1]),
        "the first token is scored, but nothing precedes it.",
    ),
    (
        lambda *a: scored_by(*a, lambda n, token: True),
        "image tags and the first token are scored.",
    ),
    (
        lambda *a: scored_by(*a, lambda n, token: n > 0),
        "image tags are scored: nobody should learn to write them.",
    ),
    (
        lambda *a: scored_by(*a, lambda n, token: not (n > 0 and token != a[1])),
        "upside down.",
    ),
]


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
    # names that only look like those that learn
    "vision.resampler.weight",
    "resampler_copy.weight",
    "lm.layers.1.ungated.weight",
    "lm.new_rows_seen",
    "lm.head.new_rows",
]


def names(generator):
    return [[NAMES[i] for i in torch.randperm(len(NAMES), generator=generator)]], {}


def chosen(rule):
    return lambda names: [name for name in names if rule(name)]


# 6. A mixture, in parts.

MIXTURE = """
import torch
def run(accumulate, start, targets, numbers, weights, before):
    x = torch.nn.Parameter(start.clone())
    x.grad = None if before is None else torch.full_like(start, before)
    done, at_each = [], []
    def loss(target, number):
        at_each.append(len(done))
        value = number * ((x - target).square().mean() + (x * target).sin().mean())
        value.register_hook(lambda gradient: done.append(number))
        return value
    data, row = [], 0
    for of_set in numbers:
        data.append([(lambda t=targets[row + i], n=n: loss(t, n), n) for i, n in enumerate(of_set)])
        row += len(of_set)
    accumulate([x], data, weights)
    return [torch.zeros_like(start) if x.grad is None else x.grad, x.detach().clone(), at_each]
"""
ONE_GRAPH = """
def read(got, *inputs):
    gradient, x, at_each = got
    one_by_one = at_each == list(range(len(at_each)))
    return [gradient, x] if one_by_one else [gradient, x, "all graphs at once"]
"""


def mixture(start, targets, numbers, weights, before, factor=None, use=None, left=0.0):
    """factor: (λ, tokens of the part, of the set, of all) -> what the mean of a part is multiplied by."""
    factor = factor or (lambda weight, n, of_set, parts, of_all: weight * n / of_set)
    x = start.clone().requires_grad_()
    terms, row, of_all = [], 0, sum(map(sum, numbers))
    for of_set, weight in zip(numbers, weights):
        for n in of_set:
            t = targets[row]
            value = (x - t).square().mean() + (x * t).sin().mean()
            terms.append(factor(weight, n, sum(of_set), len(of_set), of_all) * value)
            row += 1
    total = sum(terms) if use is None else use(terms)
    return [torch.autograd.grad(total, x)[0] + left, start]


def data_sets(generator):
    numbers = [
        [number(generator, 5, 9), number(generator, 1, 3)],
        [number(generator, 2, 4), number(generator, 6, 8), number(generator, 11, 12)],
        [number(generator, 3, 9)],
    ]
    return [
        normal(generator, 4),
        normal(generator, 6, 4),
        numbers,
        [1.0, 0.2, 0.03 + 0.1 * number(generator, 1, 4)],
        0.5 + number(generator, 0, 3),
    ], {}


def first_step(generator):
    """No gradient yet; other numbers of sets and parts; a part without tokens."""
    numbers = [[0, 4], [number(generator, 1, 5)], [2, 3, 0, 1]][number(generator, 0, 1) :]
    weights = [0.1 + float(x) for x in torch.rand(len(numbers), generator=generator)]
    parts = sum(map(len, numbers))
    return [normal(generator, 3), normal(generator, parts, 3), numbers, weights, None], {}


def with_factor(rule):
    return lambda *a: mixture(*a, factor=rule)


# 7. Balanced examples.


def cosines(query, support):
    return [float(row @ query) / (float(row.norm()) * float(query.norm())) for row in support]


def balanced(query, support, labels, per_label, best_last=True, dot=False, groups=False):
    score = (support @ query).tolist() if dot else cosines(query, support)
    chosen = []
    for label in sorted(set(labels.tolist())):
        of_label = [i for i in range(len(support)) if labels[i] == label]
        of_label = sorted(of_label, key=lambda i: -score[i])[:per_label]
        chosen += of_label[::-1] if best_last else of_label
    if groups:
        return chosen
    return sorted(chosen, key=lambda i: score[i], reverse=not best_last)


def most_similar(query, support, labels, per_label):
    """As lesson 12 does it: as many, whatever their label."""
    score = cosines(query, support)
    k = len(balanced(query, support, labels, per_label))
    return sorted(range(len(support)), key=lambda i: score[i])[-k:]


def least_similar(query, support, labels, per_label):
    return balanced(-query, support, labels, per_label)[::-1]


def first_of_each(query, support, labels, per_label):
    score = cosines(query, support)
    chosen = []
    for label in sorted(set(labels.tolist())):
        chosen += [i for i in range(len(support)) if labels[i] == label][:per_label]
    return sorted(chosen, key=lambda i: score[i])


def by_distance(query, support, labels, per_label):
    """Euclidean distance for the cosine."""
    near = [-float((row - query).norm()) for row in support]
    chosen = []
    for label in set(labels.tolist()):
        of_label = [i for i in range(len(support)) if labels[i] == label]
        chosen += sorted(of_label, key=lambda i: -near[i])[:per_label]
    return sorted(chosen, key=lambda i: near[i])


def in_turn(query, support, labels, per_label):
    """The best of each label, then the second best of each, in turn; the best last."""
    ranked = balanced(query, support, labels, per_label)[::-1]
    seen, places = {}, []
    for place, i in enumerate(ranked):
        label = int(labels[i])
        seen[label] = seen.get(label, -1) + 1
        first = next(n for n, other in enumerate(ranked) if int(labels[other]) == label)
        places.append((seen[label], first, place))
    return [ranked[place] for *_, place in sorted(places)][::-1]


def only_full(query, support, labels, per_label):
    """Labels with too few examples are left out."""
    full = [i for i in range(len(labels)) if int((labels == labels[i]).sum()) >= per_label]
    keep = balanced(query, support, labels, per_label)
    return [i for i in keep if i in full]


def to_the_smallest(query, support, labels, per_label):
    counts = [int((labels == label).sum()) for label in labels.unique()]
    return balanced(query, support, labels, min(per_label, *counts))


def supports(generator, spread=3.0):
    """Examples whose similar ones nearly all have one label, of very different lengths."""
    labels = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2])
    N = len(labels)
    query = normal(generator, 5)
    support = normal(generator, N, 5) + (labels == number(generator, 0, 2))[:, None] * query
    support = support * (0.2 + spread * torch.rand(N, 1, generator=generator))
    order = torch.randperm(N, generator=generator)
    return [query, support[order], labels[order], 2], {}


def other_supports(generator):
    """Labels with fewer examples than wanted, other numbers as labels, a large query."""
    labels = torch.tensor([7, 7, 7, 7, 3, 3, 12])
    order = torch.randperm(len(labels), generator=generator)
    support = normal(generator, len(labels), 3) * (0.1 + torch.rand(7, 1, generator=generator))
    return [100 * normal(generator, 3), support, labels[order], number(generator, 2, 4)], {}


PLAIN = """
def read(got, query, support, labels, per_label):
    return [int(number) for number in got]
"""


# 8. Which token knows of which image.


def knows(image_mask, text_mask, layers, keep=True, back=False):
    """By sets: a token attends to images, then to other tokens, layer by layer."""
    T, N = image_mask.shape
    known = [set() for _ in range(T)]
    for _ in range(layers):
        known = [known[t] | {n for n in range(N) if image_mask[t, n]} for t in range(T)]
        read = [
            set().union(
                *(known[s] for s in range(T) if (text_mask[s, t] if back else text_mask[t, s]))
            )
            for t in range(T)
        ]
        known = [read[t] | known[t] if keep else read[t] for t in range(T)]
    return torch.tensor([[n in known[t] for n in range(N)] for t in range(T)])


def in_place(image_mask, text_mask, layers):
    """Tokens one after another, so that later ones read what earlier ones have just learnt."""
    known = torch.zeros_like(image_mask)
    for _ in range(layers):
        known = known | image_mask
        for t in range(len(known)):
            known[t] |= known[text_mask[t]].any(0)
    return known


def masks(generator):
    T = 9
    is_tag = torch.zeros(T, dtype=torch.bool)
    is_tag[[1 + number(generator, 0, 1), 4, 6]] = True
    image_mask = is_tag.long().cumsum(0)[:, None] == torch.arange(1, 4)
    place = torch.arange(T)
    text_mask = (place[None, :] == place[:, None] - 1) | (place[None, :] == place[:, None] - 2) & (
        torch.rand(T, T, generator=generator) < 0.1
    )
    return [image_mask, text_mask, 2], {}


CHECKS = {
    "a5-first-test": [
        Check(
            "the gradients of both alphas",
            2,
            "first_gradients",
            blocks,
            by_autograd,
            [
                (
                    lambda *a: by_autograd(*a)[::-1],
                    "the two gradients are exchanged: that of the attention's alpha comes first.",
                ),
                (
                    without_first,
                    "the feed-forward reads y + attend(y): but the first gate is closed at the start, so it reads y.",
                ),
                (
                    on_attention,
                    "the feed-forward reads attend(y): it reads y, as long as the first gate is closed.",
                ),
                (
                    lambda *a: scaled(*a, factor=0.0),
                    "both are zero: the slope of tanh at 0 is 1, so the gates do get gradients.",
                ),
                (scaled, "that is the mean: an alpha acts on every number, so sum."),
                (
                    lambda y, *a: scaled(y, *a, factor=1 / len(y)),
                    "that is the mean over the texts: sum over them, too.",
                ),
                (
                    lambda *a: scaled(*a, factor=-1.0),
                    "the sign is wrong: the gradient is wanted, not the step.",
                ),
                (
                    lambda *a: by_autograd(*a, gate=torch.sigmoid),
                    "that is a sigmoid gate, half open at 0.",
                ),
                (
                    lambda y, a, f, g: [(y.tanh() @ a).sum(), (y.square() @ f).sum()],
                    "`gradient` is not used: multiply by it before the sum.",
                ),
                (
                    lambda y, a, f, g: [
                        (g * (y + y.tanh() @ a)).sum(),
                        (g * (y + y.square() @ f)).sum(),
                    ],
                    "y itself is multiplied, too: it doesn't depend on the alphas.",
                ),
                (
                    lambda y, a, f, g: [
                        (g * (y + y.tanh() @ a)).sum(),
                        (g * (y.square() @ f)).sum(),
                    ],
                    "y itself is multiplied, too: it doesn't depend on the alphas.",
                ),
                (
                    lambda y, a, f, g: [
                        (g * (y.tanh() @ a + (y.tanh() @ a).square() @ f)).sum(),
                        (g * (y.square() @ f)).sum(),
                    ],
                    "the first alpha acts through the feed-forward, too: not while the second gate is closed.",
                ),
                (
                    lambda y, a, f, g: [
                        (g * y * (y.tanh() @ a)).sum(),
                        (g * y * (y.square() @ f)).sum(),
                    ],
                    "y is a factor, too: the derivative of z is what the gate multiplies, no more.",
                ),
                (
                    lambda y, a, f, g: [
                        g.sum() * (y.tanh() @ a).sum(),
                        g.sum() * (y.square() @ f).sum(),
                    ],
                    "a product of two sums: multiply number by number, then sum.",
                ),
            ],
            driver=BLOCK,
            reading=VALUES,
            tolerance=1e-3,
        ),
        Check(
            "each part is called once",
            1,
            "first_gradients",
            blocks,
            lambda *a: [1, 1],
            [
                (
                    lambda *a, n=n, m=m: [n, m],
                    "attend or feedforward is called more than once."
                    if max(n, m) > 1
                    else "attend or feedforward isn't called: each once.",
                )
                for n in range(4)
                for m in range(4)
                if (n, m) != (1, 1)
            ],
            driver=BLOCK,
            reading=CALLS,
        ),
    ],
    "a5-films-test": [
        Check("films of different lengths", 3, "resample", films, resample, FILM_MISTAKES),
        Check(
            "what missing frames hold",
            1,
            "resample",
            torn_films,
            resample,
            [
                (
                    lambda *a: resample(*a, real=False),
                    "a missing frame may hold anything, and 0 times NaN is NaN: set its features to 0 as well.",
                ),
                *FILM_MISTAKES,
            ],
        ),
    ],
    "a5-count-test": [
        Check(
            "piece by piece == all at once",
            2,
            "count",
            tags,
            lambda t, first: count(t),
            [
                (
                    lambda t, first: [*count(t), "counted was changed"],
                    "the numbers given were changed in place: another beam may still need them. Make new ones.",
                ),
                (
                    lambda t, first: [forgetful(t, first)[0], forgetful(t, first)[1][-1]],
                    "each piece counts from 0: begin at `counted`.",
                ),
                (
                    lambda t, first: [
                        forgetful(t, first)[0],
                        torch.zeros(len(t), dtype=torch.long),
                    ],
                    "the number counted isn't handed on.",
                ),
                (
                    lambda t, first: count(t, inclusive=False),
                    "a tag doesn't count itself: up to and including the token.",
                ),
                (
                    lambda t, first: [t.long().cumsum(0), count(t)[1]],
                    "the count runs down the batch: along the tokens, axis 1.",
                ),
                (
                    lambda t, first: [forgetful(t, first)[0], count(t)[1]],
                    "phi counts from 0 in each piece: begin at `counted`.",
                ),
                (
                    stepwise(lambda t, c: (c[:, None] + t.cumsum(1), t.sum(1))),
                    "only the tags of this piece are handed on: add those counted before.",
                ),
                (
                    stepwise(lambda t, c: (c[:, None] + t.cumsum(1), c + t.sum())),
                    "the tags of all rows are added up: each row has its own count.",
                ),
                (
                    stepwise(lambda t, c: (c[:, None] + t.cumsum(1), 2 * c + t.sum(1))),
                    "`counted` is counted twice: the last phi of the piece contains it.",
                ),
                (
                    stepwise(lambda t, c: (c[:, None] + t.cumsum(0), c + t.sum(1))),
                    "the count runs down the batch: along the tokens, axis 1.",
                ),
                (
                    stepwise(lambda t, c: (c[:, None] + t.cumsum(1), c + t.amax(1))),
                    "a piece can have several tags: sum them.",
                ),
                (
                    stepwise(lambda t, c: (c.amax() + t.cumsum(1), c + t.sum(1))),
                    "the largest count serves all rows: each row has its own.",
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
    "a5-window-test": [
        Check(
            "pictures",
            2,
            "page_window",
            long_page,
            lambda *a: window(*a)[0],
            [(lambda *a, rule=rule: rule(*a)[0], words) for rule, words in WINDOWS],
            driver="def run(page_window, *inputs):\n    return [int(n) for n in page_window(*inputs)[0]]\n",
        ),
        Check(
            "scored",
            2,
            "page_window",
            long_page,
            lambda *a: window(*a)[1],
            [(lambda *a, rule=rule: rule(*a)[1], words) for rule, words in WINDOWS],
            driver="def run(page_window, *inputs):\n    return [bool(x) for x in page_window(*inputs)[1]]\n",
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
                    chosen(lambda n: learns(n) or "resampler" in n),
                    "`resampler` is only a piece of a name there: the resampler's names begin with `resampler.`.",
                ),
                (
                    chosen(lambda n: learns(n) or n.startswith("resampler")),
                    "a part of a name ends with its dot: `resampler_copy` is another module than `resampler`.",
                ),
                (
                    chosen(lambda n: learns(n) or "gated" in n),
                    "`gated` is only a piece of a word there: the blocks' names have `.gated.`, with both dots.",
                ),
                (
                    chosen(lambda n: learns(n) or "new_rows" in n),
                    "only `lm.new_rows` itself: other names merely contain `new_rows`.",
                ),
                (
                    chosen(lambda n: learns(n) or n.startswith("lm.new_rows")),
                    "only `lm.new_rows` itself: another name begins like it.",
                ),
                (
                    chosen(lambda n: learns(n) or n.endswith("new_rows")),
                    "only `lm.new_rows` itself: another name ends like it.",
                ),
                (
                    chosen(
                        lambda n: (
                            learns(n) or any(w in n for w in ("resampler", "gated", "new_rows"))
                        )
                    ),
                    "some names only contain these words: parts between dots are whole.",
                ),
                (
                    lambda names: sorted(chosen(learns)(names)),
                    "these are sorted: the order given is wanted.",
                ),
                (
                    lambda names: [
                        n
                        for rule in (
                            lambda n: n.startswith("resampler."),
                            lambda n: ".gated." in n,
                            lambda n: n == "lm.new_rows",
                        )
                        for n in names
                        if rule(n)
                    ],
                    "these stand group by group: the order given is wanted.",
                ),
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
                    "the old embeddings of words are frozen: only the new rows learn.",
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
                    "the gates' alphas are missing: these could never open.",
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
            4,
            "accumulate",
            data_sets,
            mixture,
            [
                (
                    lambda *a: [*mixture(*a), "all graphs at once"],
                    "one sum and one backward keep all graphs in memory: call backward for each part, the gradients add up.",
                ),
                (
                    with_factor(lambda w, n, of_set, parts, of_all: w / parts),
                    "that is the mean of the parts' means: the mean over all tokens of the data set.",
                ),
                (
                    with_factor(lambda w, n, of_set, parts, of_all: w),
                    "each part is divided by its own tokens: by those of all parts of the data set.",
                ),
                (
                    with_factor(lambda w, n, of_set, parts, of_all: w * n),
                    "these are sums over tokens: the mean over the tokens of each data set.",
                ),
                (
                    with_factor(lambda w, n, of_set, parts, of_all: w * n / of_all),
                    "divided by the tokens of all data sets: a large one would then count more than its λ says.",
                ),
                (
                    lambda s, t, n, w, b: mixture(s, t, n, [one / sum(w) for one in w], b),
                    "the weights are divided by their sum: they are used as they are.",
                ),
                (
                    lambda s, t, n, w, b: (
                        [s * torch.nan, s] if any(0 in one for one in n) else [-s, s]
                    ),
                    "a part without tokens gives 0 / 0: divide by the tokens of the data set alone.",
                ),
                (
                    with_factor(lambda w, n, of_set, parts, of_all: w * n / parts),
                    "divided by the number of parts: by the number of tokens.",
                ),
                (
                    with_factor(lambda w, n, of_set, parts, of_all: n / of_set),
                    "the weights are not used.",
                ),
                (
                    with_factor(lambda w, n, of_set, parts, of_all: w * w * n / of_set),
                    "the weights are used twice.",
                ),
                (
                    lambda *a: mixture(*a, left=a[4]),
                    "gradients of the step before are still in it: start from none.",
                ),
                (
                    lambda *a: mixture(*a, use=lambda terms: terms[-1]),
                    "only the last part counts: gradients were cleared in between.",
                ),
                (
                    lambda *a: mixture(*a, use=lambda terms: terms[0]),
                    "only the first part counts.",
                ),
                (
                    lambda s, t, n, w, b: mixture(
                        s,
                        t,
                        n,
                        w,
                        b,
                        use=lambda terms: sum(terms[sum(map(len, n[:i]))] for i in range(len(n))),
                    ),
                    "only the first part of each data set counts.",
                ),
                (
                    lambda *a: [torch.zeros_like(a[0]), a[0]],
                    "there are no gradients: call backward().",
                ),
                (
                    lambda *a: [-mixture(*a)[0], a[0]],
                    "the sign is wrong.",
                ),
                (
                    lambda *a: [mixture(*a)[0], a[0] - 0.1 * mixture(*a)[0]],
                    "the parameters have changed: only gradients are wanted, no step.",
                ),
            ],
            driver=MIXTURE,
            reading=ONE_GRAPH,
        ),
    ],
    "a5-balanced-test": [
        Check(
            "equally many of each label, the most similar last",
            3,
            "balanced_examples",
            supports,
            balanced,
            [
                (
                    most_similar,
                    "these are the most similar whatever their label: `per_label` of each.",
                ),
                (
                    lambda *a: balanced(*a, best_last=False),
                    "the most similar comes first: it should stand last, next to the query.",
                ),
                (
                    lambda *a: balanced(*a, groups=True),
                    "the examples stand label by label: order all of them by similarity.",
                ),
                (
                    lambda *a: balanced(*a, groups=True, best_last=False),
                    "the examples stand label by label: order all of them by similarity.",
                ),
                (
                    lambda *a: balanced(*a, dot=True),
                    "these are dot products: long vectors win. Cosines.",
                ),
                (by_distance, "these are distances: the cosine doesn't depend on lengths."),
                (
                    in_turn,
                    "the labels alternate: order all chosen examples by similarity, whatever their label.",
                ),
                (
                    lambda q, s, n, k: [int(n[i]) for i in balanced(q, s, n, k)],
                    "these are the labels of the examples: their numbers in the support set.",
                ),
                (
                    lambda q, s, n, k: least_similar(q, s, n, k)[::-1],
                    "these are the least similar of each label.",
                ),
                (least_similar, "these are the least similar of each label."),
                (
                    lambda q, s, n, k: sorted(balanced(q, s, n, k)),
                    "these are in the order of the support set: by similarity, the best last.",
                ),
                (first_of_each, "the first of each label are taken: the most similar of each."),
                (
                    lambda q, s, n, k: balanced(q, s, n, len(n)),
                    "all examples are there: `per_label` of each label.",
                ),
                (
                    to_the_smallest,
                    "a label with few examples cuts the others, too: each gives `per_label`, or all it has.",
                ),
                (
                    lambda q, s, n, k: balanced(q, s, n, 1),
                    "one of each label: `per_label` of each.",
                ),
                (
                    lambda q, s, n, k: balanced(q, s, n, k + 1),
                    "one too many of each label.",
                ),
                (
                    only_full,
                    "a label with fewer than `per_label` examples is left out: it gives all it has.",
                ),
                (
                    lambda q, s, n, k: balanced(q, s, n, k)[-k:],
                    "`per_label` in all: so many of each label.",
                ),
            ],
            reading=PLAIN,
        ),
    ],
    "a5-knows-test": [
        Check(
            "after two layers",
            3,
            "known_images",
            masks,
            knows,
            [
                (
                    lambda i, t, n: i,
                    "only what a token attends to directly: it also reads other tokens, layer by layer.",
                ),
                (
                    lambda i, t, n: knows(i, t, 1),
                    "one round is missing: first the cross-attention, then the self-attention, both `layers` times.",
                ),
                (lambda i, t, n: knows(i, t, n + 1), "that is a layer too many."),
                (
                    in_place,
                    "tokens read what others have learnt in the same self-attention: all read what was known before it.",
                ),
                (
                    lambda *a: knows(*a, keep=False),
                    "a token forgets what it knew: the residual stream keeps it.",
                ),
                (
                    lambda *a: knows(*a, back=True),
                    "text_mask[t, s] says that t attends to s, not the other way round.",
                ),
                (lambda *a: ~knows(*a), "upside down."),
                (lambda *a: knows(*a).T.contiguous(), "rows are tokens, columns are images."),
                (lambda *a: knows(*a).float(), "booleans are wanted."),
                (
                    lambda i, t, n: torch.ones_like(i),
                    "every token knows of every image: text before an image can't.",
                ),
            ],
        ),
        Check(
            "after one layer",
            1,
            "known_images",
            lambda g: ([*masks(g)[0][:2], 1], {}),
            knows,
            [
                (
                    lambda i, t, n: i,
                    "only what a token attends to directly: first the cross-attention, then the self-attention, both in one layer.",
                ),
                (
                    lambda *a: knows(*a, back=True),
                    "text_mask[t, s] says that t attends to s, not the other way round.",
                ),
                (lambda *a: knows(*a, keep=False), "a token forgets what it knew: it keeps it."),
                (
                    lambda i, t, n: torch.zeros_like(i),
                    "nobody knows of any image: a layer is missing.",
                ),
                (lambda i, t, n: knows(i, t, 2), "that is two layers."),
                (
                    in_place,
                    "tokens read what others have learnt in the same self-attention: all read what was known before it.",
                ),
            ],
        ),
    ],
}


def other_tags(generator):
    is_tag = torch.rand(number(generator, 2, 4), number(generator, 3, 9), generator=generator) < 0.6
    is_tag[0, :2], is_tag[1, 0] = True, False
    return [is_tag, 2], {}


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
        f"vision.resampler.{layer}.weight",
        f"resampler{layer}.weight",
        f"lm.layers.{layer}.new_rows",
        "lm.new_rows.scale",
        f"vision.blocks.{layer}.alpha",
        "lm.new_rows",
        "lm.rows",
    ]
    return [[made[i] for i in torch.randperm(len(made), generator=generator)]], {}


def any_masks(generator):
    """Text that also attends to what comes later, as a prefix does; other sizes."""
    T, N = number(generator, 4, 8), number(generator, 1, 4)
    image_mask = torch.rand(T, N, generator=generator) < 0.25
    text_mask = torch.rand(T, T, generator=generator) < 0.2
    text_mask[0, T - 1], image_mask[T - 1, 0] = True, True
    return [image_mask, text_mask, number(generator, 1, 3)], {}


HIDDEN = {
    "a5-first-test": {"the gradients of both alphas": [one_token, one_token]},
    "a5-films-test": {
        "films of different lengths": [loud_films, loud_films, quiet_films, quiet_films]
    },
    "a5-count-test": {"piece by piece == all at once": [other_tags]},
    "a5-window-test": {
        name: [page_end(kind) for kind in range(5)] for name in ("pictures", "scored")
    },
    "a5-learns-test": {"names of what learns": [other_names]},
    "a5-mixture-test": {"accumulated gradients": [first_step, first_step]},
    "a5-balanced-test": {"equally many of each label, the most similar last": [other_supports] * 5},
    "a5-knows-test": {
        "after two layers": [any_masks] * 3,
        "after one layer": [lambda g: ([*any_masks(g)[0][:2], 1], {})] * 3,
    },
}
SHOWN = {
    "a5-films-test": {"films of different lengths": [quiet_films]},
    "a5-window-test": {name: [by_length] for name in ("pictures", "scored")},
    "a5-mixture-test": {"accumulated gradients": [first_step]},
    "a5-balanced-test": {
        "equally many of each label, the most similar last": [other_supports, other_supports]
    },
}
CHECKS = with_hidden(CHECKS, HIDDEN, SHOWN)
