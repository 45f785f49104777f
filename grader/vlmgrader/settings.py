"""`grader.toml` in the folder of the assignments: what the grader must know of a course."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

KNOWN = {
    "": {"packages", "watched", "environment", "late", "package"},
    "late": {"per_day", "free_days"},
    "package": {"include", "exclude"},
}


@dataclass(frozen=True)
class Late:
    """per_day: per cent of an assignment's points for each day begun; free_days: of a student, over all assignments."""

    per_day: float
    free_days: int = 0


@dataclass(frozen=True)
class Settings:
    """packages   students' code may import these, also where they are not installed
    watched    packages whose use in an answer is noted for the instructor
    variables  of the sandbox's environment; {tmp} is its temporary folder
    late       what late work costs; None: what nbgrader's configuration says
    include, exclude  patterns of the files that the students' package is made of
    """

    packages: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    late: Late | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


def read(path: Path) -> Settings:
    """The defaults where there is no such file. Raises ValueError for a key that means nothing."""
    if not path.exists():
        return Settings()
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from None
    for table, known in KNOWN.items():
        there = read.get(table, {}) if table else read
        if unknown := set(there) - known:
            where = f"{path}, [{table}]" if table else path
            raise ValueError(
                f"{where}: unknown: {', '.join(sorted(unknown))}; expected {', '.join(sorted(known))}"
            )
    late, package = read.get("late"), read.get("package", {})
    return Settings(
        tuple(read.get("packages", ())),
        tuple(read.get("watched", ())),
        tuple(read.get("environment", {}).items()),
        Late(float(late["per_day"]), int(late.get("free_days", 0))) if late else None,
        tuple(package.get("include", ())),
        tuple(package.get("exclude", ())),
    )
