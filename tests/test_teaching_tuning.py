"""Lesson 06's exercises on tuning: right answers pass, each plausible mistake is named; its tasks and failure lab."""

import pytest
import torch
from exercise_answers import each, message
from torch import nn
from torch.nn.functional import gelu

from teaching import (
    tuning,
    tuning_claims,
    tuning_figures,
    tuning_models,
    tuning_prompts,
    tuning_task,
)
from vlmcourse.evaluation import load_results
from vlmcourse.parts.language import tiny
from vlmcourse.training.scale import Scale

SMOKE = Scale.of("smoke")


def chosen(rule, back=True, both=True):
    def answer(model):
        names = []
        for name, parameter in model.named_parameters():
            if rule(name) or both:
                parameter.requires_grad_(rule(name))
            if rule(name):
                names.append(name)
        return names if back else None

    return answer


def ends(name):
    return name.split(".")[-1] == "bias"


def freeze_only(model):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return [name for name, _ in model.named_parameters() if ends(name)]


def frozen_stays(model):
    for name, parameter in model.named_parameters():
        if not ends(name):
            parameter.requires_grad_(False)
    return [name for name, _ in model.named_parameters() if ends(name)]


def all_names(model):
    chosen(ends)(model)
    return [name for name, _ in model.named_parameters()]


BITFIT = {
    "nothing is trained": freeze_only,
    "at the *end*": chosen(lambda name: "bias" in name),
    "weights are still trained": chosen(ends, both=False),
    "stays frozen": frozen_stays,
    "a parameter called `unbias`": chosen(lambda name: name.endswith("bias")),
    "biases of the norms": chosen(lambda name: ends(name) and "norm" not in name),
    "nothing is returned": chosen(ends, back=False),
    "names of all": all_names,
    "return the list of their names": lambda model: [n[:-5] for n in chosen(ends)(model)],
}


class Good(nn.Module):
    weight_zero, bias_zero, both = True, True, False  # of up, of up, of down
    down_bias_zero = False

    def __init__(self, width, bottleneck):
        super().__init__()
        self.down, self.up = nn.Linear(width, bottleneck), nn.Linear(bottleneck, width)
        if self.weight_zero:
            nn.init.zeros_(self.up.weight)
        if self.bias_zero:
            nn.init.zeros_(self.up.bias)
        if self.both:
            nn.init.zeros_(self.down.weight)
        if self.down_bias_zero:
            nn.init.zeros_(self.down.bias)

    def forward(self, x):
        return x + self.up(gelu(self.down(x)))


def forwarding(function):
    return type("Changed", (Good,), {"forward": function})


def setting(**values):
    return type("Changed", (Good,), values)


class Exchanged(Good):
    def __init__(self, width, bottleneck):
        super().__init__(width, bottleneck)
        self.down, self.up = self.up, self.down


class Unnamed(nn.Module):
    def __init__(self, width, bottleneck):
        super().__init__()
        self.first, self.last = nn.Linear(width, bottleneck), nn.Linear(bottleneck, width)


class WithoutBias(Good):
    def __init__(self, width, bottleneck):
        super().__init__(width, bottleneck)
        self.down = nn.Linear(width, bottleneck, bias=False)


class Gated(Good):
    weight_zero = bias_zero = False

    def __init__(self, width, bottleneck):
        super().__init__(width, bottleneck)
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return x + self.scale * self.up(gelu(self.down(x)))


ADAPTER = {
    "self.down and self.up": Unnamed,
    "narrow in the middle": Exchanged,
    "there is no residual": forwarding(lambda s, x: s.up(gelu(s.down(x)))),
    "no nonlinearity": forwarding(lambda s, x: x + s.up(s.down(x))),
    "comes after up": forwarding(lambda s, x: x + gelu(s.up(s.down(x)))),
    "add x last": forwarding(lambda s, x: gelu(x + s.up(s.down(x)))),
    "second GELU": forwarding(lambda s, x: x + gelu(s.up(gelu(s.down(x))))),
    "that is ReLU": forwarding(lambda s, x: x + s.up(s.down(x).relu())),
    "that is tanh": forwarding(lambda s, x: x + s.up(s.down(x).tanh())),
    "approximation by tanh": forwarding(lambda s, x: x + s.up(gelu(s.down(x), approximate="tanh"))),
    "have biases, too": WithoutBias,
    "a factor that starts at zero": Gated,
    "x is multiplied": forwarding(lambda s, x: x * s.up(gelu(s.down(x)))),
    "bottleneck is not used": forwarding(lambda s, x: x),
    "a new adapter changes its input": setting(weight_zero=False),
    "a layer has a second part": setting(bias_zero=False),
    "follow the zeros": setting(weight_zero=False, both=True),
    "still gets a gradient?": setting(both=True, down_bias_zero=True),
}


def hooked(of, order=1, back=True):
    def answer(sublayers, adapters):
        pairs = zip(sublayers, adapters[::order])
        handles = [one.register_forward_hook(of(adapter)) for one, adapter in pairs]
        return handles if back else None

    return answer


def tuple_hook(adapter):
    def hook(module, inputs, output):
        if isinstance(output, tuple):
            return (adapter(output[0]), *output[1:])
        return adapter(output)

    return hook


def late(sublayers, adapters):
    handles = []
    for sublayer, adapter in zip(sublayers, adapters):

        def hook(module, inputs, output):
            if isinstance(output, tuple):
                return (adapter(output[0]), *output[1:])
            return adapter(output)

        handles.append(sublayer.register_forward_hook(hook))
    return handles


def whole_tuple(adapter):
    return lambda m, i, o: tuple(map(adapter, o)) if isinstance(o, tuple) else adapter(o)


def first_only(adapter):
    return lambda m, i, o: adapter(o[0]) if isinstance(o, tuple) else adapter(o)


def two_entries(adapter):
    return lambda m, i, o: (adapter(o[0]), o[1]) if isinstance(o, tuple) else adapter(o)


def skip_tuple(adapter):
    return lambda m, i, o: o if isinstance(o, tuple) else adapter(o)


def no_return(adapter):
    def hook(module, inputs, output):
        adapter(output[0] if isinstance(output, tuple) else output)

    return hook


def of_the_input(adapter):
    return lambda m, i, o: (adapter(i[0]), *o[1:]) if isinstance(o, tuple) else adapter(i[0])


def of_one_input(adapter):
    return lambda m, i, o: (adapter(o[0]), *o[1:]) if isinstance(o, tuple) else adapter(i[0])


def before(sublayers, adapters):
    def hook_of(adapter):
        return lambda module, inputs: (adapter(inputs[0]),)

    pairs = zip(sublayers, adapters)
    return [one.register_forward_pre_hook(hook_of(adapter)) for one, adapter in pairs]


def added(adapter):
    def hook(module, inputs, output):
        if isinstance(output, tuple):
            return (output[0] + adapter(output[0]), *output[1:])
        return output + adapter(output)

    return hook


INSERT = {
    "register a forward hook": lambda s, a: [],
    "let the hook *return*": hooked(no_return),
    "keep the entries": hooked(first_only),
    "tuple of 3 entries, and now returns 2": hooked(two_entries),
    "output is unchanged": hooked(skip_tuple),
    "only the first one should": hooked(whole_tuple),
    "adapters are exchanged": hooked(tuple_hook, order=-1),
    "the last adapter works": late,
    "the first adapter works": lambda s, a: hooked(tuple_hook)(s, [a[0], a[0]]),
    "once more": hooked(added),
    "gets the input of the sub-layer; it": hooked(of_the_input),
    "gets the input of the sub-layer": hooked(of_one_input),
    "a forward hook runs after it": before,
    "return the handles": hooked(tuple_hook, back=False),
}


def join(decode, prompt, embeddings):
    return decode(torch.cat([prompt.expand(len(embeddings), -1, -1), embeddings], 1))


def behind(decode, prompt, embeddings):
    return decode(torch.cat([embeddings, prompt.expand(len(embeddings), -1, -1)], 1))


PROMPT = {
    "found None": lambda d, p, e: None,
    "are still there": join,
    "wrong positions are dropped": lambda d, p, e: join(d, p, e)[:, : -len(p)],
    "no effect: it isn't used, or it stands": lambda d, p, e: behind(d, p, e)[:, : -len(p)],
    "stands behind the text: in": lambda d, p, e: behind(d, p, e)[:, len(p) :],
    "the prompt has no effect": lambda d, p, e: d(e),
    "no gradient reaches": lambda d, p, e: join(d, p.detach(), e)[:, len(p) :],
    "positions of its own": lambda d, p, e: d(torch.cat([e[:, : len(p)] + p, e[:, len(p) :]], 1)),
    "one position too many": lambda d, p, e: join(d, p, e)[:, len(p) - 1 :],
    "shifted by one": lambda d, p, e: join(d, p, e)[:, len(p) - 1 : -1],
    "added to every word": lambda d, p, e: d(e + p.mean(0)),
    "takes the place of the first": lambda d, p, e: d(
        torch.cat([p.expand(len(e), -1, -1), e[:, len(p) :]], 1)
    ),
    "have the same vector": lambda d, p, e: join(d, p.mean(0, keepdim=True).expand(len(p), -1), e)[
        :, len(p) :
    ],
    "opposite order": lambda d, p, e: join(d, p.flip(0), e)[:, len(p) :],
    "the mean of the prompt": lambda d, p, e: join(d, p.mean(0, keepdim=True), e)[:, 1:],
}


def names(rule):
    return lambda before, after: [name for name in before if rule(before[name], after[name])]


CHANGED = {
    "found None": lambda b, a: None,
    "did *not* change": names(torch.equal),
    "a new parameter isn't": lambda b, a: [n for n in a if n not in b or not torch.equal(a[n], b[n])],
    "a tiny change": names(lambda x, y: not torch.allclose(x, y)),
    "sums, means or norms": names(lambda x, y: bool((x.sum() - y.sum()).abs() > 1e-6)),
    "one is enough": names(lambda x, y: bool((x != y).all())),
    "as objects": names(lambda x, y: x is not y),
    "the new one, too": lambda b, a: list(a),
    "nothing is listed": names(lambda x, y: x is y),
}  # fmt: skip


def text(example="{} : {} .", last="{} :", gap=" "):
    return lambda e, n: gap.join([*(example.format(*pair) for pair in e.items()), last.format(n)])


TEXT = {
    "found None": lambda e, n: None,
    "full stop after each": text("{} : {}"),
    "last colon is missing": text(last="{}"),
    "nothing may follow": text(last="{} : ?"),
    "must come last": lambda e, n: f"{n} : " + text(last="")(e, n).rstrip(),
    "examples are missing": lambda e, n: f"{n} :",
    "colon between noun and answer": text("{} {} ."),
    "no comma": text("{} : {}", gap=" , "),
    "are in another order": lambda e, n: text()(dict(sorted(e.items())), n),
    "question is missing": lambda e, n: text(last="")(e, n).rstrip(),
    "are exchanged": text("{1} : {0} ."),
    "another order": lambda e, n: text()(dict(reversed(e.items())), n),
    "single spaces": text("{}: {}.", "{}:"),
}

WRONG = {
    "tuning.bitfit": BITFIT,
    "tuning.Adapter": ADAPTER,
    "tuning.insert_adapters": INSERT,
    "tuning.prompt_logits": PROMPT,
    "tuning.changed_parameters": CHANGED,
    "tuning.few_shot_prompt": TEXT,
}
RIGHT = {
    "tuning.bitfit": chosen(ends),
    "tuning.Adapter": Good,
    "tuning.insert_adapters": hooked(tuple_hook),
    "tuning.prompt_logits": lambda d, p, e: join(d, p, e)[:, len(p) :],
    "tuning.changed_parameters": lambda b, a: [n for n in b if (b[n] != a[n]).any()],
    "tuning.few_shot_prompt": text(),
}
EXERCISES = {f"tuning.{name}": one for name, one in tuning.EXERCISES.items()}


def test_each_exercise_is_tried():
    assert set(EXERCISES) == set(WRONG) == set(RIGHT)


@pytest.mark.parametrize("id", RIGHT)
def test_right_answers_and_the_reference_pass(id):
    assert [message(id, RIGHT[id]) for _ in range(3)] == [""] * 3
    assert message(id, EXERCISES[id].reference) == ""


def test_an_adapter_may_start_at_zero_by_its_first_layer():
    first = setting(weight_zero=False, both=True, down_bias_zero=True)
    assert message("tuning.Adapter", first) == ""


@pytest.mark.parametrize("id, words, answer", each(WRONG))
def test_each_mistake_is_named(id, words, answer):
    for _ in range(2):
        assert words in message(id, answer)


def test_the_tasks_hold_nouns_out_and_ask_what_the_model_was_never_asked():
    for make in (tuning_task.place_task, tuning_task.new_words_task):
        task = make(1)
        assert not set(task.train) & set(task.held_out) and len(task.held_out) == 37
        assert make(1, 8).held_out == task.held_out and len(make(1, 8).train) == 8
        assert set(task.held_out) != set(make(2).held_out)
        batch = task.batch([0, len(task.train)])
        assert torch.equal(batch["ids"][0], batch["ids"][1])
        assert batch["loss_mask"].tolist() == [[False, False, False, True]] * 2
        assert 0 < tuning_task.most_frequent(task) < 0.4


def measured(held_out, training, facts, seeds=2):
    """Rows of the task 'place' as in replicate_tuning: a list of scores, one a method."""
    return [
        {"row": name, "task": "place", "examples": 87, "seed": seed, "trained": 1,
         "held-out nouns": a, "training nouns": b, "facts": c}
        for seed in range(seeds)
        for name, a, b, c in zip(tuning_figures.METHODS, held_out, training, facts)
    ]  # fmt: skip


def test_a_method_that_does_not_fit_its_training_nouns_is_not_said_to_learn_by_heart():
    rows = measured(
        (0.1, 0.3, 0.95, 0.2, 0.5, 0.99), (0.3, 0.6, 1, 0.5, 1, 1), (1, 1, 1, 0.4, 1, 1)
    )
    lines = tuning_claims.about(rows, "place", tuning_task.place_task).splitlines()
    unfinished, general, heart, guess, lost = (line.split("): ")[-1] for line in lines)
    assert unfinished.endswith("prompt, 1 vector (0.30), prompt, 5 vectors (0.60), BitFit (0.50)")
    assert general.endswith("prompt, 20 vectors (0.95), all weights (0.99)")
    assert heart.endswith("held-out nouns below: adapters, width 8 (0.50)")
    assert guess == "prompt, 1 vector (0.10)" and lost.endswith("0.95: BitFit (0.40)")


def test_a_caption_names_whiskers_only_where_they_are_drawn():
    rows = measured(*[(0.5,) * 6] * 3)
    assert "whiskers" not in tuning_claims.dots(rows)
    assert "whiskers" in tuning_claims.dots(measured(*[(0.5,) * 6] * 3, seeds=3))
    low = tuning_claims.to_see(
        measured((1, 0.95, 1, 1, 1, 1), (1,) * 6, (1, 1, 1, 1, 0.4, 1)), "place"
    )
    assert "answers 0.95 or more of the held-out" in low and "width 8 (0.40; seeds" in low
    assert "from 0.50" in tuning_claims.to_see(rows, "place")
    right = measured((1,) * 6, (1,) * 6, (1,) * 6)
    assert "every method answers all held-out nouns" in tuning_claims.to_see(right, "place")


def test_chance_is_that_of_the_held_out_nouns_of_all_seeds():
    task, rows = tuning_task.place_task, measured((0.5,) * 6, (1,) * 6, (1,) * 6, seeds=3)
    usual, clear = tuning_claims.guessing(rows, "place", task)
    assert usual == pytest.approx(sum(map(tuning_task.most_frequent, map(task, range(3)))) / 3)
    assert clear - usual == pytest.approx(2 * (usual * (1 - usual) / 111) ** 0.5)


def few(scores, examples):
    """Rows of few examples: of each way a score for each seed."""
    return [
        {"row": row, "task": "place", "examples": examples, "seed": seed, "held-out nouns": score}
        for row, values in zip(tuning_figures.WAYS.values(), scores)
        for seed, score in enumerate(values)
    ]


def test_examples_that_all_have_one_answer_are_told_apart():
    rows = few([(0, 0, 0), (0, 1, 1), (0.03, 0.9, 0.8), (0.02, 0.3, 0.1)], 2)
    rows += few([(0.3,) * 3, (1,) * 3, (1,) * 3, (0.8,) * 3], 8)
    assert tuning_claims.one_answer(rows, 2) == {0: "house"}
    assert tuning_claims.one_answer(rows, 8) == {}
    text = tuning_claims.few_to_see(rows)
    assert "in seed 0 all 2 examples have the answer 'house'" in text and "above 0.03;" in text
    assert "the other seeds the best is: in the prompt, a known form (1.00)" in text
    assert "8 examples the best is: in the prompt, a known form, and prompt tuning" in text
    first, others, eight = tuning_claims.about_few_examples(rows).splitlines()
    assert (
        "one answer only" in first and "a known form 1.00; prompt tuning, 5 vectors 0.85" in others
    )
    assert eight.endswith("'noun : answer' 0.30")


def test_numbers_stand_in_a_column_and_dashes_only_across_bars_of_held_out_nouns():
    runs = {
        name: {"held-out nouns": held_out, "facts, adapters removed": 1}
        for name, held_out in {"healthy": 1.0, "A": 0.4, "B": 0.0}.items()
    }
    (axes,) = tuning_figures.lab_scores(runs).axes
    held_out, facts = tuning_figures._bars(axes.figure)
    numbers = {text.xy[0]: text.get_text() for text in axes.texts}
    assert len(numbers) == 1 and [text.get_text() for text in axes.texts[:3]] == [
        "1.00",
        "0.40",
        "0.00",
    ]
    dashes = [line.get_ydata() for line in axes.lines if line.get_linestyle() == "--"]
    for bar, (low, high) in zip(held_out, dashes, strict=True):
        assert low < bar.get_y() + bar.get_height() / 2 < high
        assert not any(low < other.get_y() + other.get_height() / 2 < high for other in facts)


def test_what_the_lesson_says_of_the_results_holds_in_them():
    rows = load_results("replicate_tuning")["rows"]

    def kept(task):
        return tuning_figures.spread_of(rows, "adapters, width 8", task, "facts").values

    assert min(kept("new words")) > max(kept("place"))
    unfinished = tuning_claims.unfinished(rows, tuning_figures.METHODS, "new words")
    assert all(name in unfinished for name in tuning_figures.METHODS[:4])
    assert "adapters" not in unfinished and "all weights" not in unfinished
    for name in ("adapters, width 8", "all weights"):
        assert max(tuning_figures.spread_of(rows, name, "new words").values) < 0.5


@pytest.mark.parametrize("cause", tuning_models.CAUSES)
def test_only_the_unfrozen_run_of_the_failure_lab_moves_the_language_model(cause):
    found = tuning_models.broken_run(cause, SMOKE)
    moved = found["changed"] > len([n for n in ("down", "up") for _ in range(8)])
    assert moved == (cause == "not frozen") and found["frozen but changed"] == []


def test_a_prompted_model_is_the_frozen_model_behind_its_vectors():
    torch.manual_seed(0)
    model = tuning_models.PromptedModel(tiny(40, 24, 1, 2), 3, tuning_prompts.prompt_logits)
    ids = torch.randint(3, 40, (2, 5))
    words = model.lm.get_input_embeddings()(ids)
    with torch.no_grad():
        prompt = model.prompt.expand(2, -1, -1)
        whole = model.lm(inputs_embeds=torch.cat([prompt, words], 1)).logits
        assert torch.allclose(model(ids), whole[:, 3:], atol=1e-5)
