"""Lesson 06, its second half: the checks of the exercises on parameter-efficient tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from teaching import tuning_layers, tuning_prompts
from teaching.exercises import Exercise, normal, number, rule
from vlmgrader.checks import driver_source

# Exercise 6


def bitfit(model: nn.Module) -> list[str]:
    chosen = []
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.split(".")[-1] == "bias")
        if parameter.requires_grad:
            chosen.append(name)
    return chosen


def run_bitfit(target, width):
    """Driver: which parameters of a small model have a gradient afterwards, and what was returned."""
    import torch
    from torch import nn

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.debias = nn.Linear(width, width)
            self.norm = nn.LayerNorm(width)
            self.unbias = nn.Parameter(torch.ones(width))
            self.inner = nn.Sequential(
                nn.Linear(width, 2, bias=False), nn.GELU(), nn.Linear(2, width)
            )

    model = Small()
    model.inner[2].bias.requires_grad_(False)
    said = target(model)
    trained = sorted(name for name, value in model.named_parameters() if value.requires_grad)
    return [trained, sorted(map(str, said)) if isinstance(said, (list, tuple, set)) else said]


BIASES = ["debias.bias", "inner.2.bias", "norm.bias"]
EVERYTHING = ["debias.bias", "debias.weight", "inner.0.weight", "inner.2.bias", "inner.2.weight",
              "norm.bias", "norm.weight", "unbias"]  # fmt: skip


def explain_bitfit(got: object, *_: object) -> str | None:
    """What the lists [trained, returned] say about the code."""
    if not isinstance(got, list):
        return None
    trained, said = got
    if not trained:
        return "nothing is trained: after freezing, give the biases their gradient back."
    if (
        "debias.weight" in trained
        and "norm.weight" not in trained
        and "inner.2.weight" not in trained
    ):
        return "a weight of a layer called `debias` is trained: look at the *end* of the name."
    if any(name.endswith("weight") for name in trained):
        return "weights are still trained: freeze all that is not a bias."
    if "inner.2.bias" not in trained:
        return "a bias that was frozen before stays frozen: set requires_grad in both directions."
    if "norm.bias" not in trained:
        return (
            "the biases of the norms are missing: every parameter whose name ends in bias counts."
        )
    if "unbias" in trained:
        return "a parameter called `unbias` is trained: split the name at its dots; its last *part* must be `bias`."
    if trained != BIASES:
        return f"trained are {', '.join(trained)}; expected all biases."
    if said is None:
        return "the right parameters are trained, but nothing is returned: return their names."
    if said == EVERYTHING:
        return "the names of all parameters are returned: return those that are trained."
    return "the right parameters are trained; return the list of their names, as named_parameters gives them."


# Exercise 10


def changed_parameters(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> list[str]:
    return [name for name in before if not torch.equal(before[name], after[name])]


def run_changed(target, before, after):
    """Driver: the names, in alphabetical order."""
    found = target(before, after)
    return sorted(map(str, found)) if isinstance(found, (list, tuple, set)) else found


def changed_inputs(generator: torch.Generator) -> tuple[list, dict]:
    before = {name: normal(generator, 2, 3) for name in ("a", "b", "c", "d", "e")}
    before["d"] = (8 * before["d"]).round() / 8  # so that sums and norms are exact in any order
    before["d"][0, 0] = 5
    after = {name: value.clone() for name, value in before.items()}
    after["b"][0, 1] += 1
    after["c"] = after["c"] * (1 + 1e-6)  # a tiny change is one, too
    after["d"] = after["d"].flip(1)  # the same sum
    after["new"] = normal(generator, 2, 3)
    return [before, after], {}


def where(rule_of: Callable[[Tensor, Tensor], bool]) -> Callable:
    return lambda before, after: sorted(n for n in before if rule_of(before[n], after[n]))


CHANGED_MISTAKES = {
    "those are the parameters that did *not* change.": where(torch.equal),
    "a new parameter isn't one that changed: go through the names of `before`.": (
        lambda b, a: sorted([*changed_parameters(b, a), "new"])
    ),
    "a tiny change is missed: compare exactly, without a tolerance.": where(
        lambda x, y: not torch.allclose(x, y)
    ),
    "sums, means or norms are compared: two different tensors can have the same one.": (
        where(lambda x, y: float(x.norm()) != float(y.norm())),
        where(lambda x, y: float(x.sum()) != float(y.sum())),
        where(lambda x, y: abs(float(x.sum() - y.sum())) > 1e-6),
        where(lambda x, y: abs(float(x.mean() - y.mean())) > 1e-6),
    ),
    "a parameter is listed only if all of its numbers changed: one is enough.": where(
        lambda x, y: bool((x != y).all())
    ),
    "tensors are compared as objects (`is`), not by their values: all of them are listed.": where(
        lambda x, y: True
    ),
    "all parameters are listed, the new one, too: compare values.": lambda b, a: sorted(a),
    "nothing is listed, though some values changed.": lambda b, a: [],
}

EXERCISES = tuning_layers.EXERCISES | tuning_prompts.EXERCISES | {
    "bitfit": Exercise(
        "All biases and nothing else.",
        (
            rule(
                "bitfit",
                lambda generator: ([number(generator, 3, 5)], {}),
                lambda width: [BIASES, BIASES],
                driver=driver_source(run_bitfit),
                explain=explain_bitfit,
            ),
        ),
        reference=bitfit,
    ),
    "changed_parameters": Exercise(
        "What changed, to the last bit; parameters that are new don't count.",
        (
            rule(
                "changed_parameters",
                changed_inputs,
                lambda *args: sorted(changed_parameters(*args)),
                CHANGED_MISTAKES,
                driver=driver_source(run_changed),
            ),
        ),
        reference=changed_parameters,
    ),
}  # fmt: skip
