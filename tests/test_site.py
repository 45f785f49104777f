"""The site: whole, offline, readable by everybody; and the checks that say so find what is wrong."""

import json
import re
import shutil

import nbformat
import pytest

from docs.site import build, check
from docs.site.maths import mathml
from docs.site.pages import markdown, notebook, page, slug
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
        "Attention masks as one comparison"
        in (site / "reference" / "vlmcourse.parts.masks.html").read_text()
    )
    assert "<math" in (site / "notebooks" / "01_attention_and_masks.html").read_text()


def test_pages_run_no_script_and_load_nothing(site):
    for path in site.rglob("*.html"):
        text = re.sub(r'src="data:[^"]*"', "", path.read_text())
        assert "<script" not in text and "cdn" not in text.lower(), path
        assert '<meta name="viewport"' in text and '<html lang="en">' in text


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        return sum(
            weight * (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4)
            for weight, part in zip((0.2126, 0.7152, 0.0722), parts)
        )

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_all_text_has_contrast_in_light_and_dark(site):
    css = (site / "style.css").read_text()
    named = re.findall(r"--([\w-]+): (#[0-9a-f]{6})", css, re.I)
    for colours in (dict(reversed(named)), dict(named)):  # what is said first is light, last dark
        for ground in ("page", "soft"):
            for name in ("text", "link", "quiet", "word", "text-in", "note", "number", "name"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (
                    name,
                    ground,
                    colours[name],
                )


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
    ],
)
def test_the_check_finds_each_fault(tmp_path, body, fault):
    (tmp_path / "page.html").write_text(
        f'<html lang="en"><head><title>t</title></head><body>{body}</body></html>'
    )
    assert any(fault in one for one in check(tmp_path))


def test_formulas_are_mathml_and_an_unknown_command_is_named():
    made = mathml(r"\text{softmax}\!\left(\frac{QK^\top}{\sqrt{d}}\right) V_i^2", block=True)
    assert (
        "<mfrac>" in made
        and "<msqrt>" in made
        and "<msubsup>" in made
        and 'display="block"' in made
    )
    assert '<mstyle style="font-weight: bold"><mi>z</mi></mstyle>' in mathml(
        r"\mathbf{z}_0"
    ).replace("<mrow>", "").replace("</mrow>", "")
    with pytest.raises(ValueError, match=r"\\wizardry"):
        mathml(r"\wizardry{x}")
    with pytest.raises(ValueError, match="ends too early"):
        mathml(r"\frac{a}")
    text = markdown("# A $x$\n\nprice `$5` and $y$\n\n| a | |\n|---|---|\n| 1 | 2 |\n")
    assert (
        page("t", text + markdown("| c | d |\n|---|---|\n| 1 | 2 |\n"), "", "").count(
            'aria-label="table 2"'
        )
        == 1
    )
    assert (
        text.count("<math") == 2
        and "$5" in text
        and 'role="region"' in text
        and "<th></th>" not in text
    )


def test_headings_have_anchors_of_their_own():
    assert slug("How fast, how right") == "how-fast-how-right"
    assert re.findall(r'id="([^"]+)"', markdown("# A\n\n## B\n\n## B\n")) == ["a", "b", "b-1"]


def test_a_figure_without_a_description_is_refused(tmp_path):
    output = nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo="})
    path = tmp_path / "one.ipynb"
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[output])]), path
    )
    with pytest.raises(ValueError, match="one.ipynb, cell 1: a figure without a text description"):
        notebook(path, str)


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
    for name in ("README.md", "SYLLABUS.md", "docs/INSTRUCTORS.md"):
        (root / name).write_text("# T\n\n[x](missing.md)\n")
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
