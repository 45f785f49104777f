"""The pieces lessons share: predictions, attempts, widgets that leave something behind when the kernel is gone."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

from vlmcourse.widgets.interactive import column, playable


class Mistake(Exception):
    """What an answer got wrong, in words that help. `picture`: a Figure that shows it, if there is one."""

    def __init__(self, message: str, picture=None):
        super().__init__(message)
        self.picture = picture


def likeliest_mistake(got, likely: dict[str, Sequence], otherwise: str) -> Mistake:
    """The mistake, out of {message: numbers it leads to}, that leads to the number `got`; else `otherwise`.

    Random inputs bring some numbers near each other, so the nearest one is taken, if it is near enough.
    """
    distance, name = min(
        (abs(float(got) - float(value)), name)
        for name, values in likely.items()
        for value in values
    )
    return Mistake(name if distance <= 1e-4 * max(1e-3, abs(float(got))) else otherwise)


def diagnosed(answer: object, truth: dict[str, str], hints: dict[str, str], praise: str) -> str:
    """Checks a failure lab's {run: cause} against `true_caption`; the first wrong run gets its hint."""
    causes = list(truth.values())
    listed = ", ".join(map(repr, causes[:-1])) + f" or {causes[-1]!r}"
    if (
        not isinstance(answer, dict)
        or set(answer) != set(truth)
        or not set(answer.values()) <= {*causes, None}
    ):
        raise Mistake(f"expected {{'A': ..., 'B': ..., 'C': ...}} with values {listed}.")
    if None in answer.values():
        raise NotImplementedError(f"replace each None by {listed}.")
    if wrong := [run for run in truth if answer[run] != truth[run]]:
        raise Mistake(f"run {wrong[0]}: {hints[wrong[0]]}")
    return praise


def predict(question: str, options: Sequence[str], answer: str, why: str) -> None:
    """A question to answer before the next cell runs. With a kernel: a choice with feedback; without: a fold."""
    import ipywidgets

    if answer not in options:
        raise ValueError(f"the answer {answer!r} is not among the options {list(options)}.")
    choice = ipywidgets.RadioButtons(options=options, value=None, layout={"width": "max-content"})
    said = ipywidgets.HTML()

    def respond(change: dict) -> None:
        good = change["new"] == answer
        said.value = (
            f"<b>Yes.</b> {html.escape(why)}"
            if good
            else "<b>Not quite.</b> Think again, or run on and see."
        )

    choice.observe(respond, "value")
    listed = "".join(f"<li>{html.escape(option)}</li>" for option in options)
    still = (
        f"<p><b>Predict:</b> {html.escape(question)}</p><ul>{listed}</ul>"
        f"<details><summary>Answer</summary><b>{html.escape(answer)}</b>. {html.escape(why)}</details>"
    )
    playable(
        column(ipywidgets.HTML(f"<b>Predict:</b> {html.escape(question)}"), choice, said),
        {"text/html": still, "text/plain": f"Predict: {question} Options: {'; '.join(options)}"},
    )


def attempt(check: Callable[[object], str], answer: object) -> bool:
    """Checks an answer to an exercise and says what it found: right, not begun, or the likely mistake."""
    from vlmcourse.plots import show

    try:
        praise = check(answer)
    except NotImplementedError as error:
        print(f"Not begun yet: {error}")
        return False
    except Mistake as mistake:
        print(f"Not yet: {mistake}")
        if mistake.picture is not None:
            show(mistake.picture)
        return False
    except (
        Exception
    ) as error:  # the learner's code may raise anything; here that is an answer, not a failure
        print(f"Your code raised {type(error).__name__}: {error}")
        return False
    print(f"Right. {praise}")
    return True
