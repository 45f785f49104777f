"""Momentum encoders: a moving average of the weights, and a queue in which the oldest vectors are replaced first."""

import pytest
import torch
from torch import nn

from vlmcourse.parts.momentum import MomentumEncoders


def encoders(**options):
    torch.manual_seed(0)
    modules = {"image_encoder": nn.Linear(3, 4), "text_encoder": nn.Linear(2, 4)}
    return modules, MomentumEncoders(modules, 4, **options)


def test_copies_start_equal_have_no_gradient_and_follow_as_a_moving_average():
    modules, momentum = encoders(momentum=0.9)
    assert not any(parameter.requires_grad for parameter in momentum.parameters())
    before = {name: module.weight.detach().clone() for name, module in modules.items()}
    for name, module in modules.items():
        assert torch.equal(getattr(momentum, name).weight, module.weight)
        module.weight.data += 1
    momentum.update(modules)
    for name, module in modules.items():
        expected = 0.9 * before[name] + 0.1 * module.weight
        torch.testing.assert_close(getattr(momentum, name).weight, expected)


def test_the_oldest_vectors_leave_the_queue_first():
    _, momentum = encoders(queue_size=6)
    for queue in (momentum.image_queue, momentum.text_queue):
        torch.testing.assert_close(queue.norm(dim=-1), torch.ones(6))
    images, texts = (
        torch.arange(8.0)[:, None].expand(8, 4),
        -torch.arange(8.0)[:, None].expand(8, 4),
    )
    for start in range(0, 8, 2):
        momentum.enqueue(images[start : start + 2], texts[start : start + 2])
    assert momentum.image_queue[:, 0].tolist() == [6, 7, 2, 3, 4, 5]
    assert momentum.text_queue[:, 0].tolist() == [-6, -7, -2, -3, -4, -5]
    assert momentum.queue_start == 2


def test_a_queue_that_is_no_multiple_of_the_batch_is_refused_and_none_is_needed():
    _, momentum = encoders(queue_size=8)
    with pytest.raises(ValueError, match="a queue of 8 and 3 new pairs.*such as 6 or 9"):
        momentum.enqueue(torch.randn(3, 4), torch.randn(3, 4))
    _, momentum = encoders()
    momentum.enqueue(torch.randn(3, 4), torch.randn(3, 4))
    assert momentum.image_queue.shape == (0, 4)


def _enqueue_in_one_of_two_processes(rank, folder, results):
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    _, momentum = encoders(queue_size=4)
    momentum.enqueue(torch.full((2, 4), float(rank)), torch.full((2, 4), 10.0 + rank))
    results[rank] = (momentum.image_queue[:, 0].tolist(), momentum.text_queue[:, 0].tolist())
    dist.destroy_process_group()


@pytest.mark.slow
def test_the_queues_of_two_processes_hold_the_vectors_of_both(tmp_path):
    with torch.multiprocessing.Manager() as manager:
        results = manager.dict()
        torch.multiprocessing.spawn(
            _enqueue_in_one_of_two_processes, (str(tmp_path), results), nprocs=2
        )
        queues = dict(results)
    assert queues[0] == queues[1] == ([0, 0, 1, 1], [10, 10, 11, 11])
