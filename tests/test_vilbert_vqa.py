"""ViLBERT fine-tuned for questions: the questions, the head, the loss, the recipe, and examples kept in memory."""

from collections import Counter

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from vlmcourse import recipes, world
from vlmcourse.evaluation import masked
from vlmcourse.papers.vilbert_tasks import ViLBERTForVQA, VQAHead, vqa_loss
from vlmcourse.recipes import vilbert_vqa
from vlmcourse.training.in_memory import InMemory
from vlmcourse.training.scale import Scale
from vlmcourse.world import regions
from vlmcourse.world.region_questions import RegionQuestions

SMOKE = Scale.of("smoke")
NOUNS = world.known_nouns()[::10]


@pytest.fixture(scope="module")
def questions():
    pairs = regions.SubsetOfNouns("test", 32, 0, (1, 2), noun_subset=NOUNS)
    return RegionQuestions(regions.RegionDataset(pairs), NOUNS)


@pytest.fixture
def vilbert():
    return recipes.vilbert.new_vilbert(recipes.vilbert.vilbert_config(SMOKE))


@pytest.fixture
def batch(questions):
    found = questions.batch(range(6))
    generator = torch.Generator().manual_seed(0)
    shape = (*found["region_mask"].shape, 32)
    return found | {"features": torch.randn(shape, generator=generator)}


def test_answers_are_true_and_of_the_kind_that_is_asked_for(questions):
    for index in range(200):
        scene, question = questions.data.pairs.scene(index), questions.question(index)
        assert question.answer in questions.answers(question.kind)
        if question.kind == "presence":
            word = question.text.split()[-2]
            assert (question.answer == "yes") == (word in scene.words) and word in NOUNS
        if question.kind == "background":
            assert question.answer == scene.background
        if question.kind == "how many":
            assert question.answer == {1: "one", 2: "two"}[len(scene.things)]
    kinds = Counter(questions.question(index).kind for index in range(200))
    assert set(kinds) == set(questions.kinds) and min(kinds.values()) > 20


def test_a_balanced_sample_has_each_answer_equally_often(questions):
    chosen = questions.balanced(24)
    asked = Counter((one.kind, one.answer) for one in map(questions.question, chosen))
    assert chosen == sorted(set(chosen))
    assert set(asked) == {(k, a) for k in questions.kinds for a in questions.answers(k)}
    assert all(count == 24 // len(questions.answers(kind)) for (kind, _), count in asked.items())
    with pytest.raises(ValueError, match="too few questions of kind"):
        questions.balanced(24, limit=50)


def test_a_question_alone_tells_nothing_of_its_answer(questions):
    """Where many questions have the same words, no answer is much more frequent than chance."""
    asked = [questions.question(index) for index in range(1500)]
    yes = [one.answer == "yes" for one in asked if one.kind == "presence"]
    assert abs(sum(yes) / len(yes) - 0.5) < 0.1
    colours = Counter(one.answer for one in asked if one.kind == "background")
    assert len(colours) == 8 and max(colours.values()) < 0.3 * sum(colours.values())


def test_batches_have_the_answers_numbers(questions, batch):
    asked = [questions.question(index) for index in range(6)]
    assert [questions.vocabulary[n] for n in batch["answer"]] == [one.answer for one in asked]
    assert batch["text"] == [one.text for one in asked]
    assert len(set(questions.vocabulary)) == len(questions.vocabulary)


def test_the_head_sees_the_product_alone():
    head, (image, text) = VQAHead(8, 5), torch.randn(2, 3, 8)
    assert head(image, text).shape == (3, 5)
    assert torch.allclose(head(-image, -text), head(image, text))
    assert torch.allclose(head(image * text, torch.ones_like(text)), head(image, text), atol=1e-6)


def test_the_loss_is_a_sum_over_answers_and_takes_soft_targets():
    logits, targets = torch.randn(4, 6), torch.rand(4, 6)
    by_hand = binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(-1).mean()
    assert torch.allclose(vqa_loss(logits, targets), by_hand)


def test_fine_tuning_copies_the_model_and_trains_all_of_it_but_the_other_heads(vilbert, batch):
    before = {name: value.clone() for name, value in vilbert.state_dict().items()}
    model = ViLBERTForVQA(vilbert.requires_grad_(False), 29)
    losses = model.losses(batch)
    targets = one_hot(batch["answer"], 29).float()
    assert torch.allclose(losses["vqa"], vqa_loss(model(batch), targets))
    losses["vqa"].backward()
    unused = {name.split(".")[1] for name, value in model.named_parameters() if value.grad is None}
    assert unused == {"mlm_head", "region_head", "alignment_head"}
    assert all(torch.equal(value, before[name]) for name, value in vilbert.state_dict().items())
    with pytest.raises(ValueError, match="6 questions and 5 answers"):
        model.losses(batch | {"answer": batch["answer"][:5]})


def test_accuracy_by_kind_and_its_controls(vilbert, batch):
    model = ViLBERTForVQA(vilbert, 29)
    found = vilbert_vqa.accuracy_by_kind(model, batch)
    kinds = set(batch["kind"])
    assert set(found) == {*kinds, "mean"}
    right = (vilbert_vqa.answer(model, batch) == batch["answer"]).tolist()
    for kind in kinds:
        hits = [hit for hit, one in zip(right, batch["kind"]) if one == kind]
        assert found[kind] == pytest.approx(sum(hits) / len(hits))
    blind = masked.without_image(batch)
    assert vilbert_vqa.accuracy_by_kind(model, batch, masked.without_image) == (
        vilbert_vqa.accuracy_by_kind(model, blind)
    )


def test_examples_in_memory_are_those_of_the_data_set(questions):
    pool, direct = InMemory(questions, 5), questions.batch([3, 1, 3])
    found = pool.batch([3, 6, 8])
    assert found["text"] == direct["text"] and torch.equal(found["answer"], direct["answer"])
    length = direct["ids"].shape[1]
    assert torch.equal(found["ids"][:, :length], direct["ids"])
    assert not found["ids"][:, length:].any()


def test_the_recipe_trains_and_reports():
    recipe = recipes.get("vilbert_vqa")
    stage = recipe.train_or_load("smoke", steps=2)
    report = recipe.evaluate(stage.model, "smoke")
    assert {"mean", "mean, blind", "mean, shuffled", "what, chance"} <= set(report)
    assert report["what, chance"] == pytest.approx(1 / len(NOUNS))
