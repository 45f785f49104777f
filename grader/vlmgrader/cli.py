"""vlmgrader release | extend | collect | check | run | manual | feedback | requests | export | package: a class, from its roster to its grades.

Nothing heavy is imported until a command runs.
"""

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from vlmgrader.cli_export import app as exports
from vlmgrader.options import HERE, Name, Ours, Students, Where, assignments_home, find_assignment

app = typer.Typer(
    no_args_is_help=True,
    help="Grade assignments: students' code runs in a sandbox, scores are made outside it.",
)


@app.command()
def release(
    name: Name,
    due: Annotated[
        str | None, typer.Option(help="When it is due: '2026-09-14 23:59', local time.")
    ] = None,
    course: Where = HERE,
    assignments: Ours = None,
) -> None:
    """Make the students' notebook in release/, and tell the gradebook about the assignment and roster.csv."""
    from vlmgrader import groups, late

    assignment = find_assignment(name, course, assignments)
    groups.read(assignment.course)
    print(f"Hand this out: {assignment.release()}")
    if due:
        print(f"Due {late.due(assignment, due):%Y-%m-%d %H:%M} UTC")


@app.command()
def extend(
    name: Name,
    student: Annotated[str, typer.Argument(help="Who gets more time.")],
    days: Annotated[float, typer.Argument(help="How many days in all; 0 takes it back.")],
    course: Where = HERE,
    assignments: Ours = None,
) -> None:
    """Give a student more time. Grades that are there already change with the next `run` of this student."""
    from vlmgrader import late

    assignment = find_assignment(name, course, assignments)
    late.extend(assignment, student, days)
    late.assign(assignment, student)
    print(f"{student} has {days:g} days more for {assignment.name}.")


@app.command()
def collect(
    name: Name,
    downloads: Annotated[Path, typer.Argument(help="A zip or folder from your learning platform")],
    matching: Annotated[
        str | None,
        typer.Option(
            help="Where ids aren't words of the file names: a regular expression with (?P<student>...)"
        ),
    ] = None,
    course: Where = HERE,
    assignments: Ours = None,
) -> None:
    """Sort a download into submitted/, by the ids of the roster."""
    from vlmgrader import groups
    from vlmgrader.collect import collect as sort_in

    assignment = find_assignment(name, course, assignments)
    collected = sort_in(assignment, downloads, matching)
    for label, names in (
        ("no student of the roster", collected.unmatched),
        ("left out", collected.left_out),
    ):
        for item in names:
            print(f"{label}: {item}")
    if collected.unmatched:
        print(
            "Names are compared with first_name and last_name of the roster, the platform's own ids with its column "
            "platform_id; otherwise: --matching '(?P<student>...)'"
        )
    print(
        f"Collected {len(collected.students)} submissions; {len(collected.unmatched)} files fit nobody, "
        f"{len(collected.left_out)} were left out."
    )
    for note in {group.note: None for group in groups.of(assignment).values() if group.note}:
        print(note)


@app.command()
def check(
    notebook: Annotated[Path, typer.Argument(help="Your notebook, as you would hand it in")],
    assignments: Ours = None,
) -> None:
    """For students, before handing in: is the notebook one that can be graded? (The same look as when it is graded.)"""
    import nbformat

    from vlmgrader.preflight import inspect_notebook

    home = assignments_home(assignments)
    if not notebook.exists():
        raise ValueError(f"There is no {notebook}. Give the path of your notebook.")
    stem = re.sub(r"[ _-]*(\(\d+\)|copy\d*|-\d+)$", "", notebook.stem, flags=re.I)
    release = home / stem / "student" / f"{stem}.ipynb"
    if not release.exists():
        names = ", ".join(sorted(path.stem for path in home.glob("*/student/*.ipynb"))) or "none"
        raise ValueError(
            f"'{notebook.name}' is no assignment's file name; assignments here: {names}. "
            "Hand it in under its own name."
        )
    inspection = inspect_notebook(notebook, nbformat.read(release, 4))
    for note in inspection.notes:
        print(f"note: {note}")
    if inspection.refused:
        print(f"can't be graded: {inspection.refused}")
        raise typer.Exit(1)
    print(f"{notebook.name} can be graded.")


@app.command()
def run(
    name: Name,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Submissions graded at the same time.")
    ] = 2,
    student: Students = None,
    force: Annotated[bool, typer.Option("--force", help="Grade again what is graded.")] = False,
    cell_seconds: Annotated[float, typer.Option(help="For one cell of a notebook.")] = 120,
    seconds: Annotated[float, typer.Option(help="For one submission.")] = 900,
    unsafe: Annotated[
        bool, typer.Option("--unsafe-no-sandbox", help="Run students' code with YOUR rights.")
    ] = False,
    course: Where = HERE,
    assignments: Ours = None,
) -> None:
    """Grade everything in submitted/. May be stopped at any time, even killed: the next run goes on where it ended."""
    from collections import Counter

    from vlmgrader import batch
    from vlmgrader.sandbox import Limits

    assignment = find_assignment(name, course, assignments)
    plan = batch.Plan(assignment, Limits(cell=cell_seconds, submission=seconds), not unsafe)
    if unsafe:
        print(
            "WITHOUT A SANDBOX: code that students wrote can read and change everything you can. Each grade is marked."
        )
    everyone = batch.everyone(assignment)
    strangers = [name for name in student or [] if name not in everyone]
    if strangers:
        raise ValueError(f"not on the roster: {', '.join(strangers)}")
    chosen, count = batch.in_groups(assignment, student or everyone), Counter()
    total = sum(len(group.members) for group in chosen)
    print(*(f"{group.note}\n" for group in chosen if group.note), sep="", end="")
    for number, outcome in enumerate(batch.run(plan, student or everyone, workers, force), 1):
        count[outcome["status"]] += 1
        text = (
            f"{outcome['score']:g} of {outcome['max_score']:g}"
            if outcome["status"] == "graded"
            else outcome["reason"]
        )
        mark = "" if outcome["again"] else " (already done)"
        if outcome.get("submitted_by", outcome["student"]) != outcome["student"]:
            mark += f" (handed in by {outcome['submitted_by']})"
        print(
            f"[{number:4}/{total}] {outcome['student']:24} {outcome['status']:8} {text}{mark}",
            flush=True,
        )
    print(f"{count['graded']} graded, {count['failed']} failed, {count['missing']} missing.")


@app.command()
def manual(
    course: Where = HERE,
    port: Annotated[int, typer.Option(help="Port to serve on.")] = 8889,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
    assignments: Ours = None,
) -> None:
    """Open formgrader, for the answers that a human reads and for comments."""
    from vlmgrader.course import Course

    folder = course.resolve()
    if not (folder / "gradebook.db").exists():
        raise ValueError(f"{folder} is no course yet (no gradebook.db). Run: vlmgrader release")
    Course(folder, assignments_home(assignments).resolve()).prepare()
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--port={port}",
        "--LabApp.default_url=/formgrader",
        "--ServerApp.kernel_manager_class=vlmgrader.stock_nbgrader.NoKernels",
    ]
    command += [] if browser else ["--no-browser"]
    command += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    print("formgrader shows what students wrote, cleaned. No notebook can be run on this server.")
    sys.stdout.flush()
    os.chdir(folder)
    os.execv(sys.executable, command)


@app.command()
def feedback(
    name: Name, student: Students = None, course: Where = HERE, assignments: Ours = None
) -> None:
    """Write a page for each student (feedback/), and for you the class report and similar submissions (reports/)."""
    from vlmgrader.feedback import feedback as write_pages
    from vlmgrader.report import report
    from vlmgrader.similar import similar

    assignment = find_assignment(name, course, assignments)
    errors = write_pages(assignment, student)
    for who, wrong in errors.items():
        if wrong:
            print(f"{who}: no feedback: {wrong}")
    print(
        f"{sum(not wrong for wrong in errors.values())} pages in {assignment.course.folder / 'feedback'}"
    )
    pairs_page, alike = similar(assignment)
    print(
        f"Class report: {report(assignment)}\nSimilar submissions: {pairs_page} ({len(alike)} pairs to read)"
    )


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    name: Annotated[str | None, typer.Argument(help="The assignment. Default: the first.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64)] = 2,
    assignments: Ours = None,
) -> None:
    """Make a class of twelve invented students and grade it, in about two minutes: see everything before the first real one."""
    from vlmgrader import batch
    from vlmgrader import demo as classes
    from vlmgrader.export import to_csv
    from vlmgrader.feedback import feedback as write_pages
    from vlmgrader.report import report
    from vlmgrader.similar import similar

    assignment = classes.make(folder, assignments_home(assignments).resolve(), name)
    for outcome in batch.run(batch.Plan(assignment), batch.everyone(assignment), workers):
        score = f"{outcome['score']:g} of {outcome['max_score']:g}" if "score" in outcome else ""
        print(
            f"{outcome['student']:10} {outcome['status']:8} {score or outcome['reason']}",
            flush=True,
        )
    write_pages(assignment)
    pairs_page, _ = similar(assignment)
    print(f"Class report: {report(assignment)}\nSimilar submissions: {pairs_page}")
    print(f"Students' pages: {assignment.course.folder / 'feedback'}")
    print(f"Grades: {to_csv(assignment, assignment.course.folder / 'grades.csv')}")
    print(f"Read the open questions: vlmgrader manual --course {assignment.course.folder}")


app.registered_commands += exports.registered_commands


def main() -> None:
    """Runs a command; what went wrong is said in one message (VLMGRADER_DEBUG=1 shows where)."""
    try:
        app()
    except (ValueError, OSError, RuntimeError) as error:
        if os.environ.get("VLMGRADER_DEBUG"):
            raise
        print(f"vlmgrader: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
