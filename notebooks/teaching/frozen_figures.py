"""Lesson 07: its diagram and figures, and a player that asks a model about pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vlmcourse import evaluation, plots, world
from vlmcourse.papers.frozen import Frozen
from vlmcourse.parts.language import width
from vlmcourse.plots import Diagram, picture_and_bars
from vlmcourse.plots.style import describe
from vlmcourse.recipes.frozen import IMAGE_PREFIX, ONE_THING, generate_captions
from vlmcourse.widgets.interactive import interactive, slider, text_field
from vlmcourse.world import prompts, tokenizer
from vlmcourse.world.pages import Episode

QUESTIONS = {
    "category": "what kind of thing is the thing ?",
    "place": "where can you find the thing ?",
}
"""What figure 1 asks about things, whose answer is on no picture."""


def held_out(count: int, first: int = 0) -> list[world.Scene]:
    """Scenes of one thing, on backgrounds on which training never showed it."""
    return [world.sample("test", first + index, 0, ONE_THING) for index in range(count)]


def rendered(scenes: Sequence[world.Scene], size: int) -> np.ndarray:
    """Scenes as pictures (N, S, S, 3)."""
    return np.stack([world.render(scene, size) for scene in scenes])


def next_words(model: nn.Module, pages: Sequence, k: int = 8) -> list[dict[str, float]]:
    """After each page, the likeliest next words with their probabilities."""
    data = prompts.Prompts(pages, model.config.image_size, IMAGE_PREFIX)
    return evaluation.next_token_probabilities(model, data, k)


def _panels(images: np.ndarray, captions: Sequence[str], title: str):
    """Pictures with several lines below each."""
    nothing: list = [[] for _ in captions]
    drawn = plots.pictures_with_boxes(images, nothing, nothing, captions)
    for axes in drawn.axes:  # a frame: some backgrounds are white
        axes.spines[:].set(visible=True, color="grey")
    words = "; ".join(" / ".join(caption.split("\n")) for caption in captions)
    return describe(drawn, f"{title}: {words}.")


def at_work(model: nn.Module, scenes: Sequence[world.Scene]):
    """Pictures with the model's caption and its answers to two questions of knowledge."""
    captions = generate_captions(model, scenes, start="")
    asked = {
        kind: next_words(model, [(one, f"question : {text} answer :") for one in scenes], 1)
        for kind, text in QUESTIONS.items()
    }
    lines = []
    for number, (scene, caption) in enumerate(zip(scenes, captions)):
        right = scene.words[0] in caption.split() and scene.background in caption.split()
        rows = [f"{'✓' if right else '✗'} caption: {caption}"]
        for kind, found in asked.items():
            (answer,) = found[number]
            mark = "✓" if answer == getattr(scene.things[0].noun, kind) else "✗"
            rows.append(f"{mark} {kind}: {answer}")
        lines.append("\n".join(rows))
    return _panels(rendered(scenes, model.config.image_size), lines, "Captions and answers")


def prompt_strip(model: nn.Module, episode: Episode, title: str = "probability of the next word"):
    """The pictures of a prompt, each with the text that follows it, above the probabilities of the names."""
    pictures = world.pages.pictures_of(episode.prompt)
    texts, shown = [], list(episode.prompt)
    for picture in pictures:
        at = shown.index(picture)
        texts.append(shown[at + 1])
        shown[at] = None
    data = prompts.Prompts([episode.prompt], model.config.image_size, IMAGE_PREFIX)
    found = evaluation.next_token_probabilities(model, data, len(tokenizer.world_tokenizer()))[0]
    bars = plots.probability_bars(
        {name: {"p": found.get(name, 0.0)} for name in episode.choices},
        f"{title} (right: {episode.answer})",
    )
    strip = _panels(rendered(pictures, model.config.image_size), texts, "A prompt of pictures")
    return plots.stack_figures(strip, bars)


def system(model: Frozen, tokens: int) -> Diagram:
    """The paper's Figure 2, with the shapes of our model for one picture and a text of `tokens` tokens, its slots among them."""
    c, D = model.config, width(model.lm)
    n, layers = c.prefix_length, model.lm.config.num_hidden_layers
    diagram = Diagram("Frozen: gradients pass through a language model that stays as it is")
    add = diagram.box
    size = c.image_size
    add("pixels", "picture", f"pixels (1, 3, {size}, {size})", column=0, row=0, kind="data")
    add("ids", "text with slots", f"ids (1, {tokens})", column=0, row=1, kind="data")
    add(
        "vision",
        "image encoder",
        f"ViT, {c.vision_depth} layers",
        f"features (1, {c.vision_width})",
        column=1,
        row=0,
        kind="trained",
    )
    add(
        "table",
        "word embeddings",
        f"(1, {tokens}, {D})",
        column=1,
        row=1,
        kind="frozen",
    )
    add(
        "prefix",
        "visual prefix",
        f"linear, {c.vision_width} to {n} x {D}",
        f"(1, {n}, {D})",
        column=2,
        row=0,
        kind="trained",
    )
    add("joined", "interleave", "vectors replace the slots", f"(1, {tokens}, {D})", column=2, row=1)
    add(
        "lm",
        "language model",
        f"{layers} layers",
        f"{sum(p.numel() for p in model.lm.parameters()):,} parameters",
        column=3,
        row=1,
        kind="frozen",
    )
    add("loss", "caption loss", "caption tokens only", column=4, row=1, kind="loss")
    for source, target in (
        ("pixels", "vision"),
        ("ids", "table"),
        ("vision", "prefix"),
        ("prefix", "joined"),
        ("table", "joined"),
        ("joined", "lm"),
        ("lm", "loss"),
    ):
        diagram.arrow(source, target)
    diagram.arrow("loss", "lm", gradient=True)
    diagram.arrow("lm", "prefix", gradient=True)
    diagram.arrow("prefix", "vision", gradient=True)
    return diagram


def tokens_of(ids: Tensor) -> list[str]:
    """The tokens of ids (T,) as texts."""
    return tokenizer.world_tokenizer().convert_ids_to_tokens(ids.tolist())


def nearest_words(model: Frozen, scenes: Sequence[world.Scene]) -> tuple[list[list[str]], float]:
    """For each scene the word nearest to each prefix vector (by cosine), and the mean of the largest cosines."""
    table = model.lm.get_input_embeddings().weight.detach()[len(tokenizer.SPECIAL) :]
    pixel_values = world.to_pixels(rendered(scenes, model.config.image_size))
    with torch.no_grad():
        vectors = model.encode_prefix(pixel_values).unflatten(0, (len(scenes), -1))
    best = (normalize(vectors, dim=-1) @ normalize(table, dim=-1).T).max(-1)
    words = [tokens_of(row + len(tokenizer.SPECIAL)) for row in best.indices]
    return words, best.values.mean().item()


def scores_by_shift(score: Mapping[str, Callable[[int], float]], shifts: Sequence[int]):
    """Attention scores of one query and one key, both moved by the same number of positions."""
    series = {name: {s: f(s) for s in shifts} for name, f in score.items()}
    return plots.curves(series, "both tokens moved by (tokens)", "attention score")


def watched(found: Mapping[str, Mapping[int, float]], chances: Mapping[str, float]):
    """Curves of the tests during training on the whole scale of shares, with lines of chance."""
    lines = {f"{name}: {chance:.2f}": chance for name, chance in chances.items()}
    drawn = plots.curves(found, "training step", "right answers (share)", lines=lines)
    (axes,) = drawn.axes
    for line in axes.lines[len(found) :]:
        line.set(color="0.35", linewidth=1.2)
    axes.set_ylim(-0.03, 1.05)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, frameon=False)
    return drawn


def with_chance(drawn, chances: Mapping[str, Mapping[str, float]], label: str = "chance"):
    """Lying bars of plots.bars with a mark of chance, or of what else `label` says, on each. chances: {group: {name: chance}}"""
    (axes,) = drawn.axes
    names = list(dict.fromkeys(name for group in chances.values() for name in group))
    wide, entry = 0.8 / len(names), label
    for row, group in enumerate(chances.values()):
        for position, name in enumerate(names):
            centre = row + (position - (len(names) - 1) / 2) * wide
            ends = centre - wide / 2, centre + wide / 2
            axes.vlines(group[name], *ends, color="black", linewidth=2, label=entry)
            entry = "_again"  # one entry in the legend
            for text in axes.texts:  # a number that a mark would cross stands behind it
                if text.xy[1] == centre and 0 < group[name] - text.xy[0] < 0.15:
                    text.xy = group[name], centre
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    words = ", ".join(
        f"{name} {chance:.2f}" for name, chance in next(iter(chances.values())).items()
    )
    return describe(drawn, f"{drawn.description} Marks: {label}, in the first group {words}.")


def about_hull(by_share: Mapping[float, float], in_words: float) -> str:
    """In words: what moving trained vectors towards words does to answers. by_share: {share m: share right}"""
    best = max(by_share, key=by_share.__getitem__)
    start, end = by_share[0.0], by_share[1.0]
    if end <= start:
        meaning = "nearness to words alone isn't what is missing"
    else:
        part = "most" if end - start > (in_words - start) / 2 else "a small part"
        meaning = f"distance from words was {part} of what was missing to right words"
    return (
        f"m = 0: {start:.2f}; best, at m = {best:g}: {by_share[best]:.2f}; m = 1: {end:.2f}; with right "
        f"words: {in_words:.2f}. Moved into the hull without training, {start:.2f} becomes {end:.2f}: {meaning}."
    )


def moved_pictures(
    runs: Mapping[str, Sequence[Mapping]], what: str, xlabel: str, chance: float | None = None
):
    """Share of right nouns over a shift, or over the number of pictures before, for both kinds of positions."""
    series = {
        f"{kind} positions": {
            int(x): evaluation.spread([run[what][x] for run in rows]) for x in rows[0][what]
        }
        for kind, rows in runs.items()
    }
    if what == "pictures before":
        series |= {
            f"{kind}, words instead": {
                int(x): evaluation.spread([run["in words"][x] for run in rows])
                for x in rows[0]["in words"]
            }
            for kind, rows in runs.items()
        }
    drawn = plots.curves(series, xlabel, "right nouns (share)", chance)
    (axes,) = drawn.axes
    places = [*next(iter(series.values()))]
    axes.set_xticks([x for x in places if x == 0 or x >= max(places) / 8])  # room between them
    lines = axes.get_lines()[: len(series)]
    for words, pictures in zip(lines[len(runs) :], lines):  # one colour for each kind of positions
        words.set(color=pictures.get_color(), linestyle=":")
    for pictures in lines[: len(runs)]:
        pictures.set_linestyle("-")
    axes.set_ylim(0, 1.05)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return drawn


def ask_player(
    after: Callable[[int, str], dict[str, float]], images: np.ndarray, texts: Sequence[str]
) -> None:
    """Displays pictures (N, S, S, 3) to choose from and a text to go on with, `texts` to begin with.

    after  (picture number, text) -> {word: probability}, the likeliest first
    """
    picture, text = slider("picture", 0, 0, len(images) - 1), text_field("text", texts[0], texts)

    def draw():
        likely = after(picture.value, " ".join(tokenizer.split_words(text.value)))
        return picture_and_bars(images[picture.value], likely, "probability of the next word")

    interactive([picture, text], draw)
