"""Lesson 02's exercises: each plausible mistake is called by its name; its failure lab, figures and players."""

import math
import re

import numpy as np
import pytest
import torch
from exercise_answers import displayed, each, message, solution
from torch.nn.functional import cross_entropy, normalize, unfold

from teaching import clip_figures, clip_tables, clip_temperature, clip_texts, clip_training
from teaching.clip import EXERCISES
from vlmcourse import recipes, world
from vlmcourse.parts.layers import check_ids
from vlmcourse.parts.losses import clip_loss
from vlmcourse.parts.vision import AttentionPool, PatchEmbedding, ViT
from vlmcourse.training.scale import Scale


def collect(keep, count_always=False):
    def answer(candidates, most):
        collected, taken, counts = [], set(), {}
        for query, image, text in candidates:
            key = keep(query, image, text)
            if count_always:
                counts[query] = counts.get(query, 0) + 1
            if key not in taken and counts.get(query, 0) < most + count_always:
                collected.append((query, image, text))
                taken.add(key)
                counts[query] = counts.get(query, 0) + (not count_always)
        return collected

    return answer


def patches(order, patch_first=False):
    def answer(x, p):
        B, C, S, _ = x.shape
        split = (p, S // p) if patch_first else (S // p, p)
        x = x.reshape(B, C, *split, *split).permute(order)
        return x.reshape(B, (S // p) ** 2, C * p * p)

    return answer


def split_heads(y, heads):
    return y.unflatten(-1, (heads, -1)).transpose(1, 2)


def pooled(
    query=lambda x: x[:, :1],
    keys=lambda x: x,
    root="d",
    positions=1,
    heads_of=None,
    split=split_heads,
    values=lambda x: x,
    join=lambda y: y.transpose(1, 2).flatten(2),
    softmax=lambda scores: scores.softmax(-1),
):
    def answer(tokens, e, wq, wk, wv, wo, heads):
        heads = heads_of or heads
        x = torch.cat([tokens.mean(1, keepdim=True), tokens], 1) + positions * e
        q, k, v = query(x) @ wq.T, keys(x) @ wk.T, keys(values(x)) @ wv.T
        q, k, v = (split(y, heads) for y in (q, k, v))
        d = q.shape[-1]
        known = {"d": d, "D": tokens.shape[-1], "d squared": d * d, "1 / d": 1 / d, 1: 1}
        scale = known[root]
        weights = softmax(q @ k.transpose(-2, -1) / scale**0.5)
        return join(weights @ v)[:, 0] @ wo.T

    return answer


def mean_after_the_tokens(query):
    def answer(tokens, e, wq, wk, wv, wo, heads):
        x = torch.cat([tokens, tokens.mean(1, keepdim=True)], 1) + e
        q, k, v = x[:, [query]] @ wq.T, x @ wk.T, x @ wv.T
        q, k, v = (split_heads(y, heads) for y in (q, k, v))
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        return (weights @ v).transpose(1, 2).flatten(2)[:, 0] @ wo.T

    return answer


def read_at(position):
    def answer(states, ids, end):
        if not (ids == end).any(1).all():
            raise ValueError("no end token")
        return states[torch.arange(len(states)), position(ids, end)]

    return answer


def first_end(ids, end):
    return (ids == end).int().argmax(1)


def parameters(block=lambda d: 12 * d * d + 13 * d, rest=lambda d: 2 * d, positions=1):
    def answer(vocabulary, context, width, depth):
        return (vocabulary + positions * context) * width + depth * block(width) + rest(width)

    return answer


def logits(image, text, logit_scale):
    return logit_scale.exp() * normalize(image, dim=-1) @ normalize(text, dim=-1).T


def labels(image):
    return torch.arange(len(image))


def symmetric(table, rows=None):
    rows = torch.arange(len(table)) if rows is None else rows
    return (cross_entropy(table, rows) + cross_entropy(table.T, rows)) / 2


def symmetric_without_the_right_one(table):
    negatives = table.masked_fill(torch.eye(len(table)).bool(), -math.inf)
    rows, columns = negatives.logsumexp(1), negatives.logsumexp(0)
    return ((rows + columns) / 2 - table.diagonal()).mean()


HIGHEST = math.log(100)


def step(*actions, low=0.0, high=HIGHEST):
    def answer(model, batch, optimiser):
        loss = model.losses(batch)["clip"]
        for action in actions:
            if action == "clamp":
                with torch.no_grad():
                    model.logit_scale.clamp_(low, high)
            else:
                {"zero": optimiser.zero_grad, "back": loss.backward, "step": optimiser.step}[
                    action
                ]()
        return loss.item()

    return answer


def clamped_by_replacing(model, batch, optimiser):
    loss = step("zero", "back", "step")(model, batch, optimiser)
    model.logit_scale = torch.nn.Parameter(model.logit_scale.detach().clamp(0, HIGHEST))
    return loss


def clamped_first(model, batch, optimiser):
    with torch.no_grad():
        model.logit_scale.clamp_(0, HIGHEST)
    return step("zero", "back", "step")(model, batch, optimiser)


def scale_in_place_of_its_logarithm(model, batch, optimiser):
    loss = step("zero", "back", "step")(model, batch, optimiser)
    model.logit_scale.data = model.logit_scale.data.exp().clamp(1, 100)
    return loss


def share(rank):
    return rank.float().mean().item()


def found_by(first):
    return lambda s, k: share((first(s, k) == torch.arange(len(s))[:, None]).any(1))


def texts_of(names, template):
    return [template.format(name) for name in names]


FULL = ("zero", "back", "step", "clamp")
WRONG = {
    "clip.collect": {
        "no query is cut off": lambda c, most: collect(lambda q, i, t: (i, t))(c, 10**6),
        "more than once": lambda c, most: [
            row for n, row in enumerate(c) if [r[0] for r in c[:n]].count(row[0]) < most
        ],
        "the query is no part of the pair": collect(lambda q, i, t: (q, i, t)),
        "only the image decides": collect(lambda q, i, t: i),
        "only the text decides": collect(lambda q, i, t: t),
        "all queries together": lambda c, most: collect(lambda q, i, t: (i, t))(c, 10**6)[:most],
        "one pair of each query is missing": lambda c, most: collect(lambda q, i, t: (i, t))(
            c, most - 1
        ),
        "the order has changed": lambda c, most: sorted(collect(lambda q, i, t: (i, t))(c, most)),
        "go through the candidates once": lambda c, most: sorted(
            collect(lambda q, i, t: (i, t))(c, most), key=lambda row: row[0]
        ),
        "found None": lambda c, most: None,
    },
    "clip.patchify": {
        "column by column": patches((0, 4, 2, 1, 3, 5)),
        "pixel by pixel": patches((0, 2, 4, 3, 5, 1)),
        "transposed": patches((0, 2, 4, 1, 5, 3)),
        "reshape alone": lambda x, p: x.reshape(len(x), -1, 3 * p * p),
        "channels come before the patches": patches((0, 1, 2, 4, 3, 5)),
        "last two axes are exchanged": lambda x, p: patches((0, 2, 4, 1, 3, 5))(x, p).mT,
        "overlap": lambda x, p: unfold(x, p).mT,
        "patches go row by row, and so": patches((0, 4, 2, 1, 5, 3)),
        "not (p, S / p)": patches((0, 2, 4, 1, 3, 5), patch_first=True),
        "in a row are exchanged": patches((0, 3, 5, 1, 2, 4), patch_first=True),
        "no gradient": lambda x, p: torch.tensor(patches((0, 2, 4, 1, 3, 5))(x, p).tolist()),
    },
    "clip.image_tokens": {
        "at the end": lambda x, w, c, p: torch.cat([x @ w.T, c.expand(len(x), 1, -1)], 1) + p,
        "no position": lambda x, w, c, p: torch.cat([c.expand(len(x), 1, -1), x @ w.T + p[1:]], 1),
        "there are no positions": lambda x, w, c, p: torch.cat(
            [c.expand(len(x), 1, -1), x @ w.T], 1
        ),
        "the mean of the patches": lambda x, w, c, p: (
            torch.cat([(x @ w.T).mean(1, keepdim=True), x @ w.T], 1) + p
        ),
        "class token is missing": lambda x, w, c, p: x @ w.T + p[1:],
        "class token is not used": lambda x, w, c, p: (
            torch.cat([torch.zeros(len(x), 1, len(c)), x @ w.T], 1) + p
        ),
        "no gradient": lambda x, w, c, p: (
            torch.cat([c.expand(len(x), 1, -1), x @ w.T], 1) + p
        ).detach(),
        "Error: ": lambda x, w, c, p: torch.cat([c, x @ w.T], 1) + p,
    },
    "clip.attention_pool": {
        "there are no positions": pooled(positions=0),
        "the query is the first patch": pooled(query=lambda x: x[:, 1:2]),
        "not among the keys": pooled(keys=lambda x: x[:, 1:]),
        "add it to the query": lambda t, *rest: pooled(query=lambda x: t.mean(1, keepdim=True))(
            t, *rest
        ),
        "the mean comes first": mean_after_the_tokens(-1),
        "row 0 of positions is its own": mean_after_the_tokens(0),
        "not a mean taken after": pooled(query=lambda x: x.mean(1, keepdim=True)),
        "the query is row 0 of": lambda t, e, *rest: pooled(
            query=lambda x: x[:, 1:].mean(1, keepdim=True)
        )(t, e, *rest),
        "it attends to itself": lambda t, *rest: pooled(
            query=lambda x: t.mean(1, keepdim=True), keys=lambda x: x[:, 1:]
        )(t, *rest),
        "the root of the whole width": pooled(root="D"),
        "not divided by the root": pooled(root=1),
        "that is one head": pooled(heads_of=1),
        "numbers interleaved": pooled(join=lambda y: y.permute(0, 2, 3, 1).flatten(2)),
        "queries and keys are exchanged": lambda t, e, q, k, *rest: pooled()(t, e, k, q, *rest),
        "keys and values are exchanged": lambda t, e, q, k, v, *rest: pooled()(
            t, e, q, v, k, *rest
        ),
        "value matrix is missing": lambda t, e, q, k, v, *rest: pooled()(
            t, e, q, k, torch.eye(len(v)), *rest
        ),
        "output matrix is missing": lambda t, e, q, k, v, o, heads: pooled()(
            t, e, q, k, v, torch.eye(len(o)), heads
        ),
        "multiply by their transpose": lambda t, e, q, k, v, o, heads: pooled()(
            t, e, q.T, k.T, v.T, o.T, heads
        ),
        "reshape alone mixes tokens and heads": pooled(
            split=lambda y, heads: y.reshape(len(y), heads, y.shape[1], -1)
        ),
        "by a head's width, d": pooled(root="d squared"),
        "multiplied by the root": pooled(root="1 / d"),
        "there is no softmax": pooled(softmax=lambda scores: scores),
        "before the division by the root": lambda t, *rest: (
            pooled(root=1)(t, *rest) / (t.shape[-1] / rest[-1]) ** 0.5
        ),
        "w_query is stored": lambda t, e, q, *rest: pooled()(t, e, q.T, *rest),
        "w_key is stored": lambda t, e, q, k, *rest: pooled()(t, e, q, k.T, *rest),
        "w_value is stored": lambda t, e, q, k, v, *rest: pooled()(t, e, q, k, v.T, *rest),
        "w_out is stored": lambda t, e, q, k, v, o, heads: pooled()(t, e, q, k, v, o.T, heads),
        "no positions as values": lambda t, e, *rest: pooled(values=lambda x: x - e)(t, e, *rest),
        "nothing attends": lambda t, *rest: t.mean(1),
        "no gradient": lambda *a: pooled()(*a).detach(),
    },
    "clip.text_features": {
        "the last position": read_at(lambda ids, end: -1),
        "the largest id": read_at(lambda ids, end: ids.argmax(1)),
        "the last end token": read_at(
            lambda ids, end: ids.shape[1] - 1 - (ids == end).flip(1).int().argmax(1)
        ),
        "the mean over all positions": lambda s, ids, end: s.mean(1),
        "token after the end token": read_at(lambda ids, end: first_end(ids, end) + 1),
        "mean of all tokens up to": lambda s, ids, end: torch.stack(
            [x[: n + 1].mean(0) for x, n in zip(s, first_end(ids, end).tolist())]
        ),
        "are averaged": lambda s, ids, end: (
            (s * (ids == end)[..., None]).sum(1) / (ids == end).sum(1, keepdim=True)
        ),
        "are added up": lambda s, ids, end: (s * (ids == end)[..., None]).sum(1),
        "token before the end token": read_at(lambda ids, end: first_end(ids, end) - 1),
        "some state and no error": lambda s, ids, end: s[torch.arange(len(s)), first_end(ids, end)],
        "one for each text is wanted": lambda s, ids, end: s[ids == end],
        "no gradient": lambda s, ids, end: read_at(first_end)(s.detach(), ids, end),
    },
    "clip.text_parameters": {
        "the biases are missing": parameters(lambda d: 12 * d * d + 4 * d),
        "the positions are missing": parameters(positions=0),
        "each block has two LayerNorms": parameters(lambda d: 12 * d * d + 11 * d),
        "after the last block": parameters(rest=lambda d: 0),
        "a gain and a bias": parameters(lambda d: 12 * d * d + 11 * d, rest=lambda d: d),
        "a fourth matrix": parameters(lambda d: 11 * d * d + 12 * d),
        "4 * width wide": parameters(lambda d: 6 * d * d + 10 * d),
        "first bias is as wide": parameters(lambda d: 12 * d * d + 10 * d),
        "its two LayerNorms": parameters(lambda d: 12 * d * d + 9 * d),
        "the biases of attention": parameters(lambda d: 12 * d * d + 9 * d),
        "the hidden layer's bias": parameters(lambda d: 12 * d * d + 9 * d),
        "feed-forward network's biases": parameters(lambda d: 12 * d * d + 8 * d),
        "and so has 4D x D": parameters(lambda d: 12 * d * d + 12 * d),
        "as a language model has it": lambda v, c, d, n: parameters()(v, c, d, n) + v * d,
        "it is left out here": lambda v, c, d, n: parameters()(v, c, d, n) + d * d,
        "the biases and the LayerNorms": parameters(lambda d: 12 * d * d),
        "the feed-forward network is missing": parameters(lambda d: 4 * d * d + 8 * d),
        "D to 4D, and 4D to D": parameters(lambda d: 8 * d * d + 12 * d),
        "attention, or the feed-forward network's first": parameters(lambda d: 8 * d * d + 9 * d),
        "of D x D, for the output": parameters(lambda d: 11 * d * d + 13 * d),
        "counted once": lambda v, c, d, n: parameters()(v, c, d, 1),
        "found a float": lambda v, c, d, n: float(parameters()(v, c, d, n)),
    },
    "clip.symmetric_loss": {
        "only image to text": lambda i, t, s: cross_entropy(logits(i, t, s), labels(i)),
        "only text to image": lambda i, t, s: cross_entropy(logits(i, t, s).T, labels(i)),
        "the same direction twice": lambda i, t, s: 2 * cross_entropy(logits(i, t, s), labels(i)),
        "sum of both": lambda i, t, s: (
            cross_entropy(logits(i, t, s), labels(i)) + cross_entropy(logits(i, t, s).T, labels(i))
        ),
        "used as it is": lambda i, t, s: symmetric(
            s * normalize(i, dim=-1) @ normalize(t, dim=-1).T
        ),
        "multiplied twice": lambda i, t, s: symmetric(
            (s.exp() * normalize(i, dim=-1)) @ (s.exp() * normalize(t, dim=-1)).T
        ),
        "divided": lambda i, t, s: symmetric(
            normalize(i, dim=-1) @ normalize(t, dim=-1).T / s.exp()
        ),
        "no temperature": lambda i, t, s: symmetric(normalize(i, dim=-1) @ normalize(t, dim=-1).T),
        "only the images are normalised": lambda i, t, s: symmetric(
            s.exp() * normalize(i, dim=-1) @ t.T
        ),
        "only the texts are normalised": lambda i, t, s: symmetric(
            s.exp() * i @ normalize(t, dim=-1).T
        ),
        "over the batch (dim 0)": lambda i, t, s: symmetric(
            s.exp() * normalize(i, dim=0) @ normalize(t, dim=0).T
        ),
        "was given probabilities": lambda i, t, s: symmetric(logits(i, t, s).softmax(-1)),
        "no gradient": lambda i, t, s: torch.tensor(symmetric(logits(i, t, s)).item()),
        "argument 3 gets no gradient": lambda i, t, s: symmetric(
            math.exp(s.item()) * normalize(i, dim=-1) @ normalize(t, dim=-1).T
        ),
        "over the whole table": lambda i, t, s: (
            -logits(i, t, s).flatten().log_softmax(0).view(len(i), -1).diagonal().mean()
        ),
        "by a sigmoid": lambda i, t, s: torch.nn.functional.binary_cross_entropy_with_logits(
            logits(i, t, s), torch.eye(len(i))
        ),
        "over the whole batch": lambda i, t, s: symmetric(
            s.exp() * (i / i.norm()) @ (t / t.norm()).T
        ),
        "target is 0 in every row": lambda i, t, s: symmetric(
            logits(i, t, s), torch.zeros(len(i)).long()
        ),
        "Expected input batch_size": lambda i, t, s: symmetric(logits(i, t, s), torch.arange(6)),
        "the vectors are not normalised": lambda i, t, s: symmetric(s.exp() * i @ t.T),
        "the temperature is fixed": lambda i, t, s: symmetric(
            logits(i, t, torch.tensor(math.log(1 / 0.07)))
        ),
        "cut off at 100 inside the loss": lambda i, t, s: symmetric(
            logits(i, t, s.clamp(0, HIGHEST))
        ),
        "rewards the right pairs alone": lambda i, t, s: -logits(i, t, s).diagonal().mean(),
        "missing in the denominator": lambda i, t, s: symmetric_without_the_right_one(
            logits(i, t, s)
        ),
        "add the loss of the columns": lambda i, t, s: (
            cross_entropy(logits(i, t, s), labels(i)) / 2
        ),
        "summed": lambda i, t, s: len(i) * symmetric(logits(i, t, s)),
        "sign": lambda i, t, s: -symmetric(logits(i, t, s)),
        "not the right value": lambda i, t, s: symmetric(logits(i, t, s)) + 1,
        "Did you forget the return?": lambda i, t, s: None,
    },
    "clip.train_step": {
        "old gradients": step("back", "step", "clamp"),
        "did not change: is step() called": step("zero", "back", "clamp"),
        "steps twice": step("zero", "back", "step", "step", "clamp"),
        "those of the temperature": step(*FULL, low=-HIGHEST, high=0),
        "not kept in its bounds": step("zero", "back", "step"),
        "holds the scale now": scale_in_place_of_its_logarithm,
        "clamped before": step("zero", "back", "clamp", "step"),
        "afterwards it can be out of bounds": clamped_first,
        "but the parameter is a logarithm": step(*FULL, high=100),
        "natural": step(*FULL, high=2),
        "no lower bound": step(*FULL, low=-99),
        "no upper bound": step(*FULL, high=None),
        "left from before your first call": step("back", "step", "clamp", "zero"),
        "before backward()": step("step", "zero", "back", "clamp"),
        "replaced by another": clamped_by_replacing,
        "returned as a tensor": lambda *a: torch.tensor(step(*FULL)(*a)),
        "the loss after the step": lambda model, batch, optimiser: (
            step(*FULL)(model, batch, optimiser),
            model.losses(batch)["clip"].item(),
        )[1],
        "found None": lambda model, batch, optimiser: step(*FULL)(model, batch, optimiser) and None,
    },
    "clip.recall_at_k": {
        "ties count for the model": lambda s, k: share((s > s.diagonal()[:, None]).sum(1) + 1 <= k),
        "as the sorting happens to leave": found_by(lambda s, k: s.topk(k).indices),
        "happens to leave them": found_by(lambda s, k: s.argsort(1, descending=True)[:, :k]),
        "all of them must count as before it": found_by(lambda s, k: (-s).argsort(1)[:, :k]),
        "come before or after it": found_by(lambda s, k: s.argsort(1).flip(1)[:, :k]),
        "neither the right text nor the ties": lambda s, k: share(
            (s > s.diagonal()[:, None]).sum(1) <= k
        ),
        "that is text to image": lambda s, k: share((s >= s.diagonal()).sum(0) <= k),
        "k is one too large": lambda s, k: share((s >= s.diagonal()[:, None]).sum(1) - 1 <= k),
        "Does the right text count": lambda s, k: share((s >= s.diagonal()[:, None]).sum(1) < k),
        "that is recall at 1": lambda s, k: share((s >= s.diagonal()[:, None]).sum(1) <= 1),
        "at 1: use k": lambda s, k: share(s.argmax(1) == torch.arange(len(s))),
        "but it is a tensor": lambda s, k: (
            ((s >= s.diagonal()[:, None]).sum(1) <= k).float().mean()
        ),
        "expected one number": lambda s, k: ((s >= s.diagonal()[:, None]).sum(1) <= k).float(),
        "these are percent": lambda s, k: 100 * share((s >= s.diagonal()[:, None]).sum(1) <= k),
        "not by k": lambda s, k: len(s) / k * share((s >= s.diagonal()[:, None]).sum(1) <= k),
        "lies along the columns": lambda s, k: share((s >= s.diagonal()).sum(1) <= k),
        "the share of failures": lambda s, k: share((s >= s.diagonal()[:, None]).sum(1) > k),
        "the number of images": lambda s, k: float(
            ((s >= s.diagonal()[:, None]).sum(1) <= k).sum()
        ),
    },
    "clip.zero_shot": {
        "over the images": lambda i, e, n, t, s: (s.exp() * i @ e(texts_of(n, t)).T).softmax(0),
        "the names are encoded alone": lambda i, e, n, t, s: (s.exp() * i @ e(n).T).softmax(-1),
        "after the template": lambda i, e, n, t, s: (
            s.exp() * i @ e([f"{t} {name}" for name in n]).T
        ).softmax(-1),
        "the template is not used": lambda i, e, n, t, s: (
            s.exp() * i @ e([f"a photo of {name}" for name in n]).T
        ).softmax(-1),
        "the temperature is fixed": lambda i, e, n, t, s: (i @ e(texts_of(n, t)).T / 0.07).softmax(
            -1
        ),
        "used as it is": lambda i, e, n, t, s: (s * i @ e(texts_of(n, t)).T).softmax(-1),
        "no temperature": lambda i, e, n, t, s: (i @ e(texts_of(n, t)).T).softmax(-1),
        "are divided by the scale": lambda i, e, n, t, s: (
            i @ e(texts_of(n, t)).T / s.exp()
        ).softmax(-1),
        "a sigmoid judges each class alone": lambda i, e, n, t, s: torch.sigmoid(
            s.exp() * i @ e(texts_of(n, t)).T
        ),
        "log probabilities": lambda i, e, n, t, s: (s.exp() * i @ e(texts_of(n, t)).T).log_softmax(
            -1
        ),
        "by the logit scale s": lambda i, e, n, t, s: (i @ e(texts_of(n, t)).T / s).softmax(-1),
        "these are exponentials": lambda i, e, n, t, s: (s.exp() * i @ e(texts_of(n, t)).T).exp(),
        "divided by their sum": lambda i, e, n, t, s: (
            (c := s.exp() * i @ e(texts_of(n, t)).T) / c.sum(-1, keepdim=True)
        ),
        "these are cosines": lambda i, e, n, t, s: i @ e(texts_of(n, t)).T,
        "these are logits": lambda i, e, n, t, s: s.exp() * i @ e(texts_of(n, t)).T,
        "numbers of classes": lambda i, e, n, t, s: (i @ e(texts_of(n, t)).T).argmax(-1),
        "takes a list of texts": lambda i, e, n, t, s: i @ e(t.format(n[0])).T,
    },
}


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


def test_all_exercises_have_at_least_five_wrong_answers():
    assert {f"clip.{name}" for name in EXERCISES} == set(WRONG)
    assert all(len(answers) >= 5 for answers in WRONG.values())


def test_the_references_compute_what_the_course_s_models_do():
    images = torch.randn(2, 3, 8, 8)
    patchify, tokens = solution("clip.patchify"), solution("clip.image_tokens")
    layer = PatchEmbedding(4, 16)
    assert torch.allclose(patchify(images, 4) @ layer.project.weight.T, layer(images), atol=1e-5)
    vit = ViT(8, 4, 16, depth=1, heads=2)
    inputs = vit.stem.project.weight, vit.class_token, vit.positions
    made = vit.norm_in(tokens(patchify(images, 4), *inputs))
    assert torch.allclose(made, vit.embed(images), atol=1e-5)
    pool = AttentionPool(9, 16, heads=4)
    query, (key, value) = pool.attention.query, pool.attention.key_value.weight.chunk(2)
    matrices = query.weight, key, value, pool.attention.out.weight
    for bias in (query.bias, pool.attention.key_value.bias, pool.attention.out.bias):
        torch.nn.init.zeros_(bias)
    x = torch.randn(3, 9, 16)
    made = solution("clip.attention_pool")(x, pool.positions, *matrices, 4)
    assert torch.allclose(made, pool(x), atol=1e-5)


def test_the_text_encoder_has_as_many_parameters_as_are_counted():
    text = recipes.clip.new_clip(recipes.clip.clip_config(Scale.of("smoke"), text_depth=3)).text
    counted = sum(parameter.numel() for parameter in text.parameters())
    size = text.vocabulary, text.context, text.tokens.weight.shape[1], 3
    assert clip_texts.text_parameters(*size) == counted
    assert round(clip_texts.text_parameters(49_152, 76, 512, 12) / 1e6) == 63


def test_the_search_finds_popular_queries_more_often_and_repeats_itself():
    found = clip_training.web_search()
    counts = [sum(query == noun for query, *_ in found) for noun in world.known_nouns()[:12]]
    assert counts == sorted(counts, reverse=True) and counts[0] > 10 * counts[-1]
    assert len({pair[1:] for pair in found}) < len(found)


@pytest.fixture(scope="module")
def pairs():
    return clip_training.live_pairs(Scale.of("smoke"))


def test_the_healthy_run_of_the_failure_lab_is_the_best(pairs):
    runs = clip_training.failure_lab("clip.training", pairs, 60)
    best = max(runs, key=lambda letter: runs[letter].recall)
    assert best == "B" and len(runs) == 4
    assert all(step.loss == pytest.approx(0, abs=1e-6) for step in runs["C"].history)
    last = [step.loss for step in runs["D"].history[-20:]]
    assert sum(last) / len(last) > math.log(32) - 0.4
    assert "Run" not in clip_figures.failure_figure(runs, 1 / 16).description


def test_training_uses_the_given_step_and_shows_that_it_learns(pairs, capsys):
    model = recipes.clip.new_clip(recipes.clip.clip_config(Scale.of("smoke")))
    calls = []

    def counted(*inputs):
        calls.append(inputs)
        return solution("clip.train_step")(*inputs)

    history = clip_training.train(model, pairs.batches(32), 12, counted)
    assert len(calls) == len(history) == 12 and history[-1].loss < history[0].loss
    assert not model.training and history[-1].seconds_left == 0
    check_ids(pairs.held_out["ids"], model.config.vocabulary)


def test_the_tables_show_the_paper_s_numbers_and_the_verdicts():
    text = clip_tables.paper_table().data
    for number in ("76.2 %", "88.0 %", "68.7 %", "0.1 %"):
        assert number in text
    assert text.count("| agrees |") == 2 and "| within noise | Flickr30K has five texts" in text
    controls = clip_tables.controls_table().data
    assert "| image to text R@1 | 0.980 ± 0.004 | 0.004 ± 0.000 |" in controls
    facts = clip_tables.facts_table().data
    for number in ("400 million", "500,000 queries", "20,000 pairs", "63 million", "32 epochs"):
        assert number in facts
    model = recipes.clip.new_clip(recipes.clip.clip_config(Scale.of("smoke")))
    sizes = clip_tables.sizes_table(model, 64, 3000).data
    assert "| 12.8 billion (400 million, 32 times) | 192,000 |" in sizes


def test_the_diagrams_hold_the_shapes_of_the_model():
    config = recipes.clip.clip_config(Scale.of("smoke"))
    drawn = clip_figures.towers_diagram(recipes.clip.new_clip(config), 32)
    assert "(32, 3, 32, 32)" in drawn.description and "(32, 32)" in drawn.description
    tower = recipes.clip.new_clip(recipes.clip.clip_config(Scale.of("smoke"), resnet=(1, 1))).vision
    assert "mean and tokens, (17, 64)" in clip_figures.pooling_diagram(tower).description


def test_the_temperature_player_computes_the_softmax_it_shows(monkeypatch):
    shown = displayed(monkeypatch)
    cosines = torch.tensor([0.5, 0.3, 0.1])
    wanted = (20 * cosines).softmax(0)
    picture = np.zeros((32, 32, 3), np.uint8)
    figure = clip_temperature.at_scale("one", cosines, ["a", "b", "c"], 1.0, 20.0)
    assert f"learned 20.0 {wanted[0]:.3f}" in figure.description
    assert f"scale 1.0 {cosines.softmax(0)[0]:.3f}" in figure.description
    cases = {
        "one": (picture, cosines, ["a", "b", "c"]),
        "other": (picture, cosines.flip(0), ["x", "y", "z"]),
    }
    clip_temperature.temperature_player(cases, 20.0)
    fields, _, text = shown[0][0].children
    slider, reset, *_ = fields.children
    slider.value = 1.0
    assert text.value.count("at 1.0;") == 2  # both images at once
    assert f"z, scale 1.0 {cosines.softmax(0)[0]:.3f}" in text.value
    reset.click()
    assert slider.value == pytest.approx(20.0) and "scale 20.0" in text.value
    clip_temperature.temperature_player(cases, 20.0, start=5.0)
    assert "scale 5.0" in shown[1][0].children[2].value


def test_an_image_that_is_ranked_wrongly_is_found_with_its_most_similar_texts():
    vectors = torch.eye(8)
    assert clip_temperature.ranked_wrongly(vectors, vectors, list("abcdefgh")) is None
    texts = vectors.clone()
    texts[[2, 5]] = texts[[5, 2]]
    number, cosines, names = clip_temperature.ranked_wrongly(vectors, texts, list("abcdefgh"))
    assert number == 2 and names[:2] == ["right: c", "wrong: f"]
    assert cosines[:2].tolist() == [0, 1] and len(names) == len(cosines) == 6


def test_the_loss_of_training_pairs_is_split_by_the_things_they_share():
    images, texts = (normalize(torch.randn(6, 4), dim=-1) for _ in range(2))
    each_pair = clip_temperature.loss_of_pairs(images, texts, 20.0)
    assert each_pair.mean() == pytest.approx(clip_loss(images, texts, 20.0).item(), rel=1e-5)
    things = [frozenset(words) for words in ("ab", "ba", "c", "a")]
    assert clip_temperature.share_things(things).tolist() == [True, True, False, False]
    model = recipes.clip.new_clip(recipes.clip.clip_config(Scale.of("smoke"))).eval()
    training_pairs = recipes.clip.training_pairs(Scale.of("smoke"))
    first, *rows = clip_temperature.training_losses(model, training_pairs, 1, 14.3).splitlines()
    assert first.startswith("1 batches of 64") and len(rows) == 7
    whole, theirs, others = (float(number) for number in re.findall(r"\d\.\d{4}", rows[0]))
    assert whole == pytest.approx(theirs + others, abs=2e-4) and others > 0


def test_probabilities_below_a_thousandth_are_not_written_as_zero():
    text = clip_temperature.at_scales("one", torch.tensor([0.9, 0.1, 0.2]), list("abc"), (1, 100))
    assert "most similar c" in text and "right text 0.5" in text
    assert "scale 100.0: right text 1.000, wrong texts each <0.001" in text


def test_the_zero_shot_player_classifies_what_is_typed(monkeypatch):
    shown = displayed(monkeypatch)
    model = recipes.clip.new_clip(recipes.clip.clip_config(Scale.of("smoke"))).eval()
    images = world.Pairs("test", 32).images(range(3))
    found = clip_figures.classify(model, images[0], "cat, apple", "a picture of {}")
    assert sum(found.values()) == pytest.approx(1, abs=1e-5) and list(found) == ["cat", "apple"]
    clip_figures.zero_shot_player(model, images, ["cat", "apple"])
    _, classes, template, _, text = shown[0][0].children
    assert "the class: cat 0." in text.value
    classes.value = "dog, banana, car"
    assert "the class: dog 0." in text.value and "car 0." in text.value
    classes.value = "dog, zebrafish"
    assert "unknown word 'zebrafish'" in text.value.replace("&#x27;", "'")
    classes.value = "dog"
    assert "expected at least two different ones" in text.value
    classes.value, template.value = "dog, car", "no braces"
    assert "exactly one {}" in text.value
