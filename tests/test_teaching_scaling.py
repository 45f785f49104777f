"""Lesson 06's exercises on scaling: right answers pass, each plausible mistake is named; its small models and tables."""

import math

import numpy as np
import pytest
import torch
from exercise_answers import each, message

from teaching import scaling, scaling_claims, scaling_figures, scaling_models
from vlmcourse.evaluation import spread

TOKENS = {
    "found None": lambda c, n: None,
    "the backward pass takes": lambda c, n: c / 2 / n,
    "the forward pass takes": lambda c, n: c / 4 / n,
    "more than one operation": lambda c, n: c / n,
    "wrong side": lambda c, n: c / n * 6,
    "solve C = 6 N D": lambda c, n: 6 * n * c,
    "the budget is missing": lambda c, n: 6 * n,
    "upside down": lambda c, n: 6 * n / c,
    "tokens per parameter": lambda c, n: c / 6 / n / n,
    "N is missing": lambda c, n: c / 6,
    "multiplies by N": lambda c, n: c / 6 * n,
    "C isn't used": lambda c, n: 20 * n,
}
SIZES = {
    "found None": lambda w, d: None,
    "only the attention": lambda w, d: 4 * d * w * w,
    "the attention is missing": lambda w, d: 8 * d * w * w,
    "fourth matrix": lambda w, d: d * (3 * w * w + 8 * w * w),
    "counted as one": lambda w, d: d * (w * w + 8 * w * w),
    "two of them": lambda w, d: d * (2 * w * w + 8 * w * w),
    "four times as wide": lambda w, d: d * (4 * w * w + 2 * w * w),
    "that is one layer": lambda w, d: 12 * w * w,
    "squared numbers, not d": lambda w, d: 12 * d * w,
    "leave out the biases": lambda w, d: d * (12 * w * w + 9 * w),
    "one matrix of d by d": lambda w, d: d * (4 * w * w + w * w),
    "not 16 d squared": lambda w, d: d * (4 * w * w + 2 * (4 * w) ** 2),
    "not operations": lambda w, d: 2 * 12 * d * w * w,
    "the depth is squared": lambda w, d: 12 * (d * w) ** 2,
    "the power 3": lambda w, d: 12 * d * w**3,
}


def valley(sizes, losses, log=np.log, exp=np.exp, inside=None, sign=-1, half=2, check=True):
    x = log(np.array(sizes))
    a, b, _ = np.polyfit(x, losses, 2)
    at = sign * b / (half * a)
    good = bool(a > 0 and x.min() < at < x.max())
    if check and not good:
        return sizes[int(np.argmin(losses))], False
    return float(exp(min(at, 600) if exp is np.exp else at)), good if inside is None else inside


def first_and_last(sizes, losses):
    best, inside = valley(sizes, losses)
    ends = sizes[0] < best < sizes[-1]
    return (best, inside) if not inside or ends else (sizes[int(np.argmin(losses))], False)


def edge(sizes, losses):
    """The edge on the side of the vertex, where there is no minimum inside."""
    a, b, _ = np.polyfit(np.log(sizes), losses, 2)
    best, inside = valley(sizes, losses)
    nearest = min((min(sizes), max(sizes)), key=lambda size: abs(math.log(size) + b / (2 * a)))
    return (best, inside) if inside else (nearest, False)


def lowest_inside(sizes, losses):
    return min(sizes) < sizes[int(np.argmin(losses))] < max(sizes)


def bends_up(sizes, losses):
    return np.polyfit(np.log(sizes), losses, 2)[0] > 0


def by_measured(sizes, losses):
    """Neither the bend nor the vertex is looked at, only where the lowest loss was measured."""
    found = valley(sizes, losses, check=False, inside=True)
    return found if lowest_inside(sizes, losses) else (sizes[int(np.argmin(losses))], False)


VALLEY = {
    "found None": lambda s, y: None,
    "expected 2 values": lambda s, y: valley(s, y)[0],
    "lowest measured": lambda s, y: (s[int(np.argmin(y))], True),
    "compared ln N with N": lambda s, y: (s[int(np.argmin(y))], False),
    "a power of 10": lambda s, y: valley(s, y, np.log10),
    "over the size": lambda s, y: valley(s, y, lambda x: x, lambda x: x),
    "take it back with exp": lambda s, y: (math.log(valley(s, y)[0]), valley(s, y)[1]),
    "minus sign": lambda s, y: valley(s, y, sign=1, check=False, inside=True),
    "the 2 is missing": lambda s, y: valley(s, y, half=1, check=False, inside=True),
    "does lie between": lambda s, y: (valley(s, y)[0], False),
    "outside of the sizes": lambda s, y: valley(s, y, check=False),
    "not between the sizes": lambda s, y: (valley(s, y)[0], True),
    "opens downward, so": lambda s, y: (
        valley(s, y) if np.polyfit(np.log(s), y, 2)[0] > 0 else valley(s, y, check=False, inside=True)
    ),
    "downward has no minimum": lambda s, y: (
        valley(s, y)[0], valley(s, y)[1] or np.polyfit(np.log(s), y, 2)[0] < 0
    ),
    "the edge nearer to the vertex": edge,
    "the highest measured loss": lambda s, y: (
        valley(s, y) if valley(s, y)[1] else (s[int(np.argmax(y))], False)
    ),
    "not with the first and the last": first_and_last,
    "has its lowest point outside. The parabola decides": by_measured,
    "opens downward and has no lowest point. The": lambda s, y: valley(s, y) if bends_up(s, y) else by_measured(s, y),
    "and it lies inside; but": lambda s, y: (valley(s, y)[0], valley(s, y)[1] or lowest_inside(s, y)),
}  # fmt: skip


def law(c, n, x=np.log, y=np.log, back=np.exp):
    slope, start = np.polyfit(x(np.array(c)), y(np.array(n)), 1)
    return slope, back(start)


def same(value):
    return value


LAW = {
    "found None": lambda c, n: None,
    "expected 2 values": lambda c, n: law(c, n)[0],
    "the exponent comes first": lambda c, n: law(c, n)[::-1],
    "still a logarithm": lambda c, n: law(c, n, back=same),
    "a line between logarithms": lambda c, n: law(c, n, same, same, same),
    "those of the sizes": lambda c, n: law(c, n, y=same, back=same),
    "those of the budgets": lambda c, n: law(c, n, x=same),
    "axes are exchanged": lambda c, n: law(n, c),
    "first and last point": lambda c, n: law(c[::3], n[::3]),
    "a power of 10": lambda c, n: law(c, n, np.log10, np.log10),
    "a logarithm to base 10": lambda c, n: law(c, n, np.log10, np.log10, same),
    "no factor of it": lambda c, n: (math.log(n[-1] / n[0]) / math.log(c[-1] / c[0]), 1.0),
}


def split(c, f, power="beta", six=6, last=6, root=True, invert=False, ratio=True):
    total = f["alpha"] + f["beta"]
    balance = f["A"] / f["B"] * (f["alpha"] / f["beta"] if ratio else 1)
    balance = (1 / balance if invert else balance) ** (1 / total if root else 1)
    n = balance * (c / six) ** (f[power] / total)
    return n, c / last / n


def searched(c, f, low=1e6, high=1e13, points=20_001, sign=-1):
    n = np.exp(np.linspace(math.log(low), math.log(high), points))
    d = c / 6 / n
    loss = f["E"] + f["A"] * n ** (sign * f["alpha"]) + f["B"] * d ** (sign * f["beta"])
    best = float(n[loss.argmin()])
    return best, c / 6 / best


def by_formula(size):
    """best_split with another formula for the size. size: (balance, C / 6, alpha, beta) -> N."""

    def answer(c, f):
        n = size(f["alpha"] * f["A"] / (f["beta"] * f["B"]), c / 6, f["alpha"], f["beta"])
        return n, c / (6 * n)

    return answer


SPLIT = {
    "found None": lambda c, f: None,
    "parameters come first": lambda c, f: split(c, f)[::-1],
    "it is beta": lambda c, f: split(c, f, "alpha"),
    "upside down": lambda c, f: split(c, f, invert=True),
    "the 6 is missing.": lambda c, f: split(c, f, six=1, last=1),
    "missing in the parameters": lambda c, f: split(c, f, six=1),
    "missing in the tokens": lambda c, f: split(c, f, last=1),
    "needs the power": lambda c, f: split(c, f, root=False),
    "*derivatives* balance": lambda c, f: split(c, f, ratio=False),
    "the constants are not used": lambda c, f: (math.sqrt(c / 6), math.sqrt(c / 6)),
    "20 tokens per parameter": lambda c, f: (math.sqrt(c / 120), 20 * math.sqrt(c / 120)),
    "make it finer": lambda c, f: searched(c, f, points=60),
    "wide enough": lambda c, f: searched(c, f, high=1e7),
    "N and D stand in the loss with negative powers": lambda c, f: searched(
        c, f, high=1e16, points=40_001, sign=1
    ),
    "an exponent needs brackets": by_formula(lambda r, c, a, b: (r * c**b) ** 1 / (a + b)),
    "is (x ** 1) / (a + b)": by_formula(lambda r, c, a, b: r ** (1 / (a + b)) * c**b / (a + b)),
    "1 / a + b is (1 / a) + b": by_formula(lambda r, c, a, b: (r * c**b) ** (1 / a + b)),
    "don't spend the budget": lambda c, f: (split(c, f)[0], c / 6 * split(c, f)[0]),
    "tokens don't spend the budget": lambda c, f: (split(c, f)[0], 20 * split(c, f)[0]),
    "positive numbers": lambda c, f: (-split(c, f)[0], split(c, f)[1]),
}


WRONG = {
    "scaling.training_tokens": TOKENS,
    "scaling.block_parameters": SIZES,
    "scaling.valley": VALLEY,
    "scaling.power_law": LAW,
    "scaling.best_split": SPLIT,
}
RIGHT = {
    "scaling.training_tokens": lambda c, n: c / 6 / n,
    "scaling.block_parameters": lambda w, d: 12 * d * w * w,
    "scaling.valley": valley,
    "scaling.power_law": law,
    "scaling.best_split": searched,
}
EXERCISES = {f"scaling.{name}": one for name, one in scaling.EXERCISES.items()}


def test_each_exercise_is_tried():
    assert set(EXERCISES) == set(WRONG) == set(RIGHT)


@pytest.mark.parametrize("id", RIGHT)
def test_right_answers_and_the_reference_pass(id):
    assert [message(id, RIGHT[id]) for _ in range(3)] == [""] * 3
    assert message(id, EXERCISES[id].reference) == ""


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


def test_a_model_of_characters_reads_only_what_comes_before():
    torch.manual_seed(0)
    model = scaling_models.CharacterModel(16)
    ids = torch.randint(0, 30, (1, scaling_models.CONTEXT))
    changed = ids.clone()
    changed[0, 40] = (ids[0, 40] + 1) % 30
    with torch.no_grad():
        moved = (model(ids) - model(changed)).abs().sum(-1)[0]
    assert moved[:40].max() == 0 and moved[40:].min() > 0


def test_training_lowers_the_loss_and_counts_what_it_read():
    found = scaling_models.train(12, 40_000, corpus=50_000)
    assert found["tokens"] == 78 * 512 and found["loss"] < math.log(30) - 0.5


ROWS = [
    {"flops": 10**c, "seed": seed, "width": w, "parameters": w**2 * 10,
     "loss": 2 + (math.log(w**2 * 10) - 0.5 * math.log(10**c) + 3.5 - seed / 10) ** 2}
    for c in (10, 11) for seed in (0, 1) for w in (10, 20, 40, 80)
]  # fmt: skip


def test_curves_are_grouped_by_budget_and_seed_and_unfinished_seeds_are_left_out():
    found = scaling_figures.best_sizes(ROWS[:-1], scaling.valley)
    assert {flops: len(sizes) for flops, sizes in found.items()} == {10**10: 2, 10**11: 1}
    (low, inside), (other, _) = found[10**10]
    assert inside and math.log(low) == pytest.approx(0.5 * math.log(10**10) - 3.5)
    assert math.log(other / low) == pytest.approx(0.1)
    assert len(scaling_claims.claims(ROWS, scaling.valley)) == 4


def test_a_seed_is_measured_at_the_size_that_is_best_for_the_others():
    losses = [[3, 2, 1], [2, 2, 5], [2, 1.5, 4]]  # the means of the others are lowest in the middle
    assert scaling_claims.best_by_others(losses) == [2, 2, 1.5]
    assert scaling_claims.best_by_others([[3, 1, 2]]) == [1]


def test_a_note_stands_beside_any_verdict_and_a_reason_only_where_it_is_within_noise():
    high, low = spread([1.0, 1.1, 1.2]), spread([0.0, 0.1, 0.2])
    claims = [
        ("one", "", ("", high), ("", low), "too near.", "A note."),
        ("two", "", ("", high), ("", high), "too near.", "A note."),
    ]
    first, second = scaling_claims.comparison(claims).splitlines()[2:]
    assert first.endswith("| agrees | A note. |")
    assert second.endswith("| within noise | too near. A note. |")


def test_the_range_of_exponents_is_that_of_curves_with_sizes_left_out():
    exact = scaling_claims.exponent_range(ROWS, scaling.valley, scaling.power_law)
    assert exact == pytest.approx((0.5, 0.5))
    bent = [
        row | {"loss": row["loss"] + (row["width"] == 80) * row["flops"] / 10**12} for row in ROWS
    ]
    low, high = scaling_claims.exponent_range(bent, scaling.valley, scaling.power_law)
    whole = scaling_figures.best_sizes(bent, scaling.valley)
    points = [(flops, size) for flops, found in whole.items() for size, _ in found]
    assert low <= scaling.power_law(*zip(*points))[0] < high == pytest.approx(0.5)


@pytest.mark.parametrize("limits, kaplan, equal", [
    ((0.45, 0.6), "outside of", "inside"),
    ((0.52, 0.75), "inside", "outside of"),
    ((0.4975, 0.735), "at the edge of", "at the edge of"),
])  # fmt: skip
def test_the_words_about_the_exponent_follow_from_its_range(limits, kaplan, equal):
    text = scaling_claims.about_exponent(0.55, *limits)
    assert f"Kaplan's 0.73 lies {kaplan} this range" in text and f"(0.500) {equal} it" in text
    assert f"{limits[0]:.3f} to {limits[1]:.3f}" in text
    seen = scaling_claims.slopes_to_see(*limits)
    assert f"runs {equal} the shaded" in seen and f"(dotted) {kaplan} it" in seen


def test_a_narrow_model_costs_more_than_its_parameters_say():
    shares = [
        scaling_models.attention_share(
            w, scaling_models.CharacterModel(w).parameters_that_multiply()
        )
        for w in (8, 64)
    ]
    assert shares == pytest.approx([1.0, 0.16], abs=0.01)
    assert "1e+10: the smallest model costs 1." in scaling_figures.true_costs(
        ROWS, lambda width, size: 8 / width
    )


def test_the_later_fit_agrees_with_twenty_tokens_per_parameter():
    text = scaling_figures.split_table(scaling.best_split)
    printed, later = (line.split("|") for line in text.splitlines()[2:4])
    assert int(later[4]) in range(15, 30) and int(printed[4]) > 50
