"""The sampling explorer: a language model's tree of next words, to be walked by greedy, beam and nucleus decoding, or by hand.

`sampling.js` decodes in the browser; the probabilities come from here, saved for some texts, or from the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from vlmcourse.parts.generation import beam_search
from vlmcourse.widgets.explorer import show_explorer
from vlmcourse.world import tokenizer

PROMPTS = ("a picture of a cat", "a picture of a cat on", "a photo of a")
"""For each, beam search with the shipped model finds another text than greedy decoding."""
END = "."
"""A text ends with it: what the model would say next is another text."""
LENGTH, WORDS, MAX_BEAMS, TAIL = 6, 9, 4, 16
"""Words after the prompt, words saved of each distribution (beam search needs two for each beam), most beams, values that tell
how likely all other words are."""
LIKELY = 0.05
"""A word so likely can be taken without a kernel, after words that were likely, too."""
CHOICES, RARE = (9, 3, 3, 2, 2), 0.01
"""Likeliest words that can be taken in any case, in each column; of those less likely than RARE only two."""
DRAWN = {1.0: 4, 2.0: 2, 3.0: 8}
"""{temperature: texts drawn at it}, so that a hot walk finds its way without a kernel."""


def vocabulary() -> list[str]:
    """Every word that a model may choose, in the order of ids."""
    convert = tokenizer.world_tokenizer()
    return convert.convert_ids_to_tokens(range(len(convert)))


def tail_places(count: int) -> list[int]:
    """Ranks, of `count` words, that tell how all fall off: close at the likeliest, far apart at the end."""
    return [round(count ** (index / (TAIL - 1))) - 1 for index in range(TAIL)] if count else []


@torch.no_grad()
def continuations(
    model,
    prompt: str,
    paths: Sequence[Sequence[str]],
    named: Sequence[Iterable[str]] | None = None,
    count: int = WORDS,
    **context,
) -> list[dict]:
    """For each path of words after a prompt, all of one length: the likeliest next words, and how the others fall off.

    named, count  words to be given in any case, of each path; how many of the likeliest
    {"words", "probabilities": of these, likeliest first, "tail": -ln of the probabilities of the others at `tail_places`}; ValueError for an unknown word
    """
    convert = tokenizer.world_tokenizer()
    start = tokenizer.encode([prompt])[:, :-1]  # <bos> and the prompt's words, open
    after = torch.tensor([convert.convert_tokens_to_ids(list(path)) for path in paths])
    ids = torch.cat([start.expand(len(paths), -1), after.long()], dim=1)
    log_probs = model(ids, **context)[:, -1].float().log_softmax(-1).sort(descending=True)
    nodes = []
    for values, order, names in zip(*log_probs, named or [()] * len(paths)):
        words = convert.convert_ids_to_tokens(order.tolist())
        given = set(words[:count]) | set(names)
        is_given = torch.tensor([word in given for word in words])
        others = values[~is_given]
        tail = [others[rank] for rank in tail_places(len(others))]
        nodes.append(
            {
                "words": [word for word in words if word in given],
                "probabilities": [
                    float(f"{value:.4g}") for value in values[is_given].exp().tolist()
                ],
                "tail": [round(-value.item(), 1) for value in tail],
            }
        )
    return nodes


@torch.no_grad()
def _written(
    model, ids: Tensor, length: int, choose: Callable[[Tensor], Tensor], **context
) -> Tensor:
    """Texts (N, T) go on to `length` tokens, never with <eos>. choose: logits (N, V) -> ids (N, 1)."""
    while ids.shape[1] < length:
        logits = model(ids, **context)[:, -1].float().clone()
        logits[:, tokenizer.EOS] = -torch.inf
        ids = torch.cat([ids, choose(logits)], dim=1)
    return ids


@torch.no_grad()
def _chosen(model, ids: Tensor, choices: Sequence[int], **context) -> Tensor:
    """A text (1, T) goes on with each of so many likeliest words at each step, never with <eos>: (N, T + steps).

    After words of LIKELY or more with every word of LIKELY; with words less likely than RARE only among the first two.
    """
    plain = torch.ones(len(ids), dtype=torch.bool)
    for count in choices:
        logits = model(ids, **context)[:, -1].float().clone()
        logits[:, tokenizer.EOS] = -torch.inf
        values, words = logits.softmax(-1).sort(descending=True)
        likely, rank = (values >= LIKELY) & plain[:, None], torch.arange(values.shape[1])
        chosen = likely | (rank < count) & ((values >= RARE) | (rank < 2))
        ids = torch.cat([ids.repeat_interleave(chosen.sum(-1), dim=0), words[chosen][:, None]], 1)
        plain = likely[chosen]
    return ids


def _read_by_beams(
    model, ids: Tensor, max_new_tokens: int, end: int, **context
) -> Iterator[Tensor]:
    """What beam search with 1 to MAX_BEAMS beams reads on its way."""
    read: list[Tensor] = []

    def watched(ids: Tensor, **given) -> Tensor:
        read.append(ids)
        return model(ids, **given)

    for beams in range(1, MAX_BEAMS + 1):
        beam_search(watched, ids, max_new_tokens, beams, end, **context)
    yield from read


def tree(model, prompt: str, max_new_tokens: int = LENGTH, **context) -> dict[str, dict]:
    """{words after the prompt: their next words}: all that beam search reads, the likeliest words of each column (CHOICES),
    and texts drawn at each temperature of DRAWN. From each of these, the likeliest words to the end or the last: so no walk
    that keeps the likeliest word is stuck."""
    ids, generator = tokenizer.encode([prompt])[:, :-1], torch.Generator().manual_seed(0)
    first, last = ids.shape[1], ids.shape[1] + max_new_tokens
    convert, nodes = tokenizer.world_tokenizer(), {}
    end = convert.convert_tokens_to_ids(END)
    texts = list(_read_by_beams(model, ids, max_new_tokens, end, **context))
    for temperature, count in DRAWN.items():

        def drawn(logits: Tensor, temperature: float = temperature) -> Tensor:
            return torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)

        texts.append(_written(model, ids.expand(count, -1), last, drawn, **context))
    texts.append(_chosen(model, ids, CHOICES[: max_new_tokens - 1], **context))
    paths: dict[int, set[tuple[int, ...]]] = {length: set() for length in range(first, last + 1)}
    for row in (row for rows in texts for row in rows.tolist()):
        for length in range(first, len(row) + 1):
            if end not in row[first : length - 1]:
                paths[length].add(tuple(row[:length]))
    for length in range(first, last):
        alike = sorted(path for path in paths[length] if end not in path[first:])
        if not alike:
            continue
        longer = _written(
            model,
            torch.tensor(alike),
            length + 1,
            lambda logits: logits.argmax(-1, keepdim=True),
            **context,
        )
        paths[length + 1] |= {tuple(row) for row in longer.tolist()}
        after: dict[tuple[int, ...], list[int]] = {path: [] for path in alike}
        for path in sorted(paths[length + 1]):
            after[path[:-1]].append(path[-1])
        words = [convert.convert_ids_to_tokens(list(path[first:])) for path in alike]
        named = [convert.convert_ids_to_tokens(after[path]) for path in alike]
        for path, node in zip(words, continuations(model, prompt, words, named, **context)):
            nodes[" ".join(path)] = node
    return nodes


def packed(nodes: dict[str, dict]) -> dict[str, str]:
    """A tree with each node as one text, short in a notebook: its three lists with tabs between, their values with spaces."""
    return {
        path: "\t".join(" ".join(map(str, node[name])) for name in node)
        for path, node in nodes.items()
    }


def describe(prompt: str, node: dict) -> str:
    """The next word's distribution in words."""
    words = ", ".join(
        f"{word} {value:.2f}" for word, value in zip(node["words"][:6], node["probabilities"])
    )
    return f"A tree of words after '{prompt}'. The likeliest next words: {words}."


def sampling_explorer(model, prompts: Sequence[str] = PROMPTS, **context) -> None:
    """Displays the explorer. model(ids, **context) -> logits; prompts: to begin with, and to choose from without a kernel."""
    trees = {prompt: tree(model, prompt, **context) for prompt in prompts}
    words = vocabulary()

    def answer(question: dict) -> dict:
        paths = [question["path"]]
        return continuations(model, question["prompt"], paths, count=len(words), **context)[0]

    saved = {prompt: packed(nodes) for prompt, nodes in trees.items()}
    data = {
        "trees": saved,
        "prompts": list(prompts),
        "end": END,
        "vocabulary": len(words),
    }
    data |= {"beams": MAX_BEAMS, "length": LENGTH}
    show_explorer("sampling", data, describe(prompts[0], trees[prompts[0]][""]), answer)
