"""The lecture's directions: each finds its numbers in the results, verdicts follow the rule, what doesn't agree has a reason."""

import json

import pytest

from vlmcourse.evaluation import directions as module
from vlmcourse.evaluation.directions import Comparison, as_markdown, count, directions, seeds_of


@pytest.fixture(scope="module")
def found():
    return directions()


def test_all_directions_of_the_lecture_are_listed_once(found):
    assert [one.number for one in found] == list(range(1, 68))
    assert len({one.claim for one in found}) == len(found)
    assert sum(count(found).values()) == len(found)


def test_each_direction_names_what_the_paper_says_and_is_measured_with_three_seeds(found):
    for one in found:
        assert one.published, one.claim
        for compared in one.compared:
            assert len(compared.first.values) >= 3, (one.claim, compared)
            assert all(compared.measures) and len(set(compared.measures)) == 3, one.claim


def test_what_does_not_agree_has_a_reason(found):
    without = [one.claim for one in found if one.verdict != "agrees" and not one.reason]
    assert without == []


def test_a_page_lists_every_direction_and_once_more_what_speaks_against_us(found):
    page = as_markdown(found)
    against = page.split("## What speaks against us")[1]
    for one in found:
        assert f"| {one.number} | {one.claim} |" in page
        assert (one.claim in against) == (one.verdict == "disagrees")


@pytest.fixture
def results(tmp_path, monkeypatch):
    folder = tmp_path / "benchmarks" / "results"
    folder.mkdir(parents=True)
    rows = [
        {"row": name, "seed": seed, "score": {"a": value + seed / 100, "b": value}}
        for name, value in (("good", 0.9), ("bad", 0.2))
        for seed in range(3)
    ]
    (folder / "made.json").write_text(json.dumps({"rows": rows, "other": rows[:2]}))
    (folder / "single.json").write_text(json.dumps({"rows": [{"x": {"values": [0.1, 0.3]}}]}))
    monkeypatch.chdir(tmp_path)


def leaf(row: str, key="a") -> dict:
    return {"file": "made", "where": {"row": row}, "path": ["score", key]}


def test_measurements_are_found_by_seed(results):
    assert seeds_of(leaf("good")) == pytest.approx({0: 0.9, 1: 0.91, 2: 0.92})
    assert seeds_of(leaf("good", ["a", "b"])) == pytest.approx({0: 0.9, 1: 0.905, 2: 0.91})
    assert seeds_of(leaf("good") | {"part": "other"}).keys() == {0, 1}
    assert seeds_of({"file": "single", "values": ["x", "values"]}) == {0: 0.1, 1: 0.3}
    difference = seeds_of({"minus": [leaf("good"), leaf("bad")]})
    assert difference == pytest.approx({0: 0.7, 1: 0.7, 2: 0.7})
    ratio = seeds_of({"over": [leaf("bad", "b"), leaf("good", "b")]})
    assert ratio == pytest.approx({seed: 2 / 9 for seed in range(3)})
    with pytest.raises(ValueError, match="no row with {'row': 'none'} in made"):
        seeds_of(leaf("none"))
    with pytest.raises(ValueError, match="no measurement 'c'"):
        seeds_of(leaf("good", "c"))


def compared(higher, lower) -> dict:
    return {"higher": higher, "lower": lower, "measures": ["x", "y", "z"]}


def listed(*pairs, **more) -> module.Direction:
    entry = {"number": 1, "paper": "P", "claim": "c", "published": ["1 (Table 1)"], **more}
    return module._direction({**entry, "compared": list(pairs)})


def test_a_direction_has_the_verdict_that_all_its_comparisons_have(results):
    right, wrong = compared(leaf("good"), leaf("bad")), compared(leaf("bad"), leaf("good"))
    equal = {"equal": [leaf("good"), leaf("good", "b")], "measures": ["x", "y", "z"]}
    assert listed(right).verdict == listed(right, right).verdict == "agrees"
    assert listed(wrong).verdict == "disagrees"
    assert listed(right, wrong).verdict == "within noise"
    assert listed(equal).verdict == "agrees"
    assert listed().verdict == "not measured"
    assert listed(compared(leaf("good"), 0.5)).verdict == "agrees"
    assert listed(right, control=wrong).verdict == "not measured"
    assert listed(right, control=right).verdict == "agrees"


def test_only_seeds_that_both_have_are_compared(results):
    few = leaf("good") | {"part": "other"}
    (one,) = listed(compared(few, leaf("bad"))).compared
    assert isinstance(one, Comparison) and len(one.first.values) == len(one.second.values) == 2
    assert str(one) == "x: y 0.905 ± 0.0071; z 0.205 ± 0.0071 (2 seeds)"
