"""Plausible wrong answers of assignment 5: in the solution of a task, `old` becomes `new`; then this check must fail with
these words. (test id: [(old, new, check, words)])"""

FIRST, ONCE = "the gradients of both alphas", "each part is called once"
ATTEND, FED = "(gradient * attend(y)).sum()", "(gradient * feedforward(y)).sum()"
BOTH = f"    of_attend = {ATTEND}\n    of_feedforward = {FED}\n    return of_attend, of_feedforward"
FILMS, TORN = "films of different lengths", "what missing frames hold"
ADD = "latents + scores.masked_fill(~is_key[:, None, :], -math.inf).softmax(-1) @ v"
CLEAN = "    features = features.where(is_real[:, :, None, None], 0.0)\n"
PICTURES, SCORED = "pictures", "scored"
SCORE = "len(scored) > 0 and token != image"
STOP = "            if len(pictures) == most:\n                break\n"
NAMES, KEPT = (
    "names of what learns",
    'name.startswith("resampler.") or ".gated." in name or name == "lm.new_rows"',
)
SUMS, BACK = "accumulated gradients", "            (weight / tokens * loss()).backward()"
PIECE = "piece by piece == all at once"
BALANCED = "equally many of each label, the most similar last"
ORDERED = "[i for i in ascending if i in chosen]"
STEPS = "        known = known | image_mask\n        read = (text_mask.float() @ known.float()) > 0\n        known = known | read\n"

MUTANTS = {
    "a5-first-test": [
        (
            BOTH,
            "    seen = attend(y)\n    return (gradient * (y + seen)).sum(), (gradient * feedforward(y)).sum()",
            FIRST,
            "y itself",
        ),
        (
            BOTH,
            "    seen, fed = attend(y), feedforward(y)\n    return (gradient * y * seen).sum(), (gradient * y * fed).sum()",
            FIRST,
            "y is a factor",
        ),
        (
            BOTH,
            BOTH.replace("return of_attend, of_feedforward", "return of_feedforward, of_attend"),
            FIRST,
            "are exchanged",
        ),
        (
            BOTH,
            "    seen = attend(y)\n    return (gradient * seen).sum(), (gradient * feedforward(y + seen)).sum()",
            FIRST,
            "the first gate is closed",
        ),
        (
            BOTH,
            "    seen = attend(y)\n    return (gradient * seen).sum(), (gradient * feedforward(seen)).sum()",
            FIRST,
            "as long as the first gate is closed",
        ),
        (BOTH, "    return torch.tensor(0.0), torch.tensor(0.0)", FIRST, "both are zero"),
        (BOTH, BOTH.replace(".sum()", ".mean()"), FIRST, "so sum"),
        (BOTH, BOTH.replace(".sum()", ".sum((1, 2)).mean()"), FIRST, "over the texts"),
        (BOTH, BOTH.replace("(gradient", "-(gradient"), FIRST, "not the step"),
        (BOTH, "    return attend(y).sum(), feedforward(y).sum()", FIRST, "is not used"),
        (
            BOTH,
            BOTH.replace("attend(y)", "(y + attend(y))").replace(
                "feedforward(y)", "(y + feedforward(y))"
            ),
            FIRST,
            "y itself",
        ),
        (
            BOTH,
            "    return gradient.sum() * attend(y).sum(), gradient.sum() * feedforward(y).sum()",
            FIRST,
            "a product of two sums",
        ),
        (BOTH, BOTH.replace(".sum()", ".sum(-1)"), FIRST, "found shape"),
        (
            BOTH,
            "    attend(y), feedforward(y)\n" + BOTH,
            ONCE,
            "more than once",
        ),
    ],
    "a5-films-test": [
        ("is_real.repeat_interleave(S, dim=1)", "is_real.repeat(1, S)", FILMS, "repeat_interleave"),
        ("torch.cat([x, latents], dim=1)", "torch.cat([latents, x], dim=1)", FILMS, "stand before"),
        ("-math.inf", "-100.0", FILMS, "a finite score"),
        ("/ math.sqrt(D)", "/ D", FILMS, "by its square root"),
        (
            "latents @ query.T, context @ key.T",
            "latents @ key.T, context @ query.T",
            FILMS,
            "queries and keys",
        ),
        ("context @ value.T", "context @ value", FILMS, "value matrix"),
        (
            ADD,
            ADD.replace("masked_fill(~is_key[:, None, :], -math.inf).", ""),
            FILMS,
            "still attended to",
        ),
        (
            CLEAN,
            "    is_real = torch.ones_like(is_real)\n",
            FILMS,
            "missing are attended to",
        ),
        ("< lengths[:, None]", "< lengths.min()", FILMS, "RuntimeError"),
        ("< lengths[:, None]", "< lengths.min().expand(B)[:, None]", FILMS, "to the shortest"),
        ("< lengths[:, None]", "< lengths[:1].expand(B)[:, None]", FILMS, "of the first film"),
        ("< lengths[:, None]", "<= lengths[:, None]", FILMS, "one frame too many"),
        ("< lengths[:, None]", "< lengths[:, None] - 1", FILMS, "last real frame"),
        (
            "torch.ones(latents.shape[:2]).bool()",
            "torch.zeros(latents.shape[:2]).bool()",
            FILMS,
            "features alone",
        ),
        (ADD, ADD.removeprefix("latents + "), FILMS, "is lost"),
        ("(features + time[:, None])", "features", FILMS, "time embeddings are missing"),
        (" / math.sqrt(D)", "", FILMS, "square root"),
        ("q, k, v = latents", "q, v, k = latents", FILMS, "keys and values are exchanged"),
        (
            "latents @ query.T, context @ key.T, context @ value.T",
            "latents @ query, context @ key, context @ value",
            FILMS,
            "wrong way round",
        ),
        ("time[:, None]", "time[:1, None]", FILMS, "serves all frames"),
        (ADD, ADD.replace("latents +", "q +"), FILMS, "add the latents themselves"),
        (CLEAN, "", TORN, "0 times NaN"),
    ],
    "a5-count-test": [
        (
            "    phi = counted[:, None] + is_tag.long().cumsum(1)\n    return phi, phi[:, -1]",
            "    phi = is_tag.long().cumsum(1)\n    return phi, counted + phi[:, -1]",
            PIECE,
            "phi counts from 0",
        ),
        (
            "return phi, phi[:, -1]",
            "return phi, is_tag.sum(1)",
            PIECE,
            "of this piece are handed on",
        ),
        (
            "return phi, phi[:, -1]",
            "return phi, counted + is_tag.sum()",
            PIECE,
            "all rows are added up",
        ),
        ("return phi, phi[:, -1]", "return phi, counted + phi[:, -1]", PIECE, "counted twice"),
        ("counted[:, None] + ", "", "piece by piece == all at once", "begin at `counted`"),
        (
            "return phi, phi[:, -1]",
            "return phi, counted",
            "piece by piece == all at once",
            "isn't handed on",
        ),
        (
            "is_tag.long().cumsum(1)",
            "is_tag.long().cumsum(1) - is_tag.long()\n    return phi, counted + is_tag.sum(1)",
            "piece by piece == all at once",
            "doesn't count itself",
        ),
        (
            "is_tag.long().cumsum(1)",
            "is_tag.long().cumsum(0)\n    return counted[:, None] * 0 + is_tag.long().cumsum(0), counted + is_tag.sum(1)",
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
    "a5-window-test": [
        ("first = ids[:start].count(image)", "first = 0", PICTURES, "from the window's start"),
        (
            "first = ids[:start].count(image)",
            "first = ids[:start].count(image) + 1",
            PICTURES,
            "counted from 1",
        ),
        (
            STOP,
            "            if len(pictures) == most:\n                scored.append(False)\n                break\n",
            SCORED,
            "one too many is in the window",
        ),
        (
            STOP,
            "            if len(pictures) == most:\n                continue\n",
            SCORED,
            "their text is kept",
        ),
        ("ids[start : start + length]", "ids[start:]", SCORED, "longer than `length`"),
        (
            SCORE,
            "len(scored) > 0 and token != image and ids[start + len(scored) - 1] != image",
            SCORED,
            "behind a tag",
        ),
        (STOP, "", PICTURES, "more than `most`"),
        (STOP, "", SCORED, "more than `most`"),
        (
            STOP + "            pictures.append(first + len(pictures))\n",
            "            if len(pictures) < most:\n                pictures.append(first + len(pictures))\n",
            SCORED,
            "more than `most`",
        ),
        ("len(pictures) == most", "len(pictures) > most", PICTURES, "one image too many"),
        ("len(pictures) == most", "len(pictures) == most - 1", PICTURES, "last image that fits"),
        ("ids[start : start + length]", "ids[start:length]", SCORED, "taken as the window's end"),
        ("ids[start : start + length]", "ids[:length]", SCORED, "begins at the page's start"),
        (SCORE, "len(pictures) > 0 and token != image", SCORED, "it is ordinary text"),
        (SCORE, "True", SCORED, "image tags and the first token"),
        (SCORE, "token != image", SCORED, "nothing precedes"),
        (SCORE, "len(scored) > 0", SCORED, "nobody should learn"),
        (SCORE, f"not ({SCORE})", SCORED, "upside down"),
    ],
    "a5-learns-test": [
        (
            KEPT,
            KEPT.replace('name.startswith("resampler.")', '"resampler" in name'),
            NAMES,
            "piece of a name",
        ),
        (KEPT, KEPT.replace('"resampler."', '"resampler"'), NAMES, "ends with its dot"),
        (KEPT, KEPT.replace('".gated."', '"gated"'), NAMES, "piece of a word"),
        (
            KEPT,
            KEPT.replace('name == "lm.new_rows"', '"new_rows" in name'),
            NAMES,
            "merely contain",
        ),
        (KEPT, KEPT + ' or name.startswith("vision.")', NAMES, "vision encoder is frozen"),
        (KEPT, KEPT + ' or name.startswith("lm.")', NAMES, "language model itself is frozen"),
        (KEPT, KEPT + ' or "embed" in name', NAMES, "old embeddings of words"),
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
            "    for parts, weight in zip(data, weights):",
            "    weights = [weight / sum(weights) for weight in weights]\n    for parts, weight in zip(data, weights):",
            SUMS,
            "divided by their sum",
        ),
        (
            "    for parameter in parameters:\n        parameter.grad = None\n",
            "",
            SUMS,
            "step before",
        ),
        (
            BACK,
            "            for parameter in parameters:\n                parameter.grad = None\n"
            + BACK,
            SUMS,
            "only the last part",
        ),
        (BACK, BACK + "\n        break", SUMS, "not right"),
        (BACK, BACK + "\n            break", SUMS, "first part of each data set"),
        (BACK, BACK.replace("/ tokens", "/ number / len(parts)"), SUMS, "of the parts' means"),
        (BACK, BACK.replace("/ tokens", "/ number"), SUMS, "by its own tokens"),
        (BACK, BACK.replace(" / tokens", ""), SUMS, "these are sums"),
        (
            "sum(number for _, number in parts)",
            "sum(number for one in data for _, number in one)",
            SUMS,
            "tokens of all data sets",
        ),
        ("sum(number for _, number in parts)", "len(parts)", SUMS, "by the number of parts"),
        (BACK, BACK.replace("weight /", "1 /"), SUMS, "are not used"),
        (BACK, BACK.replace("weight /", "weight**2 /"), SUMS, "used twice"),
        (BACK, BACK.replace("(weight", "(-weight"), SUMS, "the sign"),
        (
            BACK,
            "            pass\n        sum(weight / tokens * loss() for loss, _ in parts).backward()",
            SUMS,
            "all graphs",
        ),
        (
            BACK,
            BACK
            + "\n    with torch.no_grad():\n        for parameter in parameters:\n            parameter -= 0.1 * parameter.grad",
            SUMS,
            "no step",
        ),
    ],
    "a5-balanced-test": [
        (
            "    cosines = normalize(support, dim=-1) @ normalize(query, dim=-1)",
            "    cosines = -(support - query).norm(dim=-1)",
            BALANCED,
            "these are distances",
        ),
        (ORDERED, "ascending[-len(chosen) :]", BALANCED, "whatever their label"),
        (ORDERED, ORDERED + "[::-1]", BALANCED, "comes first"),
        ("return " + ORDERED, "return chosen", BALANCED, "label by label"),
        (
            "normalize(support, dim=-1) @ normalize(query, dim=-1)",
            "support @ query",
            BALANCED,
            "long vectors win",
        ),
        ("of_label[-per_label:]", "of_label[:per_label]", BALANCED, "least similar"),
        ("return " + ORDERED, "return sorted(chosen)", BALANCED, "order of the support set"),
        (
            "[i for i in ascending if labels[i] == label]",
            "[i for i in ascending if labels[i] == label]\n        of_label = sorted(of_label)[:per_label]",
            BALANCED,
            "the first of each label",
        ),
        ("of_label[-per_label:]", "of_label", BALANCED, "all examples are there"),
        ("of_label[-per_label:]", "of_label[-1:]", BALANCED, "one of each label"),
        ("of_label[-per_label:]", "of_label[-per_label - 1 :]", BALANCED, "one too many"),
        (
            "        chosen += of_label",
            "        if len(of_label) < per_label:\n            continue\n        chosen += of_label",
            BALANCED,
            "is left out",
        ),
        (
            "    chosen = []\n",
            "    chosen = []\n    per_label = min(per_label, int(labels.unique(return_counts=True)[1].min()))\n",
            BALANCED,
            "cuts the others",
        ),
        ("return " + ORDERED, "return " + ORDERED + "[-per_label:]", BALANCED, "in all"),
    ],
    "a5-knows-test": [
        (
            STEPS,
            "        known = known | image_mask\n        for t in range(len(known)):\n            known[t] |= known[text_mask[t]].any(0)\n",
            "after two layers",
            "in the same self-attention",
        ),
        (STEPS, "        known = image_mask\n", "after two layers", "directly"),
        ("range(layers)", "range(1)", "after two layers", "one round is missing"),
        ("range(layers)", "range(2)", "after one layer", "that is two layers"),
        ("range(layers)", "range(layers + 1)", "after two layers", "a layer too many"),
        (
            STEPS,
            "        read = (text_mask.float() @ known.float()) > 0\n        known = known | read | image_mask\n",
            "after two layers",
            "one round is missing",
        ),
        (
            STEPS,
            "        read = (text_mask.float() @ known.float()) > 0\n        known = known | read | image_mask\n",
            "after one layer",
            "both in one layer",
        ),
        ("        known = known | read\n", "        known = read\n", "after two layers", "forgets"),
        ("text_mask.float()", "text_mask.T.float()", "after two layers", "the other way round"),
        ("    return known", "    return ~known", "after two layers", "upside down"),
        ("    return known", "    return known.T", "after two layers", "rows are tokens"),
        ("    return known", "    return known.float()", "after two layers", "booleans are wanted"),
        (
            "    return known",
            "    return torch.ones_like(known)",
            "after two layers",
            "every token knows",
        ),
    ],
}
