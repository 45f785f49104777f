"""check("a1-attention-test", attention): the instant check of a task, in the student's own notebook.

It knows fixed inputs, the values wanted for them and the values to which known mistakes lead (`shown/*.json`, made by
`vlmcourse build`). What counts is checked later, by the same rules, on inputs that nobody has seen.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from vlmcourse.grading.checks import Check, Failed, Verdict

FOLDER = Path(__file__).parent / "shown"
DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in (torch.bool, torch.int64, torch.float32, torch.float64)}


def pack(value: object) -> object:
    """A plain value as JSON: tensors become {"tensor": dtype, "shape": ..., "values": ...}."""
    if isinstance(value, Tensor):
        values = value.flatten().tolist()
        if value.dtype == torch.float32:  # nine digits hold a float32 exactly
            values = [float(f"{number:.9g}") for number in values]
        return {"tensor": str(value.dtype).removeprefix("torch."), "shape": list(value.shape), "values": values}
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


@cache
def _tasks() -> dict[str, list[dict]]:
    return {task: checks for path in sorted(FOLDER.glob("*.json")) for task, checks in json.loads(path.read_text()).items()}


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


def check(task: str, *answers: Callable) -> bool:
    """Tries your functions on the task's public inputs, and says what is right, what is not, and the likely mistake."""
    if task not in _tasks():
        raise ValueError(f"there is no task {task!r}; there are {', '.join(_tasks())}.")
    named = {getattr(answer, "__name__", type(answer).__name__): answer for answer in answers}
    verdicts, picture = [], None
    for known in _tasks()[task]:
        verdict, drawn = _try(known, named)
        verdicts.append(verdict)
        picture = picture or drawn
    _tell(task, verdicts, picture)
    return all(verdict.passed for verdict in verdicts)


def look(drawn: Callable) -> None:
    """Shows the picture that drawn() makes of your functions, once they are written."""
    from vlmcourse.plots import show

    try:
        picture = drawn()
    except NotImplementedError:
        print("There will be a picture here when the functions above are written.")
        return
    except Exception as error:  # the student's code may raise anything; here that is an answer, not a failure
        print(f"No picture yet: your code raised {type(error).__name__}: {error}")
        return
    show(picture)


def _try(known: dict, named: dict[str, Callable]) -> tuple[Verdict, object]:
    rule = Check(known["name"], known["points"], known["call"], None, None, tolerance=known["tolerance"])
    if rule.call not in named:
        return rule.failed(Failed("missing", f"{rule.call}() given to this check")), None
    for case in known["cases"]:
        wanted = unpack(case["wanted"])
        try:
            got = local_call(named[rule.call], known["driver"], unpack(case["args"]), unpack(case["kwargs"]))
        except NotImplementedError:
            return rule.failed(Failed("raised", "NotImplementedError")), None
        except Exception as error:  # the student's code may raise anything; here that is an answer, not a failure
            return Verdict(rule.name, False, 0, rule.points, f"your code raised {type(error).__name__}: {error}"), None
        verdict = rule.compare(got, wanted, [(unpack(value), message) for value, message in case["mistakes"]])
        if not verdict.passed:
            return verdict, _picture(got, wanted)
    return verdict, None


def _picture(got: object, wanted: object):
    """What was got beside what was wanted, where that can be drawn."""
    from vlmcourse import plots

    if not isinstance(wanted, Tensor) or type(got) is not Tensor or got.shape != wanted.shape or got.dtype != wanted.dtype:
        return None
    if wanted.dim() < 2 or min(wanted.shape[-2:]) < 2 or not got.isfinite().all():
        return None
    mine, theirs = (value.reshape(-1, *value.shape[-2:]) for value in (got, wanted))
    first = next(place for place in range(len(mine)) if not torch.equal(mine[place], theirs[place]))
    return (plots.compare if wanted.dtype == torch.bool else plots.compare_values)(mine[first], theirs[first])


def _tell(task: str, verdicts: Sequence[Verdict], picture) -> None:
    from vlmcourse.plots import show

    right, width = sum(verdict.points for verdict in verdicts), max(len(verdict.name) for verdict in verdicts)
    for verdict in verdicts:
        print(f"{'right  ' if verdict.passed else 'not yet'}  {verdict.name:{width}}  {verdict.points:g}/{verdict.worth:g}")
        if not verdict.passed:
            print(f"         -> {verdict.message}")
    if picture is not None:
        show(picture)
    if all(verdict.passed for verdict in verdicts):
        print(f"{task}: all public checks pass ({right:g} points). The hidden ones use fresh inputs and the card's edge cases.")
