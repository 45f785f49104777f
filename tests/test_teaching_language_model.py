"""Lesson 05's exercises: each plausible mistake is called by its name; what is taught is what the package does."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from exercise_answers import displayed, each, message, solution
from torch.nn.functional import cross_entropy

from benchmarks import replicate_induction
from teaching import (
    language_model,
    language_model_answers,
    language_model_figures,
    language_model_induction,
    language_model_lab,
    language_model_reading,
    language_model_results,
    language_model_study,
)
from vlmcourse import recipes
from vlmcourse.evaluation import load_results, spread
from vlmcourse.parts import generation
from vlmcourse.parts.language import LanguageModel, new_cache, tiny
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import seeded
from vlmcourse.world import documents, tokenizer


def per_token(logits, ids):
    return cross_entropy(logits.transpose(1, 2), ids, reduction="none")


def shifted(logits, ids):
    return per_token(logits[:, :-1], ids[:, 1:])


def picked(table, ids):
    return table.gather(-1, ids[..., None])[..., 0]


def greedy(model, ids, count, end, choose=None, fill=None, all_rows=False, read=None):
    ended, start = torch.zeros(len(ids), dtype=torch.bool), ids.shape[1]
    for _ in range(count):
        logits = model(ids if read is None else read(ids, start))
        token = logits[:, -1].argmax(-1) if choose is None else choose(logits)
        if fill is not None:
            token = torch.where(ended.any() if all_rows else ended, fill, token)
        ended = ended | (token == end)
        ids = torch.cat([ids, token[:, None]], 1)
    return ids[:, start:]


def ended_by_prompt(model, ids, count, end):
    start = ids.shape[1]
    for _ in range(count):
        token = model(ids)[:, -1].argmax(-1).masked_fill((ids == end).any(1), end)
        ids = torch.cat([ids, token[:, None]], 1)
    return ids[:, start:]


def until_ended(how):
    """Greedy, but only up to the column at which `how` (any or all) of the rows have ended."""

    def answer(model, ids, count, end):
        found = greedy(model, ids, count, end, fill=end)
        for column in range(count):
            if how((found[:, column] == end).tolist()):
                return found[:, : column + 1]
        return found

    return answer


def cached(model, cache, ids, count, read=lambda token, whole: token, start=None, at=-1):
    new, found = ids if start is None else ids[:, start:], []
    for _ in range(count):
        token = model(new, cache() if callable(cache) else cache)[:, at].argmax(-1)[:, None]
        found.append(token)
        ids = torch.cat([ids, token], 1)
        new = read(token, ids)
    return torch.cat(found, 1)


def reading_the_last(model, cache, ids, count):
    logits, found = model(ids, cache), []
    for _ in range(count):
        found.append(logits[:, -1].argmax(-1)[:, None])
        logits = model(found[-1], cache)
    return torch.cat(found, 1)


def nucleus(q, p, back=True, descending=True, before=True, equal=False):
    ordered, order = q.sort(-1, descending=descending)
    sums = ordered.cumsum(-1)
    sums = sums - ordered if before else sums
    stays = sums <= p if equal else sums < p
    return torch.zeros_like(stays).scatter(-1, order, stays) if back else stays


def first_rows_order(q, p):
    order = q[0].argsort(descending=True)
    ordered = q[:, order]
    stays = ordered.cumsum(-1) - ordered < p
    return torch.zeros_like(stays).scatter(-1, order.expand(len(q), -1), stays)


def beams(totals, count, largest=True):
    best, index = totals.flatten().topk(count, largest=largest)
    return best, index // totals.shape[1], index % totals.shape[1]


def own_words(a, b):
    values, words = (a[:, None] + b).max(-1)
    return values, torch.arange(len(a)), words


def prompt(example="{0} . this is a {1} .", last="{0} . this is a", sep=" "):
    return lambda examples, text: sep.join(
        [*(example.format(*one) for one in examples), last.format(text)]
    )


def looked_up(ids, first=False, offset=1, none=-1, back=1):
    found = []
    for t, token in enumerate(ids.tolist()):
        earlier = [i for i in range(t - back + 1) if ids[i] == token]
        if not earlier:
            found.append(none)
        else:
            i = (earlier[0] if first else earlier[-1]) + offset
            found.append(int(ids[i]) if i >= 0 else -1)
    return torch.tensor(found)


def scores(w, own, other, row=lambda w: w[:, :, -1], mean=lambda x: x.mean(0), sums=False):
    w = row(w)
    first = (w * own[:, None]).sum(-1)
    second = (w * other[:, None]).sum(-1)
    return mean(first), mean(second if sums else second / other.sum(1)[:, None])


def zero(columns):
    def answer(x, head, heads):
        y = x.clone()
        y[:, :, columns(head, heads, x.shape[-1] // heads)] = 0
        return y

    return answer


def in_place(x, head, heads):
    size = x.shape[-1] // heads
    x[:, :, head * size : (head + 1) * size] = 0
    return x


WRONG = {
    "language_model.token_losses": {
        "which the model has just read": lambda g, i: per_token(g, i)[:, 1:],
        "the shift goes the wrong way": lambda g, i: per_token(g[:, 1:], i[:, :-1]),
        "the sign is wrong": lambda g, i: picked(g.log_softmax(-1)[:, :-1], i[:, 1:]),
        "the logarithm is missing": lambda g, i: picked(g.softmax(-1)[:, :-1], i[:, 1:]),
        "taken as they are": lambda g, i: -picked(g[:, :-1], i[:, 1:]),
        "over the positions": lambda g, i: -picked(g[:, :-1].log_softmax(1), i[:, 1:]),
        "over the batch": lambda g, i: -picked(g[:, :-1].log_softmax(0), i[:, 1:]),
        "base 2": lambda g, i: shifted(g, i) / math.log(2),
        "applied twice": lambda g, i: shifted(g.softmax(-1), i),
        "one number for each text": lambda g, i: shifted(g, i).mean(),
        "rounded to 0": lambda g, i: -picked(g.softmax(-1).log()[:, :-1], i[:, 1:]),
        "exp() of a large one": lambda g, i: (
            -picked((g - g.exp().sum(-1, keepdim=True).log())[:, :-1], i[:, 1:])
        ),
        "no gradient arrives": lambda g, i: shifted(g, i).detach(),
    },
    "language_model.next_word_loss": {
        "there is no shift": lambda g, i, m: per_token(g, i)[m].mean(),
        "the shift goes the wrong way": lambda g, i, m: per_token(g[:, 1:], i[:, :-1])[
            m[:, 1:]
        ].mean(),
        "padding counts: leave": lambda g, i, m: shifted(g, i).mean(),
        "padding counts, and": lambda g, i, m: shifted(g, i).sum(),
        "that is a sum": lambda g, i, m: shifted(g, i)[m[:, 1:]].sum(),
        "divided by the number of all": lambda g, i, m: (shifted(g, i) * m[:, 1:]).mean(),
        "by the first words": lambda g, i, m: (shifted(g, i) * m[:, 1:]).sum() / m.sum(),
        "applied twice": lambda g, i, m: shifted(g.softmax(-1), i)[m[:, 1:]].mean(),
        "the mask is not shifted": lambda g, i, m: shifted(g, i)[m[:, :-1]].mean(),
        "upside down": lambda g, i, m: shifted(g, i)[~m[:, 1:]].mean(),
        "each text is averaged first": lambda g, i, m: torch.stack(
            [x[y].mean() for x, y in zip(shifted(g, i), m[:, 1:])]
        ).mean(),
        "the mean of the probabilities": lambda g, i, m: (-shifted(g, i)).exp()[m[:, 1:]].mean(),
        "perplexity": lambda g, i, m: shifted(g, i)[m[:, 1:]].mean().exp(),
        "the sign is wrong": lambda g, i, m: -shifted(g, i)[m[:, 1:]].mean(),
        "it has no gradient": lambda g, i, m: shifted(g, i)[m[:, 1:]].mean().item(),
    },
    "language_model.generate": {
        "goes on after its end token": lambda m, i, n, e: greedy(m, i, n, e),
        "whose prompt holds the end token": ended_by_prompt,
        "gets 0, padding": lambda m, i, n, e: greedy(m, i, n, e, fill=0),
        "all rows end as soon as one does": lambda m, i, n, e: greedy(
            m, i, n, e, fill=e, all_rows=True
        ),
        "the prompt is returned too": lambda m, i, n, e: torch.cat(
            [i, greedy(m, i, n, e, fill=e)], 1
        ),
        "after the first token": lambda m, i, n, e: greedy(
            m, i, n, e, choose=lambda g: g[:, 0].argmax(-1), fill=e
        ),
        "only the token that was generated last": lambda m, i, n, e: greedy(
            m,
            i,
            n,
            e,
            fill=e,
            read=lambda ids, start: ids if ids.shape[1] == start else ids[:, -1:],
        ),
        "the prompt alone": lambda m, i, n, e: greedy(
            m, i, n, e, fill=e, read=lambda ids, start: ids[:, :start]
        ),
        "the least likely": lambda m, i, n, e: greedy(
            m, i, n, e, choose=lambda g: g[:, -1].argmin(-1), fill=e
        ),
        "stops too early": until_ended(any),
        "stops when all rows have ended": until_ended(all),
        "one token too few": lambda m, i, n, e: greedy(m, i, n - 1, e, fill=e),
        "one token too many": lambda m, i, n, e: greedy(m, i, n + 1, e, fill=e),
    },
    "language_model.cache": {
        "without the cache": lambda m, c, i, n: cached(m, list, i, n, lambda token, whole: whole),
        "several times in a row": lambda m, c, i, n: cached(m, c, i, n, lambda token, whole: whole),
        "begins with an empty cache": lambda m, c, i, n: cached(m, list, i, n),
        "last token is read twice": lambda m, c, i, n: cached(
            m, c, i, n, lambda token, whole: whole[:, -2:]
        ),
        "its logits came with the prompt": lambda m, c, i, n: (
            m(i, c),
            cached(m, c, i, n, start=-1),
        )[1],
        "only the prompt's last token": lambda m, c, i, n: cached(m, c, i, n, start=-1),
        "the first one's logits": lambda m, c, i, n: cached(m, c, i, n, at=0),
        "the last one is read as well": reading_the_last,
        "the prompt is returned too": lambda m, c, i, n: torch.cat([i, cached(m, c, i, n)], 1),
        "only the last new token": lambda m, c, i, n: cached(m, c, i, n)[:, -1:],
    },
    "language_model.nucleus": {
        "keeps equally many words": lambda q, p: (
            q >= q.topk(max(1, int(p * q.shape[1]))).values[:, -1:]
        ),
        "upside down": lambda q, p: ~nucleus(q, p),
        "the word that crosses p": lambda q, p: nucleus(q, p, before=False),
        "the least likely words": lambda q, p: nucleus(q, p, descending=False),
        "in sorted order": lambda q, p: nucleus(q, p, back=False),
        "put back wrongly": lambda q, p: nucleus(q, p, back=False).gather(
            -1, q.argsort(-1, descending=True)
        ),
        "its own order": first_rows_order,
        "not sorted": lambda q, p: q.cumsum(-1) - q < p,
        "a fixed level": lambda q, p: q > 1 - p,
        "that is top-k": lambda q, p: torch.zeros_like(q).scatter(-1, q.topk(3).indices, 1).bool(),
        "one word too many": lambda q, p: nucleus(q, p, equal=True),
        "no word is left": lambda q, p: nucleus(q, p, before=p > 0.1),
    },
    "language_model.beam_step": {
        "each beam keeps its own": own_words,
        "is left out": lambda a, b: beams(b, len(a)),
        "are multiplied": lambda a, b: beams(a[:, None] * b, len(a)),
        "the probabilities are added": lambda a, b: beams(a[:, None].exp() + b.exp(), len(a)),
        "log-probabilities are wanted": lambda a, b: (
            beams(a[:, None] + b, len(a))[0].exp(),
            *beams(a[:, None] + b, len(a))[1:],
        ),
        "the new word alone": lambda a, b: (
            b.flatten()[(a[:, None] + b).flatten().topk(len(a)).indices],
            *beams(a[:, None] + b, len(a))[1:],
        ),
        "the least likely": lambda a, b: beams(a[:, None] + b, len(a), False),
        "exchanged": lambda a, b: [beams(a[:, None] + b, len(a))[i] for i in (0, 2, 1)],
        "divided by the number of beams": lambda a, b: (
            (a[:, None] + b).flatten().topk(len(a)).values,
            (a[:, None] + b).flatten().topk(len(a)).indices // len(a),
            (a[:, None] + b).flatten().topk(len(a)).indices % len(a),
        ),
        "only one continuation": lambda a, b: beams(a[:, None] + b, 1),
        "not in order": lambda a, b: [x.flip(0) for x in beams(a[:, None] + b, len(a))],
        "not right: the ids of the words": lambda a, b: (
            *beams(a[:, None] + b, len(a))[:2],
            b.argmax(-1) + 1,
        ),
    },
    "language_model.answer_log_prob": {
        "the length of the whole text": lambda g, i, a: -(shifted(g, i) * a[:, 1:]).mean(1),
        "there is no shift": lambda g, i, a: (-per_token(g, i) * a).sum(1),
        "not shifted with the tokens": lambda g, i, a: (-shifted(g, i) * a[:, :-1]).sum(1),
        "the question counts": lambda g, i, a: -shifted(g, i).sum(1),
        "that is a mean": lambda g, i, a: (-shifted(g, i) * a[:, 1:]).sum(1) / a.sum(1),
        "the sign is wrong": lambda g, i, a: (shifted(g, i) * a[:, 1:]).sum(1),
        "that is a probability": lambda g, i, a: (-shifted(g, i) * a[:, 1:]).sum(1).exp(),
        "are added": lambda g, i, a: ((-shifted(g, i)).exp() * a[:, 1:]).sum(1),
        "one number for all": lambda g, i, a: (-shifted(g, i) * a[:, 1:]).sum(),
        "only the first token": lambda g, i, a: picked(-shifted(g, i), a[:, 1:].int().argmax(1)),
    },
    "language_model.prompt": {
        "begins with its name": prompt("this is a {1} . {0} ."),
        "each has its own": lambda e, d: prompt()([(d, name) for _, name in e], d),
        "the prompt ends with 'a'": prompt(last="{0} . this is a."),
        "the question is closed": prompt(last="{0} ."),
        "after each name is missing": prompt("{0} . this is a {1}"),
        "after each description": prompt("{0} this is a {1} ."),
        "the opposite order": lambda e, d: prompt()(e[::-1], d),
        "the question stands first": lambda e, d: " ".join(
            [f"{d} . this is a", *(f"{a} . this is a {b} ." for a, b in e)]
        ),
        "are exchanged": prompt("{1} . this is a {0} ."),
        "only the last example": lambda e, d: prompt()(e[-1:], d),
        "only the first example": lambda e, d: prompt()(e[:1], d),
        "have no names": prompt("{0} . this is a"),
        "single spaces": prompt(sep=""),
        "none at the end": lambda e, d: prompt()(e, d) + " ",
        "on one line": prompt(sep="\n"),
        "begins with a space": lambda e, d: prompt()(e, d) if e else " " + prompt()(e, d),
        "begins with a stop": lambda e, d: (
            " . ".join(f"{a} . this is a {b}" for a, b in e) + f" . {d} . this is a"
        ),
        "the question alone": lambda e, d: prompt()(e, d) if e else d,
        "already in the prompt": lambda e, d: f"{prompt()(e, d)} {e[0][1]}" if e else "",
    },
    "language_model.rule": {
        "the first earlier occurrence": lambda i: looked_up(i, first=True),
        "the earlier occurrence itself": lambda i: looked_up(i, offset=0),
        "twice in a row": lambda i: looked_up(i, back=2),
        "the token before the earlier": lambda i: looked_up(i, offset=-1),
        "the next token of the text": lambda i: torch.cat([i[1:], torch.tensor([-1])]),
        "simply the token before": lambda i: torch.cat([torch.tensor([-1]), i[:-1]]),
        "-1, not 0": lambda i: looked_up(i, none=0),
        "-1, not the token itself": lambda i: torch.where(looked_up(i) < 0, i, looked_up(i)),
        "those are positions": lambda i: torch.tensor(
            [max([e + 1 for e in range(t) if i[e] == i[t]], default=-1) for t in range(len(i))]
        ),
        "one place too late": lambda i: torch.cat([torch.tensor([-1]), looked_up(i)[:-1]]),
    },
    "language_model.head_scores": {
        "keys and queries": lambda w, a, b: scores(w, a, b, row=lambda w: w[..., -1]),
        "the first query": lambda w, a, b: scores(w, a, b, row=lambda w: w[:, :, 0]),
        "all queries are averaged": lambda w, a, b: scores(w, a, b, row=lambda w: w.mean(2)),
        "are summed: their mean": lambda w, a, b: scores(w, a, b, sums=True),
        "over all positions of the text": lambda w, a, b: tuple(
            (w[:, :, -1] * mask[:, None]).mean(-1).mean(0) for mask in (a, b)
        ),
        "the heads are averaged": lambda w, a, b: scores(w, a, b, mean=lambda x: x.mean(1)),
        "of each text are returned": lambda w, a, b: scores(w, a, b, mean=lambda x: x),
        "summed over the texts": lambda w, a, b: scores(w, a, b, mean=lambda x: x.sum(0)),
        "the order is exchanged": lambda w, a, b: scores(w, a, b)[::-1],
        "all positions but the right": lambda w, a, b: scores(w, a, ~a),
        "only the first text": lambda w, a, b: scores(w, a, b, mean=lambda x: x[0]),
    },
    "language_model.silence_head": {
        "far apart": zero(lambda head, heads, size: slice(head, None, heads)),
        "only one number": zero(lambda head, heads, size: head),
        "as there are heads": zero(
            lambda head, heads, size: slice(head * heads, (head + 1) * heads)
        ),
        "the next head": zero(
            lambda head, heads, size: slice((head + 1) * size, (head + 2) * size)
        ),
        "the head before": zero(lambda head, heads, size: slice((head - 1) * size, head * size)),
        "all heads up to": zero(lambda head, heads, size: slice(0, (head + 1) * size)),
        "all heads are zero": lambda x, head, heads: torch.zeros_like(x),
        "all other heads": lambda x, head, heads: (
            x - language_model_answers.silence_head(x, head, heads)
        ),
        "cut out": lambda x, head, heads: torch.cat(
            [part for i, part in enumerate(x.chunk(heads, -1)) if i != head], -1
        ),
        "nothing has changed": lambda x, head, heads: x.clone(),
        "only the last position": lambda x, head, heads: torch.cat(
            [x[:, :-1], language_model_answers.silence_head(x[:, -1:], head, heads)], 1
        ),
        "x itself was changed": in_place,
    },
}


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):  # inputs are fresh each time
        assert words in message(id, answer)


@pytest.mark.parametrize("name", language_model.EXERCISES)
def test_the_reference_and_the_solution_pass(name):
    id = f"language_model.{name}"
    assert message(id, language_model.EXERCISES[name].reference) == ""
    assert message(id, solution(id)) == ""


def test_other_ways_to_be_right():
    def by_cross_entropy(g, i, m):
        return cross_entropy(g[:, :-1][m[:, 1:]], i[:, 1:][m[:, 1:]])

    assert message("language_model.next_word_loss", by_cross_entropy) == ""
    assert message("language_model.nucleus", lambda q, p: nucleus(q, p)) == ""
    assert message("language_model.rule", looked_up) == ""


def test_what_is_taught_is_what_the_package_does():
    torch.manual_seed(0)
    model = LanguageModel(tiny(20, width=16, depth=1, heads=2)).eval()
    ids, loss_mask = torch.randint(20, (3, 9)), torch.rand(3, 9) > 0.4
    loss_mask[:, 0] = False
    with torch.no_grad():
        logits = model(ids)
        expected = model.losses({"ids": ids, "loss_mask": loss_mask})["lm"]
    taught = language_model_answers
    torch.testing.assert_close(taught.next_word_loss(logits, ids, loss_mask), expected)
    torch.testing.assert_close(
        taught.answer_log_prob(logits, ids, loss_mask),
        generation.sequence_log_prob(model, ids, loss_mask),
    )
    with torch.no_grad():
        written = taught.generate(model, ids, 6, end=3)
    theirs = generation.generate(model, ids, 6, end=3)
    assert torch.equal(written[:, : theirs.shape[1]], theirs)
    counted = language_model_figures.Counted(model)
    fast = taught.generate_with_cache(counted, new_cache(model.lm), ids, 6)
    assert torch.equal(fast, generation.generate(model, ids, 6)) and counted.computed == 9 + 5

    probabilities = torch.randn(1, 6).softmax(-1)
    drawn = generation.nucleus(0.7)(probabilities.log().expand(5000, -1))
    stays = taught.nucleus_mask(probabilities, 0.7)[0]
    assert set(drawn.tolist()) == set(stays.nonzero()[:, 0].tolist()) and 0 < stays.sum() < 6


def test_a_beam_of_two_finds_the_text_that_greedy_decoding_misses():
    figures = language_model_figures
    start = torch.tensor([[figures.TOY_WORDS.index("<start>")]])
    found = {}
    for beams_ in (1, 2):
        ids, log_probs = figures.beam_search(
            figures.toy_language, start, 2, beams_, language_model_answers.beam_step
        )
        found[beams_] = [figures.TOY_WORDS[i] for i in ids[0, 1:]], log_probs[0].exp().item()
    assert found[1] == (["a", "bird"], pytest.approx(0.24))
    assert found[2] == (["the", "moon"], pytest.approx(0.36))


def test_the_word_after_a_list_said_twice_stands_in_the_list():
    task = language_model_induction.lists(8, length=5)
    assert task.ids.shape == (8, 10) and (task.ids[task.is_own] == task.answers).all()
    assert (task.is_other.sum(1) == 4).all() and not (task.is_own & task.is_other).any()
    assert language_model_reading.rule_accuracy(language_model_answers.induction_rule, task) == 1


def test_tables_of_reading_have_a_line_for_each_head_and_form(monkeypatch):
    reading = language_model_reading
    few = {form: lambda count, make=make: make(4) for form, make in reading.TASKS.items()}
    monkeypatch.setattr(reading, "TASKS", few)
    with seeded(0):
        model = LanguageModel(tiny(len(tokenizer.world_tokenizer()), 96, 2, 3)).eval()
    text = reading.tables_of_heads(model, model, language_model_answers.head_scores)
    assert text.count("\n| 1, ") == text.count("\n| 2, ") == 6 and "(list)" in text
    rule = reading.rule_beside_model(language_model_answers.induction_rule, model)
    assert "| list | " in rule and rule.count("| 1.00 |") == 2  # in short texts and in lists
    answers = language_model_answers
    found = reading.without_heads(model, answers.silence_head, answers.few_shot_prompt, 4, 40)
    lines = found.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 1 + 6 + 2 and table[-2].startswith("| layer 2, heads 1 and 2 |")
    assert "| 0.33 | 0.33 | 0.17 | 0.33 |" in table[-1]
    assert sum(line.startswith("- ") for line in lines) == 6 and "(head 3)" in lines[-1]
    assert "3 nouns: 0.00" in rule


def test_a_model_that_guesses_among_nouns_has_the_loss_of_a_guess():
    nouns = tokenizer.encode(documents.NOUN_WORDS)[:, 1]

    class Guess(torch.nn.Module):
        def forward(self, ids):
            logits = torch.full((*ids.shape, len(tokenizer.world_tokenizer())), -50.0)
            logits[..., nouns] = 0
            return logits

    text = language_model_figures.losses_by_pass(Guess(), language_model_answers.token_losses)
    guess = f"{math.log(len(nouns)):.2f}"
    assert text.count(guess) == 4 and f"{guess} (time 3)" in text
    assert "any noun comes next: 1.00 after one noun, 1.00 after 7" in text


def test_naming_texts_end_before_a_name_that_was_said():
    for form in language_model_induction.FORMS:
        task = language_model_induction.naming(form, count=8)
        assert (task.ids[task.is_own] == task.answers).all()
        assert (task.is_other.sum(1) == 2).all() and not (task.is_own & task.is_other).any()
    rule = language_model_answers.induction_rule
    short, page = (language_model_induction.naming(form, 32) for form in ("short", "page"))
    assert language_model_reading.rule_accuracy(rule, short) == 1
    assert language_model_reading.rule_accuracy(rule, page) < 0.7


def test_only_names_that_were_said_count_in_named_pairs():
    batch = language_model_induction.NamedPairs().batch(range(4))
    invented = set(tokenizer.encode(tokenizer.INVENTED)[:, 1].tolist())
    for row, t in batch["loss_mask"].nonzero().tolist():
        token = batch["ids"][row, t].item()
        assert token in invented and token in batch["ids"][row, :t].tolist()
    assert 0.25 < language_model_induction.NamedPairs().guessing() < 0.4


def test_a_silenced_head_is_back_afterwards():
    model = recipes.language.new_language("smoke").eval()
    ids = torch.randint(3, 50, (2, 6))
    with torch.no_grad():
        before = model(ids)
        with language_model_induction.without_head(model, 0, 1):
            silent = model(ids)
        assert not torch.allclose(before, silent) and torch.equal(before, model(ids))


def test_wrong_answers_that_are_words_of_the_prompt_are_counted():
    right, inside = ("a cat", "cat", "cat"), ("a cat dog", "cat", "dog")
    outside = ("a cat", "cat", "owl")
    found = {kind: {4: [right, inside, outside]} for kind in ("background", "thing")}
    text = language_model_study.about_wrong_answers(found)
    assert text.count("1 of 2 wrong answers") == 2 and "After 4 examples" in text


def test_guesses_among_two_nouns_are_called_guesses():
    class First(torch.nn.Linear):  # takes the first choice
        def forward(self, ids, padding_mask):
            return torch.zeros(*ids.shape, len(tokenizer.world_tokenizer()))

    text = language_model_study.nouns_as_two_names(
        First(1, 1), language_model_answers.few_shot_prompt, 64
    )
    assert text.startswith("In 64 prompts") and "it guesses" in text


def test_nouns_as_names_are_new_words_at_the_same_places():
    study = language_model_study
    for index in range(8):
        shown, asked, answer = study.examples(index, ways=3)
        new, same, right = study.nouns_as_names(index, ways=3)
        words, names = [name for _, name in new], [name for _, name in shown]
        assert [text for text, _ in new] == [text for text, _ in shown] and same == asked
        assert words.index(right) == names.index(answer) and len(set(words)) == 3
        used = " ".join([*(text for text, _ in shown), asked]).split()
        assert set(words) <= set(documents.NOUN_WORDS) and not set(words) & set(used)


@pytest.mark.parametrize(
    "share, count, words",
    [
        (0.35, 128, "it guesses"),
        (0.45, 128, "gap (3 names) is 2.9 standard errors"),
        (0.5, 128, "as surely"),
        (0.5, 16, "it guesses"),
        (0.95, 128, "So the model reads any word"),
    ],
)
def test_the_controls_of_naming_are_put_into_words(share, count, words):
    group = {"examples": 1.0, "nouns as names": share, "no examples": 0.3, "chance": 0.33}
    assert words in language_model_study.about_binding({"3 names": group}, count)


@pytest.mark.parametrize(
    "share, words", [(0.0, "doesn't follow"), (0.7, "in 70% of"), (1.0, "follows the plain rule")]
)
def test_the_list_test_is_put_into_words(share, words):
    assert words in language_model_reading.about_lists(share)


def test_what_removed_heads_cost_is_put_into_words():
    rows = {"the whole model": [1.0, 1.0, 0.8, 1.0, 1.0]}
    rows |= {"layer 1, head 1": [0.6, 0.9, 0.1, 1, 1], "layer 1, head 2": [1, 0.3, 0.8, 0.4, 1]}
    rows |= {"layer 2, head 1": [0.2, 1, 0, 1, 0.2], "layer 2, head 2": [1, 0.95, 0.8, 1, 1]}
    rows |= {"layer 2, heads 1 and 2": [0.1, 0.05, 0.0, 0.3, 0.07]}
    started, names, lists, facts, prompts = language_model_reading.about_removal(rows)
    assert (
        "where its start suggests" in started
        and "0.20 without head 1 of layer 2, and 1.00" in names
    )
    assert "1.00 and 0.95, and 0.05 without both: pages need one of the two" in names
    assert "0.80 with all heads, 0.10" in lists and "0.00 without head 1 of layer 2: they" in lists
    assert "need layer 2, head 1 most: 0.20 without it, 0.07 without heads 1 and 2" in facts
    assert (
        "Figure 9 need layer 1, head 2; without heads 1 and 2 of layer 2 they are 0.30" in prompts
    )
    rows["layer 1, head 1"], rows["layer 1, head 2"] = [1, 0.3, 0.8, 1, 1], [0.6, 0.9, 0.8, 1, 1]
    rows["layer 2, head 2"] = [1.0, 0.4, 0.8, 1.0, 1.0]
    started, names, lists, _, prompts = language_model_reading.about_removal(rows)
    assert "Figure 9 need no single head" in prompts
    assert (
        "not what their start suggests" in started
        and "they need" not in lists
        and "one of" not in names
    )


def test_the_failure_lab_is_shuffled_and_its_healthy_run_is_best():
    kept = json.loads(language_model_lab.KEPT.read_text())
    assert kept == language_model_lab.runs("language_model.training", Scale.of("laptop"))
    assert min(kept, key=lambda letter: kept[letter]["new texts"]) == "healthy"
    assert min(kept, key=lambda letter: kept[letter]["training"]) != "healthy"
    assert len({run["training"] for run in kept.values()}) == 4


def test_the_replication_measures_a_row():
    row = replicate_induction.measure("two layers, heads set", seed=0, steps=2)
    assert [point["step"] for point in row["curve"]] == [0, 1, 2] and len(row["heads"]) == 6
    assert max(head["own"] for head in row["heads"]) > 0.3  # as they were set


def test_the_table_beside_the_paper_has_a_verdict_for_each_claim():
    text = language_model_results.comparison(load_results("replicate_induction"))
    verdicts = ("**agrees**", "**within noise**", "**disagrees**", "**not tested: neither")
    assert sum(map(text.count, verdicts)) == 2
    assert "Argument 2" in text and "| not measured | not measured | none |" in text
    own = language_model_results.start_table(load_results("replicate_induction"))
    assert own.count("two layers, heads set:") == 2
    (row,) = load_results("replicate_language")["rows"]
    names = language_model_results.NAMES
    made = {
        "seed": 4,
        "words": {"facts": 0.5, names: 1.0},
        "curve": [{"step": 50, "lm": 2.0}, {"step": 100, names: 0.95}],
    }
    text = language_model_results.controls(row | {"learning": [made]})
    assert "| 4 | 100 | 1.00 | 0.25, of four names | 0.50 |" in text
    assert "names reach 0.9 in 1 of 1 seeds, facts in 0 of 1 seeds" in text
    unmeasured = made | {"seed": 5, "curve": [{"step": 50, "lm": 2.0}]}
    text = language_model_results.controls(row | {"learning": [made, unmeasured]})
    assert "| 5 | not measured | 1.00 | 0.25, of four names | 0.50 |" in text
    assert "course's recipe" not in language_model_results.controls(row | {"learning": []})


@pytest.mark.parametrize("high, low, words", [(0.33, 0.3, "not tested"), (0.9, 0.3, "agrees")])
def test_a_claim_is_tested_only_where_a_model_has_learned(high, low, words):
    sides = [("two layers", spread([high, high + 0.01])), ("one layer", spread([low, low + 0.01]))]
    assert f"**{words}" in language_model_results.line("claim", "paper", *sides)


def test_what_the_lesson_says_of_lists_and_facts_is_what_it_prints():
    lesson = json.loads(
        (Path(__file__).parents[1] / "notebooks/05_language_model.ipynb").read_text()
    )
    printed = json.dumps([cell.get("outputs") for cell in lesson["cells"]])
    told = "".join("".join(cell["source"]) for cell in lesson["cells"])
    (share,) = re.findall(r"follows it in (\d+)% of the lists", printed)
    assert set(re.findall(r"(\d+)% of the (?:lists|cases)", told)) == {share}
    assert f"lists in {share}%" in told
    (row,) = load_results("replicate_language")["rows"]
    random, ours = re.findall(r"facts in (\d of \d) seeds", language_model_results.controls(row))
    assert f"learned in {ours} seeds with our recipe, in {random} from random weights" in told


def test_half_of_the_way_is_found_for_falling_and_rising_curves():
    points = [{"step": s, "up": u, "down": 4 - u} for s, u in ((1, 0), (2, 1), (3, 2.5), (4, 4))]
    for name in ("up", "down"):
        assert language_model_results.step_of_share(points, name) == 3


def test_the_nucleus_player_keeps_what_it_shows(monkeypatch):
    shown = displayed(monkeypatch)
    probabilities = torch.tensor([0.1, 0.6, 0.3])
    language_model.nucleus_player(probabilities.log(), ["cat", "dog", "owl"], p=0.8)
    ((widget, static),) = shown
    assert static["image/png"].startswith(b"\x89PNG") and "2 words stay" in static["text/plain"]
    (share, temperature), text = widget.children[0].children, widget.children[-1]
    assert "dog: model 0.6, nucleus 0.667" in text.value
    assert "cat: model 0.1, nucleus 0." in text.value
    share.value = 0.5
    assert "1 words stay" in text.value
    share.value, temperature.value = 0.95, 3.0
    assert "temperature 3.0: 3 words stay" in text.value
