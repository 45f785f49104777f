"""Lesson 09: the checks of the exercises on CapFilt's data set and on its whole loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from teaching import capfilt_reference as reference
from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source


def pair_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Web and synthetic pairs of the same pictures, annotated pairs of others, and what the filter keeps."""
    count = number(generator, 9, 12)
    web, synthetic = (
        [[picture, f"{kind} {picture}"] for picture in range(count)]
        for kind in ("web", "synthetic")
    )
    annotated = [[count + n, f"annotated {n}"] for n in range(3)]
    keep = [torch.rand(count, generator=generator) < 0.5 for _ in range(2)]
    return [web, synthetic, annotated, *keep], {}


def kept_of(pairs: list, keep: Tensor) -> list:
    return [pair for pair, stays in zip(pairs, keep.tolist()) if stays]


def one_each(first: list, second: list, keep_first: Tensor, keep_second: Tensor) -> list:
    """One caption for each picture: the first where both are kept."""
    rows = zip(first, second, keep_first.tolist(), keep_second.tolist())
    return [one if kept else other for one, other, kept, stays in rows if kept or stays]


def joined(web, synthetic, annotated, keep_web, keep_synthetic, choose: str = "both") -> list:
    """bootstrapped_pairs with other choices of what is kept."""
    good_web, good_synthetic = kept_of(web, keep_web), kept_of(synthetic, keep_synthetic)
    replaced = kept_of(synthetic, keep_synthetic & ~keep_web)
    return {
        "both": [*good_web, *good_synthetic, *annotated],
        "by picture": [*sorted([*good_web, *good_synthetic], key=lambda pair: pair[0]), *annotated],
        "synthetic mask twice": [*kept_of(web, keep_synthetic), *good_synthetic, *annotated],
        "if either": [
            *kept_of(web, keep_web | keep_synthetic),
            *kept_of(synthetic, keep_web | keep_synthetic),
            *annotated,
        ],
        "one each": [*one_each(synthetic, web, keep_synthetic, keep_web), *annotated],
        "one each, web first": [*one_each(web, synthetic, keep_web, keep_synthetic), *annotated],
        "upside down": [*kept_of(web, ~keep_web), *kept_of(synthetic, ~keep_synthetic), *annotated],
        "exchanged": [*kept_of(web, keep_synthetic), *kept_of(synthetic, keep_web), *annotated],
        "web mask twice": [*good_web, *kept_of(synthetic, keep_web), *annotated],
        "no annotated": [*good_web, *good_synthetic],
        "annotated first": [*annotated, *good_web, *good_synthetic],
        "synthetic first": [*good_synthetic, *good_web, *annotated],
        "no synthetic": [*good_web, *annotated],
        "no web": [*good_synthetic, *annotated],
        "all": [*web, *synthetic, *annotated],
        "all web": [*web, *good_synthetic, *annotated],
        "replaced": [*good_web, *replaced, *annotated],
        "if both": [
            *kept_of(web, keep_web & keep_synthetic),
            *kept_of(synthetic, keep_web & keep_synthetic),
            *annotated,
        ],
    }[choose]


PAIR_MISTAKES = {
    message: tuple(partial(joined, choose=choice) for choice in choices.split("; "))
    for choices, message in {
        "upside down": "pairs that the filter rejects are kept: True means that a pair is kept.",
        "exchanged": "the two masks are exchanged: each kind of caption has its own.",
        "web mask twice": "both kinds are selected by the web's mask: synthetic pairs have their own.",
        "synthetic mask twice": "both kinds are selected by the synthetic pairs' mask: the web's pairs have their own.",
        "no annotated": "the annotated pairs are missing: they are always kept.",
        "annotated first": "the order is another: web, synthetic, annotated.",
        "synthetic first": "the order is another: the web's pairs come first.",
        "by picture": "the order is another: first all pairs of the web, then all synthetic ones.",
        "no synthetic": "the synthetic pairs are missing.",
        "no web": "the web's pairs are missing.",
        "all": "nothing is thrown out.",
        "all web": "the web's pairs aren't filtered.",
        "replaced; one each; one each, web first": "a picture may keep both captions: one doesn't replace the other.",
        "if both; if either": "a caption stays if its own mask says so, whatever becomes of the picture's other one.",
    }.items()
}


def explain_pairs(got: object, *_) -> str | None:
    """What the elements say."""
    if isinstance(got, list) and got and all(isinstance(one, str) for one in got):
        return "these are captions alone; keep each with the number of its picture."
    return None


def run_bootstrap(target, web, annotated, table, threshold):
    """Driver: [the name of the model that `target` returns, every training and every use of a model, in order].

    pretrain gives "model 1", "model 2", ...; a tuned copy is "captioner of model 1", "filter of model 1".
    """
    calls, trained = [], []

    def pretrain(pairs):
        trained.append(None)
        name = f"model {len(trained)}"
        calls.append([name, [list(pair) for pair in pairs]])
        return name

    def tuned(kind):
        def tune(model, pairs):
            calls.append([f"{kind} of {model}", [list(pair) for pair in pairs]])
            return f"{kind} of {model}"

        return tune

    def write(model, pictures):
        pictures = [int(picture) for picture in pictures]
        calls.append([f"{model} writes", pictures])
        return [(picture, f"{model}: {picture}") for picture in pictures]

    def match_logits(model, pairs):
        calls.append([f"{model} judges", [list(pair) for pair in pairs]])
        rows = [(13 * picture + len(text)) % len(table) for picture, text in pairs]
        return table[rows]

    web, annotated = ([tuple(pair) for pair in pairs] for pairs in (web, annotated))
    model = target(
        web, annotated, pretrain, tuned("captioner"), tuned("filter"), write, match_logits, threshold
    )  # fmt: skip
    return [model, sorted(calls, key=lambda call: call[0])]


def loop_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Pairs, a table of logits, and a threshold that isn't 0.5."""
    count = number(generator, 7, 9)
    web = [[picture, "web " + "x" * number(generator, 0, 9)] for picture in range(count)]
    annotated = [[count + n, f"annotated {n}"] for n in range(number(generator, 2, 3))]
    return [web, annotated, normal(generator, 31, 2), (0.35, 0.65)[number(generator, 0, 1)]], {}


def other_loop(
    web,
    annotated,
    pretrain,
    tune_captioner,
    tune_filter,
    write,
    match_logits,
    threshold,
    first: Callable = lambda web, annotated: web + annotated,
    tune_on: Callable = lambda web, annotated: annotated,
    captioner_from: str = "base",
    filter_from: str = "base",
    pictures: Callable = lambda web, annotated: web,
    last: Callable | None = None,
    again: str = "pretrain",
    judged: str = "both",
    masks: Callable = lambda web, synthetic: (web, synthetic),
):
    """bootstrap with other choices. masks: from those of web and synthetic pairs to those that are used."""
    base = pretrain(first(web, annotated))
    pairs = tune_on(web, annotated)
    captioner, matcher = base, base
    if captioner_from == "base":
        captioner = tune_captioner(base, pairs)
    if filter_from != "none":
        matcher = tune_filter(captioner if filter_from == "captioner" else base, pairs)
    if captioner_from == "filter":
        captioner = tune_captioner(matcher, pairs)
    if again == "no":
        return base
    synthetic = write(captioner, [picture for picture, _ in pictures(web, annotated)])
    keep = [
        reference.keep_captions(match_logits(matcher, pairs), threshold)
        if judged in ("both", kind)
        else torch.ones(len(pairs), dtype=torch.bool)
        for kind, pairs in (("web", web), ("synthetic", synthetic))
    ]
    cleaned = reference.bootstrapped_pairs(web, synthetic, annotated, *masks(*keep))
    if last:
        cleaned = last(web, synthetic, annotated, cleaned)
    return tune_captioner(base, cleaned) if again == "tune" else pretrain(cleaned)


def loop_mistake(**choices) -> Callable:
    return lambda *args: run_bootstrap(partial(other_loop, **choices), *args)


LOOP_MISTAKES = {
    "the first training has the web's pairs alone; it has the annotated ones, too.": loop_mistake(
        first=lambda web, annotated: web
    ),
    "the first training has the annotated pairs alone.": loop_mistake(
        first=lambda web, annotated: annotated
    ),
    "captioner and filter are tuned on the web's pairs, too: only annotated ones are trusted.": (
        loop_mistake(tune_on=lambda web, annotated: web + annotated)
    ),
    "captioner and filter are tuned on the web's pairs.": loop_mistake(
        tune_on=lambda web, annotated: web
    ),
    "the filter starts from the captioner: both start from the first model.": loop_mistake(
        filter_from="captioner"
    ),
    "the captioner starts from the filter: both start from the first model.": loop_mistake(
        captioner_from="filter"
    ),
    "the first model itself writes: tune a captioner.": loop_mistake(captioner_from="none"),
    "the first model itself judges: tune a filter.": loop_mistake(filter_from="none"),
    "captions are written for annotated pictures, too: those have one that is trusted.": (
        loop_mistake(pictures=lambda web, annotated: web + annotated)
    ),
    "the web's captions aren't judged.": loop_mistake(judged="synthetic"),
    "the synthetic captions aren't judged.": loop_mistake(judged="web"),
    "nothing is judged.": loop_mistake(judged="neither"),
    "the two masks are exchanged: each kind of caption has its own.": loop_mistake(
        masks=lambda web, synthetic: (synthetic, web)
    ),
    "both kinds are selected by both masks together: each kind of caption has its own.": (
        loop_mistake(masks=lambda web, synthetic: (web & synthetic,) * 2)
    ),
    "the filter's decisions are turned round: what it rejects is kept.": loop_mistake(
        masks=lambda web, synthetic: (~web, ~synthetic)
    ),
    "the web's captions are thrown out altogether: those that are kept stay.": loop_mistake(
        masks=lambda web, synthetic: (torch.zeros_like(web), synthetic)
    ),
    "the synthetic captions are thrown out altogether: those that are kept stay.": loop_mistake(
        masks=lambda web, synthetic: (web, torch.zeros_like(synthetic))
    ),
    "the last training lacks the annotated pairs.": loop_mistake(
        last=lambda web, synthetic, annotated, cleaned: cleaned[: -len(annotated)]
    ),
    "the threshold is not used.": lambda web, annotated, table, threshold: run_bootstrap(
        other_loop, web, annotated, table, 0.5
    ),
    "the first model goes on training; a new one is trained from scratch.": loop_mistake(
        again="tune"
    ),
    "no new model is trained: what is returned is the first one.": loop_mistake(again="no"),
}


def explain_loop(got: object, wanted: list, *_) -> str | None:
    """Which call is wrong."""
    if not isinstance(got, list) or len(got) != 2:
        return None
    if got[0] is None:
        return "nothing is returned: return the new model."
    if got[1] == wanted[1]:
        return f"all trainings are right, but what is returned is {got[0]}, not the new model."
    if [name for name, _ in got[1]] == ["model 1"]:
        return "no new model is trained: what is returned is the first one."
    ours, theirs = ({name: data for name, data in calls} for calls in (got[1], wanted[1]))
    for name in theirs:
        if name not in ours:
            return f"this never happens: {name}."
        if ours[name] != theirs[name]:
            what = "on other pictures" if name.endswith("writes") else "on other pairs"
            said = "the new model" if name == "model 2" else name
            return f"{said}: {what} than wanted."
    if extra := set(ours) - set(theirs):
        return f"this happens, and shouldn't: {sorted(extra)[0]}."
    return "the same training or judging happens more often than once."


EXERCISES = {
    "bootstrapped_pairs": Exercise(
        "Annotated pairs always, the others if they match.",
        (
            rule(
                "bootstrapped_pairs",
                pair_inputs,
                reference.bootstrapped_pairs,
                PAIR_MISTAKES,
                explain=explain_pairs,
            ),
        ),
        reference=reference.bootstrapped_pairs,
    ),
    "bootstrap": Exercise(
        "A new model learns from what the old one has cleaned.",
        (
            rule(
                "bootstrap",
                loop_inputs,
                lambda *args: run_bootstrap(reference.bootstrap, *args),
                LOOP_MISTAKES,
                explain=explain_loop,
                driver=driver_source(run_bootstrap),
            ),
        ),
        reference=reference.bootstrap,
    ),
}
