"""A class of generated submissions to assignment 1, graded with a kill -9 in the middle: is each graded exactly once, how fast?

    python -m benchmarks.grading --students 200
    python -m benchmarks.grading --students 20 --alone      one worker against two, too

Good answers, untouched notebooks, wrong answers (the assignment's mutants), broken and missing files, shuffled by a seed.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import nbformat
import psutil
import typer

from vlmcourse.lessons import repository
from vlmgrader import authoring, batch
from vlmgrader.checks import python_file
from vlmgrader.course import Assignment, Course

NAME = "A1_masks"
RESULTS = Path(__file__).parent / "results" / "grading.json"
KINDS = ("good",) * 7 + ("wrong",) * 8 + ("stub",) * 2 + ("broken",) * 2 + ("missing",)
BROKEN = ["", "{", "[" * 50_000, '{"nbformat": 3}', "\x00\x01"]


def submissions(assignment: Assignment, students: int, seed: int = 0) -> Counter:
    """Writes them into submitted/ and gives how many of each kind."""
    draw, folder = random.Random(seed), assignment.home
    masters = {
        cell.metadata.get("id"): authoring.with_solution(cell.source)
        for cell in authoring.cells(folder)
    }
    mutants = [
        (task.removesuffix("-test"), old, new)
        for task, rows in python_file(folder / "mutants.py").MUTANTS.items()
        for old, new, *_ in rows
    ]
    kinds: Counter = Counter()
    for number in range(students):
        kind = KINDS[number % len(KINDS)]
        kinds[kind] += 1
        if kind == "missing":
            continue
        made = nbformat.from_dict(json.loads(nbformat.writes(assignment.released)))
        answer, old, new = draw.choice(mutants)
        for cell in made.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if kind in ("good", "wrong") and name and cell.metadata.nbgrader.solution:
                cell.source = (
                    masters[name].replace(old, new)
                    if (kind, name) == ("wrong", answer)
                    else masters[name]
                )
        target = assignment.course.folder_for("submitted", NAME, f"s{number:03}")
        target.mkdir(parents=True)
        (target / f"{NAME}.ipynb").write_text(
            draw.choice(BROKEN) if kind == "broken" else nbformat.writes(made)
        )
    return kinds


class Watch:
    """The most memory (its own) that a process and all it started used. Looked at once a second: the cores are the graders'."""

    def __init__(self, pid: int) -> None:
        self.peak, self._over = 0, threading.Event()
        self._thread = threading.Thread(target=self._look, args=(pid,), daemon=True)
        self._thread.start()

    def _look(self, pid: int) -> None:
        while not self._over.wait(1.0):
            total = 0
            try:
                process = psutil.Process(pid)
                for one in [process, *process.children(recursive=True)]:
                    memory = one.memory_info()
                    total += memory.rss - memory.shared
            except psutil.Error:
                continue
            self.peak = max(self.peak, total)

    def end(self) -> float:
        self._over.set()
        self._thread.join()
        return self.peak / 2**20


def grade(assignment: Assignment, workers: int, kill_at: int | None = None) -> dict:
    """Runs the command; killed -9 once so many outcomes are there, and started again. Seconds count both runs."""
    command = [
        sys.executable,
        "-m",
        "vlmcourse",
        "grade",
        "run",
        NAME,
        "--workers",
        str(workers),
        "--course",
        str(assignment.course.folder),
        "--assignments",
        str(assignment.course.assignments),
    ]
    kept, began, peaks, killed = (
        assignment.course.folder / "outcomes" / NAME,
        time.monotonic(),
        [],
        None,
    )
    for stop in [kill_at, None] if kill_at else [None]:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        watch = Watch(process.pid)
        while process.poll() is None:
            time.sleep(0.2)
            if stop and len(list(kept.glob("s*.json"))) >= stop:
                os.kill(process.pid, signal.SIGKILL)
                killed = {path.name: path.stat().st_mtime_ns for path in kept.glob("s*.json")}
                process.wait()
        peaks.append(watch.end())
    seconds = time.monotonic() - began
    untouched = all(
        (kept / name).stat().st_mtime_ns == when for name, when in (killed or {}).items()
    )
    return {
        "seconds": round(seconds, 1),
        "peak_mib": round(max(peaks)),
        "done_when_killed": len(killed or {}),
        "done_once": untouched,
        "exit": process.returncode,
    }


def class_of(students: int, folder: Path) -> Assignment:
    course = Course(folder, repository() / "assignments")
    course.prepare()
    (folder / "roster.csv").write_text(
        "id\n" + "".join(f"s{number:03}\n" for number in range(students))
    )
    assignment = course.find(NAME)
    assignment.release()
    return assignment


def main(
    students: Annotated[int, typer.Option(help="Submissions.")] = 200,
    workers: Annotated[int, typer.Option(help="Workers of the run that is killed.")] = 2,
    alone: Annotated[bool, typer.Option("--alone", help="Compare one worker with two.")] = False,
) -> None:
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        assignment = class_of(students, Path(scratch) / "course")
        kinds = submissions(assignment, students)
        run = grade(assignment, workers, kill_at=students // 2)
        ends = Counter(outcome["status"] for outcome in batch.outcomes(assignment).values())
        full = sum(task.points for task in assignment.tasks.values())
        scores = Counter(
            "full" if outcome["score"] >= full else "zero" if outcome["score"] == 0 else "between"
            for outcome in batch.outcomes(assignment).values()
            if outcome["status"] == "graded"
        )
        found["class"] = {
            "students": students,
            "kinds": dict(kinds),
            "ends": dict(ends),
            "scores": dict(scores),
            "workers": workers,
            "per_minute": round(60 * students / run["seconds"], 1),
            **run,
            "load": os.getloadavg()[1],
            "cores": os.cpu_count(),
        }
    for count in (1, 2) if alone else ():
        with tempfile.TemporaryDirectory() as scratch:
            assignment = class_of(students, Path(scratch) / "course")
            submissions(assignment, students)
            found[f"workers_{count}"] = {
                "students": students,
                **grade(assignment, count),
                "load": os.getloadavg()[1],
            }
    if alone:
        found["two_against_one"] = round(
            found["workers_1"]["seconds"] / found["workers_2"]["seconds"], 2
        )
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    known["command"] = "python -m benchmarks.grading"
    RESULTS.write_text(json.dumps({**known, f"students_{students}": found}, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    typer.run(main)
