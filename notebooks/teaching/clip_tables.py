"""Lesson 02: the paper's numbers beside the course's."""

from __future__ import annotations

from IPython.display import Markdown

from vlmcourse import evaluation
from vlmcourse.evaluation.published import published
from vlmcourse.training.scale import Scale


def fact(what: str, table: str = "clip-facts") -> float:
    """A number that the paper's text states, from the row of a published table that begins so."""
    return published(table).value(what, "value")


def detail(what: str) -> float:
    """The same, beyond what the lecture says."""
    return fact(what, "clip-details")


def sizes_table(model, batch: int, steps: int) -> Markdown:
    """The paper's sizes beside those of the course's model."""
    c = model.config
    text = sum(p.numel() for p in model.text.parameters())
    pairs, passes = fact("image-text pairs"), detail("passes over the data")
    rows = [
        ("pairs in the data set", f"{pairs:g} million", "no limit: scenes are sampled"),
        (
            "pairs drawn in training",
            f"{pairs * passes / 1000:.1f} billion ({pairs:g} million, {passes} times)",
            f"{batch * steps:,}",
        ),
        ("search queries", f"{fact('unique search'):,}", "none: scenes are sampled"),
        ("most pairs of a query", f"{fact('most pairs'):,}", "no limit needed"),
        ("pairs in a batch", f"{detail('pairs in a batch'):,}", f"{batch}"),
        ("text encoder", f"{fact('text encoder')} million parameters", f"{text / 1e6:.2f} million"),
        (
            "image encoder",
            "ResNet-50 to RN50x64; ViT-B/32 to ViT-L/14@336",
            f"ViT, patches of {c.patch} pixels, image side {c.image_size}",
        ),
        ("vocabulary", f"{detail('vocabulary'):,} byte pairs", f"{c.vocabulary} words"),
    ]
    lines = [f"| {what} | {paper} | {ours} |" for what, paper, ours in rows]
    return Markdown("\n".join(["| | paper | ours |", "|---|---|---|", *lines]))


def paper_table() -> Markdown:
    """The paper's claims that this lesson repeats: its numbers, ours, and the verdict by the course's rule."""
    ours = _measured()
    retrieval, flickr = published("clip-retrieval"), "Flickr30K, {}"
    to_text = retrieval.value(flickr.format("image to text"), "R@1")
    to_image = retrieval.value(flickr.format("text to image"), "R@1")
    rows = [
        (
            "zero-shot classification works without labels (Sec. 3.1)",
            f"ImageNet: {detail('zero-shot accuracy')} %, chance 0.1 %",
            "zero-shot nouns",
            "zero-shot nouns, blind",
            "",
        ),
        (
            "the right text comes first among those of other images (Table 13)",
            f"Flickr30K: {to_text} %",
            "image to text R@1",
            "image to text R@1, shuffled",
            "",
        ),
        (
            "image to text is easier than text to image (Table 13)",
            f"Flickr30K: {to_text} % and {to_image} %",
            "image to text R@1",
            "text to image R@1",
            "Flickr30K has five texts for an image, and any of them is right; our images have one.",
        ),
    ]
    lines = [
        "| claim | paper | ours: first number; second number | seeds | verdict | reason |",
        "|---|---|---|---|---|---|",
    ]
    for claim, paper, higher, lower, reason in rows:
        first, second = ours[higher], ours[lower]
        verdict = evaluation.verdict(first.values, second.values)
        numbers = f"{_name(higher)} {_plain(first)}; {_name(lower)} {_plain(second)}"
        reason = "" if verdict == "agrees" else reason
        lines.append(
            f"| {claim} | {paper} | {numbers} | {len(first.values)} | {verdict} | {reason} |"
        )
    return Markdown("\n".join(lines))


def controls_table() -> Markdown:
    """Our own controls, over seeds: the model with the right images, with blank and with shuffled ones, and chance."""
    ours = _measured()
    lines = ["| score | CLIP | blank images | shuffled images | chance |", "|---|---|---|---|---|"]
    for name in ("image to text R@1", "zero-shot nouns"):
        controls = ("", ", blind", ", shuffled")
        values = [_plain(ours[f"{name}{control}"]) for control in controls]
        lines.append(f"| {name} | {' | '.join(values)} | {ours[f'{name}, chance'].mean:.3f} |")
    return Markdown("\n".join(lines))


def _measured() -> dict[str, evaluation.Spread]:
    rows = evaluation.load_results("replicate_clip")["rows"][0]["retrieval"]
    return {name: evaluation.spread(values["values"]) for name, values in rows.items()}


def _name(key: str) -> str:
    names = {"zero-shot nouns": "zero-shot", "zero-shot nouns, blind": "blank images"}
    return names.get(key, key.replace(" R@1", "").replace("image to text, shuffled", "shuffled"))


def _plain(value: evaluation.Spread) -> str:
    return f"{value.mean:.3f} ± {value.std:.3f}"


def batch_and_steps(recipe, scale: Scale) -> tuple[int, int]:
    """Pairs in a batch and steps of a recipe at a scale."""
    sizes = recipe.sizes[scale.name]
    return sizes.batch, sizes.steps


def facts_table() -> Markdown:
    """The paper's numbers that this lesson is about."""
    facts, details = published("clip-facts").rows, published("clip-details").rows
    wanted = ("image-text pairs", "unique", "most pairs", "text encoder")
    rows = [cells for cells in facts if cells[0].startswith(wanted)] + list(details)
    lines = [f"| {what} | {value:,} {unit} |" for what, value, unit in rows]
    return Markdown("\n".join(["| CLIP | the paper says |", "|---|---|", *lines]))
