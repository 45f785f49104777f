"""What a student gets back: a page of their own, made by nbgrader from the autograded notebook, with nothing in it that acts."""

import html
import shutil

from vlmgrader.batch import outcomes
from vlmgrader.course import Assignment, write

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{font: 16px/1.5 sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em}} table {{border-collapse: collapse}}
td, th {{padding: .2em .8em; text-align: left; border-bottom: 1px solid #ccc; vertical-align: top}}
img {{max-width: 100%}} code, pre {{background: #f4f4f4}}</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


def safe_markdown(source: str) -> str:
    """nbconvert's Markdown, its HTML cleaned afterwards: formulas, code and tables stay, scripts and their relatives go."""
    from nbconvert.filters.markdown_mistune import markdown2html_mistune

    from vlmgrader.outputs import clean

    return clean(markdown2html_mistune(source))


def page(title: str, body: str) -> str:
    """A plain page; `body` is HTML already."""
    return PAGE.format(title=html.escape(title), body=body)


def feedback(assignment: Assignment, students: list[str] | None = None) -> dict[str, str]:
    """Writes feedback/<student>/<assignment>/<assignment>.html. Gives, by student, "" or what went wrong."""
    api, errors = assignment.course.nbgrader(), {}
    for student, outcome in outcomes(assignment).items():
        if students and student not in students:
            continue
        folder = assignment.course.folder_for("feedback", assignment.name, student)
        if outcome["status"] == "graded":
            done = api.generate_feedback(assignment.name, student, force=True)
            errors[student] = (
                ""
                if done["success"]
                else (done.get("error") or done.get("log", "nbgrader gave no reason"))[-500:]
            )
        elif outcome["status"] == "failed":
            shutil.rmtree(folder, ignore_errors=True)
            notes = "".join(f"<li>{html.escape(note)}</li>" for note in outcome["notes"])
            write(
                folder / f"{assignment.name}.html",
                page(
                    f"{assignment.name}: not graded",
                    f"<p>Your submission could not be graded: {html.escape(outcome['reason'])}</p>"
                    f"<ul>{notes}</ul><p>Before you hand in again: <code>vlmgrader check {assignment.name}.ipynb</code></p>",
                ),
            )
            errors[student] = ""
    return errors
