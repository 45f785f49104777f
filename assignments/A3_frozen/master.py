# %% [markdown]
# # Assignment 3 · A language model and Frozen
#
# **After this assignment you can:**
#
# - prepare prompts of different lengths for generation, and choose answers that the image made likelier;
# - find the cheapest model for a given loss, when the model will also be used;
# - tune a frozen language model: adapters of several tasks in one batch, a trained prompt, exceptions from freezing;
# - put images of different sizes in the place of words;
# - make the control that shows whether a model uses its images.
#
# | | |
# |---|---|
# | You need | lessons 05, 06 and 07; embeddings, cross-entropy, what `requires_grad` does |
# | Time | about three hours: eight tasks of 15 to 25 minutes and one question in words. No task needs the answer to another |
# | Points | 32: the tests give 28, one question is read by a human |
# | Machine | any laptop; each cell runs in seconds |
#
# **How it works.** Each task has a card, an unfinished function and a `check`. The check runs at once: it says what is right, and names the likely mistake. Replace `# YOUR CODE HERE` and the line below it. Don't rename functions, and don't delete cells; you may add cells. Hints are folded. Hint 1 points the way, and hint 2 says nearly everything.
#
# After you hand in, the same checks run on new random inputs of other sizes. Each line of a check counts by itself. Use plain PyTorch, and nothing of `vlmcourse` but what the first cell imports (a human reads the code).
#
# **Letters for axes.** B: texts in the batch. T: tokens of a text. D: width of the language model. V: size of the vocabulary. M: images in the batch. A: answers. r: width inside an adapter. p: length of a trained prompt. All masks are booleans.

# %% role="given" id="a3-setup"
import math

import torch
from torch.nn.functional import gelu

from vlmcourse.assignments import check, look
from vlmcourse import plots

_ = torch.manual_seed(0)

# %% [markdown]
# ## Task 1 · Padding on the left (3 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | make a batch of prompts that can be continued | ●●○○○ | ●●●●○ | 15 |
#
# A language model continues a text after its last token. In a batch, prompts of different lengths must therefore *end* together, so the padding comes first. `texts` are B lists of ids. Return three tensors (B, T), where T is the length of the longest text:
#
# - `ids`: the texts, padded on the left with the id `pad`;
# - `is_token`: booleans, True where a token of the text stands, False at padding. A text may contain the id `pad` as a word, so padding can't be recognised by its id;
# - `position`: integers. The first token of each text has position 0, wherever it stands; padding has 0, too.
#
# *Example.* Texts 5 6 and 7 8 9 with pad 0: ids 0 5 6 and 7 8 9; positions 0 0 1 and 0 1 2.


# %% role="answer" id="a3-pad"
def pad_left(texts, pad):
    """texts: B lists of ids, none empty; pad: an id -> ids, is_token, position, each (B, T)."""
    ### BEGIN SOLUTION
    longest = max(len(text) for text in texts)
    ids = torch.tensor([[pad] * (longest - len(text)) + text for text in texts])
    is_token = torch.tensor([[False] * (longest - len(text)) + [True] * len(text) for text in texts])
    position = (is_token.long().cumsum(1) - 1).clamp(min=0)
    return ids, is_token, position
    ### END SOLUTION


# %% role="test" id="a3-pad-test" points=3
check("a3-pad-test", pad_left)

# %% [markdown]
# <details><summary>Hint 1</summary>Python's lists can be added and repeated: <code>[pad] * 3 + text</code>.</details>
# <details><summary>Hint 2</summary>A running count of tokens, less one, is the position. Before the first token it is -1, so clamp it at 0.</details>

# %% [markdown]
# ## Task 2 · What did the image add? (3 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | choose the answer that the image made likelier | ●●●○○ | ●●●●○ | 20 |
#
# Lesson 05 chose the answer with the highest log-probability. With images this has a weakness: an answer that is frequent in all texts wins, whatever the image shows. So compare with the same model and a blank image. For an answer $a$, the **gain** is
#
# $$\text{gain}(a) = \ln P(a \mid \text{image}) - \ln P(a \mid \text{blank image})$$
#
# where the log-probability of an answer is the sum over its tokens. Each row of the batch is the same prompt with another answer behind it, padded to one length. The logits at position t predict token t + 1. `is_answer` is True at the tokens of the answer, and never at the first token of a row.
#
# - `gains` returns the gain of each answer.
# - `choose` returns the place of the answer with the largest gain, a plain int from 0. If even the largest gain isn't above `minimum`, the image made no answer likelier: then it returns -1.
#
# *Example.* Log-probabilities with the image -2 and -3, with the blank image -1 and -5: the gains are -1 and 2, and `choose` returns 1.


# %% role="answer" id="a3-answers"
def gains(logits, blank_logits, ids, is_answer):
    """logits and blank_logits (A, T, V), ids (A, T), is_answer (A, T) booleans -> (A,)."""
    ### BEGIN SOLUTION
    log_p = logits[:, :-1].log_softmax(-1) - blank_logits[:, :-1].log_softmax(-1)
    of_token = log_p.gather(-1, ids[:, 1:, None])[..., 0]  # (A, T - 1)
    return of_token.masked_fill(~is_answer[:, 1:], 0.0).sum(1)
    ### END SOLUTION


def choose(gains, minimum):
    """gains (A,), minimum: a number -> an int: a place from 0, or -1."""
    ### BEGIN SOLUTION
    return gains.argmax().item() if gains.max() > minimum else -1
    ### END SOLUTION


# %% role="test" id="a3-answers-test" points=3
check("a3-answers-test", gains, choose)

# %% [markdown]
# <details><summary>Hint 1</summary>You need one log-probability for each token: that of the token that follows. Leave out the last position's logits and the first token; then prediction and token stand at the same place.</details>
# <details><summary>Hint 2</summary><code>log_p.gather(-1, ids[:, 1:, None])</code> picks the log-probabilities of the tokens. The mask belongs to the tokens, so it is shifted as they are. Take <code>log_softmax</code> of both kinds of logits before you subtract.</details>
# <details><summary>If you see "Index tensor must have the same number of dimensions"</summary><code>gather</code> needs an index with as many axes as the tensor: <code>ids[:, 1:, None]</code>.</details>

# %% [markdown]
# ## Task 3 · The cheapest model for a loss (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | find a compute-optimal size, with and without use | ●●●●○ | ●●●●○ | 20 |
#
# Chinchilla asks: which size gives the lowest loss for a given training compute? In practice one asks the other way round: which size reaches a given loss most cheaply? And a model costs compute again when it is used, for each token that it processes. With N parameters and D training tokens, the loss (in nats per token) is
#
# $$L(N, D) = E + \frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}}$$
#
# and the whole cost is $6ND + 2NU$ floating-point operations, where U is the number of tokens that the model will process in use. The constants come as a dictionary `law` with the keys `"E"`, `"A"`, `"B"`, `"alpha"`, `"beta"`.
#
# - `tokens_needed(size, loss, law)`: how many training tokens does a model of this size need for this loss? `math.inf`, if no number of tokens is enough.
# - `cheapest_size(sizes, loss, law, used)`: which size of the list has the lowest cost, training and use together? If no size reaches the loss, raise a `ValueError` that says so.
#
# *Example.* E = 1, A = 4, B = 6, alpha = beta = 1. For a loss of 2, a model of size 8 needs 1 = 4/8 + 6/D, so D = 12. A model of size 4 can't reach this loss.


# %% role="answer" id="a3-cost"
def tokens_needed(size, loss, law):
    """size: number of parameters N; loss: nats; law: dict of numbers -> number of tokens D, a float, or math.inf."""
    ### BEGIN SOLUTION
    left = loss - law["E"] - law["A"] / size ** law["alpha"]
    return (law["B"] / left) ** (1 / law["beta"]) if left > 0 else math.inf
    ### END SOLUTION


def cheapest_size(sizes, loss, law, used):
    """sizes: a list of numbers, loss and law as above, used: U, a number -> one of the sizes."""
    ### BEGIN SOLUTION
    costs = {size: 6 * size * tokens_needed(size, loss, law) + 2 * size * used for size in sizes}
    cheapest = min(costs, key=costs.get)
    if math.isinf(costs[cheapest]):
        raise ValueError(f"none of {len(sizes)} sizes reaches a loss of {loss}; expected larger sizes or a higher loss.")
    return cheapest
    ### END SOLUTION


# %% role="test" id="a3-cost-test" points=4
check("a3-cost-test", tokens_needed, cheapest_size)

# %% [markdown]
# The picture shows the whole cost for a loss of 2.2, with the constants that Besiroglu et al. (2024) fitted to Chinchilla's runs. Where is the minimum of each curve? Why does it move to the left if the model is used more?


# %%
def costs(used):
    """{size in 10^9 parameters: cost in 10^21 operations}"""
    law = {"E": 1.82, "A": 482, "B": 2085, "alpha": 0.348, "beta": 0.366}
    sizes = [1e9 * n for n in (1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30)]
    needed = {size: tokens_needed(size, 2.2, law) for size in sizes}
    return {size / 1e9: (6 * size * D + 2 * size * used) / 1e21 for size, D in needed.items()}


curves = {"not used": 0, "used for 1e11 tokens": 1e11, "used for 1e12 tokens": 1e12}
look(
    lambda: plots.curves(
        {name: costs(used) for name, used in curves.items()},
        "parameters (10^9)",
        "operations (10^21)",
        xlog=True,
        ylog=True,
    )
)

# %% [markdown]
# <details><summary>Hint 1</summary>Solve the formula of the loss for D. What remains for the term with D, after E and the term with N are taken from the loss? What if nothing remains?</details>
# <details><summary>Hint 2</summary>With <code>left</code> for what remains: B / D ** beta = left, so D = (B / left) ** (1 / beta). If <code>left</code> is 0 or negative, no D is large enough. A size that needs infinitely many tokens has an infinite cost.</details>
# <details><summary>If you see "'&lt;' not supported between instances of 'complex' and 'float'"</summary>A negative number to a fractional power is a complex number in Python. Test for it first.</details>

# %% [markdown]
# ## Task 4 · Adapters of several tasks in one batch (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | apply another adapter to each text, and start them well | ●●●○○ | ●●●●○ | 20 |
#
# One frozen language model can serve many tasks, if each task has adapters of its own. A batch then holds texts of different tasks. `task` (B,) is the number of each text's task. For a state x of a text of task k,
#
# $$\text{adapt}(x) = x + W^{\text{up}}_k\, \mathrm{gelu}(W^{\text{down}}_k\, x)$$
#
# with the matrices $W^{\text{down}}_k$ of shape (r, D) and $W^{\text{up}}_k$ of shape (D, r), and no biases.
#
# - `adapt` applies it to all texts at once.
# - `new_adapters` creates the matrices of all tasks. At first the adapters must change **nothing**, for any x: the model starts as it was. Yet they must be able to learn: after a first backward pass, some gradient of each task's adapter must differ from zero. And no two of its r inner units may start with equal weights: they would get equal gradients, and stay equal.


# %% role="answer" id="a3-adapters"
def adapt(x, task, down, up):
    """x (B, T, D), task (B,) integers, down (tasks, r, D), up (tasks, D, r) -> (B, T, D)."""
    ### BEGIN SOLUTION
    inner = gelu(x @ down[task].transpose(1, 2))  # (B, T, r)
    return x + inner @ up[task].transpose(1, 2)
    ### END SOLUTION


def new_adapters(tasks, width, inner):
    """Numbers of tasks, of features D, of inner units r -> down (tasks, r, D), up (tasks, D, r)."""
    ### BEGIN SOLUTION
    return torch.randn(tasks, inner, width) * width**-0.5, torch.zeros(tasks, width, inner)
    ### END SOLUTION


# %% role="test" id="a3-adapters-test" points=4
check("a3-adapters-test", adapt, new_adapters)

# %% [markdown]
# <details><summary>Hint 1</summary><code>down[task]</code> holds one matrix for each text of the batch, (B, r, D). A product of batches of matrices, <code>@</code>, then multiplies text by text. Which axes of the matrix must be exchanged?</details>
# <details><summary>Hint 2</summary>The output is x if one of the two matrices is zero. The gradient of a matrix is a product with the other one: what happens if both are zero?</details>
# <details><summary>If you see "Expected size for first two dimensions of batch2 tensor"</summary>Both tensors need the same number of texts, and the last axis of the first must be the middle axis of the second.</details>

# %% [markdown]
# ## Task 5 · A trained prompt in a padded batch (3 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | insert vectors between padding and text | ●●●●○ | ●●●○○ | 20 |
#
# Lesson 06 put a trained prompt before texts of one length. If texts are padded on the left, the prompt must stand between the padding and the first token, so that every text has it directly before itself. `x` (B, T, D) are embeddings, padding included, and `is_token` (B, T) is False at padding. Return
#
# - the new embeddings (B, p + T, D): each text's padding vectors, then the prompt, then its tokens' vectors;
# - the new `is_token` (B, p + T): prompt vectors count as tokens;
# - the new `position` (B, p + T): 0 for padding; prompt vectors have 0 to p - 1, and the text goes on from p.
#
# *Example.* Two prompt vectors P Q; a text with one padding vector: _ a b becomes _ P Q a b, with positions 0 0 1 2 3.


# %% role="answer" id="a3-prompt"
def insert_prompt(x, is_token, prompt):
    """x (B, T, D), is_token (B, T), padded on the left, prompt (p, D), p >= 1 -> three tensors (B, p + T, ...)."""
    ### BEGIN SOLUTION
    p, T = len(prompt), x.shape[1]
    padding = (~is_token).sum(1, keepdim=True)  # (B, 1)
    place = torch.arange(p + T).expand(len(x), -1)
    position = (place - padding).clamp(min=0)
    source = torch.where(place < padding, place, place - p).clamp(min=0)
    moved = x.gather(1, source[..., None].expand(-1, -1, x.shape[2]))
    is_prompt = (place >= padding) & (place < padding + p)
    vectors = torch.where(is_prompt[..., None], prompt[position.clamp(max=p - 1)], moved)
    return vectors, place >= padding, position
    ### END SOLUTION


# %% role="test" id="a3-prompt-test" points=3
check("a3-prompt-test", insert_prompt)

# %% [markdown]
# <details><summary>Hint 1</summary>How much padding a text has is <code>(~is_token).sum(1)</code>. One way is a loop over the texts, with <code>torch.cat</code> of three parts and <code>torch.stack</code> at the end.</details>
# <details><summary>Hint 2</summary>For one text with n padding vectors: <code>torch.cat([x[b, :n], prompt, x[b, n:]])</code>. Its positions: n zeros, then 0, 1, 2, ...</details>
# <details><summary>If you see "a leaf Variable that requires grad is being used in an in-place operation"</summary>Build a new tensor with <code>torch.cat</code>, instead of writing into one; then the gradient reaches the prompt.</details>

# %% [markdown]
# ## Task 6 · Images of different sizes among words (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | replace each image token by all vectors of its image | ●●●●○ | ●●●●● | 25 |
#
# In Frozen each image gives two vectors. In later models a large image gives more vectors than a small one. There a text contains **one** image token per image. It is replaced by all vectors of the image.
#
# `texts` are B lists of ids. `vectors` is a list of M tensors, one per image, (n, D) with its own n. They come in **reading order**: first all images of the first text, from left to right, then those of the second text. A text may have several images, or none. `table` (V, D) holds the embeddings of the vocabulary. Return three tensors; T is the length of the longest row:
#
# - `x` (B, T, D): embeddings of words, with image vectors in place of image tokens, and zeros as padding on the right;
# - `is_token` (B, T): False at padding;
# - `is_word` (B, T): True where a word stands, False at image vectors and padding. Only words can be predicted.
#
# If there aren't as many image tokens as images, raise a `ValueError` that says how many there are of each.
#
# *Example.* Image token 9, texts 9 5 and 6, one image of two vectors u, v: the rows are u v e₅ and e₆ 0 0, where e₅ is row 5 of the table.


# %% role="answer" id="a3-slots"
def build_inputs(texts, vectors, table, image_token_id):
    """texts: B lists of ids, vectors: M tensors (n, D), table (V, D) -> x (B, T, D), is_token (B, T), is_word (B, T)."""
    ### BEGIN SOLUTION
    tokens = sum(text.count(image_token_id) for text in texts)
    if tokens != len(vectors):
        raise ValueError(f"{tokens} image tokens for {len(vectors)} images; expected one for each image.")
    waiting, rows, words = iter(vectors), [], []
    for text in texts:
        parts = [next(waiting) if token == image_token_id else table[token][None] for token in text]
        rows.append(torch.cat(parts))
        words.append([token != image_token_id for token, part in zip(text, parts) for _ in part])
    longest = max(map(len, rows))
    x = torch.stack([torch.cat([row, row.new_zeros(longest - len(row), row.shape[1])]) for row in rows])
    is_token = torch.tensor([[place < len(row) for place in range(longest)] for row in rows])
    is_word = torch.tensor([word + [False] * (longest - len(word)) for word in words])
    return x, is_token, is_word
    ### END SOLUTION


# %% role="test" id="a3-slots-test" points=4
check("a3-slots-test", build_inputs)

# %% [markdown]
# <details><summary>Hint 1</summary>Go through the texts and their tokens once. Each token gives a tensor (n, D): one row of the table, or the next image's vectors. <code>iter(vectors)</code> and <code>next(...)</code> hand out images one after the other.</details>
# <details><summary>Hint 2</summary>Join a text's tensors with <code>torch.cat</code>, and note for each row of the result whether it is a word. Pad all rows to the longest, then stack. Count the image tokens <i>before</i> you begin: <code>text.count(image_token_id)</code>.</details>
# <details><summary>If you see "StopIteration"</summary>There were more image tokens than images. Your function should notice this first, and say so.</details>

# %% [markdown]
# ## Task 7 · Frozen, with exceptions (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | freeze a model for good, except the parts that are tuned | ●●●●○ | ●●●●● | 25 |
#
# In lesson 07 the whole language model is frozen. If adapters stand inside of it, they must still learn. `freeze(model, trained)` changes a model in place. `trained` is a set of names of its modules, as in `model.named_modules()`: for example `{"adapter", "layers.1.norm"}`. Afterwards:
#
# - the parameters inside the named modules learn, and no others do; no parameter has changed its value;
# - gradients still flow *through* the frozen parts to what the model was given;
# - when a system that contains the model calls `.train()`, the frozen parts stay in evaluation mode (their dropout stays off). The named modules, and everything outside of the model, switch to training mode. `.eval()` puts all of them into evaluation mode;
# - a name that isn't there is an error: raise a `ValueError` that says which.
#
# Remember that `module.train()` calls `train()` of its children, which call `train()` of theirs.


# %% role="answer" id="a3-freeze"
def freeze(model, trained):
    """model: nn.Module, changed in place; trained: a set of names of modules inside of it."""
    ### BEGIN SOLUTION
    modules = dict(model.named_modules())
    if unknown := trained - set(modules):
        raise ValueError(f"no module {sorted(unknown)[0]!r}; there are {', '.join(sorted(modules))}.")
    model.eval()
    model.requires_grad_(False)
    learning = [part for name in trained for part in modules[name].modules()]
    for name in trained:
        modules[name].requires_grad_(True)

    def keep_mode(part):
        def train(mode=True):
            for child in part.children():
                child.train(mode)
            return part

        return train

    for part in model.modules():
        if not any(part is other for other in learning):
            part.train = keep_mode(part)
    ### END SOLUTION


# %% role="test" id="a3-freeze-test" points=4
check("a3-freeze-test", freeze)

# %% [markdown]
# <details><summary>Hint 1</summary>There are two switches: <code>requires_grad</code> of parameters, and <code>training</code> of modules. An attribute of an object is found before the method of its class, so a frozen module can get its own <code>train</code>. But if that does nothing at all, how does <code>train()</code> reach an adapter inside a frozen layer?</details>
# <details><summary>Hint 2</summary>The own <code>train(mode=True)</code> of a frozen module leaves the module's mode as it is, calls <code>child.train(mode)</code> for each of its <code>children()</code>, and returns the module. The modules named in <code>trained</code>, and all modules inside of them, keep the usual <code>train</code>.</details>
# <details><summary>If you see "element 0 of tensors does not require grad"</summary>The computation was cut. Freeze parameters; use neither <code>no_grad</code> nor <code>detach</code>.</details>

# %% [markdown]
# ## Task 8 · Images of another kind (3 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | make a shuffled control that can't be right by chance | ●●●●○ | ●●●●○ | 20 |
#
# Does a model use its images? In the shuffled control each text gets another text's image. If the score stays the same, the model doesn't use them. But a text about a cat may get another image of a cat, which is right, too; then the control's score is too high. `labels` (N,) says what each image shows. Return a permutation p (N,), integers: text i gets image p[i]. Each image is used exactly once, and `labels[p[i]] != labels[i]` for every i. No label has more than half of the images, so this is always possible. Any such permutation will do.
#
# *Example.* Labels 0 0 1 1: p = 2 3 0 1 is right, and so is 3 2 1 0.


# %% role="answer" id="a3-others"
def other_images(labels):
    """labels (N,) integers -> p (N,) integers."""
    ### BEGIN SOLUTION
    order = labels.argsort()  # equal labels side by side
    largest = labels.bincount().max()
    p = torch.empty_like(order)
    p[order] = order.roll(-int(largest))
    return p
    ### END SOLUTION


# %% role="test" id="a3-others-test" points=3
check("a3-others-test", other_images)

# %% [markdown]
# <details><summary>Hint 1</summary>Drawing permutations until one fits may take forever if one label has half of the images. Sort the images, so that equal labels stand side by side. By how many places must you shift the sorted row, so that no image meets its own label?</details>
# <details><summary>Hint 2</summary>By the size of the largest group. <code>order = labels.argsort()</code>; text <code>order[i]</code> gets image <code>order[i + largest]</code>, and at the end it goes on from the beginning.</details>

# %% [markdown] role="task" id="a3-why" points=4
# ## Question 9 · In your words (4 points, read by a human; 15 lines are enough)
#
# **(a)** Frozen's captions are fluent after minutes of training. Why is this no evidence that the model uses its images? Which two controls would you report beside its score, and what does each rule out that the other doesn't? **(b)** The paper also *fine-tunes* the language model on the captions, and its few-shot results get worse. Give a reason, and an experiment in our small world that would support or refute it. **(c)** A friend has no image encoder. She trains p prompt vectors instead, the same for every image, with the same captions and the frozen language model. What can these vectors learn, and what can't they? What will the blind control (a blank image for every text) say?
#
# === BEGIN MARK SCHEME ===
# (a) 1½ points. The language model was fluent before it got images (½). Blind (constant image, trained or tested so): what can be said without any image, the prior of captions (½). Shuffled: images as usual, but of others, so it also rules out a model that profits only from *some* image being there, or from statistics of images (½).
#
# (b) 1½ points. A reason (¾): fine-tuning on few kinds of sentences destroys what the model knew or could do in context (binding, facts, other styles), or lets it fit captions without the image. An experiment (¾) with a measured quantity and a comparison: in-context binding or knowledge of the language model alone before and after; held-out nouns; frozen against fine-tuned at equal caption loss.
#
# (c) 1 point. They can learn the style of captions, their frequent words and beginnings: everything that holds for all images (½, with: nothing that differs from image to image, as they don't depend on it). The blind control equals the score exactly, since the model never sees the image (½).
# === END MARK SCHEME ===

# %% [markdown] role="reply"
# (a) The language model could write before it got any image, so fluent sentences show nothing about images. I'd report *blind* (blank images): what the prior of captions alone gives. And *shuffled* (images of another kind): it also rules out a model that only reacts to the presence of a normal image.
#
# (b) Tuned on captions, the weights forget what captions don't exercise, above all the use of examples in the prompt. In our world: measure the language model's accuracy in binding invented names, text only, before and after tuning, and the few-shot score of both models at equal caption loss.
#
# (c) They learn what all captions have in common: style, length, frequent nouns. They can't tell one image from another, because they are the same for each. The blind control gives exactly the same score.

# %% [markdown]
# ## Before you hand in
#
# *Kernel → Restart and Run All*, then read the results of the checks once more. Hand in this notebook under the name that it has. Take out cells that run for minutes or ask for input.
