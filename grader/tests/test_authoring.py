"""Masters become notebooks the same way each time; values are compared strictly; the public check says what is wrong."""

import json
import re

import nbformat
import pytest
import torch
from torch import Tensor

from vlmgrader import authoring, public
from vlmgrader.checks import Check, Failed, differs, score

MASTER = '''# %% [markdown]
# # Toy

# %% role="given"
import torch

# %% role="answer" id="toy-double"
def double(x):
    """x -> 2 x."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% role="test" id="toy-double-test" points=2
check("toy-double-test", double)

# %% [markdown] role="task" id="toy-why" points=1
# ## Why?
#
# === BEGIN MARK SCHEME ===
# Because.
# === END MARK SCHEME ===

# %% [markdown] role="reply"
# A model answer.
'''
CHECKS = """import torch
from vlmgrader.checks import Check
def inputs(generator):
    return [torch.randn(3, 3, generator=generator)], {}
CHECKS = {"toy-double-test": [Check("doubled", 2, "double", inputs, lambda x: 2 * x, [(lambda x: x, "nothing is doubled.")])]}
"""


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "A9_toy"
    made.mkdir()
    (made / "master.py").write_text(MASTER)
    (made / "checks.py").write_text(CHECKS)
    return made


def build(folder):
    return authoring.build(folder, folder.parent / "public")


def public_checks(folder, shown=None):
    build(folder)
    show = (
        (lambda got, wanted: shown.append((got, wanted))) if shown is not None else lambda *_: None
    )
    return public.PublicChecks(folder.parent / "public", show)


def by_id(path) -> dict:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return {cell.id: cell for cell in notebook.cells}


def test_three_notebooks_and_each_rebuild_is_the_same_byte_for_byte(folder):
    paths = build(folder)
    first = [path.read_bytes() for path in paths]
    assert (
        authoring.is_up_to_date(folder) and [path.read_bytes() for path in build(folder)] == first
    )
    student, solution, source = (by_id(path) for path in paths[:3])
    assert (
        authoring.STUB.splitlines()[1] in student["toy-double"].source
        and "2 * x" not in student["toy-double"].source
    )
    assert (
        "2 * x" in solution["toy-double"].source and "SOLUTION" not in solution["toy-double"].source
    )
    assert authoring.BEGIN in source["toy-double"].source
    assert "Because." in source["toy-why"].source and "Because." not in student["toy-why"].source
    assert not [
        cell for cell in (*student.values(), *source.values()) if "A model answer." in cell.source
    ]
    (folder / "master.py").write_text(MASTER.replace("# Toy", "# Another toy"))
    assert not authoring.is_up_to_date(folder)


def test_nbgrader_s_metadata(folder):
    student = by_id(build(folder)[0])
    flags = {
        "toy-double": (False, True, False, False),
        "toy-double-test": (True, False, True, False),
        "toy-why": (False, False, True, True),
    }
    for name, (grade, solution, locked, task) in flags.items():
        found = student[name].metadata["nbgrader"]
        assert (found["grade"], found["solution"], found["locked"], found["task"]) == (
            grade,
            solution,
            locked,
            task,
        )
        assert found["schema_version"] == 3 and found["grade_id"] == name
        assert ("points" in found) == (name != "toy-double")
    assert authoring.points(folder) == {"toy-double-test": 2, "toy-why": 1}


@pytest.mark.parametrize(
    "old, new, words",
    [
        (
            'role="given"',
            'role="gift"',
            "role 'gift'; expected one of given, answer, test, task, reply",
        ),
        (
            'id="toy-double-test" points=2',
            'id="toy-double-test"',
            "points belong to tests and tasks",
        ),
        ('id="toy-why"', 'id="toy-double"', "the id 'toy-double' occurs twice"),
        ('id="toy-why"', 'id="Why?"', "needs an id of small letters"),
        ("    ### BEGIN SOLUTION\n", "", "answers, and only they, hold ### BEGIN SOLUTION"),
        ('# %% [markdown] role="reply"\n', '# %% role="reply"\n', "reply cells are text"),
    ],
)
def test_a_wrong_master_is_refused_in_words(folder, old, new, words):
    (folder / "master.py").write_text(MASTER.replace(old, new))
    with pytest.raises(ValueError, match=re.escape(words)):
        authoring.cells(folder)


def test_an_unknown_assignment_is_named(folder):
    assert authoring.find("a9", folder.parent) == folder
    with pytest.raises(ValueError, match="no assignment 'A0' in .*; there are A9_toy"):
        authoring.find("A0", folder.parent)


def test_the_public_check_names_the_mistake_and_shows_the_difference(folder, capsys):
    shown = []
    check = public_checks(folder, shown)
    assert check("toy-double-test", named("double", lambda x: 2 * x))
    assert "all public checks pass (2 points)" in capsys.readouterr().out and not shown
    assert not check("toy-double-test", named("double", lambda x: x))
    assert "nothing is doubled." in capsys.readouterr().out
    [(got, wanted)] = shown
    assert torch.equal(2 * got, wanted)
    assert not check("toy-double-test", named("double", lambda x: x / 0 if x is None else [][0]))
    assert "your code raised IndexError" in capsys.readouterr().out
    assert not check("toy-double-test", named("triple", lambda x: 3 * x))
    assert "there is no double() given to this check" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no task 'toy'; there are toy-double-test"):
        check("toy")


def named(name, function):
    function.__name__ = name
    return function


def test_changing_inputs_in_place_changes_nothing_for_us(folder):
    assert public_checks(folder)("toy-double-test", named("double", lambda x: x.mul_(2)))


class Equal(Tensor):
    def __eq__(self, other):
        return True


@pytest.mark.parametrize(
    "got, wanted, words",
    [
        (torch.ones(2), torch.ones(2), None),
        ((1, 2), [1, 2], None),
        (1, 1.0, None),
        (torch.tensor(0.5), 0.5, None),
        ({"a": torch.ones(1)}, {"a": torch.ones(1)}, None),
        (float("nan"), float("nan"), None),
        (None, torch.ones(2), "forget the return"),
        (torch.ones(3), torch.ones(2), "found shape (3,); expected (2,)"),
        (torch.ones(2).double(), torch.ones(2), "torch.float64; expected torch.float32"),
        (torch.ones(2, 2), torch.ones(2, 2).bool(), "A mask is booleans"),
        (torch.tensor([1.0, torch.nan]), torch.ones(2), "NaN"),
        (torch.tensor([1.0, 1.1]), torch.ones(2), "1 of 2 values"),
        (True, 1, "a bool; expected an int"),
        (1, True, "expected a bool"),
        (True, 1.0, "expected one number"),
        ("1", 1.0, "a text; expected one number"),
        (float("inf"), 1.0, "finite"),
        (1.0, torch.tensor(1.0), "found a float; expected a tensor"),
        ([1], [1, 2], "1 values; expected 2"),
        ({"b": 1}, {"a": 1}, "expected a dict with keys ['a']"),
        ([torch.ones(1), 2], [torch.ones(1), 3], "value 2: not the right value"),
        (torch.zeros(2).as_subclass(Equal), torch.ones(2), "expected a tensor"),
        ("a", "b", "not the right value"),
    ],
)
def test_values_are_compared_strictly(got, wanted, words):
    found = differs(got, wanted, 1e-4)
    assert found is None if words is None else words in found, found


def test_the_instant_check_reads_numpy_as_the_grader_does():
    numpy = pytest.importorskip("numpy")
    got = public.local_call(lambda: [numpy.float64(0.5), {"k": numpy.arange(2)}], None, [], {})
    assert type(got[0]) is float and got[0] == 0.5
    assert torch.equal(got[1]["k"], torch.arange(2))


def test_a_check_draws_fresh_inputs_and_stops_at_the_first_wrong_one():
    rule = Check(
        "sum", 1, "f", lambda g: ([torch.randn(3, generator=g)], {}), lambda x: x.sum(), rounds=4
    )
    asked = []

    def ask(check, args, kwargs):
        asked.append(args[0])
        return args[0].sum() if len(asked) < 3 else torch.tensor(0.0)

    (verdict,) = score([rule], ask, torch.Generator().manual_seed(0))
    assert not verdict.passed and verdict.points == 0 and len(asked) == 3
    assert not torch.equal(asked[0], asked[1])

    def fails(check, args, kwargs):
        raise Failed("raised", "KeyError")

    (verdict,) = score([rule], fails, torch.Generator())
    assert verdict.message == "your code raised KeyError."
    with pytest.raises(ValueError, match="no kind of failure 'tired'"):
        Failed("tired")


def test_public_cases_survive_as_json():
    value = {
        "a": [torch.randn(2, 3), torch.tensor([True]), None, 1.5, "x"],
        "b": torch.arange(3),
        "c": torch.zeros(0, 2),
    }
    back = public.unpack(json.loads(json.dumps(public.pack(value))))
    assert all(
        torch.equal(mine, theirs) and mine.dtype == theirs.dtype
        for mine, theirs in (
            (back["a"][0], value["a"][0]),
            (back["a"][1], value["a"][1]),
            (back["b"], value["b"]),
            (back["c"], value["c"]),
        )
    )
    assert back["a"][2:] == [None, 1.5, "x"]
