"""The papers' own published numbers: every table of the lecture, with its source, in published.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

Cell = str | float | None  # None: the paper gives no number


@dataclass(frozen=True)
class PublishedTable:
    """One table of a paper. `source` is its number there, such as "Table 2"; rows are as wide as `columns`."""

    name: str
    paper: str
    arxiv: str
    source: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def value(self, row: str, column: str) -> Cell:
        """The cell of a column in the one row whose first cells, joined by ", ", are `row`, or else begin with it.

        Raises KeyError, with what there is, for an unknown column or a row that is missing or ambiguous.
        """
        if column not in self.columns:
            raise KeyError(
                f"no column '{column}' in {self.name}; it has {', '.join(self.columns)}."
            )
        labels = [
            ", ".join(str(cell) for cell in cells if isinstance(cell, str)) for cells in self.rows
        ]
        matching = [number for number, label in enumerate(labels) if label == row] or [
            number for number, label in enumerate(labels) if label.startswith(row)
        ]
        if len(matching) != 1:
            raise KeyError(
                f"{len(matching)} rows of {self.name} begin with '{row}': {'; '.join(labels)}."
            )
        return self.rows[matching[0]][self.columns.index(column)]

    def markdown(self, columns: Sequence[str] | None = None) -> str:
        """A Markdown table with its source below; columns: those to show, default all."""
        shown = [self.columns.index(column) for column in columns or self.columns]
        lines = [[self.columns[index] for index in shown], ["---"] * len(shown)]
        lines += [
            ["–" if cells[index] is None else str(cells[index]) for index in shown]
            for cells in self.rows
        ]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"{body}\n\n{self.title}. {self.paper}, {self.source} (arXiv {self.arxiv}). {self.note}".rstrip()


@cache
def published_tables() -> dict[str, PublishedTable]:
    """All tables by name."""
    read = json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8"))
    return {
        table["name"]: PublishedTable(
            **{
                **table,
                "columns": tuple(table["columns"]),
                "rows": tuple(tuple(cells) for cells in table["rows"]),
            }
        )
        for table in read
    }


def published(name: str) -> PublishedTable:
    """One table, such as "frozen-table-2". Raises KeyError, with the names there are, for another name."""
    if name not in (tables := published_tables()):
        raise KeyError(f"no published table '{name}'; there are {', '.join(tables)}.")
    return tables[name]
