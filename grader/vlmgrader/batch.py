"""A class at a time: one student after the other in its own try, in parallel workers, resumable after any death.

Each submission ends as graded, failed (with the reason) or missing, in one file of `outcomes/`. The file is written last,
whole or not at all: what has one is done, what has none is graded again.
"""

import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from vlmgrader import backup, gradebook, groups
from vlmgrader import course as courses
from vlmgrader.cells import uses
from vlmgrader.course import Assignment, Course
from vlmgrader.groups import Group
from vlmgrader.sandbox import Limits, NoSandbox, Sandbox
from vlmgrader.session import clear_leftovers


@dataclass(frozen=True)
class Plan:
    """What a worker must know to grade submissions of one assignment."""

    assignment: Assignment
    limits: Limits = field(default_factory=Limits)
    safe: bool = True
    seed: str | None = None  # of the hidden inputs; None: a fresh one for each submission

    def sandbox(self) -> Sandbox:
        """The sandbox of this plan's submissions."""
        settings = self.assignment.course.settings
        return Sandbox(self.limits, self.safe, settings.packages, settings.variables)


def outcome_file(assignment: Assignment, student: str) -> Path:
    return assignment.course.folder / "outcomes" / assignment.name / f"{student}.json"


def handed_in(folder: Path) -> str | None:
    """A digest of the files; None if there is nothing."""
    parts: list[bytes] = []
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        if path.is_symlink() or not path.is_file():
            parts.append(f"link {path.relative_to(folder)}".encode("utf-8", "surrogateescape"))
        elif path.stat().st_size <= 100 * 2**20:
            parts += [
                str(path.relative_to(folder)).encode("utf-8", "surrogateescape"),
                path.read_bytes(),
            ]
    return courses.digest(*parts) if parts else None


def state(plan: Plan, student: str) -> str:
    """What an outcome depends on; a submission whose outcome has the same state needs no grading."""
    folder = plan.assignment.course.folder_for("submitted", plan.assignment.name, student)
    return (
        f"{handed_in(folder)} {plan.assignment.fingerprint} {'sandbox' if plan.safe else 'unsafe'}"
    )


def grade(plan: Plan, student: str) -> dict:
    """One submission, from its folder to the gradebook. Never raises for what a student did."""
    began = time.monotonic()
    outcome = {
        "student": student,
        "assignment": plan.assignment.name,
        "state": state(plan, student),
        "unsafe": not plan.safe,
        "marks": {},
        "notes": [],
        "reason": "",
    }
    try:
        outcome.update(_grade(plan, student))
    except NoSandbox:
        raise
    except Exception as error:  # the next student must not pay for this one
        traceback.print_exc()  # an empty state: the next run tries again
        outcome.update(
            status="failed",
            state="",
            reason=f"the grader itself failed: {type(error).__name__}: {str(error)[:300]}",
        )
    if outcome["status"] != "graded":
        gradebook.forget(plan.assignment, student)
    outcome["seconds"] = round(time.monotonic() - began, 2)
    return outcome


def _grade(plan: Plan, student: str) -> dict:
    from vlmgrader import preflight
    from vlmgrader.judge import Judge

    assignment = plan.assignment
    folder = assignment.course.folder_for("submitted", assignment.name, student)
    if handed_in(folder) is None:
        return {"status": "missing", "reason": "nothing was handed in"}
    if student not in assignment.course.roster():
        return {"status": "failed", "reason": "this student is not on the roster"}
    inspection = preflight.inspect_submission(folder, assignment.released, assignment.name)
    if inspection.refused:
        return {"status": "failed", "reason": inspection.refused, "notes": inspection.notes}
    with tempfile.TemporaryDirectory(prefix=f"vlm-{os.getpid()}-") as staged:
        _stage(inspection.files, folder, Path(staged), assignment)
        judge = Judge(
            inspection.notebook,
            assignment.tasks,
            plan.sandbox(),
            Path(staged),
            assignment.given,
            plan.seed,
        )
        result = judge.judge()
    notes = inspection.notes + result.notes + _watched(inspection.notebook.cells, assignment)
    if result.unfinished:  # an empty state: the next run tries again
        reason = f"not judged to the end: {result.unfinished}"
        return {"status": "failed", "state": "", "reason": reason, "notes": notes, "retry": True}
    if not plan.safe:
        notes.insert(
            0, "graded WITHOUT a sandbox (--unsafe-no-sandbox): this code could have changed grades"
        )
    notebook = gradebook.results(inspection.notebook, result, notes)
    gradebook.with_mark_schemes(notebook, assignment.source)
    totals = gradebook.record(assignment, student, notebook, gradebook.submitted_at(folder))
    return {"status": "graded", **result.as_json(), "notes": notes, **totals}


def _watched(cells: list, assignment: Assignment) -> list[str]:
    watched = assignment.course.settings.watched
    return [
        f"cell {index + 1} uses {name}: is that what the task allows?"
        for index, cell in enumerate(cells)
        if cell.source not in assignment.given and (name := uses(cell, watched))
    ]


def _stage(files: list[Path], folder: Path, staged: Path, assignment: Assignment) -> None:
    """The student's data beside the course's own, which wins; readable by the sandbox's user."""
    ours = assignment.course.folder_for("release", assignment.name)
    sources = [(path, path.relative_to(folder)) for path in files if path.name != "timestamp.txt"]
    sources += [
        (path, path.relative_to(ours))
        for path in sorted(ours.rglob("*"))
        if path.is_file() and path.suffix != ".ipynb"
    ]
    for path, name in sources:
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, staged / name, follow_symlinks=False)
    for path in [staged, *staged.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def run(plan: Plan, students: list[str], workers: int = 1, force: bool = False) -> Iterator[dict]:
    """Grades what isn't graded yet (force: all) and yields each outcome as it is kept. One run at a time per course.

    Of a group the submission that counts is graded, and the outcome is that of all members.
    """
    from vlmgrader.workers import grade_all

    course = plan.assignment.course
    plan.sandbox().check((course.folder, course.assignments))
    assert plan.assignment.tasks
    with _alone(plan.assignment.course):
        clear_leftovers()
        book = course.folder / "gradebook.db"
        backup.check(book)
        course.add_students()
        todo, earlier = {}, {}
        for group in in_groups(plan.assignment, students):
            known = courses.read_json(outcome_file(plan.assignment, group.lead))
            if known and not force and _is_done(plan, known):
                yield from _keep_outcomes(plan.assignment, group, known, again=False)
            else:
                _take_over(plan.assignment, group.lead, known or {})
                outcome_file(plan.assignment, group.lead).unlink(missing_ok=True)
                earlier[group.lead] = _earlier(known)
                todo[group.lead] = group
        for outcome in grade_all(plan, list(todo), min(workers, max(1, len(todo)))):
            outcome["earlier"] = earlier[outcome["student"]]
            yield from _keep_outcomes(
                plan.assignment, todo[outcome["student"]], outcome, again=True
            )
        if todo:
            backup.keep(book)


def in_groups(assignment: Assignment, students: list[str]) -> list[Group]:
    """These students, with all members of their groups; who is in none is a group of one."""
    by_student = {student: Group("", (student,), student) for student in students}
    by_student |= groups.of(assignment)
    return list(dict.fromkeys(by_student[student] for student in students))


def _keep_outcomes(
    assignment: Assignment, group: Group, outcome: dict, again: bool
) -> Iterator[dict]:
    """Writes the outcome of a submission for each member of its group, where that is new, and gives them."""
    of_group, graded = group.as_json(), outcome["status"] == "graded"
    outcome = {name: value for name, value in outcome.items() if name not in groups.KEYS}
    for member in group.members:
        own = {**outcome, "student": member, **of_group}
        if group.name and not graded:
            gradebook.forget(assignment, member)
        elif group.name:
            gradebook.refresh(assignment, member, own)
            own |= gradebook.scores(assignment, member) or {}
        path = outcome_file(assignment, member)
        if courses.read_json(path) != own:
            courses.write(path, courses.json.dumps(own, indent=1))
        yield {**own, "again": again}


def _take_over(assignment: Assignment, student: str, known: dict) -> None:
    """Who handed in after another member of the group keeps what a human gave to that submission."""
    if known.get("submitted_by", student) != student:
        gradebook.share(assignment, known["submitted_by"], student)


def _is_done(plan: Plan, known: dict) -> bool:
    """Nothing that the outcome depends on has changed, and the gradebook knows of it."""
    if known.get("state") != state(plan, known["student"]) or _is_shared(known):
        return False
    return (
        known["status"] != "graded"
        or gradebook.scores(plan.assignment, known["student"]) is not None
    )


def _earlier(known: dict | None) -> list[dict]:
    """What is remembered of gradings before this one: a mark can be made again from its seed, a gamble is seen."""
    if not known:
        return []
    summary = {name: known.get(name) for name in ("state", "status", "seed", "score")}
    summary["points"] = points_of_tasks(known)
    return [*known.get("earlier", []), summary][-20:]


def points_of_tasks(outcome: dict) -> dict[str, float]:
    """What the grader's own checks gave, by task."""
    marks = outcome.get("marks", {})
    return {task: sum(mark["points"] for mark in rows) for task, rows in marks.items()}


@contextmanager
def _alone(course: Course) -> Iterator[None]:
    """Two runs at once would do the same work twice."""
    import fcntl  # not on Windows, where sandbox.trouble() has already said so

    with open(course.folder / ".grading.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(
                f"another `vlmgrader run` is at work in {course.folder}; wait for its end"
            ) from None
        yield


def everyone(assignment: Assignment) -> list[str]:
    """The roster, and whoever handed something in without being on it."""
    submitted = assignment.course.folder / "submitted"
    there = (
        {path.parent.name for path in submitted.glob(f"*/{assignment.name}")}
        if submitted.is_dir()
        else set()
    )
    roster = assignment.course.roster()
    strangers = sorted(name for name in there - set(roster) if courses.STUDENT.fullmatch(name))
    return [*roster, *strangers]


def submissions(assignment: Assignment) -> dict[str, dict]:
    """The outcomes that are kept, a group counted once: that of whose submission counts."""
    return {name: known for name, known in outcomes(assignment).items() if not _is_shared(known)}


def _is_shared(outcome: dict) -> bool:
    return outcome.get("submitted_by", outcome["student"]) != outcome["student"]


def outcomes(assignment: Assignment) -> dict[str, dict]:
    """All that are kept, by student, in the roster's order."""
    recorded = {
        student: courses.read_json(outcome_file(assignment, student))
        for student in everyone(assignment)
    }
    return {student: outcome for student, outcome in recorded.items() if outcome}
