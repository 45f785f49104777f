"""Lesson 13: its diagram, figures and tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from teaching import side_by_side_measures as measures
from teaching.frozen_figures import rendered
from teaching.side_by_side_systems import CAPTION, VECTORS, Bridged, Habits, companion
from teaching.side_by_side_tables import compared_systems, scores
from vlmcourse import evaluation, plots, recipes, world
from vlmcourse.evaluation import eval_mode
from vlmcourse.evaluation.interface import PromptedModel
from vlmcourse.parts.language import width
from vlmcourse.plots import Diagram
from vlmcourse.plots.style import DARK, course_style, describe, figure, hide_axes
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer
from vlmcourse.world.questions import answers


def at_work(systems: Mapping[str, PromptedModel], shown: Sequence[world.Scene]):
    """Pictures with the caption of each system; ✓ where it names every thing."""
    written = {name: system.captions(shown) for name, system in systems.items()}
    lines = []
    for number, scene in enumerate(shown):
        said = {name: texts[number] for name, texts in written.items()}
        marks = {n: "✓" if set(scene.words) <= set(t.split()) else "✗" for n, t in said.items()}
        lines.append("\n".join(f"{marks[name]} {name}: {text}" for name, text in said.items()))
    size = next(iter(systems.values())).size
    return plots.pictures(rendered(shown, 2 * size), lines, columns=3)


def habits_figure(size: int, count: int = 6):
    """Training pictures with their captions."""
    pictures = Habits()
    shown = [pictures.scene(index) for index in range(count)]
    return plots.pictures(rendered(shown, size), [pictures.text(n) for n in range(count)])


def bridges(model: Bridged, scale: Scale) -> Diagram:
    """What stands between the image encoder and the language model in each system, with the shapes of our models."""
    C, D, size = scale.width, width(model.lm), scale.image_size
    P = (size // 16) ** 2 + 1
    queries = recipes.get("blip2").train_or_load(scale).model.qformer.config.queries
    layers = model.lm.config.num_hidden_layers
    diagram = Diagram("Four ways from a picture to a frozen language model")
    add = diagram.box
    add("pixels", "picture", f"pixels (1, 3, {size}, {size})", column=0, row=1.5, kind="data")
    add("clip", "CLIP's encoder", f"summary (1, {C})", f"patches (1, {P}, {C})", column=1, row=1, kind="frozen")  # fmt: skip
    add("own", "encoder of its own", f"summary (1, {C})", column=1, row=3, kind="trained")
    add("map", "matrix or MLP", f"summary to (1, {VECTORS}, {D})", column=2, row=0, kind="trained")
    add("qformer", "BLIP-2: Q-Former", f"patches to (1, {queries}, {D})", column=2, row=1, kind="trained")  # fmt: skip
    add("gates", "Flamingo: resampler, gates", f"latents into {layers} layers", column=2, row=2, kind="trained")  # fmt: skip
    add("frozen", "Frozen: matrix", f"summary to (1, {VECTORS}, {D})", column=2, row=3, kind="trained")  # fmt: skip
    add("lm", "language model", f"{layers} layers, width {D}", column=3, row=1.5, kind="frozen")
    add("loss", "loss", "on the caption", column=4, row=1.5, kind="loss")
    for source, target, label in (
        ("pixels", "clip", ""),
        ("pixels", "own", ""),
        ("clip", "map", ""),
        ("clip", "qformer", ""),
        ("clip", "gates", ""),
        ("own", "frozen", ""),
        ("map", "lm", "as words"),
        ("qformer", "lm", "as words"),
        ("gates", "lm", "between layers"),
        ("frozen", "lm", "as words"),
        ("lm", "loss", ""),
    ):
        diagram.arrow(source, target, label)
    return diagram


def comparison_figure():
    """Bars of three measurements of all systems on equal terms."""
    kept = ("noun", "kind of thing", "names, 8 examples")
    groups: dict[str, dict] = {name: {} for name in compared_systems()}
    for measure in kept:
        for name, values in scores(measure).items():
            groups[name][measure] = evaluation.spread(values)
    kinds, nouns = len(answers("category")), len(world.known_nouns())
    groups["guessing"] = dict(zip(kept, (1 / nouns, 1 / kinds, 1 / 4)))
    return plots.bars(groups, "right answers (share)", sideways=True, highest=1, form=".2f")


def naming_figure(found: Mapping[str, Mapping[str, float]], chance: float):
    """Bars of right nouns."""
    return plots.bars(found, "captions that name the thing (share)", chance, sideways=True, highest=1, form=".2f")  # fmt: skip


def absent_figure(shown: Sequence[world.Scene], absent_nouns: Callable, size: int):
    """Pictures with what is asked for, in each way of choosing what isn't there."""
    asked = {sampler: measures.asked_nouns(shown, sampler, absent_nouns) for sampler in measures.SAMPLERS}  # fmt: skip
    lines = [
        "\n".join([f"there: {asked['random'][n][0]}", *(f"{s}: {asked[s][n][1]}" for s in asked)])
        for n in range(len(shown))
    ]
    return plots.pictures(rendered(shown, size), lines, columns=4)


def companions_sentence(nouns: Sequence[str]) -> str:
    return ", ".join(f"{word} with {companion(word)}" for word in nouns)


def pope_figure(found: Mapping[str, Mapping[str, Mapping[str, float]]]):
    """Bars of accuracy of each system by the way absent nouns are chosen."""
    groups = {
        name: {sampler: scores["accuracy"] for sampler, scores in by.items()}
        for name, by in found.items()
    }
    return plots.bars(groups, "accuracy (share)", 0.5, sideways=True, highest=1, form=".2f")


def noun_score(system: PromptedModel, scene: world.Scene) -> Callable[[Tensor], Tensor]:
    """pixels (K, 3, S, S) -> log-probability of the scene's noun after "a picture of a", (K,)."""
    article = world.article(scene.words[0]).split()[0]
    batch = system.prompts([(scene, f"{CAPTION} {article}")]).batch([0])
    id = tokenizer.encode([scene.words[0]])[0, 1]

    def score(views: Tensor) -> Tensor:
        with eval_mode(system.model):
            ids = batch["ids"].expand(len(views), -1)
            logits = system.model(ids, **system.model.vision_context(views))[:, -1]
        return logits.log_softmax(-1)[:, id]

    return score


@course_style()
def occlusion_figure(systems: Mapping[str, PromptedModel], shown: Sequence[world.Scene], occlusion: Callable):  # fmt: skip
    """Pictures with, for each system, how much the noun's log-probability falls when a square is covered."""
    from matplotlib.patches import Rectangle

    columns = ("picture", *systems)
    drawn, axes = figure(2.2 * len(columns), 2.4 * len(shown), len(shown), len(columns))
    words = []
    for row, scene in enumerate(shown):
        size = next(iter(systems.values())).size
        image = world.render(scene, size)
        pixels = world.to_pixels(image[None])[0]
        panels = axes[len(columns) * row : len(columns) * (row + 1)]
        panels[0].imshow(image, extent=(0, 1, 1, 0))
        panels[0].set_ylabel(scene.words[0], fontsize=10)
        for panel, (name, system) in zip(panels[1:], systems.items()):
            table = occlusion(noun_score(system, scene), pixels, size // 4)
            panel.imshow(image, extent=(0, 1, 1, 0), alpha=0.45)
            top = float(table.abs().max().clamp(min=1e-9))
            for (r, c), value in np.ndenumerate(table.numpy()):
                style = {
                    "facecolor": DARK,
                    "alpha": 0.5 * max(0.0, float(value)) / top,
                    "linewidth": 0,
                }
                panel.add_patch(Rectangle((c / 4, r / 4), 1 / 4, 1 / 4, **style))
                text = f"{round(float(value), 1) + 0.0:.1f}"
                panel.text((c + 0.5) / 4, (r + 0.5) / 4, text, ha="center", va="center", fontsize=9)
            r, c = divmod(int(table.flatten().argmax()), 4)
            words.append(
                f"{scene.words[0]}, {name}: largest {table.max():.1f} in row {r + 1}, column {c + 1}"
            )
        for panel, title in zip(panels, columns):
            hide_axes(panel)
            if row == 0:
                panel.set_title(title, fontsize=10)
    return describe(drawn, f"Fall of the noun's log-probability by covered square. {'; '.join(words)}.")  # fmt: skip


def thing_share(systems: Mapping[str, PromptedModel], shown: Sequence[world.Scene], occlusion: Callable) -> dict[str, float]:  # fmt: skip
    """How often the square with the largest fall touches the thing."""
    found = {}
    for name, system in systems.items():
        hits = 0
        for scene in shown:
            pixels = world.to_pixels(world.render(scene, system.size)[None])[0]
            table = occlusion(noun_score(system, scene), pixels, system.size // 4)
            r, c = divmod(int(table.flatten().argmax()), 4)
            x1, y1, x2, y2 = scene.things[0].box
            hits += x1 < (c + 1) / 4 and c / 4 < x2 and y1 < (r + 1) / 4 and r / 4 < y2
        found[name] = hits / len(shown)
    return found


def touched_by_chance(shown: Sequence[world.Scene]) -> float:
    """Share of squares that touch the thing."""
    shares = []
    for scene in shown:
        x1, y1, x2, y2 = scene.things[0].box
        grid = torch.zeros(4, 4)
        for r in range(4):
            for c in range(4):
                grid[r, c] = x1 < (c + 1) / 4 and c / 4 < x2 and y1 < (r + 1) / 4 and r / 4 < y2
        shares.append(grid.mean().item())
    return sum(shares) / len(shares)


def spoiled_figure(found: Mapping[str, Mapping[str, float]], tasks: Mapping[str, Sequence]):
    """Bars of right answers by task and by how the prompt is spoiled, and of a random choice."""
    ways = next(iter(found.values()))
    groups = {way: {task: by[way] for task, by in found.items()} for way in ways}
    groups["guessing"] = {task: 1 / len(prompts[0].choices) for task, prompts in tasks.items()}
    return plots.bars(groups, "right answers (share)", sideways=True, highest=1, form=".2f")
