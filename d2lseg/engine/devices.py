"""Where to compute, in which precision, and from which seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16, "float32": torch.float32}


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and torch on every device; call it before a model draws its first weights."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def try_gpu(i: int = 0) -> torch.device:
    """Return the i-th CUDA GPU if there is one, else the CPU."""
    return torch.device(f"cuda:{i}") if torch.cuda.device_count() > i else torch.device("cpu")


def try_all_gpus() -> list[torch.device]:
    """List all CUDA GPUs, or the CPU if there are none."""
    count = torch.cuda.device_count()
    return [torch.device(f"cuda:{i}") for i in range(count)] or [torch.device("cpu")]


def best_device() -> torch.device:
    """Choose where to train: a CUDA GPU, else Apple's GPU, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())  # under torchrun each process has its own
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def best_precision(device: torch.device | str) -> str:
    """Choose the fastest number format that the device computes in hardware.

    Returns
    -------
    {"bf16", "fp16", "float32"}
        bf16 on CUDA from Ampere on and on CPUs with AVX-512 bf16 or AMX; fp16 on older CUDA; else float32.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp16"
    return "bf16" if device.type == "cpu" and cpu_has_bf16() else "float32"


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU multiplies bf16 in hardware. Only Linux tells; elsewhere the answer is no.

    ``ATEN_CPU_CAPABILITY=avx2`` makes PyTorch treat any CPU as one without bf16, and so does this function.
    """
    if "AVX512" not in torch.backends.cpu.get_cpu_capability():
        return False
    try:
        words = cpuinfo.read_text().split()
    except OSError:
        return False
    return "avx512_bf16" in words or "amx_bf16" in words


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Run convolutions and matrix products in the chosen precision; float32 changes nothing.

    Raises
    ------
    ValueError
        If the precision is not in `PRECISIONS`.
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
    # Apple's GPUs and the CPU have no exception of their own for it; the last words are those of Windows
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


@contextmanager
def explaining_full_memory(device: torch.device, labels: Tensor) -> Iterator[None]:
    """Replace an out-of-memory error in a training step with advice on the batch size.

    Raises
    ------
    MemoryError
        With the size of the batch, whose labels are (N, H, W), and a smaller one to try.
    """
    try:
        yield
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        n, height, width = labels.shape
        raise MemoryError(
            f"out of memory on {device} with a batch of {n} images of {height}x{width}: try a batch of "
            f"{max(1, n // 2)}, or a smaller crop, and restart the kernel"
        ) from error
