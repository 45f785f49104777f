"""A small assignment for the grader's tests: three tasks, one question for a human. Not collected by pytest."""

import nbformat

NAME = "A0_small"
CHECKS = '''
import torch

from vlmcourse.grading.checks import Check


def numbers(generator):
    return [torch.randn(4, 5, generator=generator)], {}


CHECKS = {
    "plus-test": [Check("adds one", 1, "plus", numbers, lambda x: x + 1, [(lambda x: x, "that is x itself: add one to it")],
                        seconds=SECONDS),
                  Check("whole numbers too", 1, "plus", lambda g: ([torch.randint(9, (3,), generator=g)], {}), lambda x: x + 1,
                        seconds=SECONDS)],
    "softmax-test": [Check("rows add up to one", 2, "softmax", numbers, lambda x: x.exp() / x.exp().sum(1, keepdim=True),
                           [(lambda x: x.exp() / x.exp().sum(0), "columns add up to one: it is the last axis that should")],
                           seconds=SECONDS)],
    "total-test": [Check("the sum", 2, "total", numbers, lambda x: float(x.sum()), seconds=SECONDS)],
}
'''
ANSWERS = {"plus": "def plus(x):\n    return x + 1", "softmax": "def softmax(x):\n    return torch.softmax(x, -1)",
           "total": "def total(x):\n    return x.sum().item()"}
STUB = 'raise NotImplementedError("yours to write")'


def _cell(kind: str, source: str, name: str, grade=False, solution=False, locked=False, task=False, points=None):
    cell = getattr(nbformat.v4, f"new_{kind}_cell")(source)
    cell.id = name
    cell.metadata["nbgrader"] = {"schema_version": 3, "grade_id": name, "grade": grade, "solution": solution, "locked": locked,
                                 "task": task, **({"points": points} if points else {})}
    return cell


def notebook(answers: dict[str, str] | None = None, why: str = "*Your answer:*", release: bool = True):
    """The student's notebook with these answers (none: the stub), or nbgrader's source."""
    answers = answers or {}
    cells = [_cell("code", "import torch", "setup", locked=True)]
    for name, right in ANSWERS.items():
        head = right.splitlines()[0]
        body = "\n".join(right.splitlines()[1:])
        stub = f"{head}\n    {STUB}" if release else f"{head}\n    ### BEGIN SOLUTION\n{body}\n    ### END SOLUTION"
        cells.append(_cell("code", answers.get(name, stub), name, solution=True))
        cells.append(_cell("code", f'print("check", {name})', f"{name}-test", grade=True, locked=True, points=2))
    cells.append(_cell("markdown", "Why does softmax need a maximum?", "why", locked=True, task=True, points=3))
    reply = nbformat.v4.new_markdown_cell(why)
    reply.id = "why-reply"
    return nbformat.v4.new_notebook(cells=[*cells, reply], metadata={
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}, "language_info": {"name": "python"}})


def write(folder, seconds: float = 5.0):
    """assignments/A0_small in `folder`, as `vlmcourse build` would leave it. Gives the folder of assignments."""
    home = folder / "assignments" / NAME
    for kind in ("source", "student"):
        (home / kind).mkdir(parents=True)
        nbformat.write(notebook(release=kind == "student"), home / kind / f"{NAME}.ipynb")
    (home / "checks.py").write_text(CHECKS.replace("SECONDS", str(seconds)))
    return home.parent
