"""Lesson 09: five ways from pictures to words side by side, on the same pictures and captions, with the same language model,
steps, batches and seeds.

    prefix     CLIP's class token, frozen; one linear map writes two words of it. The smallest bridge there is (ClipCap and
               LiMBeR train such maps; ClipCap tunes its language model, too)
    frozen     the same two words, by an image tower that learns them from scratch
    blip       no bridge: a decoder of its own learns to write, from scratch, on CLIP's tower, which learns on. It reads one
               picture, and no language model knows anything for it
    blip2      a Q-Former's queries stand in the text as words; half of the steps are stage 1
    flamingo   words look aside, through gates, between the language model's layers. Trained on single pictures here, like all of
               them; lesson 08's own, trained on pages, is `pages()`

Each has the learning rate of its lesson. `Bridge.choose` and `Bridge.captions` are all that the probes need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vlmcourse.lab import checkpoint, tokens, world
from vlmcourse.lab.evaluate import likeliest, looking, next_words
from vlmcourse.lab.stages import Trained, seeded, train_or_load
from vlmcourse.lab.train import Batches, Optimisation, Scale, Step
from vlmcourse.lab.world.habits import Habits
from vlmcourse.lab.world.pages import Episode
from vlmcourse.lab.world.probes import Open
from vlmcourse.lab.world.prompts import View, to_learn
from vlmcourse.papers.blip2 import Stage1
from vlmcourse.papers.frozen import Frozen
from vlmcourse.parts.generate import likelihood
from vlmcourse.parts.language import freeze
from vlmcourse.recipes.blip import LEARNING, blip_config, captions_of, new_blip
from vlmcourse.recipes.blip2 import COMPARING, SAYING, Looked, former_config, new_blip2, new_former, place
from vlmcourse.recipes.clip import clip
from vlmcourse.recipes.flamingo import LOOKING, REACH, Tower, flamingo, flamingo_config, new_flamingo, stream
from vlmcourse.recipes.frozen import PLACE, SEEING, STOP, average_words, frozen_config, new_frozen, sentences
from vlmcourse.recipes.language import language

MAPPING = Optimisation(5e-3, weight_decay=0.05, betas=(0.9, 0.95))
"""Of the one linear map: it has little to lose."""
PROMPT = "a picture of"


@dataclass(frozen=True)
class Budget:
    """The same for all: different pictures, how many in a step, steps."""

    pictures: int
    batch: int
    steps: int


BUDGETS = {"smoke": Budget(64, 16, 12), "laptop": Budget(8192, 64, 1200), "gpu": Budget(500_000, 512, 10_000)}


# The data: one picture and its caption, in each model's form.

@dataclass(frozen=True)
class Told:
    """Captions after the place of their picture, and pixels: what a prefix learns from."""

    pictures: Habits
    place: str = PLACE

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        said = [self.pictures.text(index) for index in indices]
        made = to_learn([(self.place,)] * len(said), said, self.pictures.size)
        return made | {"pixels": world.to_pixels(self.pictures.images(indices))}


@dataclass(frozen=True)
class Paired:
    """Pixels and captions, with equal captions marked: what BLIP learns from."""

    pictures: Habits

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        said = [self.pictures.text(index) for index in indices]
        return {"pixels": world.to_pixels(self.pictures.images(indices)), "ids": tokens.encode(said),
                "same": torch.tensor([said.index(text) for text in said])}


@dataclass(frozen=True)
class Aside:
    """Captions after an image tag, and what the frozen tower sees, each picture a film of one frame: for Flamingo."""

    looked: Looked

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        made = self.looked.batch(indices)
        return made | {"features": made["features"][:, None]}


# What every bridge can be asked.

@dataclass(frozen=True)
class Bridge:
    """A trained model with the form in which it reads pages.

    place  what stands in a text for a picture;  end  what closes the text before a picture
    steps  the losses on the way
    """

    name: str
    model: nn.Module
    size: int
    place: str = PLACE
    end: str = ""
    steps: Sequence[Step] = field(default=(), repr=False)

    @property
    def learnt(self) -> int:
        """Parameters that training changed."""
        return sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)

    def read(self, pages: Sequence, view: View = world.to_pixels) -> Open:
        return Open(pages, self.size, self.place, view, self.end)

    def choose(self, episodes: Sequence[Episode], view: View = world.to_pixels, batch: int = 64) -> list[str]:
        """The likeliest of each episode's choices."""
        data, options = self.read([one.prompt for one in episodes], view), [one.choices for one in episodes]
        single = all(len(tokens.words(choice)) == 1 for each in options for choice in each)
        return next_words(self.model, data, options, batch) if single else likeliest(self.model, data, options)

    def captions(self, scenes: Sequence, view: View = world.to_pixels) -> list[str]:
        """What it writes after "a picture of", up to the full stop, greedily."""
        return sentences(self.model, self.read([(scene, PROMPT) for scene in scenes], view), most=14)


@dataclass(frozen=True)
class Alone(Bridge):
    """BLIP: one picture, and a decoder that goes on with a text about it. It cannot be shown examples."""

    def _pixels(self, episodes: Sequence[Episode], view: View) -> Tensor:
        shown = [[part for part in one.prompt if not isinstance(part, str)] for one in episodes]
        if wrong := next((len(pictures) for pictures in shown if len(pictures) != 1), None):
            raise ValueError(f"a prompt with {wrong} pictures; BLIP reads one. Examples in the prompt are for bridges to a "
                             "language model.")
        return self.read(shown, view).batch(range(len(shown)))["pixels"]

    def choose(self, episodes: Sequence[Episode], view: View = world.to_pixels, batch: int = 64) -> list[str]:
        said = []
        for start in range(0, len(episodes), batch):
            part = episodes[start:start + batch]
            with looking(self.model):
                states = self.model.look(self._pixels(part, view))["states"]
                for one, seen in zip(part, states.split(1)):
                    text = " ".join(piece for piece in one.prompt if isinstance(piece, str))
                    ids = tokens.encode([f"{text} {choice}" for choice in one.choices])
                    first = len(tokens.words(text)) + 1  # after [DEC] and the question
                    scored = (torch.arange(ids.shape[1]) >= first) & (ids != tokens.PAD) & (ids != tokens.EOS)
                    said.append(one.choices[int(likelihood(self.model, ids, scored, states=seen.expand(len(ids), -1, -1)).argmax())])
        return said

    def captions(self, scenes: Sequence, view: View = world.to_pixels) -> list[str]:
        pixels = self.read([(scene,) for scene in scenes], view).batch(range(len(scenes)))["pixels"]
        return [text.split(STOP)[0].strip() for text in captions_of(self.model, pixels, prompt=PROMPT, most=14)]


@dataclass(frozen=True)
class Matching(Alone):
    """BLIP's other judge: does the statement match the picture? For yes-or-no questions of presence, and among captions."""

    def choose(self, episodes: Sequence[Episode], view: View = world.to_pixels, batch: int = 64) -> list[str]:
        if asked := next((one for one in episodes if set(one.choices) == {"yes", "no"}
                          and "is there" not in " ".join(part for part in one.prompt if isinstance(part, str))), None):
            raise ValueError(f"a match needs a statement, and {asked.prompt[-1]!r} has none; expected 'is there ... ?'.")
        said = []
        with looking(self.model):
            for one, seen in zip(episodes, self.model.look(self._pixels(episodes, view))["states"].split(1)):
                if set(one.choices) == {"yes", "no"}:
                    statement = one.prompt[-1].split("is ")[1].split(" ?")[0]  # 'is there a cat ?' -> 'there a cat'
                    fits = self.model.matches(tokens.encode([f"there is {statement.removeprefix('there ')} ."]), seen)
                    said.append("yes" if fits.diff(dim=1)[0, 0] > 0 else "no")
                else:
                    ids = tokens.encode([f"{choice} ." for choice in one.choices])
                    fits = self.model.matches(ids, seen.expand(len(ids), -1, -1)).diff(dim=1)[:, 0]
                    said.append(one.choices[int(fits.argmax())])
        return said


# The five.

@dataclass(frozen=True)
class Banks:
    """What stands on both sides of every bridge, and the data: made once, shared by all.

    steps  default: the budget's
    """

    scale: Scale
    seed: int
    vision: nn.Module = field(repr=False)  # CLIP's image tower, frozen, whole
    tower: Tower = field(repr=False)  # the same without its last block, normalised: for those who look at patches
    lm: nn.Module = field(repr=False)  # the tiny language model, frozen
    steps: int
    budget: Budget

    @property
    def pictures(self) -> Habits:
        return Habits(self.scale.image_size, self.seed)

    def looked(self, place: str | None) -> Looked:
        return Looked(self.pictures, self.tower.vit, self.budget.pictures, place)

    def train(self, name: str, model: nn.Module, data, optimisation: Optimisation, steps: int | None = None,
              watch: Callable[[Step], None] | None = None, **made_of) -> Trained:
        """train_or_load: everyone sees the same pictures in the same order."""
        batches = Batches(data.batch, self.budget.batch, self.budget.pictures, self.seed)
        made_of |= {"start": checkpoint.checksum(model.state_dict()), "data": str(self.pictures), "budget": str(self.budget)}
        return train_or_load(name, model, batches, steps or self.steps, optimisation, made_of=made_of, seed=self.seed, watch=watch)


def banks(scale: Scale | str | None = None, seed: int = 0, *, vision: nn.Module | None = None, lm: nn.Module | None = None,
          steps: int | None = None) -> Banks:
    """vision, lm: default: the course's CLIP and tiny language model, trained or loaded."""
    size = scale if isinstance(scale, Scale) else Scale.named(scale)
    vision = clip(size).model.vision if vision is None else vision
    lm = language(size).model.lm if lm is None else lm
    budget = BUDGETS[size.name]
    return Banks(size, seed, freeze(deepcopy(vision)), freeze(Tower(vision)), freeze(deepcopy(lm)), steps or budget.steps, budget)


def new_prefix(banks: Banks) -> Frozen:
    """Frozen with a tower that has learnt and stays: only `to_words` learns."""
    config = frozen_config(banks.scale, vision_depth=1)
    model = new_frozen(config, banks.lm, banks.seed, average_words(banks.lm))
    model.vision = banks.vision
    return model


def prefix(banks: Banks, watch: Callable[[Step], None] | None = None) -> Bridge:
    trained = banks.train("bridge-prefix", new_prefix(banks), Told(banks.pictures), MAPPING, watch=watch)
    return Bridge("CLIP + linear map", trained.model, banks.scale.image_size, steps=trained.history)


def frozen(banks: Banks, watch: Callable[[Step], None] | None = None) -> Bridge:
    model = new_frozen(frozen_config(banks.scale), banks.lm, banks.seed, average_words(banks.lm))
    trained = banks.train("bridge-frozen", model, Told(banks.pictures), SEEING, watch=watch)
    return Bridge("Frozen", trained.model, banks.scale.image_size, steps=trained.history)


def blip(banks: Banks, watch: Callable[[Step], None] | None = None) -> Alone:
    model = new_blip(blip_config(banks.scale), deepcopy(banks.vision), banks.seed)
    model.vision = _thawed(model.vision)
    trained = banks.train("bridge-blip", model, Paired(banks.pictures), LEARNING, watch=watch)
    return Alone("BLIP", trained.model, banks.scale.image_size, "<image>", steps=trained.history)


def matching(bridge: Alone) -> Matching:
    """The same BLIP, asked through its matching head."""
    return Matching(f"{bridge.name}, by match", bridge.model, bridge.size, bridge.place, steps=bridge.steps)


def _thawed(module: nn.Module) -> nn.Module:
    """Undoes `freeze` on a copy."""
    for part in module.modules():
        part.__dict__.pop("train", None)
    return module.requires_grad_(True).train()


def blip2(banks: Banks, watch: Callable[[Step], None] | None = None) -> Bridge:
    """Half of the steps are stage 1, on the same pictures; both stages count."""
    watch = watch or (lambda step: None)
    with seeded(banks.seed):
        start = Stage1(new_former(former_config(banks.scale), banks.seed), banks.tower.vit, banks.scale.width // 2)
    half = banks.steps // 2
    first = banks.train("bridge-blip2-stage1", start, banks.looked(None), COMPARING, half)
    former = first.model.former
    model = new_blip2(former, banks.tower.vit, banks.lm, banks.seed)
    looks = place(former.config.queries)
    trained = banks.train("bridge-blip2", model, banks.looked(looks), SAYING, banks.steps - half, watch)
    return Bridge("BLIP-2", trained.model, banks.scale.image_size, looks, steps=[*first.history, *trained.history])


def new_aside(banks: Banks):
    """An untrained Flamingo between the banks."""
    reach = tuple(REACH * one for one in stream(banks.lm))
    return new_flamingo(flamingo_config(banks.scale, reach=reach), banks.tower, deepcopy(banks.lm), banks.seed)


def aside(banks: Banks, watch: Callable[[Step], None] | None = None) -> Bridge:
    """Flamingo on single pictures."""
    trained = banks.train("bridge-flamingo", new_aside(banks), Aside(banks.looked("<image>")), LOOKING, watch=watch)
    return Bridge("Flamingo", trained.model, banks.scale.image_size, "<image>", steps=trained.history)


def pages(scale: Scale | str | None = None) -> Bridge:
    """Lesson 08's Flamingo: other data (pages of several pictures, films, descriptions), more steps. No part of the comparison,
    but what the same model becomes with them."""
    size = scale if isinstance(scale, Scale) else Scale.named(scale)
    trained = flamingo(size)
    return Bridge("Flamingo, on pages", trained.model.model, size.image_size, "<image>", "<EOC>", trained.history)


FIVE: dict[str, Callable[..., Bridge]] = {"prefix": prefix, "frozen": frozen, "blip": blip, "blip2": blip2, "flamingo": aside}
