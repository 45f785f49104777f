"""Models of any kind, asked in one way: the likeliest of an episode's choices, or a caption.

Models follow the protocol: `vision_context(pixel_values)`, `model(ids, cache, padding_mask, **context)`; BLIP's also has
`itm_logits(ids, states)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vlmcourse.evaluation.controls import eval_mode
from vlmcourse.evaluation.generation import (
    STOP,
    choose_next_token,
    generate_sentences,
    rank_choices,
)
from vlmcourse.parts.attention import KVCache
from vlmcourse.parts.generation import generate, greedy, sequence_log_prob
from vlmcourse.world import tokenizer
from vlmcourse.world.pages import Episode
from vlmcourse.world.prompts import Prompts, View
from vlmcourse.world.rendering import to_pixels

PROMPT = "a picture of"
MAX_NEW_TOKENS = 14  # tokens of a caption


@dataclass(frozen=True)
class PromptedModel:
    """A trained model with the form in which it reads pages.

    size          pixels of a side
    image_prefix  what stands in a text for a picture;  end: what closes the text before a picture, such as <EOC>
    steps         its training
    """

    name: str
    model: nn.Module
    size: int
    image_prefix: str = "<image>"
    end: str = ""
    steps: Sequence = field(default=(), repr=False)

    @property
    def trained_parameters(self) -> int:
        """How many parameters training changed."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)

    def prompts(self, pages: Sequence, view: View = to_pixels) -> Prompts:
        """Pages, in this model's form."""
        return Prompts(pages, self.size, self.image_prefix, view, end_of_chunk=self.end)

    def choose(
        self, episodes: Sequence[Episode], view: View = to_pixels, batch: int = 64
    ) -> list[str]:
        """The likeliest of each episode's choices."""
        data = self.prompts([episode.prompt for episode in episodes], view)
        options = [episode.choices for episode in episodes]
        words = {choice for choices in options for choice in choices}
        if all(len(tokenizer.split_words(choice)) == 1 for choice in words):
            return choose_next_token(self.model, data, options, batch)
        return rank_choices(self.model, data, options)

    def captions(self, scenes: Sequence, view: View = to_pixels) -> list[str]:
        """What it generates after "a picture of", up to the full stop, greedily."""
        data = self.prompts([(scene, PROMPT) for scene in scenes], view)
        return generate_sentences(self.model, data, MAX_NEW_TOKENS)


@dataclass(frozen=True)
class SinglePictureModel(PromptedModel):
    """BLIP: one picture, and a decoder that continues a text about it. Prompts with several pictures raise ValueError."""

    def _states(self, pages: Sequence[Sequence], view: View) -> Tensor:
        """(N, P, D) of the only picture of each page."""
        pictures = [[part for part in page if not isinstance(part, str)] for page in pages]
        if wrong := next((len(page) for page in pictures if len(page) != 1), None):
            raise ValueError(
                f"a prompt with {wrong} pictures; BLIP reads one. Examples in the prompt are for bridges to a "
                "language model."
            )
        pixel_values = self.prompts(pictures, view).batch(range(len(pictures)))["pixel_values"]
        return self.model.vision_context(pixel_values)["states"]

    def choose(
        self, episodes: Sequence[Episode], view: View = to_pixels, batch: int = 64
    ) -> list[str]:
        chosen = []
        with eval_mode(self.model):
            for start in range(0, len(episodes), batch):
                part = episodes[start : start + batch]
                states = self._states([episode.prompt for episode in part], view)
                for episode, state in zip(part, states.split(1)):
                    scores = self._scores(episode, state)
                    chosen.append(episode.choices[int(scores.argmax())])
        return chosen

    def _scores(self, episode: Episode, state: Tensor) -> Tensor:
        """One score for each choice: its log-likelihood after the question."""
        text = " ".join(part for part in episode.prompt if isinstance(part, str))
        ids = tokenizer.encode([f"{text} {choice}" for choice in episode.choices])
        first = len(tokenizer.split_words(text)) + 1  # after [DEC] and the question
        loss_mask = (ids != tokenizer.PAD) & (ids != tokenizer.EOS)
        loss_mask[:, :first] = False
        states = state.expand(len(ids), -1, -1)
        return sequence_log_prob(self.model, ids, loss_mask, states=states)

    def captions(self, scenes: Sequence, view: View = to_pixels) -> list[str]:
        start = tokenizer.encode([PROMPT])[:, :-1]  # <bos> prompt, to be continued
        with eval_mode(self.model):
            states = self._states([(scene,) for scene in scenes], view)
            ids = start.expand(len(states), -1)
            end, cache = tokenizer.EOS, KVCache()
            written = generate(self.model, ids, MAX_NEW_TOKENS, greedy, end, cache, states=states)
        return [text.split(STOP)[0].strip() for text in tokenizer.decode(written)]


@dataclass(frozen=True)
class MatchingModel(SinglePictureModel):
    """BLIP, asked through its matching head: yes-or-no questions of presence, and choices among captions.

    Other yes-or-no questions raise ValueError: a match needs a statement.
    """

    def _scores(self, episode: Episode, state: Tensor) -> Tensor:
        if set(episode.choices) != {"yes", "no"}:
            return self._log_odds([f"{choice} ." for choice in episode.choices], state)
        question = episode.prompt[-1]
        if not isinstance(question, str) or "is there " not in question:
            raise ValueError(
                f"a match needs a statement, and {question!r} has none; expected 'is there ... ?'."
            )
        claimed = question.split("is there ")[1].split(" ?")[0]
        answer = "yes" if self._log_odds([f"there is {claimed} ."], state)[0] > 0 else "no"
        return torch.tensor([float(choice == answer) for choice in episode.choices])

    def _log_odds(self, texts: list[str], state: Tensor) -> Tensor:
        logits = self.model.itm_logits(tokenizer.encode(texts), state.expand(len(texts), -1, -1))
        return logits.diff(dim=1)[:, 0]


def matching_model(model: SinglePictureModel) -> MatchingModel:
    """The same BLIP, asked through its matching head."""
    name = f"{model.name}, by match"
    return MatchingModel(name, model.model, model.size, model.image_prefix, steps=model.steps)
