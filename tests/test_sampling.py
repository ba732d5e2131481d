"""Order and augmentation that depend on seed, epoch and index alone, with any number of processes."""

import copy
import pickle

import pytest
import torch

from d2lseg.engine import sampling


class Numbers:
    """Five items with a seed and an epoch, and nothing else."""

    def __init__(self, seed=1):
        self.seed, self.epoch = seed, 0

    def __len__(self):
        return 5

    def set_epoch(self, epoch):
        self.epoch = epoch


def test_a_generator_depends_on_every_number_of_its_key():
    def draw(*key):
        return torch.rand(4, generator=sampling.generator(*key)).tolist()

    keys = [(0, 0, 1), (1, 0, 1), (0, 1, 1), (0, 0, 2), (0, 1)]
    assert all(draw(*key) == draw(*key) for key in keys)
    assert len({tuple(draw(*key)) for key in keys}) == len(keys)


def test_each_pass_holds_each_image_once_and_in_another_order():
    sampler = sampling.EpochSampler(Numbers())
    passes = [list(sampler) for _ in range(4)]
    assert [{epoch for epoch, _ in keys} for keys in passes] == [{0}, {1}, {2}, {3}]
    orders = [[index for _, index in keys] for keys in passes]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders) and len(set(map(tuple, orders))) > 1


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_processes_share_one_order_and_take_equally_many(world_size):
    shares = [list(sampling.EpochSampler(Numbers(), rank, world_size)) for rank in range(world_size)]
    assert {len(share) for share in shares} == {-(-5 // world_size)}
    together = [key for turn in zip(*shares, strict=True) for key in turn]
    alone = list(sampling.EpochSampler(Numbers()))
    assert together == (alone + alone)[: len(together)]


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda epoch: pickle.loads(pickle.dumps(epoch))])
def test_a_copied_epoch_is_in_shared_memory_too(clone):
    copied = clone(sampling.SharedEpoch())
    copied.number = 3
    assert copied.number == 3
    assert all(value.is_shared() for value in vars(copied).values())


def test_a_loaders_generator_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    options = sampling.loader_options(0, seed=4)
    torch.rand(3, generator=options["generator"])
    assert torch.equal(torch.get_rng_state(), before)
    assert options["num_workers"] == 0 and not options["persistent_workers"]
