"""The measurements. Both sides take turns, so that a machine that slows down affects them equally."""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from benchmarks import probe, textbook
from d2lseg import backbones, fcn, metrics, voc
from d2lseg.engine import devices
from d2lseg.training import evaluate, segmentation_loss

ROOT = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Plan:
    """Sizes and repetitions of the measurements.

    Parameters
    ----------
    batch : int
        Images per step.
    crop : (int, int)
        Height and width of the images of a step. Multiples of 32, or the textbook's output is larger.
    size : (int, int)
        Height and width of the images on disk.
    images : int
        Number of images on disk, in both splits together.
    rounds : int
        Turns of each side, after a first turn that warms up and does not count.
    workers : int
        Workers of the loaders whose throughput is measured.
    sizes : tuple of (int, int)
        Heights and widths of the images of a step, from small to large; the batches have the first size.
    photos : tuple of (int, int)
        Heights and widths of photographs to predict.
    """

    batch: int = 8
    crop: tuple[int, int] = (320, 480)
    size: tuple[int, int] = (360, 480)
    images: int = 600
    rounds: int = 7
    workers: int = 2
    sizes: tuple[tuple[int, int], ...] = ((160, 256), (320, 512), (640, 1024))
    photos: tuple[tuple[int, int], ...] = ((1000, 1500), (2000, 3000), (4000, 6000))


QUICK = Plan(
    batch=2,
    crop=(32, 64),
    size=(36, 72),
    images=24,
    rounds=1,
    workers=0,
    sizes=((32, 64), (64, 128), (128, 256)),
    photos=((90, 70),),
)


@dataclass(frozen=True)
class Measure:
    """One ratio: how much better this course is than the textbook.

    Parameters
    ----------
    title : str
        What was measured.
    unit : str
        Unit of both values.
    theirs, ours : tuple of float
        One value per round.
    at_least, aim : float
        The bound and the goal of the ratio: lower limits, or upper limits if `overhead` is set.
    throughput : bool
        Whether larger values are better.
    overhead : bool
        Whether the ratio is ours over theirs, as for the cost of a step relative to the bare backbone.
    """

    title: str
    unit: str
    theirs: tuple[float, ...]
    ours: tuple[float, ...]
    at_least: float
    aim: float
    throughput: bool = False
    overhead: bool = False

    @property
    def ratios(self) -> list[float]:
        """The ratio of each round."""
        upside_down = self.throughput or self.overhead
        pairs = zip(self.theirs, self.ours, strict=True)
        return [our / their if upside_down else their / our for their, our in pairs]

    @property
    def ratio(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.ratios)

    @property
    def reached(self) -> bool:
        """Whether the ratio keeps its bound."""
        return self.ratio <= self.at_least if self.overhead else self.ratio >= self.at_least


def in_turns(rounds: int, **steps: Callable[[], float | None]) -> dict[str, tuple[float, ...]]:
    """Run functions in turns, after a first turn that does not count.

    Parameters
    ----------
    rounds : int
        Turns that count.
    **steps
        The functions. A number that a function returns is its measurement; otherwise the function is timed.

    Returns
    -------
    dict of str to tuple of float
        For each function one value per round: its measurement, or seconds.
    """
    values: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            gc.collect()
            started = time.perf_counter()
            result = step()
            seconds = time.perf_counter() - started
            if turn:
                values[name].append(seconds if result is None else result)
    return {name: tuple(numbers) for name, numbers in values.items()}


def training_steps(plan: Plan) -> dict[str, Measure]:
    """Measure whole training steps: the textbook's, ours, and the bare backbone's two passes."""
    best = devices.best_precision(CPU)
    seconds = in_turns(
        plan.rounds,
        textbook=probe.step_of("textbook", plan.batch, plan.crop),
        float32=probe.step_of("float32", plan.batch, plan.crop),
        best=probe.step_of(best, plan.batch, plan.crop),
        backbone=backbone_step(plan, best),
    )
    theirs = seconds["textbook"]
    return {
        "step_fp32": Measure("training step, float32", "s", theirs, seconds["float32"], 1.35, 1.7),
        "step_best": Measure(f"training step, best precision ({best})", "s", theirs, seconds["best"], 2.8, 4),
        "step_vs_backbone": Measure(
            f"training step over the bare backbone's, {best}",
            "s", seconds["backbone"], seconds["best"], 1.25, 1.10, overhead=True,
        ),
    }  # fmt: skip


def _without_result(step: Callable[[], Any]) -> Callable[[], None]:
    """Discard the result of a function, so that `in_turns` times it."""

    def timed() -> None:
        step()

    return timed


def backbone_step(plan: Plan, precision: str) -> probe.Step:
    """Make the step that runs ResNet-18's backbone forward and backward, as our step does it."""
    backbone = backbones.make_backbone("resnet18").to(memory_format=torch.channels_last).train()
    images = probe.standardised(probe.random_batch(plan.batch, plan.crop)[0])
    images = images.contiguous(memory_format=torch.channels_last)

    def step() -> None:
        with devices.autocast(CPU, precision):
            maps = backbone(images)
        backbone.zero_grad(set_to_none=True)
        maps.backward(torch.ones_like(maps))

    return probe.Step(backbone, step)


def evaluation(plan: Plan) -> dict[str, Measure]:
    """Measure evaluation without loading: the textbook's on crops, ours on whole images one at a time."""
    pairs = [probe.random_batch(1, plan.size) for _ in range(2 * plan.batch)]
    crops = [probe.random_batch(plan.batch, plan.crop) for _ in range(2)]
    crops = [(probe.standardised(images), probe.as_textbook(labels)) for images, labels in crops]
    theirs, ours = textbook.make_model(), fcn.FCN32s(21)
    best = devices.best_precision(CPU)

    def pixels_per_second(run: Callable[[], Any], pixels: int) -> Callable[[], float]:
        def measured() -> float:
            started = time.perf_counter()
            run()
            return pixels / (time.perf_counter() - started) / 1e6

        return measured

    cropped, whole = plan.crop[0] * plan.crop[1], plan.size[0] * plan.size[1]
    speed = in_turns(
        plan.rounds,
        textbook=pixels_per_second(lambda: textbook.evaluate(theirs, crops), 2 * plan.batch * cropped),
        ours=pixels_per_second(lambda: evaluate(ours, pairs, CPU, best), 2 * plan.batch * whole),
    )
    title = f"evaluation, {best}"
    return {
        "evaluation": Measure(
            title, "million pixels/s", speed["textbook"], speed["ours"], 2.5, 4, throughput=True
        )
    }


def loading(plan: Plan, folder: Path, rounds: int = 3) -> dict[str, Measure]:
    """Measure time and memory until the first training batch, each time in a new process."""
    found: dict[str, list[dict[str, float]]] = {"textbook": [], "ours": []}
    for _ in range(rounds):
        for whose, results in found.items():
            results.append(in_process("loading", whose, folder, plan.batch, *plan.crop))
    column = {
        (whose, key): tuple(result[key] for result in results)
        for whose, results in found.items()
        for key in ("seconds", "mib")
    }
    seconds, memory = ([column[whose, key] for whose in ("textbook", "ours")] for key in ("seconds", "mib"))
    return {
        "first_batch": Measure(f"first batch of {plan.images} images", "s", *seconds, 20, 100),
        "memory": Measure("memory for both splits", "MiB", *memory, 8, 20),
    }


def in_process(what: str, *arguments: object) -> dict[str, float]:
    """Run `benchmarks.probe` in a new process, and return what it measured.

    Parameters
    ----------
    what : str
        Name of the probe.
    *arguments
        Arguments of the probe.
    """
    command = [sys.executable, "-m", "benchmarks.probe", what, *map(str, arguments)]
    printed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(printed)


def loaders(plan: Plan, folder: Path) -> dict[str, Measure]:
    """Measure the throughput of the training loaders, from disk and from memory."""
    ours = {
        name: voc.load_data_voc(folder, plan.batch, plan.crop, plan.workers, cache=cache)[0]
        for name, cache in (("disk", False), ("cached", True))
    }
    fill_cache(ours["cached"], plan.workers)
    theirs, _ = textbook.load_data(folder, plan.batch, plan.crop, plan.workers)
    speed = in_turns(
        plan.rounds,
        textbook=lambda: images_per_second(theirs),
        disk=lambda: images_per_second(ours["disk"]),
        cached=lambda: images_per_second(ours["cached"]),
    )
    title, unit = f"loader with {plan.workers} workers, ", "images/s"
    return {
        "loader": Measure(title + "from disk", unit, speed["textbook"], speed["disk"], 1, 2, True),
        "loader_cached": Measure(title + "cached", unit, speed["textbook"], speed["cached"], 3, 6, True),
    }


def fill_cache(loader: DataLoader, workers: int) -> None:
    """Load until each worker has cached nearly every image: all but (1 - 1 / workers)**n after n epochs."""
    for _ in range(1 if workers < 2 else 7):
        for _ in loader:
            pass


def images_per_second(loader: Iterable[Sequence[torch.Tensor]]) -> float:
    """Return the throughput from the fourth batch on; the first ones wait for the workers."""
    count, started = 0, time.perf_counter()
    for number, (images, _) in enumerate(loader):
        if number == 3:
            count, started = 0, time.perf_counter()
        else:
            count += len(images)
    return count / (time.perf_counter() - started)


def parts(plan: Plan) -> list[tuple[str, str, float]]:
    """Time the parts of both training steps and of our evaluation one by one.

    Returns
    -------
    list of (str, str, float)
        The whole, the part, and its median in milliseconds.
    """
    best = devices.best_precision(CPU)
    steps = {
        **{("textbook's training step", name): step for name, step in textbook_parts(plan).items()},
        **{(f"our training step, {best}", name): step for name, step in our_parts(plan, best).items()},
        **{
            (f"our evaluation of an image, {best}", n): step for n, step in our_evaluation(plan, best).items()
        },
    }
    seconds = in_turns(plan.rounds, **{"|".join(key): step for key, step in steps.items()})
    return [(*key.split("|"), 1000 * statistics.median(values)) for key, values in seconds.items()]


def textbook_parts(plan: Plan) -> dict[str, Callable[[], None]]:
    """Return the parts of the textbook's training step."""
    model = textbook.make_model()
    images, labels = probe.random_batch(plan.batch, plan.crop)
    images, labels = probe.standardised(images), probe.as_textbook(labels)
    scores = torch.randn(plan.batch, 21, plan.crop[0] // 32, plan.crop[1] // 32, requires_grad=True)
    logits = torch.randn(plan.batch, 21, *plan.crop, requires_grad=True)

    def loss() -> None:
        F.cross_entropy(logits, labels, reduction="none").mean(1).mean(1).sum().backward()

    return {
        "backbone and scores, forward and backward": lambda: model[:-1](images).sum().backward(),
        "dense transposed convolution, forward and backward": lambda: model.transpose_conv(scores).backward(
            torch.ones_like(logits)
        ),
        "loss, forward and backward": loss,
        "accuracy": _without_result(lambda: textbook.right(logits, labels)),
    }


def our_parts(plan: Plan, precision: str) -> dict[str, Callable[[], None]]:
    """Return the parts of our training step."""
    images, labels = probe.random_batch(plan.batch, plan.crop)
    model = fcn.FCN32s(21)
    scores = torch.randn(plan.batch, 21, plan.crop[0] // 32, plan.crop[1] // 32, requires_grad=True)
    optimizer = probe.make_optimizer(model)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)

    def loss() -> None:
        with devices.autocast(CPU, precision):
            total = segmentation_loss(model.upsample(scores), labels)
        total.backward()

    return {
        "backbone, forward and backward": backbone_step(plan, precision),
        "standardise": _without_result(lambda: model.standardize(images)),
        "enlarge and loss, forward and backward": loss,
        "optimiser": optimizer.step,
    }


def our_evaluation(plan: Plan, precision: str) -> dict[str, Callable[[], float]]:
    """Return the parts of our evaluation of one whole image."""
    images, labels = probe.random_batch(1, plan.size)
    model = fcn.FCN32s(21).to(memory_format=torch.channels_last).eval()

    def seconds_each(step: Callable[[], Any], times: int = 8) -> Callable[[], float]:
        def measured() -> float:
            with torch.no_grad(), devices.autocast(CPU, precision):
                started = time.perf_counter()
                for _ in range(times):
                    step()
                return (time.perf_counter() - started) / times

        return measured

    with torch.no_grad(), devices.autocast(CPU, precision):
        logits = model(images)
    best = logits.max(dim=1).indices
    return {
        "whole model": seconds_each(lambda: model(images)),
        "largest logit": seconds_each(lambda: logits.max(dim=1).indices),
        "confusion matrix": seconds_each(lambda: metrics.confusion_matrix(best, labels, 21)),
    }


def scaling(plan: Plan, folders: dict[int, Path]) -> list[dict[str, Any]]:
    """Measure time and memory against the image size, the batch size and the number of images.

    Parameters
    ----------
    plan : Plan
        The sizes.
    folders : dict of int to Path
        Drawn sets by their number of images.

    Returns
    -------
    list of dict
        Rows with ``what`` grows, its ``value``, and the measurements of ``textbook`` and ``ours``.
    """
    points = [("size", f"{h}x{w}", ("step", 2, h, w)) for h, w in plan.sizes]
    points += [("batch", str(n), ("step", n, *plan.sizes[0])) for n in (1, 4, 16)]
    points += [
        ("images", str(n), ("loading", folder, plan.batch, *plan.crop)) for n, folder in folders.items()
    ]
    points += [("photo", f"{h}x{w}", ("photo", h, w)) for h, w in plan.photos]
    rows = []
    for what, value, (probe_name, *arguments) in points:
        row = {"what": what, "value": value}
        if probe_name != "photo":  # the textbook's prediction sees a crop of 320x480 only
            row["textbook"] = in_process(probe_name, "textbook", *arguments)
        rows.append(row | {"ours": in_process(probe_name, devices.best_precision(CPU), *arguments)})
    return rows
