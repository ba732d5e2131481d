"""What pretrained features bring, from 25 photographs to 3,131: ``python -m tools.transfer``.

Three ways to train the same FCN-8s on EfficientNet-Lite0 get equal time: from scratch, with ImageNet features
that stay frozen, and with ImageNet features that are trained further. ``time`` measures the cost of a step of
each way on an idle machine; ``train`` turns equal time into steps by that table, trains every way on every
number of photographs with three seeds, scores each on the validation photographs, and keeps a row at once, so
that it resumes after an interruption. ``table`` prints means and spreads.

``emoji`` asks the same of EmojiVOC: each way trains for 40 seconds on scenes with the drawings of one style,
and is scored on both styles. It needs an idle machine, because its runs are bounded by time.

The folder is in VOC layout: see `tools.photos`.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from d2lseg import emojivoc, experiments, fcn, metrics, training, voc
from d2lseg.engine import files

from . import photos

RESULTS = Path(fcn.__file__).parent / "results"
SPEED, KEPT = RESULTS / "transfer_speed.csv", RESULTS / "transfer.csv"
SEEDS = (0, 1, 2)
SECONDS = 180  # of training for each model, on the machine that `time` has measured
WAYS = {  # photographs to train on: nothing can be learned from scratch with a few
    "scratch": (437, 3131),
    "frozen": (25, 100, 437, 3131),
    "fine-tuned": (25, 100, 437, 3131),
}
EMOJI = RESULTS / "transfer_emoji.csv"
OFFICIAL = 437  # photographs on the official train list; more come with the coarser masks of SBD
Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Way:
    """How a model is trained on drawings; the rates were chosen by single runs of the same length."""

    backbone: str
    weights: str | None
    rate: float
    frozen: bool = False


EMOJI_SECONDS = 40
EMOJI_WAYS = {
    "ResNet-18 from scratch": Way("resnet18", None, 2e-3),
    "Lite0 from scratch": Way("efficientnet_lite0", None, 3e-3),
    "frozen": Way("efficientnet_lite0", "imagenet", 1e-2, frozen=True),
    "fine-tuned": Way("efficientnet_lite0", "imagenet", 3e-3),
    "fine-tuned, a third of the rate": Way("efficientnet_lite0", "imagenet", 1e-3),
}


def build(way: str, seed: int) -> fcn.FCN:
    """Build the model of one way."""
    weights = None if way == "scratch" else "imagenet"
    model = photos.build(replace(photos.BASE, weights=weights), seed)
    if way == "frozen":
        fcn.freeze(model.backbone)
    return model


def load(folder: Path, count: int, seed: int) -> DataLoader:
    """Load `count` photographs, drawn at random from the list that has enough of them."""
    split = "train" if count <= OFFICIAL else "train_aug"
    train_iter, dataset = photos.load(folder, photos.BASE, seed, split)
    if count > len(dataset.ids):
        raise ValueError(f"{folder}: {len(dataset.ids)} photographs on the list, expected at least {count}")
    dataset.ids = random.Random(seed).sample(dataset.ids, count)
    return train_iter


def train_one(folder: Path, way: str, count: int, seed: int, steps: int) -> fcn.FCN:
    """Train one model for a number of steps."""
    model, train_iter = build(way, seed), load(folder, count, seed)
    epochs, rate = steps / len(train_iter), photos.BASE.lr
    training.train(model, train_iter, epochs=epochs, lr=rate, seed=seed, live=False)
    return model


def measure(folder: Path, steps: int = 20) -> Rows:
    """Time the steps of each way in turns, after a first round that does not count."""
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    for _, way in itertools.product(range(4), WAYS):
        model, train_iter = build(way, 0), load(folder, min(OFFICIAL, 8 * steps), 0)
        start = time.perf_counter()
        training.train(model, train_iter, epochs=steps / len(train_iter), live=False)
        took[way].append((time.perf_counter() - start) / steps)
    shared = {"threads": str(torch.get_num_threads()), "torch": str(torch.__version__)}
    shared |= {"precision": training.best_precision(training.best_device())}
    return [{"way": way, "ms_step": f"{1000 * min(times[1:]):.1f}"} | shared for way, times in took.items()]


def budget(way: str) -> int:
    """Return the steps that fit into `SECONDS`, by the table that `measure` filled."""
    cost = {row["way"]: float(row["ms_step"]) for row in files.read_csv(SPEED)}
    return round(1000 * SECONDS / cost[way])


def train(folder: Path) -> None:
    """Train and score what the kept table lacks, and add a row for each."""
    validation = voc.whole_images(photos.validation(folder))
    for seed in SEEDS:
        for way, counts in WAYS.items():
            for count in counts:
                key = {"way": way, "photos": str(count), "seed": str(seed)}
                rows = files.read_csv(KEPT)
                if any(key.items() <= row.items() for row in rows):
                    continue
                steps = budget(way)
                model = train_one(folder, way, count, seed, steps)
                found = metrics.scores(training.evaluate(model, validation))
                scores = {"miou": f"{found.miou:.4f}", "pixel_acc": f"{found.pixel_acc:.4f}"}
                row = key | {"steps": str(steps)} | scores
                files.write_csv(KEPT, [*rows, row])
                print(row, flush=True)


def emoji() -> None:
    """Train each way on one style's drawings for a fixed time, and score it on both styles."""
    scenes = experiments.STYLE_SCENES
    folders = [emojivoc.prepare(None, *scenes, styles=(style,)) for style in emojivoc.STYLES]
    for seed, (name, way) in itertools.product(SEEDS, EMOJI_WAYS.items()):
        rows = files.read_csv(EMOJI)
        if any((row["way"], row["seed"]) == (name, str(seed)) for row in rows):
            continue
        training.set_seed(seed)
        model = fcn.FCN8s(21, backbone=way.backbone, weights=way.weights, geometry="corrected")
        if way.frozen:
            fcn.freeze(model.backbone)
        loaders = [
            voc.load_data_voc(f, experiments.BATCH, experiments.CROP, seed=seed, cache=True) for f in folders
        ]
        options = {"lr": way.rate, "seed": seed, "live": False}
        history = training.train(model, loaders[0][0], max_seconds=EMOJI_SECONDS, **options)
        row = {"way": name, "seed": str(seed), "seconds": str(EMOJI_SECONDS)}
        row |= {"passes": str(len(history.rows))}
        for style, (_, whole) in zip(emojivoc.STYLES, loaders, strict=True):
            row[style] = f"{metrics.scores(training.evaluate(model, whole)).miou:.4f}"
        files.write_csv(EMOJI, [*rows, row])
        print(row, flush=True)


def table(rows: Rows) -> str:
    """Write the kept rows as a table in Markdown: mean mIoU, and the spread over the seeds."""
    counts = sorted({int(row["photos"]) for row in rows})
    lines = ["| way | " + " | ".join(f"{count:,} photographs" for count in counts) + " |"]
    lines.append("| --- |" + " --- |" * len(counts))
    for way in dict.fromkeys(row["way"] for row in rows):
        cells = []
        for count in counts:
            values = [float(r["miou"]) for r in rows if (r["way"], r["photos"]) == (way, str(count))]
            spread = (
                f"{statistics.mean(values):.3f} (spread {max(values) - min(values):.3f})" if values else ""
            )
            cells.append(spread)
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.transfer", description=__doc__.split("\n\n")[0])
    parser.add_argument("what", choices=("time", "train", "table", "emoji"))
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="the photographs, in VOC layout")
    options = parser.parse_args(arguments)
    if options.what == "time":
        files.write_csv(SPEED, measure(options.data))
        print(SPEED.read_text(encoding="ascii"))
    elif options.what == "train":
        train(options.data)
    elif options.what == "emoji":
        emoji()
    else:
        print(table(files.read_csv(KEPT)))


if __name__ == "__main__":
    main()
