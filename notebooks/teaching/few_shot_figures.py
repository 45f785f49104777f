"""Lesson 12: its diagram and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from teaching.few_shot_measures import TEST, next_log_probs, seen_by, word_ids
from teaching.few_shot_model import Prompt
from vlmcourse import evaluation, plots, world
from vlmcourse.papers.flamingo import Flamingo
from vlmcourse.parts.language import decoder_layers, width
from vlmcourse.plots import Diagram
from vlmcourse.plots.style import describe
from vlmcourse.world import few_shot, interleaved, tokenizer
from vlmcourse.world.pages import single_thing

Score = evaluation.Spread | float


def rendered(scenes: Sequence, size: int) -> np.ndarray:
    """Scenes as pictures (N, S, S, 3)."""
    return np.stack([world.render(scene, size) for scene in scenes])


def on_two_backgrounds(word: str, draws: world.SeededRandom) -> tuple | None:
    """Two held-out pictures of a thing on different backgrounds; None if ten draws have one background."""
    first, *others = [single_thing(word, "test", draws) for _ in range(10)]
    return next(((first, one) for one in others if one.background != first.background), None)


def new_names(index: int) -> tuple[list, list, tuple[str, ...]]:
    """Four things with invented names: four examples (picture, sentence), three queries (picture, name), all names.

    Each query lies on another background than its example.
    """
    draws = world.SeededRandom("at work", index)
    words = draws.sample(world.pages.nouns_of_split("test"), 24)
    pairs = [pair for word in words if (pair := on_two_backgrounds(word, draws))][:4]
    names = tuple(draws.sample(tokenizer.INVENTED, 4))
    examples = [
        (picture, f"this is {world.article(name)}") for (picture, _), name in zip(pairs, names)
    ]
    order = draws.sample(range(4), 3)
    return examples, [(pairs[n][1], names[n]) for n in order], names


def at_work(model: Flamingo, prompt: Prompt, size: int, index: int = 0):
    """Four examples above, three queries below, each with the likeliest of the names and its probability."""
    examples, queries, names = new_names(index)
    prompts = [prompt(examples, picture, "this is a") for picture, _ in queries]
    found = next_log_probs(model, prompts, seen_by(model, size))[:, word_ids(names)].exp()
    best = found.argmax(1).tolist()
    captions = [f"this is a ...\n{names[n]} ({row[n]:.2f})" for n, row in zip(best, found)]
    hits = [names[n] == answer for n, (_, answer) in zip(best, queries)]
    return plots.stack_figures(
        plots.pictures(rendered([p for p, _ in examples], size), [f"{s} ." for _, s in examples]),
        plots.pictures(rendered([p for p, _ in queries], size), captions, hits),
    )


def system(model: Flamingo, tokens: int, pictures: int) -> Diagram:
    """A few-shot prompt on its way through Flamingo, and where an answer is scored."""
    c, D, patches = model.config, width(model.lm), model.vision.vit.grid**2
    diagram = Diagram("A task given by examples: no weight changes")
    add = diagram.box
    add(
        "pictures", f"{pictures} pictures", "examples, then the query", column=0, row=0, kind="data"
    )
    add("text", "the prompt's text", f"ids (1, {tokens})", column=0, row=1, kind="data")
    add(
        "vision",
        "image encoder",
        f"({pictures}, {patches + 1}, {c.vision_width})",
        f"{patches} patches and the class token",
        column=1,
        row=0,
        kind="frozen",
    )
    new = f"but {len(c.trainable_token_ids)} rows trained:", "<image> and <EOC>"
    add("words", "word embeddings", f"(1, {tokens}, {D})", *new, column=1, row=1, kind="frozen")
    latents = f"{c.latents} latents each", f"({pictures}, {c.latents}, {c.vision_width})"
    add("resampler", "resampler", *latents, column=2, row=0, kind="trained")
    lm = f"{len(decoder_layers(model.lm))} layers", f"(1, {tokens}, {D})"
    add("blocks", "gated blocks", "one before each layer", column=3, row=0, kind="trained")
    add("lm", "language model", *lm, column=3, row=1, kind="frozen")
    logits = f"(1, {tokens}, {len(tokenizer.world_tokenizer())})", "the last row counts"
    add("logits", "logits", *logits, column=4, row=1)
    add("options", "score the options", "or write freely", column=5, row=1)
    for source, target in (
        ("pictures", "vision"),
        ("text", "words"),
        ("vision", "resampler"),
        ("words", "lm"),
        ("resampler", "blocks"),
        ("lm", "logits"),
        ("logits", "options"),
    ):
        diagram.arrow(source, target)
    diagram.arrow("blocks", "lm")
    return diagram


def smoothed(
    history: Sequence[Mapping[str, float]], name: str, parts: int = 20
) -> dict[int, float]:
    """One data set's loss over the pages of it that were read: {step of this data set: mean since the last point}."""
    values = [step[name] for step in history if name in step]
    size = max(1, len(values) // parts)
    return {end: sum(values[end - size : end]) / size for end in range(size, len(values) + 1, size)}


def training_losses(runs: Mapping[str, Sequence], name: str):
    """The loss of one data set in several trainings, over batches of it."""
    series = {run: smoothed(history, name) for run, history in runs.items()}
    return plots.curves(series, f"batches of {name} read", f"loss on {name} (nats per token)")


def one_model(questions: int) -> str:
    """What to know of a share that was measured once: its standard error is the largest at one half."""
    error = 0.5 / questions**0.5
    return f"One model; the standard error of a value is at most {error:.2f}."


def best_possible(ways: int, shots: Sequence[int]) -> dict[int, float]:
    """Right names at best, by number of examples: a name that was said is known; else one guesses among the others."""
    return {k: min(k + 1, ways) / ways for k in shots}


def shots_curves(
    series: Mapping[str, Mapping[int, Score]],
    chance: float,
    ylabel: str,
    best: Mapping[int, float] | None = None,
):
    """Shares over the number of examples, on the whole scale. best: what is possible at best, as a line behind the others."""
    drawn = plots.curves(series, "examples in the prompt", ylabel, chance=chance)
    (axes,) = drawn.axes
    if best is not None:
        style = {"color": "black", "linestyle": (0, (1, 2)), "linewidth": 1.5, "zorder": 1}
        axes.plot(list(best), list(best.values()), label="best possible", **style)
        points = ", ".join(f"{k} → {value:.2f}" for k, value in best.items())
        describe(drawn, f"{drawn.description} Line best possible: {points}.")
    axes.set_xticks(sorted({x for points in series.values() for x in points}))
    axes.set_ylim(-0.03, 1.08)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return drawn


def share_bars(groups: Mapping[str, Mapping[str, Score]], ylabel: str, chance: float | None = None):
    """Lying bars of shares; a number that the line of chance would cross stands behind it."""
    drawn = plots.bars(groups, ylabel, chance, sideways=True, highest=1, form=".2f")
    (axes,) = drawn.axes
    axes.set_xlim(0, 1.15)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    for text in axes.texts:
        if chance is not None and text.xy[0] < chance < text.xy[0] + 0.14:
            text.xy = chance, text.xy[1]
    return drawn


def best_after(shown: Sequence[Sequence[str]], answers: Sequence[str], ways: int) -> float:
    """Right names at best: the right name is shown, or one guesses among those that aren't."""
    best = [1 if a in names else 1 / (ways - len(set(names))) for names, a in zip(shown, answers)]
    return sum(best) / len(best)


def copying_bars(
    groups: Mapping[str, Mapping[str, float]], best: Sequence[float], ylabel: str, chance: float
):
    """Bars of a model and of rules without one; a black mark on the model's, the first of each group, is the best possible."""
    drawn = share_bars(groups, ylabel, chance)
    (axes,) = drawn.axes
    wide = 0.8 / len(next(iter(groups.values())))
    for row, value in enumerate(best):
        end = row - 0.4
        mark = "best possible" if row == 0 else "_again"
        axes.vlines(value, end, end + wide, color="black", linewidth=2, label=mark)
        for text in axes.texts:  # a number that the mark would cross stands behind it
            if end < text.xy[1] < end + wide and 0 <= value - text.xy[0] < 0.1:
                text.xy = value, text.xy[1]
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    marks = ", ".join(f"{name} {value:.2f}" for name, value in zip(groups, best))
    return describe(drawn, f"{drawn.description} Marks, best possible: {marks}.")


def gain_bars(gain: Callable, tables: Mapping[str, Mapping]):
    """The paper's mean gains of each size, by the student's function."""
    groups = {}
    for size, scores in tables.items():
        groups[size] = {
            f"{low} to {high} examples": gain(scores, low, high)[0]
            for low, high in ((0, 4), (4, 32))
        }
    return plots.bars(
        groups, "mean gain (points of each task's own score)", sideways=True, form=".1f"
    )


def film_strip(uniform_frames: Callable, size: int, count: int = 4, index: int = 1):
    """A film of the course, and the frames that the student's function takes of it."""
    video, _ = few_shot.motion_episodes(interleaved.WebPages("test", frames=12), index + 1)[index]
    chosen = uniform_frames(len(video.frames), count)
    captions = [
        f"frame {n}" + (" (taken)" if n in chosen else "") for n in range(len(video.frames))
    ]
    drawn = plots.pictures(rendered(video.frames, size), captions, columns=6)
    for n in chosen:
        drawn.axes[0].patches[n].set(edgecolor="black", linewidth=3)
    return drawn, f"{world.article(video.mover)} moves {video.direction}"


def question_pictures(count: int) -> list:
    """Held-out pictures of one thing."""
    return [TEST.single_thing(index) for index in range(count)]
