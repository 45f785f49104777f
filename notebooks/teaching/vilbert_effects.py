"""Lesson 04: what [MASK] attends to, beside what happens to the right word if a region is masked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from teaching.vilbert_figures import GAP, pairs_of_things, with_gap
from vlmcourse import evaluation, introspection, plots
from vlmcourse.evaluation import masked
from vlmcourse.papers.vilbert import ViLBERT, sample_zeroed_regions
from vlmcourse.parts.bert import mask_tokens, maskable, sample_mask
from vlmcourse.training.stages import seeded
from vlmcourse.world import tokenizer
from vlmcourse.world.regions import RegionDataset


@dataclass(frozen=True)
class Effect:
    """A masked noun of a caption: what [MASK] attends to, and the right word's probability if a region is masked.

    text       the caption with a gap
    words      what the regions show; the first one is the noun
    attention  of [MASK] in the first and in the last co-attention layer, mean over heads: to the IMG token, then to each region
    whole      probability of the right word with all regions;  without: with one of them masked
    """

    text: str
    words: tuple[str, ...]
    attention: tuple[list[float], list[float]]
    whole: float
    without: list[float]


def region_effect(model: ViLBERT, data: RegionDataset, index: int) -> Effect:
    """The effect of each region of a picture on the first thing's name in its caption."""
    words = data.pairs.scene(index).words
    inputs, position = with_gap(data, index, words[0])
    maps = introspection.attention_weights(model, lambda: model.mlm_logits(inputs))
    first, last = (
        maps[f"encoder.co_attention.{layer}.text.attention"][0].mean(0)[position].tolist()
        for layer in (0, len(model.encoder.co_attention) - 1)
    )
    target = tokenizer.encode([words[0]])[0, 1]
    hidden = torch.cat([torch.zeros(1, len(words)), torch.eye(len(words))]).bool()
    rows = masked.select_rows(inputs, torch.zeros(len(hidden), dtype=torch.long))
    with torch.no_grad():
        logits = model.mlm_logits(rows, masked_regions=hidden)[:, position]
    whole, *without = logits.softmax(-1)[:, target].tolist()
    text = " ".join(tokenizer.split_words(data.pairs.text(index))).replace(words[0], GAP, 1)
    return Effect(text, words, (first, last), whole, without)


def attention_and_effect(effect: Effect):
    """Attention of [MASK] in the last layer, beside how the right word's probability changes if a region is masked.

    Three decimals; the IMG token, which can't be masked alone, has no change.
    """
    image, *regions = effect.attention[-1]
    groups = {
        f"region: {word}": {
            "attention of [MASK] to it": round(attention, 3),
            f"change of P({effect.words[0]}) if it is masked": round(without - effect.whole, 3),
        }
        for word, attention, without in zip(effect.words, regions, effect.without)
    } | {"IMG token\n(not masked alone)": {"attention of [MASK] to it": round(image, 3)}}
    return plots.bars(groups, "attention, or change of probability", sideways=True)


def effect_in_words(effect: Effect) -> str:
    """What `attention_and_effect` shows of the last region, as a sentence."""
    return (
        f"With the {effect.words[-1]} masked, the probability of '{effect.words[0]}' goes from "
        f"{effect.whole:.2f} to {effect.without[-1]:.2f}, and {effect.attention[-1][-1]:.3f} of the attention goes to it."
    )


def many_effects(model: ViLBERT, data: RegionDataset, count: int) -> str:
    """Over `count` pictures of two things, as a Markdown table: attention in both layers, and the effect of masking a region."""
    found = [region_effect(model, data, index) for index in pairs_of_things(data, count)]
    lines = [
        "| [MASK] attends to | attention, first layer | attention, last layer | masked: probability falls "
        "| changes by at most 0.02 | rises |",
        "|---|---|---|---|---|---|",
    ]
    names = "the region of the masked noun", "the other region", "the IMG token"
    for name, place in zip(names, (1, 2, 0)):
        first, last = (
            np.mean([effect.attention[layer][place] for effect in found]) for layer in (0, 1)
        )
        counts = ["–", "–", "–"]
        if place:
            change = np.array([effect.without[place - 1] - effect.whole for effect in found])
            falls, rises = int((change < -0.02).sum()), int((change > 0.02).sum())
            counts = [str(falls), str(len(found) - falls - rises), str(rises)]
        lines.append(f"| {name} | {first:.2f} | {last:.2f} | {' | '.join(counts)} |")
    return "\n".join(lines)


def word_loss_parts(model: ViLBERT, data: RegionDataset, count: int = 512) -> dict[str, float]:
    """Shares of the word loss on the first captions, with words and regions masked at random as in training.

    A noun is hidden if the features of its region are set to zero, a background if those of any region are.
    """
    batch, c, kinds = data.batch(range(count)), model.config, masked.word_kinds()
    ids = batch["ids"]
    with seeded(0):
        words = sample_mask(maskable(ids), c.mask_prob)
        zeroed = sample_zeroed_regions(sample_mask(batch["region_mask"], c.mask_prob))
        inputs = {**batch, "ids": mask_tokens(ids, words, c.mask_token_id, c.vocabulary)}
    with evaluation.eval_mode(model):
        logits = model.mlm_logits(inputs, masked_regions=zeroed)
    losses = cross_entropy(logits[words], ids[words], reduction="none")
    is_hidden = zeroed.any(1)[:, None].expand_as(ids).clone()
    for row in range(count):
        for thing, noun in enumerate(data.pairs.scene(row).words):
            is_hidden[row, ids[row] == tokenizer.encode([noun])[0, 1]] = zeroed[row, thing]
    told = torch.isin(ids, torch.cat([kinds["nouns"], kinds["backgrounds"]]))
    is_place = torch.isin(ids, kinds["places"])
    parts = {
        "things and backgrounds, region hidden": told & is_hidden,
        "things and backgrounds, region there": told & ~is_hidden,
        "words of place": is_place,
        "all other words": ~told & ~is_place,
    }
    return {name: float(losses[part[words]].sum() / losses.sum()) for name, part in parts.items()}
