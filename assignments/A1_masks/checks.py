"""Hidden checks of assignment 1: masks and attention. Formulas of their own, written with loops where that is clearer."""

import math

import torch

from vlmgrader.checks import Check, with_hidden


def number(generator, low, high):
    """An integer, low <= n <= high."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def normal(generator, *shape):
    return torch.randn(*shape, generator=generator)


# 1. Attention from the formula.


def probabilities(q, k, may_look, scale=None, axis=-1):
    """Softmax over the keys that one may look at, by hand; rows with nothing to see are zero."""
    weights = torch.einsum("bhqd,bhkd->bhqk", q, k) * (
        q.shape[-1] ** -0.5 if scale is None else scale
    )
    weights = weights.masked_fill(~may_look, -math.inf)
    largest = weights.amax(axis, keepdim=True).detach().nan_to_num(neginf=0.0)
    weights = (weights - largest).exp()
    return weights / weights.sum(axis, keepdim=True).clamp(min=1e-30)


def attention(q, k, v, may_look, scale=None, axis=-1):
    return probabilities(q, k, may_look, scale, axis) @ v


def late_mask(q, k, v, may_look):
    return (probabilities(q, k, torch.ones_like(may_look)) * may_look) @ v


def leaking(q, k, v, may_look):
    """What adding a huge negative number to all forbidden scores gives."""
    seen = probabilities(q, k, may_look)
    return torch.where(may_look.any(-1, keepdim=True), seen, 1 / k.shape[2]) @ v


def nan_rows(q, k, v, may_look):
    empty = ~may_look.any(-1, keepdim=True)
    return attention(q, k, v, may_look).masked_fill(empty, math.nan)


def zeros_in(q, k, v, may_look):
    """Forbidden scores set to 0 before the softmax instead of being left out."""
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k) * q.shape[-1] ** -0.5
    return (scores * may_look).softmax(-1) @ v


def qkv(generator, empty):
    B, H, Q, K, D = (
        number(generator, 1, 2),
        number(generator, 1, 3),
        number(generator, 3, 5),
        number(generator, 4, 6),
        number(generator, 3, 7),
    )
    may_look = torch.rand(B, 1, Q, K, generator=generator) < 0.5
    rows = torch.arange(Q) % 2 == 0
    may_look[..., 0], may_look[..., -1] = True, False  # rows see something, and not everything
    if empty:
        may_look[:, :, rows] = False
    return [
        normal(generator, B, H, Q, D),
        normal(generator, B, H, K, D),
        normal(generator, B, H, K, D),
        may_look,
    ], {}


def large(generator):
    """Scores above 88, whose exponentials are infinite; a mask of two axes; rows that may look at nothing."""
    (q, k, v, may_look), _ = qkv(generator, True)
    q[..., 0] = 16 + 2 * torch.rand(q.shape[:3], generator=generator)
    k[..., 0] = 16 + 2 * torch.rand(k.shape[:3], generator=generator)
    return [q, k, v, may_look[0, 0]], {}


def low(generator):
    """What may be seen has far lower scores than what may not."""
    (q, k, v, may_look), _ = qkv(generator, False)
    may_look = may_look[:, :, :1].expand_as(may_look).clone()
    q[..., 0] = 20
    k[..., 0] = torch.where(may_look[:, :, 0], -20.0, 20.0)
    return [q, k, v, may_look], {}


def everything(generator):
    (q, k, v, may_look), _ = qkv(generator, False)
    return [q, k, v, torch.ones_like(may_look)], {}


FORMULA = [
    (
        lambda q, k, v, m: attention(q, k, v, m, scale=1.0),
        "the scores are not scaled: divide them by the square root of the width D.",
    ),
    (
        lambda q, k, v, m: attention(q, k, v, m, scale=1 / q.shape[-1]),
        "the scores are divided by D: it is the square root of D.",
    ),
    (
        lambda q, k, v, m: attention(q, k, v, m, scale=k.shape[2] ** -0.5),
        "the scores are divided by the square root of the number of keys: it is that of the width D, the last axis of q.",
    ),
    (
        lambda q, k, v, m: attention(q, k, v, m, axis=-2),
        "softmax runs over the queries: each query's weights over the keys sum to one.",
    ),
    (
        lambda q, k, v, m: attention(q, k, v, m, scale=q.shape[-1] ** 0.5),
        "the scores are multiplied by the square root of D: divide.",
    ),
]
MASKED = [
    (lambda q, k, v, m: attention(q, k, v, ~m), "the mask is upside down: True means may look."),
    (
        late_mask,
        "the mask comes after the softmax, so what is left of a row doesn't sum to one: mask the scores, before.",
    ),
    (
        zeros_in,
        "forbidden scores are set to 0, and exp(0) = 1 is a weight like others: set them to minus infinity.",
    ),
    (lambda q, k, v, m: attention(q, k, v, torch.ones_like(m)), "the mask is not used."),
]
EMPTY = [
    (nan_rows, "rows that may look at nothing are NaN, 0 / 0: they must be exactly zero."),
    (
        leaking,
        "rows that may look at nothing look at everything, evenly: a huge negative number added to all scores of a row "
        "changes nothing. They must be exactly zero.",
    ),
    (
        lambda q, k, v, m: attention(q, k, v, m | ~m.any(-1, keepdim=True)),
        "rows that may look at nothing look at everything. They must be exactly zero.",
    ),
]

GRADIENT = """
import torch
def run(attention, q, k, v, may_look):
    q, k, v = (x.requires_grad_() for x in (q, k, v))
    attention(q, k, v, may_look).square().sum().backward()
    return [torch.zeros_like(x) if x.grad is None else x.grad for x in (q, k, v)]
"""
FINITE = """
import torch
def read(sent, q, k, v, may_look):
    finite = all(bool(g.isfinite().all()) for g in sent)
    return [finite, *[g if finite else torch.zeros_like(g) for g in sent]]
"""


def gradient(q, k, v, may_look, function=attention):
    q, k, v = (x.clone().requires_grad_() for x in (q, k, v))
    return [True, *torch.autograd.grad(function(q, k, v, may_look).square().sum(), (q, k, v))]


GRADIENTS = [
    (
        lambda q, k, v, m: [False, *map(torch.zeros_like, (q, k, v))],
        "the gradient is NaN: what goes through a softmax of nothing but minus infinity can't be repaired afterwards. Give such rows "
        "finite scores, and zero their weights after the softmax.",
    ),
    (
        lambda *a: gradient(*a, leaking),
        "the gradient says that rows which may look at nothing look at everything.",
    ),
    (lambda *a: gradient(*a, zeros_in), "forbidden scores are set to 0: they must be left out."),
    (
        lambda q, k, v, m: gradient(q, k, v, m, lambda *a: attention(*a, scale=1.0)),
        "the scores are not scaled.",
    ),
]


# 2. One integer per position.


def grid(rows, columns, may_look):
    return torch.tensor([[bool(may_look(q, k)) for k in range(columns)] for q in range(rows)])


def causal(length):
    return grid(length, length, lambda q, k: k <= q)


def prefix(seen, length):
    return grid(length, length, lambda q, k: k <= q or (q < seen and k < seen))


def unimodal(queries, text):
    return grid(queries + text, queries + text, lambda q, k: (q < queries) == (k < queries))


def multimodal_causal(queries, text):
    return grid(queries + text, queries + text, lambda q, k: k < queries or queries <= k <= q)


def flipped(right, extra=()):
    """The two mistakes any mask can have, and its own."""
    return [
        *extra,
        (lambda *sizes: ~right(*sizes), "the mask is upside down: True means may look."),
        (
            lambda *sizes: right(*sizes).T.contiguous(),
            "that is the transpose: rows are queries, columns are keys.",
        ),
    ]


MASKS = [
    Check(
        "causal(length)",
        1,
        "causal",
        lambda g: ([number(g, 3, 8)], {}),
        causal,
        flipped(
            causal,
            [
                (
                    lambda n: grid(n, n, lambda q, k: k < q),
                    "a token must see itself: <= is wanted where you have <.",
                ),
                (
                    lambda n: grid(n, n, lambda q, k: True),
                    "everybody sees everybody: compare the keys' level with the queries'.",
                ),
            ],
        ),
    ),
    Check(
        "prefix(seen, length)",
        1,
        "prefix",
        lambda g: ([(seen := number(g, 3, 5)), seen + number(g, 2, 4)], {}),
        prefix,
        flipped(
            prefix,
            [
                (
                    lambda s, n: causal(n),
                    "that is causal: the prefix must also see its own later tokens; they all share one level.",
                ),
                (
                    lambda s, n: prefix(s + 1, n),
                    "one position too many belongs to the prefix: the first text token has its own level.",
                ),
                (lambda s, n: prefix(s - 1, n), "one position too few belongs to the prefix."),
                (
                    lambda s, n: grid(n, n, lambda q, k: k < s),
                    "everybody sees the prefix, but the text doesn't see its own past.",
                ),
                (
                    lambda s, n: grid(n, n, lambda q, k: q >= s or k < s),
                    "the text sees its own future: its levels must grow.",
                ),
            ],
        ),
    ),
    Check(
        "unimodal(queries, text)",
        1,
        "unimodal",
        lambda g: ([(n := number(g, 2, 4)), n + number(g, 1, 2)], {}),
        unimodal,
        flipped(
            unimodal,
            [
                (
                    lambda n, t: multimodal_causal(n, t),
                    "that is the mask of generation: here queries and text don't see each other.",
                ),
                (
                    lambda n, t: unimodal(n, t) & causal(n + t),
                    "the text is causal: in the contrastive task both sides see themselves whole.",
                ),
                (
                    lambda n, t: grid(n + t, n + t, lambda q, k: (q < n and k < n) or q == k),
                    "each text token sees only itself: all of them belong to one group.",
                ),
                (
                    lambda n, t: grid(n + t, n + t, lambda q, k: q >= n or k < n),
                    "the text sees the queries: groups are compared for equality, not by <=.",
                ),
                (
                    lambda n, t: unimodal(t, n),
                    "queries and text are exchanged: the queries come first.",
                ),
            ],
        ),
    ),
    Check(
        "multimodal_causal(queries, text)",
        1,
        "multimodal_causal",
        lambda g: ([(n := number(g, 2, 4)), n + number(g, 1, 2)], {}),
        multimodal_causal,
        flipped(
            multimodal_causal,
            [
                (
                    lambda n, t: causal(n + t),
                    "the queries are causal among themselves: they share one level.",
                ),
                (
                    lambda n, t: grid(n + t, n + t, lambda q, k: k < n or q >= n),
                    "the text sees its own future.",
                ),
                (
                    lambda n, t: grid(n + t, n + t, lambda q, k: k <= q if q >= n else True),
                    "the queries see the text, and with it the answer: perfect in training, useless in generation.",
                ),
                (
                    lambda n, t: grid(n + t, n + t, lambda q, k: (k < n) if q < n else n <= k <= q),
                    "the text doesn't see the queries: then it can't know anything of the picture.",
                ),
                (
                    lambda n, t: multimodal_causal(n + 1, t - 1),
                    "the first text token shares the queries' level: text levels start at 1.",
                ),
            ],
        ),
    ),
]


# 3. Packed documents.


def documents(lengths, total):
    return [document for document, length in enumerate(lengths) for _ in range(length)] + [-1] * (
        total - sum(lengths)
    )


def packed(lengths, total):
    of = documents(lengths, total)
    return grid(total, total, lambda q, k: of[q] == of[k] >= 0 and k <= q)


def places(lengths, total):
    return torch.tensor(
        [place for length in lengths for place in range(length)] + [0] * (total - sum(lengths))
    )


def scored(lengths, total):
    return torch.tensor(
        [place > 0 for length in lengths for place in range(length)]
        + [False] * (total - sum(lengths))
    )


def pack_inputs(generator):
    lengths = [number(generator, 2, 4) for _ in range(number(generator, 2, 3))]
    return [lengths, sum(lengths) + number(generator, 2, 3)], {}


def alike(generator):
    """Documents of one length, one of a single token, no padding."""
    length = number(generator, 2, 4)
    lengths = [length, length, 1, length][: number(generator, 3, 4)]
    return [lengths, sum(lengths)], {}


def part(index):
    """A driver that looks at one of the three tensors."""
    return f"def run(pack, lengths, total):\n    return pack(lengths, total)[{index}]\n"


PACK = [
    Check(
        "who may look at whom",
        2,
        "pack",
        pack_inputs,
        packed,
        [
            (
                lambda ls, n: causal(n),
                "documents see each other: also compare which document a position belongs to.",
            ),
            (
                lambda ls, n: packed(ls, n) | packed(ls, n).T,
                "the documents see their own future: same document *and* the past.",
            ),
            (
                lambda ls, n: packed([*ls, n - sum(ls)], n),
                "padding sees padding: it belongs to no document, its rows and columns are empty.",
            ),
            (lambda ls, n: ~packed(ls, n), "the mask is upside down: True means may look."),
            (
                lambda ls, n: packed(ls, n).T.contiguous(),
                "that is the transpose: rows are queries, columns are keys.",
            ),
            (
                lambda ls, n: packed(ls, n) & ~torch.eye(n, dtype=torch.bool),
                "a token must see itself.",
            ),
        ],
        driver=part(0),
    ),
    Check(
        "positions",
        1,
        "pack",
        pack_inputs,
        places,
        [
            (
                lambda ls, n: torch.arange(n),
                "positions count on across documents: each document starts at 0, or it reads differently packed.",
            ),
            (lambda ls, n: places([*ls, n - sum(ls)], n), "padding counts up: its position is 0."),
            (
                lambda ls, n: torch.tensor(
                    [p + 1 for length in ls for p in range(length)] + [0] * (n - sum(ls))
                ),
                "positions start at 1; 0 is wanted.",
            ),
            (
                lambda ls, n: torch.tensor(documents(ls, n)),
                "these are the numbers of the documents, not places in them.",
            ),
        ],
        driver=part(1),
    ),
    Check(
        "which tokens are scored",
        1,
        "pack",
        pack_inputs,
        scored,
        [
            (
                lambda ls, n: torch.tensor(documents(ls, n)) >= 0,
                "a document's first token is scored, but nothing in its document precedes it.",
            ),
            (lambda ls, n: torch.arange(n) > 0, "padding is scored."),
            (
                lambda ls, n: (torch.tensor(documents(ls, n)) >= 0) & (torch.arange(n) > 0),
                "only the very first token is left out: each document has a first token that nothing precedes.",
            ),
        ],
        driver=part(2),
    ),
]


# 4. The last image before each token, in a batch.


def last_image(
    is_tag, images, per_image, sees=lambda image, seen: image == seen, inclusive=True, first=0
):
    rows = []
    for tags in is_tag.tolist():
        seen, table = 0, []
        for tag in tags:
            now = seen + tag
            table.append(
                [
                    sees(key // per_image + 1, max(now if inclusive else seen, first))
                    for key in range(images * per_image)
                ]
            )
            seen = now
        rows.append(table)
    return torch.tensor(rows)


def page_inputs(generator):
    B, T, per_image = 2, number(generator, 6, 8), number(generator, 2, 3)
    is_tag = torch.zeros(B, T, dtype=torch.bool)
    is_tag[0, [1, 4]] = True  # text, image, text, image, text
    is_tag[1, number(generator, 2, 3)] = True  # one image: the second is padding
    is_tag[1, 0] = number(generator, 0, 1) == 1
    return [is_tag, number(generator, 3, 4), per_image], {}


def crowded(generator):
    """Tags side by side, more images than a page has, a page without any, one token an image."""
    is_tag = torch.zeros(3, number(generator, 5, 9), dtype=torch.bool)
    is_tag[0, [0, 1, 2]] = True
    is_tag[1, [1, -1]] = True
    return [is_tag, number(generator, 3, 5), number(generator, 1, 4)], {}


def by_column(is_tag, images, per_image):
    """Keys numbered 1 2 3 1 2 3 instead of 1 1 2 2 3 3."""
    order = [key % images * per_image for key in range(images * per_image)]
    return last_image(is_tag, images, per_image)[:, :, order]


LAST_IMAGE = [
    Check(
        "the mask of a batch of pages",
        3,
        "last_image",
        page_inputs,
        last_image,
        [
            (lambda *a: ~last_image(*a), "the mask is upside down: True means may look."),
            (
                lambda *a: last_image(*a, sees=lambda image, seen: image <= seen),
                "tokens see every image so far: == is wanted where you have <=.",
            ),
            (
                lambda *a: last_image(*a, sees=lambda image, seen: image >= seen),
                "tokens see the images still to come: == is wanted where you have >=.",
            ),
            (
                lambda *a: last_image(*a, inclusive=False),
                "a tag doesn't see its own image: count tags up to and including the token.",
            ),
            (
                lambda *a: last_image(*a, first=1),
                "text before the first image looks at image 1: there phi is 0, and 0 matches no image.",
            ),
            (
                by_column,
                "the keys are numbered 1 2 3 1 2 3: the tokens of one image stand together, 1 1 2 2 3 3.",
            ),
            (
                lambda *a: last_image(*a, sees=lambda image, seen: image == seen + 1),
                "images are numbered from 0, so text before the first image sees it: number them from 1.",
            ),
            (
                lambda t, n, p: (
                    t.long().flatten().cumsum(0).view_as(t)[..., None]
                    == torch.arange(n * p) // p + 1
                ),
                "the count runs on from page to page: count along the tokens, axis 1.",
            ),
            (
                lambda t, n, p: t.long().cumsum(0)[..., None] == torch.arange(n * p) // p + 1,
                "the count runs down the batch, across pages: count along the tokens, axis 1.",
            ),
        ],
    ),
    Check(
        "text before the first image",
        1,
        "last_image",
        page_inputs,
        lambda t, n, p: last_image(torch.cat([t[:, :2] & False, t], 1), n, p),
        [
            (
                lambda t, n, p: last_image(torch.cat([t[:, :2] & False, t], 1), n, p, first=1),
                "text before the first image looks at image 1: there phi is 0, and 0 matches no image.",
            ),
            (
                lambda t, n, p: last_image(
                    torch.cat([t[:, :2] & False, t], 1),
                    n,
                    p,
                    sees=lambda image, seen: image == seen + 1,
                ),
                "images are numbered from 0, so text before the first image sees it: number them from 1.",
            ),
            (
                lambda t, n, p: (
                    last_image(torch.cat([t[:, :2] & False, t], 1), n, p)
                    | (torch.cat([t[:, :2] & False, t], 1).long().cumsum(1) == 0)[..., None]
                ),
                "text before the first image looks at every image: its rows must be empty.",
            ),
        ],
        driver="""
import torch
def run(last_image, is_tag, images, per_image):
    return last_image(torch.cat([torch.zeros_like(is_tag[:, :2]), is_tag], dim=1), images, per_image)
""",
    ),
]


# 5. Heads.


def head_of(x, heads):
    width = x.shape[2] // heads
    return torch.stack([x[:, :, head * width : (head + 1) * width] for head in range(heads)], 1)


def many(x, context, query, key, value, out, heads, may_look, scale=None, split=head_of):
    q, k, v = (
        split(x @ query.T, heads),
        split(context @ key.T, heads),
        split(context @ value.T, heads),
    )
    mixed = attention(q, k, v, may_look, scale)
    return torch.cat(list(mixed.unbind(1)), -1) @ out.T


def head_inputs(generator):
    heads, B, L = number(generator, 2, 3), 2, number(generator, 4, 5)
    return [normal(generator, B, L, number(generator, 3, 5) * heads), heads], {}


def many_inputs(generator):
    heads, Q, K = number(generator, 2, 3), number(generator, 3, 4), number(generator, 5, 6)
    D = heads * number(generator, 3, 5)
    may_look = torch.rand(2, 1, Q, K, generator=generator) < 0.6
    may_look[:, :, 0] = False
    weights = [normal(generator, D, D) / 2 for _ in range(4)]
    return [normal(generator, 2, Q, D), normal(generator, 2, K, D), *weights, heads, may_look], {}


HEADS = [
    Check(
        "split_heads(x, heads)",
        1,
        "split_heads",
        head_inputs,
        head_of,
        [
            (
                lambda x, h: x.reshape(len(x), h, x.shape[1], -1),
                "tokens are mixed up: a plain reshape cuts the *length*. Cut the width, then exchange two axes.",
            ),
            (
                lambda x, h: x.unflatten(-1, (-1, h)).permute(0, 3, 1, 2),
                "heads take every h-th feature: each takes a block of neighbours.",
            ),
            (
                lambda x, h: x.unflatten(-1, (h, -1)),
                "the heads are the third axis: exchange it with the length.",
            ),
            (
                lambda x, h: x.unflatten(-1, (h, -1)).permute(2, 0, 1, 3),
                "the heads come before the batch: (B, H, L, D / H) is wanted.",
            ),
        ],
    ),
    Check(
        "merge_heads(x)",
        1,
        "merge_heads",
        lambda g: ([head_of(*head_inputs(g)[0])], {}),
        lambda x: torch.cat(list(x.unbind(1)), -1),
        [
            (
                lambda x: x.reshape(len(x), x.shape[2], -1),
                "tokens are mixed up: exchange heads and length back before flattening.",
            ),
            (
                lambda x: x.permute(0, 2, 3, 1).flatten(2),
                "the heads' features are interleaved: D / H must be the last axis when you flatten.",
            ),
            (
                lambda x: x.mean(1),
                "heads are averaged: they stand side by side, each with its own features.",
            ),
            (lambda x: x.sum(1), "heads are summed: they stand side by side."),
        ],
    ),
    Check(
        "multi_head(...)",
        2,
        "multi_head",
        many_inputs,
        many,
        [
            (
                lambda x, c, *r: many(
                    x,
                    x if x.shape == c.shape else c[:, : x.shape[1]],
                    *r[:-1],
                    r[-1][..., : x.shape[1]],
                ),
                "keys and values are made of x: they come from the context.",
            ),
            (
                lambda *a: many(*a, scale=a[0].shape[-1] ** -0.5),
                "the scores are divided by the square root of the whole width: each head has its own, D / H.",
            ),
            (
                lambda x, c, q, k, v, o, h, m: many(x, c, q, k, v, torch.eye(len(q)), h, m),
                "the last matrix, `out`, is missing.",
            ),
            (
                lambda x, c, q, k, v, o, h, m: many(x, c, q.T, k.T, v.T, o.T, h, m),
                "the matrices are applied the wrong way round: x @ W.T, as nn.Linear does.",
            ),
            (
                lambda x, c, q, k, v, o, h, m: many(x, c, q, v, k, o, h, m),
                "keys and values are exchanged.",
            ),
            (
                lambda x, c, q, k, v, o, h, m: many(x, c, q, k, v, o, 1, m),
                "there is one head only: split before you compare.",
            ),
            (
                lambda x, c, q, k, v, o, h, m: many(x, c, q, k, v, o, h, torch.ones_like(m)),
                "the mask is not used.",
            ),
        ],
    ),
]


# 6. One token at a time.


def whole(x, query, key, value, may_look=None):
    """Causal attention of one head over everything, (B, T, D)."""
    look = causal(x.shape[1]) if may_look is None else may_look
    q, k, v = (x @ matrix.T for matrix in (query, key, value))
    return attention(q[:, None], k[:, None], v[:, None], look[None, None])[:, 0]


def chunk_mask(T, first, chunk):
    """What happens if the tokens of a chunk see each other whole: (T, T)."""

    def may_look(q, k):
        return k < first if q < first else k <= q

    return grid(T, T, may_look) if chunk else causal(T)


def stream_inputs(generator, B=3, D=4):
    return [
        normal(generator, B, number(generator, 5, 6), D),
        *[normal(generator, D, D) for _ in range(3)],
    ], {}


def stream_chunk_inputs(generator):
    args, _ = stream_inputs(generator)
    return [*args, number(generator, 2, 3)], {}


STEPS = """
import torch
def run(step, x, query, key, value, first=1):
    cache, outs = None, []
    for part in (x[:, :first], *x[:, first:].split(1, dim=1)):
        out, cache = step(part, query, key, value, cache)
        outs.append(out)
    return torch.cat(outs, dim=1)
"""
TWO_STREAMS = """
import torch
def run(step, x, query, key, value):
    def stream(x):
        cache, outs = None, []
        for part in x.split(1, dim=1):
            out, cache = step(part, query, key, value, cache)
            outs.append(out)
        return torch.cat(outs, dim=1)
    stream(x.flip(1))
    one = stream(x)
    stream(x.neg())
    return [one, stream(x)]
"""
SAME = """
import torch
def read(streams, x, *matrices):
    one, two = streams
    same = one.shape == two.shape and bool(torch.allclose(one, two, atol=1e-4))
    return [same, two if same else torch.zeros_like(x)]
"""


def self_only(x, query, key, value):
    return whole(x, query, key, value, torch.eye(x.shape[1], dtype=torch.bool))


CACHE_MISTAKES = [
    (
        lambda x, q, k, v, *f: self_only(x, q, k, v),
        "each token sees only itself: the cache is not used, or not handed on.",
    ),
    (
        lambda x, q, k, v, *f: whole(
            x, q, k, v, causal(x.shape[1]) & ~torch.eye(x.shape[1], dtype=torch.bool)
        ),
        "a token doesn't see itself: put its key and value into the cache before attending.",
    ),
    (
        lambda x, q, k, v, *f: whole(
            x, q, k, v, causal(x.shape[1]) & ~causal(x.shape[1]).roll(2, 0).tril(-2)
        ),
        "a token sees only itself and the one before: the cache must grow, not be replaced.",
    ),
    (
        lambda x, q, k, v, *f: whole(
            x, q, k, v, torch.arange(x.shape[1]).expand(x.shape[1], -1) == 0
        ),
        "a new token sees only the first: its row of the mask is that of its place in the whole text, total - n + i.",
    ),
    (lambda x, q, k, v, *f: whole(x, k, q, v), "queries and keys are exchanged."),
    (lambda x, q, k, v, *f: whole(x, q, k, k), "keys serve as values."),
]
CACHE = [
    Check(
        "one token at a time == all at once",
        2,
        "step",
        stream_inputs,
        whole,
        CACHE_MISTAKES,
        driver=STEPS,
    ),
    Check(
        "a prompt of several tokens, then one at a time",
        1,
        "step",
        stream_chunk_inputs,
        lambda x, q, k, v, first: whole(x, q, k, v),
        [
            (
                lambda x, q, k, v, first: whole(x, q, k, v, chunk_mask(x.shape[1], first, True)),
                "the tokens of the prompt see each other whole: a chunk of new tokens needs its rows of the causal mask.",
            ),
            *CACHE_MISTAKES,
        ],
        driver=STEPS,
    ),
    Check(
        "a second text knows nothing of the first",
        1,
        "step",
        stream_inputs,
        lambda *a: [True, whole(*a)],
        [
            (
                lambda x, *w: [False, torch.zeros_like(x)],
                "something is remembered from the text before: keep nothing outside the cache that you return.",
            ),
            (lambda *a: [True, self_only(*a)], CACHE_MISTAKES[0][1]),
        ],
        driver=TWO_STREAMS,
        reading=SAME,
    ),
]


# 7. Declared and measured.


def reach(mask, depth):
    one = mask | torch.eye(len(mask), dtype=torch.bool) if depth > 1 else mask
    seen = one
    for _ in range(depth - 1):
        seen = (seen.float() @ one.float()) > 0
    return seen


# A layer moves its outputs by its inputs as `undo` and `mix` say together. Neither of them shows which outputs move with
# which inputs: their product has zeros, they have none. So the answer doesn't stand in what the function holds.
LAYER = """
import torch
def layer(undo, mix, residual):
    def function(x):
        normed = torch.nn.functional.layer_norm(x, x.shape[-1:]).double()
        return residual * x + (undo @ (mix @ normed.tanh())).to(x.dtype)
    return function
"""
MEASURE = (
    LAYER
    + """
def run(measure, x, undo, mix, depth):
    one = layer(undo, mix, float(depth > 1))
    def function(x):
        for _ in range(depth):
            x = one(x)
        return x
    return measure(function, x)
"""
)


def declared(generator, length=None):
    length = length or number(generator, 4, 6)
    may_look = torch.rand(length, length, generator=generator) < 0.4
    may_look |= torch.eye(length, dtype=torch.bool)
    may_look[0] = False
    may_look[0, 0] = True
    may_look[1, 2], may_look[2, 1] = True, False  # never symmetric
    return may_look


def hide(generator, may_look):
    """Two full matrices whose product is zero exactly where one may not look."""
    size = len(may_look)
    strength = 0.5 + torch.rand(size, size, generator=generator, dtype=torch.float64)
    mix = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]
    return [(may_look * strength) @ mix.T, mix]


def looks(undo, mix):
    return (undo @ mix).abs() > 1e-9


def measure_inputs(generator, width=8):
    may_look = declared(generator)
    return [normal(generator, 1, len(may_look), width), *hide(generator, may_look), 1], {}


def deep_inputs(generator):
    (x, *_), _ = measure_inputs(generator)
    chain = torch.eye(x.shape[1], dtype=torch.bool)
    chain[1:, :-1] |= torch.eye(x.shape[1] - 1, dtype=torch.bool)
    return [x, *hide(generator, chain), 2], {}


MEASURES = [
    Check(
        "one layer",
        2,
        "measure",
        measure_inputs,
        lambda x, u, mix, depth: looks(u, mix),
        [
            (
                lambda x, u, mix, d: looks(u, mix).T.contiguous(),
                "that is the transpose: row q, column k says whether output q moves with input k.",
            ),
            (
                lambda x, u, mix, d: torch.zeros_like(looks(u, mix)),
                "nothing moves. Adding the same number to all features of a token is erased by "
                "LayerNorm: move it at random. And compare with the output of the unmoved input.",
            ),
            (
                lambda x, u, mix, d: torch.ones_like(looks(u, mix)),
                "everything moves: change one token only, and undo it before the next.",
            ),
            (lambda x, u, mix, d: ~looks(u, mix), "upside down: True where the output moves."),
            (
                lambda x, u, mix, d: looks(u, mix).long().cumsum(1) > 0,
                "changes pile up: restore the token before you move the next.",
            ),
            (
                lambda x, u, mix, d: torch.eye(len(looks(u, mix)), dtype=torch.bool),
                "only a token's own output is compared.",
            ),
        ],
        driver=MEASURE,
    ),
    Check(
        "two layers: influence travels",
        1,
        "measure",
        deep_inputs,
        lambda x, u, mix, depth: reach(looks(u, mix), depth),
        [
            (
                lambda x, u, mix, d: looks(u, mix),
                "only one layer's reach: measure the function as it is, don't read off a mask.",
            ),
            (
                lambda x, u, mix, d: reach(looks(u, mix), d).T.contiguous(),
                "that is the transpose: row q, column k says whether output q moves with input k.",
            ),
            (
                lambda x, u, mix, d: torch.zeros_like(looks(u, mix)),
                "nothing moves: move a token at random, not by one number for all features.",
            ),
        ],
        driver=MEASURE,
    ),
]

LIARS = (
    LAYER
    + """
def run(liars, x, undo, mix, declared):
    return liars([layer(u, m, 0.0) for u, m in zip(undo, mix)], list(declared), x)
"""
)


def liar_inputs(generator, lies=None):
    length = number(generator, 4, 6)
    x, hidden, claims = normal(generator, 1, length, 8), [], []
    lies = lies or ([0, 1, 2, 0] if number(generator, 0, 1) else [1, 0, 0, 2])
    for lie in lies:  # 0 honest, 1 looks where it must not, 2 doesn't look where it may
        claim = torch.rand(length, length, generator=generator) < 0.5
        claim |= torch.eye(length, dtype=torch.bool)
        claim[3, 1], claim[2, 0] = False, True
        obeyed = claim.clone()
        obeyed[3, 1] |= lie == 1
        obeyed[2, 0] &= lie != 2
        claims.append(claim)
        hidden.append(hide(generator, obeyed))
    undo, mix = (torch.stack(parts) for parts in zip(*hidden))
    return [x, undo, mix, torch.stack(claims)], {}


def looks_of(undo, mix):
    return [looks(u, m) for u, m in zip(undo, mix)]


def lying(declared, real, more=True, fewer=True):
    return [
        i
        for i, (c, r) in enumerate(zip(declared, real))
        if (more and bool((r & ~c).any())) or (fewer and bool((c & ~r).any()))
    ]


MEASURES.append(
    Check(
        "liars(layers, declared, x)",
        1,
        "liars",
        liar_inputs,
        lambda x, u, m, d: lying(d, looks_of(u, m)),
        [
            (
                lambda x, u, m, d: lying(d, looks_of(u, m), fewer=False),
                "layers that don't look where they may are missing: both kinds are lies.",
            ),
            (
                lambda x, u, m, d: lying(d, looks_of(u, m), more=False),
                "layers that look where they must not are missing: both kinds are lies.",
            ),
            (
                lambda x, u, m, d: [i for i in range(len(d)) if i not in lying(d, looks_of(u, m))],
                "these are the honest ones.",
            ),
            (
                lambda x, u, m, d: [i + 1 for i in lying(d, looks_of(u, m))],
                "count the layers from 0.",
            ),
            (
                lambda x, u, m, d: list(range(len(d))),
                "every layer is called a liar: compare in the same orientation, (queries, keys).",
            ),
        ],
        driver=LIARS,
    )
)


CHECKS = {
    "a1-attention-test": [
        Check("the formula", 1, "attention", everything, attention, FORMULA),
        Check("the mask", 1, "attention", lambda g: qkv(g, False), attention, [*MASKED, *FORMULA]),
        Check(
            "rows that may look at nothing",
            1,
            "attention",
            lambda g: qkv(g, True),
            attention,
            [*EMPTY, *MASKED, *FORMULA],
        ),
        Check(
            "its gradient, with such rows",
            1,
            "attention",
            lambda g: qkv(g, True),
            gradient,
            GRADIENTS,
            driver=GRADIENT,
            reading=FINITE,
            tolerance=1e-3,
        ),
    ],
    "a1-levels-test": MASKS,
    "a1-pack-test": PACK,
    "a1-image-test": LAST_IMAGE,
    "a1-heads-test": HEADS,
    "a1-cache-test": CACHE,
    "a1-measure-test": MEASURES,
}


HIDDEN = {
    "a1-attention-test": {
        "the formula": [lambda g: ([*large(g)[0][:3], torch.ones(1, 1, 1, 1).bool()], {})],
        "the mask": [low],
        "rows that may look at nothing": [large],
        "its gradient, with such rows": [large],
    },
    "a1-levels-test": {
        "causal(length)": [lambda g: ([1], {}), lambda g: ([number(g, 9, 15)], {})],
        "prefix(seen, length)": [lambda g: ([number(g, 1, 2), number(g, 6, 9)], {})],
        "unimodal(queries, text)": [lambda g: ([number(g, 4, 6), number(g, 1, 3)], {})],
        "multimodal_causal(queries, text)": [lambda g: ([number(g, 4, 6), number(g, 1, 3)], {})],
    },
    "a1-pack-test": {
        name: [alike, lambda g: ([[number(g, 1, 5)], number(g, 6, 8)], {})]
        for name in ("who may look at whom", "positions", "which tokens are scored")
    },
    "a1-image-test": {
        "the mask of a batch of pages": [crowded],
        "text before the first image": [crowded],
    },
    "a1-heads-test": {
        "split_heads(x, heads)": [lambda g: ([normal(g, 3, 4, 5), 1], {})],
        "multi_head(...)": [many_inputs, many_inputs],
    },
    "a1-cache-test": {
        "a second text knows nothing of the first": [
            lambda g: stream_inputs(g, 1, number(g, 5, 7))
        ],
    },
    "a1-measure-test": {
        "one layer": [lambda g: measure_inputs(g, 3)],
        "liars(layers, declared, x)": [
            lambda g: liar_inputs(g, [0, 0, 0]),
            lambda g: liar_inputs(g, [2, 1, 2, 1, 1]),
        ],
    },
}
CHECKS = with_hidden(CHECKS, HIDDEN)
