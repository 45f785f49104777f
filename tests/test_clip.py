"""CLIP: number for number transformers' CLIPModel, and the paper's invariants."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmcourse.papers.clip import CLIP, CLIPConfig

END = 98


def theirs(
    vision_depth=2,
    text_depth=2,
    width=32,
    heads=4,
    activation="quick_gelu",
    end=END,
    projection=24,
    seed=0,
    **text,
):
    from transformers import CLIPConfig as Config
    from transformers import CLIPModel

    torch.manual_seed(seed)
    shared = dict(
        hidden_size=width,
        intermediate_size=2 * width,
        num_attention_heads=heads,
        hidden_act=activation,
    )
    model = CLIPModel(
        Config(
            text_config=dict(
                vocab_size=99,
                num_hidden_layers=text_depth,
                max_position_embeddings=16,
                eos_token_id=end,
                bos_token_id=97,
                pad_token_id=0,
                **shared,
            )
            | text,
            vision_config=dict(
                num_hidden_layers=vision_depth, image_size=16, patch_size=8, **shared
            ),
            projection_dim=projection,
        )
    ).eval()
    for parameter in (
        model.parameters()
    ):  # the default initialisation leaves biases at zero, where errors could hide
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def batch(seed=0, count=5, length=9):
    torch.manual_seed(seed)
    ids = torch.randint(1, 97, (count, length))
    for row in range(count):
        ids[row, 3 + row % (length - 3)] = END
        ids[row, 4 + row % (length - 3) :] = 0
    return torch.randn(count, 3, 16, 16), ids


@settings(max_examples=12, deadline=None)
@given(
    vision_depth=st.integers(1, 3),
    text_depth=st.integers(1, 3),
    heads=st.sampled_from([1, 2, 4]),
    width=st.sampled_from([16, 32, 48]),
    activation=st.sampled_from(["quick_gelu", "gelu"]),
    end=st.sampled_from([END, 2]),
    projection=st.sampled_from([8, 24]),
    seed=st.integers(0, 9),
)
def test_parity_with_transformers(seed, **config):
    model = theirs(**config, seed=seed)
    ours = CLIP.from_hf(model)
    pixel_values, ids = batch(seed)
    with torch.no_grad():
        expected = model(input_ids=ids, pixel_values=pixel_values)
        torch.testing.assert_close(
            ours.encode_image(pixel_values), expected.image_embeds, atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(
            ours.encode_text(ids), expected.text_embeds, atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(
            ours.logits(pixel_values, ids), expected.logits_per_image, atol=1e-4, rtol=1e-4
        )
    assert (
        expected.image_embeds[0] - expected.image_embeds[1]
    ).abs().max() > 1e-2  # or the test would be vacuous


def test_parity_of_loss_and_gradients():
    model = theirs()
    ours, (pixel_values, ids) = CLIP.from_hf(model), batch()
    expected = model(input_ids=ids, pixel_values=pixel_values, return_loss=True).loss
    loss = ours.losses({"pixel_values": pixel_values, "ids": ids})["clip"]
    torch.testing.assert_close(loss, expected)
    for mine, their in (
        (ours.logit_scale, model.logit_scale),
        (ours.text.tokens.weight, model.text_model.embeddings.token_embedding.weight),
        (ours.vision.class_token, model.vision_model.embeddings.class_embedding),
    ):
        (gradient,) = torch.autograd.grad(loss, mine, retain_graph=True)
        (reference,) = torch.autograd.grad(expected, their, retain_graph=True)
        torch.testing.assert_close(gradient, reference, atol=1e-5, rtol=1e-3)


def test_from_pretrained_reads_a_local_folder(tmp_path):
    model = theirs()
    model.save_pretrained(tmp_path)
    ours, (pixel_values, ids) = CLIP.from_pretrained(str(tmp_path)), batch()
    with torch.no_grad():
        torch.testing.assert_close(
            ours.logits(pixel_values, ids),
            model(input_ids=ids, pixel_values=pixel_values).logits_per_image,
            atol=1e-4,
            rtol=1e-4,
        )


def test_from_hf_copies():
    model = theirs()
    ours = CLIP.from_hf(model)
    before = ours.logit_scale.clone()
    model.logit_scale.data += 1
    assert torch.equal(ours.logit_scale, before)


def test_an_unknown_activation_is_named():
    with pytest.raises(ValueError, match="'relu'.*quick_gelu, gelu"):
        CLIP.from_hf(theirs(activation="relu"))


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return CLIP(
        CLIPConfig(
            vocabulary=99,
            end=END,
            context=16,
            embedding=24,
            image_size=16,
            patch=8,
            vision_width=32,
            vision_depth=2,
            vision_heads=4,
            text_width=32,
            text_depth=2,
            text_heads=4,
        )
    ).eval()


@torch.no_grad()
def test_embeddings_are_unit_vectors_and_logits_bounded_by_the_scale(small):
    pixel_values, ids = batch()
    for embedding in (small.encode_image(pixel_values), small.encode_text(ids)):
        torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(5))
    assert small.logits(pixel_values, ids).abs().max() <= small.logit_scale.exp() + 1e-4


def test_temperature_starts_where_the_paper_says_and_stays_in_bounds(small):
    assert small.logit_scale.item() == pytest.approx(math.log(1 / 0.07), abs=1e-6)
    clip = CLIP(small.config)
    for value, kept in ((9.0, math.log(100)), (-3.0, 0.0), (2.0, 2.0)):
        clip.logit_scale.data.fill_(value)
        clip.after_step()
        assert clip.logit_scale.item() == pytest.approx(kept)
    clip.logit_scale.data.fill_(
        5.0
    )  # beyond the bound there must still be a gradient to come back by
    pixel_values, ids = batch()
    clip.losses({"pixel_values": pixel_values, "ids": ids})["clip"].backward()
    assert clip.logit_scale.grad.abs() > 0


@torch.no_grad()
def test_text_is_read_at_its_end_and_causally(small):
    _, ids = batch()
    before = small.encode_text(ids)
    end = ids[0].tolist().index(END)
    after = ids.clone()
    after[0, end + 1 :] = torch.randint(1, 97, (ids.shape[1] - end - 1,))
    assert torch.equal(small.encode_text(after)[0], before[0])
    earlier = ids.clone()
    earlier[0, end - 1] = ids[0, end - 1] % 96 + 1
    assert (small.encode_text(earlier)[0] - before[0]).abs().max() > 1e-3


@torch.no_grad()
def test_padding_length_does_not_matter(small):
    _, ids = batch()
    longer = torch.cat([ids, torch.zeros(5, 4, dtype=torch.long)], dim=1)
    torch.testing.assert_close(
        small.encode_text(longer), small.encode_text(ids), atol=1e-6, rtol=1e-5
    )


def test_the_end_must_not_be_guessed(small):
    """Reading at the largest id is the same only while no id is larger than the end token's."""
    _, ids = batch()
    largest = CLIP(CLIPConfig(**{**vars(small.config), "end": None})).eval()
    largest.load_state_dict(small.state_dict())
    with torch.no_grad():
        assert torch.equal(largest.encode_text(ids), small.encode_text(ids))
        sounds_alike = torch.where(ids == END, 90, ids)  # no end token at all
        largest.encode_text(sounds_alike)  # reads somewhere, silently
    with pytest.raises(ValueError, match="text 0 of the batch has no end token"):
        small.encode_text(sounds_alike)


def test_a_resnet_tower_has_the_same_interface():
    torch.manual_seed(0)
    clip = CLIP(
        CLIPConfig(
            vocabulary=99, end=END, image_size=32, resnet=(1, 1), vision_width=64, vision_heads=4
        )
    )
    _, ids = batch()
    clip.losses({"pixel_values": torch.randn(5, 3, 32, 32), "ids": ids})["clip"].backward()
    assert clip.vision.stem[0].weight.grad.abs().sum() > 0


def test_a_few_steps_learn_a_batch_by_heart(small):
    clip, (pixel_values, ids) = CLIP(small.config), batch()
    optimiser = torch.optim.AdamW(clip.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = clip.losses({"pixel_values": pixel_values, "ids": ids})["clip"]
        loss.backward()
        optimiser.step()
        clip.after_step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 < math.log(5) / 2 < losses[0]


@pytest.mark.parametrize(
    "ids, words",
    [
        (torch.zeros(5, dtype=torch.long), ["(5,)", "(batch, tokens)"]),
        (torch.full((1, 17), END), ["17 tokens", "at most 16"]),
        (torch.tensor([[1, 120, END]]), ["120", "vocabulary of 99"]),
        (torch.rand(2, 4), ["float32", "integers"]),
    ],
)
def test_bad_text_is_named(small, ids, words):
    with pytest.raises(ValueError) as error:
        small.encode_text(ids)
    assert all(word in str(error.value) for word in words), str(error.value)
