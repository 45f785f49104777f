"""What the explorers play with: the course's trained stages as plain functions, and what each of them looked at.

Every stage is trained now, or found in the cache: at scale smoke that takes seconds, at laptop as long as the lessons that
train them. `widgets.explorers` shows them; it knows of functions only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlmcourse import introspection, recipes, world
from vlmcourse.evaluation import next_token_probabilities, eval_mode
from vlmcourse.introspection import AttentionMaps
from vlmcourse.papers.blip import BLIP
from vlmcourse.papers.flamingo import Flamingo
from vlmcourse.parts.image_features import patch_features
from vlmcourse.parts.language import logits, next_token_loss
from vlmcourse.recipes.blip2 import image_prefix
from teaching.capfilt import CapFilt
from vlmcourse.recipes.flamingo import DATASET_WEIGHTS, FeatureCache
from vlmcourse.recipes.frozen import IMAGE_PREFIX, generate_sentences
from vlmcourse.training.scale import Scale
from vlmcourse.training.stages import TrainedStage
from vlmcourse.world import interleaved, prompts, tokenizer
from vlmcourse.world.pages import Part

Look = Callable[[Tensor, str], AttentionMaps]
Ask = Callable[[world.Scene, str], Mapping[str, float]]
MOST = 8
"""Answers that are shown."""


def _words(text: str) -> tuple[str, ...]:
    """Raises ValueError for an empty text and for unknown words."""
    tokenizer.encode([text])
    return tuple(tokenizer.split_words(text))


def _grids(found: Mapping[str, Tensor], ending: str) -> Tensor:
    """The maps of all layers whose name ends so, over patches alone: {name: (1, H, Q, 1 + P)} -> (L, H, Q, P)."""
    return torch.cat([weights[..., 1:] for name, weights in found.items() if name.endswith(ending)])


def look_clip(model) -> Look:
    """Similarity: of each word alone to each patch, as a softmax over patches at the learned scale. One layer, one head.

    CLIP is trained through its class token; that patches answer too is a by-product, and a weak one.
    """

    def look(pixel_values: Tensor, text: str) -> AttentionMaps:
        words = _words(text)
        with eval_mode(model):
            patches = normalize(
                model.image_projection(model.vision.tokens(pixel_values[None])[0, 1:]), dim=-1
            )
            said = model.encode_text(tokenizer.encode(words))
            maps = (model.logit_scale.exp() * said @ patches.T).softmax(-1)
        return AttentionMaps(
            words, maps[None, None], "softmax over patches of scaled cosines with the word"
        )

    return look


def look_blip(model) -> Look:
    """Cross-attention of each word of a caption, in every layer and head."""

    def look(pixel_values: Tensor, text: str) -> AttentionMaps:
        words = _words(text)
        with eval_mode(model):
            seen = model.vision_context(pixel_values[None])
        found = introspection.attention_weights(
            model, lambda: model(tokenizer.encode([text])[:, :-1], **seen)
        )
        return AttentionMaps(
            ("[DEC]", *words), _grids(found, ".cross"), "cross-attention of the decoder's words"
        )

    return look


def look_queries(model) -> Look:
    """Cross-attention of each query of a Q-Former; the text plays no part: the queries look before they hear of any."""

    def look(pixel_values: Tensor, text: str) -> AttentionMaps:
        _words(text)
        with eval_mode(model):
            seen = patch_features(model.vision, pixel_values[None])
        found = introspection.attention_weights(model, lambda: model.qformer.query_states(seen))
        maps = _grids(found, ".cross_attention")
        return AttentionMaps(
            tuple(f"query {number + 1}" for number in range(maps.shape[2])),
            maps,
            "cross-attention of the queries",
        )

    return look


def look_flamingo(model: Flamingo) -> Look:
    """Gated attention of each word to the latents, times what the latents looked at in the resampler's last layer."""

    def look(pixel_values: Tensor, text: str) -> AttentionMaps:
        words = ("<image>", *_words(text))
        ids = tokenizer.encode([f"<image> {text}"])[:, :-1]
        found = introspection.attention_weights(
            model, lambda: model(ids, **model.vision_context(pixel_values[None]))
        )
        last = list(weights for name, weights in found.items() if name.startswith("resampler"))[-1]
        patches = (
            last.shape[-1] - last.shape[-2] - 1
        )  # keys: class token, patches, then the latents themselves
        latents = last.mean(1)[:, None, :, 1 : 1 + patches]  # (1, 1, R, P)
        asked = torch.cat(
            [weights for name, weights in found.items() if name.startswith("blocks")]
        )  # (L, H, T, R)
        return AttentionMaps(
            words,
            (asked @ latents)[:, :, 1:],
            "gated attention to latents, times the latents' to patches",
        )

    return look


def look_frozen(model) -> Look:
    """Occlusion: how much each word's log-probability falls when a square of the picture is grey.

    A prefix has no patches to look at: what was a picture is two vectors by then. So the cause is measured instead.
    """
    side = model.config.image_size // 4

    def look(pixel_values: Tensor, text: str) -> AttentionMaps:
        words = _words(text)
        ids = tokenizer.encode([f"{IMAGE_PREFIX} {text}"])[:, :-1]
        first = ids.shape[1] - len(words)

        def score(views: Tensor) -> Tensor:
            many = ids.expand(len(views), -1)
            said = model(many, **model.vision_context(views)).log_softmax(-1)
            return said[:, first - 1 : -1].gather(-1, many[:, first:, None])[..., 0]  # (N, T)

        with eval_mode(model):
            maps = introspection.occlusion(score, pixel_values, side, side).clamp(min=0).T  # (T, P)
        return AttentionMaps(
            words, maps[None, None], "fall of the word's log-probability when a square is covered"
        )

    return look


def seeing_blip(size: Scale) -> BLIP:
    """Lesson 06's, whose image tower began as the CLIP stage's."""
    return (
        recipes.get("blip")
        .train_or_load(size, vision=recipes.get("clip").train_or_load(size).model.vision)
        .model
    )


def lookers(scale: Scale | str | None = None) -> dict[str, Look]:
    """{model: (pixel_values (3, S, S), text) -> Looked}, of five papers."""
    size = Scale.of(scale)
    return {
        "Flamingo: gated": look_flamingo(recipes.get("flamingo").train_or_load(size).model.model),
        "Q-Former: queries": look_queries(recipes.get("blip2_stage1").train_or_load(size).model),
        "BLIP: cross-attention": look_blip(seeing_blip(size)),
        "Frozen: prefix": look_frozen(recipes.get("frozen").train_or_load(size).model),
        "CLIP: similarity": look_clip(recipes.get("clip").train_or_load(size).model),
    }


def on_the_thing(look: Look, scenes: Sequence[world.Scene], size: int) -> dict[str, float]:
    """Do maps point at the thing? Of scenes of one thing, the mean over layers and heads at its noun (of queries: over all).

    weight on it     share of the map on squares of which the thing's box covers a quarter or more
    brightest on it  share of scenes whose brightest square is one of these
    its squares      share of squares that these are: what a map that knows nothing would have
    """
    found = []
    for scene in scenes:
        pixel_values = world.to_pixels([world.render(scene, size)])[0]
        looked = look(
            pixel_values, f"a picture of {world.article(scene.words[0])} on {scene.background}"
        )
        maps = looked.maps.float().mean((0, 1)).clamp(min=0)  # (rows, P)
        seen = (
            maps[looked.rows.index(scene.words[0])]
            if scene.words[0] in looked.rows
            else maps.mean(0)
        )
        side = round(len(seen) ** 0.5)
        edges = torch.arange(side + 1) / side
        x1, y1, x2, y2 = scene.things[0].box

        def covered(low: float, high: float) -> Tensor:
            return (edges[1:].clamp(max=high) - edges[:-1].clamp(min=low)).clamp(
                min=0
            ) * side  # (side,)

        its = (covered(y1, y2)[:, None] * covered(x1, x2) >= 0.25).flatten()
        found.append(
            [
                (seen[its].sum() / seen.sum().clamp(min=1e-9)).item(),
                float(its[seen.argmax()]),
                its.float().mean().item(),
            ]
        )
    return dict(
        zip(
            ("weight on it", "brightest on it", "its squares"), torch.tensor(found).mean(0).tolist()
        )
    )


def _top(found: Tensor) -> dict[str, float]:
    """The likeliest words of logits (V,)."""
    values, numbers = found.softmax(-1).topk(MOST)
    return dict(
        zip(tokenizer.world_tokenizer().convert_ids_to_tokens(numbers.tolist()), values.tolist())
    )


def ask_clip(model) -> Ask:
    """Texts with commas between: which one fits? A single one is compared with a generic text."""

    def ask(scene: world.Scene, text: str) -> dict[str, float]:
        texts = [one.strip() for one in text.split(",") if one.strip()]
        texts = texts if len(texts) > 1 else [*texts, "a picture of a thing"]
        pixel_values = world.to_pixels([world.render(scene, model.config.image_size)])
        with eval_mode(model):
            return dict(
                zip(
                    texts,
                    model.logits(pixel_values, tokenizer.encode(texts, model.config.context))
                    .softmax(-1)[0]
                    .tolist(),
                )
            )

    return ask


def ask_blip(model) -> Ask:
    """The next word of a caption."""

    def ask(scene: world.Scene, text: str) -> dict[str, float]:
        pixel_values = world.to_pixels([world.render(scene, model.config.image_size)])
        with eval_mode(model):
            return _top(
                model(tokenizer.encode([text])[:, :-1], **model.vision_context(pixel_values))[0, -1]
            )

    return ask


def ask_prefixed(model, size: int, stands: str) -> Ask:
    """The next word after a picture and a text. stands: what stands in the text for a picture."""

    def ask(scene: world.Scene, text: str) -> dict[str, float]:
        return next_token_probabilities(
            model,
            prompts.Prompts([(scene, " ".join(tokenizer.split_words(text)))], size, stands),
            MOST,
        )[0]

    return ask


def ask_flamingo(model: Flamingo, size: int) -> Ask:
    """The next word after a picture and a text."""

    def ask(scene: world.Scene, text: str) -> dict[str, float]:
        return next_token_probabilities(
            model,
            interleaved.chunked_prompts([(scene, " ".join(tokenizer.split_words(text)))], size),
            MOST,
        )[0]

    return ask


def askers(scale: Scale | str | None = None) -> dict[str, Ask]:
    """{model: (scene, text) -> {answer: probability}}. Four go on with the text, CLIP chooses among texts with commas between."""
    size = Scale.of(scale)
    second = recipes.get("blip2").train_or_load(size).model
    return {
        "BLIP": ask_blip(seeing_blip(size)),
        "Frozen": ask_prefixed(
            recipes.get("frozen").train_or_load(size).model, size.image_size, IMAGE_PREFIX
        ),
        "BLIP-2": ask_prefixed(
            second, size.image_size, image_prefix(second.qformer.config.queries)
        ),
        "Flamingo": ask_flamingo(
            recipes.get("flamingo").train_or_load(size).model.model, size.image_size
        ),
        "CLIP": ask_clip(recipes.get("clip").train_or_load(size).model),
    }


def naming(
    model: Flamingo, size: int
) -> Callable[[Sequence[Sequence[Part]], Sequence[str]], list[dict[str, float]]]:
    """(prompts, names) -> for each prompt {name: probability among these names} of the next word."""

    def answer(asked: Sequence[Sequence[Part]], names: Sequence[str]) -> list[dict[str, float]]:
        made = interleaved.chunked_prompts(asked, size).batch(range(len(asked)))
        with eval_mode(model):
            said = model(
                made["ids"],
                padding_mask=made["padding_mask"],
                **model.vision_context(made["pixel_values"]),
            )[:, -1]
        found = said[:, tokenizer.encode(names)[:, 1]].softmax(-1)
        return [dict(zip(names, row)) for row in found.tolist()]

    return answer


def going_on(model: Flamingo, scenes: Sequence[world.Scene], size: int, most: int = 10):
    """(number of a scene, text) -> ({next word: probability}, what the model writes, greedily)."""

    def ask(number: int, text: str) -> tuple[dict[str, float], str]:
        asked = interleaved.chunked_prompts(
            [(scenes[number], " ".join(tokenizer.split_words(text)))], size
        )
        return next_token_probabilities(model, asked, MOST)[0], generate_sentences(
            model, asked, most
        )[0]

    return ask


def gate_trace(
    trained: TrainedStage, batch: dict, source: str = "described", records: int = 60
) -> dict:
    """What a Flamingo stage noted while it trained: `steps`, `gates`, `loss` of one data set, and `blind`, for play's Replay.

    batch    held-out pages of that data set, for the loss with the gates shut
    records  at most so many steps, evenly spaced, with the last one
    """
    model = trained.model.model
    every = max(1, len(trained.history) // records)
    chosen = [step for step in trained.history if step.step % every == 0 or step.step == step.steps]
    opened = trained.model.gates_by_step()
    with eval_mode(model):
        ids = batch["ids"]
        said = logits(
            model.lm, model.embed(ids)
        )  # no media: the blocks are passed by, as with gates at 0
        blind = next_token_loss(said, ids, batch["loss_mask"]).item()
    return {
        "steps": tuple(step.step for step in chosen),
        "gates": {
            name: tuple(values[step.step - 1] for step in chosen) for name, values in opened.items()
        },
        "loss": tuple(step.losses[source] / DATASET_WEIGHTS[source] for step in chosen),
        "blind": blind,
    }


def gate_pages(trained: TrainedStage, scale: Scale, split: str = "test", count: int = 16) -> dict:
    """A batch of held-out descriptions as the model reads them: `ids`, `loss_mask`, `features`."""
    see = FeatureCache(trained.model.model.vision, scale.image_size)
    web = interleaved.WebPages(split)
    return interleaved.PageDataset(web.described, see).batch(range(count))


def noisy_captions(made: CapFilt, count: int = 96) -> tuple:
    """Web captions before a filter: images (N, S, S, 3), texts, probability (N,) that they fit, noisy (N,), the truth."""
    indices = [number for number, _ in made.web.rows[:count]]
    batch = made.web.batch(range(len(indices)))
    with eval_mode(made.filter):
        probability = made.filter.blip.itm_logits(
            batch["ids"], **made.filter.blip.vision_context(batch["pixel_values"])
        ).softmax(-1)[:, 1]
    planted = torch.tensor(
        [made.web.pairs.noise.is_noisy(number, made.web.pairs.seed) for number in indices]
    )
    return made.web.pairs.images(indices), batch["text"], probability, planted
