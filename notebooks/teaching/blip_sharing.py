"""Lesson 08: the check of the exercise on sharing: which modules of the decoder are the encoder's afterwards."""

from __future__ import annotations

from teaching import blip_reference as reference
from teaching.exercises import Exercise, number, rule
from vlmgrader.checks import driver_source

SHARED = dict.fromkeys(reference.SHARED, "shared")
SHARING = {"encoder": "kept", "attention": "own", "norm1": "own", **SHARED}


def run_share(target, width):
    """Driver: what each module of the decoder's blocks is to the encoder's after `target`."""
    import torch
    from torch import nn

    from vlmcourse.parts.layers import PostNormBlock

    encoder, decoder = (
        nn.ModuleList(PostNormBlock(width, 2, context_width=width) for _ in range(2))
        for _ in range(2)
    )
    with torch.no_grad():  # new LayerNorms are all equal: values must not look like sharing
        for weight in (*encoder.parameters(), *decoder.parameters()):
            weight.normal_()
    weights = list(map(id, encoder.parameters()))
    values = [weight.clone() for weight in encoder.parameters()]
    before = [{k: v.clone() for k, v in block.state_dict().items()} for block in decoder]
    target(encoder, decoder)
    kept = weights == list(map(id, encoder.parameters()))
    kept = kept and all(map(torch.equal, values, encoder.parameters()))
    found = {"encoder": "kept" if kept else "changed"}
    for block, source, old in zip(decoder, encoder, before):
        for name, module in block.named_children():
            pairs = list(zip(module.parameters(), source.get_submodule(name).parameters()))
            if not pairs:
                continue
            state = {f"{name}.{key}": value for key, value in module.state_dict().items()}
            how = (
                "shared"
                if all(a is b for a, b in pairs)
                else "partly shared"
                if any(a is b for a, b in pairs)
                else "copied"
                if all(torch.equal(a, b) for a, b in pairs)
                else "own"
                if all(torch.equal(value, old[key]) for key, value in state.items())
                else "changed"
            )
            found[name] = how if found.get(name, how) == how else "different in each block"
    return found


def explain_sharing(got: object, *_) -> str | None:
    if not isinstance(got, dict):
        return None
    if got.get("encoder") == "changed":
        return "the encoder was changed: it is the decoder that takes the encoder's modules."
    for name in SHARED:
        if got.get(name) == "copied":
            return f"{name} is a copy: equal now, but each gets its own update at the first step. Both must hold the same object."
        if got.get(name) == "different in each block":
            return f"{name} is not treated alike in all blocks: go through pairs of blocks."
        if got.get(name) != "shared":
            return f"{name} is not shared (it is {got.get(name)}): everything except self-attention and its LayerNorm is."
    if got.get("attention") in ("shared", "partly shared"):
        return "self-attention is shared, too: that is the row 'All' of the paper's table."
    if got.get("norm1") in ("shared", "partly shared"):
        return (
            "norm1 is shared: the LayerNorm after self-attention belongs to it, and stays separate."
        )
    return "the decoder's self-attention, or the LayerNorm after it, was changed: leave both as they are."


EXERCISES = {
    "share": Exercise(
        "One object in two places: whatever one role learns, the other has, too.",
        (
            rule(
                "share",
                lambda generator: ([2 * number(generator, 3, 5)], {}),
                lambda width: SHARING,
                driver=driver_source(run_share),
                explain=explain_sharing,
            ),
        ),
        reference=reference.share,
    ),
}
