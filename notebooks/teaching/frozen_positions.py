"""Lesson 07: a visual prefix before a language model with relative positions, and before one with learned absolute positions.

The features are perfect here, one number for each noun and each background, so that only positions can make a difference.

python -m teaching.frozen_positions   (in notebooks/) trains both at laptop scale, some minutes of one core, and keeps
frozen_positions.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from teaching.frozen_model import NOUNS
from teaching.frozen_reference import VisualPrefix
from vlmcourse import world
from vlmcourse.parts import language
from vlmcourse.parts.soft_prompts import SoftPromptModel
from vlmcourse.recipes.frozen import IMAGE_PREFIX, text_only_accuracy
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import tokenizer
from vlmcourse.world.documents import describe
from vlmcourse.world.pages import (
    Episode,
    nouns_of_split,
    page_text,
    pictures_of,
    single_thing,
)
from vlmcourse.world.scenes import SeededRandom

KEPT = Path(__file__).with_suffix(".json")
KINDS = ("relative", "absolute")
LENGTH = 48
"""Tokens of the texts that both language models are trained on: every position up to this one is trained."""
SHIFTS = (0, 1, 2, 4, 8, 16, 32)
BEFORE = (0, 1, 2, 3, 4)
SEEDS = 1
COUNT = 96
"""Prompts for each measurement at laptop scale."""


def language_model(kind: str, seed: int, width: int = 64) -> nn.Module:
    """A decoder with rotary positions (as Llama) or with a learned table of positions (as GPT-2); else of equal size."""
    from transformers import GPT2Config, GPT2LMHeadModel

    V = len(tokenizer.world_tokenizer())
    with seeded(seed):
        if kind == "relative":
            return language.tiny(V, width, 2, 4, LENGTH)
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=V,
                n_positions=LENGTH,
                n_embd=width,
                n_layer=2,
                n_head=4,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                initializer_range=width**-0.5,
                bos_token_id=tokenizer.BOS,
                eos_token_id=tokenizer.EOS,
            )
        )


@dataclass(frozen=True)
class Descriptions:
    """Texts of single things, each described twice in a row: 'cat blue . a picture of a cat . dog red . ...'."""

    seed: int = 0

    def batch(self, indices) -> dict[str, Tensor]:
        rows = []
        for index in indices:
            rng, words = SeededRandom("descriptions", self.seed, index), []
            while len(words) < LENGTH:
                scene = single_thing(rng.choice(NOUNS), "train", rng)
                words += f"{describe(scene, rng)} . {describe(scene, rng)} .".split()
            rows.append(" ".join(words[: LENGTH - 2]))
        ids = tokenizer.encode(rows)
        loss_mask = torch.ones_like(ids).bool()
        loss_mask[:, 0] = False
        return {"ids": ids, "loss_mask": loss_mask & (ids != tokenizer.EOS)}


def pages(before: int, count: int) -> list[Episode]:
    """A held-out picture after `before` others with their captions, and the open sentence 'a picture of a'."""
    shown = nouns_of_split("test", tuple(NOUNS))
    nouns, found = [word for word in shown if world.article(word).startswith("a ")], []
    for index in range(count):
        rng, parts = SeededRandom("positions", index), []
        query = single_thing(rng.choice(nouns), "test", rng)
        for _ in range(before):
            scene = single_thing(rng.choice(nouns), "test", rng)
            parts += [scene, f"{world.article(scene.words[0])} on {scene.background} ."]
        found.append(Episode((*parts, query, "a picture of a"), query.words[0], tuple(nouns)))
    return found


class PerfectlySeen(SoftPromptModel):
    """Frozen with features that tell noun and background of a scene, and a linear prefix of two vectors."""

    def __init__(self, lm: nn.Module):
        super().__init__()
        self.lm = lm
        self.image_token_id = tokenizer.world_tokenizer().convert_tokens_to_ids("<image>")
        self.prefix = VisualPrefix(len(NOUNS) + len(world.BACKGROUNDS), 2, language.width(lm))

    def encode(self, scenes: Sequence[world.Scene]) -> Tensor:
        """Scenes of one thing -> prefix (M * 2, D)."""
        features = torch.zeros(len(scenes), len(NOUNS) + len(world.BACKGROUNDS))
        for row, scene in zip(features, scenes):
            row[NOUNS.index(scene.words[0])] = 1
            row[len(NOUNS) + list(world.BACKGROUNDS).index(scene.background)] = 1
        return self.prefix(features).flatten(0, 1)

    def losses(self, batch: dict) -> dict[str, Tensor]:
        """batch: `ids` and `loss_mask` (B, T), and `scenes`, one for each text -> {"lm": scalar}."""
        found = self(batch["ids"], prefix=self.encode(batch["scenes"]))
        return {"lm": language.next_token_loss(found, batch["ids"], batch["loss_mask"])}


@dataclass(frozen=True)
class Captions:
    """Captions of single things, each after its slots at the beginning of the text."""

    seed: int = 0

    def batch(self, indices: Sequence[int]) -> dict:
        rngs = [SeededRandom("captions", self.seed, index) for index in indices]
        scenes = [single_thing(rng.choice(NOUNS), "train", rng) for rng in rngs]
        texts = [f"{describe(scene, rng)} ." for scene, rng in zip(scenes, rngs)]
        ids = tokenizer.encode([f"{IMAGE_PREFIX} {text}" for text in texts])
        loss_mask = (torch.arange(ids.shape[1]) > 3) & (ids != tokenizer.EOS)
        return {"ids": ids, "loss_mask": loss_mask & (ids != tokenizer.PAD), "scenes": scenes}


@torch.no_grad()
def accuracy(model: PerfectlySeen, episodes: Sequence[Episode], shift: int = 0) -> float:
    """Share of right nouns; `shift` is added to the position of every token."""
    right = 0
    for one in episodes:
        text = page_text(one.prompt, IMAGE_PREFIX)
        ids = tokenizer.encode([text])[:, :-1]
        x = model.embeddings(ids, model.encode(pictures_of(one.prompt)))
        position_ids = shift + torch.arange(x.shape[1])[None]
        logits = model.lm(inputs_embeds=x, position_ids=position_ids).logits[0, -1]
        choices = tokenizer.encode(one.choices)[:, 1]
        right += one.choices[int(logits[choices].argmax())] == one.answer
    return right / len(episodes)


def run(kind: str, seed: int, steps: tuple[int, int], count: int) -> dict:
    """Trains a language model on texts, then a prefix on captions of one picture; tests with more pictures and shifts."""
    text_steps, caption_steps = steps
    lm = language.LanguageModel(language_model(kind, seed))
    batches = Batches(Descriptions(seed).batch, 32, None, seed)
    list(fit(lm, batches, text_steps, Optimisation(3e-3), seed=seed))
    language.freeze(lm)
    with seeded(seed):
        model = PerfectlySeen(lm.lm)
    batches = Batches(Captions(seed).batch, 32, None, seed)
    list(fit(model, batches, caption_steps, Optimisation(1e-2), seed=seed))
    model.eval()
    return {
        "shift": {str(s): accuracy(model, pages(0, count), s) for s in SHIFTS},
        "pictures before": {str(n): accuracy(model, pages(n, count)) for n in BEFORE},
        "in words": {str(n): text_only_accuracy(lm, pages(n, count)) for n in BEFORE},
    }


def runs(scale: Scale, retrain: bool = False) -> dict[str, list[dict]]:
    """{kind of positions: a run for each seed}; at laptop scale those that were kept, unless they are to be trained again."""
    if scale.name == "laptop" and not retrain:
        return json.loads(KEPT.read_text(encoding="utf-8"))
    smoke = scale.name == "smoke"
    steps, count, seeds = ((4, 4), 8, 1) if smoke else ((350, 300), COUNT, SEEDS)
    return {kind: [run(kind, seed, steps, count) for seed in range(seeds)] for kind in KINDS}


if __name__ == "__main__":
    torch.set_num_threads(1)
    made = runs(Scale.of("laptop"), retrain=True)
    KEPT.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(made, indent=1))
