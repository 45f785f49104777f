"""The project starter: what it writes trains, tests itself, and opens; nothing is overwritten."""

import ast
import importlib.util
import json
import runpy
import sys

import nbformat
import pytest
from typer.testing import CliRunner

from teaching.connectors import frozen_parts
from vlmcourse.cli import app
from vlmcourse.starter import TEMPLATES, start
from vlmcourse.training.scale import Scale


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A new project, as who stands in its folder sees it: `import train` finds its script."""
    folder = tmp_path_factory.mktemp("work") / "owls"
    start(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.chdir(folder)
        patch.delitem(sys.modules, "train", raising=False)
        yield folder
    sys.modules.pop("train", None)


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_it_writes_files_of_its_name_that_parse(project):
    assert {path.name for path in project.iterdir()} >= {*TEMPLATES, "explore.ipynb", ".gitignore"}
    for path in project.glob("*.py"):
        ast.parse(text := path.read_text())
        assert "PROJECT" not in text and "owls" in text
        assert all(len(line) <= 120 for line in text.splitlines())
    assert (project / "README.md").read_text().startswith("# owls")
    notebook = nbformat.read(project / "explore.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[0].source.startswith("# owls") and len(notebook.cells) >= 6


def test_its_script_trains_and_goes_on(project, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["train.py", "--scale", "smoke", "--out", "runs/first", "--steps", "4"]
    )
    runpy.run_path("train.py", run_name="__main__")
    report = json.loads((project / "runs" / "first" / "report.json").read_text())
    assert report["steps"] == 4 and report["seed"] == 0 and 0 < report["last loss"] < 20
    said = capsys.readouterr().out
    assert json.loads(said[said.index("{") :]) == report and "step 4 of 4" in said


def test_its_tests_pass_and_can_fail(project, tmp_path, monkeypatch):
    tests, parts = module(project / "test_project.py"), frozen_parts(Scale.of("smoke"))
    tests.test_pictures_reach_the_words_and_frozen_parts_stay(parts)
    tests.test_text_alone_reads_as_ever(parts)
    tests.test_a_run_is_kept_and_reported_beside_its_controls(tmp_path)
    tests.test_the_same_seed_gives_the_same_model(parts)
    right = tests.train.Bridge.vision_context
    blind = lambda model, pixel_values: right(model, pixel_values * 0)  # noqa: E731
    monkeypatch.setattr(tests.train.Bridge, "vision_context", blind)
    with pytest.raises(AssertionError):
        tests.test_pictures_reach_the_words_and_frozen_parts_stay(parts)


def test_its_notebook_runs(project, capsys):
    import train

    train.train(project / "runs" / "first", "smoke", steps=4)
    runpy.run_path("explore.py")
    assert "with a blank image:" in capsys.readouterr().out


def test_nothing_is_overwritten_and_names_are_names(project, tmp_path):
    with pytest.raises(ValueError, match="not empty"):
        start(project)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="not empty"):
        start(tmp_path / "file")
    for name in ("123", 'an "owl"', "a\nb", "back\\slash"):
        with pytest.raises(ValueError, match="no name for a project"):
            start(tmp_path / "new", name)
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    assert (
        start(tmp_path / "empty", "Mice of the north")[0]
        .read_text()
        .startswith("# Mice of the north")
    )


def test_the_command_says_how_to_begin(tmp_path):
    done = CliRunner().invoke(app, ["start", str(tmp_path / "cats")])
    assert done.exit_code == 0, done.output
    assert "train.py --scale smoke" in done.output
    assert (tmp_path / "cats" / "train.py").exists()
    again = CliRunner().invoke(app, ["start", str(tmp_path / "cats")])
    assert isinstance(again.exception, ValueError) and "not empty" in str(again.exception)
