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
from vlmcourse.world import prompts, tokenizer

LOSSES = {"itc": "ITC", "itm": "ITM", "itg": "ITG"}
POINTS = 25
ASKED = {
    "category": "what kind of thing is the thing ?",
    "place": "where can you find the thing ?",
}
"""What Figure 1 asks about things, whose answer is on no picture."""
KINDS = ("what", "background", "presence", "colour", "category", "place", "purpose")
"""What Figure 13 asks. *background*: its colour, which only the picture tells; *colour*: of a thing that is named."""


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
    tokens = tokenizer.world_tokenizer().convert_ids_to_tokens(ids[0].tolist())
    names = [*(f"q{r}" for r in range(R)), *tokens]
    axes = "column: is read", "row: reads"
    return plots.mask_gallery(shown | measured, axis_names=axes, positions=names), all(
        torch.equal(one, other) for one, other in zip(shown.values(), measured.values())
    )


def losses(history: Sequence[Step], vocabulary: int):
    """The three losses of a run over its steps, with that of a matching head that knows only the share of right pairs,
    and the least that smoothed targets allow."""
    series = {words: plots.interval_means(history, name, POINTS) for name, words in LOSSES.items()}
    lines = {
        f"ITM that always says 1/3: {float(BLIND_MATCH):.3f}": float(BLIND_MATCH),
        f"least ITC, no caption repeated: {least(BATCH):.3f}": least(BATCH),
        f"least ITG: {least(vocabulary):.3f}": least(vocabulary),
    }
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
    drawn = plots.bars(groups, "R@1 (share)", report["chance"], highest=1, form=".2f")
    (axes,) = drawn.axes
    axes.set_xticks([0, 1 - 0.8 / 6], list(groups))  # the second group has no third bar
    return line_named(drawn, f"guessing: 1 in {1 / report['chance']:.0f}")


def line_named(drawn, words: str):
    """A figure of plots.bars whose dashed line is called `words` in the legend."""
    (axes,) = drawn.axes
    (line,) = (one for one in axes.lines if str(one.get_label()).startswith("chance"))
    line.set_label(words)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return drawn


def pair_bars(model: Stage1, count: int):
    """Right caption preferred to that of a changed scene, by both heads."""
    changes = {
        "two things\nexchanged": world.minimal_pairs.swap_positions,
        "another\nbackground": world.minimal_pairs.change_background,
    }
    groups = {}
    for name, change in changes.items():
        found = recipe.caption_pair_accuracy(model, model.vision.image_size, change, count)
        groups[name] = {"ITC": found["contrast"], "ITM": found["match"]}
    drawn = plots.bars(groups, "right caption preferred (share)", 0.5, highest=1, form=".2f")
    return line_named(drawn, "guessing: 1 in 2")


def usage_bars(right: Tensor, wrong: Tensor):
    """How often each query is the best, in right pairs and in wrong ones."""
    R = len(right)
    groups = {
        f"{r}": {"right pairs": right[r].item(), "wrong pairs": wrong[r].item()} for r in range(R)
    }
    drawn = plots.bars(groups, "share of pairs", chance=1 / R, highest=1, form=".2f")
    drawn.axes[0].set_xlabel("query")
    return line_named(drawn, f"all equally often: 1/{R}")


def recall_bars(found: Mapping[str, float], chance: float):
    """R@1 of all queries and of each alone."""
    groups = {name: {"R@1": value} for name, value in found.items()}
    drawn = plots.bars(groups, "R@1 (share)", chance, highest=1, form=".2f")
    drawn.axes[0].set_xlabel("query that is kept")
    return line_named(drawn, f"guessing: 1 in {1 / chance:.0f}")


def stage2_curves(histories: Mapping[str, Sequence[Step]]):
    """Losses of runs of stage 2 over their steps."""
    series = {name: plots.interval_means(run, "lm", POINTS) for name, run in histories.items()}
    return plots.curves(series, "step of stage 2", "loss (nats per token)", ylog=True)


def answer_bars(model: BLIP2, language_model: LanguageModel, count: int):
    """Answers to questions about held-out pictures, with controls and with right words in place of the picture."""
    groups, chances = {}, {}
    prefix = recipe.image_prefix(model.qformer.config.queries)

    def share(episodes, view=world.to_pixels, shuffled=False) -> float:
        size = model.vision.image_size
        return frozen.episode_accuracy(
            model, episodes, view, shuffled, image_prefix=prefix, size=size
        )

    for kind in KINDS:
        episodes = questions(kind, count)
        groups[kind] = {
            "its picture": share(episodes),
            "blank": share(episodes, prompts.blank_images),
            "another's": share(episodes, shuffled=True),
            "right words": frozen.text_only_accuracy(language_model, episodes),
        }
        chances[kind] = dict.fromkeys(groups[kind], 1 / len(episodes[0].choices))
    drawn = plots.bars(groups, "right answers (share)", sideways=True, highest=1, form=".2f")
    for number in drawn.axes[0].texts:  # those that would stand under a mark of chance
        value, row = number.xy
        if 0 <= next(iter(chances[KINDS[round(row)]].values())) - value < 0.06:
            number.xyann = (20, 0)
    guessed = {
        kind: row | {"guessing": next(iter(chances[kind].values()))} for kind, row in groups.items()
    }
    return with_chance(drawn, chances, "guessing"), guessed


def questions(kind: str, count: int) -> list:
    """Questions of one of KINDS about held-out pictures."""
    if kind not in ("colour", "background"):
        return frozen.vqa_episodes(kind, 0, count)
    both = frozen.vqa_episodes("colour", 0, 6 * count)  # three in ten ask about the background
    asks = [
        any("background" in part for part in one.prompt if isinstance(part, str)) for one in both
    ]
    return [one for one, does in zip(both, asks) if does == (kind == "background")][:count]


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
    drawn = plots.bars(groups, "right noun (share)", sideways=True, highest=1, form=".2f")
    (axes,), whole = drawn.axes, nouns_after(model, scenes, everyone)
    axes.set_ylabel("query")
    axes.axvline(whole, color="black", linewidth=1.2, label=f"all queries: {whole:.2f}")
    guess = 1 / len(world.nouns())
    named = f"guessing: 1 in {len(world.nouns())}"
    axes.axvline(guess, color="black", linestyle="--", linewidth=1.2, label=named)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return drawn, groups, whole


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
