# %% [markdown]
# # 12 · Flamingo II: few-shot learning
#
# After this lesson you can:
#
# - write a task as a few-shot prompt, and score answers in two ways: among options, or freely written;
# - train on a mixture of data sets by accumulating their gradients, and say what round robin changes;
# - prove with controls whether the examples of a prompt are used;
# - choose examples by similarity (RICES), combine several orders of them, and say what copying alone would score;
# - read Flamingo's three result tables, and say which of its claims a small model repeats.
#
# | | |
# |---|---|
# | Prerequisites | lesson 05 (examples in a prompt, log-probabilities of answers), lesson 07 (Frozen, swapped examples), lesson 11 (Flamingo's resampler, gates and mask) |
# | Time | about 130 minutes to work through (two sittings); Run All takes about 70 seconds on two free cores |
# | Papers | *Flamingo: a Visual Language Model for Few-Shot Learning*, Alayrac et al. 2022, [arXiv 2204.14198](https://arxiv.org/abs/2204.14198) |
#
# Lesson 11 built Flamingo. A resampler makes a few latents of each picture or film. Gated blocks let each token attend to the last picture before it. Both large models stay frozen. This lesson asks what that model is for. Flamingo is told a **new task by examples in its prompt**, and no weight changes. The paper calls this *few-shot learning*; a **shot** is one example.
#
# "The lecture" and its slides are Georgia Tech's CS 8803-VLM, which this course follows.
#
# Letters: **B** batch, **T** tokens of a text, **V** vocabulary, **O** options, **D** width, **Q** queries and **N** pictures of a pool, **E** width of a picture's vector, **k** examples.

# %% tags=["hide-input"]
import torch
from IPython.display import Markdown
from torch import Tensor

from teaching import few_shot_directions as beside
from teaching import few_shot_figures as figures
from teaching import few_shot_lab, few_shot_model
from teaching import few_shot_measures as measures
from teaching import few_shot_tables as tables
from teaching.exercises import check, diagnose, quiz
from vlmcourse import plots, recipes, world
from vlmcourse.evaluation.published import published
from vlmcourse.recipes.flamingo import DATASET_WEIGHTS, page_datasets
from vlmcourse.training.scale import Scale
from vlmcourse.world import interleaved

scale = Scale.of()
smoke = scale.name == "smoke"  # the course's own tests run this notebook in seconds
count = 8 if smoke else 96  # questions of a test
_ = torch.manual_seed(0)

# %% [markdown]
# ## The whole first
#
# A trained Flamingo ships with the course. Four things get names that we invent. The names mean nothing: they are drawn anew for each prompt. The prompt shows one picture of each thing with its name, and then a new picture of one of them.

# %%
model = recipes.get("flamingo").train_or_load(scale).model.model
size = scale.image_size
plots.show(
    figures.at_work(model, measures.PROMPT, size),
    "Figure 1. Above: the four examples of the prompt. Below: three queries, each asked alone "
    "after the same examples; the likeliest of the four names, and its probability among all "
    "words (✓ right, ✗ wrong; guessing is right in one of four). What to see: each query gets "
    "its thing's name, though it lies on another background.",
    credit=world.ATTRIBUTION,
)

# %% [markdown]
# The model's weights are those it had before. What it knows of these names, it has read in the prompt.
#
# ## 1. A task written as a prompt
#
# The lecture shows three such tasks: visual questions without examples, a question of outside knowledge after one example, and classification after a few. All are prompts of one form. In the text, `<image>` marks where a picture belongs. `<EOC>` (*end of chunk*) closes the text that belongs to one picture. The last text stays open, and the model continues it.

# %%
web = interleaved.WebPages()
print("a page of our training data, as its text:")
print(interleaved.interleaved_text(web.names(1, web.rng("a page of names", 1))))

# %% [markdown]
# In our texts a full stop follows each `<image>`; the paper has none there. A picture stands where a description would stand, and in the texts of our language model descriptions end with a full stop. To **bind** a name is to learn from the prompt which thing it names. Without the full stop our model didn't learn to bind names in the same number of steps.

# %% [markdown]
# ### Exercise 1 · A prompt with tags
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | examples and a query as one text, with its pictures | ●●○○○ | ●●●●● | 8 |
#
# Write `few_shot_prompt`. It returns the text and the list of pictures, in the order of their tags. With one example the text is, for instance: `<image> . this is a dax . <EOC> <image> . this is a`. Tokens are separated by one space. The sentences come without their full stops.


# %%
def few_shot_prompt(examples: list, query: object, start: str) -> tuple[str, list]:
    """examples: (picture, sentence) of each; query: a picture; start: the open sentence.

    Returns the text, closed after each example and open at its end, and all pictures.
    """
    raise NotImplementedError("your code here")


few_shot_prompt = check("few_shot.few_shot_prompt", few_shot_prompt)

# %% [markdown]
# <details><summary>Hint 1</summary>Make a list of texts, one for each example and one for the query, and join them at the end.</details>
# <details><summary>Hint 2</summary><code>" ".join(parts)</code> puts one space between the parts, and none at the ends.</details>
# <details><summary>If you see "can only concatenate list (not "int") to list"</summary>A picture is no list: put it into one, <code>[*pictures, query]</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def few_shot_prompt(examples, query, start):
#     parts, pictures = [], []
#     for picture, sentence in examples:
#         parts.append(f"<image> . {sentence} . <EOC>")
#         pictures.append(picture)
#     parts.append(f"<image> . {start}")
#     return " ".join(parts), [*pictures, query]
# ```
# </details>

# %%
examples, queries, names = figures.new_names(0)
text, pictures = few_shot_prompt(examples, queries[0][0], "this is a")
print(text)
tokens = len(text.split()) + 1  # with <bos>
plots.show(
    figures.system(model, tokens, len(pictures)),
    f"Figure 2. The prompt above on its way through the shipped Flamingo: {len(pictures)} pictures "
    f"and {tokens} tokens, <bos> among them. 'Trained' parts were trained before; nothing is "
    "trained here. The last number of the logits' shape is V. What to see: the language model "
    "reads the whole text at once; pictures enter before each layer.",
)

# %%
quiz("few_shot.last_image")

# %% [markdown]
# ## 2. The training data
#
# Why can it do this? The paper's answer is its training data. The lecture names **three challenges** of training on pictures, films and text:
#
# 1. **Pictures and films** have two or three dimensions and many values, text is a sequence. The resampler solves this (lesson 11).
# 2. **Their interaction** must keep the language model's abilities intact. Gated blocks between frozen layers solve this (lesson 11).
# 3. **Data that make a generalist.** Web pages with pictures have many kinds of text, but picture and text often match weakly. So they are combined with ordinary pairs, which match better.

# %%
Markdown(published("flamingo-data").markdown())

# %% [markdown]
# The first is new: **M3W** (MultiModal MassiveWeb), text and images of 43 million web pages. From a page the paper takes 256 tokens and at most five images. Only here does a training text have several pictures. A text near a picture may be about the picture above it or the one below it. So for each page, with probability $p_{next} = 1/2$, every text is tied to the next picture in place of the previous one (Sec. A.3.2 in the appendix).
#
# Our small counterparts, with one text of each:

# %%
paper_sets = dict(pages="M3W", pairs="ALIGN", described="LTIP", videos="VTP")
for name, (_, per_step) in page_datasets(scale, None).items():
    page = interleaved.interleaved_text(getattr(web, name)(4))
    shown = page if len(page) < 90 else page[: page.rindex(" ", 0, 90)] + " ..."
    print(f"{name} ({paper_sets[name]}): {per_step} a step, weight {DATASET_WEIGHTS[name]}")
    print(f"    {shown}")

# %% [markdown]
# Our *pages* are articles, pages on which things get invented names, and pages of questions with answers. An article may begin with a text that has no picture, as here. So **some of our training pages look like few-shot prompts.** This may hold for some real web pages, too; the paper doesn't count them. Our weights differ from the paper's: we chose them for a short training.
#
# ### The objective
#
# The data sets $S_1, \ldots, S_M$ have weights $\lambda_m$. For a text $y$ of $L$ tokens with pictures $x$, where $x_{\le l}$ are the pictures before token $l$, the paper minimises the sum below. $\mathbb{E}$ is the mean over the texts of a data set.
#
# $$\sum_{m=1}^{M} \lambda_m \, \mathbb{E}_{(x, y) \sim S_m} \Big[ - \sum_{l=1}^{L} \ln p(y_l \mid y_{<l}, x_{\le l}) \Big].$$
#
# In each step it takes one batch of every data set, adds up the weighted gradients, and then makes one update. The paper says that tuning $\lambda$ per data set is key to performance. The weights were chosen with small models, and then kept. (Our losses are means over tokens, not sums.)

# %%
quiz("few_shot.weights")

# %% [markdown]
# ### Exercise 2 · Accumulate
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | one update from several data sets | ●●●○○ | ●●●●● | 10 |
#
# Write `accumulate`: one step of training. When it is called, old gradients may still be there. Call `backward()` after each loss and before the next one is computed: then only one graph is in memory at a time. Return the unweighted losses as plain numbers.


# %%
def accumulate(loss, batches: dict, weights: dict, optimiser: torch.optim.Optimizer) -> dict:
    """One update. loss: batch -> scalar tensor; batches: {data set: batch}; weights: {data set: λ}.

    Returns {data set: its loss, a float}.
    """
    raise NotImplementedError("your code here")


accumulate = check("few_shot.accumulate", accumulate)

# %% [markdown]
# <details><summary>Hint 1</summary><code>backward()</code> adds to the gradient that is already there. When do you want that, and when not?</details>
# <details><summary>Hint 2</summary>Clear once, before the loop: <code>optimiser.zero_grad()</code>. Step once, after it.</details>
# <details><summary>If you see "element 0 of tensors does not require grad"</summary>The loss became a number before <code>backward()</code>: call <code>.item()</code> afterwards.</details>
# <details><summary>Solution</summary>
#
# ```python
# def accumulate(loss, batches, weights, optimiser):
#     optimiser.zero_grad()
#     values = {}
#     for name, batch in batches.items():
#         value = loss(batch)
#         (weights[name] * value).backward()
#         values[name] = value.item()
#     optimiser.step()
#     return values
# ```
# </details>
#
# ### Accumulation against round robin
#
# The alternative is **round robin**: each step takes one data set, in turns. In the paper's Table 3 it costs eight points of the overall score. For a fair comparison both trainings must read equally many pages. With two data sets, round robin makes twice as many updates, each from one batch.
#
# Now train a small Flamingo twice, with your prompts and your step. It stands between the shipped CLIP and the shipped language model. CLIP gives it one vector for each picture, and its resampler makes four latents of it. The world has 24 nouns. A page gives two to four things invented names, and has seven pictures of one thing each. A pair is one picture with a caption. Both weights are 1.0. The paper has 0.2 for pairs; we chose more, since our training is short. **The next cell takes about 40 seconds on two free cores.**

# %%
steps = 4 if smoke else 160
data = few_shot_model.sources(scale, few_shot_prompt)
runs, small = {}, {}
for name, in_turns in (("accumulation", False), ("round robin", True)):
    small[name] = few_shot_model.build(scale)
    updates = steps * (len(data) if in_turns else 1)
    runs[name] = few_shot_model.train(small[name], data, accumulate, updates, in_turns=in_turns)
    print(f"{name}: {len(runs[name])} updates")

# %%
plots.show(
    plots.stack_figures(
        figures.training_losses(runs, "pages"), figures.training_losses(runs, "pairs")
    ),
    "Figure 3. Losses of both trainings on pages (above) and on pairs (below), over the batches "
    f"of that data set; means of {max(1, steps // 20)} batches. What to see: which training falls "
    "first, and whether they end alike.",
)
Markdown(tables.about_trainings(runs))

# %% [markdown]
# And what did they learn? New names of four things, on held-out pictures, by number of examples. Before you look: each of the first four examples shows another thing. What can the best model score with one example, and with two?

# %%
cache = few_shot_model.features_of(scale)
shots = (0, 1, 2, 4, 8)
asked = {k: few_shot_model.episodes(count, k) for k in shots}
curves = {
    name: {k: measures.right(each, asked[k], few_shot_prompt, cache) for k in shots}
    for name, each in small.items()
}
plots.show(
    figures.shots_curves(curves, 0.25, "right names (share)", figures.best_possible(4, shots)),
    f"Figure 4. Your two small models: right names of four, {count} questions for each number of "
    f"examples. {figures.one_model(count)} 'Best possible': a name that an example shows is "
    "known; else one guesses among the names that no example shows (0.75 with two examples). "
    "What to see: chance with no example, what examples add, and how far the models are from the "
    "best.",
)
print(tables.repeated(small["accumulation"], asked[2], few_shot_prompt, cache))

# %% [markdown]
# The printed shares say why this model stays below the best with two examples: where no example shows the right name, it often says a shown one all the same. The best guess would be another.
#
# An update of round robin is noisier, but there are twice as many of them. One seed and two data sets can't decide which of the two is better. In the paper's ablation, accumulation won by eight points; our comparison with three seeds is in the last table.

# %% [markdown]
# ## 3. How an answer is scored
#
# The paper tests two kinds of tasks.
#
# - **Close-ended**: the answer is one of given options. Each option is put after the prompt, and the option with the highest log-likelihood is chosen. Classification and multiple choice are scored so.
# - **Open-ended**: the model writes freely (the paper: beam search, three beams), and the text is compared with the right answer. Captions and most visual questions are scored so.

# %% [markdown]
# ### Exercise 3 · Probabilities of options
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | a close-ended answer, options of different lengths | ●●●○○ | ●●●●● | 12 |
#
# Write `option_probabilities`. Each row is the same prompt followed by one option, padded on the right with `pad_id`. An option's score is the sum of the log-probabilities of its tokens. Return the probabilities of the options, given that one of them is the answer: they sum to 1. (Lesson 05 scored an answer from a mask. Here you find the tokens yourself.)


# %%
def option_probabilities(logits: Tensor, ids: Tensor, first: int, pad_id: int) -> Tensor:
    """logits (O, T, V), ids (O, T); options begin at position `first` -> probabilities (O,)."""
    raise NotImplementedError("your code here")


option_probabilities = check("few_shot.option_probabilities", option_probabilities)

# %% [markdown]
# <details><summary>Hint 1</summary>The logits at position t predict the token at t + 1. So which slice of the logits belongs to <code>ids[:, first:]</code>?</details>
# <details><summary>Hint 2</summary><code>log_probs.gather(2, tokens[..., None])[..., 0]</code> picks the tokens' values. Multiply by <code>tokens != pad_id</code> before the sum. A softmax over the O sums makes them probabilities.</details>
# <details><summary>If you see "Size does not match at dimension 1"</summary>Logits and tokens have different lengths: leave out the last position's logits, <code>[:, first - 1 : -1]</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def option_probabilities(logits, ids, first, pad_id):
#     log_probs = logits[:, first - 1 : -1].log_softmax(-1)
#     tokens = ids[:, first:]
#     chosen = log_probs.gather(2, tokens[..., None])[..., 0]  # (O, T - first)
#     scores = (chosen * (tokens != pad_id)).sum(1)
#     return scores.softmax(0)
# ```
# </details>
#
# Each further token adds a negative number to the sum. What becomes of long options? Four descriptions of held-out pictures compete after "a picture of". Two are true: "a cat on blue ." and "a cat ."; two name another thing.

# %%
shares = measures.description_probabilities(
    model, option_probabilities, few_shot_prompt, measures.seen_by(model, size), count
)
groups = {kind: {"probability": value} for kind, value in shares.items()}
plots.show(
    figures.share_bars(groups, "mean probability among the four", 0.25),
    f"Figure 5. Your probabilities of four descriptions, means over {count} held-out pictures. "
    f"{figures.one_model(count)} What to see: how the two true ones share the probability, and "
    "whether a short false one "
    "gains.",
)

# %% [markdown]
# A further token costs little if the model is sure of it. So which of two true descriptions wins depends on how often training texts stop after the noun. The sum answers one question only: how would the text go on?

# %%
quiz("few_shot.prompt_counted")

# %% [markdown]
# ### Exercise 4 · A freely written answer
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | score generated text | ●●○○○ | ●●●●○ | 7 |
#
# Write `open_score`. A model goes on writing after its answer. Only its first sentence counts: what comes before the first full stop or `<EOC>`, whichever is first, without spaces around it. It must be the answer exactly, with nothing more and nothing less. Return the share of right texts.


# %%
def open_score(texts: list[str], answers: list[str]) -> float:
    """Generated texts and right answers, one for each -> share from 0 to 1."""
    raise NotImplementedError("your code here")


open_score = check("few_shot.open_score", open_score)

# %% [markdown]
# <details><summary>Hint 1</summary><code>text.split(".")[0]</code> is all before the first full stop, or the whole text if there is none.</details>
# <details><summary>Hint 2</summary>Split twice: first at <code>"&lt;EOC&gt;"</code>, then at <code>"."</code>. Then <code>.strip()</code>.</details>
# <details><summary>If you see "'list' object has no attribute 'strip'"</summary><code>split</code> gives a list: take its first part, <code>[0]</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def open_score(texts, answers):
#     right = 0
#     for text, answer in zip(texts, answers):
#         sentence = text.split("<EOC>")[0].split(".")[0]
#         right += sentence.strip() == answer
#     return right / len(answers)
# ```
# </details>
#
# The same questions, scored both ways, without an example and with four. The questions ask for facts that no picture shows (category, place, purpose). Options show the form of an answer; who writes freely must find it. Before you look: what could four examples teach a model that has no options?

# %%
quiz("few_shot.zero_shot")

# %%
both = measures.open_and_closed(model, few_shot_prompt, open_score, size, count // 2, (0, 4))
plots.show(
    figures.share_bars(both, "right answers (share)"),
    f"Figure 6. Questions about facts, {count // 2} of each kind: answers written freely, and "
    f"chosen among all answers of their kind ({tables.options_counted()}). The rule looks at "
    f"nothing: it always says the answer that is right most often. {figures.one_model(count // 2)} "
    "What to see: how far options lift a score, and whether the model beats the rule.",
)
for line in measures.samples(model, few_shot_prompt, size, measures.KNOWING):
    print(line)

# %% [markdown]
# *Category* and *place* were asked on training pages, so what is written has the form of an answer, and options add nothing. What a thing is for was never asked there: compare what is written after that question with the right answer. With options the model is no better than the rule, and four examples don't help. So this model can't say what things are for.

# %% [markdown]
# ## 4. More examples, larger models
#
# The paper's main result: **larger models and more examples give better answers**, without any training on the task. The lecture's table, all of it:

# %%
Markdown(published("flamingo-table-1").markdown())

# %% [markdown]
# How often is few-shot Flamingo better than a model that was fine-tuned on the task?

# %%
Markdown(tables.about_table_1())

# %% [markdown]
# One must know what "0 shots" means there: the prompt still holds *two examples as text, without their pictures*. They show the form of an answer. A prompt with nothing at all would be harder.

# %% [markdown]
# ### Exercise 5 · What do examples add?
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | summarise a table with gaps | ●●○○○ | ●●●○○ | 8 |
#
# Write `gain`: of all tasks that have a score for both numbers of examples, the mean gain in points, and the share of tasks whose score rises.


# %%
def gain(scores: dict, low: int, high: int) -> tuple[float, float]:
    """scores: {task: {number of examples: score, or None}} -> mean gain, share that rises."""
    raise NotImplementedError("your code here")


gain = check("few_shot.gain", gain)

# %% [markdown]
# <details><summary>Hint 1</summary>Collect the gains of the tasks with both scores in a list. Both results follow from it.</details>
# <details><summary>Hint 2</summary>Compare with <code>is not None</code>: a score of 0 counts. <code>sum(g &gt; 0 for g in gains)</code> counts.</details>
# <details><summary>If you see "unsupported operand type(s) for -: 'NoneType' and 'float'"</summary>A score is missing: leave this task out.</details>
# <details><summary>Solution</summary>
#
# ```python
# def gain(scores, low, high):
#     gains = []
#     for by_shots in scores.values():
#         before, after = by_shots[low], by_shots[high]
#         if before is not None and after is not None:
#             gains.append(after - before)
#     return sum(gains) / len(gains), sum(g > 0 for g in gains) / len(gains)
# ```
# </details>

# %%
paper = {name: tables.table_1(name) for name in tables.SIZES}
plots.show(
    figures.gain_bars(gain, paper),
    "Figure 7. The paper's Table 1 by your function: mean gain over 15 tasks (RareAct has scores "
    "without examples only), in points of each task's own score (accuracy, CIDEr, ...). What to "
    "see: the first four examples against the "
    "next twenty-eight, and small models against large ones.",
)
for name, scores in paper.items():
    shares = [
        f"{low} to {high}: {gain(scores, low, high)[1]:.0%}" for low, high in ((0, 4), (4, 32))
    ]
    print(f"{name}: tasks that rise from {', '.join(shares)}")
memes = scores["HatefulMemes (I)"]
print(f"HatefulMemes alone, 0 to 4: {(memes[4] - memes[0]) / 15:.1f} points of the last mean gain")

# %% [markdown]
# In the two larger models the first four examples add more than the next 28; in the 3B model about as much. Of the largest model's first gain, a good part comes from one task alone (HatefulMemes, from 46.4 to 68.6; the last line above).

# %%
quiz("few_shot.plateau")

# %% [markdown]
# Our counterpart: the course's Flamingo on new names, in a small world of 48 nouns, trained with three seeds.

# %%
plots.show(
    tables.in_context_figure(),
    "Figure 8. Right names of four by number of examples: means over three seeds, bands of one "
    "standard deviation. 'Six other names' were on no training page, and 'nouns it never saw' in "
    "none of its pictures. Two controls (section 5): the examples' pictures are another prompt's, "
    "or all pictures are grey. 'Best possible' is that of Figure 4. The curves of both kinds of "
    "names lie on each other, and so do those of the controls. What to see: names are learnt from "
    "examples, new ones and those of new nouns, too; both controls stay at chance.",
)
Markdown(tables.in_context_sentence())

# %% [markdown]
# Names are the case in which examples *must* help. A question about a fact says itself what is wanted. The next table has such questions, put to the three models of Figure 8 (48 nouns, one thing on each picture); *what* asks for the thing itself. As in Figure 6, they choose among all answers of a kind. The commonest answer's share is counted on the questions without examples; those with four are other questions of the same kinds.

# %%
Markdown(tables.knowledge_table())

# %% [markdown]
# Purposes weren't asked on these models' training pages, either. Yet these models answer most of these questions: the language model had read the facts in its texts. The shipped model of Figure 6 doesn't answer them. It was trained on all nouns, and with several things on a picture. Which of the two matters, we haven't tried.
#
# ## 5. Are the examples used?
#
# A rising curve alone proves little: examples also show the form of an answer and which answers are likely. The control of lesson 07 gives each prompt the example pictures of *another* prompt. If the score then falls to chance, the pictures were used. A second control asks for more: with other names in the examples, the answer must **follow** them.

# %% [markdown]
# ### Exercise 6 · Rename the things
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | a control that predicts another answer | ●●●○○ | ●●●●● | 10 |
#
# Write `rename`. In all examples each name becomes the next one of the options, the last one becomes the first. The pictures stay. So the right answer is renamed, too. Words of a sentence are separated by spaces; names stand anywhere in it.


# %%
def rename(examples: list, answer: str, options: list[str]) -> tuple[list, str]:
    """examples: (picture, sentence) of each -> new examples of the same form, the new answer."""
    raise NotImplementedError("your code here")


rename = check("few_shot.rename", rename)

# %% [markdown]
# <details><summary>Hint 1</summary>A dict from each old name to its new one. Then look up each word once.</details>
# <details><summary>Hint 2</summary><code>dict(zip(options, options[1:] + options[:1]))</code>; <code>new.get(word, word)</code> leaves other words as they are.</details>
# <details><summary>If you see "a renamed name was renamed again"</summary><code>replace</code> in a loop turns dax into wug, and then that wug into the next name.</details>
# <details><summary>Solution</summary>
#
# ```python
# def rename(examples, answer, options):
#     new = dict(zip(options, options[1:] + options[:1]))
#     renamed = []
#     for picture, sentence in examples:
#         words = [new.get(word, word) for word in sentence.split()]
#         renamed.append((picture, " ".join(words)))
#     return renamed, new[answer]
# ```
# </details>

# %%
seen = measures.seen_by(model, size)
found = measures.controls(model, few_shot_prompt, rename, seen, count, 4)
groups = {name: {"share": value} for name, value in found.items()}
plots.show(
    figures.share_bars(groups, "answers (share)", 0.25),
    f"Figure 9. The shipped Flamingo on {count} prompts with four examples, and the same prompts "
    f"changed in three ways. {figures.one_model(count)} What to see: with other or grey "
    "pictures it guesses; with other names it says the other names.",
)

# %%
quiz("few_shot.renamed")

# %% [markdown]
# The lecture asks whether examples *teach* a task, or only *locate* one that the model already knows (Reynolds and McDonell 2021). Names drawn anew can't have been known before, so here the examples teach which name belongs to which thing. *That* things get names, and in which form, the model knew from its training pages. Both happen at once.

# %% [markdown]
# ## 6. Which examples?
#
# ### RICES
#
# A task may have far more labelled pictures than fit into a prompt. The paper then uses **RICES** (*Retrieval-based In-Context Example Selection*; the idea is Yang et al.'s, 2021): take the pictures most similar to the query's, by the frozen vision encoder's features. The most similar one stands last, next to the query.

# %% [markdown]
# ### Exercise 7 · Retrieve examples
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | choose examples by similarity | ●●○○○ | ●●●●○ | 7 |
#
# Write `rices` for a batch of queries. Similarity is the cosine.


# %%
def rices(queries: Tensor, pool: Tensor, k: int) -> Tensor:
    """queries (Q, E), pool (N, E) -> numbers of k pictures for each query (Q, k), nearest last."""
    raise NotImplementedError("your code here")


rices = check("few_shot.rices", rices)

# %% [markdown]
# <details><summary>Hint 1</summary>Vectors of length 1 have their cosines as dot products: one matrix product gives all of them.</details>
# <details><summary>Hint 2</summary><code>topk(k, dim=-1).indices</code> has the best first; <code>flip(-1)</code> reverses.</details>
# <details><summary>If you see "selected index k out of range"</summary><code>topk</code> runs over the queries: the product must be (Q, N).</details>
# <details><summary>Solution</summary>
#
# ```python
# def rices(queries, pool, k):
#     queries = queries / queries.norm(dim=-1, keepdim=True)
#     pool = pool / pool.norm(dim=-1, keepdim=True)
#     best = (queries @ pool.T).topk(k, dim=-1).indices
#     return best.flip(-1)
# ```
# </details>
#
# ### What would copying score?
#
# RICES can look better than it is. If the four nearest pictures all show the same thing, the prompt says one name four times. Then the retrieval has classified the picture, and the model only has to copy a word. So compare it with rules that read the prompt's names and look at no picture.

# %% [markdown]
# ### Exercise 8 · Three rules without a model
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | a baseline for retrieved examples | ●●●○○ | ●●●●● | 10 |
#
# Write `copy_scores`. It returns three shares of all prompts: the **last** name is the answer; the **most frequent** name is the answer; the answer is **shown** at all. If several names are equally frequent, the one that occurs nearest to the end counts.


# %%
def copy_scores(shown: list[list[str]], answers: list[str]) -> list[float]:
    """shown: the names in each prompt, in their order -> shares [last, most frequent, shown]."""
    raise NotImplementedError("your code here")


copy_scores = check("few_shot.copy_scores", copy_scores)

# %% [markdown]
# <details><summary>Hint 1</summary><code>names.count(name)</code> counts. <code>max(names, key=...)</code> returns the first of several that are equally good.</details>
# <details><summary>Hint 2</summary>"First" must mean "nearest to the end": give <code>max</code> the reversed list, <code>names[::-1]</code>.</details>
# <details><summary>If you see "'list' object is not callable"</summary><code>key</code> wants a function: <code>key=names.count</code>, without brackets behind it.</details>
# <details><summary>Solution</summary>
#
# ```python
# def copy_scores(shown, answers):
#     last = vote = any_of = 0
#     for names, answer in zip(shown, answers):
#         late_first = names[::-1]
#         most = max(late_first, key=names.count)  # of several the first in this order
#         last += names[-1] == answer
#         vote += most == answer
#         any_of += answer in names
#     return [count / len(answers) for count in (last, vote, any_of)]
# ```
# </details>
#
# Eight things with invented names, four labelled pictures of each, and room for four examples. Before you look:

# %%
quiz("few_shot.copying")

# %%
chosen = {
    "at random": measures.retrieved(scale, None, count, 4),
    "RICES": measures.retrieved(scale, rices, count, 4),
}
rules = ("last name", "most frequent name", "name is shown")
groups, best = {}, []
for how, episodes in chosen.items():
    named = measures.names_shown(episodes)
    copied = dict(zip(rules, copy_scores(*named)))
    groups[how] = {"Flamingo": measures.right(model, episodes, few_shot_prompt, seen)} | copied
    best.append(figures.best_after(*named, 8))
plots.show(
    figures.copying_bars(groups, best, "right names of eight (share)", 1 / 8),
    f"Figure 10. The shipped Flamingo with four of 32 labelled pictures as examples, {count} "
    f"questions, beside your three rules. {figures.one_model(count)} 'Name is shown': the share "
    "of prompts that show the right name. Black marks: the best possible, where one guesses among "
    "the other names if it isn't shown. What to see: what RICES leaves for the model.",
)

# %%
plots.show(
    tables.rices_figure(),
    "Figure 11. The same in the small world of Figure 8: twelve names, a pool of 48 pictures, four "
    "of each thing; means over three seeds, bands of one standard deviation. White dots: the three "
    "seeds with grey pictures. The curves of RICES and of copying lie on each other; up to two "
    "examples the grey one lies there, too. What to see: which curves are right from one example "
    "on, and where the grey one falls.",
)
Markdown(tables.rices_sentence())

# %%
quiz("few_shot.rices_grey")

# %% [markdown]
# ### Several orders of the same examples
#
# The lecture lists **sensitivity to examples** among the limits: which examples, and in which order. The paper's cure for close-ended tasks is an **ensemble of prompts**: it scores the options after six random orders of the same examples, and averages each option's log-probability over the orders.

# %% [markdown]
# ### Exercise 9 · An ensemble of orders
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | average over orders of examples | ●●○○○ | ●●●○○ | 6 |
#
# Write `ensemble`. An order is a list of numbers: its first entry says which example stands first.


# %%
def ensemble(score, examples: list, orders: list[list[int]]) -> Tensor:
    """score: list of examples -> log-probabilities of the options (O,). Returns their mean (O,)."""
    raise NotImplementedError("your code here")


ensemble = check("few_shot.ensemble", ensemble)

# %% [markdown]
# <details><summary>Hint 1</summary>Build the reordered list for each order, score it, and keep the scores in a list.</details>
# <details><summary>Hint 2</summary><code>[examples[i] for i in order]</code>; <code>torch.stack(...).mean(0)</code>.</details>
# <details><summary>If you see "list indices must be integers or slices, not list"</summary>A list can't be indexed by a list: take the examples one by one.</details>
# <details><summary>Solution</summary>
#
# ```python
# def ensemble(score, examples, orders):
#     found = []
#     for order in orders:
#         found.append(score([examples[i] for i in order]))
#     return torch.stack(found).mean(0)
# ```
# </details>
#
# Your small model gets new names of nouns that it never saw in training (CLIP did). There it is less sure, so there is something to average:

# %%
orders = measures.some_orders(4, 6)
unseen = few_shot_model.episodes(count // 2, 4, few_shot_model.OTHER_NOUNS)
each, together, flips = measures.over_orders(
    small["accumulation"], unseen, few_shot_prompt, ensemble, cache, orders
)
print("right names in each of six orders:", ", ".join(f"{share:.2f}" for share in each))
print(f"their mean {sum(each) / len(each):.2f}; the ensemble {together:.2f}")
print(f"questions whose answer depends on the order: {flips:.0%} of {len(unseen)}")

# %% [markdown]
# With so few questions, differences of some hundredths say nothing. What can be seen is how many answers depend on the order.
#
# ## 7. Films
#
# For Flamingo a picture is a film of one frame. The resampler adds a time embedding to each frame's features, and makes the same number of latents of any film. In training the paper samples **8 frames** of a film, at one frame a second. In tests it uses **30 frames**, at three a second, and interpolates the 8 time embeddings.

# %% [markdown]
# ### Exercise 10 · Which frames?
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | a fixed number of frames of any film | ●●○○○ | ●●●○○ | 6 |
#
# Write `uniform_frames`. Cut the film into `count` parts of equal length, which need not be whole frames. Take the frame in which the middle of each part lies. Frame number n lasts from time n to time n + 1.


# %%
def uniform_frames(total: int, count: int) -> list[int]:
    """Number of frames of a film, how many to take -> frame numbers from 0, whole numbers."""
    raise NotImplementedError("your code here")


uniform_frames = check("few_shot.uniform_frames", uniform_frames)

# %% [markdown]
# <details><summary>Hint 1</summary>How long is a part? At what time is the middle of part number i?</details>
# <details><summary>Hint 2</summary>The middle of part i is at (i + 0.5) parts. Its frame is the whole part of that time: <code>int(...)</code>.</details>
# <details><summary>If you see "'float' object cannot be interpreted as an integer"</summary><code>range</code> wants whole numbers: run over the parts, and compute the times inside.</details>
# <details><summary>Solution</summary>
#
# ```python
# def uniform_frames(total, count):
#     part = total / count
#     return [int((i + 0.5) * part) for i in range(count)]
# ```
# </details>

# %%
strip, what = figures.film_strip(uniform_frames, size)
plots.show(
    strip,
    f"Figure 12. A film of our world with twelve frames ('{what}'; a film around a usual place, "
    "see below). The four frames that your function takes have black borders. What to see: to the "
    "eye, no single frame says which way the thing moves.",
    credit=world.ATTRIBUTION,
)

# %% [markdown]
# ### Exercise 11 · More frames than time embeddings
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | use a trained table at another length | ●●●○○ | ●●●○○ | 12 |
#
# Write `time_embeddings`. A film with at most as many frames as the table has rows gets the first rows. A longer film gets all rows, interpolated linearly: the first frame gets row 0, the last frame the last row, the others stand at equal distances between. Write the interpolation yourself (torch has a function for it, which the check accepts, too). The table is trained, so gradients must pass.


# %%
def time_embeddings(table: Tensor, count: int) -> Tensor:
    """table (rows, D), count frames -> (count, D)."""
    raise NotImplementedError("your code here")


time_embeddings = check("few_shot.time_embeddings", time_embeddings)

# %% [markdown]
# <details><summary>Hint 1</summary>Where in the table is frame i? There are <code>rows - 1</code> steps between rows and <code>count - 1</code> steps between frames.</details>
# <details><summary>Hint 2</summary>The place has a whole part (the row before) and a fraction (how far to the next row). The last frame has no next row: let its row before be the last but one.</details>
# <details><summary>If you see "index 8 is out of bounds for dimension 0 with size 8"</summary>The row behind the last one doesn't exist: <code>before.clamp(max=len(table) - 2)</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def time_embeddings(table, count):
#     if count <= len(table):
#         return table[:count]
#     place = torch.arange(count) * (len(table) - 1) / (count - 1)
#     before = place.long().clamp(max=len(table) - 2)
#     share = (place - before)[:, None]
#     return (1 - share) * table[before] + share * table[before + 1]
# ```
# </details>

# %%
rows = len(model.resampler.time_embeddings)
ours = model.resampler.frame_embeddings(30)
same = torch.allclose(time_embeddings(model.resampler.time_embeddings, 30), ours, atol=1e-5)
print(f"{rows} time embeddings at 30 frames: yours (or the course's, until yours is right)")
print(f"equal those of the package: {same}")

# %% [markdown]
# ### Which way did it move?
#
# Films of one thing that moves left, right, up or down; the prompt is `<image> . a dog moves`. There are two controls: the first frame alone, repeated, and the film backwards. For backwards films, too, we count the *own* direction, that of the film before it was turned round. A model that reads the order of frames must answer backwards films with the opposite direction, so nearly never with the film's own. Before you look: what will a model score on backwards films that doesn't read the order?
#
# In our pictures of one thing it stands near one of five usual places: the middle, or the middle of a quarter. In one kind of film it moves *around a usual place*, from one side of it to the other. Then an exact look at the first frame gives much away: a thing left of such a place will move right. In the other kind it starts *anywhere*.

# %%
plots.show(
    tables.films_figure(),
    "Figure 13. Answers that are the film's own direction, on held-out films; means over three "
    "seeds with one standard deviation, dots: seeds. 'Backwards': the film was turned round, and "
    "still its own direction is counted; a reader of the order would be near 0. A linear probe "
    "reads CLIP's features of the first and the last frame, or of the "
    "first alone; Flamingo was trained on films alone. What to see: compare film and backwards.",
)
Markdown(tables.films_sentence())

# %% [markdown]
# So **this part fails here**: in which direction a thing moves isn't learnt, although a linear probe finds it in the same features. Most of the paper's tasks on films ask what happens. NExT-QA and STAR also ask what came before or after. None measures a direction of motion.
#
# ## 8. Fine-tuning, and what the design is worth
#
# The paper also **fine-tunes** Flamingo, on the nine tasks on which it wasn't the best with 32 examples. For this it takes as many labels as a task has, not only 32. It trains the resampler and the gated blocks on, and now the vision encoder too, at a higher resolution.

# %%
Markdown(published("flamingo-table-2").markdown())

# %% [markdown]
# Fine-tuned, it sets a new state of the art on five of the nine, counted on the test set where the table has one. Fine-tuning beats 32 examples on all nine, at the price of many more labels, one training and one set of weights for each task. (With 32 examples VisDial and TextVQA have other scores here than in Table 1.)
#
# Table 3 is the **ablation**: the 3-billion model, trained for a shorter time and tested with four examples, with one choice changed at a time. To compare rows, the paper computes an *overall score*. It divides each of five scores by the best fine-tuned score before Flamingo (last row of Table 1), and takes the mean, in %.

# %% [markdown]
# ### Exercise 12 · The missing column
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | know what an overall score is made of | ●●○○○ | ●●●○○ | 8 |
#
# The lecture's copy of Table 3 lost VATEX in all rows but the first, and the overall score moved into its place. The overall score still depends on it. Write `missing_score`, which solves for the one benchmark that `known` lacks.


# %%
def missing_score(overall: float, known: dict[str, float], best: dict[str, float]) -> float:
    """overall in %; known, best: {benchmark: score}, best with one more -> the missing score."""
    raise NotImplementedError("your code here")


missing_score = check("few_shot.missing_score", missing_score)

# %% [markdown]
# <details><summary>Hint 1</summary>Write down the mean of the shares score / best. Only one of them is unknown.</details>
# <details><summary>Hint 2</summary>Number of benchmarks · overall / 100 is the sum of all shares. Take the known ones away.</details>
# <details><summary>If you see "unhashable type: 'set'"</summary><code>set(best) - set(known)</code> is a set with one name: <code>(name,) = ...</code> takes it out.</details>
# <details><summary>Solution</summary>
#
# ```python
# def missing_score(overall, known, best):
#     (name,) = set(best) - set(known)
#     total = len(best) * overall / 100
#     for benchmark, score in known.items():
#         total -= score / best[benchmark]
#     return total * best[name]
# ```
# </details>

# %%
first = published("flamingo-table-3").rows[0]
found = missing_score(first[-1], tables.known_scores(first), tables.best_scores())
print(f"VATEX of the first row: printed {first[-2]}, computed {found:.1f} (rounding allows ± 0.4)")
print("One row can't show that rounding is the only cause of such a difference.")
Markdown(tables.completed_table_3(missing_score))

# %%
quiz("few_shot.ablation")

# %% [markdown]
# ## Failure lab
#
# Four small trainings with the course's functions, 240 steps each: one healthy, and three with one fault in the data.
#
# - **no pages**: the mixture has no pages with several pictures;
# - **no pairs**: the mixture has no pairs of one picture and one text;
# - **mismatched pages**: on pages of names, the pictures are those of another page.

# %%
lab = few_shot_lab.runs(scale)
plots.show(
    few_shot_lab.losses(lab),
    "Figure 14. Losses on held-out pages and pairs, whose pictures fit their texts, in nats per "
    "token, at the end of four trainings; one seed each. What to see: for each run, whether a "
    "loss is far above the "
    "healthy run's, and which.",
)
plots.show(
    few_shot_lab.shares(lab),
    "Figure 15. The same runs: right nouns of 24 without an example, and right new names of four "
    "after eight examples, 128 questions each, one seed each; black marks: guessing. What to see: "
    "which ability each run lacks; in both, the healthy run is best or one question behind.",
)

# %% [markdown]
# Your diagnosis, in place of each `None`:

# %%
diagnose("few_shot.mixture", {"A": None, "B": None, "C": None})

# %% [markdown]
# <details><summary>Hint</summary>A data set that isn't in the mixture has a loss that nobody lowered. Which run lowered both, and still can't use examples?</details>
# <details><summary>Solution</summary>
#
# A: mismatched pages. From its pages it learnt their form, and that a name comes back which has been said before: its loss on pages is far nearer to the healthy run's than C's. Which of the names it is, no picture could tell it. So it guesses among the four.
#
# B: no pairs. It uses examples, since comparing pictures is enough for that. But nothing taught it which noun belongs to a picture. So without an example it can't name things, and its loss on pairs is far above the others'.
#
# C: no pages. It names things as well as the healthy run. It has never read a text with several pictures, or a sentence with an invented name. So its loss on pages is the highest, and it guesses.
#
# In code: a data set taken out of the mixture, or `pictures` of page number i + 1.
# </details>

# %% [markdown]
# ## The paper beside ours
#
# The claims of Tables 1 to 3, each with the paper's numbers and ours. Each row compares one or two pairs of our numbers (third column), and the claim says that the first of a pair is higher. One rule gives the verdict. *Agrees*: the first is higher in every seed, and the mean gap exceeds two pooled standard deviations (pooled: the root of the mean of the two variances). *Disagrees*: the same with the signs exchanged. Otherwise *within noise*. A row of two pairs has their common verdict, or *within noise*.
#
# "Overall" is for us a plain mean of scores: captions, two kinds of questions, new names, and in one set of runs films.

# %%
words = recipes.get("language").train_or_load(scale).model.lm
Markdown(beside.about_runs(words))

# %%
Markdown(beside.directions_table())

# %%
print("Table 3:", ", ".join(f"{name} {number}" for name, number in beside.verdicts().items()))
Markdown(f"{beside.about_short_runs()}\n\n{beside.about_ablations()}")

# %% [markdown]
# Read the ablations with care:
#
# - A run that stopped before it had learnt much doesn't say what it would reach with more steps. Where such a row agrees, it says only that this training was slower.
# - A score that stays at chance in all rows adds nothing but noise to the mean.
# - *Round robin* read as many pages as the full model, in three times as many updates.
# - Our language model has three layers, so *every 2nd* and *a single one in the middle* are the same model. Our other vision encoders are one layer of CLIP, and an untrained one.
#
# ## Discussion
#
# **Strengths.** One model does sixteen tasks, of pictures and of films, without training on any of them. With 32 examples it beats, on several tasks, models that were fine-tuned on thousands of labels. It writes open text and holds a dialogue about pictures. It reuses two large models as they are.
#
# **Weaknesses.** It inherits what its language model does wrong: it invents (*hallucinates*), and handles sequences longer than those of its training badly. It classifies worse than contrastive models such as CLIP, which are trained for just that. Answers depend on which examples are shown and in which order. Each example makes every answer more expensive. Some tasks don't fit a text interface. And training was expensive.
#
# <details><summary>Q: Is the model simply inferring answers through the prompts without using images? The lecture shows three: "What is on the phone screen?" - "A text message from a friend."; "What can you see out the window?" - "A parking lot."; "Whom is the person texting?" - "The driver."</summary>
# Each question claims something that the picture doesn't show: a readable screen, a view, a person at the other end. The answers are likely continuations of the questions, and the picture is not needed for them. So here: largely yes. That isn't proof for other questions. The test is a control: the same question with another picture, or a grey one. If the answer stays, it came from the prompt. Figure 9 does this for names, where the pictures are needed. Lesson 13 measures such inventions.
# </details>
#
# <details><summary>Q: Can it localise objects?</summary>
# Not as it is. It writes text, and none of its training texts has coordinates. It can say "on the left" as far as captions do. Its latents come from a grid of features, whose positions the resampler may lose. Later models write box coordinates as text (Kosmos-2, Qwen-VL), or add a head for them. Even "which way did it move" was too much for our small model.
# </details>
#
# <details><summary>Q: Prompt tuning does better than GPT-3's examples on language tasks. Could it also do better in the multimodal case?</summary>
# One could train a few vectors in front of the text on a task's examples, with Flamingo frozen. With hundreds of labels this should beat examples in the prompt, since all of them are used, and the prompt stays short. With four labels it would overfit more easily. The paper doesn't try it: its other way is fine-tuning. Lesson 06 has the method. Frozen with the same picture for all inputs would be prompt tuning.
# </details>
#
# <details><summary>Q: In the larger models the first four examples add more than the next 28. Give two explanations that predict different results of an experiment.</summary>
# If examples only locate a task, eight locate it as well as 32: then wrong labels in the examples should cost little. Or the model learns from them but reads long prompts badly, since it was trained with at most five images. Then wrong labels cost much, and a training with longer pages would make later examples help more. For names, wrong labels change everything (Figure 9).
# </details>
#
# <details><summary>Q: Without M3W the paper's model loses 17 points, without pairs 10, without films 3. Why are web pages worth more than 2 billion pairs?</summary>
# Only pages have several pictures in one text, as prompts have. A model that never read such a text meets few-shot prompts as something new. Pairs teach what a picture shows, and are cleaner. In our lab each of the two abilities needs its own data set.
# </details>
#
# <details><summary>Q: Is Flamingo's "zero-shot" comparable with CLIP's?</summary>
# No. CLIP's zero-shot classifier gets the class names, and nothing else. Flamingo's "0 shots" gets two examples as text without pictures. And CLIP is scored among options, while open-ended answers must be written.
# </details>
#
# ## Limits
#
# Our pages contain few-shot prompts, so this lesson does *not* show that few-shot learning emerges from web pages that weren't written for it. Most pictures of pages have one thing, and every few-shot test shows one; prompts with crowded pictures aren't tried. Few examples are tried, at most eight. The language model has half a million parameters, Chinchilla 70 billion. Directions of films are not learnt. The live comparisons of this notebook are of one seed and some dozens of questions: a share near 0.5 of 96 questions has a standard error of 0.05.
#
# ## Reading
#
# - Alayrac et al. 2022, *Flamingo* ([2204.14198](https://arxiv.org/abs/2204.14198)): Sec. 2.4 and 2.5, 3, Tables 1 to 3; the appendix on few-shot evaluation and RICES, and on limits. Our code: `vlmcourse/world/interleaved.py`, `vlmcourse/training/mixture.py`, `vlmcourse/recipes/flamingo.py`.
# - Yang et al. 2021, *PICa* ([2109.05014](https://arxiv.org/abs/2109.05014)): examples chosen by similarity, before Flamingo.
# - Awadalla et al. 2023, *OpenFlamingo* ([2308.01390](https://arxiv.org/abs/2308.01390)): an open re-implementation. Some of its scores *fall* from no example to four.
# - Laurençon et al. 2023, *OBELICS and Idefics* ([2306.16527](https://arxiv.org/abs/2306.16527)): web pages with pictures, published.
# - Chan et al. 2022 ([2205.05055](https://arxiv.org/abs/2205.05055)): which properties of training data make in-context learning appear.
#
# ## Key ideas
#
# > - A task is a prompt: pictures and texts in turn, closed examples, an open end. No weight changes.
# > - Gradients of all data sets are added with their weights, then one update follows.
# > - Options give the form of an answer away; free text must be written and cut.
# > - Examples are used if the score falls with other pictures, and the answer follows other names.
# > - Retrieved examples may contain the answer: compare with copying.
# > - More examples help less and less; fine-tuning helps more, and costs many labels and a training for each task.
#
# ## Glossary
#
# **shot**, **few-shot prompt**, **end of chunk**, **M3W**, **mixture weight**, **accumulation over data sets**, **round robin**, **close-ended**, **open-ended**, **RICES**, **copying rule**, **renamed examples**, **prompt ensemble**, **task location**, **overall score**: each in one line in [docs/GLOSSARY.md](../docs/GLOSSARY.md).
#
# ## Next
#
# **Lesson 13** puts all bridges side by side: which of them names, knows, binds and counts, and what all of them can't do.
