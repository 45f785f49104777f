"""Plausible wrong answers of assignment 2: in the solution of a task, `old` becomes `new`; then this check must fail with
these words. (test id: [(old, new, check, words)])"""

SHARE = "the share"
WHOLE = "the mean over devices is the whole loss"
GRADIENT = "its gradient, that of the scale too"
RETURN = "(image_loss + text_loss) / 2"
TARGETS = "first + torch.arange(len(image))"
IDS = "ids"
PLACE = "position of the end token"
ROOM = "a context without room is an error"
ROW = "[start, *text[: context - 2], end]"
CLASSES = "class_vectors(...)"
PREDICT = "predict(...)"
EMBED = "normalize(belongs @ normalize(embeddings, dim=-1), dim=-1)"
RIGHT = """{
        "A": "wrong pairs",
        "B": "batch of one",
        "C": "clamp in the forward pass",
        "D": "other pictures in the test",
    }"""
IOU = "iou(boxes, others)"
REGIONS = "hidden_regions(...)"
PIECES = "hidden_words(...)"
HIDE = "selected.gather(1, word.clamp(min=0)) & (word >= 0)"
MASKED = "ids.masked_fill(~hide, -100)"
TWO, THREE, NOTHING = "two streams", "three streams", "nothing to attend to"
WEIGHTS = "scores.masked_fill(~real & some, -math.inf).softmax(-1).where(some, 0)"
SOFT = "soft_targets(...)"
LOSS = "answer_loss(logits, targets)"
ACCURACY = "accuracy(logits, targets)"
CEILING = "ceiling(targets)"
CHOSEN = "targets.gather(-1, chosen)"

MUTANTS = {
    "a2-loss-test": [
        (TARGETS, "torch.arange(len(image))", SHARE, "row first + i"),
        (TARGETS, "torch.arange(len(image))", WHOLE, "row first + i"),
        (RETURN, "image_loss", SHARE, "only image to text"),
        (RETURN, "text_loss", SHARE, "only text to image"),
        (RETURN, "image_loss + text_loss", SHARE, "their mean"),
        (RETURN, "-(image_loss + text_loss) / 2", SHARE, "the sign"),
        (RETURN, "(image_loss + text_loss) / 2 * len(image)", SHARE, "rows are summed"),
        (
            RETURN,
            "(image_loss + text_loss) / 2 * len(image) / len(all_image)",
            SHARE,
            "divided by B",
        ),
        (
            "text_loss = cross_entropy(logit_scale.exp() * text @ all_image.T, targets)",
            "text_loss = image_loss",
            SHARE,
            "only image to text",
        ),
        (
            "logit_scale.exp() * text @ all_image.T",
            "logit_scale.exp() * image @ all_text.T",
            SHARE,
            "only image to text",
        ),
        (
            "    targets =",
            "    logit_scale = logit_scale.log()\n    targets =",
            SHARE,
            "used as it is",
        ),
        (
            "    targets =",
            "    logit_scale = -logit_scale\n    targets =",
            SHARE,
            "divided by the scale",
        ),
        (
            "    targets =",
            "    logit_scale = logit_scale * 0\n    targets =",
            SHARE,
            "there is no scale",
        ),
        (
            "    image, text = normalize(image, dim=-1), normalize(text, dim=-1)\n    all_image, all_text = normalize(all_image, dim=-1), normalize(all_text, dim=-1)\n",
            "",
            SHARE,
            "not normalised",
        ),
        (
            "    targets =",
            "    logit_scale = logit_scale.detach()\n    targets =",
            GRADIENT,
            "could not be learned",
        ),
        (
            "    targets =",
            "    all_image, all_text = all_image.detach(), all_text.detach()\n    targets =",
            GRADIENT,
            "another gradient",
        ),
        (
            "    targets =",
            "    all_image, all_text = image, text\n    targets = 0 *",
            SHARE,
            "only this device's own pairs",
        ),
    ],
    "a2-end-test": [
        (ROW, "[start, *text, end][:context]", IDS, "loses its end token"),
        (ROW, "[start, *text[: context - 3], end]", IDS, "that just fits is cut"),
        (ROW, "[start, *text[-(context - 2) :], end]", IDS, "first words are left out"),
        ("[pad] *", "[0 if pad else 1] *", IDS, "isn't the id given"),
        (
            "row + [pad] * (context - len(row))",
            "[pad] * (context - len(row)) + row",
            IDS,
            "before the text",
        ),
        (ROW, "[end, *text[: context - 2], start]", IDS, "exchanged"),
        ("len(row) - 1", "len(row)", PLACE, "length of the row"),
        ("len(row) - 1", "len(row) - 2", PLACE, "last word"),
        ("len(row) - 1", "len(text) + 1", PLACE, "beyond the row"),
        ("len(row) - 1", "context - 1", PLACE, "last place of the row"),
        ("len(row) - 1", "row.index(end)", PLACE, "instead of searching"),
        ("if context < 2:", "if context < 0:", ROOM, "by accident"),
        (
            "    if context < 2:\n        raise ValueError(",
            "    assert context >= 2, (",
            ROOM,
            "python -O",
        ),
        ("if context < 2:", "context = max(2, context)\n    if False:", ROOM, "no error"),
    ],
    "a2-zero-shot-test": [
        (EMBED, "normalize(belongs @ embeddings, dim=-1)", CLASSES, "count more than short ones"),
        (EMBED, "belongs @ normalize(embeddings, dim=-1)", CLASSES, "these are sums"),
        (
            EMBED,
            "belongs @ normalize(embeddings, dim=-1) / belongs.sum(1, keepdim=True)",
            CLASSES,
            "the mean is not normalised",
        ),
        (
            EMBED,
            "belongs @ embeddings / belongs.sum(1, keepdim=True)",
            CLASSES,
            "nothing is normalised",
        ),
        (EMBED, "normalize(embeddings[belongs.argmax(1)], dim=-1)", CLASSES, "only one prompt"),
        (
            "class_of[None, :]",
            "(torch.arange(len(class_of)) % classes)[None, :]",
            CLASSES,
            "dealt out",
        ),
        (
            EMBED,
            "normalize(normalize(embeddings, dim=-1).mean(0), dim=-1).expand(classes, -1)",
            CLASSES,
            "the same vector",
        ),
        ("answer.where(highest >= threshold, -1)", "answer", PREDICT, "threshold is not used"),
        (
            "answer.where(highest >= threshold, -1)",
            "answer.where(highest < threshold, -1)",
            PREDICT,
            "upside down",
        ),
        ("threshold, -1)", "threshold, len(vectors))", PREDICT, "called C"),
        ("normalize(images, dim=-1) @", "images @", PREDICT, "not normalised"),
        ("logit_scale.exp() *", "logit_scale *", PREDICT, "used as it is"),
        ("logit_scale.exp() * ", "", PREDICT, "scale is not used"),
        (".softmax(dim=1)", ".softmax(dim=0)", PREDICT, "over the images"),
    ],
    "a2-ranks-test": [
        (
            "return to_text, to_image",
            "return to_image, to_text",
            "ranks(similarity, image_of)",
            "exchanged",
        ),
        (
            "similarity >= best[:, None]",
            "similarity > best[:, None]",
            "ranks(similarity, image_of)",
            "not right",
        ),
        (
            "to_text = 1 + ((similarity >= best[:, None]) & ~own).sum(1)\n    right = similarity[image_of, torch.arange(M)]  # (M,)\n    to_image = 1 + ((similarity >= right[None, :]) & ~own).sum(0)",
            "to_text = 1 + ((similarity > best[:, None]) & ~own).sum(1)\n    right = similarity[image_of, torch.arange(M)]\n    to_image = 1 + ((similarity > right[None, :]) & ~own).sum(0)",
            "ranks(similarity, image_of)",
            "ties count for the model",
        ),
        (
            "return to_text, to_image",
            "return to_text - 1, to_image - 1",
            "ranks(similarity, image_of)",
            "1, not 0",
        ),
        (
            "similarity.masked_fill(~own, -math.inf).amax(1)",
            "similarity.masked_fill(~own, math.inf).amin(1)",
            "ranks(similarity, image_of)",
            "worst caption",
        ),
        (
            "((similarity >= best[:, None]) & ~own).sum(1)",
            "((similarity >= best[:, None]) & ~own).sum(1) + own.sum(1) * 0 + (((similarity == best[:, None]) & own).sum(1) - 1)",
            "ranks(similarity, image_of)",
            "own captions count as wrong candidates",
        ),
        (
            "    N, M = similarity.shape",
            "    N, M = similarity.shape\n    image_of = torch.arange(M) % N",
            "ranks(similarity, image_of)",
            "(modulo N)",
        ),
        (
            "to_image = 1 + ((similarity >= right[None, :]) & ~own).sum(0)",
            "to_image = (similarity[image_of] >= right[:, None]).sum(1)",
            "ranks(similarity, image_of)",
            "captions with each other",
        ),
        (
            "return to_text, to_image",
            "return to_text.float(), to_image.float()",
            "ranks(similarity, image_of)",
            "whole numbers",
        ),
        ("(ranks <= k)", "(ranks < k)", "recall(ranks, k)", "among the first k"),
        (".mean().item()", ".sum().item()", "recall(ranks, k)", "how many"),
        (".mean().item()", ".mean().item() * 100", "recall(ranks, k)", "per cent"),
        ("(ranks <= k)", "(ranks > k)", "recall(ranks, k)", "misses"),
        ("(ranks <= k)", "(ranks == k)", "recall(ranks, k)", "rank k exactly"),
    ],
    "a2-runs-test": [
        (
            '"A": "wrong pairs"',
            '"A": "learning rate zero"',
            "run A",
            "nothing to do with the pictures",
        ),
        (
            '"A": "wrong pairs"',
            '"A": "no normalisation"',
            "run A",
            "nothing to do with the pictures",
        ),
        ('"B": "batch of one"', '"B": "wrong pairs"', "run B", "logarithm of one"),
        ('"B": "batch of one"', '"B": "learning rate zero"', "run B", "logarithm of one"),
        ('"C": "clamp in the forward pass"', '"C": "learning rate zero"', "run C", "not a digit"),
        ('"C": "clamp in the forward pass"', '"C": "no normalisation"', "run C", "not a digit"),
        ('"D": "other pictures in the test"', '"D": "wrong pairs"', "run D", "the two R@1"),
        ('"D": "other pictures in the test"', '"D": "no normalisation"', "run D", "the two R@1"),
        (RIGHT, '{"A": "wrong pairs"}', "run B", "raised KeyError"),
    ],
    "a2-masking-test": [
        ("area + other_area - both", "area + other_area", IOU, "counts twice"),
        (
            "(high - low).clamp(min=0).prod(-1)",
            "(high - low).prod(-1).clamp(min=0)",
            IOU,
            "two negative sides",
        ),
        (
            "(high - low).clamp(min=0).prod(-1)",
            "(high - low).prod(-1)",
            IOU,
            "don't meet have negative sides",
        ),
        ("area + other_area - both", "torch.minimum(area, other_area)", IOU, "smaller area"),
        (
            "torch.where(union > 0, both / union.where(union > 0, 1), 0.0)",
            "both > 0",
            IOU,
            "how much is wanted",
        ),
        ("(chosen | overlaps.any(-1)) & is_region", "chosen", REGIONS, "show it, too"),
        (
            "(chosen | overlaps.any(-1)) & is_region",
            "overlaps.any(-1) & is_region & ~chosen",
            REGIONS,
            "still there",
        ),
        ("selected & is_region", "selected", REGIONS, "hidden for nothing"),
        (
            "(chosen | overlaps.any(-1)) & is_region",
            "chosen | overlaps.any(-1)",
            REGIONS,
            "padding is hidden",
        ),
        (
            "    return (chosen | overlaps.any(-1)) & is_region",
            "    return ~((chosen | overlaps.any(-1)) & is_region)",
            REGIONS,
            "upside down",
        ),
        (
            "    overlaps = (iou",
            "    for _ in range(5):\n        chosen = chosen | (((iou(boxes, boxes) >= threshold) & chosen[:, None, :]).any(-1) & is_region)\n    overlaps = (iou",
            REGIONS,
            "hidden neighbour",
        ),
        (HIDE, "selected.gather(1, word.clamp(min=0))", PIECES, "with word 0"),
        (HIDE, HIDE + " & (word != word.roll(1, 1))", PIECES, "only the first piece"),
        (
            HIDE,
            "torch.nn.functional.pad(selected, (0, max(0, ids.shape[1] - selected.shape[1])))[:, : ids.shape[1]]",
            PIECES,
            "counts words, not pieces",
        ),
        (MASKED, "ids.masked_fill(~hide, 0)", PIECES, "-100 is wanted"),
        (MASKED, "ids", PIECES, "every piece is a target"),
        (
            MASKED,
            "ids.masked_fill(hide, mask_id).masked_fill(~hide, -100)",
            PIECES,
            "from the masked input",
        ),
        (
            "ids.masked_fill(hide, mask_id), ids.masked_fill(~hide, -100)",
            "ids.masked_fill(~hide, -100), ids.masked_fill(hide, mask_id)",
            PIECES,
            "exchanged",
        ),
    ],
    "a2-streams-test": [
        ("if index != number", "if index == number", TWO, "self-attention"),
        (" if index != number", "", THREE, "to itself, too"),
        (
            "others = [index for index in range(len(streams)) if index != number]",
            "others = [(number + 1) % len(streams)]",
            THREE,
            "the next one only",
        ),
        (WEIGHTS, "scores.softmax(-1)", TWO, "padding is attended to"),
        ("~real & some", "real & some", TWO, "upside down"),
        (" / math.sqrt(q.shape[-1])", "", TWO, "not scaled"),
        ("math.sqrt(q.shape[-1])", "q.shape[-1]", TWO, "divided by d"),
        ("streams[index][2] for", "streams[index][1] for", TWO, "serve as values"),
        ("    return received", "    return received[::-1]", TWO, "reverse order"),
        (WEIGHTS, "scores.masked_fill(~real, -math.inf).softmax(-1)", NOTHING, "NaN"),
        (
            WEIGHTS,
            "(scores + torch.zeros(real.shape).masked_fill(~real, -math.inf)).softmax(-1).nan_to_num(0.0)",
            NOTHING,
            "a gradient is NaN",
        ),
        (WEIGHTS, "scores.masked_fill(~real, -1e30).softmax(-1)", NOTHING, "evenly"),
        (
            WEIGHTS,
            "scores.masked_fill(~real & some, -math.inf).softmax(-1)",
            NOTHING,
            "padding is attended to",
        ),
        (
            "        k = torch.cat([streams[index][1] for index in others], dim=2)",
            "        received.append(sum(one_of_them(q, *streams[index][1:], is_real[index]) for index in others) / len(others))\n        continue\n        k = torch.cat([streams[index][1] for index in others], dim=2)",
            THREE,
            "raised NameError",
        ),
    ],
    "a2-answers-test": [
        (".clamp(max=1)", "", SOFT, "above 1"),
        ("counts / 3", "counts / 10", SOFT, "by 3"),
        ("(counts / 3).clamp(max=1)", "(counts >= 3).float()", SOFT, "1/3 and 2/3"),
        ("(counts / 3).clamp(max=1)", "(counts > 0).float()", SOFT, "takes three"),
        ("given.count(word)", "' '.join(given).count(word)", SOFT, "parts of an answer"),
        ("(counts / 3).clamp(max=1)", "(counts / 3).clamp(max=1).T", SOFT, "first axis"),
        (".sum(-1).mean()", ".mean()", LOSS, "mean over answers"),
        (".sum(-1).mean()", ".sum()", LOSS, "questions are summed"),
        ("return -(targets * log_yes", "return (targets * log_yes", LOSS, "the sign"),
        (
            "-(targets * log_yes + (1 - targets) * log_no)",
            "-(targets * logits.log_softmax(-1))",
            LOSS,
            "compete",
        ),
        (" + (1 - targets) * log_no", "", LOSS, "less likely, too"),
        (
            "    log_yes =",
            "    targets = (targets == targets.amax(-1, keepdim=True)).float()\n    log_yes =",
            LOSS,
            "only the best answer is a target",
        ),
        (
            "    log_yes =",
            "    targets = (targets > 0).float()\n    log_yes =",
            LOSS,
            "counts fully",
        ),
        ("    log_yes =", "    logits = logits.sigmoid()\n    log_yes =", LOSS, "applied twice"),
        (
            CHOSEN,
            "(chosen[:, 0] == targets.argmax(-1)).float()",
            ACCURACY,
            "only the best answer counts",
        ),
        (CHOSEN + ".mean()", CHOSEN + ".sum()", ACCURACY, "that is the sum"),
        ("logits.argmax", "logits.argmin", ACCURACY, "lowest logit"),
        (CHOSEN, "(" + CHOSEN + " > 0).float()", ACCURACY, "counts fully"),
        (CHOSEN + ".mean().item()", CHOSEN + ".mean()[None]", ACCURACY, "one number"),
        ("targets.amax(-1).mean()", "targets.amax()", CEILING, "of all questions"),
        ("targets.amax(-1).mean()", "targets.mean()", CEILING, "mean of all scores"),
        (
            "targets.amax(-1).mean()",
            "(targets.amax(-1) > 0).float().mean()",
            CEILING,
            "any listed answer",
        ),
        ("targets.amax(-1).mean()", "targets.sum(-1).clamp(max=1).mean()", CEILING, "don't add up"),
    ],
}
