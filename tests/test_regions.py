"""The world as regions: boxes, classes, false captions that are false, and what fills in."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmcourse import world
from vlmcourse.evaluation import masked
from vlmcourse.parts.vision import RegionClassifier, check_boxes
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.world import regions, tokenizer
from vlmcourse.world.noise import Noise
from vlmcourse.world.scenes import Scene, SeededRandom, Thing, sample

indices = st.integers(0, 10**6)
PAIRS = world.Pairs("train", 32)


@settings(max_examples=40, deadline=None)
@given(indices)
def test_all_boxes_lie_in_the_picture_and_classes_sum_to_one(index):
    scene = sample("train", index)
    boxes = regions.thing_boxes(scene) + regions.grid_boxes(scene)
    check_boxes(torch.tensor([boxes]))
    found = regions.box_classes(scene, boxes)
    torch.testing.assert_close(found.sum(1), torch.ones(len(boxes)))
    names = regions.class_names()
    assert [names[row] for row in found[: len(scene.things)].argmax(1).tolist()] == list(
        scene.words
    )


def test_a_cell_is_shared_by_area():
    scene = Scene(
        (Thing("cat", 0.5, 0.125, 0.25),), "blue"
    )  # the middle of the first row: half of it in each of two cells
    found = regions.box_classes(scene, regions.grid_boxes(scene))
    cat = found[:, regions.class_names().index("cat")]
    torch.testing.assert_close(cat, torch.tensor([0, 0.5, 0.5, 0] + [0.0] * 12))
    torch.testing.assert_close(found[:, -1], 1 - cat)


def holds(text: str, scene: Scene) -> bool:
    """Is a caption of `detailed` true of the scene? Read from its words."""
    words, known = text.split(), {thing.word: thing for thing in scene.things}
    if not [word for word in words if word in world.BACKGROUNDS][-1:] == [scene.background]:
        return False
    relation = next((word for word in words if word in masked.PLACES), None)
    if relation is None:
        return all(word in words for word in known)
    cut = words.index(relation)
    before, after = (
        [known[word] for word in part if word in known] for part in (words[:cut], words[cut:])
    )
    if len(before) + len(after) < len(known):
        return False
    first, second = (before, after) if relation in ("left", "above") else (after, before)
    place = (lambda thing: thing.x) if relation in ("left", "right") else (lambda thing: thing.y)
    return all(place(a) < place(b) for a in first for b in second)


@settings(max_examples=40, deadline=None)
@given(indices)
def test_true_captions_hold_and_changed_ones_do_not(index):
    scene = PAIRS.scene(index)
    assert holds(PAIRS.true_caption(index), scene)
    for change in (regions.swap_across_rows, regions.recolour_background):
        text = regions.false_caption(index, PAIRS, change)
        assert (text is None) == (change is regions.swap_across_rows and len(scene.things) == 1)
        assert text is None or not holds(text, scene)


@settings(max_examples=40, deadline=None)
@given(indices)
def test_a_swap_changes_who_is_where_and_nothing_else(index):
    scene = sample("train", index, things=(2, 4))
    swapped = regions.swap_across_rows(scene, SeededRandom(index))
    assert sorted(swapped.words) == sorted(scene.words) and swapped.words != scene.words
    assert [thing.box for thing in swapped.things] == [thing.box for thing in scene.things]
    assert regions.recolour_background(scene, SeededRandom(index)).things == scene.things


def test_false_captions_are_as_likely_as_true_ones_by_their_words():
    """Each kind of word comes as often: a model without the picture has nothing to go by."""
    true, false = (
        [text for index in range(400) for text in made(index)]
        for made in (
            lambda index: [PAIRS.true_caption(index)],
            lambda index: [regions.false_caption(index, PAIRS, regions.recolour_background)],
        )
    )
    for word in ("above", "below", "left", "right", "background", "picture"):
        assert sum(word in text.split() for text in true) == sum(
            word in text.split() for text in false
        )


def test_a_batch_says_which_captions_are_false():
    pairs = world.Pairs("train", 32, noise=Noise(0.5, regions.hard_or_mismatched))
    made = regions.RegionDataset(pairs).batch(range(64))
    for index, aligned in enumerate(made["aligned"].tolist()):
        assert (made["text"][index] == pairs.true_caption(index)) == aligned
    assert 20 < made["aligned"].sum() < 44
    assert made["region_mask"].sum(1).tolist() == [
        len(pairs.scene(index).things) for index in range(64)
    ]
    again = regions.RegionDataset(pairs).batch(range(64))
    assert all(torch.equal(made[name], again[name]) for name in ("boxes", "classes", "ids"))
    described = regions.RegionDataset(
        pairs, region_classifier=RegionClassifier(4, 8, len(regions.class_names()))
    ).batch(range(8))
    assert (
        not described["features"][~described["region_mask"]].any()
        and described["features"][described["region_mask"]].any()
    )
    torch.testing.assert_close(
        described["classes"].sum(-1), torch.ones(described["region_mask"].shape)
    )


def test_a_namer_learns_what_is_in_boxes_and_describes_them():
    torch.manual_seed(0)
    pairs, few = world.Pairs("train", 32, things=(1, 1)), list(range(12))
    region_classifier, data = (
        RegionClassifier(6, 32, len(regions.class_names()), len(world.BACKGROUNDS)),
        regions.RegionDataset(pairs),
    )
    for _ in fit(
        region_classifier,
        Batches(lambda rows: data.batch([row % 12 for row in rows]), 12),
        80,
        Optimisation(1e-2),
        precision=torch.float32,
    ):
        pass
    seen, truth = (
        regions.RegionDataset(pairs, region_classifier=region_classifier).batch(few),
        data.batch(few),
    )
    right = (seen["classes"].argmax(-1) == truth["classes"].argmax(-1))[truth["region_mask"]]
    told = region_classifier.attribute_head(seen["features"]).argmax(-1) == truth["attributes"]
    assert (
        right.float().mean() > 0.9
        and told[truth["region_mask"]].float().mean() > 0.9
        and seen["features"].shape[-1] == 32
    )
    assert not seen["features"].requires_grad


class Knows:
    """Reads the answer off the batch's picture, if it has regions: words by class, regions by features."""

    training = False

    def __init__(self):
        self.names = tokenizer.encode([f"{name}" for name in regions.class_names()])[:, 1]

    def parameters(self):
        yield torch.zeros(1)

    def eval(self):
        return self

    def train(self, mode=True):
        return self

    def mlm_logits(self, batch):
        logits = torch.zeros(*batch["ids"].shape, len(tokenizer.world_tokenizer()))
        for row, found in enumerate(batch["features"].argmax(-1)):
            for region, region_mask in zip(found, batch["region_mask"][row]):
                logits[row, :, self.names[region]] += region_mask
        return logits

    def region_logits(self, batch, masked_regions):
        assert (masked_regions.sum(1) == 1).all() and not (
            masked_regions & ~batch["region_mask"]
        ).any()
        return batch["features"]

    def alignment_logits(self, batch):
        said = torch.stack([(batch["ids"] == name).any(1) for name in self.names], dim=1)  # (B, C)
        seen = (batch["features"] * batch["region_mask"][..., None]).amax(1).bool()
        return (said & seen).sum(1).float() - 0.5


class Alone:
    """Scenes of one thing whose features are their classes."""

    pairs = world.Pairs("test", 32, things=(1, 1))

    def batch(self, rows):
        made = regions.RegionDataset(self.pairs).batch(rows)
        return {**made, "features": (made["classes"] == 1).float()}


def test_what_is_filled_in_is_scored_beside_controls():
    model, data = Knows(), Alone()
    found = masked.masked_word_accuracy(model, data, range(40))
    assert found["nouns"] == 1 and set(found) == {
        "nouns",
        "backgrounds",
    }  # things alone have no places
    assert masked.masked_word_accuracy(model, data, range(40), masked.without_image)["nouns"] == 0
    assert (
        masked.masked_word_accuracy(model, data, range(40), masked.shuffled_images)["nouns"] < 0.2
    )
    assert masked.masked_region_accuracy(model, data, range(40)) == 1
    other = masked.pair_accuracy(
        model, data, range(40), lambda index: data.pairs.true_caption(index + 1000)
    )
    assert other["of two"] > 0.9 and other["yes or no"] > 0.9
    assert (
        masked.pair_accuracy(model, data, range(40), lambda index: data.pairs.true_caption(index))[
            "of two"
        ]
        == 0
    )  # ties are wrong
    blind = masked.pair_accuracy(
        model,
        data,
        range(40),
        lambda index: data.pairs.true_caption(index + 1000),
        masked.without_image,
    )
    assert blind == {"of two": 0, "yes or no": 0.5}


def test_retrieval_counts_ties_as_wrong():
    assert (
        masked.mean_recall_at_1(torch.eye(4)) == 1
        and masked.mean_recall_at_1(torch.ones(4, 4)) == 0
    )
    assert masked.mean_recall_at_1(torch.tensor([[2.0, 0.0], [1.0, 0.5]])) == pytest.approx(0.75)
    assert masked.score_all_pairs(Knows(), Alone(), [0, 1, 2]).shape == (3, 3)


@settings(max_examples=5, deadline=None)
@given(indices)
def test_shuffled_pictures_are_whole_pictures_of_others(index):
    made = regions.RegionDataset(PAIRS).batch(range(index, index + 4))
    moved = masked.shuffled_images(made | {"features": made["classes"]})
    assert torch.equal(moved["boxes"][1], made["boxes"][0]) and torch.equal(
        moved["ids"], made["ids"]
    )
    assert torch.equal(moved["region_mask"][0], made["region_mask"][3])
