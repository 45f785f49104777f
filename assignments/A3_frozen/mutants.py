"""Plausible wrong answers of assignment 3: in the solution of a task, `old` becomes `new`; then this check must fail with
these words. (test id: [(old, new, check, words)])"""

LINE = "(summary @ weight.T + bias).reshape(len(summary), vectors, -1)"
FILL = "    out = embeddings.clone()\n    out[is_slot] = vectors\n    return out"
LOSS = "    return cross_entropy(said.flatten(0, 1), target.flatten())"
BODY = "    target = ids.masked_fill(~scored, -100)[:, 1:]\n    said = logits[:, :-1]\n"
STAY = "    for part in lm.modules():\n        part.train = lambda mode=True, part=part: part"
STAYS = "it stays in evaluation mode when its parent trains"
IDS = "[[pad] * (longest - len(text)) + text for text in texts]"
REAL = "[[False] * (longest - len(text)) + [True] * len(text) for text in texts]"
PICK = "(each * scored[:, 1:]).sum(1)"
SHIFT = "    p = torch.empty_like(order)\n    p[order] = order.roll(-int(largest))\n    return p"

MUTANTS = {
    "a3-words-test": [
        (
            ".reshape(len(summary), vectors, -1)",
            ".reshape(len(summary), -1, vectors).transpose(1, 2)",
            "the vectors",
            "dealt out in turn",
        ),
        (" + bias", "", "the vectors", "the bias is missing"),
        (
            ".reshape(len(summary), vectors, -1)",
            ".reshape(len(summary), -1, vectors)",
            "the vectors",
            "(M, D, n)",
        ),
        (
            ".reshape(len(summary), vectors, -1)",
            ".reshape(len(summary) * vectors, -1)",
            "the vectors",
            "keep the pictures apart",
        ),
        (".reshape(len(summary), vectors, -1)", "", "the vectors", "one long vector"),
        (LINE, LINE + "[:, :1].repeat(1, vectors, 1)", "the vectors", "all n vectors are the same"),
        (LINE, LINE + ".transpose(0, 1)", "the vectors", "first axis"),
        (LINE, LINE + ".flip(1)", "the vectors", "reverse order"),
        (
            LINE,
            "(summary @ weight.T).reshape(len(summary), vectors, -1) + bias[:len(bias) // vectors]",
            "the vectors",
            "its own part of the bias",
        ),
    ],
    "a3-slots-test": [
        (
            "prefix.flatten(0, 1)",
            "prefix.flip(0).flatten(0, 1)",
            "vectors in the slots",
            "pictures are in reverse",
        ),
        (
            "prefix.flatten(0, 1)",
            "prefix.flip(1).flatten(0, 1)",
            "vectors in the slots",
            "vectors are in reverse",
        ),
        (
            FILL,
            "    out = embeddings.transpose(0, 1).clone()\n    out[is_slot.T] = vectors\n    return out.transpose(0, 1)",
            "vectors in the slots",
            "column by column",
        ),
        (
            "prefix.flatten(0, 1)",
            "prefix.transpose(0, 1).flatten(0, 1)",
            "vectors in the slots",
            "mixed",
        ),
        ("out[is_slot] = vectors", "out[is_slot] += vectors", "vectors in the slots", "added"),
        (
            "embeddings.clone()",
            "torch.zeros_like(embeddings)",
            "vectors in the slots",
            "the words are gone",
        ),
        (
            "out[is_slot] = vectors",
            "out[is_slot].copy_(vectors)",
            "vectors in the slots",
            "nothing changes",
        ),
        (
            "prefix.flatten(0, 1)",
            "prefix[:1].expand(len(prefix), -1, -1).flatten(0, 1)",
            "vectors in the slots",
            "the first picture",
        ),
        (
            FILL,
            "    return torch.cat([vectors.expand(len(embeddings), -1, -1), embeddings], 1)",
            "vectors in the slots",
            "before the text",
        ),
        (
            FILL,
            "    embeddings[is_slot] = vectors\n    return embeddings",
            "the words given are left as they are",
            "changed in place",
        ),
        (
            "if int(is_slot.sum()) != len(vectors):\n        raise ValueError(",
            "assert int(is_slot.sum()) == len(vectors), (",
            "too few or too many pictures are an error",
            "python -O",
        ),
        (
            "if int(is_slot.sum()) != len(vectors):",
            "if False:",
            "too few or too many pictures are an error",
            "by accident",
        ),
        (
            "if int(is_slot.sum()) != len(vectors):",
            "vectors = torch.cat([vectors, vectors])[:int(is_slot.sum())]\n    if False:",
            "too few or too many pictures are an error",
            "silently",
        ),
    ],
    "a3-loss-test": [
        (
            BODY,
            "    target = ids.masked_fill(~scored, -100)\n    said = logits\n",
            "the loss",
            "already read",
        ),
        (
            BODY,
            "    target = ids.masked_fill(~scored, -100)[:, :-1]\n    said = logits[:, 1:]\n",
            "the loss",
            "shifted the wrong way",
        ),
        (
            "ids.masked_fill(~scored, -100)[:, 1:]",
            "ids[:, 1:]",
            "the loss",
            "prompts and padding are scored",
        ),
        ("ids.masked_fill(~scored, -100)[:, 1:]", "ids[:, 1:]", "its gradient", "has a gradient"),
        (
            LOSS,
            "    return torch.stack([cross_entropy(a, b) for a, b in zip(said, target)]).mean()",
            "the loss",
            "each text's mean",
        ),
        (
            LOSS,
            "    return cross_entropy(said.flatten(0, 1), target.flatten(), reduction='sum')",
            "the loss",
            "that is the sum",
        ),
        (
            LOSS,
            "    return cross_entropy(said.flatten(0, 1), target.flatten(), reduction='none').mean()",
            "the loss",
            "all positions",
        ),
        (
            LOSS,
            "    return cross_entropy(said.flatten(0, 1), target.flatten(), reduction='sum') / len(ids)",
            "the loss",
            "sum per text",
        ),
        ("    return cross", "    return -cross", "the loss", "the sign"),
        (
            "ids.masked_fill(~scored, -100)[:, 1:]",
            "ids[:, 1:].masked_fill(~scored[:, :-1], -100)",
            "the loss",
            "not right",
        ),
        ("~scored", "scored", "the loss", "upside down"),
        (
            LOSS,
            "    return cross_entropy(said.softmax(-1).flatten(0, 1), target.flatten())",
            "the loss",
            "not right",
        ),
    ],
    "a3-freeze-test": [
        ("    lm.requires_grad_(False)\n", "", "nothing in it learns", "still learn"),
        (
            "lm.requires_grad_(False)",
            "next(lm.parameters()).requires_grad_(False)",
            "nothing in it learns",
            "some parameters",
        ),
        (
            "lm.requires_grad_(False)",
            "[p.data.zero_() for p in lm.requires_grad_(False).parameters()]",
            "nothing in it learns",
            "have changed",
        ),
        (
            "    lm.eval()\n",
            "    lm.eval()\n    forward = lm.forward\n    lm.forward = torch.no_grad()(forward)\n",
            "gradients pass through it",
            "cuts it",
        ),
        (
            "    lm.eval()\n",
            "    lm.eval()\n    forward = lm.forward\n    lm.forward = lambda x: forward(x.detach())\n",
            "gradients pass through it",
            "cuts it",
        ),
        ("    lm.eval()\n", "", "gradients pass through it", "dropout is on"),
        (STAY, "    return", STAYS, "switched its dropout on again"),
        (
            "part.train = lambda mode=True, part=part: part",
            "part.train = lambda: part",
            STAYS,
            "raised TypeError",
        ),
        (
            "part.train = lambda mode=True, part=part: part",
            "type(part).train = torch.nn.Module.train",
            STAYS,
            "switched its dropout on again",
        ),
    ],
    "a3-pad-test": [
        (IDS, "[text + [pad] * (longest - len(text)) for text in texts]", "ids", "on the right"),
        (IDS, "[[pad] * (longest - len(text)) + text[::-1] for text in texts]", "ids", "reversed"),
        (
            IDS,
            "[[0 if pad else 1] * (longest - len(text)) + text for text in texts]",
            "ids",
            "isn't the id given",
        ),
        (IDS, "[text[-min(map(len, texts)):] for text in texts]", "ids", "cut to the shortest"),
        (
            REAL,
            "[[True] * len(text) + [False] * (longest - len(text)) for text in texts]",
            "real",
            "on the right",
        ),
        ("return ids, real, position", "return ids, ~real, position", "real", "upside down"),
        (
            "return ids, real, position",
            "return ids, real.long(), position",
            "real",
            "booleans are wanted",
        ),
        (
            "return ids, real, position",
            "return ids, torch.ones_like(real), position",
            "real",
            "counts as real",
        ),
        (
            "(real.long().cumsum(1) - 1).clamp(min=0)",
            "torch.arange(longest).expand(len(texts), -1).clone()",
            "positions",
            "padding is counted",
        ),
        (
            "(real.long().cumsum(1) - 1).clamp(min=0)",
            "real.long().cumsum(1)",
            "positions",
            "start at 1",
        ),
        (".clamp(min=0)", "", "positions", "position -1"),
        (
            "(real.long().cumsum(1) - 1).clamp(min=0)",
            "torch.arange(longest) - (~real).sum(1, keepdim=True)",
            "positions",
            "negative at padding",
        ),
    ],
    "a3-episode-test": [
        (
            "page += [slot] * vectors + caption + [end]\n    page += [slot] * vectors",
            "page += [slot] + caption + [end]\n    page += [slot]",
            "the page",
            "one slot per picture",
        ),
        ("in examples", "in examples[::-1]", "the page", "reverse order"),
        ("page += [slot] * vectors + question", "page += question", "the page", "no picture"),
        (
            "page += [slot] * vectors + question",
            "page += [slot] * vectors + question + [end]",
            "the page",
            "after the question",
        ),
        ("caption + [end]", "caption", "the page", "run into each other"),
        ("page = []", "page = [slot] * vectors + question", "the page", "values"),
        (
            "    page = []\n    for caption in examples:\n        page += [slot] * vectors + caption + [end]\n    page += [slot] * vectors + question\n",
            "    page = [slot] * vectors + question\n    for caption in examples:\n        page += [slot] * vectors + caption + [end]\n",
            "the page",
            "the question comes first",
        ),
        (
            "[slot] * vectors + caption + [end]",
            "[slot] * vectors + [end] + caption",
            "the page",
            "the end comes before",
        ),
        (
            "    page = []\n    for caption in examples:\n        page += [slot] * vectors + caption + [end]\n    page += [slot] * vectors + question\n",
            "    page = [slot] * vectors * (len(examples) + 1)\n    for caption in examples:\n        page += caption + [end]\n    page += question\n",
            "the page",
            "before all texts",
        ),
        (
            "    page = []\n    for caption in examples:\n        page += [slot] * vectors + caption + [end]\n    page += [slot] * vectors + question\n",
            "    page = []\n    for caption in examples:\n        page += caption + [slot] * vectors + [end]\n    page += question + [slot] * vectors\n",
            "the page",
            "after their texts",
        ),
    ],
    "a3-answers-test": [
        (PICK, "-" + PICK, "likelihoods(logits, ids, scored)", "the sign"),
        (PICK, PICK + " / scored.sum(1)", "likelihoods(logits, ids, scored)", "mean per token"),
        (
            "    said = logits[:, :-1].log_softmax(-1)\n    each = said.gather(-1, ids[:, 1:, None])",
            "    said = logits[:, 1:].log_softmax(-1)\n    each = said.gather(-1, ids[:, 1:, None])",
            "likelihoods(logits, ids, scored)",
            "predicts token t + 1",
        ),
        (PICK, "each.sum(1)", "likelihoods(logits, ids, scored)", "prompt is scored"),
        (PICK, PICK + ".exp()", "likelihoods(logits, ids, scored)", "these are probabilities"),
        (PICK, PICK + ".sum()", "likelihoods(logits, ids, scored)", "one number per answer"),
        (".log_softmax(-1)", "", "likelihoods(logits, ids, scored)", "sums of logits"),
        ("scored[:, 1:]", "scored[:, :-1]", "likelihoods(logits, ids, scored)", "not right"),
        ("argmax().item()", "argmin().item()", "choose(likelihoods)", "least likely"),
        ("argmax().item()", "max().item()", "choose(likelihoods)", "place in the list"),
        ("argmax().item()", "argmax()", "choose(likelihoods)", "a plain int"),
    ],
    "a3-others-test": [
        (
            SHIFT,
            "    return torch.arange(len(labels)).roll(1)",
            "four kinds",
            "another picture of the same kind",
        ),
        (SHIFT, "    return torch.arange(len(labels))", "four kinds", "keep their own"),
        (
            SHIFT,
            "    p = torch.empty_like(order)\n    p[order] = order.roll(-1)\n    return p",
            "four kinds",
            "of the same kind",
        ),
        ("int(largest)", "1", "half of one kind, half of the other", "of the same kind"),
        (
            SHIFT,
            "    return torch.stack([(labels != label).nonzero()[0, 0] for label in labels])",
            "four kinds",
            "used twice",
        ),
        (SHIFT, "    return order.roll(-int(largest))", "four kinds", "some texts"),
        (SHIFT, "    return torch.zeros_like(order)", "four kinds", "no permutation"),
        (SHIFT, "    return labels.flip(0)", "four kinds", "permutation"),
        ("    return p", "    return p[:-1]", "four kinds", "dict with keys"),
        (".max()", ".min()", "four kinds", "of the same kind"),
    ],
}
