"""Architecture diagrams: boxes on a grid and arrows between them, as SVG with a description in words."""

from __future__ import annotations

import html
from dataclasses import dataclass, field

from vlmcourse.plots.style import DARK, GREY, text_colour

KINDS = {
    "data": ("#E8E8E8", "data"),
    "trained": ("#E69F00", "trained"),
    "frozen": ("#56B4E9", "frozen"),
    "operation": ("#FFFFFF", "computed, nothing to learn"),
    "loss": ("#CC79A7", "loss"),
}
"""Kinds of boxes: their colour and what the legend says."""

FONT, SMALL, LINE, PAD, MARGIN = 13, 11, 16, 10, 14
GAP = 36  # between columns and between rows, at least


@dataclass(frozen=True)
class Box:
    """A named part. `lines` stand below the name; column and row are positions on the grid, halves allowed in rows."""

    name: str
    lines: tuple[str, ...]
    column: int
    row: float
    kind: str

    @property
    def width(self) -> float:
        longest = max(
            _width(self.name, FONT, bold=True), *(_width(line, SMALL) for line in (*self.lines, ""))
        )
        return max(70.0, longest + 2 * PAD)

    @property
    def height(self) -> float:
        return LINE * (1 + len(self.lines)) + 2 * PAD - 4


@dataclass(frozen=True)
class Arrow:
    """From one box to another; a gradient is dashed."""

    source: str
    target: str
    label: str
    gradient: bool


@dataclass
class Diagram:
    """A picture of a system, built box by box and arrow by arrow; `svg` draws it, `description` says it in words."""

    title: str
    boxes: dict[str, Box] = field(default_factory=dict)
    arrows: list[Arrow] = field(default_factory=list)

    def box(
        self, id: str, name: str, *lines: str, column: int, row: float = 0, kind: str = "operation"
    ) -> None:
        """Adds a box. lines: shapes or sizes, below the name. Raises ValueError for an unknown kind or a used id or position."""
        if kind not in KINDS:
            raise ValueError(f"kind '{kind}'; expected one of {', '.join(KINDS)}.")
        if id in self.boxes:
            raise ValueError(f"there is a box '{id}' already; each box has an id of its own.")
        if any((box.column, box.row) == (column, row) for box in self.boxes.values()):
            raise ValueError(f"column {column}, row {row} is taken; choose another place.")
        self.boxes[id] = Box(name, lines, column, row, kind)

    def arrow(self, source: str, target: str, label: str = "", gradient: bool = False) -> None:
        """Adds an arrow between two boxes, by their ids. Raises ValueError if one is missing."""
        for id in (source, target):
            if id not in self.boxes:
                raise ValueError(f"there is no box '{id}'; there are {', '.join(self.boxes)}.")
        self.arrows.append(Arrow(source, target, label, gradient))

    @property
    def description(self) -> str:
        """Title, boxes and arrows as sentences."""
        parts = [
            f"{box.name} ({', '.join([*box.lines, KINDS[box.kind][1]])})"
            for box in self.boxes.values()
        ]
        moves = [
            f"{'gradient from ' if arrow.gradient else ''}{self.boxes[arrow.source].name} to "
            f"{self.boxes[arrow.target].name}{f' ({arrow.label})' if arrow.label else ''}"
            for arrow in self.arrows
        ]
        return f"Diagram: {self.title}. Parts: {'; '.join(parts)}. Arrows: {'; '.join(moves)}."

    @property
    def svg(self) -> str:
        """The drawing."""
        centre_x, centre_y, width, height = self._layout()
        drawn = [self._arrow(arrow, centre_x, centre_y) for arrow in self.arrows]
        drawn += [_box(box, centre_x[box.column], centre_y[box.row]) for box in self.boxes.values()]
        legend, legend_width = self._legend(height)
        title_width = _width(self.title, FONT + 1, bold=True) + 2 * MARGIN
        width, height = max(width, legend_width, title_width), height + 30
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'width="{width:.0f}" height="{height:.0f}" font-family="Arial, Helvetica, sans-serif">'
            f'<rect width="100%" height="100%" fill="white"/>{_MARKERS}'
            + _text(MARGIN, 22, self.title, FONT + 1, "start", bold=True)
            + "".join(drawn)
            + legend
            + "</svg>"
        )

    def _layout(self) -> tuple[dict[int, float], dict[float, float], float, float]:
        """Centres of columns and rows, width and height; gaps are as wide as the arrows' labels need."""
        columns = sorted({box.column for box in self.boxes.values()})
        rows = sorted({box.row for box in self.boxes.values()})
        centre_x, x = {}, float(MARGIN)
        for column in columns:
            width = max(box.width for box in self.boxes.values() if box.column == column)
            centre_x[column] = x + width / 2
            labels = [
                _width(arrow.label, SMALL)
                for arrow in self.arrows
                if self.boxes[arrow.source].column == column
                and self.boxes[arrow.target].column > column
            ]
            x += width + max(GAP, *(label + 24 for label in (*labels, 0.0)))
            last = x
        backward = [
            self._runs_above(arrow)
            for arrow in self.arrows
            if self._is_backward(arrow) and not (arrow.gradient and self._is_next(arrow))
        ]
        centre_y, y, before = {}, 68.0 if any(backward) else 40.0, None
        for row in rows:
            height = max(box.height for box in self.boxes.values() if box.row == row)
            if before is not None:
                y += GAP if row - before >= 1 else 8
            centre_y[row] = y + height / 2
            y, before = y + height, row
        return centre_x, centre_y, last, y + MARGIN + (0 if all(backward) else 26)

    def _is_backward(self, arrow: Arrow) -> bool:
        return self.boxes[arrow.target].column < self.boxes[arrow.source].column

    def _is_next(self, arrow: Arrow) -> bool:
        """Does a backward arrow lead to the column just before?"""
        return self.boxes[arrow.target].column == self.boxes[arrow.source].column - 1

    def _left_of(self, column: int, centre_x: dict) -> float:
        """Where arrows to a column turn: left of its widest box, so that none turns inside another box."""
        widest = max(box.width for box in self.boxes.values() if box.column == column)
        return centre_x[column] - widest / 2 - GAP / 2

    def _runs_above(self, arrow: Arrow) -> bool:
        """Does a backward arrow pass above all boxes? It does to a box of the upper half, else below."""
        rows = [box.row for box in self.boxes.values()]
        return self.boxes[arrow.target].row < (min(rows) + max(rows)) / 2

    def _arrow(self, arrow: Arrow, centre_x: dict, centre_y: dict) -> str:
        source, target = self.boxes[arrow.source], self.boxes[arrow.target]
        x1, y1 = centre_x[source.column], centre_y[source.row]
        x2, y2 = centre_x[target.column], centre_y[target.row]
        if source.column == target.column:
            sign = 1 if y2 > y1 else -1
            shift = 9 if arrow.gradient else 0
            points = [
                (x1 + shift, y1 + sign * source.height / 2),
                (x2 + shift, y2 - sign * target.height / 2),
            ]
            label = (points[0][0] + 6, (points[0][1] + points[1][1]) / 2 + 4, "start")
        elif arrow.gradient and self._is_next(arrow):  # beside the solid arrow
            start, end, y1, y2 = x1 - source.width / 2, x2 + target.width / 2, y1 + 9, y2 + 9
            turn = self._left_of(source.column, centre_x) - 9
            points = [(start, y1), (turn, y1), (turn, y2), (end, y2)]
            label = ((start + end) / 2, y1 + 14, "middle")
        elif self._is_backward(arrow):
            above = self._runs_above(arrow)
            far = min(centre_y.values()) if above else max(centre_y.values())
            tallest = max(box.height for box in self.boxes.values()) / 2
            level, sign = (far - tallest - 12, -1) if above else (far + tallest + 12, 1)
            points = [
                (x1, y1 + sign * source.height / 2),
                (x1, level),
                (x2, level),
                (x2, y2 + sign * target.height / 2),
            ]
            label = ((x1 + x2) / 2, level + (-5 if above else 13), "middle")
        else:
            start, end = x1 + source.width / 2, x2 - target.width / 2
            turn = self._left_of(target.column, centre_x)
            points = (
                [(start, y1), (end, y2)]
                if y1 == y2
                else [(start, y1), (turn, y1), (turn, y2), (end, y2)]
            )
            label = ((start + turn) / 2, y1 - 5, "middle")
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        style = 'stroke-dasharray="6 4" ' if arrow.gradient else ""
        colour, head = ("#D55E00", "gradient") if arrow.gradient else (DARK, "arrow")
        line = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6" {style}marker-end="url(#{head})"/>'
        return line + (
            _text(label[0], label[1], arrow.label, SMALL, label[2]) if arrow.label else ""
        )

    def _legend(self, y: float) -> tuple[str, float]:
        used = [kind for kind in KINDS if any(box.kind == kind for box in self.boxes.values())]
        x, drawn = float(MARGIN), []
        for kind in used:
            colour, words = KINDS[kind]
            drawn.append(
                f'<rect x="{x:.0f}" y="{y + 4:.0f}" width="14" height="14" rx="3" fill="{colour}" stroke="{GREY}"/>'
            )
            drawn.append(_text(x + 19, y + 15, words, SMALL, "start"))
            x += 19 + _width(words, SMALL) + 18
        if any(arrow.gradient for arrow in self.arrows):
            drawn.append(
                f'<line x1="{x:.0f}" y1="{y + 11:.0f}" x2="{x + 26:.0f}" y2="{y + 11:.0f}" stroke="#D55E00" stroke-width="1.6" stroke-dasharray="6 4"/>'
            )
            drawn.append(_text(x + 31, y + 15, "gradient", SMALL, "start"))
            x += 31 + _width("gradient", SMALL) + 18
        return "".join(drawn), x


def _head(id: str, colour: str) -> str:
    return (
        f'<marker id="{id}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0,0 L8,4 L0,8 z" fill="{colour}"/></marker>'
    )


_MARKERS = f"<defs>{_head('arrow', DARK)}{_head('gradient', '#D55E00')}</defs>"


def _width(text: str, size: float, bold: bool = False) -> float:
    """About how wide a text is, in pixels: a sans-serif letter is some .56 of its height."""
    return len(text) * size * (0.6 if bold else 0.56)


def _text(
    x: float, y: float, text: str, size: float, anchor: str, bold: bool = False, fill: str = "black"
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}"{weight}>{html.escape(text)}</text>'


def _box(box: Box, x: float, y: float) -> str:
    colour = KINDS[box.kind][0]
    ink, top = text_colour(colour), y - box.height / 2
    border = ' stroke-dasharray="3 2"' if box.kind == "operation" else ""
    rect = (
        f'<rect x="{x - box.width / 2:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" '
        f'rx="7" fill="{colour}" stroke="{GREY}"{border}/>'
    )
    texts = _text(x, top + PAD + 9, box.name, FONT, "middle", bold=True, fill=ink)
    for number, line in enumerate(box.lines, 1):
        texts += _text(x, top + PAD + 9 + LINE * number, line, SMALL, "middle", fill=ink)
    return rect + texts
