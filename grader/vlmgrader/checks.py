"""A trusted check: fresh random inputs for the student's function, what it should give, and the mistakes known by name.

This module is for the trusted side. It compares plain values (tensors, numbers, texts, None, lists, dicts of these) that
somebody else brought from the student's code; it never runs that code.
"""

from __future__ import annotations

import importlib.util
import inspect
import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

Inputs = Callable[[torch.Generator], tuple[list, dict]]


class Failed(Exception):
    """The student's side gave no value. kind: one of REASONS; detail: the type of its error, a name; never its text,
    which could carry hidden inputs."""

    REASONS = {
        "raised": "your code raised {}.",
        "missing": "there is no {} in your notebook. Did you rename or delete it, or does its cell fail?",
        "time": "your code took too long ({}). Is there a loop that never ends?",
        "memory": "your code used more memory than allowed ({}).",
        "died": "your notebook's process ended while your code ran ({}).",
        "bytes": "what your code returned can't be read: {}. Return tensors, numbers, texts, lists or dicts of them.",
    }

    def __init__(self, kind: str, detail: str = ""):
        if kind not in self.REASONS:
            raise ValueError(
                f"no kind of failure {kind!r}; expected one of {', '.join(self.REASONS)}."
            )
        super().__init__(
            "not begun yet: this part is still to be written."
            if detail == "NotImplementedError"
            else self.REASONS[kind].format(detail)
        )
        self.kind, self.detail = kind, detail


@dataclass(frozen=True)
class Verdict:
    """What a check found. `diagnosed`: the message is one of the mistakes known by name."""

    name: str
    passed: bool
    points: float
    worth: float
    message: str
    diagnosed: bool = False


@dataclass(frozen=True)
class Check:
    """One thing that must hold of one function of the student's.

    name      what is checked, in words that students read
    points    for all rounds right; there is no half
    call      the function's (or class's) name in the student's notebook
    inputs    generator -> (args, kwargs), of plain values
    expected  *args, **kwargs -> what the function should give, by a formula of its own
    mistakes  (function of the inputs that gives the wrong value, what to say): the first that fits names the mistake
    explain   (got, wanted, *args, **kwargs) -> the mistake in words, or None: for what no list of wrong values can name.
              Only where the check itself judges; public cases, which are data, know the mistakes alone
    driver    source text of `run(target, *args, **kwargs)`, run on the student's side instead of a plain call: for
              classes, and for functions of functions. target: what is called `call`. It gives raw values and judges none
    reading   source text of `read(got, *args, **kwargs)`, run on the trusted side: what of the answer is compared
    shown     more kinds of inputs, a round each, that the student's notebook has, too: edge cases of the card
    hidden    more kinds of inputs, a round each, that are never shown: large numbers, unequal sizes, other options
    public    shown in the student's notebook too, on inputs that never change
    """

    name: str
    points: float
    call: str
    inputs: Inputs
    expected: Callable
    mistakes: Sequence[tuple[Callable, str]] = ()
    explain: Callable[..., str | None] | None = None
    driver: str | None = None
    rounds: int = 3
    tolerance: float = 1e-4
    seconds: float = 10.0
    public: bool = True
    reading: str | None = None
    hidden: Sequence[Inputs] = ()
    shown: Sequence[Inputs] = ()

    def draws(self) -> list[Inputs]:
        """What makes the inputs of each round."""
        return [self.inputs] * self.rounds + [*self.shown, *self.hidden]

    def judge(self, got: object, args: list, kwargs: dict) -> Verdict:
        """Is `got` the right answer for these inputs? If not, what is wrong with it?"""
        wanted = self.expected(*args, **kwargs)
        got = self.read(got, args, kwargs)
        verdict = self.compare(got, wanted, self.wrong_values(args, kwargs))
        if self.explain and not (verdict.passed or verdict.diagnosed):
            if reason := self.explain(got, wanted, *args, **kwargs):
                return replace(verdict, message=reason, diagnosed=True)
        return verdict

    def read(self, got: object, args: list, kwargs: dict) -> object:
        """What of an answer is compared; an answer that can't be read is compared as it is."""
        if self.reading is None:
            return got
        space: dict = {}
        exec(self.reading, space)
        try:
            return space["read"](got, *args, **kwargs)
        except (TypeError, ValueError, LookupError, AttributeError, RuntimeError, ArithmeticError):
            return got

    def wrong_values(self, args: list, kwargs: dict) -> Iterator[tuple[object, str]]:
        """What each known mistake gives for these inputs, with what is said of it."""
        for mistake, message in self.mistakes:
            try:
                yield mistake(*args, **kwargs), message
            except (TypeError, ValueError, LookupError, RuntimeError, ArithmeticError):
                continue  # it can't be made with inputs of these sizes

    def compare(self, got: object, wanted: object, wrong: Iterable[tuple[object, str]]) -> Verdict:
        """The same with the values at hand, without `explain`."""
        complaint = differs(got, wanted, self.tolerance)
        if complaint is None:
            return Verdict(self.name, True, self.points, self.points, "right.")
        for value, message in wrong:
            if (
                differs(got, value, self.tolerance / 10) is None
            ):  # closer, so that no other mistake fits by chance
                return Verdict(self.name, False, 0.0, self.points, message, diagnosed=True)
        return Verdict(self.name, False, 0.0, self.points, complaint)

    def failed(self, failure: Failed) -> Verdict:
        return Verdict(self.name, False, 0.0, self.points, str(failure))


def score(
    checks: Sequence[Check], ask: Callable[[Check, list, dict], object], generator: torch.Generator
) -> list[Verdict]:
    """A verdict for each check. ask(check, args, kwargs) brings the student's answer, or raises Failed."""
    verdicts = []
    for check in checks:
        for draw in check.draws():
            args, kwargs = draw(generator)
            try:
                verdict = check.judge(ask(check, args, kwargs), args, kwargs)
            except Failed as failure:
                verdict = check.failed(failure)
            if not verdict.passed:
                break
        verdicts.append(verdict)
    return verdicts


def driver_source(run: Callable) -> str:
    """A function `run(target, *args, **kwargs)` as the source text of a driver. It imports what it needs in its body."""
    return f"{textwrap.dedent(inspect.getsource(run))}\nrun = {run.__name__}\n"


def with_hidden(checks: dict, hidden: dict, shown: dict | None = None) -> dict[str, list[Check]]:
    """The checks with more inputs, hidden and shown ones: task -> name of a check -> more kinds of inputs.

    Raises KeyError for an unknown name.
    """
    more = {"hidden": hidden, "shown": shown or {}}
    for task, by_name in [pair for inputs in more.values() for pair in inputs.items()]:
        if unknown := set(by_name) - {check.name for check in checks[task]}:
            raise KeyError(f"{task} has no check {sorted(unknown)[0]!r}")

    def added(task: str, check: Check) -> Check:
        by_kind = {
            kind: tuple(inputs.get(task, {}).get(check.name, ())) for kind, inputs in more.items()
        }
        return replace(check, **{kind: rows for kind, rows in by_kind.items() if rows})

    return {task: [added(task, check) for check in rows] for task, rows in checks.items()}


def load(folder: Path) -> dict[str, list[Check]]:
    """The checks of an assignment, by the id of their test cell; none at all where it has no checks.py."""
    path = folder / "checks.py"
    return python_file(path).CHECKS if path.is_file() else {}


def python_file(path: Path):
    """A Python file as a module, without putting its folder on the path."""
    if not path.is_file():
        raise ValueError(
            f"there is no file {path}; expected one beside the assignment's master.py."
        )
    spec = importlib.util.spec_from_file_location(
        f"assignment_{path.parent.name}_{path.stem}", path
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Comparing values. What comes back is what is wrong, in words, or None.


def _called(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return {
        None.__class__: "None",
        list: "a list",
        tuple: "a tuple",
        dict: "a dict",
        str: "a text",
        bool: "a bool",
        int: "an int",
        float: "a float",
    }.get(type(value), f"a {type(value).__name__}")


def differs(got: object, wanted: object, tolerance: float, where: str = "") -> str | None:
    """What is wrong with `got`, in words, or None if it is `wanted` within the tolerance (relative above 1)."""
    at = f"{where}: " if where else ""
    if got is None and wanted is not None:
        return f"{at}found None; expected {_called(wanted)}. Did you forget the return?"
    if isinstance(wanted, Tensor):
        return _tensor(got, wanted, tolerance, at)
    if isinstance(wanted, (list, tuple)):
        if not isinstance(got, (list, tuple)) or len(got) != len(wanted):
            description = f"{len(got)} values" if isinstance(got, (list, tuple)) else _called(got)
            return f"{at}found {description}; expected {len(wanted)} values."
        inside = f"{where}, " if where else ""
        parts = (
            differs(part, expected_part, tolerance, f"{inside}value {index + 1}")
            for index, (part, expected_part) in enumerate(zip(got, wanted))
        )
        return next((part for part in parts if part), None)
    if isinstance(wanted, dict):
        if not isinstance(got, dict) or set(got) != set(wanted):
            description = f"keys {list(got)}" if isinstance(got, dict) else _called(got)
            return f"{at}found {description}; expected a dict with keys {sorted(wanted)}."
        parts = (differs(got[key], wanted[key], tolerance, f"{where}[{key!r}]") for key in wanted)
        return next((part for part in parts if part), None)
    if isinstance(wanted, float):
        return _number(got, wanted, tolerance, at)
    if type(got) is not type(wanted):
        return f"{at}found {_called(got)}; expected {_called(wanted)}."
    return None if got == wanted else f"{at}not the right value."


def _number(got: object, wanted: float, tolerance: float, at: str) -> str | None:
    if isinstance(got, Tensor) and got.dim() == 0 and got.is_floating_point():
        got = got.item()
    if type(got) not in (int, float):
        return f"{at}found {_called(got)}; expected one number."
    if math.isnan(wanted) or math.isinf(wanted):
        return (
            None
            if got == wanted or (got != got and wanted != wanted)
            else f"{at}not the right value."
        )
    if not math.isfinite(got):
        return f"{at}found {got}; expected a finite number."
    return (
        None
        if abs(got - wanted) <= tolerance * max(1.0, abs(wanted))
        else f"{at}not the right value."
    )


def _tensor(got: object, wanted: Tensor, tolerance: float, at: str) -> str | None:
    if type(got) is not Tensor:
        return f"{at}found {_called(got)}; expected {_called(wanted)}."
    if got.shape != wanted.shape:
        return f"{at}found shape {tuple(got.shape)}; expected {tuple(wanted.shape)}."
    if got.dtype != wanted.dtype:
        hint = (
            " A mask is booleans: compare integers, and you get them."
            if wanted.dtype == torch.bool
            else ""
        )
        return f"{at}found {got.dtype}; expected {wanted.dtype}.{hint}"
    if not wanted.is_floating_point():
        return None if torch.equal(got, wanted) else f"{at}{_places(got != wanted)}"
    if wanted.isfinite().all() and not got.isfinite().all():
        return f"{at}some values are NaN or infinite."
    near = torch.isclose(got, wanted, rtol=tolerance, atol=tolerance, equal_nan=True)
    return None if near.all() else f"{at}{_places(~near)}"


def _places(wrong: Tensor) -> str:
    return f"{int(wrong.sum())} of {wrong.numel()} values are not right."
