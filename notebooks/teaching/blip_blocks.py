"""Lesson 08: the checks of the exercises on the transformer: inputs of a role, its block, and what is shared."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import blip_reference as reference
from teaching.exercises import Exercise, normal, number, pure_rule, rule
from vlmcourse.parts.layers import PostNormBlock
from vlmgrader.checks import driver_source


def role_arguments(generator: torch.Generator, causal: bool) -> tuple[list, dict]:
    """Texts of different lengths, with padding behind; ids of real tokens are at least 5, that of padding isn't 0."""
    B, T = number(generator, 2, 3), number(generator, 5, 7)
    ids, pad = torch.randint(5, 40, (B, T), generator=generator), number(generator, 1, 4)
    ids[0, -number(generator, 1, 2) :] = pad
    return [ids, number(generator, 41, 49), causal, pad], {}


def role_result(
    ids: Tensor,
    first_token: int,
    causal: bool,
    pad: int,
    order: Callable = torch.tril,
    hidden: str = "keys",
    first: str = "replaced",
    upside_down: bool = False,
) -> list[Tensor]:
    """role_inputs with other choices. order: of a square of ones, where causal; hidden: which side of the mask is padding's."""
    B, T = ids.shape
    is_token = ids != pad
    mask = {
        "keys": is_token[:, None, None, :],
        "queries": is_token[:, None, :, None],
        "both": is_token[:, None, None, :] & is_token[:, None, :, None],
        "pads": ~is_token[:, None, None, :],
        "neither": torch.ones(B, 1, 1, 1).bool(),
        "any": is_token[:, None, None, :] | torch.ones(T, T).tril().bool(),
    }[hidden].expand(B, 1, T, T)
    if causal and hidden != "any":
        mask = mask & order(torch.ones(T, T)).bool()
    token = torch.full((B, 1), first_token)
    new = {
        "replaced": torch.cat([token, ids[:, 1:]], 1),
        "inserted": torch.cat([token, ids[:, :-1]], 1),
        "kept": ids,
        "last": torch.cat([ids[:, :-1], token], 1),
        "all but padding": ids.masked_fill(is_token, first_token),
    }[first]
    return [new, ~mask if upside_down else mask]


role_mistake = partial(partial, role_result)
ROLE_MISTAKES = {
    "the first token is as it was: it says which role the transformer plays.": role_mistake(
        first="kept"
    ),
    "a token was put in front and the last one fell off: replace the first token, which is there already.": (
        role_mistake(first="inserted")
    ),
    "all tokens were replaced: only the first one is.": role_mistake(first="all but padding"),
    "the last token was replaced: it is the first that names the role.": role_mistake(first="last"),
    "padding is still attended to: its columns must be False.": role_mistake(hidden="neither"),
    "padding is closed as a query (its rows); close it as a key (its columns).": role_mistake(
        hidden="queries"
    ),
    "rows of padding are closed, too: close its columns only, since a row without keys has no softmax.": (
        role_mistake(hidden="both")
    ),
    "the mask is upside down: True must mean 'may attend', and padding is what must not be attended to.": (
        role_mistake(hidden="pads")
    ),
}
CAUSAL_MISTAKES = {
    "the mask is upside down where it is causal: True must mean 'may attend'.": role_mistake(
        upside_down=True
    ),
    "causal is True, and tokens still attend to later ones.": role_mistake(order=lambda x: x),
    "tokens attend to later tokens instead of earlier ones: rows are queries, columns are keys.": (
        role_mistake(order=torch.triu)
    ),
    "a token must attend to itself, too: the diagonal is missing.": role_mistake(
        order=lambda x: x.tril(-1)
    ),
    "'causal' and 'not padding' must hold together (&); yours asks for one of them (|).": (
        role_mistake(hidden="any")
    ),
    "causal is True, and padding is attended to: both conditions must hold.": role_mistake(
        hidden="neither"
    ),
    "where causal is True, rows of padding are closed: close its columns, and leave its rows.": (
        role_mistake(hidden="queries"),
        role_mistake(hidden="both"),
    ),
}
OPEN_MISTAKES = {
    "causal is False, and tokens attend to earlier ones only: an encoder reads both ways.": (
        lambda ids, token, causal, pad: role_result(ids, token, True, pad)
    )
}


def explain_role(got: object, wanted: list, ids: Tensor, *_) -> str | None:
    """What the mask's shape says."""
    if not isinstance(got, list) or len(got) != 2 or not isinstance(got[1], Tensor):
        return None
    B, T = ids.shape
    if got[1].shape == ids.shape and isinstance(got[0], Tensor) and got[0].dim() == 4:
        return "text and mask are exchanged: return the text first."
    shape, words = tuple(got[1].shape), f"expected (B, 1, T, T), here {(B, 1, T, T)}."
    if shape in ((T, T), (1, T, T), (1, 1, T, T)):
        return f"the mask is the same for all texts, but each has padding of its own: {words}"
    if shape == (B, T):
        return f"that says which tokens are real; a mask says it for each query: {words}"
    if shape == (B, 1, 1, T):
        return f"the mask has one row for all queries: {words} Use expand."
    if shape == (B, T, T):
        return f"the axis of the heads is missing in the mask: {words}"
    return None


def role_check(causal: bool, mistakes: dict):
    inputs = partial(role_arguments, causal=causal)
    changed = "the caller's ids were changed: they are the targets of another loss. Make a new tensor (clone, cat)."
    return pure_rule("role_inputs", inputs, role_result, mistakes, changed, explain_role)


def block_inputs(generator: torch.Generator, with_image: bool) -> tuple[list, dict]:
    """A seed for the block's weights, states of a text, a mask, and states of an image or None."""
    B, T, width = 2, number(generator, 4, 6), 2 * number(generator, 3, 5)
    x = 2 * normal(generator, B, T, width)
    states = normal(generator, B, number(generator, 3, 5), width, scale=2) if with_image else None
    mask = torch.ones(T, T).tril().bool().expand(B, 1, T, T).clone()
    return [number(generator, 0, 10_000), x, mask, states], {}


def new_block(seed: int, width: int) -> PostNormBlock:
    """A block whose weights, norms included, depend on the seed alone."""
    generator = torch.Generator().manual_seed(seed)
    block = PostNormBlock(width, 2, context_width=width)
    with torch.no_grad():
        for name, weight in block.named_parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.5 + ("norm" in name))
    return block


def run_block(target, seed, x, mask, states):
    """Driver: target with a block of these weights: [result, gradient of its sum by x]."""
    import torch

    from teaching.blip_blocks import new_block

    x = x.clone().requires_grad_()
    block = new_block(seed, x.shape[-1])
    result = target(block, x, mask, states)
    if not isinstance(result, torch.Tensor) or not result.requires_grad:
        return [result, torch.zeros_like(x)]
    total = result.sum() + (result**2).sum()
    grad = torch.autograd.grad(total, x, allow_unused=True)[0]
    return [result, torch.zeros_like(x) if grad is None else grad]


def changed_block(block, x: Tensor, mask: Tensor, states: Tensor | None, change: str = ""):
    """med_block, and what it becomes by one mistake."""
    attention, cross, feedforward = block.attention, block.cross, block.feedforward
    norm1, norm_cross, norm2 = block.norm1, block.norm_cross, block.norm2
    if change == "pre":
        x = x + attention(norm1(x), mask=mask)
        x = x if states is None else x + cross(norm_cross(x), context=states)
        return x + feedforward(norm2(x))
    if change == "cross first":
        x = norm_cross(x + cross(x, context=states))
        x = norm1(x + attention(x, mask=mask))
        return norm2(x + feedforward(x))
    if change == "cross last":
        x = norm1(x + attention(x, mask=mask))
        x = norm2(x + feedforward(x))
        return norm_cross(x + cross(x, context=states))
    old, kept = x, {"no residual": 0.0}.get(change, 1.0)
    x = norm1(kept * x + attention(x, mask=None if change == "no mask" else mask))
    states = x if states is None and change == "always" else states
    if states is not None and change != "never":
        beside = {"no cross residual": 0.0, "old residual": old}.get(change, x)
        context = x if change == "itself" else states
        queries = old if change == "old queries" else x
        norm = {"norm1": norm1, "no norm": lambda x: x}.get(change, norm_cross)
        x = norm(beside + cross(queries, context=context))
    elif change == "norm without image":
        x = norm_cross(x)
    kept = {"no last residual": 0.0}.get(change, 1.0)
    last = (lambda x: x) if change == "no last norm" else norm2
    return last(kept * x + feedforward(x))


def block_mistake(change: str) -> Callable:
    """What `run_block` gives for it."""
    return partial(run_block, partial(changed_block, change=change))


def detached(seed: int, x: Tensor, mask: Tensor, states: Tensor | None) -> list[Tensor]:
    return [block_mistake("")(seed, x, mask, states)[0].detach(), torch.zeros_like(x)]


BLOCK_MISTAKES = {
    "that is a pre-norm block: in BERT each LayerNorm follows the sum.": block_mistake("pre"),
    "self-attention's residual is missing.": block_mistake("no residual"),
    "the feed-forward network's residual is missing.": block_mistake("no last residual"),
    "the last LayerNorm, norm2, is missing.": block_mistake("no last norm"),
    "the mask is not used in self-attention.": block_mistake("no mask"),
    "no gradient arrives at x: a detach or no_grad cuts it.": detached,
}
IMAGE_MISTAKES = {
    "the image's states are not used: between the two sublayers stands cross-attention.": block_mistake(
        "never"
    ),
    "cross-attention stands before self-attention; it stands behind it.": block_mistake(
        "cross first"
    ),
    "cross-attention stands behind the feed-forward network; it stands before it.": block_mistake(
        "cross last"
    ),
    "cross-attention's residual is missing.": block_mistake("no cross residual"),
    "cross-attention's residual is the block's input: take the state after self-attention.": (
        block_mistake("old residual")
    ),
    "the queries of cross-attention are the block's input: take the state after self-attention.": (
        block_mistake("old queries")
    ),
    "cross-attention attends to the text itself: its context is the image's states.": block_mistake(
        "itself"
    ),
    "norm1 is used after cross-attention; norm_cross belongs there.": block_mistake("norm1"),
    "there is no LayerNorm after cross-attention: norm_cross belongs there.": block_mistake(
        "no norm"
    ),
}
TEXT_MISTAKES = {
    "without an image the text attends to itself once more: leave cross-attention out.": block_mistake(
        "always"
    ),
    "norm_cross is applied although no image is read: it belongs to cross-attention.": block_mistake(
        "norm without image"
    ),
}


def block_check(with_image: bool, mistakes: dict):
    inputs = partial(block_inputs, with_image=with_image)
    right = block_mistake("")
    return rule(
        "med_block",
        inputs,
        right,
        mistakes,
        driver=driver_source(run_block),
        tolerance=1e-3,
    )


EXERCISES = {
    "role_inputs": Exercise(
        "One text, three roles: the first token and the mask decide.",
        (
            role_check(False, ROLE_MISTAKES | OPEN_MISTAKES),
            role_check(True, CAUSAL_MISTAKES),
        ),
        reference=reference.role_inputs,
    ),
    "med_block": Exercise(
        "With an image and without one, as in the paper's Figure 2.",
        (
            block_check(True, BLOCK_MISTAKES | IMAGE_MISTAKES),
            block_check(False, BLOCK_MISTAKES | TEXT_MISTAKES),
        ),
        reference=reference.med_block,
    ),
}
