"""The mutation tool: what it changes, what it spares, which tests it asks."""

import random

import pytest

pytest.importorskip("cosmic_ray", reason="mutation tests need cosmic-ray: pip install -e .[dev]")

import mutants
import mutation_sampling
from mutation_operators import OPERATORS

SOURCE = """class Config:
    depth: int = 2


def scale(x: int | None, rate: float = 3.0, *, same=None):
    if x is None or x < 0:
        raise ValueError(f"{x} is less than {0 + 1}")
    return x.detach() * rate
"""


def changes(source=SOURCE):
    return [
        (mutant, mutation_sampling.mutated(mutant, source))
        for mutant in mutation_sampling.candidates("scale.py", source)
    ]


@pytest.mark.parametrize("name", OPERATORS)
def test_our_operators_do_what_their_examples_say(name):
    from cosmic_ray.mutating import mutate_code

    for example in OPERATORS[name].examples():
        assert (
            mutate_code(example.pre_mutation_code, OPERATORS[name], example.occurrence)
            == example.post_mutation_code
        )


def test_types_sizes_and_texts_of_errors_are_spared_and_the_rest_is_changed():
    lines = {mutant.line for mutant, text in changes() if text}
    assert lines == {5, 6, 8}
    assert all(
        "int | None" in text and "depth: int = 2" in text and "{0 + 1}" in text
        for _, text in changes()
        if text
    )
    texts = " ".join(text for _, text in changes() if text)
    for change in (
        "x is not None or",
        "x is None and x < 0",
        "x <= 0",
        "x.detach() / rate",
        "return x * rate",
    ):
        assert change in texts, change


def test_a_sample_is_decided_by_its_seed_and_has_one_mutant_a_line(tmp_path):
    (tmp_path / "scale.py").write_text(SOURCE)
    random.seed(1)
    first = mutation_sampling.sample(tmp_path, ["scale.py"], 3, seed=5)
    assert first == mutation_sampling.sample(tmp_path, ["scale.py"], 3, seed=5)
    assert len({mutant.line for mutant, _ in first}) == len(first) == 3
    assert all(mutant.before != mutant.after for mutant, _ in first)


def test_a_module_is_asked_by_the_tests_that_carry_its_name_and_then_by_those_that_import_it():
    named, importing = mutants.tests_of("vlmcourse/parts/attention.py")
    assert named == ["tests/test_attention.py"]
    assert "tests/test_blip.py" not in named and importing and not set(named) & set(importing)


@pytest.mark.slow
def test_killed_and_living_mutants_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    (tmp_path / "tests").mkdir()
    (tmp_path / "scale.py").write_text(
        "def twice(x):\n    return 2 * x\n\n\ndef thrice(x):\n    return 3 * x\n"
    )
    (tmp_path / "tests" / "test_scale.py").write_text(
        "from scale import twice\n\n\ndef test_twice():\n    assert twice(3) == 6\n"
    )
    copy = mutants.Copy(tmp_path / "build" / "0")
    outcomes = {}
    for mutant, text in mutation_sampling.sample(tmp_path, ["scale.py"], 2, seed=0):
        outcomes[mutant.line] = copy.killed_by(mutant, text, timeout=600)
    assert outcomes == {2: "tests/test_scale.py::test_twice", 6: ""}
    assert copy.passes("tests/test_scale.py::test_twice")
    assert (copy.folder / "scale.py").read_text() == (tmp_path / "scale.py").read_text()
