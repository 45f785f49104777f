# %% [markdown]
# # 10 · BLIP-2: a few queries between an eye and a mouth
#
# **After this lesson you can** draw the three masks of the Q-Former and prove that a model obeys them, train it with three objectives at once, say what its queries look at and what each of them says, put it before a frozen language model, and tell what each stage is worth.
#
# | | |
# |---|---|
# | You need | lesson 01 (masks), lesson 02 (CLIP), lesson 07 (vectors that stand in the text like words) |
# | Time | about 90 minutes to work through; running all cells takes about 3 minutes when both stages are in the cache, 3 more for training them (and lesson 02's CLIP, if it isn't there), 2 GB of memory |
# | Paper | Li et al. 2023, *BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large Language Models*, [arXiv 2301.12597](https://arxiv.org/abs/2301.12597) |
# | Course code | `vlmcourse/papers/qformer.py`, `vlmcourse/papers/blip2.py`, `vlmcourse/recipes/blip2.py` |
#
# Letters for axes: **B** batch, **T** text tokens, **P** patches, **R** queries, **D** width of the Q-Former, **E** width of the joint space, **V** vocabulary.

# %%
import copy

import numpy as np
import torch
from IPython.display import Markdown
from torch.nn.functional import cross_entropy, layer_norm, normalize

from teaching.blip2 import queries_player
from teaching.exercises import check, diagnose, quiz
from vlmcourse import evaluation, introspection, plots, recipes, world
from vlmcourse.papers.blip2 import Stage1
from vlmcourse.papers.qformer import MASKS
from vlmcourse.parts.image_features import patch_features
from vlmcourse.parts import generation
from vlmcourse.parts.losses import hard_negatives, itm_loss, similarity
from vlmcourse.parts.tuning import count_trainable
from vlmcourse.recipes import blip2 as recipe
from vlmcourse.recipes.frozen import ONE_THING
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.world import prompts, tokenizer

scale = Scale.of()
size = scale.image_size
count = 256 if scale.name != "smoke" else 16
_ = torch.manual_seed(0)

# %% [markdown]
# ## The question
#
# By 2023 there were excellent image encoders and excellent language models, each too large to train together. Both stay frozen. What is the *smallest thing to train between them* that lets the one speak of what the other sees?
#
# Frozen (lesson 07) trained an eye through the mouth: everything it learnt about pictures came back through a language model that had never seen one. BLIP-2's answer: put a small **Querying Transformer** between them. A few learnt vectors, the *queries*, look at the image and carry away what a text would say of it. First they learn **what to fetch** (stage 1, without any language model), then **how to say it** (stage 2).
#
# ## 1. One model, three masks
#
# Queries and text go through the *same* self-attention. Who may look at whom there is the whole difference between the three objectives of stage 1 (the paper's Figure 2). An untrained Q-Former, three queries, four words:

# %%
vision = recipe.tower(scale)
small = recipe.new_qformer(recipe.qformer_config(scale, queries=3)).eval()
one = world.Pairs("test", size, things=(1, 1))
image = patch_features(vision, world.to_pixels(one.images([0])))  # (1, P, C)
ids = tokenizer.encode(["cat on blue"])[:, :-1]  # <bos> and three words
names = [
    "query 0",
    "query 1",
    "query 2",
    *tokenizer.world_tokenizer().convert_ids_to_tokens(ids[0].tolist()),
]
print("features of a picture:", tuple(image.shape), "  queries:", tuple(small.queries.shape))
for objective in MASKS:
    plots.show(plots.mask(small.mask(objective, ids)[0], names, names, objective))

# %% [markdown]
# - **contrast** (image-text contrastive, ITC): queries and text don't see each other. Else each side could peek at what it is compared with.
# - **match** (image-text matching, ITM): everybody sees everybody. The queries may judge with the text in view.
# - **generate** (image-grounded text generation, ITG): the text sees the queries and its own past. The queries don't see the text, so whatever the text learns about the image must have come through them.
#
# A mask only *declares*. Does the model obey? We measure who moves whom, by derivatives, and read no mask at all:

# %%
with torch.no_grad():
    x = small.norm(torch.cat([small.queries[None], small.embed(ids)], dim=1))  # (1, R + T, D)
    seen = small.norm_image(image)
measured = {}
for objective in MASKS:
    mask = small.mask(objective, ids)
    moved = introspection.influence(lambda x: small.layers[0](x, 3, seen, mask), x) > 1e-7
    measured[f"{objective}: measured"] = moved
    assert torch.equal(moved, mask[0, 0]), objective
plots.show(
    plots.mask_gallery(
        {**{f"{name}: declared": small.mask(name, ids)[0] for name in MASKS}, **measured}
    )
)
print("declared == measured, for all three masks")  # NBVAL_CHECK_OUTPUT

# %%
quiz("blip2.same_outputs")

# %%
with torch.no_grad():
    outputs = {name: small(image, ids, small.mask(name, ids))[0] for name in MASKS}
print(
    "itc == itg:", torch.allclose(outputs["itc"], outputs["itg"], atol=1e-5)
)  # NBVAL_CHECK_OUTPUT
print(
    "itc == itm:", torch.allclose(outputs["itc"], outputs["itm"], atol=1e-5)
)  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# ## 2. One layer by hand
#
# Self-attention for all, cross-attention to the image **for queries only** (and only in every second layer), then one feed-forward for queries and another one for text. The norms come after the sums, as in BERT, from whose weights the paper starts.


# %%
def linear(layer, x):
    return x @ layer.weight.T + layer.bias


def attention_by_hand(part, x, context, may_look):
    """(B, Q, D), (B, K, C), booleans (Q, K) -> (B, Q, D)."""
    q = linear(part.query, x)
    k, v = linear(part.key_value, context).chunk(2, dim=-1)
    q, k, v = (
        t.unflatten(-1, (part.heads, -1)).transpose(1, 2) for t in (q, k, v)
    )  # (B, H, L, D / H)
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    probabilities = scores.masked_fill(~may_look, -torch.inf).softmax(-1)
    return linear(part.out, (probabilities @ v).transpose(1, 2).flatten(2))


def norm(part, x):
    return layer_norm(x, x.shape[-1:], part.weight, part.bias, part.eps)


def layer_by_hand(layer, x, R, image, may_look):
    x = norm(layer.norm, x + attention_by_hand(layer.attention, x, x, may_look))
    queries, text = x[:, :R], x[:, R:]
    if layer.cross_attention is not None:  # every second layer: queries alone look at the image
        everything = torch.ones(R, image.shape[1]).bool()
        queries = norm(
            layer.norm_cross_attention,
            queries + attention_by_hand(layer.cross_attention, queries, image, everything),
        )
    queries = norm(layer.norm_queries, queries + layer.feedforward_queries(queries))
    text = norm(layer.norm_text, text + layer.feedforward_text(text))
    return torch.cat([queries, text], dim=1)


with torch.no_grad():
    for name in MASKS:
        mask = small.mask(name, ids)
        by_hand = x
        for layer in small.layers:
            by_hand = layer_by_hand(layer, by_hand, 3, seen, mask[0, 0])
        packaged = torch.cat(small(image, ids, mask), dim=1)
        assert torch.allclose(by_hand, packaged, atol=1e-4), name
print("by hand == vlmcourse.papers.qformer.QFormer, under all three masks")  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# > **Reading traps.** (1) "The causal mask is missing" was reported three times for the authors' code. It isn't: `is_decoder=True` puts it there, far from where one looks. (2) In transformers' BLIP-2 the queries start at **zero**, which is fine for loading trained weights and fatal for training: identical queries get identical gradients. The failure lab shows it. (3) In stage 2 the text side disappears altogether; who looks for it there, looks in vain.
#
# ## 3. Three losses by hand
#
# **Contrast.** Each query is projected and normalised; the text's vector is the state of its first token, [CLS]. The similarity of an image and a text is that of the **best query**. Labels are smoothed (0.1).

# %%
stage = Stage1(recipe.new_qformer(recipe.qformer_config(scale)), vision, scale.width // 2).eval()
R = stage.qformer.config.queries
pairs = recipes.clip.training_pairs(scale)
some = pairs.batch(range(6))
pictures_seen = patch_features(vision, some["pixel_values"])


def contrast_by_hand(queries, text, temperature):
    """(B, R, E) and (B, E) unit vectors -> loss, logits (B, B)."""
    B = len(text)
    logits = torch.empty(B, B)
    for i in range(B):
        for j in range(B):
            logits[i, j] = (queries[i] @ text[j]).max() / temperature
    right = torch.arange(B)
    both = cross_entropy(logits, right, label_smoothing=0.1) + cross_entropy(
        logits.T, right, label_smoothing=0.1
    )
    return both / 2, logits


# %% [markdown]
# **Match.** Image and text in one pass, every query votes with two logits, the votes are averaged. Each right pair comes with two wrong ones, and they are *hard*: drawn where the contrast thinks them likely.
#
# **Generate.** The text, begun with [DEC], foretells each next word.


# %%
def match_by_hand(stage, image, ids):
    """-> (B, 2): the mean of the queries' votes."""
    read = stage.cls_ids(ids)  # begins with [CLS]
    queries, _ = stage.qformer(image, read, stage.qformer.mask("itm", read))
    return torch.stack([stage.itm_head(queries[:, r]) for r in range(queries.shape[1])]).mean(0)


def generate_by_hand(stage, image, ids):
    write = stage.dec_ids(ids)  # begins with [DEC]
    _, text = stage.qformer(image, write, stage.qformer.mask("itg", write))
    said, words = stage.head(text, stage.qformer.words.weight), []
    for row in range(len(write)):
        for place in range(1, write.shape[1]):
            if write[row, place] != tokenizer.PAD:
                words.append(
                    cross_entropy(said[row, place - 1], write[row, place], label_smoothing=0.1)
                )
    return torch.stack(words).mean()


with torch.no_grad():
    torch.manual_seed(0)
    contrast, logits = contrast_by_hand(
        stage.encode_image(pictures_seen), stage.encode_text(some["ids"]), stage.temperature
    )
    texts, images = hard_negatives(logits)
    wrong = torch.cat(
        [
            match_by_hand(stage, pictures_seen, some["ids"][texts]),
            match_by_hand(stage, pictures_seen[images], some["ids"]),
        ]
    )
    by_hand = {
        "itc": contrast,
        "itm": itm_loss(match_by_hand(stage, pictures_seen, some["ids"]), wrong),
        "itg": generate_by_hand(stage, pictures_seen, some["ids"]),
    }
    torch.manual_seed(0)  # the same negatives are drawn
    packaged = stage.losses({"pixel_values": some["pixel_values"], "ids": some["ids"]})
assert all(torch.isclose(by_hand[name], packaged[name], atol=1e-4) for name in by_hand)
print("three losses by hand == Stage1.losses")  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# `Stage1.losses` computes the queries once and lets the text to write use their keys; `Stage1.losses_unfused` is the definition, one masked pass per objective. A test says they are equal, and a benchmark what that is worth, beside the same losses built on transformers' Q-Former:

# %%
speed = evaluation.load_results("speed_qformer")
Markdown(
    "\n".join(
        [
            "| a training step of stage 1 | precision | ms | peak MiB | times as fast as on transformers' |",
            "|---|---|---|---|---|",
            *(
                f"| {row['model']} | {row['precision']} | {row['ms']:.0f} | {row['peak MiB']:.0f} "
                f"| {row['times transformers, same precision']:.2f} |"
                for row in speed["rows"]
            ),
        ]
    )
)

# %% [markdown]
# ## 4. Stage 1: what to fetch
#
# The image encoder is CLIP's tower from lesson 02, frozen and read at its **second-last** block: its last block has learnt to serve the one class token, the block before still says something of every patch. Because it never changes, it looks at each training picture once and its features are kept. The dashed line is ln 2 for scale: what a coin scores at matching.

# %%
trained = recipes.get("blip2_stage1").train_or_load(
    scale, vision=vision, on_step=plots.LiveCurve(chance=float(np.log(2)), chance_name="ln 2")
)
first = trained.model
print(
    f"{count_trainable(first):,} parameters learn; the image encoder's {sum(p.numel() for p in vision.parameters()):,} don't"
)

# %% [markdown]
# Held-out pairs: compositions of things that training never showed. By **contrast** alone, and with the 16 best of each row **re-ranked by match**, which looks at image and text together:

# %%
report = recipe.stage1_report(first, size, count)
plots.show(
    plots.bars(
        {
            way: {
                "contrast": report[f"{way} R@1"],
                "re-ranked by match": report[f"{way}, re-ranked R@1"],
                "shown grey": report["image to text R@1, blind"],
                "chance": report["chance"],
            }
            for way in ("image to text", "text to image")
        },
        f"R@1 among {count}",
    )
)
print({name: round(value, 3) for name, value in report.items()})

# %% [markdown]
# **Why match, if there is contrast?** Because a few vectors that never met the text can hardly say *what is where*. We ask both to choose between a scene's caption and that of the same scene with one thing changed: two things traded places, or another background. Chance is one half.

# %%
apart = {
    "two things\ntraded places": recipe.caption_pair_accuracy(
        first, size, world.minimal_pairs.swap_positions, count
    ),
    "another\nbackground": recipe.caption_pair_accuracy(
        first, size, world.minimal_pairs.change_background, count
    ),
}
plots.show(plots.bars(apart, "right choices", chance=0.5))
print(apart)

# %% [markdown]
# The Q-Former can also **write** by itself, with the head that stage 1 trained for generation. It is a small language model of its own, soon to be left behind:

# %%
held_out = world.Pairs("test", size)
chosen = held_out.distinct(6)
with torch.no_grad():
    seen = patch_features(vision, world.to_pixels(held_out.images(chosen)))
    start = torch.full((6, 1), tokenizer.BOS)
    written = tokenizer.decode(generation.generate(first, start, 16, end=tokenizer.EOS, image=seen))
plots.show(plots.pictures(held_out.images(chosen), written), credit=world.ATTRIBUTION)

# %% [markdown]
# ## 5. Which query looks where?
#
# Cross-attention of every query in the last layer that has one, mean over heads, on a scene of three things. Above each map, the word for which this query was the best of all, if there is one:

# %%
index = next(i for i in held_out.distinct(64) if len(held_out.scene(i).words) == 3)
scene, picture = held_out.scene(index), held_out.images([index])
with torch.no_grad():
    seen = patch_features(vision, world.to_pixels(picture))
    looked = introspection.attention_weights(first, lambda: first.qformer.query_states(seen))
    last = [name for name in looked if name.endswith(".cross_attention")][-1]
    by_query = looked[last][0].mean(0)[
        :, 1:
    ]  # (R, patches): the class token, which stands first, is left out
    words = [*scene.words, scene.background]
    vectors = first.encode_text(
        tokenizer.encode(
            [f"a picture of {world.article(w)}" if w in scene.words else w for w in words]
        )
    )
    best = (first.encode_image(seen)[0] @ vectors.T).argmax(0).tolist()  # for each word, its query
maps = {}
for r in range(R):
    mine = [word for word, query in zip(words, best) if query == r]
    maps[f"query {r}" + (f": {', '.join(mine)}" if mine else "")] = by_query[r]
for start in range(0, R, 4):
    plots.show(
        plots.attention_over_image(picture[0], dict(list(maps.items())[start : start + 4])),
        credit=world.ATTRIBUTION,
    )
print(held_out.text(index))

# %% [markdown]
# Do queries specialise? Over many scenes: how often is each query the best one for the right caption?

# %%
with torch.no_grad():
    many = held_out.batch(held_out.distinct(count))
    queries, text = (
        first.encode_image(patch_features(vision, many["pixel_values"])),
        first.encode_text(many["ids"]),
    )
    winner = (queries * text[:, None]).sum(-1).argmax(1)  # (N,)
    alike = (queries @ queries.transpose(1, 2)).mean(0)  # (R, R), mean over images
share = {f"query {r}": {"share of images": (winner == r).float().mean().item()} for r in range(R)}
plots.show(plots.bars(share, "best query for its caption", chance=1 / R, sideways=True))
others = alike[~torch.eye(R).bool()]
print(f"mean cosine between two queries of an image: {others.mean():.2f}" if R > 1 else "one query")

# %%
quiz("blip2.max_gradient")

# %%
given = queries[:1].clone().requires_grad_()
similarity(given, text[:1]).sum().backward()
print("queries with a gradient:", int((given.grad.abs().sum(-1) > 0).sum()))  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# ## 6. Stage 2: how to say it
#
# Now the language model of lesson 05 joins, frozen. One matrix maps each query's output to the width of a word, and the queries stand in the text as words do. What was there for text alone stays behind:

# %%
lm = recipes.get("language").train_or_load(scale).model.lm
model = recipe.new_blip2(first.qformer, vision, copy.deepcopy(lm).requires_grad_(False))
stays = [name for name, _ in first.named_parameters() if not name.startswith("vision")]
goes = {f"qformer.{name}" for name, _ in model.qformer.named_parameters()}
parts = {}
for name in stays:
    part = "queries, shared attention,\ncross-attention, their feed-forward"
    if name not in goes:
        part = (
            "words, positions, text's feed-forward"
            if name.startswith("qformer")
            else "heads of the three objectives"
        )
    parts[part] = parts.get(part, 0) + first.get_parameter(name).numel()
plots.show(
    plots.bars(
        {part: {"parameters": number} for part, number in parts.items()},
        "parameters",
        sideways=True,
    )
)
print(
    "of the text side, stage 2 keeps:", [name for name in goes if "text" in name or "words" in name]
)  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# The prompt has a place for each query. Only words after it are asked for. The whole Q-Former goes on learning, not the matrix alone. Captions of things alone, as Frozen was trained on:

# %%
trained2 = recipes.get("blip2").train_or_load(
    scale, vision=vision, qformer=first.qformer, on_step=plots.LiveCurve()
)
second = trained2.model
untouched = [
    all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values()))
    for one, other in ((second.lm, lm), (second.vision, vision))
]
print(
    "language model and image encoder bit-identical after both stages:", untouched
)  # NBVAL_CHECK_OUTPUT
print(f"{count_trainable(second):,} parameters learnt")

# %%
alone = [world.sample("test", index, 0, ONE_THING) for index in range(12)]
said = recipe.generate_captions(second, size, alone)
right = [
    scene.words[0] in text.split() and scene.background in text.split()
    for scene, text in zip(alone, said)
]
plots.show(
    plots.pictures(np.stack([world.render(scene, size) for scene in alone]), said, right),
    credit=world.ATTRIBUTION,
)

# %% [markdown]
# **Scores and controls.** Captions, then questions that training never asked. What, colour and presence can be seen; category, place and purpose must be *known*, and only the language model could know them.

# %%
captions = {
    "BLIP-2": recipe.caption_scores(second, size, count),
    "shown grey": recipe.caption_scores(second, size, count, prompts.blank_images),
}
plots.show(
    plots.bars(
        {
            part: {
                **{who: found[part] for who, found in captions.items()},
                "chance": captions["BLIP-2"][f"{part}, chance"],
            }
            for part in ("noun", "background")
        },
        "captions that name it rightly",
    )
)
kinds = ("what", "colour", "presence", "category", "place", "purpose")
answers = {
    kind: {
        "BLIP-2": recipe.question_accuracy(second, size, kind, count),
        "shown grey": recipe.question_accuracy(second, size, kind, count, prompts.blank_images),
        "shuffled pictures": recipe.question_accuracy(second, size, kind, count, shuffled=True),
    }
    for kind in kinds
}
plots.show(plots.bars(answers, "right answers", sideways=True))
print({name: round(value, 3) for name, value in captions["BLIP-2"].items()})

# %% [markdown]
# ## 7. What does one query say?
#
# Take all the others out of the prompt and listen to it alone. In the table, for four pictures, the word that the frozen language model finds likeliest after each single query:

# %%
image_token_id, stop = second.image_token_id, tokenizer.encode(["."])[0, 1].item()


def after(scene, kept):
    """The likeliest next words when only the queries numbered `kept` stand in the prompt."""
    with torch.no_grad():
        vectors = second.vision_context(world.to_pixels(world.render(scene, size)[None]))["prefix"]
        prompt = torch.tensor([[tokenizer.BOS, *[image_token_id] * len(kept), stop]])
        likely = second(prompt, prefix=vectors[list(kept)])[0, -1].softmax(-1)
    found, numbers = likely.topk(6)
    return dict(
        zip(tokenizer.world_tokenizer().convert_ids_to_tokens(numbers.tolist()), found.tolist())
    )


def noun_after(scene, kept):
    """The likeliest noun after 'a picture of a'."""
    with torch.no_grad():
        vectors = second.vision_context(world.to_pixels(world.render(scene, size)[None]))["prefix"]
        begun = tokenizer.encode(["a picture of a"])[0, 1:-1].tolist()
        prompt = torch.tensor([[tokenizer.BOS, *[image_token_id] * len(kept), stop, *begun]])
        return tokenizer.world_tokenizer().convert_ids_to_tokens(
            [second(prompt, prefix=vectors[list(kept)])[0, -1].argmax().item()]
        )[0]


four = alone[:4]
Markdown(
    "\n".join(
        [
            "| queries left | "
            + " | ".join(f"{scene.words[0]} on {scene.background}" for scene in four)
            + " |",
            "|---" * 5 + "|",
            *(
                f"| {r} alone | " + " | ".join(noun_after(scene, [r]) for scene in four) + " |"
                for r in range(R)
            ),
            "| **all** | " + " | ".join(noun_after(scene, range(R)) for scene in four) + " |",
        ]
    )
)

# %%
hits = {
    f"{r} alone": np.mean([noun_after(scene, [r]) == scene.words[0] for scene in alone])
    for r in range(R)
}
hits |= {
    f"all but {r}": np.mean(
        [noun_after(scene, [q for q in range(R) if q != r]) == scene.words[0] for scene in alone]
    )
    for r in range(R)
}
hits["all"] = np.mean([noun_after(scene, range(R)) == scene.words[0] for scene in alone])
plots.show(
    plots.bars(
        {name: {"right noun": float(value)} for name, value in hits.items()},
        "right noun, 12 pictures",
        sideways=True,
    )
)

# %% [markdown]
# Listen yourself: choose a picture, and which queries may speak.

# %%
queries_player(
    lambda number, kept: after(alone[number], kept),
    np.stack([world.render(scene, size) for scene in alone[:8]]),
    R,
    first=range(R),
)

# %% [markdown]
# ## 8. What is each part worth?
#
# Stage 2 from a trained Q-Former and from an untrained one, same steps, data and language model (made by `python -m benchmarks.replicate_blip2`; seeds and machine are in the file). The paper's Figure 5 is this comparison: without stage 1, its models fall far behind, and OPT's even get worse with training.

# %%
kept = evaluation.load_results("replicate_blip2")
SEE, KNOW = ("what", "colour", "presence"), ("category", "place", "purpose")
everyone = {run["row"]: kept["rows"] for run in kept["rows"]}
everyone |= {run["row"]: kept[part] for part in ("queries", "beside") for run in kept[part]}
plots.show(
    plots.bars(
        {
            name: {
                "captions: noun": evaluation.spread_over_seeds(rows, name, "captions", "noun"),
                "seen": evaluation.spread_over_seeds(rows, name, "questions", SEE),
                "seen, shown grey": evaluation.spread_over_seeds(
                    rows, name, "questions, blind", SEE
                ),
                "known": evaluation.spread_over_seeds(rows, name, "questions", KNOW),
            }
            for name, rows in everyone.items()
        },
        "right",
        sideways=True,
    )
)
steps = [int(step) for step in kept["rows"][0]["curve"]]
plots.show(
    plots.curves(
        {
            name: {
                step: evaluation.spread_over_seeds(kept["rows"], name, "curve", str(step))
                for step in steps
            }
            for name in dict.fromkeys(run["row"] for run in kept["rows"])
        },
        "step of stage 2",
        "loss of captions",
    )
)

# %% [markdown]
# **Trainable parameters against score.** The paper's Table 1 boasts of few of them: 188 million beside Flamingo's 10 billion. Ours:

# %%
table = []
for name, rows in everyone.items():
    learns = max(
        [run["learns"] for run in rows if run["row"] == name]
        + [run["stage 1"]["learns"] for run in rows if run["row"] == name and "stage 1" in run]
    )
    table.append(
        f"| {name} | {learns:,} | {evaluation.spread_over_seeds(rows, name, 'captions', 'noun')} | {evaluation.spread_over_seeds(rows, name, 'questions', SEE)} "
        f"| {evaluation.spread_over_seeds(rows, name, 'questions, blind', SEE)} | {evaluation.spread_over_seeds(rows, name, 'questions', KNOW)} |"
    )
Markdown(
    "\n".join(
        [
            "| system | parameters that learn, at most | captions: noun | questions: seen | the same, shown grey | questions: known |",
            "|---|---|---|---|---|---|",
            *table,
        ]
    )
)

# %% [markdown]
# ## Exercise 1 · Three masks
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | write Figure 2's masks as two comparisons | ●●○○○ | ●●●●● | 15 |
#
# Return booleans (queries + text, queries + text): rows look at columns, queries first, `True` = may look. `objective` is `"itc"`, `"itm"` or `"itg"`.


# %%
def my_masks(objective: str, queries: int, text: int) -> torch.Tensor:
    raise NotImplementedError(
        "compare one integer per position: who is a query, and when does each text token come?"
    )


check("blip2.masks", my_masks)

# %% [markdown]
# <details><summary>Hint 1</summary>Contrast compares <i>groups</i> (query or text) for equality. Generation compares <i>levels</i>: queries 0, text 1, 2, 3, ...</details>
# <details><summary>Hint 2</summary><code>level[None, :] <= level[:, None]</code> has columns (looked at) along the second axis.</details>
# <details><summary>If you see "expected booleans"</summary>Multiplying or adding gives numbers. Comparisons give booleans; combine them with <code>&</code> and <code>|</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def my_masks(objective, queries, text):
#     place = torch.arange(queries + text)
#     group, level = place >= queries, (place - queries + 1).clamp(min=0)
#     return {
#         "itc": group[None, :] == group[:, None],
#         "itm": torch.ones(queries + text, queries + text, dtype=torch.bool),
#         "itg": level[None, :] <= level[:, None],
#     }[objective]
# ```
# </details>
#
# The picture that the right answer gives is the first one of this lesson, for any number of queries and words:

# %%
plots.show(
    plots.mask_gallery(
        {name: first.qformer.mask(name, tokenizer.encode(["a cat on blue"]))[0] for name in MASKS}
    )
)

# %% [markdown]
# ## Exercise 2 · The best query speaks
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | the similarity of the contrast | ●●○○○ | ●●●●○ | 10 |
#
# `image` (N, R, E) and `text` (M, E) are raw vectors of *any length*. Return (N, M).


# %%
def my_similarity(image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError("unit vectors, all cosines, the best of each image's queries.")


check("blip2.similarity", my_similarity)

# %% [markdown]
# <details><summary>Hint 1</summary>(N, R, E) @ (E, M) is (N, R, M): one cosine for every query and text.</details>
# <details><summary>Hint 2</summary>The queries are axis 1.</details>
# <details><summary>If you see "mat1 and mat2 shapes cannot be multiplied"</summary>Texts must stand in columns: <code>text.T</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def my_similarity(image, text):
#     return (normalize(image, dim=-1) @ normalize(text, dim=-1).T).amax(1)
# ```
# </details>
#
# The picture that the right answer gives: six held-out pictures and their captions.

# %%
six = held_out.batch(chosen)
with torch.no_grad():
    table = similarity(
        first.encode_image(patch_features(vision, six["pixel_values"])),
        first.encode_text(six["ids"]),
    )
plots.show(plots.similarity(held_out.images(chosen), six["text"], table), credit=world.ATTRIBUTION)

# %% [markdown]
# ## Exercise 3 · What stage 2 takes over
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | know what a Q-Former is without its text | ●●●○○ | ●●●○○ | 10 |
#
# `parameters` is the `state_dict()` of a stage-1 model. Return the part of it, with its names, that stage 2 needs from the Q-Former.


# %%
def my_handed_over(parameters: dict) -> dict:
    raise NotImplementedError(
        "return {name: tensor} of what the queries need; print(list(parameters)) shows the names."
    )


check("blip2.taken_over", my_handed_over)

# %% [markdown]
# <details><summary>Hint 1</summary>Go through the layer of section 2, line by line: which lines run when there is no text?</details>
# <details><summary>Hint 2</summary>Everything outside <code>qformer.</code> is either a head of stage 1 or the frozen encoder.</details>
# <details><summary>If you see "keep the names as they are"</summary>Don't cut off the prefix <code>qformer.</code></details>
# <details><summary>Solution</summary>
#
# ```python
# def my_handed_over(parameters):
#     text = (".words", ".positions", "feedforward_text", "norm_text")
#     return {
#         name: value
#         for name, value in parameters.items()
#         if name.startswith("qformer.") and not any(part in name for part in text)
#     }
# ```
# </details>
#
# The picture that the right answer gives: the share of the Q-Former that goes on.

# %%
total = sum(p.numel() for p in first.qformer.parameters())
goes_on = sum(p.numel() for p in second.qformer.parameters())
plots.show(
    plots.bars(
        {"goes on": {"share": goes_on / total}, "stays behind": {"share": 1 - goes_on / total}},
        "share of the Q-Former",
    )
)

# %% [markdown]
# ## Failure lab · Three sick runs
#
# Small runs of stage 1 on the same data: one healthy, three with one fault each. The faults, in some order:
#
# - **leak**: in generation, words see the words after them;
# - **alike**: the queries start at zero, all of them;
# - **easy**: wrong pairs for matching are drawn at random, not where they are hard.
#
# Look at the curves and at the table before the code.

# %%
steps = 10 if scale.name == "smoke" else 300
kept_scenes = recipe.CachedFeatures(
    world.minimal_pairs.MinimalPairs("train", size, caption=world.captions.annotated),
    vision,
    64 if scale.name == "smoke" else 4096,
)


def make_faulty_model(fault):
    torch.manual_seed(0)
    faulty_model = Stage1(
        recipe.new_qformer(recipe.qformer_config(scale, queries=4, width=64, depth=2, heads=2)),
        vision,
    )
    former = faulty_model.qformer
    if fault == "leak":
        declared = former.mask

        def leaking(objective, ids, is_token=None):
            mask = declared(objective, ids, is_token).clone()
            if objective == "itg":
                mask[:, :, 4:] = declared("itm", ids)[
                    :, :, 4:
                ]  # rows of the text: everybody sees everybody
            return mask

        former.mask, faulty_model.losses = leaking, faulty_model.losses_unfused
    if fault == "alike":
        torch.nn.init.zeros_(former.queries)
    if fault == "easy":
        faulty_model._itm_loss = lambda image, ids, own, same: Stage1._itm_loss(
            faulty_model, image, ids, torch.zeros_like(own), same
        )
    return faulty_model


runs, lines = {}, []
two = [world.sample("test", index, 0, ONE_THING) for index in (3, 4)]
shown = patch_features(
    vision, world.to_pixels(np.stack([world.render(scene, size) for scene in two]))
)
for name, fault in (("healthy", None), ("A", "leak"), ("B", "alike"), ("C", "easy")):
    faulty_model = make_faulty_model(fault)
    runs[name] = list(
        fit(
            faulty_model,
            Batches(kept_scenes.batch, 32, kept_scenes.count),
            steps,
            Optimisation(2e-3, weight_decay=0.05),
        )
    )
    with torch.no_grad():
        faulty_model.eval()
        spread = faulty_model.qformer.query_states(shown).std(1).mean().item()
        told = tokenizer.decode(
            generation.generate(
                faulty_model, torch.full((2, 1), tokenizer.BOS), 12, end=tokenizer.EOS, image=shown
            )
        )
    apart = [
        recipe.caption_pair_accuracy(faulty_model, size, swap, count)["match"]
        for swap in (world.minimal_pairs.swap_positions, world.minimal_pairs.change_background)
    ]
    ends = {
        part: np.mean([step.losses[part] for step in runs[name][-30:]])
        for part in ("itc", "itm", "itg")
    }
    lines.append(
        f"| {name} | {ends['itc']:.2f} | {ends['itm']:.2f} | {ends['itg']:.2f} | {np.mean(apart):.2f} "
        f"| {spread:.2f} | {told[0]} | {told[1]} |"
    )
every = max(1, steps // 20)
for part in ("itm", "itg"):
    curves = {
        name: {
            run[at].step: np.mean([step.losses[part] for step in run[at : at + every]])
            for at in range(0, steps, every)
        }
        for name, run in runs.items()
    }
    plots.show(plots.curves(curves, "step", f"loss of {part}"))
names = [f"{scene.words[0]} on {scene.background}" for scene in two]
Markdown(
    "\n".join(
        [
            f"| run | contrast | match | generate | told apart by match | spread of queries | writes of: {names[0]} | writes of: {names[1]} |",
            "|---" * 8 + "|",
            *lines,
        ]
    )
)

# %% [markdown]
# Your diagnosis, in place of each `None`:

# %%
diagnose("blip2.stage1", {"A": None, "B": None, "C": None})

# %% [markdown]
# <details><summary>Solution</summary>
#
# `{"A": "leak", "B": "alike", "C": "easy"}`. In A each word is read from the place after it: the generation loss falls below the others', and when the words aren't there yet, what it writes is the same nonsense for every picture. In B all queries get the same gradient for ever: four queries are worth one. C finds matching easy, because random pairs differ in everything: its loss is by far the lowest, and that is all. Captions that differ in one thing it tells apart about as well as B, whose loss is more than twice as high: a low loss on easy questions is no measure of anything but the questions.
# </details>
#
# ## The paper beside ours
#
# Reduced-scale twins: our own pictures, a language model a thousand times smaller than the paper's smallest, an image encoder that saw only this world. Compare *directions*. Each line is computed from the kept runs; **no** is an answer, too.

# %%
rows = kept["rows"]
both, only2 = "both stages", "stage 2 alone"
noun = {
    name: evaluation.spread_over_seeds(rows, name, "captions", "noun") for name in (both, only2)
}
seen = {name: evaluation.spread_over_seeds(rows, name, "questions", SEE) for name in (both, only2)}
known = {
    name: evaluation.spread_over_seeds(rows, name, "questions", KNOW) for name in (both, only2)
}
blind = evaluation.spread_over_seeds(rows, both, "questions, blind", SEE)
reached = list(rows[0]["curve"])
early = reached[len(reached) // 8]
losses = {name: evaluation.spread_over_seeds(rows, name, "curve", early) for name in (both, only2)}
plain, ranked = (
    evaluation.spread_over_seeds(rows, both, "stage 1", f"image to text{how} R@1")
    for how in ("", ", re-ranked")
)
apart = {
    judge: evaluation.spread_over_seeds(rows, both, "stage 1", "told apart, exchanged", judge)
    for judge in ("match", "contrast")
}
claims = [
    (
        "stage 1 helps stage 2: captions (Fig. 5)",
        f"noun {noun[both]}, without {noun[only2]}",
        noun[both].mean > noun[only2].mean,
    ),
    (
        "... questions without training on questions (Fig. 5)",
        f"seen {seen[both]}, without {seen[only2]}",
        seen[both].mean > seen[only2].mean,
    ),
    (
        "... and it learns faster",
        f"loss after {early} steps of stage 2: {losses[both]}, without {losses[only2]}",
        losses[both].mean < losses[only2].mean,
    ),
    (
        "it answers from the image (Table 2)",
        f"seen {seen[both]}, shown grey {blind}",
        seen[both].mean > blind.mean + 0.05,
    ),
    (
        "matching sees what contrast can't (Sec. 3.2)",
        f"traded places: match {apart['match']}, contrast {apart['contrast']}",
        apart["match"].mean > max(apart["contrast"].mean, 0.5) + 0.05,
    ),
    (
        "re-ranking by match improves retrieval (Sec. 4.5)",
        f"{plain} by contrast, {ranked} re-ranked",
        ranked.mean > plain.mean,
    ),
]
Markdown(
    "\n".join(
        [
            "| the paper says | ours | same direction? |",
            "|---|---|---|",
            *(
                f"| {claim} | {ours} | {'yes' if agrees else '**no**'} |"
                for claim, ours, agrees in claims
            ),
        ]
    )
)

# %% [markdown]
# Where ours disagrees, and why:
#
# - *Stage 1 and where stage 2 ends.* Look at the curves: with stage 1 the captions come in half as many steps, and after a few hundred both runs are at the same loss; nouns and answers end two points apart. The paper's runs end far apart. Our image encoder already says what each thing is (lesson 02: zero-shot 0.98), and there is one thing to fetch; whoever stops stage 2 after 150 steps sees the paper's figure.
# - *Match.* In 400 steps it learns to tell other pictures' captions from the right one and no more: things that traded places stay at chance, and another background it notices less often than contrast does. The paper's Q-Former starts from BERT, which can read, and practises for 250,000 steps. So re-ranking has nothing to add to a contrast that is right 19 times in 20.
# - *Frozen beside it.* It gets 800 steps here, as stage 2 does, and its tower starts from nothing; given 2,400, it names 0.96 of the nouns (lesson 07). One seed had not left its plateau.
# - *BLIP beside it.* It names best of all, 0.98: CLIP's tower learns on, and a decoder of its own learns to write about pictures and nothing else. Asked, it is at the level of a grey picture. Nobody showed it a question (the paper tunes it on them), and no language model that has read some stands behind it. To name is the picture's part; to answer is the language model's.
# - *What is known.* More than a grey picture brings, far less than the words themselves would (lesson 07's *two right words*): eight vectors near words are still not words.
#
# ## Going on
#
# - Limits: a question never reaches the Q-Former in stage 2, so its queries can't look for what is asked (InstructBLIP changed that); a frozen language model of this size knows little, and what it knows it lends only to vectors that are like its words; several pictures in one prompt were never trained.
# - Read: the paper's Sections 3.1 to 3.3 and its Figure 5; *InstructBLIP* (2305.06500); *LLaVA* (2304.08485), which leaves the Q-Former out and maps every patch by a small network.
# - Try: `recipes.get("blip2_stage1").train_or_load(scale, queries=16)`; a real language model, `language.load("smollm2")`; trained weights, `BLIP2.from_hf(...)`.
# - Next: **lesson 11**, where the language model itself looks back at the picture at every word: Perceiver and Flamingo.
