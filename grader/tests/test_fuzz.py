"""No submission makes the grader itself fail: mutated notebooks end as refused with a reason, or ready to be judged."""

import copy
import json
import random
import sys
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import small_course as small

from vlmgrader import preflight
from vlmgrader.cells import reaches, sections, uses
from vlmgrader.similar import answers, fingerprints

RELEASE = small.notebook()
GIVEN = frozenset(cell.source for cell in RELEASE.cells)
TASKS = {"plus-test", "softmax-test", "total-test"}
STRANGE = [
    None, True, -1, 1e400, "", "\ud800", "\x00", "x" * 5000, [], {}, [[]], {"a": {}}, "=== END", "\u202e", 10**400,
]  # fmt: skip
SOURCES = [
    "x" + ".a" * 3000 + " = 1",
    "+".join(["1"] * 4000),
    "(" * 3000,
    "[" * 150 + "]" * 150,
    "lambda: " * 2000 + "1",
    "\ud83d lone half",
    "def f(:",
    "%%bash\nls",
    "import vlmcourse.parts\nx = 1",
    "\r\nimport torch\r\n",
    "if 1:\n" + "".join(" " * n + "if 1:\n" for n in range(1, 110)) + " " * 110 + "pass",
]


def places(value, path=()):
    """The paths of everything in a JSON value."""
    yield path
    children = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, child in children:
        yield from places(child, (*path, key))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def mutated(draw: random.Random) -> bytes:
    """A notebook as some tool, a broken upload or a hostile student could have left it."""
    made = json.loads(nbformat.writes(small.notebook(small.ANSWERS, why="because")))
    made["nbformat_minor"] = draw.randrange(6)
    for _ in range(draw.randrange(1, 5)):
        paths = [path for path in places(made) if path]
        *parent, key = draw.choice(paths)
        holder = at(made, parent)
        kind = draw.randrange(6)
        if kind == 0:
            holder[key] = copy.deepcopy(draw.choice(STRANGE))
        elif kind == 1 and isinstance(holder, dict):
            del holder[key]
        elif kind == 2 and isinstance(holder, list):
            holder.insert(draw.randrange(len(holder) + 1), copy.deepcopy(holder[key]))
        elif kind == 3:
            cell = draw.choice(made["cells"] or [{}]) if isinstance(made.get("cells"), list) else {}
            if isinstance(cell, dict):
                cell["source"] = draw.choice(SOURCES)
        elif kind == 4:
            made["metadata"] = {
                "colab": {"provenance": []},
                "vscode": {"languageId": "python"},
                "kernelspec": draw.choice(STRANGE),
            }
        elif isinstance(made.get("cells"), list):
            draw.shuffle(made["cells"])
        if not isinstance(made, dict):
            break
    text = json.dumps(made, indent=draw.choice([None, 1]))
    if draw.random() < 0.1:
        text = text.replace("\n", "\r\n")
    content = text.encode("utf-8")
    if draw.random() < 0.1:
        content = b"\xef\xbb\xbf" + content
    if draw.random() < 0.1:
        cut = draw.randrange(len(content))
        content = (
            content[:cut]
            + bytes([draw.randrange(256)]) * draw.randrange(3)
            + content[cut + draw.randrange(4) :]
        )
    return content


@pytest.mark.parametrize("part", range(4))
def test_two_thousand_mutated_notebooks_end_in_words(part, tmp_path):
    draw = random.Random(part)
    path = tmp_path / f"{small.NAME}.ipynb"
    refused = 0
    for number in range(500):
        path.write_bytes(mutated(draw))
        found = preflight.inspect_submission(tmp_path, RELEASE, small.NAME)
        refused += found.refused is not None
        if found.refused is not None:
            assert found.refused.isprintable(), number
            continue
        cells = found.notebook.cells
        sections(cells, TASKS)
        for cell in cells:
            reaches(cell)
            uses(cell, ("vlmcourse.parts",))
        fingerprints(answers(found.notebook, GIVEN))
        nbformat.writes(found.notebook).encode("utf-8")
        assert all(note.isprintable() for note in found.notes), found.notes
    assert 20 < refused < 480, "both kinds of end are tried"


def test_metadata_that_a_tool_took_away_is_found_again_by_the_cells_ids(tmp_path):
    made = small.notebook(small.ANSWERS)
    for cell in made.cells:
        cell.metadata = {}
    (tmp_path / f"{small.NAME}.ipynb").write_text(nbformat.writes(made))
    found = preflight.inspect_submission(tmp_path, RELEASE, small.NAME)
    assert found.refused is None
    kept = {cell.id: cell.source for cell in found.notebook.cells}
    assert kept["softmax"] == small.ANSWERS["softmax"]


def test_a_module_that_is_watched_is_noticed():
    cell = nbformat.v4.new_code_cell("from vlmcourse.parts.attention import attend")
    assert uses(cell, ("vlmcourse.parts",)) == "vlmcourse.parts.attention.attend"
    assert (
        uses(nbformat.v4.new_code_cell("import vlmcourse.partsother"), ("vlmcourse.parts",)) is None
    )
