"""What a language model says, with or without pictures: the next word among choices, open answers, and their scores.

Models are anything with `model(ids, cache=None, **context) -> logits`; a model that looks at pictures says with
`vision_context(pixel_values)` which context they become. Prompts are anything like world.prompts.Prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from vlmcourse.evaluation.controls import eval_mode
from vlmcourse.parts import generation, language
from vlmcourse.world import tokenizer


def _read(model, prompts, batch: int) -> Iterator[tuple[range, Tensor, Tensor, dict]]:
    """Row numbers, ids, pixels and the rest, batch by batch, where the model is."""
    device = next(model.parameters()).device
    for start in range(0, len(prompts), batch):
        rows = range(start, min(start + batch, len(prompts)))
        made: dict[str, Any] = {
            name: value.to(device)
            if isinstance(value, Tensor)
            else [one.to(device) for one in value]
            for name, value in prompts.batch(rows).items()
        }
        yield rows, made.pop("ids"), made.pop("pixel_values"), made


def _asked(model, prompts, batch: int) -> Iterator[tuple[range, Tensor, dict]]:
    """Row numbers, ids and context, batch by batch."""
    for rows, ids, pixel_values, rest in _read(model, prompts, batch):
        yield rows, ids, rest | (model.vision_context(pixel_values) if len(pixel_values) else {})


def choose_next_token(
    model, prompts, choices: Sequence[Sequence[str]], batch: int = 256
) -> list[str]:
    """After each prompt, the likeliest of its choices, each one token of the world's.

    Raises ValueError for a choice of more than one token.
    """
    said = []
    with eval_mode(model):
        for rows, ids, context in _asked(model, prompts, batch):
            after = model(ids, **context)[:, -1].cpu()  # (B, V)
            for scores, options in zip(after, choices[rows.start : rows.stop]):
                numbers = tokenizer.encode(options)
                if numbers.shape[1] != 3:
                    raise ValueError(
                        f"choices {', '.join(options)}: expected single words, known to the tokenizer."
                    )
                said.append(options[int(scores[numbers[:, 1]].argmax())])
    return said


def next_token_probabilities(
    model, prompts, most: int = 8, batch: int = 256
) -> list[dict[str, float]]:
    """After each prompt, the `most` likeliest next words with their probabilities, the likeliest first."""
    said = []
    with eval_mode(model):
        for _, ids, context in _asked(model, prompts, batch):
            found, numbers = model(ids, **context)[:, -1].float().softmax(-1).cpu().topk(most)
            words = [
                tokenizer.world_tokenizer().convert_ids_to_tokens(row) for row in numbers.tolist()
            ]
            said += [dict(zip(row, values)) for row, values in zip(words, found.tolist())]
    return said


def rank_choices(model, prompts, choices: Sequence[Sequence[str]], batch: int = 16) -> list[str]:
    """After each prompt, the choice with the highest log-likelihood, whatever its number of tokens (they are summed).

    Each prompt is read once for each of its choices, so `choose_next_token` is faster where all choices are single words.
    """
    said, own = [], getattr(prompts, "using", None)
    with eval_mode(model):
        for rows, ids, pixel_values, rest in _read(model, prompts, batch):
            per_row = len(pixel_values) // len(rows)
            for row, options in zip(range(len(rows)), choices[rows.start : rows.stop]):
                answers = tokenizer.encode(options, using=own)[:, 1:].to(ids.device)
                answers = answers.masked_fill(
                    answers == tokenizer.EOS, tokenizer.PAD
                )  # what follows an answer is not judged
                prompt = ids[row][rest["padding_mask"][row]].expand(len(options), -1)
                whole = torch.cat([prompt, answers], dim=1)
                loss_mask = torch.cat(
                    [torch.zeros_like(prompt, dtype=torch.bool), answers != tokenizer.PAD], dim=1
                )
                mine = torch.cat(
                    [pixel_values[row * per_row : (row + 1) * per_row]] * len(options)
                )  # pictures, or films
                seen = model.vision_context(mine) if len(mine) else {}
                said.append(
                    options[
                        int(generation.sequence_log_prob(model, whole, loss_mask, **seen).argmax())
                    ]
                )
    return said


def generate_texts(
    model,
    prompts,
    most: int = 16,
    batch: int = 256,
    sampler: generation.Sampler = generation.greedy,
    stop: int = tokenizer.EOS,
) -> list[str]:
    """What the model goes on with after each prompt, up to the token `stop` or `most` tokens, without special tokens."""
    said = []
    with eval_mode(model):
        for _, ids, context in _asked(model, prompts, batch):
            written = generation.generate(
                model, ids, most, sampler, stop, language.new_cache(model.lm), **context
            ).cpu()
            said += tokenizer.decode(
                written.where(written != stop, tokenizer.PAD), getattr(prompts, "using", None)
            )
    return said
