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
    assert "every method answers 0.95" in low and "with adapters, width 8 (0.40)" in low
    assert "from 0.50" in tuning_claims.to_see(rows, "place")


def test_means_stand_at_their_bars_where_no_dot_covers_them():
    values = {"A": {"one": 0.4, "two": 0.0}, "B": {"one": 0.2, "two": 1.0}}
    drawn = tuning_figures._means_at_bars(tuning_figures.plots.bars(values, "share"), 0.03)
    (axes,) = drawn.axes
    for text, bar in zip(axes.texts, axes.patches):
        assert text.get_text() == f"{bar.get_height():.2f}"
        assert text.xy[0] == pytest.approx(bar.get_x() + bar.get_width() / 2)
        assert 0.05 < abs(text.xy[1] - 0.03) and abs(text.xy[1] - bar.get_height()) < 0.12


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
