"""What a class' scores say about its tasks."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TaskStatistics:
    """students        whose score is there (an open question counts once a human has read it)
    difficulty      mean share of the points: 1 is easy
    full, none      shares of students with all points, and without any
    discrimination  correlation of a task's score with the rest of the notebook's; None where one of them doesn't vary
    """

    task: str
    students: int
    difficulty: float
    full: float
    none: float
    discrimination: float | None


def of_tasks(
    scores: list[dict[str, float | None]], worth: dict[str, float]
) -> list[TaskStatistics]:
    """Statistics of each task, in the notebook's order.

    scores  for each student, task -> points; None: not read yet
    worth   task -> its points
    """
    results = []
    for task, points in worth.items():
        rows = [row for row in scores if row.get(task) is not None]
        if not rows or not points:
            continue
        shares = [row[task] / points for row in rows]
        rest = [sum(value or 0.0 for name, value in row.items() if name != task) for row in rows]
        results.append(
            TaskStatistics(
                task,
                len(rows),
                sum(shares) / len(rows),
                sum(share >= 1 - 1e-9 for share in shares) / len(rows),
                sum(share <= 1e-9 for share in shares) / len(rows),
                correlation(shares, rest),
            )
        )
    return results


def correlation(x: list[float], y: list[float]) -> float | None:
    """Pearson's; None where there is nothing to correlate."""
    if len(x) < 3:
        return None
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    pairs = [(a - mean_x, b - mean_y) for a, b in zip(x, y, strict=True)]
    spread = math.sqrt(sum(a * a for a, _ in pairs) * sum(b * b for _, b in pairs))
    return sum(a * b for a, b in pairs) / spread if spread > 1e-12 else None


def median(values: list[float]) -> float:
    """The mean of the two in the middle where there are two."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
