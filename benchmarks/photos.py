"""Time to quality on photographs, the textbook's recipe against ours: ``python -m benchmarks photos``.

The textbook's recipe turns into ours in five steps, each of which changes one thing: the learning rate, the
optimiser, its schedule, the data (our crops, mirrored and scaled, with void left out and nothing dropped),
and the network (FCN-8s in our training loop). All get the same time, counted without reading and scoring.
Each model is scored twice on the same validation photographs: the textbook's way, and on whole images.

``--keep-pace`` measures the seconds that a step of each recipe takes here, in turns, and keeps them in
``d2lseg/results/textbook_speed.csv``. ``--kept-pace`` counts time by that table instead of the clock, so that
any machine, with a GPU or busy, takes the steps that fit into the minutes on the one that was measured.

The folder is in VOC layout; the classes are the seven of `d2lseg.datasets.photos`.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from benchmarks import report, textbook
from d2lseg import backbones, experiments, fcn, metrics, training, voc
from d2lseg.datasets.photos import CLASSES, NAMES, seven_classes
from d2lseg.engine import files

CROP, BATCH = (
    (320, 480),
    8,
)  # the textbook's crop, a multiple of 32; its batch of 32 needs more memory than a laptop has
OUR_CROP, OUR_SCALE = (288, 288), (0.5, 2.0)
RATE = 1e-3  # the textbook's for SGD, and ours for AdamW
STARTS = {True: ("efficientnet_lite0", "imagenet"), False: ("resnet18", None)}  # pretrained, from scratch
POINTS = 6  # of a curve
Batch = tuple[Tensor, Tensor]
Rows = list[dict[str, str]]
PACE = experiments.RESULTS / "textbook_speed.csv"


@dataclass(frozen=True)
class Recipe:
    """The textbook's recipe, or one on the way from it to ours.

    Parameters
    ----------
    pretrained : bool
        EfficientNet-Lite0 with ImageNet weights; otherwise ResNet-18 from scratch.
    rate : float
        Learning rate, or its peak.
    adamw, one_cycle : bool
        Our optimiser in place of SGD, and our schedule in place of a constant rate.
    our_data : bool
        Our crops and labels, with the mean loss over labelled pixels.
    ours : bool
        Our network, FCN-8s, in our training loop. It needs the other three.
    """

    pretrained: bool = True
    rate: float = RATE
    adamw: bool = False
    one_cycle: bool = False
    our_data: bool = False
    ours: bool = False


_STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("rate x 10", {"rate": 10 * RATE}),
    ("AdamW", {"rate": RATE, "adamw": True}),
    ("one cycle", {"one_cycle": True}),
    ("our crops", {"our_data": True}),
    ("ours", {"ours": True}),
)
RECIPES = {"textbook": Recipe()}
for _name, _change in _STEPS:
    RECIPES[_name] = replace(list(RECIPES.values())[-1], **_change)
PAIR = ("textbook", "ours")  # they get a curve
BASELINE = "all background"  # trained by nobody: what each score is worth without learning anything
RECIPES |= {f"{name}, from scratch": replace(RECIPES[name], pretrained=False) for name in PAIR}


class Run(NamedTuple):
    """A trained model, its steps, the seconds they took, and (seconds, mIoU) at a few moments."""

    model: nn.Module
    steps: int
    seconds: float
    curve: list[tuple[float, float]]


class Textbook(nn.Module):
    """The textbook's network behind our interface: uint8 images of any size to logits of the same size."""

    def __init__(self, pretrained: bool) -> None:
        super().__init__()
        name, weights = STARTS[pretrained]
        self.design = backbones.BACKBONES[name]
        self.standardise = fcn.Standardize(self.design.mean, self.design.std)
        backbone, channels = backbones.make_backbone(name, weights), self.design.channels[-1]
        self.network = textbook.make_model(len(NAMES), backbone, channels)

    def forward(self, images: Tensor) -> Tensor:
        """Score each class at each pixel; the map that comes out too large is cut."""
        height, width = images.shape[-2:]
        return self.network(self.standardise(images))[..., :height, :width]


class AllBackground(nn.Module):
    """Answers background at each pixel."""

    def __init__(self) -> None:
        super().__init__()
        scores = functional.one_hot(torch.tensor(0), len(NAMES)).float()
        self.scores = nn.Parameter(scores, requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the same logits everywhere."""
        count, _, height, width = images.shape
        return self.scores[:, None, None].expand(count, -1, height, width)


def our_batches(folder: Path, seed: int) -> DataLoader:
    """Load our crops of the official training list."""
    options: Any = {"cache": True, "target_transform": seven_classes, "scale": OUR_SCALE}
    return voc.load_data_voc(folder, BATCH, OUR_CROP, seed=seed, **options)[0]


def textbook_batches(folder: Path, split: str, design: backbones.Design) -> DataLoader:
    """Load the textbook's crops: large enough images only, and everything but the six classes background."""
    data = textbook.InMemory(folder, split, CROP, CLASSES.colormap, design.mean, design.std)
    return DataLoader(data, BATCH, shuffle=split == "train", drop_last=True)


def validation_crops(folder: Path) -> list[Batch]:
    """Return the textbook's validation batches, always the same, with uint8 images."""
    plain = replace(backbones.BACKBONES["resnet18"], mean=(0.0,) * 3, std=(1.0,) * 3)
    torch.manual_seed(0)
    batches = textbook_batches(folder, "val", plain)
    return [((255 * images).round().to(torch.uint8), labels) for images, labels in batches]


def fit(
    recipe: Recipe,
    model: Textbook,
    batches: Iterable[Batch],
    seconds: float,
    score: Callable[[], float] | None,
    pace: float | None = None,
) -> Run:
    """Train the textbook's network for a time, with (seconds, score) at a few moments.

    The clock counts, or each step as `pace` seconds.
    """
    device = training.best_device()
    optimizer = textbook.make_optimizer(model.to(device))
    if recipe.adamw:
        optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    spent, steps, curve = 0.0, 0, list[tuple[float, float]]()
    forever = _forever(batches)
    while spent < seconds:
        start = time.perf_counter()
        images, labels = (part.to(device) for part in next(forever))
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * (training.one_cycle(spent / seconds) if recipe.one_cycle else 1)
        if recipe.our_data:
            model.train()
            optimizer.zero_grad()
            training.segmentation_loss(model(images), labels).backward()
            optimizer.step()
        else:
            textbook.train_step(model.network, optimizer, images, labels)
        spent, steps = spent + (pace or time.perf_counter() - start), steps + 1
        if score and spent >= seconds * (len(curve) + 1) / POINTS:
            curve.append((spent, score()))
    return Run(model, steps, spent, curve)


def _forever(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Start again after the last batch."""
    while True:
        yield from batches


def train(
    folder: Path,
    name: str,
    seed: int,
    seconds: float,
    validation: DataLoader | None,
    pace: float | None = None,
) -> Run:
    """Train one recipe, with a curve if it is one of the pair and there are photographs to validate on."""
    if name == BASELINE:
        return Run(AllBackground(), 0, 0.0, [])
    watched = validation if name in PAIR else None
    recipe = RECIPES[name]
    training.set_seed(seed)
    if recipe.ours:
        backbone, weights = STARTS[recipe.pretrained]
        net = fcn.FCN8s(len(NAMES), backbone=backbone, weights=weights, geometry="corrected")
        batches = our_batches(folder, seed)
        options: Any = {"lr": recipe.rate, "seed": seed, "live": False}
        steps = round(seconds / pace) if pace else None
        length: Any = {"epochs": steps / len(batches)} if steps else {"max_seconds": seconds}
        history = training.train(net, batches, watched, **length, **options)
        steps = steps or _steps(history)
        for row in history.rows if pace is not None else []:
            row["seconds"] = min(len(batches) * row["epoch"], steps) * pace
        curve = [(row["seconds"], row["miou"]) for row in history.rows if watched]
        return Run(net, steps, history.rows[-1]["seconds"], curve)
    model = Textbook(recipe.pretrained)
    crops = our_batches(folder, seed) if recipe.our_data else textbook_batches(folder, "train", model.design)
    score = (lambda: metrics.scores(training.evaluate(model, watched)).miou) if watched else None
    return fit(recipe, model, crops, seconds, score, pace)


def _steps(history: training.History) -> int:
    """Count the steps of a training run by its images."""
    ends = [0.0, *(row["seconds"] for row in history.rows)]
    spans = [after - before for before, after in itertools.pairwise(ends)]
    images = sum(row["images_per_second"] * s for row, s in zip(history.rows, spans, strict=True))
    return round(images / BATCH)


def paces(folder: Path, names: Iterable[str], rounds: int = 2, seconds: float = 12) -> Rows:
    """Measure the milliseconds a step of each recipe, in turns, after a short round that doesn't count."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn, name in itertools.product(range(rounds + 1), found):
        length = seconds if turn else seconds / 10
        run = train(folder, name, 0, length, None)
        if turn:
            found[name].append(1000 * run.seconds / run.steps)
    shared = {"threads": str(torch.get_num_threads()), "torch": str(torch.__version__)}
    shared |= {"precision": training.best_precision(training.best_device())}
    return [{"recipe": n, "ms_step": f"{statistics.median(ms):.1f}"} | shared for n, ms in found.items()]


def measure(
    folder: Path,
    names: Iterable[str],
    seeds: Iterable[int],
    seconds: float,
    kept: Path,
    pace: Rows | None = None,
) -> Rows:
    """Train and score what the kept tables lack, and add it to them at once."""
    counted = {row["recipe"]: float(row["ms_step"]) / 1000 for row in pace or []}
    validation = voc.whole_images(
        voc.VOCSegDataset(folder, "val", target_transform=seven_classes, cache=True)
    )
    crops, path, curves = validation_crops(folder), kept / "textbook.csv", kept / "textbook_curve.csv"
    for seed in seeds:
        for name in names:
            key = {"recipe": name, "seed": str(seed)}
            if any(key.items() <= row.items() for row in files.read_csv(path)):
                continue
            model, steps, _, curve = train(folder, name, seed, seconds, validation, counted.get(name))
            found = metrics.scores(training.evaluate(model, validation))
            row = {"seconds": f"{seconds:g}", "steps": str(steps)}
            row |= {"its_way": f"{textbook.evaluate(model, crops):.4f}"}
            row |= {"pixel_acc": f"{found.pixel_acc:.4f}", "miou": f"{found.miou:.4f}"}
            points = [key | {"second": f"{second:.0f}", "miou": f"{miou:.4f}"} for second, miou in curve]
            if points:
                files.write_csv(curves, [*files.read_csv(curves), *points])
            files.write_csv(path, [*files.read_csv(path), key | row])
            print(key | row, flush=True)
    return files.read_csv(path)


def table(rows: Rows) -> str:
    """Format the scores as a Markdown table: the mean over the seeds, and the smallest and largest."""
    lines = ["| recipe | steps | pixel accuracy its way | pixel accuracy | mIoU |", "| --- |" + " --- |" * 4]
    for name in [name for name in (BASELINE, *RECIPES) if any(row["recipe"] == name for row in rows)]:
        own = [row for row in rows if row["recipe"] == name]
        steps = statistics.mean(int(row["steps"]) for row in own)
        cells = [_spread([float(row[key]) for row in own]) for key in ("its_way", "pixel_acc", "miou")]
        lines.append(f"| {name} | {steps:.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    """Format a mean, with the range where there is more than one value."""
    mean = f"{statistics.mean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f} to {max(values):.3f})"


def figure(rows: Rows, curves: Rows) -> Figure:
    """Draw the curves of the pair, and the three scores of the four models."""
    drawn, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for name, colour in zip(PAIR, ("#d55e00", "#0072b2"), strict=True):
        for seed in sorted({row["seed"] for row in curves}):
            own = [row for row in curves if (row["recipe"], row["seed"]) == (name, seed)]
            minutes, miou = [float(r["second"]) / 60 for r in own], [float(r["miou"]) for r in own]
            left.plot(minutes, miou, ".-", color=colour, label=name if seed == "0" else None)
    left.set(xlabel="minutes of training", ylabel="mIoU, whole images", xlim=(0, None), ylim=(0, 1))
    left.legend(frameon=False)
    _bars(right, rows)
    return drawn


def _bars(axes: Axes, rows: Rows) -> None:
    """Draw three scores of each of the four models that differ by recipe and backbone."""
    names = [name for name in RECIPES if name.split(",")[0] in PAIR]
    titles = {"its_way": "pixel accuracy, its way", "pixel_acc": "pixel accuracy", "miou": "mIoU"}
    for at, (key, colour) in enumerate(zip(titles, ("#e69f00", "#56b4e9", "#009e73"), strict=True)):
        own = [[float(row[key]) for row in rows if row["recipe"] == name] for name in names]
        means = [statistics.mean(values) if values else math.nan for values in own]
        places = [index + 0.27 * (at - 1) for index in range(len(names))]
        axes.bar(places, means, 0.25, color=colour, label=titles[key])
    axes.set_xticks(range(len(names)), [name.replace(", ", "\n") for name in names])
    axes.set(ylim=(0, 1), ylabel="score")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.15), ncols=3, fontsize=8, frameon=False)


def run(options: argparse.Namespace) -> None:
    """Measure, print the table and draw the figure."""
    names = (BASELINE, *RECIPES) if options.all else PAIR
    with tempfile.TemporaryDirectory() as folder:
        kept = experiments.RESULTS if options.keep else Path(folder)
        if options.keep_pace:
            files.write_csv(PACE, paces(options.data, RECIPES))
            print(PACE.read_text(encoding="ascii"))
            return
        pace = files.read_csv(PACE) if options.kept_pace else None
        rows = measure(options.data, names, options.seeds, 60 * options.minutes, kept, pace)
        print(f"\n{report.this_machine()}\n\n{table(rows)}")
        if options.figure:
            curves = files.read_csv(kept / "textbook_curve.csv")
            figure(rows, curves).savefig(options.figure, dpi=150)
