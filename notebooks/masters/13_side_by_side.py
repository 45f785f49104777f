# %% [markdown]
# # 13 · Side by side, and what they can't do
#
# **After this lesson you can** build the smallest bridge from a picture to a language model in ten lines; compare five ways of bridging on equal terms, and say what is not equal; measure hallucination so that a model which always says yes doesn't win; spoil a prompt in six ways to find out whether its examples teach a task or only name it; and say, of each failure, which part of the system is to blame.
#
# | | |
# |---|---|
# | You need | lessons 02 (CLIP), 04 (the language model), 05 to 08 (Frozen, BLIP, BLIP-2, Flamingo); 01 and 03 help |
# | Time | about 100 minutes to work through; running all cells takes about 20 minutes on 2 cores the first time (when CLIP, the language model and lesson 11's Flamingo are in the cache), most of it training six systems; then 4; 2 GB of memory |
# | Papers | POPE: Li et al. 2023, *Evaluating Object Hallucination in Large Vision-Language Models*, [arXiv 2305.10355](https://arxiv.org/abs/2305.10355). Min et al. 2022, *Rethinking the Role of Demonstrations*, [2202.12837](https://arxiv.org/abs/2202.12837). ClipCap: Mokady et al. 2021, [2111.09734](https://arxiv.org/abs/2111.09734). LiMBeR: Merullo et al. 2022, [2209.15162](https://arxiv.org/abs/2209.15162) |
# | Course code | `notebooks/teaching/connectors.py`, `evaluation/interface.py`, `lab/world/co_occurrence.py`, `world/corruptions.py`, `lab/evaluate/few_shot_eval.py` |
#
# Letters for axes: **B** batch, **T** text tokens, **P** patches, **D** width, **M** pictures, **N** questions, **C** choices.

# %%
import numpy as np
import torch
from IPython.display import Markdown
from torch import nn

from teaching import connectors
from teaching.exercises import check, diagnose, quiz
from teaching.side_by_side import faulty_systems, presence_player
from vlmcourse import evaluation, introspection, plots, recipes, world
from vlmcourse.evaluation import hallucination, interface, prompting
from vlmcourse.parts import language
from vlmcourse.training.scale import Scale
from vlmcourse.world import co_occurrence, corruptions, few_shot, pages, prompts, tokenizer

scale = Scale.of()
size = scale.image_size
small_run = scale.name == "smoke"  # the course's own tests run this page in seconds
count = 16 if small_run else 128
few = 8 if small_run else 48
_ = torch.manual_seed(0)

# %% [markdown]
# ## The question
#
# Every paper of lessons 07 to 11 compares itself with the others by its own pictures, its own language model, its own budget. Then a table shows who is better, and nobody knows why. So first: **what does the bridge itself contribute**, when pictures, captions, language model, steps, batches and seeds are the same? And second, the question that the lecture ends with: a system that answers well from a few examples, **has it learnt a task from them, or only found one it knew? Does it look at the pictures at all?** Both are questions about *controls*, not about scores.
#
# ## 1. What stands between
#
# On the left a picture, on the right a language model that never changes. Six systems, and what each puts between them:
#
# | system | what the language model gets of a picture | what learns | papers |
# |---|---|---|---|
# | CLIP + linear map | two vectors in the place of two words | one matrix behind CLIP's frozen summary | LiMBeR |
# | CLIP + MLP | the same | the same with one hidden layer | ClipCap (which by default tunes the language model, too) |
# | Frozen | the same | a whole image tower, from nothing | lesson 07 |
# | BLIP | nothing: there is no language model | a decoder of its own, from nothing, and CLIP's tower, which learns on | lesson 08 |
# | BLIP-2 | several vectors, of queries that looked at all patches | a Q-Former and a matrix, in two stages | lesson 10 |
# | Flamingo | nothing in the text; every word may look aside, in each layer | resampler, gated blocks | lesson 11 |
#
# The table is a claim. Let the systems say it themselves: parameters that learn, and places that a picture takes in the text.

# %%
shore = connectors.frozen_parts(
    scale
)  # CLIP's tower and the language model, both frozen: trained now, or found
pictures = shore.pictures
print(
    "the banks, frozen:",
    not any(
        p.requires_grad for part in (shore.vision, shore.tower, shore.lm) for p in part.parameters()
    ),
)  # NBVAL_CHECK_OUTPUT
print(
    f"budget: {shore.steps} steps of {shore.budget.batch} pictures, out of {shore.budget.pictures:,} different ones"
)

# %% [markdown]
# ### The same pictures for all, with co_occurrence
#
# On the web forks come with knives, and there are more dogs than accordions. Whoever learns from such pictures can *guess*. So that guessing can be caught, these pictures have co_occurrence that we know: one noun in nine is shown far more often than the rest, everything has a **companion** that stands beside it three times in five when two things are shown, and one picture in twenty is a sign with digits. The test has no such co_occurrence.

# %%
shown = [pictures.scene(index) for index in range(12)]
plots.show(
    plots.pictures(
        np.stack([co_occurrence.render_picture(one, size) for one in shown]),
        [pictures.text(index) for index in range(12)],
    ),
    credit=world.ATTRIBUTION,
)
print("shown often:", ", ".join(co_occurrence.popular_nouns()[:6]), "...")
print(
    "companions:",
    ", ".join(
        f"{word} and {co_occurrence.companion(word)}" for word in co_occurrence.popular_nouns()[:4]
    ),
    "...",
)

# %% [markdown]
# ## 2. The smallest bridge, by hand
#
# CLIP has a vector for the whole picture. A language model reads vectors. How far do we get with **one matrix** between? Ten lines: normalise CLIP's summary, multiply, add it to where the words are on average, and let the language model go on.


# %%
class ByHand(nn.Module):
    """pixels -> CLIP's summary -> two vectors -> a frozen language model."""

    def __init__(self, vision, lm, start, residual_scale):
        super().__init__()
        self.vision, self.lm, self.start, self.residual_scale = vision, lm, start, residual_scale
        self.norm = nn.BatchNorm1d(vision.width, affine=False)
        self.map = nn.Linear(vision.width, start.numel())

    def vectors(self, pixel_values):  # (M, 3, S, S) -> (M, 2, D)
        summary = self.norm(self.vision(pixel_values))
        return self.start + self.residual_scale * self.map(summary).reshape(
            len(pixel_values), *self.start.shape
        )

    def forward(
        self, pixel_values, ids
    ):  # text after the picture's two places and a full stop -> logits (M, 3 + T, V)
        stop = tokenizer.encode(["."])[:, 1:2].expand(len(pixel_values), 1)
        begin = torch.full_like(stop, tokenizer.BOS)
        words = [language.embed(self.lm, part) for part in (begin, torch.cat([stop, ids], 1))]
        return self.lm(
            inputs_embeds=torch.cat([words[0], self.vectors(pixel_values), words[1]], 1)
        ).logits


package = connectors.new_prefix(shore).eval()
mine = ByHand(shore.vision, shore.lm, package.start, package.residual_scale).eval()
mine.map.load_state_dict(package.language_projection.state_dict())
made = connectors.CaptionDataset(pictures).batch(range(4))
with torch.no_grad():
    text = tokenizer.encode(["a picture of a cat"])[:, 1:-1].expand(4, -1)
    whole = tokenizer.encode(["<image> <image> . a picture of a cat"])[:, :-1].expand(4, -1)
    theirs = package(whole, prefix=package.encode_prefix(made["pixel_values"]))
    assert torch.allclose(mine(made["pixel_values"], text), theirs, atol=1e-4)
print("by hand == Frozen with a tower that stays")  # NBVAL_CHECK_OUTPUT
learns = sum(p.numel() for p in package.parameters() if p.requires_grad)
print(
    "all that learns is the matrix:", learns == sum(p.numel() for p in mine.map.parameters())
)  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# So this bridge is Frozen with another tower: one that has learnt, and stays. (Calling *this* Frozen is a common mistake: in Frozen the tower learns, through the language model.) Now train all six, or find them trained. Each has the learning rate of its lesson, and the maps the best of a few; everything else is the same.

# %%
systems = {}
for name, make in connectors.ALL.items():
    bridge = make(shore)
    systems[bridge.name] = bridge
speak = {
    name: bridge
    for name, bridge in systems.items()
    if not isinstance(bridge, interface.SinglePictureModel)
}  # to a language model
looks = {
    name: bridge.image_prefix.count("<image>") if name != "BLIP" else 0
    for name, bridge in systems.items()
}
Markdown(
    "\n".join(
        [
            "| system | parameters that learn | places in the text | seconds of training |",
            "|---|---|---|---|",
        ]
        + [
            f"| {name} | {bridge.trained_parameters / 1e3:,.0f} k | {looks[name]} | "
            f"{sum(step.seconds for step in bridge.steps if step.step == step.steps):.0f} |"
            for name, bridge in systems.items()
        ]
    )
)

# %%
words_lost = {
    name: [step for step in bridge.steps if not {"itc", "itm"} & set(step.losses)]
    for name, bridge in systems.items()
}
plots.show(plots.loss({name: steps for name, steps in words_lost.items() if steps}))

# %% [markdown]
# (Loss per caption word; BLIP and stage 1 of BLIP-2 add other losses, so they are left out. BLIP-2's curve ends in the middle: the other half of its steps was stage 1, before it.)
#
# ## 3. What do they say?
#
# Held-out scenes: things and backgrounds that training never combined.

# %%
one = [world.sample("test", index, 0, (1, 1)) for index in range(count)]
two = [world.sample("test", index, 0, (2, 2)) for index in range(count)]
for scene in (one[0], two[0]):
    said = {name: bridge.captions([scene])[0] for name, bridge in systems.items()}
    plots.show(
        plots.pictures(
            np.stack([world.render(scene, size)] * len(said)),
            [f"{name}: {text}" for name, text in said.items()],
            [set(scene.words) <= set(text.split()) for text in said.values()],
        ),
        credit=world.ATTRIBUTION,
    )

# %%
quiz("side_by_side.linear_map")

# %%
clip = recipes.get("clip").train_or_load(scale).model
_, pixel_values, labels = recipes.clip.single_things(size, count)
with torch.no_grad():
    by_comparing = evaluation.accuracy(
        evaluation.zero_shot(clip.encode_image(pixel_values), recipes.clip.noun_classes(clip)),
        labels,
    )
named = {
    "CLIP alone, by comparing": {
        "right noun": by_comparing,
        "shown grey": 1 / len(world.known_nouns()),
    }
}
for name, bridge in systems.items():
    named[name] = {
        "right noun": evaluation.noun_accuracy(bridge.captions(one), one),
        "shown grey": evaluation.noun_accuracy(bridge.captions(one, prompts.blank_images), one),
    }
plots.show(
    plots.bars(
        named, "captions that name the thing", chance=1 / len(world.known_nouns()), sideways=True
    )
)

# %% [markdown]
# Is it the training, or the matrix? Tell it the right words: least squares finds at once the matrix that comes closest to the embedding of each picture's noun.

# %%
prefix = systems["CLIP + linear map"].model
table_of_words = prefix.lm.get_input_embeddings().weight.detach()


def word(scene):
    return table_of_words[tokenizer.encode([scene.words[0]])[0, 1]]


def summaries(scenes):
    """(N, D + 1): what the bridge reads of each scene, and a 1 for the bias."""
    images = np.stack([world.render(scene, size) for scene in scenes])
    with torch.no_grad():
        seen = torch.cat(
            [prefix.norm(prefix.vision(part)) for part in world.to_pixels(images).split(256)]
        )
    return nn.functional.pad(seen, (0, 1), value=1.0)


told = [
    scene
    for scene in map(pictures.scene, range(200 if small_run else 6000))
    if isinstance(scene, world.Scene) and len(scene.words) == 1
]
wanted = torch.stack([word(scene) for scene in told])
matrix = torch.linalg.lstsq(summaries(told), wanted).solution
missed = (summaries(told) @ matrix - wanted).square().mean() / (
    wanted - wanted.mean(0)
).square().mean()
nouns = world.known_nouns()
their_words = nn.functional.normalize(table_of_words[tokenizer.encode(nouns)[:, 1]], dim=-1)
nearest = (nn.functional.normalize(summaries(one) @ matrix, dim=-1) @ their_words.T).argmax(-1)
print(
    f"the best matrix explains {1 - missed:.0%} of how words differ; on held-out pictures the right noun is the nearest word "
    f"{np.mean([nouns[number] == scene.words[0] for number, scene in zip(nearest.tolist(), one)]):.0%} of the time"
)

# %% [markdown]
# Both, perhaps. The matrix that comes nearest to the words finds the right noun every second time, twice as often as the trained one: captions, which never say *which* vector would be right, lead training to a worse one. Nearest in distance is not most often right, so this is no upper bound; but it is far from nine in ten, which a hidden layer reaches, for it can bend the map.
#
# "Worse than contrastive models in classification" is on the lecture's list of Flamingo's limits. Here it is a fact about *all* bridges: for a question with a known list of answers, compare; don't let it speak.
#
# And of what captions name, how much is **not there at all**? In our world that can be counted exactly (CHAIR, the usual measure, needs a list of synonyms).

# %%
invented_share = {
    name: hallucination.hallucinated_nouns(bridge.captions(two), two)
    for name, bridge in systems.items()
}
plots.show(plots.bars(invented_share, "invented", sideways=True))

# %% [markdown]
# ## 4. Hallucination: is there a ... ?
#
# POPE asks yes-or-no questions, as many with yes as with no, and the trick is in the *no*: a thing at **random**, a **popular** one, or an **adversarial** one, which often stands beside what is there. Accuracy, precision, recall and F1 aren't enough; a fifth number, the **yes-ratio**, tells why.

# %%
asked = {
    name: corruptions.presence_questions(absent, 3) for name, absent in corruptions.ABSENT.items()
}
for name, episodes in asked.items():
    scene = episodes[1].prompt[0]
    print(
        f"{name:12} on the picture: {' and '.join(scene.words):24} {episodes[1].prompt[1]} {episodes[1].answer}"
    )

# %%
quiz("side_by_side.always_yes")

# %%
asked_systems = {**systems, "BLIP, by match": interface.matching_model(systems["BLIP"])}
pope_scores = {
    name: hallucination.hallucination_scores(bridge.choose, count)
    for name, bridge in asked_systems.items()
}
plots.show(
    plots.bars(
        {
            name: {kind: scores.accuracy for kind, scores in found.items()}
            for name, found in pope_scores.items()
        },
        "accuracy",
        chance=0.5,
        sideways=True,
    )
)
Markdown(
    "\n".join(
        [
            "| system | questions | accuracy | precision | recall | F1 | yes-ratio |",
            "|---|---|---|---|---|---|---|",
        ]
        + [
            f"| {name} | {kind} | {s.accuracy:.2f} | {s.precision:.2f} | {s.recall:.2f} | {s.f1:.2f} | {s.yes:.2f} |"
            for name, found in pope_scores.items()
            for kind, s in found.items()
        ]
        + ["| *always yes* | *any* | *0.50* | *0.50* | *1.00* | *0.67* | *1.00* |"]
    )
)

# %% [markdown]
# Ask them yourself. The description says whether the thing is there, or only its companion.


# %%
def probability_of_yes(bridge):
    """(scene, noun) -> probability of yes, of yes and no."""
    two_ids = tokenizer.encode(["yes", "no"])[:, 1]

    def of(scene, word):
        made = bridge.prompts(
            [(scene, f"question : is there {world.article(word)} ? answer :")]
        ).batch([0])
        with evaluation.eval_mode(bridge.model):
            ids, real = (
                made["ids"],
                {}
                if isinstance(bridge, interface.SinglePictureModel)
                else {"padding_mask": made["padding_mask"]},
            )
            ids = (
                ids
                if real
                else tokenizer.encode([f"question : is there {world.article(word)} ? answer :"])[
                    :, :-1
                ]
            )
            said = bridge.model(ids, **bridge.model.vision_context(made["pixel_values"]), **real)[
                0, -1, two_ids
            ]
        return said.softmax(-1)[0].item()

    return of


presence_player({name: probability_of_yes(bridge) for name, bridge in systems.items()}, two[:6])

# %% [markdown]
# ## 5. Where does the answer come from?
#
# A fluent answer proves nothing: which part of the picture is it made of? Cover squares of the picture with grey and see by how much the log-probability of the right noun falls. The same cause-measuring question for every system, whatever is inside.

# %%
scene = one[1]
shown = world.to_pixels(world.render(scene, size)[None])[0]
answer = f"a picture of {world.article(scene.words[0])}"


def noun_log_prob(bridge):
    """pixels (K, 3, S, S) -> log-probability of the scene's noun after 'a picture of a', (K,)."""
    first = (
        answer
        if isinstance(bridge, interface.SinglePictureModel)
        else f"{bridge.image_prefix} {answer}"
    )
    ids = tokenizer.encode([first])[:, :-1]

    def score(views):
        with evaluation.eval_mode(bridge.model):
            said = bridge.model(
                ids[:, :-1].expand(len(views), -1), **bridge.model.vision_context(views)
            )[:, -1]
        return said.log_softmax(-1)[:, ids[0, -1]]

    return score


side = size // 4
maps = {
    name: introspection.occlusion(noun_log_prob(bridge), shown, side, side).clamp(min=0)
    for name, bridge in systems.items()
}
plots.show(plots.attention_over_image(world.render(scene, size), maps), credit=world.ATTRIBUTION)
print(
    "the thing:",
    scene.words[0],
    "at",
    tuple(round(value, 2) for value in (scene.things[0].x, scene.things[0].y)),
)

# %% [markdown]
# Not only the thing's own squares count. One explanation, which we have not tested: grey in a corner is another background to a system that has learnt to name one, and the linear map has learnt little else.
#
# ## 6. Counting, left and right, sums on signs
#
# Each question beside three bars that need no picture: *chance*, the *commonest answer*, and the model *shown grey*. A score is about seeing only if it is above all three.

# %%
tasks = {
    "how many things?": [pages.vqa_episode("test", n, "how many", 0) for n in range(count)],
    "left of, above?": [
        pages.vqa_episode("test", n, "position", 0, things=(2, 2)) for n in range(count)
    ],
    "caption or things exchanged": corruptions.caption_questions(
        world.minimal_pairs.swap_positions, count
    ),
    "caption or background changed": corruptions.caption_questions(
        world.minimal_pairs.change_background, count
    ),
}
lines = [
    "| question | chance | commonest answer | "
    + " | ".join(f"{name} (grey)" for name in systems)
    + " |",
    "|---|---|---|" + "---|" * len(systems),
]
for task, episodes in tasks.items():
    scores = [
        f"{prompting.episode_accuracy(bridge.choose, episodes):.2f} "
        f"({prompting.episode_accuracy(lambda these, bridge=bridge: bridge.choose(these, prompts.blank_images), episodes):.2f})"
        for bridge in systems.values()
    ]
    lines.append(
        f"| {task} | {prompting.chance_accuracy(episodes):.2f} | {prompting.majority_accuracy(episodes):.2f} | {' | '.join(scores)} |"
    )
Markdown("\n".join(lines))

# %% [markdown]
# *How many things?* has a trap: in 4,000 of the language model's texts *two* is an answer 51 times, *one*, *three* and *four* never are. A model that can't say a number can't be asked for it, however well it sees.
#
# The third row is the hard one: both captions have the same words, only bound otherwise, *a cat left of a dog* or *a dog left of a cat*. A bag of words can't tell them apart (lesson 08's matching head was trained on such pairs, these were not).
#
# **Sums on signs** look like magic in Flamingo's paper: a picture with 2 + 1, the answer 3. When it fails here, who is to blame? Three things are needed: reading the digits, adding, and saying a digit. So ask for the same sums **in words**, without any picture.

# %%
sums = corruptions.digit_sums(count)
signs = [part for part in sums[0].prompt if not isinstance(part, str)]
plots.show(
    plots.pictures(
        np.stack([one_sign.render(size) for one_sign in signs]),
        [part for part in sums[0].prompt if isinstance(part, str)],
    ),
    credit=world.ATTRIBUTION,
)
print("the same in words:", corruptions.sums_as_text(sums)[0].prompt[0], sums[0].answer)
plots.show(
    plots.bars(
        {
            name: {
                "on signs": prompting.episode_accuracy(bridge.choose, sums),
                "in words": prompting.episode_accuracy(
                    bridge.choose, corruptions.sums_as_text(sums)
                ),
            }
            for name, bridge in speak.items()
        },
        "right sum",
        chance=0.1,
        sideways=True,
    )
)
print(f"whoever always says the commonest sum is right in {prompting.majority_accuracy(sums):.2f}")

# %%
quiz("side_by_side.digits")

# %%
number = [world.digits.sign("train", index, 0, (1, 1)) for index in range(count)]
read = {
    name: np.mean(
        [one_sign.number in text.split() for one_sign, text in zip(number, bridge.captions(number))]
    )
    for name, bridge in systems.items()
}
plots.show(
    plots.bars(
        {name: {"digit in the caption": value} for name, value in read.items()},
        "signs read (training's numbers)",
        chance=0.1,
        sideways=True,
    )
)

# %% [markdown]
# Hardly anybody says a digit, and for BLIP that has another reason than for the others: its decoder could (and seldom does), but one picture in twenty is a sign, and captions of signs never go on after "a picture of", as we ask here. Nearly the same score, two causes: a table of scores doesn't tell them apart. And Flamingo fails even at sums in *words*, where nothing is to be seen and the others have the same language model: its feed-forwards, open since training, act without a picture, too.
#
# ## 7. Examples in the prompt: how many?
#
# Two tasks. *What kind of thing is it?* is a task the language model **knows** from its texts. *This is a dax* is one it **can't know**: names are invented anew for each prompt. The lecture says of Flamingo that performance plateaus as the number of examples grows.

# %%
numbers = (0, 1, 2, 4, 8, 16)


def kinds(k):
    return [pages.vqa_episode("test", n, "category", k, things=(1, 1)) for n in range(few)]


def names(k):
    return [few_shot.binding_episode("test", n, k) for n in range(few)]


speak["Flamingo, on pages"] = connectors.pages(scale)
plots.show(
    plots.curves(
        {
            name: prompting.accuracy_by_shots(bridge.choose, kinds, numbers)
            for name, bridge in speak.items()
        },
        "solved examples",
        "right kind",
        chance=prompting.chance_accuracy(kinds(0)),
    )
)
plots.show(
    plots.curves(
        {
            name: prompting.accuracy_by_shots(bridge.choose, names, numbers)
            for name, bridge in speak.items()
        },
        "solved examples",
        "right name, of four",
        chance=1 / 4,
    )
)
longest = max(
    int(bridge.prompts([names(16)[0].prompt]).batch([0])["ids"].shape[1])
    for bridge in speak.values()
)
print(
    f"16 examples are up to {longest} tokens; the language model was trained on texts of {world.documents.Documents().length}"
)

# %% [markdown]
# *Flamingo, on pages* is lesson 11's: the same model, trained on pages with several pictures, some of which bind names. It is no part of the equal comparison; it shows what **data** bring, where the others show what the bridge brings: pages that bind names make it bind clearly better than any bridge that never met such a page (this run of it; others don't bind at all, lesson 11). With so few questions a point may be .07 off (one standard error): the table at the end has more. Notice also who binds names without ever having seen two pictures at once, and ask yourself why those and not others.
#
# ## 8. Which examples, in which order?
#
# The same questions, the same four examples, in all 24 orders. Then: the same questions with other examples. If the answers hang on that, a single number for "4-shot accuracy" is one draw from a lottery.

# %%
some = max(8, few // 3)
order_sensitivity = {}
for name, bridge in speak.items():
    ways = {
        "order of the same examples": corruptions.example_orders(names(4)[:some]),
        "other examples": corruptions.other_examples(kinds(4)[:some], min(8, some - 1)),
    }
    order_sensitivity[name] = {
        what: prompting.sensitivity(bridge.choose, way) for what, way in ways.items()
    }
plots.show(
    plots.bars(
        {
            name: {what: evaluation.spread(found.scores) for what, found in each.items()}
            for name, each in order_sensitivity.items()
        },
        "accuracy; a dot for each way to ask",
        sideways=True,
    )
)
Markdown(
    "\n".join(
        [
            "| system | varied | mean | worst | best | questions whose answer flips |",
            "|---|---|---|---|---|---|",
        ]
        + [
            f"| {name} | {what} | {s.mean:.2f} | {min(s.scores):.2f} | {max(s.scores):.2f} | {s.flips:.0%} |"
            for name, each in order_sensitivity.items()
            for what, s in each.items()
        ]
    )
)

# %% [markdown]
# ## 9. Is it learning the task, or locating it?
#
# Spoil the examples in one way at a time. The question stays.

# %%
shown = names(3)[0]
sheets = []
for name in ("as they are", "pictures swapped", "wrong answers", "grey pictures"):
    spoilt = corruptions.CORRUPTIONS[name]([shown])[0]
    sheets.append(
        plots.pictures(
            np.stack(
                [world.render(part, size) for part in spoilt.prompt if not isinstance(part, str)]
            ),
            [f"{name}: {part}" for part in spoilt.prompt if isinstance(part, str)],
            columns=4,
        )
    )
plots.show(plots.stack_figures(*sheets), credit=world.ATTRIBUTION)

# %%
quiz("side_by_side.wrong_answers")

# %%
located = {
    name: {
        task: prompting.corrupted_example_accuracy(bridge.choose, make(4))
        for task, make in (("what kind", kinds), ("a new name", names))
    }
    for name, bridge in speak.items()
}
both = {name: located[name] for name in ("CLIP + MLP", "Flamingo, on pages")}
for task, level in (("what kind", prompting.chance_accuracy(kinds(0))), ("a new name", 1 / 4)):
    plots.show(
        plots.bars(
            {
                way: {name: each[task][way] for name, each in both.items()}
                for way in corruptions.CORRUPTIONS
            },
            f"{task}: right answers",
            chance=level,
            sideways=True,
        )
    )
Markdown(
    "\n".join(
        [
            "| system | task | " + " | ".join(corruptions.CORRUPTIONS) + " |",
            "|---|---|" + "---|" * len(corruptions.CORRUPTIONS),
        ]
        + [
            f"| {name} | {task} | " + " | ".join(f"{value:.2f}" for value in ways.values()) + " |"
            for name, each in located.items()
            for task, ways in each.items()
        ]
    )
)

# %% [markdown]
# Read it in pairs. *As they are* against *no examples*: are examples worth anything? Against *wrong answers* and *pictures swapped*: is it what they say that helps, or that they are there? Against *the question's picture grey*: how much is answered blind ("non-trivial performance without images")?
#
# ## Exercise 1 · Score the doubt
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | score yes-or-no answers so that a yes-sayer can't hide | ●●○○○ | ●●●●● | 10 |
#
# `said` and `answers` are lists of "yes" and "no". Return a dictionary with `accuracy`, `precision`, `recall`, `f1` (yes is what is looked for) and `yes`, the share of yeses among the answers *given*. A model that never says yes has precision 0.


# %%
def my_pope(said: list[str], answers: list[str]) -> dict[str, float]:
    raise NotImplementedError("return accuracy, precision, recall, f1 and yes.")


check("side_by_side.pope", my_pope)

# %% [markdown]
# <details><summary>Hint 1</summary>Count four things: yeses given, yeses that are right answers, both at once, and answers that agree.</details>
# <details><summary>Hint 2</summary>Precision divides "both" by the yeses given, recall by the yeses that are right.</details>
# <details><summary>If you see "division by zero"</summary>A model that always says no claims nothing. Return 0 there, for precision and for F1.</details>
# <details><summary>Solution</summary>
#
# ```python
# def my_pope(said, answers):
#     both = sum(a == b == "yes" for a, b in zip(said, answers))
#     precision = both / said.count("yes") if "yes" in said else 0.0
#     recall = both / answers.count("yes")
#     f1 = 2 * precision * recall / (precision + recall) if both else 0.0
#     return {"accuracy": sum(a == b for a, b in zip(said, answers)) / len(said), "precision": precision, "recall": recall,
#             "f1": f1, "yes": said.count("yes") / len(said)}
# ```
# </details>
#
# The picture that the right answer gives: what a model gets that sees nothing and says yes in so many cases.

# %%
answers = ["yes"] * 50 + ["no"] * 50
guessed = {
    share: [
        "yes" if world.SeededRandom("guess", share, n).random() < share else "no"
        for n in range(100)
    ]
    for share in (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)
}
plots.show(
    plots.curves(
        {
            score: {
                share: getattr(hallucination.yes_no_scores(said, answers), score)
                for share, said in guessed.items()
            }
            for score in ("accuracy", "precision", "recall", "f1")
        },
        "share of yeses",
        "score of a blind guesser",
    )
)

# %% [markdown]
# ## Exercise 2 · Tear the examples apart
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | write a control that changes one thing only | ●●○○○ | ●●●●○ | 10 |
#
# `prompt` is a list: picture, text, picture, text, ..., the question's picture, the question. Return a new list in which every example shows the picture of the example *before* it (the first that of the last), and nothing else changed.


# %%
def my_spoil(prompt: list) -> list:
    raise NotImplementedError(
        "return a new list: the examples' pictures moved on by one, everything else as it was."
    )


check("side_by_side.mismatched_pictures", my_spoil)

# %% [markdown]
# <details><summary>Hint 1</summary>The examples' pictures are <code>prompt[:-2:2]</code>.</details>
# <details><summary>Hint 2</summary>A list moved on by one: <code>pictures[-1:] + pictures[:-1]</code>. A slice of a copy can be assigned to.</details>
# <details><summary>If you see "attempt to assign sequence of size"</summary>The slice also holds the question's picture: leave out the last two parts.</details>
# <details><summary>Solution</summary>
#
# ```python
# def my_spoil(prompt):
#     made, pictures = list(prompt), prompt[:-2:2]
#     made[:-2:2] = pictures[-1:] + pictures[:-1]
#     return made
# ```
# </details>
#
# The picture that the right answer gives: a prompt before and after.

# %%
episode = kinds(3)[0]
plots.show(
    plots.stack_figures(
        *(
            plots.pictures(
                np.stack(
                    [world.render(part, size) for part in each.prompt if not isinstance(part, str)]
                ),
                [part for part in each.prompt if isinstance(part, str)],
                columns=4,
            )
            for each in (episode, corruptions.rotated([episode])[0])
        )
    ),
    credit=world.ATTRIBUTION,
)

# %% [markdown]
# ## Exercise 3 · Take the guess out
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | separate what the picture says from what the words expect | ●●●○○ | ●●●●○ | 10 |
#
# Some answers are likely whatever is shown. `seen` and `blind` are log-likelihoods (N, C) of each choice with the picture and with a grey one. Return (N,) integers: the choice that the *picture* raised most. (Zhao et al. 2021, [2102.09690](https://arxiv.org/abs/2102.09690), calibrate language models so.)


# %%
def my_calibrated(seen: torch.Tensor, blind: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError("return the number of one choice for each question.")


check("side_by_side.calibrated", my_calibrated)

# %% [markdown]
# <details><summary>Hint 1</summary>By Bayes, what the picture adds is a ratio of two probabilities.</details>
# <details><summary>Hint 2</summary>The logarithm of a ratio is a difference.</details>
# <details><summary>If you see "expected (40,)"</summary>You returned the differences; the largest one of each row is asked for: <code>argmax(-1)</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def my_calibrated(seen, blind):
#     return (seen - blind).argmax(-1)
# ```
# </details>
#
# The picture that the right answer gives: the yes-ratio, and the accuracy, on adversarial questions, before and after.


# %%
def two_words(bridge, episodes, view=world.to_pixels):
    """Log-probabilities of yes and no, (N, 2)."""
    data, ids = (
        bridge.prompts([one.prompt for one in episodes], view),
        tokenizer.encode(["yes", "no"])[:, 1],
    )
    with evaluation.eval_mode(bridge.model):
        made = data.batch(range(len(data)))
        return bridge.model(
            made["ids"],
            **bridge.model.vision_context(made["pixel_values"]),
            padding_mask=made["padding_mask"],
        )[:, -1].log_softmax(-1)[:, ids]


hard = corruptions.presence_questions(corruptions.adversarial_noun, count)
truth = [one.answer for one in hard]
calibrated_scores = {}
for name, bridge in speak.items():
    seen, blind = two_words(bridge, hard), two_words(bridge, hard, prompts.blank_images)
    for when, choice in (("as it is", seen.argmax(-1)), ("calibrated", (seen - blind).argmax(-1))):
        scores = hallucination.yes_no_scores(
            [("yes", "no")[number] for number in choice.tolist()], truth
        )
        calibrated_scores.setdefault(name, {}).update(
            {f"yes-ratio, {when}": scores.yes, f"accuracy, {when}": scores.accuracy}
        )
plots.show(plots.bars(calibrated_scores, "share", chance=0.5, sideways=True))

# %% [markdown]
# ## Failure lab · Three patients
#
# A healthy system and three with one fault each. They were made by hand: each knows the truth about every picture, and gets it wrong in its own way. The faults, in some order:
#
# - **habit**: it sees what is there, and believes in everything that usually stands beside it;
# - **yes**: it agrees with whoever asks;
# - **leak**: the test gives its answers away (in a file name, a caption, an order), and pictures are not needed.
#
# Which table would have let each of them pass?

# %%
grey = corruptions.blank_query(corruptions.presence_questions(corruptions.random_noun, 60))
lines = [
    "| system | random | popular | adversarial | F1, random | yes-ratio | random, all pictures grey |",
    "|---|---|---|---|---|---|---|",
]
for name, system in faulty_systems().items():
    found = hallucination.hallucination_scores(system, 60)
    lines.append(
        f"| {name} | "
        + " | ".join(f"{found[kind].accuracy:.2f}" for kind in corruptions.ABSENT)
        + f" | {found['random'].f1:.2f} | {np.mean([scores.yes for scores in found.values()]):.2f} | {prompting.episode_accuracy(system, grey):.2f} |"
    )
Markdown("\n".join(lines))

# %%
diagnose("side_by_side.pope", {"A": None, "B": None, "C": None})

# %% [markdown]
# <details><summary>Solution</summary>
#
# `{"A": "habit", "B": "leak", "C": "yes"}`. A is excellent on random and popular questions and near chance on adversarial ones: what it invents is the companion of what is there. B is as good when every picture is grey. C has a recall near 1, a fair F1 and a yes-ratio near 1. A table of accuracies on random questions lets A and B pass; a table of F1 lets C look respectable.
# </details>

# %% [markdown]
# ## The paper beside ours
#
# All rows from `python -m benchmarks.replicate_bridges`: the same six systems, several seeds, the same probes on more questions. Compare *directions*; **no** is an answer, too.

# %%
kept = evaluation.load_results("replicate_bridges")
by_row = dict.fromkeys(run["row"] for run in kept["rows"])


def mean(row, *path):
    return evaluation.spread_over_seeds(kept["rows"], row, *path)


compared = [
    name for name in by_row if name not in ("CLIP alone", "BLIP, by match", "Flamingo, on pages")
]
examples = [name for name in compared if name != "BLIP"]
columns = {
    "noun": ("captions", "one thing", "noun"),
    "two things, F1": ("captions", "two things", "F1"),
    "what": ("questions", "what", "model"),
    "category": ("questions", "category", "model"),
    "how many": ("questions", "how many", "model"),
    "exchanged": ("questions", "caption or exchanged", "model"),
    "POPE random": ("hallucination", "random", "accuracy"),
    "adversarial": ("hallucination", "adversarial", "accuracy"),
    "yes-ratio": ("hallucination", "adversarial", "yes"),
}
table = [
    "| system | learns | " + " | ".join(columns) + " | name, 8 shots |",
    "|---|---|" + "---|" * (len(columns) + 1),
]
for name in compared:
    shots_8 = f"{mean(name, 'shots', 'a new name', '8').mean:.2f}" if name in examples else "-"
    table.append(
        f"| {name} | {mean(name, 'learnt').mean / 1e3:,.0f} k | "
        + " | ".join(f"{mean(name, *path).mean:.2f}" for path in columns.values())
        + f" | {shots_8} |"
    )
print(
    f"{len(mean(compared[0], 'learnt').values)} seed(s), {kept['budget']['steps']} steps, {kept['count']} questions a number"
)
Markdown("\n".join(table))


# %%
def of_all(rows, *path):
    """Mean over systems and seeds."""
    return float(np.mean([mean(row, *path).mean for row in rows]))


best_noun = max(compared, key=lambda row: mean(row, *columns["noun"]).mean)
best_name = max(examples, key=lambda row: mean(row, "shots", "a new name", "8").mean)
random_, adversarial = (
    of_all(compared, "hallucination", kind, "accuracy") for kind in ("random", "adversarial")
)
learnt_names, torn = (
    mean(best_name, "supports", "a new name", way).mean for way in ("as they are", "wrong answers")
)
known_kinds, wrong_kinds, no_kinds = (
    of_all(examples, "supports", "category", way)
    for way in ("as they are", "wrong answers", "no examples")
)
curve = [of_all(examples, "shots", "category", str(k)) for k in (0, 4, 16)]
names_curve = [mean(best_name, "shots", "a new name", str(k)).mean for k in (0, 4, 8, 16)]
blind_bar = {row: mean(row, "questions", "category", "blind").mean for row in compared}
claims = [
    (
        "worse than contrastive models in classification (the lecture, of Flamingo)",
        f"CLIP alone {mean('CLIP alone', 'captions', 'one thing', 'noun').mean:.2f}, best bridge {best_noun} {mean(best_noun, *columns['noun'])}",
        mean(best_noun, *columns["noun"]).mean
        < mean("CLIP alone", "captions", "one thing", "noun").mean,
    ),
    (
        "what usually stands beside a thing is invented most (POPE: adversarial below random)",
        f"random {random_:.2f}, adversarial {adversarial:.2f}",
        adversarial < random_ - 0.01,
    ),
    (
        "large models say yes too often (POPE)",
        f"yes-ratio {of_all(compared, 'hallucination', 'adversarial', 'yes'):.2f}",
        of_all(compared, "hallucination", "adversarial", "yes") > 0.55,
    ),
    (
        "the order of examples matters (the lecture: sensitivity to examples)",
        f"between best and worst order {of_all(examples, 'order', 'a new name', 'spread'):.2f}; {of_all(examples, 'order', 'a new name', 'flips'):.0%} of answers flip",
        of_all(examples, "order", "a new name", "spread") > 0.1,
    ),
    (
        "examples help, then less and less (the lecture: a plateau)",
        f"{best_name}, names: 0, 4, 8, 16 examples: {', '.join(f'{value:.2f}' for value in names_curve)}",
        names_curve[1] > names_curve[0] + 0.05
        and names_curve[3] - names_curve[2] < names_curve[1] - names_curve[0],
    ),
    (
        "long prompts of known questions help, too (Flamingo, Table 1)",
        f"kinds: 0, 4, 16 examples: {', '.join(f'{value:.2f}' for value in curve)}",
        curve[2] > curve[0],
    ),
    (
        "wrong answers in the examples hardly hurt where the task is known (Min et al. 2022)",
        f"kinds: {known_kinds:.2f} with right, {wrong_kinds:.2f} with wrong answers, {no_kinds:.2f} with no examples",
        known_kinds > no_kinds + 0.05 and known_kinds - wrong_kinds < 0.05,
    ),
    (
        "... but a task that is only in the examples is lost with them",
        f"{best_name}, names: {learnt_names:.2f} with right, {torn:.2f} with wrong answers",
        learnt_names - torn > 0.1,
    ),
    (
        "some of it works without images (the lecture)",
        f"kinds, shown grey: {np.mean(list(blind_bar.values())):.2f}, chance {mean(compared[0], 'questions', 'category', 'chance').mean:.2f}",
        np.mean(list(blind_bar.values()))
        > mean(compared[0], "questions", "category", "chance").mean + 0.02,
    ),
    (
        "few parameters are enough between frozen models (BLIP-2)",
        "noun: "
        + "; ".join(
            f"{name} {mean(name, *columns['noun'])}, learning {mean(name, 'learnt').mean / 1e3:,.0f} k"
            for name in ("BLIP-2", "BLIP", "CLIP + MLP")
        ),
        mean("BLIP-2", *columns["noun"]).mean > mean("BLIP", *columns["noun"]).mean - 0.05,
    ),
    (
        "one linear map is enough (LiMBeR, which maps a grid of features, not a summary)",
        f"noun: linear map {mean('CLIP + linear map', *columns['noun'])}, MLP {mean('CLIP + MLP', *columns['noun'])}",
        mean("CLIP + linear map", *columns["noun"]).mean
        > mean("CLIP + MLP", *columns["noun"]).mean - 0.1,
    ),
]
Markdown(
    "\n".join(
        [
            "| the papers say | ours | same direction? |",
            "|---|---|---|",
            *(
                f"| {claim} | {ours} | {'yes' if agrees else '**no**'} |"
                for claim, ours, agrees in claims
            ),
        ]
    )
)

# %% [markdown]
# **Why, where it says no.** *Companions*: POPE's effect presupposes a system that mostly answers rightly. Ours hardly answer such questions from the picture at all, and whoever doesn't see what is there can't be misled by what usually stands beside it. What they do instead shows in the yes-ratio: the linear map and BLIP say yes too often, the others nearly always no. *Long prompts*: sixteen examples are longer than any document that the language model was trained on. But four fit, and cost a third already, so length is not all of it, and we don't know what else is. *Wrong answers*: where right examples don't help, wrong ones can't hurt; Min et al.'s claim can't be tested on these systems. *Without images*: without examples a grey picture gives chance; with four, it gives what always saying the commonest kind would (section 9), so look there before you call a score seeing.
#
# **What the table says that no single paper could.**
#
# - *Naming is not knowing.* Flamingo names things best and can't say what kind of thing they are; so can't BLIP, which has no language model. Trained on captions alone, Flamingo's gated layers change what every word reads until the language model goes on as captions do. Where a picture stands in the text as words stand (the maps, Frozen, BLIP-2), the rest of the language model is as it was, and lends what it knows of the word. Lesson 11's Flamingo, whose pages ask questions too, keeps more of it (*Flamingo, on pages*, in section 9).
# - *Binding needs less than naming.* The linear map names one thing in four, and gives new names to things as well as the bridge that names nine in ten: to bind, the same thing only has to look the same twice. This is learnt from the examples: swap their pictures, and it is gone. Nobody trained for it; the language model had it (lesson 05).
# - *Long places cost.* BLIP-2's eight vectors a picture say more of it, and make a prompt of examples nearly twice as long; it binds less than bridges with two. Whether length is the reason was not tested.
#
# **What is not equal.** Frozen's tower and BLIP's decoder start from nothing, the others stand on a CLIP that was trained before: that is what these papers are, so it stays; but "same budget" means from here on. BLIP has no language model, so nothing that only texts tell (kinds, places, purposes) can be asked of it. All learn from single pictures; Flamingo is made for pages, and lesson 11's shows what it does with them.
#
# ## Going on
#
# - Limits: one tiny language model; one budget (with ten times the steps the order may change, so try); co_occurrence that we planted, at a strength that we chose; yes-or-no questions in one wording.
# - Read: POPE's Sections 3 and 4; Min et al.'s Section 4, then Section 5 on what *does* matter; Flamingo's Section 6 and Appendix on limits; *Winoground* ([2204.03162](https://arxiv.org/abs/2204.03162)), real pictures with exchanged captions.
# - Try: `co_occurrence.Habits(size, signs=0.5)`; a bridge of your own: anything with `vision_context(pixel_values)` and `forward(ids, **context)` fits `answering.Bridge`.
# - Next: **lesson 14**, LLaVA and what came after Flamingo.
