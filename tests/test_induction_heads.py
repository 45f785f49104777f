"""Layers that start as heads which attend backwards, match and copy."""

import torch

from vlmcourse.parts.induction_heads import init_induction_heads
from vlmcourse.parts.language import LanguageModel, tiny
from vlmcourse.recipes.language import new_language
from vlmcourse.training.stages import seeded
from vlmcourse.world import tokenizer, word_tests


def started(seed: int, width: int = 96, depth: int = 3) -> LanguageModel:
    torch.manual_seed(seed)
    model = LanguageModel(tiny(300, width, depth, width // 32))
    init_induction_heads(model.lm)
    model.lm.config._attn_implementation = "eager"
    return model


def pairs(count: int = 64, length: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts "a 1 b 2 c 3 ... a": (count, 1 + 2 * length + 1) ids, and where the word after the first `a` stands."""
    words = torch.stack([torch.randperm(299)[: 2 * length] + 1 for _ in range(count)])
    asked = torch.arange(count) % length
    again = words.gather(1, 2 * asked[:, None])
    return torch.cat([torch.zeros(count, 1).long(), words, again], 1), 2 + 2 * asked


def test_the_first_head_attends_one_word_back_and_the_next_layer_to_what_came_after():
    for seed in range(3):
        model = started(seed)
        ids, after = pairs()
        with torch.no_grad():
            attention = model.lm(ids, output_attentions=True).attentions
        back = attention[0][:, 0].diagonal(-1, 1, 2)  # of each word, how much to the one before
        assert back.mean() > 0.85
        rows = torch.arange(len(ids))
        found = attention[1][rows, 0, -1]
        assert found[rows, after].mean() > 3 / ids.shape[1]
        assert found[rows, after].mean() > 3 * found[rows, after - 1].mean()


def test_two_heads_attend_some_words_back_the_second_one_word_further():
    with torch.no_grad():
        ids = torch.randint(1, 300, (32, 60))
        attention = started(0).lm(ids, output_attentions=True).attentions
    one, further = (attention[0][:, head, -1].flip(-1).mean(0) for head in (1, 2))
    assert one[2:8].sum() > 0.9 and one[4:6].sum() > 0.5 and further[5:7].sum() > 0.5
    assert (one[1:9] - further[2:10]).abs().max() < 0.05


def test_notes_of_words_before_are_written_where_no_word_is():
    for seed in range(3):
        lm = started(seed).lm
        size, attention = lm.config.head_dim, lm.model.layers[0].self_attn
        notes = attention.o_proj.weight[:, size : 3 * size]  # what heads 1 and 2 add
        assert notes.norm() > 1
        assert (lm.get_input_embeddings().weight @ notes).abs().max() < 1e-5


def test_before_any_training_a_head_attends_to_the_right_name_on_a_page_in_ten_seeds():
    """Of its attention to four names, three fifths or more go to that of the thing that is described again."""
    names = torch.tensor(
        tokenizer.world_tokenizer().convert_tokens_to_ids(list(tokenizer.INVENTED))
    )
    pages = word_tests.names(4, "tags", 24)
    shares = []
    for seed in range(10):
        model = new_language("laptop", seed).eval()
        with seeded(seed):
            init_induction_heads(model.lm)
        model.lm.config._attn_implementation = "eager"
        found = []
        for prompt, answer in pages:
            ids = tokenizer.encode([prompt])[:, :-1]  # without <eos>: 'this is a'
            answer_id = tokenizer.world_tokenizer().convert_tokens_to_ids(answer)
            with torch.no_grad():
                attention = model.lm(ids, output_attentions=True).attentions[1][0, 1, -1]
            found.append(
                attention[ids[0] == answer_id].sum() / attention[torch.isin(ids[0], names)].sum()
            )
        shares.append(torch.stack(found).mean().item())
    assert min(shares) > 0.6, shares


def test_a_model_with_one_layer_or_two_heads_stays_as_it_is():
    for width, depth in ((96, 1), (64, 2)):
        torch.manual_seed(0)
        plain = tiny(300, width, depth, width // 32)
        before = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
        init_induction_heads(plain)
        assert all(torch.equal(before[name], new) for name, new in plain.state_dict().items())
