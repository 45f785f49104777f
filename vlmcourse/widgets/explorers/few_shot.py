"""The few-shot builder: a prompt of pictures and names, the picture that each word attends to, and what the pictures contribute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from vlmcourse import world
from vlmcourse.parts.masks import phi
from vlmcourse.plots import image_index_strip, pictures, probability_bars, stack_figures
from vlmcourse.widgets.interactive import (
    NARROW,
    dropdown,
    interactive,
    row,
    show_only,
    slider,
    text_field,
)
from vlmcourse.world import tokenizer
from vlmcourse.world.pages import Part, page_text
from vlmcourse.world.scenes import SeededRandom

Answer = Callable[[Sequence[Sequence[Part]], Sequence[str]], Sequence[Mapping[str, float]]]
MAX_EXAMPLES = 4


def portrait(word: str, number: int) -> world.Scene:
    """A thing alone somewhere; another position and background for each number."""
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
    last = max(index for index, part in enumerate(parts) if not isinstance(part, str))
    return tuple(part for index, part in enumerate(parts) if isinstance(part, str) or index == last)


def few_shot_figure(
    answer: Answer, examples: Sequence[tuple[str, str]], query: str, size: int = 64
):
    """The prompt's pictures, the image that each word attends to, and the answer with and without the support's pictures."""
    parts = prompt(examples, query)
    shown = [part for part in parts if not isinstance(part, str)]
    words = page_text(parts, end_of_chunk="<EOC>").split()
    numbers = phi(torch.tensor([word == "<image>" for word in words])).tolist()
    choices = list(dict.fromkeys([name for _, name in examples] or tokenizer.INVENTED[:2]))
    if len(choices) < 2:
        choices.append(next(word for word in tokenizer.INVENTED if word not in choices))
    given, blind = answer([parts, without_support(parts)], choices)
    captions = [f"{i + 1}: this is {world.article(name)}" for i, (_, name) in enumerate(examples)]
    captions.append(f"{len(shown)}: this is a ?")
    first = pictures(np.stack([world.render(scene, size) for scene in shown]), captions)
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
    """Displays the builder. answer: (prompts, names) -> [{name: probability}], such as teaching.explorer_models.naming_function()."""
    nouns = sorted(world.known_nouns())
    more = enumerate(tokenizer.INVENTED[len(examples) : MAX_EXAMPLES])
    given = [*examples, *((nouns[index], name) for index, name in more)][:MAX_EXAMPLES]
    count, query_noun = (
        slider("examples", len(examples), 0, MAX_EXAMPLES),
        dropdown("asked", nouns, query),
    )
    lines = [
        (
            dropdown(f"picture {index + 1}", nouns, word),
            text_field("this is a", name, tokenizer.INVENTED, NARROW),
        )
        for index, (word, name) in enumerate(given)
    ]

    def draw():
        chosen = [(word.value, name.value) for word, name in lines[: count.value]]
        return few_shot_figure(answer, chosen, query_noun.value)

    interactive(
        [count, *(row(*line) for line in lines), query_noun],
        draw,
        lambda: show_only(sum(lines, ()), sum(lines[: count.value], ())),
    )
