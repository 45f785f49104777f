"""Lesson 12: the checks of the exercises on retrieved examples, on copying, and on several orders of the examples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from teaching import few_shot_reference as reference
from teaching.exercises import Exercise, normal, number, pure_rule, rule
from teaching.frozen_prompts import shuffled
from vlmcourse.world.tokenizer import INVENTED
from vlmgrader.checks import driver_source


def rices_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Vectors of different lengths; more pictures than queries, and k smaller than both."""
    queries, pool, k = number(generator, 4, 5), number(generator, 7, 9), 3
    lengths = 0.3 + 4 * torch.rand(pool, 1, generator=generator)
    return [normal(generator, queries, 6), normal(generator, pool, 6) * lengths, k], {}


def nearest(queries, pool, k, *, norm=True, flip=True, largest=True, values=False, scores=None):
    if norm:
        queries, pool = (x / x.norm(dim=-1, keepdim=True) for x in (queries, pool))
    found = (queries @ pool.T if scores is None else scores(queries, pool)).topk(
        k, dim=-1, largest=largest
    )
    best = found.values if values else found.indices
    return best.flip(-1) if flip else best


def rices_with(**options) -> Callable:
    return lambda q, p, k: nearest(q, p, k, **options)


RICES_MISTAKES: dict = {
    "the most similar stands first; it stands last, next to the query.": rices_with(flip=False),
    "dot products depend on lengths: divide each vector of the pool by its norm.": (
        rices_with(norm=False),
        rices_with(norm=False, flip=False),
    ),
    "each column was divided by its norm; vectors are rows: dim=-1.": lambda q, p, k: nearest(
        q / q.norm(dim=0), p / p.norm(dim=0), k, norm=False
    ),
    "these are the least similar pictures.": (
        rices_with(largest=False),
        rices_with(largest=False, flip=False),
    ),
    "these are the similarities, not the numbers of the pictures.": (
        rices_with(values=True),
        rices_with(values=True, flip=False),
    ),
    "the k best queries for each picture are not asked; rows are queries, and topk runs over the pool.": (
        lambda q, p, k: nearest(p, q, k)
    ),
    "the order is neither by similarity up nor down: sort them.": lambda q, p, k: (
        nearest(q, p, k).sort(-1).values
    ),
    "distances in place of cosines choose other pictures where lengths differ.": rices_with(
        norm=False, scores=lambda q, p: -torch.cdist(q, p)
    ),
    "all queries got the first one's pictures.": lambda q, p, k: nearest(q[:1], p, k).expand(
        len(q), -1
    ),
}


def copy_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Lists of four names: with a majority, with ties that the answer wins or loses, and with the answer absent."""
    shown, answers = [], []
    for kind in ("first", "last", *2 * ["pairs", "majority"], *3 * ["lost"], "tie", "absent"):
        a, b, c, d = shuffled(generator, INVENTED)[:4]
        names, answer = {
            "first": ([a, b, b, c], a),
            "last": ([b, b, c, a], a),
            "pairs": ([b, a, b, a], a),
            "absent": ([b, c, b, d], a),
            "majority": ([a, a, a, b], a),
            "lost": ([a, b, a, b], a),
            "tie": ([b, c, a, d], a),
        }[kind]
        shown.append(names)
        answers.append(answer)
    for _ in range(number(generator, 0, 3)):
        a, b, c, d = shuffled(generator, INVENTED)[:4]
        names = shuffled(generator, [a, b, b, c])
        shown.append(names)
        answers.append(shuffled(generator, [a, b, c, d])[0])
    return [shown, answers], {}


def copying(shown, answers, *, last=-1, late=True, count=None, most=max, last_of=None):
    """copy_scores with a mistake. last_of: the names in their order, where `shown` has another one."""
    votes = [
        most(names[::-1] if late else names, key=lambda n, names=names: names.count(n))
        for names in shown
    ]
    count = len(answers) if count is None else count(shown, answers)
    pairs = list(zip(shown, votes, answers))
    return [
        sum(names[last] == a for names, a in zip(last_of or shown, answers)) / count,
        sum(vote == a for _, vote, a in pairs) / count,
        sum(a in names for names, _, a in pairs) / count,
    ]


def third_share(shown, answers, count: Callable) -> list[float]:
    """copying with another count of each prompt in its third number."""
    third = sum(count(names, answer) for names, answer in zip(shown, answers))
    return [*copying(shown, answers)[:2], third / len(answers)]


COPY_MISTAKES: dict[str, Callable] = {
    "the first name was taken for the last: the nearest example stands last.": (
        lambda s, a: copying(s, a, last=0)
    ),
    "among names that are equally frequent the one nearest to the end is meant; yours takes the first.": (
        lambda s, a: copying(s, a, late=False)
    ),
    "a tie counts as right for each of its names; only the one nearest to the end is the rule's answer.": (
        lambda s, a: [
            copying(s, a)[0],
            sum(n.count(b) == max(map(n.count, n)) for n, b in zip(s, a)) / len(a),
            copying(s, a)[2],
        ]
    ),
    "a tie was broken by the alphabet; the name nearest to the end counts.": (
        lambda s, a: copying([sorted(n) for n in s], a, late=False, last_of=s),
        lambda s, a: copying([sorted(n) for n in s], a, last_of=s),
    ),
    "the last two numbers are shares of the prompts that show the answer; all prompts count.": (
        lambda s, a: [
            copying(s, a)[0],
            *[x * len(a) / sum(b in n for n, b in zip(s, a)) for x in copying(s, a)[1:]],
        ]
    ),
    "these are counts, not shares.": lambda s, a: [x * len(a) for x in copying(s, a)],
    "these are percentages, not shares.": lambda s, a: [100 * x for x in copying(s, a)],
    "the third number counts a prompt once, however often the answer stands in it.": (
        lambda s, a: third_share(s, a, lambda n, b: n.count(b)),
        lambda s, a: third_share(s, a, lambda n, b: n.count(b) / len(n)),
        lambda s, a: third_share(s, a, lambda n, b: n.count(b) / len(set(n))),
        lambda s, a: third_share(s, a, lambda n, b: (b in n) / len(set(n))),
    ),
    "the rarest name was taken for the most frequent.": lambda s, a: copying(s, a, most=min),
    "the most frequent name of all prompts together was taken; each prompt has its own.": (
        lambda s, a: [
            copying(s, a)[0],
            sum(b == max(sum(s, []), key=sum(s, []).count) for b in a) / len(a),
            copying(s, a)[2],
        ]
    ),
    "the first two numbers are exchanged.": lambda s, a: [copying(s, a)[i] for i in (1, 0, 2)],
}


def ensemble_inputs(generator: torch.Generator) -> tuple[list, dict]:
    count, options = 4, number(generator, 3, 5)
    orders = [torch.randperm(count, generator=generator).tolist() for _ in range(4)]
    return [normal(generator, count, options), orders], {}


def in_order(table: Tensor, order) -> Tensor:
    """Log-probabilities of options when the examples stand in this order: later ones weigh more."""
    weights = torch.arange(1.0, len(order) + 1).square()
    return (weights[:, None] * table[list(order)]).sum(0).log_softmax(0)


def run_ensemble(target, table, orders):
    """Driver: examples are ('picture', number); score asks the table."""
    import torch

    def score(examples):
        rows = [number for _, number in examples]
        weights = torch.arange(1.0, len(rows) + 1).square()
        return (weights[:, None] * table[rows]).sum(0).log_softmax(0)

    return target(score, [("picture", i) for i in range(len(table))], orders)


def combined(combine: Callable, orders: Callable = list) -> Callable:
    return lambda table, given: combine(
        torch.stack([in_order(table, one) for one in orders(given)])
    )


def inverse(orders) -> list:
    return [torch.tensor(order).argsort().tolist() for order in orders]


ENSEMBLE_MISTAKES: dict[str, Callable] = {
    "probabilities were averaged; the paper averages log-probabilities.": combined(
        lambda x: x.exp().mean(0).log()
    ),
    "the sum is returned; a mean is wanted.": combined(lambda x: x.sum(0)),
    "only the first order was scored.": combined(lambda x: x[0]),
    "only the last order was scored.": combined(lambda x: x[-1]),
    "the orders weren't used: each time the examples stood as they came.": combined(
        lambda x: x.mean(0), lambda orders: [range(len(orders[0]))] * len(orders)
    ),
    "the largest log-probability of each option is returned; a mean is wanted.": combined(
        lambda x: x.amax(0)
    ),
    "these are probabilities; log-probabilities are wanted.": combined(lambda x: x.mean(0).exp()),
    "order[i] says which example stands at place i; yours puts example i at place order[i].": (
        combined(lambda x: x.mean(0), inverse)
    ),
    "each order votes for its best option; the mean of log-probabilities is wanted.": combined(
        lambda x: torch.nn.functional.one_hot(x.argmax(1), x.shape[1]).float().mean(0)
    ),
    "the mean runs over the options; it runs over the orders.": combined(lambda x: x.mean(1)),
    "the scores of all orders are returned; average them.": combined(lambda x: x),
}

EXERCISES = {
    "rices": Exercise(
        "The most similar pictures by cosine, the nearest last.",
        (rule("rices", rices_inputs, reference.rices, RICES_MISTAKES),),
        reference.rices,
    ),
    "copy_scores": Exercise(
        "What a prompt's names are worth without any model.",
        (
            pure_rule(
                "copy_scores",
                copy_inputs,
                reference.copy_scores,
                COPY_MISTAKES,
                "the caller's lists were changed: names[::-1] is a new list, names.reverse() isn't.",
                rounds=8,
            ),
        ),
        reference.copy_scores,
    ),
    "ensemble": Exercise(
        "Each order has its say, in log-probabilities.",
        (
            rule(
                "ensemble",
                ensemble_inputs,
                combined(lambda x: x.mean(0)),
                ENSEMBLE_MISTAKES,
                driver=driver_source(run_ensemble),
            ),
        ),
        reference.ensemble,
    ),
}
