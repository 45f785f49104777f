"""BLIP's full step, image-text contrast + match + caption, beside the same losses computed with transformers' modules.

`python -m benchmarks.speed blip` runs this. transformers has no BLIP that pre-trains, so its BlipVisionModel, BlipTextModel and
BlipTextLMHeadModel are put together here, sharing what the paper shares, without dropout, as salesforce/BLIP does it: one
pass of the picture, three of the text. Both have the same weights; before any clock starts, their losses must agree.
"""

from __future__ import annotations

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import normalize

from benchmarks.speed import in_turns, peak_memory, stepper
from vlmcourse import recipes
from vlmcourse.evaluation import save_results
from vlmcourse.papers.blip import BLIP, BLIPConfig
from vlmcourse.papers.checkpoints import copy_blip
from vlmcourse.parts.losses import clip_loss, hard_negatives, itm_loss
from vlmcourse.training.scale import Scale

TEXT_DEPTH = 2
VOCABULARY, LENGTH, CLS, ENC, DEC, END, PAD = 512, 16, 508, 509, 510, 511, 0


def batch(scale: Scale, count: int) -> tuple[Tensor, Tensor]:
    """Pictures and texts of 8 to 16 tokens."""
    torch.manual_seed(0)
    ids = torch.randint(1, CLS, (count, LENGTH))
    ends = torch.randint(7, LENGTH, (count, 1))
    place = torch.arange(LENGTH)
    ids = ids.masked_fill(place == ends, END).masked_fill(place > ends, PAD)
    return torch.randn(count, 3, scale.image_size, scale.image_size), ids


class Theirs(nn.Module):
    """transformers' modules, under the names that its own BLIP classes give them."""

    def __init__(self, scale: Scale):
        super().__init__()
        from transformers import BlipTextConfig, BlipVisionConfig, BlipVisionModel
        from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel, BlipTextModel

        shared = dict(
            hidden_size=scale.width,
            intermediate_size=4 * scale.width,
            num_attention_heads=scale.heads,
        )
        vision = BlipVisionConfig(
            num_hidden_layers=scale.vision_depth,
            image_size=scale.image_size,
            patch_size=16,
            initializer_range=0.02,
            **shared,
        )
        text = BlipTextConfig(
            vocab_size=VOCABULARY,
            encoder_hidden_size=scale.width,
            num_hidden_layers=TEXT_DEPTH,
            max_position_embeddings=LENGTH,
            bos_token_id=DEC,
            sep_token_id=END,
            eos_token_id=END,
            pad_token_id=PAD,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            label_smoothing=0.1,
            **shared,
        )
        self.vision_model = BlipVisionModel(vision)
        self.text_encoder = BlipTextModel(text, add_pooling_layer=False)
        self.text_decoder = BlipTextLMHeadModel(text)
        self.text_decoder.bert.embeddings = self.text_encoder.embeddings
        self.text_decoder.cls.predictions.decoder.weight = (
            self.text_encoder.embeddings.word_embeddings.weight
        )
        for mine, theirs in zip(
            self.text_decoder.bert.encoder.layer, self.text_encoder.encoder.layer
        ):
            mine.crossattention, mine.intermediate, mine.output = (
                theirs.crossattention,
                theirs.intermediate,
                theirs.output,
            )
        self.vision_proj, self.text_proj = (nn.Linear(scale.width, scale.width) for _ in range(2))
        self.itm_head = nn.Linear(scale.width, 2)
        self.temperature = nn.Parameter(torch.tensor(0.07))

    def losses(self, pixel_values: Tensor, ids: Tensor) -> dict[str, Tensor]:
        def starting(first: int) -> Tensor:
            return torch.cat([torch.full_like(ids[:, :1], first), ids[:, 1:]], dim=1)

        padding_mask = (ids != PAD).long()
        states = self.vision_model(pixel_values).last_hidden_state
        image = normalize(self.vision_proj(states[:, 0]), dim=-1)
        text = self.text_encoder(starting(CLS), attention_mask=padding_mask).last_hidden_state
        text = normalize(self.text_proj(text[:, 0]), dim=-1)
        texts, images = hard_negatives(image.detach() @ text.detach().T / self.temperature.detach())
        enc = starting(ENC)
        seen = self.text_encoder(
            torch.cat([enc, enc[texts], enc]),
            attention_mask=torch.cat([padding_mask, padding_mask[texts], padding_mask]),
            encoder_hidden_states=torch.cat([states, states, states[images]]),
        ).last_hidden_state
        belongs = self.itm_head(seen[:, 0])
        caption = self.text_decoder(
            starting(DEC),
            attention_mask=padding_mask,
            encoder_hidden_states=states,
            labels=starting(DEC).masked_fill(padding_mask == 0, -100),
        ).loss
        return {
            "itc": clip_loss(image, text, 1 / self.temperature),
            "itm": itm_loss(belongs[: len(ids)], belongs[len(ids) :]),
            "lm": caption,
        }


def pair(scale: Scale, count: int) -> dict[str, tuple[nn.Module, object]]:
    """Both models with the same weights, and their losses as functions without arguments."""
    torch.manual_seed(0)
    theirs, (pixel_values, ids) = Theirs(scale), batch(scale, count)
    ours = BLIP(
        BLIPConfig(
            VOCABULARY,
            CLS,
            ENC,
            DEC,
            END,
            PAD,
            LENGTH,
            scale.width,
            scale.image_size,
            16,
            scale.width,
            scale.vision_depth,
            scale.heads,
            vision_eps=theirs.vision_model.config.layer_norm_eps,
            text_width=scale.width,
            text_depth=TEXT_DEPTH,
            text_heads=scale.heads,
            text_eps=theirs.text_encoder.config.layer_norm_eps,
        )
    )
    copy_blip(ours, theirs)
    found = [
        (torch.manual_seed(1), model())[1]
        for model in (
            lambda: ours.losses({"pixel_values": pixel_values, "ids": ids}),
            lambda: theirs.losses(pixel_values, ids),
        )
    ]
    for name in found[0]:
        torch.testing.assert_close(
            *(losses[name] for losses in found), atol=1e-4, rtol=1e-4, msg=lambda m: f"{name}: {m}"
        )
    return {
        "ours": (
            ours,
            lambda: sum(ours.losses({"pixel_values": pixel_values, "ids": ids}).values()),
        ),
        "transformers": (theirs, lambda: sum(theirs.losses(pixel_values, ids).values())),
    }


def three_steps(name: str, scale: str, warm: bool = False) -> None:
    size = Scale.of(scale)
    count = 4 if warm else recipes.get("blip").sizes[size.name].batch
    step = stepper(*pair(size, count)[name], torch.float32)
    for _ in range(3):
        step()


def measure(scale: str, rounds: int) -> None:
    size, console = Scale.of(scale), Console()
    count = recipes.get("blip").sizes[size.name].batch
    models = pair(size, count)
    seconds = in_turns(
        {name: stepper(model, loss, torch.float32) for name, (model, loss) in models.items()},
        rounds,
    )
    rows = [
        {
            "model": name,
            "precision": "float32",
            "ms": 1e3 * value,
            "pairs/s": count / value,
            "peak MiB": peak_memory(three_steps, name, scale),
            "parameters": sum(p.numel() for p in models[name][0].parameters()),
            "times transformers": seconds["transformers"] / value,
        }
        for name, value in seconds.items()
    ]
    table = Table(
        title=f"BLIP step of three losses, scale {scale}: batch {count}, {torch.get_num_threads()} threads"
    )
    for heading in ("model", "ms", "pairs/s", "MiB", "parameters", "speed-up"):
        table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["model"],
            f"{row['ms']:.1f}",
            f"{row['pairs/s']:,.0f}",
            f"{row['peak MiB']:.0f}",
            f"{row['parameters']:,}",
            f"{row['times transformers']:.2f}",
        )
    console.print(table)
    console.print(
        "Both have the same weights and, checked before, the same losses. MiB: peak memory of three steps."
    )
    save_results("speed_blip", rows, command="python -m benchmarks.speed blip")
