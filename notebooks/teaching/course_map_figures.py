"""Lesson 00's figures, tables and small training: CLIP in use, the systems, a projection on frozen vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from IPython.display import Markdown
from torch import Tensor, nn

from teaching.course_map_answers import FLAVOURS, systems
from vlmcourse import recipes, world
from vlmcourse.evaluation import spread, verdict
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


def class_prompts() -> list[str]:
    """'a picture of a cat', ... for all nouns that CLIP's training data contain."""
    return [f"a picture of {world.article(noun)}" for noun in world.known_nouns()]


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
    for system in systems():
        flavour, year = system["flavour"].split(" (")[0], system["year"]
        row, number = FLAVOURS.index(flavour), places.get((flavour, year), 0)
        places[flavour, year] = number + 1
        height = row - 0.12 + 0.3 * number
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
    projection: Projection,
    features: Tensor,
    labels: Tensor,
    steps: int,
    on_step: Callable[[Step], None],
) -> None:
    """Trains in place, with batches of 32 labelled images; calls on_step with each Step."""

    def batch(indices: list[int]) -> dict[str, Tensor]:
        return {"features": features[indices], "labels": labels[indices]}

    batches = Batches(batch, 32, len(features))
    for step in fit(projection, batches, steps, Optimisation(1e-2), precision=torch.float32):
        on_step(step)


def beside_ours(paper: PublishedTable, results: dict) -> Markdown:
    """BLIP-2's claim (its Table 1) beside this course's bridges: trained parameters and answers to 'what' questions."""
    lines = ["| | paper | ours | verdict |", "|---|---|---|---|"]

    def ours(row: str, read: Callable[[dict], float]) -> list[float]:
        return [read(measured) for measured in results["rows"] if measured["row"] == row]

    def learnt(row: dict) -> float:
        return row["learnt"]

    def answers(row: dict) -> float:
        return row["questions"]["what"]["model"]

    sizes = {row: ours(row, learnt) for row in ("BLIP-2", "Flamingo")}
    right = {row: ours(row, answers) for row in ("BLIP-2", "Flamingo")}
    of_paper = {
        row: paper.value(row, "trainable parameters")
        .replace("M", " million")
        .replace("B", " billion")
        for row in sizes
    }
    fewer = "agrees" if max(sizes["BLIP-2"]) < min(sizes["Flamingo"]) else "disagrees"
    lines.append(
        "| trained parameters: BLIP-2 has fewer than Flamingo | "
        f"{of_paper['BLIP-2']} against {of_paper['Flamingo']} | "
        f"{sizes['BLIP-2'][0]:,.0f} against {sizes['Flamingo'][0]:,.0f} | {fewer} |"
    )
    vqa = {row: paper.value(row, "VQAv2 test-dev accuracy") for row in sizes}
    mean = {row: spread(values) for row, values in right.items()}
    lines.append(
        "| answers without examples: BLIP-2 is better than Flamingo | VQAv2 accuracy "
        f"{vqa['BLIP-2']} against {vqa['Flamingo']} % | {100 * mean['BLIP-2'].mean:.0f} ± "
        f"{100 * mean['BLIP-2'].std:.0f} against {100 * mean['Flamingo'].mean:.0f} ± "
        f"{100 * mean['Flamingo'].std:.0f} % of 'what' questions ({len(right['BLIP-2'])} seeds, mean ± sd) | "
        f"{verdict(right['BLIP-2'], right['Flamingo'])} |"
    )
    return Markdown("\n".join(lines))
