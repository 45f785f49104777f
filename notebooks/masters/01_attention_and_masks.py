# %% [markdown]
# # 01 · Attention and masks
#
# **After this lesson you can** compute attention by hand and by fused kernels, say for any model of this course *who may look at whom*, write that as a comparison of two integers, and catch a mask that lies.
#
# | | |
# |---|---|
# | You need | Python, a little PyTorch: tensors, broadcasting, softmax |
# | Time | about 60 minutes to work through; running all cells takes about 1 minute on 2 cores, 1.5 GB of memory |
# | Paper | Vaswani et al. 2017, *Attention Is All You Need*, [arXiv 1706.03762](https://arxiv.org/abs/1706.03762); masks from BLIP-2 (2301.12597) and Flamingo (2204.14198) |
# | Course code | `vlmcourse/parts/masks.py`, `vlmcourse/parts/attention.py` |
#
# Letters for axes, here and everywhere: **B** batch, **H** heads, **Q** queries, **K** keys, **D** width.

# %%
import math
import shutil
import time

import torch
from torch.nn.functional import scaled_dot_product_attention

from teaching.attention import mask_player
from teaching.exercises import check, quiz
from vlmcourse import introspection, plots
from vlmcourse.parts import masks
from vlmcourse.parts.attention import Attention, attend
from vlmcourse.training.scale import Scale

scale = Scale.of()
_ = torch.manual_seed(0)

# %% [markdown]
# ## The question
#
# A recurrent network reads one word after the other and must squeeze all it has read into one vector. How can a word instead *look up* what it needs, anywhere in the text, in one step, and in a way that can be learnt? And once it can look everywhere: how do we forbid what it must not see, such as the answer?
#
# Attention answers the first question with a soft dictionary, masks answer the second. Every model of this course is attention plus a mask, so this is where we start.
#
# ## 1. Attention by hand
#
# Each query is compared with all keys; the comparisons become weights that sum to one; the answer is the weighted mean of the values (the paper's Eq. 1):
#
# $$\text{attention}(Q, K, V) = \text{softmax}\!\left(\frac{QK^\top}{\sqrt{d}}\right) V$$


# %%
def attention_by_hand(q, k, v):
    """q (B, H, Q, D), k and v (B, H, K, D) -> (B, H, Q, D)."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # (B, H, Q, K)
    weights = scores.softmax(dim=-1)
    return weights @ v


q, k, v = (torch.randn(2, 4, length, 16) for length in (5, 7, 7))
by_hand = attention_by_hand(q, k, v)
fused = scaled_dot_product_attention(q, k, v)
assert torch.allclose(by_hand, fused, atol=1e-5)
print("by hand and by PyTorch's fused kernel: the same", tuple(by_hand.shape))  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# Why divide by $\sqrt{d}$? The score of two random vectors of width $d$ is a sum of $d$ random products, so it spreads like $\sqrt{d}$. Undivided, wide heads would start with one weight near 1 and all others near 0, and a softmax that is sure of itself passes hardly any gradient.

# %%
spread = {width: {"divided": 0.0, "not divided": 0.0} for width in (4, 16, 64, 256)}
for width in spread:
    a, b = torch.randn(64, width), torch.randn(64, width)
    spread[width]["not divided"] = (a @ b.T).softmax(-1).amax(-1).mean().item()
    spread[width]["divided"] = (a @ b.T / math.sqrt(width)).softmax(-1).amax(-1).mean().item()
plots.show(
    plots.curves(
        {
            name: {width: values[name] for width, values in spread.items()}
            for name in ("divided", "not divided")
        },
        "width of a head",
        "largest of 64 weights",
        chance=1 / 64,
        xlog=True,
    )
)

# %% [markdown]
# ## 2. The same thing, fused
#
# By hand, the whole table of Q × K scores is written to memory, read, exponentiated, written, read. A **fused** kernel computes it in small tiles that stay in the processor's cache and never stores the table. Same numbers, other cost. Guess before you measure:

# %%
quiz("attention.memory")


# %%
def cost(function, length):
    """Milliseconds of forward and backward, and bytes that forward keeps for backward."""
    kept = []
    inputs = [torch.randn(1, 4, length, 32, requires_grad=True) for _ in range(3)]
    best = math.inf
    for _ in range(3):
        kept.clear()
        start = time.perf_counter()
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x: (kept.append(x.untyped_storage().nbytes()), x)[1], lambda x: x
        ):
            out = function(*inputs)
        out.sum().backward()
        best = min(best, time.perf_counter() - start)
    return 1e3 * best, sum(kept)


lengths = [128, 256, 512] if scale.name == "smoke" else [128, 256, 512, 1024, 2048]
measured = {
    name: {length: cost(function, length) for length in lengths}
    for name, function in (("by hand", attention_by_hand), ("fused", attend))
}
plots.show(
    plots.curves(
        {name: {n: found[0] for n, found in points.items()} for name, points in measured.items()},
        "length",
        "milliseconds",
        xlog=True,
        ylog=True,
    )
)
plots.show(
    plots.curves(
        {
            name: {n: found[1] / 2**20 for n, found in points.items()}
            for name, points in measured.items()
        },
        "length",
        "MiB kept for backward",
        xlog=True,
        ylog=True,
    )
)
growth = {name: points[512][1] / points[256][1] for name, points in measured.items()}
print(
    f"memory from 256 to 512: by hand x{growth['by hand']:.1f}, fused x{growth['fused']:.1f}"
)  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# `vlmcourse.parts.attention.attend` is that call. Give it no mask or a boolean mask, and it runs PyTorch's fused SDPA; give it a *block mask*, and it runs FlexAttention, which also skips the tiles in which nobody may look at anybody. The module `Attention` adds the learnt projections and the heads.
#
# ## 3. Many heads
#
# One set of weights per query is one thing to look for. With H heads of width D/H a query looks for H things at once, at the same price.

# %%
layer = Attention(width=32, heads=4)
words = "the dog that chased the cat sleeps".split()
x = torch.randn(1, len(words), 32)
heads = layer.weights(x)  # (1, 4, 7, 7): recomputed to look at; the fused forward never stores them
assert torch.allclose(heads.sum(-1), torch.ones(1, 4, 7), atol=1e-5)
plots.show(plots.attention_heads(heads[0], words, words))
print(
    "untrained heads look everywhere, each differently:", tuple(heads.shape)
)  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# ## 4. Masks: two comparisons
#
# Who may look at whom? Give every position **one integer**. Then all attention patterns of all papers in this course are one of
#
# - **levels**: `level(key) <= level(query)`: I see my level and everything below it;
# - **groups**: `group(key) == group(query)`: I see my own group;
#
# plus *padding*: keys that are not there. `True` always means **may look**. By hand first:


# %%
def causal_by_hand(length):
    position = torch.arange(length)
    return position[None, :] <= position[:, None]  # rows are queries, columns are keys


assert torch.equal(causal_by_hand(6), masks.causal(6).to_bool()[0, 0])
tokens = ["a", "cat", "on", "a", "blue", "mat"]
plots.show(plots.mask(masks.causal(6), tokens, tokens, "causal: levels 0 1 2 3 4 5"))

# %% [markdown]
# Try it yourself: pick a rule, type integers, see the mask. (Tab and arrow keys work. On a page without a kernel you see one still.)

# %%
mask_player()

# %% [markdown]
# Here is every mask that you will meet. Below each paper's name stands the rule; the picture is drawn from the very booleans the models compute with.
#
# | paper | attention | rule |
# |---|---|---|
# | CLIP text, BLIP decoder, every LM | causal | levels 0, 1, 2, ... |
# | prefix LM | prefix | levels 0, ..., 0, 1, 2, ... |
# | BLIP-2 ITM | bi-directional | all levels 0 |
# | BLIP-2 ITC | uni-modal | groups: query / text |
# | BLIP-2 ITG | multimodal causal | levels: queries 0, text 1, 2, ... |
# | Flamingo | last image only | groups: φ(token) / image number |
# | Flamingo, ablation | all images so far | levels: φ(token) / image number |
# | packed documents | same document, causal | groups *and* levels |
# | ViLBERT, VL-BERT | padding only | keys |

# %%
gallery = masks.gallery()
plots.show(plots.mask_gallery(gallery))

# %%
quiz("attention.same_pattern")

# %%
same = torch.equal(
    gallery["prefix LM"].to_bool(), gallery["BLIP-2 ITG: multimodal causal"].to_bool()
)
print("prefix LM == BLIP-2's image-grounded generation:", same)  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# Masks are values: `&`, `|` and `~` combine them. Several short documents packed into one sequence need *the same document* **and** *the past*; a batch of texts of different lengths needs *causal* **and** *not padding*.

# %%
document = torch.tensor([1, 1, 1, 2, 2, 2, 2])
packed = masks.same_group_mask(document) & masks.causal(7)
assert torch.equal(packed.to_bool(), masks.packed(document).to_bool())
lengths_of_texts = torch.tensor([5, 3])
padding_mask = (
    torch.arange(5)[None, :] < lengths_of_texts[:, None]
)  # (B, K): True where a token is real
batch = masks.causal(5) & masks.padding_mask(padding_mask)
print("packed:", packed.name, "| batch of two:", tuple(batch.to_bool().shape))  # NBVAL_CHECK_OUTPUT
plots.show(
    plots.mask_gallery(
        {
            "packed documents": packed,
            "text 1: 5 words": batch.to_bool()[0],
            "text 2: 3 words, 2 pads": batch.to_bool()[1],
        }
    )
)

# %% [markdown]
# ## 5. Explicit = SDPA = Flex, for every mask
#
# The same `Mask` is lowered three ways: to booleans for the formula, to booleans for SDPA, to blocks for FlexAttention. If they ever disagreed, at least one model of the course would be wrong.


# %%
def masked_by_hand(q, k, v, may_look):
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    weights = scores.masked_fill(~may_look, -math.inf).softmax(-1)
    return (
        weights.where(may_look.any(-1, keepdim=True), 0) @ v
    )  # a row that may look at nothing is zero by definition


compiler = shutil.which("g++") or shutil.which("clang++")
for name, mask in gallery.items():
    q, k, v = (torch.randn(1, 2, length, 16) for length in (mask.queries, mask.keys, mask.keys))
    explicit = masked_by_hand(q, k, v, mask.to_bool())
    assert torch.allclose(explicit, attend(q, k, v, mask.to_bool()), atol=1e-5), name
    if (
        compiler and scale.name != "smoke"
    ):  # FlexAttention is compiled at first use: seconds, and a C++ compiler
        assert torch.allclose(explicit, attend(q, k, v, mask.to_block_mask()), atol=1e-4), name
print(
    f"{len(gallery)} masks: explicit == SDPA (== Flex where a compiler is at hand)"
)  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# ## 6. Declared == measured
#
# A mask *declares* who may look at whom. Does the layer obey? Ask the layer, not the mask: if key $k$ moves and query $q$'s output moves with it, then $q$ looked at $k$. `on_step.influence` measures this for all pairs by automatic differentiation.

# %%
for name, mask in gallery.items():
    layer = Attention(16, heads=2)
    queries, context = torch.randn(1, mask.queries, 16), torch.randn(1, mask.keys, 16)
    moved = introspection.influence(lambda keys: layer(queries, keys, mask.to_bool()), context) > 0
    assert torch.equal(moved, mask.to_bool()[0, 0]), name
print("declared == measured for all", len(gallery))  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# **Influence travels through layers.** One layer that sees two steps back lets two layers see four steps back. Remember this for Flamingo: text looks *directly* only at its last image, but hears of earlier ones through the words in between.

# %%
from vlmcourse.parts.layers import Transformer

position = torch.arange(7)
window = masks.less_equal_mask(position) & ~masks.less_equal_mask(
    position - 2, position
)  # myself and one step back
x = torch.randn(1, 7, 16)
reach = {
    f"{depth} layer{'s' * (depth > 1)}": introspection.influence(
        lambda y: Transformer(depth, 16, 2)(y, window.to_bool()), x
    )
    > 0
    for depth in (1, 2, 4)
}
plots.show(plots.mask_gallery(reach))

# %% [markdown]
# ## 7. One token at a time: the cache
#
# When a language model writes, each new word needs the keys and values of all words before it. They don't change (the mask is causal!), so they are kept. The new token brings one *row* of the mask: `mask.query_slice(start)`. Cached and uncached must agree.

# %%
model, mask = Transformer(2, 32, 4), masks.causal(8)
x = torch.randn(1, 8, 32)
whole = model(x, mask.to_bool())
cache, pieces = {}, []
for step in range(8):
    row = mask.query_slice(step).to_bool()[
        :, :, :1, : step + 1
    ]  # this token's row, the keys so far
    pieces.append(model(x[:, step : step + 1], row, cache))
assert torch.allclose(torch.cat(pieces, dim=1), whole, atol=1e-5)
print("cached == uncached:", True)  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# ## 8. Train it: can attention look things up?
#
# A tiny task that is impossible without looking: a sequence of (name, colour) pairs, then one name; say its colour. Names and colours are drawn anew each time, so nothing can be learnt by heart. The control removes what is needed: **blind**, the mask hides the pairs from the question.

# %%
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.optimisation import Optimisation

NAMES, COLOURS, PAIRS = 12, 6, 3 if scale.name == "smoke" else 4


def lookup_batch(indices):
    """Pairs name, colour, name, colour, ..., then a name: ids (B, 2 * PAIRS + 1), and the colour to say (B,)."""
    ids, answers = [], []
    for index in indices:
        generator = torch.Generator().manual_seed(index)
        names = torch.randperm(NAMES, generator=generator)[:PAIRS]
        colours = torch.randperm(COLOURS, generator=generator)[:PAIRS]
        asked = index % PAIRS
        ids.append(
            torch.cat(
                [torch.stack([names, NAMES + colours], 1).flatten(), names[asked : asked + 1]]
            )
        )
        answers.append(colours[asked])
    return {"ids": torch.stack(ids), "answers": torch.stack(answers)}


class Lookup(torch.nn.Module):
    """Word vectors + positions -> 2 blocks -> which colour?"""

    def __init__(self, mask, width=64):
        super().__init__()
        torch.manual_seed(0)
        self.words = torch.nn.Embedding(NAMES + COLOURS, width)
        self.positions = torch.nn.Parameter(torch.randn(2 * PAIRS + 1, width) * 0.1)
        self.blocks = Transformer(2, width, 4)
        self.out = torch.nn.Linear(width, COLOURS)
        self.mask = mask.to_bool()

    def forward(self, ids):
        return self.out(self.blocks(self.words(ids) + self.positions, self.mask)[:, -1])

    def losses(self, batch):
        return {"colour": torch.nn.functional.cross_entropy(self(batch["ids"]), batch["answers"])}


length = 2 * PAIRS + 1
seeing = Lookup(masks.causal(length))
blind = Lookup(
    masks.same_group_mask(torch.tensor([0] * (length - 1) + [1]))
)  # the question sees only itself
live = plots.LiveCurve(chance=math.log(PAIRS), chance_name=f"guessing among {PAIRS}")
for step in fit(
    seeing,
    Batches(lookup_batch, 64),
    steps=30 if scale.name == "smoke" else 700,
    optimisation=Optimisation(2e-3),
):
    live(step)

# %%
for step in fit(
    blind,
    Batches(lookup_batch, 64),
    steps=30 if scale.name == "smoke" else 300,
    optimisation=Optimisation(2e-3),
):
    blind_loss = step.loss

test = lookup_batch(range(10_000_000, 10_000_512))  # never trained on
with torch.no_grad():
    right = {
        name: (model(test["ids"]).argmax(-1) == test["answers"]).float().mean().item()
        for name, model in (("seeing", seeing), ("blind", blind))
    }
plots.show(plots.bars({"right colour, unseen sequences": right}, "accuracy", chance=1 / COLOURS))
print({name: round(value, 2) for name, value in right.items()})

# %% [markdown]
# And how does it do it? Look at the last word's attention in the second layer, for one sequence. A good look-up shows up as one bright cell on the colour that follows the asked name. (If you see none, look at layer 1: the name may have been moved onto its colour first. Two steps, two layers: that trick is called an *induction head*, and it returns in lesson 05.)

# %%
ids = test["ids"][:1]
names = [
    f"name {token}" if token < NAMES else f"colour {token - NAMES}" for token in ids[0].tolist()
]
found = introspection.attention_weights(seeing, lambda: seeing(ids))
plots.show(
    plots.attention_heads(
        found["blocks.blocks.1.attention"][0][:, -1:], ["asked: " + names[-1]], names
    )
)

# %% [markdown]
# ## Exercise 1 · A prefix that sees itself
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | turn a description into levels | ●●○○○ | ●●●●● | 10 |
#
# Return booleans (length, length), True = may look: the first `seen` positions see each other, all of them; the rest sees the prefix and its own past.


# %%
def my_prefix(seen: int, length: int) -> torch.Tensor:
    raise NotImplementedError(
        "return booleans (length, length): give each position a level, then compare levels."
    )


check("attention.prefix", my_prefix)

# %% [markdown]
# <details><summary>Hint 1</summary>Who shares a level sees each other. Which level do the first <code>seen</code> positions share?</details>
# <details><summary>Hint 2</summary>Levels for seen = 2, length = 5 are 0 0 1 2 3. <code>torch.arange(length) - seen + 1</code> is nearly that.</details>
# <details><summary>If you see "Boolean value of Tensor with more than one value is ambiguous"</summary>You used <code>and</code>, <code>or</code> or <code>if</code> on tensors. Use <code>&amp;</code>, <code>|</code>, <code>torch.where</code>.</details>
# <details><summary>If you see "The size of tensor a must match the size of tensor b"</summary>Two vectors of one length compare element by element. For all pairs, one must be a column: <code>level[:, None]</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def my_prefix(seen, length):
#     level = (torch.arange(length) - seen + 1).clamp(min=0)
#     return level[None, :] <= level[:, None]
# ```
# </details>
#
# The picture that the right answer gives, for seen = 3, length = 7:

# %%
plots.show(plots.mask(masks.prefix(3, 7), title="prefix: levels 0 0 0 1 2 3 4"))

# %% [markdown]
# ## Exercise 2 · Flamingo's mask
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | count tags, compare for equality, mind the beginning | ●●●○○ | ●●●●● | 15 |
#
# A page mixes words and image tags. Each token may look at the visual tokens of the **last image before it** (an image tag already sees its own image), and text before the first image at nothing. `is_tag` (T,) says where the tags are; `image_of_key` (K,) holds the image number, from 1, of each visual token. Return booleans (T, K).


# %%
def my_last_image(is_tag: torch.Tensor, image_of_key: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError(
        "return booleans (T, K): number each token by its last image, then compare with the "
        "keys' image."
    )


check("attention.last_image", my_last_image)

# %% [markdown]
# <details><summary>Hint 1</summary>The paper calls it φ: the number of image tags up to and including each token. A running count is a cumulative sum.</details>
# <details><summary>Hint 2</summary>Text before the first image has φ = 0, and no image has number 0, so <code>==</code> does the rest.</details>
# <details><summary>If you see "cumsum ... not implemented for 'Bool'"</summary>Booleans must become numbers first: <code>is_tag.long()</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def my_last_image(is_tag, image_of_key):
#     phi = is_tag.long().cumsum(0)
#     return phi[:, None] == image_of_key[None, :]
# ```
# </details>
#
# The picture that the right answer gives:

# %%
page = ["look", "<image>", "a", "cat", "<image>", "a", "dog"]
phi = masks.phi(torch.tensor([word == "<image>" for word in page]))
plots.show(
    plots.mask(
        masks.last_image(phi, torch.tensor([1, 1, 2, 2])),
        [f"{word}  φ={n}" for word, n in zip(page, phi.tolist())],
        ["image 1", "image 1", "image 2", "image 2"],
        "last image only",
    )
)

# %% [markdown]
# ## Failure lab · Numbers that look fine
#
# Public re-implementations of Flamingo shipped this bug. The mask is right. Instead of leaving forbidden scores out, the code *adds* the most negative number to them. No NaN, no error, training runs. Which query got what it must not, and why?


# %%
def broken_attend(q, k, v, may_look):
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    scores = scores + torch.zeros_like(scores).masked_fill(~may_look, torch.finfo(scores.dtype).min)
    return scores.softmax(-1) @ v


declared = masks.last_image(phi, torch.tensor([1, 1, 2, 2]))
queries, context = torch.randn(1, 1, 7, 8), torch.randn(1, 4, 8)
measured = (
    introspection.influence(
        lambda keys: broken_attend(queries, keys[:, None], keys[:, None], declared.to_bool())[:, 0],
        context,
    )
    > 0
)
plots.show(plots.compare_masks(measured, declared, ("measured", "declared")))

# %% [markdown]
# Your diagnosis:

# %%
quiz("attention.leak")

# %% [markdown]
# <details><summary>What to do about it</summary>
#
# Never add; leave out. With *boolean* masks PyTorch's SDPA gives exactly zero for such rows, and zero gradient; `attend` makes sure of it and refuses additive masks. (With `-inf` instead of the most negative number the row is 0/0 = NaN: at least one notices.) In Flamingo it matters: text before the first image would see *all* images, also those still to come.
# </details>

# %%
empty = declared.to_bool()[0, 0].logical_not().all(-1)
q = torch.randn(1, 1, 7, 8, requires_grad=True)
k = torch.randn(1, 1, 4, 8, requires_grad=True)
out = attend(q, k, k, declared.to_bool())
(gradient,) = torch.autograd.grad(out[:, :, empty].sum(), k)
print(
    "row without keys: output",
    out[:, :, empty].abs().max().item(),
    "gradient",
    gradient.abs().max().item(),
)  # NBVAL_CHECK_OUTPUT
try:
    attend(q, k, k, torch.zeros(7, 4))
except ValueError as error:
    print(error)  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# ## The paper beside us
#
# | claimed | here |
# |---|---|
# | Vaswani et al., Sec. 3.2.1: without the scaling, softmax saturates for large widths | yes: section 1's curve |
# | Vaswani et al., Sec. 3.2.2: several heads look for several things | not shown: *untrained* heads differ too. Section 8 lets you look at trained ones |
# | fused kernels (FlashAttention, 2205.14135): memory linear in length, same numbers | yes: section 2, measured on your machine |
#
# What this lesson did *not* show: that attention weights *explain* an answer. They say what a layer looked at, not what it made of it. `influence` is nearer to an explanation, and still only local.
#
# ## Going on
#
# - Limits: levels and groups cover this course, not everything. Sliding windows need two comparisons; random or learnt sparsity needs more.
# - Read: *Attention Is All You Need*, Sec. 3.2; *FlexAttention* in PyTorch's documentation; BLIP-2, Fig. 2; Flamingo, Sec. 2.3 and Fig. 7.
# - Next: **lesson 02** puts two transformers side by side, one causal, one not, and trains them to agree: CLIP.
