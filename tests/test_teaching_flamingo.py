"""Lesson 11's exercises on Flamingo: right answers pass, and each plausible mistake is named."""

from functools import partial

import pytest
import torch
from exercise_answers import each, message, solution, taught
from torch import nn

from teaching import (
    flamingo_figures,
    flamingo_lab,
    flamingo_measures,
    flamingo_model,
    flamingo_tables,
)
from teaching.flamingo import EXERCISES
from teaching.flamingo_reference import PARTS
from vlmcourse.training.scale import Scale


def resample(
    r, f, time=None, kv=None, q=None, layers=None, first=True, dense=True, last=True, end=True
):
    M, T, S, C = f.shape
    x_f = (f + r.time_embeddings[:T, None] if time is None else time(r, f)).flatten(1, 2)
    x = r.latents.expand(M, -1, -1)
    for layer in list(r.layers) if layers is None else layers(list(r.layers)):
        query = layer.norm_latents(x) if q is None else q(layer, x)
        keys = torch.cat([layer.norm_features(x_f), query], 1)
        found = layer.attention(query, keys if kv is None else kv(layer, x_f, x, query))
        x = x + found if first else found
        if dense:
            y = layer.feedforward(layer.norm(x))
            x = x + y if last else y
    return r.norm(x) if end else x


def each_frame(r, f):
    M, T = f.shape[:2]
    found = resample(r, f.flatten(0, 1)[:, None], time=lambda r, f: f)
    return found.unflatten(0, (M, T))


RESAMPLE = {
    "Did you forget the return?": lambda *args: None,
    "time embeddings are missing": partial(resample, time=lambda r, f: f),
    "gets the first time embedding": partial(resample, time=lambda r, f: f + r.time_embeddings[0]),
    "the last time embeddings": partial(
        resample, time=lambda r, f: f + r.time_embeddings[-f.shape[1] :, None]
    ),
    "first layer's `norm_features`": lambda r, f: resample(
        r,
        f,
        kv=lambda layer, x_f, x, q: torch.cat([r.layers[0].norm_features(x_f), q], 1),
    ),
    "they belong to frames": partial(
        resample, time=lambda r, f: f + r.time_embeddings[: len(f), None, None]
    ),
    "frames are averaged": partial(
        resample,
        time=lambda r, f: (f + r.time_embeddings[: f.shape[1], None]).mean(1, keepdim=True),
    ),
    "only the first frame": partial(
        resample, time=lambda r, f: (f + r.time_embeddings[: f.shape[1], None])[:, :1]
    ),
    "of the features alone": partial(
        resample, kv=lambda layer, x_f, x, q: layer.norm_features(x_f)
    ),
    "of the latents alone": partial(resample, kv=lambda layer, x_f, x, q: q),
    "must have gone through `norm_latents`": partial(
        resample, kv=lambda layer, x_f, x, q: torch.cat([layer.norm_features(x_f), x], 1)
    ),
    "not `norm_features`": partial(
        resample, kv=lambda layer, x_f, x, q: layer.norm_features(torch.cat([x_f, x], 1))
    ),
    "features don't go through": partial(
        resample, kv=lambda layer, x_f, x, q: torch.cat([x_f, q], 1)
    ),
    "attention's residual is missing": partial(resample, first=False),
    "network is missing": partial(resample, dense=False),
    "network's residual is missing": partial(resample, last=False),
    "last LayerNorm": partial(resample, end=False),
    "only the first layer": partial(resample, layers=lambda all: all[:1]),
    "only the last layer": partial(resample, layers=lambda all: all[-1:]),
    "reverse order": partial(resample, layers=lambda all: all[::-1]),
    "each frame has latents": each_frame,
    "one row": lambda r, f: resample(r, f)[:1],
    "no gradient arrives": lambda r, f: resample(r, f.detach()),
}


class Block(nn.Module):
    """The right answer, with switches."""

    def __init__(self, read, think, start=0.0, names=("alpha_xattn", "alpha_dense"), learn=True):
        super().__init__()
        self.read, self.think, self.names = read, think, names
        for name in names:
            self.register_parameter(name, nn.Parameter(torch.tensor(start), requires_grad=learn))

    def gates(self):
        return [getattr(self, name).tanh() for name in self.names]

    def forward(self, y, latents, mask):
        a, b = self.gates()
        y = y + a * self.read(y, latents, mask)
        return y + b * self.think(y)


def block(forward=None, gates=None):
    """Block with another forward(self, y, latents, mask), or other gates(self)."""
    return type("Other", (Block,), {
        name: made for name, made in (("forward", forward), ("gates", gates)) if made
    })  # fmt: skip


def alphas(change):
    return lambda self: [change(getattr(self, name)) for name in self.names]


def in_place(self, y, latents, mask):
    a, b = self.gates()
    y += 0.1 + a * self.read(y, latents, mask)
    return y + b * self.think(y)


def two(first, second):
    """forward that is `second` of `first`: functions of (self, y, read, a, b)"""

    def forward(self, y, latents, mask):
        a, b = self.gates()
        read = partial(self.read, latents=latents, mask=mask)
        return second(self, first(self, y, read, a, b), read, a, b)

    return block(forward)


def add_read(self, y, read, a, b):
    return y + a * read(y)


def add_think(self, y, read, a, b):
    return y + b * self.think(y)


class Wide(Block):
    def __init__(self, read, think):
        super().__init__(read, think)
        self.alpha_xattn = nn.Parameter(torch.zeros(4))


class Extra(Block):
    def __init__(self, read, think):
        super().__init__(read, think)
        self.norm = nn.LayerNorm(4)


BLOCK = {
    "Did you forget the return?": block(lambda self, *args: None),
    "needs two parameters": partial(Block, names=("alpha", "beta")),
    "each gate is a single number": Wide,
    "the module trains": Extra,
    "the alphas themselves": block(gates=alphas(lambda x: x)),
    "half open at the start": block(gates=alphas(torch.sigmoid)),
    "without their gates": block(gates=alphas(lambda x: 1 + 0 * x)),
    "the alphas start at 1": partial(Block, start=1.0),
    "gates are not trained": partial(Block, learn=False),
    "are exchanged": partial(Block, names=("alpha_dense", "alpha_xattn")),
    "both outputs have the same gate": block(gates=lambda self: [self.alpha_xattn.tanh()] * 2),
    "from before the attention": block(
        lambda self, y, z, m: (
            y + self.gates()[0] * self.read(y, z, m) + self.gates()[1] * self.think(y)
        )
    ),
    "second sum starts from the old y": block(
        lambda self, y, z, m: (
            y + self.gates()[1] * self.think(y + self.gates()[0] * self.read(y, z, m))
        )
    ),
    "comes first; the attention does": two(add_think, add_read),
    "multiplies the residual, too": two(
        lambda self, y, read, a, b: a * (y + read(y)),
        lambda self, y, read, a, b: b * (y + self.think(y)),
    ),
    "the first residual is missing": two(lambda self, y, read, a, b: a * read(y), add_think),
    "the second residual is missing": two(add_read, lambda self, y, read, a, b: b * self.think(y)),
    "feed-forward network is missing": two(add_read, lambda self, y, *args: y),
    "gated attention is missing": two(add_think, lambda self, y, *args: y),
    "mask is not given": block(lambda self, y, z, m: Block.forward(self, y, z, torch.ones_like(m))),
    "y itself was changed": block(in_place),
}


def run(layers, blocks, every, y, z, m, here=None, which=None, after=False, old=False):
    here = (lambda n: n % every == 0) if here is None else partial(here, every=every)
    which = (lambda n: n // every) if which is None else partial(which, every=every)
    start = y
    for n, layer in enumerate(layers):
        if after:
            y = layer(y)
        if here(n):
            y = blocks[which(n)](start if old else y, z, m)
        if not after:
            y = layer(y)
    return y


def whole_groups(layers, blocks, every, y, z, m):
    for number in range(len(layers) // every):
        y = blocks[number](y, z, m)
        for layer in layers[number * every : (number + 1) * every]:
            y = layer(y)
    return y


def rest_without_block(layers, blocks, every, y, z, m):
    y = whole_groups(layers, blocks, every, y, z, m)
    for layer in layers[len(layers) // every * every :]:
        y = layer(y)
    return y


def before_all(layers, blocks, every, y, z, m):
    for block in blocks:
        y = block(y, z, m)
    for layer in layers:
        y = layer(y)
    return y


LAYERS = {
    "Did you forget the return?": lambda *args: None,
    "stand after their layer": partial(run, after=True),
    "before the last layer of its group": partial(run, here=lambda n, every: (n + 1) % every == 0),
    "before every layer": partial(run, here=lambda n, every: True),
    "only the first block is used": partial(run, here=lambda n, every: n == 0),
    "all blocks stand before the first layer": before_all,
    "the first layer has no block": partial(run, here=lambda n, every: n and n % every == 0),
    "the last layers are not run": whole_groups,
    "the last group, which may be smaller": rest_without_block,
    "blocks are not used": partial(run, here=lambda n, every: False),
    "the same block is used": partial(run, which=lambda n, every: 0),
    "in reverse order": partial(run, which=lambda n, every: -1 - n // every),
    "reads the y that came first": partial(run, old=True),
    "mask is not given": lambda layers, b, e, y, z, m: run(layers, b, e, y, z, torch.ones_like(m)),
    "your code raised IndexError": partial(run, which=lambda n, every: n),
}


def mask(ids, tag, N, R, phi=None, numbers=None, compare=torch.eq):
    phi = (ids == tag).long().cumsum(1) if phi is None else phi(ids == tag)
    numbers = torch.arange(1, N + 1).repeat_interleave(R) if numbers is None else numbers(N, R)
    return compare(phi[..., None], numbers)


MASK = {
    "Did you forget the return?": lambda *args: None,
    "A mask is booleans": lambda *args: mask(*args).long(),
    "all images so far": partial(mask, compare=torch.ge),
    "upside down": partial(mask, compare=torch.ne),
    "they attend to none": partial(mask, phi=lambda x: x.long().cumsum(1).clamp(min=1)),
    "numbered from 0": partial(mask, numbers=lambda N, R: torch.arange(N).repeat_interleave(R)),
    "doesn't attend to its own": partial(mask, phi=lambda x: x.long().cumsum(1) - x.long()),
    "only image tokens attend": lambda ids, tag, *rest: (
        mask(ids, tag, *rest) & (ids == tag)[..., None]
    ),
    "over the whole batch": partial(
        mask, phi=lambda x: x.flatten().long().cumsum(0).reshape(x.shape)
    ),
    "from text to text": partial(mask, phi=lambda x: x.long().cumsum(0)),
    "from the end of the text": partial(mask, phi=lambda x: x.flip(1).long().cumsum(1).flip(1)),
    "over and over": partial(mask, numbers=lambda N, R: torch.arange(1, N + 1).repeat(R)),
    "a column for each image": lambda ids, tag, N, R: mask(ids, tag, N, 1),
    "rows and columns are exchanged": lambda *args: mask(*args).mT,
    "join them": lambda ids, tag, N, R: mask(ids, tag, N, R).unflatten(-1, (N, R)),
}


def page(parts, tag, end, before=lambda pieces: bool(pieces), last=True, space=" ", after=False):
    pieces, pictures = [], []
    for part in parts:
        if isinstance(part, str):
            pieces.append(part)
            pieces += [end] * after
            continue
        pieces += [end] * before(pieces)
        pieces.append(tag)
        pictures.append(part)
    return space.join(pieces + [end] * last), pictures


PAGE = {
    "Did you forget the return?": lambda *args: None,
    "that is the text alone": lambda *args: page(*args)[0],
    "at the end of the page is missing": partial(page, last=False),
    "no end of chunk before the pictures": partial(page, before=lambda pieces: False),
    "ends of chunk are missing": partial(page, before=lambda pieces: False, last=False),
    "not after each text": partial(page, before=lambda pieces: False, last=False, after=True),
    "nothing stands before a first picture": partial(page, before=lambda pieces: True),
    "two pictures in a row need one": partial(
        page, before=lambda pieces: bool(pieces) and pieces[-1] != "<image> ."
    ),
    "need a space": partial(page, space=""),
    "pictures are in reverse order": lambda *args: (page(*args)[0], page(*args)[1][::-1]),
    "text and pictures are exchanged": lambda *args: page(*args)[::-1],
    "wanted are the pictures alone": lambda parts, *rest: (page(parts, *rest)[0], list(parts)),
    "a list of words": lambda *args: (page(*args)[0].split(" "), page(*args)[1]),
}


def embed(table, rows, new, ids, skip=0, combine=lambda old, row: row, turn=lambda x: x):
    y = table(ids)
    for token, row in list(zip(turn(new), rows))[: len(new) - skip]:
        y = torch.where((ids == token)[..., None], combine(y, row), y)
    return y


def into_the_table(table, rows, new, ids):
    with torch.no_grad():
        table.weight[new] = rows
    return table(ids)


def in_place_with_gradients(table, rows, new, ids):
    table.weight.data[new] = rows.data
    return embed(table, rows, new, ids)


EMBED = {
    "Did you forget the return?": lambda *args: None,
    "table was written into": into_the_table,
    "table was changed": in_place_with_gradients,
    "still have the table's rows": lambda table, rows, new, ids: table(ids),
    "only the first new word": partial(embed, skip=1),
    "rows[k] belongs to new_ids[k]": partial(embed, turn=lambda x: x.flip(0)),
    "no gradient arrives": lambda table, rows, *rest: embed(table, rows.detach(), *rest),
    "is added to the table's": partial(embed, combine=lambda old, row: old + row),
}
WRONG = {
    "flamingo.resample": RESAMPLE,
    "flamingo.GatedBlock": BLOCK,
    "flamingo.run_layers": LAYERS,
    "flamingo.image_mask": MASK,
    "flamingo.interleave": PAGE,
    "flamingo.embed_tokens": EMBED,
}


def test_every_exercise_has_wrong_answers():
    assert set(WRONG) == {f"flamingo.{name}" for name in EXERCISES}


@pytest.mark.parametrize("id", WRONG)
def test_right_answers_pass(id):
    stub, answer = taught()[id]
    assert [message(id, answer) for _ in range(3)] == [""] * 3
    assert message(id, EXERCISES[id.removeprefix("flamingo.")].reference) == ""
    assert message(id, stub).startswith("not begun yet")


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


def test_the_failure_lab_runs_and_the_kept_runs_are_its_own():
    assert set(flamingo_lab.runs(Scale.of("smoke"))) == set(flamingo_lab.RUNS)
    kept = flamingo_lab.runs(Scale.of("laptop"))
    assert set(kept) == set(flamingo_lab.RUNS)
    for score in flamingo_lab.SCORES:
        assert kept["healthy"][score] == max(run[score] for run in kept.values())
    moved = flamingo_lab.relative(kept)
    first, second = flamingo_lab.MOVES
    assert moved["healthy"] == {first: 1.0, second: 0.0} == moved["D"]
    assert moved["B"] == {first: 0.0, second: 0.0} and moved["C"] == {first: 0.0, second: 1.0}
    assert min(moved["A"].values()) > 0.5
    # the solution's words on B and C
    first, second = flamingo_lab.EXCHANGED
    assert kept["C"][first] < kept["C"]["noun after picture 1"] / 2
    assert kept["C"][second] > 0.8 and kept["C"]["noun after picture 2"] > 0.8
    assert 0.4 < kept["B"][flamingo_lab.NO_THING] < 0.6
    assert max(run[flamingo_lab.NO_THING] for id, run in kept.items() if id != "B") < 0.05
    assert kept["B"]["last steps"] < 0.6 * kept["B"]["first step"]


def test_our_two_changes_speed_training_up():
    kept = flamingo_lab.speed(Scale.of("laptop"))
    assert set(kept) == set(flamingo_lab.CHANGES)
    assert kept["both changes"] < kept["neither"] <= flamingo_model.STEPS
    assert "None with neither" in flamingo_lab.about_speed(Scale.of("smoke"))


def test_solutions_make_the_package_s_model():
    """The folded solutions, put together, have the package's logits with the package's weights, gates open."""
    from vlmcourse import recipes

    scale = Scale.of("smoke")
    model = recipes.get("flamingo").train_or_load(scale).model.model
    with torch.no_grad():
        for block in model.blocks.values():
            block.gate.alpha.fill_(0.05)
            block.gate_feedforward.alpha.fill_(-0.04)
    parts = {name: solution(f"flamingo.{name}") for name in PARTS}
    built = flamingo_measures.with_weights_of(model, parts)
    cache = flamingo_model.feature_cache(scale)
    pages = flamingo_model.Pages(flamingo_model.TwoPictures("train", cache, parts["interleave"]), 4)
    assert flamingo_measures.difference(model, built, pages.batch(range(4))) < 1e-3
    changed = dict(
        parts, image_mask=PARTS["image_mask"], run_layers=lambda layers, b, e, y, *rest: y
    )
    other = flamingo_measures.with_weights_of(model, changed)
    assert flamingo_measures.difference(model, other, pages.batch(range(4))) > 1e-3


def test_at_the_start_only_gates_and_new_rows_get_gradients():
    from copy import deepcopy

    from vlmcourse import recipes

    scale = Scale.of("smoke")
    lm = deepcopy(recipes.get("language").train_or_load(scale).model.lm)
    model = flamingo_model.build(flamingo_model.small_config(scale), lm, PARTS)
    cache = flamingo_model.feature_cache(scale)
    data = flamingo_model.TwoPictures("train", cache, PARTS["interleave"])
    steps = flamingo_measures.two_steps(model, flamingo_model.Pages(data, 4).batch(range(4)))
    assert {group for group, length in steps["step 1"].items() if length} == {
        "gates",
        "rows of new words",
    }
    assert {group for group, length in steps["step 2"].items() if not length} == {"language model"}


@pytest.mark.parametrize("depth, every, number", [(24, 1, 24), (40, 4, 10), (80, 7, 12)])
def test_the_rule_gives_the_paper_s_numbers_of_blocks(depth, every, number):
    assert len(flamingo_tables.positions(depth, every)) == number


def test_a_strip_says_which_picture_each_word_attends_to():
    ids = torch.tensor([[5, 9, 6, 9, 7]])
    words = ["a", "<image>", "b", "<image>", "c"]
    numbers = PARTS["image_mask"](ids, 9, 2, 3)[0].unflatten(-1, (2, 3)).any(-1)
    drawn = flamingo_figures.index_strip(words, [0, 1, 1, 2, 2])
    assert "a(0) <image>(1) b(1) <image>(2) c(2)" in drawn.description
    same = flamingo_figures.two_masks(numbers, numbers, words)
    assert "a: none; <image>: 1; b: 1" in same.description
    assert "both differ: 0" in same.description
    other = flamingo_figures.two_masks(~numbers, numbers, words)
    assert "both differ: 10" in other.description
