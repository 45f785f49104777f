"""Models of any kind, asked in one way: the likeliest of an episode's choices, or a caption. For the probes of lesson 09."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vlmcourse import world
from vlmcourse.evaluation import choose_next_token, eval_mode, rank_choices
from vlmcourse.parts.generation import sequence_log_prob
from vlmcourse.recipes.blip import generate_captions
from vlmcourse.recipes.frozen import IMAGE_PREFIX, STOP, generate_sentences
from vlmcourse.training.fit import Step
from vlmcourse.world import tokenizer
from vlmcourse.world.pages import Episode
from vlmcourse.world.prompts import Prompts, View

PROMPT = "a picture of"


@dataclass(frozen=True)
class Bridge:
    """A trained model with the form in which it reads pages.

    place  what stands in a text for a picture;  end  what closes the text before a picture
    steps  the losses on the way
    """

    name: str
    model: nn.Module
    size: int
    image_prefix: str = IMAGE_PREFIX
    end: str = ""
    steps: Sequence[Step] = field(default=(), repr=False)

    @property
    def learnt(self) -> int:
        """Parameters that training changed."""
        return sum(
            parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad
        )

    def read(self, pages: Sequence, view: View = world.to_pixels) -> Prompts:
        return Prompts(pages, self.size, self.image_prefix, view, end_of_chunk=self.end)

    def choose(
        self, episodes: Sequence[Episode], view: View = world.to_pixels, batch: int = 64
    ) -> list[str]:
        """The likeliest of each episode's choices."""
        data, options = (
            self.read([one.prompt for one in episodes], view),
            [one.choices for one in episodes],
        )
        single = all(len(tokenizer.split_words(choice)) == 1 for each in options for choice in each)
        return (
            choose_next_token(self.model, data, options, batch)
            if single
            else rank_choices(self.model, data, options)
        )

    def captions(self, scenes: Sequence, view: View = world.to_pixels) -> list[str]:
        """What it writes after "a picture of", up to the full stop, greedily."""
        return generate_sentences(
            self.model, self.read([(scene, PROMPT) for scene in scenes], view), most=14
        )


@dataclass(frozen=True)
class Alone(Bridge):
    """BLIP: one picture, and a decoder that goes on with a text about it. It cannot be shown examples."""

    def _pixels(self, episodes: Sequence[Episode], view: View) -> Tensor:
        shown = [[part for part in one.prompt if not isinstance(part, str)] for one in episodes]
        if wrong := next((len(pictures) for pictures in shown if len(pictures) != 1), None):
            raise ValueError(
                f"a prompt with {wrong} pictures; BLIP reads one. Examples in the prompt are for bridges to a "
                "language model."
            )
        return self.read(shown, view).batch(range(len(shown)))["pixel_values"]

    def choose(
        self, episodes: Sequence[Episode], view: View = world.to_pixels, batch: int = 64
    ) -> list[str]:
        said = []
        for start in range(0, len(episodes), batch):
            part = episodes[start : start + batch]
            with eval_mode(self.model):
                states = self.model.vision_context(self._pixels(part, view))["states"]
                for one, seen in zip(part, states.split(1)):
                    text = " ".join(piece for piece in one.prompt if isinstance(piece, str))
                    ids = tokenizer.encode([f"{text} {choice}" for choice in one.choices])
                    first = len(tokenizer.split_words(text)) + 1  # after [DEC] and the question
                    loss_mask = (
                        (torch.arange(ids.shape[1]) >= first)
                        & (ids != tokenizer.PAD)
                        & (ids != tokenizer.EOS)
                    )
                    likely = sequence_log_prob(
                        self.model, ids, loss_mask, states=seen.expand(len(ids), -1, -1)
                    )
                    said.append(one.choices[int(likely.argmax())])
        return said

    def captions(self, scenes: Sequence, view: View = world.to_pixels) -> list[str]:
        pixel_values = self.read([(scene,) for scene in scenes], view).batch(range(len(scenes)))[
            "pixel_values"
        ]
        return [
            text.split(STOP)[0].strip()
            for text in generate_captions(self.model, pixel_values, prompt=PROMPT, most=14)
        ]


@dataclass(frozen=True)
class Matching(Alone):
    """BLIP's other judge: does the statement match the picture? For yes-or-no questions of presence, and among captions."""

    def choose(
        self, episodes: Sequence[Episode], view: View = world.to_pixels, batch: int = 64
    ) -> list[str]:
        if asked := next(
            (
                one
                for one in episodes
                if set(one.choices) == {"yes", "no"}
                and "is there" not in " ".join(part for part in one.prompt if isinstance(part, str))
            ),
            None,
        ):
            raise ValueError(
                f"a match needs a statement, and {asked.prompt[-1]!r} has none; expected 'is there ... ?'."
            )
        said = []
        with eval_mode(self.model):
            for one, seen in zip(
                episodes, self.model.vision_context(self._pixels(episodes, view))["states"].split(1)
            ):
                if set(one.choices) == {"yes", "no"}:
                    claimed = one.prompt[-1].split("is there ")[1].split(" ?")[0]
                    fits = self.model.itm_logits(tokenizer.encode([f"there is {claimed} ."]), seen)
                    said.append("yes" if fits.diff(dim=1)[0, 0] > 0 else "no")
                else:
                    ids = tokenizer.encode([f"{choice} ." for choice in one.choices])
                    fits = self.model.itm_logits(ids, seen.expand(len(ids), -1, -1)).diff(dim=1)[
                        :, 0
                    ]
                    said.append(one.choices[int(fits.argmax())])
        return said


def matching(bridge: Alone) -> Matching:
    """The same BLIP, asked through its matching head."""
    return Matching(
        f"{bridge.name}, by match",
        bridge.model,
        bridge.size,
        bridge.image_prefix,
        steps=bridge.steps,
    )
