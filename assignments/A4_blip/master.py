# %% [markdown]
# # Assignment 4 · BLIP and the Q-Former
#
# **After this assignment you can:**
#
# - draw hard negatives from a queue that isn't full yet;
# - train on several answers to one question, and choose an answer from a long list cheaply;
# - estimate how many captions of a data set are wrong from what a filter keeps;
# - give several texts of one picture to a Q-Former at once, and say when this is wrong;
# - prepare BLIP-2's second stage for a language model that has an encoder and a decoder.
#
# | | |
# |---|---|
# | You need | lessons 08, 09 and 10; cross-entropy, boolean masks |
# | Time | about three hours: six tasks of 20 to 25 minutes and one question in words (30 minutes). No task needs the answer to another |
# | Points | 30: the tests give 26, one question is read by a human |
# | Machine | any laptop; each cell runs in seconds |
#
# **How it works.** Each task has a card, an unfinished function and a `check`. The check runs at once: it says what is right, and names the likely mistake. Replace `# YOUR CODE HERE` and the line below it. Don't rename functions, and don't delete cells; you may add cells. Hints are folded. Hint 1 points the way, and hint 2 says nearly everything. Each task goes a step further than an exercise of the lessons, so an answer from there isn't enough.
#
# After you hand in, the same checks run on new random inputs: of other sizes, and on all edge cases that a card names. Each line of a check counts by itself. Use plain PyTorch, and nothing of `vlmcourse` but what the first cell imports (a human reads the code).
#
# **Letters for axes.** B: pictures or questions in the batch. Q: places of a queue. N: answers. A: tokens of an answer. T: tokens of a text. R: queries of the Q-Former. V: size of the vocabulary. All masks are booleans, True = may be attended to; their rows are queries of attention and their columns keys.

# %% role="given" id="a4-setup"
import math

import torch

from vlmcourse.assignments import check, look
from vlmcourse import plots

_ = torch.manual_seed(0)

# %% [markdown]
# ## Task 1 · Hard negatives from a queue (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | draw wrong texts from batch and queue, while the queue fills | ●●●○○ | ●●●●○ | 25 |
#
# Lesson 08 draws a hard negative text for each picture from the other texts of the batch. A queue of earlier texts offers many more, and harder ones. `similarities` (B, B + Q) compares each picture with the batch's B texts, text i with picture i, and then with the Q places of the queue. Only the first `filled` places of the queue hold texts. The others still hold random vectors, which mean nothing, however high their similarity. Texts with the same group number describe the same picture: `groups` (B,) are the batch's, `queue_groups` (Q,) the queue's.
#
# Return the probability (B, B + Q) with which picture i draws each text:
#
# 1. softmax over all texts that exist (the batch's and the filled places), plus 0.0001;
# 2. zero for each text of the picture's own group, and for each empty place;
# 3. each row divided by its sum. A row in which nothing is left to draw stays zero.
#
# *Example.* B = 2, Q = 2, filled = 1, similarities all equal, all groups different. The three texts that exist have 1/3 each, plus 0.0001. Picture 0 can draw text 1 and the first of the queue, so its row is 0, 0.5, 0.5, 0.


# %% role="answer" id="a4-queue"
def negative_probabilities(similarities, groups, queue_groups, filled):
    """similarities (B, B + Q), groups (B,), queue_groups (Q,) integers, filled: an int from 0 to Q -> (B, B + Q)."""
    ### BEGIN SOLUTION
    exists = torch.cat([torch.ones(len(groups)).bool(), torch.arange(len(queue_groups)) < filled])
    right = groups[:, None] == torch.cat([groups, queue_groups])[None, :]
    weights = similarities.masked_fill(~exists, -math.inf).softmax(1) + 1e-4
    weights = weights.masked_fill(right | ~exists, 0.0)
    total = weights.sum(1, keepdim=True)
    return weights / total.where(total > 0, 1.0)
    ### END SOLUTION


# %% role="test" id="a4-queue-test" points=4
check("a4-queue-test", negative_probabilities)

# %% [markdown]
# <details><summary>Hint 1</summary>Two masks are needed at two times. Which texts take part in the softmax? Which may be drawn? A text of the picture's own group takes part in the softmax, but can't be drawn.</details>
# <details><summary>Hint 2</summary><code>torch.arange(Q) &lt; filled</code> says which places hold texts, and -inf before the softmax takes the others out. After step 2, divide by the sum where it is above 0, and by 1 elsewhere.</details>
# <details><summary>If you see "some values are NaN or infinite"</summary>A row has nothing to draw from, and 0 / 0 is not a number.</details>

# %% [markdown]
# ## Task 2 · Several answers to one question (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | weigh the losses of answers by how many people gave them | ●●●○○ | ●●●●○ | 25 |
#
# In VQA several people answer each question. Seven may say "red", two "dark red" and one "pink". BLIP trains on all different answers, each weighted by the number of people who gave it. The batch has N answers to B questions. Answer n belongs to question `question[n]`, a number from 0 to B - 1; each question has at least one answer. `counts[n]` people gave it. Answers of a question needn't stand side by side.
#
# - `answer_weights` returns the share of each answer among all answers given to its question. The shares of each question sum to 1.
# - `vqa_loss` returns the loss of the batch. The loss of an answer is the *sum* of minus the log-probabilities of its tokens. The loss of a question is the weighted sum over its answers, and the loss of the batch is the mean over its `B` questions. Gradients must reach the logits. Logits at position t predict token t + 1. `is_token` is True at words of the answer and at its end; it is False at the first token and at padding.
#
# *Example.* Counts 7, 2, 1 and 4, for questions 0, 0, 0 and 1: weights 0.7, 0.2, 0.1 and 1.


# %% role="answer" id="a4-answers"
def answer_weights(question, counts):
    """question (N,) integers, counts (N,) integers above 0 -> (N,)."""
    ### BEGIN SOLUTION
    same = question[:, None] == question[None, :]  # (N, N)
    return counts / (same * counts).sum(1)
    ### END SOLUTION


def vqa_loss(logits, ids, is_token, weights, B):
    """logits (N, A, V), ids (N, A), is_token (N, A) booleans, weights (N,), B: number of questions -> scalar."""
    ### BEGIN SOLUTION
    log_p = logits[:, :-1].log_softmax(-1)
    of_token = log_p.gather(2, ids[:, 1:, None])[..., 0]  # (N, A - 1)
    of_answer = -of_token.masked_fill(~is_token[:, 1:], 0.0).sum(1)
    return (weights * of_answer).sum() / B
    ### END SOLUTION


# %% role="test" id="a4-answers-test" points=4
check("a4-answers-test", answer_weights, vqa_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>For the weights: which answers belong to the same question as answer n? For the loss: first one number for each answer, then the weighted sum, then one division.</details>
# <details><summary>Hint 2</summary><code>question[:, None] == question[None, :]</code> is a table of who belongs together. <code>log_p.gather(2, ids[:, 1:, None])</code> picks the log-probability of each token; the mask is shifted like the tokens.</details>
# <details><summary>If you see "Index tensor must have the same number of dimensions"</summary><code>gather</code> needs an index with as many axes as the tensor: <code>ids[:, 1:, None]</code>.</details>

# %% [markdown]
# ## Task 3 · The best of 3,128 answers (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | choose from a list without reading all of it | ●●●○○ | ●●●○○ | 20 |
#
# To be comparable with classifiers, BLIP chooses its VQA answers from a list of 3,128. The decoder would have to read each of them for each question. So BLIP first looks only at the first word: one pass of the decoder over its first token gives `first_logits` (B, V) for the word that follows. Only the `k` answers whose first word is likeliest are read as a whole. The paper takes k = 128.
#
# `answers` (N, A) are the ids of the list. Column 0 is the decoder's first token, the same in all rows, so the first *word* is in column 1. `log_probs(rows, columns)` gets two tensors of integers (M,), questions and answers, and returns the log-probabilities (M,) of these whole answers. A call may hold any number of pairs. Return the number of the best answer for each question (B,), an integer from 0 to N - 1. Among the k that were read, the whole answer decides alone: its log-probability contains the first word already. If the list has fewer than k answers, read all. In our lists no two answers begin with the same word, so there are no ties.


# %% role="answer" id="a4-list"
def best_answers(first_logits, answers, log_probs, k):
    """first_logits (B, V), answers (N, A), log_probs: a function, k: an int above 0 -> (B,) integers."""
    ### BEGIN SOLUTION
    k = min(k, len(answers))
    columns = first_logits[:, answers[:, 1]].topk(k, dim=1).indices  # (B, k)
    rows = torch.arange(len(columns))[:, None].expand(-1, k)
    scores = log_probs(rows.flatten(), columns.flatten()).reshape(-1, k)
    best = scores.argmax(1, keepdim=True)
    return columns.gather(1, best)[:, 0]
    ### END SOLUTION


# %% role="test" id="a4-list-test" points=4
check("a4-list-test", best_answers)

# %% [markdown]
# <details><summary>Hint 1</summary>It is a re-ranking, as at the end of lesson 08, but with another first score, and the second score decides alone. What does the place of the best *among the k* say about its number in the list?</details>
# <details><summary>Hint 2</summary><code>first_logits[:, answers[:, 1]]</code> is a table (B, N). <code>topk(...).indices</code> are numbers of the list, and <code>gather</code> translates a place among the k into such a number.</details>
# <details><summary>If you see "selected index k out of range"</summary>The list is shorter than k.</details>

# %% [markdown]
# ## Task 4 · How many captions are wrong? (4 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | estimate noise from what a filter keeps, without labels | ●●●●○ | ●●●●○ | 20 |
#
# CapFilt's filter has looked at a million captions of the web and kept a share `kept` of them. Nobody knows which captions are wrong. But on a small sample that people have judged, two numbers of the filter were measured: `recall`, the share of the wrong captions that it throws out, and `false_alarms`, the share of the right captions that it throws out.
#
# - `noise_share` returns the share of wrong captions among the million. It is a float from 0 to 1: if chance carries the estimate outside, return the nearer end. If `recall` isn't above `false_alarms`, what the filter keeps says nothing about the noise; then raise a `ValueError` that says so in a sentence.
# - `noise_left` gets the share of wrong captions before the filter, and returns their share among the captions that it keeps. If it keeps nothing, return 0.0.
#
# *Example.* Recall 0.75, false alarms 0.25. Of a data set that is half wrong, half is thrown out: wrong captions are 0.5 · 0.75 = 0.375 of all, right ones 0.5 · 0.25 = 0.125. So a kept share of 0.5 means a noise of 0.5. Afterwards, 0.125 of 0.5 is wrong: a quarter.


# %% role="answer" id="a4-noise"
def noise_share(kept, recall, false_alarms):
    """Three shares from 0 to 1 -> a float from 0 to 1."""
    ### BEGIN SOLUTION
    if recall <= false_alarms:
        raise ValueError(f"recall {recall} isn't above false alarms {false_alarms}: the filter says nothing.")
    noise = (1 - kept - false_alarms) / (recall - false_alarms)
    return min(max(noise, 0.0), 1.0)
    ### END SOLUTION


def noise_left(noise, recall, false_alarms):
    """Three shares from 0 to 1 -> a float from 0 to 1."""
    ### BEGIN SOLUTION
    wrong, right = noise * (1 - recall), (1 - noise) * (1 - false_alarms)
    return wrong / (wrong + right) if wrong + right > 0 else 0.0
    ### END SOLUTION


# %% role="test" id="a4-noise-test" points=4
check("a4-noise-test", noise_share, noise_left)

# %% [markdown]
# The picture shows what is left of the noise, for three filters with the same recall. Which of them can make a data set worse?


# %%
filters = {"false alarms 0.1": 0.1, "false alarms 0.4": 0.4, "false alarms 0.8": 0.8}
look(
    lambda: plots.curves(
        {name: {n / 20: noise_left(n / 20, 0.7, alarms) for n in range(21)} for name, alarms in filters.items()},
        "share of wrong captions before the filter",
        "share after it",
    )
)

# %% [markdown]
# <details><summary>Hint 1</summary>Write the share that is *thrown out* as a sum of two parts, one of wrong captions and one of right ones. The noise is the only unknown.</details>
# <details><summary>Hint 2</summary>1 - kept = noise · recall + (1 - noise) · false_alarms. Solve for the noise. For <code>noise_left</code>, the kept captions are noise · (1 - recall) wrong ones and (1 - noise) · (1 - false_alarms) right ones.</details>

# %% [markdown]
# ## Task 5 · Several texts of one picture (5 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | pack texts behind the Q-Former's queries, where this is possible | ●●●●○ | ●●●●● | 25 |
#
# A picture often has several captions. Lesson 10 ran the Q-Former once for each, and the queries did the same work each time. Instead, put all captions of a picture behind one set of R queries. `text` (B, T) is the number of the caption to which each token belongs, 0 0 0 1 1 2 2 2 for example. `is_token` (B, T) is False at padding, which comes last. Each caption must get what it would get if it stood there alone (positions are counted elsewhere, and don't concern you). Return booleans (B, R + T, R + T), queries first:
#
# - `"itc"`: queries attend to queries; a token attends to all tokens of its own text;
# - `"itg"`: queries attend to queries; a token attends to queries, to itself, and to the past of its own text;
# - `"itm"`: raise a `ValueError` that says why. (Which states would differ from those of a caption that stands alone?)
#
# Nobody attends to padding. Rows of padding are not compared: leave them as they come.


# %% role="answer" id="a4-packed"
def packed_mask(objective, R, text, is_token):
    """objective: "itc", "itm" or "itg"; text (B, T) integers; is_token (B, T) booleans -> (B, R + T, R + T)."""
    ### BEGIN SOLUTION
    if objective == "itm":
        raise ValueError("with ITM queries attend to the text, so they would mix several texts; expected itc or itg.")
    B, T = text.shape
    number = torch.cat([torch.full((B, R), -1), text], dim=1)  # queries are text -1
    mask = number[:, :, None] == number[:, None, :]
    if objective == "itg":
        past = torch.ones(T, T).tril().bool()
        mask[:, R:, R:] = mask[:, R:, R:] & past
        mask[:, R:, :R] = True
    is_key = torch.cat([torch.ones(B, R).bool(), is_token], dim=1)
    return mask & is_key[:, None, :]
    ### END SOLUTION


# %% role="test" id="a4-packed-test" points=5
check("a4-packed-test", packed_mask)

# %%
captions = torch.tensor([[0, 0, 0, 1, 1, 2, 2, 2]])
every_token = torch.ones(1, 8, dtype=torch.bool)
look(lambda: plots.gallery({name: packed_mask(name, 2, captions, every_token)[0] for name in ("itc", "itg")}, columns=2))

# %% [markdown]
# <details><summary>Hint 1</summary>"Of the same text" is a comparison of two numbers. Which number could the queries have, so that one comparison gives the whole mask of ITC? For ITG, two blocks of this mask change.</details>
# <details><summary>Hint 2</summary>Give the queries the number -1. For ITG, <code>mask[:, R:, :R]</code> are tokens that attend to queries, and <code>mask[:, R:, R:]</code> is combined with a lower triangle. Columns of padding are emptied at the end.</details>

# %% [markdown]
# ## Task 6 · Stage 2 for a model with encoder and decoder (5 points)
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | split captions into what is read and what is written | ●●●○○ | ●●●○○ | 25 |
#
# Lesson 10 connects the Q-Former to a decoder. BLIP-2 also uses FlanT5, which has an encoder and a decoder. There each caption is cut in two. The R vectors of the picture and the *prefix* go into the encoder; the decoder learns to write the *suffix*. `texts` are B lists of ids, and `cuts` are B ints: the first `cuts[b]` ids of text b are its prefix. A prefix may be empty, but not all of them; no suffix is empty. A text may contain the id `pad` as a word, so padding can't be recognised by its id. All padding is on the right.
#
# - `encoder_inputs` returns the prefixes' ids (B, P), where P is the longest prefix, and booleans (B, R + P): True at the R vectors, which come first, and at ids of the prefix.
# - `decoder_inputs` returns two tensors (B, S), where S is the longest suffix. The targets are the ids of the suffix, and -100 at padding. The inputs are shifted by one: the id `start` first, then the suffix without its last id, then padding. So position t of the decoder reads what comes before target t.
#
# *Example.* Text 5 6 7 8 with cut 1, R = 2, start 0: encoder ids 5 and three times True; decoder inputs 0 6 7, targets 6 7 8.


# %% role="answer" id="a4-split"
def encoder_inputs(texts, cuts, R, pad):
    """texts: B lists of ids, cuts: B ints, R and pad: ints -> ids (B, P), booleans (B, R + P)."""
    ### BEGIN SOLUTION
    prefixes = [text[:cut] for text, cut in zip(texts, cuts)]
    P = max(map(len, prefixes))
    ids = torch.tensor([prefix + [pad] * (P - len(prefix)) for prefix in prefixes])
    lengths = R + torch.tensor([len(prefix) for prefix in prefixes])
    return ids, torch.arange(R + P)[None, :] < lengths[:, None]
    ### END SOLUTION


def decoder_inputs(texts, cuts, start, pad):
    """texts: B lists of ids, cuts: B ints, start and pad: ids -> inputs (B, S), targets (B, S)."""
    ### BEGIN SOLUTION
    suffixes = [text[cut:] for text, cut in zip(texts, cuts)]
    S = max(map(len, suffixes))
    inputs = [[start] + suffix[:-1] + [pad] * (S - len(suffix)) for suffix in suffixes]
    targets = [suffix + [-100] * (S - len(suffix)) for suffix in suffixes]
    return torch.tensor(inputs), torch.tensor(targets)
    ### END SOLUTION


# %% role="test" id="a4-split-test" points=5
check("a4-split-test", encoder_inputs, decoder_inputs)

# %% [markdown]
# <details><summary>Hint 1</summary>Write down both outputs for two texts of different lengths on paper. Lists of ids can be cut, added and repeated before they become a tensor.</details>
# <details><summary>Hint 2</summary><code>text[:cut]</code> and <code>text[cut:]</code>; <code>[start] + suffix[:-1]</code> has as many ids as the suffix. The mask follows from lengths: place &lt; R + length of the prefix.</details>
# <details><summary>If you see "expected sequence of length"</summary>The rows of a tensor must be equally long: pad each list first.</details>

# %% [markdown] role="task" id="a4-why" points=4
# ## Question 7 · In your words (4 points, read by a human; 15 lines are enough)
#
# **(a)** In task 5, ITM couldn't be packed. You have a picture with five captions and want ITM's loss for each. Name a mask, or another change of the Q-Former, that would make one pass enough. What does ITM lose by it? **(b)** In task 3 the answers are chosen in two steps. Describe a question and a list of answers for which the first step throws out the right answer, although the model knows it. How do you measure what the first step costs, without any labels? **(c)** In task 4 recall was measured on captions whose errors were *made* (words exchanged at random). The web's real errors are harder to find. Is the estimate of the noise then too high or too low, and what will the estimate of what is left say? Name a measurement that would show it.
#
# === BEGIN MARK SCHEME ===
# (a) 1½ points. A change that keeps texts apart (¾): one copy of the queries for each text (that is no saving in the queries), or queries that don't attend to any text while each text attends to queries, with the head on the text's states. What is lost (¾): the queries no longer read the text, so they can't look in the picture for what the text says; ITM then is a score of two readings that meet only in the text's rows.
#
# (b) 1½ points. A question whose right answer begins with an unlikely or a shared, general word, such as "a", a number or a rare first name, while other answers begin with the likely word (¾). Measure (¾): for a sample of questions read the whole list (or raise k) and count how often the chosen answer changes; no labels are needed.
#
# (c) 1 point. The real recall is smaller, so the noise is larger than the estimate (it divides by too large a difference): too low (½). What is left is estimated too low, too (¼). Measurement: people judge a sample of the *kept* captions (¼).
# === END MARK SCHEME ===

# %% [markdown] role="reply"
# (a) I'd let the queries attend to queries only, let each text attend to the queries and to itself, and put the head on each text's first token. One pass is enough then. But the queries can't read the text any more, so they can't search the picture for what the caption claims; only the text's rows compare.
#
# (b) "Who wrote this book?" with the list "the author of it", "tolstoy", ... The model thinks that "the" is likeliest as a first word, and with a small k "tolstoy" isn't read, although as a whole it would win. I'd take 200 questions, read the whole list for them, and count how often the answer differs from that of the two steps.
#
# (c) The filter throws out fewer of the real errors than we think. The estimate divides by a recall that is too large, so it is too low, and so is the estimate of what is left. I'd have people judge 300 of the captions that were kept.

# %% [markdown]
# ## Before you hand in
#
# *Kernel → Restart and Run All*, then read the results of the checks once more. Hand in this notebook under the name that it has. Take out cells that run for minutes or ask for input.
