"""Checks tried where the student sits: fresh inputs, explained mistakes, the line that failed."""

import pytest
import torch

from vlmgrader.checks import Check, driver_source, with_hidden
from vlmgrader.public import attempt_fresh


def inputs(generator):
    return [torch.rand(4, generator=generator) + 1], {}


def total(x):
    return x.sum().item()


def tried(check, target):
    return attempt_fresh(check, target, torch.Generator().manual_seed(torch.seed() % 2**31))


def test_fresh_inputs_judge_and_what_was_wanted_comes_along():
    check = Check("total", 1, "total", inputs, total, [(lambda x: x.max().item(), "the largest.")])
    assert tried(check, total) == (tried(check, total)[0], None) and tried(check, total)[0].passed
    verdict, (got, wanted) = tried(check, lambda x: x.max().item())
    assert verdict.message == "the largest." and verdict.diagnosed and got < wanted


def test_what_no_wrong_value_can_name_is_explained():
    def explain(got, wanted, x):
        return f"too large for {len(x)} numbers." if got > wanted else None

    check = Check("total", 1, "total", inputs, total, explain=explain)
    assert tried(check, lambda x: total(x) + 1)[0].message == "too large for 4 numbers."
    assert not tried(check, lambda x: total(x) - 1)[0].diagnosed


def test_the_failing_line_is_the_students_own():
    def answer(x):
        y = x[None]
        return y @ y  # two tables that do not fit

    verdict, values = tried(Check("total", 1, "total", inputs, total), answer)
    assert verdict.message.startswith("your code raised RuntimeError: mat1 and mat2")
    assert verdict.message.endswith(": return y @ y  # two tables that do not fit)")
    assert values is None

    def unwritten(x):
        raise NotImplementedError

    assert "not begun" in tried(Check("total", 1, "total", inputs, total), unwritten)[0].message


def test_a_driver_may_be_written_as_a_function():
    def twice(target, x):
        return target(x) + target(x)

    check = Check(
        "t", 1, "t", inputs, lambda x: 2 * x.sum().item(), driver=driver_source(twice), rounds=1
    )
    assert tried(check, total)[0].passed


def test_shown_inputs_are_rounds_beside_the_hidden_ones():
    first, edge, large = ((lambda g, n=n: ([n], {})) for n in (1, 0, 10**6))
    rows = {"t": [Check("double", 1, "f", first, lambda n: 2 * n)]}
    (check,) = with_hidden(rows, {"t": {"double": [large]}}, {"t": {"double": [edge]}})["t"]
    assert [draw(None)[0][0] for draw in check.draws()] == [1, 1, 1, 0, 10**6]
    assert check.shown == (edge,) and check.hidden == (large,)
    with pytest.raises(KeyError, match="no check 'triple'"):
        with_hidden(rows, {}, {"t": {"triple": [edge]}})
