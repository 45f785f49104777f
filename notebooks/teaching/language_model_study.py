"""Lesson 05's measurements: what the model knows, what it binds in context, which heads do it, vectors in place of words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import eq

import torch
from torch import Tensor, nn

from teaching.language_model_induction import (
    Naming,
    attention,
    naming,
    naming_accuracy,
    previous_scores,
    scores_of_heads,
    without_head,
)
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
            groups[kind][f"{shots} examples"] = sum(hits) / count
    return plots.probability_bars(groups, "share right")


def rule_accuracy(rule: Callable, task: Naming) -> float:
    """Share of texts in which the induction rule, applied to the text so far, predicts the right name."""
    predicted = torch.stack([rule(ids)[-1] for ids in task.ids])
    return (predicted == task.answers).float().mean().item()


def rule_beside_model(rule: Callable, model: nn.Module, count: int = 64) -> str:
    """A Markdown table: accuracy of the rule and of the model, for both forms of texts."""
    lines = ["| form | an example of a text | the rule | the model |", "|---|---|---|---|"]
    for form in ("short", "page"):
        task = naming(form, count)
        text = task.texts[0].rsplit(" ", 1 if form == "short" else 2)[0]
        scores = rule_accuracy(rule, task), naming_accuracy(model, task)
        lines.append(f"| {form} | {text} → | {scores[0]:.2f} | {scores[1]:.2f} |")
    return "\n".join(lines)


def table_of_heads(models: Mapping[str, LanguageModel], head_scores: Callable) -> str:
    """A Markdown table: for each head of each model, weight on the word before, on the right name and on another name."""
    tasks = {form: naming(form) for form in ("short", "page")}
    found = {}
    for name, model in models.items():
        found[name] = [previous_scores(model, tasks["short"])] + [
            score for task in tasks.values() for score in scores_of_heads(model, task, head_scores)
        ]
    what = ("word before", "short: right", "short: another", "page: right", "page: another")
    lines = [
        "| layer, head | " + " | ".join(f"{name}: {column}" for name in found for column in what),
        "|---" * (1 + len(what) * len(found)),
    ]
    layers, heads = next(iter(found.values()))[0].shape
    for layer in range(layers):
        for head in range(heads):
            values = [score[layer, head].item() for scores in found.values() for score in scores]
            cells = [f"**{value:.2f}**" if value > 0.5 else f"{value:.2f}" for value in values]
            lines.append(f"| {layer + 1}, {head + 1} | " + " | ".join(cells))
    return "\n".join(f"{line} |" for line in lines)


def best_heads(model: LanguageModel, head_scores: Callable) -> list[tuple[int, int]]:
    """(layer, head) of the head with the highest weight on the word before, and of the best one on the right name."""
    task = naming("short")
    tables = previous_scores(model, task), scores_of_heads(model, task, head_scores)[0]
    return [divmod(int(table.argmax()), table.shape[1]) for table in tables]


def maps_of_heads(model: LanguageModel, heads: Sequence[tuple[int, int]]):
    """Attention maps of some heads for one short text."""
    task = naming("short")
    weights, words = attention(model, task.ids[:1]), vocabularies(task.ids[0])
    drawn = plots.attention_heads(
        torch.stack([weights[layer][0, head] for layer, head in heads]), words, words
    )
    for axes, (layer, head) in zip(drawn.axes, heads):
        axes.set_title(f"layer {layer + 1}, head {head + 1}", loc="left")
    drawn.set_size_inches(8.8, 5.4)  # room for titles and words
    return drawn


def vocabularies(ids: Tensor) -> list[str]:
    """The words of one row of ids (T,)."""
    return tokenizer.world_tokenizer().convert_ids_to_tokens(ids.tolist())


def without_each_head(model: LanguageModel, silence: Callable, every: int = 4):
    """Bars: naming in short texts and on pages, and facts, of the whole model and without each of its heads."""
    tasks = {form: naming(form) for form in ("short", "page")}
    facts = some_facts(every)
    prompts = text_prompts([question for question, *_ in facts])

    def scores() -> dict[str, float]:
        found = choose_next_token(model, prompts, [choices for *_, choices in facts])
        right = sum(map(eq, found, [answer for _, answer, _ in facts])) / len(facts)
        return {f"names, {form}": naming_accuracy(model, task) for form, task in tasks.items()} | {
            "facts": right
        }

    groups = {"whole model": scores()}
    config = model.lm.config
    for layer in range(config.num_hidden_layers):
        for head in range(config.num_attention_heads):
            with without_head(model, layer, head, silence):
                groups[f"without layer {layer + 1}, head {head + 1}"] = scores()
    return plots.bars(groups, "share right", sideways=True)


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
        "names, other noise each time": {s: named(words + s * noise(*at.shape)) for s in NOISE},
        "names, same noise each time": {
            s: named(words + twice(s * noise(count, ways))) for s in NOISE
        },
        "facts": {s: facts_with_noise(model, lambda *shape: s * noise(*shape)) for s in NOISE},
    }
    random = named(twice(noise(count, ways)))
    return curves | {"names, random vectors": {"": random}}  # type: ignore[dict-item]


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
