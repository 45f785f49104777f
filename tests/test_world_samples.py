"""What the world samples never changes: trained stages, results and lessons stand on the very scenes, texts and pages."""

import hashlib
from dataclasses import fields, is_dataclass

import pytest
import torch

from vlmcourse import world
from vlmcourse.world import (
    captions,
    co_occurrence,
    corruptions,
    dialogues,
    digits,
    documents,
    few_shot,
    interleaved,
    minimal_pairs,
    noise,
    pages,
    prompts,
    questions,
    regions,
    statements,
    videos,
)
from vlmcourse.world.scenes import SeededRandom, sample

SPLITS = ("train", "test", "novel")


def plain(value):
    """Values without the names of classes and fields. Pictures are left out: how artwork is drawn is the library's affair."""
    if is_dataclass(value):
        return [plain(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, dict):
        return sorted(repr(plain(part)) for key, part in value.items() if "pixel" not in key)
    if isinstance(value, torch.Tensor):
        return [list(value.shape), value.tolist()]
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return round(value, 9) if isinstance(value, float) else value


def checksum(values) -> str:
    return hashlib.sha256(repr(plain(values)).encode()).hexdigest()[:12]


def scenes(count: int = 20, things=(1, 4)):
    return [sample(split, index, 3, things) for split in SPLITS for index in range(count)]


def said(kind):
    return [kind(scene, SeededRandom("test", index)) for index, scene in enumerate(scenes())]


def pairs(**changes):
    made = world.Pairs("train", 16, seed=1, **changes)
    return [made.scenes(range(20)), made.batch(range(20)), made.distinct(5)]


def swapped(swap):
    return minimal_pairs.caption_choices(swap, count=10, seed=2)


def siblings():
    made = minimal_pairs.MinimalPairs("train", 16, 1, (1, 2))
    return [made.scenes(range(30)), made.batch(range(30))]


def changed(pairs, change):
    return [regions.false_caption(index, pairs, change) for index in range(20)]


FEW = regions.SubsetOfNouns(
    "train", 16, 1, (1, 2), captions.detailed, None, world.known_nouns()[::10]
)
SCENE_PAIRS = world.Pairs("train", 16)
NAMED = [pages.naming_episode("test", index, ways=2, shots=2) for index in range(10)]
SHOTS = [pages.vqa_episode("test", index, "what", 2) for index in range(10)]
WEB = interleaved.WebPages(pool=64)
SMALL_WEB = interleaved.WebPages("test", 1, 64, noun_subset=world.known_nouns()[:40])
SAMPLES = (
    {
        "scenes": scenes,
        "scenes among": lambda: [
            sample("train", i, 0, (1, 2), ("cat", "dog", "bee")) for i in range(9)
        ],
        "questions": lambda: [
            questions.ask(scene, SeededRandom("ask", index, kind), (kind,))
            for kind in questions.KINDS
            for index, scene in enumerate(scenes(5))
        ],
        "answers": lambda: [questions.answers(kind) for kind in questions.KINDS],
        "asked": lambda: questions.VQAPairs(SCENE_PAIRS).batch(range(20)),
        "pairs": pairs,
        "single pairs": lambda: pairs(single_share=1 / 3, caption=captions.prompted),
        "mismatched pairs": lambda: pairs(noise=noise.Noise(0.5)),
        "generic pairs": lambda: pairs(noise=noise.Noise(0.5, noise.generic)),
        "duplicated pairs": lambda: pairs(noise=noise.Noise(0.5, noise.duplicated)),
        "siblings": siblings,
        "exchanged": lambda: swapped(minimal_pairs.swap_positions),
        "repainted": lambda: swapped(minimal_pairs.change_background),
        "regions": lambda: regions.RegionDataset(FEW).batch(range(10)),
        "grid": lambda: regions.RegionDataset(FEW, regions.grid_boxes).batch(range(3)),
        "places swapped": lambda: changed(FEW, regions.swap_across_rows),
        "recoloured": lambda: changed(FEW, regions.recolour_background),
        "nearly right": lambda: [regions.hard_or_mismatched(index, FEW) for index in range(20)],
        "statements": lambda: [
            statements.statement(s, i) for s in ("train", "test") for i in range(20)
        ],
        "dialogues": lambda: [
            dialogues.dialogue(scene, SeededRandom("talk", index))
            for index, scene in enumerate(scenes(4))
        ],
        "signs": lambda: [
            [one, one.caption, one.question]
            for one in (digits.sign(split, i) for split in ("train", "test") for i in range(10))
        ],
        "videos": lambda: [
            [one, one.caption, one.questions()]
            for one in (
                videos.make_video(s, SeededRandom("v", i), 4) for i, s in enumerate(scenes(4))
            )
        ],
        "pages": lambda: [pages.page(split, index) for split in SPLITS for index in range(10)],
        "naming": lambda: NAMED,
        "shots": lambda: SHOTS,
        "prompts": lambda: prompts.Prompts([one.prompt for one in SHOTS], 16).batch(range(10)),
        "learning": lambda: prompts.training_batch(
            [e.prompt for e in SHOTS], [e.answer for e in SHOTS], 16
        ),
        "captioned": lambda: prompts.CaptionDataset(SCENE_PAIRS).batch(range(10)),
        "answered": lambda: prompts.VQADataset(questions.VQAPairs(SCENE_PAIRS)).batch(range(10)),
        "other pictures": lambda: prompts.swap_pictures([one.prompt for one in SHOTS]),
        "web pairs": lambda: [web.pairs(i) for web in (WEB, SMALL_WEB) for i in range(30)],
        "web described": lambda: [web.described(i) for web in (WEB, SMALL_WEB) for i in range(30)],
        "web films": lambda: [web.videos(i) for web in (WEB, SMALL_WEB) for i in range(20)],
        "web pages": lambda: [web.pages(i) for web in (WEB, SMALL_WEB) for i in range(60)],
        "web batch": lambda: interleaved.PageDataset(
            WEB.pages, lambda videos: {"videos": videos}
        ).batch(range(9)),
        "web prompts": lambda: interleaved.chunked_prompts([e.prompt for e in SHOTS], 16).batch(
            range(10)
        ),
        "binding": lambda: [
            few_shot.binding_episode("test", i, n) for n in (0, 2, 5) for i in range(5)
        ],
        "few binding": lambda: few_shot.binding_episode(
            "test", 0, 4, 2, 1, world.known_nouns()[:40]
        ),
        "other episodes' pictures": lambda: few_shot.other_pictures(SHOTS),
        "web shots": lambda: [
            few_shot.question_episode(WEB, index, "colour", 2) for index in range(10)
        ],
        "motions": lambda: few_shot.motion_episodes(WEB, 10),
        "documents": lambda: documents.Documents(seed=1).batch(range(20)),
        "words binding": lambda: [documents.binding_episode(index) for index in range(10)],
        "known facts": documents.known_facts,
        "habits": lambda: [
            [made.scene(index), made.text(index)]
            for made in (co_occurrence.BiasedPairs(16), co_occurrence.BiasedPairs(16, 2, 0.5))
            for index in range(40)
        ],
        "presence": lambda: [
            corruptions.presence_questions(way, 10) for way in corruptions.ABSENT.values()
        ],
        "choice of captions": lambda: corruptions.caption_questions(
            minimal_pairs.swap_positions, 10
        ),
        "sums": lambda: [
            corruptions.digit_sums(5),
            corruptions.sums_as_text(corruptions.digit_sums(5)),
        ],
        "supports": lambda: [change(SHOTS) for change in corruptions.CORRUPTIONS.values()],
        "relabelled names": lambda: corruptions.wrong_labels(
            [few_shot.binding_episode("test", index, 4) for index in range(5)]
        ),
        "orders": lambda: [corruptions.example_orders(SHOTS), corruptions.other_examples(SHOTS, 3)],
        "written": lambda: [
            prompts.Prompts([one.prompt for one in SHOTS], 16, "<image> .", end_of_chunk=end).batch(
                range(10)
            )
            for end in ("", "<EOC>")
        ],
    }
    | {
        f"captions, {kind}": lambda kind=kind: said(getattr(captions, kind))
        for kind in (
            "detailed",
            "varied",
            "prompted",
            "annotated",
            "annotated_or_varied",
            "synonyms",
            "short",
        )
    }
    | {
        f"documents, {kind.__name__}": lambda kind=kind: [
            kind(SeededRandom("d", i)) for i in range(10)
        ]
        for kind in documents.KINDS
    }
)
EXPECTED: dict[str, str] = {
    "scenes": "fcabb693e68d",
    "scenes among": "781a7e370dbd",
    "questions": "98537dbbfdae",
    "answers": "2a056e81552d",
    "asked": "7c9470991a39",
    "pairs": "35460007963c",
    "single pairs": "c16897006d87",
    "mismatched pairs": "8fb4c8c8c410",
    "generic pairs": "c122c658c485",
    "duplicated pairs": "5ef2a6191968",
    "siblings": "50b8794311bb",
    "exchanged": "b174510a2f8c",
    "repainted": "0f1e9772b7bb",
    "regions": "64625f71e4e5",
    "grid": "a9b955f48968",
    "places swapped": "a6b800f3bdce",
    "recoloured": "701471aa786f",
    "nearly right": "d0193c1dce93",
    "statements": "6034d56e5961",
    "dialogues": "6d84228d4fa6",
    "signs": "2461d18a0e14",
    "videos": "650c1cabf56f",
    "pages": "7f635f1191e6",
    "naming": "6213000f57fb",
    "shots": "f2a75e162f70",
    "prompts": "f6507d2782a2",
    "learning": "32acab13309c",
    "captioned": "1ed7685bd5cc",
    "answered": "5d8abdb31610",
    "other pictures": "0d7dae34c3a6",
    "web pairs": "a6271776d0ed",
    "web described": "c094bbdfda9d",
    "web films": "5047cf9146b8",
    "web pages": "eddc2f6ec360",
    "web batch": "015715c2494e",
    "web prompts": "bcb0b402a391",
    "binding": "cd45b37b833b",
    "few binding": "77b551e7e8f9",
    "other episodes' pictures": "6cc1d9ce83aa",
    "web shots": "55d5f97c38c1",
    "motions": "6bfd5b0b83cf",
    "documents": "3f4140b88aa5",
    "words binding": "626b0ae95736",
    "known facts": "b89ea9c17de9",
    "habits": "250e6b15fdee",
    "presence": "57c956be4841",
    "choice of captions": "c574bc1e804c",
    "sums": "bee3e20df5d0",
    "supports": "a873c818eaa9",
    "relabelled names": "aa4530ad5da9",
    "orders": "78c70413dac1",
    "written": "ced3bec42724",
    "captions, detailed": "21bfad432242",
    "captions, varied": "e10c3c014b11",
    "captions, prompted": "3e8d8edec706",
    "captions, annotated": "a42f740580cf",
    "captions, annotated_or_varied": "bbcd91331fa8",
    "captions, synonyms": "b414a20b990a",
    "captions, short": "4a2073ce6570",
    "documents, invented_names": "4667d6223450",
    "documents, repeats": "457e1750273f",
    "documents, episodes": "89c212317f12",
    "documents, facts": "b0642d70a71d",
    "documents, question_answers": "c4847bb49fc5",
    "documents, paraphrases": "cc9d00cc439d",
    "documents, pages": "474c326697b5",
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_samples_of_the_world_stay_as_they_were(kind):
    assert checksum(SAMPLES[kind]()) == EXPECTED[kind]


def test_the_checksum_sees_one_word_that_differs():
    made = scenes()
    assert checksum(made) != checksum(made[:-1] + made[:1])
