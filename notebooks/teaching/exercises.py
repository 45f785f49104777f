"""Exercises, quizzes and failure labs of the lessons, found by their id: check(...), quiz(...), diagnose(...).

An id is "module.name", such as "clip.loss". Exercises are EXERCISES["loss"] of clip.py: Checks, which know what is right and
which mistakes have a name. Quizzes and failure labs are texts, [quizzes.NAME] and [failures.NAME] of clip.toml.
"""

from __future__ import annotations

import html
import itertools
import secrets
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from teaching.differences import show_difference
from vlmcourse.widgets.interactive import column, display_widget
from vlmgrader.checks import Check, Verdict, differs, driver_source
from vlmgrader.public import attempt_fresh

Formula = Callable[..., object]
Mistakes = Mapping[str, Formula | Sequence[Formula]]


@dataclass(frozen=True)
class Exercise:
    """Checks that an answer must pass one after the other.

    praise     what is said when it has
    reference  the course's own function or class, which later cells of the lesson use until the student's is right
    """

    praise: str
    checks: tuple[Check, ...]
    reference: Callable | None = None


def listed(formulas: Formula | Sequence[Formula]) -> Sequence[Formula]:
    """One formula, or several, as a sequence."""
    return formulas if isinstance(formulas, Sequence) else (formulas,)


def distinguishing(check: Check, inputs: Formula) -> Formula:
    """`inputs`, drawn again until each mistake of the check gives a wrong value, and another than mistakes with another message.

    On other inputs a wrong answer would pass, or be called by the name of another mistake. The margins are twice those of
    `Check.compare`. Raises RuntimeError after a thousand draws.
    """

    def told_apart(args: list, options: dict) -> bool:
        right = check.expected(*args, **options)
        wrong = list(check.wrong_values(args, options))
        return all(differs(value, right, 2 * check.tolerance) for value, _ in wrong) and all(
            differs(one, other, check.tolerance / 5)
            for (one, message), (other, another) in itertools.combinations(wrong, 2)
            if message != another
        )

    def draw(generator: torch.Generator) -> tuple[list, dict]:
        for _ in range(1000):
            args, options = inputs(generator)
            if told_apart(args, options):
                return args, options
        raise RuntimeError(
            "in a thousand draws two of the formulas always gave the same value; where they must, use rule_on."
        )

    return draw


def rule(
    call: str, inputs: Formula, expected: Formula, mistakes: Mistakes | None = None, **options
) -> Check:
    """A Check of the student's `call`, on inputs on which no mistake gives the right value or that of another mistake.

    mistakes  {what to say: formula, or formulas, that give this wrong value};  options  of Check
    """
    check = rule_on(call, inputs, expected, mistakes, **options)
    drawn, *hidden = (distinguishing(check, one) for one in (inputs, *check.hidden))
    return replace(check, inputs=drawn, hidden=hidden)


def rule_on(
    call: str, inputs: Formula, expected: Formula, mistakes: Mistakes | None = None, **options
) -> Check:
    """As `rule`, on these inputs as they are: edge cases, where several mistakes give one value; the first gives its name."""
    named = [
        (formula, message)
        for message, formulas in (mistakes or {}).items()
        for formula in listed(formulas)
    ]
    return Check(call, 1, call, inputs, expected, named, **options)


def run_with_gradients(target, first, *args):
    """Driver: gradients of target(*args), summed, with respect to the `first` of its arguments; zeros if there is none."""
    import torch

    learns = [one.detach().clone().requires_grad_() for one in args[:first]]
    value = target(*learns, *args[first:])
    if not isinstance(value, torch.Tensor) or not value.requires_grad:
        return [torch.zeros_like(one) for one in learns]
    found = torch.autograd.grad(value.sum(), learns, allow_unused=True)
    return [torch.zeros_like(one) if grad is None else grad for one, grad in zip(learns, found)]


def run_and_watch_inputs(target, *args):
    """Driver: [target(*args), are the inputs as they were?]"""
    import copy

    import torch

    def same(one, other):
        if isinstance(one, torch.Tensor):
            return torch.equal(one, other)
        if isinstance(one, (list, tuple)):
            return len(one) == len(other) and all(map(same, one, other))
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
        return one == other

    before = copy.deepcopy(args)
    value = target(*args)
    return [value, same(before, args)]


def run_for_its_type(target, *args):
    """Driver: does target(*args) return a tensor?"""
    import torch

    return "a tensor" if isinstance(target(*args), torch.Tensor) else "no tensor"


def number_rule(call: str, inputs: Formula) -> Check:
    """A Check that the student's function, whose values are right, returns a number, not a tensor that holds one."""
    return rule_on(
        call,
        inputs,
        lambda *_: "no tensor",
        {
            "the value is right, but it is a tensor: .item() makes a number of it.": lambda *_: (
                "a tensor"
            )
        },
        driver=driver_source(run_for_its_type),
        rounds=1,
    )


def missing_gradient(got: object, wanted: list[Tensor], *_) -> str | None:
    """Which of the arguments gets no gradient although it should, or that a part is missing."""
    found = got if isinstance(got, list) and len(got) == len(wanted) else []
    for number, (one, right) in enumerate(zip(found, wanted), start=1):
        if isinstance(one, Tensor) and not one.any() and right.any():
            return (
                f"the values are right, but argument {number} gets no gradient: "
                "a detach, .item() or math function cuts it."
            )
    return (
        "the values are right, but not the gradient: a detach or .item() cuts a part."
        if found
        else None
    )


def gradient_rule(
    call: str, inputs: Formula, formula: Formula, first: int, no_gradient: str
) -> Check:
    """A Check that the student's function has the gradient of `formula` with respect to its `first` arguments.

    no_gradient  what to say if it has none
    """

    def counted(generator):
        args, _ = inputs(generator)
        return [first, *args], {}

    def zeros(*args):
        return [torch.zeros_like(one) for one in run_with_gradients(formula, *args)]

    return rule(
        call,
        counted,
        lambda *args: run_with_gradients(formula, *args),
        {no_gradient: zeros},
        explain=missing_gradient,
        driver=driver_source(run_with_gradients),
        tolerance=1e-3,
    )


def pure_rule(
    call: str,
    inputs: Formula,
    expected: Formula,
    mistakes: Mistakes,
    changed: str,
    explain: Formula = lambda *_: None,
    **options,
) -> Check:
    """A Check of the value, and that the inputs are left as they were.

    changed  what to say if they are not;  explain  (got, wanted, *args) -> the mistake in words, or None;  options  of Check
    """

    def untouched(formula: Formula) -> Formula:
        return lambda *args: [formula(*args), True]

    def reason(got, wanted, *args):
        """Of the value alone, so that no place in it is counted within the pair."""
        tolerance = options.get("tolerance", Check.tolerance)
        found = explain(got[0], wanted[0], *args) or differs(got[0], wanted[0], tolerance)
        return found if got[1] else changed

    return rule(
        call,
        inputs,
        untouched(expected),
        {message: tuple(map(untouched, listed(each))) for message, each in mistakes.items()},
        driver=driver_source(run_and_watch_inputs),
        explain=reason,
        **options,
    )


def normal(generator: torch.Generator, *shape: int, scale: float = 1.0, **kind) -> Tensor:
    """Normal numbers of this shape."""
    return scale * torch.randn(shape, generator=generator, **kind)


def number(generator: torch.Generator, low: int, high: int) -> int:
    """A whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def exercise(id: str) -> Exercise:
    """The exercise of this id. Raises ValueError if there is none."""
    module, _, name = id.partition(".")
    try:
        return import_module(f"teaching.{module}").EXERCISES[name]
    except (ImportError, AttributeError, KeyError):
        raise ValueError(
            f"there is no exercise {id!r}; expected 'module.name', as 'clip.loss'."
        ) from None


def question(kind: str, id: str) -> dict:
    """The entry of this id among the `quizzes` or `failures` (kind) of a lesson. Raises ValueError if there is none."""
    module, _, name = id.partition(".")
    path = Path(__file__).with_name(f"{module}.toml")
    entries = tomllib.loads(path.read_text("utf-8")).get(kind, {}) if path.is_file() else {}
    if name not in entries:
        raise ValueError(
            f"there is no {id!r} among the {kind}; expected 'module.name', as 'clip.training'."
        )
    return entries[name]


def fresh_seed() -> int:
    """The seed of one verdict's inputs: students get others at each call; tests put their own in its place."""
    return secrets.randbits(31)


def verdict(id: str, answer: Callable) -> tuple[Verdict, tuple | None]:
    """The first verdict that is not right, else the last, on fresh inputs; and (got, wanted, tolerance) where a value is wrong."""
    generator = torch.Generator().manual_seed(fresh_seed())
    for one in exercise(id).checks:
        found, values = attempt_fresh(one, answer, generator)
        if not found.passed:
            break
    return found, values and (*values, one.tolerance)


def check(id: str, answer: Callable) -> Callable | None:
    """Tries an answer to an exercise on fresh inputs and says what it found: right, not begun, or the likely mistake.

    Returns what later cells use: the answer if it is right, else the exercise's reference.
    """
    found, values = verdict(id, answer)
    reference = exercise(id).reference
    if found.passed:
        print(f"Right. {exercise(id).praise}")
        return answer if reference else None
    begun = not found.message.startswith("not begun yet")
    print(f"Not yet: {found.message}" if begun else "Not begun yet: your code goes there.")
    if values:
        show_difference(*values)
    if reference:
        print("Until yours is right, later cells use the course's.")
    return reference


def quiz(
    id: str,
    answer: str | None = None,
    options: Mapping[str, float] | Sequence[str] | None = None,
    **facts: object,
) -> None:
    """A question with options. With a kernel each option answers for itself; without, a fold holds the answer.

    answer, options  only for a quiz whose answer was measured in this notebook: {option: its value}, or the options
    facts            what stands in braces in the quiz's texts
    """
    import ipywidgets

    entry = question("quizzes", id)
    values = options if isinstance(options, Mapping) else dict.fromkeys(options or ())
    explanations = entry.get("options") or dict.fromkeys(values, entry.get("explanation"))
    explanations = {
        option.format(**facts): text.format(option=option, value=values.get(option), **facts)
        for option, text in explanations.items()
    }
    right = answer or entry["answer"].format(**facts)
    if right not in explanations:
        raise ValueError(f"{id}: the answer {right!r} is not among {', '.join(explanations)}.")
    asked = html.escape(entry["question"].format(**facts))
    choice = ipywidgets.RadioButtons(
        options=list(explanations), value=None, layout={"width": "max-content"}
    )
    reply = ipywidgets.HTML()

    def respond(change: dict) -> None:
        verdict = "Yes." if change["new"] == right else "Not quite."
        reply.value = f"<b>{verdict}</b> {html.escape(explanations[change['new']])}"

    choice.observe(respond, "value")
    listed = "".join(f"<li>{html.escape(option)}</li>" for option in explanations)
    fold = f"<b>{html.escape(right)}</b>. {html.escape(explanations[right])}"
    display_widget(
        column(ipywidgets.HTML(f"<b>Quiz:</b> {asked}"), choice, reply),
        {
            "text/html": f"<p><b>Quiz:</b> {asked}</p><ul>{listed}</ul>"
            f"<details><summary>Answer</summary>{fold}</details>",
            "text/plain": f"Quiz: {asked} Options: {'; '.join(explanations)}",
        },
    )


def diagnose(id: str, answer: Mapping[str, str | None]) -> None:
    """Compares {run: cause} with the causes of a failure lab; the first wrong run gets a hint."""
    lab = question("failures", id)
    right, causes = lab["causes"], sorted(lab["causes"].values())
    listed = f"{', '.join(map(repr, causes[:-1]))} or {causes[-1]!r}"
    valid = isinstance(answer, Mapping) and set(answer) == set(right)
    if not valid or not set(answer.values()) <= {*causes, None}:
        runs = ", ".join(f"{run!r}: ..." for run in right)
        print(f"Not yet: expected {{{runs}}} with values {listed}.")
    elif None in answer.values():
        print(f"Not begun yet: replace each None by {listed}.")
    elif wrong := [run for run in right if answer[run] != right[run]]:
        print(f"Not yet: run {wrong[0]}: {lab['hints'][wrong[0]]}")
    else:
        print(f"Right. {lab['explanation']}")
