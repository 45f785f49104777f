"""Lesson 03's exercises on class lists and shift."""

from __future__ import annotations

from torch import Tensor

from teaching import clip_analysis_data_formulas as right
from teaching.exercises import Exercise, listed, number_rule, rule
from vlmgrader.checks import driver_source

ALARM_MISTAKES = {
    "that is the share that is *not* an alarm.": lambda *a: 1 - right.alarm_rate(*a),
    "that is the number of alarms: divide by the number of images.": right.alarms_over(
        lambda *_: 1
    ),
    "divided by the number of classes: divide by the number of images.": right.alarms_over(
        lambda images, classes, _: len(classes)
    ),
    "divided by the number of alarm classes: divide by the number of images.": right.alarms_over(
        lambda images, classes, is_alarm: int(is_alarm.sum())
    ),
    "a share lies between 0 and 1: do not multiply by 100.": lambda *a: 100 * right.alarm_rate(*a),
    "that is the share of alarm *classes*, whatever the images show.": lambda i, c, a: (
        a.float().mean().item()
    ),
    "this chooses the class with the *lowest* similarity.": lambda i, c, a: right.alarm_rate(
        i, -c, a
    ),
    "this finds the nearest image of each class: argmax over classes, dim 1.": (
        lambda i, c, a: a[(i @ c.T).argmax(0) % len(a)].float().mean().item()
    ),
    "an image counts if *any* alarm class is similar: only its nearest class counts.": (
        lambda i, c, a: ((i @ c.T)[:, a] > 0).any(1).float().mean().item()
    ),
    "the second nearest class counts, too: the answer is the nearest one alone.": right.any_of_two,
    "similarities are averaged over classes: the answer is the single nearest class.": (
        right.nearer_on_average
    ),
    "probabilities of the alarm classes are added up: count the images whose *answer* is an alarm.": (
        right.alarm_probability(1.0),
        right.alarm_probability(100.0),
    ),
}

ALARM_RATE = Exercise(
    "Each image goes to its nearest class; the rate counts those that go to an alarm class.",
    (
        rule("alarm_rate", right.few_images, right.alarm_rate, ALARM_MISTAKES),
        rule("alarm_rate", right.alarm_inputs, right.alarm_rate, ALARM_MISTAKES),
        number_rule("alarm_rate", right.alarm_inputs),
    ),
    reference=right.alarm_rate,
)


def not_the_best(got: object, wanted: object, *_) -> str | None:
    """What to say of candidates that are no named mistake's. got: one for each class list."""
    found = got if isinstance(got, list) else [got]
    if any(isinstance(one, (Tensor, float)) for one in found):
        return "return the number of the candidate, an int (.item() of a tensor)."
    if all(isinstance(one, int) for one in found):
        return "that candidate is not the one with the lowest alarm rate."
    return None


def on_each(formula):
    """A formula of one class list, for several."""
    return lambda lists: [formula(*one) for one in lists]


def three_lists(generator):
    """Three class lists with candidates: on one alone, a mistake could choose what another one chooses."""
    return [[right.add_inputs(generator)[0] for _ in range(3)]], {}


BEST_MISTAKES = {
    "that candidate makes the rate *highest*.": lambda *a: right.best_class_to_add(*a, best=max),
    "that is the candidate most similar to the images on average: measure the alarm rate "
    "with each.": right.most_similar,
    "that is the first candidate, whatever the images show.": lambda *a: 0,
    "the new class counts as an alarm, so it cannot help: it joins as a harmless one.": (
        lambda *a: right.best_class_to_add(*a, rate=lambda *b: right.rate_with(*b, alarm=True))
    ),
    "that is the last candidate.": lambda i, c, a, k: len(k) - 1,
    "that candidate is nearest to most images, but some of them raised no alarm: measure the rate.": (
        right.wins_most,
        right.wins_among_all,
        right.wins_among_candidates,
    ),
}

BEST_CLASS = Exercise(
    "Each candidate is tried, one at a time, on the whole class list.",
    (
        rule(
            "best_class_to_add",
            three_lists,
            on_each(right.best_class_to_add),
            {
                message: tuple(map(on_each, listed(formulas)))
                for message, formulas in BEST_MISTAKES.items()
            },
            explain=not_the_best,
            driver=driver_source(right.run_on_each),
        ),
        rule(
            "best_class_to_add",
            right.tied_inputs,
            right.best_class_to_add,
            {
                "that is the last of several candidates that are equally good; the first one is wanted.": (
                    right.last_of_equal
                )
            },
            explain=not_the_best,
        ),
    ),
    reference=right.best_class_to_add,
)

GAP_MISTAKES = {
    "that is the share of the gap that is *left*: subtract it from 1.": lambda *a: (
        1 - right.gap_closed(*a)
    ),
    "the sign is wrong: subtract the ratio from 1, not 1 from the ratio.": lambda *a: (
        -right.gap_closed(*a)
    ),
    "the two models are exchanged.": lambda m, r, s: right.gap_closed(r, m, s),
    "the ratio is upside down: the model's gap is divided by the reference's, then subtracted from 1.": (
        lambda m, r, s: 1 / (1 - right.gap_closed(m, r, s))
    ),
    "that is the gap of one model: compare it with the other's.": (
        lambda m, r, s: m[s] - right.mean_of(m, s),
        lambda m, r, s: r[s] - right.mean_of(r, s),
    ),
    "that is the difference of the gaps: it is compared with the reference's gap.": (
        lambda m, r, s: (r[s] - right.mean_of(r, s)) - (m[s] - right.mean_of(m, s))
    ),
    "the difference of the gaps is divided by the model's gap: divide by the reference's.": (
        lambda m, r, s: -right.gap_closed(r, m, s)
    ),
    "the gap is not relative to the model's own accuracy in the source style.": (
        lambda m, r, s: 1 - (r[s] - right.mean_of(m, s)) / (r[s] - right.mean_of(r, s)),
        lambda m, r, s: 1 - (m[s] - right.mean_of(m, s)) / (m[s] - right.mean_of(r, s)),
    ),
    "that is the ratio of the accuracies under shift: compare the *losses* of accuracy.": (
        lambda m, r, s: right.mean_of(m, s) / right.mean_of(r, s),
        lambda m, r, s: 1 - right.mean_of(m, s) / right.mean_of(r, s),
    ),
    "the shifted accuracies are added up: take their mean.": right.by_gap(
        lambda scores, s: scores[s] - sum(right.others(scores, s))
    ),
    "the sum over the shifted styles is divided by the number of *all* styles: the source is none of them.": (
        right.by_gap(lambda scores, s: scores[s] - sum(right.others(scores, s)) / len(scores))
    ),
    "only the worst style counts: take the mean of all other styles.": right.by_gap(
        lambda scores, s: scores[s] - min(right.others(scores, s))
    ),
    "only the best style counts: take the mean of all other styles.": right.by_gap(
        lambda scores, s: scores[s] - max(right.others(scores, s))
    ),
    "only one style counts: take the mean of all other styles.": right.by_gap(
        lambda scores, s: scores[s] - right.others(scores, s)[0]
    ),
    "the gap is divided by the accuracy in the source style: here it is a plain difference.": (
        right.by_gap(lambda scores, s: 1 - right.mean_of(scores, s) / scores[s])
    ),
    "the ratio is taken style by style and then averaged: average the accuracies first.": (
        right.mean_of_ratios
    ),
    "a share lies below 1: do not multiply by 100.": lambda *a: 100 * right.gap_closed(*a),
}

EASIER_MISTAKES = {
    "absolute differences are averaged: a style above the source makes the gap smaller.": right.by_gap(
        lambda scores, s: right.mean_of({k: abs(scores[s] - v) for k, v in scores.items()}, s)
    ),
    "a gap below 0 is cut off: a model may be better in the other styles, then the share is above 1.": (
        right.by_gap(lambda scores, s: max(scores[s] - right.mean_of(scores, s), 0.0))
    ),
}
LARGER_MISTAKES = {
    "a share below 0 is cut off: a model with a larger gap than the reference's gets a negative one.": (
        lambda *a: max(right.gap_closed(*a), 0.0)
    ),
}

GAP_CLOSED = Exercise(
    "One minus the ratio of the two losses of accuracy.",
    tuple(
        rule(
            "gap_closed",
            inputs,
            right.gap_closed,
            mistakes,
        )
        for inputs, mistakes in (
            (right.gap_inputs, GAP_MISTAKES),
            (right.easier_inputs, EASIER_MISTAKES),
            (right.larger_gap_inputs, LARGER_MISTAKES),
        )
    ),
    reference=right.gap_closed,
)

EXERCISES = {
    "alarm_rate": ALARM_RATE,
    "best_class_to_add": BEST_CLASS,
    "gap_closed": GAP_CLOSED,
}
