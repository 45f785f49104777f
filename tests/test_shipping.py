"""vlmcourse train --all --ship: every stage from nothing, each behind those it is built on, loaded again by one call."""

import pytest
from typer.testing import CliRunner

from vlmcourse import cli, recipes
from vlmcourse.recipes import shipping
from vlmcourse.training import stages


def test_every_shipped_stage_stands_behind_those_it_is_built_on():
    listed = shipping.shipped_names()
    assert {file.stem for file in stages.SHIPPED.glob("*.safetensors")} - {"smollm2_encoder"} == {
        *listed
    }
    assert len(set(listed)) == len(listed) >= 12
    for name in listed:
        before = listed[: listed.index(name)]
        assert set(shipping.built_on(name)) <= {*before}, name
    assert {"clip", "blip2_stage1", "language"} <= set(shipping.built_on("blip2"))
    assert shipping.built_on("clip") == []


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A package that ships BLIP-2 and what it is built on, by name only: its files are empty."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    for name in ("blip2", "clip"):  # the others are found
        (folder / f"{name}.safetensors").touch()
    monkeypatch.setattr(stages, "SHIPPED", folder)
    monkeypatch.setenv("VLMCOURSE_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("VLMCOURSE_SCALE", "smoke")
    return folder


@pytest.mark.slow
def test_all_are_trained_from_nothing_and_found_again(empty, tmp_path, monkeypatch):
    run = CliRunner().invoke(cli.app, ["train", "--all", "--ship", "--scale", "smoke"])
    assert run.exit_code == 0, run.output
    lines = [line.split()[0] for line in run.stdout.splitlines() if " minutes" in line]
    assert lines == ["clip", "blip2_stage1", "language", "blip2", "together"]
    monkeypatch.setenv("VLMCOURSE_CACHE", str(tmp_path / "another"))
    for name in lines[:-1]:
        found = recipes.get(name).train_or_load("smoke")
        assert found.loaded and found.path == empty / f"{name}.safetensors", name


@pytest.mark.parametrize("arguments", [["--all"], ["--all", "--ship", "clip"], ["--ship"], []])
def test_one_paper_or_all_of_them_with_ship(arguments, empty):
    run = CliRunner().invoke(cli.app, ["train", *arguments])
    assert isinstance(run.exception, ValueError) and "--all with --ship" in str(run.exception)
    assert not any(file.stat().st_size for file in empty.iterdir())
