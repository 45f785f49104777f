"""Lesson 05's measurements: what the model knows, and what it reads from its context."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import eq

import torch
from torch import nn

from vlmcourse import plots, world
from vlmcourse.evaluation import choose_next_token, eval_mode, next_token_probabilities
from vlmcourse.parts.language import LanguageModel
from vlmcourse.recipes.language import text_prompts, word_report
from vlmcourse.world import documents, tokenizer
from vlmcourse.world.document_kinds import describe
from vlmcourse.world.nouns import Noun, nouns
from vlmcourse.world.scenes import BACKGROUNDS

KINDS = {"what kind": "category", "where can": "place", "what is": "purpose"}
"""{how a question begins: kind of fact}."""
Fact = tuple[str, str, Sequence[str]]
"""(question, answer, words to choose from)."""


def some_facts(every: int = 1) -> list[Fact]:
    """Every n-th fact, of all nouns and kinds."""
    return documents.known_facts()[::every]


def chosen(model: nn.Module, answer_log_prob: Callable, fact: Fact) -> tuple[str, dict[str, float]]:
    """The choice with the highest log-probability after the question, and {choice: log-probability}."""
    question, _, choices = fact
    ids = tokenizer.encode([f"{question} {choice}" for choice in choices])[:, :-1]
    start = 1 + len(tokenizer.split_words(question))  # 1: <bos>
    is_answer = (torch.arange(ids.shape[1]) >= start) & (ids != tokenizer.PAD)
    with eval_mode(model):
        found = answer_log_prob(model(ids), ids, is_answer)
    scores = dict(zip(choices, found.tolist()))
    return max(scores, key=scores.__getitem__), scores


def facts_known(models: Mapping[str, nn.Module], answer_log_prob: Callable, every: int = 1):
    """Bars: share of facts of each kind that each model chooses rightly, and chance."""
    groups: dict[str, dict[str, float]] = {}
    for start, kind in KINDS.items():
        facts = [fact for fact in some_facts(every) if fact[0].startswith(start)]
        groups[kind] = {
            name: sum(chosen(model, answer_log_prob, fact)[0] == fact[1] for fact in facts)
            / len(facts)
            for name, model in models.items()
        } | {"chance": sum(1 / len(fact[2]) for fact in facts) / len(facts)}
    return plots.probability_bars(groups, "share of facts chosen rightly")


def examples(index: int, ways: int) -> tuple[list[tuple[str, str]], str, str]:
    """Things described and named, another description of one of them, and its name: parts of a few-shot prompt."""
    draws = world.SeededRandom("examples in lesson 05", index)
    things = draws.sample(nouns(), ways)
    names = draws.sample(tokenizer.INVENTED, ways)
    backgrounds = draws.sample(tuple(BACKGROUNDS), ways + 1)
    shown = [
        (describe(thing, colour, draws), name)
        for thing, colour, name in zip(things, backgrounds, names)
    ]
    asked = int(draws.random() * ways)
    return shown, describe(things[asked], backgrounds[-1], draws), names[asked]


def nouns_as_names(index: int, ways: int) -> tuple[list[tuple[str, str]], str, str]:
    """The same examples, but each name is a noun that isn't in the prompt otherwise."""
    shown, asked, answer = examples(index, ways)
    used = {word for text in (*dict(shown), asked) for word in tokenizer.split_words(text)}
    free = [word for word in documents.NOUN_WORDS if word not in used]
    words = world.SeededRandom("nouns as names in lesson 05", index).sample(free, ways)
    new = dict(zip([name for _, name in shown], words))
    return [(text, new[name]) for text, name in shown], asked, new[answer]


def binding(model: nn.Module, prompt: Callable, ways: int, count: int) -> dict[str, float]:
    """Share of right names among the prompt's, with controls: nouns as names, without examples, chance."""
    episodes = [examples(index, ways) for index in range(count)]
    with_nouns = [nouns_as_names(index, ways) for index in range(count)]

    return {
        "examples": share_named(model, prompt, episodes),
        "nouns as names": share_named(model, prompt, with_nouns),
        "no examples": share_named(model, lambda _, text: prompt([], text), episodes),
        "chance": 1 / ways,
    }


def share_named(model: nn.Module, prompt: Callable, episodes: Sequence[tuple]) -> float:
    """Share of `examples` after whose prompt the right name is the likeliest of those shown."""
    texts = [prompt(shown, asked) for shown, asked, _ in episodes]
    choices = [[name for _, name in shown] for shown, *_ in episodes]
    found = choose_next_token(model, text_prompts(texts), choices)
    return sum(map(eq, found, [answer for *_, answer in episodes])) / len(episodes)


def about_binding(groups: Mapping[str, Mapping[str, float]], count: int) -> str:
    """In words: what the controls of `binding` say. groups: {how many names: its shares}, each of `count` texts"""
    nouns_, without = (
        [shares[what] for shares in groups.values()] for what in ("nouns as names", "no examples")
    )
    found = (
        f"With nouns as names: {', '.join(f'{share:.2f}' for share in nouns_)} right; "
        f"without examples: {', '.join(f'{share:.2f}' for share in without)}. "
    )
    gap, ways = max(
        (above_chance(shares["nouns as names"], shares["chance"], count), ways)
        for ways, shares in groups.items()
    )
    if gap <= 2:
        return found + (
            "None is more than two standard errors above chance: with nouns as names it guesses, "
            "as without examples. The model reads invented names, not any word used as one."
        )
    if gap <= 3:
        return found + (
            f"The largest gap ({ways}) is {gap:.1f} standard errors above chance: more prompts are "
            "needed to tell."
        )
    if all(share >= 0.9 for share in nouns_):
        return found + "So the model reads any word that is used as a name."
    return found + "So the model reads other words as names, too, but not as surely."


def above_chance(share: float, chance: float, count: int) -> float:
    """By how many standard errors of a guess a share of `count` exceeds chance."""
    return (share - chance) / (chance * (1 - chance) / count) ** 0.5


def nouns_as_two_names(model: nn.Module, prompt: Callable, count: int) -> str:
    """In words: the share of right names with nouns as names, two of them, in so many prompts."""
    share = share_named(model, prompt, [nouns_as_names(index, ways=2) for index in range(count)])
    gap = above_chance(share, 1 / 2, count)
    told = "it guesses" if abs(gap) < 2 else "this is no guess"
    return (
        f"In {count:,} prompts with two nouns as names: {share:.2f} right, {gap:+.1f} standard "
        f"errors from chance, so {told}."
    )


def names_with_tags(model: LanguageModel, count: int) -> dict[str, float]:
    """Share of right names, among all words, in pages with image tags: {number of examples: share}."""
    names = {str(k): f"names, {k} shots, tags" for k in (1, 2, 4, 8, 16)}
    report = word_report(model, count, names=list(names.values()))
    return {k: report[name] for k, name in names.items()}


ASKED: dict[str, Callable[[Noun, str], str]] = {
    "category": lambda noun, colour: noun.category,
    "place": lambda noun, colour: noun.place,
    "purpose": lambda noun, colour: noun.purpose,
    "background": lambda noun, colour: colour,
    "thing": lambda noun, colour: noun.word,
}
"""{what 'which ?' asks for: the answer for a noun on a background}."""


def which_prompt(index: int, kind: str, count: int) -> tuple[str, str]:
    """So many solved questions 'which ?' of one kind, an open one, and its answer. Only the examples tell the kind."""
    draws, shown, answer = world.SeededRandom("which in lesson 05", index, kind), [], ""
    for _ in range(count + 1):
        noun, colour = draws.choice(nouns()), draws.choice(tuple(BACKGROUNDS))
        answer = ASKED[kind](noun, colour)
        shown.append(f"{noun.word} {colour} . question : which ? answer : {answer} .")
    return " ".join(shown).removesuffix(f" {answer} ."), answer


SHOTS = (0, 1, 2, 4)
Answered = tuple[str, str, str]
"""(prompt, right answer, the model's)."""


def which_answers(model: LanguageModel, count: int) -> dict[str, dict[int, list[Answered]]]:
    """The likeliest of all words after `count` questions 'which ?': {kind: {number of examples: answers}}."""
    found: dict[str, dict[int, list[Answered]]] = {kind: {} for kind in ASKED}
    for kind in ASKED:
        for shots in SHOTS:
            prompts, answers = zip(*(which_prompt(index, kind, shots) for index in range(count)))
            likeliest = next_token_probabilities(model, text_prompts(prompts), 1)
            found[kind][shots] = list(zip(prompts, answers, (next(iter(one)) for one in likeliest)))
    return found


def which_bars(found: Mapping[str, Mapping[int, Sequence[Answered]]]):
    """Bars of `which_answers`: share of right answers, by the kind and the number of examples."""
    groups = {
        kind: {
            f"{shots} example{'s' * (shots != 1)}": sum(a == b for _, a, b in answers)
            / len(answers)
            for shots, answers in by_shots.items()
        }
        for kind, by_shots in found.items()
    }
    return plots.probability_bars(groups, "share right")


def about_wrong_answers(found: Mapping[str, Mapping[int, Sequence[Answered]]]) -> str:
    """In words: how many wrong answers of `which_answers`, after most examples, are other words of the prompt."""
    counts = []
    for kind in ("background", "thing"):
        wrong = [(text, got) for text, right, got in found[kind][max(SHOTS)] if got != right]
        inside = sum(got in tokenizer.split_words(text) for text, got in wrong)
        counts.append(f"{inside} of {len(wrong)} wrong answers on the {kind}")
    return f"After {max(SHOTS)} examples, {' and '.join(counts)} are other words of the prompt."
