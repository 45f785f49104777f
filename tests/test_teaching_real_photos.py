"""Lesson 15's exercises on fine-tuning and small samples, its photographs, checkpoints, study and failure lab."""

import itertools
import json
from copy import deepcopy

import pytest
import torch
from exercise_answers import each, message
from torch import nn

from teaching import (
    real_photos,
    real_weights_lab,
    real_weights_model,
    real_weights_parity,
    real_weights_study,
    real_weights_talk,
    tiny_checkpoints,
)
from teaching import real_weights_reference as reference
from vlmcourse import recipes
from vlmcourse.papers.clip import CLIP
from vlmcourse.papers.flamingo_weights import from_open_flamingo, open_flamingo_vision
from vlmcourse.parts import language
from vlmcourse.parts.language import tiny
from vlmcourse.parts.vision import ViT
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer


def grid(left, top, right, bottom, side, step, slack=0):
    """Corners of the squares in a box."""
    found = [
        [x, y]
        for x in range(left, right, step)
        for y in range(top, bottom, step)
        if x + side <= right + slack and y + side <= bottom + slack
    ]
    return torch.tensor(found, dtype=torch.long).view(-1, 2)


def tiles(
    box,
    side,
    step,
    wide=lambda width, height: width >= height,
    slack=0,
    swap=False,
    half=lambda start, end: (start + end) // 2,
):
    """The right answer, with switches."""
    left, top, right, bottom = box
    if wide(right - left, bottom - top):
        middle = half(left, right)
        halves = (left, top, middle, bottom), (middle, top, right, bottom)
    else:
        middle = half(top, bottom)
        halves = (left, top, right, middle), (left, middle, right, bottom)
    found = [grid(*part, side, step, slack) for part in halves]
    return tuple(found[::-1] if swap else found)


def overlapping(box, side, step):
    corners = grid(*box, side, step)
    left, top, right, bottom = box
    axis, middle = (
        (0, (left + right) // 2) if right - left >= bottom - top else (1, (top + bottom) // 2)
    )
    first = corners[:, axis] < middle
    return corners[first], corners[~first]


def one_grid(box, side, step):
    """A grid from the box's corner; a square counts where all of it lies in a half."""
    corners, halves = grid(*box, side, step), tiles(box, 1, 1)
    ends = [half.amin(0) for half in halves], [half.amax(0) + 1 - side for half in halves]
    return [corners[((corners >= low) & (corners <= high)).all(1)] for low, high in zip(*ends)]


TILED = {
    "training and test squares overlap": overlapping,
    "all boxes are cut into left and right": lambda *args: tiles(*args, wide=lambda *_: True),
    "across its shorter side": lambda *args: tiles(*args, wide=lambda *_: False),
    "halves are exchanged": lambda *args: tiles(*args, swap=True),
    "beyond their half": lambda *args: tiles(*args, slack=1),
    "just fits": lambda *args: tiles(*args, slack=-1),
    "far beyond": lambda box, side, step: tiles(box, side, step, slack=side - 1),
    "a square box is cut into upper and lower": lambda *args: tiles(
        *args, wide=lambda width, height: width > height
    ),
    "here one grid covers the box": one_grid,
    "x and y are exchanged": lambda *args: [part.flip(1) for part in tiles(*args)],
    "counted from the box": lambda box, *rest: [
        part - torch.tensor(box[:2]) for part in tiles(box, *rest)
    ],
    "same squares are in both": lambda *args: [tiles(*args)[0]] * 2,
    "an empty (0, 2) tensor": lambda *args: [
        part if len(part) else torch.tensor([]) for part in tiles(*args)
    ],
    "found 1 values": lambda *args: [tiles(*args)[0]],
    "tensors of integers": lambda *args: [part.float() for part in tiles(*args)],
    "rounded up": lambda *args: tiles(*args, half=lambda start, end: (start + end + 1) // 2),
    "no place in the photograph": lambda *args: tiles(
        *args, half=lambda start, end: (end - start) // 2
    ),
    "squares' centres": lambda box, side, step: [
        part + side // 2 for part in tiles(box, side, step)
    ],
    "share pixels": lambda *args: [torch.cat(tiles(*args))[first::2] for first in (0, 1)],
}


def rated(layers, rate, decay, frozen, power=None, first=None, learn=None, sets=(True, False)):
    """The right answer, with switches."""
    count, found = len(layers), []
    for index in range(count):
        learns = index >= frozen
        for parameter in layers[index]:
            wanted = learns if learn is None else learn
            if wanted in sets:
                parameter.requires_grad = wanted
        if index >= (frozen if first is None else first):
            exponent = count - index - 1 if power is None else power(index, count, frozen)
            found.append(dict(params=layers[index], lr=rate * decay**exponent))
    return found


def one_group_each(*args):
    """Right, too: a group for each parameter."""
    return [
        {"params": [parameter], "lr": group["lr"]}
        for group in rated(*args)
        for parameter in group["params"]
    ]


RATED = {
    "the rate falls towards the input": lambda *args: rated(*args, power=lambda i, n, f: i),
    "the last one should": lambda *args: rated(*args, power=lambda i, n, f: i - f),
    "it should learn at `rate`": lambda *args: rated(*args, power=lambda i, n, f: n - i),
    "use `decay`": lambda *args: rated(*args, power=lambda *_: 0),
    "slower again": lambda *args: rated(*args, power=lambda i, n, f: int(i < n - 1)),
    "leave them out": lambda *args: rated(*args, first=0),
    "still require gradients": lambda *args: rated(*args, learn=True),
    "no layer requires gradients": lambda *args: rated(*args, learn=False),
    "it still is": lambda *args: rated(*args, sets=(False,)),
    "as it was before": lambda *args: rated(*args, sets=()),
    "one layer too many": lambda layers, rate, decay, frozen: rated(
        layers, rate, decay, frozen + 1
    ),
}


def between(first, second, alpha, chosen=lambda value: True):
    """The right answer, with switches."""
    mixed = deepcopy(first)
    with torch.no_grad():
        for target, one, other in zip(mixed.parameters(), first.parameters(), second.parameters()):
            target.copy_(torch.lerp(one, other, alpha) if chosen(one) else one)
    return mixed


def in_place(first, second, alpha):
    with torch.no_grad():
        for one, other in zip(first.parameters(), second.parameters()):
            one.lerp_(other, alpha)
    return first


def scaled(first, second, alpha):
    mixed = deepcopy(first)
    with torch.no_grad():
        for target, other in zip(mixed.parameters(), second.parameters()):
            target.add_(other, alpha=alpha)
    return mixed


MIXED = {
    "the other way round": lambda first, second, alpha: between(second, first, alpha),
    "whatever alpha": lambda first, second, _: between(first, second, 0.5),
    "must sum to 1": scaled,
    "that is the first model": lambda first, *_: deepcopy(first),
    "that is the second model": lambda _, second, __: deepcopy(second),
    "only matrices": lambda *args: between(*args, chosen=lambda value: value.dim() == 2),
    "at alpha 0 one": lambda first, second, alpha: (
        between(first, second, alpha) if alpha else first
    ),
    "at alpha 1 one": lambda first, second, alpha: (
        second if alpha == 1 else between(first, second, alpha)
    ),
    "work on a copy": in_place,
    "a dict of weights": lambda *args: dict(between(*args).state_dict()),
}


def limits(right, groups, draws, low=0.025, high=0.975, pool=False):
    """The right answer, with switches."""
    results = []
    for drawn in draws.tolist():
        parts = [right[groups == group].float() for group in drawn]
        results.append(
            torch.cat(parts).mean() if pool else torch.stack([p.mean() for p in parts]).mean()
        )
    results = torch.stack(results)
    return results.quantile(low).item(), results.quantile(high).item()


def shares(right, groups):
    return torch.stack([right[groups == g].float().mean() for g in range(int(groups.max()) + 1)])


INTERVALS = {
    "pools all items": lambda *args: limits(*args, pool=True),
    "90 % interval": lambda *args: limits(*args, 0.05, 0.95),
    "99 % interval": lambda *args: limits(*args, 0.005, 0.995),
    "68 % interval": lambda *args: limits(*args, 0.16, 0.84),
    "right items are counted": lambda right, groups, draws: (
        torch.stack([right[groups == g].float().sum() for g in groups.unique()])[draws]
        .mean(1)
        .quantile(torch.tensor([0.025, 0.975]))
        .tolist()
    ),
    "wrong items are counted": lambda right, *rest: limits(~right, *rest),
    "smallest and the largest": lambda *args: limits(*args, 0.0, 1.0),
    "are exchanged": lambda *args: limits(*args)[::-1],
    "quantiles of the groups' accuracies": lambda right, groups, draws: (
        shares(right, groups).quantile(torch.tensor([0.025, 0.975])).tolist()
    ),
    "over samples": lambda right, groups, draws: (
        shares(right, groups)[draws].mean(0).quantile(torch.tensor([0.025, 0.975])).tolist()
    ),
    "numbers of groups, not of items": lambda right, groups, draws: (
        right.float()[draws].mean(1).quantile(torch.tensor([0.025, 0.975])).tolist()
    ),
    "drawn twice counts once": lambda right, groups, draws: (
        torch.stack([shares(right, groups)[sorted(set(drawn))].mean() for drawn in draws.tolist()])
        .quantile(torch.tensor([0.025, 0.975]))
        .tolist()
    ),
    "treats items as independent": lambda right, groups, draws: [
        right.float().mean().item()
        + sign * 1.96 * right.float().std(correction=0).item() / len(right) ** 0.5
        for sign in (-1, 1)
    ],
}


def flips(differences, far=lambda mean, found: abs(mean) >= abs(found) - 1e-6):
    """The right answer, with switches."""
    values = differences.tolist()
    found = sum(values) / len(values)
    patterns = list(itertools.product((1, -1), repeat=len(values)))
    means = [sum(s * v for s, v in zip(signs, values)) / len(values) for signs in patterns]
    return sum(far(mean, found) for mean in means) / len(patterns)


def plain_flips(differences):
    """All patterns at once, and no tolerance."""
    signs = torch.tensor(list(itertools.product([1.0, -1.0], repeat=len(differences))))
    means = (signs * differences).mean(1).abs()
    return (means >= differences.mean().abs()).float().mean().item()


FLIPPED = {
    "wanted is the absolute value of their mean": lambda d: flips(
        d, lambda mean, _: abs(mean) >= d.abs().mean().item() - 1e-6
    ),
    "after the mean, not before": lambda d: flips(d, lambda *_: True),
    "one-sided": lambda d: flips(
        d, lambda mean, found: mean * (1 if found > 0 else -1) >= abs(found) - 1e-6
    ),
    "Signs are 1 and -1, not 1 and 0": lambda d: (
        sum(
            abs(sum(s * v for s, v in zip(signs, d.tolist()))) >= abs(d.sum().item()) - 1e-6
            for signs in itertools.product((1, 0), repeat=len(d))
        )
        / 2 ** len(d)
    ),
    "so `>=`": lambda d: flips(d, lambda mean, found: abs(mean) > abs(found) + 1e-6),
    "that is 1 - p": lambda d: flips(d, lambda mean, found: abs(mean) < abs(found) - 1e-6),
    "only the signs": lambda d: flips(d.sign()),
    "as far below zero counts": lambda d: flips(d, lambda mean, found: mean >= found - 1e-6),
    "you count means above it": lambda d: min(
        1.0, 2 * flips(d, lambda mean, found: mean >= found - 1e-6)
    ),
    "allow 0.000001": plain_flips,
    "equal up to rounding": lambda d: flips(d, lambda mean, found: abs(mean) >= abs(found)),
    "that counts patterns": lambda d: flips(d) * 2.0 ** len(d),
    "not a probability": lambda d: d.mean().item(),
    "it is a tensor": lambda d: torch.tensor(flips(d)),
}

WRONG = {
    "real_weights.split_tiles": TILED,
    "real_weights.parameter_groups": RATED,
    "real_weights.mix_models": MIXED,
    "real_weights.bootstrap_interval": INTERVALS,
    "real_weights.sign_flip_test": FLIPPED,
}
RIGHT = {
    "tiles": ("real_weights.split_tiles", tiles),
    "groups of layers": ("real_weights.parameter_groups", rated),
    "groups of parameters": ("real_weights.parameter_groups", one_group_each),
    "mixture": ("real_weights.mix_models", between),
    "interval": ("real_weights.bootstrap_interval", limits),
    "test": ("real_weights.sign_flip_test", flips),
}


@pytest.mark.parametrize("id, answer", RIGHT.values(), ids=list(RIGHT))
def test_other_right_answers_pass(id, answer):
    assert [message(id, answer) for _ in range(3)] == [""] * 3


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


def test_photographs_have_licences_and_regions_lie_in_them():
    names = set(real_photos.LICENCES)
    assert {region.photo for region in real_photos.REGIONS.values()} == names - {"portrait"}
    for region in (*real_photos.REGIONS.values(), *real_weights_model.PORTRAIT):
        width, height = real_photos.photo(region.photo).size
        left, top, right, bottom = region.box
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
    assert max(photo.size for photo in real_photos.photos().values())[0] == real_photos.LONGEST
    with pytest.raises(ValueError, match="no photograph 'dog'; expected one of cat"):
        real_photos.photo("dog")
    assert sum(path.stat().st_size for path in real_photos.FOLDER.iterdir()) < 200_000


def test_no_training_pixel_is_in_a_test_crop_of_any_region():
    side, step = real_weights_model.SIDE, real_weights_model.STEP
    corners = {
        name: reference.split_tiles(region.box, side, step)
        for name, region in real_photos.REGIONS.items()
    }
    for (one, first), (other, second) in itertools.product(real_photos.REGIONS.items(), repeat=2):
        train, test = corners[one][0], corners[other][1]
        assert len(train) and len(test)
        if first.photo == second.photo:
            away = (train[:, None] - test[None]).abs().amax(-1)
            assert away.min() >= side, (one, other)


@pytest.fixture(scope="module")
def smoke_task():
    scale = Scale.of("smoke")
    captions = {"cat": "whiskers of a tomcat"}
    return scale, real_weights_model.new_task(scale, captions=captions)


def test_words_of_a_student_get_rows_and_training_changes_what_learns(smoke_task):
    scale, task = smoke_task
    clip = recipes.get("clip").train_or_load(scale).model
    assert "whiskers" in real_weights_model.new_words(task.captions)
    assert task.captions[0] == "whiskers of a tomcat" and (task.ids != tokenizer.UNKNOWN).all()
    model, losses = real_weights_model.train_way(
        clip, task, real_weights_model.PARTS, steps=2, frozen=2
    )
    assert len(losses) == 2 and len(model.text.tokens.weight) == len(clip.text.tokens.weight) + len(
        task.related
    )
    assert torch.equal(model.vision.positions, clip.vision.positions)  # frozen
    assert not torch.equal(model.image_projection.weight, clip.image_projection.weight)
    count = sum(len(layer) for layer in real_weights_model.layers_of(model))
    assert count == len(list(model.parameters()))


def test_batches_draw_each_region_alike_and_colours_are_a_baseline(smoke_task):
    _, task = smoke_task
    _, labels = task.train.batch(1600, torch.Generator().manual_seed(0))
    assert labels.bincount().min() > 60
    right = real_weights_model.nearest_colour(task, task.train) == task.train.labels
    assert real_weights_model.by_region(right, task.train.labels).mean() > 2 / 16


def test_every_kind_of_checkpoint_gives_the_same_numbers(tmp_path):
    found = real_weights_parity.parities(tmp_path)
    assert len(found) == 6
    for one in found:
        assert one.difference < real_weights_parity.SAME < one.wanted.std(), one.ours
    table = real_weights_parity.parity_table(found)
    assert table.count("| yes |") == 6
    broken = real_weights_parity.Parity("a", "b", found[0].found + 1, found[0].wanted)
    assert "**no**" in broken.line()


def test_a_whole_folder_gives_the_same_pixels_and_logits(tmp_path):
    captions = [region.caption for region in real_photos.REGIONS.values()]
    folder = tiny_checkpoints.clip_with_processors(tmp_path, captions)
    photos = list(real_photos.photos().values())
    found = real_weights_parity.on_photos(folder, photos, captions, reference.preprocess)
    assert found.pixels < 1e-5 and found.logits < 1e-3
    assert found.probabilities.shape == (6, 16)
    wrong = real_weights_parity.on_photos(
        folder, photos, captions, lambda *args: reference.preprocess(*args).flip(0)
    )
    assert wrong.pixels > 0.1 and wrong.logits > 1e-3
    assert real_weights_parity.load_layers(folder, reference.convert_layers) < 1e-4
    assert real_weights_parity.position_difference(folder, reference.resize_positions, 48) < 1e-4


def test_an_open_flamingo_and_a_language_model_stand_in_too(tmp_path):
    lm, vit = tiny(60, 32, 2, 2), ViT(16, 8, 24, 1, 2)
    file = tiny_checkpoints.open_flamingo(tmp_path / "checkpoint.pt", vit, lm, image_token_id=5)
    # the language model is given back as it was
    assert not any(layer._forward_pre_hooks for layer in language.decoder_layers(lm))
    model = from_open_flamingo(file, open_flamingo_vision(vit), lm, 5)
    pixel_values, ids = torch.randn(2, 3, 16, 16), torch.tensor([[1, 5, 9, 5, 7]])
    with torch.no_grad():
        one, other = (
            model(ids, **model.vision_context(each))
            for each in (pixel_values, pixel_values.flip(0))
        )
    assert (one - other).abs().max() > 1e-3
    lm = tiny(len(tokenizer.world_tokenizer()), 32, 1, 2)
    again, read = language.load(str(tiny_checkpoints.language(tmp_path / "lm", lm)))
    cat = tokenizer.world_tokenizer().convert_tokens_to_ids("cat")
    assert read.convert_tokens_to_ids("cat") == cat
    ids = tokenizer.encode(["a cat is an animal ."])
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, lm(ids).logits)


def test_what_is_not_here_is_said_not_raised(tmp_path):
    said, load = [], CLIP.from_pretrained
    assert tiny_checkpoints.real(load, "nobody/has-this-model", say=said.append) is None
    assert "not on this machine" in said[0]
    there = str(tiny_checkpoints.clip(tmp_path / "clip"))
    assert isinstance(tiny_checkpoints.real(load, there, say=said.append), CLIP)
    (tmp_path / "empty").mkdir()
    assert tiny_checkpoints.real(load, str(tmp_path / "empty"), say=said.append) is None
    assert "could not be loaded" in said[1]


def test_without_smollm2_its_template_is_still_there():
    talker = real_weights_talk.smollm2(Scale.of("smoke"))
    messages = [{"role": "user", "content": "Hello."}]
    assert talker.template(messages) == reference.chat_prompt(messages)
    with pytest.raises(ValueError, match="make pretrained"):
        talker.goes_on("Hello.")
    assert "not installed" in real_weights_talk.conversation_table(
        talker, reference.chat_prompt, ["Hello."]
    )


def test_pieces_are_those_of_the_library():
    merges = real_weights_talk.train_merges(60)
    for word in ("background", "cat", "pagoda", "onion", "banana"):
        assert reference.bpe(word, merges) == real_weights_talk.library_pieces(word, merges)
    table = real_weights_talk.pieces_table(["pagoda"], lambda word, _: [word], merges)
    assert "**no**" in table.splitlines()[-1].split("|")[-2]


def test_the_kept_study_holds_every_run_and_the_verdicts_are_computed():
    rows = json.loads(real_weights_study.FILE.read_text())["rows"]
    runs = {(row["seed"], row["way"], row["alpha"]) for row in rows}
    ways, alphas = real_weights_study.WAYS, real_weights_study.ALPHAS
    assert len(runs) == len(rows) == len(real_weights_study.SEEDS) * len(ways) * len(alphas)
    for row in rows:
        assert 0 <= row["test crops"] <= 1 and 0 <= row["drawings"] <= 1
        assert abs(sum(row["photographs"]) / len(real_photos.REGIONS) - row["test crops"]) < 1e-5
    start = {row["drawings"] for row in rows if row["alpha"] == 0}
    assert len(start) == 1  # the shipped model, in all runs


def test_the_healthy_run_of_the_lab_is_best_and_faults_leave_their_marks():
    found = real_weights_lab.runs(Scale.of("laptop"))
    names = real_weights_lab.MEASURES
    assert all(found["healthy"][name] == 0 for name in names)
    zero = {id: [name for name in names if values[name] == 0] for id, values in found.items()}
    assert zero == {
        "healthy": list(names),
        "A": ["pictures", "texts without padding"],
        "B": ["texts without padding", "texts with padding"],
        "C": [],
    }
    best = max(values["zero-shot"] for values in found.values())
    assert found["healthy"]["zero-shot"] == best


def test_modules_are_copied_not_shared():
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    mixed = reference.mix_models(one, other, 0.25)
    torch.testing.assert_close(mixed.weight, 0.75 * one.weight + 0.25 * other.weight)
    assert mixed.weight.data_ptr() not in (one.weight.data_ptr(), other.weight.data_ptr())
