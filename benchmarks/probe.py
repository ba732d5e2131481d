"""A single measurement in a new process, so that nothing that ran before counts towards its memory.

``python -m benchmarks.probe WHAT WHOSE ...`` prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks import scenes, textbook
from d2lseg import fcn, prediction, training, voc
from d2lseg.engine import devices
from tools import machine


def peak_memory() -> float:
    """Return the peak memory of this process so far, in MiB."""
    if found := machine.peak_memory():
        return found / 2**20
    import resource  # here, because Windows has none, and the rest of this file runs there

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024  # bytes there, KiB elsewhere


def loading(whose: str, folder: str, batch: str, height: str, width: str) -> dict[str, float]:
    """Open both splits and load the first training batch, without workers."""
    crop_size = int(height), int(width)
    before, started = peak_memory(), time.perf_counter()
    if whose == "textbook":
        loaders = textbook.load_data(Path(folder), int(batch), crop_size, workers=0)
    else:
        loaders = voc.load_data_voc(folder, int(batch), crop_size, num_workers=0)
    next(iter(loaders[0]))
    return {"seconds": time.perf_counter() - started, "mib": peak_memory() - before}


def training_step(whose: str, batch: str, height: str, width: str) -> dict[str, float]:
    """Measure three training steps: the median time, and the memory above that of the loaded model."""
    step = step_of(whose, int(batch), (int(height), int(width)))
    before, seconds = peak_memory(), []
    for _ in range(3):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    return {"seconds": sorted(seconds)[1], "mib": peak_memory() - before}


def photo(whose: str, height: str, width: str) -> dict[str, float]:
    """Measure reading and predicting a photo of any size, and the memory above that of the loaded model."""
    model = fcn.FCN8s(21).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "photo.jpg")
        tile = scenes.photograph((500, 500), np.random.default_rng(0))
        wide = Image.new("RGB", (int(width), int(height)))
        for left in range(0, wide.width, 500):
            for top in range(0, wide.height, 500):
                wide.paste(tile, (left, top))
        wide.save(path)
        del wide
        before, started = reset_peak(), time.perf_counter()
        prediction.predict_tiled(model, voc.read_image(path), precision=whose)
    return {"seconds": time.perf_counter() - started, "mib": peak_memory() - before}


def reset_peak() -> float:
    """Reset the peak memory, where Linux allows it, and return the current one in MiB."""
    clear_refs = Path("/proc/self/clear_refs")
    if clear_refs.exists():
        clear_refs.write_text("5")
    return peak_memory()


@dataclass(frozen=True)
class Step:
    """What is timed, with the model that it changes, so that a test can see that it does.

    Parameters
    ----------
    model : nn.Module
        What the step computes with.
    take : callable
        Takes the step; without arguments.
    """

    model: nn.Module
    take: Callable[[], Any]

    def __call__(self) -> None:
        """Take the step."""
        self.take()


def step_of(whose: str, batch: int, size: tuple[int, int]) -> Step:
    """Make a model and the batch that `random_batch` draws; each call takes one training step on it.

    Parameters
    ----------
    whose : str
        ``"textbook"``, or the precision in which ours computes.
    batch : int
        Images per step.
    size : (int, int)
        Height and width of the images.

    Returns
    -------
    Step
        Called without arguments.
    """
    images, labels = random_batch(batch, size)
    if whose == "textbook":
        model = textbook.make_model()
        optimizer = textbook.make_optimizer(model)
        floats, classes = standardised(images), as_textbook(labels)
        return Step(model, lambda: textbook.train_step(model, optimizer, floats, classes))
    model = fcn.FCN32s(21).to(memory_format=torch.channels_last).train()
    optimizer = make_optimizer(model)
    return Step(model, lambda: train_step(model, optimizer, images, labels, whose))


def make_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """Make the optimiser of `training.train`, with a constant learning rate."""
    return torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2, fused=True)


def train_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, precision: str
) -> None:
    """Take a step as `training.train` does, without its setup, history and evaluation."""
    with devices.autocast(torch.device("cpu"), precision):
        loss = training.segmentation_loss(model(images), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def random_batch(batch: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Draw images, uint8 (N, 3, H, W), and labels, uint8 (N, H, W), with 5 % void."""
    g = torch.Generator().manual_seed(0)
    images = torch.randint(256, (batch, 3, *size), dtype=torch.uint8, generator=g)
    labels = torch.randint(21, (batch, *size), dtype=torch.uint8, generator=g)
    labels[torch.rand(labels.shape, generator=g) < 0.05] = voc.VOID
    return images, labels


def standardised(images: Tensor) -> Tensor:
    """Turn uint8 images into the float32 images of the textbook's loader."""
    return fcn.Standardize()(images)


def as_textbook(labels: Tensor) -> Tensor:
    """Turn uint8 labels into the int64 labels of the textbook's loader, with void as background."""
    return labels.masked_fill(labels == voc.VOID, 0).long()


if __name__ == "__main__":
    torch.manual_seed(0)
    probes = {"loading": loading, "step": training_step, "photo": photo}
    print(json.dumps(probes[sys.argv[1]](*sys.argv[2:])))
