"""BLEU-4, CIDEr-D and ROUGE-L beside the official code, pycocoevalcap 1.2 (its own PTB word splitter, run by Java).

    pip install pycocoevalcap --no-deps --target FOLDER
    PYTHONPATH=FOLDER python -m benchmarks.captioning_metrics

writes benchmarks/results/captioning_metrics.json, with which tests/test_describing.py compares ours. Two sets: captions whose
words both split alike, where every score must be equal, and the exceptions, each with both splits.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from vlmcourse.evaluation.captioning import split_caption

OUT = Path(__file__).parent / "results" / "captioning_metrics.json"
THINGS = ("cat", "dog", "red bicycle", "man", "woman with an umbrella", "bowl of soup", "train")
PLACES = ("on the beach", "near a window", "in the snow", "on a wooden table", "at night", "")
FORMS = (
    "a {} {}",
    "There is a {} {}.",
    "A photo of the {}, {}",
    "The {} stands {} ; it is small!",
    "a a a {} {}",
    "{}",
)
EXCEPTIONS = [
    ("a man's hat", "a man wearing a hat"),
    ("she doesn't smile", "she does not smile"),
    ("a t-shirt", "a t shirt"),
    ("50% off", "half price"),
    ("it costs $5", "it costs five dollars"),
    ("the U.S. flag", "the us flag"),
    ("a cat (left) and a dog", "a cat and a dog"),
    ("a cat/dog", "a cat or dog"),
    ("at 3.5 metres", "at three metres"),
    ("10,000 people", "many people"),
    ("I'm here", "i am here"),
    ("cannot see", "can not see"),
    ("#1 fan", "number one fan"),
    ("rock & roll", "rock and roll"),
]


def cases() -> list[tuple[str, list[str]]]:
    """60 captions with one to five references each, some equal, some far, one of another length."""
    draws = random.Random(0)

    def text() -> str:
        words = draws.choice(FORMS).format(draws.choice(THINGS), draws.choice(PLACES))
        return " ".join(words.split())

    made = []
    for _ in range(60):
        references = [text() for _ in range(draws.randint(1, 5))]
        caption = draws.choice(references) if draws.random() < 0.2 else text()
        made.append((caption, references))
    return made


def main() -> None:
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    def split(texts: list[list[str]]) -> dict[int, list[str]]:
        named = {i: [{"caption": text} for text in each] for i, each in enumerate(texts)}
        return PTBTokenizer().tokenize(named)

    captions, references = zip(*cases())
    said, given = split([[caption] for caption in captions]), split(list(references))
    for texts, words in ((captions, said), (sum(references, []), given)):
        for text, tokens in zip(texts, sum(words.values(), [])):
            assert split_caption(text) == tokens.split(), (text, tokens)
    bleu, _ = Bleu(4).compute_score(given, said, verbose=0)
    _, cider = Cider().compute_score(given, said)
    _, rouge = Rouge().compute_score(given, said)
    exceptions = split([list(pair) for pair in EXCEPTIONS])
    OUT.write_text(
        json.dumps(
            {
                "command": "python -m benchmarks.captioning_metrics",
                "official": "pycocoevalcap 1.2",
                "bleu4": bleu[3],
                "cases": [
                    {"caption": caption, "references": each, "cider": float(c), "rouge_l": float(r)}
                    for caption, each, c, r in zip(captions, references, cider, rouge)
                ],
                "exceptions": [
                    {"text": text, "official": tokens.split(), "ours": split_caption(text)}
                    for pair, words in zip(EXCEPTIONS, exceptions.values())
                    for text, tokens in zip(pair, words)
                    if tokens.split() != split_caption(text)
                ],
            },
            indent=1,
        )
        + "\n"
    )
    print(f"Kept {OUT}")


if __name__ == "__main__":
    main()
