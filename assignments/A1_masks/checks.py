"""Hidden checks of assignment 1: attention and masks. Formulas of their own, written with loops where that is clearer."""

import math

import torch

from vlmgrader.checks import Check, with_hidden

UPSIDE_DOWN = "the mask is upside down: True means may attend."
TRANSPOSED = "that is the transpose: rows are queries, columns are keys."


def number(generator, low, high):
    """An integer, low <= n <= high."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def normal(generator, *shape):
    return torch.randn(*shape, generator=generator)


# 1. Attention in pieces.


def scores_of(q, k, scale=None):
    return torch.einsum("bhqd,bhkd->bhqk", q, k) * (q.shape[-1] ** -0.5 if scale is None else scale)


def probabilities(q, k, mask, scale=None, axis=-1):
    """Softmax over the allowed keys, by hand; empty rows are zero."""
    weights = scores_of(q, k, scale).masked_fill(~mask, -math.inf)
    largest = weights.amax(axis, keepdim=True).detach().nan_to_num(neginf=0.0)
    weights = (weights - largest).exp()
    return weights / weights.sum(axis, keepdim=True).clamp(min=1e-30)


def attention(q, k, v, mask, scale=None, axis=-1):
    return probabilities(q, k, mask, scale, axis) @ v


def log_sums(q, k, mask, scale=None):
    """In double precision, by hand: minus infinity for empty rows."""
    scores = scores_of(q, k, scale).double()
    largest = scores.amax(-1, keepdim=True)
    return ((scores - largest).exp() * mask).sum(-1).log().add(largest[..., 0]).float()


def partial(q, k, v, mask, scale=None, axis=-1):
    return [attention(q, k, v, mask, scale, axis), log_sums(q, k, mask, scale)]


def late_mask(q, k, v, mask):
    return (probabilities(q, k, torch.ones_like(mask)) * mask) @ v


def leaking(q, k, v, mask):
    """What adding a huge negative number to all forbidden scores gives."""
    weights = probabilities(q, k, mask)
    return torch.where(mask.any(-1, keepdim=True), weights, 1 / k.shape[2]) @ v


def nan_rows(q, k, v, mask):
    empty = ~mask.any(-1, keepdim=True)
    return attention(q, k, v, mask).masked_fill(empty, math.nan)


def zeros_in(q, k, v, mask):
    """Forbidden scores set to 0 before the softmax instead of being left out."""
    return (scores_of(q, k) * mask).softmax(-1) @ v


def qkv(generator, empty):
    B, H, Q, K, D = (
        number(generator, 1, 2),
        number(generator, 1, 3),
        number(generator, 3, 5),
        number(generator, 4, 6),
        number(generator, 3, 7),
    )
    mask = torch.rand(B, 1, Q, K, generator=generator) < 0.5
    rows = torch.arange(Q) % 2 == 0
    mask[..., 0], mask[..., -1] = True, False  # rows hold something, and not everything
    mask[:, :, 1, :-1], mask[:, :, 0, -1], mask[:, :, 0, 1] = True, True, False  # columns too
    if empty:
        mask[:, :, rows] = False
    return [
        normal(generator, B, H, Q, D),
        normal(generator, B, H, K, D),
        normal(generator, B, H, K, D),
        mask,
    ], {}


def large(generator):
    """Scores above 88, whose exponentials are infinite; a mask of two axes; empty rows."""
    (q, k, v, mask), _ = qkv(generator, True)
    q[..., 0] = 16 + 2 * torch.rand(q.shape[:3], generator=generator)
    k[..., 0] = 16 + 2 * torch.rand(k.shape[:3], generator=generator)
    return [q, k, v, mask[0, 0]], {}


def low(generator):
    """Allowed keys have far lower scores than forbidden ones."""
    (q, k, v, mask), _ = qkv(generator, False)
    mask = mask[:, :, :1].expand_as(mask).clone()
    q[..., 0] = 20
    k[..., 0] = torch.where(mask[:, :, 0], -20.0, 20.0)
    return [q, k, v, mask], {}


def everything(generator):
    (q, k, v, mask), _ = qkv(generator, False)
    return [q, k, v, torch.ones_like(mask)], {}


def with_sums(wrong):
    """A wrong result beside the right log-sums."""
    return lambda q, k, v, m: [wrong(q, k, v, m), log_sums(q, k, m)]


FORMULA = [
    (
        lambda q, k, v, m: partial(q, k, v, m, scale=1.0),
        "the scores are not scaled: divide them by the square root of the width D.",
    ),
    (
        lambda q, k, v, m: partial(q, k, v, m, scale=1 / q.shape[-1]),
        "the scores are divided by D: it is the square root of D.",
    ),
    (
        lambda q, k, v, m: partial(q, k, v, m, scale=k.shape[2] ** -0.5),
        "the scores are divided by the square root of the number of keys: it is that of the width D, the last axis of q.",
    ),
    (
        with_sums(lambda q, k, v, m: attention(q, k, v, m, axis=-2)),
        "the softmax runs over the queries: each query's weights over the keys sum to one.",
    ),
    (
        lambda q, k, v, m: partial(q, k, v, m, scale=q.shape[-1] ** 0.5),
        "the scores are multiplied by the square root of D: divide.",
    ),
    (
        lambda q, k, v, m: [attention(q, k, v, m), log_sums(q, k, m).exp()],
        "that is the sum: its logarithm is wanted. The sum itself overflows for large scores.",
    ),
    (
        lambda q, k, v, m: [
            attention(q, k, v, m),
            scores_of(q, k).masked_fill(~m, -math.inf).amax(-1),
        ],
        "that is the largest score: the logarithm of the sum over all allowed keys is wanted.",
    ),
]
MASKED = [
    (lambda q, k, v, m: partial(q, k, v, ~m), UPSIDE_DOWN),
    (
        lambda q, k, v, m: [late_mask(q, k, v, m), log_sums(q, k, torch.ones_like(m))],
        "the mask comes after the softmax, so what is left of a row doesn't sum to one: mask the scores, before.",
    ),
    (
        with_sums(late_mask),
        "the mask comes after the softmax, so what is left of a row doesn't sum to one: mask the scores, before.",
    ),
    (
        lambda q, k, v, m: [zeros_in(q, k, v, m), (scores_of(q, k) * m).logsumexp(-1)],
        "forbidden scores are set to 0, and exp(0) = 1 is a weight like others: set them to minus infinity.",
    ),
    (lambda q, k, v, m: partial(q, k, v, torch.ones_like(m)), "the mask is not used."),
    (
        lambda q, k, v, m: [attention(q, k, v, m), log_sums(q, k, torch.ones_like(m))],
        "the log-sum counts forbidden keys: it runs over the allowed ones, as the result does.",
    ),
]
EMPTY = [
    (with_sums(nan_rows), "empty rows are NaN, 0 / 0: their result must be exactly zero."),
    (
        lambda q, k, v, m: [
            leaking(q, k, v, m),
            scores_of(q, k).masked_fill(~m, torch.finfo(torch.float32).min).logsumexp(-1),
        ],
        "an empty row attends to all keys evenly: a huge negative number added to all scores of a row changes nothing. "
        "Its result must be exactly zero.",
    ),
    (
        with_sums(lambda q, k, v, m: attention(q, k, v, m | ~m.any(-1, keepdim=True))),
        "an empty row attends to everything: its result must be exactly zero.",
    ),
    (
        lambda q, k, v, m: [
            attention(q, k, v, m),
            log_sums(q, k, m | ~m.any(-1, keepdim=True)),
        ],
        "the log-sum of an empty row is that of a full one, so the part would count when parts are joined: minus infinity.",
    ),
    (
        lambda q, k, v, m: [attention(q, k, v, m), log_sums(q, k, m).nan_to_num(neginf=0.0)],
        "the log-sum of an empty row is 0, that of a sum of 1: the sum of nothing is 0, and its logarithm minus infinity.",
    ),
    *[
        (
            lambda q, k, v, m, low=low: [
                attention(q, k, v, m),
                scores_of(q, k).masked_fill(~m, low).logsumexp(-1),
            ],
            "the log-sum of an empty row is a large negative number: minus infinity is wanted.",
        )
        for low in (-1e9, -1e30, torch.finfo(torch.float32).min)
    ],
]


def parts_of(generator, empty=True, loud=False):
    """Keys in parts: a query may be empty in one part, or in all."""
    (q, k, v, mask), _ = large(generator) if loud else qkv(generator, empty)
    mask = mask.expand(len(q), 1, *mask.shape[-2:]).clone()
    mask[:, :, -1] = False
    mask[:, :, -1, -1] = True  # empty in all parts but the last
    return [q, k, v, mask, number(generator, 1, k.shape[2] - 2)], {}


def pieces(q, k, v, mask, cut):
    """What `combine` is given: results and log-sums of two parts of the keys."""
    keys = slice(0, cut), slice(cut, None)
    parts = [partial(q, k[:, :, s], v[:, :, s], mask[..., s]) for s in keys]
    return [torch.stack(side) for side in zip(*parts)]


def to_combine(generator):
    return pieces(*parts_of(generator)[0]), {}


def loud_pieces(generator):
    return pieces(*parts_of(generator, loud=True)[0]), {}


def three_pieces(generator):
    """Three parts, one of which holds no allowed key for anybody."""
    results, sums = pieces(*parts_of(generator)[0])
    return [
        torch.cat([results, torch.zeros_like(results[:1])]),
        torch.cat([sums, torch.full_like(sums[:1], -math.inf)]),
    ], {}


def combined(results, sums):
    """By hand, in double precision."""
    largest = sums.amax(0).nan_to_num(neginf=0.0)
    weights = (sums - largest).double().exp()
    total = weights.sum(0).clamp(min=1e-30)
    return ((weights / total)[..., None] * results.double()).sum(0).float()


def shared(results, sums, weights):
    return (weights[..., None] * results).sum(0)


def largest_part(results, sums):
    best = sums.argmax(0)[None, ..., None].expand_as(results[:1])
    return results.gather(0, best)[0]


COMBINED = [
    (
        lambda *a: [combined(*a), False],
        "the gradient is NaN: give queries that are empty in all parts finite numbers.",
    ),
    (
        lambda r, s: [combined(r, s).masked_fill(s.isneginf().all(0)[..., None], math.nan), False],
        "a query that may attend to nothing in any part is NaN: its result must be zero.",
    ),
    *[
        ((lambda r, s, wrong=wrong: [wrong(r, s), True]), message)
        for wrong, message in [
            (
                lambda r, s: r.mean(0),
                "the parts' results are averaged: each counts by its log-sum.",
            ),
            (lambda r, s: r.sum(0), "the parts' results are summed: their shares must sum to one."),
            (
                lambda r, s: shared(r, s, s.exp()),
                "the shares don't sum to one: divide by the sum over the parts.",
            ),
            (
                lambda r, s: shared(
                    r, s, s.masked_fill(s.isneginf().all(0), 0.0).softmax(-1).nan_to_num(0.0)
                ),
                "the shares of the queries sum to one: those of the parts must, axis 0.",
            ),
            (
                lambda r, s: shared(r, s, s.nan_to_num(neginf=0.0)),
                "the log-sums themselves are the shares: the sums count, which are their exponentials.",
            ),
            (
                largest_part,
                "only the part with the largest log-sum counts: each part has its share.",
            ),
        ]
    ],
]
COMBINE = """
import torch
def run(combine, results, sums):
    results, sums = (x.clone().requires_grad_() for x in (results, sums))
    joined = combine(results, sums)
    joined.square().sum().backward()
    return [joined, *[torch.zeros_like(x) if x.grad is None else x.grad for x in (results, sums)]]
"""
JOINED = """
def read(got, results, sums):
    joined, *gradients = got
    return [joined, all(bool(g.isfinite().all()) for g in gradients)]
"""
GRADIENT = """
import torch
def run(partial_attention, q, k, v, mask):
    q, k, v = (x.clone().requires_grad_() for x in (q, k, v))
    result, log_sum = partial_attention(q, k, v, mask)
    some = mask.any(-1).expand_as(log_sum)
    (result.square().sum() + log_sum[some].sum()).backward()
    return [torch.zeros_like(x) if x.grad is None else x.grad for x in (q, k, v)]
"""
FINITE = """
import torch
def read(sent, q, k, v, mask):
    finite = all(bool(g.isfinite().all()) for g in sent)
    return [finite, *[g if finite else torch.zeros_like(g) for g in sent]]
"""


def gradient(q, k, v, mask, result=attention, with_sum=True):
    q, k, v = (x.clone().requires_grad_() for x in (q, k, v))
    loss = result(q, k, v, mask).square().sum()
    if with_sum:
        sums = scores_of(q, k).masked_fill(~mask, -1e9).logsumexp(-1)
        loss = loss + sums[mask.any(-1).expand_as(sums)].sum()
    return [True, *torch.autograd.grad(loss, (q, k, v))]


GRADIENTS = [
    (
        lambda q, k, v, m: [False, *map(torch.zeros_like, (q, k, v))],
        "the gradient is NaN: what goes through a softmax of nothing but minus infinity can't be repaired afterwards. Give "
        "empty rows finite scores, and replace their weights and log-sums after the softmax.",
    ),
    (
        lambda *a: gradient(*a, with_sum=False),
        "no gradient reaches the inputs through the log-sum: compute it with PyTorch, from the scores.",
    ),
    (
        lambda *a: gradient(*a, leaking),
        "the gradient says that empty rows attend to everything.",
    ),
]


# 2. From a sentence to a mask.


def grid(rows, columns, allowed):
    return torch.tensor([[bool(allowed(q, k)) for k in range(columns)] for q in range(rows)])


def causal(length):
    return grid(length, length, lambda q, k: k <= q)


def frames(count, size):
    return grid(count * size, count * size, lambda q, k: k // size <= q // size)


def window(length, size):
    return grid(length, length, lambda q, k: q - size < k <= q)


def examples(shots, size, question):
    first, length = shots * size, shots * size + question
    return grid(length, length, lambda q, k: k <= q and (q >= first or k // size == q // size))


def mixed(image):
    of = image.tolist()
    return grid(len(of), len(of), lambda q, k: k <= q or of[k] == of[q] > 0)


def flipped(right, extra=()):
    """The two mistakes any mask can have, and its own."""
    return [
        (lambda *sizes: ~right(*sizes), UPSIDE_DOWN),
        (lambda *sizes: right(*sizes).T.contiguous(), TRANSPOSED),
        *extra,
    ]


def marked(generator):
    """Texts and images in turn; two images may touch."""
    parts = [0, 1, 1, 1, 0, 2, 2] if number(generator, 0, 1) else [1, 1, 0, 0, 2, 2, 2, 0]
    return [torch.tensor(parts)], {}


def many_images(generator):
    numbers = [0] * number(generator, 0, 2)
    for image in range(1, number(generator, 3, 4)):
        numbers += [image] * number(generator, 1, 3) + [0] * number(generator, 0, 2)
    return [torch.tensor(numbers)], {}


MASKS = [
    Check(
        "frames(number, size)",
        1,
        "frames",
        lambda g: ([number(g, 2, 3), number(g, 2, 4)], {}),
        frames,
        flipped(
            frames,
            [
                (
                    lambda n, s: causal(n * s),
                    "that is causal: a token must also attend to the later tokens of its own frame; they share one level.",
                ),
                (
                    lambda n, s: grid(n * s, n * s, lambda q, k: k // s == q // s),
                    "tokens attend to their own frame only: earlier frames count too.",
                ),
                (
                    lambda n, s: grid(n * s, n * s, lambda q, k: k % s <= q % s),
                    "the remainder of the division numbers the places in a frame: the quotient, //, numbers the frames.",
                ),
                (
                    lambda n, s: grid(n * s, n * s, lambda q, k: k // s < q // s or k == q),
                    "a token doesn't attend to the other tokens of its own frame.",
                ),
                (
                    lambda n, s: grid(n * s, n * s, lambda q, k: k // n <= q // n),
                    "the positions are divided by the number of frames: divide by the size of a frame.",
                ),
            ],
        ),
    ),
    Check(
        "window(length, size)",
        1,
        "window",
        lambda g: ([number(g, 6, 8), number(g, 2, 4)], {}),
        window,
        flipped(
            window,
            [
                (
                    lambda n, s: causal(n),
                    "that is causal: tokens that are size or more positions back must be left out.",
                ),
                (
                    lambda n, s: window(n, s + 1),
                    "the window is one token too long: it has `size` tokens, the token itself included.",
                ),
                (lambda n, s: window(n, s - 1), "the window is one token too short."),
                (
                    lambda n, s: grid(n, n, lambda q, k: abs(q - k) < s),
                    "tokens attend to the future: the window reaches back only.",
                ),
                (
                    lambda n, s: grid(n, n, lambda q, k: k // s == q // s and k <= q),
                    "the sequence is cut into blocks: the window moves along with each token.",
                ),
            ],
        ),
    ),
    Check(
        "examples(shots, size, question)",
        1,
        "examples",
        lambda g: ([number(g, 2, 3), number(g, 2, 3), number(g, 4, 5)], {}),
        examples,
        flipped(
            examples,
            [
                (
                    lambda n, s, t: causal(n * s + t),
                    "examples attend to each other: a token of an example attends to its own example only.",
                ),
                (
                    lambda n, s, t: grid(
                        n * s + t,
                        n * s + t,
                        lambda q, k: q >= n * s or (k <= q and k // s == q // s),
                    ),
                    "the question attends to its own future.",
                ),
                (
                    lambda n, s, t: grid(
                        n * s + t,
                        n * s + t,
                        lambda q, k: k <= q and min(k // s, n) == min(q // s, n),
                    ),
                    "the question doesn't attend to the examples.",
                ),
                (
                    lambda n, s, t: grid(
                        n * s + t,
                        n * s + t,
                        lambda q, k: (k <= q) if q >= n * s else k // s == q // s,
                    ),
                    "the tokens of an example attend to later tokens of it: each to itself and to earlier ones.",
                ),
                (
                    lambda n, s, t: grid(
                        n * s + t,
                        n * s + t,
                        lambda q, k: k <= q and (k // s == q // s or k < n * s <= q),
                    ),
                    "the question falls into pieces of an example's size: it is one group, however long it is.",
                ),
                (
                    lambda n, s, t: examples(n, s, t) & ~torch.eye(n * s + t, dtype=torch.bool),
                    "a token must attend to itself.",
                ),
            ],
        ),
    ),
    Check(
        "mixed(image)",
        1,
        "mixed",
        marked,
        mixed,
        flipped(
            mixed,
            [
                (
                    lambda i: causal(len(i)),
                    "that is causal: a token of an image must also attend to later tokens of the same image.",
                ),
                (
                    lambda i: causal(len(i)) | (i[None] == i[:, None]),
                    "text attends to later text: all text has the number 0, but that makes it no image.",
                ),
                (
                    lambda i: grid(len(i), len(i), lambda q, k: k <= q or (i[q] > 0 and i[k] > 0)),
                    "an image attends to later images: the numbers of both tokens must be equal.",
                ),
                (
                    lambda i: grid(len(i), len(i), lambda q, k: i[k] == i[q] > 0),
                    "only the images are there: every token also attends to itself and to all earlier tokens.",
                ),
                (
                    lambda i: causal(len(i)) & ((i[None] == i[:, None]) | (i == 0)[:, None]),
                    "tokens of an image don't attend to the text before them: join the two rules by |, not by &.",
                ),
                (
                    lambda i: grid(len(i), len(i), lambda q, k: k <= q or i[q] > 0),
                    "a token of an image attends to everything: to later tokens of the same image only.",
                ),
            ],
        ),
    ),
]


# 3. Captioned images, packed.


def laid_out(prefixes, captions, total):
    """For each position: (document, place in it, is it a caption token?); padding has document -1."""
    tokens = [
        (number_, place, place >= prefix)
        for number_, (prefix, caption) in enumerate(zip(prefixes, captions))
        for place in range(prefix + caption)
    ]
    return tokens + [(-1, 0, False)] * (total - len(tokens))


def packed(prefixes, captions, total, sees=lambda q, k: not k[2] or (q[2] and k[1] <= q[1])):
    tokens = laid_out(prefixes, captions, total)
    return grid(
        total,
        total,
        lambda q, k: tokens[q][0] == tokens[k][0] >= 0 and sees(tokens[q], tokens[k]),
    )


def positions(prefixes, captions, total):
    return torch.tensor([place for _, place, _ in laid_out(prefixes, captions, total)])


def predicted(prefixes, captions, total):
    return torch.tensor(
        [caption and place > 0 for _, place, caption in laid_out(prefixes, captions, total)]
    )


def unseparated(prefixes, captions, total):
    """As if all documents were one."""
    tokens = laid_out(prefixes, captions, total)
    real = sum(prefixes) + sum(captions)
    return grid(
        total,
        total,
        lambda q, k: max(q, k) < real and (not tokens[k][2] or (tokens[q][2] and k <= q)),
    )


def pack_inputs(generator):
    """Each document has two image vectors or more, but one that has none."""
    count = number(generator, 2, 3)
    prefixes = [number(generator, 2, 3) for _ in range(count)]
    prefixes[number(generator, 1, count - 1)] = 0
    captions = [number(generator, 2, 3) for _ in range(count)]
    return [prefixes, captions, sum(prefixes) + sum(captions) + 2], {}


def alike(generator):
    """Documents of one shape, no padding, captions of one token."""
    prefix, caption = number(generator, 1, 3), number(generator, 1, 2)
    count = number(generator, 2, 3)
    return [[prefix] * count, [caption] * count, count * (prefix + caption)], {}


def alone(generator):
    """A single document, which may have no image; much padding."""
    prefix = number(generator, 0, 2)
    return [[prefix], [3], 3 + prefix + number(generator, 3, 4)], {}


def part(index):
    """A driver that returns one of the three tensors."""
    return f"def run(pack, prefixes, captions, total):\n    return pack(prefixes, captions, total)[{index}]\n"


PACK = [
    Check(
        "mask",
        2,
        "pack",
        pack_inputs,
        packed,
        [
            (lambda *a: ~packed(*a), UPSIDE_DOWN),
            (lambda *a: packed(*a).T.contiguous(), TRANSPOSED),
            (
                unseparated,
                "documents attend to each other: also compare which document a position belongs to.",
            ),
            (
                lambda *a: packed(*a) & causal(a[2]),
                "image vectors attend only to earlier ones: all image vectors of a document attend to each other.",
            ),
            (
                lambda *a: packed(*a, sees=lambda q, k: True),
                "captions attend to their own future, or image vectors to the caption: levels must grow along the caption.",
            ),
            (
                lambda *a: packed(*a, sees=lambda q, k: q[2] or not k[2]),
                "captions attend to their own future: levels must grow along the caption.",
            ),
            (
                lambda *a: packed(*a, sees=lambda q, k: not q[2] or not k[2] or k[1] <= q[1]),
                "image vectors attend to the caption, which is the answer: the caption's levels are above theirs.",
            ),
            (
                lambda *a: packed(
                    *a, sees=lambda q, k: (k[2] == q[2]) and (not q[2] or k[1] <= q[1])
                ),
                "the caption doesn't attend to the image vectors: then it can't depend on the image.",
            ),
            (
                lambda p, c, n: (
                    packed(p, c, n)
                    | grid(
                        n,
                        n,
                        lambda q, k: min(q, k) >= sum(p) + sum(c),
                    )
                ),
                "padding attends to padding: it belongs to no document; its rows and columns are empty.",
            ),
            (
                lambda p, c, n: (
                    packed(p, c, n) | grid(n, n, lambda q, k: sum(p) + sum(c) <= k <= q)
                ),
                "padding attends to padding: it belongs to no document; its rows and columns are empty.",
            ),
            (
                lambda *a: packed(*a, sees=lambda q, k: not k[2] or (q[2] and k[1] < q[1])),
                "a caption token must attend to itself.",
            ),
        ],
        driver=part(0),
    ),
    Check(
        "position",
        1,
        "pack",
        pack_inputs,
        positions,
        [
            (
                lambda p, c, n: torch.arange(n) * (torch.arange(n) < sum(p) + sum(c)),
                "positions count on across documents: each document starts at 0, or it would give another result when packed.",
            ),
            (
                lambda p, c, n: torch.arange(n),
                "positions count on across documents: each document starts at 0, or it would give another result when packed.",
            ),
            (
                lambda p, c, n: torch.tensor(
                    [t[1] for t in laid_out(p, c, n) if t[0] >= 0]
                    + list(range(n - sum(p) - sum(c)))
                ),
                "padding counts up: its position is 0.",
            ),
            (
                lambda p, c, n: torch.tensor([t[1] + (t[0] >= 0) for t in laid_out(p, c, n)]),
                "positions start at 1: count from 0.",
            ),
            (
                lambda p, c, n: torch.tensor([t[0] for t in laid_out(p, c, n)]),
                "these are the numbers of the documents: the places in them are wanted.",
            ),
            (
                lambda p, c, n: torch.tensor(
                    [
                        t[1] - p[t[0]] if t[2] else t[1] if t[0] >= 0 else 0
                        for t in laid_out(p, c, n)
                    ]
                ),
                "the caption starts at 0 again: it goes on after its image vectors.",
            ),
        ],
        driver=part(1),
    ),
    Check(
        "loss_mask",
        1,
        "pack",
        pack_inputs,
        predicted,
        [
            (
                lambda p, c, n: torch.tensor([t[2] for t in laid_out(p, c, n)]),
                "the first position of a document is predicted, but nothing in its document precedes it.",
            ),
            (
                lambda p, c, n: torch.tensor([t[0] >= 0 and t[1] > 0 for t in laid_out(p, c, n)]),
                "image vectors are predicted: they are inputs, and no token stands there.",
            ),
            (
                lambda p, c, n: torch.tensor([t[2] and t[1] > p[t[0]] for t in laid_out(p, c, n)]),
                "the first token of a caption is left out: the last image vector predicts it, if there is an image.",
            ),
            (
                lambda p, c, n: torch.tensor(
                    [t[0] < 0 or (t[2] and t[1] > 0) for t in laid_out(p, c, n)]
                ),
                "padding is predicted.",
            ),
            (
                lambda p, c, n: torch.arange(n) > 0,
                "image vectors and padding are predicted: caption tokens only.",
            ),
            (
                lambda *a: ~predicted(*a),
                "it is upside down: True means that the token is predicted.",
            ),
        ],
        driver=part(2),
    ),
]


# 4. The last few images before each token, in a batch.


def recent(
    is_image, images, per_image, most, sees=lambda image, n, most: n - most < image <= n, own=True
):
    rows = []
    for marks in is_image.tolist():
        count, table = 0, []
        for mark in marks:
            now = count + mark
            table.append(
                [
                    sees(key // per_image + 1, now if own else count, most)
                    for key in range(images * per_image)
                ]
            )
            count = now
        rows.append(table)
    return torch.tensor(rows)


def image_inputs(generator):
    """Four images in the first row, one or two in the second."""
    T, per_image = number(generator, 9, 10), number(generator, 2, 3)
    is_image = torch.zeros(2, T, dtype=torch.bool)
    is_image[0, [1, 3, 4, 7]] = True
    is_image[1, number(generator, 2, 3)] = True
    is_image[1, 0] = number(generator, 0, 1) == 1
    return [is_image, number(generator, 5, 6), per_image, 2], {}


def last_only(generator):
    """Flamingo's own case: one image."""
    (is_image, images, per_image, _), _ = image_inputs(generator)
    return [is_image, images, per_image, 1], {}


def all_of_them(generator):
    """More than there are: all images so far. A row without any image; other sizes."""
    is_image = torch.zeros(3, number(generator, 5, 9), dtype=torch.bool)
    is_image[0, [0, 1, 2]] = True
    is_image[1, [1, -1]] = True
    return [is_image, number(generator, 3, 5), number(generator, 1, 4), number(generator, 3, 9)], {}


def by_column(is_image, images, per_image, most):
    """Keys numbered 1 2 3 1 2 3 instead of 1 1 2 2 3 3."""
    order = [key % images * per_image for key in range(images * per_image)]
    return recent(is_image, images, per_image, most)[:, :, order]


def counted(phi, images, per_image, most):
    """From any phi (B, T)."""
    of = torch.arange(images * per_image) // per_image + 1
    return (of <= phi[..., None]) & (of > phi[..., None] - most)


FROM_ZERO = (
    "images are numbered from 0, so text before the first image attends to it: number them from 1."
)
IMAGE_MISTAKES = [
    (lambda *a: ~recent(*a), UPSIDE_DOWN),
    (
        lambda *a: recent(*a, sees=lambda image, n, most: image <= n),
        "tokens attend to all images so far: to the last `most` only.",
    ),
    (
        lambda *a: recent(*a, sees=lambda image, n, most: image == n),
        "tokens attend to the last image only: `most` says how many.",
    ),
    (
        lambda *a: recent(*a, sees=lambda image, n, most: n - most <= image <= n),
        "one image too many: with phi images so far, the last `most` are those above phi - most.",
    ),
    (lambda *a: recent(*a, sees=lambda image, n, most: n - most < image - 1 <= n), FROM_ZERO),
    (
        lambda *a: recent(*a, sees=lambda image, n, most: n <= image < n + most),
        "tokens attend to images still to come: the images before them are wanted.",
    ),
    (
        lambda *a: recent(*a, sees=lambda image, n, most: image <= min(n, most)),
        "tokens attend to the first images: the last ones are wanted.",
    ),
    (
        lambda *a: recent(*a, own=False),
        "an image token doesn't attend to its own image: count image tokens up to and including the token.",
    ),
    (
        lambda *a: counted(a[0].long().cumsum(1).clamp(min=1), *a[1:]),
        "text before the first image attends to image 1: there phi is 0, and 0 matches no image.",
    ),
    (
        by_column,
        "the keys are numbered 1 2 3 1 2 3: the visual tokens of one image stand together, 1 1 2 2 3 3.",
    ),
    (
        lambda t, *a: counted(t.long().flatten().cumsum(0).view_as(t), *a),
        "the count runs on from row to row of the batch: count along the tokens, axis 1.",
    ),
    (
        lambda t, *a: counted(t.long().cumsum(0), *a),
        "the count runs down the batch: count along the tokens, axis 1.",
    ),
]
IMAGES = [
    Check(
        "the last two images",
        2,
        "recent_images",
        image_inputs,
        recent,
        IMAGE_MISTAKES,
    ),
    Check(
        "any number of images",
        1,
        "recent_images",
        lambda g: ([*image_inputs(g)[0][:3], 3], {}),
        recent,
        IMAGE_MISTAKES,
    ),
    Check(
        "text before the first image",
        1,
        "recent_images",
        image_inputs,
        lambda t, *a: recent(torch.cat([t[:, :2] & False, t], 1), *a),
        [
            (
                lambda t, *a, wrong=wrong: wrong(torch.cat([t[:, :2] & False, t], 1), *a),
                message,
            )
            for wrong, message in [
                *IMAGE_MISTAKES,
                (
                    lambda t, *a: recent(t, *a) | (t.long().cumsum(1) == 0)[..., None],
                    "text before the first image attends to every image: its rows must be empty.",
                ),
            ]
        ],
        driver="""
import torch
def run(recent_images, is_image, images, per_image, most):
    later = torch.cat([torch.zeros_like(is_image[:, :2]), is_image], dim=1)
    return recent_images(later, images, per_image, most)
""",
    ),
]


# 5. Fewer key heads than query heads.


def head_of(x, heads):
    width = x.shape[2] // heads
    return torch.stack([x[:, :, head * width : (head + 1) * width] for head in range(heads)], 1)


def every_nth(x, heads):
    return torch.stack([x[:, :, head::heads] for head in range(heads)], 1)


def grouped(
    x,
    context,
    query,
    key,
    value,
    out,
    heads,
    key_heads,
    mask,
    scale=None,
    split=head_of,
    group=lambda head, heads, key_heads: head // (heads // key_heads),
):
    q = split(x @ query.T, heads)
    k, v = split(context @ key.T, key_heads), split(context @ value.T, key_heads)
    used = [group(head, heads, key_heads) for head in range(heads)]
    mixed_heads = attention(q, k[:, used], v[:, used], mask, scale)
    return torch.cat(list(mixed_heads.unbind(1)), -1) @ out.T


def grouped_inputs(generator, heads=None, key_heads=None):
    key_heads = key_heads or number(generator, 2, 3)
    heads = heads or key_heads * number(generator, 2, 3)
    width, Q, K = number(generator, 3, 5), number(generator, 3, 4), number(generator, 5, 6)
    D = heads * width
    mask = torch.rand(2, 1, Q, K, generator=generator) < 0.6
    mask[..., 0], mask[..., -1] = True, False
    matrices = [
        normal(generator, rows, D) / D**0.5 for rows in (D, key_heads * width, key_heads * width, D)
    ]
    return [
        normal(generator, 2, Q, D),
        normal(generator, 2, K, D),
        *matrices,
        heads,
        key_heads,
        mask,
    ], {}


def reshaped(x, heads):
    """A plain reshape, which mixes tokens."""
    return x.reshape(len(x), heads, x.shape[1], -1)


GROUPED = [
    (
        lambda *a: grouped(*a, group=lambda head, heads, key_heads: head % key_heads),
        "the key heads are dealt out in turn, 0 1 0 1: neighbouring query heads share one, 0 0 1 1.",
    ),
    (
        lambda *a: grouped(*a, group=lambda head, heads, key_heads: 0),
        "all query heads use the first key head.",
    ),
    (
        lambda *a: grouped(*a, scale=a[0].shape[-1] ** -0.5),
        "the scores are divided by the square root of the whole width D: each head has its own, d.",
    ),
    (
        lambda *a: grouped(*a, split=every_nth),
        "heads take every h-th feature: each takes a block of neighbours.",
    ),
    (
        lambda *a: grouped(*a, split=reshaped),
        "tokens are mixed up: a plain reshape cuts the sequence. Cut the width, then exchange two axes.",
    ),
    (
        lambda x, c, q, k, v, o, *r: grouped(x, c, q, k, v, torch.eye(len(q)), *r),
        "the last matrix, `out`, is missing.",
    ),
    (
        lambda x, c, q, k, v, o, *r: grouped(x, c, q, v, k, o, *r),
        "keys and values are exchanged.",
    ),
    (
        lambda x, c, q, k, v, o, *r: grouped(x, c, q, k, k, o, *r),
        "the keys serve as values.",
    ),
    (lambda *a: grouped(*a[:-1], torch.ones_like(a[-1])), "the mask is not used."),
    (lambda *a: grouped(*a[:-1], ~a[-1]), UPSIDE_DOWN),
    (
        lambda x, c, *r: grouped(x, x, *r[:-1], r[-1][..., : x.shape[1]]),
        "keys and values are made of x: they come from the context.",
    ),
    (
        lambda x, c, q, k, v, o, *r: grouped(x, c, q.T, k, v, o.T, *r),
        "the matrices are applied the wrong way round: x @ W.T, as nn.Linear does.",
    ),
]


def cache_inputs(generator):
    return [
        number(generator, 3, 40),
        number(generator, 50, 900),
        number(generator, 3, 9),
        number(generator, 16, 128),
    ], {}


HEADS = [
    Check("grouped_attention(...)", 2, "grouped_attention", grouped_inputs, grouped, GROUPED),
    Check(
        "one key head for all query heads",
        1,
        "grouped_attention",
        lambda g: grouped_inputs(g, number(g, 2, 4), 1),
        grouped,
        GROUPED,
    ),
    Check(
        "cache_numbers(...)",
        1,
        "cache_numbers",
        cache_inputs,
        lambda layers, tokens, heads, width: 2 * layers * tokens * heads * width,
        [
            (
                lambda layers, tokens, heads, width: layers * tokens * heads * width,
                "keys or values are missing: both are cached.",
            ),
            (
                lambda layers, tokens, heads, width: 2 * tokens * heads * width,
                "that is one layer: each layer has a cache of its own.",
            ),
            (
                lambda layers, tokens, heads, width: 2 * layers * heads * width,
                "that is one token.",
            ),
            (
                lambda layers, tokens, heads, width: 2 * layers * tokens * width,
                "that is one key head.",
            ),
            (
                lambda layers, tokens, heads, width: 2 * layers * tokens * heads,
                "each head holds head_width numbers for a token.",
            ),
            (
                lambda layers, tokens, heads, width: 2 * layers * tokens**2 * heads * width,
                "keys and values are stored once a token, not once a pair of tokens.",
            ),
            (
                lambda layers, tokens, heads, width: 3 * layers * tokens * heads * width,
                "queries aren't cached: only keys and values.",
            ),
        ],
    ),
]


# 6. A cache of bounded size.


def whole(x, query, key, value, window_size, mask=None):
    """Attention of one head over the whole text, (B, T, D)."""
    mask = window(x.shape[1], window_size) if mask is None else mask
    q, k, v = (x @ matrix.T for matrix in (query, key, value))
    return attention(q[:, None], k[:, None], v[:, None], mask[None, None])[:, 0]


def stream_inputs(generator, B=2, D=4, size=None):
    T = number(generator, 8, 9)
    return [
        normal(generator, B, T, D),
        *[normal(generator, D, D) for _ in range(3)],
        size or number(generator, 4, 5),
    ], {}


def chunk_inputs(generator, size=None):
    """Calls of several tokens: the first is longer than the window, a later one has two or three tokens."""
    args, _ = stream_inputs(generator, size=size)
    first = number(generator, 4, 5)
    return [*args, [first, 2, args[0].shape[1] - first - 2]], {}


STEPS = """
import torch
def run(step, x, query, key, value, window, lengths=None):
    cache, results, stored = None, [], []
    for part in x.split(lengths or 1, dim=1):
        result, cache = step(part, query, key, value, cache, window)
        results.append(result)
        stored.append([cache[0].shape[1], cache[1].shape[1]])
    return [torch.cat(results, dim=1), stored]
"""
RESULT = "def read(got, *inputs): return got[0]\n"
STORED = """
import torch
def read(got, x, query, key, value, window, lengths):
    result, stored = got
    return [max(map(max, stored)) <= window - 1, result.shape == x.shape and bool((result != 0).any())]
"""
TWO_STREAMS = """
import torch
def run(step, x, query, key, value, window):
    def stream(x):
        cache, results = None, []
        for part in x.split(1, dim=1):
            result, cache = step(part, query, key, value, cache, window)
            results.append(result)
        return torch.cat(results, dim=1)
    stream(x.flip(1))
    one = stream(x)
    stream(x.neg())
    return [one, stream(x)]
"""
SAME = """
import torch
def read(streams, x, *rest):
    one, two = streams
    same = one.shape == two.shape and bool(torch.allclose(one, two, atol=1e-4))
    return [same, two if same else torch.zeros_like(x)]
"""


def with_mask(allowed):
    """Attention over the whole text with a mask by (query, key, window, lengths)."""
    return lambda x, q, k, v, w, *cut: whole(
        x, q, k, v, w, grid(x.shape[1], x.shape[1], lambda a, b: allowed(a, b, w, *cut))
    )


def call_of(token, lengths):
    """The place of the first token of the call in which a token is computed."""
    start = 0
    for length in lengths:
        if token < start + length:
            return start
        start += length
    return start


def length_of(token, lengths):
    """The number of tokens of the call in which a token is computed."""
    return next(n for i, n in enumerate(lengths) if token < sum(lengths[: i + 1]))


CACHE_MISTAKES = [
    (
        with_mask(lambda q, k, *_: k <= q),
        "every token attends to the whole past: to the last W tokens only.",
    ),
    (
        with_mask(lambda q, k, w, *_: q - w - 1 < k <= q),
        "the window is one token too long: with itself, a token attends to W tokens.",
    ),
    (
        with_mask(lambda q, k, w, *_: q - w + 1 < k <= q),
        "the window is one token too short: with itself, a token attends to W tokens.",
    ),
    (
        with_mask(lambda q, k, *_: k == q),
        "each token attends only to itself: the cache is not used, or not returned.",
    ),
    (
        with_mask(lambda q, k, w, *_: q - w < k < q or q == k == 0),
        "a token doesn't attend to itself: add its key and value before attending.",
    ),
    (
        with_mask(lambda q, k, *_: q - 1 <= k <= q),
        "a token attends only to itself and the one before: new keys are added to the cache, they don't replace it.",
    ),
    (
        with_mask(lambda q, k, w, *_: k == max(0, q - w + 1)),
        "a new token attends only to the oldest key at hand: its row of the mask is that of its place, total - n + i.",
    ),
    (lambda x, q, k, v, w, *_: whole(x, k, q, v, w), "queries and keys are exchanged."),
    (lambda x, q, k, v, w, *_: whole(x, q, k, k, w), "the keys serve as values."),
]
CACHE = [
    Check(
        "one token at a time",
        1,
        "step",
        stream_inputs,
        whole,
        CACHE_MISTAKES,
        driver=STEPS,
        reading=RESULT,
    ),
    Check(
        "several tokens in a call",
        1,
        "step",
        chunk_inputs,
        lambda x, q, k, v, w, lengths: whole(x, q, k, v, w),
        [
            (
                with_mask(
                    lambda q, k, w, c: (
                        call_of(k, c) <= call_of(q, c) and k >= call_of(q, c) - (w - 1)
                    )
                ),
                "the new tokens of a call attend to each other whole: each needs its own row of the mask.",
            ),
            (
                with_mask(lambda q, k, w, c: max(0, call_of(q, c) - (w - 1)) <= k <= q),
                "in a call of several tokens, later ones attend too far back: each has its own window.",
            ),
            (
                with_mask(lambda q, k, w, c: call_of(q, c) + length_of(q, c) - w <= k <= q),
                "keys are dropped before all tokens of the call have attended to them: shorten the cache after attending.",
            ),
            (
                with_mask(lambda q, k, w, c: q - w < k <= q and k >= call_of(q, c)),
                "the tokens of a call attend to this call only: the cache is not used.",
            ),
            *CACHE_MISTAKES,
        ],
        driver=STEPS,
        reading=RESULT,
    ),
    Check(
        "the cache has at most W - 1 tokens",
        1,
        "step",
        chunk_inputs,
        lambda *a: [True, True],
        [
            (
                lambda *a: [False, True],
                "the cache grows beyond W - 1 tokens: return only those that a later token can attend to.",
            ),
            (lambda *a: [True, False], "there are no results."),
        ],
        driver=STEPS,
        reading=STORED,
    ),
    Check(
        "a second text doesn't depend on the first",
        1,
        "step",
        stream_inputs,
        lambda *a: [True, whole(*a)],
        [
            (
                lambda x, *w: [False, torch.zeros_like(x)],
                "something of the text before is still there: keep nothing outside the cache that you return.",
            ),
            *[
                ((lambda *a, wrong=wrong: [True, wrong(*a)]), message)
                for wrong, message in CACHE_MISTAKES
            ],
        ],
        driver=TWO_STREAMS,
        reading=SAME,
    ),
]


# 7. Influence.

# The outputs of a layer depend on its inputs as `undo` and `mix` say together. Neither of them shows which outputs depend on
# which inputs: their product has zeros, they have none. So the answer doesn't stand in what the function holds.
LAYER = """
import torch
def layer(undo, mix, residual):
    def function(x):
        normed = torch.nn.functional.layer_norm(x, x.shape[-1:]).double()
        return residual * x + (undo @ (mix @ normed.tanh())).to(x.dtype)
    return function
"""
INFLUENCE = (
    LAYER
    + """
def run(influence, x, undo, mix, depth):
    one = layer(undo, mix, float(depth > 1))
    def function(x):
        for _ in range(depth):
            x = one(x)
        return x
    return influence(function, x)
"""
)


def declared(generator):
    length = number(generator, 4, 6)
    mask = torch.rand(length, length, generator=generator) < 0.4
    mask |= torch.eye(length, dtype=torch.bool)
    mask[0] = False
    mask[0, 0] = True
    mask[1, 2], mask[2, 1] = True, False  # never symmetric
    return mask


def hide(generator, mask):
    """Two full matrices whose product is zero exactly where the mask is False."""
    size = len(mask)
    strength = 0.5 + torch.rand(size, size, generator=generator, dtype=torch.float64)
    mix = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]
    return [(mask * strength) @ mix.T, mix]


def weights_of(undo, mix):
    """What one layer multiplies by, (T, T): zero where the mask is False."""
    weights = undo @ mix
    return weights * (weights.abs() > 1e-9)


def derivative_of_norm(x):
    """Of tanh(LayerNorm(x)), for each token: (T, D, D), in double precision. And the norm itself."""
    x = x.double()
    width = x.shape[-1]
    centred = x - x.mean(-1, keepdim=True)
    spread = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    normed = centred / spread
    outer = normed[:, :, None] * normed[:, None, :]
    inner = (torch.eye(width, dtype=torch.float64) - 1 / width - outer / width) / spread[..., None]
    return (1 - normed.tanh().square())[:, :, None] * inner, normed


def derivatives(x, undo, mix, depth):
    """All derivatives of `depth` layers by the chain rule: (T, D, T, D)."""
    weights, x = weights_of(undo, mix), x[0].double()
    T, D = x.shape
    identity = torch.eye(T * D, dtype=torch.float64).reshape(T, D, T, D)
    found = identity
    for _ in range(depth):
        inner, normed = derivative_of_norm(x)
        one = weights[:, None, :, None] * inner.permute(1, 0, 2)[None]
        if depth > 1:
            one = one + identity
        found = torch.einsum("qimj,mjkl->qikl", one, found)
        x = float(depth > 1) * x + weights @ normed.tanh()
    return found


def influences(*a):
    return derivatives(*a).square().sum((1, 3)).sqrt().float()


def influence_inputs(generator, width=6):
    mask = declared(generator)
    return [normal(generator, 1, len(mask), width), *hide(generator, mask), 1], {}


def deep_inputs(generator):
    (x, *_), _ = influence_inputs(generator)
    chain = torch.eye(x.shape[1], dtype=torch.bool)
    chain[1:, :-1] |= torch.eye(x.shape[1] - 1, dtype=torch.bool)
    return [x, *hide(generator, chain), 2], {}


INFLUENCES = [
    (
        lambda *a: influences(*a).T.contiguous(),
        "that is the transpose: row q, column k holds the influence of input k on output q.",
    ),
    (
        lambda *a: influences(*a).square(),
        "that is the sum of squares: take its square root.",
    ),
    (
        lambda *a: derivatives(*a).abs().sum((1, 3)).float(),
        "these are sums of absolute values: the root of the sum of squares is wanted.",
    ),
    (
        lambda *a: derivatives(*a).sum((1, 3)).float(),
        "the derivatives themselves are summed, and they cancel: square them first.",
    ),
    (
        lambda *a: derivatives(*a).sum(1).square().sum(-1).sqrt().float(),
        "the numbers of an output are summed before the derivative is taken, so that derivatives cancel: square each of the "
        "D × D derivatives.",
    ),
    (
        lambda *a: derivatives(*a).square().mean((1, 3)).sqrt().float(),
        "that is the root of the mean: of the sum is wanted.",
    ),
    (
        lambda *a: derivatives(*a).abs().amax((1, 3)).float(),
        "that is the largest derivative: the root of the sum of squares is wanted.",
    ),
    (lambda *a: influences(*a) > 1e-6, "that is yes or no: the size of the influence is wanted."),
    (
        lambda *a: torch.zeros_like(influences(*a)),
        "no input has any influence: is the graph cut somewhere?",
    ),
    (
        lambda *a: influences(*a).diag().diag(),
        "only the influence of each token on its own output is there.",
    ),
]

JUDGE = (
    LAYER
    + """
def run(judge, x, undo, mix, declared):
    return judge([layer(u, m, 0.0) for u, m in zip(undo, mix)], list(declared), x)
"""
)


def judge_inputs(generator, kinds=None):
    length = number(generator, 4, 6)
    x, hidden, claims = normal(generator, 1, length, 6), [], []
    kinds = kinds or (
        ["fine", "leak", "gap", "both"]
        if number(generator, 0, 1)
        else ["both", "gap", "fine", "leak"]
    )
    for kind in kinds:
        claim = torch.rand(length, length, generator=generator) < 0.5
        claim |= torch.eye(length, dtype=torch.bool)
        claim[3, 1], claim[2, 0] = False, True
        obeyed = claim.clone()
        obeyed[3, 1] |= kind in ("leak", "both")
        obeyed[2, 0] &= kind not in ("gap", "both")
        claims.append(claim)
        hidden.append(hide(generator, obeyed))
    undo, mix = (torch.stack(parts) for parts in zip(*hidden))
    return [x, undo, mix, torch.stack(claims)], {}


def judged(x, undo, mix, declared, names=("fine", "leak", "gap", "both"), turn=False):
    words = []
    for u, m, mask in zip(undo, mix, declared):
        real = weights_of(u, m) != 0
        real = real.T if turn else real
        words.append(names[int((real & ~mask).any()) + 2 * int((mask & ~real).any())])
    return words


INFLUENCE_CHECKS = [
    Check(
        "influence: one layer",
        2,
        "influence",
        influence_inputs,
        influences,
        INFLUENCES,
        driver=INFLUENCE,
        tolerance=1e-3,
    ),
    Check(
        "influence: two layers",
        1,
        "influence",
        deep_inputs,
        influences,
        [
            *INFLUENCES,
            (
                lambda x, u, m, depth: influences(x, u, m, 1),
                "that is one layer: measure the function as it is.",
            ),
        ],
        driver=INFLUENCE,
        tolerance=1e-3,
    ),
    Check(
        "judge(layers, declared, x)",
        1,
        "judge",
        judge_inputs,
        judged,
        [
            (
                lambda *a: judged(*a, names=("fine", "gap", "leak", "both")),
                "leaks and gaps are exchanged: a leak depends on what the mask forbids.",
            ),
            (
                lambda *a: judged(*a, names=("fine", "leak", "fine", "leak")),
                "gaps are missing: an output that doesn't depend on an allowed input is a fault, too.",
            ),
            (
                lambda *a: judged(*a, names=("fine", "fine", "gap", "gap")),
                "leaks are missing: an output that depends on a forbidden input.",
            ),
            (
                lambda *a: judged(*a, names=("fine", "leak", "gap", "leak")),
                'a layer with leaks and gaps is called a leak only: it is "both".',
            ),
            (
                lambda *a: judged(*a, names=("fine", "leak", "gap", "gap")),
                'a layer with leaks and gaps is called a gap only: it is "both".',
            ),
            (
                lambda *a: judged(*a, turn=True),
                "the table of influences is compared the wrong way round: rows are outputs, columns are inputs.",
            ),
            (
                lambda *a: judged(*a, names=("both", "gap", "leak", "fine")),
                "the words are upside down.",
            ),
            (
                lambda *a: ["leak"] * len(a[-1]),
                "every layer is called a leak: rounding gives influences of about 1e-17, so count only those above 1e-6.",
            ),
            (
                lambda *a: ["both"] * len(a[-1]),
                'every layer is called "both": compare the influence with the mask in the same orientation, and above 1e-6.',
            ),
        ],
        driver=JUDGE,
    ),
]


CHECKS = {
    "a1-attention-test": [
        Check(
            "the formula and the mask",
            1,
            "partial_attention",
            lambda g: qkv(g, False),
            partial,
            [*MASKED, *FORMULA],
        ),
        Check(
            "empty rows",
            1,
            "partial_attention",
            lambda g: qkv(g, True),
            partial,
            [*EMPTY, *MASKED, *FORMULA],
        ),
        Check(
            "the gradient, with empty rows",
            1,
            "partial_attention",
            lambda g: qkv(g, True),
            gradient,
            GRADIENTS,
            driver=GRADIENT,
            reading=FINITE,
            tolerance=1e-3,
        ),
        Check(
            "combine(results, log_sums)",
            1,
            "combine",
            to_combine,
            lambda *a: [combined(*a), True],
            COMBINED,
            driver=COMBINE,
            reading=JOINED,
        ),
    ],
    "a1-levels-test": MASKS,
    "a1-pack-test": PACK,
    "a1-image-test": IMAGES,
    "a1-heads-test": HEADS,
    "a1-cache-test": CACHE,
    "a1-measure-test": INFLUENCE_CHECKS,
}

HIDDEN = {
    "a1-attention-test": {
        "the formula and the mask": [
            low,
            everything,
            lambda g: ([*large(g)[0][:3], torch.ones(1, 1, 1, 1).bool()], {}),
        ],
        "empty rows": [large],
        "the gradient, with empty rows": [large],
        "combine(results, log_sums)": [loud_pieces, three_pieces],
    },
    "a1-levels-test": {
        "frames(number, size)": [
            lambda g: ([number(g, 3, 5), 1], {}),
            lambda g: ([1, number(g, 2, 4)], {}),
        ],
        "window(length, size)": [
            lambda g: ([number(g, 3, 6), 1], {}),
            lambda g: ([number(g, 2, 4), number(g, 5, 9)], {}),
        ],
        "examples(shots, size, question)": [
            lambda g: ([number(g, 1, 3), number(g, 3, 4), number(g, 1, 2)], {}),
            lambda g: ([0, number(g, 2, 3), number(g, 3, 7)], {}),
        ],
        "mixed(image)": [many_images, many_images],
    },
    "a1-pack-test": {name: [alike, alone] for name in ("mask", "position", "loss_mask")},
    "a1-image-test": {
        "the last two images": [last_only, all_of_them],
        "any number of images": [all_of_them, last_only],
        "text before the first image": [all_of_them],
    },
    "a1-heads-test": {
        "grouped_attention(...)": [
            lambda g: grouped_inputs(g, 4, 4),
            lambda g: grouped_inputs(g, 6, 2),
        ],
    },
    "a1-cache-test": {
        "one token at a time": [
            lambda g: stream_inputs(g, size=1),
            lambda g: stream_inputs(g, 1, number(g, 5, 7), 20),
        ],
        "several tokens in a call": [lambda g: chunk_inputs(g, 1), lambda g: chunk_inputs(g, 2)],
        "the cache has at most W - 1 tokens": [lambda g: chunk_inputs(g, 1)],
        "a second text doesn't depend on the first": [
            lambda g: stream_inputs(g, 1, number(g, 5, 7))
        ],
    },
    "a1-measure-test": {
        "influence: one layer": [lambda g: influence_inputs(g, 3)],
        "judge(layers, declared, x)": [
            lambda g: judge_inputs(g, ["fine", "fine", "fine"]),
            lambda g: judge_inputs(g, ["gap", "both", "leak", "gap", "fine"]),
        ],
    },
}
CHECKS = with_hidden(CHECKS, HIDDEN)
