# %% [markdown]
# # 01 · Attention and masks
#
# **After this lesson you can:**
#
# - write scaled dot-product attention, several heads, positions, a pre-norm block and a key-value cache;
# - write the attention mask of every model of this course as a comparison of integers;
# - measure which inputs an output depends on, and find a layer that breaks its mask;
# - explain how a fused kernel saves memory, and what a cache saves.
#
# | | |
# |---|---|
# | Prerequisites | Python; PyTorch tensors, broadcasting, `nn.Module`; softmax |
# | Time | about 110 minutes to work through (two sittings); Run All takes about 45 seconds on two free cores |
# | Papers | Vaswani et al. 2017, *Attention Is All You Need*, [arXiv 1706.03762](https://arxiv.org/abs/1706.03762); Xiong et al. 2020, *On Layer Normalization in the Transformer Architecture*, [arXiv 2002.04745](https://arxiv.org/abs/2002.04745); Dao et al. 2022, *FlashAttention*, [arXiv 2205.14135](https://arxiv.org/abs/2205.14135) |
#
# Lesson 00 sorted vision-language models by how images and text meet. In nearly all of them they meet in attention layers. The models differ in which positions may attend to which: that is the mask. This lesson builds both, and the rest of the course uses them.
#
# Letters for axes: **B** batch, **H** heads, **L** length of a sequence, **T** tokens of a text, **M** number of queries, **N** number of keys (M and N can differ), **D** width of a layer, **d** width of one head. Matrices are bold: $\mathbf{Q}$, $\mathbf{K}$ and $\mathbf{V}$ hold queries, keys and values.

# %% tags=["hide-input"]
import math

import torch
from IPython.display import Markdown
from torch import Tensor, nn

from teaching import attention_figures as figures
from teaching import attention_lab as lab
from teaching import attention_pictures as pictures
from teaching import lookup
from teaching.attention import mask_player
from teaching.exercises import check, diagnose, quiz
from vlmcourse import evaluation, introspection, plots, recipes, world
from vlmcourse.evaluation.published import published
from vlmcourse.parts import masks
from vlmcourse.training.scale import Scale

scale = Scale.of()
_ = torch.manual_seed(0)

# %% [markdown]
# ## The whole first
#
# Here is a trained CLIP, the model of lesson 02. It sees three test pictures and names the object in each. Its image encoder is a stack of the blocks that you will write in this lesson. At the end, your own layer will replace its attention.

# %%
clip = recipes.get("clip").train_or_load(scale).model
images, pixel_values, captions, right = figures.named_pictures(clip, scale)
caption = (
    "Figure 1. Three test pictures and the name that CLIP gives them; in brackets its "
    f"probability among {len(world.known_nouns())} names."
)
plots.show(plots.pictures(images, captions, right), caption=caption, credit=world.ATTRIBUTION)

# %% [markdown]
# Attention is how the patches of a picture exchange information. CLIP cuts a picture into squares, the **patches** (here 4 × 4), and adds one *summary position*, whose final vector stands for the whole picture. The next figure shows, for the first picture, where this summary position attends. Four attention computations run side by side; each is called a *head*.

# %%
weights = introspection.attention_weights(clip.vision, lambda: clip.vision(pixel_values[:1]))
heads = list(weights.values())[-1][0, :, 0, 1:]  # last block, summary position: (H, patches)
caption = (
    "Figure 2. Attention weights of the last block, from the summary position to the 4 × 4 "
    "patches, in percent; one panel for each head. What is missing to 100 lies on the summary "
    "position itself. What to see: head 0 puts most of its weight on one patch, the others "
    "spread theirs. The patches that the object fills for the most part get at most "
    f"{figures.weight_on_object(images[0], heads):.0%} in any head. Earlier blocks have mixed the "
    "patches, so a weight at a place isn't a look at that place."
)
drawn = pictures.patch_weights(images[0], heads)
plots.show(drawn, caption=caption, credit=world.ATTRIBUTION)

# %% [markdown]
# This diagram shows the block, with the shapes for a sequence of 9 tokens. (A *token* is one input vector: of a word, or of a patch.) You will write each of its parts; section 7 explains the names *pre-norm* and *residual stream*.

# %%
caption = (
    "Figure 3. A pre-norm block. Orange boxes have trained weights. Below each name stands "
    "the shape of what the box gives. What to see: x runs along the top, and both branches "
    "only add to it."
)
plots.show(figures.block_diagram(length=9, width=64, heads=4), caption=caption)

# %% [markdown]
# ## 1. Attention
#
# Attention is a soft look-up. Three vectors are computed from each position: a **query**, a **key** and a **value**. A query is compared with all keys by dot products; divided by $\sqrt{d}$, they are called **scores**. A softmax turns the scores of one query into **weights** that sum to 1. The result is the weighted mean of the values (Vaswani et al., Eq. 1):
#
# $$\text{attention}(\mathbf{Q}, \mathbf{K}, \mathbf{V}) = \text{softmax}\!\left(\frac{\mathbf{Q}\mathbf{K}^\top}{\sqrt{d}}\right) \mathbf{V}$$
#
# The rows of $\mathbf{Q}$, $\mathbf{K}$ and $\mathbf{V}$ are the queries, keys and values. $d$ is the width of a query, which is also the width of a key.

# %% [markdown]
# ### Exercise 1 · Scaled dot-product attention
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | turn Equation 1 into tensor operations | ●●○○○ | ●●●●● | 6 |
#
# Write the formula for a batch with several heads. Return the result and the weights, in this order.


# %%
def attention(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 1.

    q (B, H, M, d), k (B, H, N, d), v (B, H, N, d) -> result (B, H, M, d), weights (B, H, M, N)
    """
    raise NotImplementedError("your code here")


attention = check("attention.attention", attention)

# %% [markdown]
# <details><summary>Hint 1</summary>The scores have the shape (B, H, M, N). Which axes of k must be exchanged for that?</details>
# <details><summary>Hint 2</summary><code>x.transpose(-1, -2)</code> exchanges the last two axes; <code>@</code> multiplies the last two axes of batches. The softmax runs over the keys, the last axis.</details>
# <details><summary>If you see "mat1 and mat2 shapes cannot be multiplied" or "Expected size for first two dimensions"</summary>You multiply q by k as it is. The keys must stand in columns.</details>
# <details><summary>Solution</summary>
#
# ```python
# def attention(q, k, v):
#     products = q @ k.transpose(-1, -2)  # (B, H, M, N)
#     scores = products / math.sqrt(q.shape[-1])
#     weights = scores.softmax(dim=-1)
#     result = weights @ v  # (B, H, M, d)
#     return result, weights
# ```
# </details>

# %% [markdown]
# Why divide by $\sqrt{d}$? First a quiz, then a measurement with your function.

# %%
quiz("attention.scaling")

# %% [markdown]
# The next cell compares random queries with 64 random keys. The lower panel shows the slope of the softmax: the sum over the keys of the derivative of each weight by its own score, $\sum_k w_k (1 - w_k)$. Where it is near 0, changing a score hardly changes its weight. Both are means over the 64 queries.

# %%
caption = (
    "Figure 4. Attention of random vectors, with and without the division by √d: means over "
    "64 queries, one draw. What to "
    "see: without it, wide heads put most weight on one key, and the derivative falls."
)
plots.show(
    figures.cost_figure(figures.saturation(attention), "width d of a head", ylog=False),
    caption=caption,
)

# %% [markdown]
# Without the division, one key gets most of the weight before any training, at large widths. The derivative of the softmax is then small, so training changes the weights slowly.
#
# ## 2. Masks
#
# A **mask** says which keys a query may attend to. In this course a mask is a table of booleans with a row for each query and a column for each key. True means *may attend*.
#
# Nearly all masks of this course come from two comparisons, and from leaving out padding. Give each position one integer. A mask uses one of two rules (packed documents use both together); a query may attend to a key if
#
# - **levels**: level(key) ≤ level(query), or
# - **groups**: group(key) = group(query).
#
# Levels 0, 1, 2, 3 give the **causal** mask of a language model: each token attends to itself and to earlier tokens. In a **prefix** mask the first positions, such as an image or a question, all attend to each other. The text after them attends to the whole prefix, to itself and to earlier text.

# %% [markdown]
# ### Exercise 2 · The prefix mask
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | express a pattern of attention as levels | ●●○○○ | ●●●●● | 6 |
#
# Return the prefix mask. The first `prefix_length` positions are the prefix; it may be empty or the whole sequence.


# %%
def prefix_mask(prefix_length: int, length: int) -> Tensor:
    """Booleans (length, length), True = may attend; rows are queries, columns are keys."""
    raise NotImplementedError("your code here")


prefix_mask = check("attention.prefix_mask", prefix_mask)

# %% [markdown]
# <details><summary>Hint 1</summary>Positions with the same level attend to each other. Which level do the first <code>prefix_length</code> positions share?</details>
# <details><summary>Hint 2</summary>For a prefix of 2 and a length of 5 the levels are 0 0 1 2 3. <code>torch.arange(length) - prefix_length + 1</code> is nearly that.</details>
# <details><summary>If you see "Boolean value of Tensor with more than one value is ambiguous"</summary>You used <code>and</code>, <code>or</code> or <code>if</code> on tensors. Use <code>&amp;</code>, <code>|</code> or <code>torch.where</code>.</details>
# <details><summary>If you see "The size of tensor a must match the size of tensor b"</summary>Two vectors are compared element by element. To compare all pairs, turn one into a column: <code>level[:, None]</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def prefix_mask(prefix_length, length):
#     position = torch.arange(length)
#     level = (position - prefix_length + 1).clamp(min=0)
#     level_of_key, level_of_query = level[None, :], level[:, None]
#     return level_of_key <= level_of_query
# ```
# </details>

# %%
tokens = ["img", "img", "a", "blue", "cat", "."]
caption = (
    "Figure 5. Your prefix mask for two image vectors and four words; dark = may attend. "
    "What to see: the images attend to each other, the words to the images and to earlier "
    "words."
)
plots.show(plots.mask(prefix_mask(2, 6), tokens, tokens, "prefix of 2"), caption=caption)

# %% [markdown]
# Try other patterns: pick a rule, type integers, and see the mask. Tab and arrow keys work. Without a running kernel you see a fixed picture.

# %%
mask_player()

# %% [markdown]
# These are all masks that you will meet, with the model that uses each. (BLIP-2's *query vectors* are a few learned input vectors that stand before the text; lesson 10 explains them.)
#
# | model | mask | rule |
# |---|---|---|
# | CLIP's text encoder, BLIP's decoder, every language model | causal | levels 0, 1, 2, ... |
# | prefix language model | prefix | levels 0, ..., 0, 1, 2, ... |
# | BLIP-2, image-text matching (ITM) | bi-directional | all levels 0 |
# | BLIP-2, image-text contrast (ITC) | uni-modal | groups: query vectors / text |
# | BLIP-2, image-grounded text generation (ITG) | multimodal causal | levels: query vectors 0, text 1, 2, ... |
# | Flamingo | last image only | groups; a query's group: images so far; a key's group: number of its image |
# | Flamingo, ablation | all images so far | levels, with the same integers |
# | packed documents | causal in each document | groups *and* levels |
# | ViLBERT, VL-BERT | padding | keys that are real tokens |

# %%
gallery = masks.gallery()
caption = (
    "Figure 6. The masks of the table; dark = may attend, rows are queries, columns are keys. "
    "w1, w2: words; p1: prefix; q1: query vector; a1, b1: tokens of two documents; <im1>: "
    "token of image 1; 1a, 1b: its two visual tokens. What to see: in mask d nothing passes "
    "between query vectors and words; in f and g the first word attends to nothing."
)
plots.show(pictures.named_masks(gallery), caption=caption)

# %%
quiz("attention.same_pattern")

# %% [markdown]
# Masks can be combined. To save computation, several short documents are **packed** into one row of a batch. Rows that are still too short are filled with **padding** tokens, at the end or at the beginning. A token must then not attend to another document, to the future, or to padding.

# %% [markdown]
# ### Exercise 3 · Packed documents with padding
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | combine groups, levels and padding for a batch | ●●●○○ | ●●●●○ | 8 |
#
# `document[b, t]` is the number of the document that token t belongs to. `is_token` is False for padding; padding carries some document's number too. A padding query follows the same three conditions; its output is never used.


# %%
def packed_mask(document: Tensor, is_token: Tensor) -> Tensor:
    """True where the key is in the query's document, not later than the query, and a real token.

    document (B, T) integers, is_token (B, T) booleans -> booleans (B, 1, T, T); the 1 is for heads
    """
    raise NotImplementedError("your code here")


packed_mask = check("attention.packed_mask", packed_mask)

# %% [markdown]
# <details><summary>Hint 1</summary>Write three masks that broadcast to (B, T, T), and combine them with <code>&amp;</code>.</details>
# <details><summary>Hint 2</summary>Padding concerns keys, so <code>is_token</code> must be laid along the last axis: <code>is_token[:, None, :]</code>.</details>
# <details><summary>If you see "found shape (2, 8, 8); expected (2, 1, 8, 8)"</summary>Add an axis of length 1 at place 1: <code>mask[:, None]</code>. It broadcasts over the heads.</details>
# <details><summary>Solution</summary>
#
# ```python
# def packed_mask(document, is_token):
#     T = document.shape[1]
#     same_document = document[:, :, None] == document[:, None, :]  # (B, T, T)
#     causal = prefix_mask(0, T)  # (T, T)
#     real_key = is_token[:, None, :]  # (B, 1, T)
#     allowed = same_document & causal & real_key
#     return allowed[:, None]
# ```
# </details>

# %%
document = torch.tensor([[1, 1, 1, 1, 2, 2, 2, 2], [1, 1, 1, 2, 2, 2, 2, 2]])
is_token = torch.ones(2, 8).bool()
is_token[0, :2], is_token[1, 6:] = False, False
packed = packed_mask(document, is_token)
caption = (
    "Figure 7. Two documents in each row of a batch, with padding at the beginning (left) "
    "or at the end (right). What to see: rows 0 and 1 at the left are empty."
)
by_side = {"padding first": packed[0], "padding last": packed[1]}
plots.show(plots.mask_gallery(by_side, columns=2), caption=caption)

# %% [markdown]
# ## 3. Attention with a mask
#
# Attention with a mask gives weight to allowed keys only, and the weights of a query still sum to 1. A row of the mask may be empty, as in Figure 7. By definition the result of such a query is zero, and no gradient flows through it to q, k and v.

# %% [markdown]
# ### Exercise 4 · Masked attention
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | apply a boolean mask, empty rows included | ●●●○○ | ●●●●● | 8 |
#
# Write attention with a mask. Queries without any allowed key give zero. The gradients must be finite.


# %%
def masked_attention(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
    """Equation 1 over the allowed keys of each query.

    q, k, v (B, H, L, d), allowed booleans that broadcast to (B, H, L, L) -> (B, H, L, d)
    """
    raise NotImplementedError("your code here")


masked_attention = check("attention.masked_attention", masked_attention)

# %% [markdown]
# <details><summary>Hint 1</summary>Which score makes a weight exactly zero? Remember what the softmax does to a score: exp(score).</details>
# <details><summary>Hint 2</summary><code>scores.masked_fill(~allowed, -math.inf)</code> gives forbidden keys no weight. In an empty row the softmax then is 0 / 0. What can you fill in afterwards?</details>
# <details><summary>If you see "some values are NaN or infinite"</summary>That is the empty row. Fill forbidden weights with zero after the softmax, before the product with v.</details>
# <details><summary>Solution</summary>
#
# ```python
# def masked_attention(q, k, v, allowed):
#     scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
#     scores = scores.masked_fill(~allowed, -math.inf)
#     weights = scores.softmax(dim=-1)
#     weights = weights.masked_fill(~allowed, 0)
#     return weights @ v
# ```
# </details>

# %% [markdown]
# ### Explicit and fused attention
#
# Your function writes the table of scores, L × L numbers for each head, to memory several times. A **fused kernel** computes the same result in small tiles, and never stores the whole table. It keeps a running maximum and a running sum for each row, and corrects what it has added so far when the maximum grows. The backward pass recomputes the tiles from q, k, v and one number per row. The course's `attend` calls one of two fused kernels:
#
# - *SDPA*, PyTorch's `scaled_dot_product_attention`, for boolean masks;
# - *FlexAttention*, for **block masks**: it skips tiles in which no query may attend to any key. It is compiled when it is first used.
#
# All must agree. SDPA is compared for all nine masks, FlexAttention for one, because each mask needs a compilation of its own. This takes about 20 seconds and needs a C++ compiler; without one, the cell says so and goes on.

# %%
figures.kernels(masked_attention, gallery, scale)

# %% [markdown]
# The results agree up to rounding errors. Time and memory don't. They are measured next for attention without a mask, your function of Exercise 1.

# %%
quiz("attention.memory")

# %%
lengths = (128, 256, 512) if scale.name == "smoke" else (128, 256, 512, 1024, 2048)
measured = figures.costs(attention, lengths)
times, memory = measured["milliseconds"], measured["MiB stored for backward"]
caption = (
    "Figure 8. Time and stored memory of forward and backward pass (4 heads of width 32, on "
    "this machine; time: the fastest of three runs). Both axes are logarithmic. What to see: "
    f"fused attention is {figures.ratios(times)} times as fast. Each doubling of the length still "
    f"multiplies its time by {figures.growth(times['fused'])}. It multiplies the memory of fused "
    f"attention by {figures.growth(memory['fused'])}, that of explicit attention by "
    f"{figures.growth(memory['explicit'])}."
)
plots.show(figures.cost_figure(measured, "length L"), caption=caption)

# %% tags=["nbval-check-output"]
for name, points in memory.items():
    growth = points[512] / points[256]
    print(f"{name}: memory from 256 to 512 tokens grows by a factor of {growth:.1f}")

# %% [markdown]
# ## 4. Flamingo's mask
#
# Flamingo (lesson 11) reads texts in which images are **interleaved** with words. Each image is marked by an image token `<image>` in the text. Each image also gives a few **visual tokens**, which are the keys of a **cross-attention** layer: in cross-attention the queries come from one sequence (the text), keys and values from another (the images). Each text token attends to the visual tokens of the last image before it. Flamingo's paper writes $\phi$ for the index of that image (Alayrac et al. 2022, Sec. 2.3; $\phi$ in Appendix A.1).

# %% [markdown]
# ### Exercise 5 · The last image only
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | express a pattern of attention as groups | ●●○○○ | ●●●●○ | 7 |
#
# `image_of_key` holds the number of each visual token's image, counted from 1. Here, as in OpenFlamingo, an image token attends to its own image. Text before the first image attends to nothing.


# %%
def last_image_mask(is_image_token: Tensor, image_of_key: Tensor) -> Tensor:
    """is_image_token (T,) booleans, image_of_key (N,) integers -> booleans (T, N)."""
    raise NotImplementedError("your code here")


last_image_mask = check("attention.last_image_mask", last_image_mask)

# %% [markdown]
# <details><summary>Hint 1</summary>How many image tokens stand at or before each token? That number is a group.</details>
# <details><summary>Hint 2</summary>A running count is a cumulative sum. Text before the first image has the count 0, and no image has the number 0.</details>
# <details><summary>If you see "cumsum ... not implemented for 'Bool'"</summary>Turn booleans into integers first: <code>is_image_token.long()</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def last_image_mask(is_image_token, image_of_key):
#     phi = is_image_token.long().cumsum(0)  # (T,)
#     group_of_query = phi[:, None]
#     group_of_key = image_of_key[None, :]
#     return group_of_query == group_of_key
# ```
# </details>

# %%
text = ["look", "<image>", "a", "cat", "<image>", "a", "dog"]
is_image_token = torch.tensor([word == "<image>" for word in text])
visual = ["image 1", "image 1", "image 2", "image 2"]
flamingo_mask = last_image_mask(is_image_token, torch.tensor([1, 1, 2, 2]))
caption = (
    "Figure 9. Flamingo's mask for two images of two visual tokens each. What to see: each "
    "word attends to one image; the word before the first image attends to nothing."
)
plots.show(plots.mask(flamingo_mask, text, visual, "last image only"), caption=caption)

# %% [markdown]
# ## 5. Several heads
#
# One softmax per query gives one distribution over the keys. A layer with **several heads** computes H distributions side by side. Each head works with its own part of the width, d = D / H numbers (Vaswani et al., Sec. 3.2.2):
#
# $$\text{MultiHead}(\mathbf{X}) = [\text{head}_1, \dots, \text{head}_H]\,\mathbf{W}^O, \qquad \text{head}_h = \text{attention}(\mathbf{X}\mathbf{W}_h^Q,\; \mathbf{X}\mathbf{W}_h^K,\; \mathbf{X}\mathbf{W}_h^V)$$
#
# In code the matrices of all heads form one linear layer. Its result is cut into H contiguous pieces of d numbers: the first head gets numbers 0 to d - 1, and so on. The mask is left out of the formula; all heads share it.

# %%
quiz("attention.heads")

# %% [markdown]
# ### Exercise 6 · Multi-head attention
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | write self-attention with several heads as a module | ●●●○○ | ●●●●● | 12 |
#
# Write both methods. The names of the linear layers are given, so that weights of other models can be loaded. Use `masked_attention`.


# %%
class MultiHeadAttention(nn.Module):
    """Self-attention with heads.

    Linear layers, width to width, with biases: `query`, `key`, `value`, `output`.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        raise NotImplementedError("your code here")

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        """x (B, L, D), allowed booleans (B or 1, 1, L, L) -> (B, L, D)."""
        raise NotImplementedError("your code here")


MultiHeadAttention = check("attention.heads", MultiHeadAttention)

# %% [markdown]
# <details><summary>Hint 1</summary>From (B, L, D) to (B, H, L, d) takes two steps: cut the last axis in two, then exchange two axes. After attention, go back in the opposite order.</details>
# <details><summary>Hint 2</summary><code>x.unflatten(-1, (heads, -1))</code> cuts an axis, <code>transpose(1, 2)</code> exchanges two, <code>flatten(2)</code> joins all axes from number 2 on.</details>
# <details><summary>If you see "view size is not compatible with input tensor's size and stride"</summary>After a transpose use <code>flatten</code> or <code>reshape</code>, not <code>view</code>.</details>
# <details><summary>If you see "cannot assign module before Module.__init__() call"</summary>Call <code>super().__init__()</code> first.</details>
# <details><summary>Solution</summary>
#
# ```python
# class MultiHeadAttention(nn.Module):
#     def __init__(self, width, heads):
#         super().__init__()
#         self.heads = heads
#         self.query = nn.Linear(width, width)
#         self.key = nn.Linear(width, width)
#         self.value = nn.Linear(width, width)
#         self.output = nn.Linear(width, width)
#
#     def split(self, x):
#         return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, L, d)
#
#     def forward(self, x, allowed):
#         q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
#         result = masked_attention(q, k, v, allowed)
#         return self.output(result.transpose(1, 2).flatten(2))
# ```
# </details>

# %% [markdown]
# ### Declared and measured
#
# A mask *declares* who may attend to whom. A layer can still break it, by a bug. So measure: replace the input at position k by something else, and see which outputs change. This needs no knowledge of the layer's inside.

# %% [markdown]
# ### Exercise 7 · Measure the dependency
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | test a layer from outside, by perturbing its input | ●●●○○ | ●●●●● | 8 |
#
# Return for each output position and each input position whether the output changes when the input does. Leave `x` as it is.


# %%
def dependency(function, x: Tensor) -> Tensor:
    """Which outputs depend on which inputs?

    function maps (1, N, D) to (1, M, D); x (1, N, D) -> booleans (M, N), True = depends
    """
    raise NotImplementedError("your code here")


dependency = check("attention.dependency", dependency)

# %% [markdown]
# <details><summary>Hint 1</summary>Make a copy of x for each k, change position k in it, and compare the outputs with those of x.</details>
# <details><summary>Hint 2</summary>Replace the whole vector by <code>torch.randn</code> numbers. A column of the result is: is the largest change of each output above 1e-6?</details>
# <details><summary>If you see "expected (4, 6)" with your shape the other way round</summary>Each k gives a column of the result: <code>torch.stack(columns, dim=1)</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def dependency(function, x):
#     before, columns = function(x), []
#     for k in range(x.shape[1]):
#         changed = x.clone()
#         changed[:, k] = torch.randn_like(changed[:, k])
#         change = (function(changed) - before).abs()  # (1, M, D)
#         columns.append(change.amax(dim=-1)[0] > 1e-6)
#     return torch.stack(columns, dim=1)
# ```
# </details>
#
# The course's own `introspection.influence` uses derivatives instead, and gives sizes. For your layer, the declared mask and both measurements must agree:

# %% tags=["nbval-check-output"]
layer, x = MultiHeadAttention(16, 2), torch.randn(1, 8, 16)
declared = packed[:1]  # the left mask of Figure 7
by_change = dependency(lambda x: layer(x, declared), x)
by_derivative = introspection.influence(lambda x: layer(x, declared), x) > 0
print("declared = measured by change:", torch.equal(declared[0, 0], by_change))
print("declared = measured by derivative:", torch.equal(declared[0, 0], by_derivative))

# %% [markdown]
# ## 6. Positions
#
# Attention alone doesn't know the order of its inputs.

# %%
quiz("attention.order")

# %% tags=["nbval-check-output"]
everywhere, order = torch.ones(1, 1, 8, 8).bool(), torch.tensor([1, 0, 2, 3, 4, 5, 6, 7])
moved = layer(x[:, order], everywhere)
same = torch.allclose(moved, layer(x, everywhere)[:, order], atol=1e-6)
print("outputs are exchanged as the inputs were:", same)

# %% [markdown]
# So a vector for its position is added to each token's input vector, its *embedding*. It may be learned, as in CLIP, or fixed. Vaswani et al. (Sec. 3.5) take sines and cosines of $D / 2$ frequencies, for position $p$ and pair $i = 0, 1, \dots$:
#
# $$\text{PE}(p, 2i) = \sin\!\left(p / 10000^{2i/D}\right), \qquad \text{PE}(p, 2i + 1) = \cos\!\left(p / 10000^{2i/D}\right)$$

# %% [markdown]
# ### Exercise 8 · Sinusoidal positions
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | turn a formula with indices into a table | ●●○○○ | ●●●○○ | 7 |
#
# Return the table; the width is even.


# %%
def sinusoidal_positions(length: int, width: int) -> Tensor:
    """PE of positions 0 ... length - 1: floats (length, width)."""
    raise NotImplementedError("your code here")


sinusoidal_positions = check("attention.positions", sinusoidal_positions)

# %% [markdown]
# <details><summary>Hint 1</summary>First make the table of angles (length, width / 2): a column of positions, divided by a row of powers.</details>
# <details><summary>Hint 2</summary>Fill an empty table: <code>table[:, 0::2]</code> are the even columns, <code>table[:, 1::2]</code> the odd ones.</details>
# <details><summary>If you see "found torch.int64; expected torch.float32"</summary>Start from floats: <code>torch.empty(length, width)</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def sinusoidal_positions(length, width):
#     position = torch.arange(length)[:, None]  # (length, 1)
#     pair = torch.arange(width // 2)  # (width / 2,)
#     angle = position / 10_000 ** (2 * pair / width)
#     table = torch.empty(length, width)
#     table[:, 0::2] = angle.sin()
#     table[:, 1::2] = angle.cos()
#     return table
# ```
# </details>

# %%
positions = sinusoidal_positions(64, 64)
products = positions @ positions.T / 32  # 32 pairs, each contributes cos(distance * frequency)
caption = (
    "Figure 10. Your position vectors as rows (left), and the dot products of all pairs of "
    "them, divided by D / 2 (right). What to see: at the right each diagonal has one colour, "
    "so the product depends on the distance alone; it is largest at distance 0."
)
plots.show(pictures.position_tables(positions, products), caption=caption)

# %% [markdown]
# A shift by $k$ positions rotates each pair (sine, cosine) by the same angle everywhere. So learned query and key matrices can make the product largest at any distance $k$ (Sec. 3.5).
#
# ## 7. The block
#
# A transformer is a stack of blocks. A block has two branches: attention, which moves information between positions, and a **feed-forward network**, which works on each position alone. Each branch reads a normalised copy of $x$, and its result is added to $x$:
#
# $$x' = x + \text{attention}(\text{LN}_1(x)), \qquad y = x' + \text{FFN}(\text{LN}_2(x'))$$
#
# The sums are **residual connections**; what runs through them is called the **residual stream**. LN is a LayerNorm. A block with the norms *before* the branches is **pre-norm**, as in CLIP and GPT-2. Vaswani et al. and BERT put them after the sums (**post-norm**). Pre-norm trains more stably without a long warm-up, in which the learning rate is raised slowly (Xiong et al. 2020).

# %% [markdown]
# ### Exercise 9 · A pre-norm block
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | put attention, norms, network and sums in the right order | ●●○○○ | ●●●●● | 8 |
#
# Write both methods. The attention layer is given to the block; call it as `attention(x, allowed)`. The feed-forward network is `nn.Sequential` of Linear (width to 4 × width), GELU, Linear (back to width).


# %%
class PreNormBlock(nn.Module):
    """Modules: `norm1`, `attention`, `norm2` and `feedforward`."""

    def __init__(self, width: int, attention: nn.Module):
        super().__init__()
        raise NotImplementedError("your code here")

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        """x (B, L, D), allowed booleans (B or 1, 1, L, L) -> (B, L, D)."""
        raise NotImplementedError("your code here")


PreNormBlock = check("attention.block", PreNormBlock)

# %% [markdown]
# <details><summary>Hint 1</summary>Each of the two formulas is one line. The second starts from the result of the first.</details>
# <details><summary>Hint 2</summary><code>x = x + self.attention(self.norm1(x), allowed)</code> is the first line.</details>
# <details><summary>If you see "expected parameters [...]; your layer has [...]"</summary>Compare the names of your modules with those of the docstring.</details>
# <details><summary>Solution</summary>
#
# ```python
# class PreNormBlock(nn.Module):
#     def __init__(self, width, attention):
#         super().__init__()
#         self.norm1 = nn.LayerNorm(width)
#         self.attention = attention
#         self.norm2 = nn.LayerNorm(width)
#         self.feedforward = nn.Sequential(
#             nn.Linear(width, 4 * width),
#             nn.GELU(),
#             nn.Linear(4 * width, width),
#         )
#
#     def forward(self, x, allowed):
#         x = x + self.attention(self.norm1(x), allowed)
#         return x + self.feedforward(self.norm2(x))
# ```
# </details>

# %% [markdown]
# ### How far does information travel?
#
# One block moves information from a key to a query that may attend to it. The next block moves it on. So after several blocks an output depends on inputs that the mask does not allow directly.

# %% [markdown]
# ### Exercise 10 · Reach of a stack of blocks
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | predict indirect dependencies from a mask | ●●●○○ | ●●●●○ | 8 |
#
# Return which inputs can change which outputs after `depth` pre-norm blocks that all use the mask `allowed`. Mind the residual connections.


# %%
def reachable(allowed: Tensor, depth: int) -> Tensor:
    """Can input k change output q after `depth` blocks?

    allowed booleans (L, L) -> booleans (L, L)
    """
    raise NotImplementedError("your code here")


reachable = check("attention.reachable", reachable)

# %% [markdown]
# <details><summary>Hint 1</summary>With a residual connection each position also keeps what it has: one block is <code>allowed</code> with a diagonal of True.</details>
# <details><summary>Hint 2</summary>k reaches q in two blocks if there is a position in between. The product of two tables of zeros and ones counts such positions.</details>
# <details><summary>If you see "addmm_impl_cpu_" not implemented for 'Bool'</summary>Multiply floats: <code>allowed.float() @ ...</code>, and ask at the end whether the count is above 0.</details>
# <details><summary>Solution</summary>
#
# ```python
# def reachable(allowed, depth):
#     itself = torch.eye(len(allowed), dtype=torch.bool)
#     step = (allowed | itself).float()
#     reach = itself.float()
#     for _ in range(depth):
#         reach = ((step @ reach) > 0).float()
#     return reach > 0
# ```
# </details>
#
# Is the prediction right? The next cell measures it with stacks of your blocks. In this mask each position attends to itself and to one position before.

# %%
place = torch.arange(7)
window = (place[None] <= place[:, None]) & (place[None] >= place[:, None] - 1)
x, reach = torch.randn(1, 7, 16), {}
for depth in (1, 2, 4):
    blocks = [PreNormBlock(16, MultiHeadAttention(16, 2)) for _ in range(depth)]

    def stack(x: Tensor) -> Tensor:
        for block in blocks:
            x = block(x, window[None, None])
        return x

    reach[f"{depth} block{'s' * (depth > 1)}: measured"] = dependency(stack, x)
    assert torch.equal(dependency(stack, x), reachable(window, depth))
caption = (
    "Figure 11. Measured dependency of stacks of your blocks; each position attends to "
    "itself and one position before. What to see: 1, 2 and 4 blocks reach 1, 2 and 4 "
    "positions back, as predicted."
)
figure = plots.mask_gallery(reach, axis_names=("input", "output"))
plots.show(figure, caption=caption)

# %%
quiz("attention.reach")

# %% [markdown]
# ## 8. Train it: a look-up
#
# The task needs attention: four pairs of a name and a colour, then one of the four names. The answer is its colour. Names and colours are random in each example, so the pairs can't be memorised.
#
# The model is made of *your* parts: sinusoidal positions, two pre-norm blocks, multi-head attention with your causal mask (an empty prefix). Its width is 64, its answer is read at the last position. Training takes 10 to 25 seconds; the curve below grows meanwhile.

# %%
task = lookup.LookUpTask(pairs=4)
causal = prefix_mask(0, task.length)
positions = sinusoidal_positions(task.length, 64)
model = lookup.LookUp(task, causal, MultiHeadAttention, PreNormBlock, positions)
live = plots.LiveCurve(math.log(task.pairs), "ln 4: one of the four colours shown")
_ = lookup.train(model, task, lookup.steps_at(scale), live)

# %% [markdown]
# The curve shows the training loss in nats (the unit of a natural logarithm). The dashed line is $\ln 4$: the loss of a model that knows which four colours occur, but not which one belongs to the name. Only a model that uses the names can get below this line; soon after that the loss is close to zero.
#
# As a control we close the path that the task needs. In the **blind** model the last position is a document of its own, so it can't attend to the pairs. It sees a name only. It is trained for as many steps, another 10 to 25 seconds.

# %%
alone = torch.tensor([[1] * (task.length - 1) + [2]])
blind_mask = packed_mask(alone, torch.ones_like(alone).bool())
blind = lookup.LookUp(task, blind_mask, MultiHeadAttention, PreNormBlock, positions)
_ = lookup.train(blind, task, lookup.steps_at(scale))
scores = {"causal mask": lookup.accuracy(model, task), "blind": lookup.accuracy(blind, task)}
caption = (
    "Figure 12. Share of right colours on 512 new sequences, one run each; the black lines are "
    "95 % intervals for the choice of sequences, not for another training. A model that knows "
    "the four colours shown, but not their names, would reach 1/4. What to see: without a path "
    "to the pairs the score stays near 1/6."
)
levels = {"chance among all 6 colours": 1 / 6, "chance among the 4 colours shown": 1 / 4}
figure = pictures.shares(scores, len(lookup.TEST_EXAMPLES), levels, "share of right colours")
plots.show(figure, caption=caption)

# %% [markdown]
# How does the model do it? The next figure shows where the last position of one new sequence attends, in both blocks.

# %%
batch = task.batch(lookup.TEST_EXAMPLES)
example, asked = batch["ids"][0], int(batch["asked"][0])
words, answer = task.words(example), 2 * asked + 1  # the colour stands after its name
first, second = lookup.weights_of_question(model, example)
caption = (
    f"Figure 13. Weights with which the last position ('{words[-1]}') attends, for each head. "
    f"The frame marks the right colour, '{words[answer]}'. What to see: in block 2 the largest "
    "weight of each head lies on it, in this sequence."
)
both = {"block 1": first, "block 2": second}
plots.show(pictures.weights_by_head(both, words, answer), caption=caption)

# %% [markdown]
# A usual solution takes two steps; Figure 13 fits it, but one sequence proves nothing. In block 1 each colour attends to the name before it, and so learns whose colour it is (not shown here: Figure 13 has the last position only). In block 2 the question attends to the colour that carries its name. A head that does this second step is called an *induction head*; lesson 05 returns to it. Some heads also put weight on other colours. Attention weights alone prove nothing: see the discussion.
#
# ## 9. One token at a time: the cache
#
# A language model generates one token after the other. With a causal mask, keys and values of earlier tokens never change. So they are stored in a **key-value cache**, and each step computes one query, one key and one value.

# %%
caption = (
    "Figure 14. A generation step with a cache (4 heads of width 16, 8 tokens so far). What "
    "to see: only the new token passes through the linear layers."
)
plots.show(figures.cache_diagram(heads=4, head_width=16, cached=8), caption=caption)

# %%
quiz("attention.cache")

# %% [markdown]
# ### Exercise 11 · Attention with a cache
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | compute one step of generation from cached keys and values | ●●●○○ | ●●●●○ | 10 |
#
# Run multi-head attention for one new token. `cache` is a dictionary, empty before the first token. It holds the keys under "k" and the values under "v". Extend it in place. The new token attends to all tokens so far and to itself.


# %%
def attend_with_cache(layer: nn.Module, x: Tensor, cache: dict[str, Tensor]) -> Tensor:
    """One step of `layer`, a MultiHeadAttention.

    x (B, 1, D); cache {} or {"k": (B, H, T, d), "v": (B, H, T, d)} -> (B, 1, D)
    """
    raise NotImplementedError("your code here")


attend_with_cache = check("attention.cache", attend_with_cache)

# %% [markdown]
# <details><summary>Hint 1</summary>Everything in the cache belongs to the past or to the new token. Do you need a mask?</details>
# <details><summary>Hint 2</summary>Join along the axis of the tokens: <code>torch.cat([cache["k"], k], dim=2)</code>. Store the result before or after you attend, but attend to the joined keys.</details>
# <details><summary>If you see "KeyError: 'k'"</summary>Before the first token the cache is empty: <code>if cache:</code> asks whether it holds anything.</details>
# <details><summary>Solution</summary>
#
# ```python
# def attend_with_cache(layer, x, cache):
#     def split(x):
#         return x.unflatten(-1, (layer.heads, -1)).transpose(1, 2)
#
#     q, k, v = split(layer.query(x)), split(layer.key(x)), split(layer.value(x))
#     if cache:
#         k = torch.cat([cache["k"], k], dim=2)
#         v = torch.cat([cache["v"], v], dim=2)
#     cache["k"], cache["v"] = k, v
#     result, _ = attention(q, k, v)
#     return layer.output(result.transpose(1, 2).flatten(2))
# ```
# </details>
#
# Cached and uncached results must be equal. Here is the comparison, with the layer of the trained model's first block:

# %% tags=["nbval-check-output"]
layer, cache = model.blocks[0].attention, {}
x = torch.randn(1, task.length, 64)
with torch.no_grad():
    steps = [attend_with_cache(layer, token, cache) for token in x.split(1, dim=1)]
    whole = layer(x, causal[None, None])
print("cached = uncached:", torch.allclose(torch.cat(steps, dim=1), whole, atol=1e-5))
print("keys in the cache:", cache["k"].shape[2], "of", task.length)

# %%
lengths = (16, 32) if scale.name == "smoke" else (16, 32, 64, 128, 256)
times = {"milliseconds": figures.generation_times(layer, attend_with_cache, lengths)}
caption = (
    "Figure 15. Time to run one layer over a whole sequence, token by token, on this "
    "machine (the fastest of four runs). Both axes are logarithmic. What to see: without the "
    "cache it takes longer at each length shown, and the gap grows."
)
plots.show(figures.cost_figure(times, "tokens"), caption=caption)

# %% [markdown]
# ## 10. Your layer inside CLIP
#
# The next cell copies the trained CLIP and replaces every attention layer, in both encoders, by your `MultiHeadAttention` with CLIP's weights. The pictures of Figure 1 must get the same vectors.

# %% tags=["nbval-check-output"]
yours = figures.with_attention(clip, MultiHeadAttention)
with torch.no_grad():
    difference = (yours.encode_image(pixel_values) - clip.encode_image(pixel_values)).abs().max()
print("same image vectors:", bool(difference < 1e-4))
print("same names:", figures.named_pictures(yours, scale)[3] == right)

# %% [markdown]
# ## Failure lab · Which layer breaks its mask?
#
# Three attention layers got the same mask, the left one of Figure 7. One layer is right, the others have a bug. All give finite numbers without any error message. Your `dependency` measures what they do.

# %%
runs = lab.runs("attention.leaks")
x, measured = torch.randn(1, 8, 16), {}
for letter, faulty_layer in runs.items():
    measured[letter] = dependency(lambda x: faulty_layer(x, declared), x)
caption = (
    "Figure 16. The declared mask, and the measured dependency of the layers A, B and C. "
    "Orange cells with + are leaks: the output depends on an input that the mask "
    "forbids. What to see: two layers leak, each in a pattern of its own."
)
plots.show(pictures.leaks(declared[0, 0], measured), caption=caption)
print("leaks:", {letter: int((m & ~declared[0, 0]).sum()) for letter, m in measured.items()})

# %% [markdown]
# Replace each `None` by one of the causes that the check names.

# %%
diagnose("attention.leaks", {"A": None, "B": None, "C": None})

# %% [markdown]
# <details><summary>Hint</summary>Which rows of each picture differ: those of padding, or those of real tokens?</details>
# <details><summary>Solution and the faulty code</summary>
#
# A: the softmax runs over the queries. B: no fault. C: the most negative number, `finfo.min`, is added to forbidden scores.
#
# ```python
# weights = scores.masked_fill(~allowed, -math.inf).softmax(-2)  # A: -2 are the queries
# weights = weights.masked_fill(~allowed, 0)
#
# lowest = torch.finfo(scores.dtype).min  # C
# weights = (scores + torch.zeros(allowed.shape).masked_fill(~allowed, lowest)).softmax(-1)
# ```
#
# For Flamingo, fault C means that text before the first image sees all images, later ones included. Remedy: use boolean masks, and define the result of an empty row. `attend` does so, and refuses other masks.
# </details>

# %% [markdown]
# ## The paper beside ours
#
# Table 3 of Vaswani et al. varies the base model on English-German translation. PPL is the perplexity on the development set: exp of the mean loss per piece of a word (lower is better), BLEU is a score of translations (higher is better).

# %%
paper = published("transformer-table-3")
Markdown(paper.markdown())

# %% [markdown]
# Ours is the look-up task, varied in the same ways; the widths differ. (Our layer is 64 wide, so its 32 heads have width 2, the paper's 16.) *Steps to learn* is the number of training steps until the mean loss of 20 steps falls below 0.5 nats. A run that never gets there counts as 400 steps.
#
# The verdict is computed from these steps. *Agrees*: the setting named first in the column *ours* needs fewer steps in every seed, and the means differ by more than two pooled standard deviations (the root of the mean of the two variances). *Disagrees*: the same holds the other way round. Else *within noise*. Two rows, with *as good as*, claim that two settings are equal. There *agrees* means a gap of at most 20 steps in every seed (the loss is a mean of 20 steps, so smaller gaps say little), and *disagrees* that one of the two is faster by the rule above.

# %%
lookup.table_beside_ours(paper, evaluation.load_results("replicate_attention"))

# %% [markdown]
# Three remarks:
#
# - *Several heads.* Our task needs one look-up at a time, so a single head is enough. Translation needs several relations at once. Our table can neither confirm nor refute the paper here.
# - *Learned positions, 16 heads.* The paper reports no real difference. Our learned positions were faster in one seed, slower in two. But 16 heads were slower in every seed, and less accurate; the gap just misses our limit (the line below the first table). So this row is closer to *disagrees* than its verdict says.
# - *No mask.* The bi-directional model has sinusoids, so it knows positions, and may attend to more. Still it does not learn the task in these 400 steps; more might be enough. The causal model learns it even without position vectors, and sooner than with them, but ends slightly less accurate (last column). So the mask itself tells the layers something about order; see question 4 below.

# %% [markdown]
# ## Discussion
#
# **Strengths.** Attention connects any two positions in one step, and all positions are computed in parallel. The same layer serves many models; only the mask differs. **Weaknesses.** Cost grows with the square of the length. Order has to be added. Without positions or masks, a sequence is only a set.
#
# **Q1. Do attention weights explain an answer?**
# <details><summary>One answer</summary>
# Not by themselves. They say from where a layer reads, not what it does with it. A value can be near zero, and a later layer can undo an earlier one. An experiment is needed: remove a head or an input, and measure the answer. Your <code>dependency</code> is such an experiment, but it only says whether there is any effect.
# </details>
#
# **Q2. An image of 224 × 224 pixels has 196 patches of 16 × 16. What happens to the cost at 448 × 448, and what can one do?**
# <details><summary>One answer</summary>
# There are four times as many patches, so the table of scores is sixteen times as large. A fused kernel saves its memory, not its computation. A Perceiver (lesson 11) lets a few learned vectors attend to all patches: its cost grows linearly with the number of patches.
# </details>
#
# **Q3. Frozen (lesson 07) turns an image into two vectors before the text. The lecture says that it can read several images "thanks to position encodings". Why should that be?**
# <details><summary>One answer</summary>
# Frozen is trained with one image at the beginning. Its language model uses relative positions: a score depends on the distance of two tokens. For the tokens around it, an image in the middle of a text is therefore like an image at the beginning. With learned absolute positions, an image at place 20 would get a position vector with which no image was ever trained.
# </details>
#
# **Q4. A causal model without any position vectors learned our task in the table above. Where does it get the order from?**
# <details><summary>One answer</summary>
# From the mask. Token 1 attends to one token, token 2 to two, and so on. The size of the weights differs from place to place, and a layer can turn that into a position. With a bi-directional mask and no position vectors nothing distinguishes the places.
# </details>
#
# **Q5. Why do fully masked rows exist at all? Could one forbid them?**
# <details><summary>One answer</summary>
# They come up in practice: left padding, or text before the first image. Forbidding them moves the problem to the data. Defining their result as zero costs one line. Attention then adds nothing but the output layer's bias (Flamingo has none); the feed-forward network works as usual.
# </details>
#
# ## Limits
#
# - Levels and groups cover this course's models. A sliding window needs two comparisons, as packed documents do; learned sparsity needs more.
# - The look-up task is tiny, and its results say little about translation or images.
# - Times and memory were measured on one machine.
#
# ## Reading
#
# - Vaswani et al. 2017, Sections 3.2 to 3.5 and Table 3.
# - Xiong et al. 2020 on pre-norm and post-norm.
# - Dao et al. 2022, *FlashAttention*, Section 3: how tiles avoid the table of scores.
# - BLIP-2, Figure 2, and Flamingo, Section 2.3: masks that you have written here.
#
# ## Key ideas
#
# > - Attention is a weighted mean of values; the weights come from queries and keys.
# > - Divide dot products by √d, or the softmax saturates.
# > - A mask is booleans, made from levels, groups and padding; empty rows give zero.
# > - A block adds to the residual stream; depth extends what a mask allows.
# > - A mask says what a layer should do. A measurement of dependencies shows what it does.
# > - With a causal mask, keys and values can be cached.
#
# ## Glossary
#
# [query, key, value](../docs/GLOSSARY.md#attention) · [scores, attention weights](../docs/GLOSSARY.md#attention) · [head](../docs/GLOSSARY.md#attention) · [attention mask, causal mask, prefix mask, padding mask, packed documents, levels, groups](../docs/GLOSSARY.md#masks) · [fused kernel, block mask](../docs/GLOSSARY.md#attention) · [position vectors](../docs/GLOSSARY.md#attention) · [pre-norm, post-norm](../docs/GLOSSARY.md#attention) · [residual stream, feed-forward network](../docs/GLOSSARY.md#attention) · [key-value cache](../docs/GLOSSARY.md#attention) · [interleaved](../docs/GLOSSARY.md#in-context-learning)
#
# ## Next
#
# **Lesson 02** puts two stacks of these blocks side by side, one for images and one for texts, and trains them to agree: CLIP.
