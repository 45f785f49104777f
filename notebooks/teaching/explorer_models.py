"""What the explorers show: the course's trained stages as plain functions, one row of MODELS each.

Every stage is trained now, or found in the cache: at scale smoke that takes seconds, at laptop as long as the lessons that
train them. Any model with `vision_context(pixel_values)` and `model(ids, **context)` can be a row: it is asked for the next
word, and its use of the picture is measured by covering squares of it, unless its row knows a better way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from teaching.capfilt_recipe import web_pairs
from vlmcourse import introspection, recipes, world
from vlmcourse.evaluation import eval_mode
from vlmcourse.introspection import AttentionMaps
from vlmcourse.papers.blip import BLIP
from vlmcourse.parts.image_features import patch_features
from vlmcourse.recipes import blip2
from vlmcourse.recipes.frozen import IMAGE_PREFIX
from vlmcourse.training.scale import Scale
from vlmcourse.widgets.explorers.attention import AttentionFunction
from vlmcourse.widgets.explorers.scene import Ask
from vlmcourse.world import tokenizer

MOST = 8
"""Answers that are shown."""
CLS = "[CLS], the vector that stands for the whole picture"
"""What has the weight that no patch has."""


def _words(text: str) -> tuple[str, ...]:
    """Raises ValueError for an empty text and for unknown words."""
    tokenizer.encode([text])
    return tuple(tokenizer.split_words(text))


def _ids(text: str) -> Tensor:
    """<bos> and the words of a text that goes on, (1, T)."""
    return tokenizer.encode([text.strip()])[:, :-1]


def _patch_maps(weights: Mapping[str, Tensor], ending: str) -> Tensor:
    """The maps of all layers whose name ends so, over patches alone: {name: (1, H, Q, 1 + P)} -> (L, H, Q, P)."""
    return torch.cat([maps[..., 1:] for name, maps in weights.items() if name.endswith(ending)])


def occlusion_maps(model, image_prefix: str = "") -> AttentionFunction:
    """How much each word's log-probability falls when a square of the picture is grey: for any model with a vision_context."""

    def maps_of(pixel_values: Tensor, text: str) -> AttentionMaps:
        words, ids = _words(text), _ids(f"{image_prefix} {text}")
        side = pixel_values.shape[-1] // 4
        first = ids.shape[1] - len(words)
        likeliest: list[
            Tensor
        ] = []  # at each word: with the whole picture, then with each square covered

        def score(views: Tensor) -> Tensor:
            many = ids.expand(len(views), -1)
            log_probs = model(many, **model.vision_context(views)).log_softmax(-1)[
                :, first - 1 : -1
            ]
            likeliest.append(log_probs.argmax(-1))
            return log_probs.gather(-1, many[:, first:, None])[..., 0]  # (N, T)

        with eval_mode(model):
            maps = introspection.occlusion(score, pixel_values, side, side).clamp(min=0).T  # (T, P)
            with torch.no_grad():
                whole = score(pixel_values[None])[0].exp().tolist()
        named = tokenizer.world_tokenizer().convert_ids_to_tokens
        instead = tuple(tuple(named(row)) for row in likeliest[1].T.tolist())
        what = "how much the word's log-probability falls when a square of the picture is grey"
        return AttentionMaps(words, maps[None, None], what, "", "nats", tuple(whole), instead)

    return maps_of


def clip_maps(model, image_prefix: str = "") -> AttentionFunction:
    """Similarity of each word alone to each patch, as a softmax over patches at the learned scale. One layer, one head.

    CLIP is trained through its class token; that patches answer too is a by-product, and a weak one.
    """

    def maps_of(pixel_values: Tensor, text: str) -> AttentionMaps:
        words = _words(text)
        with eval_mode(model):
            tokens = model.vision.tokens(pixel_values[None])[0, 1:]
            patches = normalize(model.image_projection(tokens), dim=-1)
            vectors = model.encode_text(tokenizer.encode(words))
            maps = (model.logit_scale.exp() * vectors @ patches.T).softmax(-1)
        what = (
            "how alike the word alone and each square are: a softmax of scaled cosines. CLIP was trained on whole "
            "pictures and whole texts, so no square had to match a word"
        )
        return AttentionMaps(words, maps[None, None], what)

    return maps_of


def blip_maps(model, image_prefix: str = "") -> AttentionFunction:
    """Cross-attention of each word of a caption, in every layer and head."""

    def maps_of(pixel_values: Tensor, text: str) -> AttentionMaps:
        with eval_mode(model):
            context = model.vision_context(pixel_values[None])
        weights = introspection.attention_weights(model, lambda: model(_ids(text), **context))
        maps = _patch_maps(weights, ".cross")
        what = "cross-attention of the decoder's words to the squares"
        return AttentionMaps(("[DEC]", *_words(text)), maps, what, rest=CLS)

    return maps_of


def query_maps(model, image_prefix: str = "") -> AttentionFunction:
    """Cross-attention of each query of a Q-Former; the text plays no part: no query attends to it here."""

    def maps_of(pixel_values: Tensor, text: str) -> AttentionMaps:
        _words(text)
        with eval_mode(model):
            features = patch_features(model.vision, pixel_values[None])
        weights = introspection.attention_weights(
            model, lambda: model.qformer.query_states(features)
        )
        maps = _patch_maps(weights, ".cross_attention")
        what = "cross-attention of the queries to the squares; each hands one vector to the language model"
        names = tuple(f"query {index + 1}" for index in range(maps.shape[2]))
        return AttentionMaps(names, maps, what, rest=CLS)

    return maps_of


def flamingo_maps(model, image_prefix: str = "<image>") -> AttentionFunction:
    """Gated attention of each word to the latents, times the latents' attention in the resampler's last layer."""

    def maps_of(pixel_values: Tensor, text: str) -> AttentionMaps:
        words, ids = (image_prefix, *_words(text)), _ids(f"{image_prefix} {text}")
        weights = introspection.attention_weights(
            model, lambda: model(ids, **model.vision_context(pixel_values[None]))
        )
        last = [maps for name, maps in weights.items() if name.startswith("resampler")][-1]
        patches = last.shape[-1] - last.shape[-2] - 1  # keys: class token, patches, the latents
        latents = last.mean(1)[:, None, :, 1 : 1 + patches]  # (1, 1, R, P)
        to_latents = [maps for name, maps in weights.items() if name.startswith("blocks")]
        maps = (torch.cat(to_latents) @ latents)[:, :, 1:]  # (L, H, T, P)
        what = "each word's attention to the latents, multiplied by the latents' attention to the squares"
        return AttentionMaps(words, maps, what, rest=f"{CLS}, and on the latents themselves")

    return maps_of


@dataclass(frozen=True)
class ExploredModel:
    """A trained stage for the explorers.

    load          the model at a scale;  image_prefix  what stands in its text for a picture
    maps          (model, image_prefix) -> how each word uses the patches of a picture
    """

    load: Callable[[Scale], nn.Module]
    image_prefix: Callable[[nn.Module], str] = lambda model: ""
    maps: Callable[[nn.Module, str], AttentionFunction] = occlusion_maps


MODELS: dict[str, ExploredModel] = {
    "Flamingo": ExploredModel(
        lambda scale: recipes.get("flamingo").train_or_load(scale).model.model,
        lambda model: "<image>",
        flamingo_maps,
    ),
    "BLIP-2": ExploredModel(
        lambda scale: recipes.get("blip2").train_or_load(scale).model,
        lambda model: blip2.image_prefix(model.qformer.config.queries),
        query_maps,
    ),
    "BLIP": ExploredModel(
        lambda scale: (
            recipes.get("blip")
            .train_or_load(scale, vision=recipes.get("clip").train_or_load(scale).model.vision)
            .model
        ),
        maps=blip_maps,
    ),
    "Frozen": ExploredModel(
        lambda scale: recipes.get("frozen").train_or_load(scale).model, lambda model: IMAGE_PREFIX
    ),
    "CLIP": ExploredModel(
        lambda scale: recipes.get("clip").train_or_load(scale).model, maps=clip_maps
    ),
}


def attention_functions(scale: Scale | str | None = None) -> dict[str, AttentionFunction]:
    """{model: (pixel_values (3, S, S), text) -> AttentionMaps} of every row of MODELS."""
    models = {name: (row, row.load(Scale.of(scale))) for name, row in MODELS.items()}
    return {name: row.maps(model, row.image_prefix(model)) for name, (row, model) in models.items()}


def covering_functions(scale: Scale | str | None = None) -> dict[str, AttentionFunction]:
    """The same by covering squares, of each row of MODELS that has other maps and says words."""
    models = {
        name: (row, row.load(Scale.of(scale)))
        for name, row in MODELS.items()
        if row.maps is not occlusion_maps
    }
    return {
        name: occlusion_maps(model, row.image_prefix(model))
        for name, (row, model) in models.items()
        if hasattr(model, "vision_context")
    }


def answer_function(model, size: int, image_prefix: str = "", batch: int = 80) -> Ask:
    """(scenes, text) -> for each scene {answer: probability}: the likeliest next words, of a model with a vision_context.

    Another, such as CLIP, chooses among texts with commas between; a single one is compared with a generic text.
    batch  scenes at a time
    """

    def next_word(pixel_values: Tensor, text: str) -> Iterator[dict[str, float]]:
        ids = _ids(f"{image_prefix} {text}").expand(len(pixel_values), -1)
        rows = model(ids, **model.vision_context(pixel_values))[:, -1].softmax(-1)
        for row in rows:
            values, best = row.topk(MOST)
            words = tokenizer.world_tokenizer().convert_ids_to_tokens(best.tolist())
            yield dict(zip(words, values.tolist()))

    def which_text(pixel_values: Tensor, text: str) -> Iterator[dict[str, float]]:
        texts = [part.strip() for part in text.split(",") if part.strip()]
        texts = texts if len(texts) > 1 else [*texts, "a picture of a thing"]
        ids = tokenizer.encode(texts, model.config.context)
        for row in model.logits(pixel_values, ids).softmax(-1).tolist():
            yield dict(zip(texts, row))

    def answer(scenes: Sequence[world.Scene], text: str) -> list[dict[str, float]]:
        one_by_one = next_word if hasattr(model, "vision_context") else which_text
        found: list[dict[str, float]] = []
        with eval_mode(model):
            for start in range(0, len(scenes), batch):
                images = [world.render(scene, size) for scene in scenes[start : start + batch]]
                found += one_by_one(world.to_pixels(images), text)
        return found

    return answer


def answer_functions(scale: Scale | str | None = None) -> dict[str, Ask]:
    """{model: (scenes, text) -> [{answer: probability}]} of every row of MODELS."""
    size = Scale.of(scale)
    models = {name: (row, row.load(size)) for name, row in MODELS.items()}
    return {
        name: answer_function(model, size.image_size, row.image_prefix(model))
        for name, (row, model) in models.items()
    }


def pointing_scores(
    maps_of: AttentionFunction, scenes: Sequence[world.Scene], size: int
) -> dict[str, float]:
    """Do maps point at the thing? Of scenes of one thing, the mean over layers and heads at its noun (of queries: over all).

    weight at the noun             share of the map on squares of which the thing's box covers a quarter or more
    weight at the word before      the same for the map of the word before the noun; not for queries
    brightest square, at the noun  share of scenes whose brightest square is one of these
    by chance                      share of squares that these are: what a map that knows nothing would have
    """
    scores = []
    for scene in scenes:
        pixel_values = world.to_pixels([world.render(scene, size)])[0]
        noun = scene.words[0]
        found = maps_of(pixel_values, f"a picture of {world.article(noun)} on {scene.background}")
        maps = found.maps.float().mean((0, 1)).clamp(min=0)  # (rows, P)
        at = found.rows.index(noun) if noun in found.rows else None
        values = maps.mean(0) if at is None else maps[at]
        side = round(len(values) ** 0.5)
        x1, y1, x2, y2 = scene.things[0].box
        its = (_covered(y1, y2, side)[:, None] * _covered(x1, x2, side) >= 0.25).flatten()

        def weight(one: Tensor, its: Tensor = its) -> float:
            return (one[its].sum() / one.sum().clamp(min=1e-9)).item()

        before = {} if at is None else {"weight at the word before": weight(maps[at - 1])}
        scores.append(
            before
            | {
                "weight at the noun": weight(values),
                "brightest square, at the noun": float(its[values.argmax()]),
                "by chance": its.float().mean().item(),
            }
        )
    return {name: mean(score[name] for score in scores) for name in scores[0]}


def _covered(low: float, high: float, side: int) -> Tensor:
    """The share of each of `side` equal stretches of 0 to 1 that low to high covers, (side,)."""
    edges = torch.arange(side + 1) / side
    return (edges[1:].clamp(max=high) - edges[:-1].clamp(min=low)).clamp(min=0) * side


def noisy_captions(model: BLIP, scale: Scale, count: int = 64) -> tuple:
    """Web captions and BLIP's matching head: images (N, S, S, 3), texts, probability (N,) that they fit, noisy (N,), the truth."""
    web, indices = web_pairs(scale, count), list(range(count))
    batch = web.batch(indices)
    with eval_mode(model):
        context = model.vision_context(batch["pixel_values"])
        probability = model.itm_logits(batch["ids"], **context).softmax(-1)[:, 1]
    planted = [web.pairs.noise.is_noisy(index, web.pairs.seed) for index in indices]
    return web.pairs.images(indices), batch["text"], probability, torch.tensor(planted)
