# %% [markdown]
# # Assignment 2 · CLIP and ViLBERT
#
# **After this assignment you can:**
#
# - compute CLIP's loss on several devices, and prepare its texts without losing their end;
# - build a classifier from any number of prompts, with the answer "none of these";
# - score retrieval with several captions per image, and diagnose training runs from a few numbers;
# - mask regions and words without leaks, and let any number of streams exchange information;
# - fine-tune to a task whose people disagree: targets, loss and accuracy of visual question answering.
#
# | | |
# |---|---|
# | You need | lessons 02, 03 and 04; softmax, cross-entropy, what a gradient is |
# | Time | about three hours: eight tasks of 15 to 25 minutes and one question in words. No task needs the answer to another |
# | Points | 34: the tests give 30, one question is read by a human |
# | Machine | any laptop; each cell runs in seconds |
#
# **How it works.** Each task has a card, an unfinished function and a `check`. The check runs at once: it says what is right, and names the likely mistake. Replace `# YOUR CODE HERE` and the line below it. Don't rename functions, and don't delete cells; you may add cells. Hints are folded. Hint 1 points the way, and hint 2 says nearly everything.
#
# After you hand in, the same checks run on new random inputs of other sizes. Each line of a check counts by itself. Use plain PyTorch, and nothing of `vlmcourse` but what the first cell imports (a human reads the code).
#
# **Letters for axes.** B: batch. T: tokens of a text. N: images. M: captions or prompts. C: classes. E: width of the joint space. R: regions of a picture. A: answers. H: heads. L: length of a stream. d: width of a head. All masks are booleans.

# %% role="given" id="a2-setup"
import math

import torch
from torch.nn.functional import cross_entropy, normalize

from vlmcourse.assignments import check, look
from vlmcourse.assignments.runs import clip_run
from vlmcourse import plots

_ = torch.manual_seed(0)

# %% [markdown]
# ## Task 1 · One device's share of the loss (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | compute CLIP's loss when the batch is spread over devices | ●●●○○ | ●●●●● | 25 |
#
# CLIP's batch of 32,768 pairs is spread over many devices. Each device encodes b pairs of its own: `image` and `text`, both (b, E). Then it receives the vectors of all devices: `all_image` and `all_text`, both (B, E). Pair i of this device is pair `first + i` of the whole batch. Vectors have any length: normalise them. Let $\mathbf{u}_i, \mathbf{v}_i$ be this device's unit vectors of image and text, $\mathbf{U}_j, \mathbf{V}_j$ those of the whole batch, and $e^{s}$ the learned scale. The device's share of the loss is
#
# $$\frac{1}{2b} \sum_{i=1}^{b} \left( -\log\frac{e^{\ell_{i\,r(i)}}}{\sum_{j=1}^{B} e^{\ell_{ij}}} - \log\frac{e^{m_{i\,r(i)}}}{\sum_{j=1}^{B} e^{m_{ij}}} \right), \qquad \ell_{ij} = e^{s}\; \mathbf{u}_i \cdot \mathbf{V}_j, \qquad m_{ij} = e^{s}\; \mathbf{v}_i \cdot \mathbf{U}_j$$
#
# Here $r(i)$ is the row of pair i in the whole batch, counted from the same start as j. The mean of all devices' shares is CLIP's loss of the whole batch. `logit_scale` is $s$, a learned parameter that needs its gradient. Its bounds are applied after the optimiser's step, so don't clamp it here.
#
# *Example.* If all vectors are equal, the share is ln B, not ln b.


# %% role="answer" id="a2-loss"
def share_of_loss(image, text, all_image, all_text, first, logit_scale):
    """image, text (b, E), all_image, all_text (B, E), first: an int, logit_scale: a tensor of one number -> the same."""
    ### BEGIN SOLUTION
    image, text = normalize(image, dim=-1), normalize(text, dim=-1)
    all_image, all_text = normalize(all_image, dim=-1), normalize(all_text, dim=-1)
    targets = first + torch.arange(len(image))
    image_loss = cross_entropy(logit_scale.exp() * image @ all_text.T, targets)  # (b, B)
    text_loss = cross_entropy(logit_scale.exp() * text @ all_image.T, targets)
    return (image_loss + text_loss) / 2
    ### END SOLUTION


# %% role="test" id="a2-loss-test" points=4
check("a2-loss-test", share_of_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>There are two tables of logits, each (b, B). They aren't transposes of each other. In which column does the right answer of row i stand?</details>
# <details><summary>Hint 2</summary><code>cross_entropy(logits, targets)</code> takes the softmax over columns and the mean over rows. The targets are <code>first + torch.arange(b)</code>. One table compares <code>image</code> with <code>all_text</code>, the other <code>text</code> with <code>all_image</code>.</details>
# <details><summary>If you see "expected a tensor", or a scale without gradient</summary><code>math.exp</code>, <code>float()</code> and <code>.item()</code> take a number out of the graph. <code>logit_scale.exp()</code> stays in it.</details>

# %% [markdown]
# ## Task 2 · Every text keeps its end (3 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | prepare texts of any length for a fixed context | ●●○○○ | ●●●●○ | 15 |
#
# CLIP's text vector is the state at the end token. So a text that is too long for the context must be cut in such a way that its end token stays. Each text is a list of ids. A row consists of `start`, the text, `end`, and then as often `pad` as is needed for `context` ids. If that doesn't fit, the last words of the text are left out. Return the ids, and the position of each end token.
#
# The ids of `start`, `end` and `pad` may be equal to each other or occur in a text, so positions can't be found by searching. A context that can't hold start and end is an error: raise a `ValueError` that says so.
#
# *Example.* Start 8, end 9, pad 0, context 4: the text 5 becomes 8 5 9 0, position 2; the text 5 6 7 becomes 8 5 6 9, position 3.


# %% role="answer" id="a2-end"
def fit(texts, start, end, pad, context):
    """texts: B lists of ids; start, end, pad: ids; context: an int -> ids (B, context), position (B,), integers."""
    ### BEGIN SOLUTION
    if context < 2:
        raise ValueError(f"a context of {context} can't hold a start and an end token; expected 2 or more.")
    rows, positions = [], []
    for text in texts:
        row = [start, *text[: context - 2], end]
        positions.append(len(row) - 1)
        rows.append(row + [pad] * (context - len(row)))
    return torch.tensor(rows), torch.tensor(positions)
    ### END SOLUTION


# %% role="test" id="a2-end-test" points=3
check("a2-end-test", fit)

# %% [markdown]
# <details><summary>Hint 1</summary>How many words can stay? Lists can be cut, <code>text[:n]</code>, added, and repeated, <code>[pad] * n</code>.</details>
# <details><summary>Hint 2</summary>A row without padding is <code>[start, *text[: context - 2], end]</code>. Its length tells the position of the end token, and how much padding is missing. Test the context first: with a context of 1, <code>text[:-1]</code> means something else.</details>
# <details><summary>If you see "expected sequence of length ... at dim 1"</summary>The rows have different lengths: pad each to <code>context</code> ids.</details>

# %% [markdown]
# ## Task 3 · Any number of prompts, and none of these (3 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | build a zero-shot classifier from prompts, with a way to say no | ●●●○○ | ●●●●○ | 20 |
#
# A class may be described by several prompts, and some classes by more than others: "a photo of a cat", "a kitten". `embeddings` (M, E) are the prompts' text vectors, of any length; prompt m describes class `class_of[m]`. The vector of a class is made in the embedding space (CLIP, Sec. 3.1.4): normalise its prompts' vectors, average them, and normalise again.
#
# `predict` then classifies images. The probabilities of an image are a softmax over the classes of scale × cosine; the scale is $e^{s}$, and `logit_scale` is $s$. Return two tensors: the number of the most probable class, or -1 if its probability is below `threshold`; and that highest probability, in both cases. Image vectors have any length.
#
# *Example.* With two classes of equal cosine the probabilities are ½ and ½. With a threshold of 0.6 the answer is -1, and the probability ½.


# %% role="answer" id="a2-zero-shot"
def class_vectors(embeddings, class_of, classes):
    """embeddings (M, E), class_of (M,) integers from 0 to classes - 1, each at least once -> unit vectors (classes, E)."""
    ### BEGIN SOLUTION
    belongs = (torch.arange(classes)[:, None] == class_of[None, :]).float()  # (C, M)
    return normalize(belongs @ normalize(embeddings, dim=-1), dim=-1)  # the length of a sum doesn't matter
    ### END SOLUTION


def predict(images, vectors, logit_scale, threshold):
    """images (N, E), vectors (C, E) of length 1, logit_scale: a tensor of one number, threshold: a number -> integers (N,), floats (N,)."""
    ### BEGIN SOLUTION
    probabilities = (logit_scale.exp() * normalize(images, dim=-1) @ vectors.T).softmax(dim=1)
    highest, answer = probabilities.max(dim=1)
    return answer.where(highest >= threshold, -1), highest
    ### END SOLUTION


# %% role="test" id="a2-zero-shot-test" points=3
check("a2-zero-shot-test", class_vectors, predict)

# %% [markdown]
# <details><summary>Hint 1</summary>Which prompts belong to which class is a table of zeros and ones, (C, M). A matrix product of it with the prompts' vectors sums the right ones. After the last normalisation, does it matter whether you summed or averaged?</details>
# <details><summary>Hint 2</summary><code>belongs = (torch.arange(classes)[:, None] == class_of).float()</code>. For the answer: <code>probabilities.max(dim=1)</code> returns the highest probability and its place.</details>
# <details><summary>If you see "expected m1 and m2 to have the same dtype"</summary>Booleans and integers can't be multiplied with floating-point numbers as matrices: <code>.float()</code>.</details>

# %% [markdown]
# ## Task 4 · Retrieval with several captions per image (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | rank in both directions, with ties against the model | ●●●●○ | ●●●●○ | 25 |
#
# `similarity` (N, M) compares N images with M captions. Caption j belongs to image `image_of[j]`; an image may have several captions, and has at least one. The best rank is 1. Return two tensors of integers:
#
# - *image to text*, (N,): the rank of the image's **best own caption** among the captions of *other* images. Its own captions don't compete with each other.
# - *text to image*, (M,): the rank of the caption's image among all images.
#
# **A tie counts against the model**: a wrong candidate that is as similar as the right one ranks before it. Otherwise a model with the same vector for everything would score 100 %. `recall(ranks, k)` is the share of ranks from 1 to k, a plain number from 0 to 1.
#
# *Example.* A caption has the similarity 0.5 to its own image and to one other image, and less to all the rest. Its rank from text to image is 2.


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
    """ranks: integers from 1; k: an int -> the share of ranks up to k, a number."""
    ### BEGIN SOLUTION
    return (ranks <= k).float().mean().item()
    ### END SOLUTION


# %% role="test" id="a2-ranks-test" points=4
check("a2-ranks-test", ranks, recall)

# %% [markdown]
# <details><summary>Hint 1</summary>A rank is 1 plus the number of wrong candidates that are at least as similar. So nothing needs to be sorted: compare, and count.</details>
# <details><summary>Hint 2</summary><code>own = image_of[None, :] == torch.arange(N)[:, None]</code> says which captions are whose. The best own similarity of each image: fill all others with minus infinity, take the maximum. Wrong candidates are <code>~own</code>, in both directions.</details>
# <details><summary>If you see "Boolean value of Tensor with more than one value is ambiguous"</summary><code>and</code> and <code>not</code> are for single booleans. For tensors use <code>&amp;</code> and <code>~</code>, with brackets around comparisons.</details>

# %% [markdown]
# ## Task 5 · Failure lab: four runs (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | infer a fault from loss, scale and held-out scores | ●●●○○ | ●●●●● | 15 |
#
# Five small CLIPs were trained in batches of 32 pairs: two linear encoders, noisy pairs. One is healthy, and four have one fault each. Look at the start and the end of the loss (ln 32 = 3.47), at the scale $e^s$, and at the two scores. R@1 is the share of 64 images whose own text is the most similar; chance is 1/64 = 0.02. The curves show the loss in nats, cut at 8. (The numbers were made once, and come with the course.)

# %%
runs = {name: clip_run(name) for name in ("healthy", "A", "B", "C", "D")}
for name, run in runs.items():
    print(
        f"{name:8} loss {run['loss'][0]:6.3f} -> {run['loss'][-1]:6.3f}"
        f"   scale {run['scale'][0]:8.3f} -> {run['scale'][-1]:8.3f}"
        f"   R@1: training {run['R@1, training pairs']:.2f}, held-out {run['R@1, held-out pairs']:.2f}"
    )
shown = {
    name: {step: min(run["loss"][step], 8) for step in range(0, 200, 10)}
    for name, run in runs.items()
}
plots.show(plots.curves(shown, "step", "loss (nats), cut at 8", chance=math.log(32)))

# %% [markdown]
# For each run, choose one of these causes:
#
# - `"wrong pairs"`: the texts were shuffled against the images before training;
# - `"batch of one"`: each batch holds one pair;
# - `"clamp in the forward pass"`: the bound of 100 on the scale is applied where the loss is computed, not after the optimiser's step, and the scale started above its bound;
# - `"other pictures in the test"`: the held-out images are prepared in another way than in training;
# - `"learning rate zero"`;
# - `"no normalisation"`: of the image and text vectors.
#
# Here the check looks only at the form of your answer. Whether it is right you learn with your grade.


# %% role="answer" id="a2-runs"
def diagnosis():
    """{'A': cause, 'B': cause, 'C': cause, 'D': cause}."""
    ### BEGIN SOLUTION
    return {
        "A": "wrong pairs",
        "B": "batch of one",
        "C": "clamp in the forward pass",
        "D": "other pictures in the test",
    }
    ### END SOLUTION


# %% role="test" id="a2-runs-test" points=4
check("a2-runs-test", diagnosis)

# %% [markdown]
# <details><summary>Hint 1</summary>Which fault leaves training as it is? Which makes the task trivial? Which makes it impossible? Which leaves a number unchanged that all other runs change?</details>
# <details><summary>Hint 2</summary>With one pair in the batch there is one answer, and -ln 1 = 0. From wrong pairs nothing can be learned that holds for new pairs. A clamp passes no gradient beyond its bound.</details>

# %% [markdown]
# ## Task 6 · Masking without leaks (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | find everything that would reveal a masked region or word | ●●●●○ | ●●●●○ | 25 |
#
# ViLBERT predicts masked regions and masked words. Nothing else in the input may show what was masked. Two leaks are common. The first: an object detector gives overlapping boxes, so a second box shows the same object. (The authors' released code marks such boxes, but leaves their features in the input.) The second: rare words are split into several pieces, such as "pla", "ty", "pus". If one piece is masked, the others reveal it.
#
# - `iou(boxes, others)`: how much two boxes overlap. The *intersection over union* is the area that both cover, divided by the area that at least one covers. It is 0 if that area is 0. A box is x1, y1, x2, y2 with x1 ≤ x2 and y1 ≤ y2.
# - `hidden_regions(boxes, is_region, selected, threshold)`: the regions to hide. These are the selected regions, and all regions of the same picture whose IoU with a selected one is at least `threshold`. Padding (`is_region` False) is never hidden, and doesn't count as selected.
# - `hidden_words(ids, word, selected, mask_id)`: `word` (B, T) is the number of the word that each piece belongs to, or -1 for special tokens. `selected` (B, W) says which words of each text are masked; W is the number of words of the longest text, or more. Return the input, with `mask_id` at **all** pieces of selected words, and the targets: the original id where a piece is masked, and -100 elsewhere.
#
# *Example.* Boxes 0 0 2 1 and 1 0 3 1: they share an area of 1 and cover 3, so the IoU is 1/3.


# %% role="answer" id="a2-masking"
def iou(boxes, others):
    """boxes (B, R, 4), others (B, S, 4) -> (B, R, S)."""
    ### BEGIN SOLUTION
    low = torch.maximum(boxes[:, :, None, :2], others[:, None, :, :2])  # (B, R, S, 2)
    high = torch.minimum(boxes[:, :, None, 2:], others[:, None, :, 2:])
    both = (high - low).clamp(min=0).prod(-1)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1)[:, :, None]
    other_area = (others[..., 2:] - others[..., :2]).prod(-1)[:, None, :]
    union = area + other_area - both
    return torch.where(union > 0, both / union.where(union > 0, 1), 0.0)
    ### END SOLUTION


def hidden_regions(boxes, is_region, selected, threshold):
    """boxes (B, R, 4), is_region and selected (B, R) booleans, threshold above 0 -> (B, R) booleans."""
    ### BEGIN SOLUTION
    chosen = selected & is_region
    overlaps = (iou(boxes, boxes) >= threshold) & chosen[:, None, :]  # (B, R, R)
    return (chosen | overlaps.any(-1)) & is_region
    ### END SOLUTION


def hidden_words(ids, word, selected, mask_id):
    """ids, word (B, T) integers, selected (B, W) booleans, mask_id: an id -> input (B, T), targets (B, T)."""
    ### BEGIN SOLUTION
    hide = selected.gather(1, word.clamp(min=0)) & (word >= 0)  # (B, T)
    return ids.masked_fill(hide, mask_id), ids.masked_fill(~hide, -100)
    ### END SOLUTION


# %% role="test" id="a2-masking-test" points=4
check("a2-masking-test", iou, hidden_regions, hidden_words)

# %% [markdown]
# <details><summary>Hint 1</summary>For all pairs of boxes at once, give one an axis in the middle and the other an axis before it. The intersection begins at the larger of both beginnings and ends at the smaller of both ends. It is empty if its end comes before its beginning.</details>
# <details><summary>Hint 2</summary>Negative sides must become 0 <i>before</i> width and height are multiplied. A region is hidden if <b>any</b> selected region overlaps it. <code>selected.gather(1, word)</code> looks up each piece's word; -1 is no index, so clamp first and leave special tokens out afterwards.</details>
# <details><summary>If you see "index -1 is out of bounds"</summary><code>gather</code> doesn't count from the end. Use <code>word.clamp(min=0)</code>.</details>

# %% [markdown]
# ## Task 7 · Co-attention among any number of streams (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | generalise co-attention from two streams to several | ●●●●○ | ●●●●○ | 25 |
#
# ViLBERT has two streams: regions attend to words, and words to regions. Some tasks have more: a picture, a question and an answer; or a film, its sound and its subtitles. Here each stream attends to **all other** streams and not to itself. One softmax runs over the real tokens of all others together.
#
# `streams` is a list of tuples (q, k, v), each (B, H, L, d); L differs from stream to stream. `is_real` is a list of booleans (B, L), False at padding. Scores are dot products divided by $\sqrt{d}$. Return a list: what each stream receives, (B, H, L, d). A picture or a text may be missing, so that all other streams hold only padding. Then a stream receives exactly 0. Gradients must never be NaN.


# %% role="answer" id="a2-streams"
def exchange(streams, is_real):
    """streams: S tuples of q, k, v, each (B, H, L, d); is_real: S tensors (B, L) -> S tensors (B, H, L, d)."""
    ### BEGIN SOLUTION
    received = []
    for number, (q, _, _) in enumerate(streams):
        others = [index for index in range(len(streams)) if index != number]
        k = torch.cat([streams[index][1] for index in others], dim=2)
        v = torch.cat([streams[index][2] for index in others], dim=2)
        real = torch.cat([is_real[index] for index in others], dim=1)[:, None, None]  # (B, 1, 1, K)
        some = real.any(-1, keepdim=True)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        weights = scores.masked_fill(~real & some, -math.inf).softmax(-1).where(some, 0)
        received.append(weights @ v)
    return received
    ### END SOLUTION


# %% role="test" id="a2-streams-test" points=4
check("a2-streams-test", exchange)

# %% [markdown]
# <details><summary>Hint 1</summary>For each stream, join the keys of all others along the axis of tokens; the values and the booleans likewise. Then it is attention with a padding mask.</details>
# <details><summary>Hint 2</summary>A mask of keys (B, K) becomes <code>[:, None, None]</code>, and masked scores are minus infinity. For rows without any real key, keep the scores finite and set the weights to 0 after the softmax (lesson 01).</details>
# <details><summary>If you see "Sizes of tensors must match except in dimension 1"</summary>Keys are (B, H, L, d): their tokens are axis 2. The booleans are (B, L): theirs are axis 1.</details>

# %% [markdown]
# ## Task 8 · Ten people answer (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | fine-tune to questions on which people disagree | ●●●○○ | ●●●●○ | 20 |
#
# In the VQA data set ten people answer each question, and they often disagree. An answer that n of them gave has the score min(n / 3, 1), so three people are enough for a full score. ViLBERT is fine-tuned with these scores as targets, over a fixed list of answers.
#
# - `soft_targets(answers, vocabulary)`: `answers` holds the ten answers to each question, as words. Return the score of each answer in the list `vocabulary`. Answers that aren't in the list are left out.
# - `answer_loss(logits, targets)`: each answer is a yes-or-no question. With logit z and target t its loss is $-\,[\,t \ln \sigma(z) + (1 - t) \ln \sigma(-z)\,]$, where σ is the sigmoid. **Sum** over answers, mean over questions. Logits may be as large as 200.
# - `accuracy(logits, targets)`: the mean score of the answer with the highest logit, a plain number.
# - `ceiling(targets)`: the accuracy of a model that always chooses the best answer of the list, a plain number. It is below 1 where people disagree, and where the list lacks their answers.
#
# *Example.* Answers: 2 × "red", 8 × "dark red"; vocabulary: red, blue. Targets: 2/3 and 0. The ceiling is 2/3.


# %% role="answer" id="a2-answers"
def soft_targets(answers, vocabulary):
    """answers: B lists of words, vocabulary: a list of A words -> floats (B, A) from 0 to 1."""
    ### BEGIN SOLUTION
    counts = torch.tensor([[float(given.count(word)) for word in vocabulary] for given in answers])
    return (counts / 3).clamp(max=1)
    ### END SOLUTION


def answer_loss(logits, targets):
    """logits (B, A), targets (B, A) from 0 to 1 -> a tensor of one number."""
    ### BEGIN SOLUTION
    log_yes = torch.nn.functional.logsigmoid(logits)
    log_no = torch.nn.functional.logsigmoid(-logits)
    return -(targets * log_yes + (1 - targets) * log_no).sum(-1).mean()
    ### END SOLUTION


def accuracy(logits, targets):
    """logits (B, A), targets (B, A) -> a number from 0 to 1."""
    ### BEGIN SOLUTION
    chosen = logits.argmax(-1, keepdim=True)
    return targets.gather(-1, chosen).mean().item()
    ### END SOLUTION


def ceiling(targets):
    """targets (B, A) -> a number from 0 to 1."""
    ### BEGIN SOLUTION
    return targets.amax(-1).mean().item()
    ### END SOLUTION


# %% role="test" id="a2-answers-test" points=4
check("a2-answers-test", soft_targets, answer_loss, accuracy, ceiling)

# %%
people = [["red"] * 2 + ["dark red"] * 8, ["blue"] * 10, ["two"] * 5 + ["2"] * 5]
listed = ["red", "blue", "two", "no"]
look(
    lambda: plots.bars(
        {
            f"question {number + 1}": dict(zip(listed, row.tolist()))
            for number, row in enumerate(soft_targets(people, listed))
        },
        "score of each listed answer",
    )
)

# %% [markdown]
# <details><summary>Hint 1</summary>Lists can count: <code>["a", "b", "a"].count("a")</code> is 2. For the accuracy, you need the place of the highest logit, and the target that stands there.</details>
# <details><summary>Hint 2</summary><code>torch.nn.functional.logsigmoid(z)</code> is stable for large logits, and ln(1 - σ(z)) is <code>logsigmoid(-z)</code>. <code>targets.gather(-1, logits.argmax(-1, keepdim=True))</code> picks one target for each question.</details>
# <details><summary>If you see "found a tensor"</summary>A plain number is wanted: <code>.item()</code>.</details>

# %% [markdown] role="task" id="a2-why" points=4
# ## Question 9 · In your words (4 points, read by a human; 15 lines are enough)
#
# A friend pre-trains a small ViLBERT, and fine-tunes it on 50,000 questions. On questions about new pictures it answers 61 % correctly. **(a)** She concludes that the model has learned to look at pictures. Which two controls does she need before she may say so? For each: what exactly is changed, and which result would speak against her? **(b)** During pre-training she masks only single boxes, although her detector's boxes overlap strongly. The region loss falls quickly. How may this harm the fine-tuned model? Why isn't the same overlap a problem while she fine-tunes? **(c)** CLIP gets the same 50,000 questions, as texts "question: ... answer: ...", and ranks the candidate answers by their cosine with the picture. Give one reason why this is worse than ViLBERT's head, and one use for which CLIP is the better choice.
#
# === BEGIN MARK SCHEME ===
# (a) 1½ points. Blind (½): pictures replaced by nothing or by a constant, the same questions; accuracy near 61 % speaks against her, since questions alone give the answers. Shuffled (½): each question with another question's picture (whose answer differs); accuracy near 61 % speaks against her. Chance or the most frequent answer per kind of question counts as one of the two. The numbers must be compared, not only named (½).
#
# (b) 1½ points. An overlapping box shows the masked object, so the region can be predicted by copying from the neighbour (½); the model needn't use the words, and exchange between the streams is learned less or later, which is what fine-tuning builds on (½). In fine-tuning nothing is masked and predicted: the answer isn't in the boxes' input as a copy, so overlap only adds redundant input (½).
#
# (c) 1 point. One of: a picture is pressed into one vector before the question is known; relations, counts and binding are weak in one cosine; candidates that differ in one word have nearly equal vectors (½). A use: search among many pictures, since their vectors are computed once; classification with new class names without training (½).
# === END MARK SCHEME ===

# %% [markdown] role="reply"
# (a) Blind: the same questions, with all regions' features zero and masked out. If it still answers about 61 %, the questions alone suffice. Shuffled: each question beside a picture of another question with another answer. If the score stays, the model doesn't use what this picture shows. Both scores should be near guessing among the answers of that kind of question.
#
# (b) A second box over the same object shows what was masked, so the loss can be lowered by copying from one region to another. The words aren't needed, and the streams don't learn to exchange information, on which the answer head relies. In fine-tuning no region is predicted. The answer isn't part of the input, so overlapping boxes are only redundant.
#
# (c) CLIP makes one vector of the picture before it knows the question, so counts and positions are mostly lost. ViLBERT's words attend to regions. CLIP is better for searching a million pictures, since their vectors are computed once.

# %% [markdown]
# ## Before you hand in
#
# *Kernel → Restart and Run All*, then read the results of the checks once more. Hand in this notebook under the name that it has. Take out cells that run for minutes or ask for input.
