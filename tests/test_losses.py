"""Contrastive loss: the formulas of the papers, autocast, two processes against one. Hard negatives, matching loss."""

import math

import pytest
import torch
import torch.multiprocessing as multiprocessing
from torch.nn.functional import cross_entropy, normalize, pad

from vlmcourse.parts.losses import (
    MomentumTargets,
    caption_groups,
    clip_loss,
    hard_negatives,
    itm_loss,
    similarity,
)


def pairs(count=6, width=8, seed=0):
    torch.manual_seed(seed)
    return [normalize(torch.randn(count, width), dim=-1).requires_grad_() for _ in range(2)]


def test_it_is_the_papers_pseudocode():
    image, text = pairs()
    logits = 14.3 * image @ text.T
    labels = torch.arange(6)
    expected = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
    torch.testing.assert_close(clip_loss(image, text, 14.3), expected)


def test_gradient_with_respect_to_the_logits():
    """(softmax of rows + softmax of columns - 2 I) / 2B, seen through identity 'texts', for which logits = image."""
    image = torch.randn(5, 5, requires_grad=True)
    clip_loss(image, torch.eye(5), 1.0).backward()
    expected = (image.softmax(1) + image.softmax(0) - 2 * torch.eye(5)) / 10
    torch.testing.assert_close(image.grad, expected.detach())


def test_equal_embeddings_give_log_of_the_batch_and_one_pair_gives_nothing():
    positive_groups = normalize(torch.ones(7, 4), dim=-1)
    assert clip_loss(positive_groups, positive_groups, 14.3).item() == pytest.approx(
        math.log(7), abs=1e-6
    )
    assert clip_loss(positive_groups[:1], -positive_groups[:1], 14.3).item() == 0


def test_random_embeddings_at_the_initial_scale_do_worse_than_log_of_the_batch():
    image, text = pairs(64, 32)
    assert clip_loss(image, text, 1 / 0.07).item() > math.log(64) + 0.5


def test_symmetry():
    image, text = pairs()
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    loss = clip_loss(image, text, 10.0)
    torch.testing.assert_close(clip_loss(text, image, 10.0), loss)
    torch.testing.assert_close(clip_loss(image[order], text[order], 10.0), loss)
    assert abs(clip_loss(image[order], text, 10.0) - loss) > 0.01


def test_two_halves_are_not_the_whole():
    """Accumulating gradients over half batches loses the negatives: not the same objective."""
    image, text = pairs()
    halves = (clip_loss(image[:3], text[:3], 10.0) + clip_loss(image[3:], text[3:], 10.0)) / 2
    assert clip_loss(image, text, 10.0) - halves > 0.1


def test_repeated_captions_are_right_answers_for_each_other():
    torch.manual_seed(2)
    text = normalize(torch.randn(4, 8), dim=-1)[[0, 1, 0, 2]]
    image = text.clone()
    positive_groups = torch.tensor([0, 1, 0, 2])
    strict, kind = clip_loss(image, text, 100.0), clip_loss(image, text, 100.0, positive_groups)
    assert strict > 0.3  # two identical captions cannot both be the only answer
    # the best that two equal answers allow is an even split, ln 2 for those two of four rows
    assert kind.item() == pytest.approx(math.log(2) / 2, abs=1e-2)
    gradient_free = clip_loss(image, text, 100.0, torch.arange(4))
    torch.testing.assert_close(gradient_free, strict)


def test_different_numbers_of_images_and_texts_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 8\) and \(2, 8\)"):
        clip_loss(torch.randn(3, 8), torch.randn(2, 8), 1.0)


GROUPS = torch.tensor([0, 1, 2, 0, 4, 4])
CASES = ("one vector each", "positive groups", "queries and label smoothing", "momentum and queue")


def momentum_targets(rows=slice(None), alpha=0.4):
    """Unit vectors of momentum encoders for six pairs (or some rows), and queues of three."""
    generator = torch.Generator().manual_seed(7)
    image, text, image_queue, text_queue = (
        normalize(torch.randn(count, 8, generator=generator), dim=-1) for count in (6, 6, 3, 3)
    )
    return MomentumTargets(image[rows], text[rows], image_queue, text_queue, alpha)


def loss_of_case(case, image, text, scale, rows=slice(None)):
    """clip_loss of (some rows of) six pairs of 8 numbers, in one of its uses."""
    if case == "queries and label smoothing":
        return clip_loss(image.unflatten(1, (2, 4)), text[:, 4:], scale, label_smoothing=0.1)
    if case == "momentum and queue":
        return clip_loss(image, text, scale, GROUPS[rows], momentum=momentum_targets(rows))
    return clip_loss(image, text, scale, GROUPS[rows] if case == "positive groups" else None)


def losses_and_gradients(x, weights, rows=slice(None)):
    """{case: [loss, and its gradients with respect to both encoders' weights and the scale]} of rows of x."""
    results = {}
    for case in CASES:
        image_weight, text_weight = (weight.clone().requires_grad_() for weight in weights)
        scale = torch.tensor(10.0, requires_grad=True)
        image = normalize(x[rows] @ image_weight.T, dim=-1)
        text = normalize(x[rows] ** 2 @ text_weight.T, dim=-1)
        loss = loss_of_case(case, image, text, scale, rows)
        gradients = torch.autograd.grad(loss, (image_weight, text_weight, scale))
        results[case] = [loss.detach(), *gradients]
    return results


def _one_of_two_processes(rank, folder, x, weights, results):
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    values = losses_and_gradients(x, weights, slice(rank * 3, rank * 3 + 3))
    for value in (value for case in values.values() for value in case):
        dist.all_reduce(value)
        value /= 2  # what data parallelism does
    if rank == 0:
        results.update(values)
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_have_the_losses_and_gradients_of_one(tmp_path):
    torch.manual_seed(3)
    x, weights = torch.randn(6, 5), [torch.randn(8, 5) for _ in range(2)]
    with multiprocessing.Manager() as manager:
        results = manager.dict()
        multiprocessing.spawn(_one_of_two_processes, (str(tmp_path), x, weights, results), nprocs=2)
        two = dict(results)
    one = losses_and_gradients(x, weights)
    assert len({round(values[0].item(), 4) for values in one.values()}) == len(CASES)
    for case in CASES:
        for from_two, from_one in zip(two[case], one[case], strict=True):
            torch.testing.assert_close(from_two, from_one, atol=1e-5, rtol=1e-5, msg=case)


@pytest.mark.parametrize("case", CASES)
def test_autocast_changes_nothing_and_bfloat16_vectors_are_compared_in_float32(case):
    """Cosines times a scale of 100: in bfloat16 the logits would be off by whole units."""
    image, text = (x.bfloat16() for x in pairs())
    expected = loss_of_case(case, image.float(), text.float(), 100.0)
    with torch.autocast("cpu", torch.bfloat16):
        in_autocast = loss_of_case(case, image.float(), text.float(), 100.0)
    assert torch.equal(in_autocast, expected)
    assert torch.equal(loss_of_case(case, image, text, 100.0), expected)


def test_of_several_vectors_of_an_image_the_most_similar_counts():
    torch.manual_seed(6)
    image, text = torch.randn(3, 4, 8), torch.randn(3, 8)
    by_hand = torch.stack([(vectors @ text.T).amax(0) for vectors in image])
    torch.testing.assert_close(similarity(image, text), by_hand)
    positives = 0.9 * torch.eye(3) + 0.1 / 3
    expected = [-(positives * s.log_softmax(1)).sum(1).mean() for s in (by_hand, by_hand.T)]
    loss = clip_loss(image, text, 1.0, label_smoothing=0.1)
    torch.testing.assert_close(loss, sum(expected) / 2)


def test_momentum_targets_are_the_paper_s_formula_and_constant():
    """ALBEF, Eq. 6: targets alpha * softmax of the momentum encoders + (1 - alpha) * positives, without a gradient."""
    image, text = pairs()
    momentum, scale = momentum_targets(), torch.tensor(5.0, requires_grad=True)
    expected = 0
    for own, slow, others in (
        (image, momentum.image, torch.cat([momentum.text, momentum.text_queue])),
        (text, momentum.text, torch.cat([momentum.image, momentum.image_queue])),
    ):
        soft = (scale * slow @ others.T).softmax(1).detach()
        targets = 0.4 * soft + 0.6 * torch.eye(6, 9)
        expected -= (targets * (scale * own @ others.T).log_softmax(1)).sum(1).mean() / 2
    loss = clip_loss(image, text, scale, momentum=momentum)
    torch.testing.assert_close(loss, expected)
    inputs = (image, text, scale)
    for found, wanted in zip(
        torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, inputs)
    ):
        torch.testing.assert_close(found, wanted)


def test_with_momentum_pairs_of_a_positive_group_share_the_target_and_the_queue_has_none():
    image, text = pairs()
    momentum = momentum_targets(alpha=0.0)
    positives = (GROUPS[:, None] == GROUPS).float()
    targets = pad(positives / positives.sum(1, keepdim=True), (0, 3))
    logits = image @ torch.cat([momentum.text, momentum.text_queue]).T
    back = text @ torch.cat([momentum.image, momentum.image_queue]).T
    expected = -sum((targets * s.log_softmax(1)).sum(1).mean() for s in (logits, back)) / 2
    torch.testing.assert_close(clip_loss(image, text, 1.0, GROUPS, momentum=momentum), expected)


def counted(similarities, positive_groups=None, draws=4000):
    """How often each text was drawn for each image, and each image for each text: two (B, B) of shares."""
    B, generator = len(similarities), torch.Generator().manual_seed(0)
    found = [torch.zeros(B, B), torch.zeros(B, B)]
    for _ in range(draws):
        for table, drawn in zip(found, hard_negatives(similarities, positive_groups, generator)):
            table[torch.arange(B), drawn] += 1 / draws
    return found


def test_hard_negatives_are_drawn_in_proportion_to_their_weights():
    """Chi-square of 4,000 draws for each image and each text, far beyond what chance allows if the weights were wrong."""
    torch.manual_seed(4)
    similarities = 2 * torch.randn(5, 5)
    for found, rows in zip(counted(similarities), (similarities, similarities.T)):
        expected = (rows.softmax(-1) + 1e-4).masked_fill(torch.eye(5).bool(), 0)
        expected = expected / expected.sum(1, keepdim=True)
        assert (found.diagonal() == 0).all()
        off = ~torch.eye(5).bool()
        distance = (4000 * (found - expected)[off].square() / expected[off]).reshape(5, 4).sum(1)
        assert distance.max() < 16.3, distance  # 99.9 % point for four options


def test_repeated_pairs_are_never_negatives():
    similarities = torch.tensor([[9.0, 9, 0, 0], [9, 9, 0, 0], [0, 0, 9, 0], [0, 0, 0, 9]])
    texts, images = counted(similarities, torch.tensor([7, 7, 1, 2]), 200)
    for found in (texts, images):
        assert found[0, 1] == found[1, 0] == found.diagonal().sum() == 0


def test_a_saturated_softmax_still_leaves_something_to_draw():
    """All probability on the right pair: without the floor multinomial has nothing to draw from, and stops training."""
    texts, images = hard_negatives(1000 * torch.eye(6), generator=torch.Generator().manual_seed(0))
    assert (texts != torch.arange(6)).all() and (images != torch.arange(6)).all()


def test_a_generator_decides_the_negatives():
    similarities = torch.zeros(32, 32)
    one, again, other = (
        hard_negatives(similarities, generator=torch.Generator().manual_seed(seed))[0]
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, again) and not torch.equal(one, other)


@pytest.mark.parametrize(
    "similarities, positive_groups, words",
    [
        (torch.zeros(3, 2), None, r"\(3, 2\); expected as many images as texts"),
        (torch.zeros(1, 1), None, "pair 0 of the batch of 1 has no negative"),
        (torch.zeros(2, 2), torch.tensor([5, 5]), "all other pairs are in its positive group"),
        (torch.zeros(3, 3), torch.tensor([5, 5]), "2 numbers for 3 pairs"),
    ],
)
def test_where_no_negative_can_be_drawn_it_is_said(similarities, positive_groups, words):
    with pytest.raises(ValueError, match=words):
        hard_negatives(similarities, positive_groups)


def test_match_is_cross_entropy_with_twice_as_many_wrong_pairs():
    torch.manual_seed(5)
    right, wrong = torch.randn(4, 2), torch.randn(8, 2)
    expected = -(right.log_softmax(-1)[:, 1].sum() + wrong.log_softmax(-1)[:, 0].sum()) / 12
    torch.testing.assert_close(itm_loss(right, wrong), expected)
    assert itm_loss(torch.zeros(4, 2), torch.zeros(8, 2)).item() == pytest.approx(math.log(2))
    prior = torch.tensor([2 / 3, 1 / 3]).log()
    assert itm_loss(prior.expand(4, 2), prior.expand(8, 2)).item() == pytest.approx(
        0.6365, abs=1e-4
    )


def test_captions_have_one_number_in_every_batch():
    a, b = [7, 3, 4, 5], [7, 3, 5, 4]
    mine = caption_groups(torch.tensor([a, b, a]), pad=0)
    theirs = caption_groups(torch.tensor([[9, *b[1:], 0, 0], [9, 3, 4, 0, 0, 0]]), pad=0)
    assert mine[0] == mine[2] != mine[1] == theirs[0] and theirs[1] not in mine
    many = torch.randint(1, 500, (4000, 30), generator=torch.Generator().manual_seed(0))
    assert len(caption_groups(many, pad=0).unique()) == 4000
