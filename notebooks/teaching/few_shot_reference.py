"""Lesson 12: the course's own answers to its exercises, as the master's folded solutions have them."""

from __future__ import annotations

import torch


def few_shot_prompt(examples, query, start):
    """Examples and a query as one text with tags, and the pictures in its order."""
    parts, pictures = [], []
    for picture, sentence in examples:
        parts.append(f"<image> . {sentence} . <EOC>")
        pictures.append(picture)
    parts.append(f"<image> . {start}")
    return " ".join(parts), [*pictures, query]


def accumulate(loss, batches, weights, optimiser):
    """One update from the weighted sum of the losses of all data sets."""
    optimiser.zero_grad()
    values = {}
    for name, batch in batches.items():
        value = loss(batch)
        (weights[name] * value).backward()
        values[name] = value.item()
    optimiser.step()
    return values


def option_probabilities(logits, ids, first, pad_id):
    """Probabilities of the options alone, which begin at position `first`."""
    log_probs = logits[:, first - 1 : -1].log_softmax(-1)
    tokens = ids[:, first:]
    chosen = log_probs.gather(2, tokens[..., None])[..., 0]  # (O, T - first)
    scores = (chosen * (tokens != pad_id)).sum(1)
    return scores.softmax(0)


def open_score(texts, answers):
    """Share of generated texts whose first sentence is the answer."""
    right = 0
    for text, answer in zip(texts, answers):
        sentence = text.split("<EOC>")[0].split(".")[0]
        right += sentence.strip() == answer
    return right / len(answers)


def gain(scores, low, high):
    """Mean gain from `low` to `high` examples, and the share of tasks that rise."""
    gains = []
    for by_shots in scores.values():
        before, after = by_shots[low], by_shots[high]
        if before is not None and after is not None:
            gains.append(after - before)
    return sum(gains) / len(gains), sum(g > 0 for g in gains) / len(gains)


def rename(examples, answer, options):
    """Each name becomes the next option's in all examples, and in the answer."""
    new = dict(zip(options, options[1:] + options[:1]))
    renamed = []
    for picture, sentence in examples:
        words = [new.get(word, word) for word in sentence.split()]
        renamed.append((picture, " ".join(words)))
    return renamed, new[answer]


def rices(queries, pool, k):
    """The k pictures of the pool most like each query, the most similar last."""
    queries = queries / queries.norm(dim=-1, keepdim=True)
    pool = pool / pool.norm(dim=-1, keepdim=True)
    best = (queries @ pool.T).topk(k, dim=-1).indices
    return best.flip(-1)


def copy_scores(shown, answers):
    """How often the last name is right, the most frequent one, and any."""
    last = vote = any_of = 0
    for names, answer in zip(shown, answers):
        late_first = names[::-1]
        most = max(late_first, key=names.count)  # of several the first in this order
        last += names[-1] == answer
        vote += most == answer
        any_of += answer in names
    return [count / len(answers) for count in (last, vote, any_of)]


def ensemble(score, examples, orders):
    """Mean log-probabilities of the options over several orders of the examples."""
    found = []
    for order in orders:
        found.append(score([examples[i] for i in order]))
    return torch.stack(found).mean(0)


def uniform_frames(total, count):
    """The frame in the middle of each of `count` equal parts of a film."""
    part = total / count
    return [int((i + 0.5) * part) for i in range(count)]


def time_embeddings(table, count):
    """Time embeddings of `count` frames: the first rows, or all of them, interpolated."""
    if count <= len(table):
        return table[:count]
    place = torch.arange(count) * (len(table) - 1) / (count - 1)
    before = place.long().clamp(max=len(table) - 2)
    share = (place - before)[:, None]
    return (1 - share) * table[before] + share * table[before + 1]


def missing_score(overall, known, best):
    """The one score of `best` that `known` lacks, from the overall score in %."""
    (name,) = set(best) - set(known)
    total = len(best) * overall / 100
    for benchmark, score in known.items():
        total -= score / best[benchmark]
    return total * best[name]
