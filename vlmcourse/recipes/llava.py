"""LLaVA's two stages on the world: patches of CLIP's frozen image tower, a projector, the tiny language model.

Feature alignment trains the projector on captions. Instruction tuning goes on with the projector and the layers of the
language model, on dialogues about scenes. The world is smaller, every fourth noun: each stage takes minutes of one core, and
with all nouns, 200 steps of alignment named a fifth of held-out things. They are not enough for where, how many, position and
compare: those answers are no better than with another picture. The tower's features are computed once for each scene and cached.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vlmcourse import world
from vlmcourse.evaluation import exact_match, noun_and_background_accuracy
from vlmcourse.evaluation.generation import generate_sentences
from vlmcourse.papers.llava import LLaVA, Projector
from vlmcourse.parts.image_features import ImageFeatures
from vlmcourse.parts.language import freeze, width
from vlmcourse.recipes import frozen
from vlmcourse.recipes import recipe as registry
from vlmcourse.recipes.blip2 import image_prefix, mean_word_embedding, projection_near
from vlmcourse.recipes.features import CachedFeatures, feature_cache
from vlmcourse.recipes.recipe import Recipe, Run, Stage
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import prompts, tokenizer
from vlmcourse.world.dialogues import dialogue
from vlmcourse.world.documents import vocabulary
from vlmcourse.world.pages import Episode, Page, question_prompt
from vlmcourse.world.pairs import Pairs
from vlmcourse.world.questions import answers, ask
from vlmcourse.world.regions import SubsetOfNouns


@dataclass(frozen=True)
class Sizes(registry.Sizes):
    """Beside batch and steps: different scenes, whose features are cached."""

    scenes: int


ALIGNMENT_SIZES = {
    "smoke": Sizes(16, 12, 64),
    "laptop": Sizes(32, 300, 2048),
    "gpu": Sizes(256, 2000, 500_000),
}
TUNING_SIZES = {
    "smoke": Sizes(16, 12, 64),
    "laptop": Sizes(16, 600, 3072),
    "gpu": Sizes(128, 10_000, 150_000),
}
ALIGNMENT_OPTIMISATION = Optimisation(5e-3, weight_decay=0.0, betas=(0.9, 0.95), warmup=0.03)
"""The paper: Adam without weight decay, 2e-3, 3 % warm-up, cosine, one epoch (training details in its appendix)."""
TUNING_OPTIMISATION = Optimisation(1e-3, weight_decay=0.0, betas=(0.9, 0.95), warmup=0.03)
"""The paper: the same with 2e-5, for three epochs."""
ROUNDS = 3
"""Questions in a dialogue."""
NOUNS = world.known_nouns()[::4]
"""What the scenes show."""
KINDS = tuple(kind for kind in world.questions.KINDS if kind != "presence")
"""Of questions. Absent things would be any of the world's: a noun that no scene shows would give the answer away."""


def image_encoder(vision: nn.Module) -> ImageFeatures:
    """CLIP's image tower without its last block, unless it has a single one (scale smoke), and without the class token."""
    skip_blocks = int(len(vision.transformer.blocks) > 1)
    return ImageFeatures(vision, skip_blocks, class_token=False, standardize=True)


def patches(vision: ImageFeatures) -> int:
    """How many vectors stand for a picture."""
    side = vision.image_size
    return vision(torch.zeros(1, 3, side, side)).shape[1]


def new_llava(
    vision: ImageFeatures, lm: nn.Module, seed: int = 0, projector: nn.Module | None = None
) -> LLaVA:
    """A LLaVA whose projector is this one, or an untrained one that depends on the seed alone."""
    image_token_id = tokenizer.world_tokenizer().convert_tokens_to_ids("<image>")
    with seeded(seed):
        projector = projector or projector_near_words(vision.width, lm)
    return LLaVA(vision, lm, image_token_id, projector)


def projector_near_words(vision_width: int, lm: nn.Module) -> Projector:
    """A projector whose outputs start near the mean word. The paper starts anywhere, see blip2.projection_near."""
    projector = Projector(vision_width, width(lm))
    projector[2] = projection_near(mean_word_embedding(lm), width(lm), lm, residual_scale=0.3)
    return projector


def scenes(scale: Scale, seed: int, split: str = "train", things=(1, 4), **options) -> Pairs:
    """Scenes of the smaller world. options: of Pairs"""
    return SubsetOfNouns(split, scale.image_size, seed, things, noun_subset=NOUNS, **options)


@dataclass(frozen=True)
class Dialogues:
    """Dialogues about the first `count` scenes of `pairs`, one after the other, again and again with other questions.

    encoder  of the pictures; rounds: most questions in a dialogue
    """

    pairs: Pairs
    encoder: ImageFeatures
    count: int
    rounds: int = ROUNDS

    def scene(self, index: int) -> world.Scene:
        return self.pairs.scene(index % self.count)

    def turns(self, index: int) -> list[tuple[str, str]]:
        """Instructions with their answers: first a description, on one dialogue in four, then questions."""
        scene = self.scene(index)
        rng = world.SeededRandom("instructions", self.pairs.seed, self.pairs.split, index)
        questions = [turn.question for turn in dialogue(scene, rng, 2 * self.rounds).rounds]
        turns = [
            (question_prompt(question), question.answer)
            for question in questions
            if question.kind in KINDS
        ]
        if rng.random() < 0.25 or not turns:
            turns.insert(0, (DESCRIBE, world.captions.detailed(scene, rng)))
        return turns[: self.rounds]

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """`features` (B, P, C), `ids` (B, T) padded on the right, `loss_mask` (B, T), True at answers and their full stops."""
        prefix = image_prefix(patches(self.encoder))
        rows = [dialogue_ids(prefix, self.turns(index)) for index in indices]
        ids, loss_mask = (
            nn.utils.rnn.pad_sequence(list(part), True, tokenizer.PAD) for part in zip(*rows)
        )
        cache = feature_cache(self.encoder, self.pairs.size)
        features = cache.pictures([self.scene(index) for index in indices])
        return {"features": features, "ids": ids, "loss_mask": loss_mask}


DESCRIBE = "question : what is on the picture ? answer :"
"""The instruction that asks for a detailed description."""


def dialogue_ids(prefix: str, turns: Sequence[tuple[str, str]]) -> tuple[Tensor, Tensor]:
    """A dialogue after what stands for its picture, as ids (T,), and True at each word of an answer and its full stop (T,)."""
    pieces = [(f"<bos> {prefix}", False)]
    for instruction, answer in turns:
        pieces += [(instruction, False), (f"{answer} {frozen.STOP}", True)]
    known = vocabulary()
    words = [(known[word], learnt) for text, learnt in pieces for word in text.split()]
    ids, loss_mask = zip(*words)
    return torch.tensor(ids), torch.tensor(loss_mask)


def setup_alignment(
    scale: Scale,
    sizes: Sizes,
    seed: int,
    stage: Stage,
    *,
    vision: ImageFeatures | None = None,
    lm: nn.Module | None = None,
) -> Run:
    """vision: default, the image encoder of CLIP; lm: default, the tiny language model, frozen."""
    vision = vision or image_encoder(stage("clip").vision)
    lm = lm or freeze(stage("language").lm)
    pairs = scenes(scale, seed, things=frozen.ONE_THING, caption=frozen.thing_and_background)
    data = CachedFeatures(pairs, vision, sizes.scenes, image_prefix(patches(vision)))
    return Run(new_llava(vision, lm, seed), data, None, (vision, lm), data.count)


def setup_tuning(
    scale: Scale,
    sizes: Sizes,
    seed: int,
    stage: Stage,
    *,
    vision: ImageFeatures | None = None,
    lm: nn.Module | None = None,
    projector: nn.Module | None = None,
) -> Run:
    """vision     default: the image encoder of CLIP
    lm         of which a copy is trained, if it isn't frozen; default: the tiny one, its word embeddings frozen
    projector  of which a copy is trained; default: that of feature alignment. An untrained one leaves out the first stage
    """
    vision = vision or image_encoder(stage("clip").vision)
    if lm is None:
        lm = deepcopy(stage("language").lm)
        lm.get_input_embeddings().requires_grad_(False)
    projector = projector or stage("llava_alignment", seed, vision=vision).projector
    data = Dialogues(scenes(scale, seed), vision, sizes.scenes)
    model = new_llava(vision, deepcopy(lm), seed, deepcopy(projector))
    return Run(model, data, None, (vision, lm, projector))


# What it is tested on: scenes with combinations that training never shows.


def held_out_questions(kind: str, scale: Scale, count: int, things=(1, 4)) -> list[Episode]:
    """Questions of a kind about held-out scenes, each a prompt with its picture."""
    episodes = []
    for index, scene in enumerate(scenes(scale, 0, "test", things).scenes(range(count))):
        question = ask(scene, world.SeededRandom("held-out question", kind, index), (kind,))
        prompt = scene, question_prompt(question)
        episodes.append(Episode(prompt, question.answer, answers(kind)))
    return episodes


def generate_answers(
    model: LLaVA, pages: Sequence[Page], size: int, max_new_tokens: int = 4
) -> list[str]:
    """What the model writes after pages of a picture and a text, greedily, up to the full stop. size: of the pictures."""
    data = prompts.Prompts(pages, size, image_prefix(patches(model.vision)))
    return generate_sentences(model, data, max_new_tokens)


def question_accuracy(
    model: LLaVA, kind: str, scale: Scale, count: int, shuffled: bool = False
) -> float:
    """Share of held-out questions of a kind to which the model writes the right answer. shuffled: with another's picture."""
    questions = held_out_questions(kind, scale, count)
    pages = [question.prompt for question in questions]
    pages = prompts.swap_pictures(pages) if shuffled else pages
    return exact_match(
        generate_answers(model, pages, scale.image_size),
        [question.answer for question in questions],
    )


def llava_report(model: LLaVA, scale: Scale, count: int = 256) -> dict[str, dict[str, float]]:
    """Share of right answers by kind of question and their mean: with the picture, and with that of another question."""
    report = {}
    for name, shuffled in (("with the picture", False), ("pictures exchanged", True)):
        scores = {kind: question_accuracy(model, kind, scale, count, shuffled) for kind in KINDS}
        report[name] = scores | {"mean": sum(scores.values()) / len(scores)}
    return report


def caption_report(model: LLaVA, scale: Scale, count: int = 256) -> dict[str, float]:
    """Captions of held-out scenes of one thing: share with the right noun, with the right background, beside chance."""
    pictures = scenes(scale, 0, "test", frozen.ONE_THING).scenes(range(count))
    captions = generate_answers(model, [(picture,) for picture in pictures], scale.image_size)
    return noun_and_background_accuracy(captions, pictures)


alignment = Recipe(
    "llava_alignment",
    ALIGNMENT_SIZES,
    setup_alignment,
    ALIGNMENT_OPTIMISATION,
    caption_report,
)
recipe = Recipe(
    "llava",
    TUNING_SIZES,
    setup_tuning,
    TUNING_OPTIMISATION,
    llava_report,
    shipped_dtype=torch.float16,
)
"""Both stages: what the course calls LLaVA."""
