"""check("a1-attention-test", attention): the instant check of a task, in the student's own notebook.

It knows fixed inputs, the values wanted for them and the values to which known mistakes lead (JSON files, made by
`authoring.build`). What counts is checked later, by the same rules, on inputs that nobody has seen.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from vlmgrader.checks import Check, Failed, Verdict

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
    """As it would arrive at the grader: tensors without gradients, tuples as lists."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return {key: plain(part) for key, part in value.items()} if isinstance(value, dict) else value


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
        read = [json.loads(path.read_text()) for path in sorted(self.folder.glob("*.json"))]
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


def _try(known: dict, named: dict[str, Callable]) -> tuple[Verdict, tuple | None]:
    """The verdict, and (got, wanted) where a value is wrong."""
    rule = Check(
        known["name"], known["points"], known["call"], None, None, tolerance=known["tolerance"]
    )
    if rule.call not in named:
        return rule.failed(Failed("missing", f"{rule.call}() given to this check")), None
    for case in known["cases"]:
        wanted = unpack(case["wanted"])
        try:
            got = local_call(
                named[rule.call], known["driver"], unpack(case["args"]), unpack(case["kwargs"])
            )
        except NotImplementedError:
            return rule.failed(Failed("raised", "NotImplementedError")), None
        except Exception as error:  # the student's code may raise anything: that is an answer
            said = f"your code raised {type(error).__name__}: {error}"
            return Verdict(rule.name, False, 0, rule.points, said), None
        mistakes = [(unpack(value), message) for value, message in case["mistakes"]]
        verdict = rule.compare(got, wanted, mistakes)
        if not verdict.passed:
            return verdict, (got, wanted)
    return verdict, None


def _print(task: str, verdicts: Sequence[Verdict]) -> None:
    width = max(len(verdict.name) for verdict in verdicts)
    for verdict in verdicts:
        word = "right  " if verdict.passed else "not yet"
        print(f"{word}  {verdict.name:{width}}  {verdict.points:g}/{verdict.worth:g}")
        if not verdict.passed:
            print(f"         -> {verdict.message}")
