# %% [markdown]
# # 08 · BLIP: one transformer, three roles
#
# After this lesson you can:
#
# - turn one text transformer into an encoder, an image-grounded encoder and a decoder;
# - say which parameters these roles share, and prove it;
# - write BLIP's three losses: ITC with soft targets and a queue, ITM with hard negatives, LM with label smoothing;
# - test what a model distinguishes, with minimal pairs;
# - search with one head and re-rank with another.
#
# | | |
# |---|---|
# | Prerequisites | lesson 01 (masks), lesson 02 (contrastive loss), lesson 04 (post-norm blocks, hard negatives), lesson 05 (language model loss, decoding) |
# | Time | about 130 minutes to work through (two sittings); Run All takes about 55 seconds on two free cores |
# | Papers | *BLIP: Bootstrapping Language-Image Pre-training for Unified Vision-Language Understanding and Generation*, Li et al. 2022, [arXiv 2201.12086](https://arxiv.org/abs/2201.12086); its losses come from *ALBEF*, Li et al. 2021, [arXiv 2107.07651](https://arxiv.org/abs/2107.07651), its queue from *MoCo*, He et al. 2019, [arXiv 1911.05722](https://arxiv.org/abs/1911.05722) |
#
# Each model so far does a part of what one could want. CLIP (lesson 02) searches, but writes nothing. ViLBERT (lesson 04) reads picture and text together, but can't write either. Frozen (lesson 07) writes, but has no vector to search with. BLIP does all three with one text transformer. Its second half, cleaning captions from the web, is lesson 09.
#
# "The lecture" and its slides are Georgia Tech's CS 8803-VLM, which this course follows.
#
# Axes: **B** batch, **T** tokens of a text, **P** states of a picture (class token and patches), **D** width, **E** width of the joint space, **Q** length of the queue, **V** vocabulary, **N** pictures or pairs, **M** texts to search in.

# %% tags=["hide-input"]
from collections.abc import Callable

import torch
from IPython.display import Markdown
from torch import Tensor

from teaching import blip_diagrams as diagrams
from teaching import blip_figures as figures
from teaching import blip_lab, blip_model, built_models
from teaching import blip_tables as tables
from teaching.blip_reference import PARTS
from teaching.exercises import check, diagnose, quiz
from vlmcourse import plots, recipes, world
from vlmcourse.evaluation.published import published
from vlmcourse.plots import LiveCurve
from vlmcourse.recipes.blip import caption_report, generate_captions
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

scale = Scale.of()
smoke = scale.name == "smoke"  # the course's own tests run this notebook in seconds
_ = torch.manual_seed(0)

# %% [markdown]
# ## The whole first
#
# A trained BLIP ships with the course and loads in a second. `train_or_load(scale, retrain=True)` trains it again; that takes ten minutes to an hour, depending on your computer. It does three things with a picture:
#
# - it **writes** a caption;
# - it **compares** picture and text: the *cosine* of one vector of the picture and one of the text;
# - it **checks** a pair: a probability that the text *matches* the picture, from reading both together.

# %%
trained = recipes.get("blip").train_or_load(scale)
model = trained.model
plots.show(
    figures.at_work(model),
    "Figure 1. Three held-out pictures. Below each: the caption that the model writes, then "
    "cosine and probability of a match for a right caption and for one with another background. "
    "What to see: the three outputs, and how much they differ between right and wrong captions. "
    "The right caption's match is below 0.5 where there are two things. All three written captions "
    "are wrong, in things or in place; section 9 measures how often that happens.",
    credit=world.ATTRIBUTION,
)

# %% [markdown]
# Why is the match of a right caption with two things below 0.5? In training one pair in three is right, and the wrong caption is often the same with both things exchanged. This model can't tell these two apart (section 7), so it gives both about the same probability. If every wrong pair were of this kind, it would be 1/3; if half of them are, 1/2. A fixed threshold of 0.5 would call such a right caption wrong. The comparison still works: another background has a match near 0.

# %% [markdown]
# ## 1. Three roles
#
# The paper starts from what earlier models could not do:
#
# | kind of model | examples | lacks |
# |---|---|---|
# | encoders only | CLIP, ALBEF | doesn't write text |
# | encoder and decoder | VL-T5, SimVLM | no vectors, so no fast search |
#
# BLIP's answer is the **multimodal mixture of encoder and decoder** (MED). It is one text transformer that reads the same caption in three roles. Two things choose the role: the first token of the text, and the attention mask. A third thing follows from the role: whether the picture is read, by cross-attention.
#
# | role | first token | mask | reads the picture | trained by |
# |---|---|---|---|---|
# | text encoder | [CLS] | bidirectional | no | image-text contrastive loss (ITC) |
# | image-grounded text encoder | [ENC] | bidirectional | yes | image-text matching loss (ITM) |
# | image-grounded text decoder | [DEC] | causal | yes | language modelling loss (LM) |

# %%
plots.show(
    diagrams.three_roles(model, words=8),
    "Figure 2. BLIP as in its Figure 2, with the shapes of our model for captions of eight "
    "tokens. What to see: the picture is encoded once, the caption is read three times; "
    "the text encoder has no cross-attention; only self-attention and its LayerNorm (not "
    "drawn) have weights of their own in the decoder. From self-attention to feed-forward it is "
    f"one block, repeated {model.config.text_depth} times. The projections before ITC are not "
    "drawn.",
)
print(f"{sum(p.numel() for p in model.parameters()):,} parameters")

# %% [markdown]
# The paper's image encoder is a ViT-B/16 (or ViT-L/16) that starts from weights trained on ImageNet. Its text transformer starts from BERT-base: 12 blocks of width 768. It is trained on 14 million pictures with captions (COCO, Visual Genome and three web collections), or on 129 million with 115 million more from the web. Ours is much smaller. Its image encoder starts from lesson 02's CLIP, its text side from random weights.

# %% [markdown]
# ### Exercise 1 · Inputs of a role
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | first token and mask of each role | ●●○○○ | ●●●●● | 8 |
#
# Write `role_inputs`. It returns the text with its first token replaced, and the attention mask. No token may attend to padding. If `causal` is True, a token may attend only to itself and to earlier tokens.


# %%
def role_inputs(ids: Tensor, first_token: int, causal: bool, pad: int) -> tuple[Tensor, Tensor]:
    """ids (B, T), ids of the first token and of padding -> (B, T), and booleans (B, 1, T, T).

    The mask's rows are queries, its columns keys; True = may attend.
    """
    raise NotImplementedError("your code here")


role_inputs = check("blip.role_inputs", role_inputs)

# %% [markdown]
# <details><summary>Hint 1</summary>The mask has two conditions. One depends on the key alone: is it a real token? The other on query and key: is the key not later?</details>
# <details><summary>Hint 2</summary><code>torch.ones(T, T).tril().bool()</code> is causal. A condition of the keys, (B, T), becomes (B, 1, T, T) by two new axes and <code>expand</code>.</details>
# <details><summary>If you see "the caller's ids were changed"</summary>You wrote into <code>ids</code>. Clone it first, or build a new tensor with <code>torch.cat</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def role_inputs(ids, first_token, causal, pad):
#     B, T = ids.shape
#     first = torch.full((B, 1), first_token)
#     mask = (ids != pad)[:, None, None, :].expand(B, 1, T, T)
#     if causal:
#         mask = mask & torch.ones(T, T).tril().bool()
#     return torch.cat([first, ids[:, 1:]], dim=1), mask
# ```
# </details>

# %% [markdown]
# Your function on a caption with two tokens of padding:

# %%
c = model.config
short, names = figures.caption_with_padding(model)
masks = {}
for role, token, causal in (
    ("[CLS]", c.cls, False),
    ("[ENC]", c.enc, False),
    ("[DEC]", c.dec, True),
):
    new, mask = role_inputs(short, token, causal, c.pad)
    masks[f"{role}: first id {new[0, 0]}"] = mask[0, 0]
plots.show(
    plots.mask_gallery(masks),
    f"Figure 3. Masks of the three roles for {' '.join(names)}. Rows: queries; columns: keys; "
    "dark: may attend. What to see: the two columns of padding are closed in all three; "
    "[CLS] and [ENC] differ in the first token only, [DEC] also in the mask.",
)

# %%
quiz("blip.causal_encoder")

# %% [markdown]
# ### One block
#
# A block is BERT's, with one addition. As in lesson 04 it is **post-norm**: each LayerNorm stands after a sum. Between self-attention and the feed-forward network (FFN) stands **cross-attention**: its queries are the text's states $x$, its keys and values the picture's states $z$.
#
# $$x' = \mathrm{LN}(x + \mathrm{SelfAttn}(x)), \quad x'' = \mathrm{LN}(x' + \mathrm{CrossAttn}(x', z)), \quad x''' = \mathrm{LN}(x'' + \mathrm{FFN}(x''))$$
#
# The text encoder skips the middle step. Each of the three LN has its own weights.

# %% [markdown]
# ### Exercise 2 · A block that reads a picture, or doesn't
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | order of sublayers, residuals and norms | ●●○○○ | ●●●●○ | 7 |
#
# Write `med_block`. The block holds `attention`, `norm1`, `cross`, `norm_cross`, `feedforward` and `norm2`. `block.attention(x, mask=mask)` is self-attention; `block.cross(x, context=states)` is cross-attention.


# %%
def med_block(
    block: torch.nn.Module, x: Tensor, mask: Tensor, states: Tensor | None = None
) -> Tensor:
    """x (B, T, D), mask (B, 1, T, T), states of a picture (B, P, D) or None -> (B, T, D)."""
    raise NotImplementedError("your code here")


med_block = check("blip.med_block", med_block)

# %% [markdown]
# <details><summary>Hint 1</summary>Three lines of the form: norm of (x + sublayer of x). Each uses the x of the line before.</details>
# <details><summary>Hint 2</summary>The middle line stands in an <code>if states is not None:</code>.</details>
# <details><summary>If you see "Boolean value of Tensor with more than one value is ambiguous"</summary>You wrote <code>if states:</code>. Compare with None.</details>
# <details><summary>Solution</summary>
#
# ```python
# def med_block(block, x, mask, states=None):
#     x = block.norm1(x + block.attention(x, mask=mask))
#     if states is not None:
#         x = block.norm_cross(x + block.cross(x, context=states))
#     return block.norm2(x + block.feedforward(x))
# ```
# </details>

# %% [markdown]
# ## 2. What encoder and decoder share
#
# The encoder roles and the decoder could be two transformers. BLIP ties them: all layers are shared **except self-attention** and the LayerNorm after it. The paper's reason: an encoder's self-attention builds representations of the current tokens, a decoder's predicts the next ones. The lecture calls this a conflicting objective. Embeddings, cross-attention and FFN do a similar job in both.

# %%
quiz("blip.sharing")

# %% [markdown]
# ### Exercise 3 · Share it
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | tie two transformers so that they stay tied | ●●○○○ | ●●●●○ | 6 |
#
# Write `share`. It changes the decoder's blocks in place, as described above. The names of a block's modules are those of exercise 2.


# %%
def share(encoder: torch.nn.ModuleList, decoder: torch.nn.ModuleList) -> None:
    """Two lists of equally many blocks; returns nothing."""
    raise NotImplementedError("your code here")


share = check("blip.share", share)

# %% [markdown]
# <details><summary>Hint 1</summary><code>copy.deepcopy</code> and <code>load_state_dict</code> make equal values in separate tensors. What does an assignment make?</details>
# <details><summary>Hint 2</summary><code>setattr(target, name, getattr(source, name))</code>, for each pair of blocks and each name.</details>
# <details><summary>If you see "cannot assign ... as child module"</summary>You assigned a parameter or a list where a module was. Assign the module itself.</details>
# <details><summary>Solution</summary>
#
# ```python
# def share(encoder, decoder):
#     for target, source in zip(decoder, encoder):
#         for name in ("cross", "norm_cross", "feedforward", "norm2"):
#             setattr(target, name, getattr(source, name))
# ```
# </details>

# %% tags=["nbval-check-output"]
for name in ("attention", "norm1", "cross", "norm_cross", "feedforward", "norm2"):
    pair = [getattr(part.blocks[0], name) for part in (model.encoder, model.decoder)]
    print(f"{name:12}", "one object" if pair[0] is pair[1] else "two objects")

# %% [markdown]
# The paper compares four ways of sharing (its Table 3). SA is self-attention, CA cross-attention; *all except SA* is BLIP.

# %%
plots.show(
    figures.relative_sizes(figures.text_parameters(scale)),
    "Figure 4. Parameters by what encoder and decoder share, relative to sharing all: the "
    "paper's whole model (image encoder included) and the text side of ours. What to see: the "
    "order is the same; sharing nothing costs most.",
)

# %% [markdown]
# ## 3. ITC: the contrastive loss
#
# ITC compares one vector of the picture with one of the text, as CLIP does. BLIP takes three additions from ALBEF, because web captions are noisy and batches are small:
#
# - **momentum encoders**: copies of both encoders that follow slowly. Each weight of a copy is a moving average: $\theta' \leftarrow m\,\theta' + (1 - m)\,\theta$, with $m = 0.995$ in the authors' code;
# - a **queue** of the last $Q$ vectors that the momentum encoders gave for earlier batches (57,600 in the authors' code). They serve as further negatives;
# - **soft targets**: a part $\alpha$ of the target follows the momentum encoders' opinion. A caption that fits another picture of the batch isn't punished as if it were wrong.
#
# Let $v_i$ and $t_j$ be the unit vectors of picture $i$ and text $j$, $v'_i$ and $t'_j$ those of the momentum encoders, and $\tau$ the temperature. Texts $j$ run over the $B$ of this batch, then the $Q$ of the queue; this batch's own vectors enter the queue after the loss. For picture $i$:
#
# $$y_{ij} = (1 - \alpha)\, h_{ij} + \alpha\, \mathrm{softmax}_j\!\left(\frac{v_i'^{\top} t'_j}{\tau}\right), \qquad \ell_i = -\sum_j y_{ij} \ln \mathrm{softmax}_j\!\left(\frac{v_i^{\top} t'_j}{\tau}\right)$$
#
# Here $h_{ij}$ is the *hard* target: 1 for the picture's own caption. In our small world captions repeat. So captions of the batch that are equal share the 1, and captions in the queue have 0, as in the authors' code. Where many captions are equal this is an error: it keeps ITC near 1.0 in Figure 7, since equal captions in batch and queue can't be distinguished. In the authors' code $\tau$ starts at 0.07 and is learned, and $\alpha$ rises to 0.4 over the first epochs. Unlike CLIP's, the temperature is stored as it is and divides.

# %%
plots.show(
    diagrams.momentum_contrast(model, batch=32, queue=128),
    "Figure 5. ITC with momentum encoders and queue, for batches of 32 and a queue of 128. "
    "Blue ('frozen' in the legend): follows slowly, without a gradient. What to see: three kinds "
    "of similarities. The loss compares trained vectors with momentum vectors, of this batch and "
    "of the queue; the soft targets compare this batch's momentum vectors with all 160 momentum "
    "vectors; wrong pairs for ITM (section 4) are drawn by the trained vectors of the batch alone.",
)

# %% [markdown]
# ### Exercise 4 · Soft targets
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | mix hard targets with the momentum encoders' opinion | ●●●○○ | ●●●●○ | 10 |
#
# Write `itc_targets`. Its `similarities` are $v_i'^{\top} t'_j / \tau$: the batch's B texts stand first, in the pictures' order, then the queue's Q. Two captions of the batch are equal if their numbers in `groups` are.


# %%
def itc_targets(similarities: Tensor, groups: Tensor, alpha: float) -> Tensor:
    """similarities (B, B + Q), groups (B,) integers, alpha from 0 to 1 -> y (B, B + Q)."""
    raise NotImplementedError("your code here")


itc_targets = check("blip.itc_targets", itc_targets)

# %% [markdown]
# <details><summary>Hint 1</summary>Compare <code>groups</code> with itself, as a column and as a row: that gives (B, B). Each row should sum to 1.</details>
# <details><summary>Hint 2</summary>Start from <code>torch.zeros_like(similarities)</code> and fill its first B columns.</details>
# <details><summary>If you see "The expanded size of the tensor must match"</summary>The hard targets are (B, B), the result (B, B + Q): the queue's columns are missing.</details>
# <details><summary>Solution</summary>
#
# ```python
# def itc_targets(similarities, groups, alpha):
#     same = (groups[:, None] == groups[None, :]).float()
#     hard = torch.zeros_like(similarities)
#     hard[:, : len(groups)] = same / same.sum(1, keepdim=True)
#     return (1 - alpha) * hard + alpha * similarities.softmax(-1)
# ```
# </details>

# %%
quiz("blip.soft_targets")

# %% [markdown]
# ### Exercise 5 · The ITC loss
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | a contrastive loss with keys of its own | ●●○○○ | ●●●●● | 8 |
#
# Write `itc_loss`: the mean of $\ell_i$ over pictures, the same for texts, and the mean of both. `image_keys` and `text_keys` are the vectors to compare with: $v'$ and $t'$ of batch and queue. `targets` holds two tensors: of pictures over texts, and of texts over pictures.


# %%
def itc_loss(image, text, image_keys, text_keys, targets, temperature) -> Tensor:
    """image, text (B, E); image_keys, text_keys (B + Q, E); targets: two of (B, B + Q) -> scalar.

    All vectors have length 1; temperature is a number, or a tensor with one.
    """
    raise NotImplementedError("your code here")


itc_loss = check("blip.itc_loss", itc_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>Pictures meet <code>text_keys</code>, texts meet <code>image_keys</code>. Both give logits (B, B + Q).</details>
# <details><summary>Hint 2</summary><code>torch.nn.functional.cross_entropy(logits, targets)</code> also takes targets that are probabilities.</details>
# <details><summary>If you see "mat1 and mat2 shapes cannot be multiplied"</summary>Transpose the keys: <code>image @ text_keys.T</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def itc_loss(image, text, image_keys, text_keys, targets, temperature):
#     to_text = image @ text_keys.T / temperature
#     to_image = text @ image_keys.T / temperature
#     cross_entropy = torch.nn.functional.cross_entropy
#     image_loss = cross_entropy(to_text, targets[0])
#     text_loss = cross_entropy(to_image, targets[1])
#     return (image_loss + text_loss) / 2
# ```
# </details>

# %% [markdown]
# ### Exercise 6 · Momentum encoders
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | a moving average of weights, in place | ●●○○○ | ●●●○○ | 5 |
#
# Write `update_momentum` for lists of tensors. The copies must be changed in place, since the model keeps the tensors and not your list. No gradient may be recorded.


# %%
def update_momentum(copies: list[Tensor], weights: list[Tensor], momentum: float) -> None:
    """Lists of tensors of the same shapes; momentum from 0 to 1; returns nothing."""
    raise NotImplementedError("your code here")


update_momentum = check("blip.update_momentum", update_momentum)

# %% [markdown]
# <details><summary>Hint 1</summary><code>copy = ...</code> gives a new tensor to a local name, and <code>copies[i] = ...</code> to the list; the model's tensor stays as it is. In-place methods end with an underscore.</details>
# <details><summary>Hint 2</summary><code>copy.copy_(...)</code> or <code>copy.mul_(...).add_(...)</code>, inside <code>torch.no_grad()</code>.</details>
# <details><summary>If you see "a leaf Variable that requires grad is being used in an in-place operation"</summary>You changed a weight instead of its copy, or forgot <code>torch.no_grad()</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# @torch.no_grad()
# def update_momentum(copies, weights, momentum):
#     for copy, weight in zip(copies, weights):
#         copy.mul_(momentum).add_((1 - momentum) * weight)
# ```
# </details>

# %% [markdown]
# ### Exercise 7 · The queue
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | a ring of the last vectors | ●●○○○ | ●●●○○ | 6 |
#
# The queue is a tensor of fixed size. Row `start` is the oldest. Write `enqueue`. It overwrites the oldest rows with the new ones, goes on at row 0 when it reaches the end, and returns the next `start`.


# %%
def enqueue(queue: Tensor, start: int, new: Tensor) -> int:
    """queue (Q, E), changed in place; start from 0 to Q - 1; new (B, E), B <= Q -> next start."""
    raise NotImplementedError("your code here")


enqueue = check("blip.enqueue", enqueue)

# %% [markdown]
# <details><summary>Hint 1</summary>Compute the B row numbers first. The remainder operator <code>%</code> brings them back to the front.</details>
# <details><summary>Hint 2</summary><code>queue[rows] = ...</code> with a tensor of row numbers writes in place.</details>
# <details><summary>If you see "gradients would flow into the queue"</summary>New vectors may still belong to a graph: <code>new.detach()</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def enqueue(queue, start, new):
#     rows = (start + torch.arange(len(new))) % len(queue)
#     queue[rows] = new.detach()
#     return (start + len(new)) % len(queue)
# ```
# </details>

# %% [markdown]
# ## 4. ITM: does this text belong to this picture?
#
# The image-grounded encoder reads text and picture together. The state of [ENC] goes through a linear layer to two logits: 0 is "no match", 1 is "match". Each pair of the batch gives three cases: the right pair, the picture with a wrong text, and the text with a wrong picture.

# %%
quiz("blip.blind_match")

# %% [markdown]
# Wrong pairs drawn at random soon become easy: other things are in the picture. So they are drawn by similarity, from the ITC logits of the batch. Such pairs are called **hard negatives**. With $s_{ij} = v_i^{\top} t_j / \tau$, text $j$ is drawn for picture $i$ with a probability in proportion to
#
# $$w_{ij} = \mathrm{softmax}_j(s_{ij}) + 10^{-4}, \qquad \text{but } w_{ij} = 0 \text{ where text } j \text{ is right for picture } i.$$
#
# The softmax is over all texts of the batch, the right ones included. The authors' code takes $v_i^{\top} t'_j$, with the momentum vectors of the batch; ours also works without momentum encoders. The constant $10^{-4}$ comes from their code. Without it nothing is left to draw where the softmax is 1 at the right text.

# %% [markdown]
# ### Exercise 8 · Hard negatives
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | turn similarities into weights for drawing | ●●●○○ | ●●●●● | 9 |
#
# Write `negative_weights`. Text $j$ is right for picture $i$ if `groups[i] == groups[j]`.


# %%
def negative_weights(similarities: Tensor, groups: Tensor) -> Tensor:
    """similarities (B, B): rows are pictures, columns texts; groups (B,) integers -> w (B, B)."""
    raise NotImplementedError("your code here")


negative_weights = check("blip.negative_weights", negative_weights)

# %% [markdown]
# <details><summary>Hint 1</summary>Three steps, in this order: softmax over texts, add 1e-4, set right texts to 0.</details>
# <details><summary>Hint 2</summary><code>masked_fill(condition, 0)</code> with the condition that you built in exercise 4.</details>
# <details><summary>If you see "invalid multinomial distribution (sum of probabilities &lt;= 0)"</summary>A row of weights is all zero: the softmax gave everything to the right pair.</details>
# <details><summary>Solution</summary>
#
# ```python
# def negative_weights(similarities, groups):
#     right = groups[:, None] == groups[None, :]
#     return (similarities.softmax(-1) + 1e-4).masked_fill(right, 0)
# ```
# </details>

# %%
quiz("blip.equal_captions")

# %% [markdown]
# Our training pairs come in **minimal pairs**: a scene, then the same scene with two things exchanged or with another background. Not each caption mentions the change: in 56 of the first 200 pairs both captions are equal. The next figure draws wrong texts 400 times for each of six such pictures, with the weights for drawing of exercise 8 and the shipped model's similarities.

# %%
pairs = recipes.blip.minimal_pairs_data(scale)
chosen = [0, 1, 2, 3, 6, 7]  # equal captions, another background, two things exchanged
six = pairs.batch(chosen)
with torch.no_grad():
    cosines = model.encode_image(six["pixel_values"]) @ model.encode_text(six["ids"]).T
groups = torch.unique(six["ids"], dim=0, return_inverse=True)[1]
drawn = figures.shares_drawn(negative_weights(cosines / model.temperature, groups))
plots.show(
    plots.image_text_table(pairs.images(chosen), six["text"], drawn, "share"),
    "Figure 6. Share of 400 draws in which each caption (column) is the wrong text of each "
    "picture (row), as in your function's result; bold: the picture's own caption. What to see: "
    "right captions are never drawn, nor equal ones (the sailboats). Where two things are "
    "exchanged, the other caption is nearly always drawn; elsewhere the draws are spread over "
    "several captions.",
    credit=world.ATTRIBUTION,
)

# %% [markdown]
# Why is a draw sometimes nearly even? If ITC is certain of the right caption, the softmax leaves almost nothing for all others. Then the constant $10^{-4}$ decides, and it is the same for all.

# %% [markdown]
# ### Exercise 9 · The ITM loss
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | one right pair, two kinds of wrong ones | ●●●○○ | ●●●●● | 9 |
#
# Write `itm_loss`: the mean cross-entropy over all 3 B pairs. `itm_logits(ids, states)` reads n texts and the states of n pictures and gives logits (n, 2). `texts[i]` is the number of a wrong text for picture i, `images[i]` that of a wrong picture for text i.


# %%
def itm_loss(
    itm_logits: Callable, ids: Tensor, states: Tensor, texts: Tensor, images: Tensor
) -> Tensor:
    """ids (B, T), states (B, P, D), texts and images (B,) integers -> scalar."""
    raise NotImplementedError("your code here")


itm_loss = check("blip.itm_loss", itm_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>Build three groups of pairs, (ids, states), and join them with <code>torch.cat</code>. One call of <code>itm_logits</code> suffices.</details>
# <details><summary>Hint 2</summary><code>ids[texts]</code> are the wrong texts, in the pictures' order. They meet <code>states</code>, unchanged.</details>
# <details><summary>If you see "expected scalar type Long"</summary>Labels of classes are integers: <code>torch.tensor([1] * B + [0] * 2 * B)</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def itm_loss(itm_logits, ids, states, texts, images):
#     B = len(ids)
#     all_ids = torch.cat([ids, ids[texts], ids])
#     all_states = torch.cat([states, states, states[images]])
#     labels = torch.tensor([1] * B + [0] * 2 * B)
#     logits = itm_logits(all_ids, all_states)
#     return torch.nn.functional.cross_entropy(logits, labels)
# ```
# </details>

# %% [markdown]
# ## 5. LM: the language modelling loss
#
# The decoder predicts each token of the caption from the picture and the earlier tokens. Lesson 05's loss gets one addition, **label smoothing** with $s = 0.1$. The target keeps $1 - s$ of its probability; the rest $s$ is spread evenly over all $V$ words, the right one included. With $p_v$ for the predicted probability of word $v$, and $y$ for the right word:
#
# $$\ell = -(1 - s) \ln p_y - \frac{s}{V} \sum_{v=1}^{V} \ln p_v$$
#
# Even the best model doesn't reach 0. Its smallest loss is the entropy of the smoothed target:

# %%
right = 1 - c.label_smoothing * (1 - 1 / c.vocabulary)  # the right word's share of the target
rest = torch.full((c.vocabulary - 1,), c.label_smoothing / c.vocabulary)
target = torch.cat([torch.tensor([right]), rest])
lowest = -(target * target.log()).sum()
print(f"V = {c.vocabulary}: no model has an LM loss below {lowest:.2f}")

# %% [markdown]
# ### Exercise 10 · The LM loss
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | next-token loss with label smoothing | ●●●○○ | ●●●●● | 10 |
#
# Write `lm_loss`. The logits at position $t$ predict token $t + 1$. `loss_mask` is True at the tokens that must be predicted: it is False at the first token, in a prompt and at padding. Take the mean over these tokens.


# %%
def lm_loss(logits: Tensor, ids: Tensor, loss_mask: Tensor, smoothing: float) -> Tensor:
    """logits (B, T, V), ids (B, T), booleans loss_mask (B, T), smoothing from 0 to 1 -> scalar."""
    raise NotImplementedError("your code here")


lm_loss = check("blip.lm_loss", lm_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>Cut the last position from the logits, and the first from ids and mask. Then select with the mask.</details>
# <details><summary>Hint 2</summary><code>log_p.gather(-1, targets[:, None])</code> picks one number of each row. The sum over words divided by V is a mean.</details>
# <details><summary>If you see "Index tensor must have the same number of dimensions"</summary>Give the targets an axis: <code>targets[:, None]</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def lm_loss(logits, ids, loss_mask, smoothing):
#     counted = loss_mask[:, 1:]
#     log_p = logits[:, :-1][counted].log_softmax(-1)
#     targets = ids[:, 1:][counted]
#     nll = -log_p.gather(-1, targets[:, None])[:, 0]
#     return ((1 - smoothing) * nll - smoothing * log_p.mean(-1)).mean()
# ```
# </details>

# %% [markdown]
# ## 6. Train it
#
# BLIP's loss is the sum of the three, with equal weights. Each step encodes the pictures once and runs three text passes. The momentum encoders add one pass of each encoder.
#
# Now your ten functions become a model: `blip_model.build` makes a BLIP whose roles, blocks, sharing, losses, momentum encoders and queue call them. It has two text blocks and learns a small world: pictures of one of twelve things. Its momentum is 0.9, because it takes few steps. The next cell takes 20 to 60 seconds on a free computer, and minutes on a busy one. Its curve is the sum of the losses.

# %%
parts = {
    function.__name__: function
    for function in (
        *(role_inputs, med_block, share, itc_targets, itc_loss),
        *(update_momentum, enqueue, negative_weights, itm_loss, lm_loss),
    )
}
vision = recipes.get("clip").train_or_load(scale).model.vision
small = blip_model.small_world(scale, "train", 64 if smoke else 512)
yours = blip_model.build(blip_model.small_config(scale), parts, vision)
history = blip_model.train(yours, small, 4 if smoke else 160, LiveCurve())

# %%
plots.show(
    figures.losses(history),
    "Figure 7. Your BLIP: the three losses over training steps; each point is the mean of "
    f"{figures.steps_per_point(history)} steps. Level line: ITM that ignores its inputs. "
    "What to see: LM falls from the first step on, ITM only after some steps. LM can't reach 0, "
    "since its targets are smoothed. ITC can't either: equal captions in batch and queue can't be "
    "distinguished, and ln of their number is about 1.0. It rises at the end, when their vectors "
    "become alike.",
)

# %%
held_out = blip_model.small_world(scale, "test", 12)
pixel_values = held_out.whole["pixel_values"][::2]
yours.eval()
written = generate_captions(yours, pixel_values)
scenes = held_out.data.scenes(range(0, 12, 2))
ways = {
    "a true caption": [held_out.data.true_caption(index) for index in range(0, 12, 2)],
    "your BLIP writes: a picture of ...": written,
}
Markdown(figures.caption_table(ways, scenes))

# %% [markdown]
# A tick means that everything stated is so. The shipped model had more steps, larger batches, all nouns, and pictures of one or two things. It was trained without momentum encoders: in this world few captions are wrong, and batches hold enough negatives. Its weights fit your functions. The next cell puts them in and compares all three losses with the package's. It also counts how many of the ten functions are yours by now.

# %% tags=["nbval-check-output"]
twelve = pairs.batch(range(12))
yours = blip_model.with_weights_of(model, parts)
differences = built_models.loss_differences(model, yours, twelve)
print(f"functions that are yours: {built_models.count_own(parts, PARTS)} of {len(parts)}")
print("the same losses as the package's:", all(gap < 1e-3 for gap in differences.values()))

# %%
plots.show(
    figures.losses(trained.history),
    "Figure 8. The shipped model: its three losses over all training steps; each point is the "
    f"mean of {figures.steps_per_point(trained.history)} steps. Level line: ITM that ignores its "
    "inputs. What to see: ITM has the hardest pairs there are, minimal pairs, and stays well "
    "above 0.",
)

# %% [markdown]
# ## 7. What does each head distinguish?
#
# ITM reads both inputs together, word by patch. ITC compares two vectors that were made separately. The paper says that ITM captures *fine-grained* alignment. Minimal pairs test it. Two pictures and two captions differ in one point, so there are four combinations and two of them are right.
#
# Winoground (Thrush et al. 2022, [arXiv 2204.03162](https://arxiv.org/abs/2204.03162)) gives three scores to such a test. **Text score**: for both pictures the right caption has a higher score than the wrong one. **Image score**: for both captions the right picture has a higher score than the wrong one. **Group score**: both are the case.

# %% [markdown]
# ### Exercise 11 · Scores of minimal pairs
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | evaluate with pairs that differ in one point | ●●○○○ | ●●●●○ | 8 |
#
# Write `pair_scores`. `scores[n, i, j]` says how well picture i of pair n fits caption j. The right combinations are i = j. Equal scores count as wrong.


# %%
def pair_scores(scores: Tensor) -> tuple[float, float, float]:
    """scores (N, 2, 2): pairs, pictures, captions -> shares of pairs: text, image, group score."""
    raise NotImplementedError("your code here")


pair_scores = check("blip.pair_scores", pair_scores)

# %% [markdown]
# <details><summary>Hint 1</summary>The text score has two comparisons for each pair: one in row 0, one in row 1. Both must hold.</details>
# <details><summary>Hint 2</summary>Combine booleans of shape (N,) with <code>&amp;</code>; their share is <code>.float().mean().item()</code>.</details>
# <details><summary>If you see "Boolean value of Tensor with more than one value is ambiguous"</summary>Use <code>&amp;</code> in place of <code>and</code>, with parentheses round each comparison.</details>
# <details><summary>Solution</summary>
#
# ```python
# def pair_scores(scores):
#     right_0, right_1 = scores[:, 0, 0], scores[:, 1, 1]
#     picture_0_caption_1, picture_1_caption_0 = scores[:, 0, 1], scores[:, 1, 0]
#     text = (right_0 > picture_0_caption_1) & (right_1 > picture_1_caption_0)
#     image = (right_0 > picture_1_caption_0) & (right_1 > picture_0_caption_1)
#     found = (text, image, text & image)
#     return tuple(each.float().mean().item() for each in found)
# ```
# </details>

# %%
quiz("blip.group_chance")

# %%
count = 32 if smoke else 200
plots.show(
    figures.pair_bars(model, pair_scores, count),
    f"Figure 9. The shipped model on {count} held-out minimal pairs of each kind, by both heads; "
    "the last group is guessing. What to see: both heads notice another background; "
    "for exchanged things both are below guessing.",
)

# %% [markdown]
# Below guessing is no contradiction. A head that doesn't notice positions gives nearly the same score to both captions of a picture. A small preference remains, and it is often the same for both pictures: in about three pairs of four, by either head, one of the two captions wins for both. So it is right once and wrong once, and the pair doesn't count. Likewise in more than nine pairs of ten one of the pictures wins for both captions, which lowers the image score further. Guessing anew for each picture would sometimes be right twice.
#
# So neither head tells where things stand, although ITM's wrong pairs often asked for it in training. "A cat left of a dog" and "a dog left of a cat" use the same words, and a head that only finds words in the picture can't decide. Three things would have to be learnt at once: where the cat is, where the dog is, and what "left" compares. Lesson 04 ended with the same failure.
#
# Is the model too small, or is this a limit of the loss? A study with the same model and a smaller world tests that (`python -m benchmarks.replicate_blip --only "minimal pairs"`). Its world has every tenth noun and always two things. Each batch consists of minimal pairs whose things are exchanged, and the wrong picture of each text is always the other half of its pair. The learning rate is a third of the shipped model's, and there are 2,400 steps. The models are trained once with ITC and once without.
#
# Figure 10 has another measure than Figure 9. Each picture counts by itself: is its right caption preferred to the one with exchanged things? Guessing gives 0.5. In Figure 9 both pictures of a pair had to be right (guessing: 0.25). A head that prefers the same caption for both has 0.5 here, and 0 there.

# %%
plots.show(
    figures.minimal_pair_study(),
    "Figure 10. Right caption preferred to the one with exchanged things: models trained as the "
    "shipped one, in the whole world, and on minimal pairs only, in the small one; "
    f"{len({run['seed'] for run in figures.minimal_pair_runs()})} seeds; bars are means, whiskers "
    "one standard deviation, dots the seeds. What to see: trained on minimal pairs only, ITM "
    "learns where things are, with ITC beside it and without; ITC learns it, too, where it is "
    "trained. In the first group both guess. ITC in the third group, where it isn't trained, is "
    "near guessing in two seeds and at 0.64 in one.",
)

# %% [markdown]
# So in the small world neither the model's size nor the loss is the limit; for the whole world this study doesn't say. Several things changed at once in that study, and we didn't measure which of them was needed.
#
# ITC's bar in the second group is a surprise if one expects a law: "two separate vectors can't represent who is where". They can. In batches of web pairs little requires it. Ours do, since many of their minimal pairs have two things exchanged; in the whole world that wasn't enough for either head. In a batch of such pairs only, ITC must learn it as well. Yuksekgonul et al. 2022 ([arXiv 2210.01936](https://arxiv.org/abs/2210.01936)) found the same for CLIP.
#
# ## 8. Search, then re-rank
#
# Cosines are fast: each picture and each text is encoded once. ITM is slow: each pair of picture and text takes a pass. So BLIP searches in two steps. ITC selects the k most similar candidates; ITM then decides their order. The score of a candidate is the match's log-odds (logit of "match" minus logit of "no match") plus the cosine. The authors' code takes the logit of "match" alone and adds the similarity, too.

# %% [markdown]
# ### Exercise 12 · Re-ranking
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | a fast search, a slow decision | ●●●○○ | ●●●●○ | 9 |
#
# Write `rerank`. `match_scores(rows, columns)` takes two tensors (n,) of numbers of queries and candidates and returns their n log-odds. Call it with as few pairs as possible.


# %%
def rerank(similarity: Tensor, match_scores: Callable, k: int) -> Tensor:
    """similarity (N, M), queries by candidates -> (N, k): numbers of candidates, best first."""
    raise NotImplementedError("your code here")


rerank = check("blip.rerank", rerank)

# %% [markdown]
# <details><summary>Hint 1</summary><code>similarity.topk(k, dim=1)</code> returns the k largest values of each row and their columns.</details>
# <details><summary>Hint 2</summary>Sort the sums with <code>argsort(descending=True)</code>. That gives places among the k; <code>columns.gather(1, order)</code> turns them into numbers of candidates.</details>
# <details><summary>If you see "shape '[3, 4]' is invalid for input of size"</summary>Rows and columns must be flat and equally long: expand the row numbers to (N, k) before you flatten them.</details>
# <details><summary>Solution</summary>
#
# ```python
# def rerank(similarity, match_scores, k):
#     best, columns = similarity.topk(k, dim=1)
#     rows = torch.arange(len(similarity))[:, None].expand(-1, k)
#     scores = match_scores(rows.flatten(), columns.flatten())
#     order = (scores.reshape(-1, k) + best).argsort(dim=1, descending=True)
#     return columns.gather(1, order)
# ```
# </details>

# %%
quiz("blip.passes")

# %%
gallery = 24 if smoke else 256
plots.show(
    figures.rerank_curves(model, scale, rerank, gallery),
    f"Figure 11. First places that are right among {gallery} held-out pairs, over the number of "
    "candidates; mean of both directions, in two galleries. R@1 counts the picture's own caption "
    "only; 'any true caption' also counts others that are true of the picture. Dashed: guessing. "
    "What to see: re-ranking changes little beside the order of the cosines (the first point). "
    "Among ordinary pictures nearly all misses of R@1 are other true captions.",
)

# %% [markdown]
# Captions here say more or less of a picture: "a cat" is true of every picture with a cat. R@1 calls it a miss if it was written for another of these pictures. Counted by truth, ITC's first places among ordinary pictures are right already, so nothing is left to gain. In a gallery of minimal pairs the closest rival of a picture is often the one with exchanged things. No head of this model separates those, so re-ranking can't help much there either. Among ordinary pictures re-ranking even lowers both measures a little here. In models that were trained for fewer steps it raised R@1 (from 0.872 to 0.897, our controls below); how many of their misses were true captions wasn't counted. The paper's galleries are COCO and Flickr30K, where captions differ in many words.
#
# The lecture's table of retrieval results, after fine-tuning with ITC and ITM:

# %%
Markdown(published("blip-table-5").markdown())

# %% [markdown]
# BLIP with 14 million pictures has a higher R@1 than ALBEF with as many, and than ALIGN with 1.8 billion. On COCO its R@5 and R@10 are higher, too; on Flickr30K they are near 100 and differ from ALBEF's by 0.1 at most. More pictures and a larger image encoder (ViT-L) add a little. *CapFilt-L* is lesson 09's subject.
#
# ## 9. Captions
#
# The decoder writes after the prompt "a picture of", as in the paper. Greedy decoding and beam search of the same pictures; a tick means that everything stated is so:

# %%
data = world.Pairs("test", scale.image_size, things=recipes.blip.THINGS)
pixel_values, scenes = world.to_pixels(data.images(range(6))), data.scenes(range(6))
ways = {
    "a true caption": [data.true_caption(index) for index in range(6)],
    "greedy": generate_captions(model, pixel_values),
    "beam search, 3 beams": generate_captions(model, pixel_values, beams=3),
}
Markdown(figures.caption_table(ways, scenes))

# %%
report = caption_report(model, count)
plots.show(
    figures.caption_bars(report),
    f"Figure 12. CIDEr-D of {count} greedy captions against five references each: with the "
    "picture, with a blank one, and with another's. What to see: captions depend on the "
    "picture. How many of them are true is another question: the table below.",
)

# %%
Markdown(figures.truth_table(model, count))

# %% [markdown]
# CIDEr-D counts words and word sequences that a caption shares with the references, so a caption with one wrong word still scores. The table splits the same captions by the number of things. Nearly all captions of one thing are true. Of two things about half of the captions name both rightly, and most of these are still false: the words of place are guesses (section 7). Lesson 09 compares ways of decoding, and what wrong captions do to training.
#
# ## Failure lab
#
# Four small trainings without momentum encoders: one healthy, three with one fault each. All four are tested on new pictures with the correct code; the faults are in training alone.
#
# - **causal encoder**: the encoders get the causal mask, too;
# - **blind match**: ITM gets zeros in place of the picture's states;
# - **leak**: the decoder gets the bidirectional mask.

# %%
runs = blip_lab.runs(scale)
plots.show(
    blip_lab.show(runs, blip_lab.LOSSES, "loss, last steps (nats)"),
    "Figure 13. Training losses at the end of four runs. What to see: in two runs a loss stays "
    "at the level of guessing (dashed; ITC: ln 32 = 3.47, ITM: 0.637). The third faulty run looks "
    "like the healthy one.",
)
plots.show(
    blip_lab.show(runs, blip_lab.SCORES, "share that is right"),
    "Figure 14. The same runs, one of each, on 128 new pictures: right caption preferred to one "
    "with another background (guessing: 0.5; 90 captions), by ITC and by ITM, and captions with "
    "exactly the right noun (guessing: 1 in 12). Dashed: guessing. What to see: the healthy run is "
    "best, or shares the first place, in each; a low loss in training doesn't promise it.",
)

# %% [markdown]
# Your diagnosis, in place of each `None`:

# %%
diagnose("blip.training", {"A": None, "B": None, "C": None})

# %% [markdown]
# <details><summary>Hint</summary>Which losses are computed from the first token's state? Which run has lost one input of ITM only? Which run learns well and writes badly?</details>
# <details><summary>Solution</summary>
#
# A: leak. All three losses are as low as the healthy run's, but its captions are often wrong. In training each word could attend to the word that it had to predict, so the decoder copied it and needed the picture less. When the model writes, that word isn't there. In code: `role_inputs(..., causal=False)` for the decoder.
#
# B: causal encoder. [CLS] and [ENC] stand first and attend to themselves only. All captions get the same vector and ITC stays at the loss of guessing. ITM can't compare a text that it hasn't read. Tested with the right mask it is a little above guessing (0.644 in Figure 14); we don't know why. The decoder is causal anyway, so its training loss is a little lower than the healthy run's (0.997 against 1.04 in one run each; C's is, too). Still, on new pictures it names the right thing less often (Figure 14). It shares cross-attention, feed-forward network and image encoder with two roles that learn nothing here; this one run doesn't say which of these matters.
#
# C: blind match. ITM stays at 0.637, the loss of a head that knows only the share of right pairs. ITC and LM are healthy, in training and on new pictures.
# </details>

# %% [markdown]
# ## The paper beside ours
#
# The paper's Table 3, on what encoder and decoder share (TR: image-to-text retrieval, IR: text-to-image retrieval; B@4: BLEU-4; models pre-trained on 14 million pictures):

# %%
Markdown(published("blip-table-3").markdown())

# %% [markdown]
# The claims of that table beside our replication: 600 steps, three seeds, another world, and a model more than a hundred times smaller, so only directions can be compared. The verdict is computed by one rule. *Agrees*: the first is higher in every seed, and the mean gap exceeds two pooled standard deviations (pooled: the root of the mean of the two variances). *Disagrees*: the same with the signs exchanged. Otherwise *within noise*.

# %%
Markdown(tables.sharing_comparison())

# %% [markdown]
# Reason for the verdicts: the paper's own gaps are small, about one point between *all* and *all except SA*, and less between *none* and *all except SA*. With three seeds our runs differ by as much from seed to seed. So neither the gain nor its absence is shown here. What is certain is the saving in parameters (Figure 4). Table 5 compares amounts of data and sizes of the image encoder; we did not repeat that.
#
# Our own controls, which the paper doesn't claim. The first two test re-ranking, in the two kinds of gallery of Figure 11. The second row's numbers come from models of lesson 09.

# %%
Markdown(tables.controls())

# %% [markdown]
# The fourth row says "agrees" because of one picture: in each of the three runs ITC misses one of 256, and ITM none. Equal misses have no spread, so the rule sees a gap. Another set of pictures could give "within noise". The last row compares the whole training of the study with the shipped model's kind, at 600 steps; which of the changes was needed wasn't measured.
#
# ## Discussion
#
# **Strengths.** One model searches, checks and writes. Sharing keeps it small. ITM corrects the fast search where it has learnt more than ITC.
#
# **Weaknesses.** Each step needs three text passes, and the image encoder is trained as well: pre-training is expensive. ITM needs a pass for each pair. Training everything end to end can make the pre-trained encoders forget what they knew; BLIP-2 (lesson 10) keeps them frozen.
#
# <details><summary>Q: The lecture says that sharing self-attention would hurt "due to conflicting objectives". What is the conflict?</summary>
# An encoder's position should collect everything about its token from both sides. A decoder's position should collect from the left what predicts the next token. With shared weights the same queries and keys must serve both. The mask alone doesn't resolve that, since it closes positions but doesn't change what a query asks for. Our runs neither show nor refute the effect.
# </details>
#
# <details><summary>Q: Why is cross-attention shared, if self-attention isn't?</summary>
# In both roles a word's state asks the picture for what is relevant to it. Table 3 agrees: giving the decoder its own cross-attention has nearly the same scores as sharing all, and its own self-attention is better.
# </details>
#
# <details><summary>Q: Why ITM, if there is ITC?</summary>
# ITC must compress a picture into one vector before it knows the text. ITM reads the picture with the text at hand. Whether this makes a difference depends on training: in Figure 9 both heads fail at positions, and trained on minimal pairs only (Figure 10) both learn them. In practice ITM gets hard negatives in every step, and ITC gets what the batch offers.
# </details>
#
# <details><summary>Q: Which of the three roles can be dropped for search, for captioning, and for a filter of captions?</summary>
# Search needs ITC's encoder and, for re-ranking, [ENC]. Captioning needs the decoder alone. A filter needs [ENC], as in lesson 09. Trained together they share layers, so each role also gets the others' gradients.
# </details>
#
# <details><summary>Q: A web caption says "my holiday". Which of the three losses does it harm?</summary>
# All. ITC and ITM are told that it matches, and LM learns to write it. Soft targets weaken ITC's error only. This is why the paper cleans its captions, which is lesson 09.
# </details>
#
# <details><summary>Q: With momentum 0.995, how old are the weights of the momentum encoder?</summary>
# A weight from n steps ago has the share 0.005 x 0.995^n. The mean age is about 200 steps. The queue adds to it: 57,600 vectors (the authors' code) are 20 batches of 2,880 (the paper).
# </details>
#
# ## Limits
#
# Our captions follow a few patterns, and few of them are wrong, so the additions for noisy data can't show their use here. The image encoder starts from a CLIP that has seen this world. The shipped model has no momentum encoders. Three seeds give a coarse estimate of spread. Positions are learnt only in the small study. Galleries have 256 pairs; the paper's, on COCO, has 5,000 pictures.
#
# ## Reading
#
# - Li et al. 2022, *BLIP* ([2201.12086](https://arxiv.org/abs/2201.12086)): Sec. 3.1 and 3.2, Figure 2, Table 3; Sec. 5.1 and Table 5. Our code: `vlmcourse/papers/blip.py`.
# - Li et al. 2021, *ALBEF* ([2107.07651](https://arxiv.org/abs/2107.07651)): Sec. 3.2 and 3.3 on ITC, hard negatives and soft targets.
# - He et al. 2019, *MoCo* ([1911.05722](https://arxiv.org/abs/1911.05722)): momentum encoder and queue.
# - Thrush et al. 2022, *Winoground* ([2204.03162](https://arxiv.org/abs/2204.03162)), and Yuksekgonul et al. 2022 ([2210.01936](https://arxiv.org/abs/2210.01936)): minimal pairs for real models.
#
# ## Key ideas
#
# > - One text transformer plays three roles. The first token and the mask choose the role.
# > - Encoder and decoder hold the same modules, except self-attention and its LayerNorm.
# > - ITC compares vectors, ITM checks a pair, LM writes; their losses are added.
# > - Hard negatives come from ITC's similarities. Right texts must never be drawn.
# > - A momentum encoder and a queue give more negatives and softer targets.
# > - ITC finds candidates, ITM orders them. Whether that helps depends on what ITM has learnt.
#
# ## Glossary
#
# **Multimodal mixture of encoder and decoder (MED)**, **ITC**, **ITM**, **LM loss**, **hard negative**, **momentum encoder**, **queue**, **soft targets**, **label smoothing**, **minimal pair**, **text, image and group score**, **re-ranking**, **CIDEr-D**: each in one line in [docs/GLOSSARY.md](../docs/GLOSSARY.md).
#
# ## Next
#
# **Lesson 09** lets BLIP clean its own training data (CapFilt), and uses it for captioning, questions, statements about two pictures, dialogues and films. **Lesson 10** (BLIP-2) puts a small transformer between a frozen image encoder and a frozen language model.
