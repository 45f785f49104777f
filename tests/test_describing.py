"""Captions' scores: against sacrebleu, against the explicit formula, against scenes about which all is known."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from vlmcourse import world
from vlmcourse.evaluation import (
    bleu4,
    caption_facts,
    cider,
    noun_accuracy,
    rouge_l,
    scene_facts,
    scene_graph_f1,
    spread,
)
from vlmcourse.evaluation.captioning import split_caption
from vlmcourse.world import SeededRandom

SAID = [
    "a cat above a dog on a blue background",
    "a banana left of an owl",
    "the the the the",
    "a car",
    "a cat and a cat on grey",
]
GIVEN = [
    ["a cat above a dog on blue", "a dog below a cat"],
    ["an owl right of a banana", "a banana left of an owl on pink"],
    ["the owl on the left", "the cat"],
    ["a red car on grey", "a car on a grey background"],
    ["a cat on grey"],
]


def test_bleu_is_sacrebleus():
    from sacrebleu import corpus_bleu

    longest = max(map(len, GIVEN))
    columns = [
        [given[place] if place < len(given) else None for given in GIVEN]
        for place in range(longest)
    ]
    expected = (
        corpus_bleu(SAID, columns, tokenize="none", smooth_method="none", force=True).score / 100
    )
    assert 0.2 < expected < 0.9
    assert bleu4(SAID, GIVEN) == pytest.approx(expected)
    assert bleu4([text[: len(text) // 2] for text in SAID[:2]], GIVEN[:2]) < bleu4(
        SAID[:2], GIVEN[:2]
    )


def test_bleu_on_captions_of_the_world_is_sacrebleus():
    from sacrebleu import corpus_bleu

    scenes = [world.sample("test", index) for index in range(60)]
    said = [
        world.captions.varied(scene, SeededRandom(1, index)) for index, scene in enumerate(scenes)
    ]
    given = [
        [world.captions.synonyms(scene, SeededRandom(2, index, number)) for number in range(3)]
        for index, scene in enumerate(scenes)
    ]
    expected = (
        corpus_bleu(
            said, list(map(list, zip(*given))), tokenize="none", smooth_method="none", force=True
        ).score
        / 100
    )
    assert bleu4(said, given) == pytest.approx(expected)


def test_of_two_references_equally_near_the_shorter_counts():
    from sacrebleu import corpus_bleu

    said, given = (
        ["a cat above a dog"],
        [["a cat above a", "a cat above a dog there"]],
    )  # four and six words for five
    expected = (
        corpus_bleu(
            said, [[text] for text in given[0]], tokenize="none", smooth_method="none", force=True
        ).score
        / 100
    )
    assert bleu4(said, given) == pytest.approx(expected) == pytest.approx(1)


def dense_cider(said, references):
    """CIDEr-D as a formula over vectors of all n-grams, written again without the module's own counting."""

    def vector(text, grams):
        words = text.split()
        return np.array(
            [
                sum(tuple(words[i : i + len(gram)]) == gram for i in range(len(words)))
                for gram in grams
            ],
            float,
        )

    scores = np.zeros((len(said), 4))
    for n in range(1, 5):
        every = [text for texts in references for text in texts] + list(said)
        grams = sorted(
            {
                tuple(text.split()[i : i + n])
                for text in every
                for i in range(len(text.split()) - n + 1)
            }
        )
        holds = np.array(
            [
                [any(vector(text, [gram])[0] for text in texts) for gram in grams]
                for texts in references
            ]
        )
        idf = math.log(len(said)) - np.log(np.maximum(1, holds.sum(0)))
        for row, (text, texts) in enumerate(zip(said, references)):
            for one in texts:
                h, r = vector(text, grams) * idf, vector(one, grams) * idf
                gauss = math.exp(-(((len(text.split()) - 1) - (len(one.split()) - 1)) ** 2) / 72)
                if np.linalg.norm(h) and np.linalg.norm(r):
                    scores[row, n - 1] += (
                        gauss
                        * (np.minimum(h, r) @ r)
                        / np.linalg.norm(h)
                        / np.linalg.norm(r)
                        / len(texts)
                    )
    return 10 * scores.mean(1)


def test_cider_is_its_formula():
    np.testing.assert_allclose(cider(SAID, GIVEN), dense_cider(SAID, GIVEN), rtol=1e-9)
    assert max(cider(SAID, GIVEN)) > 3


def test_cider_of_one_picture_is_zero_and_of_the_reference_itself_ten():
    assert cider(SAID[:1], [SAID[:1]]) == [0.0]
    long = ["a cat above a dog", "a banana left of an owl"]
    assert cider(long, [[text] for text in long]) == pytest.approx([10.0, 10.0])


@pytest.mark.parametrize(
    "said, given, words",
    [
        (["a cat"], [], "1 captions and references for 0"),
        ([], [], "at least one"),
        (["a cat"], [[]], "caption 0 has no list of references"),
        (["a cat"], ["a cat"], "caption 0 has no list"),
    ],
)
def test_missing_references_are_named(said, given, words):
    for score in (bleu4, cider):
        with pytest.raises(ValueError, match=words):
            score(said, given)


def test_full_captions_state_exactly_what_is_shown():
    for index in range(300):
        scene = world.sample("test", index)
        assert caption_facts(world.captions.detailed(scene, SeededRandom(index))) == scene_facts(
            scene
        ), index


def test_swapped_captions_state_something_else():
    for swap in (world.minimal_pairs.swap_positions, world.minimal_pairs.change_background):
        wrong = spread(
            [
                scene_graph_f1([text], [scene]).f1
                for scene, _, text in world.minimal_pairs.caption_choices(swap, count=40)
            ]
        )
        assert 0.1 < wrong.mean < 0.95


def test_precision_and_recall_of_what_is_said():
    scene = world.Scene(
        (world.Thing("cat", 0.27, 0.27, 0.4), world.Thing("dog", 0.73, 0.27, 0.4)), "blue"
    )
    assert scene_facts(scene) == {
        ("thing", "cat"),
        ("thing", "dog"),
        ("background", "blue"),
        ("left of", "cat", "dog"),
    }
    found = scene_graph_f1(["a dog left of a cat on blue"], [scene])
    assert (found.precision, found.recall) == (0.75, 0.75)
    found = scene_graph_f1(["a cat"], [scene])
    assert (found.precision, found.recall, found.f1) == (1, 0.25, 0.4)
    assert scene_graph_f1(["a nice picture"], [scene]).f1 == 0
    with pytest.raises(ValueError, match="2 captions for 1 scenes"):
        scene_graph_f1(["a", "b"], [scene])


def test_two_nouns_may_come_in_either_order():
    scenes = [world.sample("test", index, things=(2, 2)) for index in range(40)]
    said = [
        world.captions.detailed(scene, SeededRandom("said", index))
        for index, scene in enumerate(scenes)
    ]
    assert noun_accuracy(said, scenes) == 1
    assert noun_accuracy(said[1:] + said[:1], scenes) < 0.2


def test_words_of_any_script_keep_their_vowel_signs():
    assert split_caption("नमस्ते, दुनिया!") == ["नमस्ते", "दुनिया"]
    assert split_caption("A na\u00efve cafe\u0301; x-ray") == [
        "a",
        "na\u00efve",
        "cafe\u0301",
        "x",
        "ray",
    ]
    captions, references = ["नमस्ते दुनिया"], [["नमस्ता दुनिया"]]  # another vowel sign: another word
    assert bleu4(captions * 4, references * 4) == 0
    assert cider([captions[0], "कुत्ता"], [references[0], ["कुत्ता"]])[0] < 5


OFFICIAL = json.loads(
    (Path(__file__).parents[1] / "benchmarks/results/captioning_metrics.json").read_text()
)


def test_scores_are_those_of_the_official_code():
    captions = [case["caption"] for case in OFFICIAL["cases"]]
    references = [case["references"] for case in OFFICIAL["cases"]]
    assert len(captions) == 60
    assert bleu4(captions, references) == pytest.approx(OFFICIAL["bleu4"], abs=1e-9)
    assert cider(captions, references) == pytest.approx([c["cider"] for c in OFFICIAL["cases"]])
    assert rouge_l(captions, references) == pytest.approx([c["rouge_l"] for c in OFFICIAL["cases"]])


def test_exceptions_to_the_official_splitting_are_named():
    for case in OFFICIAL["exceptions"]:
        assert split_caption(case["text"]) == case["ours"] != case["official"]


def test_rouge_of_nothing_in_common_is_zero_and_of_the_same_words_one():
    assert rouge_l(["a cat", "", "a b c"], [["the dog"], ["the dog"], ["x", "a b c"]]) == [0, 0, 1]
    assert rouge_l(["b a"], [["a b"]])[0] == pytest.approx(0.5)
    with pytest.raises(ValueError, match="no list of references"):
        rouge_l(["a cat"], [[]])
