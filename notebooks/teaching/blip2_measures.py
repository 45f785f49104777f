"""Lesson 10: what is measured on the shipped models, and in words what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from vlmcourse import evaluation, world
from vlmcourse.evaluation import eval_mode
from vlmcourse.papers.blip2 import BLIP2, LABEL_SMOOTHING, Stage1
from vlmcourse.papers.qformer import QFormer
from vlmcourse.parts.image_features import patch_features
from vlmcourse.parts.losses import clip_loss
from vlmcourse.recipes import blip2 as recipe
from vlmcourse.recipes import frozen
from vlmcourse.recipes.features import CachedFeatures
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

OBJECTIVES = ("itc", "itm", "itg")


def largest_error(count: int) -> str:
    """The standard error of a share of so many, at most, in words."""
    return f"standard error: at most {(0.25 / count) ** 0.5:.2f}"


def noise_between(count: int) -> str:
    """Two standard errors, at most, of the difference of two shares of so many, in words."""
    return f"differences of two bars up to {2 * (0.5 / count) ** 0.5:.2f} are noise: two standard errors at most"


def held_out(count: int) -> list[world.Scene]:
    """Scenes of one thing, on backgrounds on which training never showed it."""
    return [world.sample("test", index, 0, frozen.ONE_THING) for index in range(count)]


def rendered(scenes: Sequence[world.Scene], size: int) -> np.ndarray:
    """Scenes as pictures (N, S, S, 3)."""
    return np.stack([world.render(scene, size) for scene in scenes])


def small_qformer(scale: Scale, queries: int = 3) -> QFormer:
    """An untrained Q-Former with few queries."""
    return recipe.new_qformer(recipe.qformer_config(scale, queries=queries)).eval()


def outputs_under_masks(qformer: QFormer, features: Tensor, ids: Tensor) -> dict[str, Tensor]:
    """States of the queries under each objective's mask."""
    with torch.no_grad():
        return {
            objective: qformer(features, ids, qformer.mask(objective, ids))[0]
            for objective in OBJECTIVES
        }


def pictures_and_captions(model: Stage1, count: int) -> dict[str, Tensor]:
    """Of held-out pictures with different captions: vectors of the queries (N, R, E) and of the texts (N, E)."""
    pairs = world.Pairs("test", model.vision.image_size)
    batch = pairs.batch(pairs.distinct(count))
    with eval_mode(model):
        features = patch_features(model.vision, batch["pixel_values"])
        return {"queries": model.encode_image(features), "text": model.encode_text(batch["ids"])}


def cosines_with_own_text(vectors: Mapping[str, Tensor]) -> Tensor:
    """(N, R): each query with its picture's own caption."""
    return cosine_similarity(vectors["queries"], vectors["text"][:, None], dim=-1)


def cosines_with_other_texts(vectors: Mapping[str, Tensor]) -> Tensor:
    """(N (N - 1), R): each query with each other picture's caption."""
    queries, text = (normalize(vectors[name], dim=-1) for name in ("queries", "text"))
    return (queries @ text.T).mT[~torch.eye(len(text), dtype=torch.bool)]


def itc_gradient(model: Stage1, batch: Mapping[str, Tensor]) -> Tensor:
    """(R,): each query's share of ITC's gradient at the queries' states, in norms summed over a batch of features."""
    with eval_mode(model):
        states, text = (
            model.qformer.query_states(batch["features"]),
            model.encode_text(batch["ids"]),
        )
    states = states.detach().requires_grad_()
    unit = normalize(model.image_projection(states), dim=-1)
    scale = 1 / model.temperature.detach()
    loss = clip_loss(unit, text, scale, batch.get("positive_groups"), LABEL_SMOOTHING)
    (grad,) = torch.autograd.grad(loss, states)
    norms = grad.norm(dim=-1).sum(0)
    return norms / norms.sum()


def about_usage(right: Tensor, wrong: Tensor, others: Tensor) -> str:
    """Which queries win for right pairs and for wrong ones, in words. others: `cosines_with_other_texts`"""
    best, (first, second) = int(right.argmax()), wrong.topk(2).indices.tolist()
    mean, std = others.mean(0), others.std(0)
    cosines = ", ".join(
        f"{mean[r]:.2f} ± {std[r]:.2f} for query {r}" for r in (first, second, best)
    )
    return (
        f"Query {best} wins for {right[best]:.2f} of the right pairs. For wrong pairs query {first} wins {wrong[first]:.2f}, "
        f"query {second} {wrong[second]:.2f}, query {best} {wrong[best]:.2f}. Cosine with the captions of other pictures "
        f"(mean ± standard deviation over pairs): {cosines}. A small deviation means nearly the same cosine for every text: "
        "such a query gives wrong pairs a common similarity, but can't tell one caption from another."
    )


def mean_cosine_between(queries: Tensor) -> float:
    """Mean cosine of two different queries of a picture; queries (N, R, E)."""
    unit, R = normalize(queries, dim=-1), queries.shape[1]
    pairs = (unit @ unit.mT).mean(0)
    return ((pairs.sum() - pairs.trace()) / (R * R - R)).item()


def recall_by_query(vectors: Mapping[str, Tensor]) -> dict[str, float]:
    """R@1 from image to text with all queries, and with each query alone."""
    queries, text = vectors["queries"], vectors["text"]
    right = torch.arange(len(text))

    def recall(kept: list[int]) -> float:
        return evaluation.recall_at_1((queries[:, kept] @ text.T).amax(1), right)

    R = queries.shape[1]
    return {"all": recall([*range(R)])} | {f"{r}": recall([r]) for r in range(R)}


def textless(first: Stage1, weights: Mapping[str, Tensor]) -> QFormer:
    """A Q-Former without a text side, with weights that are named as in stage 1. Raises RuntimeError for others."""
    made = first.qformer.without_text()
    made.load_state_dict({name.removeprefix("qformer."): one for name, one in weights.items()})
    return made.eval()


def counts(first: Stage1, goes_on: Mapping[str, Tensor]) -> dict[str, int]:
    """Parameters of stage 1 that go on, and those that stay behind."""
    parameters = {name: p for name, p in first.named_parameters() if not name.startswith("vision.")}
    on = sum(p.numel() for name, p in parameters.items() if name in goes_on)
    return {
        "go on": on,
        "stay behind": sum(p.numel() for p in parameters.values()) - on,
    }


def different(features: Tensor) -> int:
    """How many pictures differ by their features (N, P, C); equal to three decimals counts as one."""
    return len(features.flatten(1).mul(1000).round().unique(dim=0))


def stage2_batch(model: BLIP2, scale: Scale, count: int) -> dict[str, Tensor]:
    """A batch of stage 2's captions, with slots for the queries."""
    data = recipe.caption_data(scale, model.vision, model.qformer.config.queries, count=count)
    return data.batch(range(count))


def stage2_losses(model: BLIP2, batch: Mapping[str, Tensor], insert: Callable, loss: Callable):
    """The package's loss of a batch, and that by the functions `insert_prefix` and `prefix_loss`."""
    R, ids = model.qformer.config.queries, batch["ids"]
    slots = ids == model.image_token_id
    text, scored = (one[~slots].unflatten(0, (len(ids), -1)) for one in (ids, batch["loss_mask"]))
    with torch.no_grad():
        states = model.qformer.query_states(batch["features"])
        words = model.lm.get_input_embeddings()(text)
        x = insert(words, states, model.language_projection)
        own = loss(model.lm(inputs_embeds=x).logits, text, scored, R)
        return model.losses(dict(batch))["lm"].item(), float(own)


def about_answers(groups: Mapping[str, Mapping[str, float]], margin: float = 0.1) -> str:
    """What the answers of `answer_bars` say, in words. margin: a difference that counts; groups: with "guessing", too."""
    used = [
        k
        for k, row in groups.items()
        if row["its picture"] > max(row["blank"], row["another's"]) + margin
    ]
    unused = [kind for kind in groups if kind not in used]
    below = [k for k, row in groups.items() if row["right words"] > row["its picture"] + margin]
    parts = [
        f"More than {margin:g} above both controls: {', '.join(used) or 'none'}.",
        f"Not so: {', '.join(unused) or 'none'}; such answers don't show that the picture was used.",
        f"More than {margin:g} below right words: {', '.join(below) or 'none'}.",
    ]
    if hard := [k for k in unused if groups[k]["right words"] <= groups[k]["guessing"] + margin]:
        parts.append(
            f"For {', '.join(hard)} even the right words are no better than guessing: there the language model itself "
            "fails, whatever the prefix."
        )
    colour = groups["colour"]
    parts.append(
        f"For the colour of a thing a blank picture gets {colour['blank']:.2f}, the right words "
        f"{colour['right words']:.2f}: the question names the thing, and the language model knows its usual colour. For "
        f"the background's colour a blank picture gets {groups['background']['blank']:.2f}."
    )
    return " ".join(parts)


def about_captions(model: BLIP2, scenes: Sequence[world.Scene]) -> str:
    """How many captions name the thing and the background, in words."""
    captions = [
        text.split() for text in recipe.generate_captions(model, model.vision.image_size, scenes)
    ]
    thing = sum(scene.words[0] in words for scene, words in zip(scenes, captions))
    told = [
        (scene, words) for scene, words in zip(scenes, captions) if {*words} & {*world.BACKGROUNDS}
    ]
    right = sum(scene.background in words for scene, words in told)
    return (
        f"Of {len(scenes)} captions after 'a picture of', {thing} name the right thing. {len(told)} of the {len(scenes)} "
        f"name a background, {right} of them the right one. A caption that leaves the background out isn't wrong: many "
        "training captions do. Whether the background is seen is better asked: see *background* in Figure 13."
    )


def about_queries(alone: Mapping[str, Mapping[str, float]], everyone: float, winner: str) -> str:
    """What leaving out queries shows, in words. winner: the query that ITC chose most often in stage 1."""
    names = [r for r, row in alone.items() if row["alone"] > everyone / 2]
    missed = [r for r, row in alone.items() if row["left out"] < everyone / 2]
    if len(names) != 1:
        verdict = "So naming isn't the work of a single query."
    elif names == [winner]:
        verdict = "So one query does most of the naming, the same as in stage 1."
    else:
        verdict = (
            "So one query does most of the naming, but not the one that won in stage 1. Stage 2 starts from the same "
            "queries, but its loss takes no maximum over them."
        )
    return (
        f"Queries that alone reach more than half of what all reach: {_listed(names)}. Queries without which less than "
        f"half is left: {_listed(missed)}. In stage 1 query {winner} won most often; alone it reaches "
        f"{alone[winner]['alone']:.2f} here. {verdict} Other tasks than naming may need other queries."
    )


def _listed(queries: Sequence[str]) -> str:
    return f"query {' and '.join(queries)}" if queries else "none"


def about_recall(found: Mapping[str, float], gradient: Tensor) -> str:
    """What single queries reach beside all of them, in words. gradient: `itc_gradient`"""
    (best, highest), *others = sorted(
        ((r, value) for r, value in found.items() if r != "all"), key=lambda item: -item[1]
    )
    values = [value for _, value in others]
    reached = [r for r in gradient.argsort(descending=True).tolist() if gradient[r] >= 0.01]
    shares = ", ".join(f"query {r} {gradient[r]:.2f}" for r in reached)
    return (
        f"All queries reach {found['all']:.2f}; query {best} alone {highest:.2f}, the others alone {min(values):.2f} to "
        f"{max(values):.2f}. So queries that hardly ever win may still know much of the picture. Shares of "
        f"ITC's gradient at the queries' outputs (a training batch of 64): {shares}; each other one less than 0.01. ITM's "
        "gradient reaches all outputs. ITG's ends at the states that enter the last layer."
    )


def asked(scene: world.Scene) -> str:
    """A caption up to its noun: "a picture of a", or "an"."""
    return f"a picture of {world.article(scene.words[0]).split()[0]}"


def nouns_after(model: BLIP2, scenes: Sequence[world.Scene], kept: Sequence[int]) -> float:
    """Share of pictures whose thing is the likeliest word after `asked`, with the vectors of some queries only."""
    right = 0
    for text in {asked(scene) for scene in scenes}:
        some = [scene for scene in scenes if asked(scene) == text]
        found = after(model, some, kept, text, 1)
        right += sum([*words] == [scene.words[0]] for scene, words in zip(some, found))
    return right / len(scenes)


def after(
    model: BLIP2, scenes: Sequence[world.Scene], kept: Sequence[int], text: str = "", k: int = 6
) -> list[dict[str, float]]:
    """The likeliest next words when only the queries numbered `kept` stand in the prompt."""
    words, stop = tokenizer.world_tokenizer(), tokenizer.encode(["."])[0, 1].item()
    begun = tokenizer.encode([text])[0, 1:-1].tolist()
    prompt = [tokenizer.BOS, *[model.image_token_id] * len(kept), stop, *begun]
    pixel_values = world.to_pixels(rendered(scenes, model.vision.image_size))
    with eval_mode(model):
        prefix = model.vision_context(pixel_values)["prefix"].unflatten(0, (len(scenes), -1))
        ids = torch.tensor([prompt] * len(scenes))
        likely = model(ids, prefix=prefix[:, list(kept)].flatten(0, 1))[:, -1].softmax(-1).topk(k)
    return [
        dict(zip(words.convert_ids_to_tokens(ids), values))
        for ids, values in zip(likely.indices.tolist(), likely.values.tolist())
    ]


def training_batch(scale: Scale, vision, count: int) -> dict[str, Tensor]:
    """A batch of stage 1's training pairs, as features."""
    pairs = recipe.training_pairs(scale)
    return CachedFeatures(pairs, vision, count).batch(range(count))


def caption_table(captions: Sequence[str], scenes: Sequence[world.Scene]) -> str:
    """Written captions beside what the pictures show, as Markdown; equal lines once."""
    lines = ["| the picture shows | written |", "|---|---|"]
    for scene, text in zip(scenes, captions):
        facts = evaluation.caption_facts(text)
        right = bool(facts) and facts <= evaluation.scene_facts(scene)
        shown = f"{' and '.join(scene.words)}, {scene.background}"
        lines.append(f"| {shown} | {'✓' if right else '✗'} {text} |")
    return "\n".join(dict.fromkeys(lines))
