"""Lesson 11: what is measured on Flamingos, the student's and the shipped one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from teaching.built_models import Parts
from teaching.flamingo_model import BuiltFlamingo, CrossAttention, Dense
from vlmcourse import evaluation, introspection, world
from vlmcourse.evaluation import eval_mode
from vlmcourse.introspection import gate_values
from vlmcourse.papers.flamingo import Flamingo
from vlmcourse.parts import generation, language
from vlmcourse.recipes.flamingo import caption_accuracy
from vlmcourse.widgets.explorers.gates import gates_set
from vlmcourse.world import tokenizer
from vlmcourse.world.documents import Documents
from vlmcourse.world.interleaved import chunked_prompts
from vlmcourse.world.pages import Page

GROUPS = {
    "gates": "alpha",
    "cross-attention": "cross_attention",
    "resampler": "resampler.",  # before "feedforward": it has feed-forward networks of its own
    "feed-forward": "feedforward",
    "rows of new words": "new_rows",
    "language model": "lm.",
}
"""Groups of a built Flamingo's parameters, by what stands in their names; the first that fits."""


def held_out(count: int) -> list[world.Scene]:
    """Scenes of one thing, on backgrounds on which training never showed it."""
    return [world.sample("test", index, 0, (1, 1)) for index in range(count)]


def written(
    model: Flamingo, scenes: Sequence[world.Scene], size: int, closed: bool = False
) -> list[str]:
    """What follows "a picture of", greedily; closed: with all gates at 0."""
    gates = {name: torch.tensor(0.0) for name in gate_values(model)} if closed else {}
    with gates_set(model, gates):
        data = chunked_prompts([(scene, "a picture of") for scene in scenes], size)
        return evaluation.generation.generate_sentences(model, data, max_new_tokens=12)


def page_inputs(model: Flamingo, page: Page, size: int) -> tuple[Tensor, Tensor, list[str]]:
    """ids (1, T) of an open page, latents (N, R, C) of its pictures, and its tokens as words."""
    batch = chunked_prompts([page], size).batch([0])
    with eval_mode(model):
        media = model.vision_context(batch["pixel_values"])["media"]
    words = tokenizer.world_tokenizer().convert_ids_to_tokens(batch["ids"][0].tolist())
    return batch["ids"], media, words


def group_of(name: str) -> str:
    return next(group for group, mark in GROUPS.items() if mark in name)


def gradient_lengths(model: BuiltFlamingo, batch: dict) -> dict[str, float]:
    """Length of the gradient of each group of parameters, 0 where there is none."""
    model.zero_grad()
    model.losses(batch)["lm"].backward()
    squares = dict.fromkeys(GROUPS, 0.0)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            squares[group_of(name)] += parameter.grad.square().sum().item()
    return {group: value**0.5 for group, value in squares.items()}


def two_steps(model: BuiltFlamingo, batch: dict, rate: float = 0.01) -> dict[str, dict[str, float]]:
    """Gradients at the first step and at the second, on a copy; each step moves every number by `rate` against its sign."""
    model, table = deepcopy(model), {}
    for step in ("step 1", "step 2"):
        table[step] = gradient_lengths(model, batch)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter -= rate * parameter.grad.sign()
    return table


def parameter_counts(model: BuiltFlamingo, vision: nn.Module) -> dict[str, tuple[int, int]]:
    """{part: (trained, frozen) parameters}."""
    found: dict[str, list[int]] = {group: [0, 0] for group in GROUPS}
    for name, parameter in model.named_parameters():
        found[group_of(name)][not parameter.requires_grad] += parameter.numel()
    frozen = sum(parameter.numel() for parameter in vision.parameters())
    return {"image encoder": (0, frozen)} | {name: tuple(both) for name, both in found.items()}


@torch.no_grad()
def set_gates(model: BuiltFlamingo, opening: float) -> None:
    """Opens all gates as far as this, from 0 to below 1."""
    for name, parameter in model.named_parameters():
        if ".alpha_" in name:
            parameter.fill_(torch.tensor(opening).atanh().item())


def moved_by_gates(
    model: BuiltFlamingo, batch: dict, openings: Sequence[float]
) -> dict[float, float]:
    """{opening: mean distance of the probabilities of the next word from the language model's, from 0 to 1}."""
    model = deepcopy(model)
    with eval_mode(model):
        y = model.parts["embed_tokens"](
            model.lm.get_input_embeddings(), model.new_rows, model.new_ids, batch["ids"]
        )
        alone = language.logits(model.lm, y).softmax(-1)
        found = {}
        for opening in openings:
            set_gates(model, opening)
            now = model(batch["ids"], batch["features"]).softmax(-1)
            found[opening] = ((now - alone).abs().sum(-1) / 2).mean().item()
    return found


def with_weights_of(model: Flamingo, parts: Parts) -> BuiltFlamingo:
    """The functions of `parts` with the weights of a trained Flamingo that has a block before each layer."""
    config = model.config
    built = BuiltFlamingo(config, deepcopy(model.lm), parts, [1.0] * len(model.blocks))
    built.resampler.load_state_dict(model.resampler.state_dict())
    for handle in list(hooks_of(built.lm)):
        handle.clear()
    blocks = []
    for block in model.blocks.values():
        width = block.norm.weight.shape[0]
        read, think = (
            kind(width, config, block.residual_scale) for kind in (CrossAttention, Dense)
        )
        read.norm.load_state_dict(block.norm.state_dict())
        read.attention.load_state_dict(block.attention.state_dict())
        think.norm.load_state_dict(block.norm_feedforward.state_dict())
        think.feedforward.load_state_dict(block.feedforward.state_dict())
        gated = parts["GatedBlock"](read, think)
        with torch.no_grad():
            gated.alpha_xattn.fill_((block.gate.gate_lr_scale * block.gate.alpha).item())
            dense = block.gate_feedforward
            gated.alpha_dense.fill_((dense.gate_lr_scale * dense.alpha).item())
        blocks.append(gated)
    built.blocks = nn.ModuleList(blocks)
    order = [config.trainable_token_ids.index(token) for token in built.new_ids.tolist()]
    built.new_rows = nn.Parameter(model.new_embeddings.detach()[order].clone())
    return built.eval()


def hooks_of(lm: nn.Module) -> list:
    """The dictionaries of forward pre-hooks of a language model's layers."""
    return [layer._forward_pre_hooks for layer in language.decoder_layers(lm)]


def difference(model: Flamingo, built: BuiltFlamingo, batch: dict) -> float:
    """Largest difference of the logits of both on pages with as many pictures each."""
    with eval_mode(model), eval_mode(built):
        fused = model(batch["ids"], media=model.resample(batch["features"]))
        return (built(batch["ids"], batch["features"]) - fused).abs().max().item()


def closed_one_by_one(model: Flamingo, size: int, count: int) -> dict[str, float]:
    """Right nouns of captions with all gates as they were trained, and with one of them closed."""
    found = {"all gates as trained": caption_accuracy(model, size, count)["noun"]}
    for name in gate_values(model):
        _, layer, gate = name.split(".")
        part = "feed-forward" if "feedforward" in gate else "attention"
        with gates_set(model, {name: torch.tensor(0.0)}):
            label = f"layer {int(layer) + 1}, {part} closed"
            found[label] = caption_accuracy(model, size, count)["noun"]
    return found


def about_closed(found: Mapping[str, float], gates: Mapping[str, Mapping[int, float]]) -> str:
    """In words: which closed gate costs most, how many cost hardly anything, and what the one that is open furthest costs.

    found: of closed_one_by_one;  gates: the openings over training of the same gates, in the same order
    """
    (_, whole), *others = found.items()
    openings = [abs(list(values.values())[-1]) for values in gates.values()]
    widest = max(range(len(openings)), key=openings.__getitem__)
    name, lowest = min(others, key=lambda pair: pair[1])
    small = sum(value > whole - 0.05 for _, value in others)
    return (
        f"The largest fall: with *{name}* the share falls from {whole:.2f} to {lowest:.2f}. For {small} of the "
        f"{len(others)} gates closing costs less than 0.05. The gate that is open furthest: "
        f"*{others[widest][0]}* costs {whole - others[widest][1]:.2f}."
    )


def about_gates(gates: Mapping[str, Mapping[int, float]]) -> str:
    """In words: which gates are open furthest at the end, and which hardly; do later blocks attend through wider gates?"""
    last = {name: abs(list(values.values())[-1]) for name, values in gates.items()}
    ordered = sorted(last, key=last.__getitem__, reverse=True)
    first, second, least = (f"*{ordered[n]}* ({last[ordered[n]]:.2f})" for n in (0, 1, -1))
    attention = [round(value, 2) for name, value in last.items() if name.endswith("attention")]
    grow = attention == sorted(set(attention))
    return (
        f"At the end {first} and {second} are open furthest, {least} least. The attention's gates from the first block "
        f"to the last: {', '.join(f'{value:.2f}' for value in attention)}. "
        + (
            "Each is wider open than the one before."
            if grow
            else "They don't open wider from each block to the next."
        )
    )


def text_losses(model: Flamingo, count: int = 32) -> dict[str, float]:
    """Loss per word on the language model's own held-out texts: of it alone, and of the Flamingo around it, without pictures."""
    batch = Documents(split="test").batch(range(count))
    ids, scored = batch["ids"], batch["loss_mask"]
    with eval_mode(model):
        y = language.embed(model.lm, ids)
        alone = language.logits(model.lm, y)
        hidden = model(ids)
    return {
        "language model alone": language.next_token_loss(alone, ids, scored).item(),
        "Flamingo, no picture": language.next_token_loss(hidden, ids, scored).item(),
    }


def attention_and_occlusion(model: Flamingo, scene: world.Scene, size: int) -> dict[str, Tensor]:
    """Two maps of a picture for the word after "a picture of a": the attention's, and how much its log-probability falls."""
    word = scene.things[0].word
    prompt = f"a picture of {world.article(word).split()[0]}"
    batch = chunked_prompts([(scene, prompt)], size).batch([0])
    pixel_values, ids = batch["pixel_values"], batch["ids"]
    weights = introspection.attention_weights(
        model, lambda: model(ids, **model.vision_context(pixel_values))
    )
    resampler = [value for name, value in weights.items() if name.startswith("resampler")][-1]
    patches = resampler.shape[-1] - resampler.shape[-2] - 1  # class token, patches, latents
    to_patches = resampler.mean(1)[0, :, 1 : 1 + patches]  # (R, P)
    blocks = [value for name, value in weights.items() if name.startswith("blocks")]
    answer = tokenizer.encode([word])[0, 1]

    def log_probability(pixels: Tensor) -> Tensor:
        logits = model(ids.expand(len(pixels), -1), **model.vision_context(pixels))[:, -1]
        return logits.log_softmax(-1)[:, answer]

    covered = introspection.occlusion(log_probability, pixel_values[0], size // 4, size // 4)
    return {
        "attention": blocks[-1][0, :, -1].mean(0) @ to_patches,
        "occlusion": covered,
    }


def shown_in_squares(scene: world.Scene, size: int, side: int) -> Tensor:
    """Which of side x side squares of a picture show a part of its things: (side * side,) booleans."""
    empty = world.render(world.Scene((), scene.background), size)
    differs = torch.from_numpy(world.render(scene, size) != empty).any(-1)
    return differs.reshape(side, size // side, side, -1).any(-1).any(1).flatten()


def same_when_cached(model: Flamingo, page: Page, size: int, tokens: int = 8) -> bool:
    """Does generation with a cache of keys and values write the same ids as without?"""
    ids, media, _ = page_inputs(model, page, size)
    plain = generation.generate(model, ids, tokens, media=media)
    cache = language.new_cache(model.lm)
    return torch.equal(plain, generation.generate(model, ids, tokens, cache=cache, media=media))
