# %% [markdown]
# # Assignment 2 · CLIP
#
# **After this you can** write CLIP's loss and keep its temperature in bounds, read a text at the right place, classify without labels, score retrieval so that no trick passes, train with repeated captions, and tell from four numbers what is wrong with a run.
#
# | | |
# |---|---|
# | You need | lesson 02; softmax, cross-entropy, what a gradient is |
# | Time | about two and a half hours: eight tasks of 10 to 25 minutes, one question in words. Tasks don't build on each other, except where they say so |
# | Points | 30: the tests give 26, one question is read by a human |
# | Machine | any laptop; each cell runs in seconds |
#
# **How it works.** Each task has a card, an unfinished function, and a `check` that answers at once and names the likely mistake. Replace the two lines below `# YOUR CODE HERE`. Don't rename functions or delete cells; add as many as you like. Hints are folded: the first nudges, the second nearly tells.
#
# When you hand in, the same things are tested on fresh random inputs, and each line of a check counts by itself. Plain PyTorch, please: nothing from `vlmcourse.parts`, `vlmcourse.papers` or `vlmcourse.evaluation` (a human looks).
#
# Axes: **B** batch, **T** text tokens, **N** images, **M** captions, **C** classes, **D**, **E** widths.

# %% role="given" id="a2-setup"
import math

import torch
from torch.nn.functional import cross_entropy, normalize

from vlmcourse.assignments import check, look
from vlmcourse.assignments.runs import clip_run
from vlmcourse import plots

_ = torch.manual_seed(0)

# %% [markdown]
# ## Task 1 · The symmetric loss (4 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | the loss of Figure 3 in the paper | ●●○○○ | ●●●●● | 20 |
#
# Row i of `image` belongs to row i of `text`; the vectors have any length. CLIP compares *directions*, multiplies the cosines by `exp(log_scale)`, and asks two questions of a batch: which text belongs to each image, and which image to each text? The loss is the mean of both cross-entropies. `log_scale` is learnt, so it needs its gradient.


# %% role="answer" id="a2-loss"
def clip_loss(image, text, log_scale):
    """image (B, D), text (B, D), log_scale: a tensor of one number -> a tensor of one number."""
    ### BEGIN SOLUTION
    logits = log_scale.exp() * normalize(image, dim=-1) @ normalize(text, dim=-1).T  # (images, texts)
    labels = torch.arange(len(image))
    return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
    ### END SOLUTION


# %% role="test" id="a2-loss-test" points=4
check("a2-loss-test", clip_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>The table of all cosines is one matrix product of unit vectors. The right answer of row i is i. What are the columns of the table, if not the rows of its transpose?</details>
# <details><summary>Hint 2</summary><code>cross_entropy(logits, torch.arange(B))</code> for the rows, the same with <code>logits.T</code> for the columns, half their sum.</details>
# <details><summary>If you see "expected a tensor" or a scale without gradient</summary><code>math.exp</code>, <code>float()</code> and <code>.item()</code> cut a number out of the graph. <code>log_scale.exp()</code> keeps it in.</details>

# %% [markdown]
# ## Task 2 · The temperature stays in bounds (2 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | bound a parameter without killing it | ●●○○○ | ●●●●○ | 10 |
#
# The scale, exp(`log_scale`), may not exceed 100 (the paper, Sec. 2.5) nor fall below 1. `after_step(log_scale)` is called after each step of the optimiser with the `nn.Parameter` and changes it in place. (Clamped in the forward pass instead, the parameter would get no gradient beyond its bound and never come back.)


# %% role="answer" id="a2-scale"
def after_step(log_scale):
    """log_scale: nn.Parameter of one number, changed in place; returns nothing."""
    ### BEGIN SOLUTION
    with torch.no_grad():
        log_scale.clamp_(0, math.log(100))
    ### END SOLUTION


# %% role="test" id="a2-scale-test" points=2
check("a2-scale-test", after_step)

# %% [markdown]
# <details><summary>Hint 1</summary>The parameter is the <i>logarithm</i> of the scale. What are the logarithms of 1 and of 100?</details>
# <details><summary>Hint 2</summary>An operation that ends in an underscore, such as <code>clamp_</code>, writes into the tensor itself. For a parameter, do it under <code>torch.no_grad()</code>.</details>
# <details><summary>If you see "a leaf Variable that requires grad is being used in an in-place operation"</summary>PyTorch protects parameters from changes that it would have to differentiate. You don't want it to: <code>with torch.no_grad():</code>.</details>

# %% [markdown]
# ## Task 3 · Where a text is read (3 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | the state at the end token, on real batches | ●●●○○ | ●●●●○ | 15 |
#
# CLIP's text tower is causal, so only the end token has seen the whole text. Return its state for each text. Three traps: what follows the end is padding, and some tokenizers pad with *the same token*: the **first** one counts. Words that were added to the vocabulary later have ids *larger* than the end token. And a text that was cut off has no end token at all: raise a `ValueError` that says so, rather than return some other state.


# %% role="answer" id="a2-end"
def read_end(states, ids, end):
    """states (B, T, D), ids (B, T) integers, end: the end token's id -> (B, D)."""
    ### BEGIN SOLUTION
    is_end = ids == end
    if not is_end.any(1).all():
        raise ValueError(f"a text has no end token (id {end}): it was cut off, or made by another tokenizer.")
    place = is_end.int().argmax(1)
    return states[torch.arange(len(ids)), place]
    ### END SOLUTION


# %% role="test" id="a2-end-test" points=3
check("a2-end-test", read_end)

# %% [markdown]
# <details><summary>Hint 1</summary><code>argmax</code> of zeros and ones gives the first place of a one. Then one place per row: indexing with two vectors of length B.</details>
# <details><summary>Hint 2</summary><code>states[torch.arange(B), place]</code>. And <code>argmax</code> of a row without any one is 0, silently: test for that first.</details>
# <details><summary>If you see "argmax_cpu not implemented for 'Bool'"</summary><code>(ids == end).int()</code>.</details>

# %% [markdown]
# ## Task 4 · Classes are sentences (3 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | a zero-shot classifier with several prompts | ●●○○○ | ●●●●● | 15 |
#
# `embeddings` (templates, C, E) holds the text embedding of each class in each template, of any length. Average **in embedding space** (Sec. 3.1.4): each template has one vote, so normalise, average over templates, normalise again. Then `zero_shot` gives each image's probabilities over the classes, with the scale (not its logarithm) at hand. The images are not normalised yet.


# %% role="answer" id="a2-zero-shot"
def class_vectors(embeddings):
    """(templates, C, E) -> (C, E) unit vectors."""
    ### BEGIN SOLUTION
    return normalize(normalize(embeddings, dim=-1).mean(0), dim=-1)
    ### END SOLUTION


def zero_shot(images, classes, scale):
    """images (N, E), classes (C, E) unit vectors, scale: a number -> probabilities (N, C)."""
    ### BEGIN SOLUTION
    cosines = normalize(images, dim=-1) @ classes.T
    return (scale * cosines).softmax(dim=1)
    ### END SOLUTION


# %% role="test" id="a2-zero-shot-test" points=3
check("a2-zero-shot-test", class_vectors, zero_shot)

# %% [markdown]
# <details><summary>Hint 1</summary>Which axis are the templates? Which axis do vectors have their length along? They differ.</details>
# <details><summary>Hint 2</summary>Three steps: <code>normalize(..., dim=-1)</code>, <code>.mean(0)</code>, <code>normalize(..., dim=-1)</code>. Softmax over the classes, after the scale.</details>

# %% [markdown]
# ## Task 5 · Retrieval that can't be cheated (4 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | ranks both ways, several captions per image, ties | ●●●●○ | ●●●●○ | 25 |
#
# `similarity` (N, M) compares N images with M captions; caption j belongs to image `image_of[j]`, and an image may have several. A rank is 1 for the best. Return two tensors of integers:
#
# - *image to text*, (N,): the rank of the **best** of the image's own captions among the captions of *other* images (its own are no rivals of each other);
# - *text to image*, (M,): the rank of the caption's image among all images.
#
# **Ties count against you**: a rival that is just as similar is ahead. Otherwise a model that gives everything one vector would score 100 %. Then `recall(ranks, k)`: the fraction of ranks among the first k.


# %% role="answer" id="a2-ranks"
def ranks(similarity, image_of):
    """similarity (N, M), image_of (M,) integers -> integers (N,), integers (M,)."""
    ### BEGIN SOLUTION
    N, M = similarity.shape
    own = image_of[None, :] == torch.arange(N)[:, None]  # (N, M)
    best = similarity.masked_fill(~own, -math.inf).amax(1)  # (N,)
    to_text = 1 + ((similarity >= best[:, None]) & ~own).sum(1)
    right = similarity[image_of, torch.arange(M)]  # (M,)
    to_image = 1 + ((similarity >= right[None, :]) & ~own).sum(0)
    return to_text, to_image
    ### END SOLUTION


def recall(ranks, k):
    """ranks: integers from 1; k -> the fraction of them up to k, a number."""
    ### BEGIN SOLUTION
    return (ranks <= k).float().mean().item()
    ### END SOLUTION


# %% role="test" id="a2-ranks-test" points=4
check("a2-ranks-test", ranks, recall)

# %% [markdown]
# <details><summary>Hint 1</summary>A rank is 1 + the number of rivals that are at least as similar. So you need no sorting: compare, and count.</details>
# <details><summary>Hint 2</summary><code>own = image_of[None, :] == torch.arange(N)[:, None]</code> says who belongs together. The best own similarity of each image: fill the others with minus infinity, take the maximum. Rivals are <code>~own</code>, in both directions.</details>
# <details><summary>If you see "Boolean value of Tensor with more than one value is ambiguous"</summary><code>and</code>, <code>not</code> are for single truths; for tensors use <code>&amp;</code>, <code>~</code>, with brackets around comparisons.</details>

# %% [markdown]
# ## Task 6 · When captions repeat (3 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | several right answers in one batch | ●●●○○ | ●●●○○ | 20 |
#
# In a small world many pictures have the caption "a cat". With plain CLIP each of them counts as a wrong answer for the others. `same` (B,) has equal numbers where captions mean the same. Return `targets(same)`: (B, B), in each row the right answers **share** 1 evenly. Then the symmetric loss with these targets: minus the sum of target times log-probability, mean over rows, mean of both directions. `image` and `text` are unit vectors, `scale` a plain number.


# %% role="answer" id="a2-same"
def targets(same):
    """(B,) integers -> (B, B) floats, rows sum to one."""
    ### BEGIN SOLUTION
    equal = (same[:, None] == same[None, :]).float()
    return equal / equal.sum(dim=1, keepdim=True)
    ### END SOLUTION


def contrast(image, text, scale, same):
    """image, text (B, E) unit vectors, scale: a number, same (B,) integers -> a tensor of one number."""
    ### BEGIN SOLUTION
    right = targets(same)
    logits = scale * image @ text.T
    image_loss = -(right * logits.log_softmax(dim=1)).sum(dim=1).mean()
    text_loss = -(right * logits.T.log_softmax(dim=1)).sum(dim=1).mean()
    return (image_loss + text_loss) / 2
    ### END SOLUTION


# %% role="test" id="a2-same-test" points=3
check("a2-same-test", targets, contrast)

# %%
look(lambda: plots.mask(targets(torch.tensor([0, 1, 0, 2, 1, 0])) > 0, title="who is right for whom"))

# %% [markdown]
# <details><summary>Hint 1</summary>Compare <code>same</code> as a column with <code>same</code> as a row, and divide each row by its sum.</details>
# <details><summary>Hint 2</summary><code>logits.log_softmax(dim=1)</code> for images, <code>logits.T.log_softmax(dim=1)</code> for texts. The targets are symmetric here, so they serve both.</details>

# %% [markdown]
# ## Task 7 · What a linear probe reads (3 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | features for a probe, without leaving traces | ●●○○○ | ●●●○○ | 15 |
#
# The paper's linear probes (Sec. 3.2) read the image tower's output **before** the projection into the joint space: `model.vision(pixels)`, not `model.encode_image(pixels)`. Write `features(model, pixels, batch)`: in evaluation mode (dropout off), without gradients, `batch` pictures at a time, the last batch may be smaller; and afterwards the model is in the mode in which you found it, training or not.


# %% role="answer" id="a2-features"
def features(model, pixels, batch):
    """model.vision (n, ...) -> (n, D); pixels (N, ...) -> (N, D)."""
    ### BEGIN SOLUTION
    before = model.training
    model.eval()
    with torch.no_grad():
        found = torch.cat([model.vision(part) for part in pixels.split(batch)])
    model.train(before)
    return found
    ### END SOLUTION


# %% role="test" id="a2-features-test" points=3
check("a2-features-test", features)

# %% [markdown]
# <details><summary>Hint 1</summary><code>model.training</code> says in which mode it is; <code>model.eval()</code> and <code>model.train(True or False)</code> change it.</details>
# <details><summary>Hint 2</summary><code>pixels.split(batch)</code> gives the parts, the last one smaller; <code>torch.cat</code> puts the results together.</details>

# %% [markdown]
# ## Task 8 · Failure lab: four runs (4 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | tell a fault from what a run leaves behind | ●●●○○ | ●●●●● | 15 |
#
# Five small CLIPs (two linear towers, noisy pairs) train below: one healthy, four with one fault each. Look at the start and the end of the loss (ln 32 = 3.47), at the scale, and at the two scores.

# %%
runs = {name: clip_run(name) for name in ("healthy", "A", "B", "C", "D")}
for name, run in runs.items():
    print(f"{name:8} loss {run['loss'][0]:6.3f} -> {run['loss'][-1]:6.3f}   scale {run['scale'][0]:8.3f} -> {run['scale'][-1]:8.3f}"
          f"   R@1: training pairs {run['R@1, training pairs']:.2f}, held-out pairs {run['R@1, held-out pairs']:.2f}")
plots.show(plots.curves({name: {step: min(run["loss"][step], 8) for step in range(0, 200, 10)} for name, run in runs.items()},
                      "step", "loss (cut at 8)", chance=math.log(32)))

# %% [markdown]
# For each run, choose one of these causes: `"wrong pairs"` (texts were shuffled against the images) · `"batch of one"` · `"clamp in the forward pass"` (of the log-scale, which started beyond its bound) · `"other pictures in the test"` (read in another way than in training) · `"learning rate zero"` · `"no normalisation"` (of the vectors). Here the check looks only at the form; whether you are right you learn with your grade.


# %% role="answer" id="a2-runs"
def diagnosis():
    """{'A': cause, 'B': cause, 'C': cause, 'D': cause}."""
    ### BEGIN SOLUTION
    return {"A": "wrong pairs", "B": "batch of one", "C": "clamp in the forward pass", "D": "other pictures in the test"}
    ### END SOLUTION


# %% role="test" id="a2-runs-test" points=4
check("a2-runs-test", diagnosis)

# %% [markdown]
# <details><summary>Hint 1</summary>Which fault leaves the training loss as it is? Which makes the task trivial? Which makes it impossible? Which leaves a number untouched that all other runs change?</details>
# <details><summary>Hint 2</summary>With one pair in the batch there is nothing to tell apart: ln 1. With wrong pairs nothing that holds for new ones can be learnt. A clamp passes no gradient beyond its bound.</details>

# %% [markdown] role="task" id="a2-why" points=4
# ## Question 9 · In your words (4 points, read by a human; 15 lines are enough)
#
# A friend trains CLIP on a laptop, with batches of 64. To "simulate batches of 32,768" he accumulates the gradients of 512 such batches before each step. **(a)** Is the gradient that he gets the one of a batch of 32,768? Say what is missing, with the loss written out. **(b)** He says: "The loss of a model that knows nothing would be ln 64 either way." What would it be in the large batch, and does a lower loss of small batches mean a better model? **(c)** Propose one way to get the large batch's gradient with little memory, and say what it costs.
#
# === BEGIN MARK SCHEME ===
# (a) 2 points. No (½). In cross-entropy each image is compared with all texts *of its batch* (the denominator, written as a sum over the batch): accumulation sums 512 losses whose denominators hold 64 terms each; the 32,768 - 64 other negatives of each image are missing (1½; 1 if it is said without the formula). "The average of gradients is the gradient of the average, so yes" gets 0.
#
# (b) 1 point. ln 32,768 = 10.4 for the large batch (½). Losses of different batch sizes can't be compared: picking one of 64 is easier than one of 32,768 (½).
#
# (c) 1 point. Any of: two passes (embeddings of all without graph; the gradient of the loss with respect to the embeddings; then again forward, part by part, with these gradients): twice the forward work (GradCache). Embeddings gathered from several devices, with gradients: communication. A queue of older embeddings with a momentum encoder: the negatives are stale. Checkpointing of activations: recomputation. Half a point if the cost is missing.
# === END MARK SCHEME ===

# %% [markdown] role="reply"
# (a) No. For image i the loss is -log(exp(s_ii) / Σ_j exp(s_ij)), and j runs over the texts of the batch. Accumulating 512 batches averages losses whose sums have 64 terms; in the large batch the sum has 32,768. The terms between pairs of different small batches never occur, so their gradient is missing.
#
# (b) ln 32,768 = 10.4. The small batch's loss is lower because it asks an easier question, so it says nothing about the model.
#
# (c) Embed all pairs without a graph, compute the loss and its gradient with respect to the embeddings, then run the towers again, 64 at a time, and backpropagate those gradients. It costs a second forward pass of everything.

# %% [markdown]
# ## Before you hand in
#
# *Kernel → Restart and Run All*, then read the checks once more. Hand in this notebook, with its name as it is. If a cell of yours takes minutes or asks for input, take it out.
