"""Plausible wrong answers of assignment 4: in the solution of a task, `old` becomes `new`; then this check must fail with
these words. (test id: [(old, new, check, words)])"""

DRAW, NOTHING = "probabilities of the wrong texts", "a row with nothing to draw"
BEFORE = "similarities.masked_fill(~exists, -math.inf).softmax(1) + 1e-4"
SHARE = "weights / total.where(total > 0, 1.0)"
WEIGHTS, LOSS = "answer_weights(question, counts)", "vqa_loss(logits, ids, is_token, weights, B)"
TOTAL = "counts / (same * counts).sum(1)"
BEST, READ = "the chosen answers", "which whole answers are read"
TOP = "first_logits[:, answers[:, 1]].topk(k, dim=1).indices"
SCORES = "log_probs(rows.flatten(), columns.flatten()).reshape(-1, k)"
NOISE, USELESS = "noise_share(kept, recall, false_alarms)", "a filter that says nothing is an error"
LEFT = "noise_left(noise, recall, false_alarms)"
ESTIMATE = "(1 - kept - false_alarms) / (recall - false_alarms)"
KEPT = "wrong / (wrong + right) if wrong + right > 0 else 0.0"
ITC, ITG, ITM = "mask of itc", "mask of itg", "itm is an error"
KEYS = "mask & is_key[:, None, :]"
PACK = "number[:, :, None] == number[:, None, :]"
ENCODER, DECODER = "encoder_inputs(texts, cuts, R, pad)", "decoder_inputs(texts, cuts, start, pad)"
PLACES = "torch.arange(R + P)[None, :] < lengths[:, None]"
INPUTS = "[start] + suffix[:-1] + [pad] * (S - len(suffix))"
TARGETS = "suffix + [-100] * (S - len(suffix))"
RETURN = "return torch.tensor(inputs), torch.tensor(targets)"
DIAGONAL = (
    "groups[:, None] == torch.cat([groups, queue_groups])[None, :]",
    "torch.eye(*similarities.shape).bool()",
)
OF_BATCH = (
    DIAGONAL[0],
    "torch.cat([groups[:, None] == groups[None, :], torch.zeros(len(groups), len(queue_groups)).bool()], 1)",
)

MUTANTS = {
    "a4-queue-test": [
        (*OF_BATCH, DRAW, "they describe it, too"),
        (*DIAGONAL, DRAW, "other texts with the picture's group"),
        ("masked_fill(right | ~exists, 0.0)", "masked_fill(~exists, 0.0)", DRAW, "its own text"),
        (
            "    weights = weights.masked_fill",
            "    exists = exists | True\n    weights = weights.masked_fill",
            DRAW,
            "not right",
        ),
        (
            "torch.arange(len(queue_groups)) < filled",
            "torch.arange(len(queue_groups)) >= 0",
            DRAW,
            "empty places of the queue can be drawn",
        ),
        (
            BEFORE,
            "similarities.softmax(1) + 1e-4",
            DRAW,
            "before it",
        ),
        (
            BEFORE,
            "similarities.masked_fill(right | ~exists, -1e9).softmax(1) + 1e-4",
            DRAW,
            "set to zero afterwards",
        ),
        (BEFORE, BEFORE.removesuffix(" + 1e-4"), DRAW, "0.0001 is missing"),
        (SHARE, "weights", DRAW, "must sum to one"),
        (BEFORE, BEFORE.replace("softmax(1)", "softmax(0)"), DRAW, "runs over pictures"),
        (BEFORE, "(-similarities)" + BEFORE.removeprefix("similarities"), DRAW, "least similar"),
        (
            BEFORE,
            "torch.ones_like(similarities)",
            DRAW,
            "as likely as the others",
        ),
        (
            "torch.arange(len(queue_groups)) < filled",
            "torch.arange(len(queue_groups)) < 0",
            DRAW,
            "never drawn from",
        ),
        (SHARE, "weights / total", NOTHING, "0 / 0"),
        (
            "torch.arange(len(queue_groups)) < filled",
            "torch.arange(len(queue_groups)) >= len(queue_groups) - filled",
            DRAW,
            "the last places",
        ),
        (
            BEFORE,
            "(similarities * exists).softmax(1) + 1e-4",
            DRAW,
            "exp(0) = 1",
        ),
        (
            "    return weights",
            "    weights = weights + 1e-4\n    total = weights.sum(1, keepdim=True)\n    return weights",
            NOTHING,
            "spread over all",
        ),
        (BEFORE, BEFORE.replace("1e-4", "1e-3"), DRAW, "0.001"),
        (
            DIAGONAL[0],
            "torch.cat([torch.eye(len(groups)).bool(), groups[:, None] == queue_groups[None, :]], 1)",
            DRAW,
            "`groups` tells",
        ),
        (
            SHARE,
            "(weights / total).nan_to_num(1 / weights.shape[1])",
            NOTHING,
            "spread over all",
        ),
    ],
    "a4-answers-test": [
        (TOTAL, "counts / counts.sum()", WEIGHTS, "all answers of the batch"),
        (TOTAL, "1 / same.sum(1)", WEIGHTS, "weighs the same"),
        (TOTAL, "counts / 10", WEIGHTS, "divided by 10"),
        (TOTAL, "counts.float()", WEIGHTS, "the counts themselves"),
        (
            TOTAL,
            "torch.cat([one / one.sum() for one in counts.split(torch.unique_consecutive(question, return_counts=True)[1].tolist())])",
            WEIGHTS,
            "side by side",
        ),
        (
            "(weights * of_answer).sum() / B",
            "float((weights * of_answer).sum() / B)",
            LOSS,
            "no gradient",
        ),
        (
            "(weights * of_answer).sum() / B",
            "((weights * of_answer).sum() / B).detach()",
            LOSS,
            "no gradient",
        ),
        ("logits[:, :-1].log_softmax(-1)", "logits[:, :-1]", LOSS, "logits are summed"),
        (
            "(weights * of_answer).sum() / B",
            "(weights * of_answer).sum() / is_token[:, 1:].sum()",
            LOSS,
            "number of tokens",
        ),
        (TOTAL, "counts / (same * counts).amax(1)", WEIGHTS, "largest count"),
        (TOTAL, "counts.float().softmax(0)", WEIGHTS, "a softmax of the counts"),
        (TOTAL, "(same * counts).sum(1).float()", WEIGHTS, "totals of the questions"),
        (TOTAL, "counts / same.sum(1)", WEIGHTS, "number of different answers"),
        (TOTAL, "counts / (same * counts)[0].sum()", WEIGHTS, "total of one question"),
        (
            "    log_p = logits[:, :-1].log_softmax(-1)\n    of_token = log_p.gather(2, ids[:, 1:, None])",
            "    log_p = logits[:, 1:].log_softmax(-1)\n    of_token = log_p.gather(2, ids[:, 1:, None])",
            LOSS,
            "which it has read",
        ),
        (".masked_fill(~is_token[:, 1:], 0.0)", "", LOSS, "padding is scored"),
        (
            ".sum(1)\n    return (weights",
            ".sum(1) / is_token[:, 1:].sum(1)\n    return (weights",
            LOSS,
            "not the mean",
        ),
        ("(weights * of_answer).sum() / B", "(weights * of_answer).mean()", LOSS, "of answers"),
        ("(weights * of_answer).sum() / B", "(weights * of_answer).sum()", LOSS, "divide by B"),
        ("(weights * of_answer).sum() / B", "of_answer.sum() / B", LOSS, "not used"),
        (
            "(weights * of_answer).sum() / B",
            "(weights * of_answer).sum() / weights.sum()",
            LOSS,
            "sum of the weights",
        ),
        ("of_answer = -of_token", "of_answer = of_token", LOSS, "the sign"),
        ("~is_token[:, 1:]", "~is_token[:, :-1]", LOSS, "shift it together"),
        ("log_softmax(-1)", "softmax(-1).log()", LOSS, "NaN or infinite"),
    ],
    "a4-list-test": [
        (
            "    k = min(k, len(answers))\n",
            "    k = len(answers)\n",
            READ,
            "the whole list was read",
        ),
        (SCORES, "-torch.arange(k).expand(len(columns), k)", BEST, "decides alone"),
        ("    return columns.gather(1, best)[:, 0]", "    return best[:, 0]", BEST, "among the k"),
        (
            SCORES,
            SCORES + " + first_logits.log_softmax(-1)[:, answers[:, 1]].gather(1, columns)",
            BEST,
            "counts twice",
        ),
        ("scores.argmax(1", "scores.argmin(1", BEST, "worst"),
        ("dim=1).indices", "dim=1, largest=False).indices", READ, "least"),
        ("dim=1).indices", "dim=1, largest=False).indices", BEST, "least"),
        ("answers[:, 1]", "answers[:, 2]", READ, "second word"),
        ("answers[:, 1]", "answers[:, 0]", READ, "column 0"),
        (
            "    rows = torch.arange(len(columns))[:, None].expand(-1, k)",
            "    rows = torch.arange(len(columns)).repeat(k)",
            READ,
            "the same order",
        ),
        ("min(k, len(answers))", "min(k - 1, len(answers))", READ, "k - 1"),
        (
            "    return columns.gather(1, best)[:, 0]",
            "    return answers[columns.gather(1, best)[:, 0], 1]",
            BEST,
            "first words of the answers",
        ),
        ("    k = min(k, len(answers))\n", "", BEST, "RuntimeError"),
        ("    k = min(k, len(answers))\n", "    k = min(k + 1, len(answers))\n", READ, "k + 1"),
        (
            TOP,
            "first_logits[:1, answers[:, 1]].topk(k, dim=1).indices.expand(len(first_logits), -1)",
            READ,
            "read the same answers",
        ),
        (TOP, "first_logits.topk(k, dim=1).indices", BEST, "IndexError"),
        (
            "log_probs(rows.flatten(), columns.flatten())",
            "log_probs(rows.flatten() * 0, columns.flatten())",
            BEST,
            "not right",
        ),
    ],
    "a4-noise-test": [
        (ESTIMATE, "(kept - false_alarms) / (recall - false_alarms)", NOISE, "the share kept"),
        (ESTIMATE, "1 - kept", NOISE, "right captions are among it"),
        (ESTIMATE, "(1 - kept) / recall", NOISE, "are forgotten"),
        (ESTIMATE, "(1 - kept - false_alarms) / recall", NOISE, "right captions only"),
        (ESTIMATE, "(1 - kept) * recall", NOISE, "solve for the noise"),
        (ESTIMATE, "(1 - kept) / (recall - false_alarms)", NOISE, "above the line"),
        (KEPT, KEPT.replace("0.0", "noise"), LEFT, "return 0.0"),
        (ESTIMATE, "1 - " + ESTIMATE, NOISE, "share of right captions"),
        (ESTIMATE, "(1 - kept - recall) / (false_alarms - recall)", NOISE, "are exchanged)"),
        ("min(max(noise, 0.0), 1.0)", "noise", NOISE, "nearer end"),
        ("min(max(noise, 0.0), 1.0)", "max(noise, 0.0)", NOISE, "nearer end"),
        ("if recall <= false_alarms:", "if recall < false_alarms:", USELESS, "by accident"),
        ("if recall <= false_alarms:", "if recall == false_alarms:", USELESS, "no error"),
        (
            "    if recall <= false_alarms:\n        raise ValueError(",
            "    assert recall > false_alarms, (",
            USELESS,
            "python -O",
        ),
        (KEPT, "wrong", LEFT, "of *all* captions"),
        (KEPT, KEPT.replace("wrong / ", "right / ", 1), LEFT, "share of right captions"),
        (
            "noise * (1 - recall), (1 - noise) * (1 - false_alarms)",
            "noise * recall, (1 - noise) * false_alarms",
            LEFT,
            "thrown out",
        ),
        ("(1 - noise) * (1 - false_alarms)", "(1 - noise)", LEFT, "false alarms are forgotten"),
        (
            "noise * (1 - recall), (1 - noise) * (1 - false_alarms)",
            "noise * (1 - false_alarms), (1 - noise) * (1 - recall)",
            LEFT,
            "exchanged",
        ),
        (KEPT, "1 - recall", LEFT, "among the kept ones"),
        (KEPT, "wrong / (wrong + right)", LEFT, "ZeroDivisionError"),
    ],
    "a4-packed-test": [
        (PACK, "(number[:, :, None] < 0) == (number[:, None, :] < 0)", ITC, "of other texts"),
        (PACK, "(number[:, :, None] < 0) == (number[:, None, :] < 0)", ITG, "of other texts"),
        (KEYS, "mask", ITC, "padding can be attended to"),
        ('    if objective == "itg":\n', "    if True:\n", ITC, "mask of ITG"),
        ('    if objective == "itg":\n', "    if False:\n", ITG, "mask of ITC"),
        ("mask[:, R:, R:] & past", "mask[:, R:, R:]", ITG, "its own future"),
        ("        mask[:, R:, :R] = True\n", "", ITG, "don't attend to queries"),
        ("mask[:, R:, :R] = True", "mask[:, :R, R:] = True", ITG, "not right"),
        (
            "        mask[:, R:, :R] = True\n",
            "        mask[:, R:, :R] = True\n        mask[:, :R] = True\n",
            ITG,
            "queries attend to text",
        ),
        (KEYS, "~(" + KEYS + ")", ITC, "upside down"),
        (KEYS, "(" + KEYS + ").transpose(1, 2)", ITG, "transpose"),
        (KEYS, "(" + KEYS + ")[:1].expand(B, -1, -1)", ITG, "of the first"),
        ('    if objective == "itm":\n', '    if objective == "matching":\n', ITM, "no error"),
        (
            '    if objective == "itm":\n        raise ValueError(',
            '    assert objective != "itm", (',
            ITM,
            "python -O",
        ),
        (".tril()", ".tril(-1)", ITG, "attend to itself: it does"),
        (
            "    is_key =",
            "    mask[:, :R, :R] = torch.eye(R).bool()\n    is_key =",
            ITC,
            "itself alone",
        ),
        (
            "    is_key =",
            "    mask[:, :R, :R] = torch.ones(R, R).tril().bool()\n    is_key =",
            ITG,
            "are causal",
        ),
        (
            PACK,
            PACK + "\n    mask[:, R:, R:] |= text[:, :, None] > text[:, None, :]",
            ITC,
            "before its own",
        ),
        (KEYS, "(" + KEYS + ").roll((-R, -R), (1, 2))", ITC, "queries first"),
        (
            '    if objective == "itm":\n',
            '    if objective == "itm":\n        raise ValueError("no")\n    if objective == "all":\n',
            ITM,
            "give ValueError a sentence",
        ),
        ('    if objective == "itm":\n', "    if True:\n", ITM, "where all is well"),
        ("torch.full((B, R), -1)", "torch.zeros(B, R, dtype=torch.long)", ITC, "not right"),
    ],
    "a4-split-test": [
        (
            "prefix + [pad] * (P - len(prefix)) for",
            "[pad] * (P - len(prefix)) + prefix for",
            ENCODER,
            "padded on the left",
        ),
        (
            "    return ids, torch.arange(R + P)",
            "    ids = torch.cat([torch.full((len(ids), R), pad), ids], 1)\n    return ids, torch.arange(R + P)",
            ENCODER,
            "have no ids",
        ),
        (
            PLACES,
            PLACES.replace("lengths[:, None]", "(lengths * (lengths > R))[:, None]"),
            ENCODER,
            "with an empty prefix",
        ),
        (
            TARGETS,
            "suffix[1:] + [-100] * (S - len(suffix) + 1)",
            DECODER,
            "the targets are shifted, too",
        ),
        (INPUTS, INPUTS.replace("[start]", "[pad]"), DECODER, "begin with `pad`"),
        (INPUTS, INPUTS.replace("[pad]", "[start]"), DECODER, "padded with `start`"),
        (INPUTS, "[start] + (suffix + [pad] * (S - len(suffix)))[:-1]", DECODER, "before you pad"),
        (
            "prefix + [pad] * (P - len(prefix)) for prefix in prefixes])\n    lengths",
            "[pad] * (P - len(prefix)) + prefix for prefix in prefixes])\n"
            "    keys = torch.arange(P)[None, :] >= P - torch.tensor([[len(one)] for one in prefixes])\n"
            "    return ids, torch.cat([torch.ones(len(ids), R).bool(), keys], 1)\n    lengths",
            ENCODER,
            "on the left",
        ),
        ("text[:cut]", "text[: cut + 1]", ENCODER, "first id of the suffix"),
        ("text[:cut]", "text", ENCODER, "the whole text"),
        ("text[:cut]", "text[: cuts[0]]", ENCODER, "where the first is"),
        (PLACES, "~(" + PLACES + ")", ENCODER, "upside down"),
        (PLACES, "torch.ones(len(ids), R + P).bool()", ENCODER, "padding is read"),
        (PLACES, "(" + PLACES + ")[:, R:]", ENCODER, "R vectors are missing"),
        (PLACES, "(" + PLACES + ").roll(-R, 1)", ENCODER, "come first"),
        (
            PLACES,
            "torch.cat([torch.ones(len(ids), R).bool(), ids != pad], 1)",
            ENCODER,
            "id of padding",
        ),
        (INPUTS, TARGETS.replace("-100", "pad"), DECODER, "shift the inputs by one"),
        (TARGETS, TARGETS.replace("-100", "pad"), DECODER, "must be -100"),
        (RETURN, "return torch.tensor(targets), torch.tensor(inputs)", DECODER, "exchanged"),
        ("text[cut:]", "text", DECODER, "the prefix is written"),
        ("text[cut:]", "text[cut + 1 :]", DECODER, "begins with it"),
        (INPUTS, INPUTS.replace("suffix[:-1]", "suffix"), DECODER, "an id too many"),
        (INPUTS, INPUTS.replace("pad]", "-100]"), DECODER, "-100 is no id"),
        (
            RETURN,
            "targets = torch.tensor(targets)\n    return torch.tensor(inputs), targets.masked_fill(targets == pad, -100)",
            DECODER,
            "isn't scored",
        ),
        (
            "for suffix in suffixes]\n    targets",
            "for suffix in suffixes]\n    inputs = [[text[cut - 1]] + row[1:] for text, cut, row in zip(texts, cuts, inputs)]\n    targets",
            DECODER,
            "prefix's last id",
        ),
    ],
}
