"""Writing: cached == uncached, the same as transformers' generate, and each strategy is what it says."""

import itertools
import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from vlmcourse.parts import generation, language

END = 2


def llama(seed=0, vocabulary=20):
    torch.manual_seed(seed)
    lm = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            bos_token_id=1,
            eos_token_id=END,
            pad_token_id=END,
        )
    )
    with torch.no_grad():
        lm.lm_head.weight.mul_(40)
    return language.freeze(lm)


PROMPT = torch.tensor([[1, 5, 7]])


def bigram(table):
    """A model whose next token depends on the last one alone: table (V, V) of probabilities."""
    return lambda ids, cache=None: torch.tensor(table).log()[ids]


@pytest.mark.parametrize("seed", range(6))
def test_greedy_is_transformers_greedy_with_and_without_cache(seed):
    lm = llama(seed)
    wanted = lm.generate(PROMPT, max_new_tokens=12, do_sample=False)[0, 3:].tolist()
    model = language.LanguageModel(lm)
    for cache in (None, language.new_cache(lm)):
        assert generation.generate(model, PROMPT, 12, end=END, cache=cache)[0].tolist() == wanted


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed, beams, penalty", list(itertools.product(range(6), (1, 3, 5), (-1.0, 0.0, 1.0)))
)
def test_beam_search_is_transformers_beam_search(seed, beams, penalty):
    lm = llama(seed)
    wanted = lm.generate(
        PROMPT, max_new_tokens=8, num_beams=beams, do_sample=False, length_penalty=penalty
    )[0, 3:].tolist()
    if beams == 1:
        wanted = lm.generate(PROMPT, max_new_tokens=8, do_sample=False)[0, 3:].tolist()
    found = [
        generation.beam_search(
            language.LanguageModel(lm), PROMPT, 8, beams, END, penalty, cache
        ).tolist()
        for cache in (None, language.new_cache(lm))
    ]
    assert found[0] == found[1] == wanted[: len(found[0])]
    assert set(wanted[len(found[0]) :]) <= {END}


def test_beam_search_finds_what_greedy_misses():
    """0 -> 1 is likelier than 0 -> 3, but everything after 1 is unlikely."""
    table = [[0.0, 0.6, 0.0, 0.4], [0.0, 0.25, 0.4, 0.35], [0.25] * 4, [0.0, 0.0, 1.0, 0.0]]
    assert generation.generate(bigram(table), torch.tensor([[0]]), 4, end=2)[0].tolist() == [1, 2]
    assert generation.beam_search(
        bigram(table), torch.tensor([[0]]), 4, 3, 2, length_penalty=0.0
    ).tolist() == [3, 2]


def test_nucleus_draws_only_from_the_nucleus_and_in_proportion():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().repeat(4000, 1)
    drawn = generation.nucleus(0.7, generator=torch.Generator().manual_seed(0))(logits)
    counts = torch.bincount(drawn, minlength=4) / 4000
    assert counts[2:].sum() == 0 and counts[0].item() == pytest.approx(0.5 / 0.8, abs=0.03)
    assert (generation.nucleus(0.01)(logits) == 0).all()
    hot = (
        torch.bincount(
            generation.nucleus(1.0, 100.0, torch.Generator().manual_seed(0))(logits), minlength=4
        )
        / 4000
    )
    assert (hot - 0.25).abs().max() < 0.03
    for p, temperature in ((0.0, 1.0), (1.5, 1.0), (0.5, 0.0)):
        with pytest.raises(ValueError, match="expected 0 < p <= 1"):
            generation.nucleus(p, temperature)


def test_sequences_end_each_in_its_time():
    table = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    found = generation.generate(bigram(table), torch.tensor([[0], [1]]), 9, end=2)
    assert found.tolist() == [[1, 2], [2, 2]]  # the second has ended and repeats its end
    assert generation.generate(bigram(table), torch.tensor([[0]]), 1, end=2).tolist() == [[1]]


def test_tokens_come_one_by_one():
    asked = []

    def model(ids, cache=None):
        asked.append(ids.shape[1])
        return torch.zeros(1, ids.shape[1], 5)

    coming = generation.stream_tokens(model, torch.tensor([[0]]), 100)
    next(coming), next(coming)
    assert asked == [1, 2]


def test_likelihood_is_the_sum_of_log_probabilities():
    table = [[0.1, 0.6, 0.3], [0.2, 0.3, 0.5], [0.7, 0.2, 0.1]]
    ids = torch.tensor([[0, 1, 2], [0, 2, 0]])
    loss_mask = torch.tensor([[False, True, True], [False, False, True]])
    found = generation.sequence_log_prob(bigram(table), ids, loss_mask)
    torch.testing.assert_close(found, torch.tensor([math.log(0.6 * 0.5), math.log(0.7)]))
    with pytest.raises(ValueError, match="the first token, which nothing precedes"):
        generation.sequence_log_prob(bigram(table), ids, torch.ones(2, 3, dtype=torch.bool))


def test_likelihood_reads_over_tags_that_no_model_predicts():
    """A tag added to the words has an id, and no row in the head: `<image>` among SmolLM2's."""
    table = torch.randn(5, 5)
    ids, loss_mask = torch.tensor([[1, 7, 2, 3]]), torch.tensor([[False, False, False, True]])

    def reads_tags(ids, **_):
        return table[ids.clamp(max=4)]

    assert generation.sequence_log_prob(reads_tags, ids, loss_mask).item() == pytest.approx(
        table[2].log_softmax(-1)[3].item(), abs=1e-6
    )


@pytest.mark.parametrize(
    "ids", [torch.zeros(1, 0, dtype=torch.long), torch.zeros(3), torch.tensor([1, 2])]
)
def test_an_empty_prompt_is_refused(ids):
    with pytest.raises(ValueError, match="at least one token"):
        next(generation.stream_tokens(bigram([[1.0]]), ids, 3))
    with pytest.raises(ValueError, match="at least one token"):
        generation.beam_search(bigram([[1.0]]), ids, 3, 2, 0)


def test_no_new_tokens_are_refused():
    prompt = torch.zeros(1, 1, dtype=torch.long)
    with pytest.raises(ValueError, match="max_new_tokens is 0; expected at least 1"):
        generation.generate(bigram([[1.0]]), prompt, 0)
    with pytest.raises(ValueError, match="max_new_tokens is 0; expected at least 1"):
        generation.beam_search(bigram([[1.0]]), prompt, 0, 2, 0)


def test_a_token_that_begins_where_the_nucleus_is_full_is_left_out():
    """Two tokens of one half each: the first alone has a probability of 0.5."""
    logits = torch.tensor([[0.0, 0.0, -torch.inf]]).repeat(200, 1)
    assert len(generation.nucleus(0.5)(logits).unique()) == 1
    assert set(generation.nucleus(0.51)(logits).tolist()) == {0, 1}


def test_beam_search_goes_on_while_a_beam_may_beat_the_worst_finished_one():
    """0 -> end (0.31) and 0 -> 3 -> end (0.29) have ended; 0 -> 1 -> 4 -> end (0.25) is longer and better per token."""
    table = [
        [0, 0.4, 0.31, 0.29, 0, 0],
        [0, 0, 0, 0, 0.625, 0.375],
        [1, 0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 1],
    ]
    found = generation.beam_search(bigram(table), torch.tensor([[0]]), 6, 2, end=2)
    assert found.tolist() == [1, 4, 2]


def test_beam_search_stops_when_no_beam_can_win():
    lengths = []

    def model(ids, cache=None):
        lengths.append(ids.shape[1])
        return bigram([[0.0, 0.1, 0.9], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])(ids)

    assert generation.beam_search(model, torch.tensor([[0]]), 9, 1, end=2).tolist() == [2]
    assert lengths == [1]


def test_beam_search_takes_one_prompt_and_some_beams():
    for prompts, beams in ((2, 3), (1, 0)):
        with pytest.raises(ValueError, match=f"{prompts} prompts and {beams} beams; expected one"):
            generation.beam_search(bigram([[1.0]]), torch.zeros(prompts, 1).long(), 3, beams, 0)


def test_generation_leaves_no_gradients():
    lm = llama()
    lm.requires_grad_(True)
    model, loss_mask = language.LanguageModel(lm), torch.tensor([[False, True, True]])
    assert not next(generation.stream_tokens(model, PROMPT, 1)).requires_grad
    assert not generation.sequence_log_prob(model, PROMPT, loss_mask).requires_grad


def test_a_token_that_is_never_chosen_may_lie_beyond_the_logits():
    logits = torch.tensor([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]])
    assert generation.greedy_without(1)(logits).tolist() == [2, 0]
    assert generation.greedy_without(3)(logits).tolist() == [1, 0]
