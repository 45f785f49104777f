"""Lesson 02: data, training by the student's own step, and the runs of the failure lab."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from teaching.exercises import question
from vlmcourse import evaluation, recipes, world
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step, fit
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale

SIZE = 32
"""Side of the images of the live trainings, in pixels, at every scale."""
Make = Callable[[list[int]], dict]


def web_search(queries: int = 12, most: int = 240) -> list[tuple[str, int, str]]:
    """(query, number of the image, text), query by query, as an image search might find them: queries that are popular
    find many pairs (240, 120, 80, ...), some images are copies, and related queries find the same pairs."""
    random = world.SeededRandom("web")
    candidates = []
    for rank, noun in enumerate(world.known_nouns()[:queries], 1):
        count = most // rank
        for _ in range(count):
            image = int(random.random() * 0.7 * count)
            text = random.choice(("a photo of {}", "my {}", "{} for sale")).format(noun)
            candidates.append((noun, 1000 * rank + image, text))
            if random.random() < 0.1:
                candidates.append((f"{noun} photo", 1000 * rank + image, text))
    return candidates


@dataclass(frozen=True)
class LivePairs:
    """Training pairs, drawn once, and held-out pairs: 32 x 32 pixels, detailed captions, half of the scenes of one thing."""

    count: int
    train: dict = field(repr=False)
    held_out: dict = field(repr=False)

    def make(self, indices: list[int]) -> dict[str, Tensor]:
        """The batch of these training pairs."""
        return {name: values[indices] for name, values in self.train.items()}

    def batches(self, size: int) -> Batches:
        """Batches of this size, in another order in each epoch."""
        return Batches(self.make, size, self.count)


def live_pairs(scale: Scale) -> LivePairs:
    """2,048 training pairs and 64 held-out ones; fewer at scale smoke."""
    count, held_out = (128, 16) if scale.name == "smoke" else (2048, 64)
    changes = {"size": SIZE, "caption": world.captions.detailed}
    train = recipes.clip.training_pairs(scale, **changes).batch(range(count))
    test = world.Pairs("test", **changes)
    chosen = test.distinct(held_out)
    return LivePairs(
        count,
        {name: train[name] for name in ("pixel_values", "ids")},
        {**test.batch(chosen), "images": test.images(chosen)},
    )


def plain_captions(pairs: world.Pairs, count: int) -> str:
    """How many of the first training scenes show one thing, and how many captions are one of the templates with one noun."""
    sentences = {
        template.format(world.article(noun))
        for template in world.captions.PROMPTS
        for noun in world.known_nouns()
    }
    single = sum(len(scene.words) == 1 for scene in pairs.scenes(range(count))) / count
    plain = sum(pairs.text(index) in sentences for index in range(count)) / count
    return (
        f"Of {count:,} training scenes {single:.0%} show a single thing; {plain:.0%} of the captions "
        "name one thing and say nothing else."
    )


def similarity(model, batch: dict) -> Tensor:
    """Cosines of all images and all texts of a batch: (images, texts)."""
    with evaluation.eval_mode(model):
        return model.encode_image(batch["pixel_values"]) @ model.encode_text(batch["ids"]).T


def train(
    model, batches: Batches, steps: int, train_step: Callable, rate: float = 2e-3
) -> list[Step]:
    """`steps` calls of train_step(model, batch, optimiser), with AdamW, warm-up and a cosine schedule; tells the progress."""
    optimisation, history, began = Optimisation(rate), [], time.perf_counter()
    optimiser = optimisation.optimiser(model, torch.device("cpu"))
    tell = _progress()
    model.train()
    for number, batch in zip(range(steps), batches.from_step(0)):
        learning_rate = optimisation.set_learning_rate(optimiser, number, steps)
        loss = float(train_step(model, batch, optimiser))
        seconds = time.perf_counter() - began
        left = seconds / (number + 1) * (steps - number - 1)
        step = Step(number + 1, steps, {"clip": loss}, learning_rate, float("nan"), seconds, left)
        history.append(step)
        tell(step)
    model.eval()
    return history


def _progress(every: float = 1.0) -> Callable[[Step], None]:
    """A line in the notebook that is written anew every second."""
    from IPython.display import HTML, display

    shown, last = display(HTML(""), display_id=True), [-every]

    def tell(step: Step) -> None:
        if shown and (step.step == step.steps or step.seconds - last[0] > every):
            last[0] = step.seconds
            left = "done" if step.step == step.steps else f"about {step.seconds_left:.0f} s left"
            shown.update(HTML(f"step {step.step} of {step.steps}, loss {step.loss:.2f}, {left}"))

    return tell


@dataclass(frozen=True)
class BrokenRun:
    """One run of the failure lab: its loss, and R@1 (image to text) on held-out pairs."""

    history: list[Step] = field(repr=False)
    recall: float


def failure_lab(id: str, pairs: LivePairs, steps: int) -> dict[str, BrokenRun]:
    """The runs of a failure lab, by their letters: a small CLIP each, trained on the same pairs with equal steps."""
    small = {"patch": 16, "vision_depth": 1, "vision_width": 64, "text_width": 64, "embedding": 64}
    config = recipes.clip.clip_config(Scale.of("smoke"), **small)
    runs = {}
    for letter, cause in sorted(question("failures", id)["causes"].items()):
        model = recipes.clip.new_clip(config)
        make, size = _CAUSES[cause](model, pairs)
        history = list(fit(model, Batches(make, size, pairs.count), steps, Optimisation(2e-3)))
        found = evaluation.retrieval_recall(*_embedded(model, pairs.held_out))
        runs[letter] = BrokenRun(history, found["image to text R@1"])
    return runs


def _embedded(model, batch: dict) -> tuple[Tensor, Tensor]:
    with evaluation.eval_mode(model):
        return model.encode_image(batch["pixel_values"]), model.encode_text(batch["ids"])


def _healthy(model, pairs: LivePairs) -> tuple[Make, int]:
    return pairs.make, 32


def _mismatched(model, pairs: LivePairs) -> tuple[Make, int]:
    def make(indices: list[int]) -> dict:
        batch = pairs.make(indices)
        order = torch.randperm(len(indices), generator=torch.Generator().manual_seed(indices[0]))
        return {**batch, "ids": batch["ids"][order]}

    return make, 32


def _batch_of_one(model, pairs: LivePairs) -> tuple[Make, int]:
    return pairs.make, 1


def _third_token(model, pairs: LivePairs) -> tuple[Make, int]:
    model.text.end_positions = lambda ids: torch.full((len(ids),), 2)
    return pairs.make, 32


_CAUSES = {
    "healthy": _healthy,
    "pairs": _mismatched,
    "one": _batch_of_one,
    "position": _third_token,
}
