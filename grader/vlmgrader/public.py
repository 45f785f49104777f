"""check("a1-attention-test", attention): the instant check of a task, in the student's own notebook.

It knows fixed inputs, the values wanted for them and the values to which known mistakes lead (JSON files, made by
`authoring.build`). What counts is checked later, by the same rules, on inputs that nobody has seen.
"""

from __future__ import annotations

import copy
import json
import linecache
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from vlmgrader.checks import Check, Failed, Verdict
from vlmgrader.codec import from_numpy

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.bool, torch.int64, torch.float32, torch.float64)
}


def pack(value: object) -> object:
    """A plain value as JSON: tensors become {"tensor": dtype, "shape": ..., "values": ...}."""
    if isinstance(value, Tensor):
        values = value.flatten().tolist()
        if value.dtype == torch.float32:  # nine digits hold a float32 exactly
            values = [float(f"{number:.9g}") for number in values]
        return {
            "tensor": str(value.dtype).removeprefix("torch."),
            "shape": list(value.shape),
            "values": values,
        }
    if isinstance(value, (list, tuple)):
        return [pack(part) for part in value]
    if isinstance(value, dict):
        return {key: pack(part) for key, part in value.items()}
    return value


def unpack(value: object) -> object:
    """The plain value that was packed."""
    if isinstance(value, dict) and "tensor" in value:
        return torch.tensor(value["values"], dtype=DTYPES[value["tensor"]]).reshape(value["shape"])
    if isinstance(value, list):
        return [unpack(part) for part in value]
    if isinstance(value, dict):
        return {key: unpack(part) for key, part in value.items()}
    return value


def local_call(target: Callable, driver: str | None, args: list, kwargs: dict) -> object:
    """The student's function on copies of the inputs (so that changing them in place changes nothing for us)."""
    args, kwargs = copy.deepcopy((args, kwargs))
    if driver is None:
        return plain(target(*args, **kwargs))
    space: dict = {}
    exec(driver, space)
    return plain(space["run"](target, *args, **kwargs))


def plain(value: object) -> object:
    """As it would arrive at the grader: tensors without gradients, tuples as lists, numpy's numbers as Python's."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return (
        {key: plain(part) for key, part in value.items()}
        if isinstance(value, dict)
        else from_numpy(value)
    )


class PublicChecks:
    """check = PublicChecks(folder); check("a1-attention-test", attention) says what is right and what is not.

    folder           of the public cases, JSON files as `authoring.build` writes them
    show_difference  called with what was got and what was wanted where a value is wrong, to draw it
    """

    def __init__(
        self,
        folder: Path,
        show_difference: Callable[[object, object], None] = lambda got, wanted: None,
    ) -> None:
        self.folder, self.show_difference = folder, show_difference

    @cached_property
    def tasks(self) -> dict[str, list[dict]]:
        """The public cases by the id of their test cell."""
        read = [
            json.loads(path.read_text(encoding="utf-8"))
            for path in sorted(self.folder.glob("*.json"))
        ]
        return {task: checks for file in read for task, checks in file.items()}

    def __call__(self, task: str, *answers: Callable) -> bool:
        """Tries your functions on the task's public inputs; says what is right and the likely mistake."""
        if task not in self.tasks:
            raise ValueError(f"there is no task {task!r}; there are {', '.join(self.tasks)}.")
        named = {getattr(answer, "__name__", type(answer).__name__): answer for answer in answers}
        tried = [_try(known, named) for known in self.tasks[task]]
        verdicts = [verdict for verdict, _ in tried]
        _print(task, verdicts)
        wrong = next((values for _, values in tried if values), None)
        if wrong:
            self.show_difference(*wrong)
        passed = all(verdict.passed for verdict in verdicts)
        if passed:
            points = sum(verdict.points for verdict in verdicts)
            print(
                f"{task}: all public checks pass ({points:g} points). "
                "The hidden ones use fresh inputs and the card's edge cases."
            )
        return passed


def failing_line(error: BaseException, own: Callable) -> str:
    """Where in the file (or cell) that defines `own` the error arose: ' (line 3: x = y @ z)'; '' if nowhere there."""
    code = getattr(own, "__code__", None) or getattr(
        getattr(own, "forward", None) or getattr(own, "__init__", None), "__code__", None
    )
    trace, where = error.__traceback__, ""
    while trace is not None and code is not None:
        if trace.tb_frame.f_code.co_filename == code.co_filename:
            line = linecache.getline(code.co_filename, trace.tb_lineno).strip()
            where = f" (line {trace.tb_lineno}{f': {line}' if line else ''})"
        trace = trace.tb_next
    return where


def run_check(
    check: Check, target: Callable, inputs: Iterable[tuple[list, dict]], judge: Callable
) -> tuple[Verdict, tuple | None]:
    """Runs a function here on inputs, until one is wrong: the last verdict, and (got, wanted) where a value is wrong.

    judge  (number of the input, got, args, kwargs) -> (verdict, what was wanted)
    """
    verdict = Verdict(check.name, True, check.points, check.points, "right.")
    for number, (args, kwargs) in enumerate(inputs):
        try:
            got = local_call(target, check.driver, args, kwargs)
        except NotImplementedError:
            return check.failed(Failed("raised", "NotImplementedError")), None
        except Exception as error:  # the student's code may raise anything: that is an answer
            line = failing_line(error, target)
            message = f"your code raised {type(error).__name__}: {error}{line}"
            return Verdict(check.name, False, 0, check.points, message), None
        verdict, wanted = judge(number, got, args, kwargs)
        if not verdict.passed:
            return verdict, (got, wanted)
    return verdict, None


def attempt_fresh(
    check: Check, target: Callable, generator: torch.Generator
) -> tuple[Verdict, tuple | None]:
    """`run_check` on fresh inputs, with all that a trusted check knows: for exercises that nobody grades."""

    def judge(_: int, got: object, args: list, kwargs: dict) -> tuple[Verdict, object]:
        return check.judge(got, args, kwargs), check.expected(*args, **kwargs)

    return run_check(check, target, (draw(generator) for draw in check.draws()), judge)


def _try(known: dict, named: dict[str, Callable]) -> tuple[Verdict, tuple | None]:
    """The verdict on public cases, and (got, wanted) where a value is wrong."""
    rule = Check(
        known["name"],
        known["points"],
        known["call"],
        None,
        None,
        driver=known["driver"],
        tolerance=known["tolerance"],
        reading=known.get("reading"),
    )
    if rule.call not in named:
        return rule.failed(Failed("missing", f"{rule.call}() given to this check")), None

    def judge(number: int, got: object, args: list, kwargs: dict) -> tuple[Verdict, object]:
        case = known["cases"][number]
        got = rule.read(got, args, kwargs)
        wanted = unpack(case["wanted"])
        mistakes = [(unpack(value), message) for value, message in case["mistakes"]]
        return rule.compare(got, wanted, mistakes), wanted

    inputs = [(unpack(case["args"]), unpack(case["kwargs"])) for case in known["cases"]]
    return run_check(rule, named[rule.call], inputs, judge)


def _print(task: str, verdicts: Sequence[Verdict]) -> None:
    width = max(len(verdict.name) for verdict in verdicts)
    for verdict in verdicts:
        word = "right  " if verdict.passed else "not yet"
        print(f"{word}  {verdict.name:{width}}  {verdict.points:g}/{verdict.worth:g}")
        if not verdict.passed:
            print(f"         -> {verdict.message}")
