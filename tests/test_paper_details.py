"""Details of the papers that a model can get wrong and still learn: pairs and their labels, negatives, queues, initial values."""

from dataclasses import replace

import pytest
import torch
from test_protocol import blip as build_blip
from test_protocol import flamingo as build_flamingo
from test_protocol import qformer
from torch import nn
from torch.nn.functional import cross_entropy, log_softmax, normalize

from vlmcourse.papers import blip as blip_module
from vlmcourse.papers import blip2 as blip2_module
from vlmcourse.papers.blip import BLIP, PARAMETER_SHARING
from vlmcourse.papers.blip2 import Stage1
from vlmcourse.papers.blip_tasks import BLIPForNLVR2, BLIPForVisDial
from vlmcourse.papers.clip import CLIP, CLIPConfig
from vlmcourse.papers.flamingo import SquaredReLU
from vlmcourse.papers.perceiver import TextInput
from vlmcourse.papers.vilbert import ViLBERT, ViLBERTConfig
from vlmcourse.papers.vlbert import geometry_embedding
from vlmcourse.parts.vision import ViT


def loud(model):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "temperature" not in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def blip(**changes):
    torch.manual_seed(0)
    return loud(BLIP(replace(build_blip()[0].config, **changes))).eval()


def stage1():
    torch.manual_seed(0)
    return loud(Stage1(qformer(), ViT(16, 8, 24, 2, 2))).eval()


def pairs(count=4):
    torch.manual_seed(1)
    ids = torch.tensor([[1, 11, 12, 2], [1, 13, 14, 2], [1, 15, 2, 0], [1, 16, 17, 2]])[:count]
    return {"pixel_values": torch.randn(count, 3, 16, 16), "ids": ids}


def vectors(model, batch):
    """Unit vectors of images (B, [R,] E) and texts (B, E)."""
    if isinstance(model, Stage1):
        image = model.vision_context(batch["pixel_values"])["image"]
        return model.encode_image(image), model.encode_text(batch["ids"])
    return model.encode_image(batch["pixel_values"]), model.encode_text(batch["ids"])


PAIRS = pytest.mark.parametrize(
    "module, build", [(blip_module, blip), (blip2_module, stage1)], ids=["blip", "blip2"]
)


@PAIRS
@pytest.mark.parametrize("autocast", [False, True])
def test_hard_negatives_are_drawn_by_scaled_similarities_of_images_and_texts(
    module, build, autocast, monkeypatch
):
    model, batch, given = build(), pairs(), []
    draw = module.hard_negatives
    monkeypatch.setattr(
        module, "hard_negatives", lambda s, groups=None: given.append(s) or draw(s, groups)
    )
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        model.losses(batch)
        image, text = vectors(model, batch)
    table = image.float() @ text.float().T
    table = table.amax(1) if table.dim() == 3 else table
    wanted = table / model.temperature
    assert given[0].dtype == torch.float32 and not given[0].requires_grad
    torch.testing.assert_close(given[0], wanted.detach(), atol=1e-3, rtol=1e-3)
    assert not torch.allclose(given[0], given[0].T, atol=1e-2)


@PAIRS
def test_matching_pairs_are_labelled_and_paired_as_the_paper_says(module, build, monkeypatch):
    """By hand: -ln p(match) of B pairs, -ln p(no match) of an image with a wrong text and of a text with a wrong image."""
    model, batch = build(), pairs()
    texts, images = torch.tensor([1, 2, 3, 0]), torch.tensor([2, 3, 1, 2])
    monkeypatch.setattr(module, "hard_negatives", lambda similarities, groups=None: (texts, images))
    found = model.losses(batch)["itm"]
    context = model.vision_context(batch["pixel_values"])
    states = context.get("states", context.get("image"))

    def log_probs(images, texts):
        ids = batch["ids"][texts]
        logits = (
            model.itm_logits(states[images], ids)
            if isinstance(model, Stage1)
            else model.itm_logits(ids, states[images])
        )
        return log_softmax(logits, -1)

    own = torch.arange(4)
    wrong = torch.cat([log_probs(own, texts)[:, 0], log_probs(images, own)[:, 0]])
    by_hand = -torch.cat([log_probs(own, own)[:, 1], wrong]).mean()
    torch.testing.assert_close(found, by_hand, atol=1e-4, rtol=1e-4)


def clip():
    torch.manual_seed(0)
    small = dict(vision_width=24, vision_depth=1, vision_heads=2, text_width=32, text_heads=2)
    config = CLIPConfig(40, end=2, context=8, embedding=16, image_size=16, patch=8, **small)
    return loud(CLIP(config)).eval()


@pytest.mark.parametrize("build", [clip, blip, stage1])
def test_rows_of_one_positive_group_are_positives_of_each_other(build):
    model, batch = build(), pairs()
    key = "clip" if build is clip else "itc"
    groups = torch.tensor([7, 8, 7, 9])
    image, text = vectors(model, batch)
    scale = model.logit_scale.exp() if build is clip else 1 / model.temperature
    logits = image @ text.T
    logits = scale * (logits.amax(1) if logits.dim() == 3 else logits)
    targets = (groups[:, None] == groups[None, :]).float()
    targets = targets / targets.sum(1, keepdim=True)
    smoothing = 0.1 if build is stage1 else 0.0
    wanted = sum(
        cross_entropy(table, targets, label_smoothing=smoothing) for table in (logits, logits.T)
    )
    found = model.losses({**batch, "positive_groups": groups})[key]
    torch.testing.assert_close(found, wanted / 2, atol=1e-4, rtol=1e-4)
    assert (found - model.losses(batch)[key]).abs() > 1e-3


def test_the_queue_is_filled_while_training_only():
    model, batch = blip(momentum=0.9, queue_size=8, alpha=0.4), pairs()
    queue = model.momentum_encoders.image_queue.clone()
    model.losses(batch)
    assert torch.equal(model.momentum_encoders.image_queue, queue)
    model.train().losses(batch)
    assert not torch.equal(model.momentum_encoders.image_queue, queue)


@pytest.mark.parametrize("unshared", ["all", "all except CA"])
def test_the_decoder_reads_the_image_through_its_own_cross_attention(unshared):
    model, batch = blip(unshared=PARAMETER_SHARING[unshared]), pairs()
    states = model.vision_context(batch["pixel_values"])["states"]
    wanted = model.lm_loss(batch["ids"], model.loss_mask(batch), states)
    torch.testing.assert_close(model.losses(batch)["lm"], wanted)
    own = model.encoder.project_kv(states)
    through_encoder = model.lm_loss(batch["ids"], model.loss_mask(batch), own)
    assert torch.allclose(through_encoder, wanted) == (unshared == "all")


def test_the_upper_half_of_nlvr2_s_blocks_merges_by_a_learned_layer():
    for depth, learned in ((2, [False, True]), (3, [False, True, True])):
        blocks = BLIPForNLVR2(blip(text_depth=depth)).blocks
        assert [block.merge is not None for block in blocks] == learned


def test_visdial_s_right_answers_are_the_matches():
    model = BLIPForVisDial(blip(vision_width=32, vision_heads=2)).eval()
    batch, wrong = pairs(), torch.tensor([[1, 20, 21, 2]]).expand(4, -1)
    context = model.vision_context(batch["pixel_values"], batch["ids"])
    right = log_softmax(model(batch["ids"], **context), -1)[:, 1]
    other = log_softmax(model(wrong, **context), -1)[:, 0]
    given = {"caption": batch["ids"], "right": batch["ids"], "wrong": wrong}
    found = model.losses({"pixel_values": batch["pixel_values"], **given})["itm"]
    torch.testing.assert_close(found, -torch.cat([right, other]).mean(), atol=1e-5, rtol=1e-5)


def test_a_text_ends_at_its_first_end_token():
    model = clip()
    ids = torch.tensor([[1, 11, 2, 2, 2], [1, 12, 13, 2, 2]])
    assert model.text.end_positions(ids).tolist() == [2, 3]
    torch.testing.assert_close(model.encode_text(ids[:1]), model.encode_text(ids[:1, :3]))


def test_flamingo_s_initial_values_and_bounds():
    model = build_flamingo()[0]
    assert 0.005 < model.resampler.latents.std() < 0.05
    assert SquaredReLU()(torch.tensor([-2.0, 3.0])).tolist() == [0, 9]
    longest = model.lm.config.max_position_embeddings
    model.validate(torch.full((1, longest), 9), 0)
    with pytest.raises(ValueError, match=f"positions for {longest}"):
        model.validate(torch.full((1, longest + 1), 9), 0)
    ids = torch.tensor([[1, 5, 9, 10]])
    mask = torch.tensor([[False, True, True, False]])
    with pytest.raises(ValueError, match="an image token"):
        model.losses({"ids": ids, "loss_mask": mask, "pixel_values": torch.randn(1, 3, 16, 16)})


def test_positions_of_a_text_s_perceiver_run_from_minus_one_to_one():
    found = TextInput(9, 8, 6)(torch.zeros(1, 6, dtype=torch.long))[0, :, -1]
    torch.testing.assert_close(found, torch.linspace(-1, 1, 6))


def test_a_q_former_without_text_shares_nothing():
    whole = qformer()
    alone = whole.without_text()
    mine = {parameter.data_ptr() for parameter in whole.parameters()}
    assert not mine & {parameter.data_ptr() for parameter in alone.parameters()}


def test_vilbert_embeds_boxes_loudly_and_pools_by_tanh():
    torch.manual_seed(0)
    model = ViLBERT(ViLBERTConfig(40, 9, 12, 5, text_width=32, image_width=32))
    assert 0.8 < model.embed_box.weight.std() < 1.2
    image, text = torch.randn(3, 2, 32), torch.randn(3, 4, 32)
    pooled = [
        pool(x[:, 0]).tanh() for pool, x in ((model.pool_image, image), (model.pool_text, text))
    ]
    wanted = model.alignment_head(pooled[0] * pooled[1])[:, 0]
    torch.testing.assert_close(model._alignment_logits(image, text), wanted)


def test_vlbert_s_wavelengths_grow_from_one_to_a_hundred_hundredths():
    box = torch.tensor([[[0.1, 0.2, 0.3, 0.4]]])
    angles = 100 * box[0, 0, :, None] / torch.tensor([1.0, 10.0])  # 100 ** (0 / 2), 100 ** (1 / 2)
    wanted = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten()
    torch.testing.assert_close(geometry_embedding(box, 2)[0, 0], wanted)


def test_the_itc_vectors_are_normalised():
    model, batch = stage1(), pairs()
    image, text = vectors(model, batch)
    torch.testing.assert_close(normalize(image, dim=-1), image)
    torch.testing.assert_close(normalize(text, dim=-1), text)
    assert isinstance(model.itm_head, nn.Linear)
