# %% [markdown]
# # 14 · After Flamingo: LLaVA and its successors
#
# After this lesson you can:
#
# - turn every patch of an image into a vector among the words of a language model;
# - write dialogues as training text, and score the assistant's words only;
# - say what each of LLaVA's two training stages trains, and measure what it is worth;
# - test with exchanged pictures whether a chat model uses its picture;
# - say what SigLIP, Idefics2, BLIP-3 and any-to-any models changed.
#
# | | |
# |---|---|
# | Prerequisites | lesson 07 (vectors among words), lesson 10 (BLIP-2), lesson 11 (Flamingo), lesson 02 (CLIP's loss) |
# | Time | about 110 minutes to work through (two sittings); Run All takes about 50 seconds on two free cores |
# | Papers | *LLaVA*: Liu et al. 2023, [arXiv 2304.08485](https://arxiv.org/abs/2304.08485); *LLaVA-1.5*: Liu et al. 2023, [arXiv 2310.03744](https://arxiv.org/abs/2310.03744); *SigLIP*: Zhai et al. 2023, [arXiv 2303.15343](https://arxiv.org/abs/2303.15343) |
#
# Lesson 13 compared bridges between images and language models: two vectors (Frozen), a few queries (BLIP-2), cross-attention (Flamingo). In 2023 a simpler bridge became common. LLaVA gives *every* patch to the language model, through a small network, and then trains the language model itself on dialogues. This lesson builds it, measures it, and looks at what followed.
#
# Axes: **B** texts, **T** tokens of a text, **P** patches of a picture, **C** width of the image encoder, **D** width of the language model, **M** pictures, **N** pairs in a batch, **E** width of CLIP's space, **K** codes in a codebook.

# %% tags=["hide-input"]
import torch
from IPython.display import HTML, Markdown
from torch import Tensor

from teaching import llava_codes, llava_counts, llava_lab, llava_model, llava_talk
from teaching import llava_figures as figures
from teaching.exercises import check, diagnose, quiz
from teaching.frozen_figures import rendered
from vlmcourse import plots, recipes, world
from vlmcourse.evaluation.published import published
from vlmcourse.parts.language import embed
from vlmcourse.plots import LiveCurve
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

scale = Scale.of()
smoke = scale.name == "smoke"  # the course's own tests run this notebook in seconds
count = 8 if smoke else 64  # held-out questions of a kind
_ = torch.manual_seed(0)

# %% [markdown]
# ## The whole first
#
# A trained LLaVA ships with the course. It was trained on pictures of 29 kinds of things: on captions first, then on dialogues. The three pictures below show combinations of things that training never showed.

# %%
model = recipes.get("llava").train_or_load(scale).model
scenes = figures.scenes(scale, 8)
plots.show(
    figures.at_work(model, scenes[:3]),
    "Figure 1. Three held-out pictures, and what LLaVA answers to two questions about each. The "
    "first is 'what is on the picture ?' (✓ if it names every thing). The second is printed before "
    "its answer. What to see: it follows two different instructions about one picture. "
    "Descriptions of two things are mostly wrong: section 6 counts them.",
    credit=world.ATTRIBUTION,
)

# %% [markdown]
# ## 1. Every patch becomes a vector among the words
#
# LLaVA has three parts. CLIP's image encoder is frozen. Its patch features are used, one vector for each patch, instead of the one vector that CLIP compares with texts. A **projector** maps each patch's features to a vector as wide as a word embedding. A language model reads these vectors where its text has a placeholder, `<image>`.

# %%
plots.show(
    figures.system(model, 12),
    "Figure 2. LLaVA with the shapes of our model, for one picture and a text of twelve tokens. "
    "What to see: the placeholder is one token, and a vector for each patch takes its place, so "
    "the text grows. In stage 1 the whole language model is frozen (section 3). In stage 2 ours "
    "keeps the word embeddings frozen, as drawn; the paper trains them, too. "
    f"Parameters: {figures.parameters(model)}.",
)

# %% [markdown]
# Let $L$ be the number of blocks of the image encoder. LLaVA takes the output of block $L - 1$, the one before the last, and leaves the class token out. A reason for block $L - 1$: CLIP's loss sees only the class token after block $L$. So CLIP's training never uses block $L$'s *output* at the patches. The difference is small: on ScienceQA, a test of school questions, 90.92 against 89.96 % right answers in the paper's Table 8 (section "The paper beside ours").

# %% [markdown]
# ### Exercise 1 · Select features
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | which block's output, which rows | ●○○○○ | ●●●●○ | 5 |
#
# Write `select_features`. `states` holds L + 1 tensors: the input of the first block, then the output of each block. In each, the rows of a picture (axis 1) are the class token, then the patches. `skip_blocks` says how many of the last blocks are left out: LLaVA's choice is 1. `class_token` says whether the class token's row stays.


# %%
def select_features(states: list, skip_blocks: int, class_token: bool) -> Tensor:
    """states: L + 1 tensors (B, 1 + P, C) -> (B, P, C), or (B, 1 + P, C) with the class token."""
    raise NotImplementedError("your code here")


select_features = check("llava.select_features", select_features)

# %% [markdown]
# <details><summary>Hint 1</summary>With skip_blocks = 0 the last entry is wanted, with 1 the entry before it.</details>
# <details><summary>Hint 2</summary>The class token is row 0 of axis 1: <code>x[:, 1:]</code> leaves it out.</details>
# <details><summary>If you see "value 3: ..."</summary>The check tries four pairs of options; value 3 belongs to <code>skip_blocks=0, class_token=True</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def select_features(states, skip_blocks, class_token):
#     features = states[len(states) - 1 - skip_blocks]
#     return features if class_token else features[:, 1:]
# ```
# </details>

# %% [markdown]
# The first LLaVA projects with one matrix. LLaVA-1.5 has two layers with a GELU between them. For one patch with features $z$:
#
# $$h = W_2\,\mathrm{GELU}(W_1 z + b_1) + b_2, \qquad W_1 \in \mathbb{R}^{D \times C},\; W_2 \in \mathbb{R}^{D \times D}$$

# %% [markdown]
# ### Exercise 2 · The projector
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | a small network for each patch | ●●○○○ | ●●●●● | 8 |
#
# Write `Projector`, the formula as a module. Its input may have any number of axes before the last one, such as (B, P, C).


# %%
class Projector(torch.nn.Module):
    """Features of patches (..., C) -> vectors among words (..., D)."""

    def __init__(self, vision_width: int, language_width: int):
        """vision_width: C, language_width: D."""
        super().__init__()
        raise NotImplementedError("your code here")

    def forward(self, features: Tensor) -> Tensor:
        raise NotImplementedError("your code here")


Projector = check("llava.Projector", Projector)

# %% [markdown]
# <details><summary>Hint 1</summary>Create both linear layers in <code>__init__</code>. The second one goes from D to D.</details>
# <details><summary>Hint 2</summary><code>torch.nn.functional.gelu</code> stands between them. Nothing comes after the second layer.</details>
# <details><summary>If you see "mat1 and mat2 shapes cannot be multiplied"</summary>The second layer reads what the first returns: D numbers, not C.</details>
# <details><summary>Solution</summary>
#
# ```python
# class Projector(torch.nn.Module):
#     def __init__(self, vision_width, language_width):
#         super().__init__()
#         self.first = torch.nn.Linear(vision_width, language_width)
#         self.second = torch.nn.Linear(language_width, language_width)
#
#     def forward(self, features):
#         return self.second(torch.nn.functional.gelu(self.first(features)))
# ```
# </details>

# %% [markdown]
# In lesson 07 each vector had its own placeholder. LLaVA's text has one placeholder for a whole picture, and all of its vectors take that place. The text becomes longer.

# %% [markdown]
# ### Exercise 3 · Patches for a placeholder
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | several vectors where one token stood | ●●●○○ | ●●●●● | 10 |
#
# Write `insert_patches` for one text, whose words are embedded already. Its M placeholders are the tokens with id `image_id`; M may be any number. The first gives way to all vectors of the first picture, and so on. Gradients must reach words and pictures.


# %%
def insert_patches(words: Tensor, ids: Tensor, image_id: int, pictures: list) -> Tensor:
    """words (T, D), ids (T,), a list of M pictures (P, D) -> (T - M + M * P, D)."""
    raise NotImplementedError("your code here")


insert_patches = check("llava.insert_patches", insert_patches)

# %% [markdown]
# <details><summary>Hint 1</summary>Cut the words at the placeholders, and collect pieces in a list: words, picture, words, picture, words.</details>
# <details><summary>Hint 2</summary><code>(ids == image_id).nonzero().flatten().tolist()</code> gives the places. The next piece begins one token after a place. <code>torch.cat</code> joins the list.</details>
# <details><summary>If you see "Sizes of tensors must match except in dimension 0"</summary>A piece is a single row (D,). Slices such as <code>words[a:b]</code> keep both axes.</details>
# <details><summary>Solution</summary>
#
# ```python
# def insert_patches(words, ids, image_id, pictures):
#     pieces, start = [], 0
#     for place, patches in zip((ids == image_id).nonzero().flatten().tolist(), pictures):
#         pieces += [words[start:place], patches]
#         start = place + 1
#     return torch.cat([*pieces, words[start:]])
# ```
# </details>

# %% [markdown]
# With your function, the shipped model must compute what it computes with the package's. The package writes a placeholder for each patch into the text, as lesson 07 did, so that texts keep their length. Both ways give the same sequence of vectors.

# %% tags=["nbval-check-output"]
image_id = model.image_token_id
pixel_values = world.to_pixels(rendered(scenes[:1], scale.image_size))
text = "{} question : how many things are there ? answer :"
short, long = (
    tokenizer.encode([text.format(p)])[:, :-1] for p in ("<image> .", figures.prefix(model))
)
with torch.no_grad():
    vectors = model.vision_context(pixel_values)["prefix"]
    x = insert_patches(embed(model.lm, short)[0], short[0], image_id, [vectors])
    difference = model.lm(inputs_embeds=x[None]).logits - model(long, prefix=vectors)
print("same logits:", bool(difference.abs().max() < 1e-3))

# %%
quiz("llava.tokens", vectors=len(vectors))

# %% [markdown]
# ## 2. A dialogue as a text
#
# A chat model reads one long text. A **chat template** says how the turns of user and assistant are written in it. Vicuna, LLaVA's language model, writes `USER: ... ASSISTANT: ...`. Ours writes `question : ... answer : ... .`, the form that its texts had in lesson 05. The full stop ends the assistant's turn.

# %% [markdown]
# ### Exercise 4 · The chat template
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | history and open question as one text | ●●○○○ | ●●●●○ | 6 |
#
# Write `chat_text`. The text begins with `<image> .`, once. Each earlier turn, if there is any, becomes `question : is there a cat ? answer : yes .` At the end stands the open question, `question : is there a dog ? answer :`


# %%
def chat_text(turns: list, question: str) -> str:
    """turns: tuples (question, answer) that were said before -> one text, open at its end."""
    raise NotImplementedError("your code here")


chat_text = check("llava.chat_text", chat_text)

# %% [markdown]
# <details><summary>Hint 1</summary>Make a list of pieces, and join them with <code>" ".join(pieces)</code>.</details>
# <details><summary>Hint 2</summary>Mind the spaces: <code>f"question : {asked} answer : {answer} ."</code></details>
# <details><summary>If you see "sequence item 0: expected str instance"</summary>A piece is a tuple: format each turn to a text first.</details>
# <details><summary>Solution</summary>
#
# ```python
# def chat_text(turns, question):
#     said = [f"question : {asked} answer : {answer} ." for asked, answer in turns]
#     return " ".join(["<image> .", *said, f"question : {question} answer :"])
# ```
# </details>

# %% [markdown]
# A chat with the shipped model, through your template. Two of the questions say "it", so they can only be understood with what was said before. Not every answer is right: section 6 takes this up.

# %%
subject = figures.scenes(scale, 1, things=(1, 1))[0]
talk = llava_talk.talk(model, subject, llava_talk.ABOUT_ONE_THING, chat_text)
Markdown(llava_talk.chat_table(talk, subject))

# %% [markdown]
# Let $y_1, \dots, y_T$ be the tokens of a dialogue and $v$ the vectors of its picture. The set $\mathcal{A}$ holds the positions that belong to the assistant: its answers, and the full stops that end them. The loss is
#
# $$\mathcal{L} = -\frac{1}{|\mathcal{A}|} \sum_{l \in \mathcal{A}} \ln p\left(y_l \mid v,\; y_1, \dots, y_{l-1}\right)$$
#
# Questions are read, but not scored: a user will ask them. The full stop is scored. Otherwise the model would never learn to end its turn.

# %% [markdown]
# ### Exercise 5 · Which words are scored
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | a mask over dialogues with several turns | ●●●○○ | ●●●●● | 10 |
#
# Write `answer_mask`. An answer begins after the two words `answer :` and ends with the next full stop, which belongs to it. Words before, between and after answers are not scored, padding included.


# %%
def answer_mask(words: list) -> list:
    """The words of a dialogue, from <bos> on -> one boolean for each, True where scored."""
    raise NotImplementedError("your code here")


answer_mask = check("llava.answer_mask", answer_mask)

# %% [markdown]
# <details><summary>Hint 1</summary>Walk through the words, and remember whether you are inside an answer.</details>
# <details><summary>Hint 2</summary>Append the state first, then change it: a full stop ends it, and ':' after 'answer' begins it for the *next* word.</details>
# <details><summary>If you see "list index out of range"</summary>You look at the next word of the last one. Look back instead: <code>words[i - 1]</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def answer_mask(words):
#     mask, inside = [], False
#     for i, word in enumerate(words):
#         mask.append(inside)
#         if inside and word == ".":
#             inside = False
#         elif word == ":" and words[i - 1] == "answer":
#             inside = True
#     return mask
# ```
# </details>

# %%
example = f"<bos> {chat_text(talk[:2], talk[2][0])} {talk[2][1]} .".split()
marked = (f"**{w}**" if s else w for w, s in zip(example, answer_mask(example)))
Markdown("Scored words in bold: " + " ".join(marked).replace("<", "&lt;"))

# %%
quiz("llava.questions_scored")

# %% [markdown]
# ## 3. Two stages
#
# **Stage 1, feature alignment.** Only the projector is trained, on pictures with captions (595,000 in the paper). Image encoder and language model are frozen. The projector learns to write vectors that this language model understands.
#
# **Stage 2, instruction tuning.** Projector and language model are trained on dialogues (158,000 samples in the paper). The image encoder stays frozen.

# %% [markdown]
# ### Exercise 6 · What each stage trains
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | freezing in both directions | ●●○○○ | ●●●●○ | 6 |
#
# Write `choose_trained`. It sets `requires_grad` of every parameter of the three modules for stage 1 or 2, whatever was set before. It returns how many numbers are trained.


# %%
def choose_trained(vision, projector, lm, stage: int) -> int:
    """Three modules; stage: 1 or 2 -> how many numbers are trained."""
    raise NotImplementedError("your code here")


choose_trained = check("llava.choose_trained", choose_trained)

# %% [markdown]
# <details><summary>Hint 1</summary>Make a list of the modules that this stage trains. <code>module.requires_grad_(True)</code> works on all parameters of a module.</details>
# <details><summary>Hint 2</summary>Set False where a module is not in the list. <code>parameter.numel()</code> is the number of its numbers.</details>
# <details><summary>If you see "'function' object is not iterable"</summary><code>parameters</code> is a method: <code>module.parameters()</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def choose_trained(vision, projector, lm, stage):
#     trained = [projector] if stage == 1 else [projector, lm]
#     for part in (vision, projector, lm):
#         part.requires_grad_(part in trained)
#     return sum(p.numel() for part in trained for p in part.parameters())
# ```
# </details>

# %%
quiz("llava.frozen")

# %% [markdown]
# ## 4. Dialogues without a look at the picture
#
# Where do 158,000 dialogues come from? The authors gave GPT-4, which read text only, the captions of COCO's pictures and the boxes (coordinates) of the things in them. It wrote 58,000 conversations, 23,000 detailed descriptions and 77,000 answers that need reasoning. It saw no pixel. Our world can do the same: a scene is a list of words with places.

# %% [markdown]
# ### Exercise 7 · Write a dialogue from symbols
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | instruction data from words and places | ●●○○○ | ●●●●○ | 8 |
#
# Write `write_dialogue`. Each thing is (word, x, y). Its centre is at x, y: (0, 0) is the top left corner of the picture, (1, 1) the bottom right one. No thing is in the middle. There are one to four things. The turns are, in this order:
#
# - `how many things are there ?`, with `one`, `two`, `three` or `four`;
# - for each thing `what is the thing in the top left ?` (or `top right`, `bottom left`, `bottom right`), with its word;
# - `what colour is the background ?`, with the colour.


# %%
def write_dialogue(things: list, background: str) -> list:
    """things: tuples (word, x, y) -> list of tuples (question, answer)."""
    raise NotImplementedError("your code here")


write_dialogue = check("llava.write_dialogue", write_dialogue)

# %% [markdown]
# <details><summary>Hint 1</summary>A place has two words: top or bottom from y, then left or right from x.</details>
# <details><summary>Hint 2</summary>Put the words for numbers into a tuple, <code>("zero", "one", ...)</code>: entry <code>len(things)</code> is the right one.</details>
# <details><summary>If you see "not enough values to unpack"</summary>Each thing is a tuple of three: <code>for word, x, y in things</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def write_dialogue(things, background):
#     numbers = ("zero", "one", "two", "three", "four")
#     turns = [("how many things are there ?", numbers[len(things)])]
#     for word, x, y in things:
#         place = f"{'top' if y < 0.5 else 'bottom'} {'left' if x < 0.5 else 'right'}"
#         turns.append((f"what is the thing in the {place} ?", word))
#     return [*turns, ("what colour is the background ?", background)]
# ```
# </details>

# %%
quiz("llava.written_blind")

# %% [markdown]
# ## 5. Train it
#
# All your functions become one system. `BuiltLLaVA` has CLIP's image encoder, your `select_features`, your `Projector`, your `insert_patches` and a copy of the shipped language model. Stage 1 trains what your `choose_trained` says, on descriptions. Stage 2 trains on dialogues that your `write_dialogue` writes, with the loss that your `answer_mask` chooses. The data are small: two or three of twelve nouns on each picture. Here stage 2 trains the whole language model, as in the paper, with its word embeddings. **The next cell takes about 30 seconds on a free core, and longer on busy ones.**

# %%
parts = {
    "select_features": select_features,
    "Projector": Projector,
    "insert_patches": insert_patches,
    "answer_mask": answer_mask,
    "choose_trained": choose_trained,
    "write_dialogue": write_dialogue,
}
own = llava_model.BuiltLLaVA(scale, parts)
shown = llava_model.scenes_of(scale.image_size, 16 if smoke else 768)
steps = (2, 4) if smoke else (40, 180)
curve = LiveCurve(redraw_seconds=6)
first = llava_model.Talks(own, shown, llava_model.captions)
llava_model.train(own, 1, first, steps[0])
second = llava_model.Talks(own, shown, lambda s: write_dialogue(*llava_model.symbols_of(s)))
history = llava_model.train(own, 2, second, steps[1], curve)
HTML(
    "<p><b>Figure 3.</b> The loss of your system in stage 2: mean over the scored words of a batch "
    "of 16 dialogues, in nats per word. What to see: it falls, but a low loss alone doesn't show "
    "that the model uses its pictures.</p>"
)

# %% [markdown]
# How good are its answers? One number over all questions would mostly be about the kind that is asked most often.

# %% [markdown]
# ### Exercise 8 · Accuracy by kind
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | a mean in which each kind counts the same | ●●○○○ | ●●●○○ | 8 |
#
# Write `accuracy_by_kind`. An answer is right if it equals the right text. The function returns the share of right answers of each kind, and under `"mean"` the mean of these shares.


# %%
def accuracy_by_kind(kinds: list, answers: list, right: list) -> dict:
    """Three lists of texts, one entry for each question -> {kind: share, ..., "mean": share}."""
    raise NotImplementedError("your code here")


accuracy_by_kind = check("llava.accuracy_by_kind", accuracy_by_kind)

# %% [markdown]
# <details><summary>Hint 1</summary>Collect for each kind a list of True and False. <code>sum</code> counts the True ones.</details>
# <details><summary>Hint 2</summary>Compute the mean before you add it to the dictionary, or it is counted itself.</details>
# <details><summary>If you see "KeyError"</summary>A kind is met for the first time: <code>found.setdefault(kind, [])</code> makes its list.</details>
# <details><summary>Solution</summary>
#
# ```python
# def accuracy_by_kind(kinds, answers, right):
#     found = {}
#     for kind, answer, wanted in zip(kinds, answers, right):
#         found.setdefault(kind, []).append(answer == wanted)
#     scores = {kind: sum(hits) / len(hits) for kind, hits in found.items()}
#     return scores | {"mean": sum(scores.values()) / len(scores)}
# ```
# </details>

# %%
pictures = 4 if smoke else 96
views = {
    "with the picture": llava_model.report(own, pictures, accuracy_by_kind),
    "pictures exchanged": llava_model.report(own, pictures, accuracy_by_kind, exchanged=True),
}
chance = llava_model.report_of_guessing(own.size, parts, pictures, accuracy_by_kind)
plots.show(
    figures.views_figure(views, chance),
    f"Figure 4. Your system on questions about {pictures} held-out pictures, one run. Exchanged: "
    "each question is asked about the next picture. Marks: always the most frequent answer of "
    "the kind. What to see: the two bars of a kind differ, so the system uses its picture. For "
    "these three kinds the distance from the upper bar to the mark is what the picture is worth.",
)
same = llava_model.same_number(own.size, pictures)
Markdown(f"The next picture has the same number of things in **{same:.0%}** of the cases.")

# %% [markdown]
# This is a **shuffled control**: the questions stay, the pictures move on by one. An answer can still be right for three reasons: knowledge, a guess, or a next picture that happens to have the same answer. Compare the share above with the lower bar of *how many*: they should be alike if the model counts the wrong picture rightly, and is right when the numbers agree. The lower bars may be shorter than the mark: a wrong picture misleads.
#
# ## 6. Does the shipped model use its pictures?
#
# The shipped model was trained in the same two stages, on pictures of 29 nouns, with questions of nine kinds:
#
# - Five kinds ask for what the picture shows: *what*, *where*, *how many*, *colour* (of a thing or the background), *position* (is one thing left of another?).
# - Four kinds also need a fact that no picture shows: *category*, *place* (where can you find it?), *purpose*, *compare*. Most *compare* questions ask whether two things have the same size or origin (nature or craft).
#
# We trained the model three times, from different seeds. The shipped model is one of the three.
#
# **The rule** of this course has two conditions. One score is *better* than another if it is higher in every seed, and if the mean gap exceeds two pooled standard deviations. Pooled: the root of the mean of both scores' variances over the seeds.

# %%
plots.show(
    figures.looking_figure(),
    "Figure 5. Held-out questions by kind, 64 of each. Bars: mean of three seeds; whiskers: one "
    "standard deviation; dots: seeds. Marks: always the most frequent answer of the kind. What to "
    "see: where the upper bar is much longer, LLaVA uses the picture. Where both are about equal, "
    "no use of it is seen, and both lie near the mark or below it.",
)
Markdown(f"{figures.kinds_sentence()}\n\n{figures.control_table()}")

# %% [markdown]
# Two things may surprise you. *Colour* is often right with the wrong picture. And for some kinds the right picture is no better than a wrong one. The next table looks at single answers. It splits *colour* into questions about a thing, which they name, and questions about the background. It also counts descriptions, as in Figure 1: right if they name every thing.

# %%
Markdown(llava_counts.counts_table(model, scale, count))

# %% [markdown]
# The colour of a named thing needs no picture: the language model knows it. The background's colour needs one. A description of two things rarely names both.
#
# To *how many* the model says "two" nearly always, whatever the picture. Why "two", we don't know. In Figure 4 your system counts two or three things, with the same image encoder. So the patch features can tell two from three. The next table has a hint why the shipped model doesn't use it.

# %% [markdown]
# What is each stage worth? *Alignment only* has no instruction tuning, *tuning only* has no feature alignment: its projector starts untrained. The two columns on the right ask the language model in words, without pictures. *Facts*: what it knew before, such as the category of a cat. *New names*: a word is defined in the prompt and asked for (lesson 05). Compare the rows: what each stage adds to the answers, and what the language model can no longer answer when asked without a picture. In stage 1 it can't lose anything: it is frozen.

# %%
Markdown(f"{figures.stages_table()}\n\n{figures.counting_sentence()}")

# %% [markdown]
# So a stage that helps with most questions can make one kind worse. Each picture of this stage 1 shows a single thing, and the caption names it. A projector may learn from them to pass on one thing, whatever the number. That is our guess, not tested. One observation fits: your own stage 1 had two or three things, and your system counts. But the two systems differ in more than that. What captions would you try in stage 1?

# %% [markdown]
# ## 7. The same questions to BLIP-2 and Flamingo
#
# The course ships BLIP-2 (lesson 10) and Flamingo (lesson 11), with the same image encoder and the same language model, which they keep frozen. All three are asked about held-out pictures of a single thing, out of LLaVA's 29 nouns. The training differs. LLaVA was trained on dialogues of such questions, and on these 29 nouns only. BLIP-2 was trained on captions, Flamingo on captions and on pages, some with questions. BLIP-2 and Flamingo saw all nouns of the course.
#
# LLaVA's scores are higher than in Figure 5, probably mainly because each picture shows one thing. A bar above its mark doesn't yet show that the picture was used: some questions of *colour* name the thing. Exchanged pictures (Figure 5) would show it. Also, the model chooses among given answers here, and this is one seed.

# %%
models = {
    "LLaVA": model,
    "BLIP-2": recipes.get("blip2").train_or_load(scale).model,
    "Flamingo": recipes.get("flamingo").train_or_load(scale).model.model,
}
same = figures.same_questions(models, scale, count)
plots.show(
    figures.same_figure(same),
    f"Figure 6. {count} held-out questions of each kind about single things, without examples; the "
    "model's answer is the likeliest one among all answers of this kind. Marks: always the most "
    f"frequent answer. One model of each system; standard deviation of a share of {count}: up to "
    f"{0.5 / count**0.5:.2f}, so differences under 0.1 say little. What to see: a bar that isn't "
    "longer than its mark shows no use of the picture.",
)

# %% [markdown]
# One bar is shorter than its mark: Flamingo's *purpose*. Its training pages asked for *category* and *place*, never for *purpose* (lesson 12). BLIP-2 was trained on no question at all and still does better; why, we don't know.

# %%
quiz("llava.fair")

# %% [markdown]
# Now chat with the shipped LLaVA yourself. Choose a picture, and choose or write a question, with words of the course's vocabulary. Each question continues the chat, through your `chat_text`. Another picture begins a new chat.

# %%
chat_scenes = figures.scenes(scale, 8, things=(1, 4))
questions = ["what is the thing in the top left ?", "what colour is the background ?"]
questions += ["what is on the picture ?", "how many things are there ?", "what is it for ?"]
llava_talk.chat_player(model, chat_scenes, chat_text, questions)
HTML(
    "<p><b>Figure 7.</b> A picture, and a chat about it: your questions, and LLaVA's answers in "
    "bold. What to see: it answers every question in the same form, right or wrong. Nothing in "
    "an answer says how sure it is.</p>"
)

# %% [markdown]
# ## 8. What came after
#
# | System | Image encoder | Bridge | Language model | Changed |
# |---|---|---|---|---|
# | LLaVA-1.5 (2023) | CLIP ViT-L/14 at 336 pixels | two-layer MLP, 576 vectors | Vicuna, trained | questions of academic data sets with a short-answer prompt |
# | SigLIP (2023) | trained with a sigmoid loss | – | – | no softmax over the batch |
# | Idefics2 (2024) | SigLIP | resampler, 64 vectors | Mistral 7B, tuned | vectors among words instead of cross-attention |
# | BLIP-3, xGen-MM (2024) | SigLIP | resampler for each tile | Phi-3-mini, trained | no Q-Former, one loss |
# | any-to-any, such as Chameleon (2024) | tokens of a codebook | none | trained from the start on both | the model also writes pictures |
#
# **Idefics2** (Laurençon et al. 2024, [arXiv 2405.02246](https://arxiv.org/abs/2405.02246)). The first Idefics (2023) was an open rebuilding of Flamingo. For the second, its authors compared two ways: cross-attention (as in Flamingo) and vectors among words (as in LLaVA). With image encoder and language model frozen, Flamingo's cross-attention was better. Once these were trained, too, vectors among words were better, with fewer parameters.
#
# **BLIP-3**, or xGen-MM (Xue et al. 2024, [arXiv 2408.08872](https://arxiv.org/abs/2408.08872)), comes from the group of BLIP-2. It gives up the Q-Former and the three losses of lesson 10. A resampler as Flamingo's makes the vectors, one next-token loss trains the model, and most of the effort goes into data.
#
# **SigLIP** changes CLIP's loss. CLIP's softmax compares a pair with all others of the batch. SigLIP asks of each image $i$ and each text $j$ alone: do they belong together? With unit vectors $x_i$, $y_j$, a scale $t$, a bias $b$, and $z_{ij} = 1$ for $i = j$, else $-1$:
#
# $$\mathcal{L} = -\frac{1}{N} \sum_{i=1}^{N} \sum_{j=1}^{N} \ln \sigma\left(z_{ij}\,(t\, x_i \cdot y_j + b)\right), \qquad \sigma(a) = \frac{1}{1 + e^{-a}}$$

# %% [markdown]
# ### Exercise 9 · The sigmoid loss
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | a loss without a softmax over the batch | ●●○○○ | ●●●●○ | 8 |
#
# Write `sigmoid_loss`.


# %%
def sigmoid_loss(images: Tensor, texts: Tensor, t: float, b: float) -> Tensor:
    """Unit vectors (N, E) each, scale and bias -> scalar."""
    raise NotImplementedError("your code here")


sigmoid_loss = check("llava.sigmoid_loss", sigmoid_loss)

# %% [markdown]
# <details><summary>Hint 1</summary><code>images @ texts.T</code> holds all N times N similarities.</details>
# <details><summary>Hint 2</summary><code>2 * torch.eye(N) - 1</code> holds the signs. <code>torch.nn.functional.logsigmoid</code> is exact where sigmoid and log would overflow.</details>
# <details><summary>If you see "The size of tensor a must match"</summary>Transpose one side of the product: (N, E) times (E, N).</details>
# <details><summary>Solution</summary>
#
# ```python
# def sigmoid_loss(images, texts, t, b):
#     similarities = images @ texts.T
#     logits = t * similarities + b
#     signs = 2 * torch.eye(len(images)) - 1
#     return -torch.nn.functional.logsigmoid(signs * logits).sum() / len(images)
# ```
# </details>

# %% [markdown]
# Most pairs of a batch don't belong together. The paper therefore starts with $b = -10$ and $t = 10$: at first every pair is judged "no". Your function shows what the bias does to random vectors:

# %% tags=["nbval-check-output"]
generator = torch.Generator().manual_seed(0)
x, y = (
    torch.nn.functional.normalize(torch.randn(64, 512, generator=generator), dim=-1)
    for _ in range(2)
)
for b in (0.0, -10.0):
    print(f"64 random pairs, t = 10, b = {b:g}: loss {sigmoid_loss(x, y, 10.0, b):.1f}")

# %% [markdown]
# With $b = 0$ each image has 64 terms of about $\ln 2 = 0.69$, together 44; the spread of the similarities adds the rest. With $b = -10$ the 63 wrong texts cost almost nothing, and the right one costs 10: that is where the first steps push.

# %%
quiz("llava.sigmoid")

# %% [markdown]
# **More pixels.** CLIP reads squares of one size; small print is lost. LLaVA-NeXT and BLIP-3 cut a picture into **tiles** of that size, encode each alone, and add an **overview**, the whole picture in small. BLIP-3 then passes each tile through a resampler as Flamingo's, so that a tile costs fewer vectors.

# %% [markdown]
# ### Exercise 10 · What a picture costs
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | count vectors of tiles | ●●○○○ | ●●●○○ | 6 |
#
# Write `visual_tokens`. The grid has as many rows and columns of tiles as are needed to cover the picture. If there are several tiles, an overview of one tile is added. Each tile has a vector for each patch, or `latents` vectors after a resampler.


# %%
def visual_tokens(height: int, width: int, tile: int, patch: int, latents=None) -> int:
    """Sizes in pixels; latents: None or a number -> vectors that the language model reads."""
    raise NotImplementedError("your code here")


visual_tokens = check("llava.visual_tokens", visual_tokens)

# %% [markdown]
# <details><summary>Hint 1</summary>Round up: <code>-(-height // tile)</code>, or <code>math.ceil</code>.</details>
# <details><summary>Hint 2</summary>A tile has tile / patch patches in each direction.</details>
# <details><summary>If you see "value 7: not the right value."</summary>The check counts five pictures twice: values 1 to 5 with all patches, values 6 to 10 with latents. The first picture has exactly one tile, the second has two.</details>
# <details><summary>Solution</summary>
#
# ```python
# def visual_tokens(height, width, tile, patch, latents=None):
#     rows, columns = -(-height // tile), -(-width // tile)
#     tiles = rows * columns
#     if tiles > 1:
#         tiles += 1
#     vectors = latents or (tile // patch) ** 2
#     return tiles * vectors
# ```
# </details>

# %%
tile = scale.image_size
plots.show(
    figures.tiles_figure(chat_scenes[0], tile),
    f"Figure 8. A picture of {2 * tile} x {2 * tile} pixels for an encoder of {tile} x {tile}: "
    "four tiles and an overview. With patches of 16 pixels they cost "
    f"{visual_tokens(2 * tile, 2 * tile, tile, 16)} vectors; the overview alone costs "
    f"{visual_tokens(tile, tile, tile, 16)}. What to see: a tile shows a thing in more "
    "pixels; only the overview shows all things at once.",
    credit=world.ATTRIBUTION,
)

# %%
rows = [
    f"| {h} x {w} | {visual_tokens(h, w, 336, 14)} | {visual_tokens(h, w, 336, 14, 128)} |"
    for h, w in ((336, 336), (672, 672), (1000, 1300))
]
Markdown(
    "| picture (pixels) | vectors, all patches | 128 for each tile |\n|---|---|---|\n"
    + "\n".join(rows)
)

# %% [markdown]
# **Any to any.** So far pictures are read, never written. If a picture is a row of *tokens*, one softmax can write words and pictures. A **codebook** of $K$ vectors $e_k$ makes tokens of features: patch $p$ with features $z_p$ becomes the number of its nearest code,
#
# $$k_p = \operatorname{argmin}_k \lVert z_p - e_k \rVert^2,$$
#
# and a decoder paints the picture from the codes. Chameleon (2024, [arXiv 2405.09818](https://arxiv.org/abs/2405.09818)) trains one transformer on rows that mix tokens of words and of pictures. NExT-GPT (Wu et al. 2023, [arXiv 2309.05519](https://arxiv.org/abs/2309.05519)) goes another way. Its language model writes vectors that steer diffusion models, trained before by others, for pictures, sound and video.

# %% [markdown]
# ### Exercise 11 · A picture as tokens
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | nearest codes as ids behind the words | ●●○○○ | ●●●○○ | 6 |
#
# Write `picture_tokens`. The ids of codes follow those of the words: code 0 has the id `first_id`.


# %%
def picture_tokens(features: Tensor, codebook: Tensor, first_id: int) -> Tensor:
    """features (P, C), codebook (K, C) -> ids (P,)."""
    raise NotImplementedError("your code here")


picture_tokens = check("llava.picture_tokens", picture_tokens)

# %% [markdown]
# <details><summary>Hint 1</summary><code>features[:, None] - codebook[None]</code> has the shape (P, K, C).</details>
# <details><summary>Hint 2</summary>Square, sum over the last axis, then <code>argmin(1)</code>. <code>torch.cdist</code> does the first two.</details>
# <details><summary>If you see "The size of tensor a must match"</summary>An axis is missing: each patch is compared with each code.</details>
# <details><summary>Solution</summary>
#
# ```python
# def picture_tokens(features, codebook, first_id):
#     distances = (features[:, None] - codebook[None]).square().sum(-1)
#     return distances.argmin(1) + first_id
# ```
# </details>

# %% [markdown]
# With your function, pictures become tokens. Here a code stands for 4 x 4 pixels, and k-means on training pictures finds the $K$ codes. Each code is the mean of the patches that are nearest to it. In real systems the codes stand for learnt features, and the decoder is a network.

# %%
plots.show(
    llava_codes.written_and_painted(picture_tokens, scenes[:2], scale, (4, 32, 256)),
    "Figure 9. Two pictures of 16 x 16 patches, so 256 tokens each, painted from their codes "
    "again. K: codes in the codebook; error: mean squared difference of pixel values from 0 to 1. "
    "What to see: a larger codebook keeps more, at first the shapes, then colours and outlines.",
    credit=world.ATTRIBUTION,
)

# %% [markdown]
# ## Failure lab
#
# Four trainings of the small system from section 5, shorter than yours: one healthy, three with one fault each. All were measured on held-out pictures with correct code.
#
# - **wrong pictures**: in training each dialogue stood beside the next scene's picture;
# - **full stops only**: of each answer only the full stop was scored;
# - **language model frozen**: stage 2 trained the projector alone.

# %%
lab = llava_lab.runs(scale)
before = llava_lab.loss_on_texts(recipes.get("language").train_or_load(scale).model.lm)
plots.show(
    llava_lab.losses(lab),
    "Figure 10. Training loss at the end, as each run computes it, and the loss of its language "
    f"model on new texts without pictures. Before stage 2 the latter was {before:.2f}. What to "
    "see: the lowest training loss isn't the best run (Figure 11). Where stage 2 trains the "
    "language model, it gets worse on other texts, in the healthy run, too.",
)
plots.show(
    llava_lab.shares(lab, scale),
    f"Figure 11. The same runs on {llava_lab.sizes_of(scale)[2]} held-out pictures: right answers, "
    "mean over three kinds, one seed. What to see: the healthy run is best. A distance of a few "
    "hundredths from chance is no evidence in one run.",
)

# %% [markdown]
# Your diagnosis, in place of each `None`:

# %%
diagnose("llava.training", {"A": None, "B": None, "C": None})

# %% [markdown]
# <details><summary>Hint</summary>Whose training loss is nearly zero? Whose language model is as it was? What remains?</details>
# <details><summary>Solution</summary>
#
# A: wrong pictures. It learns the form of answers, and which are frequent. Its training loss stays above the healthy run's, although its language model was trained, too: its pictures say nothing about its answers. On held-out pictures it is near chance, as it must be.
#
# B: full stops only. A full stop after an answer is easy, so the loss is nearly zero. Which word to say was never asked for.
#
# C: language model frozen. Its loss on texts is that of the shipped language model. Its projector must do all the work, and it learns less in as many steps.
# </details>

# %% [markdown]
# ## The paper beside ours
#
# First the paper's tables. In Table 4 GPT-4 gives marks to LLaVA's answer and to a reference, written by a GPT-4 that reads the true captions and boxes. The number is LLaVA's mark in percent of the reference's.

# %%
Markdown(published("llava-table-4").markdown())

# %%
Markdown(published("llava-table-8").markdown())

# %% [markdown]
# Two claims beside our measurements. The verdict is computed by the rule of section 6. *Agrees*: the first is better. *Disagrees*: the second is better. Otherwise *within noise*. Our scores are shares of right answers, so only the direction can be compared.

# %%
Markdown(figures.claims_table())

# %% [markdown]
# ## Discussion
#
# **Strengths.** The bridge is two matrices. The data can be made by a language model. Training fits on one machine with eight GPUs (about a day for LLaVA-1.5). The model follows instructions, which captions alone don't teach.
#
# **Weaknesses.** Every patch costs a place in the text: 576 for each picture of LLaVA-1.5. The language model changes, so its old abilities need tests of their own (Figure 10). Data that were written without a look at the picture can teach the model to invent.
#
# <details><summary>Q: Frozen got worse when its language model was trained. Why does LLaVA train it?</summary>
# Frozen trained on captions only, a narrow kind of text. LLaVA trains on varied dialogues, and it wants a model that follows instructions about pictures. Whether knowledge is kept must be measured: see the columns *facts* and *new names* of the table in section 6.
# </details>
#
# <details><summary>Q: Table 8 reports 90.92 for the block before the last, 89.96 for the last block. What may the last block have lost?</summary>
# CLIP's loss sees only the class token after the last block. The authors think that the last block keeps what is about the whole image, and the one before it more of single places. The difference is one point in one run on ScienceQA.
# </details>
#
# <details><summary>Q: In Table 4 a language model marks the answers. What can go wrong?</summary>
# It sees no picture. It may prefer its own style, and it also wrote the training data. Long answers with many details can win over short right ones. People must check a sample.
# </details>
#
# <details><summary>Q: A fridge shows strawberries and yogurt; LLaVA says that there is strawberry yogurt. Which part of the system is at fault?</summary>
# The paper calls it perceiving "a bag of patches". CLIP's training seldom needs to know which property belongs to which thing, and the projector looks at one patch alone. The language model could combine patches, if its training asked for it.
# </details>
#
# ## Limits
#
# Our chat model has about 1.2 million parameters (Figure 2), of which half a million are in the language model. Its pictures show 29 nouns, and its vocabulary is closed. It keeps the word embeddings frozen in stage 2; the paper trains them. Its dialogues are made by rules, so their language is poor. The shipped model's projector starts near the mean of the word embeddings, and its features are normalised, which the paper doesn't say. Three seeds give a coarse estimate of spread. BLIP-2 and Flamingo were trained on other data than LLaVA, so section 7 compares models, not architectures.
#
# ## Reading
#
# - Liu et al. 2023, *LLaVA* ([2304.08485](https://arxiv.org/abs/2304.08485)): Sections 3 to 5, Figure 1, Tables 4 and 8. Our code: `vlmcourse/papers/llava.py`, `vlmcourse/recipes/llava.py`.
# - Liu et al. 2023, *LLaVA-1.5* ([2310.03744](https://arxiv.org/abs/2310.03744)): Section 3, what was changed one by one.
# - Zhai et al. 2023, *SigLIP* ([2303.15343](https://arxiv.org/abs/2303.15343)): Section 3, the loss and how it is computed in pieces.
# - Laurençon et al. 2024, *Idefics2* ([2405.02246](https://arxiv.org/abs/2405.02246)): Section 3, findings one to four.
# - Xue et al. 2024, *xGen-MM (BLIP-3)* ([2408.08872](https://arxiv.org/abs/2408.08872)): Section 3, the architecture and the tiles.
# - Chameleon Team 2024, *Chameleon* ([2405.09818](https://arxiv.org/abs/2405.09818)): Section 2, pictures as tokens.
#
# ## Key ideas
#
# > - Every patch of a frozen image encoder can stand among the words, through a small projector.
# > - Stage 1 trains the projector on captions; stage 2 trains the language model, too, on dialogues.
# > - Only the assistant's words are scored, with the token that ends its turn.
# > - Dialogues can be written from symbols alone; what the symbols don't say is left out, or made up by the writer.
# > - Both stages raise the mean of right answers. A single kind of question can still get worse: look at each.
# > - A chat model is tested with exchanged pictures (a shuffled control), for each kind of question.
# > - SigLIP's loss judges each pair alone; tiles buy pixels with vectors; codebooks make pictures writable.
#
# ## Glossary
#
# **Projector**, **feature alignment**, **instruction tuning**, **chat template**, **tile and overview**, **sigmoid loss**, **codebook**: each in one line in [docs/GLOSSARY.md](../docs/GLOSSARY.md).
#
# ## Next
#
# **Lesson 15** loads real weights into the course's classes, and shows them photographs.
