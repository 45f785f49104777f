"""Lesson 02, CLIP's two towers: its exercises. What each likely mistake would give is in clip_images, clip_pooling,
clip_texts, clip_objective and clip_retrieval."""

from __future__ import annotations

from functools import partial

from teaching import clip_images as images
from teaching import clip_objective as objective
from teaching import clip_pooling as pooling
from teaching import clip_retrieval as retrieval
from teaching import clip_texts as texts
from teaching.exercises import Exercise, gradient_rule, number_rule, rule, rule_on
from vlmgrader.checks import driver_source

NO_GRADIENT = (
    "the values are right, but they have no gradient, so nothing can be trained through them: "
    "no .item(), .detach(), .numpy() or torch.tensor(...)."
)

EXERCISES = {
    "collect": Exercise(
        "Each pair once, at most so many of a query, most relevant first.",
        (
            rule(
                "collect",
                images.candidates_inputs,
                images.collect,
                images.COLLECT,
                rounds=6,
            ),
        ),
        reference=images.collect,
    ),
    "patchify": Exercise(
        "Row by row, channel by channel: the input of ViT's linear projection.",
        (
            rule("patchify", images.pixels_inputs, images.patchify, images.PATCHIFY),
            gradient_rule("patchify", images.pixels_inputs, images.patchify, 1, NO_GRADIENT),
        ),
        reference=images.patchify,
    ),
    "image_tokens": Exercise(
        "One class token, P patches, and a position for each of them.",
        (
            rule("image_tokens", images.tokens_inputs, images.image_tokens, images.TOKENS),
            gradient_rule(
                "image_tokens", images.tokens_inputs, images.image_tokens, 4, NO_GRADIENT
            ),
        ),
        reference=images.image_tokens,
    ),
    "attention_pool": Exercise(
        "The mean token asks, all tokens answer, head by head.",
        (
            rule("attention_pool", pooling.pool_inputs, pooling.attention_pool, pooling.POOL),
            gradient_rule(
                "attention_pool", pooling.pool_inputs, pooling.attention_pool, 6, NO_GRADIENT
            ),
        ),
        reference=pooling.attention_pool,
    ),
    "text_features": Exercise(
        "The first end token's state, and an error for a text without one.",
        (
            rule("text_features", texts.texts_inputs, texts.text_features, texts.END),
            rule(
                "text_features",
                texts.cut_inputs,
                lambda s, ids, cut, end: [texts.text_features(s, ids, end), "ValueError"],
                {
                    f"a text without an end token gives {happened}: raise a ValueError that says so.": (
                        lambda s, ids, cut, end, kind=kind: [
                            texts.text_features(s, ids, end),
                            kind,
                        ]
                    )
                    for happened, kind in (
                        ("some state and no error", "no error"),
                        ("an IndexError", "IndexError"),
                        ("a RuntimeError", "RuntimeError"),
                        ("an AssertionError", "AssertionError"),
                    )
                },
                driver=driver_source(texts.run_without_end),
            ),
            gradient_rule("text_features", texts.texts_inputs, texts.text_features, 1, NO_GRADIENT),
        ),
        reference=texts.text_features,
    ),
    "text_parameters": Exercise(
        "Embeddings, positions, blocks, and one LayerNorm more.",
        (
            rule(
                "text_parameters",
                texts.sizes_inputs,
                texts.text_parameters,
                texts.PARAMETERS,
            ),
        ),
        reference=texts.text_parameters,
    ),
    "symmetric_loss": Exercise(
        "Both directions, unit vectors, the exponential of the logit scale, and a gradient for all three.",
        (
            rule(
                "symmetric_loss",
                objective.loss_inputs,
                objective.as_float(),
                objective.LOSS,
                hidden=(
                    partial(objective.loss_inputs, size=3),
                    partial(objective.loss_inputs, size=11),
                ),
            ),
            rule(
                "symmetric_loss",
                partial(objective.loss_inputs, lowest=4.8),
                objective.as_float(),
                objective.LARGE_SCALE,
            ),
            gradient_rule(
                "symmetric_loss", objective.loss_inputs, objective.symmetric_loss, 3, NO_GRADIENT
            ),
        ),
        reference=objective.symmetric_loss,
    ),
    "train_step": Exercise(
        "Gradients of this batch alone, and a scale between 1 and 100 after each step.",
        (
            rule_on(
                "train_step",
                objective.step_inputs,
                objective.steps_by(),
                objective.STEP,
                driver=driver_source(objective.run_train_steps),
            ),
        ),
        reference=objective.train_step,
    ),
    "recall_at_k": Exercise(
        "A model that finds all texts equally similar scores 0, as it should.",
        (
            rule(
                "recall_at_k",
                retrieval.sorted_inputs,
                retrieval.recall_at_k,
                retrieval.RECALL,
                explain=retrieval.ties_by_accident,
                rounds=6,
            ),
            rule(
                "recall_at_k",
                retrieval.constant_inputs,
                retrieval.recall_at_k,
                {
                    "all similarities are equal here, and ties count against the model.": lambda s, k: (
                        1.0
                    )
                },
            ),
            number_rule("recall_at_k", retrieval.constant_inputs),
        ),
        reference=retrieval.recall_at_k,
    ),
    "zero_shot": Exercise(
        "The class names, written as captions, are the weights of the classifier.",
        (
            rule(
                "zero_shot",
                texts.classes_inputs,
                texts.classified_by(),
                texts.ZERO_SHOT,
                driver=driver_source(texts.run_zero_shot),
            ),
        ),
        reference=texts.zero_shot,
    ),
}
