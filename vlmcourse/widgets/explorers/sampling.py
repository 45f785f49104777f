"""The sampling explorer: greedy, beam and nucleus on a real model, with the probability that each leaves to draw from."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import torch
from torch import Tensor

from teaching.language_model import at_share
from vlmcourse.parts.generation import beam_search, greedy, nucleus, generate
from vlmcourse.plots import probability_bars
from vlmcourse.widgets.interactive import offer, only, play, row, worded
from vlmcourse.world import tokenizer

WAYS = ("greedy", "beam", "nucleus")
MOST = 6
"""Words whose probabilities are drawn."""


@dataclass(frozen=True)
class Way:
    """How the next word is picked. p, temperature: of nucleus; beams: of beam; seed: of the draws."""

    name: str = "nucleus"
    p: float = 0.9
    temperature: float = 1.0
    beams: int = 3
    seed: int = 0


def _start(prompt: str) -> Tensor:
    """<bos> and the prompt's words, open: (1, T)."""
    return tokenizer.encode([prompt])[:, :-1]


def written(model, prompt: str, way: Way, most: int = 12, **context) -> list[str]:
    """The words that a model goes on with, at most `most`. Raises ValueError for an unknown word or way."""
    if way.name not in WAYS:
        raise ValueError(f"no way '{way.name}'; expected one of {', '.join(WAYS)}.")
    ids = _start(prompt)
    if way.name == "beam":
        wide = {name: value.expand(way.beams, *value.shape[1:]) for name, value in context.items()}
        said = beam_search(model, ids, most, way.beams, tokenizer.EOS, **wide)
    else:
        generator = torch.Generator().manual_seed(way.seed)
        sampler = greedy if way.name == "greedy" else nucleus(way.p, way.temperature, generator)
        said = generate(model, ids, most, sampler, tokenizer.EOS, **context)[0]
    return tokenizer.world_tokenizer().convert_ids_to_tokens(said.tolist())


def left(logits: Tensor, names: list[str], way: Way, above: str = ""):
    """The likeliest next words, and what a way leaves of them to draw from. logits (V,), names of all V words; above: a title."""
    if way.name == "nucleus":
        return at_share(logits, names, way.p, way.temperature, above, MOST)
    found, order = logits.softmax(-1), logits.argsort(descending=True)[:MOST].tolist()
    kept = {"greedy": {"greedy": 1.0}}.get(way.name, {})
    told = (
        "greedy takes the likeliest word, always"
        if kept
        else f"beam search draws nothing: it keeps the {way.beams} likeliest rows of words"
    )
    made = probability_bars(
        {
            names[index]: {
                "model": found[index].item(),
                **{name: share * (index == order[0]) for name, share in kept.items()},
            }
            for index in order
        },
        "probability",
        title=f"{above}{told}",
    )
    made.description = f"{told[0].upper()}{told[1:]}. {made.description}"
    return made


@torch.no_grad()
def sampled(
    model,
    prompt: str,
    way: Way,
    word: int = 0,
    most: int = 12,
    said: list[str] | None = None,
    **context,
):
    """What was written, over the probabilities of its word number `word`: the model's, and what is left of them to draw from.

    said  what `written` wrote, if that is known
    """
    said = said or written(model, prompt, way, most, **context)
    word = min(word, len(said) - 1)
    before = " ".join([prompt, *said[:word]])
    so_far = torch.tensor(
        [tokenizer.world_tokenizer().convert_tokens_to_ids(said[:word])], dtype=torch.long
    )
    ids = torch.cat([_start(prompt), so_far], dim=1)
    logits = model(ids, **context)[0, -1]
    names = tokenizer.world_tokenizer().convert_ids_to_tokens(range(len(logits)))
    whole = " ".join(
        [prompt, "→", *(f"[{one}]" if place == word else one for place, one in enumerate(said))]
    )
    taken = (
        f"'{said[word]}' was taken ({logits.softmax(-1)[names.index(said[word])]:.3f} by the model)"
    )
    made = left(
        logits, names, way, "\n".join([*textwrap.wrap(f"{way.name}: {whole}", 84), taken, ""])
    )
    made.description = (
        f"Written by {way.name}: '{whole}'. Probabilities of the next word after '{before}', where {taken}. "
        f"{made.description}"
    )
    return made


def sampling_explorer(model, prompt: str = "a picture of a", most: int = 12, **context) -> None:
    """Displays the explorer. model(ids, **context) -> logits; prompt: to begin with."""
    import ipywidgets

    typed = ipywidgets.Text(
        value=prompt,
        description="prompt",
        continuous_update=False,
        layout={"width": "min(34em, 100%)"},
    )
    name = ipywidgets.ToggleButtons(
        options=WAYS, value="nucleus", description="way", style={"button_width": "6em"}
    )
    p = ipywidgets.FloatSlider(
        value=0.9, min=0.05, max=1, step=0.05, description="p", continuous_update=False
    )
    warmth = ipywidgets.FloatSlider(
        value=1,
        min=0.2,
        max=3,
        step=0.2,
        description="temperature",
        continuous_update=False,
        style={"description_width": "initial"},
    )
    beams = ipywidgets.IntSlider(
        value=3, min=1, max=8, description="beams", continuous_update=False
    )
    seed = ipywidgets.IntSlider(value=0, min=0, max=20, description="draw", continuous_update=False)
    word = ipywidgets.SelectionSlider(
        options=range(most), value=0, description="word", continuous_update=False
    )
    kept: dict[tuple, list[str]] = {}  # another word of what is written already needs no writing

    def state() -> tuple[str, Way]:
        return typed.value, Way(name.value, p.value, warmth.value, beams.value, seed.value)

    def prepared() -> None:
        if state() not in kept:
            said = written(model, *state(), most, **context)
            kept.clear()
            kept[state()] = said
        offer(word, [(f"{place + 1}: {one}", place) for place, one in enumerate(kept[state()])])
        only(
            [p, warmth, seed, beams],
            {"nucleus": [p, warmth, seed], "beam": [beams]}.get(name.value, []),
        )

    play(
        [typed, name, row(p, warmth, seed, beams), worded(word)],
        lambda: sampled(model, *state(), word.value, most, kept[state()], **context),
        prepared,
    )
