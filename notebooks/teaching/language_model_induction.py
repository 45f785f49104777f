"""Lesson 05: texts of named things, the scores of attention heads on them, and small models that learn to name."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from teaching.language_model_answers import head_scores, silence_head
from vlmcourse import recipes, world
from vlmcourse.evaluation import eval_mode
from vlmcourse.parts.induction_heads import init_induction_heads
from vlmcourse.parts.language import LanguageModel, decoder_layers, tiny
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step, fit
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import documents, tokenizer

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(logits (B, T, V), ids (B, T), loss_mask (B, T)) -> scalar."""
WIDTH, TEST = 96, range(10**9, 10**9 + 128)
"""Width of the small models, in heads of 32; numbers of texts that no training reaches."""
FORMS = {
    "short": "{0} {1}",
    "page": "{0} . this is a {1} .",
}
"""{name: a thing with its name}."""


@dataclass(frozen=True)
class Naming:
    """Texts whose next word stands earlier in the text, such as the name of a thing that comes again.

    ids       (B, T), up to the word before it;  answers: (B,) ids of the right words
    is_own    (B, T), True at the earlier place of the right word;  is_other: (B, T), at the other names, or words of the list
    """

    texts: tuple[str, ...]
    ids: Tensor
    answers: Tensor
    is_own: Tensor
    is_other: Tensor


def naming(form: str, count: int = 128, ways: int = 3) -> Naming:
    """Texts in one of FORMS: three things get invented names, and then one of them comes again."""
    texts, right = [], []
    for index in range(count):
        draws = world.SeededRandom("naming in lesson 05", index)
        things = draws.sample(documents.NOUN_WORDS, ways)
        names = draws.sample(tokenizer.INVENTED, ways)
        asked = int(draws.random() * ways)
        pairs = [*zip(things, names), (things[asked], names[asked])]
        texts.append(" ".join(FORMS[form].format(*pair) for pair in pairs))
        right.append(names[asked])
    answers = tokenizer.encode(right)[:, 1]
    invented = tokenizer.encode(tokenizer.INVENTED)[:, 1]
    ids = tokenizer.encode(texts)
    last = int(torch.isin(ids[0], invented).nonzero()[-1])
    ids = ids[:, :last]
    is_name = torch.isin(ids, invented)
    is_own = is_name & (ids == answers[:, None])
    return Naming(tuple(texts), ids, answers, is_own, is_name & ~is_own)


def lists(count: int = 128, length: int = 6) -> Naming:
    """Lists of nouns that are said twice, up to the last word of the second time: the plain induction rule's own test."""
    texts = []
    for index in range(count):
        words = world.SeededRandom("lists in lesson 05", index).sample(documents.NOUN_WORDS, length)
        texts.append(" ".join([*words, *words]))
    ids = tokenizer.encode(texts)
    first = torch.arange(2 * length) <= length  # <bos> and the list, said once
    ids, answers = ids[:, : 2 * length], ids[:, 2 * length]
    is_own = (ids == answers[:, None]) & first
    is_other = (first & (torch.arange(2 * length) > 0)).expand_as(is_own) & ~is_own
    return Naming(tuple(texts), ids, answers, is_own, is_other)


TASKS: dict[str, Callable[[int], Naming]] = {
    "short": partial(naming, "short"),
    "page": partial(naming, "page"),
    "list": lists,
}
"""{form of texts: so many of them}."""


def naming_accuracy(model: nn.Module, task: Naming) -> float:
    """Share of texts after which the right word is the likeliest of all words."""
    with eval_mode(model):
        found = model(task.ids)[:, -1].argmax(-1)
    return (found == task.answers).float().mean().item()


def attention(model: LanguageModel, ids: Tensor) -> list[Tensor]:
    """Attention weights (B, H, T, T) of each layer, by the slow implementation that keeps them."""
    slow = copy.deepcopy(model.lm).eval()
    slow.set_attn_implementation("eager")
    with torch.no_grad():
        return list(slow(ids, output_attentions=True).attentions)


def scores_of_heads(
    model: LanguageModel, task: Naming, scores: Callable = head_scores
) -> tuple[Tensor, Tensor]:
    """Of each head: weight of the last position on the right name, mean weight on the other names; (layers, H) each."""
    found = [scores(weights, task.is_own, task.is_other) for weights in attention(model, task.ids)]
    own, other = (torch.stack(part) for part in zip(*found))
    return own, other


def previous_scores(model: LanguageModel, task: Naming) -> Tensor:
    """Of each head: mean weight of a word on the word before it, (layers, H)."""
    return torch.stack(
        [weights.diagonal(-1, -2, -1).mean((0, 2)) for weights in attention(model, task.ids)]
    )


@contextmanager
def without_head(
    model: LanguageModel, layer: int, head: int, silence: Callable = silence_head
) -> Iterator[None]:
    """Inside `with`, the output of this head is zero. silence: (x, head, heads) -> x without it."""
    projection = decoder_layers(model.lm)[layer].self_attn.o_proj  # reads the outputs of all heads
    heads = model.lm.config.num_attention_heads
    handle = projection.register_forward_pre_hook(lambda _, x: (silence(x[0], head, heads),))
    try:
        yield
    finally:
        handle.remove()


def starting_model(scale: Scale, seed: int = 0) -> LanguageModel:
    """The course's language model as its training starts: with heads that are set."""
    model = recipes.language.new_language(scale, seed).eval()
    with seeded(seed):
        init_induction_heads(model.lm)
    return model


@dataclass(frozen=True)
class NamedPairs:
    """Training texts: four things with invented names, in pairs "thing name" that come again in random order."""

    pairs: int = 4
    shown: int = 16

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """`ids` (B, 1 + 2 shown), <bos> first; `loss_mask`, True at names that were said before. Depends on indices[0]."""
        generator = torch.Generator().manual_seed(indices[0])
        size, columns = len(indices), []
        order = torch.randint(self.pairs, (size, self.shown), generator=generator)
        for words in (documents.NOUN_WORDS, tokenizer.INVENTED):
            mixed = torch.rand(size, len(words), generator=generator).argsort(1)[:, : self.pairs]
            columns.append(tokenizer.encode(words)[:, 1][mixed].gather(1, order))
        text = torch.stack(columns, dim=2).flatten(1)
        again = [(order[:, :i] == order[:, i : i + 1]).any(1) for i in range(self.shown)]
        loss_mask = torch.zeros(size, 1 + text.shape[1], dtype=torch.bool)
        loss_mask[:, 2::2] = torch.stack(again, dim=1)
        return {"ids": torch.cat([torch.full((size, 1), tokenizer.BOS), text], 1)} | {
            "loss_mask": loss_mask
        }

    def accuracy(self, model: nn.Module) -> float:
        """Share of names said before that the model predicts, among all words, in test texts."""
        batch = self.batch(TEST)
        with eval_mode(model):
            found = model(batch["ids"]).argmax(-1)
        right = found[:, :-1] == batch["ids"][:, 1:]
        return right[batch["loss_mask"][:, 1:]].float().mean().item()

    def guessing(self) -> float:
        """Accuracy of a guess among the different names that the text has shown so far."""
        ids, mask = (self.batch(TEST)[name] for name in ("ids", "loss_mask"))
        shown = [1 / len(set(ids[row, 2:t:2].tolist())) for row, t in mask.nonzero().tolist()]
        return sum(shown) / len(shown)


class Learner(LanguageModel):
    """A language model that is trained with a given loss."""

    def __init__(self, lm: nn.Module, loss: Loss):
        super().__init__(lm)
        self.loss = loss

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The given loss of `ids` and `loss_mask`."""
        return {"lm": self.loss(self(batch["ids"]), batch["ids"], batch["loss_mask"])}


ROWS = {
    "two layers, heads set": (2, True),
    "two layers, random": (2, False),
    "one layer, random": (1, False),
}
"""{name: (layers, whether heads are set by init_induction_heads)}."""


def learner(row: str, loss: Loss, seed: int = 0) -> Learner:
    """An untrained model of a row of ROWS."""
    depth, heads_set = ROWS[row]
    with seeded(seed):
        model = Learner(tiny(len(tokenizer.world_tokenizer()), WIDTH, depth, WIDTH // 32), loss)
        if heads_set:
            init_induction_heads(model.lm)
    return model


def train(
    model: Learner, steps: int, on_step: Callable[[Step], None] = lambda step: None, seed: int = 0
) -> Learner:
    """Trains in place on named pairs, batches of 16, one thread; calls on_step after each step."""
    optimisation = Optimisation(3e-3, weight_decay=0.05, betas=(0.9, 0.95))
    data, threads = NamedPairs(), torch.get_num_threads()
    batches = Batches(lambda indices: data.batch([seed * 10**6 + i for i in indices]), 16)
    torch.set_num_threads(1)
    try:
        for step in fit(model, batches, steps, optimisation, seed=seed, precision=torch.float32):
            on_step(step)
    finally:
        torch.set_num_threads(threads)
    return model


def learning_curve(model: Learner, steps: int, every: int, seed: int = 0) -> list[dict]:
    """Trains and measures every so many steps: accuracy on named pairs, and the best head's weight on the right name."""
    task, rows = naming("short"), []

    def measure(step: int) -> None:
        own, _ = scores_of_heads(model, task)
        accuracy = NamedPairs().accuracy(model)
        rows.append({"step": step, "accuracy": accuracy, "induction": own.max().item()})

    measure(0)
    train(model, steps, lambda step: None if step.step % every else measure(step.step), seed)
    return rows


def live_curves(loss: Loss, scale: Scale) -> dict[str, dict[int, float]]:
    """{row of ROWS: {step: accuracy}} of short trainings with this loss."""
    steps, every = (4, 2) if scale.name == "smoke" else (120, 20)
    return {
        row: {
            point["step"]: point["accuracy"]
            for point in learning_curve(learner(row, loss), steps, every)
        }
        for row in ROWS
    }
