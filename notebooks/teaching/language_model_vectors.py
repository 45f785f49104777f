"""Lesson 05's measurements of vectors in place of words: names and facts when noise is added to the vectors of things."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from teaching.language_model_induction import naming
from teaching.language_model_study import KINDS, some_facts
from vlmcourse import plots
from vlmcourse.parts import language
from vlmcourse.parts.language import LanguageModel
from vlmcourse.world import documents, tokenizer

NOISE = (0, 0.25, 0.5, 0.75, 1, 1.5, 2)


@torch.no_grad()
def vectors_for_words(model: LanguageModel, count: int = 128) -> dict[str, dict[float, float]]:
    """Accuracy if the vectors of the things in page texts are replaced: {what: {size of the noise: share right}}.

    Noise is measured in root mean squares of the nouns' vectors. Naming is among all words, facts among their choices.
    """
    task, generator = naming("page", count), torch.Generator().manual_seed(0)
    things = tokenizer.encode(documents.NOUN_WORDS)[:, 1]
    vectors = model.lm.get_input_embeddings().weight.detach()
    size = vectors[things].square().mean().sqrt()
    embedded = language.embed(model.lm, task.ids)
    is_thing = torch.isin(task.ids, things)
    at = is_thing.nonzero()[:, 1].view(count, -1)  # (B, ways + 1)
    rows = torch.arange(count)[:, None]
    earlier = (task.ids.gather(1, at[:, :-1]) == task.ids.gather(1, at[:, -1:])).int().argmax(1)

    def noise(*shape: int) -> Tensor:
        return size * torch.randn(*shape, vectors.shape[1], generator=generator)

    def twice(values: Tensor) -> Tensor:
        """Of vectors for the things (B, ways, D), those for all places: the last one again as before."""
        return torch.cat([values, values[torch.arange(count), earlier][:, None]], dim=1)

    def named(changed: Tensor) -> float:
        x = embedded.clone()
        x[rows, at] = changed
        found = language.logits(model.lm, x)[:, -1].argmax(-1)
        return (found == task.answers).float().mean().item()

    words, ways = embedded[rows, at], at.shape[1] - 1
    curves: dict[str, dict[float, float]] = {
        "names, other noise at each place": {s: named(words + s * noise(*at.shape)) for s in NOISE},
        "names, same noise at both places": {
            s: named(words + twice(s * noise(count, ways))) for s in NOISE
        },
        "facts": {s: facts_with_noise(model, lambda *shape: s * noise(*shape)) for s in NOISE},
    }
    random = {
        "names, random vectors": named(twice(noise(count, ways))),
        "facts, random vectors": facts_with_noise(model, lambda *shape: noise(*shape), False),
    }
    return curves | {what: {"": share} for what, share in random.items()}  # type: ignore[dict-item]


def about_vectors(found: Mapping[str, Mapping[float, float]]) -> str:
    """In words: what `vectors_for_words` says, at the largest noise and with random vectors."""
    most = max(NOISE)
    ends = {what.split(", ", 1)[-1]: curve[most] for what, curve in found.items() if most in curve}
    other, same, facts = ends.values()
    names, known = (
        found[f"{what}, random vectors"][""]  # type: ignore[index]
        for what in ("names", "facts")
    )
    return (
        f"At noise of size {most}: names {other:.2f} (other noise), {same:.2f} (same noise); "
        f"facts {facts:.2f}.\nWith random vectors: names {names:.2f}, facts {known:.2f}."
    )


def noise_curves(found: Mapping[str, Mapping[float, float]]):
    """Curves of `vectors_for_words` over the size of the noise, with lines for random vectors and for guesses."""
    facts = some_facts(2)
    random = ("names, random vectors", "facts, random vectors")
    guessing = sum(1 / len(choices) for *_, choices in facts) / len(facts)
    lines = {
        "a guess among three names: 0.33": 1 / 3,
        f"a guess of facts: {guessing:.2f}": guessing,
    }
    series = {name: curve for name, curve in found.items() if name not in random}
    series |= {name: {max(NOISE) + 0.3: found[name][""]} for name in random}  # type: ignore[index]
    drawn = plots.curves(
        series,
        "size of the noise (1: root mean square of a noun's vector)",
        "share right",
        lines=lines,
    )
    (axes,) = drawn.axes
    ticks = [0, 0.5, 1, 1.5, 2]
    axes.set_xticks([*ticks, max(NOISE) + 0.3], [*(f"{tick:g}" for tick in ticks), "random"])
    for line, colour, marker in zip(axes.lines[3:5], (axes.lines[1], axes.lines[2]), "D*"):
        line.set(color=colour.get_color(), marker=marker, markersize=8, linestyle="none")
    for line in axes.lines[5:7]:
        line.set(color="0.35", linewidth=1.2)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    axes.set_ylim(-0.03, 1.05)
    return drawn


def facts_with_noise(
    model: LanguageModel, noise: Callable[..., Tensor], added: bool = True
) -> float:
    """Share of facts chosen rightly if noise is added to the vector of the noun in the question, or takes its place."""
    things = tokenizer.encode(documents.NOUN_WORDS)[:, 1]
    right = []
    for start in KINDS:
        facts = [fact for fact in some_facts(2) if fact[0].startswith(start)]
        ids = tokenizer.encode([question for question, *_ in facts])
        prompt_lengths = (ids != tokenizer.EOS).cumprod(1).sum(1)
        x = language.embed(model.lm, ids)
        is_thing = torch.isin(ids, things)[..., None]
        x = torch.where(is_thing, noise(*ids.shape) + (x if added else 0), x)
        logits = language.logits(model.lm, x)[torch.arange(len(ids)), prompt_lengths - 1]
        choices = tokenizer.encode(list(facts[0][2]))[:, 1]
        found = logits[:, choices].argmax(-1).tolist()
        right += [fact[2][choice] == fact[1] for fact, choice in zip(facts, found)]
    return sum(right) / len(right)
