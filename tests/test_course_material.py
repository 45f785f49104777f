"""The assignments' pictures and runs; policy, syllabus and forms agree."""

import re
import zipfile

import pytest
import torch

from vlmcourse import plots
from vlmcourse.assignments import look
from vlmcourse.assignments.runs import clip_run
from vlmcourse.lessons import repository
from vlmgrader import package
from vlmgrader.checks import python_file
from vlmgrader.course import Course


def test_tables_are_compared_in_a_picture():
    figure = plots.compare_values(torch.eye(3), torch.zeros(3, 3))
    assert "row 0, column 0: 1 for 0" in figure.description
    with pytest.raises(ValueError, match=r"yours \(2, 3\), expected \(3, 2\)"):
        plots.compare_values(torch.ones(2, 3), torch.ones(3, 2))


def test_broken_runs_show_what_one_can_tell_them_by():
    runs = {name: clip_run(name) for name in ("healthy", "A", "B", "C", "D")}
    assert runs["healthy"]["loss"][-1] < 0.7 and runs["healthy"]["R@1, held-out pairs"] > 0.6
    assert runs["A"]["loss"][-1] > 2.5 and runs["A"]["R@1, held-out pairs"] < 0.2
    assert set(runs["B"]["loss"]) == {0.0}
    assert len(set(runs["C"]["scale"])) == 1 and runs["C"]["scale"][0] > 100
    assert runs["C"]["loss"][-1] < 3
    assert runs["D"]["loss"] == runs["healthy"]["loss"] and runs["D"]["R@1, held-out pairs"] < 0.3
    with pytest.raises(ValueError, match="no run 'E'"):
        clip_run("E")


def test_the_curves_are_those_of_the_runs():
    made = python_file(repository() / "assignments" / "A2_clip" / "runs.py").clip_run("A")
    shown = clip_run("A")
    assert shown["loss"][:20] == pytest.approx(made["loss"][:20], rel=1e-3)
    assert shown["batch"] == made["batch"]


def test_students_get_no_solution_check_or_mark_scheme(tmp_path):
    """What README sends students to: it holds the lessons, the package and the notebooks, and nothing of ours."""
    course = Course(tmp_path, repository() / "assignments")
    found = {str(path) for path in package.write(course, tmp_path / "students.zip")}
    assert "assignments/A1_masks/student/A1_masks.ipynb" in found
    assert {"pyproject.toml", "vlmcourse/cli.py", "grader/vlmgrader/checks.py"} <= found
    assert not [
        name
        for name in found
        if name.startswith("assignments/")
        and re.search(r"checks\.py|mutants|master\.py|/solution/|/source/", name)
    ]
    assert "assignments/A2_clip/runs.py" not in found
    with zipfile.ZipFile(tmp_path / "students.zip") as archive:
        text = b"".join(
            archive.read(name) for name in archive.namelist() if "/assignments/" in name
        )
    for secret in (
        b"BEGIN SOLUTION",
        b"BEGIN MARK SCHEME",
        b"REASONS =",
        b"abs()  # read in another way",
    ):
        assert secret not in text


def test_the_syllabus_says_what_the_policy_says():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    policy = tomllib.loads((repository() / "assignments" / "policy.toml").read_text())
    text = (repository() / "SYLLABUS.md").read_text()
    assert sum(policy["weights"].values()) == 100
    for name, row in {
        "participation": "Class participation",
        "reviews": "Paper reviews",
        "discussion": "Paper discussion",
        "project": "Project",
    }.items():
        assert f"| {row} | {policy['weights'][name]} % |" in text
    for words in (
        policy["reviews"]["due"],
        f"lowest {policy['reviews']['dropped']} don't count",
        f"teams of {policy['project']['team']}",
        f"teams by {policy['project']['teams_by']}",
        f"proposal in {policy['project']['proposal']}",
        f"midway report in {policy['project']['midway']}",
        f"final in {policy['project']['final']}",
        f"{policy['assignments']['share_of_project']} % of its share",
        f"{policy['assignments']['late_per_day']} % of the points",
        f"{policy['assignments']['late_days']} free days",
    ):
        assert words in text, words


@pytest.mark.parametrize(
    "form, points", [("project_rubric", 100), ("paper_review", 10), ("presentation", 20)]
)
def test_marks_add_up(form, points):
    text = (repository() / "assignments" / "P_project" / f"{form}.md").read_text()
    if form == "project_rubric":
        assert sum(map(int, re.findall(r"^\| [^|*]+ \| (\d+) \|$", text, re.M))) == points
        assert sum(map(int, re.findall(r"^\| \*\*.+?\*\* \((\d+)\)", text, re.M))) == 50
    else:
        assert sum(map(int, re.findall(r"^\| [\w ]+ \((\d+)\) \|", text, re.M))) == points


def test_links_of_syllabus_and_forms_lead_somewhere():
    for page in (
        repository() / "SYLLABUS.md",
        *(repository() / "assignments" / "P_project").glob("*.md"),
    ):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_look_draws_when_it_can_and_says_so_when_it_cannot(capsys):
    def unwritten():
        raise NotImplementedError

    look(unwritten)
    assert "when the functions above are written" in capsys.readouterr().out
    look(lambda: 1 / 0)
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_the_grader_takes_off_for_late_work_what_the_policy_says():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    home = repository() / "assignments"
    policy = tomllib.loads((home / "policy.toml").read_text())["assignments"]
    late = tomllib.loads((home / "grader.toml").read_text())["late"]
    assert late == {"per_day": policy["late_per_day"], "free_days": policy["late_days"]}
