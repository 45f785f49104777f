"""Lesson 12's exercises: the folded solutions pass, and each plausible mistake is named; its model, lab and tables."""

import json

import pytest
import torch
from exercise_answers import each, message, solution, taught
from torch.nn.functional import interpolate

from teaching import (
    few_shot_directions,
    few_shot_lab,
    few_shot_measures,
    few_shot_model,
    few_shot_reference,
    few_shot_tables,
)
from teaching.few_shot import EXERCISES
from vlmcourse.training.scale import Scale
from vlmcourse.world import few_shot, interleaved, tokenizer

SMOKE = Scale.of("smoke")


def prompt(close=" <EOC>", stop=" .", tag="<image> .", end="<image> . {}", order=1, shown=None):
    """few_shot_prompt with other pieces."""

    def answer(examples, query, start):
        texts = [f"{tag} {sentence}{stop}{close}" for _, sentence in examples[::order]]
        pictures = [picture for picture, _ in examples[::order]]
        pictures = [*pictures, query] if shown is None else shown(pictures, query)
        return " ".join([*texts, end.format(start)]), pictures

    return answer


def changes_its_argument(examples, query, start):
    text, pictures = few_shot_reference.few_shot_prompt(examples, query, start)
    examples.append((query, start))
    return text, pictures


PROMPT = {
    "<EOC> is missing": prompt(close=""),
    "<EOC> stands at the end, too": prompt(end="<image> . {} <EOC>"),
    "<EOC> stands before the full stop": prompt(close="", stop=" <EOC> ."),
    "full stops after <image> are missing": prompt(tag="<image>", end="<image> {}"),
    "full stop after each example's sentence is missing": prompt(stop=""),
    "needs a space before it": prompt(stop="."),
    "the open sentence ends with a full stop": prompt(end="<image> . {} ."),
    "the text ends with a space": prompt(end="<image> . {} "),
    "`start` is missing": prompt(end="<image> ."),
    "the query's <image> is missing": prompt(end="{}"),
    "the query's picture is missing in the list": prompt(shown=lambda p, q: p),
    "the query's picture stands first": prompt(shown=lambda p, q: [q, *p]),
    "the examples' pictures are missing": prompt(shown=lambda p, q: [q]),
    "another order than their tags": prompt(shown=lambda p, q: [*p[::-1], q]),
    "the order of the examples is reversed": prompt(order=-1),
    "text and pictures are exchanged": lambda e, q, s: prompt()(e, q, s)[::-1],
    "the first part of your result isn't a text": lambda e, q, s: ([], [p for p, _ in e] + [q]),
    "return two things": lambda e, q, s: prompt()(e, q, s)[0],
    "the caller's examples were changed": changes_its_argument,
    "the text begins with a space": lambda e, q, s: (
        "".join(f"<image> . {t} . <EOC>" for _, t in e) + f" <image> . {s}"
        if not e
        else prompt()(e, q, s)[0],
        [*[p for p, _ in e], q],
    ),
    "your text is": prompt(close=" </s>"),
    "your list of pictures is": prompt(shown=lambda p, q: [p, q]),
    "begins with <EOC>": lambda e, q, s: (
        " <EOC> ".join([*[f"<image> . {t} ." for _, t in e], f"<image> . {s}"])
        if e
        else f" <EOC> <image> . {s}",
        [*[p for p, _ in e], q],
    ),
}


def step(clear=True, clear_each=False, step_each=False, take=True, weight=lambda w, n: w[n],
         told=lambda w, n, v: v.item(), names=list):  # fmt: skip
    """accumulate with another order of its calls."""

    def answer(loss, batches, weights, optimiser):
        if clear:
            optimiser.zero_grad()
        values = {name: told(weights, name, loss(batches[name])) for name in batches}
        for name in names(batches):
            if clear_each:
                optimiser.zero_grad()
            value = loss(batches[name])
            (weight(weights, name) * value).backward()
            values[name] = told(weights, name, value)
            if step_each:
                optimiser.step()
        if take and not step_each:
            optimiser.step()
        return values

    return answer


def no_backward(loss, batches, weights, optimiser):
    optimiser.zero_grad()
    values = {name: loss(batch).item() for name, batch in batches.items()}
    optimiser.step()
    return values


def clears_late(loss, batches, weights, optimiser):
    values = step(clear=False)(loss, batches, weights, optimiser)
    optimiser.zero_grad()
    return values


def losses_first(loss, batches, weights, optimiser):
    """The right update, but all graphs are there before the first backward."""
    optimiser.zero_grad()
    losses = {name: loss(batch) for name, batch in batches.items()}
    for name, value in losses.items():
        (weights[name] * value).backward()
    optimiser.step()
    return {name: value.item() for name, value in losses.items()}


def keeps_tensors_of_zero(loss, batches, weights, optimiser):
    """Right: gradients are set to zero, not to None."""
    optimiser.zero_grad(set_to_none=False)
    return step(clear=False)(loss, batches, weights, optimiser)


def summed(loss, batches, weights, optimiser):
    """The right update by one backward from the weighted sum."""
    optimiser.zero_grad()
    losses = {name: loss(batch) for name, batch in batches.items()}
    sum(weights[name] * value for name, value in losses.items()).backward()
    optimiser.step()
    return {name: value.item() for name, value in losses.items()}


def losses_after(loss, batches, weights, optimiser):
    summed(loss, batches, weights, optimiser)
    return {name: loss(batch).item() for name, batch in batches.items()}


def by_place(loss, batches, weights, optimiser):
    placed = dict(zip(batches, weights.values()))
    return few_shot_reference.accumulate(loss, batches, placed, optimiser)


def two_steps(loss, batches, weights, optimiser):
    values = few_shot_reference.accumulate(loss, batches, weights, optimiser)
    optimiser.step()
    return values


ACCUMULATE = {
    "in the order of the dicts": by_place,
    "called twice": two_steps,
    "divided by its weight": step(weight=lambda w, n: 1 / w[n]),
    "the parameters aren't what they should be": step(weight=lambda w, n: -w[n]),
    "the parameters are right, but not the losses": step(told=lambda w, n, v: round(v.item(), 1)),
    "an old gradient was still there": step(clear=False),
    "not after the step": clears_late,
    "all graphs are in memory at once": summed,
    "call backward() after each loss": losses_first,
    "the losses returned, and not in the update": step(
        weight=lambda w, n: 1.0, told=lambda w, n, v: (w[n] * v).item()
    ),
    "cleared before each data set": step(clear_each=True),
    "a step after each data set": step(clear_each=True, step_each=True),
    "the weights are missing": step(weight=lambda w, n: 1.0),
    "divided by their sum": step(weight=lambda w, n: w[n] / sum(w.values())),
    "averaged over the data sets": step(weight=lambda w, n: w[n] / len(w)),
    "multiply twice": step(weight=lambda w, n: w[n] ** 2),
    "only the first data set": step(names=lambda b: list(b)[:1]),
    "the parameters didn't change": step(take=False),
    "the losses returned are weighted": step(told=lambda w, n, v: (w[n] * v).item()),
    "those after it": losses_after,
    "the losses are tensors": step(told=lambda w, n, v: v.detach()),
    "return a dict": lambda *args: sum(step()(*args).values()),
}


def probabilities(start=0, shift=1, mask=True, norm=True, how=lambda s, m: s.sum(1), end=None):
    """option_probabilities with other steps."""

    def answer(logits, ids, first, pad_id):
        tokens = ids[:, first + start :]
        at = logits[:, first + start - shift : logits.shape[1] - shift]
        values = at.log_softmax(-1) if norm else at
        values = values.gather(2, tokens[..., None])[..., 0]
        is_token = tokens != pad_id
        scores = how(values * is_token if mask else values, is_token)
        return scores.softmax(0) if end is None else end(scores)

    return answer


def mask_shifted(logits, ids, first, pad_id):
    values = logits[:, first - 1 : -1].log_softmax(-1).gather(2, ids[:, first:, None])[..., 0]
    return (values * (ids[:, first - 1 : -1] != pad_id)).sum(1).softmax(0)


def other_dimension(dim, first_all=False):
    def answer(logits, ids, first, pad_id):
        at = logits.log_softmax(dim) if first_all else logits
        at = at[:, first - 1 : -1]
        at = at if first_all else at.log_softmax(dim)
        values = at.gather(2, ids[:, first:, None])[..., 0]
        return (values * (ids[:, first:] != pad_id)).sum(1).softmax(0)

    return answer


def whole_text(logits, ids, first, pad_id):
    """Right: the prompt's tokens are the same in each row."""
    values = logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    return (values * (ids[:, 1:] != pad_id)).sum(1).softmax(0)


def chances(combine, end):
    def answer(logits, ids, first, pad_id):
        values = logits[:, first - 1 : -1].softmax(-1).gather(2, ids[:, first:, None])[..., 0]
        return end(combine(values, ids[:, first:] != pad_id))

    return answer


OPTIONS = {
    "the mask is turned round": probabilities(mask=False, how=lambda s, m: (s * ~m).sum(1)),
    "the sign is wrong": probabilities(end=lambda s: (-s).softmax(0)),
    "probabilities of tokens were added": chances(
        lambda p, m: (p * m).sum(1), lambda s: s / s.sum()
    ),
    "their logarithms are added": chances(lambda p, m: (p * m).sum(1), lambda s: s.softmax(0)),
    "padding counts as probability 0": chances(lambda p, m: (p * m).prod(1), lambda s: s / s.sum()),
    "but a softmax follows": chances(lambda p, m: p.where(m, 1.0).prod(1), lambda s: s.softmax(0)),
    "the mask was shifted": mask_shifted,
    "log_softmax runs over the wrong dimension": other_dimension(1),
    "over the vocabulary": other_dimension(0, first_all=True),
    "the last one": other_dimension(1, first_all=True),
    "padding counts": probabilities(mask=False),
    "stand one position earlier": probabilities(shift=0),
    "the option's first token isn't scored": probabilities(start=1),
    "only the option's first token": probabilities(how=lambda s, m: s[:, 0]),
    "averaged over the tokens": probabilities(how=lambda s, m: s.sum(1) / m.sum(1)),
    "divided by the longest": probabilities(how=lambda s, m: s.mean(1)),
    "logits are no log-probabilities": probabilities(norm=False),
    "not probabilities among the options": probabilities(end=lambda s: s),
    "among the options they sum to 1": probabilities(end=lambda s: s.exp()),
    "logarithms of the right result": probabilities(end=lambda s: s.log_softmax(0)),
    "exp comes before the division": probabilities(end=lambda s: s / s.sum()),
    "the best option gets 1": probabilities(end=lambda s: (s == s.max()).float()),
}


def share_of(sentence, equal=lambda a, b: a == b, scale=lambda right, n: right / n):
    def answer(texts, answers):
        return scale(sum(equal(sentence(t), a) for t, a in zip(texts, answers)), len(answers))

    return answer


def cut(text):
    return text.split("<EOC>")[0].split(".")[0].strip()


OPEN = {
    "a part of the answer counts": share_of(cut, lambda a, b: a in b),
    "must be all of it": share_of(cut, lambda a, b: b.startswith(a)),
    "it occurs anywhere": share_of(cut, lambda a, b: b in a.split()),
    "in any order": share_of(cut, lambda a, b: set(a.split()) == set(b.split())),
    "spaces within the sentence": share_of(
        lambda t: cut(t).replace(" ", ""), lambda a, b: a == b.replace(" ", "")
    ),
    "the last sentence is compared": share_of(
        lambda t: t.split("<EOC>")[-1].split(".")[-1].strip()
    ),
    "any of the answers": lambda t, a: sum(cut(x) in a for x in t) / len(a),
    "what follows the first sentence": share_of(lambda t: t.strip(" .")),
    "strip them": share_of(lambda t: t.split("<EOC>")[0].split(".")[0].rstrip()),
    "the whole text is compared": share_of(lambda t: t.strip()),
    "'no dax' is not 'dax'": share_of(cut, lambda a, b: b in a),
    "anywhere in the whole text": share_of(lambda t: t, lambda a, b: b in a),
    "begins with it": share_of(cut, lambda a, b: a.startswith(b)),
    "only the first word": share_of(lambda t: t.split()[0]),
    "only the last word": share_of(lambda t: cut(t).split()[-1]),
    "ends with it": share_of(cut, lambda a, b: a.endswith(b)),
    "cut too late": share_of(lambda t: t.split(".")[0].strip()),
    "only <EOC> cuts": share_of(lambda t: t.split("<EOC>")[0].strip()),
    "spaces around the sentence": share_of(lambda t: t.split("<EOC>")[0].split(".")[0]),
    "small and capital letters": share_of(lambda t: cut(t).lower()),
    "as it stands": share_of(lambda t: t.split(".")[0].split("<EOC>")[0].strip().casefold()),
    "a number of texts": share_of(cut, scale=lambda right, n: right),
    "a percentage": share_of(cut, scale=lambda right, n: 100 * right / n),
    "it is a tensor": share_of(cut, scale=lambda right, n: torch.tensor(right / n)),
}


def with_gaps(fill=None, difference=lambda a, b: b - a, first=None, second=None):
    """gain with other steps."""

    def answer(scores, low, high):
        pairs = [(row[low], row[high]) for row in scores.values()]
        if fill is not None:
            pairs = [(a or fill, b or fill) for a, b in pairs]
        found = [difference(a, b) for a, b in pairs if a is not None and b is not None]
        share = sum(g > 0 for g in found) / len(found)
        mean = sum(found) / len(found)
        return (
            mean if first is None else first(found, scores),
            share if second is None else second(found, scores),
        )

    return answer


def two_means(scores, low, high):
    before, after = ([r[n] for r in scores.values() if r[n] is not None] for n in (low, high))
    return sum(after) / len(after) - sum(before) / len(before), with_gaps()(scores, low, high)[1]


def only_high_filled(scores, low, high):
    found = [(r[high] or 0) - r[low] for r in scores.values() if r[low] is not None]
    return sum(found) / len(found), sum(g > 0 for g in found) / len(found)


GAIN = {
    "between other numbers of examples": lambda scores, low, high: with_gaps()(
        scores, min(next(iter(scores.values()))), high
    ),
    "yours is between": lambda scores, low, high: with_gaps()(
        scores, low, max(next(iter(scores.values())))
    ),
    "the share of tasks that fall": with_gaps(second=lambda f, s: sum(g < 0 for g in f) / len(f)),
    "a task that falls counts": with_gaps(second=lambda f, s: sum(g != 0 for g in f) / len(f)),
    "number of further examples": lambda scores, low, high: (
        with_gaps()(scores, low, high)[0] / (high - low),
        with_gaps()(scores, low, high)[1],
    ),
    "the mean of the tasks that rise": with_gaps(
        first=lambda f, s: sum(g for g in f if g > 0) / max(1, sum(g > 0 for g in f))
    ),
    "two means over different tasks": two_means,
    "the share was rounded": with_gaps(
        second=lambda f, s: round(sum(g > 0 for g in f) / len(f), 1)
    ),
    "without both scores is left out": only_high_filled,
    "stays as it is were left out": with_gaps(
        first=lambda f, s: sum(f) / sum(g != 0 for g in f),
        second=lambda f, s: sum(g > 0 for g in f) / sum(g != 0 for g in f),
    ),
    "the median": with_gaps(first=lambda f, s: sorted(f)[len(f) // 2]),
    "a missing score counts as 0": with_gaps(fill=0.0),
    "the number of all tasks": with_gaps(
        first=lambda f, s: sum(f) / len(s), second=lambda f, s: sum(g > 0 for g in f) / len(s)
    ),
    "the sign is wrong": with_gaps(difference=lambda a, b: a - b),
    "counts as one that rises": with_gaps(second=lambda f, s: sum(g >= 0 for g in f) / len(f)),
    "counts the tasks": with_gaps(second=lambda f, s: float(sum(g > 0 for g in f))),
    "relative gains": with_gaps(difference=lambda a, b: b / a - 1),
    "without their signs": with_gaps(difference=lambda a, b: abs(b - a)),
    "the first number is a sum": with_gaps(first=lambda f, s: sum(f)),
    "a score of 0 is a score": lambda scores, low, high: with_gaps()(
        {task: row for task, row in scores.items() if row[low] and row[high]}, low, high
    ),
    "only the share is divided": with_gaps(second=lambda f, s: sum(g > 0 for g in f) / len(s)),
    "a percentage": with_gaps(second=lambda f, s: 100 * sum(g > 0 for g in f) / len(f)),
    "at another number of examples": lambda scores, low, high: with_gaps()(
        {task: row for task, row in scores.items() if None not in row.values()}, low, high
    ),
    "both numbers are exchanged": lambda *args: with_gaps()(*args)[::-1],
}


def named(shift=1, texts=True, told=True, wrap=True, chain=False, turn=0):
    """rename with other steps."""

    def answer(examples, answer, options):
        moved = options[shift:] + options[:shift]
        new = dict(zip(options, moved))
        if not wrap:
            new[options[-1]] = options[-1]
        found = []
        for picture, sentence in examples:
            if chain:
                for old, to in new.items():
                    sentence = sentence.replace(old, to)
            elif texts:
                sentence = " ".join(new.get(word, word) for word in sentence.split())
            found.append((picture, sentence))
        if turn:
            pictures = [p for p, _ in found]
            found = [(p, s) for p, (_, s) in zip(pictures[1:] + pictures[:1], examples)]
        return found, new[answer] if told else answer

    return answer


def in_place(examples, answer, options):
    found, new = few_shot_reference.rename(examples, answer, options)
    examples[:] = found
    return found, new


def chained(turn, told):
    """One replace() after the other, from the first or the last name on; in the answer, too, or not."""

    def answer(examples, answer, options):
        pairs = list(zip(options, options[1:] + options[:1]))[::turn]

        def replaced(text):
            for old, new in pairs:
                text = text.replace(old, new)
            return text

        return [(p, replaced(s)) for p, s in examples], (
            replaced(answer) if told else dict(pairs)[answer]
        )

    return answer


def as_words(examples, answer, options):
    found, new = few_shot_reference.rename(examples, answer, options)
    return [(p, s.split()) for p, s in found], new


def first_only(examples, answer, options):
    following = dict(zip(options, [*options[1:], options[0]]))
    found = []
    for picture, sentence in examples:
        words = sentence.split()
        for place, word in enumerate(words):
            if word in following:
                words[place] = following[word]
                break
        found.append((picture, " ".join(words)))
    return found, following[answer]


RENAME = {
    "a renamed name": chained(1, True),
    "one replace() after the other": chained(-1, False),
    "changes it several times": chained(-1, True),
    "join its words": as_words,
    "an example is a pair": lambda e, a, o: (
        [s for _, s in named()(e, a, o)[0]],
        named()(e, a, o)[1],
    ),
    "are exchanged in your result": lambda e, a, o: named()(e, a, o)[::-1],
    "changes the first only": first_only,
    "the order of the examples is reversed": lambda e, a, o: (
        named()(e, a, o)[0][::-1],
        named()(e, a, o)[1],
    ),
    "the answer was renamed twice": lambda e, a, o: (
        named()(e, a, o)[0],
        named()(e, named()(e, a, o)[1], o)[1],
    ),
    "; it should be": named(shift=2),
    "nothing was renamed": named(texts=False, told=False),
    "the answer keeps its old name": named(told=False),
    "only the answer was renamed": named(texts=False),
    "the option before it": named(shift=-1),
    "has a next one, too": named(wrap=False),
    "renamed again": named(chain=True),
    "the pictures moved": named(turn=1),
    "the caller's examples were changed": in_place,
}


def similar(norm=(True, True), flip=True, sign=1, of=lambda best: best.indices, pick=None):
    """rices with other steps."""

    def answer(queries, pool, k):
        if norm[0]:
            queries = queries / queries.norm(dim=-1, keepdim=True)
        if norm[1]:
            pool = pool / pool.norm(dim=-1, keepdim=True)
        if pick is not None:
            queries = pick(queries)
        best = of((sign * queries @ pool.T).topk(k, dim=-1))
        return best.flip(-1) if flip else best

    return answer


RICES = {
    "flip(0) the queries": lambda q, p, k: similar(flip=False)(q, p, k).flip(0),
    "the most similar stands first": similar(flip=False),
    "dot products depend on lengths": similar(norm=(False, False)),
    "divide each vector of the pool": similar(norm=(True, False)),
    "each column was divided": lambda q, p, k: similar(norm=(False, False))(
        q / q.norm(dim=0), p / p.norm(dim=0), k
    ),
    "the least similar": similar(sign=-1),
    "these are the similarities": similar(of=lambda best: best.values),
    "topk runs over the pool": lambda q, p, k: similar()(p, q, k),
    "neither by similarity up nor down": lambda q, p, k: similar()(q, p, k).sort(-1).values,
    "distances in place of cosines": lambda q, p, k: (
        torch.cdist(q, p).topk(k, dim=-1, largest=False).indices.flip(-1)
    ),
    "the first one's pictures": similar(pick=lambda q: q[:1].expand_as(q)),
}


def counted(last=-1, late=True, of=None, third=None, best=max, order=(0, 1, 2)):
    """copy_scores with other steps."""

    def answer(shown, answers):
        count = len(answers)
        votes = [best(n[::-1] if late else n, key=n.count) for n in shown]
        found = [
            sum(n[last] == a for n, a in zip(shown, answers)) / count,
            sum(v == a for v, a in zip(votes, answers)) / count,
            sum(a in n if third is None else third(n, a) for n, a in zip(shown, answers)) / count,
        ]
        return [found[i] * (1 if of is None else of(shown, answers)) for i in order]

    return answer


def any_of_a_tie(shown, answers):
    last, _, third = counted()(shown, answers)
    ties = [n.count(a) == max(n.count(x) for x in n) for n, a in zip(shown, answers)]
    return [last, sum(ties) / len(ties), third]


def by_alphabet(shown, answers, backwards=False):
    last, _, third = counted()(shown, answers)
    votes = [max(sorted(set(n), reverse=backwards), key=n.count) for n in shown]
    return [last, sum(v == a for v, a in zip(votes, answers)) / len(answers), third]


def reverses_in_place(shown, answers):
    """The right shares, but the student's own lists are reversed."""
    last = [names[-1] == answer for names, answer in zip(shown, answers)]
    for names in shown:
        names.reverse()
    _, vote, third = counted(late=False)(shown, answers)
    return [sum(last) / len(last), vote, third]


def sorts_in_place(shown, answers):
    found = counted()(shown, answers)
    for names in shown:
        names.sort()
    return found


def by_hash(shown, answers):
    """Breaks ties by the order of a set, which is another in each process: no single message fits."""
    last, _, third = counted()(shown, answers)
    votes = [max(set(n), key=n.count) for n in shown]
    return [last, sum(v == a for v, a in zip(votes, answers)) / len(answers), third]


def voting(choose):
    """copy_scores with another most frequent name."""

    def answer(shown, answers):
        last, _, third = counted()(shown, answers)
        return [last, sum(choose(n) == a for n, a in zip(shown, answers)) / len(answers), third]

    return answer


COPY = {
    "where a name stands first": voting(lambda n: max(n, key=lambda x: (n.count(x), n.index(x)))),
    "a tie counts as wrong": voting(
        lambda n: next(
            (x for x in n if all(n.count(x) > n.count(y) for y in n if y != x)),
            None,
        )
    ),
    "more than half": voting(lambda n: next((x for x in n if n.count(x) > len(n) / 2), None)),
    "has a vote, too": voting(lambda n: max(n[-2::-1], key=n[:-1].count)),
    "adds the answer's shares": lambda s, a: [
        counted()(s, a)[0],
        sum(n.count(b) / len(n) for n, b in zip(s, a)) / len(a),
        counted()(s, a)[2],
    ],
    "this isn't the last name": counted(last=3),
    "names[-1]": counted(last=-2),
    "the last example shows the answer": counted(third=lambda n, a: a in n[:-1]),
    "the last two numbers are exchanged": counted(order=(0, 2, 1)),
    "the second number isn't right": voting(lambda n: ""),
    "a tie counts as right for each": any_of_a_tie,
    "by the alphabet": by_alphabet,
    "broken by the alphabet": lambda s, a: by_alphabet(s, a, True),
    "these are percentages": counted(of=lambda s, a: 100),
    "the first name was taken for the last": counted(last=0),
    "nearest to the end is meant": counted(late=False),
    "these are counts": counted(of=lambda s, a: len(a)),
    "counts a prompt once": counted(third=lambda n, a: n.count(a)),
    "however often the answer stands in it": counted(third=lambda n, a: n.count(a) / len(n)),
    "the caller's lists were changed": reverses_in_place,
    "names.reverse() isn't": sorts_in_place,
    "the rarest name": counted(best=min),
    "the first two numbers are exchanged": counted(order=(1, 0, 2)),
    "expected 3 values": counted(order=(0, 1)),
}


def over(combine, place=lambda e, o: [e[i] for i in o], some=slice(None)):
    def answer(score, examples, orders):
        return combine(torch.stack([score(place(examples, order)) for order in orders[some]]))

    return answer


def scattered(examples, order):
    found = [None] * len(order)
    for example, i in zip(examples, order):
        found[i] = example
    return found


ENSEMBLE = {
    "probabilities were averaged": over(lambda x: x.exp().mean(0).log()),
    "the sum is returned": over(lambda x: x.sum(0)),
    "only the first order": over(lambda x: x[0]),
    "only the last order": over(lambda x: x[-1]),
    "the orders weren't used": over(lambda x: x.mean(0), lambda e, o: e),
    "the largest or smallest log-probability": over(lambda x: x.max(0).values),
    "log-probability of each option": over(lambda x: x.amin(0)),
    "divided by the number of examples": over(lambda x: x.sum(0) / 4),
    "normalised once more": over(lambda x: x.mean(0).softmax(0)),
    "the paper averages log-probabilities": over(lambda x: x.exp().mean(0)),
    "the median is returned": over(lambda x: x.median(0).values),
    "read from its end": over(lambda x: x.mean(0), lambda e, o: [e[i] for i in o[::-1]]),
    "the most certain order": over(lambda x: max(x, key=lambda row: row.max())),
    "these are probabilities": over(lambda x: x.mean(0).exp()),
    "puts example i at place order[i]": over(lambda x: x.mean(0), scattered),
    "votes for its best option": over(lambda x: (x == x.amax(1, keepdim=True)).float().mean(0)),
    "the mean runs over the options": over(lambda x: x.mean(1)),
    "average them": over(lambda x: x),
}

FRAMES = {
    "the first frame of each part": lambda t, c: [int(i * t / c) for i in range(c)],
    "the last frame of each part": lambda t, c: [(i + 1) * t // c - 1 for i in range(c)],
    "the first and the last frame": lambda t, c: [round(i * (t - 1) / (c - 1)) for i in range(c)],
    "the first frames of the film": lambda t, c: [*range(c)],
    "from the middle of the film": lambda t, c: [*range(t // 2 - c // 2, t // 2 - c // 2 + c)],
    "the step was rounded down": lambda t, c: [int((i + 0.5) * (t // c)) for i in range(c)],
    "one frame early": lambda t, c: [int((i + 0.5) * (t - 1) / c) for i in range(c)],
    "edges of count + 1 parts": lambda t, c: [int((i + 1) * t / (c + 1)) for i in range(c)],
    "the first part is missing": lambda t, c: [int((i + 0.5) * t / c) for i in range(1, c + 1)],
    "rounded up": lambda t, c: [int((i + 0.5) * t / c) + 1 for i in range(c)],
    "fractions": lambda t, c: [(i + 0.5) * t / c for i in range(c)],
    "rounded to the nearest": lambda t, c: [round((i + 0.5) * t / c) for i in range(c)],
    "a list of whole numbers": lambda t, c: ((torch.arange(c) + 0.5) * t / c).long(),
    "a short film": lambda t, c: [int((i + 0.5) * t / min(t, c)) for i in range(min(t, c))],
    "reversed": lambda t, c: [int((i + 0.5) * t / c) for i in range(c)][::-1],
}


def longer(change, short=lambda table, count: table[:count]):
    """time_embeddings that is right for short films."""
    return lambda table, count: short(table, count) if count <= len(table) else change(table, count)


def resized(**options):
    return lambda table, count: interpolate(table.T[None], count, **options)[0].T


def placed(step, last=False):
    """Interpolated with frame i at place i * step(rows, count); last: its next row is the last one at most."""

    def answer(table, count):
        place = torch.arange(count) * step(len(table), count)
        before = place.long().clamp(max=len(table) - (1 if last else 2))
        share = (place - before)[:, None]
        return (1 - share) * table[before] + share * table[(before + 1).clamp(max=len(table) - 1)]

    return answer


RIGHT = few_shot_reference.time_embeddings
TIME = {
    "rows are repeated": longer(resized(mode="nearest")),
    "a mixture of both": longer(lambda t, c: t[torch.linspace(0, len(t) - 1, c).round().long()]),
    "align_corners=True": longer(resized(mode="linear")),
    "one step fewer than rows, and than frames": longer(placed(lambda rows, c: rows / c)),
    "there is one step fewer than frames": longer(placed(lambda rows, c: (rows - 1) / c)),
    "spread over count frames": longer(placed(lambda rows, c: (rows - 1) / c, last=True)),
    "as if the table had one row more": longer(placed(lambda rows, c: rows / (c - 1), last=True)),
    "scaled by rows and frames": longer(placed(lambda rows, c: rows / c, last=True)),
    "both rows count half": longer(
        lambda t, c: (lambda before: (t[before] + t[before + 1]) / 2)(
            (torch.arange(c) * (len(t) - 1) / (c - 1)).long().clamp(max=len(t) - 2)
        )
    ),
    "yours gets the last": longer(RIGHT, short=lambda t, c: t[len(t) - c :]),
    "begins again": longer(lambda t, c: t[torch.arange(c) % len(t)]),
    "get its last row": longer(lambda t, c: torch.cat([t, t[-1:].expand(c - len(t), -1)])),
    "get zeros": longer(lambda t, c: torch.cat([t, torch.zeros(c - len(t), t.shape[1])])),
    "isn't longer than before": longer(lambda t, c: t),
    "yours are squeezed": resized(mode="linear", align_corners=True),
    "gets no gradient": lambda t, c: RIGHT(t.detach(), c),
}


def solved(count=len, percent=100, share=lambda s, b: s / b, end=lambda rest, b: rest * b):
    """missing_score with other steps."""

    def answer(overall, known, best):
        (name,) = set(best) - set(known)
        total = count(best) * overall / percent
        return end(total - sum(share(s, best[n]) for n, s in known.items()), best[name])

    return answer


MISSING = {
    "multiply by the best score": solved(end=lambda rest, b: rest),
    "best score in %": solved(end=lambda rest, b: 100 * rest),
    "the missing one too": solved(count=lambda best: len(best) - 1),
    "a mean, not a sum": solved(count=lambda best: 1),
    "divide by 100": solved(percent=1),
    "each is divided by the best score": solved(
        percent=1, share=lambda s, b: s, end=lambda rest, b: rest
    ),
    "count benchmarks, and use sums": lambda overall, known, best: (
        (overall / 100 - sum(s / best[n] for n, s in known.items()) / len(known))
        * best[(set(best) - set(known)).pop()]
    ),
    "divides by the best score": solved(end=lambda rest, b: rest / b),
    "yours are best / score": solved(share=lambda s, b: b / s),
    "not the sum of scores": lambda overall, known, best: (
        overall / 100 * sum(best.values()) - sum(known.values())
    ),
    "the known shares were added": solved(share=lambda s, b: -s / b),
}

WRONG = {
    "few_shot.few_shot_prompt": PROMPT,
    "few_shot.accumulate": ACCUMULATE,
    "few_shot.option_probabilities": OPTIONS,
    "few_shot.open_score": OPEN,
    "few_shot.gain": GAIN,
    "few_shot.rename": RENAME,
    "few_shot.rices": RICES,
    "few_shot.copy_scores": COPY,
    "few_shot.ensemble": ENSEMBLE,
    "few_shot.uniform_frames": FRAMES,
    "few_shot.time_embeddings": TIME,
    "few_shot.missing_score": MISSING,
}
OTHER_RIGHT = {
    "few_shot.accumulate": keeps_tensors_of_zero,
    "few_shot.option_probabilities": whole_text,
    "few_shot.uniform_frames": lambda t, c: [(2 * i + 1) * t // (2 * c) for i in range(c)],
    "few_shot.time_embeddings": longer(resized(mode="linear", align_corners=True)),
}


class TestExercises:
    @pytest.mark.parametrize("id", WRONG)
    def test_solutions_pass_and_stubs_fail_politely(self, id):
        stub, right = taught()[id]
        assert not message(id, right)
        assert message(id, stub).startswith("not begun yet")
        reference = EXERCISES[id.split(".")[1]].reference
        assert not message(id, reference)

    @pytest.mark.parametrize("id", OTHER_RIGHT)
    def test_other_right_answers_pass(self, id):
        assert not message(id, OTHER_RIGHT[id])

    @pytest.mark.parametrize("id, words, answer", each(WRONG))
    def test_mistakes_are_named(self, id, words, answer):
        assert words in message(id, answer)

    def test_ties_in_the_order_of_a_set_dont_pass(self):
        assert message("few_shot.copy_scores", by_hash)

    def test_at_least_five_wrong_answers_each(self):
        assert set(WRONG) == {f"few_shot.{name}" for name in EXERCISES}
        assert all(len(answers) >= 5 for answers in WRONG.values())


class TestPrompts:
    def test_the_format_is_that_of_the_package(self):
        episode = few_shot.binding_episode("test", 0, 3)
        ((text, pictures),) = few_shot_model.open_prompts(
            [episode], few_shot_reference.few_shot_prompt
        )
        assert f"{text} dax . <EOC>" == interleaved.interleaved_text(
            (*episode.prompt[:-1], f"{episode.prompt[-1]} dax .")
        )
        assert pictures == [part for part in episode.prompt if not isinstance(part, str)]

    def test_only_words_are_scored(self):
        batch = few_shot_model.scored(
            tokenizer.encode(["<image> . a cat . <EOC> <image> . a dog . <EOC>"])
        )
        words = tokenizer.world_tokenizer().convert_ids_to_tokens(
            batch["ids"][batch["loss_mask"]].tolist()
        )
        assert words == ["a", "cat", ".", "a", "dog", "."]

    def test_a_mismatched_page_keeps_its_names(self):
        page, other = few_shot_model.name_page(3), few_shot_model.mismatched_page(3)
        assert [s for _, s in page[0]] == [s for _, s in other[0]] and page[3] == other[3]
        assert page[1] != other[1]

    def test_fewer_examples_leave_the_question_as_it_is(self):
        episode = few_shot.question_episode(few_shot_measures.TEST, 2, "place", 4)
        none, two = (few_shot_measures.last_examples(episode, count) for count in (0, 2))
        assert none.prompt == episode.prompt[-2:] and two.prompt == episode.prompt[-6:]
        assert few_shot_measures.last_examples(episode, 4) == episode

    def test_renaming_changes_the_answer_and_keeps_the_pictures(self):
        episode = few_shot.binding_episode("test", 1, 4)
        other = few_shot_measures.renamed(episode, solution("few_shot.rename"))
        assert other.answer != episode.answer and other.answer in episode.choices
        assert [p for p in other.prompt if not isinstance(p, str)] == [
            p for p in episode.prompt if not isinstance(p, str)
        ]


class TestModel:
    def test_scores_agree_with_the_package(self):
        from vlmcourse.recipes.flamingo import episode_accuracy

        model = few_shot_model.build(SMOKE)
        asked = few_shot_model.episodes(12, 2)
        cache = few_shot_model.features_of(SMOKE)
        ours = few_shot_measures.right(model, asked, few_shot_reference.few_shot_prompt, cache)
        assert ours == pytest.approx(episode_accuracy(model, asked, SMOKE.image_size))

    def test_training_changes_new_parts_alone(self):
        model = few_shot_model.build(SMOKE)
        before = {name: p.clone() for name, p in model.named_parameters()}
        few_shot_model.train(model, few_shot_model.sources(SMOKE), few_shot_reference.accumulate, 2)
        changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
        assert any("gate" in name for name in changed)
        assert not any(name.startswith(("lm.", "vision.")) for name in changed)

    def test_in_turns_reads_as_many_pages(self):
        read = {"pages": [], "pairs": []}

        class Watched:
            def __init__(self, name, source):
                self.name, self.source = name, source

            def batch(self, indices):
                read[self.name] += indices
                return self.source.batch(indices)

        data = {n: Watched(n, s) for n, s in few_shot_model.sources(SMOKE).items()}
        reference = few_shot_reference.accumulate
        few_shot_model.train(few_shot_model.build(SMOKE), data, reference, 3)
        once = {name: list(numbers) for name, numbers in read.items()}
        for numbers in read.values():
            numbers.clear()
        few_shot_model.train(few_shot_model.build(SMOKE), data, reference, 6, in_turns=True)
        assert read == once

    def test_retrieved_prompts_show_what_was_chosen(self):
        def first(queries, pool, k):
            return torch.arange(k)[None].expand(len(queries), -1)

        (episode,) = few_shot_measures.retrieved(SMOKE, first, 1, 4)
        shown, (answer,) = few_shot_measures.names_shown([episode])
        assert shown == [[few_shot_measures.pool_of(0)[1][0]] * 4] and answer == episode.answer


class TestLab:
    def test_kept_runs_show_what_the_lesson_says(self):
        runs = json.loads(few_shot_lab.KEPT.read_text())
        assert list(runs) == list(few_shot_lab.RUNS)
        healthy = runs["healthy"]
        for name in few_shot_lab.CHANCE:
            assert healthy[name] >= max(run[name] for run in runs.values()) - 1 / 128
        for id, name in (("A", "loss on pages"), ("B", "loss on pairs"), ("C", "loss on pages")):
            assert runs[id][name] > 1.3 * healthy[name]
        assert runs["A"][few_shot_lab.BINDING] < 0.4 and runs["C"][few_shot_lab.BINDING] < 0.4
        assert runs["B"][few_shot_lab.NAMING] < 0.5 * healthy[few_shot_lab.NAMING]
        assert runs["C"]["loss on pages"] == max(run["loss on pages"] for run in runs.values())

    def test_runs_at_smoke_scale(self):
        found = few_shot_lab.runs(SMOKE)
        assert set(found) == set(few_shot_lab.RUNS)
        assert few_shot_lab.losses(found) and few_shot_lab.shares(found)


class TestTables:
    def test_the_first_row_of_table_3_gives_its_own_vatex(self):
        row = few_shot_tables.published("flamingo-table-3").rows[0]
        known, best = few_shot_tables.known_scores(row), few_shot_tables.best_scores()
        computed = few_shot_reference.missing_score(row[-1], known, best)
        assert computed == pytest.approx(row[-2], abs=0.5)

    def test_table_1_by_task(self):
        scores = few_shot_tables.table_1("Flamingo (80B)")
        assert scores["OKVQA (I)"] == {0: 50.6, 4: 57.4, 32: 57.8}
        assert scores["RareAct (V)"][32] is None

    def test_sentences_and_tables_are_made(self):
        for text in (
            few_shot_tables.in_context_sentence(),
            few_shot_tables.films_sentence(),
            few_shot_tables.rices_sentence(),
            few_shot_directions.about_runs(torch.nn.Linear(1, 1)),
            few_shot_directions.about_ablations(),
            few_shot_directions.about_short_runs(),
            few_shot_tables.about_trainings({"one": [{"pages": 2.0}] * 9, "two": [{"pages": 1.0}]}),
            few_shot_tables.about_table_1(),
            few_shot_tables.knowledge_table(),
            few_shot_directions.directions_table(),
        ):
            assert "nan" not in text and len(text) > 100
        assert sum(few_shot_directions.verdicts().values()) == len(few_shot_directions.ABLATIONS)
