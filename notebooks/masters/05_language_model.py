# %% [markdown]
# # 05 · A language model: what it knows, what it binds, how to change it a little
#
# **After this lesson you can** write the loss of a language model and make it write, four ways; test what it *knows* and what it merely *reads off the context*; find the attention head that does the reading; say how large a model a given amount of computing should buy; and adapt a frozen model by learning a few thousand numbers.
#
# | | |
# |---|---|
# | You need | lesson 01 (attention, the causal mask, the cache) |
# | Time | about 80 minutes to work through; running all cells takes about 1.5 minutes on 2 cores, 2 GB of memory |
# | Papers | In-context learning and induction heads: Olsson et al. 2022, [arXiv 2209.11895](https://arxiv.org/abs/2209.11895). Scaling ("Chinchilla"): Hoffmann et al. 2022, [2203.15556](https://arxiv.org/abs/2203.15556). Adapters: Houlsby et al. 2019, [1902.00751](https://arxiv.org/abs/1902.00751). BitFit: Ben Zaken et al. 2022, [2106.10199](https://arxiv.org/abs/2106.10199). Prompt tuning: Lester et al. 2021, [2104.08691](https://arxiv.org/abs/2104.08691). The model itself is of the GPT family (Radford et al. 2019, *Language Models are Unsupervised Multitask Learners*) |
# | Course code | `vlmcourse/parts/language.py`, `parts/generation.py`, `parts/tuning.py`, `world/documents.py` |
#
# Letters for axes: **B** batch, **T** text tokens, **V** words of the vocabulary, **D** width. In section 6 on scaling, as in that paper: **N** parameters, **D** training tokens, **C** computing.

# %%
import copy
import math
from contextlib import contextmanager
from operator import eq

import numpy as np
import torch
from IPython.display import Markdown, display

from teaching.exercises import check, diagnose, quiz
from teaching.language_model import nucleus_player
from vlmcourse import evaluation, plots, recipes, world
from vlmcourse.parts import generation, language
from vlmcourse.parts.tuning import Adapters, BitFit, Adapter, PromptTuning, count_trainable
from vlmcourse.recipes.language import text_prompts
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.optimisation import Optimisation
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

scale = Scale.of()
small_run = scale.name == "smoke"  # the course's own tests run this page in seconds
_ = torch.manual_seed(0)

# %% [markdown]
# ## The question
#
# A system that talks about pictures must speak, must know things no picture shows (a cat is an animal, one finds it at home), and must guess from two or three examples what is wanted of it. None of this has to do with pictures. So Frozen, BLIP-2 and Flamingo take a language model that can do it already, leave it **frozen**, and teach pictures to reach it.
#
# Before we lend its abilities to pictures (lesson 07), we ask: *which* abilities are these, when do they appear in training, what do they cost, and how can one change such a model a little without spoiling it?
#
# A language model does one thing: it reads the beginning of a text and gives every word of its vocabulary a probability of being the next. Ours is tiny, is built like Llama, and has read nothing but texts about our small world. It comes with the course (elsewhere than at scale `laptop` it is trained here); the curve shows how it learnt.

# %%
V = len(tokenizer.world_tokenizer())
trained = recipes.get("language").train_or_load(
    scale, on_step=plots.LiveCurve(chance=math.log(V), chance_name=f"knows nothing: ln {V}")
)
model = trained.model
untrained = recipes.language.new_language(scale, seed=1).eval()
print(
    f"{sum(p.numel() for p in model.parameters()):,} parameters, "
    f"{model.lm.config.num_hidden_layers} layers, width {language.width(model.lm)}"
)
print("a vocabulary of", V, "words")

# %% [markdown]
# ## 1. One loss: how surprised was it?
#
# At every position the model has read the words so far and says what it expects next. We look up the probability $p$ it gave to the word that really came. Its **surprise** is $-\ln p$: nothing if it was sure, much if it thought the word impossible. The loss is the mean surprise.
#
# Two traps sit in this sentence. The logits at position $t$ speak of word $t + 1$, so one of the two must be **shifted**. And some words are not to be foretold (padding, the start token), so they must be **left out**. The slow and clear way first:


# %%
@torch.no_grad()
def loss_by_hand(model, ids, loss_mask):
    """Mean surprise at the scored words. ids and scored (B, T) -> one number."""
    logits = model(ids)  # (B, T, V)
    surprises = []
    for row in range(ids.shape[0]):
        for t in range(ids.shape[1] - 1):
            next_word = ids[row, t + 1]
            if loss_mask[row, t + 1]:
                probabilities = logits[row, t].softmax(-1)  # (V,)
                surprises.append(-probabilities[next_word].log())
    return torch.stack(surprises).mean()


new_texts = world.documents.Documents("test").batch(range(4))  # never read in training
by_hand = loss_by_hand(model, new_texts["ids"], new_texts["loss_mask"])
with torch.no_grad():
    assert torch.allclose(by_hand, model.losses(new_texts)["lm"], atol=1e-4)
print("loss by hand == LanguageModel.losses")  # NBVAL_CHECK_OUTPUT

# %%
print(f"on new texts: {by_hand:.2f}; a model that knows nothing: ln {V} = {math.log(V):.2f}")

# %%
quiz("language_model.floor")

# %% [markdown]
# The mean hides the interesting part. Here is the surprise at each word of one small text. Two things get invented names; then the same pairs come again:

# %%
text = "cat dax apple wug apple wug cat dax apple wug cat dax"


@torch.no_grad()
def surprise(model, text):
    """{word with its number: surprise}"""
    ids = tokenizer.encode([text])[:, :-1]  # without <eos>
    told = model(ids)[0, :-1].log_softmax(-1)  # (T - 1, V): what was expected
    came = ids[0, 1:]  # (T - 1,): what came
    found = -told.gather(1, came[:, None])[:, 0]
    numbered = [f"{n + 1}. {word}" for n, word in enumerate(text.split())]
    return dict(zip(numbered, found.tolist()))


plots.show(
    plots.bars(
        {word: {"surprise": value} for word, value in surprise(model, text).items()},
        "surprise",
        chance=math.log(V),
        sideways=True,
    )
)

# %% [markdown]
# A first word is always a surprise. Whether `dax` after the *second* `cat` is one tells what the model does with its context. No weight can know that this cat is called dax: that was settled six words ago.
#
# ## 2. Make it write
#
# **Greedy**: take the likeliest word, add it to the text, ask again.


# %%
def open_text(text):
    """A text to go on with: <bos> and its words, without <eos>."""
    return tokenizer.encode([text])[:, :-1]  # (1, T)


@torch.no_grad()
def write_by_hand(model, ids, most):
    for _ in range(most):
        after = model(ids)[:, -1]  # (B, V): what follows the last word
        ids = torch.cat([ids, after.argmax(-1, keepdim=True)], dim=1)
    return ids


prompt, most = open_text("what is a cat for ?"), 24
written = write_by_hand(model, prompt, most)[:, prompt.shape[1] :]
assert torch.equal(written, generation.generate(model, prompt, most))
print("greedy by hand == generate.write")  # NBVAL_CHECK_OUTPUT

# %%
print("what is a cat for ?", *tokenizer.decode(written))

# %% [markdown]
# **The cache.** Each new word asks the model to read the whole text again, although the mask is causal: what stands at position 5 never depends on position 6. So keep the keys and values of all positions (lesson 01) and compute only the new one. The prompt has 7 tokens, and we write 24 words.

# %%
quiz("language_model.cache")


# %%
def counted(model):
    """The same model, and a list in which it notes how many positions each call computes."""
    computed = []

    def call(ids, cache=None):
        known = cache.get_seq_length() if cache is not None else 0
        computed.append(ids.shape[1] - known)
        return model(ids, cache)

    return call, computed


plain, without = counted(model)
first = generation.generate(plain, prompt, most)
fast, cached = counted(model)
second = generation.generate(fast, prompt, most, cache=language.new_cache(model.lm))
assert torch.equal(first, second)
print("the same words, with and without a cache")  # NBVAL_CHECK_OUTPUT
print("positions computed:", sum(without), "and", sum(cached))  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# **Nucleus sampling.** The likeliest word every time makes dull and looping texts; drawing from all words sooner or later draws nonsense, because hundreds of unlikely words together are likely. A middle way (Holtzman et al. 2019, arXiv 1904.09751): go from the likeliest word down, stop when the words hold a share *p* together, and draw among these alone.


# %%
def nucleus_by_hand(probabilities, p):
    """probabilities (V,) -> the fewest words that hold a share p, likeliest first."""
    kept, share = [], 0.0
    for word in probabilities.argsort(descending=True).tolist():
        if share >= p:
            break
        kept.append(word)
        share += probabilities[word].item()
    return kept


five_words = torch.tensor([0.07, 0.50, 0.03, 0.25, 0.15])
sampler = generation.nucleus(0.8, generator=torch.Generator().manual_seed(0))
drawn = sampler(five_words.log().expand(2000, -1))
assert set(drawn.tolist()) == set(nucleus_by_hand(five_words, 0.8)) == {1, 3, 4}
print("generate.nucleus draws exactly the words kept by hand")  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# Play with it: *p* decides how many words stay, the **temperature** divides the logits first (below 1: surer, above 1: flatter). What does the model expect after "you can find a cat in the"?

# %%
vocabulary = tokenizer.world_tokenizer().convert_ids_to_tokens(range(V))
with torch.no_grad():
    expected = model(open_text("you can find a cat in the"))[0, -1]  # (V,)
nucleus_player(expected, vocabulary)

# %%
for p in (0.5, 0.9, 1.0):
    sampler = generation.nucleus(p, generator=torch.Generator().manual_seed(1))
    cache = language.new_cache(model.lm)
    said = generation.generate(model, open_text("a picture of"), 14, sampler, cache=cache)
    print(f"p = {p}: a picture of", *tokenizer.decode(said))

# %% [markdown]
# **Beam search.** The likeliest *first* word need not begin the likeliest *sentence*. A toy language in which every word depends on the one before it shows it. Work out with pencil what greedy says, and what is best:


# %%
WORDS = ["<start>", "<end>", "a", "the", "cat", "dog", "bird", "moon", "sun"]
FOLLOWS = {
    "<start>": {"a": 0.6, "the": 0.4},
    "a": {"cat": 0.3, "dog": 0.3, "bird": 0.4},
    "the": {"moon": 0.9, "sun": 0.1},
}
chances = torch.full((len(WORDS), len(WORDS)), 1e-9)
for word in WORDS:
    for following, p in FOLLOWS.get(word, {"<end>": 1.0}).items():
        chances[WORDS.index(word), WORDS.index(following)] = p


def toy(ids, cache=None):
    """A language model as good as any: ids (B, T) -> logits (B, T, V)."""
    return chances.log()[ids]


start, end = torch.tensor([[WORDS.index("<start>")]]), WORDS.index("<end>")
found = {
    "greedy": generation.generate(toy, start, 4, end=end)[0],
    "beam of 2": generation.beam_search(toy, start, 4, beams=2, end=end),
}
for name, said in found.items():
    whole = torch.cat([start[0], said])[None]
    loss_mask = torch.ones_like(whole, dtype=torch.bool)
    loss_mask[:, 0] = False
    p = generation.sequence_log_prob(toy, whole, loss_mask).exp().item()
    sentence = " ".join(WORDS[number] for number in said[:-1])
    print(f"{name}: {sentence}, p = {p:.2f}")  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# A beam keeps the best few beginnings instead of one. It is used where one *right* text is wanted (captions, answers), sampling where variety is.
#
# **Likelihood.** Often we don't want text at all but a choice. Write each answer after the question and ask how likely the model finds *the answer's words*: that is what `generate.sequence_log_prob` just did. By hand it is a sum of logarithms.

# %%
facts = world.documents.known_facts()  # (question, answer, answers to choose among)
question, answer, choices = next(fact for fact in facts if fact[0].startswith("where can"))
ids = tokenizer.encode([f"{question} {choice}" for choice in choices])[:, :-1]
loss_mask = torch.zeros_like(ids, dtype=torch.bool)
loss_mask[:, len(tokenizer.split_words(question)) + 1 :] = True  # + 1 for <bos>
found = generation.sequence_log_prob(model, ids, loss_mask)  # (choices,)
with torch.no_grad():
    told = model(ids).log_softmax(-1)
    by_hand = torch.zeros(len(choices))
    for row, t in loss_mask.nonzero().tolist():
        by_hand[row] += told[row, t - 1, ids[row, t]]
assert torch.allclose(found, by_hand, atol=1e-4)
print("likelihood by hand == generate.likelihood")  # NBVAL_CHECK_OUTPUT

# %%
likeliest = found.argsort(descending=True).tolist()[:6]
plots.show(
    plots.bars(
        {choices[row]: {"probability": found.exp()[row].item()} for row in likeliest},
        f"probability after '{question}'",
        sideways=True,
    )
)
print("right would be:", answer)

# %% [markdown]
# ## 3. The texts it has read
#
# Everything a language model can do comes from its texts, so look at them. Ours are made by lot, in seven kinds. Two need a word. In *repeats* random words come again and again: who wants to foretell them must look back. In *names* and *episodes* every document gives things new names, which mean nothing elsewhere: who wants to foretell *them* must look back, too.

# %%
drawn_in_all = sum(world.documents.KINDS.values())
rows = ["| kind | share | the beginning of one |", "|---|---|---|"]
for kind, often in world.documents.KINDS.items():
    shown = kind(world.SeededRandom("shown in lesson 05", kind.__name__)).split()[:26]
    rows.append(f"| {kind.__name__} | {often / drawn_in_all:.0%} | {' '.join(shown)} ... |")
Markdown("\n".join(rows))

# %% [markdown]
# ## 4. What it knows
#
# *Knowing* is what stays in the weights: asked without any help, "what kind of thing is a cat ?", does it find *animal* likelier than the other categories? Beside it the two controls: the same model before training, and guessing.


# %%
def says(model, questions, choices):
    """The likeliest of the choices after each question."""
    return evaluation.choose_next_token(model, text_prompts(questions), choices)


def knows(model):
    """{kind of fact: share right}"""
    right = {}
    kinds = {"what kind": "kind of thing", "where can": "place", "what is": "purpose"}
    for start, kind in kinds.items():
        questions, answers, choices = zip(*(one for one in facts if one[0].startswith(start)))
        hits = list(map(eq, says(model, questions, choices), answers))
        right[kind] = sum(hits) / len(hits)
        right[f"{kind}, chance"] = 1 / len(choices[0])
    return right


trained_knows, untrained_knows = knows(model), knows(untrained)
kinds = [kind for kind in trained_knows if not kind.endswith("chance")]
plots.show(
    plots.bars(
        {
            kind: {
                "trained": trained_knows[kind],
                "untrained": untrained_knows[kind],
                "chance": trained_knows[f"{kind}, chance"],
            }
            for kind in kinds
        },
        "share of facts known",
    )
)

# %%
some = facts[:: len(facts) // 9]
questions, answers, choices = zip(*some)
rows = ["| question | true | it says | |", "|---|---|---|---|"]
for question, answer, found in zip(questions, answers, says(model, questions, choices)):
    rows.append(f"| {question} | {answer} | {found} | {'✓' if found == answer else '✗'} |")
Markdown("\n".join(rows))

# %% [markdown]
# Let it talk, one word at a time. `generate.extend` yields each word as soon as it is picked; a chat window does nothing else. Change the beginning:

# %%
said_so_far = "you can find a cat in the"
prompt = open_text(said_so_far)
screen = display(Markdown(said_so_far), display_id=True)
sampler = generation.nucleus(0.9, generator=torch.Generator().manual_seed(3))
cache = language.new_cache(model.lm)
for word in generation.stream_tokens(model, prompt, 20, sampler, tokenizer.EOS, cache):
    said_so_far += " " + vocabulary[word.item()].replace("<", "&lt;")
    screen.update(Markdown(said_so_far))

# %% [markdown]
# ## 5. What it binds
#
# *Binding* is the opposite of knowing: what is true in this text only. An episode shows things in words, gives each an invented name, shows one of them again and asks. Lesson 07 asks the very same with pictures in the place of the descriptions.

# %%
episode, answer, _ = world.documents.binding_episode(0)
print(episode, "->", answer)

# %% [markdown]
# Guessing among the names of the episode gives one half, one third, one quarter. Two more controls can refute a good score. **Without examples**: only the question; then nothing is left to read off. **Names exchanged**: the same text with the names moved on by one; a model that reads the text must follow, and its score stay as it was.


# %%
def exchanged(text, names):
    """Each name is replaced by the next one."""
    new = dict(zip(names, (*names[1:], names[0])))
    return " ".join(new.get(word, word) for word in text.split()), new


def binds(model, ways, count):
    """Share right of `count` episodes with so many names, with controls."""
    asked = [world.documents.binding_episode(index, ways) for index in range(count)]
    choices = [one.choices for *_, one in asked]
    answers = [answer for _, answer, _ in asked]
    moved = [exchanged(text, one.choices) for text, _, one in asked]
    bare = [
        world.documents.page_in_words(one.prompt[-2:], world.SeededRandom("bare", index))
        for index, (*_, one) in enumerate(asked)
    ]
    new_answers = [new[answer] for answer, (_, new) in zip(answers, moved)]

    def right(texts, answers):
        return sum(map(eq, says(model, texts, choices), answers)) / count

    return {
        "trained": right([text for text, *_ in asked], answers),
        "names exchanged": right([text for text, _ in moved], new_answers),
        "without examples": right(bare, answers),
        "chance": 1 / ways,
    }


count = 32 if small_run else 256
plots.show(
    plots.bars(
        {f"{ways} names": binds(model, ways, count) for ways in (2, 3, 4)},
        "right name",
    )
)

# %% [markdown]
# ### See inside: the head that looks back
#
# How can a causal transformer do this? Olsson et al. found a mechanism of two steps. A head in an early layer looks **one word back**, so that every word carries a note: "before me stood *cat*". A head in a later layer, standing at a new *cat*, looks for the word that carries this note, finds *dax*, and foretells it. The second is called an **induction head**. It takes two layers: one writes the notes, one reads them.
#
# Does *our* model do it so? Take texts like `cat dax . apple wug . owl fep . apple` and stand at the last word, which must foretell `wug`. How much does each head look at the own name (*wug*), at the names of the others, at the own thing (the first *apple*), at the other things? A head that does the work must tell *own* from *other*. The place is drawn by lot, so a head that always looks, say, seven words back can't.


# %%
WAYS = 3


def pairs_text(index):
    """Three things with names, then one of them again; and which one."""
    draws = world.SeededRandom("pairs in lesson 05", index)
    things = draws.sample(world.documents.NOUN_WORDS, WAYS)
    names = draws.sample(tokenizer.INVENTED, WAYS)
    asked = int(draws.random() * WAYS)
    pairs = " ".join(f"{thing} {name} ." for thing, name in zip(things, names))
    return f"{pairs} {things[asked]}", asked


@torch.no_grad()
def attention(lm, ids):
    """Attention weights (layers, B, H, T, T), computed by the slow kernel that keeps them."""
    slow = copy.deepcopy(lm)
    slow.set_attn_implementation("eager")
    return torch.stack(slow(ids, output_attentions=True).attentions)


texts, asked = zip(*(pairs_text(index) for index in range(200)))
ids = tokenizer.encode(texts)[:, :-1]  # (B, 11): <bos>, three times thing name point, thing
weights = attention(model.lm, ids)
is_own = torch.nn.functional.one_hot(torch.tensor(asked), WAYS).bool()  # (B, 3)


def own_and_other(first):
    """Attention from the last word to every third place from `first` on: two (layers, H)."""
    looks = weights[..., -1, first : 1 + 3 * WAYS : 3].permute(1, 3, 0, 2)  # (B, 3, layers, H)
    return looks[is_own].mean(0), looks[~is_own].mean(0)


own_name, other_name = own_and_other(2)
own_thing, other_thing = own_and_other(1)
just_before = weights.diagonal(-1, -2, -1)[..., 1:].mean((1, 3))  # (layers, H): one word back
heads = [(layer, head) for layer in range(len(own_name)) for head in range(own_name.shape[1])]
columns = {
    "own name": own_name,
    "another's name": other_name,
    "own thing": own_thing,
    "another thing": other_thing,
    "any word: one back": just_before,
}
rows = [f"| layer | head | {' | '.join(columns)} |", "|---" * (2 + len(columns)) + "|"]
for layer, head in heads:
    cells = (f"{values[layer, head]:.2f}" for values in columns.values())
    rows.append(f"| {layer} | {head} | {' | '.join(cells)} |")
Markdown("\n".join(rows))

# %%
gaps = {("name", one): (own_name - other_name)[one].item() for one in heads} | {
    ("thing", one): (own_thing - other_thing)[one].item() for one in heads
}
by, chosen = max(gaps, key=lambda key: abs(gaps[key]))
gap = gaps[by, chosen]
ways_to_do_it = {
    ("name", True): "it looks at its own name. That is the textbook's induction head.",
    ("name", False): "it looks at the names of the others. It seems to rule them out.",
    ("thing", True): "it looks at where the same thing stood before.",
    ("thing", False): "it looks at the other things and away from its own. It seems to rule "
    "them out: not the textbook's way, but what is left is the answer.",
}
print("Layer {}, head {} tells own from other best".format(*chosen), f"(by {gap:+.2f}):")
print(ways_to_do_it[by, gap > 0] if abs(gap) > 0.1 else "but no head does it clearly.")

# %% [markdown]
# Two attention maps for one such text: left, the head that looks most at the word just before; right, the head that tells own from other best. Read the right one's last row: it is the asked word.

# %%
looks_before = max(heads, key=lambda one: just_before[one])
names = [vocabulary[i] for i in ids[0].tolist()]
maps = torch.stack([weights[layer, 0, head] for layer, head in (looks_before, chosen)])
made = plots.attention_heads(maps, names, names)
titles = [
    f"layer {layer} head {head}: {what}"
    for (layer, head), what in ((looks_before, "one back"), (chosen, "own or other"))
]
for axes, title in zip(made.axes, titles):
    axes.set_title(title, loc="left")
made.description = f"Left, {titles[0]}; right, {titles[1]}. {made.description}"
made.set_size_inches(8.4, 4.4)  # room for the words
plots.show(made)

# %% [markdown]
# A picture of attention is not yet a cause. So take heads **away**, one at a time (its output is set to zero), and measure what is lost: foretelling random words that come a second time, and binding.


# %%
@contextmanager
def without_head(lm, layer, head):
    """Inside `with`, this head says nothing."""
    out = lm.model.layers[layer].self_attn.o_proj  # what all heads say goes in here
    wide = out.in_features // lm.config.num_attention_heads

    def silence(module, given):
        heads_said = given[0].clone()
        heads_said[..., head * wide : (head + 1) * wide] = 0
        return (heads_said,)

    handle = out.register_forward_pre_hook(silence)
    try:
        yield
    finally:
        handle.remove()


def twice(count, period, seed=0, words=world.documents.NOUN_WORDS):
    """Random words, then the same again: (count, 1 + 2 * period), <bos> first."""
    generator = torch.Generator().manual_seed(seed)
    words = tokenizer.encode(words)[:, 1]
    mixed = torch.rand(count, len(words), generator=generator).argsort(1)
    once = words[mixed[:, :period]]  # (count, period)
    return torch.cat([torch.full((count, 1), tokenizer.BOS), once, once], dim=1)


period = 10


@torch.no_grad()
def foretold(model, words=world.documents.NOUN_WORDS, count=64):
    """Share of the words that come the second time which the model foretells."""
    ids = twice(count, period, 7, words)
    guessed = model(ids).argmax(-1)
    return (guessed[:, period + 1 : -1] == ids[:, period + 2 :]).float().mean().item()


def bound(model, count):
    """Share of two-name episodes that are right."""
    questions, answers, episodes = zip(*(world.documents.binding_episode(i) for i in range(count)))
    found = says(model, questions, [one.choices for one in episodes])
    return sum(map(eq, found, answers)) / count


def scores(count=16 if small_run else 128):
    return {"repeated words": foretold(model), "binding": bound(model, count)}


groups = {
    "the head for own or other": [chosen],
    "the head for one back": [looks_before],
    "one of the rest": [one for one in heads if one not in (chosen, looks_before)],
}
measured, cost = {"nothing": scores()}, {}
for name, group in groups.items():
    found = []
    for layer, head in group:
        with without_head(model.lm, layer, head):
            found.append(scores())
        cost[layer, head] = measured["nothing"]["binding"] - found[-1]["binding"]
    if found:
        measured[name] = {
            what: evaluation.spread([one[what] for one in found]) for what in found[0]
        }
plots.show(
    plots.bars(
        {f"taken away: {name}": found for name, found in measured.items()},
        "share right",
        sideways=True,
    )
)

# %%
costliest = max(cost, key=cost.get)
layer, head = costliest
print(f"Layer {layer}, head {head} costs most: {cost[costliest]:.2f} of binding.")
print(
    "That is little: no head alone is needed, or there is little to lose."
    if cost[costliest] < 0.05
    else "It is the one that tells own from other best: picture and cause agree."
    if costliest == chosen
    else "It is neither of the two whose pictures we saw: looking is not all that matters."
    if costliest != looks_before
    else "It is the one that looks one word back: without its notes nothing can be found."
)

# %% [markdown]
# (Dots are the single heads.) Looking and mattering need not agree: several heads can do the same work, so that one alone is hardly missed.
#
# ### One layer or two? Train it here
#
# Whichever way it is done: the textbook says that it takes two steps, and so two layers. Then a model of one layer should fail, however long it trains. Two small models, with one head a layer, read nothing but random words that come again and again, with a period that is drawn anew for each text. (The words are our 24 invented names: fewer words, faster learning.)


# %%
def repeating(indices, length=40):
    """ids (B, length): random names with a period of 4 to 16."""
    words = tokenizer.encode(tokenizer.INVENTED)[:, 1]
    rows = []
    for index in indices:
        generator = torch.Generator().manual_seed(index)
        period = int(torch.randint(4, 17, (), generator=generator))
        once = words[torch.randperm(len(words), generator=generator)[:period]]
        rows.append(torch.cat([torch.tensor([tokenizer.BOS]), once.repeat(10)[: length - 1]]))
    ids = torch.stack(rows)
    return {"ids": ids, "loss_mask": ids != tokenizer.BOS}


def new_small(depth):
    torch.manual_seed(0)
    return language.LanguageModel(language.tiny(V, width=64, depth=depth, heads=1))


steps = 20 if small_run else 600
look_every = steps // 20
one_layer, two_layers = new_small(1), new_small(2)
live = plots.LiveCurve(chance=math.log(len(tokenizer.INVENTED)), chance_name="guessing a name")
learning = Optimisation(5e-3, weight_decay=0.05, betas=(0.9, 0.95))
grown = {"one layer": {}, "two layers": {}}
for name, learner in (("two layers", two_layers), ("one layer", one_layer)):
    for step in fit(learner, Batches(repeating, 16), steps, learning, precision=torch.float32):
        if name == "two layers":
            live(step)
        if step.step % look_every == 0:
            grown[name][step.step] = foretold(learner, tokenizer.INVENTED)

# %%
crossing_off = sum(1 / left for left in range(1, period)) / (period - 1)
plots.show(
    plots.curves(
        grown,
        "step",
        "repeated words foretold",
        chance=1 / period,
        lines={"knows the ten words, crosses off": crossing_off},
    )
)
shallow, deep = (list(grown[name].values())[-1] for name in ("one layer", "two layers"))
print(f"foretold: one layer {shallow:.2f}, two {deep:.2f}, crossing off {crossing_off:.2f}")

# %% [markdown]
# Two lines to compare with. The dashed one knows *which* ten words come again and guesses among them. The other also crosses off those that have come already: nine words left, eight, ..., one. Neither needs to know the *order*, and one layer can do both. Only who rises above the second line looks back at the right place.
#
# ### When does binding appear?
#
# Back to the real model. The course's benchmark (`python -m benchmarks.replicate_language`) pretrained it and looked in now and then. Loss falls fastest at the very beginning. And binding?

# %%
(twin,) = evaluation.load_results("replicate_language")["rows"]


def over_steps(name):
    """{step: mean and spread over the seeds}"""
    found = {}
    for row in twin["phase"]:
        found.setdefault(row["step"], []).append(row[name])
    return {step: evaluation.spread(values) for step, values in sorted(found.items())}


def way(points, share):
    """The first step at which a curve has gone this share of its way from start to best."""
    values = [point.mean for point in points.values()]
    best = max(values, key=lambda value: abs(value - values[0]))
    gone = [abs(value - values[0]) >= share * abs(best - values[0]) for value in values]
    return list(points)[gone.index(True)]


phase = {name: over_steps(name) for name in ("loss", "binding", "repeats", "facts")}
half = {name: way(points, 0.5) for name, points in phase.items()}
later = half["binding"] / half["loss"]
when = {"at less than half the step": 0, "at about the same step": 0.5, "later": 2}
quiz(
    "language_model.binding_step",
    [name for name, least in when.items() if later >= least][-1],
    list(when),
    **half,
)

# %%
at_start = next(iter(phase["loss"].values())).mean
shown = {name: phase[name] for name in ("binding", "repeats", "facts")}
shown["loss, as a share of its start"] = {
    step: point.mean / at_start for step, point in phase["loss"].items()
}
plots.show(plots.curves(shown, "step", "share", lines={"binding by guessing": 0.5}))
last = max(phase["binding"])
for name in ("binding", "repeats", "facts"):
    early, late = way(phase[name], 0.25), way(phase[name], 0.75)
    print(
        f"{name}: a quarter of its rise by step {early}, three quarters by step {late}: "
        f"the middle half took {(late - early) / last:.0%} of the training"
    )

# %% [markdown]
# Olsson et al. call it a **phase change**: within a short stretch of training induction heads form, and the ability to use the context comes with them. Read the numbers above with this in mind: is *our* rise short? Does binding come with the foretelling of repeats, or after it? (Section *The paper beside ours* computes both.) A practical lesson either way: from the loss alone you can't tell whether the ability you need has come yet.
#
# And look at how wide the band of *facts* is. They come after binding, and in one run of the three only: seed 0, the one that is shipped, knows them all at the end; in the two others binding came some hundred steps later, and the learning rate had run out before the facts began. With one seed we should have written "3,000 steps are enough".
#
# ## 6. How large, for how long? Scaling
#
# You may compute for one week. Should you train a large model on few texts or a small one on many? Computing is counted in floating-point operations: about **C = 6 N D** for N parameters and D training tokens (2 operations per parameter and token forward, 4 backward).
#
# Hoffmann et al. answered with **isoFLOP curves**: fix C, train models of many sizes, each as long as C allows, and see which ends lowest.

# %%
quiz("language_model.compute")


# %%
def lowest(points):
    """Where a parabola through log size and loss is lowest, and whether that is inside."""
    size, loss = np.log([row["parameters"] for row in points]), [row["loss"] for row in points]
    if len(points) < 3:
        return float(np.exp(size[np.argmin(loss)])), False
    bend, slope, _ = np.polyfit(size, loss, 2)
    inside = bool(bend > 0 and size.min() < -slope / (2 * bend) < size.max())
    return float(np.exp(-slope / (2 * bend) if inside else size[np.argmin(loss)])), inside


budgets = {}
for row in twin["flops"]:
    budgets.setdefault(row["flops"], []).append(row)
for rows in budgets.values():
    rows.sort(key=lambda row: row["parameters"])
plots.show(
    plots.curves(
        {
            f"C = {flops:.0e}": {round(row["parameters"] / 1000): row["loss"] for row in rows}
            for flops, rows in sorted(budgets.items())
        },
        "thousand parameters",
        "loss on new texts",
        xlog=True,
    )
)
optimum = {}
for flops, rows in sorted(budgets.items()):
    size, inside = lowest(rows)
    optimum[flops] = size, inside
    print(
        f"C = {flops:.0e}: best at about {size / 1000:.0f} thousand parameters, "
        f"{flops / 6 / size**2:.0f} tokens per parameter"
        + ("" if inside else " (at the edge of what we tried: the true best may lie beyond)")
    )

# %% [markdown]
# To the left of a curve's lowest point the model is too small to hold what it reads; to the right it is too large to be read to enough. How does the best size grow with C? On logarithmic axes a power law is a line, and its slope is the exponent. Equal growth of N and D means 0.5.

# %%
flops, sizes = zip(*((c, size) for c, (size, _) in optimum.items()))
exponent = float(np.polyfit(np.log(flops), np.log(sizes), 1)[0])
all_inside = all(inside for _, inside in optimum.values())
ratio = float(np.exp(np.mean([np.log(c / 6 / n**2) for c, n in zip(flops, sizes)])))
print(f"best size grows like C to the power {exponent:.2f}; equal growth would be 0.50")
print(f"tokens per parameter at the best: about {ratio:.0f}; Chinchilla: about 20")
if not all_inside:
    print("Not every budget has its lowest point inside: take both numbers as bounds.")

# %% [markdown]
# How far to trust this: one seed a point, three budgets over one decade, one learning rate for all sizes, and words of a tiny language, whose table of word vectors is a large part of a small model. The paper had over 400 runs.
#
# ### Even the paper's own numbers need care
#
# Its third method fits a formula, $L = E + A / N^{\alpha} + B / D^{\beta}$: what no model can foretell, plus the price of being small, plus the price of having read little. Put C = 6 N D in and look where it is lowest. The printed constants contradict the paper's own rule; a later re-fit (Besiroglu et al. 2024, [arXiv 2404.10102](https://arxiv.org/abs/2404.10102)) repaired them. Both, for Chinchilla's computing (70 billion parameters, 1.4 trillion tokens):

# %%
FITS = {  # E, A, B, alpha, beta
    "as printed": (1.69, 406.4, 410.7, 0.34, 0.28),
    "re-fit of 2024": (1.82, 482.0, 2085.0, 0.348, 0.366),
}
C = 6 * 70e9 * 1.4e12
for name, (E, A, B, alpha, beta) in FITS.items():
    N = (alpha * A / (beta * B)) ** (1 / (alpha + beta)) * (C / 6) ** (beta / (alpha + beta))
    print(
        f"{name}: best at {N / 1e9:.0f} billion, {C / 6 / N**2:.0f} tokens per parameter; "
        f"size grows like C to the power {beta / (alpha + beta):.2f}"
    )  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# The rule "about 20 tokens per parameter" rests on the first two methods (and the re-fit), not on the printed formula. When a law is quoted to you, ask which of its three versions.
#
# ## 7. Change it a little: adapters, BitFit, prompt tuning
#
# We have a model that knows and binds. Now it should learn a task: say the invented word that stands for a thing's *category* (`what kind of thing is a cat ?` → `dax`, for all animals). Every text of its world says *animal* there. Three in ten nouns are held out: to sort those rightly, one must *know* their category and connect it with the new word.

# %%
task = world.documents.CategoryTask(seed=0)
learnt, held_out = task.split()
print(len(learnt), "nouns to learn from,", len(held_out), "held out")
print("meaning:", ", ".join(f"{kind} = {word}" for kind, word in task.meaning.items()))
for word in learnt[:3]:
    print(task.question(word), "->", task.answer(word))
chance = 1 / len(task.meaning)
print(f"chance: 1 in {len(task.meaning)}")

# %% [markdown]
# One could train all weights. But then each task costs a whole model to keep, and the old abilities may suffer. Three ways learn a few numbers and leave all others alone:
#
# - **Prompt tuning.** A few vectors stand before every text, as if they were words, only that no word looks like them. Gradients flow through the frozen model to these vectors and nothing else changes.
# - **BitFit.** Only the biases learn, the numbers that each layer adds at its end. They shift what a unit needs in order to respond, but no connection changes. (Real Llamas have no biases; ours has, for this lesson.)
# - **Adapters.** After the attention and after the feed-forward of each layer stands a small bottleneck, down to a few numbers and up again, added to what passes. Up starts at zero, so the adapted model begins as the old one. (Exercise 3 builds it.)
#
# The first two by hand. Prompt tuning is a concatenation:

# %%
tuned, lm = PromptTuning(copy.deepcopy(model.lm), 5), model.lm
ids = open_text("what kind of thing is a cat ?")
with torch.no_grad():
    words = language.embed(lm, ids)  # (1, T, D)
    with_prompt = torch.cat([tuned.prompt[None], words], dim=1)  # (1, 5 + T, D)
    by_hand = lm(inputs_embeds=with_prompt).logits[:, 5:]  # what is said at the words
    assert torch.allclose(by_hand, tuned(ids), atol=1e-4)

biased = BitFit(copy.deepcopy(lm))
learning = [name for name, p in biased.named_parameters() if p.requires_grad]
assert learning and all(name.endswith(".bias") for name in learning)
adapted = Adapters(copy.deepcopy(lm), 8)
with torch.no_grad():
    assert torch.equal(adapted(ids), model(ids))
print("prompt tuning by hand == PromptTuning")  # NBVAL_CHECK_OUTPUT
print("BitFit: all that learns ends in .bias")  # NBVAL_CHECK_OUTPUT
print("new adapters: logits identical to the bare model")  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# How many numbers learn? With L layers, width D, p vectors, and m numbers in the bottleneck's middle:
#
# - prompt tuning: `p D`
# - BitFit, on our model: `13 L D` (four D in attention; in the feed-forward, four times as wide, 4 D + 4 D + D)
# - adapters: `2 L (2 D m + m + D)`: two matrices and two biases, twice a layer

# %%
L, D, m, p = lm.config.num_hidden_layers, language.width(lm), 8, 5
formulas = {
    "prompt, 5 vectors": p * D,
    "BitFit": 13 * L * D,
    "adapters, 8 wide": 2 * L * (2 * D * m + m + D),
}
counts = [count_trainable(one) for one in (tuned, biased, adapted)]
assert counts == list(formulas.values())
print("formulas == count_count_trainable()")  # NBVAL_CHECK_OUTPUT

# %%
whole = sum(parameter.numel() for parameter in lm.parameters())
for name, learns in formulas.items():
    print(f"{name}: {learns:,} of {whole:,} numbers, {learns / whole:.2%}")

# %% [markdown]
# One of them, live. Adapters, some seconds of training:


# %%
def sorts(model, words):
    """Share of these nouns that the model sorts rightly."""
    questions = [task.question(word) for word in words]
    found = says(model, questions, [list(task.meaning.values())] * len(words))
    return sum(map(eq, found, map(task.answer, words))) / len(words)


before = {"training nouns": sorts(adapted, learnt), "held-out nouns": sorts(adapted, held_out)}
live = plots.LiveCurve(chance=math.log(len(task.meaning)), chance_name="guessing a category")
steps = 10 if small_run else 150
gently = Optimisation(3e-3, weight_decay=0.0)
for step in fit(adapted, Batches(task.batch, 32), steps, gently, precision=torch.float32):
    live(step)
after = {"training nouns": sorts(adapted, learnt), "held-out nouns": sorts(adapted, held_out)}
plots.show(
    plots.bars(
        {name: {"before": before[name], "after": after[name]} for name in before},
        "sorted rightly",
        chance=chance,
    )
)
kept_facts = np.mean([trained_knows[kind] for kind in kinds])
facts_now = np.mean([knows(adapted)[kind] for kind in kinds])
print(f"facts it knows: before {kept_facts:.2f}, with adapters {facts_now:.2f}")

# %% [markdown]
# Now all ways, three seeds, from the benchmark. Two controls keep us honest: *untouched* (nothing learns) and *all weights, never pretrained* (everything learns, but nothing was known before).

# %%
tuning = {}
for row in twin["tuning"]:
    tuning.setdefault(row["way"], []).append(row)


def of(way, name):
    return evaluation.spread([row[name] for row in tuning[way]])


changing = [name for name in tuning if name != "untouched" and "never" not in name]
facts = {name: of(name, "facts").mean for name in changing}
quiz(
    "language_model.forgetting",
    min(facts, key=facts.get),
    facts,
    untouched=of("untouched", "facts").mean,
)

# %%
families = {}
for way_ in tuning:
    if way_ != "untouched":
        family = way_ if "all weights" in way_ else way_.split(",")[0]
        learns = tuning[way_][0]["learns"]
        families.setdefault(family, {})[learns] = of(way_, "held-out nouns")
made = plots.curves(
    families,
    "numbers that learn",
    "held-out nouns sorted rightly",
    chance=chance,
    xlog=True,
    lines={"untouched": of("untouched", "held-out nouns").mean},
)
made.axes[0].set_xticks(ticks := [10**n for n in range(2, 7)], [f"{n:,}" for n in ticks])
plots.show(made)

# %%
plots.show(
    plots.bars(
        {
            way_: {
                "facts still known": of(way_, "facts"),
                "held-out nouns": of(way_, "held-out nouns"),
                "training nouns": of(way_, "training nouns"),
            }
            for way_ in tuning
        },
        "share right",
        sideways=True,
    )
)
full, scratch = (
    of(name, "held-out nouns") for name in ("all weights", "all weights, never pretrained")
)
print(f"all weights, held-out nouns: pretrained {full}")
print(f"never pretrained {scratch}; chance {chance:.3f}")
print(
    "Pretraining made the difference: the categories were known before the task was."
    if full.mean - scratch.mean > full.std + scratch.std
    else "Here pretraining made no clear difference on held-out nouns."
)

# %% [markdown]
# ### The bridge to lesson 07
#
# **Frozen** (the next lesson) also puts learnt vectors before the text and also leaves the language model alone. Only, its vectors are written by an image encoder. Give it the *same* picture every time, and its vectors are constants: prompt tuning.

# %%
from vlmcourse.papers.frozen import Frozen, FrozenConfig

image_token_id = tokenizer.world_tokenizer().convert_tokens_to_ids("<image>")
config = FrozenConfig(
    image_token_id, prefix_length=2, image_size=32, vision_width=32, vision_depth=1, vision_heads=2
)
frozen = Frozen(config, language.freeze(copy.deepcopy(lm))).eval()
grey = torch.zeros(1, 3, 32, 32)
prompted = PromptTuning(copy.deepcopy(lm), 2)
with torch.no_grad():
    prompted.prompt.copy_(frozen.encode_prefix(grey))
    with_picture = torch.cat([torch.tensor([[image_token_id, image_token_id]]), ids], dim=1)
    seen = frozen(with_picture, **frozen.vision_context(grey))[:, 2:]
    assert torch.allclose(seen, prompted(ids), atol=1e-4)
print("Frozen with one constant picture == prompt tuning")  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# ## Exercise 1 · The next-word loss
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | shift, leave out, average: without a loop | ●●○○○ | ●●●●● | 15 |
#
# `logits` (B, T, V), `ids` (B, T), and `loss_mask` (B, T), True at words to be foretold (never the first, never padding). Return one number, the mean surprise over the scored words. `torch.nn.functional.cross_entropy` may help.


# %%
def my_next_word_loss(
    logits: torch.Tensor, ids: torch.Tensor, loss_mask: torch.Tensor
) -> torch.Tensor:
    raise NotImplementedError(
        "return one number: shift words against logits, then average over the scored words."
    )


check("language_model.next_word_loss", my_next_word_loss)

# %% [markdown]
# <details><summary>Hint 1</summary>The last position foretells a word that isn't there; the first word was foretold by nobody. So the one loses its last entry, the other two lose their first.</details>
# <details><summary>Hint 2</summary>With <code>said = logits[:, :-1]</code> and <code>came = ids[:, 1:]</code>, pick the scored ones by a boolean index: <code>said[scored[:, 1:]]</code> is (words, V).</details>
# <details><summary>If you see "Expected target size"</summary><code>cross_entropy</code> wants the vocabulary on axis 1. Either flatten batch and time, <code>logits.flatten(0, 1)</code>, or pick the scored positions first, which flattens too.</details>
# <details><summary>If you see "The shape of the mask ... does not match the shape of the indexed tensor"</summary>You shifted the logits and the ids, but not <code>scored</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def my_next_word_loss(logits, ids, scored):
#     said, came, counts = logits[:, :-1], ids[:, 1:], scored[:, 1:]
#     return torch.nn.functional.cross_entropy(said[counts], came[counts])
# ```
# </details>
#
# The picture that the right answer gives: the loss on each kind of text. Where the context helps and where nothing helps, it shows.


# %%
def of_kind(kind, count=16):
    """Texts of one kind as a batch, padded on the right."""
    draws = [world.SeededRandom("one kind", kind.__name__, number) for number in range(count)]
    ids = tokenizer.encode([kind(one) for one in draws])
    return {"ids": ids, "loss_mask": (ids != tokenizer.PAD) & (ids != tokenizer.BOS)}


with torch.no_grad():
    by_kind = {
        kind.__name__: {
            "trained": model.losses(of_kind(kind))["lm"].item(),
            "untrained": untrained.losses(of_kind(kind))["lm"].item(),
        }
        for kind in world.documents.KINDS
    }
plots.show(plots.bars(by_kind, "loss", chance=math.log(V), sideways=True))

# %% [markdown]
# ## Exercise 2 · Which words stay?
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | sort, add up, and put back in place | ●●●○○ | ●●●○○ | 15 |
#
# Nucleus sampling for a whole batch, without a loop over words. `probabilities` is (B, V). Return booleans (B, V): True for the fewest words of each row that together hold at least the share `p`.


# %%
def my_kept(probabilities: torch.Tensor, p: float) -> torch.Tensor:
    raise NotImplementedError(
        "return booleans (B, V): sort, look at the sum before each word, put the answers back."
    )


check("language_model.kept", my_kept)

# %% [markdown]
# <details><summary>Hint 1</summary>A word stays if the words that are likelier than it hold <em>less</em> than p. Their share is the running sum minus the word's own probability.</details>
# <details><summary>Hint 2</summary><code>ordered, order = probabilities.sort(-1, descending=True)</code>. At the end, <code>torch.zeros_like(stay).scatter(-1, order, stay)</code> puts the answer of place k where word <code>order[k]</code> stands.</details>
# <details><summary>If you see "scatter(): Expected self.dtype to be equal to src.dtype"</summary>The empty answer must be boolean too: <code>torch.zeros_like(stay)</code>, not <code>zeros_like(probabilities)</code>.</details>
# <details><summary>If you see "Boolean value of Tensor with more than one value is ambiguous"</summary>You used <code>if</code> or <code>while</code> on a tensor. Compare all at once: <code>before &lt; p</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def my_kept(probabilities, p):
#     ordered, order = probabilities.sort(-1, descending=True)
#     before = ordered.cumsum(-1) - ordered
#     stay = before < p
#     return torch.zeros_like(stay).scatter(-1, order, stay)
# ```
# </details>
#
# The picture that the right answer gives: how many words stay, after a beginning that leaves little open and after one that leaves nearly all open.

# %%
shares = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
beginnings = ("cat dax apple wug cat", "you can find a cat in the", "a")
curves = {}
with torch.no_grad():
    for beginning in beginnings:
        probabilities = model(open_text(beginning))[0, -1].softmax(-1)
        curves[f"after '{beginning}'"] = {p: len(nucleus_by_hand(probabilities, p)) for p in shares}
plots.show(plots.curves(curves, "p", f"words that stay, of {V}", ylog=True))

# %% [markdown]
# ## Exercise 3 · An adapter
#
# | objective | difficulty | importance | minutes |
# |---|---|---|---|
# | a small change that starts as no change | ●●○○○ | ●●●●○ | 10 |
#
# Complete the class. A new adapter must pass `x` (..., D) on unchanged, and still be able to learn. Between down and up stands `torch.nn.functional.gelu`. The same trick returns in lesson 11 as Flamingo's gate.


# %%
class MyAdapter(torch.nn.Module):
    def __init__(self, width: int, inner: int):
        super().__init__()
        self.down = torch.nn.Linear(width, inner)
        self.up = torch.nn.Linear(inner, width)
        # Something must be set to zero here. What?

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError(
            "return x plus what the bottleneck adds (down, gelu, up); and start it at nothing."
        )


check("language_model.adapter", MyAdapter)

# %% [markdown]
# <details><summary>Hint 1</summary>"Plus" is the residual: without it, a bottleneck of 8 numbers would throw most of x away.</details>
# <details><summary>Hint 2</summary>What is added is zero at first if the <em>last</em> layer is zero, weight and bias: <code>torch.nn.init.zeros_(self.up.weight)</code>. If both layers were zero, neither would ever get a gradient.</details>
# <details><summary>If you see "a leaf Variable that requires grad is being used in an in-place operation"</summary>Set parameters with <code>torch.nn.init.zeros_</code>, or inside <code>with torch.no_grad():</code>.</details>
# <details><summary>If you see "mat1 and mat2 shapes cannot be multiplied"</summary>Down comes first: it takes width numbers to inner, up takes inner to width.</details>
# <details><summary>Solution</summary>
#
# ```python
# class MyAdapter(torch.nn.Module):
#     def __init__(self, width, inner):
#         super().__init__()
#         self.down = torch.nn.Linear(width, inner)
#         self.up = torch.nn.Linear(inner, width)
#         torch.nn.init.zeros_(self.up.weight)
#         torch.nn.init.zeros_(self.up.bias)
#
#     def forward(self, x):
#         return x + self.up(torch.nn.functional.gelu(self.down(x)))
# ```
# </details>
#
# The picture that the right answer gives: the gradients of the two layers in the first steps of some training. At step 1 `down` gets exactly none, because up is zero; then it wakes.

# %%
torch.manual_seed(0)
bottleneck, target = Adapter(16, 4), torch.nn.Linear(16, 16)
optimiser = torch.optim.SGD(bottleneck.parameters(), lr=0.5)
felt = {"up": {}, "down": {}}
for step in range(1, 9):
    x = torch.randn(64, 16)
    loss = (bottleneck(x) - target(x).detach()).square().mean()
    optimiser.zero_grad()
    loss.backward()
    for name in felt:
        felt[name][step] = getattr(bottleneck, name).weight.grad.norm().item()
    optimiser.step()
plots.show(plots.curves(felt, "step", "size of the gradient"))

# %%
print("step 1, gradient of down:", felt["down"][1])  # NBVAL_CHECK_OUTPUT

# %% [markdown]
# ## Failure lab · Three losses that lie
#
# Four small language models read the same short texts, some seconds each. One is healthy; the others have one fault each, in some order:
#
# - **shift**: logits and words are not shifted against each other;
# - **padding**: the padding behind short texts counts as words to be foretold;
# - **rate**: the learning rate is a thousand times too small.
#
# Look at the curves before the code of the cell. Beside each curve stands what it hides: the loss on the real words of *new* texts, measured rightly, and what the model writes.


# %%
def short_texts(indices):
    """Mostly one fact, now and then a long text: so most of a batch is padding."""
    made = []
    for index in indices:
        draws = world.SeededRandom("failure lab", index)
        kinds = (
            world.documents.fact,
            world.documents.fact,
            world.documents.fact,
            world.documents.question_answers,
        )
        made.append(draws.choice(kinds)(draws))
    ids = tokenizer.encode(made)
    return {"ids": ids, "loss_mask": (ids != tokenizer.PAD) & (ids != tokenizer.BOS)}


def all_counted(indices):
    batch = short_texts(indices)
    return {**batch, "loss_mask": torch.ones_like(batch["loss_mask"])}


class Unshifted(language.LanguageModel):
    def losses(self, batch):
        said, loss_mask = self(batch["ids"]), batch["loss_mask"]
        loss = torch.nn.functional.cross_entropy(said[loss_mask], batch["ids"][loss_mask])
        return {"lm": loss}


unseen = short_texts(range(10**6, 10**6 + 64))
healthy_rate = 3e-3
runs = {
    "healthy": (language.LanguageModel, short_texts, healthy_rate),
    "A": (language.LanguageModel, all_counted, healthy_rate),
    "B": (Unshifted, short_texts, healthy_rate),
    "C": (language.LanguageModel, short_texts, healthy_rate / 1000),
}
steps = 20 if small_run else 150
histories, honest = {}, {}
for name, (kind, make, rate) in runs.items():
    torch.manual_seed(0)
    faulty_model = kind(language.tiny(V, 64, 2, 4))
    training = fit(
        faulty_model, Batches(make, 16), steps, Optimisation(rate), precision=torch.float32
    )
    histories[name] = list(training)
    with torch.no_grad():
        honest[name] = language.LanguageModel.losses(faulty_model, unseen)["lm"].item()
    written = generation.generate(faulty_model, open_text("a cat is"), 8, end=tokenizer.EOS)
    print(f"{name} writes: a cat is", *tokenizer.decode(written))
plots.show(plots.loss(histories, chance=math.log(V), chance_name=f"ln {V}"))
plots.show(
    plots.bars(
        {
            name: {
                "training says": histories[name][-1].loss,
                "real words of new texts": honest[name],
            }
            for name in runs
        },
        "loss",
        chance=math.log(V),
    )
)

# %% [markdown]
# Your diagnosis, in place of each `None`:

# %%
diagnose("language_model.training", {"A": None, "B": None, "C": None})

# %% [markdown]
# <details><summary>Solution</summary>
#
# `{"A": "padding", "B": "shift", "C": "rate"}`. Run A's loss lies *below* the healthy one's although it speaks no better: after padding comes padding, which is easy, and most of what is averaged is padding. Run B is asked for the word it has just read. It learns to repeat it: a loss near zero, the best of all, and useless. Run C does the right thing, in steps too small to see; by its curve alone it could be a model that is too small, too.
#
# Two more that look like C: a model of width 64 started with the standard deviation 0.02 that is right for width 1,000 and more; and a forgotten `optimiser.step()`. What tells them apart is the gradient's size, which `fit` yields with each step.
# </details>
#
# > **Rule of thumb.** Know two numbers before you train a language model: ln V, where it must start, and a loss it can't go below. Who is above the first or below the second has a mistake, not a discovery.
#
# ## The paper beside ours
#
# Ours are reduced-scale twins: another world, models a thousand to a million times smaller. Compare *directions*, not numbers. The last column is computed from the numbers beside it.


# %%
def yes(agrees):
    return "yes" if agrees else "**no**"


took = (way(phase["binding"], 0.75) - way(phase["binding"], 0.25)) / last
apart = abs(half["binding"] - half["repeats"]) / last
prompts = {
    int(name.split()[1]): of(name, "held-out nouns").mean
    for name in tuning
    if name.startswith("prompt")
}
full = of("all weights", "held-out nouns")
near = full.mean - max(0.05, full.std)  # what we call near to training all weights
small = {name: of(name, "held-out nouns").mean for name in ("adapters, 8 wide", "BitFit")}
part = {name: tuning[name][0]["learns"] / tuning[name][0]["of"] for name in small}
beside = {
    name: f"{found:.2f} with {part[name]:.1%} of the numbers; all weights {full.mean:.2f}"
    for name, found in small.items()
}
inside = sum(inside for _, inside in optimum.values())
rows = [
    (
        "the use of context appears within a short stretch of training (Olsson)",
        "a phase change",
        f"the middle half of binding's rise takes {took:.0%} of the steps",
        took <= 0.2,
    ),
    (
        "it appears when induction does (Olsson)",
        "at the same time",
        f"half-way: binding at step {half['binding']}, repeats at {half['repeats']}",
        apart <= 0.1,
    ),
    (
        "a head looks at the word that followed the earlier occurrence (Olsson)",
        "induction heads in all models of two layers and more",
        f"own name minus others' names, best head: {(own_name - other_name).max():+.2f}",
        (own_name - other_name).max() > 0.2,
    ),
    (
        "one layer is not enough (Olsson)",
        "no induction heads in one-layer models",
        f"foretold: one layer {shallow:.2f}, two {deep:.2f}; crossing off {crossing_off:.2f}",
        deep > crossing_off + 0.03 >= shallow,
    ),
    (
        "at fixed computing there is a best size (Chinchilla, Fig. 3)",
        "a valley for each of nine budgets",
        f"a valley inside for {inside} of {len(optimum)} budgets",
        inside == len(optimum),
    ),
    (
        "best size grows like C to the power 0.5 (Chinchilla)",
        "0.49 to 0.50 (methods 1 and 2)",
        f"{exponent:.2f}" + ("" if all_inside else ", a bound"),
        0.35 <= exponent <= 0.65,
    ),
    (
        "about 20 tokens per parameter (Chinchilla)",
        "70 billion, 1.4 trillion",
        f"about {ratio:.0f}" + ("" if all_inside else ", a bound"),
        10 <= ratio <= 40,
    ),
    (
        "adapters come near to training all weights (Houlsby)",
        "within 0.4 points on GLUE, 3.6 % of the numbers",
        beside["adapters, 8 wide"],
        small["adapters, 8 wide"] >= near,
    ),
    (
        "so do biases alone (BitFit)",
        "competitive, below 0.1 % of the numbers",
        beside["BitFit"],
        small["BitFit"] >= near,
    ),
    (
        "longer prompts are better, up to about 20 vectors (Lester, Fig. 3a)",
        "1 < 5 < 20",
        ", ".join(f"{n}: {value:.2f}" for n, value in prompts.items()),
        list(prompts.values()) == sorted(prompts.values()),
    ),
    (
        "in models this small, prompts stay behind all weights (Lester, Fig. 1)",
        "the gap closes near 10 billion parameters",
        f"prompt {max(prompts.values()):.2f}, all weights {full.mean:.2f}",
        max(prompts.values()) < full.mean - full.std,
    ),
]
Markdown(
    "\n".join(
        [
            "| claim | paper | ours | same direction? |",
            "|---|---|---|---|",
            *(
                f"| {claim} | {theirs} | {ours} | {yes(agrees)} |"
                for claim, theirs, ours, agrees in rows
            ),
        ]
    )
)

# %% [markdown]
# (Houlsby et al.: 0.4 is in the arXiv abstract; the conference's page of the same paper says 0.8.)
#
# Where a row says **no**, these are the first places to look:
#
# - *A short stretch, at the same time.* We look in about thirty times, and call it short if half of the rise fits into a fifth of the training. The paper measures the context's use by loss on real text, over models up to 13 billion parameters; our binding test asks for more than copying: the asked thing comes back in *other words*, and its name must be found all the same.
# - *Heads.* Induction heads were found in models with many more heads than ours. A model of three layers may share the work among all of its heads, or rule out the wrong answers instead of fetching the right one. The behaviour is the same, the mechanism is not; that is why we measured it.
# - *Exponent and ratio.* See the caveats of section 6. A text that has few words, short sentences and a high floor of pure chance is learnt by small models quickly; nothing says that 20 must come out. One learning rate for all sizes favours some of them.
# - *Adapters, BitFit.* The same number of steps and one learning rate for each; whoever needs more of either is at a disadvantage. With some 0.5 million parameters a few thousand *are* one per cent.
# - *Prompts.* A vector at the input has to steer a model of a few layers; Lester et al. needed billions of parameters before it sufficed.
#
# ## Going on
#
# - Limits: our facts are single words, our episodes are short and of one form, and our model speaks a language of a few hundred words. That an ablated head hurts shows that it *takes part*; it doesn't show that it alone does it. And *binding* here means finding a name again, not reasoning with it.
# - Not measured here: *task location* versus learning (does an example teach, or only say which known task is meant? Lesson 13), LoRA (arXiv 2106.09685), prefix tuning (arXiv 2101.00190), what becomes of these abilities at real size.
# - Read: Olsson et al., the sections with Arguments 1 to 3; Hoffmann et al., Sec. 3; Houlsby et al., Sec. 2.1; Lester et al., Sec. 2 and 3.2; *GPT-3* (2005.14165) for in-context learning at size; the re-fit (2404.10102) as an example of reading a paper with pencil in hand.
# - Try: the real one. After `make pretrained`, `language.load("smollm2")` gives a model of 135 million parameters and its tokenizer; run section 5's `attention` on it, with texts in plain English.
# - Next: **lesson 07**, Frozen: a picture becomes two vectors that stand where two words could stand, and the model of this lesson, unchanged, talks about it.
