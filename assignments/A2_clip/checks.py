"""Hidden checks of assignment 2: CLIP and ViLBERT. Formulas of their own, with loops where that is clearer."""

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


def log_softmax(logits, axis=-1):
    logits = logits - logits.amax(axis, keepdim=True)
    return logits - logits.exp().sum(axis, keepdim=True).log()


# 1. One device's share of the loss.


def half(queries, keys, scale, targets, axis=1):
    """Mean of minus the log-probability of the targets, a column for each row."""
    logp = log_softmax(scale * queries @ keys.T, axis)
    return -torch.stack([logp[row, column] for row, column in enumerate(targets)]).mean()


def share(image, text, all_image, all_text, first, log_scale, scale=torch.exp, norm=unit):
    targets = range(first, first + len(image))
    image_loss = half(norm(image), norm(all_text), scale(log_scale), targets)
    return (image_loss + half(norm(text), norm(all_image), scale(log_scale), targets)) / 2


def devices(generator, noise=None, log_scale=None):
    """A batch on three or four devices, of which this is the second or a later one."""
    b, count, E = number(generator, 3, 4), number(generator, 3, 4), number(generator, 6, 9)
    all_image = 3 * normal(generator, b * count, E)
    all_text = 3 * normal(generator, b * count, E)
    if noise is not None:
        all_text = all_image + noise * normal(generator, *all_image.shape)
    first = b * number(generator, 1, count - 1)
    own = slice(first, first + b)
    scale = torch.rand((), generator=generator) + 1.0 if log_scale is None else log_scale
    return [
        all_image[own].clone(),
        all_text[own].clone(),
        all_image,
        all_text,
        first,
        scale,
    ], {}


def certain(generator):
    """CLIP's own largest scale, and pairs that are nearly alike: exp of a logit is infinite."""
    return devices(generator, 0.05, torch.tensor(math.log(100)))


def beyond(generator):
    """A scale outside its bounds: it is the optimiser's step that brings it back, not the loss."""
    outside = [math.log(100) + 0.2, -0.4][number(generator, 0, 1)]
    return devices(generator, log_scale=torch.tensor(outside))


def alone(generator):
    """One device: the whole batch is its own."""
    (_, _, all_image, all_text, _, log_scale), _ = devices(generator)
    return [all_image.clone(), all_text.clone(), all_image, all_text, 0, log_scale], {}


WHOLE = """
import torch
def run(share_of_loss, image, text, all_image, all_text, first, logit_scale):
    b = len(image)
    shares = [
        share_of_loss(all_image[at : at + b], all_text[at : at + b], all_image, all_text, at, logit_scale)
        for at in range(0, len(all_image), b)
    ]
    return torch.stack(shares).mean()
"""
GRADIENT = """
def run(share_of_loss, image, text, all_image, all_text, first, logit_scale):
    inputs = [x.clone().requires_grad_() for x in (image, text, all_image, all_text, logit_scale)]
    share_of_loss(*inputs[:4], first, inputs[4]).backward()
    return [x.detach() * 0 if x.grad is None else x.grad for x in inputs]
"""


def gradient(image, text, all_image, all_text, first, log_scale, function=None):
    inputs = [x.clone().requires_grad_() for x in (image, text, all_image, all_text, log_scale)]
    value = (function or share)(*inputs[:4], first, inputs[4])
    found = torch.autograd.grad(value, inputs, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found)]


def over_devices(function):
    """The mean over all devices of what a function gives for each."""

    def mean(image, text, all_image, all_text, first, log_scale):
        b = len(image)
        starts = range(0, len(all_image), b)
        own = ((all_image[s : s + b], all_text[s : s + b], s) for s in starts)
        return torch.stack(
            [function(i, t, all_image, all_text, s, log_scale) for i, t, s in own]
        ).mean()

    return mean


def transposed(image, text, all_image, all_text, first, log_scale):
    """The second table is a part of the first one's transpose."""
    b, own = len(image), range(len(image))
    to_text = half(unit(image), unit(all_text), log_scale.exp(), range(first, first + b))
    return (to_text + half(unit(text), unit(image), log_scale.exp(), own)) / 2


def whole(image, text, all_image, all_text, first, log_scale):
    return share(all_image, all_text, all_image, all_text, 0, log_scale)


def columns(image, text, all_image, all_text, first, log_scale):
    """The softmax runs over this device's rows."""
    targets = range(first, first + len(image))
    pairs = ((image, all_text), (text, all_image))
    return sum(half(unit(a), unit(b), log_scale.exp(), targets, 0) for a, b in pairs) / 2


def one_way(queries, keys):
    """Image to text alone, or text to image alone."""

    def wrong(*a):
        targets = range(a[4], a[4] + len(a[0]))
        return half(unit(a[queries]), unit(a[keys]), a[5].exp(), targets)

    return wrong


SHARE_MISTAKES = [
    (
        lambda *a: share(*a[:4], 0, a[5]),
        "the right answer of row i is taken to be column i: in the whole batch it is row first + i.",
    ),
    (
        lambda *a: share(a[0], a[1], a[0], a[1], 0, a[5]),
        "the share compares only this device's own pairs: the negatives are those of all devices.",
    ),
    (whole, "that is the loss of the whole batch: only this device's pairs are its rows."),
    (one_way(0, 3), "that is only image to text: add text to image, and halve."),
    (one_way(1, 2), "that is only text to image: add image to text, and halve."),
    (
        lambda *a: share(a[0], a[0], a[3], a[3], a[4], a[5]),
        "that is twice the same table: the second compares this device's texts with all images.",
    ),
    (
        transposed,
        "the second table is taken from the first one's transpose, so texts meet only this device's images: compare this device's "
        "texts with all images.",
    ),
    (
        columns,
        "the softmax runs over this device's rows: each row's probabilities over all B columns sum to one.",
    ),
    (lambda *a: 2 * share(*a), "that is the sum of both directions: take their mean."),
    (
        lambda *a: share(*a, scale=lambda s: s),
        "logit_scale is used as it is: multiply by its exponential.",
    ),
    (
        lambda *a: share(*a, scale=lambda s: (-s).exp()),
        "the cosines are divided by the scale: it multiplies.",
    ),
    (
        lambda *a: share(*a, scale=lambda s: 1.0),
        "there is no scale: multiply the cosines by exp(logit_scale).",
    ),
    (
        lambda *a: share(*a, norm=lambda x: x),
        "the vectors are not normalised: these are dot products, not cosines.",
    ),
    (
        lambda *a: share(*a, norm=lambda x: unit(x.T).T),
        "you normalise over the batch: each vector gets length 1 along its own axis, the last.",
    ),
    (lambda *a: len(a[0]) * share(*a), "the rows are summed: the share is their mean."),
    (
        lambda *a: share(*a) * len(a[0]) / len(a[2]),
        "the rows are divided by B: the share is the mean over this device's b pairs.",
    ),
    (lambda *a: -share(*a), "the sign is wrong: a loss is minus the log-probability."),
]


# 2. Every text keeps its end.


def fitted(texts, start, end, pad, context, keep=lambda text, room: text[:room]):
    rows, places = [], []
    for text in texts:
        row = [start, *keep(text, context - 2), end]
        places.append(len(row) - 1)
        rows.append([*row, *[pad] * (context - len(row))])
    return [torch.tensor(rows), torch.tensor(places)]


def texts(generator, pad=None):
    """A short text, one that just fits, one that is too long, an empty one."""
    context = number(generator, 6, 8)
    lengths = [2, context - 2, context + number(generator, 0, 3), 0, context - 3]
    some = [torch.randint(3, 20, (n,), generator=generator).tolist() for n in lengths]
    some[0][1] = 21  # the end's id is also a word
    return [some, 20, 21, number(generator, 0, 2) if pad is None else pad, context], {}


def padded_with_end(generator):
    """Some tokenizers pad with the end token; start may be the same id, too."""
    (some, *_, context), _ = texts(generator)
    same = number(generator, 30, 40)
    return [some, [20, same][number(generator, 0, 1)], same, same, context], {}


def smallest(generator):
    """A context of start and end alone."""
    return [[[5, 6], [], [7]], number(generator, 10, 19), number(generator, 20, 29), 0, 2], {}


def no_end_if_long(texts, start, end, pad, context):
    """Cut to the context after start and end were added."""
    rows = [[start, *text, end, *[pad] * context][:context] for text in texts]
    return [torch.tensor(rows), torch.tensor([min(len(t) + 1, context - 1) for t in texts])]


def one_of(index):
    return f"def run(fit, *inputs):\n    return fit(*inputs)[{index}]\n"


RAISES = """
def run(fit, texts, start, end, pad, context, small):
    found = fit(texts, start, end, pad, context)
    try:
        fit(texts, start, end, pad, small)
    except NotImplementedError:
        raise
    except Exception as error:
        return [found[0], type(error).__name__, str(error)]
    return [found[0], "nothing", ""]
"""
BY_ACCIDENT = """
def read(got, *inputs):
    found, kind, message = got
    parts = ("expected sequence", "at dim", "not enough values", "zero-size", "is not in list", "max() ", "min() ")
    return [found, "by accident" if any(words in message for words in parts) else kind]
"""


def too_small(generator):
    (some, start, end, pad, context), _ = texts(generator)
    return [some, start, end, pad, context, number(generator, 0, 1)], {}


def raising(kind):
    return lambda *a: [fitted(*a[:5])[0], kind]


# 3. Any number of prompts.


def class_vectors(embeddings, class_of, classes, norm=unit, end=unit):
    of = class_of.tolist()
    return end(
        torch.stack(
            [
                torch.stack([norm(embeddings[m]) for m in range(len(of)) if of[m] == c]).mean(0)
                for c in range(classes)
            ]
        )
    )


def prompts(generator):
    C, E = number(generator, 3, 4), number(generator, 5, 7)
    class_of = torch.tensor([c for c in range(C) for _ in range(number(generator, 1, 3))] + [0, 0])
    class_of = class_of[torch.randperm(len(class_of), generator=generator)]
    lengths = 0.2 + 5 * torch.rand(len(class_of), 1, generator=generator)
    return [normal(generator, len(class_of), E) * lengths, class_of, C], {}


def summed(embeddings, class_of, classes):
    """The sums of the classes' prompts, not their means, without the last normalisation."""
    return torch.stack([unit(embeddings)[class_of == c].sum(0) for c in range(classes)])


def first_only(embeddings, class_of, classes):
    return unit(torch.stack([embeddings[class_of == c][0] for c in range(classes)]))


def in_turn(embeddings, class_of, classes):
    """As if prompts came class by class in turn."""
    return class_vectors(embeddings, torch.arange(len(class_of)) % classes, classes)


def to_classify(generator):
    """Probabilities on both sides of the threshold, images of any length."""
    C = number(generator, 3, 5)
    images, vectors = 3 * normal(generator, 12, 6), unit(normal(generator, C, 6))
    log_scale = torch.tensor(0.8 + number(generator, 0, 3) / 4)
    highest = classified(images, vectors, log_scale).amax(1).sort().values
    at = number(generator, 4, 7)
    return [images, vectors, log_scale, ((highest[at] + highest[at + 1]) / 2).item()], {}


def classified(images, vectors, log_scale, scale=torch.exp, norm=unit):
    return log_softmax(scale(log_scale) * norm(images) @ vectors.T).exp()


def answered(probabilities, threshold, none=-1, compared=None):
    compared = probabilities if compared is None else compared
    answers = [
        row.index(max(row)) if max(value) >= threshold else none
        for row, value in zip(probabilities.tolist(), compared.tolist())
    ]
    return [torch.tensor(answers), probabilities.amax(1)]


def predicted(images, vectors, log_scale, threshold, none=-1, **other):
    return answered(classified(images, vectors, log_scale, **other), threshold, none)


def turned(images, vectors, log_scale, threshold):
    """-1 where the probability is high enough."""
    (answer, highest), (every, _) = (
        predicted(images, vectors, log_scale, limit) for limit in (threshold, -1.0)
    )
    return [torch.where(answer < 0, every, -1), highest]


def sure(generator):
    """Images that are a class each, at CLIP's own scale: exp of a logit is infinite."""
    vectors = unit(normal(generator, number(generator, 3, 6), 6))
    return [3 * vectors, vectors, torch.tensor(math.log(100)), 0.5], {}


# 4. Ranks.


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
    """An image's own captions counted as wrong candidates."""
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


# 5. The diagnosis.

REASONS = {
    "A": "wrong pairs",
    "B": "batch of one",
    "C": "clamp in the forward pass",
    "D": "other pictures in the test",
}
HINTS = {
    "A": "the loss falls at first, and then stays near ln 32 however long training lasts. What would a model do whose right answers "
    "have nothing to do with the pictures?",
    "B": "what is the logarithm of one? With a single pair there is only one answer.",
    "C": "look at the scale: it is above its bound of 100 from the first step to the last, and not a digit changes, although the loss "
    "falls. Which fault takes away its gradient?",
    "D": "it learned its training pairs as well as the healthy run. What differs between the two R@1?",
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


# 6. Masking that gives nothing away.


def overlap(a, b, area=lambda wide, high: max(wide, 0.0) * max(high, 0.0), union=True):
    """Of two boxes, as lists of four numbers."""
    shared = area(min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1]))
    sizes = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (a, b)]
    total = sum(sizes) - (shared if union else 0)
    return shared / total if total > 0 else 0.0


def overlaps(boxes, others, measure=overlap):
    return torch.tensor(
        [
            [[measure(a, b) for b in right] for a in left]
            for left, right in zip(boxes.tolist(), others.tolist())
        ]
    )


def some_boxes(generator, B, R):
    low = torch.rand(B, R, 2, generator=generator) * 0.6
    return torch.cat([low, low + 0.2 + 0.4 * torch.rand(B, R, 2, generator=generator)], -1)


def box_inputs(generator):
    """Boxes that overlap, boxes apart in one direction or in both, one inside another."""
    boxes, others = some_boxes(generator, 2, number(generator, 3, 4)), some_boxes(generator, 2, 5)
    boxes[0, 0] = torch.tensor([0.0, 0.0, 0.2, 0.3])
    others[0, 0] = torch.tensor([0.7, 0.6, 1.0, 0.9])  # apart in both: two negative sides
    others[0, 1] = torch.tensor([0.05, 0.5, 0.15, 0.8])  # apart in one
    others[1, 0] = boxes[1, 0]
    others[1, 1] = torch.cat([boxes[1, 1, :2] + 0.02, boxes[1, 1, 2:] - 0.05])
    return [boxes, others], {}


def empty_boxes(generator):
    (boxes, others), _ = box_inputs(generator)
    boxes[:, 0], others[:, 1] = 0.0, 0.0  # padding
    return [boxes, others], {}


def shapes(a, b):
    """Divided by the smaller of both areas."""
    sizes = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (a, b)]
    both = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    return both / min(sizes)


def in_hull(a, b):
    """Divided by the area of the smallest box around both."""
    both = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    return both / ((max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1])))


def to_hide(boxes, is_region, selected, threshold, chain=1, real=True, own=True):
    """By hand, region by region."""
    rows = []
    for picture in range(len(boxes)):
        count = boxes.shape[1]
        chosen = {
            r for r in range(count) if selected[picture, r] and (is_region[picture, r] or not real)
        }
        hidden = set(chosen)
        for _ in range(chain):
            hidden |= {
                r
                for r in range(count)
                for s in hidden
                if overlap(boxes[picture, r].tolist(), boxes[picture, s].tolist()) >= threshold
            }
        hidden = hidden if own else hidden - chosen
        rows.append(
            [r in hidden and (bool(is_region[picture, r]) or not real) for r in range(count)]
        )
    return torch.tensor(rows)


def region_inputs(generator):
    """Region 1 overlaps the selected region 0 strongly, region 2 overlaps region 1 but not 0, 3 is far away, the rest is padding
    that lies on a selected region."""
    boxes = torch.tensor(
        [
            [0.0, 0.0, 0.4, 0.4],
            [0.1, 0.0, 0.5, 0.4],
            [0.25, 0.0, 0.65, 0.4],
            [0.6, 0.6, 0.9, 0.9],
            [0.62, 0.6, 0.9, 0.9],
            [0.0, 0.0, 0.4, 0.41],
        ]
    ).repeat(3, 1, 1)
    boxes = boxes + 0.01 * torch.rand(boxes.shape, generator=generator)
    is_region = torch.tensor([[True] * 5 + [False]] * 3)
    is_region[2, 4] = False
    selected = torch.zeros(3, 6, dtype=torch.bool)
    selected[0, 0], selected[1, 2], selected[2, 0], selected[2, 4] = True, True, True, True
    selected[1, 5] = True
    order = torch.randperm(6, generator=generator)
    return [boxes[:, order], is_region[:, order], selected[:, order], 0.35], {}


def just_at_least(generator):
    """The same box twice, and a threshold of exactly 1."""
    (boxes, is_region, selected, _), _ = region_inputs(generator)
    boxes[:, 1] = boxes[:, 0]
    is_region[:, :2], selected[:, 0], selected[:, 1] = True, True, False
    return [boxes, is_region, selected, 1.0], {}


def nothing_selected(generator):
    (boxes, is_region, selected, _), _ = region_inputs(generator)
    return [boxes, is_region, selected & False, 0.2 + number(generator, 0, 3) / 10], {}


def word_inputs(generator):
    word = torch.tensor([[-1, 0, 1, 1, 1, 2, 3, -1, -1], [-1, 0, 0, 1, 2, 2, -1, -1, -1]])
    word = torch.cat([word, word.flip(0)])
    ids = torch.randint(5, 40, word.shape, generator=generator)
    selected = torch.rand(4, 4, generator=generator) < 0.4
    selected[:, 0] = torch.tensor([True, False, True, False])
    selected[:, 1] = torch.tensor([True, False, False, True])
    return [ids, word, selected, 3], {}


def more_words(generator):
    word = torch.tensor([[0, 1, 2, 3, 4, 5, -1], [0, 0, 0, 0, 0, 0, 0]])
    ids = torch.randint(0, 9, word.shape, generator=generator)
    selected = torch.zeros(2, number(generator, 6, 9), dtype=torch.bool)
    selected[0, number(generator, 0, 5)], selected[1, 0] = True, bool(number(generator, 0, 1))
    return [ids, word, selected, number(generator, 50, 90)], {}


def worded(
    ids, word, selected, mask_id, hidden=lambda w, row, t, words: w >= 0 and row[w], ignored=-100
):
    inputs, targets = [], []
    for row, words, chosen in zip(ids.tolist(), word.tolist(), selected.tolist()):
        hide = [bool(hidden(w, chosen, t, words)) for t, w in enumerate(words)]
        inputs.append([mask_id if h else i for h, i in zip(hide, row)])
        targets.append([i if h else ignored for h, i in zip(hide, row)])
    return [torch.tensor(inputs), torch.tensor(targets)]


# 7. Co-attention among streams.


def received(
    streams,
    is_real,
    scale=None,
    sources=lambda s, count: [i for i in range(count) if i != s],
    empty=0.0,
    masked=True,
):
    results = []
    for s, (q, _, _) in enumerate(streams):
        chosen = sources(s, len(streams))
        k = torch.cat([streams[i][1] for i in chosen], 2)
        v = torch.cat([streams[i][2] for i in chosen], 2)
        real = torch.cat([is_real[i] for i in chosen], 1)[:, None, None]
        real = real if masked else torch.ones_like(real)
        scores = torch.einsum("bhqd,bhkd->bhqk", q, k) * (
            q.shape[-1] ** -0.5 if scale is None else scale(q)
        )
        largest = scores.detach().masked_fill(~real, -math.inf).amax(-1, keepdim=True)
        scores = (scores - largest.nan_to_num(neginf=0.0)).masked_fill(~real, -math.inf).exp()
        total = scores.sum(-1, keepdim=True)
        result = scores / total.clamp(min=1e-30) @ v
        results.append(torch.where(real.any(-1, keepdim=True), result, empty))
    return results


def one_by_one(streams, is_real, mean=True):
    """A softmax for each pair of streams, then the sum or the mean."""
    results = []
    for s, stream in enumerate(streams):
        parts = [
            received([stream, other], [is_real[s], is_real[i]])[0]
            for i, other in enumerate(streams)
            if i != s
        ]
        results.append(sum(parts) / (len(parts) if mean else 1))
    return results


def stream_inputs(generator, count, missing=False, heads=None):
    B, H, d = 2, heads or number(generator, 1, 3), number(generator, 3, 6)
    lengths = [number(generator, 3, 4) + s for s in range(count)]
    streams = [[normal(generator, B, H, L, d) for _ in range(3)] for L in lengths]
    is_real = [torch.rand(B, L, generator=generator) < 0.6 for L in lengths]
    for real in is_real:
        real[:, 0], real[:, -1] = True, False
    if missing:
        for real in is_real[1:]:
            real[0] = False  # in text 0 everything but the first stream is padding
    return [streams, is_real], {}


def loud_streams(generator):
    """Scores above 88; padding has the largest."""
    (streams, is_real), _ = stream_inputs(generator, 3, True)
    for q, k, _ in streams:
        q[..., 0], k[..., 0] = 16.0, 16.0
    for (_, k, _), real in zip(streams, is_real):
        k[..., 0] += torch.where(real, 0.0, 8.0)[:, None]
    return [streams, is_real], {}


STREAMS = [
    (
        lambda s, r: received(s, r, sources=lambda i, n: [i]),
        "each stream attends to itself: that is self-attention. Keys and values come from all others.",
    ),
    (
        lambda s, r: received(s, r, sources=lambda i, n: list(range(n))),
        "each stream attends to itself, too: to all *other* streams only.",
    ),
    (
        lambda s, r: received(s, r, sources=lambda i, n: [(i + 1) % n]),
        "each stream attends to the next one only: to all others.",
    ),
    (
        one_by_one,
        "there is a softmax for each pair of streams: one softmax runs over the tokens of all others together.",
    ),
    (
        lambda s, r: one_by_one(s, r, mean=False),
        "there is a softmax for each pair of streams, and the results are summed: one softmax runs over all others together.",
    ),
    (
        lambda s, r: received(s, r, masked=False),
        "padding is attended to: leave out keys that aren't real.",
    ),
    (
        lambda s, r: received(s, [~x for x in r]),
        "is_real is used upside down: True means a real token.",
    ),
    (
        lambda s, r: received(s, r, scale=lambda q: 1.0),
        "the scores are not scaled: divide them by the square root of d.",
    ),
    (
        lambda s, r: received(s, r, scale=lambda q: 1 / q.shape[-1]),
        "the scores are divided by d: it is the square root of d.",
    ),
    (lambda s, r: received([[k, q, v] for q, k, v in s], r), "queries and keys are exchanged."),
    (lambda s, r: received([[q, k, k] for q, k, v in s], r), "the keys serve as values."),
    (lambda s, r: received(s, r)[::-1], "the list is in reverse order."),
]


def evenly(streams, is_real):
    """What a huge negative number gives where all others are padding: their mean."""
    results = []
    for s, result in enumerate(received(streams, is_real)):
        others = [i for i in range(len(streams)) if i != s]
        mean = torch.cat([streams[i][2] for i in others], 2).mean(2, keepdim=True)
        some = torch.cat([is_real[i] for i in others], 1).any(1)[:, None, None, None]
        results.append(torch.where(some, result, mean))
    return results


FINITE = """
import torch
def run(exchange, streams, is_real):
    inputs = [x.clone().requires_grad_() for stream in streams for x in stream]
    given = [tuple(inputs[3 * s : 3 * s + 3]) for s in range(len(streams))]
    results = exchange(given, is_real)
    sum(result.square().sum() for result in results).backward()
    return [[result.detach() for result in results], [x.detach() * 0 if x.grad is None else x.grad for x in inputs]]
"""
READ_FINITE = """
def read(got, streams, is_real):
    results, gradients = got
    return [results, all(bool(g.isfinite().all()) for g in gradients)]
"""


# 8. Ten people answer.

WORDS = ["red", "blue", "two", "no", "cat", "left", "dark red", "2", "red "]


def people(generator, count=None):
    """Ten answers to each question; some are not in the list."""
    answers = []
    for _ in range(count or number(generator, 3, 4)):
        a, b, c = (WORDS[number(generator, 0, 8)] for _ in range(3))
        n = number(generator, 1, 4)
        answers.append([a] * n + [b] * 2 + [c] * (8 - n))
    answers.append(["red"] * 2 + ["dark red"] * 8)
    answers.append(["blue"] * 3 + ["no"] * 1 + ["two"] * 6)
    return [answers, ["red", "blue", "two", "no", "cat", "left"]], {}


def other_list(generator):
    (answers, _), _ = people(generator, 2)
    return [answers, WORDS[number(generator, 1, 3) :]], {}


def scores(answers, vocabulary, score=lambda n: min(n / 3, 1.0)):
    return torch.tensor(
        [[score(sum(a == word for a in given)) for word in vocabulary] for given in answers]
    )


def contained(answers, vocabulary):
    """Words that occur in a longer answer count."""
    return torch.tensor(
        [[min(sum(word in a for a in given) / 3, 1.0) for word in vocabulary] for given in answers]
    )


def answer_inputs(generator):
    B, A = number(generator, 3, 5), number(generator, 4, 6)
    targets = torch.randint(0, 4, (B, A), generator=generator) / 3
    logits = 2 * normal(generator, B, A)
    targets[0, :2], targets[0, 2:] = 1 / 3, 0.0
    targets[1] = 1.0
    targets[1, logits[1].argmax()] = 1 / 3  # what is chosen is not the best
    return [logits, targets], {}


def some_targets(generator):
    """To one question the list has no answer at all."""
    targets = answer_inputs(generator)[0][1]
    targets[2] = 0.0
    return [targets], {}


def sure_answers(generator):
    """Logits of plus and minus 200: the sigmoid is exactly 0 or 1."""
    (logits, targets), _ = answer_inputs(generator)
    return [200 * logits.sign(), targets], {}


def answer_losses(logits, targets):
    """Minus the log-likelihood of each answer, in double precision: (B, A)."""
    z, t = logits.double(), targets.double()
    softplus = z.clamp(min=0) + (1 + (-z.abs()).exp()).log()
    return (softplus - t * z).float()


def answer_loss(logits, targets):
    return answer_losses(logits, targets).sum(1).mean()


def best_of(values, targets):
    return sum(t[v.index(max(v))] for v, t in zip(values.tolist(), targets.tolist())) / len(targets)


CHECKS = {
    "a2-loss-test": [
        Check("the share", 3, "share_of_loss", devices, share, SHARE_MISTAKES),
        Check(
            "the mean over devices is the whole loss",
            0,
            "share_of_loss",
            devices,
            whole,
            [(over_devices(wrong), message) for wrong, message in SHARE_MISTAKES],
            driver=WHOLE,
        ),
        Check(
            "its gradient, that of the scale too",
            1,
            "share_of_loss",
            devices,
            gradient,
            [
                (
                    lambda *a: [*gradient(*a)[:4], torch.zeros(())],
                    "the scale has no gradient, so it could not be learned: keep it a tensor, no .item(), float() or math.exp().",
                ),
                (
                    lambda *a: [*map(torch.zeros_like, a[:2]), *gradient(*a)[2:]],
                    "no gradient reaches this device's vectors.",
                ),
                (
                    lambda *a: [*gradient(*a)[:2], *map(torch.zeros_like, a[2:4]), gradient(*a)[4]],
                    "no gradient reaches the vectors of the whole batch: without it the mean over devices has another gradient.",
                ),
                *[
                    ((lambda *a, wrong=wrong: gradient(*a, wrong)), message)
                    for wrong, message in SHARE_MISTAKES
                ],
            ],
            driver=GRADIENT,
        ),
    ],
    "a2-end-test": [
        Check(
            "ids",
            1,
            "fit",
            texts,
            lambda *a: fitted(*a)[0],
            [
                (
                    lambda *a: no_end_if_long(*a)[0],
                    "a text that is too long loses its end token: cut its words, and then add the end.",
                ),
                (
                    lambda *a: fitted(*a, keep=lambda t, room: t[: room - 1])[0],
                    "a text that just fits is cut: start and end take two places, so context - 2 words can stay.",
                ),
                (
                    lambda *a: fitted(*a, keep=lambda t, room: t[-room:] if t else t)[0],
                    "the first words are left out: the last ones are, where a text is too long.",
                ),
                (
                    lambda t, s, e, p, n: fitted(t, s, e, 0 if p else 1, n)[0],
                    "the padding isn't the id given.",
                ),
                (
                    lambda t, s, e, p, n: torch.stack(
                        [
                            torch.cat([r[c + 1 :], r[: c + 1]])
                            for r, c in zip(*fitted(t, s, e, p, n))
                        ]
                    ),
                    "padding comes before the text: it comes after the end token.",
                ),
                (lambda t, s, e, p, n: fitted(t, e, s, p, n)[0], "start and end are exchanged."),
            ],
            driver=one_of(0),
        ),
        Check(
            "position of the end token",
            1,
            "fit",
            texts,
            lambda *a: fitted(*a)[1],
            [
                (
                    lambda *a: fitted(*a)[1] + 1,
                    "that is the length of the row without padding: its last place has one less.",
                ),
                (
                    lambda *a: fitted(*a)[1] - 1,
                    "that is the place of the last word: the end token comes after it.",
                ),
                (
                    lambda t, s, e, p, n: torch.tensor([len(x) + 1 for x in t]),
                    "for a text that was cut, the position is beyond the row: count the words that stay.",
                ),
                (
                    lambda *a: torch.full((len(a[0]),), a[4] - 1),
                    "that is the last place of the row: after the end token comes padding.",
                ),
                (
                    lambda *a: (fitted(*a)[0] == a[2]).int().argmax(1),
                    "the first id that equals `end` is found, but a word may have that id: count instead of searching.",
                ),
            ],
            driver=one_of(1),
        ),
        Check(
            "a context without room is an error",
            1,
            "fit",
            too_small,
            raising("ValueError"),
            [
                (
                    raising("nothing"),
                    "no error for a context that can't hold start and end. Raise ValueError.",
                ),
                (
                    raising("by accident"),
                    "it fails, but by accident, inside of PyTorch or Python: raise a ValueError that says what is wrong.",
                ),
                (
                    raising("AssertionError"),
                    "an assert is switched off by python -O: raise a ValueError.",
                ),
                (
                    raising("IndexError"),
                    "it fails, but by accident (IndexError): raise a ValueError that says what is wrong.",
                ),
            ],
            driver=RAISES,
            reading=BY_ACCIDENT,
        ),
    ],
    "a2-zero-shot-test": [
        Check(
            "class_vectors(...)",
            2,
            "class_vectors",
            prompts,
            class_vectors,
            [
                (
                    lambda *a: class_vectors(*a, end=lambda x: x),
                    "the mean is not normalised: its length would depend on how much the prompts agree.",
                ),
                (
                    lambda *a: class_vectors(*a, norm=lambda x: x),
                    "normalise each prompt's vector before the mean, or long vectors count more than short ones.",
                ),
                (
                    lambda *a: class_vectors(*a, norm=lambda x: x, end=lambda x: x),
                    "nothing is normalised.",
                ),
                (
                    summed,
                    "the last normalisation is missing: these are sums, longer for classes with more prompts.",
                ),
                (first_only, "only one prompt of each class is used: average all of them."),
                (
                    in_turn,
                    "prompts are dealt out to the classes in turn: class_of says to which class each belongs.",
                ),
                (
                    lambda e, of, n: unit(unit(e).mean(0)).expand(n, -1),
                    "all classes have the same vector: average each class's own prompts.",
                ),
            ],
        ),
        Check(
            "predict(...)",
            1,
            "predict",
            to_classify,
            predicted,
            [
                (
                    lambda *a: predicted(*a[:3], -1.0),
                    "the threshold is not used: -1 where the highest probability is below it.",
                ),
                (
                    lambda i, v, s, t: answered(classified(i, v, s), t, -1, unit(i) @ v.T),
                    "the threshold is compared with the cosine: with the probability.",
                ),
                (
                    lambda *a: predicted(*a, norm=lambda x: x),
                    "the image vectors are not normalised.",
                ),
                (
                    lambda *a: predicted(*a, scale=lambda s: s),
                    "logit_scale is used as it is: the scale is its exponential.",
                ),
                (lambda *a: predicted(*a, scale=lambda s: 1.0), "the scale is not used."),
                (
                    lambda i, v, s, t: answered(log_softmax(s.exp() * unit(i) @ v.T, 0).exp(), t),
                    "the softmax runs over the images: each image's probabilities over the classes sum to one.",
                ),
                (turned, "it is upside down: -1 where the probability is *below* the threshold."),
                (lambda *a: predicted(*a)[::-1], "answer and probability are exchanged."),
                (
                    lambda *a: predicted(*a, none=len(a[1])),
                    "none of these is called C: -1 is wanted.",
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
                    "the two directions are exchanged: image to text comes first.",
                ),
                (
                    lambda *a: ranks(*a, beaten=lambda other, own: other > own),
                    "ties count for the model: constant vectors would score 1. Count wrong candidates that are at least as similar.",
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
                    "an image's own captions count as wrong candidates: leave out all of its own.",
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
    "a2-masking-test": [
        Check(
            "iou(boxes, others)",
            1,
            "iou",
            box_inputs,
            overlaps,
            [
                (
                    lambda a, b: overlaps(a, b, lambda x, y: overlap(x, y, union=False)),
                    "divided by the sum of both areas, in which the intersection counts twice: subtract it once.",
                ),
                (
                    lambda a, b: overlaps(
                        a,
                        b,
                        lambda x, y: overlap(x, y, area=lambda wide, high: max(wide * high, 0.0)),
                    ),
                    "two negative sides give a positive area: set each side to at least 0 before you multiply.",
                ),
                (
                    lambda a, b: overlaps(
                        a, b, lambda x, y: overlap(x, y, area=lambda wide, high: wide * high)
                    ),
                    "boxes that don't meet have negative sides: set each side to at least 0 before you multiply.",
                ),
                (lambda a, b: overlaps(a, b, shapes), "divided by the smaller area: by the union."),
                (
                    lambda a, b: overlaps(a, b, in_hull),
                    "divided by the area of a box around both: by what at least one of them covers.",
                ),
                (lambda a, b: overlaps(b, a), "the axes are exchanged: (B, R, S)."),
                (lambda a, b: overlaps(a, b) > 0, "that is whether they meet: how much is wanted."),
            ],
        ),
        Check(
            "hidden_regions(...)",
            2,
            "hidden_regions",
            region_inputs,
            to_hide,
            [
                (
                    lambda *a: to_hide(*a, chain=0),
                    "only the selected regions are hidden: those that overlap with one show it, too.",
                ),
                (
                    lambda *a: to_hide(*a, own=False),
                    "the selected regions themselves are still there.",
                ),
                (
                    lambda *a: to_hide(*a, chain=9),
                    "regions that overlap with a hidden neighbour are hidden, too: only those that overlap with a selected one.",
                ),
                (lambda *a: to_hide(*a, real=False), "padding is hidden, or counts as selected."),
                (
                    lambda b, r, s, t: to_hide(b, r | s, s, t) & r,
                    "padding counts as selected: the regions that overlap with it are hidden for nothing.",
                ),
                (
                    lambda b, r, s, t: to_hide(b, r | True, s & r, t),
                    "padding is hidden: it holds nothing.",
                ),
                (lambda *a: ~to_hide(*a), "upside down: True means hidden."),
            ],
        ),
        Check(
            "hidden_words(...)",
            1,
            "hidden_words",
            word_inputs,
            worded,
            [
                (
                    lambda *a: worded(
                        *a, hidden=lambda w, row, t, words: w >= 0 and row[w] and w not in words[:t]
                    ),
                    "only the first piece of a word is masked: the others give it away.",
                ),
                (
                    lambda *a: worded(*a, hidden=lambda w, row, t, words: row[max(w, 0)]),
                    "special tokens are masked with word 0: -1 means no word.",
                ),
                (
                    lambda *a: worded(*a, hidden=lambda w, row, t, words: row[w]),
                    "special tokens are masked with the last word: -1 means no word.",
                ),
                (
                    lambda *a: worded(*a, hidden=lambda w, row, t, words: t < len(row) and row[t]),
                    "`selected` counts words, not pieces: look up the word of each piece.",
                ),
                (
                    lambda *a: worded(*a, ignored=0),
                    "what isn't masked has the target 0: -100 is wanted.",
                ),
                (
                    lambda *a: [worded(*a)[0], a[0]],
                    "every piece is a target: only those that are masked.",
                ),
                (
                    lambda i, w, s, m: [worded(i, w, s, m)[0], worded(i, w, ~s, m)[1]],
                    "the targets are upside down.",
                ),
                (
                    lambda i, w, s, m: [
                        worded(i, w, s, m)[0],
                        worded(worded(i, w, s, m)[0], w, s, m)[1],
                    ],
                    "the targets are taken from the masked input: the model would predict [MASK].",
                ),
                (lambda *a: worded(*a)[::-1], "input and targets are exchanged."),
            ],
        ),
    ],
    "a2-streams-test": [
        Check("two streams", 0, "exchange", lambda g: stream_inputs(g, 2), received, STREAMS),
        Check("three streams", 3, "exchange", lambda g: stream_inputs(g, 3), received, STREAMS),
        Check(
            "nothing to attend to",
            1,
            "exchange",
            lambda g: stream_inputs(g, 3, True),
            lambda *a: [received(*a), True],
            [
                (
                    lambda *a: [received(*a), False],
                    "the result is right, but a gradient is NaN: give rows without a real key finite scores.",
                ),
                (
                    lambda *a: [received(*a, empty=math.nan), False],
                    "if all others are padding, the result is NaN, 0 / 0: exactly 0 is wanted.",
                ),
                (
                    lambda s, r: [
                        [
                            torch.where(a.eq(0).all(-1, keepdim=True), b, a)
                            for a, b in zip(received(s, r), received(s, r, masked=False))
                        ],
                        True,
                    ],
                    "if all others are padding, padding is attended to: exactly 0 is wanted.",
                ),
                (
                    lambda s, r: [evenly(s, r), True],
                    "if all others are padding, they are attended to evenly: exactly 0 is wanted.",
                ),
                *[
                    ((lambda *a, wrong=wrong: [wrong(*a), True]), message)
                    for wrong, message in STREAMS
                ],
            ],
            driver=FINITE,
            reading=READ_FINITE,
        ),
    ],
    "a2-answers-test": [
        Check(
            "soft_targets(...)",
            1,
            "soft_targets",
            people,
            scores,
            [
                (
                    lambda *a: scores(*a, score=lambda n: n / 3),
                    "more than three people give a score above 1: it is min(n / 3, 1).",
                ),
                (
                    lambda *a: scores(*a, score=lambda n: n / 10),
                    "divided by the number of people: by 3.",
                ),
                (
                    lambda *a: scores(*a, score=lambda n: float(n >= 3)),
                    "one or two people don't count: they score 1/3 and 2/3.",
                ),
                (
                    lambda *a: scores(*a, score=lambda n: float(n > 0)),
                    "one person suffices for a full score: it takes three.",
                ),
                (contained, 'parts of an answer count: "red" is another answer than "dark red".'),
                (
                    lambda *a: scores(*a) / scores(*a).sum(1, keepdim=True).clamp(min=1e-9),
                    "the scores of a question sum to 1: they needn't.",
                ),
                (lambda *a: scores(*a).T.contiguous(), "the questions are the first axis."),
            ],
        ),
        Check(
            "answer_loss(logits, targets)",
            1,
            "answer_loss",
            answer_inputs,
            answer_loss,
            [
                (
                    lambda *a: answer_losses(*a).mean(),
                    "that is the mean over answers: sum them, and take the mean over questions.",
                ),
                (lambda *a: answer_losses(*a).sum(), "the questions are summed: take their mean."),
                (lambda *a: -answer_loss(*a), "the sign is wrong."),
                (
                    lambda z, t: -(t * log_softmax(z)).sum(1).mean(),
                    "that is a softmax: the answers would compete. Each is a yes-or-no question of its own.",
                ),
                (
                    lambda z, t: (answer_losses(z, torch.ones_like(t)) * t).sum(1).mean(),
                    "only the part with ln σ(z) is there: wrong answers must become less likely, too.",
                ),
                (
                    lambda z, t: answer_loss(z, (t == t.amax(1, keepdim=True)).float()),
                    "only the best answer is a target: the scores of all answers count.",
                ),
                (
                    lambda z, t: answer_loss(z, (t > 0).float()),
                    "every answer that somebody gave counts fully: its score is the target.",
                ),
                (lambda z, t: answer_loss(z.sigmoid(), t), "the sigmoid is applied twice."),
            ],
        ),
        Check(
            "accuracy(logits, targets)",
            1,
            "accuracy",
            answer_inputs,
            best_of,
            [
                (
                    lambda z, t: (
                        sum(
                            a.index(max(a)) == b.index(max(b))
                            for a, b in zip(z.tolist(), t.tolist())
                        )
                        / len(t)
                    ),
                    "only the best answer counts: the score of the chosen answer does, 2/3 for example.",
                ),
                (
                    lambda z, t: (z.sigmoid() * t).sum(1).mean().item(),
                    "that is an expected score: one answer is chosen, the one with the highest logit.",
                ),
                (
                    lambda z, t: best_of(z, t) * len(t),
                    "that is the sum: the mean over questions is wanted.",
                ),
                (lambda z, t: best_of(-z, t), "that is the answer with the lowest logit."),
                (
                    lambda z, t: (
                        sum(
                            t[i].tolist()[z[i].tolist().index(max(z[i].tolist()))] > 0
                            for i in range(len(t))
                        )
                        / len(t)
                    ),
                    "every answer that somebody gave counts fully: its score counts.",
                ),
            ],
        ),
        Check(
            "ceiling(targets)",
            1,
            "ceiling",
            some_targets,
            lambda t: sum(map(max, t.tolist())) / len(t),
            [
                (
                    lambda t: t.amax().item(),
                    "that is the best of all questions: the best answer to each question, and their mean.",
                ),
                (
                    lambda t: t.mean().item(),
                    "that is the mean of all scores: the best of each question counts.",
                ),
                (
                    lambda t: (t.amax(1) > 0).float().mean().item(),
                    "that is the share of questions with any listed answer: its score counts.",
                ),
                (
                    lambda t: (t.amax(1) == 1).float().mean().item(),
                    "that is the share of questions with a full score: lower scores count, too.",
                ),
                (
                    lambda t: t.sum(1).clamp(max=1).mean().item(),
                    "only one answer is chosen: scores don't add up.",
                ),
            ],
        ),
    ],
}


def own_table(generator):
    """Unequal numbers of captions, real cosines, and wrong candidates that are nearly as similar."""
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


HIDDEN = {
    "a2-loss-test": {
        "the share": [certain, beyond, beyond, alone],
        "its gradient, that of the scale too": [beyond, certain],
    },
    "a2-end-test": {
        name: [padded_with_end, padded_with_end, smallest]
        for name in ("ids", "position of the end token")
    },
    "a2-zero-shot-test": {
        "class_vectors(...)": [lambda g: ([normal(g, 4, 7), torch.tensor([3, 1, 0, 2]), 4], {})],
        "predict(...)": [sure, to_classify, to_classify],
    },
    "a2-ranks-test": {
        "ranks(similarity, image_of)": [own_table] * 5,
        "recall(ranks, k)": [
            lambda g: ([torch.randint(1, 30, (7,), generator=g), number(g, 5, 20)], {})
        ],
    },
    "a2-masking-test": {
        "iou(boxes, others)": [empty_boxes],
        "hidden_regions(...)": [nothing_selected, region_inputs, just_at_least],
        "hidden_words(...)": [more_words, more_words],
    },
    "a2-streams-test": {
        "two streams": [lambda g: stream_inputs(g, 2, heads=4)],
        "three streams": [lambda g: stream_inputs(g, 4)],
        "nothing to attend to": [loud_streams],
    },
    "a2-answers-test": {
        "soft_targets(...)": [other_list, lambda g: people(g, 1)],
        "answer_loss(logits, targets)": [sure_answers],
        "ceiling(targets)": [lambda g: ([torch.tensor([[0.0, 0.0], [1 / 3, 2 / 3]])], {})],
    },
}
CHECKS = with_hidden(CHECKS, HIDDEN)
