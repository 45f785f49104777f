"""Lesson 10: its figures, what they measure, and a player that keeps some of the queries alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from teaching.blip2_measures import nouns_after, rendered
from teaching.blip2_model import BATCH
from teaching.blip_figures import BLIND_MATCH
from teaching.frozen_figures import with_chance
from vlmcourse import evaluation, introspection, plots, world
from vlmcourse.papers.blip2 import BLIP2, LABEL_SMOOTHING, Stage1
from vlmcourse.papers.qformer import QFormer
from vlmcourse.parts.language import LanguageModel
from vlmcourse.plots import picture_and_bars
from vlmcourse.recipes import blip2 as recipe
from vlmcourse.recipes import frozen
from vlmcourse.training.fit import Step
from vlmcourse.widgets.interactive import interactive, slider
from vlmcourse.world import prompts

LOSSES = {"itc": "ITC", "itm": "ITM", "itg": "ITG"}
POINTS = 25
ASKED = {
    "category": "what kind of thing is the thing ?",
    "place": "where can you find the thing ?",
}
"""What Figure 1 asks about things, whose answer is on no picture."""
KINDS = ("what", "colour", "presence", "category", "place", "purpose")


def at_work(model: BLIP2, scenes: Sequence[world.Scene]):
    """Pictures with the model's caption, and its answers to two questions of knowledge."""
    size, prefix = model.vision.image_size, recipe.image_prefix(model.qformer.config.queries)
    captions, lines = recipe.generate_captions(model, size, scenes), []
    answers = {}
    for kind, text in ASKED.items():
        pages = [(scene, f"question : {text} answer :") for scene in scenes]
        data = prompts.Prompts(pages, size, prefix)
        answers[kind] = evaluation.next_token_probabilities(model, data, 1)
    for number, (scene, caption) in enumerate(zip(scenes, captions)):
        facts = evaluation.caption_facts(caption)
        right = bool(facts) and facts <= evaluation.scene_facts(scene)
        rows = [f"{'✓' if right else '✗'} a picture of {caption}"]
        for kind, found in answers.items():
            (answer,) = found[number]
            mark = "✓" if answer == getattr(scene.things[0].noun, kind) else "✗"
            rows.append(f"{mark} {kind}: {answer}")
        lines.append("\n".join(rows))
    return plots.pictures(rendered(scenes, size), lines, columns=3)


def declared_and_measured(qformer: QFormer, features: Tensor, mask_of: Callable, ids: Tensor):
    """The three masks (1, 1, L, L), and who moves whom in a layer of the Q-Former under each, by derivatives."""
    R, is_token = qformer.config.queries, ids != qformer.config.pad_token_id
    with torch.no_grad():
        x = qformer.norm(torch.cat([qformer.queries[None], qformer.embed(ids)], dim=1))
        image = qformer.norm_image(features)
    shown, measured = {}, {}
    for objective, name in LOSSES.items():
        mask = mask_of(objective, R, is_token)
        moved = introspection.influence(lambda x: qformer.layers[0](x, R, image, mask), x) > 1e-7
        shown[f"{name}: declared"], measured[f"{name}: measured"] = mask[0, 0], moved
    return plots.mask_gallery(shown | measured), all(
        torch.equal(one, other) for one, other in zip(shown.values(), measured.values())
    )


def losses(history: Sequence[Step]):
    """The three losses of a run over its steps, with that of a matching head that knows only the share of right pairs."""
    series = {words: plots.interval_means(history, name, POINTS) for name, words in LOSSES.items()}
    lines = {"ITM that always says 1/3": float(BLIND_MATCH)}
    return plots.curves(series, "step", "loss (nats)", lines=lines)


def least(classes: int) -> float:
    """The least cross-entropy that smoothed targets with one right class allow: their entropy, in nats."""
    wrong = LABEL_SMOOTHING / classes
    right = 1 - LABEL_SMOOTHING + wrong
    return float(-right * np.log(right) - (classes - 1) * wrong * np.log(wrong))


def steps_per_point(history: Sequence[Step]) -> int:
    """Of how many steps a point of `losses` is the mean."""
    return max(1, len(history) // POINTS)


def retrieval_bars(report: Mapping[str, float]):
    """R@1 in both directions: by ITC, re-ranked by ITM, blind."""
    groups = {
        way: {
            "ITC": report[f"{way} R@1"],
            "re-ranked by ITM": report[f"{way}, re-ranked R@1"],
        }
        for way in ("image to text", "text to image")
    }
    groups["image to text"]["ITC, blank pictures"] = report["image to text R@1, blind"]
    return plots.bars(groups, "R@1 (share)", report["chance"], highest=1)


def pair_bars(model: Stage1, count: int):
    """Right caption preferred to that of a changed scene, by both heads."""
    changes = {
        "two things\nexchanged": world.minimal_pairs.swap_positions,
        "another\nbackground": world.minimal_pairs.change_background,
    }
    groups = {}
    for name, change in changes.items():
        found = recipe.caption_pair_accuracy(model, model.vision.image_size, change, count)
        groups[name] = {"ITM": found["match"], "ITC": found["contrast"]}
    return plots.bars(groups, "right caption preferred (share)", 0.5, highest=1)


def usage_bars(shares: Tensor):
    """How often each query is the best."""
    R = len(shares)
    groups = {f"{r}": {"share": shares[r].item()} for r in range(R)}
    drawn = plots.bars(groups, "share of pictures", chance=1 / R, highest=1)
    drawn.axes[0].set_xlabel("query")
    return drawn


def recall_bars(found: Mapping[str, float], chance: float):
    """R@1 of all queries and of each alone."""
    drawn = plots.bars(
        {name: {"R@1": value} for name, value in found.items()}, "R@1 (share)", chance, highest=1
    )
    drawn.axes[0].set_xlabel("query that is kept")
    return drawn


def stage2_curves(histories: Mapping[str, Sequence[Step]]):
    """Losses of runs of stage 2 over their steps."""
    series = {name: plots.interval_means(run, "lm", POINTS) for name, run in histories.items()}
    return plots.curves(series, "step of stage 2", "loss (nats per token)")


def answer_bars(model: BLIP2, language_model: LanguageModel, count: int):
    """Answers to questions about held-out pictures, with controls and with right words in place of the picture."""
    size, groups, chances = model.vision.image_size, {}, {}
    for kind in KINDS:
        episodes = frozen.vqa_episodes(kind, 0, count)
        groups[kind] = {
            "its picture": recipe.question_accuracy(model, size, kind, count),
            "blank": recipe.question_accuracy(model, size, kind, count, prompts.blank_images),
            "another's": recipe.question_accuracy(model, size, kind, count, shuffled=True),
            "right words": frozen.text_only_accuracy(language_model, episodes),
        }
        chances[kind] = dict.fromkeys(groups[kind], 1 / len(episodes[0].choices))
    drawn = plots.bars(groups, "right answers (share)", sideways=True, highest=1, form=".2f")
    for number in drawn.axes[0].texts:  # those that would stand under a mark of chance
        value, row = number.xy
        if 0 <= next(iter(chances[KINDS[round(row)]].values())) - value < 0.06:
            number.xyann = (20, 0)
    return with_chance(drawn, chances), groups


def query_bars(model: BLIP2, scenes: Sequence[world.Scene]):
    """Right nouns with each query alone, and without each."""
    R = model.qformer.config.queries
    everyone = [*range(R)]
    groups = {
        f"{r}": {
            "alone": nouns_after(model, scenes, [r]),
            "left out": nouns_after(model, scenes, [q for q in everyone if q != r]),
        }
        for r in everyone
    }
    drawn = plots.bars(groups, "right noun (share)", sideways=True, highest=1)
    drawn.axes[0].set_ylabel("query")
    return drawn, groups, nouns_after(model, scenes, everyone)


def queries_player(
    after: Callable[[int, tuple[int, ...]], dict[str, float]],
    images: np.ndarray,
    queries: int,
    first: Sequence[int] = (0,),
) -> None:
    """Displays pictures (N, S, S, 3) to choose from and queries to keep; the others are taken out of the prompt.

    after  (picture number, numbers of the queries kept) -> {word: probability}, the likeliest first
    """
    import ipywidgets

    picture = slider("picture", 0, 0, len(images) - 1)
    kept = ipywidgets.SelectMultiple(
        options=range(queries), value=tuple(first), description="queries", rows=min(queries, 8)
    )

    def draw():
        if not kept.value:
            raise ValueError(
                "no query is left, so the language model gets nothing of the picture. Choose at least one."
            )
        likely = after(picture.value, kept.value)
        return picture_and_bars(images[picture.value], likely, "probability of the next word")

    interactive([picture, kept], draw)


def chance_of_loss() -> float:
    """ITC of who guesses among a batch of the small world."""
    return float(np.log(BATCH))
