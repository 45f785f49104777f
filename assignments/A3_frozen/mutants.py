"""Plausible wrong answers of assignment 3: in the solution of a task, `old` becomes `new`; then this check must fail with
these words. (test id: [(old, new, check, words)])"""

IDS = "[[pad] * (longest - len(text)) + text for text in texts]"
REAL = "[[False] * (longest - len(text)) + [True] * len(text) for text in texts]"
GAINS = "gains(...)"
LOGP = "logits[:, :-1].log_softmax(-1) - blank_logits[:, :-1].log_softmax(-1)"
SUM = "of_token.masked_fill(~is_answer[:, 1:], 0.0).sum(1)"
CHOOSE = "choose(gains, minimum)"
TOKENS = "tokens_needed(size, loss, law)"
SIZE = "cheapest_size(...)"
NO_SIZE = "a loss that no size reaches is an error"
COST = "6 * size * tokens_needed(size, loss, law) + 2 * size * used"
ADAPT = "adapt(x, task, down, up)"
NOTHING = "new adapters change nothing"
LEARN = "new adapters can learn"
NEW = "torch.randn(tasks, inner, width) * width**-0.5, torch.zeros(tasks, width, inner)"
VECTORS = "vectors"
PLACES = "is_token and position"
GRADIENT = "its gradient"
WHICH = "is_token and is_word"
NUMBER = "too few or too many images are an error"
INSERTED = "return vectors, place >= padding, position"
RETURN = "return x, is_token, is_word"
PARAMETERS = "which parameters learn"
PASSES = "gradients pass through it"
MODES = "modes after train() and eval()"
NAME = "a name that isn't there is an error"
SHIFT = "    p = torch.empty_like(order)\n    p[order] = order.roll(-int(largest))\n    return p"

MUTANTS = {
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
            "is_token",
            "on the right",
        ),
        (
            "return ids, is_token, position",
            "return ids, ~is_token, position",
            "is_token",
            "upside down",
        ),
        (
            "return ids, is_token, position",
            "return ids, is_token.long(), position",
            "is_token",
            "booleans are wanted",
        ),
        (
            "return ids, is_token, position",
            "return ids, torch.ones_like(is_token), position",
            "is_token",
            "counts as a token",
        ),
        (
            "(is_token.long().cumsum(1) - 1).clamp(min=0)",
            "torch.arange(longest).expand(len(texts), -1).clone()",
            "position",
            "padding is counted",
        ),
        (
            "(is_token.long().cumsum(1) - 1).clamp(min=0)",
            "is_token.long().cumsum(1)",
            "position",
            "start at 1",
        ),
        (".clamp(min=0)", "", "position", "position -1"),
        (
            "(is_token.long().cumsum(1) - 1).clamp(min=0)",
            "torch.arange(longest) - (~is_token).sum(1, keepdim=True)",
            "position",
            "negative at padding",
        ),
    ],
    "a3-answers-test": [
        (
            LOGP,
            "blank_logits[:, :-1].log_softmax(-1) - logits[:, :-1].log_softmax(-1)",
            GAINS,
            "the sign",
        ),
        (LOGP, "logits[:, :-1].log_softmax(-1)", GAINS, "subtract the one with the blank image"),
        (SUM, SUM + " / is_answer.sum(1)", GAINS, "mean per token"),
        (
            LOGP,
            "logits[:, 1:].log_softmax(-1) - blank_logits[:, 1:].log_softmax(-1)",
            GAINS,
            "predict token t + 1",
        ),
        (SUM, "of_token.sum(1)", GAINS, "the prompt counts"),
        ("~is_answer[:, 1:]", "~is_answer[:, :-1]", GAINS, "shift it together"),
        (LOGP, "logits[:, :-1] - blank_logits[:, :-1]", GAINS, "differences of logits"),
        (LOGP, "(logits - blank_logits)[:, :-1].log_softmax(-1)", GAINS, "before the softmax"),
        (SUM, SUM + ".exp()", GAINS, "ratios"),
        (SUM, SUM + ".sum()", GAINS, "one number for each"),
        ("gains.argmax()", "gains.argmin()", CHOOSE, "smallest gain"),
        ("gains.argmax().item()", "gains.max().item()", CHOOSE, "its place is wanted"),
        ("gains.argmax().item()", "gains.argmax()", CHOOSE, "a plain int"),
        (
            "gains.argmax().item() if gains.max() > minimum else -1",
            "gains.argmax().item() if gains.max() < minimum else -1",
            CHOOSE,
            "upside down",
        ),
        ("gains.argmax().item() if", "gains.argmax().item() + 1 if", CHOOSE, "from 0"),
        (" if gains.max() > minimum else -1", "", CHOOSE, "minimum is not used"),
    ],
    "a3-cost-test": [
        ('loss - law["E"] -', "loss -", TOKENS, "E is missing"),
        (' - law["A"] / size ** law["alpha"]', "", TOKENS, "depends on the size"),
        ('(law["B"] / left) ** (1 / law["beta"])', 'law["B"] / left', TOKENS, "take its root"),
        ('** (1 / law["beta"])', '** law["beta"]', TOKENS, "you solve for D"),
        ('(law["B"] / left)', '(left / law["B"])', TOKENS, "that is 1 / D"),
        (
            '(law["B"] / left) **',
            '6 * size * (law["B"] / left) **',
            TOKENS,
            "these are the operations",
        ),
        (" if left > 0 else math.inf", "", TOKENS, "found a complex"),
        (COST, "6 * size * tokens_needed(size, loss, law)", SIZE, "only training"),
        (COST, "6 * size * (tokens_needed(size, loss, law) + used)", SIZE, "like training"),
        (
            COST,
            "size if tokens_needed(size, loss, law) < math.inf else math.inf",
            SIZE,
            "the smallest size that reaches",
        ),
        ("min(costs, key=costs.get)", "max(costs)", SIZE, "largest size"),
        ("    return cheapest", "    return costs[cheapest]", SIZE, "that is the cost"),
        ("    return cheapest", "    return float(sizes.index(cheapest))", SIZE, "its place"),
        ("if math.isinf(costs[cheapest]):", "if False:", NO_SIZE, "no error"),
        (
            "    if math.isinf(costs[cheapest]):\n        raise ValueError(",
            "    assert costs[cheapest] < math.inf, (",
            NO_SIZE,
            "python -O",
        ),
        (
            "for size in sizes}",
            "for size in sizes if tokens_needed(size, loss, law) < math.inf}",
            NO_SIZE,
            "by accident",
        ),
    ],
    "a3-adapters-test": [
        ("down[task].transpose(1, 2)", "down[task * 0].transpose(1, 2)", ADAPT, "not right"),
        ("    inner = gelu", "    task = task * 0\n    inner = gelu", ADAPT, "adapter of task 0"),
        (
            "    inner = gelu",
            "    task = torch.arange(len(x)) % len(down)\n    inner = gelu",
            ADAPT,
            "order of the texts",
        ),
        ("x + inner @", "inner @", ADAPT, "x itself is missing"),
        (
            "gelu(x @ down[task].transpose(1, 2))",
            "x @ down[task].transpose(1, 2)",
            ADAPT,
            "gelu is missing",
        ),
        (
            "gelu(x @ down[task].transpose(1, 2))",
            "(x @ down[task].transpose(1, 2)).relu()",
            ADAPT,
            "ReLU",
        ),
        (
            "    inner = gelu(x @ down[task].transpose(1, 2))  # (B, T, r)\n    return x + inner @ up[task].transpose(1, 2)",
            "    inner = x @ down[task].transpose(1, 2)\n    return x + gelu(inner @ up[task].transpose(1, 2))",
            ADAPT,
            "between the two",
        ),
        (".transpose(1, 2))  # (B, T, r)", ")  # (B, T, r)", ADAPT, "RuntimeError"),
        (
            NEW,
            "torch.randn(tasks, inner, width), torch.randn(tasks, width, inner)",
            NOTHING,
            "new adapters change x",
        ),
        (
            NEW,
            "torch.zeros(tasks, inner, width), torch.zeros(tasks, width, inner)",
            LEARN,
            "both matrices zero",
        ),
        (
            NEW,
            "torch.ones(tasks, inner, width), torch.zeros(tasks, width, inner)",
            LEARN,
            "inner units are alike",
        ),
        (
            NEW,
            "torch.zeros(tasks, width, inner), torch.randn(tasks, inner, width)",
            NOTHING,
            "RuntimeError",
        ),
        (
            NEW,
            "torch.randn(tasks, inner, width) * 0.01, torch.randn(tasks, width, inner) * 0.01",
            NOTHING,
            "new adapters change x",
        ),
    ],
    "a3-prompt-test": [
        (
            "    place = torch",
            "    padding = padding * 0\n    place = torch",
            VECTORS,
            "before the padding",
        ),
        (
            "    place = torch",
            "    padding = padding * 0 + T\n    place = torch",
            VECTORS,
            "after the text",
        ),
        (
            "    place = torch",
            "    padding = (padding + 1).clamp(max=T)\n    place = torch",
            VECTORS,
            "after the first token",
        ),
        (
            "    place = torch",
            "    padding = (padding - 1).clamp(min=0)\n    place = torch",
            VECTORS,
            "one vector of padding",
        ),
        (
            "prompt[position.clamp(max=p - 1)]",
            "prompt.flip(0)[position.clamp(max=p - 1)]",
            VECTORS,
            "reverse order",
        ),
        (
            "prompt[position.clamp(max=p - 1)]",
            "prompt[position * 0]",
            VECTORS,
            "first vector of the prompt",
        ),
        (
            "    p, T = len",
            "    x = x * is_token[..., None]\n    p, T = len",
            VECTORS,
            "stay as they are",
        ),
        (INSERTED, "return vectors, place >= padding, place.clone()", PLACES, "padding is counted"),
        (
            INSERTED,
            "return vectors, place >= padding, (position - p).clamp(min=0)",
            PLACES,
            "isn't counted",
        ),
        (
            INSERTED,
            "return vectors, place >= padding, place - padding",
            PLACES,
            "negative positions",
        ),
        (INSERTED, "return vectors, place >= padding + p, position", PLACES, "count as padding"),
        (INSERTED, "return vectors, place < padding, position", PLACES, "upside down"),
        (
            INSERTED,
            "return vectors, torch.cat([torch.zeros(len(x), p).bool(), is_token], 1), position",
            PLACES,
            "count as padding",
        ),
        (
            "prompt[position.clamp(max=p - 1)]",
            "prompt.detach()[position.clamp(max=p - 1)]",
            GRADIENT,
            "can't be trained",
        ),
        ("x.gather(1,", "x.detach().gather(1,", GRADIENT, "reaches the embeddings"),
    ],
    "a3-slots-test": [
        ("next(waiting) if", "vectors[0] if", "x", "the first image"),
        ("iter(vectors)", "iter(vectors[::-1])", "x", "images are in reverse"),
        ("next(waiting) if", "next(waiting)[:1] if", "x", "only the first vector"),
        (
            "torch.cat([row, row.new_zeros(longest - len(row), row.shape[1])])",
            "torch.cat([row.new_zeros(longest - len(row), row.shape[1]), row])",
            "x",
            "padding is on the left",
        ),
        ("next(waiting) if", "next(waiting).mean(0, keepdim=True) if", "x", "averaged"),
        ("next(waiting) if", "next(waiting).flip(0) if", "x", "each image are in reverse"),
        (
            "next(waiting) if",
            "torch.cat([table[token][None], next(waiting)]) if",
            "x",
            "own embeddings",
        ),
        (RETURN, "return x, is_word, is_token", WHICH, "exchanged"),
        (RETURN, "return x, is_token, is_token", WHICH, "count as words"),
        (RETURN, "return x, is_word, is_word", WHICH, "count as padding"),
        (RETURN, "return x, ~is_token, ~is_word", WHICH, "upside down"),
        (RETURN, "return x, torch.ones_like(is_token), is_word", WHICH, "counts as a token"),
        ("if tokens != len(vectors):", "if tokens > len(vectors):", NUMBER, "no error"),
        ("if tokens != len(vectors):", "if False:", NUMBER, "no error"),
        (
            "    if tokens != len(vectors):\n        raise ValueError(",
            "    assert tokens == len(vectors), (",
            NUMBER,
            "python -O",
        ),
    ],
    "a3-freeze-test": [
        ("    model.requires_grad_(False)\n", "", PARAMETERS, "all parameters still learn"),
        (
            "        modules[name].requires_grad_(True)\n",
            "        pass\n",
            PARAMETERS,
            "no parameter learns",
        ),
        (
            "        modules[name].requires_grad_(True)\n",
            "        modules[name].requires_grad_(False)\n",
            PARAMETERS,
            "no parameter learns",
        ),
        (
            "modules[name].requires_grad_(True)",
            "modules[min(trained)].requires_grad_(True)",
            PARAMETERS,
            "only one of the named",
        ),
        (
            "    model.eval()\n",
            "    [p.data.mul_(0.5) for p in model.parameters()]\n",
            PARAMETERS,
            "values have changed",
        ),
        (
            "    model.eval()\n",
            "    model.eval()\n    model.forward = torch.no_grad()(model.forward)\n",
            PASSES,
            "cuts the computation",
        ),
        (
            "    model.eval()\n",
            "    model.eval()\n    forward = model.forward\n    model.forward = lambda x: forward(x.detach())\n",
            PASSES,
            "cuts the computation",
        ),
        ("    model.eval()\n", "    model.train()\n", PASSES, "although the model was switched"),
        (
            "            for child in part.children():\n                child.train(mode)\n",
            "",
            MODES,
            "hand train() on",
        ),
        (
            "            part.train = keep_mode(part)",
            "            pass",
            MODES,
            "switched the frozen parts",
        ),
        ("if not any(part is other for other in learning)", "if True", MODES, "can't be switched"),
        (
            "any(part is other for other in learning)",
            "any(part is modules[name] for name in trained)",
            MODES,
            "can't be switched",
        ),
        ("if unknown := trained - set(modules):", "if unknown := set():", NAME, "KeyError"),
        (
            "    if unknown := trained - set(modules):\n        raise ValueError(",
            "    unknown = trained - set(modules)\n    assert not unknown, (",
            NAME,
            "python -O",
        ),
        (
            "    if unknown",
            "    trained = trained & set(modules)\n    if unknown",
            NAME,
            "no error",
        ),
    ],
    "a3-others-test": [
        (
            SHIFT,
            "    return torch.arange(len(labels)).roll(1)",
            "four labels",
            "another image with the same label",
        ),
        (SHIFT, "    return torch.arange(len(labels))", "four labels", "keep their own"),
        (
            SHIFT,
            "    p = torch.empty_like(order)\n    p[order] = order.roll(-1)\n    return p",
            "four labels",
            "with the same label",
        ),
        ("int(largest)", "1", "half with one label, half with the other", "with the same label"),
        (
            SHIFT,
            "    return torch.stack([(labels != label).nonzero()[0, 0] for label in labels])",
            "four labels",
            "used twice",
        ),
        (SHIFT, "    return order.roll(-int(largest))", "four labels", "some texts"),
        (SHIFT, "    return torch.zeros_like(order)", "four labels", "no permutation"),
        (SHIFT, "    return labels.flip(0)", "four labels", "permutation"),
        ("    return p", "    return p[:-1]", "four labels", "dict with keys"),
        (".max()", ".min()", "four labels", "with the same label"),
    ],
}
