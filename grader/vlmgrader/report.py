"""The report on a class for its instructor: who was graded, how scores are spread, which tasks are hard, which mistakes frequent."""

import base64
import csv
import html
import io
from collections import Counter
from pathlib import Path

from vlmgrader import charts, regrade, statistics
from vlmgrader.batch import everyone, points_of_tasks, submissions
from vlmgrader.course import Assignment, write
from vlmgrader.export import plain
from vlmgrader.feedback import page
from vlmgrader.gradebook import cell_scores, grade_cells, scores

MISTAKES = 12


def report(assignment: Assignment) -> Path:
    """reports/<assignment>/class.html"""
    recorded = submissions(assignment)
    graded = {
        student: outcome for student, outcome in recorded.items() if outcome["status"] == "graded"
    }
    now = {student: scores(assignment, student) for student in graded}
    parts = [_summary(assignment, recorded, now)]
    if graded:
        parts += [
            _picture(
                "Scores",
                *_distribution(
                    [score["score"] for score in now.values() if score],
                    max(score["max_score"] for score in now.values() if score),
                ),
            )
        ]
        parts += [*_tasks(assignment, graded), *_mistakes(graded)]
    parts.append(_exceptions(recorded))
    target = assignment.course.folder / "reports" / assignment.name / "class.html"
    write(target, page(f"{assignment.name}: the class", "\n".join(parts)))
    return target


def _summary(assignment: Assignment, recorded: dict, now: dict) -> str:
    count = Counter(outcome["status"] for outcome in recorded.values())
    waiting = sum(bool(score and score["needs_manual_grade"]) for score in now.values())
    unsafe = sum(bool(outcome.get("unsafe")) for outcome in recorded.values())
    together = sum("group" in outcome for outcome in recorded.values())
    summary = (
        f"{len(everyone(assignment))} students{_counted(together)}: {count['graded']} graded, {count['failed']} failed, "
        f"{count['missing']} missing. {waiting} still have answers to be read by a human."
    )
    warning = (
        f"<p><b>{unsafe} were graded WITHOUT a sandbox: their code could have changed grades.</b></p>"
        if unsafe
        else ""
    )
    return f"<p>{summary}</p>{warning}"


def _counted(number: int) -> str:
    return f" (groups, each counted once: {number})" if number else ""


def _exceptions(recorded: dict) -> str:
    rows = [
        (student, outcome["status"], "; ".join(filter(None, [outcome["reason"], *notes])))
        for student, outcome in recorded.items()
        if any(notes := [*outcome["notes"], outcome.get("group_note", "")])
        or outcome["status"] == "failed"
    ]
    return (
        "<h2>Failed, repaired, noted</h2>" + table(("student", "status", "what was found"), rows)
        if rows
        else ""
    )


def _mistakes(graded: dict) -> list[str]:
    """Mistakes that a check could name, and in how many submissions each was made."""
    count: Counter = Counter()
    for outcome in graded.values():
        count.update(
            {
                (task, mark["message"])
                for task, marks in outcome["marks"].items()
                for mark in marks
                if mark["diagnosed"]
            }
        )
    rows = [(students, task, message) for (task, message), students in count.most_common(MISTAKES)]
    if not rows:
        return []
    described = "; ".join(
        f"{students} submissions in {task}: {message}" for students, task, message in rows[:5]
    )
    drawn = _bars(
        [f"{task}: {message[:60]}" for _, task, message in rows],
        [students for students, _, _ in rows],
        "submissions",
    )
    return [
        _picture("Mistakes that the checks could name", drawn, described),
        table(("submissions", "task", "mistake"), rows),
    ]


def _tasks(assignment: Assignment, graded: dict) -> list[str]:
    """A chart and a table: how hard each task is, open questions too, and whether it separates strong students from weak ones."""
    scores, worth = [], {}
    for student in graded:
        cells = cell_scores(assignment, student)
        worth |= {name: cell["max"] for name, cell in cells.items()}
        scores.append(
            {name: None if cell["waiting"] else cell["score"] for name, cell in cells.items()}
        )
    order = [name for name in grade_cells(assignment) if name in worth]
    task_statistics = statistics.of_tasks(scores, {name: worth[name] for name in order})
    hardest = sorted(task_statistics, key=lambda task: task.difficulty)
    described = "; ".join(f"{task.task} {100 * task.difficulty:.0f} %" for task in hardest)
    drawn = _bars(
        [task.task for task in hardest],
        [100 * task.difficulty for task in hardest],
        "mean share of the points, %",
    )
    rows = [
        (
            task.task,
            f"{100 * task.difficulty:.0f} %",
            f"{100 * task.full:.0f} %",
            f"{100 * task.none:.0f} %",
            "" if task.discrimination is None else f"{task.discrimination:.2f}",
            task.students,
        )
        for task in task_statistics
    ]
    heading = ("task", "mean", "all points", "none", "discrimination", "submissions")
    note = (
        "<p>Discrimination is the correlation of a task's points with those of the rest: near 0, or below, it measures "
        "something else than the other tasks.</p>"
    )
    return [_picture("Tasks, hardest first", drawn, described), table(heading, rows), note]


def _distribution(points: list[float], best: float) -> tuple[bytes, str]:
    drawing, axes = charts.figure(7.5, 3)
    axes.hist(points, bins=20, range=(0, best or 1), color=charts.COLOURS[0], edgecolor="white")
    axes.set(xlabel=f"points of {best:g}", ylabel="submissions")
    middle = statistics.median(points)
    described = f"lowest {min(points):g}, median {middle:g}, highest {max(points):g}"
    return charts.png(drawing), f"Scores of {len(points)} submissions: {described}."


def _bars(names: list[str], values: list[float], label: str) -> bytes:
    drawing, axes = charts.figure(7.5, 0.8 + 0.35 * len(names))
    axes.barh(range(len(names)), values, color=charts.COLOURS[1])
    axes.set_yticks(range(len(names)), [name.replace("$", r"\$") for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    return charts.png(drawing)


def _picture(title: str, drawn: bytes, described: str) -> str:
    data = base64.b64encode(drawn).decode()
    return (
        f'<h2>{html.escape(title)}</h2><img alt="{html.escape(described, quote=True)}" '
        f'src="data:image/png;base64,{data}"><p>{html.escape(described)}</p>'
    )


def table(heading: tuple[str, ...], rows: list[tuple]) -> str:
    top = "".join(f"<th>{html.escape(name)}</th>" for name in heading)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"


def requests(assignment: Assignment) -> Path:
    """reports/<assignment>/requests.html and .csv: regrade requests by task, and other scores that changed."""
    columns = ("task", "student", "before", "now", "done", "why")
    rows = [
        tuple({**row, "done": "done" if row["done"] else "open"}[name] for name in columns)
        for row in regrade.rows(assignment)
    ]
    buffer = io.StringIO()
    csv.writer(buffer).writerows([columns, *(map(plain, row) for row in rows)])
    target = assignment.course.folder / "reports" / assignment.name / "requests.html"
    write(target.with_suffix(".csv"), buffer.getvalue())
    parts = [table(columns, rows)]
    if changed := regraded(assignment):
        parts += [
            "<h2>Points that the last grading changed</h2><p>The same submissions, graded again.</p>"
        ]
        parts += [table(("student", "task", "before", "now"), changed)]
    write(target, page(f"{assignment.name}: regrade requests", "\n".join(parts)))
    return target


def regraded(assignment: Assignment) -> list[tuple[str, str, str, str]]:
    """student, task, points before and now, where the last grading of the same files gave other points than the one before."""
    changed = []
    for student, outcome in submissions(assignment).items():
        before = (outcome.get("earlier") or [{}])[-1]
        if (before.get("state") or "").split(" ")[0] != outcome["state"].split(" ")[0]:
            continue
        points, now = before.get("points") or {}, points_of_tasks(outcome)
        changed += [
            (student, task, f"{points[task]:g}", f"{now[task]:g}")
            for task in now
            if task in points and points[task] != now[task]
        ]
    return changed
