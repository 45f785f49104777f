"""The few-shot builder: a prompt of pictures and names, who sees which picture, and what the pictures are worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from vlmcourse import world
from vlmcourse.parts.masks import phi
from vlmcourse.plots import stack_figures, pictures, probability_bars, image_index_strip
from vlmcourse.widgets.interactive import only, play, row
from vlmcourse.world import tokenizer
from vlmcourse.world.pages import Part, page_text
from vlmcourse.world.scenes import SeededRandom

Answer = Callable[[Sequence[Sequence[Part]], Sequence[str]], Sequence[Mapping[str, float]]]
MOST = 4


def portrait(word: str, number: int) -> world.Scene:
    """A thing alone somewhere; another place and background for each number."""
    draws = SeededRandom("portrait", word, number)
    return world.scenes.arrange((word,), draws.choice(tuple(world.BACKGROUNDS)), draws)


def prompt(examples: Sequence[tuple[str, str]], query: str) -> tuple[Part, ...]:
    """'<picture> this is a dax .' for each (noun, name), then the picture of `query` with the sentence left open.

    Raises ValueError for a name of several words, or one that the tokenizer doesn't know.
    """
    parts: list[Part] = []
    for number, (word, name) in enumerate(examples):
        if len(tokenizer.split_words(name)) != 1:
            raise ValueError(
                f"the name '{name}' is {len(tokenizer.split_words(name))} words; expected one."
            )
        tokenizer.encode([name])  # its message says which words are known
        parts += [portrait(word, number), f"this is {world.article(name)} ."]
    return *parts, portrait(query, len(examples)), "this is a"


def without_support(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The same prompt with the examples' pictures taken out, their words left in."""
    last = max(place for place, part in enumerate(parts) if not isinstance(part, str))
    return tuple(part for place, part in enumerate(parts) if isinstance(part, str) or place == last)


def built(answer: Answer, examples: Sequence[tuple[str, str]], query: str, size: int = 64):
    """The prompt's pictures, its ribbon of phi, and the answer with and without the support's pictures."""
    parts = prompt(examples, query)
    shown = [part for part in parts if not isinstance(part, str)]
    words = page_text(parts, end_of_chunk="<EOC>").split()
    numbers = phi(torch.tensor([word == "<image>" for word in words])).tolist()
    choices = list(dict.fromkeys([name for _, name in examples] or tokenizer.INVENTED[:2]))
    if len(choices) < 2:
        choices.append(next(word for word in tokenizer.INVENTED if word not in choices))
    given, blind = answer([parts, without_support(parts)], choices)
    first = pictures(
        np.stack([world.render(scene, size) for scene in shown]),
        [
            *(
                f"{number + 1}: this is {world.article(name)}"
                for number, (_, name) in enumerate(examples)
            ),
            f"{len(shown)}: this is a ?",
        ],
    )
    last = probability_bars(
        {
            name: {"with the examples' pictures": given[name], "without them": blind[name]}
            for name in choices
        },
        "probability among these names",
        chance=1 / len(choices),
    )
    return stack_figures(first, image_index_strip(words, numbers), last)


def few_shot_builder(
    answer: Answer,
    examples: Sequence[tuple[str, str]] = (("cat", "dax"), ("car", "blicket")),
    query: str = "cat",
) -> None:
    """Displays the builder. answer: (prompts, names) -> [{name: probability}], such as teaching.explorer_models.naming()."""
    import ipywidgets

    nouns = sorted(world.known_nouns())
    given = [
        *examples,
        *(
            (nouns[number], name)
            for number, name in enumerate(tokenizer.INVENTED[len(examples) : MOST])
        ),
    ][:MOST]
    count = ipywidgets.IntSlider(
        value=len(examples), min=0, max=MOST, description="examples", continuous_update=False
    )
    narrow = {"width": "15em"}
    lines = [
        (
            ipywidgets.Dropdown(
                options=nouns, value=word, description=f"picture {number + 1}", layout=narrow
            ),
            ipywidgets.Combobox(
                value=name,
                options=tokenizer.INVENTED,
                description="this is a",
                continuous_update=False,
                layout=narrow,
            ),
        )
        for number, (word, name) in enumerate(given)
    ]
    asked = ipywidgets.Dropdown(options=nouns, value=query, description="asked", layout=narrow)
    play(
        [count, *(row(*line) for line in lines), asked],
        lambda: built(
            answer, [(word.value, name.value) for word, name in lines[: count.value]], asked.value
        ),
        lambda: only(sum(lines, ()), sum(lines[: count.value], ())),
    )
