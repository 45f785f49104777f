"""Lesson 00's figures and small training: CLIP in use, the systems, a projection on frozen vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from teaching.course_map_answers import FLAVOURS, cosine_similarity, systems
from vlmcourse import recipes, world
from vlmcourse.evaluation import Spread
from vlmcourse.papers.clip import CLIP
from vlmcourse.plots import COLOURS
from vlmcourse.plots.diagrams import Diagram
from vlmcourse.plots.style import chance_line, course_style, describe, figure
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step, fit
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import tokenizer


def image_vectors(model: CLIP, pixel_values: Tensor) -> Tensor:
    """CLIP's vectors of images (N, E), each with a length of its own: before CLIP divides them by it."""
    with torch.no_grad():
        return model.image_projection(model.vision(pixel_values))


def text_vectors(model: CLIP, texts: Sequence[str]) -> Tensor:
    """The same for texts: (N, E)."""
    with torch.no_grad():
        return model.text_projection(model.text(tokenizer.encode(list(texts))))


def best_texts(model: CLIP, pixel_values: Tensor, texts: Sequence[str]) -> list[str]:
    """For each image the text that CLIP finds most similar, as a caption."""
    with torch.no_grad():
        best = model.logits(pixel_values, tokenizer.encode(list(texts))).argmax(-1)
    return [f"most similar: {texts[index]}" for index in best.tolist()]


def temperature(model: CLIP) -> float:
    """1 / exp(logit_scale), which CLIP has learned."""
    return 1 / model.logit_scale.exp().item()


def random_clip(model: CLIP, seed: int) -> CLIP:
    """A CLIP of the same sizes with random weights: the control of what its training has given."""
    with seeded(seed):
        return CLIP(model.config).eval()


def class_prompts(nouns: Sequence[str] = world.known_nouns()) -> list[str]:
    """'a picture of a cat', ...; by default of all nouns that CLIP's training data contain."""
    return [f"a picture of {world.article(noun)}" for noun in nouns]


def scenes_of_new_nouns(size: int, count: int) -> tuple[Tensor, list[str]]:
    """`count` images of one thing that training never shows: pixel_values (N, 3, S, S), and its noun for each."""
    pairs = world.Pairs("novel", size, things=(1, 1))
    shown = [scene.words[0] for scene in pairs.scenes(range(count))]
    return world.to_pixels(pairs.images(range(count))), shown


def matching_pairs(size: int, count: int) -> tuple:
    """`count` test scenes with different captions: images, pixel_values (N, 3, S, S), texts."""
    pairs = world.Pairs("test", size)
    chosen = pairs.distinct(count)
    batch = pairs.batch(chosen)
    return pairs.images(chosen), batch["pixel_values"], batch["text"]


def clip_diagram(model: CLIP) -> Diagram:
    """CLIP's two encoders with the shapes of a batch of four images and five texts."""
    c = model.config
    patches, size = (c.image_size // c.patch) ** 2, c.image_size
    diagram = Diagram("CLIP: two encoders that meet in a table of cosines")
    diagram.box("pixels", "images", f"(4, 3, {size}, {size})", column=0, row=0, kind="data")
    diagram.box("ids", "texts", f"(5, {c.context})", column=0, row=1, kind="data")
    vision, text = (
        f"{depth} block{'s' * (depth > 1)}, width {width}"
        for depth, width in ((c.vision_depth, c.vision_width), (c.text_depth, c.text_width))
    )
    last = f"projection to {c.embedding}"
    diagram.box("vision", "image encoder", vision, last, column=1, row=0, kind="trained")
    diagram.box("text", "text encoder", text, last, column=1, row=1, kind="trained")
    diagram.box("image", "image vectors", f"(4, {c.embedding})", column=2, row=0)
    diagram.box("words", "text vectors", f"(5, {c.embedding})", column=2, row=1)
    diagram.box("cosines", "cosines", "(4, 5)", column=3, row=0.5)
    diagram.arrow("pixels", "vision", f"{patches} patches")
    diagram.arrow("ids", "text", "tokens")
    for start, end in (
        ("vision", "image"),
        ("text", "words"),
        ("image", "cosines"),
        ("words", "cosines"),
    ):
        diagram.arrow(start, end)
    return diagram


def bridge_diagram(model: CLIP, scale: Scale) -> Diagram:
    """An image encoder before a frozen language model, with the sizes of this course's own models."""
    sizes, vocabulary = recipes.language.SIZES[scale.name], len(tokenizer.world_tokenizer())
    size, width = model.config.image_size, sizes.width
    diagram = Diagram("Image-conditioned text: an image encoder before a frozen language model")
    diagram.box("pixels", "image", f"(1, 3, {size}, {size})", column=0, row=0, kind="data")
    diagram.box("ids", "text", "(1, 7)", column=0, row=1, kind="data")
    diagram.box("vision", "image encoder", "frozen here", column=1, row=0, kind="frozen")
    diagram.box("bridge", "bridge", f"to width {width}", column=2, row=0, kind="trained")
    embedding = f"{vocabulary} words"
    diagram.box("embedding", "word embeddings", embedding, column=2, row=1, kind="frozen")
    shapes = f"(1, 2 + 7, {width})"
    diagram.box("sequence", "one sequence", shapes, column=3, row=0.5)
    diagram.box("lm", "language model", f"{sizes.depth} blocks", column=4, row=0.5, kind="frozen")
    diagram.box("loss", "loss of next words", column=5, row=0.5, kind="loss")
    diagram.arrow("pixels", "vision")
    diagram.arrow("vision", "bridge")
    diagram.arrow("bridge", "sequence", "2 vectors")
    diagram.arrow("ids", "embedding")
    diagram.arrow("embedding", "sequence", "7 vectors")
    diagram.arrow("sequence", "lm")
    diagram.arrow("lm", "loss")
    for start, end in (("loss", "lm"), ("lm", "sequence"), ("sequence", "bridge")):
        diagram.arrow(start, end, gradient=True)
    return diagram


@course_style()
def scores_with_controls(scores: Mapping[str, tuple[Mapping[str, float], int, int]]):
    """A panel for each of {name: (shares of right images, number of images, number of choices)}: counts, and its own chance."""
    drawn, panels = figure(8, 2.1, 1, len(scores), sharey=True)
    words = []
    for panel, (name, (shares, images, choices)) in zip(panels, scores.items()):
        counts = [round(share * images) for share in shares.values()]
        panel.barh(range(len(shares)), [count / images for count in counts], color=COLOURS[0])
        for row, count in enumerate(counts):
            end = max(count, images / choices) / images
            panel.text(end + 0.02, row, f"{count} of {images}", va="center", fontsize=9)
        chance_line(panel, 1 / choices, vertical=True)
        panel.set(title=f"{name}\n(chance 1/{choices})", xlim=(0, 1.3), xlabel="share of images")
        panel.set_xticks((0, 0.5, 1))
        listed = ", ".join(f"{row} {count} of {images}" for row, count in zip(shares, counts))
        words.append(f"{name}: {listed}, chance 1/{choices}")
    panels[0].set_yticks(range(len(shares)), list(shares))
    panels[0].invert_yaxis()
    return describe(drawn, f"Images that are right. {'; '.join(words)}.")


@course_style()
def shares_of_right_names(scores: Mapping[str, float | Spread], choices: int):
    """A bar for each of {name: share, or Spread over seeds}, with its value, its seeds as dots, and the chance of 1/choices."""
    drawn, (axes,) = figure(8, 2.6)
    words = []
    for row, (name, score) in enumerate(scores.items()):
        several = isinstance(score, Spread)
        mean, seeds = (score.mean, score.values) if several else (score, ())
        label = f"{mean:.3f}" + (f" ± {score.std:.3f}" if several else "")
        axes.barh(row, mean, color=COLOURS[0], height=0.6)
        axes.plot(seeds, [row] * len(seeds), "o", color="black", markersize=3)
        axes.text(max(mean, *seeds, 0) + 0.02, row, label, va="center", fontsize=9)
        words.append(f"{name} {label}")
    chance_line(axes, 1 / choices, vertical=True)
    chance = f"chance 1/{choices} = {1 / choices:.3f}"
    axes.set(title=f"Right names ({chance}, dashed)", xlim=(0, 1.2), xlabel="share of images")
    axes.set_xticks((0, 0.2, 0.4, 0.6, 0.8, 1))
    axes.set_yticks(range(len(scores)), list(scores))
    axes.invert_yaxis()
    return describe(drawn, f"Share of right names: {'; '.join(words)}; {chance}.")


@course_style()
def timeline():
    """The systems by year, a row for each flavour; in brackets the kind of image generation."""
    drawn, (axes,) = figure(11, 4.6)
    places: dict[tuple[str, int], int] = {}
    counts = Counter((system["flavour"].split(" (")[0], system["year"]) for system in systems())
    for system in systems():
        flavour, year = system["flavour"].split(" (")[0], system["year"]
        row, number = FLAVOURS.index(flavour), places.get((flavour, year), 0)
        places[flavour, year] = number + 1
        height = row + (number - (counts[flavour, year] - 1) / 2) * 0.34
        axes.plot(year, height, "o", color=COLOURS[row], markersize=8)
        kind = system["flavour"].removeprefix(flavour)
        axes.text(year + 0.08, height, system["name"] + kind, va="center", fontsize=9)
    years = [system["year"] for system in systems()]
    axes.set(xlim=(min(years) - 0.3, max(years) + 1.4), ylim=(len(FLAVOURS) - 0.3, -0.5))
    axes.set_yticks(range(len(FLAVOURS)), FLAVOURS)
    axes.set_xticks(range(min(years), max(years) + 1))
    axes.set_xlabel("year of the first version on arXiv")
    axes.grid(axis="x", alpha=0.3)
    listed = "; ".join(f"{s['year']} {s['name']} ({s['flavour']})" for s in systems())
    return describe(drawn, f"Timeline of systems by flavour: {listed}.")


class Projection(nn.Module):
    """A trained linear layer between frozen image features and frozen class vectors; the loss is the student's.

    cosine_similarity, class_probabilities  functions of lesson 00's exercises
    """

    def __init__(
        self, model: CLIP, cosine_similarity: Callable, class_probabilities: Callable, seed: int = 0
    ):
        super().__init__()
        self.encoder = model.vision.requires_grad_(False)
        with seeded(seed):
            self.projection = nn.Linear(model.vision.width, model.config.embedding)
        self.classes = nn.Buffer(text_vectors(model, class_prompts()))
        self.cosine_similarity, self.class_probabilities = cosine_similarity, class_probabilities
        self.temperature = temperature(model)

    def forward(self, features: Tensor) -> Tensor:
        """Features of the frozen encoder (N, D) -> probabilities of the classes (N, C)."""
        cosines = self.cosine_similarity(self.projection(features), self.classes)
        return self.class_probabilities(cosines, self.temperature)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean negative log probability of the right class."""
        right = self(batch["features"]).gather(1, batch["labels"][:, None])
        return {"class": -right.clamp(min=1e-9).log().mean()}


def nearest_share_noun(vectors: Tensor, nouns: Sequence[str]) -> int:
    """How many vectors (N, E) have a nearest neighbour, by cosine, of the same noun."""
    cosines = cosine_similarity(vectors, vectors).fill_diagonal_(-2)
    return sum(nouns[i] == nouns[j] for i, j in enumerate(cosines.argmax(-1).tolist()))


def guesses_share_noun(nouns: Sequence[str]) -> float:
    """The same count, expected if the neighbour were any other one with equal chance."""
    counts = Counter(nouns)
    return sum(counts[noun] - 1 for noun in nouns) / (len(nouns) - 1)


def labelled_features(model: CLIP, size: int, count: int, split: str) -> tuple[Tensor, Tensor]:
    """Features of the frozen image encoder (N, D) and classes (N,) of scenes of one thing."""
    _, pixel_values, labels = recipes.clip.single_things(size, count, split)
    with torch.no_grad():
        return model.vision(pixel_values), labels


def train_projection(
    projection: Projection, features: Tensor, labels: Tensor, steps: int
) -> list[Step]:
    """Trains in place, with batches of 32 labelled images; returns the steps."""

    def batch(indices: list[int]) -> dict[str, Tensor]:
        return {"features": features[indices], "labels": labels[indices]}

    batches = Batches(batch, 32, len(features))
    return list(fit(projection, batches, steps, Optimisation(1e-2), precision=torch.float32))


def bridge_accuracy(projection: Projection, features: Tensor, labels: Tensor) -> float:
    """Share of features (N, D) whose most probable class is the label (N,)."""
    with torch.no_grad():
        return (projection(features).argmax(-1) == labels).float().mean().item()
