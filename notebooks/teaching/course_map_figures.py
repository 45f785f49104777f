"""Lesson 00's figures, tables and small training: CLIP in use, the systems, a projection on frozen vectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import torch
from IPython.display import Markdown
from torch import Tensor, nn

from teaching.course_map_answers import FLAVOURS, systems
from vlmcourse import recipes, world
from vlmcourse.evaluation import Spread, spread_over_seeds, verdict
from vlmcourse.evaluation.published import PublishedTable
from vlmcourse.papers.clip import CLIP
from vlmcourse.plots import COLOURS
from vlmcourse.plots.diagrams import Diagram
from vlmcourse.plots.style import course_style, describe, figure
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
    """CLIP's two encoders with the shapes of a batch of three images and five texts."""
    c = model.config
    patches, size = (c.image_size // c.patch) ** 2, c.image_size
    diagram = Diagram("CLIP: two encoders that meet in a table of cosines")
    diagram.box("pixels", "images", f"(3, 3, {size}, {size})", column=0, row=0, kind="data")
    diagram.box("ids", "texts", f"(5, {c.context})", column=0, row=1, kind="data")
    vision, text = (
        f"{depth} block{'s' * (depth > 1)}, width {width}"
        for depth, width in ((c.vision_depth, c.vision_width), (c.text_depth, c.text_width))
    )
    diagram.box("vision", "image encoder", vision, column=1, row=0, kind="trained")
    diagram.box("text", "text encoder", text, column=1, row=1, kind="trained")
    diagram.box("image", "image vectors", f"(3, {c.embedding})", column=2, row=0, kind="data")
    diagram.box("words", "text vectors", f"(5, {c.embedding})", column=2, row=1, kind="data")
    diagram.box("cosines", "cosines", "(3, 5)", column=3, row=0.5)
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
    diagram.box("vision", "image encoder", "often frozen", column=1, row=0, kind="frozen")
    diagram.box("bridge", "bridge", f"to width {width}", column=2, row=0, kind="trained")
    embedding = f"{vocabulary} words"
    diagram.box("embedding", "word embeddings", embedding, column=2, row=1, kind="frozen")
    shapes = f"(1, 2 + 7, {width})"
    diagram.box("sequence", "one sequence", shapes, column=3, row=0.5, kind="data")
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
def timeline():
    """The systems by year, a row for each flavour."""
    drawn, (axes,) = figure(11, 4.6)
    places: dict[tuple[str, int], int] = {}
    counts = Counter((system["flavour"].split(" (")[0], system["year"]) for system in systems())
    for system in systems():
        flavour, year = system["flavour"].split(" (")[0], system["year"]
        row, number = FLAVOURS.index(flavour), places.get((flavour, year), 0)
        places[flavour, year] = number + 1
        height = row + (number - (counts[flavour, year] - 1) / 2) * 0.34
        axes.plot(year, height, "o", color=COLOURS[row], markersize=8)
        axes.text(year + 0.08, height, system["name"], va="center", fontsize=9)
    years = [system["year"] for system in systems()]
    axes.set(xlim=(min(years) - 0.3, max(years) + 1.4), ylim=(len(FLAVOURS) - 0.3, -0.5))
    axes.set_yticks(range(len(FLAVOURS)), FLAVOURS)
    axes.set_xticks(range(min(years), max(years) + 1))
    axes.set_xlabel("year of the first version on arXiv")
    axes.grid(axis="x", alpha=0.3)
    listed = "; ".join(f"{s['year']} {s['name']} ({s['flavour']})" for s in systems())
    return describe(drawn, f"Timeline of systems by flavour: {listed}.")


def systems_table() -> Markdown:
    """The one table: what is frozen, what is trained, how modalities meet, which data, which objective."""
    lines = [
        "| system | flavour | frozen | trained | how modalities meet | data | objective | lesson |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for system in systems():
        link = f"[{system['name']}](https://arxiv.org/abs/{system['arxiv']}) {system['year']}"
        cells = ("flavour", "frozen", "trained", "meet", "data", "objective")
        words = " | ".join(system[cell] for cell in cells)
        lines.append(f"| {link} | {words} | {system['lesson'] or '–'} |")
    return Markdown("\n".join(lines))


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


def beside_ours(paper: PublishedTable, results: dict) -> Markdown:
    """BLIP-2's claim (its Table 1) beside this course's bridges, then our controls of the same questions."""

    def ours(row: str, *path: str) -> Spread:
        return spread_over_seeds(results["rows"], row, *path)

    def of_paper(row: str) -> str:
        size = paper.value(row, "trainable parameters")
        return size.replace("M", " million").replace("B", " billion")

    def percent(score: Spread) -> str:
        return f"{100 * score.mean:.0f} ± {100 * score.std:.0f}"

    small, large = "BLIP-2", "Flamingo"
    sizes = {row: ours(row, "learnt") for row in (small, large)}
    right = {row: ours(row, "questions", "what", "model") for row in (small, large)}
    vqa = {row: paper.value(row, "VQAv2 test-dev accuracy") for row in (small, large)}
    fewer = "agrees" if max(sizes[small].values) < min(sizes[large].values) else "disagrees"
    lines = [
        "| | paper | ours | verdict |",
        "|---|---|---|---|",
        "| trained parameters: BLIP-2 has fewer than Flamingo | "
        f"{of_paper(small)} against {of_paper(large)} | "
        f"{sizes[small].mean:,.0f} against {sizes[large].mean:,.0f} | {fewer} |",
        "| answers without examples: BLIP-2 is better than Flamingo | VQAv2 accuracy "
        f"{vqa[small]} against {vqa[large]} % | {percent(right[small])} against "
        f"{percent(right[large])} % of 'what' questions ({len(right[small].values)} seeds, mean ± sd) | "
        f"{verdict(right[small].values, right[large].values)} |",
        "",
        "| our controls: right 'what' answers, % | BLIP-2 | Flamingo |",
        "|---|---|---|",
    ]
    names = {
        "model": "right images",
        "blind": "blank images",
        "commonest answer": "always the most frequent answer",
        "chance": "chance",
    }
    for key, name in names.items():
        scores = (percent(ours(row, "questions", "what", key)) for row in (small, large))
        lines.append(f"| {name} | {' | '.join(scores)} |")
    return Markdown("\n".join(lines))
