# %% [markdown]
# # Assignment 4 · BLIP and the Q-Former
#
# **After this you can** draw hard negatives without drawing a right one, build the matching task, train a captioner whose prompt doesn't count, keep a slow encoder and a queue, write the Q-Former's three masks and its two scores, and throw away captions that lie.
#
# | | |
# |---|---|
# | You need | lessons 08 and 10; softmax, cross-entropy, boolean masks |
# | Time | about two and a half hours: eight tasks of 10 to 25 minutes, one question in words. Tasks don't build on each other |
# | Points | 30: the tests give 26, one question is read by a human |
# | Machine | any laptop; each cell runs in seconds |
#
# **How it works.** Each task has a card, an unfinished function, and a `check` that answers at once and names the likely mistake. Replace the two lines below `# YOUR CODE HERE`. Don't rename functions or delete cells; add as many as you like. Hints are folded: the first nudges, the second nearly tells.
#
# When you hand in, the same things are tested on fresh random inputs, and each line of a check counts by itself. Plain PyTorch, please: nothing from `vlmcourse.parts`, `vlmcourse.papers` or `vlmcourse.lab` (a human looks).
#
# Axes: **B** batch, **T** text tokens, **R** queries of the Q-Former, **K** places of a queue, **D** width, **V** vocabulary.

# %% role="given" id="a4-setup"
import torch
from torch.nn.functional import cross_entropy, normalize

from vlmcourse.assignments import check, look
from vlmcourse import plots

_ = torch.manual_seed(0)

# %% [markdown]
# ## Task 1 · Hard negatives (4 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | with which probability is a wrong text drawn? | ●●●○○ | ●●●●● | 20 |
#
# BLIP's matching task needs, for each image, a text that is wrong but similar. `similarity` (B, B) holds scaled similarities, rows are images; `same` (B,) has equal numbers for pairs that mean the same. Return the probabilities (B, B) with which image i draws text j, as the paper's code makes them: softmax over all texts, **plus 1e-4**, then zero for all pairs with the same number (its own text too), then each row divided by its sum. The 1e-4 is there for a model that is so sure of the right text that nothing is left for the others.


# %% role="answer" id="a4-negatives"
def negatives(similarity, same):
    """similarity (B, B), same (B,) integers -> (B, B), rows sum to one."""
    ### BEGIN SOLUTION
    weights = similarity.softmax(dim=1) + 1e-4
    weights = weights.masked_fill(same[:, None] == same[None, :], 0)
    return weights / weights.sum(dim=1, keepdim=True)
    ### END SOLUTION


# %% role="test" id="a4-negatives-test" points=4
check("a4-negatives-test", negatives)

# %% [markdown]
# <details><summary>Hint 1</summary>Three steps, and their order matters: what does a row look like after each, if the softmax is 1 on the own text and 0 elsewhere?</details>
# <details><summary>Hint 2</summary><code>same[:, None] == same[None, :]</code> is True on the diagonal, too. <code>masked_fill</code>, then divide by <code>sum(dim=1, keepdim=True)</code>.</details>

# %% [markdown]
# ## Task 2 · The matching batch (2 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | one right pair, two wrong ones | ●○○○○ | ●●●●○ | 10 |
#
# `negative_image[i]` is the number of a wrong image for **text** i, `negative_text[i]` of a wrong text for **image** i. The matching task sees 3 B pairs: all right ones; each text with its wrong image; each image with its wrong text. Return three integer tensors (3 B,): the image's number, the text's number, the label (1 right, 0 wrong). The order of the pairs is up to you.


# %% role="answer" id="a4-matching"
def matching(negative_image, negative_text):
    """(B,), (B,) integers -> image (3 B,), text (3 B,), label (3 B,)."""
    ### BEGIN SOLUTION
    own = torch.arange(len(negative_image))
    image = torch.cat([own, negative_image, own])
    text = torch.cat([own, own, negative_text])
    label = torch.cat([torch.ones_like(own), torch.zeros_like(own), torch.zeros_like(own)])
    return image, text, label
    ### END SOLUTION


# %% role="test" id="a4-matching-test" points=2
check("a4-matching-test", matching)

# %% [markdown]
# <details><summary>Hint 1</summary>Write down the three groups for B = 2 on paper, as pairs (image, text).</details>
# <details><summary>Hint 2</summary>With <code>own = torch.arange(B)</code>, images are own, negative_image, own. And texts?</details>

# %% [markdown]
# ## Task 3 · A captioner's loss (3 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | label smoothing, and a prompt that doesn't count | ●●●○○ | ●●●●○ | 20 |
#
# BLIP's decoder is trained with label smoothing: the target of a token is not 1 on the right word, but `1 - smoothing` on it and `smoothing` spread evenly over **all V** words, the right one included. `scored` (B, T) is True at the tokens that count (not the prompt, not padding, never a first token). Position t predicts token t + 1. Return the mean over scored tokens.


# %% role="answer" id="a4-lm"
def lm_loss(logits, ids, scored, smoothing):
    """logits (B, T, V), ids (B, T), scored (B, T) booleans, smoothing: a number -> a tensor of one number."""
    ### BEGIN SOLUTION
    target = ids.masked_fill(~scored, -100)[:, 1:]
    said = logits[:, :-1].flatten(0, 1)
    return cross_entropy(said, target.flatten(), label_smoothing=smoothing)
    ### END SOLUTION


# %% role="test" id="a4-lm-test" points=3
check("a4-lm-test", lm_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>Cut off the last position's logits and the first token, and they stand side by side. <code>scored</code> goes with the tokens.</details>
# <details><summary>Hint 2</summary><code>cross_entropy</code> knows <code>label_smoothing=</code>, and ignores targets of -100.</details>

# %% [markdown]
# ## Task 4 · The slow encoder and its queue (3 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | momentum, and a ring of old embeddings | ●●●○○ | ●●●○○ | 20 |
#
# BLIP's contrastive task compares with embeddings of earlier batches, made by a slowly following copy of the encoder. `follow(slow, fast, momentum)`: each slow parameter becomes `momentum` times itself plus (1 - `momentum`) times the fast one, in place, without a graph; the fast ones stay. `enqueue(queue, place, new)`: write `new` (n, E) into `queue` (K, E) from row `place` on, over the oldest; return the queue and the next place, which starts again at 0 after the end. K is a multiple of n.


# %% role="answer" id="a4-momentum"
def follow(slow, fast, momentum):
    """slow, fast: lists of parameters; slow is changed in place."""
    ### BEGIN SOLUTION
    with torch.no_grad():
        for old, new in zip(slow, fast):
            old.mul_(momentum).add_(new, alpha=1 - momentum)
    ### END SOLUTION


def enqueue(queue, place, new):
    """queue (K, E), place: an int, new (n, E) -> queue (K, E), int."""
    ### BEGIN SOLUTION
    queue = queue.clone()
    queue[place:place + len(new)] = new
    return queue, (place + len(new)) % len(queue)
    ### END SOLUTION


# %% role="test" id="a4-momentum-test" points=3
check("a4-momentum-test", follow, enqueue)

# %% [markdown]
# <details><summary>Hint 1</summary>With momentum 0.995 the slow one hardly moves: which of the two gets the 0.995?</details>
# <details><summary>Hint 2</summary>In place: <code>old.mul_(m).add_(new, alpha=1 - m)</code>, under <code>torch.no_grad()</code>. The next place: <code>%</code> is the remainder.</details>
# <details><summary>If you see "a leaf Variable that requires grad is being used in an in-place operation"</summary>You are writing into the fast parameters.</details>

# %% [markdown]
# ## Task 5 · Soft targets (3 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | what if a "wrong" text describes the image, too? | ●●○○○ | ●●●○○ | 10 |
#
# The slow encoder's opinion softens the contrastive targets. `similarity` (B, B + K) compares its images with its texts: first the batch's own, text i with image i, then the queue's. Return targets (B, B + K): `alpha` times the softmax of the similarities plus (1 - `alpha`) times the hard target.


# %% role="answer" id="a4-soft"
def soft_targets(similarity, alpha):
    """similarity (B, B + K), alpha: a number -> (B, B + K)."""
    ### BEGIN SOLUTION
    hard = torch.eye(*similarity.shape)
    return alpha * similarity.softmax(dim=1) + (1 - alpha) * hard
    ### END SOLUTION


# %% role="test" id="a4-soft-test" points=3
check("a4-soft-test", soft_targets)

# %% [markdown]
# <details><summary>Hint 1</summary>The hard target of row i is 1 in column i, 0 elsewhere, also in the columns of the queue.</details>
# <details><summary>Hint 2</summary><code>torch.eye(rows, columns)</code> makes such a table.</details>

# %% [markdown]
# ## Task 6 · Three tasks, three masks (3 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | the Q-Former's Figure 2, with real batches | ●●●○○ | ●●●●● | 25 |
#
# One transformer reads `queries` query vectors and then T text tokens. Who may look at whom is the task:
#
# - `"contrast"`: queries see queries, text sees text;
# - `"match"`: everybody sees everybody;
# - `"generate"`: queries see queries; text sees queries, itself and its own past.
#
# Texts of a batch are padded on the right: `real` (B, T) is True at tokens. **Nobody looks at padding**, whatever the task. (What padding itself looks at doesn't matter to anybody; leave its rows as they are.) Return booleans (B, queries + T, queries + T), rows look, columns are looked at.


# %% role="answer" id="a4-masks"
def qformer_mask(task, queries, real):
    """task: 'contrast', 'match' or 'generate'; real (B, T) booleans -> (B, queries + T, queries + T) booleans."""
    ### BEGIN SOLUTION
    B, T = real.shape
    is_text = torch.arange(queries + T) >= queries
    if task == "contrast":
        rule = is_text[None, :] == is_text[:, None]
    elif task == "match":
        rule = torch.ones(queries + T, queries + T, dtype=torch.bool)
    else:
        level = torch.cat([torch.zeros(queries), torch.arange(1, T + 1)])
        rule = level[None, :] <= level[:, None]
    there = torch.cat([torch.ones(B, queries, dtype=torch.bool), real], dim=1)
    return rule & there[:, None, :]
    ### END SOLUTION


# %% role="test" id="a4-masks-test" points=3
check("a4-masks-test", qformer_mask)

# %%
one = torch.tensor([[True, True, True, False]])
look(lambda: plots.gallery({task: qformer_mask(task, 3, one)[0] for task in ("contrast", "match", "generate")}))

# %% [markdown]
# <details><summary>Hint 1</summary>First one mask (length, length) per task, by levels or groups as in assignment 1; then hide columns, which differ from text to text.</details>
# <details><summary>Hint 2</summary><code>there</code> (B, queries + T) is True for all queries and for real tokens; <code>rule &amp; there[:, None, :]</code>.</details>

# %% [markdown]
# ## Task 7 · Two scores (4 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | the best query for contrast, all of them for matching | ●●●○○ | ●●●●● | 20 |
#
# The Q-Former answers with R vectors per image. For **contrast**, image i and text j are as similar as the *best* query of image i is to text j, by cosine; divided by the temperature. For **matching**, each query's state goes through one linear head (no, yes), and the logits are *averaged* over queries.


# %% role="answer" id="a4-scores"
def contrast_logits(queries, text, temperature):
    """queries (B, R, E), text (B, E), of any length; temperature: a number -> (B, B), rows are images."""
    ### BEGIN SOLUTION
    cosines = torch.einsum("ire,je->ijr", normalize(queries, dim=-1), normalize(text, dim=-1))
    return cosines.amax(dim=-1) / temperature
    ### END SOLUTION


def match_logits(states, weight, bias):
    """states (B, R, D), weight (2, D), bias (2,) -> (B, 2)."""
    ### BEGIN SOLUTION
    return (states @ weight.T + bias).mean(dim=1)
    ### END SOLUTION


# %% role="test" id="a4-scores-test" points=4
check("a4-scores-test", contrast_logits, match_logits)

# %% [markdown]
# <details><summary>Hint 1</summary>All images' queries with all texts: three axes (image, text, query), of which one must go.</details>
# <details><summary>Hint 2</summary><code>torch.einsum("ire,je-&gt;ijr", ...)</code> compares everything; <code>amax(dim=-1)</code> keeps the best query. The head is linear: mean of logits.</details>

# %% [markdown]
# ## Task 8 · CapFilt: which captions to keep (4 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | filter by matching, then ask how good the filter is | ●●○○○ | ●●●●○ | 20 |
#
# The web's captions lie, a captioner's own are often better, and the filter is the matching head. `scores` (N, 2) holds its logits (no, yes) for N captions, `source` says `"web"`, `"synthetic"` or `"human"`. `keep`: the places, ascending, of captions whose **probability** of yes, by softmax, is above 0.5; human captions are kept whatever the filter thinks. Then, where the truth is known (in our world it is): `quality(kept, good)` returns precision and recall.


# %% role="answer" id="a4-capfilt"
def keep(scores, source):
    """scores (N, 2), source: N texts -> a list of places."""
    ### BEGIN SOLUTION
    yes = scores.softmax(dim=1)[:, 1].tolist()
    return [place for place in range(len(source)) if source[place] == "human" or yes[place] > 0.5]
    ### END SOLUTION


def quality(kept, good):
    """kept: a list of places, good: N truths -> precision, recall."""
    ### BEGIN SOLUTION
    right = sum(good[place] for place in kept)
    return right / len(kept), right / sum(good)
    ### END SOLUTION


# %% role="test" id="a4-capfilt-test" points=4
check("a4-capfilt-test", keep, quality)

# %% [markdown]
# <details><summary>Hint 1</summary>Logits are no probabilities: yes = 1 says nothing if no = 2.</details>
# <details><summary>Hint 2</summary><code>scores.softmax(dim=1)[:, 1]</code>. Precision: right among the kept. Recall: right among the good.</details>

# %% [markdown] role="task" id="a4-why" points=4
# ## Question 9 · In your words (4 points, read by a human; 15 lines are enough)
#
# **(a)** BLIP has a contrastive task and a matching task. Give two captions of one picture that the first can hardly tell apart and the second can, and say why. Why not use matching alone to search among a million pictures? **(b)** A classmate's Q-Former reaches a generation loss of nearly zero in training, and writes nonsense. Which cell of the mask do you suspect, and which measurement settles it? **(c)** In CapFilt the filter is trained on the same human captions as the captioner. Name a kind of wrong caption that this pair will never find, and how you would notice.
#
# === BEGIN MARK SCHEME ===
# (a) 1½ points. Captions with the same words in other roles ("a dog left of a cat" / "a cat left of a dog") (½): contrast compares two vectors made without knowledge of each other, matching lets text look at the picture's parts (½). Matching costs a forward pass per pair, so it only re-ranks the contrastive shortlist (½).
#
# (b) 1½ points. Queries look at the text (rows of queries, columns of text), or text at its own future (¾). Measurement: change a text token and see whether the query outputs (or earlier text outputs) move; they must not. Or compare query outputs with and without text (¾; "look at the mask" alone ¼).
#
# (c) 1 point. Errors that both learnt: fluent captions that name what is usually there, attributes that people leave out, biases of the human captions, kinds of pictures missing from them (½). Notice: planted errors of a known kind and the filter's recall on each kind; or a sample judged by people (½).
# === END MARK SCHEME ===

# %% [markdown] role="reply"
# (a) "a dog left of a cat" and "a cat left of a dog". Contrast makes one vector of the picture and one of the text, each without seeing the other, and both captions hold the same words. Matching lets words look at parts of the picture. But matching needs a pass for each pair: a million of them per question, so it only orders the best few that contrast found.
#
# (b) Queries that see the text, top right of the mask: they carry the answer to every text position. I'd change one text token and compare the query outputs: any movement is the leak. (If they stand still, I'd test whether text position t moves with token t + 1.)
#
# (c) What both never saw named or both take for granted, such as the left-right order if people rarely mention it. I'd plant captions with swapped sides and measure which part of them the filter throws away.

# %% [markdown]
# ## Before you hand in
#
# *Kernel → Restart and Run All*, then read the checks once more. Hand in this notebook, with its name as it is. If a cell of yours takes minutes or asks for input, take it out.
