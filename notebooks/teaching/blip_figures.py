"""Lesson 08: its figures and tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from teaching.blip_tables import over_seeds, table_3
from vlmcourse import evaluation, plots, recipes, world
from vlmcourse.evaluation import eval_mode
from vlmcourse.papers.blip import BLIP, PARAMETER_SHARING
from vlmcourse.recipes.blip import (
    PROMPT,
    THINGS,
    generate_captions,
    match_scorer,
    new_blip,
)
from vlmcourse.training.fit import Step
from vlmcourse.training.scale import Scale
from vlmcourse.world import minimal_pairs, tokenizer

CHANGES = {
    "two things exchanged": minimal_pairs.swap_positions,
    "another background": minimal_pairs.change_background,
}
LOSSES = {"itc": "ITC", "itm": "ITM", "lm": "LM"}
BLIND_MATCH = -(np.log(1 / 3) + 2 * np.log(2 / 3)) / 3
POINTS = 25


def cosine_and_match(model: BLIP, pixel_values: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Of each picture and its text: the cosine of ITC, and ITM's probability of a match, (B,) each."""
    with eval_mode(model):
        states = model.vision_context(pixel_values)["states"]
        cosine = (model.encode_image(pixel_values) * model.encode_text(ids)).sum(1)
        return cosine, model.itm_logits(ids, states).softmax(-1)[:, 1]


def at_work(model: BLIP, count: int = 3):
    """Held-out pictures with the caption that the decoder writes, and cosine and match of a right and of a wrong caption."""
    change = minimal_pairs.change_background
    choices = minimal_pairs.caption_choices(change, count=count, things=THINGS)
    pictures = np.stack([world.render(scene, model.config.image_size) for scene, *_ in choices])
    pixel_values, lines = world.to_pixels(pictures), []
    texts = [tokenizer.encode([choice[which] for choice in choices]) for which in (1, 2)]
    scores = [cosine_and_match(model, pixel_values, ids) for ids in texts]
    for index, caption in enumerate(generate_captions(model, pixel_values)):
        line = [f"writes: {PROMPT} {caption}"]
        for which, (cosine, match) in enumerate(scores):
            text = choices[index][1 + which]
            line.append(f"'{text}': cosine {cosine[index]:.2f}, match {match[index]:.2f}")
        lines.append("\n".join(line))
    return plots.pictures(pictures, lines, columns=3)


def caption_with_padding(model: BLIP) -> tuple[Tensor, list[str]]:
    """A short caption beside a longer one, so that it has padding: ids (1, T), and its tokens."""
    ids = tokenizer.encode(["a picture of a cat", "a picture of a cat on red"])[:1]
    return ids, tokenizer.world_tokenizer().convert_ids_to_tokens(ids[0].tolist())


def text_parameters(scale: Scale) -> dict[str, int]:
    """Parameters of the text side for each row of Table 3."""
    found = {}
    for row, unshared in PARAMETER_SHARING.items():
        model = new_blip(recipes.blip.blip_config(scale, unshared=unshared))
        parts = (model.encoder, model.decoder, model.head)
        weights = {id(p): p.numel() for part in parts for p in part.parameters()}
        found[row] = sum(weights.values())
    return found


def relative_sizes(ours: Mapping[str, int]):
    """Parameters relative to those of the row 'all': the paper's whole model beside our text side."""
    column = "million parameters"
    groups = {
        row: {
            "the paper, whole model": table_3(row, column) / table_3("all", column),
            "ours, text side": ours[row] / ours["all"],
        }
        for row in PARAMETER_SHARING
    }
    return plots.bars(groups, "parameters (all shared = 1)", sideways=True)


def losses(history: Sequence[Step]):
    """The three losses of a run over its steps, with that of a matching head that knows only the share of right pairs."""
    series = {words: plots.interval_means(history, name, POINTS) for name, words in LOSSES.items()}
    lines = {"ITM that always says 1/3": float(BLIND_MATCH)}
    drawn = plots.curves(series, "step", "loss (nats)", lines=lines)
    drawn.axes[0].set_ylim(bottom=0)
    return drawn


def steps_per_point(history: Sequence[Step]) -> int:
    """Of how many steps a point of `losses` is the mean."""
    return max(1, len(history) // POINTS)


def shares_drawn(weights: Tensor, draws: int = 400) -> Tensor:
    """How often each text is drawn for each image: (B, B) weights -> (B, B) shares of `draws`."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(weights, draws, replacement=True, generator=generator)
    return torch.nn.functional.one_hot(drawn, weights.shape[1]).float().mean(1)


def pairs_of_pictures(
    change: Callable, count: int, size: int
) -> tuple[list[tuple[str, str]], Tensor]:
    """`count` held-out minimal pairs: their captions, and pixels (count, 2, 3, S, S) of both pictures."""
    captions, pictures, index = [], [], 0
    while len(captions) < count:
        scene = world.scenes.sample("test", index, 0, THINGS)
        changed = change(scene, world.SeededRandom("swap", 0, "test", index))
        both = [
            one and world.captions.detailed(one, world.SeededRandom("caption", index))
            for one in (scene, changed)
        ]
        if changed and both[0] != both[1]:
            captions.append(tuple(both))
            pictures.append([world.render(one, size) for one in (scene, changed)])
        index += 1
    pixels = world.to_pixels(np.stack(pictures).reshape(-1, *np.shape(pictures)[2:]))
    return captions, pixels.unflatten(0, (count, 2))  # fmt: skip


def scores_of_pairs(model: BLIP, change: Callable, count: int) -> dict[str, Tensor]:
    """Scores (N, 2, 2), picture i with caption j of each minimal pair: by ITM (probability) and by ITC (cosine)."""
    captions, pixels = pairs_of_pictures(change, count, model.config.image_size)
    ids = tokenizer.encode([text for both in captions for text in both]).unflatten(0, (count, 2))
    found = {"ITM": torch.empty(count, 2, 2), "ITC": torch.empty(count, 2, 2)}
    for i in (0, 1):
        for j in (0, 1):
            cosine, match = cosine_and_match(model, pixels[:, i], ids[:, j])
            found["ITC"][:, i, j], found["ITM"][:, i, j] = cosine, match
    return found


def pair_bars(model: BLIP, pair_scores: Callable, count: int):
    """Text, image and group score of both heads, for each kind of minimal pair, beside guessing."""
    groups = {}
    for name, change in CHANGES.items():
        for head, scores in scores_of_pairs(model, change, count).items():
            found = pair_scores(scores)
            groups[f"{name}: {head}"] = dict(zip(("text", "image", "group"), found))
    groups["guessing"] = {"text": 1 / 4, "image": 1 / 4, "group": 1 / 6}
    return plots.probability_bars(groups, "minimal pairs that are right (share)")


def minimal_pair_runs() -> list[dict]:
    """Saved runs on minimal pairs."""
    return evaluation.load_results("replicate_blip")["minimal pairs"]


TRAINED_BY = {
    "with contrast": "minimal pairs only:\nITC, ITM and LM",
    "without contrast": "minimal pairs only:\nITM and LM, no ITC",
}
"""Rows of the study of minimal pairs: their losses."""


def minimal_pair_study():
    """Held-out exchanged pairs by both heads: models trained as the shipped one, and on minimal pairs with ITC and without."""
    runs = minimal_pair_runs()
    ordinary = {
        head: over_seeds("all except SA", f"told apart, exchanged, by {key}")
        for head, key in (("ITM", "match"), ("ITC", "contrast"))
    }
    groups = {"as the shipped model,\n600 steps": ordinary} | {
        name: {
            head: evaluation.spread_over_seeds(runs, row, key)
            for head, key in (("ITM", "match"), ("ITC", "contrast"))
        }
        for row, name in TRAINED_BY.items()
    }
    return plots.bars(
        groups, "right caption preferred (share)", chance=0.5, sideways=True, highest=1
    )


def galleries(scale: Scale) -> dict[str, world.Pairs]:
    """Held-out pictures with their captions: any, and in minimal pairs."""
    size = scale.image_size
    return {
        "ordinary pictures": world.Pairs("test", size, things=THINGS),
        "minimal pairs": minimal_pairs.MinimalPairs("test", size, things=THINGS),
    }


def search(model: BLIP, data, count: int) -> tuple[Tensor, Callable]:
    """Cosines (N, N) of images and texts of a gallery with `count` different captions, and its slow scorer."""
    indices = data.distinct(count)
    images, texts = evaluation.embed(model, data, indices)
    batch = data.batch(indices)
    return images @ texts.T, match_scorer(model, batch["pixel_values"], batch["ids"])


def true_captions(data, count: int) -> Tensor:
    """(N, N) booleans of a gallery: is all that caption j states so in picture i?"""
    indices = data.distinct(count)
    facts = [evaluation.caption_facts(text) for text in data.batch(indices)["text"]]
    seen = [evaluation.scene_facts(scene) for scene in data.scenes(indices)]
    return torch.tensor([[bool(told) and told <= scene for told in facts] for scene in seen])


def first_places(
    similarity: Tensor, scorer: Callable, rerank: Callable, ks: Sequence[int]
) -> dict[int, tuple[Tensor, Tensor]]:
    """{k: number of the first text for each image, and of the first image for each text, (N,) each} with k candidates."""
    ways = (
        (similarity, scorer),
        (similarity.T, lambda texts, images: scorer(images, texts)),
    )
    return {
        k: tuple(rerank(cosines, judge, min(k, len(cosines)))[:, 0] for cosines, judge in ways)
        for k in ks
    }


def share_right(firsts: tuple[Tensor, Tensor], right: Tensor) -> float:
    """Mean of both directions: how often the first place is among the right ones, (N, N) booleans of images and texts."""
    texts, images = firsts
    each = torch.arange(len(right))
    hits = torch.stack([right[each, texts], right[images, each]])
    return hits.float().mean().item()


def rerank_curves(model: BLIP, scale: Scale, rerank: Callable, count: int):
    """First places that are right over the number of candidates, for both galleries: own captions, and all true ones."""
    series = {}
    for name, data in galleries(scale).items():
        true = true_captions(data, count)
        firsts = first_places(*search(model, data, count), rerank, (1, 2, 4, 8, 16))
        for kind, right in (
            ("any true caption", true),
            ("own caption (R@1)", torch.eye(count) > 0),
        ):
            points = {k: share_right(both, right) for k, both in firsts.items()}
            series[f"{name}: {kind}"] = points
    label = "k candidates re-ranked by ITM (1: the order of the cosines)"
    words = "first place right, mean of both directions"
    drawn = plots.curves(series, label, words, chance=1 / count, xlog=True)
    drawn.axes[0].set_ylim(0, 1.05)
    return drawn


def caption_bars(report: Mapping[str, float]):
    """CIDEr-D of captions with the picture, a blank one, and another one's."""
    names = {"CIDEr": "its picture", "CIDEr, blind": "blank", "CIDEr, shuffled": "another's"}
    return plots.bars(
        {"greedy captions": {words: report[key] for key, words in names.items()}},
        "CIDEr-D (0 to 10)",
    )


def caption_table(ways: Mapping[str, Sequence[str]], scenes: Sequence) -> str:
    """Captions of each way of decoding, and whether all that they state is so, as Markdown."""
    lines = ["| picture | " + " | ".join(ways) + " |", "|---" * (1 + len(ways)) + "|"]
    for index, (scene, *texts) in enumerate(zip(scenes, *ways.values())):
        cells = []
        for text in texts:
            facts = evaluation.caption_facts(text)
            right = bool(facts) and facts <= evaluation.scene_facts(scene)
            cells.append(f"{'✓' if right else '✗'} {text}")
        lines.append(f"| {index + 1} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def truth_table(model: BLIP, count: int) -> str:
    """Greedy captions of held-out pictures by the number of things: with exactly the right things, and stating nothing false."""
    pairs = world.Pairs("test", model.config.image_size, things=THINGS)
    captions = generate_captions(model, world.to_pixels(pairs.images(range(count))))
    both = list(zip(captions, pairs.scenes(range(count))))
    lines = [
        "| pictures of | number | captions with exactly the right things | with nothing false |",
        "|---|---|---|---|",
    ]
    for things, words in ((1, "one thing"), (2, "two things")):
        texts, scenes = zip(*((text, scene) for text, scene in both if len(scene.words) == things))
        facts = [evaluation.caption_facts(text) for text in texts]
        true = [bool(told) and told <= evaluation.scene_facts(s) for told, s in zip(facts, scenes)]
        named = round(evaluation.noun_accuracy(texts, scenes) * len(texts))
        lines.append(f"| {words} | {len(texts)} | {named} | {sum(true)} |")
    return "\n".join(lines)
