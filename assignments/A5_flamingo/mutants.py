"""Plausible wrong answers of assignment 5: in the solution of a task, `old` becomes `new`; then this check must fail with
these words. (test id: [(old, new, check, words)])"""

BLOCK, SHUT = "the block", "shut gates: nothing passes, only the gates learn"
BOTH = "    y = y + alpha_attend.tanh() * attend(y)\n    return y + alpha_feedforward.tanh() * feedforward(y)"
ADD = "latents + scores.softmax(-1) @ v"
IDS, SCORED = "ids", "which tokens are scored"
NAMES, KEPT = (
    "names of what learns",
    'name.startswith("resampler.") or ".gated." in name or name == "lm.new_rows"',
)
SUMS, BACK = "accumulated gradients", "        (weight * loss()).backward()"
BEST = "the k most similar, best last"
STEPS = "        known = known | sees\n        told = (listens.float() @ known.float()) > 0\n        known = known | told\n"

MUTANTS = {
    "a5-gates-test": [
        (BOTH, BOTH.replace(".tanh()", ""), BLOCK, "alpha itself"),
        (BOTH, BOTH.replace(".tanh()", ".sigmoid()"), BLOCK, "a sigmoid"),
        (BOTH, BOTH.replace(".tanh()", ".sigmoid()"), SHUT, "a sigmoid"),
        (BOTH, "    y = y + attend(y)\n    return y + feedforward(y)", BLOCK, "no gate"),
        (
            BOTH,
            BOTH.replace("alpha_attend.tanh()", "(1 - alpha_attend.tanh())").replace(
                "alpha_feedforward.tanh()", "(1 - alpha_feedforward.tanh())"
            ),
            BLOCK,
            "1 - tanh",
        ),
        (BOTH, BOTH.replace("y + ", ""), BLOCK, "what was there is lost"),
        (
            BOTH,
            "    return y + alpha_attend.tanh() * attend(y) + alpha_feedforward.tanh() * feedforward(y)",
            BLOCK,
            "as it was before the attention",
        ),
        (
            BOTH,
            BOTH.replace("alpha_feedforward", "alpha_a")
            .replace("alpha_attend", "alpha_feedforward")
            .replace("alpha_a.", "alpha_attend."),
            BLOCK,
            "exchanged",
        ),
        (BOTH, BOTH.replace("alpha_feedforward", "alpha_attend"), BLOCK, "one gate serves both"),
        (
            BOTH,
            "    return y + alpha_feedforward.tanh() * feedforward(y)",
            BLOCK,
            "the attention is missing",
        ),
        (
            BOTH,
            "    return y + alpha_attend.tanh() * attend(y)",
            BLOCK,
            "the feed-forward is missing",
        ),
        (
            BOTH,
            BOTH.replace("alpha_feedforward.tanh() * ", ""),
            BLOCK,
            "the feed-forward is not gated",
        ),
        (
            BOTH,
            "    y = y + math.tanh(alpha_attend.item()) * attend(y)\n    return y + math.tanh(alpha_feedforward.item()) * feedforward(y)",
            SHUT,
            "no gradient reaches the gates",
        ),
    ],
    "a5-resampler-test": [
        ("torch.cat([x, latents], dim=1)", "x", "one layer", "features alone"),
        (ADD, ADD.removeprefix("latents + "), "one layer", "is lost"),
        ("(features + time[:, None])", "features", "one layer", "time embeddings are missing"),
        (
            "(features + time[:, None])",
            "features",
            "order within a frame doesn't matter, order of frames does",
            "no difference",
        ),
        (" / math.sqrt(q.shape[-1])", "", "one layer", "square root"),
        (
            "context @ key.T, context @ value.T",
            "context @ value.T, context @ key.T",
            "one layer",
            "keys and values are exchanged",
        ),
        (
            "q, k, v = latents @ query.T",
            "q, v, k = latents @ query.T",
            "one layer",
            "keys and values are exchanged",
        ),
        ("time[:, None]", "time[:1, None]", "one layer", "serves all frames"),
        (
            "latents @ query.T, context @ key.T, context @ value.T",
            "latents @ query, context @ key, context @ value",
            "one layer",
            "wrong way round",
        ),
        (ADD, ADD.replace("latents +", "q +"), "one layer", "add the latents themselves"),
        (
            "x = (features + time[:, None]).flatten(1, 2)",
            "x = (features + time[:, None]).flatten(0, 2).expand(B, -1, -1)",
            "one layer",
            "the films of the batch are mixed",
        ),
    ],
    "a5-count-test": [
        ("seen[:, None] + ", "", "piece by piece == all at once", "begin at `seen`"),
        (
            "return phi, phi[:, -1]",
            "return phi, seen",
            "piece by piece == all at once",
            "isn't handed on",
        ),
        (
            "is_tag.long().cumsum(1)",
            "is_tag.long().cumsum(1) - is_tag.long()\n    return phi, seen + is_tag.sum(1)",
            "piece by piece == all at once",
            "doesn't count itself",
        ),
        (
            "is_tag.long().cumsum(1)",
            "is_tag.long().cumsum(0)\n    return seen[:, None] * 0 + is_tag.long().cumsum(0), seen + is_tag.sum(1)",
            "piece by piece == all at once",
            "down the batch",
        ),
        (
            "return phi, phi[:, -1]",
            "return phi.float(), phi[:, -1].float()",
            "piece by piece == all at once",
            "whole numbers",
        ),
        (
            "return phi, phi[:, -1]",
            "return is_tag.long(), phi[:, -1]",
            "piece by piece == all at once",
            "running count is wanted",
        ),
        (
            "return phi, phi[:, -1]",
            "return phi + 1, phi[:, -1]",
            "piece by piece == all at once",
            "must have 0",
        ),
        (
            "return phi, phi[:, -1]",
            "return phi",
            "piece by piece == all at once",
            "raised ValueError",
        ),
        (
            "is_tag.long().cumsum(1)",
            "is_tag.cumsum(1).bool()",
            "piece by piece == all at once",
            "not right",
        ),
    ],
    "a5-page-test": [
        ("[chunk, image] if ids else [image]", "[image]", IDS, "before each image is missing"),
        ("    ids.append(chunk)\n", "", IDS, "end of the page is missing"),
        (
            "            ids += [chunk, image] if ids else [image]\n    ids.append(chunk)\n",
            "            ids += [image]\n",
            IDS,
            "there are no end-of-chunks",
        ),
        ("[chunk, image] if ids else [image]", "[chunk, image]", IDS, "with which the page begins"),
        ("    ids = []\n", "    ids = []\n    image, chunk = chunk, image\n", IDS, "exchanged"),
        ("[chunk, image] if ids else [image]", "[chunk] if ids else []", IDS, "tags are missing"),
        ("[chunk, image] if ids else [image]", "[image, chunk]", IDS, "before it"),
        ("place > 0 and word != image", "True", SCORED, "nothing precedes"),
        ("place > 0 and word != image", "word != image", SCORED, "the first token is scored"),
        ("place > 0 and word != image", "place > 0", SCORED, "image tags are scored"),
        (
            "place > 0 and word != image",
            "place > 0 and word not in (image, chunk)",
            SCORED,
            "learns to stop",
        ),
        ("place > 0 and word != image", "not (place > 0 and word != image)", SCORED, "upside down"),
        (
            "place > 0 and word != image",
            "0 < place < len(ids) - 1 and word != image",
            SCORED,
            "last end-of-chunk",
        ),
    ],
    "a5-learns-test": [
        (KEPT, KEPT + ' or name.startswith("vision.")', NAMES, "vision encoder is frozen"),
        (KEPT, KEPT + ' or name.startswith("lm.")', NAMES, "language model itself is frozen"),
        (KEPT, KEPT + ' or "embed" in name', NAMES, "old word embeddings"),
        (' or name == "lm.new_rows"', "", NAMES, "new rows are missing"),
        ('name.startswith("resampler.") or ', "", NAMES, "resampler is missing"),
        ('".gated." in name or ', "", NAMES, "gated layers are missing"),
        (KEPT, f'({KEPT}) and not name.endswith("alpha")', NAMES, "alphas are missing"),
        (KEPT, f"not ({KEPT})", NAMES, "the frozen ones"),
        (KEPT, "True", NAMES, "everything learns"),
        (KEPT, 'name.endswith("alpha")', NAMES, "only the alphas"),
        (
            'name.startswith("resampler.")',
            'name.startswith("resampler.layers")',
            NAMES,
            "latents and time",
        ),
    ],
    "a5-mixture-test": [
        (
            "    for parameter in parameters:\n        parameter.grad = None\n",
            "",
            SUMS,
            "step before",
        ),
        (
            BACK,
            "        for parameter in parameters:\n            parameter.grad = None\n" + BACK,
            SUMS,
            "only the last",
        ),
        (BACK, BACK + "\n        break", SUMS, "only the first"),
        ("(weight * loss())", "loss()", SUMS, "weights are not used"),
        ("(weight * loss())", "(weight * loss() / len(losses))", SUMS, "that is the mean"),
        ("(weight * loss())", "(weight * loss() / sum(weights))", SUMS, "sum of the weights"),
        ("(weight * loss())", "(loss() / len(losses))", SUMS, "plain mean"),
        ("(weight * loss())", "(-weight * loss())", SUMS, "the sign"),
        ("(weight * loss())", "(weight ** 2 * loss())", SUMS, "used twice"),
        (
            BACK,
            BACK
            + "\n    with torch.no_grad():\n        for parameter in parameters:\n            parameter -= 0.1 * parameter.grad",
            SUMS,
            "no step",
        ),
    ],
    "a5-similar-test": [
        ("cosines.argsort()[-k:]", "cosines.argsort(descending=True)[:k]", BEST, "comes first"),
        (
            "normalize(support, dim=-1) @ normalize(query, dim=-1)",
            "support @ query",
            BEST,
            "long vectors win",
        ),
        (
            "    cosines = normalize(support, dim=-1) @ normalize(query, dim=-1)\n    return cosines.argsort()[-k:].tolist()",
            "    return (support @ query).topk(k).indices.tolist()",
            BEST,
            "dot products, and the most similar first",
        ),
        ("[-k:]", "[:k]", BEST, "least similar"),
        ("[-k:]", "", BEST, "all examples"),
        (
            "cosines.argsort()[-k:].tolist()",
            "sorted(cosines.argsort()[-k:].tolist())",
            BEST,
            "order of the support set",
        ),
        ("cosines.argsort()[-k:].tolist()", "list(range(k))", BEST, "the first k"),
        (
            "normalize(support, dim=-1) @ normalize(query, dim=-1)",
            "-(support - query).norm(dim=-1)",
            BEST,
            "by distance",
        ),
        ("cosines.argsort()[-k:].tolist()", "[cosines.argmax().item()] * k", BEST, "k times"),
    ],
    "a5-hears-test": [
        (STEPS, "        known = sees\n", "after two layers", "directly"),
        ("range(layers)", "range(1)", "after two layers", "one round of listening"),
        ("range(layers)", "range(2)", "after one layer", "that is two layers"),
        ("range(layers)", "range(layers + 1)", "after two layers", "a layer too many"),
        (
            STEPS,
            "        told = (listens.float() @ known.float()) > 0\n        known = known | told | sees\n",
            "after two layers",
            "one round of listening",
        ),
        (
            STEPS,
            "        told = (listens.float() @ known.float()) > 0\n        known = known | told | sees\n",
            "after one layer",
            "look first, then listen",
        ),
        ("        known = known | told\n", "        known = told\n", "after two layers", "forgets"),
        ("listens.float()", "listens.T.float()", "after two layers", "the other way round"),
        ("    return known", "    return ~known", "after two layers", "upside down"),
        ("    return known", "    return known.T", "after two layers", "rows are tokens"),
        ("    return known", "    return known.float()", "after two layers", "booleans are wanted"),
        (
            "    return known",
            "    return torch.ones_like(known)",
            "after two layers",
            "everybody hears",
        ),
    ],
}
