# %% [markdown]
# # 15 · Real weights, your own photos, a project of your own
#
# **After this lesson you can** load a published checkpoint into a model that you wrote yourself, and prove that both compute the same; find the faults that raise no error; put CLIP, BLIP, BLIP-2 and OpenFlamingo from the hub, or from a folder, into this course's classes; read a real language model's answers offline; look at your own photos; and start a project that trains, tests itself and reports beside its controls.
#
# | | |
# |---|---|
# | You need | lessons 02 (CLIP), 05 to 08; for section 5 the extra `make pretrained` (SmolLM2, 100 MB, once) |
# | Time | about 80 minutes to work through; running all cells takes about 2 minutes on 2 cores once CLIP is in the cache, 2 GB of memory (with SmolLM2) |
# | Papers | OpenFlamingo: Awadalla et al. 2023, [arXiv 2308.01390](https://arxiv.org/abs/2308.01390). SmolLM2: Ben Allal et al. 2025, [2502.02737](https://arxiv.org/abs/2502.02737). And those of lessons 02, 08, 10, 11 |
# | Course code | `papers/clip.py` (`from_hf`), `papers/checkpoints.py`, `papers/blip2.py`, `papers/flamingo_weights.py`, `parts/language.py` (`load`), `data/folders.py`, `starter.py` |
#
# Letters for axes: **B** batch, **T** text tokens, **P** patches, **R** queries or latents, **D** width.

# %%
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers
from IPython.display import Markdown
from PIL import Image

from teaching import tiny_checkpoints
from teaching.exercises import check, diagnose, quiz
from teaching.real_weights import PARTS
from vlmcourse import evaluation, plots, recipes, world
from vlmcourse.data import folders
from vlmcourse.papers import flamingo_weights
from vlmcourse.papers.checkpoint_formats import OPEN_FLAMINGO
from vlmcourse.papers.blip import BLIP
from vlmcourse.papers.blip2 import BLIP2
from vlmcourse.papers.clip import CLIP
from vlmcourse.parts import generation, language
from vlmcourse.starter import start
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
scale = Scale.of()
size = scale.image_size
small_run = scale.name == "smoke"  # the course's own tests run this page in seconds
place = Path(tempfile.mkdtemp(prefix="lesson10_"))  # everything this page writes goes here
DOWNLOAD = False  # True: real checkpoints may come from the hub, once
_ = torch.manual_seed(0)

# %% [markdown]
# ## The question
#
# You have written these models. Other people have *trained* them, on hundreds of millions of pictures. Can their numbers live in your code? A checkpoint is a dictionary: names and tensors. That sounds like a matter of renaming, and mostly it is. But a model is not its tensors: it is the **function** they are used in, down to the last epsilon, and the *pixels and tokens* that come in. Most of what goes wrong here raises no error. So this lesson's question is: **how do you know that it is the same model?**
#
# Checkpoints are large, and this page must run without a network. So each step is shown on a *stand-in*: a model of the same class, tiny and with random weights, saved to a folder exactly as a published one is. The real one is the same line with another name.
#
# ## 1. A checkpoint in the hand

# %%
folder = tiny_checkpoints.clip(place / "clip")
print(
    "in the folder:",
    sorted(path.name for path in folder.iterdir() if path.suffix in (".json", ".safetensors")),
)  # NBVAL_CHECK_OUTPUT
theirs = transformers.CLIPModel.from_pretrained(folder).eval()
names = theirs.state_dict()
print(len(names), "tensors; some of them:")  # NBVAL_CHECK_OUTPUT
for name in list(names)[:3] + [name for name in names if ".layers.1." in name][:8]:
    print(f"  {name:62} {tuple(names[name].shape)}")  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# **By hand.** One block of the image tower: rename, and join what we hold as one matrix (our attention projects keys and values together). Then ask both for the same thing.

# %%
ours = CLIP.from_hf(
    theirs
)  # sizes from its configuration; we will put one block's weights in ourselves
block = ours.vision.transformer.blocks[1]
for parameter in block.parameters():
    parameter.data.zero_()
here = {
    name.split(".layers.1.")[1]: value
    for name, value in names.items()
    if name.startswith("vision_model.encoder.layers.1.")
}
mine = {}
for theirs_name, our_name in PARTS.items():
    for kind in ("weight", "bias"):
        mine[f"{our_name}.{kind}"] = here[f"{theirs_name}.{kind}"]
for kind in ("weight", "bias"):
    mine[f"attention.key_value.{kind}"] = torch.cat(
        [here[f"self_attn.k_proj.{kind}"], here[f"self_attn.v_proj.{kind}"]]
    )
print(block.load_state_dict(mine))  # strict: every name must have its place  # NBVAL_CHECK_OUTPUT

pixel_values, ids = (
    torch.randn(4, 3, tiny_checkpoints.SIZE, tiny_checkpoints.SIZE),
    torch.tensor([[97, 5, 9, 98], [97, 7, 98, 0], [97, 1, 2, 98], [97, 3, 98, 0]]),
)
with torch.no_grad():
    wanted = theirs(pixel_values=pixel_values, input_ids=ids, attention_mask=(ids != 0).long())
    assert torch.allclose(ours.logits(pixel_values, ids), wanted.logits_per_image, atol=1e-4)
    assert torch.allclose(
        CLIP.from_pretrained(str(folder)).logits(pixel_values, ids),
        wanted.logits_per_image,
        atol=1e-4,
    )
print("by hand == CLIP.from_pretrained == transformers.CLIPModel")  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# The real one is the same line with another name. `stand_ins.real` tries it, and says what to do if it isn't here:

# %%
real = tiny_checkpoints.real(CLIP.from_pretrained, "openai/clip-vit-base-patch32", DOWNLOAD)
if real is not None:
    print(f"{sum(p.numel() for p in real.parameters()):,} parameters, in the classes of lesson 02")

# %%
quiz("real_weights.activation")


# %%
def apart(model, pictures=pixel_values):
    """Largest difference from transformers' unit vectors: of pictures, of the longest texts, of shorter (padded) ones."""
    with torch.no_grad():
        image, text = model.encode_image(pictures), model.encode_text(ids)
    theirs_image, theirs_text = (
        torch.nn.functional.normalize(one, dim=-1)
        for one in (wanted.image_embeds, wanted.text_embeds)
    )
    short = (ids == 0).any(1)
    return {
        "pictures": (image - theirs_image).abs().max().item(),
        "longest texts": (text - theirs_text)[~short].abs().max().item(),
        "shorter texts": (text - theirs_text)[short].abs().max().item(),
    }


wrong = transformers.CLIPModel.from_pretrained(folder).eval()
for part in (wrong.config.vision_config, wrong.config.text_config):
    part.hidden_act = "gelu"
gelu = CLIP.from_hf(wrong)
plots.show(
    plots.bars(
        {"as trained": apart(CLIP.from_hf(theirs)), "with GELU": apart(gelu)}, "largest difference"
    )
)

# %% [markdown]
# ## 2. BLIP and BLIP-2
#
# The same for the models of lessons 08 and 10. Different conventions wait in each: BLIP holds query, key and value in *one* matrix; BLIP-2's Q-Former has its queries outside of the module that uses them, and its last LayerNorm belongs to what *we* call the Q-Former.

# %%
folder = tiny_checkpoints.blip(place / "blip")
theirs_blip = transformers.BlipForConditionalGeneration.from_pretrained(folder).eval()
blip = BLIP.from_pretrained(
    str(folder)
)  # real: "Salesforce/blip-image-captioning-base", "Salesforce/blip-itm-base-coco", ...
said = torch.tensor([[96, 5, 9, 4], [96, 7, 3, 8]])
with torch.no_grad():
    difference = (
        (
            blip(said, **blip.vision_context(pixel_values[:2]))
            - theirs_blip(pixel_values=pixel_values[:2], input_ids=said).logits
        )
        .abs()
        .max()
        .item()
    )
print("BLIP: the same to four digits:", difference < 1e-4)  # NBVAL_CHECK_OUTPUT

folder = tiny_checkpoints.blip2(place / "blip2")
theirs_blip2 = transformers.Blip2ForConditionalGeneration.from_pretrained(folder).eval()
blip2 = BLIP2.from_hf(
    theirs_blip2
)  # real: transformers.Blip2ForConditionalGeneration.from_pretrained("Salesforce/blip2-opt-2.7b")
text = torch.tensor(
    [[4, 4, 4, 8, 9], [4, 4, 4, 10, 11]]
)  # three slots for three queries, then words
with torch.no_grad():
    difference = (
        (
            blip2(text, **blip2.vision_context(pixel_values[:2]))
            - theirs_blip2(pixel_values[:2], text).logits
        )
        .abs()
        .max()
        .item()
    )
print("BLIP-2: the same to four digits:", difference < 1e-4)  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# **What fits where?** Four bytes a parameter in float32, two in bfloat16. (Counts of the published models, rounded.)

# %%
published = {
    "CLIP ViT-B/32": 0.15e9,
    "CLIP ViT-L/14": 0.43e9,
    "BLIP captioning, base": 0.25e9,
    "SmolLM2-135M": 0.135e9,
    "BLIP-2, OPT-2.7B": 3.7e9,
    "OpenFlamingo-4B": 4e9,
}
plots.show(
    plots.bars(
        {
            name: {"float32": 4 * count / 2**30, "bfloat16": 2 * count / 2**30}
            for name, count in published.items()
        },
        "GiB of memory",
        sideways=True,
    )
)

# %% [markdown]
# ## 3. OpenFlamingo
#
# Flamingo's weights were never published; *OpenFlamingo* is an open re-implementation, with checkpoints of 3 to 9 billion parameters. They hold only what was trained: resampler, gated blocks, and the rows of words. CLIP and the language model come from where they always come. `checkpoint_formats` holds the names, `flamingo_weights` and the conventions in which their code differs from the paper: GELU for squared ReLU, `<image>` sees its own picture, patches *before* CLIP's last LayerNorm, no film embeddings.

# %%
Markdown(
    "\n".join(
        ["| OpenFlamingo | ours |", "|---|---|"]
        + [
            f"| `{theirs}` | `{ours}` |".replace("*", "N")
            for ours, theirs in OPEN_FLAMINGO.items()
            if isinstance(theirs, str)
        ]
    )
)

# %%
vision = recipes.get("clip").train_or_load(scale).model.vision
lm = recipes.get("language").train_or_load(scale).model.lm
image_token_id = tokenizer.world_tokenizer().convert_tokens_to_ids("<image>")
file = tiny_checkpoints.open_flamingo(
    place / "openflamingo" / "checkpoint.pt", vision, lm, image_token_id
)
model = flamingo_weights.from_open_flamingo(
    file, flamingo_weights.open_flamingo_vision(vision), lm, image_token_id
)
# real: from_open_flamingo("checkpoint.pt", open_flamingo_vision(CLIP.from_pretrained("openai/clip-vit-large-patch14").vision), lm, tag)
print(
    "a block before layers",
    list(model.blocks),
    "and",
    model.config.latents,
    "latents, read from the file's shapes",
)
page = tokenizer.encode(["<image> a cat . <image> a"])[:, :-1]
two = world.to_pixels(
    np.stack([world.render(world.sample("test", n, 0, (1, 1)), size) for n in (0, 1)])
)
with torch.no_grad():
    one_way, other_way = (model(page, **model.vision_context(each)) for each in (two, two.flip(0)))
print("pictures count:", bool((one_way - other_way).abs().max() > 1e-4))  # NBVAL_CHECK_OUTPUT
print(
    "frozen:",
    not any(p.requires_grad for part in (model.vision, model.lm) for p in part.parameters()),
)  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# Is it the same function? The package's tests compare with OpenFlamingo's own modules around a small OPT, to four digits, gates open. And what doesn't fit is said before anything is computed:

# %%
try:
    flamingo_weights.from_open_flamingo(
        file,
        flamingo_weights.open_flamingo_vision(vision),
        language.tiny(40, 32, 2, 1),
        image_token_id,
    )
except ValueError as error:
    print(error)

# %% [markdown]
# ## 4. The pixels are part of the model
#
# Each checkpoint was trained with pictures prepared in one way: size, cropping, mean and deviation of each colour. `transformers.CLIPImageProcessor.from_pretrained(name)` knows the numbers of a published model; this course's own models take -1 to 1. A wrong preparation raises nothing. What does it cost? On the CLIP of lesson 02, whose truth we know:

# %%
clip = recipes.get("clip").train_or_load(scale).model
pairs, own, labels = recipes.clip.single_things(size, 64 if small_run else 512)
classes = recipes.clip.noun_classes(clip)
as_bytes = torch.from_numpy(pairs.images(range(len(own)))).permute(0, 3, 1, 2).float()
mean, deviation = (
    torch.tensor([0.4815, 0.4578, 0.4082])[:, None, None],
    torch.tensor([0.2686, 0.2613, 0.2758])[:, None, None],
)
ways = {
    "as trained, -1 to 1": own,
    "0 to 1": as_bytes / 255,
    "OpenAI's mean and deviation": (as_bytes / 255 - mean) / deviation,
    "blue, green, red": own.flip(1),
    "upside down": own.flip(2),
}
with torch.no_grad():
    right = {
        way: evaluation.accuracy(evaluation.zero_shot(clip.encode_image(each), classes), labels)
        for way, each in ways.items()
    }
plots.show(
    plots.bars(
        {way: {"right noun": value} for way, value in right.items()},
        "zero-shot",
        chance=1 / len(classes),
        sideways=True,
    )
)

# %% [markdown]
# ## 5. A real language model, offline
#
# `language.load` takes a name on the hub, a folder, a GGUF file, or `"smollm2"`: 135 million parameters inside a Python package, so that no hub is needed. (At scale smoke a stand-in is loaded from a folder.)

# %%
name = str(tiny_checkpoints.language(place / "language", lm)) if small_run else "smollm2"
try:
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        speaker, reader = language.load(name)
except ValueError as error:  # not installed: the message says how
    print(error)
    speaker, reader = language.load(str(tiny_checkpoints.language(place / "language", lm)))
print(
    type(speaker).__name__,
    f"{sum(p.numel() for p in speaker.parameters()) / 1e6:.1f} million parameters",
)
prompts = (
    ["a cat is an"]
    if len(reader) < 10_000
    else ["The capital of France is", "A cat is a small", "Two plus three equals"]
)
whole = language.LanguageModel(language.freeze(speaker))
for prompt in prompts:
    ids_ = reader(prompt, return_tensors="pt")["input_ids"]
    ids_ = ids_[:, :-1] if ids_[0, -1] == tokenizer.EOS and len(reader) < 10_000 else ids_
    with torch.no_grad():
        chances, best = whole(ids_)[0, -1].softmax(-1).topk(5)
        written = generation.generate(whole, ids_, 8, cache=language.new_cache(speaker))
    print(f"{prompt!r} goes on: {reader.decode(written[0])!r}")
    told = {
        reader.decode([number]).strip() or "(space)": value
        for number, value in zip(best.tolist(), chances.tolist())
    }
    plots.show(
        plots.bars(
            {word: {"probability": value} for word, value in told.items()},
            f"after '{prompt}'",
            sideways=True,
        )
    )

# %% [markdown]
# Every bridge of this course stands before *any* such model: `teaching.smollm2` has Frozen's encoder before it. A step of 32 pictures takes seconds there, too many for an encoder that starts from nothing; so the one that learnt before the tiny model hands over what it sees (lesson 07, section 7, with what that is worth).
#
# ## 6. Your own photos
#
# A folder with pictures and a `metadata.jsonl`, one line each: `{"file_name": "cat.png", "text": "a cat on a sofa"}`. Photos come turned, grey, transparent, in CMYK, half downloaded. `folders.read_folder` turns what it can read into pixels, and names what it can't.
#
# Put your own folder's path here. In its place stands one that we make, with everything that goes wrong in it:

# %%
mine = place / "my_pictures"
mine.mkdir()
scenes = [world.sample("test", index, 0, (1, 1)) for index in range(12)]
lines = []
for index, scene in enumerate(scenes):
    drawn = Image.fromarray(world.render(scene, 96))
    name = f"{index:02}.{'jpg' if index % 2 else 'png'}"
    if index == 0:
        drawn.convert("L").save(mine / name)  # grey
    elif index == 1:
        exif = Image.Exif()
        exif[274] = 6  # "turn me": how phones store upright photos
        drawn.rotate(90, expand=True).save(mine / name, exif=exif)
    elif index == 2:
        drawn.convert("RGBA").save(mine / name)
    elif index == 3:
        (mine / name).write_bytes(b"half a downl")  # broken
    else:
        drawn.save(mine / name)
    lines.append(
        json.dumps(
            {"file_name": name, "text": f"{world.article(scene.words[0])} on {scene.background}"}
        )
    )
(mine / "metadata.jsonl").write_text("\n".join(lines) + "\n")
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    photos = folders.read_folder(mine, size)
print(len(photos), "pictures;", str(told[0].message).replace(str(place), "..."))

# %%
with torch.no_grad():
    found = evaluation.zero_shot(
        clip.encode_image(photos.batch(range(len(photos)))["pixel_values"]), classes
    )
guesses = [world.known_nouns()[number] for number in found.tolist()]
plots.show(
    plots.pictures(
        photos.images(range(len(photos))),
        [f"{text} (CLIP: {guess})" for text, guess in zip(photos.texts, guesses)],
        [guess in text.split() for text, guess in zip(photos.texts, guesses)],
    ),
    credit=world.ATTRIBUTION,
)

# %%
quiz("real_weights.style")

# %%
with torch.no_grad():
    shifted = evaluation.shift_curve(
        lambda each: evaluation.zero_shot(clip.encode_image(each), classes),
        pairs.images(range(len(own))),
        labels,
        list(world.STYLES),
    )
plots.show(
    plots.bars(
        {style: {"right noun": value} for style, value in shifted.items()},
        "zero-shot",
        chance=1 / len(classes),
        sideways=True,
    )
)

# %% [markdown]
# To train on your folder: `vlmcourse train clip --data my_pictures --out runs/mine`. With fewer than some thousand pictures, take a published CLIP, and train a probe on its features (`evaluate.linear_probe`, lesson 02).
#
# ## 7. A project to begin with
#
# `vlmcourse start FOLDER` writes a small project: one training script whose `Bridge` is yours to change, a notebook, a test, a README with what to check before believing a number. It works as it is:

# %%
project = place / "owls"
for path in start(project):
    print(f"{path.name:18} {len(path.read_text().splitlines()):4} lines")
source = (project / "train.py").read_text()
beginning = source.index("class Bridge")
print(source[beginning : source.index("def losses", beginning)])

# %%
done = subprocess.run(
    [sys.executable, "train.py", "--scale", "smoke", "--out", "runs/smoke", "--steps", "6"],
    cwd=project,
    capture_output=True,
    text=True,
    env={**os.environ, "VLMCOURSE_SCALE": "smoke"},
)
assert done.returncode == 0, done.stderr
report = json.loads((project / "runs" / "smoke" / "report.json").read_text())
print({name: report[name] for name in ("scale", "seed", "steps", "learns")})  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# In a terminal: `cd owls`, `python -m pytest`, `python train.py`. Put it under version control before you change the first line.
#
# ## Exercise 1 · Names
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | map a checkpoint's names to your own | ●●○○○ | ●●●●○ | 10 |
#
# `vision_model.encoder.layers.3.mlp.fc1.weight` is our `vision.transformer.blocks.3.feedforward.0.weight`; `text_model...` goes to `text...`. The parts: `layer_norm1`, `layer_norm2` are `norm1`, `norm2`; `self_attn.q_proj`, `self_attn.out_proj` are `attention.query`, `attention.out`; `mlp.fc1`, `mlp.fc2` are `feedforward.0`, `feedforward.2`.


# %%
def my_renamed(name: str) -> str:
    raise NotImplementedError("return our name of this parameter.")


check("real_weights.renamed", my_renamed)

# %% [markdown]
# <details><summary>Hint 1</summary>A table of pieces and <code>str.replace</code> will do, if no piece is part of another.</details>
# <details><summary>Hint 2</summary>Replace <code>_model.encoder.layers</code> as one piece; then numbers stay as they are.</details>
# <details><summary>If you see "Unexpected key(s) in state_dict"</summary>A name was not renamed, or wrongly: strict loading lists each of them. Don't silence it with <code>strict=False</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def my_renamed(name):
#     for theirs, ours in {"_model.encoder.layers": ".transformer.blocks", "layer_norm": "norm", "self_attn.q_proj": "attention.query",
#                          "self_attn.out_proj": "attention.out", "mlp.fc1": "feedforward.0", "mlp.fc2": "feedforward.2"}.items():
#         name = name.replace(theirs, ours)
#     return name
# ```
# </details>
#
# The picture that the right answer gives: where a CLIP's parameters are, by part.

# %%
where = {}
for name, value in ours.named_parameters():
    tower = name.split(".")[0]
    part = next(
        (
            label
            for label, mark in (
                ("attention", "attention"),
                ("feed-forward", "feedforward"),
                ("norms", "norm"),
            )
            if mark in name
        ),
        "embeddings, projections",
    )
    where.setdefault(tower if tower in ("vision", "text") else "both", {}).setdefault(part, 0)
    where[tower if tower in ("vision", "text") else "both"][part] += value.numel()
plots.show(plots.bars(where, "parameters"))

# %% [markdown]
# ## Exercise 2 · One matrix, two matrices
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | take a fused projection apart | ●●○○○ | ●●●○○ | 5 |
#
# BLIP's image tower has one `qkv` weight of shape (3 D, D): query, key and value, one below the other. Ours has `query` (D, D) and `key_value` (2 D, D). Return both.


# %%
def my_parted(qkv: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    raise NotImplementedError("return query and key_value.")


check("real_weights.split", my_parted)

# %% [markdown]
# <details><summary>Hint 1</summary>D is the number of columns.</details>
# <details><summary>Hint 2</summary>Rows: <code>qkv[:D]</code>, and the rest.</details>
# <details><summary>If you see "size mismatch for key_value.weight"</summary>You joined along the columns, or transposed. A <code>Linear</code>'s weight is (out, in).</details>
# <details><summary>Solution</summary>
#
# ```python
# def my_parted(qkv):
#     D = qkv.shape[1]
#     return qkv[:D], qkv[D:]
# ```
# </details>
#
# The picture that the right answer gives: the same attention from a BLIP's fused matrix (its rows, by thirds, and ours) as sums of squares.

# %%
fused = theirs_blip.vision_model.encoder.layers[0].self_attn.qkv.weight.detach()
D = fused.shape[1]
attention = blip.vision.transformer.blocks[0].attention
plots.show(
    plots.bars(
        {
            "query": {
                "theirs": fused[:D].square().sum().item(),
                "ours": attention.query.weight.square().sum().item(),
            },
            "key": {
                "theirs": fused[D : 2 * D].square().sum().item(),
                "ours": attention.key_value.weight[:D].square().sum().item(),
            },
            "value": {
                "theirs": fused[2 * D :].square().sum().item(),
                "ours": attention.key_value.weight[D:].square().sum().item(),
            },
        },
        "sum of squares",
    )
)

# %% [markdown]
# ## Exercise 3 · Pixels
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | prepare a picture as a checkpoint expects it | ●●○○○ | ●●●●● | 10 |
#
# `picture` (H, W, 3) holds bytes; `mean` and `std` (3,) are of each colour, of pixels from 0 to 1. Return (3, H, W).


# %%
def my_prepared(picture: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError("return float pixels (3, H, W).")


check("real_weights.prepared", my_prepared)

# %% [markdown]
# <details><summary>Hint 1</summary>Axes first: <code>permute(2, 0, 1)</code>, not <code>reshape</code>.</details>
# <details><summary>Hint 2</summary>(3,) against (3, H, W) needs <code>[:, None, None]</code>.</details>
# <details><summary>If you see "The size of tensor a (6) must match the size of tensor b (3)"</summary>Mean and deviation met the last axis, which is the width here.</details>
# <details><summary>Solution</summary>
#
# ```python
# def my_prepared(picture, mean, std):
#     return (picture.permute(2, 0, 1).float() / 255 - mean[:, None, None]) / std[:, None, None]
# ```
# </details>
#
# The picture that the right answer gives: how large a colour's values are after preparation in three ways. A model meets numbers of a size it has never seen.

# %%
one = as_bytes[:16] / 255
plots.show(
    plots.bars(
        {
            way: {
                "smallest": each.min().item(),
                "mean": each.mean().item(),
                "largest": each.max().item(),
            }
            for way, each in (
                ("0 to 1", one),
                ("-1 to 1", one * 2 - 1),
                ("OpenAI's", (one - mean) / deviation),
            )
        },
        "pixel_values",
        sideways=True,
    )
)

# %% [markdown]
# ## Failure lab · Three checkpoints that loaded without an error
#
# The tiny CLIP of section 1, loaded well and with one fault each. All tensors are in their places. The faults, in some order:
#
# - **activation**: GELU in the place of QuickGELU;
# - **end**: a text is read at its last place, whatever stands there, in the place of its end token;
# - **pixels**: pictures are prepared for another model.
#
# The table compares with transformers: largest difference of the unit vectors.

# %%
at_the_last = CLIP.from_hf(theirs)
at_the_last.text.end_positions = lambda ids: torch.full((len(ids),), ids.shape[1] - 1)
faulty_systems = {
    "healthy": apart(CLIP.from_hf(theirs)),
    "A": apart(gelu),
    "B": apart(at_the_last),
    "C": apart(CLIP.from_hf(theirs), pixel_values * 0.5 + 0.5),
}
Markdown(
    "\n".join(
        ["| system | pictures | longest texts | shorter texts (padded) |", "|---|---|---|---|"]
        + [
            f"| {name} | " + " | ".join(f"{value:.6f}" for value in found.values()) + " |"
            for name, found in faulty_systems.items()
        ]
    )
)

# %%
diagnose("real_weights.checkpoints", {"A": None, "B": None, "C": None})

# %% [markdown]
# <details><summary>Solution</summary>
#
# `{"A": "activation", "B": "end", "C": "pixel_values"}`. A is wrong everywhere, because every block has the activation. B is right for texts that fill their row, whose end *is* the last place; padding gives it away. C's texts are exact: the weights are fine, what comes in is not.
# </details>

# %% [markdown]
# ## The paper beside ours
#
# No table of a paper is repeated here; what is compared is whether ours *are* those models. Each line on random weights, with everything that could differ made to count, against the reference implementation:

# %%
with torch.no_grad():
    lines = [
        (
            "CLIP",
            "transformers.CLIPModel",
            (ours.logits(pixel_values, ids) - wanted.logits_per_image).abs().max().item(),
        ),
        (
            "BLIP",
            "transformers.BlipForConditionalGeneration",
            (
                blip(said, **blip.vision_context(pixel_values[:2]))
                - theirs_blip(pixel_values=pixel_values[:2], input_ids=said).logits
            )
            .abs()
            .max()
            .item(),
        ),
        (
            "BLIP-2",
            "transformers.Blip2ForConditionalGeneration",
            (
                blip2(text, **blip2.vision_context(pixel_values[:2]))
                - theirs_blip2(pixel_values[:2], text).logits
            )
            .abs()
            .max()
            .item(),
        ),
    ]
Markdown(
    "\n".join(
        [
            "| ours | reference | largest difference | the same to four digits? |",
            "|---|---|---|---|",
        ]
        + [
            f"| {name} | `{other}` | {value:.1e} | {'yes' if value < 1e-4 else '**no**'} |"
            for name, other, value in lines
        ]
        + [
            "| Flamingo | `open_flamingo`'s own model around a small OPT | below 1e-4 in the package's tests | yes |"
        ]
    )
)

# %% [markdown]
# ## Going on
#
# - Limits: published numbers (zero-shot accuracies, CIDEr) are not reproduced here: that takes their data and a GPU. OpenFlamingo's checkpoints before version 2 have other names. MPT, which some of them stand on, needs code from the hub.
# - Read: the model card before the model: what it was trained on, what it is not for, and its licence. OpenFlamingo's Section 4, on what went wrong.
# - Try: the explorers of `notebooks/explorers.ipynb` with a published CLIP; `teaching.explorer_models.clip_maps(real)`; lesson 13's probes on a real model: anything with `vision_context` and `forward` fits `answering.Bridge`.
# - You have built them all. What's missing is yours: `vlmcourse start my_project`.
