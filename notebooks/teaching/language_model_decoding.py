"""Lesson 05's checks of decoding: greedy, with a cache, nucleus, a step of beam search."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from teaching import language_model_answers as answers
from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source

WORDS = 7
"""Vocabulary of the tables."""


class TableModel:
    """A language model whose next token depends on all tokens so far: table (M, V) of logits, by a sum of the history."""

    def __init__(self, table: Tensor):
        self.table, self.computed = table, 0

    def __call__(self, ids: Tensor, cache: list | None = None) -> Tensor:
        """Logits (B, n, V) of ids (B, n) after the tokens in the cache, to which ids are added."""
        before = torch.cat(cache, dim=1) if cache else ids[:, :0]
        if cache is not None:
            cache.append(ids)
        self.computed += ids.shape[1]
        state, states = torch.zeros(len(ids), dtype=torch.long), []
        for token in torch.cat([before, ids], dim=1).unbind(1):
            state = (3 * state + token + 1) % len(self.table)
            states.append(state)
        return self.table[torch.stack(states[before.shape[1] :], dim=1)]


def run_generate(target, table, ids, count, end):
    """Driver: what `target` generates with a table model."""
    from teaching.language_model_decoding import TableModel

    return target(TableModel(table), ids, count, end)


def generate_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """table (M, V), prompts (B, T), number of new tokens, id of the end token (not 0, which is padding)."""
    ids = torch.randint(WORDS, (4, number(generator, 2, 4)), generator=generator)
    count, end = number(generator, 6, 8), number(generator, 1, WORDS - 1)
    return [normal(generator, 23, WORDS), ids, count, end], {}


def generated(
    table: Tensor,
    ids: Tensor,
    count: int,
    end: int,
    read=None,
    choose=None,
    after=None,
    begin=None,
) -> Tensor:
    """Greedy generation with a table model; the options are ways to get it wrong.

    read    (ids, new tokens) -> what the model reads;  choose: logits (B, n, V) -> tokens (B,)
    after   (token, ended, end) -> what a row gets once it has ended;  begin: (ids, end) -> rows that have ended before
    """
    read = read or (lambda ids, _: ids)
    choose = choose or (lambda logits: logits[:, -1].argmax(-1))
    after = after or (lambda token, ended, end: token.masked_fill(ended, end))
    begin = begin or (lambda ids, end: torch.zeros(len(ids), dtype=torch.bool))
    model, ended, tokens = TableModel(table), begin(ids, end), []
    for _ in range(count):
        token = after(choose(model(read(ids, tokens))), ended, end)
        ended = ended | (token == end)
        tokens.append(token)
        ids = torch.cat([ids, token[:, None]], dim=1)
    return torch.stack(tokens, dim=1)


def reference_generate(table: Tensor, ids: Tensor, count: int, end: int) -> Tensor:
    return generated(table, ids, count, end)


def stopped(table: Tensor, ids: Tensor, count: int, end: int, how) -> Tensor:
    """Only the columns up to the first one where `how` (all or any) of the rows have ended."""
    found = generated(table, ids, count, end)
    ended = how((found == end).cumsum(1) > 0, 0)
    return found[:, : int(ended.long().argmax()) + 1] if ended.any() else found


def has_short_and_long_rows(table: Tensor, ids: Tensor, count: int, end: int) -> bool:
    """Some row ends early, but not at once, and another one never."""
    ended = (generated(table, ids, count, end) == end).any(1)
    early = (generated(table, ids, count, end)[:, 1:3] == end).any(1)
    return bool(early.any() and not ended.all())


GENERATE_MISTAKES = {
    "a row goes on after its end token: once a row has ended, it repeats the end token.": partial(
        generated, after=lambda token, ended, end: token
    ),
    "a row that has ended gets 0, padding: repeat the end token instead.": partial(
        generated, after=lambda token, ended, end: token.masked_fill(ended, 0)
    ),
    "all rows end as soon as one does: each row has an end of its own.": partial(
        generated,
        after=lambda token, ended, end: token.masked_fill(ended.any(), end),
    ),
    "a row whose prompt holds the end token counts as ended: only a new token ends a row.": (
        partial(generated, begin=lambda ids, end: (ids == end).any(1)),
        partial(generated, begin=lambda ids, end: ids[:, -1] == end),
    ),
    "the prompt is returned too: only new tokens are wanted.": lambda t, i, c, e: torch.cat(
        [i, generated(t, i, c, e)], dim=1
    ),
    "the logits after the first token are used at every step; the next token follows the last one.": (
        partial(generated, choose=lambda logits: logits[:, 0].argmax(-1))
    ),
    "the model reads only the token that was generated last: it needs the whole text so far.": partial(
        generated, read=lambda ids, tokens: tokens[-1][:, None] if tokens else ids
    ),
    "the model always reads the prompt alone: add each new token to what it reads.": partial(
        generated, read=lambda ids, tokens: ids[:, : ids.shape[1] - len(tokens)]
    ),
    "the least likely token is taken.": partial(
        generated, choose=lambda logits: logits[:, -1].argmin(-1)
    ),
    "generation stops too early: return max_new_tokens columns even if rows have ended.": (
        partial(stopped, how=torch.any),
    ),
    "one token too few.": lambda t, i, c, e: generated(t, i, c, e)[:, :-1],
    "one token too many.": lambda t, i, c, e: generated(t, i, c + 1, e),
}


def generate_check_inputs(generator: torch.Generator) -> tuple[list, dict]:
    while True:
        args, options = generate_inputs(generator)
        if has_short_and_long_rows(*args):
            return args, options


def all_rows_end(generator: torch.Generator) -> tuple[list, dict]:
    """One prompt, or some that are the same, so that all rows end before the last column."""
    while True:
        (table, ids, count, end), options = generate_inputs(generator)
        ids = ids[:1].expand(number(generator, 1, 2), -1)
        if (generated(table, ids, count, end)[:, :-1] == end).any(1).all():
            return [table, ids, count, end], options


def run_cached(target, table, ids, count):
    """Driver: [what `target` generates with a table model and a cache, how many positions were computed]."""
    from teaching.language_model_decoding import TableModel

    model = TableModel(table)
    found = target(model, [], ids, count)
    return [found, model.computed]


def cached_inputs(generator: torch.Generator) -> tuple[list, dict]:
    ids = torch.randint(WORDS, (2, number(generator, 3, 5)), generator=generator)
    return [normal(generator, 23, WORDS), ids, number(generator, 5, 7)], {}


def cached(answer):
    """[value, positions computed] of an answer (model, cache, ids, count) to the exercise, by the inputs of the check."""
    return lambda table, ids, count: run_cached(answer, table, ids, count)


def loop(first=lambda ids: ids, read=lambda new, ids: new, fresh=False, position=-1, late=False):
    """`generate_with_cache`, with options to get it wrong: what is read at first and later, with which cache."""

    def answer(model, cache, ids, count):
        new, tokens, whole = first(ids), [], ids
        for _ in range(count):
            logits = model(new, [] if fresh else cache)
            token = logits[:, position].argmax(-1, keepdim=True)
            tokens.append(token)
            whole = torch.cat([whole, token], dim=1)
            new = read(token, whole)
        if late:
            model(new, cache)
        return torch.cat(tokens, dim=1)

    return answer


def prompt_first(model, cache, ids, count):
    """All of the prompt is read, and then its last token again."""
    model(ids, cache)
    return answers.generate_with_cache(model, cache, ids[:, -1:], count)


def with_prompt(model, cache, ids, count):
    return torch.cat([ids, answers.generate_with_cache(model, cache, ids, count)], dim=1)


def last_only(model, cache, ids, count):
    return answers.generate_with_cache(model, cache, ids, count)[:, -1:]


CACHED_MISTAKES = {
    "the whole text is read again at each step, without the cache: that computes positions that are known.": (
        cached(loop(read=lambda new, whole: whole, fresh=True))
    ),
    "the whole text is added to the cache again at each step: the model then reads it several times in a row.": (
        cached(loop(read=lambda new, whole: whole))
    ),
    "each step begins with an empty cache: the model has forgotten the prompt.": cached(
        loop(fresh=True)
    ),
    "the prompt's last token is read twice: its logits came with the prompt. After that, read only what was generated.": (
        cached(loop(read=lambda new, whole: whole[:, -2:])),
        cached(prompt_first),
    ),
    "only the prompt's last token is read: the cache is empty at first, so read all of the prompt.": cached(
        loop(first=lambda ids: ids[:, -1:])
    ),
    "the next token follows the last position; the first one's logits are used.": cached(
        loop(position=0)
    ),
    "the right words, but the last one is read as well: nothing is generated after it.": cached(
        loop(late=True)
    ),
    "the prompt is returned too: only new tokens are wanted.": cached(with_prompt),
    "only the last new token is returned; all of them are wanted.": cached(last_only),
}


GENERATE = Exercise(
    "Greedy: the most likely token at each step; rows that have ended repeat the end token.",
    (
        rule(
            "generate",
            generate_check_inputs,
            reference_generate,
            GENERATE_MISTAKES,
            driver=driver_source(run_generate),
        ),
        rule(
            "generate",
            all_rows_end,
            reference_generate,
            {
                "generation stops when all rows have ended: return max_new_tokens columns all the same.": (
                    partial(stopped, how=torch.all)
                )
            },
            driver=driver_source(run_generate),
        ),
    ),
    reference=answers.generate,
)
CACHED = Exercise(
    "The same words, and no position is computed twice.",
    (
        rule(
            "generate_with_cache",
            cached_inputs,
            cached(answers.generate_with_cache),
            CACHED_MISTAKES,
            driver=driver_source(run_cached),
        ),
    ),
    reference=answers.generate_with_cache,
)
