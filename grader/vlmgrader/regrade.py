"""Regrade requests: a form on a student's page saves a small file; the course gathers such files. Nothing in them is run.

A file is text: assignment, student, the student's code, task, why. Only the course can make a code, so nobody writes in
another's name. requests/<assignment>.json keeps what was gathered, with the points that the task had then.
"""

import hmac
import html
import os
import re
import secrets
from pathlib import Path
from urllib.parse import quote

from vlmgrader import gradebook
from vlmgrader.batch import outcome_file
from vlmgrader.collect import Collected, opened
from vlmgrader.course import Assignment, json, read_json, write
from vlmgrader.preflight import harmless

TITLE = "vlmgrader regrade request"
FILE_BYTES, REASON = 64_000, 4_000  # of a file; characters of the text that are kept
MARKED = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
FORM = """<div class="container"><h3>Regrade requests</h3>{earlier}
<p>Choose a task and write why its points should change. The link saves a small text file on your computer; nothing is
sent. Hand the file in as your course says. (Where a preview allows no script, write task and why into the saved file.)</p>
<form id="regrade" method="dialog" data-head="{head}">
<p><label>Task <select>{options}</select></label></p>
<p><label>Why<br><textarea rows="6" cols="70" maxlength="{reason}"></textarea></label></p>
<p><a download="{file}" href="{address}">Save the request</a></p></form>
<script>
document.getElementById("regrade").oninput = ({{currentTarget: form}}) => {{
  const [task, why] = form.elements;
  const text = `${{form.dataset.head}}task: ${{task.value}}\\nwhy:\\n${{why.value}}\\n`;
  form.querySelector("a").href = "data:text/plain;charset=utf-8," + encodeURIComponent(text);
}};
</script></div>
"""


def code(assignment: Assignment, student: str) -> str:
    """A student's for an assignment: HMAC-SHA256 with a secret of the course, made when it is first needed."""
    path = assignment.course.folder / "requests" / "secret"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f".secret.{os.getpid()}")
        with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        half.replace(path)
    message = json.dumps(["regrade", assignment.name, student])
    return hmac.new(path.read_bytes(), message.encode(), "sha256").hexdigest()[:32]


def form(assignment: Assignment, student: str) -> str:
    """HTML for the student's page: what became of earlier requests, and a form for a new one."""
    head = f"{TITLE}\nassignment: {assignment.name}\nstudent: {student}\ncode: {code(assignment, student)}\n"
    cells = points(assignment, student)
    options = [
        f'<option value="{html.escape(task)}">{html.escape(f"{task}: {worth(cell)}")}</option>'
        for task, cell in cells.items()
    ]
    empty = f"{head}tasks: {', '.join(cells)}\ntask: \nwhy:\n"
    return FORM.format(
        earlier="".join(f"<p>{html.escape(summary(row))}</p>" for row in rows(assignment, student)),
        head=html.escape(head),
        options="".join(options),
        reason=REASON,
        file=html.escape(f"regrade_{assignment.name}_{student}.txt"),
        address=html.escape("data:text/plain;charset=utf-8," + quote(empty)),
    )


def points(assignment: Assignment, student: str) -> dict[str, dict]:
    """The cells with points, in the notebook's order, as the gradebook has them now; empty where nothing was graded."""
    outcome = read_json(outcome_file(assignment, student)) or {"status": "not run"}
    if outcome["status"] != "graded":
        return {}
    cells = gradebook.cell_scores(assignment, outcome.get("submitted_by", student))
    return {task: cells[task] for task in gradebook.grade_cells(assignment) if task in cells}


def worth(cell: dict | None) -> str:
    """Points in words: 1 of 2."""
    if cell is None:
        return "not graded"
    return "still to be read" if cell["waiting"] else f"{cell['score']:g} of {cell['max']:g}"


def parse(content: bytes) -> dict[str, str]:
    """The fields of a request, in any encoding, without signs that aren't shown; empty where it is none."""
    lines = re.split(r"\r\n|\r|\n", _decoded(content).strip())
    fields: dict[str, str] = {}
    if lines[0].strip() != TITLE:
        return fields
    for number, line in enumerate(lines):
        name, _, value = line.partition(":")
        if name.strip().lower() == "why":
            why = "\n".join([value, *lines[number + 1 :]]).strip()
            return fields | {"why": why[:REASON] + (" [cut]" if len(why) > REASON else "")}
        fields.setdefault(name.strip().lower(), value.strip())
    return fields


def _decoded(content: bytes) -> str:
    marked = [encoding for mark, encoding in MARKED.items() if content.startswith(mark)]
    for encoding in (*marked, "utf-8-sig", "cp1252"):
        try:
            text = content.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        text = content.decode("latin-1")
    return "".join(sign for sign in text if sign.isprintable() or sign in "\r\n\t")


def gather(assignment: Assignment, files: Path) -> tuple[int, list[str]]:
    """Takes in the requests of a folder or a zip. Gives how many are new, and what was left out with the reason."""
    collected, valid = Collected(), {}
    with opened(files, collected) as entries:
        for entry in sorted(entries, key=lambda entry: entry.changed):
            if entry.size > FILE_BYTES:
                collected.leave_out(entry.name, f"more than {FILE_BYTES:,} bytes: no request")
            elif (content := collected.read(entry)) is not None:
                fields = parse(content)
                if why_not := _refused(assignment, fields):
                    collected.leave_out(entry.name, why_not)
                else:
                    valid[fields["student"], fields["task"]] = fields["why"]
    there, new = _stored(assignment), 0
    for (student, task), why in valid.items():
        if there.get(f"{student}:{task}", {}).get("why") != why:
            cell = points(assignment, student).get(task)
            request = {"student": student, "task": task, "why": why, "done": False}
            there[f"{student}:{task}"] = request | {"before": worth(cell)}
            new += 1
    _keep(assignment, there)
    return new, collected.left_out


def _refused(assignment: Assignment, fields: dict[str, str]) -> str:
    """Why it is no request for this assignment of who it says; empty where it is one."""
    student, task = fields.get("student", ""), fields.get("task", "")
    tasks = gradebook.grade_cells(assignment)
    if not fields:
        return f"no request: expected '{TITLE}' in the first line"
    if fields.get("assignment") != assignment.name:
        return f"for {harmless(fields.get('assignment'))}, not for {assignment.name}"
    if student not in assignment.course.roster():
        return f"{harmless(student)} is not on the roster"
    own = code(assignment, student)
    if not hmac.compare_digest(own.encode(), fields.get("code", "").encode()):
        return f"its code isn't that of {student}: it must be saved from the student's own page"
    if task not in tasks:
        return f"{student} names the task '{harmless(task)}'; expected one of {', '.join(tasks)}"
    return "" if fields.get("why") else f"{student} gives no reason"


def mark_done(assignment: Assignment, names: list[str]) -> None:
    """Marks requests, written as student:task, as dealt with."""
    there = _stored(assignment)
    for name in names:
        if name not in there:
            waiting = ", ".join(there) or "none"
            raise ValueError(f"--done: found '{name}'; expected one of the requests: {waiting}")
        there[name]["done"] = True
    _keep(assignment, there)


def rows(assignment: Assignment, student: str | None = None) -> list[dict]:
    """All requests, or one student's, by task in the notebook's order, with the points before and now."""
    there = [row for row in _stored(assignment).values() if student in (None, row["student"])]
    now = {name: points(assignment, name) for name in {row["student"] for row in there}}
    tasks = gradebook.grade_cells(assignment)
    known = [row for row in there if row["task"] in tasks]
    known.sort(key=lambda row: (tasks.index(row["task"]), row["student"]))
    return [{**row, "now": worth(now[row["student"]].get(row["task"]))} for row in known]


def summary(row: dict) -> str:
    """A request in one line: its task, what a regrade changed, whether it is done."""
    change = row["before"] if row["before"] == row["now"] else f"{row['before']}, now {row['now']}"
    return f"{row['task']}: {change}; {'done' if row['done'] else 'open'}"


def _stored(assignment: Assignment) -> dict[str, dict]:
    return read_json(assignment.course.folder / "requests" / f"{assignment.name}.json") or {}


def _keep(assignment: Assignment, there: dict[str, dict]) -> None:
    path = assignment.course.folder / "requests" / f"{assignment.name}.json"
    write(path, json.dumps(there, indent=1))
