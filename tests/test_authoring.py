"""Masters become notebooks the same way each time; values are compared strictly; the public check says what is wrong."""

import json
import re

import nbformat
import pytest
import torch
from torch import Tensor

from vlmcourse.grading import authoring, check, look, public
from vlmcourse.grading.checks import Check, Failed, differs, score
from vlmcourse.grading.runs import clip_run
from vlmcourse import plots
from vlmcourse.lessons import repository

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
CHECKS = '''import torch
from vlmcourse.grading.checks import Check
def inputs(generator):
    return [torch.randn(3, 3, generator=generator)], {}
CHECKS = {"toy-double-test": [Check("doubled", 2, "double", inputs, lambda x: 2 * x, [(lambda x: x, "nothing is doubled.")])]}
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    made = tmp_path / "A9_toy"
    made.mkdir()
    (made / "master.py").write_text(MASTER)
    (made / "checks.py").write_text(CHECKS)
    monkeypatch.setattr(authoring, "FOLDER", tmp_path / "shown")
    monkeypatch.setattr(public, "FOLDER", tmp_path / "shown")
    public._tasks.cache_clear()
    yield made
    public._tasks.cache_clear()


def by_id(path) -> dict:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return {cell.id: cell for cell in notebook.cells}


def test_three_notebooks_and_each_rebuild_is_the_same_byte_for_byte(folder):
    paths = authoring.build(folder)
    first = [path.read_bytes() for path in paths]
    assert authoring.agree(folder) and [path.read_bytes() for path in authoring.build(folder)] == first
    student, solution, source = (by_id(path) for path in paths[:3])
    assert authoring.STUB.splitlines()[1] in student["toy-double"].source and "2 * x" not in student["toy-double"].source
    assert "2 * x" in solution["toy-double"].source and "SOLUTION" not in solution["toy-double"].source
    assert authoring.BEGIN in source["toy-double"].source
    assert "Because." in source["toy-why"].source and "Because." not in student["toy-why"].source
    assert not [cell for cell in (*student.values(), *source.values()) if "A model answer." in cell.source]
    (folder / "master.py").write_text(MASTER.replace("# Toy", "# Another toy"))
    assert not authoring.agree(folder)


def test_nbgrader_s_metadata(folder):
    student = by_id(authoring.build(folder)[0])
    flags = {"toy-double": (False, True, False, False), "toy-double-test": (True, False, True, False),
             "toy-why": (False, False, True, True)}
    for name, (grade, solution, locked, task) in flags.items():
        found = student[name].metadata["nbgrader"]
        assert (found["grade"], found["solution"], found["locked"], found["task"]) == (grade, solution, locked, task)
        assert found["schema_version"] == 3 and found["grade_id"] == name
        assert ("points" in found) == (name != "toy-double")
    assert authoring.points(folder) == {"toy-double-test": 2, "toy-why": 1}


@pytest.mark.parametrize("old, new, words", [
    ('role="given"', 'role="gift"', "role 'gift'; expected one of given, answer, test, task, reply"),
    ('id="toy-double-test" points=2', 'id="toy-double-test"', "points belong to tests and tasks"),
    ('id="toy-why"', 'id="toy-double"', "the id 'toy-double' occurs twice"),
    ('id="toy-why"', 'id="Why?"', "needs an id of small letters"),
    ("    ### BEGIN SOLUTION\n", "", "answers, and only they, hold ### BEGIN SOLUTION"),
    ('# %% [markdown] role="reply"\n', '# %% role="reply"\n', "reply cells are text"),
])
def test_a_wrong_master_is_refused_in_words(folder, old, new, words):
    (folder / "master.py").write_text(MASTER.replace(old, new))
    with pytest.raises(ValueError, match=re.escape(words)):
        authoring.cells(folder)


def test_an_unknown_assignment_is_named():
    assert authoring.find("a1").name == "A1_masks"
    with pytest.raises(ValueError, match="no assignment 'A0'; there are A1_masks"):
        authoring.find("A0")


def test_the_public_check_names_the_mistake_and_draws_it(folder, capsys, monkeypatch):
    authoring.build(folder)
    shown = []
    monkeypatch.setattr(plots, "show", shown.append)
    assert check("toy-double-test", lambda_named("double", lambda x: 2 * x))
    assert "all public checks pass (2 points)" in capsys.readouterr().out and not shown
    assert not check("toy-double-test", lambda_named("double", lambda x: x))
    assert "nothing is doubled." in capsys.readouterr().out and "The largest difference" in shown[0].description
    assert not check("toy-double-test", lambda_named("double", lambda x: x / 0 if x is None else [][0]))
    assert "your code raised IndexError" in capsys.readouterr().out
    assert not check("toy-double-test", lambda_named("triple", lambda x: 3 * x))
    assert "there is no double() given to this check" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no task 'toy'; there are toy-double-test"):
        check("toy")


def lambda_named(name, function):
    function.__name__ = name
    return function


def test_changing_inputs_in_place_changes_nothing_for_us(folder):
    authoring.build(folder)
    assert check("toy-double-test", lambda_named("double", lambda x: x.mul_(2)))


def test_look_draws_when_it_can_and_says_so_when_it_cannot(capsys):
    def unwritten():
        raise NotImplementedError

    look(unwritten)
    assert "when the functions above are written" in capsys.readouterr().out
    look(lambda: 1 / 0)
    assert "ZeroDivisionError" in capsys.readouterr().out


class Equal(Tensor):
    def __eq__(self, other):
        return True


@pytest.mark.parametrize("got, wanted, words", [
    (torch.ones(2), torch.ones(2), None), ((1, 2), [1, 2], None), (1, 1.0, None), (torch.tensor(0.5), 0.5, None),
    ({"a": torch.ones(1)}, {"a": torch.ones(1)}, None), (float("nan"), float("nan"), None),
    (None, torch.ones(2), "forget the return"), (torch.ones(3), torch.ones(2), "found shape (3,); expected (2,)"),
    (torch.ones(2).double(), torch.ones(2), "torch.float64; expected torch.float32"),
    (torch.ones(2, 2), torch.ones(2, 2).bool(), "A mask is booleans"), (torch.tensor([1.0, torch.nan]), torch.ones(2), "NaN"),
    (torch.tensor([1.0, 1.1]), torch.ones(2), "1 of 2 values"), (True, 1, "a bool; expected an int"), (1, True, "expected a bool"),
    (True, 1.0, "expected one number"), ("1", 1.0, "a text; expected one number"), (float("inf"), 1.0, "finite"),
    (1.0, torch.tensor(1.0), "found a float; expected a tensor"), ([1], [1, 2], "1 values; expected 2"),
    ({"b": 1}, {"a": 1}, "expected a dict with keys ['a']"), ([torch.ones(1), 2], [torch.ones(1), 3], "[1]: not the right value"),
    (torch.zeros(2).as_subclass(Equal), torch.ones(2), "expected a tensor"), ("a", "b", "not the right value"),
])
def test_values_are_compared_strictly(got, wanted, words):
    found = differs(got, wanted, 1e-4)
    assert found is None if words is None else words in found, found


def test_a_check_draws_fresh_inputs_and_stops_at_the_first_wrong_one():
    rule = Check("sum", 1, "f", lambda g: ([torch.randn(3, generator=g)], {}), lambda x: x.sum(), rounds=4)
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
    value = {"a": [torch.randn(2, 3), torch.tensor([True]), None, 1.5, "x"], "b": torch.arange(3), "c": torch.zeros(0, 2)}
    back = public.unpack(json.loads(json.dumps(public.pack(value))))
    assert all(torch.equal(mine, theirs) and mine.dtype == theirs.dtype for mine, theirs in
               ((back["a"][0], value["a"][0]), (back["a"][1], value["a"][1]), (back["b"], value["b"]), (back["c"], value["c"])))
    assert back["a"][2:] == [None, 1.5, "x"]


def test_tables_are_compared_in_a_picture():
    figure = plots.compare_values(torch.eye(3), torch.zeros(3, 3))
    assert "row 0, column 0: 1 for 0" in figure.description
    with pytest.raises(ValueError, match=r"yours \(2, 3\), wanted \(3, 2\)"):
        plots.compare_values(torch.ones(2, 3), torch.ones(3, 2))


def test_broken_runs_show_what_one_can_tell_them_by():
    runs = {name: clip_run(name, steps=60) for name in ("healthy", "A", "B", "C", "D")}
    assert runs["healthy"]["loss"][-1] < 0.7 and runs["healthy"]["R@1, held-out pairs"] > 0.6
    assert runs["A"]["loss"][-1] > 2.5 and runs["A"]["R@1, held-out pairs"] < 0.2
    assert set(runs["B"]["loss"]) == {0.0}
    assert len(set(runs["C"]["scale"])) == 1 and runs["C"]["scale"][0] > 100 and runs["C"]["loss"][-1] < 3
    assert runs["D"]["loss"] == runs["healthy"]["loss"] and runs["D"]["R@1, held-out pairs"] < 0.3
    with pytest.raises(ValueError, match="no run 'E'"):
        clip_run("E")


def test_the_syllabus_says_what_the_policy_says():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    policy = tomllib.loads((repository() / "assignments" / "policy.toml").read_text())
    text = (repository() / "SYLLABUS.md").read_text()
    assert sum(policy["weights"].values()) == 100
    for name, row in {"participation": "Class participation", "reviews": "Paper reviews", "discussion": "Paper discussion",
                      "project": "Project"}.items():
        assert f"| {row} | {policy['weights'][name]} % |" in text
    for words in (policy["reviews"]["due"], f"lowest {policy['reviews']['dropped']} don't count", f"teams of {policy['project']['team']}",
                  f"teams by {policy['project']['teams_by']}", f"proposal in {policy['project']['proposal']}",
                  f"midway report in {policy['project']['midway']}", f"final in {policy['project']['final']}",
                  f"{policy['assignments']['share_of_project']} % of its share", f"{policy['assignments']['late_per_day']} % of the points",
                  f"{policy['assignments']['late_days']} free days"):
        assert words in text, words


@pytest.mark.parametrize("form, points", [("project_rubric", 100), ("paper_review", 10), ("presentation", 20)])
def test_marks_add_up(form, points):
    text = (repository() / "assignments" / "P_project" / f"{form}.md").read_text()
    if form == "project_rubric":
        assert sum(map(int, re.findall(r"^\| [^|*]+ \| (\d+) \|$", text, re.M))) == points
        assert sum(map(int, re.findall(r"^\| \*\*.+?\*\* \((\d+)\)", text, re.M))) == 50
    else:
        assert sum(map(int, re.findall(r"^\| [\w ]+ \((\d+)\) \|", text, re.M))) == points


def test_links_of_syllabus_and_forms_lead_somewhere():
    for page in (repository() / "SYLLABUS.md", *(repository() / "assignments" / "P_project").glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
