"""What a student gets back: a page of their own, made by nbgrader from the autograded notebook.

Nothing acts in it but the form for regrade requests, which sends nothing.
"""

import html
import shutil

from vlmgrader import gradebook, regrade
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
    errors = {}
    for student, outcome in outcomes(assignment).items():
        if students and student not in students:
            continue
        folder = assignment.course.folder_for("feedback", assignment.name, student)
        if outcome["status"] == "graded":
            errors[student] = _nbgraders_page(assignment, student, outcome)
            if not errors[student]:
                path = folder / f"{assignment.name}.html"
                text = path.read_text(encoding="utf-8")
                text = text.replace('<a name="top"></a>', _of_group(outcome), 1)
                body, end, rest = text.rpartition("</body>")
                write(path, body + regrade.form(assignment, student) + end + rest)
        elif outcome["status"] == "failed":
            shutil.rmtree(folder, ignore_errors=True)
            notes = "".join(f"<li>{html.escape(note)}</li>" for note in outcome["notes"])
            write(
                folder / f"{assignment.name}.html",
                page(
                    f"{assignment.name}: not graded",
                    f"{_of_group(outcome)}<p>Your submission could not be graded: {html.escape(outcome['reason'])}</p>"
                    f"<ul>{notes}</ul><p>Before you hand in again: <code>vlmgrader check {assignment.name}.ipynb</code></p>",
                ),
            )
            errors[student] = ""
    return errors


def _nbgraders_page(assignment: Assignment, student: str, outcome: dict) -> str:
    """Made from the autograded notebook, which of a group only the one that handed in has. Gives "" or what went wrong."""
    course, lead = assignment.course, outcome.get("submitted_by", student)
    own, given = (
        course.folder_for("autograded", assignment.name, name) for name in (student, lead)
    )
    try:
        if lead != student:
            gradebook.share(assignment, lead, student)
            shutil.copytree(given, own)
        done = course.nbgrader().generate_feedback(assignment.name, student, force=True)
    finally:
        if lead != student:
            shutil.rmtree(own, ignore_errors=True)
    why = "" if done["success"] else done.get("error") or done.get("log", "nbgrader gave no reason")
    return why[-500:]


def _of_group(outcome: dict) -> str:
    """Whose work it is, as HTML; nothing for a student alone."""
    if "group" not in outcome:
        return ""
    text = f"Group {outcome['group']}: {', '.join(outcome['members'])}. Handed in by {outcome['submitted_by']}."
    lines = [f"<p>{html.escape(line)}</p>" for line in (text, outcome["group_note"]) if line]
    return f'<div class="container">{"".join(lines)}</div>'
