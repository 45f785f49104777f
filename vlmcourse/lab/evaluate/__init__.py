"""What a model is worth: measured, beside the controls that could refute it. Scores are fractions.

seeing      retrieval, zero-shot classification, probes, shift, overlap
saying      the next word among choices, open answers, VQA accuracy
describing  captions: BLEU-4, CIDEr-D, exact F1 of what is said
ranking     MRR, NDCG, ranks, re-ranking
filling     masked words and regions, true captions beside false ones
probing     hallucination, order and choice of examples, spoilt examples: a module of its own
evidence    blind and shuffled pictures, chance, spread over seeds; results that are kept
"""

from vlmcourse.lab.evaluate.describing import F1, bleu4, cider, named_rightly, nouns_right, scene_graph_f1, shown, stated
from vlmcourse.lab.evaluate.evidence import (
    Controls,
    Spread,
    controls,
    looking,
    measured_before,
    over_seeds,
    results,
    spread,
    write_results,
)
from vlmcourse.lab.evaluate.ranking import both_ways, first, mrr, ndcg, ranked, ranks, rerank
from vlmcourse.lab.evaluate.saying import exact, likeliest, likely_next, next_words, texts, vqa_accuracy
from vlmcourse.lab.evaluate.seeing import (
    accuracy,
    class_embeddings,
    confusion,
    embed,
    features,
    k_shot_probe,
    linear_probe,
    overlap,
    retrieval,
    shift_curve,
    zero_shot,
)

__all__ = ["Controls", "F1", "Spread", "accuracy", "bleu4", "both_ways", "cider", "class_embeddings", "confusion", "controls",
           "embed", "exact", "features", "first", "k_shot_probe", "likeliest", "likely_next", "linear_probe", "looking",
           "measured_before", "mrr", "named_rightly", "ndcg", "next_words", "nouns_right", "over_seeds", "overlap", "ranked",
           "ranks", "rerank", "results", "retrieval", "scene_graph_f1", "shift_curve", "shown", "spread", "stated", "texts", "vqa_accuracy",
           "write_results", "zero_shot"]
