"""vlmgrader export | package | gradescope | requests: what leaves the course, and what students ask in return."""

from pathlib import Path
from typing import Annotated

import typer

from vlmgrader.options import HERE, Name, Ours, Where, assignments_home, find_assignment

app = typer.Typer()


@app.command()
def export(
    name: Name,
    to_csv: Annotated[
        Path | None, typer.Option("--csv", help="A table for any other system.")
    ] = None,
    canvas: Annotated[Path | None, typer.Option(help="Canvas' own export, to be filled.")] = None,
    moodle: Annotated[Path | None, typer.Option(help="Moodle's grading worksheet.")] = None,
    blackboard: Annotated[Path | None, typer.Option(help="Blackboard's download.")] = None,
    column: Annotated[
        str | None, typer.Option(help="Its column for this assignment, where that isn't clear.")
    ] = None,
    to: Annotated[Path, typer.Option(help="Where the filled export goes.")] = Path("filled.csv"),
    autograder: Annotated[
        Path | None, typer.Option(help="The zip for Gradescope's autograder.")
    ] = None,
    unsafe: Annotated[
        bool,
        typer.Option("--unsafe-no-sandbox", help="That autograder runs without a sandbox."),
    ] = False,
    course: Where = HERE,
    assignments: Ours = None,
) -> None:
    """Grades for other systems, with manual scores and late penalties as the gradebook has them now."""
    from vlmgrader import export as out
    from vlmgrader import gradescope, platforms

    assignment = find_assignment(name, course, assignments)
    templates = {
        platforms.CANVAS: canvas,
        platforms.MOODLE: moodle,
        platforms.BLACKBOARD: blackboard,
    }
    if not (to_csv or autograder or any(templates.values())):
        raise ValueError(
            "export where? --csv FILE, --canvas, --moodle or --blackboard TEMPLATE, or --autograder ZIP"
        )
    if to_csv:
        print(f"Kept {out.to_csv(assignment, to_csv)}")
    for platform, template in templates.items():
        if template:
            filled, notes = platforms.fill(assignment, platform, template, to, column)
            print("\n".join([*notes, f"Kept {filled}"]))
    if autograder:
        print(f"Kept {gradescope.autograder(assignment, autograder, not unsafe)}")


@app.command()
def requests(
    name: Name,
    files: Annotated[
        Path | None, typer.Argument(help="A folder or zip with the files that students saved.")
    ] = None,
    done: Annotated[
        list[str] | None,
        typer.Option(help="STUDENT:TASK that is dealt with; may be repeated."),
    ] = None,
    course: Where = HERE,
    assignments: Ours = None,
) -> None:
    """Regrade requests: take in the files of the feedback pages' form, list them by task, and what a regrade changed."""
    from vlmgrader import regrade, report

    assignment = find_assignment(name, course, assignments)
    new, left_out = regrade.gather(assignment, files) if files else (0, [])
    regrade.mark_done(assignment, done or [])
    for item in left_out:
        print(f"left out: {item}")
    known = regrade.rows(assignment)
    for row in known:
        print(f"{row['student']:24} {regrade.summary(row)}")
    for student, task, before, now in report.regraded(assignment):
        print(f"{student:24} {task}: changed by the last grading: {before}, now {now}")
    waiting = sum(not row["done"] for row in known)
    print(f"{new} new, {waiting} open, {len(known)} in all: {report.requests(assignment)}")


@app.command()
def package(
    target: Annotated[Path, typer.Argument(help="The zip to write, for students.")],
    course: Where = HERE,
    assignments: Ours = None,
) -> None:
    """Write a zip of the course for students: no solutions, no checks, no mark schemes."""
    from vlmgrader import package as packages
    from vlmgrader.course import Course

    packed = packages.write(
        Course(course.resolve(), assignments_home(assignments).resolve()), target
    )
    print(f"Kept {target}: {len(packed)} files, {target.stat().st_size / 2**20:.1f} MB")


@app.command(hidden=True, name="gradescope")
def in_gradescope(
    name: Name,
    submission: Annotated[Path, typer.Option()],
    results: Annotated[Path, typer.Option()],
    unsafe: Annotated[bool, typer.Option("--unsafe-no-sandbox")] = False,
    course: Where = HERE,
    assignments: Ours = None,
) -> None:
    """Inside Gradescope's container: grades the one submission and writes its results.json, whatever happens."""
    import json
    import shutil

    from vlmgrader import batch, gradescope

    try:
        assignment = find_assignment(name, course, assignments)
        (assignment.course.folder / "roster.csv").write_text("id\nstudent\n")
        target = assignment.course.folder_for("submitted", assignment.name, "student")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(submission, target, symlinks=True)
        assignment.release()
        [outcome] = batch.run(batch.Plan(assignment, safe=not unsafe), ["student"], force=True)
        worth = {task: definition.points for task, definition in assignment.tasks.items()}
        report = gradescope.results(outcome, worth)
    except (ValueError, OSError, RuntimeError) as error:
        report = gradescope.failed(f"The autograder could not run; tell your instructor: {error}")
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(report, indent=1))
