"""Where to compute, in which precision, and from which seed."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16, "float32": torch.float32}


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and torch, on every device.

    Parameters
    ----------
    seed : int
        Call it before a model is made: its first weights are drawn at random.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def try_gpu(i: int = 0) -> torch.device:
    """Give the i-th CUDA GPU if there is one, else the CPU.

    Parameters
    ----------
    i : int
        Number of the GPU.

    Returns
    -------
    torch.device
        ``cuda:i`` or ``cpu``.
    """
    return torch.device(f"cuda:{i}") if torch.cuda.device_count() > i else torch.device("cpu")


def try_all_gpus() -> list[torch.device]:
    """List all CUDA GPUs, or the CPU where there is none.

    Returns
    -------
    list of torch.device
        Never empty.
    """
    count = torch.cuda.device_count()
    return [torch.device(f"cuda:{i}") for i in range(count)] or [torch.device("cpu")]


def best_device() -> torch.device:
    """Choose where to train: a CUDA GPU, else Apple's GPU, else the CPU.

    Returns
    -------
    torch.device
        The device.
    """
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())  # under torchrun each process has its own
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def best_precision(device: torch.device | str) -> str:
    """Choose the fastest number format that the device computes in hardware.

    Parameters
    ----------
    device : torch.device or str
        Where the model will run.

    Returns
    -------
    {"bf16", "fp16", "float32"}
        bf16 on CUDA from Ampere on and on CPUs with AVX-512 bf16 or AMX; fp16 on older CUDA; else float32.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp16"
    return "bf16" if device.type == "cpu" and _cpu_has_bf16() else "float32"


def _cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Ask Linux for the bf16 instructions; other systems do not say, and get float32.

    ``ATEN_CPU_CAPABILITY=avx2`` makes PyTorch treat any CPU as one without them, and us too.
    """
    if "AVX512" not in torch.backends.cpu.get_cpu_capability():
        return False
    try:
        words = cpuinfo.read_text().split()
    except OSError:
        return False
    return "avx512_bf16" in words or "amx_bf16" in words


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Run convolutions and matrix products in the chosen precision.

    Parameters
    ----------
    device : torch.device
        Where the model runs.
    precision : {"bf16", "fp16", "float32"}
        float32 leaves everything as it is.

    Returns
    -------
    context manager
        For a ``with`` statement around the forward pass.

    Raises
    ------
    ValueError
        If the precision has another name.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=PRECISIONS[precision])


def out_of_memory(error: BaseException) -> bool:
    """Return whether PyTorch raised `error` because memory ran out, on a GPU or on the CPU."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    # Apple's GPUs and the CPU have no exception of their own for it
    words = ("out of memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)
