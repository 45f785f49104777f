"""The contrastive loss: what the paper and its arithmetic promise, and two processes against one. Hard negatives, match."""

import math

import pytest
import torch
import torch.multiprocessing as multiprocessing
from torch.nn.functional import cross_entropy, normalize

from vlmcourse.parts.losses import caption_groups, clip_loss, hard_negatives, itm_loss


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


def _one_of_two(rank, folder, x, weights, positive_groups, results):
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    image_tower, text_tower = (torch.nn.Linear(5, 8, bias=False) for _ in range(2))
    for tower, weight in zip((image_tower, text_tower), weights):
        tower.weight.data.copy_(weight)
    scale = torch.tensor(10.0, requires_grad=True)
    mine = slice(rank * 3, rank * 3 + 3)
    loss = clip_loss(
        normalize(image_tower(x[mine]), dim=-1),
        normalize(text_tower(x[mine] ** 2), dim=-1),
        scale,
        None if positive_groups is None else positive_groups[mine],
    )
    loss.backward()
    for value in (loss.detach(), image_tower.weight.grad, text_tower.weight.grad, scale.grad):
        dist.all_reduce(value)
        value /= 2  # what data parallelism does
    if rank == 0:
        results.update(
            loss=loss.detach(),
            image=image_tower.weight.grad,
            text=text_tower.weight.grad,
            scale=scale.grad,
        )
    dist.destroy_process_group()


@pytest.mark.parametrize("positive_groups", [None, torch.tensor([0, 1, 2, 0, 4, 4])])
def test_two_processes_have_the_loss_and_gradients_of_one(tmp_path, positive_groups):
    torch.manual_seed(3)
    x, weights = torch.randn(6, 5), [torch.randn(8, 5) for _ in range(2)]
    with multiprocessing.Manager() as manager:
        results = manager.dict()
        multiprocessing.spawn(
            _one_of_two, (str(tmp_path), x, weights, positive_groups, results), nprocs=2
        )
        two = dict(results)
    image, text = (weight.clone().requires_grad_() for weight in weights)
    scale = torch.tensor(10.0, requires_grad=True)
    loss = clip_loss(
        normalize(x @ image.T, dim=-1), normalize(x**2 @ text.T, dim=-1), scale, positive_groups
    )
    loss.backward()
    for name, one in (
        ("loss", loss.detach()),
        ("image", image.grad),
        ("text", text.grad),
        ("scale", scale.grad),
    ):
        torch.testing.assert_close(
            two[name], one, atol=1e-5, rtol=1e-5, msg=lambda m, name=name: f"{name}: {m}"
        )


def counted(similarity, positive_groups=None, draws=4000):
    """How often each text was drawn for each image, and each image for each text: two (B, B) of shares."""
    B, generator = len(similarity), torch.Generator().manual_seed(0)
    found = [torch.zeros(B, B), torch.zeros(B, B)]
    for _ in range(draws):
        for table, drawn in zip(found, hard_negatives(similarity, positive_groups, generator)):
            table[torch.arange(B), drawn] += 1 / draws
    return found


def test_hard_negatives_are_drawn_in_proportion_to_their_weights():
    """Chi-square of 4,000 draws for each image and each text, far beyond what chance allows if the weights were wrong."""
    torch.manual_seed(4)
    similarity = 2 * torch.randn(5, 5)
    for found, rows in zip(counted(similarity), (similarity, similarity.T)):
        expected = (rows.softmax(-1) + 1e-4).masked_fill(torch.eye(5).bool(), 0)
        expected = expected / expected.sum(1, keepdim=True)
        assert (found.diagonal() == 0).all()
        off = ~torch.eye(5).bool()
        distance = (4000 * (found - expected)[off].square() / expected[off]).reshape(5, 4).sum(1)
        assert distance.max() < 16.3, distance  # 99.9 % point for four options


def test_repeated_pairs_are_never_negatives():
    similarity = torch.tensor([[9.0, 9, 0, 0], [9, 9, 0, 0], [0, 0, 9, 0], [0, 0, 0, 9]])
    texts, images = counted(similarity, torch.tensor([7, 7, 1, 2]), 200)
    for found in (texts, images):
        assert found[0, 1] == found[1, 0] == found.diagonal().sum() == 0


def test_a_saturated_softmax_still_leaves_something_to_draw():
    """All probability on the right pair: without the floor multinomial has nothing to draw from, and stops training."""
    texts, images = hard_negatives(1000 * torch.eye(6), generator=torch.Generator().manual_seed(0))
    assert (texts != torch.arange(6)).all() and (images != torch.arange(6)).all()


def test_a_generator_decides_the_negatives():
    similarity = torch.zeros(32, 32)
    one, again, other = (
        hard_negatives(similarity, generator=torch.Generator().manual_seed(seed))[0]
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, again) and not torch.equal(one, other)


@pytest.mark.parametrize(
    "similarity, positive_groups, words",
    [
        (torch.zeros(3, 2), None, r"\(3, 2\); expected as many images as texts"),
        (torch.zeros(1, 1), None, "pair 0 of the batch of 1 has no negative"),
        (torch.zeros(2, 2), torch.tensor([5, 5]), "all other pairs are in its positive group"),
        (torch.zeros(3, 3), torch.tensor([5, 5]), "2 numbers for 3 pairs"),
    ],
)
def test_where_no_negative_can_be_drawn_it_is_said(similarity, positive_groups, words):
    with pytest.raises(ValueError, match=words):
        hard_negatives(similarity, positive_groups)


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
