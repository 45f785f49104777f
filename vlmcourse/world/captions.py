"""What people might write under a scene. A caption is a function (scene, rng) -> text."""

from collections.abc import Sequence

from vlmcourse.world.nouns import article
from vlmcourse.world.scenes import Scene, SeededRandom

PROMPTS = (
    "a picture of {}",
    "a photo of {}",
    "{}",
    "a drawing of {}",
    "there is {}",
    "this is {}",
    "{} on a background",
)
"""Templates of zero-shot prompts; {} takes 'a cat', 'an apple', 'some grapes'."""
TEMPLATES = ("{}", "a picture of {}", "a photo of {}", "a drawing of {}")
"""Those in which the tiny language model has read captions. One that it has not would be unlike its texts (lesson 07)."""


def _row(things, name) -> str:
    return " and ".join(article(name(thing)) for thing in things)


def _arrangement(scene: Scene, rng: SeededRandom, name) -> str:
    """Who is above, below, left or right of whom."""
    ordered = sorted(scene.things, key=lambda thing: thing.x)
    top = [thing for thing in ordered if thing.y < 0.5]
    bottom = [thing for thing in ordered if thing.y >= 0.5]
    if len(ordered) == 1:
        return article(name(ordered[0]))
    if top and bottom:
        return rng.choice(
            (
                f"{_row(top, name)} above {_row(bottom, name)}",
                f"{_row(bottom, name)} below {_row(top, name)}",
            )
        )
    left, right = (article(name(thing)) for thing in ordered)
    return rng.choice((f"{left} left of {right}", f"{right} right of {left}"))


def detailed(scene: Scene, rng: SeededRandom) -> str:
    """Every thing, how they are arranged, and the background."""
    what = _arrangement(scene, rng, lambda thing: thing.word)
    return rng.choice(
        (
            f"{what} on {scene.background}",
            f"{what} on a {scene.background} background",
            f"on {scene.background} {what}",
            f"a picture of {what} on {scene.background}",
        )
    )


def varied(scene: Scene, rng: SeededRandom, frames: Sequence[str] = TEMPLATES) -> str:
    """Detailed three times in ten, else without the background, as people do.

    If every caption named its background, prompts such as 'a photo of a cat' would be unlike anything in training.
    """
    if rng.random() < 0.3:
        return detailed(scene, rng)
    return rng.choice(frames).format(_arrangement(scene, rng, lambda thing: thing.word))


def prompted(scene: Scene, rng: SeededRandom) -> str:
    """Varied, and in the frames 'there is' and 'this is' as well: what CLIP trains on, which is prompted in all of them."""
    return varied(scene, rng, (*TEMPLATES, "there is {}", "this is {}"))


def annotated(scene: Scene, rng: SeededRandom) -> str:
    """As BLIP's captioner learns and is prompted: 'a picture of', then every thing, how they are arranged, the background."""
    return (
        f"a picture of {_arrangement(scene, rng, lambda thing: thing.word)} on {scene.background}"
    )


def annotated_or_varied(scene: Scene, rng: SeededRandom) -> str:
    """From two sources, as BLIP's: four in ten as annotators write (pictured), the others as people do (varied)."""
    return annotated(scene, rng) if rng.random() < 0.4 else varied(scene, rng)


def synonyms(scene: Scene, rng: SeededRandom) -> str:
    """As detailed, in the words another person would take."""
    what = _arrangement(scene, rng, lambda thing: rng.choice((thing.word, *thing.noun.synonyms)))
    return f"{what} on {scene.background}"


def short(scene: Scene, rng: SeededRandom) -> str:
    """One or two of the things, and nothing else: what most of the web writes."""
    return _row(rng.sample(scene.things, min(2, len(scene.things))), lambda thing: thing.word)


def templated(template: str):
    """A caption of one template of PROMPTS, naming the first thing: templated('a picture of {}')."""
    return lambda scene, rng: template.format(article(scene.things[0].word))
