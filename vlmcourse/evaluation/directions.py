"""The lecture's directions: what its papers find higher or equal, our measurements of it, and the verdict by the course's rule.

directions.json lists them. A direction has comparisons {"measures": [what, first, second], "higher": M, "lower": M}, or with
"equal": [M, M], and perhaps a control, a comparison too, without which the others mean nothing. A measurement M is

    a number                            the same in every seed, such as chance
    {"file", "part", "where", "path"}   of benchmarks/results/FILE.json: rows with a "seed", below the key `part` (default "rows"),
                                        that hold what `where` says; a list in a path means the mean over these keys
    {"file", "values"}                  a path to the "values" of all seeds, in a file with a single row
    {"minus": [M, M]}, {"over": [M, M]}   difference and ratio
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vlmcourse.evaluation.controls import Spread, spread, verdict, verdict_of_equality
from vlmcourse.evaluation.published import published
from vlmcourse.evaluation.results import load_results, measurement

VERDICTS = ("agrees", "within noise", "disagrees", "not measured")
PAIRS = {
    "minus": lambda first, second: first - second,
    "over": lambda first, second: first / second,
}


@dataclass(frozen=True)
class Comparison:
    """Two measurements on their common seeds, and the verdict on them. measures: what, and the names of both sides."""

    first: Spread
    second: Spread
    verdict: str
    measures: tuple[str, str, str]

    def __str__(self) -> str:
        what, *names = self.measures
        sides = (
            f"{name} {value.mean:#.3g}" + (f" ± {value.std:#.2g}" if value.std else "")
            for name, value in zip(names, (self.first, self.second))
        )
        return f"{what}: {'; '.join(sides)} ({len(self.first.values)} seeds)"


@dataclass(frozen=True)
class Direction:
    """One direction of the lecture.

    paper      where it is from;  claim: in a sentence
    published  the paper's numbers, with their source
    compared   our measurements
    control_failed  then what was measured can't decide
    reason     why the verdict isn't "agrees";  note: what to know of one that is
    """

    number: int
    paper: str
    claim: str
    published: str
    compared: tuple[Comparison, ...]
    control_failed: bool
    reason: str
    note: str

    def ours(self) -> str:
        """The measurements, with means and standard deviations over seeds."""
        return "; ".join(map(str, self.compared))

    def line(self) -> str:
        """Its row of the table."""
        remark = self.note if self.verdict == "agrees" else self.reason
        verdict_cell = f"**{self.verdict}**" + (f": {remark}" if remark else "")
        return (
            f"| {self.number} | {self.claim} | {self.published} | {self.ours()} | {verdict_cell} |"
        )

    @property
    def verdict(self) -> str:
        """Of VERDICTS: that of all comparisons if they have the same; "within noise" if they differ."""
        verdicts = {comparison.verdict for comparison in self.compared}
        if self.control_failed or not verdicts:
            return "not measured"
        return verdicts.pop() if len(verdicts) == 1 else "within noise"


@cache
def _listed() -> list[dict]:
    return json.loads(Path(__file__).with_name("directions.json").read_text(encoding="utf-8"))


def directions() -> list[Direction]:
    """All directions in the lecture's order. Raises ValueError for a measurement that its file doesn't hold."""
    return [_direction(entry) for entry in _listed()]


def count(listed: Sequence[Direction]) -> dict[str, int]:
    """{verdict: how many directions have it}."""
    return {name: sum(direction.verdict == name for direction in listed) for name in VERDICTS}


def _direction(listed: Mapping) -> Direction:
    control = listed.get("control")
    failed = control is not None and _compared(control).verdict != "agrees"
    return Direction(
        listed["number"],
        listed["paper"],
        listed["claim"],
        _published(listed["published"]),
        tuple(map(_compared, listed["compared"])),
        failed,
        listed.get("reason", ""),
        listed.get("note", ""),
    )


def _published(cells: Sequence) -> str:
    """[table, row, column] for each number, or a text with its source."""
    numbers = [cell for cell in cells if not isinstance(cell, str)]
    texts = [cell for cell in cells if isinstance(cell, str)]
    if numbers:
        values = ", ".join(
            str(published(table).value(row, column)) for table, row, column in numbers
        )
        sources = sorted({published(table).source for table, *_ in numbers})
        texts.insert(0, f"{values} ({', '.join(sources)})")
    return "; ".join(texts)


def _compared(pair: Mapping) -> Comparison:
    sources = pair["equal"] if "equal" in pair else (pair["higher"], pair["lower"])
    first, second = map(seeds_of, sources)
    seeds = sorted(set(first or second) & set(second or first))
    higher, lower = (
        [by_seed[seed] if by_seed else float(constant) for seed in seeds]
        for by_seed, constant in zip((first, second), sources)
    )
    judged = verdict_of_equality(higher, lower) if "equal" in pair else verdict(higher, lower)
    what, name, second_name = pair["measures"]
    return Comparison(spread(higher), spread(lower), judged, (what, name, second_name))


def seeds_of(source: Mapping | float) -> dict[int, float]:
    """{seed: value} of a measurement of directions.json; {} of a number, which is the same in every seed."""
    if not isinstance(source, Mapping):
        return {}
    for name, combined in PAIRS.items():
        if name in source:
            first, second = map(seeds_of, source[name])
            return {
                seed: combined(first[seed], second[seed])
                for seed in sorted(set(first) & set(second))
            }
    rows = load_results(source["file"])[source.get("part", "rows")]
    if "values" in source:
        inside = rows[0]
        for key in source["values"]:
            inside = inside[key]
        return dict(enumerate(inside))
    path = [tuple(key) if isinstance(key, list) else key for key in source["path"]]
    where = source.get("where", {}).items()
    if not (rows := [row for row in rows if where <= row.items()]):
        raise ValueError(f"no row with {dict(where)} in {source['file']}.")
    return {row["seed"]: measurement(row, path) for row in rows}


def as_markdown(listed: Sequence[Direction]) -> str:
    """How many have each verdict, and a table for each paper."""
    numbers = ", ".join(f"{name} {number}" for name, number in count(listed).items())
    lines = [f"Of {len(listed)} directions: **{numbers}**."]
    for paper in dict.fromkeys(direction.paper for direction in listed):
        lines += [
            f"\n## {paper}\n",
            "| | claim | the paper | ours | verdict |",
            "|---|---|---|---|---|",
        ]
        lines += [direction.line() for direction in listed if direction.paper == paper]
    lines.append("\n## What speaks against us\n")
    lines += [
        f"- *{direction.paper}*: {direction.claim}. {direction.ours()}: {direction.reason}."
        for direction in listed
        if direction.verdict == "disagrees"
    ]
    return "\n".join(lines)
