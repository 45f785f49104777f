"""Lesson 15's exercises on checkpoints and their inputs: right answers pass, and each plausible mistake is named."""

import itertools
import math

import numpy as np
import pytest
import torch
from exercise_answers import each, message, solution, taught
from PIL import Image
from torch import nn
from torch.nn.functional import interpolate

from teaching import tiny_checkpoints
from teaching.real_weights import EXERCISES
from teaching.real_weights_reference import PARTS, SYSTEM
from vlmcourse.papers.clip import CLIP


def convert(source, order=("k_proj", "v_proj"), dim=0, keep=lambda name: True, rename=str):
    """The right answer, with switches."""
    result = {}
    for name, tensor in source.items():
        if ".layers." not in name or not keep(name):
            continue
        for theirs, mine in {"_model.encoder.layers": ".transformer.blocks", **PARTS}.items():
            ours = name = name.replace(theirs, mine)
        if "v_proj" in name:
            continue
        if "k_proj" in name:
            original = next(key for key, value in source.items() if value is tensor)
            both = [source[original.replace("k_proj", part)] for part in order]
            tensor = torch.cat(both, dim if both[0].dim() == 2 else 0)
            ours = name.replace("self_attn.k_proj", "attention.key_value")
        result[rename(ours)] = tensor
    return result


def exchanged(source, one, other):
    return {
        name.replace(one, "?").replace(other, one).replace("?", other): tensor
        for name, tensor in convert(source).items()
    }


CONVERTED = {
    "the keys come first": lambda source: convert(source, ("v_proj", "k_proj")),
    "holds the keys twice": lambda source: convert(source, ("k_proj", "k_proj")),
    "holds the values twice": lambda source: convert(source, ("v_proj", "v_proj")),
    "stand side by side": lambda source: convert(source, dim=1),
    "there are no biases": lambda source: convert(source, keep=lambda n: n.endswith("weight")),
    "the text tower is missing": lambda source: convert(source, keep=lambda n: "vision" in n),
    "key_value is missing": lambda source: convert(source, keep=lambda n: "k_proj" not in n),
    "norm1 and norm2 are exchanged": lambda source: {
        name.replace("norm1", "norm0").replace("norm2", "norm1").replace("norm0", "norm2"): tensor
        for name, tensor in convert(source).items()
    },
    "transposed": lambda source: {
        name: tensor.T if tensor.dim() == 2 else tensor for name, tensor in convert(source).items()
    },
    "still transformers'": lambda source: {**source, **convert(source)},
    "still has '_model'": lambda source: convert(
        source, rename=lambda n: n.replace(".transformer", "_model.transformer", 1)
    ),
    "stands 'transformer.blocks'": lambda source: convert(
        source, rename=lambda n: n.replace("transformer.blocks", "encoder.blocks")
    ),
    "two tensors got one name": lambda source: convert(
        source, rename=lambda n: n.replace("norm2", "norm1")
    ),
    "no parameter of ours": lambda source: convert(
        source, rename=lambda n: n.replace("feedforward", "mlp")
    ),
    "keys and values have one name": lambda source: convert(
        source, rename=lambda n: n.replace("key_value", "k_proj")
    ),
    "values stand above the keys; in the biases the order is right": lambda source: {
        name: torch.cat(tensor.chunk(2)[::-1]) if "key_value.weight" in name else tensor
        for name, tensor in convert(source).items()
    },
    "values stand above the keys; in the weights the order is right": lambda source: {
        name: torch.cat(tensor.chunk(2)[::-1]) if "key_value.bias" in name else tensor
        for name, tensor in convert(source).items()
    },
    "take turns": lambda source: {
        name: torch.cat(
            list(itertools.chain(*zip(*map(list, (t[:, None] for t in tensor.chunk(2))))))
        )
        if "key_value" in name
        else tensor
        for name, tensor in convert(source).items()
    },
    "query and out are exchanged": lambda source: exchanged(source, "query", "out"),
    "feedforward.0 and feedforward.2 are": lambda source: exchanged(source, "ward.0", "ward.2"),
    "found None": lambda source: None,
}


def fits(model, source):
    """The right answer."""
    both = [name for name in model if name in source]
    return (
        sorted(name for name in model if name not in source),
        sorted(name for name in source if name not in model),
        sorted(name for name in both if tuple(model[name].shape) != tuple(source[name].shape)),
    )


def with_third(rule):
    return lambda model, source: (
        *fits(model, source)[:2],
        sorted(n for n in model if n in source and rule(model[n], source[n])),
    )


COMPARED = {
    "missing and unexpected are exchanged": lambda model, source: (
        *fits(model, source)[1::-1],
        fits(model, source)[2],
    ),
    "compare shapes": with_third(lambda one, other: one.numel() != other.numel()),
    "are not listed": lambda model, source: (*fits(model, source)[:2], []),
    "holds the names that fit": with_third(lambda one, other: one.shape == other.shape),
    "all common names": with_third(lambda *_: True),
    "only the first axis": with_third(lambda one, other: len(one) != len(other)),
    "only the last axis": with_third(lambda one, other: one.shape[-1] != other.shape[-1]),
    "because values differ": with_third(
        lambda one, other: one.shape != other.shape or (one != other).any()
    ),
    "sorted backwards": lambda *args: [names[::-1] for names in fits(*args)],
    "among the missing ones": lambda model, source: (
        sorted(fits(model, source)[0] + fits(model, source)[2]),
        *fits(model, source)[1:],
    ),
    "found 2 values": lambda *args: fits(*args)[:2],
}


def prepared(
    picture,
    size,
    mean,
    std,
    how=Image.Resampling.BICUBIC,
    crop=0.5,
    channels=(0, 1, 2),
    whole=lambda side: math.floor(side + 1e-6),
    cut=math.floor,
):
    """The right answer, with switches."""
    scale = size / min(picture.size)
    wide, high = (whole(scale * side) for side in picture.size)
    left, top = cut(crop * (wide - size)), cut(crop * (high - size))
    square = picture.resize((wide, high), how).crop((left, top, left + size, top + size))
    values = torch.tensor(np.array(square)).float()[..., list(channels)].permute(2, 0, 1)
    return (values / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)


ZERO, ONE = torch.zeros(3), torch.ones(3)
SQUARE = Image.Resampling.BICUBIC


def resized(picture, size, order=1):
    """The shorter side has `size` pixels; order -1 exchanges width and height."""
    sides = [size * side // min(picture.size) for side in picture.size]
    return picture.resize(tuple(sides[::order]), SQUARE)


def middle(picture, size, order=1):
    """A square from the middle; order -1 exchanges left and top."""
    left, top = ((side - size) // 2 for side in picture.size[::order])
    return picture.crop((left, top, left + size, top + size))


def by_torch(picture, size, mean, std, antialias=False):
    values = torch.tensor(np.array(picture)).permute(2, 0, 1).float()[None]
    sides = [size * side // min(picture.size) for side in picture.size[::-1]]
    values = interpolate(values, sides, mode="bicubic", antialias=antialias)[0] / 255
    top, left = ((side - size) // 2 for side in sides)
    values = values[:, top : top + size, left : left + size]
    return (values - mean.view(3, 1, 1)) / std.view(3, 1, 1)


def by_longer_side(picture, size, *rest):
    sides = tuple(size * side // max(picture.size) for side in picture.size)
    return prepared(middle(picture.resize(sides, SQUARE), size), size, *rest)


def by_factor(picture, size, *rest):
    factor = size / min(picture.size)
    sides = tuple(int(side * factor) for side in picture.size)
    return prepared(middle(picture.resize(sides, SQUARE), size), size, *rest)


PREPARED = {
    "the shorter side lost a pixel": by_factor,
    "a tensor is resized": by_torch,
    "torch's filter": lambda *args: by_torch(*args, antialias=True),
    "reaches beyond the picture": by_longer_side,
    "divided by 256": lambda picture, size, mean, std: (
        (prepared(picture, size, ZERO, ONE) * 255 / 256 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    ),
    "squared deviation": lambda picture, size, mean, std: prepared(picture, size, mean, std**2),
    "left and right are exchanged": lambda *args: prepared(*args).flip(2),
    "cut after resizing, not before": lambda picture, size, *rest: prepared(
        middle(picture, min(picture.size)).resize((size, size), SQUARE), size, *rest
    ),
    "exchanged in `resize`": lambda picture, size, *rest: prepared(
        middle(resized(picture, size, -1), size), size, *rest
    ),
    "exchanged in `crop`": lambda picture, size, *rest: prepared(
        middle(resized(picture, size), size, -1), size, *rest
    ),
    "rows and columns are exchanged": lambda *args: prepared(*args).permute(0, 2, 1),
    "squashed": lambda picture, size, *rest: prepared(
        picture.resize((size, size), Image.Resampling.BICUBIC), size, *rest
    ),
    "upper or left end": lambda *args: prepared(*args, crop=0),
    "lower or right end": lambda *args: prepared(*args, crop=1),
    "rounds it down": lambda *args: prepared(*args, whole=round),
    "divided the wrong way": lambda *args: prepared(*args, cut=math.ceil),
    "bilinearly": lambda *args: prepared(*args, how=Image.Resampling.BILINEAR),
    "nearest": lambda *args: prepared(*args, how=Image.Resampling.NEAREST),
    "Lanczos": lambda *args: prepared(*args, how=Image.Resampling.LANCZOS),
    "divide by 255 first": lambda picture, size, mean, std: (
        (255 * prepared(picture, size, ZERO, ONE) - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    ),
    "are not used": lambda picture, size, *_: prepared(picture, size, ZERO, ONE),
    "the course's own range": lambda picture, size, *_: prepared(picture, size, ONE / 2, ONE / 2),
    "nothing is divided": lambda picture, size, mean, std: prepared(picture, size, mean, ONE),
    "the mean is not subtracted": lambda picture, size, mean, std: prepared(
        picture, size, ZERO, std
    ),
    "multiplied by the deviation": lambda picture, size, mean, std: prepared(
        picture, size, mean, 1 / std
    ),
    "red and blue": lambda *args: prepared(*args, channels=(2, 1, 0)),
    "each other's mean": lambda picture, size, mean, std: prepared(
        picture, size, mean.flip(0), std.flip(0)
    ),
    "channels come first": lambda *args: prepared(*args).permute(1, 2, 0),
    "resize first": lambda picture, size, *rest: prepared(
        picture.crop(
            (
                (picture.width - size) // 2,
                (picture.height - size) // 2,
                (picture.width - size) // 2 + size,
                (picture.height - size) // 2 + size,
            )
        ),
        size,
        *rest,
    ),
}


def spread_out(positions, grid, mode="bicubic", align=False, swap=False):
    """The right answer, with switches."""
    old = int(math.sqrt(positions.shape[0] - 1))
    image = positions[1:].reshape(old, old, -1).permute(2, 0, 1)[None]
    options = {} if mode == "nearest" else {"align_corners": align}
    image = interpolate(image, (grid, grid), mode=mode, **options)[0]
    order = (2, 1, 0) if swap else (1, 2, 0)
    return torch.cat([positions[:1], image.permute(*order).reshape(grid * grid, -1)])


RESIZED = {
    "position is lost": lambda *args: spread_out(*args)[1:],
    "stands last": lambda *args: spread_out(*args).roll(-1, 0),
    "bilinear": lambda *args: spread_out(*args, mode="bilinear"),
    "nearest position": lambda *args: spread_out(*args, mode="nearest"),
    "align_corners=True": lambda *args: spread_out(*args, align=True),
    "rows and columns": lambda *args: spread_out(*args, swap=True),
    "along the sequence": lambda positions, grid: torch.cat(
        [positions[:1], interpolate(positions[1:].T[None], grid**2, mode="linear")[0].T]
    ),
    "scrambled": lambda positions, grid: torch.cat(
        [
            positions[:1],
            interpolate(
                positions[1:].reshape(1, positions.shape[1], *[math.isqrt(len(positions) - 1)] * 2),
                (grid, grid),
                mode="bicubic",
            )[0]
            .flatten(1)
            .T,
        ]
    ),
    "found shape": lambda positions, grid: positions,
}


def merged(word, merges, most=1000, choose=min, side=0):
    """The right answer, with switches."""
    pieces = [*word]
    for _ in range(most):
        ranks = [merges.index(pair) for pair in itertools.pairwise(pieces) if pair in merges]
        if not ranks:
            break
        best = merges[choose(ranks)]
        at = [n for n, pair in enumerate(itertools.pairwise(pieces)) if pair == best][side]
        pieces = [*pieces[:at], "".join(best), *pieces[at + 2 :]]
    return pieces


def greedy(word, merges):
    known, found = {a + b for a, b in merges}, []
    while word:
        length = max([1, *(n for n in range(1, len(word) + 1) if word[:n] in known)])
        found, word = [*found, word[:length]], word[length:]
    return found


def once(word, merges):
    """Each merge once, by rank."""
    pieces = [*word]
    for pair in merges:
        while pair in (pairs := list(itertools.pairwise(pieces))):
            at = pairs.index(pair)
            pieces = [*pieces[:at], "".join(pair), *pieces[at + 2 :]]
    return pieces


CUT = {
    "begin again from the lowest rank": once,
    "longest known piece": greedy,
    "left to right": lambda word, merges: merged(word, merges, choose=lambda ranks: ranks[0]),
    "first one has precedence": lambda word, merges: merged(word, merges, choose=max),
    "the rightmost": lambda word, merges: merged(word, merges, side=-1),
    "only one merge": lambda word, merges: merged(word, merges, 1),
    "nothing was merged": lambda word, merges: [*word],
    "the whole word": lambda word, merges: [word],
    "found a text": lambda word, merges: " ".join(merged(word, merges)),
}


def written(messages, system=SYSTEM, after="\n", close="<|im_end|>\n", end="\n", always=False):
    """The right answer, with switches."""
    roles = [one["role"] for one in messages]
    if system is not None and (always or "system" not in roles[:1]):
        messages = [dict(role="system", content=system)] + list(messages)
    body = "".join("<|im_start|>" + m["role"] + after + m["content"] + close for m in messages)
    return body + "<|im_start|>assistant" + end


def inserted(messages):
    """The right text, but the caller's list grows."""
    if messages[0]["role"] != "system":
        messages.insert(0, dict(role="system", content=SYSTEM))
    return written(messages)


CHATS = {
    "only after a user's message": lambda messages: (
        written(messages, end="\n")
        if messages[-1]["role"] == "user"
        else written(messages).removesuffix("<|im_start|>assistant\n")
    ),
    "stripped of spaces": lambda messages: written(
        [{**message, "content": message["content"].strip()} for message in messages]
    ),
    "replaced by SYSTEM": lambda messages: written(
        [message for message in messages if message["role"] != "system"]
    ),
    "the caller's messages were changed": inserted,
    "gets SYSTEM first": lambda messages: written(messages, None),
    "there is a system message already": lambda messages: written(messages, always=True),
    "line break after <|im_end|>": lambda messages: written(messages, close="<|im_end|>"),
    "stands a space": lambda messages: written(messages, after=" "),
    "before <|im_end|>": lambda messages: written(messages, close="\n<|im_end|>\n"),
    "don't end with": lambda messages: written(messages, close="\n"),
    "not opened": lambda messages: written(messages)[: -len("<|im_start|>assistant\n")],
    "without a line break after the role": lambda messages: written(messages, end=""),
    "closed again": lambda messages: written(messages) + "<|im_end|>\n",
    "only the last message": lambda messages: written(messages[-1:]),
    "comes": lambda messages: written(messages).upper(),
}


def grow(table, related, empty=None, each=lambda rows: rows.mean(0), learns=True, first=True):
    """The right answer, with switches."""
    old = table.weight.data.clone()
    none = old.mean(0) if empty is None else empty(old)
    new = [each(old[torch.tensor(ids)]) if ids else none for ids in related]
    parts = [old, torch.stack(new)] if first else [torch.stack(new), old]
    made = nn.Embedding(len(old) + len(new), old.shape[1])
    made.weight = nn.Parameter(torch.cat(parts), requires_grad=learns)
    return made


def grow_in_place(table, related):
    made = grow(table, related)
    table.weight.data.zero_()
    return made


GROWN = {
    "starts at zero": lambda *args: grow(*args, empty=lambda old: 0 * old[0]),
    "are added": lambda *args: grow(*args, each=lambda rows: rows.sum(0)),
    "only the first related word": lambda *args: grow(*args, each=lambda rows: rows[0]),
    "every new row is the mean": lambda table, related: grow(table, [[] for _ in related]),
    "before the old ones": lambda *args: grow(*args, first=False),
    "it is frozen": lambda *args: grow(*args, learns=False),
    "that is a tensor": lambda *args: grow(*args).weight.detach(),
    "the old table was changed": grow_in_place,
    "the rows of known words changed": lambda table, related: nn.Embedding(
        len(table.weight) + len(related), table.weight.shape[1]
    ),
    "an empty list has no mean": lambda table, related: grow(
        table, related, empty=lambda old: old[:0].mean(0)
    ),
    "the new ones are not": lambda *args: grow(*args, each=lambda rows: rows.amax(0)),
    "one row per entry": lambda table, related: grow(table, related[:-1]),
}

WRONG = {
    "real_weights.convert_layers": CONVERTED,
    "real_weights.compare_tensors": COMPARED,
    "real_weights.preprocess": PREPARED,
    "real_weights.resize_positions": RESIZED,
    "real_weights.bpe": CUT,
    "real_weights.chat_prompt": CHATS,
    "real_weights.grow_embedding": GROWN,
}
RIGHT = {
    "real_weights.convert_layers": convert,
    "real_weights.compare_tensors": fits,
    "real_weights.preprocess": prepared,
    "real_weights.resize_positions": spread_out,
    "real_weights.bpe": merged,
    "real_weights.chat_prompt": written,
    "real_weights.grow_embedding": grow,
}


@pytest.mark.parametrize("id", RIGHT)
def test_other_right_answers_pass(id):
    assert [message(id, RIGHT[id]) for _ in range(3)] == [""] * 3


@pytest.mark.parametrize("id", [f"real_weights.{name}" for name in EXERCISES])
def test_solutions_pass_and_stubs_fail_politely(id):
    assert [message(id, solution(id)) for _ in range(3)] == [""] * 3
    assert message(id, EXERCISES[id.split(".")[1]].reference) == ""
    assert message(id, taught()[id][0]).startswith("not begun yet")


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


@torch.no_grad()
def test_names_of_the_exercise_are_the_names_that_load(tmp_path):
    import transformers

    theirs = transformers.CLIPModel.from_pretrained(tiny_checkpoints.clip(tmp_path))
    ours = CLIP.from_hf(theirs).state_dict()
    converted = convert(theirs.state_dict())
    assert set(converted) == {name for name in ours if ".transformer.blocks." in name}
    assert all(torch.equal(ours[name], tensor) for name, tensor in converted.items())
