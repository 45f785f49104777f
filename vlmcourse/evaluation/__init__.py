"""What a model is worth: measured, beside the controls that could refute it. Scores are fractions.

seeing      retrieval, zero-shot classification, probes, shift, overlap
saying      the next word among choices, open answers, VQA accuracy
describing  captions: BLEU-4, CIDEr-D, exact F1 of what is said
ranking     MRR, NDCG, ranks, re-ranking
filling     masked words and regions, true captions beside false ones
probing     hallucination, order and choice of examples, spoilt examples: a module of its own
evidence    blind and shuffled pictures, chance, spread over seeds; results that are kept
"""

from vlmcourse.evaluation.captioning import (
    F1,
    bleu4,
    caption_facts,
    cider,
    noun_accuracy,
    noun_and_background_accuracy,
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
from vlmcourse.evaluation.controls import Controls, Spread, eval_mode, measure_controls, spread
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
    "scene_facts",
    "Spread",
    "spread",
    "caption_facts",
    "generate_texts",
    "vqa_accuracy",
    "zero_shot",
]
