"""What a language model is tested on in words, before any picture: prompts in which descriptions stand where pictures will.

Each test is a list of (prompt, answer), both texts; the answer is one word. Scenes are of the test split.
"""

from __future__ import annotations

from vlmcourse.world.document_kinds import CLOSE, FACT_QUESTIONS, KNOWN, TAG
from vlmcourse.world.document_scenes import RELATIONS
from vlmcourse.world.few_shot import binding_episode
from vlmcourse.world.nouns import article, nouns
from vlmcourse.world.pages import Episode, naming_episode, vqa_episode
from vlmcourse.world.scenes import Scene, SeededRandom

Test = list[tuple[str, str]]
SLOTS: dict[str, tuple[str, str]] = {
    "no tags": ("{} .", ""),
    "tags": (f"{TAG} {{}} .", CLOSE),
    "tags and stops": (f"{TAG} . {{}} .", CLOSE),
}
"""{name: (what stands for a picture, what closes the text before the next picture)}."""
NAMES_SHOTS, FACT_SHOTS = (1, 2, 4, 8, 16), (0, 4)


def written(episode: Episode, form: str, close: str) -> str:
    """An episode with thing and background, in a form, instead of each picture."""
    parts: list[str] = []
    for part in episode.prompt:
        if isinstance(part, Scene):
            parts += [close] if parts and close else []
            parts.append(form.format(f"{part.words[0]} {part.background}"))
        else:
            parts.append(part)
    return " ".join(parts)


def names(shots: int, slots: str, count: int = 128) -> Test:
    """'this is a' -> an invented name, after so many examples of (at most four) things, the thing in question among them."""
    form, close = SLOTS[slots]
    ways = min(4, shots)
    if ways == 1:
        episodes = [
            naming_episode("test", index, ways=2, shots=1, induction=False)
            for index in range(count)
        ]
        episodes = [
            Episode(_only_asked(episode), episode.answer, episode.choices) for episode in episodes
        ]
    else:
        episodes = [binding_episode("test", index, shots, ways) for index in range(count)]
    return [(written(episode, form, close), episode.answer) for episode in episodes]


def _only_asked(episode: Episode) -> tuple:
    """The example of the thing in question, and the question."""
    pairs = list(zip(episode.prompt[::2], episode.prompt[1::2]))
    shown = [part for pair in pairs[:-1] if pair[0].words == pairs[-1][0].words for part in pair]
    return (*shown, *pairs[-1])


def about(kind: str, shots: int, slots: str, count: int = 128) -> Test:
    """A question of a kind (category, purpose, ...) about a described thing, after so many solved ones."""
    form, close = SLOTS[slots]
    episodes = [vqa_episode("test", index, kind, shots, things=(1, 1)) for index in range(count)]
    return [(written(episode, form, close), episode.answer) for episode in episodes]


def known_facts() -> Test:
    """What a model knows of every noun, from questions that name it."""
    return [
        (FACT_QUESTIONS[kind][0].format(article(noun.word)), getattr(noun, kind))
        for kind in KNOWN
        for noun in nouns()
    ]


def copied_relations(inverted: bool, count: int = 128) -> Test:
    """'a cat left of a dog . a cat' -> left; inverted: 'a cat left of a dog . a dog' -> right."""
    prompts = []
    for index in range(count):
        draws = SeededRandom("copied relation", inverted, index)
        first, second = (article(thing.word) for thing in draws.sample(nouns(), 2))
        relation, back = draws.choice(RELATIONS)
        subject, answer = (second, back) if inverted else (first, relation)
        prompts.append((f"{first} {relation} {second} . {subject}", answer.split()[0]))
    return prompts


def all_tests(count: int = 128) -> dict[str, Test]:
    """{name: test}: names and knowledge with and without tags, facts by name, relations copied and turned."""
    tests = {
        f"names, {shots} shots, {slots}": names(shots, slots, count)
        for slots in SLOTS
        for shots in NAMES_SHOTS
    }
    tests |= {
        f"{kind}, {shots} shots, {slots}": about(kind, shots, slots, count)
        for slots in SLOTS
        for kind in KNOWN
        for shots in FACT_SHOTS
    }
    return tests | {
        "facts": known_facts(),
        "relation": copied_relations(False, count),
        "relation, turned": copied_relations(True, count),
    }
