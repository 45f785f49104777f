"""Lesson 04: its figures and tables, and a player that masks a word of a caption."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from vlmcourse import evaluation, introspection, plots
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
        ((likely, probability),) = guesses(model, *with_gap(data, index, word), count=1).items()
        text = " ".join(tokenizer.split_words(data.pairs.text(index))).replace(word, GAP, 1)
        captions.append(
            f"{text}\n→ {likely} ({probability:.2f})\n{questions.question(index).text}\n"
            f"→ {questions.vocabulary[number]}"
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


def losses(history: Sequence[Step], parts: int = 24):
    """Each loss of a run over its steps, with ln 2, the loss of guessing yes or no."""
    names = {"mlm": "words", "mrc": "regions", "alignment": "alignment"}
    series = {
        names.get(name, name): plots.interval_means(history, name, parts)
        for name in history[0].losses
    }
    return plots.curves(series, "step", "loss (nats)", lines={"ln 2: guessing": float(np.log(2))})


CONTROLS = {"": "with its picture", ", blind": "without picture", ", shuffled": "another's picture"}


def with_controls(
    report: Mapping[str, float], rows: Mapping[str, str], label: str, chance: float | None = None
):
    """Bars of a report with its controls. rows: {name of a bar's group: name in the report}."""
    groups = {
        row: {
            words: report[f"{name}{end}"]
            for end, words in CONTROLS.items()
            if f"{name}{end}" in report
        }
        for row, name in rows.items()
    }
    return plots.probability_bars(groups, label, chance)


def attention_and_effect(model: ViLBERT, data: RegionDataset, index: int):
    """Where [MASK] attends in the last co-attention layer, mean over heads, and how much each region matters to the answer."""
    words = data.pairs.scene(index).words
    inputs, position = with_gap(data, index, words[0])
    maps = introspection.attention_weights(model, lambda: model.mlm_logits(inputs))
    last = f"encoder.co_attention.{len(model.encoder.co_attention) - 1}.text.attention"
    attention = maps[last][0].mean(0)[position]
    target = tokenizer.encode([words[0]])[0, 1]
    hidden = torch.cat([torch.zeros(1, len(words)), torch.eye(len(words))]).bool()
    rows = masked.select_rows(inputs, torch.zeros(len(hidden), dtype=torch.long))
    with torch.no_grad():
        logits = model.mlm_logits(rows, masked_regions=hidden)[:, position]
    probability = logits.softmax(-1)[:, target]
    groups = {
        f"region: {word}": {
            "attention of [MASK] to it": attention[1 + n].item(),
            "probability lost without it": max(0.0, (probability[0] - probability[1 + n]).item()),
        }
        for n, word in enumerate(words)
    }
    text = " ".join(tokenizer.split_words(data.pairs.text(index))).replace(words[0], GAP, 1)
    title = f"{text}   (masked: {words[0]}, predicted with {probability[0]:.2f})"
    return plots.probability_bars(groups, "attention, or probability", title=title)


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


def comparison(
    claims: Sequence[tuple[str, str, tuple[str, evaluation.Spread], tuple[str, evaluation.Spread]]],
) -> str:
    """A Markdown table: claim, the paper's numbers, ours on both sides, and the verdict by evaluation.verdict."""
    lines = [
        "| claim | the paper | ours: higher? | ours: lower? | verdict |",
        "|---|---|---|---|---|",
    ]
    for claim, theirs, (first, higher), (second, lower) in claims:
        found = evaluation.verdict(higher.values, lower.values)
        lines.append(
            f"| {claim} | {theirs} | {first}: {higher} | {second}: {lower} | **{found}** |"
        )
    return "\n".join(lines)


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
