# %% [markdown]
# # Assignment 1 · Masks and attention
#
# **After this you can** write attention so that it never says NaN and never leaks, turn a sentence such as "text sees the last picture before it" into booleans, make generation fast without changing a number, and catch a layer that looks where it said it wouldn't.
#
# | | |
# |---|---|
# | You need | lesson 01; PyTorch: broadcasting, `softmax`, `cumsum`, `masked_fill` |
# | Time | about two and a half hours: seven tasks of 10 to 25 minutes, one question in words. Stop anywhere; tasks don't build on each other, except where they say so |
# | Points | 30: the tests give 28, one question is read by a human |
# | Machine | any laptop; each cell runs in seconds |
#
# **How it works.** Each task has a card, an unfinished function, and a `check` that answers at once, names the likely mistake and draws it. Replace the two lines below `# YOUR CODE HERE`. Don't rename functions or delete cells; add as many as you like. Hints are folded: the first nudges, the second nearly tells.
#
# When you hand in, the same things are tested on fresh random inputs, and each line of a check counts by itself: half a task gives half its points. Plain PyTorch, please: no `scaled_dot_product_attention`, nothing from `vlmcourse.parts` (a human looks).
#
# Axes: **B** batch, **H** heads, **Q** queries, **K** keys, **T** tokens, **D** width. `True` always means *may look*.

# %% role="given" id="a1-setup"
import math

import torch

from vlmcourse.assignments import check, look
from vlmcourse import plots

_ = torch.manual_seed(0)

# %% [markdown]
# ## Task 1 · Attention that can see nothing (4 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | attention from its formula, safe on empty rows | ●●●○○ | ●●●●● | 20 |
#
# $$\text{attention}(Q, K, V) = \text{softmax}\!\left(\frac{QK^\top}{\sqrt{D}}\right) V$$
#
# over the keys that the query may look at. A query that may look at **nothing** gets exactly zero, and the gradient stays finite everywhere. Such rows are no oddity: in Flamingo, all text before the first image has them.


# %% role="answer" id="a1-attention"
def attention(q, k, v, may_look):
    """q (B, H, Q, D), k and v (B, H, K, D), may_look booleans that broadcast to (B, H, Q, K) -> (B, H, Q, D)."""
    ### BEGIN SOLUTION
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # (B, H, Q, K)
    sees = may_look.any(-1, keepdim=True)
    weights = scores.masked_fill(~may_look & sees, -math.inf).softmax(-1)
    return weights.where(sees, 0) @ v
    ### END SOLUTION


# %% role="test" id="a1-attention-test" points=4
check("a1-attention-test", attention)

# %% [markdown]
# <details><summary>Hint 1</summary>Forbidden scores become minus infinity <i>before</i> the softmax. What does softmax make of a row in which all are minus infinity? Which rows are these: <code>may_look.any(-1, keepdim=True)</code>.</details>
# <details><summary>Hint 2</summary>Fill only rows that see something, so that softmax stays finite, and put zeros into the weights of the others afterwards, with <code>torch.where</code>. Replacing NaN afterwards repairs the output, but often not the gradient.</details>
# <details><summary>If you see "masked_fill only supports boolean masks"</summary>Somewhere the mask became numbers. <code>~mask</code> is the opposite of a boolean mask; <code>1 - mask</code> is arithmetic.</details>

# %% [markdown]
# ## Task 2 · One integer per position (4 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | turn four sentences into comparisons | ●●○○○ | ●●●●● | 20 |
#
# Give every position one integer; then one comparison is the mask. `level(key) <= level(query)`: I see my level and all below. `group(key) == group(query)`: I see my group. Write four masks, each booleans with rows for queries and columns for keys:
#
# - `causal(length)`: each token sees itself and the past;
# - `prefix(seen, length)`: the first `seen` tokens see each other, all of them; every later token sees those and its own past and itself;
# - `unimodal(queries, text)`: first `queries` positions, then `text` positions; queries see queries, text sees text (BLIP-2's contrastive task);
# - `multimodal_causal(queries, text)`: queries see queries; text sees all queries, itself and its own past (BLIP-2's generation).


# %% role="answer" id="a1-levels"
def causal(length):
    """Booleans (length, length)."""
    ### BEGIN SOLUTION
    level = torch.arange(length)
    return level[None, :] <= level[:, None]
    ### END SOLUTION


def prefix(seen, length):
    """Booleans (length, length)."""
    ### BEGIN SOLUTION
    level = (torch.arange(length) - seen + 1).clamp(min=0)
    return level[None, :] <= level[:, None]
    ### END SOLUTION


def unimodal(queries, text):
    """Booleans (queries + text, queries + text)."""
    ### BEGIN SOLUTION
    group = torch.tensor([0] * queries + [1] * text)
    return group[None, :] == group[:, None]
    ### END SOLUTION


def multimodal_causal(queries, text):
    """Booleans (queries + text, queries + text)."""
    ### BEGIN SOLUTION
    level = torch.tensor([0] * queries + list(range(1, text + 1)))
    return level[None, :] <= level[:, None]
    ### END SOLUTION


# %% role="test" id="a1-levels-test" points=4
check("a1-levels-test", causal, prefix, unimodal, multimodal_causal)

# %%
look(lambda: plots.gallery({"causal": causal(6), "prefix": prefix(3, 6), "uni-modal": unimodal(3, 3),
                           "multimodal causal": multimodal_causal(3, 3)}, columns=4))

# %% [markdown]
# <details><summary>Hint 1</summary>For all pairs at once, one vector is a row, the other a column: <code>level[None, :] &lt;= level[:, None]</code>. Which of the two is the key?</details>
# <details><summary>Hint 2</summary>Levels for prefix(2, 5): 0 0 1 2 3. For multimodal_causal(2, 3): 0 0 1 2 3. Yes, the same.</details>

# %% [markdown]
# ## Task 3 · Short documents, one sequence (4 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | pack documents without letting them meet | ●●●○○ | ●●●○○ | 20 |
#
# Language models read rows of one fixed length. Short documents are packed into one row behind each other, and what is left is padding. Packed or alone, a document must read the same. Return three tensors:
#
# - `may_look` (total, total): a token sees itself and the past of its own document; padding sees nothing, and nobody sees it;
# - `position` (total,) integers: a token's place in its document, from 0; padding has 0;
# - `scored` (total,) booleans: tokens whose prediction counts. A document's first token has nothing before it to be predicted from; padding never counts.


# %% role="answer" id="a1-pack"
def pack(lengths, total):
    """lengths: a list of the documents' lengths; total >= their sum -> may_look, position, scored."""
    ### BEGIN SOLUTION
    padding = total - sum(lengths)
    document = torch.tensor([n for n, length in enumerate(lengths) for _ in range(length)] + [-1] * padding)
    position = torch.tensor([place for length in lengths for place in range(length)] + [0] * padding)
    index = torch.arange(total)
    same = document[None, :] == document[:, None]
    past = index[None, :] <= index[:, None]
    real = document >= 0
    may_look = same & past & real[:, None]
    scored = real & (position > 0)
    return may_look, position, scored
    ### END SOLUTION


# %% role="test" id="a1-pack-test" points=4
check("a1-pack-test", pack)

# %% [markdown]
# <details><summary>Hint 1</summary>Number the documents: for lengths 3 and 2 in a row of 7 that is 0 0 0 1 1, and something that no document has for the padding. Then two comparisons.</details>
# <details><summary>Hint 2</summary>Give padding the number -1. It would still see itself (-1 == -1), so rows of padding must be cleared: <code>&amp; (document &gt;= 0)[:, None]</code>.</details>

# %% [markdown]
# ## Task 4 · The last image before each token (4 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | Flamingo's φ and its mask, for a batch | ●●●○○ | ●●●●● | 20 |
#
# A page mixes words and image tags; `is_tag` (B, T) says where the tags are. Each image brings `per_image` visual tokens; all of them stand behind each other, the first image's first: keys number 1 1 2 2 3 3 for three images of two tokens. Every page of the batch has room for `images` images; if it has fewer tags, the rest is padding.
#
# Each token sees the visual tokens of the **last image before it**, and only those. A tag already sees its own image. Text before the first image sees nothing; nobody sees padding images. Return booleans (B, T, images * per_image).


# %% role="answer" id="a1-image"
def last_image(is_tag, images, per_image):
    """is_tag (B, T) booleans -> (B, T, images * per_image) booleans."""
    ### BEGIN SOLUTION
    phi = is_tag.long().cumsum(1)  # (B, T): how many tags so far, this one included
    image_of_key = torch.arange(images * per_image) // per_image + 1
    return phi[:, :, None] == image_of_key
    ### END SOLUTION


# %% role="test" id="a1-image-test" points=4
check("a1-image-test", last_image)

# %%
page = ["look:", "<image>", "a", "cat", "<image>", "a", "dog"]
look(lambda: plots.mask(last_image(torch.tensor([[word == "<image>" for word in page]]), 2, 2)[0], page,
                       ["image 1", "image 1", "image 2", "image 2"], "who sees which image"))

# %% [markdown]
# <details><summary>Hint 1</summary>The paper's φ is a running count of tags along the page. The image's number for key k is a whole-number division.</details>
# <details><summary>Hint 2</summary>φ = 0 before the first tag, and images are numbered from 1, so <code>==</code> leaves these rows empty by itself, and padding images unseen.</details>
# <details><summary>If you see "cumsum ... not implemented for 'Bool'"</summary>Booleans must become numbers first: <code>is_tag.long()</code>.</details>

# %% [markdown]
# ## Task 5 · Many heads (4 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | split, attend, merge; self and cross | ●●●○○ | ●●●●○ | 25 |
#
# Head number h owns the features from h · D/H to (h + 1) · D/H: a block of neighbours. Write the split (B, L, D) → (B, H, L, D/H), the merge that undoes it, and attention with H heads: queries from `x`, keys and values from `context`, each matrix applied as `nn.Linear` would, `x @ W.T`. Use your `attention`.


# %% role="answer" id="a1-heads"
def split_heads(x, heads):
    """(B, L, D) -> (B, H, L, D / H)."""
    ### BEGIN SOLUTION
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)
    ### END SOLUTION


def merge_heads(x):
    """(B, H, L, D / H) -> (B, L, D)."""
    ### BEGIN SOLUTION
    return x.transpose(1, 2).flatten(2)
    ### END SOLUTION


def multi_head(x, context, query, key, value, out, heads, may_look):
    """x (B, Q, D), context (B, K, D), four matrices (D, D), may_look (B, 1, Q, K) -> (B, Q, D)."""
    ### BEGIN SOLUTION
    q = split_heads(x @ query.T, heads)
    k = split_heads(context @ key.T, heads)
    v = split_heads(context @ value.T, heads)
    return merge_heads(attention(q, k, v, may_look)) @ out.T
    ### END SOLUTION


# %% role="test" id="a1-heads-test" points=4
check("a1-heads-test", split_heads, merge_heads, multi_head)

# %% [markdown]
# <details><summary>Hint 1</summary><code>reshape</code> never moves numbers, it only cuts the row of all numbers anew. Which axis must be cut, and which two must then be exchanged?</details>
# <details><summary>Hint 2</summary><code>x.unflatten(-1, (heads, -1))</code> is (B, L, H, D/H). The merge is the same two steps, backwards.</details>
# <details><summary>If you see "view size is not compatible"</summary>After <code>transpose</code> the numbers don't lie in order any more: <code>flatten</code> or <code>reshape</code>, not <code>view</code>.</details>

# %% [markdown]
# ## Task 6 · One token at a time (4 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | a key-value cache that changes no number | ●●●●○ | ●●●●○ | 25 |
#
# When a language model writes, all earlier tokens are already known, and causal attention never changes what they say. So their keys and values are kept. `step` gets only the **new** tokens `x` (B, n, D), one head, three matrices, and the cache that it returned last time (`None` at first). It returns the output for the new tokens (B, n, D) and the new cache. What is in the cache is up to you.
#
# Called token by token, or with a prompt of several tokens first, it must give what causal attention gives to the whole text at once. Use your `attention`.


# %% role="answer" id="a1-cache"
def step(x, query, key, value, cache):
    """x (B, n, D) new tokens, matrices (D, D), cache: of the step before, or None -> (B, n, D), cache."""
    ### BEGIN SOLUTION
    q, k, v = x @ query.T, x @ key.T, x @ value.T
    if cache is not None:
        k, v = torch.cat([cache[0], k], dim=1), torch.cat([cache[1], v], dim=1)
    new, total = x.shape[1], k.shape[1]
    may_look = torch.arange(total)[None, :] <= torch.arange(total - new, total)[:, None]
    out = attention(q[:, None], k[:, None], v[:, None], may_look)[:, 0]
    return out, (k, v)
    ### END SOLUTION


# %% role="test" id="a1-cache-test" points=4
check("a1-cache-test", step)

# %% [markdown]
# <details><summary>Hint 1</summary>Three parts: the new tokens' q, k, v; old and new keys (and values) behind each other along the token axis; attention with a mask that has a row for each new token and a column for every token so far.</details>
# <details><summary>Hint 2</summary>New token number i of n is token number total - n + i of the text. Its row: <code>torch.arange(total) &lt;= total - n + i</code>.</details>

# %% [markdown]
# ## Task 7 · Declared and measured (4 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | find out what a layer really looks at | ●●●●○ | ●●●●○ | 25 |
#
# A mask only *declares*. To know, ask the layer: if token k moves and output q moves with it, then q looked at k. `measure(function, x)`: `function` maps (1, T, D) to (1, T, D); return booleans (T, T), row q, column k: does output q move with input k? You may move tokens or use automatic differentiation. Count as a move what is larger than 1e-6. (The layers contain a LayerNorm. Think of what it removes.)
#
# Then `liars(layers, declared, x)`: which layers, by their place in the list, from 0, don't look at exactly what their mask (T, T) declares? Looking too far is a lie; so is not looking where one may.


# %% role="answer" id="a1-measure"
def measure(function, x):
    """function (1, T, D) -> (1, T, D), x (1, T, D) -> booleans (T, T): does output q move with input k?"""
    ### BEGIN SOLUTION
    before = function(x)
    columns = []
    for k in range(x.shape[1]):
        moved = x.clone()
        moved[:, k] += torch.randn(x.shape[-1])
        columns.append((function(moved) - before)[0].abs().amax(-1) > 1e-6)
    return torch.stack(columns, dim=1)
    ### END SOLUTION


def liars(layers, declared, x):
    """layers: functions; declared: one (T, T) mask each -> a list of places."""
    ### BEGIN SOLUTION
    found = []
    for place, (layer, mask) in enumerate(zip(layers, declared)):
        if not torch.equal(measure(layer, x), mask):
            found.append(place)
    return found
    ### END SOLUTION


# %% role="test" id="a1-measure-test" points=4
check("a1-measure-test", measure, liars)

# %% [markdown]
# <details><summary>Hint 1</summary>For each token: copy x, move this one token, run, compare each output position with what it was. That is one column.</details>
# <details><summary>Hint 2</summary>LayerNorm subtracts the mean of a token's features: adding one number to all of them changes nothing. Add random numbers. And <code>x.clone()</code> each time, or the changes pile up.</details>

# %% [markdown] role="task" id="a1-why" points=2
# ## Question 8 · In your words (2 points, read by a human; 10 lines are enough)
#
# In Flamingo each word looks *directly* only at the last image before it. Yet few-shot prompts with several images work: the answer about the last image depends on the earlier ones. **(a)** By which way does an earlier image reach a later word, and from which layer on? **(b)** Describe an experiment, with your `measure` from task 7 if you like, that would tell this way from a leak in the mask. Say what you'd see in each of the two cases.
#
# === BEGIN MARK SCHEME ===
# (a) 1 point. Words after image 1 take it in by cross-attention; later words see *these words* by the language model's own causal self-attention. So it takes at least one cross-attention layer followed by one self-attention layer: not within the first cross-attention layer. Half a point if the way is right and the depth is missing.
#
# (b) 1 point. Measure one cross-attention layer alone, or the stack up to the first cross-attention: an influence of image 1 on words with phi = 2 there is a leak; none there, but some after a self-attention layer, is the allowed way. Equally good: cut the self-attention between the two captions and see the influence vanish (allowed way) or stay (leak). Half a point for an experiment that only shows *that* there is an influence. Attention weights alone, without any intervention, half a point.
# === END MARK SCHEME ===

# %% [markdown] role="reply"
# (a) Words that follow image 1 take it in through cross-attention. Later words can't see image 1, but they see these words in the language model's causal self-attention, so image 1 reaches them from the first self-attention layer that follows a cross-attention layer: never inside the first cross-attention layer itself.
#
# (b) I'd measure the influence of the tokens of image 1 on the words after image 2, twice: for a single cross-attention layer, and for cross-attention, self-attention, cross-attention. If the mask leaks, the single layer already shows influence. If it is right, the single layer shows exactly none, and the stack shows some. As a control I'd cut the self-attention from the second caption to the first: the influence must vanish.

# %% [markdown]
# ## Before you hand in
#
# *Kernel → Restart and Run All*, then read the checks once more. Hand in this notebook, with its name as it is. If a cell of yours takes minutes or asks for input, take it out.
