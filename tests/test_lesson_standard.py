"""What every lesson of the second edition has: parsed from its master and from its executed notebook."""

import re
import tomllib
from pathlib import Path

import pytest
from exercise_answers import CHECK, SOLUTION, exercises_of

import teaching
from vlmcourse import lessons

MASTERS = lessons.masters()
HEADINGS = ("## The whole first", "## Discussion", "## Limits", "## Reading", "## Key ideas")
CARD = "| Objective | Difficulty | Importance | Minutes |"
BANNED = r"foret[eo]l|by lot\b|coin's throw|looks? aside|spoilt|shown grey|told apart|\btwins?\b|may look|lends? "
PICTURE = re.compile(r"data:image/svg\+xml")


def of(master):
    return lessons.from_master(master).cells


def prose(master):
    """The lesson's text: no tables, code, folds' summaries, formulas or links' addresses."""
    text = "\n\n".join(cell.source for cell in of(master) if cell.cell_type == "markdown")
    text = re.sub(r"```.*?```|\$\$.*?\$\$", " ", text, flags=re.S)
    text = re.sub(r"<summary>.*?</summary>|<[^>]+>|\]\([^)]*\)|\$[^$]*\$|`[^`]*`", " x ", text)
    lines = [re.sub(r"^[-*>\s]+|^\d+\. ", "", line) for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith(("|", "#"))]


def questions(kind, ids):
    """The entries of quizzes or failure labs."""
    folder = Path(teaching.__file__).parent
    for id in ids:
        module, _, name = id.partition(".")
        yield tomllib.loads((folder / f"{module}.toml").read_text())[kind][name]


@pytest.mark.parametrize("master", MASTERS, ids=lambda path: path.stem)
class TestStandard:
    def test_head_and_end(self, master):
        first, text = of(master)[0].source, master.read_text()
        assert first.startswith(f"# {master.stem[:2]} · ")
        assert "After this lesson you can" in first
        assert 3 <= len(re.findall(r"^- ", first, re.M)) <= 5
        for row in ("| Prerequisites |", "| Time |", "| Papers |"):
            assert row in first, row
        for heading in HEADINGS + ("## Glossary", "## Next"):
            assert f"\n# {heading}" in text, heading
        if master.stem[:2] not in ("00", "01"):  # the lecture prints no tables of theirs
            assert "\n# ## The paper beside ours" in text

    def test_time_to_work_through_is_at_least_that_of_the_exercises(self, master):
        row = re.search(r"^\| Time \|.*", of(master)[0].source, re.M)[0]
        told = int(re.search(r"(\d+) minutes to work through", row)[1])
        text = "\n".join(cell.source for cell in of(master))
        cards = re.findall(r"^\| [^|]+ \| [●○]+ \| [●○]+ \| (\d+) \|$", text, re.M)
        assert len(cards) == len(exercises_of(master))
        assert sum(map(int, cards)) <= told

    def test_exercises_are_many_interleaved_and_complete(self, master):
        cells = of(master)
        heads = [i for i, c in enumerate(cells) if re.match(r"### Exercise \d+ · ", c.source)]
        assert [int(re.search(r"\d+", cells[i].source)[0]) for i in heads] == list(
            range(1, len(heads) + 1)
        )
        assert 8 <= len(heads) <= 12 and heads[0] < len(cells) / 5
        assert len(exercises_of(master)) == len(heads)
        for i in heads:
            assert CARD in cells[i].source and "●" in cells[i].source
            code, folds = cells[i + 1].source, cells[i + 2].source
            assert cells[i + 1].cell_type == "code" and CHECK.search(code), code
            assert 'raise NotImplementedError("your code here")' in code and '"""' in code
            assert re.search(r"^(\w+) = check\(", code, re.M), (
                "the answer is used: name = check(...)"
            )
            for fold in ("Hint 1", "Hint 2", "If you see", "Solution"):
                assert f"<summary>{fold}" in folds, (code, fold)

    def test_solutions_are_short_and_stand_only_in_their_fold(self, master):
        lengths, folded = [], []
        for cell in of(master):
            for code in SOLUTION.findall(cell.source) if cell.cell_type == "markdown" else ():
                lengths.append(len([line for line in code.splitlines() if line.strip()]))
                folded.append(code)
        assert all(3 <= length <= 20 for length in lengths), lengths
        assert 60 <= sum(lengths) <= 170, sum(lengths)
        for name in re.findall(r"def (\w+)|class (\w+)", master.read_text()):
            assert not name[0].endswith("_by_hand")

    def test_quizzes_failure_lab_and_discussion(self, master):
        text = master.read_text()
        quizzes = re.findall(r'quiz\(\s*"([\w.]+)"', text)
        assert len(quizzes) >= 4
        for entry in questions("quizzes", quizzes):
            for explanation in entry.get("options", {}).values():
                assert explanation[:60] not in text
        labs = re.findall(r'diagnose\(\s*"([\w.]+)"', text)
        assert labs or master.stem.startswith("00")
        for entry in questions("failures", labs):
            assert entry["explanation"][:40] not in text
        end = text[text.index("\n# ## Discussion") :]
        assert end[: end.index("\n# ## Limits")].count("<details>") >= 3

    def test_cells_are_short_and_outputs_are_compared_by_tag(self, master):
        for cell in of(master):
            if cell.cell_type == "code" and "hide-input" not in cell.metadata.get("tags", ()):
                lines = cell.source.splitlines()
                assert len(lines) <= 25, cell.source
                assert max(map(len, lines), default=0) <= 100, cell.source
            assert "NBVAL_CHECK_OUTPUT" not in cell.source

    def test_plain_english(self, master):
        text = prose(master)
        assert not (found := re.findall(BANNED, " ".join(text))), found
        sentences = [s for line in text for s in re.split(r"(?<=[.!?:])\s+", line) if " " in s]
        assert sum(len(s.split()) for s in sentences) / len(sentences) <= 20

    def test_each_figure_has_a_number_and_a_caption(self, master):
        captions, pictures, diagrams = [], 0, 0
        for cell in lessons.read(lessons.notebook_of(master)).cells:
            for output in cell.get("outputs", []):
                data = output.get("data", {})
                html = "".join(data.get("text/html", ""))
                captions += re.findall(r"<p><b>Figure (\d+)\.", html)
                diagrams += bool(PICTURE.search(html))
                player = "application/vnd.jupyter.widget-view+json" in data
                pictures += "image/png" in data and not player
        assert captions == [str(number) for number in range(1, len(captions) + 1)]
        assert diagrams >= 1 and len(captions) >= max(4, diagrams)
        assert len(captions) >= pictures + diagrams - 2  # players' pictures speak for themselves
