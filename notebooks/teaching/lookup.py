"""The look-up task of lesson 01: (name, colour) pairs, then a name; which colour belongs to it? And the model that learns it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from IPython.display import Markdown
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vlmcourse.evaluation import spread, verdict, verdict_of_equality
from vlmcourse.evaluation.published import PublishedTable
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step, fit
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded

TEST_EXAMPLES = range(10_000_000, 10_000_512)
"""Numbers of examples that no training reaches."""
EQUAL_WITHIN = 20
"""Steps. The loss is a mean of so many steps, so smaller gaps between two runs say little."""
COLOURS = ("red", "blue", "green", "white", "black", "pink")
BASE = "4 heads, sinusoids, causal"
NAMES = ("ana", "bob", "cem", "dia", "eli", "fay", "gus", "hal", "ivy", "jon", "kim", "lou")


@dataclass(frozen=True)
class LookUpTask:
    """Sequences of `pairs` pairs and a question: ids (B, 2 pairs + 1). Names and colours are random in each example."""

    pairs: int = 4

    @property
    def length(self) -> int:
        return 2 * self.pairs + 1

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return NAMES + COLOURS

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """`ids` (B, T), `answers` (B,): which of COLOURS, `asked` (B,): the number of the pair that is asked for."""
        generator = torch.Generator().manual_seed(indices[0])
        size, pairs = len(indices), self.pairs
        names, colours = (
            torch.rand(size, len(words), generator=generator).argsort(dim=1)[:, :pairs]
            for words in (NAMES, COLOURS)
        )
        asked = torch.randint(pairs, (size, 1), generator=generator)
        text = torch.stack([names, len(NAMES) + colours], dim=2).flatten(1)
        return {
            "ids": torch.cat([text, names.gather(1, asked)], dim=1),
            "answers": colours.gather(1, asked)[:, 0],
            "asked": asked[:, 0],
        }

    def words(self, ids: Tensor) -> list[str]:
        """One sequence (T,) as words."""
        return [self.vocabulary[token] for token in ids.tolist()]


class LookUp(nn.Module):
    """Embeddings + positions -> blocks -> LayerNorm -> which colour? The answer is read at the last position.

    allowed    attention mask (T, T) booleans
    attention  (width, heads) -> a layer called with (x, allowed);  block: (width, attention layer) -> a block, likewise
    positions  (T, width) vectors that are added to the embeddings; None: learned ones
    """

    def __init__(
        self,
        task: LookUpTask,
        allowed: Tensor,
        attention: Callable[[int, int], nn.Module],
        block: Callable[[int, nn.Module], nn.Module],
        positions: Tensor | None,
        width: int = 64,
        heads: int = 4,
        depth: int = 2,
        seed: int = 0,
    ):
        super().__init__()
        with seeded(seed):
            self.embedding = nn.Embedding(len(task.vocabulary), width)
            learned = nn.Parameter(torch.randn(task.length, width))
            self.positions = learned if positions is None else nn.Buffer(positions)
            self.blocks = nn.ModuleList(block(width, attention(width, heads)) for _ in range(depth))
            self.norm = nn.LayerNorm(width)
            self.classify = nn.Linear(width, len(COLOURS))
        self.allowed = nn.Buffer(allowed.reshape(1, 1, *allowed.shape[-2:]))

    def inputs_of_blocks(self, ids: Tensor) -> list[Tensor]:
        """What each block reads, and what the last one writes: depth + 1 tensors (B, T, D)."""
        states = [self.embedding(ids) + self.positions]
        for block in self.blocks:
            states.append(block(states[-1], self.allowed))
        return states

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> logits of the colours (B, C)."""
        return self.classify(self.norm(self.inputs_of_blocks(ids)[-1][:, -1]))

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy of the colour that is asked for."""
        return {"colour": cross_entropy(self(batch["ids"]), batch["answers"])}


def _equal(first: Sequence[float], second: Sequence[float]) -> str:
    """The verdict on two settings that need as many steps, within EQUAL_WITHIN."""
    return verdict_of_equality(first, second, margin=EQUAL_WITHIN)


def steps_at(scale: Scale) -> int:
    """How many steps the task is trained for."""
    return 20 if scale.name == "smoke" else 400


def train(
    model: LookUp,
    task: LookUpTask,
    steps: int,
    on_step: Callable[[Step], None] = lambda step: None,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> LookUp:
    """Trains in place, batches of 64, and calls on_step with each step.

    With one thread: the model is so small that a second one costs more than it gains.
    """
    batches = Batches(lambda indices: task.batch([seed * 1_000_000 + i for i in indices]), 64)
    optimisation, threads = Optimisation(learning_rate), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for step in fit(model, batches, steps, optimisation, seed=seed, precision=torch.float32):
            on_step(step)
    finally:
        torch.set_num_threads(threads)
    return model


@torch.no_grad()
def accuracy(model: LookUp, task: LookUpTask) -> float:
    """Share of right colours on 512 sequences that were not trained on."""
    batch = task.batch(TEST_EXAMPLES)
    return (model(batch["ids"]).argmax(-1) == batch["answers"]).float().mean().item()


@torch.no_grad()
def weights_of_question(model: LookUp, ids: Tensor) -> list[Tensor]:
    """For each block, the weights (heads, T) with which the last position of one sequence (T,) attends, recomputed."""
    rows = []
    for block, x in zip(model.blocks, model.inputs_of_blocks(ids[None])):
        layer, x = block.attention, block.norm1(x)
        q, k = (
            part(x).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
            for part in (layer.query, layer.key)
        )
        scores = q[:, :, -1:] @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        rows.append(scores.masked_fill(~model.allowed[:, :, -1:], -torch.inf).softmax(-1)[0, :, 0])
    return rows


CLAIMS = (
    ("several heads beat a single one", "base", "(A) 1 head", BASE, "1 head", verdict),
    ("16 heads are as good as 8 (ours: 4)", "base", "(A) 16 heads", BASE, "16 heads", _equal),
    ("too many heads are worse again", "base", "(A) 32 heads", BASE, "32 heads", verdict),
    (
        "sinusoids are as good as learned positions",
        "base",
        "(E)",
        BASE,
        "learned positions",
        _equal,
    ),
    (
        "without the scaling, wide heads train badly",
        "",
        "",
        "1 head",
        "1 head, not scaled",
        verdict,
    ),
)
"""(claim, the paper's rows: better, worse; our rows: better, worse; rule of the verdict); better means fewer steps to learn."""
CONTROLS = ("no positions", "no mask (bi-directional)", "blind")


def table_beside_ours(paper: PublishedTable, results: dict) -> Markdown:
    """The paper's claims with its BLEU, our steps to learn and accuracies, and the verdict; below, our own controls."""
    rows = list(dict.fromkeys(one["row"] for one in results["rows"]))
    measured, right = (
        {row: [one[what] for one in results["rows"] if one["row"] == row] for row in rows}
        for what in ("steps to learn", "accuracy")
    )

    def steps(row: str) -> str:
        if min(measured[row]) >= results["steps"]:
            return f"not within {results['steps']}"
        values = spread(measured[row])
        return f"{values.mean:.0f} ± {values.std:.0f}"

    def accuracies(row: str) -> str:
        values = spread(right[row])
        return f"{values.mean:.2f} ± {values.std:.2f}"

    seeds = len(measured[BASE])
    lines = [
        f"| claim | paper: BLEU | ours: steps to learn (mean ± sd, {seeds} seeds) | ours: accuracy after training | verdict |",
        "|---|---|---|---|---|",
    ]
    for claim, better, worse, ours, ours_worse, rule in CLAIMS:
        numbers = "no number (Sec. 3.2.1)"
        if better:
            bleu = [paper.value(row, "BLEU") for row in (better, worse)]
            numbers = f"{bleu[0]} against {bleu[1]}"
        both = "; ".join(f"{row}: {steps(row)}" for row in (ours, ours_worse))
        scores = "; ".join(map(accuracies, (ours, ours_worse)))
        word = rule(measured[ours_worse], measured[ours])
        lines.append(f"| {claim} | {numbers} | {both} | {scores} | {word} |")
    lines += [
        "",
        _by_seed("16 heads", measured, right),
        "",
        "| our controls | steps to learn | accuracy after training |",
        "|---|---|---|",
    ]
    lines += [f"| {row} | {steps(row)} | {accuracies(row)} |" for row in (BASE, *CONTROLS)]
    return Markdown("\n".join(lines))


def _by_seed(row: str, measured: dict[str, list], right: dict[str, list]) -> str:
    """A row beside the base, seed by seed, and the gap of the means beside the limit of the verdict."""
    one, base = spread(measured[row]), spread(measured[BASE])
    limit = 2 * math.sqrt((one.std**2 + base.std**2) / 2)

    def listed(values: dict[str, list], form: str) -> str:
        pairs = (" / ".join(format(value, form) for value in values[name]) for name in (row, BASE))
        return " against ".join(pairs)

    return (
        f"{row} against the base, seed by seed: {listed(measured, '.0f')} steps, accuracy {listed(right, '.3f')}. "
        f"The means are {one.mean - base.mean:.0f} steps apart; the limit, two pooled standard deviations, is {limit:.0f}."
    )
