"""Lesson 05's measurements of reading: the induction rule beside the model, which heads read, and what is lost without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from operator import eq

import torch

from teaching.language_model_induction import (
    TASKS,
    Naming,
    attention,
    lists,
    naming_accuracy,
    previous_scores,
    scores_of_heads,
    without_head,
)
from teaching.language_model_study import Fact, examples, some_facts
from vlmcourse import plots
from vlmcourse.evaluation import choose_next_token
from vlmcourse.parts.language import LanguageModel
from vlmcourse.recipes.language import text_prompts
from vlmcourse.world import tokenizer

Head = tuple[int, int]
"""(layer, head), both from 0."""


def words_of(ids: torch.Tensor) -> list[str]:
    """The words of one row of ids (T,)."""
    return tokenizer.world_tokenizer().convert_ids_to_tokens(ids.tolist())


def rule_accuracy(rule: Callable, task: Naming) -> float:
    """Share of texts in which the induction rule, applied to the text so far, predicts the right word."""
    predicted = torch.stack([rule(ids)[-1] for ids in task.ids])
    return (predicted == task.answers).float().mean().item()


def rule_beside_model(rule: Callable, model: LanguageModel, count: int = 64) -> str:
    """A Markdown table: accuracy of the rule and of the model, for each form of texts, and sentences on lists."""
    scores = (0.0, 0.0)
    lines = ["| form | an example of a text | the rule | the model |", "|---|---|---|---|"]
    for form, texts in TASKS.items():
        task = texts(count)
        text = " ".join(words_of(task.ids[0])[1:])
        scores = rule_accuracy(rule, task), naming_accuracy(model, task)
        lines.append(f"| {form} | {text} → | {scores[0]:.2f} | {scores[1]:.2f} |")
    other = [
        f"{length} nouns: {naming_accuracy(model, lists(count, length)):.2f}"
        for length in (3, 4, 8, 12)
    ]
    return "\n".join(
        [*lines, "", about_lists(scores[1]), f"Lists of other lengths: {'; '.join(other)}."]
    )


def about_lists(share: float) -> str:
    """A sentence: does a model with this share of right words in lists follow the plain rule?"""
    if share >= 0.9:
        return (
            "In lists the model is nearly as good as the rule: **it follows the plain rule, too.**"
        )
    if share >= 0.5:
        return (
            f"In lists the rule is always right. **Our model follows it in {share:.0%} of the lists**: "
            "it is less sure than the rule."
        )
    return (
        "In lists the rule is always right, and the model mostly wrong. **Our model doesn't follow "
        "the plain rule:** it continues things with their names, but hardly lists."
    )


class HeadScores:
    """Of each head of a model: weight on the word before, and on the right and another word in each form of texts."""

    def __init__(self, model: LanguageModel, head_scores: Callable):
        tasks = {form: texts(128) for form, texts in TASKS.items()}
        self.before = previous_scores(model, tasks["short"])  # (layers, H)
        self.found = {
            form: scores_of_heads(model, task, head_scores) for form, task in tasks.items()
        }

    def best(self) -> Head:
        """The head with the highest weight on the right name in short texts."""
        own = self.found["short"][0]
        return divmod(int(own.argmax()), own.shape[1])

    def reading(self) -> str:
        """In words: the heads with more than half of their weight on the right word, for each form."""
        found = []
        for form, (own, _) in self.found.items():
            heads = [f"({layer + 1}, {head + 1})" for layer, head in (own > 0.5).nonzero().tolist()]
            found.append(f"{form}: {', '.join(heads) or 'none'}")
        return "; ".join(found)

    def table(self, title: str) -> str:
        """A Markdown table, a line for each head; numbers above 0.5 are bold."""
        forms = [f"{form}: {what}" for form in self.found for what in ("right", "another")]
        columns = [f"{title}: layer, head", "word before", *forms]
        lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        scores = [self.before, *(score for pair in self.found.values() for score in pair)]
        layers, heads = self.before.shape
        for layer in range(layers):
            for head in range(heads):
                values = [score[layer, head].item() for score in scores]
                cells = [f"**{value:.2f}**" if value > 0.5 else f"{value:.2f}" for value in values]
                lines.append(f"| {layer + 1}, {head + 1} | {' | '.join(cells)} |")
        return "\n".join(lines)


def tables_of_heads(start: LanguageModel, trained: LanguageModel, head_scores: Callable) -> str:
    """Two Markdown tables, at the start and after training, and sentences on the heads that read the right word."""
    before, after = (HeadScores(model, head_scores) for model in (start, trained))
    layer, head = after.best()
    own = {
        form: [scores.found[form][0][layer, head].item() for scores in (before, after)]
        for form in TASKS
    }
    moves = [f"from {a:.2f} to {b:.2f} ({form})" for form, (a, b) in own.items()]
    return "\n\n".join(
        [
            before.table("at the start"),
            after.table("after training"),
            f"Training moved the weight of layer {layer + 1}, head {head + 1} on the right word "
            f"{', '.join(moves[:-1])}, and {moves[-1]}.",
            "Heads (layer, head) with more than half of their weight on the right word. "
            f"At the start: {before.reading()}. After training: {after.reading()}.",
        ]
    )


def best_heads(model: LanguageModel, head_scores: Callable) -> list[Head]:
    """The head with the highest weight on the word before, and the best one on the right name."""
    scores = HeadScores(model, head_scores)
    return [divmod(int(scores.before.argmax()), scores.before.shape[1]), scores.best()]


def maps_of_heads(model: LanguageModel, heads: Sequence[Head]):
    """Attention maps of some heads for one short text."""
    task = TASKS["short"](1)
    weights, words = attention(model, task.ids), words_of(task.ids[0])
    drawn = plots.attention_heads(
        torch.stack([weights[layer][0, head] for layer, head in heads]), words, words
    )
    for axes, (layer, head) in zip(drawn.axes, heads):
        axes.set_title(f"layer {layer + 1}, head {head + 1}", loc="left")
        axes.set_xlabel("key: what is read")
    drawn.axes[0].set_ylabel("query: who reads")
    drawn.set_size_inches(8.8, 5.6)  # room for titles and words
    return drawn


def without_heads(
    model: LanguageModel, silence: Callable, prompt: Callable, count: int = 128, every: int = 4
) -> str:
    """A Markdown table: shares right of the whole model, without each head, and without the two induction heads.

    prompt  (examples, description) -> few-shot prompt, of which `count` with three names are tested;  every: of the facts
    """
    tasks = [texts(count) for texts in TASKS.values()]
    episodes = [examples(index, ways=3) for index in range(count)]
    prompts = [
        (prompt(shown, asked), answer, [name for _, name in shown])
        for shown, asked, answer in episodes
    ]
    choosing: list[Sequence[Fact]] = [prompts, some_facts(every)]

    def scores(*silent: Head) -> list[float]:
        with ExitStack() as stack:
            for layer, head in silent:
                stack.enter_context(without_head(model, layer, head, silence))
            named = [naming_accuracy(model, task) for task in tasks]
            return [*named, *(share_chosen(model, questions) for questions in choosing)]

    whole, config = scores(), model.lm.config
    single = [
        (layer, head)
        for layer in range(config.num_hidden_layers)
        for head in range(config.num_attention_heads)
    ]
    rows: Mapping[str, list[float]] = {
        "the whole model": whole,
        **{f"layer {layer + 1}, head {head + 1}": scores((layer, head)) for layer, head in single},
    }
    if {(1, 0), (1, 1)} <= set(single):
        rows |= {"layer 2, heads 1 and 2": scores((1, 0), (1, 1))}
    lines = [
        "| without | names, short texts | names, pages | lists | names, Figure 9 | facts |",
        "|---|---|---|---|---|---|",
    ]
    for name, values in rows.items():
        cells = [
            f"**{value:.2f}**" if value < first - 0.05 else f"{value:.2f}"
            for value, first in zip(values, whole)
        ]
        lines.append(f"| {name.replace('the whole', 'nothing: the whole')} | {' | '.join(cells)} |")
    guesses = [(task.is_own | task.is_other).sum(1).float().reciprocal().mean() for task in tasks]
    guesses += [sum(1 / len(one[2]) for one in asked) / len(asked) for asked in choosing]
    cells = [f"{guess:.2f}" for guess in guesses]
    lines.append(f"| *a guess among the words that may follow* | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *about_removal(rows), about_question_mark(model)])


def share_chosen(model: LanguageModel, questions: Sequence[Fact]) -> float:
    """Share of questions after which the right word is the likeliest of those to choose from."""
    prompts, answers, choices = zip(*questions)
    found = choose_next_token(model, text_prompts(prompts), choices)
    return sum(map(eq, found, answers)) / len(questions)


def about_question_mark(model: LanguageModel) -> str:
    """A sentence: how much of the weight of "?" the heads of layer 2 put on the noun in questions for its category."""
    asked = [question for question, *_ in some_facts() if question.startswith("what kind")]
    ids = tokenizer.encode(asked)[:, :-1]  # ends with: the noun, "?"
    layers = attention(model, ids)
    weights = layers[-1][:, :, -1, -2].mean(0).tolist()
    found = [f"{weight:.2f} (head {head})" for head, weight in enumerate(weights, 1)]
    return f"- In 'what kind of thing is a ... ?' the heads of layer {len(layers)} put on the noun, of the weight of '?': {', '.join(found)}."


def about_removal(rows: Mapping[str, Sequence[float]]) -> list[str]:
    """A list of sentences on the table of `without_heads`. rows: {what was removed: the columns of the table}"""
    first, second = rows["layer 1, head 1"], rows["layer 1, head 2"]
    as_started = first[0] < second[0] and second[1] < first[1]
    found = [
        f"- Without head 1 of layer 1, names are {first[0]:.2f} (short) and {first[1]:.2f} (pages); "
        f"without head 2, {second[0]:.2f} and {second[1]:.2f}. "
        f"{'Each is needed where its start suggests' if as_started else 'This is not what their start suggests'}."
    ]
    if both := rows.get("layer 2, heads 1 and 2"):
        one, other = rows["layer 2, head 1"], rows["layer 2, head 2"]
        either = min(one[1], other[1]) > 0.9 > 0.5 > both[1]
        found += [
            f"- Names in short texts are {one[0]:.2f} without head 1 of layer 2, and {other[0]:.2f} "
            f"without head 2. Names on pages are {one[1]:.2f} and {other[1]:.2f}, and {both[1]:.2f} "
            f"without both{': pages need one of the two' if either else ''}.",
            f"- Lists are {rows['the whole model'][2]:.2f} with all heads, {first[2]:.2f} without "
            f"head 1 of layer 1, and {one[2]:.2f} without head 1 of layer 2"
            f"{': they need both' if max(first[2], one[2]) < 0.5 else ''}.",
        ]
    single = {name: values for name, values in rows.items() if "head " in name}
    worst = min(single, key=lambda name: single[name][4])
    together = f", {both[4]:.2f} without heads 1 and 2 of layer 2" if both else ""
    needed = [name for name, values in single.items() if values[3] < rows["the whole model"][3] / 2]
    return [
        *found,
        f"- Of the single heads, facts need {worst} most: {single[worst][4]:.2f} without it{together}.",
        f"- The prompts of Figure 9 need {' and '.join(needed) or 'no single head'}"
        + (f"; without heads 1 and 2 of layer 2 they are {both[3]:.2f}." if both else "."),
    ]
