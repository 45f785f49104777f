"""Small changes to a large language model: what may learn when nearly everything stays frozen.

    biases alone (BitFit)        Ben Zaken et al. 2022, arXiv 2106.10199
    bottlenecks in each layer    adapters, Houlsby et al. 2019, arXiv 1902.00751
    vectors before the text      prompt tuning, Lester et al. 2021, arXiv 2104.08691

Each takes a language model, freezes it (for good: give it a copy to keep the original), and is a model itself:
`model(ids, cache)`, `losses(batch)`. `Frozen` with one constant picture would be prompt tuning.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vlmcourse.parts.language import LanguageModel, embed, freeze, logits, width


class BitFit(LanguageModel):
    """Only biases learn. Raises ValueError for a model that has none (most Llamas)."""

    def __init__(self, lm: nn.Module):
        super().__init__(freeze(lm))
        biases = [parameter for name, parameter in lm.named_parameters() if name.endswith(".bias")]
        if not biases:
            raise ValueError(
                f"this {type(lm).__name__} has no biases, so BitFit has nothing to tune. "
                "Expected a model with biases: GPT-2, OPT, GPT-NeoX, or the course's tiny one."
            )
        for bias in biases:
            bias.requires_grad_(True)


class Adapter(nn.Module):
    """x + up(gelu(down(x))): (..., D) -> (..., D). `up` starts at zero, so at first x passes unchanged (Houlsby, Sec. 2.1)."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.down, self.up = nn.Linear(width, inner), nn.Linear(inner, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(nn.functional.gelu(self.down(x)))


PARTS = ("self_attn", "attn", "attention", "mlp")
"""What decoders of transformers call the attention and the feed-forward of a layer."""


class Adapters(LanguageModel):
    """Two bottlenecks per layer, after attention and after the feed-forward, before each is added to the stream.

    The untouched layers run; hooks pass on what each bottleneck makes of their parts' outputs. Raises ValueError for a
    decoder whose layers don't name these parts as in PARTS. 2 L (2 D inner + inner + D) parameters learn.
    """

    def __init__(self, lm: nn.Module, inner: int):
        super().__init__(freeze(lm))
        parts = [module for name, module in lm.named_modules() if name.split(".")[-1] in PARTS]
        if not parts:
            raise ValueError(
                f"none of {', '.join(PARTS)} among the modules of {type(lm).__name__}, so there is no place for "
                "adapters. Expected a decoder such as Llama, Qwen2, GPT-2 or GPT-NeoX."
            )
        self.adapters = nn.ModuleList(Adapter(width(lm), inner) for _ in parts)
        for part, bottleneck in zip(parts, self.adapters):
            part.register_forward_hook(_through(bottleneck))


def _through(bottleneck: Adapter):
    """A forward hook. Attention returns a tuple whose first entry is its output, a feed-forward the output itself."""

    def hook(module, inputs, output):
        return (
            (bottleneck(output[0]), *output[1:])
            if isinstance(output, tuple)
            else bottleneck(output)
        )

    return hook


class PromptTuning(LanguageModel):
    """`length` learnt vectors stand before every text. They start as the embeddings of words drawn from the vocabulary,
    which the paper found better than random vectors (Sec. 3.2)."""

    def __init__(self, lm: nn.Module, length: int):
        super().__init__(freeze(lm))
        rows = lm.get_input_embeddings().weight
        drawn = torch.randint(len(rows), (length,), generator=torch.Generator().manual_seed(0))
        self.prompt = nn.Parameter(rows[drawn].detach().clone())  # (length, D)

    def forward(self, ids: Tensor, cache=None, padding_mask: Tensor | None = None) -> Tensor:
        """Logits of the part of ids (B, T) that the cache doesn't hold yet: (B, new, V). real (B, T): False at padding."""
        length, seen = len(self.prompt), cache.get_seq_length() if cache is not None else 0
        prompt = self.prompt.to(ids.device).expand(len(ids), -1, -1)
        if padding_mask is not None:
            padding_mask = torch.cat([padding_mask.new_ones(len(ids), length), padding_mask], dim=1)
        if seen:
            return logits(self.lm, embed(self.lm, ids[:, seen - length :]), padding_mask, cache)
        return logits(
            self.lm, torch.cat([prompt, embed(self.lm, ids)], dim=1), padding_mask, cache
        )[:, length:]


def count_trainable(model: nn.Module) -> int:
    """How many numbers learn."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
