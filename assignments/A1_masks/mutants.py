"""Plausible wrong answers of assignment 1: in the solution of a task, `old` becomes `new`; then this check must fail with
these words. (test id: [(old, new, check, words)])"""

FILL = "scores.masked_fill(~mask & some, -math.inf)"
WEIGHTS = "scores.softmax(-1).where(some, 0)"
SUM = "scores.logsumexp(-1).where(some[..., 0], -math.inf)"
EMPTY = "empty rows"
FORMULA = "the formula and the mask"
COMBINE = "combine(results, log_sums)"
SHARES = "log_sums.masked_fill(empty, 0.0).softmax(0)[..., None]"
PAST = "past & ((group[None, :] == group[:, None]) | is_question[:, None])"
IMAGES = "(image_of_key <= phi) & (image_of_key > phi - most)"
TWO = "the last two images"
FIRST = "text before the first image"
GROUPED = "grouped_attention(...)"
REPEAT = "y.repeat_interleave(heads // key_heads, dim=1)"
ONE_KEY_HEAD = "one key head for all query heads"
WINDOW = "(at_key <= at_query) & (at_key > at_query - window)"
SINGLE = "one token at a time"
SEVERAL = "several tokens in a call"
BOUNDED = "the cache has at most W - 1 tokens"
SECOND = "a second text doesn't depend on the first"
SQUARES = "derivatives.square().sum(dim=(1, 3)).sqrt()"
WORDS = '"both" if leak and gap else "leak" if leak else "gap" if gap else "fine"'

MUTANTS = {
    "a1-attention-test": [
        (" / math.sqrt(q.shape[-1])", "", FORMULA, "not scaled"),
        ("math.sqrt(q.shape[-1])", "q.shape[-1]", FORMULA, "divided by D"),
        ("math.sqrt(q.shape[-1])", "math.sqrt(k.shape[2])", FORMULA, "number of keys"),
        (" / math.sqrt", " * math.sqrt", FORMULA, "multiplied by the square root"),
        ("scores.softmax(-1)", "scores.softmax(-2)", FORMULA, "over the queries"),
        (SUM, "scores.exp().sum(-1)", FORMULA, "its logarithm is wanted"),
        (SUM, "scores.amax(-1)", FORMULA, "the largest score"),
        ("~mask & some", "mask & (~mask).any(-1, keepdim=True)", FORMULA, "upside down"),
        (
            f"    scores = {FILL}  # an empty row stays finite\n    weights = {WEIGHTS}\n",
            "    weights = scores.softmax(-1) * mask\n",
            FORMULA,
            "after the softmax",
        ),
        (FILL, "scores * mask", FORMULA, "exp(0) = 1"),
        (
            FILL,
            "scores + torch.zeros(mask.shape).masked_fill(~mask, -math.inf)",
            "the gradient, with empty rows",
            "NaN",
        ),
        (
            f"{FILL}  # an empty row stays finite\n    weights = {WEIGHTS}",
            "scores.masked_fill(~mask, -math.inf)\n    weights = scores.softmax(-1)",
            EMPTY,
            "empty rows are NaN",
        ),
        (
            f"{FILL}  # an empty row stays finite\n    weights = {WEIGHTS}\n    log_sum = {SUM}",
            "scores.masked_fill(~mask, torch.finfo(scores.dtype).min)\n    weights = scores.softmax(-1)\n    log_sum = scores.logsumexp(-1)",
            EMPTY,
            "evenly",
        ),
        (WEIGHTS, "scores.softmax(-1)", EMPTY, "attends to everything"),
        (SUM, "scores.logsumexp(-1)", EMPTY, "that of a full one"),
        (SUM, "scores.logsumexp(-1).where(some[..., 0], 0.0)", EMPTY, "that of a sum of 1"),
        (
            SUM,
            "scores.detach().logsumexp(-1).where(some[..., 0], -math.inf)",
            "the gradient, with empty rows",
            "through the log-sum",
        ),
        (SHARES, "1 / len(results)", COMBINE, "averaged"),
        ("(shares * results).sum(0)", "results.sum(0)", COMBINE, "summed"),
        (SHARES, "log_sums.softmax(0)[..., None]", COMBINE, "NaN"),
        (SHARES, "log_sums.softmax(0).nan_to_num(0.0)[..., None]", COMBINE, "gradient is NaN"),
        (SHARES, "log_sums.exp()[..., None]", COMBINE, "don't sum to one"),
        (".softmax(0)[..., None]", ".softmax(-1)[..., None]", COMBINE, "axis 0"),
        (
            "    return (shares * results).sum(0)",
            "    best = log_sums.argmax(0)[None, ..., None].expand_as(results[:1])\n    return results.gather(0, best)[0]",
            COMBINE,
            "only the part with the largest",
        ),
        ("return weights @ v, log_sum", "return weights @ v", FORMULA, "found a tensor"),
    ],
    "a1-levels-test": [
        (
            "level[None, :] <= level[:, None]",
            "level[:, None] <= level[None, :]",
            "frames(number, size)",
            "transpose",
        ),
        (
            "level[None, :] <= level[:, None]",
            "level[None, :] > level[:, None]",
            "frames(number, size)",
            "upside down",
        ),
        (
            "level[None, :] <= level[:, None]",
            "level[None, :] == level[:, None]",
            "frames(number, size)",
            "their own frame only",
        ),
        (
            "torch.arange(number * size) // size",
            "torch.arange(number * size)",
            "frames(number, size)",
            "causal",
        ),
        (
            "torch.arange(number * size) // size",
            "torch.arange(number * size) % size",
            "frames(number, size)",
            "quotient",
        ),
        (
            "torch.arange(number * size) // size",
            "torch.arange(number * size) // number",
            "frames(number, size)",
            "divided by the number",
        ),
        (
            "    level = torch.arange(number * size) // size\n    return level[None, :] <= level[:, None]",
            "    return torch.ones(number * size, number * size).tril()",
            "frames(number, size)",
            "A mask is booleans",
        ),
        (
            "(index[None, :] > index[:, None] - size)",
            "(index[None, :] >= index[:, None] - size)",
            "window(length, size)",
            "one token too long",
        ),
        (
            "(index[None, :] > index[:, None] - size)",
            "(index[None, :] > index[:, None] - size + 1)",
            "window(length, size)",
            "one token too short",
        ),
        (
            " & (index[None, :] > index[:, None] - size)",
            "",
            "window(length, size)",
            "must be left out",
        ),
        (
            "(index[None, :] <= index[:, None]) & (index[None, :] > index[:, None] - size)",
            "(index[None, :] - index[:, None]).abs() < size",
            "window(length, size)",
            "reaches back only",
        ),
        (
            "(index[None, :] > index[:, None] - size)",
            "(index[None, :] // size == index[:, None] // size)",
            "window(length, size)",
            "cut into blocks",
        ),
        (PAST, "past", "examples(shots, size, question)", "examples attend to each other"),
        (
            PAST,
            "past & (group[None, :] == group[:, None]) | is_question[:, None]",
            "examples(shots, size, question)",
            "own future",
        ),
        (
            PAST,
            "past & (group.clamp(max=shots)[None, :] == group.clamp(max=shots)[:, None])",
            "examples(shots, size, question)",
            "doesn't attend to the examples",
        ),
        (
            PAST,
            "(group[None, :] == group[:, None]) & ~is_question[:, None] | past & is_question[:, None]",
            "examples(shots, size, question)",
            "later tokens of it",
        ),
        (
            PAST,
            "past & ((group[None, :] == group[:, None]) | is_question[:, None] & ~is_question)",
            "examples(shots, size, question)",
            "falls into pieces",
        ),
        ("past | same_image", "past", "mixed(image)", "later tokens of the same image"),
        (" & (image > 0)[:, None]", "", "mixed(image)", "text attends to later text"),
        (
            "(image[None, :] == image[:, None]) & (image > 0)[:, None]",
            "(image > 0)[None, :] & (image > 0)[:, None]",
            "mixed(image)",
            "later images",
        ),
        ("past | same_image", "same_image", "mixed(image)", "only the images"),
        (
            "past | same_image",
            "past & (same_image | (image == 0)[:, None])",
            "mixed(image)",
            "by |, not by &",
        ),
        (
            "past | same_image",
            "past | (image > 0)[:, None]",
            "mixed(image)",
            "attends to everything",
        ),
    ],
    "a1-pack-test": [
        (
            "(document[None, :] == document[:, None]) & (document >= 0)",
            "(document >= 0)[:, None] & (document >= 0)",
            "mask",
            "not right",
        ),
        (
            "level[None, :] <= level[:, None]",
            "level[:, None] <= level[None, :]",
            "mask",
            "transpose",
        ),
        ("mask = same &", "mask = ~same |", "mask", "not right"),
        ("return mask,", "return ~mask,", "mask", "upside down"),
        ("torch.where(is_caption, position + 1, 0)", "position", "mask", "only to earlier ones"),
        (
            "mask = same & (level[None, :] <= level[:, None])",
            "mask = same",
            "mask",
            "levels must grow",
        ),
        ("torch.where(is_caption, position + 1, 0)", "is_caption.long()", "mask", "own future"),
        (" & (document >= 0)", "", "mask", "padding attends to padding"),
        (
            "mask = same & (level[None, :] <= level[:, None])",
            "mask = same & (level[None, :] <= level[:, None]) & (is_caption[None, :] == is_caption[:, None])",
            "mask",
            "can't depend on the image",
        ),
        (
            "mask = same & (level[None, :] <= level[:, None])",
            "mask = same & ((level[None, :] < level[:, None]) | (level == 0)[None, :])",
            "mask",
            "attend to itself",
        ),
        (
            "position += range(prefix + caption)",
            "position += range(len(position), len(position) + prefix + caption)",
            "position",
            "count on across documents",
        ),
        (
            "position + [0] * padding",
            "position + list(range(padding))",
            "position",
            "padding counts up",
        ),
        (
            "position += range(prefix + caption)",
            "position += range(1, prefix + caption + 1)",
            "position",
            "start at 1",
        ),
        (
            "position += range(prefix + caption)",
            "position += [*range(prefix), *range(caption)]",
            "position",
            "starts at 0 again",
        ),
        (
            "return mask, position,",
            "return mask, document,",
            "position",
            "numbers of the documents",
        ),
        (
            "is_caption & (position > 0)",
            "is_caption",
            "loss_mask",
            "nothing in its document precedes it",
        ),
        (
            "is_caption & (position > 0)",
            "(document >= 0) & (position > 0)",
            "loss_mask",
            "image vectors are predicted",
        ),
        (
            "is_caption & (position > 0)",
            "is_caption & is_caption.roll(1) & (position > 0)",
            "loss_mask",
            "last image vector predicts it",
        ),
        (
            "is_caption & (position > 0)",
            "(is_caption & (position > 0)) | (document < 0)",
            "loss_mask",
            "padding is predicted",
        ),
        (
            "is_caption & (position > 0)",
            "torch.arange(total) > 0",
            "loss_mask",
            "caption tokens only",
        ),
        (
            "is_caption & (position > 0)",
            "~(is_caption & (position > 0))",
            "loss_mask",
            "upside down",
        ),
        (
            "return mask, position, is_caption & (position > 0)",
            "return mask, position",
            "loss_mask",
            "IndexError",
        ),
    ],
    "a1-image-test": [
        (IMAGES, f"~({IMAGES})", TWO, "upside down"),
        (IMAGES, "image_of_key <= phi", TWO, "all images so far"),
        (IMAGES, "image_of_key == phi", TWO, "the last image only"),
        ("image_of_key > phi - most", "image_of_key >= phi - most", TWO, "one image too many"),
        (
            IMAGES,
            "(image_of_key >= phi) & (image_of_key < phi + most)",
            "any number of images",
            "still to come",
        ),
        (IMAGES, "image_of_key <= phi.clamp(max=most)", TWO, "the first images"),
        (".cumsum(1)", ".cumsum(1).sub(is_image.long())", TWO, "its own image"),
        (".cumsum(1)", ".cumsum(1).clamp(min=1)", FIRST, "attends to image 1"),
        (" // per_image + 1", " % images + 1", TWO, "1 2 3 1 2 3"),
        (" // per_image + 1", " // per_image", FIRST, "numbered from 0"),
        (".cumsum(1)", ".cumsum(0)", TWO, "down the batch"),
        (".cumsum(1)", ".flatten().cumsum(0).view_as(is_image)", TWO, "from row to row"),
        (IMAGES, f"({IMAGES}) | (phi == 0)", FIRST, "every image"),
        ("phi - most", "phi - 2", "any number of images", "not right"),
    ],
    "a1-heads-test": [
        (REPEAT, "y.repeat(1, heads // key_heads, 1, 1)", GROUPED, "dealt out in turn"),
        (REPEAT, "y[:, :1].expand(-1, heads, -1, -1)", GROUPED, "first key head"),
        (
            "(x @ query.T).unflatten(-1, (heads, -1)).transpose(1, 2)",
            "(x @ query.T).unflatten(-1, (-1, heads)).permute(0, 3, 1, 2)",
            GROUPED,
            "not right",
        ),
        ("attn_mask=mask", "attn_mask=mask, scale=x.shape[-1] ** -0.5", GROUPED, "whole width"),
        (" @ out.T", "", GROUPED, "is missing"),
        (
            "scaled_dot_product_attention(q, k, v,",
            "scaled_dot_product_attention(q, v, k,",
            GROUPED,
            "keys and values are exchanged",
        ),
        (
            "scaled_dot_product_attention(q, k, v,",
            "scaled_dot_product_attention(q, k, k,",
            GROUPED,
            "serve as values",
        ),
        (", attn_mask=mask", "", GROUPED, "not used"),
        ("attn_mask=mask", "attn_mask=~mask", GROUPED, "upside down"),
        ("k = (context @ key.T)", "k = (x @ key.T)", GROUPED, "RuntimeError"),
        (REPEAT, "y", GROUPED, "RuntimeError"),
        (
            "result.transpose(1, 2).flatten(2)",
            "result.reshape(len(x), x.shape[1], -1)",
            ONE_KEY_HEAD,
            "not right",
        ),
        ("return 2 * layers", "return layers", "cache_numbers(...)", "both are cached"),
        ("2 * layers * tokens", "2 * tokens", "cache_numbers(...)", "one layer"),
        ("layers * tokens * key_heads", "layers * key_heads", "cache_numbers(...)", "one token"),
        (" * key_heads * head_width", " * head_width", "cache_numbers(...)", "one key head"),
        ("return 2 *", "return 3 *", "cache_numbers(...)", "queries aren't cached"),
        ("return 2 *", "return 2.0 *", "cache_numbers(...)", "expected an int"),
    ],
    "a1-cache-test": [
        (WINDOW, "at_key <= at_query", SEVERAL, "too far back"),
        (" & (at_key > at_query - window)", "", SEVERAL, "too far back"),
        (
            "return result, (k[:, start:], v[:, start:])",
            "return result, (k, v)",
            BOUNDED,
            "grows beyond",
        ),
        (
            "start = max(0, total - (window - 1))",
            "start = max(0, total - window)",
            BOUNDED,
            "grows beyond",
        ),
        (
            "start = max(0, total - (window - 1))",
            "start = max(0, total - window + 2)",
            SINGLE,
            "one token too short",
        ),
        (
            "at_key > at_query - window",
            "at_key > at_query - window + 1",
            SINGLE,
            "one token too short",
        ),
        (WINDOW, "torch.ones(new, total).bool()", SEVERAL, "attend to each other whole"),
        (
            "torch.arange(total - new, total)[:, None]",
            "torch.arange(new)[:, None]",
            SINGLE,
            "oldest key",
        ),
        ("if cache is not None:", "if False:", SINGLE, "only to itself"),
        (
            "return result, (k[:, start:], v[:, start:])",
            "return result, (k[:, -1:], v[:, -1:])",
            SINGLE,
            "itself and the one before",
        ),
        ("v[:, None], attn_mask", "k[:, None], attn_mask", SINGLE, "serve as values"),
        (
            "q, k, v = x @ query.T, x @ key.T",
            "k, q, v = x @ query.T, x @ key.T",
            SINGLE,
            "queries and keys are exchanged",
        ),
        ("start = max(0, total - (window - 1))", "start = -(window - 1)", BOUNDED, "grows beyond"),
        (
            "    if cache is not None:\n        k, v = torch.cat([cache[0], k], dim=1), torch.cat([cache[1], v], dim=1)\n",
            "    if 'kept' in step.__dict__:\n        k, v = torch.cat([step.kept[0], k], dim=1), torch.cat([step.kept[1], v], dim=1)\n    step.kept = (k, v)\n",
            SECOND,
            "still there",
        ),
        (
            "return result, (k[:, start:], v[:, start:])",
            "return result",
            SINGLE,
            "raised IndexError",
        ),
    ],
    "a1-measure-test": [
        (SQUARES, SQUARES + ".T", "influence: one layer", "transpose"),
        (".sqrt()", "", "influence: one layer", "take its square root"),
        (SQUARES, "derivatives.abs().sum(dim=(1, 3))", "influence: one layer", "absolute values"),
        (SQUARES, "derivatives.sum(dim=(1, 3))", "influence: one layer", "they cancel"),
        (
            SQUARES,
            "derivatives.sum(dim=1).square().sum(dim=-1).sqrt()",
            "influence: one layer",
            "before the derivative",
        ),
        (".sum(dim=(1, 3))", ".mean(dim=(1, 3))", "influence: one layer", "root of the mean"),
        (
            SQUARES,
            "derivatives.abs().amax(dim=(1, 3))",
            "influence: one layer",
            "largest derivative",
        ),
        (SQUARES, SQUARES + " > 1e-6", "influence: one layer", "yes or no"),
        (
            "jacobian(function, x)",
            "jacobian(lambda x: function(x.detach()) + 0 * x, x)",
            "influence: two layers",
            "graph cut",
        ),
        (
            WORDS,
            '"both" if leak and gap else "gap" if leak else "leak" if gap else "fine"',
            "judge(layers, declared, x)",
            "exchanged",
        ),
        (WORDS, '"leak" if leak else "fine"', "judge(layers, declared, x)", "gaps are missing"),
        (WORDS, '"gap" if gap else "fine"', "judge(layers, declared, x)", "leaks are missing"),
        (
            WORDS,
            '"leak" if leak else "gap" if gap else "fine"',
            "judge(layers, declared, x)",
            "a leak only",
        ),
        (
            WORDS,
            '"gap" if gap else "leak" if leak else "fine"',
            "judge(layers, declared, x)",
            "a gap only",
        ),
        (
            "influence(layer, x) > 1e-6",
            "(influence(layer, x) > 1e-6).T",
            "judge(layers, declared, x)",
            "the wrong way round",
        ),
        (
            "influence(layer, x) > 1e-6",
            "influence(layer, x) > 0",
            "judge(layers, declared, x)",
            "above 1e-6",
        ),
    ],
}
