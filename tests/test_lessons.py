"""Lessons: masters and notebooks agree, kept outputs are light and described, and the machinery around them works."""

import re

import nbformat
import pytest

from vlmcourse import lessons

MASTERS, NOTEBOOKS = lessons.masters(), lessons.notebooks()


def outputs(path):
    return [
        (cell, output)
        for cell in lessons.read(path).cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]


def test_there_are_lessons():
    assert [path.stem for path in MASTERS] == [path.stem for path in NOTEBOOKS] and len(
        MASTERS
    ) >= 2


@pytest.mark.parametrize("master", MASTERS, ids=lambda path: path.stem)
class TestLesson:
    def test_master_and_notebook_have_the_same_cells(self, master):
        assert lessons.is_up_to_date(master), f"run: vlmcourse build {master.stem[:2]}"

    def test_it_was_executed_whole_and_is_light(self, master):
        path = lessons.notebook_of(master)
        assert path.stat().st_size < 1_000_000
        cells = [
            cell
            for cell in lessons.read(path).cells
            if cell.cell_type == "code" and cell.source.strip()
        ]
        assert all(cell.execution_count for cell in cells)
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))

    def test_nothing_failed_or_warned(self, master):
        for cell, output in outputs(lessons.notebook_of(master)):
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", (cell.source, output.text)

    def test_every_picture_is_described_and_none_is_remote(self, master):
        shown = 0
        for cell, output in outputs(lessons.notebook_of(master)):
            if "image/png" in output.get("data", {}):
                shown += 1
                assert len(output.metadata["image/png"]["alt"]) > 20, cell.source
        assert shown >= 5
        text = master.read_text()
        assert not re.search(r"!\[|<img", text)


def test_a_changed_master_is_noticed(tmp_path):
    folder = tmp_path / "notebooks" / "masters"
    folder.mkdir(parents=True)
    master = folder / "09_toy.py"
    master.write_text("# %% [markdown]\n# # Toy\n\n# %%\nprint(1 + 1)\n")
    assert not lessons.is_up_to_date(master)  # no notebook yet
    lessons.keep(lessons.from_master(master), lessons.notebook_of(master))
    assert lessons.is_up_to_date(master)
    assert lessons.from_master(master).cells[1].id == lessons.from_master(master).cells[1].id
    master.write_text(master.read_text().replace("1 + 1", "1 + 2"))
    assert not lessons.is_up_to_date(master)


def test_execution_tells_each_cell_and_keeps_what_ran_before_a_failure(tmp_path):
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# Toy"),
            nbformat.v4.new_code_cell("print('first')"),
            nbformat.v4.new_code_cell("1 / 0"),
        ]
    )
    told = []
    with pytest.raises(
        lessons.LessonFailed,
        match=r"cell 3 of 3 \(1 / 0\) failed: ZeroDivisionError: division by zero",
    ):
        lessons.execute(
            notebook,
            tmp_path,
            lambda *event: told.append(event[:3]),
            on_failure=tmp_path / "failed.ipynb",
        )
    assert told == [(2, 3, "print('first')")]
    assert lessons.read(tmp_path / "failed.ipynb").cells[1].outputs[0].text == "first\n"
    assert "first" in lessons.site().notebook_page(tmp_path / "failed.ipynb").read_text()


@pytest.mark.slow
def test_a_dead_kernel_is_told_with_its_cell_and_what_ran_is_kept(tmp_path):
    cells = ["print('first')", "import os; os._exit(1)"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    expected = r"cell 2 of 2 \(import os.*\) ended with its Python process\. .*memory"
    with pytest.raises(lessons.LessonFailed, match=expected):
        lessons.execute(notebook, tmp_path, lambda *event: None, tmp_path / "failed.ipynb")
    assert lessons.read(tmp_path / "failed.ipynb").cells[0].outputs[0].text == "first\n"


def test_an_interrupted_lesson_says_where(tmp_path, monkeypatch):
    from nbclient import NotebookClient

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(NotebookClient, "execute_cell", interrupt)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")])
    with pytest.raises(lessons.LessonFailed, match=r"cell 1 of 1 \(1 \+ 1\) was interrupted"):
        lessons.execute(notebook, tmp_path, lambda *event: None)


def test_lessons_are_found_by_number_or_name():
    (two,) = (path for path in NOTEBOOKS if path.stem.startswith("02_"))
    assert lessons.find("2") == lessons.find("02") == lessons.find("CLIP_TWO") == two
    with pytest.raises(
        ValueError,
        match=f"no lesson 'nothing'; there are {', '.join(path.stem for path in NOTEBOOKS)}",
    ):
        lessons.find("nothing")


class TestInstall:
    """The hidden cell that installs the course where it is missing."""

    @pytest.fixture
    def run(self, tmp_path, monkeypatch):
        from IPython.core.interactiveshell import InteractiveShell

        monkeypatch.chdir(tmp_path)
        shell, asked = InteractiveShell(), []
        shell.register_magic_function(asked.append, magic_name="pip")

        def ran():
            result = shell.run_cell(lessons.INSTALL, silent=True)
            return result.error_in_exec, asked

        return ran

    def test_it_does_nothing_where_the_course_is(self, run):
        assert run() == (None, [])

    def test_it_takes_the_wheel_beside_the_notebook(self, run, tmp_path, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert "beside this notebook" in str(run()[0])
        (tmp_path / "vlmcourse-9.9-py3-none-any.whl").touch()
        assert run() == (None, ["install --quiet vlmcourse-9.9-py3-none-any.whl"])

    @pytest.mark.parametrize("master", MASTERS, ids=lambda path: path.stem)
    def test_every_lesson_has_it_first_and_hidden(self, master):
        first = next(one for one in lessons.from_master(master).cells if one.cell_type == "code")
        assert first.source == lessons.INSTALL
        assert first.metadata["jupyter"] == {"source_hidden": True}
