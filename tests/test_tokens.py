"""The tokenizer: stable, reversible, and clear about words it doesn't know."""

import pytest
import torch

from vlmcourse import world
from vlmcourse.world import tokenizer


def test_special_tokens_stand_first():
    vocabulary = tokenizer.world_tokenizer().get_vocab()
    assert [vocabulary[word] for word in tokenizer.SPECIAL] == list(range(len(tokenizer.SPECIAL)))
    assert (tokenizer.PAD, tokenizer.BOS, tokenizer.EOS, tokenizer.UNKNOWN) == (0, 1, 2, 3)
    ordinary = sorted(vocabulary, key=vocabulary.get)[len(tokenizer.SPECIAL) :]
    assert ordinary == sorted(ordinary)  # ids depend on the words alone


def test_there_and_back():
    texts = [world.Pairs("train").text(index) for index in range(100)]
    ids = tokenizer.encode(texts)
    assert tokenizer.decode(ids) == texts
    assert (ids[:, 0] == tokenizer.BOS).all() and ((ids == tokenizer.EOS).sum(1) == 1).all()
    for row in ids:
        end = row.tolist().index(tokenizer.EOS)
        assert (row[end + 1 :] == tokenizer.PAD).all() and (row[: end + 1] != tokenizer.PAD).all()


def test_case_and_punctuation_and_tags():
    cut = tokenizer.world_tokenizer().tokenize
    assert cut("Question: where is A cat?") == ["question", ":", "where", "is", "a", "cat", "?"]
    assert cut("<image> a cat<EOC><image>[MASK]") == [
        "<image>",
        "a",
        "cat",
        "<EOC>",
        "<image>",
        "[MASK]",
    ]
    assert tokenizer.split_words("A Cat, [MASK]<EOC>?") == ["a", "cat", ",", "[MASK]", "<EOC>", "?"]


def test_another_vocabulary():
    mine = tokenizer.build_tokenizer(tokenizer.split_words("My sofa is mauve"))
    ids = tokenizer.encode(["mauve sofa"], using=mine)
    assert tokenizer.decode(ids, mine) == ["mauve sofa"] and len(mine) == len(tokenizer.SPECIAL) + 4


def test_it_saves_as_any_tokenizer_does(tmp_path):
    from transformers import AutoTokenizer

    tokenizer.world_tokenizer().save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert torch.equal(
        tokenizer.encode(["a cat on blue"], using=again), tokenizer.encode(["a cat on blue"])
    )


@pytest.mark.parametrize(
    "texts, options, words",
    [
        (
            ["a cat", "a strawbery on blue"],
            {},
            ["'strawbery'", "strawberry", "'a strawbery on blue'"],
        ),
        (
            ["a cat", "a cat and a dog"],
            {"context": 5},
            ["'a cat and a dog' has 7 tokens", "at most 5"],
        ),
        (["a cat", "  "], {}, ["text 1 is empty"]),
        ("a cat", {}, ["one string", "['a cat']"]),
    ],
)
def test_messages(texts, options, words):
    with pytest.raises(ValueError) as error:
        tokenizer.encode(texts, **options)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_another_tokenizer_writes_pages_as_the_worlds_does_or_is_refused():
    other = tokenizer.add_image_token(tokenizer.build_tokenizer(["cat", "a", "blue"]))
    ids = tokenizer.encode(["a cat", "a"], using=other)
    assert (
        ids[0, 0] == tokenizer.BOS
        and ids[0, -1] == tokenizer.EOS
        and (ids[1] == tokenizer.PAD).sum() == 1
    )
    assert (
        other.convert_tokens_to_ids("<image>")
        in tokenizer.encode(["<image> a"], using=other)[0].tolist()
    )

    class Taken:
        def convert_ids_to_tokens(self, ids):
            return ["!", "<s>", "</s>"]

    with pytest.raises(ValueError, match="ids 0, 1, 2 of this tokenizer are '!'"):
        tokenizer.add_image_token(Taken())
