"""The sampling explorer: a language model's tree of next words, to be walked by greedy, beam and nucleus decoding, or by hand.

`sampling.js` decodes in the browser; the probabilities come from here, saved for the likeliest texts, or from the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from vlmcourse.parts.generation import beam_search
from vlmcourse.widgets.explorer import show_explorer
from vlmcourse.world import tokenizer

PROMPTS = ("a picture of a cat", "question : what is this ? answer : a", "this is a")
WORDS, MAX_BEAMS, BATCH = 12, 4, 64
"""Words saved exactly of each distribution (beam search needs two for each beam), most beams, texts in one pass."""
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
"""A character for each -ln(probability) in steps of a quarter: how `sampling.js` reads all other words."""


def vocabulary() -> list[str]:
    """Every word that a model may choose, in the order of ids."""
    convert = tokenizer.world_tokenizer()
    return convert.convert_ids_to_tokens(range(len(convert)))


@torch.no_grad()
def continuations(model, prompt: str, paths: Sequence[Sequence[str]], **context) -> list[dict]:
    """For each path of words after a prompt, all of one length: the likeliest next words and what remains.

    {"words", "probabilities": of these, "others": a character of ALPHABET for each word of the vocabulary, "rest": the probability
    of all but "words" together}; ValueError for an unknown word
    """
    convert = tokenizer.world_tokenizer()
    start = tokenizer.encode([prompt])[:, :-1]  # <bos> and the prompt's words, open
    after = torch.tensor([convert.convert_tokens_to_ids(list(path)) for path in paths])
    ids = torch.cat([start.expand(len(paths), -1), after.long()], dim=1)
    probabilities = model(ids, **context)[:, -1].float().softmax(-1)
    values, order = probabilities.topk(WORDS)
    quarters = (-4 * probabilities.log()).round().clamp(0, len(ALPHABET) - 1).long().tolist()
    return [
        {
            "words": convert.convert_ids_to_tokens(row.tolist()),
            "probabilities": [round(value, 5) for value in likely.tolist()],
            "others": "".join(ALPHABET[quarter] for quarter in of_words),
            "rest": round(max(0.0, 1 - likely.sum().item()), 5),
        }
        for likely, row, of_words in zip(values, order, quarters)
    ]


def _beam_paths(model, prompt: str, max_new_tokens: int, **context) -> Iterable[list[str]]:
    """What beam search with 1 to MAX_BEAMS beams reads on its way."""
    read: list[Tensor] = []

    def watched(ids: Tensor, **given) -> Tensor:
        read.append(ids)
        return model(ids, **given)

    ids = tokenizer.encode([prompt])[:, :-1]
    for beams in range(1, MAX_BEAMS + 1):
        beam_search(watched, ids, max_new_tokens, beams, tokenizer.EOS, **context)
    convert = tokenizer.world_tokenizer()
    for rows in read:
        for row in rows[:, ids.shape[1] :].tolist():
            yield convert.convert_ids_to_tokens(row)


def tree(
    model, prompt: str, nodes: int = 110, max_new_tokens: int = 10, **context
) -> dict[str, dict]:
    """{words after the prompt: their next words}: all that beam search needs, then the likeliest texts, `nodes` in all."""
    end = tokenizer.world_tokenizer().convert_ids_to_tokens([tokenizer.EOS])[0]
    nodes_by_text: dict[str, dict] = {}
    likely: dict[str, float] = {"": 1.0}

    def expand(paths: Iterable[Sequence[str]]) -> None:
        by_length: dict[int, list[Sequence[str]]] = {}
        for path in paths:
            if " ".join(path) not in nodes_by_text and end not in path:
                by_length.setdefault(len(path), []).append(path)
        for alike in by_length.values():
            for path, node in zip(alike, continuations(model, prompt, alike, **context)):
                text = " ".join(path)
                nodes_by_text[text] = node
                probability = likely.pop(text, 0.0)
                for word, value in zip(node["words"], node["probabilities"]):
                    if word != end and len(path) + 1 < max_new_tokens:
                        likely[f"{text} {word}".strip()] = probability * value

    expand(map(list, {tuple(path): None for path in _beam_paths(model, prompt, max_new_tokens)}))
    likely = {text: value for text, value in likely.items() if text not in nodes_by_text}
    while len(nodes_by_text) < nodes and likely:
        best = sorted(likely, key=likely.get, reverse=True)[
            : min(BATCH, nodes - len(nodes_by_text))
        ]
        expand([text.split() for text in best])
    return nodes_by_text


def describe(prompt: str, node: dict) -> str:
    """The next word's distribution in words."""
    words = ", ".join(
        f"{word} {value:.2f}" for word, value in zip(node["words"][:6], node["probabilities"])
    )
    return f"A tree of words after '{prompt}'. The likeliest next words: {words}."


def sampling_explorer(model, prompts: Sequence[str] = PROMPTS, **context) -> None:
    """Displays the explorer. model(ids, **context) -> logits; prompts: to begin with, and to choose from without a kernel."""
    trees = {prompt: tree(model, prompt, **context) for prompt in prompts}

    def answer(question: dict) -> dict:
        return continuations(model, question["prompt"], [question["path"]], **context)[0]

    data = {"trees": trees, "end": vocabulary()[tokenizer.EOS], "vocabulary": vocabulary()}
    data["beams"] = MAX_BEAMS
    show_explorer("sampling", data, describe(prompts[0], trees[prompts[0]][""]), answer)
