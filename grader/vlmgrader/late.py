"""What late work costs: `[late]` of grader.toml, else the plugin that nbgrader's configuration names."""

import math
from datetime import datetime, timedelta

from vlmgrader.course import Assignment
from vlmgrader.settings import Late

DAY = 86_400


def days_late(seconds: float) -> int:
    """Days begun after the due time."""
    return math.ceil(max(0.0, seconds) / DAY)


def costs(late_days: list[int], rule: Late) -> list[float]:
    """Per cent of the points that each of a student's assignments loses, in the order in which they were due."""
    free, percents = rule.free_days, []
    for days in late_days:
        used = min(free, days)
        free -= used
        percents.append(min(100.0, rule.per_day * (days - used)))
    return percents


def assign(assignment: Assignment, student: str) -> float:
    """Writes a student's late penalty into the gradebook, from what is there now, and gives it in points."""
    course = assignment.course
    if course.settings.late is None:
        return _by_plugin(assignment, student)
    from nbgrader.api import Gradebook

    with Gradebook(course.db_url) as book:
        own = [
            submission
            for submission in book.student_submissions(student)
            if submission.duedate is not None
        ]
        own.sort(key=lambda submission: (submission.assignment.duedate, submission.name))
        percents = costs(
            [days_late(submission.total_seconds_late) for submission in own], course.settings.late
        )
        penalty = 0.0
        for submission, percent in zip(own, percents, strict=True):
            if submission.name == assignment.name:
                for notebook in submission.notebooks:
                    cost = min(notebook.score, percent / 100 * notebook.max_score)
                    notebook.late_submission_penalty = cost or None
                    penalty += cost
        book.db.commit()
        return penalty


def _by_plugin(assignment: Assignment, student: str) -> float:
    from nbgrader.api import Gradebook
    from nbgrader.preprocessors import AssignLatePenalties

    course = assignment.course
    named = {"notebook": assignment.name, "assignment": assignment.name, "student": student}
    resources = {"nbgrader": {**named, "db_url": course.db_url}}
    AssignLatePenalties(config=course.nbgrader().config).preprocess(assignment.released, resources)
    with Gradebook(course.db_url) as book:
        submission = book.find_submission(assignment.name, student)
        return sum(notebook.late_submission_penalty or 0.0 for notebook in submission.notebooks)


def due(assignment: Assignment, when: str) -> datetime:
    """Sets when an assignment is due: 2026-09-14 23:59, in this machine's time zone or with one. Gives it in UTC."""
    from datetime import UTC

    from nbgrader.api import Gradebook

    try:
        moment = datetime.fromisoformat(when).astimezone(UTC)
    except ValueError:
        raise ValueError(f"'{when}' is no time; write it as 2026-09-14 23:59") from None
    with Gradebook(assignment.course.db_url) as book:
        book.update_or_create_assignment(assignment.name, duedate=moment.replace(tzinfo=None))
    return moment


def extend(assignment: Assignment, student: str, days: float) -> None:
    """Gives a student more time for an assignment: this many days in all; 0 takes it back."""
    from nbgrader.api import Gradebook

    if student not in assignment.course.roster():
        raise ValueError(f"'{student}' is not on the roster")
    with Gradebook(assignment.course.db_url) as book:
        book.update_or_create_student(student)
        submission = book.update_or_create_submission(assignment.name, student)
        if submission.duedate is None:
            raise ValueError(
                f"{assignment.name} has no due time: vlmgrader due {assignment.name} TIME"
            )
        submission.extension = timedelta(days=days) if days else None
        book.db.commit()
