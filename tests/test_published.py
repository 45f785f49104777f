"""The papers' numbers: tables are whole, cells are found by name, and spot checks hold what the papers print."""

import pytest

from vlmcourse.evaluation.published import published, published_tables


@pytest.mark.parametrize("table", published_tables().values(), ids=lambda table: table.name)
def test_rows_are_as_wide_as_the_columns_and_the_source_is_named(table):
    assert {len(cells) for cells in table.rows} == {len(table.columns)}
    assert len(set(table.columns)) == len(table.columns) and len(table.rows) >= 3
    assert table.source.startswith(("Table", "Sec.")) and len(table.arxiv) == 10
    lines = table.markdown().splitlines()
    assert len(lines) == len(table.rows) + 4 and f"arXiv {table.arxiv}" in lines[-1]


@pytest.mark.parametrize(
    "name, row, column, value",
    [
        ("frozen-table-2", "Frozen VQA-blind", "0 shots", 12.5),
        ("blip-table-1", "14M, ViT-B/16, C (B), -", "CIDEr COCO fine-tuned", 128.9),
        ("blip-table-2", "Nucleus", "noise ratio in %", 25),
        ("blip-table-3", "All except self", "million parameters", 252),
        ("blip2-table-1", "BLIP-2", "trainable parameters", "188M"),
        ("flamingo-table-1", "Flamingo (80B)", "shots", None),
        ("flamingo-table-3", "(iv) cross-attention, grafting", "OKVQA", 36.1),
        ("chinchilla-mmlu", "Chinchilla", "accuracy", 67.6),
        ("chinchilla-exponents", "Kaplan", "a", 0.73),
        ("chinchilla-models", "Gopher", "billion training tokens", 300),
        ("chinchilla-massivetext", "Wikipedia", "epochs in 1.4 trillion tokens", 3.4),
        ("prompt-tuning-facts", "parameters of a prompt", "value", 20480),
        ("clip-facts", "the same with", "value", 8.7),
    ],
)
def test_cells_are_found_by_name(name, row, column, value):
    if value is None:  # three rows of that model: which one is not said
        with pytest.raises(KeyError, match="3 rows of flamingo-table-1"):
            published(name).value(row, column)
    else:
        assert published(name).value(row, column) == value


def test_the_scores_of_pope_agree_with_each_other():
    """Half of the answers are yes, so recall and the share of yes give the other three."""
    for _, _, accuracy, precision, recall, f1, yes in published("pope-mscoco").rows:
        false = 2 * yes - recall  # share of absent nouns that are claimed
        assert accuracy == pytest.approx((recall + 100 - false) / 2, abs=0.03)
        assert precision == pytest.approx(100 * recall / (2 * yes), abs=0.03)
        assert f1 == pytest.approx(2 * precision * recall / (precision + recall), abs=0.02)


def test_unknown_names_are_answered_with_those_there_are():
    with pytest.raises(KeyError, match="no published table 'frozen'; there are clip-facts"):
        published("frozen")
    with pytest.raises(KeyError, match="no column 'accuracy' in frozen-table-2; it has system"):
        published("frozen-table-2").value("Frozen VQA", "accuracy")


def test_a_table_can_show_some_of_its_columns():
    text = published("flamingo-table-3").markdown(["changed to", "overall"])
    assert "| grafting | 63.1 |" in text and "VATEX of the ablated rows" in text
