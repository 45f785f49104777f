"""Lesson 00's checks on parameters and on the table of systems: inputs, and the mistakes that have a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        self.norm = nn.BatchNorm1d(third).requires_grad_(
            False
        )  # its running means are no parameters


def model_inputs(generator: torch.Generator) -> tuple[list, dict]:
    return [Shared([number(generator, 2, 9) for _ in range(3)])], {}


def counted(model: nn.Module, trained: Callable, frozen: Callable) -> dict[str, int]:
    own = list(model.parameters())
    return {
        "trained": trained([p for p in own if p.requires_grad]),
        "frozen": frozen([p for p in own if not p.requires_grad]),
    }


def _numbers(parameters: Sequence[Tensor]) -> int:
    return sum(p.numel() for p in parameters)


COUNT_MISTAKES = {
    "the tensors are counted; the numbers in them are wanted.": lambda m: counted(m, len, len),
    "trained and frozen are exchanged.": lambda m: {
        "trained": count_parameters(m)["frozen"],
        "frozen": count_parameters(m)["trained"],
    },
    "all parameters are counted as trained.": lambda m: {
        "trained": _numbers(list(m.parameters())),
        "frozen": 0,
    },
    "a tensor that two layers share is counted twice: use model.parameters(), which lists it once.": lambda m: {
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
    "only the first axis of each tensor is counted; numel() counts all numbers.": lambda m: counted(
        m,
        lambda ps: sum(p.shape[0] if p.dim() else 1 for p in ps),
        lambda ps: sum(p.shape[0] if p.dim() else 1 for p in ps),
    ),
}


WIDE_QUERIES = (
    ({"image", "text"}, {"text", "similarity"}),
    ({"image", "text"}, {"image", "text"}),
    ({"image", "text", "video"}, {"text", "similarity"}),
)
"""Here a system that has less than is asked for is told from one that has exactly this."""
NARROW_QUERIES = (
    ({"image", "text"}, {"text"}),
    ({"image"}, {"text"}),
    ({"text"}, {"image"}),
    ({"video"}, {"text"}),
)
"""Here most systems have more than is asked for."""


def query_inputs(queries: Sequence[tuple], generator: torch.Generator) -> tuple[list, dict]:
    """The systems in random order, and one of the queries."""
    order = torch.randperm(len(systems()), generator=generator).tolist()
    inputs, outputs = queries[number(generator, 0, len(queries) - 1)]
    return [[systems()[place] for place in order], inputs, outputs], {}


def query_variant(systems, inputs, outputs, fits: Callable) -> list[str]:
    return [
        system["name"]
        for system in systems
        if fits(inputs, set(system["inputs"])) and fits(outputs, set(system["outputs"]))
    ]


QUERY_MISTAKES = {
    "a system may accept more than is asked for: ask for a subset, not for equality.": partial(
        query_variant, fits=lambda wanted, has: wanted == has
    ),
    "one common kind is not enough: everything that is asked for must be there.": partial(
        query_variant, fits=lambda wanted, has: bool(wanted & has)
    ),
    "the comparison is the wrong way round: what is asked for must be within what the system has.": (
        partial(query_variant, fits=lambda wanted, has: has <= wanted)
    ),
    "only the inputs are compared.": lambda systems, inputs, outputs: systems_for(
        systems, inputs, set()
    ),
    "only the outputs are compared.": lambda systems, inputs, outputs: systems_for(
        systems, set(), outputs
    ),
    "inputs and outputs are exchanged.": lambda systems, inputs, outputs: systems_for(
        systems, outputs, inputs
    ),
    "return names, not the whole entries.": lambda systems, inputs, outputs: [
        system
        for system in systems
        if inputs <= set(system["inputs"]) and outputs <= set(system["outputs"])
    ],
    "keep the order in which the systems are given.": lambda *args: sorted(systems_for(*args)),
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
