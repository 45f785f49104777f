"""The sampling explorer: greedy, beam and nucleus on a real model, with the probability that each leaves to draw from."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmcourse.parts.generation import beam_search, generate, greedy, nucleus
from vlmcourse.plots import probability_bars
from vlmcourse.widgets.interactive import (
    buttons,
    interactive,
    option_slider,
    row,
    row_with_labels,
    set_options,
    show_only,
    slider,
    text_field,
)
from vlmcourse.world import tokenizer

METHODS = ("greedy", "beam", "nucleus")


@dataclass(frozen=True)
class Decoding:
    """How the next word is chosen. p, temperature: of nucleus; beams: of beam; seed: of the random draws."""

    method: str = "nucleus"
    p: float = 0.9
    temperature: float = 1.0
    beams: int = 3
    seed: int = 0


def _start(prompt: str) -> Tensor:
    """<bos> and the prompt's words, open: (1, T)."""
    return tokenizer.encode([prompt])[:, :-1]


def continuation(
    model, prompt: str, decoding: Decoding, max_new_tokens: int = 12, **context
) -> list[str]:
    """The words that a model goes on with. Raises ValueError for an unknown word or method."""
    if decoding.method not in METHODS:
        raise ValueError(f"no method '{decoding.method}'; expected one of {', '.join(METHODS)}.")
    ids = _start(prompt)
    if decoding.method == "beam":
        beams = decoding.beams
        wide = {name: value.expand(beams, *value.shape[1:]) for name, value in context.items()}
        tokens = beam_search(model, ids, max_new_tokens, beams, tokenizer.EOS, **wide)
    else:
        generator = torch.Generator().manual_seed(decoding.seed)
        sampler = nucleus(decoding.p, decoding.temperature, generator)
        sampler = greedy if decoding.method == "greedy" else sampler
        tokens = generate(model, ids, max_new_tokens, sampler, tokenizer.EOS, **context)[0]
    return tokenizer.world_tokenizer().convert_ids_to_tokens(tokens.tolist())


def next_word_bars(
    logits: Tensor, names: Sequence[str], decoding: Decoding, above: str = "", max_words: int = 6
):
    """Bars of the likeliest next words, and what a method leaves of them to draw from.

    logits (V,), names of all V words; above: lines of a title; max_words: as many are drawn
    """
    nucleus_only = decoding.method == "nucleus"
    probabilities = (logits / (decoding.temperature if nucleus_only else 1)).softmax(-1)
    ordered, order = probabilities.sort(descending=True, stable=True)
    if nucleus_only:
        candidates = torch.zeros_like(probabilities, dtype=torch.bool)
        candidates[order[ordered.cumsum(-1) - ordered < decoding.p]] = True
        state = (
            f"p {decoding.p:.2f}, temperature {decoding.temperature:.1f}: {int(candidates.sum())}"
        )
        title = f"{state} of {len(logits)} words stay, {probabilities[candidates].sum():.2f} of the probability"
        sentence = f"{state} words stay."
    else:
        candidates = probabilities == probabilities[order[0]]
        title = (
            "greedy takes the likeliest word, always"
            if decoding.method == "greedy"
            else f"beam search draws nothing: it keeps the {decoding.beams} likeliest rows of words"
        )
        sentence = f"{title[0].upper()}{title[1:]}."
    renormalised = probabilities.where(candidates, 0) / probabilities[candidates].sum()
    columns = {"model": probabilities} | (
        {} if decoding.method == "beam" else {decoding.method: renormalised}
    )
    figure = probability_bars(
        {
            names[index]: {name: values[index].item() for name, values in columns.items()}
            for index in order[:max_words].tolist()
        },
        "probability",
        title=f"{above}{title}",
    )
    figure.description = f"{sentence} {figure.description}"
    return figure


@torch.no_grad()
def sampling_figure(
    model, prompt: str, decoding: Decoding, words: Sequence[str], position: int = 0, **context
):
    """The continuation `words`, over the probabilities of the word at `position`, before and after decoding's choice."""
    convert = tokenizer.world_tokenizer()
    position = min(position, len(words) - 1)
    before = torch.tensor([convert.convert_tokens_to_ids(list(words[:position]))], dtype=torch.long)
    logits = model(torch.cat([_start(prompt), before], dim=1), **context)[0, -1]
    names = convert.convert_ids_to_tokens(range(len(logits)))
    marked = [f"[{word}]" if i == position else word for i, word in enumerate(words)]
    whole, word = " ".join([prompt, "→", *marked]), words[position]
    taken = f"'{word}' was taken ({logits.softmax(-1)[names.index(word)]:.3f} by the model)"
    above = "\n".join([*textwrap.wrap(f"{decoding.method}: {whole}", 84), taken, ""])
    figure = next_word_bars(logits, names, decoding, above)
    figure.description = (
        f"Written by {decoding.method}: '{whole}'. Probabilities of the next word after "
        f"'{' '.join([prompt, *words[:position]])}', where {taken}. {figure.description}"
    )
    return figure


def sampling_explorer(
    model, prompt: str = "a picture of a", max_new_tokens: int = 12, **context
) -> None:
    """Displays the explorer. model(ids, **context) -> logits; prompt: to begin with."""
    typed, method = text_field("prompt", prompt), buttons("method", METHODS, "nucleus", "6em")
    p, temperature = slider("p", 0.9, 0.05, 1, 0.05), slider("temperature", 1, 0.2, 3, 0.2)
    temperature.style = {"description_width": "initial"}
    beams, seed = slider("beams", 3, 1, 8), slider("draw", 0, 0, 20)
    word = option_slider("word", range(max_new_tokens), 0)
    written: dict[tuple, list[str]] = {}  # another word of the same text needs no new one

    def state() -> tuple[str, Decoding]:
        return typed.value, Decoding(
            method.value, p.value, temperature.value, beams.value, seed.value
        )

    def prepare() -> None:
        if state() not in written:
            words = continuation(model, *state(), max_new_tokens, **context)
            written.clear()
            written[state()] = words
        set_options(word, [(f"{i + 1}: {text}", i) for i, text in enumerate(written[state()])])
        wanted = {"nucleus": [p, temperature, seed], "beam": [beams]}
        show_only([p, temperature, seed, beams], wanted.get(method.value, []))

    interactive(
        [typed, method, row(p, temperature, seed, beams), row_with_labels(word)],
        lambda: sampling_figure(model, *state(), written[state()], word.value, **context),
        prepare,
    )
