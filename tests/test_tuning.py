"""BitFit, adapters and prompt tuning: what learns, what stays, and where each starts."""

import copy

import pytest
import torch
from test_language import MODELS

from vlmcourse.parts import generation, language
from vlmcourse.parts.tuning import Adapters, BitFit, PromptTuning, count_trainable
from vlmcourse.training.batches import Batches
from vlmcourse.training.fit import fit
from vlmcourse.training.optimisation import Optimisation

WIDTH, LAYERS = 24, 2


def tiny():
    torch.manual_seed(0)
    return language.tiny(40, width=WIDTH, depth=LAYERS, heads=2)


class Strange(torch.nn.Embedding):
    """A language model none of whose parts has a name that adapters know."""

    def get_input_embeddings(self):
        return self

    def forward(self, inputs_embeds):
        return inputs_embeds


WAYS = {
    "bitfit": BitFit,
    "adapters": lambda lm: Adapters(lm, 3),
    "prompt": lambda lm: PromptTuning(lm, 5),
}


def batch(indices):
    ids = torch.randint(
        3, 40, (len(indices), 7), generator=torch.Generator().manual_seed(indices[0])
    )
    return {"ids": ids, "loss_mask": torch.ones_like(ids, dtype=torch.bool)}


@pytest.mark.parametrize("way", WAYS)
def test_only_the_small_change_learns_and_it_does(way):
    model = WAYS[way](tiny())
    before = copy.deepcopy(model.state_dict())
    history = list(
        fit(
            model,
            Batches(lambda indices: batch([0] * 8), 8),
            30,
            Optimisation(2e-2),
            precision=torch.float32,
        )
    )
    assert history[-1].loss < history[0].loss - 0.05
    changed = {
        name for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed and changed <= {
        name for name, p in model.named_parameters(remove_duplicate=False) if p.requires_grad
    }


def test_the_counts_are_those_of_the_papers():
    lm = tiny()
    biases = sum(p.numel() for name, p in lm.named_parameters() if name.endswith(".bias"))
    bitfit = BitFit(lm)
    assert count_trainable(bitfit) == biases > 0
    assert all(name.endswith(".bias") for name, p in bitfit.named_parameters() if p.requires_grad)
    assert count_trainable(Adapters(tiny(), 3)) == LAYERS * 2 * (2 * WIDTH * 3 + 3 + WIDTH)
    assert count_trainable(PromptTuning(tiny(), 5)) == 5 * WIDTH


def test_adapters_start_as_the_bare_model_bit_for_bit_and_then_differ():
    lm, ids = tiny(), batch([1])["ids"]
    bare = lm(ids).logits
    model = Adapters(lm, 3)
    assert torch.equal(model(ids), bare)
    with torch.no_grad():
        model.adapters[0].up.weight.normal_()
    assert not torch.allclose(model(ids), bare, atol=1e-3)


def test_a_prompt_is_read_before_the_text():
    lm, ids = tiny(), batch([1])["ids"]
    model = PromptTuning(lm, 5)
    words = (
        model.prompt[:, None].eq(lm.get_input_embeddings().weight[None]).all(-1).int().argmax(1)
    )  # drawn from the vocabulary
    assert torch.allclose(
        model(ids), lm(torch.cat([words[None], ids], dim=1)).logits[:, 5:], atol=1e-5
    )


@pytest.mark.parametrize("way", WAYS)
def test_cached_is_uncached_and_padding_changes_nothing(way):
    model, ids = WAYS[way](tiny()).eval(), batch([1])["ids"]
    written = generation.generate(model, ids, 5)
    assert torch.equal(
        generation.generate(model, ids, 5, cache=language.new_cache(model.lm)), written
    )
    padded, padding_mask = (
        torch.cat([torch.zeros_like(ids[:, :2]), ids], 1),
        torch.tensor([[False] * 2 + [True] * 7]),
    )
    torch.testing.assert_close(
        model(padded, padding_mask=padding_mask)[:, 2:], model(ids), atol=1e-4, rtol=1e-4
    )


def test_models_without_the_parts_are_refused():
    with pytest.raises(ValueError, match="has no biases, so BitFit has nothing to tune"):
        BitFit(MODELS["llama"]())
    with pytest.raises(ValueError, match="none of self_attn, attn, attention, mlp"):
        Adapters(Strange(4, 3), 3)


@pytest.mark.parametrize("family", ["gpt2", "llama", "neox", "qwen2"])
def test_adapters_find_two_places_in_each_layer_of_each_family(family):
    model = Adapters(MODELS[family](), 3)
    assert len(model.adapters) == 2 * LAYERS and count_trainable(model) == 2 * LAYERS * (
        2 * 32 * 3 + 3 + 32
    )
