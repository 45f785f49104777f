# %% [markdown]
# # 06 · Scaling and parameter-efficient tuning
#
# After this lesson you can:
#
# - count the compute of a training, and split a budget between parameters and tokens;
# - find the best size at equal compute from measured curves, and say when a curve has no minimum;
# - fit the law by which the best size grows, and read Chinchilla's tables with it;
# - write BitFit, adapters and prompt tuning, and prove that the frozen parameters didn't change;
# - say what prompt tuning becomes when the prompt must depend on a picture.
#
# | | |
# |---|---|
# | Prerequisites | lesson 05 (a language model: loss, next-token prediction, examples in the prompt) |
# | Time | about 130 minutes to work through; Run All takes about 40 seconds on two free cores |
# | Papers | *Chinchilla*, Hoffmann et al. 2022, [arXiv 2203.15556](https://arxiv.org/abs/2203.15556); *Adapters*, Houlsby et al. 2019, [arXiv 1902.00751](https://arxiv.org/abs/1902.00751); *BitFit*, Ben Zaken et al. 2022, [arXiv 2106.10199](https://arxiv.org/abs/2106.10199); *Prompt tuning*, Lester et al. 2021, [arXiv 2104.08691](https://arxiv.org/abs/2104.08691) |
#
# Lesson 05 trained a small language model on texts about the world. It knows facts about 124 nouns, and it uses examples in its prompt. This lesson asks two questions about such models. How large should one be for a given compute budget? And how can a finished one learn a task without changing its weights?
#
# Symbols: **N** parameters, **D** training tokens, **C** floating-point operations of a training, **L** layers, **d** the width of a model. (Other lessons call the width D; here D counts tokens.)

# %% tags=["hide-input"]
import numpy as np
import torch
from IPython.display import Markdown
from torch import Tensor, nn

from teaching import scaling_claims, scaling_figures, scaling_models
from teaching import tuning_claims, tuning_figures, tuning_models, tuning_task
from teaching.exercises import check, diagnose, quiz
from teaching.scaling_figures import short
from vlmcourse import evaluation, plots
from vlmcourse.evaluation.published import published
from vlmcourse.parts.language import LanguageModel
from vlmcourse.parts.tuning import PromptTuning
from vlmcourse.training.scale import Scale

scale = Scale.of()
smoke = scale.name == "smoke"  # the course's own tests run this notebook in seconds
_ = torch.manual_seed(0)

# %% [markdown]
# ## The whole first
#
# The language model of lesson 05 knows where things are found. It answers "where can you find a cat ?" with "house". A new task asks the same in a form that it has never read: the noun and a colon. Five trained vectors in front of the text teach it the form. All its weights stay as they are. Training takes some seconds.

# %%
untouched = tuning_models.shipped(scale)
task = tuning_task.place_task(seed=0)
prompted = PromptTuning(tuning_models.shipped(scale).lm, 5)
for step in tuning_task.train(prompted, task, 3 if smoke else 60, tuning_task.RATES["prompt"]):
    pass
new_nouns = list(task.held_out)[:3]
plots.show(
    tuning_figures.next_words({"as shipped": untouched, "with 5 vectors": prompted}, new_nouns),
    "Figure 1. The three most likely words after a noun and a colon, before and after training "
    "five vectors. The three nouns were not in the task's training examples. "
    "Strange words, if there are any, are invented names of lesson 05. "
    "What to see: with the vectors, the most likely word is a place.",
)
print("right answers:", {word: task.held_out[word] for word in new_nouns})

# %% [markdown]
# The second half of the lesson builds this and two other methods. First: where does a good language model come from?
#
# ## 1. Compute
#
# Training a language model costs **floating-point operations**, multiplications and additions of numbers. In a matrix layer each weight takes part in one multiplication and one addition for each token. The forward pass therefore takes 2 operations per parameter and token. The backward pass takes about 4: it computes gradients with respect to the layer's input and to its weights. Together:
#
# $$C \approx 6\,N\,D$$
#
# For one and the same budget C you can train a large model on few tokens, or a small model on many.

# %% [markdown]
# ### Exercise 1 · Tokens for a budget
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | split a compute budget | ●○○○○ | ●●●●● | 4 |
#
# Write `training_tokens`: on how many tokens can a model of this size be trained?


# %%
def training_tokens(flops: float, parameters: float) -> float:
    """Budget C in floating-point operations, size N -> number of tokens D."""
    raise NotImplementedError("your code here")


training_tokens = check("scaling.training_tokens", training_tokens)

# %% [markdown]
# <details><summary>Hint 1</summary>Solve the formula above for D.</details>
# <details><summary>Hint 2</summary>One token costs 6 N operations. How many tokens does the budget pay for?</details>
# <details><summary>If you see "found None; expected one number"</summary>The function computes, but returns nothing: end it with <code>return</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def training_tokens(flops, parameters):
#     per_token = 6 * parameters
#     return flops / per_token
# ```
# </details>

# %% tags=["nbval-check-output"]
gopher, chinchilla = 6 * 280e9 * 300e9, 6 * 70e9 * 1.4e12
print(f"compute of Gopher {gopher:.1e}, of Chinchilla {chinchilla:.1e}")
print(f"tokens for a model of 70 billion at Gopher's compute: {training_tokens(gopher, 70e9):.1e}")

# %%
quiz("scaling.gopher")

# %% [markdown]
# N counts all parameters outside the embedding tables; nearly all of these are multiplied with an input. The tables of word and position embeddings are only looked up. In large models they are a small part of all parameters. In narrow models they are a large part (the table below tells ours) and cost almost nothing, so counting them would overstate C. We leave them out, as Kaplan et al. (2020) did; unlike them we count the output layer, because it is a matrix that every token is multiplied with.
#
# Most of N is in the layers. With width d, attention has four matrices of d × d: for queries, keys, values and the output. The feed-forward network has two matrices, from d to 4d and back.

# %% [markdown]
# ### Exercise 2 · Parameters of a transformer
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | know where the parameters are | ●○○○○ | ●●●○○ | 5 |
#
# Write `block_parameters`: the numbers in all matrices of all layers. Leave out biases, norms and embeddings.


# %%
def block_parameters(width: int, depth: int) -> int:
    """Width d and number of layers L of a transformer -> number of weights in its matrices."""
    raise NotImplementedError("your code here")


block_parameters = check("scaling.block_parameters", block_parameters)

# %% [markdown]
# <details><summary>Hint 1</summary>Count one layer first: attention, then feed-forward.</details>
# <details><summary>Hint 2</summary>A matrix from d to 4d has 4d² numbers.</details>
# <details><summary>If you see "found a list; expected one number"</summary>Sum the layers: one number for the whole model.</details>
# <details><summary>Solution</summary>
#
# ```python
# def block_parameters(width, depth):
#     attention = 4 * width**2
#     feedforward = 2 * width * 4 * width
#     return depth * (attention + feedforward)
# ```
# </details>

# %%
Markdown(
    scaling_figures.sizes_table(
        block_parameters,
        scaling_models.CharacterModel,
        (8, 16, 32, 64),
        scaling_models.DEPTH,
        scaling_models.attention_share,
    )
)

# %% [markdown]
# These are the models of the next section: two layers, and instead of words they predict single **characters**. The embedding tables have a row for each of 31 characters and 64 positions. The third column, N, also counts biases, norms and the output layer.
#
# 6 N D leaves out two steps of attention that have no parameters: the products of queries and keys (the scores), and the weighted sums of the values. A model sees 64 positions at once. So each layer needs, for each position, 2 × 64 × d operations for the scores and as many for the sums. The last column divides this, over both layers, by the 2 N operations of the parameters. The result is small in large models, and large in the narrowest of ours.
#
# ## 2. Loss at equal compute
#
# The second of Chinchilla's three approaches (section 4) is the **isoFLOP curve**: fix a budget C, train models of many sizes N, each on D = C / (6N) tokens, and plot the loss over N. Here is one point of a curve at C = 1e10, below the budgets of Figure 2, trained live with your `training_tokens`. Its text has facts, questions and descriptions of the world. The time that it took is printed.

# %%
width, budget = 16, 1e8 if smoke else 1e10
size = scaling_models.CharacterModel(width).parameters_that_multiply()
tokens = training_tokens(budget, size)
run = scaling_models.train(width, tokens, corpus=100_000 if smoke else 1_000_000)
print(f"{size:,} parameters, {run['tokens']:,} characters, {run['seconds']:.0f} seconds")
print(f"loss on new texts {run['loss']:.2f}; guessing {np.log(len(scaling_models.CHARACTERS)):.2f}")

# %% [markdown]
# The loss is the mean of −ln p, where p is the probability that the model gives to the character that follows; its unit is the nat. Before the curves, a prediction:

# %%
quiz("scaling.right_side")

# %% [markdown]
# ### Exercise 3 · The lowest point of a curve
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | find a minimum between measured points | ●●●○○ | ●●●●● | 12 |
#
# Write `valley`. Fit a parabola $a x^2 + b x + c$ to the losses over $x = \ln N$, and return the size at its lowest point, with True. If the parabola has no lowest point between the smallest and the largest size, return the measured size with the lowest loss, with False. The sizes may come in any order. `np.polyfit(x, y, 2)` gives $a$, $b$, $c$.


# %%
def valley(sizes: list[float], losses: list[float]) -> tuple[float, bool]:
    """Sizes N in any order, and their losses -> (best size, is there a minimum inside?)"""
    raise NotImplementedError("your code here")


valley = check("scaling.valley", valley)

# %% [markdown]
# <details><summary>Hint 1</summary>The derivative 2 a x + b is zero at the lowest point. Is it lowest, or highest? The sign of a tells.</details>
# <details><summary>Hint 2</summary>Three conditions must hold for True: a > 0, and the point lies above the smallest and below the largest x.</details>
# <details><summary>If you see "The truth value of an array is ambiguous"</summary>Compare single numbers: <code>min(x) &lt; best &lt; max(x)</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def valley(sizes, losses):
#     x = np.log(sizes)
#     a, b, _ = np.polyfit(x, losses, 2)
#     best = -b / (2 * a)
#     if a > 0 and min(x) < best < max(x):
#         return float(np.exp(best)), True
#     return sizes[int(np.argmin(losses))], False
# ```
# </details>
#
# Now the curves, measured by `python -m benchmarks.replicate_scaling`. Every run has its own learning-rate schedule, which ends when its tokens end. The star is what your function finds.

# %%
rows = evaluation.load_results("replicate_scaling")["rows"]
plots.show(
    scaling_figures.iso_flop(rows, valley),
    "Figure 2. Loss on new texts over size, at equal compute on each curve (logarithmic axis of "
    "sizes). Bars: one standard deviation over seeds; dashed: parabola; hollow star: its lowest "
    "point. Read the best size off the parabola; its loss is no measurement. "
    "What to see: each curve has a minimum inside, and it moves to the right as C grows.",
)
print(scaling_figures.true_costs(rows, scaling_models.attention_share))

# %% [markdown]
# To the left of a minimum the model is too small for the many tokens that it reads. To the right it is large enough, but its training ends too early. A curve whose lowest point is at the edge would tell only that the best size lies beyond the sizes tried.
#
# The lines below the figure count attention's scores and sums, too: "equal compute" holds for 6 N D only. The difference between the two counts is largest on the highest curve, that of the smallest budget: its models are the narrowest.
#
# ## 3. How the best size grows
#
# If the best size is a power of the budget, $N = k\,C^{a}$, then $\ln N = \ln k + a \ln C$: a straight line between logarithms. Its slope is the exponent $a$. Since $D = C / (6N)$, the best number of tokens grows with the exponent $1 - a$. **Equal growth** of both means $a = 0.5$.

# %% [markdown]
# ### Exercise 4 · A power law
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | fit an exponent | ●●○○○ | ●●●●○ | 6 |
#
# Write `power_law`: a straight line by least squares through all points.


# %%
def power_law(budgets: list[float], sizes: list[float]) -> tuple[float, float]:
    """Budgets C and best sizes N -> (exponent a, factor k) of N = k C ** a."""
    raise NotImplementedError("your code here")


power_law = check("scaling.power_law", power_law)

# %% [markdown]
# <details><summary>Hint 1</summary>Take the natural logarithm of both lists first.</details>
# <details><summary>Hint 2</summary><code>np.polyfit(x, y, 1)</code> gives slope and intercept. The intercept is ln k.</details>
# <details><summary>If you see "unsupported operand type(s) for ** or pow()"</summary>You used a list where a number is needed; <code>np.log</code> turns a list into an array.</details>
# <details><summary>Solution</summary>
#
# ```python
# def power_law(budgets, sizes):
#     exponent, start = np.polyfit(np.log(budgets), np.log(sizes), 1)
#     return float(exponent), float(np.exp(start))
# ```
# </details>

# %%
best = scaling_figures.best_sizes(rows, valley)
points = [(flops, size) for flops, found in best.items() for size, _ in found]
exponent, factor = power_law(*map(list, zip(*points)))
inside = [is_inside for found in best.values() for _, is_inside in found]
print(f"minima inside: {sum(inside)} of {len(inside)}")
for flops, found in best.items():
    mean = np.exp(np.mean([np.log(size) for size, _ in found]))
    ratio = training_tokens(flops, mean) / mean
    print(f"C = {flops:.0e}: best size {short(mean)}, {ratio:.0f} characters per parameter")
limits = scaling_claims.exponent_range(rows, valley, power_law)
plots.show(
    scaling_figures.law(best, exponent, factor, limits),
    "Figure 3. Best size over budget, one point for each seed, both axes logarithmic. Shaded: "
    "exponents that we find without the largest or the smallest size of each curve, or by one "
    "seed. Of the dashed and the dotted line only the slopes mean something: they are drawn "
    "through our line at the middle budget. "
    f"What to see: {scaling_claims.slopes_to_see(*limits)}",
)
print(scaling_claims.about_exponent(exponent, *limits))

# %% [markdown]
# ### Kaplan against Hoffmann
#
# In 2020 Kaplan et al. found that a larger budget should mostly go into size: $a = 0.73$. Ten times the compute would mean 5.5 times the parameters and only 1.8 times the tokens, as Hoffmann et al. round it ($10^{0.73} = 5.4$ and $10^{0.27} = 1.9$). GPT-3, Gopher and others were trained that way: large models, and 170 to 300 billion tokens. Hoffmann et al. repeated the study in 2022, and found $a \approx 0.5$.
#
# Why do the two differ? Hoffmann et al. blame the learning-rate schedule. A run that is evaluated in the middle of a long schedule has a learning rate that is still high, so its loss is worse than that of a run planned to end there. Later work repeated both studies and found other reasons more important (Porian et al. 2024, [arXiv 2406.19146](https://arxiv.org/abs/2406.19146); Pearce and Song 2024, [arXiv 2406.12907](https://arxiv.org/abs/2406.12907)). Kaplan et al. didn't count the output layer's operations (they left out the embedding tables, as we do), and these operations are a large part of a small model's. Their warm-up was too long for small models, and the optimiser wasn't tuned for each size.

# %%
Markdown(published("chinchilla-exponents").markdown())

# %%
quiz("scaling.ten_times")

# %% [markdown]
# ## 4. Chinchilla
#
# Hoffmann et al. trained more than 400 models of 70 million to 16 billion parameters. Three **approaches** lead from these runs to the best size:
#
# 1. *Minimum over training curves*: at each amount of compute, which model, at any point of its training, has the lowest loss?
# 2. *IsoFLOP profiles*: the curves and parabolas of section 2.
# 3. *Parametric loss*: fit one formula to all runs, and minimise the formula.
#
# You did the second. The third assumes that the loss is a sum of three parts: what no model can predict ($E$), a part that falls with size, and a part that falls with tokens:
#
# $$\mathrm{loss}(N, D) = E + \frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}}$$
#
# Minimising it under the condition $6ND = C$ gives the best split. Put $D = C/(6N)$ in, and set the derivative with respect to $N$ to zero: then $\alpha A / N^{\alpha} = \beta B / D^{\beta}$.

# %% [markdown]
# ### Exercise 5 · The best split by a formula
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | minimise a loss under a budget | ●●●●○ | ●●●○○ | 12 |
#
# Write `best_split`. The constants come as a dictionary with the keys E, A, B, alpha, beta. An answer within one per cent passes.


# %%
def best_split(flops: float, fit: dict[str, float]) -> tuple[float, float]:
    """Budget C and the constants of the loss -> (parameters N, tokens D) with the lowest loss."""
    raise NotImplementedError("your code here")


best_split = check("scaling.best_split", best_split)

# %% [markdown]
# <details><summary>Hint 1</summary>From the last equation, N ** alpha / D ** beta is a constant. Replace D by C / (6 N) and solve for N. (Or search: compute the loss for many N on a fine logarithmic grid.)</details>
# <details><summary>Hint 2</summary>N ** (alpha + beta) = alpha A / (beta B) * (C / 6) ** beta.</details>
# <details><summary>If you see "OverflowError" or "Result too large"</summary>An exponent is missing its division by (alpha + beta).</details>
# <details><summary>Solution</summary>
#
# ```python
# def best_split(flops, fit):
#     alpha, beta = fit["alpha"], fit["beta"]
#     balance = alpha * fit["A"] / (beta * fit["B"])
#     power = balance * (flops / 6) ** beta
#     parameters = power ** (1 / (alpha + beta))
#     return parameters, flops / (6 * parameters)
# ```
# </details>
#
# Your function at Chinchilla's compute, with the paper's constants and with those of a later fit (Besiroglu et al. 2024, [arXiv 2404.10102](https://arxiv.org/abs/2404.10102)):

# %%
Markdown(scaling_figures.split_table(best_split))

# %% [markdown]
# The printed constants ask for a smaller model and far more tokens than Chinchilla has. They contradict the paper's own first two approaches. Besiroglu et al. read the points off the paper's Figure 4 and fitted the formula again; their constants agree with approaches 1 and 2. "About 20 tokens per parameter" rests on approaches 1 and 2, and the refit confirms it. (The exponent in the first row can differ by 0.01 from the paper's for approach 3: the printed constants are rounded.) The paper's table by approach 1:

# %%
Markdown(published("chinchilla-table-3").markdown())

# %%
plots.show(
    scaling_figures.models(),
    "Figure 4. Published models: parameters and training tokens, both axes logarithmic. Dashed: "
    "compute-optimal by Chinchilla's Table 3. Dotted: equal compute, that of the table's model of "
    "67 billion parameters; Gopher lies a little below it. What to see: the models before "
    "Chinchilla lie below the dashed line, so they read too few tokens for their size.",
)

# %% [markdown]
# Chinchilla tests the prediction: about Gopher's compute, a quarter of its parameters, nearly five times its tokens. **MMLU** is a test of exam-like questions in 57 academic subjects, with four answers to choose from. The results that the lecture shows:

# %%
plots.show(
    scaling_figures.mmlu(),
    "Figure 5. MMLU, accuracy in per cent (Chinchilla, Table 6); the models see five solved "
    "questions first. What to see: at about equal compute the smaller model is better "
    "by more than seven points, but far from experts.",
)
Markdown(published("chinchilla-mmlu").markdown())

# %% [markdown]
# More tokens need more text. **MassiveText** is the data of Gopher and Chinchilla. Wikipedia is read more than three times and MassiveWeb more than once. The other parts are not read to the end:

# %%
Markdown(published("chinchilla-massivetext").markdown())

# %% [markdown]
# Flamingo (lesson 11) builds on Chinchilla's models. The largest Flamingo is built on Chinchilla 70B, whose weights stay frozen. Why one would want that is the second half of this lesson.
#
# ## 5. Tuning a few numbers
#
# **Full fine-tuning** trains all weights on a new task. Each task then needs a copy of the whole model, and what the model knew can be overwritten. Three papers train a small number of parameters instead:
#
# - **BitFit** trains the biases that the model has already, in BERT-large 0.08 % of its parameters.
# - **Adapters** are small new layers behind each attention and each feed-forward network, before its output is added to the residual stream, the sum that runs through the layers.
# - **Prompt tuning** puts trained vectors before the text.

# %%
plots.show(
    tuning_figures.places_of_change(untouched, vectors=5, bottleneck=8),
    "Figure 6. Where the three methods change a language model, with the shapes of ours: the "
    "input and one sub-layer, attention or feed-forward. Each layer has both, one after the other. "
    "Each method trains only its own orange box; norms are not drawn. What to see: a prompt "
    "changes the input alone, biases and adapters change what sub-layers add to the residual "
    "stream.",
)

# %% [markdown]
# ### Exercise 6 · BitFit
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | choose what is trained | ●●○○○ | ●●●●○ | 6 |
#
# Write `bitfit`. After it, exactly the biases of the model have `requires_grad`. A parameter is a bias if the last part of its name is `bias`. Return the names of the biases.


# %%
def bitfit(model: nn.Module) -> list[str]:
    """Changes requires_grad of the model's parameters in place -> names of those to train."""
    raise NotImplementedError("your code here")


bitfit = check("tuning.bitfit", bitfit)

# %% [markdown]
# <details><summary>Hint 1</summary><code>model.named_parameters()</code> gives pairs of name and parameter, such as <code>layers.0.mlp.up_proj.bias</code>.</details>
# <details><summary>Hint 2</summary><code>parameter.requires_grad_(True)</code> or <code>(False)</code> sets it. Set it for every parameter, whatever it was.</details>
# <details><summary>If you see "'Parameter' object has no attribute 'endswith'"</summary>The name is the first of the pair, the parameter the second.</details>
# <details><summary>Solution</summary>
#
# ```python
# def bitfit(model):
#     names = []
#     for name, parameter in model.named_parameters():
#         is_bias = name.split(".")[-1] == "bias"
#         parameter.requires_grad_(is_bias)
#         names += [name] * is_bias
#     return names
# ```
# </details>

# %%
biased = tuning_models.shipped(scale)
names = bitfit(biased)
numbers = {name: parameter.numel() for name, parameter in biased.named_parameters()}
whole, trained = sum(numbers.values()), sum(numbers[name] for name in names)
print(f"{len(names)} biases: {trained:,} of {whole:,} numbers, {trained / whole:.2%}")

# %%
quiz("tuning.bias_limits")

# %% [markdown]
# An **adapter** is a bottleneck with a residual connection: a layer down to few numbers, the nonlinearity GELU, a layer up again, and the input added:
#
# $$\mathrm{adapter}(x) = x + W_{\text{up}}\,\mathrm{GELU}(W_{\text{down}}\,x + b_{\text{down}}) + b_{\text{up}}$$
#
# It should start as no change at all, so that training begins with the model as it is.

# %% [markdown]
# ### Exercise 7 · An adapter
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | a change that starts as no change | ●●○○○ | ●●●●● | 8 |
#
# Write the class. Its two layers are called `down` and `up`; it has no further parameters. A new adapter returns its input exactly, and yet it must be able to learn.


# %%
class Adapter(nn.Module):
    def __init__(self, width: int, bottleneck: int):
        super().__init__()
        raise NotImplementedError("your code here")

    def forward(self, x: Tensor) -> Tensor:
        """x (..., d) -> (..., d)."""
        raise NotImplementedError("your code here")


Adapter = check("tuning.Adapter", Adapter)

# %% [markdown]
# <details><summary>Hint 1</summary>What is added must be zero at first. Which layer could be zero for that, and which of its parts?</details>
# <details><summary>Hint 2</summary>If both layers were zero, weights and biases, neither weight would ever get a gradient. Zeros in `up` are enough. <code>torch.nn.init.zeros_</code> sets a parameter to zero; a layer has a weight and a bias.</details>
# <details><summary>If you see "a leaf Variable that requires grad is being used in an in-place operation"</summary>Use <code>torch.nn.init.zeros_</code>, which works without gradients.</details>
# <details><summary>Solution</summary>
#
# ```python
# class Adapter(nn.Module):
#     def __init__(self, width, bottleneck):
#         super().__init__()
#         self.down = nn.Linear(width, bottleneck)
#         self.up = nn.Linear(bottleneck, width)
#         nn.init.zeros_(self.up.weight)
#         nn.init.zeros_(self.up.bias)
#
#     def forward(self, x):
#         return x + self.up(nn.functional.gelu(self.down(x)))
# ```
# </details>
#
# Adapters must get into a model that somebody else wrote. A **forward hook** of PyTorch does that without touching its code. `module.register_forward_hook(hook)` calls `hook(module, inputs, output)` after each forward pass of the module. What the hook returns replaces the output. The call returns a *handle*, whose `remove()` takes the hook away.

# %% [markdown]
# ### Exercise 8 · Inserting adapters
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | change a model from outside | ●●●○○ | ●●●○○ | 10 |
#
# Write `insert_adapters`. A *sub-layer* is the attention or the feed-forward network of a layer. Afterwards the output of sub-layer i passes through adapter i. Feed-forward networks return a tensor. Attention returns a tuple, of which only the first entry is the output; the others must stay.


# %%
def insert_adapters(sublayers: list[nn.Module], adapters: list[nn.Module]) -> list:
    """As many adapters as sub-layers -> the handles of the hooks, in the same order."""
    raise NotImplementedError("your code here")


insert_adapters = check("tuning.insert_adapters", insert_adapters)

# %% [markdown]
# <details><summary>Hint 1</summary>Write a function that takes one adapter and returns its hook, and call it once for each pair.</details>
# <details><summary>Hint 2</summary><code>isinstance(output, tuple)</code> tells attention from feed-forward. <code>(first, *output[1:])</code> is a tuple with another first entry.</details>
# <details><summary>If you see "the last adapter works everywhere"</summary>A function defined in a loop looks up the loop's variable when it is called, not when it is defined. Make it inside another function.</details>
# <details><summary>Solution</summary>
#
# ```python
# def insert_adapters(sublayers, adapters):
#     def hook_of(adapter):
#         def hook(module, inputs, output):
#             if isinstance(output, tuple):
#                 return (adapter(output[0]), *output[1:])
#             return adapter(output)
#
#         return hook
#
#     pairs = zip(sublayers, adapters)
#     return [sublayer.register_forward_hook(hook_of(adapter)) for sublayer, adapter in pairs]
# ```
# </details>
#
# New adapters leave the model as it is. This is checked with your class and your function:

# %% tags=["nbval-check-output"]
adapted = tuning_models.AdaptedModel(tuning_models.shipped(scale).lm, 8, Adapter, insert_adapters)
ids = task.batch([0, 1])["ids"]
with torch.no_grad():
    print("logits with new adapters are identical:", torch.equal(adapted(ids), untouched(ids)))

# %% [markdown]
# **Prompt tuning** trains $p$ vectors of width d. They stand before the text's embeddings as if they were words, but after training they usually match no word. They start as copies of the vectors of words chosen at random. The model is causal, so every word can attend to the prompt. The prompt's own positions have logits, too, but nothing is to be predicted there.

# %% [markdown]
# ### Exercise 9 · A trained prompt
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | vectors before a text | ●●○○○ | ●●●●● | 8 |
#
# Write `prompt_logits`. The function `decode` is the frozen language model: embeddings (B, length, d) to logits (B, length, V). Gradients must reach the prompt.


# %%
def prompt_logits(decode, prompt: Tensor, embeddings: Tensor) -> Tensor:
    """decode: a function; prompt (p, d), embeddings of a text (B, T, d) -> logits (B, T, V)."""
    raise NotImplementedError("your code here")


prompt_logits = check("tuning.prompt_logits", prompt_logits)

# %% [markdown]
# <details><summary>Hint 1</summary>Every text of the batch gets the same prompt: <code>prompt.expand(B, -1, -1)</code> is (B, p, d).</details>
# <details><summary>Hint 2</summary>Concatenate along the axis of positions, decode, and drop the first p positions of the result.</details>
# <details><summary>If you see "Sizes of tensors must match except in dimension 1"</summary>The prompt lacks its batch axis: expand it first.</details>
# <details><summary>Solution</summary>
#
# ```python
# def prompt_logits(decode, prompt, embeddings):
#     rows = prompt.expand(len(embeddings), -1, -1)
#     logits = decode(torch.cat([rows, embeddings], dim=1))
#     return logits[:, len(prompt) :]
# ```
# </details>

# %%
quiz("tuning.no_grad")

# %% [markdown]
# A method that promises to leave the model alone should be checked. Copy all parameters before the training, and compare afterwards.

# %% [markdown]
# ### Exercise 10 · What has changed?
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | prove that frozen means frozen | ●●○○○ | ●●●●○ | 6 |
#
# Write `changed_parameters`: the names in `before` whose values differ in `after`, by however little. `after` may have new names; they don't count.


# %%
def changed_parameters(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[str]:
    """{name: tensor} at two times -> names of the tensors that changed."""
    raise NotImplementedError("your code here")


changed_parameters = check("tuning.changed_parameters", changed_parameters)

# %% [markdown]
# <details><summary>Hint 1</summary>Go through the names of <code>before</code>.</details>
# <details><summary>Hint 2</summary><code>torch.equal</code> is True only if all numbers are exactly equal.</details>
# <details><summary>If you see "Boolean value of Tensor with more than one value is ambiguous"</summary><code>==</code> compares number by number. Reduce it to one boolean, or use <code>torch.equal</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def changed_parameters(before, after):
#     changed = []
#     for name, value in before.items():
#         if not torch.equal(value, after[name]):
#             changed.append(name)
#     return changed
# ```
# </details>

# %%
quiz("tuning.snapshot")

# %% [markdown]
# ## 6. All methods on one task
#
# The task is that of Figure 1: a noun and a colon, then the place. Three in ten nouns are held out. For a held-out noun, the model must know the place already, and must have understood what is asked. All four methods use your functions. Each starts from a fresh copy of the shipped model. The table tells the seconds that each took.

# %%
steps, rates = 3 if smoke else 100, tuning_task.RATES


def prepared() -> dict[str, LanguageModel]:
    """The model in four versions, each ready to be trained by its method."""
    lms = [tuning_models.shipped(scale).lm for _ in range(4)]
    biased = LanguageModel(lms[1])
    bitfit(biased)
    return {
        "prompt": tuning_models.PromptedModel(lms[0], 5, prompt_logits),
        "BitFit": biased,
        "adapters": tuning_models.AdaptedModel(lms[2], 8, Adapter, insert_adapters),
        "all weights": LanguageModel(lms[3]),
    }


live = {
    name: tuning_models.tune(model, task, rates[name], steps, changed_parameters)
    for name, model in prepared().items()
}
Markdown(tuning_figures.live_table(live, whole))

# %% [markdown]
# Read the table by columns. *Held-out nouns*: does the model answer for nouns that the task's training didn't have? *Facts still known*: category, place and purpose of all nouns, asked in the old form, while the prompt or the adapters are in place. *Frozen parameters that changed* must be none.
#
# Without the prompt or the adapters, the old model is there again, with all of its facts. For BitFit, put back the saved biases. After full fine-tuning, only a saved copy brings it back.
#
# One run proves little. `python -m benchmarks.replicate_tuning` repeats this with more seeds, each with other held-out nouns, and with a second task: 100 steps for 'place', 200 for 'new words', with the learning rates of the table. (How many seeds were measured is printed below Figure 7.) In **new words**, the answer is the category of the noun, but in one of thirteen invented words. The model knows categories, but in lesson 05 these words had no fixed meaning. An example stands above Figure 8.

# %%
tuned = evaluation.load_results("replicate_tuning")["rows"]
plots.show(
    tuning_figures.methods(tuned, "place", tuning_task.place_task),
    "Figure 7. The task 'place', by method: share of held-out and of training nouns answered "
    f"right, and of the facts still known. {tuning_claims.dots(tuned)} Dashes: always the most "
    "frequent answer, for held-out nouns only; mean over seeds. "
    f"What to see: {tuning_claims.to_see(tuned, 'place')}",
)
print("seeds measured:", len({row["seed"] for row in tuned}))
print(tuning_claims.about(tuned, "place", tuning_task.place_task))

# %%
invented = tuning_task.new_words_task(0)
noun, word = next(iter(invented.held_out.items()))
same = [f"{one} : {word}" for one in invented.train if invented.train[one] == word]
print(f"learn {', '.join(same[:2])}; asked is {noun}, right is {word}")
plots.show(
    tuning_figures.methods(tuned, "new words", tuning_task.new_words_task),
    "Figure 8. The same for the task 'new words'. What to see: "
    f"{tuning_claims.to_see(tuned, 'new words')}",
)
print(tuning_claims.about(tuned, "new words", tuning_task.new_words_task))

# %% [markdown]
# The two tasks differ in what must be learnt. In *place* the model only has to be told what is asked, and a prompt does that as words would. In *new words* it has to connect each category with a word, which is new knowledge. The rule behind it is: the same category, the same word.
#
# Read the lines below Figure 8 in their order. A method that doesn't fit the training nouns is not trained to the end after these steps; its held-out nouns say nothing about the rule. Of a method that fits them, the held-out nouns tell how far it has found the rule, or has learnt its nouns by heart. The fourth line compares with always giving the most frequent answer. Two standard errors are about how far chance moves a share that is counted on the held-out nouns of all seeds. A method that fits its training nouns and is clearly above has found a part of the rule, even if it misses most held-out nouns.
#
# Methods that change every layer can lose old answers while they are in place (the last line below each figure). For BitFit and adapters one likely reason is the learning rate, which is ten times that of full fine-tuning; we didn't test it. It can't be the only one. With the same rate and twice the steps, adapters keep far more facts on 'new words' (Figure 8) than on 'place' (Figure 7). BitFit and adapters can be undone; full fine-tuning can't, without a copy of all weights.

# %%
quiz("tuning.serving")

# %% [markdown]
# ## 7. Trained on examples, or shown examples?
#
# Lesson 05 put solved examples into the prompt as text: nothing is trained. GPT-3 made this known as few-shot prompting. With the same examples one can also train a prompt. Which is better?

# %% [markdown]
# ### Exercise 11 · Examples in a prompt
#
# | Objective | Difficulty | Importance | Minutes |
# |---|---|---|---|
# | show a task instead of training it | ●○○○○ | ●●●○○ | 5 |
#
# Write `few_shot_prompt`: solved examples like `cat : house .`, in the order given, then the new noun with its colon. Words and signs are separated by single spaces, as in all texts of this model.


# %%
def few_shot_prompt(examples: dict[str, str], noun: str) -> str:
    """{noun: answer} and a new noun -> a text that ends where the answer should follow."""
    raise NotImplementedError("your code here")


few_shot_prompt = check("tuning.few_shot_prompt", few_shot_prompt)

# %% [markdown]
# <details><summary>Hint 1</summary>Write one example after the other; <code>" ".join(parts)</code> puts single spaces between.</details>
# <details><summary>Hint 2</summary><code>examples.items()</code> gives pairs of noun and answer.</details>
# <details><summary>If you see "sequence item 0: expected str instance, tuple found"</summary>A pair must become a text first: <code>f"{word} : {answer} ."</code>.</details>
# <details><summary>Solution</summary>
#
# ```python
# def few_shot_prompt(examples, noun):
#     parts = []
#     for word, answer in examples.items():
#         parts.append(f"{word} : {answer} .")
#     parts.append(f"{noun} :")
#     return " ".join(parts)
# ```
# </details>

# %%
eight = tuning_task.place_task(seed=0, examples=8)
prompts = [few_shot_prompt(eight.train, noun) for noun in eight.held_out]
score = tuning_task.accuracy_of_prompts(untouched, prompts, list(eight.held_out.values()))
print(prompts[0])
print(f"held-out nouns answered right with eight examples in the prompt: {score:.2f}")

# %% [markdown]
# The same with two and eight examples, shown or trained on, from the benchmark:

# %%
print("known form:", tuning_task.FORMS["question : which ?"][1].format("cat", "house"))
plots.show(
    tuning_figures.few_examples(tuned),
    "Figure 9. Held-out nouns answered right, with two or eight examples of the task 'place': "
    "shown as text in a new form, shown in a form of lesson 05's texts, or used to train a prompt "
    f"or all weights. {tuning_claims.dots(tuned)} Dashes: always the most frequent answer of all "
    f"training nouns; mean over seeds. What to see: {tuning_claims.few_to_see(tuned)}",
)
print(tuning_claims.about_few_examples(tuned))

# %% [markdown]
# Lester et al. compare the two for T5 on SuperGLUE. A prompt trained on a data set beats GPT-3 with examples in its prompt, although T5 is far smaller. A prompt for T5-Large is better than GPT-3 with 175 billion parameters, which is over 220 times larger (their Figure 1 and its discussion). The comparison isn't even: the trained prompt saw the whole training set, GPT-3 up to 32 examples. The lecture's question follows in the discussion.
#
# ### The bridge to lesson 07
#
# **Frozen**, the next lesson, also puts vectors before the text and leaves the language model alone. Its vectors come from an image encoder.

# %%
plots.show(
    tuning_figures.prompt_and_prefix(untouched.lm.config.hidden_size),
    "Figure 10. Above: prompt tuning, where the vectors are parameters. Below: Frozen, where an "
    "encoder computes them from a picture. What to see: in both, the language model reads two "
    "vectors and then the text; below, the vectors change with the picture.",
)

# %% [markdown]
# If the picture never changes, both are the same. The next cell makes a Frozen whose image encoder has random weights, gives it a grey picture, and puts the two resulting vectors into your prompt:

# %% tags=["nbval-check-output"]
frozen, picture = tuning_models.new_frozen(scale), torch.zeros(1, 3, 32, 32)
constant = tuning_models.PromptedModel(tuning_models.shipped(scale).lm, 2, prompt_logits)
words = task.batch([0])["ids"]
with torch.no_grad():
    constant.prompt.copy_(frozen.encode_prefix(picture))
    seen = tuning_models.read_with_picture(frozen, picture, words)
    same = torch.allclose(seen, constant(words), atol=1e-4)
print("Frozen with one constant picture is prompt tuning:", same)

# %% [markdown]
# ## Failure lab
#
# Four trainings of adapters on the task *place*, one healthy and three with one fault each. The fault is only in the training; the scores are measured by correct code.
#
# - **no residual**: the adapter doesn't add its input;
# - **not frozen**: the language model's weights are trained, too, at the adapters' learning rate;
# - **wrong target**: the loss asks for the colon, one position before the answer.

# %%
runs = tuning_models.lab(scale)
plots.show(
    tuning_figures.lab(runs),
    "Figure 11. Training losses of four runs, one seed (logarithmic axis). "
    "What to see: the lowest loss doesn't belong to the healthy run.",
)
plots.show(
    tuning_figures.lab_scores(runs),
    "Figure 12. The same runs, seed 0: held-out nouns answered right (dashes: always the most "
    "frequent answer, in this seed), and facts still known after the adapters are removed. "
    "What to see: the healthy run is best, or shares the first place, in both.",
)

# %% [markdown]
# Your diagnosis, in place of each `None`:

# %%
diagnose("tuning.training", {"A": None, "B": None, "C": None})

# %% [markdown]
# <details><summary>Hint</summary>Removing the adapters restores a frozen model exactly. For which run is that not so? Which run has nearly no loss and yet no right answer?</details>
# <details><summary>Solution</summary>
#
# A: no residual. `forward` returned `self.up(gelu(self.down(x)))`. Since `up` starts at zero, every sub-layer's output was replaced by zero, and the adapters had to learn from there.
#
# B: wrong target. The loss mask stood one position too early. The shipped model doesn't expect a colon there, so this loss starts high. But the colon follows every noun: after some 15 steps the loss is nearly zero, and nothing was learnt about places.
#
# C: not frozen. The weights had `requires_grad`, so the optimiser moved them all. A check with `changed_parameters` would have shown it after the first step.
# </details>
#
# ## The paper beside ours
#
# What the papers state, beyond the tables above. In the second table, the size of 10 billion is that of T5-XXL, rounded by the authors.

# %%
Markdown(
    published("adapters-facts").markdown() + "\n\n" + published("prompt-tuning-facts").markdown()
)

# %% [markdown]
# Their claims beside our measurements. Our models are many orders of magnitude smaller and our texts are artificial, so only directions can be compared. Each row compares two numbers, the first and the second, as means ± standard deviations over seeds. They are ours, but for Kaplan's exponent in the last row of the first table. The verdict is computed by one rule. *Agrees*: the first number is higher than the second in every seed, and the gap of the means is above two pooled standard deviations (pooled: the root of the mean of the two variances). *Disagrees*: the same with first and second exchanged. Otherwise *within noise*. A single seed is always within noise. A *control* is ours, not a paper's; there *agrees* means only that the first is higher. In the first table, *size best for the other seeds* is chosen without the seed whose loss is read there, so this loss isn't the lowest by construction.

# %%
Markdown(scaling_claims.comparison(scaling_claims.claims(rows, valley)))

# %%
Markdown(scaling_claims.comparison(tuning_claims.claims(tuned)))

# %% [markdown]
# ## Discussion
#
# **Strengths.** Scaling laws turn a guess into a measurement: small runs predict how a large budget should be spent. Parameter-efficient tuning makes one large model serve many tasks. What a frozen model knew can always be restored, by removing the adapters or the prompt.
#
# **Weaknesses.** A law holds for the family of models, data and schedules it was fitted on, and extrapolates over many orders of magnitude. All our methods, also full fine-tuning, do worse on a new rule than on a new form of question (compare Figures 7 and 8). The prompts and BitFit don't even fit its training nouns after our few steps.
#
# <details><summary>Q (lecture): Since prompt tuning achieved better few-shot performance than GPT-3, could it also achieve better performance in the multimodal space?</summary>
# Lester's prompts saw whole training sets, so the comparison wasn't few-shot (section 7). And what would it be? A constant prompt can't describe a picture. A prompt for pictures must be computed from the picture: that is Frozen's prefix. A constant trained prompt can still be added to it, to tell the *task*, as in this lesson. CoOp (Zhou et al. 2021, arXiv 2109.01134) trains such vectors for CLIP's class prompts. With a few examples per class it beats prompts written by hand; on classes that it wasn't trained for it can be worse (Zhou et al. 2022, arXiv 2203.05557). For few-shot learning the question is whether to show the examples or to train on them. Flamingo's own Table 2 answers it in part: fine-tuned on a data set it is better than with 32 examples on every task listed (VQAv2 82.0 against 67.6). Training wins if there is enough data for it; examples in the prompt win if there are four of them and no time.
# </details>
#
# <details><summary>Q: Today's models are often trained on far more than 20 tokens per parameter. Is Chinchilla wrong?</summary>
# No. It minimises the cost of *training* for a given loss. If a model answers millions of users, the cost of inference counts, too, and it grows with N. A smaller model, trained on more tokens than is optimal, then is cheaper in total.
# </details>
#
# <details><summary>Q: Our best ratio isn't 20. Should it be?</summary>
# No law says so. Exponents near 0.5 were found on several data sets. The ratio depends on the text, the tokens and the model family. A character carries less information than a word piece, and our text is simple.
# </details>
#
# <details><summary>Q: How does LoRA (Hu et al. 2021, arXiv 2106.09685) differ from adapters?</summary>
# It adds a product of two thin matrices to a weight: W + B A. It is a bottleneck, too, and B starts at zero for the same reason as `up`. But there is no nonlinearity, and it lies *beside* the weight. After training, B A can be added into W, so inference costs nothing extra. Adapters add layers and therefore time.
# </details>
#
# <details><summary>Q: Why does training a prompt still need much memory, although the model is frozen?</summary>
# The gradient of the prompt passes through every layer, so the activations must be kept. What frozen weights don't need are gradients and the optimiser's state: with Adam, three further numbers for each weight.
# </details>
#
# ## Limits
#
# Our isoFLOP curves span one order of magnitude of compute, with models of two layers. The paper's nine budgets, from 6e18 to 3e21 operations, span almost three. We have few seeds: the legend of Figure 2 and the lines below Figure 7 tell how many, and a curve of one seed has no spread. 6 N D leaves out the scores and sums of attention. The last column of the table in section 1 tells how much that is, and the lines below Figure 2 how unequal it makes a curve. Leaving it out favours the smallest models; what that does to the exponent we didn't measure. The batch differs by budget: 8, 16 and 32 windows a step. So at the large budgets the large models take few steps, which probably makes our best sizes there, and our exponent, too small. The learning rate follows one rule for all widths, found on one seed. The tuning tasks have single-word answers. Houlsby et al. also train the norms, and BitFit's authors a task head; ours don't. The learning rate of each method was chosen on another task, on one seed; a method may gain from a better one.
#
# ## Reading
#
# - Hoffmann et al. 2022, *Chinchilla* ([2203.15556](https://arxiv.org/abs/2203.15556)): Sec. 3, Tables 1 to 3.
# - Kaplan et al. 2020 ([2001.08361](https://arxiv.org/abs/2001.08361)): Sec. 6, the older law.
# - Houlsby et al. 2019, *Adapters* ([1902.00751](https://arxiv.org/abs/1902.00751)): Sec. 2. Our code: `vlmcourse/parts/tuning.py`.
# - Ben Zaken et al. 2022, *BitFit* ([2106.10199](https://arxiv.org/abs/2106.10199)): Sec. 3.
# - Lester et al. 2021, *Prompt tuning* ([2104.08691](https://arxiv.org/abs/2104.08691)): Sec. 2 and 3, Figure 1.
#
# ## Key ideas
#
# > - Training costs about 6 N D operations; at a fixed budget there is a best size.
# > - To the left of the minimum a model is too small, to the right it is trained too little. A curve without a minimum inside tells only a bound.
# > - By Chinchilla's law, parameters and tokens grow equally, with about 20 tokens for each parameter.
# > - BitFit, adapters and prompts train at most a few per cent of the numbers. A new form of question is learnt with them as well as with all weights (Figure 7). On a new rule we trained only adapters and all weights to the end; both miss most held-out nouns (Figure 8).
# > - A trained prompt that is computed from a picture is Frozen's prefix.
#
# ## Glossary
#
# **Floating-point operations (C)**, **isoFLOP curve**, **compute-optimal**, **scaling law**, **MMLU**, **MassiveText**, **full fine-tuning**, **parameter-efficient tuning**, **BitFit**, **adapter**, **prompt tuning**, **forward hook**: each in one line in [docs/GLOSSARY.md](../docs/GLOSSARY.md).
#
# ## Next
#
# **Lesson 07** trains an image encoder whose output stands before the text of this frozen language model, and asks how much of its knowledge and of its few-shot learning carries over to pictures.
