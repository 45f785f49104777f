"""Lesson 05's measurements: what the model knows, what it binds in context, and what vectors in place of words do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import eq

import torch
from torch import Tensor, nn

from teaching.language_model_induction import naming
from vlmcourse import plots, world
from vlmcourse.evaluation import choose_next_token, eval_mode, next_token_probabilities
from vlmcourse.parts import language
from vlmcourse.parts.language import LanguageModel
from vlmcourse.recipes.language import text_prompts, word_report
from vlmcourse.world import documents, tokenizer
from vlmcourse.world.document_kinds import describe
from vlmcourse.world.nouns import Noun, nouns
from vlmcourse.world.scenes import BACKGROUNDS

KINDS = {"what kind": "category", "where can": "place", "what is": "purpose"}
"""{how a question begins: kind of fact}."""
Fact = tuple[str, str, Sequence[str]]


def some_facts(every: int = 1) -> list[Fact]:
    """(question, answer, choices) of every n-th noun and kind of fact."""
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


def exchanged(shown: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The same descriptions, each with the name of the next one."""
    names = [name for _, name in shown]
    return [(text, name) for (text, _), name in zip(shown, [*names[1:], names[0]])]


def binding(model: nn.Module, prompt: Callable, ways: int, count: int) -> dict[str, float]:
    """Share of right names among the prompt's, with controls: names exchanged, without examples, chance."""
    episodes = [examples(index, ways) for index in range(count)]
    choices = [[name for _, name in shown] for shown, *_ in episodes]

    def right(texts: list[str], answers: list[str]) -> float:
        found = choose_next_token(model, text_prompts(texts), choices)
        return sum(map(eq, found, answers)) / count

    answers = [answer for *_, answer in episodes]
    moved = [names[(names.index(answer) + 1) % ways] for names, answer in zip(choices, answers)]
    return {
        "examples": right([prompt(shown, text) for shown, text, _ in episodes], answers),
        "names exchanged": right(
            [prompt(exchanged(shown), text) for shown, text, _ in episodes], moved
        ),
        "no examples": right([prompt([], text) for _, text, _ in episodes], answers),
        "chance": 1 / ways,
    }


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


def which_bars(model: LanguageModel, count: int):
    """Bars: share of right answers to 'which ?', among all words, by the kind and the number of examples."""
    groups: dict[str, dict[str, float]] = {}
    for kind in ASKED:
        groups[kind] = {}
        for shots in (0, 1, 2, 4):
            prompts, answers = zip(*(which_prompt(index, kind, shots) for index in range(count)))
            likeliest = next_token_probabilities(model, text_prompts(prompts), 1)
            hits = [next(iter(one)) == answer for one, answer in zip(likeliest, answers)]
            groups[kind][f"{shots} example{'s' * (shots != 1)}"] = sum(hits) / count
    return plots.probability_bars(groups, "share right")


NOISE = (0, 0.25, 0.5, 0.75, 1, 1.5, 2)


@torch.no_grad()
def vectors_for_words(model: LanguageModel, count: int = 128) -> dict[str, dict[float, float]]:
    """Accuracy if the vectors of the things in page texts are replaced: {what: {size of the noise: share right}}.

    Noise is measured in root mean squares of the nouns' vectors. Naming is among all words, facts among their choices.
    """
    task, generator = naming("page", count), torch.Generator().manual_seed(0)
    things = tokenizer.encode(documents.NOUN_WORDS)[:, 1]
    vectors = model.lm.get_input_embeddings().weight.detach()
    size = vectors[things].square().mean().sqrt()
    embedded = language.embed(model.lm, task.ids)
    is_thing = torch.isin(task.ids, things)
    at = is_thing.nonzero()[:, 1].view(count, -1)  # (B, ways + 1)
    rows = torch.arange(count)[:, None]
    earlier = (task.ids.gather(1, at[:, :-1]) == task.ids.gather(1, at[:, -1:])).int().argmax(1)

    def noise(*shape: int) -> Tensor:
        return size * torch.randn(*shape, vectors.shape[1], generator=generator)

    def twice(values: Tensor) -> Tensor:
        """Of vectors for the things (B, ways, D), those for all places: the last one again as before."""
        return torch.cat([values, values[torch.arange(count), earlier][:, None]], dim=1)

    def named(changed: Tensor) -> float:
        x = embedded.clone()
        x[rows, at] = changed
        found = language.logits(model.lm, x)[:, -1].argmax(-1)
        return (found == task.answers).float().mean().item()

    words, ways = embedded[rows, at], at.shape[1] - 1
    curves: dict[str, dict[float, float]] = {
        "names, other noise at each place": {s: named(words + s * noise(*at.shape)) for s in NOISE},
        "names, same noise at both places": {
            s: named(words + twice(s * noise(count, ways))) for s in NOISE
        },
        "facts": {s: facts_with_noise(model, lambda *shape: s * noise(*shape)) for s in NOISE},
    }
    random = named(twice(noise(count, ways)))
    return curves | {"names, random vectors": {"": random}}  # type: ignore[dict-item]


def noise_curves(found: Mapping[str, Mapping[float, float]]):
    """Curves of `vectors_for_words` over the size of the noise, with lines for random vectors and for guesses."""
    facts = some_facts(2)
    lines = {
        "names, random vectors": found["names, random vectors"][""],  # type: ignore[index]
        "guessing names": 1 / 3,
        "guessing facts": sum(1 / len(choices) for *_, choices in facts) / len(facts),
    }
    series = {name: curve for name, curve in found.items() if name not in lines}
    drawn = plots.curves(
        series,
        "size of the noise (1: root mean square of a noun's vector)",
        "share right",
        lines=lines,
    )
    drawn.axes[0].set_ylim(-0.03, 1.05)
    return drawn


def facts_with_noise(model: LanguageModel, noise: Callable[..., Tensor]) -> float:
    """Share of facts chosen rightly if noise is added to the vector of the noun in the question."""
    things = tokenizer.encode(documents.NOUN_WORDS)[:, 1]
    right = []
    for start in KINDS:
        facts = [fact for fact in some_facts(2) if fact[0].startswith(start)]
        ids = tokenizer.encode([question for question, *_ in facts])
        prompt_lengths = (ids != tokenizer.EOS).cumprod(1).sum(1)
        x = language.embed(model.lm, ids)
        x = x + torch.isin(ids, things)[..., None] * noise(*ids.shape)
        logits = language.logits(model.lm, x)[torch.arange(len(ids)), prompt_lengths - 1]
        choices = tokenizer.encode(list(facts[0][2]))[:, 1]
        found = logits[:, choices].argmax(-1).tolist()
        right += [fact[2][choice] == fact[1] for fact, choice in zip(facts, found)]
    return sum(right) / len(right)
