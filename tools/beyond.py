"""What a dilated backbone and a concatenating decoder change: ``python -m tools.beyond``.

Five networks on the same backbone get equal time: FCN-32s, FCN-8s, the backbone dilated to stride 16 and to
stride 8, and the decoder that concatenates features (`d2lseg.beyond`). ``time`` measures the cost of a step
and of a prediction on an idle machine; ``train`` turns equal time into steps by that table, trains each
network with three seeds, scores it on whole validation images, and keeps a row at once, so that it resumes
after an interruption. Networks whose step costs more are also trained for as many steps as FCN-8s, which
tells the idea from its price. ``table`` prints means and spreads.

There are two datasets: EmojiVOC, with ResNet-18 from scratch, and, with ``--data``, the photographs of
`tools.photos`, with EfficientNet-Lite0 from ImageNet. All networks keep the rate that was chosen for FCN-8s.

For several processes, give each its part (``--datasets``, ``--models``, ``--seeds``, ``--equal``) and a table
of its own (``--kept``); ``merge`` adds these tables to the one that is kept.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from d2lseg import beyond, emojivoc, experiments, fcn, metrics, prediction, training, voc
from d2lseg.datasets.photos import NAMES
from d2lseg.engine import files

from . import photos

SPEED, KEPT = experiments.RESULTS / "beyond_speed.csv", experiments.RESULTS / "beyond.csv"
SEEDS = (0, 1, 2)
BAND = 3  # pixels on each side of a boundary
MODELS: dict[str, Callable[..., nn.Module]] = {
    "FCN-32s": partial(fcn.FCN32s, geometry="corrected"),
    "FCN-8s": partial(fcn.FCN8s, geometry="corrected"),
    "dilated 16": partial(beyond.Dilated, stride=16),
    "dilated 8": partial(beyond.Dilated, stride=8),
    "concatenating": beyond.Concatenating,
}
REFERENCE = "FCN-8s"
EQUAL = {"time": tuple(MODELS), "steps": ("dilated 16", "dilated 8", "concatenating")}
Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Data:
    """What a network is trained on, how, and for how many seconds on the machine that `time` has measured."""

    backbone: str
    weights: str | None
    num_classes: int
    rate: float
    seconds: float


DATASETS = {
    "emoji": Data("resnet18", None, 21, rate=2e-3, seconds=100),
    "photos": Data("efficientnet_lite0", "imagenet", len(NAMES), rate=photos.BASE.lr, seconds=180),
}


def build(dataset: str, model: str, seed: int) -> nn.Module:
    """Build a network, always from the same random numbers."""
    data = DATASETS[dataset]
    training.set_seed(seed)
    return MODELS[model](data.num_classes, backbone=data.backbone, weights=data.weights)


def load(dataset: str, seed: int, folder: Path | None = None) -> DataLoader:
    """Load the training batches of a dataset; `folder` holds the photographs."""
    if dataset == "emoji":
        place, size = emojivoc.prepare(), (experiments.BATCH, experiments.CROP)
        return voc.load_data_voc(place, *size, seed=seed, cache=True)[0]
    return photos.load(_given(folder), photos.BASE, seed, "train_aug")[0]


def validation(dataset: str, folder: Path | None = None) -> voc.VOCSegDataset:
    """Return the validation images of a dataset, whole."""
    if dataset == "emoji":
        return voc.VOCSegDataset(emojivoc.prepare(), "val")
    return photos.validation(_given(folder))


def _given(folder: Path | None) -> Path:
    """Raise unless there is a folder."""
    if folder is None:
        raise ValueError("the photographs need their folder: --data FOLDER")
    return folder


def train_one(dataset: str, model: str, seed: int, steps: int, folder: Path | None = None) -> nn.Module:
    """Train one network for a number of steps."""
    net, train_iter = build(dataset, model, seed), load(dataset, seed, folder)
    options = {"lr": DATASETS[dataset].rate, "seed": seed, "live": False}
    training.train(net, train_iter, epochs=steps / len(train_iter), **options)
    return net


def score(dataset: str, net: nn.Module, folder: Path | None = None) -> dict[str, str]:
    """Score a network on whole validation images: everywhere, and in the band around boundaries."""
    images = validation(dataset, folder)
    items = (images[index] for index in range(len(images)))
    pairs = ((prediction.predict(net, image), label) for image, label in items)
    found = experiments.band_matrices(pairs, (BAND,), DATASETS[dataset].num_classes)
    whole, band = metrics.scores(found["whole"]), metrics.scores(found[f"band_{BAND}"])
    values = {"miou": whole.miou, "pixel_acc": whole.pixel_acc, f"band_{BAND}": band.miou}
    return {name: f"{value:.4f}" for name, value in values.items()}


def keep_predictions(model: str, net: nn.Module) -> None:
    """Keep a network's predictions for the scenes of EmojiVOC that figures show."""
    images, folder = validation("emoji"), experiments.RESULTS / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    for index in experiments.SHOWN_SCENES:
        name = f"beyond-{model.replace(' ', '-')}-{images.ids[index]}.png"
        voc.write_mask(folder / name, prediction.predict(net, images[index][0]))


def measure(dataset: str, folder: Path | None = None, steps: int = 5, rounds: int = 3) -> Rows:
    """Time training steps and predictions of each network, in turns, after a turn that does not count.

    Batches and images are read beforehand.
    """
    batches = list(itertools.islice(load(dataset, 0, folder), steps))
    images = validation(dataset, folder)
    nets = {model: build(dataset, model, 0) for model in MODELS}
    shown = [images[index][0] for index in range(steps)]
    took: dict[str, list[tuple[float, float]]] = {model: [] for model in nets}
    for turn, (model, net) in itertools.product(range(rounds + 1), nets.items()):
        start = time.perf_counter()
        training.train(net, batches, epochs=1 if turn else 2 / steps, live=False)
        middle = time.perf_counter()
        for image in shown:
            prediction.predict(net, image)
        if turn:
            took[model].append(((middle - start) / steps, (time.perf_counter() - middle) / len(shown)))
    return [_speed_row(dataset, model, nets[model], *zip(*took[model], strict=True)) for model in nets]


def _speed_row(
    dataset: str, model: str, net: nn.Module, steps: tuple[float, ...], predictions: tuple[float, ...]
) -> dict[str, str]:
    """Summarise the turns of one network."""
    row = {"dataset": dataset, "model": model, "ms_step": f"{1000 * statistics.median(steps):.1f}"}
    row |= {"ms_image": f"{1000 * statistics.median(predictions):.1f}"}
    row |= {"parameters": str(fcn.parameter_counts(net)["total"]), "threads": str(torch.get_num_threads())}
    return row | {"precision": training.best_precision("cpu"), "torch": str(torch.__version__)}


def budget(dataset: str, model: str, equal: str = "time") -> int:
    """Return the steps that a network gets, by the table that `measure` filled."""
    cost = {(row["dataset"], row["model"]): float(row["ms_step"]) for row in files.read_csv(SPEED)}
    payer = model if equal == "time" else REFERENCE
    if (dataset, payer) not in cost:
        raise ValueError(f"{SPEED}: no row of {payer} on {dataset}; run python -m tools.beyond time")
    return round(1000 * DATASETS[dataset].seconds / cost[dataset, payer])


def train(jobs: Iterable[tuple[str, int, str, str]], folder: Path | None, kept: Path) -> None:
    """Train and score what a table lacks, and add a row for each (equal, seed, dataset, model)."""
    for equal, seed, dataset, model in jobs:
        key = {"dataset": dataset, "model": model, "equal": equal, "seed": str(seed)}
        rows = files.read_csv(kept)
        if model not in EQUAL[equal] or any(key.items() <= row.items() for row in rows):
            continue
        steps = budget(dataset, model, equal)
        net = train_one(dataset, model, seed, steps, folder)
        row = key | {"steps": str(steps)} | score(dataset, net, folder)
        files.write_csv(kept, [*rows, row])
        print(row, flush=True)
        if (dataset, equal, seed) == ("emoji", "time", SEEDS[0]):
            keep_predictions(model, net)


def merge(paths: Iterable[Path], kept: Path) -> None:
    """Add the rows of other tables to one; its rows are sorted, and a run is there once."""
    found = [row for path in [kept, *paths] for row in files.read_csv(path)]
    runs = {(row["dataset"], row["equal"], row["model"], int(row["seed"])): row for row in found}
    order = itertools.product(DATASETS, EQUAL, MODELS, sorted({seed for *_, seed in runs}))
    files.write_csv(kept, [runs[run] for run in order if run in runs])


def table(rows: Rows) -> str:
    """Write the kept rows as a table in Markdown: means, and the spread of mIoU over the seeds."""
    lines = ["| dataset | equal | network | steps | mIoU | within 3 pixels |", "| --- |" + " --- |" * 5]
    for run in dict.fromkeys((row["dataset"], row["equal"], row["model"]) for row in rows):
        own = [row for row in rows if (row["dataset"], row["equal"], row["model"]) == run]
        miou, band = ([float(row[key]) for row in own] for key in ("miou", f"band_{BAND}"))
        spread = f"{statistics.mean(miou):.3f} (spread {max(miou) - min(miou):.3f})"
        lines.append(f"| {' | '.join(run)} | {own[0]['steps']} | {spread} | {statistics.mean(band):.3f} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.beyond", description=__doc__.split("\n\n")[0])
    parser.add_argument("what", choices=("time", "train", "merge", "table"))
    parser.add_argument("tables", nargs="*", type=Path, help="for merge")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="the photographs, in VOC layout")
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, help="default: all that can be read")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--equal", nargs="+", choices=EQUAL, default=list(EQUAL))
    parser.add_argument("--kept", type=Path, default=KEPT, metavar="FILE")
    options = parser.parse_args(arguments)
    datasets = options.datasets or (["emoji", "photos"] if options.data else ["emoji"])
    if options.what == "time":
        rows = [row for row in files.read_csv(SPEED) if row["dataset"] not in datasets]
        for dataset in datasets:
            rows += measure(dataset, options.data)
        files.write_csv(SPEED, rows)
        print(SPEED.read_text(encoding="ascii"))
    elif options.what == "train":
        jobs = itertools.product(options.equal, options.seeds, datasets, options.models)
        train(jobs, options.data, options.kept)
    elif options.what == "merge":
        merge(options.tables, options.kept)
    else:
        print(table(files.read_csv(options.kept)))


if __name__ == "__main__":
    main()
