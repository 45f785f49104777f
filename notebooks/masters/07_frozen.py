# %% [markdown]
# # 07 · Frozen: a picture as two words
#
# **After this lesson you can** put pictures into the prompt of a language model that never changes, train an encoder through it, tell from three controls whether it sees, teach it a new name with one picture, and say when a frozen model lends its abilities to a picture and when it doesn't.
#
# | | |
# |---|---|
# | You need | lesson 05 (a language model: what it knows, what it binds); lesson 02 (the image tower) |
# | Time | about 90 minutes to work through; running all cells takes about 9 minutes on 2 cores the first time, 4 when the encoder is in the cache, 2 GB of memory |
# | Paper | Tsimpoukelli et al. 2021, *Multimodal Few-Shot Learning with Frozen Language Models*, [arXiv 2106.13884](https://arxiv.org/abs/2106.13884) |
# | Course code | `vlmcourse/papers/frozen.py`, `vlmcourse/parts/language.py`, `vlmcourse/recipes/frozen.py` |
#
# Letters for axes: **B** batch, **T** text tokens, **M** pictures of a whole batch, **n** vectors a picture, **D** width of the language model, **V** vocabulary.

# %%
import copy

import numpy as np
import torch
from IPython.display import Markdown
from torch.nn.functional import cross_entropy, normalize

from teaching import smollm2
from teaching.exercises import check, diagnose, quiz
from teaching.frozen import ask_player
from vlmcourse import evaluation, plots, recipes, world
from vlmcourse.parts import language, masks
from vlmcourse.recipes.frozen import (
    ONE_THING,
    IMAGE_PREFIX,
    FROZEN_OPTIMISATION,
    vqa_episodes,
    generate_captions,
    naming_episodes,
    descriptive_caption,
    episode_accuracy,
    text_only_accuracy,
)
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.scale import Scale
from vlmcourse.world import prompts, tokenizer

scale = Scale.of()
size = scale.image_size
count = 256 if scale.name != "smoke" else 16
_ = torch.manual_seed(0)

# %% [markdown]
# ## The question
#
# A language model learns a new word from one sentence ("this is a dax: ...") and knows things that no picture shows. Pictures come with labels or captions only. Can a language model be given eyes **without changing it**, so that everything it can do with words it can do with pictures, too?
#
# Frozen's answer: make each picture a few *vectors that stand in the text like words*, and train only what writes them. The language model's weights stay as they are, bit for bit. It only passes gradients on.
#
# ## 1. A picture as two words, by hand
#
# A language model never sees words. It sees one vector per word, looked up in a table. So nothing stops us from handing it vectors that no word has. First, the bare model from lesson 05, frozen for good:

# %%
bare = recipes.get("language").train_or_load(scale).model
lm = language.freeze(copy.deepcopy(bare.lm))
text = tokenizer.encode(["a picture of a cat on blue"])
vectors = lm.get_input_embeddings()(text)  # (1, T, D): the lookup, done outside
with torch.no_grad():
    same = torch.equal(lm(inputs_embeds=vectors).logits, lm(text).logits)
print("read from words or from their vectors: the same?", same)  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# Now the picture. An image tower gives one vector a picture; one matrix makes it **n = 2** vectors as wide as the model's words (the paper tried 1, 2 and 4); they go where the text keeps places for them:

# %%
model = recipes.frozen.new_frozen(recipes.frozen.frozen_config(scale), lm).eval()
scenes = [world.sample("test", index, 0, ONE_THING) for index in range(4)]
pixel_values = world.to_pixels(np.stack([world.render(scene, size) for scene in scenes]))
pages = [(scene, "a picture of") for scene in scenes]
batch = prompts.Prompts(pages, size, IMAGE_PREFIX).batch(range(len(pages)))
print(
    tokenizer.world_tokenizer().convert_ids_to_tokens(batch["ids"][0].tolist())
)  # NBVAL_CHECK_OUTPUT


def logits_by_hand(model, ids, pixel_values):
    """(B, T), (M, 3, S, S) -> (B, T, V)."""
    summary = model.vision(pixel_values)  # (M, D of the tower)
    two_words = model.language_projection(summary).reshape(len(pixel_values) * 2, -1)  # (M * 2, D)
    is_slot = ids == model.config.image_token_id
    x = model.lm.get_input_embeddings()(ids).clone()  # (B, T, D)
    x[is_slot] = two_words  # in reading order
    return model.lm(inputs_embeds=x).logits


with torch.no_grad():
    by_hand = logits_by_hand(model, batch["ids"], batch["pixel_values"])
    packaged = model(batch["ids"], prefix=model.encode_prefix(batch["pixel_values"]))
assert torch.allclose(by_hand, packaged, atol=1e-5)
print("by hand == vlmcourse.papers.frozen.Frozen")  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# Figure 2 of the paper, from our tensors: each column is one position, dark cells are what it may look at (causal: its past). The two picture vectors are just the first two words.

# %%
shown = tokenizer.world_tokenizer().convert_ids_to_tokens(batch["ids"][0].tolist())
shown = [
    "picture 1" if t == "<image>" and i == 1 else "picture 2" if t == "<image>" else t
    for i, t in enumerate(shown)
]
plots.show(plots.mask(masks.causal(len(shown)), shown, shown, "what each position may look at"))


# %% [markdown]
# ## 2. The loss: caption words only
#
# The model is asked for the words *after* the picture (Eq. 1 of the paper), not for the picture's own places, nor for padding. By hand:

# %%
train = recipes.frozen.caption_data(scale)
learn = train.batch(range(4))


def loss_by_hand(model, batch):
    said = model(batch["ids"], prefix=model.encode_prefix(batch["pixel_values"]))  # (B, T, V)
    total, words = 0.0, 0
    for row in range(len(batch["ids"])):
        for place in range(1, batch["ids"].shape[1]):
            if batch["loss_mask"][row, place]:  # foretold at the position before
                log_probability = said[row, place - 1].log_softmax(-1)
                total -= log_probability[batch["ids"][row, place]]
                words += 1
    return total / words


with torch.no_grad():
    assert torch.isclose(loss_by_hand(model, learn), model.losses(learn)["lm"], atol=1e-4)
print("loss by hand == Frozen.losses")  # NBVAL_CHECK_OUTPUT
for ids, loss_mask in zip(learn["ids"][:2], learn["loss_mask"]):
    told = tokenizer.world_tokenizer().convert_ids_to_tokens(ids.tolist())
    print(" ".join(f"[{t}]" if s else t for t, s in zip(told, loss_mask)), "   [asked for]")

# %%
quiz("frozen.gradient")

# %%
prefix = model.encode_prefix(learn["pixel_values"]).detach().requires_grad_()
said = model(learn["ids"], prefix=prefix)[:, :-1]
target = learn["ids"][:, 1:].masked_fill(~learn["loss_mask"][:, 1:], -100)
cross_entropy(said.flatten(0, 1), target.flatten()).backward()
print(
    "every picture vector gets a gradient:", bool((prefix.grad.norm(dim=-1) > 0).all())
)  # NBVAL_CHECK_OUTPUT
print(
    "language model parameters with a gradient:", sum(p.grad is not None for p in lm.parameters())
)  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# ## 3. Train it
#
# Where shall the two vectors start? The paper doesn't say, and a matrix of random numbers makes vectors that are like no word. Ours start at an *average word*: the mean of all nouns, and of all backgrounds. And which captions? Things alone, described in all the forms that the language model has read descriptions go on in, from "cat" to "on blue a cat". (Section 6 shows what both are worth.) Only the encoder learns. The dashed line is the loss of a model that knows the language but sees nothing, measured in the same way.

# %%
blind_loss = {
    run["seed"]: run["training loss"]
    for run in evaluation.load_results("replicate_frozen")["rows"]
    if run["row"] == "train-blind"
}
trained = recipes.get("frozen").train_or_load(
    scale,
    on_step=plots.LiveCurve(
        chance=float(np.mean(list(blind_loss.values()))), chance_name="trained blind"
    ),
)
model = trained.model
learns = sum(p.numel() for p in model.parameters() if p.requires_grad)
print(
    f"{learns:,} parameters learnt; {sum(p.numel() for p in model.lm.parameters()):,} of the language model did not"
)

# %%
untouched = all(
    torch.equal(a, b) for a, b in zip(model.lm.state_dict().values(), bare.lm.state_dict().values())
)
with torch.no_grad():
    text_only = torch.equal(model(text), bare.lm(text).logits)
print("language model bit-identical after training:", untouched)  # NBVAL_CHECK_OUTPUT
print(
    "text without a picture: the bare model's own answer, bit for bit:", text_only
)  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# What it says of things on backgrounds that training never combined:

# %%
some = [world.sample("test", index, 0, ONE_THING) for index in range(12)]
said = generate_captions(model, some)
right = [
    scene.words[0] in text.split() and scene.background in text.split()
    for scene, text in zip(some, said)
]
plots.show(
    plots.pictures(np.stack([world.render(scene, size) for scene in some]), said, right),
    credit=world.ATTRIBUTION,
)

# %% [markdown]
# ### Scores and controls
#
# **Blind**: every picture grey. **Shuffled**: each question meets the picture of another one. A model that scores as well on these has learnt captions, not pictures.

# %%
report = recipes.frozen.caption_report(model, count)
blind_report = recipes.frozen.caption_report(model, count, prompts.blank_images)
plots.show(
    plots.bars(
        {
            part: {
                "Frozen": report[part],
                "shown grey": blind_report[part],
                "chance": report[f"{part}, chance"],
            }
            for part in ("noun", "background")
        },
        "captions that name it rightly",
    )
)
print({name: round(value, 3) for name, value in report.items()})

# %% [markdown]
# ## 4. What does a frozen model lend to a picture?
#
# The encoder was trained on captions **only**. Everything else below comes from the language model, if it comes at all:
#
# - **Outside knowledge**: *what kind of thing is it? where can you find it? what is it for?* No caption says that. The language model read it.
# - **Fast binding**: *this is a dax, this is a wug, what is this?* The names mean nothing outside the prompt.
# - **Shots**: solved examples before the question.
#
# An interleaved prompt is nothing but text with more places. The encoder was trained with **one** picture a text; several work because the language model's positions are relative (rotary): a picture reads alike wherever it stands.

# %%
episode = naming_episodes(1, 1)[0]
page = " ".join(part if isinstance(part, str) else "[picture]" for part in episode.prompt)
print(page, "->", episode.answer)
plots.show(
    plots.pictures(
        np.stack([world.render(scene, size) for scene in world.pages.pictures_of(episode.prompt)]),
        ["first support", "second support", "which one is this?"],
    ),
    credit=world.ATTRIBUTION,
)

# %%
quiz("frozen.transfer")

# %%
kinds = ("what", "colour", "presence", "category", "place", "purpose")
table = {}
for kind in kinds:
    episodes = vqa_episodes(kind, 0, count)
    table[kind] = {
        "Frozen": episode_accuracy(model, episodes),
        "shown grey": episode_accuracy(model, episodes, prompts.blank_images),
        "shuffled pictures": episode_accuracy(model, episodes, shuffled=True),
        "chance": sum(1 / len(one.choices) for one in episodes) / len(episodes),
        "two right words": text_only_accuracy(bare, episodes),
    }
episodes = naming_episodes(1, count)
table["a new name\n(2 ways, 1 shot)"] = {
    "Frozen": episode_accuracy(model, episodes),
    "shown grey": episode_accuracy(model, episodes, prompts.blank_images),
    "shuffled pictures": episode_accuracy(model, episodes, shuffled=True),
    "chance": 0.5,
    "two right words": text_only_accuracy(bare, episodes),
}
plots.show(plots.bars(table, "right answers", sideways=True))

# %% [markdown]
# *what*, *colour* and *presence* could be read off the picture. *category*, *place* and *purpose* need what the language model knows. For the last bar it must connect three pictures and two invented names within one prompt. **Two right words** is the ceiling: the same language model reads "cat blue" in the place of the picture. What it can't answer even then, no encoder can make it answer.
#
# Ask it yourself: choose a picture, and any text to go on with.

# %%
pictures = [world.sample("test", 100 + index, 0, ONE_THING) for index in range(8)]


def after(number, text):
    return evaluation.next_token_probabilities(
        model, prompts.Prompts([(pictures[number], text)], size, IMAGE_PREFIX)
    )[0]


ask_player(
    after,
    np.stack([world.render(scene, size) for scene in pictures]),
    [
        "question : what kind of thing is the thing ? answer :",
        "question : where can you find the thing ? answer :",
        "a picture of",
        "question : what colour is the background ? answer :",
    ],
)

# %% [markdown]
# ## 5. The paper's table, all rows
#
# Seven systems, three seeds each, same steps and batches (made by `python -m benchmarks.replicate_frozen`). The rows differ in the language model (frozen; **finetuned** together with the encoder; **scratch**: never pretrained; **smaller**), in what is seen (**train-blind**: grey in training and test), and in what is read (**VQA**: questions in the place of captions; they never ask for knowledge; **VQA-blind**).

# %%
kept = evaluation.load_results("replicate_frozen")
systems = list(dict.fromkeys(run["row"] for run in kept["rows"]))
runs, SEE, KNOW = kept["rows"], ("what", "colour", "presence"), ("category", "place", "purpose")


def questions(system, kinds, shots):
    return evaluation.spread_over_seeds(runs, system, "questions", kinds, str(shots))


plots.show(
    plots.bars(
        {
            system: {
                "questions about what is seen": questions(system, SEE, 0),
                "outside knowledge": questions(system, KNOW, 0),
                "a new name, 1 shot": evaluation.spread_over_seeds(
                    runs, system, "naming", "1 shot"
                ),
            }
            for system in systems
        },
        "right answers, no solved example",
        sideways=True,
    )
)

# %%
shots = [int(number) for number in kept["rows"][0]["questions"]["what"]]
in_words = kept["words"]["questions"]
for title, group in (("questions about what is seen", SEE), ("outside knowledge", KNOW)):
    plots.show(
        plots.curves(
            {
                **{
                    system: {k: questions(system, group, k) for k in shots}
                    for system in ("Frozen", "finetuned", "train-blind")
                },
                "two right words": {
                    k: float(np.mean([in_words[kind][str(k)] for kind in group])) for k in shots
                },
            },
            "solved examples in the prompt",
            f"right answers: {title}",
            chance=float(np.mean([kept["chance"][kind] for kind in group])),
        )
    )

# %% [markdown]
# **Names from pictures.** How does fast binding change with the number of examples (*shots*: different pictures of each thing; *repeats*: the same ones again), with the number of names (*ways*), and without the sentence that says what is asked for (*induction*)?

# %%
ways_of_naming = list(kept["rows"][0]["naming"])
plots.show(
    plots.bars(
        {
            how: {
                system: evaluation.spread_over_seeds(runs, system, "naming", how)
                for system in ("Frozen", "finetuned", "train-blind")
            }
            for how in ways_of_naming
        },
        "right names (chance 1/2; with 5 ways 1/5)",
        sideways=True,
    )
)

# %% [markdown]
# ## 6. When does a frozen model lend its abilities?
#
# A picture's vectors are free: nothing makes them look like words. What decides whether the language model treats them as words? Look at what the encoder wrote. Left: the length of its vectors beside the lengths of the vectors of all words. Right: which words lie nearest (by cosine) to the two vectors of each picture.

# %%
words = model.lm.get_input_embeddings().weight.detach()
held_out = [world.sample("test", index, 0, ONE_THING) for index in range(count)]
with torch.no_grad():
    pixel_values = world.to_pixels(np.stack([world.render(scene, size) for scene in held_out]))
    written = model.encode_prefix(pixel_values).reshape(len(held_out), 2, -1)  # (N, n, D)
print(
    f"length of picture vectors {written.norm(dim=-1).mean():.2f} ± {written.norm(dim=-1).std():.2f}"
)
print(f"length of word vectors    {words.norm(dim=-1).mean():.2f} ± {words.norm(dim=-1).std():.2f}")
cosine = normalize(written, dim=-1) @ normalize(words, dim=-1).T  # (N, n, V)
for scene, row in list(zip(held_out, cosine))[:6]:
    near = [
        ", ".join(tokenizer.world_tokenizer().convert_ids_to_tokens(one.topk(3).indices.tolist()))
        for one in row
    ]
    print(f"{scene.words[0]} on {scene.background:8} first vector: {near[0]:40} second: {near[1]}")
number = torch.tensor([tokenizer.encode([scene.words[0]])[0, 1] for scene in held_out])
nearest = (cosine.argmax(-1) == number[:, None]).any(-1).float().mean().item()
print(
    f"the thing's own word is the nearest of {len(words)} to one of its two vectors: {nearest:.2f} of pictures"
)

# %% [markdown]
# ### When would the loss leave the right words alone?
#
# Put the two right words themselves in the place of the picture. If they are the best that can stand there, the loss has nothing to complain about, and its gradient at those places is about zero. Whether that is so depends on the **captions**: are they what the language model expects after such words? Below, captions as this course has them, and full captions ("a cat on a blue background") that end the text, as one would take them without thinking.


# %%
def at_right_words(caption, end):
    """Loss of a caption and length of the gradient at the picture's places, when the right words stand there."""
    pairs = world.Pairs("train", size, 0, ONE_THING, caption)
    batch = prompts.CaptionDataset(pairs, IMAGE_PREFIX).batch(range(count))
    if end:
        batch["loss_mask"] = batch["loss_mask"] | (batch["ids"] == tokenizer.EOS)
    own = tokenizer.encode(
        [f"{pairs.scene(index).words[0]} {pairs.scene(index).background}" for index in range(count)]
    )[:, 1:3]
    vectors = words[own].flatten(0, 1).requires_grad_()
    model.lm.zero_grad()
    loss = (
        model(batch["ids"], prefix=vectors)[:, :-1]
        .log_softmax(-1)
        .gather(2, batch["ids"][:, 1:, None])[..., 0]
    )
    loss = -(loss * batch["loss_mask"][:, 1:]).sum(1)  # nats a caption
    loss.sum().backward()
    return {
        "nats a caption": loss.mean().item(),
        "pull on each vector": vectors.grad.norm(dim=-1).mean().item(),
    }


plots.show(
    plots.bars(
        {
            "captions as in this course": at_right_words(descriptive_caption, False),
            "full captions that end the text": at_right_words(world.captions.detailed, True),
        },
        "nats, nats a unit of length",
        sideways=True,
    )
)

# %% [markdown]
# With the second kind of captions even the right words are pulled away hard: not because they name the wrong thing, but because the vectors must also make the language model expect *this kind of text*. That is prompt tuning (lesson 05) in disguise, it is the same for all pictures, and it drives the vectors away from words. The larger a language model, the more kinds of text it finds natural, and the weaker this pull.
#
# An experiment: the same language model and the same steps, but another start for the vectors, or other captions. Does the picture then stand for its words in *other* sentences, too? (`benchmarks/replicate_frozen.py`, part *lending*.)

# %%
lending = kept["lending"]
conditions = list(dict.fromkeys(run["condition"] for run in lending))


def under(condition, what):
    return evaluation.spread([run[what] for run in lending if run["condition"] == condition])


plots.show(
    plots.bars(
        {
            condition: {
                "noun in captions": under(condition, "noun"),
                "category (chance 1/13)": under(condition, "category"),
                "a new name (chance 1/2)": under(condition, "naming, no induction"),
                "own word nearest": under(condition, "own word nearest"),
            }
            for condition in conditions
        },
        "share",
        sideways=True,
    )
)

# %%
ours, *others = conditions
Markdown(
    f"*{ours}*: category questions {under(ours, 'category')}, a new name {under(ours, 'naming, no induction')}. "
    + " ".join(
        f"*{one}*: {under(one, 'category')} and {under(one, 'naming, no induction')}, with the noun in captions "
        f"{under(one, 'noun')} (here {under(ours, 'noun')})."
        for one in others
    )
    + " A picture's vectors are used like words as far as they **are** like words: in length, in direction, and in the "
    "sentences they were trained to stand in."
)

# %% [markdown]
# ## 7. A real language model
#
# Nothing above depends on our tiny model. `make pretrained` adds SmolLM2-135M (real weights, offline from then on); any decoder of the hub works the same way. The cells that need it say so where it isn't installed.
#
# Which page should its pictures stand in? With the two right words, "hammer green", in the place of the picture, SmolLM2 hardly ever goes on with the noun on our pages (`hammer green . a picture of a ...`), and mostly does on a page in plain English: `a drawing of hammer green . it is a drawing of a ...`. A frozen model lends what the *page* calls for, too.
#
# A step costs SmolLM2 about a hundred times what it costs the tiny model, so a plateau of a thousand steps is out of the question. We let one eye teach the other: our trained Frozen says two words of each picture (those nearest to its two vectors), and a matrix is found by least squares that comes closest to SmolLM2's embeddings of these words. No label, no caption, not one step of training through SmolLM2:

# %%
try:
    real, read = smollm2.smollm2() if scale.name != "smoke" else (None, None)
except ValueError as error:
    real, read = None, None
    print(error)
few = held_out[:64]


def said_by(eye, view=world.to_pixels):
    """Twelve captions beside their pictures, and how often 64 of them are right."""
    told = smollm2.generate_captions(eye, read, few, view)
    print(
        {
            name: round(value, 2)
            for name, value in evaluation.noun_and_background_accuracy(told, few).items()
        }
    )
    right = [scene.words[0] in text and scene.background in text for scene, text in zip(few, told)]
    images = np.stack([world.render(scene, size) for scene in few[:12]])
    plots.show(plots.pictures(images, told[:12], right[:12]), credit=world.ATTRIBUTION)


if real is not None:
    handed = smollm2.initialise_from(
        smollm2.new_encoder(real, read, scale),
        model,
        read,
        world.Pairs("train", size, 0, ONE_THING),
    ).eval()
    said_by(handed)

# %% [markdown]
# Worth a pause: no caption has been learnt, and what SmolLM2 makes of a picture's two vectors is its own English, often about the right thing, and with the right colour in the wrong place. From there `teaching.smollm2.train(scale)` goes on, through SmolLM2, with 160 steps of captions: about ten minutes on a quiet core. The course brings an encoder that has done so; then the same, shown grey:

# %%
if real is not None:
    practised = smollm2.trained(real, read, scale)
    said_by(practised)
    said_by(practised, prompts.blank_images)

# %% [markdown]
# On more pictures, and asked, after examples, or for names that nobody can know (`python -m benchmarks.replicate_frozen --only real`; one seed, 32 questions a bar, so a bar may be off by a tenth). *Described in words*: two right words stand in the place of each picture; no encoder could lend more.

# %%
real_kept = kept["real"]
plots.show(
    plots.bars(
        {
            who: {what: real_kept[f"captions{how}"][what] for what in ("noun", "background")}
            for who, how in {
                "handed over": ", before training",
                "trained through SmolLM2": "",
                "trained, shown grey": ", blind",
            }.items()
        },
        "captions that are right",
        sideways=True,
    )
)
plots.show(
    plots.bars(
        {
            name: {who: value for who, value in found.items() if who != "shuffled pictures"}
            for name, found in real_kept["answers"].items()
        },
        "right answers",
        sideways=True,
    )
)

# %% [markdown]
# What a real language model changes:
#
# - *Naming.* The eye that was handed over names 3 things in 10, after 160 steps through SmolLM2 it names 2 in 3; shown grey, none.
# - *Knowledge.* What kind of thing is it? No caption says so. With pictures SmolLM2 is right about as often as with two right words in their place: what it can lend to words, it lends to these vectors. Shown grey it guesses the commonest kinds. To *is there a ...?* it can't say yes or no from words either.
# - *Binding.* On our pages ("this is a vem .") SmolLM2 binds no names, be they given to pictures or to words: our tiny model grew up with such pages, this one didn't. On a page in plain English ("the [picture] is called vem .") it does after four examples, and as well with pictures as with words.
#
# So the answer of section 6 stands with real weights: a frozen model lends a picture what it would lend to the words in its place, **on a page that it can read**.

# %% [markdown]
# ## Exercise 1 · Put pictures between words
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | build the input of a frozen language model | ●●○○○ | ●●●●● | 10 |
#
# `words` (B, T, D) are embeddings of a text, `slots` (B, T) is True where a picture's vector belongs, `vectors` (slots, D) are those vectors in reading order. Return (B, T, D), and leave `words` as they are.


# %%
def my_interleave(words: torch.Tensor, slots: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError("return a copy of words whose slots hold the vectors.")


check("frozen.interleave", my_interleave)

# %% [markdown]
# <details><summary>Hint 1</summary>A boolean mask can be an index: <code>made[slots]</code> is all vectors at slots, in reading order.</details>
# <details><summary>Hint 2</summary>Assignment through an index changes the tensor itself. Whose rows are they?</details>
# <details><summary>If you see "shape mismatch: value tensor"</summary>There must be exactly one vector for each slot: <code>slots.sum() == len(vectors)</code>.</details>
# <details><summary>If you see "a view of a leaf Variable that requires grad is being used in an in-place operation"</summary>You are writing into an embedding table. Copy first.</details>
# <details><summary>Solution</summary>
#
# ```python
# def my_interleave(words, slots, vectors):
#     made = words.clone()
#     made[slots] = vectors
#     return made
# ```
# </details>
#
# The picture that the right answer gives: how long the vector at each position is, for one prompt; picture places are marked.

# %%
one = prompts.Prompts([naming_episodes(1, 1)[0].prompt], size, IMAGE_PREFIX).batch(
    range(len([naming_episodes(1, 1)[0].prompt]))
)
with torch.no_grad():
    x = model.embeddings(one["ids"], model.encode_prefix(one["pixel_values"]))[0].norm(dim=-1)
is_slot = (one["ids"][0] == model.config.image_token_id).tolist()
plots.show(
    plots.curves(
        {
            "words": {place: value.item() for place, value in enumerate(x) if not is_slot[place]},
            "pictures": {place: value.item() for place, value in enumerate(x) if is_slot[place]},
        },
        "position in the prompt",
        "length of the vector",
    )
)

# %% [markdown]
# ## Exercise 2 · What is asked for?
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | say which tokens the loss counts | ●●●○○ | ●●●●● | 15 |
#
# `ids` (B, T) are `<bos> image_token_id image_token_id . caption . <eos>`, padded. Return (B, T) booleans, True at the tokens that the caption loss asks for. The full stop after the slots is part of the prompt, the one after the caption is part of the caption. The end token isn't asked for: in the texts that the language model has read, more follows after a caption, and a picture would have to be unlike any words to announce an end (section 6).


# %%
def my_scored(ids: torch.Tensor, image_token_id: int, end: int, pad: int) -> torch.Tensor:
    raise NotImplementedError("return booleans: the caption with its full stop, nothing else.")


check("frozen.loss_mask", my_scored)

# %% [markdown]
# <details><summary>Hint 1</summary>Everything after the first full stop counts, up to the end token. Where is that full stop, seen from the last slot?</details>
# <details><summary>Hint 2</summary>A running count of slots, <code>(ids == slot).cumsum(1)</code>, tells how many came before; all positions after the last slot have the full count.</details>
# <details><summary>If you see "The size of tensor a must match"</summary>Compare with the count of the whole row, kept as a column: <code>.sum(1, keepdim=True)</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def my_scored(ids, slot, end, pad):
#     is_slot = ids == slot
#     after = is_slot.cumsum(1) == is_slot.sum(1, keepdim=True)  # from the last slot on
#     caption = after & ~is_slot & (ids != pad) & (ids != end)
#     first = caption.int().argmax(1, keepdim=True)  # the full stop
#     return caption & (torch.arange(ids.shape[1]) > first)
# ```
# </details>
#
# The picture that the right answer gives: the loss of each caption word, averaged over held-out captions. Which words are hard before the picture is understood, which are easy for anyone who speaks the language?

# %%
test = prompts.CaptionDataset(world.Pairs("test", size, 0, ONE_THING), IMAGE_PREFIX).batch(
    range(count)
)
with torch.no_grad():
    said = model(test["ids"], prefix=model.encode_prefix(test["pixel_values"]))[:, :-1].log_softmax(
        -1
    )
each = -said.gather(2, test["ids"][:, 1:, None])[..., 0]
nouns = {noun.word for noun in world.nouns()}


def kind_of(word):
    return (
        "things" if word in nouns else "backgrounds" if word in world.BACKGROUNDS else "other words"
    )


lost = {"things": [], "backgrounds": [], "other words": []}
for ids, asked_for, losses in zip(test["ids"][:, 1:], test["loss_mask"][:, 1:], each):
    spelled = tokenizer.world_tokenizer().convert_ids_to_tokens(ids[asked_for].tolist())
    for word, value in zip(spelled, losses[asked_for].tolist()):
        lost[kind_of(word)].append(value)
lost = {kind: {"nats a word": float(np.mean(values))} for kind, values in lost.items()}
plots.show(plots.bars(lost, "loss on held-out captions", sideways=True))

# %% [markdown]
# ## Exercise 3 · Freeze it for good
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | freeze a module so that it stays frozen, and still passes gradients on | ●●●○○ | ●●●●○ | 15 |
#
# Make `lm` (any module, here one with dropout) frozen: its parameters get no gradient, its dropout stays off even after somebody calls `system.train()` on a system that holds it, and gradients still reach its input. Change `lm` in place.


# %%
def my_freeze(lm: torch.nn.Module) -> None:
    raise NotImplementedError(
        "return nothing, but change lm: no gradient for parameters, evaluation mode for good."
    )


check("frozen.freeze", my_freeze)

# %% [markdown]
# <details><summary>Hint 1</summary><code>requires_grad_(False)</code> and <code>eval()</code> are two of three steps. The third is about <code>train</code>.</details>
# <details><summary>Hint 2</summary>A parent's <code>train()</code> calls <code>child.train(mode)</code>. An attribute of the object is found before the method of its class.</details>
# <details><summary>If you see "element 0 of tensors does not require grad"</summary>You cut the graph. No <code>no_grad</code>, no <code>detach</code>: only the parameters are frozen.</details>
# <details><summary>Solution</summary>
#
# ```python
# def my_freeze(lm):
#     lm.requires_grad_(False).eval()
#     for part in lm.modules():
#         part.train = lambda mode=True, part=part: part
# ```
# </details>
#
# The picture that the right answer gives: the length of the gradient that reaches each position of a caption prompt. It arrives at every position the caption depends on, the picture's two among them.

# %%
x = (
    model.embeddings(learn["ids"][:1], model.encode_prefix(learn["pixel_values"][:1]))
    .detach()
    .requires_grad_()
)
told = language.logits(model.lm, x)[:, :-1]
cross_entropy(
    told.flatten(0, 1),
    learn["ids"][:1, 1:].masked_fill(~learn["loss_mask"][:1, 1:], -100).flatten(),
).backward()
names = tokenizer.world_tokenizer().convert_ids_to_tokens(learn["ids"][0].tolist())
pulls = {
    f"{place} {name}": {"gradient": value.item()}
    for place, (name, value) in enumerate(zip(names, x.grad[0].norm(dim=-1)))
}
plots.show(plots.bars(pulls, "length of the gradient", sideways=True))

# %% [markdown]
# ## Failure lab · Three sick systems
#
# A healthy system and three with one fault each, trained a short while on the same data. The faults, in some order:
#
# - **blind**: all pictures were grey in training;
# - **thawed**: somebody forgot to freeze the language model;
# - **prompt**: the loss also counts the words of the prompt, which are the same for every picture.
#
# Look at the losses, at what each says of two pictures, and at what became of the language model's own reading of a text, before you look at the code.


# %%
class Counted:
    """Captions with a fixed sentence before them that is asked for as well: the fault called 'prompt'."""

    def batch(self, indices):
        pairs = train.pairs
        opening = (
            "this is a picture . you can see it . it is a nice picture . this picture is called"
        )
        said = [f"{opening} {pairs.text(index)}" for index in indices]
        return prompts.training_batch(
            [(pairs.scene(index),) for index in indices], said, size, IMAGE_PREFIX
        )


steps = 20 if scale.name == "smoke" else 400
faulty_systems = {
    "healthy": (train, True),
    "A": (recipes.frozen.caption_data(scale, view=prompts.blank_images), True),
    "B": (train, False),
    "C": (Counted(), True),
}
curves, rows = {}, []
probe = world.documents.Documents(split="test").batch(range(8))
two = [world.sample("test", index, 0, ONE_THING) for index in (3, 4)]
for name, (data, is_frozen) in faulty_systems.items():
    patient_lm = copy.deepcopy(bare.lm)
    patient_lm = language.freeze(patient_lm) if is_frozen else patient_lm.requires_grad_(True)
    faulty_model = recipes.frozen.new_frozen(
        recipes.frozen.frozen_config(scale),
        patient_lm,
        0,
        recipes.frozen.mean_noun_and_background(patient_lm),
    )
    curves[name] = list(fit(faulty_model, Batches(data.batch, 32), steps, FROZEN_OPTIMISATION))
    with torch.no_grad():
        reading = language.LanguageModel(faulty_model.lm).losses(probe)["lm"].item()
    told = generate_captions(faulty_model, two)
    rows.append(f"| {name} | {reading:.2f} | {told[0]} | {told[1]} |")
plots.show(plots.loss(curves))
told = [f"{scene.words[0]} on {scene.background}" for scene in two]
Markdown(
    "\n".join(
        [
            f"| system | loss on texts without pictures | says of: {told[0]} | says of: {told[1]} |",
            "|---|---|---|---|",
            *rows,
        ]
    )
)

# %%
diagnose("frozen.training", {"A": None, "B": None, "C": None})

# %% [markdown]
# <details><summary>Solution</summary>
#
# `{"A": "blind", "B": "thawed", "C": "prompt"}`. A's loss stays where the language alone gets it: the things it names have nothing to do with the pictures. B has the lowest loss, and its language model no longer reads texts as it did: its loss on them is several times as high. C has by far the highest: most of what it is asked for is a sentence that this language model never expects, the same for every picture, and the vectors are busy with announcing it. What comes after, the picture, hardly counts.
# </details>

# %% [markdown]
# ## The paper beside ours
#
# Reduced-scale twins: other pictures, a language model ten thousand times smaller, closed vocabularies. Compare *directions*. Each line is computed from the kept runs; **no** is an answer, too.

# %%
known = {system: questions(system, KNOW, 0).mean for system in systems}
seen = {system: questions(system, SEE, 0).mean for system in systems}
gain = {
    system: questions(system, SEE + KNOW, 4).mean - questions(system, SEE + KNOW, 0).mean
    for system in systems
}
loss = {
    system: evaluation.spread_over_seeds(runs, system, "training loss").mean for system in systems
}
bound = evaluation.spread_over_seeds(runs, "Frozen", "naming", "1 shot, no induction")
claims = [
    (
        "more solved examples, better answers (Table 1: 29.5, 35.7, 38.2 with 0, 1, 4)",
        f"0 examples {questions('Frozen', SEE + KNOW, 0)}, 4 examples {questions('Frozen', SEE + KNOW, 4)}",
        gain["Frozen"] > 0,
    ),
    (
        "finetuning the language model: lower training loss ...",
        f"frozen {loss['Frozen']:.3f}, finetuned {loss['finetuned']:.3f}",
        loss["finetuned"] < loss["Frozen"],
    ),
    (
        "... but less from examples (29.5 to 38.2 against 24.0 to 29.2)",
        f"gain of 4 examples: frozen {gain['Frozen']:+.3f}, finetuned {gain['finetuned']:+.3f}",
        gain["finetuned"] < gain["Frozen"],
    ),
    (
        "a language model that was never pretrained has nothing to lend (0)",
        f"outside knowledge: frozen {known['Frozen']:.3f}, scratch {known['scratch']:.3f}",
        known["scratch"] < known["Frozen"],
    ),
    (
        "outside knowledge from caption training alone, above train-blind (Table 2)",
        f"Frozen {known['Frozen']:.3f}, train-blind {known['train-blind']:.3f}",
        known["Frozen"] > known["train-blind"] + 0.02,
    ),
    (
        "a smaller language model knows less (Table 2, 400 M)",
        f"Frozen {known['Frozen']:.3f}, smaller {known['smaller LM']:.3f}",
        known["smaller LM"] < known["Frozen"],
    ),
    (
        "new names are bound to pictures (Table 3)",
        f"1 shot, 2 ways: {bound}, chance 0.5",
        bound.mean > 0.55,
    ),
    (
        "more pictures of each name, better names (Table 3: shots)",
        f"1 shot {evaluation.spread_over_seeds(runs, 'Frozen', 'naming', '1 shot')}, 4 shots {evaluation.spread_over_seeds(runs, 'Frozen', 'naming', '4 shots')} "
        f"(train-blind {evaluation.spread_over_seeds(runs, 'train-blind', 'naming', '4 shots')})",
        evaluation.spread_over_seeds(runs, "Frozen", "naming", "4 shots").mean
        > evaluation.spread_over_seeds(runs, "Frozen", "naming", "1 shot").mean + 0.05,
    ),
    (
        "saying first which names are meant helps (Table 3, task induction)",
        f"with it {evaluation.spread_over_seeds(runs, 'Frozen', 'naming', '1 shot')}, without {bound}",
        evaluation.spread_over_seeds(runs, "Frozen", "naming", "1 shot").mean > bound.mean,
    ),
    (
        "trained on questions, better on such questions",
        f"VQA {seen['VQA']:.3f}, captions only {seen['Frozen']:.3f}",
        seen["VQA"] > seen["Frozen"],
    ),
]
Markdown(
    "\n".join(
        [
            "| the paper says | ours (three seeds) | same direction? |",
            "|---|---|---|",
            *(
                f"| {claim} | {ours} | {'yes' if agrees else '**no**'} |"
                for claim, ours, agrees in claims
            ),
        ]
    )
)

# %% [markdown]
# Where ours disagrees, and why:
#
# - *Shots.* Look at the curves of section 5: with **two right words** in the place of each picture, the same language model gets worse with solved examples, too. Its texts held no long series of questions, and what it can't do with words it can't do with pictures. The paper's seven billion parameters had read such series.
# - *New names.* They are bound, and more examples bind them better, as in the paper. But with a single example behind "answer with dax or wug." the answers fall to chance, while without that sentence they don't. Words would bear it (the last bar of section 4); vectors that are only nearly words don't. In the paper, the same sentence helps.
# - *Finetuning.* It has the lowest loss and the best captions, and it has forgotten what it knew: fewer answers about outside knowledge than chance would give. That is the paper's argument for freezing, sharper than in the paper. One of the three seeds never learnt its nouns at all; the spread shows it.
#
# ## Going on
#
# - Limits: two vectors hold one thing and its background; a scene of four things does not fit. Lesson 10's Q-Former asks 32 questions of a picture; lesson 11's Flamingo lets every word look back at it.
# - Read: the paper's Sections 3 and 4, and its appendix on the controls; *LiMBeR* (2209.15162), which trains the matrix alone; *ClipCap* (2111.09734), which is often called Frozen and isn't: it tunes the language model, too.
# - Try: `recipes.get("frozen").train_or_load(scale, prefix_length=1)` or `prefix_length=4`; another language model, `language.load(...)`.
# - Next: **lesson 08**, where one transformer plays three roles (BLIP).
