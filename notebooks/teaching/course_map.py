"""Lesson 00, the map: its exercises, and what its cells draw and train."""

from __future__ import annotations

from dataclasses import replace

from teaching import course_map_answers as answers
from teaching import course_map_checks as checks
from teaching import course_map_score_checks as score_checks
from teaching import course_map_table_checks as table_checks
from teaching.exercises import Exercise, gradient_rule, pure_rule, rule
from vlmgrader.checks import driver_source

EXERCISES = {
    "cosine": Exercise(
        "Cosines compare directions: the lengths of the vectors have no effect.",
        (
            pure_rule(
                "cosine_similarity",
                checks.vectors_inputs,
                answers.cosine_similarity,
                checks.COSINE_MISTAKES,
                checks.CHANGED.format("a or b"),
            ),
            gradient_rule(
                "cosine_similarity",
                checks.vectors_inputs,
                answers.cosine_similarity,
                2,
                checks.NO_GRADIENT,
            ),
        ),
        reference=answers.cosine_similarity,
    ),
    "probabilities": Exercise(
        "A small temperature makes the distribution sharp.",
        (
            pure_rule(
                "class_probabilities",
                checks.cosines_inputs,
                answers.class_probabilities,
                checks.PROBABILITY_MISTAKES,
                checks.CHANGED.format("the cosines"),
            ),
            rule(
                "class_probabilities",
                checks.cold_inputs,
                answers.class_probabilities,
                checks.COLD_MISTAKES,
                explain=checks.explain_overflow,
            ),
            checks.probabilities_gradient(),
        ),
        reference=answers.class_probabilities,
    ),
    "zero_shot": Exercise(
        "That is a classifier without a single labelled image.",
        (
            replace(
                pure_rule(
                    "zero_shot",
                    checks.zero_shot_inputs,
                    answers.zero_shot,
                    checks.ZERO_SHOT_MISTAKES,
                    checks.CHANGED.format("its inputs"),
                ),
                rounds=6,
            ),
        ),
        reference=answers.zero_shot,
    ),
    "ranks": Exercise(
        "Retrieval is judged by these ranks.",
        (
            pure_rule(
                "ranks_of_matches",
                score_checks.similarity_inputs,
                answers.ranks_of_matches,
                score_checks.RANK_MISTAKES,
                checks.CHANGED.format("similarity"),
            ),
        ),
        reference=answers.ranks_of_matches,
    ),
    "recall": Exercise(
        "These are the numbers that papers print for retrieval.",
        (
            rule(
                "recall_at",
                score_checks.ranks_inputs,
                answers.recall_at,
                score_checks.RECALL_MISTAKES,
                driver=driver_source(score_checks.run_and_mark_tensors),
            ),
        ),
        reference=answers.recall_at,
    ),
    "controls": Exercise(
        "A score means something only beside these controls.",
        (
            pure_rule(
                "compare_with_controls",
                score_checks.controls_inputs,
                answers.compare_with_controls,
                score_checks.CONTROLS_MISTAKES,
                score_checks.CHANGED,
                score_checks.explain_controls,
            ),
        ),
        reference=answers.compare_with_controls,
    ),
    "count": Exercise(
        "Shared tensors count once, and frozen ones are told by requires_grad.",
        (
            rule(
                "count_parameters",
                table_checks.model_inputs,
                answers.count_parameters,
                table_checks.COUNT_MISTAKES,
            ),
        ),
        reference=answers.count_parameters,
    ),
    "query": Exercise(
        "The table answers questions now.",
        (
            rule(
                "systems_for",
                table_checks.query_inputs,
                answers.systems_for,
                table_checks.QUERY_MISTAKES,
            ),
        ),
        reference=answers.systems_for,
    ),
    "flavour": Exercise(
        "All systems are sorted as in this course.",
        (
            rule(
                "flavour_of",
                table_checks.names_inputs,
                lambda names: [answers.flavour_of(name) for name in names],
                driver=driver_source(table_checks.run_on_each),
                explain=table_checks.explain_flavour,
            ),
        ),
        reference=answers.flavour_of,
    ),
}
