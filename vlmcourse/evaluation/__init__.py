"""Metrics, each beside the controls that could refute it. Scores are fractions.

retrieval       R@k, near-duplicates
classification  zero-shot, probes, distribution shift
generation      the best of given choices, generated answers
vqa             exact match, VQA accuracy with the official normalisation
captioning      BLEU-4, CIDEr-D, exact scene-graph F1
ranking         MRR, NDCG, re-ranking
masked          masked words and regions, true captions beside false ones
prompting       solved examples: their number, order and truth
hallucination   POPE, nouns that the picture doesn't show
controls        blind and shuffled pictures, spread over seeds, verdicts
results         measured results in files
published       the papers' own numbers
directions      the lecture's directions, with our verdicts
"""

from vlmcourse.evaluation.captioning import (
    F1,
    bleu4,
    caption_facts,
    cider,
    noun_accuracy,
    noun_and_background_accuracy,
    rouge_l,
    scene_facts,
    scene_graph_f1,
)
from vlmcourse.evaluation.classification import (
    accuracy,
    class_embeddings,
    confusion,
    features,
    k_shot_probe,
    linear_probe,
    shift_curve,
    zero_shot,
)
from vlmcourse.evaluation.controls import (
    Controls,
    Spread,
    eval_mode,
    measure_controls,
    spread,
    verdict,
    verdict_of_equality,
)
from vlmcourse.evaluation.generation import (
    choose_next_token,
    generate_texts,
    next_token_probabilities,
    rank_choices,
)
from vlmcourse.evaluation.ranking import (
    bidirectional_retrieval,
    mrr,
    ndcg,
    ranking_metrics,
    ranks,
    recall_at_1,
    rerank,
)
from vlmcourse.evaluation.results import (
    load_matching_results,
    load_results,
    save_results,
    spread_over_seeds,
)
from vlmcourse.evaluation.retrieval import embed, near_duplicates, relevance, retrieval_recall
from vlmcourse.evaluation.vqa import exact_match, vqa_accuracy

__all__ = [
    "accuracy",
    "bleu4",
    "bidirectional_retrieval",
    "cider",
    "class_embeddings",
    "confusion",
    "Controls",
    "embed",
    "exact_match",
    "F1",
    "features",
    "recall_at_1",
    "k_shot_probe",
    "rank_choices",
    "next_token_probabilities",
    "linear_probe",
    "load_results",
    "eval_mode",
    "measure_controls",
    "load_matching_results",
    "mrr",
    "noun_and_background_accuracy",
    "ndcg",
    "choose_next_token",
    "noun_accuracy",
    "spread_over_seeds",
    "near_duplicates",
    "ranking_metrics",
    "ranks",
    "rerank",
    "relevance",
    "retrieval_recall",
    "save_results",
    "scene_graph_f1",
    "shift_curve",
    "rouge_l",
    "scene_facts",
    "Spread",
    "spread",
    "caption_facts",
    "generate_texts",
    "verdict",
    "verdict_of_equality",
    "vqa_accuracy",
    "zero_shot",
]
