"""Few-shot prompts of pages with pictures and films: new names, questions, motion; which examples to show, and a control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor
from torch.nn.functional import normalize

from vlmcourse.world import tokenizer
from vlmcourse.world.interleaved import WebPages
from vlmcourse.world.nouns import article
from vlmcourse.world.pages import (
    Episode,
    Part,
    nouns_of_split,
    pictures_of,
    question_prompt,
    single_thing,
)
from vlmcourse.world.questions import answers, ask
from vlmcourse.world.scenes import Scene, SeededRandom
from vlmcourse.world.videos import Video, make_video


def binding_episode(
    split: str,
    index: int,
    count: int,
    ways: int = 4,
    seed: int = 0,
    noun_subset: tuple[str, ...] = (),
    invented: Sequence[str] = tokenizer.INVENTED,
) -> Episode:
    """Fast binding with `count` solved examples of `ways` things: every name once, then every name again, and so on.

    The question is the same for every count, and so are the examples that were there (the later ones stand first). With
    fewer examples than ways the right name may not have been said: then one can only exclude.
    """
    rng = SeededRandom("shots", seed, split, index, ways)
    words, names = (
        rng.sample(nouns_of_split(split, noun_subset), ways),
        rng.sample(invented, ways),
    )
    target = int(rng.random() * ways)
    query = single_thing(words[target], split, rng)
    examples: list[tuple[Scene, str]] = []
    while len(examples) < count:
        examples += [
            (single_thing(words[number], split, rng), names[number])
            for number in rng.sample(range(ways), ways)
        ]
    parts: list[Part] = []
    for scene, name in reversed(examples[:count]):
        parts += [scene, f"this is {article(name)} ."]
    return Episode((*parts, query, "this is a"), names[target], tuple(names))


def retrieve_nearest(queries: Tensor, pool: Tensor, count: int) -> Tensor:
    """RICES (Sec. B.1.5): the `count` nearest of a pool by cosine, the nearest last, beside the question.

    (Q, E), (N, E) -> (Q, count) numbers of the pool.
    """
    queries, pool = (normalize(vectors, dim=-1) for vectors in (queries, pool))
    return (queries @ pool.T).topk(count, dim=-1).indices.flip(-1)


def other_pictures(episodes: Sequence[Episode]) -> list[Episode]:
    """Each question's examples show the pictures of another episode's examples: names tell nothing about the question."""
    mixed = []
    for episode, next_episode in zip(episodes, [*episodes[1:], episodes[0]]):
        given = iter([*pictures_of(next_episode.prompt)[:-1], pictures_of(episode.prompt)[-1]])
        mixed.append(
            replace(
                episode,
                prompt=tuple(
                    part if isinstance(part, str) else next(given) for part in episode.prompt
                ),
            )
        )
    return mixed


def question_episode(web: WebPages, index: int, kind: str, count: int) -> Episode:
    """A question of a kind about a thing alone, after `count` solved ones of the same kind about others."""
    rng = web.rng(f"solved {kind}", index)
    things = [web.single_thing(index * (count + 1) + number) for number in range(count + 1)]
    questions = [ask(scene, rng, (kind,)) for scene in things]
    parts: list[Part] = []
    for scene, question in zip(things[:-1], questions):
        parts += [scene, f"{question_prompt(question)} {question.answer} ."]
    return Episode(
        (*parts, things[-1], question_prompt(questions[-1])), questions[-1].answer, answers(kind)
    )


def motion_episodes(web: WebPages, count: int) -> list[tuple[Video, Episode]]:
    """Films of one thing with the question which way it moves, to go on with: 'a dog moves' -> left."""
    pairs = []
    for index in range(count):
        video = make_video(web.single_thing(index), web.rng("motion", index), web.frames)
        pairs.append(
            (
                video,
                Episode(
                    (video, f"{article(video.mover)} moves"),
                    video.direction,
                    ("left", "right", "up", "down"),
                ),
            )
        )
    return pairs
