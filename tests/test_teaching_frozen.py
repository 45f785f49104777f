"""Lesson 07's exercises: the folded solutions pass, and each plausible mistake is named; its models and kept runs."""

import json
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from exercise_answers import displayed, each, message, solution, taught
from torch.nn.functional import cross_entropy, normalize

from teaching import (
    frozen_comparison,
    frozen_figures,
    frozen_lab,
    frozen_model,
    frozen_positions,
    frozen_reference,
)
from teaching.frozen import EXERCISES
from vlmcourse import recipes, world
from vlmcourse.evaluation.directions import directions
from vlmcourse.parts import language
from vlmcourse.recipes.frozen import caption_data
from vlmcourse.training.scale import Scale
from vlmcourse.world.pages import Episode
from vlmcourse.world.scenes import SeededRandom

SMOKE = Scale.of("smoke")


def prefix_module(make, forward):
    """A class as the student would write it. make: (features, n, width) -> layers; forward: (self, features) -> prefix."""

    class Written(torch.nn.Module):
        def __init__(self, features, n, width):
            super().__init__()
            self.n, self.width, self.linear = n, width, make(features, n, width)

    Written.forward = forward
    return Written


def one_linear(features, n, width):
    return torch.nn.Linear(features, n * width)


def cut(self, x):
    return x.reshape(len(x), self.n, -1)


class Hidden:
    """Holds a layer where parameters() doesn't look."""

    def __init__(self, layer):
        self.layer = layer

    def __call__(self, x):
        return self.layer(x)


PREFIX = {
    "still one row": prefix_module(one_linear, lambda self, x: self.linear(x)),
    "in one list": prefix_module(
        one_linear, lambda self, x: self.linear(x).reshape(-1, self.width)
    ),
    "last two axes are exchanged": prefix_module(
        one_linear, lambda self, x: cut(self, self.linear(x)).mT
    ),
    "first two axes are exchanged": prefix_module(
        one_linear, lambda self, x: cut(self, self.linear(x)).transpose(0, 1)
    ),
    "one vector for a picture": prefix_module(
        lambda f, n, d: torch.nn.Linear(f, d), lambda self, x: self.linear(x)
    ),
    "no parameters": prefix_module(
        lambda f, n, d: Hidden(torch.nn.Linear(f, n * d)), lambda self, x: cut(self, self.linear(x))
    ),
    "doesn't depend on the features": prefix_module(
        one_linear, lambda self, x: cut(self, self.linear(torch.zeros_like(x)))
    ),
    "which axis was cut": prefix_module(
        one_linear,
        lambda self, x: self.linear(x).reshape(self.n, len(x), -1).transpose(0, 1),
    ),
    "all n vectors of a picture are equal": prefix_module(
        lambda f, n, d: torch.nn.Linear(f, d),
        lambda self, x: self.linear(x)[:, None].expand(-1, self.n, -1),
    ),
    "not linear": prefix_module(one_linear, lambda self, x: cut(self, self.linear(x).relu())),
    "the bias is missing": prefix_module(
        lambda f, n, d: torch.nn.Linear(f, n * d, bias=False),
        lambda self, x: cut(self, self.linear(x)),
    ),
    "one linear layer has": prefix_module(
        lambda f, n, d: torch.nn.Sequential(torch.nn.Linear(f, f), torch.nn.Linear(f, n * d)),
        lambda self, x: cut(self, self.linear(x)),
    ),
    "found None": prefix_module(one_linear, lambda self, x: None),
}


def put(words, vectors, is_slot):
    x = words.clone()
    x[is_slot] = vectors
    return x


def in_place(words, prefix, is_slot):
    words[is_slot] = prefix.flatten(0, 1)
    return words


def fixed_places(words, prefix, is_slot):
    x = words.clone()
    x[:, 1 : 1 + prefix.shape[1]] = prefix
    return x


def first_picture_of_each_text(words, prefix, is_slot):
    x, n, vectors = words.clone(), prefix.shape[1], prefix.flatten(0, 1)
    for text, slots in enumerate(is_slot):
        places = slots.nonzero().flatten()
        x[text, places[:n]] = vectors[: len(places)][:n]
        vectors = vectors[len(places) :]
    return x


INTERLEAVE = {
    "only its first got its vectors": first_picture_of_each_text,
    "put at fixed places": fixed_places,
    "put beside the text": lambda w, p, s: torch.cat([p, w], 1),
    "found None": lambda w, p, s: None,
    "you wrote into `words` itself": in_place,
    "nothing was filled in": lambda w, p, s: w.clone(),
    "added to the embeddings": lambda w, p, s: put(w, w[s] + p.flatten(0, 1), s),
    "the order is wrong": lambda w, p, s: put(w, p.flip(0).flatten(0, 1), s),
    "vectors of each picture are exchanged": lambda w, p, s: put(w, p.flip(1).flatten(0, 1), s),
    "mixed between pictures": lambda w, p, s: put(w, p.transpose(0, 1).flatten(0, 1), s),
    "every slot has the same vector": lambda w, p, s: put(w, p[0, 0], s),
    "every picture is the first one": lambda w, p, s: put(w, p[0].repeat(len(p), 1), s),
    "upside down": lambda w, p, s: w * s[..., None],
    "the slots are empty": lambda w, p, s: w * ~s[..., None],
    "only slots may change.": lambda w, p, s: put(torch.zeros_like(w), p.flatten(0, 1), s),
    "the prefix gets no gradient": lambda w, p, s: put(w, p.detach().flatten(0, 1), s),
    "the words get no gradient": lambda w, p, s: put(w.detach(), p.flatten(0, 1), s),
    "nothing gets a gradient": lambda w, p, s: put(w, p.flatten(0, 1), s).detach(),
    "values are not right": lambda w, p, s: put(w, p.flatten(0, 1), s) * 2,
}


def only_eval(module):
    module.requires_grad_(False).eval()


def not_even_eval(module):
    module.requires_grad_(False)


def no_grad(module):
    language.freeze(module)
    forward = module.forward
    module.forward = lambda x: torch.no_grad()(forward)(x)


def only_train(module):
    module.eval()
    for part in module.modules():
        part.train = lambda mode=True, part=part: part


def outermost(module):
    module.requires_grad_(False).eval()
    module.train = lambda mode=True: [part.train(mode) for part in module.children()]


def no_dropout(module):
    language.freeze(module)
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0


def zeroed(module):
    language.freeze(module)
    for parameter in module.parameters():
        parameter.zero_()


def returns_nothing(module):
    language.freeze(module)
    for part in module.modules():
        part.train = lambda mode=True: None


def returns_the_last(module):
    language.freeze(module)
    for part in module.modules():
        part.train = lambda mode=True: part


FREEZE = {
    "must still return m": returns_nothing,
    "A lambda in a loop": returns_the_last,
    "eval() alone does not last": only_eval,
    "runs without one": no_grad,
    "still collect gradients": only_train,
    "a part of it does not": outermost,
    "the dropout rate was changed": no_dropout,
    "the weights have changed": zeroed,
}


def gradient(loss_of, prefix):
    x = prefix.detach().requires_grad_()
    return torch.autograd.grad(loss_of(x), x)[0]


def on_the_callers(loss_of, prefix):
    prefix.requires_grad_()
    loss_of(prefix).backward()
    return prefix.grad.norm(dim=-1)


GRADIENTS = {
    "found None": lambda f, p: None,
    "the gradient itself": gradient,
    "one norm for all vectors": lambda f, p: gradient(f, p).norm(),
    "one norm for each picture": lambda f, p: gradient(f, p).flatten(1).norm(dim=-1),
    "the norm is over pictures": lambda f, p: gradient(f, p).norm(dim=0),
    "the norm is over the n vectors": lambda f, p: gradient(f, p).norm(dim=1),
    "the square root is missing": lambda f, p: gradient(f, p).square().sum(-1),
    "sum of the absolute values": lambda f, p: gradient(f, p).abs().sum(-1),
    "in which signs cancel": lambda f, p: gradient(f, p).sum(-1),
    "the mean, not the norm": lambda f, p: gradient(f, p).abs().mean(-1),
    "*mean* square": lambda f, p: gradient(f, p).square().mean(-1).sqrt(),
    "the norm of the vectors": lambda f, p: p.norm(dim=-1),
    "all zero": lambda f, p: torch.zeros(p.shape[:-1]),
    "the caller's prefix was changed": on_the_callers,
    "your code raised RuntimeError": lambda f, p: torch.no_grad()(gradient)(f, p),
}


def mask(ids, image_id, end_id, pad_id, least=1):
    is_slot = ids == image_id
    later = (is_slot.cumsum(1) == is_slot.sum(1, keepdim=True)) & ~is_slot
    later &= (ids != end_id) & (ids != pad_id)
    return later & (later.cumsum(1) > least)


BOS = 50
MASK = {
    "A mask is booleans": lambda *a: mask(*a).long(),
    "upside down": lambda *a: ~mask(*a),
    "even padding": lambda i, *a: torch.ones_like(i).bool(),
    "padding is scored: the model": lambda i, t, e, p: mask(i, t, e, p) | (i == e) | (i == p),
    "the end token is scored.": lambda i, t, e, p: mask(i, t, -1, p),
    "and the full stop of the prompt are scored": lambda i, t, e, p: mask(i, t, -1, p, 0),
    "the full stop of the prompt is scored": lambda *a: mask(*a, least=0),
    "the slots are scored": lambda i, t, e, p: (i != p) & (i != e) & (i != BOS),
    "every token of the text": lambda i, t, e, p: (i != p) & (i != e),
    "<bos> is scored: nothing": lambda i, t, e, p: (i != p) & (i != e) & (i != t),
    "the first word of the caption": lambda *a: mask(*a, least=2),
    "the last full stop": lambda *a: mask(*a) & mask(*a).roll(-1, 1),
    "at a fixed position": lambda i, t, e, p: (torch.arange(i.shape[1]) > 3) & (i != p) & (i != e),
    "nothing is scored": lambda i, *a: torch.zeros_like(i).bool(),
}


def loss(logits, ids, scored, reduction="mean"):
    return cross_entropy(
        logits[:, :-1][scored[:, 1:]], ids[:, 1:][scored[:, 1:]], reduction=reduction
    )


def per_text(logits, ids, scored):
    return torch.stack([loss(*(x[None] for x in row)) for row in zip(logits, ids, scored)]).mean()


LOSS = {
    "found None": lambda x, i, m: None,
    "nothing was shifted": lambda x, i, m: cross_entropy(x[m], i[m]),
    "goes the wrong way": lambda x, i, m: cross_entropy(x[:, 1:][m[:, :-1]], i[:, :-1][m[:, :-1]]),
    "the mask is not": lambda x, i, m: cross_entropy(x[:, :-1][m[:, :-1]], i[:, 1:][m[:, :-1]]),
    "all tokens are scored": lambda x, i, m: loss(x, i, torch.ones_like(m)),
    "take their mean": lambda x, i, m: loss(x, i, m, "sum"),
    "count instead": lambda x, i, m: loss(x, i, ~m),
    "divided by the number of all tokens": lambda x, i, m: loss(x, i, m, "sum") / m[:, 1:].numel(),
    "each text's mean": per_text,
    "divided by the number of texts": lambda x, i, m: loss(x, i, m, "sum") / len(m),
    "the sign is wrong": lambda x, i, m: -loss(x, i, m),
    "that is in bits": lambda x, i, m: loss(x, i, m) / torch.tensor(2.0).log(),
    "applied twice": lambda x, i, m: loss(x.softmax(-1), i, m),
    "it has no gradient": lambda x, i, m: torch.tensor(loss(x, i, m).item()),
    "expected one number": lambda x, i, m: loss(x, i, m, "none"),
}


def shots(examples, query, question, pair=None, end=None):
    pair = pair or (lambda p, q, a: [p, f"question : {q} answer : {a} ."])
    parts = [part for one in examples for part in pair(*one)]
    return parts + ([query, f"question : {question} answer :"] if end is None else end)


def grown(examples, query, question):
    examples.append([query, question, ""])
    return shots(examples[:-1], query, question)


FEW_SHOT = {
    "found None": lambda e, p, q: None,
    "it comes before it": lambda e, p, q: shots(
        e,
        p,
        q,
        lambda p, q, a: [f"question : {q} answer : {a} .", p],
        [f"question : {q} answer :", p],
    ),
    "each comes before its own": lambda e, p, q: shots(
        e, p, q, lambda p, q, a: [f"question : {q} answer : {a} .", p]
    ),
    "the query's picture is missing": lambda e, p, q: shots(
        e, p, q, end=[f"question : {q} answer :"]
    ),
    "the open question is missing": lambda e, p, q: shots(e, p, q, end=[p]),
    "the examples' pictures are missing": lambda e, p, q: shots(
        e, p, q, lambda p, q, a: [f"question : {q} answer : {a} ."]
    ),
    "all pictures come first": lambda e, p, q: (
        [one[0] for one in e] + [p] + [part for part in shots(e, p, q) if isinstance(part, str)]
    ),
    "answers are missing.": lambda e, p, q: shots(
        e, p, q, lambda p, q, a: [p, f"question : {q} answer : {a}"]
    ),
    "need a space": lambda e, p, q: shots(
        e, p, q, lambda p, q, a: [p, f"question : {q} answer : {a}."]
    ),
    "ends with a full stop": lambda e, p, q: shots(e, p, q, end=[p, f"question : {q} answer : ."]),
    "ends with a space": lambda e, p, q: shots(e, p, q, end=[p, f"question : {q} answer : "]),
    "colons need a space": lambda e, p, q: shots(
        e,
        p,
        q,
        lambda p, q, a: [p, f"question: {q} answer: {a}."],
        [p, f"question: {q} answer:"],
    ),
    "two question marks": lambda e, p, q: shots(
        e,
        p,
        f"{q} ?",
        lambda p, q, a: [p, f"question : {q} ? answer : {a} ."],
    ),
    "lacks 'answer :'": lambda e, p, q: shots(e, p, q, end=[p, f"question : {q}"]),
    "the examples' questions are missing": lambda e, p, q: shots(
        e, p, q, lambda p, q, a: [p, f"answer : {a} ."]
    ),
    "ask the query's question": lambda e, p, q: shots([[x, q, a] for x, _, a in e], p, q),
    "the examples' answers": lambda e, p, q: shots(
        e, p, q, lambda p, q, a: [p, f"question : {q} answer :"]
    ),
    "order of the examples is reversed": lambda e, p, q: shots(e[::-1], p, q),
    "the query comes first": lambda e, p, q: shots([], p, q) + shots(e, p, q)[:-2],
    "the examples are missing": lambda e, p, q: shots([], p, q),
    "one flat list": lambda e, p, q: [
        *(shots([one], p, q, end=[]) for one in e),
        shots([], p, q),
    ],
    "examples were changed": grown,
}
FEW_SHOT["the full stops after"] = FEW_SHOT.pop("answers are missing.")


def naming(e, q, i, r, names=None, examples=None, join=" or ", end=None):
    names = dict.fromkeys(n for _, n in e) if names is None else names
    parts = [f"answer with {join.join(names)} ."] if i else []
    for picture, name in list(e) * (1 + r) if examples is None else examples:
        parts += [picture, f"this is a {name} ."]
    return parts + ([q, "question : what is this ? answer : this is a"] if end is None else end)


OPEN = "question : what is this ? answer : this is a"
NAMING = {
    "found None": lambda *a: None,
    "once too seldom": lambda e, q, i, r: naming(e, q, i, r, examples=list(e) * r),
    "the repeats are missing": lambda e, q, i, r: naming(e, q, i, 0),
    "once too often": lambda e, q, i, r: naming(e, q, i, r + 1),
    "right after itself": lambda e, q, i, r: naming(
        e, q, i, r, examples=[one for one in e for _ in range(1 + r)]
    ),
    "more than once": lambda e, q, i, r: naming(e, q, i, r, names=[n for _, n in e]),
    "in another order: they come": lambda e, q, i, r: naming(
        e, q, i, r, names=sorted({n for _, n in e})
    ),
    "with 'and'": lambda e, q, i, r: naming(e, q, i, r, join=" and "),
    "with commas": lambda e, q, i, r: naming(e, q, i, r, join=", "),
    "only with `induction`": lambda e, q, i, r: naming(e, q, True, r),
    "the query's picture is missing": lambda e, q, i, r: naming(e, q, i, r, end=[OPEN]),
    "the open question is missing": lambda e, q, i, r: naming(e, q, i, r, end=[q]),
    "the last text is 'this is a'; it should": lambda e, q, i, r: naming(
        e, q, i, r, end=[q, "this is a"]
    ),
    "before the query's picture": lambda e, q, i, r: naming(e, q, i, r, end=[OPEN, q]),
    "order of the examples is reversed": lambda e, q, i, r: naming(
        e, q, i, r, examples=(list(e) * (1 + r))[::-1]
    ),
    "it stands once": lambda e, q, i, r: naming(e, q, i, 0, end=[]) * (1 + r) + [q, OPEN],
}


def swapped(prompts, choose):
    own = [[part for part in prompt if not isinstance(part, str)] for prompt in prompts]
    rows = []
    for i, prompt in enumerate(prompts):
        given = iter(choose(own[i], own[(i + 1) % len(own)], own[i - 1]))
        rows.append([part if isinstance(part, str) else next(given) for part in prompt])
    return rows


def right_swap(prompts):
    return swapped(prompts, lambda own, next_one, last: [*next_one[:-1], own[-1]])


def swap_in_place(prompts):
    prompts[:] = right_swap(prompts)
    return prompts


SWAP = {
    "found None": lambda p: None,
    "nothing was swapped": lambda p: [list(parts) for parts in p],
    "query's picture was swapped, too": lambda p: swapped(p, lambda a, b, c: b),
    "it is the one that stays": lambda p: swapped(p, lambda a, b, c: [*a[:-1], b[-1]]),
    "from the prompt before; take": lambda p: swapped(p, lambda a, b, c: [*c[:-1], a[-1]]),
    "from the prompt before, the query's too": lambda p: swapped(p, lambda a, b, c: c),
    "changed their order": lambda p: swapped(p, lambda a, b, c: [*b[-2::-1], a[-1]]),
    "own pictures were mixed": lambda p: swapped(p, lambda a, b, c: [*a[-2::-1], a[-1]]),
    "the texts moved": lambda p: [*p[1:], p[0]],
    "its next one is the first": lambda p: [*right_swap(p)[:-1], list(p[-1])],
    "prompts were changed": swap_in_place,
}


def turn(x, p, f, sign=1.0, other=1.0):
    angle = p[:, None] * f
    a, b = x.chunk(2, -1)
    return torch.cat(
        [
            a * angle.cos() - sign * b * angle.sin(),
            other * sign * a * angle.sin() + b * angle.cos(),
        ],
        -1,
    )


def turn_neighbours(x, p, f):
    half = x.shape[-1] // 2
    order = torch.arange(2 * half).view(half, 2).T.flatten()
    return turn(x[:, order], p, f)[:, order.argsort()]


ROTATE = {
    "found None": lambda x, p, f: None,
    "nothing was turned": lambda x, p, f: x,
    "the wrong way": lambda x, p, f: turn(x, p, f, sign=-1.0),
    "that is no rotation": lambda x, p, f: turn(x, p, f, other=-1.0),
    "with entry 2 i + 1": turn_neighbours,
    "counted from 0": lambda x, p, f: turn(x, torch.arange(len(x)), f),
    "the frequencies are not used": lambda x, p, f: turn(x, p, torch.ones_like(f)),
    "divided by the frequencies": lambda x, p, f: turn(x, p, 1 / f),
    "by the same angle": lambda x, p, f: turn(x, p[:1].expand(len(p)), f),
    "is added to the vector": lambda x, p, f: x + p[:, None],
    "values are not right": lambda x, p, f: turn(x, p, f) * 2,
}


def hull(v, w, m, s, weights=None, vectors=None, words=None):
    cosine = normalize(v, dim=-1) @ normalize(w, dim=-1).T
    weights = (s * cosine).softmax(-1) if weights is None else weights(cosine)
    v, w = v if vectors is None else vectors, w if words is None else words
    return (1 - m) * v + m * weights @ w


HULL = {
    "found None": lambda *a: None,
    "words alone": lambda v, w, m, s: hull(v, w, 1.0, s),
    "the shares are exchanged": lambda v, w, m, s: hull(v, w, 1 - m, s),
    "dot products": lambda v, w, m, s: hull(v, w, m, s, lambda c: (s * v @ w.T).softmax(-1)),
    "only the vectors were normalised": lambda v, w, m, s: hull(
        v, w, m, s, lambda c: (s * normalize(v, dim=-1) @ w.T).softmax(-1)
    ),
    "only the words were normalised": lambda v, w, m, s: hull(
        v, w, m, s, lambda c: (s * v @ normalize(w, dim=-1).T).softmax(-1)
    ),
    "the sharpness is missing": lambda v, w, m, s: hull(v, w, m, 1.0),
    "divided by the sharpness": lambda v, w, m, s: hull(v, w, m, 1 / s),
    "the softmax is over the vectors": lambda v, w, m, s: hull(
        v, w, m, s, lambda c: (s * c).softmax(0)
    ),
    "the normalised words are mixed": lambda v, w, m, s: hull(
        v, w, m, s, words=normalize(w, dim=-1)
    ),
    "the normalised vectors are mixed": lambda v, w, m, s: hull(
        v, w, m, s, vectors=normalize(v, dim=-1)
    ),
    "only the nearest word counts": lambda v, w, m, s: hull(
        v, w, m, s, lambda c: torch.eye(len(w))[c.argmax(-1)]
    ),
    "nothing was mixed": lambda v, w, m, s: v,
    "there is no softmax": lambda v, w, m, s: hull(v, w, m, s, lambda c: s * c),
    "added on top": lambda v, w, m, s: v + hull(v, w, m, s) - (1 - m) * v,
    "no gradient with respect": lambda v, w, m, s: hull(v, w, m, s).detach(),
}

WRONG = {
    "frozen.VisualPrefix": PREFIX,
    "frozen.interleave": INTERLEAVE,
    "frozen.freeze": FREEZE,
    "frozen.prefix_gradients": GRADIENTS,
    "frozen.caption_mask": MASK,
    "frozen.caption_loss": LOSS,
    "frozen.few_shot_prompt": FEW_SHOT,
    "frozen.naming_prompt": NAMING,
    "frozen.rotate": ROTATE,
    "frozen.swap_examples": SWAP,
    "frozen.word_hull": HULL,
}


def masked_from(start):
    return lambda i, *_: (torch.arange(i.shape[1]) >= start).expand(len(i), -1)


def halved(x, p, f, second):
    a, b = x.chunk(2, -1)
    cos, sin = (p[:, None] * f).cos(), (p[:, None] * f).sin()
    return torch.cat([a * cos - b * sin, second(a, b, cos, sin)], -1)


def children_only(module):
    language.freeze(module)
    for parameter in module.parameters(recurse=False):
        parameter.requires_grad_(True)


def on_a_copy_of_the_callers(loss_of, prefix):
    x = prefix.clone().requires_grad_()
    loss_of(x).backward()
    return x.grad.norm(dim=-1)


def by_index(prompts):
    """A swap by the index of each part."""
    found = [list(parts) for parts in prompts]
    for i, parts in enumerate(found):
        places = [k for k, part in enumerate(parts) if not isinstance(part, str)]
        for k in places[:-1]:
            parts[k] = prompts[(i + 1) % len(prompts)][k]
    return found


def sentence_last(e, q, i, r):
    first, *parts = naming(e, q, i, r)
    return [*parts[:-2], first, *parts[-2:]] if i else [first, *parts]


MORE = {
    "frozen.VisualPrefix": {
        "the layer gets no gradient": prefix_module(
            one_linear, lambda self, x: cut(self, self.linear(x)).detach()
        )
    },
    "frozen.interleave": {
        "all slots of a picture": lambda w, p, s: put(w, p[:, :1].expand_as(p).flatten(0, 1), s)
    },
    "frozen.freeze": {"still collect": children_only},
    "frozen.prefix_gradients": {
        "that is the mean": lambda f, p: gradient(f, p).mean(-1),
        "the largest entry": lambda f, p: gradient(f, p).abs().amax(-1),
        "an encoder computed": on_a_copy_of_the_callers,
    },
    "frozen.caption_mask": {
        "and padding is scored, too": masked_from(4),
        "a text may have more slots": lambda i, t, e, p: (
            (torch.arange(i.shape[1]) > 3) & (i != t) & (i != p) & (i != e)
        ),
        "the loss does the shift": lambda *a: mask(*a).roll(-1, 1),
    },
    "frozen.caption_loss": {
        "the perplexity": lambda x, i, m: loss(x, i, m).exp(),
        "are taken for token t": lambda x, i, m: cross_entropy(
            x[:, 1:][m[:, 1:]], i[:, :-1][m[:, 1:]]
        ),
    },
    "frozen.few_shot_prompt": {
        "there are two question marks": lambda e, p, q: shots(
            [[a, f"{b} ?", c] for a, b, c in e], p, q
        ),
        "are exchanged": lambda e, p, q: shots([[a, c, b] for a, b, c in e], p, q),
        "two parts": lambda e, p, q: shots(
            e, p, q, lambda p, q, a: [p, f"question : {q}", f"answer : {a} ."]
        ),
        "after the open question": lambda e, p, q: shots(
            e, p, q, end=[f"question : {q} answer :", p]
        ),
        "are reversed": lambda e, p, q: shots(e, p, q)[:-2][::-1] + shots([], p, q),
    },
    "frozen.naming_prompt": {
        "joins the names with ' , '": lambda e, q, i, r: naming(e, q, i, r, join=" , "),
        "of the first sentence is missing": lambda e, q, i, r: [
            part.removesuffix(" .") if str(part).startswith("answer with") else part
            for part in naming(e, q, i, r)
        ],
        "after each example is missing": lambda e, q, i, r: [
            part.removesuffix(" .") if str(part).startswith("this") else part
            for part in naming(e, q, i, r)
        ],
        "comes last": sentence_last,
    },
    "frozen.rotate": {
        "here they are exchanged": lambda x, p, f: halved(
            x, p, f, lambda a, b, c, s: a * c + b * s
        ),
        "both of its terms": lambda x, p, f: halved(x, p, f, lambda a, b, c, s: a * s - b * c),
        "shifted by one": lambda x, p, f: turn(x, p + 1, f),
        "are interleaved": lambda x, p, f: torch.stack(turn(x, p, f).chunk(2, -1), -1).flatten(1),
        "expect radians": lambda x, p, f: turn(x, torch.deg2rad(p.float()), f),
    },
    "frozen.swap_examples": {
        "query stands among": lambda p: swapped(p, lambda a, b, c: [*b[1:], a[-1]]),
        "the same picture": lambda p: swapped(p, lambda a, b, c: [*b[:1] * (len(b) - 1), a[-1]]),
        "taken by their index": by_index,
        "no pictures any more": lambda p: swapped(
            p, lambda a, b, c: [*[None] * (len(b) - 1), a[-1]]
        ),
    },
    "frozen.word_hull": {
        "weigh alike": lambda v, w, m, s: (1 - m) * v + m * w.mean(0),
        "come from distances": lambda v, w, m, s: hull(
            v, w, m, s, lambda c: (-s * torch.cdist(v, w)).softmax(-1)
        ),
        "a sigmoid": lambda v, w, m, s: hull(v, w, m, s, lambda c: (s * c).sigmoid()),
    },
}
for name, answers in MORE.items():
    assert not set(WRONG[name]) & set(answers)
    WRONG[name] |= answers


def test_every_exercise_has_its_wrong_answers():
    assert set(WRONG) == {f"frozen.{name}" for name in EXERCISES}
    assert all(len(answers) >= 5 for answers in WRONG.values())


@pytest.mark.parametrize("id", WRONG)
def test_folded_solutions_pass_stubs_fail_politely_and_references_agree(id):
    stub, written = taught()[id]
    assert [message(id, written) for _ in range(5)] == [""] * 5
    assert message(id, EXERCISES[id.split(".")[1]].reference) == ""
    assert message(id, stub).startswith("not begun yet")


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(4):
        assert words in message(id, answer)


def test_the_stubs_parts_and_the_references_make_the_same_system():
    parts = {name: solution(f"frozen.{name}") for name in frozen_reference.PARTS}
    systems = [
        frozen_model.BuiltFrozen(SMOKE, frozen_model.language_model(SMOKE), given)
        for given in (parts, frozen_reference.PARTS)
    ]
    batch = frozen_model.captions(SMOKE, 8).batch(range(8))
    one, other = (system.losses(batch)["lm"] for system in systems)
    assert torch.allclose(one, other, atol=1e-5)
    one.backward()
    assert all(p.grad is None for p in systems[0].lm.parameters())
    assert systems[0].prefix.linear.weight.grad.abs().sum() > 0


def test_training_changes_the_encoder_alone_and_is_watched():
    model = frozen_model.BuiltFrozen(
        SMOKE, frozen_model.language_model(SMOKE), frozen_reference.PARTS
    )
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    steps = []
    watch = frozen_model.Watch(
        model, steps.append, frozen_reference.few_shot_prompt, frozen_reference.naming_prompt, 8, 2
    )
    frozen_model.train(model, frozen_model.captions(SMOKE, 32), 4, watch)
    changed = {name for name, t in model.state_dict().items() if not torch.equal(t, before[name])}
    assert changed and not any(name.startswith("lm.") for name in changed)
    assert len(steps) == 4 and all(list(rates) == [2, 4] for rates in watch.found.values())


def test_an_ending_changes_the_prefix_of_a_copy():
    model = recipes.get("frozen").train_or_load(SMOKE).model
    pixel_values = torch.rand(2, 3, SMOKE.image_size, SMOKE.image_size)
    with torch.no_grad():
        was = model.encode_prefix(pixel_values)
        doubled = frozen_model.with_ending(model, lambda v: 2 * v).encode_prefix(pixel_values)
        assert torch.allclose(doubled, 2 * was) and torch.equal(
            model.encode_prefix(pixel_values), was
        )


def test_a_backward_pass_reaches_all_vectors_and_only_a_language_model_that_is_not_frozen():
    model = recipes.get("frozen").train_or_load(SMOKE).model
    batch = caption_data(SMOKE).batch(range(4))
    prefix = model.encode_prefix(batch["pixel_values"]).unflatten(0, (-1, 2))
    not_frozen = deepcopy(model)
    not_frozen.lm.requires_grad_(True)
    vectors = len(prefix) * 2
    assert frozen_model.arrivals(model, batch, prefix) == (vectors, 0)
    reached, parameters = frozen_model.arrivals(not_frozen, batch, prefix)
    assert reached == vectors and parameters > 0


def test_guessing_is_what_a_loss_is_compared_with():
    assert abs(frozen_lab.guessing_loss() - (np.log(12) + np.log(8)) / 3) < 1e-9
    asked = frozen_model.questions("what", 0, 16)
    said = frozen_model.chance_words(asked)
    assert said.startswith(f"{1 / len(asked[0].choices):.2f} among all {len(asked[0].choices)}")


def test_the_verdicts_of_the_systems_are_those_of_the_directions():
    claims = {
        cells[3].split(",")[0]: cells[5]
        for cells in map(
            lambda row: [c.strip() for c in row.strip("|").split("|")],
            frozen_comparison.claims_table().splitlines(),
        )
    }
    for number, system in ((12, "smaller LM"), (13, "finetuned"), (14, "train-blind")):
        (direction,) = [one for one in directions() if one.number == number]
        assert claims[system] == f"**{direction.verdict}**"


def test_relative_positions_are_blind_to_a_shift_and_absolute_ones_are_not():
    for kind, same in (("relative", True), ("absolute", False)):
        lm = frozen_positions.language_model(kind, 0).eval()
        x = torch.randn(1, 6, language.width(lm), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            one, other = (
                lm(inputs_embeds=x, position_ids=shift + torch.arange(6)[None]).logits
                for shift in (0, 20)
            )
        assert torch.allclose(one, other, atol=1e-3) == same


def test_kept_runs_are_those_that_the_modules_make():
    lab = json.loads(frozen_lab.KEPT.read_text())
    assert set(lab) == set(frozen_lab.RUNS)
    for name in frozen_lab.SCORES:  # the healthy run is best
        assert max(run[name] for run in lab.values()) == lab["healthy"][name]
    moved = json.loads(frozen_positions.KEPT.read_text())
    assert set(moved) == set(frozen_positions.KINDS)
    assert all(len(rows) == frozen_positions.SEEDS for rows in moved.values())
    made = frozen_positions.runs(SMOKE)["relative"][0]
    assert {key: set(value) for key, value in made.items()} == {
        key: set(value) for key, value in moved["relative"][0].items()
    }
    assert set(frozen_lab.run("A", SMOKE, 2, 8)) == set(lab["A"])


def test_the_player_redraws_and_explains_an_unknown_word(monkeypatch):
    shown = displayed(monkeypatch)

    def after(number, text):
        if "zebrafish" in text:
            raise ValueError("unknown word 'zebrafish'")
        return {f"word {number}": 0.7, "dog": 0.2}

    frozen_figures.ask_player(after, np.zeros((3, 8, 8, 3), np.uint8), ["a picture of"])
    widget, static = shown[0]
    number, text, picture, said = widget.children
    before = picture.value
    number.value = 2
    assert picture.value != before and "word 2 0.70" in said.value
    assert "word 0 0.70" in static["text/plain"]
    text.value = "a zebrafish"
    assert "unknown word" in said.value


def test_chance_is_marked_on_each_bar_and_sentences_follow_the_numbers():
    shown = frozen_lab.shares({"healthy": dict.fromkeys(frozen_lab.SCORES, 0.9)}, "right")
    (axes,) = shown.axes
    marks = [
        line for line in axes.collections if line.get_label().startswith(("needs no", "_again"))
    ]
    assert len(marks) == len(frozen_lab.SCORES) and "Marks: needs no picture" in shown.description
    text = frozen_figures.about_hull({0.0: 0.5, 0.5: 0.75, 1.0: 0.625}, 1.0)
    assert "at m = 0.5: 0.75" in text and "m = 1: 0.62" in text and "part of what" in text
    assert "most of what" in frozen_figures.about_hull({0.0: 0.5, 1.0: 0.9}, 1.0)
    assert "isn't what is missing" in frozen_figures.about_hull({0.0: 0.5, 1.0: 0.5}, 1.0)
    drawn = frozen_figures.watched({"a": {1: 0.2, 2: 0.9}}, {"chance": 0.5})
    assert drawn.axes[0].get_ylim()[0] < 0 and "chance: 0.50" in drawn.description


def test_the_row_finetuned_answers_what_and_examples_are_within_noise():
    what = frozen_comparison.asked_what("finetuned").mean
    assert what > 0.9 and f"{what:.2f}" in frozen_comparison.finetuned_sentence()
    (shots,) = [row for row in frozen_comparison.claims_table().splitlines() if "four ex" in row]
    assert f"**within noise** | {frozen_comparison.REASONS['shots']}" in shots


def test_new_names_stand_beside_the_papers():
    claims = frozen_comparison.claims_table()
    assert "four names, 8 examples" in claims and "Table 3" in claims
    assert "4 shots" in frozen_comparison.table_2() and "1 shots" not in frozen_comparison.table_2()
    assert "train-blind" in frozen_comparison.below_constant()


def test_backgrounds_alone_are_a_rule_and_mislead_where_only_wrong_names_share_them():
    cat, dog = (
        world.pages.single_thing(word, "train", SeededRandom(word)) for word in ("cat", "dog")
    )
    pink, blue = replace(cat, background="pink"), replace(dog, background="blue")

    def asked(query, answer):
        prompt = (pink, "this is a dax .", blue, "this is a wug .", query, "this is a")
        return Episode(prompt, answer, ("dax", "wug"))

    right = asked(replace(cat, background="pink"), "dax")
    wrong = asked(replace(cat, background="blue"), "dax")
    neither = asked(replace(cat, background="green"), "dax")
    rates = [frozen_model.by_background([one]) for one in (right, wrong, neither)]
    assert rates == [1.0, 0.0, 0.5]
    assert frozen_model.misleading_backgrounds([right, wrong, neither]) == [wrong]
