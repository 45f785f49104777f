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

    def right(asked: Sequence[tuple], with_examples: bool = True) -> float:
        texts = [prompt(shown if with_examples else [], text) for shown, text, _ in asked]
        choices = [[name for _, name in shown] for shown, *_ in asked]
        found = choose_next_token(model, text_prompts(texts), choices)
        return sum(map(eq, found, [answer for *_, answer in asked])) / count

    return {
        "examples": right(episodes),
        "nouns as names": right(with_nouns),
        "no examples": right(episodes, with_examples=False),
        "chance": 1 / ways,
    }


def about_binding(groups: Mapping[str, Mapping[str, float]], count: int) -> str:
    """In words: what the controls of `binding` say. groups: {how many names: its shares}, each of `count` texts"""
    nouns_, without, chance = (
        [shares[what] for shares in groups.values()]
        for what in ("nouns as names", "no examples", "chance")
    )
    found = (
        f"With nouns as names: {', '.join(f'{share:.2f}' for share in nouns_)} right; "
        f"without examples: {', '.join(f'{share:.2f}' for share in without)}. "
    )
    gaps = zip(
        nouns_, without, chance
    )  # of two guesses a gap's standard error is √(2 p (1 - p) / n)
    if all(share - none <= 2 * (2 * p * (1 - p) / count) ** 0.5 for share, none, p in gaps):
        return found + (
            "No gap exceeds two standard errors: with nouns as names it guesses, as without "
            "examples. The model reads invented names, not any word used as one."
        )
    if all(share >= 0.9 for share in nouns_):
        return found + "So the model reads any word that is used as a name."
    return found + "So the model reads other words as names, too, but not as surely."


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
    random = {
        "names, random vectors": named(twice(noise(count, ways))),
        "facts, random vectors": facts_with_noise(model, lambda *shape: noise(*shape), False),
    }
    return curves | {what: {"": share} for what, share in random.items()}  # type: ignore[dict-item]


def about_vectors(found: Mapping[str, Mapping[float, float]]) -> str:
    """In words: what `vectors_for_words` says, at the largest noise and with random vectors."""
    most = max(NOISE)
    ends = {what.split(", ", 1)[-1]: curve[most] for what, curve in found.items() if most in curve}
    other, same, facts = ends.values()
    names, known = (
        found[f"{what}, random vectors"][""]  # type: ignore[index]
        for what in ("names", "facts")
    )
    return (
        f"At noise of size {most}: names {other:.2f} (other noise), {same:.2f} (same noise); "
        f"facts {facts:.2f}.\nWith random vectors: names {names:.2f}, facts {known:.2f}."
    )


def noise_curves(found: Mapping[str, Mapping[float, float]]):
    """Curves of `vectors_for_words` over the size of the noise, with lines for random vectors and for guesses."""
    facts = some_facts(2)
    random = ("names, random vectors", "facts, random vectors")
    guessing = sum(1 / len(choices) for *_, choices in facts) / len(facts)
    lines = {"guessing names: 0.33": 1 / 3, f"guessing facts: {guessing:.2f}": guessing}
    series = {name: curve for name, curve in found.items() if name not in random}
    series |= {name: {max(NOISE) + 0.3: found[name][""]} for name in random}  # type: ignore[index]
    drawn = plots.curves(
        series,
        "size of the noise (1: root mean square of a noun's vector)",
        "share right",
        lines=lines,
    )
    (axes,) = drawn.axes
    ticks = [0, 0.5, 1, 1.5, 2]
    axes.set_xticks([*ticks, max(NOISE) + 0.3], [*(f"{tick:g}" for tick in ticks), "random"])
    for line, colour, marker in zip(axes.lines[3:5], (axes.lines[1], axes.lines[2]), "D*"):
        line.set(color=colour.get_color(), marker=marker, markersize=8, linestyle="none")
    for line in axes.lines[5:7]:
        line.set(color="0.35", linewidth=1.2)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    axes.set_ylim(-0.03, 1.05)
    return drawn


def facts_with_noise(
    model: LanguageModel, noise: Callable[..., Tensor], added: bool = True
) -> float:
    """Share of facts chosen rightly if noise is added to the vector of the noun in the question, or takes its place."""
    things = tokenizer.encode(documents.NOUN_WORDS)[:, 1]
    right = []
    for start in KINDS:
        facts = [fact for fact in some_facts(2) if fact[0].startswith(start)]
        ids = tokenizer.encode([question for question, *_ in facts])
        prompt_lengths = (ids != tokenizer.EOS).cumprod(1).sum(1)
        x = language.embed(model.lm, ids)
        is_thing = torch.isin(ids, things)[..., None]
        x = torch.where(is_thing, noise(*ids.shape) + (x if added else 0), x)
        logits = language.logits(model.lm, x)[torch.arange(len(ids)), prompt_lengths - 1]
        choices = tokenizer.encode(list(facts[0][2]))[:, 1]
        found = logits[:, choices].argmax(-1).tolist()
        right += [fact[2][choice] == fact[1] for fact, choice in zip(facts, found)]
    return sum(right) / len(right)
