"""Training in several processes, one a GPU, on one machine or many: DistributedDataParallel under torchrun.

``torchrun`` starts the same program several times and tells each process its number, its *rank*. `joined`
makes a group of them. Every process holds the whole model and works on its own share of each batch; after
the backward pass the gradients are averaged, so that all take the same step.

Source: Li and others, "PyTorch distributed: experiences on accelerating data parallel training", VLDB 2020.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .devices import best_device


@dataclass(frozen=True)
class Ranks:
    """Which of the processes this one is.

    Parameters
    ----------
    rank : int
        Its number among all processes.
    world_size : int
        How many there are.
    local_rank : int
        Its number among the processes of this machine.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this process prints and writes for all."""
        return self.rank == 0


def ranks() -> Ranks:
    """Tell which of the processes this one is.

    Returns
    -------
    Ranks
        The only one, where no group has been joined.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return Ranks()
    return Ranks(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", 0)))


@contextmanager
def joined(device: torch.device | str | None = None) -> Iterator[Ranks]:
    """Join the processes that torchrun has started, for the length of a ``with`` block.

    Parameters
    ----------
    device : torch.device or str, optional
        ``"cpu"`` keeps off the GPUs. By default each process takes the GPU of its local rank, where there
        are GPUs.

    Yields
    ------
    Ranks
        Outside torchrun a single one, and nothing is joined.

    Raises
    ------
    ValueError
        If there are GPUs, but fewer than processes on this machine.
    """
    if not dist.is_torchelastic_launched():
        yield Ranks()
        return
    cuda = torch.device(device or best_device()).type == "cuda"
    if cuda:
        _take_gpu(int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))
    dist.init_process_group("nccl" if cuda else "gloo")
    yield ranks()
    # after an error the group is left as it is: to close it would mean to wait for the others
    dist.destroy_process_group()


def _take_gpu(local_rank: int, processes: int) -> None:
    """Make the GPU of this process the current one."""
    gpus = torch.cuda.device_count()
    if processes > gpus:
        raise ValueError(
            f"{processes} processes on a machine with {gpus} GPUs; start one a GPU: "
            f"torchrun --nproc-per-node={gpus} ..., or train on the CPU with --device cpu"
        )
    torch.cuda.set_device(local_rank)


def parallel(model: nn.Module, device: torch.device) -> nn.Module:
    """Wrap a model so that its backward pass averages the gradients of all processes.

    Parameters
    ----------
    model : nn.Module
        On ``device`` already. All processes take over the first one's parameters and buffers.
    device : torch.device
        Of this process.

    Returns
    -------
    nn.Module
        The model itself where there is one process only.
    """
    if ranks().world_size == 1:
        return model
    return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)


def synchronize_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """Let batch normalisation take its mean and variance over the batches of all processes.

    Parameters
    ----------
    model : nn.Module
        Changed in place where it has batch normalisation inside.
    device : torch.device
        Where it will train.

    Returns
    -------
    nn.Module
        With the same parameters.

    Raises
    ------
    ValueError
        If the device is no CUDA GPU.
    """
    if device.type != "cuda":
        raise ValueError(
            f"synchronised batch normalisation needs CUDA GPUs, this training is on {device}: PyTorch has it "
            "for no other device. Train without sync_batch_norm (--sync-batch-norm)"
        )
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def summed(tensor: Tensor) -> Tensor:
    """Add a tensor up over all processes.

    Parameters
    ----------
    tensor : Tensor
        Any shape and number format; the same in all processes.

    Returns
    -------
    Tensor
        The sum, in each process. A new tensor where there are several processes.
    """
    if ranks().world_size == 1:
        return tensor
    total = tensor.detach().clone()
    dist.all_reduce(total)
    return total


def largest(number: int, device: torch.device) -> int:
    """Give the largest of the numbers that the processes have.

    Parameters
    ----------
    number : int
        This process's own.
    device : torch.device
        Where the processes exchange it.

    Returns
    -------
    int
        The same in each process.
    """
    if ranks().world_size == 1:
        return number
    box = torch.tensor(number, device=device)
    dist.all_reduce(box, dist.ReduceOp.MAX)
    return int(box)


def from_first(make: Callable[[], Any]) -> Any:
    """Compute something in the first process and hand it to all.

    Parameters
    ----------
    make : callable
        Called in the first process only. Its result must be picklable.

    Returns
    -------
    object
        The result, in each process.
    """
    if ranks().world_size == 1:
        return make()
    box = [make() if ranks().first else None]
    dist.broadcast_object_list(box)
    return box[0]


def in_turns(make: Callable[[], Any]) -> Any:
    """Do something in the first process, then in the first one of each other machine, then in the rest.

    For what a process leaves on its machine's disk and the others find there, such as a dataset. It is made
    once, whether each machine has a disk of its own or all share one.

    Parameters
    ----------
    make : callable
        Called in each process.

    Returns
    -------
    object
        What the call in this process gave.
    """
    mine = ranks()
    if mine.world_size == 1:
        return make()
    turn = 0 if mine.first else 1 if mine.local_rank == 0 else 2
    # a group of its own, because NCCL gives up on those that wait longer than ten minutes
    patient = dist.new_group(backend="gloo", timeout=timedelta(days=1))
    for now in range(3):
        if now == turn:
            result = make()
        dist.barrier(patient)
    dist.destroy_process_group(patient)
    return result


def share_buffers(model: nn.Module) -> None:
    """Give all processes the first one's buffers, such as the running means of batch normalisation.

    Parameters
    ----------
    model : nn.Module
        Changed in place.
    """
    if ranks().world_size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def command(program: str = "-m d2lseg train") -> str:
    """Write the command that trains on all that this machine has.

    Parameters
    ----------
    program : str
        What follows ``python`` on the command line.

    Returns
    -------
    str
        With ``torchrun`` and a process a GPU where there are two GPUs or more. A single process already uses
        all cores of a CPU.
    """
    gpus = torch.cuda.device_count()
    return f"torchrun --nproc-per-node={gpus} {program}" if gpus > 1 else f"python {program}"
