"""Lesson 05's checks of losses and likelihoods: inputs, and the mistakes that have a name."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from teaching import language_model_answers as answers
from teaching.exercises import Exercise, gradient_rule, normal, number, rule


def losses(logits: Tensor, ids: Tensor) -> Tensor:
    """-log p of ids (B, T) by logits (B, T, V) at the same position, (B, T)."""
    return cross_entropy(logits.transpose(1, 2), ids, reduction="none")


def shifted(logits: Tensor, ids: Tensor) -> Tensor:
    return losses(logits[:, :-1], ids[:, 1:])


def picked_next(table: Tensor, ids: Tensor) -> Tensor:
    """Entries of a table (B, T, V) at the next ids of (B, T): (B, T - 1)."""
    return table[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]


def backwards(logits: Tensor, ids: Tensor) -> Tensor:
    return losses(logits[:, 1:], ids[:, :-1])


def token_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """logits (B, T, V) and ids (B, T) of random sizes, all different."""
    batch, length, words = (
        number(generator, 2, 3),
        number(generator, 5, 7),
        number(generator, 9, 12),
    )
    ids = torch.randint(words, (batch, length), generator=generator)
    return [normal(generator, batch, length, words, scale=2, dtype=torch.float64), ids], {}


def large_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """The same with logits of some hundreds, at which a softmax in 32 bits is 0 for unlikely words."""
    (logits, ids), options = token_inputs(generator)
    return [150 * logits.float(), ids], options


LARGE_MISTAKES = {
    "right for small logits, but infinite for large ones: the softmax of an unlikely word is rounded to 0. `log_softmax` avoids this.": (
        lambda g, i: -picked_next(g.softmax(-1).log(), i),
    ),
    "right for small logits, but exp() of a large one is infinite: `log_softmax` avoids this.": (
        lambda g, i: -picked_next((g.exp() / g.exp().sum(-1, keepdim=True)).log(), i),
        lambda g, i: -picked_next(g - g.exp().sum(-1, keepdim=True).log(), i),
    ),
}
TOKEN_MISTAKES = {
    "each position is scored on its own word, which the model has just read. Which word do its logits predict?": (
        losses,
        lambda g, i: losses(g, i)[:, 1:],
        lambda g, i: losses(g, i)[:, :-1],
    ),
    "the shift goes the wrong way: each position is scored on the word before it.": backwards,
    "the sign is wrong: the losses are negative. A log-probability is at most 0.": lambda g, i: (
        -shifted(g, i)
    ),
    "these are probabilities, or one minus them; the logarithm is missing.": (
        lambda g, i: (-shifted(g, i)).exp(),
        lambda g, i: 1 - (-shifted(g, i)).exp(),
        lambda g, i: -(-shifted(g, i)).exp(),
    ),
    "the logits are taken as they are: a softmax over the vocabulary makes them probabilities first.": (
        lambda g, i: -picked_next(g, i),
        lambda g, i: picked_next(g, i),
    ),
    "the softmax runs over the positions of the text: it must run over the vocabulary, the last axis.": (
        lambda g, i: -picked_next(g.log_softmax(1), i),
        lambda g, i: -g[:, :-1].log_softmax(1).gather(-1, i[:, 1:, None])[..., 0],
    ),
    "the softmax runs over the batch: it must run over the vocabulary, the last axis.": lambda g, i: (
        -picked_next(g.log_softmax(0), i)
    ),
    "the logarithm has base 2: those are bits. Nats, the natural logarithm, are wanted.": lambda g, i: (
        shifted(g, i) / math.log(2)
    ),
    "the softmax was applied twice: `cross_entropy` and `log_softmax` take logits, not probabilities.": (
        lambda g, i: shifted(g.softmax(-1), i)
    ),
    "that is one number for each text, or for all: keep a loss for each predicted token.": (
        lambda g, i: shifted(g, i).mean(),
        lambda g, i: shifted(g, i).mean(1),
        lambda g, i: shifted(g, i).sum(1),
        lambda g, i: shifted(g, i).sum(),
    ),
}


def loss_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """Also loss_mask (B, T): False at padding, which fills texts of different lengths, and at the first word of all texts but one."""
    batch, length, words = 3, number(generator, 7, 9), number(generator, 9, 12)
    lengths = torch.tensor([length, 5, 3])[torch.randperm(batch, generator=generator)]
    position = torch.arange(length)
    loss_mask = (position >= 1) & (position < lengths[:, None])
    loss_mask[number(generator, 0, batch - 1), 0] = True  # a first word has no loss, all the same
    ids = torch.randint(words, (batch, length), generator=generator)
    logits = normal(generator, batch, length, words, scale=2, dtype=torch.float64)
    return [logits, ids, loss_mask], {}


def reduced(each, reduce):
    """A loss whose positions are `each`(logits, ids), reduced with the mask at the words that are predicted."""
    return lambda logits, ids, mask: reduce(each(logits, ids), mask[:, 1:]).item()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return values[mask].mean()


def whole_mean(values: Tensor, mask: Tensor) -> Tensor:
    return values.mean()


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    return values[mask].sum()


def next_word_loss(logits: Tensor, ids: Tensor, mask: Tensor) -> float:
    return answers.next_word_loss(logits, ids, mask).item()


LOSS_MISTAKES = {
    "each position is scored on its own word, which it has just read: there is no shift.": (
        lambda g, i, s: losses(g, i)[s].mean().item(),
        lambda g, i, s: losses(g, i).mean().item(),
        lambda g, i, s: losses(g, i)[s].sum().item(),
    ),
    "the shift goes the wrong way: each position is scored on the word before it.": (
        reduced(backwards, masked_mean),
        reduced(backwards, whole_mean),
        lambda g, i, s: backwards(g, i)[s[:, :-1]].mean().item(),
    ),
    "padding counts: leave out the words where loss_mask is False.": reduced(shifted, whole_mean),
    "padding counts, and the losses are summed: one mean is wanted.": reduced(
        shifted, lambda values, mask: values.sum()
    ),
    "that is a sum: long texts would seem harder than short ones.": reduced(shifted, masked_sum),
    "the right losses are summed, but divided by the number of all words, padding too.": (
        reduced(shifted, lambda values, mask: (values * mask).mean()),
        lambda g, i, s: shifted(g, i)[s[:, 1:]].sum().item() / i.numel(),
    ),
    "you divide by the first words, too, which have no loss.": lambda g, i, s: (
        reduced(shifted, masked_sum)(g, i, s) / s.sum().item()
    ),
    "the softmax was applied twice: the losses are made from logits.": (
        reduced(lambda g, i: shifted(g.softmax(-1), i), masked_mean),
        reduced(lambda g, i: shifted(g.softmax(-1), i), whole_mean),
    ),
    "the mask is not shifted with the words: which entry of loss_mask belongs to the first loss?": (
        lambda g, i, s: shifted(g, i)[s[:, :-1]].mean().item()
    ),
    "the mask is upside down: True means that the word counts.": reduced(
        shifted, lambda values, mask: values[~mask].mean()
    ),
    "each text is averaged first, so words of short texts count more. Take one mean over all words that count.": (
        reduced(shifted, lambda values, mask: ((values * mask).sum(1) / mask.sum(1)).mean())
    ),
    "the mean of the probabilities is taken, not of their logarithms.": (
        reduced(lambda g, i: (-shifted(g, i)).exp(), masked_mean),
        reduced(lambda g, i: -(-shifted(g, i)).exp(), masked_mean),
        reduced(lambda g, i: 1 - (-shifted(g, i)).exp(), masked_mean),
    ),
    "that is the perplexity, exp of the loss: return the loss itself.": lambda *args: math.exp(
        next_word_loss(*args)
    ),
    "the sign is wrong: a loss is minus the log-probability.": lambda *args: -next_word_loss(*args),
}


def answer_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """logits, ids and is_answer (B, T): answers of one to three tokens, padding behind them."""
    batch, length, words = 3, number(generator, 8, 10), number(generator, 9, 12)
    sizes = torch.tensor([1, 2, 3])[torch.randperm(batch, generator=generator)]
    start = number(generator, 2, 4)
    position = torch.arange(length)
    is_answer = (position >= start) & (position < start + sizes[:, None])
    ids = torch.randint(words, (batch, length), generator=generator)
    logits = normal(generator, batch, length, words, scale=2, dtype=torch.float64)
    return [logits, ids, is_answer], {}


def summed(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum(1)


ANSWER_MISTAKES = {
    "there is no shift: the logits at a position predict the next token.": lambda g, i, a: summed(
        -losses(g, i), a
    ),
    "the mask is not shifted with the tokens: which entry of is_answer belongs to the first loss?": (
        lambda g, i, a: summed(-shifted(g, i), a[:, :-1])
    ),
    "the question counts too: every choice has the same question, and padding is no answer.": (
        lambda g, i, a: -shifted(g, i).sum(1)
    ),
    "that is a mean over the answer's tokens; the log-probability of all of them together is the sum.": (
        lambda g, i, a: summed(-shifted(g, i), a[:, 1:]) / a.sum(1)
    ),
    "the sign is wrong: this is a loss. The most likely answer must have the largest value.": (
        lambda g, i, a: summed(shifted(g, i), a[:, 1:])
    ),
    "that is divided by the length of the whole text; the log-probability is the sum.": (
        lambda g, i, a: answers.answer_log_prob(g, i, a) / (a.shape[1] - 1)
    ),
    "that is a probability: keep its logarithm, which doesn't vanish for long answers.": lambda g, i, a: (
        answers.answer_log_prob(g, i, a).exp()
    ),
    "the probabilities are added; those of successive tokens multiply, so add their logarithms.": (
        lambda g, i, a: summed((-shifted(g, i)).exp(), a[:, 1:]),
        lambda g, i, a: summed((-shifted(g, i)).exp(), a[:, 1:]).log(),
    ),
    "that is one number for all texts: each row has its own answer.": (
        lambda g, i, a: answers.answer_log_prob(g, i, a).sum(),
        lambda g, i, a: answers.answer_log_prob(g, i, a).mean(),
        lambda g, i, a: -shifted(g, i)[a[:, 1:]].mean(),
    ),
    "only the first token of each answer counts; all of them must.": lambda g, i, a: summed(
        -shifted(g, i), a[:, 1:] & ~a[:, :-1]
    ),
}

TOKEN_LOSSES = Exercise(
    "One loss for each token but the first, in nats.",
    (
        rule(
            "token_losses",
            token_inputs,
            answers.token_losses,
            TOKEN_MISTAKES,
        ),
        rule("token_losses", large_inputs, answers.token_losses, LARGE_MISTAKES),
        gradient_rule(
            "token_losses",
            token_inputs,
            answers.token_losses,
            1,
            "the values are right, but no gradient arrives at the logits: keep tensors.",
        ),
    ),
    reference=answers.token_losses,
)
NEXT_WORD_LOSS = Exercise(
    "All words that count, count alike, whatever the length of their text.",
    (
        rule(
            "next_word_loss",
            loss_inputs,
            next_word_loss,
            LOSS_MISTAKES,
            tolerance=1e-5,
        ),
        gradient_rule(
            "next_word_loss",
            loss_inputs,
            answers.next_word_loss,
            1,
            "the number is right, but it has no gradient: keep tensors, without .item() or torch.tensor(...).",
        ),
    ),
    reference=answers.next_word_loss,
)
ANSWER_LOG_PROB = Exercise(
    "Answers of different lengths can be compared, each after the same question.",
    (
        rule(
            "answer_log_prob",
            answer_inputs,
            answers.answer_log_prob,
            ANSWER_MISTAKES,
        ),
    ),
    reference=answers.answer_log_prob,
)
