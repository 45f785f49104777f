"""Hidden checks of assignment 3: Frozen. Formulas of their own, token by token where that is clearer."""

import torch

from vlmgrader.checks import Check, with_hidden


def number(generator, low, high):
    """An integer, low <= n <= high."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def normal(generator, *shape):
    return torch.randn(*shape, generator=generator)


# 1. Two words for a picture.


def to_words(summary, weight, bias, vectors):
    width = len(bias) // vectors
    return torch.stack(
        [
            torch.stack(
                [
                    summary[m] @ weight[n * width : (n + 1) * width].T
                    + bias[n * width : (n + 1) * width]
                    for n in range(vectors)
                ]
            )
            for m in range(len(summary))
        ]
    )


def summaries(generator):
    M, V, n, D = number(generator, 2, 4), 5, number(generator, 2, 3), number(generator, 4, 6)
    return [normal(generator, M, V), normal(generator, n * D, V), normal(generator, n * D), n], {}


# 2. In the place of words.


def put_in(embeddings, is_slot, prefix):
    out, waiting = embeddings.clone(), [vector for picture in prefix for vector in picture]
    for row, slots in enumerate(is_slot.tolist()):
        for place, slot in enumerate(slots):
            if slot:
                out[row, place] = waiting.pop(0)
    return out


def slotted(generator):
    n, T = 2, number(generator, 8, 9)
    is_slot = torch.zeros(3, T, dtype=torch.bool)
    is_slot[0, 1 : 1 + n] = True
    is_slot[1, 0:n] = True
    is_slot[1, 4 : 4 + n] = True
    is_slot[2, 5 : 5 + n] = True
    return [normal(generator, 3, T, 4), is_slot, normal(generator, 4, n, 4)], {}


def one_vector(generator):
    """One vector a picture, a text without any, slots at both ends."""
    is_slot = torch.zeros(3, number(generator, 5, 7), dtype=torch.bool)
    is_slot[0, [0, -1]] = True
    is_slot[2, 2] = True
    return [normal(generator, *is_slot.shape, 6), is_slot, normal(generator, 3, 1, 6)], {}


def too_few(generator):
    (embeddings, is_slot, prefix), _ = slotted(generator)
    return [
        embeddings,
        is_slot,
        prefix,
        prefix[:-1] if number(generator, 0, 1) else torch.cat([prefix, prefix[:1]]),
    ], {}


# First a batch that is right: who always raises an error has put nothing in.
RAISES = """
def run(put_in, embeddings, is_slot, prefix, wrong):
    found = put_in(embeddings, is_slot, prefix)
    try:
        put_in(embeddings, is_slot, wrong)
    except NotImplementedError:
        raise
    except Exception as error:
        return [found, type(error).__name__]
    return [found, "nothing"]
"""
UNTOUCHED = """
def run(put_in, embeddings, is_slot, prefix):
    return [put_in(embeddings, is_slot, prefix), embeddings, prefix]
"""
AS_BEFORE = """
def read(got, embeddings, is_slot, prefix):
    out, words, vectors = got
    put = out.shape == embeddings.shape and bool((out != embeddings).any())
    return [put, bool((words == embeddings).all()) and bool((vectors == prefix).all())]
"""


def column_by_column(embeddings, is_slot, prefix):
    return put_in(embeddings.transpose(0, 1), is_slot.T, prefix).transpose(0, 1)


# 3. The loss on caption tokens.


def surprises(logits, ids, scored, ahead=1):
    """Minus the log-probability of each scored token, said `ahead` positions before: a list per text."""
    logits = logits - logits.amax(-1, keepdim=True)
    logp = logits - logits.exp().sum(-1, keepdim=True).log()
    return [
        [
            -logp[b, t - ahead, ids[b, t]]
            for t in range(ids.shape[1])
            if scored[b, t] and 0 <= t - ahead < ids.shape[1]
        ]
        for b in range(len(ids))
    ]


def mean(parts):
    return torch.stack([value for part in parts for value in part]).mean()


def caption_loss(logits, ids, scored, ahead=1):
    return mean(surprises(logits, ids, scored, ahead))


def captions(generator):
    B, T, V = 3, number(generator, 6, 8), 7
    scored = torch.zeros(B, T, dtype=torch.bool)
    for row, (start, end) in enumerate([(2, 4), (1, T), (3, 4)]):
        scored[row, start:end] = True
    return [
        normal(generator, B, T, V),
        torch.randint(0, V, (B, T), generator=generator),
        scored,
    ], {}


def all_tokens(logits, ids, scored):
    return caption_loss(
        logits, ids, torch.ones_like(scored).index_fill(1, torch.tensor([0]), False)
    )


LOSS_GRADIENT = """
def run(caption_loss, logits, ids, scored):
    logits = logits.clone().requires_grad_()
    caption_loss(logits, ids, scored).backward()
    return logits.grad
"""


def loss_gradient(logits, ids, scored, function=caption_loss):
    logits = logits.clone().requires_grad_()
    return torch.autograd.grad(function(logits, ids, scored), logits)[0]


# 4. Frozen for good.

LM = """
import torch
class Loud(torch.nn.Module):
    def forward(self, x):
        return 3 * x if self.training else x
class Model(torch.nn.Module):
    def __init__(self, first, second):
        super().__init__()
        self.first, self.drop, self.second = torch.nn.Linear(*first.T.shape, bias=False), Loud(), torch.nn.Linear(*second.T.shape, bias=False)
        self.first.weight.data, self.second.weight.data = first.clone(), second.clone()
    def forward(self, x):
        return self.second(self.drop(self.first(x).tanh()))
class System(torch.nn.Module):
    def __init__(self, encoder, lm):
        super().__init__()
        self.encoder, self.lm = encoder, lm
"""
NOTHING_LEARNS = (
    LM
    + """
def run(freeze, first, second, x):
    lm = Model(first, second)
    freeze(lm)
    return [[p.requires_grad for p in lm.parameters()], lm.first.weight, lm.second.weight]
"""
)
LEARNERS = """
def read(got, first, second, x):
    learn, one, other = got
    same = bool((one == first).all() and (other == second).all())
    return {"parameters": len(learn), "that learn": sum(learn), "weights as they were": same}
"""
PASSES = (
    LM
    + """
def run(freeze, first, second, x):
    lm = Model(first, second)
    freeze(lm)
    x = x.clone().requires_grad_()
    out = lm(x)
    if not out.requires_grad:
        return [False, torch.zeros_like(x)]
    out.square().sum().backward()
    return [True, x.grad]
"""
)
STAYS = (
    LM
    + """
def run(freeze, first, second, x):
    lm = Model(first, second)
    freeze(lm)
    system = System(torch.nn.Linear(3, 3), lm)
    system.train()
    system.encoder(torch.ones(1, 3))
    return [lm(x).detach(), system.encoder.training]
"""
)


def through(first, second, x, loud=1.0):
    x = x.clone().requires_grad_()
    out = loud * (x @ first.T).tanh() @ second.T
    return [True, torch.autograd.grad(out.square().sum(), x)[0]]


def lm_inputs(generator):
    return [normal(generator, 5, 4), normal(generator, 6, 5), normal(generator, 2, 4)], {}


# 5. Padding on the left.


def pad_left(texts, pad):
    T = max(map(len, texts))
    ids = torch.tensor([[pad] * (T - len(text)) + text for text in texts])
    real = torch.tensor([[place >= T - len(text) for place in range(T)] for text in texts])
    position = torch.tensor(
        [[max(0, place - (T - len(text))) for place in range(T)] for text in texts]
    )
    return [ids, real, position]


def some_texts(generator):
    lengths = [number(generator, 2, 3), number(generator, 5, 6), 4]
    return [
        [torch.randint(3, 30, (length,), generator=generator).tolist() for length in lengths],
        number(generator, 0, 2),
    ], {}


def pad_right(texts, pad):
    T = max(map(len, texts))
    return [
        torch.tensor([text + [pad] * (T - len(text)) for text in texts]),
        torch.tensor([[place < len(text) for place in range(T)] for text in texts]),
        torch.tensor([list(range(T)) for _ in texts]),
    ]


def one_of(index):
    return f"def run(pad_left, texts, pad):\n    return pad_left(texts, pad)[{index}]\n"


# 6. A page with examples.


def episode(examples, question, slot, vectors, end):
    page = []
    for caption in examples:
        page += [slot] * vectors + caption + [end]
    return page + [slot] * vectors + question


def shots(generator):
    examples = [
        torch.randint(3, 20, (number(generator, 2, 4),), generator=generator).tolist()
        for _ in range(number(generator, 2, 3))
    ]
    return [
        examples,
        torch.randint(3, 20, (3,), generator=generator).tolist(),
        1,
        number(generator, 2, 3),
        2,
    ], {}


# 7. Answers by their likelihood.


def likelihoods(logits, ids, scored):
    return torch.stack([-torch.stack(part).sum() for part in surprises(logits, ids, scored)])


def answers(generator):
    A, T, V = 4, number(generator, 6, 7), 6
    scored = torch.zeros(A, T, dtype=torch.bool)
    for row, length in enumerate([1, 3, 2, 1]):
        scored[row, 3 : 3 + length] = True
    return [
        normal(generator, A, T, V),
        torch.randint(0, V, (A, T), generator=generator),
        scored,
    ], {}


def mean_likelihoods(logits, ids, scored):
    return torch.stack([-torch.stack(part).mean() for part in surprises(logits, ids, scored)])


# 8. Other pictures.

VALID = """
import torch
def run(others, labels):
    return torch.as_tensor(others(labels))
"""
PERMUTED = """
import torch
def read(found, labels):
    N = len(labels)
    if found.shape != (N,):
        return {"shape": list(found.shape)}
    return {"each picture once": sorted(found.tolist()) == list(range(N)), "none keeps its own": bool((found != torch.arange(N)).all()),
            "none gets its kind": bool((labels[found] != labels).all())}
"""


def kinds(generator):
    labels = torch.tensor([0] * 4 + [1] * 3 + [2] * 2 + [3])
    return [labels[torch.randperm(10, generator=generator)]], {}


def half_and_half(generator):
    labels = torch.tensor([0] * 4 + [1] * 4)
    return [labels[torch.randperm(8, generator=generator)]], {}


def state(once=True, own=True, kind=True):
    return lambda labels: {
        "each picture once": once,
        "none keeps its own": own,
        "none gets its kind": kind,
    }


VALIDITY = [
    (
        state(own=False, kind=False),
        "some texts keep their own picture: that is no control for those.",
    ),
    (
        state(kind=False),
        "some texts get another picture of the same kind, which is right for them, too: the control would look too good.",
    ),
    (
        state(once=False),
        "some pictures are used twice, others never: return a permutation, so that the pictures are the same ones.",
    ),
    (
        state(once=False, kind=False),
        "some pictures are used twice, and some texts get a picture of their own kind.",
    ),
    (
        state(once=False, own=False, kind=False),
        "that is no permutation, and some texts keep their own picture.",
    ),
]


CHECKS = {
    "a3-words-test": [
        Check(
            "the vectors",
            2,
            "to_words",
            summaries,
            to_words,
            [
                (
                    lambda s, w, b, n: (s @ w.T + b).reshape(len(s), -1, n).transpose(1, 2),
                    "the outputs are dealt out in turn: each vector is a block of D neighbours. Reshape to (M, n, D).",
                ),
                (lambda s, w, b, n: (s @ w.T).reshape(len(s), n, -1), "the bias is missing."),
                (
                    lambda s, w, b, n: (s @ w.T + b).reshape(len(s), -1, n),
                    "the axes are (M, D, n); (M, n, D) is wanted.",
                ),
                (
                    lambda s, w, b, n: (s @ w.T + b).reshape(len(s) * n, -1),
                    "keep the pictures apart: (M, n, D), not (M n, D).",
                ),
                (
                    lambda s, w, b, n: s @ w.T + b,
                    "that is one long vector per picture: cut it into n.",
                ),
                (
                    lambda s, w, b, n: to_words(s, w, b, n)[:, :1].repeat(1, n, 1),
                    "all n vectors are the same: each has its own part of the matrix.",
                ),
                (
                    lambda s, w, b, n: to_words(s, w, b, n).transpose(0, 1),
                    "the pictures are the first axis.",
                ),
                (
                    lambda s, w, b, n: to_words(s, w, b, n).flip(1),
                    "the vectors are in reverse order.",
                ),
                (
                    lambda s, w, b, n: (
                        torch.stack([s @ part.T for part in w.chunk(n)], 1) + b[: len(b) // n]
                    ),
                    "each vector has its own part of the bias, too.",
                ),
            ],
        ),
    ],
    "a3-slots-test": [
        Check(
            "vectors in the slots",
            2,
            "put_in",
            slotted,
            put_in,
            [
                (
                    lambda e, s, p: put_in(e, s, p.flip(0)),
                    "the pictures are in reverse order: reading order is row by row, left to right.",
                ),
                (
                    lambda e, s, p: put_in(e, s, p.flip(1)),
                    "a picture's vectors are in reverse order.",
                ),
                (
                    column_by_column,
                    "slots are filled column by column: reading order is row by row.",
                ),
                (
                    lambda e, s, p: put_in(e, s, p.transpose(0, 1)),
                    "the vectors of different pictures are mixed: all vectors of the first picture come first.",
                ),
                (
                    lambda e, s, p: e + put_in(torch.zeros_like(e), s, p),
                    "vectors are added to what stood in the slots: they replace it.",
                ),
                (
                    lambda e, s, p: put_in(torch.zeros_like(e), s, p),
                    "the words are gone: only slots change.",
                ),
                (
                    lambda e, s, p: e,
                    "nothing changes: indexing with a mask makes a copy; assign to the mask, or use masked_scatter.",
                ),
                (
                    lambda e, s, p: put_in(e, s, p[:1].expand(len(p), -1, -1)),
                    "every place gets the first picture.",
                ),
                (
                    lambda e, s, p: torch.cat([p.flatten(0, 1).expand(len(e), -1, -1), e], 1),
                    "the vectors are put before the text: they belong into its slots.",
                ),
            ],
        ),
        Check(
            "too few or too many pictures are an error",
            1,
            "put_in",
            too_few,
            lambda e, s, p, wrong: [put_in(e, s, p), "ValueError"],
            [
                (
                    lambda e, s, p, wrong: [put_in(e, s, p), "nothing"],
                    "no error for a wrong number of pictures: some would silently be left out, or land in other texts. Raise ValueError.",
                ),
                (
                    lambda e, s, p, wrong: [put_in(e, s, p), "RuntimeError"],
                    "it fails, but by accident (RuntimeError): raise a ValueError that says what is wrong.",
                ),
                (
                    lambda e, s, p, wrong: [put_in(e, s, p), "IndexError"],
                    "it fails, but by accident (IndexError): raise a ValueError that says what is wrong.",
                ),
                (
                    lambda e, s, p, wrong: [put_in(e, s, p), "AssertionError"],
                    "an assert is switched off by python -O: raise a ValueError.",
                ),
            ],
            driver=RAISES,
        ),
        Check(
            "the words given are left as they are",
            1,
            "put_in",
            slotted,
            lambda *a: [True, True],
            [
                (
                    lambda *a: [True, False],
                    "the embeddings given were changed in place: the next batch would read pictures as words. Work on a copy.",
                ),
                (lambda *a: [False, True], "nothing was put in."),
                (
                    lambda *a: [False, False],
                    "the embeddings given were changed in place: work on a copy.",
                ),
            ],
            driver=UNTOUCHED,
            reading=AS_BEFORE,
        ),
    ],
    "a3-loss-test": [
        Check(
            "the loss",
            3,
            "caption_loss",
            captions,
            caption_loss,
            [
                (
                    lambda *a: caption_loss(*a, ahead=0),
                    "position t is compared with token t, which it has already read: it predicts token t + 1.",
                ),
                (
                    lambda *a: caption_loss(*a, ahead=-1),
                    "shifted the wrong way: what is said at position t is compared with token t + 1.",
                ),
                (all_tokens, "prompts and padding are scored: only where `scored` is True."),
                (
                    lambda *a: torch.stack(
                        [torch.stack(part).mean() for part in surprises(*a)]
                    ).mean(),
                    "that is the mean of each text's mean: every scored token has the same weight.",
                ),
                (
                    lambda *a: caption_loss(*a) * int(a[2].sum()),
                    "that is the sum: the mean over scored tokens is wanted.",
                ),
                (
                    lambda *a: caption_loss(*a) * int(a[2].sum()) / a[2].numel(),
                    "the mean runs over all positions: divide by the number of scored tokens.",
                ),
                (
                    lambda *a: caption_loss(*a) * int(a[2].sum()) / (a[2].numel() - len(a[2])),
                    "the mean runs over all positions: divide by the number of scored tokens.",
                ),
                (lambda *a: -caption_loss(*a), "the sign is wrong."),
                (
                    lambda lo, i, s: caption_loss(lo, i, torch.cat([s[:, 1:], s[:, :1]], 1)),
                    "`scored` belongs to the tokens, not to the positions that predict them: shift it together with ids.",
                ),
                (
                    lambda lo, i, s: caption_loss(
                        lo, i, ~s & torch.ones_like(s).index_fill(1, torch.tensor([0]), False)
                    ),
                    "`scored` is upside down.",
                ),
                (
                    lambda lo, i, s: caption_loss(lo, i, s) * int(s.sum()) / len(s),
                    "that is the sum per text: the mean over scored tokens is wanted.",
                ),
            ],
        ),
        Check(
            "its gradient",
            1,
            "caption_loss",
            captions,
            loss_gradient,
            [
                (lambda *a: loss_gradient(*a, all_tokens), "what is not scored has a gradient."),
                (
                    lambda *a: loss_gradient(*a) * int(a[2].sum()),
                    "that is the gradient of the sum.",
                ),
                (
                    lambda *a: loss_gradient(*a, lambda *b: caption_loss(*b, ahead=0)),
                    "position t predicts token t + 1.",
                ),
            ],
            driver=LOSS_GRADIENT,
        ),
    ],
    "a3-freeze-test": [
        Check(
            "nothing in it learns",
            1,
            "freeze",
            lm_inputs,
            lambda *a: {"parameters": 2, "that learn": 0, "weights as they were": True},
            [
                (
                    lambda *a: {"parameters": 2, "that learn": 2, "weights as they were": True},
                    "its parameters still learn: eval() switches off dropout, not learning. requires_grad_(False).",
                ),
                (
                    lambda *a: {"parameters": 2, "that learn": 1, "weights as they were": True},
                    "some parameters still learn: freeze all of them.",
                ),
                (
                    lambda *a: {"parameters": 2, "that learn": 0, "weights as they were": False},
                    "the weights have changed: freezing only stops them from learning.",
                ),
                (
                    lambda *a: {"parameters": 0, "that learn": 0, "weights as they were": True},
                    "the parameters are gone: nobody could save or move them.",
                ),
            ],
            driver=NOTHING_LEARNS,
            reading=LEARNERS,
        ),
        Check(
            "gradients pass through it",
            1,
            "freeze",
            lm_inputs,
            through,
            [
                (
                    lambda f, s, x: [False, torch.zeros_like(x)],
                    "no gradient reaches what was put in: torch.no_grad() (or inference_mode, or detach) around the model "
                    "cuts it. Freeze the parameters, not the computation.",
                ),
                (
                    lambda f, s, x: through(f, s, x, 3.0),
                    "dropout is on: a frozen model computes as in evaluation.",
                ),
            ],
            driver=PASSES,
        ),
        Check(
            "it stays in evaluation mode when its parent trains",
            2,
            "freeze",
            lm_inputs,
            lambda f, s, x: [(x @ f.T).tanh() @ s.T, True],
            [
                (
                    lambda f, s, x: [3 * (x @ f.T).tanh() @ s.T, True],
                    "system.train() switched its dropout on again: make `train` of each of its modules do nothing.",
                ),
                (
                    lambda f, s, x: [(x @ f.T).tanh() @ s.T, False],
                    "the encoder beside it can't be switched to training any more: change the frozen model only.",
                ),
            ],
            driver=STAYS,
        ),
    ],
    "a3-pad-test": [
        Check(
            "ids",
            1,
            "pad_left",
            some_texts,
            lambda *a: pad_left(*a)[0],
            [
                (
                    lambda *a: pad_right(*a)[0],
                    "padding is on the right: the next word would be predicted from a pad. To write, pad on the left.",
                ),
                (
                    lambda t, p: pad_left([text[::-1] for text in t], p)[0],
                    "the texts are reversed.",
                ),
                (lambda t, p: pad_left(t, 0 if p else 1)[0], "padding isn't the id given."),
                (
                    lambda t, p: torch.tensor([text[-min(map(len, t)) :] for text in t]),
                    "texts are cut to the shortest: pad to the longest.",
                ),
            ],
            driver=one_of(0),
        ),
        Check(
            "real",
            1,
            "pad_left",
            some_texts,
            lambda *a: pad_left(*a)[1],
            [
                (lambda *a: pad_right(*a)[1], "as if padding were on the right."),
                (lambda *a: ~pad_left(*a)[1], "upside down: True where a token is real."),
                (lambda *a: torch.ones_like(pad_left(*a)[1]), "padding counts as real."),
                (lambda *a: pad_left(*a)[1].long(), "these are numbers: booleans are wanted."),
            ],
            driver=one_of(1),
        ),
        Check(
            "positions",
            1,
            "pad_left",
            some_texts,
            lambda *a: pad_left(*a)[2],
            [
                (
                    lambda *a: pad_right(*a)[2],
                    "padding is counted: a text's first token has position 0 wherever it stands.",
                ),
                (
                    lambda *a: pad_left(*a)[2] + pad_left(*a)[1].long(),
                    "positions start at 1; 0 is wanted.",
                ),
                (
                    lambda *a: torch.where(pad_left(*a)[1], pad_left(*a)[2], -1),
                    "padding has position -1, which no table of positions has: 0.",
                ),
                (
                    lambda *a: torch.stack(
                        [torch.arange(x.shape[0]) - (~r).sum() for x, r in zip(*pad_left(*a)[:2])]
                    ),
                    "positions are negative at padding: 0.",
                ),
            ],
            driver=one_of(2),
        ),
    ],
    "a3-episode-test": [
        Check(
            "the page",
            3,
            "episode",
            shots,
            episode,
            [
                (
                    lambda e, q, s, n, end: episode(e, q, s, 1, end),
                    "one slot per picture: each picture writes `vectors` vectors.",
                ),
                (
                    lambda e, q, s, n, end: episode(e[::-1], q, s, n, end),
                    "the examples are in reverse order.",
                ),
                (
                    lambda e, q, s, n, end: episode(e, q, s, n, end)[: -len(q) - n] + q,
                    "the question has no picture.",
                ),
                (
                    lambda e, q, s, n, end: episode(e, q, s, n, end) + [end],
                    "an end after the question: the model is to go on there.",
                ),
                (
                    lambda e, q, s, n, end: [i for i in episode(e, q, s, n, end) if i != end],
                    "no end token after the examples: they run into each other.",
                ),
                (
                    lambda e, q, s, n, end: (
                        [s] * n + q + [i for c in e for i in [s] * n + c + [end]]
                    ),
                    "the question comes first: it is last.",
                ),
                (
                    lambda e, q, s, n, end: (
                        [s] * n * (len(e) + 1) + [i for c in e for i in c + [end]] + q
                    ),
                    "all pictures stand before all texts: each stands before its own.",
                ),
                (
                    lambda e, q, s, n, end: (
                        [i for c in e for i in c + [s] * n + [end]] + q + [s] * n
                    ),
                    "pictures come after their texts: before.",
                ),
                (
                    lambda e, q, s, n, end: [i for c in e for i in [s] * n + c + [end]] + q,
                    "the question has no picture.",
                ),
                (
                    lambda e, q, s, n, end: (
                        [i for c in e for i in [s] * n + [end] + c] + [s] * n + q
                    ),
                    "the end comes before the caption: after.",
                ),
            ],
        ),
    ],
    "a3-answers-test": [
        Check(
            "likelihoods(logits, ids, scored)",
            2,
            "likelihoods",
            answers,
            likelihoods,
            [
                (lambda *a: -likelihoods(*a), "the sign is wrong: log-probabilities are negative."),
                (
                    mean_likelihoods,
                    "that is the mean per token: the card asks for the sum, the probability of the whole answer.",
                ),
                (
                    lambda lo, i, s: torch.stack(
                        [-torch.stack(p).sum() for p in surprises(lo, i, s, 0)]
                    ),
                    "position t is compared with token t: it predicts token t + 1.",
                ),
                (
                    lambda lo, i, s: likelihoods(
                        lo, i, torch.ones_like(s).index_fill(1, torch.tensor([0]), False)
                    ),
                    "the prompt is scored, too: answers of different prompts' padding would compete.",
                ),
                (
                    lambda *a: likelihoods(*a).exp(),
                    "these are probabilities: logarithms are wanted, long answers would vanish.",
                ),
                (lambda *a: likelihoods(*a).sum(), "one number per answer is wanted."),
                (
                    lambda lo, i, s: torch.stack(
                        [
                            sum(lo[b, t - 1, i[b, t]] for t in range(i.shape[1]) if s[b, t])
                            for b in range(len(i))
                        ]
                    ),
                    "these are sums of logits: take log_softmax first.",
                ),
                (
                    lambda lo, i, s: likelihoods(lo, i, torch.cat([s[:, 1:], s[:, :1]], 1)),
                    "`scored` belongs to the tokens, not to the positions that predict them: shift it together with ids.",
                ),
            ],
        ),
        Check(
            "choose(likelihoods)",
            1,
            "choose",
            lambda g: ([likelihoods(*answers(g)[0])], {}),
            lambda x: x.tolist().index(max(x.tolist())),
            [
                (lambda x: x.tolist().index(min(x.tolist())), "that is the least likely one."),
                (
                    lambda x: max(x.tolist()),
                    "that is the likelihood: the place in the list is wanted.",
                ),
                (
                    lambda x: torch.tensor(x.tolist().index(max(x.tolist()))),
                    "that is a tensor: a plain int is wanted, .item().",
                ),
            ],
        ),
    ],
    "a3-others-test": [
        Check("four kinds", 2, "others", kinds, state(), VALIDITY, driver=VALID, reading=PERMUTED),
        Check(
            "half of one kind, half of the other",
            1,
            "others",
            half_and_half,
            state(),
            VALIDITY,
            driver=VALID,
            reading=PERMUTED,
        ),
    ],
}


def loud_captions(generator):
    """Logits whose exponentials are infinite, and zero probabilities; one text of which nothing is scored."""
    (logits, ids, scored), _ = captions(generator)
    scored[2] = False
    return [100 * logits, ids, scored], {}


def loud_answers(generator):
    """The same, with other numbers of answers and lengths."""
    A, T, V = number(generator, 2, 6), number(generator, 5, 8), number(generator, 4, 9)
    scored = torch.zeros(A, T, dtype=torch.bool)
    for row in range(A):
        start = number(generator, 1, 3)
        scored[row, start : start + number(generator, 1, T - start)] = True
    return [
        60 * normal(generator, A, T, V),
        torch.randint(0, V, (A, T), generator=generator),
        scored,
    ], {}


def texts_with_pads(generator):
    """The padding's id is also a word of the texts; some are equally long."""
    pad = number(generator, 3, 9)
    texts = [[pad, 5, pad, 7], [4, pad], [6, 8, 11, pad], [pad]][: number(generator, 2, 4)]
    return [texts, pad], {}


def no_shots(generator):
    """No example at all, one vector a picture, other ids."""
    question = torch.randint(3, 20, (2,), generator=generator).tolist()
    return [[], question, number(generator, 30, 40), 1, number(generator, 50, 60)], {}


def many_kinds(generator):
    """As many kinds as the most frequent one allows, in any order and with gaps in their numbers."""
    most = number(generator, 2, 5)
    rest = [number(generator, 1, most) for _ in range(number(generator, 1, 4))]
    rest[0] = most
    labels = [kind * 3 for kind, count in enumerate([most, *rest]) for _ in range(count)]
    return [torch.tensor(labels)[torch.randperm(len(labels), generator=generator)]], {}


HIDDEN = {
    "a3-words-test": {
        "the vectors": [lambda g: ([normal(g, 1, 7), normal(g, 12, 7), normal(g, 12), 1], {})]
    },
    "a3-slots-test": {
        "vectors in the slots": [one_vector],
        "the words given are left as they are": [one_vector],
    },
    "a3-loss-test": {"the loss": [loud_captions], "its gradient": [loud_captions]},
    "a3-pad-test": {name: [texts_with_pads] * 2 for name in ("ids", "real", "positions")},
    "a3-episode-test": {"the page": [no_shots]},
    "a3-answers-test": {
        "likelihoods(logits, ids, scored)": [loud_answers, loud_answers],
        "choose(likelihoods)": [lambda g: ([-500 * torch.rand(number(g, 1, 7), generator=g)], {})],
    },
    "a3-others-test": {"four kinds": [many_kinds] * 3},
}
CHECKS = with_hidden(CHECKS, HIDDEN)
