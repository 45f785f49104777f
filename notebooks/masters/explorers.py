# %% [markdown]
# # Explorers: play with every model of the course
#
# Eight things to play with, and a model to watch while it learns. Each shows real modules, masks and trained stages; each can be reached by keyboard (Tab, arrows, typing) and by touch, and says in words what it shows. None needs a kernel: all are alive on the course's site, with what was saved when the page was made. With a kernel they take any text and any picture.
#
# The trained stages come with the course. At scale `smoke` they are trained in a minute, and are toys that have learnt next to nothing. The line below says which scale made this page.

# %%
import math

from IPython.display import Markdown
from teaching import explorer_attention, explorer_flamingo, explorer_models
from vlmcourse import evaluation, plots, recipes, world
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.widgets import explorers
from vlmcourse.widgets.explorers.gates import Replay

scale = Scale.of()
size = scale.image_size
scenes = [world.sample("test", index, 0, (1, 1)) for index in range(16)]
images = world.Pairs("test", size, things=(1, 1)).images(range(8))
captions = [
    f"a picture of {world.article(scene.words[0])} on {scene.background}" for scene in scenes[:8]
]
print(f"scale {scale.name}: pictures of {size} x {size} pixels")

# %% [markdown]
# ## Masks
#
# A blue cell: this word (left, the query) may read that word (top, the key). Each mask of the course compares one or two integers of a query with those of a key; padding asks the key alone.
#
# 1. Choose a mask, write your own words, and point at a row: which keys may it attend to?
# 2. Click a column to change what its key holds: which outputs move?
# 3. Let the computation lie in one cell, and find it.

# %%
explorers.mask_explorer()

# %% [markdown]
# ## CLIP
#
# CLIP compares a picture with texts. Three views:
#
# 1. Classes: choose a picture, type classes, change the prompt and the scale (1 / temperature). What can the scale change, what can't it?
# 2. Similarity matrix: point at a picture and a caption. At which scale do the wrong captions go out?
# 3. Modality gap: close the gap between pictures and captions, then make it 3, 5 and 7 times as wide. Which search suffers, and which doesn't mind?

# %%
clip = recipes.get("clip").train_or_load(scale).model
shown = world.Pairs("test", size, things=(1, 2))
explorers.clip_playground(clip, shown)

# %% [markdown]
# ## Sampling
#
# Each column holds the likeliest next words after those to its left. The small model has read only the course's captions, questions and made-up names (vem, pilk); a text ends with its full stop.

# %%
explorers.sampling_explorer(recipes.get("language").train_or_load(scale).model)

# %% [markdown]
# ## Gates
#
# How Flamingo's gates opened while it trained: drag the line, point at a curve, or press Play. Or set them yourself: all by one factor, or a single gate by hand (with a kernel: any gates together, any text). The trained model speaks of five pictures with its gates where they then are. Guess before you look:
#
# 1. What will it say of the five pictures with all gates closed?
# 2. Frame the pizza and read the marks under the loss. As the gates open (all other weights are those of the end), does the thing or the background become right first, and by how many saved steps? And for the train? Count filled marks only: after a hollow one the next saved step is wrong again.
# 3. Close all gates, then put one on its dotted mark, where training left it. Which gate alone names the most of the five things (lesson 11)? With a feed-forward gate alone, does the sentence change with the picture? Why not?
# 4. "Who learns": with all gates closed, which parameters get a gradient, and how many times as large is the gates' own as at the end of training?

# %%
trained = recipes.get("flamingo").train_or_load(scale)
flamingo = trained.model.model
pages = explorer_flamingo.gate_pages(trained, scale)
alone = {scene.words[0]: scene for scene in scenes if world.article(scene.words[0])[:2] == "a "}
shown = list(alone.values())[:5]
explorers.gate_explorer(
    flamingo,
    Replay(**explorer_flamingo.gate_trace(trained, pages)),
    explorer_flamingo.continuation_function(flamingo, shown, size),
    shown,
    pages,
)

# %% [markdown]
# ## Few shots
#
# Drag pictures into a prompt and give them names that mean nothing elsewhere; the last picture is asked about. The small numbers say which picture each word attends to. The grey bars are the control: the same words without the examples' pictures. Before you look: what should they show if the names are learnt from the pictures? Then exchange the names. Does one example suffice? And what if both examples show the same thing under two names? What does the model call a thing that has no name in the prompt, and does it say the same of another picture of it? With a kernel: more examples, other things, other names.

# %%
explorers.few_shot_builder(explorer_flamingo.naming_function(flamingo, size))

# %% [markdown]
# ## Attention over the image
#
# Point at a word, a layer and a head: blue squares are where the model looks, darker is more. Point at a square: bars under the words say which of them use it. "Covering" measures something else: how much less probable a word becomes when a square is grey. Frozen has only this map, for its picture is two vectors by then.
#
# 1. Press "Guess first" and choose another picture. Then click the square to which BLIP gives most weight before it names the thing.
# 2. Walk through BLIP's words under the train. At which words does it look at the train? Does it still, once it has read "train"?
# 3. Find a head with nearly all of its weight on one square, and one that looks at no square.
# 4. Flamingo, the umbrella, the word "an": one square of the umbrella gets no weight. Guess what covering it does to "an" and to "umbrella", then press "covering" and point at it.

# %%
attention = explorer_models.attention_functions(scale)
attention = {name: attention[name] for name in ("BLIP", "Flamingo", "BLIP-2", "Frozen", "CLIP")}
umbrella, *others = range(8)
train = others.pop(4)  # BLIP's clearest map comes first; what Flamingo's goes around, last
shown = [train, *others, umbrella]
texts = [captions[index] for index in shown]
explorers.attention_explorer(
    attention, images[shown], texts, explorer_models.covering_functions(scale)
)

# %% [markdown]
# Do the maps point at the thing? We take the mean over layers and heads, at the noun and at the word before it; for BLIP-2, which has no words here, the mean over all queries. The weight is the share of the map that lies on the thing's squares. The brightest square is the share of pictures in which that square is one of the thing's. The dashed line is what a map that knows nothing would reach: the share of squares that are the thing's.

# %%
points = {
    name: explorer_models.pointing_scores(
        maps_of, [world.sample("test", index, 0, (1, 1)) for index in range(24)], size
    )
    for name, maps_of in attention.items()
}
chance = max(scores.pop("by chance") for scores in points.values())  # the same for all
plots.show(plots.bars(points, "share (24 held-out pictures)", chance, sideways=True, form=".2f"))

# %% [markdown]
# At scale `laptop` the brightest square of BLIP-2, Flamingo and BLIP is nearly always on the thing, even where little more weight lies there than an equal share would give: attention that is trained through its words finds the thing, and a part of it is spread evenly. BLIP looks at the thing before it says the noun: at the article three quarters of its weight on squares lie there, and after the noun hardly more than an equal share. Flamingo has more at the noun. CLIP's weight is below the share of knowing nothing at the noun, though its brightest square does better: only its class token was trained to agree with texts, so a patch may have a smaller cosine with the word exactly where the thing is. And for Frozen a covered background costs about as much as a covered thing, because both change the two vectors into which the whole picture went.
#
# And the umbrella? In the last layer of Flamingo's resampler, which the map shows, no latent reads the square at row 3, column 3. So the square is empty at every word. Yet covering it makes "an" much less probable. Is the map wrong? We try four changes.

# %%
Markdown(explorer_attention.left_out_table(flamingo, scenes[0], size))

# %% [markdown]
# Taking the square's vector away from all layers changes nothing, so the map is right about this vector. But grey pixels change the other vectors too, for the vision encoder's self-attention has mixed all squares before Flamingo looks. With the other vectors of the grey picture, "an" falls as far as when the square is covered, though the square's own vector is untouched. And the class token, which the map doesn't show, matters most. So an attention map says which vectors are read. It doesn't say which pixels count: to know that, change the pixels.
#
# Why at "an" and not at "umbrella"? At "an" the model chooses the thing. With the square covered, "some" gains most (this world has "some grapes"). At "umbrella" the text already says "an", which leaves few nouns, so the rest of the picture suffices.

# %% [markdown]
# ## CapFilt's threshold
#
# Captions as from the web: about three in ten belong to another picture. Here is what BLIP's matching head makes of them. Drag the line: what lies left of it is thrown out. What does the default of .5 cost, and what a threshold of .1? Point at the true captions that .5 loses: what do they have in common? "Noise" is another picture's caption; in our made world we know which those are, but such a caption may fit by chance. Find the noisy square far to the right and look at its picture: who is right, the filter or the count? (CapFilt's filter is this head, finetuned; lesson 08's BLIP is used as it is.)

# %%
blip = explorer_models.MODELS["BLIP"].load(scale)
explorers.threshold_explorer(*explorer_models.noisy_captions(blip, scale))

# %% [markdown]
# ## A scene of your own
#
# A cat and a car, at five places, on any background (with a kernel: any things, anywhere, at any size): drag them and compare what each model says first. Flamingo, BLIP-2, BLIP and Frozen go on with words; CLIP chooses among three texts: a cat, a car, a dog.
#
# 1. Guess, then read it from the bars: which models never say car first, on any background? Which says it more often than cat, and on which backgrounds? The cat's drawing covers more of the picture than the car's, so size alone may decide.
# 2. Which changes its first word when cat and car change places? Does the background matter?
# 3. Put the cat in the middle and the car at bottom right: they overlap, the car in front. What do the models see now?
# 4. With a kernel: make the car the larger of the two. Which models still say cat first?

# %%
explorers.scene_maker(
    explorer_models.answer_functions(scale), texts={"CLIP": "a cat, a car, a dog"}
)

# %% [markdown]
# ## Watch a model learn
#
# The live view: `draw.Live` is told each step. It draws the curve, the time that is left, and, below, samples of what the model makes of something by now; in a terminal it is a progress bar. Here a small CLIP starts from nothing. Before you run: of thing, place and background, what will it tell apart first?

# %%
small = Scale.of("smoke")
learner = recipes.clip.new_clip(recipes.clip.clip_config(small))
held_out = world.Pairs("test", 32, things=(1, 1))
backgrounds = [scene.background for scene in held_out.scenes(range(99))]
six = [backgrounds.index(colour) for colour in list(world.BACKGROUNDS)[:6]]
new = held_out.batch(six)


def samples():
    """Six new pictures, each on another background, and their captions."""
    with evaluation.eval_mode(learner):
        logits = learner.logits(new["pixel_values"], new["ids"])
    return plots.similarity(held_out.images(six), new["text"], logits, "logit")


batches = Batches(recipes.clip.training_pairs(small).batch, 64)
live = plots.LiveCurve(chance=math.log(64), chance_name="knows nothing: ln 64", samples=samples)
for step in fit(learner, batches, steps=120, optimisation=Optimisation(2e-3)):
    live(step)
