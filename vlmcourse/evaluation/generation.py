"""Answers of language models, with or without pictures: the best of given choices, or generated text.

Models are anything with `model(ids, cache=None, padding_mask=None, **context) -> logits (B, T, V)`, and, for pictures,
`vision_context(pixel_values) -> context`. Prompts are anything like world.prompts.Prompts: a length, and `batch(rows)`
with `ids` (B, T), `padding_mask` (B, T) and `pixel_values`; `using`, if not the world's tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vlmcourse.evaluation.controls import eval_mode
from vlmcourse.parts import generation, language
from vlmcourse.world import tokenizer

STOP = "."  # what ends a sentence


def _batches(model, prompts, batch: int) -> Iterator[tuple[range, Tensor, Tensor, dict]]:
    """Row numbers, ids, pixels and the rest, batch by batch, where the model is."""
    device = next(model.parameters()).device

    def moved(value):
        return (
            value.to(device) if isinstance(value, Tensor) else [part.to(device) for part in value]
        )

    for start in range(0, len(prompts), batch):
        rows = range(start, min(start + batch, len(prompts)))
        inputs = {name: moved(value) for name, value in prompts.batch(rows).items()}
        yield rows, inputs.pop("ids"), inputs.pop("pixel_values"), inputs


def _context(model, pixel_values) -> dict:
    return model.vision_context(pixel_values) if len(pixel_values) else {}


def _next_logits(model, prompts, batch: int) -> Iterator[tuple[range, Tensor]]:
    """Row numbers and the logits after each prompt, (B, V)."""
    for rows, ids, pixel_values, inputs in _batches(model, prompts, batch):
        yield rows, model(ids, **inputs, **_context(model, pixel_values))[:, -1].float().cpu()


def choose_next_token(
    model, prompts, choices: Sequence[Sequence[str]], batch: int = 256
) -> list[str]:
    """After each prompt, the likeliest of its choices, each one token of the world's, else ValueError."""
    chosen = []
    with eval_mode(model):
        for rows, logits in _next_logits(model, prompts, batch):
            for scores, options in zip(logits, choices[rows.start : rows.stop]):
                ids = tokenizer.encode(options)
                if ids.shape[1] != 3:
                    raise ValueError(
                        f"choices {', '.join(options)}: expected single words, known to the tokenizer."
                    )
                chosen.append(options[int(scores[ids[:, 1]].argmax())])
    return chosen


def next_token_probabilities(
    model, prompts, k: int = 8, batch: int = 256
) -> list[dict[str, float]]:
    """After each prompt, the `k` likeliest next words with their probabilities, the likeliest first."""
    to_words, rows = tokenizer.world_tokenizer().convert_ids_to_tokens, []
    with eval_mode(model):
        for _, logits in _next_logits(model, prompts, batch):
            best = logits.softmax(-1).topk(k)
            for ids, values in zip(best.indices.tolist(), best.values.tolist()):
                rows.append(dict(zip(to_words(ids), values)))
    return rows


def rank_choices(model, prompts, choices: Sequence[Sequence[str]], batch: int = 16) -> list[str]:
    """After each prompt, the choice with the highest log-likelihood, whatever its number of tokens (they are summed).

    Each prompt is read once for each of its choices, so `choose_next_token` is faster where all choices are single words.
    """
    chosen, using = [], getattr(prompts, "using", None)
    with eval_mode(model):
        for rows, ids, pixel_values, inputs in _batches(model, prompts, batch):
            per_row = len(pixel_values) // len(rows)  # pictures, or films
            for row, options in enumerate(choices[rows.start : rows.stop]):
                answers = tokenizer.encode(options, using=using)[:, 1:].to(ids.device)
                # what follows an answer does not count
                answers = answers.masked_fill(answers == tokenizer.EOS, tokenizer.PAD)
                prompt = ids[row][inputs["padding_mask"][row]].expand(len(options), -1)
                loss_mask = torch.cat([torch.zeros_like(prompt), answers != tokenizer.PAD], 1)
                pictures = pixel_values[row * per_row : (row + 1) * per_row]
                context = _context(model, torch.cat([pictures] * len(options)))
                log_probs = generation.sequence_log_prob(
                    model, torch.cat([prompt, answers], 1), loss_mask.bool(), **context
                )
                chosen.append(options[int(log_probs.argmax())])
    return chosen


def _greedy(model) -> generation.Sampler:
    """The most probable token. Of a model that reads pictures among words never the image token: it would need a picture."""
    holder = model if hasattr(model, "image_token_id") else getattr(model, "config", None)
    token_id = getattr(holder, "image_token_id", None)
    return generation.greedy if token_id is None else generation.greedy_without(token_id)


def generate_texts(
    model,
    prompts,
    max_new_tokens: int = 16,
    batch: int = 256,
    sampler: generation.Sampler | None = None,
    stop: int = tokenizer.EOS,
) -> list[str]:
    """What the model generates after each prompt, up to the token `stop` or `max_new_tokens` tokens, without special tokens.

    sampler  default: the most probable token, never the image token
    """
    texts, using, sampler = [], getattr(prompts, "using", None), sampler or _greedy(model)
    with eval_mode(model):
        for _, ids, pixel_values, inputs in _batches(model, prompts, batch):
            context = inputs | _context(model, pixel_values)
            cache = language.new_cache(model.lm)
            written = generation.generate(
                model, ids, max_new_tokens, sampler, stop, cache, **context
            ).cpu()
            texts += tokenizer.decode(written.where(written != stop, tokenizer.PAD), using)
    return texts


def generate_sentences(model, prompts, max_new_tokens: int) -> list[str]:
    """What the model generates after each prompt, greedily, up to the full stop or `max_new_tokens` tokens."""
    stop = int(tokenizer.encode([STOP])[0, 1])
    texts = generate_texts(model, prompts, max_new_tokens=max_new_tokens, stop=stop)
    return [text.removesuffix(STOP).strip() for text in texts]
