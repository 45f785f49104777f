"""Hidden checks of assignment 3: a language model and Frozen. Formulas of their own, with loops where that is clearer."""

import math

import torch

from vlmgrader.checks import Check, with_hidden


def number(generator, low, high):
    """An integer, low <= n <= high."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def normal(generator, *shape):
    return torch.randn(*shape, generator=generator)


# 1. Padding on the left.


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


# 2. What did the image add?


def log_softmax(logits):
    logits = logits - logits.amax(-1, keepdim=True)
    return logits - logits.exp().sum(-1, keepdim=True).log()


def log_probs(logits, ids, is_answer, ahead=1, prepare=log_softmax):
    """Of each answer token, predicted `ahead` positions before: a list for each answer."""
    logp = prepare(logits)
    return [
        [
            logp[a, t - ahead, ids[a, t]]
            for t in range(ids.shape[1])
            if is_answer[a, t] and 0 <= t - ahead < ids.shape[1]
        ]
        for a in range(len(ids))
    ]


def gains(logits, blank, ids, is_answer, join=torch.sum, **other):
    sides = (log_probs(side, ids, is_answer, **other) for side in (logits, blank))
    return torch.stack(
        [join(torch.stack(seen)) - join(torch.stack(blind)) for seen, blind in zip(*sides)]
    )


def alone(index):
    """The log-probabilities of one side alone."""
    return lambda *a: torch.stack([torch.stack(p).sum() for p in log_probs(a[index], *a[2:])])


def answers(generator, size=1.0):
    A, T, V = number(generator, 3, 5), number(generator, 7, 9), number(generator, 5, 8)
    is_answer = torch.zeros(A, T, dtype=torch.bool)
    for row in range(A):
        is_answer[row, 3 : 4 + number(generator, 0, 2)] = True
    is_answer[0, 3:6] = True
    return [
        size * normal(generator, A, T, V),
        size * normal(generator, A, T, V),
        torch.randint(0, V, (A, T), generator=generator),
        is_answer,
    ], {}


def all_tokens(is_answer):
    return torch.ones_like(is_answer).index_fill(1, torch.tensor([0]), False)


def loud_answers(generator):
    """Logits whose exponentials are infinite; answers that begin at the second token."""
    (logits, blank, ids, is_answer), _ = answers(generator, 60.0)
    is_answer[1] = False
    is_answer[1, 1:3] = True
    return [logits, blank, ids, is_answer], {}


GAINS = [
    (lambda *a: -gains(*a), "the sign is wrong: with the image minus without."),
    (
        alone(0),
        "that is the log-probability with the image: subtract the one with the blank image.",
    ),
    (
        lambda *a: gains(*a, join=torch.mean),
        "that is the mean per token: the log-probability of an answer is the sum over its tokens.",
    ),
    (
        lambda *a: gains(*a, ahead=0),
        "position t is compared with token t: its logits predict token t + 1.",
    ),
    (
        lambda lo, b, i, s: gains(lo, b, i, all_tokens(s)),
        "the prompt counts, too: only the tokens of the answer.",
    ),
    (
        lambda lo, b, i, s: gains(lo, b, i, torch.cat([s[:, :1], s[:, :-1]], 1)),
        "is_answer belongs to the tokens: shift it together with ids, by one to the left.",
    ),
    (
        lambda lo, b, i, s: gains(lo, b, i, torch.cat([s[:, 1:], s[:, :1]], 1)),
        "is_answer belongs to the tokens, not to the positions that predict them: shift it together with ids.",
    ),
    (
        lambda *a: gains(*a, prepare=lambda logits: logits),
        "these are differences of logits: take log_softmax of both first.",
    ),
    (
        lambda lo, b, i, s: alone(0)(lo - b, None, i, s),
        "the logits are subtracted before the softmax: take log_softmax of both, and then subtract.",
    ),
    (
        lambda *a: gains(*a).exp(),
        "these are ratios of probabilities: differences of logarithms are wanted.",
    ),
    (lambda *a: gains(*a).sum(), "one number for each answer is wanted."),
]


def chosen(values, minimum):
    best = max(values.tolist())
    return values.tolist().index(best) if best > minimum else -1


def some_gains(generator):
    """The largest one is neither first nor last, nor beside the smallest."""
    values = normal(generator, 6).sort().values
    values = values[torch.tensor([[0, 3, 5, 2, 1], [3, 5, 1, 0, 4]][number(generator, 0, 1)])]
    return [values, values.max().item() - 0.5 - torch.rand((), generator=generator).item()], {}


def no_gain(generator):
    (values, _), _ = some_gains(generator)
    return [values - values.max() - 0.5, 0.0], {}


# Once with the given minimum, once with one that no gain reaches.
TWICE = """
def run(choose, gains, minimum):
    return [choose(gains, minimum), choose(gains, gains.max().item() + 1)]
"""


def twice(values, minimum, choose=chosen):
    return [choose(values, minimum), choose(values, max(values.tolist()) + 1)]


# 3. The cheapest model for a loss.


def needed(size, loss, law, floor=True, of_size=True, power=lambda beta: 1 / beta):
    left = loss - floor * law["E"] - of_size * law["A"] / size ** law["alpha"]
    return math.inf if left <= 0 else (law["B"] / left) ** power(law["beta"])


def some_law(generator):
    def around(value):
        return value * (0.9 + 0.2 * torch.rand((), generator=generator).item())

    return {
        "E": around(1.8),
        "A": around(450.0),
        "B": around(2000.0),
        "alpha": around(0.35),
        "beta": around(0.36),
    }


def token_inputs(generator):
    law = some_law(generator)
    size = float(10 ** number(generator, 8, 10))
    above = 0.1 + torch.rand((), generator=generator).item()
    return [size, law["E"] + law["A"] / size ** law["alpha"] + above, law], {}


def out_of_reach(generator):
    (size, _, law), _ = token_inputs(generator)
    return [size, law["E"] + 0.5 * law["A"] / size ** law["alpha"], law], {}


def below_the_floor(generator):
    (size, _, law), _ = token_inputs(generator)
    return [size, 0.9 * law["E"], law], {}


def all_costs(sizes, loss, law, used, train=6, use=2):
    return [train * size * needed(size, loss, law) + use * size * used for size in sizes]


def cheapest(sizes, *rest, **other):
    costs = all_costs(sizes, *rest, **other)
    return sizes[costs.index(min(costs))]


def of_reach(sizes, loss, law):
    return [size for size in sizes if needed(size, loss, law) < math.inf]


def unsorted(generator, values):
    return [values[i] for i in torch.randperm(len(values), generator=generator).tolist()]


def size_inputs(generator):
    """Drawn until training alone, use alone and both have different cheapest sizes."""
    while True:
        law = some_law(generator)
        sizes = [float(round(10 ** (8 + step / 10))) for step in range(0, 32)]
        reach = law["E"] + law["A"] / sizes[number(generator, 8, 12)] ** law["alpha"] + 0.01
        best = cheapest(sizes, reach, law, 0)
        used = needed(best, reach, law) * (6 + 4 * torch.rand((), generator=generator).item())
        inputs = [unsorted(generator, sizes), reach, law, used]
        wrong = [value(*inputs) for value, _ in SIZES[:5]]
        if len({cheapest(*inputs), *wrong}) == 6:
            return inputs, {}


def not_used(generator):
    (sizes, loss, law, _), _ = size_inputs(generator)
    return [sizes, loss, law, 0], {}


SIZES = [
    (
        lambda s, lo, law, u: cheapest(s, lo, law, 0),
        "only training is counted: use costs 2 N U.",
    ),
    (
        lambda s, lo, law, u: min(of_reach(s, lo, law)),
        "that is the smallest size that reaches the loss: it needs so many training tokens that it is not the cheapest.",
    ),
    (
        lambda s, lo, law, u: cheapest(s, lo, law, u, use=6),
        "use is counted like training, 6 N U: it has no backward pass and costs 2 N U.",
    ),
    (lambda s, lo, law, u: max(s), "that is the largest size."),
    (
        lambda s, lo, law, u: min(
            of_reach(s, lo, law), key=lambda n: needed(n, lo, law) * 6 + 2 * u * n / 1e9
        ),
        "tokens are compared instead of operations: each costs 6 N in training.",
    ),
    (
        lambda s, lo, law, u: float(all_costs(s, lo, law, u).index(min(all_costs(s, lo, law, u)))),
        "that is its place in the list: the size is wanted.",
    ),
    (
        lambda s, lo, law, u: min(all_costs(s, lo, law, u)),
        "that is the cost: the size is wanted.",
    ),
    (lambda s, lo, law, u: min(s), "that is the smallest size, which doesn't reach the loss."),
]

# First a list that is right: who always raises an error has chosen nothing.
NO_SIZE = """
def run(cheapest_size, sizes, loss, law, used, low):
    found = cheapest_size(sizes, loss, law, used)
    try:
        cheapest_size(sizes, low, law, used)
    except NotImplementedError:
        raise
    except Exception as error:
        return [found, type(error).__name__, str(error)]
    return [found, "nothing", ""]
"""
BY_ACCIDENT = """
def read(got, *inputs):
    found, kind, message = got
    parts = ("arg is an empty", "iterable argument", "is not in list", "not in tuple", "max() ", "min() ", "unpack", "not enough")
    return [found, "by accident" if any(words in message for words in parts) else kind]
"""


def too_low(generator):
    (sizes, loss, law, used), _ = size_inputs(generator)
    low = law["E"] + 0.5 * law["A"] / max(sizes) ** law["alpha"]
    return [sizes, loss, law, used, low], {}


def failing(right, what):
    """What a function that should raise ValueError gives, and how each mistake is named."""
    return [
        (lambda *a: [right(*a), "nothing"], f"no error for {what}. Raise ValueError."),
        *[
            (
                (lambda *a, kind=kind: [right(*a), kind]),
                f"it fails, but by accident{name}: raise a ValueError that says what is wrong.",
            )
            for kind, name in [
                ("by accident", ", inside of Python"),
                *[
                    (kind, f" ({kind})")
                    for kind in (
                        "IndexError",
                        "KeyError",
                        "AttributeError",
                        "StopIteration",
                        "RuntimeError",
                        "TypeError",
                    )
                ],
            ]
        ],
        (
            lambda *a: [right(*a), "AssertionError"],
            "an assert is switched off by python -O: raise a ValueError.",
        ),
    ]


# 4. Adapters.


def gelu(x):
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def adapted(x, task, down, up, keep=1.0, act=gelu, tasks=lambda k, count: [k]):
    rows = []
    for text, k in zip(x, task.tolist()):
        row = keep * text
        for chosen_task in tasks(k, len(down)):
            row = row + act(text @ down[chosen_task].T) @ up[chosen_task].T
        rows.append(row)
    return torch.stack(rows)


def adapter_inputs(generator, square=False):
    tasks, D = number(generator, 3, 4), number(generator, 5, 7)
    r = D if square else number(generator, 2, 4)
    task = torch.tensor([2, 0, 2, 1, number(generator, 0, tasks - 1)])
    return [
        normal(generator, 5, number(generator, 3, 4), D),
        task,
        normal(generator, tasks, r, D),
        normal(generator, tasks, D, r),
    ], {}


def the_other_way_round(x, task, down, up):
    """x @ W, where that is possible."""
    square = down.shape[1] == down.shape[2]
    return adapted(x, task, down.mT, up.mT) if square else torch.zeros(0)


ADAPT = [
    (
        lambda *a: adapted(*a, tasks=lambda k, n: [0]),
        "all texts pass through the adapter of task 0: each through that of its own task.",
    ),
    (
        lambda *a: adapted(*a, tasks=lambda k, n: range(n)),
        "every text passes through all adapters: through that of its own task only.",
    ),
    (
        lambda x, t, d, u: adapted(x, torch.arange(len(x)) % len(d), d, u),
        "the adapters are taken in the order of the texts: `task` says which.",
    ),
    (lambda *a: adapted(*a, keep=0.0), "x itself is missing: an adapter adds to it."),
    (
        lambda *a: adapted(*a, act=lambda x: x),
        "gelu is missing: without it the two matrices are one.",
    ),
    (lambda *a: adapted(*a, act=torch.relu), "that is a ReLU: gelu is wanted."),
    (
        lambda x, t, d, u: x + gelu(adapted(x, t, d, u, 0.0, lambda h: h)),
        "gelu comes after the second matrix: between the two.",
    ),
    (
        the_other_way_round,
        "the matrices are applied the wrong way round: x @ W.T.",
    ),
    (
        lambda x, t, d, u: x + gelu(adapted(x, t, d, u) - x),
        "gelu comes after the second matrix: between the two.",
    ),
]

NEW = """
import torch
def run(new_adapters, tasks, width, inner, x):
    down, up = (part.detach().clone().requires_grad_() for part in new_adapters(tasks, width, inner))
    hidden = torch.nn.functional.gelu(torch.einsum("btd,krd->kbtr", x, down))
    out = x + torch.einsum("kbtr,kdr->kbtd", hidden, up)
    out.square().sum().backward()
    return [down.detach(), up.detach(), out.detach(), down.grad, up.grad]
"""
START = """
def read(got, tasks, width, inner, x):
    down, up, out = got[:3]
    shapes = [list(down.shape), list(up.shape)]
    return {"shapes": shapes, "changes nothing": bool((out == x).all())}
"""
LEARN = """
def read(got, tasks, width, inner, x):
    down, up, _, *gradients = got
    moves = [bool(sum(g[k].abs().sum() for g in gradients) > 0) for k in range(tasks)]
    alike = [
        any(bool((down[k, i] == down[k, j]).all() and (up[k, :, i] == up[k, :, j]).all()) for i in range(inner) for j in range(i))
        for k in range(tasks)
    ]
    return {"every task learns": all(moves), "units differ": not any(alike)}
"""


def new_inputs(generator):
    tasks, width, inner = number(generator, 2, 4), number(generator, 6, 9), number(generator, 2, 4)
    return [tasks, width, inner, normal(generator, 3, 4, width)], {}


def start(shapes=True, nothing=True):
    def state(tasks, width, inner, x):
        right = [[tasks, inner, width], [tasks, width, inner]]
        return {"shapes": right if shapes else right[::-1], "changes nothing": nothing}

    return state


def learning(moves=True, differ=True):
    return lambda *a: {"every task learns": moves, "units differ": differ}


# 5. A trained prompt in a padded batch.


def inserted(x, is_token, prompt, at=lambda n, T: n, order=lambda p: p):
    rows = []
    for text, real in zip(x, is_token.tolist()):
        place = at(real.index(True), len(real))
        rows.append(torch.cat([text[:place], order(prompt), text[place:]]))
    return torch.stack(rows)


def tokens_of(x, is_token, prompt):
    return torch.tensor(
        [
            [False] * real.index(True) + [True] * (len(real) - real.index(True) + len(prompt))
            for real in is_token.tolist()
        ]
    )


def places_of(x, is_token, prompt):
    return torch.tensor(
        [
            [0] * real.index(True) + list(range(len(real) - real.index(True) + len(prompt)))
            for real in is_token.tolist()
        ]
    )


def prompt_inputs(generator, p=None):
    T, D = number(generator, 6, 7), number(generator, 3, 5)
    padding = [2, 0, number(generator, 3, 4), 1]
    is_token = torch.tensor([[place >= n for place in range(T)] for n in padding])
    x = normal(generator, 4, T, D)
    return [x, is_token, normal(generator, p or number(generator, 2, 3), D)], {}


def nearly_empty(generator):
    """Texts of one token; more prompt than text."""
    (x, is_token, _), _ = prompt_inputs(generator)
    is_token[0, :-1] = False
    return [x, is_token, normal(generator, number(generator, 8, 9), x.shape[2])], {}


INSERTED = [
    (
        lambda *a: inserted(*a, at=lambda n, T: 0),
        "the prompt stands before the padding: between padding and text.",
    ),
    (lambda *a: inserted(*a, at=lambda n, T: T), "the prompt stands after the text: before it."),
    (
        lambda *a: inserted(*a, at=lambda n, T: n + 1),
        "the prompt stands after the first token: before it.",
    ),
    (
        lambda *a: inserted(*a, at=lambda n, T: max(0, n - 1)),
        "one vector of padding stands between prompt and text.",
    ),
    (lambda *a: inserted(*a, order=lambda p: p.flip(0)), "the prompt is in reverse order."),
    (
        lambda x, t, p: inserted(x * t[..., None], t, p),
        "the padding's vectors are set to zero: they stay as they are.",
    ),
    (
        lambda x, t, p: inserted(x, t, p[:1].expand(len(p), -1)),
        "every place gets the first vector of the prompt.",
    ),
]
PROMPT_GRADIENT = """
import torch
def run(insert_prompt, x, is_token, prompt, weight):
    x, prompt = (part.clone().requires_grad_() for part in (x, prompt))
    (insert_prompt(x, is_token, prompt)[0] * weight).sum().backward()
    return [torch.zeros_like(part) if part.grad is None else part.grad for part in (x, prompt)]
"""


def gradient_inputs(generator):
    (x, is_token, prompt), _ = prompt_inputs(generator)
    return [
        x,
        is_token,
        prompt,
        normal(generator, len(x), len(prompt) + x.shape[1], x.shape[2]),
    ], {}


def prompt_gradient(x, is_token, prompt, weight, insert=inserted):
    x, prompt = x.clone().requires_grad_(), prompt.clone().requires_grad_()
    value = (insert(x, is_token, prompt) * weight).sum()
    return list(torch.autograd.grad(value, (x, prompt), allow_unused=True))


def before_padding(x, is_token, prompt):
    """The mask of a prompt before the padding, and a running count of it."""
    tokens = torch.cat([torch.ones(len(x), len(prompt)).bool(), is_token], 1)
    return [tokens, (tokens.long().cumsum(1) - 1).clamp(min=0)]


def item(index, name="insert_prompt"):
    return f"def run({name}, *inputs):\n    return {name}(*inputs)[{index}]\n"


PAIR = """
def run(insert_prompt, *inputs):
    return list(insert_prompt(*inputs)[1:])
"""


def positions_from(change):
    return lambda *a: [tokens_of(*a), change(*a)]


# 6. Images of different sizes among words.


def laid_out(texts, vectors, table, image, first=lambda m: m, cut=None, image_end=False):
    """Rows of (vector, is it a word?), by hand."""
    rows, seen = [], 0
    for text in texts:
        row, late = [], []
        for token in text:
            if token != image:
                row.append((table[token], True))
                continue
            of_image = vectors[first(seen)][:cut]
            (late if image_end else row).extend((vector, False) for vector in of_image)
            seen += 1
        rows.append(row + late)
    return rows


def built(texts, vectors, table, image, left=False, **other):
    rows = laid_out(texts, vectors, table, image, **other)
    longest = max(map(len, rows))
    x = torch.zeros(len(rows), longest, table.shape[1])
    is_token = torch.zeros(len(rows), longest, dtype=torch.bool)
    is_word = is_token.clone()
    for b, row in enumerate(rows):
        for t, (vector, word) in enumerate(row, longest - len(row) if left else 0):
            x[b, t], is_token[b, t], is_word[b, t] = vector, True, word
    return [x, is_token, is_word]


def image_inputs(generator):
    """Three texts: two images of different sizes, one image, none."""
    V, D, image = 12, number(generator, 3, 5), 11
    table = normal(generator, V, D)
    words = [torch.randint(0, 11, (n,), generator=generator).tolist() for n in (2, 3, 2, 2)]
    texts = [[image, *words[0], image, *words[1]], [*words[2], image, words[2][0]], words[3]]
    sizes = [number(generator, 2, 3), 4, 1]
    return [texts, [normal(generator, n, D) for n in sizes], table, image], {}


def no_images(generator):
    """Texts without images; the image token has another id."""
    (texts, _, table, _), _ = image_inputs(generator)
    return [
        [[7, 2], [4], texts[2]],
        [],
        table,
        3 if 3 not in texts[2] else 0 if 0 not in texts[2] else 11,
    ], {}


def nothing_in_a_vector(generator):
    """A word and an image vector that are zero, as padding is."""
    (texts, vectors, table, image), _ = image_inputs(generator)
    table[texts[2][0]] = 0.0
    vectors[1][-1] = 0.0
    return [texts, vectors, table, image], {}


def images_alone(generator):
    (texts, vectors, table, image), _ = image_inputs(generator)
    return [[[image, image], [2, image]], vectors[::-1], table, image], {}


BUILT = [
    (
        lambda *a: built(*a, first=lambda m: 0)[0],
        "every image token gets the vectors of the first image.",
    ),
    (
        lambda t, v, e, i: built(t, v[::-1], e, i)[0],
        "the images are in reverse order: reading order is text by text, from left to right.",
    ),
    (lambda *a: built(*a, cut=1)[0], "only the first vector of each image is there: all of them."),
    (
        lambda *a: built(*a, image_end=True)[0],
        "the images' vectors stand after the words: in the place of their image tokens.",
    ),
    (lambda *a: built(*a, left=True)[0], "padding is on the left: here it is on the right."),
    (
        lambda t, v, e, i: built(t, [x.mean(0, keepdim=True) for x in v], e, i)[0],
        "each image's vectors are averaged: all of them are inserted.",
    ),
    (
        lambda t, v, e, i: built(t, [torch.cat([e[i][None], x]) for x in v], e, i)[0],
        "the image tokens' own embeddings are still there: they are replaced.",
    ),
    (
        lambda t, v, e, i: built(t, [x.flip(0) for x in v], e, i)[0],
        "the vectors of each image are in reverse order.",
    ),
]
WHICH = [
    (lambda *a: built(*a)[:0:-1], "is_token and is_word are exchanged."),
    (
        lambda *a: [built(*a)[1]] * 2,
        "image vectors count as words: is_word is True at words only.",
    ),
    (
        lambda *a: [built(*a)[2]] * 2,
        "image vectors count as padding: is_token is True for words and for image vectors.",
    ),
    (lambda *a: [~x for x in built(*a)[1:]], "they are upside down."),
    (
        lambda *a: built(*a, left=True)[1:],
        "that is for padding on the left: here it is on the right.",
    ),
    (
        lambda *a: [torch.ones_like(built(*a)[1]), built(*a)[2]],
        "padding counts as a token.",
    ),
]
IMAGES = """
def run(build_inputs, *inputs):
    return list(build_inputs(*inputs))[%s]
"""
WRONG_NUMBER = """
def run(build_inputs, texts, vectors, table, image, wrong):
    found = build_inputs(texts, vectors, table, image)[0]
    try:
        build_inputs(texts, wrong, table, image)
    except NotImplementedError:
        raise
    except Exception as error:
        return [found, type(error).__name__, str(error)]
    return [found, "nothing", ""]
"""


def wrong_number(more):
    def inputs(generator):
        args, _ = image_inputs(generator)
        vectors = args[1]
        return [*args, [*vectors, vectors[0]] if more else vectors[:-1]], {}

    return inputs


# 7. Frozen, with exceptions.

MODEL = """
import torch
class Loud(torch.nn.Module):
    # in the place of dropout: one sees for certain whether it is on
    def forward(self, x):
        return 3 * x if self.training else x
class Layer(torch.nn.Module):
    def __init__(self, weight, inner):
        super().__init__()
        self.linear, self.drop = torch.nn.Linear(*weight.T.shape, bias=False), Loud()
        self.adapter = torch.nn.Sequential(torch.nn.Linear(*inner.T.shape, bias=False), Loud())
        self.linear.weight.data, self.adapter[0].weight.data = weight.clone(), inner.clone()
    def forward(self, x):
        x = self.drop(self.linear(x).tanh())
        return x + self.adapter(x)
class Model(torch.nn.Module):
    def __init__(self, weight, inner):
        super().__init__()
        self.layers = torch.nn.ModuleList([Layer(w, i) for w, i in zip(weight, inner)])
    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x
class System(torch.nn.Module):
    def __init__(self, lm):
        super().__init__()
        self.encoder, self.lm = torch.nn.Sequential(torch.nn.Linear(3, 3), Loud()), lm
"""
PARAMETERS = (
    MODEL
    + """
def run(freeze, weight, inner, trained, x):
    lm = Model(weight, inner)
    before = [p.detach().clone() for p in lm.parameters()]
    freeze(lm, set(trained))
    names = [name for name, p in lm.named_parameters() if p.requires_grad]
    return [names, len(list(lm.parameters())), [p.detach() for p in lm.parameters()], before]
"""
)
LEARNERS = """
def read(got, weight, inner, trained, x):
    names, count, after, before = got
    same = len(after) == len(before) and all(bool((a == b).all()) for a, b in zip(after, before))
    return {"that learn": sorted(names), "parameters": count, "values as they were": same}
"""
PASSES = (
    MODEL
    + """
def run(freeze, weight, inner, trained, x):
    lm = Model(weight, inner)
    freeze(lm, set(trained))
    lm.eval()
    x = x.clone().requires_grad_()
    out = lm(x)
    if not out.requires_grad:
        return [False, torch.zeros_like(x)]
    out.square().sum().backward()
    return [x.grad is not None, torch.zeros_like(x) if x.grad is None else x.grad]
"""
)
MODES = (
    MODEL
    + """
def run(freeze, weight, inner, trained, x):
    system = System(Model(weight, inner))
    freeze(system.lm, set(trained))
    modes = []
    for mode in (True, False, True):
        system.train(mode)
        modes.append({name: m.training for name, m in system.named_modules() if not list(m.children())})
    return modes
"""
)
SWITCHED = """
def read(modes, weight, inner, trained, x):
    def of(name):
        if not name.startswith("lm."):
            return "rest"
        inside = any(name[3:] == t or name[3:].startswith(t + ".") for t in trained)
        return "trained" if inside else "frozen"
    right = {"frozen": [False] * 3, "trained": [True, False, True], "rest": [True, False, True]}
    return {
        kind: all([mode[name] for mode in modes] == right[kind] for name in modes[0] if of(name) == kind)
        for kind in right
    }
"""
UNKNOWN = (
    MODEL
    + """
def run(freeze, weight, inner, trained, x, wrong):
    lm = Model(weight, inner)
    freeze(lm, set(trained))
    names = sorted(name for name, p in lm.named_parameters() if p.requires_grad)
    try:
        freeze(Model(weight, inner), {*trained, wrong})
    except NotImplementedError:
        raise
    except Exception as error:
        return [names, type(error).__name__, str(error)]
    return [names, "nothing", ""]
"""
)
ADAPTERS = ["layers.0.adapter", "layers.1.adapter"]


def lm_inputs(generator, trained=None):
    return [
        normal(generator, 2, 4, 4) / 2,
        normal(generator, 2, 4, 4) / 2,
        ADAPTERS if trained is None else trained,
        normal(generator, 2, 4),
    ], {}


def parameter_names(trained):
    every = [f"layers.{n}.{part}.weight" for n in (0, 1) for part in ("linear", "adapter.0")]
    return sorted(name for name in every if any(name.startswith(t + ".") for t in trained))


def learners(names=parameter_names, values=True):
    return lambda weight, inner, trained, x: {
        "that learn": names(trained),
        "parameters": 4,
        "values as they were": values,
    }


def all_but(trained):
    return sorted(set(parameter_names(["layers"])) - set(parameter_names(trained)))


def through(weight, inner, trained, x, loud=1.0):
    start = x = x.clone().requires_grad_()
    for w, i in zip(weight, inner):
        x = loud * (x @ w.T).tanh()
        x = x + x @ i.T
    return [True, torch.autograd.grad(x.square().sum(), start)[0]]


def switched(frozen=True, trained=True, rest=True):
    return lambda *a: {"frozen": frozen, "trained": trained, "rest": rest}


def unknown_name(generator):
    args, _ = lm_inputs(generator)
    return [
        *args,
        ["layers.2.adapter", "adapter", "layers.0.adapters"][number(generator, 0, 2)],
    ], {}


# 8. Images of another kind.

VALID = """
import torch
def run(other_images, labels):
    return torch.as_tensor(other_images(labels))
"""
PERMUTED = """
import torch
def read(found, labels):
    N = len(labels)
    if found.shape != (N,):
        return {"shape": list(found.shape)}
    return {"each image once": sorted(found.tolist()) == list(range(N)), "none keeps its own": bool((found != torch.arange(N)).all()),
            "none gets its label": bool((labels[found] != labels).all())}
"""


def kinds(generator):
    labels = torch.tensor([0] * 4 + [1] * 3 + [2] * 2 + [3])
    return [labels[torch.randperm(10, generator=generator)]], {}


def half_and_half(generator):
    labels = torch.tensor([0] * 4 + [1] * 4)
    return [labels[torch.randperm(8, generator=generator)]], {}


def state(once=True, own=True, kind=True):
    return lambda labels: {
        "each image once": once,
        "none keeps its own": own,
        "none gets its label": kind,
    }


VALIDITY = [
    (
        state(own=False, kind=False),
        "some texts keep their own image: that is no control for those.",
    ),
    (
        state(kind=False),
        "some texts get another image with the same label, which is right for them, too: the control's score would be too high.",
    ),
    (
        state(once=False),
        "some images are used twice, others never: return a permutation, in which each occurs once.",
    ),
    (
        state(once=False, kind=False),
        "some images are used twice, and some texts get an image with their own label.",
    ),
    (
        state(once=False, own=False, kind=False),
        "that is no permutation, and some texts keep their own image.",
    ),
]


CHECKS = {
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
                    "padding is on the right: the next word would be predicted from padding. Pad on the left.",
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
            "is_token",
            1,
            "pad_left",
            some_texts,
            lambda *a: pad_left(*a)[1],
            [
                (
                    lambda *a: pad_right(*a)[1],
                    "that is for padding on the right: here it comes first.",
                ),
                (
                    lambda *a: ~pad_left(*a)[1],
                    "it is upside down: True where a token of the text stands.",
                ),
                (lambda *a: torch.ones_like(pad_left(*a)[1]), "padding counts as a token."),
                (lambda *a: pad_left(*a)[1].long(), "these are numbers: booleans are wanted."),
            ],
            driver=one_of(1),
        ),
        Check(
            "position",
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
    "a3-answers-test": [
        Check("gains(...)", 2, "gains", answers, gains, GAINS),
        Check(
            "choose(gains, minimum)",
            1,
            "choose",
            some_gains,
            twice,
            [
                ((lambda v, m, wrong=wrong: twice(v, m, wrong)), message)
                for wrong, message in [
                    (
                        lambda v, m: chosen(v, -math.inf),
                        "the minimum is not used: -1 if even the largest gain isn't above it.",
                    ),
                    (
                        lambda v, m: chosen(v, -math.inf) if max(v.tolist()) < m else -1,
                        "it is upside down: -1 if the largest gain isn't above the minimum.",
                    ),
                    (
                        lambda v, m: v.tolist().index(min(v.tolist())) if chosen(v, m) >= 0 else -1,
                        "that is the place of the smallest gain.",
                    ),
                    (
                        lambda v, m: max(v.tolist()) if chosen(v, m) >= 0 else -1,
                        "that is the gain: its place is wanted.",
                    ),
                    (
                        lambda v, m: torch.tensor(chosen(v, m)) if chosen(v, m) >= 0 else -1,
                        "that is a tensor: a plain int is wanted, .item().",
                    ),
                    (
                        lambda v, m: chosen(v, m) + (chosen(v, m) >= 0),
                        "places are counted from 0.",
                    ),
                ]
            ],
            driver=TWICE,
        ),
    ],
    "a3-cost-test": [
        Check(
            "tokens_needed(size, loss, law)",
            2,
            "tokens_needed",
            token_inputs,
            needed,
            [
                (
                    lambda *a: needed(*a, floor=False),
                    "E is missing: it is the part that no model can predict.",
                ),
                (
                    lambda *a: needed(*a, of_size=False),
                    "the part that depends on the size is missing.",
                ),
                (
                    lambda *a: needed(*a, power=lambda beta: 1.0),
                    "that is D ** beta: take its root, the power 1 / beta.",
                ),
                (
                    lambda *a: needed(*a, power=lambda beta: beta),
                    "the power is 1 / beta: you solve for D.",
                ),
                (
                    lambda s, lo, law: 1 / needed(s, lo, law),
                    "that is 1 / D: B belongs above, what remains of the loss below.",
                ),
                (
                    lambda s, lo, law: 6 * s * needed(s, lo, law),
                    "these are the operations: the number of tokens is wanted.",
                ),
            ],
        ),
        Check(
            "cheapest_size(...)",
            1,
            "cheapest_size",
            size_inputs,
            cheapest,
            SIZES,
        ),
        Check(
            "a loss that no size reaches is an error",
            1,
            "cheapest_size",
            too_low,
            lambda s, lo, law, u, low: [cheapest(s, lo, law, u), "ValueError"],
            failing(lambda *a: cheapest(*a[:4]), "a loss that no size reaches"),
            driver=NO_SIZE,
            reading=BY_ACCIDENT,
        ),
    ],
    "a3-adapters-test": [
        Check("adapt(x, task, down, up)", 2, "adapt", adapter_inputs, adapted, ADAPT),
        Check(
            "new adapters change nothing",
            1,
            "new_adapters",
            new_inputs,
            start(),
            [
                (
                    start(nothing=False),
                    "new adapters change x: one of the two matrices must be zero.",
                ),
                (
                    start(shapes=False),
                    "down and up are exchanged: (tasks, r, D) and (tasks, D, r).",
                ),
            ],
            driver=NEW,
            reading=START,
        ),
        Check(
            "new adapters can learn",
            1,
            "new_adapters",
            new_inputs,
            learning(),
            [
                (
                    learning(False, False),
                    "all gradients are zero: with both matrices zero, each one's gradient is zero because of the other.",
                ),
                (learning(False), "some gradients are zero: the adapter of each task must learn."),
                (
                    learning(True, False),
                    "inner units are alike, so they get the same gradients for ever: start them with random numbers.",
                ),
            ],
            driver=NEW,
            reading=LEARN,
        ),
    ],
    "a3-prompt-test": [
        Check(
            "vectors",
            1,
            "insert_prompt",
            prompt_inputs,
            inserted,
            INSERTED,
            driver=item(0),
        ),
        Check(
            "is_token and position",
            1,
            "insert_prompt",
            prompt_inputs,
            lambda *a: [tokens_of(*a), places_of(*a)],
            [
                (
                    positions_from(
                        lambda *a: (
                            torch.arange(tokens_of(*a).shape[1]).expand(len(a[0]), -1).clone()
                        )
                    ),
                    "padding is counted: the first prompt vector has position 0, wherever it stands.",
                ),
                (
                    positions_from(lambda *a: (places_of(*a) - len(a[2])).clamp(min=0)),
                    "the prompt isn't counted: its vectors have positions 0 to p - 1, and the text goes on from p.",
                ),
                (
                    positions_from(lambda *a: places_of(*a) + tokens_of(*a).long()),
                    "positions start at 1: at 0.",
                ),
                (
                    positions_from(lambda *a: torch.where(tokens_of(*a), places_of(*a), -1)),
                    "padding has position -1: 0 is wanted.",
                ),
                (
                    positions_from(
                        lambda *a: (
                            torch.arange(tokens_of(*a).shape[1])
                            - (~tokens_of(*a)).sum(1, keepdim=True)
                        )
                    ),
                    "padding has negative positions: 0 is wanted.",
                ),
                (
                    lambda *a: [
                        torch.cat([torch.ones(len(a[0]), len(a[2])).bool(), a[1]], 1),
                        places_of(*a),
                    ],
                    "is_token is that of a prompt before the padding.",
                ),
                (
                    before_padding,
                    "is_token is that of a prompt before the padding, and positions count its tokens.",
                ),
                (
                    lambda *a: [
                        torch.cat([torch.zeros(len(a[0]), len(a[2])).bool(), a[1]], 1),
                        places_of(*a),
                    ],
                    "prompt vectors count as padding: nothing would attend to them.",
                ),
                (lambda *a: [~tokens_of(*a), places_of(*a)], "is_token is upside down."),
                (lambda *a: [places_of(*a), tokens_of(*a)], "is_token and position are exchanged."),
            ],
            driver=PAIR,
        ),
        Check(
            "its gradient",
            1,
            "insert_prompt",
            gradient_inputs,
            prompt_gradient,
            [
                (
                    lambda *a: [prompt_gradient(*a)[0], torch.zeros_like(a[2])],
                    "no gradient reaches the prompt, so it can't be trained: no .detach(), .data or .tolist().",
                ),
                (
                    lambda *a: [torch.zeros_like(a[0]), prompt_gradient(*a)[1]],
                    "no gradient reaches the embeddings.",
                ),
                (
                    lambda x, t, p, w: [
                        prompt_gradient(x, t, p, w)[0],
                        prompt_gradient(x[:1], t[:1], p, w[:1])[1],
                    ],
                    "only the first text has an effect on the prompt: all texts share it.",
                ),
                *[
                    ((lambda *a, wrong=wrong: prompt_gradient(*a, wrong)), message)
                    for wrong, message in INSERTED
                ],
            ],
            driver=PROMPT_GRADIENT,
        ),
    ],
    "a3-slots-test": [
        Check(
            "x",
            2,
            "build_inputs",
            image_inputs,
            lambda *a: built(*a)[0],
            BUILT,
            driver=IMAGES % "0",
        ),
        Check(
            "is_token and is_word",
            1,
            "build_inputs",
            image_inputs,
            lambda *a: built(*a)[1:],
            WHICH,
            driver=IMAGES % "1:",
        ),
        Check(
            "too few or too many images are an error",
            1,
            "build_inputs",
            wrong_number(True),
            lambda *a: [built(*a[:4])[0], "ValueError"],
            failing(
                lambda *a: built(*a[:4])[0],
                "a wrong number of images: some would be left out without a word",
            ),
            driver=WRONG_NUMBER,
            reading=BY_ACCIDENT,
        ),
    ],
    "a3-freeze-test": [
        Check(
            "which parameters learn",
            1,
            "freeze",
            lm_inputs,
            learners(),
            [
                (
                    learners(lambda t: parameter_names(["layers"])),
                    "all parameters still learn: eval() is about dropout. requires_grad_(False) for the frozen ones.",
                ),
                (
                    learners(lambda t: []),
                    "no parameter learns: those inside the named modules must.",
                ),
                (
                    learners(all_but),
                    "it is upside down: the named modules learn, all others don't.",
                ),
                (
                    learners(values=False),
                    "values have changed: freezing only stops parameters from learning.",
                ),
                (
                    learners(lambda t: parameter_names(t[:1])),
                    "only one of the named modules learns: all of them.",
                ),
            ],
            driver=PARAMETERS,
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
                    lambda *a: [False, torch.zeros_like(a[3])],
                    "no gradient reaches what was put in: torch.no_grad() (or inference_mode, or detach) cuts the computation. "
                    "Freeze the parameters.",
                ),
                (
                    lambda *a: through(*a, loud=3.0),
                    "dropout of the frozen parts is on, although the model was switched to evaluation mode.",
                ),
            ],
            driver=PASSES,
        ),
        Check(
            "modes after train() and eval()",
            1,
            "freeze",
            lm_inputs,
            switched(),
            [
                (
                    switched(trained=False),
                    "the named modules can't be switched any more: a frozen parent must hand train() on to its children.",
                ),
                (
                    switched(frozen=False),
                    "system.train() switched the frozen parts' dropout on again: give each frozen module a `train` of its own.",
                ),
                (
                    switched(rest=False),
                    "what is outside of the model can't be switched any more: change the model only.",
                ),
                (
                    switched(frozen=False, trained=False),
                    "frozen parts are switched to training mode, and named modules aren't.",
                ),
            ],
            driver=MODES,
            reading=SWITCHED,
        ),
        Check(
            "a name that isn't there is an error",
            1,
            "freeze",
            unknown_name,
            lambda *a: [parameter_names(a[2]), "ValueError"],
            failing(
                lambda *a: parameter_names(a[2]),
                "a name that isn't there: a misspelt part would stay frozen",
            ),
            driver=UNKNOWN,
            reading=BY_ACCIDENT,
        ),
    ],
    "a3-others-test": [
        Check(
            "four labels",
            2,
            "other_images",
            kinds,
            state(),
            VALIDITY,
            driver=VALID,
            reading=PERMUTED,
        ),
        Check(
            "half with one label, half with the other",
            1,
            "other_images",
            half_and_half,
            state(),
            VALIDITY,
            driver=VALID,
            reading=PERMUTED,
        ),
    ],
}


def texts_with_pads(generator):
    """The padding's id is also a word of the texts; some are equally long."""
    pad = number(generator, 3, 9)
    texts = [[pad, 5, pad, 7], [4, pad], [6, 8, 11, pad], [pad]][: number(generator, 2, 4)]
    return [texts, pad], {}


def many_kinds(generator):
    """As many kinds as the most frequent one allows, in any order and with gaps in their numbers."""
    most = number(generator, 2, 5)
    rest = [number(generator, 1, most) for _ in range(number(generator, 1, 4))]
    rest[0] = most
    labels = [kind * 3 for kind, count in enumerate([most, *rest]) for _ in range(count)]
    return [torch.tensor(labels)[torch.randperm(len(labels), generator=generator)]], {}


HIDDEN = {
    "a3-pad-test": {name: [texts_with_pads] * 2 for name in ("ids", "is_token", "position")},
    "a3-answers-test": {
        "gains(...)": [loud_answers, loud_answers],
        "choose(gains, minimum)": [no_gain, lambda g: ([torch.zeros(3), 0.0], {})],
    },
    "a3-cost-test": {
        "tokens_needed(size, loss, law)": [out_of_reach, below_the_floor],
        "cheapest_size(...)": [not_used],
    },
    "a3-adapters-test": {"adapt(x, task, down, up)": [lambda g: adapter_inputs(g, True)]},
    "a3-prompt-test": {
        "vectors": [nearly_empty, lambda g: prompt_inputs(g, 1)],
        "is_token and position": [nearly_empty],
    },
    "a3-slots-test": {
        "x": [no_images, images_alone],
        "is_token and is_word": [no_images, images_alone, nothing_in_a_vector],
        "too few or too many images are an error": [wrong_number(False)],
    },
    "a3-freeze-test": {
        "which parameters learn": [
            lambda g: lm_inputs(g, []),
            lambda g: lm_inputs(g, ["layers.1"]),
            lambda g: lm_inputs(g, ["layers.0.linear", "layers.1.adapter.0"]),
        ],
        "modes after train() and eval()": [
            lambda g: lm_inputs(g, []),
            lambda g: lm_inputs(g, ["layers.1"]),
            lambda g: lm_inputs(g, ["layers.0.drop"]),
        ],
    },
    "a3-others-test": {"four labels": [many_kinds] * 3},
}
CHECKS = with_hidden(CHECKS, HIDDEN)
