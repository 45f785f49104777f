"""Hidden checks of assignment 2: CLIP. Formulas of their own, pair by pair where that is clearer."""

import math

import torch

from vlmgrader.checks import Check, with_hidden


def number(generator, low, high):
    """An integer, low <= n <= high."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def normal(generator, *shape):
    return torch.randn(*shape, generator=generator)


def unit(x):
    return x / x.square().sum(-1, keepdim=True).sqrt()


def surprise(logits, axis):
    """Minus the log-probability of the diagonal, by softmax along an axis: (B,)."""
    logits = logits - logits.amax(axis, keepdim=True)
    return logits.exp().sum(axis).log() - logits.diagonal()


# 1. The loss.


def loss_of(logits):
    return (surprise(logits, 1).mean() + surprise(logits, 0).mean()) / 2


def loss(image, text, log_scale):
    return loss_of(log_scale.exp() * unit(image) @ unit(text).T)


def pairs(generator):
    B, D = number(generator, 4, 6), number(generator, 6, 9)
    return [
        3 * normal(generator, B, D),
        3 * normal(generator, B, D),
        torch.rand((), generator=generator) + 1.0,
    ], {}


def certain(generator):
    """CLIP's own largest scale, and pairs that are nearly alike: exp of a logit is infinite."""
    (image, _, _), _ = pairs(generator)
    return [image, image + 0.05 * normal(generator, *image.shape), torch.tensor(math.log(100))], {}


def beyond(generator):
    """A log-scale outside its bounds: it is the optimiser's step that brings it back, not the loss."""
    (image, text, _), _ = pairs(generator)
    outside = [math.log(100) + 0.2, -0.4][number(generator, 0, 1)]
    return [image, text, torch.tensor(outside)], {}


def limits(generator):
    """A batch of one; and unit vectors that are all alike."""
    return [
        normal(generator, 8),
        normal(generator, 8),
        torch.rand((), generator=generator) + 1.0,
        number(generator, 3, 9),
    ], {}


LIMITS = """
import torch
def run(clip_loss, a, b, log_scale, size):
    return torch.stack([clip_loss(a[None], b[None], log_scale), clip_loss(a.expand(size, -1), b.expand(size, -1), log_scale)])
"""
GRADIENT = """
def run(clip_loss, image, text, log_scale):
    inputs = [x.clone().requires_grad_() for x in (image, text, log_scale)]
    clip_loss(*inputs).backward()
    return [x.detach() * 0 if x.grad is None else x.grad for x in inputs]
"""


def gradient(image, text, log_scale):
    inputs = [x.clone().requires_grad_() for x in (image, text, log_scale)]
    return list(torch.autograd.grad(loss(*inputs), inputs))


LOSS_MISTAKES = [
    (
        lambda i, t, s: surprise(s.exp() * unit(i) @ unit(t).T, 1).mean(),
        "that is only image to text: add the loss over the columns and halve.",
    ),
    (
        lambda i, t, s: surprise(s.exp() * unit(i) @ unit(t).T, 0).mean(),
        "that is only text to image: add the loss over the rows and halve.",
    ),
    (lambda *a: 2 * loss(*a), "that is the sum of both directions: the paper takes their mean."),
    (
        lambda i, t, s: loss_of(s * unit(i) @ unit(t).T),
        "the log-scale is used as it is: multiply by its exponential.",
    ),
    (
        lambda i, t, s: loss_of(unit(i) @ unit(t).T / s.exp()),
        "the cosines are divided by the scale: it multiplies.",
    ),
    (
        lambda i, t, s: loss_of(unit(i) @ unit(t).T),
        "there is no temperature: multiply the cosines by exp(log_scale).",
    ),
    (
        lambda i, t, s: loss_of(s.exp() * i @ t.T),
        "the vectors are not normalised: these are dot products, not cosines.",
    ),
    (lambda i, t, s: loss_of(s.exp() * unit(i) @ t.T), "the text vectors are not normalised."),
    (lambda i, t, s: loss_of(s.exp() * i @ unit(t).T), "the image vectors are not normalised."),
    (
        lambda i, t, s: loss_of(s.exp() * unit(i.T).T @ unit(t.T).T.T),
        "you normalise over the batch: each vector gets length 1 along its own axis, the last.",
    ),
    (lambda *a: len(a[0]) * loss(*a), "the rows are summed: the loss is their mean."),
    (lambda *a: -loss(*a), "the sign is wrong: a loss is minus the log-probability."),
]


# 2. The temperature's bounds.

BOUNDED = """
import torch
def run(after_step, starts):
    found = []
    for start in starts:
        log_scale = torch.nn.Parameter(start.clone())
        after_step(log_scale)
        found.append(log_scale.detach().clone())
    return torch.stack(found)
"""
COMES_BACK = """
import torch
def run(after_step, start, slopes):
    log_scale = torch.nn.Parameter(start.clone())
    optimiser, path = torch.optim.SGD([log_scale], lr=1.0), []
    for slope in slopes:
        optimiser.zero_grad()
        (slope * log_scale).backward()
        optimiser.step()
        after_step(log_scale)
        path.append(log_scale.detach().clone())
    return [log_scale.requires_grad, torch.stack(path)]
"""
TOP = math.log(100)


def starts(generator):
    values = torch.rand(5, generator=generator)
    return [
        torch.stack(
            [
                -values[0] - 0.2,
                values[1] * 0.5 + 0.2,
                values[2] + 3,
                values[3] + TOP + 0.3,
                values[4] + 101,
            ]
        )
    ], {}


def path(start, slopes, low=0.0, high=TOP):
    found, now = [], float(start)
    for slope in slopes.tolist():
        now = min(max(now - slope, low), high)
        found.append(now)
    return [True, torch.tensor(found)]


def slopes(generator):
    return [
        torch.rand((), generator=generator) + 3.5,
        torch.tensor([-1.0, -2.0, 0.5, 1.0, 2.5, 3.0, -1.0])
        + 0.1 * torch.rand(7, generator=generator),
    ], {}


BOUNDS = [
    (lambda x: x, "nothing changes: write into the parameter itself, in place (clamp_, or copy_)."),
    (lambda x: x.clamp(0, 100), "the bound is 100, but the parameter is a logarithm: ln 100."),
    (
        lambda x: x.clamp(max=TOP),
        "there is no lower bound: the scale is at least 1, its logarithm at least 0.",
    ),
    (
        lambda x: x.clamp(min=0),
        "there is no upper bound: the scale is at most 100, its logarithm at most ln 100.",
    ),
    (lambda x: x.clamp(0, 2), "the bound is the logarithm to base 10: exp needs the natural one."),
    (
        lambda x: x.clamp(1, TOP),
        "the lower bound is 1, but the parameter is a logarithm: ln 1 = 0.",
    ),
    (
        lambda x: x.exp().clamp(1, 100),
        "the parameter now holds the scale: it must stay its logarithm.",
    ),
    (
        lambda x: x.clamp(0, math.log(1 / 0.07)),
        "the upper bound is the start value: the paper allows up to 100.",
    ),
]


# 3. The state at the end token.


def end_of(row, end):
    return row.index(end)


def read_end(states, ids, end, place=end_of):
    return torch.stack([state[place(row, end)] for state, row in zip(states, ids.tolist())])


def texts(generator):
    end, B, T = 20, 4, number(generator, 7, 8)
    ids = torch.randint(3, 20, (B, T), generator=generator)
    for row, length in enumerate([2, 3, 4, 3]):
        ids[row, length] = end
        ids[row, length + 1 :] = 0 if row % 2 else end  # some pad with zeros, some repeat the end
    ids[1, 0], ids[3, 1] = 25, 30  # words learnt later have larger numbers than the end
    return [normal(generator, B, T, 5), ids, end], {}


def just_fits(generator):
    """The end token in the last place of a text, and in the first."""
    (states, ids, end), _ = texts(generator)
    ids[0, :] = 5
    ids[0, -1] = end
    ids[2, 0] = end
    return [states, ids, end], {}


def without_end(generator):
    (states, ids, end), _ = texts(generator)
    cut = ids.clone()
    cut[number(generator, 0, 3)] = 7
    return [states, ids, cut, end], {}


# First a batch that is right: who always raises an error has read nothing.
RAISES = """
def run(read_end, states, ids, cut, end):
    found = read_end(states, ids, end)
    try:
        read_end(states, cut, end)
    except NotImplementedError:
        raise
    except Exception as error:
        return [found, type(error).__name__, str(error)]
    return [found, "nothing", ""]
"""
BY_ACCIDENT = """
def read(got, *inputs):
    found, kind, message = got
    accident = any(words in message for words in ("is not in list", "not in tuple", "substring", "max() ", "min() "))
    return [found, "by accident" if accident else kind]
"""
READ_MISTAKES = [
    (lambda s, i, e: s[:, -1], "that is the last position: after the end token comes padding."),
    (
        lambda s, i, e: read_end(s, i, e, lambda row, end: row.index(max(row))),
        "that is the position of the largest id: words with larger ids than the end token exist.",
    ),
    (
        lambda s, i, e: read_end(s, i, e, lambda row, end: len(row) - 1 - row[::-1].index(end)),
        "that is the last end token: padding may repeat it, the first one counts.",
    ),
    (
        lambda s, i, e: s.mean(1),
        "that is the mean over all positions: only the end token has seen every word and no padding.",
    ),
    (
        lambda s, i, e: read_end(s, i, e, lambda row, end: row.index(end) - 1),
        "that is the word before the end token.",
    ),
    (lambda s, i, e: s[:, 0], "that is the first position: in a causal tower it has seen nothing."),
    (
        lambda s, i, e: torch.stack(
            [x[: row.index(e) + 1].mean(0) for x, row in zip(s, i.tolist())]
        ),
        "that is the mean over the text: CLIP takes the state at its end.",
    ),
    (
        lambda s, i, e: torch.stack(
            [x[row.index(e) : row.index(e) + 1] for x, row in zip(s, i.tolist())]
        ),
        "there is one axis too many: (B, D) is wanted.",
    ),
]


# 4. Zero-shot classes.


def class_vectors(embeddings):
    return unit(unit(embeddings).mean(0))


def prompts(generator):
    T, C = number(generator, 3, 5), number(generator, 3, 4)
    return [normal(generator, T, C, 6) * (0.2 + 5 * torch.rand(T, C, 1, generator=generator))], {}


def to_classify(generator):
    C = number(generator, 3, 5)
    return [
        3 * normal(generator, 4, 6),
        unit(normal(generator, C, 6)),
        1.0 + number(generator, 1, 9),
    ], {}


def zero_shot(images, classes, scale):
    return (scale * unit(images) @ classes.T).softmax(1)


# 5. Ranks.


def ranks(similarity, image_of, beaten=lambda other, own: other >= own, best=min, ahead=1):
    """By hand, with loops."""
    table, of = similarity.tolist(), image_of.tolist()
    to_text = []
    for image, row in enumerate(table):
        others = [row[caption] for caption in range(len(of)) if of[caption] != image]
        to_text.append(
            best(
                ahead + sum(beaten(other, row[caption]) for other in others)
                for caption in range(len(of))
                if of[caption] == image
            )
        )
    to_image = [
        ahead
        + sum(
            beaten(table[image][caption], table[of[caption]][caption])
            for image in range(len(table))
            if image != of[caption]
        )
        for caption in range(len(of))
    ]
    return [torch.tensor(to_text), torch.tensor(to_image)]


def every_rival(similarity, image_of):
    """An image's captions counted as each other's rivals."""
    to_text = [
        min(
            int((row >= row[caption]).sum())
            for caption in range(len(image_of))
            if image_of[caption] == image
        )
        for image, row in enumerate(similarity)
    ]
    return [torch.tensor(to_text), ranks(similarity, image_of)[1]]


def diagonal(similarity, image_of):
    return ranks(similarity, torch.arange(len(image_of)) % len(similarity))


def table(generator):
    N, each = number(generator, 4, 5), 2
    image_of = torch.arange(N).repeat(each)[torch.randperm(N * each, generator=generator)]
    similarity = (2 * normal(generator, N, N * each)).round() / 2  # rounded: ties are frequent
    similarity[0, image_of == 0] = 0.5  # captions of one image, too
    return [similarity, image_of], {}


def ranked(generator):
    return [
        torch.randint(1, 7, (number(generator, 30, 40),), generator=generator),
        number(generator, 2, 4),
    ], {}


# 6. Several right answers.


def rights(same):
    equal = torch.tensor([[float(a == b) for b in same.tolist()] for a in same.tolist()])
    return equal / equal.sum(1, keepdim=True)


def log_softmax(logits):
    logits = logits - logits.amax(1, keepdim=True)
    return logits - logits.exp().sum(1, keepdim=True).log()


def many_right(image, text, scale, same, target=rights):
    logits, right = scale * image @ text.T, target(same)
    return (
        -(
            (right * log_softmax(logits)).sum(1).mean()
            + (right * log_softmax(logits.T)).sum(1).mean()
        )
        / 2
    )


def left_out(image, text, scale, same):
    """Repeats masked out of the negatives, each pair with one right answer."""
    rival = (same[:, None] == same[None, :]) & ~torch.eye(len(same), dtype=torch.bool)
    logits = (scale * image @ text.T).masked_fill(rival, -math.inf)
    return loss_of(logits)


def repeats(generator):
    same = torch.tensor([0, 1, 0, 2, 1, 0, 3])[torch.randperm(7, generator=generator)]
    return [
        unit(normal(generator, 7, 6)),
        unit(normal(generator, 7, 6)),
        2.0 + number(generator, 1, 8),
        same,
    ], {}


# 7. Features for a probe.

TOWER = """
import torch
class Loud(torch.nn.Module):
    # in the place of dropout: one sees for certain whether it is on
    def forward(self, x):
        return 2 * x if self.training else x
class Model(torch.nn.Module):
    def __init__(self, weight, projection):
        super().__init__()
        self.weight = torch.nn.Parameter(weight)
        self.drop = Loud()
        self.image_projection = torch.nn.Linear(*projection.T.shape, bias=False)
        self.image_projection.weight.data = projection
        self.largest = 0
    def vision(self, pixels):
        self.largest = max(self.largest, len(pixels))
        return self.drop(pixels.flatten(1) @ self.weight)
    def encode_image(self, pixels):
        return torch.nn.functional.normalize(self.image_projection(self.vision(pixels)), dim=-1)
def run(features, weight, projection, pixels, batch, mode):
    model = Model(weight, projection)
    model.train(mode == "train")
    found = features(model, pixels, batch)
    return [found, found.requires_grad, model.training, model.drop.training, model.largest]
"""
VALUES = "def read(got, *inputs): return got[0]\n"
STATE_OF = """
def read(got, weight, projection, pixels, batch, mode):
    found, grad, trains, part_trains, largest = got
    fits = found.shape == (len(pixels), weight.shape[1]) and bool((found - pixels.flatten(1) @ weight).abs().max() < 1e-2)
    return {"features": fits, "found requires grad": grad, "model trains": trains and part_trains, "largest batch": largest}
"""


def pictures(mode):
    def inputs(generator):
        width, kept = number(generator, 4, 6), 12
        pixels = normal(generator, number(generator, 9, 11), 3, 2, 2)
        batch = number(generator, 3, 5)
        return [
            normal(generator, kept, width),
            normal(generator, 3, width),
            pixels,
            batch,
            mode,
        ], {}

    return inputs


def looked(grad=False, trains=None, whole=False, right=True):
    def state(weight, projection, pixels, batch, mode):
        return {
            "features": right,
            "found requires grad": grad,
            "model trains": (mode == "train") if trains is None else trains,
            "largest batch": len(pixels) if whole else batch,
        }

    return state


STATE = [
    (
        looked(trains=False),
        "the model stays in evaluation mode: put it back into the mode it was in.",
    ),
    (
        looked(trains=True),
        "the model trains afterwards, but it didn't before: put it back into the mode it was in.",
    ),
    (
        looked(grad=True),
        "the features carry a graph: nothing is trained here, so use torch.no_grad().",
    ),
    (
        looked(whole=True),
        "all pictures went through at once: take `batch` at a time, or memory runs out.",
    ),
    (
        looked(grad=True, trains=False),
        "no torch.no_grad(), and the model stays in evaluation mode.",
    ),
    (looked(right=False), "these aren't the features: see the line above."),
]


# 8. The diagnosis.

REASONS = {
    "A": "wrong pairs",
    "B": "batch of one",
    "C": "clamp in the forward pass",
    "D": "other pictures in the test",
}
HINTS = {
    "A": "the loss comes down from a confident start, and then can do no better than ln 32, however long. What would a model do whose "
    "right answers have nothing to do with the pictures?",
    "B": "what is the logarithm of one? With a single pair there is nothing to tell apart.",
    "C": "look at the scale: beyond its bound of 100 from the first step to the last, and not a digit changes, although the loss has "
    "a lot to say. Which fault takes away its gradient?",
    "D": "it learnt what it was shown as well as the healthy run. What differs between the two R@1?",
}


def cause(letter):
    def inputs(generator):
        return [letter], {}

    return Check(
        f"run {letter}",
        1,
        "diagnosis",
        inputs,
        lambda letter: REASONS[letter],
        [
            (lambda letter, other=other: other, HINTS[letter])
            for other in (*REASONS.values(), "learning rate zero", "no normalisation")
            if other != REASONS[letter]
        ],
        driver="def run(diagnosis, letter):\n    return diagnosis()[letter]\n",
        rounds=1,
        public=False,
    )


FORM = """
CAUSES = {"wrong pairs", "batch of one", "clamp in the forward pass", "other pictures in the test", "learning rate zero", "no normalisation"}
def read(found):
    return isinstance(found, dict) and set(found) == {"A", "B", "C", "D"} and set(found.values()) <= CAUSES
"""


CHECKS = {
    "a2-loss-test": [
        Check("the loss", 2, "clip_loss", pairs, loss, LOSS_MISTAKES),
        Check(
            "a batch of one gives 0; all alike gives ln B",
            1,
            "clip_loss",
            limits,
            lambda a, b, s, n: torch.tensor([0.0, math.log(n)]),
            [
                (lambda a, b, s, n: torch.tensor([0.0, 2 * math.log(n)]), LOSS_MISTAKES[2][1]),
                (lambda a, b, s, n: torch.tensor([0.0, n * math.log(n)]), LOSS_MISTAKES[10][1]),
                (lambda a, b, s, n: torch.tensor([0.0, -math.log(n)]), LOSS_MISTAKES[11][1]),
            ],
            driver=LIMITS,
        ),
        Check(
            "its gradient, that of the scale too",
            1,
            "clip_loss",
            pairs,
            gradient,
            [
                (
                    lambda *a: [*gradient(*a)[:2], torch.zeros(())],
                    "the scale has no gradient, so it could not be learnt: keep it a tensor, no .item(), float() or math.exp().",
                ),
                (
                    lambda *a: [torch.zeros_like(a[0]), *gradient(*a)[1:]],
                    "no gradient reaches the image vectors.",
                ),
                (lambda *a: [x * 2 for x in gradient(*a)], LOSS_MISTAKES[2][1]),
            ],
            driver=GRADIENT,
        ),
    ],
    "a2-scale-test": [
        Check(
            "the bounds", 1, "after_step", starts, lambda x: x.clamp(0, TOP), BOUNDS, driver=BOUNDED
        ),
        Check(
            "it can come back",
            1,
            "after_step",
            slopes,
            path,
            [
                (
                    lambda *a: [False, path(*a)[1]],
                    "the parameter can't learn any more: leave requires_grad as it is.",
                ),
                (
                    lambda *a: path(*a, high=100),
                    "the bound is 100, but the parameter is a logarithm: ln 100.",
                ),
                (
                    lambda *a: path(*a, high=1e9, low=-1e9),
                    "nothing changes: write into the parameter itself, in place.",
                ),
                (lambda *a: path(*a, low=-1e9), "there is no lower bound."),
            ],
            driver=COMES_BACK,
        ),
    ],
    "a2-end-test": [
        Check("the state at the end token", 2, "read_end", texts, read_end, READ_MISTAKES),
        Check(
            "a text without an end is an error",
            1,
            "read_end",
            without_end,
            lambda s, i, cut, e: [read_end(s, i, e), "ValueError"],
            [
                (
                    lambda s, i, cut, e: [read_end(s, i, e), "nothing"],
                    "no error for a text without an end token: it would silently get some other state. Raise ValueError.",
                ),
                (
                    lambda s, i, cut, e: [read_end(s, i, e), "by accident"],
                    "it fails, but by accident, in a search of Python's: raise a ValueError that says what is wrong.",
                ),
                (
                    lambda s, i, cut, e: [read_end(s, i, e), "IndexError"],
                    "it fails, but by accident (IndexError): raise a ValueError that says what is wrong.",
                ),
                (
                    lambda s, i, cut, e: [read_end(s, i, e), "AssertionError"],
                    "an assert is switched off by python -O: raise a ValueError.",
                ),
            ],
            driver=RAISES,
            reading=BY_ACCIDENT,
        ),
    ],
    "a2-zero-shot-test": [
        Check(
            "class_vectors(embeddings)",
            2,
            "class_vectors",
            prompts,
            class_vectors,
            [
                (
                    lambda e: unit(e).mean(0),
                    "the mean is not normalised: its length would depend on how much the templates agree.",
                ),
                (
                    lambda e: unit(e.mean(0)),
                    "normalise each embedding before the mean, or long vectors outvote short ones.",
                ),
                (lambda e: e.mean(0), "nothing is normalised."),
                (lambda e: unit(e)[0], "that is one template, not the mean over all."),
                (
                    lambda e: unit(unit(e).mean(1)),
                    "the mean runs over the classes: templates are axis 0.",
                ),
                (
                    lambda e: unit(unit(e).amax(0)),
                    "that is the largest value over templates, not their mean.",
                ),
            ],
        ),
        Check(
            "zero_shot(images, classes, scale)",
            1,
            "zero_shot",
            to_classify,
            zero_shot,
            [
                (lambda i, c, s: (s * i @ c.T).softmax(1), "the image vectors are not normalised."),
                (
                    lambda i, c, s: (s * unit(i) @ c.T).softmax(0),
                    "the softmax runs over the images: each image's probabilities over the classes sum to one.",
                ),
                (lambda i, c, s: (unit(i) @ c.T).softmax(1), "the scale is not used."),
                (
                    lambda i, c, s: (unit(i) @ c.T / s).softmax(1),
                    "the cosines are divided by the scale: it multiplies.",
                ),
                (lambda i, c, s: s * unit(i) @ c.T, "these are logits: probabilities are wanted."),
                (
                    lambda i, c, s: (s * unit(i) @ c.T).argmax(1),
                    "these are the answers: probabilities are wanted.",
                ),
            ],
        ),
    ],
    "a2-ranks-test": [
        Check(
            "ranks(similarity, image_of)",
            3,
            "ranks",
            table,
            ranks,
            [
                (
                    lambda *a: ranks(*a)[::-1],
                    "the two ways are exchanged: image to text comes first.",
                ),
                (
                    lambda *a: ranks(*a, beaten=lambda other, own: other > own),
                    "ties count for the model: constant vectors would score 1. Count rivals that are at least as similar.",
                ),
                (lambda *a: ranks(*a, ahead=0), "the best rank is 1, not 0."),
                (
                    lambda *a: ranks(*a, best=max),
                    "that is the rank of an image's worst caption: the best of its captions counts.",
                ),
                (
                    lambda *a: ranks(*a, beaten=lambda other, own: other <= own),
                    "the rank counts the less similar: it counts those at least as similar.",
                ),
                (
                    every_rival,
                    "an image's own captions count as rivals of each other: leave out all of its own.",
                ),
                (
                    diagonal,
                    "caption j is taken to belong to image j (modulo N): image_of says to which it belongs.",
                ),
                (
                    lambda s, of: [
                        ranks(s, of)[0],
                        torch.stack(
                            [1 + (s[of[c]] >= s[of[c], c]).sum() - 1 for c in range(len(of))]
                        ),
                    ],
                    "text to image compares captions with each other: compare the images, down the column.",
                ),
                (lambda *a: [x.float() for x in ranks(*a)], "ranks are whole numbers."),
            ],
        ),
        Check(
            "recall(ranks, k)",
            1,
            "recall",
            ranked,
            lambda r, k: sum(x <= k for x in r.tolist()) / len(r),
            [
                (
                    lambda r, k: sum(x < k for x in r.tolist()) / len(r),
                    "rank k is among the first k: <= is wanted.",
                ),
                (
                    lambda r, k: float(sum(x <= k for x in r.tolist())),
                    "that is how many, not which fraction.",
                ),
                (
                    lambda r, k: 100 * sum(x <= k for x in r.tolist()) / len(r),
                    "that is per cent: a fraction is wanted.",
                ),
                (
                    lambda r, k: sum(x > k for x in r.tolist()) / len(r),
                    "that is the fraction of misses.",
                ),
                (
                    lambda r, k: sum(x == k for x in r.tolist()) / len(r),
                    "that is rank k exactly: all ranks up to k count.",
                ),
            ],
        ),
    ],
    "a2-same-test": [
        Check(
            "targets(same)",
            1,
            "targets",
            lambda g: (repeats(g)[0][3:], {}),
            rights,
            [
                (
                    lambda s: torch.eye(len(s)),
                    "each pair is right for itself only: all with the same number are.",
                ),
                (
                    lambda s: (rights(s) > 0).float(),
                    "a row must sum to one: share it among the right answers.",
                ),
                (
                    lambda s: rights(s) > 0,
                    "these are booleans: shares are wanted, each row sums to one.",
                ),
                (
                    lambda s: (rights(s) == 0).float() / (rights(s) == 0).sum(1, keepdim=True),
                    "that is upside down: these are the wrong ones.",
                ),
                (
                    lambda s: (rights(s) > 0).float() / (rights(s) > 0).sum(),
                    "the whole table sums to one: each row must.",
                ),
            ],
        ),
        Check(
            "contrast(image, text, scale, same)",
            2,
            "contrast",
            repeats,
            many_right,
            [
                (
                    lambda i, t, s, n: loss_of(s * i @ t.T),
                    "repeats count as wrong answers: use targets(same).",
                ),
                (
                    left_out,
                    "repeats are left out of the negatives, but they are right answers: each gets its share.",
                ),
                (
                    lambda *a: many_right(*a, target=lambda n: (rights(n) > 0).float()),
                    "the shares of a row don't sum to one.",
                ),
                (
                    lambda i, t, s, n: -(rights(n) * log_softmax(s * i @ t.T)).sum(1).mean(),
                    "that is only image to text.",
                ),
                (
                    lambda i, t, s, n: -(rights(n) * log_softmax(s * t @ i.T)).sum(1).mean(),
                    "that is only text to image.",
                ),
                (
                    lambda *a: 2 * many_right(*a),
                    "that is the sum of both directions: take their mean.",
                ),
                (lambda i, t, s, n: many_right(i, t, 1.0, n), "the scale is not used."),
                (lambda *a: -many_right(*a), "the sign is wrong."),
                (
                    lambda i, t, s, n: (
                        -(
                            (rights(n) * log_softmax(s * i @ t.T)).mean()
                            + (rights(n) * log_softmax(s * t @ i.T)).mean()
                        )
                        / 2
                    ),
                    "the mean runs over all cells: sum each row, then take the mean of the rows.",
                ),
            ],
        ),
    ],
    "a2-features-test": [
        Check(
            "the features",
            2,
            "features",
            pictures("train"),
            lambda w, p, x, b, mode: x.flatten(1) @ w,
            [
                (
                    lambda w, p, x, b, mode: x.flatten(1) @ w @ p.T,
                    "these are features after the projection: the paper's probes read those before it.",
                ),
                (
                    lambda w, p, x, b, mode: unit(x.flatten(1) @ w @ p.T),
                    "that is encode_image: the paper's probes read the features before the joint projection.",
                ),
                (
                    lambda w, p, x, b, mode: unit(x.flatten(1) @ w),
                    "the features are normalised: a probe reads them as they are.",
                ),
                (
                    lambda w, p, x, b, mode: 2 * x.flatten(1) @ w,
                    "the model was in training mode, with dropout on: put it into evaluation mode first.",
                ),
                (
                    lambda w, p, x, b, mode: (x.flatten(1) @ w)[:b],
                    "only the first batch is returned: concatenate all of them.",
                ),
                (
                    lambda w, p, x, b, mode: (x.flatten(1) @ w)[: len(x) // b * b],
                    "the last, smaller batch is missing.",
                ),
                (
                    lambda w, p, x, b, mode: (x.flatten(1) @ w)[-((len(x) - 1) % b + 1) :],
                    "only the last batch is returned: collect all of them.",
                ),
            ],
            driver=TOWER,
            reading=VALUES,
        ),
        Check(
            "the model is left as it was",
            1,
            "features",
            pictures("train"),
            looked(),
            STATE,
            driver=TOWER,
            reading=STATE_OF,
        ),
        Check(
            "also if it was in evaluation mode",
            0,
            "features",
            pictures("eval"),
            looked(),
            STATE,
            driver=TOWER,
            reading=STATE_OF,
        ),
    ],
    "a2-runs-test": [
        Check(
            "the form of the answer",
            0,
            "diagnosis",
            lambda g: ([], {}),
            lambda: True,
            [
                (
                    lambda: False,
                    "expected {'A': cause, 'B': cause, 'C': cause, 'D': cause}, with causes out of the list.",
                )
            ],
            reading=FORM,
            rounds=1,
        ),
        *[cause(letter) for letter in REASONS],
    ],
}


def own_table(generator):
    """Unequal numbers of captions, real cosines, and rivals that are nearly as similar."""
    N = number(generator, 3, 6)
    each = [number(generator, 1, 3) for _ in range(N - 1)] + [1]
    image_of = torch.tensor([image for image, count in enumerate(each) for _ in range(count)])
    image_of = image_of[torch.randperm(len(image_of), generator=generator)]
    similarity = 0.3 * normal(generator, N, len(image_of))
    right = similarity[image_of, torch.arange(len(image_of))]
    nearly = torch.rand(similarity.shape, generator=generator) < 0.4
    similarity = torch.where(
        nearly, right - 0.01 - 0.02 * torch.rand(similarity.shape, generator=generator), similarity
    )
    similarity[image_of, torch.arange(len(image_of))] = right
    return [similarity, image_of], {}


def sure(generator):
    """Images that are a class each, at CLIP's own scale: exp of a logit is infinite."""
    classes = unit(normal(generator, number(generator, 3, 6), 6))
    return [3 * classes, classes, 100.0], {}


def sure_repeats(generator):
    (image, text, _, same), _ = repeats(generator)
    return [image, image.roll(1, 0), 100.0, same], {}


HIDDEN = {
    "a2-loss-test": {
        "the loss": [certain, beyond, beyond],
        "its gradient, that of the scale too": [beyond, certain],
    },
    "a2-end-test": {"the state at the end token": [just_fits, just_fits]},
    "a2-zero-shot-test": {
        "class_vectors(embeddings)": [lambda g: ([normal(g, 1, number(g, 2, 5), 7)], {})],
        "zero_shot(images, classes, scale)": [sure],
    },
    "a2-ranks-test": {
        "ranks(similarity, image_of)": [own_table] * 5,
        "recall(ranks, k)": [
            lambda g: ([torch.randint(1, 30, (7,), generator=g), number(g, 5, 20)], {})
        ],
    },
    "a2-same-test": {
        "targets(same)": [lambda g: ([torch.randint(0, 3, (number(g, 3, 9),), generator=g)], {})],
        "contrast(image, text, scale, same)": [sure_repeats],
    },
    "a2-features-test": {"the model is left as it was": [pictures("eval")]},
}
CHECKS = with_hidden(CHECKS, HIDDEN)
