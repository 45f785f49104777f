"""Lesson 06: two tasks that the course's language model has never seen, how methods are trained on them, and their scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vlmcourse.evaluation import eval_mode
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import Step, fit
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.world import nouns, tokenizer, word_tests
from vlmcourse.world.documents import vocabulary
from vlmcourse.world.scenes import SeededRandom

BATCH = 32
RATES = {"prompt": 3e-2, "BitFit": 3e-3, "adapters": 3e-3, "all weights": 3e-4}
"""Learning rates, chosen on seed 0 of another task (the purpose of a noun)."""


@dataclass(frozen=True)
class Task:
    """{noun: answer} of nouns to learn from, and of held-out ones. A text is 'cat : house'."""

    train: Mapping[str, str]
    held_out: Mapping[str, str]

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """`ids` (B, 4): <bos>, noun, colon, answer; `loss_mask` (B, 4), True at the answer. Example i modulo their number."""
        pairs = list(self.train.items())
        return encode([pairs[index % len(pairs)] for index in indices])


def encode(pairs: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """(noun, answer) pairs as `ids` (B, 4) and `loss_mask` (B, 4)."""
    known = vocabulary()
    ids = torch.tensor(
        [[tokenizer.BOS, known[word], known[":"], known[answer]] for word, answer in pairs]
    )
    return {"ids": ids, "loss_mask": torch.tensor([False, False, False, True]).expand(len(ids), 4)}


def _split(answers: Mapping[str, str], seed: int, examples: int | None) -> Task:
    """Three in ten nouns are held out; `examples` of the others are kept, default all."""
    words = SeededRandom("tuning nouns", seed).sample(list(answers), len(answers))
    cut = len(words) * 3 // 10
    train = words[cut:] if examples is None else words[cut : cut + examples]
    return Task(
        {word: answers[word] for word in train}, {word: answers[word] for word in words[:cut]}
    )


def place_task(seed: int, examples: int | None = None) -> Task:
    """Where a thing is found. The model knows the answers; new is the form of the question, a noun and a colon."""
    return _split({one.word: one.place for one in nouns()}, seed, examples)


def new_words_task(seed: int, examples: int | None = None) -> Task:
    """The category of a thing, in a word that was invented for it. The model knows categories, and has to learn thirteen words."""
    kinds = sorted({one.category for one in nouns()})
    words = SeededRandom("tuning words", seed).sample(tokenizer.INVENTED, len(kinds))
    meaning = dict(zip(kinds, words))
    return _split({one.word: meaning[one.category] for one in nouns()}, seed, examples)


def train(
    model: nn.Module, task: Task, steps: int, learning_rate: float, seed: int = 0
) -> Iterator[Step]:
    """Trains what of the model has a gradient on batches of the task."""
    optimisation = Optimisation(learning_rate, weight_decay=0.0)
    return fit(
        model, Batches(task.batch, BATCH), steps, optimisation, seed=seed, precision=torch.float32
    )


def _predict(model: nn.Module, ids: Tensor) -> Tensor:
    """The most likely next token after each row of ids (B, T): (B,)."""
    with eval_mode(model):
        return model(ids)[:, -1].argmax(-1)


def accuracy(model: nn.Module, answers: Mapping[str, str]) -> float:
    """Share of nouns whose answer is the most likely of all words after 'noun :'."""
    ids = encode(list(answers.items()))["ids"]
    return (_predict(model, ids[:, :3]) == ids[:, 3]).float().mean().item()


def most_frequent(task: Task) -> float:
    """Share of held-out nouns that have the answer most frequent in training: what a model reaches that ignores the noun."""
    answers = list(task.train.values())
    usual = max(sorted(set(answers)), key=answers.count)
    return list(task.held_out.values()).count(usual) / len(task.held_out)


def facts(model: nn.Module) -> float:
    """Share of what the model knows of all nouns (category, place, purpose), asked as its training texts ask."""
    known, rows = vocabulary(), {}
    for prompt, answer in word_tests.known_facts():
        ids = [tokenizer.BOS, *(known[word] for word in prompt.split())]
        rows.setdefault(len(ids), []).append((ids, known[answer]))
    right = [
        _predict(model, torch.tensor([ids for ids, _ in group]))
        == torch.tensor([a for _, a in group])
        for group in rows.values()
    ]
    return torch.cat(right).float().mean().item()


FORMS = {"noun : answer .": ("{} :", "{} : {} ."), "question : which ?": (
    "{} . question : which ? answer :", "{} . question : which ? answer : {} .")}  # fmt: skip
"""How examples stand in a prompt: {name: (the question, a solved example)}. The second form is in the model's training texts."""


def accuracy_of_prompts(model: nn.Module, prompts: Sequence[str], answers: Sequence[str]) -> float:
    """Share of prompts (of equal length in words) whose answer is the most likely next word."""
    known = vocabulary()
    ids = torch.tensor(
        [[tokenizer.BOS, *(known[word] for word in text.split())] for text in prompts]
    )
    return (
        (_predict(model, ids) == torch.tensor([known[one] for one in answers]))
        .float()
        .mean()
        .item()
    )


def in_context(model: nn.Module, task: Task, form: str) -> float:
    """Accuracy on held-out nouns with the task's examples in the prompt. Nothing is trained."""
    question, example = FORMS[form]
    shown = " ".join(example.format(word, answer) for word, answer in task.train.items())
    prompts = [f"{shown} {question.format(word)}" for word in task.held_out]
    return accuracy_of_prompts(model, prompts, list(task.held_out.values()))
