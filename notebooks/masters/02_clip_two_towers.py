# %% [markdown]
# # 02 · CLIP I: two towers and one loss
#
# After this lesson you can:
#
# - write what makes CLIP's encoders special: patches, the class token and positions, attention pooling, and the state at the end token;
# - write the contrastive loss with a learned temperature, and say what its value means;
# - train a small CLIP around these parts by your own training step, and measure it by retrieval with controls;
# - classify images whose classes were never labelled, by writing the classes as sentences;
# - find out from curves and held-out scores what is wrong with a training run.
#
# | | |
# |---|---|
# | Prerequisites | lesson 01 (multi-head attention, causal mask, LayerNorm); softmax and cross-entropy |
# | Time | about 160 minutes to work through (two sittings); Run All takes about 40 seconds on two free cores |
# | Papers | Radford et al. 2021, *Learning Transferable Visual Models From Natural Language Supervision* (CLIP), [arXiv 2103.00020](https://arxiv.org/abs/2103.00020); Dosovitskiy et al. 2021, *An Image is Worth 16x16 Words* (ViT), [arXiv 2010.11929](https://arxiv.org/abs/2010.11929) |
#
# Lesson 01 built attention, masks and a transformer block. This lesson puts two transformers side by side. One reads images, the other reads texts, and both are trained so that an image and its text get similar vectors. The transformer's blocks, the ResNet's convolutions and the data are given by the course's package; you write the parts named above.
#
# "The lecture" and its slides are Georgia Tech's CS 8803-VLM, which this course follows.
#
# Letters for axes: **B** batch, **T** tokens of a text, **P** patches, **D** width of an encoder, **d** width of one head, **E** width of the joint space, **N** images, **C** classes, **S** side of an image and **p** side of a patch in pixels.

# %% tags=["hide-input"]
import math

import torch
from IPython.display import HTML
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from teaching import clip_figures as figures
from teaching import clip_tables as tables
from teaching import clip_temperature as temperature
from teaching import clip_training as training
from teaching.exercises import check, diagnose, quiz
from vlmcourse import evaluation, plots, recipes, world
from vlmcourse.parts.layers import Transformer
from vlmcourse.parts.vision import ResNet
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

scale = Scale.of()
_ = torch.manual_seed(0)

# %% [markdown]
# ## The whole first
#
# Here is the trained model at work. It gets an image and 113 sentences, "a picture of a cat", "a picture of a key" and so on. It says how probable each sentence is. It was trained on images with captions, and never on class labels. The captions do name the things in the images. Section 1 counts how many captions name one thing and say nothing else.

# %%
recipe = recipes.get("clip")
model = recipe.train_or_load(scale).model
single = world.Pairs("test", scale.image_size, things=(1, 1))
plots.show(
    figures.answers_figure(model, single.images(range(3))),
    "Figure 1. Three held-out images and the four most probable of 113 classes. Dashed line: "
    "chance, 1/113. What to see: the right class is the most probable one.",
    world.ATTRIBUTION,
)

# %% [markdown]
# This is **zero-shot classification**: the model saw no labelled example of the task. In the rest of the lesson you write the parts that make it possible. The model that you build in section 6 has the same parts, smaller.

# %%
plots.show(
    figures.towers_diagram(model, recipe.sizes[scale.name].batch),
    "Figure 2. The CLIP of Figure 1, with the shapes of a training batch. Here 64 is both the "
    "number of pairs in a batch and the side of an image; T is the number of tokens of the longest "
    "text. What to see: image and text meet only in one table of cosines. exp(s) is a learned "
    "scale (section 5).",
)

# %% [markdown]
# ## 1. Data: image-text pairs from the web
#
# Labels are expensive, and a classifier knows only the classes that it was given. The web has hundreds of millions of images with a text beside them, at no cost. CLIP's authors collected their data set in this way:
#
# - They searched for pairs whose text contains one of 500,000 **queries**: frequent words of Wikipedia, pairs of words that often stand together there, names of its articles that are searched for often, and the entries of WordNet, a dictionary.
# - They took at most 20,000 pairs of one query. Otherwise a few popular queries would fill the data set.
# - Repeated pairs are removed, so that each pair counts once. (So says the lecture. Pairs that also occur in a test set are another matter: the paper left them in and measured the overlap; see lesson 03.)
#
# The result has 400 million pairs. Any text beside an image may be in it: captions, descriptions, comments.

# %% [markdown]
# ### Exercise 1 · Collect the pairs
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | build a balanced data set from search results | ●●○○○ | ●●●○○ | 8 |
#
# `candidates` are tuples (query, image, text), most relevant first. The image is a number; the same number is the same image. Two candidates are the same **pair** if image and text are the same, whichever query found them. Return the collected candidates in their order. Each pair occurs once, and each query contributes at most `most` pairs. A pair that you drop counts for nothing: it uses up no place of its query, and a later query may still bring it in.


# %%
def collect(candidates: list[tuple], most: int) -> list[tuple]:
    """Candidates (query, image, text) without repeated pairs, at most `most` of each query."""
    raise NotImplementedError("your code here")


collect = check("clip.collect", collect)

# %% [markdown]
# <details><summary>Hint 1</summary>Go through the candidates once. Keep a set of the pairs that you have taken, and a count for each query.</details>
# <details><summary>Hint 2</summary>Add a pair to the set, and raise the count, only when you take the candidate.</details>
# <details><summary>If you see "KeyError"</summary>A dictionary has no entry for a query that it has not met. <code>counts.get(query, 0)</code> gives 0 then.</details>
# <details><summary>Solution</summary>
#
# ```python
# def collect(candidates, most):
#     collected, pairs, counts = [], set(), {}
#     for query, image, text in candidates:
#         taken = counts.get(query, 0)
#         if (image, text) not in pairs and taken < most:
#             collected.append((query, image, text))
#             pairs.add((image, text))
#             counts[query] = taken + 1
#     return collected
# ```
#
# </details>
#
# Your function on the results of an invented image search, with a limit of 40:

# %%
candidates = training.web_search()
collected = collect(candidates, most=40)
plots.show(
    figures.pairs_per_query_figure(candidates, collected),
    "Figure 3. Pairs of each query before and after the collection; the vertical axis is "
    "logarithmic above 1. Each noun is searched twice, as 'dog' and 'dog photo'. What to see: "
    "popular queries are cut to the limit of 40 pairs, and the next ones lose the copies that one "
    "query found several times. The nine queries without any pair are all of the kind 'dog photo': "
    "the noun alone had found the same pairs.",
)

# %% [markdown]
# Our own training data is a synthetic world: scenes of one to four things on a coloured background. A caption says what is there and, in some captions, how things are arranged and which background they have. Half of the training scenes show a single thing; many of their captions are of the kind "a photo of a fox". Test images show **held-out compositions**: combinations of things, or of a thing and a background, that training never contains. Held-out captions, and those of section 6, always name all things and the background; in each test the held-out texts differ from each other.

# %%
train_pairs = recipes.clip.training_pairs(scale)
plots.show(
    plots.pictures(train_pairs.images(range(6)), [train_pairs.text(i) for i in range(6)]),
    "Figure 4. Six training pairs. What to see: captions vary; most do not mention the background.",
    world.ATTRIBUTION,
)
print(training.plain_captions(train_pairs, 2000))

# %% [markdown]
# ## 2. The image encoder: a Vision Transformer
#
# A transformer needs a sequence of vectors. A **Vision Transformer** (ViT) makes one from an image: it cuts the image into square **patches** of $p \times p$ pixels. An image of side $S$ gives $P = (S/p)^2$ patches, and each is flattened to $3p^2$ numbers.

# %% [markdown]
# ### Exercise 2 · Patches
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | cut images into patches without a loop | ●●●○○ | ●●●●● | 10 |
#
# The patches come row by row, from the top left. A patch is flattened channel by channel, and each channel row by row, which is the order of `flatten()` on a (3, p, p) tensor. No loop is needed.


# %%
def patchify(pixel_values: Tensor, p: int) -> Tensor:
    """Patches of images: (B, 3, S, S), S a multiple of p -> (B, P, 3 * p * p)."""
    raise NotImplementedError("your code here")


patchify = check("clip.patchify", patchify)

# %% [markdown]
# <details><summary>Hint 1</summary>Write each image axis as two: which patch, and where in the patch. <code>reshape</code> does that: S becomes (S / p, p).</details>
# <details><summary>Hint 2</summary>After the reshape the axes are batch, channel, patch row, pixel row, patch column, pixel column. Bring them into the order batch, patch row, patch column, channel, pixel row, pixel column with <code>permute</code>.</details>
# <details><summary>If you see "view size is not compatible"</summary><code>permute</code> changes the order of the axes without moving data. Use <code>reshape</code> after it, not <code>view</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def patchify(pixel_values, p):
#     B, C, S, _ = pixel_values.shape
#     grid = S // p
#     x = pixel_values.reshape(B, C, grid, p, grid, p)
#     x = x.permute(0, 2, 4, 1, 3, 5)
#     return x.reshape(B, grid * grid, C * p * p)
# ```
#
# </details>
#
# Your patches of one image:

# %%
p = model.config.patch
pixel_values = world.to_pixels(train_pairs.images([4]))
patches = patchify(pixel_values, p)
print("images", tuple(pixel_values.shape), "-> patches", tuple(patches.shape))
plots.show(
    figures.patches_figure(patches[0], p),
    "Figure 5. The patches of the fifth image of Figure 4, numbered in the order of the "
    "sequence. What to see: they go from left to right, then down.",
    world.ATTRIBUTION,
)

# %% [markdown]
# Each patch is projected to the width $D$ by one matrix $\mathbf{E}$ (the ViT paper's letter; it is not the width E of the joint space). A learned vector, the **class token**, comes first. Its state, the vector at its position after the last layer, stands for the whole image. A transformer does not know the order of its inputs, so a learned **position** $\mathbf{E}_\text{pos}$ is added to each of the $1 + P$ vectors (ViT, Equation 1):
#
# $$\mathbf{z}_0 = [\mathbf{x}_\text{class};\; \mathbf{x}_1\mathbf{E};\; \mathbf{x}_2\mathbf{E};\; \dots;\; \mathbf{x}_P\mathbf{E}] + \mathbf{E}_\text{pos}$$

# %% [markdown]
# ### Exercise 3 · The sequence of image tokens
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | write Equation 1 of the ViT paper | ●●○○○ | ●●●●○ | 6 |
#
# `weight` is stored as in `nn.Linear`, (D, 3 p p), so the projection multiplies by its transpose.


# %%
def image_tokens(patches: Tensor, weight: Tensor, class_token: Tensor, positions: Tensor) -> Tensor:
    """Input of a ViT, with K = 3 p p numbers in a patch. patches (B, P, K), weight (D, K),
    class_token (D,), positions (1 + P, D) -> (B, 1 + P, D)."""
    raise NotImplementedError("your code here")


image_tokens = check("clip.image_tokens", image_tokens)

# %% [markdown]
# <details><summary>Hint 1</summary>There is one class token for all images. <code>expand</code> repeats it without copying.</details>
# <details><summary>Hint 2</summary><code>torch.cat([first, x], dim=1)</code> needs a <code>first</code> of shape (B, 1, D).</details>
# <details><summary>If you see "Tensors must have same number of dimensions" or "Dimension out of range"</summary>The class token has one axis and the projected patches have three. Bring it to (B, 1, D) before joining them.</details>
# <details><summary>Solution</summary>
#
# ```python
# def image_tokens(patches, weight, class_token, positions):
#     x = patches @ weight.T
#     first = class_token.expand(len(x), 1, -1)
#     x = torch.cat([first, x], dim=1)
#     return x + positions
# ```
#
# </details>
#
# Your two functions and a transformer make a complete ViT. CLIP adds one LayerNorm before the blocks. Any token may attend to any other, so there is no mask.


# %%
class SmallViT(nn.Module):
    """Images (B, 3, S, S) -> the class token's state (B, D)."""

    def __init__(self, size: int = 32, p: int = 8, width: int = 64):
        super().__init__()
        self.p, self.width = p, width
        tokens, values = 1 + (size // p) ** 2, 3 * p * p
        self.weight = nn.Parameter(torch.randn(width, values) * values**-0.5)
        self.class_token = nn.Parameter(torch.randn(width) * width**-0.5)
        self.positions = nn.Parameter(torch.randn(tokens, width) * width**-0.5)
        self.norm_in, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Transformer(depth=2, width=width, heads=4)

    def forward(self, pixel_values: Tensor) -> Tensor:
        patches = patchify(pixel_values, self.p)
        x = image_tokens(patches, self.weight, self.class_token, self.positions)
        x = self.transformer(self.norm_in(x))  # (B, 1 + P, D)
        return self.norm_out(x[:, 0])


print(tuple(SmallViT()(torch.zeros(2, 3, 32, 32)).shape))

# %% [markdown]
# ## 3. The other image encoder: a ResNet with attention pooling
#
# The paper trained two families of image encoders and compared them. The second is a convolutional **ResNet** with three changes (paper, Section 2.4; our Figure 6 below). The first two come from ResNet-D (He et al. 2018) and from Zhang 2019:
#
# 1. The **stem**, the first layers, has three 3 x 3 convolutions instead of one of 7 x 7.
# 2. A convolution with stride 2 skips every second position, so fine patterns turn into false coarse ones (*aliasing*). CLIP's ResNet convolves at every position and then averages neighbours (average pooling).
# 3. The last feature map becomes one vector by **attention pooling** instead of a mean over all positions.

# %%
torch.manual_seed(0)
resnet = ResNet(image_size=32, blocks=(1, 1), channels=8, heads=4)
plots.show(
    figures.pooling_diagram(resnet),
    "Figure 6. The small ResNet of this lesson, with shapes for one image. What to see: the "
    "query comes from the mean, keys and values come from mean and tokens, all after positions are "
    "added.",
)

# %% [markdown]
# Attention pooling is one layer of multi-head attention with a single query. Let $\mathbf{x}_1, \dots, \mathbf{x}_P$ be the tokens of the feature map and $\mathbf{x}_0$ their mean. With positions $\mathbf{e}_i$ and $\mathbf{y}_i = \mathbf{x}_i + \mathbf{e}_i$, each head with matrices $W_q, W_k, W_v$ and width $d = D / \text{heads}$ computes
#
# $$\text{head} = \sum_{i=0}^{P} \operatorname{softmax}_i\!\left(\frac{(W_q\mathbf{y}_0)\cdot(W_k\mathbf{y}_i)}{\sqrt{d}}\right) W_v\mathbf{y}_i.$$
#
# The heads are joined and multiplied by $W_o$. CLIP's four matrices have biases, and its $W_o$ maps directly to the joint space; ours keeps the width $D$, and `TwoTowers` (section 6) projects.

# %% [markdown]
# ### Exercise 4 · Attention pooling
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | turn a feature map into one vector by attention | ●●●●○ | ●●●●○ | 15 |
#
# All four matrices are (D, D) and stored as in `nn.Linear`: multiply by the transpose. Neighbouring entries belong to one head: head 0 has the entries 0 to d - 1.


# %%
def attention_pool(
    tokens: Tensor,
    positions: Tensor,
    w_query: Tensor,
    w_key: Tensor,
    w_value: Tensor,
    w_out: Tensor,
    heads: int,
) -> Tensor:
    """Tokens (B, P, D), positions (1 + P, D), four matrices (D, D) -> (B, D)."""
    raise NotImplementedError("your code here")


attention_pool = check("clip.attention_pool", attention_pool)

# %% [markdown]
# <details><summary>Hint 1</summary>Join the mean and the tokens to (B, 1 + P, D) first, then add the positions. The query is row 0 of the result.</details>
# <details><summary>Hint 2</summary><code>x.unflatten(-1, (heads, -1)).transpose(1, 2)</code> brings (B, tokens, D) to (B, heads, tokens, d). At the end, <code>transpose(1, 2).flatten(2)</code> undoes it.</details>
# <details><summary>If you see "mat1 and mat2 shapes cannot be multiplied"</summary>Apply the matrices before you split the heads, while the last axis still has D entries.</details>
# <details><summary>Solution</summary>
#
# ```python
# def attention_pool(tokens, positions, w_query, w_key, w_value, w_out, heads):
#     x = torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1) + positions
#     q, k, v = x[:, :1] @ w_query.T, x @ w_key.T, x @ w_value.T
#     q, k, v = (y.unflatten(-1, (heads, -1)).transpose(1, 2) for y in (q, k, v))
#     scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
#     pooled = scores.softmax(-1) @ v
#     return pooled.transpose(1, 2).flatten(2)[:, 0] @ w_out.T
# ```
#
# </details>
#
# The small ResNet with your pooling. Its convolutions are the course's; `tokens` gives the last feature map as (B, P, D).


# %%
class SmallResNet(nn.Module):
    """Images (B, 3, S, S) -> one vector each (B, D), by attention pooling."""

    def __init__(self, size: int = 32, width: int = 64, heads: int = 4):
        super().__init__()
        self.resnet = ResNet(size, blocks=(1, 1), channels=width // 8, heads=heads)
        self.resnet.pool = nn.Identity()  # yours takes its place
        self.width, self.heads = width, heads
        self.positions = nn.Parameter(torch.randn(1 + self.resnet.grid**2, width) * width**-0.5)
        self.matrices = nn.Parameter(torch.randn(4, width, width) * width**-0.5)

    def forward(self, pixel_values: Tensor) -> Tensor:
        tokens = self.resnet.tokens(pixel_values)  # (B, P, D)
        return attention_pool(tokens, self.positions, *self.matrices, self.heads)


print(tuple(SmallResNet()(torch.zeros(2, 3, 32, 32)).shape))

# %% [markdown]
# ## 4. The text encoder
#
# The text encoder is a transformer with a **causal mask**, like a language model. Each text begins with a start token and ends with an **end token**. The text's vector is the state at the end token: it is the first position that has attended to every word. Shorter texts of a batch are filled up with padding after the end token.

# %% [markdown]
# ### Exercise 5 · The state at the end token
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | read a text's vector at the right position | ●●○○○ | ●●●●○ | 8 |
#
# Padding may repeat the end token: the **first** one counts. Other tokens may have larger ids than the end token. A text without an end token has no vector: raise a `ValueError` that says so.


# %%
def text_features(states: Tensor, ids: Tensor, end: int) -> Tensor:
    """Each text's state at its first end token: states (B, T, D), ids (B, T) -> (B, D).

    Raises ValueError if a text has no end token.
    """
    raise NotImplementedError("your code here")


text_features = check("clip.text_features", text_features)

# %% [markdown]
# <details><summary>Hint 1</summary><code>ids == end</code> is True at the end tokens. What does <code>argmax</code> give if several entries are the largest?</details>
# <details><summary>Hint 2</summary><code>states[rows, columns]</code> with two integer tensors of shape (B,) takes one state for each text.</details>
# <details><summary>If you see "argmax(): does not support bool input"</summary>Convert the booleans to integers first: <code>.int()</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def text_features(states, ids, end):
#     is_end = ids == end
#     if not is_end.any(1).all():
#         raise ValueError(f"a text has no end token (id {end})")
#     first = is_end.int().argmax(1)
#     return states[torch.arange(len(states)), first]
# ```
#
# </details>

# %%
quiz("clip.padding")

# %% [markdown]
# The answer can be measured. We change one token of a text, first after its end token, then before it, and compare the text's vector with the original one.

# %% tags=["nbval-check-output"]
ids = tokenizer.encode(["a cat on blue", "a picture of a dog left of an apple on green"])
end = ids[0].tolist().index(tokenizer.EOS)
with torch.no_grad():
    original = model.encode_text(ids)[0]
    for name, position in (("after", end + 1), ("before", end - 1)):
        changed = ids.clone()
        changed[0, position] = tokenizer.encode(["dog"])[0, 1]
        same = torch.allclose(model.encode_text(changed)[0], original, atol=1e-5)
        print(f"token changed {name} the end token: same vector? {same}")

# %% [markdown]
# The paper's text encoder has 63 million parameters. Where are they? A text encoder consists of token embeddings, positions, blocks, and one LayerNorm after the last block. A block has
#
# - attention: four matrices $D \times D$ (query, key, value, output), each with a bias;
# - a feed-forward network: $D \to 4D \to D$, both layers with a bias;
# - two LayerNorms, each with a gain and a bias of $D$ numbers.

# %% [markdown]
# ### Exercise 6 · Sixty-three million
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | count the parameters of a transformer | ●●○○○ | ●●●○○ | 8 |
#
# The projection into the joint space is not counted.


# %%
def text_parameters(vocabulary: int, context: int, width: int, depth: int) -> int:
    """Number of parameters of a text encoder with `context` positions and `depth` blocks."""
    raise NotImplementedError("your code here")


text_parameters = check("clip.text_parameters", text_parameters)

# %% [markdown]
# <details><summary>Hint 1</summary>The number of heads does not matter: the heads share the four matrices.</details>
# <details><summary>Hint 2</summary>Without biases and norms a block has 4 D² + 8 D² parameters.</details>
# <details><summary>If you see "found a float"</summary>Use integers only: <code>//</code> instead of <code>/</code>, <code>4</code> instead of <code>4.0</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def text_parameters(vocabulary, context, width, depth):
#     embeddings = (vocabulary + context) * width
#     attention = 4 * (width**2 + width)
#     feed_forward = 2 * 4 * width**2 + 4 * width + width
#     norm = 2 * width
#     return embeddings + depth * (attention + feed_forward + 2 * norm) + norm
# ```
#
# </details>
#
# With the paper's sizes, and with those of our model:

# %%
c = model.config
paper = text_parameters(vocabulary=49_152, context=76, width=512, depth=12)  # its code: 77
ours = text_parameters(c.vocabulary, c.context, c.text_width, c.text_depth)
counted = sum(parameter.numel() for parameter in model.text.parameters())
print(f"paper: {paper / 1e6:.1f} million, {49_152 * 512 / paper:.0%} of them token embeddings")
print(f"ours:  {ours:,}; counted in the model: {counted:,}")

# %% [markdown]
# ## 5. The joint space, the loss and the temperature
#
# Each encoder ends in a matrix into the **joint space** of width $E$. Vectors are divided by their lengths, so only directions count. Let $\mathbf{u}_i$ be the unit vector of image $i$ and $\mathbf{v}_j$ that of text $j$. Their dot product is the cosine of the angle between them. A batch of $B$ pairs gives a $B \times B$ table of **logits**:
#
# $$\ell_{ij} = e^{s}\; \mathbf{u}_i \cdot \mathbf{v}_j$$
#
# The right pairs are on the diagonal. The other $B - 1$ texts of a row are its **negatives**. Cosines lie between -1 and 1, and a softmax of such small logits is never confident. So they are multiplied by a learned **scale** $e^{s}$. Its logarithm $s$ is the parameter `logit_scale`; the **temperature** is $\tau = e^{-s}$. Training starts at $\tau = 0.07$, a scale of $1/0.07 = 14.3$.
#
# Here is the table for six held-out pairs, from a model that has not been trained:

# %%
held_out = world.Pairs("test", scale.image_size)
chosen = held_out.distinct(6)
six = {**held_out.batch(chosen), "images": held_out.images(chosen)}
untrained = recipes.clip.new_clip(model.config).eval()
plots.show(
    plots.similarity(
        six["images"], six["text"], training.similarity(untrained, six), limits=(-1, 1)
    ),
    "Figure 7. Cosines before training. Columns are images and rows are texts; right pairs "
    "in bold. The colours span all that a cosine can be, from -1 to 1. What to see: all "
    "cosines are small, and the diagonal is not higher than the rest.",
    world.ATTRIBUTION,
)

# %% [markdown]
# In code, `logits[i, j]` has images as rows; the figure shows the transpose. For each image the model must choose its text among $B$, and for each text its image. Both are classifications with cross-entropy, and the loss is their mean:
#
# $$L = \frac{1}{2B}\sum_{i=1}^{B}\left(-\log\frac{e^{\ell_{ii}}}{\sum_j e^{\ell_{ij}}} - \log\frac{e^{\ell_{ii}}}{\sum_j e^{\ell_{ji}}}\right)$$

# %% [markdown]
# ### Exercise 7 · The symmetric loss
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | write CLIP's loss from raw vectors | ●●●○○ | ●●●●● | 12 |
#
# Row $i$ of `image` and row $i$ of `text` are a pair. The vectors have any length: normalise them. `logit_scale` is $s$, a scalar tensor of any value: its bounds are the subject of section 6, not of this function.


# %%
def symmetric_loss(image: Tensor, text: Tensor, logit_scale: Tensor) -> Tensor:
    """CLIP's loss: image (B, E), text (B, E), logit_scale () -> ()."""
    raise NotImplementedError("your code here")


symmetric_loss = check("clip.symmetric_loss", symmetric_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>Four steps: unit vectors, a table of cosines, the scale, two cross-entropies.</details>
# <details><summary>Hint 2</summary><code>cross_entropy(logits, targets)</code> takes the softmax along the last axis. The target of row i is i. For the columns, transpose the table.</details>
# <details><summary>If you see "mat1 and mat2 shapes cannot be multiplied"</summary>The table needs a transpose: <code>image @ text.T</code>.</details>
# <details><summary>If you see "expected target dtype to be Long" or "multi-target not supported"</summary>The targets are integers, one for each row: <code>torch.arange(len(image))</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def symmetric_loss(image, text, logit_scale):
#     image, text = normalize(image, dim=-1), normalize(text, dim=-1)
#     logits = logit_scale.exp() * image @ text.T
#     targets = torch.arange(len(image))
#     image_to_text = cross_entropy(logits, targets)
#     return (image_to_text + cross_entropy(logits.T, targets)) / 2
# ```
#
# </details>

# %%
quiz("clip.blind_loss")

# %%
quiz("clip.axis")

# %% tags=["nbval-check-output"]
s = torch.tensor(math.log(1 / 0.07))
equal = torch.ones(64, 16)
print(f"64 equal vectors: {symmetric_loss(equal, equal, s):.4f}; ln 64 = {math.log(64):.4f}")
print(f"a batch of one:   {abs(symmetric_loss(equal[:1], equal[:1], s)):.4f}")

# %% [markdown]
# ## 6. Training
#
# A model that ranks all training pairs rightly can lower its loss by raising the scale, without end. The paper keeps the scale at 100 or below, because larger ones made training unstable. We keep $1 \le e^s \le 100$; the lower bound is ours and keeps $s \ge 0$.

# %%
quiz("clip.clamp")

# %% [markdown]
# ### Exercise 8 · One training step
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | train on one batch and keep the scale in its bounds | ●●○○○ | ●●●●● | 10 |
#
# `model.losses(batch)["clip"]` is the loss, and `model.logit_scale` the parameter $s$. Make one step on this batch alone. After it, $s$ must lie within its bounds, and it must still be the same parameter object. Return the loss as a number.


# %%
def train_step(model: nn.Module, batch: dict[str, Tensor], optimiser) -> float:
    """One step of the optimiser on this batch; returns the loss before the step."""
    raise NotImplementedError("your code here")


train_step = check("clip.train_step", train_step)

# %% [markdown]
# <details><summary>Hint 1</summary>Five actions: clear old gradients, compute the loss, <code>backward()</code>, the optimiser's <code>step()</code>, then the bounds.</details>
# <details><summary>Hint 2</summary>Operations that end in an underscore change a tensor in place, such as <code>clamp_(low, high)</code>. The parameter is a logarithm: what are the bounds of s?</details>
# <details><summary>If you see "a leaf Variable that requires grad is being used in an in-place operation"</summary>Change a parameter inside <code>with torch.no_grad():</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def train_step(model, batch, optimiser):
#     optimiser.zero_grad()
#     loss = model.losses(batch)["clip"]
#     loss.backward()
#     optimiser.step()
#     with torch.no_grad():
#         model.logit_scale.clamp_(0, math.log(100))
#     return loss.item()
# ```
#
# </details>
#
# Now everything is there. `TwoTowers` joins an image encoder and a text encoder by your functions:


# %%
class TwoTowers(nn.Module):
    """A small CLIP around an image encoder, made of the functions of this lesson."""

    def __init__(self, vision: nn.Module, width: int = 64):
        super().__init__()
        self.vision, self.text = vision, recipes.clip.new_clip(c).text
        self.image_projection = nn.Linear(vision.width, width, bias=False)
        self.text_projection = nn.Linear(c.text_width, width, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        return normalize(self.image_projection(self.vision(pixel_values)), dim=-1)

    def encode_text(self, ids: Tensor) -> Tensor:
        mask = torch.ones(ids.shape[1], ids.shape[1]).tril().bool()  # causal
        states = self.text.norm_out(self.text.transformer(self.text.embed(ids), mask))
        return normalize(self.text_projection(text_features(states, ids, tokenizer.EOS)), dim=-1)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        image, text = self.encode_image(batch["pixel_values"]), self.encode_text(batch["ids"])
        return {"clip": symmetric_loss(image, text, self.logit_scale)}


# %% [markdown]
# We train it twice, once with your ViT and once with your ResNet. The data are 2,048 pairs of 32 x 32 pixels, drawn once. **This cell takes about 20 seconds.**

# %%
steps = 10 if scale.name == "smoke" else 300
pairs = training.live_pairs(scale)
towers, curves = {}, {}
for name, vision in (("ViT", SmallViT), ("ResNet", SmallResNet)):
    torch.manual_seed(0)
    towers[name] = TwoTowers(vision())
    curves[name] = training.train(towers[name], pairs.batches(64), steps, train_step)

# %%
plots.show(
    figures.training_figure(curves, math.log(64), "equal vectors, ln 64"),
    "Figure 8. Training loss (nats) of your two models over steps, one run each. Thin dashed "
    "line: equal vectors for all. Pale: each step; dark: the mean over 9 "
    "steps. What to see: the pale lines start above ln 64, and both runs fall far below it.",
)

# %% [markdown]
# At first the loss is above ln 64: the untrained logits are unequal but say nothing about the pairs. So the softmax is confident at random, and that costs more than equal logits. Do not compare the two encoders from one run each. Lesson 03 compares them over several sizes and seeds.
#
# Your batch had 64 pairs, the paper's 32,768. If memory is too small for a large batch, can one add up the gradients of several small ones?

# %%
quiz("clip.accumulation")


# %%
def mean_of_halves(image: Tensor, text: Tensor, logit_scale: Tensor) -> Tensor:
    half = len(image) // 2
    first = symmetric_loss(image[:half], text[:half], logit_scale)
    return (first + symmetric_loss(image[half:], text[half:], logit_scale)) / 2


def gradient(loss: Tensor) -> Tensor:
    parts = torch.autograd.grad(loss, list(tower.parameters()), retain_graph=True)
    return torch.cat([part.flatten() for part in parts])


tower, batch = towers["ViT"], pairs.held_out
image, text = tower.encode_image(batch["pixel_values"]), tower.encode_text(batch["ids"])
whole = symmetric_loss(image, text, tower.logit_scale)
halves = mean_of_halves(image, text, tower.logit_scale)
of_whole, of_halves = gradient(whole), gradient(halves)
print(f"one batch of {len(text)}: loss {whole:.2f}, length of the gradient {of_whole.norm():.2f}")
print(f"mean of its halves: loss {halves:.2f}, length of the gradient {of_halves.norm():.2f}")
print(f"cosine of the two gradients: {torch.cosine_similarity(of_whole, of_halves, dim=0):.2f}")

# %% [markdown]
# The gradients differ in length and in direction: they belong to two different tasks. The halves have the lower loss, because each row has 31 negatives instead of 63.
#
# ## 7. Does it work? Retrieval and its controls
#
# **Recall at k**, R@k, is the share of queries whose right answer is among the first k. For image-to-text retrieval the query is an image, and all texts are ranked by their cosine with it. Ties need care: a broken model that gives all texts the same cosine must not get full marks.

# %% [markdown]
# ### Exercise 9 · Recall at k
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | measure retrieval so that a constant model scores 0 (for k < N) | ●●○○○ | ●●●●○ | 10 |
#
# The right text of image i is text i. A wrong text that is **as similar** as the right one ranks before it.


# %%
def recall_at_k(similarity: Tensor, k: int) -> float:
    """Image-to-text R@k: similarity (N, N), images in rows, texts in columns -> 0 to 1."""
    raise NotImplementedError("your code here")


recall_at_k = check("clip.recall_at_k", recall_at_k)

# %% [markdown]
# <details><summary>Hint 1</summary>Sorting is not needed. Count for each image how many texts are at least as similar as the right one.</details>
# <details><summary>Hint 2</summary>The right text counts itself: it is at least as similar as itself. <code>similarity.diagonal()[:, None]</code> has a shape that broadcasts.</details>
# <details><summary>If you see "Input dtype must be either a floating point or complex dtype"</summary>Booleans have no mean. Make numbers of them first: <code>.float().mean()</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def recall_at_k(similarity, k):
#     right = similarity.diagonal()[:, None]
#     rank = (similarity >= right).sum(1)  # 1 is best; the right text counts itself
#     return (rank <= k).float().mean().item()
# ```
#
# </details>

# %%
found = {"untrained": recall_at_k(training.similarity(TwoTowers(SmallViT()), pairs.held_out), 1)}
for name, tower in towers.items():
    found[name] = recall_at_k(training.similarity(tower, pairs.held_out), 1)
number = len(pairs.held_out["ids"])
bars = {name: {"R@1": value} for name, value in found.items()}
plots.show(
    plots.probability_bars(bars, "image-to-text R@1", 1 / number),
    f"Figure 9. Image-to-text R@1 of your models on {number} held-out pairs, one run each. "
    f"Dashed: chance. What to see: what you built retrieves compositions that it was never "
    f"trained on. The standard error of a share of {number} pairs is at most "
    f"{0.5 / number**0.5:.2f}, so the two encoders can't be told apart here.",
)

# %% [markdown]
# The course's model of Figure 1 has the same parts. It is larger, sees larger images, and was trained on many more pairs, with shorter and vaguer captions; section "The paper beside ours" has the numbers. Its table for the six pairs of Figure 7:

# %%
plots.show(
    plots.similarity(six["images"], six["text"], training.similarity(model, six), limits=(-1, 1)),
    "Figure 10. Cosines after training, for the pairs of Figure 7 and on the same colours. "
    "What to see: in each column and in each row the value on the diagonal is the highest.",
    world.ATTRIBUTION,
)

# %% [markdown]
# A score alone proves little. Three **controls** say what it is worth:
#
# - **blank images** (a *blind control*): all images are the same grey, so the model cannot use them;
# - **shuffled images**: each text is tested with another pair's image;
# - **chance**: what guessing gives.
#
# If blank images score as high as real ones, the model does not use the image.

# %%
quiz("clip.blind_retrieval")

# %%
report = recipe.evaluate(model, scale)
plots.show(
    figures.controls_figure(report),
    "Figure 11. Share of right answers of the course's model beside its controls: retrieval "
    "among 256 held-out pairs, zero-shot classification of 512 images into 113 nouns. The "
    "axes are logarithmic above 0.002. What to see: no control of this model is above chance.",
)

# %% [markdown]
# Why can a control be below chance?
#
# - Zero-shot, blank images: all get one class. The score is the share of images that have this class, in Figure 11 none.
# - Zero-shot, shuffled images: another image can have the same class, so the score is about chance.
# - Retrieval, blank images: all images rank the texts alike, so one image of 256 finds its text, which is chance.
# - Retrieval, shuffled images: a good model ranks first the text of the image that it is shown, and that is never the tested one. So a score below chance is right.
#
# Retrieval can be looked at directly. For three texts, the five most similar images:

# %%
indices = held_out.distinct(200 if scale.name != "smoke" else 20)
image_vectors, text_vectors = evaluation.embed(model, held_out, indices)
cosines = text_vectors @ image_vectors.T
rows = [0, 1, 2]
queries = [held_out.text(indices[row]) for row in rows]
plots.show(
    plots.nearest_images(queries, held_out.images(indices), cosines[rows], rows),
    "Figure 12. The five nearest images of three held-out texts, best first, with their cosines; "
    "the right one has a green frame. What to see: it comes first, clearly ahead of the second. "
    "Some of the others share a thing or the background.",
    world.ATTRIBUTION,
)

# %% [markdown]
# ## 8. What the temperature does
#
# The scale decides how peaked the softmax over the texts is. Figure 13 has two images: the fifth one of Figure 10, and one for which the model finds a wrong text more similar than the right one. Six texts compete for each. For the fifth image they are those of Figure 10; for the other image, its own text and the five most similar wrong ones among the 200 pairs of Figure 12. Move the slider; the button beside it sets the scale that the model learned.

# %%
order = [4, 0, 1, 2, 3, 5]  # the fifth image; its own text first
names = [f"{'right' if i == 4 else 'wrong'}: {six['text'][i]}" for i in order]
learned = model.logit_scale.exp().item()
cases = {"fifth of Figure 10": (six["images"][4], training.similarity(model, six)[4, order], names)}
wrongly = temperature.ranked_wrongly(
    image_vectors, text_vectors, [held_out.text(index) for index in indices]
)
if wrongly:
    which, *texts_of_it = wrongly
    cases["wrong text first"] = (held_out.images([indices[which]])[0], *texts_of_it)
temperature.temperature_player(cases, learned, start=5.0)
HTML(
    "<p><b>Figure 13.</b> Probabilities of six texts for each of two images, at a chosen scale "
    "(without a kernel: scale 5) and at the learned one. Dashed: chance, 1/6. What to see: the "
    "larger the scale, the more the most similar text gets, right or wrong.</p>"
)

# %%
first_wrong = (image_vectors @ text_vectors.T).argmax(1) != torch.arange(len(indices))
print(f"images with a wrong text first: {first_wrong.sum()} of {len(indices)}")
for name, (_, *texts_of_one) in cases.items():
    print(temperature.at_scales(name, *texts_of_one, scales=(1.0, 14.3, learned, 100.0)))

# %% [markdown]
# Cosines differ by at most 2, so at scale 1 no text can be more than $e^2 = 7.4$ times as probable as another: the model cannot be certain. At the learned scale the model is nearly certain of the right text of the first image. The second image is the larger of the model's two mistakes among the 200, as the cell above counts them: a wrong text has the higher cosine, by little. From the learned scale to 100 the wrong text gains, so this mistake becomes more expensive.
#
# One scale multiplies all cosines, so R@k and the chosen class stay the same; only probabilities and loss change.

# %%
plots.show(
    temperature.temperature_figure(image_vectors, text_vectors, learned),
    f"Figure 14. Loss (nats) of the {len(indices)} held-out pairs of Figure 12 over the scale; "
    "both axes are logarithmic. Dashed: the loss of equal vectors, the logarithm of the number of "
    "pairs. Dotted: the learned scale. What to see: with the scale, the loss of right pairs falls "
    "and the loss of wrong pairs (each image with another one's text) rises.",
)

# %% [markdown]
# On these pairs a scale of 100 would be better than the learned one, because nearly all are ranked rightly. Training sets the scale on its own batches. There several captions can fit one image ("a fox", "a photo of a fox"). So the next cell splits the loss: into pairs that share their set of things with another pair of the batch, and all others.

# %%
batches = 2 if scale.name == "smoke" else 6
print(temperature.training_losses(model, train_pairs, batches, learned))

# %% [markdown]
# In these batches the loss has its minimum below 100. The few pairs that share their things carry most of the loss. From the learned scale to 100, their part rises, because a confident model pays for each caption that fits another image, too; the part of all other pairs still falls. So such captions put the minimum below 100.
#
# The minimum is flat, and it lies above the learned scale. Why training stopped at this scale we did not test. The loss hardly differs between the two, so $s$ has little gradient there.
#
# ## 9. Zero-shot classification
#
# To classify, write each class as a sentence, embed the sentences, and compare each image with them. The text vectors are the weights of a linear classifier; the text encoder makes them from words. A sentence pattern with a gap is called a **template** or prompt: "a photo of {}".

# %% [markdown]
# ### Exercise 10 · A classifier made of words
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | classify images by the names of classes | ●●○○○ | ●●●●● | 8 |
#
# `images` are unit vectors. `encode_text` takes a list of texts and returns their unit vectors (C, E). Return the probability of each class for each image.


# %%
def zero_shot(
    images: Tensor, encode_text, names: list[str], template: str, logit_scale: Tensor
) -> Tensor:
    """Class probabilities: images (N, E), C names such as "a cat", a template with one {}
    -> (N, C)."""
    raise NotImplementedError("your code here")


zero_shot = check("clip.zero_shot", zero_shot)

# %% [markdown]
# <details><summary>Hint 1</summary><code>"a photo of {}".format("a cat")</code> fills the gap.</details>
# <details><summary>Hint 2</summary>These are the logits of section 5, with classes in the place of texts. The classes of one image compete.</details>
# <details><summary>If you see "encode_text takes a list of texts"</summary>Encode all texts in one call, not one after the other.</details>
# <details><summary>Solution</summary>
#
# ```python
# def zero_shot(images, encode_text, names, template, logit_scale):
#     texts = [template.format(name) for name in names]
#     classes = encode_text(texts)
#     logits = logit_scale.exp() * images @ classes.T
#     return logits.softmax(-1)
# ```
#
# </details>
#
# Your classifier on all 113 nouns, on images of single things:

# %%
_, single_pixels, labels = recipes.clip.single_things(scale.image_size)
nouns = [world.article(noun) for noun in world.known_nouns()]
with torch.no_grad():
    probabilities = zero_shot(
        model.encode_image(single_pixels),
        lambda texts: model.encode_text(tokenizer.encode(texts)),
        nouns,
        "a photo of {}",
        model.logit_scale,
    )
accuracy = evaluation.accuracy(probabilities.argmax(1), labels)
print(f"share right of {len(labels)} images")
print(f"your classifier, one template: {accuracy:.3f}")
print(f"Figure 11, several templates:  {report['zero-shot nouns']:.3f}")
print(f"chance: {1 / len(nouns):.3f}")

# %% [markdown]
# Why two numbers for one model and the same images? The score depends on the sentence. Figure 1 and Figure 15 use "a picture of {}", the cell above "a photo of {}". Figure 11 takes for each class the mean of the text vectors of several templates (lesson 03 studies their choice). The tables at the end of the lesson have a third number: the mean of three models that were trained anew with other random seeds.
#
# Try classes and templates of your own. Only words of the world's vocabulary are known: a real CLIP splits any word into pieces (byte-pair encoding), ours has whole words.

# %%
own, *others = dict.fromkeys(scene.words[0] for scene in single.scenes(range(5)))
figures.zero_shot_player(model, single.images(range(8)), others)  # the first image's own is missing
HTML(
    "<p><b>Figure 15.</b> An image of a single thing and the probability of each class that you "
    "write, in the sentence 'a picture of {}'. At first its own class, "
    f"{own}, is not among them. Dashed: chance. What to see: the "
    "probabilities sum to 1 over the classes that are offered, even if none of them is right. Add "
    f"{own} to the classes: it takes nearly all.</p>"
)

# %% [markdown]
# ## Failure lab · Four runs
#
# Four small CLIPs, each with a smaller ViT than above, were trained for the same number of steps. Batches have 32 pairs, except where that is the fault; hence ln 32 in the figure. One is healthy, and three have one fault each:
#
# - `"pairs"`: the texts of each batch are in a random order;
# - `"one"`: each batch holds one pair (so 200 steps read 200 pairs; the other runs read 6,400);
# - `"position"`: the text's vector is the state at its third token instead of the end token.
#
# **This cell takes about 8 seconds.**

# %%
runs = training.failure_lab("clip.training", pairs, 10 if scale.name == "smoke" else 200)
plots.show(
    figures.failure_figure(runs, 1 / len(pairs.held_out["ids"])),
    "Figure 16. Left: training loss (nats) of four runs; pale: each step, dark: mean of nine "
    "steps; dotted: ln 32. Right: their R@1 on the held-out pairs of Figure 9, one run each; "
    "dashed: chance. What to see: the run with the lowest loss is not the one with the best R@1.",
)

# %% [markdown]
# Your diagnosis, in place of each `None`: `"healthy"`, `"pairs"`, `"one"` or `"position"`.

# %%
diagnose("clip.training", {"A": None, "B": None, "C": None, "D": None})

# %% [markdown]
# <details><summary>Solution</summary>
#
# `{"A": "position", "B": "healthy", "C": "one", "D": "pairs"}`
#
# The faulty lines were `batch["ids"][torch.randperm(B)]` (pairs), `Batches(make, 1)` (one), and `states[:, 2]` in place of your `text_features` (position). A text vector at the third token has read the start token and two words: "a fox", "on brown" or "a picture". That is enough to lower the loss, and not enough to find the right text among several with the same beginning. Run C read fewer pairs than the others, but that is not its fault: with one pair the loss is always 0, so there is no gradient. The position fault occurs in practice: code that looks for the end token as the largest id breaks when tokens with larger ids are added.
#
# </details>

# %% [markdown]
# ## The paper beside ours
#
# Sizes first. The world is small, so a small model is enough for it. Only the direction of a result can be compared, not its value.

# %%
tables.sizes_table(model, *tables.batch_and_steps(recipe, scale))

# %% [markdown]
# Each row of the next table compares two numbers of ours, a first and a second one. The verdict follows one rule for the whole course. *Agrees*: the first number is higher in every seed, and the gap of the means is above two pooled standard deviations (pooled: the root of the mean of the two variances). *Disagrees*: the same with the sign reversed. *Within noise*: neither. Ours are means ± standard deviations over seeds, in the course's setting `laptop`, the one of this notebook.

# %%
tables.paper_table()

# %% [markdown]
# Blank and shuffled images are our own controls; the paper does not report them. Over the same seeds:

# %%
tables.controls_table()

# %% [markdown]
# Blank images all get one class, and its share of the 512 images differs from seed to seed. So this control scatters around chance: its mean over seeds may be above it, as it is here.
#
# The paper's numbers that you should know from this lesson:

# %%
tables.facts_table()

# %% [markdown]
# ViT-L/14@336 in the first table is a ViT-L with patches of 14 pixels. After training at a side of 224 pixels it was trained for one more epoch at 336, where an image has $24^2 = 576$ patches instead of $16^2 = 256$. The comparison of ViTs with ResNets, linear probes, and what happens on other data are the subjects of lesson 03.
#
# ## Discussion
#
# <details><summary>Q: The lecture lists as strengths: zero-shot transfer, many tasks, scaling with compute. Which of them comes from the two towers?</summary>
#
# Zero-shot transfer does. The text encoder turns any class name into a vector without an image, so a new task needs no training. Two towers also make search cheap: image vectors are computed once, and a query costs one dot product per image. Scaling is a property of data and compute more than of this architecture.
#
# </details>
# <details><summary>Q: What can a model not do whose image and text meet only in one cosine?</summary>
#
# It must press everything about an image into one vector before it knows the question. Relations ("left of"), counts and the binding of attributes to things are weak in CLIP. It ranks given texts and cannot write one. Lessons 04 and 08 let image and text meet earlier; later lessons, from 07 on, generate text.
#
# </details>
# <details><summary>Q: The lecture says that web data is noisy and that CLIP "gets stronger with weird stuff". Does noise help?</summary>
#
# Wrong pairs do not help: their targets are wrong. What helps is variety, which comes together with noise if one collects 400 million pairs instead of a clean million. The loss tolerates wrong pairs, probably because their gradients do not add up, while those of right pairs do. Lesson 03 measures what different kinds of noise cost.
#
# </details>
# <details><summary>Q: Why a batch of 32,768?</summary>
#
# Each pair has 32,767 negatives. Among few negatives, rough features suffice to find the right text; among many, some are similar, and finer differences must be learned. Plain gradient accumulation cannot replace the large batch, as the quiz in section 6 shows. A scheme with two passes can: it embeds all pairs first, and then computes the full batch's gradient part by part (GradCache, Gao et al. 2021, [arXiv 2101.06983](https://arxiv.org/abs/2101.06983)). SigLIP (2023) replaces the softmax by a sigmoid for each pair, which makes smaller batches work better.
#
# </details>
# <details><summary>Q: Our captions repeat. What happens if a batch holds the same caption twice?</summary>
#
# For both images, two columns are right and one is the target. Even a perfect model keeps a loss of ln 2 for these rows. If two texts have the same meaning in other words, each image is pushed away from a text that is right. The package's `clip_loss` (in `parts/losses.py`) has an argument `positive_groups` for this; CLIP ignores the matter.
#
# </details>
# <details><summary>Q: Is zero-shot classification really without labels?</summary>
#
# No label of the test task is used for training. But people chose the class names and templates, and the paper looked at validation sets while it did so. And captions often contain the names of the classes. "Without task-specific labels" is exact; "without supervision" is not.
#
# </details>
#
# ## Limits
#
# - Our world has 113 known nouns in one drawing style. High scores here say that the parts work; they say nothing about photographs.
# - Half of our training scenes show one thing, and many of their captions name it in the very words of the test sentences. On ImageNet the class names and templates are further from the captions of the web.
# - The live trainings are single runs on 2,048 pairs. They show that the code learns, not which encoder is better.
# - A word-level vocabulary knows no new words, so this model's classes are limited to words that occurred in its captions.
#
# ## Reading
#
# - CLIP, Sections 2.2 (data), 2.3 (why contrastive), 2.4 (models), 2.5 (training), and Figure 3.
# - ViT, Section 3.1. *Bag of Tricks* (He et al. 2018, [arXiv 1812.01187](https://arxiv.org/abs/1812.01187)) for ResNet-D, and *Making Convolutional Networks Shift-Invariant Again* (Zhang 2019, [arXiv 1904.11486](https://arxiv.org/abs/1904.11486)) for the pooling.
# - *SigLIP* (Zhai et al. 2023, [arXiv 2303.15343](https://arxiv.org/abs/2303.15343)) for another loss.
# - The course's own code: `vlmcourse/papers/clip.py`, `vlmcourse/parts/vision.py`, `vlmcourse/parts/losses.py`.
#
# ## Key ideas
#
# > 1. An image encoder and a text encoder map into one space, where only the angle between vectors counts.
# > 2. The loss asks two questions: which text belongs to this image, and which image to this text? The other pairs of the batch are the negatives.
# > 3. A learned temperature turns cosines into probabilities. It is stored as a logarithm and kept in bounds after each step.
# > 4. A ViT reads its class token, the ResNet an attention pooling, and the text encoder its end token.
# > 5. Class names written as sentences make a classifier without labels.
# > 6. A training loss alone can mislead: measure held-out recall beside controls.
#
# ## Glossary
#
# New words of this lesson: patch, class token, attention pooling, end token, joint space, logit scale and temperature, in-batch negatives, recall at k, zero-shot classification, blank and shuffled images as controls. Each stands with its symbol in the [glossary](../docs/GLOSSARY.md).
#
# ## Next
#
# **Lesson 03** asks what the trained model has learned: linear probes, few labelled examples, the choice of prompts and classes, other styles of images, noisy training data, and where CLIP fails.
