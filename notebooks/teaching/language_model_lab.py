"""Lesson 05's failure lab: four small trainings, three of them with one fault each.

python -m teaching.language_model_lab     (in notebooks/) runs them at laptop scale, half a minute of one core, and keeps
language_model_lab.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from teaching.exercises import question
from vlmcourse import plots, world
from vlmcourse.evaluation import eval_mode
from vlmcourse.parts import generation
from vlmcourse.parts.language import LanguageModel, next_token_loss, tiny
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import documents, tokenizer

KEPT = Path(__file__).with_suffix(".json")
RATE, NEW = 3e-3, range(10**6, 10**6 + 64)
"""Learning rate of a healthy run; numbers of texts that no training reaches."""


def texts(indices: Sequence[int]) -> dict[str, Tensor]:
    """Mostly one fact, now and then a longer text, so that most of a batch is padding: `ids` and `loss_mask` (B, T)."""
    kinds = (documents.fact,) * 3 + (documents.question_answers,)
    drawn = [world.SeededRandom("failure lab", index) for index in indices]
    ids = tokenizer.encode([draws.choice(kinds)(draws) for draws in drawn])
    return {"ids": ids, "loss_mask": (ids != tokenizer.PAD) & (ids != tokenizer.BOS)}


def with_padding(indices: Sequence[int]) -> dict[str, Tensor]:
    """The same texts; padding counts."""
    batch = texts(indices)
    return batch | {"loss_mask": batch["ids"] != tokenizer.BOS}


class Unshifted(LanguageModel):
    """Each position is scored on its own word."""

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The cross-entropy of words that were just read."""
        logits, counts = self(batch["ids"]), batch["loss_mask"]
        loss = torch.nn.functional.cross_entropy(logits[counts], batch["ids"][counts])
        return {"lm": loss}


HEALTHY = (LanguageModel, texts, RATE)
FAULTS: dict[str, tuple] = {
    "shift": (Unshifted, texts, RATE),
    "padding": (LanguageModel, with_padding, RATE),
    "rate": (LanguageModel, texts, RATE / 1000),
}
"""{cause: (model, texts, learning rate)}."""


def run(kind: type[LanguageModel], make, rate: float, steps: int) -> dict[str, float | str]:
    """Trains a small model: its last training loss, its loss on new texts, computed rightly, and what it writes."""
    with seeded(0):
        model = kind(tiny(len(tokenizer.world_tokenizer()), 64, 2, 4))
    history = list(
        fit(model, Batches(make, 16), steps, Optimisation(rate), precision=torch.float32)
    )
    last = [step.loss for step in history[-max(1, steps // 10) :]]
    new = texts(NEW)
    with eval_mode(model):
        measured = next_token_loss(model(new["ids"]), new["ids"], new["loss_mask"]).item()
    start = tokenizer.encode(["a cat is"])[:, :-1]
    written = generation.generate(model, start, 8, end=tokenizer.EOS)
    return {
        "training": sum(last) / len(last),
        "new texts": measured,
        "writes": f"a cat is {tokenizer.decode(written)[0]}",
    }


def runs(id: str, scale: Scale, retrain: bool = False) -> dict[str, dict[str, float | str]]:
    """All runs by their letters, the healthy one first; at laptop scale those that were kept, unless they are to be trained again."""
    if scale.name == "laptop" and not retrain:
        return json.loads(KEPT.read_text(encoding="utf-8"))
    steps = 10 if scale.name == "smoke" else 150
    causes = question("failures", id)["causes"]
    settings = {"healthy": HEALTHY} | {letter: FAULTS[cause] for letter, cause in causes.items()}
    return {letter: run(*setting, steps) for letter, setting in settings.items()}


def show(found: Mapping[str, Mapping], chance: float):
    """Bars of both losses of all runs."""
    names = {"training": "training loss, last steps", "new texts": "words of new texts"}
    groups = {
        f"run {letter}" if len(letter) == 1 else letter: {
            words: scores[name] for name, words in names.items()
        }
        for letter, scores in found.items()
    }
    return plots.bars(groups, "loss (nats)", chance)


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = runs("language_model.training", Scale.of("laptop"), retrain=True)
    KEPT.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(made, indent=1))
