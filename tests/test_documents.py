"""The documents agree with the code: tables and trees are made from it, links lead somewhere, terms are defined."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

import vlmcourse

ROOT = Path(__file__).parents[1]
specification = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
generate = importlib.util.module_from_spec(specification)
specification.loader.exec_module(generate)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_what_is_made_from_the_code_is_up_to_date():
    assert generate.stale() == [], "run: make docs"


def test_a_new_lesson_and_a_new_package_are_noticed(tmp_path):
    masters, package = tmp_path / "notebooks" / "masters", tmp_path / "vlmcourse" / "parts"
    for folder in (masters, package):
        folder.mkdir(parents=True)
    (masters / "11_llava.py").write_text(
        "# %% [markdown]\n# # 11 · LLaVA\n# | Time | about 40 minutes to work |\n"
    )
    (package / "__init__.py").write_text('"""What papers are made of.\n\nMore."""\n')
    assert "| 11 | [LLaVA](notebooks/11_llava.ipynb) | 40 minutes |" in generate.lesson_table(
        tmp_path
    )
    assert generate.package_tree(tmp_path) == "```\nvlmcourse/parts/  What papers are made of\n```"
    (masters / "12_next.py").write_text("# %% [markdown]\n# # Next\n")
    with pytest.raises(ValueError, match="12_next.py: expected '# # 12 · TITLE'"):
        generate.lesson_table(tmp_path)


def test_the_readme_is_one_page_with_every_assignment_and_both_commands():
    text = read("README.md")
    assert len(text.splitlines()) <= 150
    assert all(command in text for command in ("make lab", "make test", "py -m vlmcourse lab"))
    for folder in ROOT.glob("assignments/A*"):
        assert f"(assignments/{folder.name}/student/{folder.name}.ipynb)" in text
    assert len(re.findall(r"^!\[", text, re.M)) == 2  # one of them moves


@pytest.mark.parametrize(
    "path", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda path: path.name
)
def test_links_between_documents_lead_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
    for address in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        assert "://" in address or (path.parent / address).exists(), address


def test_each_term_of_the_glossary_is_defined_once():
    rows = [row for row in read("docs/GLOSSARY.md").splitlines() if row.startswith("| ")]
    entries = [[cell.strip() for cell in row.strip()[1:-1].split("|")] for row in rows]
    terms = [entry[0] for entry in entries if entry[0] != "term"]
    assert len(terms) == len(set(terms)) > 60
    assert all(len(entry) == 4 and entry[2] for entry in entries), [
        entry for entry in entries if len(entry) != 4
    ]


def test_changelog_citation_and_package_name_the_same_newest_version():
    versions = re.findall(
        r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", read("CHANGELOG.md"), re.M
    )
    assert versions == sorted(versions, key=lambda entry: entry[1], reverse=True)
    citation = yaml.safe_load(read("CITATION.cff"))
    newest = (vlmcourse.__version__, str(citation["date-released"]))
    assert versions[0] == newest and citation["version"] == vlmcourse.__version__
