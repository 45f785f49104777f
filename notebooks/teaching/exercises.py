"""Exercises, quizzes and failure labs of the lessons, found by their id: check(...), quiz(...), diagnose(...).

An id is "module.name", such as "clip.loss": the module of this package that holds it, and its key in EXERCISES, QUIZZES
or FAILURES there. What a right answer is, and which mistakes have a name, is data in those modules.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor

from vlmcourse.widgets.interactive import column, display_widget
from vlmgrader.checks import Check, Verdict, driver_source
from vlmgrader.public import attempt_fresh

Formula = Callable[..., object]
Mistakes = Mapping[str, Formula | Sequence[Formula]]


@dataclass(frozen=True)
class Exercise:
    """Checks that an answer must pass one after the other, and what is said when it has."""

    praise: str
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Quiz:
    """A question; options: {option: why it is right, or what is wrong with it}."""

    question: str
    answer: str
    options: dict[str, str]


@dataclass(frozen=True)
class FailureLab:
    """Faulty runs to be diagnosed. causes: {run: its cause}; hints: {run: what to look at}."""

    causes: dict[str, str]
    hints: dict[str, str]
    praise: str


def rule(
    call: str, inputs: Formula, expected: Formula, mistakes: Mistakes | None = None, **options
) -> Check:
    """A Check of the student's `call`. mistakes: {what to say: formula, or formulas, that give this wrong value}."""
    named = [
        (formula, message)
        for message, formulas in (mistakes or {}).items()
        for formula in (formulas if isinstance(formulas, Sequence) else (formulas,))
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
        return one == other

    before = copy.deepcopy(args)
    value = target(*args)
    return [value, same(before, args)]


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
        driver=driver_source(run_with_gradients),
        tolerance=1e-3,
    )


def pure_rule(
    call: str, inputs: Formula, expected: Formula, mistakes: Mistakes, changed: str, **options
) -> Check:
    """A Check of the value, and that the inputs are left as they were; changed: what to say if they are not."""

    def untouched(formula: Formula) -> Formula:
        return lambda *args: [formula(*args), True]

    def listed(formulas) -> Sequence[Formula]:
        return formulas if isinstance(formulas, Sequence) else (formulas,)

    return rule(
        call,
        inputs,
        untouched(expected),
        {message: tuple(map(untouched, listed(each))) for message, each in mistakes.items()},
        driver=driver_source(run_and_watch_inputs),
        explain=lambda got, *_: changed if got[1] is False else None,
        **options,
    )


def normal(generator: torch.Generator, *shape: int, scale: float = 1.0, **kind) -> Tensor:
    """Normal numbers of this shape."""
    return scale * torch.randn(*shape, generator=generator, **kind)


def number(generator: torch.Generator, low: int, high: int) -> int:
    """A whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def find(table: str, id: str) -> object:
    """The entry of EXERCISES, QUIZZES or FAILURES that has this id. Raises ValueError if there is none."""
    module, _, key = id.partition(".")
    try:
        entries = getattr(import_module(f"teaching.{module}"), table)
        return entries[key]
    except (ImportError, AttributeError, KeyError):
        raise ValueError(
            f"there is no {id!r} among {table}; expected 'module.name', such as 'clip.loss'."
        ) from None


def verdict(id: str, answer: Callable) -> tuple[Verdict, tuple | None]:
    """The first verdict that is not right, else the last, on fresh inputs; and (got, wanted) where a value is wrong."""
    generator = torch.Generator().manual_seed(torch.seed() % 2**31)
    for one in find("EXERCISES", id).checks:
        found, values = attempt_fresh(one, answer, generator)
        if not found.passed:
            break
    return found, values


def check(id: str, answer: Callable) -> None:
    """Tries an answer to an exercise on fresh inputs and says what it found: right, not begun, or the likely mistake."""
    found, values = verdict(id, answer)
    if found.passed:
        print(f"Right. {find('EXERCISES', id).praise}")
        return
    print(f"Not yet: {found.message}")
    if values:
        show_difference(*values)


def checked(id: str, answer: Callable, reference: Callable) -> Callable:
    """The answer if it passes its exercise, else the reference: so later cells can use what the student wrote."""
    return answer if verdict(id, answer)[0].passed else reference


def show_difference(got: object, wanted: object) -> None:
    """What was got beside what was wanted: numbers in words, tables as a picture, anything else not at all."""
    from vlmcourse import plots

    if isinstance(got, (list, tuple)) and isinstance(wanted, list) and len(got) == len(wanted):
        pairs = [pair for pair in zip(got, wanted) if isinstance(pair[1], (Tensor, float))]
        got, wanted = pairs[0] if pairs else (None, None)
    if isinstance(wanted, float) and isinstance(got, (int, float, Tensor)):
        got = float(got) if not isinstance(got, Tensor) or got.numel() == 1 else None
        if got is not None:
            print(f"For these inputs yours is {got:.4f}; wanted {wanted:.4f}.")
        return
    if not isinstance(wanted, Tensor) or type(got) is not Tensor:
        return
    if got.shape != wanted.shape or got.dtype != wanted.dtype or not got.isfinite().all():
        return
    if wanted.dim() < 2 or min(wanted.shape[-2:]) < 2:
        return
    tables = [value.reshape(-1, *value.shape[-2:]) for value in (got, wanted)]
    first = next(
        (i for i, (one, other) in enumerate(zip(*tables)) if not torch.equal(one, other)), 0
    )
    compare = plots.compare_masks if wanted.dtype == torch.bool else plots.compare_values
    plots.show(compare(tables[0][first], tables[1][first]))


def quiz(id: str, *facts: object) -> None:
    """A question with options. With a kernel each option answers for itself; without, a fold holds the answer.

    facts  what this quiz's question or options depend on, for those that are functions of it
    """
    import ipywidgets

    found = find("QUIZZES", id)
    found = found if isinstance(found, Quiz) else found(*facts)
    choice = ipywidgets.RadioButtons(
        options=list(found.options), value=None, layout={"width": "max-content"}
    )
    reply, question = ipywidgets.HTML(), html.escape(found.question)

    def respond(change: dict) -> None:
        right = "Yes." if change["new"] == found.answer else "Not quite."
        reply.value = f"<b>{right}</b> {html.escape(found.options[change['new']])}"

    choice.observe(respond, "value")
    listed = "".join(f"<li>{html.escape(option)}</li>" for option in found.options)
    answer = f"<b>{html.escape(found.answer)}</b>. {html.escape(found.options[found.answer])}"
    display_widget(
        column(ipywidgets.HTML(f"<b>Quiz:</b> {question}"), choice, reply),
        {
            "text/html": f"<p><b>Quiz:</b> {question}</p><ul>{listed}</ul>"
            f"<details><summary>Answer</summary>{answer}</details>",
            "text/plain": f"Quiz: {found.question} Options: {'; '.join(found.options)}",
        },
    )


def diagnose(id: str, answer: Mapping[str, str | None]) -> None:
    """Compares {run: cause} with the causes of a failure lab; the first wrong run gets a hint."""
    lab = find("FAILURES", id)
    causes = sorted(lab.causes.values())
    listed = f"{', '.join(map(repr, causes[:-1]))} or {causes[-1]!r}"
    if (
        not isinstance(answer, Mapping)
        or set(answer) != set(lab.causes)
        or not set(answer.values()) <= {*causes, None}
    ):
        runs = ", ".join(f"{run!r}: ..." for run in lab.causes)
        print(f"Not yet: expected {{{runs}}} with values {listed}.")
    elif None in answer.values():
        print(f"Not yet: not begun. Replace each None by {listed}.")
    elif wrong := [run for run in lab.causes if answer[run] != lab.causes[run]]:
        print(f"Not yet: run {wrong[0]}: {lab.hints[wrong[0]]}")
    else:
        print(f"Right. {lab.praise}")
