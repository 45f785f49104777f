"""Lesson 05, a language model: its exercises, and a player for nucleus sampling."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from teaching import language_model_context as context
from teaching import language_model_decoding as decoding
from teaching import language_model_heads as heads
from teaching import language_model_losses as losses
from teaching import language_model_sampling as sampling
from vlmcourse.widgets.explorers.sampling import Decoding, next_word_bars
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


def nucleus_player(logits: Tensor, names: Sequence[str], p: float = 0.9) -> None:
    """Displays sliders for p and the temperature over the next word's logits (V,); `names` are the V words."""
    share, temperature = slider("p", p, 0.05, 1, 0.05), slider("temperature", 1, 0.2, 3, 0.2)
    interactive(
        [row(share, temperature)],
        lambda: next_word_bars(
            logits, names, Decoding("nucleus", share.value, temperature.value), max_words=8
        ),
    )
