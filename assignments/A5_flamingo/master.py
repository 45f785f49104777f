# %% [markdown]
# # Assignment 5 · Flamingo
#
# **After this you can** open a gate into a frozen language model, squeeze films of any length into a few vectors, count images while writing, make training texts of pages, choose what learns, mix data sets, pick examples that help, and say which image a word can know of.
#
# | | |
# |---|---|
# | You need | lesson 11, assignment 1's task 4 (φ); gradients |
# | Time | about two and a half hours: eight tasks of 10 to 25 minutes, one question in words. Tasks don't build on each other |
# | Points | 30: the tests give 26, one question is read by a human |
# | Machine | any laptop; each cell runs in seconds |
#
# **How it works.** Each task has a card, an unfinished function, and a `check` that answers at once and names the likely mistake. Replace the two lines below `# YOUR CODE HERE`. Don't rename functions or delete cells; add as many as you like. Hints are folded: the first nudges, the second nearly tells.
#
# When you hand in, the same things are tested on fresh random inputs, and each line of a check counts by itself. Plain PyTorch, please: nothing from `vlmcourse.parts`, `vlmcourse.papers` or `vlmcourse.lab` (a human looks).
#
# Axes: **B** batch, **T** frames or tokens, **S** places of a frame, **R** latents, **N** images or examples, **D** width.

# %% role="given" id="a5-setup"
import math

import torch
from torch.nn.functional import normalize

from vlmcourse.assignments import check, look
from vlmcourse import plots

_ = torch.manual_seed(0)

# %% [markdown]
# ## Task 1 · Gates (4 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | let something new into a model that works | ●●○○○ | ●●●●● | 15 |
#
# Flamingo's new layer stands before a layer of the frozen language model (Sec. 2.2): `y` plus the gated cross-attention of `y`, and then, on what came out, plus the gated feed-forward of *that*. A gate is tanh(alpha), one learnt number for each of the two parts. Alphas start at 0, so at first the language model doesn't notice anything; the check looks at who gets a gradient then.


# %% role="answer" id="a5-gates"
def gated(y, attend, feedforward, alpha_attend, alpha_feedforward):
    """y (B, T, D); attend, feedforward: functions (B, T, D) -> (B, T, D); alphas: tensors of one number -> (B, T, D)."""
    ### BEGIN SOLUTION
    y = y + alpha_attend.tanh() * attend(y)
    return y + alpha_feedforward.tanh() * feedforward(y)
    ### END SOLUTION


# %% role="test" id="a5-gates-test" points=4
check("a5-gates-test", gated)

# %% [markdown]
# <details><summary>Hint 1</summary>Two residual steps. What does the second one read?</details>
# <details><summary>Hint 2</summary><code>alpha.tanh()</code> keeps the graph; <code>math.tanh(alpha)</code> would cut it, and the gate could never open.</details>

# %% [markdown]
# ## Task 2 · The resampler (4 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | any number of frames in, R vectors out | ●●●●○ | ●●●●● | 25 |
#
# One layer of the Perceiver resampler, one head, without norms. `features` (B, T, S, D): films of T frames with S places. Each frame gets its `time` embedding (T, D), all its places the same one; there are no spatial ones. Then frames and places become one axis. The R `latents` (the same at the start for each film) are the queries; keys and values are made of the film's features **and, behind them, the latents**. The result is *added* to the latents. Matrices are applied as `nn.Linear` would, `x @ W.T`; scores are divided by the square root of D.


# %% role="answer" id="a5-resampler"
def resample(features, time, latents, query, key, value):
    """features (B, T, S, D), time (T, D), latents (R, D), three matrices (D, D) -> (B, R, D)."""
    ### BEGIN SOLUTION
    B = len(features)
    x = (features + time[:, None]).flatten(1, 2)  # (B, T * S, D)
    latents = latents.expand(B, -1, -1)  # (B, R, D)
    context = torch.cat([x, latents], dim=1)
    q, k, v = latents @ query.T, context @ key.T, context @ value.T
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])  # (B, R, T * S + R)
    return latents + scores.softmax(-1) @ v
    ### END SOLUTION


# %% role="test" id="a5-resampler-test" points=4
check("a5-resampler-test", resample)

# %% [markdown]
# <details><summary>Hint 1</summary>Write the shape behind each line. Time must be added while frames still are an axis of their own.</details>
# <details><summary>Hint 2</summary><code>features + time[:, None]</code> adds (T, 1, D) to (B, T, S, D); <code>flatten(1, 2)</code>; <code>latents.expand(B, -1, -1)</code> gives each film its copy.</details>
# <details><summary>If you see "The size of tensor a must match the size of tensor b at non-singleton dimension 2"</summary>Axes are matched from the right: (T, D) meets (S, D). <code>time[:, None]</code> makes it (T, 1, D).</details>

# %% [markdown]
# ## Task 3 · Counting images while writing (3 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | φ with a cache | ●●○○○ | ●●●●○ | 15 |
#
# φ of a token is the number of image tags up to and including it. While writing, the model gets the text in pieces, first the prompt, then token by token, and a cumulative sum over the *piece* would start at 0 again. `count` gets the tags of the new piece and how many were seen before (B,), and returns φ of the new tokens and how many have been seen now.


# %% role="answer" id="a5-count"
def count(is_tag, seen):
    """is_tag (B, n) booleans of the new tokens, seen (B,) integers -> phi (B, n), seen (B,)."""
    ### BEGIN SOLUTION
    phi = seen[:, None] + is_tag.long().cumsum(1)
    return phi, phi[:, -1]
    ### END SOLUTION


# %% role="test" id="a5-count-test" points=3
check("a5-count-test", count)

# %% [markdown]
# <details><summary>Hint 1</summary>What must be added to the count within the piece?</details>
# <details><summary>Hint 2</summary><code>seen[:, None]</code>; and the last φ of the piece is the new <code>seen</code>.</details>

# %% [markdown]
# ## Task 4 · A page as a training text (4 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | tags, ends of chunks, what is scored | ●●●○○ | ●●●●○ | 20 |
#
# A web page is a list of pieces: `("text", ids)` or `("image", [])`. Its training text has the id `image` in the place of each image; the id `chunk` (end of chunk, the only new word) **before each image**, unless the page begins with it, **and at the end**. Return the list of ids and a list of booleans: which of them are scored. Not the first token, which nothing precedes, and not the image tags: nobody should learn to say them. Ends of chunks *are* scored: they are how the model learns to stop.


# %% role="answer" id="a5-page"
def page_text(page, image, chunk):
    """page: pairs (kind, ids); image, chunk: ids -> a list of ids, a list of booleans."""
    ### BEGIN SOLUTION
    ids = []
    for kind, words in page:
        if kind == "text":
            ids += words
        else:
            ids += [chunk, image] if ids else [image]
    ids.append(chunk)
    scored = [place > 0 and word != image for place, word in enumerate(ids)]
    return ids, scored
    ### END SOLUTION


# %% role="test" id="a5-page-test" points=4
check("a5-page-test", page_text)

# %% [markdown]
# <details><summary>Hint 1</summary>Go through the pieces with one growing list. How do you notice that an image is the page's first thing?</details>
# <details><summary>Hint 2</summary>An empty list counts as False: <code>[chunk, image] if ids else [image]</code>. Afterwards, <code>enumerate(ids)</code> knows place and word.</details>

# %% [markdown]
# ## Task 5 · What learns (2 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | choose parameters by name | ●○○○○ | ●●●●○ | 10 |
#
# Vision encoder and language model stay frozen. What learns: the resampler (`resampler.…`), the new gated layers (`….gated.…`, alphas included), and the rows of the new words (`lm.new_rows`). Return the names that learn, in the order given. (This is how an optimiser gets its parameters, and how a forgotten one stays at its start for ever.)


# %% role="answer" id="a5-learns"
def learning(names):
    """names: a list of parameters' names -> a list of those that learn."""
    ### BEGIN SOLUTION
    return [name for name in names if name.startswith("resampler.") or ".gated." in name or name == "lm.new_rows"]
    ### END SOLUTION


# %% role="test" id="a5-learns-test" points=2
check("a5-learns-test", learning)

# %% [markdown]
# <details><summary>Hint 1</summary>Say which learn rather than which don't: what is added later stays frozen then.</details>
# <details><summary>Hint 2</summary><code>name.startswith(...)</code>, <code>".gated." in name</code>, <code>==</code>.</details>

# %% [markdown]
# ## Task 6 · A mixture of data sets (3 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | accumulate instead of taking turns | ●●○○○ | ●●●●○ | 15 |
#
# Flamingo sums the gradients of all its data sets before each step, each times a weight λ (the paper's ablation: taking turns costs 8 points). `accumulate` gets parameters, one function per data set that computes its loss, and the weights. Afterwards `.grad` of each parameter is the gradient of Σ λ · loss, whatever was in it before; the parameters themselves are as they were. Go back after each loss, so that only one graph is in memory at a time.


# %% role="answer" id="a5-mixture"
def accumulate(parameters, losses, weights):
    """parameters: a list; losses: functions () -> a tensor of one number; weights: numbers. Writes into .grad."""
    ### BEGIN SOLUTION
    for parameter in parameters:
        parameter.grad = None
    for loss, weight in zip(losses, weights):
        (weight * loss()).backward()
    ### END SOLUTION


# %% role="test" id="a5-mixture-test" points=3
check("a5-mixture-test", accumulate)

# %% [markdown]
# <details><summary>Hint 1</summary>What does <code>backward()</code> do with a gradient that is already there? When do you want that, and when not?</details>
# <details><summary>Hint 2</summary>It adds. So clear once, before the first: <code>parameter.grad = None</code>; then one <code>backward()</code> of each weighted loss.</details>

# %% [markdown]
# ## Task 7 · Examples that help (3 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | retrieve similar examples for the prompt (RICES) | ●●○○○ | ●●●○○ | 15 |
#
# With many examples at hand, Flamingo puts those into the prompt whose pictures are most like the question's, by cosine of the vision encoder's embeddings (of any length here), and orders them so that the **most similar stands last**, next to the question. Return the places of the k best, a list of ints.


# %% role="answer" id="a5-similar"
def similar(query, support, k):
    """query (D,), support (N, D) -> a list of k places."""
    ### BEGIN SOLUTION
    cosines = normalize(support, dim=-1) @ normalize(query, dim=-1)
    return cosines.argsort()[-k:].tolist()
    ### END SOLUTION


# %% role="test" id="a5-similar-test" points=3
check("a5-similar-test", similar)

# %% [markdown]
# <details><summary>Hint 1</summary><code>argsort</code> goes from the smallest to the largest. Which end do you need, and in which order?</details>
# <details><summary>Hint 2</summary><code>argsort()[-k:]</code> is the k best, the best last.</details>

# %% [markdown]
# ## Task 8 · Who hears of which image (3 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | follow what spreads through layers | ●●●●○ | ●●●●● | 25 |
#
# `sees` (T, N): which images a token looks at directly. `listens` (T, T): `listens[t, s]` is True if token t looks at token s in the language model's own attention. Each of the `layers` layers is first a cross-attention, then a self-attention. A token knows of an image if it saw it, or listened to a token that knew of it *at that moment*; and what it knows, it keeps (the residual stream). Return booleans (T, N): who knows of which image after all layers?


# %% role="answer" id="a5-hears"
def hears(sees, listens, layers):
    """sees (T, N) booleans, listens (T, T) booleans, layers: an int -> (T, N) booleans."""
    ### BEGIN SOLUTION
    known = torch.zeros_like(sees)
    for _ in range(layers):
        known = known | sees
        told = (listens.float() @ known.float()) > 0
        known = known | told
    return known
    ### END SOLUTION


# %% role="test" id="a5-hears-test" points=3
check("a5-hears-test", hears)

# %%
page = ["look", "<image>", "a", "cat", "<image>", "a", "dog", "."]
phi = torch.tensor([word == "<image>" for word in page]).long().cumsum(0)
direct = phi[:, None] == torch.arange(1, 3)
past = torch.ones(8, 8).tril().bool()
look(lambda: plots.gallery({"sees directly": direct, "knows of after one layer": hears(direct, past, 1)}, columns=2))

# %% [markdown]
# <details><summary>Hint 1</summary>"There is an s to which t listens and which knows of n" is a sum over s: a matrix product, larger than zero.</details>
# <details><summary>Hint 2</summary><code>(listens.float() @ known.float()) &gt; 0</code>, and <code>|</code> with what was known. Look before you listen.</details>

# %% [markdown] role="task" id="a5-why" points=4
# ## Question 9 · In your words (4 points, read by a human; 15 lines are enough)
#
# **(a)** With all alphas at 0, which parameters get a gradient in the first step, which in the second, and why is that no problem? **(b)** In the picture of task 8 the word "dog" knows of both images after one layer, although the mask lets it see only one. A classmate concludes that the mask is useless. What does it still do? Propose a measurement on a trained model. **(c)** Few-shot scores rise from 4 to 32 examples and then stay. Give two explanations that predict different results of an experiment, and describe the experiment.
#
# === BEGIN MARK SCHEME ===
# (a) 1 point. First step: only the alphas (everything else is multiplied by tanh(0) = 0) (½). From the second step on all of them, as the gates have opened a little; the language model is intact meanwhile (½).
#
# (b) 1½ points. Directly only one image's pixels can be read, earlier ones only through what words carried on: details not put into words' states are lost, order and binding of image and text stay clear, and training on five images extends to 32 (¾ for one of these). A measurement (¾): blank or exchange the earlier image and measure the change of the answer, compared with exchanging the last; with gates open; with the caption between kept or removed.
#
# (c) 1½ points. For example: "the prompt locates a task already learnt" against "it learns the task from the examples" (½); wrong or shuffled labels in the examples: the first predicts little loss, the second a large one (1). Or: attention to distant examples fades against capacity of the language model: order the helpful examples first or last.
# === END MARK SCHEME ===

# %% [markdown] role="reply"
# (a) First only the alphas: everything behind a gate is multiplied by tanh(0) = 0, its gradient, too. After one step the gates are slightly open, and all new layers learn. Meanwhile the language model writes as before.
#
# (b) It decides which *pixels* a word reads. Of earlier images it knows only what words before it took into their states. I'd exchange the first image for another, then the last, and compare how much the probability of "dog" moves.
#
# (c) Either the examples only point to a task that the model knows, and eight point as well as 32; or it learns from them, but attends badly to so many. With shuffled labels in the examples the first predicts hardly a change, the second a collapse.

# %% [markdown]
# ## Before you hand in
#
# *Kernel → Restart and Run All*, then read the checks once more. Hand in this notebook, with its name as it is. If a cell of yours takes minutes or asks for input, take it out.
