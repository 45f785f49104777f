"""The site: whole, offline, readable by everybody; and the checks that say so find what is wrong."""

import json
import shutil

import nbformat
import pytest

from docs.site import build, check, notebook_page
from docs.site.extensions import as_written, mathml
from docs.site.stage import figures_as_html, modules
from vlmcourse import lessons

ROOT = lessons.repository()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    build(ROOT, out)
    return out


@pytest.mark.slow
def test_it_has_every_page_and_no_fault(site):
    assert check(site) == []
    for path in (*lessons.notebooks(), ROOT / "SYLLABUS.md", ROOT / "docs" / "INSTRUCTORS.md"):
        assert (site / path.relative_to(ROOT)).with_suffix(".html").is_file()
    assert (
        "Attention masks as one comparison" in (site / "reference/vlmcourse.parts.html").read_text()
    )
    lesson = (site / "notebooks" / "01_attention_and_masks.html").read_text()
    assert "<math" in lesson and "What the figure shows" in lesson
    assert "<summary>Solution</summary>" in lesson
    first = (site / "index.html").read_text()
    for caption in ("Lessons", "Assignments", "For instructors", "Look it up", "API reference"):
        assert f'class="caption-text">{caption}<' in first
    assert 'href="notebooks/01_attention_and_masks.html"' in first
    assert (site / "searchindex.js").is_file()
    for path in (ROOT / "docs" / "discussion").glob("*.md"):
        assert (site / path.relative_to(ROOT)).with_suffix(".html").is_file()


@pytest.mark.parametrize(
    "body, fault",
    [
        ('<img src="a.png">', "without alternative text"),
        ('<a href="nowhere.html">x</a>', "leads nowhere"),
        ('<a href="#gone">x</a>', "no place #gone"),
        ("<h1>a</h1><h3>b</h3>", "level 3 after one of level 1"),
        ('<script src="https://x.org/a.js"></script>', "from elsewhere"),
        ("<h1>a</h1><h1>b</h1>", "2 headings"),
        ('<p id="a"></p><p id="a"></p>', "two elements"),
        ('<p style="background: url(https://x.org/a)">', "loads something"),
        ("<input>", "without a label"),
        ("<p>| a | b |\n|---|---:|\n| 1 | 2 |</p>", "a table that isn't drawn"),
    ],
)
def test_the_check_finds_each_fault(tmp_path, body, fault):
    (tmp_path / "page.html").write_text(
        f'<html lang="en"><head><title>t</title></head><body>{body}</body></html>'
    )
    assert any(fault in one for one in check(tmp_path))


def test_formulas_are_mathml_and_an_unknown_command_is_named():
    made = mathml(r"\text{softmax of}\!\left(\frac{QK^\top}{\sqrt[3]{d}}\right) V_i^2", block=True)
    for part in ("<mfrac>", "<mroot>", "<msubsup>", 'display="block"', "softmax"):
        assert part in made, part
    assert "ℝ" in mathml(r"\mathbb{R}") or "&#x0211D;" in mathml(r"\mathbb{R}")
    with pytest.raises(ValueError, match=r"\\wizardry"):
        mathml(r"\wizardry{x}")


def test_docstrings_keep_their_lines():
    lines = ["A *rule* on `x_y`", "of B_ | C.", "", "name    for figures"]
    as_written(None, None, None, None, None, lines)
    assert lines[0] == r"A \*rule\* on ``x_y`` of B\_ \| C."
    assert lines[-2:] == ["   name    for figures", ""]


def test_each_module_is_on_the_page_of_its_part():
    found = modules(ROOT / "vlmcourse")
    assert "vlmcourse.parts.masks" in found["vlmcourse.parts"]
    assert "vlmcourse.cli" in found["vlmcourse"]
    assert "vlmcourse.widgets.explorers.masks" in found["vlmcourse.widgets"]


def one_figure(**metadata):
    output = nbformat.v4.new_output(
        "display_data", data={"image/png": "iVBORw0KGgo="}, metadata=metadata
    )
    cells = [
        nbformat.v4.new_markdown_cell("# T\n\nprice `$5` and $\\frac{x}{y}$"),
        nbformat.v4.new_code_cell("1", outputs=[output]),
    ]
    return nbformat.v4.new_notebook(cells=cells)


def test_a_figure_without_a_description_is_refused():
    with pytest.raises(ValueError, match="one.ipynb, cell 2: a figure without a text description"):
        figures_as_html(one_figure(), "one.ipynb")


def test_a_single_page_loads_nothing_and_describes_its_figures(tmp_path):
    path = tmp_path / "one.ipynb"
    nbformat.write(one_figure(**{"image/png": {"alt": "A <dot>"}}), path)
    text = notebook_page(path).read_text()
    assert 'alt="A &lt;dot&gt;"' in text and "<mfrac>" in text and "<code>$5</code>" in text
    assert [fault for fault in check(tmp_path) if "elsewhere" in fault or "text" in fault] == []


def test_every_figure_of_every_executed_notebook_says_what_it_shows():
    silent = [
        f"{path.name}, cell {number + 1}"
        for path in sorted(
            [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "assignments").rglob("*.ipynb")]
        )
        for number, cell in enumerate(lessons.read(path).cells)
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
        and len(output.metadata.get("image/png", {}).get("alt", "")) < 20
    ]
    assert not silent, "figures without a text description: " + "; ".join(silent)


def test_a_wrong_link_stops_the_build_and_a_folder_with_other_files_is_kept(tmp_path):
    root, out = tmp_path / "course", tmp_path / "out"
    (root / "docs").mkdir(parents=True)
    (root / "vlmcourse").mkdir()
    (root / "README.md").write_text("# T\n\n[x](missing.md)\n")
    with pytest.raises(ValueError, match="missing.md leads to no file"):
        build(root, out)
    shutil.rmtree(out)
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="would be lost"):
        build(root, out)
    assert (out / "thesis.txt").exists()


@pytest.mark.parametrize("master", lessons.companions(), ids=lambda path: path.stem)
def test_companions_are_built_and_light(master):
    assert lessons.is_up_to_date(master), f"run: vlmcourse build {master.stem}"
    path = lessons.notebook_of(master)
    assert path.stat().st_size < 1_000_000
    assert not [
        output
        for cell in json.loads(path.read_text())["cells"]
        for output in cell.get("outputs", [])
        if output["output_type"] == "error"
    ]
