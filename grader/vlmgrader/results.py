"""What judging a notebook gives: for each task what each of its checks found."""

from dataclasses import asdict, dataclass, field

from vlmgrader.checks import Check


@dataclass(frozen=True)
class Task:
    """An autograded test cell: its grade_id, its points and the trusted checks behind it."""

    name: str
    points: float
    checks: list[Check]


@dataclass(frozen=True)
class CheckResult:
    """What one check found. The message is for the student: it never holds hidden inputs or an exception's text.

    failure  why there was no answer to judge, one of Failed.REASONS; empty where there was one
    """

    check: str
    points: float
    of: float
    message: str
    diagnosed: bool = False
    failure: str = ""


@dataclass
class NotebookResult:
    """tasks: task -> what its checks found; outputs: number of a cell -> what it showed; notes: for the instructor.

    unfinished  why the tasks that have no result were not judged; then the submission counts as failed, not as graded
    """

    tasks: dict[str, list[CheckResult]] = field(default_factory=dict)
    outputs: dict[int, list] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    kernels: int = 0
    seed: str = ""
    unfinished: str = ""

    def points(self, task: str) -> float:
        return sum(result.points for result in self.tasks.get(task, []))

    def as_json(self) -> dict:
        marks = {task: [asdict(result) for result in rows] for task, rows in self.tasks.items()}
        return {"marks": marks, "notes": self.notes, "kernels": self.kernels, "seed": self.seed}
