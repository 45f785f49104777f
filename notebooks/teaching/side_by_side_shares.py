"""Lesson 13: the checks of the exercise on what spoiled examples leave."""

from __future__ import annotations

import torch

from teaching import side_by_side_reference as reference
from teaching.exercises import Exercise, number, rule, rule_on
from teaching.frozen_prompts import shuffled
from vlmgrader.checks import driver_source

# Exercise 12

FULL, NONE = "as they are", "no examples"


def share_inputs(generator: torch.Generator) -> tuple[list, dict]:
    low = 0.2 + 0.1 * torch.rand((), generator=generator).item()
    high = low + 0.4 + 0.2 * torch.rand((), generator=generator).item()
    drawn = torch.rand(4, generator=generator).tolist()
    names = shuffled(generator, ("wrong answers", "grey pictures", "other pictures", "more"))
    full, none = (FULL, NONE) if number(generator, 0, 1) else ("four examples", "zero examples")
    scores = {none: low, names[0]: low - 0.15 * drawn[0] - 0.02, full: high}
    scores |= {names[1]: low + 0.3 * drawn[1] + 0.02, names[2]: high - 0.08 * drawn[2] - 0.01}
    return [scores | {names[3]: high + 0.05 * drawn[3] + 0.02}, full, none, 0.05], {}


def small_inputs(generator: torch.Generator) -> tuple[list, dict]:
    (scores, full, none, margin), _ = share_inputs(generator)
    sign = 2 * number(generator, 0, 1) - 1
    return [scores | {full: scores[none] + sign * 0.03}, full, none, margin], {}


def exact_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """A gain that is the margin to the last digit, or examples that do harm by more than the margin."""
    if number(generator, 0, 1):
        return [{NONE: 0.25, FULL: 0.5, "wrong answers": 0.375}, FULL, NONE, 0.25], {}
    return [{NONE: 0.75, FULL: 0.25, "wrong answers": 0.375}, FULL, NONE, 0.125], {}


def shares(scores, full, none, margin, *, formula=None, skip=None, always=True) -> dict | None:
    gain = scores[full] - scores[none]
    if not always and gain <= margin:
        return None
    formula = formula or (lambda x: (x - scores[none]) / gain)
    skip = (full, none) if skip is None else skip
    return {name: formula(x) for name, x in scores.items() if name not in skip}


SHARE_MISTAKES = {
    "that is the share that is lost; wanted is the share that is kept.": lambda s, f, n, m: shares(
        s, f, n, m, formula=lambda x: (s[f] - x) / (s[f] - s[n])
    ),
    "each score is divided by the full one; compare what is gained over no examples.": (
        lambda s, f, n, m: shares(s, f, n, m, formula=lambda x: x / s[f])
    ),
    "each score is divided by the gain; first subtract the score without examples.": (
        lambda s, f, n, m: shares(s, f, n, m, formula=lambda x: x / (s[f] - s[n]))
    ),
    "these are gains, not shares of the full gain.": lambda s, f, n, m: shares(
        s, f, n, m, formula=lambda x: x - s[n]
    ),
    "a gain is divided by the full score, not by the full gain.": lambda s, f, n, m: shares(
        s, f, n, m, formula=lambda x: (x - s[n]) / s[f]
    ),
    "a share below 0 was cut off: it says that the examples do harm.": lambda s, f, n, m: shares(
        s, f, n, m, formula=lambda x: max(0.0, (x - s[n]) / (s[f] - s[n]))
    ),
    "a share above 1 was cut off: spoiled examples may help more than right ones.": (
        lambda s, f, n, m: shares(
            s, f, n, m, formula=lambda x: min(1.0, (x - s[n]) / (s[f] - s[n]))
        )
    ),
    "shares were cut off at 0 and 1; leave them as they are.": lambda s, f, n, m: shares(
        s, f, n, m, formula=lambda x: min(1.0, max(0.0, (x - s[n]) / (s[f] - s[n])))
    ),
    "that is how far each score is from the full one; compare it with the one without examples.": (
        lambda s, f, n, m: shares(s, f, n, m, formula=lambda x: (x - s[f]) / (s[f] - s[n]))
    ),
    "a gain is divided by the score without examples, not by the full gain.": lambda s, f, n, m: (
        shares(s, f, n, m, formula=lambda x: (x - s[n]) / s[n])
    ),
    "each score is divided by the one without examples.": lambda s, f, n, m: shares(
        s, f, n, m, formula=lambda x: x / s[n]
    ),
    "the two scores that are compared with have entries of their own; leave them out.": (
        lambda s, f, n, m: shares(s, f, n, m, skip=()),
        lambda s, f, n, m: shares(s, f, n, m, skip=(f,)),
        lambda s, f, n, m: shares(s, f, n, m, skip=(n,)),
    ),
    "None is for a gain of at most the margin; this gain is larger.": lambda *_: "None",
    "the signs are exchanged: the full score minus the one without examples.": lambda s, f, n, m: (
        shares(s, f, n, m, formula=lambda x: (x - s[n]) / (s[n] - s[f]))
    ),
}


NO_SHARES = {
    "return None, not an empty dict.": lambda *_: {},
    "return None, not shares of 0.": lambda *args: dict.fromkeys(shares(*args), 0.0),
}


def run_share(target, scores, full, none, margin):
    """Driver: the shares, and 'None' for None."""
    found = target(dict(scores), full, none, margin)
    return "None" if found is None else found


EXERCISES = {
    "kept_share": Exercise(
        "Where examples bring nothing, there is nothing to keep.",
        (
            rule(
                "kept_share",
                share_inputs,
                shares,
                SHARE_MISTAKES,
                driver=driver_source(run_share),
            ),
            rule_on(
                "kept_share",
                small_inputs,
                lambda *_: "None",
                {
                    "the gain is at most the margin: a share of nearly nothing says nothing, so return None.": (
                        shares
                    ),
                    **NO_SHARES,
                },
                driver=driver_source(run_share),
            ),
            rule_on(
                "kept_share",
                exact_inputs,
                lambda *_: "None",
                {
                    "None is also for a gain that equals the margin, and for examples that do harm, however much.": (
                        shares
                    ),
                    **NO_SHARES,
                },
                driver=driver_source(run_share),
                rounds=6,
            ),
        ),
        reference=reference.kept_share,
    ),
}
