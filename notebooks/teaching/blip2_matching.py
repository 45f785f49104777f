"""Lesson 10: the checks of the exercises on stage 1's matching loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from teaching import blip2_reference as reference
from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source


def stand_in(features: Tensor, ids: Tensor) -> Tensor:
    """A stand-in for `read`: features (N, P, C), ids (N, T) -> states (N, R, D) with R = 3, D = C."""
    if len(features) != len(ids):
        raise ValueError(f"{len(features)} pictures and {len(ids)} texts; expected as many.")
    angles = torch.arange(1, 4)[None, :, None] * (1 + ids.sum(1)[:, None, None])
    return (
        features.sum(1, keepdim=True) * angles.float().sin()
    ).tanh() + 0.3 * angles.float().cos()


def head_of(width: int) -> torch.nn.Linear:
    """A stand-in for the head: (N, R, D) -> (N, R, 2)."""
    head = torch.nn.Linear(width, 2)
    with torch.no_grad():
        head.weight.copy_(2 * torch.sin(torch.arange(1.0, 2 * width + 1)).reshape(2, width))
        head.bias.copy_(torch.tensor([0.3, -0.4]))
    return head


def run_itm(target, features, ids, texts, images):
    """Driver: the loss with stand-ins, and its gradient by the features."""
    import torch

    from teaching.blip2_matching import head_of, stand_in

    features = features.clone().requires_grad_()
    loss = target(stand_in, head_of(features.shape[-1]), features, ids, texts, images)
    if not isinstance(loss, torch.Tensor) or not loss.requires_grad:
        return [loss, torch.zeros_like(features)]
    if loss.dim():
        return [loss.detach(), torch.zeros_like(features)]
    (grad,) = torch.autograd.grad(loss, features, allow_unused=True)
    return [loss.item(), torch.zeros_like(features) if grad is None else grad]


def itm_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Features of pictures, their texts, and a wrong text and a wrong picture for each."""
    B = number(generator, 4, 6)
    ids = torch.randint(1, 50, (B, number(generator, 3, 5)), generator=generator)
    shift = torch.randint(1, B, (2, B), generator=generator)
    texts, images = (torch.arange(B) + shift) % B
    return [normal(generator, B, number(generator, 2, 3), 4), ids, texts, images], {}


def mean_logits(logits: Tensor, labels: Tensor) -> Tensor:
    """(N, R, 2) and (N,) -> losses (N,)."""
    return cross_entropy(logits.mean(1), labels, reduction="none")


def itm(
    read,
    head,
    features: Tensor,
    ids: Tensor,
    texts: Tensor,
    images: Tensor,
    use=("right", "wrong text", "wrong image"),
    right: int = 1,
    judge=mean_logits,
    reduce=lambda groups: torch.cat(groups).mean(),
) -> Tensor:
    """itm_loss with other choices. use: kinds of pairs, the first of which are called right."""
    pairs = {
        "right": (features, ids),
        "wrong text": (features, ids[texts]),
        "wrong image": (features[images], ids),
        "both": (features[images], ids[texts]),
        "image by texts": (features[texts], ids),
        "text by images": (features, ids[images]),
        "images' own": (features[images], ids[images]),
        "texts' own": (features[texts], ids[texts]),
    }
    losses = []
    for index, name in enumerate(use):
        labels = torch.full((len(ids),), right if index == 0 else 1 - right)
        losses.append(judge(head(read(*pairs[name])), labels))
    return reduce(losses)


def itm_mistake(**how) -> Callable:
    """What `run_itm` gives for it."""
    return partial(run_itm, partial(itm, **how))


def of_logits(combine) -> Callable:
    return lambda logits, labels: cross_entropy(combine(logits), labels, reduction="none")


def mean_probabilities(logits: Tensor, labels: Tensor) -> Tensor:
    return -logits.softmax(-1).mean(1).log().gather(1, labels[:, None])[:, 0]


def each_query(logits: Tensor, labels: Tensor) -> Tensor:
    """Each query has a loss of its own."""
    return -logits.log_softmax(-1).mean(1).gather(1, labels[:, None])[:, 0]


def alternating(read, head, features: Tensor, ids: Tensor, texts: Tensor, images: Tensor) -> Tensor:
    """Labels 1, 0, 0, 1, 0, 0 beside pairs that stand in three groups."""
    states = read(
        torch.cat([features, features, features[images]]), torch.cat([ids, ids[texts], ids])
    )
    return mean_logits(head(states), torch.tensor([1, 0, 0] * len(ids))).mean()


ITM_MISTAKES = {
    "a group of wrong pairs is right: picture and text of the same number. Change one of the two.": (
        itm_mistake(use=("right", "wrong text", "images' own")),
        itm_mistake(use=("right", "texts' own", "wrong image")),
        itm_mistake(use=("right", "texts' own", "images' own")),
    ),
    "a softmax stands before the cross-entropy, which has one of its own.": (
        itm_mistake(judge=of_logits(lambda x: x.mean(1).softmax(-1))),
        itm_mistake(judge=of_logits(lambda x: x.softmax(-1).mean(1))),
    ),
    "no wrong picture: each text needs a pair with a wrong picture, too.": itm_mistake(
        use=("right", "wrong text")
    ),
    "no wrong text: each picture needs a pair with a wrong text, too.": itm_mistake(
        use=("right", "wrong image")
    ),
    "the right pairs are missing.": itm_mistake(reduce=lambda g: torch.cat(g[1:]).mean()),
    "the wrong text meets the wrong picture: change one of the two at a time.": (
        itm_mistake(use=("right", "both")),
        itm_mistake(use=("right", "both", "both")),
        itm_mistake(use=("right", "both", "right")),
        itm_mistake(use=("right", "wrong text", "wrong image", "both")),
    ),
    "`texts` and `images` are exchanged: texts holds the number of a wrong text for each picture.": (
        itm_mistake(use=("right", "text by images", "image by texts"))
    ),
    "`texts` is used for the pictures, too: `images` holds the numbers of the wrong ones.": (
        itm_mistake(use=("right", "wrong text", "image by texts"))
    ),
    "`images` is used for the texts, too: `texts` holds the numbers of the wrong ones.": (
        itm_mistake(use=("right", "text by images", "wrong image"))
    ),
    "the labels stand in another order than the pairs: only right pairs have a 1.": (
        itm_mistake(use=("wrong text", "right", "wrong image")),
        itm_mistake(use=("wrong image", "right", "wrong text")),
        partial(run_itm, alternating),
    ),
    "class 1 is 'match': the labels are exchanged.": itm_mistake(right=0),
    "only the first query is judged; all of them are.": itm_mistake(
        judge=of_logits(lambda x: x[:, 0])
    ),
    "only the last query is judged; all of them are.": itm_mistake(
        judge=of_logits(lambda x: x[:, -1])
    ),
    "the largest logits of the queries are taken; that is ITC's rule.": itm_mistake(
        judge=of_logits(lambda x: x.amax(1))
    ),
    "the queries' logits are summed.": itm_mistake(judge=of_logits(lambda x: x.sum(1))),
    "probabilities are averaged; the logits are, before the softmax.": itm_mistake(
        judge=mean_probabilities
    ),
    "each query has a loss of its own; the queries have one verdict together.": itm_mistake(
        judge=each_query
    ),
    "right and wrong pairs have the same weight; take the mean over all 3 B pairs.": (
        itm_mistake(reduce=lambda g: (g[0].mean() + torch.cat(g[1:]).mean()) / 2),
        itm_mistake(reduce=lambda g: g[0].mean() + torch.cat(g[1:]).mean()),
    ),
    "that is the sum; take the mean over all 3 B pairs.": (
        itm_mistake(reduce=lambda g: torch.cat(g).sum()),
        itm_mistake(reduce=lambda g: sum(one.mean() for one in g)),
    ),
    "the value is right, but no gradient arrives at the picture's features.": lambda *args: [
        itm_mistake()(*args)[0],
        torch.zeros_like(args[0]),
    ],
}


EXERCISES = {
    "itm_loss": Exercise(
        "One right pair, one with a wrong text, one with a wrong picture, judged by all queries together.",
        (
            rule(
                "itm_loss",
                itm_inputs,
                itm_mistake(),
                ITM_MISTAKES,
                driver=driver_source(run_itm),
            ),
        ),
        reference=reference.itm_loss,
    ),
}
