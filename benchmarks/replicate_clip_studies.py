"""CLIP's studies at reduced scale, three seeds: data sets, shots, class lists, overlap, noise, shift, scaling.

    python -m benchmarks.replicate_clip_studies [--scale smoke|laptop]     about 40 minutes on one core

The part "longer": the studies whose seeds differ most after 300 steps, with LONGER times as many for every model in them.
All rows are of small CLIPs (recipes/clip_studies.py): 57 nouns, pictures of 32 pixels, 8,192 pairs. Trained stages are cached
and rows are saved seed by seed, so a run that was stopped goes on where it was. Writes results/replicate_clip_studies.json.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import torch
import typer
from torch import Tensor, nn

from vlmcourse import recipes, world
from vlmcourse.evaluation import (
    accuracy,
    class_embeddings,
    embed,
    features,
    k_shot_probe,
    linear_probe,
    load_matching_results,
    retrieval_recall,
    save_results,
    shift_curve,
    spread,
    zero_shot,
)
from vlmcourse.introspection import count_flops
from vlmcourse.papers.clip import CLIP
from vlmcourse.recipes.clip_studies import (
    NOUNS,
    PAIRS,
    SIZES,
    VARIED,
    Pool,
    Supervised,
    study_classes,
    study_pairs,
    study_scale,
    things_alone,
    train_study_clip,
    train_supervised,
)
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer
from vlmcourse.world.noise import Noise

app = typer.Typer(add_completion=False, help=__doc__)
SHOTS = (1, 2, 4, 8, 16)
STRENGTHS = (0.1, 1.0)  # inverse L2 of the probes
LABELLED = NOUNS[::2]
"""Of the supervised classifier whose features are probed: it never saw the other nouns, as ImageNet lacks most classes."""
NOUN_SETS = {
    "animals": ("animal",),
    "fruit and food": ("fruit", "food"),
    "vehicles": ("vehicle",),
    "clothing": ("clothing",),
    "plants and buildings": ("plant", "building"),
    "household": ("furniture", "object", "tool"),
}
PLACES = ("top left", "top right", "bottom left", "bottom right", "middle")
LONGER = 3
NOISE, KEPT = 0.4, 0.6
"""Share of pairs that get another picture's caption, and share that the filter keeps."""
ALARM, GROUP = "animal", "clothing"
"""The class list is an alarm for animals; pictures of clothing, which it does not list, are shown."""


def counts(size: Scale) -> tuple[int, int]:
    """Pictures to train a probe on, and to test it on."""
    return (1536, 768) if size.name != "smoke" else (512, 128)


def place(scene: world.Scene) -> int:
    """In which of PLACES a single thing is."""
    x, y = scene.things[0].x, scene.things[0].y
    middle = abs(x - 0.5) < 0.1 and abs(y - 0.5) < 0.1
    return 4 if middle else int(x > 0.5) + 2 * int(y > 0.5)


class Pictures:
    """Pictures of a split, and what image towers make of them, to be labelled in several ways."""

    def __init__(self, split: str, count: int, seed: int, single: bool):
        changes = {"things": (1, 1)} if single else {"single_share": 0.0}
        pairs = study_pairs(split, seed, **changes)
        self.scenes = pairs.scenes(range(count))
        self.pixel_values = world.to_pixels(pairs.images(range(count)))

    def of(self, encode: Callable, model: nn.Module) -> Tensor:
        return features(encode, model, self.pixel_values)


def data_sets() -> dict[str, tuple[bool, Callable[[world.Scene], int | None], Sequence[str]]]:
    """{name: (of single things?, scene -> label or None, texts of the classes)}; None: the scene is not in the data set."""
    found = {}
    for name, categories in NOUN_SETS.items():
        words = [word for word in NOUNS if world.noun(word).category in categories]
        label = {word: number for number, word in enumerate(words)}
        texts = [world.article(word) for word in words]
        found[name] = (True, lambda scene, label=label: label.get(scene.words[0]), texts)
    backgrounds = list(world.BACKGROUNDS)
    kinds = sorted({world.noun(word).category for word in NOUNS})
    texts = [f"a {name} background" for name in backgrounds]
    found["backgrounds"] = (True, lambda scene: backgrounds.index(scene.background), texts)
    numbers = ["one thing", "two things", "three things", "four things"]
    found["counting"] = (False, lambda scene: len(scene.things) - 1, numbers)
    found["place in the picture"] = (True, place, [f"a thing {name}" for name in PLACES])
    large = ["a small thing", "a large thing"]
    found["size in the picture"] = (True, lambda scene: int(scene.things[0].size > 0.41), large)
    kind = [world.article(name) for name in kinds]
    found["kind of thing"] = (True, lambda scene: kinds.index(scene.things[0].noun.category), kind)
    return found


def data_set_rows(model: CLIP, towers: Mapping[str, nn.Module], size: Scale, seed: int) -> dict:
    """Accuracy on each data set: zero-shot, and probes on the features of the image towers (Fig. 5)."""
    pictures = {
        (split, single): Pictures(split, count, seed, single)
        for split, count in zip(("train", "test"), counts(size))
        for single in (True, False)
    }
    tower = {
        name: {key: shown.of(one.vision, one) for key, shown in pictures.items()}
        for name, one in towers.items()
    }
    joint = {key: shown.of(model.encode_image, model) for key, shown in pictures.items()}
    rows = {}
    for name, (single, label_of, texts) in data_sets().items():
        labels, kept = {}, {}
        for split in ("train", "test"):
            found = [label_of(scene) for scene in pictures[split, single].scenes]
            kept[split] = [row for row, label in enumerate(found) if label is not None]
            labels[split] = torch.tensor([found[row] for row in kept[split]])
        classes = class_embeddings(model, texts, world.captions.PROMPTS, tokenizer.encode)
        guessed = zero_shot(joint["test", single][kept["test"]], classes)
        rows[name] = {
            "zero-shot": accuracy(guessed, labels["test"]),
            "chance": 1 / len(texts),
            **{
                f"probe on {who}": linear_probe(
                    (found["train", single][kept["train"]], labels["train"]),
                    (found["test", single][kept["test"]], labels["test"]),
                    STRENGTHS,
                )
                for who, found in tower.items()
            },
        }
    return rows


@lru_cache(4)
def single_pictures(split: str, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pixels and labels of single things."""
    pairs, labels = things_alone(count, split, seed)
    return world.to_pixels(pairs.images(range(count))), labels


def labelled(
    encode: Callable, model: nn.Module, size: Scale, seed: int, larger: int = 1
) -> list[tuple[Tensor, Tensor]]:
    """(features, labels) of single things to train a probe of all nouns, and to test it.

    larger  how many times as many to train it: enough for 16 of each class
    """
    parts = []
    for split, count in zip(("train", "test"), (larger * counts(size)[0], counts(size)[1])):
        pixel_values, labels = single_pictures(split, count, seed)
        parts.append((features(encode, model, pixel_values), labels))
    return parts


def shot_rows(model: CLIP, towers: Mapping[str, nn.Module], size: Scale, seed: int) -> dict:
    """Zero-shot on all nouns beside k-shot probes on the features of the image towers (Fig. 6)."""
    images, labels = labelled(model.encode_image, model, size, seed)[1]
    rows: dict = {"zero-shot": accuracy(zero_shot(images, study_classes(model)), labels)}
    for who, one in towers.items():
        train, test = labelled(one.vision, one, size, seed, larger=2)
        fewest = int(torch.bincount(train[1], minlength=len(NOUNS)).min())
        rows[who] = {
            str(k): k_shot_probe(train, test, k, draws=1).mean for k in SHOTS if k <= fewest
        }
        rows[who]["all"] = linear_probe(train, test, STRENGTHS)
    return rows


def class_list_rows(model: CLIP, size: Scale, seed: int) -> dict:
    """Share of pictures of GROUP that are called an ALARM class, before and after classes of GROUP join the list.

    Which class joins next is chosen on training pictures; the shares are of test pictures. "right": share of the alarm's own
    pictures that are called an ALARM class.
    """
    of = {category: [w for w in NOUNS if world.noun(w).category == category] for category in
          (ALARM, GROUP)}  # fmt: skip
    others = [word for word in NOUNS if world.noun(word).category not in (ALARM, GROUP)][::3]
    parts = labelled(model.encode_image, model, size, seed)
    vector = dict(zip(NOUNS, study_classes(model)))

    def share(part: int, category: str, added: list[str]) -> float:
        images, labels = parts[part]
        shown = torch.tensor([NOUNS[label] in of[category] for label in labels.tolist()])
        names = [*others, *of[ALARM], *added]
        guessed = zero_shot(images[shown], torch.stack([vector[name] for name in names]))
        return (
            torch.tensor([names[number] in of[ALARM] for number in guessed.tolist()])
            .float()
            .mean()
            .item()
        )

    added: list[str] = []
    rows = {"0 classes added": share(1, GROUP, [])}
    rows |= {"right, 0 classes added": share(1, ALARM, [])}
    while left := [word for word in of[GROUP] if word not in added]:
        added.append(min(left, key=lambda word: share(0, GROUP, [*added, word])))
        rows[f"{len(added)} classes added"] = share(1, GROUP, added)
        rows[f"right, {len(added)} classes added"] = share(1, ALARM, added)
    return rows


def shift_rows(size: Scale, seed: int) -> dict:
    """Accuracy in each style of four models that differ in supervision and in the variety of their pictures (Fig. 13).

    Labels name single things. Captions go with scenes of one to four things: on single things alone, where many pictures of a
    batch share a noun, CLIP learns nothing in so few steps.
    """
    pairs, labels = things_alone(counts(size)[1], "test", seed)
    images = pairs.images(range(len(labels)))
    rows = {}
    for variety, styles in (("one style", ("as trained",)), ("varied", VARIED)):
        pictures = study_pairs(seed=seed, styles=styles)
        single = replace(pictures, things=(1, 1))
        clip = train_study_clip(size, seed, Pool(pictures, PAIRS[size.name])).model
        classes = study_classes(clip)
        classifier = train_supervised(size, seed, Pool(single, PAIRS[size.name])).model
        predictors = {
            "captions": lambda pixels: zero_shot(clip.encode_image(pixels), classes),
            "labels": lambda pixels: classifier(pixels).argmax(1),
        }
        with torch.no_grad():
            for supervision, predict in predictors.items():
                found = shift_curve(predict, images, labels, tuple(world.STYLES))
                rows[f"{supervision}, {variety}"] = found
    return rows


def scores(model: CLIP, size: Scale, seed: int) -> dict[str, float]:
    """Zero-shot accuracy on nouns, and mean R@1 of both directions among 256 held-out scenes."""
    images, labels = labelled(model.encode_image, model, size, seed)[1]
    pairs = study_pairs("test", seed)
    found = retrieval_recall(
        *embed(model, pairs, pairs.distinct(256 if size.name != "smoke" else 32))
    )
    return {
        "zero-shot": accuracy(zero_shot(images, study_classes(model)), labels),
        "mean R@1": (found["image to text R@1"] + found["text to image R@1"]) / 2,
    }


def scaling_rows(size: Scale, seed: int) -> dict:
    """Probe, zero-shot and retrieval over the compute of the image tower, at equal steps (Fig. 10).

    A ViT of width 128 is left out: with these steps and this learning rate it hardly trains (probe .32, seed 0).
    """
    rows = {}
    for family, widths, changes in (
        ("ViT", (32, 64), {}),
        ("ResNet", (64, 128), {"resnet": (1, 1, 1)}),
    ):
        for width in widths:
            options = (
                changes if (family, width) == ("ViT", 64) else changes | {"vision_width": width}
            )
            model = train_study_clip(size, seed, **options).model
            image = torch.zeros(1, 3, size.image_size, size.image_size)
            rows[f"{family} {width}"] = scores(model, size, seed) | {
                "linear probe": linear_probe(
                    *labelled(model.vision, model, size, seed), STRENGTHS[1:]
                ),
                "MFLOPs an image": count_flops(lambda: model.vision(image)) / 1e6,
                "parameters": sum(p.numel() for p in model.vision.parameters()),
            }
            print(family, width, rows[f"{family} {width}"], flush=True)
    return rows


def overlap_rows(model: CLIP, size: Scale, seed: int) -> dict:
    """Zero-shot accuracy if 3.2 % of the test pictures are replaced by pictures the model was trained on (Sec. 5)."""
    images, labels = labelled(model.encode_image, model, size, seed)[1]
    train = Pool(study_pairs(seed=seed), PAIRS[size.name])
    single = [row for row in range(train.count) if len(train.pairs.scene(row).words) == 1]
    planted = max(1, round(0.032 * len(labels)))
    with torch.no_grad():
        seen = model.encode_image(world.to_pixels(train.images()[single[:planted]]))
    seen_labels = torch.tensor([NOUNS.index(train.pairs.scene(row).words[0]) for row in single])
    classes = study_classes(model)
    clean = (zero_shot(images, classes) == labels)[planted:].float()
    leaked = (zero_shot(seen, classes) == seen_labels[:planted]).float()
    return {
        "overlap": planted / len(labels),
        "all": torch.cat([leaked, clean]).mean().item(),
        "clean": clean.mean().item(),
        "overlapping": leaked.mean().item(),
    }


def noisy_pool(size: Scale, seed: int) -> Pool:
    """Half of the pairs; a share NOISE of them has another picture's caption."""
    return Pool(study_pairs(seed=seed, noise=Noise(NOISE)), PAIRS[size.name] // 2)


def noise_rows(size: Scale, seed: int) -> dict:
    """Small CLIPs trained on noisy pairs, on the ones that lesson 02's CLIP keeps, and on the same pictures with their captions.

    "held out": loss on pairs of the test split, with their own captions, in batches as large as those of training
    """
    noisy = noisy_pool(size, seed)
    judge = recipes.get("clip").train_or_load(size.name).model
    judged = replace(noisy.pairs, size=judge.config.image_size)
    images, texts = embed(judge, judged, range(noisy.count))
    order = (images * texts).sum(1).argsort(descending=True)
    kept = tuple(sorted(order[: int(KEPT * noisy.count)].tolist()))
    matching = [not noisy.pairs.noise.is_noisy(row, seed) for row in range(noisy.count)]
    found = [matching[row] for row in kept]
    rows = {"matching pairs": sum(matching) / noisy.count}
    rows |= {"precision": sum(found) / len(kept), "recall": sum(found) / sum(matching)}
    pools = {"all pairs": noisy, "filtered pairs": replace(noisy, rows=kept)}
    pools |= {"no noise": Pool(replace(noisy.pairs, noise=None), noisy.count)}
    test = Pool(study_pairs("test", seed), 4 * SIZES[size.name].batch)
    batches = torch.arange(test.count).chunk(4)
    for name, pool in pools.items():
        trained = train_study_clip(size, seed, pool)
        with torch.no_grad():
            losses = [trained.model.losses(test.batch(one.tolist()))["clip"] for one in batches]
        rows[name] = scores(trained.model, size, seed) | {
            "loss": spread([step.losses["clip"] for step in trained.history[-20:]]).mean,
            "loss, held out": torch.stack(losses).mean().item(),
        }
    return rows


def half_labelled(size: Scale, seed: int, steps: int | None = None) -> Supervised:
    """A ResNet trained with the labels of LABELLED nouns on pictures of these alone."""
    pairs = study_pairs(seed=seed, things=(1, 1))
    rows = [row for row in range(PAIRS[size.name]) if pairs.scene(row).words[0] in LABELLED]
    data = Pool(pairs, PAIRS[size.name], tuple(rows))
    options = {"vision_width": 128, "resnet": (1, 1, 1)}
    return train_supervised(size, seed, data, steps, **options).model


def longer(size: Scale, seed: int) -> dict:
    """Data sets and shots, three image towers, noisy pairs, each model with LONGER times as many steps.

    "won": share of the data sets on which zero-shot is more accurate than the probe on the supervised classifier.
    """
    steps = LONGER * SIZES[size.name].steps
    small, resnet = {"vision_width": 32}, {"vision_width": 128, "resnet": (1, 1, 1)}
    clips = {
        name: train_study_clip(size, seed, steps=steps, **options).model
        for name, options in (("ViT 64", {}), ("ViT 32", small), ("ResNet 128", resnet))
    }
    clip = clips["ViT 64"]
    towers = {"CLIP": clip, "supervised": half_labelled(size, seed, steps)}
    sets = data_set_rows(clip, towers, size, seed)
    won = [row["zero-shot"] > row["probe on supervised"] for row in sets.values()]
    noisy = train_study_clip(size, seed, noisy_pool(size, seed), steps=steps).model
    return {
        "data sets": sets | {"won": sum(won) / len(won)},
        "shots": shot_rows(clip, towers, size, seed),
        "scaling": {
            name: scores(model, size, seed)
            | {"linear probe": linear_probe(*labelled(model.vision, model, size, seed), STRENGTHS)}
            for name, model in clips.items()
        },
        "noise": {"all pairs": scores(noisy, size, seed)},
    }


def measure(name: str, size: Scale, seed: int) -> dict:
    """One study, one seed."""
    if name == "shift":
        return shift_rows(size, seed)
    if name == "scaling":
        return scaling_rows(size, seed)
    if name == "noise":
        return noise_rows(size, seed)
    model = train_study_clip(size, seed).model
    if name in ("data sets", "shots"):
        config = recipes.clip.clip_config(size, patch=8)
        untrained = recipes.clip.new_clip(config, seed).eval()
        towers = {
            "CLIP": model,
            "supervised": half_labelled(size, seed),
            "untrained": untrained,
        }
        rows = data_set_rows if name == "data sets" else shot_rows
        return rows(model, towers, size, seed)
    one = {"class list": class_list_rows, "overlap": overlap_rows}[name]
    return one(model, size, seed)


STUDIES = ("data sets", "shots", "class list", "overlap", "noise", "shift", "scaling")


@app.command()
def main(scale: str = "laptop", seeds: int = 3) -> None:
    """Trains what is not in the cache, measures, writes results/replicate_clip_studies.json."""
    size = study_scale(scale)
    name = "replicate_clip_studies" + ("" if scale == "laptop" else f"_{scale}")
    sizes = SIZES[size.name]
    facts = {"scale": scale, "steps": sizes.steps, "batch": sizes.batch, "pairs": PAIRS[size.name]}
    facts["labelled"] = LABELLED
    before = load_matching_results(name, **facts)
    rows, long = before.get("rows", []), before.get("longer", [])
    for seed in range(seeds):
        if not any(row["seed"] == seed for row in long):
            long = [*long, {"seed": seed, "steps": LONGER * sizes.steps} | longer(size, seed)]
            print(long[-1], save_results(name, rows, longer=long, **facts), flush=True)
        for study in STUDIES:
            if not any((row["row"], row["seed"]) == (study, seed) for row in rows):
                rows = [*rows, {"row": study, "seed": seed} | measure(study, size, seed)]
                path = save_results(name, rows, longer=long, **facts)
                print(f"{study}, seed {seed}: kept in {path}", flush=True)


if __name__ == "__main__":
    app()
