"""Lesson 14: answers of the shipped LLaVA that are counted one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from teaching.frozen_tables import markdown
from teaching.llava_figures import scenes
from teaching.llava_talk import write
from vlmcourse.papers.llava import LLaVA
from vlmcourse.recipes import llava
from vlmcourse.training.scale import Scale
from vlmcourse.world import prompts

Hit = tuple[str, bool]
"""What a question is about, and whether the answer is right."""


def colour_hits(model: LLaVA, scale: Scale, count: int, exchanged: bool = False) -> list[Hit]:
    """Of the questions of the kind colour. exchanged: with the picture of the next question."""
    asked = llava.held_out_questions("colour", scale, count)
    pages = [one.prompt for one in asked]
    said = write(model, prompts.swap_pictures(pages) if exchanged else pages, 4)
    names = ["background" if "background" in text else "thing" for _, text in pages]
    return [(name, one.answer == answer) for name, one, answer in zip(names, asked, said)]


def description_hits(model: LLaVA, scale: Scale, count: int, exchanged: bool = False) -> list[Hit]:
    """Of descriptions of pictures as Figure 1 has them: is every thing named? exchanged: of the next picture."""
    shown = scenes(scale, count)
    described = [*shown[1:], shown[0]] if exchanged else shown
    said = write(model, [(scene, llava.DESCRIBE) for scene in described])
    return [
        (f"{len(scene.things)}", all(word in text.split() for word in scene.words))
        for scene, text in zip(shown, said)
    ]


def share(hits: Sequence[Hit], name: str) -> str:
    found = [right for about, right in hits if about == name]
    return f"{sum(found)} of {len(found)}"


def counts_table(model: LLaVA, scale: Scale, count: int) -> str:
    """Right answers of a model about colours and in descriptions, and its answers to how many, as Markdown."""
    rows = []
    for hits_of, names in (
        (colour_hits, {"thing": "colour of a thing", "background": "colour of the background"}),
        (description_hits, {"1": "description, one thing", "2": "description, two things"}),
    ):
        seen, other = (hits_of(model, scale, count, exchanged) for exchanged in (False, True))
        rows += [[text, share(seen, name), share(other, name)] for name, text in names.items()]
    asked = llava.held_out_questions("how many", scale, count)
    said = Counter(write(model, [one.prompt for one in asked], 4)).most_common()
    numbers = ", ".join(f"{answer} ({times})" for answer, times in said)
    head = ("shipped model: right", "with the picture", "pictures exchanged")
    return f"{markdown(head, rows)}\n\nIts {count} answers to *how many*: {numbers}."
