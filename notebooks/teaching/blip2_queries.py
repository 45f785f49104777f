"""Lesson 10: the checks of the exercises on queries: the module that holds them, how many are used, what stage 2 goes on with."""

from __future__ import annotations

import torch
from torch import Tensor

from teaching import blip2_reference as reference
from teaching.exercises import Exercise, normal, number, rule
from vlmcourse.papers.qformer import QFormer, QFormerConfig
from vlmgrader.checks import driver_source


def run_queries(target, R, D, B):
    """Driver: facts about the module as numbers, or its output where the shape is wrong."""
    import torch

    torch.manual_seed(0)
    model = target(R, D)
    out = model(B)
    if not isinstance(out, torch.Tensor) or tuple(out.shape) != (B, R, D):
        return out
    again = model(B)
    between = (out[0, 0] - out[0, 1]).abs().max().item()
    learned = [one for one in model.parameters() if one.requires_grad]
    if out.requires_grad:
        out.sum().backward()
    grads = [one.grad for one in learned if one.grad is not None]
    return [
        float(sum(one.numel() for one in learned)),
        float(torch.equal(out, again)),
        float(all(torch.equal(row, out[0]) for row in out)),
        float(between > 0),
        float(0.012 < out.detach().std().item() < 0.03),
        float(abs(out.detach().mean().item()) < 0.005),
        float((out.detach().abs().max() > 2 * out.detach().std()).item()),  # uniform: at most 1.73
        float(bool(grads) and all(bool((grad == B).all()) for grad in grads)),
    ]


def query_inputs(generator: torch.Generator) -> tuple[list, dict]:
    return [number(generator, 8, 12), 2 * number(generator, 24, 32), number(generator, 2, 4)], {}


def query_facts(R: int, D: int, B: int) -> list[float]:
    return [float(R * D), *[1.0] * 7]


def explain_queries(got: object, wanted: list, R: int, D: int, B: int) -> str | None:
    if isinstance(got, Tensor):
        known = {
            (R, D): "there is no axis for the batch: each picture of the batch gets the queries.",
            (1, R, D): "the batch has one row, whatever B is: repeat the queries for each picture.",
            (B, D, R): "the last two axes are exchanged: (B, R, D), each query is a row.",
            (R, B, D): "the first two axes are exchanged: the batch comes first, (B, R, D).",
            (B * R, D): "the queries of all pictures are in one list: keep an axis for the batch.",
        }
        shape = tuple(got.shape)
        return known.get(shape, f"the output has shape {shape}; expected {(B, R, D)}.")
    if not isinstance(got, list):
        return None
    count, fixed, alike, different, spread, centred, tails, learns = got
    rules = (
        (not fixed, "two calls give different vectors: draw them once, when the module is made."),
        (not different, "all queries are equal. They get equal gradients, and stay equal, where the loss treats them alike."),
        (not alike, "pictures of a batch get different queries; they all get the same ones."),
        (not count, "nothing is trained: the vectors are no parameters of the module."),
        (count == B * R * D, "there are queries for each place of the batch: R of them serve every picture."),
        (count != R * D, f"the module trains {count:.0f} numbers; R vectors of width D have {R * D}."),
        (not spread, "the numbers at the start have another standard deviation than the one asked for."),
        (not centred, "the numbers at the start are not centred at 0: draw them from a normal distribution."),
        (not tails, "no number at the start is far from 0: draw them from a normal distribution, not a uniform one."),
        (not learns, "the gradients of the batch's pictures don't all arrive at the vectors."),
    )  # fmt: skip
    return next((words for wrong, words in rules if wrong), None)


def use_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Cosines of queries, of which the last and another never win, and one wins often."""
    N, R = number(generator, 9, 14), number(generator, 5, 6)
    similarities = normal(generator, N, R).tanh()
    never, often = torch.randperm(R - 1, generator=generator)[:2]
    similarities[:, never] = similarities[:, -1] = -0.99  # the last: no `minlength`, no share
    similarities[:, often] += 0.8
    return [similarities], {}


def use(similarities: Tensor, shares=None, effective=None) -> list:
    """queries_used with other choices."""
    R = similarities.shape[1]
    found = torch.bincount(similarities.argmax(1), minlength=R) / len(similarities)
    found = found if shares is None else shares(similarities)
    number = torch.special.entr(found).sum().exp() if effective is None else effective(found)
    return [found, float(number)]


def wins(best: Tensor, R: int, N: int) -> Tensor:
    return torch.bincount(best, minlength=R) / N


def used_by(shares):
    return lambda s: use(s, shares=shares)


def counted_by(effective):
    return lambda s: use(s, effective=effective)


USE_MISTAKES = {
    "these are counts; wanted are shares of the images.": (
        lambda s: [use(s)[0] * len(s), use(s)[1]],
        lambda s: [(use(s)[0] * len(s)).long(), use(s)[1]],
    ),
    "the counts are divided by the number of queries; divide by the number of images.": used_by(
        lambda s: use(s)[0] * len(s) / s.shape[1]
    ),
    "signs are lost: a query with a cosine of -1 fits worst, not best.": used_by(
        lambda s: wins(s.abs().argmax(1), s.shape[1], len(s))
    ),
    "these are the queries that fit *worst*.": used_by(
        lambda s: wins(s.argmin(1), s.shape[1], len(s))
    ),
    "that counts, for each query, the image that fits it best; wanted is the best query of each image.": (
        lambda s: use(s, shares=lambda s: wins(s.argmax(0) % s.shape[1], s.shape[1], s.shape[1]))
    ),
    "that is a mean of softmaxes; each image counts for its best query alone.": used_by(
        lambda s: s.softmax(1).mean(0)
    ),
    "these are mean cosines; wanted is how often each query is the best.": used_by(
        lambda s: s.mean(0)
    ),
    "that is the number of queries that win at least once; frequent ones must weigh more.": counted_by(
        lambda p: (p > 0).sum()
    ),
    "that is the entropy: the effective number is its exponential.": counted_by(
        lambda p: torch.special.entr(p).sum()
    ),
    "the sign of the entropy is wrong: the effective number is never below 1.": counted_by(
        lambda p: (-torch.special.entr(p).sum()).exp()
    ),
    "logarithm and exponential have different bases: entropy in bits goes with 2 ** x.": (
        counted_by(lambda p: (torch.special.entr(p).sum() / torch.tensor(2.0).log()).exp()),
        counted_by(lambda p: 2 ** torch.special.entr(p).sum()),
    ),
    "that is 1 / sum of p²: another measure of diversity. Here it is the exponential of the entropy.": (
        counted_by(lambda p: 1 / (p**2).sum())
    ),
    "that is 1 / the largest share; all shares count.": counted_by(lambda p: 1 / p.max()),
    "the entropy of each image's softmax is another thing: use the shares.": (
        lambda s: use(s, effective=lambda p: torch.special.entr(s.softmax(1)).sum(1).exp().mean())
    ),
}  # fmt: skip


def explain_use(got: object, wanted: list, *_) -> str | None:
    if isinstance(got, list) and len(got) == 2 and isinstance(got[0], Tensor):
        if len(got[0].shape) == 1 and len(got[0]) > len(wanted[0]):
            return "that counts images: the best image of each query. Wanted is the best query of each image."
        if tuple(got[0].shape) != tuple(wanted[0].shape):
            return "a query that never wins must appear, too, with share 0."
        if isinstance(got[1], float) and got[1] != got[1]:
            return "the effective number is not a number: a share of 0 makes 0 times the logarithm of 0."
    return None


STAYS_BEHIND = {
    "feedforward_text": "the text's feed-forward network is of no use to queries",
    "norm_text": "the norm after the text's feed-forward network goes with it",
    "words": "the language model has words of its own",
    "positions": "only text has positions here",
    "projection": "there is no contrastive loss in stage 2",
    "itm_head": "there is no matching loss in stage 2",
    "head": "the language model writes the text",
    "temperature": "the temperature belongs to the contrastive loss",
    "vision": "the image encoder is no part of the Q-Former: it stays where it is, frozen",
}
NEEDED = {
    "feedforward_queries": "the queries' own feed-forward network was trained in stage 1",
    "cross_attention": "without cross-attention the queries read no picture",
    "queries": "the queries themselves were trained in stage 1",
    "norm_image": "its LayerNorm of features was trained in stage 1, and is used again",
}


def weight_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """A stage-1 state_dict, its names in random order."""
    sizes = {"vision_width": 4, "vocabulary": 9, "queries": 2, "width": 4, "depth": 2, "heads": 2}
    former = QFormer(QFormerConfig(**sizes)).state_dict()
    heads = "image_projection text_projection itm_head head.dense vision.stem".split()
    names = [*(f"qformer.{name}" for name in former), *(f"{name}.weight" for name in heads)]
    names.append("temperature")
    order = torch.randperm(len(names), generator=generator).tolist()
    return [{names[index]: normal(generator, 2) for index in order}], {}


def explain_weights(got: object, wanted: dict, weights: dict) -> str | None:
    if isinstance(got, (list, tuple, set, Tensor)):
        return "wanted is a dict: the names of the weights that go on, with their tensors."
    if not isinstance(got, dict):
        return None
    if unknown := sorted(set(got) - set(weights)):
        return f"'{unknown[0]}' is no name of the stage-1 model; keep the names as they are."
    for name in sorted(set(got) - set(wanted)):
        reason = next(why for part, why in STAYS_BEHIND.items() if part in name)
        return f"'{name}' should stay behind: {reason}."
    for name in sorted(set(wanted) - set(got)):
        default = "queries and text share it, and the queries still need it"
        why = next((why for part, why in NEEDED.items() if part in name), default)
        return f"'{name}' is missing: {why}."
    return "the names are right, but not the tensors: each keeps its own."


EXERCISES = {
    "LearnedQueries": Exercise(
        "The same R trained vectors for each picture, different from each other from the start.",
        (
            rule(
                "LearnedQueries",
                query_inputs,
                query_facts,
                driver=driver_source(run_queries),
                explain=explain_queries,
            ),
        ),
        reference=reference.LearnedQueries,
    ),
    "queries_used": Exercise(
        "Shares of wins, and a number between 1 (one query wins always) and R (all win equally often).",
        (
            rule(
                "queries_used",
                use_inputs,
                use,
                USE_MISTAKES,
                explain=explain_use,
            ),
        ),
        reference=reference.queries_used,
    ),
    "stage2_weights": Exercise(
        "Queries, shared attention, cross-attention and the queries' feed-forward network go on.",
        (rule("stage2_weights", weight_inputs, reference.stage2_weights, explain=explain_weights),),
        reference=reference.stage2_weights,
    ),
}
