"""Lesson 00's checks on parameters and on the table of systems: inputs, and the mistakes that have a name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from teaching.course_map_answers import FLAVOURS, count_parameters, systems, systems_for
from teaching.exercises import number


class Shared(nn.Module):
    """A model with a frozen part, a trained part, and one tensor that two layers share."""

    def __init__(self, sizes: Sequence[int]):
        super().__init__()
        first, second, third = sizes
        self.encoder = nn.Linear(first, second).requires_grad_(False)
        self.bridge = nn.Sequential(nn.Linear(second, third), nn.LayerNorm(third))
        self.tied = nn.Linear(second, third, bias=False)
        self.tied.weight = self.bridge[0].weight
        self.scale = nn.Parameter(torch.zeros(()))
        self.norm = nn.BatchNorm1d(third).requires_grad_(False)  # with buffers: its running means
        self.norm.eval()  # the encoder is frozen, too, but stays in training mode


def model_inputs(generator: torch.Generator) -> tuple[list, dict]:
    return [Shared([number(generator, 2, 9) for _ in range(3)])], {}


def counted(model: nn.Module, trained: Callable, frozen: Callable) -> dict[str, int]:
    own = list(model.parameters())
    return {
        "trained": trained([p for p in own if p.requires_grad]),
        "frozen": frozen([p for p in own if not p.requires_grad]),
    }


def _both(model: nn.Module, number_of: Callable) -> dict[str, int]:
    return counted(model, *(2 * [lambda own: sum(map(number_of, own))]))


def _each(parameters: Iterable[Tensor]) -> dict[str, int]:
    counts = {"trained": 0, "frozen": 0}
    for parameter in parameters:
        counts["trained" if parameter.requires_grad else "frozen"] += parameter.numel()
    return counts


def _by_mode(model: nn.Module, once: bool) -> dict[str, int]:
    """Parameters of modules in training mode, and of the others; a shared tensor once, or as often as it is met."""
    counts, seen = {"trained": 0, "frozen": 0}, set()
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            if not (once and parameter in seen):
                counts["trained" if module.training else "frozen"] += parameter.numel()
            seen.add(parameter)
    return counts


def _numbers(parameters: Sequence[Tensor]) -> int:
    return sum(p.numel() for p in parameters)


COUNT_MISTAKES = {
    "the tensors are counted; the numbers in them are wanted.": lambda m: counted(m, len, len),
    "the weights themselves are added up; the numbers are to be counted.": (
        lambda m: _both(m, lambda p: p.sum().item()),
        lambda m: _both(m, lambda p: p.abs().sum().item()),
    ),
    "train() and eval() don't freeze anything; ask each parameter for requires_grad.": (
        partial(_by_mode, once=True),
        partial(_by_mode, once=False),
    ),
    "trained and frozen are exchanged.": lambda m: {
        "trained": count_parameters(m)["frozen"],
        "frozen": count_parameters(m)["trained"],
    },
    "all parameters are counted as trained.": lambda m: {
        "trained": _numbers(list(m.parameters())),
        "frozen": 0,
    },
    "a tensor that two layers share is counted twice.": lambda m: {
        "trained": count_parameters(m)["trained"] + m.tied.weight.numel(),
        "frozen": count_parameters(m)["frozen"],
    },
    "buffers, such as running means, are counted: they are no parameters.": lambda m: {
        "trained": count_parameters(m)["trained"],
        "frozen": count_parameters(m)["frozen"] + _numbers(list(m.buffers())),
    },
    "the frozen count holds all parameters, the trained ones included.": lambda m: {
        "trained": count_parameters(m)["trained"],
        "frozen": _numbers(list(m.parameters())),
    },
    "only the first axis of each tensor is counted; count all numbers.": lambda m: _both(
        m, lambda p: p.shape[0] if p.dim() else 1
    ),
    "the sizes of the axes are added; the numbers in a tensor are their product.": lambda m: _both(
        m, lambda p: sum(p.shape)
    ),
    "these are bytes; count the numbers.": lambda m: _both(m, lambda p: p.nbytes),
    "nothing is counted as trained. If you ask for .grad: it is None before the first backward pass; ask for requires_grad.": (
        lambda m: {"trained": 0, "frozen": _numbers(list(m.parameters()))}
    ),
    "state_dict() gives tensors that never require a gradient, buffers among them; it is not the list of parameters.": (
        lambda m: {"trained": 0, "frozen": _numbers(list(m.state_dict().values()))}
    ),
    "a loop over children() or modules() meets shared tensors twice, or misses parameters of the model itself.": (
        lambda m: _each(p for child in m.children() for p in child.parameters()),
        lambda m: _each({p for child in m.children() for p in child.parameters()}),
        lambda m: _each(p for part in m.modules() for p in part.parameters()),
        lambda m: _each(p for child in m.children() for p in child.parameters(recurse=False)),
    ),
    "biases and single numbers are parameters, too: count tensors with any number of axes.": (
        lambda m: _each(p for p in m.parameters() if p.dim() > 1),
        lambda m: _each(p for name, p in m.named_parameters() if "weight" in name),
        lambda m: _each(p for name, p in m.named_parameters() if "bias" not in name),
    ),
    "the frozen ones are missing: count both kinds.": lambda m: {
        "trained": count_parameters(m)["trained"],
        "frozen": 0,
    },
    "'trained' holds all parameters, the frozen ones included.": (
        lambda m: {
            "trained": _numbers(list(m.parameters())),
            "frozen": count_parameters(m)["trained"],
        },
        lambda m: {
            "trained": _numbers(list(m.parameters())),
            "frozen": count_parameters(m)["frozen"],
        },
    ),
    "only the last tensor of each kind is left: add them up.": lambda m: counted(
        m, lambda own: own[-1].numel(), lambda own: own[-1].numel()
    ),
    "the names of layers differ from model to model: ask each parameter for requires_grad.": lambda m: {
        "trained": _numbers(list(m.bridge.parameters())),
        "frozen": _numbers(list(m.encoder.parameters())),
    },
    "this model has parameters outside its layers, and layers inside layers.": (
        lambda m: _each(m.parameters(recurse=False))
    ),
}


KINDS = ("image", "text", "video", "sound")


def query_inputs(generator: torch.Generator) -> tuple[list, dict]:
    """A query for two kinds of inputs and two of outputs, and invented systems in random order: what each side has is exactly
    what is asked for, more, less, a part and something else, or only something else, in all combinations."""

    def side() -> tuple[set[str], list[list[str]]]:
        a, b, c, d = (KINDS[place] for place in torch.randperm(4, generator=generator).tolist())
        return {a, b}, [[a, b], [c, a, b], [b], [a, d], [c, d]]

    (inputs, reads), (outputs, writes) = side(), side()
    pairs = list(itertools.product(reads, writes))
    letters = torch.randperm(len(pairs), generator=generator).tolist()
    order = torch.randperm(len(pairs), generator=generator).tolist()
    systems = [
        {"name": f"system {chr(65 + letter)}", "inputs": has, "outputs": can}
        for letter, (has, can) in zip(letters, (pairs[place] for place in order))
    ]
    return [systems, inputs, outputs], {}


Fits = Callable[[set, set], bool]


def query_variant(
    systems: Sequence[dict], inputs: set, outputs: set, reads: Fits, writes: Fits
) -> list[str]:
    return [
        system["name"]
        for system in systems
        if reads(inputs, set(system["inputs"])) and writes(outputs, set(system["outputs"]))
    ]


def _sides(wrong: Fits) -> tuple[Callable, ...]:
    """The wrong comparison of both sides, of the inputs only, of the outputs only."""
    return tuple(
        partial(query_variant, reads=reads, writes=writes)
        for reads, writes in ((wrong, wrong), (wrong, set.issubset), (set.issubset, wrong))
    )


QUERY_MISTAKES = {
    "a system may accept more than is asked for: ask for a subset, not for equality.": _sides(
        lambda wanted, has: wanted == has
    ),
    "< asks for a proper subset, so systems with exactly what is asked for are lost.": _sides(
        lambda wanted, has: wanted < has
    ),
    "one common kind is not enough: everything that is asked for must be there.": _sides(
        lambda wanted, has: bool(wanted & has)
    ),
    "the comparison is the wrong way round: what is asked for must be within what the system has.": (
        _sides(lambda wanted, has: has <= wanted)
    ),
    "the list is empty. `inputs in a_list` asks if the whole set is one entry; ask for a subset. Or are both sides compared with one list?": (
        lambda *_: []
    ),
    "inputs and outputs must both fit: use and, not or.": lambda systems, inputs, outputs: [
        system["name"]
        for system in systems
        if inputs <= set(system["inputs"]) or outputs <= set(system["outputs"])
    ],
    "inputs and outputs are put into one set; compare each side by itself.": (
        lambda systems, inputs, outputs: [
            system["name"]
            for system in systems
            if inputs | outputs <= {*system["inputs"], *system["outputs"]}
        ]
    ),
    "these are the systems that don't fit: leave out the not.": lambda systems, inputs, outputs: [
        system["name"]
        for system in systems
        if not (inputs <= set(system["inputs"]) and outputs <= set(system["outputs"]))
    ],
    "only the inputs are compared.": lambda systems, inputs, outputs: systems_for(
        systems, inputs, set()
    ),
    "only the outputs are compared.": lambda systems, inputs, outputs: systems_for(
        systems, set(), outputs
    ),
    "inputs and outputs are exchanged.": lambda systems, inputs, outputs: systems_for(
        systems, outputs, inputs
    ),
    "these are all systems; leave out those that don't fit.": lambda systems, inputs, outputs: (
        systems_for(systems, set(), set())
    ),
    "return names, not the whole entries.": lambda systems, inputs, outputs: [
        system
        for system in systems
        if inputs <= set(system["inputs"]) and outputs <= set(system["outputs"])
    ],
    "return a list of names, in the order in which the systems are given.": lambda *args: set(
        systems_for(*args)
    ),
    "only the first system is returned: collect all of them.": (
        lambda *args: systems_for(*args)[:1],
        lambda *args: systems_for(*args)[0],
    ),
    "keep the order in which the systems are given.": (
        lambda *args: sorted(systems_for(*args)),
        lambda *args: systems_for(*args)[::-1],
    ),
}


def run_on_each(target, names):
    """Driver: the answer for each name."""
    return [target(name) for name in names]


def names_inputs(generator: torch.Generator) -> tuple[list, dict]:
    return [[system["name"] for system in systems()]], {}


WHY = {
    "Bottom-up and top-down": "it is built on an object detector, for captions and VQA only",
    "AttnGAN": "text goes in and an image comes out",
    "ViLBERT": "it reads regions of an object detector, and is fine-tuned for each task",
    "VL-BERT": "it reads regions of an object detector, and is fine-tuned for each task",
    "CLIP": "it gives vectors to compare, no text and no image",
    "DALL·E": "text goes in and an image comes out",
    "Frozen": "it is trained on pairs of an image and its caption, and text comes out",
    "Stable Diffusion": "text goes in and an image comes out",
    "BLIP": "it is trained on pairs of an image and its caption, and text comes out",
    "Flamingo": "it is trained on pages in which images and texts alternate, and examples in the prompt say what to do",
    "BLIP-2": "it is trained on pairs of an image and its caption, and text comes out",
    "LLaVA": "it is trained on dialogues, and an instruction in the prompt says what to do",
    "Stable Diffusion 3": "text goes in and an image comes out",
    "Chameleon": "images and texts go in and come out",
}


def explain_flavour(got: object, wanted: list[str], names: list[str]) -> str | None:
    """The first system with the wrong flavour, and a fact about it."""
    if not isinstance(got, list) or len(got) != len(names):
        return None
    for name, flavour, right in zip(names, got, wanted):
        if flavour not in FLAVOURS:
            return f"{name}: {flavour!r} is no flavour; expected one of {', '.join(FLAVOURS)}."
        if flavour != right:
            return f"{name} is not '{flavour}': {WHY[name]}."
    return None
