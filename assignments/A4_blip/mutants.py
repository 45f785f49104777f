"""Plausible wrong answers of assignment 4: in the solution of a task, `old` becomes `new`; then this check must fail with
these words. (test id: [(old, new, check, words)])"""

DRAW = "probabilities of the negatives"
FILL = "weights.masked_fill(same[:, None] == same[None, :], 0)"
LABEL = "torch.cat([torch.ones_like(own), torch.zeros_like(own), torch.zeros_like(own)])"
CE = "cross_entropy(said, target.flatten(), label_smoothing=smoothing)"
STEP = "old.mul_(momentum).add_(new, alpha=1 - momentum)"
FOLLOW, LINE = "follow(slow, fast, momentum)", "enqueue(queue, place, new)"
CONTRAST, MATCH = (
    "contrast_logits(queries, text, temperature)",
    "match_logits(states, weight, bias)",
)
BEST = "cosines.amax(dim=-1) / temperature"
KEEP = 'source[place] == "human" or yes[place] > 0.5'
HEAD = "(states @ weight.T + bias).mean(dim=1)"
RULE = "    return rule & there[:, None, :]"

MUTANTS = {
    "a4-negatives-test": [
        ("same[:, None] == same[None, :]", "torch.eye(len(same)).bool()", DRAW, "is no negative"),
        (FILL, "weights", DRAW, "its own text"),
        (" + 1e-4", "", "a model that is sure", "0 / 0"),
        (
            " + 1e-4\n",
            "\n    weights = similarity.masked_fill(same[:, None] == same[None, :], float('-inf')).softmax(1)\n",
            DRAW,
            "the 1e-4 is missing",
        ),
        (" / weights.sum(dim=1, keepdim=True)", "", DRAW, "must sum to one"),
        ("softmax(dim=1)", "softmax(dim=0)", DRAW, "over the images"),
        (
            "similarity.softmax(dim=1) + 1e-4",
            "torch.ones_like(similarity)",
            DRAW,
            "as likely as the others",
        ),
        ("similarity.softmax(dim=1)", "(-similarity).softmax(dim=1)", DRAW, "least similar"),
        (
            "    return weights / weights.sum(dim=1, keepdim=True)",
            "    weights = similarity.softmax(1).masked_fill(same[:, None] == same[None, :], 0) + 1e-4\n    return weights / weights.sum(1, keepdim=True)",
            DRAW,
            "comes after the zeros",
        ),
    ],
    "a4-matching-test": [
        (LABEL, "1 - " + LABEL, "the three groups", "upside down"),
        (LABEL, "torch.ones(3 * len(own)).long()", "the three groups", "all labels are 1"),
        (
            LABEL,
            "torch.cat([torch.ones_like(own), torch.zeros_like(own), torch.ones_like(own)])",
            "the three groups",
            "third group",
        ),
        (
            "image = torch.cat([own, negative_image, own])\n    text = torch.cat([own, own, negative_text])",
            "image = torch.cat([own, negative_text, own])\n    text = torch.cat([own, own, negative_image])",
            "the three groups",
            "exchanged",
        ),
        (
            "image = torch.cat([own, negative_image, own])\n    text = torch.cat([own, own, negative_text])",
            "image = torch.cat([own, negative_image, negative_image])\n    text = torch.cat([own, negative_text, negative_text])",
            "the three groups",
            "one part of its own",
        ),
        (
            "return image, text, label",
            "return [x[:2 * len(own)] for x in (image, text, label)]",
            "the three groups",
            "own images with other texts",
        ),
        (
            "return image, text, label",
            "return [torch.cat([x[:len(own)], x[2 * len(own):]]) for x in (image, text, label)]",
            "the three groups",
            "other images with own texts",
        ),
        (
            "return image, text, label",
            "return [x[len(own):] for x in (image, text, label)]",
            "the three groups",
            "right pairs are missing",
        ),
        (
            "return image, text, label",
            "return image, text",
            "the three groups",
            "; expected (",
        ),
    ],
    "a4-lm-test": [
        (", label_smoothing=smoothing", "", "the loss", "no smoothing"),
        (
            "target = ids.masked_fill(~scored, -100)[:, 1:]\n    said = logits[:, :-1]",
            "target = ids.masked_fill(~scored, -100)\n    said = logits",
            "the loss",
            "already read",
        ),
        (
            "ids.masked_fill(~scored, -100)[:, 1:]",
            "ids[:, 1:]",
            "the loss",
            "the prompt and the padding",
        ),
        ("label_smoothing=smoothing", "label_smoothing=1 - smoothing", "the loss", "exchanged"),
        (
            "label_smoothing=smoothing",
            "label_smoothing=smoothing, reduction='sum'",
            "the loss",
            "that is the sum",
        ),
        ("return cross", "return -cross", "the loss", "the sign"),
        (
            CE,
            "(1 - smoothing) * cross_entropy(said, target.flatten())",
            "the loss",
            "second part is missing",
        ),
        (
            "ids.masked_fill(~scored, -100)[:, 1:]",
            "ids[:, 1:].masked_fill(~scored[:, :-1], -100)",
            "the loss",
            "not right",
        ),
        (
            "label_smoothing=smoothing",
            "label_smoothing=smoothing * logits.shape[-1] / (logits.shape[-1] - 1)",
            "the loss",
            "V - 1",
        ),
    ],
    "a4-momentum-test": [
        (STEP, "old.mul_(1 - momentum).add_(new, alpha=momentum)", FOLLOW, "exchanged"),
        (STEP, "old = momentum * old + (1 - momentum) * new", FOLLOW, "nothing changes"),
        (STEP, "old.copy_(new)", FOLLOW, "a copy of the fast"),
        (
            STEP,
            "new.mul_(momentum).add_(old, alpha=1 - momentum)",
            FOLLOW,
            "fast parameters change",
        ),
        (STEP, STEP + "\n            new.copy_(old)", FOLLOW, "fast parameters change, too"),
        (STEP, "old.mul_(momentum).add_(new)", FOLLOW, "counts whole"),
        (STEP, STEP + "\n            break", FOLLOW, "only the first"),
        ("    with torch.no_grad():\n", "    if True:\n", FOLLOW, "got a graph"),
        (" % len(queue)", "", LINE, "raised RuntimeError"),
        (
            "queue[place:place + len(new)] = new",
            "queue = torch.cat([queue, new])",
            LINE,
            "found shape",
        ),
        (
            "queue[place:place + len(new)] = new",
            "queue[place:place + len(new)].clone().copy_(new)",
            LINE,
            "doesn't change",
        ),
        ("(place + len(new)) % len(queue)", "place", LINE, "doesn't move on"),
        (
            "queue[place:place + len(new)] = new",
            "queue = torch.cat([queue, new])[-len(queue):]",
            LINE,
            "everything is shifted",
        ),
    ],
    "a4-soft-test": [
        (
            "alpha * similarity.softmax(dim=1) + (1 - alpha) * hard",
            "(1 - alpha) * similarity.softmax(dim=1) + alpha * hard",
            "the targets",
            "exchanged",
        ),
        (
            "alpha * similarity.softmax(dim=1) + (1 - alpha) * hard",
            "hard",
            "the targets",
            "only the hard",
        ),
        (
            "alpha * similarity.softmax(dim=1) + (1 - alpha) * hard",
            "similarity.softmax(dim=1)",
            "the targets",
            "only the soft",
        ),
        (".softmax(dim=1)", "", "the targets", "softmax is missing"),
        ("softmax(dim=1)", "softmax(dim=0)", "the targets", "over the images"),
        ("(1 - alpha) * hard", "hard", "the targets", "1 + alpha"),
        (
            "    hard =",
            "    similarity = similarity[:, :len(similarity)]\n    hard =",
            "the targets",
            "queue is missing",
        ),
        (
            "torch.eye(*similarity.shape)",
            "torch.full(similarity.shape, 1 / similarity.shape[1])",
            "the targets",
            "spread over all",
        ),
        (
            "torch.eye(*similarity.shape)",
            "torch.eye(*similarity.shape).roll(similarity.shape[1] - len(similarity), 1)",
            "the targets",
            "last B columns",
        ),
    ],
    "a4-masks-test": [
        (RULE, "    return rule.expand(B, -1, -1).clone()", "mask of 'match'", "padding is seen"),
        (RULE, "    return ~(rule & there[:, None, :])", "mask of 'contrast'", "upside down"),
        (RULE, "    return rule & there[:, :, None]", "mask of 'contrast'", "transpose"),
        (
            RULE,
            "    return rule & there[:, None, :] & there[:, :, None]",
            "mask of 'contrast'",
            "only columns",
        ),
        (
            RULE,
            "    return (rule & there[:, None, :])[:1].expand(B, -1, -1)",
            "mask of 'match'",
            "mask of the first",
        ),
        (
            "torch.cat([torch.ones(B, queries, dtype=torch.bool), real], dim=1)",
            "torch.cat([real, torch.ones(B, queries, dtype=torch.bool)], dim=1)",
            "mask of 'match'",
            "not right",
        ),
        (
            "is_text[None, :] == is_text[:, None]",
            "is_text[None, :] <= is_text[:, None]",
            "mask of 'contrast'",
            "not right",
        ),
        ('if task == "contrast"', 'if task == "match"', "mask of 'contrast'", "mask of generation"),
        (
            "rule = torch.ones(queries + T, queries + T, dtype=torch.bool)",
            "rule = is_text[None, :] == is_text[:, None]",
            "mask of 'match'",
            "mask of contrast",
        ),
        (
            "torch.cat([torch.zeros(queries), torch.arange(1, T + 1)])",
            "torch.arange(queries + T)",
            "mask of 'generate'",
            "queries are causal",
        ),
        (
            "torch.cat([torch.zeros(queries), torch.arange(1, T + 1)])",
            "is_text.long()",
            "mask of 'generate'",
            "its own future",
        ),
        (
            "torch.cat([torch.zeros(queries), torch.arange(1, T + 1)])",
            "torch.zeros(queries + T)",
            "mask of 'generate'",
            "and with it the answer",
        ),
        (
            "rule = level[None, :] <= level[:, None]",
            "rule = (level[None, :] <= level[:, None]) & (is_text[None, :] == is_text[:, None])",
            "mask of 'generate'",
            "not right",
        ),
    ],
    "a4-scores-test": [
        ("amax(dim=-1)", "mean(dim=-1)", CONTRAST, "mean over queries"),
        ("amax(dim=-1)", "amin(dim=-1)", CONTRAST, "worst query"),
        ("amax(dim=-1)", "sum(dim=-1)", CONTRAST, "sum over queries"),
        (".amax(dim=-1)", "[..., 0]", CONTRAST, "first query"),
        (" / temperature", " * temperature", CONTRAST, "multiplied"),
        (" / temperature", "", CONTRAST, "no temperature"),
        (BEST, BEST.replace(" /", ".T /"), CONTRAST, "transpose"),
        (
            "normalize(queries, dim=-1), normalize(text, dim=-1)",
            "queries, text",
            CONTRAST,
            "not normalised",
        ),
        ("normalize(text, dim=-1)", "text", CONTRAST, "text is not normalised"),
        (
            "normalize(queries, dim=-1)",
            "normalize(queries.mean(1, keepdim=True), dim=-1)",
            CONTRAST,
            "averaged before",
        ),
        (HEAD, HEAD.replace("mean", "amax"), MATCH, "maximum over queries"),
        (HEAD, HEAD.replace("mean", "sum"), MATCH, "sum over queries"),
        (".mean(dim=1)", "[:, 0]", MATCH, "first query"),
        (" + bias", "", MATCH, "bias is missing"),
        (HEAD, HEAD + ".softmax(-1)", MATCH, "these are probabilities"),
        (HEAD, "(states @ weight.T + bias).softmax(-1).mean(1)", MATCH, "average the logits"),
        (".mean(dim=1)", "", MATCH, "one pair of logits per query"),
    ],
    "a4-capfilt-test": [
        (KEEP, "yes[place] > 0.5", "keep(scores, source)", "whatever the filter thinks"),
        (
            "scores.softmax(dim=1)[:, 1].tolist()",
            "(scores[:, 1] + 0.5).tolist()",
            "keep(scores, source)",
            "compared with 0",
        ),
        (
            "scores.softmax(dim=1)[:, 1]",
            "scores[:, 1]",
            "keep(scores, source)",
            "compared with 0.5",
        ),
        ("[:, 1]", "[:, 0]", "keep(scores, source)", "column 1 is yes"),
        ("if " + KEEP, "if not (" + KEEP + ")", "keep(scores, source)", "to throw away"),
        (
            KEEP,
            'source[place] == "human" or (source[place] == "web" and yes[place] > 0.5)',
            "keep(scores, source)",
            "all synthetic captions are gone",
        ),
        (
            KEEP,
            'source[place] != "web" or yes[place] > 0.5',
            "keep(scores, source)",
            "are not filtered",
        ),
        (
            KEEP,
            'source[place] != "human" and yes[place] > 0.5',
            "keep(scores, source)",
            "human captions are missing",
        ),
        (KEEP, "True", "keep(scores, source)", "everything is kept"),
        (
            "return right / len(kept), right / sum(good)",
            "return right / sum(good), right / len(kept)",
            "quality(kept, good)",
            "precision comes first",
        ),
        (
            "return right / len(kept), right / sum(good)",
            "return right / len(good), right / len(good)",
            "quality(kept, good)",
            "divide by the number kept",
        ),
        ("right / sum(good)", "right / len(kept)", "quality(kept, good)", "fraction of all good"),
    ],
}
