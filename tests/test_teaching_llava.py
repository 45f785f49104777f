"""Lesson 14's exercises: the folded solutions pass, and each plausible mistake is named; its model, figures and kept runs."""

import json
import math

import numpy as np
import pytest
import torch
from exercise_answers import each, message, solution, taught
from torch import nn
from torch.nn.functional import gelu, logsigmoid

from teaching import (
    exercises,
    llava_codes,
    llava_counts,
    llava_lab,
    llava_model,
    llava_reference,
    llava_talk,
)
from teaching import llava_figures as figures
from teaching.llava import EXERCISES
from vlmcourse import recipes, world
from vlmcourse.recipes.llava import image_encoder, new_llava
from vlmcourse.training.scale import Scale

SMOKE = Scale.of("smoke")
PARTS = llava_reference.PARTS

IDS = [f"llava.{name}" for name in EXERCISES]

SELECT = {
    "one block too few is left out": lambda s, n, keep: s[-n] if keep else s[-n][:, 1:],
    "one block too many is left out": lambda s, n, keep: s[-n - 2] if keep else s[-n - 2][:, 1:],
    "counted from the front": lambda s, n, keep: s[n] if keep else s[n][:, 1:],
    "skip_blocks is not used": lambda s, n, keep: s[-1] if keep else s[-1][:, 1:],
    "may be another number": lambda s, n, keep: s[-2] if keep else s[-2][:, 1:],
    "always dropped": lambda s, n, keep: s[-1 - n][:, 1:],
    "still there": lambda s, n, keep: s[-1 - n],
    "the other way round": lambda s, n, keep: s[-1 - n][:, 1:] if keep else s[-1 - n],
    "the last patch is dropped": lambda s, n, keep: s[-1 - n] if keep else s[-1 - n][:, :-1],
    "first picture of the batch": lambda s, n, keep: s[-1 - n] if keep else s[-1 - n][1:],
    "found None": lambda s, n, keep: None,
}


def module(layers, forward):
    """A class as the student would write it. layers: (C, D) -> modules."""

    class Written(nn.Module):
        def __init__(self, C, D):
            super().__init__()
            self.layers = nn.ModuleList(layers(C, D))

    Written.forward = forward
    return Written


def two(C, D):
    return [nn.Linear(C, D), nn.Linear(D, D)]


PROJECTOR = {
    "no activation": module(two, lambda self, x: self.layers[1](self.layers[0](x))),
    "is a ReLU": module(two, lambda self, x: self.layers[1](self.layers[0](x).relu())),
    "is tanh": module(two, lambda self, x: self.layers[1](self.layers[0](x).tanh())),
    "approximation by tanh": module(
        two, lambda self, x: self.layers[1](gelu(self.layers[0](x), approximate="tanh"))
    ),
    "after the second layer, too": module(
        two, lambda self, x: gelu(self.layers[1](gelu(self.layers[0](x))))
    ),
    "it stands between the layers": module(
        two, lambda self, x: gelu(self.layers[1](self.layers[0](x)))
    ),
    "one linear layer": module(lambda C, D: [nn.Linear(C, D)], lambda self, x: self.layers[0](x)),
    "a bias is missing": module(
        lambda C, D: [nn.Linear(C, D, bias=False), nn.Linear(D, D)],
        lambda self, x: self.layers[1](gelu(self.layers[0](x))),
    ),
    "other sizes": module(
        lambda C, D: [nn.Linear(C, C), nn.Linear(C, D)],
        lambda self, x: self.layers[1](gelu(self.layers[0](x))),
    ),
    "other learnt parts": module(
        lambda C, D: [*two(C, D), nn.LayerNorm(D)],
        lambda self, x: self.layers[2](self.layers[1](gelu(self.layers[0](x)))),
    ),
    "no gradient": module(two, lambda self, x: self.layers[1](gelu(self.layers[0](x))).detach()),
    "averaged": module(two, lambda self, x: self.layers[1](gelu(self.layers[0](x.mean(1))))),
    "no torch.nn.Linear": module(lambda C, D: [], lambda self, x: x),
}


def put(words, ids, image_id, pictures, change=lambda rows, own: rows):
    pieces, start = [], 0
    for place, rows in zip((ids == image_id).nonzero().flatten().tolist(), pictures):
        pieces += [words[start:place], change(rows, words[place : place + 1])]
        start = place + 1
    return torch.cat([*pieces, words[start:]])


def put_again(words, ids, image_id, pictures, moved):
    """Each picture alone, at the placeholder's place in the text as it was, or as it is but not moved far enough."""
    for number, rows in enumerate(pictures):
        place = int((ids == image_id).nonzero()[number]) + number * moved * len(rows)
        words = torch.cat([words[:place], rows, words[place + 1 :]])
    return words


def put_into_original(words, ids, image_id, pictures):
    """Each picture into the words as they were, so that only the last one is left."""
    for place, rows in zip((ids == image_id).nonzero().flatten().tolist(), pictures):
        out = torch.cat([words[:place], rows, words[place + 1 :]])
    return out


INSERT = {
    "stands further behind": lambda *a: put_again(*a, 0),
    "is longer and the second": lambda *a: put_again(*a, 1),
    "own row is still there": lambda *a: put(*a, lambda rows, own: torch.cat([own, rows])),
    "the pictures are exchanged": lambda w, i, t, p: put(w, i, t, p[::-1]),
    "gets the first picture": lambda w, i, t, p: put(w, i, t, [p[0], p[0]]),
    "only the first picture": lambda w, i, t, p: put(w, i, t, p[:1]),
    "only the last picture is in": put_into_original,
    "in reverse order": lambda *a: put(*a, lambda rows, own: rows.flip(0)),
    "one averaged vector": lambda *a: put(*a, lambda rows, own: rows.mean(0, keepdim=True)),
    "first patch alone": lambda *a: put(*a, lambda rows, own: rows[:1]),
    "before the text": lambda w, i, t, p: torch.cat([*p, w[i != t]]),
    "after the text": lambda w, i, t, p: torch.cat([w[i != t], *p]),
    "nothing was put in": lambda w, i, t, p: w,
    "the pictures get no gradient": lambda w, i, t, p: put(w, i, t, [one.detach() for one in p]),
    "the words get no gradient": lambda w, i, t, p: put(w.detach(), i, t, p),
    "nothing gets a gradient": lambda *a: put(*a).detach(),
    "right for two pictures": lambda w, i, t, p: put(w, i, t, [p[0], p[1]] if len(p) == 2 else []),
    "found None": lambda *a: None,
}


def text(turns, question, first="<image> .", form="question : {} answer : {} .", end=None):
    end = end or f"question : {question} answer :"
    return " ".join(filter(None, [first, *(form.format(*turn) for turn in turns), end]))


CHAT = {
    "placeholder of the picture is missing": lambda t, q: text(t, q, first=""),
    "full stop after the placeholder": lambda t, q: text(t, q, first="<image>"),
    "repeated in each turn": lambda t, q: text(
        t, f"{q}", "", "<image> . question : {} answer : {} .", f"<image> . question : {q} answer :"
    ),
    "full stops after the answers are missing": lambda t, q: text(
        t, q, form="question : {} answer : {}"
    ),
    "full stops need a space": lambda t, q: text(t, q, form="question : {} answer : {}."),
    "colons need a space": lambda t, q: text(
        t, q, form="question: {} answer: {} .", end=f"question: {q} answer:"
    ),
    "exchanged in the turns": lambda t, q: text(t, q, form="question : {1} answer : {0} ."),
    "'it' could not be understood": lambda t, q: text([], q),
    "only the last turn": lambda t, q: text(t[-1:], q),
    "in reverse order": lambda t, q: text(t[::-1], q),
    "lacks 'answer :'": lambda t, q: text(t, q, end=f"question : {q}"),
    "ends with a full stop": lambda t, q: text(t, q, end=f"question : {q} answer : ."),
    "ends with a space": lambda t, q: text(t, q) + " ",
    "your code raises IndexError": lambda t, q: text([t[0], *t[1:]], q),
    "two spaces stand side by side": lambda t, q: " ".join(
        ["<image> .", text(t, q, first="", end=" ")[:-2], f"question : {q} answer :"]
    ),
    "a new chat has no earlier turns: expected": lambda t, q: text(t, q, end=None if t else q),
    "found None": lambda t, q: None,
}


def scored(words, first=0, last=1, opening="answer", only=None):
    """True from `first` words after 'answer :' to the full stop (last: 1 with it, 0 without)."""
    mask, answers = [False] * len(words), []
    for i, word in enumerate(words):
        if word == ":" and words[i - 1] == opening:
            answers.append((i + 1, words.index(".", i)))
    for start, stop in answers if only is None else [answers[only]]:
        for place in range(start + first, stop + last):
            mask[place] = True
    return mask


MASK = {
    "upside down": lambda w: [not one for one in scored(w)],
    "the questions are scored": lambda w: [
        i >= w.index("question") and word != "<pad>" for i, word in enumerate(w)
    ],
    "everything is scored": lambda w: [word not in ("<bos>", "<pad>") for word in w],
    "full stops of the answers are not": lambda w: scored(w, last=0),
    "the colon before": lambda w: scored(w, first=-1),
    "the first word of each": lambda w: scored(w, first=1),
    "only the first answer": lambda w: scored(w, only=0),
    "only the last answer": lambda w: scored(w, only=-1),
    "everything after the first": lambda w: [
        i > w.index("answer") + 1 and word != "<pad>" for i, word in enumerate(w)
    ],
    "shifted by one": lambda w: [*scored(w)[1:], False],
    "only the ':' after 'answer'": lambda w: [
        any(x == ":" and "." not in w[k + 1 : i] for k, x in enumerate(w[:i]))
        for i in range(len(w))
    ],
    "that is a tensor": lambda w: torch.tensor(scored(w)),
    "nothing is scored": lambda w: [False] * len(w),
    "booleans": lambda w: [int(one) for one in scored(w)],
    "entries for": lambda w: scored(w)[:-1],
    "found None": lambda w: None,
}


def stages(first, second, returned=None, only_off=(), only_on=()):
    """choose_trained, which trains these parts. returned: (trained parts, all parts) -> number.

    only_off, only_on  parts that are never set to True, or never to False
    """

    def choose(vision, projector, lm, stage):
        parts = {"vision": vision, "projector": projector, "lm": lm}
        trained = [parts[name] for name in (first if stage == 1 else second)]
        for name, part in parts.items():
            if name not in (only_off if part in trained else only_on):
                part.requires_grad_(part in trained)
        count = returned or (lambda some, every: sum(p.numel() for one in some for p in one.parameters()))  # fmt: skip
        return count(trained, [*parts.values()])

    return choose


P, PL = ("projector",), ("projector", "lm")
STAGES = {
    "two stages are exchanged": stages(PL, P),
    "the image encoder is trained in stage 2": stages(P, ("vision", *PL)),
    "everything is trained": stages(("vision", *PL), ("vision", *PL)),
    "the projector is frozen in stage 2": stages(P, ("lm",)),
    "both stages train the projector alone": stages(P, P),
    "both stages train projector and language": stages(PL, PL),
    "not None": stages(P, PL, lambda some, every: None),
    "numbers of all parts": stages(
        P, PL, lambda some, every: sum(p.numel() for one in every for p in one.parameters())
    ),
    "you count tensors": stages(
        P, PL, lambda some, every: sum(1 for one in some for p in one.parameters())
    ),
    "depends on what was set before": stages(P, PL, only_off=PL),
    "the projector stays as it was": stages(P, PL, only_off=P),
    "the image encoder stays as it was": stages(P, PL, only_on=("vision", "lm")),
    "the language model stays as it was": stages(P, PL, only_off=("lm",)),
}


def spoken(things, background, where=None, count=None, turn=None):
    where = where or (lambda x, y: ("top" if y < 0.5 else "bottom") + (" left" if x < 0.5 else " right"))  # fmt: skip
    count = count or (lambda n: llava_reference.NUMBERS[n])
    turn = turn or (lambda word, place: (f"what is the thing in the {place} ?", word))
    return [
        ("how many things are there ?", count(len(things))),
        *(turn(word, where(x, y)) for word, x, y in things),
        ("what colour is the background ?", background),
    ]


DIALOGUE = {
    "top and bottom are exchanged": lambda t, b: spoken(t, b, lambda x, y: ("bottom" if y < 0.5 else "top") + (" left" if x < 0.5 else " right")),
    "left and right are exchanged": lambda t, b: spoken(t, b, lambda x, y: ("top" if y < 0.5 else "bottom") + (" right" if x < 0.5 else " left")),
    "x and y are exchanged": lambda t, b: spoken([(w, y, x) for w, x, y in t], b),
    "wrong order: 'top left'": lambda t, b: spoken(t, b, lambda x, y: ("left " if x < 0.5 else "right ") + ("top" if y < 0.5 else "bottom")),
    "is a digit": lambda t, b: spoken(t, b, count=str),
    "off by one": lambda t, b: spoken(t, b, count=lambda n: llava_reference.NUMBERS[n - 1]),
    "the question how many is missing": lambda t, b: spoken(t, b)[1:],
    "has a question of its own": lambda t, b: spoken(t, b)[:-1],
    "asked the other way round": lambda t, b: spoken(t, b, turn=lambda w, p: (f"where is the {w} ?", p)),
    "question and answer are exchanged": lambda t, b: [(a, q) for q, a in spoken(t, b)],
    "the question marks are missing": lambda t, b: [(q.removesuffix(" ?"), a) for q, a in spoken(t, b)],
    "one flat list": lambda t, b: [part for turn in spoken(t, b) for part in turn],
    "expected (": lambda t, b: [(q.upper(), a) for q, a in spoken(t, b)],
    "found None": lambda t, b: None,
}  # fmt: skip


def shares(kinds, answers, right, mean=None, share=None):
    hits = {kind: [a == r for k, a, r in zip(kinds, answers, right) if k == kind] for kind in kinds}
    found = {kind: (share or (lambda one: sum(one) / len(one)))(one) for kind, one in hits.items()}
    return found | {"mean": (mean or (lambda f: sum(f.values()) / len(f)))(found)}


SCORES = {
    "the mean is over questions": lambda k, a, r: shares(
        k, a, r, lambda f: sum(x == y for x, y in zip(a, r)) / len(k)
    ),
    "the mean is a sum": lambda k, a, r: shares(k, a, r, lambda f: sum(f.values())),
    "numbers of right answers": lambda k, a, r: shares(k, a, r, share=sum),
    "divided by the number of all": lambda k, a, r: shares(
        k, a, r, share=lambda one: sum(one) / len(k)
    ),
    "wrong answers": lambda k, a, r: shares(k, a, r, share=lambda one: 1 - sum(one) / len(one)),
    "percentages": lambda k, a, r: shares(k, a, r, share=lambda one: 100 * sum(one) / len(one)),
    "only a part of the right one": lambda k, a, r: shares(
        k, [y if x in y else x for x, y in zip(a, r)], r
    ),
    "only contains the right one": lambda k, a, r: shares(
        k, [y if y in x else x for x, y in zip(a, r)], r
    ),
    "every answer counts as right": lambda k, a, r: shares(k, r, r),
    "'mean' is missing": lambda k, a, r: {
        kind: share for kind, share in shares(k, a, r).items() if kind != "mean"
    },
    "only the mean": lambda k, a, r: {"mean": shares(k, a, r)["mean"]},
    "found None": lambda k, a, r: None,
}


def pairs(i, x, t, b, signs=None, end=lambda terms: terms.sum() / len(terms)):
    z = 2 * torch.eye(len(i)) - 1 if signs is None else signs(torch.eye(len(i)))
    return end(-logsigmoid(z * (t * i @ x.T + b)))


LOSS = {
    "divided by all pairs": lambda *a: pairs(*a, end=lambda terms: terms.mean()),
    "not divided by N": lambda *a: pairs(*a, end=lambda terms: terms.sum()),
    "only the matching pairs": lambda *a: pairs(*a, end=lambda terms: terms.diagonal().mean()),
    "treated as matching": lambda *a: pairs(*a, signs=torch.ones_like),
    "the signs are exchanged": lambda *a: pairs(*a, signs=lambda same: 1 - 2 * same),
    "sign 0 instead": lambda *a: pairs(*a, signs=lambda same: same),
    "CLIP's loss": lambda i, x, t, b: (
        (
            nn.functional.cross_entropy(t * i @ x.T, torch.arange(len(i)))
            + nn.functional.cross_entropy(t * x @ i.T, torch.arange(len(i)))
        )
        / 2
    ),
    "negative": lambda *a: -pairs(*a),
    "b is missing": lambda i, x, t, b: pairs(i, x, t, 0),
    "b is subtracted": lambda i, x, t, b: pairs(i, x, t, -b),
    "t is missing": lambda i, x, t, b: pairs(i, x, 1, b),
    "divided by t": lambda i, x, t, b: pairs(i, x, 1 / t, b),
    "nothing gets a gradient": lambda *a: pairs(*a).detach(),
}


def tokens(h, w, tile, patch, latents=None, overview=1, whole=math.ceil):
    tiles = whole(h / tile) * whole(w / tile)
    return (tiles + overview * (tiles > 1)) * (latents or (tile // patch) ** 2)


TOKENS = {
    "the overview is missing": lambda *a: tokens(*a, overview=0),
    "to a single tile, too": lambda h, w, t, p, r=None: (
        (-(-h // t) * -(-w // t) + 1) * (r or (t // p) ** 2)
    ),
    "rounded down": lambda *a: tokens(*a, whole=math.floor),
    "rounded to the nearest": lambda *a: tokens(*a, whole=round),
    "doesn't pass through the resampler": lambda h, w, t, p, r=None: (
        tokens(h, w, t, p, r, overview=0) + (-(-h // t) * -(-w // t) > 1) * (t // p) ** 2
    ),
    "square it": lambda h, w, t, p, r=None: tokens(h, w, t, p, r or t // p),
    "class token is counted": lambda h, w, t, p, r=None: tokens(h, w, t, p, r or (t // p) ** 2 + 1),
    "latents is not used": lambda h, w, t, p, r=None: tokens(h, w, t, p),
    "for the whole picture": lambda h, w, t, p, r=None: r or tokens(h, w, t, p),
    "the number of tiles": lambda h, w, t, p, r=None: tokens(h, w, t, p, 1),
}


def distance(x, c):
    return torch.cdist(x, c)


CODES = {
    "`first_id` is not added": lambda x, c, n: distance(x, c).argmin(1),
    "the farthest": lambda x, c, n: distance(x, c).argmax(1) + n,
    "axes are exchanged": lambda x, c, n: distance(x, c).argmin(0) + n,
    "largest inner product": lambda x, c, n: (x @ c.T).argmax(1) + n,
    "codes' vectors": lambda x, c, n: c[distance(x, c).argmin(1)],
    "`first_id` is subtracted": lambda x, c, n: distance(x, c).argmin(1) - n,
    "one code for the whole picture": lambda x, c, n: distance(x, c).square().sum(0).argmin() + n,
    "found None": lambda x, c, n: None,
}

WRONG = {
    "llava.select_features": SELECT,
    "llava.Projector": PROJECTOR,
    "llava.insert_patches": INSERT,
    "llava.chat_text": CHAT,
    "llava.answer_mask": MASK,
    "llava.choose_trained": STAGES,
    "llava.write_dialogue": DIALOGUE,
    "llava.accuracy_by_kind": SCORES,
    "llava.sigmoid_loss": LOSS,
    "llava.visual_tokens": TOKENS,
    "llava.picture_tokens": CODES,
}


@pytest.mark.parametrize("id", IDS)
def test_the_reference_passes_and_is_what_later_cells_use(id):
    assert message(id, exercises.exercise(id).reference) == ""


@pytest.mark.parametrize("id", IDS)
def test_folded_solution_passes_and_the_stub_is_answered_politely(id):
    stub, _ = taught()[id]
    assert message(id, solution(id)) == ""
    assert message(id, stub).startswith("not begun yet")


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    said = message(id, answer)
    assert words in said, said


def test_each_exercise_has_five_wrong_answers():
    assert set(WRONG) == set(IDS)
    assert all(len(answers) >= 5 for answers in WRONG.values())


# What the lesson runs.


@pytest.fixture(scope="module")
def built():
    return llava_model.BuiltLLaVA(SMOKE, PARTS)


def test_the_built_system_computes_what_the_package_does(built):
    package = new_llava(image_encoder(built.vision), built.lm, projector=built.projector)
    package.vision.norm = None
    pixels = world.to_pixels(
        np.stack([world.render(s, built.size) for s in built_scenes(built, 2)])
    )
    ids = torch.tensor([[1, built.image_id, 9, 12, 7], [1, built.image_id, 8, 10, 11]])
    features = built.features(pixels)
    P = features.shape[1]
    long = torch.cat([ids[:, :1], ids[:, 1:2].expand(-1, P), ids[:, 2:]], 1)
    with torch.no_grad():
        wanted = package(long, **package.vision_context(pixels))
        torch.testing.assert_close(built(ids, features=features), wanted, atol=1e-4, rtol=1e-4)


def built_scenes(built, count):
    return llava_model.scenes_of(built.size, count)


def test_the_built_system_is_scored_at_answers_only(built):
    data = llava_model.Talks(built, built_scenes(built, 3), llava_model.captions)
    batch = data.batch([0, 2])
    whole = built.losses(batch)["lm"].item()
    first, second = (
        built.losses({k: v[i : i + 1] for k, v in batch.items()})["lm"] for i in (0, 1)
    )
    counts = batch["loss_mask"].sum(1)
    assert whole == pytest.approx(
        float((counts * torch.stack([first, second])).sum().detach() / counts.sum())
    )
    changed = batch["ids"].clone()
    changed[:, -1] = 5  # the last full stop of the longer dialogue is scored
    assert built.losses(batch | {"ids": changed})["lm"].item() != pytest.approx(whole)


def test_training_moves_what_the_stage_says(built):
    before = [one.clone() for one in built.lm.parameters()]
    data = llava_model.Talks(built, built_scenes(built, 4), llava_model.captions)
    llava_model.train(built, 1, data, 2)
    assert all(map(torch.equal, before, built.lm.parameters()))
    llava_model.train(built, 2, data, 2)
    assert not all(map(torch.equal, before, built.lm.parameters()))


def test_guessing_is_the_share_of_the_most_frequent_answer():
    found = llava_model.report_of_guessing(64, PARTS, 40, llava_reference.accuracy_by_kind)
    counts = [len(scene.things) for scene in llava_model.scenes_of(64, 40, "test")]
    assert found["how many"] == max(map(counts.count, counts)) / 40


def test_the_share_of_next_pictures_with_the_same_number_is_what_seeing_numbers_would_get(
    monkeypatch,
):
    def numbers(model, asked, max_new_tokens):
        return [llava_reference.NUMBERS[len(scene.things)] for scene, _ in asked.pages]

    monkeypatch.setattr(llava_model, "generate_sentences", numbers)
    model = type("Model", (), {"parts": PARTS, "size": 64})
    found = llava_model.report(model, 30, llava_reference.accuracy_by_kind, exchanged=True)
    assert 0 < found["how many"] < 1
    assert llava_model.same_number(64, 30) == pytest.approx(found["how many"])


def test_chance_is_a_mark_and_no_bar():
    found = {"what": {"LLaVA": 0.9, "chance": 0.2}, "colour": {"LLaVA": 0.4, "chance": 0.3}}
    (axes,) = figures.same_figure(found).axes
    marks = [part.get_segments()[0][0][0] for part in axes.collections]
    assert marks == [0.2, 0.3] and len(axes.patches) == 2
    (axes,) = figures.share_bars(dict.fromkeys("AB", {"all": 0.5}), dict.fromkeys("AB", 0.29)).axes
    assert any("(0.29)" in text.get_text() for text in axes.get_legend().get_texts())


def test_counts_are_split_by_what_is_asked(monkeypatch):
    def all_words(model, pages, tokens=16):  # of a picture, or a number
        return ["two" if "how many" in text else " ".join(scene.words) for scene, text in pages]

    monkeypatch.setattr(llava_counts, "write", all_words)
    table = llava_counts.counts_table(None, SMOKE, 12)
    one, two = (line.split(" | ") for line in table.splitlines() if "description" in line)
    for right, of in (one[1].split(" of "), two[1].split(" of ")):
        assert right == of != "0"
    assert two[2].startswith("0 of ") and table.endswith("two (12).")
    colours = [line for line in table.splitlines() if "colour" in line]
    assert sum(int(line.split(" | ")[1].split(" of ")[1]) for line in colours) == 12


def test_the_healthy_run_is_best_and_each_fault_leaves_its_trace():
    kept = json.loads(llava_lab.KEPT.read_text())
    score, loss, texts = llava_lab.SCORE, "training loss", "loss on texts without pictures"
    assert set(kept) == {"healthy", "A", "B", "C"}
    assert all(kept["healthy"][score] > kept[one][score] + 0.05 for one in "ABC")
    assert kept["B"][loss] == min(run[loss] for run in kept.values()) < 0.01
    assert kept["A"][loss] > kept["healthy"][loss] + 0.1
    lm = recipes.get("language").train_or_load(Scale.of("laptop")).model.lm
    assert kept["C"][texts] == pytest.approx(llava_lab.loss_on_texts(lm), abs=0.01)
    assert all(kept[one][texts] > kept["C"][texts] + 0.5 for one in ("healthy", "A", "B"))


def test_a_chat_sends_what_was_said_before(monkeypatch):
    sent, replies = [], iter(["cat", "animal"])
    monkeypatch.setattr(llava_talk, "write", lambda m, pages: sent.append(pages[0][1]) or [next(replies)])  # fmt: skip
    turns = llava_talk.talk(None, None, ["what ?", "why ?"], llava_reference.chat_text)
    assert turns == [("what ?", "cat"), ("why ?", "animal")]
    assert sent[1] == "question : what ? answer : cat . question : why ? answer :"


def test_the_chats_right_answers_are_those_of_the_scene():
    scene = figures.scenes(SMOKE, 1, (1, 1))[0]
    table = llava_talk.chat_table([(q, "?") for q in llava_talk.ABOUT_ONE_THING], scene)
    thing = scene.things[0]
    for right in (thing.word, thing.noun.category, thing.noun.place, scene.background, "one"):
        assert f"| ? | {right} |" in table


def test_pictures_come_back_from_their_patches_and_better_from_more_codes():
    images = np.stack([world.render(scene, 64) for scene in llava_model.scenes_of(64, 4)])
    patches = llava_codes.patches_of(images)
    assert (llava_codes.painted(patches, 64) == images).all()
    errors = []
    for codes in (2, 16, 64):
        book = llava_codes.codebook(patches.flatten(0, 1), codes)
        ids = llava_reference.picture_tokens(patches[0], book, 100) - 100
        errors.append((book[ids] - patches[0]).square().mean().item())
    assert errors[0] > errors[1] > errors[2]
