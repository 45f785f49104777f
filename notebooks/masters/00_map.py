# %% [markdown]
# # 00 · The map
#
# **After this lesson you can:**
#
# - say what a vision-language model is, and name six flavours of it;
# - recognise images with a trained CLIP, from class names alone;
# - judge a score beside blank and shuffled images;
# - read the table of systems: what is frozen, what is trained, how image and text meet;
# - count trained and frozen parameters.
#
# | | |
# |---|---|
# | Prerequisites | Python; a first look at PyTorch tensors |
# | Time | about 60 minutes to work through; Run All takes about 25 seconds on 2 cores |
# | Papers | Radford et al. 2021, *CLIP*, [arXiv 2103.00020](https://arxiv.org/abs/2103.00020); Yin et al. 2023, *A Survey on Multimodal Large Language Models*, [arXiv 2306.13549](https://arxiv.org/abs/2306.13549); every system of the table below |
#
# This is the first lesson, so there is nothing to recall. The course follows a lecture on early vision-language models, Georgia Tech's CS 8803-VLM by Zsolt Kira. "The lecture" always means this one. Each exercise below is a function of a few lines. Its check tells you what is wrong; two hints and the solution are folded below it.
#
# Letters for axes: **N** images, **M** texts, **C** classes, **E** width of a vector, **S** side of an image in pixels.

# %% tags=["hide-input"]
import math

import torch
from IPython.display import Markdown
from torch import Tensor, nn

from teaching import course_map_figures as figures
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
# A **vision-language model** (VLM) works on images and text together. Here is one: CLIP, small enough to be trained on a laptop. It comes trained with this course, and lesson 02 builds it. It was trained on images of a small synthetic world with their captions. It never got a class label.
#
# You type texts, CLIP says which one fits an image best. **Change the texts** and run the cell again. This CLIP knows only the words of its world; if you use an unknown word, the error message suggests known ones.

# %%
model = recipes.get("clip").train_or_load(scale).model
texts = ["an umbrella on brown", "a hammer on brown", "a hammer on green"]
texts += ["a tree on purple", "a cat"]
pairs, pixel_values, _ = recipes.clip.single_things(scale.image_size, 3)
chosen = figures.best_texts(model, pixel_values, texts)
caption = (
    "Figure 1. Three test images, each with the one of the five texts that CLIP finds most "
    "similar. What to see: each text names the thing and the background of its image."
)
plots.show(
    plots.pictures(pairs.images(range(3)), chosen), caption=caption, credit=world.ATTRIBUTION
)

# %% [markdown]
# With a free choice of texts, CLIP becomes a classifier for any list of classes whose names it has learned. (After Exercise 3 you measure what happens to names that it has never met in training.) How does it work? Each image and each text becomes a vector, and CLIP compares the directions of the two.

# %%
caption = (
    "Figure 2. CLIP with three images and five texts. What to see: image and text meet only "
    "at the end, in one table of numbers."
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
# Return a table with a row for each vector of `a` and a column for each vector of `b`.


# %%
def cosine_similarity(a: Tensor, b: Tensor) -> Tensor:
    """a (N, E), b (M, E) -> cosines of all pairs (N, M)."""
    raise NotImplementedError("your code here")


cosine_similarity = check("course_map.cosine", cosine_similarity)

# %% [markdown]
# <details><summary>Hint 1</summary>First give every vector the length 1. Then a matrix product computes all dot products.</details>
# <details><summary>Hint 2</summary><code>a.norm(dim=-1, keepdim=True)</code> has the shape (N, 1). <code>b.T</code> has the vectors of b as columns.</details>
# <details><summary>If you see "mat1 and mat2 shapes cannot be multiplied"</summary>The inner sizes must agree: (N, E) times (E, M).</details>
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
caption = (
    "Figure 3. Your cosines for six test images and their captions; pairs that belong "
    "together in bold. The table is drawn transposed: images are columns here, rows in your "
    "result. What to see: the diagonal is highest in each row and in each column."
)
table = plots.similarity(images, captions, similarity)
plots.show(table, caption=caption, credit=world.ATTRIBUTION)

# %% [markdown]
# Cosines lie between -1 and 1, so a softmax of them is nearly flat. To get probabilities, divide them by a small number, the **temperature** $\tau$, and apply a **softmax** over the classes: $p_c = \exp(s_c / \tau) / \sum_j \exp(s_j / \tau)$, where $s_c$ is the cosine with class $c$. CLIP learns its temperature in training.

# %% [markdown]
# ### Exercise 2 · Probabilities of classes
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | turn cosines into probabilities | ●○○○○ | ●●●●● | 3 |
#
# Each row of the result belongs to one image and sums to 1. The function must also work at a temperature of 0.01, the smallest that CLIP allows.


# %%
def class_probabilities(cosines: Tensor, temperature: float) -> Tensor:
    """cosines (N, C) of images and classes -> probabilities (N, C)."""
    raise NotImplementedError("your code here")


class_probabilities = check("course_map.probabilities", class_probabilities)

# %% [markdown]
# <details><summary>Hint 1</summary>PyTorch tensors have a method for the softmax. Which axis are the classes?</details>
# <details><summary>Hint 2</summary>Divide first, then <code>softmax(dim=-1)</code>.</details>
# <details><summary>If you see "softmax() received an invalid combination of arguments"</summary>It needs the axis: <code>x.softmax(dim=-1)</code>.</details>
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
# Classification without any labelled example is called **zero-shot**. The classes are given by their names alone.

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
# <details><summary>If you see "list indices must be integers or slices, not Tensor"</summary>Turn the tensor into a list first: <code>.tolist()</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def zero_shot(image_vectors, class_vectors, names):
#     cosines = cosine_similarity(image_vectors, class_vectors)
#     best = cosines.argmax(dim=-1)
#     return [names[index] for index in best.tolist()]
# ```
# </details>

# %%
count = 64 if scale.name == "smoke" else 256
pairs, pixel_values, labels = recipes.clip.single_things(scale.image_size, count)
class_vectors = figures.text_vectors(model, figures.class_prompts())
words = world.known_nouns()
wanted = [words[label] for label in labels.tolist()]


def zero_shot_accuracy(pixel_values: Tensor) -> float:
    """Share of the test images, in the order of `wanted`, that your classifier names correctly."""
    vectors = figures.image_vectors(model, pixel_values)
    named = zero_shot(vectors, class_vectors, words)
    return sum(name == right for name, right in zip(named, wanted)) / len(wanted)


accuracy = zero_shot_accuracy(pixel_values)
print(f"{accuracy:.0%} of {count} images are right, among {len(words)} classes.")

# %%
quiz("course_map.closed_list")

# %% [markdown]
# Is the name of a class always enough? The world has more nouns than the training captions. The tokenizer, which turns words into numbers, knows the others too, but CLIP has never met them in training. The next cell adds them to the classes and classifies images that show them.

# %%
new_nouns = sorted(world.novel_nouns())
new_pixels, shown = figures.scenes_of_new_nouns(scale.image_size, 110)
names = [*words, *new_nouns]
vectors = figures.text_vectors(model, figures.class_prompts(names))
answers = zero_shot(figures.image_vectors(model, new_pixels), vectors, names)
right = sum(name == noun for name, noun in zip(answers, shown))
print(f"{right} of {len(shown)} images of {len(new_nouns)} new nouns are right.")
print(
    f"There were {len(names)} classes, so guessing would get about {len(shown) / len(names):.0f}."
)

# %% [markdown]
# So a name helps only if its meaning was learned from captions. The vector of a word that training never showed is still close to the random one from the beginning. A real CLIP was trained on far more words, and it cuts rare words into known pieces, but the limit is the same.

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
# Text number n belongs to image number n. No two entries of a row are equal.


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
# `accuracy` is a function that maps a batch of images to a score. Call it with the images, with a batch of blank ones (as many, all zeros), and with shuffled ones. For the shuffle, move image 0 to place 1, image 1 to place 2, and so on; the last one comes to place 0. Leave `pixel_values` as it is.


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
    "Figure 4. Two scores of one trained model, each beside its controls: zero-shot names on "
    f"{len(pixel_values)} images, R@1 on {len(texts)} images. The line is chance for names, "
    f"1/{len(words)}; for R@1 it is 1/{len(texts)}. What to see: with blank or shuffled images "
    "both scores fall to about chance, so they come from the images."
)
bars = {name: {"zero-shot names": naming[name], "R@1": retrieval[name]} for name in naming}
plots.show(
    plots.probability_bars(bars, "share of images that are right", chance=1 / len(words)),
    caption=caption,
)

# %% [markdown]
# ## 2. Flavours of vision-language models
#
# CLIP compares; it writes no text and draws no image. The lecture sorts models by what goes in and what comes out. We follow it:
#
# 1. **Aligned encoders**: image and text become vectors in one space (CLIP).
# 2. **Image generation**: a text goes in, an image comes out. The lecture names four kinds:
#     - A **VAE** learns to turn an image into a short code, and the code back into the image. A second model then learns to write such codes for a text. DALL·E is built this way: its VAE is trained first, its transformer after it.
#     - A **GAN** trains a generator against a discriminator, which must tell real images from generated ones.
#     - **Diffusion** learns to remove noise, step by step.
#     - **Flow** learns, at each point between noise and image, which way to move.
# 3. **Image-conditioned text**: trained on pairs of an image and its text; it writes captions and answers (Frozen, BLIP, BLIP-2).
# 4. **Task-specific models**: built and trained for captioning or visual question answering (VQA), usually on an object detector (ViLBERT, VL-BERT). The lecture lists them as a special case of 3; we give them a row of their own.
# 5. **Any input to text**: trained on pages or dialogues in which images and texts alternate. The prompt says what the task is, by examples (Flamingo) or by an instruction (LLaVA); text comes out.
# 6. **Any to any**: images and texts go in, and images and texts come out. The lecture calls these its hope.

# %%
caption = (
    "Figure 5. The systems of this lesson by year and flavour. What to see: in this list "
    "the task-specific models end in 2019, and any to any appears in 2024 only."
)
plots.show(figures.timeline(), caption=caption)

# %% [markdown]
# One table compares them. **Frozen** parts keep their weights, **trained** parts change. (Frozen is also the name of a system.) Parts that were trained beforehand and then kept, such as the VAE of DALL·E, count as frozen. *How modalities meet* says where image and text exchange information. The **objective** is what the training loss asks for.
#
# You need not know every word of the table yet. The last column names the lesson that explains a row; rows with – are not built in this course.

# %%
figures.systems_table()

# %% [markdown]
# ### Exercise 7 · Sort the systems
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | recognise a flavour from the columns of the table | ●●○○○ | ●●●●○ | 6 |
#
# Complete the function. The flavours are called "aligned encoders", "image generation", "image-conditioned text", "task-specific", "any input to text" and "any to any", without the words in brackets. Cover the second column of the table while you write: the columns *trained*, *how modalities meet*, *data* and *objective* are enough.


# %%
def flavour_of(name: str) -> str:
    """The flavour of a system of the table, by its name: "CLIP" -> "aligned encoders"."""
    raise NotImplementedError("your code here")


flavour_of = check("course_map.flavour", flavour_of)

# %% [markdown]
# <details><summary>Hint 1</summary>Write a dictionary from flavours to names, or from names to flavours.</details>
# <details><summary>Hint 2</summary>Ask three questions. What comes out: vectors, images or text? Does a detector deliver regions? Are the data pairs of an image and its text, or also pages with images, or instructions?</details>
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
# The borders are not sharp. Frozen is trained on one image and its text, but it also reads several images at test time. BLIP-2 also follows short instructions. LLaVA's first version was trained on dialogues about one image each. The table sorts by the training data.

# %%
quiz("course_map.generation")

# %% [markdown]
# ### Exercise 8 · Which system can do it?
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | find a system by what goes in and what comes out | ●●○○○ | ●●●○○ | 5 |
#
# Return the names of the systems that accept at least the kinds in `inputs` and can produce at least the kinds in `outputs`. Keep the order.


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
# ## 3. Frozen and trained
#
# Most of the table's systems build on parts that were trained before. Image encoders and language models are expensive, so some systems keep them frozen and train only a **bridge** between them. Lessons 07 to 12 are about bridges.

# %%
caption = (
    "Figure 6. A frozen language model that reads an image. What to see: the gradient of "
    "the loss (dashed) passes through the frozen language model and changes the bridge "
    "only."
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
# A **parameter** is a tensor of weights; count the numbers in it. A parameter is frozen if it gets no gradient. Layers can share a tensor; count it once.


# %%
def count_parameters(model: nn.Module) -> dict[str, int]:
    """{"trained": numbers in parameters with gradient, "frozen": in those without}."""
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
#
# Here is a first bridge, trained in a few seconds. It leads to the vectors of classes, not yet to a language model. It takes the place of CLIP's own image projection, the last linear layer of the image encoder. The rest of CLIP's image encoder is frozen, and so are the text vectors of the classes. A new linear layer between them is trained on a few hundred labelled images, three times with different initial weights (*seeds*). The loss is made of *your* cosines and *your* probabilities: $-\log p$ of the right class.

# %%
count = 128 if scale.name == "smoke" else 512
features, classes = figures.labelled_features(model, scale.image_size, count, "train")
bridges = [figures.Projection(model, cosine_similarity, class_probabilities, s) for s in range(3)]
print(count_parameters(bridges[0]))
test_features, test_labels = figures.labelled_features(model, scale.image_size, 256, "test")
before = [figures.bridge_accuracy(bridge, test_features, test_labels) for bridge in bridges]
steps = 20 if scale.name == "smoke" else 100
runs = {
    f"seed {seed}": figures.train_projection(bridge, features, classes, steps)
    for seed, bridge in enumerate(bridges)
}
caption = (
    "Figure 7. Training loss (nats, the unit of the natural logarithm) of the three bridges. "
    "Pale: each step; dark: running mean. Dashed: the loss of equal probabilities. What to "
    "see: all three fall close to 0."
)
equal = math.log(len(words))
plots.show(plots.loss(runs, equal, f"equal probabilities, ln {len(words)}"), caption=caption)

# %%
after = [figures.bridge_accuracy(bridge, test_features, test_labels) for bridge in bridges]
by_name = {
    "CLIP, zero-shot": accuracy,
    "bridge, trained": evaluation.spread(after),
    "bridge, untrained": evaluation.spread(before),
}
caption = (
    f"Figure 8. Accuracy on {len(test_labels)} test images; the bridges were trained on {count} "
    "labelled ones. Bars: means; dots: the three seeds; whiskers: one standard deviation; "
    "dashed: chance. What to see: training lifts the bridge far above chance, although it is "
    "the only part that changed. CLIP's own projection, trained without labels, does at least "
    "as well."
)
bars = {name: {"share": score} for name, score in by_name.items()}
drawn = plots.bars(bars, "share of right names", 1 / len(words), sideways=True, highest=1)
plots.show(drawn, caption=caption)

# %% [markdown]
# ## 4. What multimodal large language models can do
#
# A large language model with an image input is called a **multimodal large language model** (MLLM). The field has developed fast since 2022. The lecture names four abilities:
#
# | ability | what it means | an example |
# |---|---|---|
# | stories from images | a text goes beyond a caption: characters, plot, style | MiniGPT-4, [arXiv 2304.10592](https://arxiv.org/abs/2304.10592) |
# | mathematics without OCR | the model reads a formula or a diagram from the pixels and solves the task; no program for character recognition (OCR) is in between | the survey above, abstract |
# | decisions | the image is a situation, the text is the next action | GPT-4V, the lecture's demonstration |
# | embodied tasks | the model plans or controls a robot from camera images | PaLM-E, [arXiv 2303.03378](https://arxiv.org/abs/2303.03378) |
#
# MiniGPT-4's authors attribute such abilities to the large language model, once it can use images. How much such a model really uses the image is a question of lesson 13.
#
# ## The paper beside ours
#
# BLIP-2's Table 1 makes a claim about frozen and trained parts: BLIP-2 trains far fewer parameters than Flamingo, and answers questions better. Ours are the small bridges of lessons 10 and 11. The questions are of the form "what is the thing?", about an image. The verdict on answers is computed by one rule for the whole course: *agrees* if the first is better in every seed and the gap of the means is above two pooled standard deviations (the root of the mean of the two variances); *disagrees* if the same holds the other way round; else *within noise*.

# %%
paper = published("blip2-table-1")
figures.beside_ours(paper, evaluation.load_results("replicate_bridges"))

# %% [markdown]
# Our questions are easy for both bridges, and their difference is smaller than the noise: our numbers neither confirm nor refute the paper's claim about answers. The numbers of parameters agree with the paper in direction only; both of ours are much smaller. The second table has the controls: with blank images the bridges answer no better than the most frequent answer would.
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
# CLIP can only compare texts that somebody gives it. It can't write a caption or answer a question with a text of its own. Within a fixed list of texts, it answers at the cost of one dot product each.
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
# Several changes were made later: more data (Flamingo), more than two vectors for an image (BLIP-2, LLaVA), other places to meet (Flamingo), and a trained language model (LLaVA). The papers change several columns at once, so a comparison of papers can't tell which one mattered. Lesson 13 changes them one at a time.
# </details>
#
# ## Limits
#
# - The table has 14 systems of several hundred, chosen because the lecture or a later lesson needs them.
# - This course trains no image generator. They stand in the table to complete the picture.
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
# > - Aligned encoders make a classifier from names alone.
# > - Read every score beside its blank and shuffled controls.
# > - A small trained bridge can connect large frozen parts.
#
# ## Glossary
#
# [vision-language model, multimodal large language model](../docs/GLOSSARY.md#models) · [aligned encoders, any-to-any](../docs/GLOSSARY.md#models) · [bridge, frozen, trained](../docs/GLOSSARY.md#training) · [cosine, temperature](../docs/GLOSSARY.md#losses-and-scores) · [zero-shot classification, retrieval, rank, recall at k](../docs/GLOSSARY.md#evaluation) · [blank, shuffled, chance](../docs/GLOSSARY.md#evaluation) · [VAE, GAN, diffusion, flow](../docs/GLOSSARY.md#models)
#
# ## Next
#
# **Lesson 01** builds the layer in which image and text meet in nearly all of these models: attention, and the masks that say who may attend to whom.
