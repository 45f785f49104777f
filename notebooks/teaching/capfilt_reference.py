"""Lesson 09: the course's own answers to the exercises, which stand in where the student's don't pass yet."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from teaching.blip_reference import role_inputs

Ngram = tuple[str, ...]
Pair = tuple[int, str]
"""The number of a picture, and a caption of it."""


def ngram_weights(references: Sequence[Sequence[Sequence[str]]], n: int) -> dict[Ngram, float]:
    """ln of all pictures over those whose references hold the n-gram."""
    pictures_with = Counter(
        gram
        for texts in references
        for gram in {
            tuple(words[start : start + n])
            for words in texts
            for start in range(len(words) - n + 1)
        }
    )
    return {gram: math.log(len(references) / count) for gram, count in pictures_with.items()}


def clipped_cosine(
    caption: Mapping[Ngram, int],
    reference: Mapping[Ngram, int],
    weights: Mapping[Ngram, float],
    unseen: float,
) -> float:
    """CIDEr-D's similarity of the n-grams of one length; 0 if a vector has no length."""
    a, b = (
        {gram: count * weights.get(gram, unseen) for gram, count in counts.items()}
        for counts in (caption, reference)
    )
    norm = math.sqrt(sum(w * w for w in a.values()) * sum(w * w for w in b.values()))
    shared = sum(min(a[gram], b[gram]) * b[gram] for gram in a.keys() & b.keys())
    return shared / norm if norm else 0.0


def keep_captions(logits: Tensor, threshold: float) -> Tensor:
    """(N, 2) logits of "no match" and "match" -> (N,) booleans."""
    return logits.softmax(dim=1)[:, 1] >= threshold


def filter_quality(keep: Tensor, noisy: Tensor) -> list[float]:
    """Precision and recall of finding noise; precision is 0 if nothing is thrown out."""
    found = (~keep & noisy).sum().item()
    return [found / max(1, (~keep).sum().item()), found / noisy.sum().item()]


def threshold_that_keeps(probability: Tensor, noisy: Tensor, share: float) -> float:
    """The largest threshold that keeps at least this share of the right captions."""
    right = probability[~noisy].sort(descending=True).values
    return right[math.ceil(share * len(right)) - 1].item()


def bootstrapped_pairs(
    web: Sequence[Pair],
    synthetic: Sequence[Pair],
    annotated: Sequence[Pair],
    keep_web: Tensor,
    keep_synthetic: Tensor,
) -> list[Pair]:
    """What of web and synthetic pairs is kept, and all annotated ones."""
    kept = [pair for pair, keep in zip(web, keep_web.tolist()) if keep]
    kept += [pair for pair, keep in zip(synthetic, keep_synthetic.tolist()) if keep]
    return kept + list(annotated)


def bootstrap(
    web: list[Pair],
    annotated: list[Pair],
    pretrain: Callable,
    tune_captioner: Callable,
    tune_filter: Callable,
    write: Callable,
    match_logits: Callable,
    threshold: float,
):
    """CapFilt from the first training to the last: the new model."""
    base = pretrain(web + annotated)
    captioner, matcher = tune_captioner(base, annotated), tune_filter(base, annotated)
    synthetic = write(captioner, [picture for picture, _ in web])
    keep = [
        keep_captions(match_logits(matcher, pairs), threshold) for pairs in (web, synthetic)
    ]  # fmt: skip
    return pretrain(bootstrapped_pairs(web, synthetic, annotated, *keep))


def answer_logits(
    encode: Callable,
    decode: Callable,
    states: Tensor,
    question: Tensor,
    answer: Tensor,
    first_tokens: tuple[int, int],
    pad: int,
) -> Tensor:
    """VQA's encoder and decoder: logits (B, A, V) of an answer's tokens."""
    text, mask = role_inputs(question, first_tokens[0], False, pad)
    context = encode(text, mask, states)
    ids, causal = role_inputs(answer, first_tokens[1], True, pad)
    return decode(ids, causal, context, question != pad)


def two_picture_block(
    block: nn.Module,
    right_cross: nn.Module,
    merge: nn.Module | None,
    x: Tensor,
    mask: Tensor,
    left: Tensor,
    right: Tensor,
) -> Tensor:
    """A post-norm block that reads two pictures."""
    x = block.norm1(x + block.attention(x, mask=mask))
    both = block.cross(x, context=left), right_cross(x, context=right)
    read = sum(both) / 2 if merge is None else merge(torch.cat(both, dim=-1))
    x = block.norm_cross(x + read)
    return block.norm2(x + block.feedforward(x))


def dialogue_context(
    states: Tensor, caption_states: Tensor, caption: Tensor, pad: int
) -> tuple[Tensor, Tensor]:
    """Picture and caption as one context, and which of its positions may be attended to."""
    is_picture = torch.ones(states.shape[:2], dtype=torch.bool)
    context = torch.cat([states, caption_states], dim=1)
    return context, torch.cat([is_picture, caption != pad], dim=1)


def ranking_metrics(scores: Tensor, right: Tensor) -> dict[str, float]:
    """VisDial's numbers; equal scores count against the model."""
    own = scores.gather(1, right[:, None])
    ranks = (scores >= own).sum(1).double()
    recall = {f"R@{k}": (ranks <= k).double().mean().item() for k in (1, 5, 10)}
    return {"MRR": (1 / ranks).mean().item(), **recall, "MR": ranks.mean().item()}


def video_states(encode: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
    """(B, F, 3, S, S) -> (B, F * P, D): the frames' states one after the other."""
    B, F = frames.shape[:2]
    states = encode(frames.flatten(0, 1))
    return states.reshape(B, F * states.shape[1], states.shape[2])


PARTS: dict[str, Callable] = {
    function.__name__: function
    for function in (answer_logits, two_picture_block, dialogue_context, video_states)
}
"""What the models of teaching.downstream are put together from."""
