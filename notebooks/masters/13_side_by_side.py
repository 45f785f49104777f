# %% [markdown]
# # 13 · Side by side, and what they can't do
#
# After this lesson you can:
#
# - say what is equal in a comparison of systems, and what isn't;
# - build two small bridges from an image encoder to a frozen language model, one of them without training;
# - judge differences over seeds by a stated rule;
# - measure how often a system names what isn't on the picture, so that a habit of saying yes is noticed;
# - spoil the examples of a prompt, and say whether a task is learnt from them or was known before.
#
# | | |
# |---|---|
# | Prerequisites | lessons 07 (Frozen), 10 (BLIP-2) and 12 (Flamingo); 02 (CLIP) and 08 (BLIP) help |
# | Time | about 140 minutes to work through (two or three sittings); Run All takes about 75 seconds on two free cores |
# | Papers | *POPE*: Li et al. 2023, [arXiv 2305.10355](https://arxiv.org/abs/2305.10355); *Rethinking the Role of Demonstrations*: Min et al. 2022, [arXiv 2202.12837](https://arxiv.org/abs/2202.12837); *ClipCap*: Mokady et al. 2021, [arXiv 2111.09734](https://arxiv.org/abs/2111.09734); *LiMBeR*: Merullo et al. 2022, [arXiv 2209.15162](https://arxiv.org/abs/2209.15162) |
#
# Lesson 12 tested one system, Flamingo, with prompts of several pictures. This lesson puts the systems of lessons 07 to 12 next to each other. It asks what a comparison of them can show. Then it asks what none of them does well, and how you would notice.
#
# Axes: **N** pictures, **K** nouns, **M** pictures of a batch, **C** width of the image encoder, **D** width of the language model, **n** vectors of a picture.

# %% tags=["hide-input"]
import torch
from IPython.display import HTML, Markdown
from torch import Tensor

from teaching import side_by_side as lab
from teaching import side_by_side_figures as figures
from teaching import side_by_side_measures as measures
from teaching import side_by_side_systems as systems
from teaching import side_by_side_tables as tables
from teaching.exercises import check, diagnose, quiz
from vlmcourse import evaluation, plots, world
from vlmcourse.evaluation.published import published
from vlmcourse.plots import LiveCurve
from vlmcourse.training.scale import Scale

scale = Scale.of()
smoke = scale.name == "smoke"  # the course's own tests run this notebook in seconds
count = 8 if smoke else 128  # held-out pictures of a measurement
_ = torch.manual_seed(0)

# %% [markdown]
# ## The whole first
#
# The course ships trained systems. Four of them each write a caption for the same three held-out pictures.

# %%
shipped = systems.shipped(scale)
ends = systems.Ends(scale)
one, two, mixed = (measures.scenes(count, things) for things in ((1, 1), (2, 2), (1, 2)))
plots.show(
    figures.at_work(shipped, [one[0], two[0], two[1]]),
    "Figure 1. Three held-out pictures, and what four systems write after 'a picture of'. ✓: "
    "every thing is named, wherever it stands. What to see: some captions name a thing that isn't "
    "there. How good the systems are can't be read from three pictures.",
    credit=world.ATTRIBUTION,
)

# %% [markdown]
# ## 1. What is equal, and what isn't
#
# A **bridge** is what stands between an image encoder and a language model that stays frozen. The next figure has the four kinds of this lesson. BLIP isn't in it: its decoder learns to write by itself, and there is no language model behind it.

# %%
example = systems.new_bridge(ends, lambda C, start, size: torch.nn.Identity())
plots.show(
    figures.bridges(example, scale),
    "Figure 2. Four bridges, with the shapes of our models for one picture. What to see: three of "
    "them write vectors among the words. Flamingo's adds cross-attention between the layers. Only "
    "Frozen trains an image encoder, too.",
)
Markdown(tables.settings_table(tables.shipped_settings(shipped, scale)))

# %% [markdown]
# The table says how the shipped systems were trained. Suppose that one of them is better. Before you ask why, list everything in which they differ.

# %% [markdown]
# ### Exercise 1 · Equal or not?
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | find what a comparison does not hold equal | ●●○○○ | ●●●●● | 7 |
#
# Write `differing`. It returns the names of all settings that are not the same in *all* systems. A setting that some system lacks counts as different. Names keep the order in which they first occur, from the first system on.


# %%
def differing(settings: dict[str, dict]) -> list[str]:
    """{system: {name of a setting: value}} -> names of settings that differ."""
    raise NotImplementedError("your code here")


differing = check("side_by_side.differing", differing)

# %% [markdown]
# <details><summary>Hint 1</summary>Collect the names of all systems first. A dict keeps the order in which its keys came.</details>
# <details><summary>Hint 2</summary>For one name, make the list of values. Compare each with the first: <code>any(v != values[0] for v in values)</code>.</details>
# <details><summary>If you see "KeyError"</summary>A system lacks this setting: <code>system.get(name)</code> gives None then.</details>
# <details><summary>Solution</summary>
#
# ```python
# def differing(settings):
#     names = {}
#     for system in settings.values():
#         names.update(dict.fromkeys(system))
#     different = []
#     for name in names:
#         values = [system.get(name) for system in settings.values()]
#         lacking = any(name not in system for system in settings.values())
#         if lacking or any(value != values[0] for value in values):
#             different.append(name)
#     return different
# ```
# </details>

# %%
settings = tables.comparison_settings()
print(
    "The shipped systems differ in:",
    *differing(tables.shipped_settings(shipped, scale)),
    sep="\n- ",
)
print("\nThe systems of the comparison in section 3 differ in:", *differing(settings), sep="\n- ")

# %% [markdown]
# The shipped systems differ in nearly all settings. So the course trained six systems again, on the same pictures and captions, for as many steps, with the same seeds. What still differs is part of a system, such as the number of trained parameters, or of its training, such as the learning rate.

# %%
quiz("side_by_side.fair")

# %% [markdown]
# ## 2. Two small bridges
#
# How little can a bridge be? We build two. Both read CLIP's **summary** of a picture, its one vector $x$ of width $C$, standardised so that each number has mean 0 and standard deviation 1 over training pictures.
#
# ### Pictures with habits
#
# On the web, forks come with knives. A system that learns from such pictures can guess. We want to catch it guessing, so our training pictures have **habits** that we know. There are 24 nouns, four of them **popular**. Each noun has a **companion**. One noun is drawn first, with probability 1/3 among the popular ones. In most pictures a second thing joins it, nine times in ten its companion. Held-out pictures show combinations of things and background that training never showed, and have no such habits.

# %%
plots.show(
    figures.habits_figure(scale.image_size),
    "Figure 3. Six training pictures with their captions. Popular nouns: "
    f"{', '.join(systems.POPULAR)}. Companions, for example: "
    f"{figures.companions_sentence(systems.POPULAR)}. {measures.habits_sentence()}",
    credit=world.ATTRIBUTION,
)

# %% [markdown]
# ### A bridge without training
#
# A language model reads vectors, one for each word. So we look for a matrix that maps the features to the vector of the noun. For pictures of one thing we know which vector is right: the embedding of its noun. Let the rows of $X$ be the features of $N$ pictures, each followed by a 1, and the rows of $Y$ the embeddings of their nouns. The matrix $W$ with the smallest
#
# $$\lVert X W - Y \rVert^2 + \lambda \lVert W' \rVert^2$$
#
# is known in closed form. $W'$ is $W$ without its last row, the bias, and $\lambda$ is a penalty against large entries:
#
# $$W = (X^\top X + \lambda I')^{-1} X^\top Y,$$
#
# where $I'$ is the identity matrix with a 0 in place of its last 1. This is **ridge regression**. LiMBeR's bridge is one matrix, too, but it is trained through the language model, on a grid of features.

# %% [markdown]
# ### Exercise 2 · A bridge in closed form
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | ridge regression from features to word embeddings | ●●●○○ | ●●●●○ | 10 |
#
# Write `ridge_map`. Its last row is the bias.


# %%
def ridge_map(features: Tensor, targets: Tensor, penalty: float) -> Tensor:
    """features (N, C), targets (N, D) -> the map (C + 1, D)."""
    raise NotImplementedError("your code here")


ridge_map = check("side_by_side.ridge_map", ridge_map)

# %% [markdown]
# <details><summary>Hint 1</summary>Put a column of ones behind the features: <code>torch.cat([features, torch.ones(N, 1)], 1)</code>.</details>
# <details><summary>Hint 2</summary><code>torch.linalg.solve(A, B)</code> is A⁻¹ B. Make the penalty's matrix with <code>torch.eye</code>, and set one entry to 0.</details>
# <details><summary>If you see "The size of tensor a must match"</summary>X has C + 1 columns, so the penalty's matrix is (C + 1, C + 1).</details>
# <details><summary>Solution</summary>
#
# ```python
# def ridge_map(features, targets, penalty):
#     X = torch.cat([features, torch.ones(len(features), 1)], 1)
#     ridge = penalty * torch.eye(X.shape[1])
#     ridge[-1, -1] = 0
#     return torch.linalg.solve(X.T @ X + ridge, X.T @ targets)
# ```
# </details>

# %% [markdown]
# Your map now stands between CLIP and the language model. It gives the first of a picture's two vectors; the second one is the mean embedding of the words for backgrounds.

# %%
features, targets = systems.words_to_find(ends, 64 if smoke else 4096)
solved = systems.solved_bridge(ends, ridge_map(features, targets, 1.0))
bridges = {"your closed-form map": systems.prompted("closed form", solved, ends)}
for scene, text in zip(one[:4], bridges["your closed-form map"].captions(one[:4])):
    print(f"{scene.words[0]}: a picture of {text}")

# %%
quiz("side_by_side.linear_map")

# %% [markdown]
# ### ClipCap's bridge
#
# ClipCap puts a hidden layer in between, and trains through the language model. For features $x$ of one picture it writes $n$ vectors $h_1, \dots, h_n$ of width $D$:
#
# $$(h_1, \dots, h_n) = \mathrm{start} + s \left(W_2 \tanh(W_1 x + b_1) + b_2\right)$$
#
# $W_1$ maps to $n D / 2$ numbers, $W_2$ to $n D$. The *start* and the size $s$ are ours: the vectors begin near the mean embedding of the nouns, which a small language model can use best (lesson 07). ClipCap trains its MLP together with the language model; where that stays frozen, a transformer takes the MLP's place. We keep the MLP, and freeze the language model.

# %% [markdown]
# ### Exercise 3 · A mapped prefix
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | build ClipCap's MLP | ●●○○○ | ●●●●○ | 9 |
#
# Write `MappedPrefix`. The vectors `start` move with the module (a buffer), but are not trained. The summary comes with an axis of length 1, as if it were a single patch.


# %%
class MappedPrefix(torch.nn.Module):
    """Features (M, 1, C) of pictures -> vectors (M, n, D)."""

    def __init__(self, width: int, start: Tensor, size: float):
        """width: C; start: (n, D); size: the factor s."""
        super().__init__()
        raise NotImplementedError("your code here")

    def forward(self, features: Tensor) -> Tensor:
        raise NotImplementedError("your code here")


MappedPrefix = check("side_by_side.MappedPrefix", MappedPrefix)

# %% [markdown]
# <details><summary>Hint 1</summary>Two <code>torch.nn.Linear</code> layers, and <code>self.register_buffer("start", start)</code>.</details>
# <details><summary>Hint 2</summary>The second layer returns n times D numbers in a row: <code>reshape(len(features), *self.start.shape)</code>.</details>
# <details><summary>If you see "shape '[...]' is invalid for input of size"</summary>The second layer must return n * D numbers for each picture.</details>
# <details><summary>Solution</summary>
#
# ```python
# class MappedPrefix(torch.nn.Module):
#     def __init__(self, width, start, size):
#         super().__init__()
#         n, D = start.shape
#         self.size = size
#         self.register_buffer("start", start)
#         self.first = torch.nn.Linear(width, n * D // 2)
#         self.second = torch.nn.Linear(n * D // 2, n * D)
#
#     def forward(self, features):
#         moved = self.second(torch.tanh(self.first(features)))
#         return self.start + self.size * moved.reshape(len(features), *self.start.shape)
# ```
# </details>

# %% [markdown]
# Train it on captions of the pictures with habits. Image encoder and language model are frozen, so only your module learns. **The next cell takes about 30 seconds on a free core, and longer on busy ones.**

# %%
model = systems.new_bridge(ends, MappedPrefix)
curve = LiveCurve(redraw_seconds=6)
systems.train(model, ends, curve)
bridges["your trained MLP"] = systems.prompted("MLP", model, ends)
HTML(
    "<p><b>Figure 4.</b> The loss of your bridge, in nats per word of a caption. What to see: it "
    "stays well above 0. No picture tells which of two things its caption names first. But that "
    f"costs only {measures.order_loss():.2f} nats per word; the rest has other causes, such as "
    "nouns that the bridge leaves uncertain.</p>"
)

# %%
named = {}
for name, system in (bridges | shipped).items():
    captions = system.captions(one)
    named[name] = {
        "with the picture": measures.named_share(captions, one),
        "pictures exchanged": measures.named_share(captions[1:] + captions[:1], one),
    }
plots.show(
    figures.naming_figure(named, 1 / len(systems.NOUNS)),
    f"Figure 5. Captions of {count} held-out pictures that name the thing. Exchanged: each caption "
    f"is compared with the next picture. {measures.next_sentence(one)} Chance: a noun of the 24 at "
    "random. What to see: a bridge "
    "without a single step of training names things, too. It was fitted to pictures of one thing; "
    "the MLP mostly saw two. The shipped systems had other pictures and more nouns. So this figure "
    "doesn't say which bridge is better.",
)

# %% [markdown]
# ## 3. Six systems on equal terms
#
# Now a comparison that can say more. Six systems were trained on the same pictures of *all* of the course's nouns, with the same captions, number of steps, batches and seeds. Below are means over seeds.

# %%
Markdown(tables.settings_table(settings))

# %%
plots.show(
    figures.comparison_figure(),
    "Figure 6. Held-out questions; bars: means over seeds; whiskers: one standard deviation; dots: "
    "seeds. Noun: captions that name the thing. Kind of thing: is it a tool, an animal, ...? "
    "Names: four invented ones, eight examples in the prompt. BLIP reads one picture and has no "
    "language model, so it is asked for nouns only. Guessing: any noun, kind or name at random. "
    "What to see: a system that is in front in one measurement need not be in another.",
)
Markdown(tables.model_sentence())

# %% [markdown]
# Three rows surprise. The linear map names few nouns here, though your matrix named most of them in Figure 5. Both bridges are single matrices, but yours was found in closed form, for 24 nouns instead of all. And BLIP-2 is at chance for names, Flamingo for names and nearly so for kinds.
#
# Which differences count? A gap between two means says little while we don't know by how much seeds differ. The course's rule needs two things. The first system must be ahead in *every* seed. And the mean gap must exceed two **pooled standard deviations**,
#
# $$s = \sqrt{\frac{s_1^2 + s_2^2}{2}},$$
#
# where $s_1$ and $s_2$ are the sample standard deviations of the two systems over seeds.

# %% [markdown]
# ### Exercise 4 · The verdict
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | judge a difference over seeds | ●●○○○ | ●●●●● | 9 |
#
# Write `compare`. Entry i of both lists is from seed i. Return `"higher"` if the first system is higher by the rule, `"lower"` if it is lower by the same rule, else `"no difference shown"`. With a single seed nothing is shown.


# %%
def compare(first: list[float], second: list[float]) -> str:
    """Two systems' scores by seed -> "higher", "lower" or "no difference shown"."""
    raise NotImplementedError("your code here")


compare = check("side_by_side.compare", compare)

# %% [markdown]
# <details><summary>Hint 1</summary>First the list of gaps, one for each seed. <code>statistics.variance</code> or <code>torch.tensor(first).var()</code> is a sample's variance.</details>
# <details><summary>Hint 2</summary>Return early: one seed; a gap that is too small; all gaps above 0; all gaps below 0.</details>
# <details><summary>If you see "variance requires at least two data points"</summary>Look at the number of seeds before you compute a variance.</details>
# <details><summary>Solution</summary>
#
# ```python
# def compare(first, second):
#     gaps = [a - b for a, b in zip(first, second)]
#     if len(gaps) < 2:
#         return "no difference shown"
#     variances = torch.tensor([first, second]).double().var(1)
#     if abs(sum(gaps) / len(gaps)) <= 2 * variances.mean().sqrt().item():
#         return "no difference shown"
#     if all(gap > 0 for gap in gaps):
#         return "higher"
#     return "lower" if all(gap < 0 for gap in gaps) else "no difference shown"
# ```
# </details>

# %% [markdown]
# A table of means has one winner. By the rule, several systems may share the first place. The table after the next exercise has one more measurement, *two things, F1*: how well captions name both things, as precision and recall in one number (section 5).

# %% [markdown]
# ### Exercise 5 · Who shares the first place?
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | name a winner only where there is one | ●●○○○ | ●●●●○ | 7 |
#
# Write `leaders`. The best system is the one with the highest mean. Return its name and the names of all systems for which `compare(best, it)` isn't `"higher"`, in the order of `scores`. `compare` is a function like yours.


# %%
def leaders(scores: dict[str, list[float]], compare) -> list[str]:
    """{system: scores by seed}, a function of two lists -> names of the systems in front."""
    raise NotImplementedError("your code here")


leaders = check("side_by_side.leaders", leaders)

# %% [markdown]
# <details><summary>Hint 1</summary><code>max(scores, key=...)</code> gives the name of the best; the key is a function of the name.</details>
# <details><summary>Hint 2</summary>Keep a name unless <code>compare(scores[best], scores[name])</code> is "higher". Compared with itself, the best isn't higher.</details>
# <details><summary>If you see "unsupported operand type(s) for /: 'list' and 'int'"</summary>A mean is a sum divided by a number: <code>sum(values) / len(values)</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def leaders(scores, compare):
#     best = max(scores, key=lambda name: sum(scores[name]) / len(scores[name]))
#     return [name for name in scores if compare(scores[best], scores[name]) != "higher"]
# ```
# </details>

# %%
Markdown(tables.leaders_table(leaders, compare))

# %% [markdown]
# Who names best need not be first elsewhere. Where a picture's vectors stand among the words, the language model's layers stay as they were, and can still use what they know of a noun. New blocks between the layers change the states of every word. That would explain Flamingo's row in Figure 6. It doesn't explain why BLIP-2 fails at names, and neither cause was tested. Flamingo was trained on captions alone here; with pages of questions and names the shipped Flamingo answers such questions (section 7).
#
# ## 4. What captions invent
#
# A system **hallucinates** when it names what isn't on the picture. CHAIR (*Caption Hallucination Assessment with Image Relevance*, Rohrbach et al. 2018) counts it in captions, in two ways: the share of named nouns that aren't there, and the share of captions with at least one such noun. For photographs one needs lists of synonyms. Our world knows every noun, so the count is exact.

# %% [markdown]
# ### Exercise 6 · CHAIR
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | count invented nouns | ●●○○○ | ●●●●○ | 8 |
#
# Write `chair`. A noun that is said twice counts twice. Words of a caption are separated by spaces. Where no caption names anything, the first share is 0.


# %%
def chair(captions: list[str], present: list, nouns) -> tuple[float, float]:
    """Captions, the nouns on each picture, all nouns -> share of nouns, share of captions."""
    raise NotImplementedError("your code here")


chair = check("side_by_side.chair", chair)

# %% [markdown]
# <details><summary>Hint 1</summary>Keep three counts: nouns named, nouns invented, captions with an invented one.</details>
# <details><summary>Hint 2</summary><code>[word for word in caption.split() if word in nouns]</code> lists what a caption names.</details>
# <details><summary>If you see "ZeroDivisionError"</summary>No caption names a noun: divide by <code>max(1, mentions)</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def chair(captions, present, nouns):
#     mentions = invented = with_one = 0
#     for caption, there in zip(captions, present):
#         named = [word for word in caption.split() if word in nouns]
#         wrong = [word for word in named if word not in there]
#         mentions += len(named)
#         invented += len(wrong)
#         with_one += bool(wrong)
#     return invented / max(1, mentions), with_one / len(captions)
# ```
# </details>

# %%
found, known = {}, world.known_nouns()
for name, system in (bridges | shipped).items():
    for what, shown in (("one thing", one), ("two things", two)):
        of_nouns, _ = chair(system.captions(shown), [s.words for s in shown], known)
        found.setdefault(name, {})[what] = of_nouns
plots.show(
    plots.bars(found, "invented nouns (share of named)", sideways=True, highest=1, form=".2f"),
    f"Figure 7. Nouns in captions that aren't on the picture, {count} held-out pictures of one "
    "thing, as many of two. What to see: pictures of two things are harder for every system. "
    "Frozen and BLIP-2 were trained on pictures of one thing.",
)

# %% [markdown]
# Captions have a weakness as a test: a system that says little invents little. POPE (*Polling-based Object Probing Evaluation*) therefore asks.
#
# ## 5. Hallucination: is there a ... ?
#
# POPE asks yes-or-no questions about single nouns, as many with the answer yes as with no. What matters is *which* absent nouns it asks for:
#
# - **random**: any absent noun;
# - **popular**: an absent noun that is frequent in the training pictures;
# - **adversarial**: an absent noun that often stands beside what is there.
#
# POPE counts in the test's own pictures, MSCOCO. We count in the training pictures, where a system gets its habits.

# %% [markdown]
# ### Exercise 7 · Choose what isn't there
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | POPE's popular and adversarial nouns | ●●●○○ | ●●●●● | 11 |
#
# Write `absent_nouns`. It ranks the nouns of `shown` by a count, the highest first, and returns the first `k` that aren't in `present`. Popular: in how many pictures is the noun? Adversarial: in how many pictures does it stand together with a present noun? A picture with two of the present nouns counts twice. Where counts are equal, the alphabet decides.


# %%
def absent_nouns(shown: list, present: tuple, k: int, adversarial: bool) -> list[str]:
    """Nouns of each training picture, nouns of this picture -> k absent nouns."""
    raise NotImplementedError("your code here")


absent_nouns = check("side_by_side.absent_nouns", absent_nouns)

# %% [markdown]
# <details><summary>Hint 1</summary>Every picture adds a weight to each of its nouns: 1, or the number of present nouns that it shows.</details>
# <details><summary>Hint 2</summary>Sort by two things at once: <code>key=lambda word: (-counts[word], word)</code>.</details>
# <details><summary>If you see "KeyError"</summary>A noun is met for the first time: use <code>counts.get(word, 0)</code> or <code>collections.Counter</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def absent_nouns(shown, present, k, adversarial):
#     counts = {}
#     for words in shown:
#         weight = sum(word in words for word in present) if adversarial else 1
#         for word in words:
#             counts[word] = counts.get(word, 0) + weight
#     absent = [word for word in counts if word not in present]
#     return sorted(absent, key=lambda word: (-counts[word], word))[:k]
# ```
# </details>

# %%
plots.show(
    figures.absent_figure(mixed[:4], absent_nouns, 2 * scale.image_size),
    "Figure 8. Four held-out pictures with what is asked for: a noun that is there, and one absent "
    "noun of each kind, chosen with your function. What to see: adversarial nouns are companions "
    "of what is there.",
    credit=world.ATTRIBUTION,
)

# %% [markdown]
# POPE's scores take yes, the claim that something is there, as the positive class. **Precision** is the share of claims that are right, **recall** the share of present things that are claimed, and F1 is their harmonic mean, $2 P R / (P + R)$. The fifth number is the **share of yes** among all answers.

# %% [markdown]
# ### Exercise 8 · POPE's scores
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | score yes-or-no answers | ●●○○○ | ●●●●● | 8 |
#
# Write `pope_scores`. It returns `"accuracy"`, `"precision"`, `"recall"`, `"f1"` and `"yes"`. For a system that never says yes, precision and F1 are 0. (POPE's public code divides by zero there.)


# %%
def pope_scores(said: list[str], answers: list[str]) -> dict[str, float]:
    """What was answered, what is right: lists of "yes" and "no" -> the five scores."""
    raise NotImplementedError("your code here")


pope_scores = check("side_by_side.pope_scores", pope_scores)

# %% [markdown]
# <details><summary>Hint 1</summary>Count claims, present things, right claims, and right answers of both kinds.</details>
# <details><summary>Hint 2</summary><code>said.count("yes")</code> counts claims. Two of the divisions may be by zero.</details>
# <details><summary>If you see "a division by zero, for a model that never says yes"</summary>Return 0 for precision where nothing was claimed, and for F1 where no claim was right.</details>
# <details><summary>Solution</summary>
#
# ```python
# def pope_scores(said, answers):
#     both = sum(a == b == "yes" for a, b in zip(said, answers))
#     claimed, there = said.count("yes"), answers.count("yes")
#     precision = both / claimed if claimed else 0.0
#     recall = both / there
#     f1 = 2 * precision * recall / (precision + recall) if both else 0.0
#     accuracy = sum(a == b for a, b in zip(said, answers)) / len(said)
#     return {"accuracy": accuracy, "precision": precision, "recall": recall,
#             "f1": f1, "yes": claimed / len(said)}
# ```
# </details>

# %%
quiz("side_by_side.always_yes")

# %%
plots.show(
    lab.guessing_curves(pope_scores),
    "Figure 9. Scores of a system that sees nothing and says yes at random, by how often it says "
    "yes; 400 simulated questions, half with the answer yes. What to see: accuracy stays "
    "near 0.5, and so does precision where yes is said at all, but F1 rises with the share of "
    "yes. A table of F1 alone rewards agreement.",
)

# %% [markdown]
# Now ask the systems in words, as POPE does: *question : is there a cat ? answer :*. The likelier of *yes* and *no* is the answer. One row has no picture at all: the language model alone reads *a picture of a fox .* and the question.

# %%
asked = {
    name: {"random": measures.asked_in_words(system, mixed[: count // 2], "random", pope_scores)}
    for name, system in (bridges | shipped).items()
}
in_words = measures.language_model_alone(scale, mixed[: count // 2], "random", pope_scores)
asked["language model, right words"] = {"random": in_words}
Markdown(tables.pope_table(asked, count))

# %% [markdown]
# Accuracies near 0.5 are chance. Look at the last column before you say that these systems see nothing: several give one answer to nearly all questions. Only Flamingo's training pages had such questions, and few; the others learnt from captions. And the same systems name things in captions (Figure 5). The last row but one gives the language model a true caption in words in place of the picture. It does no better. So a question in words tests two things at once: whether a system sees the thing, and whether its language model can answer the question.
#
# So test only whether a system sees the thing. A system's caption begins with some noun. Let $p(k \mid i)$ be the probability that on picture $i$ this is noun $k$. Some nouns are likely on *every* picture, because training showed them often. So compare a noun with itself: it counts as claimed if this picture makes it likelier than it is on average,
#
# $$p(k \mid i) > \frac{1}{N} \sum_{j=1}^{N} p(k \mid j).$$
#
# Taking out what is likely anyway is called **calibration**. (Zhao et al. 2021 calibrate language models in this spirit. They compare with an input that says nothing, such as "N/A".)

# %% [markdown]
# ### Exercise 9 · What the picture raises
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | take a prior out of log-probabilities | ●●●○○ | ●●●●○ | 8 |
#
# Write `raised`. You get logarithms, which may be very small: stay in logarithms.


# %%
def raised(log_probs: Tensor) -> Tensor:
    """log p(k | i), pictures in rows, nouns in columns (N, K) -> booleans (N, K)."""
    raise NotImplementedError("your code here")


raised = check("side_by_side.raised", raised)

# %% [markdown]
# <details><summary>Hint 1</summary>You need the logarithm of a mean of probabilities. That isn't the mean of the logarithms.</details>
# <details><summary>Hint 2</summary><code>log_probs.logsumexp(0)</code> is the logarithm of the sum over pictures. Dividing by N subtracts log N.</details>
# <details><summary>If you see "log(): argument 'input' must be Tensor"</summary>N is a plain number: <code>math.log(N)</code>, or make a tensor of it.</details>
# <details><summary>Solution</summary>
#
# ```python
# def raised(log_probs):
#     N = torch.tensor(float(len(log_probs)))
#     mean = log_probs.logsumexp(0) - N.log()
#     return log_probs > mean
# ```
# </details>

# %%
quiz("side_by_side.popular")

# %%
probed = {}
for name, system in (bridges | {k: shipped[k] for k in ("Frozen", "BLIP-2", "Flamingo")}).items():
    log_probs = measures.noun_log_probs(system, mixed)
    probed[name] = measures.pope(raised(log_probs), mixed, absent_nouns, pope_scores)
    if name == "your trained MLP":
        likely = measures.pope(measures.likely(log_probs), mixed, absent_nouns, pope_scores)
plots.show(
    figures.pope_figure(probed),
    f"Figure 10. POPE with calibrated claims: two questions about each of {count} held-out "
    "pictures, by the way absent nouns are chosen; one model of each system. What to see: compare "
    "random with adversarial nouns. Only your trained MLP learnt from pictures of two things with "
    "these companions.",
)
Markdown(tables.pope_table(probed, 2 * count))

# %%
noise = 0.5 * (2 * 0.25 / count) ** 0.5  # the questions with yes are the same in both
for harder in ("popular", "adversarial"):
    print(f"Accuracy at random minus {harder} absent nouns:")
    for name, by in probed.items():
        gap = by["random"]["accuracy"] - by[harder]["accuracy"]
        print(f"  {name:22} {gap:+.2f}{'  (above two deviations)' if gap > 2 * noise else ''}")
print(f"One standard deviation of such a gap by chance: at most {noise:.2f}.")
by_both = [probed[name] for name in ("your trained MLP", "your closed-form map")]
first, control = (by["random"]["accuracy"] - by["adversarial"]["accuracy"] for by in by_both)
print(f"The MLP's fall minus the closed-form map's, adversarial: {first - control:+.2f},")
print(f"one standard deviation by chance at most {noise * 2**0.5:.2f}.")
print("Your trained MLP without calibration (claimed if likelier than 1/24):")
print(", ".join(f"{sampler} {likely[sampler]['accuracy']:.2f}" for sampler in likely))

# %% [markdown]
# The questions with yes are the same for all three kinds of absent nouns. So a lower accuracy comes from absent nouns that are claimed. POPE's finding is that what training often showed together is invented together. A gap above two deviations for adversarial nouns agrees with it. The other systems are the control. Their training pictures had no such habit: those of the shipped systems were drawn without companions, and your closed-form map was fitted to pictures of one thing. But the closed-form map's accuracy is lower, too, by just under two deviations. So adversarial nouns may also be harder for another reason, such as companions that look alike (a dog and a fox). What the habit adds is the MLP's fall minus the map's. It is smaller than two deviations here, so this one run doesn't show it.
#
# A fairer control is your MLP, trained in the same way on pictures **without** companions: then adversarial nouns have nothing but their likeness. We trained both kinds on more seeds and asked about more pictures.

# %%
Markdown(tables.companions_sentence())

# %% [markdown]
# So the habit does it: without companions in training, adversarial nouns cost next to nothing.
#
# POPE also finds popular nouns harder than random ones. That doesn't show here, with or without calibration. Our popular nouns are shown a few times more often than others; on the web, frequencies differ far more.
#
# ## 6. Where does the answer come from?
#
# A right answer may come from the wrong place, a background for instance. **Occlusion** tests it without looking inside the model: cover a square of the picture with grey, and see by how much the log-probability of the right noun falls.

# %% [markdown]
# ### Exercise 10 · Occlusion
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | a causal test for any model | ●●○○○ | ●●●●○ | 9 |
#
# Write `occlusion`. The picture is cut into squares of `side` pixels. For each square: the score of the whole picture minus that with this square grey. Pixels run from -1 to 1, so grey is 0 in all colours. A negative number means that the score rises. The caller's picture stays as it is.


# %%
def occlusion(score, picture: Tensor, side: int) -> Tensor:
    """score: (B, 3, H, W) -> (B,); a picture (3, H, W) -> drops (H // side, W // side)."""
    raise NotImplementedError("your code here")


occlusion = check("side_by_side.occlusion", occlusion)

# %% [markdown]
# <details><summary>Hint 1</summary>Two loops, over rows and columns of squares. Begin each time with <code>picture.clone()</code>.</details>
# <details><summary>Hint 2</summary>The score wants a batch: <code>score(picture[None])[0]</code> is the number for one picture.</details>
# <details><summary>If you see "squares stay covered"</summary>You cover one copy again and again: make a fresh one inside the loops.</details>
# <details><summary>Solution</summary>
#
# ```python
# def occlusion(score, picture, side):
#     rows, columns = (length // side for length in picture.shape[1:])
#     whole = score(picture[None])[0]
#     drops = torch.zeros(rows, columns)
#     for r in range(rows):
#         for c in range(columns):
#             covered = picture.clone()
#             covered[:, r * side : (r + 1) * side, c * side : (c + 1) * side] = 0
#             drops[r, c] = whole - score(covered[None])[0]
#     return drops
# ```
# </details>

# %%
looked = {"your trained MLP": bridges["your trained MLP"], "Flamingo": shipped["Flamingo"]}
plots.show(
    figures.occlusion_figure(looked, one[:2], occlusion),
    "Figure 11. Two pictures, and by how many nats the log-probability of the noun falls when a "
    "square is covered (dark: much). What to see: squares on the thing count most, but some of "
    "the plain background counts, too. A negative number: the noun becomes likelier.",
    credit=world.ATTRIBUTION,
)
few = one[:4] if smoke else one[:12]
touching = figures.thing_share(looked, few, occlusion)
print(f"The square with the largest fall touches the thing, of {len(few)} pictures:")
print(", ".join(f"{name} {share:.2f}" for name, share in touching.items()))
print(f"A square at random: {figures.touched_by_chance(few):.2f}")

# %% [markdown]
# ## 7. Learning a task, or locating it?
#
# The lecture asks of Flamingo: does it learn a new task from the examples of a prompt, or do they only tell it *which* of its known tasks is wanted? Two tasks, four examples each. *What kind of thing is it?* was on Flamingo's training pages. **New names** are drawn anew for each prompt, so nobody can know them before.
#
# Min et al. spoil the examples in one way: their answers are drawn at random, everything else stays. Ours are always wrong. Lesson 12 renamed things *consistently*; then the examples still teach, only other names. Here every example draws its own wrong answer. The form and the options stay; the right answers are gone.

# %% [markdown]
# ### Exercise 11 · Wrong answers
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | spoil examples in exactly one way | ●●○○○ | ●●●●● | 9 |
#
# Write `wrong_answers`. The answer is the last word of a sentence before its full stop. In each example it becomes another option, drawn with `rng.choice(list)`. Make new examples.


# %%
def wrong_answers(examples: list, options: list[str], rng) -> list:
    """examples: (picture, sentence ending in "answer .") -> new examples of the same form."""
    raise NotImplementedError("your code here")


wrong_answers = check("side_by_side.wrong_answers", wrong_answers)

# %% [markdown]
# <details><summary>Hint 1</summary>Split the sentence into words. The answer is the second word from the end.</details>
# <details><summary>Hint 2</summary><code>*before, answer, stop = sentence.split()</code>. Draw from the options that aren't the answer.</details>
# <details><summary>If you see "an example still has its right answer"</summary>You draw from all options: leave the right one out.</details>
# <details><summary>Solution</summary>
#
# ```python
# def wrong_answers(examples, options, rng):
#     changed = []
#     for picture, sentence in examples:
#         *before, answer, stop = sentence.split()
#         others = [option for option in options if option != answer]
#         changed.append((picture, " ".join([*before, rng.choice(others), stop])))
#     return changed
# ```
# </details>

# %%
quiz("side_by_side.wrong_answers")

# %%
prompts = 4 if smoke else 24
tasks = {"kind of thing": measures.kinds(prompts, 4), "new names": measures.binding(prompts, 4)}
spoiled = measures.by_task(shipped["Flamingo"], tasks, wrong_answers)
plots.show(
    figures.spoiled_figure(spoiled, tasks),
    f"Figure 12. The shipped Flamingo on {prompts} prompts of each task with four examples, and "
    "the same prompts spoiled in five ways, one of them yours. Guessing: one of "
    f"{len(tasks['kind of thing'][0].choices)} kinds, one of four names. What to see: which task "
    "needs its examples to be right, and that both need the question's picture.",
)

# %% [markdown]
# With so few prompts, small differences say nothing: with 24, one standard deviation of a share near 0.5 is 0.1.
#
# One number sums it up: of what examples bring, how much is left when they are spoiled? With the accuracies $a_{\text{full}}$ with right examples, $a_{\text{none}}$ without examples, and $a_{\text{spoiled}}$:
#
# $$\text{kept} = \frac{a_{\text{spoiled}} - a_{\text{none}}}{a_{\text{full}} - a_{\text{none}}}$$
#
# If examples bring nothing, the denominator is noise, and the number means nothing.

# %% [markdown]
# ### Exercise 12 · The share that is kept
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | a summary that knows when it says nothing | ●●○○○ | ●●●●○ | 7 |
#
# Write `kept_share`. It returns the share for all entries but `full` and `none`. If the gain by examples is at most `margin`, it returns None.


# %%
def kept_share(scores: dict, full: str, none: str, margin: float) -> dict | None:
    """{condition: accuracy}, names of two conditions -> {other condition: share kept}."""
    raise NotImplementedError("your code here")


kept_share = check("side_by_side.kept_share", kept_share)

# %% [markdown]
# <details><summary>Hint 1</summary>Compute the gain first, and return None if it is too small.</details>
# <details><summary>Hint 2</summary>A negative share is possible: spoiled examples can do harm. Leave it as it is.</details>
# <details><summary>If you see "leave them out"</summary>The conditions <code>full</code> and <code>none</code> would always be 1 and 0.</details>
# <details><summary>Solution</summary>
#
# ```python
# def kept_share(scores, full, none, margin):
#     gain = scores[full] - scores[none]
#     if gain <= margin:
#         return None
#     others = [name for name in scores if name not in (full, none)]
#     return {name: (scores[name] - scores[none]) / gain for name in others}
# ```
# </details>

# %%
Markdown(tables.kept_table(spoiled, kept_share, 0.1))

# %% [markdown]
# Where the table has dashes, examples bring no gain, and spoiling them shows nothing. If the score is high all the same, the task was *known*, and the question's words alone locate it. A task with a gain that wrong answers destroy is *learnt* from the examples. A clearly negative share for wrong answers says that wrong examples do harm: Flamingo takes the wrong names from them. A smaller one, as for grey example pictures, may be noise: there are few prompts.
#
# There is a third case. Examples that only locate a task bring a gain, and most of it stays when their answers are wrong. Min et al. found many such cases in large language models. Neither of our two tasks is of this kind.
#
# ## Failure lab
#
# Four systems answer POPE's questions. They are simulated: each knows what is on a picture, and three have one fault each.
#
# - **companions**: it also claims what usually stands beside what is there;
# - **leak**: the test gives its answers away (in a file name, an order), and pictures aren't needed;
# - **yes**: it agrees with whoever asks.

# %%
plots.show(
    lab.systems_figure(pope_scores, 96),
    "Figure 13. Accuracy of four simulated systems on 192 questions of each kind, by your scores. "
    "Last bar of each: all pictures grey. What to see: the healthy system is best at all three "
    "kinds of absent nouns, and near 0.5 on grey pictures.",
)
Markdown(lab.systems_table(pope_scores, 96))

# %% [markdown]
# Your diagnosis, in place of each `None`:

# %%
diagnose("side_by_side.pope", {"A": None, "B": None, "C": None})

# %% [markdown]
# <details><summary>Hint</summary>One system is as good on grey pictures. One falls at one kind of absent nouns only. One has a recall that is too good for its precision.</details>
# <details><summary>Solution</summary>
#
# A: yes. Its recall and its share of yes are high, its precision is low; its F1 still looks fair.
#
# B: companions. It is good at random and popular nouns, and falls at adversarial ones.
#
# C: leak. On grey pictures it is as good as before.
# </details>

# %% [markdown]
# ## The paper beside ours
#
# POPE's numbers for three systems of 2023, on photographs of MSCOCO:

# %%
Markdown(published("pope-mscoco").markdown())

# %% [markdown]
# LLaVA says yes to nearly everything and is near chance, and yet its F1 is 67 to 69 %. The others fall from random to adversarial nouns. In Figure 10 we looked for the same direction in one model of each system; without seeds there is no verdict on it. For the lecture's limits of Flamingo the course has measurements over three seeds, with verdicts by the rule of exercise 4. *Agrees*: the claimed side is higher by the rule. *Disagrees*: it is lower. *Within noise*: no difference shown.

# %%
Markdown(tables.limits_table())

# %% [markdown]
# Our systems are tiny, their pictures drawn, so only directions can be compared. The remarks say why a verdict isn't *agrees*.
#
# ## Discussion
#
# **Strengths of such tests.** They need no access to a model's weights. A habit of answering is not enough to pass all of them. A healthy system is best in each.
#
# **Weaknesses.** Each test asks for one thing. A system can pass POPE and invent colours, numbers or relations. And a yes-or-no question tests the understanding of questions, too.
#
# <details><summary>Q (lecture): Is the model simply inferring answers through the prompts without using images?</summary>
# Ask with a grey picture in the question's place, and with another's. If the score stays, it is. In Figure 12 it falls for both tasks, so Flamingo uses the picture there. For a question such as "what is on the phone screen?" the prompt already suggests that there is a phone, and the same test may come out otherwise.
# </details>
#
# <details><summary>Q (lecture): Is the model learning a new task at inference or just identifying a task learned during training?</summary>
# It depends on the task. New names can't have been known, and they are lost with wrong examples. The kind of a thing is known without any example. "Learning or locating" is a question for each task, and wrong answers are one of the tests that separate them.
# </details>
#
# <details><summary>Q (lecture): Is it possible that the model's success is just due to the capabilities of the LM?</summary>
# Part of it must be: the picture shows a hammer, but no picture says that a hammer is a tool. Give the language model the right word in place of the picture (lesson 07, text reference): what it then answers, the whole system can be expected to answer. What it can't answer in words, such as yes or no in section 5, a bridge doesn't bring easily.
# </details>
#
# <details><summary>Q: A paper reports that its bridge beats another one by 1.2 points, with one run each. What do you ask for?</summary>
# How much do seeds differ? Are pictures, texts, language model and steps the same? Was as much care spent on the learning rate of the other one? With one run each, our rule says: no difference shown.
# </details>
#
# <details><summary>Q: Would a system that never says anything pass CHAIR?</summary>
# Yes: it invents nothing. So CHAIR needs a second number beside it, how much of what is there is named (Figure 5). POPE asks for both in one table: precision and recall.
# </details>
#
# ## Limits
#
# One tiny language model, one image encoder, drawn pictures of one or two things. The habits are ours, and so is their strength. The measurements of sections 4 to 7 are of one model of each system and at most some hundred questions, on few combinations of things and backgrounds, so differences of a few hundredths say nothing. The learning rates of the comparison in section 3 come from the systems' lessons or were chosen by hand, so some may be further from their best than others.
#
# ## Reading
#
# - Li et al. 2023, *POPE* ([2305.10355](https://arxiv.org/abs/2305.10355)): Sections 3 and 5, and the table above.
# - Rohrbach et al. 2018, *Object Hallucination in Image Captioning* ([1809.02156](https://arxiv.org/abs/1809.02156)): Section 2, CHAIR.
# - Min et al. 2022, *Rethinking the Role of Demonstrations* ([2202.12837](https://arxiv.org/abs/2202.12837)): Sections 4 and 5, what does and what doesn't matter in examples.
# - Mokady et al. 2021, *ClipCap* ([2111.09734](https://arxiv.org/abs/2111.09734)) and Merullo et al. 2022, *LiMBeR* ([2209.15162](https://arxiv.org/abs/2209.15162)): the two small bridges.
# - Zhao et al. 2021, *Calibrate Before Use* ([2102.09690](https://arxiv.org/abs/2102.09690)): Sections 4 and 5.
#
# ## Key ideas
#
# > - Before you explain a difference in scores, list everything in which the systems differ.
# > - A gap counts if every seed has its sign and it exceeds two pooled standard deviations; first places can be shared.
# > - A matrix found in closed form is already a bridge from pictures to words.
# > - CHAIR counts invented nouns in captions; POPE asks for nouns, and adversarial ones are companions of what is there.
# > - F1 rewards saying yes: always print the share of yes.
# > - Calibration takes out what is likely on every picture, but not what is likely beside a thing.
# > - Wrong answers in the examples separate a task that is learnt from one that is known.
#
# ## Glossary
#
# **Bridge**, **ridge regression**, **habits** and **companion**, **CHAIR**, **POPE**, **adversarial noun**, **share of yes**, **calibration**, **occlusion**, **spoiled examples**: each in one line in [docs/GLOSSARY.md](../docs/GLOSSARY.md).
#
# ## Next
#
# **Lesson 14**: LLaVA gives every patch to the language model and trains it on dialogues; and what followed.
