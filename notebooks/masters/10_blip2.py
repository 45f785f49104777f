# %% [markdown]
# # 10 · BLIP-2: the Q-Former
#
# After this lesson you can:
#
# - build a Q-Former: learned queries, shared self-attention, cross-attention in every second layer;
# - write the masks of its three objectives, and prove that a model obeys them;
# - train it in two stages: first to find what captions say, then to prompt a frozen language model;
# - measure how many of its queries are used;
# - say what "188 million trainable parameters" counts, and what it doesn't.
#
# | | |
# |---|---|
# | Prerequisites | lesson 01 (masks), lesson 05 (perplexity), lesson 07 (vectors among words, frozen language model), lesson 08 (ITC, ITM, hard negatives, label smoothing) |
# | Time | about 130 minutes to work through (two sittings); Run All takes about 35 seconds on two free cores |
# | Papers | *BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large Language Models*, Li et al. 2023, [arXiv 2301.12597](https://arxiv.org/abs/2301.12597) |
#
# BLIP (lessons 08 and 09) searches, checks and writes, but it trains all its parts, the image encoder too. Frozen (lesson 07) keeps a language model as it is, and trains an image encoder from captions alone. BLIP-2 keeps **both** models frozen: an image encoder that has learnt to see, and a language model that has learnt to write. It trains only a small transformer between them, the **Querying Transformer** or **Q-Former**.
#
# "The lecture" and its slides are Georgia Tech's CS 8803-VLM, which this course follows.
#
# Axes: **B** batch, **T** tokens of a text, **P** features of a picture (class token and patches), **C** their width, **R** queries, **D** width of the Q-Former, **E** width of the joint space, **V** vocabulary, **N** pictures or pairs, **M** texts.

# %% tags=["hide-input"]
from collections.abc import Callable

import torch
from IPython.display import HTML, Markdown
from torch import Tensor

from teaching import blip2_diagrams as diagrams
from teaching import blip2_figures as figures
from teaching import blip2_lab, blip2_model, blip2_study, built_models
from teaching import blip2_measures as measures
from teaching import blip2_tables as tables
from teaching.blip2_reference import PARTS
from teaching.exercises import check, diagnose, quiz
from vlmcourse import plots, recipes, world
from vlmcourse.evaluation.published import published
from vlmcourse.plots import LiveCurve
from vlmcourse.recipes.blip2 import stage1_report
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

scale = Scale.of()
smoke = scale.name == "smoke"  # the course's own tests run this notebook in seconds
count = 16 if smoke else 128  # held-out pictures of a test
_ = torch.manual_seed(0)

# %% [markdown]
# ## The whole first
#
# A trained BLIP-2 ships with the course. Its image encoder is the CLIP of lesson 02, its language model is that of lesson 05. Neither has changed. The Q-Former learnt from pictures with captions. It never saw a question.

# %%
second = recipes.get("blip2").train_or_load(scale).model
scenes = measures.held_out(max(12, count // 2))
plots.show(
    figures.at_work(second, scenes[:3]),
    "Figure 1. Three held-out pictures. Below each: a caption, and answers to 'what kind of "
    "thing is the thing?' (category) and 'where can you find the thing?' (place; ✓: nothing "
    "false, ✗: wrong). "
    "What to see: no picture shows a category or a place; where these answers are right, "
    "the language model knew them. Not all of its answers are right: Figure 13 counts them.",
    credit=world.ATTRIBUTION,
)

# %% [markdown]
# ## 1. Two frozen models, and what stands between them
#
# The lecture names two problems of pre-training before BLIP-2. Training everything end to end has **high computational costs**. And pre-trained models that are trained further **forget** what they knew (*catastrophic forgetting*). A frozen model costs no gradients of its weights, and can't forget.
#
# But the two models don't fit together. The language model has never seen a picture, and the image encoder's features are no words. Frozen (lesson 07) closed this gap by the language model's loss alone. BLIP-2 closes it in two stages:
#
# 1. **Representation learning.** Without the language model, the Q-Former learns to extract from a picture what its caption says.
# 2. **Generative learning.** Its output becomes a prefix for the frozen language model, as in lesson 07.

# %%
first = recipes.get("blip2_stage1").train_or_load(scale).model
plots.show(
    diagrams.two_stages(first, second, tokens=8),
    "Figure 2. BLIP-2 as in its Figures 1 to 3, with the shapes of our models for texts of eight "
    "tokens. What to see: both large models are frozen; stage 1 has no language model; the "
    "gradient of each stage trains the Q-Former and its learned queries; that of stage 2 passes "
    "through the language model and the projection.",
)

# %% [markdown]
# The paper's image encoders are CLIP's ViT-L/14 and EVA-CLIP's ViT-g/14. Its language models are OPT (2.7 and 6.7 billion parameters) and FlanT5 (3 and 11 billion). Its Q-Former has 188 million parameters and starts from BERT-base: 12 layers of width 768, with 32 queries. Ours:

# %%
Markdown(tables.sizes(first, second))

# %% [markdown]
# ### Learned queries
#
# The Q-Former reads a picture with $R$ **learned queries**: vectors of width $D$ that are trained like weights, and are the same for every picture. They attend to the picture's features and carry away what they find. So a picture becomes $R$ vectors, however many patches it has. (A *query of the Q-Former* is such a vector. In attention, "query" also means the projection $q$ of any position. Where both meet, the text says which.)

# %% [markdown]
# ### Exercise 1 · Learned queries
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | trained inputs that don't depend on the data | ●○○○○ | ●●●●● | 6 |
#
# Write `LearnedQueries`, a module without layers. At the start, its numbers are drawn from a normal distribution with mean 0 and standard deviation 0.02. Called with a batch size, it returns the queries for each picture of the batch.


# %%
class LearnedQueries(torch.nn.Module):
    """R trained vectors of width D: batch size B -> (B, R, D)."""

    def __init__(self, R: int, D: int):
        super().__init__()
        raise NotImplementedError("your code here")

    def forward(self, B: int) -> Tensor:
        raise NotImplementedError("your code here")


LearnedQueries = check("blip2.LearnedQueries", LearnedQueries)

# %% [markdown]
# <details><summary>Hint 1</summary>A tensor is trained if it is a <code>torch.nn.Parameter</code> and an attribute of the module.</details>
# <details><summary>Hint 2</summary><code>x.expand(B, -1, -1)</code> repeats a tensor (R, D) along a new first axis, without copying.</details>
# <details><summary>If you see "cannot assign 'torch.FloatTensor' as parameter"</summary>An attribute that was a Parameter was given a plain tensor. Don't assign in <code>forward</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# class LearnedQueries(torch.nn.Module):
#     def __init__(self, R, D):
#         super().__init__()
#         self.vectors = torch.nn.Parameter(0.02 * torch.randn(R, D))
#
#     def forward(self, B):
#         return self.vectors.expand(B, -1, -1)
# ```
# </details>

# %%
quiz("blip2.zero_queries")

# %% [markdown]
# ## 2. Three objectives, three masks
#
# In stage 1 the Q-Former reads queries and text in *one* sequence, queries first. Self-attention connects them. Stage 1 has BLIP's three objectives, and each has its own mask:
#
# | objective | first token of the text | mask in the paper | what it asks |
# |---|---|---|---|
# | image-text contrastive loss (ITC) | [CLS] | uni-modal | is this text's vector near this picture's? |
# | image-text matching loss (ITM) | [CLS] | bi-directional | do this picture and this text belong together? |
# | image-grounded text generation (ITG) | [DEC] | multimodal causal | which word comes next? |
#
# - **Uni-modal**: queries attend to queries, text attends to text.
# - **Bi-directional**: all attend to all.
# - **Multimodal causal**: queries attend to queries. A token of the text attends to all queries, to itself and to earlier tokens.
#
# Our texts begin with `<bos>`; each objective puts its own first token in its place.
#
# In BLIP the decoder had a self-attention of its own. Here all three objectives share every weight.

# %% [markdown]
# ### Exercise 2 · Three masks
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | the paper's Figure 2 as booleans | ●●●○○ | ●●●●● | 12 |
#
# Write `qformer_mask`. Nobody may attend to padding, whatever the objective. A row that belongs to padding follows the same rule as a token's row: only columns of padding are closed.


# %%
def qformer_mask(objective: str, R: int, is_token: Tensor) -> Tensor:
    """objective "itc", "itm" or "itg"; is_token (B, T), False at padding -> (B, 1, R + T, R + T).

    Booleans: rows are queries of attention, columns its keys, True = may attend.
    """
    raise NotImplementedError("your code here")


qformer_mask = check("blip2.qformer_mask", qformer_mask)

# %% [markdown]
# <details><summary>Hint 1</summary>Give each of the R + T positions a number, and compare the numbers of row and column. For ITC: 0 for queries, 1 for text. For ITG: which numbers make "column <= row" right?</details>
# <details><summary>Hint 2</summary>For ITG: queries 0, the text's tokens 1, 2, 3, ... Then combine with <code>&amp;</code>: the square (R + T, R + T), and the condition of the columns, (B, 1, 1, R + T).</details>
# <details><summary>If you see "The size of tensor a must match the size of tensor b"</summary><code>is_token</code> has T columns. Put R times True before them.</details>
# <details><summary>Solution</summary>
#
# ```python
# def qformer_mask(objective, R, is_token):
#     B, T = is_token.shape
#     order = (torch.arange(R + T) - R + 1).clamp(min=0)  # 0 for queries, then 1, 2, 3, ...
#     is_text = order > 0
#     square = {
#         "itc": is_text[:, None] == is_text[None, :],
#         "itm": torch.ones(R + T, R + T, dtype=torch.bool),
#         "itg": order[None, :] <= order[:, None],
#     }[objective]
#     is_key = torch.cat([torch.ones(B, R, dtype=torch.bool), is_token], dim=1)
#     return square & is_key[:, None, None, :]
# ```
# </details>

# %% [markdown]
# A mask only declares who may attend to whom. Does a layer obey? The next figure measures it without reading any mask: by the derivatives of each output position with respect to each input position, as in lesson 01. The text has five tokens, `<bos>` and "a cat on blue".

# %%
small = measures.small_qformer(scale, queries=3)
features = torch.randn(1, 5, small.config.vision_width)  # of a picture with five features
ids = tokenizer.encode(["a cat on blue"])[:, :-1]  # without <eos>
drawn, obeyed = figures.declared_and_measured(small, features, qformer_mask, ids)
plots.show(
    drawn,
    "Figure 3. Above: your three masks for three queries (q0 to q2) and five tokens; "
    "dark: may attend. Below: dark where the output of a layer changes with the input. What to "
    "see: both rows agree; only in ITM do queries depend on the text.",
)
print("declared = measured:", obeyed)

# %%
quiz("blip2.same_outputs")

# %% tags=["nbval-check-output"]
outputs = measures.outputs_under_masks(small, features, ids)
for one, other in (("itc", "itg"), ("itc", "itm")):
    same = torch.allclose(outputs[one], outputs[other], atol=1e-5)
    print(f"queries' outputs under {one} and {other} are the same: {same}")

# %% [markdown]
# ## 3. The layers
#
# A layer is a block of BERT whose self-attention is shared by queries and text. Two parts are added:
#
# - **cross-attention** to the picture's features, in every second layer and **for queries only**. A text can know the picture only through the queries.
# - a **feed-forward network of their own** for the queries.
#
# In the authors' code the queries' feed-forward network and the text's both start as copies of BERT's; cross-attention starts at random.

# %%
plots.show(
    diagrams.layer(first, tokens=8),
    "Figure 4. A layer of the Q-Former, as in the paper's Figure 2, for eight queries and eight "
    "tokens. Each box of the middle columns is followed by a residual sum and a LayerNorm. What "
    "to see: queries and text meet in self-attention alone; only queries read the picture.",
)

# %% [markdown]
# As in BERT, layers are **post-norm**: each sublayer is followed by its residual sum and a LayerNorm. Let $x$ be the states of queries and text together, $z$ the picture's features, and FFN the feed-forward network. Self-attention gives $x_1$; $u_1$ is the part of $x_1$ that belongs to the queries:
#
# $$x_1 = \mathrm{LN}(x + \mathrm{SelfAttn}(x)), \qquad u_2 = \mathrm{LN}(u_1 + \mathrm{CrossAttn}(u_1, z)), \qquad u_3 = \mathrm{LN}(u_2 + \mathrm{FFN}(u_2))$$
#
# A layer without cross-attention leaves out the second step: $u_2 = u_1$. The text goes from the first step to the third, with its own FFN and LayerNorm. Each LN has its own weights.

# %% [markdown]
# ### Exercise 3 · One layer
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | what queries and text share, and what not | ●●●○○ | ●●●●● | 10 |
#
# Write `qformer_layer`. The layer's modules: `attention`, `norm`; `cross_attention` (None in every second layer), `norm_cross_attention`; `feedforward_queries`, `norm_queries`; `feedforward_text`, `norm_text`. Self-attention is called as `layer.attention(x, mask=mask)`, cross-attention as `layer.cross_attention(x, context=features)`.


# %%
def qformer_layer(
    layer: torch.nn.Module, x: Tensor, R: int, features: Tensor, mask: Tensor
) -> Tensor:
    """x (B, R + T, D), queries first; features (B, P, C); mask (B, 1, R + T, R + T) -> like x."""
    raise NotImplementedError("your code here")


qformer_layer = check("blip2.qformer_layer", qformer_layer)

# %% [markdown]
# <details><summary>Hint 1</summary>Self-attention on all of x first. Then cut x into queries and text, treat each, and join them again.</details>
# <details><summary>Hint 2</summary><code>x[:, :R]</code> and <code>x[:, R:]</code>; <code>torch.cat([queries, text], dim=1)</code>.</details>
# <details><summary>If you see "'NoneType' object is not callable"</summary>This layer has no cross-attention: test <code>layer.cross_attention is not None</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def qformer_layer(layer, x, R, features, mask):
#     x = layer.norm(x + layer.attention(x, mask=mask))
#     queries, text = x[:, :R], x[:, R:]
#     if layer.cross_attention is not None:
#         found = layer.cross_attention(queries, context=features)
#         queries = layer.norm_cross_attention(queries + found)
#     queries = layer.norm_queries(queries + layer.feedforward_queries(queries))
#     text = layer.norm_text(text + layer.feedforward_text(text))
#     return torch.cat([queries, text], dim=1)
# ```
# </details>

# %% [markdown]
# ### Exercise 4 · All layers
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | from features and text to states | ●●○○○ | ●●●●○ | 8 |
#
# Write `run_qformer`. `model.queries` is the module of exercise 1. `model.embed(ids)` gives words plus positions, (B, T, D). One LayerNorm, `model.norm`, is applied to queries and text together before the first layer. Another one, `model.norm_image`, is applied to the features once. Each of `model.layers` is called as `layer(x, R, features, mask)`.


# %%
def run_qformer(
    model: torch.nn.Module, features: Tensor, ids: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """features (B, P, C), ids (B, T), mask -> states: queries (B, R, D), text (B, T, D)."""
    raise NotImplementedError("your code here")


run_qformer = check("blip2.run_qformer", run_qformer)

# %% [markdown]
# <details><summary>Hint 1</summary>Build x from queries and words, queries first. Then a loop over the layers.</details>
# <details><summary>Hint 2</summary><code>model.queries(len(ids))</code> has shape (B, R, D), so R is its <code>shape[1]</code>.</details>
# <details><summary>If you see "Sizes of tensors must match except in dimension 1"</summary>The queries lack the batch axis: call the module with the batch size.</details>
# <details><summary>Solution</summary>
#
# ```python
# def run_qformer(model, features, ids, mask):
#     queries = model.queries(len(ids))
#     R = queries.shape[1]
#     x = model.norm(torch.cat([queries, model.embed(ids)], dim=1))
#     features = model.norm_image(features)
#     for layer in model.layers:
#         x = layer(x, R, features, mask)
#     return x[:, :R], x[:, R:]
# ```
# </details>

# %% [markdown]
# ## 4. Three losses
#
# ### ITC: the best query
#
# Let $h_r$ be the state of query $r$ after the last layer. A linear layer $W_\mathrm{joint}$ maps it to a vector of the joint space, $q_r = W_\mathrm{joint}\, h_r$ (a bias is not written here). Another one maps the state of [CLS] to the text's vector $t$. One picture has $R$ vectors now, the text has one. The paper takes the query that fits best:
#
# $$s(\text{picture}, \text{text}) = \max_{r = 1, \dots, R} \cos(q_r, t)$$

# %% [markdown]
# ### Exercise 5 · The similarity of picture and text
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | several vectors against one | ●●○○○ | ●●●●● | 6 |
#
# Write `image_text_similarity`. The vectors come with any length.


# %%
def image_text_similarity(queries: Tensor, text: Tensor) -> Tensor:
    """queries (N, R, E) of N pictures, text (M, E) of M texts -> s (N, M)."""
    raise NotImplementedError("your code here")


image_text_similarity = check("blip2.image_text_similarity", image_text_similarity)

# %% [markdown]
# <details><summary>Hint 1</summary>Unit vectors first: then a matrix product gives cosines. <code>(N, R, E) @ (E, M)</code> is (N, R, M).</details>
# <details><summary>Hint 2</summary><code>torch.nn.functional.normalize(x, dim=-1)</code>; <code>amax(axis)</code> returns values alone.</details>
# <details><summary>If you see "mat1 and mat2 shapes cannot be multiplied"</summary>Texts must stand in columns: <code>text.T</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def image_text_similarity(queries, text):
#     normalize = torch.nn.functional.normalize
#     cosines = normalize(queries, dim=-1) @ normalize(text, dim=-1).T
#     return cosines.amax(1)
# ```
# </details>

# %% [markdown]
# The loss is CLIP's: similarities are divided by a temperature $\tau$, and each picture must find its text among the batch's texts, and each text its picture. A frozen encoder needs little memory in training, so the batch can be large. BLIP's queue and momentum encoders are left out. In the authors' code the targets are smoothed. With smoothing $\epsilon$ and $B$ candidates:
#
# $$y_{ij} = (1 - \epsilon)\, g_{ij} + \frac{\epsilon}{B}, \qquad \ell_i = -\sum_j y_{ij} \ln \mathrm{softmax}_j\!\left(\frac{s_{ij}}{\tau}\right)$$
#
# $g_{ij}$ is the hard target: 1 for the picture's own text. Captions repeat in our small world: $k$ equal captions get $1/k$ each, as in lesson 08.

# %% [markdown]
# ### Exercise 6 · The ITC loss
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | in-batch negatives with smoothed targets | ●●○○○ | ●●●●○ | 8 |
#
# Write `itc_loss`: the mean of $\ell_i$ over pictures, the same for texts, and the mean of both. Two captions are equal if their numbers in `groups` are.


# %%
def itc_loss(
    similarities: Tensor, temperature: float | Tensor, groups: Tensor, smoothing: float
) -> Tensor:
    """similarities (B, B), rows are pictures; groups (B,) integers; smoothing epsilon -> scalar."""
    raise NotImplementedError("your code here")


itc_loss = check("blip2.itc_loss", itc_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>Compare <code>groups</code> as a column with itself as a row, and divide each row by its sum: that is g.</details>
# <details><summary>Hint 2</summary><code>torch.nn.functional.cross_entropy(logits, targets, label_smoothing=...)</code> takes targets that are probabilities, and smooths them as in the formula. For texts: <code>logits.T</code>.</details>
# <details><summary>If you see "Expected floating point type for target with class probabilities"</summary>Comparisons give booleans: <code>.float()</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def itc_loss(similarities, temperature, groups, smoothing):
#     same = (groups[:, None] == groups[None, :]).float()
#     targets = same / same.sum(1, keepdim=True)
#     logits = similarities / temperature
#     cross_entropy = torch.nn.functional.cross_entropy
#     image_loss = cross_entropy(logits, targets, label_smoothing=smoothing)
#     text_loss = cross_entropy(logits.T, targets, label_smoothing=smoothing)
#     return (image_loss + text_loss) / 2
# ```
# </details>

# %% [markdown]
# ### ITM: the mean over queries
#
# For matching, queries and text read each other. A linear head maps each query's state to two logits: 0 is "no match", 1 is "match". The paper averages the logits over queries. As in lesson 08, each batch of $B$ right pairs gives $B$ pairs with a wrong text and $B$ with a wrong picture. They are **hard negatives**: drawn by ITC's similarities.

# %%
quiz("blip2.linear_head")

# %% [markdown]
# ### Exercise 7 · The ITM loss
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | one verdict from R queries | ●●●○○ | ●●●●● | 9 |
#
# Write `itm_loss`: the mean cross-entropy over all 3 B pairs. `read(features, ids)` gives the queries' states (n, R, D) of n pairs under ITM's mask. `head` maps states to logits (n, R, 2). `texts[i]` is the number of a wrong text for picture i, `images[i]` that of a wrong picture for text i.


# %%
def itm_loss(
    read: Callable, head: Callable, features: Tensor, ids: Tensor, texts: Tensor, images: Tensor
) -> Tensor:
    """features (B, P, C), ids (B, T), texts and images (B,) integers -> scalar."""
    raise NotImplementedError("your code here")


itm_loss = check("blip2.itm_loss", itm_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>Three groups of pairs, joined with <code>torch.cat</code>: features and ids must stay side by side.</details>
# <details><summary>Hint 2</summary>The queries are axis 1 of the logits. Labels: B times 1, then 2 B times 0.</details>
# <details><summary>If you see "expected scalar type Long"</summary>Labels of classes are integers: <code>torch.tensor([1] * B + [0] * 2 * B)</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def itm_loss(read, head, features, ids, texts, images):
#     B = len(ids)
#     all_features = torch.cat([features, features, features[images]])
#     all_ids = torch.cat([ids, ids[texts], ids])
#     logits = head(read(all_features, all_ids)).mean(1)
#     labels = torch.tensor([1] * B + [0] * 2 * B)
#     return torch.nn.functional.cross_entropy(logits, labels)
# ```
# </details>

# %% [markdown]
# ### ITG: a caption through the queries
#
# The text begins with [DEC], "to signal the decoding task", and predicts each next token. It can't read the picture itself. So whatever it knows of the picture came through the queries. This trains their states inside the Q-Former to carry *all* that a caption says. But in each layer the text reads the queries as they enter that layer, not as they leave it. So the final states $h_r$, which ITC, ITM and stage 2 read, get no gradient from ITG. With our two layers, its gradient reaches the queries' states after the first layer, and no further.

# %%
quiz("blip2.leak")

# %% [markdown]
# ### Exercise 8 · The ITG loss
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | next tokens, label smoothing, padding | ●●○○○ | ●●●●○ | 8 |
#
# Write `itg_loss`. `write(ids)` reads texts under ITG's mask and gives logits (B, T, V); the logits at position $t$ predict token $t + 1$. The first token of each text must be replaced by `dec`. Every later token counts, padding excepted. Take the mean over all tokens that count, with label smoothing (lesson 08).


# %%
def itg_loss(write: Callable, ids: Tensor, dec: int, pad: int, smoothing: float) -> Tensor:
    """ids (B, T); dec and pad: ids of [DEC] and of padding; smoothing from 0 to 1 -> scalar."""
    raise NotImplementedError("your code here")


itg_loss = check("blip2.itg_loss", itg_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>Build a new tensor of ids; the caller needs the old one. Then cut the last position off the logits, and the first token off the targets.</details>
# <details><summary>Hint 2</summary><code>cross_entropy</code> leaves out targets of -100, and takes <code>label_smoothing</code>. It wants logits (tokens, V) and targets (tokens,).</details>
# <details><summary>If you see "Target ... is out of bounds"</summary>A target is no id of the vocabulary: only -100 is left out.</details>
# <details><summary>Solution</summary>
#
# ```python
# def itg_loss(write, ids, dec, pad, smoothing):
#     first = torch.full_like(ids[:, :1], dec)
#     logits = write(torch.cat([first, ids[:, 1:]], dim=1))[:, :-1]
#     targets = ids[:, 1:].masked_fill(ids[:, 1:] == pad, -100)
#     cross_entropy = torch.nn.functional.cross_entropy
#     return cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=smoothing)
# ```
# </details>

# %% [markdown]
# ## 5. Train stage 1
#
# Stage 1's loss is the sum of the three. `blip2_model.build` makes a small Q-Former from your functions: four queries, two layers, width 64. Its pictures show one of twelve things. The image encoder never changes, so it reads each picture once, and its features are kept. **The next cell takes 10 to 20 seconds on free cores, and about a minute on busy ones.** Its curve is the sum of the three losses.

# %%
parts = {
    part.__name__: part
    for part in (
        *(LearnedQueries, qformer_mask, qformer_layer, run_qformer),
        *(image_text_similarity, itc_loss, itm_loss, itg_loss),
    )
}
vision = first.vision
pairs = blip2_model.small_world(scale, "train", vision, 64 if smoke else 512)
yours = blip2_model.build(blip2_model.small_config(scale), parts)
history = blip2_model.train(yours, pairs, 4 if smoke else 200, on_step=LiveCurve())

# %%
plots.show(
    figures.losses(history, yours.qformer.config.vocabulary),
    "Figure 5. Your Q-Former: the three losses over training steps; each point is the mean of "
    f"{figures.steps_per_point(history)} steps. Horizontal lines: ITM that ignores its inputs, "
    "and the least that ITC and ITG can reach with smoothed targets. What to "
    "see: ITM leaves its line only after some steps; ITG ends near its least, and ITC above its "
    "line, since captions repeat in a batch.",
)

# %%
held_out = blip2_model.small_world(scale, "test", vision, 24)
written = blip2_model.written(yours, held_out.whole["features"])
Markdown(measures.caption_table(written, held_out.data.pairs.scenes(range(24))))

# %% [markdown]
# The small world repeats its pictures; equal lines are shown once. A tick means that everything stated is so. The Q-Former writes by itself here, with a head that stage 2 will leave behind.
#
# The shipped stage 1 has eight queries, width 128, all nouns and pictures of one to four things. Your functions can take its weights. The next cell puts them in, and compares the losses with the package's. It also counts how many of the eight parts are yours by now.

# %% tags=["nbval-check-output"]
whole = blip2_model.with_weights_of(first, parts)
twelve = measures.training_batch(scale, vision, 12)
gaps = built_models.loss_differences(first, whole, twelve)
print(f"parts that are yours: {built_models.count_own(parts, PARTS)} of {len(parts)}")
print("the same losses as the package's:", all(gap < 1e-3 for gap in gaps.values()))

# %% [markdown]
# ## 6. What stage 1 has learnt
#
# Retrieval uses ITC alone, or ITC to choose 16 candidates and ITM to order them, as in lesson 08. The score is R@1: how often the right one comes first. The pictures are held-out: no training picture shows these things on these backgrounds.

# %%
report = stage1_report(first, scale.image_size, count)
plots.show(
    figures.retrieval_bars(report),
    f"Figure 6. R@1 of the shipped stage 1 (one model) among {count} held-out pairs "
    f"({measures.largest_error(count)}). Dashed: guessing. "
    "What to see: how far ITC alone is above guessing and above blank pictures, and whether ITM "
    "changes much.",
)

# %%
plots.show(
    figures.pair_bars(first, 2 * count),
    f"Figure 7. The shipped stage 1 on {2 * count} held-out scenes: is the right caption preferred "
    "to that of the scene with two things exchanged, or with another background? Dashed: guessing. "
    f"What to see: compare ITM with ITC, and both with guessing "
    f"({measures.largest_error(2 * count)}; {measures.noise_between(2 * count)}).",
)

# %% [markdown]
# Figure 7 shows one model. Over three seeds neither head is ahead (last table of "The paper beside ours").
#
# The paper says that ITM learns *fine-grained* alignment. ITM has what that needs: queries and text read each other. But what a model could learn and what it has learnt are two things. The shipped stage had 400 steps, and its wrong pairs mostly differ in a thing or a background. Lesson 08 asked the same of BLIP: both its heads failed at exchanged things. Models trained on minimal pairs only, in a small world, learnt it (Figure 10 of lesson 08).
#
# ## 7. How many queries are used?
#
# Eight queries could share the work: one for things, one for backgrounds, one for places. Nothing in the three losses asks for that. First, what does ITC train?

# %%
quiz("blip2.max_gradient")

# %% [markdown]
# Let $p_r$ be the share of pictures for which query $r$ fits the picture's caption best. The **effective number** of queries is the exponential of the entropy of these shares, a perplexity (lesson 05):
#
# $$n = \exp\Big(-\sum_{r=1}^{R} p_r \ln p_r\Big), \qquad 0 \ln 0 = 0$$
#
# It is $R$ if all queries win equally often, and 1 if one query always wins.

# %% [markdown]
# ### Exercise 9 · Which queries win?
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | measure a collapse | ●●○○○ | ●●●●○ | 7 |
#
# Write `queries_used`: which query fits each picture best, as shares $p$, and the effective number $n$.


# %%
def queries_used(similarities: Tensor) -> tuple[Tensor, float]:
    """similarities (N, R): queries with their picture's own text -> shares p (R,), number n."""
    raise NotImplementedError("your code here")


queries_used = check("blip2.queries_used", queries_used)

# %% [markdown]
# <details><summary>Hint 1</summary>The best query of each picture first, then count how often each number occurs.</details>
# <details><summary>Hint 2</summary><code>torch.bincount(numbers, minlength=R)</code> counts; leave out shares of 0 before you take logarithms.</details>
# <details><summary>If you see "found nan; expected a finite number" or "not a number"</summary>0 times the logarithm of 0 is not a number in floating point.</details>
# <details><summary>Solution</summary>
#
# ```python
# def queries_used(similarities):
#     best = similarities.argmax(1)
#     shares = torch.bincount(best, minlength=similarities.shape[1]) / len(best)
#     some = shares[shares > 0]
#     entropy = -(some * some.log()).sum()
#     return shares, entropy.exp().item()
# ```
# </details>

# %%
vectors = measures.pictures_and_captions(first, count)
shares, effective = queries_used(measures.cosines_with_own_text(vectors))
others = measures.cosines_with_other_texts(vectors)
wrong_shares, wrong_effective = queries_used(others)
plots.show(
    figures.usage_bars(shares, wrong_shares),
    f"Figure 8. How often each query of the shipped stage 1 (one model) fits best: {count} "
    f"held-out pictures with their own captions ({measures.largest_error(count)}), and with all "
    f"{count - 1} others. Dashed: all equally often. What to see: the effective number is "
    f"{effective:.2f} of {len(shares)} for right pairs, and {wrong_effective:.2f} for wrong ones.",
)
Markdown(measures.about_usage(shares, wrong_shares, others))

# %%
by_query = measures.recall_by_query(vectors)
plots.show(
    figures.recall_bars(by_query, 1 / count),
    f"Figure 9. R@1 from picture to text among {count}, with all queries and with each alone; one "
    f"model ({measures.largest_error(count)}). Dashed: guessing. What to see: how much of the "
    "whole the best single query reaches, and what "
    "the others can do.",
)
cosine = measures.mean_cosine_between(vectors["queries"])
print(f"mean cosine of two queries of a picture: {cosine:.2f}")
training_batch = measures.training_batch(scale, vision, 8 if smoke else 64)
Markdown(measures.about_recall(by_query, measures.itc_gradient(first, training_batch)))

# %% [markdown]
# Where one query wins for nearly all right pairs, we call the queries **collapsed**. Here one wins for all right pairs. Two others win for most wrong pairs, with nearly the same cosine for every text. Queries that never win may still know much of the picture. For each picture and text, the maximum gives its gradient to the winner's vector alone. Three guesses at the reasons, which we haven't tested:
#
# - A query that is a little better at first gets most of the gradient from right pairs, and then wins by more.
# - One vector of this width can probably hold what our captions say. Then there is no need for a second.
# - ITM and ITG read all queries, but one good query may be enough for them as well.
#
# Can it be cured? The next two figures and the table compare small trainings that differ only in how ITC uses its four queries. *Mean* takes the mean cosine in place of the largest. *Random half* takes, in training, the largest among two queries, drawn anew for each picture and step.

# %%
study = blip2_study.runs(scale)
plots.show(
    blip2_study.figure(study, "effective number", "effective number of queries (of 4)"),
    "Figure 10. Effective number of queries after training with four of them, on 128 held-out "
    "pictures of two things. Bars: means over seeds; whiskers: one standard deviation; dots: "
    "seeds. What to see: which way of training uses more than one query.",
)
plots.show(
    blip2_study.figure(study, "R@1", "R@1 (share)", 1 / 128),
    "Figure 11. The same trainings: R@1 from picture to text, each by the similarity that it was "
    "trained with. Dashed: guessing. What to see: whether more used queries mean better "
    "retrieval at equal steps.",
)

# %%
Markdown(tables.study_table())

# %% [markdown]
# Read *effective number* and *cosine between queries* together. If several queries win but their vectors have a cosine near 1, they are copies: they take turns and say the same. That removes the symptom, a single winner, but not its likely cause: one vector is still enough. Using many queries is no aim in itself; it would become one where a single vector is too small for what has to be said. "Within noise", "higher" and "lower" follow the course's rule (section "The paper beside ours").
#
# The paper doesn't report how often each of its 32 queries wins. It notes another use of their number: 32 vectors of width 768 are far fewer numbers than the encoder's 257 features of width 1,024. That forces the queries to select, and makes stage 2 cheap.
#
# ## 8. Stage 2: prompt a frozen language model
#
# Stage 2 keeps the Q-Former, drops the text side, and puts a linear **projection** behind the queries. It maps their width $D$ to that of the language model's words. The projected queries stand before the text's words as **soft visual prompts**: the visual prefix of lesson 07, made by another network. The paper puts them before the whole text; ours follow `<bos>`, as in lesson 07.

# %% [markdown]
# ### Exercise 10 · What goes on to stage 2?
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | know each weight of a Q-Former | ●●●○○ | ●●●●○ | 9 |
#
# Write `stage2_weights`. It returns those weights of a trained stage 1 that the Q-Former still needs when there is no text, under their names. The image encoder (`vision.`) is frozen and kept elsewhere. `list(first.state_dict())` shows the names.


# %%
def stage2_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state_dict of a stage-1 model -> a part of it."""
    raise NotImplementedError("your code here")


stage2_weights = check("blip2.stage2_weights", stage2_weights)

# %% [markdown]
# <details><summary>Hint 1</summary>Go through exercises 3 and 4, line by line: which weights are used where there is no text?</details>
# <details><summary>Hint 2</summary>Names outside <code>qformer.</code> are heads of stage 1, or the encoder. Inside, some names end or contain <code>words</code>, <code>positions</code>, <code>_text</code>.</details>
# <details><summary>If you see "keep the names as they are"</summary>Don't cut off the beginning <code>qformer.</code>: the loading code does.</details>
# <details><summary>Solution</summary>
#
# ```python
# def stage2_weights(weights):
#     of_text = (".words", ".positions", "feedforward_text", "norm_text")
#     return {
#         name: value
#         for name, value in weights.items()
#         if name.startswith("qformer.") and not any(part in name for part in of_text)
#     }
# ```
# </details>

# %% [markdown]
# Your selection fills a Q-Former that was made without a text side. If a weight were missing or left over, loading would fail.

# %%
goes_on = stage2_weights(first.state_dict())
textless = measures.textless(first, goes_on)
with torch.no_grad():
    gap = textless.query_states(twelve["features"]) - first.qformer.query_states(twelve["features"])
print("the queries' states are the same:", bool(gap.abs().max() < 1e-5))
print("parameters of stage 1:", measures.counts(first, goes_on))

# %% [markdown]
# ### Exercise 11 · The prefix
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | vectors between `<bos>` and the words | ●○○○○ | ●●●●● | 5 |
#
# Write `insert_prefix`. The first token of each text is `<bos>`, as the language model expects. The projected queries come right after it, then the rest of the text.


# %%
def insert_prefix(words: Tensor, states: Tensor, projection: torch.nn.Module) -> Tensor:
    """words (B, T, D_lm): embeddings of the text; states (B, R, D) -> (B, R + T, D_lm)."""
    raise NotImplementedError("your code here")


insert_prefix = check("blip2.insert_prefix", insert_prefix)

# %% [markdown]
# <details><summary>Hint 1</summary>Three pieces, joined along the axis of positions.</details>
# <details><summary>Hint 2</summary><code>words[:, :1]</code> keeps the axis; <code>words[:, 0]</code> would lose it.</details>
# <details><summary>If you see "Tensors must have same number of dimensions"</summary>One piece has lost its axis of positions: slice with <code>:1</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def insert_prefix(words, states, projection):
#     prefix = projection(states)
#     bos, text = words[:, :1], words[:, 1:]
#     return torch.cat([bos, prefix, text], dim=1)
# ```
# </details>

# %% [markdown]
# OPT is a decoder, as our language model is, and the loss is lesson 07's. With the projection $W$, the queries' states $h_1, \dots, h_R$ and the caption's tokens $y_1, \dots, y_L$:
#
# $$\mathcal{L} = -\frac{1}{L} \sum_{l=1}^{L} \ln p\left(y_l \mid W h_1, \dots, W h_R,\; y_1, \dots, y_{l-1}\right)$$
#
# No query is a target. The gradient reaches the projection and *all* of the Q-Former, its queries and its LayerNorm of features included.
#
# FlanT5 has an encoder and a decoder. There each caption is cut in two: the encoder reads the soft visual prompts and the first part, and the decoder learns to write the second (*prefix language modelling*; assignment A4).

# %% [markdown]
# ### Exercise 12 · The loss behind a prefix
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | keep count of positions | ●●●○○ | ●●●●● | 9 |
#
# Write `prefix_loss`. The logits belong to the sequence that `insert_prefix` builds; `ids` is the text without the prefix. Take the mean over all scored tokens. `<bos>` is never scored.


# %%
def prefix_loss(logits: Tensor, ids: Tensor, scored: Tensor, R: int) -> Tensor:
    """logits (B, R + T, V), ids (B, T), booleans scored (B, T) -> scalar."""
    raise NotImplementedError("your code here")


prefix_loss = check("blip2.prefix_loss", prefix_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>Token 1 of the text stands at position R + 1. Which position predicts it?</details>
# <details><summary>Hint 2</summary>Positions R to R + T - 2 predict tokens 1 to T - 1. Then select with the mask of these tokens.</details>
# <details><summary>If you see "The shape of the mask ... does not match the shape of the indexed tensor"</summary>Logits, ids and mask must all have T - 1 positions.</details>
# <details><summary>Solution</summary>
#
# ```python
# def prefix_loss(logits, ids, scored, R):
#     logits = logits[:, R:-1]
#     ids, scored = ids[:, 1:], scored[:, 1:]
#     return torch.nn.functional.cross_entropy(logits[scored], ids[scored])
# ```
# </details>

# %% tags=["nbval-check-output"]
batch = measures.stage2_batch(second, scale, 8)
package, own = measures.stage2_losses(second, batch, insert_prefix, prefix_loss)
print("the same loss as the package's:", abs(package - own) < 1e-3)

# %% [markdown]
# Now stage 2 of *your* Q-Former, before the shipped language model. It learns captions such as `cat blue .` of the same twelve things. The sequence is `<bos>`, the prefix, a full stop that ends it, then the caption; the first full stop is not scored. The projection starts with small weights, and its bias is the mean embedding of nouns and backgrounds; the paper's starts at random.
#
# Two runs have equal data and steps in stage 2. One begins with the Q-Former of section 5, which was trained in stage 1 before. The other begins with an untrained one. The paper's Figure 5 makes this comparison. **The next cell takes 5 to 15 seconds on free cores.**

# %%
parts |= {"insert_prefix": insert_prefix, "prefix_loss": prefix_loss}
language_model = recipes.get("language").train_or_load(scale).model
captions = blip2_model.small_captions(scale, "train", vision, 64 if smoke else 512)
runs, models = {}, {}
for name, start in (("after your stage 1", yours), ("without stage 1", None)):
    models[name] = blip2_model.build_stage2(yours.qformer.config, language_model.lm, parts, start)
    runs[name] = blip2_model.train(models[name], captions, 4 if smoke else 100, blip2_model.STAGE2)
new = blip2_model.small_captions(scale, "test", vision, 2 * count)
print("held-out pictures:", new.size, "different ones:", measures.different(new.whole["features"]))
for name, model in models.items():
    print(
        name, {word: round(share, 2) for word, share in blip2_model.right_words(model, new).items()}
    )

# %%
plots.show(
    figures.stage2_curves(runs),
    "Figure 12. Stage 2 with your functions: loss of captions over training steps, means of "
    f"{figures.steps_per_point(runs['without stage 1'])} steps; logarithmic axis. What to see: "
    "which run falls faster from the second point on, and how far apart they end. The printed "
    "shares above are of held-out pictures: right thing, and right background after the right "
    "thing.",
)

# %% [markdown]
# This is one seed, so your curves may differ from those of our run with the printed solutions. There the run after stage 1 doesn't start lower, but falls faster from the second point on, and ends lower. Both runs have learnt the training captions by then, and name held-out things and backgrounds about equally well. The shipped size doesn't repeat that early gain beyond noise: see Figure 18.

# %% [markdown]
# ## 9. What the language model makes of it
#
# The shipped stage 2 learnt from captions of many forms: "a picture of a cat", "a cat on blue". Now questions, which it never saw in training. *What*, *background* (its colour) and *presence* must be answered from the picture. *Category*, *place* and *purpose* need the picture and knowledge: the question doesn't name the thing. *Colour* asks for the colour of a thing that the question names, so knowledge can be enough. "Right words" is the reference from lesson 07: the language model alone, with the right words in place of the picture.

# %%
drawn, answers = figures.answer_bars(second, language_model, count)
plots.show(
    drawn,
    f"Figure 13. The shipped BLIP-2 on {count} questions of each kind about held-out pictures: "
    "with its picture, a blank one, another question's, and the right words instead; one model "
    f"({measures.largest_error(count)}). Black marks: guessing among all answers of the kind. "
    "What to see: compare its picture with both controls, and with right words.",
)
Markdown(measures.about_answers(answers))

# %%
Markdown(measures.about_captions(second, scenes))

# %% [markdown]
# Does one query still do the work? Stage 2 reads the queries in another way than ITC, so we measure it anew. The next figure shows each query alone to the language model, then all but that one.

# %%
drawn, alone, everyone = figures.query_bars(second, scenes)
plots.show(
    drawn,
    f"Figure 14. Right nouns after 'a picture of a' (or 'an'), {len(scenes)} held-out pictures, "
    f"with one query alone in the prompt or with this one left out; one model "
    f"({measures.largest_error(len(scenes))}). Lines: all queries, {everyone:.2f}, and guessing "
    f"(dashed). What to see: how many queries name the "
    "thing alone, and which one is missed when it is left out.",
)

# %%
Markdown(measures.about_queries(alone, everyone, f"{shares.argmax()}"))

# %% [markdown]
# Try it yourself. Choose a picture, and which queries stay in the prompt.

# %%
figures.queries_player(
    lambda number, kept: measures.after(
        second, [scenes[number]], kept, measures.asked(scenes[number])
    )[0],
    measures.rendered(scenes[:8], scale.image_size),
    second.qformer.config.queries,
    first=range(second.qformer.config.queries),
)
HTML(
    "<p><b>Figure 15.</b> A picture, and the likeliest next words after 'a picture of a' (or "
    "'an') with the chosen queries alone. What to see: which queries change the first word.</p>"
)

# %% [markdown]
# ## Failure lab
#
# Four small trainings of stage 1: one healthy, and three in which one objective got another one's mask by mistake. All four are tested on new pictures with the right masks.
#
# - **leak**: ITG was trained with ITM's mask;
# - **peek**: ITC was trained with ITM's mask;
# - **blind match**: ITM was trained with ITC's mask.

# %%
lab = blip2_lab.runs(scale)
plots.show(
    blip2_lab.show(lab, blip2_lab.LOSSES, "loss, last steps (nats)"),
    "Figure 16. Training losses at the end of four runs. For comparison: guessing in a batch of "
    f"32 costs {figures.chance_of_loss():.2f} for ITC, and 0.637 for ITM. "
    "The least that smoothed targets allow: "
    f"{figures.least(yours.qformer.config.vocabulary):.2f} for "
    f"ITG, {figures.least(blip2_model.BATCH):.2f} or more for ITC. What to see: one loss stays "
    "high; the other differences are too small to read. Look at the scores.",
)
plots.show(
    blip2_lab.show_scores(lab),
    f"Figure 17. The same runs on {blip2_lab.tested(scale)}, with the right masks: right caption "
    "preferred to that with another background (guessing: 0.5), by ITC and by ITM, and captions "
    "with the right noun (guessing: 1 in 12). Of the first two scores: "
    f"{measures.largest_error(blip2_lab.pairs_tested(scale))}. "
    "What to see: in each score the healthy run is best, or one picture behind.",
)

# %% [markdown]
# Your diagnosis, in place of each `None`:

# %%
diagnose("blip2.masks", {"A": None, "B": None, "C": None})

# %% [markdown]
# <details><summary>Hint</summary>Which run has a loss far from the healthy run's? Where there is none: which score fails?</details>
# <details><summary>Solution</summary>
#
# A: blind match. Queries and text don't read each other, so the head judges queries that know nothing of the text. The loss stays at 0.637: the head knows only that one pair in three is right. Its score by ITM is within two standard errors of guessing (Figure 17).
#
# B: leak. In training each word could attend to the words behind it, so the model copied what it had to predict. Its loss doesn't show it: all four ITG losses are near the least that smoothed targets allow. When it writes, those words aren't there yet, and its captions are often wrong.
#
# C: peek. In training the queries of each picture read its own caption, and the caption read the picture. So both vectors could be made from the caption alone. With the right mask each side knows only its own, and ITC chooses the wrong caption more often than in any other run. Its captions suffer, too: all weights are shared, and queries that read the caption need not read the picture.
#
# In code: `qformer_mask` with another objective's name.
# </details>

# %% [markdown]
# ## The paper beside ours
#
# The lecture's table of results. BLIP-2's entries come from several models of the same kind, with different frozen parts. VQAv2 is zero-shot. For the other columns the model was fine-tuned on COCO, then tested on NoCaps and Flickr30K without training on these; the paper calls that zero-shot, too.

# %%
Markdown(published("blip2-table-1").markdown())

# %%
Markdown(tables.about_parameters())

# %% [markdown]
# What the paper reports about its training: 129 million pictures, those of BLIP. Their captions were made by CapFilt (lesson 09): ten captions for each web picture, ranked beside the original one by CLIP's similarity. The best two are kept, and one of them is drawn at each step. Stage 1 takes 250,000 steps, stage 2 80,000. On one machine with 16 A100 GPUs, the largest model takes less than six days for stage 1 and less than three for stage 2.
#
# The paper's claims beside our runs. Both runs, with stage 1 and without, have equal data and steps in stage 2; "with stage 1" has had those of stage 1 besides. In the columns "expected higher" and "expected lower" each value has its run's name. The verdict is computed by one rule. *Agrees*: the run expected higher is higher in every seed, and the mean gap exceeds two pooled standard deviations (pooled: the root of the mean of the two variances). *Disagrees*: it is lower in every seed, by as large a gap. Otherwise *within noise*.

# %%
Markdown(tables.claims_table())

# %%
plots.show(
    tables.stage_curves(),
    "Figure 18. Our counterpart of the paper's Figure 5: loss of captions over the steps of "
    "stage 2, after stage 1 and without it; data and steps of stage 2 are equal. "
    "Lines: means over seeds; bands: one standard "
    "deviation. What to see: whether the run after stage 1 is lower, early and late. The "
    "paper's figure shows VQA accuracy.",
)

# %% [markdown]
# In the paper's Figure 5 the models without stage 1 fall far behind, and the one with OPT even gets worse during training. Our task is simpler: stage 2 shows one thing on one background, and the image encoder was trained on this very world. So stage 2 can find by itself much of what stage 1 extracts. For answers that need knowledge, stage 1 even hurts here, and we don't know why. One untested possibility: stage 2 starts from the queries' final states, and ITG, which asks for whole captions, doesn't train these (section 4).
#
# Our own controls, which the paper doesn't claim:

# %%
Markdown(tables.controls_table())

# %% [markdown]
# ## Discussion
#
# **Strengths.** Two frozen models keep all that they know. The architecture is modular: either model can be exchanged, and in the paper's Table 2 larger frozen parts give better answers. Training is cheap beside training everything. A picture costs R positions of the prompt, whatever its size. Stage 1 alone is a retrieval model.
#
# **Weaknesses.** The queries don't know the question: what they left out, no answer can bring back. Each training text has one picture, so examples in the prompt don't help, as the paper says itself. A frozen language model also keeps its errors and prejudices. Each task has its own fine-tuning: retrieval works without the language model, fine-tuning for VQA shows the question to the Q-Former, and captioning trains the image encoder. Synthetic captions have less noise, but the captioner's bias.
#
# <details><summary>Q: The lecture lists "very less forgetting" for BLIP-2. In the paper's Figure 5, OPT without stage 1 gets worse as training goes on, and the authors call it catastrophic forgetting. What can forget if the language model is frozen?</summary>
# Only the Q-Former and the projection are trained. Their vectors can drift: captions become likelier, but the vectors depend less on the picture, or no longer work in questions. The language model's weights are as they were, but what it is given is not.
# </details>
#
# <details><summary>Q: How should modalities interact? Compare a linear map (Frozen), a Q-Former, and cross-attention in every layer of the language model (Flamingo).</summary>
# A linear map is cheap and passes on what the encoder gives. A Q-Former selects: it learns which part of many features a text needs, and gives a fixed number of vectors. In both the language model reads vectors among its words, in its own layers. Cross-attention adds new layers to the language model; each word can look at the picture at every depth, and the prompt stays short. It needs many more trained parameters. Lessons 11 to 13 compare them.
# </details>
#
# <details><summary>Q: Why are the masks enough? BLIP had separate self-attention for its decoder.</summary>
# BLIP found that sharing self-attention between encoder and decoder hurts a little (its Table 3). The Q-Former shares it, but gives queries and text different feed-forward networks, and its first tokens and masks tell the roles apart. BLIP-2 doesn't test the other choice.
# </details>
#
# <details><summary>Q: Why does ITG help retrieval, though retrieval uses ITC and ITM only?</summary>
# ITC is satisfied with whatever separates this batch's captions. ITG needs everything that the caption says, so the states that the text reads keep more. The final states, which ITC compares, are computed from states that ITG has trained. The paper's Table 6 reports a small gain. Our small trainings show a larger one (last row of the claims' table).
# </details>
#
# <details><summary>Q: LLaVA puts a linear map (later a small network) in place of the Q-Former and passes on every patch. What does it gain, and what does it lose?</summary>
# It gains simplicity: no first stage, no queries that could collapse, and details of small regions stay available. It loses the fixed length: prompts grow with the picture's resolution, and with each further picture.
# </details>
#
# <details><summary>Q: Our queries collapsed in stage 1. How would you find out whether the paper's do?</summary>
# Load the published weights, and measure shares of wins and the effective number on a set of captioned photographs. Then leave out queries from the prompt, one at a time and in groups. If nothing changes, they are redundant; that is not yet a fault.
# </details>
#
# ## Limits
#
# Our pictures are simple, and the image encoder was trained on such pictures. So stage 1 has less to add than in the paper, and one query can hold what is said. Our Q-Former has two layers, so only one of them has cross-attention, and it starts from random weights, not from BERT's. The language model has half a million parameters. The study of section 7 and the failure lab use four queries and few steps. Few seeds give a coarse estimate of spread.
#
# Three traps in public code. In transformers the queries of a new BLIP-2 start at zero, which is harmless for loading trained weights, and a bad start for training (quiz of section 1). In the authors' code the causal part of ITG's mask is set by a default argument, `is_decoder=True`; several readers reported it as missing. And stage 2's code seems to train from scratch: stage 1's weights are loaded from a checkpoint that a configuration file names.
#
# ## Reading
#
# - Li et al. 2023, *BLIP-2* ([2301.12597](https://arxiv.org/abs/2301.12597)): Sec. 3, Figures 1 to 3, 5; Tables 1, 2, 6. Our code: `vlmcourse/papers/qformer.py`, `vlmcourse/papers/blip2.py`, `vlmcourse/recipes/blip2.py`.
# - Dai et al. 2023, *InstructBLIP* ([2305.06500](https://arxiv.org/abs/2305.06500)): the Q-Former reads the question, too.
# - Carion et al. 2020, *DETR* ([2005.12872](https://arxiv.org/abs/2005.12872)): learned queries that find objects; each object is matched to one query of its own. That is a loss which asks queries to differ.
# - Liu et al. 2023, *LLaVA* ([2304.08485](https://arxiv.org/abs/2304.08485)): a linear map of all patches.
#
# ## Key ideas
#
# > - A few learned queries read a frozen encoder's features by cross-attention.
# > - One transformer, three objectives: only the mask decides who knows what.
# > - ITC takes the best query, ITM the mean of all, ITG everything that passes through them.
# > - Stage 1 learns what to extract; stage 2 learns how to prompt a frozen language model.
# > - For each pair, a maximum trains the winner's vector alone. Measure which queries win, for right pairs and for wrong ones.
# > - "Trainable parameters" are not the parameters that an answer needs.
#
# ## Glossary
#
# **Q-Former**, **queries (Q-Former)**, **unimodal mask**, **bidirectional mask**, **multimodal causal mask**, **ITG**, **effective number of queries**, **collapsed queries**, **projection**, **soft visual prompt**, **stage**, **catastrophic forgetting**: each in one line in [docs/GLOSSARY.md](../docs/GLOSSARY.md).
#
# ## Next
#
# **Lesson 11** lets the language model look back at the picture at every word: Perceiver and Flamingo. Their resampler also uses learned queries.
