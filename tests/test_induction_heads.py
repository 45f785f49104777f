"""Layers that start as heads which attend backwards, match and copy."""

import torch

from vlmcourse.parts.induction_heads import init_induction_heads
from vlmcourse.parts.language import LanguageModel, tiny


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


def test_a_window_ends_some_words_back():
    with torch.no_grad():
        attention = (
            started(0).lm(torch.randint(1, 300, (32, 60)), output_attentions=True).attentions
        )
    window = attention[0][:, 1, -1].flip(-1).mean(0)  # by how many words back
    assert window[:12].sum() > 0.8 and window[3:8].mean() > 2 * window[0]


def test_a_model_with_one_layer_or_two_heads_stays_as_it_is():
    for width, depth in ((96, 1), (64, 2)):
        torch.manual_seed(0)
        plain = tiny(300, width, depth, width // 32)
        before = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
        init_induction_heads(plain)
        assert all(torch.equal(before[name], new) for name, new in plain.state_dict().items())
