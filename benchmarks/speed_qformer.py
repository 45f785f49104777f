"""`python -m benchmarks.speed qformer`: a training step of BLIP-2's first stage, ours beside transformers' Q-Former.

transformers has the Q-Former but none of stage 1's losses, so they are built on it here as one would: a pass of the queries
and one of the text for contrast, one of both under a 4-D mask for generation (the model takes no cache), one of three times as
many for matching. Same sizes, features, texts, hard negatives and smoothing, no dropout on either side. Both have the same
weights; before any clock starts, their losses must agree.
"""

from __future__ import annotations

import copy

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from benchmarks.speed import LENGTH, VOCABULARY, in_turns, peak_memory, stepper
from vlmcourse.evaluation import save_results
from vlmcourse.papers.blip2 import LABEL_SMOOTHING, Stage1
from vlmcourse.papers.qformer import QFormer, QFormerConfig
from vlmcourse.parts.bert import MLMHead
from vlmcourse.parts.losses import hard_negatives, itm_loss
from vlmcourse.parts.masks import multimodal_causal
from vlmcourse.recipes.blip2 import STAGE1_SIZES
from vlmcourse.training.precision import device_precision
from vlmcourse.training.scale import Scale

PATCHES = 17  # of a 64-pixel picture, and the class token


class Seen(nn.Module):
    """An image encoder by its width alone: features come with the batch."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width
        self.tokens = None


def config(scale: Scale) -> QFormerConfig:
    sizes = STAGE1_SIZES[scale.name]
    return QFormerConfig(
        scale.width,
        VOCABULARY,
        queries=sizes.queries,
        context=LENGTH,
        width=scale.width,
        depth=sizes.depth,
        heads=scale.heads,
    )


def batch(scale: Scale, size: int) -> dict[str, Tensor]:
    """Features of pictures, and texts of 8 to 16 tokens."""
    torch.manual_seed(0)
    ids, ends = (
        torch.randint(9, VOCABULARY, (size, LENGTH)),
        torch.randint(8, LENGTH + 1, (size, 1)),
    )
    return {
        "features": torch.randn(size, PATCHES, scale.width),
        "ids": ids.masked_fill(torch.arange(LENGTH) >= ends, 0),
    }


class Theirs(nn.Module):
    """Stage 1 on `transformers.Blip2QFormerModel`."""

    def __init__(self, c: QFormerConfig, embedding: int):
        super().__init__()
        from transformers import Blip2QFormerConfig, Blip2QFormerModel
        from transformers.models.blip_2.modeling_blip_2 import Blip2TextEmbeddings

        self.c = c
        theirs = Blip2QFormerConfig(
            vocab_size=c.vocabulary,
            hidden_size=c.width,
            num_hidden_layers=c.depth,
            num_attention_heads=c.heads,
            intermediate_size=4 * c.width,
            cross_attention_frequency=c.every,
            encoder_hidden_size=c.features,
            pad_token_id=0,
            max_position_embeddings=c.context,
            use_qformer_text_input=True,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        theirs._attn_implementation = "sdpa"
        self.qformer, self.embeddings = Blip2QFormerModel(theirs), Blip2TextEmbeddings(theirs)
        self.queries, self.norm_image = (
            nn.Parameter(0.02 * torch.randn(1, c.queries, c.width)),
            nn.LayerNorm(c.features),
        )
        self.image_projection, self.text_projection = (
            nn.Linear(c.width, embedding),
            nn.Linear(c.width, embedding),
        )
        self.itm_head, self.temperature = nn.Linear(c.width, 2), nn.Parameter(torch.tensor(0.07))
        self.head = MLMHead(c.width, c.vocabulary, c.eps)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        image, ids, R = self.norm_image(batch["features"]), batch["ids"], self.c.queries
        B = len(ids)
        read, write = ids.clone(), ids.clone()
        read[:, 0], write[:, 0] = self.c.read, self.c.write
        padding_mask = (read != self.c.padding).long()
        queries = self.queries.expand(B, -1, -1)
        seen = self.qformer(queries, encoder_hidden_states=image).last_hidden_state
        text = self.qformer(
            self.embeddings(read), query_length=0, attention_mask=padding_mask
        ).last_hidden_state[:, 0]
        similarity = (
            torch.einsum(
                "ird,jd->ijr",
                normalize(self.image_projection(seen), dim=-1),
                normalize(self.text_projection(text), dim=-1),
            ).amax(-1)
            / self.temperature
        )
        right = torch.arange(B)
        contrast = (
            sum(
                cross_entropy(way, right, label_smoothing=LABEL_SMOOTHING)
                for way in (similarity, similarity.T)
            )
            / 2
        )
        texts, images = hard_negatives(similarity.detach())
        three = torch.cat([read, read[texts], read])
        everyone = torch.cat([three.new_ones(3 * B, R), (three != self.c.padding).long()], dim=1)
        both = self.qformer(
            self.embeddings(three, query_embeds=self.queries.expand(3 * B, -1, -1)),
            query_length=R,
            attention_mask=everyone,
            encoder_hidden_states=torch.cat([image, image, image[images]]),
        )
        said = self.itm_head(both.last_hidden_state[:, :R]).mean(1)
        mask = (
            multimodal_causal(R, LENGTH).to_bool()
            & torch.cat([padding_mask.new_ones(B, R), padding_mask], dim=1).bool()[:, None, None]
        )
        written = self.qformer(
            self.embeddings(write, query_embeds=queries),
            query_length=R,
            attention_mask=mask,
            encoder_hidden_states=image,
        ).last_hidden_state[:, R:-1]
        words = self.head(written, self.embeddings.word_embeddings.weight)
        generate = cross_entropy(
            words.flatten(0, 1).float(),
            write[:, 1:].flatten(),
            label_smoothing=LABEL_SMOOTHING,
            ignore_index=self.c.padding,
        )
        return {"itc": contrast, "itm": itm_loss(said[:B], said[B:]), "itg": generate}


def models(scale: Scale) -> tuple[Stage1, Theirs]:
    """Both with the same weights."""
    torch.manual_seed(0)
    theirs = Theirs(config(scale), scale.width // 2)
    former = QFormer.from_hf(theirs.qformer, theirs.queries[0])
    mine = Stage1(former, Seen(scale.width), scale.width // 2)
    former.norm_image = copy.deepcopy(theirs.norm_image)
    with torch.no_grad():
        former.words.weight.copy_(theirs.embeddings.word_embeddings.weight)
        former.positions.copy_(theirs.embeddings.position_embeddings.weight)
    for name in ("image_projection", "text_projection", "itm_head", "head"):
        getattr(mine, name).load_state_dict(getattr(theirs, name).state_dict())
    return mine.train(), theirs.train()


def agree(scale: Scale) -> None:
    """Before any clock starts: three losses, three times the same numbers."""
    mine, theirs = models(scale)
    given, found = batch(scale, 8), []
    for losses in (mine.losses, mine.losses_unfused, theirs.losses):
        torch.manual_seed(1)  # the same negatives are drawn
        found.append(losses(given))
    for name, value in found[0].items():
        for other in found[1:]:
            torch.testing.assert_close(
                other[name], value, atol=1e-4, rtol=1e-4, msg=f"{name}: {other[name]} and {value}"
            )


def ours(scale: Scale, size: int):
    (model, _), given = models(scale), batch(scale, size)
    return model, lambda: sum(model.losses(given).values())


def losses_unfused(scale: Scale, size: int):
    (model, _), given = models(scale), batch(scale, size)
    return model, lambda: sum(model.losses_unfused(given).values())


def transformers(scale: Scale, size: int):
    (_, model), given = models(scale), batch(scale, size)
    return model, lambda: sum(model.losses(given).values())


CONTENDERS = {
    "ours": ours,
    "ours, three masked passes": losses_unfused,
    "on transformers' Blip2QFormerModel": transformers,
}


def three_steps(
    name: str, scale: str, size: int, precision: torch.dtype, warm: bool = False
) -> None:
    step = stepper(*CONTENDERS[name](Scale.of(scale), 4 if warm else size), precision)
    for _ in range(3):
        step()


def measure(scale: str, rounds: int) -> None:
    named, size = Scale.of(scale), STAGE1_SIZES[scale].batch
    agree(named)
    precisions = {"float32": torch.float32}
    if device_precision() == torch.bfloat16:
        precisions["bfloat16"] = torch.bfloat16
    runs = {
        (name, word): CONTENDERS[name](named, size) for name in CONTENDERS for word in precisions
    }
    seconds = in_turns(
        {run: stepper(*made, precisions[run[1]]) for run, made in runs.items()}, rounds
    )
    peer = list(CONTENDERS)[-1]
    fastest = min(value for (name, _), value in seconds.items() if name == peer)
    rows = [
        {
            "model": name,
            "precision": word,
            "ms": 1e3 * value,
            "pairs/s": size / value,
            "peak MiB": peak_memory(three_steps, name, scale, size, precisions[word]),
            "parameters": sum(p.numel() for p in runs[name, word][0].parameters()),
            "times transformers": fastest / value,
            "times transformers, same precision": seconds[peer, word] / value,
        }
        for (name, word), value in seconds.items()
    ]
    table = Table(
        title=f"BLIP-2 stage 1, one training step, scale {scale}: batch {size}, {torch.get_num_threads()} threads"
    )
    for heading in ("model", "precision", "ms", "pairs/s", "peak MiB", "speed-up"):
        table.add_column(
            heading, justify="left" if heading in ("model", "precision") else "right", no_wrap=True
        )
    for row in rows:
        table.add_row(
            row["model"],
            row["precision"],
            f"{row['ms']:.1f}",
            f"{row['pairs/s']:,.0f}",
            f"{row['peak MiB']:.0f}",
            f"{row['times transformers, same precision']:.2f}",
            style="bold" if row["model"] == "ours" else None,
        )
    Console(width=120).print(table)
    print(
        "speed-up: over the losses built on transformers' model, at the same precision. MiB: peak memory of three steps."
    )
    save_results(
        "speed_qformer", rows, command="python -m benchmarks.speed qformer", batch=size, scale=scale
    )
