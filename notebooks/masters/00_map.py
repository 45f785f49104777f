# %% [markdown]
# # 00 · The map
#
# **After this lesson you can:**
#
# - say what a vision-language model is, and name six flavours of it;
# - recognise images with a trained CLIP, from short texts with the names of classes;
# - judge a score beside blank and shuffled images;
# - read the table of systems: what is frozen, what is trained, how image and text meet;
# - count trained and frozen parameters.
#
# | | |
# |---|---|
# | Prerequisites | Python; a first look at PyTorch tensors |
# | Time | about 60 minutes to work through; Run All takes about 15 seconds on two free cores |
# | Papers | Radford et al. 2021, *CLIP*, [arXiv 2103.00020](https://arxiv.org/abs/2103.00020); Yin et al. 2023, *A Survey on Multimodal Large Language Models*, [arXiv 2306.13549](https://arxiv.org/abs/2306.13549); every system of the table below |
#
# This is the first lesson. The course follows a lecture on early vision-language models, Georgia Tech's CS 8803-VLM by Zsolt Kira. "The lecture" always means this one. Each exercise below is a function of a few lines. Its check tells you what is wrong; two hints and the solution are folded below it.
#
# Letters for axes: **N** images, **M** texts, **C** classes, **E** width of a vector, **S** side of an image in pixels.

# %% tags=["hide-input"]
import math
from collections import Counter

import torch
from IPython.display import Markdown
from torch import Tensor, nn

from teaching import course_map_figures as figures
from teaching import course_map_tables as tables
from teaching.course_map_answers import systems
from teaching.exercises import check, quiz
from vlmcourse import evaluation, plots, recipes, world
from vlmcourse.evaluation.published import published
from vlmcourse.training.scale import Scale

scale = Scale.of()
_ = torch.manual_seed(0)

# %% [markdown]
# ## The whole first
#
# A **vision-language model** (VLM) works on images and text together. Here is one: CLIP, small enough to be trained on a laptop. It comes trained with this course, and lesson 02 builds it. It was trained on images of a small synthetic world with their captions. It never got a class label. Apart from one test after Exercise 3, which uses eleven new things, its captions contain the name of every thing in the tests. Every test image holds a pair, thing and background or two things, which training never showed together; each thing looks as it did there.
#
# You type texts, CLIP says which one fits an image best. **Change the texts** and run the cell again. An unknown word raises an error, which suggests known ones. A few known words are new to CLIP; what happens to them comes after Exercise 3.

# %%
model = recipes.get("clip").train_or_load(scale).model
texts = ["an umbrella on brown", "a hammer on brown", "a hammer on green"]
texts += ["a tree on purple", "a cat"]
pairs, pixel_values, _ = recipes.clip.single_things(scale.image_size, 3)
chosen = figures.best_texts(model, pixel_values, texts)
caption = (
    f"Figure 1. Three test images, each with the one of the {len(texts)} texts that CLIP finds "
    "most similar. What to see: with the texts given here, each chosen text names the thing and "
    "the background of its image."
)
plots.show(
    plots.pictures(pairs.images(range(3)), chosen), caption=caption, credit=world.ATTRIBUTION
)

# %% [markdown]
# With a free choice of texts, CLIP becomes a classifier for any list of classes whose names it has learned. How does it work? Each image and each text becomes a vector, and CLIP compares the directions of the two.

# %%
sizes = model.config
caption = (
    "Figure 2. CLIP with four images and five texts, with the sizes of the tensors. An image "
    f"has 3 colour channels and {sizes.image_size} x {sizes.image_size} pixels, and is cut into "
    f"square patches. A text is a row of {sizes.context} numbers, one for each token (a word or "
    "a piece of one), filled up with padding. A block is one layer of attention and one small "
    "network; lesson 01 builds it. Each encoder ends with a projection, a linear layer to "
    "vectors of the same width. What to see: image and text meet only at the end, in one table "
    "of numbers."
)
plots.show(figures.clip_diagram(model), caption=caption)

# %% [markdown]
# ## 1. Compare images with texts
#
# The **cosine** of two vectors is their dot product, divided by both lengths: $\cos(a, b) = \frac{a \cdot b}{|a| \, |b|}$. It is 1 for equal directions, 0 for perpendicular ones, and -1 for opposite ones.

# %% [markdown]
# ### Exercise 1 · Cosines of all pairs
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | compare every vector of one list with every vector of another | ●○○○○ | ●●●●● | 4 |
#
# Return a table with a row for each vector of `a` and a column for each vector of `b`. Don't change `a` and `b` themselves. Stay with tensors: `float()` or `tolist()` cuts the gradient, and your function helps to train a bridge in section 3.


# %%
def cosine_similarity(a: Tensor, b: Tensor) -> Tensor:
    """a (N, E), b (M, E) -> cosines of all pairs (N, M)."""
    raise NotImplementedError("your code here")


cosine_similarity = check("course_map.cosine", cosine_similarity)

# %% [markdown]
# <details><summary>Hint 1</summary>First give every vector the length 1. Then a matrix product computes all dot products.</details>
# <details><summary>Hint 2</summary><code>a.norm(dim=-1, keepdim=True)</code> has the shape (N, 1). <code>b.T</code> has the vectors of b as columns.</details>
# <details><summary>If you see "mat1 and mat2 shapes cannot be multiplied"</summary>The inner sizes must agree: (N, E) times (E, M).</details>
# <details><summary>If you see "The size of tensor a (8) must match the size of tensor b"</summary>Lengths of the shape (N,) don't fit beside (N, E): keep the axis with <code>keepdim=True</code>. <code>F.cosine_similarity(a, b)</code> compares vector n with vector n only, so it fails, too; here every vector is compared with every other.</details>
# <details><summary>Solution</summary>
#
# ```python
# def cosine_similarity(a, b):
#     a = a / a.norm(dim=-1, keepdim=True)
#     b = b / b.norm(dim=-1, keepdim=True)
#     return a @ b.T
# ```
# </details>

# %%
images, pixel_values, captions = figures.matching_pairs(scale.image_size, 6)
similarity = cosine_similarity(
    figures.image_vectors(model, pixel_values), figures.text_vectors(model, captions)
)
without_diagonal = similarity - 2 * torch.eye(len(captions))
row, column = divmod(int(without_diagonal.argmax()), len(captions))
caption = (
    "Figure 3. Your cosines for six test images and their captions, as your function returns "
    "them: images are rows, texts are columns; pairs that belong together in bold. What to see: "
    "the diagonal is highest in each row and in each column. The highest cosine beside it, "
    f"{similarity[row, column]:.2f}, is that of '{captions[row]}' with '{captions[column]}'."
)
table = plots.image_text_table(images, captions, similarity)
plots.show(table, caption=caption, credit=world.ATTRIBUTION)

# %% [markdown]
# A **softmax** turns any numbers, the **logits**, into probabilities. Cosines lie between -1 and 1, so a softmax of the cosines themselves is nearly flat. CLIP divides each cosine by a small number, the **temperature** $\tau$; the quotients are the logits. Then it applies the softmax over the classes: $p_c = \exp(s_c / \tau) / \sum_j \exp(s_j / \tau)$, where $s_c$ is the cosine with class $c$. CLIP learns its temperature in training.

# %% [markdown]
# ### Exercise 2 · Probabilities of classes
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | turn cosines into probabilities | ●○○○○ | ●●●●● | 3 |
#
# Each row of the result belongs to one image and sums to 1. The function must also work at a temperature of 0.01, the smallest that CLIP allows. As in Exercise 1, leave `cosines` as they are, and stay with tensors.


# %%
def class_probabilities(cosines: Tensor, temperature: float) -> Tensor:
    """cosines (N, C) of images and classes -> probabilities (N, C)."""
    raise NotImplementedError("your code here")


class_probabilities = check("course_map.probabilities", class_probabilities)

# %% [markdown]
# <details><summary>Hint 1</summary>PyTorch tensors have a method for the softmax. Which axis are the classes?</details>
# <details><summary>Hint 2</summary>Divide first, then <code>softmax(dim=-1)</code>.</details>
# <details><summary>If you see 'softmax() missing 1 required positional arguments: "dim"'</summary>It needs the axis: <code>x.softmax(dim=-1)</code>. <code>F.softmax(x)</code> without it only warns, and guesses an axis.</details>
# <details><summary>If you see "The size of tensor a (5) must match the size of tensor b"</summary>Maxima and sums of the shape (N,) don't fit beside (N, C): keep the axis, as in <code>x.sum(dim=-1, keepdim=True)</code>.</details>
# <details><summary>If you see that exp overflows</summary>At temperature 0.01 a cosine of 1 gives exp(100), about 2.7 · 10⁴³. The largest 32-bit float is about 3.4 · 10³⁸, so the result is infinite, and infinite / infinite is no number. A softmax does not change if you subtract the same number from all logits of a row. <code>softmax</code> does that by itself.</details>
# <details><summary>Solution</summary>
#
# ```python
# def class_probabilities(cosines, temperature):
#     logits = cosines / temperature
#     logits = logits - logits.amax(dim=-1, keepdim=True)  # so that exp can't overflow
#     exponentials = logits.exp()
#     return exponentials / exponentials.sum(dim=-1, keepdim=True)  # or: logits.softmax(dim=-1)
# ```
# </details>

# %%
quiz("course_map.temperature")

# %% [markdown]
# Classification without any labelled example is called **zero-shot**. The classes are given by short texts with their names.

# %% [markdown]
# ### Exercise 3 · A zero-shot classifier
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | classify images from class vectors | ●●○○○ | ●●●●● | 5 |
#
# Return for each image the name of the class with the highest cosine. The vectors are not normalised.


# %%
def zero_shot(image_vectors: Tensor, class_vectors: Tensor, names: list[str]) -> list[str]:
    """image_vectors (N, E), class_vectors (C, E), names of the C classes -> N names."""
    raise NotImplementedError("your code here")


zero_shot = check("course_map.zero_shot", zero_shot)

# %% [markdown]
# <details><summary>Hint 1</summary>You have a function for the table of cosines. Which column is the largest in each row?</details>
# <details><summary>Hint 2</summary><code>argmax(dim=-1).tolist()</code> gives the numbers of the classes.</details>
# <details><summary>If you see "list index out of range"</summary>Does <code>argmax</code> run over the classes? Its numbers must be below C: use <code>dim=-1</code>.</details>
# <details><summary>If you see "only integer tensors of a single element can be converted to an index"</summary>A tensor of several numbers is no index of a list. Turn it into a list of numbers first: <code>.tolist()</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def zero_shot(image_vectors, class_vectors, names):
#     cosines = cosine_similarity(image_vectors, class_vectors)
#     best = cosines.argmax(dim=-1)
#     return [names[index] for index in best.tolist()]
# ```
# </details>

# %% [markdown]
# Each name stands in a short text, the **prompt**: "a picture of a cat". CLIP's captions contain "a cat", never the bare noun, and the wording of a prompt matters. The cell tries both; lesson 03 returns to this.

# %%
count = 64 if scale.name == "smoke" else 256
pairs, pixel_values, labels = recipes.clip.single_things(scale.image_size, count)
class_vectors = figures.text_vectors(model, figures.class_prompts())
words = world.known_nouns()
wanted = [words[label] for label in labels.tolist()]


def zero_shot_accuracy(pixel_values: Tensor, class_vectors: Tensor = class_vectors) -> float:
    """Share of the test images, in the order of `wanted`, that your classifier names correctly."""
    vectors = figures.image_vectors(model, pixel_values)
    named = zero_shot(vectors, class_vectors, words)
    return sum(name == right for name, right in zip(named, wanted)) / len(wanted)


accuracy = zero_shot_accuracy(pixel_values)
bare = zero_shot_accuracy(pixel_values, figures.text_vectors(model, words))
print(f"{accuracy:.0%} of {count} images are right, among {len(words)} classes;", end=" ")
print(f"with the bare nouns as texts, {bare:.0%}")

# %%
quiz("course_map.closed_list")

# %% [markdown]
# Is the name of a class always enough? The world has more nouns than the training captions. The tokenizer, which turns words into numbers, knows the others too. Predict first.

# %%
new_nouns = sorted(world.novel_nouns())
new_pixels, shown = figures.scenes_of_new_nouns(scale.image_size, 110)
names = [*words, *new_nouns]
quiz("course_map.new_nouns", images=len(shown), nouns=len(new_nouns), classes=len(names))

# %%
new_vectors = figures.image_vectors(model, new_pixels)


def answers_among(names: list[str]) -> list[str]:
    """Your classifier's names for the images of new nouns."""
    return zero_shot(new_vectors, figures.text_vectors(model, figures.class_prompts(names)), names)


def right_among(names: list[str]) -> int:
    return sum(name == noun for name, noun in zip(answers_among(names), shown))


known = [name in words for name in answers_among(names)]
pair, often = Counter(zip(shown, answers_among(names))).most_common(1)[0]
print(f"all {len(names)} names: {right_among(names)} of {len(shown)} right;", end=" ")
print(f"by guessing about {len(shown) / len(names):.0f}")
print(
    f"  {sum(known)} of the answers are known nouns; most often {pair[0]} -> {pair[1]}, {often} x"
)
print(
    f"only the {len(new_nouns)} new names: {right_among(new_nouns)} of {len(shown)} right;", end=" "
)
print(f"by guessing about {len(shown) / len(new_nouns):.0f}")

# %%
near = figures.nearest_share_noun(new_vectors, shown)
by_pixels = figures.nearest_share_noun(new_pixels.flatten(1), shown)
by_guessing = figures.guesses_share_noun(shown)
print(
    f"images whose most similar other image shows the same thing: {near} of {len(shown)};", end=" "
)
print(f"by the raw pixels {by_pixels}, by guessing about {by_guessing:.0f}")

# %% [markdown]
# Which side fails, the image or the name? The image vectors of new things are good: the most similar other image nearly always shows the same thing, far more often than by the raw pixels. But even among the new names alone, the answers are no better than guessing. So the names fail: nothing in the training shaped the vector of a word that it never showed. Among all names, the answers are known nouns. A name helps only if captions have shown what it means. A real CLIP was trained on far more words, and it cuts rare words into known pieces, but the limit is the same.

# %% [markdown]
# ### Retrieval
#
# The same table serves for search. **Retrieval** asks: which text belongs to this image, among many? It is judged by the **rank** of the right text: 1 if it has the highest cosine, 2 if one text is more similar, and so on. The share of images with rank 1 is called **recall at 1**, R@1.

# %% [markdown]
# ### Exercise 4 · Rank of the right text
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | evaluate a search by ranks | ●●○○○ | ●●●●○ | 6 |
#
# Text number n is the right text of image number n. No two entries of a row are equal.


# %%
def ranks_of_matches(similarity: Tensor) -> Tensor:
    """similarity (N, N), rows are images, columns are texts -> ranks (N,), integers from 1."""
    raise NotImplementedError("your code here")


ranks_of_matches = check("course_map.ranks", ranks_of_matches)

# %% [markdown]
# <details><summary>Hint 1</summary>The rank is 1 plus the number of texts that are more similar than the right one.</details>
# <details><summary>Hint 2</summary><code>similarity.diagonal()[:, None]</code> is a column that you can compare with all entries.</details>
# <details><summary>If you see "ranks are whole numbers" or a wrong dtype</summary>The sum of booleans is an integer. Don't convert it.</details>
# <details><summary>Solution</summary>
#
# ```python
# def ranks_of_matches(similarity):
#     right = similarity.diagonal()[:, None]  # (N, 1)
#     better = similarity > right
#     return 1 + better.sum(dim=1)
# ```
# </details>

# %% [markdown]
# ### Exercise 5 · Recall at k
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | turn ranks into the usual score of retrieval | ●○○○○ | ●●●●○ | 3 |
#
# R@k is the share of images whose right text is among the first k. Return it for each k, as a number from 0 to 1.


# %%
def recall_at(ranks: Tensor, ks: list[int]) -> dict[int, float]:
    """ranks (N,) from 1, ks such as [1, 5, 10] -> {1: R@1, 5: R@5, 10: R@10}."""
    raise NotImplementedError("your code here")


recall_at = check("course_map.recall", recall_at)

# %% [markdown]
# <details><summary>Hint 1</summary>For a given k: which ranks count as a success?</details>
# <details><summary>Hint 2</summary>The mean of booleans needs floats: <code>(ranks &lt;= k).float().mean().item()</code>.</details>
# <details><summary>If you see "mean(): could not infer output dtype"</summary>Booleans have no mean. Turn them into floats first.</details>
# <details><summary>Solution</summary>
#
# ```python
# def recall_at(ranks, ks):
#     recalls = {}
#     for k in ks:
#         success = ranks <= k
#         recalls[k] = success.float().mean().item()
#     return recalls
# ```
# </details>

# %%
_, scene_pixels, texts = figures.matching_pairs(scale.image_size, count // 2)
caption_vectors = figures.text_vectors(model, texts)


def retrieval_ranks(pixel_values: Tensor) -> Tensor:
    """Rank of each image's own caption among all `texts`."""
    vectors = figures.image_vectors(model, pixel_values)
    return ranks_of_matches(cosine_similarity(vectors, caption_vectors))


ranks = retrieval_ranks(scene_pixels)
print({f"R@{k}": round(recall, 2) for k, recall in recall_at(ranks, [1, 5, 10]).items()})
print(f"{len(texts)} texts to choose from; the worst rank is {ranks.max()}")

# %% [markdown]
# ### Controls
#
# Are such scores good? That depends on what is possible *without* the image. This course shows its main scores beside controls:
#
# - **chance**: what guessing gives;
# - **blank**: all images are replaced by the same blank one;
# - **shuffled**: each image is replaced by another one of the test.

# %%
quiz("course_map.blank")

# %% [markdown]
# ### Exercise 6 · A score beside its controls
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | measure what a score is without the right image | ●●○○○ | ●●●●● | 6 |
#
# `accuracy` is a function that maps a batch of images to a score. Call it with the images, with a batch of blank ones (as many, all zeros), and with shuffled ones. Pixels run from -1 (black) to 1 (white), so zeros are a mid grey. For the shuffle, move image 0 to place 1, image 1 to place 2, and so on; the last one comes to place 0. Leave `pixel_values` as it is.


# %%
def compare_with_controls(accuracy, pixel_values: Tensor) -> dict[str, float]:
    """pixel_values (N, 3, S, S) -> {"model": ..., "blank": ..., "shuffled": ...}."""
    raise NotImplementedError("your code here")


compare_with_controls = check("course_map.controls", compare_with_controls)

# %% [markdown]
# <details><summary>Hint 1</summary>Make the two other batches first. PyTorch has functions for zeros of the same shape, and for a cyclic shift.</details>
# <details><summary>Hint 2</summary><code>torch.zeros_like(x)</code>; <code>x.roll(1, dims=0)</code>. Without <code>dims</code>, roll shifts all pixels.</details>
# <details><summary>If you see "found keys ...; expected a dict with keys"</summary>The names must be "model", "blank" and "shuffled".</details>
# <details><summary>Solution</summary>
#
# ```python
# def compare_with_controls(accuracy, pixel_values):
#     blank = torch.zeros_like(pixel_values)
#     shuffled = pixel_values.roll(1, dims=0)
#     return {
#         "model": accuracy(pixel_values),
#         "blank": accuracy(blank),
#         "shuffled": accuracy(shuffled),
#     }
# ```
# </details>

# %%
naming = compare_with_controls(zero_shot_accuracy, pixel_values)
retrieval = compare_with_controls(
    lambda pixels: recall_at(retrieval_ranks(pixels), [1])[1], scene_pixels
)
caption = (
    "Figure 4. Two scores of one trained model, each beside its controls: right zero-shot names, "
    "and texts with rank 1 (R@1). Bars: shares, with counts of images; dashed: the chance of each "
    "score, so small that its line lies at the axis. What to see: with blank or shuffled images "
    "both fall to about chance, so the scores depend on the right image."
)
scores = {
    "zero-shot names": (naming, len(pixel_values), len(words)),
    "R@1": (retrieval, len(texts), len(texts)),
}
plots.show(figures.scores_with_controls(scores), caption=caption)

# %% [markdown]
# ## 2. Flavours of vision-language models
#
# CLIP compares; it writes no text and draws no image. The lecture sorts models by what goes in and what comes out. We follow it, with two changes: models that turn images and text into text are split by their training data (3 and 5), and task-specific models, a special case of 3 in the lecture, get a row of their own (4).
#
# 1. **Aligned encoders**: image and text become vectors in one space (CLIP).
# 2. **Image generation**: a text goes in, an image comes out. The lecture names four kinds:
#     - A **VAE** learns to turn an image into a short code, and the code back into the image. A second model then learns to write such codes for a text. DALL·E is built this way: its VAE is trained first, its transformer after it.
#     - A **GAN** trains a generator against a discriminator, which must tell real images from generated ones.
#     - **Diffusion** learns to remove noise, step by step.
#     - **Flow** (here flow matching): at every mixture of noise and image, it learns in which direction to move towards the image. Older flow models, normalising flows, are built from layers that can be run backwards.
# 3. **Image-conditioned text**: trained on pairs of an image and its text; it writes captions and answers (Frozen).
# 4. **Task-specific models**: usually on an object detector, which delivers regions of the image. Older ones are trained for one task, such as captioning or visual question answering (VQA). Later ones are pre-trained on pairs, then fine-tuned for each task with a head of its own (ViLBERT). ViLBERT's paper calls its pre-training task-agnostic; only the fine-tuning is specific.
# 5. **Any input to text**: trained on pages in which images and texts alternate, or on dialogues about an image. The prompt says what the task is, by examples (Flamingo) or by an instruction; text comes out.
# 6. **Any to any**: images and texts go in, and images and texts come out. The lecturer hopes for such models.

# One table compares the systems of this lesson. **Frozen** parts keep their weights, **trained** parts change. (Frozen is also the name of a system.) Parts that were trained beforehand and then kept, such as the VAE of DALL·E, count as frozen. *How modalities meet* says where image and text exchange information. The **objective** is what the training loss asks for.
#
# You need not know every word of the table yet. The last column names the lesson that explains a row; rows with – have no lesson here.

# %%
tables.systems_table()

# %% [markdown]
# ### Exercise 7 · Sort the systems
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | recognise a flavour from the columns of the table | ●●○○○ | ●●●●○ | 6 |
#
# Complete the function. The flavours are called "aligned encoders", "image generation", "image-conditioned text", "task-specific", "any input to text" and "any to any". The list above names one system for most of them. The columns *frozen*, *trained*, *how modalities meet*, *data* and *objective* are enough for the others.


# %%
def flavour_of(name: str) -> str:
    """The flavour of a system of the table, by its name: "CLIP" -> "aligned encoders"."""
    raise NotImplementedError("your code here")


flavour_of = check("course_map.flavour", flavour_of)

# %% [markdown]
# <details><summary>Hint 1</summary>Write a dictionary from flavours to names, or from names to flavours.</details>
# <details><summary>Hint 2</summary>Ask three questions. What comes out: vectors, images or text? Does a detector deliver regions (see <i>frozen</i> and <i>trained</i>)? Are the data pairs of an image and its text, or also pages with images, or dialogues about an image?</details>
# <details><summary>If you see "KeyError"</summary>A name is missing or written in another way. Copy the names from the table, without the year.</details>
# <details><summary>Solution</summary>
#
# ```python
# def flavour_of(name):
#     return {
#         "Bottom-up and top-down": "task-specific",
#         "AttnGAN": "image generation",
#         "ViLBERT": "task-specific",
#         "VL-BERT": "task-specific",
#         "CLIP": "aligned encoders",
#         "DALL·E": "image generation",
#         "Frozen": "image-conditioned text",
#         "Stable Diffusion": "image generation",
#         "BLIP": "image-conditioned text",
#         "Flamingo": "any input to text",
#         "BLIP-2": "image-conditioned text",
#         "LLaVA": "any input to text",
#         "Stable Diffusion 3": "image generation",
#         "Chameleon": "any to any",
#     }[name]
# ```
# </details>
#
# The borders are not sharp. Frozen is trained on one image and its text, but it also reads several images at test time. BLIP-2 also follows short instructions. LLaVA's first version was trained on dialogues, but about one image each. The course sorts by the training data.

# %%
caption = (
    "Figure 5. The systems of this lesson by year and flavour; in brackets the kind of image "
    "generation. What to see: in this list the task-specific models end in 2019, and any to any "
    "appears in 2024 only."
)
plots.show(figures.timeline(), caption=caption)

# %%
quiz("course_map.generation")

# %% [markdown]
# ### Exercise 8 · Which system can do it?
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | find a system by what goes in and what comes out | ●●○○○ | ●●●○○ | 5 |
#
# Return the names of the systems that accept at least the kinds in `inputs` and can produce at least the kinds in `outputs`. Keep the order. Inputs and outputs are those of each paper's main model; editing with Stable Diffusion is left out.


# %%
def systems_for(systems: list[dict], inputs: set[str], outputs: set[str]) -> list[str]:
    """A system is {"name": "CLIP", "inputs": ["image", "text"], "outputs": [...], ...}."""
    raise NotImplementedError("your code here")


systems_for = check("course_map.query", systems_for)

# %% [markdown]
# <details><summary>Hint 1</summary>Everything that is asked for must be among what the system has. That is a subset.</details>
# <details><summary>Hint 2</summary>For sets, <code>a &lt;= b</code> asks whether a is a subset of b. The entries of the dictionary are lists: <code>set(system["inputs"])</code>.</details>
# <details><summary>If you see "'&lt;=' not supported between instances of 'set' and 'list'"</summary>Turn the list into a set.</details>
# <details><summary>Solution</summary>
#
# ```python
# def systems_for(systems, inputs, outputs):
#     names = []
#     for system in systems:
#         accepts = inputs <= set(system["inputs"])
#         produces = outputs <= set(system["outputs"])
#         if accepts and produces:
#             names.append(system["name"])
#     return names
# ```
# </details>

# %% tags=["nbval-check-output"]
for inputs, outputs in (({"text"}, {"image"}), ({"video"}, {"text"}), ({"image"}, {"image"})):
    print(*inputs, "to", *outputs, ":", ", ".join(systems_for(systems(), inputs, outputs)))

# %% [markdown]
# Five systems turn text into images, but only Flamingo reads video here, and only Chameleon takes an image and also returns one.
#
# ## 3. Frozen and trained
#
# Most of the table's systems build on parts that were trained before. Image encoders and language models are expensive, so some systems keep them frozen and train only a **bridge**: a small part between frozen ones. Lessons 07, 10 and 11 build bridges between an image encoder and a language model (in 07, the encoder is trained together with the bridge).

# %%
caption = (
    "Figure 6. A frozen language model that reads an image. What to see: the gradient of "
    "the loss (dashed) passes through the frozen language model and changes the bridge "
    "only. The system called Frozen differs in one point: it also trains the image encoder."
)
plots.show(figures.bridge_diagram(model, scale), caption=caption)

# %%
quiz("course_map.modularity")

# %% [markdown]
# ### Exercise 9 · Count parameters
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | find out what a training will change | ●●○○○ | ●●●●○ | 5 |
#
# PyTorch calls a tensor of weights a **parameter**; count the numbers in it, as papers do. A parameter is frozen if its `requires_grad` is False, and else trained. Layers can share a tensor; count it once.


# %%
def count_parameters(model: nn.Module) -> dict[str, int]:
    """{"trained": numbers in parameters that require a gradient, "frozen": in the others}."""
    raise NotImplementedError("your code here")


count_parameters = check("course_map.count", count_parameters)

# %% [markdown]
# <details><summary>Hint 1</summary><code>model.parameters()</code> lists each tensor once, even if several layers share it.</details>
# <details><summary>Hint 2</summary><code>p.requires_grad</code> says whether p is trained; <code>p.numel()</code> is how many numbers it holds.</details>
# <details><summary>If you see "found a tensor" instead of a number</summary><code>numel()</code> is an int; <code>p.sum()</code> adds up the weights themselves.</details>
# <details><summary>Solution</summary>
#
# ```python
# def count_parameters(model):
#     counts = {"trained": 0, "frozen": 0}
#     for parameter in model.parameters():
#         kind = "trained" if parameter.requires_grad else "frozen"
#         counts[kind] += parameter.numel()
#     return counts
# ```
# </details>

# %% [markdown]
# ### A first bridge, to class vectors
#
# This bridge leads to the text vectors of classes, not yet to a language model. It is a new linear layer. It takes the place of CLIP's own image projection, the last layer of the image encoder:
#
# - before it stands the rest of CLIP's image encoder, frozen;
# - behind it stand the text vectors of the classes, fixed numbers that are no parameters.
#
# Both frozen parts come from one CLIP, which was trained to match them, so this is an easy case; lessons 07, 10 and 11 connect parts that never met.
#
# It is trained on labelled images, in batches of 32, three times with different initial weights (*seeds*). All three see the same batches in the same order. The loss is made of *your* cosines and *your* probabilities: $-\log p$ of the right class.

# %%
count = 128 if scale.name == "smoke" else 512
features, classes = figures.labelled_features(model, scale.image_size, count, "train")
bridges = [figures.Projection(model, cosine_similarity, class_probabilities, s) for s in range(3)]
counted = count_parameters(bridges[0])
linear = bridges[0].projection
print(counted)
print(
    f"{counted['trained']:,} = {linear.in_features} x {linear.out_features} weights + "
    f"{linear.out_features} biases of the bridge: "
    f"{counted['trained'] / sum(counted.values()):.1%} of bridge and image encoder together"
)

# %%
images_of = classes.bincount(minlength=len(words))
each = f"{images_of.min()} to {images_of.max()} a class, about {count / len(words):.0f} on average"
quiz("course_map.first_bridge", images=count, classes=len(words), each=each)

# %%
test_features, test_labels = figures.labelled_features(model, scale.image_size, 256, "test")
before = [figures.bridge_accuracy(bridge, test_features, test_labels) for bridge in bridges]
steps = 20 if scale.name == "smoke" else 100
runs = {
    f"seed {seed}": figures.train_projection(bridge, features, classes, steps)
    for seed, bridge in enumerate(bridges)
}
firsts = [f"{steps[0].loss:.2f}" for steps in runs.values()]
equal = math.log(len(words))
caption = (
    "Figure 7. Training loss (nats, the unit of the natural logarithm; logarithmic axis) of the "
    "three bridges. Pale: each step; dark: running mean. Dashed: the loss of equal probabilities. "
    "The curves have the same bumps, because all three see the same batches of 32 images. "
    f"What to see: the first step of each (pale: {', '.join(firsts)}) lies above the dashed line "
    f"(ln {len(words)} = {equal:.2f}), and all three end far below it. They start above it because "
    "the vectors of a random layer have random directions, and at CLIP's temperature of "
    f"{figures.temperature(model):.2f} the probabilities are confidently wrong."
)
drawn = plots.loss(runs, equal, f"equal probabilities, ln {len(words)}", logarithmic=True)
plots.show(drawn, caption=caption)

# %% [markdown]
# Does the bridge need CLIP's encoder? A control: bridges trained in the same way behind image encoders with random weights. They learn more slowly, so one of them also gets ten times as many steps.

# %%
at_random, last_losses, longer = [], [], 10 * steps
for seed in range(3):
    encoder = figures.random_clip(model, seed)
    own, _ = figures.labelled_features(encoder, scale.image_size, count, "train")
    own_test, _ = figures.labelled_features(encoder, scale.image_size, 256, "test")
    bridge = figures.Projection(model, cosine_similarity, class_probabilities, seed)
    own_steps = figures.train_projection(bridge, own, classes, steps)
    last_losses.append(sum(step.loss for step in own_steps[-10:]) / 10)
    at_random.append(figures.bridge_accuracy(bridge, own_test, test_labels))

slow = figures.Projection(model, cosine_similarity, class_probabilities, seed)
figures.train_projection(slow, own, classes, longer)
slow_train = figures.bridge_accuracy(slow, own, classes)
slow_test = figures.bridge_accuracy(slow, own_test, test_labels)

# %%
after = [figures.bridge_accuracy(bridge, test_features, test_labels) for bridge in bridges]
trained, untrained, control = map(evaluation.spread, (after, before, at_random))
by_name = {
    "CLIP, zero-shot": accuracy,
    "bridge, trained": trained,
    "bridge, untrained": untrained,
    "trained bridge, random encoder": control,
    f"the same, {longer} steps": slow_test,
}
caption = (
    f"Figure 8. Accuracy on {len(test_labels)} test images; the bridges were trained on {count} "
    "labelled ones. Bars: means; dots: the three seeds, which nearly coincide; ±: standard "
    "deviation over the seeds, that is over the initial weights only, not over the choice of "
    f"labelled images. Chance is 1/{len(words)}. What to see: training lifts the bridge "
    "far above chance, although it is the only part that changed. The control, a bridge trained "
    f"in the same way behind an image encoder of random weights, reaches {control.mean:.3f} after "
    f"these {steps} steps (its loss, {min(last_losses):.1f} to {max(last_losses):.1f}, is still "
    f"near the {equal:.1f} of equal probabilities). After {longer} steps (one seed) it reaches "
    f"{slow_test:.3f}, and {slow_train:.3f} on its own training images; still far below "
    f"{trained.mean:.3f}. CLIP's own projection, one run, reaches {accuracy:.3f}: it was trained "
    "without labels, but on many more images, whose captions contain the names."
)
drawn = figures.shares_of_right_names(by_name, len(words))
plots.show(drawn, caption=caption)

# %% [markdown]
# ## 4. What multimodal large language models can do
#
# A large language model with an image input is called a **multimodal large language model** (MLLM). The field has developed fast since 2022. The lecture names four abilities; the examples are ours:
#
# | ability | what it means | an example |
# |---|---|---|
# | stories from images | a text goes beyond a caption: characters, plot, style | MiniGPT-4, [arXiv 2304.10592](https://arxiv.org/abs/2304.10592) |
# | mathematics without OCR | the model reads a formula or a diagram from the pixels and solves the task; no program for character recognition (OCR) is in between | named in the abstract of Yin et al. 2023, [arXiv 2306.13549](https://arxiv.org/abs/2306.13549) |
# | decisions | the image is a situation, the text is the next action | GPT-4V on PCA-EVAL, [arXiv 2310.02071](https://arxiv.org/abs/2310.02071) |
# | embodied tasks | the model plans or controls a robot from camera images | PaLM-E, [arXiv 2303.03378](https://arxiv.org/abs/2303.03378) |
#
# MiniGPT-4's authors attribute such abilities to the large language model, once it can use images. How much such a model really uses the image is a question of lesson 13.
#
# ## The paper beside ours
#
# BLIP-2's Table 1 makes a claim about frozen and trained parts: BLIP-2 trains far fewer parameters than Flamingo, and answers questions better. Ours are the small bridges of lessons 10 and 11. The verdict on answers is computed by one rule for the whole course:
#
# - *agrees*: the model that the claim names first (here BLIP-2) is better in every seed, and the gap of the means is above two pooled standard deviations (pooled: the root of the mean of the two variances);
# - *disagrees*: the same holds the other way round;
# - *within noise*: neither holds;
# - *by design*: the number is our own choice, so it tests nothing.

# %%
paper = published("blip2-table-1")
tables.beside_ours(paper, evaluation.load_results("replicate_bridges"))

# %% [markdown]
# The first table asks questions of the form "what is the thing?", about an image; the last one has all eight kinds of questions. On "what" questions BLIP-2 is better in the mean, but our Flamingo's seeds differ by too much for a verdict. Of all eight kinds, four agree with the claim. On three of these our Flamingo answers about as well as the most frequent answer would, or worse. On "presence", "how many" and "left or right" both are near the most frequent answer. The second table has the controls: with blank images the bridges answer "what" questions no better than the most frequent answer would.
#
# Here is the paper's whole table; lesson 10 explains its columns.

# %%
Markdown(paper.markdown())

# %% [markdown]
# ## Discussion
#
# **Strengths of frozen parts.** Training is cheap, and what a language model knows is kept. **Weaknesses.** The bridge must produce what the frozen model can use, and faults of the frozen parts stay.
#
# **Q1. CLIP, BLIP and Flamingo can all say which of five captions fits an image. What can CLIP not do?**
# <details><summary>One answer</summary>
# CLIP can only compare texts that somebody gives it. It can't write a caption or answer a question with a text of its own. Within a fixed list of texts it is cheap: the text vectors are computed once, and then each text costs one dot product with the image's vector.
# </details>
#
# **Q2. The lecture hopes for any-to-any models. What could be gained by one model for all directions, and what speaks against it?**
# <details><summary>One answer</summary>
# One model could use what it learns in one direction for the others, and mix images and text in its answers. Against it: images as tokens lose detail, the objectives compete, and everything is trained together, so no part can be exchanged.
# </details>
#
# **Q3. Why did object detectors disappear from these models?**
# <details><summary>One answer</summary>
# A detector knows a fixed list of classes, needs labelled boxes, and is slow. What it doesn't detect is lost to the model. Patches or grid features lose less, and web pairs replace the labels.
# </details>
#
# **Q4. Which column of the table would you change to make Frozen answer better, and why?**
# <details><summary>One answer</summary>
# Several changes were made later: an image encoder trained beforehand (Flamingo, BLIP-2, LLaVA), more data (Flamingo, BLIP-2), more than two vectors for an image (BLIP-2, LLaVA, Flamingo), other places to meet (Flamingo), and a trained language model (LLaVA). The papers change several columns at once, so a comparison of papers can't tell which one mattered. Lesson 13 keeps data and language model fixed and changes the bridge.
# </details>
#
# ## Limits
#
# - The table has 14 systems of several hundred, chosen because the lecture or a later lesson needs them.
# - This course trains no image generator. Image generators stand in the table to complete the picture.
# - All images are drawings of a small synthetic world. Lesson 15 uses real photographs.
#
# ## Reading
#
# - Radford et al. 2021, *CLIP*, Section 1 and Figure 1.
# - Yin et al. 2023, the survey of multimodal large language models, Sections 1 and 2.
# - Chameleon, [arXiv 2405.09818](https://arxiv.org/abs/2405.09818), Figure 1: what any-to-any looks like.
#
# ## Key ideas
#
# > - A vision-language model is described by five things: frozen parts, trained parts, the place where image and text meet, data, objective.
# > - Aligned encoders make a classifier from texts alone, if training captions have shown what the names in them mean.
# > - Read every score beside its blank and shuffled controls.
# > - A small trained bridge can connect large frozen parts; only its parameters change. Here the parts had been trained together, an easy case.
#
# ## Glossary
#
# [vision-language model, multimodal large language model](../docs/GLOSSARY.md#models) · [aligned encoders, any-to-any](../docs/GLOSSARY.md#models) · [bridge](../docs/GLOSSARY.md#models) · [frozen](../docs/GLOSSARY.md#training) · [cosine, temperature](../docs/GLOSSARY.md#losses-and-scores) · [zero-shot classification, retrieval, rank, recall at k](../docs/GLOSSARY.md#evaluation) · [blind control (blank images), shuffled control, chance](../docs/GLOSSARY.md#evaluation) · [VAE, GAN, diffusion, flow](../docs/GLOSSARY.md#models)
#
# ## Next
#
# **Lesson 01** builds the layer in which image and text meet in nearly all of these models: attention, and the masks that say who may attend to whom.
