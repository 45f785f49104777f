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
    cider,
    named_rightly,
    nouns_right,
    scene_graph_f1,
    shown,
    stated,
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
from vlmcourse.evaluation.controls import Controls, Spread, looking, measure_controls, spread
from vlmcourse.evaluation.generation import likeliest, likely_next, next_words, texts
from vlmcourse.evaluation.ranking import both_ways, first, mrr, ndcg, ranked, ranks, rerank
from vlmcourse.evaluation.results import load_results, measured_before, over_seeds, save_results
from vlmcourse.evaluation.retrieval import embed, overlap, retrieval_recall
from vlmcourse.evaluation.vqa import exact, vqa_accuracy

__all__ = [
    "accuracy",
    "bleu4",
    "both_ways",
    "cider",
    "class_embeddings",
    "confusion",
    "Controls",
    "embed",
    "exact",
    "F1",
    "features",
    "first",
    "k_shot_probe",
    "likeliest",
    "likely_next",
    "linear_probe",
    "load_results",
    "looking",
    "measure_controls",
    "measured_before",
    "mrr",
    "named_rightly",
    "ndcg",
    "next_words",
    "nouns_right",
    "over_seeds",
    "overlap",
    "ranked",
    "ranks",
    "rerank",
    "retrieval_recall",
    "save_results",
    "scene_graph_f1",
    "shift_curve",
    "shown",
    "Spread",
    "spread",
    "stated",
    "texts",
    "vqa_accuracy",
    "zero_shot",
]
