"""Lesson 04: its figures and tables, and a player that masks a word of a caption."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from vlmcourse import evaluation, plots
from vlmcourse.evaluation import masked
from vlmcourse.evaluation.published import published
from vlmcourse.papers.vilbert import ViLBERT
from vlmcourse.papers.vilbert_tasks import ViLBERTForVQA
from vlmcourse.papers.vlbert import VLBERT
from vlmcourse.plots import picture_and_bars
from vlmcourse.recipes.vilbert_vqa import answer
from vlmcourse.training.fit import Step
from vlmcourse.widgets.interactive import interactive, slider
from vlmcourse.world import tokenizer
from vlmcourse.world.region_questions import RegionQuestions
from vlmcourse.world.regions import RegionDataset

GAP = "____"


def with_gap(data: RegionDataset, index: int, word: str | int) -> tuple[dict[str, Tensor], int]:
    """Pair `index` as a batch of one whose caption has [MASK] in the place of a word, and that position.

    word  itself, or its number in the caption
    """
    row = masked.select_rows(data.batch([index]), torch.tensor([0]))
    words = tokenizer.split_words(data.pairs.text(index))
    position = 1 + (words.index(word) if isinstance(word, str) else word)  # 1: after <bos>
    ids = row["ids"].clone()
    ids[0, position] = tokenizer.world_tokenizer().mask_token_id
    return row | {"ids": ids}, position


@torch.no_grad()
def guesses(
    model: nn.Module, inputs: dict[str, Tensor], position: int, count: int = 5
) -> dict[str, float]:
    """{word: probability} at a position of a batch of one, the likeliest first."""
    found, ids = model.mlm_logits(inputs)[0, position].softmax(-1).topk(count)
    return dict(
        zip(tokenizer.world_tokenizer().convert_ids_to_tokens(ids.tolist()), found.tolist())
    )


def pairs_of_things(data: RegionDataset, count: int) -> list[int]:
    """The first pairs that show two things."""
    return [i for i in range(200) if len(data.pairs.scene(i).things) == 2][:count]


def at_work(model: ViLBERT, vqa: ViLBERTForVQA, questions: RegionQuestions, indices: Sequence[int]):
    """Pictures with their regions; below, a masked caption and the word that the model predicts, a question and its answer."""
    data, captions = questions.data, []
    found = answer(vqa, questions.batch(indices))
    for index, number in zip(indices, found):
        word = data.pairs.scene(index).words[0]
        likely = guesses(model, *with_gap(data, index, word), count=2).items()
        words = ", then ".join(f"{one} ({share:.2f})" for one, share in likely if share > 0.05)
        text = " ".join(tokenizer.split_words(data.pairs.text(index))).replace(word, GAP, 1)
        captions.append(
            f"{text}\n→ {words}\n{questions.question(index).text}\n→ {questions.vocabulary[number]}"
        )
    return boxed(data, indices, captions)  # fmt: skip


def boxed(data: RegionDataset, indices: Sequence[int], captions: Sequence[str]):
    """Pictures with the boxes of their regions, and what the region classifier finds in each."""
    batch, names = data.batch(indices), world_names()
    rows = zip(batch["boxes"], batch["classes"], batch["region_mask"])
    shown = [(boxes[real].tolist(), classes[real]) for boxes, classes, real in rows]
    labels = [[f"{names[p.argmax()]} {p.max():.2f}" for p in classes] for _, classes in shown]
    return plots.pictures_with_boxes(
        data.pairs.images(indices), [boxes for boxes, _ in shown], labels, captions
    )


def world_names() -> tuple[str, ...]:
    """Names of the classes of regions."""
    from vlmcourse.world.regions import class_names

    return class_names()


LOSSES = {"mlm": "words", "mrc": "regions", "alignment": "alignment"}
POINTS = 25


def losses(history: Sequence[Step]):
    """Each loss of a run over its steps; below, alignment alone, with ln 2, the loss of guessing yes or no."""
    series = {words: plots.interval_means(history, name, POINTS) for name, words in LOSSES.items()}
    alignment = {"alignment": series.pop("alignment")}
    level = {"ln 2: guessing": float(np.log(2))}
    return plots.stack_figures(
        plots.curves(series, "step", "loss (nats)"),
        plots.curves(alignment, "step", "loss (nats)", lines=level),
    )


def steps_per_point(history: Sequence[Step]) -> int:
    """Of how many steps a point of `losses` is the mean."""
    return max(1, len(history) // POINTS)


CONTROLS = {"": "its picture", ", blind": "without picture", ", shuffled": "another's picture"}


def with_controls(report: Mapping[str, float], kinds: Mapping[str, float]):
    """Bars of masked words in three views, and guessing. kinds: {kind of word: share that guessing gets}."""
    groups = {
        kind: {words: report[f"{kind}{end}"] for end, words in CONTROLS.items()}
        | {"guessing": guessing}
        for kind, guessing in kinds.items()
    }
    return plots.probability_bars(groups, "masked words that are predicted correctly (share)")


def place_words(data: RegionDataset, count: int) -> int:
    """How many of the first `count` captions' words are left, right, above or below."""
    words = (word for n in range(count) for word in tokenizer.split_words(data.pairs.text(n)))
    return sum(word in masked.PLACES for word in words)


def gradients_at_zero_norm(model: VLBERT, batch: dict, steps: int = 6):
    """Gradient norms of VL-BERT's visual LayerNorm and of the layer before it, in its first training steps."""
    found: dict[str, dict[float, float]] = {"visual LayerNorm's weight": {}, "layer before it": {}}
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(1, steps + 1):
        optimiser.zero_grad()
        sum(model.losses(batch).values()).backward()
        for name, layer in zip(found, (model.norm_visual_region, model.embed_visual)):
            found[name][step] = layer.weight.grad.norm().item()
        optimiser.step()
    return plots.curves(found, "step", "norm of the gradient"), found


def spread_of(results: Mapping, row: str, name: str) -> evaluation.Spread:
    """A measurement of a row of benchmarks/results/replicate_fusion.json over seeds."""
    return evaluation.spread(results["rows"][0][row][name]["values"])


def streams_compared(results: Mapping, rows: Sequence[str], guessing: float):
    """Bars of masked nouns and masked regions in rows of replicate_fusion, and of guessing; numbers have two decimals."""
    groups: dict[str, dict[str, evaluation.Spread | float]] = {}
    for kind, key in (("masked nouns", "nouns"), ("masked regions", "regions")):
        spreads = {row: spread_of(results, row, key) for row in rows}
        rounded = {row: replace(one, mean=round(one.mean, 2)) for row, one in spreads.items()}
        groups[kind] = {**rounded, "guessing": round(guessing, 2)}
    return plots.bars(groups, "predicted correctly (share)", highest=1)


def comparison(
    claims: Sequence[
        tuple[str, str, str, tuple[str, evaluation.Spread], tuple[str, evaluation.Spread]]
    ],
) -> str:
    """A Markdown table: claim, the paper's numbers, what we measure, ours on both sides, and evaluation.verdict."""
    lines = [
        "| claim | the paper | we measure | claimed better | claimed worse | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for claim, theirs, measured, (first, higher), (second, lower) in claims:
        found = evaluation.verdict(higher.values, lower.values)
        lines.append(
            f"| {claim} | {theirs} | {measured} | {first}: {higher} | {second}: {lower} | **{found}** |"
        )
    return "\n".join(lines)


CONTROL = {"agrees": "yes", "disagrees": "no: it is lower", "within noise": "within noise"}
"""What the table of controls says for each verdict of the rule: there is no paper to agree with."""


def controls(
    statements: Sequence[
        tuple[str, str, tuple[str, evaluation.Spread], tuple[str, evaluation.Spread]]
    ],
) -> str:
    """A Markdown table: statement, what we measure, what should be higher and lower, and whether it is beyond noise."""
    lines = [
        "| is it so? | we measure | should be higher | should be lower | beyond noise? |",
        "|---|---|---|---|---|",
    ]
    for statement, measured, (first, higher), (second, lower) in statements:
        found = CONTROL[evaluation.verdict(higher.values, lower.values)]
        lines.append(
            f"| {statement} | {measured} | {first}: {higher} | {second}: {lower} | **{found}** |"
        )
    return "\n".join(lines)


def start(results: Mapping, row: str, kind: str) -> tuple[str, evaluation.Spread]:
    """A row's name and its accuracy on a kind of question, in benchmarks/results/replicate_vilbert_vqa.json."""
    return row, evaluation.spread_over_seeds(results["rows"], row, kind)


def by_kind(results: Mapping, questions: RegionQuestions) -> str:
    """Fine-tuned beside from scratch, for each kind of question, as a Markdown table; below it, what helped by the rule."""
    verdicts = {"agrees": "helps", "within noise": "within noise", "disagrees": "hurts"}
    lines = [
        "| kind of question | guessing | fine-tuned | from scratch | pre-training |",
        "|---|---|---|---|---|",
    ]
    kinds: dict[str, list[str]] = {words: [] for words in verdicts.values()}
    for kind in questions.kinds:
        (_, tuned), (_, scratch) = (
            start(results, row, kind) for row in ("fine-tuned", "from scratch")
        )
        found = verdicts[evaluation.verdict(tuned.values, scratch.values)]
        kinds[found].append(f"'{kind}'")
        guessing = 1 / len(questions.answers(kind))
        lines.append(f"| {kind} | {guessing:.2f} | {tuned} | {scratch} | **{found}** |")
    said = "; ".join(f"{words}: {', '.join(names) or 'none'}" for words, names in kinds.items())
    return "\n".join([*lines, "", f"By this rule: {said}."])


def facts(name: str) -> str:
    """A table of published results as Markdown."""
    return published(name).markdown()


def masking_player(
    guess: Callable[[int, int], tuple[dict[str, float], str]],
    images: np.ndarray,
    texts: Sequence[Sequence[str]],
    first: tuple[int, int] = (0, 1),
) -> None:
    """Displays pictures (N, S, S, 3), their captions, cut into words, with one word masked, and the model's predictions.

    guess  (picture number, word number) -> {word: probability}, the likeliest first, and the word that was masked
    first  what is shown at the beginning: picture number, word number
    """
    picture = slider("picture", first[0], 0, len(images) - 1)
    position = slider("mask word", first[1], 0, max(map(len, texts)) - 1)

    def draw():
        words = list(texts[picture.value])
        at = min(position.value, len(words) - 1)
        likely, masked_word = guess(picture.value, at)
        words[at] = GAP
        title = " ".join(words)
        label = f"probability (was: {masked_word})"
        figure = picture_and_bars(images[picture.value], likely, label, title=title)
        figure.description = f"'{title}', masked word '{masked_word}'. {figure.description}"
        return figure

    interactive([picture, position], draw)
