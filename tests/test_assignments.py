"""Assignments: the solution gets full marks, the stub nothing, and each plausible wrong answer the message that names it."""

import json
import re

import pytest
import torch

from vlmcourse import assignments
from vlmcourse.lessons import repository
from vlmgrader import authoring, public
from vlmgrader.checks import Failed, load, python_file, score

HOME = repository() / "assignments"
FOLDERS = authoring.assignments(HOME)
CELLS = {folder.name: authoring.cells(folder) for folder in FOLDERS}
RULES = {folder.name: load(folder) for folder in FOLDERS}
MUTANTS = {folder.name: python_file(folder / "mutants.py").MUTANTS for folder in FOLDERS}
TASKS = [(folder.name, task) for folder in FOLDERS for task in RULES[folder.name]]
EACH_MUTANT = [
    pytest.param(name, task, *mutant, id=f"{task}-{number}")
    for name, tasks in MUTANTS.items()
    for task, mutants in tasks.items()
    for number, mutant in enumerate(mutants)
]


def answer_id(task: str) -> str:
    return task.removesuffix("-test")


def code(name: str, stub: str = "", mutant: tuple = ()) -> str:
    """The given and the written cells; `stub`: the answer that is left unwritten; `mutant`: (answer, old, new)."""
    parts = []
    for cell in CELLS[name]:
        if cell.metadata.get("role") not in ("given", "answer"):
            continue
        text = authoring.with_solution(cell.source)
        if cell.metadata.get("id") == stub:
            text = authoring.without_solution(cell.source)
        if mutant and cell.metadata.get("id") == mutant[0]:
            assert text.count(mutant[1]) == 1, (
                f"{mutant[1]!r} occurs {text.count(mutant[1])} times in {mutant[0]}"
            )
            text = text.replace(mutant[1], mutant[2])
        parts.append(text)
    return "\n\n".join(parts)


def verdicts(name: str, task: str, source: str, seed: int = 0) -> dict:
    space: dict = {"__name__": "notebook"}
    exec(source, space)

    def ask(check, args, kwargs):
        if check.call not in space:
            raise Failed("missing", check.call)
        try:
            return public.local_call(space[check.call], check.driver, args, kwargs)
        except Exception as error:
            raise Failed("raised", type(error).__name__) from error

    found = score(RULES[name][task], ask, torch.Generator().manual_seed(seed))
    return {verdict.name: verdict for verdict in found}


@pytest.mark.parametrize("name, task", TASKS)
class TestTask:
    def test_the_solution_gets_full_marks_whatever_the_inputs(self, name, task):
        for seed in range(5):
            found = verdicts(name, task, code(name), seed)
            assert all(verdict.passed for verdict in found.values()), [
                v for v in found.values() if not v.passed
            ]
        assert (
            sum(verdict.points for verdict in found.values())
            == authoring.points(authoring.find(name, HOME))[task]
        )

    def test_the_stub_gets_nothing(self, name, task):
        found = verdicts(name, task, code(name, stub=answer_id(task)))
        assert not any(verdict.points for verdict in found.values())
        assert all("still to be written" in verdict.message for verdict in found.values()), found

    def test_there_are_eight_wrong_answers_and_each_check_rejects_one(self, name, task):
        mutants = MUTANTS[name][task]
        assert len({(old, new) for old, new, _, _ in mutants}) >= 8
        assert {check for _, _, check, _ in mutants} >= {
            check.name for check in RULES[name][task] if check.points
        }

    def test_the_public_check_accepts_the_solution_and_nothing_less(self, name, task, capsys):
        for source, wanted in ((code(name), True), (code(name, stub=answer_id(task)), False)):
            space: dict = {}
            exec(source, space)
            (test,) = [cell.source for cell in CELLS[name] if cell.metadata.get("id") == task]
            exec(f"passed = {test}", space)
            assert space["passed"] is wanted, capsys.readouterr().out


@pytest.mark.parametrize("name, task, old, new, check, words", EACH_MUTANT)
def test_a_wrong_answer_is_named(name, task, old, new, check, words):
    found = verdicts(name, task, code(name, mutant=(answer_id(task), old, new)))[check]
    assert not found.passed and found.points == 0
    assert words in found.message, found.message


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
class TestAssignment:
    def test_notebooks_and_public_cases_are_those_of_the_master(self, folder):
        assert authoring.is_up_to_date(folder), f"run: vlmcourse build {folder.name}"
        kept = json.loads((assignments.FOLDER / f"{folder.name}.json").read_text())
        made = json.loads(json.dumps(authoring.shown(folder)))
        assert same(kept, made), f"run: vlmcourse build {folder.name}"

    def test_points_of_tests_are_those_of_their_checks(self, folder):
        points, rules = authoring.points(folder), RULES[folder.name]
        assert set(rules) == {task for task in points if task.endswith("-test")}
        for task, checks in rules.items():
            assert sum(check.points for check in checks) == points[task]
            assert len({check.name for check in checks}) == len(checks)
        total = sum(points.values())
        text = folder.joinpath("master.py").read_text()
        assert (
            f"| Points | {total}: the tests give {sum(p for t, p in points.items() if t in rules)},"
            in text
        )

    def test_it_has_what_an_assignment_has(self, folder):
        text = folder.joinpath("master.py").read_text()
        tasks = len(RULES[folder.name])
        assert 5 <= tasks <= 8
        cards = re.findall(r"^# \| .* \| [●○]{5} \| [●○]{5} \| (\d+) \|$", text, re.M)
        assert len(cards) == tasks and 80 <= sum(map(int, cards)) <= 180
        for hint in ("<summary>Hint 1</summary>", "<summary>Hint 2</summary>"):
            assert text.count(hint) == tasks
        assert "=== BEGIN MARK SCHEME ===" in text and 'role="reply"' in text
        assert "<summary>If you see" in text and "# look(" in text.replace("\nlook(", "\n# look(")

    def test_the_student_sees_neither_solution_nor_mark_scheme(self, folder):
        student = authoring.notebook(folder, "student")
        text = "\n".join(cell.source for cell in student.cells)
        assert "SOLUTION" not in text and "MARK SCHEME" not in text
        for cell in CELLS[folder.name]:
            if cell.metadata.get("role") == "answer":
                for found in authoring.SOLUTION.finditer(cell.source):
                    assert found[2].strip() not in text
            if cell.metadata.get("role") == "reply":
                assert cell.source[:60] not in text
        assert text.count(authoring.STUB.splitlines()[0]) >= len(RULES[folder.name])


def same(kept: object, made: object) -> bool:
    """Equal, but for the last digits that differ from machine to machine: of a tensor's largest number, where sums cancel."""
    if isinstance(kept, dict):
        return (
            isinstance(made, dict)
            and kept.keys() == made.keys()
            and all(same(kept[key], made[key]) for key in kept)
        )
    if isinstance(kept, list) and kept and all(isinstance(one, float) for one in kept):
        return kept == pytest.approx(
            made, rel=1e-4, abs=1e-5 * max(1, *map(abs, kept)), nan_ok=True
        )
    if isinstance(kept, list):
        return isinstance(made, list) and len(kept) == len(made) and all(map(same, kept, made))
    if isinstance(kept, float):
        return kept == pytest.approx(made, rel=1e-4, abs=1e-5, nan_ok=True)
    return kept == made
