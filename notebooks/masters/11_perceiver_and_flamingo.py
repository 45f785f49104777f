# %% [markdown]
# # 11 · Perceiver and Flamingo I: architecture
#
# After this lesson you can:
#
# - build a Perceiver and a Perceiver IO, and say what they cost beside a Transformer;
# - turn pictures and videos of any size into a fixed number of latents;
# - put gated cross-attention into a frozen language model without disturbing it, and say who gets gradients;
# - write the mask that lets each word attend to one picture, and prove that a model obeys it;
# - train the whole on pages of pictures and text, and find faults that the loss shows but doesn't name.
#
# | | |
# |---|---|
# | Prerequisites | lesson 01 (masks, measured dependencies, cache), lesson 05 (language model), lesson 07 (frozen language model), lesson 10 (learned queries) |
# | Time | about 130 minutes to work through (two sittings); Run All takes about 45 seconds on two free cores |
# | Papers | *Perceiver*, Jaegle et al. 2021, [arXiv 2103.03206](https://arxiv.org/abs/2103.03206); *Perceiver IO*, Jaegle et al. 2021, [2107.14795](https://arxiv.org/abs/2107.14795); *Flamingo: a Visual Language Model for Few-Shot Learning*, Alayrac et al. 2022, [2204.14198](https://arxiv.org/abs/2204.14198) |
#
# Frozen and BLIP-2 (lessons 07 and 10) put a picture into the text: some vectors stand among the words, and the frozen language model reads them as it reads words. Flamingo keeps the text as text. It puts **new layers between the frozen ones**, and in these each word can attend to a picture. Its second new part is the **resampler**, which it takes from the Perceiver. So we begin there.
#
# This lesson builds the architecture. Lesson 12 is about what Flamingo was made for: learning a task from a few examples in the prompt.
#
# Axes: **B** batch, **T** tokens of a text, **M** inputs of a Perceiver, **R** latents, **D** width, **N** pictures of a page, **S** features of a picture or frame, **C** their width, **V** vocabulary. In the resampler, where the paper's letters are used, **T** counts a video's frames and **M** the pictures of a batch.

# %% tags=["hide-input"]
from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from IPython.display import Markdown
from torch import Tensor

from teaching import built_models, flamingo_lab, flamingo_model, perceiver_model
from teaching import flamingo_diagrams as diagrams
from teaching import flamingo_figures as figures
from teaching import flamingo_measures as measures
from teaching import flamingo_tables as tables
from teaching import perceiver_figures as cloud_figures
from teaching.exercises import check, diagnose, quiz
from teaching.flamingo_reference import PARTS
from vlmcourse import plots, recipes, world
from vlmcourse.evaluation.published import published
from vlmcourse.papers.perceiver import Perceiver, PerceiverConfig, PerceiverIO
from vlmcourse.plots import LiveCurve
from vlmcourse.recipes.flamingo import residual_rms
from vlmcourse.training.scale import Scale
from vlmcourse.world import interleaved

scale = Scale.of()
smoke, size = scale.name == "smoke", scale.image_size
count = 16 if smoke else 128  # held-out pictures of a test
chance_of_sample = f"a share of {count} has a standard error of at most {0.5 / count**0.5:.2f}"
_ = torch.manual_seed(0)

# %% [markdown]
# ## The whole first
#
# A trained Flamingo ships with the course. Its image encoder is the CLIP of lesson 02, its language model is that of lesson 05; both are frozen. Below each picture stands what it writes after "a picture of". The second line is written by the same system after its new layers were switched off.

# %%
trained = recipes.get("flamingo").train_or_load(scale)
flamingo = trained.model.model
scenes = measures.held_out(max(12, count))
plots.show(
    figures.at_work(flamingo, scenes[:3], size),
    "Figure 1. Three held-out pictures. Below each: a caption (✓: nothing false, ✗: wrong), and "
    "what is written when all gates are closed. What to see: without the new layers the same "
    "language model still writes English, but knows nothing of the picture.",
    credit=world.ATTRIBUTION,
)

# %% [markdown]
# ## 1. The challenges
#
# The lecture names three challenges of training with pictures, videos and text:
#
# 1. **Pictures and videos are large, and of any size.** Text is a sequence of some hundred tokens. A video has thousands of features. The answer is the *resampler*: it makes R vectors of any picture or video (sections 2 to 4).
# 2. **The language model must keep what it knows.** The answer: its layers stay frozen, and new *gated* layers between them start as if they were not there (sections 5 and 6).
# 3. **Data of many kinds are needed**, and on web pages text and pictures often hardly match. The answer is a mixture: such pages, and pictures and videos with a text of their own (lesson 12).
#
# Flamingo meets a fourth: **one prompt can hold many pictures** in between the text. The answer is a *mask*: each word attends to the last picture before it (sections 7 and 8).

# %%
plots.show(
    diagrams.flamingo(flamingo, patches=17, tokens=32),
    "Figure 2. Flamingo as in the paper's Figure 3, with the shapes of our model for a page of two "
    "pictures and 32 tokens. What to see: only the resampler, the gated blocks and two rows of "
    "embeddings (section 8) are trained; text goes through the frozen layers as before; each block "
    "reads the latents of the pictures.",
)

# %% [markdown]
# ## 2. The Perceiver: a few latents read many inputs
#
# Self-attention compares each input with each: M inputs give M times M **pairs** of a query and a key. A picture of 224 x 224 pixels has M = 50,176 inputs, and 2.5 billion pairs in each layer. The Perceiver avoids this by an asymmetry. It has R learned vectors, the **latents**. Two kinds of layers alternate:
#
# - **cross-attend**: the latents are queries, the inputs are keys and values. R times M pairs.
# - **self-attend**: the latents attend to each other. R times R pairs, whatever M is.
#
# The paper calls the number of latents N (our R), and gives the cost of one cross-attend followed by L self-attends:
#
# $$\mathcal{O}(MN + LN^2) \qquad \text{in place of} \qquad \mathcal{O}(LM^2) \text{ for a Transformer of } L \text{ layers}$$
#
# So depth costs the same for a small picture and for a large one.

# %% [markdown]
# ### Exercise 1 · Count the pairs
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | what grows with the input, and what doesn't | ●○○○○ | ●●●●● | 5 |
#
# A Perceiver repeats K times: one cross-attend to M inputs, then L self-attends among R latents. A Transformer over the M inputs has as many attention layers in all. Write `attention_pairs`: the number of query-key pairs of both, for one head.


# %%
def attention_pairs(M: int, R: int, K: int, L: int) -> tuple[int, int]:
    """Numbers of pairs: of the Perceiver, and of the Transformer."""
    raise NotImplementedError("your code here")


attention_pairs = check("perceiver.attention_pairs", attention_pairs)

# %% [markdown]
# <details><summary>Hint 1</summary>How many queries has each kind of layer, and how many keys? Multiply, then count the layers.</details>
# <details><summary>Hint 2</summary>The Perceiver has K cross-attends and K times L self-attends. The Transformer has as many layers as both together.</details>
# <details><summary>If you see "pairs are whole numbers"</summary>A division gives a float. None is needed here.</details>
# <details><summary>Solution</summary>
#
# ```python
# def attention_pairs(M, R, K, L):
#     perceiver = K * (M * R + L * R * R)
#     layers = K * (1 + L)
#     return perceiver, layers * M * M
# ```
# </details>

# %%
quiz("perceiver.more_inputs")

# %%
perceiver_pairs, transformer_pairs = attention_pairs(M=224**2, R=512, K=8, L=6)
print(f"ImageNet, pairs: {perceiver_pairs:,} (Perceiver), {transformer_pairs:,} (Transformer)")
print(f"the Transformer has {transformer_pairs / perceiver_pairs:,.0f} times as many")
plots.show(
    cloud_figures.cost_curves(attention_pairs),
    f"Figure 3. Query-key pairs by your formula, for R = {cloud_figures.R}, K = {cloud_figures.K}, "
    f"L = {cloud_figures.L}; both axes are logarithmic. What to see: for many inputs the "
    "Transformer's line is twice as steep: four times the pairs for twice the inputs.",
)

# %% [markdown]
# The printed numbers are for the paper's model: 512 latents, and eight times a cross-attend with six self-attends. Pairs are not all of a model's work: there are linear layers, too. So the next figure counts the operations of two real models, with torch's counter.

# %%
flops = cloud_figures.measured_flops()
plots.show(
    plots.curves(flops, "M (inputs)", "billion operations", xlog=True, ylog=True),
    "Figure 4. Floating-point operations of a forward pass, counted. The Perceiver has "
    f"{cloud_figures.R} latents of width {cloud_figures.D} and "
    f"{cloud_figures.K * (1 + cloud_figures.L)} layers; the Transformer has as many layers of this "
    "width. Between the last two points they grow as "
    + " and ".join(f"M^{cloud_figures.slope(of):.2f} ({name})" for name, of in flops.items())
    + ". What to see: the lines bend upwards. For few inputs linear layers do most of the work.",
)

# %% [markdown]
# ### Positions as waves
#
# Attention reads a set: a sum over keys has no order. So each input must carry its position. The Perceiver attaches **Fourier features**: sines and cosines of the position, at several frequencies. For one coordinate $x$ from -1 to 1, and frequencies $f_1, \dots, f_b$ at equal distances from 1 to $\mu / 2$:
#
# $$[\,\sin(\pi f_1 x), \dots, \sin(\pi f_b x),\ \cos(\pi f_1 x), \dots, \cos(\pi f_b x),\ x\,]$$
#
# $b$ is the number of **bands**, $\mu$ the **resolution**: the number of positions along an axis that must be distinguished. These numbers are put beside the input, not added to it.

# %% [markdown]
# ### Exercise 2 · Fourier features
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | positions for inputs without an order | ●●○○○ | ●●●○○ | 8 |
#
# Write `fourier_features` for positions with d coordinates. The order of the result: the sines of the first coordinate, those of the second, and so on; then the cosines in the same order; then the positions.


# %%
def fourier_features(positions: Tensor, bands: int, resolution: float) -> Tensor:
    """positions (..., d) in [-1, 1] -> (..., d * (2 * bands + 1))."""
    raise NotImplementedError("your code here")


fourier_features = check("perceiver.fourier_features", fourier_features)

# %% [markdown]
# <details><summary>Hint 1</summary><code>torch.linspace</code> gives the frequencies. Give the positions a new last axis, and multiply: (..., d, bands).</details>
# <details><summary>Hint 2</summary><code>flatten(-2)</code> joins the last two axes; <code>torch.cat(..., dim=-1)</code> joins the three parts.</details>
# <details><summary>If you see "The size of tensor a must match the size of tensor b"</summary>The positions need the new axis: <code>positions[..., None]</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def fourier_features(positions, bands, resolution):
#     frequencies = torch.linspace(1, resolution / 2, bands)
#     angles = torch.pi * positions[..., None] * frequencies
#     waves = [angles.sin().flatten(-2), angles.cos().flatten(-2)]
#     return torch.cat([*waves, positions], dim=-1)
# ```
# </details>

# %% [markdown]
# ### One cross-attend
#
# Let $x$ be the latents and $z$ the inputs, LN a LayerNorm, FFN the feed-forward network. As in the pre-norm block of lesson 01:
#
# $$x' = x + \mathrm{Attention}(\mathrm{LN}_x(x),\ \mathrm{LN}_z(z)), \qquad x'' = x' + \mathrm{FFN}(\mathrm{LN}(x'))$$
#
# The first argument of Attention gives the queries, the second one keys and values. $x''$ has as many vectors as $x$, however many inputs there are.

# %% [markdown]
# ### Exercise 3 · A cross-attend
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | cross-attention in a pre-norm layer | ●●○○○ | ●●●●● | 6 |
#
# Write `cross_attend`. The layer's modules: `norm_x`, `norm_inputs`, `attention`, `norm`, `feedforward`. Attention is called as `layer.attention(queries, keys_and_values)`.


# %%
def cross_attend(layer: torch.nn.Module, x: Tensor, inputs: Tensor) -> Tensor:
    """latents x (B, R, D) read inputs (B, M, C) -> (B, R, D)."""
    raise NotImplementedError("your code here")


cross_attend = check("perceiver.cross_attend", cross_attend)

# %% [markdown]
# <details><summary>Hint 1</summary>The formula has two lines, and so has the solution.</details>
# <details><summary>Hint 2</summary>Queries and inputs have a LayerNorm each; the residual is x as it came.</details>
# <details><summary>If you see "Given normalized_shape=..., expected input with shape"</summary>The two LayerNorms are exchanged: the inputs have another width than the latents.</details>
# <details><summary>Solution</summary>
#
# ```python
# def cross_attend(layer, x, inputs):
#     found = layer.attention(layer.norm_x(x), layer.norm_inputs(inputs))
#     x = x + found
#     return x + layer.feedforward(layer.norm(x))
# ```
# </details>

# %%
classifier = perceiver_model.build(perceiver_model.CloudClassifier, PARTS)
plots.show(
    diagrams.perceiver(classifier),
    "Figure 5. The Perceiver as in its paper's Figure 1, with the shapes of the small one that you "
    "will train. What to see: the inputs are read three times; from the second time on all weights "
    "are the same, as in a recurrent network.",
)

# %% [markdown]
# ### Several cross-attends
#
# One cross-attend is a bottleneck: R vectors must hold all that matters of the inputs. So the Perceiver has several. From the second on, the queries depend on what was read before. The self-attends of all repeats share their weights. So do the cross-attends, except the first, which has its own.

# %% [markdown]
# ### Exercise 4 · The Perceiver
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | iterative attention with shared weights | ●●○○○ | ●●●●○ | 8 |
#
# Write `perceive`. `model.latents` has shape (R, D). `model.cross_attend(x, inputs)` is the first cross-attend, `model.cross_attend_again(x, inputs)` any later one; both compute your exercise 3. After each comes `model.self_attends(x)`. There are `model.config.num_cross_attends` cross-attends in all.


# %%
def perceive(model: torch.nn.Module, inputs: Tensor) -> Tensor:
    """inputs (B, M, C) -> the latents at the end, (B, R, D)."""
    raise NotImplementedError("your code here")


perceive = check("perceiver.perceive", perceive)

# %% [markdown]
# <details><summary>Hint 1</summary>Every picture of the batch starts with the same latents. Then one repeat with the first cross-attend, and a loop for the others.</details>
# <details><summary>Hint 2</summary><code>model.latents.expand(len(inputs), -1, -1)</code> has shape (B, R, D).</details>
# <details><summary>If you see "there is one row, whatever the batch is"</summary>The latents lack the batch axis: expand them.</details>
# <details><summary>Solution</summary>
#
# ```python
# def perceive(model, inputs):
#     x = model.latents.expand(len(inputs), -1, -1)
#     x = model.self_attends(model.cross_attend(x, inputs))
#     for _ in range(model.config.num_cross_attends - 1):
#         x = model.cross_attend_again(x, inputs)
#         x = model.self_attends(x)
#     return x
# ```
# </details>

# %%
quiz("perceiver.order")

# %% tags=["nbval-check-output"]
package = Perceiver(PerceiverConfig(input_width=26, num_cross_attends=3), outputs=3).eval()
inputs = torch.randn(2, 50, 26)
with torch.no_grad():
    same = torch.allclose(perceive(package, inputs), package.encode(inputs), atol=1e-5)
    shuffled = perceive(package, inputs[:, torch.randperm(50)])
    no_order = torch.allclose(shuffled, perceive(package, inputs), atol=1e-5)
print("yours = vlmcourse.papers.perceiver.Perceiver:", same)
print("the order of the inputs makes no difference:", no_order)

# %% [markdown]
# Anything that is a list of vectors can be an input: pixels, words, points. We take **clouds of points** in the plane. Each cloud is a ring, the outline of a square, or a cross of two diagonals, of any size, with a little noise. A Perceiver with your functions learns to name the shape from 24 points. **The next cell takes about 5 seconds on free cores.**

# %%
cloud_parts = dict(fourier_features=fourier_features, cross_attend=cross_attend, perceive=perceive)
classifier = perceiver_model.build(perceiver_model.CloudClassifier, cloud_parts)
losses = perceiver_model.train(classifier, 3 if smoke else 150)
accuracies = perceiver_model.accuracy_by_points(classifier)
plots.show(
    plots.curves(
        {"trained on 24 points": accuracies},
        "points in the cloud",
        "right shape (share)",
        chance=1 / 3,
        xlog=True,
    ),
    "Figure 6. Your Perceiver on 512 new clouds of each size. Dashed: guessing. What to see: it "
    "was trained on clouds of 24 points; with fewer points it errs more, with more points not.",
)

# %% [markdown]
# ## 3. Perceiver IO: ask as many questions as you like
#
# The Perceiver ends in one answer: a mean over latents, and a linear layer. **Perceiver IO** reads its inputs once, and then decodes one output for each **output query**. An output query is a vector that says what is asked: a position in a picture, a place in a text, a task. It is one more cross-attention, the other way round: the queries are the output queries, keys and values are the latents. The cost is O times R pairs for O outputs. DeepMind's public code named "perceiver" is this model.
#
# One detail differs from a cross-attend. Where query and answer are different things, as here, the query is *not* added to what was found. (In public code this is a switch: `use_query_residual`.)

# %%
quiz("perceiver.no_residual")

# %% [markdown]
# ### Exercise 5 · The decoder of Perceiver IO
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | outputs of any number and meaning | ●●○○○ | ●●●●○ | 6 |
#
# Write `decode`, with the same modules as in exercise 3.


# %%
def decode(layer: torch.nn.Module, queries: Tensor, latents: Tensor) -> Tensor:
    """output queries (B, O, Q), latents (B, R, D) -> (B, O, Q)."""
    raise NotImplementedError("your code here")


decode = check("perceiver.decode", decode)

# %% [markdown]
# <details><summary>Hint 1</summary>Take your <code>cross_attend</code>. Who is the query now, and which sum falls away?</details>
# <details><summary>Hint 2</summary>The residual around the feed-forward network stays.</details>
# <details><summary>If you see "here there is no residual from the queries"</summary>After the attention only what was found goes on.</details>
# <details><summary>Solution</summary>
#
# ```python
# def decode(layer, queries, latents):
#     keys = layer.norm_inputs(latents)
#     found = layer.attention(layer.norm_x(queries), keys)
#     return found + layer.feedforward(layer.norm(found))
# ```
# </details>

# %%
reader = perceiver_model.build(perceiver_model.PlaceReader, cloud_parts | {"decode": decode})
plots.show(
    diagrams.perceiver_io(reader),
    "Figure 7. Perceiver IO as in its paper's Figure 2, with the shapes of the next training. What "
    "to see: the inputs are read once; O is free; each output depends on one query, its own.",
)

# %% [markdown]
# The question is now a place in the plane: is this place on the shape? (Nearer to its lines than 0.15, where the plane reaches from -1 to 1.) Output queries are Fourier features of places, by your exercise 2. The next cell trains. Then it prints the share of right answers about places in new clouds. Beside it stands what always answering "no" would get. **It takes about 10 seconds on free cores.**

# %%
losses = perceiver_model.train(reader, 3 if smoke else 400)
report = cloud_figures.places_report(reader)
print({name: round(share, 2) for name, share in report.items()})
print("answers that move when output query 2 is exchanged:", cloud_figures.who_moves(reader))
plots.show(
    cloud_figures.answered_places(reader),
    "Figure 8. Left: 24 points of three new clouds. Middle: places that are on the shape. Right: "
    "the answers of your Perceiver IO at 40 x 40 places, black: surely on the shape. What to see: "
    "in training it was asked about 64 random places of a cloud; now it answers 1,600.",
)

# %% [markdown]
# ## 4. Flamingo's resampler
#
# Flamingo needs the reading half of this idea: R latents for each picture or video. Its **Perceiver Resampler** differs from the Perceiver in three points:
#
# - Keys and values come from the features **and the latents, joined**. One attention does the work of a cross-attend and a self-attend. (The lecture's slide says "Perceiver-I/O". But there are no output queries: the latents are the output.)
# - Each frame of a video gets a learned **time embedding**, the same for all its features. A picture is a video of one frame. There are no embeddings for positions in the picture. The paper saw no improvement from them; the encoder's features probably hold their positions already.
# - No weights are shared between layers.
#
# The paper's pseudo-code, with $x_f$ for the features and $x$ for the latents:
#
# $$x \leftarrow x + \mathrm{Attention}_i(q = x,\ kv = [x_f, x]), \qquad x \leftarrow x + \mathrm{FFW}_i(x)$$

# %%
plots.show(
    diagrams.resampler(flamingo, frames=8, patches=17),
    "Figure 9. The resampler as in Flamingo's Figure 5, with our shapes for a video of eight "
    "frames. What to see: the number of keys grows with the video, the number of queries doesn't; "
    "all layers read the same features.",
)

# %%
quiz("flamingo.film", R=flamingo.config.latents)

# %% [markdown]
# ### Exercise 6 · The resampler
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | from features of any number to R latents | ●●●○○ | ●●●●● | 14 |
#
# Write `resample` for M videos of T frames with S features each. `resampler.latents` (R, C), `resampler.time_embeddings` (8, C), of which the first T are used, `resampler.layers`, and a LayerNorm at the end, `resampler.norm`. A layer has `norm_features`, `norm_latents`, `attention(queries, keys_and_values)`, `norm`, `feedforward`. The latents go through `norm_latents` both as queries and as keys; features go through `norm_features`.


# %%
def resample(resampler: torch.nn.Module, features: Tensor) -> Tensor:
    """features (M, T, S, C) -> latents (M, R, C)."""
    raise NotImplementedError("your code here")


resample = check("flamingo.resample", resample)

# %% [markdown]
# <details><summary>Hint 1</summary>Add the time embeddings, join the axes of frames and features, expand the latents. Then a loop over the layers: join, attend, add; feed-forward, add.</details>
# <details><summary>Hint 2</summary><code>time_embeddings[:T, None]</code> has shape (T, 1, C): one for all features of a frame. <code>flatten(1, 2)</code> joins frames and features.</details>
# <details><summary>If you see "Sizes of tensors must match except in dimension 1"</summary>The latents lack the axis of videos: <code>expand(M, -1, -1)</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def resample(resampler, features):
#     M, T, S, C = features.shape
#     x_f = features + resampler.time_embeddings[:T, None]
#     x_f = x_f.flatten(1, 2)  # (M, T * S, C)
#     x = resampler.latents.expand(M, -1, -1)
#     for layer in resampler.layers:
#         queries = layer.norm_latents(x)
#         keys = torch.cat([layer.norm_features(x_f), queries], dim=1)
#         x = x + layer.attention(queries, keys)
#         x = x + layer.feedforward(layer.norm(x))
#     return resampler.norm(x)
# ```
# </details>

# %% tags=["nbval-check-output"]
picture, video = torch.randn(1, 1, 17, scale.width), torch.randn(1, 8, 17, scale.width)
with torch.no_grad():
    made = [resample(flamingo.resampler, one) for one in (picture, video)]
    same = torch.allclose(made[1], flamingo.resampler(video), atol=1e-4)
    moved = (resample(flamingo.resampler, video.flip(1)) - made[1]).abs().max() > 1e-3
print("yours = vlmcourse.papers.flamingo.PerceiverResampler:", same)
print("as many latents for the video as for the picture:", made[0].shape == made[1].shape)
print("frames in reverse order give other latents:", bool(moved))

# %% [markdown]
# The last line holds because of the time embeddings. Without them the frames would be a set. (Whether a trained model *uses* the order is another question, which lesson 12 asks.) The paper samples one frame a second and trains with eight frames; for longer videos the time embeddings are interpolated.

# %% [markdown]
# ## 5. A gate that starts closed
#
# New layers between frozen ones begin with random weights. What they add is noise, and the frozen layers behind them were never trained to cope with it. Flamingo multiplies each new output by a **gate**: the hyperbolic tangent of one learned number $\alpha$ that starts at 0. With $y$ the states of the text and $z$ the latents of pictures:
#
# $$y' = y + \tanh(\alpha_{\text{xattn}})\ \mathrm{Attention}(y, z), \qquad y'' = y' + \tanh(\alpha_{\text{dense}})\ \mathrm{FFW}(y')$$
#
# $\tanh(0) = 0$, so at the start $y'' = y$ exactly: the model *is* the language model. (Attention and FFW begin with a LayerNorm each, and the attention has a mask, which section 7 makes.) The paper calls this block GATED XATTN-DENSE.

# %%
plots.show(
    diagrams.gated_block(flamingo, tokens=32),
    "Figure 10. A gated block as in Flamingo's Figure 4, for a page of two pictures and 32 tokens. "
    "What to see: each of the two outputs has a gate of its own, and the residual has none.",
)

# %% [markdown]
# ### Exercise 7 · The gated block
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | add layers without disturbing what is there | ●●○○○ | ●●●●● | 10 |
#
# Write `GatedBlock`. Its two gates are parameters named `alpha_xattn` and `alpha_dense`, a single number each. `cross_attention(y, latents, mask)` and `feedforward(y)` are modules with LayerNorms of their own; keep them as attributes. Leave the given `y` as it is.


# %%
class GatedBlock(torch.nn.Module):
    """A gated cross-attention block: y (B, T, D), latents (B, K, C), mask (B, T, K) -> like y."""

    def __init__(self, cross_attention: torch.nn.Module, feedforward: torch.nn.Module):
        super().__init__()
        raise NotImplementedError("your code here")

    def forward(self, y: Tensor, latents: Tensor, mask: Tensor) -> Tensor:
        raise NotImplementedError("your code here")


GatedBlock = check("flamingo.GatedBlock", GatedBlock)

# %% [markdown]
# <details><summary>Hint 1</summary>Two residual sums. In each, only what is added is multiplied. The second reads what the first gave.</details>
# <details><summary>Hint 2</summary><code>torch.nn.Parameter(torch.zeros(()))</code> is a learned number that starts at 0.</details>
# <details><summary>If you see "y itself was changed"</summary><code>y += ...</code> writes into y. Write <code>y = y + ...</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# class GatedBlock(torch.nn.Module):
#     def __init__(self, cross_attention, feedforward):
#         super().__init__()
#         self.cross_attention = cross_attention
#         self.feedforward = feedforward
#         self.alpha_xattn = torch.nn.Parameter(torch.zeros(()))
#         self.alpha_dense = torch.nn.Parameter(torch.zeros(()))
#
#     def forward(self, y, latents, mask):
#         y = y + self.alpha_xattn.tanh() * self.cross_attention(y, latents, mask)
#         return y + self.alpha_dense.tanh() * self.feedforward(y)
# ```
# </details>

# %% [markdown]
# ## 6. Into the frozen model
#
# A language model is a stack of layers. A gated block stands **before** a layer and changes what this layer reads. The layer itself stays as it is. In Flamingo-3B a block stands before every layer, in Flamingo-9B before every fourth, in the largest before every seventh.

# %% [markdown]
# ### Exercise 8 · Blocks between layers
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | run a frozen model with new layers in it | ●●○○○ | ●●●●○ | 8 |
#
# Write `run_layers`. Cut the layers into groups of `every`; the last group may be smaller. Block 0 stands before the first layer of the first group, block 1 before the first of the second, and so on. A layer is called as `layer(y)`, a block as `block(y, latents, mask)`.


# %%
def run_layers(
    layers: Sequence, blocks: Sequence, every: int, y: Tensor, latents: Tensor, mask: Tensor
) -> Tensor:
    """y (B, T, D), latents (B, K, C), mask (B, T, K) -> y after all layers."""
    raise NotImplementedError("your code here")


run_layers = check("flamingo.run_layers", run_layers)

# %% [markdown]
# <details><summary>Hint 1</summary>A loop over the numbered layers. Which numbers are the first of a group?</details>
# <details><summary>Hint 2</summary>The remainder <code>number % every</code> is 0 there, and <code>number // every</code> is the group.</details>
# <details><summary>If you see "list index out of range"</summary>There are fewer blocks than layers: take the block by its group.</details>
# <details><summary>Solution</summary>
#
# ```python
# def run_layers(layers, blocks, every, y, latents, mask):
#     for number, layer in enumerate(layers):
#         if number % every == 0:
#             block = blocks[number // every]
#             y = block(y, latents, mask)
#         y = layer(y)
#     return y
# ```
# </details>
#
# The paper's three sizes, and ours. "Its layers x width" is the language model's depth and width. "Number of blocks" is as the paper prints it. The next column applies the rule of exercise 8: the numbers of the layers with a block before them, and in brackets how many these are. The last two columns count trained parameters.

# %%
Markdown(tables.design(flamingo))

# %% [markdown]
# The table's numbers are the paper's (its Tables 4 and 5), except for the column by exercise 8. For all three sizes the rule gives the paper's number of blocks. The image encoder (NFNet-F6, 435M parameters) and the resampler have the same size in all three. The language model grows, and the blocks with it, since their width is its width. Fewer positions for blocks keep the cost in bounds: a block has about as many parameters as a layer.
#
# Public code differs in where the block of a group stands: Idefics puts it before the group's first layer, OpenFlamingo and our package before its last. With a block before every layer there is no difference. In a small model with few blocks the place matters: see the section "The paper beside ours".
#
# The next table shows what this costs in the paper: step times of the small ablation runs.

# %%
Markdown(tables.step_times())

# %% [markdown]
# Blocks before every fourth layer need 59 % of the time of a step, and lose 1.9 points of the overall score. *Single in the middle* has one block. *Vanilla* is cross-attention without the gated feed-forward network, *grafting* puts new layers on top of the language model. In (vi) an MLP or a plain Transformer stands in the resampler's place. Lesson 12 has the whole table.

# %% [markdown]
# ## 7. Which picture does a word attend to?
#
# A page has several pictures. In the text a tag, the **image token** `<image>`, stands in the place of each. The **image index** $\phi(t)$ is the number of the last picture at or before token $t$; it is 0 before the first. A token attends to the R latents of picture $\phi(t)$, and to no other. This rule is the **media mask**. The paper leaves open whether the tag itself attends to its picture. In public code it does, since $\phi$ is computed as a count of tags that includes the tag; so does ours.

# %% [markdown]
# ### Exercise 9 · φ and its mask
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | per-image masking | ●●○○○ | ●●●●● | 9 |
#
# Write `image_mask`. Column n * R + r of the result is latent r of picture n, counted from 0; so the latents of a picture stand side by side.


# %%
def image_mask(ids: Tensor, image_token_id: int, N: int, R: int) -> Tensor:
    """ids (B, T) -> booleans (B, T, N * R), True = this token may attend to this latent."""
    raise NotImplementedError("your code here")


image_mask = check("flamingo.image_mask", image_mask)

# %% [markdown]
# <details><summary>Hint 1</summary>How many tags stand at or before each token? Compare that number with the numbers of the pictures. Which numbers must they have, so that 0 means none?</details>
# <details><summary>Hint 2</summary><code>cumsum(1)</code> counts along the text; <code>repeat_interleave(R)</code> repeats each number R times in place.</details>
# <details><summary>If you see "yours come image by image, over and over"</summary><code>repeat</code> repeats the whole list; <code>repeat_interleave</code> repeats each element.</details>
# <details><summary>Solution</summary>
#
# ```python
# def image_mask(ids, image_token_id, N, R):
#     is_image = ids == image_token_id
#     phi = is_image.long().cumsum(1)  # (B, T)
#     picture_of_latent = torch.arange(1, N + 1).repeat_interleave(R)
#     return phi[:, :, None] == picture_of_latent
# ```
# </details>

# %% [markdown]
# Text before the first picture has an empty row in the mask. Its attention must be exactly zero, as in lesson 01.

# %%
quiz("flamingo.empty_row")

# %%
some = [world.sample("test", n, 0, (1, 1)) for n in range(3)]
text = "a cat . <image> . a dog . <EOC> <image> . a key . <EOC> <image> . a"
page = interleaved.parse_page(text, some)
ids, media, words = measures.page_inputs(flamingo, page, size)
R = flamingo.config.latents
plots.show(
    figures.page_strip(ids, image_mask(ids, flamingo.config.image_token_id, 3, R), R),
    "Figure 11. A page of three pictures, and the picture that each token attends to by your mask. "
    "What to see: text before the first tag attends to none; each tag begins a new number.",
)

# %% [markdown]
# A mask says who may attend to what. Does a block obey it? We build an untrained Flamingo from your parts and set all its gates to an opening of 0.5. Then we measure how much each token's state behind the first block depends on each latent, by derivatives, as in lesson 01. No mask is read for that. (Two parts that you write in section 8 are the course's own here.)

# %%
parts = {part.__name__: part for part in (resample, GatedBlock, run_layers, image_mask)} | {
    name: PARTS[name] for name in ("interleave", "embed_tokens")
}
language_model = recipes.get("language").train_or_load(scale).model.lm
config = flamingo_model.small_config(scale)
untrained = flamingo_model.build(config, deepcopy(language_model), parts)
opened = deepcopy(untrained)
measures.set_gates(opened, 0.5)
features = flamingo_model.feature_cache(scale)([(scene,) for scene in some])["features"]
with torch.no_grad():
    latents = resample(opened.resampler, features)
drawn, obeyed = figures.declared_and_measured(opened, ids, latents)
plots.show(
    drawn,
    "Figure 12. Columns: the tokens of Figure 11. Rows: the pictures. Above: dark where the "
    "token's state behind the first block changes with the picture. Below: your mask. What to "
    "see: both are the same.",
)
print("declared = measured, latent by latent:", obeyed)

# %%
quiz("flamingo.first_picture")

# %%
plots.show(
    figures.moved_by_first(opened, ids, features),
    "Figure 13. Picture 1 is exchanged for another. Bars: by how much each token changes, "
    "as Euclidean length. Above: its state behind the first block. Below: its logits at the end of "
    "the model. What to see: the direct effect ends at the second tag; in the whole model later "
    "tokens move, too, and earlier ones don't.",
)

# %% [markdown]
# The paper gives a reason for this scheme: a model trained on pages of at most five pictures works for prompts of 32. In the cross-attention no token ever attends to more than one picture, so there nothing is new about the thirty-second. In the paper's ablation (Table 10), attending to all previous pictures lowers the overall score from 70.7 to 63.5. The authors' guess is that the latents carry no mark of which picture they belong to.

# %% [markdown]
# ## 8. Pages, tags, and two new words
#
# The text of a page is made of its parts: texts and pictures in any order. A tag is put in the place of each picture. A second new word, `<EOC>` ("end of chunk"), says where the text that belongs together ends. The paper puts it before each picture and at the end of the page.
#
# Ours has one more rule: after each tag stands a full stop, since in our language model's texts a full stop follows each description. So the text for a picture is `<image> .`

# %% [markdown]
# ### Exercise 10 · Interleave a page
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | from a page to a text and a list of pictures | ●●○○○ | ●●●●○ | 9 |
#
# Write `interleave`. Parts that are no `str` are pictures. Put `end_of_chunk` before each picture, unless nothing stands before it, and at the end of the page. All parts of the text are joined by single spaces.


# %%
def interleave(parts: Sequence, image_text: str, end_of_chunk: str) -> tuple[str, list]:
    """A page's parts, texts and pictures in their order -> its text, and its pictures in order."""
    raise NotImplementedError("your code here")


interleave = check("flamingo.interleave", interleave)

# %% [markdown]
# <details><summary>Hint 1</summary>A loop with two lists: pieces of text, and pictures. A picture adds to both.</details>
# <details><summary>Hint 2</summary>Before the tag of a picture: if the list of pieces isn't empty, append the end of chunk.</details>
# <details><summary>If you see "two pictures in a row need one, too"</summary>Ask whether anything stands before the picture, not whether a text does.</details>
# <details><summary>Solution</summary>
#
# ```python
# def interleave(parts, image_text, end_of_chunk):
#     pieces, pictures = [], []
#     for part in parts:
#         if isinstance(part, str):
#             pieces.append(part)
#         else:
#             if pieces:
#                 pieces.append(end_of_chunk)
#             pieces.append(image_text)
#             pictures.append(part)
#     pieces.append(end_of_chunk)
#     return " ".join(pieces), pictures
# ```
# </details>

# %%
example = ("a cat is small .", some[0], "a picture .", some[1], some[2], "two pictures .")
text, pictures = interleave(example, "<image> .", "<EOC>")
print(text)
print("pictures:", len(pictures))
print("as vlmcourse writes it:", text == interleaved.interleaved_text(example))

# %% [markdown]
# The language model has never read `<image>` or `<EOC>`. Its table of word embeddings is frozen. So the rows of these two words are trained apart from it. In the paper only `<EOC>` is a new word; `<image>` is inserted as plain text.

# %% [markdown]
# ### Exercise 11 · New rows beside a frozen table
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | train two words of a frozen vocabulary | ●●○○○ | ●●●○○ | 8 |
#
# Write `embed_tokens`. The words `new_ids[k]` get the vector `rows[k]`; all others get the table's. The table must stay as it is, and the rows must get gradients.


# %%
def embed_tokens(table: Callable, rows: Tensor, new_ids: Tensor, ids: Tensor) -> Tensor:
    """table(ids) is (B, T, D), frozen; rows (K, D) learn; new_ids (K,), ids (B, T) -> (B, T, D)."""
    raise NotImplementedError("your code here")


embed_tokens = check("flamingo.embed_tokens", embed_tokens)

# %% [markdown]
# <details><summary>Hint 1</summary>Take the table's vectors first. Then, for each new word, exchange those at its positions, without writing into a tensor.</details>
# <details><summary>Hint 2</summary><code>torch.where(condition, a, b)</code> chooses element by element. The condition needs a last axis of 1.</details>
# <details><summary>If you see "The size of tensor a must match the size of tensor b"</summary><code>(ids == token)</code> is (B, T). Write <code>(ids == token)[..., None]</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def embed_tokens(table, rows, new_ids, ids):
#     y = table(ids)
#     for token, row in zip(new_ids, rows):
#         here = (ids == token)[..., None]
#         y = torch.where(here, row, y)
#     return y
# ```
# </details>

# %% [markdown]
# ## 9. Train your Flamingo
#
# All parts are there. `flamingo_model.build` puts your functions around the frozen language model. It learns from pages of two pictures, each of one thing, each followed by a sentence: "a dog on blue ." There are twelve things; four of them are written with "an". The loss is the language model's: the next word, given the words before it and the pictures up to it,
#
# $$-\sum_{t} \ln p(y_t \mid y_{<t},\ x_{\le t}),$$
#
# where $y_t$ is token $t$ and $x_{\le t}$ are the pictures up to it. It is taken at the words of the sentences. Tags and `<EOC>` are given and not predicted. (The paper's model predicts `<EOC>`, and stops there when it writes.)
#
# Two things are not the paper's, since we have 100 steps where it has 500,000. The outputs of a block are multiplied by a fixed number: twice the root mean square of the states they are added to, which is printed below. These states grow from layer to layer, and so does what is added. And the gates have ten times the learning rate of all other parameters. What these two changes bring is printed after the training. This Flamingo's resampler has one layer (the shipped one has two), and four latents for each picture.

# %%
parts |= {"interleave": interleave, "embed_tokens": embed_tokens}
yours = flamingo_model.build(config, deepcopy(language_model), parts)
cache = flamingo_model.feature_cache(scale)
pages, new = (
    flamingo_model.Pages(flamingo_model.TwoPictures(split, cache, interleave), number)
    for split, number in (("train", 4 * count), ("test", count))
)
print("root mean square of the states before each layer:", residual_rms(language_model))
Markdown(tables.who_learns(yours, flamingo.vision))

# %%
quiz("flamingo.first_step")

# %%
batch = pages.batch(range(16))
y = embed_tokens(language_model.get_input_embeddings(), yours.new_rows, yours.new_ids, batch["ids"])
with torch.no_grad():
    alone = language_model(inputs_embeds=y).logits
    at_start = yours(batch["ids"], batch["features"])
print("at the start = the language model:", torch.equal(at_start, alone))
plots.show(
    figures.gradient_bars(measures.two_steps(yours, batch)),
    "Figure 14. Length of the gradient of each group of parameters on 16 pages, at two steps. "
    "Between them each number was moved by 0.01 against its gradient's sign; this is not yet the "
    "training below. What to see: at the first step all that stands behind a gate has none; "
    "the frozen language model never has one.",
)

# %% [markdown]
# How much does it matter that the gates start closed? The next figure opens all gates of the untrained model by hand.

# %%
drawn, distances = figures.opening_curve(yours, batch)
plots.show(
    drawn,
    "Figure 15. Distance of the predictions from the language model's, by the opening of all "
    "gates; blocks are untrained. The distance is half the sum of absolute differences of the "
    "next word's probabilities: 0 is equal, 1 has nothing in common. What to see: it begins at 0 "
    f"and rises without a jump; at an opening of 0.1 it is {distances[0.1]:.2f}.",
)

# %% [markdown]
# Now the training. **The next cell takes 10 to 20 seconds on free cores, and longer on busy ones.**

# %%
history, gates = flamingo_model.train(
    yours, pages, 4 if smoke else flamingo_model.STEPS, on_step=LiveCurve()
)

# %%
plots.show(
    figures.gate_curves(gates),
    "Figure 16. Your Flamingo: opening of its six gates, without signs, over training steps (one "
    "training). What to see: all start at 0; which ones open far, and which hardly.",
)
drawn, nouns = figures.noun_bars(yours, new)
plots.show(
    drawn,
    f"Figure 17. Your Flamingo on {len(new.whole['ids'])} new pages, whose things were never seen "
    "on these backgrounds: how often the right noun is the likeliest word. Dashed: guessing among "
    "the nouns that fit the article, 'a' or 'an'. What to see: with features of zeros or another "
    f"page's pictures no more than that guess is left. One training; {chance_of_sample}.",
)
print(flamingo_lab.about_speed(scale))
Markdown(measures.about_gates(gates))

# %% [markdown]
# The shipped Flamingo has the same parts, and learnt longer from far more varied pages (lesson 12). Your functions can take its weights. The next cell puts them in, and compares the logits with the package's. In the package *hooks* (functions that torch calls before a layer) run the blocks, so any decoder of the library transformers can be used. And each token is computed with the latents of its own picture only.

# %% tags=["nbval-check-output"]
whole = measures.with_weights_of(flamingo, parts)
difference = measures.difference(flamingo, whole, pages.batch(range(8)))
print(f"parts that are yours: {built_models.count_own(parts, PARTS)} of {len(parts)}")
print("the same logits as the package's:", difference < 1e-2)

# %% [markdown]
# ## 10. The shipped model
#
# How did its gates open? The paper's Figure 6 shows the same for Flamingo-3B: absolute values grow quickly, and more in deeper layers. The authors warn that this doesn't tell how much a layer matters, since what is multiplied may differ in size.

# %%
opened_gates = figures.shipped_gates(trained.model.gates_by_step())
plots.show(
    figures.gate_curves(opened_gates),
    "Figure 18. The shipped Flamingo: opening of its gates over training, without signs (our "
    "counterpart of the paper's Figure 6; one training). What to see: compare the first block's "
    "gates with the last one's, and look for the gate that stays nearly closed.",
)
Markdown(measures.about_gates(opened_gates))

# %% [markdown]
# An opening says by how much an output is multiplied. What depends on a gate is seen when it alone is closed:

# %%
closed = measures.closed_one_by_one(flamingo, size, count)
plots.show(
    figures.closed_bars(closed, 1 / len(world.known_nouns())),
    f"Figure 19. The shipped Flamingo's captions of {count} held-out pictures: share with the "
    "right noun, with one gate closed at a time. Dashed: guessing among all nouns. What to see: "
    "which gates naming depends on, and whether they are the wide open ones. Lesson 12 "
    "asks the same of learning new names. "
    f"{chance_of_sample.capitalize()}.",
)
Markdown(measures.about_closed(closed, opened_gates))

# %%
quiz("flamingo.plain_text")

# %%
for name, loss in measures.text_losses(flamingo).items():
    print(f"{name}: {loss:.2f} nats per word on the language model's own held-out texts")

# %% [markdown]
# The lecture's aim is that the language model's abilities stay "fully intact". That holds for its weights, and of the model at the start of training. A trained Flamingo is another model, also for plain text.
#
# ### Where does a word's information come from?
#
# A word attends to latents, and the latents attended to features. The product of both is a map over the picture's patches: how much of each patch *could* have arrived. It is no proof. A patch's feature may hold what the encoder's own attention brought there from elsewhere. **Occlusion** asks for causes: cover a square of the picture, and measure how much the right noun's log-probability falls.

# %%
two_maps = [measures.attention_and_occlusion(flamingo, scene, size) for scene in scenes[:3]]
plots.show(
    figures.maps(scenes[:3], two_maps, size),
    "Figure 20. Left: three pictures, pale in the maps. Middle: attention of the last block at the "
    "last word of 'a picture of a' (or 'an'), times the latents' attention in the resampler's last "
    "layer. It is given in % for 4 x 4 patches; the rest lies on the class token and the latents. "
    "Right: how many nats the right noun's log-probability falls when this square is grey "
    "(negative: it rises). Each map has its own scale: its largest number is darkest. What to see: "
    "whether attention lies where covering hurts.",
    credit=world.ATTRIBUTION,
)
Markdown(tables.about_maps(scenes[:3], two_maps, size))

# %% [markdown]
# Where the two maps have their largest numbers in different squares, neither settles where the word's information comes from. Patches beside a thing may hold its name, since the encoder has mixed its patches in each layer; so attention there is no error. And a grey square makes a picture unlike any in training. It may lower the score even where it covers nothing of the thing: the table's last column says by how much it does here.
#
# ### Writing with a cache
#
# In generation each step computes only the newest token; keys and values of the others are cached (lesson 01). $\phi$ of the newest token is a count over the *whole* text. A count over the one new token would say 0: no picture. Public code has had this bug. So the package always passes all ids and takes the last row of the mask. The latents of the pictures are computed once.

# %% tags=["nbval-check-output"]
text = "<image> . a picture of a dog . <EOC> <image> . a picture of"
prompt = interleaved.parse_page(text, some[:2])
print("cached = uncached:", measures.same_when_cached(flamingo, prompt, size))

# %% [markdown]
# ## Failure lab
#
# Five trainings like that of section 9: one healthy, and four with one fault each.
#
# - **no gates**: both outputs of a block are added as they are, from the first step on;
# - **frozen gates**: the gates were frozen together with the language model;
# - **all images**: each token attends to both pictures of its page;
# - **next image**: φ is one too high.

# %%
lab = flamingo_lab.runs(scale)
plots.show(
    flamingo_lab.show(lab, flamingo_lab.LOSSES, "loss (nats per word)", form=".2f"),
    "Figure 21. Loss at the first step, and in the mean of the last ones; one seed each. What to "
    "see: which runs begin, and which end, higher than the healthy one.",
)
plots.show(
    flamingo_lab.show_scores(lab),
    f"Figure 22. The same runs on {count} new pages: share of right nouns after each picture. "
    "Dashed: guessing among the nouns that fit the article. What to see: no run is better than the "
    "healthy one; one is as good; one is near the guess after picture 1, and far below it after "
    f"picture 2. One seed each; {chance_of_sample}.",
)
plots.show(
    flamingo_lab.show(
        flamingo_lab.relative(lab), flamingo_lab.MOVES, "change (larger one = 1)", form=".2f"
    ),
    "Figure 23. How far the states of the words after picture 1 move behind the first block, when "
    f"picture 1 or picture 2 is exchanged. Means over {count} pages, one seed each; in each run "
    "the larger change is 1, unless nothing moves. What to see: which pictures these words attend "
    "to, and whether any.",
)

# %% [markdown]
# Your diagnosis, in place of each `None`:

# %%
diagnose("flamingo.two_pictures", {"A": None, "B": None, "C": None, "D": None})

# %% [markdown]
# <details><summary>Hint</summary>Figure 23 shows two wrong masks. For the others, look at the first loss and the last.</details>
# <details><summary>Solution</summary>
#
# A: all images. Both pictures move the words after picture 1. The latents carry no mark of their picture, so the model learns what is on the page, and often confuses the two.
#
# B: frozen gates. No picture moves anything: the gates stay at 0. Yet the loss falls by nearly half, although no picture is seen. The rows of the two new words learn, and with them how such sentences usually go on. So a falling loss doesn't prove that pictures are used. After picture 2 this run is far below guessing: on about half of the pages the likeliest word there is "picture", which is no thing in this world.
#
# C: next image. The words after picture 1 attend to picture 2. Yet the nouns are mostly right. One token attends to picture 1: the first one, `<bos>`. Exchange picture 1 for another page's, and the noun after it is wrong on most pages. So the words get it from `<bos>` through the frozen layers. After picture 2, φ is 3, so these words attend to nothing. They reach picture 2 by the words before them, which attend to it. A model finds a way around a fault. Its loss ends near that of run A, which has another fault: the loss shows that something is wrong, not what.
#
# D: no gates. The frozen layers read noise at first, so the first loss is far above the others. In this small world it recovers: 100 steps later it is as good as the healthy run. In the paper's ablation it stays worse.
#
# In code: another `image_mask` for A and C, another `GatedBlock` for B and D (`notebooks/teaching/flamingo_lab.py`).
# </details>

# %% [markdown]
# ## The paper beside ours
#
# The Perceiver on ImageNet, from its Tables 1 and 2. It is as good as models that are made for pictures. When all pixels are shuffled by one fixed order, models with convolutions or patches lose much, and models with global attention alone lose nothing.

# %%
Markdown(published("perceiver-table-1").markdown())

# %%
Markdown(published("perceiver-table-2").markdown())

# %% [markdown]
# Flamingo's claims about its architecture, beside our runs in two small worlds, of 24 and of 48 nouns (three seeds; `benchmarks/replicate_flamingo.py` and `replicate_ablations.py`). Our language model has three layers. So "every 2nd" and "every 3rd" are one block each, before layer 2 and before layer 3; in the paper "every 4th" is six blocks in 24 layers. The scores are means over several tasks, with different tasks in the paper and here, so compare directions. The verdict is computed by the course's rule. *Agrees*: the unchanged model is higher in every seed, and the mean gap exceeds two pooled standard deviations. *Disagrees*: the same with the signs exchanged. Otherwise *within noise*.

# %%
Markdown(tables.about_claims())

# %%
Markdown(tables.claims())

# %% [markdown]
# With one block, it also matters before which layer it stands. By the rule of exercise 8 it would stand before layer 1; in the package's "every 2nd" and "every 3rd" it stands later. The next table is of the world of 24 nouns, after 600 steps, with an earlier language model than the one that ships.

# %%
Markdown(tables.places())

# %%
Markdown(published("flamingo-table-10").markdown())

# %% [markdown]
# We haven't run Table 10's rows as whole models. The failure lab's run A is the nearest thing: attending to all pictures of a small page, one seed.
#
# Our own controls, which the paper doesn't claim:

# %%
found = {
    f"right nouns of your Flamingo, {shown}": f"{sum(both) / 2:.2f}"
    for shown, both in nouns.items()
}
found["shipped model, captions with the right noun"] = f"{closed['all gates as trained']:.2f}"
found["your functions with the shipped weights"] = f"logits differ by at most {difference:.0e}"
Markdown(tables.controls(found))

# %% [markdown]
# ## Discussion
#
# **Strengths.** Both frozen models keep their weights. At the start the whole *is* the language model; the paper reports more stable training and better results for that (for ours, see the table above). A prompt may hold any number of pictures and videos, and each costs the text only R keys. A word can attend to its picture at every depth.
#
# **Weaknesses.** Many new parameters: ten billion for the largest, where BLIP-2 trains 188 million. The blocks are made for one language model, and must be trained anew for another. R latents are made without knowing the question. Everything about places must survive the resampler. And the whole is far from open: neither code nor data nor weights were released.
#
# <details><summary>Q: Can Flamingo localise objects? (The lecture's question.)</summary>
# It can say in words where something is, as far as the latents hold it: "in the upper left". It has no output for boxes, and no loss ever asked for positions. The resampler has no embeddings of places; the features know theirs only in so far as the encoder put it there. Attention maps like Figure 20 show little. Later models train on boxes written as text (Kosmos-2, Qwen-VL) or pass on all patches (LLaVA). How would you test it? Ask for a quarter of the picture, for things in all four, against a model that always says the commonest one.
# </details>
#
# <details><summary>Q: Will the tag &lt;image&gt; itself attend to its picture?</summary>
# The paper's definition of φ, "the last image appearing before this position", leaves it open. In OpenFlamingo and in ours it does. It can be useful: later words can read the tag's state, which then sums up its picture. Our model has an option, <code>image_token_attends=False</code>: train both and compare.
# </details>
#
# <details><summary>Q: If each word attends to the last picture only, how can the examples before it be used at all?</summary>
# Through the frozen layers. The words of an example attended to its picture, and later words attend to these words. Figure 13 shows it. Lesson 12 tests whether it is used.
# </details>
#
# <details><summary>Q: Why tanh, and why one number for a whole layer?</summary>
# tanh is 0 at 0 with slope 1, and stays below 1. A sigmoid would be half open at the start. One number is the cheapest gate; its gradient is the inner product of the layer's whole output with the gradient of the loss there. A vector of gates, one for each channel, also works (Idefics can use it). LayerScale and zero-initialised output matrices have the same purpose.
# </details>
#
# <details><summary>Q: Q-Former or resampler?</summary>
# Both are learned queries that cross-attend to frozen features. The Q-Former was trained with text beside it, by three losses, and ends in a prefix. The resampler learns from the language model's loss alone, through the gated layers, and its latents are read at every block. The Q-Former has self-attention and cross-attention; the resampler joins both in one.
# </details>
#
# <details><summary>Q: What would change if blocks stood after the layers?</summary>
# The first layer would read no picture, and the head would read a block's output directly. One public re-implementation does this. In the table above a block before the last layer was better than one before the first; for what must be compared between tokens, a block must stand before a layer that compares.
# </details>
#
# ## Limits
#
# Our language model has three layers, so there are three blocks, and no interval above three can be tried. Pictures have 4 x 4 patches, so maps are coarse. Clouds of points in the plane are far from ImageNet: they show that the mechanism works, not how well it scales. The training of section 9 has one seed, twelve things, and sentences of one form. Gates with ten times the learning rate and outputs of fitted size are ours. Both together shorten our training (section 9 prints by how much, of one seed).
#
# Three traps in public code. In one re-implementation the time embeddings belong to pictures, not to frames, so five pictures fail. In another, text before the first picture attended to all pictures evenly, by an additive mask. And where a text has more tags than pictures, the last rows of such a mask attend evenly to all pictures, too; our package raises an error.
#
# ## Reading
#
# - Jaegle et al. 2021, *Perceiver* ([2103.03206](https://arxiv.org/abs/2103.03206)): Sec. 3, Tables 1 and 2. *Perceiver IO* ([2107.14795](https://arxiv.org/abs/2107.14795)): Sec. 3, on output queries.
# - Alayrac et al. 2022, *Flamingo* ([2204.14198](https://arxiv.org/abs/2204.14198)): Sec. 2; Appendix A.1 with pseudo-code and Figures 4 to 7; Table 3 with the ablations; Tables 4, 5 and 10. Our code: `vlmcourse/papers/perceiver.py`, `vlmcourse/papers/flamingo.py`, `vlmcourse/parts/language.py`.
# - Awadalla et al. 2023, *OpenFlamingo* ([2308.01390](https://arxiv.org/abs/2308.01390)) and Laurençon et al. 2023, *OBELICS* with Idefics ([2306.16527](https://arxiv.org/abs/2306.16527)): two open re-implementations.
# - Bachlechner et al. 2020, *ReZero is All You Need* ([2003.04887](https://arxiv.org/abs/2003.04887)): a learned number that starts at 0 before each residual.
#
# ## Key ideas
#
# > - R latents read M inputs: the cost of each cross-attend grows with M times R. Self-attends of latents cost the same for any input.
# > - Output queries say what is asked. Each output depends on one query, its own, and on none of the others.
# > - A resampler makes pictures and videos of any size equal: R vectors.
# > - A gate at 0 makes the new model the old one. At the first step only the gates and the rows of the new words learn.
# > - φ counts tags. A word attends to one picture, and reaches the others through the words between.
# > - A frozen language model between trained blocks is not the language model any more.
#
# ## Glossary
#
# **cross-attend**, **latents**, **query-key pair**, **Fourier features**, **output query**, **resampler**, **time embedding**, **gate**, **gated block**, **image index** (φ, in public code "text time"), **media mask**, **image token**, **end of chunk**, **interleaved**, **occlusion**: each in one line in [docs/GLOSSARY.md](../docs/GLOSSARY.md).
#
# ## Next
#
# **Lesson 12** trains on Flamingo's mixture of data and asks what it is known for: learning a task from a few examples in the prompt.
