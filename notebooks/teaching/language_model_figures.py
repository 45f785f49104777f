"""Lesson 05: diagrams, figures of losses and of decoding, and the models that decoding is tried on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from vlmcourse import plots, world
from vlmcourse.evaluation import Spread, eval_mode, spread
from vlmcourse.parts import language
from vlmcourse.parts.language import LanguageModel, decoder_layers, width
from vlmcourse.plots import Diagram
from vlmcourse.recipes.language import NAMES_SHARE, NEAR_SHARE
from vlmcourse.world import documents, tokenizer
from vlmcourse.world.curriculum import PAGE_KINDS
from vlmcourse.world.document_kinds import MARK


def open_text(text: str) -> Tensor:
    """<bos> and a text's words, to go on with: (1, T)."""
    return tokenizer.encode([text])[:, :-1]


def vocabulary() -> list[str]:
    """All words by their ids."""
    known = tokenizer.world_tokenizer()
    return known.convert_ids_to_tokens(range(len(known)))


def in_words(ids: Tensor) -> str:
    """One row of ids (T,) as words, special tokens too."""
    return " ".join(vocabulary()[token] for token in ids.tolist())


@torch.no_grad()
def next_words(model: nn.Module, texts: Sequence[str], count: int = 3):
    """The likeliest next words after each text, as bars, one panel under the other."""
    found = [model(open_text(text))[0, -1].softmax(-1).topk(count) for text in texts]
    longest = max(len(vocabulary()[token]) for _, ids in found for token in ids.tolist())
    panels = []
    for text, (values, ids) in zip(texts, found):
        bars = {
            vocabulary()[token].rjust(longest): {"probability": value}  # all axes begin alike
            for token, value in zip(ids.tolist(), values.tolist())
        }
        panels.append(
            plots.probability_bars(bars, "probability of the next word", title=f"{text} ...")
        )
    return plots.stack_figures(*panels)


def model_diagram(model: LanguageModel, length: int, batch: int = 1) -> Diagram:
    """The language model with its loss: shapes for a batch of texts of `length` tokens."""
    D, V = width(model.lm), model.lm.config.vocab_size
    depth, heads = len(decoder_layers(model.lm)), model.lm.config.num_attention_heads
    diagram = Diagram("A language model and its loss")
    add = diagram.box
    add("ids", "token ids", f"({batch}, {length})", column=0, row=0, kind="data")
    add("embed", "embedding", f"({batch}, {length}, {D})", column=1, row=0, kind="trained")
    add(
        "layers",
        f"{depth} layers",
        f"causal attention, {heads} heads",
        "feed-forward network",
        column=2,
        row=0,
        kind="trained",
    )
    add(
        "logits",
        "linear layer",
        f"logits ({batch}, {length}, {V})",
        column=3,
        row=0,
        kind="trained",
    )
    add("drop", "without the last", f"({batch}, {length - 1}, {V})", column=4, row=0)
    add("shift", "ids without the first", f"({batch}, {length - 1})", column=1, row=1, kind="data")
    add(
        "mask",
        "loss_mask without the first",
        f"({batch}, {length - 1})",
        column=5,
        row=1,
        kind="data",
    )
    add("loss", "cross-entropy", "mean where loss_mask", column=5, row=0, kind="loss")
    for source, target in (
        ("ids", "embed"),
        ("embed", "layers"),
        ("layers", "logits"),
        ("logits", "drop"),
        ("drop", "loss"),
        ("ids", "shift"),
        ("shift", "loss"),
        ("mask", "loss"),
    ):
        diagram.arrow(source, target)
    return diagram


def induction_diagram() -> Diagram:
    """Two heads in two layers: the first writes the word before, the second finds it, and copies what came after."""
    diagram = Diagram("An induction head needs two layers")
    words = ("cat", "dax", "apple", "wug", "cat")
    for column, word in enumerate(words):
        diagram.box(f"word {column}", word, f"position {column + 1}", column=column, kind="data")
    diagram.box(
        "note",
        "layer 1, previous token",
        "adds: before me stands cat",
        column=1,
        row=-1,
        kind="trained",
    )
    diagram.box(
        "find",
        "layer 2, induction head",
        "key found: cat stands before",
        column=4,
        row=-2,
        kind="trained",
    )
    diagram.box("out", "next word", "dax", column=4, row=-3, kind="data")
    diagram.arrow("word 0", "note")
    diagram.arrow("word 1", "note")
    diagram.arrow("note", "find", "key; value: dax")
    diagram.arrow("word 4", "find", "query: cat")
    diagram.arrow("find", "out")
    return diagram


@torch.no_grad()
def losses_by_word(model: nn.Module, token_losses: Callable, text: str, chance: float):
    """Bars of the loss at each word of a text."""
    ids = tokenizer.encode([text])[:, :-1]  # without <eos>
    found = token_losses(model(ids), ids)[0].tolist()
    bars = {
        f"{number}. {word}": {"loss": value}
        for number, (word, value) in enumerate(zip(text.split(), found), 1)
    }
    return plots.bars(bars, "loss (nats)", chance=chance, sideways=True)


def kinds_of_texts() -> str:
    """A Markdown table: kinds of training documents, their share, and the beginning of one of each."""
    total = sum(PAGE_KINDS.values())
    lines = ["| kind | share | the beginning of one |", "|---|---|---|"]
    for kind, often in PAGE_KINDS.items():
        draws = world.SeededRandom("shown in lesson 05", kind.__name__)
        words = kind(draws).replace(MARK, "").replace("<", "&lt;").split()[:22]
        name = kind.__name__.replace("_", " ")
        lines.append(f"| {name} | {often / total:.0%} | {' '.join(words)} ... |")
    first = f"Training first read names only, for {NEAR_SHARE + NAMES_SHARE:.0%} of its steps"
    return "\n".join([*lines, "", f"{first}; then these shares hold (rounded)."])


def losses_by_kind(
    models: Mapping[str, nn.Module], next_word_loss: Callable, chance: float, count: int = 16
):
    """Bars of each model's loss on new documents of each kind that the course's model was trained on, a dot for each."""
    groups: dict[str, dict[str, Spread]] = {}
    for kind in PAGE_KINDS:
        draws = [world.SeededRandom("one kind", kind.__name__, number) for number in range(count)]
        ids = tokenizer.encode([kind(one).replace(MARK, "") for one in draws])
        counts = (ids != tokenizer.PAD) & (ids != tokenizer.BOS)
        name = kind.__name__.replace("_", " ")
        groups[name] = {}
        for words, model in models.items():
            with eval_mode(model):
                logits = model(ids)
            each = [
                next_word_loss(logits[row, None], ids[row, None], counts[row, None]).item()
                for row in range(count)
            ]
            groups[name][words] = spread(each)
    return plots.bars(groups, "loss on new texts (nats)", chance=chance, sideways=True, form=".2f")


def losses_by_pass(
    model: nn.Module, token_losses: Callable, passes: int = 3, length: int = 8, count: int = 32
) -> str:
    """In words: the mean loss of nouns that are said again and again in the same order, each time they are said.

    Also the probability that the next word is any noun, after one noun and near the end of the first time.
    """
    drawn = [world.SeededRandom("lists said again", number) for number in range(count)]
    lists = [one.sample(documents.NOUN_WORDS, length) for one in drawn]
    ids = tokenizer.encode([" ".join(words * passes) for words in lists])[:, :-1]  # without <eos>
    with eval_mode(model):
        logits = model(ids)
    found = token_losses(logits, ids).unflatten(1, (passes, length)).mean((0, 2))
    is_noun = tokenizer.encode(documents.NOUN_WORDS)[:, 1]
    any_noun = logits.softmax(-1)[..., is_noun].sum(-1).mean(0)  # (T,), <bos> first
    times = ", ".join(f"{loss:.2f} (time {n})" for n, loss in enumerate(found.tolist(), 1))
    nouns, last = len(documents.NOUN_WORDS), found[-1].item()
    guess = math.log(nouns)
    said = "It finds some of the words."
    if last > 0.75 * guess:
        said = "It does little better than a guess: it hardly finds words that it has read before."
    elif last < 0.25 * guess:
        said = "It finds most of the words."
    return (
        f"{times}; a guess among the {nouns} nouns: ln {nouns} = {guess:.2f}\n{said}\n"
        f"The probability that any noun comes next: {any_noun[1]:.2f} after one noun, "
        f"{any_noun[length - 1]:.2f} after {length - 1}."
    )


class Counted:
    """A language model that counts the positions it computes: model(ids), or model(new ids, cache)."""

    def __init__(self, model: LanguageModel):
        self.model, self.computed = model, 0

    @torch.no_grad()
    def __call__(self, ids: Tensor, cache=None) -> Tensor:
        self.computed += ids.shape[1]
        if cache is None:
            return self.model(ids)
        return language.logits(self.model.lm, language.embed(self.model.lm, ids), cache=cache)


@torch.no_grad()
def nucleus_size(model: nn.Module, nucleus_mask: Callable, text: str, p: float) -> int:
    """How many words stay in the nucleus after a text."""
    return int(nucleus_mask(model(open_text(text))[:, -1].softmax(-1), p).sum())


def nucleus_sizes(model: nn.Module, nucleus_mask: Callable, texts: Sequence[str]):
    """Curves: how many words stay in the nucleus over p, after each text."""
    shares = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
    found: dict[str, dict[float, float]] = {}
    for text in texts:
        name = f"after '{text}'"
        found[name] = {p: nucleus_size(model, nucleus_mask, text, p) for p in shares}
    return plots.curves(
        found, "p (share of the probability)", f"words that stay, of {len(vocabulary())}", ylog=True
    )


TOY_WORDS = ("<start>", "<end>", "a", "the", "cat", "dog", "bird", "moon", "sun")
TOY_NEXT = {
    "<start>": {"a": 0.6, "the": 0.4},
    "a": {"cat": 0.3, "dog": 0.3, "bird": 0.4},
    "the": {"moon": 0.9, "sun": 0.1},
}


def toy_language(ids: Tensor) -> Tensor:
    """A language whose next word depends on the last one alone: ids (B, T) -> logits (B, T, V)."""
    table = torch.full((len(TOY_WORDS), len(TOY_WORDS)), 1e-9)
    for word in TOY_WORDS:
        for following, p in TOY_NEXT.get(word, {"<end>": 1.0}).items():
            table[TOY_WORDS.index(word), TOY_WORDS.index(following)] = p
    return table.log()[ids]


def toy_diagram() -> Diagram:
    """The toy language as a tree with its probabilities."""
    diagram = Diagram("A toy language")
    diagram.box("<start>", "<start>", column=0, row=2, kind="data")
    for first, row in (("a", 1), ("the", 3.5)):
        p = TOY_NEXT["<start>"][first]
        diagram.box(first, first, f"p = {p}", column=1, row=row, kind="data")
        diagram.arrow("<start>", first)
    pairs = [(first, word) for first in ("a", "the") for word in TOY_NEXT[first]]
    for row, (first, word) in enumerate(pairs):
        p = TOY_NEXT[first][word]
        whole = TOY_NEXT["<start>"][first] * p
        diagram.box(word, word, f"p = {p} after '{first}'", column=2, row=row, kind="data")
        diagram.box(f"{word} text", f"{first} {word}", f"p = {whole:.2f}", column=3, row=row)
        diagram.arrow(first, word)
        diagram.arrow(word, f"{word} text")
    return diagram


def beam_search(
    model: Callable[[Tensor], Tensor], ids: Tensor, max_new_tokens: int, beams: int, step: Callable
) -> tuple[Tensor, Tensor]:
    """Beam search without an end token, by a step such as the exercise's: prompt (1, T) -> ids (beams, T + new), log-probabilities."""
    ids = ids.repeat(beams, 1)
    log_probs = torch.full((beams,), -torch.inf)
    log_probs[0] = 0  # all beams hold the same prompt: only the first is continued
    for _ in range(max_new_tokens):
        with torch.no_grad():
            next_log_probs = model(ids)[:, -1].log_softmax(-1)
        log_probs, beam, word = step(log_probs, next_log_probs)
        ids = torch.cat([ids[beam], word[:, None]], dim=1)
    return ids, log_probs
