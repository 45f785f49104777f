"""Ranks, MRR and NDCG against scikit-learn; re-ranking."""

import pytest
import torch

from vlmcourse.evaluation import bidirectional_retrieval, mrr, ndcg, ranking_metrics, ranks, rerank


def test_ranks_count_ties_against_the_model():
    scores = torch.tensor([[3.0, 2, 1], [1, 1, 1], [1, 2, torch.nan]])
    assert ranks(scores, torch.tensor([1, 0, 0])).tolist() == [2, 3, 3]


def test_mrr_is_scikit_learns():
    """With one right candidate, scikit-learn's label ranking precision is the mean reciprocal rank, ties included."""
    from sklearn.metrics import label_ranking_average_precision_score

    torch.manual_seed(0)
    scores, right = torch.randn(20, 10).round(decimals=1), torch.randint(10, (20,))
    truth = torch.nn.functional.one_hot(right, 10)
    assert mrr(ranks(scores, right)) == pytest.approx(
        label_ranking_average_precision_score(truth, scores)
    )


@pytest.mark.parametrize("decimals", [6, 0])  # without and with many ties
def test_ndcg_is_scikit_learns(decimals):
    from sklearn.metrics import ndcg_score

    torch.manual_seed(1)
    scores = torch.randn(12, 9).round(decimals=decimals)
    relevance = torch.rand(12, 9).where(torch.rand(12, 9) < 0.4, 0)
    relevance[:, 2] += 0.1
    expected = [
        ndcg_score(r[None], s[None], k=int((r > 0).sum()))
        for s, r in zip(scores.numpy(), relevance.numpy())
    ]
    assert ndcg(scores, relevance) == pytest.approx(sum(expected) / 12)


def test_a_report_of_a_perfect_and_of_a_blind_ranking():
    right = torch.arange(20) % 8
    truth = torch.nn.functional.one_hot(right, 8).float()
    assert ranking_metrics(truth, right, truth) == {
        "MRR": 1,
        "R@1": 1,
        "R@5": 1,
        "R@10": 1,
        "mean rank": 1,
        "NDCG": 1,
    }
    blind = ranking_metrics(torch.zeros(20, 8), right, ks=(1, 5))
    assert blind == {"MRR": 0.125, "R@1": 0, "R@5": 0, "mean rank": 8}


def test_a_closer_look_reorders_the_candidates_and_nothing_else():
    torch.manual_seed(2)
    similarity, fine = torch.randn(6, 9), 5 * torch.randn(6, 9)
    asked = []

    def closer(rows, columns):
        asked.append(len(rows))
        return fine[rows, columns]

    found, places = rerank(similarity, closer, 3), similarity.topk(3).indices
    assert asked == [18]
    order = found.argsort(1, descending=True)
    assert torch.equal(order[:, :3].sort().values, places.sort().values)
    expected = places.gather(1, (fine + similarity).gather(1, places).argsort(1, descending=True))
    assert torch.equal(order[:, :3], expected)
    rest = similarity.argsort(1, descending=True)[:, 3:]
    assert torch.equal(order[:, 3:], rest)
    assert torch.equal(rerank(similarity, closer, 9).argsort(1), (fine + similarity).argsort(1))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: rerank(torch.zeros(3, 4), None, 5), "k = 5 candidates, but the gallery holds 4"),
        (
            lambda: rerank(torch.zeros(3, 4), None, 0),
            "0 candidates out of 4; expected at least one",
        ),
        (lambda: rerank(torch.zeros(3, 0), None, 1), "at least one candidate"),
        (lambda: ranks(torch.zeros(3, 0), torch.zeros(3)), "at least one candidate"),
        (lambda: ranks(torch.zeros(2, 3), torch.tensor([0, 3])), "below 3"),
        (lambda: ndcg(torch.zeros(2, 3), torch.zeros(2, 2)), "expected the same"),
        (lambda: ndcg(torch.zeros(1, 3), torch.zeros(1, 3)), "at least one relevant"),
    ],
)
def test_what_cannot_be_ranked_is_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_both_directions_ask_the_judge_about_images_and_texts_in_that_order():
    """The judge knows that text i belongs to image i; asked about (text, image) it would say otherwise."""
    similarity = torch.eye(5).roll(1, 0) * 0.5 + torch.eye(5) * 0.4  # R@1 0 without the judge
    asked = []

    def judge(images, texts):
        asked.extend(zip(images.tolist(), texts.tolist()))
        return torch.where(images == texts, 10.0, 0.0) + 5.0 * (texts - images > 0)

    report = bidirectional_retrieval(similarity, judge, 2)
    assert report["image to text R@1"] == report["text to image R@1"] == 0
    assert report["image to text, re-ranked R@1"] == report["text to image, re-ranked R@1"] == 1
    expected = {(i, j) for i in range(5) for j in similarity[i].topk(2).indices.tolist()}
    expected |= {(i, j) for j in range(5) for i in similarity[:, j].topk(2).indices.tolist()}
    assert set(asked) == expected
