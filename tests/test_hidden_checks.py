"""Wrong answers that tame inputs would let pass: each loses points on every draw of the hidden inputs."""

import re

import pytest
from test_assignments import MUTANTS, code, verdicts

from vlmcourse.lessons import repository

PIECES = """    some = mask.any(-1, keepdim=True)  # may attend to at least one key
    scores = scores.masked_fill(~mask & some, -math.inf)  # an empty row stays finite
    weights = scores.softmax(-1).where(some, 0)
    log_sum = scores.logsumexp(-1).where(some[..., 0], -math.inf)
    return weights @ v, log_sum"""
BY_HAND = """    weights = scores.exp() * mask
    total = weights.sum(-1, keepdim=True)
    return weights / total.clamp(min=1e-9) @ v, total[..., 0].log()"""
SHARES = """    image_loss = cross_entropy(logit_scale.exp() * image @ all_text.T, targets)  # (b, B)
    text_loss = cross_entropy(logit_scale.exp() * text @ all_image.T, targets)
"""
SOFTMAX = """    e, f = (logit_scale.exp() * image @ all_text.T).exp(), (logit_scale.exp() * text @ all_image.T).exp()
    image_loss = -(e / e.sum(1, keepdim=True)).gather(1, targets[:, None]).log().mean()
    text_loss = -(f / f.sum(1, keepdim=True)).gather(1, targets[:, None]).log().mean()
"""
NO_ROOM = """    if context < 2:
        raise ValueError(f"a context of {context} can't hold a start and an end token; expected 2 or more.")
"""
PART_BY_PART = """        for loss, number in parts:
            (weight / tokens * loss()).backward()"""
ONE_SUM = """        sum(weight / tokens * loss() for loss, _ in parts).backward()"""
WRONG = {
    "attention by hand, without the maximum": ("A1_masks", "a1-attention", PIECES, BY_HAND),
    "forbidden scores -20": ("A1_masks", "a1-attention", "some, -math.inf)", "some, -20.0)"),
    "forbidden scores -60": ("A1_masks", "a1-attention", "some, -math.inf)", "some, -60.0)"),
    "a width of four": ("A1_masks", "a1-attention", "math.sqrt(q.shape[-1])", "2.0"),
    "sums instead of log-sums": (
        "A1_masks",
        "a1-attention",
        "log_sums.masked_fill(empty, 0.0).softmax(0)",
        "(log_sums.exp() / log_sums.exp().sum(0).clamp(min=1e-9))",
    ),
    "documents told by their length": (
        "A1_masks",
        "a1-pack",
        "[number] * (prefix + caption)",
        "[prefix + caption] * (prefix + caption)",
    ),
    "each document has an image": (
        "A1_masks",
        "a1-pack",
        "is_caption & (position > 0)",
        "is_caption",
    ),
    "four features a head": (
        "A1_masks",
        "a1-heads",
        "(x @ query.T).unflatten(-1, (heads, -1))",
        "(x @ query.T).unflatten(-1, (-1, 4))",
    ),
    "three images": (
        "A1_masks",
        "a1-image",
        "torch.arange(images * per_image)",
        "torch.arange(3 * per_image)",
    ),
    "Flamingo's own mask": (
        "A1_masks",
        "a1-image",
        "(image_of_key <= phi) & (image_of_key > phi - most)",
        "image_of_key == phi",
    ),
    "a question as long as an example": (
        "A1_masks",
        "a1-levels",
        "((group[None, :] == group[:, None]) | is_question[:, None])",
        "((group[None, :] == group[:, None]) | (group == shots)[:, None])",
    ),
    "one new token at a time": (
        "A1_masks",
        "a1-cache",
        "mask = (at_key <= at_query) & (at_key > at_query - window)",
        "mask = (at_key > at_query - window)",
    ),
    "everything is cached": (
        "A1_masks",
        "a1-cache",
        "return result, (k[:, start:], v[:, start:])",
        "return result, (k, v)",
    ),
    "yes or no instead of a size": (
        "A1_masks",
        "a1-measure",
        ".square().sum(dim=(1, 3)).sqrt()",
        ".abs().amax(dim=(1, 3)).gt(1e-6).float()",
    ),
    "clip loss by hand, without the maximum": ("A2_clip", "a2-loss", SHARES, SOFTMAX),
    "clamp inside the forward pass": (
        "A2_clip",
        "a2-loss",
        "    targets = first",
        "    logit_scale = logit_scale.clamp(0, math.log(100))\n    targets = first",
    ),
    "always the second device": (
        "A2_clip",
        "a2-loss",
        "first + torch.arange(len(image))",
        "len(image) + torch.arange(len(image))",
    ),
    "zero-shot by hand": (
        "A2_clip",
        "a2-zero-shot",
        "(logit_scale.exp() * normalize(images, dim=-1) @ vectors.T).softmax(dim=1)",
        "(logit_scale.exp() * normalize(images, dim=-1) @ vectors.T).exp()\n"
        "    probabilities = probabilities / probabilities.sum(1, keepdim=True)",
    ),
    "as many prompts for each class": (
        "A2_clip",
        "a2-zero-shot",
        "class_of[None, :]",
        "class_of.sort().values[None, :]",
    ),
    "a text that just fits is cut": (
        "A2_clip",
        "a2-end",
        "text[: context - 2]",
        "(text if len(text) < context - 2 else text[: context - 3])",
    ),
    "the end is searched": ("A2_clip", "a2-end", "len(row) - 1)", "row.index(end))"),
    "an error by accident": ("A2_clip", "a2-end", NO_ROOM, ""),
    "always an error": ("A2_clip", "a2-end", "if context < 2:", "if True:"),
    "two captions a picture": (
        "A2_clip",
        "a2-ranks",
        "best = similarity.masked_fill(~own, -math.inf).amax(1)",
        "best = similarity.gather(1, own.int().topk(2).indices).amax(1)",
    ),
    "a tolerance": (
        "A2_clip",
        "a2-ranks",
        "(similarity >= right[None, :])",
        "(similarity >= right[None, :] - 0.1)",
    ),
    "padding counts as selected": (
        "A2_clip",
        "a2-masking",
        "chosen = selected & is_region",
        "chosen = selected",
    ),
    "above the threshold, not at it": (
        "A2_clip",
        "a2-masking",
        "(iou(boxes, boxes) >= threshold)",
        "(iou(boxes, boxes) > threshold)",
    ),
    "boxes with two negative sides": (
        "A2_clip",
        "a2-masking",
        "(high - low).clamp(min=0).prod(-1)",
        "(high - low).prod(-1).clamp(min=0)",
    ),
    "an empty box divides by zero": (
        "A2_clip",
        "a2-masking",
        "torch.where(union > 0, both / union.where(union > 0, 1), 0.0)",
        "both / union",
    ),
    "two streams only": (
        "A2_clip",
        "a2-streams",
        "[index for index in range(len(streams)) if index != number]",
        "[1 - number if number < 2 else 0]",
    ),
    "streams that are never missing": (
        "A2_clip",
        "a2-streams",
        "scores.masked_fill(~real & some, -math.inf).softmax(-1).where(some, 0)",
        "scores.masked_fill(~real, -math.inf).softmax(-1)",
    ),
    "streams by hand, without the maximum": (
        "A2_clip",
        "a2-streams",
        "scores.masked_fill(~real & some, -math.inf).softmax(-1).where(some, 0)",
        "scores.exp() * real / (scores.exp() * real).sum(-1, keepdim=True).clamp(min=1e-9)",
    ),
    "sigmoid, then log": (
        "A2_clip",
        "a2-answers",
        "torch.nn.functional.logsigmoid(logits)",
        "logits.sigmoid().log()",
    ),
    "one right answer": (
        "A2_clip",
        "a2-answers",
        "targets.gather(-1, chosen).mean()",
        "(chosen[:, 0] == targets.argmax(-1)).float().mean()",
    ),
    "what isn't padding is a token": (
        "A3_frozen",
        "a3-pad",
        "is_token = torch.tensor([[False] * (longest - len(text)) + [True] * len(text) for text in texts])",
        "is_token = ids != pad",
    ),
    "log-probabilities by softmax and log": (
        "A3_frozen",
        "a3-answers",
        "logits[:, :-1].log_softmax(-1) - blank_logits[:, :-1].log_softmax(-1)",
        "logits[:, :-1].softmax(-1).log() - blank_logits[:, :-1].softmax(-1).log()",
    ),
    "always some answer": (
        "A3_frozen",
        "a3-answers",
        " if gains.max() > minimum else -1",
        "",
    ),
    "sizes in order": (
        "A3_frozen",
        "a3-cost",
        "cheapest = min(costs, key=costs.get)",
        "cheapest = sorted(costs)[list(costs.values()).index(min(costs.values()))]",
    ),
    "a loss below the floor": (
        "A3_frozen",
        "a3-cost",
        '(1 / law["beta"]) if left > 0 else math.inf',
        '(1 / law["beta"]) if loss > law["E"] else math.inf',
    ),
    "three tasks": (
        "A3_frozen",
        "a3-adapters",
        "up[task].transpose(1, 2)",
        "up[task.clamp(max=1)].transpose(1, 2)",
    ),
    "a prompt before the padding": (
        "A3_frozen",
        "a3-prompt",
        "    padding = (~is_token).sum(1, keepdim=True)",
        "    padding = 0 * is_token.sum(1, keepdim=True)",
    ),
    "two vectors an image": (
        "A3_frozen",
        "a3-slots",
        "next(waiting) if",
        "next(waiting)[:2] if",
    ),
    "what isn't zero is a token": (
        "A3_frozen",
        "a3-slots",
        "return x, is_token, is_word",
        "return x, x.abs().sum(-1) > 0, is_word",
    ),
    "always an error, Frozen": (
        "A3_frozen",
        "a3-slots",
        "if tokens != len(vectors):",
        "if True:",
    ),
    "the first adapter's name": (
        "A3_frozen",
        "a3-freeze",
        "    learning =",
        '    trained = {name for name in trained if "adapter" in name}\n    learning =',
    ),
    "frozen parents hand nothing on": (
        "A3_frozen",
        "a3-freeze",
        "                child.train(mode)",
        "                pass",
    ),
    "the next image": (
        "A3_frozen",
        "a3-others",
        "order.roll(-int(largest))",
        "order.roll(-1)",
    ),
    "negatives by hand": (
        "A4_blip",
        "a4-queue",
        "similarities.masked_fill(~exists, -math.inf).softmax(1)",
        "(similarities.exp() * exists / (similarities.exp() * exists).sum(1, keepdim=True))",
    ),
    "all places are in the softmax": (
        "A4_blip",
        "a4-queue",
        "similarities.masked_fill(~exists, -math.inf)",
        "similarities",
    ),
    "empty places with a similarity of zero": (
        "A4_blip",
        "a4-queue",
        "similarities.masked_fill(~exists, -math.inf)",
        "(similarities * exists)",
    ),
    "a loss without a gradient": (
        "A4_blip",
        "a4-answers",
        "(weights * of_answer).sum() / B",
        "((weights * of_answer).sum() / B).detach()",
    ),
    "nothing is kept with a recall of one only": (
        "A4_blip",
        "a4-noise",
        "if wrong + right > 0",
        "if recall < 1",
    ),
    "an empty prefix hides the picture": (
        "A4_blip",
        "a4-split",
        "< lengths[:, None]",
        "< (lengths * (lengths > R))[:, None]",
    ),
    "a full queue is cut": (
        "A4_blip",
        "a4-queue",
        "torch.arange(len(queue_groups)) < filled",
        "torch.arange(len(queue_groups)) < min(filled, len(queue_groups) - 1)",
    ),
    "the loss of a sure model": (
        "A4_blip",
        "a4-answers",
        "logits[:, :-1].log_softmax(-1)",
        "logits[:, :-1].softmax(-1).log()",
    ),
    "two questions": ("A4_blip", "a4-answers", ".sum() / B", ".sum() / 2"),
    "a list shorter than k": ("A4_blip", "a4-list", "k = min(k, len(answers))", "pass"),
    "an estimate above one": (
        "A4_blip",
        "a4-noise",
        "min(max(noise, 0.0), 1.0)",
        "max(noise, 0.0)",
    ),
    "a filter that keeps nothing": (
        "A4_blip",
        "a4-noise",
        "wrong / (wrong + right) if wrong + right > 0 else 0.0",
        "wrong / (wrong + right)",
    ),
    "three texts": (
        "A4_blip",
        "a4-packed",
        "number = torch.cat([torch.full((B, R), -1), text], dim=1)",
        "number = torch.cat([torch.full((B, R), -1), text.clamp(max=2)], dim=1)",
    ),
    "prefix padding by its id": (
        "A4_blip",
        "a4-split",
        "torch.arange(R + P)[None, :] < lengths[:, None]",
        "torch.cat([torch.ones(len(ids), R).bool(), ids != pad], 1)",
    ),
    "an average of slopes": (
        "A5_flamingo",
        "a5-first",
        "(gradient * attend(y)).sum()",
        "(gradient * attend(y)).sum((1, 2)).mean() * 2",
    ),
    "resampler by hand": (
        "A5_flamingo",
        "a5-films",
        "scores.masked_fill(~is_key[:, None, :], -math.inf).softmax(-1)",
        "(scores.exp() * is_key[:, None] / (scores.exp() * is_key[:, None]).sum(-1, keepdim=True))",
    ),
    "a finite number for missing frames": (
        "A5_flamingo",
        "a5-films",
        "-math.inf",
        "-100.0",
    ),
    "rows that contain the name": (
        "A5_flamingo",
        "a5-learns",
        'name == "lm.new_rows"',
        'name.startswith("lm.new_rows")',
    ),
    "a resampler anywhere": (
        "A5_flamingo",
        "a5-learns",
        'name.startswith("resampler.")',
        '"resampler" in name',
    ),
    "one tag a piece": (
        "A5_flamingo",
        "a5-count",
        "return phi, phi[:, -1]",
        "return phi, counted + is_tag.any(1).long()",
    ),
    "missing frames that are NaN": (
        "A5_flamingo",
        "a5-films",
        "features.where(is_real[:, :, None, None], 0.0)",
        "features * is_real[:, :, None, None]",
    ),
    "counted changed in place": (
        "A5_flamingo",
        "a5-count",
        "phi = counted[:, None] + is_tag.long().cumsum(1)\n    return phi, phi[:, -1]",
        "phi = counted[:, None] + is_tag.long().cumsum(1)\n    counted += is_tag.sum(1)\n    return phi, counted",
    ),
    "ids written into the code": (
        "A5_flamingo",
        "a5-window",
        "        if token == image:",
        "        if token < 5:",
    ),
    "a window that begins with a tag": (
        "A5_flamingo",
        "a5-window",
        "first = ids[:start].count(image)",
        "first = ids[: start + 1].count(image)",
    ),
    "names from the public check": (
        "A5_flamingo",
        "a5-learns",
        '".gated." in name',
        '".0.gated." in name or ".1.gated." in name',
    ),
    "loose names": ("A5_flamingo", "a5-learns", '".gated." in name', '"gated" in name'),
    "a gradient must be there": (
        "A5_flamingo",
        "a5-mixture",
        "parameter.grad = None",
        "parameter.grad.zero_()",
    ),
    "one sum": ("A5_flamingo", "a5-mixture", PART_BY_PART, ONE_SUM),
    "a mean of means": (
        "A5_flamingo",
        "a5-mixture",
        "weight / tokens * loss()",
        "weight / max(number, 1) / len(parts) * loss()",
    ),
    "two of each label": (
        "A5_flamingo",
        "a5-balanced",
        "of_label[-per_label:]",
        "of_label[-2:]",
    ),
    "labels from zero": (
        "A5_flamingo",
        "a5-balanced",
        "for label in labels.unique():",
        "for label in range(len(labels.unique())):",
    ),
    "attention taken as causal": (
        "A5_flamingo",
        "a5-knows",
        "text_mask.float()",
        "text_mask.tril().float()",
    ),
}
RUNS = 10


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_never_gets_full_marks(name):
    folder, answer, old, new = WRONG[name]
    source = code(folder, mutant=(answer, old, new))
    task = f"{answer}-test"
    for seed in range(RUNS):
        found = verdicts(folder, task, source, seed)
        assert not all(verdict.passed for verdict in found.values() if verdict.worth), seed


def test_what_a_function_holds_doesnt_show_what_it_depends_on():
    """The answer of `judge` can't be read off the closures of the layers that it is given."""
    reads = """
def judge(layers, declared, x):
    def tensors(function):
        for cell in function.__closure__ or ():
            value = cell.cell_contents
            if isinstance(value, torch.Tensor):
                yield value
            elif callable(value):
                yield from tensors(value)
    words = []
    for layer, mask in zip(layers, declared):
        held = [t for t in tensors(layer) if t.shape == mask.shape]
        depends = next((t for t in held if t.dtype == torch.bool), held[0].abs() > 1e-6)
        leak, gap = bool((depends & ~mask).any()), bool((mask & ~depends).any())
        words.append("both" if leak and gap else "leak" if leak else "gap" if gap else "fine")
    return words
"""
    found = verdicts("A1_masks", "a1-measure-test", code("A1_masks") + reads)
    assert not found["judge(layers, declared, x)"].passed


def test_every_assignment_is_here():
    assert {folder for folder, *_ in WRONG.values()} == set(MUTANTS)


def folded_solutions(lesson: str) -> str:
    """The code of all folded solutions of a lesson that define functions."""
    (master,) = (repository() / "notebooks" / "masters").glob(f"{lesson}_*.py")
    folds = re.findall(
        r"<summary>Solution</summary>.*?```python\n(.*?)```",
        master.read_text(encoding="utf-8"),
        re.S,
    )
    code = [re.sub("^# ?", "", fold, flags=re.M) for fold in folds]
    return "\n".join(part for part in code if part.startswith(("def ", "class ")))


# What a student might make of a lesson's folded solution: assignment, task, lesson, code below it.
COPIED = [
    ("A1_masks", "a1-attention", "01", "partial_attention = masked_attention"),
    ("A1_masks", "a1-measure", "01", "influence = lambda f, x: dependency(f, x).float()"),
    (
        "A1_masks",
        "a1-image",
        "01",
        "recent_images = lambda rows, n, p, most: torch.stack(\n"
        "    [last_image_mask(row, torch.arange(n * p) // p + 1) for row in rows])",
    ),
    (
        "A2_clip",
        "a2-loss",
        "02",
        "share_of_loss = lambda i, t, all_i, all_t, first, s: symmetric_loss(i, t, s)",
    ),
    (
        "A2_clip",
        "a2-loss",
        "02",
        "share_of_loss = lambda i, t, all_i, all_t, first, s: symmetric_loss(all_i, all_t, s)",
    ),
    (
        "A2_clip",
        "a2-streams",
        "04",
        "exchange = lambda s, r: list(co_attention(s[0], s[1], r[0], r[1]))",
    ),
    ("A3_frozen", "a3-answers", "05", "gains = lambda l, b, i, a: answer_log_prob(l, i, a)"),
    (
        "A3_frozen",
        "a3-cost",
        "06",
        "tokens_needed = lambda size, loss, law: best_split(120 * size**2, law)[1]\n"
        "cheapest_size = lambda sizes, loss, law, used: min(\n"
        "    sizes, key=lambda n: abs(n - best_split(120 * n**2, law)[0]))",
    ),
    (
        "A3_frozen",
        "a3-adapters",
        "06",
        "def adapt(x, task, down, up):\n"
        "    one = Adapter(x.shape[-1], down.shape[1])\n"
        "    one.down.weight.data, one.up.weight.data = down[task[0]], up[task[0]]\n"
        "    one.down.bias.data.zero_()\n"
        "    return one(x)",
    ),
    (
        "A3_frozen",
        "a3-prompt",
        "06",
        "def insert_prompt(x, is_token, prompt):\n"
        "    whole = []\n"
        "    prompt_logits(lambda joined: whole.append(joined) or joined, prompt, x)\n"
        "    first = torch.ones(len(x), len(prompt), dtype=torch.bool)\n"
        "    tokens = torch.cat([first, is_token], 1)\n"
        "    return whole[0], tokens, torch.arange(tokens.shape[1]).expand(len(x), -1)",
    ),
    (
        "A3_frozen",
        "a3-slots",
        "07",
        "def build_inputs(texts, vectors, table, image_token_id):\n"
        "    longest = max(map(len, texts))\n"
        "    ids = torch.tensor([text + [0] * (longest - len(text)) for text in texts])\n"
        "    is_slot = ids == image_token_id\n"
        "    first = torch.stack([one[:1] for one in vectors])\n"
        "    x = interleave(table[ids.clamp(max=len(table) - 1)], first, is_slot)\n"
        "    lengths = torch.tensor([len(text) for text in texts])\n"
        "    is_token = torch.arange(longest) < lengths[:, None]\n"
        "    return x, is_token, is_token & ~is_slot",
    ),
    (
        "A3_frozen",
        "a3-freeze",
        "07",
        "whole = freeze\n"
        "def freeze(model, trained):\n"
        "    whole(model)\n"
        "    for name in trained:\n"
        "        model.get_submodule(name).requires_grad_(True).training = True",
    ),
    (
        "A3_frozen",
        "a3-others",
        "07",
        "other_images = lambda labels: torch.tensor([parts[0] for parts in swap_examples(\n"
        "    [[i, 'shows', i] for i in range(len(labels))])])",
    ),
    (
        "A4_blip",
        "a4-queue",
        "08",
        "def negative_probabilities(similarities, groups, queue_groups, filled):\n"
        "    weights = torch.zeros_like(similarities)\n"
        "    B = len(groups)\n"
        "    weights[:, :B] = negative_weights(similarities[:, :B], groups)\n"
        "    return weights / weights.sum(1, keepdim=True)",
    ),
    (
        "A4_blip",
        "a4-answers",
        "08",
        "vqa_loss = lambda logits, ids, is_token, weights, B: lm_loss(logits, ids, is_token, 0.0)",
    ),
    (
        "A4_blip",
        "a4-list",
        "08",
        "best_answers = lambda first, answers, log_probs, k: rerank(\n"
        "    first.log_softmax(-1)[:, answers[:, 1]], log_probs, min(k, len(answers)))[:, 0]",
    ),
    (
        "A4_blip",
        "a4-packed",
        "10",
        "packed_mask = lambda objective, R, text, is_token: qformer_mask(objective, R, is_token)[:, 0]",
    ),
    (
        "A5_flamingo",
        "a5-films",
        "11",
        "from types import SimpleNamespace\n"
        "whole = resample\n"
        "def resample(features, lengths, time, latents, query, key, value):\n"
        "    def attention(x, y):\n"
        "        scores = x @ query.T @ (y @ key.T).transpose(1, 2) / x.shape[-1] ** 0.5\n"
        "        return scores.softmax(-1) @ (y @ value.T)\n"
        "    same = lambda x: x\n"
        "    layer = SimpleNamespace(norm_latents=same, norm_features=same, norm=same,\n"
        "                            attention=attention, feedforward=lambda x: 0 * x)\n"
        "    return whole(SimpleNamespace(time_embeddings=time, latents=latents, layers=[layer],\n"
        "                                 norm=same), features)",
    ),
    (
        "A5_flamingo",
        "a5-count",
        "11",
        "def count(is_tag, counted):\n"
        "    n = is_tag.shape[1]\n"
        "    phi = (image_mask(is_tag.long(), 1, n, 1) * torch.arange(1, n + 1)).sum(-1)\n"
        "    return phi, phi[:, -1]",
    ),
    (
        "A5_flamingo",
        "a5-mixture",
        "12",
        "whole = accumulate\n"
        "def accumulate(parameters, data, weights):\n"
        "    mean = lambda parts: sum(loss() / n for loss, n in parts) / len(parts)\n"
        "    whole(mean, dict(enumerate(data)), dict(enumerate(weights)), torch.optim.SGD(parameters, 0.0))",
    ),
    (
        "A5_flamingo",
        "a5-balanced",
        "12",
        "balanced_examples = lambda query, support, labels, per_label: rices(\n"
        "    query[None], support, per_label * len(labels.unique()))[0].tolist()",
    ),
]


@pytest.mark.parametrize("name, task, lesson, own", COPIED)
def test_a_folded_solution_of_a_lesson_is_no_answer(name, task, lesson, own):
    source = "\n".join([code(name), "from torch import nn", folded_solutions(lesson), own])
    found = verdicts(name, f"{task}-test", source)
    assert not all(verdict.passed for verdict in found.values() if verdict.worth)
    assert not any("in your notebook" in verdict.message for verdict in found.values())
