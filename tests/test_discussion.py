"""The discussion sheets: each has all its parts on one page, in plain English, and names what is there."""

import re
from pathlib import Path

import pytest

from vlmcourse.evaluation.published import published_tables
from vlmcourse.lessons import repository

ROOT = repository()
FOLDER = ROOT / "docs" / "discussion"
SHEETS = sorted(FOLDER.glob("[a-z]*.md"))
PAPERS = {  # beginning of a sheet's name: the papers of published.json whose numbers it may use
    "blip": {"BLIP"},
    "blip2": {"BLIP-2"},
    "clip": {"CLIP"},
    "flamingo": {"Flamingo"},
    "frozen": {"Frozen", "Flamingo"},
    "llava": {"LLaVA"},
    "tuning": {"Chinchilla", "Adapters", "Prompt tuning"},
    "vilbert": {"ViLBERT", "VL-BERT"},
}
BULLETS = ("Good answer", "Usual mistake", "Lead on")
BANNED = r"foret[eo]l|by lot\b|coin's throw|looks? aside|spoilt|shown grey|told apart|\btwins?\b|may look|lends? "
UNPUBLISHED = {  # numbers of papers' tables that published.json doesn't have
    "blip2": {45.9, 50.6, 1.1},  # Tables 2 and 3
    "clip": {30.3, 2.3, 16.3, 15.0, 21.5, 0.2},  # Table 7; Section 5
    "frozen": {29.5},  # Table 1
    "llava": {5.11, 1.08, 67.3, 66.7, 0.3},  # Table 5; differences in Table 8
    "tuning": {73.4, 4.7, 73.8, 74.0, 37.7, 0.5, 89.5, 91.7, 0.1},  # LoRA, Table 4
    "vilbert": {68.93, 29.5},  # Table 1; Frozen, Table 1
}
COMPUTED = {  # differences and ratios, from numbers beside them
    "blip": {1.9, 0.4},
    "frozen": {1.9, 6.0, 3.8, 3.9},
    "tuning": {2.75, 1.45, 1.4},  # 1,400 billion tokens
    "vilbert": {0.61, 1.62},
}


def paragraph(text: str, name: str) -> str:
    """The paragraph of a sheet that begins with a name in bold."""
    return re.search(rf"^\*\*{name}\.\*\* (.+)$", text, re.M)[1]


def plain(text: str) -> str:
    """A sheet as it is printed: no addresses of links, no marks of Markdown."""
    return re.sub(r"\]\([^)]*\)|^\|[-|]+\|$|[*#`|\[]", " ", text, flags=re.M)


def master(address: str) -> str:
    """The source of the notebook to which a sheet links."""
    return (ROOT / "notebooks" / "masters" / f"{Path(address).stem}.py").read_text()


def lesson(number: str) -> str:
    """The source of a lesson, by its two digits."""
    (path,) = (ROOT / "notebooks" / "masters").glob(f"{number}_*.py")
    return path.read_text()


def test_each_paper_has_two_sheets_and_the_index_has_them_all():
    beginnings = sorted("_".join(path.stem.split("_")[:2]) for path in SHEETS)
    assert beginnings == sorted(f"{paper}_{number}" for paper in PAPERS for number in (1, 2))
    rows = re.findall(
        r"^\| \[(.+)\]\((.+)\) \| (\d\d) \| (\d+) \|$", (FOLDER / "README.md").read_text(), re.M
    )
    assert sorted(row[1] for row in rows) == [path.name for path in SHEETS]
    for title, name, number, minutes in rows:
        first, head = (FOLDER / name).read_text().split("\n\n")[:2]
        assert first == f"# {title}"
        assert f"after [lesson {number}](../../notebooks/{number}_" in head
        assert head.endswith(f" · {minutes} minutes")


def test_instructors_and_students_find_the_sheets():
    assert "](discussion/README.md)" in (ROOT / "docs" / "INSTRUCTORS.md").read_text()
    assert "](docs/discussion/README.md)" in (ROOT / "SYLLABUS.md").read_text()


@pytest.mark.parametrize("path", SHEETS, ids=lambda path: path.stem)
class TestSheet:
    def test_parts(self, path):
        text = path.read_text()
        head = text.split("\n\n")[1]
        assert re.match(r"\[.+ arXiv \d{4}\.\d{5}\]\(https://arxiv\.org/abs/\d{4}\.\d{5}\)", head)
        for number, address in re.findall(
            r"arXiv ([\d.]+)\]\(https://arxiv\.org/abs/([\d.]+)\)", head
        ):
            assert number == address
        assert paragraph(text, "Aim").startswith("Students can ")
        assert re.search(r"Section|Table", paragraph(text, "Read before"))
        kinds = re.findall(r"^\*\*(\d) · ([\w ]+)\.\*\* .+[?.\"]$", text, re.M)
        assert [int(number) for number, _ in kinds] == list(range(1, len(kinds) + 1))
        assert 3 <= len(kinds) <= 5
        names = [kind for _, kind in kinds]
        assert names[:3] == ["Recall", "A number", "Take sides"]
        assert {"Risk", "Data"} & set(names)
        assert re.findall(r"^- \*([\w ]+):\*", text, re.M) == [*BULLETS] * len(kinds)
        number = text.split("A number.** ")[1].splitlines()[0]
        assert re.search(r"Tables? [A\d]", number) and re.search(r"\d\.\d|\d{3}", number)
        assert "It worked if" in text.split("## Exit question")[1]

    def test_the_timetable_adds_up(self, path):
        text = path.read_text()
        minutes, what = (
            re.search(rf"^\| {row} \| (.+) \|$", text, re.M)[1].split(" | ")
            for row in ("minutes", "what")
        )
        assert len(minutes) == len(what)
        minutes = [int(number) for number in minutes]
        assert sum(minutes) == int(re.search(r"· (\d+) minutes$", text, re.M)[1])
        assert 25 <= sum(minutes) <= 40
        questions = [one.split(",")[0] for one in what if one.startswith("question")]
        assert questions == [
            f"question {number}" for number in re.findall(r"^\*\*(\d) · ", text, re.M)
        ]
        assert what[-1] == "exit question"

    def test_one_page(self, path):
        words = re.findall(r"\S*\w\S*", plain(path.read_text()))
        assert 350 <= len(words) <= 500, len(words)

    def test_plain_english(self, path):
        text = path.read_text()
        assert not (found := re.findall(BANNED, text)), found
        lines = [line for line in text.splitlines()[3:] if line and not line.startswith(("|", "#"))]
        parts = [part for line in lines for part in re.split(r"(?<=[.!?:])[\"\s]+", plain(line))]
        sentences = [part for part in parts if len(part.split()) > 1]
        assert sum(len(part.split()) for part in sentences) / len(sentences) <= 20
        assert max(len(part.split()) for part in sentences) <= 40

    def test_links_figures_and_sections_are_there(self, path):
        text = path.read_text()
        for address in re.findall(r"\]\(([^)]+)\)", text):
            assert "://" in address or (path.parent / address).is_file(), address
        show = paragraph(text, "Show")
        (address,) = re.findall(r"\]\(([^)]+\.ipynb)\)", show)
        figures = re.findall(r"Figures? (\d+)(?: and (\d+))?|then Figure (\d+)", show)
        headings = re.findall(r'"([^"]+)"', show)
        assert figures or headings
        for number in filter(None, (one for several in figures for one in several)):
            assert f"Figure {number}. " in master(address), number
        for heading in headings:
            assert re.search(rf"^# ## (\d+\. )?{re.escape(heading)}$", master(address), re.M), (
                heading
            )
        number, read = re.search(r"Lesson (\d\d): (.+)", paragraph(text, "Read before")).groups()
        for section in re.findall(r"\d+", read):
            assert re.search(rf"^# ## {section}\. ", lesson(number), re.M), section

    def test_decimal_numbers_are_published(self, path):
        paper = path.stem.split("_")[0]
        known = UNPUBLISHED.get(paper, set()) | COMPUTED.get(paper, set())
        known |= {
            cell
            for table in published_tables().values()
            if table.paper in PAPERS[paper]
            for row in table.rows
            for cell in row
            if isinstance(cell, int | float)
        }
        body = re.sub(r"arXiv [\d.]+|abs/[\d.]+|Sections? [\d., and to]+", " ", path.read_text())
        decimals = {float(number) for number in re.findall(r"\d+\.\d+", body)}
        assert not (unknown := decimals - known), unknown
