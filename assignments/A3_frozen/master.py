# %% [markdown]
# # Assignment 3 · Frozen
#
# **After this you can** bring pictures to a language model that never changes: write them as vectors, put these in the place of words, score only what should be learnt, freeze so that it stays frozen, build prompts with examples, and make the control that shows whether pictures matter at all.
#
# | | |
# |---|---|
# | You need | lessons 05 and 07; embeddings, cross-entropy, what `requires_grad` does |
# | Time | about two and a half hours: eight tasks of 10 to 20 minutes, one question in words. Tasks don't build on each other |
# | Points | 30: the tests give 26, one question is read by a human |
# | Machine | any laptop; each cell runs in seconds |
#
# **How it works.** Each task has a card, an unfinished function, and a `check` that answers at once and names the likely mistake. Replace the two lines below `# YOUR CODE HERE`. Don't rename functions or delete cells; add as many as you like. Hints are folded: the first nudges, the second nearly tells.
#
# When you hand in, the same things are tested on fresh random inputs, and each line of a check counts by itself. Plain PyTorch, please: nothing from `vlmcourse.parts`, `vlmcourse.papers` or `vlmcourse.lab` (a human looks).
#
# Axes: **B** texts, **T** tokens, **M** pictures in the batch, **n** vectors per picture, **D** width of the language model, **V** vocabulary.

# %% role="given" id="a3-setup"
import torch
from torch.nn.functional import cross_entropy

from vlmcourse.assignments import check, look
from vlmcourse import plots

_ = torch.manual_seed(0)

# %% [markdown]
# ## Task 1 · A picture as two words (2 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | one linear map, n vectors | ●○○○○ | ●●●●○ | 10 |
#
# Frozen's image encoder ends in a summary of the picture. One linear map (`weight`, `bias`, as in `nn.Linear`) makes n · D numbers of it; the first D of them are the first vector, the next D the second, and so on (the paper's Sec. 3.1).


# %% role="answer" id="a3-words"
def to_words(summary, weight, bias, vectors):
    """summary (M, S), weight (n * D, S), bias (n * D,), vectors: n -> (M, n, D)."""
    ### BEGIN SOLUTION
    return (summary @ weight.T + bias).reshape(len(summary), vectors, -1)
    ### END SOLUTION


# %% role="test" id="a3-words-test" points=2
check("a3-words-test", to_words)

# %% [markdown]
# <details><summary>Hint 1</summary><code>nn.Linear</code> computes <code>x @ weight.T + bias</code>. Then only the shape is missing.</details>
# <details><summary>Hint 2</summary><code>reshape(M, n, D)</code> cuts each row into n blocks of D neighbours; (M, D, n) would deal them out in turn.</details>

# %% [markdown]
# ## Task 2 · In the place of words (4 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | fill slots in reading order, refuse what doesn't fit | ●●●○○ | ●●●●● | 20 |
#
# `is_slot` (B, T) says where vectors go; `prefix` (M, n, D) holds them, picture after picture, in **reading order**: text by text, left to right. A text may have several pictures, or one, or none. Return the embeddings with the vectors in their slots. What you were given must stay as it is (it may be the embedding table's own output, or the next batch's). If there is not exactly one vector for each slot, raise a `ValueError` that says how many there are of each.


# %% role="answer" id="a3-slots"
def put_in(embeddings, is_slot, prefix):
    """embeddings (B, T, D), is_slot (B, T) booleans, prefix (M, n, D) -> (B, T, D)."""
    ### BEGIN SOLUTION
    vectors = prefix.flatten(0, 1)
    if int(is_slot.sum()) != len(vectors):
        raise ValueError(f"{len(vectors)} vectors for {int(is_slot.sum())} slots; expected one for each.")
    out = embeddings.clone()
    out[is_slot] = vectors
    return out
    ### END SOLUTION


# %% role="test" id="a3-slots-test" points=4
check("a3-slots-test", put_in)

# %% [markdown]
# <details><summary>Hint 1</summary>A boolean index picks places in reading order, and can be assigned to. How must the prefix be shaped for that?</details>
# <details><summary>Hint 2</summary><code>out = embeddings.clone()</code>, then <code>out[is_slot] = prefix.flatten(0, 1)</code>; count before.</details>
# <details><summary>If you see "shape mismatch: value tensor of shape ... cannot be broadcast"</summary>That is PyTorch's word for too many or too few vectors. Your function should notice first, and say it in words that help.</details>

# %% [markdown]
# ## Task 3 · The loss on caption tokens (4 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | shift by one, score only captions | ●●●○○ | ●●●●● | 20 |
#
# What the model says at position t is its guess of token t + 1. `scored` (B, T) is True at the **tokens** of captions: not at slots, prompts or padding, and never at a first token. Return the mean of minus the log-probability over all scored tokens of the batch; each of them has the same weight, whichever text it is from.


# %% role="answer" id="a3-loss"
def caption_loss(logits, ids, scored):
    """logits (B, T, V), ids (B, T), scored (B, T) booleans -> a tensor of one number."""
    ### BEGIN SOLUTION
    target = ids.masked_fill(~scored, -100)[:, 1:]
    said = logits[:, :-1]
    return cross_entropy(said.flatten(0, 1), target.flatten())
    ### END SOLUTION


# %% role="test" id="a3-loss-test" points=4
check("a3-loss-test", caption_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>Leave out the last position's logits and the first token: then they stand side by side. The mask belongs to the tokens.</details>
# <details><summary>Hint 2</summary><code>cross_entropy</code> ignores targets of -100, in its sum and in its mean. It wants (positions, V) and (positions,).</details>
# <details><summary>If you see "Expected target size ... got ..."</summary><code>cross_entropy</code> takes the <i>second</i> axis for the classes. Flatten texts and positions into one axis first.</details>

# %% [markdown]
# ## Task 4 · Frozen for good (4 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | no parameter learns, dropout stays off, gradients pass | ●●●○○ | ●●●●● | 20 |
#
# `freeze(lm)` changes the model in place. Afterwards: no parameter of it learns, and none has changed; gradients still flow *through* it to what was put in (so that the image encoder can learn); and it stays in evaluation mode (dropout off) even when a system that contains it calls `.train()`, as every training loop does. Other parts of that system must still be able to train.


# %% role="answer" id="a3-freeze"
def freeze(lm):
    """lm: nn.Module, changed in place."""
    ### BEGIN SOLUTION
    lm.requires_grad_(False)
    lm.eval()
    for part in lm.modules():
        part.train = lambda mode=True, part=part: part
    ### END SOLUTION


# %% role="test" id="a3-freeze-test" points=4
check("a3-freeze-test", freeze)

# %% [markdown]
# <details><summary>Hint 1</summary>Learning and dropout are two switches: <code>requires_grad</code> of parameters, and <code>training</code> of modules. A parent's <code>train()</code> calls <code>train()</code> of its children.</details>
# <details><summary>Hint 2</summary>An attribute of an object hides its class's method. Give each module of <code>lm.modules()</code> a <code>train</code> of its own that returns the module and does nothing.</details>

# %% [markdown]
# ## Task 5 · Padding on the left (3 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | a batch of prompts that can be continued | ●●○○○ | ●●●●○ | 15 |
#
# To write, texts of different lengths must *end* together. Return three tensors (B, T), T being the longest text's length: `ids`, padded on the left with `pad`; `real`, True where a token is no padding; `position`, integers: a text's first token has position 0 wherever it stands, padding has 0. (A text may contain the id `pad` as a word: don't guess padding from ids.)


# %% role="answer" id="a3-pad"
def pad_left(texts, pad):
    """texts: lists of ids, pad: an id -> ids (B, T), real (B, T) booleans, position (B, T)."""
    ### BEGIN SOLUTION
    longest = max(len(text) for text in texts)
    ids = torch.tensor([[pad] * (longest - len(text)) + text for text in texts])
    real = torch.tensor([[False] * (longest - len(text)) + [True] * len(text) for text in texts])
    position = (real.long().cumsum(1) - 1).clamp(min=0)
    return ids, real, position
    ### END SOLUTION


# %% role="test" id="a3-pad-test" points=3
check("a3-pad-test", pad_left)

# %%
look(lambda: plots.mask(pad_left([[5, 6], [5, 6, 7, 8], [5, 6, 7]], 0)[1], title="real tokens"))

# %% [markdown]
# <details><summary>Hint 1</summary>Lists of Python can be added and repeated: <code>[pad] * 3 + text</code>.</details>
# <details><summary>Hint 2</summary>A running count of real tokens, less one, is the position; before the first real token it is -1, so clamp.</details>

# %% [markdown]
# ## Task 6 · A page with examples (3 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | the few-shot prompt, with places for pictures | ●●○○○ | ●●●●● | 15 |
#
# A few-shot prompt shows pictures with captions, then a new picture with the beginning of its text. Return one list of ids: for each example, in order: `vectors` slots, its caption, `end`; then `vectors` slots and the `question`, with nothing behind it, as the model goes on from there.


# %% role="answer" id="a3-episode"
def episode(examples, question, slot, vectors, end):
    """examples: lists of ids, question: a list of ids; slot, end: ids; vectors: how many per picture -> a list of ids."""
    ### BEGIN SOLUTION
    page = []
    for caption in examples:
        page += [slot] * vectors + caption + [end]
    page += [slot] * vectors + question
    return page
    ### END SOLUTION


# %% role="test" id="a3-episode-test" points=3
check("a3-episode-test", episode)

# %% [markdown]
# <details><summary>Hint 1</summary>How many pictures does a prompt with k examples have? One more than k.</details>
# <details><summary>Hint 2</summary>A loop over the examples, and the same once more for the question, without an end.</details>

# %% [markdown]
# ## Task 7 · Answers by their likelihood (3 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | score whole answers, choose one | ●●●○○ | ●●●●○ | 15 |
#
# Each row of the batch is the same prompt with another answer behind it, padded to one length; `scored` is True at the answer's tokens. `likelihoods`: the log-probability of each whole answer, the **sum** over its tokens. `choose`: the place of the likeliest, a plain int.


# %% role="answer" id="a3-answers"
def likelihoods(logits, ids, scored):
    """logits (A, T, V), ids (A, T), scored (A, T) booleans -> (A,)."""
    ### BEGIN SOLUTION
    said = logits[:, :-1].log_softmax(-1)
    each = said.gather(-1, ids[:, 1:, None])[..., 0]  # (A, T - 1)
    return (each * scored[:, 1:]).sum(1)
    ### END SOLUTION


def choose(likelihoods):
    """(A,) -> int."""
    ### BEGIN SOLUTION
    return likelihoods.argmax().item()
    ### END SOLUTION


# %% role="test" id="a3-answers-test" points=3
check("a3-answers-test", likelihoods, choose)

# %% [markdown]
# <details><summary>Hint 1</summary>Log-probabilities of all words, of which you need one per position: that of the token that follows.</details>
# <details><summary>Hint 2</summary><code>said.gather(-1, ids[:, 1:, None])</code> picks them. Multiply by the mask, sum along the tokens.</details>

# %% [markdown]
# ## Task 8 · Other pictures (3 points)
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | the control that refutes a blind model's fluency | ●●●●○ | ●●●●○ | 20 |
#
# Does the model look? Give each text another text's picture: if the score stays, it doesn't. But if the other picture happens to show the same kind of thing, it is right after all, and the control flatters. `labels` (N,) says what each picture shows. Return a permutation p (N,) of integers: text i gets picture p[i], each picture is used once, none keeps its own, and `labels[p[i]] != labels[i]` for all i. No kind fills more than half of the pictures, so this is always possible. (Any such permutation will do.)


# %% role="answer" id="a3-others"
def others(labels):
    """(N,) integers -> (N,) integers."""
    ### BEGIN SOLUTION
    order = labels.argsort()  # equal labels side by side
    largest = labels.bincount().max()
    p = torch.empty_like(order)
    p[order] = order.roll(-int(largest))
    return p
    ### END SOLUTION


# %% role="test" id="a3-others-test" points=3
check("a3-others-test", others)

# %% [markdown]
# <details><summary>Hint 1</summary>Drawing permutations until one fits takes forever when one kind fills half. Put equal labels side by side. How far must you shift the row, so that nobody meets his own kind?</details>
# <details><summary>Hint 2</summary>By the size of the largest group. <code>order = labels.argsort()</code>; text <code>order[i]</code> gets picture <code>order[i + largest]</code>, around the corner at the end.</details>

# %% [markdown] role="task" id="a3-why" points=4
# ## Question 9 · In your words (4 points, read by a human; 15 lines are enough)
#
# Frozen's captions are fluent from the first hour of training on. **(a)** Why is fluency no evidence that the model sees, and which two controls would you report beside its score? What does each rule out that the other doesn't? **(b)** The paper also *fine-tunes* the language model on the captions, and few-shot results get worse, not better. Give a reason, and an experiment in our small world that would support or refute it. **(c)** One may not put `torch.no_grad()` around the frozen language model. Say what would learn, and what wouldn't, and how you'd notice in the first ten steps.
#
# === BEGIN MARK SCHEME ===
# (a) 1½ points. The language model was fluent before it got pictures (½). Blind (constant picture, trained or tested so): what can be said without any picture, the prior of captions (½). Shuffled: pictures as in life, but of others, so it also catches a model that only profits from *some* picture being there, or from statistics of pictures (½).
#
# (b) 1½ points. A reason (¾): fine-tuning on few kinds of sentences destroys what the model knew or could do in context (binding, facts, other styles), or lets it fit captions without the picture. An experiment (¾) with a measured quantity and a comparison: in-context binding or knowledge of the language model alone before and after; held-out nouns; frozen against fine-tuned at equal caption loss.
#
# (c) 1 point. Without a graph through the language model no gradient reaches prefix and encoder (½): nothing learns; the loss has no grad_fn and backward() raises an error, or, if something else still has a graph (a regulariser, an added term), the encoder's gradients are None and its weights stay identical (½ for a check that can be made).
# === END MARK SCHEME ===

# %% [markdown] role="reply"
# (a) The language model could write before it ever got a picture, so fluent sentences are its, not the encoder's. I'd report *blind* (grey pictures): what the prior of captions alone gives; and *shuffled* (other pictures of another kind): it also fools a model that merely reacts to the presence of a normal picture.
#
# (b) Tuned on captions, the weights forget what captions don't exercise, above all using examples in the prompt. In our world: measure the language model's accuracy in binding invented names, text only, before and after tuning, and the few-shot score of both models at equal caption loss.
#
# (c) Nothing learns: the encoder is reached only through the language model. `loss.backward()` complains that the loss doesn't require grad; at the latest, the encoder's weights are identical after ten steps.

# %% [markdown]
# ## Before you hand in
#
# *Kernel → Restart and Run All*, then read the checks once more. Hand in this notebook, with its name as it is. If a cell of yours takes minutes or asks for input, take it out.
