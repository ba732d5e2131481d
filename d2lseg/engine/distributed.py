"""Training in several processes, one per GPU, on one machine or many: DistributedDataParallel under torchrun.

``torchrun`` starts the same program several times and gives each process a number, its *rank*. `joined` makes
a group of them. Every process holds the whole model and works on batches of its own; after the backward pass
the gradients are averaged, so that all take the same step. With a single process, the functions here do what
it needs without any communication.

Source: Li and others, "PyTorch distributed: experiences on accelerating data parallel training", VLDB 2020.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .devices import best_device
from .labels import VOID

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Ranks:
    """Which process this is: its number among all, how many there are, and its number on this machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this process prints and writes for all."""
        return self.rank == 0


def ranks() -> Ranks:
    """Return which process this is; the only one, if no group has been joined."""
    if not (dist.is_available() and dist.is_initialized()):
        return Ranks()
    return Ranks(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", 0)))


@contextmanager
def joined(device: torch.device | str | None = None) -> Iterator[Ranks]:
    """Join the processes that torchrun has started, for the length of a ``with`` block.

    Outside torchrun there is a single process, and nothing is joined.

    Parameters
    ----------
    device : torch.device or str, optional
        ``"cpu"`` avoids the GPUs. By default each process takes the GPU of its local rank, if any.

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
        take_gpu(int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))
    dist.init_process_group("nccl" if cuda else "gloo")
    yield ranks()
    # after an error the group is left as it is: closing it would wait for the others
    dist.destroy_process_group()


def take_gpu(local_rank: int, processes: int) -> None:
    """Make the GPU of this process the current one.

    Raises
    ------
    ValueError
        If this machine has fewer GPUs than processes.
    """
    gpus = torch.cuda.device_count()
    if processes > gpus:
        raise ValueError(
            f"{processes} processes on a machine with {gpus} GPUs; start one per GPU: "
            f"torchrun --nproc-per-node={gpus} ..., or train on the CPU with --device cpu"
        )
    torch.cuda.set_device(local_rank)


def parallel(model: nn.Module, device: torch.device) -> nn.Module:
    """Wrap a model so that its backward pass averages the gradients of all processes.

    The model must already be on ``device``. All processes take over the first one's parameters and buffers.
    """
    if ranks().world_size == 1:
        return model
    return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)


def synchronize_batch_norm(model: Model, device: torch.device) -> Model:
    """Take the mean and variance of batch normalisation over the batches of all processes.

    Worthwhile if each process has only a few images per batch. The parameters stay the same.

    Raises
    ------
    ValueError
        If the device is not a CUDA GPU.
    """
    if device.type != "cuda":
        raise ValueError(
            f"synchronised batch normalisation needs CUDA GPUs, and this run is on {device}: PyTorch has it "
            "for no other device. Train without it (--sync-batch-norm)"
        )
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def labelled_weight(label: Tensor, device: torch.device) -> Tensor | float:
    """Weigh this process's mean loss so that a pixel counts the same, whichever process it is in.

    The gradients of all processes are averaged, so a process with much void would otherwise weigh its few
    labelled pixels too heavily. The weight is its number of labelled pixels over the mean of all processes.
    """
    if ranks().world_size == 1:
        return 1.0
    own = (label != VOID).sum().to(device)
    average = summed(own).clamp(min=1) / ranks().world_size
    return own.clamp(min=1) / average


def summed(tensor: Tensor) -> Tensor:
    """Sum a tensor over all processes; each gets the sum."""
    if ranks().world_size == 1:
        return tensor
    total = tensor.detach().clone()
    dist.all_reduce(total)
    return total


def mean(number: float, device: torch.device) -> float:
    """Average a number over all processes, so that all continue with the same one."""
    if ranks().world_size == 1:
        return number
    return float(summed(torch.tensor(number, dtype=torch.float64, device=device))) / ranks().world_size


def summed_matrix(matrix: Tensor | None, device: torch.device) -> Tensor:
    """Add up the confusion matrices of all processes; ``None`` stands for a process without an image.

    Raises
    ------
    ValueError
        If no process has a matrix.
    """
    classes = 0 if matrix is None else len(matrix)
    if ranks().world_size > 1:
        box = torch.tensor(classes, device=device)
        dist.all_reduce(box, dist.ReduceOp.MAX)
        classes = int(box)
    if classes == 0:
        raise ValueError("nothing to evaluate: the iterator gave no batch")
    if matrix is None:
        matrix = torch.zeros(classes, classes, dtype=torch.int64, device=device)
    return summed(matrix)


def from_first(make: Callable[[], Any]) -> Any:
    """Compute something picklable in the first process and hand it to all."""
    if ranks().world_size == 1:
        return make()
    box = [make() if ranks().first else None]
    dist.broadcast_object_list(box)
    return box[0]


def in_turns(make: Callable[[], Any]) -> Any:
    """Call a function in the first process, then in the first one of each other machine, then in the rest.

    For what one process leaves on its machine's disk and the others find there, such as a dataset. It is made
    once, whether each machine has a disk of its own or all share one.
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
        dist.barrier(patient)  # type: ignore[arg-type]  # torch's new_group returns a number only to outsiders
    dist.destroy_process_group(patient)
    return result


def share_buffers(model: nn.Module) -> None:
    """Give all processes the first one's buffers, such as the running means of batch normalisation."""
    if ranks().world_size > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def command(program: str = "-m d2lseg train") -> str:
    """Write the command that trains on every GPU of this machine.

    With fewer than two GPUs it is plain ``python``: a single process already uses all cores of a CPU.
    """
    gpus = torch.cuda.device_count()
    return f"torchrun --nproc-per-node={gpus} {program}" if gpus > 1 else f"python {program}"
