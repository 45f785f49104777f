"""Hidden checks of assignment 4: BLIP and the Q-Former. Formulas of their own, cell by cell where that is clearer."""

import torch

from vlmgrader.checks import Check, with_hidden


def number(generator, low, high):
    """An integer, low <= n <= high."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def normal(generator, *shape):
    return torch.randn(*shape, generator=generator)


def softmax(x, axis=-1):
    x = (x - x.amax(axis, keepdim=True)).exp()
    return x / x.sum(axis, keepdim=True)


def log_softmax(logits):
    logits = logits - logits.amax(-1, keepdim=True)
    return logits - logits.exp().sum(-1, keepdim=True).log()


BY_ACCIDENT = """
def read(got, *inputs):
    found, kind, message = got
    parts = ("arg is an empty", "division by zero", "unpack", "not enough", "is not in list", "max() ", "min() ", "math domain")
    if kind == "ValueError" and len(message.split()) < 3:
        kind = "silent"
    return [found, "by accident" if any(words in message for words in parts) else kind]
"""


def failing(what):
    """What a function that should raise ValueError gives, and how each mistake is named. True: elsewhere it gives a value."""
    accidents = [("by accident", ", inside of Python")]
    kinds = ("ZeroDivisionError", "IndexError", "KeyError", "AttributeError", "RuntimeError")
    accidents += [(kind, f" ({kind})") for kind in (*kinds, "TypeError", "UnboundLocalError")]
    return [
        (lambda *a: [True, "nothing"], f"no error for {what}. Raise ValueError."),
        *[
            (
                (lambda *a, kind=kind: [True, kind]),
                f"it fails, but by accident{name}: raise a ValueError that says what is wrong.",
            )
            for kind, name in accidents
        ],
        (
            lambda *a: [True, "AssertionError"],
            "an assert is switched off by python -O: raise a ValueError.",
        ),
        (
            lambda *a: [True, "silent"],
            "the error doesn't say what is wrong: give ValueError a sentence.",
        ),
        *[
            (
                (lambda *a, kind=kind: [False, kind]),
                "there is an error, or no value, where all is well: only here it should be one.",
            )
            for kind in ("ValueError", "silent", "nothing", "by accident")
        ],
    ]


# 1. Hard negatives from a queue.


def drawn(
    similarities,
    groups,
    queue_groups,
    filled,
    floor=1e-4,
    axis=1,
    own="group",
    empty=True,
    before=True,
    share=True,
    late=False,
    exists=None,
):
    """Row by row: the weights of the texts that may be drawn, over their sum."""
    B, Q = len(groups), len(queue_groups)
    all_groups = [*groups.tolist(), *queue_groups.tolist()]
    exists = exists or [not empty or j < B + filled for j in range(B + Q)]
    x = similarities.double().clone()
    if before:
        x[:, [j for j in range(B + Q) if not exists[j]]] = -torch.inf
    p = softmax(x, axis) + (0 if late else floor)
    rows = torch.zeros(B, B + Q, dtype=torch.float64)
    for i in range(B):
        for j in range(B + Q):
            right = {
                "group": all_groups[i] == all_groups[j],
                "batch": j < B and all_groups[i] == all_groups[j],
                "itself": i == j,
                "queue": i == j or (j >= B and all_groups[i] == all_groups[j]),
                "none": False,
            }[own]
            if exists[j] and not right:
                rows[i, j] = p[i, j]
        if late:
            rows[i] += floor
        if share and rows[i].sum() > 0:
            rows[i] /= rows[i].sum()
    return rows.float()


def last_places(similarities, groups, queue_groups, filled):
    """As if the last `filled` places held texts."""
    B, Q = len(groups), len(queue_groups)
    exists = [j < B or j >= B + Q - filled for j in range(B + Q)]
    return drawn(similarities, groups, queue_groups, filled, exists=exists)


def zeros_for_empty(similarities, groups, queue_groups, filled):
    """Similarities of empty places become 0, which are still in the softmax."""
    x = similarities.clone()
    x[:, len(groups) + filled :] = 0
    return drawn(x, groups, queue_groups, filled, before=False)


def two_softmaxes(similarities, groups, queue_groups, filled):
    """One over the batch, one over the queue."""
    B = len(groups)
    end = B + filled
    p = torch.zeros_like(similarities)
    p[:, :B] = softmax(similarities[:, :B]) + 1e-4
    if filled:
        p[:, B:end] = softmax(similarities[:, B:end]) + 1e-4
    p[groups[:, None] == torch.cat([groups, queue_groups])] = 0
    total = p.sum(1, keepdim=True)
    return p / total.where(total > 0, torch.ones(1))


def floor_for_all(similarities, groups, queue_groups, filled):
    """The 0.0001 also goes to texts that can't be drawn."""
    return drawn(similarities, groups, queue_groups, filled, late=True)


def one_place_more(similarities, groups, queue_groups, filled):
    if filled == len(queue_groups):
        raise ValueError("no place is left")
    return drawn(similarities, groups, queue_groups, filled + 1)


def evenly(similarities, groups, queue_groups, filled):
    found = drawn(similarities, groups, queue_groups, filled) > 0
    return found / found.sum(1, keepdim=True).clamp(min=1)


def batch_alone(similarities, groups, queue_groups, filled):
    return drawn(similarities, groups, queue_groups, 0)


def softmax_of_the_rest(similarities, groups, queue_groups, filled):
    wrong = drawn(similarities, groups, queue_groups, filled) > 0
    p = softmax(similarities.masked_fill(~wrong, -1e9))
    p = (p + 1e-4).masked_fill(~wrong, 0)
    return p / p.sum(1, keepdim=True).where(wrong.any(1, keepdim=True), torch.ones(1))


def queue_batch(generator):
    B, Q = number(generator, 4, 5), number(generator, 4, 6)
    groups = torch.tensor([0, 1, 0, 2, 3])[:B][torch.randperm(B, generator=generator)]
    queue_groups = torch.tensor([1, 7, 0, 8, 9, 7])[:Q]
    similarities = 2 * normal(generator, B, B + Q) + 3 * torch.eye(B, B + Q) - 12
    filled = number(generator, 3, Q - 1)
    similarities[:, B + filled :] += 14  # what the empty places hold is nearest
    return [similarities, groups, queue_groups, filled], {}


def nothing_to_draw(generator):
    """All texts of a picture's group, or an empty queue behind a batch of one."""
    B = number(generator, 1, 3)
    groups = torch.full((B,), number(generator, 2, 5))
    queue_groups = torch.tensor([int(groups[0]), int(groups[0]), 9, 9])
    return [normal(generator, B, B + 4), groups, queue_groups, number(generator, 0, 2)], {}


def sure_of_itself(generator):
    """A model at a scale of 100: only the 0.0001 is left for the others, and exponentials overflow."""
    B, Q = number(generator, 3, 5), number(generator, 2, 5)
    similarities = 100 * torch.eye(B, B + Q) + normal(generator, B, B + Q) + 20
    filled = number(generator, 1, Q - 1)
    similarities[:, B + filled :] += 200  # what the empty places hold
    return [similarities, torch.arange(B), torch.arange(Q) + B - 1, filled], {}


def full_queue(generator):
    B, Q = number(generator, 2, 4), number(generator, 1, 5)
    groups = torch.randint(0, 3, (B + Q,), generator=generator)
    return [4 * normal(generator, B, B + Q), groups[:B], groups[B:], Q], {}


QUEUE_MISTAKES = [
    (
        lambda *a: drawn(*a, own="batch"),
        "texts of the queue with the picture's group can be drawn: they describe it, too.",
    ),
    (
        lambda *a: drawn(*a, own="itself"),
        "other texts with the picture's group can be drawn: their probability is 0, too.",
    ),
    (
        lambda *a: drawn(*a, own="queue"),
        "other texts of the batch with the picture's group can be drawn: `groups` tells of them.",
    ),
    (lambda *a: drawn(*a, own="none"), "a picture can draw its own text."),
    (last_places, "the last places of the queue are taken for the filled ones: the first are."),
    (
        zeros_for_empty,
        "a similarity of 0 is in the softmax as exp(0) = 1: empty places need -inf.",
    ),
    (two_softmaxes, "batch and queue have a softmax each: one over both."),
    (
        floor_for_all,
        "the 0.0001 is added after the zeros: then right texts and empty places can be drawn.",
    ),
    (
        lambda *a: drawn(*a, floor=1e-3),
        "the constant is 0.001: 0.0001 is wanted.",
    ),
    (
        lambda *a: drawn(*a, empty=False, before=False),
        "empty places of the queue can be drawn: only the first `filled` hold texts.",
    ),
    (
        lambda *a: drawn(*a, before=False),
        "empty places take part in the softmax: take them out before it.",
    ),
    (one_place_more, "one place too many: the places 0 to filled - 1 hold texts."),
    (
        softmax_of_the_rest,
        "texts of the own group are taken out before the softmax: they take part in it, and are set to zero afterwards.",
    ),
    (
        lambda *a: drawn(*a, floor=0.0),
        "the 0.0001 is missing: a sure model leaves nothing for the others.",
    ),
    (
        lambda *a: drawn(*a, share=False),
        "a row must sum to one: divide by its sum at the end.",
    ),
    (lambda *a: drawn(*a, axis=0), "the softmax runs over pictures: each picture draws a text."),
    (
        lambda s, g, q, f: drawn(-s, g, q, f),
        "the least similar texts are likeliest: hard negatives are the most similar.",
    ),
    (
        evenly,
        "each wrong text is as likely as the others: similar ones must be likelier.",
    ),
    (batch_alone, "the queue is never drawn from."),
]


# 2. Several answers to one question.


def weights_of(question, counts):
    totals = {}
    for q, c in zip(question.tolist(), counts.tolist()):
        totals[q] = totals.get(q, 0) + c
    return torch.tensor([c / totals[q] for q, c in zip(question.tolist(), counts.tolist())])


def some_answers(generator):
    questions = [0, 1, 2, 0, 1, 0][: number(generator, 5, 6)]
    order = torch.randperm(len(questions), generator=generator)
    counts = torch.randint(1, 9, (len(questions),), generator=generator)
    counts[0], counts[1] = 9, 2
    return [torch.tensor(questions)[order], counts], {}


def first_total(question, counts):
    return counts / counts[question == question[0]].sum()


def vqa(logits, ids, is_token, weights, B, ahead=1, mean=False, by=None):
    log_p = log_softmax(logits)
    total = 0.0
    for n in range(len(ids)):
        of_answer = [
            -log_p[n, t - ahead, ids[n, t]]
            for t in range(ids.shape[1])
            if is_token[n, t] and 0 <= t - ahead
        ]
        value = sum(of_answer) / (len(of_answer) if mean else 1)
        total = total + float(weights[n]) * value
    return total / (B if by is None else by)


def answer_batch(generator):
    B, N, A, V = 2, number(generator, 3, 4), number(generator, 5, 6), 7
    is_token = torch.zeros(N, A, dtype=torch.bool)
    for n, end in enumerate([2, A, 4, 3][:N]):
        is_token[n, 1:end] = True
    weights = torch.tensor([0.25, 0.75, 0.4, 0.6])[:N]
    return [
        normal(generator, N, A, V),
        torch.randint(0, V, (N, A), generator=generator),
        is_token,
        weights,
        B,
    ], {}


def everything(logits, ids, is_token, weights, B):
    counted = torch.ones_like(is_token)
    counted[:, 0] = False
    return vqa(logits, ids, counted, weights, B)


def shifted(logits, ids, is_token, weights, B):
    counted = torch.cat([is_token[:, :1] & False, is_token[:, :-1]], 1)
    return vqa(logits, ids, counted, weights, B)


VQA = """
import torch
def run(vqa_loss, logits, ids, is_token, weights, B):
    logits = logits.requires_grad_()
    loss = vqa_loss(logits, ids, is_token, weights, B)
    learns = isinstance(loss, torch.Tensor) and loss.requires_grad
    loss = torch.tensor(loss) if isinstance(loss, float) else loss
    return [loss, "a gradient" if learns else "no gradient"]
"""
LOSS = """
def read(got, *inputs):
    return got[0] if got[1] == "a gradient" else got
"""


def neighbours(question, counts):
    """Shares within runs of equal numbers."""
    numbers, n, shares = question.tolist(), 0, []
    while n < len(numbers):
        end = n
        while end < len(numbers) and numbers[end] == numbers[n]:
            end += 1
        shares.append(counts[n:end] / counts[n:end].sum())
        n = end
    return torch.cat(shares)


def of_logits(logits, ids, is_token, weights, B):
    """Logits as if they were log-probabilities."""
    picked = logits[:, :-1].gather(2, ids[:, 1:, None])[..., 0] * is_token[:, 1:]
    return -(weights * picked.sum(1)).sum() / B


def loud_answers(generator):
    (logits, ids, is_token, weights, B), _ = answer_batch(generator)
    return [90 * logits, ids, is_token, weights, [1, 3][number(generator, 0, 1)]], {}


def many_questions(generator):
    """One answer to each question, in any order, or one question with all of them."""
    N = number(generator, 1, 6)
    question = torch.randperm(N, generator=generator) * number(generator, 0, 1)
    return [question, torch.randint(1, 11, (N,), generator=generator)], {}


# 3. The best of a list.

LIST = """
import torch
def run(best_answers, first_logits, answers, table, k):
    read = []
    def log_probs(rows, columns):
        rows, columns = torch.as_tensor(rows), torch.as_tensor(columns)
        read.extend(zip(rows.flatten().tolist(), columns.flatten().tolist()))
        return table[rows, columns]
    best = best_answers(first_logits, answers, log_probs, k)
    return [best, torch.tensor(sorted(set(read)))]
"""


def listed(first_logits, answers, table, k, column=1, last=False, add=False, worst=False):
    """The best answers, and the pairs that were read."""
    best, pairs = [], []
    for b, row in enumerate(first_logits.tolist()):
        first = [row[ids[column]] for ids in answers.tolist()]
        ranked = sorted(range(len(first)), key=lambda n: first[n], reverse=not last)[:k]
        pairs += [(b, n) for n in ranked]
        p = log_softmax(first_logits[b]).tolist()
        score = {n: float(table[b, n]) + (p[answers[n, 1]] if add else 0.0) for n in ranked}
        best.append((min if worst else max)(ranked, key=score.get))
    return [torch.tensor(best), torch.tensor(sorted(pairs))]


def place_among(first_logits, answers, table, k):
    best = []
    for b, row in enumerate(first_logits.tolist()):
        first = [row[ids[1]] for ids in answers.tolist()]
        ranked = sorted(range(len(first)), key=lambda n: -first[n])[:k]
        best.append(max(range(len(ranked)), key=lambda place: float(table[b, ranked[place]])))
    return torch.tensor(best)


def answer_list(generator, k=None, N=None):
    B, V = number(generator, 7, 8), 14
    N = N or number(generator, 8, 9)
    words = [torch.randperm(V - 1, generator=generator)[:N] + 1 for _ in range(3)]
    answers = torch.stack([torch.zeros(N, dtype=torch.long), *words], 1)
    first_logits = 2 * normal(generator, B, V)
    table = 2 * normal(generator, B, N) - 6
    return [first_logits, answers, table, k or number(generator, 3, 4)], {}


def telling_list(generator):
    """A list on which the first word alone, and the first word counted twice, choose other answers."""
    while True:
        (f, a, t, k), _ = answer_list(generator)
        wrong = [listed(f, a, t, 1), listed(f, a, t, k, add=True), listed(f, a, t, len(a))]
        found = [tuple(best.tolist()) for best, _ in [listed(f, a, t, k), *wrong]]
        if len(set(found)) == 4:
            return [f, a, t, k], {}


def of_vocabulary(first_logits, answers, table, k):
    """Answers whose first word is among the k likeliest of the whole vocabulary."""
    likely = first_logits.topk(k, dim=1).indices.tolist()
    best, pairs = [], []
    for b, words in enumerate(likely):
        ranked = [n for n, ids in enumerate(answers.tolist()) if ids[1] in words]
        pairs += [(b, n) for n in ranked]
        best.append(max(ranked, key=lambda n: float(table[b, n])) if ranked else 0)
    return [torch.tensor(best), torch.tensor(pairs)]


def column_zero(first_logits, answers, table, k):
    """All answers are as likely as the decoder's first token: which are taken is up to torch."""
    top = first_logits[:, answers[:, 0]].topk(k, dim=1).indices
    best = top[torch.arange(len(top)), table.gather(1, top).argmax(1)]
    return [best, torch.tensor(sorted((b, n) for b, row in enumerate(top.tolist()) for n in row))]


def turned_pairs(first_logits, answers, table, k):
    """Rows 0 1 2 0 1 2 beside columns that go question by question."""
    top = first_logits[:, answers[:, 1]].topk(k, dim=1).indices
    rows = torch.arange(len(top)).repeat(k)
    places = table[rows, top.flatten()].reshape(-1, k).argmax(1)
    pairs = sorted(set(zip(rows.tolist(), top.flatten().tolist())))
    return [top[torch.arange(len(top)), places], torch.tensor(pairs)]


LIST_MISTAKES = [
    (
        lambda f, a, t, k: [t.argmax(1), listed(f, a, t, len(a))[1]],
        "the whole list was read: only the k answers with the likeliest first word may be.",
    ),
    (
        lambda f, a, t, k: listed(f, a, t, 1),
        "the first word decides alone: of the k, the whole answer decides.",
    ),
    (
        lambda *a: [place_among(*a), listed(*a)[1]],
        "these are places among the k: the number in the list is wanted.",
    ),
    (
        lambda *a: [listed(*a, add=True)[0], listed(*a)[1]],
        "the first word counts twice: the whole answer's log-probability contains it.",
    ),
    (
        lambda *a: [listed(*a, worst=True)[0], listed(*a)[1]],
        "that is the worst of the k.",
    ),
    (
        lambda *a: listed(*a, last=True),
        "the k with the *least* likely first word were read.",
    ),
    (
        lambda *a: listed(*a, column=2),
        "the second word was looked at: the first word is in column 1.",
    ),
    (
        column_zero,
        "column 0 is the decoder's first token, the same in all rows: the first word is in column 1.",
    ),
    (
        of_vocabulary,
        "the k likeliest words of the vocabulary: the k answers of the list with the likeliest first word.",
    ),
    (
        turned_pairs,
        "questions and answers don't stand in the same order: with k answers a question, each row k times in place.",
    ),
    (
        lambda f, a, t, k: listed(f, a, t, k - 1),
        "k - 1 answers were read.",
    ),
    (
        lambda f, a, t, k: [
            a[torch.arange(len(f)) * 0 + listed(f, a, t, k)[0], 1],
            listed(f, a, t, k)[1],
        ],
        "these are the first words of the answers: their numbers in the list are wanted.",
    ),
    (
        lambda f, a, t, k: [listed(f, a, t, k)[0], listed(f, a, t, len(a))[1]],
        "the whole list was read: only the k answers with the likeliest first word may be.",
    ),
    (
        lambda f, a, t, k: [listed(f, a, t, k)[0], torch.tensor([])],
        "no whole answer was read: call `log_probs`.",
    ),
    (
        lambda f, a, t, k: [
            listed(f[:1].expand(len(f), -1), a, t, k)[0],
            listed(f[:1].expand(len(f), -1), a, t, k)[1],
        ],
        "all questions read the same answers: for each the k with its own likeliest first word.",
    ),
    (
        lambda f, a, t, k: [
            listed(f, a, t, k + 1)[0],
            listed(f, a, t, k + 1)[1],
        ],
        "k + 1 answers were read.",
    ),
]


# 4. How many captions are wrong?


def noise(kept, recall, false_alarms, clamp=True, thrown=None):
    thrown = 1 - kept if thrown is None else thrown
    value = (thrown - false_alarms) / (recall - false_alarms)
    return float(min(max(value, 0.0), 1.0)) if clamp else float(value)


def share(generator, low, high):
    return low + (high - low) * float(torch.rand((), generator=generator))


def filtered(generator):
    recall, alarms = share(generator, 0.6, 0.85), share(generator, 0.05, 0.3)
    n = share(generator, 0.2, 0.4)
    return [1 - n * recall - (1 - n) * alarms, recall, alarms], {}


def below_zero(generator):
    recall, alarms = share(generator, 0.6, 0.8), share(generator, 0.2, 0.4)
    return [1 - alarms + 0.1, recall, alarms], {}


def above_one(generator):
    recall, alarms = share(generator, 0.6, 0.8), share(generator, 0.2, 0.4)
    return [1 - recall - 0.1, recall, alarms], {}


def any_filter(generator):
    """A filter that throws out all wrong captions, or no right one."""
    recall, alarms = [(1.0, 0.25), (0.5, 0.0), (1.0, 0.0)][number(generator, 0, 2)]
    n = share(generator, 0.0, 1.0)
    return [1 - n * recall - (1 - n) * alarms, recall, alarms], {}


USELESS = """
def run(noise_share, kept, recall, false_alarms, low):
    try:
        found = float(noise_share(kept, recall, false_alarms)) >= 0
    except NotImplementedError:
        raise
    except Exception:
        found = False
    try:
        noise_share(kept, low, false_alarms)
    except NotImplementedError:
        raise
    except Exception as error:
        return [found, type(error).__name__, str(error)]
    return [found, "nothing", ""]
"""


def useless(equal):
    def inputs(generator):
        (kept, recall, alarms), _ = filtered(generator)
        return [kept, recall, alarms, alarms if equal else alarms / 2], {}

    return inputs


def left(n, recall, alarms):
    wrong, right = n * (1 - recall), (1 - n) * (1 - alarms)
    return wrong / (wrong + right) if wrong + right > 0 else 0.0


def before_filter(generator):
    return [
        share(generator, 0.2, 0.7),
        share(generator, 0.5, 0.9),
        share(generator, 0.05, 0.4),
    ], {}


def throws_all(kind):
    """A filter that keeps nothing, in three ways; wrong captions alone; none of them."""
    cases = [
        [1.0, 1.0, 0.2],
        [0.4, 1.0, 1.0],
        [0.0, 0.6, 1.0],
        [1.0, 0.6, 0.2],
        [0.0, 0.6, 0.3],
    ]
    return lambda generator: (cases[kind], {})


# 5. Several texts of one picture.

ROWS = """
import torch
def read(got, R, text, is_token):
    rows = torch.cat([torch.ones(len(text), R, dtype=torch.bool), is_token], 1)
    return got & rows[:, :, None] if got.dtype == torch.bool else got
"""


def whole_mask(objective, R, text, is_token, hide=True, causal=None, other=False, query=None):
    """Cell by cell."""
    causal = objective == "itg" if causal is None else causal
    reads_queries = objective == "itg" if query is None else query

    def may_attend(b, i, j):
        if hide and j >= R and not is_token[b, j - R]:
            return False
        if i < R or j < R:
            return (i < R and j < R) or (i >= R and reads_queries)
        same = other or text[b, i - R] == text[b, j - R]
        return bool(same) and (not causal or j <= i)

    B, L = len(text), R + text.shape[1]
    return torch.tensor(
        [[[may_attend(b, i, j) for j in range(L)] for i in range(L)] for b in range(B)]
    )


def compared(full, R, is_token):
    """Rows of padding are empty, because they aren't compared."""
    rows = torch.cat([torch.ones(len(full), R, dtype=torch.bool), is_token], 1)
    return full & rows[:, :, None]


def packed(objective, R, text, is_token, change=lambda mask: mask, **options):
    full = whole_mask(objective, R, text, is_token, **options)
    return compared(change(full), R, is_token)


def queries_read(objective, R, text, is_token):
    full = whole_mask(objective, R, text, is_token)
    full[:, :R, R:] = is_token[:, None, :]
    return compared(full, R, is_token)


def only_past(mask, R):
    """A token doesn't attend to itself."""
    place = torch.arange(R, mask.shape[1])
    mask[:, place, place] = False
    return mask


def among_queries(mask, R, inside):
    mask[:, :R, :R] = inside
    return mask


def earlier_texts(objective, R, text, is_token):
    """Tokens also attend to texts that stand before theirs."""
    full = whole_mask(objective, R, text, is_token)
    full[:, R:, R:] |= (text[:, :, None] > text[:, None, :]) & is_token[:, None, :]
    return compared(full, R, is_token)


def tokens_first(objective, R, text, is_token):
    full = whole_mask(objective, R, text, is_token)
    return compared(full.roll((-R, -R), (1, 2)), R, is_token)


def first_texts(objective, R, text, is_token):
    """The first picture's texts serve all."""
    full = whole_mask(objective, R, text[:1].expand(len(text), -1), is_token)
    return compared(full, R, is_token)


def captions(generator):
    T = 7
    first = number(generator, 2, 3)
    rows = [[0] * first + [1] * (T - first), [0] * 2 + [1] * 3 + [2] * 2]
    is_token = torch.ones(2, T, dtype=torch.bool)
    is_token[0, T - number(generator, 1, 2) :] = False
    return [number(generator, 2, 3), torch.tensor(rows), is_token], {}


def odd_captions(generator):
    """One query; other numbers of texts, one text alone, captions of one token; other numbering."""
    T = number(generator, 3, 5)
    rows = [[4] * T, list(range(T)), [number(generator, 0, 1)] * 2 + [2] * (T - 2)]
    is_token = torch.arange(T)[None, :] < torch.tensor([[T], [T], [number(generator, 2, T)]])
    return [1, torch.tensor(rows), is_token], {}


def mask_of(objective):
    """The check of one of the two objectives that can be packed."""

    def wrong(**options):
        return lambda R, text, is_token: packed(objective, R, text, is_token, **options)

    of_objective = {
        "itc": [
            (wrong(causal=True), "the text is causal: with ITC a token attends to its whole text."),
            (wrong(query=True), "tokens attend to queries: with ITC they don't."),
            (
                lambda *a: packed("itg", *a),
                "that is the mask of ITG: with ITC tokens don't attend to queries, and see their text's future.",
            ),
        ],
        "itg": [
            (wrong(causal=False), "a token attends to its own future."),
            (wrong(query=False), "tokens don't attend to queries: they can't know of the picture."),
            (
                lambda *a: packed("itc", *a),
                "that is the mask of ITC: with ITG tokens attend to queries and to the past of their text.",
            ),
        ],
    }[objective]
    return Check(
        f"mask of {objective}",
        2,
        "packed_mask",
        captions,
        lambda *a: packed(objective, *a),
        [
            *of_objective,
            (
                wrong(other=True),
                "tokens attend to tokens of other texts: compare the numbers of the texts.",
            ),
            (wrong(hide=False), "padding can be attended to: empty its columns."),
            (
                lambda *a: queries_read(objective, *a),
                "queries attend to text: then they would mix several texts.",
            ),
            (
                wrong(change=lambda mask: ~mask),
                "upside down: True means may be attended to.",
            ),
            (
                wrong(change=lambda mask: mask.transpose(1, 2)),
                "that is the transpose: rows are queries of attention, columns keys.",
            ),
            (
                lambda R, *a: packed(objective, R, *a, change=lambda mask: only_past(mask, R)),
                "a token doesn't attend to itself: it does.",
            ),
            (
                lambda R, *a: packed(
                    objective,
                    R,
                    *a,
                    change=lambda mask: among_queries(mask, R, torch.eye(R).bool()),
                ),
                "each query attends to itself alone: queries attend to all queries.",
            ),
            (
                lambda R, *a: packed(
                    objective,
                    R,
                    *a,
                    change=lambda mask: among_queries(mask, R, torch.ones(R, R).tril().bool()),
                ),
                "the queries are causal: all attend to all.",
            ),
            (
                lambda *a: earlier_texts(objective, *a),
                "a token attends to texts before its own: to its own text alone.",
            ),
            (
                lambda *a: tokens_first(objective, *a),
                "the tokens stand before the queries: queries first.",
            ),
            (
                lambda *a: first_texts(objective, *a),
                "the first picture's texts serve for all pictures: each has its own.",
            ),
            (
                wrong(change=lambda mask: mask[:1].expand(len(mask), -1, -1)),
                "every picture gets the mask of the first.",
            ),
        ],
        driver=f"def run(packed_mask, R, text, is_token):\n    return packed_mask({objective!r}, R, text, is_token)\n",
        reading=ROWS,
    )


MATCHING = """
import torch
def run(packed_mask, R, text, is_token):
    try:
        found = isinstance(packed_mask("itc", R, text, is_token), torch.Tensor)
    except NotImplementedError:
        raise
    except Exception:
        found = False
    try:
        packed_mask("itm", R, text, is_token)
    except NotImplementedError:
        raise
    except Exception as error:
        return [found, type(error).__name__, str(error)]
    return [found, "nothing", ""]
"""


# 6. Encoder and decoder.


def to_encoder(texts, cuts, R, pad, side="right", extra=0, queries=True):
    P = max(cuts) + extra
    ids, keys = [], []
    for text, cut in zip(texts, cuts):
        prefix = text[: cut + extra]
        empty = P - len(prefix)
        row, is_key = prefix + [pad] * empty, [True] * len(prefix) + [False] * empty
        if side == "left":
            row, is_key = [pad] * empty + prefix, [False] * empty + [True] * len(prefix)
        ids.append(row)
        keys.append(([True] * R if queries else [False] * R) + is_key)
    return [torch.tensor(ids), torch.tensor(keys)]


def keys_as(texts, cuts, R, pad, rule):
    ids, keys = to_encoder(texts, cuts, R, pad)
    return [ids, rule(ids, keys)]


def to_decoder(texts, cuts, start, pad, ignore=-100, shift=True, side="right"):
    S = max(len(text) - cut for text, cut in zip(texts, cuts))
    inputs, targets = [], []
    for text, cut in zip(texts, cuts):
        suffix = text[cut:]
        empty = S - len(suffix)
        read = [start, *suffix[:-1]] if shift else suffix
        if side == "left":
            inputs.append([pad] * empty + read)
            targets.append([ignore] * empty + suffix)
        else:
            inputs.append(read + [pad] * empty)
            targets.append(suffix + [ignore] * empty)
    return [torch.tensor(inputs), torch.tensor(targets)]


def texts_to_cut(generator):
    texts = [
        torch.randint(4, 30, (length,), generator=generator).tolist()
        for length in (number(generator, 4, 5), 7, number(generator, 6, 8))
    ]
    cuts = [number(generator, 1, 2), 3, number(generator, 3, 5)]
    order = torch.randperm(3, generator=generator).tolist()
    return [texts[i] for i in order], [cuts[i] for i in order]


def encoder_case(generator):
    texts, cuts = texts_to_cut(generator)
    return [texts, cuts, number(generator, 2, 3), number(generator, 0, 3)], {}


def decoder_case(generator):
    texts, cuts = texts_to_cut(generator)
    return [texts, cuts, number(generator, 40, 49), number(generator, 0, 3)], {}


def odd_texts(generator):
    """The id of padding as a word; an empty prefix; a suffix of one id."""
    pad = number(generator, 5, 9)
    texts = [[pad, 11, pad], [12, 13], [pad, pad, 14, 15, pad, 16][: number(generator, 5, 6)]]
    order = torch.randperm(3, generator=generator).tolist()
    cuts = [0, 1, number(generator, 2, 4)]
    return [texts[i] for i in order], [cuts[i] for i in order], pad


def double_shift(texts, cuts, start, pad):
    """The targets are shifted as well: each position learns the id after its own target."""
    inputs, targets = to_decoder(texts, cuts, start, pad)
    for row, (text, cut) in enumerate(zip(texts, cuts)):
        targets[row] = -100
        targets[row, : len(text) - cut - 1] = torch.tensor(text[cut + 1 :])
    return [inputs, targets]


def shifted_padding(texts, cuts, start, pad):
    """The suffixes are padded first and shifted then: of the short ones no last id is taken away."""
    inputs, targets = to_decoder(texts, cuts, start, pad)
    words = targets.where(targets != -100, torch.tensor(pad))
    return [torch.cat([inputs[:, :1], words[:, :-1]], 1), targets]


def padded_with(texts, cuts, start, pad, other):
    """The inputs' padding is another id."""
    inputs, targets = to_decoder(texts, cuts, start, pad)
    return [inputs.where(targets != -100, torch.tensor(other)), targets]


def begun_with(texts, cuts, start, pad, other):
    inputs, targets = to_decoder(texts, cuts, start, pad)
    inputs[:, 0] = other
    return [inputs, targets]


def odd_encoder(generator):
    texts, cuts, pad = odd_texts(generator)
    return [texts, cuts, number(generator, 1, 4), pad], {}


def odd_decoder(generator):
    texts, cuts, pad = odd_texts(generator)
    return [texts, cuts, pad - 1, pad], {}


CHECKS = {
    "a4-queue-test": [
        Check(
            "probabilities of the wrong texts",
            3,
            "negative_probabilities",
            queue_batch,
            drawn,
            QUEUE_MISTAKES,
        ),
        Check(
            "a row with nothing to draw",
            1,
            "negative_probabilities",
            nothing_to_draw,
            drawn,
            [
                (
                    lambda s, *a: torch.full_like(s, torch.nan),
                    "0 / 0: a row with nothing to draw stays zero.",
                ),
                (
                    lambda s, *a: torch.full_like(s, 1 / s.shape[1]),
                    "a row with nothing to draw is spread over all texts: it stays zero.",
                ),
                *QUEUE_MISTAKES,
            ],
        ),
    ],
    "a4-answers-test": [
        Check(
            "answer_weights(question, counts)",
            2,
            "answer_weights",
            some_answers,
            weights_of,
            [
                (lambda q, c: c / c.sum(), "shares of all answers of the batch: of each question."),
                (
                    lambda q, c: weights_of(q, torch.ones_like(c)),
                    "each answer of a question weighs the same: use the counts.",
                ),
                (
                    lambda q, c: c.float(),
                    "these are the counts themselves: divide by their sum over the question.",
                ),
                (
                    neighbours,
                    "only answers that stand side by side are taken together: compare the questions' numbers.",
                ),
                (lambda q, c: c / 10, "divided by 10: by the counts of the question's answers."),
                (
                    lambda q, c: c / torch.stack([c[q == one].max() for one in q]),
                    "divided by the largest count of the question: by the sum.",
                ),
                (
                    lambda q, c: (
                        c.float().exp()
                        / torch.stack([c[q == one].float().exp().sum() for one in q])
                    ),
                    "that is a softmax of each question's counts: their share is wanted.",
                ),
                (
                    lambda q, c: softmax(c.float()),
                    "that is a softmax of the counts: their share is wanted.",
                ),
                (first_total, "each count is divided by the total of one question."),
                (
                    lambda q, c: torch.stack([c[q == one].sum() for one in q]).float(),
                    "these are the totals of the questions: divide the counts by them.",
                ),
                (
                    lambda q, c: c / torch.stack([(q == one).sum() for one in q]),
                    "divided by the number of different answers: by the sum of their counts.",
                ),
            ],
        ),
        Check(
            "vqa_loss(logits, ids, is_token, weights, B)",
            2,
            "vqa_loss",
            answer_batch,
            vqa,
            [
                (
                    lambda *a: [vqa(*a), "no gradient"],
                    "the loss has no gradient: nothing could learn from it. Keep tensors all the way.",
                ),
                (
                    lambda *a: vqa(*a, ahead=0),
                    "position t is compared with token t, which it has read: it predicts token t + 1.",
                ),
                (everything, "padding is scored: only where `is_token` is True."),
                (
                    lambda *a: vqa(*a, mean=True),
                    "the loss of an answer is the sum over its tokens, not the mean.",
                ),
                (
                    lambda *a: vqa(*a, by=len(a[0])),
                    "divided by the number of answers: by the number of questions.",
                ),
                (
                    lambda *a: vqa(*a, by=1),
                    "that is the sum over questions: divide by B.",
                ),
                (
                    lambda lo, i, t, w, B: vqa(lo, i, t, torch.ones_like(w), B),
                    "the weights are not used.",
                ),
                (
                    lambda lo, i, t, w, B: vqa(lo, i, t, w, B, by=float(w.sum())),
                    "divided by the sum of the weights: by the number of questions.",
                ),
                (lambda *a: -vqa(*a), "the sign is wrong."),
                (
                    shifted,
                    "`is_token` belongs to the tokens, not to the positions that predict them: shift it together with ids.",
                ),
                (
                    lambda lo, i, t, w, B: vqa(lo, i, t, w.flip(0), B),
                    "the weights stand in the wrong order.",
                ),
                (of_logits, "logits are summed: take log_softmax over the vocabulary first."),
                (
                    lambda lo, i, t, w, B: vqa(lo, i, t, w, B, by=float(t[:, 1:].sum())),
                    "divided by the number of tokens: by the number of questions.",
                ),
                (
                    lambda lo, i, t, w, B: vqa(lo, i, t, w, B, by=B * float(t[:, 1:].sum())),
                    "divided by the number of tokens, too: by the number of questions alone.",
                ),
                (
                    lambda lo, i, t, w, B: vqa(lo, i, t, torch.ones_like(w), B, by=len(i)),
                    "the weights are not used: that is a plain mean over answers.",
                ),
            ],
            driver=VQA,
            reading=LOSS,
        ),
    ],
    "a4-list-test": [
        Check(
            "the chosen answers",
            3,
            "best_answers",
            telling_list,
            lambda *a: listed(*a)[0],
            [
                (lambda *a, rule=rule: rule(*a)[0], words)
                for rule, words in LIST_MISTAKES
                if "no whole answer" not in words
            ],
            driver=LIST,
            reading="def read(got, *inputs):\n    return got[0]\n",
            rounds=5,
        ),
        Check(
            "which whole answers are read",
            1,
            "best_answers",
            telling_list,
            lambda *a: listed(*a)[1],
            [(lambda *a, rule=rule: rule(*a)[1], words) for rule, words in LIST_MISTAKES],
            driver=LIST,
            reading="def read(got, *inputs):\n    return got[1]\n",
        ),
    ],
    "a4-noise-test": [
        Check(
            "noise_share(kept, recall, false_alarms)",
            2,
            "noise_share",
            filtered,
            noise,
            [
                (
                    lambda k, r, f: noise(k, r, f, thrown=k),
                    "the share kept is used as the share thrown out.",
                ),
                (
                    lambda k, r, f: 1 - k,
                    "that is the share thrown out: right captions are among it, too.",
                ),
                (lambda k, r, f: (1 - k) / r, "the right captions thrown out are forgotten."),
                (
                    lambda k, r, f: (1 - k - f) / r,
                    "false alarms happen to the right captions only: (1 - noise) of all.",
                ),
                (
                    lambda k, r, f: (1 - k) / (r - f),
                    "the false alarms are missing above the line: subtract them from the share thrown out.",
                ),
                (
                    lambda k, r, f: (k - f) / (r - f),
                    "the share kept is used as the share thrown out.",
                ),
                (lambda k, r, f: (1 - k) * r, "multiplied by the recall: solve for the noise."),
                (
                    lambda k, r, f: 1 - noise(k, r, f),
                    "that is the share of right captions (so it is if recall and false alarms are exchanged).",
                ),
                (
                    lambda k, r, f: noise(k, r, f, clamp=False),
                    "a share can't be below 0 or above 1: return the nearer end.",
                ),
                (
                    lambda k, r, f: 100 * noise(k, r, f),
                    "a share from 0 to 1 is wanted, not per cent.",
                ),
            ],
        ),
        Check(
            "a filter that says nothing is an error",
            1,
            "noise_share",
            useless(equal=True),
            lambda k, r, f, low: [True, "ValueError"],
            failing("a recall that isn't above the false alarms"),
            driver=USELESS,
            reading=BY_ACCIDENT,
        ),
        Check(
            "noise_left(noise, recall, false_alarms)",
            1,
            "noise_left",
            before_filter,
            left,
            [
                (
                    lambda n, r, f: n * (1 - r),
                    "that is the share of *all* captions: divide by the share that is kept.",
                ),
                (
                    lambda n, r, f: 1.0 if left(n, r, f) == 0 else n,
                    "where the filter keeps nothing, return 0.0.",
                ),
                (
                    lambda n, r, f: n if left(n, r, f) == 0 else -1.0,
                    "where the filter keeps nothing, return 0.0.",
                ),
                (
                    lambda n, r, f: left(n, 1 - r, 1 - f),
                    "these are the wrong captions among those *thrown out*.",
                ),
                (
                    lambda n, r, f: n * (1 - r) / (n * (1 - r) + 1 - n),
                    "right captions are thrown out, too: false alarms are forgotten.",
                ),
                (lambda n, r, f: 1 - left(n, r, f), "that is the share of right captions."),
                (lambda n, r, f: left(n, f, r), "recall and false alarms are exchanged."),
                (
                    lambda n, r, f: 1 - r,
                    "that is the share of the wrong captions that stay: their share among the kept ones is wanted.",
                ),
            ],
        ),
    ],
    "a4-packed-test": [
        mask_of("itc"),
        mask_of("itg"),
        Check(
            "itm is an error",
            1,
            "packed_mask",
            captions,
            lambda *a: [True, "ValueError"],
            failing("several texts with ITM"),
            driver=MATCHING,
            reading=BY_ACCIDENT,
        ),
    ],
    "a4-split-test": [
        Check(
            "encoder_inputs(texts, cuts, R, pad)",
            2,
            "encoder_inputs",
            encoder_case,
            to_encoder,
            [
                (
                    lambda *a: to_encoder(*a, side="left"),
                    "the padding is on the left: here it comes last.",
                ),
                (
                    lambda t, c, R, p: [
                        to_encoder(t, c, R, p, side="left")[0],
                        to_encoder(t, c, R, p)[1],
                    ],
                    "the ids are padded on the left: here padding comes last.",
                ),
                (
                    lambda t, c, R, p: [
                        torch.cat([torch.full((len(t), R), p), to_encoder(t, c, R, p)[0]], 1),
                        to_encoder(t, c, R, p)[1],
                    ],
                    "the R vectors have no ids: the ids are those of the prefixes alone, (B, P).",
                ),
                (
                    lambda t, c, R, p: keys_as(
                        t, c, R, p, lambda ids, keys: keys & (torch.tensor(c) > 0)[:, None]
                    ),
                    "with an empty prefix the picture's vectors are hidden: they are always read.",
                ),
                (
                    lambda t, c, R, p: [
                        to_encoder(t, c, R, 0)[0],
                        to_encoder(t, c, R, p)[1],
                    ],
                    "the ids are padded with 0: with `pad`.",
                ),
                (
                    lambda *a: to_encoder(*a, extra=1),
                    "the first id of the suffix is in the prefix: text[:cut] ends before it.",
                ),
                (
                    lambda *a: to_encoder(*a, queries=False),
                    "the picture's vectors are hidden: their places are True.",
                ),
                (
                    lambda t, c, R, p: [
                        to_encoder(t, c, R, p)[0],
                        to_encoder(t, c, 0, p)[1],
                    ],
                    "the places of the picture's R vectors are missing: they come first.",
                ),
                (
                    lambda *a: keys_as(*a, lambda ids, keys: ~keys),
                    "upside down: True at what is read.",
                ),
                (
                    lambda *a: keys_as(*a, lambda ids, keys: torch.ones_like(keys)),
                    "padding is read: False there.",
                ),
                (
                    lambda t, c, R, p: keys_as(
                        t, c, R, p, lambda ids, keys: torch.cat([keys[:, R:], keys[:, :R]], 1)
                    ),
                    "the picture's vectors come first, before the prefix.",
                ),
                (
                    lambda t, c, R, p: keys_as(
                        t, c, R, p, lambda ids, keys: torch.cat([keys[:, :R], ids != p], 1)
                    ),
                    "a word that has the id of padding is taken for padding.",
                ),
                (
                    lambda t, c, R, p: to_encoder(t, [len(one) for one in t], R, p),
                    "the whole text is in the encoder: then there is nothing to learn for the decoder. Only the prefix.",
                ),
                (
                    lambda t, c, R, p: to_encoder(t, [c[0]] * len(t), R, p),
                    "every text is cut where the first is.",
                ),
            ],
        ),
        Check(
            "decoder_inputs(texts, cuts, start, pad)",
            3,
            "decoder_inputs",
            decoder_case,
            to_decoder,
            [
                (
                    lambda *a: to_decoder(*a, shift=False),
                    "the decoder reads what it should predict: shift the inputs by one, `start` first.",
                ),
                (
                    double_shift,
                    "the targets are shifted, too: only the inputs are. Targets are the suffix itself.",
                ),
                (
                    lambda *a: begun_with(*a, other=a[3]),
                    "the inputs begin with `pad`: with `start`.",
                ),
                (
                    lambda t, c, s, p: padded_with(t, c, s, p, other=s),
                    "the inputs are padded with `start`: with `pad`.",
                ),
                (
                    lambda t, c, s, p: to_decoder(t, c, s, p, ignore=p),
                    "the targets at padding must be -100: nobody should learn to write padding.",
                ),
                (
                    lambda *a: to_decoder(*a)[::-1],
                    "inputs and targets are exchanged.",
                ),
                (
                    lambda *a: to_decoder(*a, side="left"),
                    "the padding is on the left: here it comes last.",
                ),
                (
                    lambda t, c, s, p: to_decoder(t, [0] * len(t), s, p),
                    "the prefix is written, too: only the suffix is.",
                ),
                (
                    lambda t, c, s, p: to_decoder(t, [one + 1 for one in c], s, p),
                    "the first id of the suffix is missing: text[cut:] begins with it.",
                ),
                (
                    shifted_padding,
                    "the last id of a short suffix is among the inputs: shift each suffix before you pad it.",
                ),
                (
                    lambda t, c, s, p: [
                        to_decoder([[*one, p] for one in t], c, s, p)[0],
                        to_decoder(t, c, s, p)[1],
                    ],
                    "the inputs have an id too many: the suffix without its last.",
                ),
                (
                    lambda t, c, s, p: [
                        to_decoder(t, c, s, p, ignore=-100)[0].where(
                            to_decoder(t, c, s, p)[0] != p, torch.tensor(-100)
                        ),
                        to_decoder(t, c, s, p)[1],
                    ],
                    "-100 is no id: the inputs are padded with `pad`.",
                ),
                (
                    lambda t, c, s, p: [
                        to_decoder(t, c, s, p)[0],
                        to_decoder(t, c, s, p)[1].where(
                            to_decoder(t, c, s, p)[1] != p, torch.tensor(-100)
                        ),
                    ],
                    "a word that has the id of padding isn't scored: padding begins where the suffix ends.",
                ),
                (
                    lambda t, c, s, p: [
                        torch.cat(
                            [
                                torch.tensor([[one[cut - 1]] for one, cut in zip(t, c)]),
                                to_decoder(t, c, s, p)[0][:, 1:],
                            ],
                            1,
                        ),
                        to_decoder(t, c, s, p)[1],
                    ],
                    "the decoder begins with the prefix's last id: with `start`.",
                ),
            ],
        ),
    ],
}


HIDDEN = {
    "a4-queue-test": {
        "probabilities of the wrong texts": [sure_of_itself, sure_of_itself, full_queue, full_queue]
    },
    "a4-answers-test": {
        "answer_weights(question, counts)": [many_questions, many_questions],
        "vqa_loss(logits, ids, is_token, weights, B)": [loud_answers, loud_answers],
    },
    "a4-list-test": {
        "the chosen answers": [
            lambda g: answer_list(g, k=1),
            lambda g: answer_list(g, k=20, N=5),
            lambda g: answer_list(g, k=2, N=12),
        ]
    },
    "a4-noise-test": {
        "noise_share(kept, recall, false_alarms)": [below_zero, above_one, any_filter, any_filter],
        "a filter that says nothing is an error": [useless(equal=False)],
        "noise_left(noise, recall, false_alarms)": [throws_all(kind) for kind in range(5)],
    },
    "a4-packed-test": {f"mask of {name}": [odd_captions] * 2 for name in ("itc", "itg")},
    "a4-split-test": {
        "encoder_inputs(texts, cuts, R, pad)": [odd_encoder] * 3,
        "decoder_inputs(texts, cuts, start, pad)": [odd_decoder] * 3,
    },
}
SHOWN = {
    "a4-list-test": {"the chosen answers": [lambda g: answer_list(g, k=6, N=4)]},
    "a4-noise-test": {
        "noise_share(kept, recall, false_alarms)": [below_zero, above_one],
        "a filter that says nothing is an error": [useless(equal=False)],
        "noise_left(noise, recall, false_alarms)": [throws_all(0)],
    },
    "a4-split-test": {
        "encoder_inputs(texts, cuts, R, pad)": [odd_encoder],
        "decoder_inputs(texts, cuts, start, pad)": [odd_decoder],
    },
}
CHECKS = with_hidden(CHECKS, HIDDEN, SHOWN)
