"""Parameter-efficient tuning of a frozen language model.

    BitFit           biases only                  Ben Zaken et al. 2022, arXiv 2106.10199
    adapters         bottlenecks in each layer    Houlsby et al. 2019, arXiv 1902.00751
    prompt tuning    vectors before the text      Lester et al. 2021, arXiv 2104.08691

Each freezes the language model that it is given (pass a copy to keep the original) and is a `LanguageModel`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vlmcourse.parts.attention import cached_length
from vlmcourse.parts.language import Decoder, LanguageModel, embed, freeze, logits, width


class BitFit(LanguageModel):
    """Trains the biases of a language model. Raises ValueError if it has none (most Llamas)."""

    def __init__(self, lm: Decoder):
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
    """x + up(gelu(down(x))): (..., D) -> (..., D). `up` starts at zero, so at first x is unchanged (Houlsby, Sec. 2.1)."""

    def __init__(self, width: int, bottleneck: int):
        super().__init__()
        self.down, self.up = nn.Linear(width, bottleneck), nn.Linear(bottleneck, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(nn.functional.gelu(self.down(x)))


SUBLAYERS = ("self_attn", "attn", "attention", "mlp")
"""Names of the attention and the feed-forward of a layer in decoders of transformers."""


class Adapters(LanguageModel):
    """Trains two adapters per layer, on the outputs of attention and feed-forward: 2 L (2 D bottleneck + bottleneck + D) parameters.

    The layers stay as they are; forward hooks apply the adapters. Raises ValueError for a decoder without SUBLAYERS.
    """

    def __init__(self, lm: Decoder, bottleneck: int):
        super().__init__(freeze(lm))
        sublayers = [part for name, part in lm.named_modules() if name.split(".")[-1] in SUBLAYERS]
        if not sublayers:
            raise ValueError(
                f"none of {', '.join(SUBLAYERS)} among the modules of {type(lm).__name__}, so there is no place for "
                "adapters. Expected a decoder such as Llama, Qwen2, GPT-2 or GPT-NeoX."
            )
        adapters = [Adapter(width(lm), bottleneck) for _ in sublayers]
        self.adapters = nn.ModuleList(adapters)
        for sublayer, adapter in zip(sublayers, adapters):
            sublayer.register_forward_hook(_adapter_hook(adapter))


def _adapter_hook(adapter: nn.Module):
    """Attention returns a tuple whose first entry is its output, a feed-forward returns the output itself."""

    def hook(module, inputs, output):
        if isinstance(output, tuple):
            return (adapter(output[0]), *output[1:])
        return adapter(output)

    return hook


class PromptTuning(LanguageModel):
    """Trains `length` vectors before every text, which start as random word embeddings (Lester et al., Sec. 3.2: best)."""

    def __init__(self, lm: Decoder, length: int):
        super().__init__(freeze(lm))
        words = lm.get_input_embeddings().weight
        chosen = torch.randint(len(words), (length,), generator=torch.Generator().manual_seed(0))
        self.prompt = nn.Parameter(words[chosen].detach().clone())  # (length, D)

    def forward(self, ids: Tensor, cache=None, padding_mask: Tensor | None = None) -> Tensor:
        """As `LanguageModel.forward`: ids (B, T) -> logits (B, new, V). The cache also holds the prompt."""
        length, start = len(self.prompt), cached_length(cache)
        if padding_mask is not None:
            padding_mask = torch.cat([padding_mask.new_ones(len(ids), length), padding_mask], dim=1)
        if start:
            return logits(self.lm, embed(self.lm, ids[:, start - length :]), padding_mask, cache)
        prompt = self.prompt.to(ids.device).expand(len(ids), -1, -1)
        x = torch.cat([prompt, embed(self.lm, ids)], dim=1)
        return logits(self.lm, x, padding_mask, cache)[:, length:]


def count_trainable(model: nn.Module) -> int:
    """Number of parameters with a gradient."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
