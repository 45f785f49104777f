"""Lesson 09: figures and tables of captions, of the filter and of the small web."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from teaching.capfilt_recipe import web_pairs
from teaching.capfilt_reference import Pair, ngram_weights
from teaching.capfilt_run import Run, SmallWeb, is_true
from teaching.capfilt_tables import over_seeds
from vlmcourse import plots, world
from vlmcourse.evaluation import eval_mode
from vlmcourse.evaluation.captioning import split_caption
from vlmcourse.papers.blip import BLIP
from vlmcourse.parts import generation
from vlmcourse.recipes.blip import PROMPT, THINGS, generate_captions, references
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

ROWS = {
    "noisy": "neither",
    "F": "filter only",
    "C": "captioner only",
    "C and F": "captioner and filter",
}
"""Rows of Table 1's replication."""


def match_probability(model: BLIP, pixel_values: Tensor, texts: Sequence[str]) -> Tensor:
    """ITM's probability (N,) that each text matches its picture."""
    with eval_mode(model):
        context = model.vision_context(pixel_values)
        return model.itm_logits(tokenizer.encode(list(texts)), **context).softmax(-1)[:, 1]


def at_work(model: BLIP, scale: Scale):
    """Three pictures of a web: the web's caption, one that BLIP writes, and both probabilities of a match."""
    pairs = web_pairs(scale, 60).pairs
    alone = [index for index in range(60) if len(pairs.scene(index).words) == 1]
    right = [index for index in alone if is_true(pairs.text(index), pairs.scene(index))]
    false = [index for index in alone if index not in right]
    numbers = [false[0], right[0], false[1]]
    pixel_values, web = (
        world.to_pixels(pairs.images(numbers)),
        [pairs.text(index) for index in numbers],
    )
    synthetic = [f"{PROMPT} {text}" for text in generate_captions(model, pixel_values)]
    lines = []
    for number, texts in enumerate(zip(web, synthetic)):
        line = []
        for kind, text in zip(("web", "BLIP"), texts):
            part = pixel_values[number : number + 1]
            match = match_probability(model, part, [text])[0]
            line.append(f"{kind}: '{text}', match {match:.2f}")
        lines.append("\n".join(line))
    return plots.pictures(pairs.images(numbers), lines, columns=3)


def ways_of_writing(model: BLIP, count: int) -> dict[str, list[str]]:
    """Captions of `count` held-out pictures: greedy, with three beams, and twice from the nucleus."""
    pairs = world.Pairs("test", model.config.image_size, things=THINGS)
    pixel_values = world.to_pixels(pairs.images(range(count)))
    sampler = generation.nucleus(0.9, generator=torch.Generator().manual_seed(0))
    return {
        "greedy": generate_captions(model, pixel_values),
        "3 beams": generate_captions(model, pixel_values, beams=3),
        "nucleus, p = 0.9": generate_captions(model, pixel_values, sampler),
    }


def held_out_scenes(count: int) -> list[world.Scene]:
    """The scenes of those pictures."""
    return world.Pairs("test", things=THINGS).scenes(range(count))


def reference_words(scenes: Sequence[world.Scene]) -> list[list[list[str]]]:
    """The references of each picture as lists of words."""
    return [[split_caption(text) for text in references(scene)] for scene in scenes]


def grams(words: Sequence[str], n: int) -> Counter:
    """How often each n-gram stands in a text."""
    return Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1))


def cider_d(
    captions: Sequence[str],
    given: Sequence[Sequence[Sequence[str]]],
    ngram_weights: Callable,
    clipped_cosine: Callable,
) -> list[float]:
    """CIDEr-D of each caption from the student's functions: n = 1 to 4, all references, and the penalty for the length."""
    weights = {n: ngram_weights(given, n) for n in range(1, 5)}
    unseen, found = float(np.log(len(given))), []
    for caption, texts in zip(captions, given):
        words, total = split_caption(caption), 0.0
        for text in texts:
            cosines = [
                clipped_cosine(grams(words, n), grams(text, n), weights[n], unseen)
                for n in range(1, 5)
            ]
            difference = max(0, len(words) - 1) - max(0, len(text) - 1)
            total += sum(cosines) / 4 * float(np.exp(-(difference**2) / 72))
        found.append(10 * total / len(texts))
    return found


def writing_table(ways: Mapping[str, Sequence[str]], scenes: Sequence[world.Scene], score) -> str:
    """CIDEr-D and false captions of each way of writing, as Markdown."""
    lines = [
        "| way of writing | CIDEr-D (0 to 10) | false, pictures of one thing | false, of two things |",
        "|---|---|---|---|",
    ]
    for name, captions in ways.items():
        cells = []
        for things in (1, 2):
            false = [
                not is_true(text, scene)
                for text, scene in zip(captions, scenes)
                if len(scene.words) == things
            ]
            cells.append(f"{sum(false)} of {len(false)}")
        lines.append(f"| {name} | {np.mean(score(captions)):.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def weight_bars(given: Sequence[Sequence[Sequence[str]]], weigh: Callable = ngram_weights):
    """Weights of some words, of the rarest and of the most common ones."""
    weights = weigh(given, 1)
    order = sorted(weights, key=weights.__getitem__)
    chosen = [*order[:4], *order[len(order) // 2 : len(order) // 2 + 2], *order[-2:]]
    groups = {gram[0]: {"weight": weights[gram]} for gram in dict.fromkeys(chosen)}
    return plots.bars(groups, "weight: ln(pictures / pictures with it)", form=".2f")


def web_pictures(small: SmallWeb, count: int = 6):
    """The web's first pictures with their captions: right or not."""
    numbers = range(count)
    texts = [small.web[number][1] for number in numbers]
    return plots.pictures(
        small.pictures(numbers), texts, [not bad for bad in small.noisy[:count].tolist()]
    )


def probabilities(run: Run, pairs: Sequence[Pair]) -> Tensor:
    """The filter's probability (N,) that each pair matches."""
    return run.match_logits(run.model("filter"), pairs).softmax(-1)[:, 1]


def what_was_made(run: Run, count: int = 6):
    """Web pictures with the captioner's captions: right or not, and the filter's probability."""
    made = run.made[:count]
    match = probabilities(run, made)
    texts = [f"{text}\nmatch {p:.2f}" for (_, text), p in zip(made, match)]
    right = [not bad for bad in run.small.false(made).tolist()]
    return plots.pictures(run.small.pictures([number for number, _ in made]), texts, right)


def filter_table(run: Run, keep_captions: Callable, filter_quality: Callable, threshold: float):
    """What the filter does with web and synthetic captions, as Markdown, with a sentence on what is still false."""
    lines = [
        "| captions | false before | thrown out | right ones thrown out | precision | recall | false after |",
        "|---|---|---|---|---|---|---|",
    ]
    still = {}
    for name, pairs in (("web", run.small.web), ("synthetic", run.made)):
        false = run.small.false(pairs)
        keep = keep_captions(run.match_logits(run.model("filter"), pairs), threshold)
        precision, recall = filter_quality(keep, false)
        after = false[keep].float().mean().item() if keep.any() else 0.0
        lost = (~keep)[~false].float().mean().item() if (~false).any() else 0.0
        still[name] = (false.float().mean().item(), after)
        cells = (false.float().mean(), (~keep).float().mean(), lost, precision, recall, after)
        lines.append(f"| {name} | " + " | ".join(f"{float(cell):.2f}" for cell in cells) + " |")
    (web, _), (made, kept) = still.values()
    return "\n".join(lines) + (
        f"\n\nThe last column: of the synthetic captions that are kept, {kept:.2f} are still false, "
        f"because {made:.2f} of all were. The raw web has {web:.2f}."
    )


def threshold_curves(probability: Tensor, false: Tensor, quality: Callable):
    """Precision and recall of finding false captions, and the right captions that are kept, over the threshold.

    A level line: the share of false captions, which is the precision of throwing out at random.
    """
    series: dict[str, dict[float, float]] = {
        name: {} for name in ("precision", "recall", "right captions kept")
    }
    at_random = false.float().mean().item()
    for threshold in (step / 20 for step in range(1, 20)):
        keep = probability >= threshold
        values = *quality(keep, false), keep[~false].float().mean().item()
        for name, value in zip(series, values):
            series[name][threshold] = float(value)
    drawn = plots.curves(
        series,
        "threshold of the match probability",
        "share of captions",
        lines={f"precision at random, {at_random:.2f}": at_random},
    )
    drawn.axes[0].set_ylim(0, 1.05)
    return drawn


class FourTrainings(plots.LiveCurve):
    """The curve of a run's trainings, one after the other, with their names where each begins."""

    def __init__(self, steps: int):
        super().__init__()
        tuning = max(2, steps // 3)
        self.begins = {
            "first model": 1,
            "captioner": 1 + steps,
            "filter": 1 + steps + tuning,
            "new model": 1 + steps + 2 * tuning,
        }

    def figure(self):
        """The curve with the names."""
        drawn, last = super().figure(), self.history[-1].step
        axes = drawn.axes[0]
        axes.get_legend().remove()
        top = 1.15 * max(step.loss for step in self.history)
        axes.set(ylim=(0, top), ylabel="sum of the losses (nats), running mean\n(pale: each step)")
        for name, begin in self.begins.items():
            if begin <= last:
                axes.axvline(begin, color="grey", linewidth=1)
                axes.text(begin, top, f" {name}", va="top", fontsize=9)
        names = ", ".join(f"{name} from step {begin}" for name, begin in self.begins.items())
        drawn.description += f" Vertical lines: {names}."
        return drawn


def live_bars(before: Mapping[str, float], after: Mapping[str, float]):
    """Scores of the first model and of the new one."""
    groups = {
        words: {"first model": before[key], "new model": after[key]}
        for key, words in (
            ("caption found", "right caption found\n(ITC, 1 of 96)"),
            ("caption written", "nothing false in\nwritten caption"),
        )
    }
    return plots.bars(groups, "share of test pictures", form=".2f")


def large_runs(key: str | tuple[str, ...], label: str, highest: float):
    """One measurement of the large runs of Table 1 over seeds."""
    groups = {words: {label: over_seeds("capfilt", row, key)} for row, words in ROWS.items()}
    return plots.bars(groups, label, sideways=True, highest=highest)
