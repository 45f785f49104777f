"""Lesson 07: a small Frozen put together from what the student writes, its data, and its tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

from torch import Tensor, nn

from teaching.built_models import Parts
from vlmcourse import recipes, world
from vlmcourse.papers.frozen import Frozen
from vlmcourse.parts.attention import cached_length
from vlmcourse.parts.language import (
    embed,
    embedding_rms,
    extend_padding_mask,
    logits,
    next_token_loss,
    width,
)
from vlmcourse.parts.vision import ViT
from vlmcourse.recipes.few_shot_report import binding
from vlmcourse.recipes.frozen import (
    FROZEN_OPTIMISATION,
    IMAGE_PREFIX,
    ONE_THING,
    episode_accuracy,
    frozen_config,
    mean_noun_and_background,
    thing_and_background,
)
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step, fit
from vlmcourse.training.in_memory import InMemory
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import few_shot, prompts, tokenizer
from vlmcourse.world.interleaved import WebPages
from vlmcourse.world.pages import Episode, nouns_of_split, single_thing
from vlmcourse.world.questions import answers, ask
from vlmcourse.world.regions import SubsetOfNouns
from vlmcourse.world.scenes import SeededRandom

NOUNS = world.known_nouns()[:96:8]
"""Twelve nouns: few enough for an encoder to learn them from random weights in less than a minute."""


class BuiltFrozen(nn.Module):
    """Frozen put together from `parts`. Its language model is frozen by parts["freeze"], in place.

    As in the course's recipe, the vectors start at mean word embeddings, and the encoder adds to them.
    """

    def __init__(self, scale: Scale, lm: nn.Module, parts: Parts, seed: int = 0):
        super().__init__()
        self.parts, self.lm = parts, lm
        self.config = c = frozen_config(scale, vision_depth=min(2, scale.vision_depth))
        parts["freeze"](lm)
        with seeded(seed):
            self.vision = ViT(c.image_size, c.patch, c.vision_width, c.vision_depth, c.vision_heads)
            self.prefix = parts["VisualPrefix"](c.vision_width, c.prefix_length, width(lm))
        self.norm = nn.BatchNorm1d(c.vision_width, affine=False)
        self.scale = c.residual_scale * embedding_rms(lm)
        self.register_buffer("start", mean_noun_and_background(lm))

    def vision_context(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """Images (M, 3, S, S) -> {"prefix": (M, n, D)}."""
        features = self.norm(self.vision(pixel_values))
        return {"prefix": self.start + self.scale * self.prefix(features)}

    def forward(
        self, ids: Tensor, cache=None, padding_mask: Tensor | None = None, prefix=None
    ) -> Tensor:
        """As Frozen's, with prefix (M, n, D)."""
        x = embed(self.lm, ids)
        if prefix is not None:
            x = self.parts["interleave"](x, prefix, ids == self.config.image_token_id)
        x = x[:, cached_length(cache) :]
        return logits(self.lm, x, extend_padding_mask(padding_mask, ids), cache)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """As Frozen's; which tokens are scored is decided by parts["caption_mask"]."""
        ids = batch["ids"]
        scored = self.parts["caption_mask"](
            ids, self.config.image_token_id, tokenizer.EOS, tokenizer.PAD
        )
        found = self(ids, **self.vision_context(batch["pixel_values"]))
        return {"lm": self.parts["caption_loss"](found, ids, scored)}


def captions(scale: Scale, size: int, split: str = "train", view: prompts.View | None = None):
    """Pictures of single things with captions, in memory. view: how pictures become pixels; default: as they are."""
    pairs = SubsetOfNouns(
        split, scale.image_size, 0, ONE_THING, thing_and_background, noun_subset=NOUNS
    )
    options = {"view": view} if view else {}
    return InMemory(prompts.CaptionDataset(pairs, IMAGE_PREFIX, **options), size)


def train(
    model: nn.Module,
    data: InMemory,
    steps: int,
    on_step: Callable[[Step], None] = lambda step: None,
    seed: int = 0,
) -> list[Step]:
    """Trains in place with batches of 32; the model is in evaluation mode afterwards."""
    history = []
    for step in fit(
        model, Batches(data.batch, 32, data.size, seed), steps, FROZEN_OPTIMISATION, seed=seed
    ):
        on_step(step)
        history.append(step)
    model.eval()
    return history


def questions(kind: str, shots: int, count: int, nouns: Sequence[str] = NOUNS) -> list[Episode]:
    """Questions of a kind about held-out pictures, after `shots` answered ones."""
    web = WebPages("test", noun_subset=tuple(nouns))
    return [few_shot.question_episode(web, index, kind, shots) for index in range(count)]


def asked_questions(prompt_of: Callable, kind: str, shots: int, count: int) -> list[Episode]:
    """Questions of a kind after `shots` answered ones, as prompts that prompt_of(examples, query, question) builds."""
    found = []
    for index in range(count):
        rng = SeededRandom("asked", kind, index)
        words = rng.sample(nouns_of_split("test", tuple(NOUNS)), shots + 1)
        scenes = [single_thing(word, "test", rng) for word in words]
        asked = [ask(scene, rng, (kind,)) for scene in scenes]
        examples = [(scene, one.text, one.answer) for scene, one in zip(scenes[:-1], asked)]
        parts = prompt_of(examples, scenes[-1], asked[-1].text)
        found.append(Episode(tuple(parts), asked[-1].answer, answers(kind)))
    return found


def new_names(
    prompt_of: Callable, count: int, ways=2, shots=1, induction=True, repeats=0, nouns=NOUNS
) -> list[Episode]:
    """Invented names of `ways` things with `shots` pictures each, as prompts that prompt_of builds (see naming_prompt)."""
    found = []
    for index in range(count):
        rng = SeededRandom("new names", index, ways)
        words = rng.sample(nouns_of_split("test", tuple(nouns)), ways)
        names = rng.sample(tokenizer.INVENTED, ways)
        target, examples = int(rng.random() * ways), []
        query = single_thing(words[target], "test", rng)
        for _ in range(shots):
            shown = [(single_thing(word, "test", rng), name) for word, name in zip(words, names)]
            examples += rng.sample(shown, ways)
        parts = prompt_of(examples, query, induction, repeats)
        found.append(Episode(tuple(parts), names[target], tuple(names)))
    return found


class Watch:
    """Draws the training curve, and tests the model several times during training with prompts that the student's functions build.

    found  {test: {step: share of right answers}}
    """

    def __init__(
        self,
        model: nn.Module,
        live: Callable[[Step], None],
        few_shot_prompt: Callable,
        naming_prompt: Callable,
        count: int,
        every: int,
    ):
        self.model, self.live, self.every = model, live, every
        self.tests = {
            "what is it? no example": asked_questions(few_shot_prompt, "what", 0, count),
            "what is it? 2 examples": asked_questions(few_shot_prompt, "what", 2, count),
            "two new names, 2 examples each": new_names(naming_prompt, count, shots=2),
        }
        self.found: dict[str, dict[int, float]] = {name: {} for name in self.tests}

    def __call__(self, step: Step) -> None:
        self.live(step)
        if step.step % self.every == 0:
            for name, episodes in self.tests.items():
                self.found[name][step.step] = episode_accuracy(self.model, episodes)


def with_prompts(episodes: Sequence[Episode], parts: Sequence[Sequence]) -> list[Episode]:
    """The same questions and answers with other prompts."""
    return [replace(one, prompt=tuple(prompt)) for one, prompt in zip(episodes, parts, strict=True)]


class _Ending(nn.Module):
    """A function of prefix vectors as a module."""

    def __init__(self, change: Callable[[Tensor], Tensor]):
        super().__init__()
        self.change = change

    def forward(self, vectors: Tensor) -> Tensor:
        return self.change(vectors)


def with_ending(model: Frozen, change: Callable[[Tensor], Tensor]) -> Frozen:
    """A copy of a trained Frozen whose prefix vectors (N, D) are changed at the end, after its own ending."""
    changed = deepcopy(model)
    changed.ending = nn.Sequential(changed.ending, _Ending(change))
    return changed


def loss_with_prefix(model: Frozen, batch: dict[str, Tensor], prefix: Tensor) -> Tensor:
    """Loss of a batch of captions whose pictures have these vectors (M, n, D)."""
    found = model(batch["ids"], prefix=prefix.flatten(0, 1))
    return next_token_loss(found, batch["ids"], batch["loss_mask"])


def arrivals(model: Frozen, batch: dict[str, Tensor], prefix: Tensor) -> tuple[int, int]:
    """After one backward() from that loss: how many vectors of the prefix, and parameters of the language model, have a gradient."""
    x = prefix.detach().requires_grad_()
    loss_with_prefix(model, batch, x).backward()
    assert x.grad is not None  # the loss depends on it
    reached = [p for p in model.lm.parameters() if p.grad is not None and p.grad.any()]
    return int(x.grad.any(-1).sum()), sum(p.numel() for p in reached)


def most_frequent(asked: Sequence[Episode]) -> float:
    """The share of questions of one kind that always saying their most frequent answer gets right."""
    return Counter(one.answer for one in asked).most_common(1)[0][1] / len(asked)


def chance_words(asked: Sequence[Episode]) -> str:
    """What guessing gets right of questions of a kind, in words: among all answers, among those that occur, by a constant answer."""
    occur = Counter(one.answer for one in asked)
    (answer, most), *_ = occur.most_common()
    return (
        f"{1 / len(asked[0].choices):.2f} among all {len(asked[0].choices)} answers, "
        f"{1 / len(occur):.2f} among the {len(occur)} asked here; always '{answer}' gets "
        f"{most / len(asked):.2f}"
    )


def _same_background(episode: Episode) -> dict[str, int]:
    """How many examples of each name in a prompt of new names are on the query's background."""
    (query,) = [part for part in episode.prompt if isinstance(part, world.Scene)][-1:]
    found = dict.fromkeys(episode.choices, 0)
    for picture, text in pairwise(episode.prompt):
        if isinstance(picture, world.Scene) and str(text).endswith(" ."):  # 'this is a NAME .'
            found[str(text).split()[-2]] += picture.background == query.background
    return found


def by_background(episodes: Sequence[Episode]) -> float:
    """What backgrounds alone get right of new names: the name with most examples on the query's background; ties at random."""
    right = 0.0
    for episode in episodes:
        found = _same_background(episode)
        best = [name for name, count in found.items() if count == max(found.values())]
        right += (episode.answer in best) / len(best)
    return right / len(episodes)


def misleading_backgrounds(episodes: Sequence[Episode]) -> list[Episode]:
    """Those prompts of new names in which wrong names have examples on the query's background, and the right one has none."""
    found = ((episode, _same_background(episode)) for episode in episodes)
    return [one for one, same in found if any(same.values()) and not same[one.answer]]


TESTS: dict[str, Callable[[int], list[Episode]]] = {
    "names the thing": lambda count: questions("what", 0, count),
    "knows its category": lambda count: questions("category", 0, count),
    "binds four new names, 8 examples": lambda count: binding(count, 8, NOUNS),
}


def report(model: nn.Module, count: int, view: prompts.View = world.to_pixels) -> dict[str, float]:
    """What a model of these nouns can do: shares of right answers on held-out pictures."""
    return {name: episode_accuracy(model, asked(count), view) for name, asked in TESTS.items()}


def language_model(scale: Scale) -> nn.Module:
    """A fresh copy of the shipped language model's decoder, not frozen."""
    return recipes.get("language").train_or_load(scale).model.lm.requires_grad_(True)
