# %% [markdown]
# # Assignment 1 · Attention and masks
#
# **After this assignment you can:**
#
# - compute attention from pieces, safely, also for queries that may attend to nothing;
# - turn a sentence such as "each token attends to the last two images before it" into booleans;
# - make generation cheaper in two ways: with fewer key heads, and with a cache of bounded size;
# - measure how strongly an output depends on an input, and find a layer that breaks its mask.
#
# | | |
# |---|---|
# | You need | lesson 01; PyTorch: broadcasting, `softmax`, `cumsum`, `masked_fill`, automatic differentiation |
# | Time | about three hours: seven tasks of 20 or 25 minutes and one question in words. No task needs the answer to another |
# | Points | 30: the tests give 28, one question is read by a human |
# | Machine | any laptop; each cell runs in seconds |
#
# **How it works.** Each task has a card, an unfinished function and a `check`. The check runs at once: it says what is right, names the likely mistake, and draws wrong tables. Replace `# YOUR CODE HERE` and the line below it. Don't rename functions, and don't delete cells; you may add cells. Hints are folded. Hint 1 points the way, and hint 2 says nearly everything.
#
# After you hand in, the same checks run on new random inputs of other sizes. Each line of a check counts by itself, so half a task gives half its points. Use plain PyTorch, and nothing of `vlmcourse` but what the first cell imports. PyTorch's `scaled_dot_product_attention` is allowed in tasks 5 and 6, and not in task 1. (A human reads the code.)
#
# **Letters for axes.** B: texts in the batch. H: heads. Q: queries. K: keys. T: tokens. D: width, the length of a vector. L: length of a sequence.
#
# A **mask** is a table of booleans with a row for each query and a column for each key. `True` means: this query may attend to this key.

# %% role="given" id="a1-setup"
import math

import torch
from torch.nn.functional import scaled_dot_product_attention

from vlmcourse.assignments import check, look
from vlmcourse import plots

_ = torch.manual_seed(0)

# %% [markdown]
# ## Task 1 · Attention in pieces (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | join partial results of attention, empty rows included | ●●●●○ | ●●●●○ | 25 |
#
# A long sequence doesn't fit on one device, so each device holds a part of the keys. Each device computes attention over its own keys, and afterwards the partial results are joined. For that, a part must also return how much its keys count: the logarithm of a sum, here called the **log-sum**. Let $s_{qk}$ be the score of query $q$ and key $k$: their dot product divided by $\sqrt{D}$. The sums run over the keys of this part that the query may attend to:
#
# $$\text{result}_q = \frac{\sum_k e^{s_{qk}}\, v_k}{\sum_k e^{s_{qk}}}, \qquad \text{log\_sum}_q = \ln \sum_k e^{s_{qk}}$$
#
# - `partial_attention` returns both. A row of the mask without any True is an **empty row**: this query may attend to no key of the part. Its result is 0, and its log-sum is minus infinity.
# - `combine` gets the results and log-sums of N parts. It returns what attention over all keys together would give. A query that may attend to no key at all gets 0.
#
# Scores can be above 100, and then $e^s$ is too large for a 32-bit number. The functions must be right there, too. Gradients must never be NaN.
#
# *Example.* A query has the scores 0 and ln 3, in two parts of one key each. The log-sums are 0 and ln 3, the results $v_1$ and $v_2$. Joined: $\tfrac14 v_1 + \tfrac34 v_2$.


# %% role="answer" id="a1-attention"
def partial_attention(q, k, v, mask):
    """Attention over one part of the keys.

    q (B, H, Q, D), k and v (B, H, K, D), mask: booleans that broadcast to (B, H, Q, K)
    -> result (B, H, Q, D), log_sum (B, H, Q)
    """
    ### BEGIN SOLUTION
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # (B, H, Q, K)
    some = mask.any(-1, keepdim=True)  # may attend to at least one key
    scores = scores.masked_fill(~mask & some, -math.inf)  # an empty row stays finite
    weights = scores.softmax(-1).where(some, 0)
    log_sum = scores.logsumexp(-1).where(some[..., 0], -math.inf)
    return weights @ v, log_sum
    ### END SOLUTION


def combine(results, log_sums):
    """results (N, B, H, Q, D) and log_sums (N, B, H, Q) of N parts -> (B, H, Q, D)."""
    ### BEGIN SOLUTION
    empty = log_sums.isneginf().all(0)  # (B, H, Q)
    shares = log_sums.masked_fill(empty, 0.0).softmax(0)[..., None]
    return (shares * results).sum(0)
    ### END SOLUTION


# %% role="test" id="a1-attention-test" points=4
check("a1-attention-test", partial_attention, combine)

# %% [markdown]
# <details><summary>Hint 1</summary>PyTorch's <code>softmax</code> and <code>logsumexp</code> subtract the maximum first, so large scores are safe. What do they give for a row in which every score is minus infinity? Find such rows with <code>mask.any(-1, keepdim=True)</code>. For <code>combine</code>: by which factor must each part's result be multiplied, so that the factors sum to 1?</details>
# <details><summary>Hint 2</summary>Leave the scores of empty rows finite, and replace their weights and log-sums afterwards with <code>torch.where</code>. Replacing NaN afterwards repairs the result, but often not the gradient. The factors of <code>combine</code> are a softmax of the log-sums over the parts, with the same care for queries that are empty in all parts.</details>
# <details><summary>If you see "masked_fill only supports boolean masks"</summary>Somewhere the mask became numbers. <code>~mask</code> is the opposite of a boolean mask; <code>1 - mask</code> is arithmetic.</details>

# %% [markdown]
# ## Task 2 · From a sentence to a mask (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | express four patterns of attention by comparing integers | ●●●○○ | ●●●●● | 25 |
#
# Give each position one or two integers; then a comparison of key and query is the mask. `level(key) <= level(query)` means: attend to your own level and to all lower ones. `group(key) == group(query)` means: attend to your own group. Comparisons can be joined by `&` and `|`. Write four masks, each (L, L):
#
# - `frames(number, size)`: a film of `number` frames, each of `size` tokens. A token attends to all tokens of its own frame and of earlier frames.
# - `window(length, size)`: a token attends to itself and to the `size - 1` tokens before it.
# - `examples(shots, size, question)`: first `shots` examples of `size` tokens each, then `question` tokens. A token attends to itself and to earlier tokens of its own example, and not to other examples. A token of the question attends to all examples, to itself and to earlier tokens of the question.
# - `mixed(image)`: `image` (L,) holds 0 for a token of text, and n for a token of image n. A token attends to itself and to all earlier tokens. A token of an image also attends to the later tokens of the same image.
#
# *Example.* `frames(2, 2)`, 1 for True: rows 1100, 1100, 1111, 1111.


# %% role="answer" id="a1-levels"
def frames(number, size):
    """Booleans (number * size, number * size)."""
    ### BEGIN SOLUTION
    level = torch.arange(number * size) // size
    return level[None, :] <= level[:, None]
    ### END SOLUTION


def window(length, size):
    """Booleans (length, length)."""
    ### BEGIN SOLUTION
    index = torch.arange(length)
    return (index[None, :] <= index[:, None]) & (index[None, :] > index[:, None] - size)
    ### END SOLUTION


def examples(shots, size, question):
    """Booleans (L, L), L = shots * size + question."""
    ### BEGIN SOLUTION
    index = torch.arange(shots * size + question)
    group = index // size
    is_question = index >= shots * size
    past = index[None, :] <= index[:, None]
    return past & ((group[None, :] == group[:, None]) | is_question[:, None])
    ### END SOLUTION


def mixed(image):
    """image (L,) integers, 0 for text -> booleans (L, L)."""
    ### BEGIN SOLUTION
    index = torch.arange(len(image))
    past = index[None, :] <= index[:, None]
    same_image = (image[None, :] == image[:, None]) & (image > 0)[:, None]
    return past | same_image
    ### END SOLUTION


# %% role="test" id="a1-levels-test" points=4
check("a1-levels-test", frames, window, examples, mixed)

# %%
look(
    lambda: plots.mask_gallery(
        {
            "frames(3, 2)": frames(3, 2),
            "window(6, 3)": window(6, 3),
            "examples(2, 2, 2)": examples(2, 2, 2),
            "mixed: text, image 1, text, image 2": mixed(torch.tensor([0, 1, 1, 0, 2, 2])),
        },
        columns=4,
    )
)

# %% [markdown]
# <details><summary>Hint 1</summary>To compare all pairs at once, write one vector as a row and the other as a column: <code>level[None, :] &lt;= level[:, None]</code>. Which of the two is the key? A whole-number division, <code>index // size</code>, numbers the frames or the examples.</details>
# <details><summary>Hint 2</summary>A window is two comparisons of <code>index</code>. In <code>examples</code>, "earlier or the same token" holds for everybody; then either both tokens are in one example, or the query is in the question. In <code>mixed</code>, text has the number 0 too, so "same number" alone would let text attend to later text.</details>
# <details><summary>If you see "Boolean value of Tensor with more than one value is ambiguous"</summary>You used <code>and</code>, <code>or</code> or <code>not</code> on tensors. Use <code>&amp;</code>, <code>|</code> and <code>~</code>, with brackets around each comparison.</details>

# %% [markdown]
# ## Task 3 · Captioned images, packed (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | pack several documents into one row without mixing them | ●●●●○ | ●●●●○ | 25 |
#
# A document is an image, given as some vectors, followed by its caption. Several short documents are packed into one row, one after the other; what is left of the row is padding. Packed or alone, a document must give the same result. Document d has `prefixes[d]` image vectors (0 or more) and `captions[d]` caption tokens (1 or more). Return three tensors for a row of `total` positions:
#
# - `mask` (total, total): an image vector attends to all image vectors of its document. A caption token attends to the image vectors of its document, to itself, and to earlier tokens of its caption. Padding attends to nothing, and nothing attends to padding.
# - `position` (total,), integers: the place of each token in its document, counted from 0. Padding has 0.
# - `loss_mask` (total,), booleans: caption tokens that are predicted. Each token is predicted at the position before it, so the first position of a document is never predicted. Image vectors and padding aren't predicted either.
#
# *Example.* `pack([1, 0], [1, 2], 5)`: one document of an image vector and a word, one of two words, one place of padding. Positions 0 1 0 1 0; loss mask False True False True False.


# %% role="answer" id="a1-pack"
def pack(prefixes, captions, total):
    """Two lists of integers, one entry a document; total >= the sum of all -> mask, position, loss_mask."""
    ### BEGIN SOLUTION
    document, position, is_caption = [], [], []
    for number, (prefix, caption) in enumerate(zip(prefixes, captions)):
        document += [number] * (prefix + caption)
        position += range(prefix + caption)
        is_caption += [False] * prefix + [True] * caption
    padding = total - len(document)
    document = torch.tensor(document + [-1] * padding)
    position = torch.tensor(position + [0] * padding)
    is_caption = torch.tensor(is_caption + [False] * padding)
    # all image vectors of a document share level 0
    level = torch.where(is_caption, position + 1, 0)
    same = (document[None, :] == document[:, None]) & (document >= 0)
    mask = same & (level[None, :] <= level[:, None])
    return mask, position, is_caption & (position > 0)
    ### END SOLUTION


# %% role="test" id="a1-pack-test" points=4
check("a1-pack-test", pack)

# %%
look(lambda: plots.mask(pack([2, 1], [3, 2], 10)[0], title="two documents and padding"))

# %% [markdown]
# <details><summary>Hint 1</summary>Make three lists first: the number of each position's document, its place in the document, and whether it is a caption token. For the document of padding take a number that no document has.</details>
# <details><summary>Hint 2</summary>Inside a document the mask is a comparison of levels: 0 for all image vectors, then growing along the caption. Padding has one document number, so it would attend to padding: leave it out with <code>document &gt;= 0</code>.</details>
# <details><summary>If you see "expected Tensor as element 0 ... but got list"</summary><code>torch.tensor(list)</code> turns a list into a tensor; <code>torch.cat</code> joins tensors only.</details>

# %% [markdown]
# ## Task 4 · The last few images before each token (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | generalise Flamingo's mask, for a batch | ●●●○○ | ●●●●● | 20 |
#
# A text contains image tokens: `is_image` (B, T) is True where one stands. Each image gives `per_image` visual tokens. They are the keys, the first image's first: with two visual tokens per image, the keys belong to images 1 1 2 2 3 3. Every row of the batch has room for `images` images. A row with fewer image tokens has padding in the remaining room.
#
# In Flamingo each token attends to the visual tokens of the last image before it. Here it attends to those of the last `most` images before it, or of fewer if there are not so many. An image token counts as "before" itself: it attends to its own image. Text before the first image attends to nothing, and nothing attends to padding. Return booleans (B, T, images * per_image).
#
# *Example.* Image tokens stand at places 0, 2 and 3, and `most` is 2. A word at place 1 attends to image 1, a word at place 4 to images 2 and 3.


# %% role="answer" id="a1-image"
def recent_images(is_image, images, per_image, most):
    """is_image (B, T) booleans, most >= 1 -> booleans (B, T, images * per_image)."""
    ### BEGIN SOLUTION
    phi = is_image.long().cumsum(1)[
        :, :, None
    ]  # (B, T, 1): number of image tokens so far, this one included
    image_of_key = torch.arange(images * per_image) // per_image + 1
    return (image_of_key <= phi) & (image_of_key > phi - most)
    ### END SOLUTION


# %% role="test" id="a1-image-test" points=4
check("a1-image-test", recent_images)

# %%
words = ["so:", "<image>", "a", "cat", "<image>", "a", "dog", "<image>", "both"]
is_image = torch.tensor([[word == "<image>" for word in words]])
look(
    lambda: plots.mask(
        recent_images(is_image, 3, 2, 2)[0],
        words,
        [f"image {n}" for n in (1, 1, 2, 2, 3, 3)],
        "the last two images",
    )
)

# %% [markdown]
# <details><summary>Hint 1</summary>Flamingo's paper calls the number of image tokens up to and including a token φ (phi). It is a running count along the text. Which images may a token with φ = 5 attend to, if <code>most</code> is 2?</details>
# <details><summary>Hint 2</summary>Images 4 and 5: those above φ - most, up to φ. Number the images from 1; then φ = 0 matches no image, and images that don't exist are above φ.</details>
# <details><summary>If you see "cumsum ... not implemented for 'Bool'"</summary>Booleans must become numbers first: <code>is_image.long()</code>.</details>

# %% [markdown]
# ## Task 5 · Fewer key heads than query heads (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | write grouped-query attention, and count what it saves | ●●●○○ | ●●●●○ | 25 |
#
# Small language models of today, such as SmolLM2 in lesson 15, have fewer key and value heads than query heads. Their key-value cache is smaller in the same ratio. With 9 query heads and 3 key heads, query heads 0, 1, 2 use key head 0; 3, 4, 5 use key head 1; and so on. There are as many value heads as key heads, and they are used in the same way. `key_heads` always divides `heads`.
#
# Write `grouped_attention`: queries from `x`, keys and values from `context`. Each matrix is applied as in `nn.Linear`, `x @ W.T`. A head owns neighbouring features: with a head width d, query head h has the features from h · d to (h + 1) · d - 1 of `x @ query.T`. Key head g has the features from g · d to (g + 1) · d - 1 of `context @ key.T`. The results of all heads are joined in order and multiplied by `out`.
#
# Then `cache_numbers`: how many numbers does the key-value cache (lesson 01) of a whole model hold for one text?


# %% role="answer" id="a1-heads"
def grouped_attention(x, context, query, key, value, out, heads, key_heads, mask):
    """Attention with `heads` query heads of width d = D / heads, and `key_heads` heads of keys and of values.

    x (B, Q, D), context (B, K, D), query and out (D, D), key and value (key_heads * d, D),
    mask booleans (B, 1, Q, K), no row empty -> (B, Q, D)
    """
    ### BEGIN SOLUTION
    q = (x @ query.T).unflatten(-1, (heads, -1)).transpose(1, 2)  # (B, H, Q, d)
    k = (context @ key.T).unflatten(-1, (key_heads, -1)).transpose(1, 2)
    v = (context @ value.T).unflatten(-1, (key_heads, -1)).transpose(1, 2)
    k, v = (y.repeat_interleave(heads // key_heads, dim=1) for y in (k, v))  # (B, H, K, d)
    result = scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return result.transpose(1, 2).flatten(2) @ out.T
    ### END SOLUTION


def cache_numbers(layers, tokens, key_heads, head_width):
    """Numbers in the key-value cache of a model with so many layers, after so many tokens -> an int."""
    ### BEGIN SOLUTION
    return 2 * layers * tokens * key_heads * head_width
    ### END SOLUTION


# %% role="test" id="a1-heads-test" points=4
check("a1-heads-test", grouped_attention, cache_numbers)


# %%
def megabytes(key_heads):
    """Of the cache of SmolLM2-135M for one text of 2,048 tokens, at two bytes a number."""
    return cache_numbers(layers=30, tokens=2048, key_heads=key_heads, head_width=64) * 2 / 2**20


look(lambda: plots.bars({f"key heads: {n}": {"cache": megabytes(n)} for n in (9, 3, 1)}, "MiB"))

# %% [markdown]
# <details><summary>Hint 1</summary>Split queries into <code>heads</code> heads, keys and values into <code>key_heads</code> heads. Then bring keys and values to <code>heads</code> heads, in the right order: 0 0 0 1 1 1 2 2 2.</details>
# <details><summary>Hint 2</summary><code>y.unflatten(-1, (n, -1)).transpose(1, 2)</code> makes n heads of neighbouring features. <code>repeat_interleave(r, dim=1)</code> gives 0 0 0 1 1 1, and <code>repeat</code> gives 0 1 0 1 0 1. Every layer caches keys <i>and</i> values.</details>
# <details><summary>If you see "view size is not compatible"</summary>After <code>transpose</code> use <code>flatten</code> or <code>reshape</code>, not <code>view</code>.</details>

# %% [markdown]
# ## Task 6 · A cache of bounded size (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | generate with a window and a cache that doesn't grow | ●●●●○ | ●●●●○ | 25 |
#
# A key-value cache keeps keys and values of earlier tokens, so that generation computes them once. With a window of W, a token attends to itself and to the W - 1 tokens before it. Older keys are then never needed again, so the cache needn't grow beyond W - 1 tokens.
#
# `step` gets the **new** tokens `x` (B, n, D) only: one token, or several, as at the beginning of a prompt. The layer has one head and three matrices, applied as `x @ W.T`. `cache` is None at first, later what the last call returned. `step` returns the result for the new tokens (B, n, D), and the new cache: a tuple of keys and values, each (B, t, D) with t at most W - 1. However the text is divided among calls, the results must be those of attention over the whole text at once with the mask `window(T, W)` of task 2.


# %% role="answer" id="a1-cache"
def step(x, query, key, value, cache, window):
    """x (B, n, D) new tokens, matrices (D, D), cache None or (keys, values), window W >= 1 -> result (B, n, D), cache."""
    ### BEGIN SOLUTION
    q, k, v = x @ query.T, x @ key.T, x @ value.T
    if cache is not None:
        k, v = torch.cat([cache[0], k], dim=1), torch.cat([cache[1], v], dim=1)
    new, total = x.shape[1], k.shape[1]
    at_key, at_query = torch.arange(total), torch.arange(total - new, total)[:, None]
    mask = (at_key <= at_query) & (at_key > at_query - window)
    result = scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], attn_mask=mask)[:, 0]
    start = max(0, total - (window - 1))
    return result, (k[:, start:], v[:, start:])
    ### END SOLUTION


# %% role="test" id="a1-cache-test" points=4
check("a1-cache-test", step)

# %% [markdown]
# <details><summary>Hint 1</summary>Four parts: queries, keys and values of the new tokens; old and new keys (and values), one after the other; attention with a mask that has a row for each new token and a column for each key at hand; the last W - 1 keys and values.</details>
# <details><summary>Hint 2</summary>If there are <code>total</code> keys at hand, the new tokens are number total - n to total - 1 among them. Positions in the whole text aren't needed, only differences. For W = 1 the cache is empty: <code>k[:, -0:]</code> would keep everything.</details>
# <details><summary>If you see "Expected attn_mask dtype to be bool"</summary>Comparisons give booleans; arithmetic with them gives numbers.</details>

# %% [markdown]
# ## Task 7 · How strongly, and is it allowed? (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | measure influence by derivatives, and judge layers by it | ●●●●○ | ●●●●○ | 25 |
#
# A mask only *declares* which inputs an output depends on. Lesson 01 replaced inputs and watched the outputs, which says yes or no. Derivatives say how strongly. Output q of a function has D numbers, input k has D numbers, so there are D × D derivatives of one by the other. Their size is the **influence** of k on q:
#
# $$\text{influence}_{qk} = \sqrt{\sum_{i=1}^{D} \sum_{j=1}^{D} \left(\frac{\partial\, \text{output}_{q,i}}{\partial\, \text{input}_{k,j}}\right)^{2}}$$
#
# - `influence(function, x)` returns it as a table (T, T), row q, column k. `function` maps (1, T, D) to (1, T, D).
# - `judge(layers, declared, x)` returns a word for each layer. An output *depends* on an input if the influence is above 1e-6. `"leak"`: some output depends on an input that the mask forbids. `"gap"`: some output doesn't depend on an input that the mask allows. `"both"`: there are leaks and gaps. `"fine"`: neither.


# %% role="answer" id="a1-measure"
def influence(function, x):
    """function (1, T, D) -> (1, T, D), x (1, T, D) -> floats (T, T), row: output, column: input."""
    ### BEGIN SOLUTION
    derivatives = torch.autograd.functional.jacobian(function, x)[0, :, :, 0]  # (T, D, T, D)
    return derivatives.square().sum(dim=(1, 3)).sqrt()
    ### END SOLUTION


def judge(layers, declared, x):
    """layers: functions as in `influence`; declared: a mask (T, T) for each -> a list of words."""
    ### BEGIN SOLUTION
    verdicts = []
    for layer, mask in zip(layers, declared):
        depends = influence(layer, x) > 1e-6
        leak, gap = bool((depends & ~mask).any()), bool((mask & ~depends).any())
        verdicts.append("both" if leak and gap else "leak" if leak else "gap" if gap else "fine")
    return verdicts
    ### END SOLUTION


# %% role="test" id="a1-measure-test" points=4
check("a1-measure-test", influence, judge)

# %% [markdown]
# <details><summary>Hint 1</summary><code>torch.autograd.functional.jacobian(function, x)</code> returns all derivatives; its shape is that of the output followed by that of the input. Which of the six axes are summed?</details>
# <details><summary>Hint 2</summary>Take batch entry 0 on both sides: (T, D, T, D). Square, sum over axes 1 and 3, take the root. For <code>judge</code>, compare <code>influence(...) &gt; 1e-6</code> with the mask in both directions.</details>
# <details><summary>If you see "One of the differentiated Tensors does not require grad"</summary>The output doesn't depend on the tensor that you ask about. Did you use <code>.detach()</code>, <code>torch.no_grad()</code>, or a copy made before?</details>

# %% [markdown] role="task" id="a1-why" points=2
# ## Question 8 · In your words (2 points, read by a human; 10 lines are enough)
#
# In Flamingo each word attends only to the last image before it. Yet a prompt with several images and captions works: the answer about the last image depends on the earlier images. A Flamingo layer is a cross-attention to the images, followed by the language model's own self-attention with a causal mask. **(a)** By which route does an earlier image reach a later word? After how many cross-attention and self-attention layers at the earliest? **(b)** Describe an experiment, with `influence` from task 7 if you like, that tells this route from a leak in the mask. Say what you would see in each of the two cases.
#
# === BEGIN MARK SCHEME ===
# (a) 1 point. Words after image 1 take it in by cross-attention; later words attend to *these words* by the language model's own causal self-attention. So it takes at least one cross-attention layer followed by one self-attention layer: not within the first cross-attention layer. Half a point if the route is right and the depth is missing.
#
# (b) 1 point. Measure one cross-attention layer alone, or the stack up to the first cross-attention: an influence of image 1 on words with phi = 2 there is a leak; none there, but some after a self-attention layer, is the allowed route. Equally good: cut the self-attention between the two captions and see the influence vanish (allowed route) or stay (leak). Half a point for an experiment that only shows *that* there is an influence. Attention weights alone, without any intervention, half a point.
# === END MARK SCHEME ===

# %% [markdown] role="reply"
# (a) Words that follow image 1 take it in through cross-attention. Later words can't attend to image 1, but they attend to these words in the language model's causal self-attention. So image 1 reaches them after one cross-attention layer and one self-attention layer, never inside the first cross-attention layer itself.
#
# (b) I'd measure the influence of the tokens of image 1 on the words after image 2, twice: for a single cross-attention layer, and for cross-attention followed by self-attention. If the mask leaks, the single layer already shows influence. If it is right, the single layer shows exactly none, and the stack shows some. As a control I'd cut the self-attention from the second caption to the first: the influence must vanish.

# %% [markdown]
# ## Before you hand in
#
# *Kernel → Restart and Run All*, then read the results of the checks once more. Hand in this notebook under the name that it has. Take out cells that run for minutes or ask for input.
