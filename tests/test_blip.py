"""BLIP: number for number transformers' three BLIP classes, and the paper's invariants."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from vlmcourse.papers.blip import BLIP, PARAMETER_SHARING, BLIPConfig
from vlmcourse.parts.attention import KVCache
from vlmcourse.parts.generation import beam_search, generate, greedy, nucleus
from vlmcourse.parts.losses import clip_loss

CLS, ENC, DEC, END, PAD = 94, 95, 96, 97, 0


def theirs(kind, seed=0, width=32, depth=2, smoothing=0.0):
    import transformers

    torch.manual_seed(seed)
    shared = dict(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=depth,
        num_attention_heads=4,
    )
    model = getattr(transformers, kind)(
        transformers.BlipConfig(
            text_config=dict(
                vocab_size=99,
                encoder_hidden_size=width,
                max_position_embeddings=16,
                bos_token_id=DEC,
                eos_token_id=END,
                sep_token_id=END,
                pad_token_id=PAD,
                label_smoothing=smoothing,
                **shared,
            ),
            vision_config=dict(image_size=16, patch_size=8, **shared),
            image_text_hidden_size=16,
        )
    ).eval()
    for (
        parameter
    ) in model.parameters():  # the default leaves biases at zero and pictures all but equal
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def batch(seed=0, count=5, length=9, first=CLS):
    torch.manual_seed(seed)
    ids = torch.randint(1, 90, (count, length))
    ids[:, 0] = first
    for row in range(count):
        ids[row, 3 + row % (length - 3)] = END
        ids[row, 4 + row % (length - 3) :] = PAD
    return torch.randn(count, 3, 16, 16), ids


@torch.no_grad()
@pytest.mark.parametrize("seed, width, depth", [(0, 32, 2), (1, 16, 1), (2, 48, 3)])
def test_parity_of_contrast_and_match(seed, width, depth):
    model = theirs("BlipForImageTextRetrieval", seed, width, depth)
    ours, (pixel_values, ids) = BLIP.from_hf(model, CLS), batch(seed)
    given = dict(input_ids=ids, pixel_values=pixel_values, attention_mask=(ids != PAD).long())
    expected = model(**given, use_itm_head=False).itm_score
    torch.testing.assert_close(
        ours.encode_image(pixel_values) @ ours.encode_text(ids).T, expected, atol=1e-5, rtol=1e-4
    )
    assert expected.std() > 1e-2  # or the test would be vacuous
    found = ours.itm_logits(ids, **ours.vision_context(pixel_values))
    torch.testing.assert_close(found, model(**given).itm_score, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_enc_is_where_the_paper_has_it_if_one_says_so():
    """transformers matches with [CLS] at the place of [ENC]; with `enc` given, ours is theirs with the token replaced."""
    model = theirs("BlipForImageTextRetrieval")
    ours, (pixel_values, ids) = BLIP.from_hf(model, CLS, ENC), batch()
    as_enc = ids.clone()
    as_enc[:, 0] = ENC
    expected = model(
        input_ids=as_enc, pixel_values=pixel_values, attention_mask=(ids != PAD).long()
    ).itm_score
    torch.testing.assert_close(
        ours.itm_logits(ids, **ours.vision_context(pixel_values)), expected, atol=1e-4, rtol=1e-4
    )
    assert (
        expected - BLIP.from_hf(model, CLS).itm_logits(ids, **ours.vision_context(pixel_values))
    ).abs().max() > 1e-3


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_parity_of_captions(smoothing):
    model = theirs("BlipForConditionalGeneration", smoothing=smoothing)
    ours, (pixel_values, ids) = BLIP.from_hf(model), batch(first=DEC)
    context_mask = ids != PAD
    expected = model(
        pixel_values=pixel_values,
        input_ids=ids,
        attention_mask=context_mask.long(),
        labels=ids.masked_fill(~context_mask, -100),
    )
    states = ours.vision_context(pixel_values)["states"]
    torch.testing.assert_close(
        ours(ids, states=states)[context_mask], expected.logits[context_mask], atol=1e-4, rtol=1e-4
    )
    loss_mask = context_mask & (torch.arange(ids.shape[1]) > 0)
    loss = ours.lm_loss(ids, loss_mask, states)
    torch.testing.assert_close(loss, expected.loss, atol=1e-5, rtol=1e-4)
    for mine, their in (
        (
            ours.decoder.embeddings.words.weight,
            model.text_decoder.bert.embeddings.word_embeddings.weight,
        ),
        (ours.vision.class_token, model.vision_model.embeddings.class_embedding),
    ):
        (gradient,) = torch.autograd.grad(loss, mine, retain_graph=True)
        (reference,) = torch.autograd.grad(expected.loss, their, retain_graph=True)
        torch.testing.assert_close(
            gradient, reference.reshape(gradient.shape), atol=1e-5, rtol=1e-3
        )


@torch.no_grad()
def test_parity_of_writing():
    model = theirs("BlipForConditionalGeneration")
    ours, (pixel_values, _) = BLIP.from_hf(model), batch()
    prompt = torch.tensor([[DEC, 5, 6]]).repeat(5, 1)
    expected = model.generate(
        pixel_values=pixel_values,
        input_ids=torch.cat([prompt, prompt[:, :1]], 1),  # its last token is cut off
        max_new_tokens=6,
        do_sample=False,
    )[:, 3:]
    found = generate(ours, prompt, 6, end=END, cache=KVCache(), **ours.vision_context(pixel_values))
    said = [row[: row.tolist().index(END)] if END in row else row for row in found]
    assert [row.tolist() for row in said] == [
        row[: len(kept)].tolist() for row, kept in zip(expected, said)
    ]


@torch.no_grad()
def test_parity_of_answers():
    """One question at a time, without padding: in batches transformers 5.23 loses the mask on the question's padding (its
    cross-attention never gets it), so there our batch equals their single questions, and theirs ours without `context_mask`."""
    model = theirs("BlipForQuestionAnswering", smoothing=0.1)
    ours, (pixel_values, ids), (_, answers) = BLIP.from_hf(model, CLS), batch(), batch(1, first=DEC)
    assert (
        ours.encoder.blocks[0].feedforward[0].weight
        is not ours.decoder.blocks[0].feedforward[0].weight
    )
    look, loss_mask = ours.vision_context(pixel_values), (answers != PAD) & (torch.arange(9) > 0)
    logits = ours(answers, **ours.encode_question(ids, **look))
    for row in range(5):
        question, answer = (
            text[row : row + 1, : int((text[row] != PAD).sum())] for text in (ids, answers)
        )
        given = dict(
            input_ids=question,
            pixel_values=pixel_values[row : row + 1],
            decoder_input_ids=answer,
            labels=answer,
        )
        seen = model.text_encoder(
            input_ids=question, encoder_hidden_states=look["states"][row : row + 1]
        ).last_hidden_state
        expected = model.text_decoder(input_ids=answer, encoder_hidden_states=seen).logits
        torch.testing.assert_close(
            logits[row : row + 1, : answer.shape[1]], expected, atol=1e-4, rtol=1e-4
        )
        loss = ours.lm_loss(
            answers[row : row + 1],
            loss_mask[row : row + 1],
            **ours.encode_question(question, look["states"][row : row + 1]),
        )
        torch.testing.assert_close(loss, model(**given).loss, atol=1e-5, rtol=1e-4)
    unmasked = ours.lm_loss(answers, loss_mask, ours.encode_question(ids, **look)["states"])
    expected = model(
        input_ids=ids,
        pixel_values=pixel_values,
        attention_mask=(ids != PAD).long(),
        decoder_input_ids=answers,
        labels=answers.masked_fill(answers == PAD, -100),
    ).loss
    torch.testing.assert_close(unmasked, expected, atol=1e-5, rtol=1e-4)


def test_from_pretrained_reads_a_local_folder(tmp_path):
    model = theirs("BlipForImageTextRetrieval")
    model.save_pretrained(tmp_path)
    ours, (pixel_values, _) = BLIP.from_pretrained(str(tmp_path)), batch()
    with torch.no_grad():
        expected = model.vision_model(pixel_values).last_hidden_state
        torch.testing.assert_close(
            ours.vision_context(pixel_values)["states"], expected, atol=1e-5, rtol=1e-4
        )


def test_other_models_are_refused():
    from transformers import GPT2Config, GPT2LMHeadModel

    with pytest.raises(
        ValueError, match="GPT2LMHeadModel has neither text_encoder nor text_decoder"
    ):
        BLIP.from_hf(GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=9)))


CONFIG = BLIPConfig(
    vocabulary=99,
    cls=CLS,
    enc=ENC,
    dec=DEC,
    end=END,
    pad=PAD,
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


def new(seed=0, **changes):
    torch.manual_seed(seed)
    return BLIP(replace(CONFIG, **changes)).eval()


@pytest.fixture(scope="module")
def small():
    return new()


def count(module, *names):
    return sum(
        parameter.numel() for name in names for parameter in module.get_submodule(name).parameters()
    )


def test_sharing_is_identity_and_count():
    """Table 3: what is shared is one Parameter object, and each row has the parameters that its name says."""
    sizes = {}
    for name, apart in PARAMETER_SHARING.items():
        model = new(unshared=apart)
        for part in ("attention", "norm1", "cross", "norm_cross", "feedforward", "norm2"):
            for mine, other in zip(model.encoder.blocks, model.decoder.blocks):
                for one, two in zip(
                    mine.get_submodule(part).parameters(), other.get_submodule(part).parameters()
                ):
                    assert (one is two) == (part not in apart), (name, part)
        assert (model.encoder.embeddings.words.weight is model.decoder.embeddings.words.weight) == (
            name != "none"
        )
        sizes[name] = sum(parameter.numel() for parameter in model.parameters())
    model = new()
    block = {
        part: 2 * count(model.encoder.blocks[0], *names)
        for part, names in (("SA", ("attention", "norm1")), ("CA", ("cross", "norm_cross")))
    }
    assert sizes["all except SA"] - sizes["all"] == block["SA"] == 2 * (4 * (32 * 32 + 32) + 2 * 32)
    assert sizes["all except CA"] - sizes["all"] == block["CA"]
    assert sizes["none"] - sizes["all"] == count(model, "encoder")


def test_shared_stays_shared_while_training():
    model, (pixel_values, ids) = new(), batch()
    before = model.decoder.blocks[0].feedforward[0].weight.clone()
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    model.losses({"pixel_values": pixel_values, "ids": ids})[
        "itm"
    ].backward()  # the encoder's loss alone
    optimiser.step()
    assert not torch.equal(model.decoder.blocks[0].feedforward[0].weight, before)
    assert model.decoder.blocks[0].attention.query.weight.grad is None


@torch.no_grad()
def test_who_looks_at_the_picture(small):
    pixel_values, ids = batch()
    states = small.vision_context(pixel_values)["states"]
    other = small.vision_context(pixel_values.flip(0))["states"]
    assert (small.itm_logits(ids, states)[0] - small.itm_logits(ids, other)[0]).abs().max() > 1e-3
    assert (small(ids, states=states)[0] - small(ids, states=other)[0]).abs().max() > 1e-3
    for block in (
        small.encoder.blocks
    ):  # without cross-attention no picture could arrive: [CLS] never uses it
        block.cross.out.weight.data.fill_(torch.nan)
    broken = small.encode_text(ids)
    assert broken.isfinite().all()


@torch.no_grad()
def test_the_decoder_looks_back_and_the_encoder_both_ways():
    model, (pixel_values, ids) = new(), batch()
    states, later = model.vision_context(pixel_values)["states"], batch()[1]
    later[4, 6] = later[4, 6] % 89 + 1
    before, after = model(ids, states=states)[4], model(later, states=states)[4]
    assert torch.equal(before[:6], after[:6]) and (before[6] - after[6]).abs().max() > 1e-3
    read, reread = (model.encode_question(text, states)["states"][4] for text in (ids, later))
    assert (read[:6] - reread[:6]).abs().amax(1).min() > 1e-4


@torch.no_grad()
def test_padding_and_first_tokens_change_nothing():
    model, (pixel_values, ids) = new(), batch()
    longer = torch.cat([ids, torch.zeros(5, 4, dtype=torch.long)], dim=1)
    longer[:, 0] = 7  # each role puts its own token there
    states = model.vision_context(pixel_values)["states"]
    for found, expected in (
        (model.encode_text(longer), model.encode_text(ids)),
        (model.itm_logits(longer, states), model.itm_logits(ids, states)),
        (model(longer, states=states)[:, :9], model(ids, states=states)),
    ):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_last_block_at_its_first_token_is_the_whole_block_there():
    model, (pixel_values, ids) = new(), batch()
    states, (text, mask) = model.vision_context(pixel_values)["states"], model.role_inputs(ids, ENC)
    torch.testing.assert_close(
        model.encoder.first_state(text, mask, states),
        model.encoder(text, mask, states)[:, 0],
        atol=1e-6,
        rtol=1e-5,
    )


@torch.no_grad()
def test_cached_writing_is_the_whole_computed_anew():
    model, (pixel_values, _) = new(), batch()
    look, prompt = model.vision_context(pixel_values), torch.tensor([[DEC, 5, 6]]).repeat(5, 1)
    for sampler in (
        lambda: greedy,
        lambda: nucleus(0.9, generator=torch.Generator().manual_seed(1)),
    ):
        plain, cached = (
            generate(model, prompt, 8, sampler(), cache=cache, **look)
            for cache in (None, KVCache())
        )
        assert torch.equal(plain, cached)
    ids = torch.cat([prompt, plain], dim=1)
    cache = KVCache()
    parts = [model(ids[:, :end], cache, **look) for end in (3, 5, 11)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids, **look), atol=1e-5, rtol=1e-4)
    one = {"states": look["states"][:1].expand(3, -1, -1)}
    plain, cached = (
        beam_search(model, prompt[:1], 8, 3, END, cache=cache, **one) for cache in (None, KVCache())
    )
    assert torch.equal(plain, cached)


@torch.no_grad()
def test_a_narrow_nucleus_is_greedy():
    model, (pixel_values, _) = new(), batch()
    prompt = torch.full((5, 1), DEC)
    narrow = generate(
        model, prompt, 6, nucleus(1e-6), cache=KVCache(), **model.vision_context(pixel_values)
    )
    assert torch.equal(
        narrow, generate(model, prompt, 6, cache=KVCache(), **model.vision_context(pixel_values))
    )


def test_losses_are_what_the_paper_says():
    """Against the explicit sums: contrast as CLIP's with scale 1 / temperature, match of three groups, smoothed captions."""
    model, (pixel_values, ids) = new(), batch()
    torch.manual_seed(3)
    losses = model.losses({"pixel_values": pixel_values, "ids": ids})
    torch.manual_seed(3)
    states = model.vision_context(pixel_values)["states"]
    image, text = normalize(model.image_projection(states[:, 0]), dim=-1), model.encode_text(ids)
    torch.testing.assert_close(losses["itc"], clip_loss(image, text, 1 / 0.07))
    logits = model(ids, states=states)
    smooth = cross_entropy(
        logits[:, :-1].flatten(0, 1),
        ids[:, 1:].masked_fill(ids[:, 1:] == PAD, -100).flatten(),
        label_smoothing=0.1,
    )
    torch.testing.assert_close(losses["lm"], smooth)
    assert losses["itm"].item() == pytest.approx(math.log(2), abs=0.3)


def test_smoothed_captions_never_cost_nothing():
    """With smoothing 0.1 over 99 words the least possible loss is 0.777, so it is wrong to wait for 0."""
    target = 0.1 / 99 + torch.nn.functional.one_hot(torch.tensor([4]), 99) * 0.9
    least = cross_entropy(target.log(), torch.tensor([4]), label_smoothing=0.1)
    assert least.item() == pytest.approx(0.777, abs=1e-3)


def test_prompts_are_not_scored():
    model, (pixel_values, ids) = new(), batch()
    loss_mask = (ids != PAD) & (torch.arange(9) > 2)
    states = model.vision_context(pixel_values)["states"].detach()
    logits = model(ids, states=states)
    expected = cross_entropy(
        logits[:, 2:-1].flatten(0, 1),
        ids[:, 3:].masked_fill(ids[:, 3:] == PAD, -100).flatten(),
        label_smoothing=0.1,
    )
    torch.testing.assert_close(model.lm_loss(ids, loss_mask, states), expected)


def test_equal_captions_are_right_answers_for_each_other_by_default():
    model, (pixel_values, ids) = new(), batch()
    ids[1] = ids[0]
    same = torch.tensor([0, 0, 1, 2, 3])
    torch.manual_seed(1)
    found = model.losses({"pixel_values": pixel_values, "ids": ids})
    torch.manual_seed(1)
    told = model.losses({"pixel_values": pixel_values, "ids": ids, "positive_groups": same})
    for name in found:
        torch.testing.assert_close(found[name], told[name])
    with pytest.raises(ValueError, match="no negative"):
        model.losses({"pixel_values": pixel_values[:2], "ids": ids[:2]})


def test_momentum_follows_and_the_queue_is_first_in_first_out():
    model = new(momentum=0.995, queue_size=10).train()
    assert not any(parameter.requires_grad for parameter in model.momentum_encoders.parameters())
    pixel_values, ids = batch()
    slow, filled = model.momentum_encoders, model.momentum_encoders.image_queue.clone()
    model.losses({"pixel_values": pixel_values, "ids": ids})
    with torch.no_grad():
        expected = normalize(slow.image_projection(slow.vision(pixel_values)), dim=-1)
    torch.testing.assert_close(slow.image_queue[:5], expected)
    assert torch.equal(slow.image_queue[5:], filled[5:]) and slow.queue_start == 5
    model.losses({"pixel_values": pixel_values + 1, "ids": ids})
    torch.testing.assert_close(slow.image_queue[:5], expected)
    assert slow.queue_start == 0 and not torch.equal(slow.image_queue[5:], filled[5:])
    before = slow.text_projection.weight.clone()
    model.text_projection.weight.data += 1
    model.after_step()
    torch.testing.assert_close(
        slow.text_projection.weight, 0.995 * before + 0.005 * model.text_projection.weight.detach()
    )


def test_without_soft_targets_and_queue_momentum_is_clips_loss_against_the_slow_copies():
    """At the start the copies are the model itself, so the loss is exactly CLIP's; soft targets then change it."""
    pixel_values, ids = batch()
    plain, slow, alpha = (
        new(**options).losses({"pixel_values": pixel_values, "ids": ids})["itc"]
        for options in ({}, {"momentum": 0.995}, {"momentum": 0.995, "alpha": 0.4})
    )
    torch.testing.assert_close(slow, plain)
    assert (alpha - plain).abs() > 1e-3


def test_soft_contrast_with_a_queue_is_the_explicit_formula():
    model, (pixel_values, ids) = new(momentum=0.995, queue_size=10, alpha=0.4), batch()
    image, text = model.encode_image(pixel_values), model.encode_text(ids)
    loss = 0
    for mine, others in (
        (image, torch.cat([text, model.momentum_encoders.text_queue])),
        (text, torch.cat([image, model.momentum_encoders.image_queue])),
    ):
        logits = mine @ others.T / 0.07
        right = torch.nn.functional.one_hot(torch.arange(5), 15)
        targets = 0.4 * logits.softmax(1).detach() + 0.6 * right
        loss = loss - (targets * logits.log_softmax(1)).sum() / 5 / 2
    torch.testing.assert_close(
        model.losses({"pixel_values": pixel_values, "ids": ids})["itc"], loss
    )


def test_the_temperature_stays_in_bounds():
    model = new()
    for value, kept in ((0.9, 0.5), (-1.0, 0.001), (0.2, 0.2)):
        model.temperature.data.fill_(value)
        model.after_step()
        assert model.temperature.item() == pytest.approx(kept)


def test_a_few_steps_learn_a_batch_by_heart():
    model, (pixel_values, ids) = new().train(), batch()
    torch.manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        losses = model.losses({"pixel_values": pixel_values, "ids": ids})
        sum(losses.values()).backward()
        optimiser.step()
        model.after_step()
    assert losses["itc"] < 0.05 and losses["itm"] < 0.2 and losses["lm"] < 2.2


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda m, p, i: m.losses({"pixel_values": p[:3], "ids": i}), "3 pictures and 5 texts"),
        (
            lambda m, p, i: m.itm_logits(i[:2], **m.vision_context(p)),
            "5 pictures and 2 texts to match",
        ),
        (lambda m, p, i: m.encode_text(i.float()), "float32; expected integers"),
        (lambda m, p, i: m.encode_text(i + 20), "outside the vocabulary of 99"),
        (lambda m, p, i: m.encode_text(i.repeat(1, 2)), "18 tokens; this model reads at most 16"),
        (lambda m, p, i: m.vision_context(p.byte()), "pixels are uint8"),
        (lambda m, p, i: new(queue_size=8), "no momentum encoders"),
        (
            lambda m, p, i: (
                new(momentum=0.9, queue_size=8).train().losses({"pixel_values": p, "ids": i})
            ),
            "a queue of 8 and 5 new pairs",
        ),
    ],
)
def test_bad_input_is_named(small, make, words):
    with pytest.raises(ValueError, match=words):
        make(small, *batch())
