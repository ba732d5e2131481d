"""Randomness and order that depend on (seed, epoch, index) alone, even with several processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import index
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler


def generator(*key: int) -> torch.Generator:
    """Make a random generator that depends on all numbers of the key and on nothing else."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))  # torch takes 63 bits


@contextmanager
def global_seed(*key: int) -> Iterator[None]:
    """Let torch's own random numbers depend on the key alone in a block, and then be as before it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator(*key, 1).initial_seed())
        yield


class SharedEpoch:
    """The number of the current epoch, in shared memory.

    Worker processes that live on from one epoch to the next see a change too.
    """

    def __init__(self) -> None:
        self._number = torch.zeros((), dtype=torch.int64).share_memory_()

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._number.share_memory_()  # that of a deep copy is not shared yet

    @property
    def number(self) -> int:
        """The epoch, from 0."""
        return int(self._number)

    @number.setter
    def number(self, epoch: int) -> None:
        """Choose the epoch, for this process and its workers."""
        self._number.fill_(epoch)


@runtime_checkable
class EpochDataset(Protocol):
    """A dataset whose augmentation depends on a seed and on the epoch."""

    seed: int

    def __len__(self) -> int: ...

    @property
    def epoch(self) -> int:
        """The current epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""


class EpochSampler(Sampler):
    """Shuffle by (seed, epoch), and move the dataset on to the next epoch with each pass.

    Yields (epoch, position), so that items on their way to a worker keep their own epoch. Of several
    processes, each takes every ``world_size``-th image of the same order. As in torch's
    ``DistributedSampler``, all take equally many, so the first few images may come twice.
    """

    def __init__(self, dataset: EpochDataset, rank: int = 0, world_size: int = 1) -> None:
        self.dataset, self.rank, self.world_size = dataset, rank, world_size

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.world_size)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.dataset.epoch
        self.dataset.set_epoch(epoch + 1)
        order = torch.randperm(len(self.dataset), generator=generator(self.dataset.seed, epoch, 0))
        places = range(self.rank, len(self) * self.world_size, self.world_size)
        yield from ((epoch, int(order[place % len(order)])) for place in places)


def start_epoch(train_iter: Iterable, seed: int, epoch: int) -> None:
    """Make the order and the augmentation of an epoch depend on its number, whatever was drawn before.

    A DataLoader that shuffles without a generator of its own stays with torch's global random numbers.
    `EpochSampler` also moves its dataset on by itself, for loops that do not call this.
    """
    if not isinstance(train_iter, DataLoader):  # a plain list of batches has neither
        return
    if isinstance(train_iter.dataset, EpochDataset):
        train_iter.dataset.set_epoch(epoch)
    if train_iter.generator is not None:
        # times a prime, so that no two runs share an order
        train_iter.generator.manual_seed(seed * 100_003 + epoch)


def loader_options(num_workers: int | None, seed: int = 0) -> dict[str, Any]:
    """Return options for a DataLoader: workers, pinned memory, and a random generator of its own.

    By default 0 workers, but up to 4 on Linux with a GPU, where one reader is slower than training.
    """
    if num_workers is None:
        waits = sys.platform == "linux" and torch.cuda.is_available()
        num_workers = min(4, os.cpu_count() or 1) if waits else 0
    return {
        "num_workers": num_workers,
        "persistent_workers": num_workers > 0,
        "pin_memory": torch.cuda.is_available(),  # so that copying to the GPU overlaps with its work
        "generator": torch.Generator().manual_seed(seed),  # leaves torch's global random state alone
    }


def crop_size(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Read a crop's size, where one number stands for a square."""
    if size is None:
        return None
    try:
        two = [index(side) for side in (size if isinstance(size, (tuple, list)) else (size, size))]
    except TypeError:  # no whole number
        two = []
    if len(two) != 2 or min(two) < 1:
        raise ValueError(f"crop_size is {size!r}; expected (height, width), both at least 1")
    return two[0], two[1]
