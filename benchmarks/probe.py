"""One measurement in a process of its own, so that nothing earlier counts towards its memory.

``python -m benchmarks.probe WHAT WHOSE ...`` prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks import scenes, textbook
from d2lseg import fcn, prediction, training, voc

STATUS = Path("/proc/self/status")


def peak_memory() -> float:
    """Give the largest memory this process has held so far, in MiB."""
    if STATUS.exists():  # Linux: getrusage would count the memory of the process that started this one too
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource  # here, because Windows has none, and the rest of this file runs there

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024  # bytes there, KiB elsewhere


def loading(whose: str, folder: str, batch: str, height: str, width: str) -> dict[str, float]:
    """Open both splits and take the first training batch, in this process alone."""
    crop_size = int(height), int(width)
    before, started = peak_memory(), time.perf_counter()
    if whose == "textbook":
        loaders = textbook.load_data(Path(folder), int(batch), crop_size, workers=0)
    else:
        loaders = voc.load_data_voc(folder, int(batch), crop_size, num_workers=0)
    next(iter(loaders[0]))
    return {"seconds": time.perf_counter() - started, "mib": peak_memory() - before}


def training_step(whose: str, batch: str, height: str, width: str) -> dict[str, float]:
    """Take three training steps; the median time, and the memory above that of the loaded model."""
    step = step_of(whose, int(batch), (int(height), int(width)))
    before, seconds = peak_memory(), []
    for _ in range(3):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    return {"seconds": sorted(seconds)[1], "mib": peak_memory() - before}


def photo(whose: str, height: str, width: str) -> dict[str, float]:
    """Read a photo of any size and predict its classes; the memory above that of the loaded model."""
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
    """Forget the largest memory so far, where Linux allows it, and give the present one in MiB."""
    if STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def step_of(whose: str, batch: int, size: tuple[int, int]) -> Callable[[], Any]:
    """Make a model and a batch, and give the function that takes one training step.

    Parameters
    ----------
    whose : str
        ``"textbook"``, or the precision in which ours computes.
    batch : int
        Pictures a step.
    size : (int, int)
        Height and width of the pictures.

    Returns
    -------
    callable
        Takes no argument.
    """
    images, labels = random_batch(batch, size)
    if whose == "textbook":
        model = textbook.make_model()
        optimizer = textbook.make_optimizer(model)
        floats, classes = standardised(images), as_textbook(labels)
        return lambda: textbook.train_step(model, optimizer, floats, classes)
    # the engine of `training.train` itself, without its loop: a whole training would count its set-up too
    run = training._Run(fcn.FCN32s(21), torch.device("cpu"), whose, 1e-3, 1e-2)
    run.model.train()
    return lambda: run.train_step(images, labels, 1e-3)


def random_batch(batch: int, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw images, uint8 (N, 3, H, W), and labels, uint8 (N, H, W), a twentieth of them void."""
    g = torch.Generator().manual_seed(0)
    images = torch.randint(256, (batch, 3, *size), dtype=torch.uint8, generator=g)
    labels = torch.randint(21, (batch, *size), dtype=torch.uint8, generator=g)
    labels[torch.rand(labels.shape, generator=g) < 0.05] = voc.VOID
    return images, labels


def standardised(images: torch.Tensor) -> torch.Tensor:
    """Turn uint8 images into the float32 that the textbook's loader gives."""
    return fcn.Standardize()(images)


def as_textbook(labels: torch.Tensor) -> torch.Tensor:
    """Turn uint8 labels into the int64 that the textbook's loader gives, void as background."""
    return labels.masked_fill(labels == voc.VOID, 0).long()


if __name__ == "__main__":
    torch.manual_seed(0)
    probes = {"loading": loading, "step": training_step, "photo": photo}
    print(json.dumps(probes[sys.argv[1]](*sys.argv[2:])))
