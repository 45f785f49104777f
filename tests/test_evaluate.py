"""Measures against brute force and scikit-learn; controls that would catch a blind model."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from vlmcourse import evaluation, world
from vlmcourse.evaluation import (
    accuracy,
    choose_next_token,
    class_embeddings,
    classification,
    confusion,
    embed,
    features,
    generate_texts,
    k_shot_probe,
    linear_probe,
    load_matching_results,
    load_results,
    measure_controls,
    near_duplicates,
    results,
    retrieval_recall,
    save_results,
    shift_curve,
    spread,
    spread_over_seeds,
    verdict,
    verdict_of_equality,
    zero_shot,
)
from vlmcourse.parts.language import LanguageModel, tiny
from vlmcourse.world import tokenizer


def unit(*shape, seed=0):
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_retrieval_is_brute_force():
    images, texts = unit(40, 8), unit(40, 8, seed=1)
    found = retrieval_recall(images, texts, ks=(1, 3))
    for way, queries, answers in (
        ("image to text", images, texts),
        ("text to image", texts, images),
    ):
        for k in (1, 3):
            hits = [
                index in sorted(range(40), key=lambda other: -float(query @ answers[other]))[:k]
                for index, query in enumerate(queries)
            ]
            assert found[f"{way} R@{k}"] == pytest.approx(np.mean(hits))


def test_perfect_and_constant_embeddings():
    images = unit(20, 8)
    assert set(retrieval_recall(images, images).values()) == {1.0}
    constant = torch.ones(20, 8) / 8**0.5
    found = retrieval_recall(constant, constant)
    assert found["image to text R@1"] == found["text to image R@10"] == 0  # ties are not knowledge


def test_numbers_that_are_none_score_nothing():
    found = retrieval_recall(torch.full((5, 3), torch.nan), unit(5, 3), ks=(1, 3))
    assert len(found) == 4 and set(found.values()) == {0.0}


class Toy(nn.Module):
    """Embeds text by counting words, and images by their mean colour; in training mode it would be random."""

    def __init__(self):
        super().__init__()
        self.dropout, self.weight = nn.Dropout(0.5), nn.Parameter(torch.ones(1))

    def encode_text(self, ids):
        counts = torch.stack([(ids == word).sum(1) for word in range(3, 13)], 1).float()
        return normalize(self.dropout(counts * self.weight + 0.01), dim=-1)

    def encode_image(self, pixel_values):
        return normalize(self.dropout(pixel_values.mean((2, 3)) * self.weight + 0.01), dim=-1)


def numbers(texts):
    return torch.tensor([[len(word) + 2 for word in text.split()] for text in texts])


def test_prompt_ensembles_average_in_embedding_space():
    model, names = Toy(), ["bb", "cccc"]
    one = class_embeddings(model, names, ["a {}"], numbers)
    assert torch.allclose(
        class_embeddings(model, names, ["a {}"] * 3, numbers), one
    )  # the same template adds nothing
    both = class_embeddings(model, names, ["a {}", "the {} seen"], numbers)
    model.eval()
    with torch.no_grad():
        expected = normalize(
            (
                model.encode_text(numbers(["a bb", "a cccc"]))
                + model.encode_text(numbers(["the bb seen", "the cccc seen"]))
            )
            / 2,
            dim=-1,
        )
    torch.testing.assert_close(both, expected)
    with pytest.raises(ValueError, match="exactly one"):
        class_embeddings(model, names, ["a picture"], numbers)


def test_looking_does_not_change_the_model():
    model = Toy().train()
    pairs = world.Pairs("test", 32)
    first, second = (
        embed(model, pairs, range(10), batch=4),
        embed(model, pairs, range(10), batch=10),
    )
    assert all(
        torch.allclose(a, b) for a, b in zip(first, second)
    )  # no dropout, whatever the batch
    assert model.training and model.weight.grad is None
    assert features(model.encode_image, model, pairs.batch(range(5))["pixel_values"], 2).shape == (
        5,
        3,
    )


def test_zero_shot_accuracy_confusion():
    classes = torch.eye(3)
    predicted = zero_shot(classes[[0, 2, 2, 1]], classes)
    labels = torch.tensor([0, 1, 2, 1])
    assert predicted.tolist() == [0, 2, 2, 1] and accuracy(predicted, labels) == 0.75
    assert confusion(predicted, labels, 3).tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]


def blobs(per_class, seed, classes=4, noise=0.6):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.eye(8)[:classes] * 3
    labels = torch.arange(classes).repeat_interleave(per_class)
    return centres[labels] + noise * torch.randn(len(labels), 8, generator=generator), labels


def test_probes_learn_what_is_there_and_not_what_is_not():
    train, test = blobs(40, 0), blobs(40, 1)
    assert linear_probe(train, test) > 0.95
    shuffled = train[1][torch.randperm(160, generator=torch.Generator().manual_seed(0))]
    assert linear_probe((train[0], shuffled), test) < 0.5
    hard_train, hard_test = blobs(40, 0, noise=2.0), blobs(40, 1, noise=2.0)
    assert (
        k_shot_probe(hard_train, hard_test, 1).mean < k_shot_probe(hard_train, hard_test, 32).mean
    )
    assert len(k_shot_probe(train, test, 2, draws=5).values) == 5
    with pytest.raises(ValueError, match="50 shots, but a class has only 40"):
        k_shot_probe(train, test, 50)


def test_controls_tell_seeing_from_guessing():
    pixel_values = torch.rand(50, 3, 4, 4) + 0.1
    truth = pixel_values.mean((1, 2, 3))
    sees = measure_controls(
        lambda x: ((x.mean((1, 2, 3)) - truth).abs() < 1e-6).float().mean().item(),
        pixel_values,
        0.0,
    )
    assert (
        sees.model == 1 and sees.blind == 0 and sees.shuffled == 0
    )  # no picture stays in its place
    guesses = measure_controls(lambda x: 0.5, pixel_values, 0.5)
    assert guesses.model == guesses.blind == guesses.shuffled


def test_shift_curve_sees_the_style_asked_for():
    images = world.Pairs("train", 32).images(range(20))
    bright = torch.from_numpy(images.reshape(20, -1).mean(1) > 127).long()
    curve = shift_curve(
        lambda pixel_values: (pixel_values.mean((1, 2, 3)) > 0).long(),
        images,
        bright,
        ("as trained", "inverted"),
    )
    assert curve["as trained"] == 1 and curve["inverted"] == 0


def test_overlap_finds_near_duplicates():
    train = unit(300, 16)
    test = torch.cat(
        [normalize(train[:3] + 0.01 * unit(3, 16, seed=2), dim=-1), unit(400, 16, seed=3)]
    )
    assert near_duplicates(test, train).tolist() == [True] * 3 + [False] * 400


def test_spread():
    found = spread([0.9, 0.8, 1.0])
    assert (
        found.mean == pytest.approx(0.9)
        and found.std == pytest.approx(0.1)
        and "3 runs" in str(found)
    )
    assert spread([1.0]).std == 0
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_over_seeds_follows_keys_and_averages_over_several():
    rows = [
        {
            "row": "ours",
            "seed": seed,
            "score": 0.5 + 0.1 * seed,
            "asked": {"what": {"0": 0.2}, "where": {"0": 0.4 + seed}},
        }
        for seed in range(2)
    ] + [{"row": "theirs", "seed": 0, "score": 0.0, "asked": {}}]
    assert spread_over_seeds(rows, "ours", "score").values == pytest.approx((0.5, 0.6))
    assert spread_over_seeds(rows, "ours", "asked", ("what", "where"), "0").values == pytest.approx(
        (0.3, 0.8)
    )
    with pytest.raises(
        ValueError, match="no row 'nobody' was measured; expected one of: ours, theirs"
    ):
        spread_over_seeds(rows, "nobody", "score")
    with pytest.raises(ValueError, match="no measurement 'why'; expected one of: what, where"):
        spread_over_seeds(rows, "ours", "asked", "why", "0")


def test_results_are_kept_and_missing_ones_say_how_to_make_them(tmp_path, monkeypatch):
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    path = save_results("toy", [{"score": 0.5}], seeds=[0, 1])
    assert (
        load_results("toy")["rows"] == [{"score": 0.5}]
        and json.loads(path.read_text())["machines"][0]["threads"] >= 1
    )
    with pytest.raises(FileNotFoundError, match="no results replicate_toy.json"):
        load_results("replicate_toy")


def test_rows_from_before_count_under_the_same_facts_and_their_machine_is_remembered(
    tmp_path, monkeypatch
):
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert load_matching_results("toy", steps=600) == {}
    monkeypatch.setattr(results, "_processor", lambda: "old")
    save_results("toy", [{"score": 0.5}], steps=600, shape=(2, 3))
    monkeypatch.setattr(results, "_processor", lambda: "new")
    kept = load_matching_results("toy", steps=600, shape=(2, 3))["rows"]
    assert kept == [{"score": 0.5}]
    assert (
        load_matching_results("toy", steps=700)
        == load_matching_results("toy", steps=600, count=8)
        == {}
    )
    for _ in range(2):  # a machine is named once
        save_results("toy", kept + [{"score": 0.6}], steps=600)
        assert [one["processor"] for one in load_results("toy")["machines"]] == ["old", "new"]
    save_results("toy", [{"score": 0.7}], steps=600)
    assert [one["processor"] for one in load_results("toy")["machines"]] == ["new"]


def test_every_public_measure_is_documented():
    public = [getattr(evaluation, name) for name in evaluation.__all__]
    plain = ("accuracy", "spread", "confusion")
    assert len(public) > 12 and all(
        value.__doc__ for value in public if value.__name__ not in plain
    )


def asked(*texts):
    return world.prompts.Prompts([(text,) for text in texts], size=16)


class Echo(nn.Module):
    """Says again the word it has just read, above all."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, ids, padding_mask):
        return nn.functional.one_hot(ids, len(tokenizer.world_tokenizer())).float()


def test_next_words_are_the_likeliest_of_their_choices_after_the_text():
    prompts = asked("a dog", "on blue a cat", "cat")
    said = choose_next_token(
        Echo(), prompts, [["cat", "dog"], ["blue", "cat"], ["blue", "cat"]], batch=2
    )
    assert said == ["dog", "cat", "cat"]
    with pytest.raises(ValueError, match="expected single words"):
        choose_next_token(Echo(), asked("a dog"), [["a cat", "dog"]])


def test_answers_of_several_words_are_ranked_by_their_likelihood():
    """Beside next_words where both can judge, and by hand where only this one can."""
    torch.manual_seed(0)
    model = LanguageModel(tiny(len(tokenizer.world_tokenizer()), width=32, depth=1, heads=2)).eval()
    questions, words = asked("a cat is", "what is a dog on blue ?"), [["a", "dog", "blue"]] * 2
    assert evaluation.rank_choices(model, questions, words) == choose_next_token(
        model, questions, words
    )
    choices = ["top left", "bottom", "top right ."]
    ids = [tokenizer.encode([f"a cat is {choice}"])[0, :-1] for choice in choices]
    by_hand = [
        sum(
            model(one[None]).log_softmax(-1)[0, place - 1, one[place]]
            for place in range(4, len(one))
        )
        for one in ids
    ]
    (said,) = evaluation.rank_choices(model, asked("a cat is"), [choices])
    assert said == choices[int(torch.stack(by_hand).argmax())]


def test_the_likeliest_next_words_come_with_their_probabilities():
    (found,) = evaluation.next_token_probabilities(Echo(), asked("a dog"), k=3)
    words = len(tokenizer.world_tokenizer())
    assert list(found)[0] == "dog" and found["dog"] == pytest.approx(math.e / (math.e + words - 1))
    assert list(found.values()) == sorted(found.values(), reverse=True) and len(found) == 3


def test_texts_are_written_up_to_the_end_whatever_the_length_of_the_prompt():
    torch.manual_seed(0)
    model = LanguageModel(tiny(len(tokenizer.world_tokenizer()), width=32, depth=1, heads=2))
    sentences = ["a cat on blue . this is a", "a dog", "some grapes left of a cat"]
    together = generate_texts(model, asked(*sentences), max_new_tokens=5)
    assert together == [
        generate_texts(model, asked(sentence), max_new_tokens=5)[0] for sentence in sentences
    ]
    stop = tokenizer.encode([together[0].split()[2]])[0, 1].item()
    assert generate_texts(model, asked(sentences[0]), max_new_tokens=5, stop=stop) == [
        " ".join(together[0].split()[:2])
    ]


def test_few_shot_draws_differ_and_hold_each_example_once(monkeypatch):
    chosen = []
    probe = classification._probe

    def recorded(strength, x, y):
        chosen.append(x[:, 0].astype(int).tolist())
        return probe(strength, x, y)

    monkeypatch.setattr(classification, "_probe", recorded)
    x = torch.arange(40.0)[:, None].repeat(1, 2)
    labels = torch.arange(40) % 2
    k_shot_probe((x, labels), (x, labels), 15, draws=3)
    assert all(len(set(rows)) == len(rows) == 30 for rows in chosen)
    assert len({tuple(rows) for rows in chosen}) == 3


def test_a_linear_probe_chooses_on_a_held_out_part_and_then_learns_from_all(monkeypatch):
    seen = []

    class Probe:
        """Best on what it has learnt with little regularisation, elsewhere with much."""

        def __init__(self, strength, x, y):
            self.strength, self.rows = strength, set(x[:, 0].tolist())
            seen.append((strength, len(x)))

        def score(self, x, y):
            learnt = set(x[:, 0].tolist()) <= self.rows
            return self.strength if learnt else -self.strength

    monkeypatch.setattr(classification, "_probe", Probe)
    x = torch.arange(100.0)[:, None]
    labels = torch.arange(100) % 2
    test = (x + 1000, labels)
    assert linear_probe((x, labels), test, strengths=(0.01, 1.0)) == -0.01
    assert seen == [(0.01, 80), (1.0, 80), (0.01, 100)]


@pytest.mark.parametrize(
    "higher, lower, expected",
    [
        ([0.9, 0.91, 0.89], [0.5, 0.52, 0.49], "agrees"),
        ([0.5, 0.52, 0.49], [0.9, 0.91, 0.89], "disagrees"),
        ([0.9, 0.4, 0.7], [0.5, 0.52, 0.49], "within noise"),  # not in every seed
        ([0.9, 0.7, 0.52], [0.5, 0.5, 0.5], "within noise"),  # in every seed, below two deviations
        ([0.9], [0.1], "within noise"),  # one seed says nothing
        ([0.5, 0.5], [0.5, 0.5], "within noise"),
    ],
)
def test_verdicts_follow_the_stated_rule(higher, lower, expected):
    assert verdict(higher, lower) == expected


@pytest.mark.parametrize(
    "first, second, expected",
    [
        ([0.9, 0.91, 0.92], [0.89, 0.92, 0.91], "agrees"),
        ([0.9, 0.91, 0.92], [0.5, 0.52, 0.51], "disagrees"),
        ([0.5, 0.52, 0.51], [0.9, 0.91, 0.92], "disagrees"),
        ([0.9], [0.9], "within noise"),
        ([0.8, 0.4], [0.85, 0.79], "within noise"),  # 0.22 apart, but so are the seeds
    ],
)
def test_verdicts_of_equality_follow_the_stated_rule(first, second, expected):
    assert verdict_of_equality(first, second) == expected


def test_the_rule_is_two_pooled_deviations():
    lower = [0.0, 0.2]  # deviation 0.1414, as the other's
    assert (
        verdict([0.29, 0.49], lower) == "agrees" and verdict([0.28, 0.48], lower) == "within noise"
    )
    with pytest.raises(ValueError, match="one of each"):
        verdict([1.0], [])


def test_each_file_of_results_names_the_command_that_measures_it():
    root = Path(__file__).parents[1]
    for path in sorted((root / "benchmarks" / "results").glob("*.json")):
        start, module, *part = json.loads(path.read_text(encoding="utf-8"))["command"].rsplit()[1:]
        name = module.removeprefix("benchmarks.")
        assert start == "-m" and (root / "benchmarks" / f"{name}.py").exists()
        assert path.stem == "_".join([name, *part])
