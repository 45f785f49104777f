"""Lesson 15: SmolLM2 where its weights are installed, its chat template everywhere, and byte-pair pieces of words."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from IPython.utils.capture import capture_output
from torch import nn

from teaching import smollm2 as smollm2_bridge
from vlmcourse import world
from vlmcourse.parts import generation, language
from vlmcourse.training.scale import Scale
from vlmcourse.world import tokenizer

TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""SmolLM2's chat template, as its checkpoint carries it (a program of the template language Jinja)."""


@dataclass(frozen=True)
class Talker:
    """A frozen language model with its tokenizer; lm is None where SmolLM2 is not installed."""

    lm: nn.Module | None
    tokens: object

    def template(self, messages: Sequence[dict]) -> str:
        """The conversation as the tokenizer's own template writes it, the assistant's turn opened."""
        return self.tokens.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def goes_on(self, prompt: str, most: int = 24) -> str:
        """What SmolLM2 writes after a prompt, greedily, special tokens included. Raises ValueError where it is missing."""
        if self.lm is None:
            raise ValueError("SmolLM2 is not installed: run `make pretrained` once.")
        ids = self.tokens(prompt, return_tensors="pt")["input_ids"]
        model, end = language.LanguageModel(self.lm), self.tokens.eos_token_id
        cache = language.new_cache(self.lm)
        written = generation.generate(model, ids, most, end=end, cache=cache)[0]
        return self.tokens.decode(written)


def smollm2(scale: Scale) -> Talker:
    """SmolLM2 (10 to 40 seconds); without its weights, and at scale smoke, a tokenizer that has its chat template."""
    if scale.name != "smoke":
        try:
            with capture_output():  # progress bars
                lm, tokens = language.load("smollm2")
            return Talker(language.freeze(lm), tokens)
        except ValueError as error:
            print(f"{error} This cell goes on with its template alone.")
    stand_in = tokenizer.build_tokenizer(())
    stand_in.chat_template = TEMPLATE
    return Talker(None, stand_in)


def conversation_table(talker: Talker, chat_prompt: Callable, questions: Sequence[str]) -> str:
    """What SmolLM2 writes after each question as plain text, and in its chat format: a Markdown table."""
    if talker.lm is None:
        return (
            "*SmolLM2 is not installed, so nothing is written here; `make pretrained` brings it.*"
        )
    rows = ["| question | as plain text | in the chat format |", "|---|---|---|"]
    for question in questions:
        prompts = (question, chat_prompt([{"role": "user", "content": question}]))
        answers = (
            talker.goes_on(prompt).replace("\n", "↵").replace("|", "\\|") for prompt in prompts
        )
        rows.append(
            "| " + " | ".join((question, *(f"`{answer.strip()}`" for answer in answers))) + " |"
        )
    return "\n".join(rows)


def bridge_table(talker: Talker, scale: Scale, count: int = 4) -> str:
    """What SmolLM2 writes of held-out drawings, and of grey, through Frozen's encoder (lesson 07): a Markdown table."""
    if talker.lm is None:
        return "*Without SmolLM2 there is no bridge to show here.*"
    read = tokenizer.add_image_token(talker.tokens)
    model = smollm2_bridge.trained(talker.lm, read, scale)
    scenes = [world.sample("test", index, 0, (1, 1)) for index in range(count)]
    written = smollm2_bridge.generate_captions(model, read, scenes)
    rows = [
        "| drawing shows | SmolLM2 goes on: it is a drawing of ... | names the thing? |",
        "|---|---|---|",
    ]
    for scene, text in zip(scenes, written):
        shown, named = world.article(scene.words[0]), scene.words[0] in text.split()
        text, right = " ".join(text.split()), "yes" if named else "**no**"
        rows.append(f"| {shown} on {scene.background} | {text} | {right} |")
    (text,) = smollm2_bridge.generate_captions(
        model, read, scenes[:1], lambda images: 0 * world.to_pixels(images)
    )
    return "\n".join([*rows, f"| nothing (a grey picture) | {' '.join(text.split())} | |"])


def train_merges(count: int = 600) -> list[tuple[str, str]]:
    """Merges of a byte-pair encoding trained on captions of the world, in their order."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    texts = [world.Pairs("train", 32).text(index) for index in range(4000)]
    backend.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=count + 30, show_progress=False)
    )
    merges = json.loads(backend.to_str())["model"]["merges"]
    return [tuple(pair) for pair in merges[:count]]


def library_pieces(word: str, merges: Sequence[tuple[str, str]]) -> list[str]:
    """The pieces of a word by the library `tokenizers`, with these merges."""
    from tokenizers import models

    pieces = [
        *dict.fromkeys([*word, *(part for pair in merges for part in (*pair, "".join(pair)))])
    ]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    model = models.BPE(vocabulary, list(merges))
    return [token.value for token in model.tokenize(word)]


def pieces_table(words: Sequence[str], bpe: Callable, merges: Sequence[tuple[str, str]]) -> str:
    """Each word for the world's tokenizer, by `bpe`, and whether the library cuts it alike: a Markdown table."""
    known = tokenizer.world_tokenizer().get_vocab()
    rows = [
        "| word | in the world's vocabulary? | pieces | the library's, too? |",
        "|---|---|---|---|",
    ]
    for word in words:
        pieces = bpe(word, merges)
        same = pieces == library_pieces(word, merges)
        rows.append(
            f"| {word} | {'yes' if word in known else '**no**: `<unk>`'} | "
            f"{' · '.join(pieces)} | {'yes' if same else '**no**'} |"
        )
    return "\n".join(rows)
