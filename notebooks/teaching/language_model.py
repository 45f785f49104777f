"""Lesson 05, a language model: its exercises, and a player for nucleus sampling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from teaching import language_model_context as context
from teaching import language_model_decoding as decoding
from teaching import language_model_heads as heads
from teaching import language_model_losses as losses
from teaching import language_model_sampling as sampling
from vlmcourse.plots import probability_bars
from vlmcourse.widgets.interactive import interactive, row, slider

EXERCISES = {
    "token_losses": losses.TOKEN_LOSSES,
    "next_word_loss": losses.NEXT_WORD_LOSS,
    "generate": decoding.GENERATE,
    "cache": decoding.CACHED,
    "nucleus": sampling.NUCLEUS,
    "beam_step": sampling.BEAM,
    "answer_log_prob": losses.ANSWER_LOG_PROB,
    "prompt": context.PROMPT,
    "rule": context.RULE,
    "head_scores": heads.SCORES,
    "silence_head": heads.SILENCE,
}
"""The checks are in the modules of these names, the answers in language_model_answers.py."""


def nucleus_bars(
    logits: Tensor, names: Sequence[str], p: float, temperature: float, max_words: int = 8
):
    """Bars of the likeliest next words and of what the nucleus leaves of them: logits (V,), names of the V words."""
    probabilities = (logits / temperature).softmax(-1)
    ordered, order = probabilities.sort(descending=True, stable=True)
    kept = torch.zeros_like(probabilities, dtype=torch.bool)
    kept[order[ordered.cumsum(-1) - ordered < p]] = True
    renormalised = probabilities.where(kept, 0) / probabilities[kept].sum()
    state = f"p {p:.2f}, temperature {temperature:.1f}: {int(kept.sum())}"
    share = f"{probabilities[kept].sum():.2f} of the probability"
    figure = probability_bars(
        {
            names[index]: {
                "model": probabilities[index].item(),
                "nucleus": renormalised[index].item(),
            }
            for index in order[:max_words].tolist()
        },
        "probability",
        title=f"{state} of {len(logits)} words stay, {share}",
    )
    figure.description = f"{state} words stay. {figure.description}"
    return figure


def nucleus_player(logits: Tensor, names: Sequence[str], p: float = 0.9) -> None:
    """Displays sliders for p and the temperature over the next word's logits (V,); `names` are the V words."""
    share, temperature = slider("p", p, 0.05, 1, 0.05), slider("temperature", 1, 0.2, 3, 0.2)
    interactive(
        [row(share, temperature)],
        lambda: nucleus_bars(logits, names, share.value, temperature.value),
    )
