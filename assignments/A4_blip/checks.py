"""Hidden checks of assignment 4: BLIP and the Q-Former. Formulas of their own, cell by cell where that is clearer."""

import torch

from vlmgrader.checks import Check, with_hidden


def number(generator, low, high):
    """An integer, low <= n <= high."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def normal(generator, *shape):
    return torch.randn(*shape, generator=generator)


def unit(x):
    return x / x.square().sum(-1, keepdim=True).sqrt()


def softmax(x, axis=-1):
    x = (x - x.amax(axis, keepdim=True)).exp()
    return x / x.sum(axis, keepdim=True)


# 1. Hard negatives.


def negatives(similarity, same, floor=1e-4, axis=1, bar=None, share=True):
    weights = softmax(similarity, axis) + floor
    weights = weights.masked_fill((same[:, None] == same[None, :]) if bar is None else bar, 0)
    return weights / weights.sum(1, keepdim=True) if share else weights


def softmax_of_rest(similarity, same):
    return softmax(similarity.masked_fill(same[:, None] == same[None, :], -torch.inf))


def batch(generator):
    B = number(generator, 6, 8)
    same = torch.tensor([0, 1, 0, 2, 3, 4, 5, 6])[:B][torch.randperm(B, generator=generator)]
    return [4 * normal(generator, B, B) + 6 * torch.eye(B), same], {}


def saturated(generator):
    return [150 * torch.eye(5) + 0.1 * normal(generator, 5, 5), torch.arange(5)], {}


# 2. The batch of the matching task.


def matching(negative_image, negative_text):
    B = len(negative_image)
    own = list(range(B))
    return [
        torch.tensor(own + negative_image.tolist() + own),
        torch.tensor(own + own + negative_text.tolist()),
        torch.tensor([1] * B + [0] * 2 * B),
    ]


def drawn(generator):
    B, step = number(generator, 6, 7), number(generator, 1, 2)
    return [(torch.arange(B) + step) % B, (torch.arange(B) + step + 1) % B], {}


AS_SET = """
import torch
def run(matching, negative_image, negative_text):
    return [torch.as_tensor(x).long() for x in matching(negative_image, negative_text)]
"""
SORTED = """
import torch
def read(got, negative_image, negative_text):
    return torch.tensor(sorted(zip(*(x.tolist() for x in got))))
"""


def as_set(made):
    return torch.tensor(sorted(zip(*(x.tolist() for x in made))))


def swapped_labels(i, t):
    image, text, label = matching(i, t)
    return [image, text, 1 - label]


def both_other(i, t):
    image, text, label = matching(i, t)
    return [torch.cat([image[: len(i)], i, i]), torch.cat([text[: len(i)], t, t]), label]


def crossed(i, t):
    return matching(t, i)


# 3. The loss of the captioner.


def lm_loss(logits, ids, scored, smoothing, ahead=1, others=None):
    logits = logits - logits.amax(-1, keepdim=True)
    logp = logits - logits.exp().sum(-1, keepdim=True).log()
    total, V = [], logits.shape[-1]
    for b in range(len(ids)):
        for t in range(ids.shape[1]):
            if scored[b, t] and 0 <= t - ahead < ids.shape[1]:
                said = logp[b, t - ahead]
                target = torch.full((V,), smoothing / (others(V) if others else V))
                target[ids[b, t]] += (
                    1 - smoothing if not others else 1 - smoothing - smoothing / others(V)
                )
                total.append(-(target * said).sum())
    return torch.stack(total)


def captions(generator):
    B, T, V = 3, number(generator, 6, 7), 6
    scored = torch.zeros(B, T, dtype=torch.bool)
    for row, (start, end) in enumerate([(2, 4), (3, T), (3, 4)]):
        scored[row, start:end] = True
    return [
        normal(generator, B, T, V),
        torch.randint(0, V, (B, T), generator=generator),
        scored,
        0.2 + 0.1 * number(generator, 0, 3),
    ], {}


def everything(lo, i, s, e):
    return lm_loss(lo, i, torch.ones_like(s).index_fill(1, torch.tensor([0]), False), e).mean()


# 4. The slow encoder and its queue.

FOLLOW = """
import torch
def run(follow, slow, fast, momentum):
    slow = [torch.nn.Parameter(x.clone(), requires_grad=False) for x in slow]
    fast = [torch.nn.Parameter(x.clone()) for x in fast]
    follow(list(slow), list(fast), momentum)
    return [torch.stack([x.detach() for x in slow]), torch.stack([x.detach() for x in fast]), [x.requires_grad for x in slow]]
"""
ANY_GRAPH = "def read(got, *inputs): return [got[0], got[1], any(got[2])]\n"
QUEUE = """
import torch
def run(enqueue, queue, parts):
    queue, place = queue.clone(), 0
    places = []
    for part in parts:
        queue, place = enqueue(queue, place, part)
        places.append(int(place))
    return [queue, places]
"""


def followed(slow, fast, momentum):
    return [momentum * slow + (1 - momentum) * fast, fast, False]


def parameters(generator):
    return [
        normal(generator, 3, 4),
        normal(generator, 3, 4),
        0.7 + 0.05 * number(generator, 0, 4),
    ], {}


def in_line(queue, parts, turn=lambda place, size: place % size, advance=None):
    queue, place, places = queue.clone(), 0, []
    for part in parts:
        for row in part:
            queue[place % len(queue)] = row
            place += 1
        place = turn(place, len(queue)) if advance is None else advance(place, len(part))
        places.append(place)
    return [queue, places]


def waiting(generator):
    return [
        normal(generator, 6, 3),
        [normal(generator, 2, 3) for _ in range(number(generator, 4, 5))],
    ], {}


# 5. Soft targets.


def soft_targets(similarity, alpha):
    B, K = similarity.shape
    hard = torch.tensor([[float(i == j) for j in range(K)] for i in range(B)])
    return alpha * softmax(similarity) + (1 - alpha) * hard


def momentum_similarity(generator):
    B = number(generator, 3, 4)
    return [3 * normal(generator, B, B + 4), 0.2 + 0.1 * number(generator, 0, 2)], {}


# 6. Three masks.


def qformer(task, queries, real, hide=True):
    def may_look(row, q, k):
        if hide and k >= queries and not real[row, k - queries]:
            return False
        if task == "match":
            return True
        if task == "contrast":
            return (q < queries) == (k < queries)
        return k < queries or queries <= k <= q

    B, length = len(real), queries + real.shape[1]
    return torch.tensor(
        [[[may_look(row, q, k) for k in range(length)] for q in range(length)] for row in range(B)]
    )


def padded(task):
    def inputs(generator):
        T = number(generator, 4, 5)
        real = torch.arange(T)[None, :] < torch.tensor([[T - 1], [number(generator, 1, 2)]])
        return [number(generator, 2, 3), real], {}

    return inputs


MASK_MISTAKES = {
    "contrast": [
        (
            lambda n, r: qformer("generate", n, r),
            "that is the mask of generation: here queries and text don't see each other at all.",
        ),
        (
            lambda n, r: qformer("match", n, r),
            "that is the mask of matching: here queries and text don't see each other.",
        ),
        (
            lambda n, r: (
                qformer("contrast", n, r) & torch.ones(n + r.shape[1], n + r.shape[1]).tril().bool()
            ),
            "the text is causal: in the contrastive task it sees itself whole.",
        ),
    ],
    "match": [
        (
            lambda n, r: qformer("contrast", n, r),
            "that is the mask of contrast: to match, everybody sees everybody.",
        ),
        (
            lambda n, r: qformer("generate", n, r),
            "that is the mask of generation: to match, everybody sees everybody.",
        ),
    ],
    "generate": [
        (lambda n, r: qformer("match", n, r), "the queries see the text, and with it the answer."),
        (
            lambda n, r: (
                qformer("match", n, r) & torch.ones(n + r.shape[1], n + r.shape[1]).tril().bool()
            ),
            "the queries are causal among themselves: they see each other whole.",
        ),
        (
            lambda n, r: (
                qformer("contrast", n, r) & torch.ones(n + r.shape[1], n + r.shape[1]).tril().bool()
            ),
            "the text doesn't see the queries: then it can't know anything of the picture.",
        ),
        (
            lambda n, r: (
                qformer("generate", n, r)
                | (torch.arange(n + r.shape[1]) >= n)[:, None] & qformer("match", n, r)
            ),
            "the text sees its own future.",
        ),
        (
            lambda n, r: (
                qformer("generate", n, r)
                | (torch.arange(n + r.shape[1]) < n)[:, None] & qformer("match", n, r)
            ),
            "the queries see the text, and with it the answer: perfect in training, useless in generation.",
        ),
    ],
}


def masks(task):
    """Driver and mistakes of one of the three tasks."""
    return Check(
        f"mask of '{task}'",
        1,
        "qformer_mask",
        padded(task),
        lambda n, r: qformer(task, n, r),
        [
            (
                lambda n, r: qformer(task, n, r, hide=False),
                "padding is seen: no query of any kind may look at a key that isn't real.",
            ),
            *MASK_MISTAKES[task],
            (lambda n, r: ~qformer(task, n, r), "upside down: True means may look."),
            (
                lambda n, r: qformer(task, n, r).transpose(1, 2),
                "that is the transpose: rows are queries, columns are keys.",
            ),
            (
                lambda n, r: qformer(task, n, r) & qformer(task, n, r).transpose(1, 2),
                "rows of padding are emptied, too, or text and queries lose each other: only columns of padding are hidden.",
            ),
            (
                lambda n, r: qformer(task, n, r)[:1].expand(len(r), -1, -1),
                "every text gets the mask of the first: padding differs from text to text.",
            ),
            (
                lambda n, r: qformer(
                    task,
                    n,
                    torch.cat([torch.ones(len(r), n, dtype=torch.bool), r], 1)[:, : r.shape[1]],
                ),
                "padding is hidden at the wrong columns: text starts after the queries.",
            ),
        ],
        driver=f"def run(qformer_mask, queries, real):\n    return qformer_mask({task!r}, queries, real)\n",
    )


# 7. Scores of the Q-Former.


def contrast_logits(queries, text, temperature, pool=torch.amax):
    B = len(queries)
    return (
        torch.stack(
            [
                torch.stack(
                    [pool((unit(queries[i]) @ unit(text[j]))[None], 1)[0] for j in range(B)]
                )
                for i in range(B)
            ]
        )
        / temperature
    )


def outputs(generator):
    B, R = number(generator, 3, 4), number(generator, 3, 5)
    return [
        2 * normal(generator, B, R, 6),
        2 * normal(generator, B, 6),
        0.05 + 0.01 * number(generator, 0, 5),
    ], {}


def match_logits(states, weight, bias):
    return torch.stack(
        [torch.stack([weight @ query + bias for query in row]).mean(0) for row in states]
    )


def states(generator):
    return [
        normal(generator, number(generator, 3, 4), number(generator, 3, 5), 6),
        normal(generator, 2, 6),
        normal(generator, 2),
    ], {}


# 8. Captions kept and thrown away.


def keep(
    scores,
    source,
    threshold=0.5,
    match=lambda a, b: float(softmax(torch.tensor([a, b]))[1]),
    people=True,
):
    return [
        place
        for place, ((no, yes), kind) in enumerate(zip(scores.tolist(), source))
        if (people and kind == "human") or match(no, yes) > threshold
    ]


def found(generator):
    N = 12
    scores = 2 * normal(generator, N, 2)
    source = [["web", "synthetic", "human"][place % 3] for place in range(N)]
    scores[2] = torch.tensor([3.0, -1.0])  # a human caption that the filter dislikes
    scores[0] = torch.tensor([2.0, 1.0])  # yes is positive, but less than no
    scores[1] = torch.tensor([-2.0, -1.0])  # yes is negative, but more than no
    scores[3] = torch.tensor([-0.5, 0.2])
    return [scores, source], {}


PLACES = """
def read(got, scores, source):
    return [int(place) for place in got]
"""


def quality(kept, good):
    true = sum(good[i] for i in kept)
    return [true / len(kept), true / sum(good)]


def judged(generator):
    good = [bool(x) for x in torch.rand(9, generator=generator) < 0.5]
    good[0], good[1], good[2] = True, True, False
    return [
        [
            0,
            2,
            *sorted(
                (3 + torch.randperm(6, generator=generator)[: number(generator, 1, 3)]).tolist()
            ),
        ],
        good,
    ], {}


CHECKS = {
    "a4-negatives-test": [
        Check(
            "probabilities of the negatives",
            3,
            "negatives",
            batch,
            negatives,
            [
                (
                    lambda s, n: negatives(s, n, bar=torch.eye(len(n), dtype=torch.bool)),
                    "another pair with the same number is no negative: its weight is 0, too.",
                ),
                (
                    lambda s, n: negatives(s, n, bar=torch.zeros(len(n), len(n), dtype=torch.bool)),
                    "an image can draw its own text: its weight must be 0.",
                ),
                (
                    lambda s, n: negatives(s, n, floor=0),
                    "the 1e-4 is missing: without it a row can be all zeros.",
                ),
                (
                    lambda s, n: negatives(s, n, share=False),
                    "a row must sum to one after the zeros.",
                ),
                (
                    lambda s, n: negatives(s, n, axis=0),
                    "softmax runs over the images: each image draws a text.",
                ),
                (
                    lambda s, n: (x := (n[:, None] != n[None, :]).float()) / x.sum(1, keepdim=True),
                    "every negative is as likely as the others: hard ones, the similar, are likelier.",
                ),
                (
                    lambda s, n: negatives(-s, n),
                    "the least similar are likeliest: hard negatives are the most similar.",
                ),
                (
                    lambda s, n: (
                        softmax(s)
                        .masked_fill(n[:, None] == n[None, :], 0)
                        .add(1e-4)
                        .div(
                            softmax(s)
                            .masked_fill(n[:, None] == n[None, :], 0)
                            .add(1e-4)
                            .sum(1, keepdim=True)
                        )
                    ),
                    "the 1e-4 comes after the zeros, so forbidden pairs can be drawn.",
                ),
            ],
        ),
        Check(
            "a model that is sure",
            1,
            "negatives",
            saturated,
            negatives,
            [
                (
                    lambda s, n: torch.full_like(s, torch.nan),
                    "0 / 0: where the softmax is all on the own text, only the 1e-4 is left. It comes before the zeros.",
                ),
                (
                    softmax_of_rest,
                    "the 1e-4 is missing (softmax over the negatives alone): the code draws evenly from a row in which nothing is left.",
                ),
                (
                    lambda s, n: negatives(s, n, floor=0).nan_to_num(0),
                    "no negative can be drawn, multinomial would fail: the 1e-4 is missing.",
                ),
            ],
        ),
    ],
    "a4-matching-test": [
        Check(
            "the three groups",
            2,
            "matching",
            drawn,
            lambda i, t: as_set(matching(i, t)),
            [
                (
                    lambda i, t: as_set(swapped_labels(i, t)),
                    "the labels are upside down: 1 for a pair that belongs together.",
                ),
                (
                    lambda i, t: as_set(crossed(i, t)),
                    "negative images and negative texts are exchanged: negative_image[i] is an image for text i.",
                ),
                (
                    lambda i, t: as_set(both_other(i, t)),
                    "a negative has one part of its own: another image with the own text, or the own image with another text.",
                ),
                (
                    lambda i, t: as_set([x[: 2 * len(i)] for x in matching(i, t)]),
                    "the own images with other texts are missing: there are three groups.",
                ),
                (
                    lambda i, t: as_set(
                        [torch.cat([x[: len(i)], x[2 * len(i) :]]) for x in matching(i, t)]
                    ),
                    "the other images with own texts are missing: there are three groups.",
                ),
                (
                    lambda i, t: as_set([x[len(i) :] for x in matching(i, t)]),
                    "the right pairs are missing.",
                ),
                (
                    lambda i, t: as_set([*matching(i, t)[:2], torch.ones(3 * len(i)).long()]),
                    "all labels are 1: negatives have 0.",
                ),
                (
                    lambda i, t: as_set(
                        [
                            *matching(i, t)[:2],
                            torch.tensor([1] * len(i) + [0] * len(i) + [1] * len(i)),
                        ]
                    ),
                    "the third group is labelled 1: other texts don't match.",
                ),
            ],
            driver=AS_SET,
            reading=SORTED,
        ),
    ],
    "a4-lm-test": [
        Check(
            "the loss",
            3,
            "lm_loss",
            captions,
            lambda *a: lm_loss(*a).mean(),
            [
                (lambda lo, i, s, e: lm_loss(lo, i, s, 0.0).mean(), "there is no smoothing."),
                (
                    lambda *a: lm_loss(*a, ahead=0).mean(),
                    "position t is compared with token t, which it has already read: it predicts token t + 1.",
                ),
                (everything, "the prompt and the padding are scored: only where `scored` is True."),
                (
                    lambda *a: lm_loss(*a, others=lambda V: V - 1).mean(),
                    "the smoothing is spread over the V - 1 other words: the paper's code spreads it over all V.",
                ),
                (
                    lambda lo, i, s, e: lm_loss(lo, i, s, 1 - e).mean(),
                    "smoothing and 1 - smoothing are exchanged.",
                ),
                (lambda *a: lm_loss(*a).sum(), "that is the sum: the mean over scored tokens."),
                (lambda *a: -lm_loss(*a).mean(), "the sign is wrong."),
                (
                    lambda lo, i, s, e: (1 - e) * lm_loss(lo, i, s, 0.0).mean(),
                    "the second part is missing: `smoothing` times the mean of minus all log-probabilities.",
                ),
                (
                    lambda lo, i, s, e: lm_loss(
                        lo, i, torch.cat([s[:, 1:], s[:, :1] & False], 1), e
                    ).mean(),
                    "`scored` belongs to the tokens, not to the positions that predict them: shift it together with ids.",
                ),
                (
                    lambda lo, i, s, e: lm_loss(lo, i, s, 0.1).mean(),
                    "0.1 is fixed: use `smoothing`.",
                ),
            ],
        ),
    ],
    "a4-momentum-test": [
        Check(
            "follow(slow, fast, momentum)",
            2,
            "follow",
            parameters,
            followed,
            [
                (
                    lambda s, f, m: [m * f + (1 - m) * s, f, False],
                    "momentum and 1 - momentum are exchanged: the slow one mostly stays.",
                ),
                (
                    lambda s, f, m: [s, f, False],
                    "nothing changes: write into the slow parameters, in place.",
                ),
                (
                    lambda s, f, m: [f, f, False],
                    "the slow one is a copy of the fast one: it follows slowly.",
                ),
                (
                    lambda s, f, m: [s, m * f + (1 - m) * s, False],
                    "the fast parameters change: they learn by the optimiser alone.",
                ),
                (
                    lambda s, f, m: [followed(s, f, m)[0], followed(s, f, m)[0], False],
                    "the fast parameters change, too.",
                ),
                (
                    lambda s, f, m: [*followed(s, f, m)[:2], True],
                    "the slow parameters got a graph: copy values, under torch.no_grad().",
                ),
                (
                    lambda s, f, m: [m * s + f, f, False],
                    "the fast part counts whole: (1 - momentum) of it.",
                ),
                (
                    lambda s, f, m: [torch.stack([followed(s, f, m)[0][0], *s[1:]]), f, False],
                    "only the first parameter follows.",
                ),
            ],
            driver=FOLLOW,
            reading=ANY_GRAPH,
        ),
        Check(
            "enqueue(queue, place, new)",
            1,
            "enqueue",
            waiting,
            in_line,
            [
                (
                    lambda q, p: in_line(q, p, turn=lambda place, size: place),
                    "the place runs over the end: start again at 0.",
                ),
                (
                    lambda q, p: [torch.cat([q, *p]), in_line(q, p)[1]],
                    "the queue grows: the new ones take the places of the oldest.",
                ),
                (lambda q, p: [q, in_line(q, p)[1]], "the queue doesn't change."),
                (
                    lambda q, p: [torch.cat([p[-1], q[2:]]), [0] * len(p)],
                    "the place doesn't move on: the next ones go behind these.",
                ),
                (
                    lambda q, p: [torch.cat([q, *p])[-6:], in_line(q, p)[1]],
                    "everything is shifted: write at `place`, nothing else moves.",
                ),
            ],
            driver=QUEUE,
        ),
    ],
    "a4-soft-test": [
        Check(
            "the targets",
            3,
            "soft_targets",
            momentum_similarity,
            soft_targets,
            [
                (
                    lambda s, a: soft_targets(s, 1 - a),
                    "alpha and 1 - alpha are exchanged: alpha is the soft part.",
                ),
                (lambda s, a: soft_targets(s, 0.0), "only the hard part."),
                (lambda s, a: soft_targets(s, 1.0), "only the soft part."),
                (
                    lambda s, a: a * s + (1 - a) * soft_targets(s, 0.0),
                    "softmax is missing: similarities are no probabilities.",
                ),
                (
                    lambda s, a: a * softmax(s, 0) + (1 - a) * soft_targets(s, 0.0),
                    "softmax runs over the images: each row sums to one.",
                ),
                (
                    lambda s, a: a * softmax(s) + soft_targets(s, 0.0),
                    "rows sum to 1 + alpha: the hard part counts 1 - alpha.",
                ),
                (
                    lambda s, a: soft_targets(s[:, : len(s)], a),
                    "the queue is missing: all B + K columns.",
                ),
                (
                    lambda s, a: a * softmax(s) + (1 - a) / s.shape[1],
                    "the hard part is spread over all: it is on the own one.",
                ),
                (
                    lambda s, a: (
                        a * softmax(s) + (1 - a) * soft_targets(s, 0.0).roll(s.shape[1] - len(s), 1)
                    ),
                    "the own ones are taken to be the last B columns: they come first, the queue behind them.",
                ),
            ],
        ),
    ],
    "a4-masks-test": [masks("contrast"), masks("match"), masks("generate")],
    "a4-scores-test": [
        Check(
            "contrast_logits(queries, text, temperature)",
            3,
            "contrast_logits",
            outputs,
            contrast_logits,
            [
                (
                    lambda *a: contrast_logits(*a, pool=torch.mean),
                    "that is the mean over queries: the best query counts.",
                ),
                (
                    lambda *a: contrast_logits(*a, pool=torch.amin),
                    "that is the worst query: the best one counts.",
                ),
                (
                    lambda *a: contrast_logits(*a, pool=torch.sum),
                    "that is the sum over queries: the best query counts.",
                ),
                (
                    lambda *a: contrast_logits(*a, pool=lambda x, dim: x[:, 0]),
                    "that is the first query: the best one counts, another one for each text.",
                ),
                (
                    lambda q, t, T: contrast_logits(q, t, 1 / T),
                    "cosines are multiplied by the temperature: BLIP-2 divides.",
                ),
                (lambda q, t, T: contrast_logits(q, t, 1.0), "there is no temperature."),
                (
                    lambda q, t, T: contrast_logits(q, t, T).T,
                    "that is the transpose: rows are images.",
                ),
                (
                    lambda q, t, T: torch.einsum("ird,jd->ijr", q, t).amax(-1) / T,
                    "the vectors are not normalised.",
                ),
                (
                    lambda q, t, T: torch.einsum("id,jd->ij", unit(q.mean(1)), unit(t)) / T,
                    "queries are averaged before the comparison: compare each of them.",
                ),
                (
                    lambda q, t, T: torch.einsum("id,jd->ij", unit(q.amax(1)), unit(t)) / T,
                    "the maximum is taken over features of queries: over their similarities.",
                ),
                (
                    lambda q, t, T: torch.einsum("ird,jd->ijr", unit(q), t).amax(-1) / T,
                    "the text is not normalised.",
                ),
            ],
        ),
        Check(
            "match_logits(states, weight, bias)",
            1,
            "match_logits",
            states,
            match_logits,
            [
                (
                    lambda s, w, b: (s @ w.T + b).amax(1),
                    "that is the maximum over queries: here the mean counts.",
                ),
                (lambda s, w, b: (s @ w.T + b).sum(1), "that is the sum over queries: the mean."),
                (
                    lambda s, w, b: (s @ w.T + b)[:, 0],
                    "that is the first query: the mean over all of them.",
                ),
                (lambda s, w, b: (s @ w.T).mean(1), "the bias is missing."),
                (
                    lambda s, w, b: softmax((s @ w.T + b).mean(1)),
                    "these are probabilities: logits are wanted.",
                ),
                (
                    lambda s, w, b: softmax(s @ w.T + b).mean(1),
                    "probabilities are averaged: average the logits.",
                ),
                (
                    lambda s, w, b: (s @ w.T + b).mean(0),
                    "the mean runs over the batch: over the queries.",
                ),
                (lambda s, w, b: s @ w.T + b, "one pair of logits per query: average them."),
            ],
        ),
    ],
    "a4-capfilt-test": [
        Check(
            "keep(scores, source)",
            3,
            "keep",
            found,
            keep,
            [
                (
                    lambda s, k: keep(s, k, people=False),
                    "human captions are filtered: they are kept, whatever the filter thinks.",
                ),
                (
                    lambda s, k: keep(s, k, threshold=0, match=lambda no, yes: yes),
                    "the yes logit alone is compared with 0: softmax over no and yes first.",
                ),
                (
                    lambda s, k: keep(s, k, match=lambda no, yes: yes),
                    "the yes logit is compared with 0.5: it is the probability, after softmax.",
                ),
                (
                    lambda s, k: keep(
                        s, k, match=lambda no, yes: float(softmax(torch.tensor([no, yes]))[0])
                    ),
                    "no and yes are exchanged: column 1 is yes.",
                ),
                (
                    lambda s, k: [i for i in range(len(k)) if i not in keep(s, k)],
                    "these are the ones to throw away.",
                ),
                (
                    lambda s, k: [i for i in keep(s, k) if k[i] != "synthetic"],
                    "all synthetic captions are gone: they are filtered like those of the web.",
                ),
                (
                    lambda s, k: [i for i in range(len(k)) if k[i] != "web" or i in keep(s, k)],
                    "synthetic captions are not filtered: both web and synthetic are.",
                ),
                (
                    lambda s, k: [i for i in keep(s, k) if k[i] != "human"],
                    "human captions are missing: they are kept.",
                ),
                (
                    lambda s, k: keep(
                        s, k, match=lambda no, yes: 1 / (1 + float(torch.tensor(-yes).exp()))
                    ),
                    "that is a sigmoid of yes alone: softmax over no and yes.",
                ),
                (lambda s, k: keep(s, k, threshold=0.9), "the threshold is 0.5."),
                (lambda s, k: list(range(len(k))), "everything is kept."),
            ],
            reading=PLACES,
        ),
        Check(
            "quality(kept, good)",
            1,
            "quality",
            judged,
            quality,
            [
                (lambda k, g: quality(k, g)[::-1], "precision comes first, then recall."),
                (
                    lambda k, g: [sum(g[i] for i in k) / len(g)] * 2,
                    "divide by the number kept, and by the number of good ones.",
                ),
                (
                    lambda k, g: [quality(k, g)[0]] * 2,
                    "recall is the fraction of all good ones that were kept.",
                ),
                (
                    lambda k, g: [quality(k, g)[1]] * 2,
                    "precision is the fraction of the kept ones that are good.",
                ),
                (
                    lambda k, g: [100 * x for x in quality(k, g)],
                    "fractions are wanted, not per cent.",
                ),
            ],
        ),
    ],
}


def confident(generator):
    """Similarities at a trained model's scale, where a softmax by hand overflows; several repeats."""
    B = number(generator, 4, 7)
    same = torch.randint(0, 3, (B,), generator=generator)
    same[0], same[1] = 0, 1  # everybody has a negative
    return [60 * normal(generator, B, B) + 100, same], {}


def loud_captions(generator):
    (logits, ids, scored, smoothing), _ = captions(generator)
    return [80 * logits, ids, scored, smoothing * number(generator, 0, 1)], {}


def other_queue(generator):
    """A queue of another size, filled in other portions."""
    portion = number(generator, 1, 3)
    parts = [normal(generator, portion, 4) for _ in range(number(generator, 5, 7))]
    return [normal(generator, portion * number(generator, 3, 4), 4), parts], {}


def sure_similarity(generator):
    B = number(generator, 2, 5)
    return [100 * normal(generator, B, B + number(generator, 0, 9)), 0.9], {}


def few_words(generator):
    """Texts of one real token, of none, and a whole one; one query."""
    T = number(generator, 3, 6)
    real = torch.arange(T)[None, :] < torch.tensor([[1], [T], [number(generator, 2, 3)]])
    return [1, real], {}


def negative_best(generator):
    """Cosines that are all negative: the best of them isn't 0."""
    (queries, text, temperature), _ = outputs(generator)
    base = normal(generator, 6)
    queries, text = 0.3 * queries - base, 0.3 * text + base
    return [queries, text, temperature / 2], {}


def any_source(generator):
    """Captions of any source in any order; logits whose exponentials are infinite."""
    N = number(generator, 5, 15)
    kinds = torch.randint(0, 3, (N,), generator=generator).tolist()
    scores = 4 * normal(generator, N, 2) + 100 * torch.randint(-1, 2, (N, 1), generator=generator)
    return [scores, [["web", "synthetic", "human"][kind] for kind in kinds]], {}


HIDDEN = {
    "a4-negatives-test": {"probabilities of the negatives": [confident, confident]},
    "a4-matching-test": {
        "the three groups": [lambda g: ([torch.tensor([1, 2, 0]), torch.tensor([2, 0, 1])], {})]
    },
    "a4-lm-test": {"the loss": [loud_captions, loud_captions]},
    "a4-momentum-test": {
        "follow(slow, fast, momentum)": [lambda g: ([normal(g, 1, 2), normal(g, 1, 2), 0.995], {})],
        "enqueue(queue, place, new)": [other_queue, other_queue],
    },
    "a4-soft-test": {"the targets": [sure_similarity, sure_similarity]},
    "a4-masks-test": {
        f"mask of '{task}'": [few_words] for task in ("contrast", "match", "generate")
    },
    "a4-scores-test": {
        "contrast_logits(queries, text, temperature)": [negative_best],
        "match_logits(states, weight, bias)": [states],
    },
    "a4-capfilt-test": {"keep(scores, source)": [any_source, any_source]},
}
CHECKS = with_hidden(CHECKS, HIDDEN)
