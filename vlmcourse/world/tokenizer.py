"""Words to numbers: a word-level tokenizer over everything the world can say (a real PreTrainedTokenizerFast)."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cache

import torch
from torch import Tensor

SPECIAL = (
    "<pad>",
    "<bos>",
    "<eos>",
    "<unk>",
    "<image>",
    "<EOC>",
    "[CLS]",
    "[ENC]",
    "[DEC]",
    "[MASK]",
    "[SEP]",
)
PAD, BOS, EOS, UNKNOWN = range(4)

GLUE = """a an the some of on in at is are and or not there this that it what where which who how many much does do
no yes any to from with without than then for left right above below top bottom middle beside background picture pictures
photo drawing image thing things nice best colour kind find used large small larger smaller same different both one two
three four five six seven eight nine zero ten question answer caption called name says moves move up down stays still
first second third last frame true false more fewer nothing made by seen you can see number size origin has
have . , ? : + = 0 1 2 3 4 5 6 7 8 9""".split()

INVENTED = """dax blicket wug toma zib lorp fep gazzer modi tulver perple bosa kiki bouba sib riff nalo vem pilk jop
quib tarn mip dorl""".split()
"""Names that mean nothing yet: for fast binding in context."""

_WORDS = re.compile(r"<\w+>|\[\w+\]|\w+|[^\w\s]")


def split_words(text: str) -> list[str]:
    """Lower-case words and punctuation marks, as the tokenizer cuts them. Special tokens stay as they are."""
    return [word if word in SPECIAL else word.lower() for word in _WORDS.findall(text)]


def build_tokenizer(vocabulary: Iterable[str]):
    """A PreTrainedTokenizerFast of these words: `<bos> split_words <eos>`, special tokens first, words in sorted order."""
    from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    ids = {
        word: index
        for index, word in enumerate((*SPECIAL, *sorted(set(vocabulary) - set(SPECIAL))))
    }
    backend = Tokenizer(WordLevel(ids, unk_token="<unk>"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(Regex(r"\w+|[^\w\s]"), "removed", invert=True),
        ]
    )
    backend.post_processor = processors.TemplateProcessing(
        "<bos> $A <eos>", None, [("<bos>", BOS), ("<eos>", EOS)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        cls_token="[CLS]",
        mask_token="[MASK]",
        sep_token="[SEP]",
        additional_special_tokens=["<image>", "<EOC>", "[ENC]", "[DEC]"],
    )


def words_of(text: str, using) -> list[str]:
    """The words and marks that a tokenizer's own backend cuts a text into, before it looks them up."""
    backend = using.backend_tokenizer
    return [
        word
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(
            backend.normalizer.normalize_str(text)
        )
    ]


def build_caption_tokenizer(texts: Iterable[str]):
    """A word-level tokenizer of all words of these texts, in any script. Special tokens in a text are words like others."""
    splitter = build_tokenizer(())
    built = build_tokenizer({word for text in texts for word in words_of(text, splitter)})
    built.split_special_tokens = True
    return built


@cache
def world_tokenizer():
    """The world's: all nouns, their synonyms and facts, and the words that hold sentences together."""
    from vlmcourse.world.nouns import nouns
    from vlmcourse.world.scenes import BACKGROUNDS

    facts = (
        word
        for noun in nouns()
        for word in (
            noun.word,
            *noun.synonyms,
            noun.category,
            noun.colour,
            noun.place,
            noun.purpose,
            noun.size,
            noun.origin,
        )
    )
    return build_tokenizer((*facts, *BACKGROUNDS, *GLUE, *INVENTED))


def encode(texts: Sequence[str], context: int | None = None, using=None) -> Tensor:
    """`<bos> split_words <eos>` of each text, padded to the longest: (B, T) ids.

    context  most tokens allowed; using: another tokenizer than the world's.
    Raises ValueError for an unknown word (with the nearest known ones), a text that is empty or longer than `context`.
    """
    if isinstance(texts, str):
        raise ValueError(
            f"texts is one string, {texts[:40]!r}; expected a list of them: [{texts[:40]!r}]."
        )
    using = using or world_tokenizer()
    if empty := [index for index, text in enumerate(texts) if not text.strip()]:
        raise ValueError(f"text {empty[0]} is empty; expected at least one word.")
    ids = using(list(texts), padding=True, return_tensors="pt")["input_ids"]
    if (ids == UNKNOWN).any():
        row = int((ids == UNKNOWN).any(1).nonzero()[0])
        raise ValueError(_unknown(texts[row], using))
    if context is not None and ids.shape[1] > context:
        row = int((ids != PAD).sum(1).argmax())
        raise ValueError(
            f"{texts[row]!r} has {int((ids[row] != PAD).sum())} tokens with <bos> and <eos>; "
            f"at most {context} fit. Say it in fewer words."
        )
    return ids


def _unknown(text: str, using) -> str:
    known = using.get_vocab()
    word = next((word for word in words_of(text, using) if word not in known), "<unk>")
    near = get_close_matches(word, known, n=3, cutoff=0.6)
    return (
        f"unknown word '{word}' in {text!r}"
        + (f"; the nearest known are {', '.join(near)}." if near else ".")
        + f" This tokenizer knows {len(known)} words; `world.tokenizer.world_tokenizer().get_vocab()` lists the world's."
    )


def decode(ids: Tensor, using=None) -> list[str]:
    """(B, T) ids -> texts, without special tokens."""
    return (using or world_tokenizer()).batch_decode(torch.as_tensor(ids), skip_special_tokens=True)


def add_image_token(tokenizer):
    """A pretrained tokenizer made to write pages as the world's does: `<bos> text <eos>`, padding, and a tag <image>.

    Its first three ids must be special tokens that no text contains, as SmolLM2's are: they serve as padding, beginning and
    end. Raises ValueError for a tokenizer where they are not. The tokenizer is changed in place and returned.
    """
    from tokenizers import processors

    first = tokenizer.convert_ids_to_tokens([PAD, BOS, EOS])
    if not all(re.fullmatch(r"<.*>", token) for token in first):
        raise ValueError(
            f"ids 0, 1, 2 of this tokenizer are {', '.join(map(repr, first))}; expected special tokens such as "
            "'<|endoftext|>', which no text contains, to serve as padding, beginning and end. SmolLM2's are."
        )
    tokenizer.pad_token, tokenizer.bos_token, tokenizer.eos_token = first
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        f"{first[BOS]} $A {first[EOS]}", None, [(first[BOS], BOS), (first[EOS], EOS)]
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    return tokenizer
